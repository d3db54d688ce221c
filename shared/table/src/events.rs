//! Raw events: what Exotel sent, as it came, kept for 30 days.

use std::{fmt, str::FromStr};

use aws_sdk_dynamodb::types::ReturnValue;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::ids::{CallId, CallLocator, SmsId, SmsLocator};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    Page, Table, TableError,
    expression::Expression,
    item::{self, Entity},
    keys::{self, Primary},
    store::{Range, Select, Written},
};

/// Seconds that a raw event is kept: 30 days.
const KEPT_SECS: i64 = 30 * 24 * 60 * 60;
/// Hours that one page looks through before it is handed out, full or not: a quiet week costs several pages, not one
/// request that times out.
const HOURS_PER_PAGE: usize = 48;

/// What a raw event belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EventOwner {
    /// A call of ours: in its lead's item collection.
    Call(CallLocator),
    /// An SMS of ours: in its lead's item collection.
    Sms(SmsLocator),
    /// A sid that we do not know, as it was sent (at most its first 128 characters count); empty when there was none.
    Sid(String),
}

impl EventOwner {
    fn partition(&self) -> String {
        match self {
            EventOwner::Call(call) => keys::lead_partition(&call.lead_id),
            EventOwner::Sms(sms) => keys::lead_partition(&sms.lead_id),
            EventOwner::Sid(sid) => keys::sid_partition(sid),
        }
    }

    fn prefix(&self) -> String {
        match self {
            EventOwner::Call(call) => format!("{}{}#", keys::RAW_EVENTS, call.id),
            EventOwner::Sms(sms) => format!("{}{}#", keys::RAW_EVENTS, sms.id),
            EventOwner::Sid(_) => keys::RAW_EVENTS.to_owned(),
        }
    }
}

/// Names a raw event: opaque text of letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RawEventId {
    owner: EventOwner,
    hash: String,
}

impl RawEventId {
    fn key(&self) -> Primary {
        Primary::new(
            self.owner.partition(),
            format!("{}{}", self.owner.prefix(), self.hash),
        )
    }

    fn of_key(key: &Primary) -> Option<Self> {
        let tail = key.sk.strip_prefix(keys::RAW_EVENTS)?;
        if let Some(sid) = key.pk.strip_prefix("SID#") {
            return Some(Self {
                owner: EventOwner::Sid(sid.to_owned()),
                hash: tail.to_owned(),
            });
        }
        let lead_id = keys::lead_of_partition(&key.pk)?;
        let (id, hash) = tail.split_once('#')?;
        let owner = match (id.parse::<CallId>(), id.parse::<SmsId>()) {
            (Ok(id), _) => EventOwner::Call(CallLocator { id, lead_id }),
            (_, Ok(id)) => EventOwner::Sms(SmsLocator { id, lead_id }),
            _ => return None,
        };
        Some(Self {
            owner,
            hash: hash.to_owned(),
        })
    }
}

impl fmt::Display for RawEventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key();
        // Neither part of the key can hold a line feed but what a sid brings, and that one is the first part.
        f.write_str(&URL_SAFE_NO_PAD.encode(format!("{}\n{}", key.pk, key.sk)))
    }
}

impl FromStr for RawEventId {
    type Err = TableError;

    /// # Errors
    /// [`TableError::Cursor`] for text that names no raw event.
    fn from_str(text: &str) -> Result<Self, TableError> {
        if text.len() > 1500 {
            return Err(TableError::Cursor);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TableError::Cursor)?;
        let key = String::from_utf8(bytes).map_err(|_| TableError::Cursor)?;
        let (pk, sk) = key.rsplit_once('\n').ok_or(TableError::Cursor)?;
        Self::of_key(&Primary::new(pk, sk)).ok_or(TableError::Cursor)
    }
}

/// What Exotel sent, as it came; tokens and credentials removed, numbers kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEvent {
    /// What it belongs to.
    pub owner: EventOwner,
    /// Which webhook it came by: `call`, `sms` or `passthru`.
    pub purpose: String,
    /// Hash of what makes it that event: a duplicate has the same. Letters, digits, `-` and `_`.
    pub hash: String,
    /// When it came first.
    pub received_at: Timestamp,
    /// Its `Content-Type`.
    pub content_type: Option<String>,
    /// Its body, byte by byte. Stored as text when it is UTF-8, else as binary.
    pub body: Vec<u8>,
    /// Its query string, without the token.
    pub query: Option<String>,
    /// Whether it changed or confirmed a row; `None` while nobody said.
    pub handled: Option<bool>,
}

