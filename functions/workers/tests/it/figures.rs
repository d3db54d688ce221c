//! Figures that come about through the stream, however it is delivered, equal those that are built from scratch.

use std::collections::BTreeMap;

use domain::{
    access::{Caller, Role},
    call::CallState,
    call_record::{CallSummary, Direction, Party, RecordReport},
    figures::{Bucket, DayFigures, Figures},
    phone::Country,
    sms::{ReportSource, SmsReport, SmsState},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use services::figures::{RollUp, RolledUp, rebuild_progress, request_rebuild};

use crate::{
    given::{World, lead_id, now},
    project_events::handle,
};

const ZONE: &str = "Asia/Kolkata";

fn zone() -> TimeZone {
    TimeZone::get(ZONE).unwrap()
}

async fn roll_up(world: &World) -> RolledUp {
    let roll_up = RollUp::new(world.table.clone(), zone());
    let done = roll_up
        .run(now, now() + SignedDuration::from_hours(1))
        .await
        .unwrap();
    assert_eq!((done.failed, done.left), (0, false), "{done:?}");
    done
}

fn report(n: u32, rng: &mut impl Rng) -> RecordReport {
    let source = [ReportSource::Callback, ReportSource::Details, ReportSource::List][rng.random_range(0..3)];
    let state = [
        None,
        Some(CallState::Ringing),
        Some(CallState::InProgress),
        Some(CallState::Completed),
        Some(CallState::Busy),
        Some(CallState::Failed),
    ][rng.random_range(0..6)];
    let mut report = RecordReport::new(format!("call{n:04}").parse().unwrap(), source, state);
    let said = &mut report.said;
    let placed = |rng: &mut dyn Rng| -> Timestamp {
        // Days and hours apart; corrected by another report now and then.
        let minute = i64::from(n) * 37 + i64::from(rng.next_u32() % 3) * 11;
        now() + SignedDuration::from_mins(minute)
    };
    if rng.random_bool(0.7) {
        said.created_at = Some(placed(rng));
    }
    let party = |text: &str| Party::read(text, Country::IN);
    said.from = party(&format!("098111{:05}", n % 9));
    said.to = party(&format!("098222{:05}", n % 5));
    said.exophone = party("08047112345");
    said.direction = rng.random_bool(0.5).then_some(if n.is_multiple_of(2) {
        Direction::Inbound
    } else {
        Direction::Outbound
    });
    said.dialled = rng.random_bool(0.3).then(|| party("09833300001")).flatten();
    said.flow_id = rng.random_bool(0.5).then(|| format!("flow-{}", n % 4));
    said.duration_secs = rng.random_bool(0.6).then(|| rng.random_range(0..300));
    said.talk_secs = rng.random_bool(0.6).then(|| rng.random_range(0..100));
    said.price = rng
        .random_bool(0.6)
        .then(|| format!("0.{:05}", rng.random_range(0..100_000)));
    report
}

/// Calls that are told of in pieces, some placed at another time than was thought first, and messages, some of a lead
/// that is erased.
async fn history(rng: &mut impl Rng) -> World {
    let world = World::new().await;
    let mut told: Vec<u32> = (0..60).flat_map(|n| [n; 3]).collect();
    for at in (1..told.len()).rev() {
        told.swap(at, rng.random_range(0..=at));
    }
    for n in told {
        let report = report(n, rng);
        let merged = world
            .table
            .merge_call_record(&report.sid, std::slice::from_ref(&report))
            .await;
        merged.unwrap();
    }
    for n in (0..20).step_by(7) {
        world
            .table
            .erase_call_record(&format!("call{n:04}").parse().unwrap())
            .await
            .unwrap();
    }
    for n in 0..24 {
        let lead = if n % 3 == 0 { "lead-2" } else { "lead-1" };
        let sms = world.sms(lead, 100 + n * 600).await;
        let states = [
            SmsState::Queued,
            SmsState::Sent,
            SmsState::Delivered,
            SmsState::Failed,
        ];
        for state in &states[..rng.random_range(0..=4)] {
            let mut report = SmsReport::new(ReportSource::Callback, Some(*state));
            report.units = Some(2);
            report.price = Some("0.25".to_owned());
            report.detailed_status = (*state == SmsState::Failed).then(|| "FAILED_REJECTED_DND".to_owned());
            world.table.record_sms_report(&sms, &report).await.unwrap();
        }
    }
    while !world
        .table
        .erase_lead(&lead_id("lead-2"), 100)
        .await
        .unwrap()
        .done
    {}
    world
}

/// Delivers the stream as Lambda does: each shard in its order, batches cut anyhow, some again, shards in turn; and
/// figures are folded in between.
async fn deliver(world: &World, records: &[Value], rng: &mut impl Rng) {
    let mut shards: Vec<Vec<Value>> = vec![Vec::new(); 4];
    for record in records {
        let pk = record["dynamodb"]["Keys"]["PK"]["S"].as_str().unwrap();
        let shard = pk.bytes().map(usize::from).sum::<usize>() % 4;
        shards[shard].push(record.clone());
    }
    let mut at = [0; 4];
    while let Some(_behind) = (0..4).find(|shard| at[*shard] < shards[*shard].len()) {
        let shard = rng.random_range(0..4);
        let left = &shards[shard][at[shard]..];
        let batch = &left[..left.len().min(rng.random_range(1..25))];
        let event = serde_json::from_value(json!({ "Records": batch })).unwrap();
        let response = handle(&world.projector(), event).await;
        assert!(response.batch_item_failures.is_empty());
        at[shard] += batch.len();
        if rng.random_bool(0.25) {
            at[shard] = at[shard].saturating_sub(rng.random_range(0..20));
        }
        if rng.random_bool(0.2) {
            roll_up(world).await;
        }
    }
    roll_up(world).await;
}

/// The items of figures and what they are folded from, as they are apart from how often they were written. Figures of
/// nothing, where a call was thought to be and was not, are none.
async fn items(world: &World) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for prefix in ["FIGURES#", "CALLS#", "MESSAGES#"] {
        for mut item in world.items(prefix).await {
            item.as_object_mut().unwrap().remove("rev");
            if prefix == "FIGURES#" {
                let figures = if item["figures"].is_null() {
                    &item
                } else {
                    &item["figures"]
                };
                if figures["calls"] == json!({}) && figures["messages"] == json!({}) {
                    continue;
                }
            }
            all.insert(format!("{} {}", item["PK"], item["SK"]), item);
        }
    }
    all
}

