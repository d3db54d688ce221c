//! What the others left: their logs, and what only time resolves.

use std::{collections::BTreeSet, fs, time::Duration};

use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    house::{House, SALES_FAMILY, until},
    monitoring::OTHER,
};

/// How long what is done each minute may take to show.
const MINUTES: Duration = Duration::from_secs(180);

#[tokio::test]
async fn a_call_whose_callbacks_were_all_lost_is_found_by_the_sweep() {
    let ended = found_by_the_sweep().await;
    assert_eq!(
        (&ended["durationSec"], &ended["hasRecording"]),
        (&json!(37), &json!(true))
    );
}

async fn found_by_the_sweep() -> Value {
    let house = House::open("silent");
    let agent = house.agent();
    // Every minute of its own accord; the row is looked up when it is three minutes old.
    until(Duration::from_secs(300), "the sweep finds it", async || {
        let calls = agent
            .get(&format!("{SALES_FAMILY}/silent-a/calls"))
            .await
            .is(200)
            .items();
        let call = calls.first().cloned().unwrap_or_default();
        if call["outcome"] == "connected" {
            Ok(call)
        } else {
            Err(call.to_string())
        }
    })
    .await
}

/// A day so long ago that the poller does not look there by itself. It runs once more for this, and repairs on the way
/// what the sweep should have found.
#[tokio::test]
async fn history_from_before_is_read_and_its_figures_are_exotels() {
    const CALLS: u64 = 60;
    found_by_the_sweep().await;
    let house = House::furnished("before").await;
    let quarter = |at: Timestamp| Timestamp::from_second(at.as_second() / 900 * 900).unwrap();
    let from = quarter(Timestamp::now() - SignedDuration::from_hours(40 * 24));
    let to = from + SignedDuration::from_hours(24);
    let traffic = json!({"seed": 3, "calls": CALLS, "from": from, "to": to, "webhooks": 0.0});
    house
        .simulator(Method::POST, "/_sim/traffic", Some(traffic))
        .await;
    let admin = house.admin();
    let asked = admin
        .post("/api/admin/backfill", json!({"from": from, "to": to}))
        .await
        .is(202);
    let id = asked.text_of("id");
    house.invoke("poll-calls").await;
    let done = until(MINUTES, "it is read", async || {
        let list = admin.get("/api/admin/backfill").await.is(200);
        let found = list.items().into_iter().find(|item| item["id"] == id);
        let found = found.unwrap_or_else(|| panic!("it is not on the list: {list:?}"));
        match found["status"] == "done" {
            true => Ok(found),
            false => Err(found.to_string()),
        }
    })
    .await;
    assert_eq!((&done["calls"], &done["changed"]), (&json!(CALLS), &json!(CALLS)));
    let totals = format!("/_sim/totals?from={from}&to={to}");
    let totals = house.simulator(Method::GET, &totals, None).await;
    let span = format!("from={from}&to={to}");
    until(MINUTES, "the figures are Exotel's", async || {
        let ours = admin
            .get(&format!("/api/admin/analytics/calls?{span}"))
            .await
            .is(200);
        let same = [
            ("calls", "total_calls"),
            ("connected", "connected_calls"),
            ("talk_secs", "talk_secs"),
            ("duration_secs", "total_duration_secs"),
            ("price", "price"),
        ]
        .iter()
        .all(|(theirs, name)| totals[theirs] == ours.json[name]);
        match same {
            true => Ok(()),
            false => Err(format!("{ours:?}, not {totals}")),
        }
    })
    .await;
    let history = format!("/api/admin/analytics/history?{span}");
    let page = admin.get(&format!("{history}&limit=100")).await.is(200);
    assert_eq!(page.items().len() as u64, CALLS);
    let csv = admin.get(&format!("{history}&format=csv")).await.is(200);
    assert_eq!(csv.text.lines().count() as u64, CALLS + 1);
    let again = admin
        .post("/api/admin/backfill", json!({"from": "2020-01-01"}))
        .await;
    again.problem(400, "bad_request").about("from");
}

#[tokio::test]
async fn the_exophone_that_failed_has_recovered_once() {
    let admin = House::open("recovered").admin();
    let recovered = until(MINUTES * 2, "it has recovered", async || {
        let page = admin.get("/api/admin/alerts?state=all").await.is(200);
        let mut alerts = page.items();
        alerts.retain(|alert| alert["rule"] == "exophone-affected" && alert["subject"] == OTHER);
        match alerts.iter().all(|alert| alert["state"] == "recovered") {
            true => Ok(alerts),
            false => Err(format!("{alerts:?}")),
        }
    })
    .await;
    assert_eq!(recovered.len(), 1, "{recovered:?}");
}

/// Every file that the stack wrote: the emulator's log and what the functions printed.
fn log() -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(House::logs()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "log") {
            lines.extend(
                String::from_utf8_lossy(&fs::read(&path).unwrap())
                    .lines()
                    .map(str::to_owned),
            );
        }
    }
    assert!(
        lines.iter().any(|line| line.contains("click-to-call")),
        "these are not the logs"
    );
    lines
}

