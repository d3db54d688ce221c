//! What follows from the table's stream: which rows are not final yet, which events came in which hour, and what the
//! team's other systems hear of on the event bus.
//!
//! Each change of an item is turned into effects by a pure function ([`plan`]) of its old and new image alone, never
//! of what happened before in the same process. Effects are puts and deletes by key, or carry an id of their own, so
//! that a batch delivered again, or cut otherwise, ends in the same items and the same set of bus events.
//!
//! Sessions with bots go to the timelines of the leads they are with here, and take here what a Passthru behind their
//! stream tells: neither is anything that a caller should wait for.
//!
//! Figures are not written here: what they are folded from is, and then the quarters are marked that `roll-up` folds
//! anew.

mod bus;
mod effects;

use std::collections::{HashMap, hash_map::Entry};

use aws_types::SdkConfig;
use domain::{
    call::{Call, CallOrigin, InboundCall},
    call_record::{CallRecord, CallSummary, Direction, Party},
    figures::Bucket,
    ids::{CallId, CallLocator, LeadId},
    phone::{Country, PhoneNumber},
};
use futures_util::{StreamExt, stream};
use serde_dynamo::Item;
use sha2::{Digest, Sha256};
use table::{HeldRecord, Record, Table, TableError, figures::revision};

pub use self::bus::{BusError, EventBus};
use self::effects::{Effect, Key, Summarised, of_message, plan};
use crate::{
    inbound::{QueueError, Webhook, WebhookMessage, WebhookQueue},
    voicebot::sessions::Sessions,
};

/// Writes at once. A batch of 100 changes then takes tens of round trips' time, and the table is not stormed.
const AT_ONCE: usize = 8;

/// A change of one item: its images before and after, empty where there is none.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Before; empty for an item that was put first.
    pub old: Item,
    /// After; empty for an item that was removed.
    pub new: Item,
    /// Whether DynamoDB removed it by its TTL, not somebody.
    pub expired: bool,
}

/// Where the work on a batch stopped.
#[derive(Debug, thiserror::Error)]
#[error("the change at position {at} was not projected")]
pub struct Stopped {
    /// Position of the first change that has to come again; all before it are done.
    pub at: usize,
    /// Why.
    pub source: ProjectionError,
}

/// Why a change was not projected.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// An image cannot be read, or the table did not take a write.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The queue `webhook-events` did not take an orphan's id.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The event bus did not take an event.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// Quarters whose figures are to be folded anew, and the change that says so.
#[derive(Debug, Default)]
struct Dirtied {
    quarters: Vec<Bucket>,
    token: String,
}

/// Follows the stream.
#[derive(Debug)]
pub struct Projector {
    table: Table,
    sessions: Sessions,
    queue: WebhookQueue,
    bus: EventBus,
    country: Country,
}

impl Projector {
    /// Over this table; orphaned events go to `queue` (`webhook-events`), news to `bus`. `country` is the account's:
    /// national numbers in events are its.
    pub fn new(table: Table, queue: WebhookQueue, bus: EventBus, country: Country) -> Self {
        Self {
            sessions: Sessions::new(table.clone(), country),
            table,
            queue,
            bus,
            country,
        }
    }

    /// With clients of its own. `aws` should not retry: the stream does. `queue_url` is the URL of `webhook-events`.
    pub fn connect(
        aws: &SdkConfig,
        table_name: &str,
        queue_url: &str,
        bus_name: &str,
        country: Country,
    ) -> Self {
        Self::new(
            Table::new(aws_sdk_dynamodb::Client::new(aws), table_name),
            WebhookQueue::new(aws.clone(), queue_url),
            EventBus::new(aws_sdk_eventbridge::Client::new(aws), bus_name),
            country,
        )
    }

