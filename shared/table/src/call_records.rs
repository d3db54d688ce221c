//! Call records by CallSid, their summaries by hour and by number, and the list of those that have not settled.

use domain::{
    call_record::{CallRecord, CallSummary, Link, RecordReport},
    ids::CallSid,
    phone::PhoneNumber,
};
use jiff::Timestamp;

use crate::{
    Page, Table, TableError,
    expression::Expression,
    item::{self, Entity},
    keys::{self, Attributes, Gsi1, Primary},
    store::{Range, Select, Written},
};

/// How often a merge meets another writer before we call the record contended. Each meeting means that somebody
/// else's write went through.
const MERGE_TRIES: usize = 16;
/// Hours that one page of summaries looks through before it is handed out, full or not.
const HOURS_PER_PAGE: usize = 48;
/// Items read at once by queries whose pages are larger.
const QUERY_ITEMS: usize = 1_000;
/// Seconds after it was placed that a call whose price never comes stays in the list of unsettled calls: two days.
const UNSETTLED_SECS: i64 = 2 * 24 * 60 * 60;
/// Revision of a record.
const REV: &str = "rev";

/// A record as it was read, with the revision that a write must find unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRecord {
    /// The record.
    pub record: CallRecord,
    /// Counts its changes; 0 before the first.
    pub rev: i64,
}

impl HeldRecord {
    /// A record that is not there yet.
    pub fn absent(sid: CallSid) -> Self {
        Self {
            record: CallRecord::new(sid),
            rev: 0,
        }
    }
}

fn to_item(record: &CallRecord, rev: i64) -> Result<Attributes, TableError> {
    let key = keys::call_record(&record.sid);
    let mut item = item::item(Entity::CallRecord, &key, None, None, record)?;
    item.insert(REV.to_owned(), crate::expression::attribute(rev));
    Ok(item)
}

/// The record of an item.
pub(crate) fn decode(item: serde_dynamo::Item) -> Result<HeldRecord, TableError> {
    let key = item::primary(&item)?;
    let rev = match item.inner().get(REV) {
        Some(serde_dynamo::AttributeValue::N(rev)) => rev.parse().ok(),
        _ => None,
    };
    let rev = rev.ok_or_else(|| TableError::corrupt(key.to_string(), "it has no revision"))?;
    let record = item::body(item, &key)?;
    Ok(HeldRecord { record, rev })
}

/// The place of a summary, as cursors of its lists name it.
pub fn place(summary: &CallSummary) -> String {
    keys::call_summary(summary.at, &summary.sid).sk
}

/// The item of a summary.
pub(crate) fn summary_item(summary: &CallSummary, rev: i64) -> Result<Attributes, TableError> {
    let key = keys::call_summary(summary.at, &summary.sid);
    let customer = summary.customer.as_ref().and_then(|customer| customer.phone());
    let gsi1 = customer.map(|phone| Gsi1 {
        pk: keys::number_partition(&phone),
        sk: key.sk.clone(),
    });
    let mut item = item::item(Entity::CallSummary, &key, gsi1, None, summary)?;
    item.insert(REV.to_owned(), crate::expression::attribute(rev));
    Ok(item)
}

/// Which summaries are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The oldest call first.
    OldestFirst,
    /// The newest call first.
    NewestFirst,
}

