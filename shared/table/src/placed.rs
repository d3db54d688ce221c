//! What calls and SMS have in common: intents, reports, and the writes that keep them in order.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use serde::Serialize;

use crate::{
    Table, TableError,
    expression::{Expression, attribute},
    keys::{self, Attributes, Gsi1, Primary},
    store::{Range, Select, Written},
};

/// How often a report that needs merging meets another writer before we call the row contended. Each meeting means
/// that somebody else's write went through, so even a storm of reports about one call ends long before.
const MERGE_TRIES: usize = 16;

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim<T> {
    /// The row waited and is ours now: the caller alone may send this attempt.
    Claimed(Box<T>),
    /// Somebody else has it, it was sent, or its attempt is another.
    NotWaiting(Box<T>),
    /// There is no such row.
    Gone,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It outranked the row: state and facts are written, with one write and nothing read.
    Applied,
    /// It came late, and filled or corrected facts.
    Filled,
    /// It told nothing new: a duplicate, or older than what we know.
    Unchanged,
    /// There is no such row.
    NoRow,
    /// The row was logged by hand or by the AI caller; no report touches it.
    NotExotel,
    /// The row is known to be another sid's: a request makes one call or SMS, so this report is not about it.
    OtherSid,
}

/// Attribute names of a row's intent and progress.
pub(crate) mod attr {
    pub(crate) const STATE: &str = "state";
    pub(crate) const RANK: &str = "rank";
    pub(crate) const REV: &str = "rev";
    pub(crate) const SID: &str = "sid";
    pub(crate) const ATTEMPT: &str = "attempt";
    pub(crate) const REASON: &str = "reason";
    pub(crate) const CLAIMANT: &str = "claimant";
}

