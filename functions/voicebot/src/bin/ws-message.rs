//! What Exotel sends over a socket, message by message: ten a second and call.

use std::process::ExitCode;

use jiff::Timestamp;
use lambda_kit::{
    init::{run, serve},
    websocket::{Reply, SocketEvent},
};
use voicebot::messages::MessageDoor;

fn main() -> ExitCode {
    run(async |boot| {
        let door = MessageDoor::open(&boot)?;
        serve(async |event: SocketEvent| Ok(handle(&door, event).await)).await
    })
}

async fn handle(door: &MessageDoor, event: SocketEvent) -> Reply {
    door.hear(&event, Timestamp::now()).await
}
