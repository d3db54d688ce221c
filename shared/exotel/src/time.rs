//! Exotel's times: mostly local to the account and without a zone.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};

/// `YYYY-MM-DD HH:MM:SS`, as v1 writes and reads it.
const V1: &str = "%Y-%m-%d %H:%M:%S";

/// The zone of v1's zoneless times: Indian Standard Time, UTC+05:30, which has no daylight saving.
///
/// Whether an account in another country gets another zone is not documented; that is why every reader here takes one.
pub fn default_zone() -> TimeZone {
    TimeZone::fixed(Offset::from_seconds(5 * 3600 + 30 * 60).expect("05:30 is a valid offset"))
}

/// A text that is none of the forms in which Exotel writes a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one of Exotel's time formats: {text:?}")]
pub struct UnreadableTime {
    text: String,
}

/// A time as Exotel wrote it. It becomes an instant once the zone is known: [`ExotelTime::instant`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ExotelTime(String);

impl ExotelTime {
    /// Keeps what Exotel wrote; none for an empty text, `null`, and the epoch (`1970-01-01 05:30:00`) that stands for
    /// "not yet".
    pub fn from_wire(text: &str) -> Option<Self> {
        let text = text.trim();
        let empty = text.is_empty() || text.eq_ignore_ascii_case("null");
        let epoch = ["1970-01-01", "1969-12-31", "0000-"]
            .iter()
            .any(|day| text.starts_with(day));
        (!empty && !epoch).then(|| Self(text.to_owned()))
    }

    /// The text as it came.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The instant, reading a text without offset in `zone`; none for the epoch placeholder.
    ///
    /// Understood are `2026-11-20 14:03:11` (also with `T`), the same with an offset or `Z`, and
    /// `Fri, 20 Nov 2026 14:03:11` with or without an offset behind.
    pub fn instant(&self, zone: &TimeZone) -> Result<Option<Timestamp>, UnreadableTime> {
        parse_time(&self.0, zone)
    }
}

/// Reads one of Exotel's times, as [`ExotelTime::instant`] does; none for an empty text, `null` and the 1970 placeholder.
pub fn parse_time(text: &str, zone: &TimeZone) -> Result<Option<Timestamp>, UnreadableTime> {
    let Some(time) = ExotelTime::from_wire(text) else {
        return Ok(None);
    };
    let unreadable = || UnreadableTime {
        text: time.0.chars().take(64).collect(),
    };
    let instant = match time.0.parse::<Timestamp>() {
        Ok(instant) => instant,
        Err(_) => read_rfc1123(&time.0, zone)
            .or_else(|| read_civil(&time.0, zone))
            .ok_or_else(unreadable)?,
    };
    // The placeholder in whatever zone or form: nobody called in the first days of 1970.
    let placeholder = instant.as_second().abs() <= 2 * 24 * 3600;
    Ok((!placeholder).then_some(instant))
}

/// Writes an instant as v1's filters want it, in `zone`. Fractions of a second are cut off.
pub fn format_time(instant: Timestamp, zone: &TimeZone) -> String {
    instant.to_zoned(zone.clone()).strftime(V1).to_string()
}

fn read_civil(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    in_zone(text.parse::<DateTime>().ok()?, zone)
}

/// `Wed, 23 Feb 2022 12:31:59`. The weekday is not looked at.
fn read_rfc1123(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let (_, date) = text.split_once(',')?;
    let date = date.trim();
    let date = date
        .strip_suffix(" GMT")
        .map_or_else(|| date.to_owned(), |utc| format!("{utc} +0000"));
    if let Ok(zoned) = Zoned::strptime("%d %b %Y %H:%M:%S %z", &date) {
        return Some(zoned.timestamp());
    }
    in_zone(DateTime::strptime("%d %b %Y %H:%M:%S", &date).ok()?, zone)
}

fn in_zone(time: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    zone.to_ambiguous_timestamp(time).compatible().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Option<String>, UnreadableTime> {
        Ok(parse_time(text, &default_zone())?.map(|t| t.to_string()))
    }

    #[test]
    fn every_form_of_the_field_is_the_same_instant() {
        for text in [
            "2026-11-20 14:03:11",
            " 2026-11-20T14:03:11 ",
            "2026-11-20 14:03:11+05:30",
            "2026-11-20T08:33:11Z",
            "2026-11-20T14:03:11.000+05:30",
            "Fri, 20 Nov 2026 14:03:11",
            "Mon, 20 Nov 2026 14:03:11",
            "Fri, 20 Nov 2026 14:03:11 +0530",
            "Fri, 20 Nov 2026 08:33:11 GMT",
        ] {
            assert_eq!(read(text), Ok(Some("2026-11-20T08:33:11Z".to_owned())), "{text}");
        }
    }

    #[test]
    fn placeholders_are_no_time() {
        for text in [
            "",
            " ",
            "null",
            "NULL",
            "1970-01-01 05:30:00",
            "1970-01-01 05:30:00+05:30",
            "1970-01-01T00:00:00Z",
            "Thu, 01 Jan 1970 05:30:00",
            "0000-00-00 00:00:00",
        ] {
            assert_eq!(read(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_said_so() {
        for text in ["soon", "20/11/2026", "2026-13-40 99:99:99", "Fri, 99 Nov 2026"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_zone_decides() {
        let singapore = TimeZone::fixed(Offset::constant(8));
        let instant = parse_time("2026-11-20 16:33:11", &singapore).unwrap().unwrap();
        assert_eq!(instant.to_string(), "2026-11-20T08:33:11Z");
        assert_eq!(format_time(instant, &default_zone()), "2026-11-20 14:03:11");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,40}") {
            let _ = parse_time(&text, &default_zone());
        }

        #[test]
        fn nearly_a_time_does_not_panic_either(text in "[0-9]{1,5}-[0-9]{1,3}-[0-9]{1,3}[ T][0-9]{1,3}:[0-9]{1,3}(:[0-9]{1,3})?([+-Z][0-9:]{0,6})?") {
            let _ = parse_time(&text, &default_zone());
        }

        #[test]
        fn what_is_written_reads_back(second in 1_000_000_000i64..4_000_000_000) {
            let instant = Timestamp::from_second(second).unwrap();
            let text = format_time(instant, &default_zone());
            prop_assert_eq!(parse_time(&text, &default_zone()), Ok(Some(instant)));
        }
    }
}
