//! Whole calls: Exotel's side of AgentStream on one end of a socket, the functions on the other, in real time.

use std::{sync::Arc, time::Duration};

use domain::{
    ids::VoiceSessionId,
    voicebot::{
        Ending, Rate,
        record::{EndedBy, SessionState, VoiceSession},
    },
};
use exotel_simulator::{
    DisconnectedBy, Faults, Step, StreamCall, StreamFault, StreamReport, StreamRule, StreamStatus, Talk,
    Target, Track,
};
use jiff::Timestamp;

use crate::gateway::Gateway;

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

fn assert_clean(report: &StreamReport) {
    let view = &report.view;
    assert_eq!(view.violations, [], "{:?}", view.events);
    assert_eq!(view.status, StreamStatus::Completed, "{:?}", view.error);
}

async fn echo(rate: Rate) {
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
    let session = over(&gateway, &id).await;
    if rate == Rate::Hz8000 {
        // What a minute of it would cost, handshake and end included.
        let spent = gateway.dynamo.meter().take();
        let minutes = report.view.duration_ms as f64 / 60_000.0;
        assert!(spent.write_units / minutes <= 900.0, "{spent:?}");
        assert!(spent.read_units / minutes <= 700.0 + 30.0 / minutes, "{spent:?}");
    }
    assert_eq!(session.ended.as_ref().unwrap().why, Ending::CallEnded);
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

/// What the session's transcript says, line by line: what was heard, and what was said.
async fn transcript(gateway: &Gateway, id: &VoiceSessionId) -> Vec<(Option<String>, Option<String>)> {
    let lines = gateway.table.voice_lines(id).await.unwrap();
    lines.into_iter().map(|line| (line.heard, line.said)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_menu_is_walked_by_keys_to_a_transfer() {
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
    let first = report.view.first_heard_ms.unwrap();
    assert!(first < 1_500, "the greeting starts after {first} ms");
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
    let rate = usize::try_from(report.heard.rate_hz).unwrap();
    let from = |track: &Track, ms: u64| Track {
        rate_hz: track.rate_hz,
        samples: track.samples[usize::try_from(ms).unwrap() * rate / 1_000..].to_vec(),
    };
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
    let gateway = Gateway::start().await;
    let (id, url) = gateway.offer("echo", Rate::Hz8000).await;
    let often = |fault, rate| StreamRule {
        rate: Some(rate),
        ..StreamRule::always(fault)
    };
    let faults = Faults {
        seed: Some(7),
        stream: vec![
            often(StreamFault::Lose, 0.02),
            often(StreamFault::Duplicate, 0.1),
            often(StreamFault::Reorder, 0.1),
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
    let (likeness, _) = report.said.likeness(&report.heard, 10_000);
    assert!(likeness >= 0.8, "{likeness}");
    let counts = over(&gateway, &id).await.ended.unwrap().counts;
    assert!(counts.ignored > 0 && counts.turns == 2, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_vanishes_ends_its_session_and_nobody_elses() {
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
    assert_eq!(over(&gateway, &lost).await.ended.unwrap().why, Ending::Closed);
    assert_eq!(over(&gateway, &kept).await.ended.unwrap().why, Ending::CallEnded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_at_once_each_hear_their_own_words() {
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
