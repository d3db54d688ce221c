#![doc = include_str!("../README.md")]

use aws_sdk_dynamodb::{
    Client,
    config::{BehaviorVersion, Credentials, Region, SharedHttpClient, retry::RetryConfig},
};
use aws_smithy_http_client::Builder;

mod meter;

pub use meter::{Meter, Spent};

/// The table's name.
pub const TABLE_NAME: &str = "exotel";

/// The table as `template.yaml` declares it; a repository test compares the two.
const TABLE: &str = include_str!("table.json");

/// A client for plain HTTP, for tests that stand in for DynamoDB themselves.
pub fn http_client() -> SharedHttpClient {
    Builder::new().build_http()
}

/// A database of its own with the table in it.
pub struct Dynamo {
    database: dynoxide::Database,
    client: Client,
    meter: Meter,
    endpoint_url: String,
    server: tokio::task::JoinHandle<()>,
}

impl Dynamo {
    /// Starts it on a free port of 127.0.0.1, on the current Tokio runtime.
    ///
    /// # Panics
    /// When the machine gives no port or no memory: nothing a test can go on without.
    pub async fn start() -> Self {
        let database = dynoxide::Database::memory().expect("an SQLite database in memory opens");
        let table = serde_json::from_str(TABLE).expect("table.json is a CreateTable request");
        database.create_table(table).expect("the table is valid");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port on 127.0.0.1");
        let address = listener.local_addr().expect("a bound socket has an address");
        let served = database.clone();
        let server = tokio::spawn(async move {
            // Ends with the task; an error at the end is nobody's business.
            let _ = dynoxide::server::serve_with_shutdown(listener, served, std::future::pending()).await;
        });
        let endpoint_url = format!("http://{address}");
        let meter = Meter::default();
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::from_static("ap-south-1"))
            .endpoint_url(&endpoint_url)
            .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
            .retry_config(RetryConfig::disabled())
            .http_client(http_client())
            .interceptor(meter.clone())
            .build();
        Self {
            database,
            client: Client::from_conf(config),
            meter,
            endpoint_url,
            server,
        }
    }

    /// Puts many items at once, in DynamoDB's JSON form, without a request or a stream record for each: a table as it is
    /// after months.
    ///
    /// # Panics
    /// When an item is none.
    pub fn load(&self, items: impl IntoIterator<Item = serde_json::Value>) {
        let items = items
            .into_iter()
            .map(|item| serde_json::from_value(item).expect("an item in DynamoDB's JSON form"))
            .collect();
        self.database
            .import_items(TABLE_NAME, items, Default::default())
            .expect("the table takes them");
    }

    /// An SDK client for it, plain HTTP, without retries.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Counts what the client's requests cost.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Where it listens: `http://127.0.0.1:<port>`.
    pub fn endpoint_url(&self) -> &str {
        &self.endpoint_url
    }
}

impl std::fmt::Debug for Dynamo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dynamo")
            .field("endpoint_url", &self.endpoint_url)
            .finish_non_exhaustive()
    }
}

impl Drop for Dynamo {
    fn drop(&mut self) {
        self.server.abort();
    }
}
