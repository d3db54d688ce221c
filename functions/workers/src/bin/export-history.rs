//! The queue `exports`: writes call histories that are too long for an answer to files.

use std::process::ExitCode;

use jiff::{SignedDuration, Timestamp};
use lambda_kit::{
    config::{ExportsConfig, QueueConfig, TableConfig},
    init::{run, serve},
    records::{Outcome, Resend, SqsBatchResponse, SqsEvent, each_record},
};
use services::analytics::{ExportMessage, ExportQueue, Exporter, Step};

/// How long one attempt writes; the function has five minutes, and a part takes seconds.
const RUNS_FOR: SignedDuration = SignedDuration::from_mins(4);

fn main() -> ExitCode {
    run(async |boot| {
        let table = services::connect(boot.aws(), &TableConfig::from_env(boot.settings())?.name);
        let bucket = ExportsConfig::from_env(boot.settings())?.bucket;
        let queue = QueueConfig::exports_from_env(boot.settings())?;
        let exporter = Exporter::connect(boot.aws(), table, bucket);
        let queue = ExportQueue::new(boot.aws().clone(), queue.url);
        serve(async |event: SqsEvent| Ok(Box::pin(handle(&exporter, &queue, event, Timestamp::now)).await))
            .await
    })
}

pub(crate) async fn handle(
    exporter: &Exporter,
    queue: &ExportQueue,
    event: SqsEvent,
    clock: impl Fn() -> Timestamp,
) -> SqsBatchResponse {
    let until = clock() + RUNS_FOR;
    let write = async |message: ExportMessage| {
        let ExportMessage::Export { id } = &message;
        match exporter.run(id, &clock, until).await {
            Ok(Step::More) => match queue.send(&message).await {
                Ok(()) => Outcome::Done,
                Err(error) => Outcome::Retry(error.to_string()),
            },
            Ok(Step::Held) => Outcome::Retry("somebody else writes this file".to_owned()),
            Ok(step) => {
                tracing::info!(export.id = %id, "a file: {step:?}");
                Outcome::Done
            }
            Err(error) => Outcome::Retry(error.to_string()),
        }
    };
    // The queue's own redrive moves a message that stays; nothing is sent from here.
    let leave = async |_: Resend<'_>| Err("the queue moves it to its dead-letter queue");
    each_record(event, write, leave).await
}
