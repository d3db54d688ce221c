//! Figures, history and files of it over a table as it is after months: what a roll-up costs per event, a page of history
//! at a million calls, and a file of them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use domain::{
    call_record::CallSummary,
    figures::Bucket,
    history::{Export, ExportStatus, HistoryFilter},
    phone::Country,
};
use dynamo::{Dynamo, Spent, TABLE_NAME};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use runtime_api::{Function, Launch};
use serde_json::{Value, json};
use services::{
    analytics::{Analytics, HistoryRequest, Span, SpanRequest},
    figures::RollUp,
};
use table::Table;

use crate::{programs, s3::S3};

const MEGABYTE: f64 = 1024.0 * 1024.0;
/// Items that are put into the table at once.
const LOADED_AT_ONCE: usize = 10_000;
/// Calls a day of the table that is loaded: an account's own cap.
const CALLS_A_DAY: i64 = 10_000;

fn now() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().expect("it is a time")
}

fn zone() -> TimeZone {
    TimeZone::get("Asia/Kolkata").expect("the zone is bundled")
}

/// The n-th newest call: fifty agents, ten flows, two ExoPhones, ten thousand customers.
fn call(n: i64) -> Result<CallSummary> {
    let at = now() - SignedDuration::from_millis(n * 86_400_000 / CALLS_A_DAY);
    let (state, outcome) = match n % 4 {
        0 => ("no-answer", "not_picked"),
        _ => ("completed", "connected"),
    };
    Ok(serde_json::from_value(json!({
        "sid": format!("{n:032x}"), "at": at, "direction": if n % 3 == 0 { "inbound" } else { "outbound" },
        "customer": format!("+91981{:07}", n % 10_000), "agent": {"user": format!("sales-{}", n % 50)},
        "exophone": format!("+91804711234{}", n % 2), "flow_id": format!("3001{}", n % 10), "lead_id": "lead-7f3",
        "state": state, "outcome": outcome, "duration_secs": 20 + n % 200, "talk_secs": n % 180, "price": "1.4000",
        "has_recording": true, "abandoned": false,
    }))?)
}

/// A table with this many calls in it. One is written, the others are its copies with times and ids of their own.
async fn loaded(calls: i64) -> Result<(Dynamo, Table)> {
    let dynamo = Dynamo::start().await;
    let table = Table::new(dynamo.client(), TABLE_NAME);
    table.put_call_summary(&call(0)?, 1).await?;
    let scanned = dynamo.client().scan().table_name(TABLE_NAME).send().await?;
    let pattern = scanned.items.unwrap_or_default().pop().context("one item")?;
    let pattern = serde_json::to_value(serde_dynamo::Item::from(pattern))?;
    let mut from = 1;
    while from < calls {
        let to = calls.min(from + LOADED_AT_ONCE as i64);
        let items: Vec<Value> = (from..to).map(|n| copy(&pattern, n)).collect::<Result<_>>()?;
        dynamo.load(items);
        from = to;
    }
    dynamo.meter().take();
    Ok((dynamo, table))
}

fn copy(pattern: &Value, n: i64) -> Result<Value> {
    let call = call(n)?;
    let at = call.at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    let body: serde_dynamo::Item = serde_dynamo::to_item(&call)?;
    let mut item = pattern.clone();
    if let (Value::Object(item), Value::Object(body)) = (&mut item, serde_json::to_value(body)?) {
        item.extend(body);
    }
    item["PK"] = json!({"S": format!("CALLS#{}", &at[..13])});
    item["SK"] = json!({"S": format!("{at}#{}", call.sid)});
    item["GSI1SK"] = item["SK"].clone();
    item["GSI1PK"] = json!({"S": format!("NUMBER#+91981{:07}", n % 10_000)});
    Ok(item)
}

