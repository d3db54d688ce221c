//! Analytics: who sees what, which parameters are taken, CSV and files, and rebuilding.

use domain::{
    call_record::CallSummary,
    figures::Bucket,
    history::{ExportPart, ExportStatus},
};
use jiff::{SignedDuration, tz::TimeZone};
use serde_json::{Value, json};
use services::figures::RollUp;

use crate::house::{ADMIN, Answer, Event, HEAD, House, SALES, at, now};

const ROUTES: [&str; 6] = ["dashboard", "calls", "history", "flows", "agents", "delivery"];

fn call(n: i64) -> CallSummary {
    serde_json::from_value(json!({
        "sid": format!("sid{n:04}"), "at": at(-n * 60_000), "direction": "inbound", "customer": "+919811100001",
        "agent": if n % 2 == 0 { json!({"user": "sales-1"}) } else { json!({"number": "+919811100099"}) },
        "exophone": "+918047112345", "flow_id": "30012", "state": if n % 3 == 0 { "busy" } else { "completed" },
        "outcome": if n % 3 == 0 { "not_picked" } else { "connected" }, "duration_secs": 60, "talk_secs": 40,
        "price": "1.40", "has_recording": true, "abandoned": n % 3 == 0, "lead_id": "lead-1",
    }))
    .unwrap()
}

async fn house(calls: i64) -> House {
    let house = House::new().await;
    for n in 0..calls {
        let call = call(n);
        house.table.put_call_summary(&call, 1).await.unwrap();
        house
            .table
            .mark_dirty(Bucket::of(call.at), call.sid.as_str())
            .await
            .unwrap();
    }
    let zone = TimeZone::get("Asia/Kolkata").unwrap();
    let roll_up = RollUp::new(house.table.clone(), zone);
    roll_up
        .run(now, now() + SignedDuration::from_mins(1))
        .await
        .unwrap();
    house
}

async fn get(house: &House, who: (&str, domain::access::Role), tail: &str) -> Answer {
    let route = tail.split('?').next().unwrap();
    let route = format!("/api/admin/analytics/{route}");
    house
        .get(who, &route, &format!("/api/admin/analytics/{tail}"))
        .await
}

#[tokio::test]
async fn figures_are_for_administrators_and_masked_for_sales_heads_and_not_for_salespeople() {
    let house = house(12).await;
    for route in ROUTES {
        let tail = format!("{route}?from=2026-11-20&to=2026-11-20");
        assert_eq!(get(&house, SALES, &tail).await.status, 403, "{route}");
        let whole = get(&house, ADMIN, &tail).await;
        let masked = get(&house, HEAD, &tail).await;
        assert_eq!((whole.status, masked.status), (200, 200), "{route}: {whole:?}");
        assert!(
            !masked.body.to_string().contains("98111"),
            "{route}: {}",
            masked.body
        );
        assert!(
            !masked.body.to_string().contains("804711"),
            "{route}: {}",
            masked.body
        );
        let has_numbers = ["history", "agents"].contains(&route);
        assert_eq!(
            whole.body.to_string().contains("+9198111"),
            has_numbers,
            "{route}"
        );
    }
    let csv = "history?from=2026-11-20&to=2026-11-20&format=csv";
    let whole = get(&house, ADMIN, csv).await.body;
    assert!(whole.as_str().unwrap().contains("'+919811100001"));
    let masked = get(&house, HEAD, csv).await.body;
    let masked = masked.as_str().unwrap();
    assert_eq!(masked.lines().count(), 13);
    assert!(!masked.contains("98111") && masked.contains("…0001"), "{masked}");
    let body = json!({"from": "2026-11-01", "to": "2026-11-20"});
    let route = "/api/admin/figures/rebuild";
    for who in [HEAD, SALES] {
        let answer = house
            .send(&Event::new("POST", route, route).json(body.clone()).by(who))
            .await;
        assert_eq!(answer.status, 403);
        assert_eq!(house.get(who, route, route).await.status, 403);
    }
}

