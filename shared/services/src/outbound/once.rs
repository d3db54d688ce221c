//! A request that is repeated has the first one's answer.

use std::time::Duration;

use domain::idempotency::{Answer, Record, Scope};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use table::{TableError, idempotency::Begun};

use super::Outbound;

/// A second click waits so long for the first one's answer before it hears that the first is still at work.
const WAITS_FOR_ANSWER: SignedDuration = SignedDuration::from_secs(8);
const LOOKS_EVERY: Duration = Duration::from_millis(400);

/// What becomes of a request.
#[derive(Debug)]
pub enum Request {
    /// Do it, for this id, and tell [`Outbound::finish`] or [`Outbound::abandon`] how it ended.
    Do {
        /// The record that it runs under; `subject` is the id.
        record: Record,
        /// Whether somebody may have begun it before and died.
        resumed: bool,
    },
    /// This was answered the first time.
    Answered(Answer),
    /// The first one is still at work.
    Running {
        /// Seconds until it is worth asking again.
        retry_after_secs: u32,
    },
    /// The key was used for something else.
    Mismatch,
}

impl Outbound {
    /// Begins a request, or says what became of the first of its kind. `subject` is our new id of what it makes,
    /// `parts` is everything that makes it what it is (the lead, the text, …). With `wait`, the answer of one that is
    /// still at work is waited for, for some seconds.
    ///
    /// # Errors
    /// When the table fails: then nothing may be done.
    pub async fn begin(
        &self,
        scope: &Scope,
        subject: String,
        parts: &[&str],
        wait: bool,
    ) -> Result<Request, TableError> {
        let fingerprint = fingerprint(parts);
        let give_up = self.world.now() + WAITS_FOR_ANSWER;
        loop {
            let now = self.world.now();
            let begun = self
                .table
                .begin(scope, subject.clone(), fingerprint.clone(), now)
                .await?;
            return Ok(match begun {
                Begun::First(record) => Request::Do {
                    record,
                    resumed: false,
                },
                Begun::TakenOver(record) => Request::Do {
                    record,
                    resumed: true,
                },
                Begun::Answered(answer) => Request::Answered(answer),
                Begun::Mismatch => Request::Mismatch,
                Begun::Running { .. } if wait && now < give_up => {
                    self.world.sleep(LOOKS_EVERY).await;
                    continue;
                }
                Begun::Running { until } => Request::Running {
                    retry_after_secs: seconds(now, until),
                },
            });
        }
    }

    /// Keeps the answer for whoever repeats the request. If the table fails, they go on with the record's id.
    pub async fn finish(&self, scope: &Scope, record: &Record, answer: &Answer) {
        if let Err(error) = self.table.finish(scope, record, answer).await {
            tracing::warn!(
                subject = record.subject,
                "the answer was not kept for repetitions: {error}"
            );
        }
    }

    /// Forgets a request that made nothing. One that was `resumed` is remembered: what the first one made may be there all
    /// the same, when it could not be read, and a repetition must not make another.
    pub async fn abandon(&self, scope: &Scope, record: &Record, resumed: bool) {
        if resumed {
            return;
        }
        if let Err(error) = self.table.abandon(scope, record).await {
            tracing::warn!(subject = record.subject, "a repetition has to wait: {error}");
        }
    }

    /// Time, as this function knows it.
    pub fn now(&self) -> Timestamp {
        self.world.now()
    }

    /// Randomness, as this function knows it.
    pub fn random(&self) -> u128 {
        self.world.random()
    }
}

/// Hash of the parts, each with its length, so that no two lists of parts run together.
pub fn fingerprint(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Whole seconds until then, 1 to 5: most requests end long before their function would count as dead.
fn seconds(now: Timestamp, until: Timestamp) -> u32 {
    u32::try_from(until.duration_since(now).as_secs().clamp(1, 5)).expect("1 to 5")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_tells_parts_apart() {
        assert_ne!(fingerprint(&["a", "bc"]), fingerprint(&["ab", "c"]));
        assert_ne!(fingerprint(&["a"]), fingerprint(&["a", ""]));
        assert_eq!(fingerprint(&["a", "b"]), fingerprint(&["a", "b"]));
    }
}
