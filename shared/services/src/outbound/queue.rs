//! The queue `outbound`.

use aws_sdk_sqs::{Client, types::MessageAttributeValue};
use aws_types::SdkConfig;
use jiff::SignedDuration;

use super::Task;

/// The queue did not take a message.
#[derive(Debug, thiserror::Error)]
#[error("the queue outbound did not take the message")]
pub struct QueueError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl QueueError {
    /// For this cause.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

/// The queue in SQS, and its dead-letter queue for those who write to it.
#[derive(Debug, Clone)]
pub struct OutboundQueue {
    client: Client,
    url: String,
    dead_letter_url: Option<String>,
}

impl OutboundQueue {
    /// The queue at this URL. Only the worker knows the dead-letter queue.
    pub fn new(client: Client, url: impl Into<String>, dead_letter_url: Option<String>) -> Self {
        Self {
            client,
            url: url.into(),
            dead_letter_url,
        }
    }

    /// As [`OutboundQueue::new`], with a client of its own from a function's AWS settings.
    pub fn connect(aws: &SdkConfig, url: impl Into<String>, dead_letter_url: Option<String>) -> Self {
        Self::new(Client::new(aws), url, dead_letter_url)
    }

    /// Sends a message's text, to be seen after so many seconds.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn send_text(&self, body: &str, delay_secs: u16) -> Result<(), QueueError> {
        self.client
            .send_message()
            .queue_url(&self.url)
            .message_body(body)
            .delay_seconds(i32::from(delay_secs.min(900)))
            .send()
            .await
            .map(drop)
            .map_err(QueueError::new)
    }

    /// Puts a message into the dead-letter queue, whole, with the reason as an attribute.
    ///
    /// # Errors
    /// [`QueueError`].
    pub async fn bury(&self, body: &str, reason: &str) -> Result<(), QueueError> {
        let Some(url) = &self.dead_letter_url else {
            return Err(QueueError::new("this function knows no dead-letter queue"));
        };
        let reason = MessageAttributeValue::builder()
            .data_type("String")
            .string_value(reason)
            .build()
            .map_err(QueueError::new)?;
        self.client
            .send_message()
            .queue_url(url)
            .message_body(body)
            .message_attributes("reason", reason)
            .send()
            .await
            .map(drop)
            .map_err(QueueError::new)
    }

    /// Sends a task, to be seen after a delay of at most 15 min; SQS takes whole seconds.
    ///
    /// # Errors
    /// [`QueueError`]; the message may have been taken all the same.
    pub async fn send(&self, task: &Task, delay: SignedDuration) -> Result<(), QueueError> {
        let body = serde_json::to_string(task).expect("ids and numbers always have a JSON form");
        // Rounded up: not before its time.
        let secs = u16::try_from(delay.as_millis().max(0).unsigned_abs().div_ceil(1_000)).unwrap_or(u16::MAX);
        self.send_text(&body, secs).await
    }
}
