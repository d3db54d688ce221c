//! From a change to what has to be done about it.

use std::time::Duration;

use domain::{
    alert::Alert,
    call::{Call, CallOrigin, CallState},
    call_record::{CallRecord, Link, RecordReport},
    figures::MessageSummary,
    ids::{CallLocator, CallSid, SmsId, SmsLocator, VoiceSessionId},
    phone::Country,
    sms::Sms,
    voicebot::record::{StreamTold, VoiceSession},
};
use jiff::Timestamp;
use table::{EventOwner, HeldRecord, RawEvent, Record, events::RawEventId};

use super::bus::News;
use crate::inbound::{Locator, Webhook, record_report, stream_told};

/// An event of an unknown sid is tried again after this: by then the index has what was written before the event.
pub(super) const INDEX_LAG: Duration = Duration::from_secs(30);

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// Note that a call is not final.
    OpenCall(CallLocator),
    /// Note that it is, or gone.
    CloseCall(CallLocator),
    /// Note that an SMS is not final.
    OpenSms(SmsLocator),
    /// Note that it is, or gone.
    CloseSms(SmsLocator),
    /// List a raw event under its hour.
    Index(Box<RawEvent>),
    /// Take it out of that list.
    Unindex(Box<RawEvent>),
    /// A row got its sid: events that came before are applied to it.
    AdoptOrphans {
        sid: String,
        webhook: Webhook,
        locator: Locator,
    },
    /// An event of an unknown sid came: perhaps the index only lagged behind.
    TryAgainLater(RawEventId),
    /// Events said something of a call: its record takes it.
    Record {
        sid: CallSid,
        reports: Vec<RecordReport>,
    },
    /// A row got its sid: the call's record names the row.
    Link { sid: CallSid, link: Link },
    /// A lead was erased: the call's record forgets who took part.
    EraseRecord(CallSid),
    /// A record changed in what history and figures show.
    Summarise(Box<Summarised>),
    /// An SMS changed in what figures count; the revision of its row.
    SummariseSms(Box<MessageSummary>, i64),
    /// It became known whom a session with a bot is with: it goes to their timelines.
    PlaceSession(Box<VoiceSession>),
    /// A stream told of a call that nobody had announced: whose it is has to be found out first.
    IdentifySession(Box<VoiceSession>),
    /// A call to a bot got its sid: sessions whose streams were quicker are its.
    AdoptSessions { sid: CallSid, locator: CallLocator },
    /// Exotel told how a call's stream went.
    CompleteSession { sid: CallSid, told: Box<StreamTold> },
}

/// A record whose summary is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Summarised {
    pub(super) held: HeldRecord,
    /// When it was thought to be placed before: its summaries there go.
    pub(super) moved_from: Vec<Timestamp>,
    /// Whether it is to stand in the list of unsettled calls from now on, or not any more; `None` when that is as it was.
    pub(super) unsettled: Option<bool>,
}

/// Two effects with the same key are about the same thing: the later one counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Call(CallLocator),
    Sms(SmsLocator),
    Event(RawEventId),
    Sid(String),
    Orphan(RawEventId),
    Record(CallSid),
    Link(CallSid),
    EraseRecord(CallSid),
    Summary(CallSid),
    SmsSummary(SmsId),
    Session(VoiceSessionId),
    Sessions(CallSid),
    Stream(CallSid, Option<String>),
}

impl Effect {
    pub(super) fn key(&self) -> Key {
        match self {
            Effect::OpenCall(call) | Effect::CloseCall(call) => Key::Call(call.clone()),
            Effect::OpenSms(sms) | Effect::CloseSms(sms) => Key::Sms(sms.clone()),
            Effect::Index(event) | Effect::Unindex(event) => Key::Event(event.id()),
            Effect::AdoptOrphans { sid, .. } => Key::Sid(sid.clone()),
            Effect::TryAgainLater(orphan) => Key::Orphan(orphan.clone()),
            Effect::Record { sid, .. } => Key::Record(sid.clone()),
            Effect::Link { sid, .. } => Key::Link(sid.clone()),
            Effect::EraseRecord(sid) => Key::EraseRecord(sid.clone()),
            Effect::Summarise(summarised) => Key::Summary(summarised.held.record.sid.clone()),
            Effect::SummariseSms(summary, _) => Key::SmsSummary(summary.id.clone()),
            Effect::PlaceSession(session) | Effect::IdentifySession(session) => {
                Key::Session(session.id.clone())
            }
            Effect::AdoptSessions { sid, .. } => Key::Sessions(sid.clone()),
            Effect::CompleteSession { sid, told } => Key::Stream(sid.clone(), told.stream_sid.clone()),
        }
    }

    /// A later effect on the same thing in the same batch: it counts, with what the earlier one alone knows.
    pub(super) fn then(self, later: Effect) -> Effect {
        match (self, later) {
            (Effect::Record { mut reports, .. }, Effect::Record { sid, reports: more }) => {
                reports.extend(more);
                Effect::Record { sid, reports }
            }
            (Effect::Summarise(earlier), Effect::Summarise(mut later)) => {
                later.moved_from.extend(earlier.moved_from);
                later.unsettled = later.unsettled.or(earlier.unsettled);
                Effect::Summarise(later)
            }
            (_, later) => later,
        }
    }
}

