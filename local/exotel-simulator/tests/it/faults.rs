//! Faults of the API, the journal, and starting and stopping.

use std::error::Error as _;

use exotel_simulator::{Options, Simulator};
use http::header;
use serde_json::json;

use crate::harness::{Api, CALLS, call, calls_done, fast, start, within};

fn connect() -> String {
    format!("{CALLS}/connect.json")
}

/// Whether the client saw its connection reset.
fn is_reset(err: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(err);
    while let Some(err) = cause {
        if err
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionReset)
        {
            return true;
        }
        cause = err.source();
    }
    false
}

#[tokio::test]
async fn a_reset_leaves_no_answer_and_the_call_may_have_been_made_or_not() {
    let (handle, api) = start(fast()).await;
    for (to, calls) in [("+919811100019", 0), ("+919811100017", 1)] {
        let err = api.try_post(&connect(), &call(to, &[])).await.unwrap_err();
        assert!(is_reset(&err), "{err:?} {:?}", err.source());
        assert_eq!(handle.calls().len(), calls, "{to}");
    }
    calls_done(&handle, 1).await;
    let request = handle.requests().pop().unwrap();
    assert_eq!(request.fault.as_deref(), Some("reset_after_accept"));
    assert_eq!(
        (request.status, request.sid.as_deref()),
        (None, Some(handle.calls()[0].sid.as_str()))
    );
    assert_eq!(
        handle.dials().iter().filter(|dial| dial.leg == 2).count(),
        1,
        "the lead was rung all the same"
    );
}

#[tokio::test]
async fn a_hang_never_answers() {
    let (handle, api) = start(fast()).await;
    for (to, calls) in [("+919811100018", 0), ("+919811100016", 1)] {
        let fields = call(to, &[]);
        let (api, path) = (api.clone(), connect());
        let fault = if calls == 0 { "hang" } else { "hang_after_accept" };
        let arrived = handle.journal_until(|entries| {
            entries
                .iter()
                .filter_map(|entry| entry.request())
                .any(|request| request.fault.as_deref() == Some(fault))
        });
        tokio::select! {
            answer = api.try_post(&path, &fields) => panic!("answered: {answer:?}"),
            () = within(arrived) => {}
        }
        within(handle.calls_until(|all| all.len() == calls)).await;
    }
    assert!(handle.requests().iter().all(|request| request.status.is_none()));
}

#[tokio::test]
async fn a_gateways_page_may_hide_a_call_that_was_made() {
    let (handle, api) = start(fast()).await;
    for (to, calls) in [("+919811100015", 0), ("+919811100020", 1)] {
        let answer = api.post(&connect(), &call(to, &[])).await;
        assert_eq!(
            (answer.status, answer.header(header::CONTENT_TYPE)),
            (502, "text/html")
        );
        assert!(answer.text().starts_with("<html>"));
        assert_eq!(handle.calls().len(), calls);
    }
    let empty = api.post(&connect(), &call("+919811100023", &[])).await;
    assert_eq!((empty.status, empty.text()), (500, ""));
}

#[tokio::test]
async fn rules_hit_the_next_requests_that_match() {
    let (handle, api) = start(fast()).await;
    let rules = json!({"api": [
        {"fault": "unavailable", "on": "connect", "next": 2},
        {"fault": "rate_limited", "on": "call_details"}
    ]});
    assert_eq!(api.sim("POST", "/_sim/faults", rules).await.status, 204);
    let fields = call("+919811109999", &[]);
    assert_eq!(api.post(&connect(), &fields).await.refusal(), (503, Some(35_008)));
    assert_eq!(api.post(&connect(), &fields).await.refusal(), (503, Some(35_008)));
    let placed = api.post(&connect(), &fields).await;
    assert_eq!(placed.status, 200);
    assert_eq!(api.get(&format!("{CALLS}/x.json")).await.refusal(), (429, None));
    assert_eq!(api.get(&format!("{CALLS}.json")).await.status, 200);
    assert_eq!(
        api.sim("GET", "/_sim/faults", ().into()).await.json()["api"][0]["next"],
        0
    );
    assert_eq!(api.sim("DELETE", "/_sim/faults", ().into()).await.status, 204);
    assert_eq!(api.get(&format!("{CALLS}/x.json")).await.refusal(), (404, None));
    assert_eq!(handle.calls().len(), 1);
    let wrong = api
        .sim("PUT", "/_sim/faults", json!({"api": [{"fault": "explode"}]}))
        .await;
    assert_eq!(wrong.status, 400);
}

