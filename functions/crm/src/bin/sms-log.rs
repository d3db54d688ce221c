//! `GET …/{id}/sms`: a lead's messages.

use std::process::ExitCode;

use crm::{Crm, problem};
use domain::ids::SmsId;
use jiff::Timestamp;
use lambda_kit::{
    config::CorsConfig,
    http::{Page, Problem, Request, Response, serve},
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
    let (_, lead) = crm.caller_and_lead(&request, now).await?;
    let name = format!("sms/{}", lead.id);
    let page: Page<SmsId> = crm.page(&request, &name, now).await?;
    let messages = logs::messages(&crm.table, &lead.id, page.limit as usize, page.after.as_ref()).await;
    crm.list(messages.map_err(problem)?, &name, now).await
}