/// Everything that follows from one change.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) effects: Vec<Effect>,
    pub(super) news: Vec<News>,
}

/// What follows from a change, told by its images alone. `expired`: DynamoDB removed the item by its TTL; the entries
/// that point to it have the same. `country` is the account's: national numbers in events are its.
pub(super) fn plan(old: Option<&Record>, new: Option<&Record>, expired: bool, country: Country) -> Plan {
    let mut plan = Plan::default();
    let old_call = old.and_then(as_call);
    let old_sms = old.and_then(as_sms);
    if let Some(call) = new.and_then(as_call) {
        of_call(&mut plan, old_call, call);
    } else if let Some(sms) = new.and_then(as_sms) {
        of_sms(&mut plan, old_sms, sms);
    } else if let Some(Record::CallRecord(held)) = new {
        let old = match old {
            Some(Record::CallRecord(old)) => Some(&old.record),
            _ => None,
        };
        of_record(&mut plan, old, held);
    } else if let Some(Record::Alert(alert)) = new {
        of_alert(&mut plan, old, alert);
    } else if let Some(Record::VoiceSession(session)) = new {
        of_session(&mut plan, old, session);
    } else if let (Some(Record::RawEvent(event)), None) = (new, old) {
        plan.effects.push(Effect::Index(event.clone()));
        if let Some(report) = record_report(event, country) {
            plan.effects.push(Effect::Record {
                sid: report.sid.clone(),
                reports: vec![report],
            });
        }
        if let Some((sid, told)) = stream_told(event) {
            let told = Box::new(told);
            plan.effects.push(Effect::CompleteSession { sid, told });
        }
        // What a flow tells is for the call's record and waits for no row.
        let is_passthru = event.purpose == Webhook::Passthru.as_str();
        if !is_passthru && matches!(&event.owner, EventOwner::Sid(sid) if !sid.is_empty()) {
            plan.effects.push(Effect::TryAgainLater(event.id()));
        }
    } else if new.is_none() && !expired {
        // The lead was erased. An orphan went because it moved, and its entry names the new place by now.
        if let Some(Record::Call(call)) = old
            && let Some(sid) = call.sid()
        {
            plan.effects.push(Effect::EraseRecord(sid.clone()));
        }
        match old {
            Some(Record::Call(call)) if is_open_call(call) => {
                plan.effects.push(Effect::CloseCall(call.locator.clone()));
            }
            Some(Record::Sms(sms)) if is_open_sms(sms) => {
                plan.effects.push(Effect::CloseSms(sms.locator.clone()));
            }
            Some(Record::RawEvent(event)) if !matches!(event.owner, EventOwner::Sid(_)) => {
                plan.effects.push(Effect::Unindex(event.clone()));
            }
            _ => {}
        }
    }
    plan
}

/// What figures count of a changed SMS; `revs` are the revisions of both images. Its lead was erased when the row went:
/// the message still counts, without its person.
pub(super) fn of_message(
    old: Option<&Record>,
    new: Option<&Record>,
    revs: (Option<i64>, Option<i64>),
) -> Option<Effect> {
    let summary = |record: Option<&Record>| record.and_then(as_sms).map(MessageSummary::of);
    match (summary(old), summary(new), revs) {
        (before, Some(after), (_, Some(rev))) if before.as_ref() != Some(&after) => {
            Some(Effect::SummariseSms(Box::new(after), rev))
        }
        (Some(before), None, (Some(rev), _)) if new.is_none() => {
            Some(Effect::SummariseSms(Box::new(before.without_person()), rev + 1))
        }
        _ => None,
    }
}

fn as_call(record: &Record) -> Option<&Call> {
    match record {
        Record::Call(call) => Some(call),
        _ => None,
    }
}

fn as_sms(record: &Record) -> Option<&Sms> {
    match record {
        Record::Sms(sms) => Some(sms),
        _ => None,
    }
}

fn is_open_call(call: &Call) -> bool {
    call.exotel()
        .is_some_and(|exotel| !exotel.progress.state.is_final())
}

fn is_open_sms(sms: &Sms) -> bool {
    !sms.progress.state.is_final()
}

