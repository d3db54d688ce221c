//! `Calls/connect`: its modes, its checks, whom it rings.

use exotel_simulator::{Account, CallStatus, Options};
use serde_json::{Value, json};

use crate::harness::{Api, CALLS, call, calls_done, fast, sid, start};

async fn refusal(api: &Api, fields: &[(&str, &str)]) -> (u16, String) {
    let answer = api.post(&format!("{CALLS}/connect.json"), fields).await;
    let message = answer.json()["RestException"]["Message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (answer.status, message)
}

#[tokio::test]
async fn a_call_is_in_progress_at_once_and_numbers_come_back_national() {
    let (_handle, api) = start(fast()).await;
    let call = api.call("+919811109999", &[("Record", "true")]).await;
    assert_eq!(call["Status"], "in-progress");
    assert_eq!(call["From"], "09811100001");
    assert_eq!(call["To"], "09811109999");
    assert_eq!(call["PhoneNumberSid"], "08045550100");
    assert_eq!(call["Direction"], "outbound-api");
    for field in ["EndTime", "Duration", "Price", "RecordingUrl", "ParentCallSid"] {
        assert_eq!(call[field], Value::Null, "{field}");
    }
    assert_eq!(call["StartTime"], call["DateCreated"]);
    assert_eq!(
        call["Uri"],
        format!("/v1/Accounts/acme1/Calls.json/{}", sid(&call))
    );
    assert_eq!(sid(&call).len(), 32);
}

#[tokio::test]
async fn the_agent_is_rung_first_and_then_the_lead() {
    let (handle, api) = start(fast()).await;
    let call = api.call("+919811109999", &[]).await;
    calls_done(&handle, 1).await;
    let dials: Vec<_> = handle
        .dials()
        .into_iter()
        .map(|dial| (dial.sid, dial.leg, dial.number))
        .collect();
    let leg = |leg, number: &str| (sid(&call), leg, number.to_owned());
    assert_eq!(dials, [leg(1, "09811100001"), leg(2, "09811109999")]);
}

#[tokio::test]
async fn the_lead_is_not_rung_when_the_agent_does_not_answer() {
    let (handle, api) = start(fast()).await;
    api.call("+919811100004", &[]).await;
    calls_done(&handle, 1).await;
    assert_eq!(handle.dials().len(), 1);
    assert_eq!(handle.calls()[0].status, CallStatus::NoAnswer);
}

#[tokio::test]
async fn suffixes_decide_how_a_call_ends() {
    use CallStatus::{Busy, Canceled, Completed, Failed, NoAnswer};
    let table = [
        ("0001", Completed, Completed, Some(Completed), 37),
        ("9999", Completed, Completed, Some(Completed), 37),
        ("0002", Completed, Completed, Some(NoAnswer), 0),
        ("0003", Busy, Completed, Some(Busy), 0),
        ("0004", NoAnswer, NoAnswer, None, 0),
        ("0005", Failed, Completed, Some(Failed), 0),
        ("0006", Canceled, Completed, Some(Canceled), 0),
        ("0007", Completed, Completed, Some(Busy), 0),
        ("0008", Busy, Busy, None, 0),
    ];
    let (handle, api) = start(fast()).await;
    for (suffix, ..) in table {
        api.call(&format!("+91981110{suffix}"), &[]).await;
    }
    calls_done(&handle, table.len()).await;
    for (suffix, status, leg1, leg2, talked) in table {
        let number = format!("0981110{suffix}");
        let call = handle
            .calls()
            .into_iter()
            .find(|call| call.to.as_deref() == Some(&number))
            .unwrap();
        assert_eq!(call.status, status, "{suffix}");
        assert_eq!(
            (call.leg1_status, call.leg2_status),
            (Some(leg1), leg2),
            "{suffix}"
        );
        assert_eq!(call.conversation_secs, talked, "{suffix}");
    }
}

#[tokio::test]
async fn suffixes_decide_what_is_refused() {
    let (handle, api) = start(fast()).await;
    let refused = async |suffix: &str| {
        let to = format!("+91981110{suffix}");
        let answer = api.post(&format!("{CALLS}/connect.json"), &call(&to, &[])).await;
        let message = answer.json()["RestException"]["Message"]
            .as_str()
            .unwrap()
            .to_owned();
        (answer.refusal(), message)
    };
    let (ndnc, message) = refused("0011").await;
    assert_eq!(ndnc, (403, None));
    assert!(message.contains("TRAI NDNC"), "{message}");
    let (kyc, message) = refused("0012").await;
    assert_eq!(kyc, (403, None));
    assert!(message.contains("KYC"), "{message}");
    assert_eq!(
        refused("0013").await,
        ((503, Some(35_008)), "Service Unavailable; ".to_owned())
    );
    assert_eq!(refused("0014").await.0, (429, None));
    assert_eq!(refused("0021").await.0, (400, None));
    assert_eq!(refused("0022").await.0, (403, None));
    assert_eq!(refused("0024").await.0, (404, None));
    assert_eq!(refused("0025").await.0, (401, Some(34_010)));
    assert_eq!(refused("0026").await.0, (500, Some(35_000)));
    assert!(handle.calls().is_empty() && handle.dials().is_empty());
}

#[tokio::test]
async fn a_wrong_parameter_is_named() {
    let account = Account {
        exophones: vec!["08045550100".to_owned()],
        ..Account::new("acme1", "simkey", "simtoken")
    };
    let (handle, api) = start(Options {
        accounts: vec![account],
        ..fast()
    })
    .await;
    let long = "x".repeat(129);
    for (name, value) in [
        ("Record", "yes"),
        ("RecordingChannels", "stereo"),
        ("CallType", "promo"),
        ("TimeLimit", "14401"),
        ("TimeOut", "soon"),
        ("CustomField", &long),
        ("StatusCallback", "not a url"),
        ("StatusCallbackEvents[0]", "ended"),
        ("StatusCallbackContentType", "text/xml"),
    ] {
        let (status, message) = refusal(&api, &call("+919811109999", &[(name, value)])).await;
        let named = name.split('[').next().unwrap();
        assert!(
            status == 400 && message.contains(named),
            "{name}: {status} {message}"
        );
    }
    let base = [
        ("From", "+919811100001"),
        ("To", "+919811109999"),
        ("CallerId", "08045550100"),
    ];
    for missing in ["From", "CallerId"] {
        let fields: Vec<_> = base.into_iter().filter(|(name, _)| *name != missing).collect();
        assert_eq!(
            refusal(&api, &fields).await,
            (400, format!("{missing} is mandatory"))
        );
    }
    let foreign = [
        ("From", "+919811100001"),
        ("To", "+919811109999"),
        ("CallerId", "08045550199"),
    ];
    assert!(
        refusal(&api, &foreign)
            .await
            .1
            .contains("CallerId does not belong")
    );
    let bad = [
        ("From", "+919811100001"),
        ("To", "12345"),
        ("CallerId", "08045550100"),
    ];
    assert!(refusal(&api, &bad).await.1.contains("To is not a valid"));
    assert!(handle.calls().is_empty());
}

#[tokio::test]
async fn the_three_modes_exclude_each_other() {
    let (handle, api) = start(fast()).await;
    let base = [("From", "+919811109999"), ("CallerId", "08045550100")];
    let with = |more: &[(&'static str, &'static str)]| [&base[..], more].concat();
    let flow = ("Url", "http://my.exotel.com/acme1/exoml/start_voice/228040");
    let stream = ("StreamUrl", "ws://127.0.0.1:9/media?sample-rate=16000");
    for wrong in [
        with(&[]),
        with(&[("To", "+919811109998"), flow]),
        with(&[flow, stream, ("StreamType", "bidirectional")]),
        with(&[("To", "+919811109998"), stream]),
        with(&[stream]),
        with(&[
            ("StreamUrl", "https://bot.example.in"),
            ("StreamType", "bidirectional"),
        ]),
        with(&[("Url", "https://flows.example.in/exoml/start_voice/1")]),
        with(&[("Url", "http://my.exotel.com/acme1/exoml/fetch/228040")]),
    ] {
        assert_eq!(refusal(&api, &wrong).await.0, 400, "{wrong:?}");
    }
    for right in [
        with(&[flow]),
        with(&[(
            "Url",
            "https://my.in.exotel.com/acme1/exoml/start_voice/app_1234567890",
        )]),
        with(&[stream, ("StreamType", "bidirectional"), ("StreamName", "bot")]),
        with(&[("To", "+919811109998"), stream, ("StreamBegin", "at Leg2Connect")]),
    ] {
        assert_eq!(
            api.post(&format!("{CALLS}/connect.json"), &right).await.status,
            200,
            "{right:?}"
        );
    }
    calls_done(&handle, 4).await;
    let flow_call = handle.calls().into_iter().find(|call| call.to.is_none()).unwrap();
    assert_eq!(
        handle
            .dials()
            .iter()
            .filter(|dial| dial.sid == flow_call.sid)
            .count(),
        1
    );
}

#[tokio::test]
async fn multipart_is_as_good_as_a_form() {
    let (_handle, api) = start(fast()).await;
    let mut body = String::new();
    for (name, value) in call("+919811109999", &[("CustomField", "lead:7f3")]) {
        body.push_str(&format!(
            "--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        ));
    }
    body.push_str("--b--\r\n");
    let path = format!("{CALLS}/connect.json");
    let headers = [("content-type", "multipart/form-data; boundary=b")];
    let answer = api.try_send("POST", &path, &headers, body).await.unwrap();
    assert_eq!(answer.json()["Call"]["To"], "09811109999");
    let broken = api
        .try_send("POST", &path, &headers, "--b\r\nnonsense")
        .await
        .unwrap();
    assert_eq!(broken.refusal(), (400, None));
    let xml = api
        .try_send("POST", &path, &[("content-type", "text/xml")], "<a/>")
        .await
        .unwrap();
    assert_eq!(xml.refusal(), (400, None));
}

#[tokio::test]
async fn time_limits_cut_the_talk_and_the_ringing() {
    let (handle, api) = start(fast()).await;
    api.call("+919811109991", &[("TimeLimit", "10")]).await;
    api.call("+919811109992", &[("TimeOut", "4")]).await;
    calls_done(&handle, 2).await;
    let call = |number: &str| {
        handle
            .calls()
            .into_iter()
            .find(|call| call.to.as_deref() == Some(number))
            .unwrap()
    };
    assert_eq!(call("09811109991").conversation_secs, 10);
    assert_eq!(
        call("09811109992").leg2_status,
        Some(CallStatus::NoAnswer),
        "the lead answers after 5 s"
    );
}

#[tokio::test]
async fn a_script_says_how_the_next_calls_go_and_then_no_more() {
    let (handle, api) = start(fast()).await;
    let script = json!([
        {"to": "9811109999", "times": 2, "call": {"outcome": "leg2_no_answer"}},
        {"to": "+919811100018", "times": 0, "api": "accept", "call": {"talk_ms": 2500}},
    ]);
    assert_eq!(api.sim("POST", "/_sim/scripts", script).await.status, 204);
    for to in [
        "+919811109999",
        "+919811109998",
        "+919811109999",
        "+919811109999",
        "+919811100018",
    ] {
        api.call(to, &[]).await;
    }
    calls_done(&handle, 5).await;
    let talked = |number: &str| {
        let calls = handle.calls();
        let to = calls.iter().filter(|call| call.to.as_deref() == Some(number));
        let mut talked: Vec<_> = to.map(|call| call.conversation_secs).collect();
        talked.sort_unstable();
        talked
    };
    assert_eq!(talked("09811109999"), [0, 0, 37]);
    assert_eq!(talked("09811109998"), [37]);
    assert_eq!(
        talked("09811100018"),
        [3],
        "a script lifts the fault of the suffix; 2.5 s count as 3"
    );
    let left = api.get("/_sim/scripts").await.json();
    assert_eq!(left.as_array().unwrap().len(), 1);
    let wrong = api
        .sim("POST", "/_sim/scripts", json!({"call": {"outcome": "sleepy"}}))
        .await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.text().contains("sleepy"), "{}", wrong.text());
}

#[tokio::test]
async fn the_same_seed_gives_the_same_sids() {
    let sids = async || {
        let (_handle, api) = start(fast()).await;
        let first = api.call("+919811109999", &[]).await;
        let second = api.call("+919811109999", &[]).await;
        (sid(&first), sid(&second))
    };
    let (first, second) = sids().await;
    assert_ne!(first, second);
    assert_eq!(sids().await, (first, second));
}
