//! What is wrong is said, and costs nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode};
use dynamo::TABLE_NAME;
use lambda_kit::{config::Settings, init::Boot, websocket::SocketEvent};
use serde_json::json;
use services::{
    streams::{SocketError, Sockets},
    voicebot::offers::Offers,
};
use tokio::{net::TcpListener, sync::Notify};
use voicebot::{connect::ConnectDoor, messages::MessageDoor};

use crate::{
    given::{
        Ask, CALL_SID, TOKEN, WS_URL, World, answered, ask, now, rules, secrets, secrets_with, session_of,
        settings, sockets,
    },
    logs,
};

const CALL: &str = "&CallSid=90d3b6f2e8174a5cbb41f7e06c83193v&CallFrom=09811100001&CallTo=08045550100";

async fn nothing_kept(world: &World) {
    let all = world
        .dynamo
        .client()
        .scan()
        .table_name(TABLE_NAME)
        .send()
        .await
        .unwrap();
    assert_eq!(all.count, 0);
}

#[tokio::test]
async fn nobody_without_the_token_is_told_anything() {
    let world = World::new().await;
    let door = world.door(Some("echo"));
    for query in [
        "",
        "token=",
        "token=wrong",
        "token=webhook-token-hunter",
        "Token=webhook-token-hunter1",
    ] {
        let request = Ask {
            query: format!("{query}{CALL}"),
            ..Ask::get("/voicebot/connect", "")
        };
        let (status, body) = ask(&door, &request).await;
        assert_eq!(
            (status, body["code"].as_str()),
            (403, Some("invalid_webhook_url")),
            "{query}"
        );
        assert!(!body.to_string().contains(TOKEN));
    }
    nothing_kept(&world).await;
}

#[tokio::test]
async fn a_token_that_is_not_set_refuses_everybody_and_the_log_says_what_to_do() {
    let world = World::new().await;
    let offers = Offers::new(world.table.clone(), rules(Some("echo")));
    let door = ConnectDoor::new(secrets_with(""), offers, sockets(Some(WS_URL)));
    let (status, body) = ask(&door, &Ask::get("/voicebot/connect", CALL)).await;
    assert_eq!(
        (status, body["code"].as_str()),
        (403, Some("invalid_webhook_url"))
    );
    assert!(logs::has("write EXOTEL_WEBHOOK_TOKEN into the stack's secret"));
    assert!(logs::has("\"alarm\":\"webhook.refused\""));
    nothing_kept(&world).await;
}

