//! Calls through v2 and v3.

use exotel_simulator::{
    Account, ApiFault, CallScript, CcmDetails, CcmUser, Handle, Options, Outcome, Script,
};
use serde_json::{Value, json};

use crate::harness::{
    Answer, Api, FOR_EVER, Receiver, callbacks_done, calls_done, fast, manual_clock, start, within,
};

const CALLS_V2: &str = "/v2/accounts/acme1/calls";
const CALLS_V3: &str = "/v3/accounts/acme1/calls";

/// A call from an agent to `to`, with further fields.
fn wish(to: &str, more: Value) -> Value {
    let mut body = json!({"from": {"user_contact_uri": "+919811100001"},
                          "to": {"customer_contact_uri": to}, "virtual_number": "08045550100"});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

async fn make(api: &Api, body: Value) -> Answer {
    api.sim("POST", CALLS_V2, body).await
}

/// Status and code of a refusal.
fn refusal(answer: &Answer) -> (u16, i64) {
    let json = answer.json();
    assert_eq!(json["response"]["status"], "failure", "{json}");
    assert_eq!(json["http_code"], answer.status);
    (
        answer.status,
        json["response"]["error_data"]["code"].as_i64().unwrap(),
    )
}

async fn settled(handle: &Handle) {
    within(handle.calls_until(|calls| calls.iter().all(|call| call.settled))).await;
}

#[tokio::test]
async fn a_call_is_made_called_back_about_and_told_of() {
    let receiver = Receiver::start(&[]).await;
    let (clock, _) = manual_clock("2026-11-20T08:33:11Z");
    let ccm_users = vec![CcmUser {
        id: "4b1e0000-0000-4000-8000-000000000001".to_owned(),
        name: Some("Asha R".to_owned()),
        contact_uri: "+919811100001".to_owned(),
    }];
    let (handle, api) = start(Options {
        clock,
        ccm_users,
        ..fast()
    })
    .await;
    let callbacks = json!([{"event": "answered", "url": receiver.url},
                           {"event": "terminal", "url": receiver.url}]);
    let more = json!({"from": {"user_id": "4b1e0000-0000-4000-8000-000000000001"}, "recording": true,
                      "custom_field": "ticket:88", "status_callback": callbacks});
    let made = make(&api, wish("+919811109999", more)).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let made = made.json();
    assert_eq!(
        (&made["method"], &made["http_code"]),
        (&json!("POST"), &json!(200))
    );
    let sid = made["response"]["call_details"]["call_sid"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        made["response"],
        json!({"code": 200, "error_data": null, "status": "success", "call_details": {
            "call_sid": sid, "direction": "outbound", "virtual_number": "+918045550100", "call_state": "active",
            "call_status": null,
            "assigned_agent_details": {"user_id": "4b1e0000-0000-4000-8000-000000000001", "user_name": "Asha R",
                                       "contact_uri": "+919811100001"},
            "customer_details": {"contact_uri": "+919811109999"},
            "created_time": "2026-11-20T14:03:11+05:30"}})
    );

    callbacks_done(&handle, 3).await;
    let bodies: Vec<Value> = receiver
        .received()
        .iter()
        .map(|got| {
            assert_eq!(got.content_type, "application/json");
            serde_json::from_str(&got.body).unwrap()
        })
        .collect();
    let events: Vec<_> = bodies
        .iter()
        .map(|body| &body["event_details"]["event_type"])
        .collect();
    assert_eq!(events, ["answered", "answered", "terminal"], "one per leg");
    assert_eq!(bodies[0]["call_details"]["call_state"], "active");
    assert_eq!(bodies[0]["call_details"]["call_status"], Value::Null);
    assert_eq!(
        bodies[1]["call_details"]["customer_details"]["status"],
        "in-progress"
    );
    let end = &bodies[2]["call_details"];
    assert_eq!(
        (&end["call_state"], &end["call_status"]),
        (&json!("terminal"), &json!("completed"))
    );
    assert_eq!(
        (&end["total_talk_time"], &end["total_duration"]),
        (&json!(37), &json!(45))
    );
    assert_eq!(
        end["customer_details"],
        json!({"contact_uri": "+919811109999", "status": "completed"})
    );
    assert_eq!(end["custom_field"], "ticket:88");
    assert!(end["recordings"][0]["url"].as_str().unwrap().ends_with(".mp3"));

    settled(&handle).await;
    let v2 = api.get(&format!("{CALLS_V2}/{sid}")).await.json();
    let v2 = &v2["response"]["call_details"];
    assert_eq!(
        (&v2["call_state"], &v2["call_status"]),
        (&json!("terminal"), &json!("completed"))
    );
    assert_eq!(v2["end_time"], "2026-11-20T14:03:56+05:30");
    assert_eq!(
        (&v2["total_duration"], &v2["total_talk_time"]),
        (&json!(45), &json!(37))
    );
    let v3 = api.get(&format!("{CALLS_V3}/{sid}")).await.json();
    let v3 = &v3["response"]["call_details"];
    assert_eq!(
        (&v3["sid"], &v3["state"], &v3["status"]),
        (&json!(sid), &json!("terminal"), &json!("completed"))
    );
    assert_eq!(v3["start_time"], "2026-11-20 14:03:11+05:30");
    assert_eq!(v3["end_time"], "2026-11-20 14:03:56+05:30");
    assert_eq!(v3["legs"], format!("{CALLS_V3}/{sid}/legs"));
    assert_eq!(v3["recordings"], end["recordings"]);
    let view = &handle.calls()[0];
    assert_eq!(
        view.user_id.as_deref(),
        Some("4b1e0000-0000-4000-8000-000000000001")
    );
    let listed = api.get(&format!("{}.json", crate::harness::CALLS)).await.json();
    assert_eq!(listed["Calls"][0]["Sid"], json!(sid), "v1 knows it too");
}

#[tokio::test]
async fn both_spellings_of_to_are_taken() {
    let (handle, api) = start(fast()).await;
    let answer = make(&api, wish("x", json!({"to": {"number": "+919811109999"}}))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let details = &answer.json()["response"]["call_details"];
    let user_id = details["assigned_agent_details"]["user_id"].as_str().unwrap();
    assert_eq!(user_id.len(), 36, "without co-workers one is invented: {user_id}");
    let again = make(&api, wish("+919811109998", json!({}))).await.json();
    assert_eq!(
        again["response"]["call_details"]["assigned_agent_details"]["user_id"],
        json!(user_id)
    );
    assert_eq!(handle.calls()[0].to.as_deref(), Some("09811109999"));
}

#[tokio::test]
async fn v2_knows_only_its_own_calls_and_v3_knows_all() {
    let mut options = fast();
    options.accounts.push(Account::new("acme2", "key2", "token2"));
    let (handle, api) = start(options).await;
    let placed = api.call("+919811109999", &[]).await;
    let sid = placed["Sid"].as_str().unwrap();
    settled(&handle).await;
    assert_eq!(refusal(&api.get(&format!("{CALLS_V2}/{sid}")).await), (404, 404));
    let v3 = api.get(&format!("{CALLS_V3}/{sid}")).await;
    assert_eq!(v3.json()["response"]["call_details"]["status"], "completed");
    assert_eq!(
        refusal(&api.get(&format!("{CALLS_V3}/nothing")).await),
        (404, 404)
    );
    let other = api.clone().login("key2", "token2");
    assert_eq!(
        refusal(&other.get(&format!("/v3/accounts/acme2/calls/{sid}")).await),
        (404, 404)
    );
    assert_eq!(
        refusal(
            &api.clone()
                .login("simkey", "no")
                .get(&format!("{CALLS_V2}/{sid}"))
                .await
        ),
        (401, 1_010)
    );
}

#[tokio::test]
async fn a_call_is_active_until_it_has_settled() {
    let (handle, api) = start(fast()).await;
    handle.script(Script {
        call: CallScript {
            settle_ms: Some(FOR_EVER),
            ..CallScript::default()
        },
        ..Script::default()
    });
    let made = make(&api, wish("+919811109999", json!({}))).await.json();
    calls_done(&handle, 1).await;
    let sid = made["response"]["call_details"]["call_sid"].as_str().unwrap();
    let v2 = api.get(&format!("{CALLS_V2}/{sid}")).await.json();
    let v2 = &v2["response"]["call_details"];
    assert_eq!(
        (&v2["call_state"], &v2["call_status"]),
        (&json!("active"), &Value::Null)
    );
    assert_eq!(
        (&v2["end_time"], &v2["total_duration"]),
        (&Value::Null, &Value::Null)
    );
    let v3 = api.get(&format!("{CALLS_V3}/{sid}")).await.json();
    let v3 = &v3["response"]["call_details"];
    assert_eq!((&v3["state"], &v3["status"]), (&json!("active"), &Value::Null));
    assert_eq!(v3["end_time"], "1970-01-01 05:30:00+05:30");
}

#[tokio::test]
async fn each_way_a_call_ends_has_its_words() {
    for (outcome, v2, v3) in [
        (Outcome::Completed, "completed", "completed"),
        (Outcome::Leg2NoAnswer, "customer_unanswered", "to_leg_unanswered"),
        (Outcome::Leg2Busy, "customer_unanswered", "to_leg_unanswered"),
        (Outcome::Busy, "customer_unanswered", "to_leg_unanswered"),
        (Outcome::Leg1NoAnswer, "agent_unanswered", "from_leg_unanswered"),
        (Outcome::Leg1Busy, "agent_unanswered", "from_leg_unanswered"),
        (Outcome::Failed, "customer_no_dial", "to_leg_no_dial"),
        (Outcome::Canceled, "agent_canceled", "from_leg_cancelled"),
    ] {
        let receiver = Receiver::start(&[]).await;
        let (handle, api) = start(fast()).await;
        handle.script(Script {
            call: CallScript {
                outcome: Some(outcome),
                ..CallScript::default()
            },
            ..Script::default()
        });
        let callback = json!({"status_callback": [{"event": "terminal", "url": receiver.url}]});
        let made = make(&api, wish("+919811109999", callback)).await.json();
        let sid = made["response"]["call_details"]["call_sid"]
            .as_str()
            .unwrap()
            .to_owned();
        settled(&handle).await;
        callbacks_done(&handle, 1).await;
        let told: Value = serde_json::from_str(&receiver.received()[0].body).unwrap();
        assert_eq!(told["call_details"]["call_status"], v2, "{outcome:?}");
        if outcome != Outcome::Completed {
            assert_eq!(told["call_details"]["total_duration"], Value::Null);
            assert_eq!(told["call_details"]["recordings"], Value::Null);
        }
        let details = api.get(&format!("{CALLS_V2}/{sid}")).await.json();
        assert_eq!(
            details["response"]["call_details"]["call_status"], v2,
            "{outcome:?}"
        );
        let details = api.get(&format!("{CALLS_V3}/{sid}")).await.json();
        assert_eq!(details["response"]["call_details"]["status"], v3, "{outcome:?}");
    }
}

#[tokio::test]
async fn details_stand_where_the_options_say() {
    for place in [
        CcmDetails::Response,
        CcmDetails::CallDetails,
        CcmDetails::TopLevel,
    ] {
        let (handle, api) = start(Options {
            ccm_details: place,
            ..fast()
        })
        .await;
        let details = |answer: Value| match place {
            CcmDetails::Response => answer["response"].clone(),
            CcmDetails::CallDetails => answer["response"]["call_details"].clone(),
            CcmDetails::TopLevel => {
                assert_eq!(answer.get("response"), None);
                assert_eq!(answer["http_code"], 200);
                answer
            }
        };
        let made = details(make(&api, wish("+919811109999", json!({}))).await.json());
        let sid = made["call_sid"].as_str().unwrap().to_owned();
        settled(&handle).await;
        let v2 = details(api.get(&format!("{CALLS_V2}/{sid}")).await.json());
        assert_eq!(v2["call_status"], "completed", "{place:?}");
        let v3 = api.get(&format!("{CALLS_V3}/{sid}")).await;
        assert_eq!(
            v3.text().matches("\"status\"").count(),
            if place == CcmDetails::CallDetails { 2 } else { 1 }
        );
        assert_eq!(details(v3.json())["status"], "completed", "{place:?}");
    }
}

#[tokio::test]
async fn what_is_missing_wrong_or_unknown_is_refused_with_its_code() {
    let account = Account {
        exophones: vec!["08045550100".to_owned()],
        ..Account::new("acme1", "simkey", "simtoken")
    };
    let (handle, api) = start(Options {
        accounts: vec![account],
        ..fast()
    })
    .await;
    let lead = "+919811109999";
    let url = "http://127.0.0.1:9/";
    for (body, expected) in [
        (json!({}), (400, 1_001)),
        (wish(lead, json!({"from": {}})), (400, 1_001)),
        (wish(lead, json!({"to": {}})), (400, 1_001)),
        (wish(lead, json!({"virtual_number": ""})), (400, 1_001)),
        (wish("hello", json!({})), (400, 1_002)),
        (
            wish(lead, json!({"from": {"user_contact_uri": "hello"}})),
            (400, 1_002),
        ),
        (wish(lead, json!({"recording": "perhaps"})), (400, 1_002)),
        (wish(lead, json!({"recording_channels": "three"})), (400, 1_002)),
        (wish(lead, json!({"max_time_limit": "long"})), (400, 1_002)),
        (wish(lead, json!({"attempt_time_out": 0})), (400, 1_002)),
        (
            wish(
                lead,
                json!({"status_callback": [{"event": "ringing", "url": url}]}),
            ),
            (400, 1_002),
        ),
        (
            wish(
                lead,
                json!({"status_callback": [{"event": "terminal", "url": "x"}]}),
            ),
            (400, 1_002),
        ),
        (
            wish(lead, json!({"status_callback": [{"event": "terminal"}]})),
            (400, 1_001),
        ),
        (wish(lead, json!({"from": {"user_id": "nobody"}})), (404, 10_731)),
        (
            wish(lead, json!({"virtual_number": "08045550999"})),
            (404, 10_716),
        ),
    ] {
        assert_eq!(refusal(&make(&api, body.clone()).await), expected, "{body}");
    }
    let headers = [("content-type", "application/json")];
    let garbage = api.try_send("POST", CALLS_V2, &headers, "{").await.unwrap();
    assert_eq!(refusal(&garbage), (400, 1_002));
    assert!(handle.calls().is_empty());
    let limited = wish(
        lead,
        json!({"max_time_limit": 5, "recording": true, "recording_channels": "dual"}),
    );
    assert_eq!(make(&api, limited).await.status, 200);
    settled(&handle).await;
    assert_eq!(handle.calls()[0].conversation_secs, 5);
    assert!(handle.calls()[0].recording_url.is_some());
}

#[tokio::test]
async fn with_co_workers_nobody_else_may_call() {
    let ccm_users = vec![CcmUser {
        id: "u1".to_owned(),
        name: None,
        contact_uri: "sip:asha@acme1".to_owned(),
    }];
    let (handle, api) = start(Options { ccm_users, ..fast() }).await;
    let lead = "+919811109999";
    let by = |uri: &str| wish(lead, json!({"from": {"user_contact_uri": uri}}));
    assert_eq!(refusal(&make(&api, by("+919811100001")).await), (404, 10_731));
    assert_eq!(make(&api, by("sip:asha@acme1")).await.status, 200);
    assert_eq!(handle.calls()[0].user_id.as_deref(), Some("u1"));
}

#[tokio::test]
async fn the_agents_device_is_off_or_busy_by_suffix_or_script() {
    let (handle, api) = start(fast()).await;
    for (suffix, expected) in [
        ("0061", (404, 10_731)),
        ("0062", (404, 10_716)),
        ("0063", (409, 1_012)),
        ("0064", (409, 10_705)),
        ("0065", (409, 10_706)),
    ] {
        let lead = format!("+91981110{suffix}");
        assert_eq!(
            refusal(&make(&api, wish(&lead, json!({}))).await),
            expected,
            "{suffix}"
        );
        assert!(handle.calls().is_empty());
        api.call(&lead, &[]).await;
        handle.reset();
    }
    handle.script(Script {
        api: Some(ApiFault::DeviceBusy),
        ..Script::default()
    });
    let lead = "+919811109999";
    assert_eq!(refusal(&make(&api, wish(lead, json!({}))).await), (409, 10_706));
    assert_eq!(
        make(&api, wish(lead, json!({}))).await.status,
        200,
        "the script is used up"
    );
    assert_eq!(make(&api, wish("+919811100020", json!({}))).await.status, 502);
    assert_eq!(handle.calls().len(), 2, "0020 is carried out all the same");
}

#[tokio::test]
async fn faults_and_the_voice_budget_reach_it() {
    let (handle, api) = start(Options {
        voice_limit: 8,
        ..fast()
    })
    .await;
    let rules = json!({"api": [{"fault": "device_off", "next": 1},
                               {"fault": "unavailable", "on": "ccm", "next": 1},
                               {"fault": "kyc", "on": "ccm", "next": 1}]});
    api.sim("PUT", "/_sim/faults", rules).await;
    api.call("+919811109999", &[]).await;
    let lead = "+919811109998";
    assert_eq!(
        refusal(&make(&api, wish(lead, json!({}))).await),
        (409, 1_012),
        "v1 passed it by"
    );
    assert_eq!(refusal(&make(&api, wish(lead, json!({}))).await), (503, 503));
    assert_eq!(refusal(&api.get(&format!("{CALLS_V3}/x")).await), (403, 403));
    assert_eq!(handle.rates()["acme1"].voice.received, 4);
    for _ in 0..4 {
        assert_eq!(refusal(&api.get(&format!("{CALLS_V2}/x")).await), (404, 404));
    }
    assert_eq!(refusal(&api.get(&format!("{CALLS_V2}/x")).await), (429, 429));
}

#[tokio::test]
async fn nested_callbacks_suffer_faults() {
    let receiver = Receiver::start(&[]).await;
    let (handle, api) = start(fast()).await;
    let faults = json!({"callbacks": [{"fault": "drop", "event": "answered"}, {"fault": "duplicate", "event": "terminal"}]});
    api.sim("PUT", "/_sim/faults", faults).await;
    let callbacks = json!({"status_callback": [{"event": "answered", "url": receiver.url},
                                               {"event": "terminal", "url": receiver.url}]});
    make(&api, wish("+919811109999", callbacks)).await;
    callbacks_done(&handle, 4).await;
    let bodies: Vec<String> = receiver.received().into_iter().map(|got| got.body).collect();
    assert_eq!(bodies.len(), 2);
    assert_eq!(bodies[0], bodies[1]);
    assert!(bodies[0].contains("\"event_type\":\"terminal\""));
}
