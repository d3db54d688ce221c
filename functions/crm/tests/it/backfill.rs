//! Asking for history from before, and watching it.

use domain::reconcile::{Position, Tally};
use jiff::Timestamp;
use serde_json::{Value, json};
use table::reconcile::PositionId;

use crate::house::{ADMIN, Answer, Event, HEAD, House, SALES, now};

const ROUTE: &str = "/api/admin/backfill";

async fn ask(house: &House, who: (&str, domain::access::Role), body: Value) -> Answer {
    house
        .send(&Event::new("POST", ROUTE, ROUTE).json(body).by(who))
        .await
}

#[tokio::test]
async fn a_backfill_is_asked_for_and_watched() {
    let house = House::new().await;
    let asked = ask(&house, ADMIN, json!({"from": "2026-06-01", "to": "2026-11-19"})).await;
    assert_eq!(asked.status, 202);
    // Days of the house's zone, the last one whole.
    assert_eq!(
        (&asked.body["status"], &asked.body["from"], &asked.body["to"]),
        (
            &json!("waiting"),
            &json!("2026-05-31T18:30:00Z"),
            &json!("2026-11-19T18:30:00Z")
        )
    );
    let list = house.get(ADMIN, ROUTE, ROUTE).await;
    assert_eq!(list.body["items"], json!([asked.body]));

    // The poller has read a part.
    let id: Timestamp = asked.body["id"].as_str().unwrap().parse().unwrap();
    let id = PositionId::Backfill(id);
    let held = house.table.position(&id).await.unwrap().unwrap();
    let read = Position {
        done_until: Some("2026-07-01T00:00:00Z".parse().unwrap()),
        tally: Tally {
            pages: 3,
            calls: 250,
            changed: 40,
            ..Tally::default()
        },
        ..held.value
    };
    house.table.keep_position(&id, &read, held.rev).await.unwrap();
    let list = house.get(ADMIN, ROUTE, ROUTE).await;
    let item = &list.body["items"][0];
    assert_eq!(
        (
            &item["status"],
            &item["read_until"],
            &item["calls"],
            &item["changed"]
        ),
        (
            &json!("running"),
            &json!("2026-07-01T00:00:00Z"),
            &json!(250),
            &json!(40)
        )
    );
}

#[tokio::test]
async fn today_ends_now() {
    let house = House::new().await;
    for body in [
        json!({"from": "2026-11-20"}),
        json!({"from": "2026-11-20", "to": "2026-11-20"}),
    ] {
        let asked = ask(&house, ADMIN, body).await;
        assert_eq!(
            (asked.status, &asked.body["to"]),
            (202, &json!(now().to_string()))
        );
    }
}

#[tokio::test]
async fn spans_that_exotel_does_not_list_are_refused_and_so_is_anybody_else() {
    let house = House::new().await;
    for (body, field) in [
        (json!({"from": "2026-04-01", "to": "2026-11-20"}), "from"),
        (json!({"from": "2026-11-25", "to": "2026-11-26"}), "from"),
        (json!({"from": "2026-11-10", "to": "2026-11-09"}), "from"),
        (json!({"from": "last week"}), "from"),
        (json!({"from": "2026-11-10", "to": "soon"}), "to"),
        (json!({"from": "2026-11-10", "pages": 3}), "pages"),
    ] {
        let answer = ask(&house, ADMIN, body.clone()).await;
        assert_eq!(
            (answer.status, &answer.body["field"]),
            (400, &json!(field)),
            "{body}: {answer:?}"
        );
    }
    for who in [HEAD, SALES] {
        assert_eq!(ask(&house, who, json!({"from": "2026-11-10"})).await.status, 403);
        assert_eq!(house.get(who, ROUTE, ROUTE).await.status, 403);
    }
    assert_eq!(house.get(ADMIN, ROUTE, ROUTE).await.body, json!({"items": []}));
}

#[tokio::test]
async fn no_more_than_five_wait_at_once() {
    let house = House::new().await;
    for n in 0..5 {
        let asked = PositionId::Backfill(now() - jiff::SignedDuration::from_secs(60 + n));
        let position = Position::backfill(now() - jiff::SignedDuration::from_hours(30), now());
        house.table.keep_position(&asked, &position, 0).await.unwrap();
    }
    let answer = ask(&house, ADMIN, json!({"from": "2026-11-10"})).await;
    assert_eq!((answer.status, &answer.body["code"]), (409, &json!("conflict")));
}
