//! The health of the account's ExoPhones: one item that holds the state of all, and one for each check, by day.
//!
//! The state is one item so that a call finds its caller id with one read. It is written whole, if its revision is
//! still the one that was read: whoever comes second reads again and merges again, so nobody's news are lost.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use domain::{
    health::{AccountStatus, CheckedExoPhone, ExoPhone, Health, HealthCheck, Listing, Source, Status},
    ids::ExoPhoneSid,
};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Page, Table, TableError,
    expression::Expression,
    item::{self, Entity},
    keys::{self, Attributes},
    store::{Range, Select, Written},
};

/// How long a check is kept.
pub const KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Longer JSON is packed, in bytes: some hundred ExoPhones can be read in DynamoDB's console, thousands fit an item.
const STATE_UNPACKED: usize = 64 * 1024;
/// The same of a check, which is written each minute: a packed one costs a write unit or two.
const CHECK_UNPACKED: usize = 1024;
/// What an item takes, with room for the rest of it.
const MOST_PACKED: usize = 380 * 1024;
/// Nothing unpacks to more than the longest push of Exotel's.
const MOST_UNPACKED: usize = 16 * 1024 * 1024;
/// Checks that one page looks through, whether they speak of the ExoPhone or not: about eight hours.
const LOOKED_THROUGH: usize = 500;

/// How often a change meets another writer before we call the state contended: two write it, seconds apart.
const CHANGE_TRIES: usize = 8;

const REV: &str = "rev";
const PHONES: &str = "phones";
const SAID: &str = "said";
/// DEFLATE of the JSON that would stand in the attribute of another name.
const PACKED: &str = "packed";

/// The state as its item holds it, besides the ExoPhones.
#[derive(Debug, Serialize, Deserialize)]
struct HealthRow {
    rev: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    began_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<AccountStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pushed_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    push_interval_secs: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    heard_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stale_after_secs: Option<u32>,
    #[serde(default)]
    listing: Listing,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<ExoPhoneSid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unknown_alerted_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    silence_alerted_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    all_known_since: Option<Timestamp>,
}

/// A check as its item holds it, besides what it says of each; the key tells its time and id.
#[derive(Debug, Serialize, Deserialize)]
struct CheckRow {
    by: Source,
    said_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<AccountStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    others: Option<Status>,
    #[serde(default)]
    left_out: u32,
}

/// Puts `value` into the item: readable while it is short, else packed. False when it fits in no way.
fn put_in(item: &mut Attributes, name: &str, value: &impl Serialize, unpacked: usize) -> bool {
    let json = serde_json::to_vec(value).expect("texts, times and maps of them always have a JSON form");
    if json.len() <= unpacked {
        item.insert(name.to_owned(), crate::expression::attribute(value));
        return true;
    }
    let packed = miniz_oxide::deflate::compress_to_vec(&json, 6);
    let fits = packed.len() <= MOST_PACKED;
    item.insert(PACKED.to_owned(), AttributeValue::B(Blob::new(packed)));
    fits
}

/// What [`put_in`] put there; nothing when it put nothing.
fn taken_out<T: DeserializeOwned + Default>(
    item: &mut Attributes,
    name: &str,
    key: &keys::Primary,
) -> Result<T, TableError> {
    let corrupt = |error: String| TableError::corrupt(key.to_string(), error);
    if let Some(AttributeValue::B(packed)) = item.remove(PACKED) {
        let json = miniz_oxide::inflate::decompress_to_vec_with_limit(packed.as_ref(), MOST_UNPACKED);
        let json = json.map_err(|error| corrupt(format!("{error}")))?;
        return serde_json::from_slice(&json).map_err(|error| corrupt(error.to_string()));
    }
    match item.remove(name) {
        None => Ok(T::default()),
        Some(value) => serde_dynamo::from_attribute_value(value).map_err(|error| corrupt(error.to_string())),
    }
}

fn encode_check(check: &HealthCheck) -> Result<Attributes, TableError> {
    let key = keys::health_check(check.at, &check.id);
    let row = CheckRow {
        by: check.by,
        said_at: check.said_at,
        account: check.account.clone(),
        others: check.others.clone(),
        left_out: check.left_out,
    };
    let ttl = check.at.as_second() + KEPT.as_secs();
    let mut item = item::item(Entity::HealthCheck, &key, None, Some(ttl), &row)?;
    put_in(&mut item, SAID, &check.said, CHECK_UNPACKED);
    Ok(item)
}

fn decode_check(mut item: Attributes) -> Result<HealthCheck, TableError> {
    let key = item::primary(&item.clone().into())?;
    let said: Vec<CheckedExoPhone> = taken_out(&mut item, SAID, &key)?;
    let row: CheckRow = item::body(item.into(), &key)?;
    let (at, id) =
        time_and_id(&key.sk).ok_or_else(|| TableError::corrupt(key.to_string(), "the key names no check"))?;
    Ok(HealthCheck {
        at,
        id: id.to_owned(),
        by: row.by,
        said_at: row.said_at,
        account: row.account,
        others: row.others,
        said,
        left_out: row.left_out,
    })
}

fn time_and_id(sk: &str) -> Option<(Timestamp, &str)> {
    let (at, id) = sk.split_once('#')?;
    let time: Timestamp = at.parse().ok()?;
    (keys::sortable(time) == at).then_some((time, id))
}

fn day_of(at: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(at).date()
}

