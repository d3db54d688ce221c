//! `GET …/{id}/timeline`: everything that happened with a lead, newest first.

use std::process::ExitCode;

use crm::{Crm, problem};
use jiff::Timestamp;
use lambda_kit::{
    config::CorsConfig,
    http::{Page, Problem, Request, Response, serve},
    init::run,
};
use services::logs::{self, Place};

fn main() -> ExitCode {
    run(async |boot| {
        let cors = CorsConfig::from_env(boot.settings())?;
        let crm = Crm::from_boot(&boot)?;
        serve(&cors, |request| handle(&crm, request, Timestamp::now())).await
    })
}

pub(crate) async fn handle(crm: &Crm, request: Request, now: Timestamp) -> Result<Response, Problem> {
    let (_, lead) = crm.caller_and_lead(&request, now).await?;
    let name = format!("timeline/{}", lead.id);
    let page: Page<Place> = crm.page(&request, &name, now).await?;
    let timeline = logs::timeline(
        &crm.table,
        &lead.id,
        page.limit as usize,
        page.after.as_ref(),
        now,
    )
    .await;
    crm.list(timeline.map_err(problem)?, &name, now).await
}
