//! HeartBeats in both documented nestings, and in shapes that nobody documents.

use exotel::callback::{CallbackError, HeartbeatCallback, HeartbeatNesting};
use exotel::{Connectivity, ConnectivityStatus, ExophoneHealth, ExotelTime, HeartbeatStatus, default_zone};
use proptest::prelude::*;

const NESTINGS: [HeartbeatNesting; 2] = [HeartbeatNesting::UnderConnectivity, HeartbeatNesting::Bare];

const WARNING: &str = r#"{"timestamp":"2026-11-20T08:40:00Z","status_type":"WARNING","incoming_affected":["08045550100"],"outgoing_affected":[],
 "data":{"08045550100":{"connectivity":{
   "incoming_call":{"status":"major_outage","last_check_time":"2026-11-20T08:40:00Z","alternate_exophone":null},
   "outgoing_call":{"status":"active","last_check_time":"2026-11-20T08:40:00Z","alternate_exophone":null}}}}}"#;

fn read(body: &str) -> Result<HeartbeatCallback, CallbackError> {
    HeartbeatCallback::parse(body.as_bytes())
}

#[test]
fn both_nestings_say_the_same() {
    let expected = HeartbeatCallback::incoming_outage("2026-11-20T08:40:00Z", "08045550100");
    assert_eq!(read(WARNING).unwrap(), expected);
    let bare = WARNING
        .replacen("{\"connectivity\":", "", 1)
        .replacen("}}}}}", "}}}}", 1);
    assert_eq!(read(&bare).unwrap(), expected);
    let at = expected
        .timestamp
        .unwrap()
        .instant(&default_zone())
        .unwrap()
        .unwrap();
    assert_eq!(at.to_string(), "2026-11-20T08:40:00Z");
}

#[test]
fn every_status_is_known_and_another_word_kept() {
    for (word, status) in [
        ("OK", HeartbeatStatus::Ok),
        ("WARNING", HeartbeatStatus::Warning),
        ("critical", HeartbeatStatus::Critical),
        ("PAYLOAD_TOO_LARGE", HeartbeatStatus::PayloadTooLarge),
        ("MELTDOWN", HeartbeatStatus::Other("MELTDOWN".to_owned())),
    ] {
        let body = format!(
            r#"{{"status_type":"{word}","incoming_affected":null,"outgoing_affected":null,"data":{{}}}}"#
        );
        let heartbeat = read(&body).unwrap();
        assert_eq!(heartbeat.status, status);
        assert!(
            heartbeat.incoming_affected.is_empty()
                && heartbeat.outgoing_affected.is_empty()
                && heartbeat.exophones.is_empty()
        );
    }
    assert_eq!(
        read(r#"{"timestamp":"2026-11-20T08:40:00Z","status_type":"OK"}"#).unwrap(),
        HeartbeatCallback::healthy("2026-11-20T08:40:00Z")
    );
}

#[test]
fn every_affected_exophone_of_a_large_account_is_read() {
    let sids: Vec<String> = (0..5_000).map(|n| format!("0804555{n:04}")).collect();
    let data: serde_json::Map<String, serde_json::Value> = sids
        .iter()
        .map(|sid| {
            let health = serde_json::json!({"incoming_call": {"status": "partial_network_outage", "alternate_exophone": ["08045559999"]}});
            (sid.clone(), health)
        })
        .collect();
    let body = serde_json::json!({"status_type": "CRITICAL", "incoming_affected": sids, "outgoing_affected": null, "data": data});
    let heartbeat = read(&body.to_string()).unwrap();
    assert_eq!(
        (heartbeat.incoming_affected.len(), heartbeat.exophones.len()),
        (5_000, 5_000)
    );
    let health = &heartbeat.exophones[&"08045554999".into()];
    assert_eq!(
        health.incoming_call.status,
        Some(ConnectivityStatus::PartialNetworkOutage)
    );
    assert_eq!(health.incoming_call.alternate, ["08045559999".into()]);
    assert_eq!(health.outgoing_call, Connectivity::default());
}

#[test]
fn values_of_the_wrong_kind_are_unknown_not_well() {
    let body = r#"{"status_type":"WARNING","timestamp":{"at":1},"incoming_affected":true,"outgoing_affected":[null,{"sid":"08045550101"},8045550102,""],
        "data":{"08045550100":null,"08045550101":{"connectivity":{"incoming_call":{"status":null},"outgoing_call":[]}}," ":{}}}"#;
    let heartbeat = read(body).unwrap();
    assert_eq!(heartbeat.timestamp, None);
    assert_eq!(heartbeat.incoming_affected, []);
    assert_eq!(
        heartbeat.outgoing_affected,
        ["08045550101".into(), "8045550102".into()]
    );
    assert_eq!(heartbeat.exophones.len(), 2);
    for health in heartbeat.exophones.values() {
        assert_eq!(*health, ExophoneHealth::default());
    }
}

