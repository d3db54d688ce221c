//! Failures that are answered, and so are no errors of a function's, say in their log line that they are alarms.

use domain::{
    ids::VoiceSessionId,
    phone::Country,
    voicebot::{Rate, Rules},
};
use dynamo::TABLE_NAME;
use jiff::Timestamp;
use lambda_kit::{
    capability::{SigningKeys, StreamToken},
    init::{Boot, Live},
    metrics::Metrics,
    websocket::SocketEvent,
};
use serde_json::{Value, json};
use services::{
    streams::{Doorman, Ear, Sockets},
    voicebot::sessions::Sessions,
};
use voicebot::{
    ends::EndDoor,
    handshakes::{Credentials, HandshakeDoor},
    messages::MessageDoor,
    random,
};

use crate::{
    gateway::{self, Gateway},
    given, logs,
};

/// Where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:9";

fn event(route: &str, query: Value, body: &str) -> SocketEvent {
    let kind = if route == "$connect" { "CONNECT" } else { "MESSAGE" };
    let context = json!({"routeKey": route, "eventType": kind, "connectionId": "c29ja2V0LWFsYXJt"});
    let event = json!({"headers": {}, "queryStringParameters": query, "requestContext": context, "body": body,
        "isBase64Encoded": false});
    serde_json::from_value(event).unwrap()
}

fn opening(id: &VoiceSessionId, token: &str) -> SocketEvent {
    event("$connect", json!({"call_id": id, "token": token}), "")
}

#[tokio::test]
async fn a_handshake_that_the_table_does_not_answer_is_an_alarm() {
    logs::capture();
    let table = services::connect(&given::settings(NOWHERE), TABLE_NAME);
    let settings = gateway::settings(None, None, NOWHERE);
    let door = HandshakeDoor::new(
        Doorman::new(table.clone()),
        Sessions::new(table, Country::IN),
        Live::fixed(Credentials::from_env(&settings).unwrap()),
        random,
    );
    let now = Timestamp::now();
    let id = VoiceSessionId::new(now, 7);
    let keys = SigningKeys::from_env(&settings).unwrap();
    let token = StreamToken::new(id.clone(), now).seal(&keys);
    logs::keep_secret(&token);
    assert_eq!(door.receive(&opening(&id, &token), now).await.status(), 503);
    assert!(logs::unavailable("a handshake was refused: "));
}

#[tokio::test]
async fn an_end_that_the_table_does_not_take_is_an_alarm() {
    logs::capture();
    let table = services::connect(&given::settings(NOWHERE), TABLE_NAME);
    let settings = gateway::settings(None, None, NOWHERE);
    let boot = Boot::new(settings.clone(), Timestamp::now()).await.unwrap();
    let door = EndDoor::new(
        Doorman::new(table.clone()),
        Sessions::new(table, Country::IN),
        boot.invoker("voicebot-turn").unwrap(),
        Metrics::from_env(&settings),
    );
    let end = json!({"requestContext": {"routeKey": "$disconnect", "eventType": "DISCONNECT",
        "connectionId": "c29ja2V0LWFsYXJt"}});
    let end: SocketEvent = serde_json::from_value(end).unwrap();
    assert_eq!(door.receive(&end, Timestamp::now()).await.status(), 200);
    assert!(logs::unavailable("the end of a call is lost: "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_that_cannot_be_asked_is_an_alarm() {
    logs::capture();
    let gateway = Gateway::start().await;
    let (id, url) = gateway.offer("echo", Rate::Hz8000).await;
    let token = url.split("token=").nth(1).unwrap().split('&').next().unwrap();
    assert_eq!(gateway.connect(&opening(&id, token)).await.status(), 200);
    let settings = gateway::settings(None, None, NOWHERE);
    let boot = Boot::new(settings.clone(), Timestamp::now()).await.unwrap();
    let sockets = Sockets::connect(boot.aws(), &format!("{NOWHERE}/voicebot"));
    let ear = Ear::new(
        gateway.table.clone(),
        sockets,
        gateway.sessions.clone(),
        Rules::default(),
    );
    let turns = boot.invoker("voicebot-turn").unwrap();
    let door = MessageDoor::new(ear, turns, Metrics::from_env(&settings));
    let start = json!({"event": "start", "sequence_number": "1", "stream_sid": given::CALL_SID, "start": {
        "stream_sid": given::CALL_SID, "call_sid": given::CALL_SID, "account_sid": "acme1", "from": "09811100002",
        "to": "08045550100", "custom_parameters": {},
        "media_format": {"encoding": "base64", "sample_rate": "8000", "bit_rate": "128kbps"}}});
    let reply = door
        .hear(
            &event("$default", json!({}), &start.to_string()),
            Timestamp::now(),
        )
        .await;
    assert_eq!(reply.status(), 200);
    assert!(logs::unavailable("the bot is not asked now: "));
}
