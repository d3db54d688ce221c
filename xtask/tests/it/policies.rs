//! Functions may do what they do, on what they do it to, and nothing else.

use serde_json::Value;

use crate::{list, template};

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
                // A statement may be there under a condition, or not at all.
                let conditional = statement["Fn::If"].get(1);
                found.push((id.to_owned(), conditional.unwrap_or(statement).clone()));
            }
        }
    }
    found
}

#[test]
fn no_policy_has_a_star() {
    for (id, statement) in statements() {
        // API Gateway names connections as it likes, so a function may post to all of one stage's.
        let text = statement
            .to_string()
            .replace("/@connections/*\"", "/@connections/\"");
        assert!(!text.contains('*'), "{id}: {text}");
        assert_eq!(statement["Effect"], "Allow", "{id}: {text}");
    }
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
