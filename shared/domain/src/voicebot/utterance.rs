//! What a caller is saying: the numbers of its frames, how long it has been quiet, and what the bot gets of it.
//!
//! Audio is kept outside under the frame's sequence number, so it is in order however it comes, and a frame that comes
//! twice is kept once. What has to wait for order is the decision that an utterance has ended.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Rate, Rules,
    voice::Sound,
    window::{Seen, Window},
};

/// A missing number is given up when so many later ones have come ...
pub(super) const REORDERED: u64 = 3;
/// ... or when, by the next message, it would have been waited for longer than this.
pub(super) const LONGEST_WAIT_MS: u32 = 250;
/// So many frames of silence at most stand for a gap: numbers may jump.
const MOST_FILLED: u64 = 5;
/// Messages without audio that an utterance remembers; of more, each sounds as long as a frame of silence.
const MOST_OTHERS: usize = 3;

/// An utterance that has begun. Until enough of it was loud it is a suspicion: noise begins like speech.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Utterance {
    /// Its first frame so far; one that was overtaken may still come before it.
    #[serde(rename = "f")]
    first: u64,
    /// The frame with which it was noticed.
    #[serde(rename = "o")]
    opened: u64,
    /// The last frame with speech in it.
    #[serde(rename = "l")]
    last_speech: u64,
    /// Everything up to here has come or is given up.
    #[serde(rename = "s")]
    settled: u64,
    /// Since when something after that has come, and not everything before it.
    #[serde(
        rename = "w",
        default,
        with = "jiff::fmt::serde::timestamp::millisecond::optional",
        skip_serializing_if = "Option::is_none"
    )]
    waiting_since: Option<Timestamp>,
    /// Silence after the last speech.
    #[serde(rename = "q")]
    silence_ms: u32,
    /// Loud parts, together.
    #[serde(rename = "v")]
    loud_ms: u32,
    /// All frames, together.
    #[serde(rename = "m")]
    ms: u32,
    /// How many.
    #[serde(rename = "n")]
    frames: u32,
    /// How long the newest was.
    #[serde(rename = "g")]
    frame_ms: u32,
    /// Numbers that were given up.
    #[serde(rename = "x", default, skip_serializing_if = "is_zero")]
    pub(super) lost: u32,
    /// Whether it is speech, not a suspicion any more.
    #[serde(rename = "c", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) confirmed: bool,
    /// Messages in between that hold no audio.
    #[serde(rename = "b", default, skip_serializing_if = "Vec::is_empty")]
    others: Vec<u64>,
    /// The first frame of what the caller said before, when the bot has not even begun to hear that.
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    continues: Option<u64>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What to do about an utterance after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on.
    GoesOn,
    /// It has ended.
    Ended,
    /// It was noise.
    WasNoise,
}

impl Utterance {
    /// Begins with a frame. Those before it, from `from` on, may have been overtaken by it, as far back as silence would
    /// fill what is missing in between.
    pub(super) fn open(number: u64, sound: Sound, window: &mut Window, from: u64) -> Self {
        window.note(number);
        window.forget_before(MOST_FILLED, from);
        let mut utterance = Self {
            first: number,
            opened: number,
            last_speech: number,
            settled: number,
            waiting_since: None,
            silence_ms: 0,
            loud_ms: 0,
            ms: 0,
            frames: 0,
            frame_ms: 0,
            lost: 0,
            confirmed: false,
            others: Vec::new(),
            continues: None,
        };
        utterance.add(number, sound);
        utterance
    }

    /// Whether a frame has its place in it. Silence before its beginning has not.
    pub(super) fn wants(&self, number: u64, sound: Sound) -> bool {
        number > self.first || sound.is_audible()
    }

    /// Takes a frame in, whose number the window has just noted.
    pub(super) fn hear(&mut self, number: u64, sound: Sound, window: Window) {
        let was_given_up = self.opened < number && number <= self.settled;
        if was_given_up {
            self.lost = self.lost.saturating_sub(1);
        }
        if number >= self.last_speech && sound.is_speech() {
            self.last_speech = number;
            // What overtook it and is no speech is silence after it.
            let after = (number + 1..=window.newest()).filter(|&later| self.is_settled(later, window));
            self.silence_ms = sound
                .ms
                .saturating_mul(after.take(MOST_FILLED as usize).count() as u32);
        } else if number > self.last_speech && !was_given_up {
            self.silence_ms = self.silence_ms.saturating_add(sound.ms);
        }
        self.add(number, sound);
    }

