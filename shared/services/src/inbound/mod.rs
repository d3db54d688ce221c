//! Webhooks: what Exotel tells us is kept as it came, and applied to the row it is about.
//!
//! One path for all of it. A delivery becomes a *raw event* (cleaned of credentials, keyed by its hash, so that a
//! duplicate lands on itself) and, read from that cleaned body, a *report* for a row. Both are written side by side.
//! A replay reads the kept raw event with the same code, so it can only repeat what the first time did or failed to do.
//!
//! Nothing here fails: what the table does not take goes to the queue `webhook-events`, and [`Receipt`] tells the
//! door what to answer.

mod heartbeat;
mod passthru;
mod queue;
mod reading;
mod redact;
mod replay;

use std::{str::FromStr, time::Duration};

use aws_sdk_dynamodb::config::{retry::RetryConfig, timeout::TimeoutConfig};
use aws_types::SdkConfig;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::ids::{CallLocator, SmsLocator};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use table::{EventOwner, RawEvent, Recorded, Table, TableError};

#[cfg(feature = "projection")]
pub(crate) use self::reading::{record_report, stream_told};
pub use self::{
    passthru::Steered,
    queue::{QueueError, WebhookMessage, WebhookQueue},
    replay::{Replay, Replayed},
};
use self::{
    reading::{Reading, Report, read},
    redact::without_credentials,
};

/// A longer body is refused before anything reads it (spec 4.7), in bytes.
pub const LONGEST_BODY: usize = 64 * 1024;

/// A longer content type or query string says nothing about a call any more; what is beyond is not kept.
const LONGEST_HEADER: usize = 8 * 1024;

const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// Limits of one attempt and of one operation.
struct Patience {
    table_attempt: Duration,
    table_operation: Duration,
    queue_attempt: Duration,
    queue_operation: Duration,
}

/// A lookup, a write and a message one after the other stay below the 5 s that Exotel waits (spec 4.7), 1 s of which is
/// for a fresh secret.
const CALLBACK: Patience = Patience {
    table_attempt: Duration::from_millis(700),
    table_operation: Duration::from_millis(1400),
    queue_attempt: Duration::from_millis(600),
    queue_operation: Duration::from_millis(1000),
};

/// A write and a message one after the other stay near 1 s: somebody waits on the phone.
const CALLER_WAITS: Patience = Patience {
    table_attempt: Duration::from_millis(400),
    table_operation: Duration::from_millis(700),
    queue_attempt: Duration::from_millis(250),
    queue_operation: Duration::from_millis(400),
};

/// Which of Exotel's webhooks something came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Webhook {
    /// Status callbacks of calls.
    Call,
    /// Delivery callbacks of SMS.
    Sms,
    /// Calls in the middle of a flow, from Passthru applets.
    Passthru,
    /// The HeartBeat: health of all ExoPhones.
    Heartbeat,
}

impl Webhook {
    /// The word in URLs and items: `call`, `sms`, `passthru` or `heartbeat`.
    pub fn as_str(self) -> &'static str {
        match self {
            Webhook::Call => "call",
            Webhook::Sms => "sms",
            Webhook::Passthru => "passthru",
            Webhook::Heartbeat => "heartbeat",
        }
    }

    /// The row that this text names, if it is a locator of this webhook's kind.
    pub fn locator(self, text: &str) -> Option<Locator> {
        match self {
            Webhook::Call | Webhook::Passthru => text.parse().ok().map(Locator::Call),
            Webhook::Sms => text.parse().ok().map(Locator::Sms),
            // It is about no row.
            Webhook::Heartbeat => None,
        }
    }

    /// The longest body that is taken in, in bytes. A HeartBeat may name every ExoPhone of the account; what is too
    /// long to keep is known to be that, and what is longer than this Lambda does not take.
    pub fn longest_body(self) -> usize {
        match self {
            Webhook::Call | Webhook::Sms | Webhook::Passthru => LONGEST_BODY,
            Webhook::Heartbeat => 6 * 1024 * 1024,
        }
    }
}

impl FromStr for Webhook {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "call" => Ok(Webhook::Call),
            "sms" => Ok(Webhook::Sms),
            "passthru" => Ok(Webhook::Passthru),
            "heartbeat" => Ok(Webhook::Heartbeat),
            _ => Err(()),
        }
    }
}

/// The row that an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locator {
    /// A call's.
    Call(CallLocator),
    /// An SMS's.
    Sms(SmsLocator),
}

