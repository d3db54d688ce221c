//! `Calls`: the bulk list, by filters, a page at a time by cursor. Calls in progress are not in it.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

use super::{Answer, Exchange, Format, Outcome, Refusal};
use crate::answer::Node;
use crate::api::calls;
use crate::calls::Call;
use crate::core::{Core, Shared};
use crate::faults::Operation;
use crate::ist;
use crate::journal::Params;
use crate::options::Account;
use crate::phone::Number;
use crate::scripts::CallStatus;

/// How far back the list goes when no `DateCreated` is given.
const DEFAULT_BACK: SignedDuration = SignedDuration::from_hours(31 * 24);
/// The widest `DateCreated` window: a month, at its longest.
const WIDEST: SignedDuration = SignedDuration::from_hours(31 * 24);
const STATUSES: [&str; 7] = [
    "queued",
    "ringing",
    "in-progress",
    "completed",
    "failed",
    "busy",
    "no-answer",
];

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/v1/Accounts/{account}/Calls", get(list))
}

async fn list(State(core): State<Shared>, exchange: Exchange) -> Response {
    let page = async |account: &Account, exchange: &Exchange| page(&core, account, exchange);
    exchange.serve(&core, Operation::CallList, None, page).await
}

/// Bounds that `gte:`, `lte:` and `eq:` set.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bounds<T> {
    low: Option<T>,
    high: Option<T>,
}

impl<T: PartialOrd + Copy> Bounds<T> {
    /// Reads `gte:a;lte:b` or `eq:a`.
    fn read(name: &str, text: &str, value: impl Fn(&str) -> Option<T>) -> Result<Self, Refusal> {
        let mut bounds = Self {
            low: None,
            high: None,
        };
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let read = part
                .split_once(':')
                .and_then(|(operator, text)| Some((operator, value(text.trim())?)));
            match read {
                Some(("gte", value)) => bounds.low = Some(value),
                Some(("lte", value)) => bounds.high = Some(value),
                Some(("eq", value)) => (bounds.low, bounds.high) = (Some(value), Some(value)),
                _ => return Err(Refusal::invalid(format!("{name} cannot be read: {part}"))),
            }
        }
        Ok(bounds)
    }

    fn contain(&self, value: T) -> bool {
        self.low.is_none_or(|low| value >= low) && self.high.is_none_or(|high| value <= high)
    }

    fn is_open(&self) -> bool {
        self.low.is_none() && self.high.is_none()
    }
}

/// Where a page starts or ends: a call's place in the order of creation.
type Place = (Timestamp, String);

fn token(call: &Call) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}|{}", call.created, call.sid))
}

fn place(name: &str, token: &str) -> Result<Place, Refusal> {
    let read = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let (created, sid) = text.split_once('|')?;
        Some((created.parse().ok()?, sid.to_owned()))
    };
    read().ok_or_else(|| Refusal::invalid(format!("{name} is not a token of this list")))
}

/// What the list is asked for.
#[derive(Debug)]
struct Query {
    sids: Vec<String>,
    created: Bounds<Timestamp>,
    from: Vec<Number>,
    to: Vec<Number>,
    exophones: Vec<Number>,
    statuses: Vec<String>,
    duration_secs: Bounds<i64>,
    price: Bounds<f64>,
    directions: Vec<String>,
    page_size: usize,
    descending: bool,
    after: Option<Place>,
    before: Option<Place>,
}

