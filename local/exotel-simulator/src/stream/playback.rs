//! What the person on the line hears: the bot's sound, played in real time on a clock of its own. No I/O; the only clock
//! is the sample that is to be reached.

use std::collections::VecDeque;

use serde::Serialize;

use super::sound::{to_ms, to_samples};
use super::view::MOST_KEPT;

/// Silence inside what the bot says that is longer than this is a pause, not a gap.
const LONGEST_GAP_MS: u64 = 1_000;
/// Peak, of 32 768, up to which sound is silence: 50 dB below full scale. Comfort noise, dither and the idle codes of
/// mu-law and A-law stay under it; the softest syllable of a voice on a telephone line is far above.
const SILENCE_PEAK: u16 = 100;
/// Sound is judged loud or silent by so many milliseconds at once: less than a syllable, more than any wave of a voice,
/// which passes through zero.
const WINDOW_MS: u64 = 20;
/// Silence up to this is part of what is said: the stop before a plosive, a breath between words.
const BREATH_MS: u64 = 200;
/// Sound that may wait to be played: more than anybody says at once. A bot that floods the line must not fill the memory.
const MOST_WAITING_MS: u64 = 600_000;
/// Chunks and marks together that may wait: enough for ten minutes of the smallest chunks at the highest rate, with a mark
/// behind each.
const MOST_WAITING_ITEMS: usize = 20_000;

/// Whether any of it is louder than silence.
pub(crate) fn is_loud(samples: &[i16]) -> bool {
    samples.iter().any(|sample| sample.unsigned_abs() > SILENCE_PEAK)
}

/// The bot's sound ran out and went on shortly after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// When it began, in milliseconds from the stream's start.
    pub at_ms: u64,
    /// How long it was.
    pub ms: u64,
}

/// What a `clear` did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cleared {
    /// Samples that will never be heard.
    pub(crate) dropped: usize,
    /// Samples of the chunk that had begun, which is played to its end.
    pub(crate) left: usize,
    /// Marks whose sound was dropped, in order.
    pub(crate) marks: Vec<String>,
}

#[derive(Debug)]
enum Item {
    /// Silence before sound that came when there was none, so that what follows may be late by as much.
    Lead(usize),
    Chunk {
        samples: Vec<i16>,
        done: usize,
    },
    Mark(String),
}

/// What of the sound heard is voice. A bot may stream without pause, with silence or faint noise where it says nothing.
#[derive(Debug)]
struct Voice {
    breath: usize,
    /// Samples of it.
    total: usize,
    /// Samples of it since the last silence that was longer than a breath.
    in_a_row: usize,
    first: Option<usize>,
    end: Option<usize>,
}

impl Voice {
    fn hear(&mut self, at: usize, samples: usize) {
        if self.is_broken(at) {
            self.in_a_row = 0;
        }
        self.total += samples;
        self.in_a_row += samples;
        self.first.get_or_insert(at);
        self.end = Some(at + samples);
    }

    fn is_broken(&self, at: usize) -> bool {
        self.end.is_none_or(|end| at - end > self.breath)
    }
}

/// The player.
#[derive(Debug)]
pub(crate) struct Playback {
    rate_hz: u32,
    /// Samples of silence before sound that comes when there is none.
    lead: usize,
    queue: VecDeque<Item>,
    /// Samples in the queue that wait to be played.
    waiting: usize,
    /// Everything heard, from the stream's start on: its length is the time.
    heard: Vec<i16>,
    /// The last marks played, and how many were before them.
    marks_played: VecDeque<String>,
    marks_forgotten: usize,
    /// Samples of the bot's that were played, silent ones too.
    played: usize,
    voice: Voice,
    /// Where the bot's sound ended, if what comes next may be the same utterance.
    utterance_end: Option<usize>,
    gaps: Vec<Gap>,
    gaps_left_off: u64,
}

