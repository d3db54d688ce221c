//! Calls to an ExoPhone, and the Passthru applet that a flow asks along the way.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::answer::Node;
use crate::callbacks::{self, Ack, Outgoing, Sent, Way};
use crate::calls::{self, Call, DEFAULT_FLOW, Leg, Line, seconds};
use crate::core::{Core, Shared};
use crate::ist;
use crate::phone::Number;
use crate::scripts::{CallPlan, CallStatus, Direction, Script};
use crate::stream::voicebot::Applet;
use crate::stream::{Talk, Voicebot};

/// Who is rung when an inbound call does not say.
const DEFAULT_AGENT: &str = "09811150001";
/// The ExoPhone that is called when neither the call nor the account says.
const DEFAULT_EXOPHONE: &str = "08045550100";
/// `tenant_id`: digits, the same for every account.
const TENANT: &str = "59736";
/// How far ahead `RecordingAvailableBy` lies.
const RECORDING_AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// How an inbound call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InboundOutcome {
    /// The agent answers and they talk.
    #[default]
    Completed,
    /// The agent does not answer: overall `no-answer`, `CallType` `incomplete`.
    NoAnswer,
    /// The agent is busy: overall `busy`, `CallType` `incomplete`.
    Busy,
    /// The agent cannot be connected: overall `failed`, `CallType` `incomplete`.
    Failed,
    /// The caller hangs up while the agent is rung: overall `canceled`, `CallType` `client-hangup`.
    ClientHangup,
    /// The agent does not answer and the caller leaves a message: overall `completed`, `ConversationDuration` 0,
    /// `CallType` `voicemail`.
    Voicemail,
    /// The caller hangs up in the IVR; nobody is rung: overall `completed` with one leg, `CallType` `call-attempt`.
    CallAttempt,
}

impl InboundOutcome {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Completed,
        Self::NoAnswer,
        Self::Busy,
        Self::Failed,
        Self::ClientHangup,
        Self::Voicemail,
        Self::CallAttempt,
    ];

    /// Overall status, and the agent's leg (`None`: never rung). The caller's leg is always answered.
    pub fn statuses(self) -> (CallStatus, Option<CallStatus>) {
        use CallStatus::{Busy, Canceled, Completed, Failed, NoAnswer};
        match self {
            Self::Completed => (Completed, Some(Completed)),
            Self::NoAnswer => (NoAnswer, Some(NoAnswer)),
            Self::Busy => (Busy, Some(Busy)),
            Self::Failed => (Failed, Some(Failed)),
            Self::ClientHangup => (Canceled, Some(Canceled)),
            Self::Voicemail => (Completed, Some(NoAnswer)),
            Self::CallAttempt => (Completed, None),
        }
    }

    /// `CallType` of the Passthru after the Connect applet.
    fn call_type(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::NoAnswer | Self::Busy | Self::Failed => "incomplete",
            Self::ClientHangup => "client-hangup",
            Self::Voicemail => "voicemail",
            Self::CallAttempt => "call-attempt",
        }
    }
}

/// Where the answer to a sync Passthru sends the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Branch {
    /// 200.
    A,
    /// 302.
    B,
    /// Anything else, or no answer: the flow ends, and with it the call.
    #[serde(rename = "halted")]
    Halted,
}

impl Branch {
    pub(crate) fn of(status: Option<u16>) -> Self {
        match status {
            Some(200) => Self::A,
            Some(302) => Self::B,
            _ => Self::Halted,
        }
    }
}

fn yes() -> bool {
    true
}

/// A call to an ExoPhone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inbound {
    /// The account called; the first one if not set.
    #[serde(default)]
    pub account: Option<String>,
    /// Who calls.
    pub from: String,
    /// The ExoPhone called; the account's first one if not set.
    #[serde(default)]
    pub exophone: Option<String>,
    /// The flow that answers.
    #[serde(default)]
    pub flow_id: Option<String>,
    /// The agent that the Connect applet rings. In a flow with a voicebot there is a Connect applet only where an agent is
    /// named: branch A of the Passthru leads there.
    #[serde(default)]
    pub agent: Option<String>,
    /// The Voicebot applet that the flow begins with; without it, the one that `PUT /_sim/voicebot` gave the flow.
    #[serde(default)]
    pub voicebot: Option<Voicebot>,
    /// What the caller says and does while a voicebot listens; else what a script for his number says.
    #[serde(default)]
    pub talk: Option<Talk>,
    /// How it goes.
    #[serde(default)]
    pub outcome: InboundOutcome,
    /// What the caller keyed in.
    #[serde(default)]
    pub digits: Option<String>,
    /// `CustomField`; Exotel has none for a call that came in, unless a flow set it.
    #[serde(default)]
    pub custom_field: Option<String>,
    /// Simulated milliseconds of talk, of the message left, or of listening to the IVR.
    #[serde(default)]
    pub talk_ms: Option<u64>,
    /// Simulated milliseconds that the agent is rung.
    #[serde(default)]
    pub ring_ms: Option<u64>,
    /// Where the Passthru applets point; without it, where `PUT /_sim/passthru` says, and if that is nowhere, the flow
    /// has none.
    #[serde(default)]
    pub passthru: Option<String>,
    /// The caller waits for the answer, and its status picks the branch. `false`: nobody waits, nothing is picked.
    #[serde(default = "yes")]
    pub sync: bool,
    /// What is said is recorded.
    #[serde(default = "yes")]
    pub record: bool,
}

