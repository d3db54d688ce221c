//! Sessions with bots: each who has to do with a call adds what they know, and people see what came of it.
//!
//! Every method that adds something is idempotent and one conditional write, and they may come in any order: what is
//! known is kept, and where a session stands follows from it.

use domain::{
    access::{Caller, Role},
    call_record::Direction,
    ids::{CallId, CallLocator, CallSid, LeadId, VoiceSessionId},
    phone::{Country, PhoneNumber},
    voicebot::{
        Ending, Rate,
        record::{Counts, Ended, EndedBy, Identified, Line, SessionState, Started, StreamTold, VoiceSession},
    },
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use table::{Noted, Page, Table, TableError, voice_sessions::KEPT};

use crate::{ServiceError, scope::lead_in_scope};

/// How far back a list goes when nobody says.
const RECENT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// A session that began longer ago is not active any more, whatever is known of it.
const ACTIVE_WITHIN: SignedDuration = SignedDuration::from_mins(70);
/// Another function's clock may be ahead of ours.
const AHEAD: SignedDuration = SignedDuration::from_mins(1);
/// Sessions that one list of active ones looks through at most.
const LOOKED_THROUGH: usize = 1_000;

/// What Exotel's `start` says of a stream, as it came.
#[derive(Debug, Clone)]
pub struct StreamStart<'a> {
    /// `stream_sid`.
    pub stream_sid: &'a str,
    /// `media_format.sample_rate`.
    pub rate: Rate,
    /// `call_sid`.
    pub call_sid: Option<&'a str>,
    /// `from`. In calls to a bot that we placed, it may be the same number as `to`: then it tells nothing.
    pub from: Option<&'a str>,
    /// `to`.
    pub to: Option<&'a str>,
}

/// What becomes of sessions, over the table.
#[derive(Debug, Clone)]
pub struct Sessions {
    table: Table,
    country: Country,
}

impl Sessions {
    /// Over this table; numbers without a country code are `country`'s.
    pub fn new(table: Table, country: Country) -> Self {
        Self { table, country }
    }

    /// Keeps a session whose socket's URL is given out. Nothing is added to one that was not kept.
    ///
    /// # Errors
    /// [`TableError`]; keeping it again is safe.
    pub async fn offered(&self, session: &VoiceSession) -> Result<(), TableError> {
        self.table.offer_voice_session(session).await?;
        Ok(())
    }

    /// Its socket was opened. Gives the session, which tells the bot and the rate; `None` when there is none.
    ///
    /// # Errors
    /// [`TableError`]; saying it again is safe.
    pub async fn connected(
        &self,
        id: &VoiceSessionId,
        at: Timestamp,
    ) -> Result<Option<VoiceSession>, TableError> {
        self.table.connect_voice_session(id, at).await
    }

    /// Its stream began. Sid and numbers that it was offered with stay; what cannot be read is left out.
    ///
    /// # Errors
    /// [`TableError`]; saying it again is safe.
    pub async fn started(
        &self,
        id: &VoiceSessionId,
        start: &StreamStart<'_>,
        at: Timestamp,
    ) -> Result<Noted, TableError> {
        let number = |text: Option<&str>| PhoneNumber::parse(text?, self.country).ok();
        let (from, to) = (number(start.from), number(start.to));
        let (caller, number) = if from == to { (None, None) } else { (from, to) };
        let started = Started {
            at,
            stream_sid: start.stream_sid.to_owned(),
            rate: start.rate,
            call_sid: start.call_sid.and_then(|sid| sid.parse().ok()),
            caller,
            number,
        };
        self.table.start_voice_session(id, &started).await
    }

    /// This was said in a turn. `heard` are the caller's words or keys, `said` the bot's, each when the bot tells. Words
    /// are cut at 1 000 characters; from the 200th turn on nothing is kept.
    ///
    /// # Errors
    /// [`TableError`]; saying it again is safe.
    pub async fn said(
        &self,
        id: &VoiceSessionId,
        turn: u32,
        heard: Option<&str>,
        said: Option<&str>,
        at: Timestamp,
    ) -> Result<Noted, TableError> {
        match Line::kept(turn, at, heard, said) {
            Some(line) => self.table.put_voice_line(id, &line).await,
            None => Ok(Noted::Unchanged),
        }
    }

