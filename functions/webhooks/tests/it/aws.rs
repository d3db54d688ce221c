//! Stands in for SQS and EventBridge: keeps what it is sent, and fails when it is told to. And for a DynamoDB that
//! takes new items alone.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use aws_sdk_sqs::config::{
    BehaviorVersion, Credentials, Region, SharedCredentialsProvider, retry::RetryConfig,
};
use aws_types::SdkConfig;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

#[derive(Debug, Default)]
struct Heard {
    messages: Mutex<Vec<Value>>,
    events: Mutex<Vec<Value>>,
    down: AtomicBool,
    /// Detail types that PutEvents refuses.
    refused: Mutex<Vec<String>>,
}

/// A fake of both services on a port of its own.
#[derive(Debug)]
pub(crate) struct Aws {
    heard: Arc<Heard>,
    endpoint_url: String,
    server: tokio::task::JoinHandle<()>,
}

#[allow(dead_code, reason = "two crates' tests use it, each its part")]
impl Aws {
    pub(crate) async fn start() -> Self {
        let heard = Arc::new(Heard::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint_url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(Arc::clone(&heard));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            heard,
            endpoint_url,
            server,
        }
    }

    /// AWS settings that lead here, without retries.
    pub(crate) fn settings(&self) -> SdkConfig {
        settings(&self.endpoint_url)
    }

    pub(crate) fn queue_url(&self) -> String {
        format!("{}/000000000000/webhook-events", self.endpoint_url)
    }

    /// From now on both services answer 500, or work again.
    pub(crate) fn set_down(&self, down: bool) {
        self.heard.down.store(down, Ordering::SeqCst);
    }

    /// PutEvents refuses events of these detail types from now on.
    pub(crate) fn refuse(&self, detail_types: &[&str]) {
        *self.heard.refused.lock().unwrap() = detail_types.iter().map(ToString::to_string).collect();
    }

    /// The messages sent since the last time this was asked: `{"body": …, "delay": …}`.
    pub(crate) fn messages(&self) -> Vec<Value> {
        std::mem::take(&mut self.heard.messages.lock().unwrap())
    }

    /// The events put since the last time this was asked: `{"type": …, "detail": …}`.
    pub(crate) fn events(&self) -> Vec<Value> {
        std::mem::take(&mut self.heard.events.lock().unwrap())
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// AWS settings for this endpoint, plain HTTP, without retries.
pub(crate) fn settings(endpoint_url: &str) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("ap-south-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
            "local", "local", None, None, "test",
        )))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .sleep_impl(aws_smithy_async::rt::sleep::SharedAsyncSleep::new(
            aws_smithy_async::rt::sleep::TokioSleep::new(),
        ))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(endpoint_url)
        .build()
}

/// An endpoint where nobody listens.
#[allow(dead_code, reason = "two crates' tests use it, each its part")]
pub(crate) async fn dead_end() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

async fn answer(State(heard): State<Arc<Heard>>, headers: HeaderMap, body: Bytes) -> Response {
    let reply = |status: StatusCode, body: Value| {
        (
            status,
            [(CONTENT_TYPE, "application/x-amz-json-1.0")],
            body.to_string(),
        )
            .into_response()
    };
    let target = headers["x-amz-target"].to_str().unwrap();
    // A table that takes new items and changes none.
    if let Some(operation) = target.strip_prefix("DynamoDB_20120810.") {
        return match operation {
            "PutItem" => reply(StatusCode::OK, json!({})),
            _ => reply(
                StatusCode::INTERNAL_SERVER_ERROR,
                json!({"__type": "InternalServerError"}),
            ),
        };
    }
    if heard.down.load(Ordering::SeqCst) {
        return reply(
            StatusCode::INTERNAL_SERVER_ERROR,
            json!({"__type": "InternalFailure"}),
        );
    }
    let request: Value = serde_json::from_slice(&body).unwrap();
    match target {
        "AmazonSQS.SendMessage" => {
            let text = request["MessageBody"].as_str().unwrap();
            // What SQS refuses: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
            let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
            assert!(
                text.chars().all(allowed) && text.len() <= 262_144,
                "SQS would refuse it"
            );
            let body: Value = serde_json::from_str(text).unwrap();
            heard
                .messages
                .lock()
                .unwrap()
                .push(json!({"body": body, "delay": request["DelaySeconds"]}));
            reply(
                StatusCode::OK,
                json!({"MessageId": "m", "MD5OfMessageBody": "d41d8cd98f00b204e9800998ecf8427e"}),
            )
        }
        "AWSEvents.PutEvents" => {
            let entries = request["Entries"].as_array().unwrap();
            assert!(entries.len() <= 10, "EventBridge would refuse it");
            let refused = heard.refused.lock().unwrap();
            let mut answers = Vec::new();
            for entry in entries {
                assert_eq!(entry["EventBusName"], "bus");
                if refused.iter().any(|refused| entry["DetailType"] == **refused) {
                    answers.push(json!({"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}));
                    continue;
                }
                let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
                heard
                    .events
                    .lock()
                    .unwrap()
                    .push(json!({"type": entry["DetailType"], "detail": detail}));
                answers.push(json!({"EventId": "e"}));
            }
            let failed = answers
                .iter()
                .filter(|answer| answer["ErrorCode"].is_string())
                .count();
            reply(
                StatusCode::OK,
                json!({"FailedEntryCount": failed, "Entries": answers}),
            )
        }
        other => panic!("no such operation here: {other}"),
    }
}
