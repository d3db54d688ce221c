//! Callers who press keys.

use domain::voicebot::{Dropped, Event, Input, Listen, Rate, Then};

use crate::line::{Call, at, frame_at, hush, voice};

const RATE: Rate = Rate::Hz8000;

fn digits(digits: &str) -> Input {
    Input::Digits(digits.to_owned())
}

fn press(call: &mut Call, number: u64, digit: char, ms: i64) {
    let _ = call.deliver(number, Event::Dtmf(digit), at(ms));
}

fn one_key() -> Listen {
    Listen {
        speech: false,
        max_digits: 1,
        terminator: None,
        ..Listen::default()
    }
}

#[test]
fn one_key_is_an_input_at_once() {
    let mut call = Call::listening(RATE, one_key());
    let step = call.deliver(5, Event::Dtmf('7'), at(500));
    assert_eq!(step.ask.unwrap().input, digits("7"));
}

#[test]
fn several_keys_end_with_the_terminator_with_the_last_or_with_a_pause() {
    let four = Listen {
        max_digits: 4,
        digit_timeout_ms: 2_000,
        ..Listen::default()
    };
    for (keys, expected, after_ms) in [
        ("12#", "12", 250),
        ("1234", "1234", 250),
        ("12", "12", 2_000),
        ("#", "", 250),
    ] {
        let mut call = Call::listening(RATE, four);
        for (number, key) in (10..).zip(keys.chars()) {
            press(&mut call, number, key, 1_000);
        }
        let quiet = hush(1, RATE);
        let mut tick = |ms: i64| {
            call.deliver(10 + keys.len() as u64, Event::Media(&quiet), at(1_000 + ms))
                .ask
        };
        assert_eq!(tick(i64::from(after_ms) - 1), None, "{keys}");
        assert_eq!(tick(after_ms.into()).unwrap().input, digits(expected), "{keys}");
    }
}

#[test]
fn three_later_messages_are_enough_to_be_sure_of_the_order() {
    let mut call = Call::listening(RATE, Listen::default());
    press(&mut call, 12, '2', 1_000);
    press(&mut call, 13, '#', 1_000);
    press(&mut call, 11, '1', 1_010);
    for number in 14..16 {
        let step = call.deliver(number, Event::Media(&hush(number, RATE)), at(1_020));
        assert_eq!((step.ask, step.write), (None, false));
    }
    let step = call.deliver(16, Event::Media(&hush(16, RATE)), at(1_030));
    assert_eq!(step.ask.unwrap().input, digits("12"));
}

#[test]
fn keys_in_any_order_and_twice_are_one_number() {
    let order = [
        (4, '4'),
        (1, '1'),
        (2, '2'),
        (2, '2'),
        (3, '3'),
        (7, '7'),
        (5, '5'),
        (6, '6'),
        (5, '5'),
        (8, '8'),
    ];
    let mut call = Call::listening(RATE, Listen::default());
    for (number, key) in order {
        press(&mut call, 20 + number, key, 1_000);
    }
    assert_eq!(call.dropped[&Dropped::Duplicate], 2);
    let _ = call.deliver(60, Event::Media(&hush(1, RATE)), at(4_000));
    assert_eq!(call.inputs(), [digits("12345678")]);
}

#[test]
fn more_keys_than_are_asked_for_are_cut_off() {
    let three = Listen {
        max_digits: 3,
        ..Listen::default()
    };
    let mut call = Call::listening(RATE, three);
    for number in [10, 11, 13, 12, 14, 15] {
        press(
            &mut call,
            number,
            char::from_digit(number as u32 - 9, 10).unwrap(),
            1_000,
        );
    }
    let _ = call.deliver(16, Event::Media(&hush(16, RATE)), at(1_000));
    assert_eq!(call.inputs(), [digits("123")]);
}

