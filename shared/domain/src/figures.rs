//! Figures: what calls and messages add up to, by quarter of an hour and by day.
//!
//! Figures are sums, never counters: a quarter is folded anew from the summaries of its calls and messages whenever one
//! of them changed. Adding is associative and commutative, so that days, weeks and spans are sums of quarters in any
//! order, and equal to the unit however they came about.

use std::{collections::BTreeMap, fmt, str::FromStr};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::{
    call::Outcome,
    call_record::{Agent, CallSummary, Direction},
    ids::{LeadId, SmsId},
    phone::PhoneNumber,
    sms::{Sms, SmsState},
};

/// Seconds of a bucket. Every zone's days begin on a quarter of an hour.
pub const BUCKET_SECS: i64 = 900;
/// Flows, agents and ExoPhones that an item names, each; the calls of further ones count under [`OTHER`]. An item then
/// stays below the 400 KB that DynamoDB stores.
pub const MOST_NAMED: usize = 500;
/// Characters of a name that are kept: ids and numbers are shorter.
const LONGEST_NAME: usize = 80;
/// Who or what is counted together beyond [`MOST_NAMED`].
pub const OTHER: &str = "other";
/// Parts of the account's currency that prices are counted in: Exotel tells at most four decimals.
pub const PRICE_PARTS: i64 = 10_000;

/// A quarter of an hour, UTC aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(i64);

impl Bucket {
    /// The quarter that a moment lies in.
    pub fn of(at: Timestamp) -> Self {
        Self(at.as_microsecond().div_euclid(BUCKET_SECS * 1_000_000))
    }

    /// Its first moment.
    pub fn start(self) -> Timestamp {
        Timestamp::from_second(self.0 * BUCKET_SECS).unwrap_or(Timestamp::MIN)
    }

    /// The first moment behind it.
    pub fn end(self) -> Timestamp {
        Timestamp::from_second((self.0 + 1) * BUCKET_SECS).unwrap_or(Timestamp::MAX)
    }

    /// The quarter behind it.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The quarter before it.
    pub fn previous(self) -> Self {
        Self(self.0 - 1)
    }

    /// The quarters that a span (from inclusive, to exclusive) touches, the oldest first; none when it is empty.
    pub fn span(from: Timestamp, to: Timestamp) -> impl ExactSizeIterator<Item = Self> + DoubleEndedIterator {
        let first = Self::of(from).0;
        let last = Self::of(to);
        let end = last.0 + i64::from(last.start() < to);
        // A range of 32-bit offsets has a length, one of 64 bits has none.
        let len = if from < to { end - first } else { 0 };
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        (0..len).map(move |offset| Self(first + i64::from(offset)))
    }

    /// The quarters of a local day. Each quarter is part of exactly one day of a zone: the one that it begins in.
    pub fn of_day(date: Date, zone: &TimeZone) -> impl ExactSizeIterator<Item = Self> + DoubleEndedIterator {
        let (from, to) = day_span(date, zone);
        Self::span(Self::first_from(from).start(), Self::first_from(to).start())
    }

    /// The local day that it is part of.
    pub fn date(self, zone: &TimeZone) -> Date {
        zone.to_datetime(self.start()).date()
    }

    /// The hour of the local day that it is part of, 0 to 23. Where clocks are turned back an hour comes twice.
    pub fn hour(self, zone: &TimeZone) -> usize {
        zone.to_datetime(self.start()).hour().unsigned_abs().into()
    }

    /// The first quarter that begins at this moment or behind it.
    fn first_from(at: Timestamp) -> Self {
        let bucket = Self::of(at);
        if bucket.start() < at {
            bucket.next()
        } else {
            bucket
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.start().strftime("%Y-%m-%dT%H:%M"))
    }
}

impl FromStr for Bucket {
    type Err = crate::DomainError;

    /// Takes what `Display` gives: `2026-11-20T08:15`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at: Option<Timestamp> = format!("{text}:00Z").parse().ok();
        at.map(Self::of)
            .filter(|bucket| bucket.to_string() == text)
            .ok_or(crate::DomainError::Id {
                kind: "quarter of an hour",
                expected: "such as 2026-11-20T08:15, UTC",
            })
    }
}

