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
use crate::call_store::{CallStore, Place};
use crate::calls::Call;
use crate::core::{Core, Shared};
use crate::faults::Operation;
use crate::ist;
use crate::journal::Params;
use crate::options::Account;
use crate::phone::Number;

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

fn token((created, sid): &Place) -> String {
    URL_SAFE_NO_PAD.encode(format!("{created}|{sid}"))
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

    /// Whether anything but the window of creation is asked for.
    fn is_plain(&self) -> bool {
        self.from.is_empty()
            && self.to.is_empty()
            && self.exophones.is_empty()
            && self.statuses.is_empty()
            && self.directions.is_empty()
            && self.duration_secs.is_open()
            && self.price.is_open()
    }

    /// What the filters are, whatever the page and the window.
    fn signature(&self) -> String {
        format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            self.from,
            self.to,
            self.exophones,
            self.statuses,
            self.directions,
            self.duration_secs,
            self.price
        )
    }

    /// Whether an ended call passes every filter but the window of creation.
    fn matches(&self, call: &Call, inbound_to_agent: bool) -> bool {
        let listed = |numbers: &[Number], number: Option<&Number>| {
            numbers.is_empty() || number.is_some_and(|number| numbers.contains(number))
        };
        let named =
            |words: &[String], word: &str| words.is_empty() || words.iter().any(|listed| listed == word);
        listed(&self.from, Some(&call.from))
            && listed(&self.to, call.listed_to(inbound_to_agent))
            && listed(&self.exophones, Some(&call.exophone))
            && named(&self.statuses, call.status.as_str())
            && named(&self.directions, call.direction.as_str())
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
    bounds.high = bounds
        .high
        .map(|high| high + SignedDuration::from_nanos(999_999_999));
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

/// Calls of one page, and whether others lie before and behind it.
struct Page {
    total: usize,
    calls: Vec<Call>,
    previous: bool,
    next: bool,
}

/// The places among which a page is looked for, oldest first, walked in the order of the list.
struct Row<'a> {
    places: &'a [Place],
    descending: bool,
}

impl<'a> Row<'a> {
    fn at(&self, position: usize) -> &'a Place {
        match self.descending {
            true => &self.places[self.places.len() - 1 - position],
            false => &self.places[position],
        }
    }

    /// The first position behind `place`.
    fn behind(&self, place: &Place) -> usize {
        match self.descending {
            true => self.places.len() - self.places.partition_point(|other| other < place),
            false => self.places.partition_point(|other| other <= place),
        }
    }

    /// The first position that is not ahead of `place`.
    fn not_ahead(&self, place: &Place) -> usize {
        match self.descending {
            true => self.places.len() - self.places.partition_point(|other| other <= place),
            false => self.places.partition_point(|other| other < place),
        }
    }
}

impl Page {
    /// Looks the page up. Without filters it costs what the page holds; with filters, what lies between its first
    /// call and its last, and once, until a call changes, the whole window for `Total`.
    fn find(calls: &mut CallStore, account: &str, query: &Query, inbound_to_agent: bool) -> Self {
        let named: Vec<Place>;
        let ended = if query.sids.is_empty() {
            calls.ended(account)
        } else {
            let mut places: Vec<Place> = query
                .sids
                .iter()
                .filter_map(|sid| calls.get(sid))
                .filter(|call| call.account == account && call.ended.is_some())
                .map(|call| (call.created, call.sid.clone()))
                .collect();
            places.sort();
            places.dedup();
            named = places;
            &named
        };
        let first = ended.partition_point(|(created, _)| query.created.low.is_some_and(|low| *created < low));
        let last =
            ended.partition_point(|(created, _)| query.created.high.is_none_or(|high| *created <= high));
        let row = Row {
            places: &ended[first..last.max(first)],
            descending: query.descending,
        };
        let length = row.places.len();
        let matches = |calls: &CallStore, (_, sid): &Place| {
            query.is_plain()
                || calls
                    .get(sid)
                    .is_some_and(|call| query.matches(call, inbound_to_agent))
        };
        let found = |position: usize| matches(calls, row.at(position));
        let (positions, previous, next) = match (&query.after, &query.before) {
            (None, Some(place)) => {
                let end = row.not_ahead(place);
                let mut before = (0..end).rev().filter(|position| found(*position));
                let mut positions: Vec<usize> = before.by_ref().take(query.page_size).collect();
                positions.reverse();
                let previous = before.next().is_some();
                (positions, previous, (end..length).any(found))
            }
            (after, _) => {
                let start = after.as_ref().map_or(0, |place| row.behind(place));
                let mut rest = (start..length).filter(|position| found(*position));
                let positions: Vec<usize> = rest.by_ref().take(query.page_size).collect();
                let next = rest.next().is_some();
                (positions, (0..start).rev().any(found), next)
            }
        };
        let page = positions
            .iter()
            .filter_map(|position| calls.get(&row.at(*position).1))
            .cloned()
            .collect();
        let total = if query.is_plain() {
            length
        } else if query.sids.is_empty() {
            let filter = format!("{account} {first} {last} {}", query.signature());
            calls.count(filter, |calls| {
                let window = &calls.ended(account)[first..last.max(first)];
                window.iter().filter(|place| matches(calls, place)).count()
            })
        } else {
            (0..length).filter(|position| found(*position)).count()
        };
        let empty = positions.is_empty();
        Self {
            total,
            calls: page,
            previous: previous && !empty,
            next: next && !empty,
        }
    }
}

