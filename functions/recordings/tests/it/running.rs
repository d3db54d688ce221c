//! The function itself, as Lambda runs it, between a simulated Exotel and a table.

use domain::ids::CallLocator;
use exotel_simulator::{Options, Simulator};
use jiff::Timestamp;
use runtime_api::{Answer, Complete, Function, Launch};
use serde_json::Value;
use services::recordings::Kept;

use crate::{SIGNING_KEY, calls::Calls, event, ticket};

const MEGABYTE: u64 = 1024 * 1024;

/// Everything around the function.
struct Stage {
    simulator: exotel_simulator::Handle,
    calls: Calls,
    function: Function,
}

impl Stage {
    async fn new() -> Self {
        let options = Options {
            speed: f64::INFINITY,
            ..Options::default()
        };
        let simulator = Simulator::start(options).await.unwrap();
        let calls = Calls::start().await;
        let launch = Launch::new(env!("CARGO_BIN_EXE_recording-proxy"))
            .env("AWS_ENDPOINT_URL", calls.dynamo.endpoint_url())
            .env("TABLE_NAME", dynamo::TABLE_NAME)
            .env("SIGNING_KEY", SIGNING_KEY)
            .env("CORS_ALLOWED_ORIGINS", "https://crm.example.com")
            .env("RECORDING_EXTRA_ORIGINS", simulator.url())
            .env("EXOTEL_SUBDOMAIN", simulator.url())
            .env("EXOTEL_SID", "acme1")
            .env("EXOTEL_API_KEY", "simkey")
            .env("EXOTEL_API_TOKEN", "simtoken")
            .env("EXOTEL_CALLER_ID", "08045550100");
        let function = Function::start(launch).await.unwrap();
        Self {
            simulator,
            calls,
            function,
        }
    }

    /// Places a call whose lead's number ends so, and keeps what Exotel's details say of it.
    async fn call(&self, suffix: &str) -> CallLocator {
        let http = lambda_kit::https::client().unwrap();
        let calls = format!("{}/v1/Accounts/acme1/Calls", self.simulator.url());
        let to = format!("0981111{suffix:0>4}");
        let form = [
            ("From", "09811100001"),
            ("To", to.as_str()),
            ("CallerId", "08045550100"),
            ("Record", "true"),
        ];
        let placed = http
            .post(format!("{calls}/connect.json"))
            .basic_auth("simkey", Some("simtoken"))
            .form(&form);
        let placed: Value = placed.send().await.unwrap().json().await.unwrap();
        let sid = placed["Call"]["Sid"].as_str().unwrap().to_owned();
        let details = format!("{calls}/{sid}.json");
        let url = loop {
            let call: Value = http
                .get(&details)
                .basic_auth("simkey", Some("simtoken"))
                .send()
                .await
                .unwrap()
                .json()
                .await
                .unwrap();
            match call["Call"]["Status"].as_str() {
                Some("completed") => break call["Call"]["RecordingUrl"].as_str().map(str::to_owned),
                _ => tokio::task::yield_now().await,
            }
        };
        let kept = Kept {
            url: url.filter(|url| !url.is_empty()),
            sid: Some(sid.parse().unwrap()),
            is_final: true,
            ended_at: None,
        };
        self.calls.keep(&kept).await
    }

    async fn invoke(&self, call: CallLocator, range: Option<&str>) -> Answer {
        let mut event = event("GET", &ticket(call, Timestamp::now()));
        match range {
            Some(range) => event["headers"]["range"] = range.into(),
            None => drop(event["headers"].as_object_mut().unwrap().remove("range")),
        }
        self.function.invoke(event.to_string()).await.unwrap()
    }

    async fn play(&self, suffix: &str, range: Option<&str>) -> Complete {
        let call = self.call(suffix).await;
        self.invoke(call, range).await.finish().await.unwrap()
    }
}

fn status(complete: &Complete) -> u16 {
    complete.prelude.as_ref().unwrap().status_code
}

fn code(complete: &Complete) -> String {
    let problem: Value = serde_json::from_slice(&complete.body).unwrap();
    problem["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_kind_of_recording_plays() {
    let stage = Stage::new().await;
    // Protected by Basic, open, private as on S3, behind a redirect.
    for suffix in ["0001", "0041", "0042", "0044"] {
        let played = stage.play(suffix, None).await;
        let prelude = played.prelude.as_ref().unwrap();
        assert_eq!(
            (prelude.status_code, prelude.headers["content-type"].as_str()),
            (200, "audio/mpeg"),
            "{suffix}"
        );
        assert_eq!(
            prelude.headers["content-length"],
            played.body.len().to_string(),
            "{suffix}"
        );
        assert_eq!(
            prelude.headers["access-control-allow-origin"],
            "https://crm.example.com"
        );
        assert_eq!(prelude.headers["cache-control"], "private");
    }
}

#[tokio::test]
async fn a_range_is_a_206() {
    let stage = Stage::new().await;
    let played = stage.play("0001", Some("bytes=100-299")).await;
    let prelude = played.prelude.as_ref().unwrap();
    assert_eq!((prelude.status_code, played.body.len()), (206, 200));
    assert!(prelude.headers["content-range"].starts_with("bytes 100-299/"));
    let beyond = stage.play("0001", Some("bytes=999999999-")).await;
    assert_eq!(
        (status(&beyond), code(&beyond).as_str()),
        (416, "range_not_satisfiable")
    );
}

#[tokio::test]
async fn what_cannot_be_played_is_a_problem_that_says_why() {
    let stage = Stage::new().await;
    // A redirect to the metadata service, no recording, no file.
    for (suffix, expected, word) in [
        ("0045", 502, "recording_refused"),
        ("0047", 404, "recording_not_found"),
        ("0048", 404, "recording_not_found"),
    ] {
        let refused = stage.play(suffix, None).await;
        assert_eq!(
            (status(&refused), code(&refused).as_str()),
            (expected, word),
            "{suffix}"
        );
        assert_eq!(
            refused.prelude.unwrap().headers["content-type"],
            "application/problem+json"
        );
    }
    assert!(
        !stage
            .function
            .log()
            .iter()
            .any(|line| line.contains("simtoken") || line.contains("Signature"))
    );
}

#[tokio::test]
async fn a_recording_that_breaks_off_ends_short_and_without_foreign_bytes() {
    let stage = Stage::new().await;
    let played = stage.play("0050", None).await;
    let told: usize = played.prelude.as_ref().unwrap().headers["content-length"]
        .parse()
        .unwrap();
    assert_eq!(played.body.len(), 100_000);
    assert!(told > played.body.len());
}

#[tokio::test]
async fn a_hundred_megabytes_pass_at_constant_memory() {
    let stage = Stage::new().await;
    let call = stage.call("0046").await;
    stage.function.ready().await.unwrap();
    let idle = stage.function.usage().unwrap();
    let mut answer = stage.invoke(call, None).await;
    let mut bytes = 0;
    while let Some(chunk) = answer.chunk().await.unwrap() {
        bytes += chunk.len() as u64;
    }
    let peak = stage.function.usage().unwrap().peak_rss_bytes;
    let ratio = peak as f64 / idle.rss_bytes as f64;
    println!(
        "recording-proxy: {} MiB streamed; RSS {:.1} MiB idle, {:.1} MiB at its peak, ratio {ratio:.2}",
        bytes / MEGABYTE,
        idle.rss_bytes as f64 / MEGABYTE as f64,
        peak as f64 / MEGABYTE as f64,
    );
    assert_eq!(bytes, 100 * MEGABYTE);
    assert!(ratio <= 1.3);
}