/// The first moment of a local day and of the one behind it. Days have 23 or 25 hours where clocks are turned.
pub fn day_span(date: Date, zone: &TimeZone) -> (Timestamp, Timestamp) {
    let start = |date: Date| {
        let midnight = date.to_zoned(zone.clone()).and_then(|day| day.start_of_day());
        midnight.map_or(Timestamp::MAX, |day| day.timestamp())
    };
    (start(date), date.tomorrow().map_or(Timestamp::MAX, start))
}

/// A price as Exotel tells it, in ten-thousandths of the account's currency; further decimals are rounded half away
/// from zero. `None` for what is no number.
pub fn price_parts(price: &str) -> Option<i64> {
    let text = price.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && decimals.is_empty()) || !plain(whole) || !plain(decimals) || whole.len() > 12 {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let kept: String = decimals.chars().chain("0000".chars()).take(4).collect();
    let parts: i64 = kept.parse().ok()?;
    let up = decimals.as_bytes().get(4).is_some_and(|digit| *digit >= b'5');
    Some(sign * (whole * PRICE_PARTS + parts + i64::from(up)))
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Declares sums: a struct of numbers that are added one by one. Short names in items, for there are hundreds in one.
macro_rules! sums {
    ($(#[$doc:meta])* $name:ident { $( $(#[$field_doc:meta])* $field:ident: $type:ty = $short:literal; )* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $name {
            $( $(#[$field_doc])* #[serde(rename = $short, skip_serializing_if = "is_zero")] pub $field: $type, )*
            /// How many stand in which state, by the state's word; `unknown` where nobody told one.
            #[serde(rename = "st", skip_serializing_if = "BTreeMap::is_empty")]
            pub states: BTreeMap<String, u64>,
        }

        impl std::ops::AddAssign<&$name> for $name {
            fn add_assign(&mut self, other: &$name) {
                $( self.$field += other.$field; )*
                for (state, count) in &other.states {
                    *self.states.entry(state.clone()).or_default() += count;
                }
            }
        }

        impl std::ops::Add for $name {
            type Output = $name;
            fn add(mut self, other: $name) -> $name {
                self += &other;
                self
            }
        }
    };
}

sums! {
    /// What calls add up to.
    CallFigures {
        /// All of them.
        calls: u64 = "n";
        /// Those whose end is known.
        ended: u64 = "e";
        /// The parties talked.
        connected: u64 = "c";
        /// Nobody answered, or busy.
        not_picked: u64 = "np";
        /// Failed or canceled.
        disconnected: u64 = "d";
        /// Those whose end is not known yet.
        in_progress: u64 = "ip";
        /// Somebody called an ExoPhone.
        inbound: u64 = "in";
        /// The account called.
        outbound: u64 = "out";
        /// A caller wanted an agent and none talked to them.
        abandoned: u64 = "a";
        /// Those whose duration is known: what an average is over.
        timed: u64 = "t";
        /// Seconds of all whole calls.
        duration_secs: u64 = "ds";
        /// Seconds that parties talked.
        talk_secs: u64 = "ts";
        /// Those of which it is known how long the customer waited: connected, with duration and talk time.
        waited: u64 = "w";
        /// Seconds from the beginning of these calls until the parties talked.
        wait_secs: u64 = "ws";
        /// Cost, in ten-thousandths of the account's currency.
        price: i64 = "p";
    }
}

sums! {
    /// What messages add up to.
    MessageFigures {
        /// All of them, also those that were never sent.
        messages: u64 = "n";
        /// Those that Exotel took.
        sent: u64 = "s";
        /// On the handset.
        delivered: u64 = "d";
        /// Not delivered, or refused, expired or given up before Exotel took them.
        failed: u64 = "f";
        /// Failed because the number is registered as do-not-disturb.
        dnd: u64 = "dnd";
        /// Failed because the operators' DLT registry refused sender, entity or template.
        dlt_rejected: u64 = "dlt";
        /// Billed parts.
        units: u64 = "u";
        /// Cost, in ten-thousandths of the account's currency.
        price: i64 = "p";
    }
}

fn rate(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl CallFigures {
    /// One call.
    pub fn of(call: &CallSummary) -> Self {
        let mut one = Self {
            calls: 1,
            ..Self::default()
        };
        if call.state.is_some_and(|state| state.is_final()) {
            one.ended = 1;
        } else {
            one.in_progress = 1;
        }
        let connected = call.outcome == Some(Outcome::Connected);
        match call.outcome {
            Some(Outcome::Connected) => one.connected = 1,
            Some(Outcome::NotPicked) => one.not_picked = 1,
            Some(Outcome::Disconnected) => one.disconnected = 1,
            _ => {}
        }
        match call.direction {
            Some(Direction::Inbound) => one.inbound = 1,
            Some(Direction::Outbound) => one.outbound = 1,
            None => {}
        }
        one.abandoned = u64::from(call.abandoned);
        if let Some(secs) = call.duration_secs {
            (one.timed, one.duration_secs) = (1, secs.into());
        }
        one.talk_secs = call.talk_secs.unwrap_or_default().into();
        if let (true, Some(whole), Some(talk)) = (connected, call.duration_secs, call.talk_secs) {
            (one.waited, one.wait_secs) = (1, whole.saturating_sub(talk).into());
        }
        one.price = call.price.as_deref().and_then(price_parts).unwrap_or_default();
        let state = call.state.map_or("unknown", |state| state.as_str());
        one.states.insert(state.to_owned(), 1);
        one
    }

    /// Connected calls of those that ended; `None` before any did.
    pub fn success_rate(&self) -> Option<f64> {
        rate(self.connected, self.ended)
    }

    /// Abandoned calls of the inbound ones; `None` without any.
    pub fn abandonment_rate(&self) -> Option<f64> {
        rate(self.abandoned, self.inbound)
    }

    /// Seconds of a call on average, over those whose duration is known.
    pub fn average_duration_secs(&self) -> Option<f64> {
        rate(self.duration_secs, self.timed)
    }

    /// Seconds that a customer waited on average, over the calls of which that is known.
    pub fn average_wait_secs(&self) -> Option<f64> {
        rate(self.wait_secs, self.waited)
    }
}

impl MessageFigures {
    /// One message.
    pub fn of(message: &MessageSummary) -> Self {
        use SmsState as S;
        let state = message.state;
        let taken = matches!(
            state,
            S::Queued | S::Sending | S::Submitted | S::Sent | S::Failed | S::Delivered
        );
        let failed = matches!(state, S::Failed | S::Refused | S::Expired | S::GaveUp);
        Self {
            messages: 1,
            sent: taken.into(),
            delivered: (state == S::Delivered).into(),
            failed: failed.into(),
            dnd: (message.failure == Some(Failure::Dnd)).into(),
            dlt_rejected: (message.failure == Some(Failure::Dlt)).into(),
            units: message.units.unwrap_or_default().into(),
            price: message.price.as_deref().and_then(price_parts).unwrap_or_default(),
            states: BTreeMap::from([(state.as_str().to_owned(), 1)]),
        }
    }

    /// Delivered messages of those that Exotel took; `None` before it took any.
    pub fn delivery_rate(&self) -> Option<f64> {
        rate(self.delivered, self.sent)
    }
}

/// Why an SMS was not delivered, where that is somebody's to repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The number is registered as do-not-disturb.
    Dnd,
    /// The operators' DLT registry refused sender, entity or template.
    Dlt,
}

impl Failure {
    /// What Exotel's `DetailedStatus` of a failure tells: `FAILED_REJECTED_DND` and `failed-dnd`; all words of DLT
    /// (codes 23080 to 23281) have it in their name.
    fn of(detailed: &str) -> Option<Self> {
        let detailed = detailed.to_ascii_uppercase();
        if detailed.contains("DLT") {
            Some(Failure::Dlt)
        } else if detailed.contains("DND") {
            Some(Failure::Dnd)
        } else {
            None
        }
    }
}

/// An SMS as figures count it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageSummary {
    /// Our id of it.
    pub id: SmsId,
    /// When it was wanted.
    pub at: Timestamp,
    /// The lead, until it is erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead_id: Option<LeadId>,
    /// Where it goes, until the lead is erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<PhoneNumber>,
    /// Where it stands.
    pub state: SmsState,
    /// Why it failed, where that is somebody's to repair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Billed parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<u32>,
    /// Cost, a decimal number in the account's currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
}

impl MessageSummary {
    /// The summary of a row.
    pub fn of(sms: &Sms) -> Self {
        let failed = sms.progress.state == SmsState::Failed;
        let told = sms.error_message().filter(|_| failed);
        Self {
            id: sms.locator.id.clone(),
            at: sms.sent_at,
            lead_id: Some(sms.locator.lead_id.clone()),
            to: Some(sms.to_phone.clone()),
            state: sms.progress.state,
            failure: told.and_then(Failure::of),
            units: sms.progress.units.as_ref().map(|units| units.value),
            price: sms.progress.price.as_ref().map(|price| price.value.clone()),
        }
    }

    /// The same without who it went to: the lead was erased, and the message still counts.
    pub fn without_person(self) -> Self {
        Self {
            lead_id: None,
            to: None,
            ..self
        }
    }
}

/// An agent as figures name them: `user:<id>`, or `number:<number>` for somebody known by number alone.
pub fn agent_key(agent: &Agent) -> String {
    match agent {
        Agent::User(id) => format!("user:{id}"),
        Agent::Number(number) => format!("number:{}", number.as_str()),
    }
}

/// Everything that the calls and messages of a quarter, or of a day, add up to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// All calls.
    pub calls: CallFigures,
    /// Calls that ran through a flow, by flow.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub flows: BTreeMap<String, CallFigures>,
    /// Calls whose agent is known, by [`agent_key`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub agents: BTreeMap<String, CallFigures>,
    /// Calls whose ExoPhone is known, by its number.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exophones: BTreeMap<String, CallFigures>,
    /// All SMS.
    pub messages: MessageFigures,
}

impl Figures {
    /// Counts a call.
    pub fn count_call(&mut self, call: &CallSummary) {
        let one = CallFigures::of(call);
        let named = |by: &mut BTreeMap<String, CallFigures>, key: Option<String>| {
            if let Some(key) = key.filter(|key| !key.is_empty()) {
                let key = match key.char_indices().nth(LONGEST_NAME) {
                    Some((end, _)) => key[..end].to_owned(),
                    None => key,
                };
                *by.entry(key).or_default() += &one;
            }
        };
        named(&mut self.flows, call.flow_id.clone());
        named(&mut self.agents, call.agent.as_ref().map(agent_key));
        let exophone = call
            .exophone
            .as_ref()
            .map(|exophone| exophone.as_str().to_owned());
        named(&mut self.exophones, exophone);
        self.calls += &one;
    }

    /// Counts a message.
    pub fn count_message(&mut self, message: &MessageSummary) {
        self.messages += &MessageFigures::of(message);
    }

    /// With at most [`MOST_NAMED`] flows, agents and ExoPhones each: those with the most calls keep their names, the
    /// others are summed under [`OTHER`]. Sums stay what they are.
    pub fn bounded(mut self) -> Self {
        for by in [&mut self.flows, &mut self.agents, &mut self.exophones] {
            if by.len() <= MOST_NAMED {
                continue;
            }
            let mut all: Vec<_> = std::mem::take(by).into_iter().collect();
            // Of as many calls, the first in the alphabet keeps its name: the same ones whoever folds.
            all.sort_by(|a, b| b.1.calls.cmp(&a.1.calls).then_with(|| a.0.cmp(&b.0)));
            for (at, (key, figures)) in all.into_iter().enumerate() {
                let key = if at < MOST_NAMED - 1 {
                    key
                } else {
                    OTHER.to_owned()
                };
                *by.entry(key).or_default() += &figures;
            }
        }
        self
    }
}

impl std::ops::AddAssign<&Figures> for Figures {
    fn add_assign(&mut self, other: &Figures) {
        self.calls += &other.calls;
        self.messages += &other.messages;
        for (into, from) in [
            (&mut self.flows, &other.flows),
            (&mut self.agents, &other.agents),
            (&mut self.exophones, &other.exophones),
        ] {
            for (key, figures) in from {
                *into.entry(key.clone()).or_default() += figures;
            }
        }
    }
}

/// What a local day adds up to, with the calls of each of its quarters: any zone's hours can be told from them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayFigures {
    /// The sums.
    pub figures: Figures,
    /// Calls by quarter, from the day's first; up to the last one that has any.
    #[serde(default, rename = "quarters")]
    pub by_quarter: Vec<u64>,
}

