//! A call as v2 and v3 (CCM) tell of it: states, statuses, details, callbacks.

use crate::answer::Node;
use crate::calls::{Call, seconds};
use crate::ist;
use crate::scripts::{CallStatus, Direction};

/// What a call made through v2 has beside the rest.
#[derive(Debug, Clone)]
pub(crate) struct CcmCall {
    pub(crate) user_id: String,
    pub(crate) user_name: Option<String>,
    /// Event and URL of each.
    pub(crate) callbacks: Vec<(String, String)>,
}

/// Why a call did not come to a talk, seen from its first leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Completed,
    FirstUnanswered,
    FirstCanceled,
    FirstNotDialled,
    SecondUnanswered,
    SecondNotDialled,
}

fn ending(call: &Call) -> Option<Ending> {
    call.ended?;
    Some(match (call.legs[0].status?, call.legs[1].status) {
        (CallStatus::Canceled, _) => Ending::FirstCanceled,
        (CallStatus::Failed, _) => Ending::FirstNotDialled,
        (CallStatus::NoAnswer | CallStatus::Busy, _) => Ending::FirstUnanswered,
        (_, Some(CallStatus::NoAnswer | CallStatus::Busy)) => Ending::SecondUnanswered,
        (_, Some(CallStatus::Failed)) => Ending::SecondNotDialled,
        // Leg 1 hung up while leg 2 rang.
        (_, Some(CallStatus::Canceled)) => Ending::FirstCanceled,
        _ => Ending::Completed,
    })
}

/// `call_status` of v2; none while the call goes on.
pub(crate) fn v2_status(call: &Call) -> Option<&'static str> {
    Some(match ending(call)? {
        Ending::Completed => "completed",
        Ending::FirstUnanswered => "agent_unanswered",
        Ending::FirstCanceled => "agent_canceled",
        Ending::FirstNotDialled => "agent_no_dial",
        Ending::SecondUnanswered => "customer_unanswered",
        Ending::SecondNotDialled => "customer_no_dial",
    })
}

/// `status` of v3; none while the call goes on.
pub(crate) fn v3_status(call: &Call) -> Option<&'static str> {
    Some(match ending(call)? {
        Ending::Completed => "completed",
        Ending::FirstUnanswered => "from_leg_unanswered",
        Ending::FirstCanceled => "from_leg_cancelled",
        Ending::FirstNotDialled => "from_leg_no_dial",
        Ending::SecondUnanswered => "to_leg_unanswered",
        Ending::SecondNotDialled => "to_leg_no_dial",
    })
}

/// `active` until the call has settled: post-processing counts as active.
fn state(call: &Call) -> &'static str {
    if call.settled { "terminal" } else { "active" }
}

fn direction(call: &Call) -> Node {
    match call.direction {
        Direction::Inbound => "inbound".into(),
        Direction::OutboundApi | Direction::OutboundDial => "outbound".into(),
    }
}

fn recordings(call: &Call) -> Vec<Node> {
    call.recording_url
        .iter()
        .map(|url| Node::Object(vec![("url", url.as_str().into())]))
        .collect()
}

fn talk(call: &Call) -> Node {
    seconds(call.talk_ms).into()
}

fn maybe_secs(secs: Option<i64>) -> Node {
    secs.map_or(Node::Null, Node::Int)
}

/// The agent: leg 1.
fn agent(call: &Call, ccm: &CcmCall) -> Node {
    let mut fields = vec![("user_id", ccm.user_id.as_str().into())];
    if let Some(name) = &ccm.user_name {
        fields.push(("user_name", name.as_str().into()));
    }
    fields.push(("contact_uri", call.from.e164().into()));
    Node::Object(fields)
}

fn customer(call: &Call, with_status: bool) -> Node {
    let mut fields = vec![("contact_uri", call.lead().e164().into())];
    if with_status {
        let status = call.legs[1].status;
        fields.push(("status", Node::maybe(status.map(CallStatus::as_str))));
    }
    Node::Object(fields)
}

