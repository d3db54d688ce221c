use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body_util::{BodyExt, Full};
use jiff::{SignedDuration, Timestamp};
use lambda_kit::{
    capability::{RecordingTicket, SigningKeys},
    config::{ExotelConfig, Settings},
    http::Problem,
    init::Live,
};
use recordings::{
    guard::Guard,
    proxy::{Body, FIRST_BYTE_WITHIN, Proxy},
};
use services::recordings::Kept;

use crate::{
    calls::Calls,
    internet::{Internet, Seen, audio, json, serve_plain, status},
    keys, request, ticket,
};

const URL: &str = "https://recordings.exotel.com/exotelrecordings/acme1/a.mp3";
const SIGNED: &str =
    "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/acme1/a.mp3?X-Amz-Signature=00";
const SID: &str = "5f0c1d2e3a4b4c5d8e9f0a1b2c3d196k";

fn now() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

/// A call that ended an hour ago and whose recording is at `url`.
fn recorded(url: &str) -> Kept {
    let ended_at = Some(now() - SignedDuration::from_hours(1));
    Kept {
        url: Some(url.into()),
        sid: Some(SID.parse().unwrap()),
        is_final: true,
        ended_at,
    }
}

/// The proxy between a small internet, a table, and an Exotel whose details of every call give `signed`.
struct Stage {
    internet: Internet,
    calls: Calls,
    asked: Arc<Mutex<Vec<Seen>>>,
    proxy: Proxy,
}

impl Stage {
    async fn new(
        signed: Option<&'static str>,
        answer: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        let internet = Internet::start(answer).await;
        let details = serde_json::json!({"Call": {"Sid": SID, "PreSignedRecordingUrl": signed}});
        let (api, asked) = serve_plain(move |_| json(&details)).await;
        let settings = Settings::new(move |name| {
            Some(match name {
                "EXOTEL_SID" => "acme1".into(),
                "EXOTEL_API_KEY" => "key".into(),
                "EXOTEL_API_TOKEN" => "token".into(),
                "EXOTEL_CALLER_ID" => "08045550100".into(),
                "EXOTEL_SUBDOMAIN" => api.clone(),
                _ => return None,
            })
        });
        let calls = Calls::start().await;
        let proxy = Proxy {
            keys: Live::fixed(keys()),
            exotel: Live::fixed(ExotelConfig::from_env(&settings).unwrap()),
            table: calls.table.clone(),
            fetcher: internet.fetcher(),
            http: internet.fetcher().extra_client,
            first_byte_within: FIRST_BYTE_WITHIN,
        };
        Self {
            internet,
            calls,
            asked,
            proxy,
        }
    }

    async fn play(&self, kept: &Kept) -> Result<Response<Body>, Problem> {
        let call = self.calls.keep(kept).await;
        self.answer("GET", &ticket(call, now())).await
    }

    async fn answer(&self, method: &str, ticket: &str) -> Result<Response<Body>, Problem> {
        self.proxy.answer(&request(method, ticket), now()).await
    }
}

fn refusal(answer: Result<Response<Body>, Problem>) -> (u16, &'static str) {
    let problem = answer.unwrap_err();
    (problem.status(), problem.code())
}

async fn whole(response: Response<Body>) -> Vec<u8> {
    response.into_body().collect().await.unwrap().to_bytes().into()
}

