//! `POST /call`: a call that a bot leads.

use std::process::ExitCode;

use crm::{bot_calls::BotCallDoor, outbound::OutboundDoor};
use lambda_kit::{
    config::{CorsConfig, VoicebotConfig},
    http::{Problem, Request, Response, serve},
    init::run,
};

fn main() -> ExitCode {
    run(async |boot| {
        let cors = CorsConfig::from_env(boot.settings())?;
        let voicebot = VoicebotConfig::from_env(boot.settings())?;
        let door = BotCallDoor::new(OutboundDoor::from_boot(&boot)?, voicebot);
        serve(&cors, |request| Box::pin(handle(&door, request))).await
    })
}

pub(crate) async fn handle(door: &BotCallDoor, request: Request) -> Result<Response, Problem> {
    door.call(&request).await
}