    /// It ended. A socket that was found closed never takes the place of a reason; of two reasons the first stays.
    ///
    /// # Errors
    /// [`TableError`]; saying it again is safe.
    pub async fn ended(
        &self,
        id: &VoiceSessionId,
        why: &Ending,
        counts: Counts,
        at: Timestamp,
    ) -> Result<Noted, TableError> {
        let ended = Ended {
            at,
            why: why.clone(),
            counts,
        };
        let noted = self.table.end_voice_session(id, &ended).await?;
        if noted == Noted::Done {
            tracing::info!(voice_session.id = %id, turns = counts.turns, "a session with a bot ended");
        }
        Ok(noted)
    }

    /// Exotel tells how a call's stream went, in a Passthru behind it. Of several sessions of the call it is about the one
    /// with its `StreamSID`; without that, about the newest of which Exotel has told nothing. `false` when no session is
    /// meant.
    ///
    /// # Errors
    /// [`TableError`]; telling it again is safe.
    pub async fn completed(&self, call: &CallSid, told: &StreamTold) -> Result<bool, TableError> {
        let sessions = self.table.voice_sessions_by_call(call).await?;
        let Some(session) = told_of(&sessions, told) else {
            return Ok(false);
        };
        let told = told.clone().within_bounds();
        let noted = self.table.complete_voice_session(&session.id, &told).await?;
        Ok(noted != Noted::NoSession)
    }

    /// Finds out whose a session is of which only its stream has told, as when the socket's URL stands in a flow, and places
    /// it. `from` and `to` of a stream do not say which of them is the ExoPhone: a call of ours is known by its sid, and of
    /// any other call the one that is a number of the team's.
    ///
    /// # Errors
    /// [`TableError`]; doing it again is safe.
    pub async fn identify(&self, session: &VoiceSession) -> Result<(), TableError> {
        match self.found(session).await? {
            Some(found) => self.settle(session, &found).await,
            None => self.place(session).await,
        }
    }

    /// A call to a bot that was placed from here got its sid: sessions whose streams were quicker are its.
    ///
    /// # Errors
    /// [`TableError`]; doing it again is safe.
    pub async fn adopt(&self, sid: &CallSid, locator: &CallLocator) -> Result<(), TableError> {
        let Some(found) = self.of_call(locator).await? else {
            return Ok(());
        };
        for session in self.table.voice_sessions_by_call(sid).await? {
            if session.call.is_none() {
                self.settle(&session, &found).await?;
            }
        }
        Ok(())
    }

    async fn settle(&self, session: &VoiceSession, found: &Identified) -> Result<(), TableError> {
        let _ = self.table.identify_voice_session(&session.id, found).await?;
        self.place(&VoiceSession {
            call: found.call.clone(),
            direction: Some(found.direction),
            caller: Some(found.caller.clone()),
            number: Some(found.number.clone()),
            ..session.clone()
        })
        .await
    }

    async fn of_call(&self, locator: &CallLocator) -> Result<Option<Identified>, TableError> {
        let call = self.table.call(locator).await?;
        Ok(call
            .as_ref()
            .and_then(|call| call.exotel())
            .map(|call| Identified {
                call: Some(locator.clone()),
                direction: Direction::Outbound,
                caller: call.lead_phone.clone(),
                number: call.caller_id.clone(),
            }))
    }

    async fn found(&self, session: &VoiceSession) -> Result<Option<Identified>, TableError> {
        if let Some(sid) = &session.call_sid
            && let Some(locator) = self.table.call_by_sid(sid).await?
            && let Some(found) = self.of_call(&locator).await?
        {
            return Ok(Some(found));
        }
        let (Some(from), Some(to)) = (&session.caller, &session.number) else {
            return Ok(None);
        };
        let (from_is_ours, to_is_ours) =
            tokio::try_join!(self.table.did_of_number(from), self.table.did_of_number(to))?;
        let (direction, caller, number) = match (from_is_ours, to_is_ours) {
            (Some(_), None) => (Direction::Outbound, to, from),
            (None, Some(_)) => (Direction::Inbound, from, to),
            _ => return Ok(None),
        };
        Ok(Some(Identified {
            call: None,
            direction,
            caller: caller.clone(),
            number: number.clone(),
        }))
    }

