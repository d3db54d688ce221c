//! HeartBeat: what is pushed, when, and what befalls it.

use exotel_simulator::{
    Account, EmptyAs, Error, ExophoneHealth, Handle, Heartbeat, Nesting, Options, Simulator, Timings,
};
use serde_json::{Value, json};

use crate::harness::{Api, Receiver, callbacks_done, fast, manual_clock, start, within};

fn two_exophones() -> Options {
    let account = Account {
        exophones: vec!["08045550100".to_owned(), "08045550101".to_owned()],
        ..Account::new("acme1", "simkey", "simtoken")
    };
    Options {
        accounts: vec![account],
        ..fast()
    }
}

fn set(handle: &Handle, number: &str, incoming: &str, outgoing: &str) {
    let health = ExophoneHealth {
        number: Some(number.to_owned()),
        incoming: Some(incoming.to_owned()),
        outgoing: Some(outgoing.to_owned()),
        ..ExophoneHealth::default()
    };
    handle.set_exophones(vec![health]).unwrap();
}

async fn subscribe(api: &Api, body: Value) {
    let answer = api.sim("POST", "/_sim/heartbeat", body).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
}

/// Pushes, and gives what arrived at the receiver.
async fn push(api: &Api, receiver: &Receiver, body: Value) -> Value {
    let before = receiver.received().len();
    let answer = api.sim("POST", "/_sim/heartbeat/push", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let received = receiver.received()[before..].to_vec();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].content_type, "application/json");
    let arrived: Value = serde_json::from_str(&received[0].body).unwrap();
    assert_eq!(answer.json()["payload"], arrived);
    assert_eq!(answer.json()["status"], 200);
    arrived
}

#[tokio::test]
async fn the_status_follows_the_health_of_all_exophones() {
    let receiver = Receiver::start(&[]).await;
    let (clock, _) = manual_clock("2026-11-20T08:40:00.25Z");
    let (handle, api) = start(Options {
        clock,
        ..two_exophones()
    })
    .await;
    subscribe(&api, json!({"url": receiver.url})).await;
    let none = push(&api, &receiver, json!({})).await;
    assert_eq!(
        none,
        json!({"timestamp": "2026-11-20T08:40:00Z", "status_type": "OK", "incoming_affected": null,
               "outgoing_affected": null, "data": {}})
    );

    set(&handle, "08045550100", "major_outage", "active");
    let one = push(&api, &receiver, json!({})).await;
    let direction = |status: &str| json!({"status": status, "last_check_time": "2026-11-20T08:40:00Z", "alternate_exophone": null});
    assert_eq!(
        one,
        json!({"timestamp": "2026-11-20T08:40:00Z", "status_type": "WARNING",
               "incoming_affected": ["08045550100"], "outgoing_affected": null,
               "data": {"08045550100": {"connectivity": {"incoming_call": direction("major_outage"),
                                                         "outgoing_call": direction("active")}}}})
    );

    set(&handle, "08045550101", "active", "partial_network_outage");
    let all = push(&api, &receiver, json!({})).await;
    assert_eq!(all["status_type"], "CRITICAL");
    assert_eq!(all["outgoing_affected"], json!(["08045550101"]));
    assert_eq!(all["data"].as_object().unwrap().len(), 2);

    set(&handle, "08045550100", "active", "active");
    set(&handle, "08045550101", "active", "active");
    assert_eq!(push(&api, &receiver, json!({})).await["status_type"], "OK");
    let entry = handle.callbacks().pop().unwrap();
    assert_eq!((entry.event.as_str(), entry.sid.as_str()), ("heartbeat", "acme1"));
    assert_eq!(entry.params.get("status_type"), Some("OK"));
}