    fn is_settled(&self, number: u64, window: Window) -> bool {
        number <= self.settled || window.look(number) == Seen::Before
    }

    fn add(&mut self, number: u64, sound: Sound) {
        self.first = self.first.min(number);
        self.frames += 1;
        self.ms = self.ms.saturating_add(sound.ms);
        self.loud_ms = self.loud_ms.saturating_add(sound.loud_ms);
        if sound.ms > 0 {
            self.frame_ms = sound.ms;
        }
    }

    /// Takes in a message without audio, whose number the window has just noted.
    pub(super) fn pass(&mut self, number: u64) {
        if self.opened < number && number <= self.settled {
            self.lost = self.lost.saturating_sub(1);
        }
        if self.others.len() < MOST_OTHERS {
            self.others.push(number);
        }
    }

    /// Goes on over what has come, and over gaps that nobody waits for any more.
    pub(super) fn settle(&mut self, window: Window, now: Timestamp) {
        let newest = window.newest();
        let waited = self
            .waiting_since
            .map_or(SignedDuration::ZERO, |since| now.duration_since(since));
        let waits = waited + ms(self.frame_ms) <= ms(LONGEST_WAIT_MS);
        let mut filled = 0;
        while self.settled < newest {
            let next = self.settled + 1;
            match window.look(next) {
                Seen::Before => self.settled = next,
                // Numbers jumped: nobody can say what was there.
                Seen::TooFarBack => self.settled = window.oldest() - 1,
                Seen::Never if waits && newest - next < REORDERED => break,
                Seen::Never => {
                    self.settled = next;
                    self.lost += 1;
                    if next > self.last_speech && filled < MOST_FILLED {
                        filled += 1;
                        self.silence_ms = self.silence_ms.saturating_add(self.frame_ms);
                    }
                }
            }
        }
        self.waiting_since = (self.settled < newest).then(|| self.waiting_since.unwrap_or(now));
    }

    /// Whether enough was loud to be speech.
    pub(super) fn is_speech(&self, rules: &Rules) -> bool {
        self.loud_ms >= rules.least_speech_ms
    }

    /// Whether it has ended. Only silence before which nothing is missing any more counts.
    pub(super) fn verdict(&self, rules: &Rules, window: Window) -> Verdict {
        let unsettled =
            (self.settled + 1..=window.newest()).filter(|&number| window.look(number) == Seen::Before);
        let unsettled_ms = self.frame_ms.saturating_mul(unsettled.count() as u32);
        let silence_ms = self.silence_ms.saturating_sub(unsettled_ms);
        let (silence_enough_ms, verdict) = match self.confirmed {
            true => (rules.silence_after_turn_ms, Verdict::Ended),
            false => (rules.silence_after_noise_ms, Verdict::WasNoise),
        };
        if silence_ms >= silence_enough_ms || self.ms >= rules.longest_utterance_ms {
            verdict
        } else {
            Verdict::GoesOn
        }
    }

    /// Goes on with what the caller said before, which nobody has heard yet.
    pub(super) fn continue_from(&mut self, heard: &Heard) {
        self.continues = Some(heard.first);
        self.frames = self.frames.saturating_add(heard.frames);
        self.others.splice(0..0, heard.others.iter().copied());
        self.others.truncate(MOST_OTHERS);
    }

    /// What the bot gets of it: from its beginning to a little after its last speech.
    pub(super) fn heard(&self, rules: &Rules, window: Window) -> Heard {
        let tail = u64::from(rules.silence_kept_ms.div_ceil(self.frame_ms.max(1)));
        let last = self.last_speech.saturating_add(tail).min(window.newest());
        let after = (last + 1..=window.newest())
            .rev()
            .map_while(|number| match window.look(number) {
                Seen::Before => Some(u32::from(!self.others.contains(&number))),
                Seen::Never => Some(0),
                Seen::TooFarBack => None,
            });
        Heard {
            first: self.continues.unwrap_or(self.first),
            last,
            frames: self.frames.saturating_sub(after.sum()),
            others: self.others.clone(),
        }
    }
}

fn ms(ms: u32) -> SignedDuration {
    SignedDuration::from_millis(ms.into())
}

