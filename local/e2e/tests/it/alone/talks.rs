//! Talks with bots, in real time: somebody calls an ExoPhone whose flow has a Voicebot applet.

use std::{
    io::Cursor,
    sync::{Arc, Mutex},
};

use axum::{Json, Router, http::HeaderMap, routing::post};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use exotel_simulator::Track;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{net::TcpSocket, sync::MutexGuard, task::JoinHandle};

use crate::{
    house::{House, PATIENCE, SALES_FAMILY, until},
    voicebot::ended,
};

/// Samples a second, unless a URL says otherwise.
const RATE_HZ: u32 = 8_000;
/// The least likeness of words to their copy; frames are kept with eight bits a sample.
const LIKENESS: f64 = 0.95;
/// How much later a copy may begin, in milliseconds.
const LATEST_MS: u64 = 30_000;

/// There is one place for the team's own bot.
static PLACE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A server of the team's that is asked once per turn.
struct OwnBot {
    /// Each turn, with its `webhook-id`.
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    served: JoinHandle<()>,
    _place: MutexGuard<'static, ()>,
}

impl OwnBot {
    /// Serves a bot that answers what `answer` makes of the input.
    async fn serve(house: &House, answer: impl Fn(&Value) -> Value + Clone + Send + Sync + 'static) -> Self {
        let place = PLACE.lock().await;
        let (_, address) = house.bot_origin.split_once("//").unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        // `cargo xtask e2e` keeps the port for us by a socket that never listens.
        socket.set_reuseport(true).unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address.parse().unwrap()).unwrap();
        let listener = socket.listen(16).unwrap();
        let asked = Arc::<Mutex<Vec<_>>>::default();
        let kept = Arc::clone(&asked);
        let turn = async move |headers: HeaderMap, Json(turn): Json<Value>| {
            let id = headers["webhook-id"].to_str().unwrap().to_owned();
            assert!(headers.contains_key("webhook-signature"), "turn {id} is signed");
            let answer = answer(&turn["input"]);
            kept.lock().unwrap().push((id, turn));
            Json(answer)
        };
        let router = Router::new().route("/turn", post(turn));
        let served = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            asked,
            served,
            _place: place,
        }
    }

    fn asked(&self) -> Vec<(String, Value)> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for OwnBot {
    fn drop(&mut self) {
        self.served.abort();
    }
}

/// So long a square wave: it has no silent sample, and is faint beside a voice.
fn beep(hz: u32, ms: u32) -> Vec<i16> {
    let half = RATE_HZ / hz / 2;
    (0..ms * RATE_HZ / 1_000)
        .map(|at| if (at / half).is_multiple_of(2) { 400 } else { -400 })
        .collect()
}

/// Sound as an answer has it.
fn audio(samples: &[i16]) -> Value {
    let pcm: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    json!({"pcm": STANDARD.encode(pcm), "rate": RATE_HZ})
}

/// A call whose stream is over.
struct Call {
    sid: String,
    /// What Exotel knows of the stream.
    stream: Value,
    said: Track,
    heard: Track,
}

/// Calls the ExoPhone. Its flow has a Voicebot applet with the URL `applet` and a Passthru behind it.
async fn call(house: &House, from: &str, applet: &str, script: Value) -> Call {
    let (api, token) = (house.url("http_url"), house.url("webhook_token"));
    let inbound = json!({
        "from": from,
        "voicebot": {"url": applet},
        "talk": {"script": script, "linger_ms": 500, "seed": 11},
        "passthru": format!("{api}/webhooks/exotel/passthru?token={token}"),
    });
    let placed = house
        .simulator(Method::POST, "/_sim/inbound", Some(inbound))
        .await;
    let sid = placed["sid"].as_str().unwrap().to_owned();
    let stream = until(PATIENCE, "the stream is over", async || {
        let streams = house.simulator(Method::GET, "/_sim/streams", None).await;
        let found = streams
            .as_array()
            .unwrap()
            .iter()
            .find(|stream| stream["call_sid"] == *sid);
        match found {
            Some(stream) if stream["status"] == "completed" || stream["status"] == "failed" => {
                Ok(stream.clone())
            }
            other => Err(format!("it is {:?}", other.map(|stream| &stream["status"]))),
        }
    })
    .await;
    assert_eq!(stream["status"], "completed", "{stream}");
    assert_eq!(stream["violations"], json!([]), "{stream}");
    let track = async |which: &str| {
        let url = format!("{}/_sim/streams/{sid}/{which}.wav", house.url("simulator_url"));
        let wav = house.http.get(url).send().await.unwrap();
        let wav = wav.error_for_status().unwrap().bytes().await.unwrap();
        Track::read_wav(Cursor::new(wav), RATE_HZ).unwrap()
    };
    let (said, heard) = (track("said").await, track("heard").await);
    Call {
        sid,
        stream,
        said,
        heard,
    }
}

