//! Calls that come in, and the Passthru applet.

use exotel_simulator::{
    Account, Branch, Direction, Error, Handle, Inbound, InboundOutcome, Options, Simulator, Timings,
};
use serde_json::{Value, json};

use crate::harness::{Api, CALLS, FOR_EVER, Receiver, callbacks_done, fast, manual_clock, start, within};

const CALLER: &str = "+919811109999";

fn through(receiver: &Receiver, outcome: InboundOutcome) -> Inbound {
    Inbound {
        passthru: Some(receiver.url.clone()),
        outcome,
        ..Inbound::from(CALLER)
    }
}

async fn settled(handle: &Handle, count: usize) {
    within(handle.calls_until(|calls| calls.iter().filter(|call| call.settled).count() == count)).await;
}

async fn listed(api: &Api, query: &str) -> Value {
    api.get(&format!("{CALLS}.json?details=true&{query}"))
        .await
        .json()["Calls"]
        .clone()
}

#[tokio::test]
async fn the_passthru_is_asked_before_and_after_connect() {
    let receiver = Receiver::start(&[]).await;
    let (clock, _) = manual_clock("2026-11-20T08:33:11Z");
    let (handle, api) = start(Options { clock, ..fast() }).await;
    let body = json!({"from": CALLER, "exophone": "08045550100", "flow_id": "228041", "agent": "+919811150007",
                      "outcome": "completed", "digits": "12", "talk_ms": 90_000, "ring_ms": 4_000,
                      "passthru": receiver.url, "sync": true});
    let answer = api.sim("POST", "/_sim/inbound", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sid = answer.json()["sid"].as_str().unwrap().to_owned();
    assert_eq!(answer.json()["direction"], "inbound");
    settled(&handle, 1).await;

    let got = receiver.received();
    assert_eq!(got.len(), 2);
    let word = |text: &str| Some(text.to_owned());
    for call in &got {
        assert_eq!(
            (
                call.method.as_str(),
                call.content_type.as_str(),
                call.body.as_str()
            ),
            ("GET", "", "")
        );
        assert!(call.query.starts_with("t=secret&CallSid="), "{}", call.query);
        for (name, value) in [
            ("CallSid", sid.as_str()),
            ("CallFrom", "09811109999"),
            ("CallTo", "08045550100"),
            ("From", "09811109999"),
            ("To", "08045550100"),
            ("Direction", "incoming"),
            ("Created", "Fri, 20 Nov 2026 14:03:11"),
            ("StartTime", "2026-11-20 14:03:11"),
            ("EndTime", "1970-01-01 05:30:00"),
            ("CurrentTime", "2026-11-20 14:03:11"),
            ("digits", "\"12\""),
            ("CustomField", "null"),
            ("flow_id", "228041"),
            ("ForwardedFrom", "null"),
            ("ProcessStatus", "null"),
        ] {
            assert_eq!(call.field(name), word(value), "{name}");
        }
        assert!(call.field("tenant_id").unwrap().parse::<u64>().is_ok());
    }
    for (name, before, after) in [
        ("CallStatus", "in-progress", "completed"),
        ("CallType", "call-attempt", "completed"),
        ("DialCallDuration", "0", "94"),
        ("DialCallStatus", "null", "completed"),
        ("DialWhomNumber", "", "09811150007"),
        ("OutgoingPhoneNumber", "null", "08045550100"),
    ] {
        assert_eq!(got[0].field(name), word(before), "{name} before");
        assert_eq!(got[1].field(name), word(after), "{name} after");
    }
    assert_eq!(got[0].field("RecordingUrl"), word("null"));
    assert_eq!(got[0].field("RecordingAvailableBy"), None);
    assert_eq!(got[0].field("Legs[0][Number]"), None);
    assert!(got[1].field("RecordingUrl").unwrap().ends_with(".mp3"));
    assert_eq!(
        got[1].field("RecordingAvailableBy"),
        word("Fri, 20 Nov 2026 14:08:11")
    );
    for (name, value) in [
        ("Number", "09811150007"),
        ("Type", "single"),
        ("OnCallDuration", "90"),
        ("CallerId", "08045550100"),
        ("CauseCode", "NORMAL_CLEARING"),
        ("Cause", "16"),
    ] {
        assert_eq!(got[1].field(&format!("Legs[0][{name}]")), word(value), "{name}");
    }

    let view = handle.calls().remove(0);
    assert_eq!(view.branches, [Branch::A, Branch::A]);
    assert_eq!(
        (view.digits.as_deref(), view.agent.as_deref()),
        (Some("12"), Some("09811150007"))
    );
    let journal = handle.callbacks();
    assert!(
        journal
            .iter()
            .all(|entry| entry.event == "passthru" && entry.method == "GET")
    );
    assert_eq!(journal[1].branch, Some(Branch::A));
    assert_eq!(
        api.get("/_sim/journal?kind=callback").await.json()[0]["branch"],
        "A"
    );
    let call = &listed(&api, "Direction=inbound").await[0];
    assert_eq!(call["Sid"], json!(sid));
    assert_eq!(
        (&call["From"], &call["To"], &call["PhoneNumberSid"]),
        (
            &json!("09811109999"),
            &json!("08045550100"),
            &json!("08045550100")
        )
    );
    assert_eq!(
        (&call["Status"], &call["Duration"]),
        (&json!("completed"), &json!("94"))
    );
    assert_eq!(call["Price"], "1.000");
    assert_eq!(call["Details"]["ConversationDuration"], 90);
    assert_eq!(listed(&api, "To=08045550100").await[0]["Sid"], json!(sid));
    assert_eq!(listed(&api, "To=09811150007").await, json!([]));
    let v3 = api.get(&format!("/v3/accounts/acme1/calls/{sid}")).await.json();
    let v3 = &v3["response"]["call_details"];
    assert_eq!(
        (&v3["direction"], &v3["app_id"], &v3["digits"]),
        (&json!("inbound"), &json!("228041"), &json!("1-2"))
    );
}

#[tokio::test]
async fn each_outcome_has_its_words() {
    use InboundOutcome::{Busy, CallAttempt, ClientHangup, Completed, Failed, NoAnswer, Voicemail};
    for (outcome, status, call_type, dial_status, leg2, talk, cause, recorded) in [
        (
            Completed,
            "completed",
            "completed",
            "completed",
            json!("completed"),
            37,
            "NORMAL_CLEARING",
            true,
        ),
        (
            NoAnswer,
            "no-answer",
            "incomplete",
            "no-answer",
            json!("no-answer"),
            0,
            "RING_TIMEOUT",
            false,
        ),
        (
            Busy,
            "busy",
            "incomplete",
            "busy",
            json!("busy"),
            0,
            "USER_BUSY",
            false,
        ),
        (
            Failed,
            "failed",
            "incomplete",
            "failed",
            json!("failed"),
            0,
            "NORMAL_TEMPORARY_FAILURE",
            false,
        ),
        (
            ClientHangup,
            "canceled",
            "client-hangup",
            "canceled",
            json!("canceled"),
            0,
            "ORIGINATOR_CANCEL",
            false,
        ),
        (
            Voicemail,
            "completed",
            "voicemail",
            "no-answer",
            json!("no-answer"),
            0,
            "RING_TIMEOUT",
            true,
        ),
        (
            CallAttempt,
            "completed",
            "call-attempt",
            "null",
            Value::Null,
            37,
            "",
            true,
        ),
    ] {
        let receiver = Receiver::start(&[]).await;
        let (handle, api) = start(fast()).await;
        handle.inbound(through(&receiver, outcome)).unwrap();
        settled(&handle, 1).await;
        let got = receiver.received();
        let last = got.last().unwrap();
        assert_eq!(
            got.len(),
            if outcome == CallAttempt { 1 } else { 2 },
            "{outcome:?}"
        );
        assert_eq!(last.field("CallType").unwrap(), call_type, "{outcome:?}");
        assert_eq!(last.field("DialCallStatus").unwrap(), dial_status, "{outcome:?}");
        if outcome != CallAttempt {
            assert_eq!(last.field("CallStatus").unwrap(), status);
            assert_eq!(last.field("Legs[0][CauseCode]").unwrap(), cause);
            assert_eq!(
                last.field("RecordingUrl").unwrap() != "null",
                recorded,
                "{outcome:?}"
            );
        }
        let call = &listed(&api, "").await[0];
        assert_eq!(call["Status"], status, "{outcome:?}");
        assert_eq!(call["Details"]["Leg1Status"], "completed");
        assert_eq!(call["Details"]["Leg2Status"], leg2, "{outcome:?}");
        assert_eq!(call["Details"]["ConversationDuration"], talk, "{outcome:?}");
        assert_eq!(call["RecordingUrl"].is_string(), recorded, "{outcome:?}");
        let legs = call["Details"]["Legs"].as_array().unwrap().len();
        assert_eq!(legs, if outcome == CallAttempt { 1 } else { 2 });
        assert_eq!(handle.dials().len(), legs - 1, "only the agent is rung");
        let as_json = serde_json::to_value(outcome).unwrap();
        assert_eq!(
            serde_json::from_value::<InboundOutcome>(as_json).unwrap(),
            outcome
        );
    }
    assert_eq!(serde_json::to_string(&ClientHangup).unwrap(), "\"client-hangup\"");
}

#[tokio::test]
async fn the_status_picks_the_branch() {
    for (statuses, expected) in [
        (vec![200, 302], vec![Branch::A, Branch::B]),
        (vec![302, 200], vec![Branch::B, Branch::A]),
        (vec![500], vec![Branch::Halted]),
        (vec![204], vec![Branch::Halted]),
        (vec![200, 404], vec![Branch::A, Branch::Halted]),
    ] {
        let receiver = Receiver::start(&statuses).await;
        let (handle, api) = start(fast()).await;
        handle
            .inbound(through(&receiver, InboundOutcome::Completed))
            .unwrap();
        settled(&handle, 1).await;
        let view = handle.calls().remove(0);
        assert_eq!(view.branches, expected, "{statuses:?}");
        assert_eq!(
            receiver.received().len(),
            statuses.len(),
            "it is never sent again"
        );
        let call = &listed(&api, "").await[0];
        if expected[0] == Branch::Halted {
            assert_eq!(
                (&call["Status"], &call["Details"]["Leg2Status"]),
                (&json!("failed"), &Value::Null)
            );
            assert!(handle.dials().is_empty());
        } else {
            assert_eq!(call["Status"], "completed");
        }
    }
}

#[tokio::test]
async fn nobody_waits_for_an_async_passthru() {
    // Accepts connections and never answers: a caller who waited would wait for ever.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (handle, _api) = start(Options {
        callback_timeout_ms: FOR_EVER,
        ..fast()
    })
    .await;
    let inbound = Inbound {
        passthru: Some(format!("http://{}/", silent.local_addr().unwrap())),
        sync: false,
        ..Inbound::from(CALLER)
    };
    handle.inbound(inbound).unwrap();
    settled(&handle, 1).await;
    assert!(handle.calls()[0].branches.is_empty());
    let receiver = Receiver::start(&[500, 500]).await;
    let inbound = Inbound {
        sync: false,
        ..through(&receiver, InboundOutcome::Busy)
    };
    let sid = handle.inbound(inbound).unwrap();
    within(handle.journal_until(|entries| {
        let mut callbacks = entries.iter().filter_map(|entry| entry.callback());
        callbacks
            .by_ref()
            .filter(|entry| entry.sid == sid && entry.status == Some(500))
            .count()
            == 2
    }))
    .await;
    settled(&handle, 2).await;
    assert!(handle.callbacks().iter().all(|entry| entry.branch.is_none()));
    assert_eq!(
        receiver.received().len(),
        2,
        "a refusal changes nothing and is not repeated"
    );
}

