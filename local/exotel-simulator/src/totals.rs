//! What a span of calls adds up to, by each call's own record.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::calls::{Call, seconds};
use crate::core::Core;
use crate::scripts::CallStatus;

/// Totals of ended calls. Every call is exactly one of connected, not picked and disconnected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Ended calls.
    pub calls: u64,
    /// Calls by overall `Status`.
    pub by_status: BTreeMap<String, u64>,
    /// Calls by `Direction`.
    pub by_direction: BTreeMap<String, u64>,
    /// `completed`, and either `ConversationDuration` is above 0 or the call has one leg (`Details.Legs`).
    pub connected: u64,
    /// `no-answer` or `busy`, and every other `completed`: two legs, `ConversationDuration` 0.
    pub not_picked: u64,
    /// `failed` or `canceled`.
    pub disconnected: u64,
    /// Sum of `ConversationDuration`: whole seconds of each call, begun ones counted.
    pub talk_secs: u64,
    /// Sum of `Duration`: whole seconds of each call from its creation to its end, begun ones not counted.
    pub duration_secs: u64,
    /// Sum of `Price`, with four decimal places.
    pub price: String,
    /// By `flow_id`, calls that ran one.
    pub by_flow: BTreeMap<String, Tally>,
    /// By the agent's number, as Exotel writes it: the first of two legs, or the leg that an inbound call rang. Calls
    /// with one leg have none.
    pub by_agent: BTreeMap<String, Tally>,
    /// Calls among them whose duration and price Exotel does not tell yet; the sums hold what it will tell.
    pub unsettled: u64,
}

/// Totals of one flow or agent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Ended calls.
    pub calls: u64,
    /// Connected ones, as in [`Totals`].
    pub connected: u64,
    /// Sum of `ConversationDuration`.
    pub talk_secs: u64,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Connected,
    NotPicked,
    Disconnected,
}

fn ending(call: &Call) -> Ending {
    match call.status {
        CallStatus::Completed if call.talk_ms > 0 || call.to.is_none() => Ending::Connected,
        CallStatus::Completed | CallStatus::NoAnswer | CallStatus::Busy => Ending::NotPicked,
        CallStatus::Failed | CallStatus::Canceled | CallStatus::InProgress => Ending::Disconnected,
    }
}

impl Totals {
    /// Adds calls up; those that have not ended are left out.
    pub(crate) fn of<'a>(calls: impl Iterator<Item = &'a Call>) -> Self {
        let mut totals = Self::default();
        let mut price_e4 = 0;
        for call in calls.filter(|call| call.ended.is_some()) {
            let ending = ending(call);
            let talk_secs = seconds(call.talk_ms).unsigned_abs();
            totals.calls += 1;
            *totals
                .by_status
                .entry(call.status.as_str().to_owned())
                .or_default() += 1;
            *totals
                .by_direction
                .entry(call.direction.as_str().to_owned())
                .or_default() += 1;
            match ending {
                Ending::Connected => totals.connected += 1,
                Ending::NotPicked => totals.not_picked += 1,
                Ending::Disconnected => totals.disconnected += 1,
            }
            totals.talk_secs += talk_secs;
            totals.duration_secs += call.duration_secs().unwrap_or_default().unsigned_abs();
            price_e4 += call.price_e4();
            totals.unsettled += u64::from(!call.settled);
            let tally = |tally: &mut Tally| {
                tally.calls += 1;
                tally.connected += u64::from(ending == Ending::Connected);
                tally.talk_secs += talk_secs;
            };
            if let Some(flow) = &call.flow_id {
                tally(totals.by_flow.entry(flow.clone()).or_default());
            }
            if let Some(agent) = call.agent() {
                tally(totals.by_agent.entry(agent.to_string()).or_default());
            }
        }
        totals.price = format!("{}.{:04}", price_e4 / 10_000, price_e4 % 10_000);
        totals
    }
}

/// Which calls are added up.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Span {
    /// The account; the first one if not set.
    pub(crate) account: Option<String>,
    /// Created at this instant or later.
    pub(crate) from: Option<Timestamp>,
    /// Created before this instant.
    pub(crate) to: Option<Timestamp>,
}

/// Adds up the ended calls of a span of creation.
pub(crate) fn of_span(core: &Core, span: &Span) -> Result<Totals, String> {
    let account = core.account(span.account.as_deref())?.sid.as_str();
    Ok(core.read(|state| {
        let ended = state.calls.ended(account);
        let first = ended.partition_point(|(created, _)| span.from.is_some_and(|from| *created < from));
        let last = ended.partition_point(|(created, _)| span.to.is_none_or(|to| *created < to));
        let places = &ended[first..last.max(first)];
        Totals::of(places.iter().filter_map(|(_, sid)| state.calls.get(sid)))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripts::Outcome;

    fn call(outcome: Outcome) -> Call {
        let created = "2026-11-20T08:00:00Z".parse().unwrap();
        Call::sample(format!("{outcome:?}"), created, outcome)
    }

    #[test]
    fn every_ending_has_its_place() {
        for (outcome, expected) in [
            (Outcome::Completed, Ending::Connected),
            (Outcome::Leg2NoAnswer, Ending::NotPicked),
            (Outcome::Leg2Busy, Ending::NotPicked),
            (Outcome::Busy, Ending::NotPicked),
            (Outcome::Leg1NoAnswer, Ending::NotPicked),
            (Outcome::Leg1Busy, Ending::NotPicked),
            (Outcome::Failed, Ending::Disconnected),
            (Outcome::Canceled, Ending::Disconnected),
        ] {
            assert_eq!(ending(&call(outcome)), expected, "{outcome:?}");
        }
        let mut one_leg = call(Outcome::Completed);
        (one_leg.to, one_leg.talk_ms) = (None, 0);
        assert_eq!(ending(&one_leg), Ending::Connected);
        one_leg.status = CallStatus::Busy;
        assert_eq!(ending(&one_leg), Ending::NotPicked);
    }

    #[test]
    fn sums_are_of_what_exotel_tells() {
        // 37.001 s of talk are told as 38, 45.9 s of duration as 45: a minute begun costs half a rupee.
        let mut first = call(Outcome::Completed);
        first.talk_ms = 37_001;
        first.ended = first
            .created
            .checked_add(jiff::SignedDuration::from_millis(45_900))
            .ok();
        let mut second = call(Outcome::Completed);
        second.settled = false;
        second.flow_id = Some("228040".to_owned());
        let mut going_on = call(Outcome::Completed);
        going_on.ended = None;
        let calls = [first, second, call(Outcome::Busy), going_on];
        let totals = Totals::of(calls.iter());
        assert_eq!((totals.calls, totals.connected, totals.not_picked), (3, 2, 1));
        assert_eq!((totals.talk_secs, totals.duration_secs), (75, 135));
        assert_eq!(totals.price, "1.0000");
        assert_eq!(totals.unsettled, 1);
        assert_eq!(totals.by_status["completed"], 2);
        assert_eq!(totals.by_direction["outbound-api"], 3);
        let flow = Tally {
            calls: 1,
            connected: 1,
            talk_secs: 37,
        };
        assert_eq!(totals.by_flow, BTreeMap::from([("228040".to_owned(), flow)]));
        assert_eq!(totals.by_agent["09811100001"].calls, 3);
        assert_eq!(Totals::of([].into_iter()).price, "0.0000");
    }
}
