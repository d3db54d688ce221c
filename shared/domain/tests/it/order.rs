//! Frames that come in disorder, twice or not at all; and calls that come all at once.

use std::{collections::BTreeMap, env, thread};

use domain::voicebot::{Event, Heard, Input, Listen, Rate, Step, Then};
use jiff::{SignedDuration, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::line::{Call, at, frame_at, hush, message, voice};

const LOST_PERCENT: u32 = 2;
const TWICE_PERCENT: u32 = 3;

/// What a message of a made-up stream is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Silence,
    Speech,
    /// A mark that nobody sent: it takes a number of the counter.
    Mark,
}

/// A stream: two utterances with silence around them, and which of its messages come, in which order.
struct Stream {
    rate: Rate,
    /// What makes its audio unlike another stream's.
    salt: u64,
    /// Whether silence is nothing at all, so that it makes no difference whether it was kept.
    is_digital: bool,
    kinds: BTreeMap<u64, Kind>,
    /// Where the silence begins after each utterance.
    ends: Vec<u64>,
    arrivals: Vec<u64>,
}

impl Stream {
    /// A stream whose messages are overtaken by so many later ones at most.
    fn new(overtaken: u64, dice: &mut ChaCha8Rng) -> Self {
        let mut kinds = Vec::new();
        let mut ends = Vec::new();
        let mut add = |kind, count| {
            kinds.extend([kind].repeat(count));
            kinds.len() as u64 + 2
        };
        add(Kind::Silence, dice.random_range(4..8));
        for _ in 0..2 {
            add(Kind::Speech, dice.random_range(6..10));
            add(Kind::Mark, dice.random_range(0..2));
            // A pause for breath.
            add(Kind::Silence, dice.random_range(0..4));
            ends.push(add(Kind::Speech, dice.random_range(4..9)));
            add(Kind::Silence, 16);
        }
        let mut arrivals: Vec<(u64, u64)> = Vec::new();
        for number in 2..kinds.len() as u64 + 2 {
            let mut arrive =
                || arrivals.push((2 * number + dice.random_range(0..=2 * overtaken + 1), number));
            arrive();
        }
        arrivals.retain(|_| dice.random_range(0..100) >= LOST_PERCENT);
        for (slot, number) in arrivals.clone() {
            if dice.random_range(0..100) < TWICE_PERCENT {
                arrivals.push((slot + dice.random_range(0..8), number));
            }
        }
        arrivals.sort_by_key(|(slot, _)| *slot);
        Self {
            rate: Rate::Hz8000,
            salt: 0,
            is_digital: false,
            kinds: (2..).zip(kinds).collect(),
            ends,
            arrivals: arrivals.into_iter().map(|(_, number)| number).collect(),
        }
    }

    fn came(&self, number: u64) -> bool {
        self.arrivals.contains(&number)
    }

    fn pcm(&self, number: u64) -> Vec<u8> {
        match self.kinds[&number] {
            Kind::Speech => voice(number + self.salt, self.rate),
            Kind::Silence if !self.is_digital => hush(number + self.salt, self.rate),
            _ => vec![0; self.rate.bytes_of_ms(100)],
        }
    }

    fn event<'a>(&self, number: u64, pcm: &'a [u8]) -> Event<'a> {
        match self.kinds[&number] {
            Kind::Mark => Event::Mark("somebody-elses"),
            _ => Event::Media(pcm),
        }
    }

    /// The first and the last frame with speech of each utterance, of those that came.
    fn spoken(&self) -> Vec<(u64, u64)> {
        let mut begin = 2;
        let mut spoken = Vec::new();
        for end in &self.ends {
            let numbers = (begin..*end).filter(|n| self.kinds[n] == Kind::Speech && self.came(*n));
            let numbers: Vec<_> = numbers.collect();
            spoken.push((numbers[0], numbers[numbers.len() - 1]));
            begin = *end;
        }
        spoken
    }

    /// What a consumer hears who sees order: of each utterance everything from its first word that came to 300 ms after
    /// its last, with silence where a frame is missing. A mark that is lost is taken for a frame.
    fn expected(&self) -> Vec<Vec<u8>> {
        let utterances = self.spoken().into_iter().map(|(first, last)| {
            let numbers = (first..=last + 3).filter(|n| self.kinds[n] != Kind::Mark || !self.came(*n));
            let frames = numbers.map(|n| match self.came(n) {
                true => self.pcm(n),
                false => vec![0; self.rate.bytes_of_ms(100)],
            });
            frames.collect::<Vec<_>>().concat()
        });
        utterances.collect()
    }
}

