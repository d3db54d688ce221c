//! `poll-calls` over a long history: its memory from the first page to the last, what a page costs, and what it costs to
//! read the same again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_dynamodb::types::StreamSpecification;
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_types::SdkConfig;
use domain::{
    phone::Country,
    reconcile::{Position, Tally},
};
use dynamo::{Dynamo, TABLE_NAME};
use exotel_simulator::{Handle, Options, Simulator, Traffic};
use jiff::{SignedDuration, Timestamp};
use runtime_api::{Function, Launch};
use services::{
    outbound::{
        clock::{Machine, SharedWorld},
        limiter::Limiter,
    },
    reconcile::{BrokenRecords, Reconciler},
};
use table::{Table, reconcile::PositionId};

use crate::programs;

const MEGABYTE: f64 = 1024.0 * 1024.0;
/// As long as one window may be.
const DAYS: i64 = 27;
/// The limiter is measured elsewhere; here it must not be what is waited for.
const REQUESTS_A_MINUTE: u32 = 60_000;

/// Calls over which units are counted: they are the same for every page.
const COUNTED: u64 = 10_000;

/// What reading the whole history came to.
struct Reading {
    tally: Tally,
    /// RSS, by pages read.
    memory: Vec<(u64, u64)>,
    cpu: Duration,
    wall: Duration,
    invocations: u32,
}

/// An account with this many calls, none of which is known, and the span that they were placed in.
async fn account(calls: u64) -> Result<(Dynamo, Table, Handle, Timestamp, Timestamp)> {
    let dynamo = Dynamo::start().await;
    // Nobody reads the stream here, and the table in process looks through all of it at every write.
    dynamo
        .client()
        .update_table()
        .table_name(TABLE_NAME)
        .stream_specification(StreamSpecification::builder().stream_enabled(false).build()?)
        .send()
        .await?;
    let table = Table::new(dynamo.client(), TABLE_NAME);
    let options = Options {
        voice_limit: usize::MAX,
        ..Options::default()
    };
    let simulator = Simulator::start(options).await?;
    let to = Timestamp::now() - SignedDuration::from_mins(30);
    let from = to - SignedDuration::from_hours(24 * DAYS);
    let traffic = Traffic {
        webhooks: 0.0,
        ..Traffic::new(5, calls, from, to)
    };
    simulator.traffic(traffic).await.map_err(anyhow::Error::msg)?;
    Ok((dynamo, table, simulator, from, to))
}

/// A history of this many calls, none of which is known, and the same once more.
///
/// # Errors
/// When the binary cannot be built, or a call is missing afterwards.
pub(crate) async fn run(calls: u64) -> Result<()> {
    units(calls.min(COUNTED)).await?;
    let binary = programs::release_binary("scheduled", "poll-calls")?;
    let (dynamo, table, simulator, from, to) = account(calls).await?;
    let launch = Launch::new(binary)
        .timeout(Duration::from_mins(5))
        .env("AWS_ENDPOINT_URL", dynamo.endpoint_url())
        .env("TABLE_NAME", TABLE_NAME)
        .env("POLL_CALLS_DLQ_URL", "http://127.0.0.1:1/dlq")
        .env("OUTBOUND_VOICE_PER_MINUTE", REQUESTS_A_MINUTE.to_string())
        .env("EXOTEL_SUBDOMAIN", simulator.url())
        .env("EXOTEL_SID", "acme1")
        .env("EXOTEL_API_KEY", "simkey")
        .env("EXOTEL_API_TOKEN", "simtoken")
        .env("EXOTEL_CALLER_ID", "08045550100");
    let function = Function::start(launch).await?;
    function.ready().await?;
    println!(
        "poll-calls, a release build, over {calls} calls of {DAYS} days; idle RSS {:.1} MiB",
        function.usage()?.rss_bytes as f64 / MEGABYTE
    );
    println!(
        "| reading | pages | changed | RSS at the first page | at the last | most | CPU a page | wall a page | invocations |"
    );
    println!("| - | -: | -: | -: | -: | -: | -: | -: | -: |");
    for (name, is_new) in [("none is known", true), ("nothing changed", false)] {
        let read = read(&function, &table, from, to).await?;
        check(&read.tally, calls, is_new)?;
        let changed = read.tally.changed;
        let pages = read.tally.pages as f64;
        let (first, last) = (&read.memory[0], &read.memory[read.memory.len() - 1]);
        let most = read.memory.iter().map(|(_, rss)| *rss).max().unwrap_or(0);
        let mib = |rss: u64| rss as f64 / MEGABYTE;
        println!(
            "| {name} | {pages} | {changed} | {:.1} MiB (page {}) | {:.1} MiB ({:+.1} %) | {:.1} MiB | {:.1} ms | {:.0} ms | {} |",
            mib(first.1),
            first.0,
            mib(last.1),
            (last.1 as f64 / first.1 as f64 - 1.0) * 100.0,
            mib(most),
            read.cpu.as_secs_f64() * 1_000.0 / pages,
            read.wall.as_secs_f64() * 1_000.0 / pages,
            read.invocations
        );
    }
    Ok(())
}

