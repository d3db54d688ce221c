//! A call: its record, its answers and callbacks, and its life from the first ring to settlement.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::answer::Node;
use crate::callbacks::{self, Ack, Courier, Outgoing, Way};
use crate::ccm::{self, CcmCall};
use crate::core::{Core, Shared};
use crate::inbound::{Branch, Flow, Stage};
use crate::ist;
use crate::mp3::Sound;
use crate::options::BodyForm;
use crate::phone::Number;
use crate::recordings::{self, Recording};
use crate::scripts::{CallPlan, CallStatus, Direction, RecordingKind};
use crate::stream::voicebot::Applet;

/// The flow that an ExoPhone runs when nothing else is said.
pub(crate) const DEFAULT_FLOW: &str = "228040";

/// Where and how a call reports.
#[derive(Debug, Clone)]
pub(crate) struct StatusCallback {
    pub(crate) url: String,
    /// Events subscribed to; none gives the short form, once, at the end.
    pub(crate) events: Vec<String>,
    pub(crate) form: Option<BodyForm>,
}

/// A leg of a call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leg {
    /// `None`: never rung, or still ringing.
    pub(crate) status: Option<CallStatus>,
    pub(crate) on_call_ms: u64,
}

/// A call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) sid: String,
    pub(crate) account: String,
    pub(crate) direction: Direction,
    /// First leg; inbound, who called.
    pub(crate) from: Number,
    /// Second leg; inbound, the agent rung.
    pub(crate) to: Option<Number>,
    pub(crate) exophone: Number,
    /// `PhoneNumberSid`: the number, unless its ExoPhone was given another.
    pub(crate) exophone_sid: String,
    /// The flow that it runs, if it runs one.
    pub(crate) flow_id: Option<String>,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    /// Set when it ended.
    pub(crate) ended: Option<Timestamp>,
    pub(crate) settled: bool,
    pub(crate) status: CallStatus,
    pub(crate) legs: [Leg; 2],
    pub(crate) talk_ms: u64,
    pub(crate) recording_url: Option<String>,
    pub(crate) record: bool,
    pub(crate) dual: bool,
    pub(crate) custom_field: Option<String>,
    pub(crate) callback: Option<StatusCallback>,
    /// Set for a call made through v2.
    pub(crate) ccm: Option<Arc<CcmCall>>,
    /// The run of its flow, if it runs one.
    pub(crate) flow: Option<Arc<Flow>>,
    /// What the answers of its sync Passthru applets picked.
    pub(crate) branches: Vec<Branch>,
    /// The voicebot that it is connected to, if it is.
    pub(crate) voicebot: Option<Arc<Applet>>,
    /// Shared between calls that go the same way.
    pub(crate) plan: Arc<CallPlan>,
    /// How many calls went to the lead before, this one counted.
    pub(crate) nth: u64,
}

/// What an answer about a call is to hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shape {
    /// JSON rather than XML: the path of `Uri` differs.
    pub(crate) json: bool,
    /// With the `Details` block.
    pub(crate) details: bool,
    pub(crate) presigned: Option<String>,
    /// `To` of an inbound call is the agent rung, not the ExoPhone.
    pub(crate) inbound_to_agent: bool,
}

/// Seconds as Exotel reports them: begun ones count.
pub(crate) fn seconds(ms: u64) -> i64 {
    i64::try_from(ms.div_ceil(1_000)).unwrap_or(i64::MAX)
}

fn status_word(status: Option<CallStatus>) -> &'static str {
    status.map_or("", CallStatus::as_str)
}

impl Call {
    /// The number that decides which way the call goes: the second leg, or the only one; inbound, the caller.
    pub(crate) fn lead(&self) -> &Number {
        match (self.direction, &self.to) {
            (Direction::OutboundApi | Direction::OutboundDial, Some(to)) => to,
            _ => &self.from,
        }
    }

