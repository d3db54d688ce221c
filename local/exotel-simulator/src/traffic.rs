//! A seeded day of calls: all over and settled before it answers, their callbacks sent.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures_util::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::callbacks::{self, Outgoing};
use crate::calls::{self, Call, DEFAULT_FLOW, Leg, StatusCallback};
use crate::core::{Core, Shared};
use crate::draw::{Dice, Draws};
use crate::inbound::{self, Flow, InboundOutcome, Stage};
use crate::phone::Number;
use crate::scripts::{CallPlan, CallScript, CallStatus, Direction, Outcome, Script};
use crate::totals::Totals;

/// Callbacks that are on their way at once.
const CONCURRENT: usize = 32;
/// Calls in one go.
const MOST_CALLS: u64 = 1_000_000;

fn default_mix() -> BTreeMap<Outcome, f64> {
    BTreeMap::from([
        (Outcome::Completed, 55.0),
        (Outcome::Leg2NoAnswer, 20.0),
        (Outcome::Leg2Busy, 4.0),
        (Outcome::Busy, 6.0),
        (Outcome::Leg1NoAnswer, 7.0),
        (Outcome::Leg1Busy, 2.0),
        (Outcome::Failed, 3.0),
        (Outcome::Canceled, 3.0),
    ])
}

fn default_inbound_mix() -> BTreeMap<InboundOutcome, f64> {
    BTreeMap::from([
        (InboundOutcome::Completed, 60.0),
        (InboundOutcome::NoAnswer, 12.0),
        (InboundOutcome::Busy, 6.0),
        (InboundOutcome::Failed, 2.0),
        (InboundOutcome::ClientHangup, 8.0),
        (InboundOutcome::Voicemail, 5.0),
        (InboundOutcome::CallAttempt, 7.0),
    ])
}

fn default_inbound_share() -> f64 {
    0.25
}

fn default_flows() -> Vec<String> {
    vec![DEFAULT_FLOW.to_owned()]
}

fn default_agents() -> Vec<String> {
    (1..=5).map(|n| format!("0981115000{n}")).collect()
}

fn all() -> f64 {
    1.0
}

/// A span of calls to be played. The same seed, span and settings give the same calls, and the first `calls` of a
/// longer run are those of a shorter one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// Whose calls; the first account's if not set.
    #[serde(default)]
    pub account: Option<String>,
    /// Seed of every draw; the simulator's own has no part in it.
    pub seed: u64,
    /// How many calls, a million at most.
    pub calls: u64,
    /// Calls are created at this instant or later …
    pub from: Timestamp,
    /// … and have ended by this one, which must not lie ahead. Within a short span calls are short.
    pub to: Timestamp,
    /// Weights of the outcomes of calls that go out.
    #[serde(default = "default_mix")]
    pub mix: BTreeMap<Outcome, f64>,
    /// Weights of the outcomes of calls that come in.
    #[serde(default = "default_inbound_mix")]
    pub inbound_mix: BTreeMap<InboundOutcome, f64>,
    /// Share of calls that come in, 0 to 1.
    #[serde(default = "default_inbound_share")]
    pub inbound_share: f64,
    /// Share of the others that were placed from the dashboard (`outbound-dial`), 0 to 1.
    #[serde(default)]
    pub dial_share: f64,
    /// Share of the others that have one leg, from a number to a flow, 0 to 1.
    #[serde(default)]
    pub flow_share: f64,
    /// Flows, drawn from for calls that come in or have one leg.
    #[serde(default = "default_flows")]
    pub flows: Vec<String>,
    /// Agents' numbers, drawn from.
    #[serde(default = "default_agents")]
    pub agents: Vec<String>,
    /// Share of calls with a recording, of those in which something is said, 0 to 1.
    #[serde(default)]
    pub recordings: f64,
    /// Share of calls whose callback is sent, 0 to 1: the terminal status callback of a call that goes out, the
    /// Passthru after the Connect applet of one that came in.
    #[serde(default = "all")]
    pub webhooks: f64,
    /// Where status callbacks go: in the extended form, or, for calls with one leg, in the short one unless
    /// [`events_without_to`](crate::Options::events_without_to). Without it there are none.
    #[serde(default)]
    pub status_callback: Option<String>,
    /// Where Passthru calls go; else where `PUT /_sim/passthru` says. Without either there are none.
    #[serde(default)]
    pub passthru: Option<String>,
}

