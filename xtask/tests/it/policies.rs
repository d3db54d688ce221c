//! Functions may do what they do, on what they do it to, and nothing else.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{list, target, template, translated};

/// A statement may be there under a condition, or not at all.
fn unconditional(statement: &Value) -> &Value {
    statement["Fn::If"].get(1).unwrap_or(statement)
}

/// Every statement of every function's policies.
fn statements() -> Vec<(String, Value)> {
    let template = template();
    let mut found = Vec::new();
    for (id, properties) in template.of_type("AWS::Serverless::Function") {
        for policy in list(&properties["Policies"]) {
            assert!(
                policy.is_object(),
                "{id}: write the statement out instead of naming the policy {policy}"
            );
            for statement in list(&policy["Statement"]) {
                found.push((id.to_owned(), unconditional(statement).clone()));
            }
        }
    }
    found
}

/// Fails for a statement that has a star, or forbids instead of allowing.
fn hold_to_one_thing(id: &str, statement: &Value) {
    // API Gateway names connections as it likes, so a function may post to all of one stage's.
    let text = statement
        .to_string()
        .replace("/@connections/*\"", "/@connections/\"");
    assert!(!text.contains('*'), "{id}: {text}");
    assert_eq!(statement["Effect"], "Allow", "{id}: {text}");
}

#[test]
fn no_policy_has_a_star() {
    for (id, statement) in statements() {
        hold_to_one_thing(&id, &statement);
    }
}

/// What SAM gives every function: to write its log.
const WRITE_LOGS: &str = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";

/// What SAM gives every function while `XRayTracing` is Active: to write traces.
const WRITE_TRACES: &str = "arn:aws:iam::aws:policy/AWSXrayWriteOnlyAccess";

/// SAM adds to roles, and makes some of its own; AWS's managed policies have stars in them.
#[test]
fn no_role_may_more_than_the_template_says_but_write_logs_and_traces() {
    for (parameters, allowed) in [
        (&[][..], &[WRITE_LOGS][..]),
        (
            &["XRayTracing=Active", "XRaySamplingPercent=1"],
            &[WRITE_LOGS, WRITE_TRACES],
        ),
    ] {
        let translated = translated(parameters);
        let mut managed = BTreeSet::new();
        let mut roles = 0;
        for (id, resource) in translated["Resources"].as_object().unwrap() {
            let properties = &resource["Properties"];
            match resource["Type"].as_str().unwrap() {
                "AWS::IAM::Role" => roles += 1,
                other => {
                    assert!(
                        !other.starts_with("AWS::IAM::"),
                        "{id}: rights beside a role's own"
                    );
                    continue;
                }
            }
            for policy in list(&properties["ManagedPolicyArns"]) {
                managed.insert(policy.as_str().unwrap().to_owned());
            }
            for policy in list(&properties["Policies"]) {
                for statement in list(&policy["PolicyDocument"]["Statement"]) {
                    hold_to_one_thing(id, unconditional(statement));
                }
            }
        }
        assert!(roles > 40, "{roles}");
        assert_eq!(managed, allowed.iter().map(|&arn| arn.to_owned()).collect());
    }
}

/// Lambda reads a queue or the stream with the rights of the function that it feeds.
#[test]
fn a_function_may_read_what_feeds_it_and_nothing_else() {
    let template = template();
    let mapped: BTreeSet<_> = template
        .of_type("AWS::Lambda::EventSourceMapping")
        .map(|(_, mapping)| {
            let function = target(&mapping["FunctionName"]).unwrap();
            (function.to_owned(), mapping["EventSourceArn"].to_string())
        })
        .collect();
    let reading = |action: &Value| {
        let action = action.as_str().unwrap();
        action == "sqs:ReceiveMessage" || action == "dynamodb:GetRecords"
    };
    let allowed: BTreeSet<_> = statements()
        .into_iter()
        .filter(|(_, statement)| list(&statement["Action"]).into_iter().any(reading))
        .map(|(id, statement)| {
            let actions = match statement["Resource"]["Fn::GetAtt"][1].as_str() {
                Some("StreamArn") => &[
                    "dynamodb:DescribeStream",
                    "dynamodb:GetRecords",
                    "dynamodb:GetShardIterator",
                    "dynamodb:ListStreams",
                ][..],
                _ => &[
                    "sqs:DeleteMessage",
                    "sqs:GetQueueAttributes",
                    "sqs:ReceiveMessage",
                ],
            };
            assert_eq!(list(&statement["Action"]), actions, "{id}");
            (id, statement["Resource"].to_string())
        })
        .collect();
    assert_eq!(mapped, allowed, "left: what feeds it; right: what it may read");
}