#[tokio::test]
async fn a_question_that_names_no_call_is_refused_in_words() {
    let world = World::new().await;
    let door = world.door(Some("echo"));
    let json = "application/json";
    for request in [
        Ask::get("/voicebot/connect", ""),
        Ask::get("/voicebot/connect", "&CallFrom=09811100001"),
        Ask::get("/voicebot/connect", "&CallSid="),
        Ask::get("/voicebot/connect", "&CallSid=null"),
        Ask::get("/voicebot/connect", &format!("&CallSid={}", "x".repeat(65))),
        Ask::get("/voicebot/connect", "&CallSid=a%20b%2Fc"),
        Ask::get("/voicebot/connect", "&%%%&=&CallSid"),
        Ask::post("/voicebot/connect", json, ""),
        Ask::post("/voicebot/connect", json, "{"),
        Ask::post("/voicebot/connect", json, "[]"),
        Ask::post("/voicebot/connect", json, r#"{"CallSid": {"a": 1}}"#),
        Ask::post("/voicebot/connect", json, "null"),
        Ask::post(
            "/voicebot/connect",
            "application/x-www-form-urlencoded",
            "CallSid",
        ),
        Ask::post("/voicebot/connect", "multipart/form-data; boundary=x", "--y"),
    ] {
        let (status, body) = ask(&door, &request).await;
        assert_eq!(status, 400, "{request:?} {body}");
        assert!(body["detail"].as_str().unwrap().contains("CallSid"), "{body}");
    }
    let request = Ask::post("/voicebot/connect", json, " ".repeat(64 * 1024 + 1));
    assert_eq!(ask(&door, &request).await.0, 413);
    nothing_kept(&world).await;
}

#[tokio::test]
async fn an_unknown_bot_is_a_404_that_names_those_there_are_and_is_counted() {
    let world = World::new().await;
    let long = "x".repeat(5_000);
    for (default, path, more) in [
        (None, "/exotel/nobody", String::new()),
        (Some("echo"), "/exotel/nobody", String::new()),
        (None, "/voicebot/connect", "&bot_id=Reception".to_owned()),
        (None, "/voicebot/connect", format!("&bot_id={long}")),
        (None, "/voicebot/connect", "&bot_id=..%2F..%2Fecho".to_owned()),
    ] {
        let door = world.door(default);
        let (status, body) = ask(&door, &Ask::get(path, &format!("{more}{CALL}"))).await;
        assert_eq!(
            (status, body["code"].as_str()),
            (404, Some("unknown_bot")),
            "{path}{more}"
        );
        let detail = body["detail"].as_str().unwrap();
        assert!(detail.contains("\"reception\"") && detail.len() < 300, "{detail}");
    }
    assert!(logs::has("\"alarm\":\"voicebot.no_bot\""));
    let (status, body) = ask(&world.door(None), &Ask::get("/voicebot/connect", CALL)).await;
    assert_eq!((status, body["code"].as_str()), (404, Some("no_bot")));
    assert!(body["detail"].as_str().unwrap().contains("VOICEBOT_DEFAULT_BOT"));
    nothing_kept(&world).await;
}

#[tokio::test]
async fn what_else_cannot_be_read_is_left_out_and_the_call_gets_its_bot() {
    let world = World::new().await;
    let door = world.door(Some("echo"));
    let call = format!(
        "&CallSid={CALL_SID}&CallFrom=sip:me&CallTo=null&Direction=sideways&CustomField={}&Created=yesterday",
        "x".repeat(500)
    );
    let id = session_of(&ask(&door, &Ask::get("/voicebot/connect", &call)).await);
    let kept = world.table.voice_session(&id).await.unwrap().unwrap();
    assert_eq!(
        (kept.caller, kept.number, kept.direction, kept.call),
        (None, None, None, None)
    );
    // An id that is none of Exotel's, as somebody tries the URL by hand.
    let by_hand = Ask::get("/voicebot/connect", "&CallSid=test-123");
    let id = session_of(&answered(&door, &by_hand.event(), now(), 8).await);
    assert_eq!(
        world.table.voice_session(&id).await.unwrap().unwrap().call_sid,
        None
    );
}

#[tokio::test]
async fn a_bot_without_an_address_is_the_administrators_affair() {
    let world = World::new().await;
    let offers = || Offers::new(world.table.clone(), rules(Some("echo")));
    let nowhere = ConnectDoor::new(secrets(), offers(), sockets(None));
    let (status, body) = ask(&nowhere, &Ask::get("/voicebot/connect", CALL)).await;
    assert_eq!(
        (status, body["code"].as_str()),
        (503, Some("voicebot_not_configured"))
    );
    assert!(logs::unavailable("set VOICEBOT_WS_URL"));
    let long = format!("{WS_URL}/{}", "x".repeat(600));
    let too_long = ConnectDoor::new(secrets(), offers(), sockets(Some(&long)));
    let (status, _) = ask(&too_long, &Ask::get("/voicebot/connect", CALL)).await;
    assert_eq!(status, 503);
}

#[tokio::test]
async fn a_table_that_does_not_answer_costs_less_than_a_second_and_a_fleet_is_dialled_all_the_same() {
    let world = World::new().await;
    // A listener that never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let aws = settings(&format!("http://{}", listener.local_addr().unwrap()));
    let door = |default| {
        let offers = Offers::connect(&aws, TABLE_NAME, rules(Some(default)));
        ConnectDoor::new(secrets(), offers, sockets(Some(WS_URL)))
    };
    // From here on time passes as soon as everybody waits.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let (status, body) = ask(&door("echo"), &Ask::get("/voicebot/connect", CALL)).await;
    assert_eq!((status, body["code"].as_str()), (503, Some("table_unavailable")));
    assert!(logs::unavailable("a call's session could not be kept"));
    let (status, body) = ask(&door("any"), &Ask::get("/voicebot/connect", CALL)).await;
    assert_eq!(status, 200, "{body}");
    let each = began.elapsed() / 2;
    assert!(each < Duration::from_millis(950), "{each:?}");
    tokio::time::resume();
    nothing_kept(&world).await;
}

/// A function whose AWS is this server.
async fn boot(listener: &TcpListener) -> Boot {
    let url = format!("http://{}", listener.local_addr().unwrap());
    let settings = Settings::new(move |name| match name {
        "AWS_REGION" => Some("ap-south-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("local".to_owned()),
        "AWS_ENDPOINT_URL" | "VOICEBOT_SOCKETS_URL" => Some(url.clone()),
        "TABLE_NAME" => Some(TABLE_NAME.to_owned()),
        "VOICEBOT_TURN_FUNCTION" => Some("voicebot-turn".to_owned()),
        _ => None,
    });
    Boot::new(settings, now()).await.unwrap()
}

#[tokio::test]
async fn a_chunk_that_api_gateway_does_not_answer_is_posted_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let boot = boot(&listener).await;
    let sockets = Sockets::connect(boot.aws(), &format!("http://{}", listener.local_addr().unwrap()));
    let posts = Arc::new(AtomicUsize::new(0));
    let arrived = Arc::new(Notify::new());
    let (count, arrives) = (Arc::clone(&posts), Arc::clone(&arrived));
    let router = Router::new().fallback(async move || {
        count.fetch_add(1, Ordering::SeqCst);
        arrives.notify_one();
        std::future::pending::<StatusCode>().await
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    let connection = "L0SM9cOFvHcCIhw=".parse().unwrap();
    let (posted, ()) = tokio::join!(sockets.post(&connection, "{}".to_owned()), async {
        arrived.notified().await;
        // From here on time passes as soon as everybody waits.
        tokio::time::pause();
    });
    assert!(matches!(posted, Err(SocketError::Failed(_))), "{posted:?}");
    assert_eq!(posts.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_message_waits_for_a_hanging_table_no_longer_than_it_is_worth() {
    // A listener that never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let boot = boot(&listener).await;
    let door = MessageDoor::open(&boot).unwrap();
    let event = json!({"requestContext": {"connectionId": "L0SM9cOFvHcCIhw="}, "body": "{}"});
    let event: SocketEvent = serde_json::from_value(event).unwrap();
    // From here on time passes as soon as everybody waits.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    assert_eq!(door.hear(&event, now()).await.status(), 200);
    let waited = began.elapsed();
    // The function may run for ten.
    assert!(waited < Duration::from_secs(7), "{waited:?}");
}
