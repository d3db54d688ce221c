//! Callers who say nothing, bots that do not answer, and other ends of a call.

use domain::voicebot::{Dropped, Ending, Event, Input, Listen, Post, Rate, Rules, Step, StopReason, Then};
use jiff::SignedDuration;

use crate::line::{Call, at, frame_at, hush, voice};

const RATE: Rate = Rate::Hz8000;

fn short() -> Listen {
    Listen {
        no_input_ms: 5_000,
        most_silences: 2,
        ..Listen::default()
    }
}

fn frame(call: &mut Call, number: u64) -> Step {
    call.deliver(number, Event::Media(&hush(number, RATE)), frame_at(number))
}

/// The number of the first frame from `from` on at which the bot is asked or the call ends.
fn next_event(call: &mut Call, from: u64) -> (u64, Step) {
    (from..from + 40_000)
        .find_map(|number| {
            let step = frame(call, number);
            (step.ask.is_some() || step.ended.is_some()).then_some((number, step))
        })
        .unwrap()
}

#[test]
fn silence_is_told_and_ends_the_call_at_last() {
    let mut call = Call::listening(RATE, short());
    let (first, step) = next_event(&mut call, 2);
    assert_eq!((first, step.ask.unwrap().input), (50, Input::Silence(1)));
    call.answer(1, &[], Then::Listen(short()), frame_at(first));
    let (second, step) = next_event(&mut call, first + 1);
    assert_eq!((second, step.ask.unwrap().input), (100, Input::Silence(2)));
    call.answer(2, &[], Then::Listen(short()), frame_at(second));
    let (third, step) = next_event(&mut call, second + 1);
    assert_eq!(
        (third, step.ended, step.hang_up),
        (150, Some(Ending::NoInput), true)
    );
}

#[test]
fn silence_counts_from_the_end_of_what_is_heard() {
    let mut call = Call::started(RATE);
    call.answer(0, &[1_500, 1_500], Then::Listen(short()), at(0));
    let (number, step) = next_event(&mut call, 2);
    // Three seconds of answer and five of silence.
    assert_eq!((number, step.ask.unwrap().input), (80, Input::Silence(1)));

    // The mark comes back a second later than the clock says: the caller heard it then.
    let mut call = Call::started(RATE);
    call.answer(0, &[1_500, 1_500], Then::Listen(short()), at(0));
    call.silence(2..39, RATE);
    let _ = call.deliver(39, Event::Mark("m1"), at(3_900));
    let (number, _) = next_event(&mut call, 40);
    assert_eq!(number, 89);
}

#[test]
fn who_says_something_has_all_silences_before_them_again() {
    let mut call = Call::listening(RATE, short());
    let (number, _) = next_event(&mut call, 2);
    call.answer(1, &[], Then::Listen(short()), frame_at(number));
    call.speech(number + 1..number + 6, RATE);
    let (number, _) = next_event(&mut call, number + 6);
    call.answer(2, &[], Then::Listen(short()), frame_at(number));
    let (_, step) = next_event(&mut call, number + 1);
    assert_eq!(step.ask.unwrap().input, Input::Silence(1));
}

#[test]
fn a_cough_is_no_turn() {
    let mut call = Call::listening(RATE, short());
    call.silence(2..10, RATE);
    call.speech(10..11, RATE);
    call.silence(11..40, RATE);
    assert_eq!(call.inputs(), []);
    let before = call.writes;
    call.silence(40..49, RATE);
    assert_eq!(call.writes, before, "silence outside a turn is not written");
}

#[test]
fn an_endless_utterance_is_cut() {
    let mut call = Call::listening(RATE, short());
    call.speech(2..302, RATE);
    let [Input::Speech(heard)] = &call.inputs()[..] else {
        panic!("{:?}", call.inputs())
    };
    assert_eq!((heard.first, heard.last, heard.frames), (2, 301, 300));
}

