//! What Exotel sent, as an operator sees it.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::house::{Caller, House, PATIENCE, last_ten, until};

async fn all(caller: &Caller, query: &str) -> Vec<Value> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = caller
            .get(&format!("/api/admin/raw-events?limit=100{query}{cursor}"))
            .await
            .is(200);
        found.extend(page.items());
        let Some(next) = page.json["nextCursor"].as_str() else {
            return found;
        };
        cursor = format!("&cursor={next}");
    }
}

async fn of_lead(caller: &Caller, lead: &str) -> Vec<Value> {
    all(caller, "")
        .await
        .into_iter()
        .filter(|event| event["leadId"] == lead)
        .collect()
}

#[tokio::test]
async fn every_event_is_listed_masked_but_for_administrators() {
    let house = House::furnished("events").await;
    let phone = house.phone("0001");
    let lead = house.lead("a", &phone).await;
    let agent = house.agent();
    let call = agent.click(&lead).await.id();
    agent.outcome(&lead, &call, "connected").await;
    let admin = house.admin();
    let events = until(PATIENCE, "all three events are listed", async || {
        let events = of_lead(&admin, &lead).await;
        if events.len() >= 3 {
            Ok(events)
        } else {
            Err(format!("{events:?}"))
        }
    })
    .await;
    assert_eq!(events.len(), 3, "{events:#?}");
    for event in &events {
        assert_eq!(
            (&event["purpose"], &event["callId"]),
            (&json!("call"), &json!(call))
        );
        assert!(event["body"].as_str().unwrap().contains("CallSid"), "{event}");
        let text = event.to_string();
        assert!(
            !text.contains(house.url("webhook_token")) && !text.contains("simtoken"),
            "{event}"
        );
    }
    assert!(
        events
            .iter()
            .any(|event| event["body"].as_str().unwrap().contains(&last_ten(&phone)))
    );
    let masked = of_lead(&house.head(), &lead).await;
    assert_eq!(masked.len(), 3);
    for event in masked {
        let body = event["body"].as_str().unwrap();
        assert!(
            !body.contains(&last_ten(&phone)) && !body.contains(&last_ten(&house.agent_phone())),
            "{event}"
        );
    }
    agent.get("/api/admin/raw-events").await.problem(403, "forbidden");
    let day = SignedDuration::from_hours(24);
    let (from, to) = (Timestamp::now() - day * 20, Timestamp::now() - day * 19);
    let quiet = all(&admin, &format!("&from={from}&to={to}")).await;
    assert_eq!(quiet, Vec::<Value>::new());
}

#[tokio::test]
async fn an_event_of_an_unknown_sid_is_kept_and_can_be_replayed() {
    let house = House::furnished("replay").await;
    let url = format!(
        "{}/webhooks/exotel/call?token={}",
        house.url("http_url"),
        house.url("webhook_token")
    );
    let sid = "e2ereplay0000000000000000000001";
    let body = json!({"CallSid": sid, "EventType": "terminal", "Status": "completed"});
    let answer = house.http.post(&url).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let said: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(said, json!({"success": true, "handled": false}));
    let admin = house.admin();
    let event = until(PATIENCE, "it is listed", async || {
        all(&admin, "")
            .await
            .into_iter()
            .find(|event| event["unknownSid"] == sid)
            .ok_or_else(|| "no".to_owned())
    })
    .await;
    let path = format!("/api/admin/raw-events/{}/replay", event["id"].as_str().unwrap());
    house
        .head()
        .post(&path, json!({}))
        .await
        .problem(403, "forbidden");
    assert_eq!(
        admin.post(&path, json!({})).await.is(202).json,
        json!({"queued": true})
    );
}

#[tokio::test]
async fn a_replayed_event_changes_nothing_that_is_known_already() {
    let house = House::furnished("again").await;
    let lead = house.lead("a", &house.phone("0001")).await;
    let agent = house.agent();
    let call = agent.click(&lead).await.id();
    let ended = agent.outcome(&lead, &call, "connected").await;
    let admin = house.admin();
    let events = until(PATIENCE, "its events are listed", async || {
        let events = of_lead(&admin, &lead).await;
        if events.len() >= 3 {
            Ok(events)
        } else {
            Err(format!("{} events", events.len()))
        }
    })
    .await;
    for event in &events {
        admin
            .post(
                &format!("/api/admin/raw-events/{}/replay", event["id"].as_str().unwrap()),
                json!({}),
            )
            .await
            .is(202);
    }
    house.settled_items_with("again-a").await;
    assert_eq!(agent.entry(&lead, "calls", &call).await, ended);
    assert_eq!(of_lead(&admin, &lead).await.len(), events.len());
}
