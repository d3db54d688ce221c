//! The same request twice is one call.

use futures_util::future::join_all;
use serde_json::json;

use crate::house::{House, SALES_FAMILY};

#[tokio::test]
async fn the_same_key_and_body_give_the_first_answer_and_another_body_is_refused() {
    let house = House::furnished("keys").await;
    let phone = house.phone("0001");
    let lead = house.lead("a", &phone).await;
    let other = house.lead("b", &house.phone("0101")).await;
    let agent = house.agent();
    let send = async |lead: &str, key: &str, body: &str| {
        let ask = agent.ask("POST", &format!("{SALES_FAMILY}/{lead}/sms"));
        ask.header("idempotency-key", key)
            .json(&json!({"body": body}))
            .send()
            .await
    };
    let first = send(&lead, "k-1", "Hello").await.is(201);
    let again = send(&lead, "k-1", "Hello").await.is(201);
    assert_eq!(
        (&again.text, &again.headers["content-type"]),
        (&first.text, &first.headers["content-type"])
    );
    send(&lead, "k-1", "Goodbye")
        .await
        .problem(409, "idempotency_key_reused");
    send(&other, "k-1", "Hello")
        .await
        .problem(409, "idempotency_key_reused");
    // Another key, and another user's same key, are other requests.
    let second = send(&lead, "k-2", "Hello").await.is(201);
    assert_ne!(second.id(), first.id());
    let head = house
        .head()
        .ask("POST", &format!("{SALES_FAMILY}/{lead}/sms"))
        .header("idempotency-key", "k-1");
    assert_ne!(
        head.json(&json!({"body": "Hello"})).send().await.is(201).id(),
        first.id()
    );
    assert_eq!(house.messages_at_exotel(&phone).await.len(), 3);
    // And another route's.
    let call = agent
        .ask("POST", &format!("{SALES_FAMILY}/{lead}/exotel-call"))
        .header("idempotency-key", "k-1");
    call.json(&json!({})).send().await.is(201);
}

#[tokio::test]
async fn a_refusal_is_kept_for_its_key_too() {
    let house = House::furnished("keyrefused").await;
    let phone = house.phone("0011");
    let lead = house.lead("a", &phone).await;
    let click = async || {
        let ask = house
            .agent()
            .ask("POST", &format!("{SALES_FAMILY}/{lead}/exotel-call"));
        ask.header("idempotency-key", "once")
            .json(&json!({}))
            .send()
            .await
            .problem(502, "exotel_refused")
    };
    let first = click().await;
    let again = click().await;
    assert_eq!(again.told(), first.told());
    assert_eq!(house.requests_at_exotel("Calls/connect", &phone).await.len(), 1);
}

#[tokio::test]
async fn a_double_click_is_one_call() {
    let house = House::furnished("double").await;
    let phone = house.phone("0001");
    let lead = house.lead("a", &phone).await;
    let agent = house.agent();
    let clicks = join_all((0..5).map(|_| agent.click(&lead))).await;
    let mut ids: Vec<_> = clicks.into_iter().map(|click| click.is(201).id()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(house.calls_at_exotel(&phone).await.len(), 1);
    let read = house
        .admin()
        .get(&format!("/api/admin/raw-leads/{lead}"))
        .await
        .is(200);
    assert_eq!(read.json["callCount"], 1);
    // Six seconds later it is another click.
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    assert_ne!(agent.click(&lead).await.is(201).id(), ids[0]);
}

#[tokio::test]
async fn two_requests_at_once_with_one_key_send_once() {
    let house = House::furnished("keyrace").await;
    let phone = house.phone("0001");
    let lead = house.lead("a", &phone).await;
    let agent = house.agent();
    let asks = (0..5).map(|_| {
        let ask = agent
            .ask("POST", &format!("{SALES_FAMILY}/{lead}/sms"))
            .header("idempotency-key", "race");
        ask.json(&json!({"body": "Hello"})).send()
    });
    let mut ids = Vec::new();
    for answer in join_all(asks).await {
        if answer.status == 409 {
            let answer = answer.problem(409, "still_running");
            assert!(answer.headers.contains_key("retry-after"));
        } else {
            ids.push(answer.is(201).id());
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(house.messages_at_exotel(&phone).await.len(), 1);
}

#[tokio::test]
async fn a_lead_is_called_eight_times_an_hour_and_not_nine() {
    let house = House::furnished("fraud").await;
    let phone = house.phone("0008");
    let lead = house.lead("a", &phone).await;
    let agent = house.agent();
    for n in 0..9 {
        let ask = agent.ask("POST", &format!("{SALES_FAMILY}/{lead}/exotel-call"));
        let answer = ask
            .header("idempotency-key", &format!("n{n}"))
            .json(&json!({}))
            .send()
            .await;
        if n < 8 {
            assert!(answer.status == 201 || answer.status == 202, "{answer:?}");
        } else {
            let answer = answer.problem(429, "calls_used_up");
            assert!(answer.headers.contains_key("retry-after"));
        }
    }
    let abroad = house.lead("abroad", "+14155550123").await;
    let refused = agent.click(&abroad).await.problem(403, "destination_not_allowed");
    assert!(!refused.text.contains("4155550123"));
    agent
        .text(&abroad, "Hello")
        .await
        .problem(403, "destination_not_allowed");
    assert_eq!(
        house
            .agent()
            .get(&format!("{SALES_FAMILY}/{abroad}/timeline"))
            .await
            .items(),
        Vec::<serde_json::Value>::new()
    );
}