    /// The agent's number: the first of two legs, or the one that an inbound call rang.
    pub(crate) fn agent(&self) -> Option<&Number> {
        match self.direction {
            Direction::Inbound => self.to.as_ref(),
            _ => self.to.as_ref().map(|_| &self.from),
        }
    }

    /// `To` of answers and filters.
    pub(crate) fn listed_to(&self, inbound_to_agent: bool) -> Option<&Number> {
        match self.direction {
            Direction::Inbound if !inbound_to_agent => Some(&self.exophone),
            _ => self.to.as_ref(),
        }
    }

    /// Seconds from its creation to its end, settled or not.
    pub(crate) fn duration_secs(&self) -> Option<i64> {
        self.ended
            .map(|ended| ended.duration_since(self.created).as_secs())
    }

    /// Price in ten-thousandths of the account's currency, settled or not: half a rupee per minute begun, nothing
    /// where nobody talked.
    pub(crate) fn price_e4(&self) -> u64 {
        let secs = self.duration_secs().filter(|_| self.talk_ms > 0).unwrap_or(0);
        5_000 * secs.max(0).unsigned_abs().div_ceil(60)
    }

    /// Price in the account's currency, once it has settled.
    pub(crate) fn price(&self) -> Option<f64> {
        self.settled.then(|| self.price_e4() as f64 / 10_000.0)
    }

    /// Duration once it has settled.
    pub(crate) fn settled_duration_secs(&self) -> Option<i64> {
        self.duration_secs().filter(|_| self.settled)
    }

    /// The call object of answers.
    pub(crate) fn node(&self, shape: Shape) -> Node {
        let end_time = match (self.ended, self.settled) {
            (Some(ended), true) => Node::Text(ist::format(ended)),
            (Some(_), false) => ist::PLACEHOLDER.into(),
            (None, _) => Node::Null,
        };
        let collection = if shape.json { "Calls.json" } else { "Calls" };
        let mut fields = vec![
            ("Sid", self.sid.as_str().into()),
            ("ParentCallSid", Node::Null),
            ("DateCreated", ist::format(self.created).into()),
            ("DateUpdated", ist::format(self.updated).into()),
            ("AccountSid", self.account.as_str().into()),
            (
                "To",
                Node::maybe(self.listed_to(shape.inbound_to_agent).map(Number::as_str)),
            ),
            ("From", self.from.as_str().into()),
            ("PhoneNumberSid", self.exophone_sid.as_str().into()),
            ("Status", self.status.as_str().into()),
            ("StartTime", ist::format(self.created).into()),
            ("EndTime", end_time),
            (
                "Duration",
                Node::maybe(self.settled_duration_secs().map(|secs| secs.to_string())),
            ),
            (
                "Price",
                Node::maybe(self.price().map(|price| format!("{price:.3}"))),
            ),
            ("Direction", self.direction.as_str().into()),
            ("AnsweredBy", Node::Null),
            ("ForwardedFrom", Node::Null),
            ("CallerName", Node::Null),
            (
                "Uri",
                format!("/v1/Accounts/{}/{collection}/{}", self.account, self.sid).into(),
            ),
            ("RecordingUrl", Node::maybe(self.recording_url.clone())),
        ];
        if let Some(url) = shape.presigned {
            fields.push(("PreSignedRecordingUrl", url.into()));
        }
        if shape.details {
            let leg = |at: usize| {
                let id = i64::try_from(at + 1).expect("there are two legs");
                Node::Object(vec![(
                    "Leg",
                    Node::Object(vec![
                        ("Id", id.into()),
                        ("OnCallDuration", seconds(self.legs[at].on_call_ms).into()),
                    ]),
                )])
            };
            let word = |at: usize| Node::maybe(self.legs[at].status.map(CallStatus::as_str));
            let legs = if self.to.is_some() {
                vec![leg(0), leg(1)]
            } else {
                vec![leg(0)]
            };
            fields.push((
                "Details",
                Node::Object(vec![
                    ("ConversationDuration", seconds(self.talk_ms).into()),
                    ("Leg1Status", word(0)),
                    ("Leg2Status", word(1)),
                    ("Legs", Node::List(legs)),
                ]),
            ));
        }
        Node::Object(fields)
    }

