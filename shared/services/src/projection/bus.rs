//! News for the team's other systems: EventBridge events without phone numbers.

use aws_sdk_eventbridge::{Client, types::PutEventsRequestEntry};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{
    alert::Alert,
    call::{Call, CallState, ExotelCall},
    sms::Sms,
};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// `source` of every event.
const SOURCE: &str = "exotel-serverless";
/// PutEvents takes at most this many entries. Ours are below 1 KB, so its 256 KB are never reached.
const ENTRIES: usize = 10;

/// The event bus did not take an event.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The request as a whole failed.
    #[error("the event bus did not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It took others of the same request and not this one.
    #[error("the event bus refused an event: {0}")]
    Refused(String),
}

/// One event for the bus: `call.dispatched`, `call.answered`, `call.completed`, `call.corrected`, `sms.queued`,
/// `sms.unconfirmed`, `sms.sent`, `sms.delivered`, `sms.failed`, `sms.lost`, `alert.raised`, `alert.recovered`,
/// `alert.acknowledged`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct News {
    pub(super) what: String,
    pub(super) detail: String,
}

/// What every detail begins with. The bus delivers at least once: `eventId` is the same each time.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Identified<'a, T> {
    version: u8,
    event_id: &'a str,
    #[serde(flatten)]
    detail: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallDetail<'a> {
    call_id: &'a str,
    lead_id: &'a str,
    call_sid: Option<&'a str>,
    called_by: Option<&'a str>,
    called_at: jiff::Timestamp,
    outcome: domain::call::Outcome,
    /// Who the last one to answer was, in `call.answered`.
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_by: Option<&'static str>,
    duration_sec: Option<u32>,
    has_recording: bool,
    agent_phone_last4: &'a str,
    lead_phone_last4: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SmsDetail<'a> {
    sms_id: &'a str,
    lead_id: &'a str,
    sms_sid: Option<&'a str>,
    sent_by: &'a str,
    sent_at: jiff::Timestamp,
    status: &'static str,
    error_message: Option<&'a str>,
    to_phone_last4: &'a str,
}

/// No note: people may write anything into one.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AlertDetail<'a> {
    alert_id: &'a str,
    rule: &'a str,
    /// An ExoPhone's sid is often its number, which is the account's own and public.
    subject: &'a str,
    severity: &'static str,
    message: &'a str,
    value: f64,
    threshold: f64,
    sample: u64,
    raised_at: jiff::Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered_at: Option<jiff::Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged_at: Option<jiff::Timestamp>,
}

impl News {
    pub(super) fn of_call(what: &str, call: &Call, exotel: &ExotelCall) -> Self {
        let answered_by = match exotel.progress.state {
            CallState::InProgress => Some("agent"),
            CallState::Talking => Some("lead"),
            _ => None,
        };
        Self::new(
            what.to_owned(),
            CallDetail {
                call_id: call.locator.id.as_str(),
                lead_id: call.locator.lead_id.as_str(),
                call_sid: exotel.progress.sid.as_ref().map(|sid| sid.as_str()),
                called_by: call.called_by.as_ref().map(|user| user.as_str()),
                called_at: call.called_at,
                outcome: call.outcome(),
                answered_by,
                duration_sec: call.duration_secs(),
                has_recording: call.recording_url().is_some(),
                agent_phone_last4: exotel.agent_phone.last4(),
                lead_phone_last4: exotel.lead_phone.last4(),
            },
        )
    }

    pub(super) fn of_sms(status: &'static str, sms: &Sms) -> Self {
        Self::new(
            format!("sms.{status}"),
            SmsDetail {
                sms_id: sms.locator.id.as_str(),
                lead_id: sms.locator.lead_id.as_str(),
                sms_sid: sms.progress.sid.as_ref().map(|sid| sid.as_str()),
                sent_by: sms.sent_by.as_str(),
                sent_at: sms.sent_at,
                status,
                error_message: sms.error_message(),
                to_phone_last4: sms.to_phone.last4(),
            },
        )
    }

    pub(super) fn of_alert(what: &str, alert: &Alert) -> Self {
        let acknowledged = alert.acknowledged.as_ref();
        Self::new(
            what.to_owned(),
            AlertDetail {
                alert_id: alert.id.as_str(),
                rule: alert.rule.as_str(),
                subject: alert.subject.as_str(),
                severity: alert.severity.as_str(),
                message: &alert.message,
                value: alert.value.into(),
                threshold: alert.threshold.into(),
                sample: alert.sample,
                raised_at: alert.raised_at,
                recovered_at: alert.recovered_at,
                recovered_value: alert.recovered_value.map(f64::from),
                acknowledged_by: acknowledged.map(|acknowledged| acknowledged.by.as_str()),
                acknowledged_at: acknowledged.map(|acknowledged| acknowledged.at),
            },
        )
    }

    /// The id follows from what is told, so the same change gives the same id whenever it comes again.
    fn new(what: String, detail: impl Serialize) -> Self {
        let told =
            serde_json::to_string(&detail).expect("strings, numbers and times always have a JSON form");
        let digest = Sha256::new()
            .chain_update(&what)
            .chain_update([0])
            .chain_update(told)
            .finalize();
        let event_id = URL_SAFE_NO_PAD.encode(&digest[..16]);
        let detail = Identified {
            version: 1,
            event_id: &event_id,
            detail,
        };
        Self {
            what,
            detail: serde_json::to_string(&detail).expect("as above"),
        }
    }
}

/// An EventBridge bus.
#[derive(Debug)]
pub struct EventBus {
    client: Client,
    name: String,
}

impl EventBus {
    /// The bus of this name, reached by this client.
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        Self {
            client,
            name: name.into(),
        }
    }

    /// Puts the news, each with the position of the change it comes from; on failure, the first position whose news
    /// did not get through. News after it may have got through.
    pub(super) async fn put(&self, news: &[(usize, News)]) -> Result<(), (usize, BusError)> {
        for chunk in news.chunks(ENTRIES) {
            let entries = chunk.iter().map(|(_, news)| {
                PutEventsRequestEntry::builder()
                    .event_bus_name(&self.name)
                    .source(SOURCE)
                    .detail_type(&news.what)
                    .detail(&news.detail)
                    .build()
            });
            let answer = self
                .client
                .put_events()
                .set_entries(Some(entries.collect()))
                .send()
                .await;
            let answer = answer.map_err(|error| (chunk[0].0, BusError::Unavailable(Box::new(error))))?;
            // Answers stand in the order of the entries; an entry without an answer was not taken.
            for (n, (at, _)) in chunk.iter().enumerate() {
                match answer.entries().get(n) {
                    Some(entry) if entry.error_code().is_none() => {}
                    entry => {
                        let code = entry.and_then(|entry| entry.error_code()).unwrap_or("no answer");
                        return Err((*at, BusError::Refused(code.to_owned())));
                    }
                }
            }
        }
        Ok(())
    }
}
