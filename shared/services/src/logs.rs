//! A lead's calls, messages and sessions with bots as people see them: lists, the timeline, and calls logged by hand.

use domain::{
    Ranked,
    access::Caller,
    call::{Call, CallOrigin, CallSource, CallState, Outcome},
    ids::{CallId, CallLocator, CallSid, LeadId, SmsId, SmsSid, UserId, VoiceSessionId},
    phone::PhoneNumber,
    sms::Sms,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use table::{Create, Page, Table};

use crate::{ServiceError, voicebot::sessions::SessionLog};

/// Characters of notes, at most.
const NOTES_CHARS: usize = 2_000;
/// The longest call that anybody may log: a day.
const LONGEST_CALL_SECS: u32 = 24 * 60 * 60;

/// A call, as its log shows it: the recording only as whether there is one, never where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallLog {
    /// Our id of the call.
    pub id: CallId,
    /// The lead.
    pub lead_id: LeadId,
    /// Who called, or logged the call; null when the lead called.
    pub called_by: Option<UserId>,
    /// What became of it.
    pub outcome: Outcome,
    /// Who made the row.
    pub source: CallSource,
    /// Seconds of conversation, when known.
    pub duration_sec: Option<u32>,
    /// What the caller wrote about it.
    pub notes: Option<String>,
    /// Exotel's id of the call, once known.
    pub exotel_call_sid: Option<CallSid>,
    /// Whether the call was recorded.
    pub has_recording: bool,
    /// When it was wanted, or logged; UTC.
    pub called_at: Timestamp,
    /// Why it was not placed, in words; only then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl From<&Call> for CallLog {
    fn from(call: &Call) -> Self {
        let exotel = call.exotel();
        Self {
            id: call.locator.id.clone(),
            lead_id: call.locator.lead_id.clone(),
            called_by: call.called_by.clone(),
            outcome: call.outcome(),
            source: call.source(),
            duration_sec: call.duration_secs(),
            notes: call.notes.clone(),
            exotel_call_sid: call.sid().cloned(),
            has_recording: call.recording_url().is_some(),
            called_at: call.called_at,
            reason: exotel
                .filter(|exotel| {
                    // Else it is why an earlier attempt was put back.
                    let state = exotel.progress.state;
                    matches!(state, CallState::Refused | CallState::Expired | CallState::GaveUp)
                })
                .and_then(|exotel| exotel.reason.clone()),
        }
    }
}

/// An SMS, as its log shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SmsLog {
    /// Our id of the SMS.
    pub id: SmsId,
    /// The lead.
    pub lead_id: LeadId,
    /// Who sent it.
    pub sent_by: UserId,
    /// Where it went.
    pub to_phone: PhoneNumber,
    /// What it says.
    pub body: String,
    /// `queued`, `unconfirmed`, `sent`, `delivered`, `failed` or `lost`.
    pub status: &'static str,
    /// Exotel's id of the SMS, once known.
    pub exotel_sms_sid: Option<SmsSid>,
    /// Why it failed.
    pub error_message: Option<String>,
    /// When it was wanted; UTC.
    pub sent_at: Timestamp,
    /// When the operator got it; UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date_sent: Option<Timestamp>,
    /// Exotel's words for where it stands, numbers masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detailed_status: Option<String>,
    /// Exotel's code for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detailed_status_code: Option<u32>,
    /// Billed parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sms_units: Option<u32>,
    /// What it cost, a decimal number in the account's currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
}

impl From<&Sms> for SmsLog {
    fn from(sms: &Sms) -> Self {
        Self {
            id: sms.locator.id.clone(),
            lead_id: sms.locator.lead_id.clone(),
            sent_by: sms.sent_by.clone(),
            to_phone: sms.to_phone.clone(),
            body: sms.body.clone(),
            status: sms.progress.state.status(),
            exotel_sms_sid: sms.progress.sid.clone(),
            error_message: sms.error_message().map(str::to_owned),
            sent_at: sms.sent_at,
            date_sent: value(&sms.progress.date_sent),
            detailed_status: value(&sms.progress.detailed_status),
            detailed_status_code: value(&sms.progress.detailed_code),
            sms_units: value(&sms.progress.units),
            price: value(&sms.progress.price),
        }
    }
}

