//! A seeded day, and what it adds up to.

use std::collections::BTreeMap;

use exotel_simulator::{
    BodyForm, CallStatus, CallView, Direction, Handle, Inbound, InboundOutcome, Options, Outcome, Traffic,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::harness::{Api, CALLS, Receiver, fast, manual_clock, start, within};

const FROM: &str = "2026-11-19T18:30:00Z";
const TO: &str = "2026-11-20T12:30:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn day(seed: u64, calls: u64) -> Traffic {
    Traffic::new(seed, calls, at(FROM), at(TO))
}

fn evening() -> Options {
    let (clock, _) = manual_clock(TO);
    Options { clock, ..fast() }
}

async fn play(api: &Api, more: Value) -> Value {
    let mut body = json!({"seed": 7, "calls": 200, "from": FROM, "to": TO});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    let answer = api.sim("POST", "/_sim/traffic", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Every call of the list with its details.
async fn listed(api: &Api) -> Vec<Value> {
    let mut target = format!("{CALLS}.json?PageSize=100&details=true");
    let mut calls = Vec::new();
    loop {
        let page = api.get(&target).await.json();
        calls.extend(page["Calls"].as_array().unwrap().iter().cloned());
        match page["Metadata"]["NextPageUri"].as_str() {
            Some(next) => target = next.to_owned(),
            None => return calls,
        }
    }
}

fn number(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.parse().unwrap(),
        other => other.as_u64().unwrap(),
    }
}

#[tokio::test]
async fn the_totals_are_those_of_the_list() {
    let (handle, api) = start(evening()).await;
    let more = json!({"inbound_share": 0.3, "dial_share": 0.2, "flow_share": 0.1,
                      "flows": ["228040", "228041"], "agents": ["+919811150001", "+919811150002"]});
    let played = play(&api, more).await;
    assert_eq!(played["callbacks"], 0, "nobody is to be told");
    let calls = listed(&api).await;
    assert_eq!(calls.len(), 200);
    let sum = |name: &str| calls.iter().map(|call| number(&call[name])).sum::<u64>();
    let count = |name: &str| {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for call in &calls {
            *counts.entry(call[name].as_str().unwrap().to_owned()).or_default() += 1;
        }
        json!(counts)
    };
    assert_eq!(played["calls"], 200);
    assert_eq!(played["by_status"], count("Status"));
    assert_eq!(played["by_direction"], count("Direction"));
    assert_eq!(played["by_direction"].as_object().unwrap().len(), 3);
    assert_eq!(played["duration_secs"], sum("Duration"));
    let talk = |call: &Value| number(&call["Details"]["ConversationDuration"]);
    assert_eq!(played["talk_secs"], calls.iter().map(talk).sum::<u64>());
    let price: f64 = calls
        .iter()
        .map(|call| call["Price"].as_str().unwrap().parse::<f64>().unwrap())
        .sum();
    assert_eq!(played["price"], format!("{price:.4}"));
    let legs = |call: &Value| call["Details"]["Legs"].as_array().unwrap().len();
    let connected = |call: &&Value| call["Status"] == "completed" && (talk(call) > 0 || legs(call) == 1);
    assert_eq!(played["connected"], calls.iter().filter(connected).count());
    let lost = |call: &&Value| matches!(call["Status"].as_str(), Some("failed" | "canceled"));
    assert_eq!(played["disconnected"], calls.iter().filter(lost).count());
    let all = number(&played["connected"]) + number(&played["not_picked"]) + number(&played["disconnected"]);
    assert_eq!(all, 200);
    assert!(played["connected"].as_u64() > Some(60) && played["disconnected"].as_u64() > Some(3));
    let by_view = |key: &dyn Fn(&CallView) -> Option<String>| {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for key in handle.calls().iter().filter_map(key) {
            *counts.entry(key).or_default() += 1;
        }
        counts
    };
    for (name, expected) in [
        ("by_flow", by_view(&|call| call.flow_id.clone())),
        ("by_agent", by_view(&|call| call.agent.clone())),
    ] {
        assert_eq!(expected.len(), 2);
        for (key, count) in expected {
            assert_eq!(played[name][&key]["calls"], count, "{name} {key}");
            assert!(played[name][&key]["talk_secs"].as_u64() > Some(0));
        }
    }

    let mut totals = played.clone();
    totals.as_object_mut().unwrap().remove("callbacks");
    let asked = api.get(&format!("/_sim/totals?from={FROM}&to={TO}")).await.json();
    assert_eq!(asked, totals);
    assert_eq!(
        api.get("/_sim/totals").await.json(),
        totals,
        "without a span it is all calls"
    );
    assert_eq!(
        serde_json::to_value(handle.totals(at(FROM), at(TO))).unwrap(),
        totals
    );
    let noon = at("2026-11-20T06:30:00Z");
    let (morning, afternoon) = (handle.totals(at(FROM), noon), handle.totals(noon, at(TO)));
    assert!(morning.calls > 50 && afternoon.calls > 10);
    assert_eq!(morning.calls + afternoon.calls, 200, "a call is in one span only");
    assert_eq!(api.get("/_sim/totals?since=1").await.status, 400);
    assert_eq!(api.get("/_sim/totals?account=acme9").await.status, 400);
}

#[tokio::test]
async fn the_same_seed_and_span_are_the_same_calls() {
    let run = async |simulator_seed: u64, seed: u64, calls: u64| {
        let (handle, _api) = start(Options {
            seed: Some(simulator_seed),
            ..evening()
        })
        .await;
        let played = handle.traffic(day(seed, calls)).await.unwrap();
        (handle.calls(), played.totals)
    };
    let (calls, totals) = run(1, 7, 60).await;
    assert_eq!((calls.clone(), totals), run(2, 7, 60).await);
    assert_ne!(calls, run(1, 8, 60).await.0);
    let (more, _) = run(1, 7, 90).await;
    assert!(
        calls.iter().all(|call| more.contains(call)),
        "the first 60 of 90 are the 60"
    );
    for call in &calls {
        let ended = call.ended.unwrap();
        assert!(call.created >= at(FROM) && ended <= at(TO) && call.created < ended);
        assert!(call.settled);
    }

    // Played again, they are no further calls.
    let (handle, _api) = start(evening()).await;
    handle.traffic(day(7, 60)).await.unwrap();
    let again = handle.traffic(day(7, 60)).await.unwrap();
    assert_eq!((handle.calls().len(), again.totals.calls), (60, 60));
    assert_eq!(handle.totals(at(FROM), at(TO)), again.totals);
}

#[tokio::test]
async fn callbacks_and_passthrus_go_to_whom_they_should() {
    let (hooks, applets) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    let (handle, api) = start(Options {
        default_form: BodyForm::Urlencoded,
        ..evening()
    })
    .await;
    let more = json!({"status_callback": hooks.url, "passthru": applets.url, "recordings": 1.0});
    let played = play(&api, more).await;
    assert_eq!(played["callbacks"], 200);
    let (hooks, applets) = (hooks.received(), applets.received());
    let by_direction = &played["by_direction"];
    assert_eq!(hooks.len() as u64, number(&by_direction["outbound-api"]));
    assert_eq!(applets.len() as u64, number(&by_direction["inbound"]));
    let calls: BTreeMap<String, Value> = listed(&api)
        .await
        .into_iter()
        .map(|call| (call["Sid"].as_str().unwrap().to_owned(), call))
        .collect();
    let mut talked = 0;
    for hook in &hooks {
        let call = &calls[&hook.field("CallSid").unwrap()];
        assert_eq!(hook.field("EventType").unwrap(), "terminal", "the extended form");
        assert_eq!(hook.field("Direction").unwrap(), "outbound-api");
        for (field, name) in [
            ("Status", "Status"),
            ("From", "From"),
            ("EndTime", "EndTime"),
            ("DateCreated", "DateCreated"),
        ] {
            assert_eq!(
                hook.field(field).unwrap(),
                call[name].as_str().unwrap(),
                "{field}"
            );
        }
        let talk = number(&call["Details"]["ConversationDuration"]);
        assert_eq!(hook.field("ConversationDuration").unwrap(), talk.to_string());
        assert_eq!(
            hook.field("Legs[0][OnCallDuration]").unwrap(),
            number(&call["Details"]["Legs"][0]["Leg"]["OnCallDuration"]).to_string()
        );
        let recording = hook.field("RecordingUrl").unwrap();
        assert_eq!(recording.is_empty(), talk == 0);
        if talk > 0 && talked == 0 {
            assert_eq!(api.get(&recording).await.status, 200, "it is there already");
        }
        talked += talk;
    }
    assert!(talked > 0);
    for applet in &applets {
        let call = &calls[&applet.field("CallSid").unwrap()];
        assert_eq!(applet.method, "GET");
        assert_eq!(
            applet.field("CallTo").unwrap(),
            call["PhoneNumberSid"].as_str().unwrap()
        );
        let nobody_rung = call["Details"]["Leg2Status"].is_null();
        assert_eq!(applet.field("CallType").unwrap() == "call-attempt", nobody_rung);
    }
    assert!(handle.callbacks().iter().all(|entry| entry.status == Some(200)));
}

#[tokio::test]
async fn lost_webhooks_are_the_same_ones_again() {
    let run = async |webhooks: f64| {
        let receiver = Receiver::start(&[]).await;
        let (_handle, api) = start(Options {
            default_form: BodyForm::Urlencoded,
            ..evening()
        })
        .await;
        let more = json!({"status_callback": receiver.url, "webhooks": webhooks, "inbound_share": 0.0});
        let played = play(&api, more).await;
        let mut told: Vec<String> = receiver
            .received()
            .iter()
            .map(|got| got.field("CallSid").unwrap())
            .collect();
        assert_eq!(number(&played["callbacks"]), told.len() as u64);
        told.sort();
        told
    };
    let some = run(0.4).await;
    assert!((50..110).contains(&some.len()), "{}", some.len());
    assert_eq!(some, run(0.4).await);
    assert_eq!(run(1.0).await.len(), 200);
    assert!(run(0.0).await.is_empty());
}

#[tokio::test]
async fn faults_and_refusals_befall_the_days_callbacks() {
    let receiver = Receiver::start(&[500, 500]).await;
    let (handle, api) = start(evening()).await;
    let faults = json!({"seed": 1, "callbacks": [{"fault": "drop", "event": "terminal", "rate": 0.5}]});
    api.sim("PUT", "/_sim/faults", faults).await;
    let more = json!({"status_callback": receiver.url, "inbound_share": 0.0, "calls": 40});
    assert_eq!(play(&api, more).await["callbacks"], 40);
    let dropped = handle
        .callbacks()
        .iter()
        .filter(|entry| entry.fault.is_some())
        .count();
    assert!((8..33).contains(&dropped), "{dropped}");
    // Those refused come again, later.
    within(handle.journal_until(|entries| {
        let callbacks = entries.iter().filter_map(|entry| entry.callback());
        callbacks.filter(|entry| entry.status == Some(200)).count() == 40 - dropped
    }))
    .await;
}

#[tokio::test]
async fn settings_decide_what_is_drawn() {
    let (handle, _api) = start(evening()).await;
    let only = |outcome| BTreeMap::from([(outcome, 1.0)]);
    let statuses = |handle: &Handle| {
        let mut statuses: Vec<_> = handle.calls().iter().map(|call| call.status.as_str()).collect();
        statuses.dedup();
        statuses
    };
    for (outcome, status) in [
        (Outcome::Canceled, CallStatus::Canceled),
        (Outcome::Leg1NoAnswer, CallStatus::NoAnswer),
    ] {
        handle.reset();
        let traffic = Traffic {
            mix: only(outcome),
            inbound_share: 0.0,
            ..day(7, 30)
        };
        handle.traffic(traffic).await.unwrap();
        assert_eq!(statuses(&handle), [status.as_str()]);
        assert!(
            handle
                .calls()
                .iter()
                .all(|call| call.direction == Direction::OutboundApi)
        );
    }
    handle.reset();
    let traffic = Traffic {
        inbound_mix: BTreeMap::from([(InboundOutcome::Voicemail, 1.0)]),
        inbound_share: 1.0,
        recordings: 1.0,
        flows: vec!["9".to_owned()],
        ..day(7, 30)
    };
    let played = handle.traffic(traffic).await.unwrap();
    assert_eq!((played.totals.not_picked, played.totals.talk_secs), (30, 0));
    assert_eq!(played.totals.by_flow["9"].calls, 30);
    assert!(handle.calls().iter().all(|call| call.recording_url.is_some()));
    handle.reset();
    let traffic = Traffic {
        inbound_share: 0.0,
        dial_share: 1.0,
        flow_share: 1.0,
        mix: only(Outcome::Completed),
        ..day(7, 30)
    };
    let played = handle.traffic(traffic).await.unwrap();
    assert_eq!(played.totals.connected, 30);
    assert_eq!(played.totals.by_direction["outbound-dial"], 30);
    assert!(played.totals.by_agent.is_empty(), "one leg has no agent");

    // A span of ten seconds has calls of five at most.
    handle.reset();
    let short = Traffic {
        from: at("2026-11-20T12:29:50Z"),
        ..day(7, 50)
    };
    handle.traffic(short).await.unwrap();
    for call in handle.calls() {
        assert!(call.ended.unwrap() <= at(TO) && call.created >= at("2026-11-20T12:29:50Z"));
    }
}

#[tokio::test]
async fn live_calls_count_once_they_have_ended() {
    let (handle, _api) = start(fast()).await;
    let begun = Timestamp::now() - jiff::SignedDuration::from_secs(1);
    handle.inbound(Inbound::from("+919811109999")).unwrap();
    within(handle.calls_until(|calls| calls.iter().all(|call| call.settled))).await;
    let end = Timestamp::now() + jiff::SignedDuration::from_secs(1);
    let totals = handle.totals(begun, end);
    assert_eq!((totals.calls, totals.connected, totals.talk_secs), (1, 1, 37));
    assert_eq!((totals.price.as_str(), totals.unsettled), ("0.5000", 0));
    assert_eq!(handle.totals(end, end).calls, 0);
}

#[tokio::test]
async fn ten_thousand_calls_with_their_callbacks_are_played_and_listed() {
    let receiver = Receiver::start(&[]).await;
    let (handle, api) = start(Options {
        voice_limit: usize::MAX,
        ..evening()
    })
    .await;
    let traffic = Traffic {
        status_callback: Some(receiver.url.clone()),
        webhooks: 0.2,
        inbound_share: 0.0,
        ..day(11, 10_000)
    };
    let played = handle.traffic(traffic).await.unwrap();
    assert_eq!(played.totals.calls, 10_000);
    assert_eq!(receiver.received().len() as u64, played.callbacks);
    let calls = listed(&api).await;
    assert_eq!(calls.len(), 10_000);
    let secs: u64 = calls.iter().map(|call| number(&call["Duration"])).sum();
    assert_eq!(secs, played.totals.duration_secs);
}

#[tokio::test]
async fn what_cannot_be_played_is_refused_in_words() {
    let (handle, api) = start(evening()).await;
    let body = |more: Value| {
        let mut body = json!({"seed": 7, "calls": 2, "from": FROM, "to": TO});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    for (more, says) in [
        (json!({"to": "2026-11-20T12:30:01Z"}), "lies ahead"),
        (json!({"from": TO}), "`from` must lie before"),
        (json!({"calls": 1_000_001}), "`calls`"),
        (json!({"webhooks": 1.5}), "`webhooks`"),
        (json!({"inbound_share": -0.1}), "`inbound_share`"),
        (json!({"mix": {}}), "`mix`"),
        (json!({"mix": {"completed": -1.0}}), "`mix`"),
        (json!({"mix": {"lost": 1.0}}), "lost"),
        (json!({"inbound_mix": {"voicemail": 0.0}}), "`inbound_mix`"),
        (json!({"agents": []}), "`agents`"),
        (json!({"agents": ["hello"]}), "hello"),
        (json!({"flows": []}), "`flows`"),
        (
            json!({"status_callback": "https://x.example.in/"}),
            "`status_callback`",
        ),
        (json!({"passthru": "hello"}), "Passthru"),
        (json!({"account": "acme9"}), "acme9"),
        (json!({"sead": 7}), "sead"),
        (json!({"from": "2026-11-20 08:00:00"}), "JSON body"),
    ] {
        let answer = api.sim("POST", "/_sim/traffic", body(more.clone())).await;
        assert_eq!(answer.status, 400, "{more}");
        assert!(answer.text().contains(says), "{more}: {}", answer.text());
    }
    assert!(handle.calls().is_empty());
    assert_eq!(
        api.sim("POST", "/_sim/traffic", body(json!({}))).await.json()["calls"],
        2
    );
}
