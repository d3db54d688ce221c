//! Calls that a bot leads: the person is rung, and talks with the bot when they answer.

use domain::{
    access::Caller,
    call::{Call, CallOrigin, CallProgress, CallState, ExotelCall},
    call_record::Direction,
    directory::Lead,
    ids::{CallId, CallLocator, LeadId, VoiceSessionId},
    phone::PhoneNumber,
    voicebot::record::VoiceSession,
};

use super::{Account, BotLine, Exotel, Outbound, OutboundError, OutboundQueue, Placed, fingerprint};

/// A call that a bot is to lead.
#[derive(Debug, Clone, Copy)]
pub struct BotCall<'a> {
    /// Who wants it.
    pub caller: &'a Caller,
    /// Whom the bot talks to.
    pub to: &'a PhoneNumber,
    /// The ExoPhone that they see; the account's caller id, or a healthy alternate, when not said.
    pub from: Option<&'a PhoneNumber>,
    /// What the team calls this call, kept as the row's note.
    pub note: Option<&'a str>,
    /// The call's row: its home is [`home_of`] the number, as it was when this call was first begun.
    pub call: &'a CallLocator,
    /// Whether somebody may have begun this call before and died: then the row may be there.
    pub resumed: bool,
}

/// Whose item collection holds the row of a call to this number: the lead's, else one that the number has for itself.
pub fn home_of(lead: Option<&Lead>, to: &PhoneNumber) -> LeadId {
    lead.map_or_else(
        || LeadId::unlisted(&fingerprint(&[to.as_str()])),
        |lead| lead.id.clone(),
    )
}

/// The session of a call to a bot without a flow: it has the call's moment and random bits, so that whoever places the
/// call, or places it again, names the same one.
pub(super) fn session_of(call: &CallId) -> VoiceSessionId {
    let moment = call.as_str().strip_prefix(CallId::PREFIX).unwrap_or_default();
    format!("{}{moment}", VoiceSessionId::PREFIX)
        .parse()
        .expect("what follows the prefix of an id is that of any")
}

impl Outbound {
    /// Rings the person, and connects them with the bot when they answer.
    ///
    /// # Errors
    /// [`OutboundError`]: then no row was made and nobody is rung.
    pub async fn call_bot<E: Exotel>(
        &self,
        account: &Account<E>,
        queue: &OutboundQueue,
        wanted: BotCall<'_>,
    ) -> Result<Placed<Call>, OutboundError> {
        let locator = wanted.call.clone();
        if let Some(placed) = self.resume::<Call>(wanted.resumed, &locator).await? {
            return Ok(placed);
        }
        let line = account.bot.as_ref().ok_or(OutboundError::NoBot)?;
        self.allow("called", wanted.to)?;
        self.count(wanted.caller, &locator.lead_id).await?;
        let from = match wanted.from {
            Some(from) => from.clone(),
            None => self.caller_id(&account.caller_id).await,
        };
        if let BotLine::Stream { bot, rate, .. } = line {
            let session = VoiceSession {
                call: Some(locator.clone()),
                direction: Some(Direction::Outbound),
                caller: Some(wanted.to.clone()),
                number: Some(from.clone()),
                ..VoiceSession::new(session_of(&locator.id), bot, *rate)
            };
            self.table.offer_voice_session(&session).await?;
        }
        let call = Call {
            called_by: Some(wanted.caller.user_id.clone()),
            called_at: locator.id.created_at(),
            notes: wanted.note.map(str::to_owned),
            origin: CallOrigin::Exotel(Box::new(ExotelCall {
                // Nobody is rung first.
                agent_phone: from.clone(),
                lead_phone: wanted.to.clone(),
                caller_id: from,
                to_bot: true,
                attempt: 0,
                reason: None,
                progress: CallProgress::new(CallState::Waiting),
            })),
            locator,
        };
        self.click(account, queue, call).await
    }
}