/// Whether a reading saw every call, and as many changes as it should: the regular passes of the same run know the newest
/// calls already.
fn check(tally: &Tally, calls: u64, is_new: bool) -> Result<()> {
    let changed = if is_new {
        tally.changed * 10 >= calls * 9
    } else {
        tally.changed == 0
    };
    ensure!(tally.calls >= calls && changed, "{tally:?}");
    Ok(())
}

/// Units of a page, all of its writes together: records, the position and the limiter's slot.
async fn units(calls: u64) -> Result<()> {
    let (dynamo, table, simulator, from, to) = account(calls).await?;
    let world: SharedWorld = Arc::new(Machine::new(|| 7));
    let limiter = Limiter::new(table.clone(), Arc::clone(&world), REQUESTS_A_MINUTE, 200);
    let reconciler = Reconciler::new(table.clone(), limiter, world, Country::IN);
    // No record is broken: nothing is sent there.
    let aws = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .build();
    let broken = BrokenRecords::connect(&aws, "http://127.0.0.1:1/dlq");
    let credentials = exotel::Credentials {
        account_sid: "acme1".to_owned(),
        api_key: "simkey".into(),
        api_token: "simtoken".into(),
    };
    let http = lambda_kit::https::client()?;
    let exotel = exotel::Client::new(http, simulator.url().parse()?, credentials)?;
    println!("a page of 100 calls, counted over {calls} calls");
    println!("| reading | write units | read units | requests |");
    println!("| - | -: | -: | -: |");
    // The regular pass, the long one and calls that have not settled are not a page of history.
    let until = || Timestamp::now() + SignedDuration::from_mins(30);
    reconciler.run(&exotel, &broken, until()).await?;
    for (name, changed) in [("none is known", true), ("nothing changed", false)] {
        let id = PositionId::Backfill(Timestamp::now());
        let before = Position::backfill(from, to);
        table.keep_position(&id, &before, 0).await?;
        dynamo.meter().take();
        let run = reconciler.run(&exotel, &broken, until()).await?;
        let spent = dynamo.meter().take();
        let tally = run.tally;
        ensure!(
            run.stopped.is_none() && (tally.changed > 0) == changed && tally.calls >= calls,
            "{run:?}"
        );
        let pages = tally.pages as f64;
        println!(
            "| {name} | {:.1} | {:.1} | {:.1} |",
            spent.write_units / pages,
            spent.read_units / pages,
            f64::from(spent.requests) / pages
        );
    }
    Ok(())
}

/// One backfill, from its first page to its last.
async fn read(function: &Function, table: &Table, from: Timestamp, to: Timestamp) -> Result<Reading> {
    let id = PositionId::Backfill(Timestamp::now());
    table.keep_position(&id, &Position::backfill(from, to), 0).await?;
    let (cpu, began) = (function.usage()?.cpu, Instant::now());
    let mut memory: Vec<(u64, u64)> = Vec::new();
    for invocations in 1..100 {
        let answered = async {
            let event = r#"{"source":"aws.scheduler"}"#.to_owned();
            anyhow::Ok(function.invoke(event).await?.finish().await?)
        };
        tokio::pin!(answered);
        let answer = loop {
            tokio::select! {
                answer = &mut answered => break answer?,
                () = tokio::time::sleep(Duration::from_millis(20)) => {
                    let rss = function.usage()?.rss_bytes;
                    let pages = table.position(&id).await?.context("it was kept")?.value.tally.pages;
                    if pages > 0 && memory.last().is_none_or(|(last, _)| *last < pages) {
                        memory.push((pages, rss));
                    }
                }
            }
        };
        ensure!(answer.body == b"null"[..], "{:?}", function.log());
        let position = table.position(&id).await?.context("it was kept")?.value;
        if position.is_done() {
            ensure!(!memory.is_empty(), "it was too quick to be watched");
            return Ok(Reading {
                tally: position.tally,
                memory,
                cpu: function.usage()?.cpu - cpu,
                wall: began.elapsed(),
                invocations,
            });
        }
    }
    bail!("it does not come to an end: {:?}", function.log())
}
