//! Which ExoPhone a call shows: the configured one, or a healthy alternate while that one cannot call.

use std::sync::{Arc, Mutex, PoisonError};

use domain::{
    health::{Choice, Health},
    phone::{Country, PhoneNumber},
};
use jiff::{SignedDuration, Timestamp};

use super::Outbound;

/// How long a process goes by what it read of the ExoPhones' health.
const KNOWN_FOR: SignedDuration = SignedDuration::from_secs(15);

/// What a process knows of the ExoPhones that calls may show.
#[derive(Debug, Default)]
pub(super) struct CallerIds {
    /// What the team wants to be tried first, in this order.
    alternates: Vec<PhoneNumber>,
    known: Mutex<Option<(Timestamp, Arc<Health>)>>,
}

impl Outbound {
    /// With ExoPhones that are tried first, in this order, while the caller id cannot call: in any usual form. What is
    /// no number of the country's is left out, and said in the log.
    pub fn with_alternate_caller_ids<'a>(
        mut self,
        alternates: impl IntoIterator<Item = &'a str>,
        country: Country,
    ) -> Self {
        for text in alternates {
            match PhoneNumber::parse(text, country) {
                Ok(number) => self.caller_ids.alternates.push(number),
                Err(error) => tracing::error!("EXOTEL_ALTERNATE_CALLER_IDS: {error}"),
            }
        }
        self
    }

    /// The caller id for a call now: one read at most, none when there was one a moment ago. Never fails: what cannot
    /// be read speaks against nobody.
    pub(super) async fn caller_id(&self, configured: &PhoneNumber) -> PhoneNumber {
        let Some(health) = self.health().await else {
            return configured.clone();
        };
        let (chosen, choice) = health.caller_id(configured, &self.caller_ids.alternates, self.rules.country);
        match choice {
            Choice::Configured => {}
            Choice::NoneBetter => {
                tracing::warn!(caller_id = ?configured, "the caller id is affected, and no other ExoPhone is known to be better")
            }
            Choice::Preferred | Choice::Proposed | Choice::Another => {
                tracing::warn!(caller_id = ?configured, instead = ?chosen, "the caller id is affected: {choice:?}")
            }
        }
        chosen
    }

    async fn health(&self) -> Option<Arc<Health>> {
        let now = self.world.now();
        if let Some((read_at, health)) = &*self.known()
            && (*read_at..*read_at + KNOWN_FOR).contains(&now)
        {
            return Some(Arc::clone(health));
        }
        let read = self.table.exophone_health().await;
        let health = read
            .inspect_err(|error| tracing::warn!("the health of the ExoPhones was not read: {error}"))
            .ok()?;
        let health = Arc::new(health.aged(now));
        *self.known() = Some((now, Arc::clone(&health)));
        Some(health)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<(Timestamp, Arc<Health>)>> {
        // Nobody panics while holding it, and what stands there is whole in any case.
        self.caller_ids
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
