//! Applies kept events again. Safe to do any number of times, in any order: rows merge reports.

use aws_types::SdkConfig;
use table::{EventOwner, RawEvent, Table, TableError, events::RawEventId};

use super::{
    Locator, Webhook, WebhookMessage, apply, find_row, heartbeat::apply_heartbeat, read_event, without_row,
};
use crate::health::HEARTBEAT_OWNER;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// The event is kept and its row has it.
    Handled,
    /// The event is kept; it cannot be read, or there is no row that it is about.
    Unhandled,
    /// There is no such event any more.
    Gone,
    /// The message is not one that we write; it belongs in the dead-letter queue.
    Unreadable,
}

/// Does what the messages in `webhook-events` ask for.
#[derive(Debug)]
pub struct Replay {
    table: Table,
}

impl Replay {
    /// Over this table.
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    /// With a client of its own. `aws` should not retry: the queue does.
    pub fn connect(aws: &SdkConfig, table_name: &str) -> Self {
        Self::new(Table::new(aws_sdk_dynamodb::Client::new(aws), table_name))
    }

    /// Keeps and applies a carried event, or applies a kept one again. An event of a sid that has since become a
    /// row's moves into that row's item collection, so that it goes when the lead is erased.
    ///
    /// # Errors
    /// [`TableError`] when the table failed: the message should come again.
    pub async fn run(&self, message: WebhookMessage) -> Result<Replayed, TableError> {
        match message {
            WebhookMessage::Apply(carried) => {
                let Some((webhook, named, event)) = carried.into_event() else {
                    return Ok(Replayed::Unreadable);
                };
                self.apply(webhook, named, event, None).await
            }
            WebhookMessage::Replay { id, locator } => {
                let Ok(id) = id.parse::<RawEventId>() else {
                    return Ok(Replayed::Unreadable);
                };
                let Some(event) = self.table.raw_event(&id).await? else {
                    return Ok(Replayed::Gone);
                };
                let Ok(webhook) = event.purpose.parse::<Webhook>() else {
                    return Ok(Replayed::Unreadable);
                };
                let named = match &event.owner {
                    EventOwner::Call(call) => Some(Locator::Call(call.clone())),
                    EventOwner::Sms(sms) => Some(Locator::Sms(sms.clone())),
                    EventOwner::Sid(_) => locator.and_then(|text| webhook.locator(&text)),
                };
                self.apply(webhook, named, event, Some(id)).await
            }
        }
    }

    /// `kept_as` names the event where it is kept already.
    async fn apply(
        &self,
        webhook: Webhook,
        named: Option<Locator>,
        mut event: RawEvent,
        kept_as: Option<RawEventId>,
    ) -> Result<Replayed, TableError> {
        if webhook == Webhook::Heartbeat {
            return self.apply_heartbeat(event, kept_as).await;
        }
        let reading = read_event(webhook, &event);
        let row = find_row(&self.table, webhook, named, &reading).await?;
        let handled = match &row {
            Some(locator) => apply(&self.table, locator, reading.report).await?,
            None => without_row(reading.report.as_ref()),
        };
        match row {
            Some(locator) => event.owner = locator.into(),
            None if kept_as.is_none() => event.owner = EventOwner::Sid(reading.sid.unwrap_or_default()),
            None => {}
        }
        event.handled = Some(handled);
        let id = event.id();
        match kept_as {
            Some(kept_as) if kept_as == id => {
                self.table.mark_raw_event(&id, handled).await?;
            }
            // An orphan that no row takes stays where it is.
            Some(kept_as) if !handled => {
                self.table.mark_raw_event(&kept_as, false).await?;
            }
            kept_as => {
                self.table.put_raw_event(&event).await?;
                if let Some(orphan) = kept_as {
                    self.table.delete_raw_event(&orphan).await?;
                }
            }
        }
        Ok(Replayed::of(handled))
    }

    /// Takes a HeartBeat in as of the moment at which it came: what is newer stays.
    async fn apply_heartbeat(
        &self,
        mut event: RawEvent,
        kept_as: Option<RawEventId>,
    ) -> Result<Replayed, TableError> {
        let handled = Box::pin(apply_heartbeat(&self.table, &event)).await?;
        match kept_as {
            Some(id) => {
                self.table.mark_raw_event(&id, handled).await?;
            }
            None => {
                event.owner = EventOwner::Sid(HEARTBEAT_OWNER.to_owned());
                event.handled = Some(handled);
                self.table.put_raw_event(&event).await?;
            }
        }
        Ok(Replayed::of(handled))
    }
}

impl Replayed {
    fn of(handled: bool) -> Self {
        if handled {
            Replayed::Handled
        } else {
            Replayed::Unhandled
        }
    }
}