    /// The fields of a callback, as things stand.
    fn callback_fields(&self, event: &str, now: Timestamp, extended: bool) -> Vec<(&'static str, Node)> {
        let terminal = event == "terminal";
        let in_callback = self.plan.recording.in_callback.unwrap_or(true);
        let recording = self
            .recording_url
            .as_deref()
            .filter(|_| in_callback)
            .unwrap_or_default();
        let updated = ist::format(now);
        if !extended {
            return vec![
                ("CallSid", self.sid.as_str().into()),
                ("DateUpdated", updated.into()),
                ("Status", self.status.as_str().into()),
                ("RecordingUrl", recording.into()),
            ];
        }
        let end_time = match self.ended {
            Some(_) if self.plan.callbacks.placeholder_end => ist::PLACEHOLDER.to_owned(),
            Some(ended) => ist::format(ended),
            None => String::new(),
        };
        let leg = |at: usize, answered_by: &str| {
            let mut fields = vec![
                ("OnCallDuration", seconds(self.legs[at].on_call_ms).into()),
                ("Status", status_word(self.legs[at].status).into()),
            ];
            if terminal && self.legs[at].status.is_some() {
                fields.push(("AnsweredBy", answered_by.into()));
            }
            Node::Object(fields)
        };
        let mut fields = vec![
            ("CallSid", self.sid.as_str().into()),
            ("EventType", event.into()),
            ("DateCreated", ist::format(self.created).into()),
            ("DateUpdated", updated.into()),
            ("Status", self.status.as_str().into()),
            ("To", self.to.as_ref().map_or("", Number::as_str).into()),
            ("From", self.from.as_str().into()),
            ("PhoneNumberSid", self.exophone_sid.as_str().into()),
            ("StartTime", ist::format(self.created).into()),
            ("EndTime", end_time.into()),
            (
                "ConversationDuration",
                seconds(if terminal { self.talk_ms } else { 0 }).into(),
            ),
            ("Direction", self.direction.as_str().into()),
            ("RecordingUrl", recording.into()),
            (
                "Legs",
                Node::List(vec![
                    leg(0, "NA"),
                    leg(1, self.plan.answered_by.as_deref().unwrap_or("NA")),
                ]),
            ),
        ];
        // Only the terminal event carries it.
        if let Some(custom) = self.custom_field.as_deref().filter(|_| terminal) {
            fields.push(("CustomField", custom.into()));
        }
        fields
    }
}

/// Fields that a sparse callback still has.
const ALWAYS: [&str; 6] = ["CallSid", "EventType", "Status", "DateUpdated", "To", "From"];

/// One call as its life goes on.
pub(crate) struct Line {
    pub(crate) core: Shared,
    pub(crate) sid: String,
    courier: Courier,
}

/// What was recorded of a call in which something was said for `said_ms`, to be fetched from `ready` on.
pub(crate) fn recording(call: &Call, said_ms: u64, ready: Timestamp) -> Option<Recording> {
    let script = &call.plan.recording;
    let kind = script.kind.unwrap_or_default();
    if !call.record || said_ms == 0 || kind == RecordingKind::None {
        return None;
    }
    // Like the sid but not the sid: the last character is the next one.
    let tail = call.sid.bytes().last().map_or('z', |last| char::from(last + 1));
    let id = format!("{}{tail}", &call.sid[..call.sid.len() - 1]);
    let sound = Sound {
        variety: id.bytes().map(u64::from).sum(),
        dual: call.dual,
    };
    Some(Recording {
        bytes: script.bytes.unwrap_or_else(|| sound.bytes_for(said_ms)),
        sound,
        kind,
        account: call.account.clone(),
        ready,
        redirect_to: script.redirect_to.clone(),
        hops: script.hops.unwrap_or(1),
        cut_at: script.cut_at,
        id,
    })
}

