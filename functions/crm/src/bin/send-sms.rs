//! `POST …/{id}/sms`: sends the lead a text.

use std::process::ExitCode;

use crm::outbound::{OutboundDoor, Wish, outbound_problem};
use domain::{ids::SmsId, sms::Sms};
use lambda_kit::{
    config::CorsConfig,
    http::{Problem, Request, Response, serve},
    init::run,
};
use serde::Deserialize;
use services::{logs::SmsLog, outbound::Text};

/// Characters of a text, at most (spec 2.4).
const LONGEST_TEXT: usize = 1_000;

fn main() -> ExitCode {
    run(async |boot| {
        let cors = CorsConfig::from_env(boot.settings())?;
        let door = OutboundDoor::from_boot(&boot)?;
        serve(&cors, |request| Box::pin(handle(&door, request))).await
    })
}

#[derive(Deserialize)]
struct Written {
    body: String,
}

pub(crate) async fn handle(door: &OutboundDoor, request: Request) -> Result<Response, Problem> {
    let now = door.outbound.now();
    let (caller, lead) = door.crm.caller_and_lead(&request, now).await?;
    let written: Written = request.json()?;
    let body = written.body.trim();
    if !(1..=LONGEST_TEXT).contains(&body.chars().count()) {
        let detail = format!("body must have 1 to {LONGEST_TEXT} characters besides spaces around it.");
        return Err(Problem::bad_field("body", detail));
    }
    let account = door.account(now).await?;
    let id = SmsId::new(now, door.outbound.random()).to_string();
    let send = async |id: &str, resumed| {
        let id = &id.parse().map_err(Problem::internal)?;
        let (caller, lead) = (&caller, &lead);
        let text = Text {
            caller,
            lead,
            id,
            body,
            resumed,
        };
        let placed = door.outbound.send_sms(&account, &door.queue, text).await;
        let placed = placed.map_err(outbound_problem)?;
        let reason = |sms: &Sms| sms.error_message().map(str::to_owned);
        door.answer::<_, SmsLog>(&request, &placed, reason).await
    };
    let wish = Wish {
        caller: &caller,
        lead: &lead.id,
        route: "sms",
        id,
        text: body,
    };
    door.once(&request, wish, send).await
}
