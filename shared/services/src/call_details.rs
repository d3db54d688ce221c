//! One call of the account, as we know it and, where that is not the last word, as Exotel does.
//!
//! Exotel is asked through the limiter, since somebody waits for the answer but nobody's click may be held up: v1's
//! details first, CCM's when v1 does not know the call. What Exotel says is merged into the record and into the call's
//! row. Exotel's silence never hides what we know.

use std::{collections::BTreeMap, time::Duration};

use domain::{
    call::{CallState, LegStatus, Outcome, ReportSource},
    call_record::{CallRecord, Direction, Facts, Party, RecordReport},
    ids::{CallId, CallSid, LeadId, UserId},
    outbound_limit::{Class, Patience},
    phone::Country,
};
use exotel::{calls::GetCall, ccm::GetCcmCall};
use jiff::Timestamp;
use serde::Serialize;
use table::{HeldRecord, Recorded, Table, TableError, limits::Reserving};

use crate::{
    call_records::{of_call, of_ccm},
    masking::mask,
    outbound::{
        Exotel,
        limiter::{Limiter, Permission},
    },
};

/// How long one request to Exotel may take. Two of them, each after a wait for its slot, fit into what API Gateway waits.
pub const TIMEOUT: Duration = Duration::from_secs(8);

/// Whom to ask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Source {
    /// v1, and CCM for a call that v1 does not know.
    #[default]
    Either,
    /// v1 alone.
    V1,
    /// CCM alone.
    Ccm,
}

impl std::str::FromStr for Source {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "v1" => Ok(Source::V1),
            "ccm" => Ok(Source::Ccm),
            _ => Err("it must be v1 or ccm"),
        }
    }
}

