//! Call history: page by page, and as CSV.

use domain::{
    call::{CallState, Outcome},
    call_record::{Agent, CallSummary, Direction, Party},
    figures::agent_key,
    history::HistoryFilter,
    ids::LeadId,
    phone::{Country, PhoneNumber},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;
use table::{
    Page, Table, TableError,
    call_records::{Order, place},
};

use super::{Analytics, Span, views::mask};
use crate::ServiceError;

/// Rows that a CSV answer holds itself; more become a file.
pub const INLINE_ROWS: u64 = 5_000;
/// Calls read at once, from two days at most.
const READ_AT_ONCE: usize = 250;
/// How often one page of history does that before it is handed out, full or not.
const READS: usize = 2;
/// Calls of a number read at once: each is a key of the index first, and then an item.
const OF_A_NUMBER_AT_ONCE: usize = 100;
/// How often one page does that.
const READS_OF_A_NUMBER: usize = 5;
/// Days with calls that a CSV answer reads itself: each costs 24 queries.
const INLINE_DAYS: usize = 62;
/// Marks of quarters that are not folded yet, looked at for a CSV answer.
const MARKS: usize = 1_000;
/// Days read at once for a CSV answer.
const DAYS_AT_ONCE: usize = 4;

/// Filters as somebody wrote them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryRequest {
    /// Flow id.
    pub flow: Option<String>,
    /// State, or outcome: `status=` takes both words.
    pub status: Option<String>,
    /// Outcome.
    pub outcome: Option<String>,
    /// `inbound` or `outbound`.
    pub direction: Option<String>,
    /// Customer's number, in any usual form.
    pub number: Option<String>,
    /// Agent: a user's id, or a number.
    pub agent: Option<String>,
}

impl HistoryRequest {
    /// The filter; numbers without a country code are of `country`.
    ///
    /// # Errors
    /// [`ServiceError::Field`] that names the parameter.
    pub fn filter(&self, span: &Span, country: Country) -> Result<HistoryFilter, ServiceError> {
        let mut filter = HistoryFilter::all(span.from, span.to);
        if let Some(flow) = &self.flow {
            if flow.chars().count() > 80 {
                return Err(ServiceError::field(
                    "flow",
                    "it must be a flow's id of at most 80 characters",
                ));
            }
            filter.flow = Some(flow.clone());
        }
        if let Some(word) = &self.status {
            filter.state = state(word);
            filter.outcome = outcome(word);
            if filter.state.is_none() && filter.outcome.is_none() {
                let words: Vec<_> = CallState::ALL.iter().map(|state| state.as_str()).collect();
                let message = format!("it must be one of {} or an outcome", words.join(", "));
                return Err(ServiceError::field("status", message));
            }
        }
        if let Some(word) = &self.outcome {
            let outcome = outcome(word).ok_or_else(|| {
                ServiceError::field(
                    "outcome",
                    "it must be connected, not_picked, disconnected or exotel_dispatched",
                )
            })?;
            if filter.outcome.is_some_and(|other| other != outcome) {
                return Err(ServiceError::field("outcome", "it contradicts status"));
            }
            filter.outcome = Some(outcome);
        }
        filter.direction = match self.direction.as_deref() {
            None => None,
            Some("inbound") => Some(Direction::Inbound),
            Some("outbound") => Some(Direction::Outbound),
            Some(_) => return Err(ServiceError::field("direction", "it must be inbound or outbound")),
        };
        if let Some(number) = &self.number {
            let number = PhoneNumber::parse(number, country).map_err(|e| ServiceError::field("number", e))?;
            filter.number = Some(number);
        }
        if let Some(agent) = &self.agent {
            filter.agent = Some(match (PhoneNumber::parse(agent, country), agent.parse()) {
                (Ok(number), _) => Agent::Number(Party::from(number)),
                (_, Ok(user)) => Agent::User(user),
                _ => {
                    return Err(ServiceError::field(
                        "agent",
                        "it must be a user's id or a phone number",
                    ));
                }
            });
        }
        Ok(filter)
    }
}

fn state(word: &str) -> Option<CallState> {
    CallState::ALL.into_iter().find(|state| state.as_str() == word)
}