impl Playback {
    pub(crate) fn new(rate_hz: u32, lead_ms: u64) -> Self {
        Self {
            rate_hz,
            lead: to_samples(lead_ms, rate_hz),
            queue: VecDeque::new(),
            waiting: 0,
            heard: Vec::new(),
            marks_played: VecDeque::new(),
            marks_forgotten: 0,
            played: 0,
            voice: Voice {
                breath: to_samples(BREATH_MS, rate_hz),
                total: 0,
                in_a_row: 0,
                first: None,
                end: None,
            },
            utterance_end: None,
            gaps: Vec::new(),
            gaps_left_off: 0,
        }
    }

    /// Plays up to, but not, the sample `to`. Answers the marks reached, in order.
    pub(crate) fn advance(&mut self, to: usize) -> Vec<String> {
        let window = to_samples(WINDOW_MS, self.rate_hz);
        let mut reached = Vec::new();
        loop {
            let room = to.saturating_sub(self.heard.len());
            match self.queue.front_mut() {
                Some(Item::Mark(_)) => {
                    if let Some(Item::Mark(name)) = self.queue.pop_front() {
                        self.count_mark(&name);
                        reached.push(name);
                        self.utterance_end = None;
                    }
                }
                _ if room == 0 => return reached,
                Some(Item::Lead(left)) => {
                    let silent = room.min(*left);
                    *left -= silent;
                    let over = *left == 0;
                    self.heard.resize(self.heard.len() + silent, 0);
                    if over {
                        self.queue.pop_front();
                    }
                }
                Some(Item::Chunk { samples, done }) => {
                    let at = self.heard.len();
                    if *done == 0
                        && let Some(end) = self.utterance_end
                    {
                        let gap = Gap {
                            at_ms: to_ms(end, self.rate_hz),
                            ms: to_ms(at - end, self.rate_hz),
                        };
                        if at > end && gap.ms <= LONGEST_GAP_MS {
                            if self.gaps.len() < MOST_KEPT {
                                self.gaps.push(gap);
                            } else {
                                self.gaps_left_off += 1;
                            }
                        }
                    }
                    let until = samples.len().min(*done + room);
                    self.heard.extend_from_slice(&samples[*done..until]);
                    let mut from = *done;
                    while from < until {
                        // By windows of the chunk, so that it does not matter when the clock is looked at.
                        let begin = from / window * window;
                        let end = samples.len().min(begin + window);
                        let to = end.min(until);
                        if is_loud(&samples[begin..end]) {
                            self.voice.hear(at + from - *done, to - from);
                        }
                        from = to;
                    }
                    self.played += until - *done;
                    self.waiting -= until - *done;
                    *done = until;
                    let over = until == samples.len();
                    self.utterance_end = Some(self.heard.len());
                    if over {
                        self.queue.pop_front();
                    }
                }
                None => self.heard.resize(self.heard.len() + room, 0),
            }
        }
    }

    /// Sound that arrived at the sample reached. Answers whether there was room for it; without, it is dropped.
    pub(crate) fn push_chunk(&mut self, samples: Vec<i16>) -> bool {
        if samples.is_empty() {
            return true;
        }
        let is_too_much = self.waiting + samples.len() > to_samples(MOST_WAITING_MS, self.rate_hz);
        if is_too_much || self.queue.len() >= MOST_WAITING_ITEMS {
            return false;
        }
        if self.queue.is_empty() && self.lead > 0 {
            self.queue.push_back(Item::Lead(self.lead));
        }
        self.waiting += samples.len();
        self.queue.push_back(Item::Chunk { samples, done: 0 });
        true
    }

    /// A mark behind everything that came so far. Answers whether there was room for it; without, it is dropped.
    pub(crate) fn push_mark(&mut self, name: String) -> bool {
        let has_room = self.queue.len() < MOST_WAITING_ITEMS;
        if has_room {
            self.queue.push_back(Item::Mark(name));
        }
        has_room
    }

