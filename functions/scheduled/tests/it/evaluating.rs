use domain::figures::{Bucket, Figures};
use dynamo::{Dynamo, TABLE_NAME};
use jiff::Timestamp;
use runtime_api::{Function, Launch};
use serde_json::Value;
use table::Table;

const EVENT: &str = include_str!("../../../../events/evaluate-alerts.minute.json");

fn launch(endpoint_url: &str) -> Launch {
    Launch::new(env!("CARGO_BIN_EXE_evaluate-alerts"))
        .env("AWS_ENDPOINT_URL", endpoint_url)
        .env("TABLE_NAME", TABLE_NAME)
        .env("METRICS_NAMESPACE", "exotel-test")
}

#[tokio::test]
async fn a_minutes_run_raises_an_alert_and_shows_the_figures_to_cloudwatch() {
    let dynamo = Dynamo::start().await;
    let table = Table::new(dynamo.client(), TABLE_NAME);
    let mut figures = Figures::default();
    figures.calls.connected = 10;
    figures.calls.ended = 40;
    let now = Bucket::of(Timestamp::now());
    table.put_figures(now, &figures, 0).await.unwrap();
    let function = Function::start(launch(dynamo.endpoint_url())).await.unwrap();
    for _ in 0..2 {
        let answer = function
            .invoke(EVENT.to_owned())
            .await
            .unwrap()
            .finish()
            .await
            .unwrap();
        assert_eq!(answer.body, b"null"[..], "{:?}", function.log());
    }
    let open = table.open_alerts(10, None).await.unwrap().items;
    let rules: Vec<&str> = open.iter().map(|alert| alert.rule.as_str()).collect();
    assert_eq!(rules, ["voice-connect-collapse"], "once, in two runs");
    let log = function.log();
    let metrics: Vec<Value> = log
        .iter()
        .filter_map(|line| serde_json::from_str(&line[line.find('{')?..]).ok())
        .filter(|line: &Value| line["_aws"].is_object())
        .collect();
    assert_eq!(metrics.len(), 2, "{log:?}");
    for line in metrics {
        assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Namespace"], "exotel-test");
        assert_eq!(
            (&line["VoiceConnect"], &line["OpenAlerts"]),
            (&25.0.into(), &1.0.into())
        );
        assert_eq!(line["SmsDelivery"], Value::Null, "nothing was sent");
    }
}

#[tokio::test]
async fn a_run_that_the_table_stops_is_a_failure_that_an_alarm_sees() {
    let dynamo = Dynamo::start().await;
    let endpoint_url = dynamo.endpoint_url().to_owned();
    drop(dynamo);
    let function = Function::start(launch(&endpoint_url)).await.unwrap();
    let error = function.invoke(EVENT.to_owned()).await.err();
    assert!(format!("{error:?}").contains("Retryable"), "{error:?}");
}
