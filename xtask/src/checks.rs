//! `cargo xtask test`: every check and test there is.

use std::{
    env,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{local, paths, steps::heading};

/// What to run.
#[derive(Args)]
pub(crate) struct Request {
    /// Leave out the walk on the local stack.
    #[arg(long)]
    no_walk: bool,
    /// Build one function for Lambda, too: needs aws-sam-cli and cargo-lambda from PyPI, and minutes.
    #[arg(long)]
    package: bool,
}

/// Runs everything, also after a failure, and says at the end what failed.
pub(crate) async fn run(request: &Request) -> Result<()> {
    // The checks in xtask/tests use it, side by side.
    local::venv()?;
    let mut results: Vec<(&str, bool, Duration)> = Vec::new();
    let cargo = [
        ("format", &["fmt", "--all", "--check"][..]),
        (
            "clippy",
            &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
        ),
        ("tests", &["test", "--workspace"]),
    ];
    for (name, args) in cargo {
        heading(&format!("cargo {}", args.join(" ")));
        let started = Instant::now();
        let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(args)
            .current_dir(paths::root())
            .status()
            .context("start cargo")?;
        results.push((name, status.success(), started.elapsed()));
    }
    if !request.no_walk {
        heading("cargo xtask local --once");
        let started = Instant::now();
        let walked = local::once(20.0).await;
        if let Err(err) = &walked {
            eprintln!("Error: {err:#}");
        }
        results.push(("walk", walked.is_ok(), started.elapsed()));
    }
    heading("Summary");
    for (name, passed, took) in &results {
        println!(
            "{} {name} ({:.0} s)",
            if *passed { "✓" } else { "✗" },
            took.as_secs_f64()
        );
    }
    if results.iter().any(|(_, passed, _)| !passed) {
        bail!("not everything passed");
    }
    Ok(())
}