impl Traffic {
    /// So many calls within a span, everything else as usual.
    pub fn new(seed: u64, calls: u64, from: Timestamp, to: Timestamp) -> Self {
        Self {
            account: None,
            seed,
            calls,
            from,
            to,
            mix: default_mix(),
            inbound_mix: default_inbound_mix(),
            inbound_share: default_inbound_share(),
            dial_share: 0.0,
            flow_share: 0.0,
            flows: default_flows(),
            agents: default_agents(),
            recordings: 0.0,
            webhooks: 1.0,
            status_callback: None,
            passthru: None,
        }
    }

    fn check(&self, now: Timestamp) -> Result<(), String> {
        if self.calls > MOST_CALLS {
            return Err(format!("`calls` may be {MOST_CALLS} at most"));
        }
        if self.from >= self.to {
            return Err("`from` must lie before `to`".to_owned());
        }
        if self.to > now {
            return Err(format!("`to` lies ahead; it is {now} now"));
        }
        for (name, share) in [
            ("inbound_share", self.inbound_share),
            ("dial_share", self.dial_share),
            ("flow_share", self.flow_share),
            ("recordings", self.recordings),
            ("webhooks", self.webhooks),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return Err(format!("`{name}` must be from 0 to 1"));
            }
        }
        check_weights("mix", self.mix.values())?;
        check_weights("inbound_mix", self.inbound_mix.values())?;
        if self.flows.is_empty() || self.agents.is_empty() {
            return Err("`flows` and `agents` must name at least one each".to_owned());
        }
        if let Some(url) = &self.status_callback {
            match url::Url::parse(url) {
                Ok(parsed) if parsed.scheme() == "http" => {}
                _ => return Err("`status_callback` must be an http:// URL".to_owned()),
            }
        }
        self.passthru.as_deref().map_or(Ok(()), inbound::check_url)
    }
}

fn check_weights<'a>(name: &str, weights: impl Iterator<Item = &'a f64>) -> Result<(), String> {
    let mut sum = 0.0;
    for weight in weights {
        if !weight.is_finite() || *weight < 0.0 {
            return Err(format!("a weight of `{name}` is no number from 0"));
        }
        sum += weight;
    }
    if sum > 0.0 {
        Ok(())
    } else {
        Err(format!("`{name}` needs a weight above 0"))
    }
}

/// What was played.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Played {
    /// What the calls add up to.
    #[serde(flatten)]
    pub totals: Totals,
    /// Callbacks and Passthru calls that were sent, or would have been but for a fault. Each first attempt has ended;
    /// retries, repetitions and delayed ones may follow.
    pub callbacks: u64,
}

/// Plays the calls and sends their callbacks.
pub(crate) async fn play(core: &Shared, traffic: Traffic) -> Result<Played, String> {
    traffic.check(core.now())?;
    let day = Day::new(core, traffic)?;
    let mut played = Vec::new();
    let mut recordings = Vec::new();
    let mut told = Vec::new();
    for n in 0..day.traffic.calls {
        if n % 1_000 == 999 {
            // A large day takes a while: let others have their turn.
            tokio::task::yield_now().await;
        }
        let Drawn {
            mut call,
            said_ms,
            tells,
        } = day.call(core, n);
        if let Some(recording) = calls::recording(&call, said_ms, call.updated) {
            call.recording_url = Some(crate::recordings::url(&core.origin, &recording));
            recordings.push(recording);
        }
        if tells {
            told.push((call.ended, call.sid.clone()));
        }
        played.push(call);
    }
    let totals = Totals::of(played.iter());
    core.change(|state| {
        state.calls.insert_all(played);
        for recording in recordings {
            state.recordings.insert(recording.id.clone(), recording);
        }
    });
    // As they would have come.
    told.sort();
    let outgoing = told.into_iter().filter_map(|(_, sid)| day.callback(core, &sid));
    let mut sent = 0;
    let mut answers = futures_util::stream::iter(outgoing)
        .map(|outgoing| callbacks::send(core, outgoing))
        .buffer_unordered(CONCURRENT);
    while answers.next().await.is_some() {
        sent += 1;
    }
    Ok(Played {
        totals,
        callbacks: sent,
    })
}