#[test]
fn every_action_is_of_the_service_of_its_resource() {
    for (id, statement) in statements() {
        let resources = list(&statement["Resource"]);
        assert!(!resources.is_empty(), "{id}: {statement} names no resource");
        for action in list(&statement["Action"]) {
            let service = action.as_str().unwrap().split_once(':').unwrap().0;
            let resource = match service {
                "dynamodb" => "Table",
                "sqs" => "Q",
                "secretsmanager" => "Secret",
                "events" => "EventBus",
                "s3" => "Bucket",
                "execute-api" => "WsApi",
                "lambda" => "Function",
                "lex" => "VoicebotLexAliasArns",
                other => panic!("{id}: {other} is new, say here what it may be allowed on"),
            };
            for text in resources.iter().map(|resource| resource.to_string()) {
                // Queues end in Queue or Dlq.
                let fits = text.contains(resource) || (service == "sqs" && text.contains("Dlq"));
                assert!(fits, "{id}: {action} on {text}");
            }
        }
    }
}

#[test]
fn a_function_that_gets_an_address_may_use_it_and_the_reverse() {
    let template = template();
    let rights = [
        ("TABLE_NAME", "dynamodb:", "Table"),
        ("SECRET_ARN", "secretsmanager:GetSecretValue", "Secret"),
        ("EVENT_BUS_NAME", "events:PutEvents", "EventBus"),
        ("OUTBOUND_QUEUE_URL", "sqs:SendMessage", "OutboundQueue"),
        ("OUTBOUND_DLQ_URL", "sqs:SendMessage", "OutboundDlq"),
        (
            "WEBHOOK_EVENTS_QUEUE_URL",
            "sqs:SendMessage",
            "WebhookEventsQueue",
        ),
        ("WEBHOOK_EVENTS_DLQ_URL", "sqs:SendMessage", "WebhookEventsDlq"),
        ("EXPORTS_QUEUE_URL", "sqs:SendMessage", "ExportsQueue"),
        ("EXPORTS_BUCKET", "s3:", "ExportsBucket"),
        ("VOICEBOT_SOCKETS_URL", "execute-api:ManageConnections", "WsApi"),
        (
            "VOICEBOT_TURN_FUNCTION",
            "lambda:InvokeFunction",
            "VoicebotTurnFunction",
        ),
    ];
    let statements = statements();
    for (id, properties) in template.of_type("AWS::Serverless::Function") {
        for (variable, action, resource) in rights {
            let told = !properties["Environment"]["Variables"][variable].is_null();
            let may = statements
                .iter()
                .filter(|(owner, _)| owner == id)
                .any(|(_, statement)| {
                    let of_resource = list(&statement["Resource"]).iter().any(|value| {
                        let text = value["Fn::Sub"].to_string();
                        value["Fn::GetAtt"][0] == resource
                            || text.contains(&format!("${{{resource}."))
                            || text.contains(&format!("${{{resource}}}"))
                    });
                    of_resource
                        && list(&statement["Action"])
                            .iter()
                            .any(|name| name.as_str().unwrap().starts_with(action))
                });
            assert_eq!(
                told, may,
                "{id}: left: it gets {variable}; right: its policy allows {action}"
            );
        }
    }
}

#[test]
fn one_function_alone_may_write_the_secret() {
    let writing: Vec<String> = statements()
        .into_iter()
        .filter(|(_, statement)| {
            list(&statement["Action"]).iter().any(|action| {
                let action = action.as_str().unwrap();
                action.starts_with("secretsmanager:") && action != "secretsmanager:GetSecretValue"
            })
        })
        .map(|(id, _)| id)
        .collect();
    assert_eq!(writing, ["IntegrationsFunction"]);
}