impl Inbound {
    /// A call that an agent answers.
    pub fn from(caller: &str) -> Self {
        Self {
            account: None,
            from: caller.to_owned(),
            exophone: None,
            flow_id: None,
            agent: None,
            voicebot: None,
            talk: None,
            outcome: InboundOutcome::default(),
            digits: None,
            custom_field: None,
            talk_ms: None,
            ring_ms: None,
            passthru: None,
            sync: true,
            record: true,
        }
    }
}

/// The run of a flow.
#[derive(Debug, Clone)]
pub(crate) struct Flow {
    /// How the inbound call is to go; `None` for a call that the API placed.
    pub(crate) inbound: Option<InboundOutcome>,
    pub(crate) agent: Option<Number>,
    pub(crate) digits: Option<String>,
    pub(crate) passthru: Option<String>,
    pub(crate) sync: bool,
}

/// Before or after the Connect applet, or after the Voicebot applet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Before,
    After,
    Streamed,
}

/// The ExoPhone of an account that has none.
pub(crate) fn default_exophone() -> Number {
    Number::parse(DEFAULT_EXOPHONE).expect("the constant is a number")
}

/// Checks where a Passthru may point.
pub(crate) fn check_url(url: &str) -> Result<(), String> {
    match url::Url::parse(url) {
        Ok(parsed) if parsed.scheme() == "http" => Ok(()),
        Ok(_) => Err("the Passthru's URL must begin with http://: plain http only".to_owned()),
        Err(err) => Err(format!("the Passthru's URL is none: {err}")),
    }
}

/// The way of an inbound call.
pub(crate) fn plan(
    core: &Core,
    outcome: InboundOutcome,
    script: Script,
    ring_ms: Option<u64>,
    talk_ms: Option<u64>,
) -> CallPlan {
    let timings = &core.options.timings;
    let (status, leg2) = outcome.statuses();
    let usual_ring_ms = match leg2 {
        Some(CallStatus::NoAnswer) => timings.no_answer_ms,
        _ => timings.ring2_ms,
    };
    let talks = matches!(
        outcome,
        InboundOutcome::Completed | InboundOutcome::Voicemail | InboundOutcome::CallAttempt
    );
    CallPlan {
        status,
        leg1: CallStatus::Completed,
        leg2,
        ring1_ms: 0,
        ring2_ms: leg2.map_or(0, |_| ring_ms.unwrap_or(usual_ring_ms)),
        talk_ms: if talks {
            talk_ms.unwrap_or(timings.talk_ms)
        } else {
            0
        },
        voicemail: outcome == InboundOutcome::Voicemail,
        settle_ms: script.call.settle_ms.unwrap_or(timings.settle_ms),
        recording_ms: script.call.recording.ready_ms.unwrap_or(timings.recording_ms),
        talk: script.call.talk,
        answered_by: script.call.answered_by,
        direction: Direction::Inbound,
        recording: script.call.recording,
        callbacks: script.callbacks,
    }
}

