use std::{sync::Mutex, time::Duration};

use domain::ids::{CallLocator, CallSid};
use http::{HeaderValue, Response};
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use lambda_kit::{
    capability::{RecordingTicket, SigningKeys},
    config::{ExotelConfig, Settings},
    http::{Problem, Request},
    init::Live,
};
use recordings::{
    guard::Guard,
    proxy::{Body, Cause, FIRST_BYTE_WITHIN, Proxy, Recordings, StoredRecording},
};
use serde_json::{Value, json};

use crate::internet::{Internet, audio, status};

const URL: &str = "https://recordings.exotel.com/exotelrecordings/acme1/a.mp3";
const SIGNED: &str =
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/acme1/a.mp3?X-Amz-Signature=00";
const EVENT: &str = include_str!("../../../../events/recording-proxy.range.json");

/// One call's row, and what Exotel answers when asked for a signed address.
#[derive(Default)]
struct Row {
    stored: Option<StoredRecording>,
    signed: Option<String>,
    asked: Mutex<Vec<String>>,
}

impl Recordings for Row {
    async fn stored(&self, call: &CallLocator) -> Result<Option<StoredRecording>, Cause> {
        Ok(self.stored.clone().filter(|_| *call == locator()))
    }

    async fn signed_url(&self, sid: &CallSid) -> Result<Option<String>, Cause> {
        self.asked.lock().unwrap().push(sid.to_string());
        Ok(self.signed.clone())
    }
}

fn locator() -> CallLocator {
    "call_01kak5yv7z8e4f9y2f4w6r8t0v.lead-1".parse().unwrap()
}

fn now() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

/// A call that ended an hour ago and whose recording is at `url`.
fn recorded(url: &str) -> StoredRecording {
    let ended_at = Some(now() - SignedDuration::from_hours(1));
    StoredRecording {
        url: Some(url.into()),
        sid: Some("5f0c1d2e3a4b4c5d8e9f0a1b2c3d196k".parse().unwrap()),
        is_final: true,
        ended_at,
    }
}

fn keys() -> SigningKeys {
    SigningKeys::new(&"k".repeat(32).into(), None)
}

fn proxy(internet: &Internet, row: Row) -> Proxy<Row> {
    let settings = Settings::new(|name| {
        let value = match name {
            "EXOTEL_SID" => "acme1",
            "EXOTEL_API_KEY" => "key",
            "EXOTEL_API_TOKEN" => "token",
            "EXOTEL_CALLER_ID" => "08045550100",
            _ => return None,
        };
        Some(value.to_owned())
    });
    Proxy {
        keys: Live::fixed(keys()),
        exotel: Live::fixed(ExotelConfig::from_env(&settings).unwrap()),
        recordings: row,
        fetcher: internet.fetcher(),
        first_byte_within: FIRST_BYTE_WITHIN,
    }
}

fn ticket() -> String {
    RecordingTicket::new(locator(), "user-1".parse().unwrap(), now()).seal(&keys())
}

fn request(method: &str, ticket: &str) -> Request {
    let mut event: Value = serde_json::from_str(EVENT).unwrap();
    event["requestContext"]["http"]["method"] = json!(method);
    event["rawQueryString"] = json!(format!("ticket={ticket}"));
    event["queryStringParameters"] = json!({ "ticket": ticket });
    Request::from_event(&event.to_string()).unwrap()
}

async fn play(internet: &Internet, row: Row) -> Result<Response<Body>, Problem> {
    proxy(internet, row)
        .answer(&request("GET", &ticket()), now())
        .await
}

fn refusal(answer: Result<Response<Body>, Problem>) -> (u16, &'static str) {
    let problem = answer.unwrap_err();
    (problem.status(), problem.code())
}

fn row(stored: StoredRecording) -> Row {
    Row {
        stored: Some(stored),
        ..Row::default()
    }
}

async fn whole(response: Response<Body>) -> Vec<u8> {
    response.into_body().collect().await.unwrap().to_bytes().into()
}

#[tokio::test]
async fn a_ticket_plays_its_recording() {
    let internet = Internet::start(|_| audio("sound")).await;
    let response = play(&internet, row(recorded(URL))).await.unwrap();
    let headers = response.headers();
    assert_eq!(headers["cache-control"], "private");
    assert_eq!(headers["content-type"], "audio/mpeg");
    assert_eq!(headers["content-length"], "5");
    assert_eq!(headers["accept-ranges"], "bytes");
    assert_eq!(
        (&headers["x-content-type-options"], &headers["referrer-policy"]),
        (
            &HeaderValue::from_static("nosniff"),
            &HeaderValue::from_static("no-referrer")
        )
    );
    assert_eq!(whole(response).await, b"sound");
    let seen = internet.seen();
    assert_eq!(
        (seen[0].url.as_str(), &seen[0].headers["range"]),
        (URL, &HeaderValue::from_static("bytes=0-"))
    );
    assert!(seen[0].has_credentials());
}

#[tokio::test]
async fn head_gives_the_headers_alone() {
    let internet = Internet::start(|_| audio("sound")).await;
    let response = proxy(&internet, row(recorded(URL)))
        .answer(&request("HEAD", &ticket()), now())
        .await
        .unwrap();
    assert_eq!(response.headers()["content-length"], "5");
    assert!(whole(response).await.is_empty());
}

