//! Follows the table's stream: open rows, events by hour, orphaned events, call records, the event bus.

use std::process::ExitCode;

use lambda_kit::{
    config::{EventBusConfig, LocaleConfig, QueueConfig, TableConfig},
    init::{run, serve},
    records::{StreamEvent, StreamResponse},
};
use services::projection::{Change, Projector};

fn main() -> ExitCode {
    run(async |boot| {
        let table = TableConfig::from_env(boot.settings())?;
        let queue = QueueConfig::webhook_events_from_env(boot.settings())?;
        let bus = EventBusConfig::from_env(boot.settings())?;
        let country = LocaleConfig::from_env(boot.settings())?.country;
        let aws = boot.aws_without_retries();
        let projector = Projector::connect(&aws, &table.name, &queue.url, &bus.name, country);
        serve(async |event: StreamEvent| Ok(handle(&projector, event).await)).await
    })
}

pub(crate) async fn handle(projector: &Projector, event: StreamEvent) -> StreamResponse {
    let (numbers, changes): (Vec<_>, Vec<_>) = event
        .records
        .into_iter()
        .map(|record| {
            let change = Change {
                old: record.change.old_image,
                new: record.change.new_image,
                // Only what DynamoDB itself did has an identity.
                expired: record.user_identity.is_some(),
            };
            (record.change.sequence_number, change)
        })
        .unzip();
    let mut response = StreamResponse::default();
    if let Err(stopped) = Box::pin(projector.project(changes)).await {
        let number = numbers[stopped.at].clone().unwrap_or_default();
        tracing::error!(
            error = &stopped.source as &dyn std::error::Error,
            "stopped at sequence number {number}"
        );
        // Lambda goes on from there; without a number it takes the whole batch as failed.
        response.batch_item_failures.push(Default::default());
        response.batch_item_failures[0].item_identifier = Some(number);
    }
    response
}