impl From<Locator> for EventOwner {
    fn from(locator: Locator) -> Self {
        match locator {
            Locator::Call(call) => EventOwner::Call(call),
            Locator::Sms(sms) => EventOwner::Sms(sms),
        }
    }
}

/// One authenticated request of Exotel's.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// Which webhook it came by.
    pub webhook: Webhook,
    /// The row that its capability names; `None` for URLs that name no row.
    pub locator: Option<Locator>,
    /// Its `Content-Type`.
    pub content_type: Option<&'a str>,
    /// Its query string, without the `?`.
    pub query: Option<&'a str>,
    /// Its body, at most [`Webhook::longest_body`] bytes.
    pub body: &'a [u8],
    /// Our own secrets that could stand in it (webhook token, API key and token): removed from what is kept.
    pub credentials: &'a [SecretString],
}

/// What to answer to Exotel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// The event is kept: 200.
    Kept {
        /// False when something inside failed; the event is applied later.
        success: bool,
        /// Whether it was about a row that we know and may touch. A duplicate counts.
        handled: bool,
    },
    /// Neither table nor queue took it: 503, so that Exotel sends it again.
    KeptNowhere,
}

/// Takes deliveries in.
#[derive(Debug)]
pub struct Inbox {
    table: Table,
    queue: WebhookQueue,
}

impl Inbox {
    /// Over this table and this queue.
    pub fn new(table: Table, queue: WebhookQueue) -> Self {
        Self { table, queue }
    }

    /// With clients of its own, quick to give up: Exotel waits 5 s for the answer, a caller in a flow 1 s, and the queue
    /// is there. `queue_url` is the URL of `webhook-events`.
    pub fn connect(webhook: Webhook, aws: &SdkConfig, table_name: &str, queue_url: &str) -> Self {
        let patience = match webhook {
            Webhook::Call | Webhook::Sms | Webhook::Heartbeat => CALLBACK,
            Webhook::Passthru => CALLER_WAITS,
        };
        let within = |attempt: Duration, operation: Duration| {
            let timeouts = TimeoutConfig::builder()
                .operation_attempt_timeout(attempt)
                .operation_timeout(operation)
                .build();
            let retries = RetryConfig::standard()
                .with_max_attempts(2)
                .with_initial_backoff(FIRST_BACKOFF);
            aws.to_builder()
                .timeout_config(timeouts)
                .retry_config(retries)
                .build()
        };
        let client = aws_sdk_dynamodb::Client::new(&within(patience.table_attempt, patience.table_operation));
        let queue = WebhookQueue::new(
            within(patience.queue_attempt, patience.queue_operation),
            queue_url,
        );
        Self::new(Table::new(client, table_name), queue)
    }

    /// Keeps the delivery and applies it. In order and on a capability URL that is one write for the row and one for
    /// the raw event, side by side, and nothing read.
    ///
    /// An event of a capability URL is applied to the row that the capability names and to no other, whatever sid it
    /// carries; one whose sid contradicts the row's is kept and changes nothing.
    ///
    /// For every webhook but the HeartBeat, which has [`Inbox::receive_heartbeat`]: a function links what it calls.
    pub async fn receive(&self, delivery: Delivery<'_>, now: Timestamp) -> Receipt {
        debug_assert_ne!(delivery.webhook, Webhook::Heartbeat);
        let mut event = clean(&delivery, now);
        let reading = read_event(delivery.webhook, &event);
        if let Some(why) = &reading.unreadable {
            tracing::warn!(webhook = delivery.webhook.as_str(), event.hash = %event.hash, "kept a callback that cannot be read: {why}");
        }
        // What is expected; `settle` corrects it.
        event.handled = Some(reading.report.is_some());
        match find_row(&self.table, delivery.webhook, delivery.locator, &reading).await {
            Ok(Some(locator)) => {
                event.owner = locator.clone().into();
                let (kept, applied) = tokio::join!(
                    self.table.put_raw_event(&event),
                    apply(&self.table, &locator, reading.report)
                );
                self.settle(event, kept, applied).await
            }
            Ok(None) => {
                let handled = without_row(reading.report.as_ref());
                event.owner = EventOwner::Sid(reading.sid.unwrap_or_default());
                event.handled = Some(handled);
                let kept = self.table.put_raw_event(&event).await;
                self.settle(event, kept, Ok(handled)).await
            }
            Err(error) => self.settle(event, Err(error), Ok(false)).await,
        }
    }

