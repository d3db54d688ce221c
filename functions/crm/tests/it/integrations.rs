//! The integration record against the Exotel simulator and something that speaks Secrets Manager's protocol.

use std::sync::{Arc, Mutex};

use axum::{Router, extract::State, http::HeaderMap, routing::post};
use crm::{Crm, integrations::IntegrationsDoor};
use domain::{
    access::Role,
    toll_fraud::{Period, Quota, Window},
};
use dynamo::Dynamo;
use exotel_simulator::{ApiFault, Script, Simulator};
use jiff::SignedDuration;
use lambda_kit::{
    config::{CorsConfig, ExotelConfig, Settings},
    http::{Request, answer},
    init::Boot,
};
use serde_json::{Value, json};
use services::outbound::{clock::World as _, home_of};
use table::{
    Table,
    quota::{CallsOf, Counted},
};

use crate::{
    house::{self, ADMIN, Answer, Event, HEAD, JWT_SECRET, ROOT, SALES},
    integrations_bin,
    lines::Lines,
    outbound::Hands,
};

const ROUTE: &str = "/api/v1/integrations/exotel";
const DIDS: &str = "/api/v1/integrations/exotel/dids";
const DID: &str = "/api/v1/integrations/exotel/dids/{did_id}";
const OPTIONS: &str = "/api/v1/integrations/exotel/test-call-options";
const CALL: &str = "/api/v1/integrations/exotel/dids/{did_id}/test-call";
const FLOW: &str = "http://my.exotel.com/acme1/exoml/start_voice/228040";
const TO: &str = "98111 00002";
const SIGNING_KEY: &str = "another secret of thirty-two characters";

/// A Secrets Manager that holds one secret and remembers which operations it was asked for.
#[derive(Clone, Default)]
struct Vault {
    text: Arc<Mutex<String>>,
    asked: Arc<Mutex<Vec<String>>>,
    refuses: Arc<Mutex<bool>>,
}

impl Vault {
    async fn start(secret: &Value) -> (String, Self) {
        let vault = Self::default();
        *vault.text.lock().unwrap() = secret.to_string();
        let app = Router::new().fallback(post(serve)).with_state(vault.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (url, vault)
    }

    fn held(&self) -> Value {
        serde_json::from_str(&self.text.lock().unwrap()).unwrap()
    }

    fn puts(&self) -> usize {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .filter(|operation| operation.ends_with("PutSecretValue"))
            .count()
    }
}

async fn serve(
    State(vault): State<Vault>,
    headers: HeaderMap,
    body: String,
) -> (axum::http::StatusCode, String) {
    let operation = headers["x-amz-target"].to_str().unwrap().to_owned();
    let body: Value = serde_json::from_str(&body).unwrap();
    let is_put = operation.ends_with("PutSecretValue");
    vault.asked.lock().unwrap().push(operation);
    if is_put {
        if *vault.refuses.lock().unwrap() {
            let refusal = json!({"__type": "AccessDeniedException", "Message": "no"});
            return (axum::http::StatusCode::BAD_REQUEST, refusal.to_string());
        }
        assert!(body["ClientRequestToken"].as_str().unwrap().len() >= 32);
        *vault.text.lock().unwrap() = body["SecretString"].as_str().unwrap().to_owned();
        return (axum::http::StatusCode::OK, json!({"ARN": "arn"}).to_string());
    }
    let text = vault.text.lock().unwrap().clone();
    (
        axum::http::StatusCode::OK,
        json!({"ARN": "arn", "SecretString": text}).to_string(),
    )
}

/// The door, a table, a secret and a simulated Exotel.
struct Desk {
    _dynamo: Dynamo,
    table: Table,
    vault: Vault,
    exotel: exotel_simulator::Handle,
    door: IntegrationsDoor,
    /// Another function, which reads the same secret.
    other: lambda_kit::init::Live<Option<ExotelConfig>>,
    hands: Arc<Hands>,
}

fn credentials() -> Value {
    json!({"EXOTEL_SID": "acme1", "EXOTEL_API_KEY": "simkey", "EXOTEL_API_TOKEN": "simtoken"})
}

impl Desk {
    /// With Exotel's credentials in the secret.
    async fn new() -> Self {
        Self::with(credentials(), &[]).await
    }

