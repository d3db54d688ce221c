//! The queue `alert-webhooks`: posts alerts to the team's URL.

use std::process::ExitCode;

use jiff::Timestamp;
use lambda_kit::{
    init::{run, serve},
    records::{Resend, SqsBatchResponse, SqsEvent, each_record},
};
use workers::alert_webhook::Courier;

fn main() -> ExitCode {
    run(async |boot| {
        let courier = Courier::from_boot(&boot)?;
        serve(async |event: SqsEvent| Ok(handle(&courier, event, Timestamp::now()).await)).await
    })
}

pub(crate) async fn handle(courier: &Courier, event: SqsEvent, now: Timestamp) -> SqsBatchResponse {
    let deliver = async |event| courier.deliver(event, now).await;
    // The queue's own redrive moves a message that stays; nothing is sent from here.
    let leave = async |_: Resend<'_>| Err("the queue moves it to its dead-letter queue");
    each_record(event, deliver, leave).await
}
