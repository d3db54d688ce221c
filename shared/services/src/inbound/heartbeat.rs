//! The HeartBeat: kept like every event, and about the account's ExoPhones instead of a row.

use std::time::Duration;

use jiff::Timestamp;
use table::{EventOwner, RawEvent, Table, TableError};

use super::{Delivery, Inbox, Receipt, clean};
use crate::health::{self, Monitor};

/// It needs several reads and writes one after the other.
const OPERATION: Duration = Duration::from_millis(2500);

impl Inbox {
    /// Keeps a HeartBeat and takes it in, side by side. Of one that is too long to keep, the beginning is kept.
    pub async fn receive_heartbeat(&self, delivery: Delivery<'_>, now: Timestamp) -> Receipt {
        let too_long = delivery.body.len() > health::LONGEST_HEARTBEAT;
        let cut = too_long.then(|| health::cut(delivery.body));
        let delivery = Delivery {
            locator: None,
            body: cut.as_deref().unwrap_or(delivery.body),
            ..delivery
        };
        let mut event = clean(&delivery, now);
        event.owner = EventOwner::Sid(health::HEARTBEAT_OWNER.to_owned());
        event.handled = Some(true);
        let took_in = async {
            // A table that is slow must not cost the answer: then the queue has it.
            let applied = tokio::time::timeout(OPERATION, apply_heartbeat(&self.table, &event)).await;
            applied.unwrap_or(Err(TableError::Unavailable { source: None }))
        };
        let (kept, applied) = tokio::join!(self.table.put_raw_event(&event), took_in);
        self.settle(event, kept, applied).await
    }
}

/// Takes a HeartBeat in; tells whether it could be read.
pub(super) async fn apply_heartbeat(table: &Table, event: &RawEvent) -> Result<bool, TableError> {
    let push = match health::read_push(&event.body, event.received_at) {
        Ok(push) => push,
        Err(why) => {
            let why = exotel::mask_numbers(&why.to_string());
            tracing::warn!(event.hash = %event.hash, "kept a HeartBeat that cannot be read: {why}");
            return Ok(false);
        }
    };
    let monitor = Monitor::new(table.clone());
    monitor
        .receive_push(&push, event.received_at, &event.hash)
        .await?;
    Ok(true)
}
