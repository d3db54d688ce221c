//! Our client and our simulator were written from Exotel's documentation apart from each other: they must agree.

use std::time::Duration;

use exotel::{
    CallStatus, Client, Credentials, Error, SINGAPORE,
    calls::{ConnectCall, GetCall, ListCalls},
    numbers::GetNumber,
    sms::{BulkItem, BulkMessage, GetSms, SendBulkSms, SendDynamicBulkSms, SendSms},
};
use exotel_simulator::{Handle, Options, Simulator};

const AGENT: &str = "+919811150001";
const EXOPHONE: &str = "08045550100";

/// A simulator in which an hour is a moment, and our client for it.
async fn both() -> (Handle, Client) {
    let simulator = Simulator::start(Options {
        speed: f64::INFINITY,
        seed: Some(1),
        ..Options::default()
    })
    .await
    .unwrap();
    let credentials = Credentials {
        account_sid: "acme1".to_owned(),
        api_key: "simkey".to_owned().into(),
        api_token: "simtoken".to_owned().into(),
    };
    let http = lambda_kit::https::client_builder().unwrap().build().unwrap();
    let client = Client::new(http, simulator.url().parse().unwrap(), credentials).unwrap();
    (simulator, client.with_timeout(Duration::from_millis(700)))
}

fn call_to(suffix: &str) -> ConnectCall {
    ConnectCall::two_legs(AGENT, format!("+91981110{suffix}"), EXOPHONE)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_accepted_and_its_details_and_the_list_tell_the_same_end() {
    let (simulator, client) = both().await;
    let accepted = client.send(&call_to("0001")).await.unwrap();
    assert_eq!(accepted.status, Some(CallStatus::InProgress));
    simulator
        .calls_until(|calls| calls.iter().all(|call| call.settled))
        .await;

    let details = client
        .send(&GetCall::with_details(accepted.sid.clone()))
        .await
        .unwrap();
    assert_eq!(details.status, Some(CallStatus::Completed));
    assert!(details.end_time.is_some() && details.price.is_some());
    let listed = client.send(&ListCalls::default()).await.unwrap();
    assert_eq!(listed.calls.len(), 1);
    assert_eq!(listed.calls[0].sid, accepted.sid);
    assert_eq!(listed.calls[0].status, details.status);
    assert_eq!(listed.calls[0].price, details.price);
    assert_eq!(listed.unreadable, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cursor_walks_the_whole_list_once() {
    let (simulator, client) = both().await;
    for _ in 0..7 {
        client.send(&call_to("0001")).await.unwrap();
    }
    simulator
        .calls_until(|calls| calls.iter().all(|call| call.ended.is_some()))
        .await;
    let mut request = ListCalls {
        page_size: Some(3),
        ..ListCalls::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = client.send(&request).await.unwrap();
        seen.extend(page.calls.into_iter().map(|call| call.sid.to_string()));
        match page.next {
            Some(next) => request.cursor = Some(next),
            None => break,
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_tells_the_caller_what_may_be_done() {
    let (_simulator, client) = both().await;
    let refused: fn(&Error) -> bool = Error::is_refused_for_good;
    let retryable: fn(&Error) -> bool = Error::is_retryable;
    let unclear: fn(&Error) -> bool = Error::may_have_reached_exotel;
    for (suffix, question) in [
        ("0011", refused),
        ("0012", refused),
        ("0013", retryable),
        ("0014", retryable),
        ("0015", unclear),
        ("0016", unclear),
        ("0017", unclear),
        ("0018", unclear),
        ("0019", unclear),
        ("0020", unclear),
        ("0021", refused),
        ("0022", refused),
        ("0023", unclear),
        ("0024", refused),
        ("0025", refused),
    ] {
        let error = client.send(&call_to(suffix)).await.expect_err(suffix);
        let answers = [refused(&error), retryable(&error), unclear(&error)];
        assert!(question(&error), "{suffix}: {error:?}");
        assert_eq!(
            answers.iter().filter(|yes| **yes).count(),
            1,
            "{suffix}: exactly one holds"
        );
        assert!(
            !format!("{error} {error:?}").contains("981110"),
            "{suffix}: a number shows"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_cluster_knows_nobody() {
    let (simulator, _) = both().await;
    let credentials = Credentials {
        account_sid: "acme1".to_owned(),
        api_key: "other".to_owned().into(),
        api_token: "x1".to_owned().into(),
    };
    let http = lambda_kit::https::client_builder().unwrap().build().unwrap();
    let stranger = Client::new(http, simulator.url().parse().unwrap(), credentials).unwrap();
    let error = stranger.send(&call_to("0001")).await.unwrap_err();
    assert_eq!(error.status(), Some(401));
    assert!(SINGAPORE.starts_with("https://"));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_one_by_one_and_in_bulk_and_what_nobody_knows() {
    let (simulator, client) = both().await;
    let sent = client
        .send(&SendSms::new("ACMEIN", "+919811100001", "Hello"))
        .await
        .unwrap();
    let fixed = SendBulkSms {
        from: "ACMEIN".into(),
        to: vec!["+919811100001".into(), "+919811100005".into()],
        body: "Hello".into(),
        options: Default::default(),
    };
    let own = SendDynamicBulkSms {
        from: "ACMEIN".into(),
        messages: vec![
            BulkMessage::new("+919811100001", "One"),
            BulkMessage::new("+919811100012", "Two"),
        ],
        options: Default::default(),
    };
    for items in [
        client.send(&fixed).await.unwrap(),
        client.send(&own).await.unwrap(),
    ] {
        assert_eq!(items.len(), 2);
        assert!(matches!(items[0], BulkItem::Accepted(_)));
        assert!(!items.iter().any(|item| matches!(item, BulkItem::Unreadable)));
    }
    simulator
        .messages_until(|messages| {
            messages
                .iter()
                .all(|message| message.code < 21000 || message.code > 23000)
        })
        .await;
    let details = client.send(&GetSms { sid: sent.sid }).await.unwrap();
    assert_eq!(details.detailed_status_code, Some(20005));
    let unknown = GetSms {
        sid: "0123456789abcdef0123456789abcdef".parse().unwrap(),
    };
    assert!(
        matches!(client.send(&unknown).await, Err(Error::NotFound(_))),
        "HTTP 200 and `No matching results`"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn number_metadata_tells_dnd() {
    let (_simulator, client) = both().await;
    let free = client
        .send(&GetNumber {
            number: "09811100001".into(),
        })
        .await
        .unwrap();
    assert_eq!(free.dnd, Some(false));
    let dnd = client
        .send(&GetNumber {
            number: "09811100011".into(),
        })
        .await
        .unwrap();
    assert_eq!(dnd.dnd, Some(true));
}