/// A traffic's settings, read.
struct Day {
    traffic: Traffic,
    account: String,
    dice: Dice,
    agents: Vec<Number>,
    exophones: Vec<(Number, String)>,
    callback: Option<StatusCallback>,
    passthru: Option<String>,
    /// Calls that go out share the plan of their outcome: a hundred thousand plans would be the most of their size.
    plans: HashMap<(Outcome, bool), Arc<CallPlan>>,
    span_ms: u64,
}

/// A call drawn.
struct Drawn {
    call: Call,
    /// What a recording of it would hold.
    said_ms: u64,
    /// Its callback is sent.
    tells: bool,
}

/// The value at `at` (0 to 1) of the weights laid side by side.
fn pick<T: Copy>(weights: &BTreeMap<T, f64>, at: f64) -> Option<T> {
    let mut left = at * weights.values().sum::<f64>();
    for (value, weight) in weights {
        left -= weight;
        if left < 0.0 {
            return Some(*value);
        }
    }
    // Rounding may leave nothing but the end.
    weights
        .iter()
        .rev()
        .find(|(_, weight)| **weight > 0.0)
        .map(|(value, _)| *value)
}

fn millis(ms: u64) -> SignedDuration {
    SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX))
}

impl Day {
    fn new(core: &Core, traffic: Traffic) -> Result<Self, String> {
        let account = core.account(traffic.account.as_deref())?.sid.clone();
        let agents = traffic
            .agents
            .iter()
            .map(|text| Number::parse(text).ok_or_else(|| format!("`agents`: {text} is no phone number")))
            .collect::<Result<Vec<_>, _>>()?;
        let mut exophones: Vec<(Number, String)> = core.read(|state| {
            state
                .exophones_of(&account)
                .map(|exophone| (exophone.number.clone(), exophone.sid.clone()))
                .collect()
        });
        if exophones.is_empty() {
            let number = inbound::default_exophone();
            exophones.push((number.clone(), number.to_string()));
        }
        let callback = traffic.status_callback.clone().map(|url| StatusCallback {
            url,
            events: vec!["terminal".to_owned()],
            form: None,
        });
        let passthru = traffic
            .passthru
            .clone()
            .or_else(|| core.read(|state| state.passthru.clone()));
        let mut plans = HashMap::new();
        for outcome in traffic.mix.keys() {
            for two_legs in [true, false] {
                let script = Script {
                    call: CallScript {
                        outcome: Some(*outcome),
                        ..CallScript::default()
                    },
                    ..Script::default()
                };
                let plan = CallPlan::new(script, &core.options.timings, two_legs);
                plans.insert((*outcome, two_legs), Arc::new(plan));
            }
        }
        let span = traffic.to.duration_since(traffic.from).as_millis();
        Ok(Self {
            dice: Dice { seed: traffic.seed },
            span_ms: u64::try_from(span).unwrap_or(u64::MAX),
            traffic,
            account,
            agents,
            exophones,
            callback,
            passthru,
            plans,
        })
    }