/// Figures straight from the rows, without anything that is tested here but the adding up.
async fn expected(world: &World) -> BTreeMap<Bucket, Figures> {
    let mut quarters: BTreeMap<Bucket, Figures> = BTreeMap::new();
    for n in 0..60 {
        let sid = format!("call{n:04}").parse().unwrap();
        let held = world.table.call_record(&sid).await.unwrap().unwrap();
        if let Some(call) = held.record.summary() {
            quarters.entry(Bucket::of(call.at)).or_default().count_call(&call);
        }
    }
    for item in world.items("MESSAGES#").await {
        let message = serde_json::from_value(item).unwrap();
        let message: domain::figures::MessageSummary = message;
        quarters
            .entry(Bucket::of(message.at))
            .or_default()
            .count_message(&message);
    }
    quarters
}

#[tokio::test]
async fn figures_from_the_stream_equal_figures_from_scratch_to_the_unit() {
    for seed in 0..3 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let world = history(&mut rng).await;
        let records = world.stream().await;
        deliver(&world, &records, &mut rng).await;
        let through_the_stream = items(&world).await;

        // To the unit what the rows say.
        let quarters = expected(&world).await;
        let mut days: BTreeMap<_, DayFigures> = BTreeMap::new();
        for (bucket, figures) in &quarters {
            let held = world.table.figures(*bucket).await.unwrap().value;
            assert_eq!(held, *figures, "seed {seed}, {bucket}");
            let date = bucket.date(&zone());
            let first = Bucket::of_day(date, &zone()).next().unwrap();
            days.entry(date).or_default().add_bucket(first, *bucket, figures);
        }
        for (date, day) in &days {
            assert_eq!(
                world.table.day_figures(ZONE, *date).await.unwrap().value,
                *day,
                "seed {seed}, {date}"
            );
        }
        let messages: u64 = quarters.values().map(|figures| figures.messages.messages).sum();
        assert_eq!(messages, 24, "messages of an erased lead still count");
        let erased: Vec<_> = world
            .items("MESSAGES#")
            .await
            .into_iter()
            .filter(|item| item["to"].is_null())
            .collect();
        assert_eq!(erased.len(), 8);
        assert!(erased.iter().all(|item| item["lead_id"].is_null()));
        println!(
            "seed {seed}: {} changes, {} quarters, {} days, {} items",
            records.len(),
            quarters.len(),
            days.len(),
            through_the_stream.len()
        );

        // From scratch: without figures and without summaries of calls, and some of messages wrong.
        let client = world.dynamo.client();
        for key in through_the_stream.values() {
            let (pk, sk) = (key["PK"].as_str().unwrap(), key["SK"].as_str().unwrap());
            if pk.starts_with("MESSAGES#") {
                continue;
            }
            let text = |text: &str| aws_sdk_dynamodb::types::AttributeValue::S(text.to_owned());
            let delete = client
                .delete_item()
                .table_name(dynamo::TABLE_NAME)
                .key("PK", text(pk))
                .key("SK", text(sk));
            delete.send().await.unwrap();
        }
        let misplaced = through_the_stream
            .values()
            .find(|item| item["entity_type"] == "call_summary")
            .unwrap();
        let misplaced: CallSummary = serde_json::from_value(misplaced.clone()).unwrap();
        let misplaced = CallSummary {
            at: misplaced.at + SignedDuration::from_hours(3),
            ..misplaced
        };
        world.table.put_call_summary(&misplaced, 1).await.unwrap();
        let admin = Caller {
            user_id: "admin-1".parse().unwrap(),
            role: Role::Admin,
        };
        let (from, to) = (
            now() - SignedDuration::from_hours(24),
            now() + SignedDuration::from_hours(24 * 10),
        );
        request_rebuild(&world.table, &admin, from, to, now())
            .await
            .unwrap();
        roll_up(&world).await;
        let progress = serde_json::to_value(rebuild_progress(&world.table).await.unwrap()).unwrap();
        assert_eq!(
            (&progress["phase"], &progress["left_to_fold"]),
            (&json!("done"), &json!(0))
        );
        assert!(progress["repaired"].as_u64().unwrap() > 40, "{progress}");
        let from_scratch = items(&world).await;
        let other = |here: &BTreeMap<String, Value>, there: &BTreeMap<String, Value>| -> Vec<String> {
            let differs = here.iter().filter(|(key, item)| there.get(*key) != Some(item));
            differs.map(|(_, item)| item.to_string()).collect()
        };
        let none: Vec<String> = Vec::new();
        assert_eq!(
            (
                other(&through_the_stream, &from_scratch),
                other(&from_scratch, &through_the_stream)
            ),
            (none.clone(), none),
            "seed {seed}"
        );

        // Nothing is left to repair, and nothing is written.
        request_rebuild(&world.table, &admin, from, to, now())
            .await
            .unwrap();
        let done = roll_up(&world).await;
        let progress = serde_json::to_value(rebuild_progress(&world.table).await.unwrap()).unwrap();
        assert_eq!((done.written, &progress["repaired"]), (0, &json!(0)));
    }
}
