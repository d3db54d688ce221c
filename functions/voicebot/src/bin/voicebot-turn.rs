//! A turn of a call: the bot is asked, and its answer played.

use std::process::ExitCode;

use lambda_kit::init::{Diagnostic, run, serve};
use services::streams::Question;
use voicebot::turns::TurnDoor;

fn main() -> ExitCode {
    run(async |boot| {
        let door = TurnDoor::open(&boot)?;
        serve(async |question: Question| Box::pin(handle(&door, question)).await).await
    })
}

async fn handle(door: &TurnDoor, question: Question) -> Result<(), Diagnostic> {
    door.answer(&question).await
}
