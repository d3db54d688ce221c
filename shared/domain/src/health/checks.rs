//! What was said at one moment, kept as it was said: by whom, when, of which ExoPhones.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountStatus, Push, Said, SideSaid, Source, Status};
use crate::ids::ExoPhoneSid;

/// ExoPhones that one check holds by name; what a longer push says besides stands in its raw event.
pub const MOST_CHECKED: usize = 1_000;

/// One push, or one run of questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// When it came, or when the run began.
    pub at: Timestamp,
    /// Tells checks of the same moment apart: a push's hash, or `poll`.
    pub id: String,
    /// By which way.
    pub by: Source,
    /// When Exotel said it: a push's own time.
    pub said_at: Timestamp,
    /// What a push says of the account.
    pub account: Option<AccountStatus>,
    /// What is said of the ExoPhones that are not named, if anything.
    pub others: Option<Status>,
    /// What is said of those that are, by sid; at most [`MOST_CHECKED`].
    pub said: Vec<CheckedExoPhone>,
    /// How many more were named.
    pub left_out: u32,
}

/// What a check says of one ExoPhone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedExoPhone {
    /// Which.
    pub sid: ExoPhoneSid,
    /// What; empty when there was no answer.
    #[serde(flatten)]
    pub said: Said,
    /// Why there is no answer, in a few words.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl HealthCheck {
    /// A push that came at `at`; `hash` is its raw event's.
    pub fn of_push(push: &Push, at: Timestamp, hash: &str) -> Self {
        let named = push.said.iter().map(|(sid, said)| CheckedExoPhone {
            sid: sid.clone(),
            said: said.clone(),
            failure: None,
        });
        Self {
            id: hash.to_owned(),
            by: Source::Push,
            said_at: push.at.min(at),
            account: Some(push.account.clone()),
            others: push.others(),
            ..Self::of(at, named.collect())
        }
    }

    /// A run of questions that began at `at`, with what came of each.
    pub fn of_poll(at: Timestamp, said: Vec<CheckedExoPhone>) -> Self {
        Self::of(at, said)
    }

    fn of(at: Timestamp, mut said: Vec<CheckedExoPhone>) -> Self {
        let left_out = said.len().saturating_sub(MOST_CHECKED);
        said.sort_by(|a, b| a.sid.cmp(&b.sid));
        said.truncate(MOST_CHECKED);
        Self {
            at,
            id: Source::Poll.as_str().to_owned(),
            by: Source::Poll,
            said_at: at,
            account: None,
            others: None,
            said,
            left_out: u32::try_from(left_out).unwrap_or(u32::MAX),
        }
    }

    /// What it says of one ExoPhone; `None` when nothing, or when that was left out.
    pub fn about(&self, sid: &ExoPhoneSid) -> Option<CheckedExoPhone> {
        if let Ok(at) = self.said.binary_search_by(|checked| checked.sid.cmp(sid)) {
            return Some(self.said[at].clone());
        }
        let others = self.others.clone().filter(|_| self.left_out == 0)?;
        let side = Some(SideSaid::bare(others));
        Some(CheckedExoPhone {
            sid: sid.clone(),
            said: Said {
                incoming: side.clone(),
                outgoing: side,
            },
            failure: None,
        })
    }
}
