//! How long the caller still hears what was posted, and when the next chunk may follow.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// After so much of a chunk's length the next one follows: a little faster than it plays, as Exotel advises.
const PACE_PERCENT: i32 = 90;
/// The second chunk follows so much earlier, so that a slow post leaves no gap.
const HEAD_START: SignedDuration = SignedDuration::from_millis(300);
/// No chunk follows while so much is unplayed: what is ahead of the caller's ear is hard to take back.
const LONGEST_LEAD: SignedDuration = SignedDuration::from_secs(1);
/// When a mark is so late, it does not come.
const MARK_MAY_BE_LATE: SignedDuration = SignedDuration::from_secs(1);
/// A `clear` leaves the chunk that is being played to its end, and none is longer.
const LONGEST_CHUNK_MS: i64 = 1_500;
/// Our marks are this and a number.
const MARK: char = 'm';

/// The playback clock of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Playback {
    /// When what was posted will have been played, by its length.
    #[serde(rename = "u", with = "jiff::fmt::serde::timestamp::millisecond::required")]
    until: Timestamp,
    /// What was posted after the newest mark.
    #[serde(rename = "a")]
    after_mark_ms: u32,
    /// Marks that were sent.
    #[serde(rename = "s")]
    marks_sent: u32,
    /// The newest that came back: everything before it was played.
    #[serde(rename = "h")]
    marks_heard: u32,
    /// What follows the newest `clear` may be heard so much later than by the clock.
    #[serde(rename = "l", default, skip_serializing_if = "is_zero")]
    late_ms: u16,
}

fn is_zero(ms: &u16) -> bool {
    *ms == 0
}

impl Playback {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            until: now,
            after_mark_ms: 0,
            marks_sent: 0,
            marks_heard: 0,
            late_ms: 0,
        }
    }

    /// When what was posted will have been played.
    pub(super) fn until(&self) -> Timestamp {
        self.until
    }

    /// Whether the caller hears something. A mark that has not come back says so for a while longer than the clock.
    pub(super) fn is_playing(&self, now: Timestamp) -> bool {
        let late = MARK_MAY_BE_LATE + SignedDuration::from_millis(self.late_ms.into());
        now < self.until || (self.marks_heard < self.marks_sent && now < self.until + late)
    }

    /// Takes a chunk in that is about to be posted, and says when the next one may be.
    pub(super) fn post(&mut self, length_ms: u32, is_first: bool, now: Timestamp) -> Timestamp {
        let length = SignedDuration::from_millis(length_ms.into());
        self.after_mark_ms = self.after_mark_ms.saturating_add(length_ms);
        self.until = self.until.max(now) + length;
        let paced = now + length * PACE_PERCENT / 100;
        let paced = if is_first { paced - HEAD_START } else { paced };
        paced.max(self.until - LONGEST_LEAD).max(now)
    }

    /// The name of a mark that is about to be sent.
    pub(super) fn mark(&mut self) -> String {
        self.marks_sent += 1;
        self.after_mark_ms = 0;
        format!("{MARK}{}", self.marks_sent)
    }

    /// Whether a mark is one of ours.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.read(name).is_some()
    }

    /// Takes in that a mark came back; with the newest one, only what was posted after it is unplayed. Whether that is
    /// news.
    pub(super) fn hear_mark(&mut self, name: &str, now: Timestamp) -> bool {
        let Some(mark) = self.read(name).filter(|mark| *mark > self.marks_heard) else {
            return false;
        };
        self.marks_heard = mark;
        if mark == self.marks_sent {
            self.late_ms = 0;
            let rest = SignedDuration::from_millis(self.after_mark_ms.into());
            self.until = self.until.min(now + rest);
        }
        true
    }

    fn read(&self, name: &str) -> Option<u32> {
        let mark: u32 = name.strip_prefix(MARK)?.parse().ok()?;
        (1..=self.marks_sent).contains(&mark).then_some(mark)
    }

    /// Takes in that everything was cleared.
    pub(super) fn clear(&mut self, now: Timestamp) {
        let unplayed_ms = self.until.duration_since(now).as_millis();
        self.late_ms = unplayed_ms.clamp(0, LONGEST_CHUNK_MS.into()) as u16;
        self.until = now;
        self.after_mark_ms = 0;
        self.marks_heard = self.marks_sent;
    }
}

#[cfg(test)]
impl Playback {
    pub(super) fn largest(now: Timestamp) -> Self {
        Self {
            until: now,
            after_mark_ms: u32::MAX,
            marks_sent: u32::MAX,
            marks_heard: u32::MAX,
            late_ms: LONGEST_CHUNK_MS as u16,
        }
    }
}
