//! From a change to what has to be done about it.

use std::time::Duration;

use domain::{
    call::{Call, CallOrigin, CallState},
    ids::{CallLocator, SmsLocator},
    sms::Sms,
};
use table::{EventOwner, RawEvent, Record, events::RawEventId};

use super::bus::News;
use crate::inbound::{Locator, Webhook};

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
}

/// Two effects with the same key are about the same thing: the later one counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Call(CallLocator),
    Sms(SmsLocator),
    Event(RawEventId),
    Sid(String),
    Orphan(RawEventId),
}

impl Effect {
    pub(super) fn key(&self) -> Key {
        match self {
            Effect::OpenCall(call) | Effect::CloseCall(call) => Key::Call(call.clone()),
            Effect::OpenSms(sms) | Effect::CloseSms(sms) => Key::Sms(sms.clone()),
            Effect::Index(event) | Effect::Unindex(event) => Key::Event(event.id()),
            Effect::AdoptOrphans { sid, .. } => Key::Sid(sid.clone()),
            Effect::TryAgainLater(orphan) => Key::Orphan(orphan.clone()),
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
/// that point to it have the same.
pub(super) fn plan(old: Option<&Record>, new: Option<&Record>, expired: bool) -> Plan {
    let mut plan = Plan::default();
    let old_call = old.and_then(as_call);
    let old_sms = old.and_then(as_sms);
    if let Some(call) = new.and_then(as_call) {
        of_call(&mut plan, old_call, call);
    } else if let Some(sms) = new.and_then(as_sms) {
        of_sms(&mut plan, old_sms, sms);
    } else if let (Some(Record::RawEvent(event)), None) = (new, old) {
        plan.effects.push(Effect::Index(event.clone()));
        if matches!(&event.owner, EventOwner::Sid(sid) if !sid.is_empty()) {
            plan.effects.push(Effect::TryAgainLater(event.id()));
        }
    } else if new.is_none() && !expired {
        // The lead was erased. An orphan went because it moved, and its entry names the new place by now.
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
    }
    let before = old_exotel.map_or(Stage::Wanted, |old| Stage::of(old.progress.state));
    let after = Stage::of(exotel.progress.state);
    let what = match after {
        Stage::Over if before == Stage::Over => {
            let told = |call: &Call| (call.outcome(), call.duration_secs(), has_recording(call));
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

/// Whether there is a recording to be heard.
pub(super) fn has_recording(call: &Call) -> bool {
    call.exotel()
        .is_some_and(|exotel| exotel.progress.recording_url.is_some())
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
