//! Who may do what, in which form, how often.

use std::sync::atomic::Ordering;

use exotel_simulator::{Account, Options};
use http::header;

use crate::harness::{Api, CALLS, call, fast, manual_clock, start};

fn connect() -> String {
    format!("{CALLS}/connect.json")
}

#[tokio::test]
async fn wrong_or_missing_credentials_are_refused_as_exotel_does() {
    let other = Account {
        other_cluster: true,
        ..Account::new("acme2", "key2", "token2")
    };
    let mut options = fast();
    options.accounts.push(other);
    options.accounts.push(Account::new("acme3", "key3", "token3"));
    let (handle, api) = start(options).await;
    let fields = call("+919811109999", &[]);

    let anonymous = Api::of(&handle).anonymous().post(&connect(), &fields).await;
    assert_eq!(anonymous.refusal(), (401, Some(34_010)));
    assert!(anonymous.header(header::WWW_AUTHENTICATE).starts_with("Basic"));
    let refusal = async |key: &str, token: &str| {
        Api::of(&handle)
            .login(key, token)
            .post(&connect(), &fields)
            .await
            .refusal()
    };
    assert_eq!(refusal("simkey", "wrong").await, (401, Some(34_010)));
    assert_eq!(refusal("sim-key", "simtoken").await, (400, Some(34_001)));
    assert_eq!(
        refusal("key2", "token2").await,
        (401, Some(34_010)),
        "the other cluster's account"
    );
    assert_eq!(
        refusal("key3", "token3").await,
        (403, Some(34_009)),
        "another account's path"
    );
    assert!(handle.calls().is_empty());
    assert_eq!(api.post(&connect(), &fields).await.status, 200);
}

#[tokio::test]
async fn xml_is_the_default_and_the_suffix_gives_json() {
    let (_handle, api) = start(fast()).await;
    let fields = call("+919811109999", &[]);
    let xml = api.post(&format!("{CALLS}/connect"), &fields).await;
    assert_eq!(xml.header(header::CONTENT_TYPE), "application/xml");
    assert!(
        xml.text().contains("<TwilioResponse><Call><Sid>"),
        "{}",
        xml.text()
    );
    assert!(xml.text().contains("<EndTime/>") && xml.text().contains("<To>09811109999</To>"));
    let json = api.post(&connect(), &fields).await;
    assert_eq!(json.header(header::CONTENT_TYPE), "application/json");
    assert_eq!(json.json()["Call"]["EndTime"], serde_json::Value::Null);
    let refused = api.post(&format!("{CALLS}/connect"), &[("To", "1")]).await;
    assert!(
        refused
            .text()
            .contains("<RestException><Status>400</Status><Message>"),
        "{}",
        refused.text()
    );
}

#[tokio::test]
async fn paths_are_case_sensitive() {
    let (_handle, api) = start(fast()).await;
    let fields = call("+919811109999", &[]);
    assert_eq!(
        api.post("/v1/Accounts/acme1/calls/connect.json", &fields)
            .await
            .refusal(),
        (404, None)
    );
    assert_eq!(
        api.post("/v1/accounts/acme1/Calls/connect.json", &fields)
            .await
            .refusal(),
        (404, None)
    );
    assert_eq!(
        api.get("/v1/Accounts/acme1/Sms/Messages/x.json").await.refusal(),
        (405, Some(40_502))
    );
    assert_eq!(api.get(&connect()).await.refusal(), (405, None));
}

#[tokio::test]
async fn the_201st_voice_request_in_any_60_seconds_is_refused() {
    let (clock, now) = manual_clock("2026-11-20T12:00:59Z");
    let (handle, api) = start(Options { clock, ..fast() }).await;
    let fields = call("+919811109999", &[]);
    for _ in 0..200 {
        assert_eq!(api.post(&connect(), &fields).await.status, 200);
    }
    assert_eq!(api.post(&connect(), &fields).await.refusal(), (429, None));
    now.fetch_add(59_999, Ordering::SeqCst);
    assert_eq!(
        api.get(&format!("{CALLS}.json")).await.refusal(),
        (429, None),
        "reading counts too"
    );
    now.fetch_add(1, Ordering::SeqCst);
    assert_eq!(api.post(&connect(), &fields).await.status, 200);
    assert_eq!(handle.calls().len(), 201);
    let voice = handle.rates()["acme1"].voice.clone();
    assert_eq!(
        (voice.received, voice.refused, voice.max_admitted_in_window),
        (203, 2, 200)
    );
    assert_eq!(
        api.sim("GET", "/_sim/rate", ().into()).await.json()["acme1"]["voice"]["max_received_in_window"],
        202
    );
}

#[tokio::test]
async fn sms_has_a_budget_of_its_own() {
    for (sms_limit_as_429, refusal) in [(false, (503, Some(40_405))), (true, (429, Some(40_402)))] {
        let (_handle, api) = start(Options {
            sms_limit: 2,
            voice_limit: 1,
            sms_limit_as_429,
            ..fast()
        })
        .await;
        let path = "/v1/Accounts/acme1/Sms/send.json";
        let fields = [("From", "ACMEIN"), ("To", "+919811109999"), ("Body", "hello")];
        assert_eq!(api.post(path, &fields).await.status, 200);
        assert_eq!(api.post(path, &fields).await.status, 200);
        assert_eq!(api.post(path, &fields).await.refusal(), refusal);
        assert_eq!(
            api.post(&connect(), &call("+919811109999", &[])).await.status,
            200
        );
    }
}

#[tokio::test]
async fn a_number_says_whether_it_is_on_the_dnd_registry() {
    let (_handle, api) = start(fast()).await;
    let numbers = async |number: &str| {
        api.get(&format!("/v1/Accounts/acme1/Numbers/{number}.json"))
            .await
            .json()["Numbers"]
            .clone()
    };
    let dnd = numbers("%2B919811100011").await;
    assert_eq!(
        (dnd["PhoneNumber"].as_str(), dnd["DND"].as_str()),
        (Some("09811100011"), Some("Yes"))
    );
    let landline = numbers("08045550100").await;
    assert_eq!(
        (landline["Type"].as_str(), landline["DND"].as_str()),
        (Some("Landline"), Some("No"))
    );
    assert!(
        api.get("/v1/Accounts/acme1/Numbers/9811109999")
            .await
            .text()
            .contains("<Numbers><PhoneNumber>")
    );
    assert_eq!(
        api.get("/v1/Accounts/acme1/Numbers/12.json").await.refusal(),
        (400, None)
    );
}
