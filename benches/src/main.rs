#![doc = include_str!("../README.md")]
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod cold_start;
mod dynamo_stub;
mod figures;
mod frame_path;
#[path = "../../functions/voicebot/tests/it/gateway.rs"]
#[allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a stand-in that cannot go on should stop; what it offers besides is for its own tests"
)]
mod gateway;
mod media;
mod poll_calls;
mod programs;
#[path = "../../functions/workers/tests/it/s3.rs"]
#[allow(clippy::unwrap_used, reason = "a stub that cannot go on should stop")]
mod s3;

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
    /// A caller's frame from API Gateway's envelope to the session's decision, against a bare base64 decode and Node.js.
    FramePath {
        /// Processes of each program; the median is reported.
        #[arg(long, default_value_t = 5)]
        runs: usize,
        /// Passes over a thousand frames per process.
        #[arg(long, default_value_t = 200)]
        passes: u32,
    },
    /// A minute of a call with a bot, at each rate and in real time: units of the table and messages of API Gateway.
    MediaMinute,
    /// How soon `clear` is posted after a caller has interrupted, with a table that takes ten milliseconds.
    Interruptions,
    /// Memory, units and CPU of poll-calls over this many calls: at first, and again when nothing has changed.
    PollCalls {
        /// Calls of the account.
        #[arg(long, default_value_t = 100_000)]
        calls: u64,
    },
    /// What a minute of roll-up costs for each event in it: units and CPU.
    Rollup,
    /// What a page of history costs, at this many calls and at a hundredth of them.
    History {
        /// Calls in the table.
        #[arg(long, default_value_t = 1_000_000)]
        calls: i64,
    },
    /// Memory and CPU of a file of this many calls, beside one of a tenth.
    Export {
        /// Calls in the file.
        #[arg(long, default_value_t = 1_000_000)]
        calls: i64,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Bench::parse() {
        Bench::ColdStart { runs, warm } => cold_start::run(runs, warm).await,
        Bench::FramePath { runs, passes } => frame_path::run(runs, passes),
        Bench::MediaMinute => media::minute().await,
        Bench::Interruptions => media::interruptions().await,
        Bench::PollCalls { calls } => poll_calls::run(calls).await,
        Bench::Rollup => figures::roll_up().await,
        Bench::History { calls } => figures::history(calls).await,
        Bench::Export { calls } => figures::export(calls).await,
    }
}