/// The callback about `event` as things stand at `now`, if the call asked for it. `leg` is 0 for the call as a whole.
pub(crate) fn outgoing(
    core: &Core,
    call: &Call,
    event: &'static str,
    leg: u8,
    now: Timestamp,
) -> Option<Outgoing> {
    let callback = call.callback.as_ref()?;
    let options = &core.options;
    let extended = !callback.events.is_empty() && (call.to.is_some() || options.events_without_to);
    let wanted = event == "terminal" || (extended && callback.events.iter().any(|wanted| wanted == event));
    if !wanted {
        return None;
    }
    let mut fields = call.callback_fields(event, now, extended);
    let script = call.plan.callbacks.clone();
    if script.sparse.unwrap_or(options.sparse_callbacks) {
        fields.retain(|(name, _)| ALWAYS.contains(name));
    }
    if script.literal_nulls.unwrap_or(options.literal_nulls) {
        callbacks::with_literal_nulls(&mut fields);
    }
    let form = script
        .form
        .or(options.force_form)
        .or(callback.form)
        .unwrap_or(options.default_form);
    Some(Outgoing {
        sid: call.sid.clone(),
        event,
        url: callback.url.clone(),
        way: Way::Post(form),
        ack: Ack::Any2xx,
        fields,
        key: format!("{} {} {event} {leg}", call.lead(), call.nth),
        script,
        last: event == "terminal",
    })
}

/// Lets an accepted call happen.
pub(crate) fn start(core: &Shared, sid: String) {
    let courier = callbacks::courier(core);
    let line = Line {
        core: core.clone(),
        sid,
        courier,
    };
    core.spawn(async move {
        // `None`: the simulator was reset under the call.
        if line.live().await.is_none() {
            tracing::debug!(call.sid = %line.sid, "call was forgotten");
        }
    });
}

