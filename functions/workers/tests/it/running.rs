//! The functions themselves, as Lambda starts them.

use domain::call::CallState;
use dynamo::TABLE_NAME;
use runtime_api::{Function, Launch};
use serde_json::{Value, json};

use crate::{
    aws::dead_end,
    given::{CALL_SID, World},
};

fn launch(program: &str, endpoint_url: &str) -> Launch {
    Launch::new(program)
        .env("AWS_ENDPOINT_URL", endpoint_url)
        .env("TABLE_NAME", TABLE_NAME)
        .env("EVENT_BUS_NAME", "bus")
        .env(
            "WEBHOOK_EVENTS_QUEUE_URL",
            format!("{endpoint_url}/000000000000/webhook-events"),
        )
}

async fn invoke(function: &Function, event: &Value) -> Value {
    let answer = function
        .invoke(event.to_string())
        .await
        .unwrap()
        .finish()
        .await
        .unwrap();
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn replay_events_applies_what_the_queue_holds() {
    let world = World::new().await;
    let call = world.call("lead-1", 1).await;
    let function = Function::start(launch(
        env!("CARGO_BIN_EXE_replay-events"),
        world.dynamo.endpoint_url(),
    ))
    .await
    .unwrap();
    let body = json!({"type": "apply_event.v1", "webhook": "call", "locator": call.to_string(), "hash": "h",
        "received_at": "2026-11-21T04:00:00Z", "body": format!("CallSid={CALL_SID}&Status=busy")});
    let record = |id: &str, body: String| json!({"messageId": id, "body": body});
    let event = json!({"Records": [record("good", body.to_string()), record("bad", "{".to_owned())]});
    assert_eq!(
        invoke(&function, &event).await,
        json!({"batchItemFailures": [{"itemIdentifier": "bad"}]})
    );
    assert_eq!(world.state(&call).await, CallState::Busy);
}

#[tokio::test]
async fn project_events_asks_for_the_batch_again_when_it_reaches_nothing() {
    let event: Value =
        serde_json::from_str(include_str!("../../../../events/project-events.batch.json")).unwrap();
    let first = &event["Records"][0]["dynamodb"]["SequenceNumber"];
    let function = Function::start(launch(env!("CARGO_BIN_EXE_project-events"), &dead_end().await))
        .await
        .unwrap();
    assert_eq!(
        invoke(&function, &event).await,
        json!({"batchItemFailures": [{"itemIdentifier": first}]})
    );
    assert!(!function.log().join("\n").contains("9811100002"));
}
