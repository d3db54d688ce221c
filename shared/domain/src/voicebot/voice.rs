//! Whether a frame holds speech: how loud its parts are, against what the line sounds like when nobody speaks.
//!
//! Levels are tenths of a decibel below full scale. A frame is judged in blocks of 20 ms, so that a word which begins at
//! a frame's end is heard, and a click is not.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Rate;

/// The length of a block: shorter than any sound of speech, longer than a period of the deepest voice.
const BLOCK_MS: u64 = 20;
/// A block is loud when it is so much louder than the line.
const LOUD_ABOVE_FLOOR: i16 = 100;
/// No block below this is loud, however quiet the line: speech on the telephone is at -150 to -350.
const LEAST_LOUD: i16 = -450;
/// A block is audible from so much below loud. Words begin with sounds that are weaker than they are.
const AUDIBLE_BELOW_LOUD: i16 = 40;
/// The line is never taken to be quieter, so that a dropout does not make its noise loud.
const LOWEST_FLOOR: i16 = -750;
/// Nor louder: speech must get through.
const HIGHEST_FLOOR: i16 = -380;
/// What a line is taken for until it is heard.
const FIRST_FLOOR: i16 = -550;
/// Outside a turn the floor moves only when it is off by more than this: a move is a write.
const WORTH_MOVING: i16 = 40;
/// And upwards no more often than this, so that a line whose noise swells and fades costs no more.
const RISES_AFTER: SignedDuration = SignedDuration::from_secs(5);
/// Samples whose loudness is added up side by side.
const LANES: usize = 8;
/// In a turn it rises by so much per 100 ms, so that noise which begins and stays ends a turn at last.
const RISE_PER_100_MS: i64 = 3;

/// What the line sounds like when nobody speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Floor {
    #[serde(rename = "l")]
    level: i16,
    #[serde(rename = "r", with = "jiff::fmt::serde::timestamp::millisecond::required")]
    risen_at: Timestamp,
}

/// What a frame sounds like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sound {
    /// How long it is.
    pub(super) ms: u32,
    /// How much of it is loud, which is what speech is.
    pub(super) loud_ms: u32,
    /// How much of it may belong to speech.
    pub(super) audible_ms: u32,
    /// The level of its quietest block.
    pub(super) quietest: i16,
}

impl Floor {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            level: FIRST_FLOOR,
            risen_at: now,
        }
    }

    /// Listens to a frame. A last odd byte is no sample and is not heard.
    pub(super) fn listen(self, pcm: &[u8], rate: Rate) -> Sound {
        let loud = (self.level + LOUD_ABOVE_FLOOR).max(LEAST_LOUD);
        let mut sound = Sound {
            ms: ms(rate, pcm.len()),
            loud_ms: 0,
            audible_ms: 0,
            quietest: 0,
        };
        for block in pcm.chunks(rate.bytes_of_ms(BLOCK_MS)) {
            let level = level(block);
            sound.quietest = sound.quietest.min(level);
            if level >= loud - AUDIBLE_BELOW_LOUD {
                sound.audible_ms += ms(rate, block.len());
            }
            if level >= loud {
                sound.loud_ms += ms(rate, block.len());
            }
        }
        sound
    }

    /// Learns from a frame outside a turn; seldom, since what is learned must be kept.
    pub(super) fn learn(&mut self, sound: Sound, now: Timestamp) {
        let level = sound.quietest.clamp(LOWEST_FLOOR, HIGHEST_FLOOR);
        if level + WORTH_MOVING <= self.level {
            self.level = level;
        } else if level >= self.level + WORTH_MOVING && now.duration_since(self.risen_at) >= RISES_AFTER {
            self.level += (level - self.level) / 2;
            self.risen_at = now;
        }
    }

    /// Learns from a frame in a turn: down at once, up slowly. Speech has a pause in every second.
    pub(super) fn follow(&mut self, sound: Sound) {
        let rise = i64::from(sound.ms) * RISE_PER_100_MS / 100;
        let risen = i64::from(self.level) + rise.min(i64::from(WORTH_MOVING));
        let level = i64::from(sound.quietest).min(risen);
        self.level = (level as i16).clamp(LOWEST_FLOOR, HIGHEST_FLOOR);
    }
}

impl Sound {
    /// Whether the frame may be the first of an utterance: a loud block, or two that are audible.
    pub(super) fn is_audible(self) -> bool {
        self.loud_ms > 0 || self.audible_ms >= 2 * BLOCK_MS as u32
    }

    /// Whether it holds speech. Two blocks, where it has them: one may be a click.
    pub(super) fn is_speech(self) -> bool {
        self.loud_ms > 0 && self.loud_ms >= self.ms.min(2 * BLOCK_MS as u32)
    }
}

fn ms(rate: Rate, bytes: usize) -> u32 {
    u32::try_from(rate.ms_of_bytes(bytes)).unwrap_or(u32::MAX)
}