impl DayFigures {
    /// Adds a quarter of a day that begins with `first`.
    pub fn add_bucket(&mut self, first: Bucket, bucket: Bucket, figures: &Figures) {
        self.figures += figures;
        let (Ok(at), true) = (usize::try_from(bucket.0 - first.0), figures.calls.calls > 0) else {
            return;
        };
        if self.by_quarter.len() <= at {
            self.by_quarter.resize(at + 1, 0);
        }
        self.by_quarter[at] += figures.calls.calls;
    }

    /// As [`Figures::bounded`].
    pub fn bounded(self) -> Self {
        Self {
            figures: self.figures.bounded(),
            by_quarter: self.by_quarter,
        }
    }
}

/// What a span adds up to, with the calls of each hour of a zone's day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpanFigures {
    /// The sums.
    pub figures: Figures,
    /// Calls by hour of the local day, 0 to 23.
    pub hours: [u64; 24],
}

impl SpanFigures {
    /// Adds a quarter, by the clock of a zone.
    pub fn add_bucket(&mut self, bucket: Bucket, figures: &Figures, zone: &TimeZone) {
        self.figures += figures;
        self.hours[bucket.hour(zone)] += figures.calls.calls;
    }

    /// Adds a day that begins with `first`, by the clock of a zone, which need not be the day's own.
    pub fn add_day(&mut self, first: Bucket, day: &DayFigures, zone: &TimeZone) {
        self.figures += &day.figures;
        let mut bucket = first;
        for calls in &day.by_quarter {
            self.hours[bucket.hour(zone)] += calls;
            bucket = bucket.next();
        }
    }