    /// The `n`-th call. Every draw is made for every call, so that one setting does not shift another's draws.
    fn call(&self, core: &Core, n: u64) -> Drawn {
        let traffic = &self.traffic;
        let key = format!("traffic {} {} {} {n}", self.account, traffic.from, traffic.to);
        let mut draws = self.dice.draws(&key);
        let inbound = draws.unit() < traffic.inbound_share;
        let dialled = draws.unit() < traffic.dial_share;
        let to_flow = draws.unit() < traffic.flow_share;
        let outcome_at = draws.unit();
        let agent = self.agents[draws.below(self.agents.len())].clone();
        let flow_id = traffic.flows[draws.below(traffic.flows.len())].clone();
        let (exophone, exophone_sid) = self.exophones[draws.below(self.exophones.len())].clone();
        let lead = lead(&mut draws);
        let ring1_ms = 2_000 + draws.up_to(10_000);
        let ring2_ms = 3_000 + draws.up_to(17_000);
        // Short talks are many, long ones few.
        let talk_ms = 5_000 + up_to_ten_minutes(&mut draws);
        let created_at = draws.unit();
        let recorded = draws.unit() < traffic.recordings;
        let tells = draws.unit() < traffic.webhooks;
        let sid = self.dice.sid(&key);

        let drawn = Durations {
            ring1_ms,
            ring2_ms,
            talk_ms,
            no_answer_ms: core.options.timings.no_answer_ms,
        };
        let way = if inbound {
            let outcome = pick(&traffic.inbound_mix, outcome_at).unwrap_or_default();
            Way::inbound(core, outcome, drawn, self.span_ms / 2)
        } else {
            let outcome = pick(&traffic.mix, outcome_at).unwrap_or_default();
            let plan = self.plans[&(outcome, !to_flow)].clone();
            Way::outbound(plan, drawn, self.span_ms / 2)
        };
        let elapsed_ms = way.elapsed_ms;
        let latest_ms = self.span_ms.saturating_sub(elapsed_ms);
        let created = traffic.from + millis((created_at * latest_ms as f64) as u64);
        let ended = created + millis(elapsed_ms);
        let updated = (ended + millis(way.plan.settle_ms)).min(core.now()).max(ended);
        let leg2_rung = way.plan.leg2.is_some();
        let (from, to) = match (inbound, to_flow) {
            (true, _) => (lead, leg2_rung.then(|| agent.clone())),
            (false, true) => (lead, None),
            (false, false) => (agent.clone(), Some(lead)),
        };
        let flow = (inbound || to_flow).then(|| {
            Arc::new(Flow {
                inbound: way.inbound,
                agent: Some(agent),
                digits: None,
                passthru: self.passthru.clone(),
                // Nothing waits for the answer any more.
                sync: false,
            })
        });
        let call = Call {
            sid,
            account: self.account.clone(),
            direction: match (inbound, dialled) {
                (true, _) => Direction::Inbound,
                (false, true) => Direction::OutboundDial,
                (false, false) => Direction::OutboundApi,
            },
            from,
            to,
            exophone,
            exophone_sid,
            flow_id: (inbound || to_flow).then_some(flow_id),
            created,
            updated,
            ended: Some(ended),
            settled: true,
            status: way.plan.status,
            legs: way.legs,
            talk_ms: if way.plan.voicemail { 0 } else { way.said_ms },
            recording_url: None,
            record: recorded,
            dual: false,
            custom_field: None,
            callback: self.callback.clone().filter(|_| !inbound),
            ccm: None,
            flow,
            branches: Vec::new(),
            voicebot: None,
            plan: way.plan,
            nth: n,
        };
        Drawn {
            call,
            said_ms: way.said_ms,
            tells,
        }
    }

    /// The last thing that would have been sent about the call, if there is anywhere to send it.
    fn callback(&self, core: &Core, sid: &str) -> Option<Outgoing> {
        let call = core.read(|state| state.calls.get(sid).cloned())?;
        let ended = call.ended?;
        let mut outgoing = match (&call.flow, call.direction) {
            (Some(flow), Direction::Inbound) => {
                let stage = match call.to {
                    Some(_) => Stage::After,
                    // Nobody was rung: the Passthru before the Connect applet was the last.
                    None => Stage::Before,
                };
                inbound::outgoing(&call, flow, stage, flow.passthru.clone()?, ended)
            }
            _ => calls::outgoing(core, &call, "terminal", 0, ended)?,
        };
        outgoing.key = format!("traffic {sid} {}", outgoing.event);
        Some(outgoing)
    }
}

/// A lead's number: none of the suffixes that mean something.
fn lead(draws: &mut Draws) -> Number {
    let number = 9_000_000_000 + draws.up_to(99_999) * 10_000 + 1_000 + draws.up_to(8_999);
    Number::parse(&format!("0{number}")).expect("ten digits are a number")
}

/// Up to ten minutes; half of the draws are below two and a half.
fn up_to_ten_minutes(draws: &mut Draws) -> u64 {
    let unit = draws.unit();
    (600_000.0 * unit * unit) as u64
}

/// Durations as drawn.
#[derive(Debug, Clone, Copy)]
struct Durations {
    ring1_ms: u64,
    ring2_ms: u64,
    talk_ms: u64,
    no_answer_ms: u64,
}

