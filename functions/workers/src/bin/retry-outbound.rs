//! The queue `outbound`: places queued calls, sends queued messages, finds out about unconfirmed calls.

use std::process::ExitCode;

use lambda_kit::{
    init::{run, serve},
    records::{SqsBatchResponse, SqsEvent, each_record},
};
use workers::outbound::Dispatcher;

fn main() -> ExitCode {
    run(async |boot| {
        let dispatcher = Dispatcher::from_boot(&boot)?;
        serve(async |event: SqsEvent| Ok(Box::pin(handle(&dispatcher, event)).await)).await
    })
}

pub(crate) async fn handle(dispatcher: &Dispatcher, event: SqsEvent) -> SqsBatchResponse {
    let work = async |task| Box::pin(dispatcher.work(task)).await;
    each_record(event, work, async |resend| dispatcher.send(resend).await).await
}
