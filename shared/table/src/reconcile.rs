//! Where reading the call list stands, and what each window came to.

use domain::reconcile::{Pass, Position, Tally};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Table, TableError,
    expression::{Expression, attribute},
    figures::Held,
    item::{self, Entity},
    keys::{self, Primary},
    store::{Range, Select, Written},
};

/// Counts a position's changes.
const REV: &str = "rev";
/// Seconds that a window's tally is kept: 40 days.
const TALLY_KEPT_SECS: i64 = 40 * 24 * 60 * 60;
/// Windows that one question sums up: a day has 96 regular and 24 long ones.
const MOST_TALLIES: usize = 1_000;

/// Names a position: the regular pass, the long pass, or one backfill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PositionId {
    /// The regular pass.
    Recent,
    /// The long pass.
    Long,
    /// The backfill asked for at this moment.
    Backfill(Timestamp),
}

impl PositionId {
    fn key(&self) -> Primary {
        let sk = match self {
            PositionId::Recent => Pass::Recent.as_str().to_owned(),
            PositionId::Long => Pass::Long.as_str().to_owned(),
            PositionId::Backfill(at) => format!("{BACKFILLS}{}", keys::sortable(*at)),
        };
        Primary::new(keys::POSITIONS, sk)
    }
}

const BACKFILLS: &str = "backfill#";

#[derive(Serialize, Deserialize)]
struct TallyRow {
    pass: Pass,
    to: Timestamp,
    tally: Tally,
}

fn decode(item: serde_dynamo::Item) -> Result<Held<Position>, TableError> {
    let key = item::primary(&item)?;
    let rev = match item.inner().get(REV) {
        Some(serde_dynamo::AttributeValue::N(rev)) => rev.parse().ok(),
        _ => None,
    };
    let rev = rev.ok_or_else(|| TableError::corrupt(key.to_string(), "it has no revision"))?;
    Ok(Held {
        value: item::body(item, &key)?,
        rev,
    })
}

impl Table {
    /// Where a pass stands, strongly consistent.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn position(&self, id: &PositionId) -> Result<Option<Held<Position>>, TableError> {
        self.get(&id.key())
            .await?
            .map(|item| decode(item.into()))
            .transpose()
    }

    /// Keeps where a pass stands, if it stood at `rev` (0: nowhere). Gives the new revision, or `None` when another
    /// run was quicker: this one should end.
    ///
    /// # Errors
    /// [`TableError`]; when it is retryable the position may have been kept.
    pub async fn keep_position(
        &self,
        id: &PositionId,
        position: &Position,
        rev: i64,
    ) -> Result<Option<i64>, TableError> {
        let mut item = item::item(Entity::Position, &id.key(), None, None, position)?;
        item.insert(REV.to_owned(), attribute(rev + 1));
        let condition = match rev {
            0 => Expression::new().only_if_absent(keys::PK),
            rev => Expression::new().only_if(REV, "=", rev),
        };
        Ok(match self.put(item, condition).await? {
            Written::Done(_) => Some(rev + 1),
            Written::Unmet(_) => None,
        })
    }

    /// The backfills that were ever asked for, oldest first, done ones too.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn backfills(&self) -> Result<Vec<(Timestamp, Held<Position>)>, TableError> {
        let selected = self
            .select(Select {
                pk: keys::POSITIONS,
                sk: Range::Prefix(BACKFILLS),
                newest_first: false,
                limit: None,
                after: None,
            })
            .await?;
        let mut backfills = Vec::new();
        for item in selected.items {
            let item = serde_dynamo::Item::from(item);
            let key = item::primary(&item)?;
            let at = key.sk.strip_prefix(BACKFILLS).and_then(|at| at.parse().ok());
            let at = at.ok_or_else(|| TableError::corrupt(key.to_string(), "the key names no moment"))?;
            backfills.push((at, decode(item)?));
        }
        Ok(backfills)
    }

    /// Keeps what a window that ended at `to` came to, for 40 days; the same window lands on itself.
    ///
    /// # Errors
    /// [`TableError`]; keeping again is always safe.
    pub async fn keep_tally(&self, pass: Pass, to: Timestamp, tally: &Tally) -> Result<(), TableError> {
        let key = Primary::new(keys::TALLIES, format!("{}#{}", keys::sortable(to), pass.as_str()));
        let row = TallyRow {
            pass,
            to,
            tally: *tally,
        };
        let ttl = to.as_second() + TALLY_KEPT_SECS;
        let item = item::item(Entity::Tally, &key, None, Some(ttl), &row)?;
        self.put(item, Expression::new()).await?;
        Ok(())
    }

    /// What the windows that ended from `from` (inclusive) to `to` (exclusive) came to, newest first; the newest
    /// thousand.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn tallies(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Pass, Timestamp, Tally)>, TableError> {
        let selected = self
            .select(Select {
                pk: keys::TALLIES,
                sk: Range::Between(&keys::sortable(from), &keys::sortable(to)),
                newest_first: true,
                limit: Some(MOST_TALLIES),
                after: None,
            })
            .await?;
        selected
            .items
            .into_iter()
            .map(|item| {
                let item = serde_dynamo::Item::from(item);
                let key = item::primary(&item)?;
                let row: TallyRow = item::body(item, &key)?;
                Ok((row.pass, row.to, row.tally))
            })
            .collect()
    }
}
