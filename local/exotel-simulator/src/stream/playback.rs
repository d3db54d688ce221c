//! What the person on the line hears: the bot's sound, played in real time on a clock of its own. No I/O; the only clock
//! is the sample that is to be reached.

use std::collections::VecDeque;

use serde::Serialize;

use super::sound::{to_ms, to_samples};

/// Silence inside what the bot says that is longer than this is a pause, not a gap.
const LONGEST_GAP_MS: u64 = 1_000;

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

/// The player.
#[derive(Debug)]
pub(crate) struct Playback {
    rate_hz: u32,
    /// Samples of silence before sound that comes when there is none.
    lead: usize,
    queue: VecDeque<Item>,
    /// Everything heard, from the stream's start on: its length is the time.
    heard: Vec<i16>,
    marks_played: Vec<String>,
    voiced: usize,
    in_a_row: usize,
    /// Where the bot's sound ended.
    voice_end: Option<usize>,
    /// Where it ended, if what comes next may be the same utterance.
    utterance_end: Option<usize>,
    first_heard: Option<usize>,
    gaps: Vec<Gap>,
}

impl Playback {
    pub(crate) fn new(rate_hz: u32, lead_ms: u64) -> Self {
        Self {
            rate_hz,
            lead: to_samples(lead_ms, rate_hz),
            queue: VecDeque::new(),
            heard: Vec::new(),
            marks_played: Vec::new(),
            voiced: 0,
            in_a_row: 0,
            voice_end: None,
            utterance_end: None,
            first_heard: None,
            gaps: Vec::new(),
        }
    }

    /// Plays up to, but not, the sample `to`. Answers the marks reached, in order.
    pub(crate) fn advance(&mut self, to: usize) -> Vec<String> {
        let mut reached = Vec::new();
        loop {
            let room = to.saturating_sub(self.heard.len());
            match self.queue.front_mut() {
                Some(Item::Mark(_)) => {
                    if let Some(Item::Mark(name)) = self.queue.pop_front() {
                        self.marks_played.push(name.clone());
                        reached.push(name);
                        self.utterance_end = None;
                    }
                }
                _ if room == 0 => return reached,
                Some(Item::Lead(left)) => {
                    let silent = room.min(*left);
                    *left -= silent;
                    let over = *left == 0;
                    self.hear_nothing(silent);
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
                            self.gaps.push(gap);
                        }
                    }
                    let until = samples.len().min(*done + room);
                    self.heard.extend_from_slice(&samples[*done..until]);
                    self.voiced += until - *done;
                    self.in_a_row += until - *done;
                    *done = until;
                    let over = until == samples.len();
                    self.first_heard.get_or_insert(at);
                    self.voice_end = Some(self.heard.len());
                    self.utterance_end = self.voice_end;
                    if over {
                        self.queue.pop_front();
                    }
                }
                None => self.hear_nothing(room),
            }
        }
    }

    fn hear_nothing(&mut self, samples: usize) {
        self.heard.resize(self.heard.len() + samples, 0);
        self.in_a_row = 0;
    }

    /// Sound that arrived at the sample reached.
    pub(crate) fn push_chunk(&mut self, samples: Vec<i16>) {
        if samples.is_empty() {
            return;
        }
        if self.queue.is_empty() && self.lead > 0 {
            self.queue.push_back(Item::Lead(self.lead));
        }
        self.queue.push_back(Item::Chunk { samples, done: 0 });
    }

    /// A mark behind everything that came so far.
    pub(crate) fn push_mark(&mut self, name: String) {
        self.queue.push_back(Item::Mark(name));
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
        let samples = |item: &Item| match item {
            Item::Chunk { samples, done } => samples.len() - done,
            Item::Lead(_) | Item::Mark(_) => 0,
        };
        self.queue.iter().map(samples).sum()
    }

    /// Samples of the bot's sound heard so far.
    pub(crate) fn voiced(&self) -> usize {
        self.voiced
    }

    /// Samples of it heard without a break, up to now.
    pub(crate) fn voice_in_a_row(&self) -> usize {
        self.in_a_row
    }

    /// Samples since the bot's sound ended, or since the start.
    pub(crate) fn quiet_for(&self) -> usize {
        self.heard.len() - self.voice_end.unwrap_or(0)
    }

    /// Counts a mark whose sound was dropped as played.
    pub(crate) fn count_mark(&mut self, name: &str) {
        self.marks_played.push(name.to_owned());
    }

    pub(crate) fn marks_played(&self) -> &[String] {
        &self.marks_played
    }

    /// When the bot was first heard.
    pub(crate) fn first_heard_ms(&self) -> Option<u64> {
        self.first_heard.map(|at| to_ms(at, self.rate_hz))
    }

    pub(crate) fn gaps(&self) -> &[Gap] {
        &self.gaps
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
            let (voiced, ahead) = (playback.voiced(), playback.ahead());
            prop_assert_eq!(voiced + ahead + dropped, pushed.iter().sum::<usize>());
            let heard = playback.into_heard();
            prop_assert_eq!(heard.len(), now);
            let sounds: Vec<i16> = heard.into_iter().filter(|sample| *sample != 0).collect();
            prop_assert_eq!(sounds.len(), voiced);
            prop_assert!(sounds.is_sorted(), "chunks are heard in order");
        }
    }

    #[test]
    fn sound_is_heard_when_it_came_and_marks_when_all_before_them_was() {
        let mut playback = Playback::new(8_000, 0);
        assert!(playback.advance(800).is_empty());
        playback.push_chunk(vec![1; 1_600]);
        playback.push_mark("a".to_owned());
        playback.push_chunk(vec![2; 800]);
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
            (0, 1, 1, 2, 0)
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
    fn the_lead_takes_up_lateness() {
        let mut playback = Playback::new(8_000, 50);
        playback.push_chunk(vec![1; 800]);
        // 40 ms late, which the 50 ms before the first chunk make up for.
        playback.advance(800 + 320);
        playback.push_chunk(vec![1; 800]);
        playback.advance(8_000);
        assert!(playback.gaps().is_empty());
        assert_eq!(playback.first_heard_ms(), Some(50));
        assert_eq!(playback.voiced(), 1_600);
    }
}
