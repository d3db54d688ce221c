//! Bots of Amazon Lex, against its HTTP API as AWS documents it.

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::voicebot::{Listen, Rate, Then};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use services::bots::{Bots, FAILED, Said};

use crate::bots::{Call, configured_as, is_excuse, keys, means, nowhere, serve, speech};

/// What Lex was asked: the path's parts, the headers and the body.
type Asked = (Vec<String>, HeaderMap, Bytes);

#[derive(Clone)]
struct Lex {
    answer: Arc<dyn Fn(usize) -> Response + Send + Sync>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Lex {
    /// Lex, and a call with a bot of it.
    async fn call(rate: Rate, answer: impl Fn(usize) -> Response + Send + Sync + 'static) -> (Self, Call) {
        let lex = Self {
            answer: Arc::new(answer),
            asked: Arc::default(),
        };
        let router = Router::new()
            .route(
                "/bots/{bot}/botAliases/{alias}/botLocales/{locale}/sessions/{session}/utterance",
                post(
                    async |State(lex): State<Self>,
                           Path(parts): Path<Vec<String>>,
                           headers: HeaderMap,
                           body: Bytes| {
                        let mut asked = lex.asked.lock().unwrap();
                        let answer = (lex.answer)(asked.len());
                        asked.push((parts, headers, body));
                        answer
                    },
                ),
            )
            .with_state(lex.clone());
        let call = call(rate, &serve(router).await).await;
        (lex, call)
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn call(rate: Rate, url: &str) -> Call {
    let configured = configured_as(json!({ "orders": {
        "kind": "lex", "bot_id": "A1B2C3D4E5", "alias_id": "TSTALIASID", "locale": "en_IN",
        "region": "ap-southeast-1", "greeting": "good morning",
    }}));
    let means = means(&[], nowhere(), Some(url)).await;
    Call::new(Bots::new(&configured, &means).unwrap(), "orders", rate)
}

/// JSON, compressed with gzip, as base64.
fn packed(json: &Value) -> String {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(json.to_string().as_bytes()).unwrap();
    STANDARD.encode(gzip.finish().unwrap())
}

/// 100 ms of sound, with this for the session.
fn answered(state: &Value) -> Response {
    let headers = [
        ("content-type", "audio/pcm".to_owned()),
        ("x-amz-lex-session-state", packed(state)),
        ("x-amz-lex-input-transcript", packed(&json!("where is my order"))),
        (
            "x-amz-lex-messages",
            packed(&json!([
                { "contentType": "PlainText", "content": "Let me see." },
                { "contentType": "PlainText", "content": "What is its number?" },
            ])),
        ),
    ];
    (headers, vec![1_u8; 3_200]).into_response()
}

#[tokio::test]
async fn lex_hears_the_caller_and_is_heard() {
    for (rate, sent_as, sent) in [
        (
            Rate::Hz8000,
            "audio/lpcm; sample-rate=8000; sample-size-bits=16; channel-count=1; is-big-endian=false",
            16_000,
        ),
        (Rate::Hz16000, "audio/l16; rate=16000; channels=1", 32_000),
        (Rate::Hz24000, "audio/l16; rate=16000; channels=1", 32_000),
    ] {
        let elicits =
            json!({ "dialogAction": { "type": "ElicitSlot" }, "intent": { "name": "OrderStatus" } });
        let (lex, mut call) = Lex::call(rate, move |_| answered(&elicits)).await;
        let greeting = call.say(Said::Start).await;
        assert_eq!((greeting.fallback, greeting.heard), (None, None));
        assert_eq!(rate.ms_of_bytes(greeting.audio.len()), 100);
        let answer = call.say(Said::Speech(speech(rate))).await;
        assert_eq!(answer.fallback, None);
        assert_eq!(answer.heard.as_deref(), Some("where is my order"));
        assert_eq!(answer.said.as_deref(), Some("Let me see. What is its number?"));
        assert_eq!(answer.then, Then::Listen(Listen::default()));
        call.say(keys("4711")).await;
        call.say(Said::Silence(1)).await;

        let asked = lex.asked();
        let kind = |turn: usize| asked[turn].1["content-type"].to_str().unwrap();
        assert_eq!(
            asked[0].0,
            [
                "A1B2C3D4E5",
                "TSTALIASID",
                "en_IN",
                "vs_01kb0xkz7v8e4f9y2f4w6r8t0v"
            ]
        );
        assert_eq!(
            (kind(0), &asked[0].2[..]),
            ("text/plain; charset=utf-8", &b"good morning"[..])
        );
        assert_eq!((kind(1), asked[1].2.len()), (sent_as, sent));
        assert_eq!(&asked[2].2[..], b"4711");
        assert_eq!(kind(3), sent_as);
        assert!(
            asked[3].2.iter().all(|byte| *byte == 0),
            "silence is silence to Lex"
        );
        for (_, headers, _) in &asked {
            assert_eq!(headers["response-content-type"], "audio/pcm");
            let signed = headers["authorization"].to_str().unwrap();
            assert!(signed.contains("/ap-southeast-1/lex/aws4_request"), "{signed}");
        }
    }
}

#[tokio::test]
async fn a_closed_conversation_is_handed_on_unless_the_bot_says_otherwise() {
    let closed = |intent: &str, attributes: Value| {
        json!({
            "dialogAction": { "type": "Close" }, "intent": { "name": intent, "state": "Fulfilled" },
            "sessionAttributes": attributes,
        })
    };
    let listen = Then::Listen(Listen::default());
    for (state, then) in [
        (
            closed("OrderStatus", json!({})),
            Then::Transfer("OrderStatus".to_owned()),
        ),
        (closed("FallbackIntent", json!({})), listen.clone()),
        (
            closed("OrderStatus", json!({ "voicebot_then": "listen" })),
            listen.clone(),
        ),
        (
            closed("OrderStatus", json!({ "voicebot_then": "hang_up" })),
            Then::HangUp,
        ),
        (
            closed("FallbackIntent", json!({ "voicebot_then": "agent" })),
            Then::Transfer("agent".to_owned()),
        ),
        (
            json!({ "dialogAction": { "type": "ElicitIntent" } }),
            listen.clone(),
        ),
        (json!({}), listen.clone()),
    ] {
        let answer = answered(&state);
        let answer = Mutex::new(Some(answer));
        let (_, mut call) = Lex::call(Rate::Hz8000, move |_| answer.lock().unwrap().take().unwrap()).await;
        let answer = call.say(Said::Speech(speech(Rate::Hz8000))).await;
        assert_eq!((answer.then, answer.fallback), (then, None), "{state}");
    }
}

#[tokio::test]
async fn what_lex_refuses_or_garbles_is_an_excuse() {
    let field = |name: &'static str, value: String| ([(name, value)], vec![0_u8; 320]).into_response();
    let huge = packed(&json!("x".repeat(1_000_000)));
    let cases: Vec<(Response, &str)> = vec![
        (
            (
                StatusCode::FORBIDDEN,
                [("x-amzn-errortype", "AccessDeniedException")],
                r#"{"message":"User: arn:aws:sts::123456789012:assumed-role/x is not authorized"}"#,
            )
                .into_response(),
            "Lex refused with AccessDeniedException",
        ),
        (StatusCode::BAD_GATEWAY.into_response(), "Lex"),
        (
            field("x-amz-lex-session-state", "???".to_owned()),
            "x-amz-lex-session-state",
        ),
        (
            field("x-amz-lex-session-state", STANDARD.encode("{}")),
            "x-amz-lex-session-state",
        ),
        (
            field("x-amz-lex-session-state", packed(&json!([1]))),
            "x-amz-lex-session-state",
        ),
        (
            field("x-amz-lex-messages", packed(&json!("hello"))),
            "x-amz-lex-messages",
        ),
        (
            field("x-amz-lex-input-transcript", huge),
            "x-amz-lex-input-transcript",
        ),
        (field("content-type", "audio/mpeg".to_owned()), "not audio/pcm"),
        (
            ([("content-type", "audio/pcm")], vec![0_u8; 4_000_000]).into_response(),
            "more than two minutes",
        ),
    ];
    for (response, says) in cases {
        let once = Mutex::new(Some(response));
        let (lex, mut call) = Lex::call(Rate::Hz8000, move |_| once.lock().unwrap().take().unwrap()).await;
        let answer = call.say(Said::Start).await;
        assert!(is_excuse(&answer, Rate::Hz8000), "{says}: {answer:?}");
        let problem = answer.fallback.unwrap();
        assert!(problem.contains(says), "{says}: {problem}");
        assert!(!problem.contains("123456789012"), "{problem}");
        assert_eq!(lex.asked().len(), 1, "{says}: asked again while the caller waits");
    }
}

#[tokio::test]
async fn an_answer_without_sound_is_silence() {
    let (_, mut call) = Lex::call(Rate::Hz8000, |_| StatusCode::OK.into_response()).await;
    let answer = call.say(Said::Start).await;
    assert_eq!(
        (answer.audio.len(), answer.said, answer.fallback),
        (0, None, None)
    );
}

#[tokio::test(start_paused = true)]
async fn lex_is_given_up_after_six_seconds_and_the_call_after_three_times() {
    // It takes the connection, and never says a word.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut call = call(
        Rate::Hz8000,
        &format!("http://{}", listener.local_addr().unwrap()),
    )
    .await;
    for turn in 0..3 {
        let before = tokio::time::Instant::now();
        let answer = call.say(Said::Start).await;
        assert!(is_excuse(&answer, Rate::Hz8000), "{answer:?}");
        assert!(before.elapsed() < Duration::from_secs(7));
        let handed_on = answer.then == Then::Transfer(FAILED.to_owned());
        assert_eq!(handed_on, turn == 2);
    }
}