/// A call, and whether Exotel could be heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What is known of it.
    pub record: CallRecord,
    /// Why this may not be the last word: Exotel should have been asked, and said nothing.
    pub stale: Option<String>,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum NotFound {
    /// Neither Exotel nor we know the call.
    #[error("nobody knows the call")]
    Unknown,
    /// We do not know it, and there is no account with Exotel to ask.
    #[error("we do not know the call, and Exotel is not configured")]
    NotConfigured,
    /// We do not know it, and Exotel could not be heard; the text says why.
    #[error("we do not know the call, and Exotel could not be asked: {0}")]
    Unheard(String),
    /// The table failed.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// Looks calls up. One per process.
pub struct CallDetails {
    table: Table,
    limiter: Limiter,
    country: Country,
}

/// What Exotel said.
enum Heard {
    Report(Box<RecordReport>),
    Unknown,
    Nothing(String),
}

impl CallDetails {
    /// Over this table, asking through this limiter. `country` is the account's: national numbers are its.
    pub fn new(table: Table, limiter: Limiter, country: Country) -> Self {
        Self {
            table,
            limiter,
            country,
        }
    }

    /// The call. Exotel is asked when there is no record, when the call is not over or has not settled (price, duration
    /// or end are missing), and when `refresh` says so. `exotel` is none while the account is not configured.
    ///
    /// # Errors
    /// [`NotFound`].
    pub async fn find<E: Exotel>(
        &self,
        exotel: Option<&E>,
        sid: &CallSid,
        source: Source,
        refresh: bool,
    ) -> Result<Found, NotFound> {
        let held = self.table.call_record(sid).await?;
        if let Some(held) = held.as_ref().filter(|held| !refresh && held.record.is_settled()) {
            let record = held.record.clone();
            return Ok(Found { record, stale: None });
        }
        let heard = match exotel {
            Some(exotel) => self.ask(exotel, sid, source).await?,
            None if held.is_none() => return Err(NotFound::NotConfigured),
            None => Heard::Nothing("Exotel is not configured here".to_owned()),
        };
        match (heard, held) {
            (Heard::Report(report), held) => {
                let record = self.keep(sid, held, &report).await?;
                Ok(Found { record, stale: None })
            }
            (Heard::Unknown, None) => Err(NotFound::Unknown),
            (Heard::Nothing(why), None) => Err(NotFound::Unheard(why)),
            (Heard::Unknown, Some(held)) => Ok(Found {
                record: held.record,
                stale: Some("Exotel does not know this call".to_owned()),
            }),
            (Heard::Nothing(why), Some(held)) => Ok(Found {
                record: held.record,
                stale: Some(why),
            }),
        }
    }

    /// Merges what Exotel said. The row comes first: who dies in between does both again.
    async fn keep(
        &self,
        sid: &CallSid,
        held: Option<HeldRecord>,
        report: &RecordReport,
    ) -> Result<CallRecord, TableError> {
        let held = held.unwrap_or_else(|| HeldRecord::absent(sid.clone()));
        if let Some(link) = &held.record.link {
            let recorded = self
                .table
                .record_call_report(&link.locator, &report.for_row())
                .await?;
            if recorded == Recorded::OtherSid {
                tracing::warn!(call.id = %link.locator.id, call.sid = %sid, "left a row alone: it has another sid than its record");
            }
        }
        let changed = self
            .table
            .change_call_record(held, |record| record.merge(report))
            .await?;
        Ok(changed.0.record)
    }

    async fn ask<E: Exotel>(&self, exotel: &E, sid: &CallSid, source: Source) -> Result<Heard, TableError> {
        let Ok(exotel_sid) = sid.as_str().parse::<exotel::CallSid>() else {
            return Ok(Heard::Unknown);
        };
        let mut heard = Heard::Unknown;
        if source != Source::Ccm {
            if let Some(why) = self.slot().await? {
                return Ok(Heard::Nothing(why));
            }
            let answer = exotel.send(&GetCall::with_details(exotel_sid.clone())).await;
            heard = match answer {
                Ok(call) => report(of_call(ReportSource::Details, &call, self.country), sid),
                Err(error) => self.unanswered(sid, &error).await,
            };
        }
        if matches!(heard, Heard::Unknown) && source != Source::V1 {
            if let Some(why) = self.slot().await? {
                return Ok(Heard::Nothing(why));
            }
            heard = match exotel.send(&GetCcmCall { sid: exotel_sid }).await {
                Ok(call) => report(of_ccm(&call, self.country), sid),
                // An account without CCM is refused there, whatever is asked.
                Err(error) if source == Source::Either && error.is_refused_for_good() => Heard::Unknown,
                Err(error) => self.unanswered(sid, &error).await,
            };
        }
        Ok(heard)
    }

    /// Why there is no slot; `None` when there is one, and its time has come.
    async fn slot(&self) -> Result<Option<String>, TableError> {
        let slot = self
            .limiter
            .slot(Class::Voice, Reserving::ToLookUp, Patience::Inline)
            .await?;
        Ok(match slot {
            Permission::Go(_) => None,
            Permission::Later { .. } => {
                Some("too many requests to Exotel are under way; ask again in a moment".to_owned())
            }
            Permission::Paused => Some("outbound is stopped".to_owned()),
        })
    }

    async fn unanswered(&self, sid: &CallSid, error: &exotel::Error) -> Heard {
        if matches!(error, exotel::Error::NotFound(_)) {
            return Heard::Unknown;
        }
        tracing::warn!(call.sid = %sid, "looked up in vain: {error}");
        if error.status() == Some(429)
            && let Err(error) = self.limiter.push_forward(Class::Voice).await
        {
            tracing::warn!("the slots of others were not pushed forward: {error}");
        }
        Heard::Nothing(match error {
            exotel::Error::NotSent { .. } => "Exotel cannot be reached".to_owned(),
            exotel::Error::Unconfirmed { status: None, .. } => "Exotel does not answer".to_owned(),
            exotel::Error::Unconfirmed { .. } => "Exotel's answer cannot be read".to_owned(),
            error => error.to_string(),
        })
    }
}

/// A report about another call than the one that was asked for is none.
fn report(report: Result<RecordReport, domain::DomainError>, sid: &CallSid) -> Heard {
    match report {
        Ok(report) if report.sid == *sid => Heard::Report(Box::new(report)),
        _ => Heard::Nothing("Exotel's answer is about another call".to_owned()),
    }
}

/// A call record as an administrator sees it, in the sources' snake_case; what is not known is `null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallRecordView {
    /// Exotel's id of the call.
    pub sid: CallSid,
    /// The highest-ranked state that anybody reported.
    pub state: Option<CallState>,
    /// What became of it.
    pub outcome: Option<Outcome>,
    /// Who started it.
    pub direction: Option<Direction>,
    /// The customer's number.
    pub customer: Option<String>,
    /// The agent's number.
    pub agent: Option<String>,
    /// When the call was placed.
    pub created_at: Option<Timestamp>,
    /// When Exotel last changed its record.
    pub updated_at: Option<Timestamp>,
    /// When leg 1 was dialled.
    pub started_at: Option<Timestamp>,
    /// When a party answered.
    pub answered_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Exotel's word for its state.
    pub status: Option<String>,
    /// First leg.
    pub from: Option<String>,
    /// Second leg, or the number that was called.
    pub to: Option<String>,
    /// The ExoPhone.
    pub exophone: Option<String>,
    /// Whom a Connect applet dialled last.
    pub dialled: Option<String>,
    /// Seconds of the whole call.
    pub duration_secs: Option<u32>,
    /// Seconds that both parties talked.
    pub talk_secs: Option<u32>,
    /// Cost, a decimal number in the account's currency.
    pub price: Option<String>,
    /// Leg 1.
    pub leg1_status: Option<LegStatus>,
    /// Leg 2.
    pub leg2_status: Option<LegStatus>,
    /// Seconds that leg 1 was on the call.
    pub leg1_secs: Option<u32>,
    /// Seconds that leg 2 was on the call.
    pub leg2_secs: Option<u32>,
    /// Who or what picked up.
    pub answered_by: Option<String>,
    /// Whether it was recorded.
    pub has_recording: bool,
    /// Where the recording is; `null` also for who may not see numbers.
    pub recording_url: Option<String>,
    /// The call that this one came from.
    pub parent_call_sid: Option<String>,
    /// The account.
    pub account_sid: Option<String>,
    /// The number that a caller had dialled before being forwarded.
    pub forwarded_from: Option<String>,
    /// The caller's name.
    pub caller_name: Option<String>,
    /// Path in Exotel's API.
    pub uri: Option<String>,
    /// `CustomField` of the request that placed it.
    pub custom_field: Option<String>,
    /// The flow that it ran through.
    pub flow_id: Option<String>,
    /// How a flow's call went.
    pub call_type: Option<String>,
    /// Keys pressed.
    pub digits: Option<String>,
    /// The agent's user id at Exotel.
    pub agent_user_id: Option<String>,
    /// Further values under Exotel's own names.
    pub extra: BTreeMap<String, String>,
    /// Whether a callback or a Passthru told of it.
    pub called_back: bool,
    /// Whether Exotel's call list named it.
    pub listed: bool,
    /// Whether Exotel's details of it were read after its end.
    pub detailed: bool,
    /// Whether its end, duration and price are known.
    pub settled: bool,
    /// Whether who took part was forgotten, because the person was erased.
    pub erased: bool,
    /// Our own call, when it was placed from here.
    pub link: Option<LinkView>,
    /// Whether Exotel should have been asked and could not be heard.
    pub stale: bool,
    /// Why.
    pub stale_reason: Option<String>,
}

