//! `Calls/connect` and `Calls/{sid}`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use jiff::SignedDuration;

use super::{Answer, Exchange, Format, Outcome, Refusal};
use crate::answer::Node;
use crate::calls::{self, Call, Leg, Shape, StatusCallback};
use crate::ccm::CcmCall;
use crate::core::{Core, Shared};
use crate::faults::Operation;
use crate::inbound::Flow;
use crate::journal::Params;
use crate::options::{Account, BodyForm};
use crate::phone::Number;
use crate::recordings;
use crate::scripts::{CallPlan, CallStatus};
use crate::stream::voicebot::Applet;
use crate::stream::{StreamUrl, Voicebot};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/Accounts/{account}/Calls/connect", post(connect))
        .route("/v1/Accounts/{account}/Calls/{sid}", get(details))
}

async fn connect(State(core): State<Shared>, exchange: Exchange) -> Response {
    let lead = exchange
        .params
        .get("To")
        .or(exchange.params.get("From"))
        .map(str::to_owned);
    let place = async |account: &Account, exchange: &Exchange| place(&core, account, exchange);
    exchange
        .serve(&core, Operation::Connect, lead.as_deref(), place)
        .await
}

async fn details(
    State(core): State<Shared>,
    Path((_, sid)): Path<(String, String)>,
    exchange: Exchange,
) -> Response {
    let answer = async |account: &Account, exchange: &Exchange| show(&core, account, exchange, &sid);
    exchange.serve(&core, Operation::CallDetails, None, answer).await
}

/// What a request for a call asks, checked.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) from: Number,
    pub(super) to: Option<Number>,
    pub(super) exophone: Number,
    pub(super) flow_id: Option<String>,
    /// The bot that the lead is connected to.
    pub(super) stream_url: Option<String>,
    pub(super) record: bool,
    pub(super) dual: bool,
    pub(super) custom_field: Option<String>,
    pub(super) callback: Option<StatusCallback>,
    pub(super) ccm: Option<CcmCall>,
    pub(super) time_limit_ms: Option<u64>,
    pub(super) time_out_ms: Option<u64>,
}

fn place(core: &Shared, account: &Account, exchange: &Exchange) -> Outcome {
    let call = accept(core, account, read(account, &exchange.params)?);
    let node = call.node(Shape {
        json: exchange.format == Format::Json,
        ..Shape::default()
    });
    Ok(Answer {
        sid: Some(call.sid),
        ..Answer::ok(Node::Object(vec![("Call", node)]))
    })
}

/// Makes the call and lets it happen. Answers how it stands at once.
pub(super) fn accept(core: &Shared, account: &Account, wish: Wish) -> Call {
    let lead = wish.to.clone().unwrap_or_else(|| wish.from.clone());
    let script = core.take_script(&lead);
    let (sid, nth) = core.new_sid("call", &lead);
    let mut plan = CallPlan::new(script, &core.options.timings, wish.to.is_some());
    limit(&mut plan, &wish);
    let flow = wish.flow_id.as_ref().map(|_| {
        Arc::new(Flow {
            inbound: None,
            agent: None,
            digits: None,
            passthru: core.read(|state| state.passthru.clone()),
            sync: true,
        })
    });
    let voicebot = match (&wish.stream_url, &wish.flow_id) {
        (Some(url), _) => Some(Voicebot::at(url)),
        (None, Some(flow_id)) => core.voicebot_of(flow_id),
        (None, None) => None,
    };
    let voicebot = voicebot.map(|voicebot| {
        Arc::new(Applet {
            voicebot,
            talk: plan.talk.clone().unwrap_or_default(),
            connects: false,
            limit_ms: wish.time_limit_ms,
        })
    });
    let now = core.now();
    let call = Call {
        sid: sid.clone(),
        account: account.sid.clone(),
        direction: plan.direction,
        from: wish.from,
        to: wish.to,
        exophone_sid: core.exophone_sid(&account.sid, &wish.exophone),
        exophone: wish.exophone,
        flow_id: wish.flow_id,
        created: now,
        updated: now,
        ended: None,
        settled: false,
        status: CallStatus::InProgress,
        legs: [Leg::default(), Leg::default()],
        talk_ms: 0,
        recording_url: None,
        record: wish.record,
        dual: wish.dual,
        custom_field: wish.custom_field,
        callback: wish.callback,
        flow,
        branches: Vec::new(),
        voicebot,
        ccm: wish.ccm.map(Arc::new),
        plan: Arc::new(plan),
        nth,
    };
    tracing::info!(call.sid = %sid, "accepted a call to {}", lead.masked());
    core.change(|state| state.calls.insert(call.clone()));
    calls::start(core, sid);
    call
}