#[tokio::test]
async fn totals_agents_and_flows_add_up() {
    let house = house(12).await;
    let calls = get(&house, ADMIN, "calls?from=2026-11-20&to=2026-11-20")
        .await
        .body;
    assert_eq!(
        (
            &calls["total_calls"],
            &calls["completed_calls"],
            &calls["failed_calls"],
            &calls["success_rate"]
        ),
        (&json!(12), &json!(8), &json!(4), &json!(0.6667))
    );
    // 08:30 UTC and eleven minutes before it: 13:49 to 14:00 there.
    assert_eq!(
        (&calls["peak_hour"], &calls["hourly_distribution"][13]["calls"]),
        (&json!(13), &json!(11))
    );
    assert_eq!(
        (&calls["price"], &calls["average_duration_secs"]),
        (&json!("16.8000"), &json!(60.0))
    );
    assert_eq!(calls["zone"], "Asia/Kolkata");
    let utc = get(&house, ADMIN, "calls?from=2026-11-20&to=2026-11-20&zone=UTC")
        .await
        .body;
    assert_eq!((&utc["total_calls"], &utc["peak_hour"]), (&json!(12), &json!(8)));
    let agents = get(&house, ADMIN, "agents?from=2026-11-20&to=2026-11-20")
        .await
        .body;
    let agents = agents["agents"].as_array().unwrap();
    assert_eq!(agents.len(), 2);
    let user = agents.iter().find(|agent| agent["user_id"] == "sales-1").unwrap();
    assert_eq!(
        (
            &user["calls"],
            &user["connect_rate"],
            &user["abandonment_rate"],
            &user["average_wait_secs"],
            &user["number"]
        ),
        (
            &json!(6),
            &json!(0.6667),
            &json!(0.3333),
            &json!(20.0),
            &Value::Null
        )
    );
    let flows = get(&house, ADMIN, "flows?from=2026-11-20&to=2026-11-20")
        .await
        .body;
    assert_eq!(
        (&flows["flows"][0]["flow_id"], &flows["flows"][0]["total_calls"]),
        (&json!("30012"), &json!(12))
    );
    let none = get(&house, ADMIN, "calls?from=2026-10-20&to=2026-10-20")
        .await
        .body;
    assert_eq!(
        (&none["total_calls"], &none["success_rate"], &none["peak_hour"]),
        (&json!(0), &Value::Null, &Value::Null)
    );
    let dashboard = get(&house, ADMIN, "dashboard").await.body;
    assert_eq!(
        (
            &dashboard["calls_today"],
            &dashboard["agent_availability"]["available"]
        ),
        (&json!(12), &json!(2))
    );
}

