//! The functions themselves, as Lambda starts them.

use domain::{call::CallState, sms::SmsState};
use dynamo::TABLE_NAME;
use exotel::callback::{BodyForm, CallStatusCallback, SmsStatusCallback};
use runtime_api::{Function, Launch};
use serde_json::{Value, json};

use crate::{
    aws::dead_end,
    given::{API_KEY, API_TOKEN, CALL_SID, Post, SIGNING_KEY, SMS_SID, TOKEN, World},
};

fn launch(program: &str, endpoint_url: &str) -> Launch {
    Launch::new(program)
        .env("AWS_ENDPOINT_URL", endpoint_url)
        .env("TABLE_NAME", TABLE_NAME)
        .env(
            "WEBHOOK_EVENTS_QUEUE_URL",
            format!("{endpoint_url}/000000000000/webhook-events"),
        )
        .env("EXOTEL_WEBHOOK_TOKEN", TOKEN)
        .env("EXOTEL_API_KEY", API_KEY)
        .env("EXOTEL_API_TOKEN", API_TOKEN)
        .env("SIGNING_KEY", SIGNING_KEY)
}

/// Status and body of the answer that API Gateway would give.
async fn invoke(function: &Function, post: &Post) -> (Value, Value) {
    let answer = function
        .invoke(post.event())
        .await
        .unwrap()
        .finish()
        .await
        .unwrap();
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    let body = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    (answer["statusCode"].clone(), body)
}

