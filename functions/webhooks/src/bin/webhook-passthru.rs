//! Calls in the middle of a flow, from Passthru applets: verify, record, steer.

use std::process::ExitCode;

use jiff::Timestamp;
use lambda_kit::{
    config::CorsConfig,
    http::{Problem, Request, Response, serve},
    init::run,
};
use webhooks::passthru::PassthruDoor;

fn main() -> ExitCode {
    run(async |boot| {
        let door = PassthruDoor::open(&boot)?;
        // No browser calls here: no origin is allowed.
        serve(&CorsConfig::default(), |request| handle(&door, request)).await
    })
}

async fn handle(door: &PassthruDoor, request: Request) -> Result<Response, Problem> {
    door.receive(&request, Timestamp::now()).await
}