/// `TimeLimit` cuts the talk, `TimeOut` the ringing.
fn limit(plan: &mut CallPlan, wish: &Wish) {
    if let Some(limit) = wish.time_limit_ms {
        plan.talk_ms = plan.talk_ms.min(limit);
    }
    if let Some(limit) = wish.time_out_ms {
        if plan.leg1 == CallStatus::Completed && plan.ring1_ms > limit {
            (plan.status, plan.leg1, plan.leg2) = (CallStatus::NoAnswer, CallStatus::NoAnswer, None);
            plan.talk_ms = 0;
        }
        if plan.leg2 == Some(CallStatus::Completed) && plan.ring2_ms > limit {
            plan.leg2 = Some(CallStatus::NoAnswer);
            plan.talk_ms = 0;
        }
        plan.ring1_ms = plan.ring1_ms.min(limit);
        plan.ring2_ms = plan.ring2_ms.min(limit);
    }
}

fn read(account: &Account, params: &Params) -> Result<Wish, Refusal> {
    let given = |name: &str| params.get(name).map(str::trim).filter(|value| !value.is_empty());
    let required = |name: &str| given(name).ok_or_else(|| Refusal::invalid(format!("{name} is mandatory")));
    let number = |name: &str, text: &str| {
        Number::parse(text).ok_or_else(|| Refusal::invalid(format!("{name} is not a valid phone number")))
    };
    let from = number("From", required("From")?)?;
    let to = given("To").map(|to| number("To", to)).transpose()?;
    let exophone = number("CallerId", required("CallerId")?)?;
    if !account.owns(&exophone) {
        return Err(Refusal::invalid("CallerId does not belong to this account"));
    }
    let flow_id = mode(params, to.is_some())?;
    let stream_url = given("StreamUrl").filter(|_| to.is_none()).map(str::to_owned);
    one_of(params, "CallType", &["trans"])?;
    one_of(params, "Record", &["true", "false"])?;
    one_of(params, "RecordingChannels", &["single", "dual"])?;
    one_of(params, "RecordingFormat", &["mp3", "mp3-hq"])?;
    one_of(params, "StartPlaybackToNew", &["Callee", "Both"])?;
    one_of(params, "StreamBegin", &["at Leg1Connect", "at Leg2Connect"])?;
    let custom_field = given("CustomField").map(str::to_owned);
    if custom_field
        .as_ref()
        .is_some_and(|value| value.chars().count() > 128)
    {
        return Err(Refusal::invalid("CustomField may have 128 characters at most"));
    }
    Ok(Wish {
        from,
        to,
        exophone,
        flow_id,
        stream_url,
        record: given("Record") == Some("true"),
        dual: given("RecordingChannels") == Some("dual"),
        custom_field,
        callback: callback(params)?,
        ccm: None,
        time_limit_ms: whole_seconds(params, "TimeLimit", 14_400)?,
        time_out_ms: whole_seconds(params, "TimeOut", 14_400)?,
    })
}

/// Two numbers, or a number and a flow, or a number and a stream: exactly one of them. Answers the flow.
fn mode(params: &Params, to: bool) -> Result<Option<String>, Refusal> {
    let given = |name: &str| params.get(name).map(str::trim).filter(|value| !value.is_empty());
    let stream = given("StreamUrl");
    if let Some(url) = stream {
        StreamUrl::parse(url).map_err(Refusal::invalid)?;
    }
    if given("StreamName").is_some_and(|name| name.chars().count() > 32) {
        return Err(Refusal::invalid("StreamName may have 32 characters at most"));
    }
    match (to, given("Url"), stream) {
        (true, None, None) => Ok(None),
        (true, None, Some(_)) if given("StreamBegin").is_some() => Ok(None),
        (false, Some(url), None) => flow(url).map(Some),
        (false, None, Some(_)) if given("StreamType") == Some("bidirectional") => Ok(None),
        (false, None, Some(_)) => Err(Refusal::invalid("StreamType must be bidirectional")),
        (false, None, None) => Err(Refusal::invalid("One of To, Url and StreamUrl is mandatory")),
        _ => Err(Refusal::invalid("To, Url and StreamUrl exclude each other")),
    }
}

/// `http://my.exotel.com/{sid}/exoml/start_voice/{app_id}`: only Exotel's own flows.
fn flow(url: &str) -> Result<String, Refusal> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let app_id = url::Url::parse(url).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && matches!(
                url.host_str(),
                Some("my.exotel.com" | "my.exotel.in" | "my.in.exotel.com")
            )
    });
    let app_id = app_id.and_then(|url| {
        url.path()
            .split_once("/exoml/start_voice/")
            .map(|(_, id)| id.to_owned())
    });
    match app_id {
        Some(id) if !id.is_empty() && id.bytes().all(is_plain) => Ok(id),
        _ => Err(Refusal::invalid(
            "Url must be http://my.exotel.com/{sid}/exoml/start_voice/{app_id}",
        )),
    }
}

