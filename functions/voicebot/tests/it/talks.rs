//! Whole calls: Exotel's side of AgentStream on one end of a socket, the functions on the other, in real time.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use axum::{
    Json,
    extract::Path,
    http::StatusCode,
    response::{Html, IntoResponse},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{
    ids::VoiceSessionId,
    voicebot::{
        Ending, Rate,
        record::{EndedBy, SessionState, VoiceSession},
    },
};
use exotel_simulator::{
    DisconnectedBy, Faults, MarkView, Step, StreamCall, StreamFault, StreamReport, StreamRule, StreamStatus,
    Talk, Target, Track,
};
use jiff::Timestamp;
use lambda_kit::websocket::SocketEvent;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::RwLock};

use crate::{
    gateway::{Gateway, Post, most_billed},
    logs,
};

async fn place(url: &str, linger_ms: u64, steps: impl Into<Vec<Step>>) -> StreamReport {
    place_with(url, linger_ms, steps, Faults::default()).await
}

async fn place_with(url: &str, linger_ms: u64, steps: impl Into<Vec<Step>>, faults: Faults) -> StreamReport {
    let call = StreamCall {
        talk: Talk {
            linger_ms,
            ..Talk::script(steps)
        },
        faults,
        ..StreamCall::to(Target::Stream(url.to_owned()))
    };
    call.place().await.unwrap()
}

