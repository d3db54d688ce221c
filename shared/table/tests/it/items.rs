//! How every kind of item looks: whatever reads the table later reads these.

use domain::{
    alert::UNCONFIRMED_INTENTS,
    call::{Call, CallOrigin, CallReport, CallSource, CallState, LegStatus, Outcome, ReportSource},
    sms::{SmsReport, SmsState},
};
use table::{EventOwner, RawEvent, Record};

use crate::alerts::raised;
use crate::given::{at, call, lead, raw_event, sms, table, user};

#[tokio::test]
async fn every_kind_of_item_looks_like_this() {
    let (dynamo, table) = table().await;
    let lead = lead("lead-1");
    table.put_lead(&lead).await.unwrap();
    table.put_user(&user()).await.unwrap();
    let placed = call(&lead.id, 1, CallState::InFlight);
    table.create_call(&placed).await.unwrap();
    table.open_call(&placed.locator).await.unwrap();
    let report = CallReport {
        sid: Some("abc123".parse().unwrap()),
        talk_secs: Some(41),
        lead_leg: Some(LegStatus::Completed),
        recording_url: Some("https://recordings.exotel.com/exotelrecordings/a/b.mp3".to_owned()),
        answered_at: Some(at(9_000)),
        ended_at: Some(at(50_000)),
        price: Some("1.40".to_owned()),
        ..CallReport::new(ReportSource::Callback, Some(CallState::Completed))
    };
    table.record_call_report(&placed.locator, &report).await.unwrap();
    let logged = Call {
        notes: Some("Asked for a visit".to_owned()),
        origin: CallOrigin::Logged {
            source: CallSource::Manual,
            outcome: Outcome::CallbackRequested,
            duration_secs: Some(30),
        },
        ..call(&lead.id, 2, CallState::Waiting)
    };
    table.log_call(&logged).await.unwrap();
    let message = sms(&lead.id, 3, SmsState::Waiting);
    table.create_sms(&message).await.unwrap();
    table.open_sms(&message.locator).await.unwrap();
    let report = SmsReport {
        sid: Some("def456".parse().unwrap()),
        detailed_status: Some("EXPIRED".to_owned()),
        units: Some(2),
        price: Some("0.30".to_owned()),
        ..SmsReport::new(ReportSource::Callback, Some(SmsState::Failed))
    };
    table.record_sms_report(&message.locator, &report).await.unwrap();
    let event = raw_event(&placed, 1);
    table.put_raw_event(&event).await.unwrap();
    table.index_raw_event(&event).await.unwrap();
    let unknown = RawEvent {
        owner: EventOwner::Sid("zzz".to_owned()),
        body: vec![0xff, 0x00],
        ..raw_event(&placed, 2)
    };
    table.put_raw_event(&unknown).await.unwrap();
    let alert = raised(&UNCONFIRMED_INTENTS, "account", at(4), 7);
    table.raise_alert(&alert).await.unwrap();

    let health = crate::health::health(2);
    table
        .change_exophone_health(|kept| *kept = health.clone())
        .await
        .unwrap();
    table.put_health_check(&crate::health::push(3_000)).await.unwrap();
    table.add_did(&crate::dids::did(1)).await.unwrap();

    let session = crate::voice_sessions::offered(5);
    table.offer_voice_session(&session).await.unwrap();
    crate::voice_sessions::live(&table, &session.id).await;
    table.place_voice_session(&lead.id, &session.id).await.unwrap();

    let answer = dynamo
        .client()
        .scan()
        .table_name(dynamo::TABLE_NAME)
        .send()
        .await
        .unwrap();
    let mut items = Vec::new();
    for item in answer.items.unwrap() {
        Record::from_item(item.clone().into()).unwrap();
        items.push(serde_json::to_value(serde_dynamo::Item::from(item)).unwrap());
    }
    items.sort_by_key(|item| format!("{} {}", item["PK"], item["SK"]));
    insta::assert_json_snapshot!(items);
}

#[test]
fn an_item_of_ours_with_another_form_is_corrupt_and_one_of_others_is_other() {
    let item = |json: serde_json::Value| -> serde_dynamo::Item { serde_dynamo::to_item(json).unwrap() };
    for kind in ["lead", "user", "call", "sms", "raw_event"] {
        let wrong = serde_json::json!({"PK": "LEAD#x", "SK": "CALL#y", "entity_type": kind});
        let read = Record::from_item(item(wrong));
        assert!(
            matches!(read, Err(table::TableError::Corrupt { .. })),
            "{kind}: {read:?}"
        );
        let keyless = Record::from_item(item(serde_json::json!({"entity_type": kind})));
        assert!(keyless.is_err());
    }
    let other = serde_json::json!({"PK": "LIMIT#voice", "SK": "LIMIT", "entity_type": "limit"});
    assert!(matches!(Record::from_item(item(other)), Ok(Record::Other { .. })));
}
