//! The demo's seeded day: most of its callbacks are lost, and the figures are right all the same.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::{local::Running, steps::Step, walk::Caller};

/// Calls of the day.
const CALLS: u64 = 240;
/// How long the poller and the figures may take: each runs every minute here.
const PATIENCE: Duration = Duration::from_secs(300);

/// A day of calls, and when it was.
pub(crate) struct Day {
    from: Timestamp,
    to: Timestamp,
    callbacks: u64,
}

/// Lets a day of calls have happened, of which every fourth callback came, and asks for its history.
///
/// # Errors
/// Whatever did not go as it should, in words.
pub(crate) async fn play(http: &Client, running: &Running, admin: &Caller<'_>) -> Result<Day> {
    // Figures are kept by the quarter of an hour.
    let now = Timestamp::now();
    let to = Timestamp::from_second(now.as_second() - now.as_second().rem_euclid(900))?;
    let from = to - SignedDuration::from_hours(24);
    let file = &running.file;
    let callback = format!(
        "{}/webhooks/exotel/call?token={}",
        file.http_url, file.webhook_token
    );
    let traffic = json!({
        "seed": 7, "calls": CALLS, "from": from, "to": to, "webhooks": 0.25, "status_callback": callback,
    });
    let answer = http
        .post(format!("{}/_sim/traffic", file.simulator_url))
        .json(&traffic)
        .send()
        .await
        .context("let a day of calls happen")?;
    let status = answer.status();
    let played: Value = answer.json().await.context("understand the simulator")?;
    ensure!(status.is_success(), "the simulator answered {status}: {played}");
    let callbacks = played["callbacks"].as_u64().unwrap_or(0);
    println!(
        "✓ {CALLS} calls of the last 24 hours happened at Exotel; {callbacks} of their callbacks came, the others are lost"
    );
    admin
        .send(
            Method::POST,
            "/api/admin/backfill",
            Some(json!({"from": from, "to": to})),
        )
        .await?;
    Ok(Day { from, to, callbacks })
}

/// Waits until the figures of the day are Exotel's own.
///
/// # Errors
/// Whatever did not go as it should, in words.
pub(crate) async fn compare(http: &Client, running: &Running, admin: &Caller<'_>, day: &Day) -> Result<()> {
    let Day { from, to, callbacks } = day;
    let step = Step::start("waiting for the poller and the figures, which run each minute");
    let totals = format!("{}/_sim/totals?from={from}&to={to}", running.file.simulator_url);
    let totals: Value = http
        .get(totals)
        .send()
        .await?
        .json()
        .await
        .context("read Exotel's own totals")?;
    let figures = format!("/api/admin/analytics/calls?from={from}&to={to}");
    let pairs = [
        ("calls", "total_calls"),
        ("connected", "connected_calls"),
        ("not_picked", "not_picked_calls"),
        ("disconnected", "disconnected_calls"),
        ("talk_secs", "talk_secs"),
        ("duration_secs", "total_duration_secs"),
        ("price", "price"),
    ];
    let started = Instant::now();
    loop {
        let ours = admin.get(&figures).await?;
        let wrong: Vec<String> = pairs
            .iter()
            .filter(|(theirs, name)| totals[theirs] != ours[name])
            .map(|(theirs, name)| format!("{name} {} of {}", ours[name], totals[theirs]))
            .collect();
        if wrong.is_empty() {
            step.done(&format!(
                "the figures of that day are Exotel's own: {} calls ({callbacks} told by callbacks), {} connected, {} s of talk, {}",
                ours["total_calls"], ours["connected_calls"], ours["talk_secs"], ours["price"].as_str().unwrap_or("?")
            ));
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            bail!(
                "the figures of the day are not Exotel's own: {}",
                wrong.join(", ")
            );
        }
        step.note(&wrong[0]);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
