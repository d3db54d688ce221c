//! Calls with bots: one item for each session, among those of its day; its transcript, and its places with leads.
//!
//! Who knows something of a session adds it with one conditional write, and nothing of it is ever taken back, so the
//! writes may come in any order and more than once. A session that is gone is not brought back by a late one.

use aws_sdk_dynamodb::types::{ConditionCheck, Put, ReturnValue, TransactWriteItem};
use domain::{
    call_record::Direction,
    ids::{CallLocator, CallSid, LeadId, VoiceSessionId},
    phone::PhoneNumber,
    voicebot::{
        Rate,
        record::{Ended, Identified, Line, Started, StreamTold, VoiceSession},
    },
};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::{
    Page, Table, TableError,
    expression::Expression,
    item::{self, Entity},
    keys::{self, Attributes, Primary},
    store::{Range, Select, Transacted, Written},
};

/// How long a session is kept: a year and a month.
pub const KEPT: SignedDuration = SignedDuration::from_hours(400 * 24);
/// How long its transcript is kept.
pub const TRANSCRIPT_KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);
/// How often a write that meets a transaction on the same session is tried.
const TRIES: usize = 4;
/// Most sessions of one call: a flow may have several applets, and one may dial again.
const SAME_CALL: usize = 20;
/// Days that one page of a list looks through.
const DAYS_PER_PAGE: usize = 31;

mod attr {
    pub(super) const RATE: &str = "rate";
    pub(super) const CALL_SID: &str = "call_sid";
    pub(super) const CALL: &str = "call";
    pub(super) const LEAD_ID: &str = "lead_id";
    pub(super) const DIRECTION: &str = "direction";
    pub(super) const CALLER: &str = "caller";
    pub(super) const NUMBER: &str = "number";
    pub(super) const CONNECTED_AT: &str = "connected_at";
    pub(super) const STARTED_AT: &str = "started_at";
    pub(super) const STREAM_SID: &str = "stream_sid";
    pub(super) const ENDED: &str = "ended";
    pub(super) const ENDED_RANK: &str = "ended_rank";
    pub(super) const TOLD: &str = "told";
}

/// What became of a fact about a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Noted {
    /// It stands there.
    Done,
    /// Something stands there that it does not replace; nothing was written.
    Unchanged,
    /// There is no such session (any more).
    NoSession,
}

/// A session and what was said in it, in the order of the turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcribed {
    /// The session.
    pub session: VoiceSession,
    /// What was said.
    pub lines: Vec<Line>,
}

/// A session as its item holds it; the key tells the id.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    bot_id: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_fleet: bool,
    rate: Rate,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    call_sid: Option<CallSid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    call: Option<CallLocator>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lead_id: Option<LeadId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    direction: Option<Direction>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caller: Option<PhoneNumber>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    number: Option<PhoneNumber>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connected_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stream_sid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<Ended>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    told: Option<StreamTold>,
}

fn to_item(session: &VoiceSession) -> Result<Attributes, TableError> {
    let session = session.clone();
    let key = keys::voice_session(&session.id);
    let gsi1 = session
        .call_sid
        .as_ref()
        .map(|sid| keys::voice_session_by_sid(&session.id, sid));
    let ttl = session.offered_at().as_second() + KEPT.as_secs();
    let row = Row {
        bot_id: session.bot_id,
        is_fleet: session.is_fleet,
        rate: session.rate,
        call_sid: session.call_sid,
        call: session.call,
        lead_id: session.lead_id,
        direction: session.direction,
        caller: session.caller,
        number: session.number,
        connected_at: session.connected_at,
        started_at: session.started_at,
        stream_sid: session.stream_sid,
        ended: session.ended,
        told: session.told,
    };
    item::item(Entity::VoiceSession, &key, gsi1, Some(ttl), &row)
}

