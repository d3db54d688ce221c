//! The queue `webhook-events`: events that the table did not take, and events that somebody wants applied again.

use std::{sync::OnceLock, time::Duration};

use aws_sdk_sqs::Client;
use aws_types::SdkConfig;
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use table::{EventOwner, RawEvent, events::RawEventId};

use super::{Locator, Webhook};

/// The queue did not take a message.
#[derive(Debug, thiserror::Error)]
#[error("the queue webhook-events did not take the message")]
pub struct QueueError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// What travels in `webhook-events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum WebhookMessage {
    /// An event that the table did not take, whole: keep it and apply it.
    #[serde(rename = "apply_event.v1")]
    Apply(CarriedEvent),
    /// A kept event, to be applied again.
    #[serde(rename = "replay_event.v1")]
    Replay {
        /// Names the kept event: [`RawEventId`] as text.
        id: String,
        /// The row that it turned out to be about, as a locator's text, when somebody knows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        locator: Option<String>,
    },
}

impl WebhookMessage {
    /// Asks for a kept event to be applied again.
    pub fn replay(id: &RawEventId, locator: Option<&Locator>) -> Self {
        WebhookMessage::Replay {
            id: id.to_string(),
            locator: locator.map(|locator| match locator {
                Locator::Call(call) => call.to_string(),
                Locator::Sms(sms) => sms.to_string(),
            }),
        }
    }

    /// The message as SQS takes it. SQS refuses text with U+FFFE or U+FFFF, so they are escaped.
    fn to_text(&self) -> String {
        let json = serde_json::to_string(self).expect("strings, numbers and times always have a JSON form");
        json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
    }
}

/// A raw event on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedEvent {
    webhook: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    locator: Option<String>,
    hash: String,
    received_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    /// The body, when it is UTF-8, so that an operator can read it in the dead-letter queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl From<RawEvent> for CarriedEvent {
    fn from(event: RawEvent) -> Self {
        let (body, body_base64) = match String::from_utf8(event.body) {
            Ok(body) => (Some(body), None),
            Err(bytes) => (None, Some(STANDARD.encode(bytes.as_bytes()))),
        };
        Self {
            webhook: event.purpose,
            locator: match event.owner {
                EventOwner::Call(call) => Some(call.to_string()),
                EventOwner::Sms(sms) => Some(sms.to_string()),
                EventOwner::Sid(_) => None,
            },
            hash: event.hash,
            received_at: event.received_at,
            content_type: event.content_type,
            query: event.query,
            body,
            body_base64,
        }
    }
}

impl CarriedEvent {
    /// The event and its webhook, or `None` when the message was not written by us.
    pub(super) fn into_event(self) -> Option<(Webhook, Option<Locator>, RawEvent)> {
        let webhook: Webhook = self.webhook.parse().ok()?;
        let locator = match self.locator {
            Some(text) => Some(webhook.locator(&text)?),
            None => None,
        };
        let body = match (self.body, self.body_base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(base64)) => STANDARD.decode(base64).ok()?,
            _ => return None,
        };
        let event = RawEvent {
            owner: EventOwner::Sid(String::new()),
            purpose: self.webhook,
            hash: self.hash,
            received_at: self.received_at,
            content_type: self.content_type,
            body,
            query: self.query,
            handled: None,
        };
        Some((webhook, locator, event))
    }
}

/// Writes to `webhook-events`. The client is made when the first message is sent: a webhook needs it only when the
/// table fails, and a cold start should not pay for it.
#[derive(Debug)]
pub struct WebhookQueue {
    settings: SdkConfig,
    url: String,
    client: OnceLock<Client>,
}

impl WebhookQueue {
    /// The queue at this URL, reached with these AWS settings.
    pub fn new(settings: SdkConfig, url: impl Into<String>) -> Self {
        Self {
            settings,
            url: url.into(),
            client: OnceLock::new(),
        }
    }

    /// Sends one message, to be seen after `delay` (whole seconds, at most 15 min).
    ///
    /// # Errors
    /// [`QueueError`] when SQS did not take it.
    pub async fn send(&self, message: &WebhookMessage, delay: Option<Duration>) -> Result<(), QueueError> {
        self.client
            .get_or_init(|| Client::new(&self.settings))
            .send_message()
            .queue_url(&self.url)
            .message_body(message.to_text())
            .set_delay_seconds(
                delay.map(|delay| i32::try_from(delay.as_secs().min(900)).expect("at most 900")),
            )
            .send()
            .await
            .map(drop)
            .map_err(|error| QueueError(Box::new(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(body: &[u8], owner: EventOwner) -> RawEvent {
        RawEvent {
            owner,
            purpose: "call".to_owned(),
            hash: "abc".to_owned(),
            received_at: "2026-11-21T04:00:00.123456Z".parse().unwrap(),
            content_type: Some("application/json".to_owned()),
            body: body.to_vec(),
            query: Some("a=1".to_owned()),
            handled: None,
        }
    }

    fn locator() -> Locator {
        Webhook::Call
            .locator("call_01kak5yv7z8e4f9y2f4w6r8t0v.lead-1")
            .unwrap()
    }

    #[test]
    fn an_event_travels_whole_whatever_its_bytes() {
        for body in [
            &b"{}"[..],
            b"\xff\xfe\x00",
            "\u{ffff}\u{0}\u{fffe}".as_bytes(),
            b"",
        ] {
            let message = WebhookMessage::Apply(event(body, locator().into()).into());
            let text = message.to_text();
            assert!(!text.contains(['\u{ffff}', '\u{fffe}', '\u{0}']), "{text:?}");
            let back: WebhookMessage = serde_json::from_str(&text).unwrap();
            assert_eq!(back, message);
            let WebhookMessage::Apply(carried) = back else {
                panic!("{back:?}")
            };
            let (webhook, found, carried) = carried.into_event().unwrap();
            assert_eq!((webhook, found), (Webhook::Call, Some(locator())));
            assert_eq!(carried, event(body, EventOwner::Sid(String::new())));
        }
    }

    #[test]
    fn messages_have_the_form_that_other_versions_expect() {
        let carried = WebhookMessage::Apply(event(b"{}", locator().into()).into());
        insta::assert_json_snapshot!(carried, @r#"
        {
          "type": "apply_event.v1",
          "webhook": "call",
          "locator": "call_01kak5yv7z8e4f9y2f4w6r8t0v.lead-1",
          "hash": "abc",
          "received_at": "2026-11-21T04:00:00.123456Z",
          "content_type": "application/json",
          "query": "a=1",
          "body": "{}"
        }
        "#);
        let replay = WebhookMessage::replay(&event(b"", locator().into()).id(), None);
        let text = replay.to_text();
        assert!(text.starts_with(r#"{"type":"replay_event.v1","id":""#), "{text}");
        for wrong in [
            "",
            "{}",
            r#"{"type":"apply_event.v1"}"#,
            r#"{"type":"replay_event.v2","id":"a"}"#,
        ] {
            assert!(serde_json::from_str::<WebhookMessage>(wrong).is_err(), "{wrong}");
        }
    }
}
