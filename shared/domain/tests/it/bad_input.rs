//! Messages that nobody should send.

use domain::voicebot::{Dropped, Event, Listen, Message, Rate, StopReason, Then};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::line::{Call, SID, at, frame_at, hush, message, voice};

const RATE: Rate = Rate::Hz8000;

#[test]
fn messages_outside_the_stream_are_counted_and_change_nothing() {
    let loud = voice(1, RATE);
    let mut call = Call::new();
    for number in 1..5 {
        assert!(!call.deliver(number, Event::Media(&loud), at(10)).write);
    }
    assert_eq!(call.dropped[&Dropped::BeforeStart], 4);

    let _ = call.deliver(1, Event::Start(RATE), at(20));
    assert_eq!(call.session.stream_sid(), Some(SID));
    let _ = call.deliver(1, Event::Start(Rate::Hz24000), at(30));
    assert_eq!(
        (call.session.rate(), call.dropped[&Dropped::Duplicate]),
        (Some(RATE), 1)
    );
    call.answer(0, &[], Then::Listen(Listen::default()), at(40));

    let mut other = message(7, Event::Media(&loud));
    other.stream_sid = Some("another-stream");
    let read = call.read();
    assert!(!call.finish(read, &other, at(50)).write);
    other.event = Event::Stop(StopReason::CallEnded);
    let read = call.read();
    assert!(
        !call.finish(read, &other, at(50)).write,
        "nor does another stream end this one"
    );
    assert_eq!(call.dropped[&Dropped::OtherStream], 2);

    let _ = call.stop(8, StopReason::CallEnded, at(60));
    for number in 9..12 {
        assert!(!call.deliver(number, Event::Media(&loud), at(70)).write);
    }
    assert_eq!(call.dropped[&Dropped::AfterEnd], 3);
}

#[test]
fn a_start_without_a_usable_stream_is_no_start() {
    for sid in [
        None,
        Some("x".repeat(65)),
        Some("a\"b".to_owned()),
        Some("a\nb".to_owned()),
    ] {
        let mut call = Call::new();
        let start = Message {
            stream_sid: sid.as_deref(),
            sequence_number: 1,
            event: Event::Start(RATE),
        };
        let read = call.read();
        let step = call.finish(read, &start, at(0));
        assert_eq!(
            (step.dropped, step.write),
            (Some(Dropped::Invalid), false),
            "{sid:?}"
        );
    }
}

#[test]
fn late_frames_of_a_turn_that_is_over_do_not_begin_another() {
    let mut call = Call::listening(RATE, Listen::default());
    call.speech(2..10, RATE);
    call.silence(10..16, RATE);
    // Number 16 is late; 17 to 19 end the turn without it.
    call.silence(17..20, RATE);
    assert_eq!(call.inputs().len(), 1);
    let step = call.deliver(16, Event::Media(&voice(16, RATE)), at(2_000));
    assert_eq!((step.dropped, step.write), (Some(Dropped::Late), false));
    let step = call.deliver(5, Event::Media(&voice(5, RATE)), at(2_000));
    assert_eq!((step.dropped, step.write), (Some(Dropped::Duplicate), false));
    assert_eq!(call.session.lost(), 1);
}

#[test]
fn numbers_that_jump_cost_no_turn_and_no_time() {
    let mut call = Call::listening(RATE, Listen::default());
    let numbers = [2, 3, 4, 500, 501, 502, 1_000_000, 1_000_001];
    for (slot, number) in (2..).zip(numbers) {
        let _ = call.deliver(number, Event::Media(&voice(number, RATE)), frame_at(slot));
    }
    for (slot, number) in (10..22).zip(1_000_002..) {
        let _ = call.deliver(number, Event::Media(&hush(number, RATE)), frame_at(slot));
    }
    assert_eq!(call.inputs().len(), 1);
    let step = call.deliver(u64::MAX, Event::Media(&voice(1, RATE)), at(9_000));
    assert_eq!((step.dropped, step.write), (Some(Dropped::Invalid), false));
}

#[test]
fn a_counter_that_begins_again_is_followed() {
    let mut call = Call::listening(RATE, Listen::default());
    call.speech(1_000..1_010, RATE);
    call.silence(1_010..1_020, RATE);
    assert_eq!(call.inputs().len(), 1);
    call.answer(1, &[], Then::Listen(Listen::default()), frame_at(1_020));
    for (slot, number) in (1_020..).zip(2..40) {
        let pcm = if number < 10 {
            voice(number, RATE)
        } else {
            hush(number, RATE)
        };
        let _ = call.deliver(number, Event::Media(&pcm), frame_at(slot));
    }
    assert_eq!(call.inputs().len(), 2);
    assert!(call.dropped.is_empty(), "{:?}", call.dropped);
}

#[test]
fn whatever_comes_the_session_survives_and_stays_small() {
    for seed in 0..300 {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let mut call = Call::new();
        let mut number = 1u64;
        let mut now = 0i64;
        for _ in 0..200 {
            number = match dice.random_range(0..20) {
                0 => dice.random_range(0..10_000_000_000),
                1..4 => number.saturating_sub(dice.random_range(0..20)),
                _ => number + 1,
            };
            now += dice.random_range(-50..300);
            let loud = dice.random_range(0..3) > 0;
            let mut pcm = if loud {
                voice(number, Rate::Hz24000)
            } else {
                hush(number, Rate::Hz24000)
            };
            pcm.truncate(dice.random_range(0..=pcm.len()));
            let event = match dice.random_range(0..100) {
                0..5 => Event::Start(Rate::ALL[dice.random_range(0..3)]),
                5..20 => Event::Dtmf(['0', '5', '#', '*', 'D', 'q', '\u{0}'][dice.random_range(0..7)]),
                20..25 => Event::Mark(["m1", "m2", "m4294967296", "", "\u{1f600}"][dice.random_range(0..5)]),
                25 => Event::Stop([StopReason::Stopped, StopReason::CallEnded][dice.random_range(0..2)]),
                _ => Event::Media(&pcm),
            };
            let sid = [Some(SID), Some(SID), Some(SID), Some("other"), None][dice.random_range(0..5)];
            let message = Message {
                stream_sid: sid,
                sequence_number: number,
                event,
            };
            let read = call.read();
            let step = call.finish(read, &message, at(now));
            if step.ask.is_some() && dice.random_range(0..2) == 0 && call.ended.is_empty() {
                let turn = call.session.turn();
                let then = [
                    Then::Listen(Listen::default()),
                    Then::Listen(Listen {
                        speech: false,
                        max_digits: 255,
                        ..Listen::default()
                    }),
                    Then::Transfer("\u{1f4de}\"\\\u{1}".repeat(40)),
                ];
                let then = then[[0, 0, 0, 0, 1, 1, 2][dice.random_range(0..7)]].clone();
                call.answer(turn, &[500, 200][..dice.random_range(0..3)], then, at(now));
            }
        }
        assert!(call.ended.len() <= 1, "seed {seed}");
    }
}
