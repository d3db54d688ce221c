//! History from before: an operator asks for it, and the poller reads it in windows beside its own work.

use domain::{
    access::Caller,
    reconcile::{OLDEST, Position, Tally},
};
use jiff::Timestamp;
use serde::Serialize;
use table::{Table, figures::Held, reconcile::PositionId};

use crate::ServiceError;

/// Backfills that may wait or run at once; more are somebody's loop.
const MOST_AT_ONCE: usize = 5;

/// A backfill, as answers show it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackfillView {
    /// When it was asked for: its name.
    pub id: Timestamp,
    /// `waiting`, `running` or `done`.
    pub status: &'static str,
    /// Calls placed from then on.
    pub from: Option<Timestamp>,
    /// Calls placed until then.
    pub to: Option<Timestamp>,
    /// Until when the list has been read.
    pub read_until: Option<Timestamp>,
    /// Pages read.
    pub pages: u64,
    /// Calls on them.
    pub calls: u64,
    /// Records that were new or changed.
    pub changed: u64,
    /// Log rows that changed.
    pub repaired: u64,
}

impl BackfillView {
    fn new(id: Timestamp, position: &Position) -> Self {
        let Tally {
            pages,
            calls,
            changed,
            repaired,
            ..
        } = position.tally;
        let status = match (position.is_done(), pages) {
            (true, _) => "done",
            (false, 0) => "waiting",
            (false, _) => "running",
        };
        let under_way = position.high.as_ref().map(|(at, _)| *at);
        Self {
            id,
            status,
            from: position.since,
            to: position.until,
            read_until: position.done_until.max(under_way),
            pages,
            calls,
            changed,
            repaired,
        }
    }
}

/// Asks for the calls placed in a span; the next run of the poller begins with it when it has done its own work. A span
/// that reaches into the future ends now.
///
/// # Errors
/// [`ServiceError::Forbidden`] for anybody but administrators, [`ServiceError::Field`] for a span that Exotel does not
/// list, [`ServiceError::Conflict`] when enough are under way, [`ServiceError::Table`].
pub async fn request(
    table: &Table,
    caller: &Caller,
    from: Timestamp,
    to: Timestamp,
    now: Timestamp,
) -> Result<BackfillView, ServiceError> {
    if !caller.role.is_admin() {
        return Err(ServiceError::Forbidden);
    }
    let to = to.min(now);
    if from >= to {
        let message = if from < now {
            "it must be before to"
        } else {
            "it must be in the past"
        };
        return Err(ServiceError::field("from", message));
    }
    if from < now - OLDEST {
        let message = format!(
            "Exotel lists the calls of the last {} days",
            OLDEST.as_hours() / 24
        );
        return Err(ServiceError::field("from", message));
    }
    let all = table.backfills().await?;
    if all.iter().filter(|(_, held)| !held.value.is_done()).count() >= MOST_AT_ONCE {
        return Err(ServiceError::Conflict(
            "five backfills wait or run already; wait until one is done",
        ));
    }
    let position = Position::backfill(from, to);
    // Its name is a key, which holds microseconds; two requests of the same one are one.
    let now = Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now);
    table
        .keep_position(&PositionId::Backfill(now), &position, 0)
        .await?;
    tracing::info!(user.id = %caller.user_id, "a backfill was asked for, from {from} to {to}");
    Ok(BackfillView::new(now, &position))
}

/// The backfills that were ever asked for, newest first.
///
/// # Errors
/// [`ServiceError::Forbidden`] for anybody but administrators, [`ServiceError::Table`].
pub async fn list(table: &Table, caller: &Caller) -> Result<Vec<BackfillView>, ServiceError> {
    if !caller.role.is_admin() {
        return Err(ServiceError::Forbidden);
    }
    let all = table.backfills().await?;
    let view = |(id, Held { value, .. }): &(Timestamp, Held<Position>)| BackfillView::new(*id, value);
    Ok(all.iter().rev().map(view).collect())
}