    async fn with(mut secret: Value, extra: &[(&'static str, &'static str)]) -> Self {
        let exotel = Simulator::start(Default::default()).await.unwrap();
        let dynamo = Dynamo::start().await;
        for (name, value) in [
            ("JWT_SECRET", JWT_SECRET),
            ("SIGNING_KEY", SIGNING_KEY),
            ("EXOTEL_SUBDOMAIN", exotel.url()),
        ] {
            secret[name] = json!(value);
        }
        let (vault_url, vault) = Vault::start(&secret).await;
        let settings = |endpoint: &str| {
            let mut all: Vec<(&str, String)> = vec![
                ("AWS_REGION", "ap-south-1".into()),
                ("AWS_ACCESS_KEY_ID", "local".into()),
                ("AWS_SECRET_ACCESS_KEY", "local".into()),
                ("AWS_ENDPOINT_URL", endpoint.into()),
                (
                    "SECRET_ARN",
                    "arn:aws:secretsmanager:ap-south-1:1:secret:exotel".into(),
                ),
                ("TABLE_NAME", dynamo::TABLE_NAME.into()),
                ("EXOTEL_CALLER_ID", "08045550100".into()),
                ("VOICEBOT_WS_URL", "wss://ws.example.com/voicebot".into()),
                (
                    "VOICEBOT_BOTS",
                    r#"{"reception": {"kind": "menu", "tree": "reception"}}"#.into(),
                ),
            ];
            all.extend(extra.iter().map(|(name, value)| (*name, (*value).into())));
            Settings::new(move |name| {
                // The last one wins.
                let found = all.iter().rev().find(|(key, _)| *key == name);
                found.map(|(_, value)| value.clone())
            })
        };
        let boot = Boot::new(settings(&vault_url), house::now()).await.unwrap();
        let table = Table::new(dynamo.client(), dynamo::TABLE_NAME);
        let hands = Arc::new(Hands::default());
        let crm = Crm {
            table: table.clone(),
            ..Crm::from_boot(&boot).unwrap()
        };
        let door = IntegrationsDoor::new(crm, &boot, hands.clone()).unwrap();
        let elsewhere = Boot::new(settings(&vault_url), house::now()).await.unwrap();
        Self {
            _dynamo: dynamo,
            table,
            vault,
            exotel,
            door,
            other: elsewhere.live(ExotelConfig::from_env).unwrap(),
            hands,
        }
    }

    async fn send(&self, event: Event) -> Answer {
        let request = Request::from_event(&event.0.to_string()).unwrap();
        let response = answer(&CorsConfig::default(), request, async |r| {
            Box::pin(integrations_bin::handle(&self.door, r)).await
        })
        .await;
        let body: &str = response.body();
        Answer {
            status: response.status().as_u16(),
            location: response
                .headers()
                .get("retry-after")
                .map(|v| v.to_str().unwrap().to_owned()),
            body: if body.is_empty() {
                Value::Null
            } else {
                serde_json::from_str(body).unwrap()
            },
        }
    }

    async fn get(&self, who: (&str, Role), route: &str) -> Answer {
        self.send(Event::new("GET", route, route).by(who)).await
    }

    async fn put(&self, body: Value) -> Answer {
        self.send(Event::new("PUT", ROUTE, ROUTE).by(ROOT).json(body))
            .await
    }

    /// Adds a number; its id.
    async fn add(&self, body: Value) -> String {
        let added = self
            .send(Event::new("POST", DIDS, DIDS).by(ROOT).json(body))
            .await;
        assert_eq!(added.status, 201, "{added:?}");
        added.body["id"].as_str().unwrap().to_owned()
    }

    async fn change(&self, id: &str, body: Value) -> Answer {
        self.send(
            Event::new("PUT", DID, &DID.replace("{did_id}", id))
                .by(ROOT)
                .json(body),
        )
        .await
    }

    fn call(id: &str) -> Event {
        let event = Event::new("POST", CALL, &CALL.replace("{did_id}", id));
        event.json(json!({"to_number": TO})).by(ADMIN)
    }

    /// The same by somebody who has just signed in.
    fn call_now(&self, id: &str) -> Event {
        Self::call(id).by_at(ADMIN, self.hands.now())
    }

    /// Calls that Exotel was asked for.
    fn posts(&self) -> Vec<exotel_simulator::Request> {
        let requests = self.exotel.requests().into_iter();
        requests.filter(|request| request.method == "POST").collect()
    }

