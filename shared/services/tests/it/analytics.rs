//! Figures folded and told, against DynamoDB's semantics in process.

use std::collections::BTreeMap;

use domain::{
    access::{Caller, Role},
    call_record::CallSummary,
    figures::{Bucket, MessageSummary, SpanFigures},
    history::HistoryFilter,
    phone::Country,
};
use dynamo::{Dynamo, TABLE_NAME};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use services::{
    analytics::{Analytics, Csv, HistoryRequest, Span, SpanRequest},
    figures::{RollUp, rebuild_progress, request_rebuild},
};
use table::Table;

fn now() -> Timestamp {
    "2026-11-20T08:30:00Z".parse().unwrap()
}

fn kolkata() -> TimeZone {
    TimeZone::get("Asia/Kolkata").unwrap()
}

/// The n-th call of somebody's, this long ago.
fn call(n: usize, ago: SignedDuration, rng: &mut impl Rng) -> CallSummary {
    let (state, outcome) = [
        ("completed", "connected"),
        ("completed", "not_picked"),
        ("busy", "not_picked"),
        ("failed", "disconnected"),
        ("in-progress", "exotel_dispatched"),
    ][rng.random_range(0..5)];
    serde_json::from_value(json!({
        "sid": format!("sid{n:08}"), "at": now() - ago,
        "direction": if rng.random_bool(0.5) { "inbound" } else { "outbound" },
        "customer": format!("+91981110{:04}", n % 50), "agent": {"user": format!("sales-{}", n % 7)},
        "exophone": "+918047112345", "flow_id": format!("flow-{}", n % 6), "state": state, "outcome": outcome,
        "duration_secs": n % 300, "talk_secs": n % 200, "price": format!("0.{:04}", n % 10_000),
        "has_recording": true, "abandoned": n.is_multiple_of(11),
    }))
    .unwrap()
}

struct World {
    dynamo: Dynamo,
    table: Table,
    analytics: Analytics,
}

impl World {
    async fn new() -> Self {
        let dynamo = Dynamo::start().await;
        let table = Table::new(dynamo.client(), TABLE_NAME);
        Self {
            analytics: Analytics::new(table.clone(), kolkata()),
            table,
            dynamo,
        }
    }

    async fn add(&self, call: &CallSummary) {
        self.table.put_call_summary(call, 1).await.unwrap();
        let token = format!("{}/1", call.sid);
        self.table.mark_dirty(Bucket::of(call.at), &token).await.unwrap();
    }

    async fn roll_up(&self) {
        let roll_up = RollUp::new(self.table.clone(), kolkata());
        let done = roll_up
            .run(now, now() + SignedDuration::from_hours(1))
            .await
            .unwrap();
        assert_eq!(
            (done.failed, done.contended, done.left),
            (0, 0, false),
            "{done:?}"
        );
        assert!(self.table.dirty_buckets(1, None).await.unwrap().items.is_empty());
    }
}

fn span(from: &str, to: &str, zone: &str) -> Span {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let request = SpanRequest {
        from: some(from),
        to: some(to),
        zone: some(zone),
    };
    Span::read(&request, &kolkata(), now()).unwrap()
}

#[tokio::test]
async fn a_dashboard_costs_at_most_ten_reads_however_many_calls_there_are() {
    let world = World::new().await;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut calls = 0;
    let mut costs = Vec::new();
    for size in [20, 200, 1_500] {
        while calls < size {
            let ago = SignedDuration::from_secs(rng.random_range(0..13 * 3600));
            world.add(&call(calls, ago, &mut rng)).await;
            calls += 1;
        }
        world.roll_up().await;
        world.dynamo.meter().take();
        let dashboard = world.analytics.dashboard(now()).await.unwrap();
        let spent = world.dynamo.meter().take();
        println!("dashboard of {size} calls: {spent:?}");
        let dashboard = serde_json::to_value(dashboard).unwrap();
        assert_eq!(dashboard["calls_today"], size, "{dashboard}");
        assert_eq!(dashboard["top_flows"].as_array().unwrap().len(), 5);
        assert_eq!(dashboard["agent_availability"]["active_today"], 7);
        assert_eq!(dashboard["figures_lag_since"], Value::Null);
        assert!(spent.requests <= 10 && spent.errors == 0, "{spent:?}");
        costs.push(spent);
    }
    let (first, last) = (costs[0], costs[2]);
    assert_eq!(first.requests, last.requests);
    // The items hold one line per flow, agent and ExoPhone, not per call.
    assert!(
        last.read_units <= first.read_units * 4.0 && last.read_units < 40.0,
        "{costs:?}"
    );
}