fn value<T: Clone>(fact: &Option<Ranked<T>>) -> Option<T> {
    fact.as_ref().map(|fact| fact.value.clone())
}

/// Something that happened with a lead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Happening {
    /// A call.
    Call(CallLog),
    /// An SMS.
    Sms(SmsLog),
    /// A session with a bot.
    BotSession(SessionLog),
}

impl Happening {
    /// Its id, which tells when it was wanted.
    pub fn id(&self) -> &str {
        match self {
            Happening::Call(call) => call.id.as_str(),
            Happening::Sms(sms) => sms.id.as_str(),
            Happening::BotSession(session) => session.id.as_str(),
        }
    }

    /// The part of the id that sorts by time across kinds.
    fn moment(&self) -> &str {
        moment(self.id())
    }
}

fn moment(id: &str) -> &str {
    id.split_once('_').map_or(id, |(_, moment)| moment)
}

/// A place in a timeline: the id of the last thing shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Place {
    /// A call.
    Call(CallId),
    /// An SMS.
    Sms(SmsId),
    /// A session with a bot.
    BotSession(VoiceSessionId),
}

impl Place {
    /// The ids before which calls, SMS and sessions go on. Of the same id part, an SMS stands before a session, and that
    /// before a call.
    fn bounds(&self) -> (CallId, SmsId, VoiceSessionId) {
        let id = match self {
            Place::Call(id) => id.as_str(),
            Place::Sms(id) => id.as_str(),
            Place::BotSession(id) => id.as_str(),
        };
        let call = format!("{}{}", CallId::PREFIX, moment(id)).parse();
        let sms = format!("{}{}", SmsId::PREFIX, moment(id)).parse();
        let session = format!("{}{}", VoiceSessionId::PREFIX, moment(id)).parse();
        (
            call.expect("the part behind the prefix is that of an id"),
            sms.expect("the part behind the prefix is that of an id"),
            session.expect("the part behind the prefix is that of an id"),
        )
    }
}

/// The lead's calls, newest first, `limit` at most, those before `after`.
///
/// # Errors
/// [`ServiceError::Table`].
pub async fn calls(
    table: &Table,
    lead: &LeadId,
    limit: usize,
    after: Option<&CallId>,
) -> Result<Page<CallLog>, ServiceError> {
    let page = table.calls(lead, limit, after).await?;
    Ok(Page {
        items: page.items.iter().map(CallLog::from).collect(),
        next: page.next,
    })
}

/// The lead's SMS, newest first, `limit` at most, those before `after`.
///
/// # Errors
/// [`ServiceError::Table`].
pub async fn messages(
    table: &Table,
    lead: &LeadId,
    limit: usize,
    after: Option<&SmsId>,
) -> Result<Page<SmsLog>, ServiceError> {
    let page = table.sms_messages(lead, limit, after).await?;
    Ok(Page {
        items: page.items.iter().map(SmsLog::from).collect(),
        next: page.next,
    })
}

/// Everything that happened with a lead, newest first, `limit` at most, what came before `after`; the page's `next`
/// is the last one's id. `now` tells where sessions with bots stand.
///
/// # Errors
/// [`ServiceError::Table`].
pub async fn timeline(
    table: &Table,
    lead: &LeadId,
    limit: usize,
    after: Option<&Place>,
    now: Timestamp,
) -> Result<Page<Happening>, ServiceError> {
    let bounds = after.map(Place::bounds);
    let (call, sms, session) = match bounds {
        Some((call, sms, session)) => (Some(call), Some(sms), Some(session)),
        None => (None, None, None),
    };
    let calls = calls(table, lead, limit, call.as_ref()).await?;
    let messages = messages(table, lead, limit, sms.as_ref()).await?;
    let sessions = table
        .voice_sessions_of_lead(lead, limit, session.as_ref())
        .await?;
    let more = calls.next.is_some() || messages.next.is_some() || sessions.next.is_some();
    let calls = calls.items.into_iter().map(Happening::Call);
    let messages = messages.items.into_iter().map(Happening::Sms);
    let sessions = sessions.items.iter().map(|session| SessionLog::at(session, now));
    let sessions = sessions.map(Happening::BotSession);
    let mut items: Vec<_> = messages.chain(sessions).chain(calls).collect();
    // Stable: of the same moment, an SMS stays before a session, and that before a call.
    items.sort_by(|a, b| b.moment().cmp(a.moment()));
    let more = more || items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| last.id().to_owned());
    Ok(Page { items, next })
}

