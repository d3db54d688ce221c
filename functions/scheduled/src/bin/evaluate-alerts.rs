//! Every minute: evaluates the alert rules, and once a day those of the digest.

use std::process::ExitCode;

use jiff::Timestamp;
use lambda_kit::init::{Diagnostic, run, serve};
use scheduled::evaluate::Watch;
use serde::de::IgnoredAny;

fn main() -> ExitCode {
    run(async |boot| {
        let watch = Watch::from_boot(&boot)?;
        serve(async |_: IgnoredAny| Box::pin(handle(&watch, Timestamp::now())).await).await
    })
}

pub(crate) async fn handle(watch: &Watch, now: Timestamp) -> Result<(), Diagnostic> {
    let evaluated = watch.run(now).await?;
    tracing::info!(
        rules = evaluated.observed.len(),
        alerts.raised = evaluated.raised,
        alerts.recovered = evaluated.recovered,
        alerts.open = evaluated.open,
        "evaluated"
    );
    Ok(())
}
