//! Calls that a bot leads.

use std::sync::Arc;

use domain::{
    call::Call,
    ids::{CallId, CallLocator, VoiceSessionId},
    phone::PhoneNumber,
};
use jiff::Timestamp;
use lambda_kit::{
    config::VoicebotConfig,
    http::{Problem, Request, Response},
};
use serde::Deserialize;
use services::{
    logs::CallLog,
    outbound::{BotCall, BotLine, home_of},
    scope::lead_with_number,
};

use crate::{
    outbound::{OutboundDoor, Wish, outbound_problem},
    problem,
};

/// Characters of the team's own name for a call, at most.
const LONGEST_CALL_LOG_ID: usize = 64;

/// What somebody wants of a bot.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    to: String,
    #[serde(default)]
    from: Option<String>,
    #[serde(default, alias = "call_log_id")]
    call_log_id: Option<String>,
}

/// The door of calls that bots lead.
pub struct BotCallDoor {
    /// The way out.
    pub outbound: OutboundDoor,
    voicebot: VoicebotConfig,
}

impl BotCallDoor {
    /// Over this door.
    pub fn new(outbound: OutboundDoor, voicebot: VoicebotConfig) -> Self {
        Self { outbound, voicebot }
    }

    /// `POST /call {to, from?, callLogId?}`: rings `to` and connects them with the bot: through the flow of
    /// `EXOTEL_APP_ID`, else straight with the default bot. `from` is one of the account's ExoPhones. `callLogId` is the
    /// team's own name for the call, kept as its note.
    ///
    /// # Errors
    /// 400 for a body or number that cannot be used, 403 for a number that salespeople have no lead with, or that may not be
    /// called; 409, 429 and 503 as for clicks.
    pub async fn call(&self, request: &Request) -> Result<Response, Problem> {
        let door = &self.outbound;
        let now = door.outbound.now();
        let caller = door.crm.caller(request, now).await?;
        let wanted: Wanted = request.json()?;
        let number = |field: &'static str, text: &str| {
            PhoneNumber::parse(text, door.crm.locale.country)
                .map_err(|error| Problem::bad_field(field, format!("{field} cannot be used: {error}.")))
        };
        let to = number("to", &wanted.to)?;
        let from = wanted
            .from
            .as_deref()
            .map(|from| number("from", from))
            .transpose()?;
        let note = wanted.call_log_id.as_deref().map(call_log_id).transpose()?;
        let lead = lead_with_number(&door.crm.table, &caller, &to).await;
        let lead = lead.map_err(problem)?;
        if lead.is_none() && !caller.role.is_admin() {
            let detail =
                "None of your leads has this number; only administrators may have any number called.";
            return Err(Problem::new(403, "no_lead", detail).about("to"));
        }
        let account = door.account(now).await?.with_bot(self.line(now).await);
        let place = async |row: &str, resumed| {
            let row: CallLocator = row.parse().map_err(Problem::internal)?;
            let call = BotCall {
                caller: &caller,
                to: &to,
                from: from.as_ref(),
                note,
                call: &row,
                resumed,
            };
            let placed = door.outbound.call_bot(&account, &door.queue, call).await;
            let placed = placed.map_err(outbound_problem)?;
            let reason = |call: &Call| call.exotel().and_then(|call| call.reason.clone());
            door.answer::<_, CallLog>(request, &placed, reason).await
        };
        // The whole locator is remembered: a repetition looks for the row where the first one put it, also when the
        // number has become a lead's, or another lead's, since. For the same reason the number stands for the lead.
        let row = CallLocator {
            id: CallId::new(now, door.outbound.random()),
            lead_id: home_of(lead.as_ref(), &to),
        };
        let wish = Wish {
            caller: &caller,
            lead: &home_of(None, &to),
            route: "call",
            id: row.to_string(),
            text: note.unwrap_or_default(),
        };
        door.once(request, wish, place).await
    }

    /// Where calls to a bot go, if they go anywhere.
    async fn line(&self, now: Timestamp) -> Option<BotLine> {
        let voicebot = &self.voicebot;
        if let Some(app_id) = &voicebot.app_id {
            let config = self.outbound.crm.exotel.get(now).await;
            let sid = &config.as_ref().as_ref()?.account_sid;
            return Some(BotLine::flow(sid, app_id));
        }
        let direct = voicebot.direct()?;
        let keys = self.outbound.crm.keys.get(now).await;
        Some(BotLine::Stream {
            bot: direct.name.clone(),
            rate: direct.rate,
            url: Arc::new(move |session: &VoiceSessionId, now| direct.url(session, &keys, now)),
        })
    }
}

/// The team's own name for a call.
fn call_log_id(text: &str) -> Result<&str, Problem> {
    let is_one =
        (1..=LONGEST_CALL_LOG_ID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if is_one {
        Ok(text)
    } else {
        let detail = format!("callLogId must be 1 to {LONGEST_CALL_LOG_ID} visible ASCII characters.");
        Err(Problem::bad_field("callLogId", detail))
    }
}