#[tokio::test]
async fn history_is_paged_by_a_cursor_that_is_good_for_its_filter_alone() {
    let house = house(12).await;
    let span = "history?from=2026-11-20&to=2026-11-20&status=connected&limit=3";
    let (mut sids, mut cursor) = (Vec::new(), String::new());
    for pages in 0.. {
        assert!(pages < 10);
        let page = get(&house, ADMIN, &format!("{span}&cursor={cursor}")).await.body;
        for item in page["items"].as_array().unwrap() {
            sids.push(item["sid"].as_str().unwrap().to_owned());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    let expected: Vec<String> = (0..12)
        .filter(|n| n % 3 != 0)
        .map(|n| format!("sid{n:04}"))
        .collect();
    assert_eq!(sids, expected);
    let first = get(&house, ADMIN, span).await.body;
    let cursor = first["next_cursor"].as_str().unwrap();
    for (who, tail) in [
        (
            ADMIN,
            format!("history?from=2026-11-20&to=2026-11-20&status=busy&limit=3&cursor={cursor}"),
        ),
        (
            ADMIN,
            format!("history?from=2026-11-19&to=2026-11-20&status=connected&limit=3&cursor={cursor}"),
        ),
        (HEAD, format!("{span}&cursor={cursor}")),
        (ADMIN, format!("{span}&cursor={cursor}x")),
    ] {
        let answer = get(&house, who, &tail).await;
        assert_eq!(
            (answer.status, &answer.body["field"]),
            (400, &json!("cursor")),
            "{tail}"
        );
    }
}

#[tokio::test]
async fn nonsense_is_a_400_that_names_the_parameter() {
    let house = house(0).await;
    for (tail, field) in [
        ("calls?from=yesterday", "from"),
        ("flows?to=2026-13-40", "to"),
        ("agents?zone=Mars/Olympus", "zone"),
        ("delivery?from=2026-11-20&to=2026-11-19", "from"),
        ("calls?from=2025-10-01&to=2026-11-20", "from"),
        ("calls?from=0001-01-01&to=9999-12-31", "from"),
        ("history?status=happy", "status"),
        ("history?outcome=picked", "outcome"),
        ("history?direction=sideways", "direction"),
        ("history?number=12", "number"),
        ("history?agent=%20%20a%20b", "agent"),
        ("history?format=xml", "format"),
        ("history?limit=0", "limit"),
        ("history?limit=101", "limit"),
    ] {
        let answer = get(&house, ADMIN, tail).await;
        assert_eq!(
            (answer.status, &answer.body["field"]),
            (400, &json!(field)),
            "{tail}: {answer:?}"
        );
    }
    let route = "/api/admin/figures/rebuild";
    for (body, field) in [
        (json!({"from": "x", "to": "2026-11-20"}), "from"),
        (json!({"from": "2020-01-01", "to": "2026-11-20"}), "from"),
        (json!({"from": "2026-11-20", "to": "later"}), "to"),
        (
            json!({"from": "2026-11-20", "to": "2026-11-20", "zone": "UTC"}),
            "zone",
        ),
    ] {
        let answer = house
            .send(&Event::new("POST", route, route).json(body.clone()).by(ADMIN))
            .await;
        assert_eq!(
            (answer.status, &answer.body["field"]),
            (400, &json!(field)),
            "{body}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn a_long_history_becomes_a_file_behind_a_link() {
    let house = house(12).await;
    let date = "2026-11-20".parse().unwrap();
    let mut busy = house.table.day_figures("Asia/Kolkata", date).await.unwrap();
    busy.value.figures.calls.calls = 1_000_000;
    house
        .table
        .put_day_figures("Asia/Kolkata", date, &busy.value, busy.rev)
        .await
        .unwrap();
    let queued = get(&house, HEAD, "history?from=2026-11-20&to=2026-11-20&format=csv").await;
    assert_eq!(
        (queued.status, &queued.body["status"]),
        (202, &json!("queued")),
        "{queued:?}"
    );
    let id = queued.body["export_id"].as_str().unwrap();
    let messages = house.queued.lock().unwrap().clone();
    let messages: Vec<Value> = messages
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect();
    assert_eq!(messages, [json!({"type": "export_history.v1", "id": id})]);
    let status_url = queued.body["status_url"].as_str().unwrap().to_owned();
    let route = "/api/admin/analytics/exports/{id}";
    let view = house.get(HEAD, route, &status_url).await;
    assert_eq!(
        (view.status, &view.body["status"], &view.body["url"]),
        (200, &json!("queued"), &Value::Null)
    );
    // Somebody else's is none to a sales head; administrators see all.
    let other = ("head-9", domain::access::Role::SalesHead);
    assert_eq!(house.get(other, route, &status_url).await.status, 404);
    assert_eq!(house.get(ADMIN, route, &status_url).await.status, 200);
    assert_eq!(
        house
            .get(ADMIN, route, "/api/admin/analytics/exports/nothing")
            .await
            .status,
        404
    );
    assert_eq!(house.get(SALES, route, &status_url).await.status, 403);

    let mut export = house.table.export(id).await.unwrap().unwrap();
    assert!(export.value.masked);
    export.value.status = ExportStatus::Done;
    export.value.rows = 1_000_000;
    export.value.parts = vec![ExportPart {
        etag: "e".to_owned(),
        bytes: 7,
    }];
    assert!(house.table.put_export(&export.value, export.rev).await.unwrap());
    let view = house.get(HEAD, route, &status_url).await.body;
    assert_eq!(
        (&view["status"], &view["rows"], &view["bytes"]),
        (&json!("done"), &json!(1_000_000), &json!(7))
    );
    assert_eq!(view["url_expires_at"], "2026-11-20T08:45:00Z");
    let url = view["url"].as_str().unwrap();
    assert!(
        url.contains(&format!("/files/calls/{id}.csv?")) && url.contains("X-Amz-Expires=900"),
        "{url}"
    );
}

#[tokio::test]
async fn a_rebuilding_is_begun_watched_and_not_begun_twice() {
    let house = house(12).await;
    let route = "/api/admin/figures/rebuild";
    assert_eq!(house.get(ADMIN, route, route).await.status, 404);
    let begin = Event::new("POST", route, route)
        .json(json!({"from": "2026-11-01", "to": "2026-11-20"}))
        .by(ADMIN);
    let begun = house.send(&begin).await;
    assert_eq!(
        (begun.status, &begun.body["phase"], &begun.body["quarters"]),
        (202, &json!("comparing"), &json!(1920))
    );
    let again = house.send(&begin).await;
    assert_eq!((again.status, &again.body["code"]), (409, &json!("conflict")));
    assert_eq!(house.get(ADMIN, route, route).await.body, begun.body);
}
