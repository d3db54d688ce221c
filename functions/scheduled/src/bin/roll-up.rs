//! Every minute: folds the figures of quarters and days in which something changed.

use std::process::ExitCode;

use jiff::Timestamp;
use lambda_kit::init::{Diagnostic, run, serve};
use scheduled::roll_up::Folding;
use serde::de::IgnoredAny;

fn main() -> ExitCode {
    run(async |boot| {
        let folding = Folding::from_boot(&boot)?;
        serve(async |_: IgnoredAny| Box::pin(handle(&folding)).await).await
    })
}

pub(crate) async fn handle(folding: &Folding) -> Result<(), Diagnostic> {
    let done = folding.run(Timestamp::now).await?;
    tracing::info!(
        quarters.folded = done.folded,
        quarters.written = done.written,
        quarters.contended = done.contended,
        days.folded = done.days,
        time.over = done.left,
        "rolled up"
    );
    Ok(())
}