/// The session of an item.
pub(crate) fn from_image(item: serde_dynamo::Item) -> Result<VoiceSession, TableError> {
    let key = item::primary(&item)?;
    let id = key
        .sk
        .parse()
        .map_err(|_| TableError::corrupt(key.to_string(), "the key names no session"))?;
    let row: Row = item::body(item, &key)?;
    Ok(VoiceSession {
        id,
        bot_id: row.bot_id,
        is_fleet: row.is_fleet,
        rate: row.rate,
        call_sid: row.call_sid,
        call: row.call,
        lead_id: row.lead_id,
        direction: row.direction,
        caller: row.caller,
        number: row.number,
        connected_at: row.connected_at,
        started_at: row.started_at,
        stream_sid: row.stream_sid,
        ended: row.ended,
        told: row.told,
    })
}

fn decode(item: Attributes) -> Result<VoiceSession, TableError> {
    from_image(item.into())
}

impl Table {
    /// Keeps a session that is offered. `false` when it was kept before. 1 write unit, and 1 for the index when the
    /// call's sid is known.
    ///
    /// # Errors
    /// [`TableError`]; keeping it again is safe.
    pub async fn offer_voice_session(&self, session: &VoiceSession) -> Result<bool, TableError> {
        let absent = Expression::new().only_if_absent(keys::PK);
        let written = self.put(to_item(session)?, absent).await?;
        Ok(matches!(written, Written::Done(_)))
    }

    /// Notes when a session's socket was opened, the first time; gives the session, `None` when there is none. 1 write
    /// unit.
    ///
    /// # Errors
    /// [`TableError`]; noting it again is safe.
    pub async fn connect_voice_session(
        &self,
        id: &VoiceSessionId,
        at: Timestamp,
    ) -> Result<Option<VoiceSession>, TableError> {
        let update = Expression::new()
            .set_once(attr::CONNECTED_AT, at)
            .only_if_present(keys::PK);
        match self
            .update(&keys::voice_session(id), update, ReturnValue::AllNew)
            .await?
        {
            Written::Done(item) => item.map(decode).transpose(),
            Written::Unmet(_) => Ok(None),
        }
    }

    /// Notes what `start` says of a session's stream. A sid or number that the session was offered with stays. What was
    /// noted of another stream stays: then [`Noted::Unchanged`]. 1 write unit, and those of the index when the sid is
    /// new.
    ///
    /// # Errors
    /// [`TableError`]; noting it again is safe.
    pub async fn start_voice_session(
        &self,
        id: &VoiceSessionId,
        started: &Started,
    ) -> Result<Noted, TableError> {
        let mut update = Expression::new()
            .set_once(attr::STARTED_AT, started.at)
            .set(attr::STREAM_SID, &started.stream_sid)
            .set(attr::RATE, started.rate)
            .only_if_present(keys::PK)
            .only_if_absent_or(attr::STREAM_SID, &started.stream_sid);
        if let Some(sid) = &started.call_sid {
            let gsi1 = keys::voice_session_by_sid(id, sid);
            update = update
                .set_once(attr::CALL_SID, sid)
                .set_once(keys::GSI1PK, gsi1.pk)
                .set_once(keys::GSI1SK, gsi1.sk);
        }
        if let Some(caller) = &started.caller {
            update = update.set_once(attr::CALLER, caller);
        }
        if let Some(number) = &started.number {
            update = update.set_once(attr::NUMBER, number);
        }
        self.note(id, update).await
    }

    /// Notes how a session ended, unless a report stands there that says as much. 1 write unit.
    ///
    /// # Errors
    /// [`TableError`]; noting it again is safe.
    pub async fn end_voice_session(&self, id: &VoiceSessionId, ended: &Ended) -> Result<Noted, TableError> {
        let update = Expression::new()
            .set(attr::ENDED, ended)
            .set(attr::ENDED_RANK, ended.rank())
            .only_if_present(keys::PK)
            .only_if_absent_or_less(attr::ENDED_RANK, ended.rank());
        self.note(id, update).await
    }

