//! Who comes in and who does not, and what a socket may say without hurting anybody.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, routing::post};
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{
    ids::{ConnectionId, VoiceSessionId},
    phone::Country,
    voicebot::{Ending, Rate, StreamContext, record::Counts},
};
use dynamo::{Dynamo, TABLE_NAME};
use futures_util::{SinkExt, StreamExt};
use jiff::{SignedDuration, Timestamp};
use lambda_kit::{
    capability::{SigningKeys, StreamToken},
    config::Settings,
    init::Boot,
    websocket::SocketEvent,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use services::{Table, streams::Doorman, voicebot::sessions::Sessions};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

use voicebot::{
    handshakes::{Credentials, HandshakeDoor},
    random,
};

use crate::{
    gateway::{Gateway, SIGNING_KEY, WS_TOKEN},
    logs,
    talks::MACHINE,
};

type Socket = WebSocketStream<TcpStream>;

/// A socket, or the status of its refusal.
async fn dial(url: &str, authorization: Option<&str>) -> Result<Socket, u16> {
    let mut request = url.into_client_request().unwrap();
    if let Some(value) = authorization {
        request
            .headers_mut()
            .insert("authorization", value.parse().unwrap());
    }
    let host = request.uri().authority().unwrap().as_str();
    let stream = TcpStream::connect(host).await.unwrap();
    match client_async(request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

async fn send(socket: &mut Socket, message: Value) {
    // It may have been closed.
    let _ = socket.send(Message::text(message.to_string())).await;
}

fn start(stream: &str, rate: &str) -> Value {
    json!({"event": "start", "sequence_number": "1", "stream_sid": stream, "start": {"stream_sid": stream,
        "call_sid": "90d3b6f2e8174a5cbb41f7e06c83193v", "account_sid": "acme1", "from": "09811100002",
        "to": "08045550100", "custom_parameters": {}, "media_format": {"encoding": "base64", "sample_rate": rate,
        "bit_rate": "128kbps"}}})
}

fn media(stream: &str, number: Value, bytes: usize) -> Value {
    json!({"event": "media", "sequence_number": number, "stream_sid": stream,
        "media": {"chunk": "1", "timestamp": "100", "payload": STANDARD.encode(vec![0; bytes])}})
}

/// Whether the socket is closed by the other side within a while.
async fn is_closed(socket: &mut Socket) -> bool {
    is_closed_within(socket, Duration::from_secs(3)).await
}

async fn is_closed_within(socket: &mut Socket, limit: Duration) -> bool {
    let closing = async {
        loop {
            match socket.next().await {
                None | Some(Err(_) | Ok(Message::Close(_))) => return,
                Some(Ok(_)) => {}
            }
        }
    };
    tokio::time::timeout(limit, closing).await.is_ok()
}

async fn context(gateway: &Gateway, connection: &ConnectionId) -> StreamContext {
    let context = gateway.table.stream_context(connection).await;
    context.unwrap().unwrap()
}

/// Waits until this holds of a socket's context, which it gives.
async fn context_with(
    gateway: &Gateway,
    connection: &ConnectionId,
    what: &str,
    holds: impl Fn(&StreamContext) -> bool,
) -> StreamContext {
    for _ in 0..1_000 {
        let context = context(gateway, connection).await;
        if holds(&context) {
            return context;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what}: not so after 20 s");
}

/// Waits until so many messages of a socket were ignored, and no more.
async fn has_ignored(gateway: &Gateway, connection: &ConnectionId, count: u32, what: &str) {
    let counted = context_with(gateway, connection, what, |context| context.ignored >= count).await;
    assert_eq!(counted.ignored, count, "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_without_valid_auth_is_refused_at_the_handshake() {
    logs::capture();
    let gateway = Gateway::start().await;
    let (id, url) = gateway.offer("echo", Rate::Hz8000).await;
    let (other, _) = gateway.offer("echo", Rate::Hz8000).await;
    let keys = SigningKeys::new(&SecretString::from(SIGNING_KEY), None);
    let bare = gateway.url.as_str();
    let token = url.split("token=").nth(1).unwrap().split('&').next().unwrap();
    logs::keep_secret(token);
    let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
    let hour_ago = Timestamp::now() - SignedDuration::from_hours(1);
    let expired = StreamToken::new(id.clone(), hour_ago).seal(&keys);
    let unknown = VoiceSessionId::new(Timestamp::now(), 9);
    let of_unknown = StreamToken::new(unknown.clone(), Timestamp::now()).seal(&keys);
    for (url, authorization, status) in [
        (bare.to_owned(), None, 401),
        (format!("{bare}?call_id={id}"), None, 401),
        (format!("{bare}?token={token}"), None, 401),
        (format!("{bare}?call_id={id}&token={token}x"), None, 401),
        (format!("{bare}?call_id={other}&token={token}"), None, 401),
        (format!("{bare}?call_id={id}&token={expired}"), None, 403),
        (format!("{bare}?call_id={unknown}&token={of_unknown}"), None, 403),
        (bare.to_owned(), Some(basic("exotel:wrong")), 401),
        (bare.to_owned(), Some("Bearer wrong".to_owned()), 401),
        (bare.to_owned(), Some(format!("Digest {WS_TOKEN}")), 401),
        // It may come in, but there is no such bot.
        (
            format!("{bare}?bot_id=nobody"),
            Some(basic(&format!("exotel:{WS_TOKEN}"))),
            403,
        ),
        // A wrong token is not made good by something else.
        (
            format!("{bare}?call_id={id}&token=1.2.3"),
            Some(format!("Bearer {WS_TOKEN}")),
            401,
        ),
    ] {
        let refused = dial(&url, authorization.as_deref()).await.err();
        assert_eq!(refused, Some(status), "{url} {authorization:?}");
    }
    for authorization in [basic(&format!("exotel:{WS_TOKEN}")), format!("Bearer {WS_TOKEN}")] {
        logs::keep_secret(authorization.split_once(' ').unwrap().1);
        assert!(dial(bare, Some(&authorization)).await.is_ok());
    }
    logs::assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_good_again_until_start_and_then_used_up() {
    let gateway = Gateway::start().await;
    let (id, url) = gateway.offer("echo", Rate::Hz8000).await;
    let mut first = dial(&url, None).await.unwrap();
    let mut second = dial(&url, None).await.unwrap();
    // The first is not the one any more.
    send(&mut first, start("4e1c9a70d25b4f83a6c0e7d19b521931", "8000")).await;
    assert!(is_closed(&mut first).await);
    send(&mut second, start("4e1c9a70d25b4f83a6c0e7d19b521932", "8000")).await;
    for _ in 0..100 {
        if gateway
            .table
            .voice_session(&id)
            .await
            .unwrap()
            .unwrap()
            .started_at
            .is_some()
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(dial(&url, None).await.err(), Some(403));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_is_ignored_and_counted_and_the_call_goes_on() {
    let _shared = MACHINE.read().await;
    let gateway = Gateway::start().await;
    let (id, url) = gateway.offer("demo", Rate::Hz8000).await;
    let sid = "4e1c9a70d25b4f83a6c0e7d19b52193w";
    let mut socket = dial(&url, None).await.unwrap();
    let connection = gateway.table.socket_owner(&id).await.unwrap().unwrap();
    send(&mut socket, json!({"event": "connected"})).await;
    send(&mut socket, media(sid, json!("1"), 1_600)).await;
    let mut ignored = 1;
    has_ignored(&gateway, &connection, ignored, "a frame before start").await;
    send(&mut socket, start(sid, "8000")).await;
    let begun = context_with(&gateway, &connection, "the stream has begun", |context| {
        context.call.is_some()
    });
    let call = begun.await.call;
    for nonsense in [
        media("another0stream0another0stream0an", json!("2"), 1_600),
        json!({"event": "media", "sequence_number": "3", "stream_sid": sid, "media": {"payload": "not base64!"}}),
        json!({"event": "media", "sequence_number": "4", "stream_sid": sid}),
        json!({"event": "media", "sequence_number": "99999999999999999999", "stream_sid": sid, "media": {"payload": "AAAA"}}),
        json!({"event": "media", "sequence_number": [1], "stream_sid": sid, "media": {"payload": "AAAA"}}),
        json!({"event": "dtmf", "sequence_number": "5", "stream_sid": sid, "dtmf": {"digit": "12"}}),
        json!({"event": "dtmf", "sequence_number": "6", "stream_sid": sid, "dtmf": {"digit": "ü"}}),
        json!({"event": "dtmf", "sequence_number": "6", "stream_sid": sid, "dtmf": {"digit": "55"}}),
        json!({"event": "dtmf", "sequence_number": "6", "stream_sid": sid, "dtmf": {"digit": ""}}),
        json!({"event": "dtmf", "sequence_number": "6", "stream_sid": "another0stream0another0stream0an", "dtmf": {"digit": "1"}}),
        json!({"event": "mark", "sequence_number": "7", "stream_sid": sid, "mark": {}}),
        json!({"event": "mark", "sequence_number": "8", "stream_sid": sid, "mark": {"name": "never sent"}}),
        json!({"event": "start", "sequence_number": "9", "stream_sid": sid, "start": {"media_format": {"sample_rate": "8000"}}}),
        start(sid, "16000"),
        start(sid, "44100"),
        json!({"event": "laughter", "sequence_number": "10", "stream_sid": sid}),
        json!({"event": "$disconnect"}),
        json!(["event"]),
        json!(null),
    ]
    .map(|nonsense| Message::text(nonsense.to_string()))
    .into_iter()
    .chain([
        Message::text("{\"event\":"),
        Message::text(""),
        Message::binary(vec![0xff; 320]),
        Message::text("x".repeat(32 * 1024)),
    ]) {
        let mut what = nonsense.to_string();
        what.truncate(200);
        socket.send(nonsense).await.unwrap();
        ignored += 1;
        has_ignored(&gateway, &connection, ignored, &what).await;
    }
    // Odd, empty and long frames, one of silence that comes twice, numbers as numbers: all of that is a caller's sound.
    // Nor is it nonsense to be connected.
    for (number, bytes) in [(11, 1_601), (12, 0), (13, 1), (13, 1), (14, 20_000)] {
        send(&mut socket, media(sid, json!(number), bytes)).await;
    }
    send(&mut socket, json!({"event": "connected"})).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    has_ignored(&gateway, &connection, ignored, "a caller's sound").await;
    assert_eq!(context(&gateway, &connection).await.call, call, "a second start");
    send(
        &mut socket,
        json!({"event": "dtmf", "sequence_number": 15, "stream_sid": sid, "dtmf": {"digit": "9", "duration": 100}}),
    )
    .await;
    // A frame may be the last that the call wants: one that is behind it would be ignored, and counted.
    let mut is_closed = false;
    for number in 16..40 {
        send(&mut socket, media(sid, json!(number), 1_600)).await;
        is_closed = is_closed_within(&mut socket, Duration::from_millis(500)).await;
        if is_closed {
            break;
        }
    }
    assert!(is_closed, "the menu hands the call on");
    let session = gateway.table.voice_session(&id).await.unwrap().unwrap();
    assert_eq!(
        (session.stream_sid.as_deref(), session.rate),
        (Some(sid), Rate::Hz8000)
    );
    let ended = session.ended.unwrap();
    assert_eq!(ended.why, Ending::Transferred("agent".to_owned()));
    let expected = Counts {
        turns: 2,
        lost_frames: 0,
        ignored,
    };
    assert_eq!(ended.counts, expected);
    let lines = gateway.table.voice_lines(&id).await.unwrap();
    let heard: Vec<_> = lines.iter().map(|line| line.heard.as_deref()).collect();
    assert_eq!(heard, [None, Some("9")], "nonsense is no key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_that_nobody_speaks_closes_the_socket() {
    let gateway = Gateway::start().await;
    let (id, url) = gateway.offer("echo", Rate::Hz8000).await;
    let mut socket = dial(&url, None).await.unwrap();
    send(&mut socket, start("4e1c9a70d25b4f83a6c0e7d19b52193w", "44100")).await;
    assert!(is_closed(&mut socket).await);
    for _ in 0..100 {
        let session = gateway.table.voice_session(&id).await.unwrap().unwrap();
        if let Some(ended) = session.ended {
            assert_eq!(ended.why, Ending::Closed);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the session does not end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_handshakes_the_newer_one_has_the_session_however_slow_the_older_ones_function_was() {
    let gateway = Gateway::start().await;
    let (id, url) = gateway.offer("echo", Rate::Hz8000).await;
    let token = url.split("token=").nth(1).unwrap().split('&').next().unwrap();
    let shakes = async |connection: &str, connected_at: i64| {
        let event = json!({
            "queryStringParameters": {"call_id": id, "token": token},
            "requestContext": {"routeKey": "$connect", "eventType": "CONNECT", "connectionId": connection,
                "connectedAt": connected_at},
        });
        let event: SocketEvent = serde_json::from_value(event).unwrap();
        gateway.connect(&event).await.status()
    };
    assert_eq!(shakes("bmV3ZXI=", 1_795_687_210_000).await, 200);
    assert_eq!(shakes("b2xkZXI=", 1_795_687_200_000).await, 403);
    let owner = gateway.table.socket_owner(&id).await.unwrap().unwrap();
    assert_eq!(owner.as_str(), "bmV3ZXI=");
}

/// A stand-in of Secrets Manager, whose only secret is what `secret` says at the moment.
async fn vault(secret: Arc<Mutex<Value>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serve = move || async move {
        let text = secret.lock().unwrap().to_string();
        json!({"ARN": "arn", "SecretString": text}).to_string()
    };
    let router = Router::new().fallback(post(serve));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

#[tokio::test]
async fn a_token_that_was_just_put_into_the_secret_lets_in() {
    let dynamo = Dynamo::start().await;
    let table = Table::new(dynamo.client(), TABLE_NAME);
    let secret = Arc::new(Mutex::new(json!({"SIGNING_KEY": SIGNING_KEY})));
    let url = vault(Arc::clone(&secret)).await;
    let settings = Settings::new(move |name| {
        Some(match name {
            "AWS_REGION" => "ap-south-1".to_owned(),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "local".to_owned(),
            "AWS_ENDPOINT_URL" => url.clone(),
            "SECRET_ARN" => "arn:aws:secretsmanager:ap-south-1:1:secret:exotel".to_owned(),
            "VOICEBOT_DEFAULT_BOT" => "echo".to_owned(),
            _ => return None,
        })
    });
    let now = Timestamp::now();
    let boot = Boot::new(settings, now).await.unwrap();
    let door = HandshakeDoor::new(
        Doorman::new(table.clone()),
        Sessions::new(table, Country::IN),
        boot.live(Credentials::from_env).unwrap(),
        random,
    );
    let shakes = async |token: &str, secs| {
        let event = json!({
            "headers": {"Authorization": format!("Bearer {token}")},
            "requestContext": {"routeKey": "$connect", "eventType": "CONNECT", "connectionId": "cm90YXRlZA=="},
        });
        let event: SocketEvent = serde_json::from_value(event).unwrap();
        let reply = door.receive(&event, now + SignedDuration::from_secs(secs)).await;
        reply.status()
    };
    assert_eq!(shakes("first", 0).await, 401, "the secret has none");
    for (token, secs) in [("first", 40), ("second", 80)] {
        secret.lock().unwrap()["EXOTEL_WS_TOKEN"] = json!(token);
        assert_eq!(shakes(token, secs).await, 200, "{token}");
    }
    assert_eq!(shakes("first", 81).await, 401);
}