impl Query {
    fn read(params: &Params, now: Timestamp) -> Result<Self, Refusal> {
        let given = |name: &str| params.get(name).map(str::trim).filter(|value| !value.is_empty());
        let words = |name: &str, max: usize| {
            let words: Vec<String> = given(name)
                .unwrap_or_default()
                .split(',')
                .map(|word| word.trim().to_owned())
                .collect();
            let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
            if words.len() > max {
                return Err(Refusal::invalid(format!("{name} may list {max} values at most")));
            }
            Ok(words)
        };
        let numbers = |name: &str| {
            let read = |word: &String| {
                Number::parse(word).ok_or_else(|| Refusal::invalid(format!("{name} has an invalid number")))
            };
            words(name, 5)?.iter().map(read).collect::<Result<Vec<_>, _>>()
        };
        let known = |name: &str, known: &[&str]| {
            let words = words(name, known.len())?;
            match words.iter().find(|word| !known.contains(&word.as_str())) {
                Some(word) => Err(Refusal::invalid(format!("{name} has the unknown value {word}"))),
                None => Ok(words),
            }
        };
        let page_size = match given("PageSize").map(str::parse::<usize>) {
            None => 50,
            Some(Ok(size)) if (1..=100).contains(&size) => size,
            Some(_) => return Err(Refusal::invalid("PageSize must be a whole number from 1 to 100")),
        };
        let descending = match given("SortBy") {
            None | Some("DateCreated:desc") => true,
            Some("DateCreated:asc") => false,
            Some(_) => {
                return Err(Refusal::invalid(
                    "SortBy must be DateCreated:asc or DateCreated:desc",
                ));
            }
        };
        let price = |text: &str| text.parse::<f64>().ok();
        let seconds = |text: &str| text.strip_suffix('s')?.parse::<i64>().ok();
        calls::validity(params)?;
        Ok(Self {
            sids: words("Sid", 100)?,
            created: created(given("DateCreated"), now)?,
            from: numbers("From")?,
            to: numbers("To")?,
            exophones: numbers("PhoneNumber")?,
            statuses: known("Status", &STATUSES)?,
            duration_secs: Bounds::read("Duration", given("Duration").unwrap_or_default(), seconds)?,
            price: Bounds::read("Price", given("Price").unwrap_or_default(), price)?,
            directions: known("Direction", &["inbound", "outbound-dial", "outbound-api"])?,
            page_size,
            descending,
            after: given("After").map(|token| place("After", token)).transpose()?,
            before: given("Before").map(|token| place("Before", token)).transpose()?,
        })
    }

    fn matches(&self, call: &Call) -> bool {
        let listed = |numbers: &[Number], number: &Number| numbers.is_empty() || numbers.contains(number);
        let named =
            |words: &[String], word: &str| words.is_empty() || words.iter().any(|listed| listed == word);
        call.status != CallStatus::InProgress
            && named(&self.sids, &call.sid)
            && self.created.contain(call.created)
            && listed(&self.from, &call.from)
            && (self.to.is_empty() || call.to.as_ref().is_some_and(|to| self.to.contains(to)))
            && listed(&self.exophones, &call.exophone)
            && named(&self.statuses, call.status.as_str())
            && named(&self.directions, "outbound-api")
            && (self.duration_secs.is_open()
                || call
                    .settled_duration_secs()
                    .is_some_and(|secs| self.duration_secs.contain(secs)))
            && (self.price.is_open() || call.price().is_some_and(|price| self.price.contain(price)))
    }
}

/// The window of creation: at most a month wide, at most six months back, the last 31 days if nothing is said.
fn created(text: Option<&str>, now: Timestamp) -> Result<Bounds<Timestamp>, Refusal> {
    let Some(text) = text else {
        return Ok(Bounds {
            low: Some(now - DEFAULT_BACK),
            high: None,
        });
    };
    let mut bounds = Bounds::read("DateCreated", text, ist::parse)?;
    let high = bounds.high.unwrap_or(now);
    let low = *bounds.low.get_or_insert(high - WIDEST);
    // The time as written has no fraction: a call of that second is meant too.
    bounds.high = bounds.high.map(|high| high + SignedDuration::from_millis(999));
    if low > high {
        return Err(Refusal::invalid("DateCreated begins after it ends"));
    }
    if high.duration_since(low) > WIDEST {
        return Err(Refusal::invalid("DateCreated may span a month at most"));
    }
    let today: DateTime = jiff::tz::TimeZone::UTC.to_datetime(now);
    let oldest = today.checked_sub(6.months().days(1)).ok();
    let oldest = oldest.and_then(|oldest| oldest.to_zoned(jiff::tz::TimeZone::UTC).ok());
    if oldest.is_some_and(|oldest| low < oldest.timestamp()) {
        return Err(Refusal::invalid("DateCreated may go back six months at most"));
    }
    Ok(bounds)
}

