//! Every key of the table, as types; the attribute names appear here and nowhere else.

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{
    figures::Bucket,
    ids::{
        AlertId, AlertSubject, CallId, CallLocator, CallSid, ConnectionId, DidId, LeadId, RuleId, SmsId,
        SmsLocator, UserId, VoiceSessionId,
    },
    phone::PhoneNumber,
};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::Deserialize;

/// Partition key of the table.
pub(crate) const PK: &str = "PK";
/// Sort key of the table.
pub(crate) const SK: &str = "SK";
/// The one index: sparse, keys only.
pub(crate) const GSI1: &str = "GSI1";
/// Partition key of the index.
pub(crate) const GSI1PK: &str = "GSI1PK";
/// Sort key of the index.
pub(crate) const GSI1SK: &str = "GSI1SK";
/// What kind of item it is.
pub(crate) const ENTITY_TYPE: &str = "entity_type";
/// Version of the item's form.
pub(crate) const VERSION: &str = "v";
/// When DynamoDB may drop the item, seconds since 1970.
pub(crate) const TTL: &str = "ttl";

/// An item's own key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub(crate) struct Primary {
    /// `PK`.
    #[serde(rename = "PK")]
    pub(crate) pk: String,
    /// `SK`.
    #[serde(rename = "SK")]
    pub(crate) sk: String,
}

impl Primary {
    /// A key of these two parts.
    pub(crate) fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self {
            pk: pk.into(),
            sk: sk.into(),
        }
    }

    /// The key as the SDK takes it.
    pub(crate) fn attributes(&self) -> Attributes {
        Attributes::from([
            (PK.to_owned(), AttributeValue::S(self.pk.clone())),
            (SK.to_owned(), AttributeValue::S(self.sk.clone())),
        ])
    }
}

impl std::fmt::Display for Primary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} / {}", self.pk, self.sk)
    }
}

/// An item as the SDK gives and takes it.
pub(crate) type Attributes = std::collections::HashMap<String, AttributeValue>;

/// An item's place in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gsi1 {
    /// `GSI1PK`.
    pub(crate) pk: String,
    /// `GSI1SK`.
    pub(crate) sk: String,
}

/// Sort keys of calls begin with it.
pub(crate) const CALLS: &str = "CALL#";
/// Sort keys of SMS begin with it.
pub(crate) const MESSAGES: &str = "SMS#";
/// Sort keys of raw events begin with it.
pub(crate) const RAW_EVENTS: &str = "EVENT#";
/// Sort key of the lead row.
pub(crate) const LEAD: &str = "LEAD";
/// Partition of calls that are not final.
pub(crate) const OPEN_CALLS: &str = "OPEN#CALL";
/// Partition of SMS that are not final.
pub(crate) const OPEN_MESSAGES: &str = "OPEN#SMS";
/// Partition of alerts that have not recovered.
pub(crate) const OPEN_ALERTS: &str = "ALERTS#OPEN";

/// A lead's item collection.
pub(crate) fn lead_partition(id: &LeadId) -> String {
    format!("LEAD#{id}")
}

/// The lead of an item collection.
pub(crate) fn lead_of_partition(pk: &str) -> Option<LeadId> {
    pk.strip_prefix("LEAD#")?.parse().ok()
}

/// The lead row.
pub(crate) fn lead(id: &LeadId) -> Primary {
    Primary::new(lead_partition(id), LEAD)
}

/// The lead row in the index, by its number.
pub(crate) fn lead_by_phone(id: &LeadId, phone: &PhoneNumber) -> Gsi1 {
    Gsi1 {
        pk: phone_partition(phone),
        sk: lead_partition(id),
    }
}

/// Index partition of the leads with this number.
pub(crate) fn phone_partition(phone: &PhoneNumber) -> String {
    format!("PHONE#{phone}")
}

/// Which adjacency item of a lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Among all leads.
    All,
    /// Among its owner's leads.
    Owner,
    /// Among its assignee's leads.
    Assignee,
}

impl Scope {
    /// Sort key of the adjacency item.
    pub(crate) fn sk(self) -> &'static str {
        match self {
            Scope::All => "SCOPE#ALL",
            Scope::Owner => "SCOPE#OWNER",
            Scope::Assignee => "SCOPE#ASSIGNEE",
        }
    }

    /// Index partition that the adjacency item stands in; `user` is empty for [`Scope::All`].
    pub(crate) fn partition(self, user: &str) -> String {
        match self {
            Scope::All => "LEADS".to_owned(),
            Scope::Owner => format!("OWNER#{user}"),
            Scope::Assignee => format!("ASSIGNEE#{user}"),
        }
    }
}