#[tokio::test]
async fn nesting_empty_lists_and_status_can_be_chosen() {
    let receiver = Receiver::start(&[]).await;
    let (handle, api) = start(two_exophones()).await;
    set(&handle, "08045550100", "major_outage", "active");
    let flat = json!({"url": receiver.url, "nesting": "flat", "empty_as": "array"});
    subscribe(&api, flat).await;
    let payload = push(&api, &receiver, json!({})).await;
    assert_eq!(
        payload["data"]["08045550100"]["incoming_call"]["status"],
        "major_outage"
    );
    assert_eq!(payload["outgoing_affected"], json!([]));

    let large = push(&api, &receiver, json!({"status": "PAYLOAD_TOO_LARGE"})).await;
    assert_eq!(large["status_type"], "PAYLOAD_TOO_LARGE");
    assert_eq!(
        (&large["incoming_affected"], &large["data"]),
        (&json!([]), &json!({}))
    );
    assert_eq!(
        push(&api, &receiver, json!({})).await["status_type"],
        "WARNING",
        "that was for one push"
    );

    subscribe(&api, json!({"url": receiver.url, "status": "CRITICAL"})).await;
    let forced = push(&api, &receiver, json!({})).await;
    assert_eq!(forced["status_type"], "CRITICAL");
    assert_eq!(
        forced["incoming_affected"],
        json!(["08045550100"]),
        "the rest is as it is"
    );
    let seen = api.sim("GET", "/_sim/heartbeat", ().into()).await.json();
    assert_eq!(
        (&seen["status"], &seen["nesting"]),
        (&json!("CRITICAL"), &json!("connectivity"))
    );
}

#[tokio::test]
async fn it_comes_by_the_clock_until_the_subscription_ends() {
    let receiver = Receiver::start(&[]).await;
    let (handle, api) = start(two_exophones()).await;
    subscribe(&api, json!({"url": receiver.url, "every_ms": 60_000})).await;
    callbacks_done(&handle, 3).await;
    assert_eq!(api.sim("DELETE", "/_sim/heartbeat", ().into()).await.status, 204);
    assert_eq!(
        api.sim("GET", "/_sim/heartbeat", ().into()).await.json(),
        Value::Null
    );
    let answer = api.sim("POST", "/_sim/heartbeat/push", json!({})).await;
    assert_eq!(answer.status, 409, "nobody has subscribed");
    assert!(handle.push_heartbeat().await.is_err());
    // A new one takes the place of the old one, whose pushes went elsewhere.
    let other = Receiver::start(&[]).await;
    subscribe(&api, json!({"url": receiver.url, "every_ms": 60_000})).await;
    subscribe(&api, json!({"url": other.url})).await;
    within(handle.journal_until(|entries| {
        let mut callbacks = entries.iter().filter_map(|entry| entry.callback());
        callbacks.all(|callback| callback.answered_at.is_some())
    }))
    .await;
    handle.push_heartbeat().await.unwrap();
    assert_eq!(other.received().len(), 1);
    assert_eq!(handle.callbacks().pop().unwrap().url, other.url);
    handle.set_heartbeat(None).unwrap();
    assert!(handle.push_heartbeat().await.is_err());
}

#[tokio::test]
async fn options_subscribe_from_the_start_and_after_a_reset() {
    let receiver = Receiver::start(&[]).await;
    let heartbeat = Heartbeat {
        url: receiver.url.clone(),
        every_ms: Some(60_000),
        nesting: Nesting::Flat,
        empty_as: EmptyAs::Array,
        ..Heartbeat::default()
    };
    let options = Options {
        heartbeat: Some(heartbeat.clone()),
        ..two_exophones()
    };
    let (handle, _api) = start(options.clone()).await;
    callbacks_done(&handle, 2).await;
    handle.reset();
    callbacks_done(&handle, 2).await;
    let arrived: Value = serde_json::from_str(&receiver.received()[0].body).unwrap();
    assert_eq!(arrived["incoming_affected"], json!([]));

    let https = Heartbeat {
        url: "https://hooks.example.in/heartbeat".to_owned(),
        ..heartbeat
    };
    let refused = Simulator::start(Options {
        heartbeat: Some(https),
        ..options
    })
    .await
    .unwrap_err();
    assert!(
        matches!(&refused, Error::Options(problem) if problem.contains("plain http")),
        "{refused}"
    );
}

