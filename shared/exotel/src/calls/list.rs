//! The list of calls, page by page.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Call;
use super::details::check_validity;
use crate::answer::{Answer, UnreadableEntry, items};
use crate::fields::Fields;
use crate::request::{FieldList, FieldWriter, Request, invalid};
use crate::{CallSid, CallStatus, Direction, Error, PhoneNumber};

/// Most sids one request may name.
const MOST_SIDS: usize = 100;

/// Most numbers per filter.
const MOST_NUMBERS: usize = 5;

/// Largest page.
const LARGEST_PAGE: u8 = 100;

/// Reads one page of the account's calls. Calls in progress are left out, and `CustomField` is not in the answer.
///
/// Filters are joined by "and". The next page is the same request with the cursor of this one:
///
/// ```no_run
/// # async fn all(client: &exotel::Client) -> Result<(), exotel::Error> {
/// let mut request = exotel::calls::ListCalls::default();
/// loop {
///     let page = client.send(&request).await?;
///     // … page.calls …
///     let Some(next) = page.next else { break };
///     request.cursor = Some(next);
/// }
/// # Ok(()) }
/// ```
///
/// <https://developer.exotel.com/api/call-details-bulk>
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListCalls {
    /// Only these calls; at most 100, Exotel recommends 20. Calls older than 31 days need `created` too.
    pub sids: Vec<CallSid>,
    /// When they were placed; Exotel's default is the last 31 days.
    pub created: Option<CreatedBetween>,
    /// Second legs, E.164; at most 5.
    pub to: Vec<PhoneNumber>,
    /// First legs, E.164; at most 5.
    pub from: Vec<PhoneNumber>,
    /// ExoPhones; at most 5.
    pub phone_numbers: Vec<PhoneNumber>,
    /// State. Whether Exotel takes more than one is unverified.
    pub status: Vec<CallStatus>,
    /// Length of the whole call in seconds.
    pub duration_secs: Option<Range<u32>>,
    /// Cost as a decimal number.
    pub price: Option<Range<String>>,
    /// Who started them.
    pub direction: Option<Direction>,
    /// Calls per page, at most 100; Exotel's default is 50.
    pub page_size: Option<u8>,
    /// Order by creation; Exotel's default is newest first.
    pub sort: Option<SortOrder>,
    /// Where a former page ended or began; none for the first page.
    pub cursor: Option<Cursor>,
    /// Also links to the recordings that need no credentials, for this many minutes, 5 to 60.
    pub recording_url_validity_mins: Option<u8>,
    /// Also talk time and legs. One client in the field does this on the list; unverified.
    pub details: bool,
}

/// A span of creation times in Exotel's zone, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedBetween {
    from: DateTime,
    to: DateTime,
}

impl CreatedBetween {
    /// Calls placed between two instants, written in the account's `zone` ([`crate::default_zone`]).
    ///
    /// Exotel counts in whole seconds: the span is widened to them. It allows one month at a time and six months back.
    pub fn new(from: Timestamp, to: Timestamp, zone: &TimeZone) -> Self {
        let second = |instant: Timestamp| zone.to_datetime(instant).with().subsec_nanosecond(0).build();
        // The second that `to` lies in is included, so cutting off its fraction loses nothing.
        let whole = |instant| second(instant).expect("a time without its fraction is a time");
        Self {
            from: whole(from),
            to: whole(to),
        }
    }
}

/// Bounds of a filter, both included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Range<T> {
    /// The least value.
    pub at_least: Option<T>,
    /// The greatest value.
    pub at_most: Option<T>,
}

/// Order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SortOrder {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

/// A place in the list. Opaque, and good only with the filters that gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cursor {
    /// Behind a page.
    After(String),
    /// In front of a page.
    Before(String),
}

/// One page of calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallPage {
    /// The calls, in the order asked for.
    pub calls: Vec<Call>,
    /// How many calls match in all, if Exotel says.
    pub total: Option<u32>,
    /// Entries without a readable sid. An entry with one is a call, whatever else is wrong with it.
    pub unreadable: Vec<UnreadableEntry>,
    /// Where the next page begins; none on the last.
    pub next: Option<Cursor>,
    /// Where the page before ends; none on the first.
    pub previous: Option<Cursor>,
}

impl Request for ListCalls {
    type Answer = CallPage;

