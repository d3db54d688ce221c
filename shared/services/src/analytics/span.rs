//! From when to when somebody asks, by whose clock.

use domain::figures::day_span;
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::Serialize;

use crate::{
    ServiceError,
    figures::{check_span, zone_name},
};

/// What somebody wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpanRequest {
    /// A date, or an instant with its offset.
    pub from: Option<String>,
    /// A date, inclusive, or an instant, exclusive.
    pub to: Option<String>,
    /// IANA name of a zone.
    pub zone: Option<String>,
}

/// A span, and the zone by whose clock days and hours are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Inclusive.
    pub from: Timestamp,
    /// Exclusive.
    pub to: Timestamp,
    /// The zone.
    pub zone: TimeZone,
}

/// The span as answers tell it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct SpanView {
    from: Timestamp,
    to: Timestamp,
    zone: String,
}

impl From<&Span> for SpanView {
    fn from(span: &Span) -> Self {
        Self {
            from: span.from,
            to: span.to,
            zone: zone_name(&span.zone).to_owned(),
        }
    }
}

/// A day or a moment.
enum When {
    Day(Date),
    Moment(Timestamp),
}

fn read(field: &'static str, text: &str) -> Result<When, ServiceError> {
    let wrong = || {
        let message = "give a date such as 2026-11-20, or an instant such as 2026-11-20T08:30:00+05:30";
        ServiceError::field(field, message)
    };
    let text = text.trim();
    if text.len() == "2026-11-20".len() {
        return text.parse().map(When::Day).map_err(|_| wrong());
    }
    // In a query, + is a space unless it was encoded.
    text.replace(' ', "+")
        .parse()
        .map(When::Moment)
        .map_err(|_| wrong())
}

impl Span {
    /// The span that somebody asks for: today where nothing is said, up to the end of today where the end is not.
    /// Dates are days of the zone, which is `configured` where none is named.
    ///
    /// # Errors
    /// [`ServiceError::Field`] that names the parameter: no date, no zone, a span that is empty or longer than 400
    /// days.
    pub fn read(request: &SpanRequest, configured: &TimeZone, now: Timestamp) -> Result<Self, ServiceError> {
        let zone = match &request.zone {
            None => configured.clone(),
            Some(name) => TimeZone::get(name).map_err(|_| {
                ServiceError::field("zone", "it must be an IANA time zone such as Asia/Kolkata")
            })?,
        };
        let today = zone.to_datetime(now).date();
        let from = match request
            .from
            .as_deref()
            .map(|text| read("from", text))
            .transpose()?
        {
            None => day_span(today, &zone).0,
            Some(When::Day(date)) => day_span(date, &zone).0,
            Some(When::Moment(at)) => at,
        };
        let to = match request.to.as_deref().map(|text| read("to", text)).transpose()? {
            None => day_span(today, &zone).1,
            Some(When::Day(date)) => day_span(date, &zone).1,
            Some(When::Moment(at)) => at,
        };
        check_span(from, to)?;
        Ok(Self { from, to, zone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_span(from: &str, to: &str, zone: &str) -> Result<(String, String), String> {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let request = SpanRequest {
            from: some(from),
            to: some(to),
            zone: some(zone),
        };
        let kolkata = TimeZone::get("Asia/Kolkata").unwrap();
        let now = "2026-11-20T20:00:00Z".parse().unwrap();
        match Span::read(&request, &kolkata, now) {
            Ok(span) => Ok((span.from.to_string(), span.to.to_string())),
            Err(ServiceError::Field { field, .. }) => Err(field.to_owned()),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn dates_are_days_of_the_zone_and_the_last_one_counts() {
        for (from, to, zone, start, end) in [
            ("", "", "", "2026-11-20T18:30:00Z", "2026-11-21T18:30:00Z"),
            ("", "", "UTC", "2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z"),
            (
                "2026-11-01",
                "2026-11-20",
                "",
                "2026-10-31T18:30:00Z",
                "2026-11-20T18:30:00Z",
            ),
            (
                "2026-11-20",
                "",
                "",
                "2026-11-19T18:30:00Z",
                "2026-11-21T18:30:00Z",
            ),
            (
                "2026-03-29",
                "2026-03-29",
                "Europe/Berlin",
                "2026-03-28T23:00:00Z",
                "2026-03-29T22:00:00Z",
            ),
            (
                "2026-11-20T08:30:00+05:30",
                "2026-11-20T09:00:00 05:30",
                "",
                "2026-11-20T03:00:00Z",
                "2026-11-20T03:30:00Z",
            ),
            (
                "2025-10-17",
                "2026-11-20",
                "",
                "2025-10-16T18:30:00Z",
                "2026-11-20T18:30:00Z",
            ),
        ] {
            assert_eq!(
                read_span(from, to, zone),
                Ok((start.to_owned(), end.to_owned())),
                "{from} {to} {zone}"
            );
        }
    }

    #[test]
    fn nonsense_names_the_parameter() {
        for (from, to, zone, field) in [
            ("yesterday", "", "", "from"),
            ("2026-13-01", "", "", "from"),
            ("2026-11-20T08:30:00", "", "", "from"),
            ("-99999999999", "", "", "from"),
            ("", "20.11.2026", "", "to"),
            ("", "9999-99-99", "", "to"),
            ("", "", "Asia/Atlantis", "zone"),
            ("2026-11-20", "2026-11-19", "", "from"),
            ("2025-10-16", "2026-11-20", "", "from"),
            ("0001-01-01", "9999-12-31", "", "from"),
        ] {
            assert_eq!(
                read_span(from, to, zone),
                Err(field.to_owned()),
                "{from} {to} {zone}"
            );
        }
    }
}
