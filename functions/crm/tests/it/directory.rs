//! Leads and users.

use domain::ids::LeadId;
use serde_json::{Value, json};
use services::directory::MOST_LINES;
use table::{EventOwner, RawEvent};

use crate::house::{ADMIN, Event, HEAD, House, SALES, at, call, lead, sms};

const LEADS: &str = "/api/admin/raw-leads/{id}";

fn put(id: &str, body: Value) -> Event {
    Event::new("PUT", LEADS, &format!("/api/admin/raw-leads/{id}"))
        .json(body)
        .by(ADMIN)
}

fn import(content_type: &str, text: &str) -> Event {
    Event::new(
        "POST",
        "/api/admin/raw-leads/import",
        "/api/admin/raw-leads/import",
    )
    .text(content_type, text)
    .by(ADMIN)
}

#[tokio::test]
async fn a_lead_is_put_read_and_put_again() {
    let house = House::new().await;
    let body = json!({"id": "lead-2", "name": " Ravi Kumar ", "phone": "098111 00002", "owningSalesHeadId": "head-1",
        "assignedTo": null, "callCount": 99});
    let expected = json!({"id": "lead-2", "name": "Ravi Kumar", "phone": "+919811100002",
        "owningSalesHeadId": "head-1", "assignedTo": null, "callCount": 0, "lastContactedAt": null});
    let created = house.send(&put("lead-2", body.clone())).await;
    assert_eq!((created.status, &created.body), (201, &expected));
    let replaced = house.send(&put("lead-2", body)).await;
    assert_eq!((replaced.status, &replaced.body), (200, &expected));
    let read = house.get(HEAD, LEADS, "/api/admin/raw-leads/lead-2").await;
    assert_eq!((read.status, &read.body), (200, &expected));
    // What was read can be put back.
    assert_eq!(house.send(&put("lead-2", read.body)).await.status, 200);
    for (body, field) in [
        (json!({"id": "lead-3", "name": "A", "phone": "9811100002"}), "id"),
        (json!({"name": "n".repeat(201), "phone": "9811100002"}), "name"),
        (json!({"name": "a\nb", "phone": "9811100002"}), "name"),
        (json!({"name": "A", "phone": "12345"}), "phone"),
        (
            json!({"name": "A", "phone": "9811100002", "assignedTo": "a b"}),
            "assignedTo",
        ),
        (
            json!({"name": "A", "phone": "9811100002", "owningSalesHeadId": 7}),
            "owningSalesHeadId",
        ),
    ] {
        let answer = house.send(&put("lead-2", body.clone())).await;
        assert_eq!(
            (answer.status, &answer.body["field"]),
            (400, &json!(field)),
            "{body}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn everybody_lists_their_own_leads() {
    let house = House::new().await;
    for n in 2..=4 {
        let mut lead = lead(&format!("lead-{n}"));
        if n == 4 {
            (lead.owning_sales_head_id, lead.assigned_to) = (None, Some("sales-2".parse().unwrap()));
        }
        house.table.put_lead(&lead).await.unwrap();
    }
    for (route, who, expected) in [
        ("/api/sales/crm", SALES, vec!["lead-1", "lead-2", "lead-3"]),
        ("/api/sales/crm", HEAD, vec!["lead-1", "lead-2", "lead-3"]),
        ("/api/admin/raw-leads", HEAD, vec!["lead-1", "lead-2", "lead-3"]),
        (
            "/api/admin/raw-leads",
            ADMIN,
            vec!["lead-1", "lead-2", "lead-3", "lead-4"],
        ),
    ] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = house
                .get(who, route, &format!("{route}?limit=2&cursor={cursor}"))
                .await;
            for item in page.body["items"].as_array().unwrap() {
                seen.push(item["id"].as_str().unwrap().to_owned());
            }
            match page.body["nextCursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(seen, expected, "{route} {who:?}");
    }
}

#[tokio::test]
async fn a_number_finds_the_callers_leads_the_most_recently_contacted_first() {
    let house = House::new().await;
    for id in ["lead-2", "lead-3"] {
        let mut lead = lead(id);
        if id == "lead-3" {
            lead.assigned_to = None;
        }
        house.table.put_lead(&lead).await.unwrap();
    }
    house.table.create_call(&call(1)).await.unwrap();
    let ids = |body: &Value| -> Vec<String> {
        let items = body["items"].as_array().unwrap().iter();
        items
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let route = "/api/admin/raw-leads";
    let all = house
        .get(ADMIN, route, &format!("{route}?phone=09811100001"))
        .await;
    assert_eq!(ids(&all.body), ["lead-1", "lead-2", "lead-3"]);
    let route = "/api/sales/crm";
    let mine = house
        .get(SALES, route, &format!("{route}?phone=9811100001"))
        .await;
    assert_eq!(ids(&mine.body), ["lead-1", "lead-2"]);
    let none = house
        .get(SALES, route, &format!("{route}?phone=9811100002"))
        .await;
    assert_eq!(none.body, json!({"items": [], "nextCursor": null}));
}

#[tokio::test]
async fn an_import_writes_what_it_can_and_names_the_lines_it_cannot() {
    let house = House::new().await;
    let csv = "\u{feff}phone,id,name,assignedTo\n\
        +919811100001,lead-1,Asha R.,sales-2\n\
        98111 00002,lead-2,\"Kumar, Ravi\",\n\
        12345,lead-3,Meera,\n\
        9811100004,bad id,Meera,\n\
        9811100005,lead-2,Again,\n\
        9811100006,lead-6\n\
        \n\
        9811100007,lead-7,\"Two\nlines\",\n\
        9811100008,lead-8,,\n\
        9811100009,lead-9,Zoya,sales-1\n";
    let answer = house.send(&import("text/csv; charset=utf-8", csv)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        (&answer.body["created"], &answer.body["replaced"]),
        (&json!(2), &json!(1))
    );
    let errors: Vec<_> = answer.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| {
            (
                error["line"].as_u64().unwrap(),
                error["field"].as_str().unwrap_or("-"),
            )
        })
        .collect();
    assert_eq!(
        errors,
        [
            (4, "phone"),
            (5, "id"),
            (6, "id"),
            (7, "-"),
            (9, "name"),
            (11, "name")
        ]
    );
    let held = house
        .table
        .lead(&"lead-1".parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (held.name.as_str(), held.assigned_to.unwrap().as_str()),
        ("Asha R.", "sales-2")
    );

    let ndjson = "{\"id\":\"lead-20\",\"name\":\"A\",\"phone\":\"9811100020\",\"assigned_to\":\"sales-1\"}\n\
        \n\
        {\"id\":\"lead-21\",\"name\":7,\"phone\":\"9811100020\"}\n\
        nonsense\n\
        {\"id\":\"lead-22\",\"name\":\"B\",\"phone\":\"9811100022\"} trailing\n";
    let answer = house.send(&import("application/x-ndjson", ndjson)).await;
    assert_eq!(
        (&answer.body["created"], &answer.body["replaced"]),
        (&json!(1), &json!(0))
    );
    let lines: Vec<_> = answer.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["line"].clone())
        .collect();
    assert_eq!(lines, [json!(3), json!(4), json!(5)]);
    let held = house
        .table
        .lead(&"lead-20".parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(held.assigned_to.unwrap().as_str(), "sales-1");
}

#[tokio::test]
async fn an_import_that_is_none_is_refused_whole() {
    let house = House::new().await;
    let many = (0..=MOST_LINES).fold("id,name,phone\n".to_owned(), |text, n| {
        text + &format!("l{n},A,9811100001\n")
    });
    for (event, status) in [
        (import("text/csv", ""), 400),
        (import("text/csv", "id,name\na,b\n"), 400),
        (import("text/csv", "id,name,phone\n"), 400),
        (import("text/csv", &many), 400),
        (import("application/x-ndjson", "\n\n"), 400),
        (import("text/plain", "id,name,phone\na,b,c\n"), 415),
        (import("application/json", "[]"), 415),
        (import("text/csv", &"x".repeat(1024 * 1024 + 1)), 413),
        (import("text/csv", "").base64("text/csv", "//4A/w=="), 400),
    ] {
        let answer = house.send(&event).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let page = house.table.leads(table::LeadScope::All, 10, None).await.unwrap();
    assert_eq!(page.items.len(), 1);
}

#[tokio::test]
async fn deleting_a_lead_leaves_nothing_of_it_and_its_export_had_it_all() {
    let house = House::new().await;
    let call = call(1);
    house.table.create_call(&call).await.unwrap();
    house.table.create_sms(&sms(2)).await.unwrap();
    let event = RawEvent {
        owner: EventOwner::Call(call.locator.clone()),
        purpose: "call".to_owned(),
        hash: "h".to_owned(),
        received_at: at(3),
        content_type: None,
        body: b"From=09811100001".to_vec(),
        query: None,
        handled: None,
    };
    house.table.put_raw_event(&event).await.unwrap();
    let route = "/api/sales/crm/{id}/export";
    for (who, number) in [(ADMIN, "From=09811100001"), (SALES, "From=*******0001")] {
        let export = house.get(who, route, "/api/sales/crm/lead-1/export").await;
        let items = export.body["items"].as_array().unwrap();
        let mut kinds: Vec<_> = items.iter().map(|item| item["type"].as_str().unwrap()).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, ["call", "lead", "raw_event", "sms"]);
        let event = items.iter().find(|item| item["type"] == "raw_event").unwrap();
        assert_eq!(event["body"], number);
    }
    let delete = Event::new("DELETE", LEADS, "/api/admin/raw-leads/lead-1").by(ADMIN);
    assert_eq!(house.send(&delete).await.status, 204);
    assert_eq!(house.send(&delete).await.status, 404);
    let id: LeadId = "lead-1".parse().unwrap();
    assert_eq!(house.table.export_lead(&id, None).await.unwrap().items, []);
    assert_eq!(
        house
            .get(ADMIN, LEADS, "/api/admin/raw-leads/lead-1")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn a_user_is_put_and_read() {
    let house = House::new().await;
    let route = "/api/admin/users/{id}";
    let put = |body: Value| {
        Event::new("PUT", route, "/api/admin/users/sales-1")
            .json(body)
            .by(ADMIN)
    };
    let body = json!({"phone": "9811100099", "fullName": "Ravi Kumar", "email": "ravi@example.com", "role": "agent"});
    let expected = json!({"id": "sales-1", "phone": "+919811100099", "fullName": "Ravi Kumar",
        "email": "ravi@example.com", "role": "SALES"});
    let created = house.send(&put(body.clone())).await;
    assert_eq!((created.status, &created.body), (201, &expected));
    assert_eq!(house.send(&put(body)).await.status, 200);
    let read = house.get(HEAD, route, "/api/admin/users/sales-1").await;
    assert_eq!((read.status, &read.body), (200, &expected));
    for (body, field) in [
        (json!({"phone": "1"}), "phone"),
        (json!({"fullName": "n".repeat(201)}), "fullName"),
        (json!({"email": "nobody"}), "email"),
        (json!({"role": "root"}), "role"),
        (json!({"id": "sales-2"}), "id"),
        (json!({"phone": 9_811_100_099_u64}), "phone"),
    ] {
        let answer = house.send(&put(body.clone())).await;
        assert_eq!(
            (answer.status, &answer.body["field"]),
            (400, &json!(field)),
            "{body}: {answer:?}"
        );
    }
    let empty = house.send(&put(json!({"phone": "", "role": null}))).await;
    assert_eq!(empty.body["phone"], Value::Null);
}