/// Our own call of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkView {
    /// Its id.
    pub call_id: CallId,
    /// The lead that was called.
    pub lead_id: LeadId,
    /// Who clicked.
    pub called_by: UserId,
}

impl CallRecordView {
    /// The record; `masked` leaves four digits of every number, and no address of a recording.
    pub fn new(found: Found, masked: bool) -> Self {
        let Found { record, stale } = found;
        let party = |party: &Party| {
            if masked {
                format!("…{}", party.last4())
            } else {
                party.as_str().to_owned()
            }
        };
        let text = |text: String| if masked { mask(&text) } else { text };
        let (customer, agent) = (record.customer().map(party), record.agent_number().map(party));
        let (outcome, direction, settled) = (record.outcome(), record.direction(), record.is_settled());
        let CallRecord {
            sid,
            state,
            rank: _,
            told: _,
            called_back,
            listed,
            detailed,
            facts,
            extra,
            link,
            erased,
        } = record;
        // Named one by one, so that a new fact is not forgotten here.
        let Facts {
            created_at,
            updated_at,
            started_at,
            answered_at,
            ended_at,
            status,
            direction: _,
            from,
            to,
            exophone,
            dialled,
            duration_secs,
            talk_secs,
            price,
            leg1_status,
            leg2_status,
            leg1_secs,
            leg2_secs,
            answered_by,
            recording_url,
            parent_call_sid,
            account_sid,
            forwarded_from,
            caller_name,
            uri,
            custom_field,
            flow_id,
            call_type,
            digits,
            agent_user_id,
        } = facts;
        let party = |fact: Option<domain::Ranked<Party>>| fact.map(|fact| party(&fact.value));
        Self {
            sid,
            state,
            outcome,
            direction,
            customer,
            agent,
            created_at: value(created_at),
            updated_at: value(updated_at),
            started_at: value(started_at),
            answered_at: value(answered_at),
            ended_at: value(ended_at),
            status: value(status),
            from: party(from),
            to: party(to),
            exophone: party(exophone),
            dialled: party(dialled),
            duration_secs: value(duration_secs),
            talk_secs: value(talk_secs),
            price: value(price),
            leg1_status: value(leg1_status),
            leg2_status: value(leg2_status),
            leg1_secs: value(leg1_secs),
            leg2_secs: value(leg2_secs),
            answered_by: value(answered_by),
            has_recording: recording_url.is_some(),
            recording_url: value(recording_url).filter(|_| !masked),
            parent_call_sid: value(parent_call_sid),
            account_sid: value(account_sid),
            forwarded_from: party(forwarded_from),
            caller_name: value(caller_name).map(text),
            uri: value(uri),
            custom_field: value(custom_field).map(text),
            flow_id: value(flow_id),
            call_type: value(call_type),
            digits: value(digits).map(text),
            agent_user_id: value(agent_user_id),
            extra: extra
                .into_iter()
                .map(|(name, fact)| (name, text(fact.value)))
                .collect(),
            called_back,
            listed,
            detailed,
            settled,
            erased,
            link: link.map(|link| LinkView {
                call_id: link.locator.id,
                lead_id: link.locator.lead_id,
                called_by: link.called_by,
            }),
            stale: stale.is_some(),
            stale_reason: stale,
        }
    }
}

fn value<T>(fact: Option<domain::Ranked<T>>) -> Option<T> {
    fact.map(|fact| fact.value)
}
