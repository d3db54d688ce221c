//! What `deliver-alert` is made of: an event of the bus, posted to the team's URL and signed.

use std::time::Duration;

use jiff::Timestamp;
use lambda_kit::{
    capability::SigningKeys,
    config::AlertUrlConfig,
    https::{self, HttpsClient},
    init::{Boot, BoxError, Live},
    records::Outcome,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How long the team's server may take. A batch of five fits the function's time.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// An EventBridge event, as far as it is read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BusEvent {
    /// `alert.raised` or `alert.recovered`.
    #[serde(rename = "detail-type")]
    pub kind: String,
    /// The alert; `eventId` is the same in every delivery.
    pub detail: Map<String, Value>,
}

/// What is posted.
#[derive(Serialize)]
struct Posted<'a> {
    r#type: &'a str,
    /// When it happened, not when it is posted: a duplicate has the same body.
    timestamp: &'a str,
    data: &'a Map<String, Value>,
}

/// Posts alerts to the team's URL.
pub struct Courier {
    url: Option<String>,
    keys: Live<SigningKeys>,
    http: HttpsClient,
}

impl Courier {
    /// Built once, in init.
    ///
    /// # Errors
    /// When a setting is missing or cannot be used.
    pub fn from_boot(boot: &Boot) -> Result<Self, BoxError> {
        Ok(Self {
            url: AlertUrlConfig::from_env(boot.settings())?.url.map(String::from),
            keys: boot.live(SigningKeys::from_env)?,
            http: https::client()?,
        })
    }

    /// Posts one event, with the headers of <https://www.standardwebhooks.com>. Only 2xx is an answer; after anything
    /// else, and after none within 5 s, the queue gives the event again.
    pub async fn deliver(&self, event: BusEvent, now: Timestamp) -> Outcome<BusEvent> {
        let Some(url) = &self.url else {
            return Outcome::Done;
        };
        let text = |name: &str| event.detail.get(name).and_then(Value::as_str);
        let happened = match event.kind.as_str() {
            "alert.recovered" => text("recoveredAt"),
            _ => text("raisedAt"),
        };
        let (Some(id), Some(timestamp)) = (text("eventId"), happened) else {
            return Outcome::DeadLetter("it is no alert of ours".to_owned());
        };
        let posted = Posted {
            r#type: &event.kind,
            timestamp,
            data: &event.detail,
        };
        let body = serde_json::to_string(&posted).expect("what was read from JSON can be written as JSON");
        let seconds = now.as_second();
        let signature = self.keys.get(now).await.sign_alert(id, seconds, &body);
        let answer = self
            .http
            .post(url)
            .timeout(ANSWERED_WITHIN)
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", signature)
            .body(body)
            .send()
            .await;
        match answer {
            Ok(answer) if answer.status().is_success() => {
                tracing::info!(event.id = id, "delivered {}", event.kind);
                Outcome::Done
            }
            Ok(answer) => Outcome::Retry(format!("the alert webhook answered {}", answer.status().as_u16())),
            // The URL may hold a token.
            Err(error) => Outcome::Retry(format!(
                "the alert webhook did not answer: {}",
                error.without_url()
            )),
        }
    }
}