/// The session's record once it is over.
async fn over(gateway: &Gateway, id: &VoiceSessionId) -> VoiceSession {
    for _ in 0..100 {
        let session = gateway.table.voice_session(id).await.unwrap().unwrap();
        if session.ended.is_some() {
            return session;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the session is not over after 5 s");
}

/// Waits for this ending: `$disconnect` may overtake the `stop` before it, which mends the reason once it is there.
async fn ended_by(gateway: &Gateway, id: &VoiceSessionId, why: Ending) -> VoiceSession {
    let mut session = over(gateway, id).await;
    for _ in 0..100 {
        if session.ended.as_ref().unwrap().why == why {
            return session;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        session = gateway.table.voice_session(id).await.unwrap().unwrap();
    }
    panic!("not {why:?} after 5 s, but {:?}", session.ended)
}

fn assert_clean(report: &StreamReport) {
    let view = &report.view;
    assert_eq!(view.violations, [], "{:?}", view.events);
    assert_eq!(view.status, StreamStatus::Completed, "{:?}", view.error);
}

/// What is left of a track from so many milliseconds on.
fn from(track: &Track, ms: u64) -> Track {
    let rate = usize::try_from(track.rate_hz).unwrap();
    let begins = usize::try_from(ms).unwrap() * rate / 1_000;
    Track {
        rate_hz: track.rate_hz,
        samples: track.samples[begins..].to_vec(),
    }
}

async fn echo(rate: Rate) {
    let _shared = MACHINE.read().await;
    let gateway = Gateway::start().await;
    let (id, url) = gateway.offer("echo", rate).await;
    let steps = [
        Step::WaitForQuietMs(300),
        Step::SayMs(2_400),
        Step::WaitForQuietMs(600),
    ];
    let report = place(&url, 300, steps).await;
    assert_clean(&report);
    assert_eq!(report.view.gaps, [], "{rate:?}");
    let (likeness, delay_ms) = report.said.likeness(&report.heard, 10_000);
    assert!(likeness >= 0.95, "{rate:?}: {likeness} after {delay_ms} ms");
    let session = ended_by(&gateway, &id, Ending::CallEnded).await;
    if rate == Rate::Hz8000 {
        // What a minute of it would cost, handshake and end included.
        let spent = gateway.dynamo.meter().take();
        let minutes = report.view.duration_ms as f64 / 60_000.0;
        assert!(spent.write_units / minutes <= 900.0, "{spent:?}");
        assert!(spent.read_units / minutes <= 700.0 + 30.0 / minutes, "{spent:?}");
    }
    assert_eq!(session.rate, rate);
    assert_eq!(session.state(Timestamp::now()), SessionState::Ended);
    assert_eq!(session.ended_by(), Some(EndedBy::Caller));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_echo_gives_the_callers_words_back_at_8_khz() {
    echo(Rate::Hz8000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_echo_gives_the_callers_words_back_at_16_khz() {
    echo(Rate::Hz16000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_echo_gives_the_callers_words_back_at_24_khz() {
    echo(Rate::Hz24000).await;
}

/// Taken whole by the test that takes the whole machine, and shared by those whose calls are in real time.
pub(crate) static MACHINE: RwLock<()> = RwLock::const_new(());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_menu_greets_at_every_rate() {
    let _shared = MACHINE.read().await;
    let gateway = Gateway::start().await;
    for rate in Rate::ALL {
        let (_, url) = gateway.offer("demo", rate).await;
        let report = place(&url, 0, [Step::WaitForVoiceMs(800)]).await;
        assert_clean(&report);
        let first = report.view.first_heard_ms.unwrap();
        // Patience with a machine that does other things; the bench of a call's minute holds it to a second.
        assert!(first < 1_500, "at {rate:?} the greeting starts after {first} ms");
    }
}

/// What the session's transcript says, line by line: what was heard, and what was said.
async fn transcript(gateway: &Gateway, id: &VoiceSessionId) -> Vec<(Option<String>, Option<String>)> {
    let lines = gateway.table.voice_lines(id).await.unwrap();
    lines.into_iter().map(|line| (line.heard, line.said)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_menu_is_walked_by_keys_to_a_transfer() {
    let _shared = MACHINE.read().await;
    let gateway = Gateway::start().await;
    let (id, url) = gateway.offer("demo", Rate::Hz8000).await;
    // The second key interrupts what the first one has brought.
    let steps = [
        Step::WaitForVoiceMs(800),
        Step::Digits("1".to_owned()),
        Step::WaitForVoiceMs(500),
        Step::WaitForQuietMs(700),
        Step::Digits("9".to_owned()),
        Step::SilenceMs(10_000),
    ];
    let report = place(&url, 0, steps).await;
    assert_clean(&report);
    assert_eq!(report.view.disconnected_by, Some(DisconnectedBy::Bot));
    assert!(
        !report.view.clears.is_empty(),
        "the first key interrupts the welcome"
    );
    let session = over(&gateway, &id).await;
    assert_eq!(
        session.ended.as_ref().unwrap().why,
        Ending::Transferred("agent".to_owned())
    );
    let transcript = transcript(&gateway, &id).await;
    let heard: Vec<_> = transcript.iter().map(|line| line.0.as_deref()).collect();
    assert_eq!(heard, [None, Some("1"), Some("9")], "{transcript:?}");
    assert!(
        transcript[1]
            .1
            .as_deref()
            .is_some_and(|said| said.contains("nine to seven"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_interrupts_hears_nothing_of_the_old_answer() {
    let _shared = MACHINE.read().await;
    let gateway = Gateway::start().await;
    let (id, url) = gateway.offer("echo", Rate::Hz8000).await;
    let steps = [
        Step::WaitForQuietMs(300),
        Step::SayMs(5_000),
        // The echo speaks for five seconds; after one of them, the caller does.
        Step::WaitForVoiceMs(1_000),
        Step::SayMs(1_500),
        Step::WaitForQuietMs(600),
    ];
    let report = place(&url, 200, steps).await;
    assert_clean(&report);
    let [clear] = &report.view.clears[..] else {
        panic!("one clear: {:?}", report.view.clears)
    };
    assert!(clear.dropped_ms > 0 || clear.left_ms == 0, "{clear:?}");
    // Exotel plays what it has begun to play; after that, what is heard is the second utterance and nothing else.
    let energy = |track: &Track| -> f64 { track.samples.iter().map(|s| f64::from(*s).powi(2)).sum() };
    // It began before it was noticed.
    let second = from(&report.said, clear.at_ms - 600);
    let heard = from(&report.heard, clear.at_ms + clear.left_ms);
    let (likeness, _) = second.likeness(&heard, 10_000);
    assert!(likeness >= 0.95, "{likeness}");
    let more = energy(&heard) / energy(&second);
    assert!((0.9..1.1).contains(&more), "{more} times what the caller said");
    let session = over(&gateway, &id).await;
    assert_eq!(session.ended.as_ref().unwrap().counts.turns, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_doubled_late_and_broken_frames_do_not_cost_the_caller_their_words() {
    let _shared = MACHINE.read().await;
    let gateway = Gateway::start().await;
    let (id, url) = gateway.offer("echo", Rate::Hz8000).await;
    let often = |fault, rate| StreamRule {
        rate: Some(rate),
        ..StreamRule::always(fault)
    };
    let faults = Faults {
        // Each of them befalls what the caller says: frames 24 to 32.
        seed: Some(34),
        stream: vec![
            often(StreamFault::Lose, 0.02),
            often(StreamFault::Duplicate, 0.1),
            StreamRule {
                by: Some(3),
                ..often(StreamFault::Reorder, 0.1)
            },
            often(StreamFault::BadBase64, 0.01),
            often(StreamFault::OddBytes, 0.02),
            often(StreamFault::UnknownEvent, 0.05),
        ],
        ..Faults::default()
    };
    let steps = [
        Step::WaitForQuietMs(300),
        Step::SayMs(3_000),
        Step::WaitForQuietMs(700),
    ];
    let report = place_with(&url, 200, steps, faults).await;
    assert_clean(&report);
    let frame = |number: usize| Track {
        rate_hz: report.said.rate_hz,
        samples: report.said.samples[(number - 1) * 800..number * 800].to_vec(),
    };
    let spoken = (1..=report.said.samples.len() / 800)
        .filter(|number| frame(*number).samples.iter().any(|sample| sample.abs() > 500));
    let spoken: Vec<_> = spoken.collect();
    let befell = |number: usize, fault: &str| {
        let at_ms = 100 * number as u64;
        let mut events = report.view.events.iter();
        events.any(|event| event.event == "fault" && event.at_ms == at_ms && event.detail.contains(fault))
    };
    for fault in [
        "lost",
        "duplicated",
        "reordered",
        "bad base64",
        "odd bytes",
        "unknown event",
    ] {
        // What is lost suffers nothing else.
        let suffers =
            |number: &usize| befell(*number, fault) && (fault == "lost" || !befell(*number, "lost"));
        assert!(
            spoken.iter().any(suffers),
            "nothing that is said is {fault}: {:?}",
            report.view.events
        );
    }
    let is_gone = |number: &usize| befell(*number, "lost") || befell(*number, "bad base64");
    let (gone, came): (Vec<_>, Vec<_>) = spoken.into_iter().partition(is_gone);
    let (_, delay_ms) = report.said.likeness(&report.heard, 10_000);
    for number in came {
        // A frame of an odd byte count lacks a sample, which is less than a millisecond.
        let heard = from(&report.heard, 100 * (number as u64 - 1) + delay_ms - 1);
        let (likeness, _) = frame(number).likeness(&heard, 2);
        assert!(likeness >= 0.95, "frame {number}: {likeness}");
    }
    let counts = over(&gateway, &id).await.ended.unwrap().counts;
    assert!(
        counts.lost_frames as usize >= gone.len(),
        "{counts:?}, and {gone:?} never came"
    );
    assert!(counts.ignored > 0 && counts.turns == 2, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_vanishes_ends_its_session_and_nobody_elses() {
    let _shared = MACHINE.read().await;
    let gateway = Gateway::start().await;
    let (lost, lost_url) = gateway.offer("echo", Rate::Hz8000).await;
    let (kept, kept_url) = gateway.offer("demo", Rate::Hz8000).await;
    let vanish = Faults {
        stream: vec![StreamRule {
            after_ms: Some(900),
            ..StreamRule::always(StreamFault::Vanish)
        }],
        ..Faults::default()
    };
    let (_, report) = tokio::join!(
        place_with(&lost_url, 0, [Step::SayMs(3_000)], vanish),
        place(&kept_url, 300, [Step::WaitForQuietMs(600)]),
    );
    assert_clean(&report);
    ended_by(&gateway, &lost, Ending::Closed).await;
    ended_by(&gateway, &kept, Ending::CallEnded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_at_once_each_hear_their_own_words() {
    let _shared = MACHINE.read().await;
    let gateway = Gateway::start().await;
    let calls = (0..4).map(|seed| {
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move {
            let (_, url) = gateway.offer("echo", Rate::Hz8000).await;
            let mut call = StreamCall::to(Target::Stream(url));
            call.seed = 40 + seed;
            call.talk = Talk {
                linger_ms: 200,
                ..Talk::script([
                    Step::WaitForQuietMs(300 + 150 * seed),
                    Step::SayMs(1_500),
                    Step::WaitForQuietMs(600),
                ])
            };
            call.place().await.unwrap()
        })
    });
    let mut reports = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        reports.push(call.await.unwrap());
    }
    for (own, report) in reports.iter().enumerate() {
        assert_clean(report);
        for (other, heard) in reports.iter().enumerate() {
            let (likeness, _) = report.said.likeness(&heard.heard, 10_000);
            assert_eq!(likeness >= 0.9, own == other, "{own} and {other}: {likeness}");
        }
    }
}

/// A sound as bots of the team's answer it.
fn beep() -> Value {
    let beep: Vec<u8> = (0..4_000)
        .flat_map(|n| (if n / 10 % 2 == 0 { 400_i16 } else { -400 }).to_le_bytes())
        .collect();
    json!({"pcm": STANDARD.encode(beep), "rate": 8000})
}

/// The team's own bot: it greets, says back what it hears, says a key's number of beeps, and hangs up at a nine.
async fn own_bot() -> (String, Arc<Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    let answer = async move |Json(turn): Json<Value>| {
        kept.lock().unwrap().push(turn.clone());
        let beep = beep();
        Json(
            match (turn["input"]["kind"].as_str().unwrap(), &turn["input"]["digits"]) {
                ("speech", _) => {
                    json!({"audio": {"wav": turn["input"]["wav"]}, "heard": "words", "said": "the same words", "state": "has spoken"})
                }
                ("digits", digits) if digits == "9" => {
                    json!({"audio": beep, "said": "Goodbye.", "then": "hang_up"})
                }
                _ => json!({"audio": beep, "said": "Hello.", "state": "greeted"}),
            },
        )
    };
    let router = axum::Router::new().route("/turn", axum::routing::post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (origin, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_of_the_teams_own_holds_a_talk_of_three_turns() {
    let _shared = MACHINE.read().await;
    let (origin, asked) = own_bot().await;
    let bots = json!({"support": {"kind": "http", "url": format!("{origin}/turn")}}).to_string();
    let gateway = Gateway::with_bots(Some(&bots), Some(&origin)).await;
    let (id, url) = gateway.offer("support", Rate::Hz16000).await;
    let steps = [
        Step::WaitForQuietMs(400),
        Step::SayMs(1_800),
        Step::WaitForQuietMs(600),
        Step::Digits("9#".to_owned()),
        Step::SilenceMs(10_000),
    ];
    let report = place(&url, 0, steps).await;
    assert_clean(&report);
    let (likeness, _) = report.said.likeness(&report.heard, 10_000);
    assert!(likeness >= 0.95, "{likeness}");
    assert_eq!(report.view.disconnected_by, Some(DisconnectedBy::Bot));
    let session = over(&gateway, &id).await;
    assert_eq!(session.ended.as_ref().unwrap().why, Ending::HungUp);
    let said = |text: &str| Some(text.to_owned());
    assert_eq!(
        transcript(&gateway, &id).await,
        [
            (None, said("Hello.")),
            (said("words"), said("the same words")),
            (said("9"), said("Goodbye."))
        ]
    );
    let asked = asked.lock().unwrap();
    let turns: Vec<_> = asked.iter().map(|turn| (&turn["turn"], &turn["state"])).collect();
    assert_eq!(
        turns,
        [
            (&json!(0), &Value::Null),
            (&json!(1), &json!("greeted")),
            (&json!(2), &json!("has spoken"))
        ]
    );
    assert!(
        asked
            .iter()
            .all(|turn| turn["session"]["id"] == id.as_str() && turn["rate"] == 16_000)
    );
}

/// Two servers that fail as servers do: `slow` greets, hangs, answers a page of HTML, and hangs up at a nine; `dead` is
/// never well.
async fn failing_bots() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let slow = async |Json(turn): Json<Value>| match (turn["turn"].as_u64(), &turn["input"]["digits"]) {
        (_, digits) if digits == "9" => {
            Json(json!({"audio": beep(), "said": "Goodbye.", "then": "hang_up"})).into_response()
        }
        (Some(1), _) => std::future::pending().await,
        (Some(2), _) => Html("<h1>It works!</h1>").into_response(),
        _ => Json(json!({"audio": beep(), "said": "Hello."})).into_response(),
    };
    let router = axum::Router::new()
        .route("/slow", axum::routing::post(slow))
        .route(
            "/dead",
            axum::routing::post(async || StatusCode::INTERNAL_SERVER_ERROR),
        );
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    origin
}

/// When the excuse that ends with a mark began to be heard, in milliseconds from the stream's start; `None` when
/// something else was heard before that mark.
fn excused_at(report: &StreamReport, mark: &MarkView) -> Option<u64> {
    let wav = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../menus/fallback.wav");
    let excuse = Track::from_wav(&wav, report.heard.rate_hz).unwrap();
    let begins = mark.echoed_ms?.saturating_sub(excuse.ms() + 300);
    let (likeness, delay_ms) = excuse.likeness(&from(&report.heard, begins), 400);
    (likeness >= 0.95).then_some(begins + delay_ms)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bots_that_hang_or_answer_nonsense_hold_up_neither_their_own_calls_nor_their_neighbours() {
    let _shared = MACHINE.read().await;
    logs::capture();
    let origin = failing_bots().await;
    let bots = json!({
        "slow": {"kind": "http", "url": format!("{origin}/slow")},
        "dead": {"kind": "http", "url": format!("{origin}/dead")},
    })
    .to_string();
    let gateway = Gateway::with_bots(Some(&bots), Some(&origin)).await;
    let (slow, slow_url) = gateway.offer("slow", Rate::Hz8000).await;
    let (dead, dead_url) = gateway.offer("dead", Rate::Hz8000).await;
    let (neighbour, neighbour_url) = gateway.offer("echo", Rate::Hz8000).await;
    let to_slow = [
        Step::WaitForQuietMs(300),
        Step::Digits("5#".to_owned()),
        // The excuse has a pause of its own.
        Step::WaitForQuietMs(600),
        Step::SayMs(1_000),
        Step::WaitForQuietMs(600),
        Step::Digits("9#".to_owned()),
        Step::SilenceMs(10_000),
    ];
    let to_dead = [
        Step::WaitForQuietMs(600),
        Step::SayMs(1_000),
        Step::WaitForQuietMs(600),
        Step::Digits("1#".to_owned()),
        Step::SilenceMs(20_000),
    ];
    let to_neighbour = [
        Step::WaitForQuietMs(300),
        Step::SayMs(1_000),
        Step::WaitForQuietMs(600),
    ];
    let (of_slow, of_dead, of_neighbour) = tokio::join!(
        place(&slow_url, 0, to_slow),
        place(&dead_url, 0, to_dead),
        place(&neighbour_url, 300, to_neighbour),
    );
    for report in [&of_slow, &of_dead, &of_neighbour] {
        assert_clean(report);
    }
    let excuses = |report: &StreamReport| -> Vec<_> {
        let marks = report.view.marks.iter();
        marks.map(|mark| excused_at(report, mark)).collect()
    };
    let said = |text: &str| Some(text.to_owned());

    let [None, Some(begins), Some(_), None] = excuses(&of_slow)[..] else {
        panic!("a greeting, two excuses, and a goodbye: {:?}", of_slow.view.marks)
    };
    let keys = of_slow.view.events.iter().filter(|event| event.event == "dtmf");
    let pressed = keys.map(|key| key.at_ms).nth(1).unwrap();
    let waited = begins - pressed;
    // After ten the session would have asked again.
    assert!((3_000..10_000).contains(&waited), "excused after {waited} ms");
    let session = ended_by(&gateway, &slow, Ending::HungUp).await;
    assert_eq!(session.ended.unwrap().counts.turns, 4);
    assert_eq!(
        transcript(&gateway, &slow).await,
        [
            (None, said("Hello.")),
            (
                said("5"),
                said("[the bot did not answer: it did not answer within 3 s]")
            ),
            (
                None,
                said("[the bot did not answer: its answer is neither application/json nor audio/wav]")
            ),
            (said("9"), said("Goodbye.")),
        ]
    );

    let excuses = excuses(&of_dead);
    assert!(
        excuses.len() == 3 && excuses.iter().all(Option::is_some),
        "{excuses:?} of {:?}",
        of_dead.view.marks
    );
    assert_eq!(of_dead.view.disconnected_by, Some(DisconnectedBy::Bot));
    assert!(logs::has("\"alarm\":\"voicebot.bot_failed\""));
    let session = ended_by(&gateway, &dead, Ending::Transferred("bot_failed".to_owned())).await;
    assert_eq!(session.ended.unwrap().counts.turns, 3);
    let problem = said("[the bot did not answer: it answered 500]");
    assert_eq!(
        transcript(&gateway, &dead).await,
        [
            (None, problem.clone()),
            (None, problem.clone()),
            (said("1"), problem)
        ]
    );

    let (likeness, _) = of_neighbour.said.likeness(&of_neighbour.heard, 10_000);
    assert!(likeness >= 0.95, "{likeness}");
    // Behind the greeting's.
    let answered = of_neighbour.view.marks[1].received_ms;
    assert!(
        answered < begins,
        "nobody waits for the bot that hangs: answered after {answered} ms, which was excused after {begins} ms"
    );
    let session = ended_by(&gateway, &neighbour, Ending::CallEnded).await;
    assert_eq!(session.ended_by(), Some(EndedBy::Caller));
}

/// Eight frames of a tone that no other call has. No frame of it is like the next: none holds whole periods.
fn tone(call: usize) -> Vec<i16> {
    let hz = 203.0 + 10.0 * call as f64;
    let angle = |n: i32| f64::from(n) * hz * std::f64::consts::TAU / 8_000.0;
    (0..6_400).map(|n| (angle(n).sin() * 6_000.0) as i16).collect()
}

fn likeness(here: &[i16], there: &[i16]) -> f64 {
    let sum =
        |a: &[i16], b: &[i16]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    sum(here, there) / (sum(here, here) * sum(there, there)).sqrt().max(1.0)
}

/// What API Gateway makes of a handshake, a message, or an end.
fn event(connection: &str, query: &Value, body: Option<Value>) -> SocketEvent {
    let event = json!({
        "requestContext": {"connectionId": connection},
        "queryStringParameters": query,
        "body": body.map(|body| body.to_string()),
    });
    serde_json::from_value(event).unwrap()
}

/// A bot that greets with a tone of the length that its path names, in milliseconds, at the rate of the call.
async fn speaks_for() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let answer = async move |Path(ms): Path<usize>, Json(turn): Json<Value>| {
        let rate = usize::try_from(turn["rate"].as_u64().unwrap()).unwrap();
        let tone: Vec<u8> = (0..rate * ms / 1_000)
            .flat_map(|n| (if n / 20 % 2 == 0 { 900_i16 } else { -900 }).to_le_bytes())
            .collect();
        Json(json!({"audio": {"pcm": STANDARD.encode(tone), "rate": rate}}))
    };
    let router = axum::Router::new().route("/{ms}", axum::routing::post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    origin
}

/// API Gateway bills a message for each 32 KB begun. Nothing that is legal costs fewer: a chunk holds 24 000 bytes at most,
/// and a mark is a message of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_as_few_messages_as_its_sound_and_its_mark_can_be() {
    let _shared = MACHINE.read().await;
    let origin = speaks_for().await;
    let lengths_ms = [400_u64, 4_000, 12_000];
    let bots: serde_json::Map<_, _> = lengths_ms
        .map(|ms| {
            (
                format!("for-{ms}"),
                json!({"kind": "http", "url": format!("{origin}/{ms}")}),
            )
        })
        .into_iter()
        .collect();
    let bots = Value::Object(bots).to_string();
    let (bots, origin) = (bots.as_str(), origin.as_str());
    let calls = Rate::ALL
        .into_iter()
        .flat_map(|rate| lengths_ms.map(|ms| (rate, ms)));
    let calls = calls.map(|(rate, ms)| async move {
        let gateway = Gateway::with_bots(Some(bots), Some(origin)).await;
        let (_, url) = gateway.offer(&format!("for-{ms}"), rate).await;
        let report = place(&url, 0, [Step::WaitForQuietMs(300)]).await;
        assert_clean(&report);
        (
            rate,
            ms,
            report.view.heard_ms,
            gateway.billed.load(Ordering::Relaxed),
        )
    });
    for (rate, ms, heard_ms, billed) in futures_util::future::join_all(calls).await {
        assert_eq!(heard_ms, ms, "{rate:?}");
        let bytes = u64::from(rate.hz()) * 2 * ms / 1_000;
        assert_eq!(billed, bytes.div_ceil(24_000) + 1, "{ms} ms at {rate:?}");
        let a_second = billed as f64 * 1_000.0 / ms as f64;
        println!(
            "{ms} ms at {} Hz: {billed} billed messages, {a_second:.2} a second",
            rate.hz()
        );
        assert!(
            ms < 12_000 || a_second <= most_billed(rate),
            "{a_second} at {rate:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_pressed_before_a_socket_vanishes_reach_the_bot() {
    let _shared = MACHINE.read().await;
    let (origin, asked) = own_bot().await;
    let bots = json!({"support": {"kind": "http", "url": format!("{origin}/turn")}}).to_string();
    let gateway = Gateway::with_bots(Some(&bots), Some(&origin)).await;
    let mut posts = gateway.socket("last-words=");
    let (id, url) = gateway.offer("support", Rate::Hz8000).await;
    let token = url.split("token=").nth(1).unwrap().split('&').next().unwrap();
    let query = json!({"call_id": id, "token": token});
    let event = |body: Option<Value>| event("last-words=", &query, body);
    assert_eq!(gateway.connect(&event(None)).await.status(), 200);
    let stream = "4e1c9a70d25b4f83a6c0e7d19b52193w";
    let start = json!({"event": "start", "sequence_number": "1", "stream_sid": stream,
        "start": {"stream_sid": stream, "media_format": {"sample_rate": "8000"}}});
    gateway.hear(&event(Some(start))).await;
    while let Some(Post::Text(text)) = posts.recv().await
        && !text.contains("\"mark\"")
    {}
    for (number, digit) in [(2, "4"), (3, "7")] {
        let key = json!({"event": "dtmf", "sequence_number": number, "stream_sid": stream,
            "dtmf": {"digit": digit}});
        gateway.hear(&event(Some(key))).await;
    }
    gateway.hear_close(&event(None)).await;
    ended_by(&gateway, &id, Ending::Closed).await;
    for _ in 0..100 {
        if asked.lock().unwrap().len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let asked = asked.lock().unwrap();
    let inputs: Vec<_> = asked.iter().map(|turn| &turn["input"]).collect();
    assert_eq!(
        inputs,
        [
            &json!({"kind": "start"}),
            &json!({"kind": "digits", "digits": "47"})
        ]
    );
}

/// What came of a call without a network.
struct SaidBack {
    id: VoiceSessionId,
    stream_sid: String,
    /// Answers that were said to their end.
    answers: u32,
    /// The last of them.
    heard: Vec<i16>,
}

/// A caller's turn without a network and in no time: the tone is said, then silence, until the bot has said it back. Then
/// the caller hangs up.
async fn said_back(gateway: Arc<Gateway>, call: usize) -> SaidBack {
    let connection = format!("harness-{call}=");
    let mut posts = gateway.socket(&connection);
    let (id, url) = gateway.offer("echo", Rate::Hz8000).await;
    let token = url.split("token=").nth(1).unwrap().split('&').next().unwrap();
    let query = json!({"call_id": id, "token": token});
    let event = |body: Option<Value>| event(&connection, &query, body);
    assert_eq!(gateway.connect(&event(None)).await.status(), 200);
    let stream = format!("{call:032}");
    let start = json!({"event": "start", "sequence_number": "1", "stream_sid": stream,
        "start": {"stream_sid": stream, "media_format": {"sample_rate": "8000"}}});
    gateway.hear(&event(Some(start))).await;
    let mut pcm = Vec::new();
    let mut answers = 0;
    let quiet = vec![0_i16; 800];
    let mut number = 1;
    let mut frame = async |samples: &[i16]| {
        number += 1;
        let pcm: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let media = json!({"event": "media", "sequence_number": number, "stream_sid": stream,
            "media": {"payload": STANDARD.encode(pcm)}});
        gateway.hear(&event(Some(media))).await;
    };
    // The greeting, then what was said. Meanwhile the line is never still: a session tells the time by its messages.
    for words in [vec![], tone(call)] {
        if !words.is_empty() {
            // The floor learns what silence is before anything is said.
            let before = std::iter::repeat_n(&quiet[..], 3);
            let after = std::iter::repeat_n(&quiet[..], 9);
            for samples in before.chain(words.chunks(800)).chain(after) {
                frame(samples).await;
            }
        }
        let greeting = std::mem::take(&mut pcm);
        loop {
            let post = tokio::select! {
                post = posts.recv() => post,
                () = tokio::time::sleep(Duration::from_secs(3)) => {
                    frame(&quiet).await;
                    continue;
                }
            };
            let Some(Post::Text(text)) = post else {
                panic!("the socket of call {call} is closed")
            };
            let message: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(message["stream_sid"], *stream, "somebody else's message");
            match message["event"].as_str().unwrap() {
                "media" => pcm.extend(
                    STANDARD
                        .decode(message["media"]["payload"].as_str().unwrap())
                        .unwrap(),
                ),
                "mark" => {
                    answers += 1;
                    // On a slow machine the bot may have taken the caller for silent, and beeped as it does to greet.
                    if pcm != greeting {
                        break;
                    }
                    pcm.clear();
                }
                "clear" => pcm.clear(),
                _ => {}
            }
        }
    }
    let stop = json!({"event": "stop", "sequence_number": number + 1, "stream_sid": stream,
        "stop": {"reason": "callended"}});
    gateway.hear(&event(Some(stop))).await;
    gateway.hear_close(&event(None)).await;
    let samples = pcm.chunks_exact(2);
    SaidBack {
        id,
        stream_sid: stream,
        answers,
        heard: samples
            .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
            .collect(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_calls_at_once_each_get_their_own_words_back() {
    const CALLS: usize = 200;
    let _whole = MACHINE.write().await;
    let gateway = Gateway::start().await;
    let calls: Vec<_> = (0..CALLS)
        .map(|call| tokio::spawn(said_back(Arc::clone(&gateway), call)))
        .collect();
    for (call, came) in calls.into_iter().enumerate() {
        let SaidBack {
            id,
            stream_sid,
            answers,
            heard,
        } = came.await.unwrap();
        // An utterance begins with its first frame that is loud; what is before is silence.
        let begins = heard.iter().position(|sample| sample.abs() > 500).unwrap() / 800 * 800;
        let mut heard = heard[begins..].to_vec();
        // What is missing of the answer is missing.
        heard.resize(6_400, 0);
        let own = likeness(&tone(call), &heard);
        assert!(own >= 0.95, "call {call}: {own}");
        let others = likeness(&tone((call + 1) % CALLS), &heard);
        assert!(others.abs() < 0.5, "call {call} hears another: {others}");
        let session = ended_by(&gateway, &id, Ending::CallEnded).await;
        assert_eq!(session.stream_sid, Some(stream_sid), "call {call}");
        let counts = session.ended.unwrap().counts;
        // A beep that the words interrupted has no mark.
        assert!(
            (answers..=answers + 1).contains(&counts.turns),
            "call {call}: {answers} answers, {counts:?}"
        );
        assert_eq!((counts.lost_frames, counts.ignored), (0, 0), "call {call}");
    }
}
