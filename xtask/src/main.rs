//! Commands on this repository: `cargo xtask help` lists them.
#![expect(
    clippy::print_stdout,
    reason = "a command line program speaks on standard output"
)]

mod backfill;
mod cargo;
mod checks;
mod day;
mod e2e;
mod events;
mod installation;
mod local;
mod paths;
mod steps;
mod token;
mod voice;
mod walk;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

/// Commands on this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the whole bundle on this machine: build, deploy template.yaml to a local AWS, walk a demo, keep serving.
    Local(Local),
    /// Print a token (JWT) for the local stack, alone on the last line.
    Token(token::Request),
    /// Run every check and test: format, clippy, tests, template, and the walk on the local stack.
    Test(checks::Request),
    /// Run the black-box tests of local/e2e on a local stack of their own.
    E2e(e2e::Request),
    /// Look at the raw webhook events, and replay one.
    #[command(subcommand)]
    Events(events::Command),
    /// Read history of up to six months from Exotel's call list.
    Backfill(backfill::Request),
    /// Write .env.example anew from the table of settings.
    EnvExample,
}

#[derive(Args)]
struct Local {
    /// Walk the demo, tear everything down, and exit with 0 if all went well.
    #[arg(long)]
    once: bool,
    /// End the one that is running.
    #[arg(long, conflicts_with = "once")]
    stop: bool,
    /// How many times faster than life pretended calls go.
    #[arg(long, default_value_t = 10.0)]
    speed: f64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("\nError: {err}");
            for cause in err.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Local(Local { stop: true, .. }) => local::stop().await,
        Command::Local(Local {
            once: true, speed, ..
        }) => local::once(speed).await,
        Command::Local(Local { speed, .. }) => local::serve(speed).await,
        Command::Token(request) => token::print(&request),
        Command::Test(request) => checks::run(&request).await,
        Command::E2e(request) => e2e::run(&request).await,
        Command::Events(command) => events::run(command).await,
        Command::Backfill(request) => backfill::run(request).await,
        Command::EnvExample => {
            std::fs::write(
                paths::root().join(".env.example"),
                lambda_kit::config::env_example(),
            )?;
            Ok(())
        }
    }
}
