//! A caller who speaks while the bot does.

use domain::voicebot::{Event, Input, Listen, Post, Rate, Then};
use jiff::SignedDuration;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::line::{Call, at, frame_at, hush, message, voice};

const RATE: Rate = Rate::Hz8000;

#[test]
fn speech_clears_what_is_playing_in_the_step_that_decides() {
    let mut call = Call::started(RATE);
    let (epoch, _) = call.answer(
        0,
        &[1_500, 1_500, 1_500],
        Then::Listen(Listen::default()),
        at(200),
    );
    call.silence(3..20, RATE);
    assert!(call.session.play_until() > frame_at(20));
    let first = call.deliver(20, Event::Media(&voice(20, RATE)), frame_at(20));
    assert!(first.keep && !first.clear, "100 ms may be a cough");
    let second = call.deliver(21, Event::Media(&voice(21, RATE)), frame_at(21));
    assert!(second.write && second.clear && second.keep);
    assert_eq!(call.session.epoch(), epoch + 1);
    assert_eq!(call.session.play_until(), frame_at(21));
    call.speech(22..40, RATE);
    call.silence(40..60, RATE);
    assert_eq!(call.clears, [frame_at(21)]);
    assert!(matches!(call.inputs()[..], [Input::Speech(_)]));
}

#[test]
fn an_answer_that_was_interrupted_posts_nothing_more() {
    let mut call = Call::started(RATE);
    let (epoch, _) = call.session.begin_answer(0, at(100)).unwrap();
    assert!(
        call.session
            .answer(epoch, Then::Listen(Listen::default()), at(200))
    );
    let Post::Now { next_at } = call.session.post_chunk(epoch, 0, 1_500, at(200)) else {
        panic!("the first chunk may be posted")
    };
    assert!(call.session.may_post(epoch));
    call.speech(4..8, RATE);
    assert!(!call.session.may_post(epoch));
    assert_eq!(call.session.post_chunk(epoch, 1, 1_500, next_at), Post::Never);
    assert_eq!(call.session.mark(epoch), None);
    let before = call.session.clone();
    assert!(!call.session.finish_answer(epoch, next_at).write);
    assert_eq!(call.session, before);
}

#[test]
fn a_bot_that_still_thinks_is_interrupted_without_a_clear() {
    let mut call = Call::listening(RATE, Listen::default());
    call.speech(4..10, RATE);
    call.silence(10..20, RATE);
    let (epoch, _) = call.session.begin_answer(1, frame_at(20)).unwrap();
    call.speech(20..24, RATE);
    assert!(call.clears.is_empty());
    assert!(
        !call.session.answer(epoch, Then::HangUp, frame_at(24)),
        "the answer came too late"
    );
}

#[test]
fn a_chunk_that_slipped_in_is_cleared_unless_the_next_answer_would_go_with_it() {
    let mut call = Call::started(RATE);
    let (old, _) = call.session.begin_answer(0, at(100)).unwrap();
    let listen = || Then::Listen(Listen::default());
    assert!(call.session.answer(old, listen(), at(200)));
    let posted = call.session.post_chunk(old, 0, 1_500, at(200));
    assert!(matches!(posted, Post::Now { .. }));
    let step = call.deliver(5, Event::Dtmf('1'), at(500));
    assert!(step.clear);
    assert!(call.session.clears_again(old, at(510)));
    // The next answer is one chunk, and is all posted.
    let _ = call.deliver(6, Event::Dtmf('#'), at(600));
    call.silence(9..10, RATE);
    call.answer(1, &[700], listen(), at(1_000));
    assert!(!call.session.clears_again(old, at(1_010)));
    assert!(call.session.clears_again(old, at(4_000)), "it was heard out");
}