#[tokio::test]
async fn any_span_in_any_zone_is_the_sum_of_its_quarters() {
    let world = World::new().await;
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut quarters: BTreeMap<Bucket, domain::figures::Figures> = BTreeMap::new();
    for n in 0..400 {
        let ago = SignedDuration::from_secs(rng.random_range(0..9 * 24 * 3600));
        let call = call(n, ago, &mut rng);
        world.add(&call).await;
        quarters.entry(Bucket::of(call.at)).or_default().count_call(&call);
    }
    world.roll_up().await;
    for (from, to, zone) in [
        ("2026-11-11", "2026-11-20", ""),
        ("2026-11-14", "2026-11-16", ""),
        ("2026-11-11", "2026-11-20", "UTC"),
        ("2026-11-13", "2026-11-19", "America/New_York"),
        ("2026-11-13", "2026-11-13", "Asia/Kathmandu"),
        ("2026-11-13T10:07:00Z", "2026-11-17T01:00:00Z", ""),
        ("2026-11-13T10:15:00Z", "2026-11-13T10:30:00Z", ""),
        ("2025-10-20", "2026-11-20", "Europe/Berlin"),
    ] {
        let span = span(from, to, zone);
        let mut sums = SpanFigures::default();
        for bucket in Bucket::span(span.from, span.to) {
            if let Some(figures) = quarters.get(&bucket) {
                sums.add_bucket(bucket, figures, &span.zone);
            }
        }
        world.dynamo.meter().take();
        let told = serde_json::to_value(world.analytics.calls(&span, false).await.unwrap()).unwrap();
        let spent = world.dynamo.meter().take();
        println!("{from} {to} {zone}: {} calls, {spent:?}", told["total_calls"]);
        assert!(spent.requests <= 8, "{spent:?}");
        assert_eq!(told["total_calls"], sums.figures.calls.calls);
        assert_eq!(told["talk_secs"], sums.figures.calls.talk_secs);
        assert_eq!(told["by_state"], json!(sums.figures.calls.states));
        assert_eq!(told["peak_hour"], json!(sums.peak_hour()));
        let hours: Vec<_> = told["hourly_distribution"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hour| hour["calls"].clone())
            .collect();
        assert_eq!(json!(hours), json!(sums.hours));
        let agents = serde_json::to_value(world.analytics.agents(&span, true).await.unwrap()).unwrap();
        let of_agents: u64 = agents["agents"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| a["calls"].as_u64().unwrap())
            .sum();
        assert_eq!(of_agents, sums.figures.calls.calls);
    }
}

