//! One word per function everywhere: bin, resource, log group, example event.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use cargo_metadata::TargetKind;

use crate::{camel, folder, packages, root, target, template, translated};

/// The bins of the packages under functions/.
pub(crate) fn bins() -> BTreeSet<String> {
    packages()
        .iter()
        .filter(|package| folder(package).starts_with("functions/"))
        .flat_map(|package| &package.targets)
        .filter(|target| target.kind.contains(&TargetKind::Bin))
        .map(|target| target.name.clone())
        .collect()
}

#[test]
fn every_bin_is_one_function_and_the_reverse() {
    let functions: Vec<_> = template().functions().unwrap();
    let named: BTreeSet<_> = functions.iter().map(|function| function.bin.clone()).collect();
    assert_eq!(named.len(), functions.len(), "two functions run the same bin");
    assert_eq!(named, bins(), "left: template.yaml; right: functions/*/src/bin");
    for function in functions {
        assert_eq!(function.logical_id, format!("{}Function", camel(&function.bin)));
    }
}

#[test]
fn every_function_is_built_by_cargo_lambda_and_keeps_its_logs_for_a_while() {
    let template = template();
    let groups: BTreeMap<_, _> = template.of_type("AWS::Logs::LogGroup").collect();
    for function in template.functions().unwrap() {
        let resource = &template.json()["Resources"][&function.logical_id];
        assert_eq!(
            resource["Metadata"]["BuildMethod"], "rust-cargolambda",
            "{}",
            function.logical_id
        );
        assert!(
            resource["Properties"]["Description"].is_string(),
            "{} has no description",
            function.logical_id
        );
        let group = target(&resource["Properties"]["LoggingConfig"]["LogGroup"])
            .unwrap_or_else(|| panic!("{} logs into no group of its own", function.logical_id));
        assert_eq!(group, format!("{}Logs", camel(&function.bin)));
        let name = format!("/aws/lambda/${{AWS::StackName}}-{}", function.bin);
        assert_eq!(groups[group]["LogGroupName"]["Fn::Sub"], name.as_str());
    }
    for (id, group) in groups {
        assert_eq!(
            target(&group["RetentionInDays"]),
            Some("LogRetentionDays"),
            "{id} keeps its logs for ever"
        );
    }
}

#[test]
fn every_function_has_an_example_event_and_every_event_a_function() {
    let bins = bins();
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(root().join("events")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let parts: Vec<&str> = name.split('.').collect();
        let [bin, _case, "json"] = parts[..] else {
            panic!("events/{name} is not <bin>.<case>.json")
        };
        assert!(bins.contains(bin), "events/{name}: there is no bin {bin}");
        let text = fs::read_to_string(&path).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|err| panic!("events/{name}: {err}"));
        seen.insert(bin.to_owned());
    }
    let missing: Vec<_> = bins.difference(&seen).collect();
    assert!(missing.is_empty(), "no event in events/ for {missing:?}");
}

/// Where a resource of a type has its name, which is its own in the account and the region; None where it has none, or
/// one that counts within another resource alone.
fn place_of_name(kind: &str) -> Option<&'static str> {
    match kind {
        "AWS::ApiGatewayV2::Api" | "AWS::Events::EventBus" | "AWS::Events::Rule" => Some("/Name"),
        "AWS::Scheduler::Schedule" | "AWS::SecretsManager::Secret" => Some("/Name"),
        "AWS::CloudWatch::Alarm" => Some("/AlarmName"),
        "AWS::CloudWatch::Dashboard" => Some("/DashboardName"),
        "AWS::DynamoDB::Table" => Some("/TableName"),
        "AWS::IAM::Role" => Some("/RoleName"),
        "AWS::Lambda::Function" => Some("/FunctionName"),
        "AWS::Logs::LogGroup" => Some("/LogGroupName"),
        "AWS::S3::Bucket" => Some("/BucketName"),
        "AWS::SNS::Topic" => Some("/TopicName"),
        "AWS::SQS::Queue" => Some("/QueueName"),
        "AWS::XRay::SamplingRule" => Some("/SamplingRule/RuleName"),
        "AWS::ApiGatewayV2::Integration" | "AWS::ApiGatewayV2::Route" | "AWS::ApiGatewayV2::Stage" => None,
        "AWS::Lambda::EventInvokeConfig" | "AWS::Lambda::EventSourceMapping" => None,
        "AWS::Lambda::Permission" | "AWS::Lambda::Url" | "AWS::Logs::MetricFilter" => None,
        "AWS::S3::BucketPolicy" | "AWS::SNS::TopicPolicy" | "AWS::SQS::QueuePolicy" => None,
        "AWS::SNS::Subscription" => None,
        other => panic!("{other} is new, say here where its name stands"),
    }
}

/// Two stacks live in one account and region. SAM gives names, too, so this reads what it makes of the template.
#[test]
fn every_name_that_is_given_has_the_stacks_in_it() {
    let translated = translated(&[]);
    let mut given = BTreeSet::new();
    for (id, resource) in translated["Resources"].as_object().unwrap() {
        let kind = resource["Type"].as_str().unwrap();
        let Some(name) = place_of_name(kind).and_then(|place| resource["Properties"].pointer(place)) else {
            continue;
        };
        // The stack's id holds a UUID, for names that have no room for the stack's.
        let text = name.to_string();
        assert!(
            text.contains("AWS::StackName") || text.contains("AWS::StackId"),
            "{id} is {name} in every stack, so there can be no second one"
        );
        given.insert(kind.to_owned());
    }
    for kind in [
        "AWS::Logs::LogGroup",
        "AWS::SQS::Queue",
        "AWS::XRay::SamplingRule",
    ] {
        assert!(given.contains(kind), "no name of {kind} is read");
    }
}
