//! Figures as answers tell them: snake_case, rates as fractions of 1, `null` where there is nothing to divide by.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    figures::{CallFigures, Figures, MessageFigures, OTHER, PRICE_PARTS, SpanFigures},
    ids::UserId,
};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::Serialize;

use super::span::{Span, SpanView};
use crate::figures::zone_name;

/// A rate with four digits, an average with two.
fn rounded(value: Option<f64>, digits: i32) -> Option<f64> {
    let scale = 10f64.powi(digits);
    value.map(|value| (value * scale).round() / scale)
}

/// A price as Exotel writes it, with four decimals.
pub(super) fn price(parts: i64) -> String {
    let sign = if parts < 0 { "-" } else { "" };
    let (parts, unit) = (parts.unsigned_abs(), PRICE_PARTS.unsigned_abs());
    format!("{sign}{}.{:04}", parts / unit, parts % unit)
}

/// A number by its last four characters.
pub(super) fn mask(number: &str) -> String {
    let from = number.char_indices().rev().nth(3).map_or(0, |(at, _)| at);
    format!("…{}", &number[from..])
}

/// What calls add up to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Counts {
    total_calls: u64,
    ended_calls: u64,
    /// Those that Exotel reports as completed: the first leg answered and the call ended normally.
    completed_calls: u64,
    /// Those that ended otherwise.
    failed_calls: u64,
    connected_calls: u64,
    not_picked_calls: u64,
    disconnected_calls: u64,
    in_progress_calls: u64,
    inbound_calls: u64,
    outbound_calls: u64,
    abandoned_calls: u64,
    /// Connected calls of those that ended.
    success_rate: Option<f64>,
    average_duration_secs: Option<f64>,
    total_duration_secs: u64,
    talk_secs: u64,
    price: String,
    by_state: BTreeMap<String, u64>,
}

impl From<&CallFigures> for Counts {
    fn from(calls: &CallFigures) -> Self {
        let completed = calls.states.get("completed").copied().unwrap_or_default();
        Self {
            total_calls: calls.calls,
            ended_calls: calls.ended,
            completed_calls: completed,
            failed_calls: calls.ended.saturating_sub(completed),
            connected_calls: calls.connected,
            not_picked_calls: calls.not_picked,
            disconnected_calls: calls.disconnected,
            in_progress_calls: calls.in_progress,
            inbound_calls: calls.inbound,
            outbound_calls: calls.outbound,
            abandoned_calls: calls.abandoned,
            success_rate: rounded(calls.success_rate(), 4),
            average_duration_secs: rounded(calls.average_duration_secs(), 2),
            total_duration_secs: calls.duration_secs,
            talk_secs: calls.talk_secs,
            price: price(calls.price),
            by_state: calls.states.clone(),
        }
    }
}

/// Calls of one hour of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Hour {
    hour: usize,
    calls: u64,
}

/// Calls of one ExoPhone.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct ExophoneLine {
    exophone: String,
    #[serde(flatten)]
    counts: Counts,
}

/// Call metrics.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallsView {
    #[serde(flatten)]
    span: SpanView,
    #[serde(flatten)]
    counts: Counts,
    /// The hour of the day with the most calls.
    peak_hour: Option<usize>,
    hourly_distribution: Vec<Hour>,
    exophones: Vec<ExophoneLine>,
}

/// The busiest first; of as many calls, by name.
fn busiest(by: BTreeMap<String, CallFigures>) -> Vec<(String, CallFigures)> {
    let mut all: Vec<_> = by.into_iter().collect();
    all.sort_by(|a, b| b.1.calls.cmp(&a.1.calls).then_with(|| a.0.cmp(&b.0)));
    all
}

impl CallsView {
    pub(super) fn new(span: &Span, sums: SpanFigures, masked: bool) -> Self {
        let peak_hour = sums.peak_hour();
        let hours = sums.hours.iter().enumerate();
        let line = |(exophone, calls): (String, CallFigures)| ExophoneLine {
            counts: Counts::from(&calls),
            exophone: if masked && exophone != OTHER {
                mask(&exophone)
            } else {
                exophone
            },
        };
        Self {
            span: span.into(),
            counts: Counts::from(&sums.figures.calls),
            peak_hour,
            hourly_distribution: hours.map(|(hour, calls)| Hour { hour, calls: *calls }).collect(),
            exophones: busiest(sums.figures.exophones).into_iter().map(line).collect(),
        }
    }
}

/// Calls of one flow.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FlowLine {
    flow_id: String,
    #[serde(flatten)]
    counts: Counts,
}

/// Flow analytics.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FlowsView {
    #[serde(flatten)]
    span: SpanView,
    flows: Vec<FlowLine>,
}

fn flow_lines(by: BTreeMap<String, CallFigures>) -> Vec<FlowLine> {
    let line = |(flow_id, calls): (String, CallFigures)| FlowLine {
        flow_id,
        counts: Counts::from(&calls),
    };
    busiest(by).into_iter().map(line).collect()
}

impl FlowsView {
    pub(super) fn new(span: &Span, sums: SpanFigures) -> Self {
        Self {
            span: span.into(),
            flows: flow_lines(sums.figures.flows),
        }
    }
}

/// What one agent did. Either a user of ours or a number; neither for those counted together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentLine {
    user_id: Option<UserId>,
    number: Option<String>,
    calls: u64,
    talk_secs: u64,
    /// Connected calls of those that ended.
    connect_rate: Option<f64>,
    /// Abandoned calls of the inbound ones.
    abandonment_rate: Option<f64>,
    /// From the beginning of a call until both talked, over connected calls of which that is known.
    average_wait_secs: Option<f64>,
    average_duration_secs: Option<f64>,
    connected_calls: u64,
    not_picked_calls: u64,
    disconnected_calls: u64,
    in_progress_calls: u64,
    inbound_calls: u64,
    outbound_calls: u64,
    abandoned_calls: u64,
}