    /// Drops what has not begun.
    pub(crate) fn clear(&mut self) -> Cleared {
        let mut cleared = Cleared::default();
        let mut kept = VecDeque::new();
        for item in self.queue.drain(..) {
            match item {
                Item::Lead(_) => {}
                Item::Chunk { samples, done } if done > 0 => {
                    cleared.left = samples.len() - done;
                    kept.push_back(Item::Chunk { samples, done });
                }
                Item::Chunk { samples, .. } => cleared.dropped += samples.len(),
                Item::Mark(name) => cleared.marks.push(name),
            }
        }
        self.queue = kept;
        self.waiting = cleared.left;
        self.utterance_end = None;
        cleared
    }

    /// The sample at which the next mark is reached, if one waits.
    pub(crate) fn next_mark_at(&self) -> Option<usize> {
        let mut at = self.heard.len();
        for item in &self.queue {
            match item {
                Item::Lead(left) => at += left,
                Item::Chunk { samples, done } => at += samples.len() - done,
                Item::Mark(_) => return Some(at),
            }
        }
        None
    }

    /// Samples that wait to be played.
    pub(crate) fn ahead(&self) -> usize {
        self.waiting
    }

    /// The sample reached.
    pub(crate) fn now(&self) -> usize {
        self.heard.len()
    }

    /// Samples of the bot's sound played so far, silent ones too.
    pub(crate) fn played(&self) -> usize {
        self.played
    }

    /// Samples of the bot's voice heard so far.
    pub(crate) fn voiced(&self) -> usize {
        self.voice.total
    }

    /// Samples of it heard without a silence longer than a breath, up to now.
    pub(crate) fn voice_in_a_row(&self) -> usize {
        if self.voice.is_broken(self.now()) {
            0
        } else {
            self.voice.in_a_row
        }
    }

    /// Samples since the bot's voice ended, or since the start.
    pub(crate) fn quiet_for(&self) -> usize {
        self.now() - self.voice.end.unwrap_or(0)
    }

    /// Counts a mark as played; also one whose sound was dropped.
    pub(crate) fn count_mark(&mut self, name: &str) {
        if self.marks_played.len() == MOST_KEPT {
            self.marks_played.pop_front();
            self.marks_forgotten += 1;
        }
        self.marks_played.push_back(name.to_owned());
    }

    /// Looks for a mark of this name among those played after the first `before`. Answers how many were played up to it,
    /// itself included.
    pub(crate) fn mark_played(&self, name: &str, before: usize) -> Option<usize> {
        let skipped = before.saturating_sub(self.marks_forgotten);
        let mut marks = self.marks_played.iter().enumerate().skip(skipped);
        let (at, _) = marks.find(|(_, mark)| *mark == name)?;
        Some(self.marks_forgotten + at + 1)
    }

    /// When the bot's voice was first heard.
    pub(crate) fn first_heard_ms(&self) -> Option<u64> {
        self.voice.first.map(|at| to_ms(at, self.rate_hz))
    }

    pub(crate) fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Gaps that came after as many as are kept.
    pub(crate) fn gaps_left_off(&self) -> u64 {
        self.gaps_left_off
    }

