//! The table fails, the queue fails, both fail.

use domain::call::CallState;
use dynamo::TABLE_NAME;
use exotel::callback::{BodyForm, CallStatusCallback};
use serde_json::json;
use services::inbound::{Inbox, Webhook, WebhookQueue};
use table::{EventOwner, Table};
use webhooks::Door;

use crate::{
    aws::{dead_end, settings},
    given::{CALL_SID, Post, TOKEN, World, post, secrets},
    logs,
};

fn queued() -> (u16, serde_json::Value) {
    (200, json!({"success": false, "handled": false}))
}

async fn dead_table() -> Table {
    Table::new(
        aws_sdk_dynamodb::Client::new(&settings(&dead_end().await)),
        TABLE_NAME,
    )
}

#[tokio::test]
async fn what_the_table_does_not_take_waits_in_the_queue_whole_and_clean() {
    let world = World::new().await;
    let call = world.call(1, CallState::InFlight, Some(CALL_SID)).await;
    let inbox = Inbox::new(
        dead_table().await,
        WebhookQueue::new(world.aws.settings(), world.aws.queue_url()),
    );
    let door = Door::new(Webhook::Call, secrets(&[]), inbox);
    let body = CallStatusCallback::completed(CALL_SID.parse().unwrap()).encode(BodyForm::Multipart);
    let binary = vec![0xff, 0xfe, 0, b'a'];
    for (path, content_type, body) in [
        (
            world.call_path(&call),
            body.content_type.as_str(),
            body.body.clone(),
        ),
        (
            format!("/webhooks/exotel/call?token={TOKEN}&a=1"),
            body.content_type.as_str(),
            body.body.clone(),
        ),
        (world.call_path(&call), "application/json", binary.clone()),
    ] {
        assert_eq!(post(&door, &Post::new(path, content_type, body)).await, queued());
    }
    let messages = world.aws.messages();
    assert_eq!(messages.len(), 3);
    let text = serde_json::to_string(&messages).unwrap();
    assert!(!text.contains("hunter"), "{text}");
    let carried = |n: usize| &messages[n]["body"];
    assert_eq!(carried(0)["type"], "apply_event.v1");
    assert_eq!(carried(0)["locator"], call.to_string());
    assert_eq!(carried(0)["body"].as_str().unwrap().as_bytes(), body.body);
    assert_eq!(
        (&carried(1)["locator"], &carried(1)["query"]),
        (&json!(null), &json!("a=1"))
    );
    assert_eq!(carried(2)["body_base64"], "//4AYQ==");
    assert!(logs::has("the event waits in the queue"));
}

#[tokio::test]
async fn when_both_are_down_exotel_is_asked_to_send_again() {
    let world = World::new().await;
    let call = world.call(1, CallState::InFlight, Some(CALL_SID)).await;
    let nowhere = dead_end().await;
    let inbox = Inbox::connect(
        Webhook::Call,
        &settings(&nowhere),
        TABLE_NAME,
        &format!("{nowhere}/0/webhook-events"),
    );
    let door = Door::new(Webhook::Call, secrets(&[]), inbox);
    for path in [
        world.call_path(&call),
        format!("/api/exotel/call-status?token={TOKEN}"),
    ] {
        let body = format!("CallSid={CALL_SID}&Status=busy");
        let (status, problem) =
            post(&door, &Post::new(path, "application/x-www-form-urlencoded", body)).await;
        assert_eq!((status, problem["code"].as_str()), (503, Some("not_kept")));
    }
    assert!(logs::alarms(
        "webhook.not_kept",
        "Exotel has to send the event again"
    ));
}

#[tokio::test]
async fn a_queue_that_is_down_is_no_matter_while_the_table_works() {
    let world = World::new().await;
    world.aws.set_down(true);
    let call = world.call(1, CallState::InFlight, Some(CALL_SID)).await;
    let request = Post::new(
        world.call_path(&call),
        "application/x-www-form-urlencoded",
        format!("CallSid={CALL_SID}&Status=busy"),
    );
    assert_eq!(
        post(&world.door(Webhook::Call), &request).await,
        crate::given::kept(true)
    );
    assert_eq!(
        world
            .table
            .raw_events_of(&EventOwner::Call(call))
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn an_event_that_is_kept_and_not_applied_is_applied_from_the_queue_or_by_hand() {
    let world = World::new().await;
    let call = world.call(1, CallState::InFlight, Some(CALL_SID)).await;
    let half = Table::new(aws_sdk_dynamodb::Client::new(&world.aws.settings()), TABLE_NAME);
    let queue = WebhookQueue::new(world.aws.settings(), world.aws.queue_url());
    let door = Door::new(Webhook::Call, secrets(&[]), Inbox::new(half, queue));
    let body = format!("CallSid={CALL_SID}&Status=busy");
    let request = Post::new(world.call_path(&call), "application/x-www-form-urlencoded", body);
    assert_eq!(post(&door, &request).await, queued());
    assert_eq!(world.aws.messages().len(), 1);
    world.aws.set_down(true);
    assert_eq!(
        post(&door, &request).await,
        queued(),
        "kept in the table, so no 503"
    );
    assert!(logs::alarms("webhook.not_kept", "must be replayed by hand"));
}
