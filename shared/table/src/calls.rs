//! Calls: rows in their lead's item collection, hot until final.

use aws_sdk_dynamodb::types::{ConditionCheck, Put as PutItem, TransactWriteItem, Update};
use domain::{
    Ranked,
    call::{
        Call, CallOrigin, CallProgress, CallReport, CallSource, CallState, ExotelCall, InboundCall,
        LegStatus, Outcome,
    },
    call_record::Party,
    ids::{CallId, CallLocator, CallSid, LeadId, UserId},
    phone::PhoneNumber,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Page, Table, TableError,
    expression::{Expression, attribute},
    item::{self, Entity},
    keys::{self, Attributes, Primary},
    placed::{self, Claim, Facts, Held, Merged, Placed, Recorded},
    store::{Range, Select, Transacted, Written},
};

/// What became of a new row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Create {
    /// It is there.
    Created,
    /// There is no such lead (or it is being erased); nothing was written.
    NoLead,
    /// A row with this id is there already; nothing was written.
    Exists,
}

/// A call as its item holds it; the key tells the id and the lead.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CallRow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    called_by: Option<UserId>,
    called_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
    source: CallSource,
    /// Rows logged from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    duration_secs: Option<u32>,
    /// Rows placed through Exotel, flat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent_phone: Option<PhoneNumber>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lead_phone: Option<PhoneNumber>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caller_id: Option<PhoneNumber>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    to_bot: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<CallState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rank: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rev: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<CallSid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    talk_secs: Option<Ranked<u32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lead_leg: Option<Ranked<LegStatus>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recording_url: Option<Ranked<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answered_at: Option<Ranked<Timestamp>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_at: Option<Ranked<Timestamp>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    price: Option<Ranked<String>>,
    /// Calls from leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent: Option<Party>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    is_over: Option<bool>,
}

/// A fact of a row that takes no reports.
fn copied<T: Clone>(fact: Option<&T>) -> Option<Ranked<T>> {
    fact.map(|value| Ranked {
        value: value.clone(),
        rank: 0,
    })
}

impl CallRow {
    fn new(call: &Call) -> Self {
        let mut row = Self {
            called_by: call.called_by.clone(),
            called_at: call.called_at,
            notes: call.notes.clone(),
            source: call.source(),
            outcome: None,
            duration_secs: None,
            agent_phone: None,
            lead_phone: None,
            caller_id: None,
            to_bot: false,
            attempt: None,
            reason: None,
            state: None,
            rank: None,
            rev: None,
            sid: None,
            talk_secs: None,
            lead_leg: None,
            recording_url: None,
            answered_at: None,
            ended_at: None,
            price: None,
            agent: None,
            is_over: None,
        };
        match &call.origin {
            CallOrigin::Logged {
                outcome,
                duration_secs,
                ..
            } => (row.outcome, row.duration_secs) = (Some(*outcome), *duration_secs),
            CallOrigin::Inbound(inbound) => {
                row.lead_phone = Some(inbound.caller.clone());
                row.agent.clone_from(&inbound.agent);
                row.outcome = Some(inbound.outcome);
                row.is_over = Some(inbound.is_over);
                row.sid = Some(inbound.sid.clone());
                row.talk_secs = copied(inbound.talk_secs.as_ref());
                row.recording_url = copied(inbound.recording_url.as_ref());
                row.ended_at = copied(inbound.ended_at.as_ref());
            }
            CallOrigin::Exotel(exotel) => {
                let progress = exotel.progress.clone();
                row.agent_phone = Some(exotel.agent_phone.clone());
                row.lead_phone = Some(exotel.lead_phone.clone());
                row.caller_id = Some(exotel.caller_id.clone());
                row.to_bot = exotel.to_bot;
                row.attempt = Some(exotel.attempt);
                row.reason.clone_from(&exotel.reason);
                row.state = Some(progress.state);
                row.rank = Some(progress.rank);
                row.rev = Some(0);
                row.sid = progress.sid;
                row.talk_secs = progress.talk_secs;
                row.lead_leg = progress.lead_leg;
                row.recording_url = progress.recording_url;
                row.answered_at = progress.answered_at;
                row.ended_at = progress.ended_at;
                row.price = progress.price;
            }
        }
        row
    }

