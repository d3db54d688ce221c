//! Every minute: asks Exotel how the ExoPhones are.

use std::process::ExitCode;

use lambda_kit::init::{Diagnostic, run, serve};
use scheduled::heartbeat::Heartbeat;
use serde::de::IgnoredAny;

fn main() -> ExitCode {
    run(async |boot| {
        let heartbeat = Heartbeat::from_boot(&boot)?;
        serve(async |_: IgnoredAny| Box::pin(handle(&heartbeat)).await).await
    })
}

pub(crate) async fn handle(heartbeat: &Heartbeat) -> Result<(), Diagnostic> {
    let Some(polled) = heartbeat.poll().await? else {
        tracing::warn!("no ExoPhone is asked about: Exotel is not configured");
        return Ok(());
    };
    tracing::info!(
        list.pages = polled.pages,
        exophones = polled.exophones,
        exophones.asked = polled.asked,
        exophones.answered = polled.answered,
        exophones.affected = polled.affected,
        exophones.unknown = polled.unknown,
        silent_minutes = polled.silent_minutes,
        stopped = ?polled.stopped,
        "asked how the ExoPhones are"
    );
    Ok(())
}