    fn next(&self, fault: ApiFault) {
        self.exotel.script(Script {
            api: Some(fault),
            ..Script::default()
        });
    }
}

#[tokio::test]
async fn the_record_shows_the_numbers_and_of_the_credentials_that_they_are_there() {
    let desk = Desk::new().await;
    let id = desk
        .add(json!({"number": "080-4555-0101", "label": " Front desk ", "bot_id": "reception", "flow_url": FLOW}))
        .await;
    let bare = desk
        .add(json!({"number": "08045550102", "label": "", "bot_id": null}))
        .await;
    let record = desk.get(ROOT, ROUTE).await;
    assert_eq!(record.status, 200);
    assert_eq!(
        record.body,
        json!({
            "status": "configured", "credentials_configured": true, "account_sid": "acme1", "api_base_url": desk.exotel.url(),
            "dids": [
                {"id": id, "number": "+918045550101", "label": "Front desk", "bot_id": "reception", "flow_url": FLOW,
                 "websocket_url": "wss://ws.example.com/voicebot?bot_id=reception"},
                {"id": bare, "number": "+918045550102", "label": null, "bot_id": null, "flow_url": null, "websocket_url": ""},
            ],
        })
    );
    let options = desk.get(ADMIN, OPTIONS).await;
    assert_eq!(
        options.body,
        json!({"credentials_configured": true, "dids": [
            {"id": id, "number": "+918045550101", "label": "Front desk", "bot_id": "reception", "test_ready": true, "missing": []},
            {"id": bare, "number": "+918045550102", "label": null, "bot_id": null, "test_ready": false, "missing": ["flow_url"]},
        ]})
    );
}

#[tokio::test]
async fn with_a_fleet_the_sockets_are_its_first_servers() {
    let fleet = [(
        "CORE_FLEET",
        "https://media-1.example.com, https://media-2.example.com",
    )];
    let desk = Desk::with(json!({"EXOTEL_SID": "acme1"}), &fleet).await;
    desk.add(json!({"number": "08045550101", "bot_id": "own"})).await;
    let record = desk.get(ROOT, ROUTE).await.body;
    assert_eq!(
        record["dids"][0]["websocket_url"],
        "wss://media-1.example.com/exotel/own"
    );
    assert_eq!(
        (
            &record["status"],
            &record["credentials_configured"],
            &record["account_sid"]
        ),
        (&json!("not_configured"), &json!(false), &json!("acme1"))
    );
}

#[tokio::test]
async fn a_number_is_changed_field_by_field_and_removed() {
    let desk = Desk::new().await;
    let id = desk
        .add(json!({"number": "08045550101", "label": "A", "bot_id": "echo", "flow_url": FLOW}))
        .await;
    let other = desk.add(json!({"number": "08045550102"})).await;
    let changed = desk.change(&id, json!({"label": "B"})).await;
    assert_eq!(
        (
            changed.status,
            &changed.body["label"],
            &changed.body["bot_id"],
            &changed.body["flow_url"]
        ),
        (200, &json!("B"), &json!("echo"), &json!(FLOW))
    );
    let changed = desk
        .change(
            &id,
            json!({"number": "+918045550109", "bot_id": "", "flow_url": null}),
        )
        .await;
    assert_eq!(
        changed.body,
        json!({"id": id, "number": "+918045550109", "label": "B", "bot_id": null, "flow_url": null, "websocket_url": ""})
    );
    for (answer, status, code) in [
        (
            desk.change(&id, json!({"number": "08045550102"})).await,
            409,
            "conflict",
        ),
        (
            desk.send(
                Event::new("POST", DIDS, DIDS)
                    .by(ROOT)
                    .json(json!({"number": "08045550109"})),
            )
            .await,
            409,
            "conflict",
        ),
        (
            desk.change("did_01m7w179t40000000000000007", json!({})).await,
            404,
            "not_found",
        ),
    ] {
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (status, &json!(code)),
            "{answer:?}"
        );
    }
    let remove = |id: &str| Event::new("DELETE", DID, &DID.replace("{did_id}", id)).by(ROOT);
    assert_eq!(desk.send(remove(&id)).await.status, 204);
    assert_eq!(desk.send(remove(&id)).await.status, 404);
    // Its number is free again.
    desk.add(json!({"number": "08045550109"})).await;
    assert_eq!(desk.table.dids().await.unwrap().len(), 2);
    assert_eq!(desk.send(remove(&other)).await.status, 204);
}