#[test]
fn a_key_interrupts_the_bot_and_outranks_speech() {
    let mut call = Call::started(RATE);
    call.answer(0, &[1_500, 1_500], Then::Listen(one_key()), at(200));
    call.silence(3..6, RATE);
    let step = call.deliver(6, Event::Dtmf('1'), frame_at(6));
    assert!(step.clear && step.ask.is_some());
    assert_eq!(call.session.epoch(), 1);

    let mut call = Call::listening(RATE, Listen::default());
    call.speech(4..8, RATE);
    press(&mut call, 8, '1', 800);
    let step = call.deliver(9, Event::Media(&voice(9, RATE)), frame_at(9));
    assert!(!step.keep && !step.write, "a key may sound like speech");
    call.silence(10..60, RATE);
    assert_eq!(call.inputs(), [digits("1")]);
}

#[test]
fn keys_pressed_in_advance_wait_for_the_bot() {
    let mut call = Call::listening(RATE, one_key());
    press(&mut call, 5, '1', 500);
    press(&mut call, 8, '2', 800);
    assert_eq!(call.inputs(), [digits("1")], "the bot still works on the first");
    call.answer(1, &[1_500], Then::Listen(one_key()), at(900));
    let step = call.deliver(10, Event::Media(&hush(10, RATE)), at(1_000));
    assert!(step.clear, "the prompt is not heard out");
    assert_eq!(step.ask.unwrap().input, digits("2"));
}

#[test]
fn keys_pressed_in_advance_are_as_many_as_each_prompt_takes() {
    let order = Listen {
        max_digits: 4,
        terminator: Some('#'),
        ..Listen::default()
    };
    let mut call = Call::listening(RATE, one_key());
    for (number, key) in (5_u8..).zip(['2', '1', '7', '#', '9', '8']) {
        press(&mut call, number.into(), key, 500 + 10 * i64::from(number));
    }
    assert_eq!(call.inputs(), [digits("2")], "the bot still works on the first");
    call.answer(1, &[1_500], Then::Listen(order), at(900));
    let step = call.deliver(14, Event::Media(&hush(14, RATE)), at(1_200));
    assert_eq!(step.ask.unwrap().input, digits("17"), "to the terminator");
    call.answer(2, &[1_500], Then::Listen(one_key()), at(1_300));
    let step = call.deliver(18, Event::Media(&hush(18, RATE)), at(1_600));
    assert_eq!(step.ask.unwrap().input, digits("9"));
    call.answer(
        3,
        &[1_500],
        Then::Listen(Listen {
            max_digits: 0,
            ..one_key()
        }),
        at(1_700),
    );
    let step = call.deliver(22, Event::Media(&hush(22, RATE)), at(2_000));
    assert_eq!((step.ask, step.clear), (None, false), "this prompt takes none");
}

#[test]
fn keys_pressed_in_advance_do_not_interrupt_a_goodbye() {
    let mut call = Call::listening(RATE, one_key());
    press(&mut call, 5, '1', 500);
    press(&mut call, 8, '2', 800);
    call.answer(1, &[1_500], Then::HangUp, at(900));
    let step = call.deliver(12, Event::Media(&hush(12, RATE)), at(1_200));
    assert_eq!((step.ask, step.clear), (None, false));
    assert!(call.deliver(40, Event::Media(&hush(40, RATE)), at(4_000)).hang_up);
}

#[test]
fn keys_that_nobody_asked_for_or_that_do_not_exist_are_nothing() {
    let deaf = Listen {
        max_digits: 0,
        ..Listen::default()
    };
    let mut call = Call::listening(RATE, deaf);
    assert!(!call.deliver(5, Event::Dtmf('1'), at(500)).write);
    let mut call = Call::listening(RATE, Listen::default());
    for (number, key) in (5..).zip(['x', ' ', '\u{0661}']) {
        let step = call.deliver(number, Event::Dtmf(key), at(500));
        assert_eq!(
            (step.dropped, step.write),
            (Some(Dropped::Invalid), false),
            "{key}"
        );
    }
    let mut call = Call::started(RATE);
    call.answer(0, &[1_500], Then::HangUp, at(100));
    assert!(
        !call.deliver(5, Event::Dtmf('1'), at(500)).write,
        "the bot is saying its last words"
    );
}

