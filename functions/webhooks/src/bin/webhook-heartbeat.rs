//! The health of all ExoPhones, pushed by Exotel every few minutes: verify, record, answer.

use std::process::ExitCode;

use jiff::Timestamp;
use lambda_kit::{
    config::CorsConfig,
    http::{Problem, Request, Response, serve},
    init::run,
};
use services::inbound::Webhook;
use webhooks::Door;

fn main() -> ExitCode {
    run(async |boot| {
        let door = Door::open(Webhook::Heartbeat, &boot)?;
        // No browser posts here: no origin is allowed.
        serve(&CorsConfig::default(), |request| handle(&door, request)).await
    })
}

async fn handle(door: &Door, request: Request) -> Result<Response, Problem> {
    door.receive_heartbeat(&request, Timestamp::now()).await
}
