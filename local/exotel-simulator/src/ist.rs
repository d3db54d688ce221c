//! Exotel's times: Indian Standard Time, in v1 as `YYYY-MM-DD HH:MM:SS` without a zone.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

const FORMAT: &str = "%Y-%m-%d %H:%M:%S";

/// What Exotel writes for "no end time yet": the Unix epoch in IST.
pub(crate) const PLACEHOLDER: &str = "1970-01-01 05:30:00";

fn zone() -> TimeZone {
    TimeZone::fixed(Offset::from_seconds(5 * 3600 + 1800).expect("5:30 is within the range of offsets"))
}

/// Writes an instant as v1 does.
pub(crate) fn format(at: Timestamp) -> String {
    at.to_zoned(zone()).strftime(FORMAT).to_string()
}

/// Writes an instant as v3 does: `2022-11-03 22:54:40+05:30`.
pub(crate) fn format_with_offset(at: Timestamp) -> String {
    format!("{}+05:30", format(at))
}

/// Writes an instant as v2 does: `2026-11-20T14:03:11+05:30`.
pub(crate) fn format_rfc3339(at: Timestamp) -> String {
    at.to_zoned(zone())
        .strftime("%Y-%m-%dT%H:%M:%S+05:30")
        .to_string()
}

/// Writes an instant as Passthru has `Created`: `Wed, 23 Feb 2022 12:31:59`, still without a zone.
pub(crate) fn format_rfc1123(at: Timestamp) -> String {
    at.to_zoned(zone()).strftime("%a, %d %b %Y %H:%M:%S").to_string()
}

/// Reads a v1 time.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let civil = DateTime::strptime(FORMAT, text.trim()).ok()?;
    Some(civil.to_zoned(zone()).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_is_the_placeholder() {
        assert_eq!(format(Timestamp::UNIX_EPOCH), PLACEHOLDER);
    }

    #[test]
    fn a_time_written_reads_back() {
        let at: Timestamp = "2026-11-20T08:33:11Z".parse().unwrap();
        assert_eq!(format(at), "2026-11-20 14:03:11");
        assert_eq!(format_rfc1123(at), "Fri, 20 Nov 2026 14:03:11");
        assert_eq!(format_with_offset(at), "2026-11-20 14:03:11+05:30");
        assert_eq!(format_rfc3339(at), "2026-11-20T14:03:11+05:30");
        assert_eq!(parse("2026-11-20 14:03:11"), Some(at));
        assert_eq!(parse("2026-11-20T14:03:11Z"), None);
    }
}