fn of_call(plan: &mut Plan, old: Option<&Call>, new: &Call) {
    let CallOrigin::Exotel(exotel) = &new.origin else {
        return;
    };
    match (old.is_some_and(is_open_call), is_open_call(new)) {
        (false, true) => plan.effects.push(Effect::OpenCall(new.locator.clone())),
        (true, false) => plan.effects.push(Effect::CloseCall(new.locator.clone())),
        _ => {}
    }
    let old_exotel = old.and_then(Call::exotel);
    if let Some(sid) = &exotel.progress.sid
        && old_exotel.is_none_or(|old| old.progress.sid.is_none())
    {
        plan.effects.push(Effect::AdoptOrphans {
            sid: sid.to_string(),
            webhook: Webhook::Call,
            locator: Locator::Call(new.locator.clone()),
        });
        if exotel.to_bot {
            plan.effects.push(Effect::AdoptSessions {
                sid: sid.clone(),
                locator: new.locator.clone(),
            });
        }
        if let Some(called_by) = &new.called_by {
            plan.effects.push(Effect::Link {
                sid: sid.clone(),
                link: Link {
                    locator: new.locator.clone(),
                    called_by: called_by.clone(),
                },
            });
        }
    }
    let before = old_exotel.map_or(Stage::Wanted, |old| Stage::of(old.progress.state));
    let after = Stage::of(exotel.progress.state);
    let what = match after {
        Stage::Over if before == Stage::Over => {
            let told = |call: &Call| {
                (
                    call.outcome(),
                    call.duration_secs(),
                    call.recording_url().is_some(),
                )
            };
            (old.map(told) != Some(told(new))).then_some("call.corrected")
        }
        _ if after <= before => None,
        Stage::Wanted => None,
        Stage::Dispatched => Some("call.dispatched"),
        Stage::AgentAnswered | Stage::LeadAnswered => Some("call.answered"),
        Stage::Over => Some("call.completed"),
    };
    plan.news
        .extend(what.map(|what| News::of_call(what, new, exotel)));
}

fn of_record(plan: &mut Plan, old: Option<&CallRecord>, new: &HeldRecord) {
    let (before, after) = (old.and_then(CallRecord::summary), new.record.summary());
    let waits = |record: &CallRecord| record.summary().is_some() && record.is_over() && !record.is_settled();
    let (waited, waits) = (old.is_some_and(waits), waits(&new.record));
    if before == after && waited == waits {
        return;
    }
    let moved_from = before.map(|before| before.at);
    let moved_from: Vec<Timestamp> = moved_from
        .filter(|at| after.as_ref().is_none_or(|after| after.at != *at))
        .into_iter()
        .collect();
    plan.effects.push(Effect::Summarise(Box::new(Summarised {
        unsettled: (waited != waits || !moved_from.is_empty()).then_some(waits),
        moved_from,
        held: new.clone(),
    })));
}

fn of_sms(plan: &mut Plan, old: Option<&Sms>, new: &Sms) {
    match (old.is_some_and(is_open_sms), is_open_sms(new)) {
        (false, true) => plan.effects.push(Effect::OpenSms(new.locator.clone())),
        (true, false) => plan.effects.push(Effect::CloseSms(new.locator.clone())),
        _ => {}
    }
    if let Some(sid) = &new.progress.sid
        && old.is_none_or(|old| old.progress.sid.is_none())
    {
        plan.effects.push(Effect::AdoptOrphans {
            sid: sid.to_string(),
            webhook: Webhook::Sms,
            locator: Locator::Sms(new.locator.clone()),
        });
    }
    let status = new.progress.state.status();
    if old.is_none_or(|old| old.progress.state.status() != status) {
        plan.news.push(News::of_sms(status, new));
    }
}

fn of_session(plan: &mut Plan, old: Option<&Record>, new: &VoiceSession) {
    let old = match old {
        Some(Record::VoiceSession(old)) => Some(&**old),
        _ => None,
    };
    let is_known = |session: &VoiceSession| session.call.is_some() || session.caller.is_some();
    let told = |session: &VoiceSession| {
        (
            session.call_sid.clone(),
            session.caller.clone(),
            session.number.clone(),
        )
    };
    let unidentified = new.call.is_none() && new.direction.is_none() && new.call_sid.is_some();
    if unidentified && old.map(told) != Some(told(new)) {
        plan.effects.push(Effect::IdentifySession(Box::new(new.clone())));
    } else if is_known(new) && !old.is_some_and(is_known) {
        plan.effects.push(Effect::PlaceSession(Box::new(new.clone())));
    }
}

fn of_alert(plan: &mut Plan, old: Option<&Record>, new: &Alert) {
    let old = old.and_then(|old| match old {
        Record::Alert(alert) => Some(alert),
        _ => None,
    });
    let was = |done: fn(&Alert) -> bool| old.is_some_and(|old| done(old));
    let recovered = |alert: &Alert| !alert.is_open();
    let acknowledged = |alert: &Alert| alert.acknowledged.is_some();
    if old.is_none() {
        plan.news.push(News::of_alert("alert.raised", new));
    }
    if recovered(new) && !was(recovered) {
        plan.news.push(News::of_alert("alert.recovered", new));
    }
    if acknowledged(new) && !was(acknowledged) {
        plan.news.push(News::of_alert("alert.acknowledged", new));
    }
}

/// How far a call has come, as the bus tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Wanted,
    Dispatched,
    AgentAnswered,
    LeadAnswered,
    Over,
}

impl Stage {
    fn of(state: CallState) -> Self {
        match state {
            CallState::Waiting | CallState::InFlight | CallState::Unconfirmed => Stage::Wanted,
            CallState::Accepted | CallState::Ringing => Stage::Dispatched,
            CallState::InProgress => Stage::AgentAnswered,
            CallState::Talking => Stage::LeadAnswered,
            _ => Stage::Over,
        }
    }
}