/// The URL that asks us where a bot is.
fn applet(house: &House, bot: &str) -> String {
    let (api, token) = (house.url("http_url"), house.url("webhook_token"));
    format!("{api}/exotel/{bot}?token={token}")
}

/// The call's session with its transcript, once it was ended by `ended_by` and has `turns` lines.
async fn told(house: &House, call: &Call, ended_by: &str, turns: usize) -> Value {
    let session = ended(house, &call.sid, ended_by).await;
    let path = format!("/api/admin/voicebot/sessions/{}", session["id"].as_str().unwrap());
    until(PATIENCE, "the transcript is written", async || {
        let told = house.admin().get(&path).await.is(200).json;
        let lines = told["transcript"].as_array().map_or(0, Vec::len);
        if lines == turns {
            Ok(told)
        } else {
            Err(told.to_string())
        }
    })
    .await
}

/// What was heard and what was said, turn by turn.
fn transcript(session: &Value) -> Vec<[&str; 2]> {
    let lines = session["transcript"].as_array().unwrap().iter();
    lines
        .map(|line| ["heard", "said"].map(|side| line[side].as_str().unwrap_or_default()))
        .collect()
}

#[tokio::test]
async fn a_teams_own_bot_holds_a_talk_of_three_turns() {
    let house = House::furnished("ownbot").await;
    let from = house.phone("7003");
    let lead = house.lead("a", &from).await;
    let bot = OwnBot::serve(&house, |input| match input["kind"].as_str() {
        Some("start") => json!({"audio": audio(&beep(400, 500)), "said": "Hello.", "state": "greeted"}),
        Some("speech") => json!({"audio": {"wav": input["wav"]}, "heard": "words", "said": "the same words",
            "state": "has spoken"}),
        Some("digits") => json!({"audio": audio(&beep(400, 500)), "said": "Thank you.",
            "then": {"transfer": "claims"}}),
        _ => json!({"said": "What was unexpected."}),
    })
    .await;
    let script = json!([
        {"wait_for_quiet_ms": 400}, {"say_ms": 1_800}, {"wait_for_quiet_ms": 600}, {"digits": "47#"},
        {"silence_ms": 30_000},
    ]);
    let call = call(&house, &from, &applet(&house, "own"), script).await;
    assert_eq!(call.stream["disconnected_by"], "bot", "{}", call.stream);
    assert_eq!(call.stream["close_code"], 1_000, "{}", call.stream);
    let (likeness, _) = call.said.likeness(&call.heard, LATEST_MS);
    assert!(likeness >= LIKENESS, "the caller's words come back: {likeness}");

    let session = told(&house, &call, "bot", 3).await;
    assert_eq!(
        transcript(&session),
        [["", "Hello."], ["words", "the same words"], ["47", "Thank you."]]
    );
    assert_eq!(
        [
            &session["bot_id"],
            &session["outcome"],
            &session["state"],
            &session["lead_id"]
        ],
        ["own", "claims", "ended", &lead],
        "{session}"
    );
    assert_eq!(session["turns"], 3, "{session}");

    let id = session["id"].as_str().unwrap();
    let asked = bot.asked();
    let turns: Vec<_> = asked
        .iter()
        .map(|(webhook, turn)| {
            assert_eq!(*webhook, format!("{id}.{}", turn["turn"]));
            assert_eq!(turn["session"]["id"], id, "{webhook}");
            assert_eq!(turn["session"]["call_sid"], call.sid, "{webhook}");
            json!([
                turn["turn"],
                turn["input"]["kind"],
                turn["input"]["digits"],
                turn["state"]
            ])
        })
        .collect();
    assert_eq!(
        turns,
        [
            json!([0, "start", null, null]),
            json!([1, "speech", null, "greeted"]),
            json!([2, "digits", "47", "has spoken"]),
        ]
    );

    let path = format!("{SALES_FAMILY}/{lead}/timeline");
    until(PATIENCE, "the talk is on the lead's timeline", async || {
        let timeline = house.agent().get(&path).await.is(200).items();
        let found = timeline
            .iter()
            .find(|item| item["type"] == "bot_session" && item["id"] == id);
        match found {
            Some(item) if item["outcome"] == "claims" && item["state"] == "ended" => {
                assert_eq!(
                    [&item["botId"], &item["exotelCallSid"], &item["endedBy"]],
                    ["own", &call.sid, "bot"],
                    "{item}"
                );
                assert_eq!(item["turns"], 3, "{item}");
                Ok(())
            }
            other => Err(format!("{other:?} of {timeline:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_caller_who_speaks_into_a_long_answer_is_let_in() {
    let house = House::open("bargein");
    let (long, short) = (beep(400, 12_000), beep(1_000, 1_200));
    let (greeting, answer) = (audio(&long), audio(&short));
    let bot = OwnBot::serve(&house, move |input| match input["kind"].as_str() {
        Some("start") => json!({"audio": greeting, "said": "A long story."}),
        Some("speech") => json!({"audio": answer, "heard": "Stop.", "said": "Stopped."}),
        _ => json!({"said": "What was unexpected."}),
    })
    .await;
    // The second chunk of the greeting is under way then, and the third is not yet due.
    let script = json!([{"wait_for_voice_ms": 900}, {"say_ms": 1_500}, {"wait_for_quiet_ms": 800}]);
    let call = call(&house, &house.phone("7004"), &applet(&house, "own"), script).await;
    let clears = call.stream["clears"].as_array().unwrap();
    let [clear] = &clears[..] else {
        panic!("one clear, not {clears:?}")
    };

    // What is heard is the beginning of the greeting and, at once, the answer to what was said into it. Where there is
    // silence between and after them is the emulator's matter.
    let sound = |part: &[i16]| -> Vec<i16> { part.iter().copied().filter(|sample| *sample != 0).collect() };
    let heard = sound(&call.heard.samples);
    let greeted = heard
        .strip_suffix(&short[..])
        .unwrap_or_else(|| panic!("the answer is not what is heard last: {}", call.stream));
    assert!(
        long.starts_with(greeted),
        "something is heard that is no part of the greeting: {}",
        call.stream
    );
    // Exotel plays to its end what it has begun to play; a millisecond is what its figures are rounded to.
    let cleared_ms = clear["at_ms"].as_u64().unwrap() + clear["left_ms"].as_u64().unwrap();
    let cleared = usize::try_from((cleared_ms + 2) * u64::from(RATE_HZ) / 1_000).unwrap();
    let until_cleared = sound(&call.heard.samples[..cleared]);
    assert_eq!(
        (greeted.len(), greeted.is_empty()),
        (until_cleared.len(), false),
        "the greeting is heard after it was cleared: {}",
        call.stream
    );

    let asked = bot.asked();
    let kinds: Vec<_> = asked.iter().map(|(_, turn)| &turn["input"]["kind"]).collect();
    assert_eq!(kinds, ["start", "speech"]);
    let wav = STANDARD
        .decode(asked[1].1["input"]["wav"].as_str().unwrap())
        .unwrap();
    let words = Track::read_wav(Cursor::new(wav), RATE_HZ).unwrap();
    let (likeness, _) = words.likeness(&call.said, LATEST_MS);
    assert!(likeness >= LIKENESS, "the bot heard something else: {likeness}");
    assert!(words.ms() >= 1_500, "the bot heard {} ms of 1 500", words.ms());

    let session = told(&house, &call, "caller", 2).await;
    assert_eq!(
        transcript(&session),
        [["", "A long story."], ["Stop.", "Stopped."]]
    );
}

/// A flow whose applet has a fixed address, with the token as the password.
#[tokio::test]
async fn a_pasted_urls_password_lets_its_socket_in() {
    let house = House::open("socketbasic");
    let (_, rest) = house.url("ws_url").split_once("//").unwrap();
    let applet = format!("ws://exotel:{}@{rest}?bot_id=echo", house.ws_token);
    let script = json!([{"wait_for_quiet_ms": 300}, {"say_ms": 2_400}, {"wait_for_quiet_ms": 600}]);
    let call = call(&house, &house.phone("7005"), &applet, script).await;
    let (likeness, _) = call.said.likeness(&call.heard, LATEST_MS);
    assert!(likeness >= LIKENESS, "the caller's words come back: {likeness}");
    let handshakes = call.stream["handshakes"].as_array().unwrap();
    assert_eq!((handshakes.len(), &handshakes[0]["status"]), (1, &json!(101)));

    let session = ended(&house, &call.sid, "caller").await;
    assert_eq!(session["bot_id"], "echo", "{session}");
    // The Passthru behind the applet gives the URL back, password and all.
    let path = format!("/api/admin/voicebot/sessions/{}", session["id"].as_str().unwrap());
    until(PATIENCE, "the Passthru completes the session", async || {
        let told = house.admin().get(&path).await.is(200);
        if told.json["stream"].is_null() {
            Err(format!("{told:?}"))
        } else {
            Ok(())
        }
    })
    .await;
    let kept = house.settled_items_with(&call.sid).await;
    assert!(!kept.is_empty());
    let telling: Vec<_> = kept
        .iter()
        .filter(|(_, item)| item.to_string().contains(&house.ws_token))
        .map(|(key, _)| key)
        .collect();
    assert!(telling.is_empty(), "the password is kept in {telling:?}");
}