#[test]
fn a_bot_that_does_not_answer_is_asked_again_and_then_the_call_ends() {
    let mut call = Call::started(RATE);
    let (epoch, _) = call.session.begin_answer(0, at(0)).unwrap();
    assert!(
        call.session.begin_answer(0, at(10)).is_none(),
        "a question is taken once"
    );
    let (again, step) = next_event(&mut call, 2);
    assert_eq!((again, step.ask.unwrap().turn), (100, 0));
    assert!(
        !call.session.answer(epoch, Then::HangUp, at(10_000)),
        "nobody waits for the first one any more"
    );
    let (third, step) = next_event(&mut call, again + 1);
    assert_eq!((third, step.ask.unwrap().input), (200, Input::Start));
    let (last, step) = next_event(&mut call, third + 1);
    assert_eq!(
        (last, step.ended, step.hang_up),
        (300, Some(Ending::BotSilent), true)
    );
}

#[test]
fn an_answer_that_breaks_off_gives_the_caller_the_floor() {
    let mut call = Call::started(RATE);
    let (epoch, _) = call.session.begin_answer(0, at(0)).unwrap();
    assert!(call.session.answer(epoch, Then::Listen(short()), at(0)));
    assert!(matches!(
        call.session.post_chunk(epoch, 0, 1_500, at(0)),
        Post::Now { .. }
    ));
    let (number, step) = next_event(&mut call, 2);
    // It was to go on after 1.5 s; ten seconds later nobody expects it, and five later the caller has said nothing.
    assert_eq!((number, step.ask.unwrap().input), (165, Input::Silence(1)));
    assert!(!call.session.may_post(epoch));
}

#[test]
fn a_mouth_that_was_held_up_does_not_speak_within_the_next_answer() {
    let mut call = Call::started(RATE);
    let (stalled, _) = call.session.begin_answer(0, at(0)).unwrap();
    assert!(call.session.answer(stalled, Then::Listen(short()), at(0)));
    let (number, _) = next_event(&mut call, 2);
    let now = frame_at(number);
    let (epoch, _) = call.session.begin_answer(1, now).unwrap();
    assert!(call.session.answer(epoch, Then::Listen(short()), now));
    assert_eq!(call.session.post_chunk(stalled, 0, 1_500, now), Post::Never);
    assert!(matches!(
        call.session.post_chunk(epoch, 0, 1_500, now),
        Post::Now { .. }
    ));
}

#[test]
fn a_socket_whose_stream_never_begins_is_closed_so_that_the_flow_goes_on() {
    let mut call = Call::new();
    call.silence(1..100, RATE);
    assert_eq!((call.writes, call.hang_ups.len()), (0, 0));
    let step = frame(&mut call, 100);
    assert_eq!((step.ended, step.hang_up), (Some(Ending::BotSilent), true));
    assert_eq!(step.dropped, Some(Dropped::BeforeStart));
    // A start that comes now is too late, as everything is.
    let step = call.deliver(101, Event::Start(RATE), frame_at(101));
    assert_eq!(
        (step.write, step.ask, step.dropped),
        (false, None, Some(Dropped::AfterEnd))
    );
    assert!(frame(&mut call, 120).hang_up, "it is closed again");

    // Something that cannot be read tells the time too.
    let mut call = Call::new();
    let rules = call.rules;
    assert!(!call.session.tick(&rules, at(9_999)).write);
    assert!(call.session.tick(&rules, at(10_000)).hang_up);

    // A start that is late, but the first to come, is taken.
    let mut call = Call::new();
    let step = call.deliver(1, Event::Start(RATE), at(30_000));
    assert_eq!(
        (step.ask.map(|ask| ask.input), step.ended),
        (Some(Input::Start), None)
    );
}

