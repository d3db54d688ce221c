//! AgentStream as a bot sees it. The bots live in memory and the clock is Tokio's paused one: minutes take moments.

use std::sync::{Arc, Mutex};

use exotel_simulator::{
    ClearView, DisconnectedBy, Faults, Numbers, Step, StreamCall, StreamFault, StreamOptions, StreamReport,
    StreamRule, StreamStatus, StreamView, Talk, Target, Track, ViolationKind,
};
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio_tungstenite::tungstenite::Message;

use crate::bot::{Bot, decode, in_memory};

fn to<const N: usize>(url: &str, steps: [Step; N]) -> StreamCall {
    StreamCall {
        talk: Talk {
            linger_ms: 500,
            ..Talk::script(steps)
        },
        ..StreamCall::to(Target::Stream(url.to_owned()))
    }
}

const URL: &str = "ws://bot.test/media";

/// Places the call to a bot in memory.
async fn place<F>(call: StreamCall, bot: impl FnOnce(Bot<DuplexStream>) -> F + Send + 'static) -> StreamReport
where
    F: Future<Output = ()> + Send + 'static,
{
    let (connection, bot) = in_memory(bot);
    let report = call.place_over(connection).await.unwrap();
    // It may still read what came last.
    bot.await.unwrap();
    report
}

fn kinds(view: &StreamView) -> Vec<ViolationKind> {
    view.violations.iter().map(|violation| violation.kind).collect()
}

type Shelf = Arc<Mutex<Vec<Value>>>;

/// Where a bot leaves what it got; one for the bot, one for the test.
fn shelf() -> (Shelf, Shelf) {
    let shelf = Arc::new(Mutex::new(Vec::new()));
    (shelf.clone(), shelf)
}

/// Keeps every message until the end.
async fn keep(mut bot: Bot<DuplexStream>, shelf: Shelf) {
    while let Some(message) = bot.next().await {
        shelf.lock().unwrap().push(message);
    }
}

#[tokio::test(start_paused = true)]
async fn an_echo_gives_back_what_was_said_at_every_rate() {
    for rate in [8_000_u32, 16_000, 24_000] {
        let mut call = to(
            &format!("{URL}?sample-rate={rate}"),
            [
                Step::SilenceMs(350),
                Step::SayMs(2_500),
                Step::SilenceMs(700),
                Step::SayMs(800),
            ],
        );
        call.talk.linger_ms = 1_000;
        let report = place(call, Bot::echo).await;
        let view = &report.view;
        assert_eq!(view.violations, [], "{rate}");
        assert_eq!(view.gaps, [], "{rate}");
        assert_eq!(
            (view.status, view.disconnected_by),
            (StreamStatus::Completed, Some(DisconnectedBy::User))
        );
        assert_eq!(view.stop_reason.as_deref(), Some("callended"));
        assert_eq!((view.rate_hz, view.frames, view.duration_ms), (rate, 54, 5_400));
        let (likeness, delay_ms) = report.said.likeness(&report.heard, 1_000);
        assert!(likeness >= 0.95, "{rate}: {likeness}");
        // The echo needs 3 200 bytes before it may send; then 100 ms pass before they are played.
        let chunk_ms = (1_600 * 1_000 / u64::from(rate)).div_ceil(100) * 100;
        assert_eq!(delay_ms, chunk_ms + 100, "{rate}");
        // The caller's silence comes back as silence; the first word was in the frame that was over after 400 ms.
        assert_eq!(view.first_audio_ms, Some(400), "{rate}");
        let late_ms = view.first_heard_ms.unwrap() - 350;
        assert!(late_ms.abs_diff(delay_ms) <= 20, "{rate}: {late_ms}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_bot_is_told_everything_in_order_and_in_real_time() {
    let (shelf, got) = shelf();
    let times = Arc::new(Mutex::new(Vec::new()));
    let noted = times.clone();
    let call = to(
        "ws://user:pass@bot.test/media?lead=7f3&sample-rate=16000&note=a%20b",
        [
            Step::SayMs(300),
            Step::Digits("5#".to_owned()),
            Step::HangUp(true),
        ],
    );
    let began = tokio::time::Instant::now();
    place(call, async move |mut bot| {
        while let Some(message) = bot.next().await {
            noted.lock().unwrap().push(began.elapsed().as_millis());
            shelf.lock().unwrap().push(message);
        }
    })
    .await;
    let got = got.lock().unwrap().clone();
    let events: Vec<&str> = got
        .iter()
        .map(|message| message["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        events,
        [
            "connected",
            "start",
            "media",
            "media",
            "media",
            "dtmf",
            "media",
            "media",
            "dtmf",
            "media",
            "media",
            "stop"
        ]
    );
    assert_eq!(got[0], json!({"event": "connected"}));
    let start = &got[1];
    assert_eq!(
        start["start"]["custom_parameters"],
        json!({"lead": "7f3", "note": "a b"})
    );
    assert_eq!(
        start["start"]["media_format"],
        json!({"encoding": "base64", "sample_rate": "16000", "bit_rate": "256kbps"})
    );
    assert_eq!(
        (&start["start"]["from"], &start["start"]["to"]),
        (&json!("09811109999"), &json!("08045550100"))
    );
    let sequence: Vec<&str> = got[1..]
        .iter()
        .map(|message| message["sequence_number"].as_str().unwrap())
        .collect();
    let counted: Vec<String> = (1..=11).map(|number: u32| number.to_string()).collect();
    assert_eq!(sequence, counted);
    assert!(
        got[1..]
            .iter()
            .all(|message| message["stream_sid"] == start["stream_sid"])
    );
    let media: Vec<&Value> = got
        .iter()
        .filter(|message| message["event"] == "media")
        .map(|m| &m["media"])
        .collect();
    for (at, media) in media.iter().enumerate() {
        let at = at + 1;
        assert_eq!(media["chunk"], at.to_string());
        assert_eq!(media["timestamp"], (at * 100).to_string());
        assert_eq!(decode(&media["payload"]).len(), 3_200);
    }
    assert_eq!(got[5]["dtmf"], json!({"digit": "5", "duration": "100"}));
    assert_eq!(got[8]["dtmf"]["digit"], "#");
    assert_eq!(got[11]["stop"]["reason"], "callended");
    assert_eq!(got[11]["stop"]["call_sid"], start["start"]["call_sid"]);
    assert_eq!(
        *times.lock().unwrap(),
        [0, 0, 100, 200, 300, 400, 400, 500, 600, 600, 700, 700]
    );
}

#[tokio::test(start_paused = true)]
async fn numbers_can_be_numbers_and_frames_of_another_length() {
    let (shelf, got) = shelf();
    let mut call = to(URL, [Step::SayMs(1_000), Step::HangUp(true)]);
    call.options = StreamOptions {
        numbers: Numbers::Ints,
        frame_ms: 200,
        ..StreamOptions::default()
    };
    place(call, move |bot| keep(bot, shelf)).await;
    let got = got.lock().unwrap();
    assert_eq!(got[1]["start"]["media_format"]["sample_rate"], 8_000);
    assert_eq!(
        (&got[2]["sequence_number"], &got[2]["media"]["timestamp"]),
        (&json!(2), &json!(200))
    );
    assert_eq!(decode(&got[2]["media"]["payload"]).len(), 3_200);
    assert_eq!(
        got.iter().filter(|message| message["event"] == "media").count(),
        5
    );
}

#[tokio::test(start_paused = true)]
async fn a_wav_of_another_rate_and_width_is_spoken() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("stereo44k.wav");
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: 44_100,
        bits_per_sample: 24,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&path, spec).unwrap();
    for at in 0..44_100 {
        let value = (f64::from(at) * 300.0 * std::f64::consts::TAU / 44_100.0).sin() * 4_000_000.0;
        writer.write_sample(value as i32).unwrap();
        writer.write_sample(value as i32).unwrap();
    }
    writer.finalize().unwrap();
    let call = StreamCall {
        talk: Talk {
            wav: Some(path),
            linger_ms: 0,
            ..Talk::default()
        },
        ..StreamCall::to(Target::Stream(URL.to_owned()))
    };
    let report = place(call, Bot::wait_for_end).await;
    assert_eq!(report.said.ms(), 1_000);
    let tone = Track {
        rate_hz: 8_000,
        samples: (0..8_000)
            .map(|at| ((f64::from(at) * 300.0 * std::f64::consts::TAU / 8_000.0).sin() * 15_600.0) as i16)
            .collect(),
    };
    let (likeness, delay_ms) = tone.likeness(&report.said, 0);
    assert!(likeness > 0.99 && delay_ms == 0, "{likeness}");
}

#[tokio::test(start_paused = true)]
async fn marks_come_back_when_everything_before_them_was_played() {
    let (shelf, got) = shelf();
    let call = to(
        URL,
        [
            Step::WaitForMark("a".to_owned()),
            Step::Digits("1".to_owned()),
            Step::WaitForMark("c".to_owned()),
            Step::HangUp(true),
        ],
    );
    let report = place(call, async move |mut bot| {
        bot.next_of("start").await;
        bot.hum(3_200).await;
        bot.mark("a").await;
        bot.hum(6_400).await;
        bot.mark("b").await;
        bot.mark("c").await;
        keep(bot, shelf).await;
    })
    .await;
    let marks: Vec<_> = report
        .view
        .marks
        .iter()
        .map(|mark| (mark.name.as_str(), mark.received_ms, mark.echoed_ms))
        .collect();
    // 100 ms until sound is played, then 200 ms and 400 ms of it.
    assert_eq!(
        marks,
        [("a", 0, Some(300)), ("b", 0, Some(700)), ("c", 0, Some(700))]
    );
    let got = got.lock().unwrap();
    let names: Vec<&str> = got
        .iter()
        .filter_map(|message| message["mark"]["name"].as_str())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    let sequence: Vec<u64> = got
        .iter()
        .map(|message| message["sequence_number"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(sequence.is_sorted());
    assert_eq!(report.view.violations, []);
    assert_eq!((report.view.heard_ms, report.view.unheard_ms), (600, 0));
    // The caller pressed the key after the first mark.
    let dtmf = report
        .view
        .events
        .iter()
        .find(|event| event.event == "dtmf")
        .unwrap();
    assert_eq!((dtmf.at_ms, dtmf.detail.as_str()), (300, "1"));
}

#[tokio::test(start_paused = true)]
async fn clear_drops_what_has_not_begun_and_its_marks_come_back_or_not() {
    for echo_cleared_marks in [true, false] {
        let mut call = to(URL, [Step::SilenceMs(2_000), Step::HangUp(true)]);
        call.options.echo_cleared_marks = echo_cleared_marks;
        let report = place(call, async |mut bot| {
            bot.next_of("start").await;
            for _ in 0..5 {
                bot.hum(3_200).await;
            }
            bot.mark("end").await;
            for _ in 0..4 {
                bot.next_of("media").await;
            }
            bot.send(json!({"event": "clear"})).await;
            bot.wait_for_end().await;
        })
        .await;
        let view = &report.view;
        assert_eq!(view.violations, []);
        let clear = ClearView {
            at_ms: 400,
            dropped_ms: 600,
            left_ms: 100,
        };
        assert_eq!(view.clears, [clear]);
        // The first chunk began after 100 ms; after 400 ms the second was being played, and goes on to its end.
        assert_eq!(view.heard_ms, 400);
        let silent_from = report
            .heard
            .samples
            .iter()
            .rposition(|sample| *sample != 0)
            .unwrap()
            + 1;
        assert_eq!(silent_from, 500 * 8);
        assert!(view.marks[0].cleared);
        assert_eq!(view.marks[0].echoed_ms, echo_cleared_marks.then_some(400));
    }
}

#[tokio::test(start_paused = true)]
async fn every_broken_rule_is_reported() {
    use ViolationKind::{
        BadBase64, BinaryMessage, ChunkMisaligned, ChunkTooLarge, ChunkTooSmall, MissingField, NotJson,
        UnknownEvent, WrongStreamSid,
    };
    let mut call = to(URL, [Step::SilenceMs(1_000), Step::HangUp(true)]);
    call.options.most_ahead_ms = 60_000;
    let report = place(call, async |mut bot| {
        bot.next_of("start").await;
        bot.hum(1_600).await;
        bot.hum(100_160).await;
        bot.hum(3_300).await;
        bot.send(json!({"event": "media", "media": {"payload": "not base64!"}}))
            .await;
        bot.send(json!({"event": "media"})).await;
        bot.send(json!({"event": "hangup"})).await;
        bot.send(json!({"event": "clear", "stream_sid": "another"})).await;
        bot.message(Message::text("hello")).await;
        bot.message(Message::binary(vec![0; 3_200])).await;
        bot.send(
            json!({"event": "media", "streamSid": "ignored", "sequence_number": 7,
                        "media": {"chunk": 1, "timestamp": 0, "payload": ""}}),
        )
        .await;
        bot.wait_for_end().await;
    })
    .await;
    assert_eq!(
        kinds(&report.view),
        [
            ChunkTooSmall,
            ChunkTooLarge,
            ChunkMisaligned,
            BadBase64,
            MissingField,
            UnknownEvent,
            WrongStreamSid,
            NotJson,
            BinaryMessage,
            ChunkTooSmall
        ]
    );
    assert_eq!(report.view.status, StreamStatus::Completed, "the call goes on");
    assert_eq!((report.view.messages, report.view.chunks), (10, 4));
}

#[tokio::test(start_paused = true)]
async fn a_bot_must_not_be_too_far_ahead() {
    let report = place(to(URL, [Step::SilenceMs(160_000)]), async |mut bot| {
        bot.next_of("start").await;
        // Two minutes in real time give no credit.
        for _ in 0..600 {
            bot.hum(3_200).await;
            bot.next_of("media").await;
            bot.next_of("media").await;
        }
        // Twelve seconds at once: told of once.
        for _ in 0..5 {
            bot.hum(38_400).await;
        }
        // When all was played the bot may begin anew, and be too far ahead anew.
        bot.mark("played").await;
        bot.next_of("mark").await;
        for _ in 0..2 {
            bot.hum(99_840).await;
        }
        bot.wait_for_end().await;
    })
    .await;
    assert_eq!(
        kinds(&report.view),
        [ViolationKind::TooFarAhead, ViolationKind::TooFarAhead]
    );
    for (violation, waited) in report.view.violations.iter().zip(["7300 ms", "6240 ms"]) {
        assert!(violation.detail.contains(waited), "{violation:?}");
    }
    assert_eq!(report.view.most_ahead_ms, 12_480);

    // One of the largest chunks lasts 6.24 s; and who sends each when nine tenths of the last one are over is ten seconds
    // ahead in the end.
    for (bytes, chunks, frames_apart, most_ahead_ms) in [(99_840, 4, 57, 7_960), (16_000, 100, 9, 11_000)] {
        let mut call = to(URL, [Step::WaitForMark("end".to_owned()), Step::HangUp(true)]);
        call.talk.patience_ms = 120_000;
        let report = place(call, async move |mut bot| {
            bot.next_of("start").await;
            for _ in 0..chunks {
                bot.hum(bytes).await;
                for _ in 0..frames_apart {
                    bot.next_of("media").await;
                }
            }
            bot.mark("end").await;
            bot.wait_for_end().await;
        })
        .await;
        assert_eq!(report.view.violations, [], "{bytes}");
        assert_eq!(report.view.gaps, [], "{bytes}");
        assert_eq!(report.view.most_ahead_ms, most_ahead_ms, "{bytes}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_clear_leaves_is_not_held_against_the_bot() {
    let report = place(to(URL, [Step::SilenceMs(20_000)]), async |mut bot| {
        bot.next_of("start").await;
        bot.hum(99_840).await;
        for _ in 0..5 {
            bot.next_of("media").await;
        }
        bot.send(json!({"event": "clear"})).await;
        bot.hum(99_840).await;
        bot.wait_for_end().await;
    })
    .await;
    assert_eq!(report.view.violations, []);
    assert_eq!(
        (report.view.clears[0].left_ms, report.view.most_ahead_ms),
        (5_840, 12_080)
    );
}

#[tokio::test(start_paused = true)]
async fn who_streams_without_pause_has_a_voice_where_it_is_loud() {
    let call = to(
        URL,
        [
            Step::WaitForVoiceMs(400),
            Step::Digits("1".to_owned()),
            Step::WaitForQuietMs(500),
            Step::Digits("2".to_owned()),
            Step::WaitForVoiceMs(400),
            Step::Digits("3".to_owned()),
            Step::WaitForQuietMs(500),
            Step::HangUp(true),
        ],
    );
    let report = place(call, async |mut bot| {
        let bytes = |sample: fn(usize) -> i16| (0..1_600).flat_map(move |at| sample(at).to_le_bytes());
        let noise: Vec<u8> = bytes(|at| if at % 3 == 0 { 8 } else { -8 }).collect();
        let tone: Vec<u8> = bytes(|at| ((at as f64 * 0.3).sin() * 8_000.0) as i16).collect();
        let silence = vec![0; 3_200];
        bot.next_of("start").await;
        // A second of each, and silence until the end.
        for piece in [&noise, &tone, &silence, &tone].into_iter().chain([&silence; 10]) {
            for _ in 0..5 {
                bot.play(piece).await;
                for _ in 0..2 {
                    if bot.next_of("media").await.is_none() {
                        return;
                    }
                }
            }
        }
    })
    .await;
    let view = &report.view;
    assert_eq!(view.violations, []);
    assert_eq!(view.gaps, []);
    // The tones are heard from 1.1 s to 2.1 s, and from 3.1 s to 4.1 s.
    let keys: Vec<_> = view
        .events
        .iter()
        .filter(|event| event.event == "dtmf")
        .map(|event| (event.at_ms, event.detail.as_str()))
        .collect();
    assert_eq!(keys, [(1_500, "1"), (2_600, "2"), (3_500, "3")]);
    assert_eq!(view.duration_ms, 4_600);
    assert_eq!(
        (view.first_audio_ms, view.first_heard_ms),
        (Some(1_000), Some(1_100))
    );
    assert_eq!(
        view.heard_ms, 4_500,
        "silence that was sent is sound that was played"
    );
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_told_of_and_dropped() {
    let report = place(to(URL, [Step::SilenceMs(3_000)]), async |mut bot| {
        bot.next_of("start").await;
        // 96 of them are a little less than ten minutes.
        for _ in 0..120 {
            bot.hum(99_840).await;
        }
        bot.mark("end").await;
        bot.wait_for_end().await;
    })
    .await;
    assert_eq!(
        kinds(&report.view),
        [ViolationKind::TooFarAhead, ViolationKind::TooFarAhead]
    );
    assert!(
        report.view.violations[1].detail.contains("599040 ms"),
        "{:?}",
        report.view.violations
    );
    assert_eq!((report.view.chunks, report.view.most_ahead_ms), (120, 599_040));
}

#[tokio::test(start_paused = true)]
async fn as_many_marks_are_kept_as_tell_enough() {
    let call = to(URL, [Step::WaitForMark("last".to_owned()), Step::HangUp(true)]);
    let report = place(call, async |mut bot| {
        bot.next_of("start").await;
        for _ in 0..1_010 {
            for _ in 0..10 {
                bot.mark("again").await;
            }
            for _ in 0..10 {
                bot.next_of("mark").await;
            }
        }
        bot.mark("last").await;
        bot.wait_for_end().await;
    })
    .await;
    let view = report.view;
    assert_eq!(view.violations, [], "every mark is echoed, kept or not");
    assert_eq!((view.marks.len(), view.events.len()), (10_000, 10_000));
    assert!(view.marks.iter().all(|mark| mark.echoed_ms.is_some()));
    // Two events of each mark, and those of the stream itself.
    assert!(view.left_off > 101 + 10_200, "{}", view.left_off);
}

#[tokio::test(start_paused = true)]
async fn chunks_that_come_late_leave_gaps() {
    let report = place(to(URL, [Step::SilenceMs(3_000)]), async |mut bot| {
        bot.next_of("start").await;
        bot.hum(3_200).await;
        // 200 ms of sound, begun after 100 ms: what comes after 500 ms is 200 ms late, and waits 100 ms more.
        for _ in 0..5 {
            bot.next_of("media").await;
        }
        bot.hum(3_200).await;
        bot.wait_for_end().await;
    })
    .await;
    let gaps: Vec<_> = report.view.gaps.iter().map(|gap| (gap.at_ms, gap.ms)).collect();
    assert_eq!(gaps, [(300, 300)]);
    assert_eq!(report.view.violations, [], "a gap is heard, but breaks no rule");
}

#[tokio::test(start_paused = true)]
async fn who_closes_the_socket_ends_the_call() {
    for (code, wrong) in [(1_000, false), (1_001, false), (1_011, true), (1_008, true)] {
        let (shelf, got) = shelf();
        let report = place(to(URL, [Step::SilenceMs(60_000)]), async move |mut bot| {
            bot.next_of("media").await;
            bot.hum(6_400).await;
            bot.close(code).await;
            keep(bot, shelf).await;
        })
        .await;
        let view = report.view;
        assert_eq!(
            (view.status, view.disconnected_by),
            (StreamStatus::Completed, Some(DisconnectedBy::Bot))
        );
        assert_eq!((view.close_code, view.stop_reason), (Some(code), None));
        assert_eq!(
            view.duration_ms, 100,
            "the caller hears no more, though sound waits"
        );
        assert_eq!(view.unheard_ms, 400);
        assert_eq!(view.violations.len(), usize::from(wrong), "{:?}", view.violations);
        assert!(got.lock().unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_bot_that_vanishes_breaks_the_line() {
    let report = place(to(URL, [Step::SilenceMs(60_000)]), async |mut bot| {
        bot.next_of("media").await;
    })
    .await;
    assert_eq!(report.view.status, StreamStatus::Failed);
    assert_eq!(report.view.disconnected_by, Some(DisconnectedBy::Bot));
    assert_eq!(kinds(&report.view), [ViolationKind::AbnormalClose]);
}

#[tokio::test(start_paused = true)]
async fn a_bot_that_does_not_read_is_found_out_and_holds_up_nothing() {
    let (ours, theirs) = tokio::io::duplex(4_096);
    let bot = tokio::spawn(async move {
        let bot = Bot::accept(ours).await;
        std::future::pending::<()>().await;
        drop(bot);
    });
    let report = to(URL, [Step::SilenceMs(8_000), Step::HangUp(true)])
        .place_over(theirs)
        .await
        .unwrap();
    bot.abort();
    assert_eq!(kinds(&report.view), [ViolationKind::NotReading]);
    assert_eq!((report.view.frames, report.view.duration_ms), (80, 8_000));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_may_take_ten_seconds() {
    let (_ours, theirs) = tokio::io::duplex(4_096);
    let began = tokio::time::Instant::now();
    let report = to(URL, []).place_over(theirs).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 10);
    assert_eq!(report.view.status, StreamStatus::Failed);
    assert_eq!(report.view.disconnected_by, Some(DisconnectedBy::System));
    assert!(report.view.error.unwrap().contains("10000 ms"));
    assert_eq!(report.view.started, None);
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_an_end_even_if_nobody_hangs_up() {
    let (shelf, got) = shelf();
    let mut call = to(URL, [Step::SilenceMs(600_000)]);
    call.options.max_ms = 60_000;
    let report = place(call, move |bot| keep(bot, shelf)).await;
    assert_eq!(got.lock().unwrap().last().unwrap()["stop"]["reason"], "stopped");
    assert_eq!(report.view.disconnected_by, Some(DisconnectedBy::System));
    assert_eq!((report.view.duration_ms, report.view.frames), (60_000, 600));
}

#[tokio::test(start_paused = true)]
async fn a_talk_takes_turns() {
    let call = to(
        URL,
        [
            Step::WaitForQuietMs(300),
            Step::SayMs(600),
            Step::WaitForVoiceMs(400),
            Step::SayMs(500),
            Step::WaitForQuietMs(300),
            Step::HangUp(true),
        ],
    );
    let report = place(call, async |mut bot| {
        bot.next_of("start").await;
        bot.hum(8_000).await;
        let loud = |message: &Value| decode(&message["media"]["payload"]).iter().any(|byte| *byte != 0);
        // Two turns; each is answered half a second after it began.
        for _ in 0..2 {
            loop {
                let Some(message) = bot.next_of("media").await else {
                    return;
                };
                if loud(&message) {
                    break;
                }
            }
            for _ in 0..5 {
                bot.next_of("media").await;
            }
            bot.hum(8_000).await;
            for _ in 0..4 {
                bot.next_of("media").await;
            }
        }
        bot.wait_for_end().await;
    })
    .await;
    assert_eq!(report.view.violations, []);
    assert_eq!(report.view.chunks, 3);
    assert_eq!(report.view.heard_ms, 1_500);
    assert_eq!(report.view.stop_reason.as_deref(), Some("callended"));
}

#[tokio::test(start_paused = true)]
async fn what_is_waited_for_in_vain_is_a_violation() {
    let mut call = to(
        URL,
        [Step::WaitForMark("greeting".to_owned()), Step::HangUp(true)],
    );
    call.talk.patience_ms = 2_000;
    let report = place(call, Bot::wait_for_end).await;
    assert_eq!(kinds(&report.view), [ViolationKind::WaitedInVain]);
    assert!(report.view.violations[0].detail.contains("greeting"));
    assert_eq!(report.view.duration_ms, 2_100);
}

fn chunks(got: &[Value]) -> Vec<u64> {
    let media = got.iter().filter(|message| message["event"] == "media");
    media
        .map(|message| message["media"]["chunk"].as_str().unwrap().parse().unwrap())
        .collect()
}

async fn with_faults(rules: Vec<StreamRule>, ms: u64) -> (StreamReport, Vec<Value>) {
    let (shelf, got) = shelf();
    let mut call = to(URL, [Step::SayMs(ms), Step::HangUp(true)]);
    call.faults = Faults {
        seed: Some(7),
        stream: rules,
        ..Faults::default()
    };
    let report = place(call, move |bot| keep(bot, shelf)).await;
    let got = got.lock().unwrap().clone();
    (report, got)
}

#[tokio::test(start_paused = true)]
async fn frames_are_lost_doubled_and_put_out_of_order_by_seed() {
    let rule = |fault, rate| StreamRule {
        rate: Some(rate),
        ..StreamRule::always(fault)
    };
    let rules = vec![
        rule(StreamFault::Lose, 0.1),
        rule(StreamFault::Duplicate, 0.1),
        StreamRule {
            by: Some(2),
            ..rule(StreamFault::Reorder, 0.1)
        },
    ];
    let (_, got) = with_faults(rules.clone(), 20_000).await;
    let (_, again) = with_faults(rules, 20_000).await;
    assert_eq!(got, again);
    let chunks = chunks(&got);
    let mut sorted = chunks.clone();
    sorted.sort_unstable();
    let doubled = sorted.windows(2).filter(|pair| pair[0] == pair[1]).count();
    sorted.dedup();
    assert!(
        (5..40).contains(&(200 - sorted.len())),
        "lost: {}",
        200 - sorted.len()
    );
    assert!((5..40).contains(&doubled), "doubled: {doubled}");
    let late = chunks.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!((5..40).contains(&late), "late: {late}");
    // Sequence numbers were given before: what is lost leaves a hole in them.
    let sequence: Vec<u64> = got[1..]
        .iter()
        .map(|m| m["sequence_number"].as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(*sequence.last().unwrap(), 202);
}

#[tokio::test(start_paused = true)]
async fn a_frame_held_back_comes_after_as_many_as_were_said() {
    let rules = vec![StreamRule {
        next: Some(1),
        by: Some(3),
        ..StreamRule::always(StreamFault::Reorder)
    }];
    let (report, got) = with_faults(rules, 600).await;
    assert_eq!(chunks(&got), [2, 3, 4, 1, 5, 6]);
    assert!(
        report
            .view
            .events
            .iter()
            .any(|event| event.event == "fault" && event.detail.contains("reordered"))
    );
}

#[tokio::test(start_paused = true)]
async fn payloads_are_spoilt_and_strange_events_sent() {
    let once = |fault| StreamRule {
        next: Some(1),
        ..StreamRule::always(fault)
    };
    let (_, got) = with_faults(
        vec![once(StreamFault::OddBytes), once(StreamFault::UnknownEvent)],
        300,
    )
    .await;
    assert_eq!(got[2]["event"], "speechmetrics");
    assert_eq!(decode(&got[3]["media"]["payload"]).len(), 1_599);
    assert_eq!(decode(&got[4]["media"]["payload"]).len(), 1_600);
    let (_, got) = with_faults(vec![once(StreamFault::BadBase64)], 300).await;
    assert!(got[2]["media"]["payload"].as_str().unwrap().starts_with('@'));
}

#[tokio::test(start_paused = true)]
async fn the_line_is_cut_with_and_without_a_close_frame() {
    for fault in [StreamFault::Vanish, StreamFault::CloseWithoutStop] {
        let rules = vec![StreamRule {
            after_ms: Some(500),
            ..StreamRule::always(fault)
        }];
        let (report, got) = with_faults(rules, 5_000).await;
        assert_eq!(chunks(&got), [1, 2, 3, 4, 5]);
        assert_eq!(got.last().unwrap()["event"], "media", "no stop");
        assert_eq!(report.view.status, StreamStatus::Failed);
        assert_eq!(report.view.stop_reason, None);
        assert_eq!(report.view.violations, [], "the bot did nothing wrong");
    }
}

#[tokio::test(start_paused = true)]
async fn a_url_that_breaks_a_rule_is_not_dialled() {
    let (_ours, theirs) = tokio::io::duplex(64);
    let report = to("ws://bot.test/?a=1&b=2&c=3&d=4", [])
        .place_over(theirs)
        .await
        .unwrap();
    assert_eq!(kinds(&report.view), [ViolationKind::BadUrl]);
    assert!(report.view.handshakes.is_empty());
}

#[tokio::test]
async fn a_call_that_cannot_be_placed_is_an_error() {
    let (_ours, theirs) = tokio::io::duplex(64);
    let problem = to(URL, [Step::Digits("12e".to_owned())])
        .place_over(theirs)
        .await
        .unwrap_err();
    assert!(problem.contains("'e'"), "{problem}");
    let mut call = to(URL, []);
    call.trusted = vec!["no certificate".to_owned()];
    assert!(call.place().await.unwrap_err().contains("PEM"));
}
