//! `cargo xtask test`: every check and test there is.

use std::{
    env, fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use stack::Venv;

use crate::{
    e2e, local, paths,
    steps::{Step, heading},
};

/// What to run.
#[derive(Args)]
pub(crate) struct Request {
    /// Leave out what needs the local stack: the walk and the end-to-end tests.
    #[arg(long)]
    no_stack: bool,
    /// Also validate the template with the SAM CLI and build one function for Lambda, both from PyPI. Takes minutes.
    #[arg(long)]
    package: bool,
    /// Play this many fault schedules instead of 1 000. About 0.3 s each on one core: 10 000 take half an hour on two idle ones.
    #[arg(long, value_name = "N")]
    schedules: Option<u64>,
}

/// How many times faster than life pretended calls go.
const SPEED: f64 = 20.0;

const CARGO: [(&str, &[&str]); 3] = [
    ("format", &["fmt", "--all", "--check"]),
    (
        "clippy",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--features",
            "e2e/stack",
            "--",
            "-D",
            "warnings",
        ],
    ),
    ("tests", &["test", "--workspace", "--no-fail-fast"]),
];

/// Runs everything, also after a failure, and says at the end what failed.
pub(crate) async fn run(request: &Request) -> Result<()> {
    // The checks in xtask/tests use it, side by side.
    local::venv()?;
    let mut report = Report::default();
    for (name, args) in CARGO {
        heading(&format!("cargo {}", args.join(" ")));
        report.add(name, async || cargo(args, request.schedules)).await;
    }
    if !request.no_stack {
        heading("cargo xtask local --once");
        report
            .add("walk on the local stack", async || local::once(SPEED).await)
            .await;
        heading("cargo xtask e2e");
        report
            .add("end-to-end tests", async || {
                e2e::run(&e2e::Request::default()).await
            })
            .await;
    }
    if request.package {
        heading("sam validate --lint, cargo lambda build");
        report.add("package", async || package()).await;
    }
    report.conclude()
}

fn cargo(args: &[&str], schedules: Option<u64>) -> Result<()> {
    let mut cargo = crate::cargo::cargo();
    if let Some(schedules) = schedules {
        // Read by shared/services/tests/it/schedules.rs.
        cargo.env("SCHEDULES", schedules.to_string());
    }
    let status = cargo.args(args).status().context("start cargo")?;
    ensure!(status.success(), "cargo {} failed", args[0]);
    Ok(())
}

/// What a deploy does, as far as it goes without an account.
fn package() -> Result<()> {
    let requirements = paths::root().join("xtask/package-requirements.txt");
    let requirements =
        fs::read_to_string(&requirements).with_context(|| format!("read {}", requirements.display()))?;
    let step = Step::start("looking for the SAM CLI and cargo-lambda");
    let venv = Venv::make(&paths::local().join("package-venv"), &requirements, |what| {
        step.note(what)
    })?;
    step.done("the SAM CLI and cargo-lambda are there");
    let commands: [(&str, &[&str]); 2] = [
        ("sam", &["validate", "--lint", "--region", stack::REGION]),
        (
            "cargo-lambda",
            &[
                "lambda",
                "build",
                "--release",
                "--package",
                "webhooks",
                "--bin",
                "webhook-call-status",
            ],
        ),
    ];
    // cargo-lambda finds Zig through the environment's Python.
    let path = env::join_paths(
        venv.python()
            .parent()
            .map(std::path::Path::to_owned)
            .into_iter()
            .chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())),
    )
    .context("make a PATH")?;
    for (program, args) in commands {
        let status = Command::new(venv.program(program))
            .args(args)
            .current_dir(paths::root())
            .env("PATH", &path)
            .env("SAM_CLI_TELEMETRY", "0")
            .status()
            .with_context(|| format!("start {program}"))?;
        ensure!(status.success(), "{program} {} failed", args[0]);
    }
    Ok(())
}

/// What passed, and how long it took.
#[derive(Default)]
struct Report {
    lines: Vec<(&'static str, bool, Duration)>,
}

impl Report {
    async fn add(&mut self, name: &'static str, check: impl AsyncFnOnce() -> Result<()>) {
        let started = Instant::now();
        let outcome = check().await;
        if let Err(err) = &outcome {
            eprintln!("\nError: {err:#}");
        }
        self.lines.push((name, outcome.is_ok(), started.elapsed()));
    }

    fn conclude(self) -> Result<()> {
        heading("Summary");
        for (name, passed, took) in &self.lines {
            println!(
                "{} {name} ({:.0} s)",
                if *passed { "✓" } else { "✗" },
                took.as_secs_f64()
            );
        }
        if self.lines.iter().any(|(_, passed, _)| !passed) {
            bail!("not everything passed");
        }
        Ok(())
    }
}