    /// What became of both writes decides the answer; what failed goes to the queue, which does both again.
    async fn settle(
        &self,
        event: RawEvent,
        kept: Result<bool, TableError>,
        applied: Result<bool, TableError>,
    ) -> Receipt {
        let handled = *applied.as_ref().unwrap_or(&false);
        let is_kept = kept.is_ok();
        let Some(error) = kept.err().or(applied.err()) else {
            if !handled && event.handled == Some(true) {
                self.mark_unhandled(&event).await;
            }
            log(&event, handled);
            return Receipt::Kept {
                success: true,
                handled,
            };
        };
        let hash = event.hash.clone();
        match self
            .queue
            .send(&WebhookMessage::Apply(event.clone().into()), None)
            .await
        {
            Ok(()) => {
                tracing::error!(event.hash = %hash, error = &error as &dyn std::error::Error, "the table failed; the event waits in the queue");
                Receipt::Kept {
                    success: false,
                    handled,
                }
            }
            Err(queue) if is_kept => {
                self.mark_unhandled(&event).await;
                // A metric filter turns this line into an alarm.
                tracing::error!(alarm = "webhook.not_kept", event.hash = %hash, error = &error as &dyn std::error::Error, queue = &queue as &dyn std::error::Error,
                    "table and queue failed; the event is kept and must be replayed by hand");
                Receipt::Kept {
                    success: false,
                    handled,
                }
            }
            Err(queue) => {
                // A metric filter turns this line into an alarm: an answer, 503 or not, is no error of the function's.
                tracing::error!(alarm = "webhook.not_kept", event.hash = %hash, error = &error as &dyn std::error::Error, queue = &queue as &dyn std::error::Error,
                    "table and queue failed; Exotel has to send the event again");
                Receipt::KeptNowhere
            }
        }
    }

    /// Corrects what was expected of a kept event. For the operator's list alone: a failure changes nothing.
    async fn mark_unhandled(&self, event: &RawEvent) {
        if let Err(error) = self.table.mark_raw_event(&event.id(), false).await {
            tracing::warn!(event.hash = %event.hash, error = &error as &dyn std::error::Error, "a raw event's mark is wrong");
        }
    }
}

/// The delivery as a raw event, its owner not looked up yet.
fn clean(delivery: &Delivery<'_>, now: Timestamp) -> RawEvent {
    let known: Vec<&str> = delivery
        .credentials
        .iter()
        .map(ExposeSecret::expose_secret)
        .collect();
    let text = |text: &str| {
        let end = text.floor_char_boundary(LONGEST_HEADER);
        String::from_utf8_lossy(&without_credentials(&text.as_bytes()[..end], &known)).into_owned()
    };
    let query = delivery.query.map(|query| {
        let pairs: Vec<&str> = query
            .split('&')
            .filter(|pair| !pair.starts_with("token="))
            .collect();
        text(&pairs.join("&"))
    });
    let query = query.filter(|query| !query.is_empty());
    let content_type = delivery.content_type.map(text);
    let body = without_credentials(delivery.body, &known);
    RawEvent {
        owner: EventOwner::Sid(String::new()),
        purpose: delivery.webhook.as_str().to_owned(),
        hash: hash(content_type.as_deref(), query.as_deref(), &body),
        received_at: now,
        content_type,
        body,
        query,
        handled: None,
    }
}

/// One line per event. A sid that we do not know could be anything, so it is not logged.
fn log(event: &RawEvent, handled: bool) {
    let hash = &event.hash;
    match &event.owner {
        EventOwner::Call(call) => {
            tracing::info!(call.id = %call.id, event.hash = %hash, handled, "kept an event of a call")
        }
        EventOwner::Sms(sms) => {
            tracing::info!(sms.id = %sms.id, event.hash = %hash, handled, "kept an event of an SMS")
        }
        EventOwner::Sid(_) if event.purpose == Webhook::Heartbeat.as_str() => {
            tracing::info!(event.hash = %hash, handled, "kept a HeartBeat")
        }
        EventOwner::Sid(_) => {
            tracing::info!(event.hash = %hash, handled, "kept an event of a sid that no row has")
        }
    }
}

/// Reads a raw event, at its first coming and at every replay.
fn read_event(webhook: Webhook, event: &RawEvent) -> Reading {
    read(
        webhook,
        event.content_type.as_deref(),
        &event.body,
        event.query.as_deref(),
    )
}

