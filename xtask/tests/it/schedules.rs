//! What runs by the clock runs once for each tick: the next tick is its repetition.

use serde_json::json;

use crate::{target, template, translated};

#[test]
fn a_run_that_fails_is_not_repeated_by_lambda_or_the_scheduler() {
    let template = template();
    let mut runs = 0;
    for (id, properties) in template.of_type("AWS::Serverless::Function") {
        let events = properties["Events"].as_object().into_iter().flatten();
        for (_, event) in events.filter(|(_, event)| event["Type"] == "ScheduleV2") {
            let retries = &event["Properties"]["RetryPolicy"]["MaximumRetryAttempts"];
            assert_eq!(*retries, 0, "{id}: the scheduler asks again");
            let lambda = json!({"MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 0});
            assert_eq!(
                properties["EventInvokeConfig"], lambda,
                "{id}: Lambda runs it again"
            );
            runs += 1;
        }
    }
    assert_eq!(runs, 5);
}

#[test]
fn sam_makes_that_of_it_and_nothing_more() {
    let translated = translated(&[]);
    let resources = translated["Resources"].as_object().unwrap();
    for schedule in resources
        .values()
        .filter(|resource| resource["Type"] == "AWS::Scheduler::Schedule")
    {
        let function = target(&schedule["Properties"]["Target"]["Arn"]).unwrap();
        let config = &resources[&format!("{function}EventInvokeConfig")]["Properties"];
        let expected = json!({
            "DestinationConfig": {},
            "FunctionName": {"Ref": function},
            "MaximumEventAgeInSeconds": 60,
            "MaximumRetryAttempts": 0,
            "Qualifier": "$LATEST",
        });
        assert_eq!(*config, expected, "{function}");
    }
}

/// A minute without a run has no data, and so is none of an alarm's minutes in a row.
#[test]
fn alarms_on_the_poll_of_exophones_go_off_when_it_is_rarer_than_each_minute() {
    let template = template();
    let mut alarms = 0;
    for (id, alarm) in template.of_type("AWS::CloudWatch::Alarm") {
        let metric = alarm["MetricName"].as_str().unwrap();
        let of_the_poll = ["ExophonesAffected", "HeartbeatSilence"].contains(&metric)
            || target(&alarm["Dimensions"][0]["Value"]) == Some("PollHeartbeatFunction");
        if of_the_poll {
            let choice = &alarm["EvaluationPeriods"]["Fn::If"];
            assert_eq!(choice[0], "PollHeartbeatEachMinute", "{id}");
            assert_eq!(choice[2], 1, "{id}");
            alarms += 1;
        }
    }
    assert_eq!(alarms, 3);
}

/// The scheduler hands a run over and hears nothing of it: Lambda tries a throttled one for its minute, and leaves it out.
/// What runs each minute finds concurrency, or does not, all at once.
#[test]
fn scheduled_runs_that_find_no_concurrency_are_an_alarm() {
    let template = template();
    for function in ["EvaluateAlertsFunction", "PollCallsFunction"] {
        let is_watched = template.of_type("AWS::CloudWatch::Alarm").any(|(_, alarm)| {
            alarm["MetricName"] == "Throttles" && target(&alarm["Dimensions"][0]["Value"]) == Some(function)
        });
        assert!(is_watched, "{function}");
    }
}