    fn into_call(self, locator: CallLocator) -> Option<Call> {
        let origin = match self.source {
            CallSource::Exotel => CallOrigin::Exotel(Box::new(ExotelCall {
                agent_phone: self.agent_phone.clone()?,
                lead_phone: self.lead_phone?,
                // A claim notes what calls between people show; a bot's call keeps the ExoPhone that it was asked for.
                caller_id: if self.to_bot {
                    self.agent_phone?
                } else {
                    self.caller_id?
                },
                to_bot: self.to_bot,
                attempt: self.attempt?,
                reason: self.reason,
                progress: CallProgress {
                    state: self.state?,
                    rank: self.rank?,
                    sid: self.sid,
                    talk_secs: self.talk_secs,
                    lead_leg: self.lead_leg,
                    recording_url: self.recording_url,
                    answered_at: self.answered_at,
                    ended_at: self.ended_at,
                    price: self.price,
                },
            })),
            CallSource::Inbound => CallOrigin::Inbound(Box::new(InboundCall {
                sid: self.sid?,
                caller: self.lead_phone?,
                agent: self.agent,
                outcome: self.outcome?,
                is_over: self.is_over?,
                talk_secs: self.talk_secs.map(|talk| talk.value),
                recording_url: self.recording_url.map(|url| url.value),
                ended_at: self.ended_at.map(|at| at.value),
            })),
            source => CallOrigin::Logged {
                source,
                outcome: self.outcome?,
                duration_secs: self.duration_secs,
            },
        };
        Some(Call {
            locator,
            called_by: self.called_by,
            called_at: self.called_at,
            notes: self.notes,
            origin,
        })
    }
}

/// The item of a call.
fn to_item(call: &Call) -> Result<Attributes, TableError> {
    let key = keys::call(&call.locator);
    let row = CallRow::new(call);
    // What is reported of a lead's call goes to its record, so nobody looks for the row by sid.
    let sid = row.sid.as_ref().filter(|_| row.source == CallSource::Exotel);
    let gsi1 = sid.map(|sid| placed::by_sid(sid.as_str(), &key));
    item::item(Entity::Call, &key, gsi1, None, &row)
}

/// Facts at a report's rank, or as a row holds them.
fn push<T: Serialize>(facts: &mut Facts, name: &'static str, fact: Option<Ranked<T>>) {
    if let Some(fact) = fact {
        facts.push((name, attribute(fact)));
    }
}

impl Placed for Call {
    type State = CallState;
    type Report = CallReport;
    const WAITING: CallState = CallState::Waiting;
    const IN_FLIGHT: CallState = CallState::InFlight;

    fn own_rank(state: CallState) -> u32 {
        state.own_rank()
    }

    fn decode(item: serde_dynamo::Item) -> Result<Held<Self>, TableError> {
        let key = item::primary(&item)?;
        let row: CallRow = item::body(item, &key)?;
        let rev = row.rev.unwrap_or(0);
        let call = keys::call_locator(&key).and_then(|locator| row.into_call(locator));
        match call {
            Some(row) => Ok(Held { row, rev }),
            None => Err(TableError::corrupt(key.to_string(), "an attribute is missing")),
        }
    }

    fn rank(report: &CallReport) -> u32 {
        report.rank()
    }

    fn state(report: &CallReport) -> Option<CallState> {
        report.state
    }

    fn sid(report: &CallReport) -> Option<&str> {
        report.sid.as_ref().map(CallSid::as_str)
    }

    fn facts(report: &CallReport) -> Facts {
        let mut progress = CallProgress::new(CallState::Waiting);
        progress.merge(report);
        facts(&progress)
    }

    fn takes_reports(&self) -> bool {
        self.exotel().is_some()
    }

    fn known_sid(&self) -> Option<&str> {
        self.exotel()?.progress.sid.as_ref().map(CallSid::as_str)
    }

    fn merge(&mut self, report: &CallReport) -> Option<Merged<CallState>> {
        let CallOrigin::Exotel(call) = &mut self.origin else {
            return None;
        };
        call.progress.merge(report).then(|| Merged {
            state: call.progress.state,
            rank: call.progress.rank,
            sid: call.progress.sid.as_ref().map(CallSid::to_string),
            facts: facts(&call.progress),
        })
    }
}

fn facts(progress: &CallProgress) -> Facts {
    let mut facts = Facts::new();
    push(&mut facts, "talk_secs", progress.talk_secs.clone());
    push(&mut facts, "lead_leg", progress.lead_leg.clone());
    push(&mut facts, "recording_url", progress.recording_url.clone());
    push(&mut facts, "answered_at", progress.answered_at.clone());
    push(&mut facts, "ended_at", progress.ended_at.clone());
    push(&mut facts, "price", progress.price.clone());
    facts
}

