#![doc = include_str!("../README.md")]
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod cold_start;
mod dynamo_stub;
mod programs;

use clap::Parser;

/// Measures the functions against peers, side by side in one run.
#[derive(Parser)]
enum Bench {
    /// webhook-call-status from process start to its first event answered, and warm, against a minimal Rust Lambda and
    /// a Node.js Lambda that does the same job.
    ColdStart {
        /// Fresh processes of each program; the median is reported.
        #[arg(long, default_value_t = 15)]
        runs: usize,
        /// Warm events per process.
        #[arg(long, default_value_t = 300)]
        warm: usize,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Bench::parse() {
        Bench::ColdStart { runs, warm } => cold_start::run(runs, warm).await,
    }
}
