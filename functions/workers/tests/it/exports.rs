//! export-history: files of call histories, whole whatever happens on the way, at constant memory.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use domain::{
    call_record::CallSummary,
    history::{Export, ExportStatus, HistoryFilter},
};
use jiff::SignedDuration;
use runtime_api::{Function, Launch};
use serde_json::json;
use services::analytics::{ExportQueue, Exporter, Step};

use crate::{
    aws::settings,
    export_history::handle,
    given::{World, batch, now},
    s3::{LEAST_PART, S3},
};

const BUCKET: &str = "files";
/// A flow's name that makes lines long.
const LONG: &str =
    "a flow with a name that is so long that some tens of thousands of calls fill parts of a file, and more";

fn summary(n: i64) -> CallSummary {
    serde_json::from_value(json!({
        "sid": format!("sid{n:08}"), "at": now() - SignedDuration::from_millis(n * 1_700),
        "direction": "outbound", "customer": "+919811100001", "agent": {"user": "sales-1"},
        "exophone": "+918047112345", "flow_id": if n % 2 == 0 { LONG } else { "odd" }, "lead_id": "lead-1", "state": "completed",
        "outcome": "connected", "duration_secs": 60, "talk_secs": 41, "price": "1.40", "has_recording": true,
    }))
    .unwrap()
}

fn export(id: &str, calls: i64) -> Export {
    let from = now() - SignedDuration::from_millis((calls - 1) * 1_700);
    Export {
        id: id.to_owned(),
        requested_by: "admin-1".parse().unwrap(),
        requested_at: now(),
        filter: HistoryFilter::all(from, now() + SignedDuration::from_secs(1)),
        zone: "Asia/Kolkata".to_owned(),
        masked: false,
        status: ExportStatus::Queued,
        upload_id: None,
        position: None,
        parts: Vec::new(),
        rows: 0,
        held_until: None,
        finished_at: None,
    }
}

/// As many calls as there are in a table after some weeks: one is written, the others are its copies.
async fn load(world: &World, calls: i64) {
    world.table.put_call_summary(&summary(0), 1).await.unwrap();
    let scanned = world
        .dynamo
        .client()
        .scan()
        .table_name(dynamo::TABLE_NAME)
        .send()
        .await
        .unwrap();
    let pattern = scanned
        .items
        .unwrap()
        .into_iter()
        .find(|item| item["PK"].as_s().unwrap().starts_with("CALLS#"));
    let pattern = serde_json::to_value(serde_dynamo::Item::from(pattern.unwrap())).unwrap();
    let items = (1..calls).map(|n| {
        let summary = summary(n);
        let at = summary.at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        let mut item = pattern.clone();
        item["PK"] = json!({"S": format!("CALLS#{}", &at[..13])});
        item["SK"] = json!({"S": format!("{at}#{}", summary.sid)});
        item["GSI1SK"] = item["SK"].clone();
        item["sid"] = json!({"S": summary.sid.as_str()});
        item["at"] = json!({"S": summary.at.to_string()});
        item["flow_id"] = json!({"S": summary.flow_id});
        item
    });
    world.dynamo.load(items);
}

fn exporter(world: &World, s3: &S3, part_bytes: usize) -> Exporter {
    Exporter::connect(&settings(s3.endpoint_url()), world.table.clone(), BUCKET).with_part_bytes(part_bytes)
}

/// The sids of a file, in its order.
fn sids(file: &[u8]) -> Vec<String> {
    let mut reader = csv::Reader::from_reader(file);
    assert_eq!(reader.headers().unwrap().get(0), Some("sid"));
    reader.records().map(|line| line.unwrap()[0].to_owned()).collect()
}

#[tokio::test]
async fn a_file_is_whole_though_time_runs_out_and_s3_fails_on_the_way() {
    let world = World::empty().await;
    let s3 = S3::start(40_000).await;
    load(&world, 4_000).await;
    let queue = ExportQueue::new(world.aws.settings(), world.aws.queue_url());
    let exporter = exporter(&world, &s3, 40_000);
    let mut wanted = export("e1", 4_000);
    wanted.filter.flow = Some("odd".to_owned());
    world.table.put_export(&wanted, 0).await.unwrap();
    let message = json!({"type": "export_history.v1", "id": "e1"});
    // A clock that shows a minute more each time it is looked at: five looks, and the time is over.
    let looks = AtomicI64::new(0);
    let clock = || now() + SignedDuration::from_mins(looks.fetch_add(1, Ordering::Relaxed));
    let (mut attempts, mut failures) = (0, 0);
    loop {
        attempts += 1;
        assert!(attempts < 60, "it gets nowhere");
        s3.fail_after((attempts % 4 == 0).then_some(1));
        let response = handle(&exporter, &queue, batch(std::slice::from_ref(&message)), clock).await;
        let sent = world.aws.messages();
        let held = world.table.export("e1").await.unwrap().unwrap().value;
        assert_eq!(held.held_until, None, "whatever happened, the next may go on");
        if !response.batch_item_failures.is_empty() {
            failures += 1;
            continue;
        }
        if held.status == ExportStatus::Done {
            assert!(sent.is_empty());
            break;
        }
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0]["body"], message);
    }
    println!("{attempts} attempts, {failures} failed");
    assert!(attempts > 3 && failures > 0);
    let held = world.table.export("e1").await.unwrap().unwrap().value;
    let parts = s3.take("/files/calls/e1.csv").unwrap();
    assert!(parts.len() > 3 && parts.len() == held.parts.len());
    let file = parts.concat();
    assert_eq!((held.rows, held.bytes()), (2_000, file.len() as u64));
    let expected: Vec<String> = (0..4_000)
        .filter(|n| n % 2 == 1)
        .map(|n| summary(n).sid.to_string())
        .collect();
    assert_eq!(sids(&file), expected, "each once, newest first");
    assert_eq!(s3.unfinished(), 0);
    // A message that comes again does nothing.
    s3.fail_after(Some(0));
    let response = handle(&exporter, &queue, batch(&[message]), clock).await;
    assert!(response.batch_item_failures.is_empty() && world.aws.messages().is_empty());
}