/// The log holds what happened, and nothing that lets anybody in.
fn assert_log(function: &Function, says: &str, capability: &str) {
    let log = function.log().join("\n");
    assert!(log.contains(says), "{log}");
    for secret in [
        TOKEN,
        API_KEY,
        API_TOKEN,
        SIGNING_KEY,
        capability,
        "9811100001",
        "9811100002",
    ] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[tokio::test]
async fn both_functions_start_and_resolve_their_rows() {
    let world = World::new().await;
    let call = world.call(1, CallState::InFlight, Some(CALL_SID)).await;
    let sms = world.sms(1, SMS_SID).await;
    let url = world.dynamo.endpoint_url();

    let calls = Function::start(launch(env!("CARGO_BIN_EXE_webhook-call-status"), url))
        .await
        .unwrap();
    let body = CallStatusCallback::completed(CALL_SID.parse().unwrap()).encode(BodyForm::Multipart);
    let path = world.call_path(&call);
    let handled = json!({"success": true, "handled": true});
    assert_eq!(
        invoke(&calls, &Post::new(&path, &body.content_type, body.body)).await,
        (json!(200), handled.clone())
    );
    assert_eq!(world.progress(&call).await.state, CallState::Completed);
    let refused = invoke(
        &calls,
        &Post::new(
            "/api/exotel/call-status?token=wrong-token-here",
            "text/plain",
            "a",
        ),
    )
    .await;
    assert_eq!(
        (refused.0, &refused.1["code"]),
        (json!(403), &json!("invalid_webhook_url"))
    );
    assert_log(
        &calls,
        "kept an event of a call",
        path.rsplit('/').next().unwrap(),
    );

    let messages = Function::start(launch(env!("CARGO_BIN_EXE_webhook-sms-status"), url))
        .await
        .unwrap();
    let body = SmsStatusCallback::delivered(SMS_SID.parse().unwrap()).encode(BodyForm::Urlencoded);
    let path = world.sms_path(&sms);
    assert_eq!(
        invoke(&messages, &Post::new(&path, &body.content_type, body.body)).await,
        (json!(200), handled)
    );
    let row = world.table.sms(&sms).await.unwrap().unwrap();
    assert_eq!(row.progress.state, SmsState::Delivered);
    assert_log(
        &messages,
        "kept an event of an SMS",
        path.rsplit('/').next().unwrap(),
    );
}

#[tokio::test]
async fn a_function_that_reaches_nothing_says_503_and_lives_on() {
    let world = World::new().await;
    let call = world.call(1, CallState::InFlight, Some(CALL_SID)).await;
    let program = env!("CARGO_BIN_EXE_webhook-call-status");
    let function = Function::start(launch(program, &dead_end().await)).await.unwrap();
    let path = world.call_path(&call);
    for _ in 0..2 {
        let body = format!("CallSid={CALL_SID}&Status=busy&To=09811100002");
        let answer = invoke(
            &function,
            &Post::new(&path, "application/x-www-form-urlencoded", body),
        )
        .await;
        assert_eq!((answer.0, &answer.1["code"]), (json!(503), &json!("not_kept")));
    }
    assert_log(
        &function,
        "Exotel has to send the event again",
        path.rsplit('/').next().unwrap(),
    );
}

#[tokio::test]
async fn a_function_without_its_signing_key_does_not_start_and_says_why() {
    let program = env!("CARGO_BIN_EXE_webhook-call-status");
    let launch = launch(program, &dead_end().await).env("SIGNING_KEY", "");
    let function = Function::start(launch).await.unwrap();
    assert!(function.ready().await.is_err());
    assert!(function.log().join("\n").contains("SIGNING_KEY is not set"));
}

/// The status that API Gateway would give to Exotel, and no place to go to.
async fn steered(function: &Function, post: &Post) -> Value {
    let answer = function
        .invoke(post.event())
        .await
        .unwrap()
        .finish()
        .await
        .unwrap();
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert!(answer["headers"]["location"].is_null(), "{answer}");
    assert_eq!(answer["body"].as_str().unwrap_or_default(), "");
    answer["statusCode"].clone()
}

#[tokio::test]
async fn a_flow_is_steered_by_the_setting_and_by_its_url() {
    let world = World::new().await;
    let launch = launch(
        env!("CARGO_BIN_EXE_webhook-passthru"),
        world.dynamo.endpoint_url(),
    )
    .env("EXOTEL_PASSTHRU_RULE", "known-lead");
    let function = Function::start(launch).await.unwrap();
    for (rule, from, status) in [
        ("", "09811100002", 200),
        ("", "09811100001", 302),
        ("&rule=!known-lead", "09811100002", 302),
    ] {
        let path =
            format!("/webhooks/exotel/passthru?token={TOKEN}{rule}&CallSid={CALL_SID}&CallFrom={from}");
        assert_eq!(
            steered(&function, &Post::get(path)).await,
            json!(status),
            "{rule} {from}"
        );
    }
    assert_log(&function, "kept an event of a sid", "no capability is used");
}

#[tokio::test]
async fn a_rule_that_cannot_be_read_fails_the_start_and_says_which_condition() {
    let launch = launch(env!("CARGO_BIN_EXE_webhook-passthru"), &dead_end().await)
        .env("EXOTEL_PASSTHRU_RULE", "known-lead,digits=one");
    let function = Function::start(launch).await.unwrap();
    assert!(function.ready().await.is_err());
    let log = function.log().join("\n");
    assert!(
        log.contains("EXOTEL_PASSTHRU_RULE") && log.contains("condition 2"),
        "{log}"
    );
}

#[tokio::test]
async fn the_heartbeats_function_starts_and_takes_its_example_event() {
    let world = World::new().await;
    let function = Function::start(launch(
        env!("CARGO_BIN_EXE_webhook-heartbeat"),
        world.dynamo.endpoint_url(),
    ))
    .await
    .unwrap();
    for (event, affected) in [
        (
            include_str!("../../../../events/webhook-heartbeat.warning.json"),
            1,
        ),
        (include_str!("../../../../events/webhook-heartbeat.ok.json"), 0),
    ] {
        let event = event.replace("WEBHOOK_TOKEN", TOKEN);
        let answer = function.invoke(event).await.unwrap().finish().await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer["statusCode"], 200, "{answer}");
        assert_eq!(world.table.exophone_health().await.unwrap().affected(), affected);
    }
    assert_log(&function, "took in a push", "8045550100");
}
