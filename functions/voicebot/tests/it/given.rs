//! A table, and the door in front of it.

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_types::SdkConfig;
use domain::{ids::VoiceSessionId, phone::Country, voicebot::Rate};
use dynamo::{Dynamo, TABLE_NAME};
use jiff::Timestamp;
use lambda_kit::{
    capability::{SigningKeys, StreamToken},
    config::{CorsConfig, Settings},
    http::{Request, answer},
    init::Live,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use services::voicebot::offers::{Offers, Rules};
use table::Table;
use url::Url;
use voicebot::connect::{ConnectDoor, Secrets, Sockets};

use crate::logs;

pub(crate) const TOKEN: &str = "webhook-token-hunter1";
pub(crate) const SIGNING_KEY: &str = "signing-key-hunter4-0123456789abcdef";
pub(crate) const CALL_SID: &str = "90d3b6f2e8174a5cbb41f7e06c83193v";
pub(crate) const WS_URL: &str = "wss://ws.example.com/voicebot";
/// The secret part of the fleet bot's URL.
pub(crate) const FLEET_SECRET: &str = "fleet-hunter9";

pub(crate) struct World {
    pub(crate) dynamo: Dynamo,
    pub(crate) table: Table,
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            logs::assert_clean();
        }
    }
}

pub(crate) fn now() -> Timestamp {
    "2026-11-26T10:00:00Z".parse().unwrap()
}

pub(crate) fn keys() -> SigningKeys {
    SigningKeys::new(&SecretString::from(SIGNING_KEY), None)
}

pub(crate) fn rules(default_bot: Option<&str>) -> Rules {
    let bots = json!({
        "reception": {"kind": "menu", "tree": "reception"},
        "own": {"kind": "fleet", "url": format!("wss://u:{FLEET_SECRET}@media.example.com/x?lead=7")},
        "any": {"kind": "fleet"},
    });
    Rules {
        bots: serde_json::from_value(bots).unwrap(),
        default_bot: default_bot.map(str::to_owned),
        rate: Rate::Hz16000,
        country: Country::IN,
        has_fleet: false,
    }
}

pub(crate) fn sockets(ours: Option<&str>) -> Sockets {
    Sockets {
        ours: ours.map(|url| url.parse().unwrap()),
        fleet: Some("https://fleet.example.com".parse().unwrap()),
    }
}

pub(crate) fn secrets() -> Live<Secrets> {
    secrets_with(TOKEN)
}

/// With this webhook token; the template writes an empty one when nobody gives any.
pub(crate) fn secrets_with(token: &'static str) -> Live<Secrets> {
    let settings = Settings::new(move |name| {
        let value = match name {
            "EXOTEL_WEBHOOK_TOKEN" => token,
            "SIGNING_KEY" => SIGNING_KEY,
            _ => return None,
        };
        Some(value.to_owned())
    });
    Live::fixed(Secrets::from_env(&settings).unwrap())
}

impl World {
    pub(crate) async fn new() -> Self {
        logs::capture();
        let dynamo = Dynamo::start().await;
        let table = Table::new(dynamo.client(), TABLE_NAME);
        Self { dynamo, table }
    }

    pub(crate) fn door(&self, default_bot: Option<&str>) -> ConnectDoor {
        let offers = Offers::new(self.table.clone(), rules(default_bot));
        ConnectDoor::new(secrets(), offers, sockets(Some(WS_URL)))
    }
}

/// AWS settings that lead to this endpoint.
pub(crate) fn settings(endpoint_url: &str) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("ap-south-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
            "local", "local", None, None, "tests",
        )))
        .http_client(dynamo::http_client())
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .endpoint_url(endpoint_url)
        .build()
}

/// A request of Exotel's.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) bot_id: Option<String>,
    pub(crate) query: String,
    pub(crate) content_type: Option<&'static str>,
    pub(crate) body: String,
}

impl Ask {
    /// A GET with the call in the query.
    pub(crate) fn get(path: &str, more: &str) -> Self {
        Self {
            method: "GET",
            path: path.to_owned(),
            bot_id: path.strip_prefix("/exotel/").map(str::to_owned),
            query: format!("token={TOKEN}{more}"),
            ..Self::default()
        }
    }

    pub(crate) fn post(path: &str, content_type: &'static str, body: impl Into<String>) -> Self {
        Self {
            method: "POST",
            content_type: Some(content_type),
            body: body.into(),
            ..Self::get(path, "")
        }
    }

    pub(crate) fn event(&self) -> String {
        let mut headers = json!({"host": "api.example.com", "user-agent": "Exotel"});
        if let Some(content_type) = self.content_type {
            headers["content-type"] = json!(content_type);
        }
        let path_parameters = self.bot_id.as_ref().map(|bot| json!({ "bot_id": bot }));
        let http = json!({"method": self.method, "path": self.path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7",
            "userAgent": "Exotel"});
        json!({
            "version": "2.0", "routeKey": format!("{} {}", self.method, self.path), "rawPath": self.path,
            "rawQueryString": self.query, "headers": headers, "pathParameters": path_parameters,
            "requestContext": {"accountId": "0", "apiId": "a", "http": http, "requestId": "r",
                "routeKey": "$default", "stage": "$default", "time": "26/Nov/2026:10:00:00 +0000", "timeEpoch": 1_795_687_200_000_i64},
            "body": self.body, "isBase64Encoded": false,
        })
        .to_string()
    }
}

/// What the door says: status and JSON.
pub(crate) async fn ask(door: &ConnectDoor, ask: &Ask) -> (u16, Value) {
    answered(door, &ask.event(), now(), 7).await
}

pub(crate) async fn answered(door: &ConnectDoor, event: &str, now: Timestamp, random: u128) -> (u16, Value) {
    let request = Request::from_event(event).unwrap();
    let response = answer(&CorsConfig::default(), request, async |request| {
        door.connect(&request, now, random).await
    })
    .await;
    let status = response.status().as_u16();
    let body: &[u8] = response.body().as_ref();
    (status, serde_json::from_slice(body).unwrap())
}

/// The session that a URL of ours names; its token opens it, and the URL is one that Exotel dials.
pub(crate) fn session_of(answer: &(u16, Value)) -> VoiceSessionId {
    let (200, body) = answer else { panic!("{answer:?}") };
    let text = body["url"].as_str().unwrap();
    let url = Url::parse(text).unwrap();
    assert!(text.starts_with(WS_URL) && text.len() < 600, "{text}");
    let parameters: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let [(call_id, id), (token, sealed), (rate, hz)] = &parameters[..] else {
        panic!("{text}")
    };
    assert_eq!(
        (call_id.as_str(), token.as_str(), rate.as_str(), hz.as_str()),
        ("call_id", "token", "sample-rate", "16000")
    );
    logs::keep_secret(sealed);
    let own = format!("call_id={id}&token={sealed}");
    assert!(own.len() <= 256, "{own}");
    let id: VoiceSessionId = id.parse().unwrap();
    StreamToken::open(sealed, &id, &keys(), now()).unwrap();
    id
}