#[tokio::test]
async fn one_at_a_time_writes_a_file_and_what_is_gone_is_done() {
    let world = World::empty().await;
    let s3 = S3::start(LEAST_PART).await;
    let exporter = exporter(&world, &s3, LEAST_PART);
    let until = now() + SignedDuration::from_mins(4);
    assert_eq!(exporter.run("e9", now, until).await.unwrap(), Step::Gone);
    let mut held = export("e1", 10);
    held.held_until = Some(now() + SignedDuration::from_secs(1));
    world.table.put_export(&held, 0).await.unwrap();
    assert_eq!(exporter.run("e1", now, until).await.unwrap(), Step::Held);
    let later = || now() + SignedDuration::from_secs(2);
    assert_eq!(exporter.run("e1", later, until).await.unwrap(), Step::Done);
    let file = s3.take("/files/calls/e1.csv").unwrap().concat();
    assert!(
        sids(&file).is_empty(),
        "a history without calls is a line of names"
    );

    // Whoever completed the upload died before saying so.
    let mut lost = export("e2", 10);
    world.table.put_export(&lost, 0).await.unwrap();
    assert_eq!(exporter.run("e2", now, until).await.unwrap(), Step::Done);
    let done = world.table.export("e2").await.unwrap().unwrap();
    lost.clone_from(&done.value);
    (lost.status, lost.finished_at) = (ExportStatus::Running, None);
    world.table.put_export(&lost, done.rev).await.unwrap();
    assert_eq!(exporter.run("e2", now, until).await.unwrap(), Step::Done);
    assert!(s3.take("/files/calls/e2.csv").is_some());
}

#[tokio::test]
async fn what_cannot_be_read_stays_for_the_dead_letter_queue() {
    let world = World::empty().await;
    let s3 = S3::start(LEAST_PART).await;
    let queue = ExportQueue::new(world.aws.settings(), world.aws.queue_url());
    let messages = [
        json!("{"),
        json!({"type": "export_history.v9"}),
        json!({"type": "export_history.v1", "id": "e9"}),
    ];
    let response = handle(&exporter(&world, &s3, LEAST_PART), &queue, batch(&messages), now).await;
    let failed: BTreeSet<_> = response
        .batch_item_failures
        .iter()
        .map(|item| item.item_identifier.as_str())
        .collect();
    assert_eq!(failed, BTreeSet::from(["m0", "m1"]));
}

#[tokio::test]
async fn three_times_as_many_calls_become_a_file_in_the_same_memory() {
    const MEGABYTE: f64 = 1024.0 * 1024.0;
    let world = World::empty().await;
    let s3 = S3::start(LEAST_PART).await;
    s3.forward_tables_to(world.dynamo.endpoint_url());
    load(&world, 84_000).await;
    let launch = Launch::new(env!("CARGO_BIN_EXE_export-history"))
        .timeout(Duration::from_mins(5))
        .env("AWS_ENDPOINT_URL", s3.endpoint_url())
        .env("TABLE_NAME", dynamo::TABLE_NAME)
        .env("EXPORTS_BUCKET", BUCKET)
        .env("EXPORTS_QUEUE_URL", "http://127.0.0.1:9/exports");
    let function = Function::start(launch).await.unwrap();
    function.ready().await.unwrap();
    let mut peaks = Vec::new();
    for (id, calls) in [("small", 28_000), ("large", 84_000)] {
        world.table.put_export(&export(id, calls), 0).await.unwrap();
        function.reset_peak().unwrap();
        let message = json!({"type": "export_history.v1", "id": id}).to_string();
        let event = json!({"Records": [{"messageId": id, "body": message}]});
        let answer = function
            .invoke(event.to_string())
            .await
            .unwrap()
            .finish()
            .await
            .unwrap();
        assert_eq!(
            answer.body,
            br#"{"batchItemFailures":[]}"#[..],
            "{:?}",
            function.log()
        );
        let held = world.table.export(id).await.unwrap().unwrap().value;
        assert_eq!(
            (held.status, held.rows),
            (ExportStatus::Done, calls.unsigned_abs())
        );
        let parts = s3.take(&format!("/files/calls/{id}.csv")).unwrap();
        assert_eq!(sids(&parts.concat()).len() as i64, calls);
        let peak = function.usage().unwrap().peak_rss_bytes as f64;
        println!(
            "{calls} calls: {} parts, {:.1} MB, peak RSS {:.1} MiB",
            parts.len(),
            held.bytes() as f64 / 1e6,
            peak / MEGABYTE
        );
        peaks.push(peak);
    }
    let ratio = peaks[1] / peaks[0];
    println!("three times the calls: {ratio:.3} times the memory");
    assert!(ratio < 1.1);
}
