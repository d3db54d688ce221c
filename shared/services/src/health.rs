//! Health of the account's ExoPhones: what Exotel pushes and answers goes into one state, and whoever has to know is
//! told once.
//!
//! [`Monitor::receive_push`] takes a HeartBeat in, [`Monitor::poll`] asks about one ExoPhone after the other. Both
//! change the state, keep what was said as a check, and raise or recover alerts. What is due is read from the state
//! and noted in it afterwards, so an alert that could not be written is due again with the next word.

mod checks;
#[cfg(feature = "outbound")]
mod poll;
mod push;

use std::hash::{BuildHasher, RandomState};

use domain::health::Health;
use jiff::Timestamp;
use table::{Table, TableError};

use crate::alerts::Alerts;

#[cfg(feature = "outbound")]
pub use self::poll::{Polled, Polling, Stopped};
pub use self::{
    checks::{CheckView, ChecksOf, ExoPhoneView, HealthView, Period, SideView, checks_of, exophones},
    push::{HEARTBEAT_OWNER, LONGEST_HEARTBEAT, cut, read_push},
};

/// Alerts that one push raises or recovers, at most: Exotel waits for the answer. The others follow with the next
/// word, within a minute.
const ALERTS_OF_A_PUSH: usize = 10;

/// Takes in what is said of the ExoPhones.
#[derive(Debug)]
pub struct Monitor {
    table: Table,
    alerts: Alerts,
}

impl Monitor {
    /// Over this table.
    pub fn new(table: Table) -> Self {
        let alerts = Alerts::new(table.clone(), different);
        Self { table, alerts }
    }

    /// Takes a push in that came at `received_at`; `hash` is its raw event's. Taking it in again, or late, changes
    /// nothing that is newer.
    ///
    /// # Errors
    /// [`TableError`]; the same push should be taken in again.
    pub async fn receive_push(
        &self,
        push: &domain::health::Push,
        received_at: Timestamp,
        hash: &str,
    ) -> Result<(), TableError> {
        let check = domain::health::HealthCheck::of_push(push, received_at, hash);
        let (kept, changed) = tokio::join!(
            self.table.put_health_check(&check),
            self.change(received_at, |health| health.hear_push(push, received_at))
        );
        kept?;
        let health = changed?;
        tracing::info!(
            event.hash = hash,
            exophones.status = push.account.as_str(),
            exophones.named = push.said.len(),
            exophones.affected = health.affected(),
            "took in a push of the ExoPhones' health"
        );
        self.tell(health, received_at, ALERTS_OF_A_PUSH).await?;
        Ok(())
    }

    /// Changes the state and lets it age.
    async fn change(&self, now: Timestamp, change: impl Fn(&mut Health)) -> Result<Health, TableError> {
        let aging = |health: &mut Health| {
            change(health);
            health.age(now);
        };
        self.table.change_exophone_health(aging).await
    }

    /// Raises and recovers what is due, at most so many. Gives the state as it then is.
    async fn tell(&self, mut health: Health, now: Timestamp, most: usize) -> Result<Health, TableError> {
        let mut left = most;
        loop {
            let mut due = health.due(now);
            due.truncate(left);
            if due.is_empty() {
                return Ok(health);
            }
            left -= due.len();
            for due in &due {
                self.alerts
                    .observe(due.rule(), &due.alert_subject(), due.observation(), now)
                    .await?;
            }
            // Meanwhile somebody may have heard the contrary: then that is due now.
            health = self
                .change(now, |health| due.iter().for_each(|due| health.alerted(due, now)))
                .await?;
        }
    }
}

/// 128 bits that differ from all others, for ids of alerts: nobody has to be kept from guessing them.
fn different() -> u128 {
    let half = || u128::from(RandomState::new().hash_one(0));
    half() << 64 | half()
}
