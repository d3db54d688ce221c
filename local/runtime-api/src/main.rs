//! Drives one function by hand: hands it an event, prints its responses and what they cost.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use clap::Parser;
use runtime_api::{Function, Launch};

/// Runs a Lambda function against a stand-in of the Runtime API and says what it cost.
#[derive(Parser)]
struct Args {
    /// File with the event's JSON.
    #[arg(long)]
    event: PathBuf,
    /// How often to hand it over.
    #[arg(long, default_value_t = 1)]
    times: usize,
    /// NAME=VALUE for the function's environment; may be repeated.
    #[arg(long = "env", value_parser = variable)]
    env: Vec<(String, String)>,
    /// Seconds that one invocation may take.
    #[arg(long, default_value_t = 30)]
    timeout_secs: u64,
    /// The function's program, and its arguments.
    #[arg(required = true, trailing_var_arg = true)]
    program: Vec<String>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.into(), value.into()))
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "printing is what this program is for")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let event = std::fs::read(&args.event)
        .with_context(|| format!("cannot read the event file {}", args.event.display()))?;
    let mut program = args.program.into_iter();
    let mut launch =
        Launch::new(program.next().unwrap_or_default()).timeout(Duration::from_secs(args.timeout_secs));
    for arg in program {
        launch = launch.arg(arg);
    }
    for (name, value) in args.env {
        launch = launch.env(name, value);
    }
    let function = Function::start(launch).await?;
    for _ in 0..args.times {
        let answer = function.invoke(event.clone()).await?.finish().await?;
        if let Some(prelude) = &answer.prelude {
            println!("{} {:?}", prelude.status_code, prelude.headers);
        }
        println!("{}", String::from_utf8_lossy(&answer.body));
        println!("{:?}", answer.figures);
    }
    println!("{:?}", function.usage()?);
    Ok(())
}
