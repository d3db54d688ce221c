//! A socket is closed: its call is over, if nobody has said so before.

use std::process::ExitCode;

use jiff::Timestamp;
use lambda_kit::{
    init::{run, serve},
    websocket::{Reply, SocketEvent},
};
use voicebot::ends::EndDoor;

fn main() -> ExitCode {
    run(async |boot| {
        let door = EndDoor::open(&boot)?;
        serve(async |event: SocketEvent| Ok(handle(&door, event).await)).await
    })
}

async fn handle(door: &EndDoor, event: SocketEvent) -> Reply {
    door.receive(&event, Timestamp::now()).await
}