fn page(core: &Core, account: &Account, exchange: &Exchange) -> Outcome {
    let query = Query::read(&exchange.params, core.now())?;
    let to_agent = core.options.inbound_to_agent;
    let page = core.note(|state| Page::find(&mut state.calls, &account.sid, &query, to_agent));
    let cursor = |name: &'static str, call: Option<&Call>| {
        call.map(|call| (name, token(&(call.created, call.sid.clone()))))
    };
    let next = cursor("After", page.calls.last().filter(|_| page.next));
    let previous = cursor("Before", page.calls.first().filter(|_| page.previous));
    let uri = |cursor: Option<(&str, String)>| page_uri(account, exchange, cursor);
    let mut items = Vec::new();
    for call in &page.calls {
        items.push(calls::call_node(core, call, exchange, core.options.list_details)?);
    }
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let metadata = Node::Object(vec![
        ("Total", count(page.total).into()),
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

    fn store(count: i64) -> CallStore {
        use crate::scripts::Outcome::{Busy, Completed};
        let mut store = CallStore::default();
        let call = |n: i64| {
            // Ten calls share each instant: then the sid decides.
            let created = now() - SignedDuration::from_secs(n / 10);
            let outcome = if n % 7 == 0 { Busy } else { Completed };
            Call::sample(format!("{:032}", (n * 7_919) % count), created, outcome)
        };
        store.insert_all((0..count).map(call).collect());
        store
    }

    /// Every page from the first on, and the way back from the last.
    fn walk(store: &mut CallStore, pairs: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let mut query = query(pairs).unwrap();
        let place = |call: &Call| (call.created, call.sid.clone());
        let (mut there, mut back) = (Vec::new(), Vec::new());
        let mut last = Page::find(store, "acme1", &query, false);
        assert!(!last.previous);
        loop {
            there.extend(last.calls.iter().map(|call| call.sid.clone()));
            if !last.next {
                break;
            }
            query.after = last.calls.last().map(place);
            last = Page::find(store, "acme1", &query, false);
            assert!(last.previous);
        }
        query.after = None;
        while last.previous {
            query.before = last.calls.first().map(place);
            last = Page::find(store, "acme1", &query, false);
            back.splice(0..0, last.calls.iter().map(|call| call.sid.clone()));
            assert!(last.next);
        }
        assert_eq!(last.total, there.len());
        (there, back)
    }

    #[test]
    fn cursors_meet_every_call_once_in_order_there_and_back() {
        let mut store = store(1_000);
        for pairs in [
            vec![("PageSize", "7")],
            vec![("PageSize", "7"), ("SortBy", "DateCreated:asc")],
            vec![("PageSize", "7"), ("Status", "busy")],
            vec![
                ("PageSize", "9"),
                ("Status", "busy"),
                ("SortBy", "DateCreated:asc"),
            ],
            vec![
                ("PageSize", "100"),
                ("DateCreated", "gte:2026-11-20 17:29:30;lte:2026-11-20 17:29:50"),
            ],
            vec![
                ("PageSize", "1"),
                (
                    "Sid",
                    "00000000000000000000000000000007,00000000000000000000000000000009",
                ),
            ],
        ] {
            let query = query(&pairs).unwrap();
            let mut expected: Vec<&Call> = store
                .iter()
                .filter(|call| query.created.contain(call.created) && query.matches(call, false))
                .filter(|call| query.sids.is_empty() || query.sids.contains(&call.sid))
                .collect();
            expected.sort_by(|a, b| (a.created, &a.sid).cmp(&(b.created, &b.sid)));
            if query.descending {
                expected.reverse();
            }
            let expected: Vec<String> = expected.iter().map(|call| call.sid.clone()).collect();
            assert!(expected.len() > 1);
            let (there, back) = walk(&mut store, &pairs);
            assert_eq!(there, expected, "{pairs:?}");
            let last_page = match expected.len() % query.page_size {
                0 => query.page_size,
                rest => rest,
            };
            assert_eq!(back, expected[..expected.len() - last_page], "{pairs:?}");
        }
    }

    #[test]
    fn a_hundred_thousand_calls_are_a_thousand_pages() {
        let mut store = store(100_000);
        for pairs in [
            vec![("PageSize", "100")],
            vec![("PageSize", "100"), ("Direction", "outbound-api")],
        ] {
            let (there, _) = walk(&mut store, &pairs);
            assert_eq!(there.len(), 100_000);
        }
    }

    #[test]
    fn a_filtered_total_follows_changes() {
        let mut store = store(20);
        let busy = query(&[("Status", "busy")]).unwrap();
        assert_eq!(Page::find(&mut store, "acme1", &busy, false).total, 3);
        store.insert(Call::sample(
            "new".to_owned(),
            now(),
            crate::scripts::Outcome::Busy,
        ));
        assert_eq!(Page::find(&mut store, "acme1", &busy, false).total, 4);
        store.update("new", |call| call.status = crate::scripts::CallStatus::Failed);
        assert_eq!(Page::find(&mut store, "acme1", &busy, false).total, 3);
        let all = query(&[]).unwrap();
        store.insert(Call::sample(
            "new".to_owned(),
            now(),
            crate::scripts::Outcome::Busy,
        ));
        assert_eq!(
            Page::find(&mut store, "acme1", &all, false).total,
            21,
            "a sid put in again is no second call"
        );
        assert_eq!(Page::find(&mut store, "acme2", &all, false).total, 0);
    }
}
