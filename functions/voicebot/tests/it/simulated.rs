//! The simulator asks over HTTP, in the middle of its calls, and dials what it is told.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::IntoResponse,
};
use domain::ids::VoiceSessionId;
use exotel_simulator::{Ask as Asks, Handle, Inbound, Options, Voicebot};
use jiff::Timestamp;
use lambda_kit::{
    config::CorsConfig,
    http::{Request, answer},
};
use serde_json::json;
use services::voicebot::offers::Offers;
use voicebot::connect::ConnectDoor;

use crate::{
    given::{TOKEN, World, rules, secrets, sockets},
    logs,
};

/// The door behind HTTP; `asked` are the paths that were asked for.
struct Served {
    door: ConnectDoor,
    asked: Mutex<Vec<String>>,
}

async fn serve(
    State(served): State<Arc<Served>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    served
        .asked
        .lock()
        .unwrap()
        .push(format!("{method} {}", uri.path()));
    let headers: serde_json::Map<_, _> = headers
        .iter()
        .map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap())))
        .collect();
    let bot_id = uri
        .path()
        .strip_prefix("/exotel/")
        .map(|bot| json!({ "bot_id": bot }));
    let event = json!({
        "rawPath": uri.path(), "rawQueryString": uri.query().unwrap_or_default(), "headers": headers,
        "pathParameters": bot_id, "requestContext": {"http": {"method": method.as_str()}},
        "body": String::from_utf8(body.to_vec()).unwrap(),
    });
    // A handler's future need not be Send in Lambda.
    let answered = tokio::task::spawn_blocking(move || {
        let request = Request::from_event(&event.to_string()).unwrap();
        let random = served.asked.lock().unwrap().len() as u128;
        tokio::runtime::Handle::current().block_on(answer(&CorsConfig::default(), request, async |request| {
            served.door.connect(&request, Timestamp::now(), random).await
        }))
    });
    let response = answered.await.unwrap();
    let status = StatusCode::from_u16(response.status().as_u16()).unwrap();
    let body: &[u8] = response.body().as_ref();
    (status, body.to_vec())
}

/// The door's address, and the paths that it was asked for.
async fn served(world: &World, ws_url: &str) -> (String, Arc<Served>) {
    let offers = Offers::new(world.table.clone(), rules(Some("echo")));
    let served = Arc::new(Served {
        door: ConnectDoor::new(secrets(), offers, sockets(Some(ws_url))),
        asked: Mutex::default(),
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(serve).with_state(Arc::clone(&served));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, served)
}

async fn call(simulator: &Handle, voicebot: Voicebot) -> String {
    let inbound = Inbound {
        voicebot: Some(voicebot),
        ..Inbound::from("+919811100001")
    };
    simulator.inbound(inbound).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn exotel_dials_the_url_that_it_was_answered_however_it_asks() {
    let world = World::new().await;
    // Nobody listens there: what is dialled is what matters.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ws_url = format!("ws://{}/voicebot", listener.local_addr().unwrap());
    drop(listener);
    let (url, served) = served(&world, &ws_url).await;
    let simulator = exotel_simulator::Simulator::start(Options::default())
        .await
        .unwrap();
    for (path, ask, bot) in [
        ("/voicebot/connect", Asks::Get, "echo"),
        ("/api/v1/exotel/voice/connect", Asks::Post, "echo"),
        ("/exotel/reception", Asks::Get, "reception"),
    ] {
        let voicebot = Voicebot {
            ask,
            ..Voicebot::at(&format!("{url}{path}?token={TOKEN}"))
        };
        let sid = call(&simulator, voicebot).await;
        simulator
            .streams_until(|streams| {
                streams
                    .iter()
                    .any(|stream| stream.call_sid == sid && !stream.url.is_empty())
            })
            .await;
        let view = simulator.stream(&sid).unwrap().view;
        assert!(view.url.starts_with(&ws_url), "{}", view.url);
        let [(call_id, id), (token, sealed)] = &view.custom_parameters[..] else {
            panic!("{view:?}")
        };
        assert_eq!((call_id.as_str(), token.as_str()), ("call_id", "token"));
        logs::keep_secret(sealed);
        let id: VoiceSessionId = id.parse().unwrap();
        let session = world.table.voice_session(&id).await.unwrap().unwrap();
        assert_eq!(session.bot_id, bot);
        assert_eq!(session.call_sid.unwrap().as_str(), sid);
        assert_eq!(session.caller, Some("+919811100001".parse().unwrap()));
    }
    assert_eq!(
        *served.asked.lock().unwrap(),
        [
            "GET /voicebot/connect",
            "POST /api/v1/exotel/voice/connect",
            "GET /exotel/reception"
        ]
    );
}
