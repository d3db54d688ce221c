//! The keys a caller presses, as one input: collected in the order of their numbers until it is complete.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Dropped, Listen, MOST_DIGITS,
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

    /// Whether a key was there before, or has been overtaken by more keys than anybody presses at once.
    pub(super) fn judge(&self, number: u64) -> Option<Dropped> {
        if self.newest.contains(&number) || self.ends_with == Some(number) {
            return Some(Dropped::Duplicate);
        }
        let is_late = self.newest.len() >= REORDERED as usize && self.newest.first() > Some(&number);
        is_late.then_some(Dropped::Late)
    }

    /// The counter of messages began again: what comes now is behind these.
    pub(super) fn begin_again(&mut self) {
        self.newest.clear();
        self.ends_with = self.ends_with.map(|_| 0);
    }

    /// Takes a key in. One after the last is no part of the input. Without a `listen` the bot has yet to say what it takes:
    /// then nothing completes it before [`measure`](Self::measure).
    pub(super) fn press(&mut self, number: u64, digit: char, listen: Option<&Listen>, now: Timestamp) {
        if self.ends_with.is_some_and(|last| last < number) {
            return;
        }
        self.pressed_at = now;
        if listen.is_some_and(|listen| listen.terminator == Some(digit)) {
            self.ends_with = Some(number);
            return;
        }
        let later = self.newest.iter().filter(|&&other| other > number).count();
        self.digits.insert(self.digits.len().saturating_sub(later), digit);
        self.newest.insert(self.newest.len() - later, number);
        let most: usize = listen.map_or(MOST_DIGITS, |listen| listen.max_digits).into();
        if listen.is_some() && self.digits.len() >= most {
            self.ends_with = self.newest.last().copied();
        }
        if self.newest.len() > REORDERED as usize {
            self.newest.remove(0);
        }
        self.digits.truncate(most);
    }

    /// Looks at keys that were pressed in advance as the bot takes them. When it takes more, the caller has as long for
    /// the next one as if the last had been pressed now.
    pub(super) fn measure(&mut self, listen: &Listen, now: Timestamp) {
        if self.cut(listen).is_some() {
            self.ends_with = Some(self.newest.last().copied().unwrap_or_default());
        } else {
            self.pressed_at = now;
        }
    }

    /// Where an input ends: how many keys it has, and how many it takes, a terminator among them.
    fn cut(&self, listen: &Listen) -> Option<(usize, usize)> {
        let most = usize::from(listen.max_digits);
        let terminator = listen.terminator.and_then(|key| self.digits.find(key));
        match terminator {
            Some(at) if at <= most => Some((at, at + 1)),
            _ if self.digits.len() >= most => Some((most, most)),
            _ => None,
        }
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

    /// The input in order, without the terminator; the number of its last key, as far as that is known; and what was
    /// pressed in advance of the next one.
    pub(super) fn take(mut self, listen: &Listen) -> (String, u64, Option<Self>) {
        let (keys, taken) = self.cut(listen).unwrap_or((self.digits.len(), self.digits.len()));
        let rest = self.digits.split_off(taken);
        self.digits.truncate(keys);
        let newest_taken = self.newest.len().checked_sub(rest.len() + 1);
        let last = newest_taken.map_or(0, |index| self.newest[index]);
        if rest.is_empty() {
            return (self.digits, last.max(self.ends_with.unwrap_or(0)), None);
        }
        let next = Self {
            digits: rest,
            ends_with: None,
            ..self.clone()
        };
        (self.digits, last, Some(next))
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
            digits: "8".repeat(MOST_DIGITS.into()),
            newest: vec![number; REORDERED as usize],
            pressed_at: now,
            ends_with: Some(number),
        }
    }
}
