//! One attempt of a claimed row: the request leaves at most once, and the row says what became of it.

use std::time::Duration;

use domain::{outbound_limit::Patience, retry};
use jiff::SignedDuration;
use table::{TableError, limits::Reserving};

use super::{
    Account, Exotel, Outbound,
    items::{Intent, Item},
    limiter::{Permission, Slot},
};

/// How often Exotel's answer is written before somebody else has to find it out again, and how long apart.
const WRITE_TRIES: u32 = 3;
const WRITE_PAUSE: Duration = Duration::from_millis(200);

/// What became of an attempt, as far as the row allows: what could not be written is in the log, and the sweep
/// finds it out again.
#[derive(Debug)]
pub(super) enum Attempted<R> {
    /// Exotel has it.
    Accepted {
        /// What it answered.
        report: R,
        /// Whether the row says so.
        recorded: bool,
    },
    /// Nobody was rung; the row waits for the next attempt.
    NotSent {
        /// Clear refusals so far.
        refusals: u32,
        /// How long it should wait.
        delay: SignedDuration,
    },
    /// Nobody was rung; the row is settled.
    GaveUp {
        /// What Exotel said last.
        reason: String,
    },
    /// Exotel refused it for good.
    Refused {
        /// What it said, numbers masked.
        reason: String,
    },
    /// It may have reached Exotel.
    Unconfirmed,
    /// Somebody else moved the row meanwhile: it says more than we know.
    Moved,
}

impl Outbound {
    /// Makes the attempt of a row that is in flight and ours alone.
    pub(super) async fn attempt<I: Item, E: Exotel>(
        &self,
        account: &Account<E>,
        row: &I,
        slot: Slot,
        refusals: u32,
    ) -> Attempted<I::Report> {
        if !slot.is_usable(self.world.now()) {
            // Claiming took longer than the slot is good for.
            match self
                .limiter
                .slot(I::CLASS, Reserving::ToSend, Patience::Inline)
                .await
            {
                Ok(Permission::Go(_)) => {}
                Ok(Permission::Later { .. } | Permission::Paused) | Err(_) => {
                    let delay = SignedDuration::from_secs(2);
                    return self.let_wait(row, "No slot was free.", refusals, delay).await;
                }
            }
        }
        let error = match row.request(account, self.world.now()).await {
            Ok(report) => return self.accept(row, report).await,
            Err(error) => error,
        };
        let locator = row.locator();
        if error.is_retryable() {
            let reason = said(&error);
            tracing::warn!(locator = %locator, attempt = row.attempt(), "not sent: {error}");
            if error.status() == Some(429)
                && let Err(error) = self.limiter.push_forward(I::CLASS).await
            {
                tracing::warn!("the slots of others were not pushed forward: {error}");
            }
            let refusals = refusals + 1;
            if retry::is_used_up(refusals) {
                return self.give_up(row, reason).await;
            }
            let delay = retry::delay_after(refusals, self.dice());
            self.let_wait(row, &reason, refusals, delay).await
        } else if error.may_have_reached_exotel() {
            tracing::warn!(locator = %locator, attempt = row.attempt(), "unconfirmed: {error}");
            self.settled(
                row,
                &[Intent::InFlight],
                Intent::Unconfirmed,
                None,
                Attempted::Unconfirmed,
            )
            .await
        } else {
            let reason = said(&error);
            tracing::warn!(locator = %locator, "refused for good: {error}");
            // The sweep may have thought nobody was at work on it.
            let from = [Intent::InFlight, Intent::Unconfirmed];
            self.settled(
                row,
                &from,
                Intent::Refused,
                Some(&reason),
                Attempted::Refused {
                    reason: reason.clone(),
                },
            )
            .await
        }
    }

    async fn accept<I: Item>(&self, row: &I, report: I::Report) -> Attempted<I::Report> {
        for tried in 1.. {
            match I::record(&self.table, row.locator(), &report).await {
                Ok(_) => {
                    let sid = I::sid(&report);
                    let sid = sid.as_ref().map(tracing::field::display);
                    tracing::info!(locator = %row.locator(), call.sid = sid, attempt = row.attempt(), "accepted by Exotel");
                    return Attempted::Accepted {
                        report,
                        recorded: true,
                    };
                }
                Err(error) if tried < WRITE_TRIES && error.is_retryable() => {
                    self.world.sleep(WRITE_PAUSE).await
                }
                Err(error) => {
                    let sid = I::sid(&report);
                    tracing::error!(locator = %row.locator(), call.sid = ?sid, "accepted by Exotel, and not written: {error}");
                    break;
                }
            }
        }
        Attempted::Accepted {
            report,
            recorded: false,
        }
    }

    async fn let_wait<I: Item>(
        &self,
        row: &I,
        reason: &str,
        refusals: u32,
        delay: SignedDuration,
    ) -> Attempted<I::Report> {
        match I::release(&self.table, row.locator(), row.attempt(), reason).await {
            Ok(true) => Attempted::NotSent { refusals, delay },
            // The sweep thought nobody was at work on it. It was not sent, and is not sent any more.
            Ok(false) => self.give_up(row, reason.to_owned()).await,
            // Perhaps it waits: the next attempt is made only if it does.
            Err(error) => {
                tracing::error!(locator = %row.locator(), "perhaps left in flight: {error}");
                Attempted::NotSent { refusals, delay }
            }
        }
    }

    async fn give_up<I: Item>(&self, row: &I, reason: String) -> Attempted<I::Report> {
        let from = [Intent::InFlight, Intent::Unconfirmed];
        self.settled(
            row,
            &from,
            Intent::GaveUp,
            Some(&reason),
            Attempted::GaveUp {
                reason: reason.clone(),
            },
        )
        .await
    }

    async fn settled<I: Item>(
        &self,
        row: &I,
        from: &[Intent],
        to: Intent,
        reason: Option<&str>,
        then: Attempted<I::Report>,
    ) -> Attempted<I::Report> {
        let mut settled: Result<bool, TableError> = Ok(false);
        for tried in 1..=WRITE_TRIES {
            settled = I::settle(&self.table, row.locator(), from, to, reason).await;
            match &settled {
                Err(error) if tried < WRITE_TRIES && error.is_retryable() => {
                    self.world.sleep(WRITE_PAUSE).await
                }
                _ => break,
            }
        }
        match settled {
            Ok(true) => then,
            Ok(false) => Attempted::Moved,
            Err(error) => {
                tracing::error!(locator = %row.locator(), "left in flight, should be {to:?}: {error}");
                then
            }
        }
    }
}

/// What Exotel said, or what happened, in words for people; numbers are masked already.
pub(super) fn said(error: &exotel::Error) -> String {
    match error.exotel_message() {
        Some(message) => message.to_owned(),
        None => error.to_string(),
    }
}