/// Facts by attribute name, each with its rank.
pub(crate) type Facts = Vec<(&'static str, AttributeValue)>;

/// A row's merged progress, as it is to be written.
pub(crate) struct Merged<S> {
    pub(crate) state: S,
    pub(crate) rank: u32,
    pub(crate) sid: Option<String>,
    pub(crate) facts: Facts,
}

/// A row read back, with the revision it was read at.
pub(crate) struct Held<T> {
    pub(crate) row: T,
    pub(crate) rev: i64,
}

/// A call or an SMS: what the shared writes need to know of it.
pub(crate) trait Placed: Sized {
    /// Where it stands.
    type State: Copy + Serialize;
    /// What somebody says of it.
    type Report;
    /// Wanted and not with Exotel.
    const WAITING: Self::State;
    /// Claimed; the request may be on its way.
    const IN_FLIGHT: Self::State;

    fn own_rank(state: Self::State) -> u32;
    fn decode(item: serde_dynamo::Item) -> Result<Held<Self>, TableError>;
    fn rank(report: &Self::Report) -> u32;
    fn state(report: &Self::Report) -> Option<Self::State>;
    fn sid(report: &Self::Report) -> Option<&str>;
    /// The report's facts, at its rank.
    fn facts(report: &Self::Report) -> Facts;
    /// Whether reports touch this row.
    fn takes_reports(&self) -> bool;
    /// The sid that the row is known by.
    fn known_sid(&self) -> Option<&str>;
    /// Merges the report in memory; what to write, or `None` if nothing changed.
    fn merge(&mut self, report: &Self::Report) -> Option<Merged<Self::State>>;
}

/// The row's place in the index once its sid is known.
pub(crate) fn by_sid(sid: &str, key: &Primary) -> Gsi1 {
    Gsi1 {
        pk: keys::sid_partition(sid),
        sk: key.sk.clone(),
    }
}

fn with_sid(expression: Expression, sid: Option<&str>, key: &Primary) -> Expression {
    let Some(sid) = sid else { return expression };
    let gsi1 = by_sid(sid, key);
    expression
        .set_once(attr::SID, sid)
        .set_once(keys::GSI1PK, gsi1.pk)
        .set_once(keys::GSI1SK, gsi1.sk)
}

/// Whether an item has all of these.
fn is_so(item: &Attributes, wanted: &[(&str, AttributeValue)]) -> bool {
    wanted.iter().all(|(name, value)| item.get(*name) == Some(value))
}

fn decode<T: Placed>(item: Attributes) -> Result<Held<T>, TableError> {
    T::decode(item.into())
}

impl Table {
    /// Reads a row.
    pub(crate) async fn placed<T: Placed>(&self, key: &Primary) -> Result<Option<T>, TableError> {
        let item = self.get(key).await?;
        item.map(|item| Ok(decode::<T>(item)?.row)).transpose()
    }

    /// WAITING → IN_FLIGHT, when the row waits after `attempt - 1` attempts; `update` changes what else changes. An update
    /// whose answer was lost is sent again by the SDK, and knows its own work by the `claimant`.
    pub(crate) async fn claim<T: Placed>(
        &self,
        key: &Primary,
        attempt: u32,
        claimant: u64,
        update: Expression,
    ) -> Result<Claim<T>, TableError> {
        let claimant = format!("{claimant:x}");
        let update = update
            .set(attr::STATE, T::IN_FLIGHT)
            .set(attr::RANK, T::own_rank(T::IN_FLIGHT))
            .set(attr::ATTEMPT, attempt)
            .set(attr::CLAIMANT, &claimant)
            .add(attr::REV, 1)
            .only_if(attr::STATE, "=", T::WAITING)
            .only_if(attr::ATTEMPT, "=", attempt.saturating_sub(1));
        match self.update(key, update, ReturnValue::AllNew).await? {
            Written::Done(item) => {
                let item =
                    item.ok_or_else(|| TableError::corrupt(key.to_string(), "no attributes came back"))?;
                Ok(Claim::Claimed(Box::new(decode::<T>(item)?.row)))
            }
            Written::Unmet(Some(item)) => {
                let ours = [
                    (attr::STATE, attribute(T::IN_FLIGHT)),
                    (attr::ATTEMPT, attribute(attempt)),
                    (attr::CLAIMANT, attribute(claimant)),
                ];
                let kind = if is_so(&item, &ours) {
                    Claim::Claimed
                } else {
                    Claim::NotWaiting
                };
                Ok(kind(Box::new(decode::<T>(item)?.row)))
            }
            Written::Unmet(None) => Ok(Claim::Gone),
        }
    }

    /// IN_FLIGHT → WAITING, when it is this attempt. Nobody but its claimant puts an attempt back: a row that waits after it
    /// already was put back by us, in an update whose answer was lost and which the SDK sent again.
    pub(crate) async fn release<T: Placed>(
        &self,
        key: &Primary,
        attempt: u32,
        reason: &str,
    ) -> Result<bool, TableError> {
        let update = Expression::new()
            .set(attr::STATE, T::WAITING)
            .set(attr::RANK, T::own_rank(T::WAITING))
            .set(attr::REASON, reason)
            .add(attr::REV, 1)
            .only_if(attr::STATE, "=", T::IN_FLIGHT)
            .only_if(attr::ATTEMPT, "=", attempt);
        let waits = [
            (attr::STATE, attribute(T::WAITING)),
            (attr::ATTEMPT, attribute(attempt)),
        ];
        Ok(match self.update(key, update, ReturnValue::None).await? {
            Written::Done(_) => true,
            Written::Unmet(Some(item)) => is_so(&item, &waits),
            Written::Unmet(None) => false,
        })
    }

    /// One of `from` → `to`, on our own account. A row that stands in `to` for that reason (without one, for any) counts as
    /// moved: an update whose answer was lost is sent again by the SDK, and what comes of the move must still be done. Two who
    /// settle alike are both told so.
    pub(crate) async fn settle<T: Placed>(
        &self,
        key: &Primary,
        from: &[T::State],
        to: T::State,
        reason: Option<&str>,
    ) -> Result<bool, TableError> {
        let update = Expression::new()
            .set(attr::STATE, to)
            .set(attr::RANK, T::own_rank(to))
            .set_some(attr::REASON, reason)
            .add(attr::REV, 1)
            .only_if_in(attr::STATE, from);
        let mut settled = vec![(attr::STATE, attribute(to))];
        settled.extend(reason.map(|reason| (attr::REASON, attribute(reason))));
        Ok(match self.update(key, update, ReturnValue::None).await? {
            Written::Done(_) => true,
            Written::Unmet(Some(item)) => is_so(&item, &settled),
            Written::Unmet(None) => false,
        })
    }

    /// Records a report: blind when it outranks the row, merged when it does not.
    pub(crate) async fn record<T: Placed>(
        &self,
        key: &Primary,
        report: &T::Report,
    ) -> Result<Recorded, TableError> {
        let rank = T::rank(report);
        let mut update = Expression::new()
            .set_some(attr::STATE, T::state(report))
            .set(attr::RANK, rank)
            .add(attr::REV, 1)
            .only_if(attr::RANK, "<", rank);
        for (name, fact) in T::facts(report) {
            update = update.set_attribute(name, fact);
        }
        let update = match T::sid(report) {
            Some(sid) => with_sid(update, Some(sid), key).only_if_absent_or(attr::SID, sid),
            None => update,
        };
        let mut held = match self.update(key, update, ReturnValue::None).await? {
            Written::Done(_) => return Ok(Recorded::Applied),
            Written::Unmet(old) => old,
        };
        for _ in 0..MERGE_TRIES {
            let Some(item) = held else {
                return Ok(Recorded::NoRow);
            };
            let Held { mut row, rev } = decode::<T>(item)?;
            if !row.takes_reports() {
                return Ok(Recorded::NotExotel);
            }
            if let (Some(known), Some(reported)) = (row.known_sid(), T::sid(report))
                && known != reported
            {
                return Ok(Recorded::OtherSid);
            }
            let Some(merged) = row.merge(report) else {
                return Ok(Recorded::Unchanged);
            };
            let mut update = Expression::new()
                .set(attr::STATE, merged.state)
                .set(attr::RANK, merged.rank)
                .add(attr::REV, 1)
                .only_if(attr::REV, "=", rev);
            for (name, fact) in merged.facts {
                update = update.set_attribute(name, fact);
            }
            let update = with_sid(update, merged.sid.as_deref(), key);
            match self.update(key, update, ReturnValue::None).await? {
                Written::Done(_) => return Ok(Recorded::Filled),
                Written::Unmet(old) => held = old,
            }
        }
        Err(TableError::contended())
    }

    /// The keys of rows with this sid.
    pub(crate) async fn keys_by_sid(&self, sid: &str, prefix: &str) -> Result<Vec<Primary>, TableError> {
        let selected = self
            .select_index(Select {
                pk: &keys::sid_partition(sid),
                sk: Range::Prefix(prefix),
                newest_first: false,
                limit: None,
                after: None,
            })
            .await?;
        selected
            .items
            .into_iter()
            .map(|item| crate::item::primary(&item.into()))
            .collect()
    }
}
