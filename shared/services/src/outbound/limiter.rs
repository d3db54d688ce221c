//! A slot for every request that leaves.

use std::sync::{Mutex, PoisonError};

use domain::outbound_limit::{Attempt, Class, Next, PUSHED_BY, Patience, interval, is_usable, next};
use jiff::{SignedDuration, Timestamp};
use table::{
    Table, TableError,
    limits::{Reserved, Reserving},
};

use super::clock::{SharedWorld, sleep_until, spread};

/// How often a reservation is tried before its requester comes back later. Each failure means that somebody else took
/// a slot or waited too long; more in a row than this is a crowd.
const TRIES: usize = 6;

/// Whoever finds no slot comes back some time after one is there, so that those who came together do not come back
/// together: with clicks soon, with what nobody waits for at leisure.
const CLICK_SPREAD: SignedDuration = SignedDuration::from_secs(5);
const BULK_SPREAD: SignedDuration = SignedDuration::from_secs(30);

/// Whether a request may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Now, at this slot.
    Go(Slot),
    /// Not within the requester's patience.
    Later {
        /// When to ask again.
        at: Timestamp,
    },
    /// Outbound is stopped.
    Paused,
}

/// A slot whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    at: Timestamp,
}

impl Slot {
    /// Whether a request sent at `now` still counts where the slot does.
    pub fn is_usable(&self, now: Timestamp) -> bool {
        is_usable(self.at, now)
    }
}

/// Gives out slots. One per process: it remembers how far ahead the slots are taken.
pub struct Limiter {
    table: Table,
    world: SharedWorld,
    voice: Lane,
    sms: Lane,
}

struct Lane {
    interval: SignedDuration,
    seen: Mutex<Seen>,
}

/// What earlier reservations taught: each saves a write that would surely, or likely, fail.
#[derive(Default, Clone, Copy)]
struct Seen {
    /// The latest `tat`. It never goes back, so it is a lower bound of the true one.
    tat: Option<Timestamp>,
    /// What succeeded last: whoever found the lane busy will most likely find it so again.
    succeeded: Option<Attempt>,
}

impl Lane {
    fn new(per_minute: u32) -> Self {
        Self {
            interval: interval(per_minute),
            seen: Mutex::default(),
        }
    }

    /// What to try first.
    fn first(&self, now: Timestamp, patience: Patience) -> Next {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match next(seen.tat, now, patience) {
            Next::Try(Attempt::Idle) => Next::Try(seen.succeeded.unwrap_or(patience.first_try())),
            known => known,
        }
    }

    fn see(&self, tat: Option<Timestamp>, succeeded: Option<Attempt>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.tat = seen.tat.max(tat);
        seen.succeeded = succeeded.or(seen.succeeded);
    }
}

impl Limiter {
    /// With budgets of so many requests in any 60 s.
    pub fn new(table: Table, world: SharedWorld, voice_per_minute: u32, sms_per_minute: u32) -> Self {
        Self {
            table,
            world,
            voice: Lane::new(voice_per_minute),
            sms: Lane::new(sms_per_minute),
        }
    }

    fn lane(&self, class: Class) -> &Lane {
        match class {
            Class::Voice => &self.voice,
            Class::Sms => &self.sms,
        }
    }

    /// Reserves a slot and waits for it, at most as long as `patience` says.
    ///
    /// # Errors
    /// When the table does not answer: then nothing may leave.
    pub async fn slot(
        &self,
        class: Class,
        reserving: Reserving,
        patience: Patience,
    ) -> Result<Permission, TableError> {
        let give_up = self.world.now() + patience.horizon();
        loop {
            match self.reserve(class, reserving, patience).await? {
                Permission::Go(slot) => {
                    sleep_until(&*self.world, slot.at).await;
                    let now = self.world.now();
                    if slot.is_usable(now) {
                        return Ok(Permission::Go(slot));
                    }
                    // Woken too late: the slot is lost.
                    if now > give_up {
                        return Ok(Permission::Later { at: now });
                    }
                }
                refused => return Ok(refused),
            }
        }
    }

    async fn reserve(
        &self,
        class: Class,
        reserving: Reserving,
        patience: Patience,
    ) -> Result<Permission, TableError> {
        let lane = self.lane(class);
        let mut attempt = match lane.first(self.world.now(), patience) {
            Next::Try(attempt) => attempt,
            Next::ComeBack { at } => return Ok(self.later(at, patience)),
        };
        for _ in 0..TRIES {
            let now = self.world.now();
            let reserved = self
                .table
                .reserve(class, reserving, attempt, now, lane.interval, patience.horizon())
                .await?;
            let tat = match reserved {
                Reserved::Slot { at } => {
                    lane.see(Some(at + lane.interval), Some(attempt));
                    return Ok(Permission::Go(Slot { at }));
                }
                Reserved::Paused => return Ok(Permission::Paused),
                Reserved::NotNow { tat } => tat,
            };
            lane.see(tat, None);
            attempt = match next(tat, self.world.now(), patience) {
                Next::Try(attempt) => attempt,
                Next::ComeBack { at } => return Ok(self.later(at, patience)),
            };
        }
        Ok(self.later(self.world.now(), patience))
    }

    fn later(&self, at: Timestamp, patience: Patience) -> Permission {
        let most = match patience {
            Patience::Inline | Patience::Queued => CLICK_SPREAD,
            Patience::Bulk => BULK_SPREAD,
        };
        Permission::Later {
            at: at + spread(&*self.world, most),
        }
    }

    /// Exotel said "too many" although we kept within the budget: everybody's next slot moves.
    ///
    /// # Errors
    /// When the table does not answer.
    pub async fn push_forward(&self, class: Class) -> Result<(), TableError> {
        self.table.push_forward(class, self.world.now() + PUSHED_BY).await
    }
}