impl Table {
    /// Writes a new call placed through Exotel and counts it on its lead, both or neither: `call_count` and
    /// `last_contacted_at` change in the transaction that writes the row. 4 write units.
    ///
    /// # Errors
    /// [`TableError`]; when it is retryable the transaction may have happened, and trying again says
    /// [`Create::Exists`].
    pub async fn create_call(&self, call: &Call) -> Result<Create, TableError> {
        let counted = Expression::new()
            .add("call_count", 1)
            .set("last_contacted_at", call.called_at)
            .only_if_present(keys::PK)
            .only_if_absent("erasing");
        let lead = Update::builder()
            .table_name(self.name())
            .set_key(Some(keys::lead(&call.locator.lead_id).attributes()))
            .set_update_expression(counted.update())
            .set_condition_expression(counted.condition())
            .set_expression_attribute_names(counted.names())
            .set_expression_attribute_values(counted.values())
            .build()
            .expect("key, table and update are set");
        let row = self.new_row(to_item(call)?);
        let lead = TransactWriteItem::builder().update(lead).build();
        self.create(vec![lead, row]).await
    }

    /// Writes a new call to a number that is no lead's, in the home that the number has. 1 write unit.
    ///
    /// # Errors
    /// As [`Table::create_call`].
    pub async fn create_unlisted_call(&self, call: &Call) -> Result<Create, TableError> {
        debug_assert!(call.locator.lead_id.is_unlisted());
        let absent = Expression::new().only_if_absent(keys::PK);
        Ok(match self.put(to_item(call)?, absent).await? {
            Written::Done(_) => Create::Created,
            Written::Unmet(_) => Create::Exists,
        })
    }

    /// Writes a call logged by hand or by the AI caller; the lead's counters stay as they are.
    ///
    /// # Errors
    /// As [`Table::create_call`].
    pub async fn log_call(&self, call: &Call) -> Result<Create, TableError> {
        let row = self.new_row(to_item(call)?);
        self.create(vec![self.lead_exists(&call.locator.lead_id), row])
            .await
    }

    /// Writes a call from a lead as its record has it, unless a newer revision stands there. False when it does, or
    /// there is no such lead (any more).
    ///
    /// # Errors
    /// [`TableError`]; writing again is always safe.
    pub async fn put_inbound_call(&self, call: &Call, rev: i64) -> Result<bool, TableError> {
        let mut item = to_item(call)?;
        item.insert(placed::attr::REV.to_owned(), attribute(rev));
        let newer = Expression::new().only_if_absent_or_less(placed::attr::REV, rev);
        let put = PutItem::builder()
            .table_name(self.name())
            .set_item(Some(item))
            .set_condition_expression(newer.condition())
            .set_expression_attribute_names(newer.names())
            .set_expression_attribute_values(newer.values())
            .build()
            .expect("item and table are set");
        let put = TransactWriteItem::builder().put(put).build();
        let written = self
            .transact(vec![self.lead_exists(&call.locator.lead_id), put])
            .await?;
        Ok(matches!(written, Transacted::Done))
    }

    /// A check, for a transaction, that the lead exists and is not being erased.
    pub(crate) fn lead_exists(&self, lead: &LeadId) -> TransactWriteItem {
        let exists = Expression::new()
            .only_if_present(keys::PK)
            .only_if_absent("erasing");
        let check = ConditionCheck::builder()
            .table_name(self.name())
            .set_key(Some(keys::lead(lead).attributes()))
            .set_condition_expression(exists.condition())
            .set_expression_attribute_names(exists.names())
            .build()
            .expect("key, table and condition are set");
        TransactWriteItem::builder().condition_check(check).build()
    }

    /// A put, for a transaction, of a row that is not there yet.
    pub(crate) fn new_row(&self, item: Attributes) -> TransactWriteItem {
        let absent = Expression::new().only_if_absent(keys::PK);
        let put = PutItem::builder()
            .table_name(self.name())
            .set_item(Some(item))
            .set_condition_expression(absent.condition())
            .set_expression_attribute_names(absent.names())
            .build()
            .expect("item and table are set");
        TransactWriteItem::builder().put(put).build()
    }

