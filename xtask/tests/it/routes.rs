//! The HTTP API has the routes of the specification, each with a function that may be called.

use std::collections::{BTreeMap, BTreeSet};

use crate::{camel, target, template};

/// Both families of the CRM's routes: what follows their prefix, and the function.
const BOTH: &[(&str, &str, &str)] = &[
    ("GET", "/exotel-status", "exotel-status"),
    ("PATCH", "/my-call-number", "my-call-number"),
    ("POST", "/{id}/exotel-call", "click-to-call"),
    ("POST", "/{id}/sms", "send-sms"),
    ("GET", "/{id}/sms", "sms-log"),
    ("GET", "/{id}/calls", "call-log"),
    ("POST", "/{id}/calls", "call-log"),
    ("GET", "/{id}/calls/{callId}/recording", "recording-link"),
    ("GET", "/{id}/timeline", "timeline"),
    ("GET", "/{id}/export", "directory"),
];

const OTHERS: &[(&str, &str)] = &[
    ("GET /api/admin/raw-leads", "directory"),
    ("GET /api/sales/crm", "directory"),
    ("PUT /api/admin/raw-leads/{id}", "directory"),
    ("GET /api/admin/raw-leads/{id}", "directory"),
    ("DELETE /api/admin/raw-leads/{id}", "directory"),
    ("POST /api/admin/raw-leads/import", "directory"),
    ("PUT /api/admin/users/{id}", "directory"),
    ("GET /api/admin/users/{id}", "directory"),
    ("GET /api/admin/alerts", "alerts"),
    ("POST /api/admin/alerts/{id}/acknowledge", "alerts"),
    ("GET /api/admin/calls/{sid}", "call-record"),
    ("GET /api/admin/raw-events", "raw-events"),
    ("POST /api/admin/raw-events/{id}/replay", "raw-events"),
    ("GET /api/admin/analytics/dashboard", "analytics"),
    ("GET /api/admin/analytics/calls", "analytics"),
    ("GET /api/admin/analytics/history", "analytics"),
    ("GET /api/admin/analytics/flows", "analytics"),
    ("GET /api/admin/analytics/agents", "analytics"),
    ("GET /api/admin/analytics/delivery", "analytics"),
    ("GET /api/admin/analytics/exports/{id}", "analytics"),
    ("POST /api/admin/figures/rebuild", "reconciliation"),
    ("GET /api/admin/figures/rebuild", "reconciliation"),
    ("POST /api/admin/backfill", "reconciliation"),
    ("GET /api/admin/backfill", "reconciliation"),
    ("GET /api/admin/exophones", "exophones"),
    ("GET /api/admin/exophones/{sid}/checks", "exophones"),
    ("GET /voicebot/sessions", "voicebot-sessions"),
    ("GET /api/admin/voicebot/sessions", "voicebot-sessions"),
    ("GET /api/admin/voicebot/sessions/{id}", "voicebot-sessions"),
    ("POST /call", "voicebot-call"),
    ("GET /voicebot/connect", "voicebot-connect"),
    ("POST /voicebot/connect", "voicebot-connect"),
    ("GET /api/v1/exotel/voice/connect", "voicebot-connect"),
    ("POST /api/v1/exotel/voice/connect", "voicebot-connect"),
    ("GET /exotel/{bot_id}", "voicebot-connect"),
    ("POST /exotel/{bot_id}", "voicebot-connect"),
    ("GET /api/v1/integrations/exotel", "integrations"),
    ("PUT /api/v1/integrations/exotel", "integrations"),
    ("POST /api/v1/integrations/exotel/dids", "integrations"),
    ("PUT /api/v1/integrations/exotel/dids/{did_id}", "integrations"),
    ("DELETE /api/v1/integrations/exotel/dids/{did_id}", "integrations"),
    (
        "GET /api/v1/integrations/exotel/test-call-options",
        "integrations",
    ),
    (
        "POST /api/v1/integrations/exotel/dids/{did_id}/test-call",
        "integrations",
    ),
    ("POST /webhooks/exotel/heartbeat", "webhook-heartbeat"),
    ("POST /api/exotel/call-status", "webhook-call-status"),
    ("POST /api/exotel/sms-status", "webhook-sms-status"),
    (
        "POST /api/webhooks/exotel/call-callback/{callbackId}/{md5}",
        "webhook-call-status",
    ),
    (
        "POST /api/webhooks/exotel/sms-callback/{callbackId}/{md5}",
        "webhook-sms-status",
    ),
    ("POST /webhooks/exotel/call", "webhook-call-status"),
    (
        "POST /webhooks/exotel/call/{locator}/{capability}",
        "webhook-call-status",
    ),
    ("GET /webhooks/exotel/passthru", "webhook-passthru"),
    ("POST /webhooks/exotel/passthru", "webhook-passthru"),
    ("POST /webhooks/exotel/sms", "webhook-sms-status"),
    (
        "POST /webhooks/exotel/sms/{locator}/{capability}",
        "webhook-sms-status",
    ),
];