    /// Everything heard.
    pub(crate) fn into_heard(self) -> Vec<i16> {
        self.heard
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Did {
        Chunk(usize),
        Mark,
        Clear,
        Pass(usize),
    }

    fn anything() -> impl Strategy<Value = Did> {
        prop_oneof![
            3 => (1_usize..2_000).prop_map(Did::Chunk),
            2 => Just(Did::Mark),
            1 => Just(Did::Clear),
            4 => (0_usize..3_000).prop_map(Did::Pass),
        ]
    }

    proptest! {
        #[test]
        fn every_sample_is_heard_once_or_dropped_and_marks_keep_their_order(
            lead_ms in 0_u64..120,
            steps in prop::collection::vec(anything(), 1..60),
        ) {
            let mut playback = Playback::new(8_000, lead_ms);
            let (mut now, mut pushed, mut dropped, mut marks) = (0, Vec::new(), 0, 0);
            let mut seen: Vec<usize> = Vec::new();
            let mut chunk = 0_i16;
            let reached = |names: Vec<String>, seen: &mut Vec<usize>| {
                seen.extend(names.iter().map(|name| name.parse::<usize>().unwrap()));
            };
            for step in steps {
                match step {
                    Did::Chunk(length) => {
                        chunk += 1;
                        playback.push_chunk(vec![chunk; length]);
                        pushed.push(length);
                    }
                    Did::Mark => {
                        playback.push_mark(marks.to_string());
                        marks += 1;
                    }
                    Did::Clear => {
                        let cleared = playback.clear();
                        dropped += cleared.dropped;
                        reached(cleared.marks, &mut seen);
                    }
                    Did::Pass(samples) => {
                        // A mark is never early: what is before it is over when its time comes.
                        if let Some(at) = playback.next_mark_at() && at > now {
                            let early = playback.advance(at - 1);
                            let due = playback.advance(at);
                            prop_assert!(early.is_empty() && !due.is_empty());
                            now = now.max(at);
                            reached(due, &mut seen);
                        }
                        now += samples;
                        reached(playback.advance(now), &mut seen);
                    }
                }
            }
            reached(playback.advance(now), &mut seen);
            prop_assert!(seen.is_sorted(), "{seen:?}");
            let (played, ahead) = (playback.played(), playback.ahead());
            prop_assert_eq!(played + ahead + dropped, pushed.iter().sum::<usize>());
            let heard = playback.into_heard();
            prop_assert_eq!(heard.len(), now);
            let sounds: Vec<i16> = heard.into_iter().filter(|sample| *sample != 0).collect();
            prop_assert_eq!(sounds.len(), played);
            prop_assert!(sounds.is_sorted(), "chunks are heard in order");
        }
    }

    #[test]
    fn sound_is_heard_when_it_came_and_marks_when_all_before_them_was() {
        let mut playback = Playback::new(8_000, 0);
        assert!(playback.advance(800).is_empty());
        playback.push_chunk(vec![1_000; 1_600]);
        playback.push_mark("a".to_owned());
        playback.push_chunk(vec![2_000; 800]);
        playback.push_mark("b".to_owned());
        assert_eq!((playback.next_mark_at(), playback.ahead()), (Some(2_400), 2_400));
        assert!(playback.advance(2_399).is_empty());
        assert_eq!(playback.advance(2_400), ["a"]);
        assert_eq!(playback.advance(9_000), ["b"]);
        assert_eq!(playback.quiet_for(), 9_000 - 3_200);
        assert_eq!(playback.first_heard_ms(), Some(100));
        let heard = playback.into_heard();
        assert_eq!(heard.len(), 9_000);
        assert_eq!(
            (heard[799], heard[800], heard[2_399], heard[2_400], heard[3_200]),
            (0, 1_000, 1_000, 2_000, 0)
        );
    }

    #[test]
    fn a_mark_behind_nothing_is_reached_at_once() {
        let mut playback = Playback::new(8_000, 0);
        playback.push_mark("a".to_owned());
        assert_eq!(playback.next_mark_at(), Some(0));
        assert_eq!(playback.advance(0), ["a"]);
    }

    #[test]
    fn clear_drops_what_has_not_begun() {
        let mut playback = Playback::new(8_000, 0);
        playback.push_chunk(vec![1; 1_600]);
        playback.push_mark("a".to_owned());
        playback.push_chunk(vec![2; 1_600]);
        playback.push_mark("b".to_owned());
        playback.advance(100);
        let cleared = playback.clear();
        assert_eq!((cleared.dropped, cleared.left), (1_600, 1_500));
        assert_eq!(cleared.marks, ["a", "b"]);
        playback.push_chunk(vec![3; 800]);
        playback.advance(3_000);
        let heard = playback.into_heard();
        assert_eq!((heard[1_599], heard[1_600], heard[2_400]), (1, 3, 0));
    }

    #[test]
    fn a_short_silence_inside_an_utterance_is_a_gap() {
        let mut playback = Playback::new(8_000, 0);
        playback.push_chunk(vec![1; 800]);
        playback.advance(1_200);
        playback.push_chunk(vec![1; 800]);
        playback.advance(2_000);
        // Right on time: no gap.
        playback.push_chunk(vec![1; 800]);
        playback.advance(20_000);
        // A pause.
        playback.push_chunk(vec![1; 800]);
        playback.push_mark("end".to_owned());
        playback.advance(21_000);
        // A new utterance: the mark ended the last one.
        playback.push_chunk(vec![1; 800]);
        playback.advance(22_000);
        assert_eq!(playback.gaps(), [Gap { at_ms: 100, ms: 50 }]);
    }

    #[test]
    fn a_breath_does_not_break_the_voice_but_a_pause_does() {
        let mut playback = Playback::new(8_000, 0);
        let pieces = [(1_000, 800), (50, 1_280), (-1_000, 800), (-50, 1_760)];
        playback.push_chunk(
            pieces
                .iter()
                .flat_map(|(sample, length)| vec![*sample; *length])
                .collect(),
        );
        let mut look = |to| {
            playback.advance(to);
            (playback.voice_in_a_row(), playback.quiet_for(), playback.voiced())
        };
        assert_eq!(look(700), (700, 0, 700));
        assert_eq!(look(2_080), (800, 1_280, 800));
        assert_eq!(look(2_481), (1_201, 0, 1_201));
        assert_eq!(look(4_480), (1_600, 1_600, 1_600));
        assert_eq!(look(4_481), (0, 1_601, 1_600));
        assert_eq!(look(9_000), (0, 6_120, 1_600));
        playback.push_chunk(vec![1_000; 80]);
        playback.advance(9_080);
        assert_eq!((playback.voice_in_a_row(), playback.played()), (80, 4_720));
    }

    #[test]
    fn there_is_room_for_ten_minutes_and_for_so_many_items() {
        let mut playback = Playback::new(8_000, 100);
        assert!(!playback.push_chunk(vec![1; 601 * 8_000]));
        assert!(playback.push_chunk(vec![1; 599 * 8_000]));
        assert!(!playback.push_chunk(vec![1; 8_001]) && playback.push_chunk(vec![1; 8_000]));
        assert_eq!(playback.ahead(), 600 * 8_000);
        playback.clear();
        assert_eq!(playback.ahead(), 0);
        while playback.push_chunk(vec![1]) {
            assert!(playback.ahead() <= MOST_WAITING_ITEMS);
        }
        assert!(!playback.push_mark("a".to_owned()));
    }

    #[test]
    fn a_mark_is_found_although_older_ones_were_forgotten() {
        let mut playback = Playback::new(8_000, 0);
        for at in 0..MOST_KEPT + 10 {
            playback.push_mark(at.to_string());
            playback.advance(at);
        }
        assert_eq!(playback.mark_played("9", 0), None);
        assert_eq!(playback.mark_played("10", 0), Some(11));
        assert_eq!(playback.mark_played("10", 11), None);
        assert_eq!(playback.mark_played("10009", 11), Some(10_010));
    }

    #[test]
    fn the_lead_takes_up_lateness() {
        let mut playback = Playback::new(8_000, 50);
        playback.push_chunk(vec![1_000; 800]);
        // 40 ms late, which the 50 ms before the first chunk make up for.
        playback.advance(800 + 320);
        playback.push_chunk(vec![1_000; 800]);
        playback.advance(8_000);
        assert!(playback.gaps().is_empty());
        assert_eq!(playback.first_heard_ms(), Some(50));
        assert_eq!(playback.voiced(), 1_600);
    }
}
