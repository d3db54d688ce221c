//! The keys a caller presses, as one input: collected in the order of their numbers until it is complete.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Listen,
    utterance::{LONGEST_WAIT_MS, REORDERED},
};

/// Keys that were pressed and are no input yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Keys {
    #[serde(rename = "d")]
    digits: String,
    /// The numbers of the newest, so that one that was overtaken finds its place.
    #[serde(rename = "n")]
    newest: Vec<u64>,
    #[serde(rename = "p", with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pressed_at: Timestamp,
    /// The number of the key that completes it: the terminator, or the last of as many as the bot takes.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    ends_with: Option<u64>,
}

impl Keys {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            digits: String::new(),
            newest: Vec::new(),
            pressed_at: now,
            ends_with: None,
        }
    }

    /// Takes a key in. One after the last is no part of the input.
    pub(super) fn press(&mut self, number: u64, digit: char, listen: &Listen, now: Timestamp) {
        if self.ends_with.is_some_and(|last| last < number) {
            return;
        }
        self.pressed_at = now;
        if listen.terminator == Some(digit) {
            self.ends_with = Some(number);
            return;
        }
        let later = self.newest.iter().filter(|&&other| other > number).count();
        self.digits.insert(self.digits.len().saturating_sub(later), digit);
        self.newest.insert(self.newest.len() - later, number);
        if self.digits.len() >= usize::from(listen.max_digits) {
            self.ends_with = self.newest.last().copied();
        }
        if self.newest.len() > REORDERED as usize {
            self.newest.remove(0);
        }
        self.digits.truncate(usize::from(listen.max_digits));
    }

    /// Whether it is complete, when the newest message has `number`. One key is; of several, one may have been overtaken
    /// by the last, which is waited for as frames are.
    pub(super) fn are_complete(&self, number: Option<u64>, listen: &Listen, now: Timestamp) -> bool {
        let quiet = now.duration_since(self.pressed_at);
        let Some(last) = self.ends_with else {
            return quiet >= SignedDuration::from_millis(listen.digit_timeout_ms.into());
        };
        listen.max_digits <= 1
            || number.is_some_and(|number| number >= last.saturating_add(REORDERED))
            || quiet >= SignedDuration::from_millis(LONGEST_WAIT_MS.into())
    }

    /// The keys in order, without the terminator.
    pub(super) fn into_digits(self) -> String {
        self.digits
    }
}

/// Whether a character is a key of a telephone.
pub(super) fn is_key(digit: char) -> bool {
    matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D')
}

#[cfg(test)]
impl Keys {
    pub(super) fn largest(number: u64, now: Timestamp) -> Self {
        Self {
            digits: "8".repeat(super::MOST_DIGITS.into()),
            newest: vec![number; REORDERED as usize],
            pressed_at: now,
            ends_with: Some(number),
        }
    }
}