/// How a call went and how long each part of it took.
struct Way {
    plan: Arc<CallPlan>,
    inbound: Option<InboundOutcome>,
    legs: [Leg; 2],
    said_ms: u64,
    elapsed_ms: u64,
}

impl Way {
    /// At most `most_ms` long: everything is shortened alike.
    fn outbound(plan: Arc<CallPlan>, drawn: Durations, most_ms: u64) -> Self {
        let ring = |status: CallStatus, usual_ms: u64| match status {
            CallStatus::NoAnswer => drawn.no_answer_ms,
            _ => usual_ms,
        };
        let ring1_ms = ring(plan.leg1, drawn.ring1_ms);
        let ring2_ms = plan.leg2.map_or(0, |leg2| ring(leg2, drawn.ring2_ms));
        let said_ms = if plan.talk_ms > 0 { drawn.talk_ms } else { 0 };
        let shorten = shortening(ring1_ms + ring2_ms + said_ms, most_ms);
        let (ring1_ms, ring2_ms, said_ms) = (shorten(ring1_ms), shorten(ring2_ms), shorten(said_ms));
        let leg1_ms = match plan.leg1 {
            CallStatus::Completed => ring2_ms + said_ms,
            _ => 0,
        };
        Self {
            inbound: None,
            legs: legs(&plan, leg1_ms, said_ms),
            said_ms,
            elapsed_ms: ring1_ms + ring2_ms + said_ms,
            plan,
        }
    }

    fn inbound(core: &Core, outcome: InboundOutcome, drawn: Durations, most_ms: u64) -> Self {
        let ring_ms = match outcome.statuses().1 {
            Some(CallStatus::NoAnswer) => drawn.no_answer_ms,
            _ => drawn.ring2_ms,
        };
        let plan_of =
            |ring_ms, talk_ms| inbound::plan(core, outcome, Script::default(), Some(ring_ms), Some(talk_ms));
        let plan = plan_of(ring_ms, drawn.talk_ms);
        let shorten = shortening(plan.ring2_ms + plan.talk_ms, most_ms);
        let plan = plan_of(shorten(ring_ms), shorten(drawn.talk_ms));
        let elapsed_ms = plan.ring2_ms + plan.talk_ms;
        Self {
            inbound: Some(outcome),
            legs: legs(&plan, elapsed_ms, plan.talk_ms),
            said_ms: plan.talk_ms,
            elapsed_ms,
            plan: Arc::new(plan),
        }
    }
}

fn shortening(elapsed_ms: u64, most_ms: u64) -> impl Fn(u64) -> u64 {
    move |ms| {
        if elapsed_ms <= most_ms || ms == 0 {
            ms
        } else {
            ((ms as f64 * most_ms as f64 / elapsed_ms as f64) as u64).max(1)
        }
    }
}

fn legs(plan: &CallPlan, leg1_ms: u64, said_ms: u64) -> [Leg; 2] {
    let leg2_ms = match plan.leg2 {
        Some(CallStatus::Completed) => said_ms,
        _ => 0,
    };
    [
        Leg {
            status: Some(plan.leg1),
            on_call_ms: leg1_ms,
        },
        Leg {
            status: plan.leg2,
            on_call_ms: leg2_ms,
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_kept() {
        let weights = BTreeMap::from([(1, 0.0), (2, 3.0), (3, 1.0), (4, 0.0)]);
        let picked: Vec<_> = (0..100)
            .filter_map(|n| pick(&weights, f64::from(n) / 100.0))
            .collect();
        assert_eq!(picked.iter().filter(|value| **value == 2).count(), 75);
        assert_eq!(picked.iter().filter(|value| **value == 3).count(), 25);
        assert_eq!(
            pick(&weights, 1.0),
            Some(3),
            "rounding cannot reach a weight of 0"
        );
    }

    #[test]
    fn a_call_is_shortened_to_fit_and_never_to_nothing() {
        let shorten = shortening(100_000, 50_000);
        assert_eq!((shorten(60_000), shorten(1), shorten(0)), (30_000, 1, 0));
        assert_eq!(shortening(10, 50)(7), 7);
    }
}
