//! Whole requests, from API Gateway's event to the answer.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{
    access::{Caller, Role},
    ids::LeadId,
};
use http::header;
use jiff::{SignedDuration, Timestamp};
use lambda_kit::{
    auth::{self, Verifier},
    capability::SigningKeys,
    config::{CorsConfig, JwtConfig},
    http::{Family, Problem, Request, Response, answer, empty, json},
    https,
    init::Live,
};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

static CORS: LazyLock<CorsConfig> = LazyLock::new(|| CorsConfig {
    allowed_origins: vec!["https://crm.example.com".to_owned()],
});

/// An event as API Gateway sends it; `change` replaces top-level members.
fn event(route_key: &str, change: Value) -> String {
    let method = route_key.split(' ').next().unwrap();
    let mut event = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": "/api/admin/raw-leads/lead-1/sms",
        "rawQueryString": "",
        "headers": {"content-type": "application/json; charset=utf-8"},
        "requestContext": {
            "accountId": "123456789012", "apiId": "api", "domainName": "api.example.com", "domainPrefix": "api",
            "http": {"method": method, "path": "/api/admin/raw-leads/lead-1/sms", "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1", "userAgent": "test"},
            "requestId": "apigw-1", "routeKey": route_key, "stage": "$default",
            "time": "21/Nov/2026:04:00:00 +0000", "timeEpoch": 1795233600000_i64
        },
        "pathParameters": {"id": "lead-1"},
        "isBase64Encoded": false
    });
    event
        .as_object_mut()
        .unwrap()
        .extend(change.as_object().unwrap().clone());
    event.to_string()
}

fn request(route_key: &str, change: Value) -> Request {
    Request::from_event(&event(route_key, change)).unwrap()
}

const SMS: &str = "POST /api/admin/raw-leads/{id}/sms";

#[derive(Debug, Deserialize)]
struct Sms {
    body: String,
    #[serde(default)]
    tags: Vec<u8>,
}

fn read(change: Value) -> Result<Sms, Problem> {
    request(SMS, change).json()
}