#[test]
fn a_bot_hangs_up_when_its_last_word_was_heard() {
    let mut call = Call::started(RATE);
    call.answer(0, &[1_500], Then::Transfer("sales \"1\"".to_owned()), at(0));
    call.silence(2..15, RATE);
    assert_eq!(call.ended, []);
    let _ = call.deliver(15, Event::Mark("m1"), at(1_520));
    assert_eq!(call.ended, [Ending::Transferred("sales 1".to_owned())]);
    assert_eq!(call.hang_ups, [at(1_520)]);

    // A mark that never comes is waited for no longer than a second.
    let mut call = Call::started(RATE);
    call.answer(0, &[1_500], Then::HangUp, at(0));
    let (number, step) = next_event(&mut call, 2);
    assert_eq!((number, step.ended), (25, Some(Ending::HungUp)));

    // Nothing to say: at once.
    let mut call = Call::started(RATE);
    call.answer(0, &[], Then::HangUp, at(700));
    assert_eq!((call.hang_ups.len(), call.ended.len()), (1, 1));
}

#[test]
fn a_socket_that_does_not_close_is_closed_again() {
    let mut call = Call::started(RATE);
    call.answer(0, &[], Then::HangUp, at(1_000));
    assert!(!frame(&mut call, 29).hang_up);
    let step = frame(&mut call, 30);
    assert!(step.hang_up && !step.write && step.ended.is_none());
}

#[test]
fn a_call_ends_after_an_hour() {
    let mut call = Call::listening(
        RATE,
        Listen {
            no_input_ms: u32::MAX,
            ..short()
        },
    );
    let hour = at(0) + SignedDuration::from_hours(1);
    let quiet = hush(1, RATE);
    let step = call.deliver(
        35_999,
        Event::Media(&quiet),
        hour - SignedDuration::from_millis(1),
    );
    assert_eq!(step.ended, None);
    let step = call.deliver(36_000, Event::Media(&quiet), hour);
    assert_eq!((step.ended, step.hang_up), (Some(Ending::TimeLimit), true));
}

#[test]
fn a_call_ends_once_however_it_ends() {
    let mut call = Call::listening(RATE, short());
    call.speech(2..8, RATE);
    let step = call.stop(8, StopReason::CallEnded, at(800));
    assert_eq!(step.ended, Some(Ending::CallEnded));
    let Some(Input::Speech(heard)) = step.ask.map(|ask| ask.input) else {
        panic!("the last words are told")
    };
    assert!(call.audio(&heard, RATE).starts_with(&voice(2, RATE)));
    assert!(
        call.session.begin_answer(1, at(900)).is_some(),
        "a bot may still want to know them"
    );
    assert!(
        !call.session.answer(0, Then::HangUp, at(900)),
        "and nobody hears its answer"
    );
    let rules = call.rules;
    assert!(!call.session.socket_closed(&rules, at(900)).write);
    assert!(call.stop(9, StopReason::Stopped, at(900)).ended.is_none());
    assert_eq!(call.session.ended(), Some((&Ending::CallEnded, at(800))));

    let mut call = Call::listening(RATE, short());
    assert_eq!(
        call.session.socket_closed(&rules, at(50)).ended,
        Some(Ending::Closed)
    );
    let mut call = Call::new();
    assert_eq!(
        call.stop(1, StopReason::Stopped, at(5)).ended,
        Some(Ending::Stopped)
    );
}

#[test]
fn a_message_that_cannot_be_read_tells_the_time() {
    let mut call = Call::listening(RATE, short());
    let rules = call.rules;
    assert!(!call.session.tick(&rules, at(4_999)).write);
    assert!(call.session.tick(&rules, at(5_000)).ask.is_some());
}

#[test]
fn a_stop_that_is_overtaken_by_the_end_of_its_socket_says_why_all_the_same() {
    let mut call = Call::started(Rate::Hz8000);
    let mut read = call.read();
    let step = read.session_mut().socket_closed(&Rules::default(), at(900));
    assert_eq!(step.ended, Some(Ending::Closed));
    assert!(call.write(read));
    let step = call.stop(9, StopReason::CallEnded, at(950));
    assert_eq!((step.write, step.ended), (true, Some(Ending::CallEnded)));
    assert_eq!(call.session.ended(), Some((&Ending::CallEnded, at(900))));
    // Once.
    let step = call.stop(9, StopReason::Stopped, at(960));
    assert_eq!((step.write, step.dropped), (false, Some(Dropped::AfterEnd)));
}