#[tokio::test]
async fn no_line_of_the_logs_holds_a_secret() {
    let house = House::open("secrets");
    let secrets = house
        .aws("secretsmanager", "secretsmanager.ListSecrets", json!({}))
        .await;
    let mut told: BTreeSet<String> = [
        house.secret.clone(),
        house.ws_token.clone(),
        house.url("webhook_token").to_owned(),
        "simtoken".to_owned(),
        "simkey".to_owned(),
    ]
    .into();
    for secret in secrets["SecretList"].as_array().unwrap() {
        let value = house
            .aws(
                "secretsmanager",
                "secretsmanager.GetSecretValue",
                json!({"SecretId": secret["ARN"]}),
            )
            .await;
        let values: Value = serde_json::from_str(value["SecretString"].as_str().unwrap()).unwrap();
        told.extend(
            values
                .as_object()
                .unwrap()
                .iter()
                .filter(|(name, _)| *name != "EXOTEL_SID")
                .filter_map(|(_, value)| value.as_str())
                .filter(|value| !value.is_empty())
                .map(str::to_owned),
        );
    }
    assert!(told.len() >= 5, "the signing key is not among them");
    for path in ["/_sim/calls", "/_sim/messages"] {
        let all = house.simulator(reqwest::Method::GET, path, None).await;
        for entry in all.as_array().unwrap() {
            let url = entry["status_callback"].as_str().unwrap_or_default();
            // `…/{locator}/{kid}.{mac}`
            if let Some((_, mac)) = url.rsplit_once('.') {
                told.insert(mac.to_owned());
            }
        }
    }
    let lines = log();
    let mut found = Vec::new();
    for line in &lines {
        let jwt = has_jwt(line);
        let ticket = line.contains("ticket=");
        if jwt || ticket || told.iter().any(|secret| line.contains(secret.as_str())) {
            found.push(line);
        }
    }
    assert!(
        found.is_empty(),
        "{} of {} lines tell: {:#?}",
        found.len(),
        lines.len(),
        &found[..found.len().min(5)]
    );
}

/// Header and claims of a JWT: two JSON objects in base64url with a point between. One alone is no token: every
/// event's hash has such letters now and then.
fn has_jwt(line: &str) -> bool {
    line.match_indices(".eyJ").any(|(point, _)| {
        let is_token = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let header = line[..point].rsplit(|c| !is_token(c)).next().unwrap_or_default();
        header.starts_with("eyJ")
    })
}

#[test]
fn the_search_for_tokens_finds_them() {
    for line in [
        "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln",
        "?token=eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.",
    ] {
        assert!(has_jwt(line), "{line}");
    }
    for line in [
        "\"event.hash\":\"frWeyJgcKySrPs1smSDLDA\"",
        "eyJgcKySrPs1smSDLDAfrW",
        "a.eyJ",
    ] {
        assert!(!has_jwt(line), "{line}");
    }
}

#[tokio::test]
async fn no_line_of_the_logs_holds_a_whole_phone_number() {
    let lines = log();
    let found: Vec<_> = lines.iter().filter(|line| has_number(line)).collect();
    assert!(
        found.is_empty(),
        "{} of {} lines tell: {:#?}",
        found.len(),
        lines.len(),
        &found[..found.len().min(5)]
    );
}

/// An Indian mobile number that stands alone, in any of the forms that Exotel or people use.
fn has_number(line: &str) -> bool {
    let mut rest = line;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let before = rest[..start].chars().next_back();
        let run = &rest[start..];
        let end = run.find(|c: char| !c.is_ascii_digit()).unwrap_or(run.len());
        let after = run[end..].chars().next();
        let digits = &run[..end];
        let alone = !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.')
            && !after.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let national = digits
            .strip_prefix("0091")
            .or(digits.strip_prefix("91").filter(|rest| rest.len() == 10))
            .or(digits.strip_prefix('0'))
            .unwrap_or(digits);
        let is_number = alone && national.len() == 10 && national.starts_with(['6', '7', '8', '9']);
        if is_number && !is_of_uuid(&line[..line.len() - run.len()], run) {
            return true;
        }
        rest = &run[end..];
    }
    false
}

/// Whether what is between these two belongs to a UUID: a request's id ends in twelve digits now and then.
fn is_of_uuid(before: &str, after: &str) -> bool {
    let ends = |c: char| !c.is_ascii_hexdigit() && c != '-';
    let head = before.rsplit(ends).next().unwrap_or_default();
    let tail = after.split(ends).next().unwrap_or_default();
    let lengths: Vec<_> = format!("{head}{tail}").split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12]
}

#[test]
fn the_search_for_numbers_finds_them() {
    for line in [
        "to +919811100001 now",
        "\"From\":\"09811100001\"",
        "tel:9811100001",
        "00919811100001",
        "2026-11-26-919811100001",
    ] {
        assert!(has_number(line), "{line}");
    }
    for line in [
        "call_01m7w179t19811100001",
        "2026-11-21T05:00:00.981110000Z",
        "…0001",
        "0a9811100001b",
        "\"requestId\":\"128f99e1-9446-44ca-b116-919275239123\"",
    ] {
        assert!(!has_number(line), "{line}");
    }
}

#[tokio::test]
async fn no_function_panicked_or_timed_out() {
    let lines = log();
    let bad: Vec<_> = lines
        .iter()
        .filter(|line| {
            [
                "panicked at",
                "Task timed out",
                "Runtime exited",
                "Traceback (most recent call last)",
            ]
            .iter()
            .any(|word| line.contains(word))
        })
        .collect();
    assert!(
        bad.is_empty(),
        "{} lines: {:#?}",
        bad.len(),
        &bad[..bad.len().min(5)]
    );
}
