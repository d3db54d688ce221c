use domain::figures::{Bucket, MessageSummary};
use dynamo::{Dynamo, TABLE_NAME};
use jiff::Timestamp;
use runtime_api::{Function, Launch};
use serde_json::json;
use table::Table;

const EVENT: &str = include_str!("../../../../events/roll-up.minute.json");

#[tokio::test]
async fn a_minutes_run_folds_what_changed() {
    let dynamo = Dynamo::start().await;
    let table = Table::new(dynamo.client(), TABLE_NAME);
    let at: Timestamp = "2026-11-20T20:10:00Z".parse().unwrap();
    let call = serde_json::from_value(json!({
        "sid": "abc", "at": at, "direction": "outbound", "customer": "+919811100001", "agent": {"user": "sales-1"},
        "state": "completed", "outcome": "connected", "duration_secs": 60, "talk_secs": 41, "price": "1.40",
    }))
    .unwrap();
    table.put_call_summary(&call, 1).await.unwrap();
    let message: MessageSummary = serde_json::from_value(json!({
        "id": "sms_01j00000000000000000000000", "at": at, "state": "delivered", "units": 1, "price": "0.2",
    }))
    .unwrap();
    table.put_message_summary(&message, 1).await.unwrap();
    table.mark_dirty(Bucket::of(at), "abc/1").await.unwrap();
    let launch = Launch::new(env!("CARGO_BIN_EXE_roll-up"))
        .env("AWS_ENDPOINT_URL", dynamo.endpoint_url())
        .env("DISPLAY_TIME_ZONE", "Asia/Kolkata")
        .env("TABLE_NAME", TABLE_NAME);
    let function = Function::start(launch).await.unwrap();
    let answer = function
        .invoke(EVENT.to_owned())
        .await
        .unwrap()
        .finish()
        .await
        .unwrap();
    assert_eq!(answer.body, b"null"[..], "{:?}", function.log());
    let quarter = table.figures(Bucket::of(at)).await.unwrap().value;
    assert_eq!(
        (
            quarter.calls.connected,
            quarter.calls.price,
            quarter.messages.delivered
        ),
        (1, 14_000, 1)
    );
    let day = table
        .day_figures("Asia/Kolkata", "2026-11-21".parse().unwrap())
        .await
        .unwrap()
        .value;
    assert_eq!(day.figures, quarter, "it is past midnight there");
    assert_eq!(table.count_dirty().await.unwrap(), 0);
    assert!(!function.log().join("\n").contains("98111"));
}
