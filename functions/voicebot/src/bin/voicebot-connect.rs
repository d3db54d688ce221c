//! `GET`, `POST /voicebot/connect`, `/api/v1/exotel/voice/connect`, `/exotel/{bot_id}`: where a call's stream goes.

use std::process::ExitCode;

use jiff::Timestamp;
use lambda_kit::{
    config::CorsConfig,
    http::{Problem, Request, Response, serve},
    init::run,
};
use voicebot::{connect::ConnectDoor, random};

fn main() -> ExitCode {
    run(async |boot| {
        let door = ConnectDoor::open(&boot)?;
        // No browser calls here: no origin is allowed.
        serve(&CorsConfig::default(), |request| handle(&door, request)).await
    })
}

async fn handle(door: &ConnectDoor, request: Request) -> Result<Response, Problem> {
    door.connect(&request, Timestamp::now(), random()).await
}
