//! replay-events: events that the table did not take, orphans, and an operator's word.

use domain::call::CallState;
use lambda_kit::records::SqsBatchResponse;
use serde_json::{Value, json};
use services::inbound::{Delivery, Receipt, Replay, Webhook, WebhookMessage};
use table::{EventOwner, Table};

use crate::{
    aws::{dead_end, settings},
    given::{CALL_SID, SMS_SID, World, batch, call_event, now},
    replay_events::handle,
};

fn failed(response: &SqsBatchResponse) -> Value {
    serde_json::to_value(response).unwrap()["batchItemFailures"].clone()
}

async fn dead_table() -> Table {
    Table::new(
        aws_sdk_dynamodb::Client::new(&settings(&dead_end().await)),
        dynamo::TABLE_NAME,
    )
}

fn delivery<'a>(webhook: Webhook, body: &'a str) -> Delivery<'a> {
    Delivery {
        webhook,
        locator: None,
        content_type: None,
        query: None,
        body: body.as_bytes(),
        credentials: &[],
    }
}

#[tokio::test]
async fn what_the_table_did_not_take_is_kept_and_applied_later_once_or_twice() {
    let world = World::new().await;
    let call = world.call("lead-1", 1).await;
    world.report(&call, CallState::Accepted, Some(CALL_SID)).await;
    let sms = world.sms("lead-1", 2).await;
    let inbox = world.inbox(dead_table().await);
    let by_capability = format!("CallSid={CALL_SID}&EventType=answered&Status=in-progress");
    let by_sid = format!("CallSid={CALL_SID}&EventType=terminal&Status=busy");
    let by_custom_field = format!("SmsSid={SMS_SID}&Status=sent&DetailedStatusCode=20005&CustomField={sms}");
    let locator = Webhook::Call.locator(&call.to_string());
    for delivery in [
        Delivery {
            locator,
            ..delivery(Webhook::Call, &by_capability)
        },
        delivery(Webhook::Call, &by_sid),
        delivery(Webhook::Sms, &by_custom_field),
        delivery(Webhook::Call, "CallSid=unknown&Status=busy"),
    ] {
        assert_eq!(
            inbox.receive(delivery, now()).await,
            Receipt::Kept {
                success: false,
                handled: false
            }
        );
    }
    let messages: Vec<Value> = world
        .aws
        .messages()
        .into_iter()
        .map(|message| message["body"].clone())
        .collect();
    for _ in 0..2 {
        let response = handle(&world.replay(), batch(&messages)).await;
        assert_eq!(failed(&response), json!([]));
        assert_eq!(world.state(&call).await, CallState::Busy);
        assert_eq!(
            world
                .table
                .sms(&sms)
                .await
                .unwrap()
                .unwrap()
                .progress
                .state
                .status(),
            "delivered"
        );
        let kept = async |owner: EventOwner| {
            let events = world.table.raw_events_of(&owner).await.unwrap();
            events.iter().map(|event| event.handled).collect::<Vec<_>>()
        };
        assert_eq!(
            kept(EventOwner::Call(call.clone())).await,
            [Some(true), Some(true)]
        );
        assert_eq!(kept(EventOwner::Sms(sms.clone())).await, [Some(true)]);
        assert_eq!(kept(EventOwner::Sid("unknown".to_owned())).await, [Some(false)]);
    }
}

#[tokio::test]
async fn an_operators_replay_changes_nothing_that_is_right_and_repairs_what_is_not() {
    let world = World::new().await;
    let call = world.call("lead-1", 1).await;
    let event = call_event(
        EventOwner::Call(call.clone()),
        1,
        &format!("CallSid={CALL_SID}&Status=completed&ConversationDuration=9"),
    );
    world.table.put_raw_event(&event).await.unwrap();
    let message = serde_json::to_value(WebhookMessage::replay(&event.id(), None)).unwrap();
    let mut rows = Vec::new();
    for _ in 0..3 {
        let response = handle(&world.replay(), batch(&[message.clone(), message.clone()])).await;
        assert_eq!(failed(&response), json!([]));
        rows.push(world.table.call(&call).await.unwrap());
    }
    assert_eq!(world.state(&call).await, CallState::Completed);
    assert!(rows.iter().all(|row| row == &rows[0]));
    assert_eq!(
        world.table.raw_events_of(&event.owner).await.unwrap()[0].handled,
        Some(true)
    );
}