/// The details of a call made through v2.
pub(crate) fn v2_details(call: &Call, ccm: &CcmCall) -> Vec<(&'static str, Node)> {
    let recordings = recordings(call);
    let ended = call.ended.filter(|_| call.settled);
    vec![
        ("call_sid", call.sid.as_str().into()),
        ("direction", direction(call)),
        ("virtual_number", call.exophone.e164().into()),
        ("call_state", state(call).into()),
        (
            "call_status",
            Node::maybe(v2_status(call).filter(|_| call.settled)),
        ),
        ("assigned_agent_details", agent(call, ccm)),
        ("customer_details", customer(call, call.ended.is_some())),
        ("created_time", ist::format_rfc3339(call.created).into()),
        ("start_time", ist::format_rfc3339(call.created).into()),
        ("end_time", Node::maybe(ended.map(ist::format_rfc3339))),
        ("total_duration", maybe_secs(call.settled_duration_secs())),
        ("total_talk_time", talk(call)),
        (
            "recordings",
            if recordings.is_empty() {
                Node::Null
            } else {
                Node::List(recordings)
            },
        ),
        ("custom_field", Node::maybe(call.custom_field.clone())),
        ("digits", Node::Null),
    ]
}

/// The details that v3 gives of any call.
pub(crate) fn v3_details(call: &Call) -> Vec<(&'static str, Node)> {
    let ended = call.ended.filter(|_| call.settled);
    let legs = format!("/v3/accounts/{}/calls/{}/legs", call.account, call.sid);
    let keyed = call.flow.as_ref().and_then(|flow| flow.digits.as_deref());
    // One after the other, with hyphens between them.
    let digits = keyed.map(|digits| digits.chars().map(String::from).collect::<Vec<_>>().join("-"));
    let app_name = call.flow_id.as_ref().map(|id| format!("Flow {id}"));
    vec![
        ("sid", call.sid.as_str().into()),
        ("direction", direction(call)),
        ("virtual_number", call.exophone.e164().into()),
        ("state", state(call).into()),
        ("status", Node::maybe(v3_status(call).filter(|_| call.settled))),
        ("legs", legs.into()),
        ("created_time", ist::format_with_offset(call.created).into()),
        ("updated_time", ist::format_with_offset(call.updated).into()),
        ("start_time", ist::format_with_offset(call.created).into()),
        (
            "end_time",
            ist::format_with_offset(ended.unwrap_or(jiff::Timestamp::UNIX_EPOCH)).into(),
        ),
        ("total_duration", maybe_secs(call.settled_duration_secs())),
        ("total_talk_time", talk(call)),
        ("custom_field", Node::maybe(call.custom_field.clone())),
        ("app_id", Node::maybe(call.flow_id.clone())),
        ("app_name", Node::maybe(app_name)),
        ("digits", Node::maybe(digits)),
        ("recordings", Node::List(recordings(call))),
    ]
}

/// The nested body of a callback.
pub(crate) fn callback_fields(call: &Call, ccm: &CcmCall, event: &'static str) -> Vec<(&'static str, Node)> {
    let terminal = event == "terminal";
    let recordings = recordings(call);
    let duration = call.duration_secs().filter(|_| terminal && call.talk_ms > 0);
    let details = vec![
        ("call_sid", call.sid.as_str().into()),
        ("direction", direction(call)),
        ("virtual_number", call.exophone.e164().into()),
        (
            "call_state",
            if terminal {
                "terminal".into()
            } else {
                "active".into()
            },
        ),
        ("call_status", Node::maybe(v2_status(call))),
        ("assigned_agent_details", agent(call, ccm)),
        ("customer_details", customer(call, true)),
        ("total_talk_time", talk(call)),
        ("total_duration", maybe_secs(duration)),
        (
            "recordings",
            if recordings.is_empty() {
                Node::Null
            } else {
                Node::List(recordings)
            },
        ),
        ("custom_field", Node::maybe(call.custom_field.clone())),
    ];
    vec![
        ("event_details", Node::Object(vec![("event_type", event.into())])),
        ("call_details", Node::Object(details)),
    ]
}
