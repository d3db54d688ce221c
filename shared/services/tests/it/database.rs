//! DynamoDB and SQS in this very thread: the real SDK clients over a connector that answers from memory.
//!
//! No socket and no timer lies between a request and its answer, so under Tokio's paused clock a whole day of work is
//! played in seconds, and every run of a seed is the same. A test may count requests, slow them down, lose them, and
//! stop the function that waits for one.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_sdk_dynamodb::config::{
    BehaviorVersion, Credentials, Region, SharedCredentialsProvider, retry::RetryConfig,
    timeout::TimeoutConfig,
};
use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;
use table::Table;

/// The table as `template.yaml` declares it.
const TABLE: &str = include_str!("../../../../local/dynamo/src/table.json");

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is answered.
    Answered,
    /// It is not carried out, and no answer comes for the longest time.
    StoppedBefore,
    /// It is carried out, and no answer comes for the longest time.
    StoppedAfter,
    /// It is not carried out; the connection breaks.
    Lost,
    /// It is carried out; the connection breaks before the answer.
    AnswerLost,
}

/// Decides about each request, and lets virtual time pass before and after it.
pub(crate) type Wire = Arc<dyn Fn(&str) -> Pin<Box<dyn Future<Output = Fate> + Send>> + Send + Sync>;

/// A database with the table in it.
#[derive(Clone)]
pub(crate) struct Database {
    database: dynoxide::Database,
    writes: Arc<AtomicU64>,
    sent: Arc<Mutex<Vec<Sent>>>,
}

/// A message that SQS was given.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// The last part of the queue's URL.
    pub(crate) queue: String,
    pub(crate) body: String,
    pub(crate) delay_secs: u64,
}

impl Database {
    pub(crate) fn new() -> Self {
        let database = dynoxide::Database::memory().unwrap();
        database
            .create_table(serde_json::from_str(TABLE).unwrap())
            .unwrap();
        Self {
            database,
            writes: Arc::default(),
            sent: Arc::default(),
        }
    }

    /// How many writes were asked for so far, failed conditions included.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// What was sent to queues since the last time this was asked.
    pub(crate) fn take_sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }

    /// A function's AWS settings, over this wire.
    pub(crate) fn aws(&self, wire: Wire) -> SdkConfig {
        let credentials = Credentials::new("local", "local", None, None, "test");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::from_static("ap-south-1"))
            .endpoint_url("http://aws.invalid")
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .http_client(Connector {
                database: self.clone(),
                wire,
            })
            .build()
    }

    /// The table over this wire.
    pub(crate) fn table(&self, wire: Wire) -> Table {
        let client = aws_sdk_dynamodb::Client::new(&self.aws(wire));
        Table::new(client, dynamo::TABLE_NAME)
    }

    /// AWS settings over a wire on which nothing happens.
    pub(crate) fn quiet_aws(&self) -> SdkConfig {
        self.aws(Arc::new(|_| Box::pin(std::future::ready(Fate::Answered))))
    }

    /// The table over such a wire.
    pub(crate) fn quiet_table(&self) -> Table {
        let client = aws_sdk_dynamodb::Client::new(&self.quiet_aws());
        Table::new(client, dynamo::TABLE_NAME)
    }

    fn send_message(&self, body: &[u8]) -> (u16, String) {
        let message: serde_json::Value = serde_json::from_slice(body).unwrap();
        let text = |name: &str| message[name].as_str().unwrap().to_owned();
        self.sent.lock().unwrap().push(Sent {
            queue: text("QueueUrl").rsplit('/').next().unwrap().to_owned(),
            body: text("MessageBody"),
            delay_secs: message["DelaySeconds"].as_u64().unwrap_or(0),
        });
        (200, r#"{"MessageId":"1","MD5OfMessageBody":"-"}"#.to_owned())
    }

    fn answer(&self, operation: &str, body: &[u8]) -> (u16, String) {
        if operation == "SendMessage" {
            return self.send_message(body);
        }
        let db = &self.database;
        macro_rules! operations {
            ($($name:literal => $method:ident),*) => {
                match operation {
                    $($name => serde_json::from_slice(body)
                        .map_err(|e| dynoxide::DynoxideError::SerializationException(e.to_string()))
                        .and_then(|request| db.$method(request))
                        .map(|answer| serde_json::to_string(&answer).unwrap()),)*
                    other => panic!("the code under test asks for {other}"),
                }
            };
        }
        let answer = operations!(
            "PutItem" => put_item, "GetItem" => get_item, "UpdateItem" => update_item, "DeleteItem" => delete_item,
            "Query" => query, "TransactWriteItems" => transact_write_items, "BatchGetItem" => batch_get_item,
            "BatchWriteItem" => batch_write_item
        );
        if !matches!(operation, "GetItem" | "Query" | "BatchGetItem") {
            self.writes.fetch_add(1, Ordering::Relaxed);
        }
        match answer {
            Ok(body) => (200, body),
            Err(error) => (error.status_code(), error.to_json()),
        }
    }
}

#[derive(Clone)]
struct Connector {
    database: Database,
    wire: Wire,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpClient for Connector {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Connector { database, wire } = self.clone();
        HttpConnectorFuture::new(async move {
            let target = request.headers().get("x-amz-target").unwrap_or_default();
            let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
            let body = request.body().bytes().unwrap_or_default();
            let broken = || ConnectorError::io("the wire broke".into());
            let fate = wire(&operation).await;
            if matches!(fate, Fate::StoppedBefore) {
                std::future::pending::<()>().await;
            }
            if fate == Fate::Lost {
                return Err(broken());
            }
            let (status, answer) = database.answer(&operation, body);
            if fate == Fate::StoppedAfter {
                std::future::pending::<()>().await;
            }
            if fate == Fate::AnswerLost {
                return Err(broken());
            }
            let response = http::Response::builder()
                .status(status)
                .header("content-type", "application/x-amz-json-1.0")
                .body(SdkBody::from(answer))
                .unwrap();
            Ok(HttpResponse::try_from(response).unwrap())
        })
    }
}
