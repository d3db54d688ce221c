//! deliver-alert: posted, signed, tried again with the same id.

use std::sync::{Arc, Mutex};

use axum::{Router, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use jiff::Timestamp;
use lambda_kit::{
    capability::SigningKeys,
    config::Settings,
    init::Boot,
    records::{SqsBatchResponse, SqsEvent},
};
use serde_json::{Value, json};
use workers::alert_webhook::Courier;

use crate::{aws::dead_end, deliver_alert::handle, given::batch};

const SIGNING_KEY: &str = "a signing key of thirty-two letters";

/// The team's server: it answers these statuses in turn, the last one for ever, and keeps what it gets.
#[derive(Clone)]
struct Receiver {
    statuses: Arc<Mutex<Vec<u16>>>,
    got: Arc<Mutex<Vec<(HeaderMap, String)>>>,
}

impl Receiver {
    async fn start(statuses: &[u16]) -> (Self, String) {
        let receiver = Self {
            statuses: Arc::new(Mutex::new(statuses.iter().rev().copied().collect())),
            got: Arc::default(),
        };
        let router = Router::new()
            .route(
                "/hook",
                post(
                    async |State(receiver): State<Self>, headers: HeaderMap, body: String| {
                        receiver.got.lock().unwrap().push((headers, body));
                        let mut statuses = receiver.statuses.lock().unwrap();
                        let status = if statuses.len() > 1 {
                            statuses.pop()
                        } else {
                            statuses.last().copied()
                        };
                        (
                            StatusCode::from_u16(status.unwrap()).unwrap(),
                            [("location", "/elsewhere")],
                        )
                    },
                ),
            )
            .with_state(receiver.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?token=abc", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (receiver, url)
    }

    fn got(&self) -> Vec<(HeaderMap, String)> {
        self.got.lock().unwrap().clone()
    }
}

fn now() -> Timestamp {
    "2026-11-20T08:30:05Z".parse().unwrap()
}

async fn courier(url: Option<&str>) -> Courier {
    let url = url.map(str::to_owned);
    let settings = Settings::new(move |name| match name {
        "AWS_REGION" => Some("ap-south-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("local".to_owned()),
        "SIGNING_KEY" => Some(SIGNING_KEY.to_owned()),
        "ALERT_WEBHOOK_URL" => url.clone(),
        _ => None,
    });
    Courier::from_boot(&Boot::new(settings, now()).await.unwrap()).unwrap()
}

fn example() -> SqsEvent {
    serde_json::from_str(include_str!("../../../../events/deliver-alert.raised.json")).unwrap()
}

fn failed(response: &SqsBatchResponse) -> Value {
    serde_json::to_value(response).unwrap()["batchItemFailures"].clone()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers[name].to_str().unwrap()
}

#[tokio::test]
async fn an_alert_is_posted_with_the_headers_and_the_signature_of_the_standard() {
    let (receiver, url) = Receiver::start(&[204]).await;
    let response = handle(&courier(Some(&url)).await, example(), now()).await;
    assert_eq!(failed(&response), json!([]));
    let got = receiver.got();
    let [(headers, body)] = &got[..] else {
        panic!("{got:?}")
    };
    let posted: Value = serde_json::from_str(body).unwrap();
    assert_eq!(posted["type"], "alert.raised");
    assert_eq!(posted["timestamp"], "2026-11-20T08:30:00.004Z");
    assert_eq!(posted["data"]["rule"], "voice-connect-collapse");
    assert_eq!(header(headers, "content-type"), "application/json");
    assert_eq!(
        header(headers, "webhook-id"),
        posted["data"]["eventId"].as_str().unwrap()
    );
    assert_eq!(
        header(headers, "webhook-timestamp"),
        now().as_second().to_string()
    );
    let keys = SigningKeys::new(&SIGNING_KEY.into(), None);
    assert_eq!(
        header(headers, "webhook-signature"),
        keys.sign_alert(header(headers, "webhook-id"), now().as_second(), body)
    );
}

#[tokio::test]
async fn what_is_no_2xx_stays_in_the_queue_and_comes_again_with_the_same_id_and_body() {
    let (receiver, url) = Receiver::start(&[500, 302, 404, 429, 200]).await;
    let courier = courier(Some(&url)).await;
    for attempt in 0..5 {
        let later = now() + jiff::SignedDuration::from_mins(attempt);
        let response = handle(&courier, example(), later).await;
        let stays = failed(&response).as_array().unwrap().len();
        assert_eq!(stays, usize::from(attempt < 4), "attempt {attempt}");
    }
    let got = receiver.got();
    assert_eq!(got.len(), 5, "a redirect is not followed");
    for (headers, body) in &got {
        assert_eq!(header(headers, "webhook-id"), header(&got[0].0, "webhook-id"));
        assert_eq!(body, &got[0].1);
    }
    assert_ne!(
        header(&got[0].0, "webhook-signature"),
        header(&got[1].0, "webhook-signature"),
        "each attempt is signed with its own time"
    );
}

#[tokio::test]
async fn one_alert_that_fails_holds_up_no_other_and_what_is_no_alert_is_left_to_the_queue() {
    let (receiver, url) = Receiver::start(&[200, 503, 200]).await;
    let alert = |id: &str| {
        json!({"detail-type": "alert.recovered", "detail": {"eventId": id, "raisedAt": "2026-11-20T08:30:00Z",
            "recoveredAt": "2026-11-20T08:40:00Z"}})
    };
    let bodies = [
        alert("a"),
        alert("b"),
        json!("{"),
        json!({"detail-type": "alert.recovered", "detail": {}}),
        alert("c"),
    ];
    let response = handle(&courier(Some(&url)).await, batch(&bodies), now()).await;
    assert_eq!(
        failed(&response),
        json!([{"itemIdentifier": "m1"}, {"itemIdentifier": "m2"}, {"itemIdentifier": "m3"}])
    );
    let ids: Vec<String> = receiver
        .got()
        .iter()
        .map(|(headers, _)| header(headers, "webhook-id").to_owned())
        .collect();
    assert_eq!(ids, ["a", "b", "c"]);
    let posted: Value = serde_json::from_str(&receiver.got()[0].1).unwrap();
    assert_eq!(posted["timestamp"], "2026-11-20T08:40:00Z", "when it recovered");
}

#[tokio::test]
async fn without_a_url_nothing_is_posted_and_nothing_stays_and_without_a_server_it_stays() {
    assert_eq!(
        failed(&handle(&courier(None).await, example(), now()).await),
        json!([])
    );
    let nobody = courier(Some(&dead_end().await)).await;
    let stays = failed(&handle(&nobody, example(), now()).await);
    assert_eq!(stays.as_array().unwrap().len(), 1);
}