fn one_of(params: &Params, name: &str, allowed: &[&str]) -> Result<(), Refusal> {
    match params.get(name).map(str::trim) {
        None | Some("") => Ok(()),
        Some(value) if allowed.contains(&value) => Ok(()),
        Some(_) => Err(Refusal::invalid(format!(
            "{name} must be one of: {}",
            allowed.join(", ")
        ))),
    }
}

fn whole_seconds(params: &Params, name: &str, max: u64) -> Result<Option<u64>, Refusal> {
    match params.get(name).map(str::trim) {
        None | Some("") => Ok(None),
        Some(value) => match value.parse::<u64>() {
            Ok(secs) if (1..=max).contains(&secs) => Ok(Some(secs * 1_000)),
            _ => Err(Refusal::invalid(format!(
                "{name} must be a whole number of seconds from 1 to {max}"
            ))),
        },
    }
}

fn callback(params: &Params) -> Result<Option<StatusCallback>, Refusal> {
    let events: Vec<String> = params
        .0
        .iter()
        .filter(|(name, _)| name == "StatusCallbackEvents" || name.starts_with("StatusCallbackEvents["))
        .flat_map(|(_, value)| value.split(','))
        .map(str::trim)
        .filter(|event| !event.is_empty())
        // One page of Exotel's documentation has this word.
        .flat_map(|event| {
            if event == "both" {
                vec!["terminal", "answered"]
            } else {
                vec![event]
            }
        })
        .map(str::to_owned)
        .collect();
    if let Some(event) = events
        .iter()
        .find(|event| !matches!(event.as_str(), "terminal" | "answered" | "ringing"))
    {
        return Err(Refusal::invalid(format!(
            "StatusCallbackEvents has the unknown event {event}"
        )));
    }
    let form = match params.get("StatusCallbackContentType").map(str::trim) {
        None | Some("") => None,
        Some("multipart/form-data") => Some(BodyForm::Multipart),
        Some("application/json") => Some(BodyForm::Json),
        Some("application/x-www-form-urlencoded") => Some(BodyForm::Urlencoded),
        Some(_) => {
            let message = "StatusCallbackContentType must be multipart/form-data or application/json";
            return Err(Refusal::invalid(message));
        }
    };
    let Some(url) = params
        .get("StatusCallback")
        .map(str::trim)
        .filter(|url| !url.is_empty())
    else {
        return Ok(None);
    };
    match url::Url::parse(url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => Ok(Some(StatusCallback {
            url: url.to_owned(),
            events,
            form,
        })),
        _ => Err(Refusal::invalid("StatusCallback is not a valid URL")),
    }
}

/// `RecordingUrlValidity` in minutes, 5 to 60.
pub(super) fn validity(params: &Params) -> Result<Option<SignedDuration>, Refusal> {
    match params.get("RecordingUrlValidity").map(str::trim) {
        None | Some("") => Ok(None),
        Some(value) => match value.parse::<i64>() {
            Ok(minutes) if (5..=60).contains(&minutes) => Ok(Some(SignedDuration::from_mins(minutes))),
            _ => Err(Refusal::invalid(
                "RecordingUrlValidity must be a whole number of minutes from 5 to 60",
            )),
        },
    }
}

/// The call object with everything that was asked for. `with_details`: `details=true` is heeded.
pub(super) fn call_node(
    core: &Core,
    call: &Call,
    exchange: &Exchange,
    with_details: bool,
) -> Result<Node, Refusal> {
    let presigned = validity(&exchange.params)?.and_then(|validity| {
        let id = call
            .recording_url
            .as_deref()?
            .rsplit('/')
            .next()?
            .strip_suffix(".mp3")?;
        let recording = core.read(|state| state.recordings.get(id).cloned())?;
        Some(recordings::presigned_url(core, &recording, validity))
    });
    Ok(call.node(Shape {
        json: exchange.format == Format::Json,
        details: with_details && exchange.params.get("details") == Some("true"),
        presigned,
        inbound_to_agent: core.options.inbound_to_agent,
    }))
}

fn show(core: &Core, account: &Account, exchange: &Exchange, sid: &str) -> Outcome {
    let call = core.read(|state| {
        state
            .calls
            .get(sid)
            .filter(|call| call.account == account.sid)
            .cloned()
    });
    match call {
        Some(call) => Ok(Answer::ok(Node::Object(vec![(
            "Call",
            call_node(core, &call, exchange, true)?,
        )]))),
        None => Err(Refusal::new(
            StatusCode::NOT_FOUND,
            None,
            format!("No call with Sid {sid}"),
        )),
    }
}