#[tokio::test]
async fn an_orphan_moves_to_the_row_that_it_is_about() {
    let world = World::new().await;
    let call = world.call("lead-1", 1).await;
    let orphan = call_event(
        EventOwner::Sid(CALL_SID.to_owned()),
        1,
        &format!("CallSid={CALL_SID}&Status=busy"),
    );
    world.table.put_raw_event(&orphan).await.unwrap();
    let blind = serde_json::to_value(WebhookMessage::replay(&orphan.id(), None)).unwrap();
    assert_eq!(
        failed(&handle(&world.replay(), batch(std::slice::from_ref(&blind))).await),
        json!([])
    );
    assert_eq!(
        world.table.raw_events_of(&orphan.owner).await.unwrap().len(),
        1,
        "no row has the sid yet"
    );
    let locator = Webhook::Call.locator(&call.to_string()).unwrap();
    let told = serde_json::to_value(WebhookMessage::replay(&orphan.id(), Some(&locator))).unwrap();
    for _ in 0..2 {
        assert_eq!(
            failed(&handle(&world.replay(), batch(&[told.clone(), blind.clone()])).await),
            json!([])
        );
        assert_eq!(world.state(&call).await, CallState::Busy);
        assert_eq!(world.table.raw_events_of(&orphan.owner).await.unwrap(), []);
        let moved = world
            .table
            .raw_events_of(&EventOwner::Call(call.clone()))
            .await
            .unwrap();
        assert_eq!(
            (moved.len(), moved[0].received_at, moved[0].handled),
            (1, orphan.received_at, Some(true))
        );
    }
}

#[tokio::test]
async fn an_orphan_of_another_call_than_told_stays_an_orphan() {
    let world = World::new().await;
    let call = world.call("lead-1", 1).await;
    world.report(&call, CallState::Accepted, Some("another")).await;
    let orphan = call_event(
        EventOwner::Sid(CALL_SID.to_owned()),
        1,
        &format!("CallSid={CALL_SID}&Status=busy"),
    );
    world.table.put_raw_event(&orphan).await.unwrap();
    let locator = Webhook::Call.locator(&call.to_string()).unwrap();
    let told = serde_json::to_value(WebhookMessage::replay(&orphan.id(), Some(&locator))).unwrap();
    assert_eq!(failed(&handle(&world.replay(), batch(&[told])).await), json!([]));
    assert_eq!(world.state(&call).await, CallState::Accepted);
    assert_eq!(
        world.table.raw_events_of(&orphan.owner).await.unwrap()[0].handled,
        Some(false)
    );
}

#[tokio::test]
async fn a_message_that_says_nothing_fails_alone_and_an_event_that_is_gone_is_done() {
    let world = World::new().await;
    let call = world.call("lead-1", 1).await;
    let event = call_event(
        EventOwner::Call(call.clone()),
        1,
        &format!("CallSid={CALL_SID}&Status=busy"),
    );
    world.table.put_raw_event(&event).await.unwrap();
    let gone = call_event(EventOwner::Call(call.clone()), 2, "").id();
    let messages = [
        json!(""),
        json!("{"),
        json!({"type": "place_call.v1"}),
        json!({"type": "replay_event.v1", "id": "?"}),
        json!({"type": "apply_event.v1", "webhook": "fax", "hash": "h", "received_at": "2026-11-21T04:00:00Z", "body": ""}),
        json!({"type": "apply_event.v1", "webhook": "call", "locator": "x", "hash": "h", "received_at": "2026-11-21T04:00:00Z", "body": ""}),
        serde_json::to_value(WebhookMessage::replay(&gone, None)).unwrap(),
        serde_json::to_value(WebhookMessage::replay(&event.id(), None)).unwrap(),
    ];
    let response = handle(&world.replay(), batch(&messages)).await;
    let ids: Vec<Value> = (0..6)
        .map(|n| json!({"itemIdentifier": format!("m{n}")}))
        .collect();
    assert_eq!(failed(&response), json!(ids));
    assert_eq!(world.state(&call).await, CallState::Busy);
}

#[tokio::test]
async fn while_the_table_is_down_messages_stay_in_the_queue() {
    let world = World::new().await;
    let call = world.call("lead-1", 1).await;
    let id = call_event(EventOwner::Call(call), 1, "").id();
    let replay = Replay::new(dead_table().await);
    let messages = [
        serde_json::to_value(WebhookMessage::replay(&id, None)).unwrap(),
        json!({"type": "apply_event.v1", "webhook": "call", "hash": "h", "received_at": "2026-11-21T04:00:00Z", "body": "CallSid=a&Status=busy"}),
    ];
    let response = handle(&replay, batch(&messages)).await;
    assert_eq!(
        failed(&response),
        json!([{"itemIdentifier": "m0"}, {"itemIdentifier": "m1"}])
    );
}

#[tokio::test]
async fn the_example_event_is_a_batch_that_is_done() {
    let world = World::new().await;
    let event = include_str!("../../../../events/replay-events.batch.json");
    let response = handle(&world.replay(), serde_json::from_str(event).unwrap()).await;
    assert_eq!(failed(&response), json!([]));
}