/// The level of some samples, without the constant part that lines may have.
fn level(block: &[u8]) -> i16 {
    // In lanes of 32 bits, which a processor adds side by side. A lane of squares is off by a millionth at most.
    let (mut sums, mut squares) = ([0_i32; LANES], [0_f32; LANES]);
    let mut add = |samples: &[[u8; 2]; LANES]| {
        for ((sample, sum), square) in samples.iter().zip(&mut sums).zip(&mut squares) {
            let sample = i16::from_le_bytes(*sample);
            *sum += i32::from(sample);
            *square += f32::from(sample) * f32::from(sample);
        }
    };
    let (whole, rest) = block.as_chunks::<2>().0.as_chunks::<LANES>();
    whole.iter().for_each(&mut add);
    let mut last = [[0; 2]; LANES];
    last[..rest.len()].copy_from_slice(rest);
    add(&last);
    let sum: i32 = sums.iter().sum();
    let squares: f64 = squares.into_iter().map(f64::from).sum();
    let count = (block.len() / 2) as f64;
    let mean = f64::from(sum) / count;
    let power = squares / count - mean * mean;
    // Nothing at all, or not even a sample: as quiet as 16 bits can be.
    let power = power.max(1.0) / f64::from(1u32 << 30);
    (power.log10() * 100.0) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    /// A tone of so many tenths of a decibel below full scale.
    fn tone(level: i16, ms: u64, rate: Rate) -> Vec<u8> {
        let peak = 32_768.0 * 10f64.powf(f64::from(level) / 200.0) * 2f64.sqrt();
        let samples = rate.bytes_of_ms(ms) / 2;
        let wave = (0..samples)
            .map(|n| peak * (n as f64 * 440.0 * std::f64::consts::TAU / f64::from(rate.hz())).sin());
        wave.flat_map(|sample| (sample as i16).to_le_bytes()).collect()
    }

    #[test]
    fn a_frame_is_measured_alike_at_every_rate() {
        for rate in Rate::ALL {
            let sound = Floor::new(NOW).listen(&tone(-250, 100, rate), rate);
            assert_eq!((sound.ms, sound.loud_ms, sound.audible_ms), (100, 100, 100));
            assert!((-260..=-240).contains(&sound.quietest), "{}", sound.quietest);
            let silence = Floor::new(NOW).listen(&vec![0; rate.bytes_of_ms(100)], rate);
            assert_eq!((silence.loud_ms, silence.is_audible()), (0, false));
        }
    }

    #[test]
    fn a_word_at_the_end_of_a_frame_is_heard_and_a_click_is_no_speech() {
        let rate = Rate::Hz8000;
        let floor = Floor::new(NOW);
        let late = [tone(-600, 60, rate), tone(-250, 40, rate)].concat();
        assert!(floor.listen(&late, rate).is_speech());
        let mut click = tone(-600, 100, rate);
        click[..4].fill(0x7f);
        let click = floor.listen(&click, rate);
        assert!(click.is_audible() && !click.is_speech());
        assert!(
            floor.listen(&tone(-250, 20, rate), rate).is_speech(),
            "a short frame that is loud throughout"
        );
    }

    #[test]
    fn nothing_a_sample_and_a_constant_are_silence() {
        for pcm in [vec![], vec![7], vec![0, 0x40], [0x00, 0x40].repeat(800)] {
            let sound = Floor::new(NOW).listen(&pcm, Rate::Hz8000);
            assert!(!sound.is_audible(), "{pcm:?}: {sound:?}");
        }
    }

    #[test]
    fn the_floor_follows_the_line_and_seldom_outside_a_turn() {
        let rate = Rate::Hz16000;
        let mut floor = Floor::new(NOW);
        let quiet = floor.listen(&tone(-700, 100, rate), rate);
        floor.learn(quiet, NOW);
        let learned = floor;
        // A line that swells and fades by 8 dB between frames.
        let mut moves = 0;
        for frame in 1..600 {
            let level = if frame % 2 == 0 { -700 } else { -620 };
            let before = floor;
            let sound = floor.listen(&tone(level, 100, rate), rate);
            floor.learn(sound, NOW + SignedDuration::from_millis(frame * 100));
            moves += usize::from(floor != before);
        }
        assert_ne!(floor.risen_at, learned.risen_at);
        assert!(moves <= 60, "{moves} moves in a minute");
    }

    #[test]
    fn noise_that_begins_and_stays_is_speech_for_some_seconds_only() {
        let rate = Rate::Hz8000;
        let mut floor = Floor::new(NOW);
        let noise = tone(-420, 100, rate);
        let heard = (0..).take_while(|_| {
            let sound = floor.listen(&noise, rate);
            floor.follow(sound);
            sound.is_speech()
        });
        let frames = heard.take(1000).count();
        assert!((5..100).contains(&frames), "{frames}");
        assert!(
            floor.listen(&tone(-200, 100, rate), rate).is_speech(),
            "a voice above the noise is still heard"
        );
    }
}
