//! Figures by quarter and by day, the quarters that are to be folded anew, and what they are folded from.

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, Select as Selection};
use domain::{
    call_record::CallSummary,
    figures::{Bucket, DayFigures, Figures, MessageSummary},
    history::{Export, Rebuild},
    ids::CallSid,
    sms::Sms,
};
use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    HeldRecord, Page, Table, TableError, call_records,
    expression::Expression,
    item::{self, Entity},
    keys::{self, Attributes, Primary},
    placed::Placed,
    store::{Range, Select, Written},
};

/// Counts an item's changes.
const REV: &str = "rev";
/// Seconds that an export's item is kept; its file goes after seven days.
const EXPORT_KEPT_SECS: i64 = 8 * 24 * 60 * 60;
/// Pages that counting looks through at most.
const COUNT_PAGES: usize = 8;

/// A quarter whose figures are to be folded anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirty {
    /// Which quarter.
    pub bucket: Bucket,
    /// What marked it last.
    pub token: String,
    /// How often it was marked since it was last clear: the same change may mark it again, after others.
    pub times: i64,
}

/// Something as it was read, with the revision that a write must find unchanged; 0 where nothing stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held<T> {
    /// What stands there.
    pub value: T,
    /// Counts its changes.
    pub rev: i64,
}

/// What figures stand on, read from the whole table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseRow {
    /// A call's record.
    Call(Box<HeldRecord>),
    /// An SMS's row and its revision.
    Sms(Box<Sms>, i64),
    /// A summary of this call stands at this time.
    SummaryAt(CallSid, Timestamp),
    /// Something that does not have the form that this version reads; its key, for the operator.
    Unreadable(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct DirtyRow {
    token: String,
    times: i64,
}

/// The revision of an image from the table's stream, if its kind has one: an SMS's row, a call's record.
pub fn revision(item: &serde_dynamo::Item) -> Option<i64> {
    match item.inner().get(REV) {
        Some(serde_dynamo::AttributeValue::N(rev)) => rev.parse().ok(),
        _ => None,
    }
}

/// How often a quarter was marked.
const TIMES: &str = "times";

impl Table {
    /// Notes that something of a quarter changed: its figures are to be folded anew. Write what changed first; `token`
    /// says which change it was. 1 write unit.
    ///
    /// # Errors
    /// [`TableError`]; marking again is always safe.
    pub async fn mark_dirty(&self, bucket: Bucket, token: &str) -> Result<(), TableError> {
        let mark = Expression::new()
            .set("token", token)
            .set(keys::ENTITY_TYPE, Entity::DirtyFigures.as_str())
            .set(keys::VERSION, item::VERSION)
            .add(TIMES, 1);
        self.update(&keys::dirty(bucket), mark, ReturnValue::None).await?;
        Ok(())
    }

    /// The same for many quarters, each once, at this moment.
    ///
    /// # Errors
    /// [`TableError`]; marking again is always safe.
    pub async fn mark_all_dirty(&self, buckets: &[Bucket], now: Timestamp) -> Result<(), TableError> {
        let row = DirtyRow {
            token: format!("all/{now}"),
            // Above every count of single marks: nobody takes it for a mark that was read before.
            times: now.as_microsecond(),
        };
        let items = buckets
            .iter()
            .map(|bucket| item::item(Entity::DirtyFigures, &keys::dirty(*bucket), None, None, &row));
        self.put_all(items.collect::<Result<_, _>>()?).await
    }

    /// The quarters that are to be folded anew, the oldest first, `limit` at most, those behind `after`.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn dirty_buckets(
        &self,
        limit: usize,
        after: Option<Bucket>,
    ) -> Result<Page<Dirty>, TableError> {
        let selected = self
            .select(Select {
                pk: keys::DIRTY_FIGURES,
                sk: Range::All,
                newest_first: false,
                limit: Some(limit + 1),
                after: after.map(keys::dirty),
            })
            .await?;
        let mut dirty = Vec::new();
        for item in selected.items {
            let item = serde_dynamo::Item::from(item);
            let key = item::primary(&item)?;
            let bucket = key
                .sk
                .parse()
                .map_err(|e| TableError::corrupt(key.to_string(), e))?;
            let row: DirtyRow = item::body(item, &key)?;
            dirty.push(Dirty {
                bucket,
                token: row.token,
                times: row.times,
            });
        }
        Ok(Page::cut(dirty, limit, selected.more, |dirty| {
            dirty.bucket.to_string()
        }))
    }

    /// How many quarters are to be folded anew, counted to some tens of thousands at most.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn count_dirty(&self) -> Result<u64, TableError> {
        let (mut count, mut start) = (0, None);
        for _ in 0..COUNT_PAGES {
            let answer = self
                .client()
                .query()
                .table_name(self.name())
                .key_condition_expression("#pk = :pk")
                .expression_attribute_names("#pk", keys::PK)
                .expression_attribute_values(":pk", AttributeValue::S(keys::DIRTY_FIGURES.to_owned()))
                .select(Selection::Count)
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(TableError::from_sdk)?;
            count += u64::try_from(answer.count).unwrap_or_default();
            start = answer.last_evaluated_key;
            if start.is_none() {
                break;
            }
        }
        Ok(count)
    }

    /// Takes a mark away, unless something of the quarter changed meanwhile: then false, and it stays.
    ///
    /// # Errors
    /// [`TableError`]; clearing again is always safe.
    pub async fn clear_dirty(&self, dirty: &Dirty) -> Result<bool, TableError> {
        let unchanged = Expression::new()
            .only_if_absent_or("token", &dirty.token)
            .only_if_absent_or(TIMES, dirty.times);
        let written = self.delete(&keys::dirty(dirty.bucket), unchanged).await?;
        Ok(matches!(written, Written::Done(_)))
    }

    /// The figures of a quarter; none are zeros at revision 0.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn figures(&self, bucket: Bucket) -> Result<Held<Figures>, TableError> {
        let held = self.held(&keys::figures(bucket)).await?;
        Ok(held.unwrap_or(Held {
            value: Figures::default(),
            rev: 0,
        }))
    }

    /// Writes the figures of a quarter, if nobody did since `rev` was read; false when somebody did. 1 write unit per
    /// KB.
    ///
    /// # Errors
    /// [`TableError`]; it may have been written.
    pub async fn put_figures(&self, bucket: Bucket, figures: &Figures, rev: i64) -> Result<bool, TableError> {
        self.put_held(Entity::Figures, &keys::figures(bucket), None, figures, rev)
            .await
    }

    /// The figures of the quarters of a day (UTC) from `from` to `to`, both inclusive and of that day, those behind
    /// `after`. A page is what one query gives.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn figures_between(
        &self,
        from: Bucket,
        to: Bucket,
        after: Option<Bucket>,
    ) -> Result<Page<(Bucket, Figures)>, TableError> {
        let (lower, upper) = (keys::figures(from), keys::figures(to));
        debug_assert_eq!(lower.pk, upper.pk, "both of one day");
        let selected = self
            .select(Select {
                pk: &lower.pk,
                sk: Range::Between(&lower.sk, &upper.sk),
                newest_first: false,
                limit: None,
                after: after.map(keys::figures),
            })
            .await?;
        let mut read = Vec::new();
        for item in selected.items {
            let item = serde_dynamo::Item::from(item);
            let key = item::primary(&item)?;
            let bucket = keys::figures_bucket(&key)
                .ok_or_else(|| TableError::corrupt(key.to_string(), "the key names no quarter"))?;
            read.push((bucket, item::body(item, &key)?));
        }
        let limit = read.len();
        Ok(Page::cut(read, limit, selected.more, |(bucket, _)| {
            bucket.to_string()
        }))
    }

    /// The figures of a zone's day; none are zeros at revision 0. `zone` is an IANA name.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn day_figures(&self, zone: &str, date: Date) -> Result<Held<DayFigures>, TableError> {
        let held = self.held(&keys::day(zone, date)).await?;
        Ok(held.unwrap_or(Held {
            value: DayFigures::default(),
            rev: 0,
        }))
    }

    /// Writes the figures of a zone's day, if nobody did since `rev` was read; false when somebody did.
    ///
    /// # Errors
    /// [`TableError`]; it may have been written.
    pub async fn put_day_figures(
        &self,
        zone: &str,
        date: Date,
        figures: &DayFigures,
        rev: i64,
    ) -> Result<bool, TableError> {
        self.put_held(Entity::DayFigures, &keys::day(zone, date), None, figures, rev)
            .await
    }

    /// The figures of a zone's days from `from` to `to`, both inclusive, those behind `after`. Days without any are
    /// left out. A page is what one query gives.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn days_between(
        &self,
        zone: &str,
        from: Date,
        to: Date,
        after: Option<Date>,
    ) -> Result<Page<(Date, DayFigures)>, TableError> {
        let selected = self
            .select(Select {
                pk: &keys::days_partition(zone),
                sk: Range::Between(&from.to_string(), &to.to_string()),
                newest_first: false,
                limit: None,
                after: after.map(|date| keys::day(zone, date)),
            })
            .await?;
        let mut days = Vec::new();
        for item in selected.items {
            let item = serde_dynamo::Item::from(item);
            let key = item::primary(&item)?;
            let date = key
                .sk
                .parse()
                .map_err(|e| TableError::corrupt(key.to_string(), e))?;
            days.push((date, item::body(item, &key)?));
        }
        let limit = days.len();
        Ok(Page::cut(days, limit, selected.more, |(date, _)| {
            date.to_string()
        }))
    }

    /// Writes an SMS's summary where figures find it; `rev` is its row's, and an older one never replaces a newer one.
    /// False when a newer one stands there.
    ///
    /// # Errors
    /// [`TableError`]; writing again is always safe.
    pub async fn put_message_summary(&self, summary: &MessageSummary, rev: i64) -> Result<bool, TableError> {
        let item = message_item(summary, rev)?;
        let newer = Expression::new().only_if_absent_or_less(REV, rev);
        Ok(matches!(self.put(item, newer).await?, Written::Done(_)))
    }

    /// The same when what stands there at this revision is known to differ.
    ///
    /// # Errors
    /// [`TableError`]; writing again is always safe.
    pub async fn repair_message_summary(
        &self,
        summary: &MessageSummary,
        rev: i64,
    ) -> Result<bool, TableError> {
        let item = message_item(summary, rev)?;
        let no_newer = Expression::new().only_if_absent_or_at_most(REV, rev);
        Ok(matches!(self.put(item, no_newer).await?, Written::Done(_)))
    }

    /// A call's summary when what stands there at this revision is known to differ, as [`Table::put_call_summary`].
    ///
    /// # Errors
    /// [`TableError`]; writing again is always safe.
    pub async fn repair_call_summary(&self, summary: &CallSummary, rev: i64) -> Result<bool, TableError> {
        let item = call_records::summary_item(summary, rev)?;
        let no_newer = Expression::new().only_if_absent_or_at_most(REV, rev);
        Ok(matches!(self.put(item, no_newer).await?, Written::Done(_)))
    }

    /// The summaries of SMS wanted in a quarter, `limit` at most, those behind `after`; the oldest first.
    ///
    /// # Errors
    /// [`TableError::Cursor`] for a cursor that is not ours; else as every read.
    pub async fn message_summaries(
        &self,
        bucket: Bucket,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Page<MessageSummary>, TableError> {
        let (lower, upper) = (keys::sortable(bucket.start()), keys::sortable(bucket.end()));
        let pk = keys::message_summaries_partition(&lower[..13]);
        let selected = self
            .select(Select {
                pk: &pk,
                // Exclusive above: nothing is stored at a bare time.
                sk: Range::Between(&lower, &upper),
                newest_first: false,
                limit: Some(limit + 1),
                after: after.map(|place| Primary::new(&pk, place)),
            })
            .await?;
        let mut summaries = Vec::new();
        for item in selected.items {
            let item = serde_dynamo::Item::from(item);
            let key = item::primary(&item)?;
            summaries.push(item::body::<MessageSummary>(item, &key)?);
        }
        Ok(Page::cut(summaries, limit, selected.more, |summary| {
            keys::message_summary(summary.at, &summary.id).sk
        }))
    }

    /// The summaries that stand for these calls and messages at their times, each with its revision, in this order;
    /// `None` where there is none.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn summaries_of_calls(
        &self,
        calls: &[(CallSid, Timestamp)],
    ) -> Result<Vec<Option<Held<CallSummary>>>, TableError> {
        let keys = calls.iter().map(|(sid, at)| keys::call_summary(*at, sid));
        self.held_all(keys.collect()).await
    }

    /// As [`Table::summaries_of_calls`], for messages.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn summaries_of_messages(
        &self,
        messages: &[&MessageSummary],
    ) -> Result<Vec<Option<Held<MessageSummary>>>, TableError> {
        let keys = messages.iter().map(|one| keys::message_summary(one.at, &one.id));
        self.held_all(keys.collect()).await
    }

    /// What figures stand on, from the whole table, a page of it after the other. Reads everything: for repairs alone.
    /// Not strongly consistent; the stream brings what changes meanwhile.
    ///
    /// # Errors
    /// [`TableError::Cursor`] for a cursor that is not ours; else as every read.
    pub async fn base_rows(
        &self,
        limit: Option<usize>,
        after: Option<&str>,
    ) -> Result<Page<BaseRow>, TableError> {
        let start = match after {
            None => None,
            Some(after) => {
                let (pk, sk) = after.split_once('\n').ok_or(TableError::Cursor)?;
                Some(Primary::new(pk, sk).attributes())
            }
        };
        let kinds = [Entity::CallRecord, Entity::Sms, Entity::CallSummary];
        let mut request = self
            .client()
            .scan()
            .table_name(self.name())
            .filter_expression("#kind IN (:k0, :k1, :k2)")
            .expression_attribute_names("#kind", keys::ENTITY_TYPE)
            .set_exclusive_start_key(start)
            .set_limit(limit.and_then(|limit| i32::try_from(limit).ok()));
        for (n, kind) in kinds.into_iter().enumerate() {
            let kind = AttributeValue::S(kind.as_str().to_owned());
            request = request.expression_attribute_values(format!(":k{n}"), kind);
        }
        let answer = request.send().await.map_err(TableError::from_sdk)?;
        let next = match answer.last_evaluated_key {
            None => None,
            Some(key) => {
                let key = item::primary(&key.into())?;
                Some(format!("{}\n{}", key.pk, key.sk))
            }
        };
        let rows = answer.items.unwrap_or_default().into_iter().map(|item| {
            let item = serde_dynamo::Item::from(item);
            let key = item::primary(&item).map_or_else(|_| "(no key)".to_owned(), |key| key.to_string());
            base_row(item).unwrap_or(BaseRow::Unreadable(key))
        });
        Ok(Page {
            items: rows.collect(),
            next,
        })
    }

    /// The last rebuilding of figures, or the one that goes on.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn rebuild(&self) -> Result<Option<Held<Rebuild>>, TableError> {
        self.held(&keys::rebuild()).await
    }

    /// Writes how far the rebuilding has come, if nobody did since `rev` was read (0: there was none); false when
    /// somebody did.
    ///
    /// # Errors
    /// [`TableError`]; it may have been written.
    pub async fn put_rebuild(&self, rebuild: &Rebuild, rev: i64) -> Result<bool, TableError> {
        self.put_held(Entity::Rebuild, &keys::rebuild(), None, rebuild, rev)
            .await
    }

    /// An export.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn export(&self, id: &str) -> Result<Option<Held<Export>>, TableError> {
        self.held(&keys::export(id)).await
    }

    /// Writes how far an export has come, if nobody did since `rev` was read (0: there was none); false when somebody
    /// did. The item goes by itself after eight days.
    ///
    /// # Errors
    /// [`TableError`]; it may have been written.
    pub async fn put_export(&self, export: &Export, rev: i64) -> Result<bool, TableError> {
        let ttl = export.requested_at.as_second() + EXPORT_KEPT_SECS;
        self.put_held(Entity::Export, &keys::export(&export.id), Some(ttl), export, rev)
            .await
    }

    async fn held<T: DeserializeOwned>(&self, key: &Primary) -> Result<Option<Held<T>>, TableError> {
        self.get(key)
            .await?
            .map(|item| decode_held(item.into()))
            .transpose()
    }

    async fn held_all<T: DeserializeOwned>(
        &self,
        keys: Vec<Primary>,
    ) -> Result<Vec<Option<Held<T>>>, TableError> {
        let mut found = std::collections::HashMap::new();
        for item in self.get_all(&keys).await? {
            let item = serde_dynamo::Item::from(item);
            found.insert(item::primary(&item)?, decode_held(item)?);
        }
        Ok(keys.iter().map(|key| found.remove(key)).collect())
    }

    async fn put_held(
        &self,
        entity: Entity,
        key: &Primary,
        ttl: Option<i64>,
        value: &impl Serialize,
        rev: i64,
    ) -> Result<bool, TableError> {
        let mut item = item::item(entity, key, None, ttl, value)?;
        item.insert(REV.to_owned(), crate::expression::attribute(rev + 1));
        let unchanged = match rev {
            0 => Expression::new().only_if_absent(keys::PK),
            rev => Expression::new().only_if(REV, "=", rev),
        };
        Ok(matches!(self.put(item, unchanged).await?, Written::Done(_)))
    }
}

