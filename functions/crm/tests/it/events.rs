//! The example events do what their names say.

use domain::{
    alert::{Measure, Observation, Transition, UNCONFIRMED_INTENTS, step},
    ids::AlertSubject,
};
use table::{EventOwner, RawEvent};

use crate::call_records::keep_settled_record;
use crate::house::{ADMIN, Event, House, ROOT, SALES, at, call, sms, talked};

#[tokio::test]
async fn every_example_event_of_this_package_is_answered_with_success() {
    let house = House::new().await;
    let mut call = call(0);
    call.locator.id = "call_01m7w179t10000000000000007".parse().unwrap();
    house.table.create_call(&call).await.unwrap();
    house
        .table
        .record_call_report(&call.locator, &talked())
        .await
        .unwrap();
    house.table.create_sms(&sms(2)).await.unwrap();
    let event = RawEvent {
        owner: EventOwner::Call(call.locator.clone()),
        purpose: "call".to_owned(),
        hash: "0f1e2d3c4b5a69788796a5b4c3d2e1f0".to_owned(),
        received_at: at(1),
        content_type: None,
        body: b"CallSid=abc123".to_vec(),
        query: None,
        handled: Some(true),
    };
    house.table.put_raw_event(&event).await.unwrap();
    house.table.index_raw_event(&event).await.unwrap();
    let unconfirmed = step(
        &UNCONFIRMED_INTENTS,
        &AlertSubject::account(),
        None,
        Observation::single(Measure::whole(2)),
        at(4),
        7,
    );
    let Some(Transition::Raised(alert)) = unconfirmed else {
        panic!("{unconfirmed:?}")
    };
    house.table.raise_alert(&alert).await.unwrap();
    crate::exophones_route::heard(&house).await;
    keep_settled_record(&house.table).await;
    crate::bot_sessions::offered(&house, 60).await;
    for (name, who, status) in [
        ("exotel-status.ok", SALES, 200),
        ("my-call-number.ok", SALES, 200),
        ("call-log.list", SALES, 200),
        ("call-log.manual", SALES, 201),
        ("sms-log.list", ADMIN, 200),
        ("timeline.list", SALES, 200),
        ("voicebot-sessions.list", ADMIN, 200),
        ("directory.put-lead", ADMIN, 200),
        ("directory.get-lead", ADMIN, 200),
        ("directory.list", SALES, 200),
        ("directory.import", ADMIN, 200),
        ("directory.export", ADMIN, 200),
        ("directory.put-user", ADMIN, 200),
        ("directory.get-user", ADMIN, 200),
        ("recording-link.ok", SALES, 200),
        ("raw-events.list", ADMIN, 200),
        ("raw-events.replay", ADMIN, 202),
        ("call-record.settled", ADMIN, 200),
        ("alerts.list", ADMIN, 200),
        ("alerts.acknowledge", ADMIN, 200),
        ("analytics.dashboard", ADMIN, 200),
        ("analytics.history", ADMIN, 200),
        ("analytics.csv", ADMIN, 200),
        ("reconciliation.rebuild", ADMIN, 202),
        ("reconciliation.backfill", ADMIN, 202),
        ("exophones.list", ADMIN, 200),
        ("exophones.checks", ADMIN, 200),
        // Those that need a secret, or a DID, are in `integrations`.
        ("integrations.add-did", ROOT, 201),
        ("integrations.get", ROOT, 200),
        ("integrations.options", ADMIN, 200),
        ("directory.erase", ADMIN, 204),
    ] {
        let answer = house.send(&Event::file(name).by(who)).await;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        let lists = name.ends_with("list") || name == "directory.export";
        if lists {
            assert!(
                !answer.body["items"].as_array().unwrap().is_empty(),
                "{name}: {answer:?}"
            );
            assert_eq!(answer.body["nextCursor"], serde_json::Value::Null, "{name}");
        }
    }
}