#[tokio::test]
async fn a_rate_hits_some_and_the_same_ones_again() {
    let run = async || {
        let (_handle, api) = start(fast()).await;
        let rules = json!({"seed": 3, "api": [{"fault": "gateway", "on": "connect", "rate": 0.5}]});
        api.sim("PUT", "/_sim/faults", rules).await;
        let mut statuses = Vec::new();
        for n in 0..30 {
            statuses.push(
                api.post(&connect(), &call(&format!("+9198111{n:02}999"), &[]))
                    .await
                    .status,
            );
        }
        statuses
    };
    let first = run().await;
    assert!(first.contains(&200) && first.contains(&502), "{first:?}");
    assert_eq!(first, run().await);
}

#[tokio::test]
async fn recordings_suffer_faults_too() {
    let (handle, api) = start(fast()).await;
    api.sim(
        "PUT",
        "/_sim/faults",
        json!({"api": [{"fault": "unavailable", "on": "recording", "next": 1}]}),
    )
    .await;
    let url = "/recordings/open/exotelrecordings/acme1/x.mp3";
    assert_eq!(api.get(url).await.status, 503);
    assert_eq!(api.get(url).await.status, 404);
    assert_eq!(handle.requests()[0].fault.as_deref(), Some("unavailable"));
}

#[tokio::test]
async fn the_journal_shows_requests_dials_and_no_secrets() {
    let (handle, api) = start(fast()).await;
    api.call("+919811109999", &[("CustomField", "lead:1")]).await;
    calls_done(&handle, 1).await;
    let all = api.get("/_sim/journal").await;
    assert!(
        !all.text().contains("simtoken") && !all.text().contains("c2lta2V5"),
        "{}",
        all.text()
    );
    let entries = all.json();
    assert_eq!(entries[0]["kind"], "request");
    assert_eq!(entries[0]["path"], connect());
    assert_eq!(entries[0]["params"]["CustomField"], "lead:1");
    assert_eq!(entries[0]["authorization"], "Basic [redacted]");
    assert_eq!(entries[0]["status"], 200);
    let kinds = async |query: &str| {
        let entries = api.get(&format!("/_sim/journal?{query}")).await.json();
        let kind = |entry: &serde_json::Value| entry["kind"].as_str().unwrap().to_owned();
        entries.as_array().unwrap().iter().map(kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds("kind=dial").await, ["dial", "dial"]);
    assert_eq!(
        kinds(&format!("sid={}&limit=2", handle.calls()[0].sid)).await,
        ["request", "dial"]
    );
    assert_eq!(kinds(&format!("since={}", entries[1]["id"])).await, ["dial"]);
    assert_eq!(api.get("/_sim/journal?sinse=1").await.status, 400);
    assert_eq!(api.sim("DELETE", "/_sim/journal", ().into()).await.status, 204);
    assert!(kinds("").await.is_empty());
    assert_eq!(handle.calls().len(), 1, "only the journal is forgotten");
}

#[tokio::test]
async fn a_reset_forgets_everything_and_no_sid_comes_twice() {
    let (handle, api) = start(fast()).await;
    let first = api.call("+919811109999", &[]).await;
    calls_done(&handle, 1).await;
    api.sim("PUT", "/_sim/faults", json!({"api": [{"fault": "gateway"}]}))
        .await;
    assert_eq!(api.sim("POST", "/_sim/reset", ().into()).await.status, 204);
    assert!(handle.calls().is_empty() && handle.journal().is_empty());
    assert_eq!(handle.rates()["acme1"].voice.received, 0);
    assert_ne!(api.call("+919811109999", &[]).await["Sid"], first["Sid"]);
    assert_eq!(api.get("/_sim/nothing").await.status, 404);
    assert_eq!(api.get("/_sim/health").await.json()["ok"], true);
}

#[tokio::test]
async fn a_stopped_simulator_is_gone_with_its_calls() {
    let (handle, api) = start(fast()).await;
    let url = handle.url().to_owned();
    let hanging = {
        let api = api.clone();
        tokio::spawn(async move {
            api.try_post(&connect(), &call("+919811100018", &[]))
                .await
                .is_err()
        })
    };
    within(handle.journal_until(|entries| !entries.is_empty())).await;
    within(handle.stop()).await;
    assert!(within(hanging).await.unwrap(), "the client is told");
    assert!(
        api.try_send("GET", &format!("{url}/_sim/health"), &[], "")
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_taken_port_and_a_meaningless_speed_are_told() {
    let (handle, _api) = start(fast()).await;
    let taken = Simulator::start(Options {
        listen: handle.address(),
        ..fast()
    })
    .await
    .unwrap_err();
    assert!(taken.to_string().contains("--port 0"), "{taken}");
    assert!(Simulator::start(Options { speed: 0.0, ..fast() }).await.is_err());
    assert!(
        Simulator::start(Options {
            accounts: vec![],
            ..fast()
        })
        .await
        .is_err()
    );
    assert_eq!(Api::of(&handle).get("/_sim/health").await.status, 200);
}
