//! `cargo xtask backfill`: history of up to six months, read from Exotel's call list.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    installation::{Installation, ask},
    steps::Step,
};

/// Which history.
#[derive(Args)]
pub(crate) struct Request {
    #[command(flatten)]
    installation: Installation,
    /// From this day of the installation's time zone, or from this instant: 2026-06-01, 2026-06-01T12:00:00Z.
    #[arg(long)]
    from: String,
    /// To the end of this day, or to this instant; until now, if it is left out.
    #[arg(long)]
    to: Option<String>,
    /// Ask for it, and do not wait until it is done.
    #[arg(long)]
    no_wait: bool,
}

pub(crate) async fn run(request: Request) -> Result<()> {
    let http = lambda_kit::https::client()?;
    let (url, token) = request.installation.resolve()?;
    let route = format!("{url}/api/admin/backfill");
    let mut span = json!({"from": request.from});
    if let Some(to) = request.to {
        span["to"] = to.into();
    }
    let asked = ask(http.post(&route).bearer_auth(&token).json(&span)).await?;
    let id = text(&asked, "id").to_owned();
    println!(
        "Asked for the calls from {} to {}; poll-calls begins with its next run.",
        text(&asked, "from"),
        text(&asked, "to")
    );
    if request.no_wait {
        return Ok(());
    }
    let step = Step::start("waiting for the poller");
    loop {
        let list = ask(http.get(&route).bearer_auth(&token)).await?;
        let found = list["items"]
            .as_array()
            .and_then(|items| items.iter().find(|item| item["id"] == id.as_str()));
        let Some(found) = found else {
            bail!("the backfill is not on the list any more: {list}");
        };
        let read = format!(
            "{} calls on {} pages, {} new or changed",
            found["calls"], found["pages"], found["changed"]
        );
        if found["status"] == "done" {
            step.done(&format!("read {read}"));
            return Ok(());
        }
        match &found["status"] {
            Value::String(status) if status == "running" => {
                step.note(&format!("{read}, until {}", text(found, "read_until")));
            }
            _ => step.note("the next run begins with it"),
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("?")
}
