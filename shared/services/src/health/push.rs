//! Reads a HeartBeat, as it came or as it is kept.

use std::collections::BTreeMap;

use domain::{
    health::{AccountStatus, Listed, Push, Said, SideSaid, Status},
    ids::ExoPhoneSid,
};
use exotel::{
    Connectivity, ExophoneHealth, ExotelTime, PhoneNumber,
    callback::{CallbackError, HeartbeatCallback},
    default_zone,
};
use jiff::Timestamp;
use serde::Serialize;

/// Whose raw events pushes are: no sid of a call or a message.
pub const HEARTBEAT_OWNER: &str = "heartbeat";

/// A longer push is not kept whole, in bytes: an item of the table takes 400 KB. Exotel itself goes up to 10 MB.
pub const LONGEST_HEARTBEAT: usize = 350 * 1024;

/// What is kept of a longer one.
const BEGINNING: usize = 16 * 1024;

/// What stands in the place of a push that is too long to keep. It is itself a push that says so, and a replay reads
/// it like any other.
pub fn cut(body: &[u8]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Cut<'a> {
        status_type: &'static str,
        bytes: usize,
        beginning: &'a str,
    }
    let beginning = String::from_utf8_lossy(&body[..body.len().min(BEGINNING)]);
    let cut = Cut {
        status_type: "PAYLOAD_TOO_LARGE",
        bytes: body.len(),
        beginning: &beginning,
    };
    serde_json::to_vec(&cut).expect("texts and numbers always have a JSON form")
}

/// Reads a push that came at `received_at`, which is its time when it has none that can be read.
///
/// # Errors
/// [`CallbackError`] for what is no HeartBeat.
pub fn read_push(body: &[u8], received_at: Timestamp) -> Result<Push, CallbackError> {
    let callback = HeartbeatCallback::parse(body)?;
    let listed = Listed {
        incoming_affected: sids(&callback.incoming_affected),
        outgoing_affected: sids(&callback.outgoing_affected),
        data: data(&callback.exophones),
    };
    let at = time(callback.timestamp.as_ref()).unwrap_or(received_at);
    let account = AccountStatus::from(callback.status.as_str().to_owned());
    Ok(Push::new(at, account, listed))
}

/// What is no sid is nobody's; the raw event has it.
fn sids(named: &[PhoneNumber]) -> Vec<ExoPhoneSid> {
    named.iter().filter_map(|sid| sid.as_str().parse().ok()).collect()
}

fn data(exophones: &BTreeMap<PhoneNumber, ExophoneHealth>) -> BTreeMap<ExoPhoneSid, Said> {
    let known = exophones.iter().filter_map(|(sid, health)| {
        let sid = sid.as_str().parse().ok()?;
        Some((sid, said(health)))
    });
    known.collect()
}

/// What Exotel says of an ExoPhone. A side that it does not speak of is `None`.
pub(super) fn said(health: &ExophoneHealth) -> Said {
    Said {
        incoming: side(&health.incoming_call),
        outgoing: side(&health.outgoing_call),
    }
}

fn side(connectivity: &Connectivity) -> Option<SideSaid> {
    let word = connectivity.status.as_ref()?;
    let alternates = connectivity
        .alternate
        .iter()
        .map(|number| number.as_str().to_owned());
    let said = SideSaid::bare(Status::from_exotel(Some(word.as_str()))).with_alternates(alternates);
    Some(SideSaid {
        measured_at: time(connectivity.last_check_time.as_ref()),
        ..said
    })
}

fn time(text: Option<&ExotelTime>) -> Option<Timestamp> {
    text?.instant(&default_zone()).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-20T08:40:05Z";

    fn read(body: &str) -> Push {
        read_push(body.as_bytes(), NOW.parse().unwrap()).unwrap()
    }

    #[test]
    fn both_nestings_and_null_lists_are_read() {
        let directions = r#"{"incoming_call":{"status":"major_outage","last_check_time":"2026-11-20T08:39:41Z","alternate_exophone":"08045550199"},
            "outgoing_call":{"status":"active","last_check_time":null,"alternate_exophone":null}}"#;
        let mut pushes = Vec::new();
        for data in [
            directions.to_owned(),
            format!(r#"{{"connectivity":{directions}}}"#),
        ] {
            pushes.push(read(&format!(
                r#"{{"timestamp":"2026-11-20T08:40:00Z","status_type":"WARNING","incoming_affected":["08045550100"],
                "outgoing_affected":null,"data":{{"08045550100":{data}}}}}"#
            )));
        }
        assert_eq!(pushes[0], pushes[1]);
        let said = pushes[0].said.values().next().unwrap();
        let incoming = said.incoming.as_ref().unwrap();
        assert_eq!(incoming.status, Status::Affected("major_outage".to_owned()));
        assert_eq!(incoming.alternates, ["08045550199"]);
        assert_eq!(incoming.measured_at, "2026-11-20T08:39:41Z".parse().ok());
        assert_eq!(said.outgoing.as_ref().unwrap().status, Status::Ok);
        assert_eq!(pushes[0].at, "2026-11-20T08:40:00Z".parse().unwrap());
    }

    #[test]
    fn a_push_without_a_time_is_as_old_as_its_arrival_and_what_is_no_sid_is_left_out() {
        let push = read(
            r#"{"timestamp":"soon","status_type":"OK","incoming_affected":[null,"","a b",7,{"sid":"08045550100"}],"data":[]}"#,
        );
        assert_eq!(push.at, NOW.parse().unwrap());
        let named: Vec<_> = push.said.keys().map(|sid| sid.as_str()).collect();
        assert_eq!(named, ["08045550100", "7"]);
    }

    #[test]
    fn what_is_kept_of_a_long_push_says_that_it_is_too_long() {
        let long = format!(
            r#"{{"status_type":"CRITICAL","data":"{}"}}"#,
            "ü\"".repeat(300_000)
        );
        let kept = cut(long.as_bytes());
        assert!(kept.len() < LONGEST_HEARTBEAT);
        let push = read_push(&kept, NOW.parse().unwrap()).unwrap();
        assert_eq!(push.account, AccountStatus::PayloadTooLarge);
        assert!(push.said.is_empty());
        assert!(String::from_utf8(kept).unwrap().contains("CRITICAL"));
    }
}