/// The outcomes that a record may have.
fn outcome(word: &str) -> Option<Outcome> {
    Some(match word {
        "connected" => Outcome::Connected,
        "not_picked" => Outcome::NotPicked,
        "disconnected" => Outcome::Disconnected,
        "exotel_dispatched" => Outcome::ExotelDispatched,
        _ => return None,
    })
}

/// A call as history shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryCall {
    sid: String,
    at: Timestamp,
    direction: Option<Direction>,
    customer: Option<String>,
    agent_user_id: Option<String>,
    agent_number: Option<String>,
    exophone: Option<String>,
    flow_id: Option<String>,
    lead_id: Option<LeadId>,
    state: Option<CallState>,
    outcome: Option<Outcome>,
    duration_secs: Option<u32>,
    talk_secs: Option<u32>,
    price: Option<String>,
    has_recording: bool,
    abandoned: bool,
}

impl HistoryCall {
    /// The call; `masked` leaves four digits of every number.
    pub fn new(call: CallSummary, masked: bool) -> Self {
        let number = |party: &Party| match masked {
            true => mask(party.as_str()),
            false => party.as_str().to_owned(),
        };
        let (user, agent) = match &call.agent {
            None => (None, None),
            Some(Agent::User(id)) => (Some(id.to_string()), None),
            Some(Agent::Number(party)) => (None, Some(number(party))),
        };
        Self {
            sid: call.sid.to_string(),
            at: call.at,
            direction: call.direction,
            customer: call.customer.as_ref().map(number),
            agent_user_id: user,
            agent_number: agent,
            exophone: call.exophone.as_ref().map(number),
            flow_id: call.flow_id,
            lead_id: call.lead_id,
            state: call.state,
            outcome: call.outcome,
            duration_secs: call.duration_secs,
            talk_secs: call.talk_secs,
            price: call.price,
            has_recording: call.has_recording,
            abandoned: call.abandoned,
        }
    }
}

/// The first line of every CSV.
const COLUMNS: [&str; 16] = [
    "sid",
    "placed_at",
    "direction",
    "customer",
    "agent_user_id",
    "agent_number",
    "exophone",
    "flow_id",
    "lead_id",
    "state",
    "outcome",
    "duration_secs",
    "talk_secs",
    "price",
    "has_recording",
    "abandoned",
];

/// A cell that no spreadsheet takes for a formula: what begins like one gets an apostrophe before it.
fn harmless(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        format!("'{cell}")
    } else {
        cell
    }
}

/// Writes CSV line by line into memory; whoever uses it takes what is there from time to time.
pub(super) struct CsvLines {
    writer: csv::Writer<Vec<u8>>,
    zone: TimeZone,
    masked: bool,
}

impl CsvLines {
    /// Times are shown by the clock of `zone`; `masked` leaves four digits of numbers.
    pub(super) fn new(zone: TimeZone, masked: bool) -> Self {
        Self {
            writer: csv::Writer::from_writer(Vec::new()),
            zone,
            masked,
        }
    }

    pub(super) fn head(&mut self) {
        self.write(COLUMNS);
    }

    pub(super) fn line(&mut self, call: CallSummary) {
        let placed_at = call.at.to_zoned(self.zone.clone());
        let placed_at = placed_at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
        let call = HistoryCall::new(call, self.masked);
        let text = |text: Option<String>| harmless(text.unwrap_or_default());
        let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
        let outcome = call.outcome.map(|outcome| word(&outcome)).unwrap_or_default();
        self.write([
            harmless(call.sid),
            placed_at,
            call.direction
                .map(|direction| direction.as_str().to_owned())
                .unwrap_or_default(),
            text(call.customer),
            text(call.agent_user_id),
            text(call.agent_number),
            text(call.exophone),
            text(call.flow_id),
            text(call.lead_id.map(|id| id.to_string())),
            call.state
                .map(|state| state.as_str().to_owned())
                .unwrap_or_default(),
            outcome,
            number(call.duration_secs),
            number(call.talk_secs),
            text(call.price),
            call.has_recording.to_string(),
            call.abandoned.to_string(),
        ]);
    }

    fn write<C: AsRef<[u8]>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.writer
            .write_record(cells)
            .expect("every line has as many cells, and memory takes them");
    }

    /// What was written so far; it goes on empty.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let next = csv::Writer::from_writer(Vec::new());
        let written = std::mem::replace(&mut self.writer, next);
        written.into_inner().expect("memory takes everything")
    }
}

