//! What Exotel sends over a socket, message by message: ten a second and call.

use std::process::ExitCode;

use jiff::Timestamp;
use lambda_kit::{
    init::{Diagnostic, run, serve_bytes},
    websocket::Reply,
};
use voicebot::messages::MessageDoor;

fn main() -> ExitCode {
    run(async |boot| {
        let door = MessageDoor::open(&boot)?;
        serve_bytes(async |event| handle(&door, event).await).await
    })
}

async fn handle(door: &MessageDoor, event: &[u8]) -> Result<Reply, Diagnostic> {
    let heard = door.hear_bytes(event, Timestamp::now()).await;
    heard.map_err(|err| Diagnostic {
        error_type: "UnreadableEvent".to_owned(),
        error_message: err.to_string(),
    })
}