#[tokio::test]
async fn anything_but_200_is_sent_twice_more() {
    let receiver = Receiver::start(&[204, 500, 200]).await;
    let (handle, api) = start(two_exophones()).await;
    subscribe(&api, json!({"url": receiver.url})).await;
    let pushed = handle.push_heartbeat().await.unwrap();
    assert_eq!(pushed.status, Some(204));
    callbacks_done(&handle, 3).await;
    let attempts: Vec<_> = handle
        .callbacks()
        .iter()
        .map(|callback| (callback.attempt, callback.status))
        .collect();
    assert_eq!(attempts, [(1, Some(204)), (2, Some(500)), (3, Some(200))]);
    let bodies: Vec<String> = receiver.received().into_iter().map(|got| got.body).collect();
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
}

#[tokio::test]
async fn it_suffers_the_faults_of_callbacks() {
    let receiver = Receiver::start(&[]).await;
    let (handle, api) = start(two_exophones()).await;
    subscribe(&api, json!({"url": receiver.url})).await;
    let faults = |fault: &str| json!({"callbacks": [{"fault": fault, "event": "heartbeat", "next": 1, "delay_ms": 1_000}]});
    api.sim("PUT", "/_sim/faults", faults("drop")).await;
    assert_eq!(handle.push_heartbeat().await.unwrap().status, None);
    assert!(receiver.received().is_empty());
    assert_eq!(handle.callbacks()[0].fault.as_deref(), Some("dropped"));

    api.sim("PUT", "/_sim/faults", faults("duplicate")).await;
    assert_eq!(handle.push_heartbeat().await.unwrap().status, Some(200));
    callbacks_done(&handle, 3).await;
    assert_eq!(receiver.received().len(), 2);

    api.sim("PUT", "/_sim/faults", faults("delay")).await;
    assert_eq!(handle.push_heartbeat().await.unwrap().status, None);
    callbacks_done(&handle, 4).await;
    assert_eq!(receiver.received().len(), 3);
    assert_eq!(handle.callbacks()[3].fault.as_deref(), Some("delayed"));

    api.sim(
        "PUT",
        "/_sim/faults",
        json!({"callbacks": [{"fault": "drop", "event": "terminal"}]}),
    )
    .await;
    assert_eq!(
        handle.push_heartbeat().await.unwrap().status,
        Some(200),
        "another event's rule is none of its business"
    );
}

#[tokio::test]
async fn what_cannot_be_pushed_is_refused_in_words() {
    let (handle, api) = start(two_exophones()).await;
    for (body, says) in [
        (json!({}), "url"),
        (json!({"url": "hello"}), "no URL"),
        (json!({"url": "https://hooks.example.in/"}), "plain http"),
        (json!({"url": "http://127.0.0.1:9/", "every_ms": 0}), "no time"),
        (json!({"url": "http://127.0.0.1:9/", "account": "acme9"}), "acme9"),
        (json!({"url": "http://127.0.0.1:9/", "nesting": "round"}), "round"),
    ] {
        let answer = api.sim("POST", "/_sim/heartbeat", body.clone()).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.text().contains(says), "{body}: {}", answer.text());
    }
    let answer = api
        .sim("POST", "/_sim/heartbeat/push", json!({"status": "SICK"}))
        .await;
    assert_eq!(answer.status, 400);
    // Nobody listening: told, and tried again.
    let timings = Timings {
        retry_ms: vec![1],
        ..Timings::default()
    };
    drop(handle);
    let (handle, _api) = start(Options {
        timings,
        ..two_exophones()
    })
    .await;
    let unused = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let heartbeat = Heartbeat {
        url: format!("http://{unused}/heartbeat"),
        ..Heartbeat::default()
    };
    handle.set_heartbeat(Some(heartbeat)).unwrap();
    assert_eq!(handle.push_heartbeat().await.unwrap().status, None);
    callbacks_done(&handle, 2).await;
    assert!(handle.callbacks().iter().all(|callback| callback.error.is_some()));
}
