//! Doing a request once, however often it is sent.
//!
//! A record per user, route and key holds the id of what the request makes. Whoever repeats the request after its
//! function died goes on with that id, and the row of that id exists once at most: so a repeated request never rings
//! anybody twice.

use std::{fmt, str::FromStr};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    DomainError,
    ids::{LeadId, UserId},
};

/// How long an `Idempotency-Key` is remembered.
pub const REMEMBERED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// Without a key, a second click on the same lead by the same user within this time is the same click.
pub const SAME_CLICK_WITHIN: SignedDuration = SignedDuration::from_secs(5);

/// How long a request may take before its function counts as dead: as long as a function that a person waits for may
/// run (API Gateway gives up after 30 s).
pub const RUNS_FOR: SignedDuration = SignedDuration::from_secs(30);

/// The value of an `Idempotency-Key` header: 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl FromStr for IdempotencyKey {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        let text = text.trim();
        if (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(DomainError::Id {
                kind: "Idempotency-Key",
                expected: "1 to 255 visible ASCII characters without spaces",
            })
        }
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a record is about: whose request, on which route, and what makes two requests the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Who asks.
    pub user: UserId,
    /// The route's word, for instance `exotel-call`; both route families have the same.
    pub route: &'static str,
    /// What makes two requests the same.
    pub sameness: Sameness,
}

/// What makes two requests the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Sameness {
    /// The caller says so.
    Key(IdempotencyKey),
    /// Nobody says so, but it is the same lead, a moment later.
    Moment {
        /// The lead.
        lead: LeadId,
        /// What else must be the same, as a short hash; empty when nothing must.
        content: String,
    },
}

impl Scope {
    /// How long the record answers for the request.
    pub fn remembered_for(&self) -> SignedDuration {
        match self.sameness {
            Sameness::Key(_) => REMEMBERED_FOR,
            Sameness::Moment { .. } => SAME_CLICK_WITHIN,
        }
    }
}

/// A stored answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body as it was sent.
    pub body: String,
}

/// A request that is, or was, being done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Our id of what the request makes, as text.
    pub subject: String,
    /// Hash of everything that makes the request what it is.
    pub fingerprint: String,
    /// Until when its function may be at work.
    pub running_until: Timestamp,
    /// Until when the record answers.
    pub expires_at: Timestamp,
    /// What was answered, once it was.
    pub answer: Option<Answer>,
}

impl Record {
    /// The record of a request that starts now.
    pub fn start(scope: &Scope, subject: String, fingerprint: String, now: Timestamp) -> Self {
        Self {
            subject,
            fingerprint,
            running_until: now + RUNS_FOR,
            expires_at: now + scope.remembered_for(),
            answer: None,
        }
    }

    /// What a repetition with this fingerprint gets at `now`, while the record answers.
    pub fn repeat(&self, fingerprint: &str, now: Timestamp) -> Repeat {
        match &self.answer {
            _ if self.fingerprint != fingerprint => Repeat::Mismatch,
            Some(answer) => Repeat::Answer(answer.clone()),
            None if now < self.running_until => Repeat::Running {
                until: self.running_until,
            },
            None => Repeat::TakeOver,
        }
    }
}

/// What a repetition of a request gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repeat {
    /// The stored answer.
    Answer(Answer),
    /// The first one is still being done.
    Running {
        /// At the latest until then.
        until: Timestamp,
    },
    /// The key was used for another request.
    Mismatch,
    /// The first one's function died: go on with its id.
    TakeOver,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(sameness: Sameness) -> Scope {
        Scope {
            user: "user-1".parse().unwrap(),
            route: "exotel-call",
            sameness,
        }
    }

    #[test]
    fn a_key_is_visible_ascii() {
        for good in ["a", "0b6f1c5e-8f0c-4f2b-9d6a-1f1e7a9d1c11", &"x".repeat(255)] {
            assert!(good.parse::<IdempotencyKey>().is_ok(), "{good}");
        }
        for bad in ["", " ", "a b", "ü", &"x".repeat(256), "a\u{7f}"] {
            assert!(bad.parse::<IdempotencyKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_repetition_gets_what_the_record_says() {
        let now: Timestamp = "2026-11-20T08:30:00Z".parse().unwrap();
        let keyed = scope(Sameness::Key("k".parse().unwrap()));
        let mut record = Record::start(&keyed, "call_1".to_owned(), "f".to_owned(), now);
        assert_eq!(record.expires_at, now + SignedDuration::from_hours(24));
        assert_eq!(record.repeat("g", now), Repeat::Mismatch);
        assert_eq!(
            record.repeat("f", now),
            Repeat::Running {
                until: now + RUNS_FOR
            }
        );
        assert_eq!(record.repeat("f", now + RUNS_FOR), Repeat::TakeOver);
        let answer = Answer {
            status: 201,
            body: "{}".to_owned(),
        };
        record.answer = Some(answer.clone());
        assert_eq!(record.repeat("f", now + RUNS_FOR), Repeat::Answer(answer));
        assert_eq!(record.repeat("g", now + RUNS_FOR), Repeat::Mismatch);
    }

    #[test]
    fn without_a_key_the_same_click_lasts_five_seconds() {
        let now: Timestamp = "2026-11-20T08:30:00Z".parse().unwrap();
        let keyless = scope(Sameness::Moment {
            lead: "lead-1".parse().unwrap(),
            content: String::new(),
        });
        let record = Record::start(&keyless, "call_1".to_owned(), "f".to_owned(), now);
        assert_eq!(record.expires_at, now + SignedDuration::from_secs(5));
    }
}