    /// Projects a batch, in the order of the stream.
    ///
    /// # Errors
    /// [`Stopped`] with the first change that has to come again. Doing any of them again is safe.
    pub async fn project(&self, changes: Vec<Change>) -> Result<(), Stopped> {
        let mut failed: Option<Stopped> = None;
        let mut writes: HashMap<Key, (usize, Effect)> = HashMap::new();
        let mut news = Vec::new();
        for (at, change) in changes.into_iter().enumerate() {
            let expired = change.expired;
            let revs = (revision(&change.old), revision(&change.new));
            let planned = match read(change) {
                Ok((old, new)) => {
                    let (old, new) = (old.as_ref(), new.as_ref());
                    let mut planned = plan(old, new, expired, self.country);
                    planned.effects.extend(of_message(old, new, revs));
                    planned
                }
                Err(source) => {
                    failed = Some(Stopped {
                        at,
                        source: source.into(),
                    });
                    break;
                }
            };
            news.extend(planned.news.into_iter().map(|news| (at, news)));
            for effect in planned.effects {
                // Of several effects on one key the last counts; it is owed since the first.
                match writes.entry(effect.key()) {
                    Entry::Vacant(slot) => {
                        slot.insert((at, effect));
                    }
                    Entry::Occupied(mut slot) => {
                        let (since, earlier) = slot.get().clone();
                        slot.insert((since, earlier.then(effect)));
                    }
                }
            }
        }
        let mut done = stream::iter(writes.into_values())
            .map(|(at, effect)| async move { (at, self.carry_out(effect).await) })
            .buffer_unordered(AT_ONCE);
        // A quarter is marked once for all that changed in it, and behind the summaries that it is folded from.
        let mut marks: HashMap<Bucket, (usize, String)> = HashMap::new();
        while let Some((at, result)) = done.next().await {
            match result {
                Ok(Dirtied { quarters, token }) => {
                    for bucket in quarters {
                        let slot = marks.entry(bucket).or_insert((at, token.clone()));
                        slot.0 = slot.0.min(at);
                    }
                }
                Err(source) => keep_first(&mut failed, Stopped { at, source }),
            }
        }
        drop(done);
        let mut marked = stream::iter(marks)
            .map(|(bucket, (at, token))| async move { (at, self.table.mark_dirty(bucket, &token).await) })
            .buffer_unordered(AT_ONCE);
        while let Some((at, result)) = marked.next().await {
            if let Err(error) = result {
                let source = error.into();
                keep_first(&mut failed, Stopped { at, source });
            }
        }
        drop(marked);
        // What comes again anyway need not be told twice.
        news.retain(|(at, _)| failed.as_ref().is_none_or(|failed| *at < failed.at));
        if let Err((at, error)) = self.bus.put(&news).await {
            keep_first(
                &mut failed,
                Stopped {
                    at,
                    source: error.into(),
                },
            );
        }
        failed.map_or(Ok(()), Err)
    }

    /// Does what is to be done; tells which quarters' figures are to be folded anew.
    async fn carry_out(&self, effect: Effect) -> Result<Dirtied, ProjectionError> {
        match effect {
            Effect::OpenCall(call) => self.table.open_call(&call).await?,
            Effect::CloseCall(call) => self.table.close_call(&call).await?,
            Effect::OpenSms(sms) => self.table.open_sms(&sms).await?,
            Effect::CloseSms(sms) => self.table.close_sms(&sms).await?,
            Effect::Index(event) => self.table.index_raw_event(&event).await?,
            Effect::Unindex(event) => self.table.unindex_raw_event(&event).await?,
            Effect::AdoptOrphans {
                sid,
                webhook,
                locator,
            } => {
                for orphan in self.table.raw_events_of(&table::EventOwner::Sid(sid)).await? {
                    let is_passthru =
                        orphan.purpose == Webhook::Passthru.as_str() && webhook == Webhook::Call;
                    if orphan.purpose == webhook.as_str() || is_passthru {
                        let message = WebhookMessage::replay(&orphan.id(), Some(&locator));
                        self.queue.send(&message, None).await?;
                    }
                }
            }
            Effect::TryAgainLater(orphan) => {
                let message = WebhookMessage::replay(&orphan, None);
                self.queue.send(&message, Some(effects::INDEX_LAG)).await?;
            }
            Effect::Record { sid, reports } => {
                self.table.merge_call_record(&sid, &reports).await?;
            }
            Effect::Link { sid, link } => self.table.link_call_record(&sid, &link).await?,
            Effect::EraseRecord(sid) => {
                self.table.erase_call_record(&sid).await?;
                let owner = table::EventOwner::Sid(sid.to_string());
                for event in self.table.raw_events_of(&owner).await? {
                    self.table.unindex_raw_event(&event).await?;
                    self.table.delete_raw_event(&event.id()).await?;
                }
            }
            Effect::PlaceSession(session) => self.sessions.place(&session).await?,
            Effect::IdentifySession(session) => self.sessions.identify(&session).await?,
            Effect::AdoptSessions { sid, locator } => self.sessions.adopt(&sid, &locator).await?,
            Effect::CompleteSession { sid, told } => {
                if !self.sessions.completed(&sid, &told).await? {
                    tracing::info!(call.sid = %sid, "no session with a bot is known of a stream that Exotel tells of");
                }
            }
            Effect::Summarise(summarised) => return Ok(self.summarise(*summarised).await?),
            Effect::SummariseSms(summary, rev) => {
                self.table.put_message_summary(&summary, rev).await?;
                return Ok(Dirtied {
                    quarters: vec![Bucket::of(summary.at)],
                    token: format!("{}/{rev}", summary.id),
                });
            }
        }
        Ok(Dirtied::default())
    }