/// Lets a call come in. Answers it as it stands at once.
pub(crate) fn accept(core: &Shared, inbound: Inbound) -> Result<Call, String> {
    let account = core.account(inbound.account.as_deref())?;
    let number =
        |name: &str, text: &str| Number::parse(text).ok_or_else(|| format!("`{name}` is no phone number"));
    let from = number("from", &inbound.from)?;
    let agent = number("agent", inbound.agent.as_deref().unwrap_or(DEFAULT_AGENT))?;
    let exophone = match &inbound.exophone {
        Some(text) => number("exophone", text)?,
        None => core
            .read(|state| {
                let mut exophones = state.exophones_of(&account.sid);
                exophones.next().map(|exophone| exophone.number.clone())
            })
            .unwrap_or_else(default_exophone),
    };
    if !account.owns(&exophone) {
        return Err(format!("account {} has no such `exophone`", account.sid));
    }
    let passthru = match inbound.passthru {
        Some(url) => {
            check_url(&url)?;
            Some(url)
        }
        None => core.read(|state| state.passthru.clone()),
    };
    let flow_id = inbound.flow_id.unwrap_or_else(|| DEFAULT_FLOW.to_owned());
    let voicebot = inbound.voicebot.or_else(|| core.voicebot_of(&flow_id));
    if let Some(voicebot) = &voicebot {
        voicebot.check()?;
    }
    if let Some(talk) = &inbound.talk {
        talk.check()?;
    }
    let script = core.take_script(&from);
    let (sid, nth) = core.new_sid("inbound", &from);
    let plan = plan(core, inbound.outcome, script, inbound.ring_ms, inbound.talk_ms);
    let voicebot = voicebot.map(|voicebot| {
        Arc::new(Applet {
            voicebot,
            talk: inbound.talk.or_else(|| plan.talk.clone()).unwrap_or_default(),
            connects: inbound.agent.is_some(),
            limit_ms: None,
        })
    });
    let now = core.now();
    let call = Call {
        sid: sid.clone(),
        account: account.sid.clone(),
        direction: Direction::Inbound,
        from,
        to: None,
        exophone_sid: core.exophone_sid(&account.sid, &exophone),
        exophone,
        flow_id: Some(flow_id),
        created: now,
        updated: now,
        ended: None,
        settled: false,
        status: CallStatus::InProgress,
        legs: [Leg::default(), Leg::default()],
        talk_ms: 0,
        recording_url: None,
        record: inbound.record,
        dual: false,
        custom_field: inbound.custom_field,
        callback: None,
        ccm: None,
        flow: Some(Arc::new(Flow {
            inbound: Some(inbound.outcome),
            agent: Some(agent),
            digits: inbound.digits,
            passthru,
            sync: inbound.sync,
        })),
        branches: Vec::new(),
        voicebot,
        plan: Arc::new(plan),
        nth,
    };
    tracing::info!(call.sid = %sid, "a call came in from {}", call.from.masked());
    core.change(|state| state.calls.insert(call.clone()));
    calls::start(core, sid);
    Ok(call)
}

fn or_null(text: Option<impl Into<String>>) -> Node {
    text.map_or_else(|| "null".into(), |text| Node::Text(text.into()))
}

/// Why a leg ended: the word and the number.
fn cause(status: CallStatus) -> (&'static str, &'static str) {
    match status {
        CallStatus::NoAnswer => ("RING_TIMEOUT", "1003"),
        CallStatus::Busy => ("USER_BUSY", "17"),
        CallStatus::Failed => ("NORMAL_TEMPORARY_FAILURE", "41"),
        CallStatus::Canceled => ("ORIGINATOR_CANCEL", "487"),
        CallStatus::Completed | CallStatus::InProgress => ("NORMAL_CLEARING", "16"),
    }
}

/// What a Passthru applet sends. Absent values are the literal word `null`.
pub(crate) fn fields(call: &Call, flow: &Flow, stage: Stage, now: Timestamp) -> Vec<(&'static str, Node)> {
    let (from, to, direction) = match flow.inbound {
        Some(_) => (&call.from, &call.exophone, "incoming"),
        None => (&call.exophone, &call.from, "outbound-dial"),
    };
    let after = stage == Stage::After;
    let outcome = flow.inbound.filter(|_| after);
    let agent = call.to.as_ref().filter(|_| after && flow.inbound.is_some());
    let leg2 = call.legs[1].status.filter(|_| after);
    let dialled_ms = call.plan.ring2_ms + if call.plan.voicemail { 0 } else { call.talk_ms };
    let recording = call
        .recording_url
        .clone()
        .filter(|_| after && call.plan.recording.in_callback.unwrap_or(true));
    let mut fields = vec![
        ("CallSid", call.sid.as_str().into()),
        ("CallFrom", from.as_str().into()),
        ("CallTo", to.as_str().into()),
        ("From", from.as_str().into()),
        ("To", to.as_str().into()),
        (
            "CallStatus",
            if after {
                call.status.as_str().into()
            } else {
                CallStatus::InProgress.as_str().into()
            },
        ),
        ("Direction", direction.into()),
        ("Created", ist::format_rfc1123(call.created).into()),
        ("StartTime", ist::format(call.created).into()),
        ("EndTime", ist::PLACEHOLDER.into()),
        ("CurrentTime", ist::format(now).into()),
        (
            "DialCallDuration",
            agent.map_or(0, |_| seconds(dialled_ms)).into(),
        ),
        ("DialCallStatus", or_null(leg2.map(CallStatus::as_str))),
        (
            "CallType",
            outcome.map_or("call-attempt", InboundOutcome::call_type).into(),
        ),
        ("DialWhomNumber", agent.map_or("", Number::as_str).into()),
        ("RecordingUrl", or_null(recording.clone())),
        (
            "digits",
            or_null(flow.digits.as_ref().map(|digits| format!("\"{digits}\""))),
        ),
        ("CustomField", or_null(call.custom_field.clone())),
        ("flow_id", or_null(call.flow_id.clone())),
        ("tenant_id", TENANT.into()),
        ("ForwardedFrom", or_null(None::<String>)),
        ("ProcessStatus", or_null(None::<String>)),
        (
            "OutgoingPhoneNumber",
            or_null(agent.map(|_| call.exophone.as_str())),
        ),
    ];
    if recording.is_some() {
        let by = now.checked_add(RECORDING_AHEAD).unwrap_or(now);
        fields.push(("RecordingAvailableBy", ist::format_rfc1123(by).into()));
    }
    if let (Some(agent), Some(status)) = (agent, leg2) {
        let (word, number) = cause(status);
        let leg = vec![
            ("Number", agent.as_str().into()),
            ("Type", "single".into()),
            ("OnCallDuration", seconds(call.legs[1].on_call_ms).into()),
            ("CallerId", call.exophone.as_str().into()),
            ("CauseCode", word.into()),
            ("Cause", number.into()),
        ];
        fields.push(("Legs", Node::List(vec![Node::Object(leg)])));
    }
    fields
}

