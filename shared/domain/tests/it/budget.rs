//! What a minute of a call costs its store.

use domain::voicebot::{Ask, Event, Input, Listen, Post, Rate, Session, Then};
use jiff::{SignedDuration, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::line::{Call, at, frame_at};

const RATE: Rate = Rate::Hz8000;
/// A frame as it is kept: a byte a sample, and its keys.
const KEPT_BYTES: u64 = 800 + 60;
/// A read unit.
const UNIT_BYTES: u64 = 4_096;

/// A line with noise that swells and fades, and a voice with syllables and pauses.
struct Line {
    dice: ChaCha8Rng,
    spoken: u64,
}

impl Line {
    fn frame(&mut self, speaks: bool) -> Vec<u8> {
        let noise = 20.0 * 10f64.powf(self.dice.random_range(-4.0..4.0) / 20.0);
        let mut pcm = Vec::with_capacity(1_600);
        for n in 0..800u64 {
            let uniform: f64 = (0..4).map(|_| self.dice.random_range(-1.0..1.0)).sum();
            let seconds = (self.spoken * 800 + n) as f64 / 8_000.0;
            // Four syllables a second, and no voice between two words.
            let syllable = (seconds * 4.0 * std::f64::consts::PI).sin().abs();
            let word = if (seconds * 1.3).fract() < 0.85 { 1.0 } else { 0.0 };
            let voice = (seconds * 180.0 * std::f64::consts::TAU).sin() * 4_000.0 * syllable * word;
            let sample = uniform * noise + if speaks { voice } else { 0.0 };
            pcm.extend_from_slice(&(sample as i16).to_le_bytes());
        }
        self.spoken = if speaks { self.spoken + 1 } else { 0 };
        pcm
    }
}

/// The bot's function: it holds the session that it wrote last, and reads again when somebody else has written.
struct Bot {
    epoch: u32,
    chunk: u32,
    next_at: Timestamp,
}

const CHUNKS_MS: [u32; 2] = [1_500, 1_400];

impl Bot {
    fn begin(call: &mut Call, ask: &Ask, now: Timestamp) -> Self {
        let mut read = call.read();
        let (epoch, input) = read.session_mut().begin_answer(ask.turn, now).unwrap();
        assert!(call.write(read));
        if let Input::Speech(heard) = input {
            let kept = call.frames.range(heard.first..=heard.last).count() as u64;
            assert!(kept >= u64::from(heard.frames));
            // Read as it is in the store at last; when frames are missing, the reading is repeated consistently.
            call.reads += (kept * KEPT_BYTES).div_ceil(UNIT_BYTES).div_ceil(2) as u32;
        }
        Self {
            epoch,
            chunk: 0,
            next_at: now + SignedDuration::from_millis(300),
        }
    }

    /// Posts the next chunk; whether it was the last.
    fn go_on(&mut self, call: &mut Call, now: Timestamp) -> bool {
        // The first chunk's session is read; after each post it is read again, which serves the next chunk too.
        let mut read = call.read();
        if self.chunk > 0 {
            call.reads -= 1;
        }
        let session: &mut Session = read.session_mut();
        if self.chunk == 0 {
            assert!(session.answer(self.epoch, Then::Listen(Listen::default()), now));
        }
        let post = session.post_chunk(self.epoch, self.chunk, CHUNKS_MS[self.chunk as usize], now);
        let Post::Now { next_at } = post else {
            panic!("{post:?}")
        };
        self.next_at = next_at;
        self.chunk += 1;
        let is_last = self.chunk as usize == CHUNKS_MS.len();
        if is_last {
            assert!(session.mark(self.epoch).is_some());
            let _ = session.finish_answer(self.epoch, now);
        }
        assert!(call.write(read));
        let clears_again = call.read().session_mut().clears_again(self.epoch, now);
        assert!(!clears_again);
        is_last
    }
}

#[test]
fn a_minute_with_45_percent_speech_costs_900_writes_and_700_reads_at_most() {
    let mut line = Line {
        dice: ChaCha8Rng::seed_from_u64(45),
        spoken: 0,
    };
    let mut call = Call::started(RATE);
    let (_, ask) = call.asks[0].clone();
    let mut bot = Some(Bot::begin(&mut call, &ask, at(50)));
    let mut number = 1;
    // The caller answers the bot, 300 ms after it, for 3.6 s.
    let mut speaks_in = None;
    let mut speech_left = 0;
    let (mut spoken, mut marks, mut silent_writes) = (0, 0, 0);
    for slot in 1..=600 {
        let now = frame_at(slot);
        if speaks_in == Some(slot) {
            (speaks_in, speech_left) = (None, 36);
        }
        let speaks = speech_left > 0;
        speech_left -= u32::from(speaks);
        spoken += u32::from(speaks);
        let pcm = line.frame(speaks);
        number += 1;
        let step = call.deliver(number, Event::Media(&pcm), now);
        silent_writes += u32::from(step.write && !step.keep);
        // One frame in a hundred comes twice.
        if slot % 100 == 0 {
            let again = call.deliver(number, Event::Media(&pcm), now);
            assert!(!again.write);
        }
        if let Some(ask) = step.ask {
            assert!(matches!(ask.input, Input::Speech(_)), "{ask:?}");
            bot = Some(Bot::begin(&mut call, &ask, now));
        }
        if let Some(mut under_way) = bot.take_if(|bot| bot.next_at <= now)
            && !under_way.go_on(&mut call, now)
        {
            bot = Some(under_way);
        }
        let has_played = bot.is_none() && now >= call.session.play_until();
        if has_played && speaks_in.is_none() && speech_left == 0 && marks < call.session.turn() + 1 {
            marks += 1;
            number += 1;
            let _ = call.deliver(number, Event::Mark(&format!("m{marks}")), now);
            speaks_in = Some(slot + 3);
        }
    }
    let percent = f64::from(spoken) / 6.0;
    println!(
        "{percent:.0} % speech, {} turns: {} write units ({} kept frames, {silent_writes} for frames outside turns), \
         {} read units",
        call.session.turn(),
        call.writes,
        call.frames.len(),
        call.reads
    );
    assert!((44.0..47.0).contains(&percent), "{percent}");
    assert!(call.session.turn() >= 7);
    assert!(call.clears.is_empty() && call.session.lost() == 0);
    assert!(call.writes <= 900, "{} write units", call.writes);
    assert!(call.reads <= 700, "{} read units", call.reads);
}

#[test]
fn silence_outside_a_turn_is_not_written() {
    let mut line = Line {
        dice: ChaCha8Rng::seed_from_u64(1),
        spoken: 0,
    };
    let patient = Listen {
        no_input_ms: 600_000,
        ..Listen::default()
    };
    let mut call = Call::listening(RATE, patient);
    let before = call.writes;
    for number in 2..602 {
        let pcm = line.frame(false);
        let _ = call.deliver(number, Event::Media(&pcm), frame_at(number));
    }
    let writes = call.writes - before;
    println!("a minute of noise that swells and fades by 4 dB: {writes} writes");
    assert!(writes <= 30 && call.frames.is_empty(), "{writes}");
}