/// Agent performance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentsView {
    #[serde(flatten)]
    span: SpanView,
    agents: Vec<AgentLine>,
}

impl AgentsView {
    pub(super) fn new(span: &Span, sums: SpanFigures, masked: bool) -> Self {
        let line = |(agent, calls): (String, CallFigures)| {
            let number = agent.strip_prefix("number:");
            AgentLine {
                user_id: agent.strip_prefix("user:").and_then(|id| id.parse().ok()),
                number: number.map(|number| if masked { mask(number) } else { number.to_owned() }),
                calls: calls.calls,
                talk_secs: calls.talk_secs,
                connect_rate: rounded(calls.success_rate(), 4),
                abandonment_rate: rounded(calls.abandonment_rate(), 4),
                average_wait_secs: rounded(calls.average_wait_secs(), 2),
                average_duration_secs: rounded(calls.average_duration_secs(), 2),
                connected_calls: calls.connected,
                not_picked_calls: calls.not_picked,
                disconnected_calls: calls.disconnected,
                in_progress_calls: calls.in_progress,
                inbound_calls: calls.inbound,
                outbound_calls: calls.outbound,
                abandoned_calls: calls.abandoned,
            }
        };
        Self {
            span: span.into(),
            agents: busiest(sums.figures.agents).into_iter().map(line).collect(),
        }
    }
}

/// What became of SMS.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SmsView {
    messages: u64,
    sent: u64,
    delivered: u64,
    failed: u64,
    dnd: u64,
    dlt_rejected: u64,
    units: u64,
    price: String,
    /// Delivered messages of those that Exotel took.
    delivery_rate: Option<f64>,
    by_state: BTreeMap<String, u64>,
}

/// Delivery of every channel; `null` for those that are not there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeliveryView {
    #[serde(flatten)]
    span: SpanView,
    sms: SmsView,
    whatsapp: Option<()>,
    otp: Option<()>,
}

impl DeliveryView {
    pub(super) fn new(span: &Span, messages: &MessageFigures) -> Self {
        Self {
            span: span.into(),
            sms: SmsView {
                messages: messages.messages,
                sent: messages.sent,
                delivered: messages.delivered,
                failed: messages.failed,
                dnd: messages.dnd,
                dlt_rejected: messages.dlt_rejected,
                units: messages.units,
                price: price(messages.price),
                delivery_rate: rounded(messages.delivery_rate(), 4),
                by_state: messages.states.clone(),
            },
            whatsapp: None,
            otp: None,
        }
    }
}

/// How many agents do what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct AgentAvailability {
    /// With a call today.
    active_today: usize,
    /// With a call that is not over.
    on_a_call: usize,
    /// Active today, and not on a call.
    available: usize,
}

/// How today goes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DashboardView {
    date: Date,
    zone: String,
    as_of: Timestamp,
    /// Calls whose end is not known, of the last four hours.
    active_calls: u64,
    /// Clicks that wait for a slot.
    calls_in_queue: usize,
    /// There may be more: only the hundred newest open calls were looked at.
    calls_in_queue_at_least: bool,
    agent_availability: AgentAvailability,
    calls_today: u64,
    average_duration_secs: Option<f64>,
    success_rate: Option<f64>,
    top_flows: Vec<FlowLine>,
    /// The oldest quarter with changes that the figures do not hold yet; `null` when they hold all.
    figures_lag_since: Option<Timestamp>,
}

/// What the dashboard read besides today's figures.
pub(super) struct Now {
    pub(super) active_calls: u64,
    pub(super) on_a_call: BTreeSet<String>,
    pub(super) queued: usize,
    pub(super) queued_at_least: bool,
    pub(super) folded_before: Option<Timestamp>,
}

impl DashboardView {
    pub(super) fn new(
        as_of: Timestamp,
        zone: &TimeZone,
        date: Date,
        today: &Figures,
        now: Now,
        top_flows: usize,
    ) -> Self {
        let today_agents = today.agents.keys().filter(|agent| *agent != OTHER);
        let active: BTreeSet<&String> = today_agents.chain(&now.on_a_call).collect();
        let mut flows = flow_lines(today.flows.clone());
        flows.retain(|line| line.flow_id != OTHER);
        flows.truncate(top_flows);
        Self {
            date,
            zone: zone_name(zone).to_owned(),
            as_of,
            active_calls: now.active_calls,
            calls_in_queue: now.queued,
            calls_in_queue_at_least: now.queued_at_least,
            agent_availability: AgentAvailability {
                active_today: active.len(),
                on_a_call: now.on_a_call.len(),
                available: active.len() - now.on_a_call.len(),
            },
            calls_today: today.calls.calls,
            average_duration_secs: rounded(today.calls.average_duration_secs(), 2),
            success_rate: rounded(today.calls.success_rate(), 4),
            top_flows: flows,
            figures_lag_since: now.folded_before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_and_rates_are_told_with_four_decimals_and_numbers_by_four_digits() {
        assert_eq!(price(14_000), "1.4000");
        assert_eq!(price(-5), "-0.0005");
        assert_eq!(rounded(Some(2.0 / 3.0), 4), Some(0.6667));
        assert_eq!(rounded(None, 4), None);
        assert_eq!(mask("+919811100001"), "…0001");
        assert_eq!(mask("ü1"), "…ü1");
    }
}
