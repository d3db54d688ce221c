//! Calls, messages and counts as `/_sim` and tests see them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::calls::Call;
use crate::core::{Budget, Core, State};
use crate::inbound::Branch;
use crate::messages::Message;
use crate::rate::Figures;
use crate::scripts::{CallStatus, Direction, sms_status};
use crate::stream::StreamView;

/// A call as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallView {
    /// Its CallSid.
    pub sid: String,
    /// Its account.
    pub account: String,
    /// Its `Direction`.
    pub direction: Direction,
    /// First leg, as Exotel writes numbers; inbound, who called.
    pub from: String,
    /// Second leg, if there is one; inbound, the agent rung.
    pub to: Option<String>,
    /// The agent: the first of two legs, or the one that an inbound call rang.
    pub agent: Option<String>,
    /// The ExoPhone.
    pub caller_id: String,
    /// The flow that it runs, if it runs one.
    pub flow_id: Option<String>,
    /// When it was accepted.
    pub created: Timestamp,
    /// When it ended, in simulated time: with a speed above 1 that can lie ahead of the wall clock.
    pub ended: Option<Timestamp>,
    /// Whether end time, duration and price have settled.
    pub settled: bool,
    /// Overall status.
    pub status: CallStatus,
    /// Status of leg 1; null while it is not answered.
    pub leg1_status: Option<CallStatus>,
    /// Status of leg 2; null while it is not answered, or was never rung.
    pub leg2_status: Option<CallStatus>,
    /// Seconds both talked.
    pub conversation_secs: u64,
    /// The recording's URL, once the call has ended.
    pub recording_url: Option<String>,
    /// What the request carried as `CustomField`.
    pub custom_field: Option<String>,
    /// What the request carried as `StatusCallback`.
    pub status_callback: Option<String>,
    /// The co-worker who called, if the call was made through v2.
    pub user_id: Option<String>,
    /// What the caller keyed in, if the call came in.
    pub digits: Option<String>,
    /// What the answers of its sync Passthru applets picked, in order.
    pub branches: Vec<Branch>,
}

/// A message as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageView {
    /// Its SmsSid.
    pub sid: String,
    /// Its account.
    pub account: String,
    /// Sender id or ExoPhone.
    pub from: String,
    /// Where it goes, as Exotel writes numbers.
    pub to: String,
    /// Its text.
    pub body: String,
    /// When it was accepted.
    pub created: Timestamp,
    /// `queued`, `sending`, `submitted`, `sent`, `failed`, `failed-dnd`.
    pub status: String,
    /// `DetailedStatusCode`.
    pub code: u32,
    /// What the request carried as `CustomField`.
    pub custom_field: Option<String>,
    /// What the request carried as `StatusCallback`.
    pub status_callback: Option<String>,
}

/// What an account's budgets have seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RateView {
    /// Voice: connect, details, list.
    pub voice: Figures,
    /// SMS posts.
    pub sms: Figures,
    /// Requests for ExoPhones.
    pub exophones: Figures,
}

impl From<&Call> for CallView {
    fn from(call: &Call) -> Self {
        Self {
            sid: call.sid.clone(),
            account: call.account.clone(),
            direction: call.direction,
            from: call.from.to_string(),
            to: call.to.as_ref().map(ToString::to_string),
            agent: call.agent().map(ToString::to_string),
            caller_id: call.exophone.to_string(),
            flow_id: call.flow_id.clone(),
            created: call.created,
            ended: call.ended,
            settled: call.settled,
            status: call.status,
            leg1_status: call.legs[0].status,
            leg2_status: call.legs[1].status,
            conversation_secs: call.talk_ms.div_ceil(1_000),
            recording_url: call.recording_url.clone(),
            custom_field: call.custom_field.clone(),
            status_callback: call.callback.as_ref().map(|callback| callback.url.clone()),
            user_id: call.ccm.as_ref().map(|made| made.user_id.clone()),
            digits: call.flow.as_ref().and_then(|flow| flow.digits.clone()),
            branches: call.branches.clone(),
        }
    }
}

impl From<&Message> for MessageView {
    fn from(message: &Message) -> Self {
        Self {
            sid: message.sid.clone(),
            account: message.account.clone(),
            from: message.from.clone(),
            to: message.to.to_string(),
            body: message.body.clone(),
            created: message.created,
            status: sms_status(message.code)
                .map_or("", |(status, _)| status)
                .to_owned(),
            code: message.code,
            custom_field: message.custom_field.clone(),
            status_callback: message.callback.clone(),
        }
    }
}

/// All calls, oldest first.
pub(crate) fn calls(state: &State) -> Vec<CallView> {
    let mut calls: Vec<CallView> = state.calls.iter().map(CallView::from).collect();
    calls.sort_by(|a, b| (a.created, &a.sid).cmp(&(b.created, &b.sid)));
    calls
}

/// All messages, oldest first.
pub(crate) fn messages(state: &State) -> Vec<MessageView> {
    let mut messages: Vec<MessageView> = state.messages.values().map(MessageView::from).collect();
    messages.sort_by(|a, b| (a.created, &a.sid).cmp(&(b.created, &b.sid)));
    messages
}

/// All streams, oldest first.
pub(crate) fn streams(state: &State) -> Vec<StreamView> {
    state.streams.iter().map(|recorder| recorder.view()).collect()
}

/// Every account's budgets.
pub(crate) fn rates(core: &Core) -> BTreeMap<String, RateView> {
    let figures = |account: &str, budget: Budget| {
        let seen = core.read(|state| {
            state
                .windows
                .get(&(account.to_owned(), budget))
                .map(|window| window.figures())
        });
        seen.unwrap_or_else(|| core.window(budget).figures())
    };
    core.options
        .accounts
        .iter()
        .map(|account| {
            let sid = account.sid.as_str();
            (
                sid.to_owned(),
                RateView {
                    voice: figures(sid, Budget::Voice),
                    sms: figures(sid, Budget::Sms),
                    exophones: figures(sid, Budget::Exophones),
                },
            )
        })
        .collect()
}
