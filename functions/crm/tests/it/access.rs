//! Who may ask for what: tokens, roles, families and scopes.

use domain::access::Role;
use serde_json::json;

use crate::house::{ADMIN, ADMIN_ROUTES, Event, HEAD, House, SALES, SALES_ROUTES, STRANGERS, call, talked};

/// Every route below a lead, in both families.
fn routes_of_a_lead(call: &str) -> Vec<(&'static str, String, String)> {
    let mut routes = Vec::new();
    for family in [ADMIN_ROUTES, SALES_ROUTES] {
        for (method, tail) in [
            ("GET", String::new()),
            ("GET", "/calls".to_owned()),
            ("POST", "/calls".to_owned()),
            ("GET", "/sms".to_owned()),
            ("GET", "/timeline".to_owned()),
            ("GET", "/export".to_owned()),
            ("GET", format!("/calls/{call}/recording")),
        ] {
            let key = tail.replace(call, "{callId}");
            routes.push((
                method,
                format!("{family}/{{id}}{key}"),
                format!("{family}/LEAD{tail}"),
            ));
        }
    }
    routes
}

fn event(method: &str, route: &str, path: &str) -> Event {
    let event = Event::new(method, route, path);
    if method == "POST" {
        event.json(json!({"outcome": "picked"}))
    } else {
        event
    }
}

#[tokio::test]
async fn without_a_good_token_every_route_is_401() {
    let house = House::new().await;
    let other = [
        ("GET", "/api/admin/raw-leads"),
        ("GET", "/api/sales/crm"),
        ("POST", "/api/admin/raw-leads/import"),
        ("PUT", "/api/admin/raw-leads/{id}"),
        ("DELETE", "/api/admin/raw-leads/{id}"),
        ("GET", "/api/sales/crm/exotel-status"),
        ("PATCH", "/api/sales/crm/my-call-number"),
        ("PUT", "/api/admin/users/{id}"),
        ("GET", "/api/admin/users/{id}"),
        ("GET", "/api/admin/raw-events"),
        ("GET", "/api/admin/exophones"),
        ("GET", "/api/admin/exophones/{sid}/checks"),
        ("GET", "/api/admin/calls/{sid}"),
        ("POST", "/api/admin/raw-events/{id}/replay"),
        ("GET", "/api/admin/alerts"),
        ("POST", "/api/admin/alerts/{id}/acknowledge"),
        ("GET", "/api/admin/analytics/dashboard"),
        ("GET", "/api/admin/analytics/calls"),
        ("GET", "/api/admin/analytics/history"),
        ("GET", "/api/admin/analytics/flows"),
        ("GET", "/api/admin/analytics/agents"),
        ("GET", "/api/admin/analytics/delivery"),
        ("GET", "/api/admin/analytics/exports/{id}"),
        ("POST", "/api/admin/figures/rebuild"),
        ("GET", "/api/admin/figures/rebuild"),
        ("POST", "/api/admin/backfill"),
        ("GET", "/api/admin/backfill"),
    ];
    let mut events: Vec<_> = other
        .iter()
        .map(|(method, route)| event(method, route, &route.replace("{id}", "lead-1")))
        .collect();
    for (method, route, path) in routes_of_a_lead("call_01m7w179t10000000000000007") {
        events.push(event(method, &route, &path.replace("LEAD", "lead-1")));
    }
    for event in events {
        for token in [
            None,
            Some(""),
            Some("Bearer"),
            Some("Bearer x.y.z"),
            Some("Basic YTpi"),
        ] {
            let event = match token {
                Some(token) => event.clone().header("authorization", token),
                None => event.clone(),
            };
            let answer = house.send(&event).await;
            assert_eq!(answer.status, 401, "{}: {answer:?}", event.0["routeKey"]);
            assert_eq!(answer.body["code"], "unauthorized");
        }
    }
}

#[tokio::test]
async fn somebody_elses_lead_is_answered_exactly_as_one_that_does_not_exist() {
    let house = House::new().await;
    let call = call(1);
    house.table.create_call(&call).await.unwrap();
    house
        .table
        .record_call_report(&call.locator, &talked())
        .await
        .unwrap();
    for (method, route, path) in routes_of_a_lead(call.locator.id.as_str()) {
        for who in STRANGERS {
            if who.1 == Role::Sales && route.starts_with(ADMIN_ROUTES) {
                continue;
            }
            let theirs = house
                .send(&event(method, &route, &path.replace("LEAD", "lead-1")).by(who))
                .await;
            let nobodys = house
                .send(&event(method, &route, &path.replace("LEAD", "nobody")).by(who))
                .await;
            assert_eq!(theirs.status, 404, "{method} {route} {who:?}: {theirs:?}");
            assert_eq!((theirs.status, theirs.body), (nobodys.status, nobodys.body));
        }
        for who in [ADMIN, HEAD, SALES] {
            if who.1 == Role::Sales && route.starts_with(ADMIN_ROUTES) {
                continue;
            }
            let answer = house
                .send(&event(method, &route, &path.replace("LEAD", "lead-1")).by(who))
                .await;
            assert!(answer.status < 400, "{method} {route} {who:?}: {answer:?}");
        }
    }
    assert_eq!(
        house
            .table
            .calls(&"nobody".parse().unwrap(), 10, None)
            .await
            .unwrap()
            .items,
        []
    );
}

#[tokio::test]
async fn salespeople_do_not_come_in_by_the_admin_family() {
    let house = House::new().await;
    for (method, route, path) in routes_of_a_lead("call_01m7w179t10000000000000007") {
        if route.starts_with(ADMIN_ROUTES) {
            let answer = house
                .send(&event(method, &route, &path.replace("LEAD", "lead-1")).by(SALES))
                .await;
            assert_eq!(
                (answer.status, &answer.body["code"]),
                (403, &json!("forbidden")),
                "{route}"
            );
        }
    }
    for tail in ["", "/exotel-status"] {
        let route = format!("{ADMIN_ROUTES}{tail}");
        assert_eq!(house.get(SALES, &route, &route).await.status, 403, "{route}");
    }
}

#[tokio::test]
async fn only_administrators_write_the_directory() {
    let house = House::new().await;
    let lead = json!({"name": "A", "phone": "+919811100001"});
    for who in [HEAD, SALES] {
        for event in [
            Event::new("PUT", "/api/admin/raw-leads/{id}", "/api/admin/raw-leads/lead-1").json(lead.clone()),
            Event::new(
                "DELETE",
                "/api/admin/raw-leads/{id}",
                "/api/admin/raw-leads/lead-1",
            ),
            Event::new(
                "POST",
                "/api/admin/raw-leads/import",
                "/api/admin/raw-leads/import",
            )
            .text("text/csv", "id,name,phone\nlead-1,A,+919811100001"),
            Event::new("PUT", "/api/admin/users/{id}", "/api/admin/users/u").json(json!({})),
            Event::new(
                "POST",
                "/api/admin/raw-events/{id}/replay",
                "/api/admin/raw-events/x/replay",
            ),
        ] {
            let answer = house.send(&event.clone().by(who)).await;
            assert_eq!(answer.status, 403, "{} {who:?}: {answer:?}", event.0["routeKey"]);
        }
    }
    assert_eq!(
        house
            .get(SALES, "/api/admin/users/{id}", "/api/admin/users/u")
            .await
            .status,
        403
    );
    assert_eq!(
        house
            .get(SALES, "/api/admin/raw-events", "/api/admin/raw-events")
            .await
            .status,
        403
    );
    let held = house
        .table
        .lead(&"lead-1".parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(held.name, "Asha Rao");
}