impl Table {
    /// The record of a call, strongly consistent.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn call_record(&self, sid: &CallSid) -> Result<Option<HeldRecord>, TableError> {
        self.get(&keys::call_record(sid))
            .await?
            .map(|item| decode(item.into()))
            .transpose()
    }

    /// The records of these calls, strongly consistent, in the order of the sids; missing ones are left out. 1 read
    /// unit per 4 KB of each.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn call_records(&self, sids: &[CallSid]) -> Result<Vec<HeldRecord>, TableError> {
        let keys: Vec<Primary> = sids.iter().map(keys::call_record).collect();
        self.get_all(&keys)
            .await?
            .into_iter()
            .map(|item| decode(item.into()))
            .collect()
    }

    /// Changes a record as `change` says, which tells whether anything changed; begins with `held` and reads again
    /// when somebody else was quicker. Gives the record as it stands, and whether it was written.
    ///
    /// # Errors
    /// [`TableError`]; changing again is always safe when `change` is idempotent.
    pub async fn change_call_record(
        &self,
        mut held: HeldRecord,
        mut change: impl FnMut(&mut CallRecord) -> bool,
    ) -> Result<(HeldRecord, bool), TableError> {
        for _ in 0..MERGE_TRIES {
            if !change(&mut held.record) {
                return Ok((held, false));
            }
            let condition = match held.rev {
                0 => Expression::new().only_if_absent(keys::PK),
                rev => Expression::new().only_if(REV, "=", rev),
            };
            let item = to_item(&held.record, held.rev + 1)?;
            if let Written::Done(_) = self.put(item, condition).await? {
                held.rev += 1;
                return Ok((held, true));
            }
            let sid = held.record.sid.clone();
            held = match self.call_record(&sid).await? {
                Some(held) => held,
                None => HeldRecord::absent(sid),
            };
        }
        Err(TableError::contended())
    }

    /// Merges what is said of a call into its record, which comes to be if there is none. Gives the record as it
    /// stands, and whether anything changed: 1 read, and 1 write unit per KB if so.
    ///
    /// # Errors
    /// [`TableError`]; merging again is always safe.
    pub async fn merge_call_record(
        &self,
        sid: &CallSid,
        reports: &[RecordReport],
    ) -> Result<(HeldRecord, bool), TableError> {
        let held = self.call_record(sid).await?;
        let held = held.unwrap_or_else(|| HeldRecord::absent(sid.clone()));
        self.change_call_record(held, |record| {
            let mut changed = false;
            for report in reports {
                changed |= record.merge(report);
            }
            changed
        })
        .await
    }

    /// Notes in a call's record which row of ours it is.
    ///
    /// # Errors
    /// [`TableError`]; noting again is always safe.
    pub async fn link_call_record(&self, sid: &CallSid, link: &Link) -> Result<(), TableError> {
        let held = self.call_record(sid).await?;
        let held = held.unwrap_or_else(|| HeldRecord::absent(sid.clone()));
        self.change_call_record(held, |record| record.link_to(link))
            .await?;
        Ok(())
    }

    /// Forgets in a call's record who took part; the call still counts.
    ///
    /// # Errors
    /// [`TableError`]; erasing again is always safe.
    pub async fn erase_call_record(&self, sid: &CallSid) -> Result<(), TableError> {
        if let Some(held) = self.call_record(sid).await? {
            self.change_call_record(held, CallRecord::erase).await?;
        }
        Ok(())
    }

    /// Writes a record's summary where history and figures find it; older revisions never replace newer ones. False
    /// when a newer one stands there.
    ///
    /// # Errors
    /// [`TableError`]; writing again is always safe.
    pub async fn put_call_summary(&self, summary: &CallSummary, rev: i64) -> Result<bool, TableError> {
        let item = summary_item(summary, rev)?;
        let newer = Expression::new().only_if_absent_or_less(REV, rev);
        Ok(matches!(self.put(item, newer).await?, Written::Done(_)))
    }

    /// Takes a summary away from a time that turned out not to be the call's.
    ///
    /// # Errors
    /// [`TableError`]; taking it away again is always safe.
    pub async fn delete_call_summary(&self, at: Timestamp, sid: &CallSid) -> Result<(), TableError> {
        self.delete(&keys::call_summary(at, sid), Expression::new())
            .await?;
        Ok(())
    }

    /// The summaries of calls placed from `from` (inclusive) to `to` (exclusive), `limit` at most, those behind
    /// `cursor`. A page looks through at most 48 hours: it may be short, or empty, and still have a `next`.
    ///
    /// # Errors
    /// [`TableError::Cursor`] for a cursor that is not ours; else as every read.
    pub async fn call_summaries(
        &self,
        from: Timestamp,
        to: Timestamp,
        order: Order,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<CallSummary>, TableError> {
        let newest_first = order == Order::NewestFirst;
        let hours = keys::hours(from, to, newest_first);
        // A cursor is a place in the list, or `@hour` for the beginning of that hour.
        let (start, after) = match cursor {
            None => (None, None),
            Some(cursor) => match cursor.strip_prefix('@') {
                Some(hour) => (Some(hour.to_owned()), None),
                None if cursor.len() > 13 && cursor.is_char_boundary(13) => {
                    (Some(cursor[..13].to_owned()), Some(cursor.to_owned()))
                }
                None => return Err(TableError::Cursor),
            },
        };
        let first = match &start {
            None => 0,
            Some(start) => hours
                .iter()
                .position(|hour| hour == start)
                .ok_or(TableError::Cursor)?,
        };
        let (lower, upper) = (keys::sortable(from), keys::sortable(to));
        let mut summaries = Vec::new();
        for (visited, hour) in hours[first..].iter().enumerate() {
            if visited == HOURS_PER_PAGE {
                return Ok(Page {
                    items: summaries,
                    next: Some(format!("@{hour}")),
                });
            }
            let pk = keys::call_summaries_partition(hour);
            let mut after = after
                .as_ref()
                .filter(|_| visited == 0)
                .map(|sk| Primary::new(&pk, sk));
            loop {
                let wanted = limit + 1 - summaries.len();
                let selected = self
                    .select(Select {
                        pk: &pk,
                        // Exclusive above: nothing is stored at a bare time.
                        sk: Range::Between(&lower, &upper),
                        newest_first,
                        limit: Some(wanted.min(QUERY_ITEMS)),
                        after: after.take(),
                    })
                    .await?;
                for item in selected.items {
                    let item = serde_dynamo::Item::from(item);
                    let key = item::primary(&item)?;
                    summaries.push(item::body::<CallSummary>(item, &key)?);
                }
                if summaries.len() > limit {
                    return Ok(Page::cut(summaries, limit, true, place));
                }
                match summaries.last() {
                    Some(last) if selected.more => after = Some(keys::call_summary(last.at, &last.sid)),
                    _ => break,
                }
            }
        }
        Ok(Page {
            items: summaries,
            next: None,
        })
    }

    /// The summaries of a customer's calls placed from `from` (inclusive) to `to` (exclusive), newest first, `limit`
    /// at most, those behind `cursor`.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn call_summaries_by_number(
        &self,
        number: &PhoneNumber,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<CallSummary>, TableError> {
        let after = match cursor {
            None => None,
            Some(place) => Some(keys::call_summary_at(place).ok_or(TableError::Cursor)?),
        };
        let selected = self
            .select_index(Select {
                pk: &keys::number_partition(number),
                sk: Range::Between(&keys::sortable(from), &keys::sortable(to)),
                newest_first: true,
                limit: Some(limit + 1),
                after,
            })
            .await?;
        let keys = selected
            .items
            .into_iter()
            .map(|item| item::primary(&item.into()))
            .collect::<Result<Vec<_>, _>>()?;
        let more = selected.more || keys.len() > limit;
        let keys = &keys[..keys.len().min(limit)];
        let next = keys.last().filter(|_| more).map(|key| key.sk.clone());
        let items = self
            .get_all(keys)
            .await?
            .into_iter()
            .map(|item| {
                let item = serde_dynamo::Item::from(item);
                let key = item::primary(&item)?;
                item::body(item, &key)
            })
            .collect::<Result<_, TableError>>()?;
        Ok(Page { items, next })
    }

    /// Notes that a call has ended and price, duration or end time are still missing. `at` is when it was placed;
    /// the note goes by itself two days later.
    ///
    /// # Errors
    /// [`TableError`]; noting again is always safe.
    pub async fn note_unsettled(&self, at: Timestamp, sid: &CallSid) -> Result<(), TableError> {
        let key = keys::unsettled(at, sid);
        let none = std::collections::BTreeMap::<&str, &str>::new();
        let ttl = at.as_second() + UNSETTLED_SECS;
        let item = item::item(Entity::Unsettled, &key, None, Some(ttl), &none)?;
        self.put(item, Expression::new()).await?;
        Ok(())
    }

    /// Notes that a call has settled.
    ///
    /// # Errors
    /// [`TableError`]; noting again is always safe.
    pub async fn strike_unsettled(&self, at: Timestamp, sid: &CallSid) -> Result<(), TableError> {
        self.delete(&keys::unsettled(at, sid), Expression::new()).await?;
        Ok(())
    }

    /// The calls placed before `before` that ended and have not settled, the oldest first, `limit` at most, those
    /// behind `cursor`.
    ///
    /// # Errors
    /// [`TableError::Cursor`] for a cursor that is not ours; else as every read.
    pub async fn unsettled_calls(
        &self,
        before: Timestamp,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<CallSid>, TableError> {
        let after = cursor.map(|sk| Primary::new(keys::UNSETTLED, sk));
        let selected = self
            .select(Select {
                pk: keys::UNSETTLED,
                sk: Range::Before(&keys::sortable(before)),
                newest_first: false,
                limit: Some(limit + 1),
                after,
            })
            .await?;
        let mut sids = Vec::new();
        for item in selected.items {
            let key = item::primary(&item.into())?;
            let sid = key
                .sk
                .rsplit_once('#')
                .and_then(|(_, sid)| sid.parse::<CallSid>().ok());
            let sid = sid.ok_or_else(|| TableError::corrupt(key.to_string(), "the key names no call"))?;
            sids.push((key.sk, sid));
        }
        let page = Page::cut(sids, limit, selected.more, |(sk, _)| sk.clone());
        Ok(Page {
            items: page.items.into_iter().map(|(_, sid)| sid).collect(),
            next: page.next,
        })
    }
}
