//! Raw events: listed, masked but for administrators, and replayed.

use serde_json::{Value, json};
use table::{EventOwner, RawEvent};

use crate::house::{ADMIN, Event, HEAD, House, at, call};

const EVENTS: &str = "/api/admin/raw-events";

async fn kept(house: &House, n: i64, owner: EventOwner) -> RawEvent {
    let event = RawEvent {
        owner,
        purpose: "call".to_owned(),
        hash: format!("h{n}"),
        received_at: at(-n * 1_000),
        content_type: Some("application/x-www-form-urlencoded".to_owned()),
        body: b"CallSid=abc&From=09811100001&RecordingUrl=https%3A%2F%2Frecordings.exotel.com%2Fb.mp3"
            .to_vec(),
        query: Some("From=%2B919811100001".to_owned()),
        handled: Some(n == 1),
    };
    house.table.put_raw_event(&event).await.unwrap();
    house.table.index_raw_event(&event).await.unwrap();
    event
}

#[tokio::test]
async fn events_are_listed_newest_first_and_show_numbers_to_administrators_alone() {
    let house = House::new().await;
    let first = kept(&house, 1, EventOwner::Call(call(1).locator)).await;
    let second = kept(&house, 2, EventOwner::Sid("zzz".to_owned())).await;
    let all = house.get(ADMIN, EVENTS, EVENTS).await;
    assert_eq!(
        all.body,
        json!({"nextCursor": null, "items": [
            {"id": first.id().to_string(), "purpose": "call", "leadId": "lead-1", "callId": call(1).locator.id,
             "smsId": null, "unknownSid": null, "receivedAt": "2026-11-20T08:29:59Z",
             "contentType": "application/x-www-form-urlencoded", "query": "From=%2B919811100001",
             "body": String::from_utf8(first.body.clone()).unwrap(), "bodyCut": false, "handled": true},
            {"id": second.id().to_string(), "purpose": "call", "leadId": null, "callId": null, "smsId": null,
             "unknownSid": "zzz", "receivedAt": "2026-11-20T08:29:58Z",
             "contentType": "application/x-www-form-urlencoded", "query": "From=%2B919811100001",
             "body": String::from_utf8(second.body).unwrap(), "bodyCut": false, "handled": false},
        ]})
    );
    let masked = house.get(HEAD, EVENTS, EVENTS).await.body["items"].clone();
    for item in masked.as_array().unwrap() {
        let shown = format!("{} {}", item["body"], item["query"]);
        assert!(
            !shown.contains("98111") && !shown.contains("recordings"),
            "{shown}"
        );
        assert!(shown.contains("0001") && shown.contains("CallSid=abc"), "{shown}");
    }
}

#[tokio::test]
async fn events_are_paged_and_chosen_by_time() {
    let house = House::new().await;
    for n in 1..=5 {
        kept(&house, n, EventOwner::Call(call(1).locator)).await;
    }
    let (mut seen, mut cursor) = (0, String::new());
    for page_number in 0.. {
        assert!(page_number < 10);
        let page = house
            .get(ADMIN, EVENTS, &format!("{EVENTS}?limit=2&cursor={cursor}"))
            .await;
        seen += page.body["items"].as_array().unwrap().len();
        match page.body["nextCursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, 5);
    let path = format!("{EVENTS}?from=2026-11-20T08:29:57Z&to=2026-11-20T08:29:59Z");
    let chosen = house.get(ADMIN, EVENTS, &path).await;
    assert_eq!(chosen.body["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_long_body_is_cut_in_the_list() {
    let house = House::new().await;
    let mut event = kept(&house, 1, EventOwner::Sid("a".to_owned())).await;
    event.hash = "long".to_owned();
    event.body = vec![b'a'; 60_000];
    house.table.put_raw_event(&event).await.unwrap();
    house.table.index_raw_event(&event).await.unwrap();
    let all = house.get(ADMIN, EVENTS, EVENTS).await;
    let long = all.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["bodyCut"] == true)
        .unwrap();
    assert_eq!(long["body"].as_str().unwrap().len(), 16 * 1024);
}

#[tokio::test]
async fn a_replay_puts_the_events_id_into_the_queue() {
    let house = House::new().await;
    let event = kept(&house, 1, EventOwner::Call(call(1).locator)).await;
    let replay = |id: &str| {
        Event::new(
            "POST",
            "/api/admin/raw-events/{id}/replay",
            &format!("{EVENTS}/{id}/replay"),
        )
        .by(ADMIN)
    };
    let id = event.id().to_string();
    let answer = house.send(&replay(&id)).await;
    assert_eq!((answer.status, answer.body), (202, json!({"queued": true})));
    house.table.delete_raw_event(&event.id()).await.unwrap();
    assert_eq!(house.send(&replay(&id)).await.status, 404);
    let queued = house.queued.lock().unwrap().clone();
    assert_eq!(queued.len(), 1);
    let message: Value = serde_json::from_str(&queued[0]).unwrap();
    assert_eq!(message, json!({"type": "replay_event.v1", "id": id}));
}