#[test]
fn last_words_behind_an_interruption_are_heard_out() {
    let one_key = Listen {
        max_digits: 1,
        ..Listen::default()
    };
    let mut call = Call::listening(RATE, one_key);
    let _ = call.deliver(2, Event::Dtmf('1'), at(200));
    call.answer(1, &[1_500], Then::Listen(one_key), at(300));
    assert!(call.deliver(5, Event::Dtmf('2'), at(500)).clear);
    call.silence(6..9, RATE);
    // Exotel plays the old chunk until 1 800, and this until 2 300.
    call.answer(2, &[500], Then::HangUp, at(900));
    call.silence(9..23, RATE);
    assert!(call.ended.is_empty(), "its mark has not come");
    let _ = call.deliver(23, Event::Mark("m2"), at(2_310));
    assert_eq!(call.ended.len(), 1);
}

#[test]
fn words_that_nobody_has_heard_yet_are_heard_with_those_that_follow() {
    let mut call = Call::listening(RATE, Listen::default());
    call.speech(4..10, RATE);
    call.silence(10..20, RATE);
    assert_eq!(call.asks.last().unwrap().1.turn, 1);
    call.speech(20..24, RATE);
    assert!(
        call.session.begin_answer(1, frame_at(24)).is_none(),
        "somebody would answer half of it"
    );
    call.silence(24..40, RATE);
    let (epoch, input) = call.session.begin_answer(2, frame_at(40)).unwrap();
    let Input::Speech(heard) = input else {
        panic!("{input:?}")
    };
    assert_eq!((heard.first, heard.last, epoch), (4, 26, call.session.epoch()));
    // Silence in between is kept for a short time only, so that the bot gets half a second of it.
    let audio = call.audio(&heard, RATE);
    assert!(audio.starts_with(&voice(4, RATE)) && audio.ends_with(&hush(26, RATE)));
}

#[test]
fn the_last_words_of_a_bot_are_not_interrupted() {
    for then in [Then::HangUp, Then::Transfer("agent".to_owned())] {
        let mut call = Call::started(RATE);
        call.answer(0, &[1_500, 1_500], then, at(200));
        call.speech(3..30, RATE);
        assert!(call.clears.is_empty() && call.ended.is_empty());
        assert_eq!(call.session.epoch(), 0);
        call.silence(30..60, RATE);
        assert_eq!(call.ended.len(), 1);
    }
}

#[test]
fn who_says_hello_before_the_greeting_is_greeted() {
    let mut call = Call::started(RATE);
    call.speech(2..8, RATE);
    call.answer(0, &[1_500], Then::Listen(Listen::default()), frame_at(8));
    assert_eq!(
        (call.session.epoch(), call.inputs().len(), call.clears.len()),
        (0, 0, 0)
    );
}

/// What reaches Exotel, in its order.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Posted {
    Chunk { epoch: u32 },
    Clear { epoch: u32 },
}

/// An answer under way: its epoch, its next chunk, and a chunk that was written and not yet posted.
struct Answer {
    epoch: u32,
    next: u32,
    pending: bool,
}

/// Bot and caller at once, each between reading, writing and posting at any time; gives what reached Exotel.
fn talk(seed: u64) -> Vec<Posted> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut call = Call::started(RATE);
    let mut posted = Vec::new();
    let mut answer: Option<Answer> = None;
    let mut speaking = 0;
    for number in 2..400 {
        let now = frame_at(number);
        if speaking == 0 && dice.random_range(0..40) == 0 {
            speaking = dice.random_range(1..12);
        }
        let pcm = if speaking > 0 {
            voice(number, RATE)
        } else {
            hush(number, RATE)
        };
        speaking = u32::saturating_sub(speaking, 1);
        let read = call.read();
        // The bot works while the frame's invocation is under way.
        for _ in 0..dice.random_range(0..3) {
            bot(&mut call, &mut answer, &mut posted, now, &mut dice);
        }
        let step = call.finish(read, &message(number, Event::Media(&pcm)), now);
        let epoch = call.session.epoch();
        // Between writing and posting a `clear`, a chunk may slip in.
        if step.clear && dice.random_range(0..2) == 0 {
            bot(&mut call, &mut answer, &mut posted, now, &mut dice);
        }
        posted.extend(step.clear.then_some(Posted::Clear { epoch }));
    }
    posted
}