#[tokio::test]
async fn without_a_good_ticket_nothing_is_looked_up() {
    let internet = Internet::start(|_| audio("x")).await;
    let proxy = proxy(&internet, row(recorded(URL)));
    let other_key = SigningKeys::new(&"o".repeat(32).into(), None);
    let forged = RecordingTicket::new(locator(), "user-1".parse().unwrap(), now()).seal(&other_key);
    let late = now() + SignedDuration::from_mins(15);
    for (ticket, at, code) in [
        (String::new(), now(), "ticket_missing"),
        ("abc".into(), now(), "ticket_invalid"),
        (forged, now(), "ticket_invalid"),
        (ticket(), late, "ticket_expired"),
    ] {
        assert_eq!(
            refusal(proxy.answer(&request("GET", &ticket), at).await),
            (401, code)
        );
    }
    assert_eq!(
        refusal(proxy.answer(&request("POST", &ticket()), now()).await),
        (405, "method_not_allowed")
    );
    assert_eq!(internet.lookups(), 0);
}

#[tokio::test]
async fn a_refused_address_is_asked_for_again_with_a_signature_and_without_credentials() {
    for denied in [401, 403] {
        let internet = Internet::start(move |seen| {
            if seen.url == URL {
                status(denied)
            } else {
                audio("sound")
            }
        })
        .await;
        let proxy = proxy(
            &internet,
            Row {
                signed: Some(SIGNED.into()),
                ..row(recorded(URL))
            },
        );
        let response = proxy.answer(&request("GET", &ticket()), now()).await.unwrap();
        assert_eq!(whole(response).await, b"sound");
        assert_eq!(
            *proxy.recordings.asked.lock().unwrap(),
            ["5f0c1d2e3a4b4c5d8e9f0a1b2c3d196k"]
        );
        let seen: Vec<_> = internet
            .seen()
            .iter()
            .map(|seen| (seen.url.clone(), seen.has_credentials()))
            .collect();
        assert_eq!(seen, [(URL.to_owned(), true), (SIGNED.to_owned(), false)]);
    }
}

#[tokio::test]
async fn an_address_that_stays_refused_is_said_to_be() {
    let internet = Internet::start(|_| status(403)).await;
    assert_eq!(
        refusal(play(&internet, row(recorded(URL))).await),
        (502, "recording_denied")
    );
    let signed = Row {
        signed: Some(SIGNED.into()),
        ..row(recorded(URL))
    };
    assert_eq!(refusal(play(&internet, signed).await), (502, "recording_denied"));
}

#[tokio::test]
async fn a_signed_address_is_judged_like_any_other() {
    let internet = Internet::start(|_| status(403)).await;
    let planted = Row {
        signed: Some("https://169.254.169.254/latest/meta-data/".into()),
        ..row(recorded(URL))
    };
    assert_eq!(
        refusal(play(&internet, planted).await),
        (502, "recording_refused")
    );
    assert_eq!(internet.accepted(), 1);
}

#[tokio::test]
async fn not_there_yet_and_not_there_are_told_apart() {
    let internet = Internet::start(|_| status(404)).await;
    let ended = |minutes| Some(now() - SignedDuration::from_mins(minutes));
    for (url, is_final, ended_at, code) in [
        (None, false, None, "recording_not_ready"),
        (None, true, None, "recording_not_found"),
        (None, true, ended(14), "recording_not_ready"),
        (None, true, ended(15), "recording_not_found"),
        (Some(URL), true, ended(14), "recording_not_ready"),
        (Some(URL), true, ended(16), "recording_not_found"),
    ] {
        let stored = StoredRecording {
            url: url.map(str::to_owned),
            is_final,
            ended_at,
            ..recorded(URL)
        };
        let problem = play(&internet, row(stored)).await.unwrap_err();
        assert_eq!(
            (problem.status(), problem.code()),
            (404, code),
            "{url:?} {is_final} {ended_at:?}"
        );
        let retry_after = problem.into_response("r").headers().get("retry-after").cloned();
        assert_eq!(retry_after.is_some(), code == "recording_not_ready");
    }
    assert_eq!(
        refusal(play(&internet, Row::default()).await),
        (404, "recording_not_found")
    );
}

#[tokio::test]
async fn a_planted_address_is_refused_and_not_repeated_to_the_browser() {
    let internet = Internet::start(|_| audio("x")).await;
    let problem = play(&internet, row(recorded("https://evil.example/a.mp3")))
        .await
        .unwrap_err();
    assert_eq!((problem.status(), problem.code()), (502, "recording_refused"));
    assert!(!problem.detail().contains("evil"));
    assert_eq!(internet.lookups(), 0);
}

#[tokio::test]
async fn a_range_outside_of_the_recording_is_a_416() {
    let internet = Internet::start(|_| status(416)).await;
    assert_eq!(
        refusal(play(&internet, row(recorded(URL))).await),
        (416, "range_not_satisfiable")
    );
}

#[tokio::test]
async fn an_origin_that_says_nothing_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", silent.local_addr().unwrap());
    let internet = Internet::start(|_| audio("x")).await;
    let mut proxy = proxy(&internet, row(recorded(&format!("{origin}/a.mp3"))));
    proxy.fetcher.guard = Guard::with_extra_origins([origin.as_str()]).unwrap();
    proxy.first_byte_within = Duration::from_millis(20);
    assert_eq!(
        refusal(proxy.answer(&request("GET", &ticket()), now()).await),
        (504, "recording_timed_out")
    );
}