/// What a minute of `roll-up` costs for each event that fell into it.
///
/// # Errors
/// When the binary cannot be built, or the table does not do what it should.
pub(crate) async fn roll_up() -> Result<()> {
    // A whole day of the account's cap.
    let (dynamo, table) = loaded(CALLS_A_DAY).await?;
    let folding = RollUp::new(table.clone(), zone());
    let binary = programs::release_binary("scheduled", "roll-up")?;
    let launch = Launch::new(binary)
        .env("AWS_ENDPOINT_URL", dynamo.endpoint_url())
        .env("DISPLAY_TIME_ZONE", "Asia/Kolkata")
        .env("TABLE_NAME", TABLE_NAME);
    let function = Function::start(launch).await?;
    // All quarters once, so that a day's item is what it is at the end of a day.
    // The newest call lies in the quarter that begins now.
    let end = now() + SignedDuration::from_secs(1);
    let day: Vec<_> = Bucket::span(now() - SignedDuration::from_hours(25), end).collect();
    table.mark_all_dirty(&day, now()).await?;
    let until = now() + SignedDuration::from_hours(1);
    folding.run(now, until).await?;
    println!(
        "roll-up at {CALLS_A_DAY} calls a day, 50 agents, 10 flows; per event of a minute, marks and summaries included"
    );
    println!("| events a minute | write units | read units | requests | CPU of the function |");
    println!("| -: | -: | -: | -: | -: |");
    for events in [1, 10, 100] {
        dynamo.meter().take();
        for n in 0..events {
            let mut call = call(n * 3)?;
            call.talk_secs = Some(1_000 + u32::try_from(events)?);
            table.put_call_summary(&call, 100 + events).await?;
        }
        // The stream marks a quarter once for all changes of a batch.
        for bucket in Bucket::span(call(events * 3)?.at, end) {
            table.mark_dirty(bucket, &format!("bench/{events}")).await?;
        }
        let done = folding.run(now, until).await?;
        ensure!(done.written > 0 && done.failed == 0, "{done:?}");
        let spent = dynamo.meter().take();
        for bucket in Bucket::span(call(events * 3)?.at, end) {
            table.mark_dirty(bucket, &format!("bench/{events}/again")).await?;
        }
        function.ready().await?;
        let before = function.usage()?.cpu;
        let event = json!({"source": "aws.scheduler"}).to_string();
        let answer = function.invoke(event).await?.finish().await?;
        ensure!(answer.body == b"null"[..], "{:?}", function.log());
        let cpu = function.usage()?.cpu - before;
        let each = |units: f64| units / events as f64;
        println!(
            "| {events} | {:.1} | {:.1} | {:.1} | {:.2} ms |",
            each(spent.write_units),
            each(spent.read_units),
            each(f64::from(spent.requests)),
            each(cpu.as_secs_f64() * 1_000.0)
        );
    }
    Ok(())
}

/// What a page of history costs at this many calls, and at a hundredth of them.
///
/// # Errors
/// When the table does not do what it should.
pub(crate) async fn history(calls: i64) -> Result<()> {
    let mut all = Vec::new();
    for calls in [calls / 100, calls] {
        let (dynamo, table) = loaded(calls).await?;
        let analytics = Analytics::new(table, zone());
        let asked = SpanRequest {
            from: Some((now() - SignedDuration::from_hours(24 * 399)).to_string()),
            to: Some(now().to_string()),
            zone: None,
        };
        let span = Span::read(&asked, analytics.zone(), now()).map_err(anyhow::Error::from)?;
        let none = HistoryRequest::default;
        let some = |text: &str| Some(text.to_owned());
        let mut costs = Vec::new();
        for (name, request) in [
            ("first page", none()),
            (
                "one flow of ten",
                HistoryRequest {
                    flow: some("30013"),
                    ..none()
                },
            ),
            (
                "one agent of fifty",
                HistoryRequest {
                    agent: some("sales-7"),
                    ..none()
                },
            ),
            (
                "one number",
                HistoryRequest {
                    number: some("+919810000007"),
                    ..none()
                },
            ),
        ] {
            let filter = request.filter(&span, Country::IN)?;
            costs.push((name, page(&dynamo, &analytics, &filter, None).await?));
        }
        let filter = none().filter(&span, Country::IN)?;
        // Far behind: as a cursor of the oldest calls would have it.
        let old = call(calls - 500)?;
        let cursor = table::call_records::place(&old);
        costs.push((
            "oldest page",
            page(&dynamo, &analytics, &filter, Some(&cursor)).await?,
        ));
        all.push((calls, costs));
    }
    println!("history, 25 calls a page, over 399 days");
    println!(
        "| page | read units at {} | read units at {} | requests | ratio of units |",
        all[0].0, all[1].0
    );
    println!("| - | -: | -: | -: | -: |");
    for ((name, few), (_, many)) in all[0].1.iter().zip(&all[1].1) {
        let ratio = many.0.read_units / few.0.read_units;
        println!(
            "| {name} ({} calls) | {:.1} | {:.1} | {} | {ratio:.2} |",
            many.1, few.0.read_units, many.0.read_units, many.0.requests
        );
    }
    Ok(())
}