impl Line {
    pub(crate) fn call(&self) -> Option<Call> {
        self.core.read(|state| state.calls.get(&self.sid).cloned())
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Call)) -> Option<()> {
        let now = self.core.now();
        self.core.change(|state| {
            state.calls.update(&self.sid, |call| {
                change(call);
                call.updated = now;
            })
        })
    }

    async fn live(&self) -> Option<()> {
        let mut call = self.call()?;
        let flow = call.flow.clone();
        if let Some(flow) = flow.as_ref().filter(|flow| flow.inbound.is_some()) {
            return self.live_inbound(flow).await;
        }
        let mut plan = call.plan.clone();
        let mut elapsed_ms = plan.ring1_ms;
        self.core.record_dial(&self.sid, 1, &call.from);
        self.report("ringing", 1)?;
        self.core.pass(plan.ring1_ms).await;
        if plan.leg1 == CallStatus::Completed {
            self.update(|call| call.legs[0].status = Some(CallStatus::InProgress))?;
            self.report("answered", 1)?;
            if let (Some(to), Some(leg2)) = (&call.to, plan.leg2) {
                self.core.record_dial(&self.sid, 2, to);
                self.core.pass(plan.ring2_ms).await;
                elapsed_ms += plan.ring2_ms;
                if leg2 == CallStatus::Completed {
                    self.update(|call| call.legs[1].status = Some(CallStatus::InProgress))?;
                    self.report("answered", 2)?;
                }
            }
            if let Some(applet) = call.voicebot.clone() {
                // The stream takes as long as it takes: nothing is left to pass.
                plan = Arc::new(self.talk_to_bot(&applet, flow.as_deref(), &plan).await?);
                call.plan = plan.clone();
            } else {
                if let Some(flow) = flow
                    && !self.pass_through(&flow, Stage::Before).await?
                {
                    plan = Arc::new(plan.halted());
                    call.plan = plan.clone();
                }
                self.core.pass(plan.talk_ms).await;
            }
            elapsed_ms += plan.talk_ms;
        }
        self.end(&call, elapsed_ms)?;
        self.report("terminal", 0)?;
        self.core.pass(plan.settle_ms).await;
        self.update(|call| call.settled = true)
    }

    pub(crate) fn end(&self, call: &Call, elapsed_ms: u64) -> Option<()> {
        let plan = call.plan.clone();
        let ready = self.core.ahead(plan.recording_ms);
        let recording = recording(call, plan.talk_ms, ready);
        let lasted = SignedDuration::from_millis(i64::try_from(elapsed_ms).unwrap_or(i64::MAX));
        let url = recording
            .as_ref()
            .map(|recording| recordings::url(&self.core.origin, recording));
        if let Some(recording) = recording {
            self.core
                .change(|state| state.recordings.insert(recording.id.clone(), recording));
        }
        self.update(|call| {
            call.status = plan.status;
            call.ended = call.created.checked_add(lasted).ok();
            call.talk_ms = if plan.voicemail { 0 } else { plan.talk_ms };
            call.legs[0].status = Some(plan.leg1);
            call.legs[1].status = plan.leg2;
            if plan.leg1 == CallStatus::Completed {
                call.legs[0].on_call_ms = elapsed_ms - plan.ring1_ms;
            }
            if plan.leg2 == Some(CallStatus::Completed) {
                call.legs[1].on_call_ms = plan.talk_ms;
            }
            call.recording_url = url;
        })
    }

    /// Hands a callback to the courier, if the call asked for that event. `leg` is 0 for the call as a whole.
    fn report(&self, event: &'static str, leg: u8) -> Option<()> {
        let call = self.call()?;
        if let Some(made) = &call.ccm {
            self.report_nested(&call, made, event, leg);
        }
        if let Some(outgoing) = outgoing(&self.core, &call, event, leg, self.core.now()) {
            // The courier is gone only when the simulator stops.
            let _ = self.courier.send(outgoing);
        }
        Some(())
    }

    /// The same in the shape of v2.
    fn report_nested(&self, call: &Call, made: &CcmCall, event: &'static str, leg: u8) {
        let wanted = made.callbacks.iter().filter(|(wanted, _)| wanted == event);
        for (at, (_, url)) in wanted.enumerate() {
            // The courier is gone only when the simulator stops.
            let _ = self.courier.send(Outgoing {
                sid: call.sid.clone(),
                event,
                url: url.clone(),
                way: Way::Post(BodyForm::Json),
                ack: Ack::Any2xx,
                fields: ccm::callback_fields(call, made, event),
                script: call.plan.callbacks.clone(),
                key: format!("{} {} {event} {leg} {at}", call.lead(), call.nth),
                last: event == "terminal",
            });
        }
    }
}

#[cfg(test)]
impl Call {
    /// An ended, settled call of account `acme1` for tests of lists and totals.
    pub(crate) fn sample(sid: String, created: Timestamp, outcome: crate::scripts::Outcome) -> Self {
        use crate::options::Timings;
        use crate::scripts::{CallScript, Script};
        let script = Script {
            call: CallScript {
                outcome: Some(outcome),
                ..CallScript::default()
            },
            ..Script::default()
        };
        let plan = CallPlan::new(script, &Timings::default(), true);
        let number = |text: &str| Number::parse(text).expect("a valid number");
        Self {
            sid,
            account: "acme1".to_owned(),
            direction: Direction::OutboundApi,
            from: number("09811100001"),
            to: Some(number("09811109876")),
            exophone: number("08045550100"),
            exophone_sid: "08045550100".to_owned(),
            flow_id: None,
            created,
            updated: created,
            ended: created.checked_add(SignedDuration::from_secs(45)).ok(),
            settled: true,
            status: plan.status,
            legs: [Leg::default(), Leg::default()],
            talk_ms: plan.talk_ms,
            recording_url: None,
            record: false,
            dual: false,
            custom_field: None,
            callback: None,
            ccm: None,
            flow: None,
            branches: Vec::new(),
            voicebot: None,
            plan: Arc::new(plan),
            nth: 1,
        }
    }
}
