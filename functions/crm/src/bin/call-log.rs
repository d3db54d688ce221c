//! `…/{id}/calls`: a lead's calls, and calls logged by hand.

use std::process::ExitCode;

use crm::{Crm, problem, random};
use domain::ids::CallId;
use jiff::Timestamp;
use lambda_kit::{
    config::CorsConfig,
    http::{Page, Problem, Request, Response, json, serve},
    init::run,
};
use services::logs;

fn main() -> ExitCode {
    run(async |boot| {
        let cors = CorsConfig::from_env(boot.settings())?;
        let crm = Crm::from_boot(&boot)?;
        serve(&cors, |request| handle(&crm, request, Timestamp::now())).await
    })
}

pub(crate) async fn handle(crm: &Crm, request: Request, now: Timestamp) -> Result<Response, Problem> {
    let (caller, lead) = crm.caller_and_lead(&request, now).await?;
    match request.route().method {
        "GET" => {
            let name = format!("calls/{}", lead.id);
            let page: Page<CallId> = crm.page(&request, &name, now).await?;
            let calls = logs::calls(&crm.table, &lead.id, page.limit as usize, page.after.as_ref()).await;
            crm.list(calls.map_err(problem)?, &name, now).await
        }
        "POST" => {
            let written = request.json()?;
            let call = logs::log_call(&crm.table, &caller, &lead.id, written, now, random()).await;
            json(201, &call.map_err(problem)?)
        }
        _ => Err(Problem::not_found()),
    }
}