    fn check(&self) -> Result<(), Error> {
        if self.sids.len() > MOST_SIDS {
            return invalid("Sid", format!("takes at most {MOST_SIDS} sids"));
        }
        for (field, numbers) in [
            ("To", &self.to),
            ("From", &self.from),
            ("PhoneNumber", &self.phone_numbers),
        ] {
            if numbers.len() > MOST_NUMBERS {
                return invalid(field, format!("takes at most {MOST_NUMBERS} numbers"));
            }
            if numbers
                .iter()
                .any(|number| number.trim().is_empty() || number.contains(','))
            {
                return invalid(field, "has an empty number, or one with a comma");
            }
        }
        if let Some(created) = self.created {
            if created.from > created.to {
                return invalid("DateCreated", "ends before it begins");
            }
            if created
                .from
                .checked_add(1.month())
                .is_ok_and(|month| created.to > month)
            {
                return invalid("DateCreated", "spans more than one month");
            }
        }
        if self
            .page_size
            .is_some_and(|size| !(1..=LARGEST_PAGE).contains(&size))
        {
            return invalid("PageSize", format!("must be 1 to {LARGEST_PAGE}"));
        }
        check_validity(self.recording_url_validity_mins)
    }

    fn path(&self) -> Vec<String> {
        vec!["Calls.json".to_owned()]
    }

    fn query(&self) -> FieldList {
        let numbers = |numbers: &[PhoneNumber]| joined(numbers.iter().map(PhoneNumber::as_str));
        let mut query = FieldWriter::default();
        query
            .set_some("Sid", joined(self.sids.iter().map(CallSid::as_str)))
            .set_some(
                "DateCreated",
                self.created
                    .map(|span| bounds(Some(wire(span.from)), Some(wire(span.to)))),
            )
            .set_some("To", numbers(&self.to))
            .set_some("From", numbers(&self.from))
            .set_some("PhoneNumber", numbers(&self.phone_numbers))
            .set_some("Status", joined(self.status.iter().map(CallStatus::as_str)));
        if let Some(range) = &self.duration_secs {
            let seconds = |secs: Option<u32>| secs.map(|secs| format!("{secs}s"));
            query.set(
                "Duration",
                bounds(seconds(range.at_least), seconds(range.at_most)),
            );
        }
        if let Some(range) = &self.price {
            query.set("Price", bounds(range.at_least.clone(), range.at_most.clone()));
        }
        let sort = self.sort.map(|order| match order {
            SortOrder::Ascending => "DateCreated:asc",
            SortOrder::Descending => "DateCreated:desc",
        });
        query
            .set_some("Direction", self.direction.as_ref().map(Direction::as_str))
            .set_some("PageSize", self.page_size)
            .set_some("SortBy", sort);
        match &self.cursor {
            Some(Cursor::After(token)) => query.set("After", token),
            Some(Cursor::Before(token)) => query.set("Before", token),
            None => &mut query,
        };
        query
            .set_some("RecordingUrlValidity", self.recording_url_validity_mins)
            .set_some("details", self.details.then_some("true"));
        query.finish()
    }

    fn read(&self, answer: &Answer) -> Result<CallPage, Error> {
        let unreadable = |problem| Error::unreadable(answer.status(), problem);
        let tree = answer
            .tree()
            .ok_or_else(|| unreadable("the list of calls is neither JSON nor XML"))?;
        let list = tree
            .get("Calls")
            .ok_or_else(|| unreadable("the answer has no Calls"))?;
        let (mut calls, mut left_out) = (Vec::new(), Vec::new());
        for item in items(list, "Call") {
            match Call::from_tree(item.get("Call").unwrap_or(item)) {
                Ok(call) => calls.push(call),
                Err(problem) => left_out.push(UnreadableEntry::new(item, problem)),
            }
        }
        let metadata = Fields::from_json(tree.get("Metadata").unwrap_or(&Value::Null));
        // A page that says it has a successor we cannot name must not look like the last.
        let cursor = |name, token: &'static str| match metadata.text(name) {
            None => Ok(None),
            Some(uri) => cursor_token(uri, token)
                .map(Some)
                .ok_or_else(|| unreadable("a page URI holds no cursor")),
        };
        Ok(CallPage {
            calls,
            unreadable: left_out,
            total: metadata.count("Total"),
            next: cursor("NextPageUri", "After")?.map(Cursor::After),
            previous: cursor("PrevPageUri", "Before").ok().flatten().map(Cursor::Before),
        })
    }
}

