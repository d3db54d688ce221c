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
