//! Calls in the middle of a flow: what a Passthru applet tells is kept like every event, and the team's rule says which
//! way the flow goes on.
//!
//! A caller waits for the answer, so keeping and looking up go side by side, and whatever fails inside sends the flow on
//! by the usual way.

use domain::{
    ids::CallSid,
    phone::{Country, PhoneNumber},
    steering::{Branch, CallSoFar, Rule},
    voicebot::record::VoiceSession,
};
use exotel::callback::PassthruCall;
use jiff::Timestamp;
use table::TableError;

use super::{Delivery, Inbox, Receipt};

/// What became of a delivery, and which way its flow goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steered {
    /// Whether and how the event was kept.
    pub receipt: Receipt,
    /// Which way the flow goes on; [`Branch::Holds`] when that cannot be told.
    pub branch: Branch,
}

impl Inbox {
    /// Keeps what a Passthru applet tells, and holds `rule` against it. `country` is the account's: national numbers are
    /// its.
    ///
    /// A rule that asks for the lead reads by the caller's number, and one that asks for the bot by the CallSid: the index,
    /// then the rows it names. Nothing else is read. A request that is no Passthru's, and a table that fails, leave the flow
    /// on [`Branch::Holds`].
    pub async fn steer(
        &self,
        delivery: Delivery<'_>,
        rule: &Rule,
        country: Country,
        now: Timestamp,
    ) -> Steered {
        let call = PassthruCall::parse(delivery.content_type, delivery.body, delivery.query).ok();
        let (receipt, branch) = tokio::join!(
            self.receive(delivery, now),
            self.branch(call.as_ref(), rule, country)
        );
        let branch = branch.unwrap_or_else(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the caller or the bot could not be looked up; the flow goes on by the first branch"
            );
            Branch::Holds
        });
        Steered { receipt, branch }
    }

    async fn branch(
        &self,
        call: Option<&PassthruCall>,
        rule: &Rule,
        country: Country,
    ) -> Result<Branch, TableError> {
        let Some(call) = call else {
            return Ok(Branch::Holds);
        };
        let mut so_far = CallSoFar {
            known_lead: false,
            digits: call.digits.as_deref(),
            dial_status: call.dial_call_status.as_ref().map(exotel::CallStatus::as_str),
            call_type: call.call_type.as_ref().map(exotel::CallType::as_str),
            direction: call.direction.as_ref().map(exotel::Direction::as_str),
            bot_outcome: None,
        };
        let (known_lead, bot) = tokio::try_join!(
            async {
                match rule.asks_for_the_lead() {
                    true => self.is_leads(call, country).await,
                    false => Ok(false),
                }
            },
            async {
                match rule.asks_for_the_bot() {
                    true => self.last_bot(call).await,
                    false => Ok(None),
                }
            }
        )?;
        so_far.known_lead = known_lead;
        so_far.bot_outcome = bot.as_ref().and_then(VoiceSession::outcome);
        Ok(rule.branch(&so_far))
    }

    /// Whether a lead has the number of the person in the call.
    async fn is_leads(&self, call: &PassthruCall, country: Country) -> Result<bool, TableError> {
        let person = call.person();
        match person.and_then(|person| PhoneNumber::parse(person, country).ok()) {
            Some(person) => Ok(!self.table.leads_by_phone(&person).await?.is_empty()),
            None => Ok(false),
        }
    }

    /// The call's last session with a bot.
    async fn last_bot(&self, call: &PassthruCall) -> Result<Option<VoiceSession>, TableError> {
        match call.call_sid.as_str().parse::<CallSid>() {
            Ok(sid) => Ok(self.table.voice_sessions_by_call(&sid).await?.pop()),
            Err(_) => Ok(None),
        }
    }
}