#[tokio::test]
async fn a_numbers_bot_is_one_that_there_is() {
    let desk = Desk::new().await;
    let id = desk.add(json!({"number": "08045550101", "bot_id": "echo"})).await;
    let add = Event::new("POST", DIDS, DIDS).json(json!({"number": "08045550102", "bot_id": "recepton"}));
    for told in [
        desk.send(add.by(ROOT)).await,
        desk.change(&id, json!({"bot_id": "recepton"})).await,
    ] {
        assert_eq!((told.status, &told.body["field"]), (400, &json!("bot_id")));
        let detail = told.body["detail"].as_str().unwrap();
        assert!(detail.contains("\"demo\", \"echo\", \"reception\""), "{detail}");
    }
    let changed = desk.change(&id, json!({"bot_id": "reception"})).await;
    assert_eq!(
        (changed.status, &changed.body["bot_id"]),
        (200, &json!("reception"))
    );
    assert_eq!(desk.table.dids().await.unwrap().len(), 1);
}

#[tokio::test]
async fn new_credentials_go_into_the_secret_that_every_function_reads() {
    let desk = Desk::with(json!({"OF_OTHERS": 7}), &[]).await;
    assert!(desk.other.cached().is_none());
    let put = desk
        .put(json!({"account_sid": " acme1 ", "api_key": "NEWKEY", "api_token": "NEWTOKEN", "api_base_url": "api.in.exotel.com"}))
        .await;
    assert_eq!(put.status, 200, "{put:?}");
    assert_eq!(
        put.body,
        json!({"status": "configured", "credentials_configured": true, "account_sid": "acme1",
            "api_base_url": "https://api.in.exotel.com", "dids": []})
    );
    let held = desk.vault.held();
    assert_eq!(
        (
            &held["EXOTEL_SID"],
            &held["EXOTEL_API_KEY"],
            &held["EXOTEL_API_TOKEN"],
            &held["OF_OTHERS"]
        ),
        (&json!("acme1"), &json!("NEWKEY"), &json!("NEWTOKEN"), &json!(7))
    );
    assert_eq!(held["JWT_SECRET"], JWT_SECRET);
    // Another function reads them when its five minutes are over.
    let later = house::now() + SignedDuration::from_mins(5);
    let read = desk.other.get(later).await;
    let read = read.as_ref().as_ref().unwrap();
    assert_eq!(
        (read.account_sid.as_str(), read.base_url.as_str()),
        ("acme1", "https://api.in.exotel.com")
    );
    // One of them alone.
    let put = desk.put(json!({"api_key": "NEWER"})).await;
    assert_eq!((put.status, &put.body["account_sid"]), (200, &json!("acme1")));
    assert_eq!(desk.vault.held()["EXOTEL_API_KEY"], "NEWER");
    assert_eq!(desk.vault.held()["EXOTEL_API_TOKEN"], "NEWTOKEN");
    let shown = format!("{}{}", put.body, desk.get(ROOT, ROUTE).await.body);
    for secret in ["NEWKEY", "NEWER", "NEWTOKEN", JWT_SECRET] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn what_the_environment_sets_is_changed_there() {
    let pinned = [
        ("EXOTEL_SUBDOMAIN", "api.in.exotel.com"),
        ("EXOTEL_API_SECRET", "fromenv"),
    ];
    let desk = Desk::with(json!({}), &pinned).await;
    for (body, field) in [
        (json!({"api_base_url": "https://api.exotel.com"}), "api_base_url"),
        (json!({"account_sid": "acme1", "api_token": "t"}), "api_token"),
    ] {
        let put = desk.put(body).await;
        assert_eq!(
            (put.status, &put.body["code"], &put.body["field"]),
            (409, &json!("set_by_environment"), &json!(field))
        );
    }
    assert_eq!(desk.vault.puts(), 0);
    // The same again is no change.
    let put = desk
        .put(json!({"api_base_url": "https://api.in.exotel.com/"}))
        .await;
    assert_eq!((put.status, desk.vault.puts()), (200, 0));
    let put = desk
        .put(json!({"account_sid": "acme1", "api_base_url": "api.in.exotel.com"}))
        .await;
    assert_eq!((put.status, desk.vault.puts()), (200, 1));
}

#[tokio::test]
async fn credentials_that_no_function_could_use_are_not_written() {
    let region = [("EXOTEL_REGION", "sg")];
    let desk = Desk::with(json!({}), &region).await;
    for (body, field) in [
        (json!({"account_sid": ""}), Some("account_sid")),
        (json!({"account_sid": "a/../b"}), Some("account_sid")),
        (json!({"api_key": "x".repeat(300)}), Some("api_key")),
        (json!({"api_token": "a b"}), Some("api_token")),
        (json!({"api_token": 7}), Some("api_token")),
        (
            json!({"api_base_url": "https://api.example.com"}),
            Some("api_base_url"),
        ),
        (
            json!({"api_base_url": "https://api.exotel.com@example.com"}),
            Some("api_base_url"),
        ),
        // The other cluster than the one that EXOTEL_REGION names.
        (
            json!({"api_base_url": "https://api.in.exotel.com"}),
            Some("api_base_url"),
        ),
        (json!({}), None),
        (json!({"api_secret": "x"}), Some("api_secret")),
    ] {
        let put = desk.put(body.clone()).await;
        assert_eq!(put.status, 400, "{body}: {put:?}");
        if let Some(field) = field {
            let told = put.body["detail"].as_str().unwrap();
            assert!(told.contains(field), "{body}: {told}");
        }
    }
    assert_eq!(desk.vault.puts(), 0);
    *desk.vault.refuses.lock().unwrap() = true;
    let put = desk.put(json!({"api_key": "SECRETKEY"})).await;
    assert_eq!(
        (put.status, &put.body["code"]),
        (503, &json!("secret_unavailable"))
    );
    assert!(!put.body.to_string().contains("SECRETKEY"));
}

#[tokio::test]
async fn a_test_call_rings_the_customer_and_runs_the_numbers_flow() {
    let desk = Desk::new().await;
    let id = desk
        .add(json!({"number": "08045550100", "bot_id": "echo", "flow_url": FLOW}))
        .await;
    let placed = desk.send(Desk::call(&id)).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    let sid = placed.body["call_sid"].as_str().unwrap();
    assert_eq!(
        placed.body,
        json!({"status": "dispatched", "call_sid": sid, "provider_status": "in-progress", "did_id": id,
            "to_number": "+919811100002"})
    );
    let [post] = &desk.posts()[..] else {
        panic!("one request")
    };
    assert_eq!(post.path, "/v1/Accounts/acme1/Calls/connect.json");
    for (name, value) in [
        ("From", "+919811100002"),
        ("CallerId", "+918045550100"),
        ("Url", FLOW),
        ("CallType", "trans"),
        ("CustomField", format!("cxb-test:{id}").as_str()),
    ] {
        assert_eq!(post.params.get(name), Some(value), "{name}");
    }
    assert_eq!(
        (post.params.get("To"), post.params.get("StatusCallback")),
        (None, None)
    );
    // Every usual form of the number.
    for (n, form) in ["9811100002", "919811100002", "00919811100002", "098111-00002"]
        .iter()
        .enumerate()
    {
        desk.hands.pass(SignedDuration::from_secs(10));
        let event = Event::new("POST", CALL, &CALL.replace("{did_id}", &id)).by(ADMIN);
        let placed = desk.send(event.json(json!({"to_number": form}))).await;
        assert_eq!(
            (placed.status, &placed.body["to_number"]),
            (201, &json!("+919811100002")),
            "{form}"
        );
        assert_eq!(desk.posts().len(), n + 2);
    }
}

#[tokio::test]
async fn a_test_call_is_placed_once_however_often_it_is_sent() {
    let desk = Desk::new().await;
    let id = desk.add(json!({"number": "08045550100", "flow_url": FLOW})).await;
    let first = desk.send(Desk::call(&id)).await;
    let again = desk.send(Desk::call(&id)).await;
    assert_eq!((first.status, &first.body), (201, &again.body));
    assert_eq!(desk.posts().len(), 1);
    let keyed = || desk.call_now(&id).header("idempotency-key", "k1");
    let first = desk.send(keyed()).await;
    desk.hands.pass(SignedDuration::from_hours(1));
    assert_eq!(desk.send(keyed()).await.body, first.body);
    assert_eq!(desk.posts().len(), 2);
    let other = keyed().json(json!({"to_number": "9811100003"}));
    assert_eq!(desk.send(other).await.body["code"], "idempotency_key_reused");
}

#[tokio::test]
async fn without_credentials_or_a_flow_it_says_what_is_missing() {
    let desk = Desk::with(json!({"EXOTEL_SID": "acme1", "EXOTEL_API_KEY": "k"}), &[]).await;
    let id = desk.add(json!({"number": "08045550100"})).await;
    let told = desk.send(Desk::call(&id)).await;
    assert_eq!((told.status, &told.body["code"]), (400, &json!("not_test_ready")));
    let detail = told.body["detail"].as_str().unwrap();
    assert!(
        detail.contains("api_token") && detail.contains("flow_url"),
        "{detail}"
    );
    desk.change(&id, json!({"flow_url": FLOW})).await;
    let told = desk.send(Desk::call(&id)).await;
    let detail = told.body["detail"].as_str().unwrap();
    assert!(
        detail.contains("api_token") && !detail.contains("flow_url"),
        "{detail}"
    );
    // With the missing one it works at once.
    desk.put(json!({"api_key": "simkey", "api_token": "simtoken"}))
        .await;
    assert_eq!(desk.send(Desk::call(&id)).await.status, 201);
    let unknown = desk.send(Desk::call("did_01m7w179t40000000000000007")).await;
    assert_eq!((unknown.status, desk.posts().len()), (404, 1));
}

#[tokio::test]
async fn what_exotel_refuses_is_told_and_what_may_have_reached_it_is_not_sent_again() {
    let desk = Desk::new().await;
    let id = desk.add(json!({"number": "08045550100", "flow_url": FLOW})).await;
    for fault in [ApiFault::Ndnc, ApiFault::Invalid, ApiFault::Unauthorized] {
        desk.hands.pass(SignedDuration::from_mins(20));
        desk.next(fault);
        let told = desk.send(desk.call_now(&id)).await;
        assert_eq!(
            (told.status, &told.body["code"]),
            (502, &json!("exotel_refused")),
            "{fault:?}: {told:?}"
        );
        assert!(told.body["detail"].as_str().unwrap().len() > "Exotel refused it: ".len() + 5);
    }
    desk.hands.pass(SignedDuration::from_mins(20));
    let before = desk.posts().len();
    desk.next(ApiFault::ResetAfterAccept);
    let keyed = || desk.call_now(&id).header("idempotency-key", "k2");
    let told = desk.send(keyed()).await;
    assert_eq!(
        (told.status, &told.body["status"]),
        (202, &json!("unconfirmed")),
        "{told:?}"
    );
    assert_eq!(desk.send(keyed()).await.body, told.body);
    assert_eq!(desk.posts().len(), before + 1);
    // Exotel failed, and said so: whether it took the call, nobody knows.
    desk.hands.pass(SignedDuration::from_mins(20));
    desk.next(ApiFault::Internal);
    let told = desk.send(desk.call_now(&id)).await;
    assert_eq!(
        (told.status, &told.body["status"], &told.body["provider_message"]),
        (202, &json!("unconfirmed"), &json!("Internal error")),
        "{told:?}"
    );
}

#[tokio::test]
async fn what_exotel_does_not_take_now_may_be_tried_again_with_the_same_key() {
    let desk = Desk::new().await;
    let id = desk.add(json!({"number": "08045550100", "flow_url": FLOW})).await;
    for (key, fault) in [("k1", ApiFault::RateLimited), ("k2", ApiFault::Unavailable)] {
        desk.hands.pass(SignedDuration::from_mins(20));
        desk.next(fault);
        let keyed = || desk.call_now(&id).header("idempotency-key", key);
        let told = desk.send(keyed()).await;
        assert_eq!(
            (told.status, &told.body["code"]),
            (502, &json!("exotel_unavailable")),
            "{fault:?}: {told:?}"
        );
        desk.hands.pass(SignedDuration::from_mins(1));
        assert_eq!(desk.send(keyed()).await.status, 201, "{fault:?}");
    }
}

#[tokio::test]
async fn the_switch_the_allowed_countries_and_the_quotas_hold_for_test_calls() {
    let desk = Desk::with(credentials(), &[("OUTBOUND_CALLS_PER_LEAD_HOUR", "2")]).await;
    let id = desk.add(json!({"number": "08045550100", "flow_url": FLOW})).await;
    let abroad = Desk::call(&id).json(json!({"to_number": "+6591234567"}));
    let told = desk.send(abroad).await;
    assert_eq!(
        (told.status, &told.body["code"]),
        (403, &json!("destination_not_allowed"))
    );
    for status in [201, 201, 429] {
        desk.hands.pass(SignedDuration::from_secs(10));
        let told = desk.send(Desk::call(&id)).await;
        assert_eq!(told.status, status, "{told:?}");
    }
    assert_eq!(desk.posts().len(), 2);
    // The number has no more of them by `POST /call`.
    let home = home_of(None, &"+919811100002".parse().unwrap());
    let period = Period::at(desk.hands.now(), &desk.door.crm.locale.time_zone);
    let quota = Quota {
        per_hour: Some(2),
        per_day: 100,
    };
    let counted = desk.table.count_call(CallsOf::Lead(&home), quota, period).await;
    assert_eq!(counted.unwrap(), Counted::UsedUp(Window::Hour));
    // Another number has its own.
    let other = Desk::call(&id).json(json!({"to_number": "9811100003"}));
    assert_eq!(desk.send(other).await.status, 201);

    desk.table.pause_outbound(house::now()).await.unwrap();
    let other = || Desk::call(&id).json(json!({"to_number": "9811100004"}));
    let told = desk.send(other()).await;
    assert_eq!(
        (told.status, &told.body["code"]),
        (503, &json!("outbound_paused"))
    );
    let off = Desk::with(credentials(), &[("OUTBOUND_ENABLED", "false")]).await;
    let id = off.add(json!({"number": "08045550100", "flow_url": FLOW})).await;
    assert_eq!(off.send(Desk::call(&id)).await.body["code"], "outbound_paused");
    assert_eq!((desk.posts().len(), off.posts().len()), (3, 0));
}

#[tokio::test]
async fn credentials_and_numbers_are_for_super_administrators_and_test_calls_for_administrators() {
    let desk = Desk::new().await;
    let id = desk.add(json!({"number": "08045550100", "flow_url": FLOW})).await;
    let of_did = DID.replace("{did_id}", &id);
    let writing = [
        Event::new("GET", ROUTE, ROUTE),
        Event::new("PUT", ROUTE, ROUTE).json(json!({"api_key": "x"})),
        Event::new("POST", DIDS, DIDS).json(json!({"number": "08045550101"})),
        Event::new("PUT", DID, &of_did).json(json!({"label": "x"})),
        Event::new("DELETE", DID, &of_did),
    ];
    let trying = [
        Event::new("GET", OPTIONS, OPTIONS),
        Event::new("POST", CALL, &CALL.replace("{did_id}", &id)).json(json!({"to_number": TO})),
    ];
    for who in [ADMIN, HEAD, SALES] {
        for event in &writing {
            let told = desk.send(event.clone().by(who)).await;
            assert_eq!(
                (told.status, &told.body["code"]),
                (403, &json!("forbidden")),
                "{who:?} {}",
                event.0["routeKey"]
            );
        }
    }
    for who in [HEAD, SALES] {
        for event in &trying {
            assert_eq!(
                desk.send(event.clone().by(who)).await.status,
                403,
                "{who:?} {}",
                event.0["routeKey"]
            );
        }
    }
    for event in writing.iter().chain(&trying) {
        assert_eq!(
            desk.send(event.clone()).await.status,
            401,
            "{}",
            event.0["routeKey"]
        );
    }
    assert_eq!((desk.vault.puts(), desk.posts().len()), (0, 0));
    for event in &trying {
        for who in [ADMIN, ROOT] {
            assert!(desk.send(event.clone().by(who)).await.status < 300, "{who:?}");
        }
    }
}

#[tokio::test]
async fn bodies_that_cannot_be_used_are_refused_and_name_the_field() {
    let desk = Desk::new().await;
    let id = desk.add(json!({"number": "08045550100", "flow_url": FLOW})).await;
    let of_did = DID.replace("{did_id}", &id);
    let add = || Event::new("POST", DIDS, DIDS);
    let change = || Event::new("PUT", DID, &of_did);
    let call = || Event::new("POST", CALL, &CALL.replace("{did_id}", &id));
    let long = "x".repeat(3_000);
    for (event, field) in [
        (add().json(json!({})), "number"),
        (add().json(json!({"number": ""})), "number"),
        (add().json(json!({"number": "123"})), "number"),
        (add().json(json!({"number": 8045550101_u64})), "number"),
        (
            add().json(json!({"number": "08045550101", "label": long})),
            "label",
        ),
        (
            add().json(json!({"number": "08045550101", "bot_id": "a b"})),
            "bot_id",
        ),
        (
            add().json(json!({"number": "08045550101", "bot_id": {}})),
            "bot_id",
        ),
        (
            add().json(json!({"number": "08045550101", "flow_url": "https://evil.example.com/x"})),
            "flow_url",
        ),
        (
            add().json(json!({"number": "08045550101", "websocket_url": "wss://x"})),
            "websocket_url",
        ),
        (change().json(json!({"number": null})), "number"),
        (change().json(json!({"label": "a\nb"})), "label"),
        (change().json(json!({"flow_url": 7})), "flow_url"),
        (call().json(json!({})), "to_number"),
        (call().json(json!({"to_number": "call me"})), "to_number"),
        (call().json(json!({"to_number": null})), "to_number"),
        (Event::new("DELETE", DID, &DID.replace("{did_id}", "7")), "did_id"),
    ] {
        let told = desk.send(event.clone().by(ROOT)).await;
        assert_eq!(
            (told.status, &told.body["code"]),
            (400, &json!("bad_request")),
            "{} {told:?}",
            event.0["body"]
        );
        let detail = told.body["detail"].as_str().unwrap();
        assert!(detail.contains(field), "{detail}");
    }
    for (event, status) in [
        (add().text("application/json", "{\"number\": "), 400),
        (add().text("application/json", "[]"), 400),
        (add().text("text/plain", "x"), 415),
        (call().json(json!({"to_number": "9".repeat(70_000)})), 413),
    ] {
        assert_eq!(desk.send(event.by(ROOT)).await.status, status);
    }
    assert_eq!(
        (desk.table.dids().await.unwrap().len(), desk.posts().len()),
        (1, 0)
    );
}

#[tokio::test]
async fn the_example_events_are_answered_with_success() {
    let desk = Desk::with(json!({}), &[]).await;
    let id = desk.add(json!({"number": "08045550100", "flow_url": FLOW})).await;
    let of = |name: &str| {
        let mut event = Event::file(name);
        for key in ["rawPath", "pathParameters", "requestContext"] {
            let text = event.0[key]
                .to_string()
                .replace("did_01m7w179t40000000000000007", &id);
            event.0[key] = serde_json::from_str(&text).unwrap();
        }
        event
    };
    for (name, status) in [
        ("integrations.put", 200),
        ("integrations.get", 200),
        ("integrations.add-did", 201),
        ("integrations.options", 200),
    ] {
        let told = desk.send(of(name).by(ROOT)).await;
        assert_eq!(told.status, status, "{name}: {told:?}");
    }
    // The example's credentials are nobody's at the simulator's.
    desk.put(json!({"account_sid": "acme1", "api_key": "simkey", "api_token": "simtoken", "api_base_url": desk.exotel.url()})).await;
    assert_eq!(
        desk.send(of("integrations.test-call").by(ADMIN)).await.status,
        201
    );
}

#[tokio::test]
async fn neither_credentials_nor_whole_numbers_are_logged() {
    let lines = Lines::capture();
    let desk = Desk::with(credentials(), &[("OUTBOUND_CALLS_PER_LEAD_DAY", "4")]).await;
    let id = desk
        .add(json!({"number": "08045550101", "bot_id": "echo", "flow_url": FLOW}))
        .await;
    assert_eq!(desk.put(json!({"api_token": "WRONG+TOKEN"})).await.status, 400);
    for broken in [
        "{\"api_token\": \"BROKENTOKEN\"",
        "{\"api_token\": [\"BROKENTOKEN\"]}",
    ] {
        let event = Event::new("PUT", ROUTE, ROUTE).text("application/json", broken);
        assert_eq!(desk.send(event.by(ROOT)).await.status, 400);
    }
    *desk.vault.refuses.lock().unwrap() = true;
    assert_eq!(desk.put(json!({"api_key": "REFUSEDKEY"})).await.status, 503);
    *desk.vault.refuses.lock().unwrap() = false;
    let put = desk
        .put(json!({"api_key": "simkey", "api_token": "simtoken"}))
        .await;
    assert_eq!(put.status, 200);
    assert_eq!(desk.get(ROOT, ROUTE).await.status, 200);
    for (fault, status) in [
        (None, 201),
        (Some(ApiFault::Ndnc), 502),
        (Some(ApiFault::RateLimited), 502),
        (Some(ApiFault::ResetAfterAccept), 202),
        (None, 429),
    ] {
        desk.hands.pass(SignedDuration::from_mins(20));
        if let Some(fault) = fault {
            desk.next(fault);
        }
        assert_eq!(desk.send(desk.call_now(&id)).await.status, status, "{fault:?}");
    }

    lines.assert_tell(&[
        "Exotel's credentials were changed",
        "accepted by Exotel",
        "refused for good: ",
        "not sent: ",
        "unconfirmed: ",
        "are used up",
        "AccessDeniedException",
    ]);
    lines.assert_hide(&[
        "WRONG+TOKEN",
        "BROKENTOKEN",
        "REFUSEDKEY",
        "simkey",
        "simtoken",
        JWT_SECRET,
        SIGNING_KEY,
        "8045550101",
        "9811100002",
    ]);
}