#[test]
fn a_route_is_its_family_its_method_and_what_follows() {
    for (key, family, method, path) in [
        (SMS, Family::Admin, "POST", "/{id}/sms"),
        (
            "GET /api/sales/crm/{id}/calls",
            Family::Sales,
            "GET",
            "/{id}/calls",
        ),
        ("GET /api/sales/crm", Family::Sales, "GET", ""),
        ("GET /api/sales/crmx", Family::Other, "GET", "/api/sales/crmx"),
        (
            "PUT /api/admin/users/{id}",
            Family::Other,
            "PUT",
            "/api/admin/users/{id}",
        ),
        ("GET $default", Family::Other, "GET", "$default"),
    ] {
        let request = request(key, json!({}));
        let route = request.route();
        assert_eq!((route.family, route.method, route.path), (family, method, path));
    }
    // A Function URL names no route: the path counts.
    let bare = Request::from_event(
        &event("GET x", json!({})).replace(r#""routeKey":"GET x""#, r#""routeKey":"$default""#),
    )
    .unwrap();
    assert_eq!(
        (bare.route().family, bare.route().method, bare.route().path),
        (Family::Admin, "GET", "/lead-1/sms")
    );
}

#[test]
fn each_family_admits_its_roles() {
    for role in [Role::Sales, Role::SalesHead, Role::Admin, Role::SuperAdmin] {
        assert_eq!(Family::Admin.admits(role), role != Role::Sales);
        assert!(Family::Sales.admits(role) && Family::Other.admits(role));
    }
}

#[test]
fn path_and_query_parameters_are_read_or_named() {
    let request = request(
        SMS,
        json!({"rawQueryString": "limit=7&zone=Asia%2FKolkata&bad=x&empty="}),
    );
    assert_eq!(request.path::<LeadId>("id").unwrap().as_str(), "lead-1");
    assert_eq!(
        request.query::<String>("zone").unwrap().as_deref(),
        Some("Asia/Kolkata")
    );
    assert_eq!(request.query::<u32>("empty").unwrap(), None);
    assert_eq!(request.query::<u32>("bad").unwrap_err().field(), Some("bad"));
    assert_eq!(
        request.path::<LeadId>("callId").unwrap_err().field(),
        Some("callId")
    );
}

#[test]
fn a_page_has_a_limit_and_takes_only_cursors_of_its_own_list() {
    let keys = SigningKeys::new(&"k".repeat(32).into(), None);
    let cursor = keys.seal_cursor("calls/lead-1", &"call_9");
    let page = |query: String, list: &str| {
        request(SMS, json!({ "rawQueryString": query })).page::<String>(&keys, list)
    };
    let first = page(String::new(), "calls/lead-1").unwrap();
    assert_eq!((first.limit, first.after), (25, None));
    let next = page(format!("limit=100&cursor={cursor}"), "calls/lead-1").unwrap();
    assert_eq!((next.limit, next.after.as_deref()), (100, Some("call_9")));
    for (query, list, field) in [
        ("limit=0".to_owned(), "calls/lead-1", "limit"),
        ("limit=101".to_owned(), "calls/lead-1", "limit"),
        ("limit=ten".to_owned(), "calls/lead-1", "limit"),
        ("cursor=abc".to_owned(), "calls/lead-1", "cursor"),
        (format!("cursor={cursor}"), "calls/lead-2", "cursor"),
    ] {
        let problem = page(query, list).unwrap_err();
        assert_eq!((problem.status(), problem.field()), (400, Some(field)));
    }
}

#[test]
fn a_json_body_is_read_plain_and_in_base64() {
    for change in [
        json!({"body": r#"{"body":"hello","more":1}"#}),
        json!({"body": STANDARD.encode(r#"{"body":"hello"}"#), "isBase64Encoded": true}),
    ] {
        let sms = read(change).unwrap();
        assert_eq!((sms.body.as_str(), sms.tags.len()), ("hello", 0));
    }
}

#[test]
fn a_bad_body_is_a_clear_refusal() {
    let deep = format!(r#"{{"body":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    for (change, status, field) in [
        (json!({}), 400, None),
        (json!({"body": ""}), 400, None),
        (json!({"body": "{"}), 400, None),
        (json!({"body": "[]"}), 400, None),
        (json!({"body": r#"["hello"]"#}), 400, None),
        (json!({"body": "{\"body\":\"a\u{fffd}b\"}"}), 400, None),
        (json!({"body": "{}"}), 400, None),
        (json!({"body": r#"{"body":1}"#}), 400, Some("body")),
        (
            json!({"body": r#"{"body":"x","tags":[1,"2"]}"#}),
            400,
            Some("tags[1]"),
        ),
        (json!({"body": r#"{"body":"x"} trailing"#}), 400, None),
        (json!({ "body": deep }), 400, Some("body")),
        (
            json!({"body": STANDARD.encode(b"{\"body\":\"\xff\"}"), "isBase64Encoded": true}),
            400,
            None,
        ),
        (
            json!({"body": format!(r#"{{"body":"{}"}}"#, "x".repeat(65_536))}),
            413,
            None,
        ),
        (
            json!({"body": "a=b", "headers": {"content-type": "application/x-www-form-urlencoded"}}),
            415,
            None,
        ),
        (json!({"body": "{}", "headers": {}}), 415, None),
    ] {
        let problem = read(change.clone()).unwrap_err();
        let shown = change.to_string();
        assert_eq!(
            (problem.status(), problem.field()),
            (status, field),
            "{shown:.80} {}",
            problem.detail()
        );
    }
}

#[test]
fn a_number_in_a_refused_body_is_masked() {
    let problem = read(json!({"body": r#"{"body":9811100001}"#})).unwrap_err();
    assert!(
        problem.detail().contains("…0001") && !problem.detail().contains("98111"),
        "{}",
        problem.detail()
    );
}

#[test]
fn an_idempotency_key_is_visible_ascii() {
    let key = |value: &str| request(SMS, json!({"headers": {"idempotency-key": value}})).idempotency_key();
    assert_eq!(key("click-1").unwrap().unwrap().as_str(), "click-1");
    assert_eq!(request(SMS, json!({})).idempotency_key().unwrap(), None);
    for bad in ["", "a b", "ключ", &"x".repeat(256)] {
        assert_eq!(key(bad).unwrap_err().field(), Some("Idempotency-Key"), "{bad}");
    }
}

async fn serve(request: Request) -> Response {
    answer(&CORS, request, async |_| json(201, &json!({"id": "sms_1"}))).await
}

#[tokio::test]
async fn cors_headers_go_to_configured_origins_alone() {
    let from = |origin: &str| request(SMS, json!({"headers": {"origin": origin}}));
    let ours = serve(from("https://crm.example.com")).await;
    assert_eq!(
        ours.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN],
        "https://crm.example.com"
    );
    assert_eq!(ours.headers()[header::VARY], "Origin");
    let theirs = serve(from("https://evil.example")).await;
    assert_eq!(theirs.status(), 201);
    assert!(
        theirs
            .headers()
            .get(header::ACCESS_CONTROL_ALLOW_ORIGIN)
            .is_none()
    );
}

#[tokio::test]
async fn a_preflight_is_answered_without_the_handler() {
    let request = request(
        "OPTIONS /api/admin/raw-leads/{id}/sms",
        json!({"headers": {"origin": "https://crm.example.com"}}),
    );
    let response = answer(&CORS, request, async |_| -> Result<Response, Problem> {
        panic!("asked the handler")
    })
    .await;
    assert_eq!(response.status(), 204);
    let allowed = response.headers()[header::ACCESS_CONTROL_ALLOW_HEADERS]
        .to_str()
        .unwrap();
    assert!(
        ["authorization", "content-type", "idempotency-key", "range"]
            .iter()
            .all(|name| allowed.contains(name))
    );
}

#[tokio::test]
async fn a_problem_has_the_request_id_and_cors_headers() {
    let request = request(SMS, json!({"headers": {"origin": "https://crm.example.com"}}));
    let response = answer(&CORS, request, async |_| Err(Problem::not_found())).await;
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "application/problem+json"
    );
    assert!(
        response
            .headers()
            .contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
    );
    let body: Value = serde_json::from_str(response.body()).unwrap();
    // Outside of Lambda there is no invocation whose id it could be.
    assert_eq!(
        (&body["code"], &body["request_id"]),
        (&json!("not_found"), &json!("-"))
    );
}

#[tokio::test]
async fn the_admin_family_is_closed_to_sales_and_the_sales_family_open() {
    let config = JwtConfig {
        secret: Some("s".repeat(32).into()),
        jwks_url: None,
        issuer: None,
        audience: None,
    };
    let now: Timestamp = "2026-11-21T04:00:00Z".parse().unwrap();
    let caller = Caller {
        user_id: "user-1".parse().unwrap(),
        role: Role::Sales,
    };
    let token = auth::mint(&config, &caller, now, SignedDuration::from_mins(5)).unwrap();
    let tokens = Verifier::new(Live::fixed(config), https::client().unwrap());
    let headers = json!({"headers": {"authorization": format!("Bearer {token}")}});
    let sales = request("GET /api/sales/crm/{id}/calls", headers.clone());
    assert_eq!(tokens.authorize(&sales, now).await.unwrap(), caller);
    let admin = tokens.authorize(&request(SMS, headers), now).await.unwrap_err();
    assert_eq!((admin.status(), admin.code()), (403, "forbidden"));
    assert_eq!(
        tokens
            .authorize(&request(SMS, json!({})), now)
            .await
            .unwrap_err()
            .status(),
        401
    );
}

#[test]
fn an_answer_without_a_body_is_empty() {
    assert_eq!(empty(204).unwrap().body(), "");
}

proptest! {
    #[test]
    fn no_body_query_or_header_panics(body in "\\PC{0,80}", query in "\\PC{0,40}|[a-z]*=[%0-9a-f]{0,10}", value in "\\PC{0,40}", base64: bool) {
        let event = event(SMS, json!({"body": body, "isBase64Encoded": base64, "rawQueryString": query,
            "headers": {"content-type": "application/json", "x-any": value}}));
        let request = Request::from_event(&event).unwrap();
        let _ = request.json::<Sms>();
        let _ = request.query::<u32>("limit");
        let _ = request.idempotency_key();
    }
}