    /// Notes what Exotel told of a session's stream after its end; what it told first stays. 1 write unit.
    ///
    /// # Errors
    /// [`TableError`]; noting it again is safe.
    pub async fn complete_voice_session(
        &self,
        id: &VoiceSessionId,
        told: &StreamTold,
    ) -> Result<Noted, TableError> {
        let update = Expression::new()
            .set(attr::TOLD, told)
            .only_if_present(keys::PK)
            .only_if_absent(attr::TOLD);
        self.note(id, update).await
    }

    /// Notes whose a session is that was offered without saying so: once that it is a call of ours, and once which way another
    /// call went. 1 write unit.
    ///
    /// # Errors
    /// [`TableError`]; noting it again is safe.
    pub async fn identify_voice_session(
        &self,
        id: &VoiceSessionId,
        found: &Identified,
    ) -> Result<Noted, TableError> {
        let unknown = match found.call {
            Some(_) => attr::CALL,
            None => attr::DIRECTION,
        };
        let update = Expression::new()
            .set_some(attr::CALL, found.call.as_ref())
            .set(attr::DIRECTION, found.direction)
            .set(attr::CALLER, &found.caller)
            .set(attr::NUMBER, &found.number)
            .only_if_present(keys::PK)
            .only_if_absent(unknown);
        self.note(id, update).await
    }

    /// Notes whose number a session's caller has; the first lead stays. 1 write unit.
    ///
    /// # Errors
    /// [`TableError`]; noting it again is safe.
    pub async fn name_voice_lead(&self, id: &VoiceSessionId, lead: &LeadId) -> Result<Noted, TableError> {
        let update = Expression::new()
            .set(attr::LEAD_ID, lead)
            .only_if_present(keys::PK)
            .only_if_absent(attr::LEAD_ID);
        self.note(id, update).await
    }

    async fn note(&self, id: &VoiceSessionId, update: Expression) -> Result<Noted, TableError> {
        let key = keys::voice_session(id);
        let mut tries = 1;
        loop {
            let written = self.update(&key, update.clone(), ReturnValue::None).await;
            return Ok(match written {
                // A line of the transcript is being written, which looks whether the session is there.
                Err(error) if error.is_conflict() && tries < TRIES => {
                    tries += 1;
                    continue;
                }
                Err(error) => return Err(error),
                Ok(Written::Done(_)) => Noted::Done,
                Ok(Written::Unmet(Some(_))) => Noted::Unchanged,
                Ok(Written::Unmet(None)) => Noted::NoSession,
            });
        }
    }

    /// Keeps what was said in a turn of a session that is there; what was kept of this turn before is replaced. 4 write
    /// units.
    ///
    /// # Errors
    /// [`TableError`]; keeping it again is safe.
    pub async fn put_voice_line(&self, id: &VoiceSessionId, line: &Line) -> Result<Noted, TableError> {
        let exists = Expression::new().only_if_present(keys::PK);
        let check = ConditionCheck::builder()
            .table_name(self.name())
            .set_key(Some(keys::voice_session(id).attributes()))
            .set_condition_expression(exists.condition())
            .set_expression_attribute_names(exists.names())
            .build()
            .expect("key, table and condition are set");
        let key = keys::voice_line(id, line.turn);
        let ttl = line.at.as_second() + TRANSCRIPT_KEPT.as_secs();
        let put = Put::builder()
            .table_name(self.name())
            .set_item(Some(item::item(Entity::VoiceLine, &key, None, Some(ttl), line)?))
            .build()
            .expect("item and table are set");
        let writes = vec![
            TransactWriteItem::builder().condition_check(check).build(),
            TransactWriteItem::builder().put(put).build(),
        ];
        Ok(match self.transact(writes).await? {
            Transacted::Done => Noted::Done,
            Transacted::Unmet(_) => Noted::NoSession,
        })
    }