fn specified() -> BTreeMap<String, String> {
    let families = ["/api/admin/raw-leads", "/api/sales/crm"];
    let both = BOTH.iter().flat_map(|(method, path, bin)| {
        families.map(|family| (format!("{method} {family}{path}"), (*bin).to_owned()))
    });
    both.chain(
        OTHERS
            .iter()
            .map(|(route, bin)| ((*route).to_owned(), (*bin).to_owned())),
    )
    .collect()
}

/// Route key → logical id of the function, and the route's own logical id.
fn routes() -> BTreeMap<String, (String, String)> {
    let template = template();
    let mut found = BTreeMap::new();
    for (id, route) in template.of_type("AWS::ApiGatewayV2::Route") {
        if target(&route["ApiId"]) != Some("HttpApi") {
            continue;
        }
        let key = route["RouteKey"].as_str().unwrap();
        let integration = route["Target"]["Fn::Sub"].as_str().unwrap();
        let integration = integration
            .strip_prefix("integrations/${")
            .unwrap()
            .strip_suffix('}')
            .unwrap();
        let function =
            target(&template.json()["Resources"][integration]["Properties"]["IntegrationUri"]).unwrap();
        let before = found.insert(key.to_owned(), (function.to_owned(), id.to_owned()));
        assert!(before.is_none(), "{key} is there twice");
    }
    found
}

#[test]
fn a_sockets_handshake_its_messages_and_its_end_lead_to_a_function_each_that_api_gateway_may_call() {
    let template = template();
    let resources = &template.json()["Resources"];
    let mut found = BTreeMap::new();
    for (_, route) in template.of_type("AWS::ApiGatewayV2::Route") {
        if target(&route["ApiId"]) != Some("WsApi") {
            continue;
        }
        let integration = route["Target"]["Fn::Sub"].as_str().unwrap();
        let integration = integration
            .trim_start_matches("integrations/${")
            .trim_end_matches('}');
        let uri = &resources[integration]["Properties"]["IntegrationUri"]["Fn::Sub"];
        let function = uri.as_str().unwrap().split_once("functions/${").unwrap().1;
        let function = function.split_once(".Arn}/invocations").unwrap().0;
        let key = route["RouteKey"].as_str().unwrap();
        let permitted = template
            .of_type("AWS::Lambda::Permission")
            .any(|(_, permission)| {
                let source = permission["SourceArn"]["Fn::Sub"].as_str().unwrap_or_default();
                target(&permission["FunctionName"]) == Some(function)
                    && source.ends_with(&format!(":${{WsApi}}/*/{key}"))
            });
        assert!(permitted, "API Gateway may not call {function} for {key}");
        found.insert(key.to_owned(), function.to_owned());
    }
    let expected = [
        ("$connect", "WsConnectFunction"),
        ("$default", "WsMessageFunction"),
        ("$disconnect", "WsDisconnectFunction"),
    ];
    assert_eq!(
        found,
        expected
            .map(|(key, function)| (key.to_owned(), function.to_owned()))
            .into()
    );
}

