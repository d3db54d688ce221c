//! What arrives at Exotel.

use axum::http::{Method, header};
use exotel::calls::{CallbackEvent, ConnectCall, ConnectOptions, GetCall, ListCalls};
use exotel::ccm::GetCcmCall;
use exotel::exophones::{GetExophone, ListExophones};
use exotel::numbers::GetNumber;
use exotel::sms::{BulkMessage, GetSms, SendDynamicBulkSms, SmsOptions};
use exotel::{Error, Request};

use crate::server::{Seen, Server};

/// Sends a request, whatever the answer, and gives what the server saw of it.
async fn seen(request: &impl Request) -> Seen {
    let server = Server::json(404, "").await;
    let _ = server.client.send(request).await;
    let seen = server.seen();
    assert_eq!(seen.len(), 1, "one request is sent once");
    seen.into_iter().next().unwrap()
}

#[tokio::test]
async fn a_call_is_a_form_with_basic_credentials() {
    let call = ConnectCall {
        options: ConnectOptions {
            custom_field: Some("lead:7f3 & more".to_owned()),
            status_callback: Some("https://hooks.example.in/exotel/call?t=S".into()),
            status_callback_events: vec![CallbackEvent::Terminal, CallbackEvent::Answered],
            ..ConnectOptions::default()
        },
        ..ConnectCall::two_legs("+919811100001", "+919811100002", "08045550100")
    };
    let seen = seen(&call).await;
    assert_eq!(
        (seen.method, seen.uri.path()),
        (Method::POST, "/v1/Accounts/acme1/Calls/connect.json")
    );
    assert_eq!(seen.headers[header::AUTHORIZATION], "Basic a2V5OnRva2Vu");
    assert_eq!(
        seen.headers[header::CONTENT_TYPE],
        "application/x-www-form-urlencoded"
    );
    assert_eq!(seen.headers[header::CONTENT_LENGTH], seen.body.len().to_string());
    assert_eq!(
        seen.body,
        "From=%2B919811100001&To=%2B919811100002&CallerId=08045550100&CallType=trans&CustomField=lead%3A7f3+%26+more\
         &StatusCallback=https%3A%2F%2Fhooks.example.in%2Fexotel%2Fcall%3Ft%3DS\
         &StatusCallbackEvents%5B0%5D=terminal&StatusCallbackEvents%5B1%5D=answered"
    );
}

#[tokio::test]
async fn paths_keep_exotels_upper_and_lower_case() {
    let sid = "5f0c1d2e3a4b4c5d8e9f0a1b2c3d196k";
    let get = seen(&GetCall {
        recording_url_validity_mins: Some(10),
        ..GetCall::with_details(sid.parse().unwrap())
    })
    .await;
    assert_eq!(get.method, Method::GET);
    assert_eq!(
        get.uri,
        format!("/v1/Accounts/acme1/Calls/{sid}.json?details=true&RecordingUrlValidity=10").as_str()
    );
    assert_eq!(
        seen(&ListCalls::default()).await.uri,
        "/v1/Accounts/acme1/Calls.json"
    );
    assert_eq!(
        seen(&GetSms {
            sid: sid.parse().unwrap()
        })
        .await
        .uri,
        format!("/v1/Accounts/acme1/SMS/Messages/{sid}.json").as_str()
    );
    let messages = vec![BulkMessage::new("+919811100002", "Hi")];
    let bulk = SendDynamicBulkSms {
        from: "ACMEIN".into(),
        messages,
        options: SmsOptions::default(),
    };
    assert_eq!(seen(&bulk).await.uri, "/v1/Accounts/acme1/Sms/bulksend.json");
}

#[tokio::test]
async fn each_api_has_its_own_root() {
    let exophones = ListExophones {
        page: 2,
        page_size: 50,
    };
    assert_eq!(
        seen(&exophones).await.uri,
        "/v2_beta/Accounts/acme1/IncomingPhoneNumbers?Page=2&PageSize=50"
    );
    let exophone = GetExophone {
        sid: "../08045550100".into(),
    };
    let exophone = seen(&exophone).await;
    assert_eq!(
        exophone.uri,
        "/v2/accounts/acme1/incoming-phone-numbers/..%2F08045550100"
    );
    assert_eq!(exophone.headers[header::AUTHORIZATION], "Basic a2V5OnRva2Vu");
    let sid = "5f0c1d2e3a4b4c5d8e9f0a1b2c3d196k";
    let ccm = GetCcmCall {
        sid: sid.parse().unwrap(),
    };
    let ccm = seen(&ccm).await;
    assert_eq!(
        (ccm.method, ccm.uri),
        (
            Method::GET,
            format!("/v2/accounts/acme1/calls/{sid}").parse().unwrap()
        )
    );
}

#[tokio::test]
async fn only_ccm_requests_go_to_the_ccm_origin() {
    let (api, ccm) = (Server::json(404, "").await, Server::json(404, "").await);
    let client = api
        .client
        .clone()
        .with_ccm_url(ccm.origin.parse().unwrap())
        .unwrap();
    let sid: exotel::CallSid = "a".parse().unwrap();
    let _ = client.send(&GetCcmCall { sid: sid.clone() }).await;
    let _ = client.send(&GetCall::with_details(sid)).await;
    let _ = client.send(&GetExophone { sid: "a".into() }).await;
    assert_eq!((api.seen().len(), ccm.seen().len()), (2, 1));
}

#[tokio::test]
async fn a_number_cannot_leave_its_place_in_the_path() {
    let path = |number: &'static str| async move {
        seen(&GetNumber {
            number: number.into(),
        })
        .await
        .uri
        .path()
        .to_owned()
    };
    assert_eq!(
        path("+919811100002").await,
        "/v1/Accounts/acme1/Numbers/+919811100002.json"
    );
    assert_eq!(
        path("../Balance").await,
        "/v1/Accounts/acme1/Numbers/..%2FBalance.json"
    );
    assert_eq!(
        path("1?x=2#y").await,
        "/v1/Accounts/acme1/Numbers/1%3Fx=2%23y.json"
    );
}

#[tokio::test]
async fn an_invalid_request_is_not_sent() {
    let server = Server::json(200, "").await;
    let error = server
        .client
        .send(&ConnectCall::two_legs("", "+919811100002", "08045550100"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::InvalidRequest { field: "From", .. }));
    assert!(!error.is_retryable() && !error.may_have_reached_exotel());
    assert!(server.seen().is_empty());
}