    /// Puts a session among what happened with a lead, or with a number that is no lead's. `false` when there is no such
    /// lead (any more). 4 write units, 1 in the home of a number: there is no row to look at.
    ///
    /// # Errors
    /// [`TableError`]; placing it again is safe.
    pub async fn place_voice_session(&self, lead: &LeadId, id: &VoiceSessionId) -> Result<bool, TableError> {
        let key = keys::voice_place(lead, id);
        let ttl = id.created_at().as_second() + KEPT.as_secs();
        let none = std::collections::BTreeMap::<&str, &str>::new();
        let item = item::item(Entity::VoicePlace, &key, None, Some(ttl), &none)?;
        if lead.is_unlisted() {
            let _ = self.put(item, Expression::new()).await?;
            return Ok(true);
        }
        let put = Put::builder()
            .table_name(self.name())
            .set_item(Some(item))
            .build()
            .expect("item and table are set");
        let put = TransactWriteItem::builder().put(put).build();
        let placed = self.transact(vec![self.lead_exists(lead), put]).await?;
        Ok(matches!(placed, Transacted::Done))
    }

    /// Whether a session is among what happened with a lead, strongly consistent. 1 read unit.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn is_voice_session_of(&self, lead: &LeadId, id: &VoiceSessionId) -> Result<bool, TableError> {
        Ok(self.get(&keys::voice_place(lead, id)).await?.is_some())
    }

    /// A session, strongly consistent.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn voice_session(&self, id: &VoiceSessionId) -> Result<Option<VoiceSession>, TableError> {
        let item = self.get(&keys::voice_session(id)).await?;
        item.map(decode).transpose()
    }

    /// What was said in a session, in the order of the turns.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn voice_lines(&self, id: &VoiceSessionId) -> Result<Vec<Line>, TableError> {
        let selected = self
            .select(Select {
                pk: &keys::voice_partition(id),
                // At most 200 lines of a few KB: below what one answer holds.
                sk: Range::Prefix(keys::VOICE_LINES),
                newest_first: false,
                limit: None,
                after: None,
            })
            .await?;
        selected
            .items
            .into_iter()
            .map(|item| {
                let item = serde_dynamo::Item::from(item);
                let key = item::primary(&item)?;
                item::body(item, &key)
            })
            .collect()
    }

    /// The sessions of a call, the oldest first, 20 at most.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn voice_sessions_by_call(&self, sid: &CallSid) -> Result<Vec<VoiceSession>, TableError> {
        let selected = self
            .select_index(Select {
                pk: &keys::sid_partition(sid.as_str()),
                sk: Range::Prefix(keys::VOICE_SESSIONS),
                newest_first: false,
                limit: Some(SAME_CALL),
                after: None,
            })
            .await?;
        let keys = selected
            .items
            .into_iter()
            .map(|item| item::primary(&item.into()))
            .collect::<Result<Vec<_>, _>>()?;
        self.get_all(&keys).await?.into_iter().map(decode).collect()
    }

    /// The sessions offered from `from` (inclusive) to `to` (exclusive), newest first, day by day. A page looks through 31
    /// days: it may be short, or empty, and still have a `next`.
    ///
    /// # Errors
    /// [`TableError::Cursor`] for a cursor that is not ours; else as every read.
    pub async fn voice_sessions(
        &self,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<VoiceSession>, TableError> {
        let after: Option<VoiceSessionId> = cursor
            .map(|cursor| cursor.parse().map_err(|_| TableError::Cursor))
            .transpose()?;
        if after.as_ref().is_some_and(|after| after.created_at() >= to) {
            return Err(TableError::Cursor);
        }
        // Ids tell whole milliseconds. The bound above is exclusive: no session has the smallest id of a moment.
        let (lower, upper) = (VoiceSessionId::lower_bound(from), VoiceSessionId::lower_bound(to));
        // DynamoDB refuses a span that is none, and a start outside of it: a cursor's session may have become too old.
        if lower >= upper || after.as_ref().is_some_and(|after| *after < lower) {
            return Ok(Page::empty());
        }
        let newest = after.as_ref().map_or(to, VoiceSessionId::created_at);
        let mut after = after.map(|after| keys::voice_session(&after));
        let (mut day, oldest) = (day_of(newest), day_of(from));
        let mut sessions = Vec::new();
        for visited in 0.. {
            if day < oldest || sessions.len() > limit {
                break;
            }
            if visited == DAYS_PER_PAGE {
                let next = day.tomorrow().ok().and_then(midnight);
                let next = next.map(|next| VoiceSessionId::lower_bound(next).to_string());
                return Ok(Page {
                    items: sessions,
                    next,
                });
            }
            let selected = self
                .select(Select {
                    pk: &keys::voice_sessions_of(day),
                    sk: Range::Between(lower.as_str(), upper.as_str()),
                    newest_first: true,
                    limit: Some(limit + 1 - sessions.len()),
                    after: after.take(),
                })
                .await?;
            for item in selected.items {
                sessions.push(decode(item)?);
            }
            if selected.more {
                return Ok(Page::cut(sessions, limit, true, |session| session.id.to_string()));
            }
            let Ok(before) = day.yesterday() else { break };
            day = before;
        }
        Ok(Page::cut(sessions, limit, false, |session| {
            session.id.to_string()
        }))
    }

    /// The sessions of a lead, newest first, those before `after`.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn voice_sessions_of_lead(
        &self,
        lead: &LeadId,
        limit: usize,
        after: Option<&VoiceSessionId>,
    ) -> Result<Page<VoiceSession>, TableError> {
        let selected = self
            .select(Select {
                pk: &keys::lead_partition(lead),
                sk: Range::Prefix(keys::VOICE_SESSIONS),
                newest_first: true,
                limit: Some(limit + 1),
                after: after.map(|id| keys::voice_place(lead, id)),
            })
            .await?;
        let ids = selected
            .items
            .into_iter()
            .map(|item| {
                let key = item::primary(&item.into())?;
                keys::placed_voice_session(&key)
                    .ok_or_else(|| TableError::corrupt(key.to_string(), "the key names no session"))
            })
            .collect::<Result<Vec<_>, TableError>>()?;
        let page = Page::cut(ids, limit, selected.more, VoiceSessionId::to_string);
        let keys: Vec<Primary> = page.items.iter().map(keys::voice_session).collect();
        let sessions = self.get_all(&keys).await?;
        Ok(Page {
            items: sessions.into_iter().map(decode).collect::<Result<_, _>>()?,
            next: page.next,
        })
    }

    /// A session that a lead's item collection names, with what was said.
    pub(crate) async fn transcribed(&self, id: &VoiceSessionId) -> Result<Option<Transcribed>, TableError> {
        let Some(session) = self.voice_session(id).await? else {
            return Ok(None);
        };
        let lines = self.voice_lines(id).await?;
        Ok(Some(Transcribed { session, lines }))
    }

    /// Erases a session: first the session itself, so that nothing is added to it any more, then what belongs to it.
    pub(crate) async fn erase_voice_session(&self, id: &VoiceSessionId) -> Result<(), TableError> {
        let mut tries = 1;
        loop {
            match self.delete(&keys::voice_session(id), Expression::new()).await {
                Err(error) if error.is_conflict() && tries < TRIES => tries += 1,
                Err(error) => return Err(error),
                Ok(_) => break,
            }
        }
        let pk = keys::voice_partition(id);
        loop {
            let selected = self
                .select(Select {
                    pk: &pk,
                    sk: Range::All,
                    newest_first: false,
                    limit: None,
                    after: None,
                })
                .await?;
            let keys = selected
                .items
                .into_iter()
                .map(|item| item::primary(&item.into()))
                .collect::<Result<Vec<_>, _>>()?;
            self.delete_all(&keys).await?;
            if !selected.more {
                return Ok(());
            }
        }
    }
}

/// When a day begins, UTC.
fn midnight(day: Date) -> Option<Timestamp> {
    Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

fn day_of(at: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(at).date()
}