    /// A session goes to the timelines of the leads it belongs to: that of the call's row when it is a call of ours,
    /// else those who have the caller's number.
    ///
    /// # Errors
    /// [`TableError`]; placing it again is safe.
    pub async fn place(&self, session: &VoiceSession) -> Result<(), TableError> {
        let leads: Vec<LeadId> = match (&session.call, &session.caller) {
            (Some(call), _) => vec![call.lead_id.clone()],
            (None, Some(caller)) => {
                let leads = self.table.leads_by_phone(caller).await?;
                leads.into_iter().map(|lead| lead.id).collect()
            }
            (None, None) => Vec::new(),
        };
        let mut is_named = false;
        for lead in &leads {
            // One that is being erased gets no session, and is not who may see it.
            if self.table.place_voice_session(lead, &session.id).await? && !is_named {
                let _ = self.table.name_voice_lead(&session.id, lead).await?;
                is_named = true;
            }
        }
        Ok(())
    }

    /// The sessions offered from `from` to `to`, newest first, `limit` at most, those behind `after`; those of the last
    /// 30 days when nobody says. A page looks through 31 days: it may be short, or empty, and still have a `next`.
    /// Salespeople may not look; heads see the last four digits of numbers.
    ///
    /// # Errors
    /// [`ServiceError::Forbidden`], [`ServiceError::Field`] for a span that ends before it begins,
    /// [`ServiceError::Table`].
    pub async fn list(
        &self,
        reader: &Caller,
        span: (Option<Timestamp>, Option<Timestamp>),
        limit: usize,
        after: Option<&VoiceSessionId>,
        now: Timestamp,
    ) -> Result<Page<SessionView>, ServiceError> {
        let masked = masked(reader)?;
        let to = span.1.unwrap_or(now + AHEAD).min(now + AHEAD);
        let recent = || to.checked_sub(RECENT).unwrap_or(Timestamp::MIN);
        let from = span.0.unwrap_or_else(recent).max(now - KEPT);
        if span.0.is_some_and(|from| from >= to) {
            return Err(ServiceError::field("to", "it must be later than from"));
        }
        let after = after.map(VoiceSessionId::as_str);
        let page = self.table.voice_sessions(from, to, limit, after).await?;
        let view = |session: &VoiceSession| SessionView::new(session, None, masked, now);
        Ok(Page {
            items: page.items.iter().map(view).collect(),
            next: page.next,
        })
    }

    /// The sessions in which somebody may be talking with a bot, newest first, 100 at most. Salespeople may not look;
    /// heads see the last four digits of numbers.
    ///
    /// # Errors
    /// [`ServiceError::Forbidden`], [`ServiceError::Table`].
    pub async fn active(&self, reader: &Caller, now: Timestamp) -> Result<Vec<SessionView>, ServiceError> {
        let masked = masked(reader)?;
        let (from, to) = (now - ACTIVE_WITHIN, now + AHEAD);
        let page = self.table.voice_sessions(from, to, LOOKED_THROUGH, None).await?;
        let active = page
            .items
            .iter()
            .filter(|session| session.state(now).is_active())
            .take(100);
        Ok(active
            .map(|session| SessionView::new(session, None, masked, now))
            .collect())
    }

    /// A session with what was said. Salespeople may not look; heads see those of their leads and of numbers that are
    /// nobody's, with the last four digits of numbers.
    ///
    /// # Errors
    /// [`ServiceError::Forbidden`], [`ServiceError::NotFound`], [`ServiceError::Table`].
    pub async fn get(
        &self,
        reader: &Caller,
        id: &VoiceSessionId,
        now: Timestamp,
    ) -> Result<SessionView, ServiceError> {
        let masked = masked(reader)?;
        let session = self
            .table
            .voice_session(id)
            .await?
            .ok_or(ServiceError::NotFound)?;
        if !reader.role.is_admin() && !self.is_seen_by(reader, &session).await? {
            return Err(ServiceError::NotFound);
        }
        let lines = self.table.voice_lines(id).await?;
        Ok(SessionView::new(&session, Some(lines), masked, now))
    }