/// The row that an event is about: the one named by the URL, else by the event's own `CustomField`, else the one with
/// its sid (the only case that reads). `None` leaves the event with its sid.
async fn find_row(
    table: &Table,
    webhook: Webhook,
    named: Option<Locator>,
    reading: &Reading,
) -> Result<Option<Locator>, TableError> {
    if let Some(locator) = named.or_else(|| reading.locator.clone()) {
        return Ok(Some(locator));
    }
    let Some(sid) = &reading.sid else { return Ok(None) };
    Ok(match webhook {
        // A flow's calls have no row of ours, and the caller waits.
        Webhook::Passthru => None,
        Webhook::Call => match sid.parse() {
            Ok(sid) => table.call_by_sid(&sid).await?.map(Locator::Call),
            Err(_) => None,
        },
        Webhook::Sms => match sid.parse() {
            Ok(sid) => table.sms_by_sid(&sid).await?.map(Locator::Sms),
            Err(_) => None,
        },
        Webhook::Heartbeat => None,
    })
}

/// Whether an event that is about no row of ours is dealt with by being kept.
fn without_row(report: Option<&Report>) -> bool {
    matches!(report, Some(Report::Passthru))
}

/// Applies a report to its row; tells whether that row exists and takes reports. Nothing to report is not handled.
async fn apply(table: &Table, locator: &Locator, report: Option<Report>) -> Result<bool, TableError> {
    let recorded = match (locator, report) {
        (Locator::Call(call), Some(Report::Call(report))) => table.record_call_report(call, &report).await?,
        (Locator::Sms(sms), Some(Report::Sms(report))) => table.record_sms_report(sms, &report).await?,
        (_, Some(Report::Passthru)) => return Ok(true),
        _ => return Ok(false),
    };
    Ok(match recorded {
        Recorded::Applied | Recorded::Filled | Recorded::Unchanged => true,
        Recorded::NoRow | Recorded::NotExotel => false,
        Recorded::OtherSid => {
            tracing::warn!(row = ?locator, "left a row alone: the callback names another sid than the row has");
            false
        }
    })
}

/// What makes an event that event: its content. A multipart boundary is chosen anew for each sending, so it does not
/// count.
fn hash(content_type: Option<&str>, query: Option<&str>, body: &[u8]) -> String {
    let mut digest = Sha256::new();
    let boundary = content_type.and_then(boundary_of).unwrap_or_default();
    let form = content_type
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    for part in [
        form.trim().to_ascii_lowercase().as_bytes(),
        query.unwrap_or_default().as_bytes(),
    ] {
        digest.update(part);
        digest.update([0]);
    }
    if boundary.is_empty() {
        digest.update(body);
    } else {
        let mut rest = body;
        while let Some(at) = rest
            .windows(boundary.len())
            .position(|window| window == boundary.as_bytes())
        {
            digest.update(&rest[..at]);
            rest = &rest[at + boundary.len()..];
        }
        digest.update(rest);
    }
    // 128 bits are plenty for one call's events, and the key stays short.
    URL_SAFE_NO_PAD.encode(&digest.finalize()[..16])
}

fn boundary_of(content_type: &str) -> Option<&str> {
    let at = content_type.to_ascii_lowercase().find("boundary=")? + "boundary=".len();
    let boundary = content_type[at..].split([';', ',']).next()?;
    Some(boundary.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boundary_of_a_multipart_body_does_not_make_another_event() {
        let with = |boundary: &str| {
            let body = format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"Status\"\r\n\r\nbusy\r\n--{boundary}--\r\n"
            );
            hash(
                Some(&format!("multipart/form-data; boundary=\"{boundary}\"")),
                None,
                body.as_bytes(),
            )
        };
        assert_eq!(with("-----abc"), with("-----xyz9"));
    }

    #[test]
    fn another_body_query_or_form_is_another_event() {
        let hashes = [
            hash(Some("application/json"), None, b"{}"),
            hash(Some("application/json"), None, b"{ }"),
            hash(Some("text/plain"), None, b"{}"),
            hash(Some("application/json"), Some("a=1"), b"{}"),
            hash(None, None, b""),
        ];
        let distinct: std::collections::BTreeSet<_> = hashes.iter().collect();
        assert_eq!(distinct.len(), hashes.len());
        assert_eq!(
            hash(Some("Application/JSON; charset=utf-8"), None, b"{}"),
            hashes[0]
        );
    }
}
