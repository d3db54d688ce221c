//! What people send by mistake or on purpose: a clear 4xx that names the field, and nothing stored.

use serde_json::{Value, json};

use crate::house::{ADMIN, Event, House, SALES};

/// Routes that take JSON, with a body that works and the field that must be text or a word in it.
fn json_routes() -> Vec<(Event, Value, &'static str)> {
    vec![
        (
            Event::new(
                "PATCH",
                "/api/sales/crm/my-call-number",
                "/api/sales/crm/my-call-number",
            ),
            json!({"phone": "9811100099"}),
            "phone",
        ),
        (
            Event::new("POST", "/api/sales/crm/{id}/calls", "/api/sales/crm/lead-1/calls"),
            json!({"outcome": "picked"}),
            "outcome",
        ),
        (
            Event::new("PUT", "/api/admin/raw-leads/{id}", "/api/admin/raw-leads/lead-2"),
            json!({"name": "Ravi", "phone": "9811100002"}),
            "name",
        ),
        (
            Event::new("PUT", "/api/admin/raw-leads/{id}", "/api/admin/raw-leads/lead-2"),
            json!({"name": "Ravi", "phone": "9811100002"}),
            "phone",
        ),
    ]
}

async fn items(house: &House) -> usize {
    let answer = house
        .dynamo
        .client()
        .scan()
        .table_name(dynamo::TABLE_NAME)
        .send()
        .await
        .unwrap();
    usize::try_from(answer.count).unwrap()
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_refused_and_nothing_is_stored() {
    let house = House::new().await;
    let before = items(&house).await;
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    let long = json!({"phone": "9".repeat(1024 * 1024), "outcome": "x".repeat(1024 * 1024), "name": "n".repeat(1024 * 1024)});
    for (event, good, field) in json_routes() {
        let who = ADMIN;
        let route = event.0["routeKey"].clone();
        let mut wrong_type = good.clone();
        wrong_type[field] = json!({"a": [1, 2]});
        let mut null = good.clone();
        null[field] = Value::Null;
        let mut missing = good.clone();
        missing.as_object_mut().unwrap().remove(field);
        let mut empty = good.clone();
        empty[field] = json!("");
        let mut over_long = good.clone();
        over_long[field] = json!("9".repeat(3_000));
        for (what, body, names_field) in [
            ("wrong type", wrong_type, true),
            ("null", null, true),
            ("missing", missing, false),
            ("empty", empty, true),
            ("over-long", over_long, true),
        ] {
            let answer = house.send(&event.clone().by(who).json(body)).await;
            assert_eq!(
                (answer.status, &answer.body["code"]),
                (400, &json!("bad_request")),
                "{route} {what}"
            );
            let detail = answer.body["detail"].as_str().unwrap();
            assert!(detail.contains(field), "{route} {what}: {detail}");
            if names_field {
                assert_eq!(answer.body["field"], field, "{route} {what}: {answer:?}");
            }
        }
        for (what, event, status) in [
            (
                "no body",
                event.clone().header("content-type", "application/json"),
                400,
            ),
            (
                "no JSON",
                event.clone().text("application/json", "name=Asha"),
                400,
            ),
            (
                "half a JSON",
                event.clone().text("application/json", "{\"phone\": \"98"),
                400,
            ),
            (
                "two JSONs",
                event.clone().text("application/json", &format!("{good}{good}")),
                400,
            ),
            ("an array", event.clone().text("application/json", "[]"), 400),
            ("deep JSON", event.clone().text("application/json", &deep), 400),
            (
                "not UTF-8",
                event.clone().base64("application/json", "//4A/w=="),
                400,
            ),
            ("1 MB", event.clone().json(long.clone()), 413),
            (
                "a form",
                event.clone().text("application/x-www-form-urlencoded", "phone=1"),
                415,
            ),
            ("no type", event.clone().text("", &good.to_string()), 415),
        ] {
            let answer = house.send(&event.by(who)).await;
            assert_eq!(answer.status, status, "{route} {what}: {answer:?}");
            assert!(answer.body["detail"].as_str().unwrap().len() > 10);
        }
    }
    assert_eq!(
        items(&house).await,
        before,
        "nothing is stored of what was refused"
    );
}

#[tokio::test]
async fn ids_that_are_none_name_their_field_and_unknown_ones_are_404() {
    let house = House::new().await;
    let long = "x".repeat(65);
    for id in ["a%20b", "ü", "a.b", long.as_str(), "%00", "a'b"] {
        for (method, route) in [
            ("GET", "/api/sales/crm/{id}/calls"),
            ("GET", "/api/sales/crm/{id}/sms"),
            ("GET", "/api/sales/crm/{id}/timeline"),
            ("GET", "/api/sales/crm/{id}/export"),
            ("GET", "/api/admin/raw-leads/{id}"),
            ("DELETE", "/api/admin/raw-leads/{id}"),
            ("PUT", "/api/admin/raw-leads/{id}"),
            ("GET", "/api/admin/users/{id}"),
        ] {
            let event = Event::new(method, route, &route.replace("{id}", id))
                .json(json!({"name": "A", "phone": "1"}));
            let answer = house.send(&event.by(ADMIN)).await;
            assert_eq!(
                (answer.status, &answer.body["field"]),
                (400, &json!("id")),
                "{route} {id}: {answer:?}"
            );
        }
    }
    for (method, route, path) in [
        ("GET", "/api/admin/raw-leads/{id}", "/api/admin/raw-leads/nobody"),
        (
            "DELETE",
            "/api/admin/raw-leads/{id}",
            "/api/admin/raw-leads/nobody",
        ),
        ("GET", "/api/admin/users/{id}", "/api/admin/users/nobody"),
        (
            "POST",
            "/api/admin/raw-events/{id}/replay",
            "/api/admin/raw-events/nonsense/replay",
        ),
        (
            "GET",
            "/api/sales/crm/{id}/calls/{callId}/recording",
            "/api/sales/crm/lead-1/calls/call_01m7w179t10000000000000009/recording",
        ),
    ] {
        let answer = house.send(&Event::new(method, route, path).by(ADMIN)).await;
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (404, &json!("not_found")),
            "{path}"
        );
    }
    let route = "/api/sales/crm/{id}/calls/{callId}/recording";
    let answer = house
        .get(SALES, route, "/api/sales/crm/lead-1/calls/7/recording")
        .await;
    assert_eq!((answer.status, &answer.body["field"]), (400, &json!("callId")));
}

