//! Keeps and applies webhook events again: after a failure of the table, or at an operator's word.

use std::process::ExitCode;

use lambda_kit::{
    config::TableConfig,
    init::{run, serve},
    records::{Outcome, Resend, SqsBatchResponse, SqsEvent, each_record},
};
use services::inbound::{Replay, Replayed, WebhookMessage};

fn main() -> ExitCode {
    run(async |boot| {
        let table = TableConfig::from_env(boot.settings())?;
        let replay = Replay::connect(&boot.aws_without_retries(), &table.name);
        serve(async |event: SqsEvent| Ok(handle(&replay, event).await)).await
    })
}

pub(crate) async fn handle(replay: &Replay, event: SqsEvent) -> SqsBatchResponse {
    let apply = async |message: WebhookMessage| match Box::pin(replay.run(message)).await {
        Ok(Replayed::Unreadable) => Outcome::DeadLetter("it names no event of ours".to_owned()),
        Ok(replayed) => {
            tracing::info!("applied a webhook event again: {replayed:?}");
            Outcome::Done
        }
        Err(error) => Outcome::Retry(error.to_string()),
    };
    // The queue's own redrive moves a message that stays; nothing is sent from here.
    let leave = async |_: Resend<'_>| Err("the queue moves it to its dead-letter queue");
    each_record(event, apply, leave).await
}
