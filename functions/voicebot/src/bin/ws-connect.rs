//! A socket wants to open: verify, and remember what it is for.

use std::process::ExitCode;

use jiff::Timestamp;
use lambda_kit::{
    init::{run, serve},
    websocket::{Reply, SocketEvent},
};
use voicebot::{handshakes::HandshakeDoor, random};

fn main() -> ExitCode {
    run(async |boot| {
        let door = HandshakeDoor::open(&boot, random)?;
        serve(async |event: SocketEvent| Ok(handle(&door, event).await)).await
    })
}

async fn handle(door: &HandshakeDoor, event: SocketEvent) -> Reply {
    door.receive(&event, Timestamp::now()).await
}