fn word(outcome: &Outcome) -> String {
    match serde_json::to_value(outcome) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// What a CSV answer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Csv {
    /// The whole of it.
    Inline(String),
    /// There are more rows than an answer holds, or too many days to read them from.
    TooMany,
}

impl Analytics {
    /// The calls that are asked for, newest first, `limit` at most, those behind `cursor`. A page looks at five
    /// hundred calls of four days at most, which are a hundred queries: it may be short, or empty, and still have
    /// a `next`.
    ///
    /// # Errors
    /// [`ServiceError::Table`].
    pub async fn history(
        &self,
        filter: &HistoryFilter,
        limit: usize,
        cursor: Option<&str>,
        masked: bool,
    ) -> Result<Page<HistoryCall>, ServiceError> {
        let page = matching(&self.table, filter, limit, cursor.map(str::to_owned)).await?;
        Ok(Page {
            items: page
                .items
                .into_iter()
                .map(|call| HistoryCall::new(call, masked))
                .collect(),
            next: page.next,
        })
    }

    /// The calls that are asked for as CSV, newest first, if there are few enough. How many there may be is known from
    /// the figures before any call is read.
    ///
    /// # Errors
    /// [`ServiceError::Table`].
    pub async fn csv(
        &self,
        filter: &HistoryFilter,
        zone: &TimeZone,
        masked: bool,
    ) -> Result<Csv, ServiceError> {
        let span = Span {
            from: filter.from,
            to: filter.to,
            zone: zone.clone(),
        };
        let calls = match &filter.number {
            Some(_) => self.few_of_number(filter).await?,
            None => {
                let sums = self.figures(&span).await?;
                let most = at_most(filter, &sums.figures);
                let days = self.days_with_calls(&span).await?;
                if most > INLINE_ROWS || days.len() > INLINE_DAYS {
                    return Ok(Csv::TooMany);
                }
                self.of_days(filter, days).await?
            }
        };
        let Some(calls) = calls else {
            return Ok(Csv::TooMany);
        };
        let mut lines = CsvLines::new(zone.clone(), masked);
        lines.head();
        calls.into_iter().for_each(|call| lines.line(call));
        let text = String::from_utf8(lines.take()).expect("every cell is text");
        Ok(Csv::Inline(text))
    }

    /// The calls with a number that are asked for, newest first; `None` when there are too many.
    async fn few_of_number(&self, filter: &HistoryFilter) -> Result<Option<Vec<CallSummary>>, TableError> {
        let (mut calls, mut cursor) = (Vec::new(), None);
        loop {
            let page = matching(&self.table, filter, READ_AT_ONCE, cursor).await?;
            calls.extend(page.items);
            cursor = page.next;
            if calls.len() as u64 > INLINE_ROWS {
                return Ok(None);
            }
            if cursor.is_none() {
                return Ok(Some(calls));
            }
        }
    }

    /// The parts of a span, newest first, that have calls: days of the configured zone, cut at both ends.
    async fn days_with_calls(&self, span: &Span) -> Result<Vec<(Timestamp, Timestamp)>, TableError> {
        let (first, last) = (
            self.zone.to_datetime(span.from).date(),
            self.zone.to_datetime(span.to).date(),
        );
        let mut days = Vec::new();
        self.each_day(first, last, |date, day| {
            let (from, to) = domain::figures::day_span(date, &self.zone);
            let (from, to) = (from.max(span.from), to.min(span.to));
            if day.figures.calls.calls > 0 && from < to {
                days.push((from, to));
            }
        })
        .await?;
        // The figures of these are not complete: nobody knows yet whether there are none.
        let mut dirty: Vec<_> = self
            .table
            .dirty_buckets(MARKS, None)
            .await?
            .items
            .iter()
            .map(|dirty| domain::figures::day_span(dirty.bucket.date(&self.zone), &self.zone))
            .map(|(from, to)| (from.max(span.from), to.min(span.to)))
            .filter(|(from, to)| from < to)
            .collect();
        days.append(&mut dirty);
        days.sort();
        days.dedup();
        days.reverse();
        Ok(days)
    }