    /// Whether a session is of a lead in somebody's scope, or of a number that is nobody's.
    async fn is_seen_by(&self, reader: &Caller, session: &VoiceSession) -> Result<bool, ServiceError> {
        let of_call = session.call.as_ref().map(|call| &call.lead_id);
        // That it is a call of ours may have become known after its number's leads.
        let Some(lead) = of_call.or(session.lead_id.as_ref()) else {
            return Ok(true);
        };
        if lead.is_unlisted() {
            return Ok(true);
        }
        match lead_in_scope(&self.table, reader, lead).await {
            Ok(_) => return Ok(true),
            Err(ServiceError::NotFound) => {}
            Err(error) => return Err(error),
        }
        // A number may be several leads', and the session names the first: it is on the timelines of all.
        let Some(caller) = session.caller.as_ref().filter(|_| session.call.is_none()) else {
            return Ok(false);
        };
        for lead in self.table.leads_by_phone(caller).await? {
            if reader.may_see(&lead) && self.table.is_voice_session_of(&lead.id, &session.id).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Which of a call's sessions Exotel tells of.
fn told_of<'a>(sessions: &'a [VoiceSession], told: &StreamTold) -> Option<&'a VoiceSession> {
    let named = told.stream_sid.as_deref();
    sessions
        .iter()
        .find(|session| named.is_some() && session.stream_sid.as_deref() == named)
        .or_else(|| {
            // A fleet's stream is not known here, so it matches none by its sid.
            let open = |session: &&VoiceSession| {
                session.told.is_none() && (named.is_none() || session.stream_sid.is_none())
            };
            sessions.iter().rev().find(open)
        })
}

fn masked(reader: &Caller) -> Result<bool, ServiceError> {
    match reader.role {
        Role::Sales => Err(ServiceError::Forbidden),
        role => Ok(!role.is_admin()),
    }
}

/// A session, as administrators and heads see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionView {
    /// Our id of it.
    pub id: VoiceSessionId,
    /// Where it stands.
    pub state: SessionState,
    /// The bot's name.
    pub bot_id: String,
    /// Whether a media server of the team's has the call.
    pub fleet: bool,
    /// Exotel's id of the call.
    pub call_sid: Option<CallSid>,
    /// Exotel's id of the stream.
    pub stream_sid: Option<String>,
    /// Our id of the call, when it was placed from here.
    pub call_log_id: Option<CallId>,
    /// Whose number the caller's is.
    pub lead_id: Option<LeadId>,
    /// Who started the call.
    pub direction: Option<Direction>,
    /// The person's number.
    pub from: Option<String>,
    /// The ExoPhone's.
    pub to: Option<String>,
    /// Samples a second.
    pub sample_rate: Rate,
    /// When the socket's URL was given out; UTC.
    pub offered_at: Timestamp,
    /// When the socket was opened; UTC.
    pub connected_at: Option<Timestamp>,
    /// When the stream began; UTC.
    pub started_at: Option<Timestamp>,
    /// When it ended; UTC.
    pub ended_at: Option<Timestamp>,
    /// Who ended it.
    pub ended_by: Option<EndedBy>,
    /// What came of it.
    pub outcome: Option<String>,
    /// Seconds that caller and bot were connected.
    pub duration_secs: Option<u32>,
    /// Times that the bot was asked, once it is over.
    pub turns: Option<u32>,
    /// Frames that never came.
    pub lost_frames: Option<u32>,
    /// Messages that were no part of the call.
    pub ignored_messages: Option<u32>,
    /// What Exotel told of the stream.
    pub stream: Option<StreamTold>,
    /// What was said, in the order of the turns; left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcript: Option<Vec<Line>>,
}