/// A call that somebody wants to log, as they wrote it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WrittenCall {
    outcome: String,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    notes: Option<String>,
    #[serde(default)]
    duration_sec: Option<u32>,
}

/// Logs a call by hand. Administrators may log those of the AI caller too (`source: "aarya"`). The lead's counters
/// stay as they are. `random` gives the id's last bits.
///
/// # Errors
/// [`ServiceError::Field`], [`ServiceError::Forbidden`] for an AI caller's row from anybody else,
/// [`ServiceError::NotFound`] when the lead has just gone, [`ServiceError::Table`].
pub async fn log_call(
    table: &Table,
    caller: &Caller,
    lead: &LeadId,
    written: WrittenCall,
    now: Timestamp,
    random: u128,
) -> Result<CallLog, ServiceError> {
    let call = Call {
        locator: CallLocator {
            id: CallId::new(now, random),
            lead_id: lead.clone(),
        },
        called_by: Some(caller.user_id.clone()),
        called_at: now,
        notes: read_notes(written.notes)?,
        origin: read_origin(
            caller,
            &written.outcome,
            written.source.as_deref(),
            written.duration_sec,
        )?,
    };
    match table.log_call(&call).await? {
        Create::Created => {
            tracing::info!(call.id = %call.locator.id, lead.id = %lead, user.id = %caller.user_id, "a call was logged by hand");
            Ok(CallLog::from(&call))
        }
        Create::NoLead => Err(ServiceError::NotFound),
        // Same moment, same 80 random bits: it is this very request, tried again by the SDK.
        Create::Exists => Ok(CallLog::from(&call)),
    }
}

fn read_notes(notes: Option<String>) -> Result<Option<String>, ServiceError> {
    let notes = notes
        .map(|notes| notes.trim().to_owned())
        .filter(|notes| !notes.is_empty());
    if notes
        .as_ref()
        .is_some_and(|notes| notes.chars().count() > NOTES_CHARS)
    {
        let message = format!("it must not be longer than {NOTES_CHARS} characters");
        return Err(ServiceError::field("notes", message));
    }
    Ok(notes)
}

fn read_origin(
    caller: &Caller,
    outcome: &str,
    source: Option<&str>,
    duration_secs: Option<u32>,
) -> Result<CallOrigin, ServiceError> {
    let source = match source {
        None | Some("manual") => CallSource::Manual,
        Some("aarya") if caller.role.is_admin() => CallSource::Aarya,
        Some("aarya") => return Err(ServiceError::Forbidden),
        Some(_) => return Err(ServiceError::field("source", "it must be manual or aarya")),
    };
    let outcome: Outcome = outcome
        .parse()
        .map_err(|error| ServiceError::field("outcome", error))?;
    let allowed: &[Outcome] = if source == CallSource::Aarya {
        &Outcome::AARYA
    } else {
        &Outcome::MANUAL
    };
    if !allowed.contains(&outcome) {
        let message = "a call logged by hand takes picked, not_picked, wrong_number, invalid, switched_off, \
                       out_of_service or callback_requested; aarya_dispatched, aarya_completed and aarya_failed go \
                       with source aarya";
        return Err(ServiceError::field("outcome", message));
    }
    if duration_secs.is_some_and(|secs| secs > LONGEST_CALL_SECS) {
        let message = format!("it must be at most {LONGEST_CALL_SECS} seconds");
        return Err(ServiceError::field("durationSec", message));
    }
    Ok(CallOrigin::Logged {
        source,
        outcome,
        duration_secs,
    })
}