#[test]
fn what_was_pressed_before_the_caller_hung_up_is_told() {
    let mut call = Call::listening(RATE, Listen::default());
    press(&mut call, 5, '4', 500);
    let step = call.stop(6, domain::voicebot::StopReason::CallEnded, at(600));
    assert_eq!(step.ask.unwrap().input, digits("4"));
    assert!(step.ended.is_some() && !step.hang_up);
}

#[test]
fn a_sound_behind_keys_does_not_take_them_from_the_bot() {
    let mut call = Call::listening(RATE, Listen::default());
    press(&mut call, 4, '1', 400);
    press(&mut call, 5, '#', 500);
    call.silence(6..9, RATE);
    assert_eq!(call.inputs(), [digits("1")]);
    // Nobody has taken the question yet.
    call.speech(9..14, RATE);
    let (epoch, input) = call.session.begin_answer(1, frame_at(14)).unwrap();
    assert_eq!((input, epoch), (digits("1"), call.session.epoch()));
    // The bot has heard them: now the caller may go on.
    call.speech(14..18, RATE);
    assert!(call.session.epoch() > epoch);
}

#[test]
fn a_key_that_many_frames_have_overtaken_counts() {
    let mut call = Call::listening(RATE, Listen::default());
    // Its own tone is noise before it, and over before it comes.
    call.speech(10..11, RATE);
    call.silence(12..18, RATE);
    press(&mut call, 11, '7', 1_800);
    press(&mut call, 11, '7', 1_810);
    call.silence(18..50, RATE);
    assert_eq!(call.inputs(), [digits("7")]);
    assert_eq!(call.dropped[&Dropped::Duplicate], 1);
    // It was of an input that is over.
    press(&mut call, 11, '7', 5_100);
    press(&mut call, 9, '8', 5_200);
    assert_eq!(call.dropped[&Dropped::Late], 2);
    assert_eq!(call.inputs().len(), 1);
}

#[test]
fn what_the_bot_was_asked_last_is_not_lost_with_a_key_behind_it() {
    let mut call = Call::listening(RATE, Listen::default());
    call.speech(4..10, RATE);
    call.silence(10..20, RATE);
    assert!(matches!(call.inputs()[..], [Input::Speech(_)]));
    press(&mut call, 20, '1', 2_000);
    let step = call.stop(21, domain::voicebot::StopReason::CallEnded, at(2_100));
    assert_eq!(step.ask, None, "its question is on its way");
    let (_, input) = call.session.begin_answer(1, at(2_200)).unwrap();
    assert!(matches!(input, Input::Speech(_)));
}

#[test]
fn keys_are_heard_when_the_counter_begins_again() {
    let mut call = Call::listening(RATE, Listen::default());
    press(&mut call, 1_000, '4', 400);
    press(&mut call, 2, '5', 500);
    press(&mut call, 4, '6', 600);
    press(&mut call, 3, '0', 610);
    let _ = call.deliver(40, Event::Media(&hush(40, RATE)), at(4_000));
    assert_eq!(call.inputs(), [digits("4506")]);
    call.answer(1, &[], Then::Listen(one_key()), at(4_100));
    // One with an absurd number, and one after it.
    press(&mut call, 9_999_999_999, '7', 4_200);
    call.answer(2, &[], Then::Listen(one_key()), at(4_300));
    let _ = call.deliver(44, Event::Media(&hush(44, RATE)), at(4_400));
    press(&mut call, 45, '8', 4_500);
    assert_eq!(call.inputs()[1..], [digits("7"), digits("8")]);
}