impl SessionView {
    /// The session as it stands at `now`; `masked` leaves the last four digits of its numbers.
    pub fn new(session: &VoiceSession, lines: Option<Vec<Line>>, masked: bool, now: Timestamp) -> Self {
        let number = |number: &Option<PhoneNumber>| {
            let number = number.as_ref()?;
            Some(if masked {
                format!("…{}", number.last4())
            } else {
                number.to_string()
            })
        };
        let counts = session.end().map(|ended| ended.counts);
        Self {
            id: session.id.clone(),
            state: session.state(now),
            bot_id: session.bot_id.clone(),
            fleet: session.is_fleet,
            call_sid: session.call_sid.clone(),
            stream_sid: session.stream_sid.clone(),
            call_log_id: session.call.as_ref().map(|call| call.id.clone()),
            lead_id: session.lead_id.clone(),
            direction: session.direction,
            from: number(&session.caller),
            to: number(&session.number),
            sample_rate: session.rate,
            offered_at: session.offered_at(),
            connected_at: session.connected_at,
            started_at: session.started_at,
            ended_at: session.ended_at(),
            ended_by: session.ended_by(),
            outcome: session.outcome().map(str::to_owned),
            duration_secs: session.duration_secs(),
            turns: counts.map(|counts| counts.turns),
            lost_frames: counts.map(|counts| counts.lost_frames),
            ignored_messages: counts.map(|counts| counts.ignored),
            stream: session.told.clone(),
            transcript: lines,
        }
    }
}

/// A session, as a lead's timeline shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionLog {
    /// Our id of it.
    pub id: VoiceSessionId,
    /// The bot's name.
    pub bot_id: String,
    /// Where it stands; `null` in an export.
    pub state: Option<SessionState>,
    /// Exotel's id of the call.
    pub exotel_call_sid: Option<CallSid>,
    /// Our id of the call, when it was placed from here.
    pub call_log_id: Option<CallId>,
    /// Who started the call.
    pub direction: Option<Direction>,
    /// When the socket's URL was given out; UTC.
    pub offered_at: Timestamp,
    /// When the stream began; UTC.
    pub started_at: Option<Timestamp>,
    /// When it ended; UTC.
    pub ended_at: Option<Timestamp>,
    /// Who ended it.
    pub ended_by: Option<EndedBy>,
    /// What came of it.
    pub outcome: Option<String>,
    /// Seconds that caller and bot were connected.
    pub duration_sec: Option<u32>,
    /// Times that the bot was asked, once it is over.
    pub turns: Option<u32>,
    /// What was said; in an export alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcript: Option<Vec<Line>>,
}

impl SessionLog {
    /// The session as it stands at `now`.
    pub fn at(session: &VoiceSession, now: Timestamp) -> Self {
        Self {
            state: Some(session.state(now)),
            ..Self::exported(session, None)
        }
    }

    /// The session as it is stored, with what was said.
    pub fn exported(session: &VoiceSession, lines: Option<Vec<Line>>) -> Self {
        Self {
            id: session.id.clone(),
            bot_id: session.bot_id.clone(),
            state: None,
            exotel_call_sid: session.call_sid.clone(),
            call_log_id: session.call.as_ref().map(|call| call.id.clone()),
            direction: session.direction,
            offered_at: session.offered_at(),
            started_at: session.started_at,
            ended_at: session.ended_at(),
            ended_by: session.ended_by(),
            outcome: session.outcome().map(str::to_owned),
            duration_sec: session.duration_secs(),
            turns: session.end().map(|ended| ended.counts.turns),
            transcript: lines,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exotel_tells_of_the_session_with_its_stream_or_of_the_newest_one_untold() {
        let session = |n: u128, stream: Option<&str>| VoiceSession {
            stream_sid: stream.map(str::to_owned),
            ..VoiceSession::new(
                VoiceSessionId::new(Timestamp::UNIX_EPOCH, n),
                "echo",
                Rate::Hz8000,
            )
        };
        let told = |stream: Option<&str>| StreamTold {
            stream_sid: stream.map(str::to_owned),
            ..StreamTold::default()
        };
        let mut sessions = vec![session(0, Some("a")), session(1, Some("b")), session(2, None)];
        let of = |sessions: &[VoiceSession], stream| {
            let found = told_of(sessions, &told(stream))?;
            sessions.iter().position(|session| session.id == found.id)
        };
        assert_eq!(of(&sessions, Some("a")), Some(0));
        assert_eq!(of(&sessions, Some("c")), Some(2), "a fleet's");
        assert_eq!(of(&sessions, None), Some(2));
        sessions[2].told = Some(told(None));
        assert_eq!(of(&sessions, None), Some(1));
        assert_eq!(of(&sessions, Some("c")), None);
        assert_eq!(of(&[], None), None);
    }
}