fn patient() -> Listen {
    Listen {
        no_input_ms: 600_000,
        ..Listen::default()
    }
}

/// A bot that has nothing to say answers at once.
fn fall_silent(call: &mut Call, step: &Step, now: Timestamp) {
    if let Some(ask) = &step.ask {
        call.answer(ask.turn, &[], Then::Listen(patient()), now);
    }
}

/// What a call's bot has heard, and when.
fn turns(call: &Call) -> Vec<(Timestamp, &Heard)> {
    let speech = call.asks.iter().filter_map(|(time, ask)| match &ask.input {
        Input::Speech(heard) => Some((*time, heard)),
        _ => None,
    });
    speech.collect()
}

fn assert_in_order(call: &Call, stream: &Stream, name: &str) {
    let turns = turns(call);
    let expected = stream.expected();
    assert_eq!(turns.len(), expected.len(), "{name}: turns");
    for (turn, ((_, heard), expected)) in turns.into_iter().zip(&expected).enumerate() {
        let audio = call.audio(heard, stream.rate);
        let kept = call.frames.range(heard.first..=heard.last).count();
        assert!(
            kept >= heard.frames as usize,
            "{name}: {kept} of {heard:?} are kept"
        );
        assert!(
            audio == *expected,
            "{name}: turn {turn} is not what was said: {heard:?}"
        );
    }
}

/// Runs a stream of which a message comes each 100 ms; gives how long missing messages held up each turn.
fn run(seed: u64) -> Vec<SignedDuration> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let stream = Stream::new(3, &mut dice);
    let spoken = stream.spoken();
    let mut call = Call::listening(stream.rate, patient());
    // When 700 ms after the last word have come, or later ones.
    let mut due = vec![None; spoken.len()];
    for (slot, number) in (2..).zip(&stream.arrivals) {
        let now = frame_at(slot);
        for (due, (_, last)) in due.iter_mut().zip(&spoken) {
            if due.is_none() && *number >= last + 7 {
                *due = Some(now);
            }
        }
        let pcm = stream.pcm(*number);
        let step = call.deliver(*number, stream.event(*number, &pcm), now);
        fall_silent(&mut call, &step, now);
    }
    assert_in_order(&call, &stream, &format!("seed {seed}"));
    for (_, heard) in turns(&call) {
        let kept = call.frames.range(heard.first..=heard.last).count();
        assert_eq!(kept, heard.frames as usize, "seed {seed}: {heard:?}");
    }
    let waits = turns(&call).into_iter().zip(due);
    let waits = waits.map(|((asked, _), due)| asked.duration_since(due.unwrap()));
    waits.collect()
}

/// Runs seeds in as many threads as there are cores, as many as `VOICEBOT_RUNS` says, or `usual`.
fn for_each_seed<T: Send>(usual: u64, run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let runs = env::var("VOICEBOT_RUNS").map_or(usual, |runs| runs.parse().unwrap());
    let threads = thread::available_parallelism().unwrap().get() as u64;
    thread::scope(|scope| {
        let run = &run;
        let seeds = |thread| (thread..runs).step_by(threads as usize);
        let threads =
            (0..threads).map(|thread| scope.spawn(move || seeds(thread).map(run).collect::<Vec<_>>()));
        let threads: Vec<_> = threads.collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    })
}

#[test]
fn a_disturbed_stream_reaches_the_bot_in_order_and_gaps_hold_it_up_for_250_ms_at_most() {
    let mut waits: Vec<_> = for_each_seed(10_000, run).into_iter().flatten().collect();
    waits.sort();
    let (turns, held_up) = (waits.len(), waits.iter().filter(|wait| !wait.is_zero()).count());
    let [median, p99] = [50, 99].map(|percent| waits[(turns - 1) * percent / 100].as_millis());
    let longest = *waits.last().unwrap();
    println!(
        "{turns} turns: {held_up} were held up by missing messages; median {median} ms, p99 {p99} ms, longest {} ms",
        longest.as_millis()
    );
    assert!(longest <= SignedDuration::from_millis(250), "{longest}");
}