impl Table {
    /// The health of the account's ExoPhones, strongly consistent; empty before anybody said anything. One read.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn exophone_health(&self) -> Result<Health, TableError> {
        Ok(self.held_health().await?.0)
    }

    /// Changes the health of the account's ExoPhones: reads it, lets `change` change it, and writes it if nobody else
    /// has meanwhile; else again, with what the other wrote. Gives the state as it then is. `change` must be safe to
    /// do twice: a write whose answer was lost is done again.
    ///
    /// # Errors
    /// [`TableError`]; changing again is always safe.
    pub async fn change_exophone_health(&self, change: impl Fn(&mut Health)) -> Result<Health, TableError> {
        for _ in 0..CHANGE_TRIES {
            let (before, rev) = self.held_health().await?;
            let mut after = before.clone();
            change(&mut after);
            if after == before || self.write_health(&after, rev).await? {
                return Ok(after);
            }
        }
        Err(TableError::contended())
    }

    /// The state and its revision; 0 when nothing was kept yet.
    async fn held_health(&self) -> Result<(Health, i64), TableError> {
        let key = keys::exophones();
        let Some(mut item) = self.get(&key).await? else {
            return Ok((Health::default(), 0));
        };
        let phones: BTreeMap<ExoPhoneSid, ExoPhone> = taken_out(&mut item, PHONES, &key)?;
        let row: HealthRow = item::body(item.into(), &key)?;
        let health = Health {
            began_at: row.began_at,
            account: row.account,
            pushed_at: row.pushed_at,
            push_interval_secs: row.push_interval_secs,
            heard_at: row.heard_at,
            stale_after_secs: row.stale_after_secs,
            listing: row.listing,
            position: row.position,
            unknown_alerted_at: row.unknown_alerted_at,
            silence_alerted_at: row.silence_alerted_at,
            all_known_since: row.all_known_since,
            phones,
        };
        Ok((health, row.rev))
    }

    /// Writes the state, if nobody has since it was read at revision `rev`. False when somebody has.
    async fn write_health(&self, health: &Health, rev: i64) -> Result<bool, TableError> {
        let row = HealthRow {
            rev: rev + 1,
            began_at: health.began_at,
            account: health.account.clone(),
            pushed_at: health.pushed_at,
            push_interval_secs: health.push_interval_secs,
            heard_at: health.heard_at,
            stale_after_secs: health.stale_after_secs,
            listing: health.listing.clone(),
            position: health.position.clone(),
            unknown_alerted_at: health.unknown_alerted_at,
            silence_alerted_at: health.silence_alerted_at,
            all_known_since: health.all_known_since,
        };
        let mut item = item::item(Entity::Exophones, &keys::exophones(), None, None, &row)?;
        if !put_in(&mut item, PHONES, &health.phones, STATE_UNPACKED) {
            // Thousands of ExoPhones with long names: the names can be read elsewhere.
            let mut nameless = health.phones.clone();
            for phone in nameless.values_mut() {
                phone.name = None;
            }
            put_in(&mut item, PHONES, &nameless, STATE_UNPACKED);
        }
        let unchanged = match rev {
            0 => Expression::new().only_if_absent(keys::PK),
            rev => Expression::new().only_if(REV, "=", rev),
        };
        Ok(matches!(self.put(item, unchanged).await?, Written::Done(_)))
    }

    /// Keeps what was said at one moment, for 90 days.
    ///
    /// # Errors
    /// [`TableError`]; keeping it again is always safe.
    pub async fn put_health_check(&self, check: &HealthCheck) -> Result<(), TableError> {
        self.put(encode_check(check)?, Expression::new()).await?;
        Ok(())
    }

    /// The checks from `from` (inclusive) to `to` (exclusive) that speak of an ExoPhone, newest first, day by day. A
    /// page looks through a limited number of checks: it may be short, or empty, and still have a `next`.
    ///
    /// # Errors
    /// [`TableError::Cursor`] for a cursor that is not ours; else as every read.
    pub async fn health_checks(
        &self,
        sid: &ExoPhoneSid,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<HealthCheck>, TableError> {
        let mut upper = match cursor {
            Some(cursor) => {
                let (at, _) = time_and_id(cursor).ok_or(TableError::Cursor)?;
                if cursor.len() > 512 || at >= to {
                    return Err(TableError::Cursor);
                }
                cursor.to_owned()
            }
            None => keys::sortable(to),
        };
        let lower = keys::sortable(from);
        // DynamoDB refuses a span that is none: a cursor's check may have become too old.
        if upper < lower {
            return Ok(Page::empty());
        }
        let newest = time_and_id(&upper).map_or(to, |(at, _)| at);
        let (mut day, oldest) = (day_of(newest), day_of(from));
        let mut found: Vec<HealthCheck> = Vec::new();
        let mut looked = 0;
        while day >= oldest {
            let selected = self
                .select(Select {
                    pk: &keys::health_checks_of(day),
                    // Exclusive above: nothing is stored at a bare time, and a cursor's own check is left out below.
                    sk: Range::Between(&lower, &upper),
                    newest_first: true,
                    limit: Some(LOOKED_THROUGH - looked),
                    after: None,
                })
                .await?;
            for item in selected.items {
                let check = decode_check(item)?;
                let at = keys::health_check(check.at, &check.id).sk;
                if at == upper {
                    continue;
                }
                if found.len() == limit {
                    let next = found.last().map(|last| keys::health_check(last.at, &last.id).sk);
                    return Ok(Page { items: found, next });
                }
                looked += 1;
                upper = at;
                if check.about(sid).is_some() {
                    found.push(check);
                }
            }
            if selected.more || looked >= LOOKED_THROUGH {
                // Nothing at all was looked through only when one check alone fills an answer; none does.
                return Ok(Page {
                    items: found,
                    next: Some(upper).filter(|upper| upper.contains('#')),
                });
            }
            let Ok(before) = day.yesterday() else { break };
            day = before;
        }
        Ok(Page {
            items: found,
            next: None,
        })
    }
}