    /// The hour of the day with the most calls, the earliest of several; `None` without calls.
    pub fn peak_hour(&self) -> Option<usize> {
        let most = self.hours.iter().copied().max().filter(|most| *most > 0)?;
        self.hours.iter().position(|calls| *calls == most)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        call::CallState,
        call_record::Party,
        phone::Country,
        sms::{ReportSource, SmsProgress, SmsReport},
    };

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn call(at: Timestamp) -> CallSummary {
        CallSummary {
            sid: "abc".parse().unwrap(),
            at,
            direction: Some(Direction::Outbound),
            customer: None,
            agent: Some(Agent::User("sales-1".parse().unwrap())),
            exophone: Party::read("08047112345", Country::IN),
            flow_id: Some("30012".to_owned()),
            lead_id: None,
            state: Some(CallState::Completed),
            outcome: Some(Outcome::Connected),
            duration_secs: Some(60),
            talk_secs: Some(41),
            price: Some("1.40".to_owned()),
            has_recording: true,
            abandoned: false,
        }
    }

    #[test]
    fn a_bucket_is_a_quarter_of_an_hour_and_reads_as_its_start() {
        let bucket = Bucket::of(at("2026-11-20T08:29:59.999999Z"));
        assert_eq!(bucket.to_string(), "2026-11-20T08:15");
        assert_eq!("2026-11-20T08:15".parse::<Bucket>().unwrap(), bucket);
        assert_eq!(
            (bucket.start(), bucket.end()),
            (at("2026-11-20T08:15:00Z"), at("2026-11-20T08:30:00Z"))
        );
        for bad in [
            "2026-11-20T08:16",
            "2026-11-20",
            "",
            "2026-11-20T08:15Z",
            "2026-11-20T8:15",
        ] {
            assert!(bad.parse::<Bucket>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_span_is_the_quarters_that_it_touches() {
        let span = |from: &str, to: &str| -> Vec<String> {
            Bucket::span(at(from), at(to))
                .map(|bucket| bucket.to_string())
                .collect()
        };
        assert_eq!(
            span("2026-11-20T08:14:59Z", "2026-11-20T08:30:00Z"),
            ["2026-11-20T08:00", "2026-11-20T08:15"]
        );
        assert_eq!(
            span("2026-11-20T08:15:00Z", "2026-11-20T08:30:00.000001Z"),
            ["2026-11-20T08:15", "2026-11-20T08:30"]
        );
        assert!(span("2026-11-20T08:15:00Z", "2026-11-20T08:15:00Z").is_empty());
        assert!(span("2026-11-20T08:15:00Z", "2026-11-19T08:15:00Z").is_empty());
    }

    #[test]
    fn a_day_has_as_many_quarters_as_its_clock_shows() {
        for (date, zone, quarters, first) in [
            ("2026-11-20", "Asia/Kolkata", 96, "2026-11-19T18:30"),
            ("2026-11-20", "Asia/Kathmandu", 96, "2026-11-19T18:15"),
            ("2026-03-29", "Europe/Berlin", 92, "2026-03-28T23:00"),
            ("2026-10-25", "Europe/Berlin", 100, "2026-10-24T22:00"),
            ("2026-10-04", "Australia/Lord_Howe", 94, "2026-10-03T13:30"),
            // Midnight itself does not exist.
            ("2026-09-06", "America/Santiago", 92, "2026-09-06T04:00"),
        ] {
            let zone = TimeZone::get(zone).unwrap();
            let mut buckets = Bucket::of_day(date.parse().unwrap(), &zone);
            assert_eq!(buckets.len(), quarters, "{date} {zone:?}");
            assert_eq!(buckets.next().unwrap().to_string(), first);
        }
        // The day that Samoa never had.
        let zone = TimeZone::get("Pacific/Apia").unwrap();
        assert_eq!(Bucket::of_day("2011-12-30".parse().unwrap(), &zone).len(), 0);
    }

    #[test]
    fn prices_are_whole_numbers_of_ten_thousandths() {
        for (text, parts) in [
            ("1.40", Some(14_000)),
            ("0.00005", Some(1)),
            ("0.00004", Some(0)),
            ("-0.5", Some(-5_000)),
            (" 12 ", Some(120_000)),
            (".25", Some(2_500)),
            ("1.", Some(10_000)),
            ("", None),
            (".", None),
            ("-", None),
            ("1,40", None),
            ("1e3", None),
            ("free", None),
            ("9999999999999", None),
        ] {
            assert_eq!(price_parts(text), parts, "{text:?}");
        }
    }

    #[test]
    fn one_call_counts_where_it_belongs() {
        let mut figures = Figures::default();
        figures.count_call(&call(at("2026-11-20T08:20:00Z")));
        let one = &figures.calls;
        assert_eq!((one.calls, one.ended, one.connected, one.outbound), (1, 1, 1, 1));
        assert_eq!((one.duration_secs, one.talk_secs, one.wait_secs), (60, 41, 19));
        assert_eq!((one.price, one.states["completed"]), (14_000, 1));
        assert_eq!(figures.flows["30012"], *one);
        assert_eq!(figures.agents["user:sales-1"], *one);
        assert_eq!(figures.exophones["+918047112345"], *one);
        let mut unknown = call(at("2026-11-20T08:20:00Z"));
        unknown.state = None;
        unknown.outcome = None;
        let unknown = CallFigures::of(&unknown);
        assert_eq!(
            (unknown.ended, unknown.in_progress, unknown.states["unknown"]),
            (0, 1, 1)
        );
    }

    #[test]
    fn a_failed_message_tells_whose_it_is_to_repair_and_forgets_its_person() {
        let mut sms = Sms {
            locator: "sms_01j00000000000000000000000.lead-1".parse().unwrap(),
            sent_by: "u1".parse().unwrap(),
            sent_at: Timestamp::UNIX_EPOCH,
            to_phone: "+919811100001".parse().unwrap(),
            body: "Hello".to_owned(),
            attempt: 1,
            reason: None,
            progress: SmsProgress::new(SmsState::InFlight),
        };
        for (told, dnd, dlt) in [
            ("FAILED_REJECTED_DND", 1, 0),
            ("failed-dnd", 1, 0),
            ("DLT_TEMPLATE_NOT_FOUND", 0, 1),
            ("SENDER_BLOCKED_BY_DLT", 0, 1),
            ("EXPIRED", 0, 0),
        ] {
            let mut report = SmsReport::new(ReportSource::Callback, Some(SmsState::Failed));
            report.detailed_status = Some(told.to_owned());
            report.price = Some("0.3".to_owned());
            sms.progress = SmsProgress::new(SmsState::InFlight);
            sms.progress.merge(&report);
            let summary = MessageSummary::of(&sms).without_person();
            assert_eq!((&summary.to, &summary.lead_id), (&None, &None));
            let one = MessageFigures::of(&summary);
            assert_eq!(
                (one.failed, one.dnd, one.dlt_rejected, one.price),
                (1, dnd, dlt, 3_000),
                "{told}"
            );
        }
    }

    #[test]
    fn the_words_of_states_are_those_of_items() {
        for state in CallState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        for state in [
            SmsState::InFlight,
            SmsState::GaveUp,
            SmsState::Sent,
            SmsState::Delivered,
        ] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }

    #[test]
    fn nothing_divides_by_zero() {
        let none = SpanFigures::default();
        let calls = &none.figures.calls;
        assert_eq!(
            (
                calls.success_rate(),
                calls.average_duration_secs(),
                calls.abandonment_rate()
            ),
            (None, None, None)
        );
        assert_eq!((calls.average_wait_secs(), none.peak_hour()), (None, None));
        assert_eq!(none.figures.messages.delivery_rate(), None);
    }

    #[test]
    fn beyond_the_most_the_ones_with_the_fewest_calls_count_together() {
        let mut figures = Figures::default();
        for n in 0..600 {
            let mut one = call(at("2026-11-20T08:20:00Z"));
            one.flow_id = Some(format!("flow-{n:03}"));
            figures.count_call(&one);
            if n >= 550 {
                figures.count_call(&one);
            }
        }
        let bounded = figures.clone().bounded();
        assert_eq!(bounded.flows.len(), MOST_NAMED);
        assert!(bounded.flows.contains_key("flow-599") && bounded.flows.contains_key("flow-000"));
        let sum = |figures: &Figures| figures.flows.values().map(|f| f.calls).sum::<u64>();
        assert_eq!((sum(&bounded), bounded.flows[OTHER].calls), (sum(&figures), 101));
        assert_eq!(bounded.clone().bounded(), bounded);
    }

    fn summaries() -> impl Strategy<Value = Vec<CallSummary>> {
        let state = prop::sample::select(vec![
            None,
            Some((CallState::Completed, Outcome::Connected)),
            Some((CallState::Busy, Outcome::NotPicked)),
            Some((CallState::Failed, Outcome::Disconnected)),
            Some((CallState::InProgress, Outcome::ExotelDispatched)),
        ]);
        let one = (
            0i64..200_000,
            state,
            prop::option::of("[ab]"),
            prop::option::of(0u32..500),
            any::<bool>(),
        )
            .prop_map(|(second, state, flow, secs, inbound)| CallSummary {
                at: Timestamp::from_second(1_790_000_000 + second).unwrap(),
                state: state.map(|state| state.0),
                outcome: state.map(|state| state.1),
                flow_id: flow,
                duration_secs: secs,
                talk_secs: secs.map(|secs| secs / 2),
                price: secs.map(|secs| format!("0.{secs}")),
                direction: Some(if inbound {
                    Direction::Inbound
                } else {
                    Direction::Outbound
                }),
                ..call(Timestamp::UNIX_EPOCH)
            });
        prop::collection::vec(one, 0..40)
    }

    fn fold(calls: &[CallSummary]) -> Figures {
        let mut figures = Figures::default();
        for call in calls {
            figures.count_call(call);
        }
        figures
    }

    proptest! {
        #[test]
        fn sums_are_the_same_however_they_are_grouped(calls in summaries(), a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>()) {
            let (a, b) = (a.index(calls.len() + 1), b.index(calls.len() + 1));
            let (a, b) = (a.min(b), a.max(b));
            let (x, y, z) = (fold(&calls[..a]), fold(&calls[a..b]), fold(&calls[b..]));
            let mut left = x.clone();
            left += &y;
            left += &z;
            let mut right = y.clone();
            right += &z;
            right += &x;
            prop_assert_eq!(&left, &right);
            prop_assert_eq!(left, fold(&calls));
        }

        #[test]
        fn a_day_is_the_sum_of_its_quarters_and_every_call_counts_once(calls in summaries(), zone in prop::sample::select(vec!["Asia/Kolkata", "Europe/Berlin", "Australia/Lord_Howe", "UTC", "Asia/Kathmandu"])) {
            let zone = TimeZone::get(zone).unwrap();
            let mut buckets: BTreeMap<Bucket, Figures> = BTreeMap::new();
            for call in &calls {
                buckets.entry(Bucket::of(call.at)).or_default().count_call(call);
            }
            let first = |date: Date| Bucket::of_day(date, &zone).next().unwrap();
            let mut days: BTreeMap<Date, DayFigures> = BTreeMap::new();
            let mut by_buckets = SpanFigures::default();
            let elsewhere = TimeZone::get("Asia/Kathmandu").unwrap();
            for (bucket, figures) in &buckets {
                let date = bucket.date(&zone);
                days.entry(date).or_default().add_bucket(first(date), *bucket, figures);
                by_buckets.add_bucket(*bucket, figures, &elsewhere);
            }
            let mut by_days = SpanFigures::default();
            for (date, day) in &days {
                let of_day: u64 = Bucket::of_day(*date, &zone).filter_map(|b| buckets.get(&b)).map(|f| f.calls.calls).sum();
                prop_assert_eq!(of_day, day.figures.calls.calls);
                prop_assert_eq!(of_day, day.by_quarter.iter().sum::<u64>());
                by_days.add_day(first(*date), day, &elsewhere);
            }
            prop_assert_eq!(by_days.hours.iter().sum::<u64>(), calls.len() as u64);
            prop_assert_eq!(&by_days.figures, &fold(&calls));
            prop_assert_eq!(by_days, by_buckets, "days and quarters tell the same, in any zone");
        }

        #[test]
        fn figures_are_read_back_as_they_were_written(calls in summaries()) {
            let mut day = DayFigures::default();
            for call in &calls {
                let first = Bucket::of(Timestamp::from_second(1_790_000_000).unwrap());
                day.add_bucket(first, Bucket::of(call.at), &fold(std::slice::from_ref(call)));
            }
            let json = serde_json::to_string(&day).unwrap();
            prop_assert_eq!(serde_json::from_str::<DayFigures>(&json).unwrap(), day);
        }

        #[test]
        fn no_price_panics(text in "\\PC{0,20}|-?[0-9.]{0,20}") {
            if let Some(parts) = price_parts(&text) {
                let shown = format!("{}{}.{:04}", if parts < 0 { "-" } else { "" }, (parts / PRICE_PARTS).abs(), (parts % PRICE_PARTS).abs());
                prop_assert_eq!(price_parts(&shown), Some(parts));
            }
        }
    }
}