/// Runs a stream whose invocations are under way three at a time, each with what it read when it began.
fn run_at_once(seed: u64) {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut stream = Stream::new(1, &mut dice);
    stream.is_digital = true;
    let mut call = Call::listening(stream.rate, patient());
    let mut under_way = Vec::new();
    let mut arrivals = (2..).zip(&stream.arrivals);
    loop {
        let next = arrivals.next();
        if let Some((slot, number)) = next {
            under_way.push((call.read(), *number, frame_at(slot)));
        }
        while under_way.len() > 2 || (next.is_none() && !under_way.is_empty()) {
            // The oldest of them is no slower than the three that began after it.
            let is_slow = next.is_some_and(|(slot, _)| under_way[0].2 <= frame_at(slot - 3));
            let chosen = if is_slow {
                0
            } else {
                dice.random_range(0..under_way.len())
            };
            let (read, number, now) = under_way.remove(chosen);
            let pcm = stream.pcm(number);
            let step = call.finish(read, &message(number, stream.event(number, &pcm)), now);
            fall_silent(&mut call, &step, now);
        }
        if next.is_none() {
            break;
        }
    }
    assert_in_order(&call, &stream, &format!("seed {seed}"));
}

#[test]
fn invocations_at_the_same_time_count_each_message_once() {
    for_each_seed(2_000, run_at_once);
}

#[test]
fn two_hundred_calls_at_once_hear_themselves_alone() {
    let mut dice = ChaCha8Rng::seed_from_u64(200);
    let mut calls: Vec<_> = (0..200)
        .map(|salt| {
            let mut stream = Stream::new(3, &mut dice);
            (stream.rate, stream.salt) = (Rate::ALL[salt as usize % 3], salt * 13);
            (Call::listening(stream.rate, patient()), stream, 0)
        })
        .collect();
    let mut open: Vec<usize> = (0..calls.len()).collect();
    while !open.is_empty() {
        let chosen = dice.random_range(0..open.len());
        let (call, stream, next) = &mut calls[open[chosen]];
        let Some(number) = stream.arrivals.get(*next) else {
            open.swap_remove(chosen);
            continue;
        };
        *next += 1;
        let now = at(*next as i64 * 100 + 100);
        let pcm = stream.pcm(*number);
        let step = call.deliver(*number, stream.event(*number, &pcm), now);
        fall_silent(call, &step, now);
    }
    for (index, (call, stream, _)) in calls.iter().enumerate() {
        assert_in_order(call, stream, &format!("call {index}"));
    }
}

#[test]
fn frames_before_the_first_that_was_noticed_find_their_place() {
    let rate = Rate::Hz16000;
    let mut call = Call::listening(rate, patient());
    call.silence(2..10, rate);
    for (slot, number) in [(12, 12), (13, 11), (14, 13), (15, 10)] {
        let _ = call.deliver(number, Event::Media(&voice(number, rate)), frame_at(slot));
    }
    call.silence(14..30, rate);
    let (_, heard) = turns(&call)[0];
    assert_eq!((heard.first, heard.last), (10, 16));
    let expected: Vec<_> = (10..14)
        .map(|n| voice(n, rate))
        .chain((14..17).map(|n| hush(n, rate)))
        .collect();
    assert!(call.audio(heard, rate) == expected.concat());
}

#[test]
fn frames_of_20_ms_and_of_a_second_are_a_turn_too() {
    for (frame_ms, frames) in [(20, 60), (200, 8), (1_000, 3)] {
        let rate = Rate::Hz24000;
        let mut call = Call::listening(rate, patient());
        let loud = voice(7, rate).repeat(10)[..rate.bytes_of_ms(frame_ms)].to_vec();
        let quiet = vec![0; loud.len()];
        let frames = vec![loud; frames].into_iter().chain(vec![quiet; 100]);
        for (number, pcm) in (2..).zip(frames) {
            let step = call.deliver(number, Event::Media(&pcm), at((number * frame_ms) as i64));
            if let Some(ask) = step.ask {
                let Input::Speech(heard) = ask.input else {
                    panic!("{ask:?}")
                };
                let silence_ms = (number - heard.last) * frame_ms;
                assert_eq!(heard.first, 2);
                assert!((0..=700).contains(&silence_ms), "{frame_ms} ms: {silence_ms}");
                break;
            }
        }
        assert_eq!(call.inputs().len(), 1, "{frame_ms} ms");
    }
}
