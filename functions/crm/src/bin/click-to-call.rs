//! `POST …/{id}/exotel-call`: rings the caller, then the lead.

use std::process::ExitCode;

use crm::outbound::{OutboundDoor, Wish, outbound_problem};
use domain::{call::Call, ids::CallId};
use lambda_kit::{
    config::CorsConfig,
    http::{Problem, Request, Response, serve},
    init::run,
};
use services::{logs::CallLog, outbound::Click};

fn main() -> ExitCode {
    run(async |boot| {
        let cors = CorsConfig::from_env(boot.settings())?;
        let door = OutboundDoor::from_boot(&boot)?;
        serve(&cors, |request| Box::pin(handle(&door, request))).await
    })
}

pub(crate) async fn handle(door: &OutboundDoor, request: Request) -> Result<Response, Problem> {
    let now = door.outbound.now();
    let (caller, lead) = door.crm.caller_and_lead(&request, now).await?;
    let account = door.account(now).await?;
    let id = CallId::new(now, door.outbound.random()).to_string();
    let place = async |id: &str, resumed| {
        let id = &id.parse().map_err(Problem::internal)?;
        let (caller, lead) = (&caller, &lead);
        let click = Click {
            caller,
            lead,
            id,
            resumed,
        };
        let placed = door.outbound.place_call(&account, &door.queue, click).await;
        let placed = placed.map_err(outbound_problem)?;
        let reason = |call: &Call| call.exotel().and_then(|call| call.reason.clone());
        door.answer::<_, CallLog>(&request, &placed, reason).await
    };
    let wish = Wish {
        caller: &caller,
        lead: &lead.id,
        route: "exotel-call",
        id,
        text: "",
    };
    door.once(&request, wish, place).await
}