#[tokio::test]
async fn a_sync_passthru_that_never_answers_halts_the_flow() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (handle, _api) = start(Options {
        callback_timeout_ms: 20,
        ..fast()
    })
    .await;
    let inbound = Inbound {
        passthru: Some(format!("http://{}/", silent.local_addr().unwrap())),
        ..Inbound::from(CALLER)
    };
    handle.inbound(inbound).unwrap();
    settled(&handle, 1).await;
    assert_eq!(handle.calls()[0].branches, [Branch::Halted]);
    let entry = handle.callbacks().remove(0);
    assert_eq!((entry.status, entry.branch), (None, Some(Branch::Halted)));
    assert!(entry.error.unwrap().contains("20 ms"));
}

#[tokio::test]
async fn the_passthru_set_once_serves_inbound_calls_and_flows() {
    let receiver = Receiver::start(&[200, 200, 302, 500]).await;
    let (handle, api) = start(fast()).await;
    handle.inbound(Inbound::from(CALLER)).unwrap();
    settled(&handle, 1).await;
    assert!(
        handle.callbacks().is_empty(),
        "without a URL the flow has no Passthru"
    );
    let url = json!({"url": receiver.url});
    assert_eq!(api.sim("PUT", "/_sim/passthru", url.clone()).await.status, 204);
    assert_eq!(api.sim("GET", "/_sim/passthru", ().into()).await.json(), url);
    handle.inbound(Inbound::from(CALLER)).unwrap();
    settled(&handle, 2).await;
    assert_eq!(receiver.received().len(), 2);

    let flow = [
        ("From", "+919811109997"),
        ("CallerId", "08045550100"),
        ("Url", "http://my.exotel.com/acme1/exoml/start_voice/228040"),
        ("CustomField", "lead:7f3"),
    ];
    assert_eq!(api.post(&format!("{CALLS}/connect"), &flow).await.status, 200);
    settled(&handle, 3).await;
    let got = receiver.received().pop().unwrap();
    for (name, value) in [
        ("Direction", "outbound-dial"),
        ("CallFrom", "08045550100"),
        ("CallTo", "09811109997"),
        ("CustomField", "lead:7f3"),
        ("flow_id", "228040"),
        ("digits", "null"),
        ("CallType", "call-attempt"),
        ("DialCallStatus", "null"),
    ] {
        assert_eq!(got.field(name).unwrap(), value, "{name}");
    }
    let by_caller = |number: &str| {
        let calls = handle.calls();
        calls.into_iter().find(|call| call.from == number).unwrap()
    };
    assert_eq!(by_caller("09811109997").branches, [Branch::B]);
    assert_eq!(by_caller("09811109997").conversation_secs, 37);

    let mut halted = flow;
    halted[0].1 = "+919811109996";
    api.post(&format!("{CALLS}/connect"), &halted).await;
    settled(&handle, 4).await;
    let halted = by_caller("09811109996");
    assert_eq!(halted.branches, [Branch::Halted]);
    assert_eq!((halted.status.as_str(), halted.conversation_secs), ("failed", 0));

    let received = receiver.received().len();
    api.call("+919811109998", &[]).await;
    settled(&handle, 5).await;
    assert_eq!(receiver.received().len(), received, "two numbers are no flow");
    assert_eq!(api.sim("DELETE", "/_sim/passthru", ().into()).await.status, 204);
    assert_eq!(
        api.sim("GET", "/_sim/passthru", ().into()).await.json()["url"],
        Value::Null
    );
    assert_eq!(
        api.sim("PUT", "/_sim/passthru", json!({"url": "https://x.example.in/"}))
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn options_name_the_passthru_and_a_reset_brings_it_back() {
    let receiver = Receiver::start(&[]).await;
    let options = Options {
        passthru: Some(receiver.url.clone()),
        ..fast()
    };
    let (handle, _api) = start(options.clone()).await;
    handle.set_passthru(None).unwrap();
    handle.reset();
    handle.inbound(Inbound::from(CALLER)).unwrap();
    settled(&handle, 1).await;
    assert_eq!(receiver.received().len(), 2);
    assert!(handle.set_passthru(Some("hello".to_owned())).is_err());
    let refused = Simulator::start(Options {
        passthru: Some("hello".to_owned()),
        ..options
    })
    .await
    .unwrap_err();
    assert!(matches!(refused, Error::Options(_)));
}

#[tokio::test]
async fn the_agent_can_stand_as_to() {
    let (handle, api) = start(Options {
        inbound_to_agent: true,
        ..fast()
    })
    .await;
    let inbound = Inbound {
        agent: Some("+919811150007".to_owned()),
        record: false,
        ..Inbound::from(CALLER)
    };
    handle.inbound(inbound).unwrap();
    settled(&handle, 1).await;
    let calls = listed(&api, "To=09811150007").await;
    assert_eq!(calls[0]["To"], "09811150007");
    assert_eq!(calls[0]["RecordingUrl"], Value::Null);
}

#[tokio::test]
async fn faults_befall_a_passthru() {
    let faults = |fault: &str| json!({"callbacks": [{"fault": fault, "event": "passthru", "next": 1, "delay_ms": 1_000}]});
    for (fault, entries, branches) in [
        ("drop", 2, vec![Branch::A]),
        ("duplicate", 3, vec![Branch::A, Branch::A]),
        ("delay", 2, vec![Branch::A, Branch::A]),
    ] {
        let receiver = Receiver::start(&[]).await;
        let (handle, api) = start(fast()).await;
        api.sim("PUT", "/_sim/faults", faults(fault)).await;
        handle
            .inbound(through(&receiver, InboundOutcome::Completed))
            .unwrap();
        settled(&handle, 1).await;
        callbacks_done(&handle, entries).await;
        let call = handle.calls().remove(0);
        assert_eq!(call.branches, branches, "{fault}");
        assert_eq!(call.status.as_str(), "completed", "{fault}: the flow goes on");
        let seen: Vec<_> = handle
            .callbacks()
            .into_iter()
            .filter_map(|entry| entry.fault)
            .collect();
        let name = match fault {
            "drop" => "dropped",
            "delay" => "delayed",
            other => other,
        };
        assert_eq!(seen, [name]);
    }
    // By suffix of the caller: no callback at all.
    let receiver = Receiver::start(&[]).await;
    let (handle, _api) = start(fast()).await;
    let inbound = Inbound {
        from: "+919811100031".to_owned(),
        ..through(&receiver, InboundOutcome::Completed)
    };
    handle.inbound(inbound).unwrap();
    settled(&handle, 1).await;
    assert!(receiver.received().is_empty());
    assert_eq!(handle.callbacks().len(), 2, "both dropped");
}

#[tokio::test]
async fn what_cannot_come_in_is_refused_in_words() {
    let account = Account {
        exophones: vec!["08045550100".to_owned()],
        ..Account::new("acme1", "simkey", "simtoken")
    };
    let timings = Timings {
        talk_ms: FOR_EVER,
        ..Timings::default()
    };
    let (handle, api) = start(Options {
        accounts: vec![account],
        timings,
        ..fast()
    })
    .await;
    for (body, says) in [
        (json!({}), "from"),
        (json!({"from": "hello"}), "from"),
        (json!({"from": CALLER, "agent": "hello"}), "agent"),
        (json!({"from": CALLER, "exophone": "08045550999"}), "exophone"),
        (json!({"from": CALLER, "account": "acme9"}), "acme9"),
        (json!({"from": CALLER, "outcome": "lost"}), "lost"),
        (
            json!({"from": CALLER, "passthru": "https://x.example.in"}),
            "plain http",
        ),
        (json!({"from": CALLER, "form": 1}), "form"),
    ] {
        let answer = api.sim("POST", "/_sim/inbound", body.clone()).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.text().contains(says), "{body}: {}", answer.text());
    }
    assert!(handle.calls().is_empty());
    // One that goes on is in no list.
    handle.inbound(Inbound::from(CALLER)).unwrap();
    within(handle.calls_until(|calls| calls.iter().any(|call| call.to.is_some()))).await;
    assert_eq!(handle.calls()[0].caller_id, "08045550100");
    assert_eq!(handle.calls()[0].direction, Direction::Inbound);
    assert_eq!(listed(&api, "").await, json!([]));
}