fn page(core: &Core, account: &Account, exchange: &Exchange) -> Outcome {
    let query = Query::read(&exchange.params, core.now())?;
    let mut calls: Vec<Call> = core.read(|state| {
        state
            .calls
            .values()
            .filter(|call| call.account == account.sid && query.matches(call))
            .cloned()
            .collect()
    });
    let order = |call: &Call| (call.created, call.sid.clone());
    calls.sort_by_key(order);
    if query.descending {
        calls.reverse();
    }
    let total = calls.len();
    // In the order of the list, is `call` behind `place`?
    let behind = |call: &Call, place: &Place| match query.descending {
        true => order(call) < *place,
        false => order(call) > *place,
    };
    let ahead = |call: &Call, place: &Place| order(call) != *place && !behind(call, place);
    let (first, last) = match (&query.after, &query.before) {
        (Some(place), _) => {
            let first = calls.iter().position(|call| behind(call, place)).unwrap_or(total);
            (first, (first + query.page_size).min(total))
        }
        (None, Some(place)) => {
            let last = calls
                .iter()
                .rposition(|call| ahead(call, place))
                .map_or(0, |at| at + 1);
            (last.saturating_sub(query.page_size), last)
        }
        (None, None) => (0, query.page_size.min(total)),
    };
    let next = (last > first && last < total).then(|| ("After", token(&calls[last - 1])));
    let previous = (first > 0 && first < last).then(|| ("Before", token(&calls[first])));
    let uri = |cursor: Option<(&str, String)>| page_uri(account, exchange, cursor);
    let mut items = Vec::new();
    for call in &calls[first..last] {
        items.push(calls::call_node(core, call, exchange)?);
    }
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let metadata = Node::Object(vec![
        ("Total", count(total).into()),
        ("PageSize", count(query.page_size).into()),
        ("FirstPageUri", uri(None).into()),
        (
            "PrevPageUri",
            previous.map_or(Node::Null, |cursor| uri(Some(cursor)).into()),
        ),
        (
            "NextPageUri",
            next.map_or(Node::Null, |cursor| uri(Some(cursor)).into()),
        ),
    ]);
    Ok(Answer::ok(Node::Object(vec![
        ("Metadata", metadata),
        ("Calls", Node::Named("Call", items)),
    ])))
}

/// A relative URI with every filter in it.
fn page_uri(account: &Account, exchange: &Exchange, cursor: Option<(&str, String)>) -> String {
    let suffix = if exchange.format == Format::Json {
        ".json"
    } else {
        ""
    };
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, fallback) in [("PageSize", "50"), ("SortBy", "DateCreated:desc")] {
        query.append_pair(
            name,
            exchange
                .params
                .get(name)
                .filter(|value| !value.is_empty())
                .unwrap_or(fallback),
        );
    }
    for (name, value) in &exchange.params.0 {
        if !matches!(name.as_str(), "PageSize" | "SortBy" | "After" | "Before") {
            query.append_pair(name, value);
        }
    }
    if let Some((name, token)) = cursor {
        query.append_pair(name, &token);
    }
    // Exotel leaves colons as they are.
    format!(
        "/v1/Accounts/{}/Calls{suffix}?{}",
        account.sid,
        query.finish().replace("%3A", ":")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-20T12:00:00Z".parse().unwrap()
    }

    fn query(pairs: &[(&str, &str)]) -> Result<Query, String> {
        let params = Params(
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        );
        Query::read(&params, now()).map_err(|refusal| refusal.message)
    }

    #[test]
    fn times_in_filters_are_ist() {
        let query = query(&[("DateCreated", "gte:2026-11-20 14:00:00;lte:2026-11-20 15:00:00")]).unwrap();
        assert!(query.created.contain("2026-11-20T08:30:00Z".parse().unwrap()));
        assert!(query.created.contain("2026-11-20T09:30:00.5Z".parse().unwrap()));
        assert!(!query.created.contain("2026-11-20T14:30:00Z".parse().unwrap()));
    }

    #[test]
    fn without_dates_it_is_the_last_31_days() {
        let query = query(&[]).unwrap();
        assert!(query.created.contain("2026-10-21T00:00:00Z".parse().unwrap()));
        assert!(!query.created.contain("2026-10-19T00:00:00Z".parse().unwrap()));
    }

    #[test]
    fn limits_are_named_when_they_are_passed() {
        for (name, value, says) in [
            (
                "DateCreated",
                "gte:2026-09-01 00:00:00;lte:2026-11-01 00:00:00",
                "a month",
            ),
            (
                "DateCreated",
                "gte:2026-04-01 00:00:00;lte:2026-04-10 00:00:00",
                "six months",
            ),
            ("DateCreated", "gte:2026-11-20T08:00:00Z", "cannot be read"),
            ("DateCreated", "after:2026-11-20 08:00:00", "cannot be read"),
            ("PageSize", "101", "PageSize"),
            ("PageSize", "0", "PageSize"),
            ("SortBy", "Price:asc", "SortBy"),
            ("From", "1,2,3,4,5,6", "5 values"),
            ("Status", "ended", "unknown value"),
            ("Duration", "gte:10", "cannot be read"),
            ("RecordingUrlValidity", "4", "5 to 60"),
            ("After", "***", "token"),
        ] {
            let message = query(&[(name, value)]).unwrap_err();
            assert!(message.contains(says), "{name}={value}: {message}");
        }
    }
}