/// The token out of a page's URI. The URI itself is never followed: it is Exotel's, and lists all filters again.
fn cursor_token(uri: &str, name: &str) -> Option<String> {
    let (_, query) = uri.split_once('?')?;
    let token = form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)?
        .1;
    // Tokens look like base64 and samples print URIs unencoded: there a space was a plus sign.
    (!token.is_empty()).then(|| token.replace(' ', "+"))
}

fn joined<'a>(values: impl Iterator<Item = &'a str>) -> Option<String> {
    let values: Vec<&str> = values.collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn bounds(at_least: Option<String>, at_most: Option<String>) -> String {
    let bounds = [
        at_least.map(|least| format!("gte:{least}")),
        at_most.map(|most| format!("lte:{most}")),
    ];
    bounds.into_iter().flatten().collect::<Vec<_>>().join(";")
}

fn wire(time: DateTime) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::default_zone;

    fn page(body: &str) -> Result<CallPage, Error> {
        ListCalls::default().read(&Answer::new(200, body.as_bytes().to_vec()))
    }

    #[test]
    fn filters_are_written_in_indian_time() {
        let instant = |text: &str| text.parse::<Timestamp>().unwrap();
        let request = ListCalls {
            created: Some(CreatedBetween::new(
                instant("2026-11-19T18:30:00.9Z"),
                instant("2026-11-20T08:33:11.5Z"),
                &default_zone(),
            )),
            to: vec!["+919811100002".into(), "+919811100003".into()],
            duration_secs: Some(Range {
                at_least: Some(10),
                at_most: Some(45),
            }),
            status: vec![CallStatus::Completed],
            direction: Some(Direction::OutboundApi),
            page_size: Some(100),
            sort: Some(SortOrder::Ascending),
            cursor: Some(Cursor::After("MTcz".into())),
            ..ListCalls::default()
        };
        request.check().unwrap();
        let query = request
            .query()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("&");
        assert_eq!(
            query,
            "DateCreated=gte:2026-11-20 00:00:00;lte:2026-11-20 14:03:11&To=+919811100002,+919811100003&Status=completed\
             &Duration=gte:10s;lte:45s&Direction=outbound-api&PageSize=100&SortBy=DateCreated:asc&After=MTcz"
        );
    }

    #[test]
    fn spans_and_counts_beyond_exotels_limits_are_refused() {
        let span = |from: &str, to: &str| {
            Some(CreatedBetween::new(
                from.parse().unwrap(),
                to.parse().unwrap(),
                &default_zone(),
            ))
        };
        for request in [
            ListCalls {
                created: span("2026-11-01T00:00:00Z", "2026-12-01T00:00:01Z"),
                ..ListCalls::default()
            },
            ListCalls {
                created: span("2026-11-02T00:00:00Z", "2026-11-01T00:00:00Z"),
                ..ListCalls::default()
            },
            ListCalls {
                page_size: Some(101),
                ..ListCalls::default()
            },
            ListCalls {
                to: vec!["1".into(); 6],
                ..ListCalls::default()
            },
            ListCalls {
                from: vec!["1,2".into()],
                ..ListCalls::default()
            },
            ListCalls {
                sids: vec!["a".parse().unwrap(); 101],
                ..ListCalls::default()
            },
            ListCalls {
                recording_url_validity_mins: Some(61),
                ..ListCalls::default()
            },
        ] {
            assert!(
                matches!(request.check(), Err(Error::InvalidRequest { .. })),
                "{request:?}"
            );
        }
        let month = ListCalls {
            created: span("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
            ..ListCalls::default()
        };
        assert!(month.check().is_ok());
    }

    #[test]
    fn the_cursor_is_taken_out_of_the_uri() {
        let page = page(
            r#"{"Metadata":{"Total":"230","PrevPageUri":null,"NextPageUri":"/v1/Accounts/acme1/Calls.json?PageSize=50&SortBy=DateCreated:desc&After=MT+z%3D"},
            "Calls":[{"Sid":"a","Duration":"166","EndTime":"1970-01-01 05:30:00"},{"Status":"busy"},{"Call":{"Sid":"b","Duration":7}}]}"#,
        )
        .unwrap();
        assert_eq!((page.total, page.calls.len()), (Some(230), 2));
        let [left_out] = page.unreadable.as_slice() else {
            panic!("{:?}", page.unreadable)
        };
        assert_eq!(
            (left_out.raw.as_str(), left_out.problem.as_str()),
            (r#"{"Status":"busy"}"#, "the call has no Sid")
        );
        assert_eq!(
            (page.next, page.previous),
            (Some(Cursor::After("MT+z=".into())), None)
        );
        assert_eq!(
            (page.calls[0].duration_secs, &page.calls[0].end_time),
            (Some(166), &None)
        );
    }

    #[test]
    fn an_entry_with_a_sid_is_a_call_whatever_else_is_wrong_with_it() {
        let read = page(
            r#"{"Metadata":{},"Calls":[{"Sid":"a","Status":{"x":1},"Duration":"many","Price":"free","From":["1"],"To":true,
            "StartTime":17,"EndTime":{},"Direction":null,"RecordingUrl":"javascript:1","Details":"none","Legs":"many"}]}"#,
        )
        .unwrap();
        assert!(read.unreadable.is_empty(), "{:?}", read.unreadable);
        let call = &read.calls[0];
        assert_eq!(
            (&call.status, call.duration_secs, &call.price),
            (&None, None, &None)
        );
        assert_eq!((&call.recording_url, call.legs.len()), (&None, 0));
    }

    #[test]
    fn what_is_no_entry_is_kept_as_it_came_and_not_shown_in_logs() {
        let read = page(
            r#"{"Metadata":{},"Calls":[null,7,"09811100002",[],{"Sid":"../x","To":"09811100002"},{"Call":{"Sid":"a"}},{"Call":null}]}"#,
        )
        .unwrap();
        assert_eq!(read.calls.len(), 1);
        let raw: Vec<&str> = read.unreadable.iter().map(|entry| entry.raw.as_str()).collect();
        assert_eq!(
            raw,
            [
                "null",
                "7",
                "\"09811100002\"",
                "[]",
                r#"{"Sid":"../x","To":"09811100002"}"#,
                r#"{"Call":null}"#
            ]
        );
        assert!(!format!("{read:?}").contains("0981110"));
    }

    #[test]
    fn a_list_that_is_none_is_one_unreadable_entry_or_one_call() {
        for (list, calls, unreadable) in [
            ("{}", 0, 0),
            ("null", 0, 0),
            ("\"\"", 0, 0),
            (r#"{"Sid":"a"}"#, 1, 0),
            (r#"{"Call":{"Sid":"a"}}"#, 1, 0),
            ("\"soon\"", 0, 1),
            ("12", 0, 1),
        ] {
            let read = page(&format!(r#"{{"Metadata":{{}},"Calls":{list}}}"#)).unwrap();
            assert_eq!(
                (read.calls.len(), read.unreadable.len()),
                (calls, unreadable),
                "{list}"
            );
        }
    }

    proptest::proptest! {
        /// Every entry is either a call or kept as it came.
        #[test]
        fn no_entry_of_a_page_is_lost(entries in proptest::collection::vec(crate::tree_strategy(), 0..8)) {
            let body = serde_json::json!({"Metadata": {}, "Calls": entries}).to_string();
            let read = page(&body).unwrap();
            proptest::prop_assert_eq!(read.calls.len() + read.unreadable.len(), entries.len());
            for left_out in &read.unreadable {
                let raw: Value = serde_json::from_str(&left_out.raw).unwrap();
                proptest::prop_assert!(entries.contains(&raw));
            }
        }
    }

    #[test]
    fn the_last_page_has_no_next_and_a_broken_uri_is_no_last_page() {
        for last in ["null", "\"\"", "\"null\""] {
            assert_eq!(
                page(&format!(r#"{{"Metadata":{{"NextPageUri":{last}}},"Calls":[]}}"#))
                    .unwrap()
                    .next,
                None
            );
        }
        assert!(
            page(r#"{"Metadata":{"NextPageUri":"/v1/Accounts/acme1/Calls.json?Page=2"},"Calls":[]}"#)
                .is_err()
        );
        assert!(page(r#"{"Metadata":{}}"#).is_err());
    }
}