#[tokio::test]
async fn limits_and_cursors_that_are_none_are_refused_on_every_list() {
    let house = House::new().await;
    for (route, path) in [
        ("/api/sales/crm/{id}/calls", "/api/sales/crm/lead-1/calls"),
        ("/api/sales/crm/{id}/sms", "/api/sales/crm/lead-1/sms"),
        ("/api/sales/crm/{id}/timeline", "/api/sales/crm/lead-1/timeline"),
        ("/api/sales/crm/{id}/export", "/api/sales/crm/lead-1/export"),
        ("/api/sales/crm", "/api/sales/crm"),
        ("/api/admin/raw-events", "/api/admin/raw-events"),
    ] {
        for (field, value) in [
            ("limit", "0"),
            ("limit", "101"),
            ("limit", "-1"),
            ("limit", "ten"),
            ("cursor", "x"),
            ("cursor", "ImNhbGxfIg.AAAA.AAAAAAAAAAAAAAAAAAAAAA"),
        ] {
            let answer = house.get(ADMIN, route, &format!("{path}?{field}={value}")).await;
            assert_eq!(
                (answer.status, &answer.body["field"]),
                (400, &json!(field)),
                "{path} {value}: {answer:?}"
            );
        }
    }
    for (field, query) in [
        ("from", "from=yesterday"),
        ("to", "to=2026-13-01T00:00:00Z"),
        ("from", "from=2026-11-20T09:00:00Z&to=2026-11-20T08:00:00Z"),
        ("from", "to=-009999-01-02T01:59:59Z"),
    ] {
        let answer = house
            .get(
                ADMIN,
                "/api/admin/raw-events",
                &format!("/api/admin/raw-events?{query}"),
            )
            .await;
        assert_eq!(
            (answer.status, &answer.body["field"]),
            (400, &json!(field)),
            "{query}: {answer:?}"
        );
    }
    let answer = house
        .get(ADMIN, "/api/sales/crm", "/api/sales/crm?phone=12")
        .await;
    assert_eq!((answer.status, &answer.body["field"]), (400, &json!("phone")));
}

#[tokio::test]
async fn a_cursor_of_one_lead_is_none_of_another() {
    let house = House::new().await;
    let mut other = crate::house::lead("lead-2");
    other.phone = "+919811100002".parse().unwrap();
    house.table.put_lead(&other).await.unwrap();
    for n in 0..3 {
        house.table.create_call(&crate::house::call(n)).await.unwrap();
    }
    let route = "/api/sales/crm/{id}/calls";
    let page = house
        .get(SALES, route, "/api/sales/crm/lead-1/calls?limit=2")
        .await;
    let cursor = page.body["nextCursor"].as_str().unwrap();
    let own = house
        .get(
            SALES,
            route,
            &format!("/api/sales/crm/lead-1/calls?limit=2&cursor={cursor}"),
        )
        .await;
    assert_eq!(own.body["items"].as_array().unwrap().len(), 1);
    let others = house
        .get(
            SALES,
            route,
            &format!("/api/sales/crm/lead-2/calls?cursor={cursor}"),
        )
        .await;
    assert_eq!((others.status, &others.body["field"]), (400, &json!("cursor")));
}
