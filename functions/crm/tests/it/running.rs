//! The functions themselves, as Lambda starts them: their own `main`, settings from the environment, events from the
//! Runtime API.

use std::time::Duration;

use jiff::Timestamp;
use runtime_api::{Function, Launch};
use serde_json::{Value, json};

use crate::call_records::keep_settled_record;
use crate::house::{ADMIN, Event, House, JWT_SECRET, ROOT, SALES, call, sms, talked};

const SIGNING_KEY: &str = "another secret of thirty-two characters";

fn launch(program: &str, house: &House) -> Launch {
    Launch::new(program)
        .env("AWS_ENDPOINT_URL", house.dynamo.endpoint_url())
        .env("TABLE_NAME", dynamo::TABLE_NAME)
        .env("WEBHOOK_EVENTS_QUEUE_URL", "http://127.0.0.1:9/webhook-events")
        .env("EXPORTS_BUCKET", "files")
        .env("EXPORTS_QUEUE_URL", "http://127.0.0.1:9/exports")
        .env("RECORDINGS_BASE_URL", "https://recordings.example.com")
        .env("CORS_ALLOWED_ORIGINS", "https://crm.example.com")
        .env("JWT_SECRET", JWT_SECRET)
        .env("SIGNING_KEY", SIGNING_KEY)
}

#[tokio::test]
async fn every_function_starts_and_answers_its_example_event() {
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
    keep_settled_record(&house.table).await;
    for (program, event, who, status) in [
        (
            env!("CARGO_BIN_EXE_exotel-status"),
            "exotel-status.ok",
            SALES,
            200,
        ),
        (
            env!("CARGO_BIN_EXE_my-call-number"),
            "my-call-number.ok",
            SALES,
            200,
        ),
        (env!("CARGO_BIN_EXE_call-log"), "call-log.manual", SALES, 201),
        (env!("CARGO_BIN_EXE_sms-log"), "sms-log.list", ADMIN, 200),
        (env!("CARGO_BIN_EXE_timeline"), "timeline.list", SALES, 200),
        (env!("CARGO_BIN_EXE_directory"), "directory.import", ADMIN, 200),
        (
            env!("CARGO_BIN_EXE_recording-link"),
            "recording-link.ok",
            SALES,
            200,
        ),
        (env!("CARGO_BIN_EXE_raw-events"), "raw-events.list", ADMIN, 200),
        (
            env!("CARGO_BIN_EXE_call-record"),
            "call-record.settled",
            ADMIN,
            200,
        ),
        (env!("CARGO_BIN_EXE_alerts"), "alerts.list", ADMIN, 200),
        (env!("CARGO_BIN_EXE_analytics"), "analytics.dashboard", ADMIN, 200),
        (
            env!("CARGO_BIN_EXE_reconciliation"),
            "reconciliation.rebuild",
            ADMIN,
            202,
        ),
        (env!("CARGO_BIN_EXE_exophones"), "exophones.list", ADMIN, 200),
        (
            env!("CARGO_BIN_EXE_integrations"),
            "integrations.add-did",
            ROOT,
            201,
        ),
        (env!("CARGO_BIN_EXE_integrations"), "integrations.get", ROOT, 200),
    ] {
        let function = Function::start(launch(program, &house)).await.unwrap();
        let event = Event::file(event).by_at(who, Timestamp::now());
        let answer = function
            .invoke(event.0.to_string())
            .await
            .unwrap()
            .finish()
            .await
            .unwrap();
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer["statusCode"], status, "{program}: {answer}");
        assert_eq!(
            answer["headers"]["access-control-allow-origin"],
            json!("https://crm.example.com"),
            "{program}: {answer}"
        );
        let log = function.log().join("\n");
        for number in ["9811100001", "9811100002", "9811100099", "8045550123", "12345"] {
            assert!(!log.contains(number), "{program} logged a number: {log}");
        }
        for secret in [JWT_SECRET, SIGNING_KEY] {
            assert!(!log.contains(secret), "{program} logged a secret: {log}");
        }
    }
}

#[tokio::test]
async fn a_function_without_a_setting_ends_in_init_and_names_it() {
    let house = House::new().await;
    let launch = launch(env!("CARGO_BIN_EXE_recording-link"), &house).env("RECORDINGS_BASE_URL", "");
    let function = Function::start(launch).await.unwrap();
    let ended = function.ready().await;
    assert!(
        matches!(ended, Err(runtime_api::Error::Exited { .. })),
        "{ended:?}"
    );
    // The process is gone before the last of its output is read.
    let told = async {
        let missing = "RECORDINGS_BASE_URL is not set";
        while !function.log().iter().any(|line| line.contains(missing)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(10), told).await;
    assert!(told.is_ok(), "{:?}", function.log());
}
