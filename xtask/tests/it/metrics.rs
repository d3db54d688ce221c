//! The dashboard and the alarms look at metrics that somebody writes.

use std::{collections::BTreeSet, fs, path::Path};

use cargo_metadata::TargetKind;
use lambda_kit::metrics::Metric;
use serde_json::Value;

use crate::{camel, folder, packages, root, template};

/// The metrics of our own namespace: those of the code, and those that a filter makes of log lines.
fn ours() -> BTreeSet<String> {
    let filters = template();
    let filters = filters.of_type("AWS::Logs::MetricFilter").map(|(_, filter)| {
        filter["MetricTransformations"][0]["MetricName"]
            .as_str()
            .unwrap()
            .to_owned()
    });
    Metric::ALL
        .iter()
        .map(|metric| metric.name().to_owned())
        .chain(filters)
        .collect()
}

fn widgets() -> Vec<Value> {
    let template = template();
    let (_, dashboard) = template.of_type("AWS::CloudWatch::Dashboard").next().unwrap();
    let body: Value = serde_json::from_str(dashboard["DashboardBody"]["Fn::Sub"].as_str().unwrap()).unwrap();
    body["widgets"].as_array().unwrap().clone()
}

/// What the dashboard shows: namespace, metric, and the resource that it is of, if it is one's.
fn shown() -> BTreeSet<(String, String, String)> {
    let widgets = widgets();
    let metrics = widgets
        .iter()
        .flat_map(|widget| widget["properties"]["metrics"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    metrics
        .map(|metric| {
            let resource = text(&metric[3]);
            let resource = resource.trim_start_matches("${").split(['.', '}']).next();
            (
                text(&metric[0]),
                text(&metric[1]),
                resource.unwrap_or_default().to_owned(),
            )
        })
        .collect()
}

#[test]
fn the_dashboard_is_json_and_shows_every_metric_of_ours() {
    let shown: BTreeSet<String> = shown()
        .into_iter()
        .filter(|(namespace, _, _)| namespace == "${AWS::StackName}")
        .map(|(_, name, _)| name)
        .collect();
    assert_eq!(shown, ours(), "left: the dashboard; right: what is written");
    // Two to a row, without a gap.
    for (n, widget) in widgets().iter().enumerate() {
        assert_eq!(
            (&widget["x"], &widget["y"]),
            (&(n % 2 * 12).into(), &(n / 2 * 6).into())
        );
    }
}

#[test]
fn the_dashboard_shows_every_queue_and_every_function_that_exotel_calls() {
    let shown = shown();
    let template = template();
    let assert_shown = |namespace: &str, name: &str, id: &str| {
        let metric = (namespace.to_owned(), name.to_owned(), id.to_owned());
        assert!(shown.contains(&metric), "{name} of {id} is not on the dashboard");
    };
    for (id, _) in template.of_type("AWS::SQS::Queue") {
        let name = if id.ends_with("Dlq") {
            "ApproximateNumberOfMessagesVisible"
        } else {
            "ApproximateAgeOfOldestMessage"
        };
        assert_shown("AWS/SQS", name, id);
    }
    let mut called = 0;
    for (id, function) in template.of_type("AWS::Serverless::Function") {
        if function["ReservedConcurrentExecutions"]["Fn::If"][0] == "ReserveWebhooks" {
            for name in ["Invocations", "Errors", "Throttles", "Duration"] {
                assert_shown("AWS/Lambda", name, id);
            }
            called += 1;
        }
    }
    assert_eq!(called, 5);
}

#[test]
fn every_alarm_on_a_metric_of_ours_has_one_to_look_at() {
    let ours = ours();
    let template = template();
    let alarms = template
        .of_type("AWS::CloudWatch::Alarm")
        .filter(|(_, alarm)| alarm["Namespace"]["Ref"] == "AWS::StackName");
    let mut seen = 0;
    for (id, alarm) in alarms {
        let name = alarm["MetricName"].as_str().unwrap();
        assert!(ours.contains(name), "{id}: nobody writes {name}");
        assert!(
            alarm["Dimensions"].is_null(),
            "{id}: our metrics have no dimensions"
        );
        seen += 1;
    }
    assert!(seen >= 5, "{seen}");
}

/// Whether `name` is one that `pattern` means: `…` stands for anything.
fn is_meant(pattern: &str, name: &str) -> bool {
    match pattern.split_once('…') {
        Some((start, end)) => {
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        }
        None => pattern == name,
    }
}

#[test]
fn the_handbook_says_what_each_alarm_means_and_tells_somebody() {
    let handbook = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    // The first column of the table's rows.
    let rows = handbook
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let explained: Vec<&str> = rows
        .flat_map(|names| names.split('`'))
        .filter(|name| name.ends_with("Alarm"))
        .collect();
    let template = template();
    for (id, alarm) in template.of_type("AWS::CloudWatch::Alarm") {
        assert!(
            explained.iter().any(|pattern| is_meant(pattern, id)),
            "docs/operations.md does not say what {id} means"
        );
        assert_eq!(alarm["AlarmActions"][0]["Ref"], "AlarmTopic", "{id}");
    }
    for pattern in explained {
        assert!(
            template
                .of_type("AWS::CloudWatch::Alarm")
                .any(|(id, _)| is_meant(pattern, id)),
            "docs/operations.md explains {pattern}, which is no alarm"
        );
    }
}

/// Functions that have the limits of calls, and count none: texts are not counted, what waits was counted when it was
/// placed, and the others only ask.
const COUNT_NO_CALLS: [&str; 5] = [
    "CallRecordFunction",
    "PollCallsFunction",
    "RetryOutboundFunction",
    "SendSmsFunction",
    "SweepFunction",
];

#[test]
fn whoever_counts_the_accounts_calls_has_the_alarm_for_the_last_of_them() {
    let template = template();
    let filtered: BTreeSet<_> = template
        .of_type("AWS::Logs::MetricFilter")
        .filter(|(_, filter)| filter["FilterPattern"] == r#"{ $.alarm = "outbound.daily_cap" }"#)
        .map(|(_, filter)| filter["LogGroupName"]["Ref"].as_str().unwrap())
        .collect();
    let counting: BTreeSet<_> = template
        .of_type("AWS::Serverless::Function")
        .filter(|(id, function)| {
            let variables = &function["Environment"]["Variables"];
            !variables["OUTBOUND_CALLS_PER_DAY"].is_null() && !COUNT_NO_CALLS.contains(id)
        })
        .map(|(_, function)| function["LoggingConfig"]["LogGroup"]["Ref"].as_str().unwrap())
        .collect();
    assert_eq!(filtered, counting);
}

/// The words of the alarms that a function's own package logs for it: in the bin's file, its package's `lib.rs`, the
/// modules that those name, the ones that they name, and so on.
fn alarm_words(bin: &str, src: &Path) -> BTreeSet<String> {
    let mut code = fs::read_to_string(src.join("bin").join(format!("{bin}.rs"))).unwrap();
    let mut modules: Vec<_> = fs::read_dir(src)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    loop {
        let (named, others): (Vec<_>, Vec<_>) = modules.into_iter().partition(|path| {
            let module = path.file_stem().unwrap().to_str().unwrap();
            module == "lib" || code.contains(&format!("{module}::"))
        });
        if named.is_empty() {
            break;
        }
        for path in named {
            code += &fs::read_to_string(path).unwrap();
        }
        modules = others;
    }
    let words = code.split("alarm = \"").skip(1);
    words
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}

#[test]
fn every_log_in_which_an_alarms_word_may_stand_has_the_filter_that_counts_it() {
    let template = template();
    let filters: BTreeSet<_> = template
        .of_type("AWS::Logs::MetricFilter")
        .map(|(_, filter)| {
            let log = filter["LogGroupName"]["Ref"].as_str().unwrap();
            let pattern = filter["FilterPattern"].as_str().unwrap();
            (log.to_owned(), pattern.to_owned())
        })
        .collect();
    let mut seen = BTreeSet::new();
    for package in packages()
        .iter()
        .filter(|package| folder(package).starts_with("functions/"))
    {
        let src = root().join(folder(package)).join("src");
        let targets = package.targets.iter();
        for target in targets.filter(|target| target.kind.contains(&TargetKind::Bin)) {
            for word in alarm_words(&target.name, &src) {
                let filter = (
                    format!("{}Logs", camel(&target.name)),
                    format!(r#"{{ $.alarm = "{word}" }}"#),
                );
                assert!(
                    filters.contains(&filter),
                    "{} logs {word}, and nothing counts it",
                    target.name
                );
                seen.insert(target.name.clone());
            }
        }
    }
    for bin in ["voicebot-connect", "ws-connect", "ws-message", "ws-disconnect"] {
        assert!(seen.contains(bin), "{bin} is not read");
    }
}

/// The use case logs this word, which the check above does not read.
#[test]
fn whoever_takes_webhooks_in_has_the_alarm_for_those_that_are_not_kept() {
    let template = template();
    let filtered: BTreeSet<_> = template
        .of_type("AWS::Logs::MetricFilter")
        .filter(|(_, filter)| filter["FilterPattern"] == r#"{ $.alarm = "webhook.not_kept" }"#)
        .map(|(_, filter)| filter["LogGroupName"]["Ref"].as_str().unwrap().to_owned())
        .collect();
    let packages = packages();
    let webhooks = packages
        .iter()
        .find(|package| package.name == "webhooks")
        .unwrap();
    let bins: BTreeSet<_> = webhooks
        .targets
        .iter()
        .filter(|target| target.kind.contains(&TargetKind::Bin))
        .map(|target| format!("{}Logs", camel(&target.name)))
        .collect();
    assert_eq!(filtered, bins);
}

/// SAM leaves tracing and its permission out only for the word itself, so a parameter holds the word.
#[test]
fn traces_are_off_and_cost_no_permission_unless_they_are_asked_for() {
    let template = template();
    let json = template.json();
    assert_eq!(json["Globals"]["Function"]["Tracing"]["Ref"], "XRayTracing");
    assert_eq!(json["Parameters"]["XRayTracing"]["Default"], "Disabled");
    assert_eq!(json["Resources"]["SamplingRule"]["Condition"], "TracesRequests");
    let rates = json["Mappings"]["SamplingRates"].as_object().unwrap();
    let allowed = json["Parameters"]["XRaySamplingPercent"]["AllowedValues"]
        .as_array()
        .unwrap();
    assert_eq!(rates.len(), allowed.len());
    for percent in allowed {
        let rate = rates[&percent.to_string()]["Rate"].as_f64().unwrap();
        assert_eq!(rate, percent.as_f64().unwrap() / 100.0);
    }
}