fn bot(
    call: &mut Call,
    answer: &mut Option<Answer>,
    posted: &mut Vec<Posted>,
    now: jiff::Timestamp,
    dice: &mut ChaCha8Rng,
) {
    let Some(under_way) = answer else {
        let turn = call.session.turn();
        let mut read = call.read();
        if let Some((epoch, _)) = read.session_mut().begin_answer(turn, now) {
            call.write(read);
            *answer = Some(Answer {
                epoch,
                next: 0,
                pending: false,
            });
        }
        return;
    };
    let epoch = under_way.epoch;
    if under_way.pending {
        under_way.pending = false;
        posted.push(Posted::Chunk { epoch });
        let clears_again = call.read().session_mut().clears_again(epoch, now);
        posted.extend(clears_again.then_some(Posted::Clear {
            epoch: call.session.epoch(),
        }));
        return;
    }
    let mut read = call.read();
    let session = read.session_mut();
    let listen = Then::Listen(Listen::default());
    if under_way.next == 0 && !session.answer(epoch, listen, now) {
        *answer = None;
    } else if under_way.next == 4 {
        let _ = session.finish_answer(epoch, now);
        call.write(read);
        *answer = None;
    } else {
        match session.post_chunk(epoch, under_way.next, 700, now) {
            Post::Now { .. } => {
                // Somebody else may write first.
                if dice.random_range(0..4) > 0 && call.write(read) {
                    assert!(
                        call.session.may_post(epoch),
                        "a chunk of an old epoch was let through"
                    );
                    under_way.next += 1;
                    under_way.pending = true;
                }
            }
            Post::NotBefore(_) if under_way.next == 0 => panic!("the first chunk need not wait"),
            Post::NotBefore(time) => assert!(time > now),
            Post::Never => *answer = None,
        }
    }
}

#[test]
fn nothing_of_an_old_answer_is_left_to_play() {
    let (mut clears, mut late) = (0, 0);
    for seed in 0..300 {
        let posted = talk(seed);
        let mut epoch = 0;
        for (index, post) in posted.iter().enumerate() {
            match *post {
                Posted::Clear { epoch: cleared } => {
                    epoch = epoch.max(cleared);
                    clears += 1;
                }
                Posted::Chunk { epoch: made_in } if made_in < epoch => {
                    late += 1;
                    let next = posted.get(index + 1);
                    assert!(
                        matches!(next, Some(Posted::Clear { .. })),
                        "seed {seed}: {next:?} after an old chunk"
                    );
                }
                Posted::Chunk { .. } => {}
            }
        }
    }
    println!("{clears} clears; {late} chunks came after a clear and were cleared again");
    assert!(clears > 300 && late > 0, "{clears} {late}");
}

#[test]
fn chunks_are_paced_a_little_faster_than_they_play_and_never_far_ahead() {
    for length_ms in [200, 500, 750, 1_500] {
        let mut call = Call::started(RATE);
        let (epoch, _) = call.session.begin_answer(0, at(0)).unwrap();
        assert!(call.session.answer(epoch, Then::HangUp, at(0)));
        let mut now = at(0);
        let mut starts = Vec::new();
        for index in 0..30 {
            let Post::Now { next_at } = call.session.post_chunk(epoch, index, length_ms, now) else {
                panic!("chunk {index} at {now}")
            };
            assert_eq!(
                call.session.post_chunk(epoch, index, length_ms, now),
                Post::Now { next_at },
                "asked again"
            );
            starts.push(now);
            if next_at > now {
                let early = next_at - SignedDuration::from_millis(1);
                assert_eq!(
                    call.session.post_chunk(epoch, index + 1, length_ms, early),
                    Post::NotBefore(next_at)
                );
            }
            let ahead = call.session.play_until().duration_since(next_at).as_millis();
            assert!(
                (0..=1_000).contains(&ahead),
                "{length_ms} ms: {ahead} ms are unplayed when the next one goes"
            );
            now = next_at;
        }
        let gap = |index: usize| starts[index].duration_since(starts[index - 1]).as_millis() as i64;
        let length = i64::from(length_ms);
        assert!(gap(1) < length * 9 / 10, "{length_ms}: no head start");
        assert_eq!(gap(2), length * 9 / 10);
        assert!((2..30).all(|index| gap(index) >= length * 9 / 10 && gap(index) <= length));
    }
}
