//! Every minute: settles calls and messages that nobody reported the end of.

use std::process::ExitCode;

use lambda_kit::init::{Diagnostic, run, serve};
use scheduled::sweep::Sweeper;
use serde::de::IgnoredAny;

fn main() -> ExitCode {
    run(async |boot| {
        let sweeper = Sweeper::from_boot(&boot)?;
        serve(async |_: IgnoredAny| Box::pin(handle(&sweeper)).await).await
    })
}

pub(crate) async fn handle(sweeper: &Sweeper) -> Result<(), Diagnostic> {
    let swept = sweeper.sweep().await?;
    tracing::info!(
        rows.read = swept.read,
        rows.looked_up = swept.looked_up,
        rows.settled = swept.settled,
        rows.closed = swept.closed,
        rows.left = swept.left,
        "swept"
    );
    sweeper.count().await
}