/// Which of the kept frames are an utterance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// The sequence number of the first frame.
    #[serde(rename = "f")]
    pub first: u64,
    /// That of the last: whoever kept the frames reads those from `first` to `last`.
    #[serde(rename = "l")]
    pub last: u64,
    /// So many frames at least were kept from `first` to `last`: who reads fewer reads a store that is behind.
    #[serde(rename = "n")]
    pub frames: u32,
    /// Numbers between `first` and `last` that no audio belongs to: marks share the counter.
    #[serde(rename = "b", default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<u64>,
}

impl Heard {
    /// Puts the kept frames together: sorts them by number, leaves out what belongs to other utterances, and fills each
    /// gap with silence of the length of the frame before it, at most five frames of it. `frames` are sequence numbers
    /// and PCM, in any order.
    pub fn lay_out<P: AsRef<[u8]>>(&self, frames: &[(u64, P)], rate: Rate) -> Vec<u8> {
        let own = frames
            .iter()
            .filter(|(number, _)| (self.first..=self.last).contains(number));
        let mut own: Vec<_> = own.map(|(number, pcm)| (*number, pcm.as_ref())).collect();
        own.sort_by_key(|(number, _)| *number);
        own.dedup_by_key(|(number, _)| *number);
        let mut pcm = Vec::with_capacity(own.iter().map(|(_, pcm)| pcm.len()).sum());
        let mut next = self.first;
        let mut frame = own
            .first()
            .map_or(rate.bytes_of_ms(100), |(_, pcm)| pcm.len() & !1);
        for (number, audio) in own {
            pcm.resize(pcm.len() + self.missing(next, number) * frame, 0);
            // Half a sample would make noise of everything after it.
            let audio = &audio[..audio.len() & !1];
            pcm.extend_from_slice(audio);
            (next, frame) = (number + 1, audio.len());
        }
        pcm.resize(pcm.len() + self.missing(next, self.last + 1) * frame, 0);
        pcm
    }

    /// How many frames are missing from one number to before another.
    fn missing(&self, from: u64, to: u64) -> usize {
        let others = self
            .others
            .iter()
            .filter(|other| (from..to).contains(other))
            .count() as u64;
        to.saturating_sub(from).saturating_sub(others).min(MOST_FILLED) as usize
    }
}

#[cfg(test)]
impl Utterance {
    pub(super) fn largest(number: u64, now: Timestamp) -> Self {
        Self {
            first: number,
            opened: number,
            last_speech: number,
            settled: number,
            waiting_since: Some(now),
            silence_ms: u32::MAX,
            loud_ms: u32::MAX,
            ms: u32::MAX,
            frames: u32::MAX,
            frame_ms: u32::MAX,
            lost: u32::MAX,
            confirmed: true,
            others: vec![number; MOST_OTHERS],
            continues: Some(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(first: u64, last: u64, others: &[u64]) -> Heard {
        Heard {
            first,
            last,
            frames: 0,
            others: others.to_vec(),
        }
    }

    #[test]
    fn frames_are_laid_out_in_order_once_and_gaps_are_silent() {
        let frames = [
            (12, [2; 4]),
            (10, [1; 4]),
            (12, [2; 4]),
            (15, [3; 4]),
            (16, [9; 4]),
            (9, [9; 4]),
        ];
        let pcm = heard(10, 15, &[13]).lay_out(&frames, Rate::Hz8000);
        let expected = [[1; 4], [0; 4], [2; 4], [0; 4], [3; 4]].concat();
        assert_eq!(pcm, expected);
    }

    #[test]
    fn half_a_sample_at_a_frames_end_shifts_nothing_behind_it() {
        let frames = [(1, vec![1; 5]), (2, vec![2; 4]), (4, vec![4; 3]), (6, vec![6; 4])];
        let pcm = heard(1, 6, &[]).lay_out(&frames, Rate::Hz8000);
        let expected: [&[u8]; 6] = [&[1; 4], &[2; 4], &[0; 4], &[4; 2], &[0; 2], &[6; 4]];
        assert_eq!(pcm, expected.concat());
    }

    #[test]
    fn a_jump_of_the_numbers_is_half_a_second_of_silence() {
        let frames = [(1, vec![1; 1600]), (90_000, vec![2; 1600])];
        let pcm = heard(1, 90_000, &[]).lay_out(&frames, Rate::Hz8000);
        assert_eq!(pcm.len(), 7 * 1600);
    }

    #[test]
    fn an_utterance_of_which_nothing_was_kept_is_silence() {
        let none: [(u64, [u8; 0]); 0] = [];
        assert_eq!(heard(7, 8, &[]).lay_out(&none, Rate::Hz16000), vec![0; 6400]);
    }
}
