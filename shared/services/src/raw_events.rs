//! Raw events as an operator sees them, and replaying them.

use domain::ids::{CallId, LeadId, SmsId};
use jiff::Timestamp;
use serde::Serialize;
use table::{EventOwner, RawEvent};

use crate::masking::mask;
#[cfg(feature = "raw-events")]
use {
    crate::{
        ServiceError,
        inbound::{WebhookMessage, WebhookQueue},
    },
    jiff::SignedDuration,
    table::{Page, Table, events::RawEventId},
};

/// Bytes of a body that a list shows: 100 events fit an answer of Lambda's (6 MB) with room to spare. Exotel's own
/// events have some KB.
const SHOWN_BYTES: usize = 16 * 1024;

/// A raw event, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RawEventView {
    /// Names it, for replaying.
    pub id: String,
    /// `call`, `sms` or `heartbeat`.
    pub purpose: String,
    /// The lead whose call or SMS it is about, when known.
    pub lead_id: Option<LeadId>,
    /// The call it is about.
    pub call_id: Option<CallId>,
    /// The SMS it is about.
    pub sms_id: Option<SmsId>,
    /// The sid that it came with, when no row of ours has it.
    pub unknown_sid: Option<String>,
    /// When it came; UTC.
    pub received_at: Timestamp,
    /// Its `Content-Type`.
    pub content_type: Option<String>,
    /// Its query string, without the token.
    pub query: Option<String>,
    /// Its body; bytes that are not UTF-8 stand as U+FFFD.
    pub body: String,
    /// Whether the body is longer than what stands here.
    pub body_cut: bool,
    /// Whether it changed or confirmed a row; `null` while nobody said.
    pub handled: Option<bool>,
}

impl RawEventView {
    /// The event; `masked` leaves four digits of every number and no address of a recording.
    pub fn new(event: RawEvent, masked: bool) -> Self {
        let id = event.id().to_string();
        let shown = &event.body[..event.body.len().min(SHOWN_BYTES)];
        let text = |text: &str| if masked { mask(text) } else { text.to_owned() };
        let body = text(&String::from_utf8_lossy(shown));
        let (lead_id, call_id, sms_id, sid) = match event.owner {
            // About the account, not about a sid.
            EventOwner::Sid(_) if event.purpose == "heartbeat" => (None, None, None, None),
            EventOwner::Call(call) => (Some(call.lead_id), Some(call.id), None, None),
            EventOwner::Sms(sms) => (Some(sms.lead_id), None, Some(sms.id), None),
            EventOwner::Sid(sid) => (None, None, None, Some(sid)),
        };
        Self {
            id,
            purpose: event.purpose,
            lead_id,
            call_id,
            sms_id,
            unknown_sid: sid.map(|sid| text(&sid)),
            received_at: event.received_at,
            content_type: event.content_type,
            query: event.query.as_deref().map(text),
            body_cut: event.body.len() > shown.len(),
            body,
            handled: event.handled,
        }
    }
}

/// Lists raw events and asks for them to be applied again.
#[cfg(feature = "raw-events")]
#[derive(Debug)]
pub struct RawEvents {
    table: Table,
    queue: WebhookQueue,
}

/// When the events came that an operator asks for.
#[cfg(feature = "raw-events")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    from: Timestamp,
    to: Timestamp,
}

#[cfg(feature = "raw-events")]
impl Period {
    /// From `from` (the last 24 hours by default; nothing older than 31 days is kept) up to `to` (now by default).
    ///
    /// # Errors
    /// [`ServiceError::Field`] when it ends before it begins.
    pub fn new(from: Option<Timestamp>, to: Option<Timestamp>, now: Timestamp) -> Result<Self, ServiceError> {
        let day = SignedDuration::from_hours(24);
        let oldest = now - day * 31;
        let to = to.unwrap_or(now).clamp(oldest, now + day);
        let from = from.unwrap_or(to - day).max(oldest);
        if from >= to {
            return Err(ServiceError::field(
                "from",
                "it must be before to, and within the last 31 days",
            ));
        }
        Ok(Self { from, to })
    }
}

#[cfg(feature = "raw-events")]
impl RawEvents {
    /// Over this table and this queue.
    pub fn new(table: Table, queue: WebhookQueue) -> Self {
        Self { table, queue }
    }

    /// The events of a period, newest first. A page may be short, or empty, and still have a `next`.
    ///
    /// # Errors
    /// [`ServiceError::Table`].
    pub async fn list(
        &self,
        period: Period,
        limit: usize,
        after: Option<&str>,
        masked: bool,
    ) -> Result<Page<RawEventView>, ServiceError> {
        let page = self
            .table
            .raw_events_by_hour(period.from, period.to, limit, after)
            .await?;
        Ok(Page {
            items: page
                .items
                .into_iter()
                .map(|event| RawEventView::new(event, masked))
                .collect(),
            next: page.next,
        })
    }

    /// Asks for an event to be applied again.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] when there is no such event (any more); [`ServiceError::Queue`] when the queue did
    /// not take it.
    pub async fn replay(&self, id: &str) -> Result<(), ServiceError> {
        let id: RawEventId = id.parse().map_err(|_| ServiceError::NotFound)?;
        if self.table.raw_event(&id).await?.is_none() {
            return Err(ServiceError::NotFound);
        }
        self.queue.send(&WebhookMessage::replay(&id, None), None).await?;
        tracing::info!(event.id = %id, "a raw event is to be applied again");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_event_shows_no_number_and_no_recording_in_any_encoding() {
        for body in [
            "From=%2B919811100001&To=09811100002&RecordingUrl=https%3A%2F%2Frecordings.exotel.com%2Fa%2Fb.mp3&Status=completed",
            r#"{"From":"+91 98111 00001","To":"098111-00002","RecordingUrl":"https:\/\/recordings.exotel.com\/a\/b.mp3","Status":"completed"}"#,
            "name=\"From\"\r\n\r\n09811100001\r\nhttps://recordings.exotel.com/a/b.mp3\r\ncompleted 98111%2000002",
        ] {
            let masked = mask(body);
            for secret in ["98111", "recordings.exotel.com", "b.mp3"] {
                assert!(!masked.contains(secret), "{masked}");
            }
            assert!(
                masked.contains("0001") && masked.contains("completed"),
                "{masked}"
            );
        }
    }
}
