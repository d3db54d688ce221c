//! What the tests start from.

use domain::{
    call::{Call, CallOrigin, CallProgress, CallState, ExotelCall},
    directory::{Lead, User},
    ids::{CallId, CallLocator, LeadId, SmsId, SmsLocator},
    sms::{Sms, SmsProgress, SmsState},
};
use dynamo::Dynamo;
use jiff::Timestamp;
use table::{EventOwner, RawEvent, Table};

/// A database of its own, and the table in it.
pub(crate) async fn table() -> (Dynamo, Table) {
    let dynamo = Dynamo::start().await;
    let table = Table::new(dynamo.client(), dynamo::TABLE_NAME);
    (dynamo, table)
}

/// 20 November 2026, 08:30 UTC, and this many milliseconds.
pub(crate) fn at(millis: i64) -> Timestamp {
    let base: Timestamp = "2026-11-20T08:30:00Z".parse().unwrap();
    Timestamp::from_millisecond(base.as_millisecond() + millis).unwrap()
}

pub(crate) fn lead(id: &str) -> Lead {
    Lead {
        id: id.parse().unwrap(),
        name: "Asha Rao".to_owned(),
        phone: "+919811100001".parse().unwrap(),
        owning_sales_head_id: Some("head-1".parse().unwrap()),
        assigned_to: Some("sales-1".parse().unwrap()),
        call_count: 0,
        last_contacted_at: None,
    }
}

/// The n-th click on a lead, in this state.
pub(crate) fn call(lead: &LeadId, n: i64, state: CallState) -> Call {
    Call {
        locator: CallLocator {
            id: CallId::new(at(n), 7),
            lead_id: lead.clone(),
        },
        called_by: Some("sales-1".parse().unwrap()),
        called_at: at(n),
        notes: None,
        origin: CallOrigin::Exotel(Box::new(ExotelCall {
            agent_phone: "+919811100099".parse().unwrap(),
            lead_phone: "+919811100001".parse().unwrap(),
            caller_id: "+918045550100".parse().unwrap(),
            to_bot: false,
            attempt: u32::from(state == CallState::InFlight),
            reason: None,
            progress: CallProgress::new(state),
        })),
    }
}

/// The n-th message to a lead, in this state.
pub(crate) fn sms(lead: &LeadId, n: i64, state: SmsState) -> Sms {
    Sms {
        locator: SmsLocator {
            id: SmsId::new(at(n), 7),
            lead_id: lead.clone(),
        },
        sent_by: "sales-1".parse().unwrap(),
        sent_at: at(n),
        to_phone: "+919811100001".parse().unwrap(),
        body: "Your visit is booked for 11 am.".to_owned(),
        attempt: u32::from(state == SmsState::InFlight),
        reason: None,
        progress: SmsProgress::new(state),
    }
}

/// The n-th event of a call.
pub(crate) fn raw_event(call: &Call, n: i64) -> RawEvent {
    RawEvent {
        owner: EventOwner::Call(call.locator.clone()),
        purpose: "call".to_owned(),
        hash: format!("{}-hash{n}", call.locator.lead_id),
        received_at: at(n),
        content_type: Some("application/x-www-form-urlencoded".to_owned()),
        body: b"CallSid=abc123&Status=completed".to_vec(),
        query: None,
        handled: None,
    }
}

pub(crate) fn user() -> User {
    User {
        id: "sales-1".parse().unwrap(),
        phone: Some("+919811100099".parse().unwrap()),
        full_name: Some("Ravi Kumar".to_owned()),
        email: Some("ravi@example.com".to_owned()),
        role: Some("SALES".parse().unwrap()),
    }
}
