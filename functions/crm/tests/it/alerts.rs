//! Alerts: listed for sales heads and administrators, acknowledged by administrators.

use domain::{
    alert::{EXOPHONE_AFFECTED, Measure, Observation, Rule, Transition, UNCONFIRMED_INTENTS},
    ids::AlertId,
};
use serde_json::{Value, json};
use services::alerts::Alerts;

use crate::house::{ADMIN, Event, HEAD, House, SALES, at};

const ALERTS: &str = "/api/admin/alerts";

/// Observes a level of a rule for a subject; gives the alert's id if one was raised.
async fn observe(house: &House, rule: &Rule, subject: &str, level: i64, millis: i64) -> Option<AlertId> {
    let alerts = Alerts::new(house.table.clone(), || 7);
    let observation = Observation::single(Measure::whole(level));
    let subject = subject.parse().unwrap();
    match alerts
        .observe(rule, &subject, observation, at(millis))
        .await
        .unwrap()
    {
        Some(Transition::Raised(alert)) => Some(alert.id),
        _ => None,
    }
}

fn acknowledge(id: &str) -> Event {
    Event::new(
        "POST",
        "/api/admin/alerts/{id}/acknowledge",
        &format!("{ALERTS}/{id}/acknowledge"),
    )
}

fn subjects(body: &Value) -> Vec<&str> {
    let items = body["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["subject"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn what_is_open_is_listed_by_default_and_all_of_a_period_when_asked() {
    let house = House::new().await;
    observe(&house, &UNCONFIRMED_INTENTS, "account", 3, -3_000).await;
    observe(&house, &UNCONFIRMED_INTENTS, "account", 0, -2_000).await;
    for n in 0..5 {
        observe(&house, &EXOPHONE_AFFECTED, &format!("PN{n}"), 2, -1_000 + n).await;
    }
    for who in [ADMIN, HEAD] {
        let open = house.get(who, ALERTS, ALERTS).await;
        assert_eq!(open.status, 200);
        assert_eq!(subjects(&open.body), ["PN0", "PN1", "PN2", "PN3", "PN4"]);
        assert_eq!(open.body["items"][0]["state"], "open");
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("{ALERTS}?state=all&limit=2&cursor={cursor}");
        let page = house.get(ADMIN, ALERTS, &path).await;
        seen.extend(subjects(&page.body).into_iter().map(str::to_owned));
        match page.body["nextCursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(
        seen,
        ["PN4", "PN3", "PN2", "PN1", "PN0", "account"],
        "newest first"
    );
    let path = format!("{ALERTS}?state=all&to=2026-11-20T08:29:59Z");
    let early = house.get(ADMIN, ALERTS, &path).await;
    assert_eq!(subjects(&early.body), ["account"]);
    assert_eq!(early.body["items"][0]["state"], "recovered");
    let path = format!("{ALERTS}?state=open&from=2026-11-20T08:29:59.002Z");
    let late = house.get(ADMIN, ALERTS, &path).await;
    assert_eq!(subjects(&late.body), ["PN2", "PN3", "PN4"]);
}

#[tokio::test]
async fn administrators_take_notice_with_or_without_a_note_and_the_first_one_stays() {
    let house = House::new().await;
    let with = observe(&house, &EXOPHONE_AFFECTED, "PN1", 2, -2_000)
        .await
        .unwrap();
    let without = observe(&house, &UNCONFIRMED_INTENTS, "account", 1, -1_000)
        .await
        .unwrap();
    let note = json!({"note": "Exotel is on it."});
    let answer = house
        .send(&acknowledge(with.as_str()).json(note.clone()).by(ADMIN))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = [
        &answer.body["id"],
        &answer.body["acknowledgedBy"],
        &answer.body["acknowledgedAt"],
        &answer.body["note"],
    ];
    assert_eq!(
        told,
        [
            &json!(with),
            &json!("admin-1"),
            &json!("2026-11-20T08:30:00Z"),
            &json!("Exotel is on it.")
        ]
    );
    let other = ("admin-2", ADMIN.1);
    let again = house.send(&acknowledge(with.as_str()).by(other)).await;
    assert_eq!((again.status, again.body), (200, answer.body));
    let bare = house.send(&acknowledge(without.as_str()).by(ADMIN)).await;
    assert_eq!((bare.status, &bare.body["note"]), (200, &Value::Null));
    assert_eq!(bare.body["acknowledgedBy"], "admin-1");

    let nobody = acknowledge("alert_01m7w179t10000000000000007")
        .json(note)
        .by(ADMIN);
    assert_eq!(house.send(&nobody).await.status, 404);
    for who in [HEAD, SALES] {
        let answer = house.send(&acknowledge(with.as_str()).by(who)).await;
        assert_eq!(answer.status, 403, "{who:?}");
    }
    assert_eq!(house.get(SALES, ALERTS, ALERTS).await.status, 403);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name() {
    let house = House::new().await;
    let id = observe(&house, &EXOPHONE_AFFECTED, "PN1", 2, 0).await.unwrap();
    for (query, field) in [
        ("state=closed", "state"),
        ("from=yesterday", "from"),
        (
            "state=all&from=2026-11-20T08:00:00Z&to=2026-11-20T07:00:00Z",
            "from",
        ),
        ("from=2026-11-20T08:00:00Z&to=2026-11-20T07:00:00Z", "from"),
        ("limit=0", "limit"),
        ("cursor=x", "cursor"),
    ] {
        let answer = house.get(ADMIN, ALERTS, &format!("{ALERTS}?{query}")).await;
        assert_eq!(
            (answer.status, &answer.body["field"]),
            (400, &json!(field)),
            "{query}: {answer:?}"
        );
    }
    // A cursor of one list is none of the other.
    observe(&house, &EXOPHONE_AFFECTED, "PN2", 2, 1).await;
    let open = house.get(ADMIN, ALERTS, &format!("{ALERTS}?limit=1")).await;
    let path = format!(
        "{ALERTS}?state=all&cursor={}",
        open.body["nextCursor"].as_str().unwrap()
    );
    assert_eq!(house.get(ADMIN, ALERTS, &path).await.status, 400);
    for (body, field) in [
        (json!({"note": "x".repeat(501)}), "note"),
        (json!({"note": 7}), "note"),
        (json!({"notes": "x"}), "notes"),
    ] {
        let answer = house.send(&acknowledge(id.as_str()).json(body).by(ADMIN)).await;
        assert_eq!(
            (answer.status, &answer.body["field"]),
            (400, &json!(field)),
            "{answer:?}"
        );
    }
    let answer = house.send(&acknowledge("nonsense").by(ADMIN)).await;
    assert_eq!((answer.status, &answer.body["field"]), (400, &json!("id")));
}