#[test]
fn the_routes_are_those_of_the_specification() {
    let specified: BTreeMap<_, _> = specified()
        .into_iter()
        .map(|(route, bin)| (route, format!("{}Function", camel(&bin))))
        .collect();
    let found: BTreeMap<_, _> = routes()
        .into_iter()
        .map(|(route, (function, _))| (route, function))
        .collect();
    assert_eq!(found, specified, "left: template.yaml; right: the specification");
}

#[test]
fn the_api_may_call_every_function_it_leads_to() {
    let template = template();
    let may: BTreeSet<_> = template
        .of_type("AWS::Lambda::Permission")
        .filter(|(_, permission)| permission["Principal"] == "apigateway.amazonaws.com")
        .filter(|(_, permission)| !permission["SourceArn"].to_string().contains("${WsApi}"))
        .filter_map(|(_, permission)| target(&permission["FunctionName"]))
        .collect();
    let must: BTreeSet<_> = routes().into_values().map(|(function, _)| function).collect();
    assert_eq!(
        may,
        must.iter().map(String::as_str).collect(),
        "left: permissions; right: functions with a route"
    );
}

#[test]
fn webhooks_have_a_limit_of_their_own_and_the_stage_waits_for_their_routes() {
    let template = template();
    let stage = &template.json()["Resources"]["HttpApiStage"];
    let limits: BTreeSet<_> = stage["Properties"]["RouteSettings"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let waits: BTreeSet<_> = stage["DependsOn"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|id| id.as_str())
        .collect();
    let routes = routes();
    let webhooks = routes.iter().filter(|(_, (function, _))| {
        function.starts_with("Webhook") || function == "VoicebotConnectFunction"
    });
    let (keys, ids): (BTreeSet<_>, BTreeSet<_>) =
        webhooks.map(|(key, (_, id))| (key.as_str(), id.as_str())).unzip();
    assert_eq!(limits, keys);
    assert_eq!(waits, ids);
}

#[test]
fn webhooks_can_be_kept_concurrency_and_bots_and_recordings_be_kept_from_taking_it() {
    let template = template();
    let json = template.json();
    let mut found = BTreeMap::new();
    for (id, function) in template.of_type("AWS::Serverless::Function") {
        let Some(choice) = function["ReservedConcurrentExecutions"]["Fn::If"].as_array() else {
            continue;
        };
        let [condition, parameter, otherwise] = &choice[..] else {
            panic!("{id}: {choice:?}");
        };
        let parameter = target(parameter).unwrap();
        let is_zero = &json["Conditions"][condition.as_str().unwrap()]["Fn::Not"][0]["Fn::Equals"];
        assert_eq!(is_zero, &serde_json::json!([{"Ref": parameter}, 0]), "{id}");
        assert_eq!(json["Parameters"][parameter]["Default"], 0, "{parameter}");
        assert_eq!(target(otherwise), Some("AWS::NoValue"), "{id}");
        found.insert(id, parameter);
    }
    let expected = [
        ("RecordingProxyFunction", "RecordingConcurrency"),
        ("VoicebotConnectFunction", "WebhookReservedConcurrency"),
        ("VoicebotTurnFunction", "VoicebotTurnConcurrency"),
        ("WebhookCallStatusFunction", "WebhookReservedConcurrency"),
        ("WebhookHeartbeatFunction", "WebhookReservedConcurrency"),
        ("WebhookPassthruFunction", "WebhookReservedConcurrency"),
        ("WebhookSmsStatusFunction", "WebhookReservedConcurrency"),
        ("WsMessageFunction", "VoicebotMessageConcurrency"),
    ];
    assert_eq!(found, expected.into());
}

#[test]
fn access_logs_tell_the_route_and_never_the_path_or_the_query() {
    let template = template();
    let (_, stage) = template.of_type("AWS::ApiGatewayV2::Stage").next().unwrap();
    let format = stage["AccessLogSettings"]["Format"].as_str().unwrap();
    assert!(format.contains("$context.routeKey"));
    for secretive in ["path", "protocol", "query", "resourcePath"] {
        assert!(
            !format.contains(&format!("$context.{secretive}")),
            "{secretive} may carry a capability or token"
        );
    }
}
