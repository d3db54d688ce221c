//! The HeartBeat's door: who may come in, and what becomes of it.

use lambda_kit::{
    config::CorsConfig,
    http::{Request, answer},
};
use serde_json::json;
use services::inbound::Webhook;
use table::EventOwner;

use crate::given::{API_KEY, Post, TOKEN, World, kept, now, only_event, post};

fn heartbeat(path: &str, outgoing: &[&str]) -> Post {
    let body = json!({
        "timestamp": "2026-11-21T03:59:58Z",
        "status_type": if outgoing.is_empty() { "OK" } else { "WARNING" },
        "incoming_affected": null,
        "outgoing_affected": outgoing,
        "data": {},
    });
    Post::new(path, "application/json", body.to_string())
}

#[tokio::test]
async fn the_token_opens_and_nothing_else_does() {
    let world = World::new().await;
    let door = world.door(Webhook::Heartbeat);
    let good = format!("/webhooks/exotel/heartbeat?token={TOKEN}");
    for path in [
        "/webhooks/exotel/heartbeat".to_owned(),
        "/webhooks/exotel/heartbeat?token=".to_owned(),
        format!("/webhooks/exotel/heartbeat?token={API_KEY}"),
    ] {
        assert_eq!(post(&door, &heartbeat(&path, &[])).await.0, 403, "{path}");
    }
    for path in [
        format!("/webhooks/exotel/call?token={TOKEN}"),
        format!("/webhooks/exotel/heartbeat/a/b?token={TOKEN}"),
    ] {
        assert_eq!(post(&door, &heartbeat(&path, &[])).await.0, 404, "{path}");
    }
    assert!(world.table.exophone_health().await.unwrap().phones.is_empty());
    assert_eq!(post(&door, &heartbeat(&good, &["08045550100"])).await, kept(true));
    let health = world.table.exophone_health().await.unwrap();
    assert_eq!(health.affected(), 1);
    assert!(health.phones.values().all(|phone| phone.alerted_at.is_some()));
    let event = only_event(&world.table, EventOwner::Sid("heartbeat".to_owned())).await;
    assert_eq!(
        (event.purpose.as_str(), event.handled, event.query),
        ("heartbeat", Some(true), None)
    );
    // The same once more: a duplicate lands on itself.
    assert_eq!(post(&door, &heartbeat(&good, &["08045550100"])).await, kept(true));
    only_event(&world.table, EventOwner::Sid("heartbeat".to_owned())).await;
}

#[tokio::test]
async fn a_push_with_thousands_of_numbers_is_taken_and_one_beyond_lambda_is_413() {
    let world = World::new().await;
    let door = world.door(Webhook::Heartbeat);
    let path = format!("/webhooks/exotel/heartbeat?token={TOKEN}");
    let sids: Vec<String> = (0..9_000).map(|n| format!("0804{n:07}")).collect();
    let sids: Vec<&str> = sids.iter().map(String::as_str).collect();
    let long = heartbeat(&path, &sids);
    assert!(long.body.len() > 64 * 1024);
    assert_eq!(post(&door, &long).await, kept(true));
    assert_eq!(world.table.exophone_health().await.unwrap().affected(), 9_000);
    let longer = Post::new(&path, "application/json", vec![b' '; 6 * 1024 * 1024 + 1]);
    let request = Request::from_event(&longer.event()).unwrap();
    let cors = CorsConfig::default();
    let refused = answer(&cors, request, async |request| {
        door.receive_heartbeat(&request, now()).await
    })
    .await;
    assert_eq!(refused.status(), 413);
}