/// All pages of a history.
async fn all(world: &World, filter: &HistoryFilter, limit: usize) -> Vec<String> {
    let (mut sids, mut cursor) = (Vec::new(), None);
    for pages in 0.. {
        assert!(pages < 400);
        world.dynamo.meter().take();
        let page = world
            .analytics
            .history(filter, limit, cursor.as_deref(), false)
            .await
            .unwrap();
        let spent = world.dynamo.meter().take();
        assert!(spent.requests <= 100 && spent.read_units < 150.0, "{spent:?}");
        assert!(page.items.len() <= limit);
        for call in page.items {
            let call = serde_json::to_value(call).unwrap();
            sids.push(call["sid"].as_str().unwrap().to_owned());
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    sids
}

#[tokio::test]
async fn history_is_filtered_newest_first_with_bounded_reads_and_nothing_twice() {
    let world = World::new().await;
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut calls = Vec::new();
    for n in 0..1_200 {
        // Some at the same moment, and a quiet week in between.
        let secs = rng.random_range(0..3 * 24 * 60) * 60;
        let ago = SignedDuration::from_secs(if n % 3 == 0 { secs + 10 * 24 * 3600 } else { secs });
        let call = call(n, ago, &mut rng);
        world.table.put_call_summary(&call, 1).await.unwrap();
        calls.push(call);
    }
    calls.sort_by(|a, b| (b.at, &b.sid).cmp(&(a.at, &a.sid)));
    let span = span("2026-11-01", "2026-11-20", "");
    let some = |text: &str| Some(text.to_owned());
    let none = HistoryRequest::default;
    for (request, limit) in [
        (none(), 100),
        (
            HistoryRequest {
                flow: some("flow-3"),
                ..none()
            },
            25,
        ),
        (
            HistoryRequest {
                status: some("busy"),
                direction: some("inbound"),
                ..none()
            },
            25,
        ),
        (
            HistoryRequest {
                outcome: some("connected"),
                agent: some("sales-2"),
                ..none()
            },
            7,
        ),
        (
            HistoryRequest {
                number: some("9811100007"),
                ..none()
            },
            5,
        ),
        (
            HistoryRequest {
                number: some("9811100007"),
                status: some("connected"),
                ..none()
            },
            100,
        ),
        (
            HistoryRequest {
                flow: some("nothing"),
                ..none()
            },
            25,
        ),
    ] {
        let filter = request.filter(&span, Country::IN).unwrap();
        let expected: Vec<String> = calls
            .iter()
            .filter(|call| filter.takes(call))
            .map(|call| call.sid.to_string())
            .collect();
        assert_eq!(all(&world, &filter, limit).await, expected, "{request:?}");
    }
}

#[tokio::test]
async fn csv_is_told_at_once_when_the_figures_say_that_there_is_little() {
    let world = World::new().await;
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let mut expected = Vec::new();
    for n in 0..300 {
        let ago = SignedDuration::from_secs(rng.random_range(0..5 * 24 * 3600));
        let call = call(n, ago, &mut rng);
        world.add(&call).await;
        expected.push(call);
    }
    world.roll_up().await;
    // These are not folded yet, and still told.
    for n in 300..310 {
        let call = call(n, SignedDuration::from_secs(60), &mut rng);
        world.add(&call).await;
        expected.push(call);
    }
    expected.sort_by(|a, b| (b.at, &b.sid).cmp(&(a.at, &a.sid)));
    let span = span("2026-11-10", "2026-11-20", "");
    let filter = HistoryRequest::default().filter(&span, Country::IN).unwrap();
    let Csv::Inline(text) = world.analytics.csv(&filter, &span.zone, false).await.unwrap() else {
        panic!("there is little")
    };
    let mut lines = csv::Reader::from_reader(text.as_bytes());
    let sids: Vec<String> = lines.records().map(|line| line.unwrap()[0].to_owned()).collect();
    assert_eq!(
        sids,
        expected
            .iter()
            .map(|call| call.sid.to_string())
            .collect::<Vec<_>>()
    );
    let of_number = HistoryRequest {
        number: Some("9811100007".to_owned()),
        ..Default::default()
    };
    let filter = of_number.filter(&span, Country::IN).unwrap();
    let Csv::Inline(text) = world.analytics.csv(&filter, &span.zone, true).await.unwrap() else {
        panic!("there is little")
    };
    assert!(text.lines().count() == 1 + expected.iter().filter(|call| filter.takes(call)).count());
    assert!(!text.contains("98111"), "{text}");

    // A day that has more calls than an answer holds, as far as its figures tell: no call is read.
    let mut busy = world
        .table
        .day_figures("Asia/Kolkata", "2026-11-15".parse().unwrap())
        .await
        .unwrap();
    busy.value.figures.calls.calls = 5_001;
    let date = "2026-11-15".parse().unwrap();
    assert!(
        world
            .table
            .put_day_figures("Asia/Kolkata", date, &busy.value, busy.rev)
            .await
            .unwrap()
    );
    let filter = HistoryRequest::default().filter(&span, Country::IN).unwrap();
    world.dynamo.meter().take();
    assert_eq!(
        world.analytics.csv(&filter, &span.zone, false).await.unwrap(),
        Csv::TooMany
    );
    assert!(world.dynamo.meter().take().requests <= 4);
}

#[tokio::test]
async fn a_day_that_another_run_wrote_meanwhile_is_folded_again() {
    let world = World::new().await;
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let first = call(1, SignedDuration::from_secs(0), &mut rng);
    world.add(&first).await;
    world.roll_up().await;
    // Somebody folded and died before the mark was gone.
    world
        .table
        .mark_dirty(Bucket::of(first.at), "again")
        .await
        .unwrap();
    let roll_up = RollUp::new(world.table.clone(), kolkata());
    let until = now() + SignedDuration::from_secs(45);
    world.dynamo.meter().take();
    let done = roll_up.run(now, until).await.unwrap();
    assert_eq!((done.folded, done.written, done.days), (1, 0, 1));
    let spent = world.dynamo.meter().take();
    assert_eq!(
        spent.write_units, 1.0,
        "nothing is written but the mark's end: {spent:?}"
    );
    // Without time nothing is begun, and nothing is lost.
    world
        .table
        .mark_dirty(Bucket::of(first.at), "later")
        .await
        .unwrap();
    let done = roll_up.run(now, now()).await.unwrap();
    assert!(done.left && done.folded == 0);
    assert_eq!(world.table.count_dirty().await.unwrap(), 1);
}

#[tokio::test]
async fn a_rebuilding_is_asked_for_once_and_tells_how_far_it_is() {
    let world = World::new().await;
    let admin = Caller {
        user_id: "admin-1".parse().unwrap(),
        role: Role::Admin,
    };
    assert!(matches!(
        rebuild_progress(&world.table).await,
        Err(services::ServiceError::NotFound)
    ));
    let (from, to) = (now() - SignedDuration::from_hours(48), now());
    request_rebuild(&world.table, &admin, from, to, now())
        .await
        .unwrap();
    let again = request_rebuild(&world.table, &admin, from, to, now()).await;
    assert!(matches!(again, Err(services::ServiceError::Conflict(_))));
    let view = serde_json::to_value(rebuild_progress(&world.table).await.unwrap()).unwrap();
    assert_eq!(
        (&view["phase"], &view["quarters"], &view["marked"]),
        (&json!("comparing"), &json!(192), &json!(0))
    );
    let roll_up = RollUp::new(world.table.clone(), kolkata());
    let until = now() + SignedDuration::from_secs(45);
    let done = roll_up.run(now, until).await.unwrap();
    assert_eq!((done.folded, done.written, done.left), (192, 0, false));
    let view = serde_json::to_value(rebuild_progress(&world.table).await.unwrap()).unwrap();
    assert_eq!(
        (&view["phase"], &view["marked"], &view["left_to_fold"]),
        (&json!("done"), &json!(192), &json!(0))
    );
    request_rebuild(&world.table, &admin, from, to, now())
        .await
        .unwrap();
}

#[tokio::test]
async fn delivery_tells_of_sms_and_of_channels_that_are_not_there() {
    let world = World::new().await;
    for (n, state) in ["delivered", "delivered", "failed", "queued", "refused"]
        .into_iter()
        .enumerate()
    {
        let message: MessageSummary = serde_json::from_value(json!({
            "id": format!("sms_01j0000000000000000000000{n}"), "at": now(), "lead_id": "lead-1", "to": "+919811100001",
            "state": state, "failure": (state == "failed").then_some("dlt"), "units": 2, "price": "0.25",
        }))
        .unwrap();
        world.table.put_message_summary(&message, 1).await.unwrap();
    }
    world.table.mark_dirty(Bucket::of(now()), "a").await.unwrap();
    world.roll_up().await;
    let told = world.analytics.delivery(&span("", "", "")).await.unwrap();
    assert_eq!(
        serde_json::to_value(told).unwrap(),
        json!({"from": "2026-11-19T18:30:00Z", "to": "2026-11-20T18:30:00Z", "zone": "Asia/Kolkata",
            "sms": {"messages": 5, "sent": 4, "delivered": 2, "failed": 2, "dnd": 0, "dlt_rejected": 1, "units": 10,
                "price": "1.2500", "delivery_rate": 0.5,
                "by_state": {"delivered": 2, "failed": 1, "queued": 1, "refused": 1}},
            "whatsapp": null, "otp": null})
    );
}