    /// The calls of these days that are asked for; `None` when there turn out to be too many.
    async fn of_days(
        &self,
        filter: &HistoryFilter,
        days: Vec<(Timestamp, Timestamp)>,
    ) -> Result<Option<Vec<CallSummary>>, TableError> {
        let of_day = async |(from, to): (Timestamp, Timestamp)| {
            let filter = HistoryFilter {
                from,
                to,
                ..filter.clone()
            };
            let (mut calls, mut cursor) = (Vec::new(), None);
            loop {
                let page = matching(&self.table, &filter, READ_AT_ONCE, cursor).await?;
                calls.extend(page.items);
                cursor = page.next;
                if cursor.is_none() || calls.len() as u64 > INLINE_ROWS {
                    return Ok::<_, TableError>(calls);
                }
            }
        };
        let days: Vec<Vec<CallSummary>> = stream::iter(days)
            .map(of_day)
            .buffered(DAYS_AT_ONCE)
            .try_collect()
            .await?;
        let calls: Vec<CallSummary> = days.into_iter().flatten().collect();
        Ok((calls.len() as u64 <= INLINE_ROWS).then_some(calls))
    }
}

/// The next calls that a filter takes, newest first, `limit` at most, those behind `cursor`; bounded reads, so that
/// there may be fewer, and still a `next`.
pub(super) async fn matching(
    table: &Table,
    filter: &HistoryFilter,
    limit: usize,
    mut cursor: Option<String>,
) -> Result<Page<CallSummary>, TableError> {
    let (reads, at_once) = match filter.number {
        Some(_) => (READS_OF_A_NUMBER, OF_A_NUMBER_AT_ONCE),
        None => (READS, READ_AT_ONCE),
    };
    // Nothing is read in vain where everything is taken.
    let at_once = match filter.takes_what_is_read() {
        true => at_once.min(limit),
        false => at_once,
    };
    let mut found = Vec::new();
    for _ in 0..reads {
        let page = match &filter.number {
            None => {
                let order = Order::NewestFirst;
                table
                    .call_summaries(filter.from, filter.to, order, at_once, cursor.as_deref())
                    .await?
            }
            Some(number) => {
                table
                    .call_summaries_by_number(number, filter.from, filter.to, at_once, cursor.as_deref())
                    .await?
            }
        };
        let count = page.items.len();
        for (at, call) in page.items.into_iter().enumerate() {
            if !filter.takes(&call) {
                continue;
            }
            let here = place(&call);
            found.push(call);
            if found.len() == limit {
                let more = at + 1 < count || page.next.is_some();
                return Ok(Page {
                    items: found,
                    next: more.then_some(here),
                });
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    Ok(Page {
        items: found,
        next: cursor,
    })
}

/// The most calls that a filter can take, as far as the figures of its span tell.
fn at_most(filter: &HistoryFilter, figures: &domain::figures::Figures) -> u64 {
    let of = |by: &std::collections::BTreeMap<String, domain::figures::CallFigures>, key: &str| {
        // What is not named may be among those counted together.
        let named = by.get(key).or_else(|| by.get(domain::figures::OTHER));
        named.map_or(0, |figures| figures.calls)
    };
    let calls = &figures.calls;
    let mut most = calls.calls;
    if let Some(flow) = &filter.flow {
        most = most.min(of(&figures.flows, flow));
    }
    if let Some(agent) = &filter.agent {
        most = most.min(of(&figures.agents, &agent_key(agent)));
    }
    if let Some(state) = filter.state {
        most = most.min(calls.states.get(state.as_str()).copied().unwrap_or_default());
    }
    match filter.direction {
        Some(Direction::Inbound) => most = most.min(calls.inbound),
        Some(Direction::Outbound) => most = most.min(calls.outbound),
        None => {}
    }
    match filter.outcome {
        Some(Outcome::Connected) => most = most.min(calls.connected),
        Some(Outcome::NotPicked) => most = most.min(calls.not_picked),
        Some(Outcome::Disconnected) => most = most.min(calls.disconnected),
        _ => {}
    }
    most
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(change: serde_json::Value) -> CallSummary {
        let mut call = json!({
            "sid": "abc", "at": "2026-11-20T08:30:00Z", "direction": "outbound", "customer": "+919811100001",
            "agent": {"user": "sales-1"}, "exophone": "+918047112345", "flow_id": "30012", "lead_id": "lead-1",
            "state": "completed", "outcome": "connected", "duration_secs": 60, "talk_secs": 41, "price": "1.40",
            "has_recording": true,
        });
        for (key, value) in change.as_object().unwrap() {
            call[key] = value.clone();
        }
        serde_json::from_value(call).unwrap()
    }

    #[test]
    fn a_line_of_csv_does_nothing_in_a_spreadsheet() {
        let mut lines = CsvLines::new(TimeZone::get("Asia/Kolkata").unwrap(), false);
        lines.head();
        lines.line(call(json!({})));
        lines.line(call(json!({"flow_id": "=cmd|' /C calc'!A0", "customer": "@SUM(1)", "price": "-0.5", "agent": {"number": "a,\"b\nc"}})));
        insta::assert_snapshot!(String::from_utf8(lines.take()).unwrap(), @r#"
        sid,placed_at,direction,customer,agent_user_id,agent_number,exophone,flow_id,lead_id,state,outcome,duration_secs,talk_secs,price,has_recording,abandoned
        abc,2026-11-20T14:00:00+05:30,outbound,'+919811100001,sales-1,,'+918047112345,30012,lead-1,completed,connected,60,41,1.40,true,false
        abc,2026-11-20T14:00:00+05:30,outbound,'@SUM(1),,"a,""b
        c",'+918047112345,'=cmd|' /C calc'!A0,lead-1,completed,connected,60,41,'-0.5,true,false
        "#);
        let mut masked = CsvLines::new(TimeZone::UTC, true);
        masked.line(call(json!({"agent": {"number": "+919811100099"}})));
        let line = String::from_utf8(masked.take()).unwrap();
        assert!(
            !line.contains("98111") && line.contains("…0001") && line.contains("…0099"),
            "{line}"
        );
    }

    #[test]
    fn filters_are_read_and_nonsense_names_the_parameter() {
        let span = Span {
            from: Timestamp::UNIX_EPOCH,
            to: "2026-11-20T08:30:00Z".parse().unwrap(),
            zone: TimeZone::UTC,
        };
        let some = |text: &str| Some(text.to_owned());
        let request = HistoryRequest {
            flow: some("7"),
            status: some("no-answer"),
            outcome: some("not_picked"),
            direction: some("inbound"),
            number: some("098111 00001"),
            agent: some("sales-1"),
        };
        let filter = request.filter(&span, Country::IN).unwrap();
        assert_eq!(
            (filter.state, filter.outcome),
            (Some(CallState::NoAnswer), Some(Outcome::NotPicked))
        );
        assert_eq!(filter.number.unwrap().as_str(), "+919811100001");
        assert_eq!(filter.agent, Some(Agent::User("sales-1".parse().unwrap())));
        let both = HistoryRequest {
            status: some("connected"),
            agent: some("09811100099"),
            ..Default::default()
        };
        let filter = both.filter(&span, Country::IN).unwrap();
        assert_eq!((filter.state, filter.outcome), (None, Some(Outcome::Connected)));
        assert!(matches!(filter.agent, Some(Agent::Number(_))));
        let none = HistoryRequest::default;
        for (request, field) in [
            (
                HistoryRequest {
                    status: some("happy"),
                    ..none()
                },
                "status",
            ),
            (
                HistoryRequest {
                    outcome: some("picked"),
                    ..none()
                },
                "outcome",
            ),
            (
                HistoryRequest {
                    status: some("connected"),
                    outcome: some("not_picked"),
                    ..none()
                },
                "outcome",
            ),
            (
                HistoryRequest {
                    direction: some("up"),
                    ..none()
                },
                "direction",
            ),
            (
                HistoryRequest {
                    number: some("12"),
                    ..none()
                },
                "number",
            ),
            (
                HistoryRequest {
                    agent: some("a b"),
                    ..none()
                },
                "agent",
            ),
            (
                HistoryRequest {
                    flow: some(&"7".repeat(81)),
                    ..none()
                },
                "flow",
            ),
        ] {
            match request.filter(&span, Country::IN) {
                Err(ServiceError::Field { field: named, .. }) => assert_eq!(named, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }
}