fn base_row(item: serde_dynamo::Item) -> Result<BaseRow, TableError> {
    let kind = item::text(&item, keys::ENTITY_TYPE).unwrap_or_default();
    if kind == Entity::CallRecord.as_str() {
        Ok(BaseRow::Call(Box::new(call_records::decode(item)?)))
    } else if kind == Entity::Sms.as_str() {
        let held = Sms::decode(item)?;
        Ok(BaseRow::Sms(Box::new(held.row), held.rev))
    } else {
        let key = item::primary(&item)?;
        let summary: CallSummary = item::body(item, &key)?;
        Ok(BaseRow::SummaryAt(summary.sid, summary.at))
    }
}

fn decode_held<T: DeserializeOwned>(item: serde_dynamo::Item) -> Result<Held<T>, TableError> {
    let key = item::primary(&item)?;
    let rev = revision(&item).ok_or_else(|| TableError::corrupt(key.to_string(), "it has no revision"))?;
    Ok(Held {
        value: item::body(item, &key)?,
        rev,
    })
}

fn message_item(summary: &MessageSummary, rev: i64) -> Result<Attributes, TableError> {
    let key = keys::message_summary(summary.at, &summary.id);
    let mut item = item::item(Entity::MessageSummary, &key, None, None, summary)?;
    item.insert(REV.to_owned(), crate::expression::attribute(rev));
    Ok(item)
}