async fn page(
    dynamo: &Dynamo,
    analytics: &Analytics,
    filter: &HistoryFilter,
    cursor: Option<&str>,
) -> Result<(Spent, usize)> {
    dynamo.meter().take();
    let page = analytics.history(filter, 25, cursor, false).await?;
    Ok((dynamo.meter().take(), page.items.len()))
}

/// A file of this many calls, and one of a tenth of them, by one process.
///
/// # Errors
/// When the binary cannot be built, or the file is not whole.
pub(crate) async fn export(calls: i64) -> Result<()> {
    let binary = programs::release_binary("workers", "export-history")?;
    let (dynamo, table) = loaded(calls).await?;
    let s3 = S3::start(crate::s3::LEAST_PART).await;
    s3.forward_tables_to(dynamo.endpoint_url());
    let launch = Launch::new(binary)
        .timeout(Duration::from_mins(5))
        .env("AWS_ENDPOINT_URL", s3.endpoint_url())
        .env("TABLE_NAME", TABLE_NAME)
        .env("EXPORTS_BUCKET", "files")
        .env("EXPORTS_QUEUE_URL", format!("{}/exports", s3.endpoint_url()));
    let function = Function::start(launch).await?;
    function.ready().await?;
    println!(
        "export-history, a release build; idle RSS {:.1} MiB",
        function.usage()?.rss_bytes as f64 / MEGABYTE
    );
    println!("| calls | file | parts | peak RSS | CPU per 1 000 calls | wall |");
    println!("| -: | -: | -: | -: | -: | -: |");
    let mut peaks = Vec::new();
    for calls in [calls / 10, calls] {
        let id = format!("bench{calls}");
        table.put_export(&asked(&id, calls)?, 0).await?;
        function.reset_peak()?;
        let (cpu, began) = (function.usage()?.cpu, Instant::now());
        let message = json!({"type": "export_history.v1", "id": id}).to_string();
        let event = json!({"Records": [{"messageId": "m", "body": message}]}).to_string();
        let mut attempts = 0;
        let held = loop {
            attempts += 1;
            let answer = function.invoke(event.clone()).await?.finish().await?;
            let held = table.export(&id).await?.context("it is there")?.value;
            // A message to itself that the stub of SQS refuses stays in the queue: the bench sends it again.
            if held.status == ExportStatus::Done {
                break held;
            }
            ensure!(attempts < 60, "{}", String::from_utf8_lossy(&answer.body));
        };
        let cpu: Duration = function.usage()?.cpu - cpu;
        let peak = function.usage()?.peak_rss_bytes as f64;
        ensure!(held.rows == calls.unsigned_abs(), "{} rows", held.rows);
        let parts = s3
            .take(&format!("/files/calls/{id}.csv"))
            .context("the file is there")?;
        println!(
            "| {calls} | {:.1} MB | {} | {:.1} MiB | {:.1} ms | {:.1} s, {attempts} attempts |",
            held.bytes() as f64 / 1e6,
            parts.len(),
            peak / MEGABYTE,
            cpu.as_secs_f64() * 1e6 / calls as f64,
            began.elapsed().as_secs_f64()
        );
        peaks.push(peak);
    }
    println!("ten times the calls: {:.3} times the memory", peaks[1] / peaks[0]);
    Ok(())
}

fn asked(id: &str, calls: i64) -> Result<Export> {
    let from = call(calls - 1)?.at;
    Ok(Export {
        id: id.to_owned(),
        requested_by: "admin-1".parse()?,
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
    })
}