/// A user.
pub(crate) fn user(id: &UserId) -> Primary {
    Primary::new(format!("USER#{id}"), "USER")
}

/// A call's row.
pub(crate) fn call(locator: &CallLocator) -> Primary {
    Primary::new(lead_partition(&locator.lead_id), call_sk(&locator.id))
}

/// A call's sort key.
pub(crate) fn call_sk(id: &CallId) -> String {
    format!("{CALLS}{id}")
}

/// The call that a key names.
pub(crate) fn call_locator(key: &Primary) -> Option<CallLocator> {
    Some(CallLocator {
        id: key.sk.strip_prefix(CALLS)?.parse().ok()?,
        lead_id: lead_of_partition(&key.pk)?,
    })
}

/// An SMS's row.
pub(crate) fn sms(locator: &SmsLocator) -> Primary {
    Primary::new(lead_partition(&locator.lead_id), sms_sk(&locator.id))
}

/// The text of an SMS that is too long for its row.
pub(crate) fn sms_body(locator: &SmsLocator) -> Primary {
    Primary::new(
        lead_partition(&locator.lead_id),
        format!("SMSBODY#{}", locator.id),
    )
}

/// An SMS's sort key.
pub(crate) fn sms_sk(id: &SmsId) -> String {
    format!("{MESSAGES}{id}")
}

/// The SMS that a key names.
pub(crate) fn sms_locator(key: &Primary) -> Option<SmsLocator> {
    Some(SmsLocator {
        id: key.sk.strip_prefix(MESSAGES)?.parse().ok()?,
        lead_id: lead_of_partition(&key.pk)?,
    })
}

/// Partition of an Exotel id: of the index for rows, of the table for raw events of sids that we do not know. Exotel
/// ids have up to 64 characters; what somebody else sends us as one is cut, so that it always fits a key.
pub(crate) fn sid_partition(sid: &str) -> String {
    let end = sid.char_indices().map(|(at, _)| at).nth(128).unwrap_or(sid.len());
    format!("SID#{}", &sid[..end])
}

/// Partition of the pointers to raw events received within an hour (UTC).
pub(crate) fn hour_partition(at: Timestamp) -> String {
    at.strftime("EVENTS#%Y-%m-%dT%H").to_string()
}