    /// Writes a row if the lead's part holds: `writes` are the lead's part, the row, and what belongs to the row.
    pub(crate) async fn create(&self, writes: Vec<TransactWriteItem>) -> Result<Create, TableError> {
        Ok(match self.transact(writes).await? {
            Transacted::Done => Create::Created,
            Transacted::Unmet(unmet) if unmet.get(1) == Some(&true) => Create::Exists,
            Transacted::Unmet(_) => Create::NoLead,
        })
    }

    /// The calls of these locators, strongly consistent, in their order; missing ones are left out.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn calls_at(&self, locators: &[CallLocator]) -> Result<Vec<Call>, TableError> {
        let keys: Vec<Primary> = locators.iter().map(keys::call).collect();
        let items = self.get_all(&keys).await?;
        items
            .into_iter()
            .map(|item| Ok(Call::decode(item.into())?.row))
            .collect()
    }

    /// The call, strongly consistent.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn call(&self, locator: &CallLocator) -> Result<Option<Call>, TableError> {
        self.placed(&keys::call(locator)).await
    }

    /// A lead's calls, newest first, strongly consistent; `before` (exclusive) is any call id, also one that no row
    /// has. The page's `next` is the last call's id.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn calls(
        &self,
        lead: &LeadId,
        limit: usize,
        before: Option<&CallId>,
    ) -> Result<Page<Call>, TableError> {
        let pk = keys::lead_partition(lead);
        let selected = self
            .select(Select {
                pk: &pk,
                sk: Range::Prefix(keys::CALLS),
                newest_first: true,
                limit: Some(limit + 1),
                after: before.map(|id| Primary::new(&pk, keys::call_sk(id))),
            })
            .await?;
        let calls = selected
            .items
            .into_iter()
            .map(|item| Ok(<Call as Placed>::decode(item.into())?.row))
            .collect::<Result<_, TableError>>()?;
        Ok(Page::cut(calls, limit, selected.more, |call: &Call| {
            call.locator.id.to_string()
        }))
    }

    /// Claims a waiting call for its attempt number `attempt` (from 1): WAITING after `attempt - 1` attempts →
    /// IN_FLIGHT. Of several claimers exactly one gets it; `claimant` is random, another for each of them. The row then says
    /// that the call shows `caller_id`. 1 write unit.
    ///
    /// # Errors
    /// [`TableError`]; when it is retryable the claim may have happened, and another claimant then hears
    /// [`Claim::NotWaiting`]: nobody sends, and the sweep settles the row.
    pub async fn claim_call(
        &self,
        locator: &CallLocator,
        attempt: u32,
        claimant: u64,
        caller_id: &PhoneNumber,
    ) -> Result<Claim<Call>, TableError> {
        let shown = Expression::new().set("caller_id", caller_id);
        self.claim(&keys::call(locator), attempt, claimant, shown).await
    }

    /// Puts a call back after a clear refusal that is to be retried: IN_FLIGHT in this attempt → WAITING. False when
    /// it is no longer so. `reason` is for people, numbers masked.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn release_call(
        &self,
        locator: &CallLocator,
        attempt: u32,
        reason: &str,
    ) -> Result<bool, TableError> {
        self.release::<Call>(&keys::call(locator), attempt, reason).await
    }

    /// Moves a call on our own account (to unconfirmed, refused, expired, given up, lost), if it stands in one of
    /// `from`. False when it does not, or is no call through Exotel; true also when it stands in `to` already, for this
    /// reason (without one, for any).
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn settle_call(
        &self,
        locator: &CallLocator,
        from: &[CallState],
        to: CallState,
        reason: Option<&str>,
    ) -> Result<bool, TableError> {
        self.settle::<Call>(&keys::call(locator), from, to, reason).await
    }

    /// Records what somebody says about a call; duplicates and late reports change nothing they should not. In
    /// order: 1 write unit, nothing read. The report that first tells the sid also puts the row into the index
    /// (1 write unit more).
    ///
    /// # Errors
    /// [`TableError`]; recording again is always safe.
    pub async fn record_call_report(
        &self,
        locator: &CallLocator,
        report: &CallReport,
    ) -> Result<Recorded, TableError> {
        self.record::<Call>(&keys::call(locator), report).await
    }

    /// The call that Exotel names so. The index follows the table within a second as a rule.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn call_by_sid(&self, sid: &CallSid) -> Result<Option<CallLocator>, TableError> {
        let keys = self.keys_by_sid(sid.as_str(), keys::CALLS).await?;
        Ok(keys.first().and_then(keys::call_locator))
    }
}
