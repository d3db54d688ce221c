//! `Calls/{sid}`: in progress, ended, settled.

use exotel_simulator::{CallScript, Options, Script};
use serde_json::{Value, json};

use crate::harness::{CALLS, FOR_EVER, calls_done, fast, manual_clock, sid, start, within};

#[tokio::test]
async fn end_time_duration_and_price_settle_later() {
    let (clock, _) = manual_clock("2026-11-20T08:33:11Z");
    let (handle, api) = start(Options { clock, ..fast() }).await;
    let settle = |settle_ms| CallScript {
        settle_ms: Some(settle_ms),
        ..CallScript::default()
    };
    handle.script(Script {
        call: settle(FOR_EVER),
        ..Script::default()
    });
    let unsettled = api.call("+919811109999", &[]).await;
    calls_done(&handle, 1).await;
    let details = api.get(&format!("{CALLS}/{}.json", sid(&unsettled))).await.json()["Call"].clone();
    assert_eq!(details["Status"], "completed");
    assert_eq!(details["EndTime"], "1970-01-01 05:30:00");
    assert_eq!(
        (&details["Duration"], &details["Price"]),
        (&Value::Null, &Value::Null)
    );

    let settled = api.call("+919811109998", &[]).await;
    within(handle.calls_until(|calls| calls.iter().any(|call| call.settled))).await;
    let details = api.get(&format!("{CALLS}/{}.json", sid(&settled))).await.json()["Call"].clone();
    assert_eq!(details["StartTime"], "2026-11-20 14:03:11");
    assert_eq!(
        details["EndTime"], "2026-11-20 14:03:56",
        "3 s to the agent, 5 s to the lead, 37 s of talk"
    );
    assert_eq!(details["Duration"], "45", "a string");
    assert_eq!(details["Price"], "0.500");
}

#[tokio::test]
async fn details_wrap_each_leg() {
    let (handle, api) = start(fast()).await;
    let call = api.call("+919811109999", &[]).await;
    calls_done(&handle, 1).await;
    let path = format!("{CALLS}/{}", sid(&call));
    assert_eq!(
        api.get(&format!("{path}.json")).await.json()["Call"].get("Details"),
        None
    );
    let details = api.get(&format!("{path}.json?details=true")).await.json()["Call"]["Details"].clone();
    let expected = json!({
        "ConversationDuration": 37, "Leg1Status": "completed", "Leg2Status": "completed",
        "Legs": [{"Leg": {"Id": 1, "OnCallDuration": 42}}, {"Leg": {"Id": 2, "OnCallDuration": 37}}]
    });
    assert_eq!(details, expected);
    let xml = api.get(&format!("{path}?details=true")).await;
    assert!(
        xml.text()
            .contains("<Legs><Leg><Id>1</Id><OnCallDuration>42</OnCallDuration></Leg><Leg><Id>2</Id>")
    );
}

#[tokio::test]
async fn a_leg_that_was_never_rung_has_no_status() {
    let (handle, api) = start(fast()).await;
    let call = api.call("+919811100004", &[]).await;
    calls_done(&handle, 1).await;
    let path = format!("{CALLS}/{}.json?details=true", sid(&call));
    let details = api.get(&path).await.json()["Call"]["Details"].clone();
    assert_eq!(
        (&details["Leg1Status"], &details["Leg2Status"]),
        (&json!("no-answer"), &Value::Null)
    );
}

#[tokio::test]
async fn an_unknown_sid_is_404_and_so_is_another_accounts() {
    let mut options = fast();
    options
        .accounts
        .push(exotel_simulator::Account::new("acme2", "key2", "token2"));
    let (_handle, api) = start(options).await;
    let call = api.call("+919811109999", &[]).await;
    assert_eq!(
        api.get(&format!("{CALLS}/5f0c1d2e3a4b4c5d8e9f0a1b2c3d196k.json"))
            .await
            .refusal(),
        (404, None)
    );
    let other = api.clone().login("key2", "token2");
    assert_eq!(
        other
            .get(&format!("/v1/Accounts/acme2/Calls/{}.json", sid(&call)))
            .await
            .refusal(),
        (404, None)
    );
}

#[tokio::test]
async fn recording_url_validity_adds_a_signed_url() {
    let (handle, api) = start(fast()).await;
    let call = api.call("+919811109999", &[("Record", "true")]).await;
    calls_done(&handle, 1).await;
    let path = format!("{CALLS}/{}.json", sid(&call));
    assert_eq!(
        api.get(&path).await.json()["Call"].get("PreSignedRecordingUrl"),
        None
    );
    let signed = api.get(&format!("{path}?RecordingUrlValidity=5")).await.json();
    let url = signed["Call"]["PreSignedRecordingUrl"].as_str().unwrap();
    assert!(
        url.contains("X-Amz-Expires=300") && url.contains("X-Amz-Signature="),
        "{url}"
    );
    for wrong in ["4", "61", "soon"] {
        let answer = api.get(&format!("{path}?RecordingUrlValidity={wrong}")).await;
        assert_eq!(answer.refusal(), (400, None), "{wrong}");
    }
}