/// A time as sort keys hold it: always six digits after the point, so that it sorts as text.
pub(crate) fn sortable(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// The pointer to a raw event in the hour it was received in.
pub(crate) fn raw_event_by_hour(received_at: Timestamp, hash: &str) -> Primary {
    Primary::new(
        hour_partition(received_at),
        format!("{}#{hash}", sortable(received_at)),
    )
}

/// The record of a call, beside the events of its sid that no row has.
pub(crate) fn call_record(sid: &CallSid) -> Primary {
    Primary::new(sid_partition(sid.as_str()), "RECORD")
}

/// An hour (UTC) as partitions name it: `2026-11-20T08`.
fn hour(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H").to_string()
}

/// The hours that a span touches, in this order. None when the span is empty.
pub(crate) fn hours(from: Timestamp, to: Timestamp, newest_first: bool) -> Vec<String> {
    let mut hours = Vec::new();
    let first = from.as_second().div_euclid(3600) * 3600;
    for second in (first
        ..to.as_second()
            .saturating_add(i64::from(to.subsec_nanosecond() > 0)))
        .step_by(3600)
    {
        if let Ok(at) = Timestamp::from_second(second) {
            hours.push(hour(at));
        }
    }
    if newest_first {
        hours.reverse();
    }
    hours
}

/// Partition of the summaries of calls placed in an hour.
pub(crate) fn call_summaries_partition(hour: &str) -> String {
    format!("CALLS#{hour}")
}

/// A call's summary, in the hour it was placed in.
pub(crate) fn call_summary(at: Timestamp, sid: &CallSid) -> Primary {
    Primary::new(
        call_summaries_partition(&hour(at)),
        format!("{}#{sid}", sortable(at)),
    )
}

/// The summary at a place that a cursor names.
pub(crate) fn call_summary_at(place: &str) -> Option<Primary> {
    let (at, sid) = place.split_once('#')?;
    let (at, sid): (Timestamp, CallSid) = (at.parse().ok()?, sid.parse().ok()?);
    Some(call_summary(at, &sid)).filter(|key| key.sk == place)
}

/// Index partition of the summaries of a customer's calls.
pub(crate) fn number_partition(phone: &PhoneNumber) -> String {
    format!("NUMBER#{phone}")
}

/// Partition of the summaries of SMS wanted in an hour.
pub(crate) fn message_summaries_partition(hour: &str) -> String {
    format!("MESSAGES#{hour}")
}

/// An SMS's summary, in the hour it was wanted in.
pub(crate) fn message_summary(at: Timestamp, id: &SmsId) -> Primary {
    Primary::new(
        message_summaries_partition(&hour(at)),
        format!("{}#{id}", sortable(at)),
    )
}

/// Partition of the quarters that are to be folded anew.
pub(crate) const DIRTY_FIGURES: &str = "DIRTY#FIGURES";

/// The mark of a quarter that is to be folded anew.
pub(crate) fn dirty(bucket: Bucket) -> Primary {
    Primary::new(DIRTY_FIGURES, bucket.to_string())
}

/// The figures of a quarter.
pub(crate) fn figures(bucket: Bucket) -> Primary {
    let text = bucket.to_string();
    let (date, time) = text.split_once('T').expect("it has a date and a time");
    Primary::new(format!("FIGURES#{date}"), time)
}

/// The quarter whose figures a key names.
pub(crate) fn figures_bucket(key: &Primary) -> Option<Bucket> {
    let date = key.pk.strip_prefix("FIGURES#")?;
    format!("{date}T{}", key.sk).parse().ok()
}

/// Partition of the figures of a zone's days.
pub(crate) fn days_partition(zone: &str) -> String {
    format!("FIGURES#DAYS#{zone}")
}

/// The figures of a zone's day.
pub(crate) fn day(zone: &str, date: Date) -> Primary {
    Primary::new(days_partition(zone), date.to_string())
}

/// The rebuilding of figures: one at a time.
pub(crate) fn rebuild() -> Primary {
    Primary::new("REBUILD#FIGURES", "REBUILD")
}

/// A history that becomes a file.
pub(crate) fn export(id: &str) -> Primary {
    Primary::new(format!("EXPORT#{id}"), "EXPORT")
}

/// Partition of where reading the call list stands.
pub(crate) const POSITIONS: &str = "RECONCILE";
/// Partition of what windows of the call list came to.
pub(crate) const TALLIES: &str = "RECONCILE#TALLIES";
/// Partition of calls that ended and have not settled.
pub(crate) const UNSETTLED: &str = "OPEN#RECORD";

/// The entry of a call that has not settled.
pub(crate) fn unsettled(at: Timestamp, sid: &CallSid) -> Primary {
    Primary::new(UNSETTLED, format!("{}#{sid}", sortable(at)))
}

/// The sort key in the index of an entry that is listed page by page there: a lead's partition, a summary's own.
pub(crate) fn index_sk(key: &Primary) -> &str {
    if key.pk.starts_with("CALLS#") {
        &key.sk
    } else {
        &key.pk
    }
}

/// The entry of a call that is not final; the locator sorts by creation time.
pub(crate) fn open_call(locator: &CallLocator) -> Primary {
    Primary::new(OPEN_CALLS, locator.to_string())
}

/// The entry of an SMS that is not final.
pub(crate) fn open_sms(locator: &SmsLocator) -> Primary {
    Primary::new(OPEN_MESSAGES, locator.to_string())
}

/// The entry of an alert that has not recovered: one for a rule and a subject.
pub(crate) fn open_alert(rule: &RuleId, subject: &AlertSubject) -> Primary {
    Primary::new(OPEN_ALERTS, format!("{rule}#{subject}"))
}

/// Partition of the alerts raised within the month (UTC) of a day.
pub(crate) fn alerts_of_month(day: Date) -> String {
    day.strftime("ALERTS#%Y-%m").to_string()
}

/// An alert among those of its month; the id tells when it was raised.
pub(crate) fn alert(id: &AlertId) -> Primary {
    let raised_at = id.created_at();
    Primary::new(
        alerts_of_month(TimeZone::UTC.to_datetime(raised_at).date()),
        format!("{}#{id}", sortable(raised_at)),
    )
}

/// The state of the account's ExoPhones.
pub(crate) fn exophones() -> Primary {
    Primary::new("EXOPHONES", "HEALTH")
}

/// Partition of the health checks of a day (UTC).
pub(crate) fn health_checks_of(day: Date) -> String {
    day.strftime("HEALTH#%Y-%m-%d").to_string()
}

/// A health check among those of its day.
pub(crate) fn health_check(at: Timestamp, id: &str) -> Primary {
    Primary::new(
        health_checks_of(TimeZone::UTC.to_datetime(at).date()),
        format!("{}#{id}", sortable(at)),
    )
}

/// Sort keys of a lead's sessions with bots begin with it.
pub(crate) const VOICE_SESSIONS: &str = "VOICE#";

/// Partition of the sessions with bots that were offered on a day (UTC).
pub(crate) fn voice_sessions_of(day: Date) -> String {
    day.strftime("SESSIONS#%Y-%m-%d").to_string()
}

/// A session among those of its day; the id tells when it was offered.
pub(crate) fn voice_session(id: &VoiceSessionId) -> Primary {
    Primary::new(
        voice_sessions_of(TimeZone::UTC.to_datetime(id.created_at()).date()),
        id.as_str(),
    )
}

/// The session in the index, by its call's sid.
pub(crate) fn voice_session_by_sid(id: &VoiceSessionId, sid: &CallSid) -> Gsi1 {
    Gsi1 {
        pk: sid_partition(sid.as_str()),
        sk: format!("{VOICE_SESSIONS}{id}"),
    }
}

/// Partition of what belongs to a session.
pub(crate) fn voice_partition(id: &VoiceSessionId) -> String {
    format!("VOICE#{id}")
}

/// Sort keys of a session's transcript begin with it.
pub(crate) const VOICE_LINES: &str = "LINE#";

/// What was said in a turn; three digits, so that turns sort.
pub(crate) fn voice_line(id: &VoiceSessionId, turn: u32) -> Primary {
    Primary::new(voice_partition(id), format!("{VOICE_LINES}{turn:03}"))
}

/// A session among what happened with a lead.
pub(crate) fn voice_place(lead: &LeadId, id: &VoiceSessionId) -> Primary {
    Primary::new(lead_partition(lead), format!("{VOICE_SESSIONS}{id}"))
}

/// The session that a place names.
pub(crate) fn placed_voice_session(key: &Primary) -> Option<VoiceSessionId> {
    lead_of_partition(&key.pk)?;
    key.sk.strip_prefix(VOICE_SESSIONS)?.parse().ok()
}

/// Partition of everything about an open WebSocket.
pub(crate) fn socket_partition(connection: &ConnectionId) -> String {
    format!("SOCKET#{connection}")
}

/// The call's session.
pub(crate) fn stream_session(connection: &ConnectionId) -> Primary {
    Primary::new(socket_partition(connection), "SESSION")
}

/// What is known of the call besides.
pub(crate) fn stream_context(connection: &ConnectionId) -> Primary {
    Primary::new(socket_partition(connection), "CONTEXT")
}

/// A frame of the caller's, by its sequence number. Ten digits, so that they sort.
pub(crate) fn frame(connection: &ConnectionId, number: u64) -> Primary {
    Primary::new(socket_partition(connection), frame_sk(number))
}

/// A frame's sort key.
pub(crate) fn frame_sk(number: u64) -> String {
    format!("FRAME#{number:010}")
}

/// The sequence number of the frame that a sort key names.
pub(crate) fn frame_number(sk: &str) -> Option<u64> {
    sk.strip_prefix("FRAME#")?.parse().ok()
}

/// Whose socket a voice session is.
pub(crate) fn socket_owner(session: &VoiceSessionId) -> Primary {
    Primary::new(voice_partition(session), "SOCKET")
}

/// Partition of the team's numbers at Exotel.
pub(crate) const DIDS: &str = "DIDS";
/// Sort keys of the numbers by id begin with it.
pub(crate) const DID: &str = "DID#";

/// A number of the team's, by its id.
pub(crate) fn did(id: &DidId) -> Primary {
    Primary::new(DIDS, format!("{DID}{id}"))
}

/// A number of the team's, by the number.
pub(crate) fn did_of_number(number: &PhoneNumber) -> Primary {
    Primary::new(format!("DID#{number}"), "NUMBER")
}