    /// Writes a record's summary, takes it from where it no longer belongs, and keeps the list of unsettled calls.
    async fn summarise(&self, summarised: Summarised) -> Result<Dirtied, TableError> {
        let HeldRecord { record, rev } = summarised.held;
        let Some(summary) = record.summary() else {
            return Ok(Dirtied::default());
        };
        let mut dirtied = Dirtied {
            quarters: vec![Bucket::of(summary.at)],
            token: format!("{}/{rev}", record.sid),
        };
        for at in summarised.moved_from {
            if at != summary.at {
                dirtied.quarters.push(Bucket::of(at));
                self.table.delete_call_summary(at, &record.sid).await?;
                self.table.strike_unsettled(at, &record.sid).await?;
            }
        }
        self.table.put_call_summary(&summary, rev).await?;
        if summary.direction == Some(Direction::Inbound)
            && let Some(caller) = summary.customer.as_ref().and_then(Party::phone)
        {
            for lead in self.table.leads_by_phone(&caller).await? {
                if let Some(call) = inbound_call(&record, &summary, &caller, &lead.id) {
                    self.table.put_inbound_call(&call, rev).await?;
                }
            }
        }
        match summarised.unsettled {
            Some(true) => self.table.note_unsettled(summary.at, &record.sid).await?,
            Some(false) => self.table.strike_unsettled(summary.at, &record.sid).await?,
            None => {}
        }
        Ok(dirtied)
    }
}

/// A lead's call, for the lead's timeline. Its id follows from the call and the lead, so that it is one row.
fn inbound_call(
    record: &CallRecord,
    summary: &CallSummary,
    caller: &PhoneNumber,
    lead: &LeadId,
) -> Option<Call> {
    let digest = Sha256::new()
        .chain_update(record.sid.as_str())
        .chain_update([0])
        .chain_update(lead.as_str())
        .finalize();
    let random = u128::from_be_bytes(digest[..16].try_into().expect("16 bytes of 32"));
    let facts = &record.facts;
    Some(Call {
        locator: CallLocator {
            id: CallId::new(summary.at, random),
            lead_id: lead.clone(),
        },
        called_by: None,
        called_at: summary.at,
        notes: None,
        origin: CallOrigin::Inbound(Box::new(InboundCall {
            sid: record.sid.clone(),
            caller: caller.clone(),
            agent: record.agent_number().cloned(),
            outcome: record.outcome()?,
            is_over: record.is_over(),
            talk_secs: summary.talk_secs,
            recording_url: facts.recording_url.as_ref().map(|url| url.value.clone()),
            ended_at: facts.ended_at.as_ref().map(|at| at.value),
        })),
    })
}

fn keep_first(failed: &mut Option<Stopped>, other: Stopped) {
    if failed.as_ref().is_none_or(|failed| other.at < failed.at) {
        *failed = Some(other);
    }
}

fn read(change: Change) -> Result<(Option<Record>, Option<Record>), TableError> {
    let image = |item: Item| (!item.is_empty()).then(|| Record::from_item(item)).transpose();
    Ok((image(change.old)?, image(change.new)?))
}
