//! What nobody here began: calls that come in, history, and ExoPhones that fail.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{House, last_ten, until};

/// What is done each minute shows within three.
const MINUTES: Duration = Duration::from_secs(180);

fn pasted(house: &House, webhook: &str) -> String {
    let (url, token) = (house.url("http_url"), house.url("webhook_token"));
    format!("{url}/webhooks/exotel/{webhook}?token={token}")
}

#[tokio::test]
async fn a_call_that_came_in_is_on_record_and_on_its_callers_timeline() {
    let house = House::furnished("inflow").await;
    let phone = house.phone("4321");
    let lead = house.lead("a", &phone).await;
    let call = json!({"from": format!("0{}", last_ten(&phone)), "agent": format!("0{}", last_ten(&house.agent_phone())),
        "flow_id": "30012", "digits": "2", "talk_ms": 4_000, "passthru": pasted(&house, "passthru")});
    let call = house.simulator(Method::POST, "/_sim/inbound", Some(call)).await;
    let sid = call["sid"].as_str().unwrap();
    let path = format!("/api/admin/calls/{sid}");
    let admin = house.admin();
    let record = until(MINUTES, "the call has ended and is on record", async || {
        let answer = admin.get(&path).await;
        let known = answer.status == 200 && answer.json["called_back"] == true;
        match known && answer.json["outcome"] == "connected" {
            true => Ok(answer.json),
            false => Err(format!("{answer:?}")),
        }
    })
    .await;
    assert_eq!(
        (
            &record["direction"],
            &record["flow_id"],
            &record["digits"],
            &record["link"]
        ),
        (&json!("inbound"), &json!("30012"), &json!("2"), &Value::Null),
        "{record}"
    );
    assert_eq!(last_ten(record["customer"].as_str().unwrap()), last_ten(&phone));
    let masked = house.head().get(&path).await.is(200);
    assert!(
        !masked.text.contains(&last_ten(&phone)) && !masked.text.contains(&last_ten(&house.agent_phone())),
        "{masked:?}"
    );
    house.agent().get(&path).await.problem(403, "forbidden");
    let timeline = format!("/api/sales/crm/{lead}/timeline");
    let entry = until(MINUTES, "it is on the timeline", async || {
        let page = house.agent().get(&timeline).await.is(200);
        let found = page.items().into_iter().find(|item| item["exotelCallSid"] == sid);
        found.ok_or_else(|| format!("{page:?}"))
    })
    .await;
    assert_eq!(
        (&entry["outcome"], &entry["calledBy"]),
        (&json!("connected"), &Value::Null)
    );
}

#[tokio::test]
async fn a_call_that_nobody_knows_is_404_and_one_that_only_exotel_knows_is_shown() {
    let house = House::open("onlyexotel");
    let admin = house.admin();
    admin
        .get("/api/admin/calls/e2enobody")
        .await
        .problem(404, "not_found");
    for (query, field) in [("source=v9", "source"), ("refresh=perhaps", "refresh")] {
        admin
            .get(&format!("/api/admin/calls/e2enobody?{query}"))
            .await
            .problem(400, "bad_request")
            .about(field);
    }
    let call = json!({"from": format!("0{}", last_ten(&house.phone("4321"))), "talk_ms": 1_000});
    let call = house.simulator(Method::POST, "/_sim/inbound", Some(call)).await;
    let sid = call["sid"].as_str().unwrap();
    let record = until(MINUTES, "it has ended", async || {
        let answer = admin.get(&format!("/api/admin/calls/{sid}")).await;
        match answer.json["outcome"] == "connected" {
            true => Ok(answer.json),
            false => Err(format!("{answer:?}")),
        }
    })
    .await;
    assert_eq!(
        (&record["called_back"], &record["stale"]),
        (&json!(false), &json!(false))
    );
}

/// The other ExoPhone of the account: calls of other tests show the first.
pub(crate) const OTHER: &str = "08047154321";

#[tokio::test]
async fn an_exophone_that_fails_raises_one_alert() {
    let house = House::furnished("exophone").await;
    let admin = house.admin();
    let alerts = async |state: &str| {
        let page = admin
            .get(&format!("/api/admin/alerts?state={state}"))
            .await
            .is(200);
        let about = |alert: &Value| alert["rule"] == "exophone-affected" && alert["subject"] == OTHER;
        page.items().into_iter().filter(about).collect::<Vec<_>>()
    };
    let heartbeat = json!({"url": pasted(&house, "heartbeat")});
    house
        .simulator(Method::POST, "/_sim/heartbeat", Some(heartbeat))
        .await;
    let push = async |incoming: &str| {
        let health = json!({"number": OTHER, "incoming": incoming, "outgoing": "active"});
        house
            .simulator(Method::POST, "/_sim/exophones", Some(health))
            .await;
        house
            .simulator(Method::POST, "/_sim/heartbeat/push", Some(json!({})))
            .await
    };
    push("major_outage").await;
    let alert = until(MINUTES, "the alert is open", async || {
        let open = alerts("open").await;
        open.into_iter().next().ok_or_else(|| "no alert".to_owned())
    })
    .await;
    let exophones = admin.get("/api/admin/exophones?status=affected").await.is(200);
    assert_eq!(exophones.json["affected"], 1, "{exophones:?}");
    let sid = exophones.json["items"][0]["sid"].as_str().unwrap();
    let checks = format!("/api/admin/exophones/{sid}/checks");
    assert!(!admin.get(&checks).await.is(200).items().is_empty());
    let acknowledge = format!("/api/admin/alerts/{}/acknowledge", alert["id"].as_str().unwrap());
    let noticed = admin
        .post(&acknowledge, json!({"note": "told Exotel"}))
        .await
        .is(200);
    assert_eq!(noticed.json["note"], "told Exotel");
    // The same news by both ways raises nothing more.
    push("major_outage").await;
    assert_eq!(alerts("all").await.len(), 1);
    push("active").await;
    // That it recovers is seen afterwards: it must have been well for two minutes.
    house.simulator(Method::DELETE, "/_sim/heartbeat", None).await;
}

#[tokio::test]
async fn a_heartbeat_that_cannot_be_read_is_kept_and_alarms_nobody() {
    let house = House::open("noheart");
    for (kind, body) in [
        ("application/json", "{\"status_type\":"),
        ("application/json", "[]"),
        ("text/plain", "OK"),
        ("application/json", ""),
    ] {
        let answer = house
            .nobody()
            .ask(
                "POST",
                &format!("/webhooks/exotel/heartbeat?token={}", house.url("webhook_token")),
            )
            .body(kind, body)
            .send()
            .await
            .is(200);
        assert_eq!(answer.json, json!({"success": true, "handled": false}), "{body}");
    }
}