#[test]
fn what_is_no_heartbeat_is_refused_with_a_reason() {
    for (body, told) in [
        ("", "the callback is empty"),
        (" \r\n", "the callback is empty"),
        ("{}", "the callback has no status_type"),
        (r#"{"status_type":null}"#, "the callback has no status_type"),
        (r#"{"status_type":{"a":"OK"}}"#, "the callback has no status_type"),
        (
            "[1,2]",
            "the callback's body cannot be read as JSON: not an object",
        ),
        (
            "status_type=OK",
            "the callback's body cannot be read as JSON: Syntax error at line 1, column 1",
        ),
        (
            "{\"status_type\":",
            "the callback's body cannot be read as JSON: Eof error at line 1, column 15",
        ),
    ] {
        assert_eq!(read(body).unwrap_err().to_string(), told, "{body}");
    }
    assert!(read(&"[".repeat(100_000)).is_err());
}

fn heartbeat() -> impl Strategy<Value = HeartbeatCallback> {
    let word = prop_oneof![
        Just("active".to_owned()),
        Just("major_outage".to_owned()),
        "[a-z]{4,9}".prop_filter("a word", |word: &String| word != "null")
    ];
    let direction = (
        proptest::option::of(word),
        proptest::collection::vec("0[0-9]{9}", 0..3),
    )
        .prop_map(|(status, alternate)| Connectivity {
            status: status.as_deref().map(ConnectivityStatus::from_wire),
            last_check_time: ExotelTime::from_wire("2026-11-20T08:39:41Z"),
            alternate: alternate.into_iter().map(Into::into).collect(),
        });
    let health = (direction.clone(), direction).prop_map(|(incoming_call, outgoing_call)| ExophoneHealth {
        incoming_call,
        outgoing_call,
    });
    let exophones = proptest::collection::btree_map("[0-9a-f]{6,32}", health, 0..30);
    (exophones, "(OK|WARNING|CRITICAL|PAYLOAD_TOO_LARGE|[A-Z]{5,9})").prop_map(|(exophones, status)| {
        HeartbeatCallback {
            status: HeartbeatStatus::from_wire(&status),
            incoming_affected: exophones.keys().map(|sid| sid.as_str().into()).collect(),
            exophones: exophones
                .into_iter()
                .map(|(sid, health)| (sid.into(), health))
                .collect(),
            ..HeartbeatCallback::healthy("2026-11-20T08:40:00Z")
        }
    })
}

proptest! {
    #[test]
    fn what_is_built_is_read_back_in_both_nestings(heartbeat in heartbeat()) {
        for nesting in NESTINGS {
            let sent = heartbeat.encode(nesting);
            prop_assert_eq!(&HeartbeatCallback::parse(&sent.body).unwrap(), &heartbeat);
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = HeartbeatCallback::parse(&body);
    }

    #[test]
    fn a_damaged_heartbeat_is_read_or_refused(heartbeat in heartbeat(), at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut sent = heartbeat.encode(HeartbeatNesting::UnderConnectivity);
        let at = at.index(sent.body.len());
        sent.body[at] = byte;
        let _ = HeartbeatCallback::parse(&sent.body);
        sent.body.truncate(at);
        let _ = HeartbeatCallback::parse(&sent.body);
    }
}
