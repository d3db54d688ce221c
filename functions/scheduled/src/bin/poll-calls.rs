//! On schedule: reads the account's call list and repairs what callbacks left out.

use std::process::ExitCode;

use lambda_kit::init::{Diagnostic, run, serve};
use scheduled::poll_calls::Poller;
use serde::de::IgnoredAny;

fn main() -> ExitCode {
    run(async |boot| {
        let poller = Poller::from_boot(&boot)?;
        serve(async |_: IgnoredAny| Box::pin(handle(&poller)).await).await
    })
}

pub(crate) async fn handle(poller: &Poller) -> Result<(), Diagnostic> {
    let Some(run) = poller.poll().await? else {
        tracing::warn!("nothing is polled: Exotel is not configured");
        return Ok(());
    };
    tracing::info!(
        list.pages = run.tally.pages,
        list.calls = run.tally.calls,
        list.unreadable = run.tally.unreadable,
        records.changed = run.tally.changed,
        rows.repaired = run.tally.repaired,
        calls.settled = run.settled,
        calls.detailed = run.detailed,
        stopped = ?run.stopped,
        "polled"
    );
    Ok(())
}