/// The Passthru as it is sent.
pub(crate) fn outgoing(call: &Call, flow: &Flow, stage: Stage, url: String, now: Timestamp) -> Outgoing {
    Outgoing {
        sid: call.sid.clone(),
        event: "passthru",
        url,
        way: Way::Get,
        ack: if flow.sync { Ack::Branch } else { Ack::Unneeded },
        fields: fields(call, flow, stage, now),
        script: call.plan.callbacks.clone(),
        key: format!("passthru {} {} {stage:?}", call.from, call.nth),
        last: true,
    }
}

impl Line {
    /// Asks the Passthru, if the flow has one. Answers whether the flow goes on.
    pub(crate) async fn pass_through(&self, flow: &Flow, stage: Stage) -> Option<bool> {
        let call = self.call()?;
        let Some(url) = flow.passthru.clone() else {
            return Some(true);
        };
        let outgoing = outgoing(&call, flow, stage, url, self.core.now());
        Some(self.ask_passthru(flow, outgoing).await? != Some(Branch::Halted))
    }

    /// Sends what a Passthru sends; answers what the answer picked, if it picked something.
    pub(crate) async fn ask_passthru(&self, flow: &Flow, outgoing: Outgoing) -> Option<Option<Branch>> {
        if !flow.sync {
            let core = self.core.clone();
            self.core.spawn(async move {
                callbacks::send(&core, outgoing).await;
            });
            return Some(None);
        }
        let branch = match callbacks::ask(&self.core, outgoing).await {
            // The fault took the applet's request away: as if the flow had no Passthru here.
            Sent::Dropped => return Some(None),
            Sent::Answered(status) => Branch::of(Some(status)),
            Sent::Unanswered | Sent::Delayed => Branch::Halted,
        };
        self.update(|call| call.branches.push(branch))?;
        Some(Some(branch))
    }

    /// An inbound call: Passthru, Connect, Passthru; or first a voicebot.
    pub(crate) async fn live_inbound(&self, flow: &Flow) -> Option<()> {
        if let Some(applet) = self.call()?.voicebot {
            return self.live_with_bot(flow, &applet).await;
        }
        self.update(|call| call.legs[0].status = Some(CallStatus::InProgress))?;
        let goes_on = self.pass_through(flow, Stage::Before).await?;
        if !goes_on {
            self.update(|call| call.plan = Arc::new(call.plan.halted()))?;
        }
        self.connect(flow, 0).await
    }

    /// The Connect applet and the Passthru behind it, `elapsed_ms` after the call came in.
    pub(crate) async fn connect(&self, flow: &Flow, mut elapsed_ms: u64) -> Option<()> {
        let call = self.call()?;
        let plan = call.plan.clone();
        if let (Some(leg2), Some(agent)) = (plan.leg2, &flow.agent) {
            self.update(|call| call.to = Some(agent.clone()))?;
            self.core.record_dial(&self.sid, 2, agent);
            self.core.pass(plan.ring2_ms).await;
            elapsed_ms += plan.ring2_ms;
            if leg2 == CallStatus::Completed {
                self.update(|call| call.legs[1].status = Some(CallStatus::InProgress))?;
            }
        }
        self.core.pass(plan.talk_ms).await;
        elapsed_ms += plan.talk_ms;
        self.end(&call, elapsed_ms)?;
        if plan.leg2.is_some() {
            self.pass_through(flow, Stage::After).await?;
        }
        self.core.pass(plan.settle_ms).await;
        self.update(|call| call.settled = true)
    }
}