#[tokio::test]
async fn a_ticket_plays_its_recording() {
    let stage = Stage::new(None, |_| audio("sound")).await;
    let response = stage.play(&recorded(URL)).await.unwrap();
    for (name, value) in [
        ("cache-control", "private"),
        ("content-type", "audio/mpeg"),
        ("content-length", "5"),
        ("accept-ranges", "bytes"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(response.headers()[name], value, "{name}");
    }
    assert_eq!(whole(response).await, b"sound");
    let seen = stage.internet.seen();
    assert_eq!(
        (seen[0].url.as_str(), &seen[0].headers["range"]),
        (URL, &HeaderValue::from_static("bytes=0-"))
    );
    assert!(seen[0].has_credentials() && stage.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn head_gives_the_headers_alone() {
    let stage = Stage::new(None, |_| audio("sound")).await;
    let call = stage.calls.keep(&recorded(URL)).await;
    let response = stage.answer("HEAD", &ticket(call, now())).await.unwrap();
    assert_eq!(response.headers()["content-length"], "5");
    assert!(whole(response).await.is_empty());
}

#[tokio::test]
async fn without_a_good_ticket_nothing_is_looked_up() {
    let stage = Stage::new(None, |_| audio("x")).await;
    let call = stage.calls.keep(&recorded(URL)).await;
    let other_key = SigningKeys::new(&"o".repeat(32).into(), None);
    let forged = RecordingTicket::new(call.clone(), "user-1".parse().unwrap(), now()).seal(&other_key);
    let old = ticket(call.clone(), now() - SignedDuration::from_mins(15));
    for (ticket, code) in [
        ("", "ticket_missing"),
        ("abc", "ticket_invalid"),
        (forged.as_str(), "ticket_invalid"),
        (old.as_str(), "ticket_expired"),
    ] {
        assert_eq!(refusal(stage.answer("GET", ticket).await), (401, code));
    }
    let posted = stage.answer("POST", &ticket(call, now())).await;
    assert_eq!(refusal(posted), (405, "method_not_allowed"));
    assert_eq!(stage.internet.lookups(), 0);
}

#[tokio::test]
async fn a_refused_address_is_asked_for_again_with_a_signature_and_without_credentials() {
    for denied in [400, 401, 403] {
        let answer = move |seen: &Seen| {
            if seen.url == URL {
                status(denied)
            } else {
                audio("sound")
            }
        };
        let stage = Stage::new(Some(SIGNED), answer).await;
        assert_eq!(whole(stage.play(&recorded(URL)).await.unwrap()).await, b"sound");
        let asked = stage.asked.lock().unwrap().clone();
        assert!(
            asked[0].url.ends_with(&format!(
                "/v1/Accounts/acme1/Calls/{SID}.json?RecordingUrlValidity=5"
            )),
            "{asked:?}"
        );
        let seen: Vec<_> = stage
            .internet
            .seen()
            .iter()
            .map(|seen| (seen.url.clone(), seen.has_credentials()))
            .collect();
        assert_eq!(seen, [(URL.to_owned(), true), (SIGNED.to_owned(), false)]);
    }
}

#[tokio::test]
async fn an_address_that_stays_refused_is_said_to_be() {
    for signed in [None, Some(SIGNED)] {
        let stage = Stage::new(signed, |_| status(403)).await;
        assert_eq!(
            refusal(stage.play(&recorded(URL)).await),
            (502, "recording_denied")
        );
        assert_eq!(stage.asked.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_signed_address_is_judged_like_any_other() {
    let stage = Stage::new(Some("https://169.254.169.254/latest/meta-data/"), |_| status(403)).await;
    assert_eq!(
        refusal(stage.play(&recorded(URL)).await),
        (502, "recording_refused")
    );
    assert_eq!(stage.internet.accepted(), 1);
}

#[tokio::test]
async fn not_there_yet_and_not_there_are_told_apart() {
    let stage = Stage::new(None, |_| status(404)).await;
    let ended = |minutes| Some(now() - SignedDuration::from_mins(minutes));
    for (url, is_final, ended_at, code) in [
        (None, false, None, "recording_not_ready"),
        (None, true, None, "recording_not_found"),
        (None, true, ended(14), "recording_not_ready"),
        (None, true, ended(15), "recording_not_found"),
        (Some(URL), true, ended(14), "recording_not_ready"),
        (Some(URL), true, ended(16), "recording_not_found"),
    ] {
        let kept = Kept {
            url: url.map(str::to_owned),
            is_final,
            ended_at,
            ..recorded(URL)
        };
        let problem = stage.play(&kept).await.unwrap_err();
        assert_eq!((problem.status(), problem.code()), (404, code), "{kept:?}");
        let retry_after = problem.into_response("r").headers().get("retry-after").cloned();
        assert_eq!(retry_after.is_some(), code == "recording_not_ready");
    }
    let nobodys = ticket("call_01kak5yv7z8e4f9y2f4w6r8t0v.lead-1".parse().unwrap(), now());
    assert_eq!(
        refusal(stage.answer("GET", &nobodys).await),
        (404, "recording_not_found")
    );
}

#[tokio::test]
async fn a_planted_address_is_refused_and_not_repeated_to_the_browser() {
    let stage = Stage::new(None, |_| audio("x")).await;
    let problem = stage
        .play(&recorded("https://evil.example/a.mp3"))
        .await
        .unwrap_err();
    assert_eq!((problem.status(), problem.code()), (502, "recording_refused"));
    assert!(!problem.detail().contains("evil"));
    assert_eq!(stage.internet.lookups(), 0);
}

#[tokio::test]
async fn a_range_outside_of_the_recording_is_a_416() {
    let stage = Stage::new(None, |_| status(416)).await;
    assert_eq!(
        refusal(stage.play(&recorded(URL)).await),
        (416, "range_not_satisfiable")
    );
}

#[tokio::test]
async fn an_origin_that_says_nothing_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", silent.local_addr().unwrap());
    let mut stage = Stage::new(None, |_| audio("x")).await;
    stage.proxy.fetcher.guard = Guard::with_extra_origins([origin.as_str()]).unwrap();
    let call = stage.calls.keep(&recorded(&format!("{origin}/a.mp3"))).await;
    stage.proxy.first_byte_within = Duration::from_millis(300);
    assert_eq!(
        refusal(stage.answer("GET", &ticket(call, now())).await),
        (504, "recording_timed_out")
    );
}