impl RawEvent {
    /// Names it.
    pub fn id(&self) -> RawEventId {
        RawEventId {
            owner: self.owner.clone(),
            hash: self.hash.clone(),
        }
    }

    fn ttl(&self) -> i64 {
        self.received_at.as_second() + KEPT_SECS
    }
}

/// A body in an item: text, or binary when it is not UTF-8.
#[derive(Debug)]
struct Body(Vec<u8>);

impl Serialize for Body {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.serialize_bytes(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Body;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or binary")
            }
            fn visit_str<E>(self, text: &str) -> Result<Body, E> {
                Ok(Body(text.as_bytes().to_vec()))
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Body, E> {
                Ok(Body(bytes.to_vec()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A raw event as its item holds it; the key tells owner and hash.
#[derive(Debug, Serialize, Deserialize)]
struct RawEventRow {
    purpose: String,
    received_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    body: Body,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    handled: Option<bool>,
}

/// A pointer to a raw event, in the hour it was received in.
#[derive(Debug, Serialize, Deserialize)]
struct PointerRow {
    event_pk: String,
    event_sk: String,
}

/// The raw event of an item.
pub(crate) fn decode(item: serde_dynamo::Item) -> Result<RawEvent, TableError> {
    let key = item::primary(&item)?;
    let id = RawEventId::of_key(&key)
        .ok_or_else(|| TableError::corrupt(key.to_string(), "the key names no raw event"))?;
    let row: RawEventRow = item::body(item, &key)?;
    Ok(RawEvent {
        owner: id.owner,
        hash: id.hash,
        purpose: row.purpose,
        received_at: row.received_at,
        content_type: row.content_type,
        body: row.body.0,
        query: row.query,
        handled: row.handled,
    })
}

/// The key of the pointer to this item, if it is a raw event.
pub(crate) fn pointer_of(item: &serde_dynamo::Item) -> Option<Primary> {
    let hash = item::text(item, keys::SK)?.strip_prefix(keys::RAW_EVENTS)?;
    let received_at = item::text(item, "received_at")?.parse().ok()?;
    let hash = hash.rsplit_once('#').map_or(hash, |(_, hash)| hash);
    Some(keys::raw_event_by_hour(received_at, hash))
}

impl Table {
    /// Keeps a raw event for 30 days. False when the same one (owner and hash) is there already: it stays as it
    /// came first. 1 write unit per KB.
    ///
    /// # Errors
    /// [`TableError::TooLarge`] above 400 KB; else [`TableError`]; putting again is always safe.
    pub async fn put_raw_event(&self, event: &RawEvent) -> Result<bool, TableError> {
        let row = RawEventRow {
            purpose: event.purpose.clone(),
            received_at: event.received_at,
            content_type: event.content_type.clone(),
            body: Body(event.body.clone()),
            query: event.query.clone(),
            handled: event.handled,
        };
        let item = item::item(Entity::RawEvent, &event.id().key(), None, Some(event.ttl()), &row)?;
        let written = self.put(item, Expression::new().only_if_absent(keys::PK)).await?;
        Ok(matches!(written, Written::Done(_)))
    }

    /// The raw event, strongly consistent.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn raw_event(&self, id: &RawEventId) -> Result<Option<RawEvent>, TableError> {
        self.get(&id.key())
            .await?
            .map(|item| decode(item.into()))
            .transpose()
    }

    /// The raw events of one call, SMS or unknown sid, by hash; strongly consistent; at most 1 MB of them, which is
    /// more than any call has.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn raw_events_of(&self, owner: &EventOwner) -> Result<Vec<RawEvent>, TableError> {
        let selected = self
            .select(Select {
                pk: &owner.partition(),
                sk: Range::Prefix(&owner.prefix()),
                newest_first: false,
                limit: None,
                after: None,
            })
            .await?;
        selected
            .items
            .into_iter()
            .map(|item| decode(item.into()))
            .collect()
    }

    /// Says whether a raw event changed or confirmed a row. False when it is not there (any more).
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn mark_raw_event(&self, id: &RawEventId, handled: bool) -> Result<bool, TableError> {
        let update = Expression::new()
            .set("handled", handled)
            .only_if_present(keys::PK);
        let written = self.update(&id.key(), update, ReturnValue::None).await?;
        Ok(matches!(written, Written::Done(_)))
    }

    /// Removes a raw event: it was moved to the row that it turned out to be about.
    ///
    /// # Errors
    /// [`TableError`]; removing again is always safe.
    pub async fn delete_raw_event(&self, id: &RawEventId) -> Result<(), TableError> {
        self.delete(&id.key(), Expression::new()).await?;
        Ok(())
    }

    /// Puts a raw event into the list by hour; from the stream, so that the webhook does not wait for it.
    ///
    /// # Errors
    /// [`TableError`]; indexing again is always safe.
    pub async fn index_raw_event(&self, event: &RawEvent) -> Result<(), TableError> {
        let target = event.id().key();
        let row = PointerRow {
            event_pk: target.pk,
            event_sk: target.sk,
        };
        let key = keys::raw_event_by_hour(event.received_at, &event.hash);
        let item = item::item(Entity::RawEventPointer, &key, None, Some(event.ttl()), &row)?;
        self.put(item, Expression::new()).await?;
        Ok(())
    }

    /// Takes a raw event that was erased out of the list by hour.
    ///
    /// # Errors
    /// [`TableError`]; taking it out again is always safe.
    pub async fn unindex_raw_event(&self, event: &RawEvent) -> Result<(), TableError> {
        let key = keys::raw_event_by_hour(event.received_at, &event.hash);
        self.delete(&key, Expression::new()).await?;
        Ok(())
    }

    /// The raw events received from `from` (inclusive) to `to` (exclusive), newest first. A page looks through at
    /// most 48 hours: it may be short, or empty, and still have a `next`, which is its `cursor`.
    ///
    /// # Errors
    /// [`TableError::Cursor`] for a cursor that is not ours; else as every read.
    pub async fn raw_events_by_hour(
        &self,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<RawEvent>, TableError> {
        let mut upper = match cursor {
            Some(cursor) => {
                let (at, _) = cursor.split_once('#').ok_or(TableError::Cursor)?;
                let at: Timestamp = at.parse().map_err(|_| TableError::Cursor)?;
                if cursor.len() > 512 || !cursor.starts_with(&keys::sortable(at)) || at > to {
                    return Err(TableError::Cursor);
                }
                cursor.to_owned()
            }
            None => keys::sortable(to),
        };
        let lower = keys::sortable(from);
        let mut pointers: Vec<(String, Primary)> = Vec::new();
        let mut hour = upper[..13].to_owned();
        let mut more = false;
        for visited in 0.. {
            if upper <= lower {
                more = false;
                break;
            }
            if visited == HOURS_PER_PAGE || pointers.len() > limit {
                more = true;
                break;
            }
            let pk = format!("EVENTS#{hour}");
            // Exclusive above: nothing is stored at a bare time, and a cursor's own entry is left out below.
            let selected = self
                .select(Select {
                    pk: &pk,
                    sk: Range::Between(&lower, &upper),
                    newest_first: true,
                    limit: Some(limit + 2 - pointers.len()),
                    after: None,
                })
                .await?;
            for item in selected.items {
                let item = serde_dynamo::Item::from(item);
                let key = item::primary(&item)?;
                let row: PointerRow = item::body(item, &key)?;
                if key.sk != upper {
                    pointers.push((key.sk, Primary::new(row.event_pk, row.event_sk)));
                }
            }
            if selected.more {
                more = true;
                if let Some((sk, _)) = pointers.last() {
                    upper.clone_from(sk);
                }
                break;
            }
            // The end of the hour before: everything in it sorts below this hour's first moment.
            let start: Timestamp = format!("{hour}:00:00Z").parse().map_err(|_| TableError::Cursor)?;
            upper = keys::sortable(start);
            let before = start
                .checked_sub(SignedDuration::from_secs(1))
                .map_err(|_| TableError::Cursor)?;
            hour = keys::sortable(before)[..13].to_owned();
        }
        let next = if pointers.len() > limit {
            pointers.truncate(limit);
            pointers.last().map(|(sk, _)| sk.clone())
        } else if more {
            Some(if upper.contains('#') { upper } else { upper + "#" })
        } else {
            None
        };
        let keys: Vec<Primary> = pointers.into_iter().map(|(_, key)| key).collect();
        let events = self.get_all(&keys).await?;
        Ok(Page {
            items: events
                .into_iter()
                .map(|item| decode(item.into()))
                .collect::<Result<_, _>>()?,
            next,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_is_read_back_whatever_the_sid_was(sid in "\\PC{0,200}|[\\n#/ ]{0,9}", hash in "[a-f0-9]{32}") {
            let id = RawEventId { owner: EventOwner::Sid(sid), hash };
            let read: RawEventId = id.to_string().parse().unwrap();
            prop_assert_eq!(read.key(), id.key());
        }

        #[test]
        fn text_that_names_no_event_is_refused_without_a_panic(text in "\\PC{0,80}|[A-Za-z0-9_-]{0,80}") {
            if let Ok(id) = text.parse::<RawEventId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
