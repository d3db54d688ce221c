//! `GET /api/admin/analytics/…`: how calls and messages go, call history, and files of it.

use std::process::ExitCode;

use crm::{Crm, figure_routes::Figures};
use jiff::Timestamp;
use lambda_kit::{
    config::CorsConfig,
    http::{Problem, Request, Response, json, serve},
    init::run,
};

fn main() -> ExitCode {
    run(async |boot| {
        let cors = CorsConfig::from_env(boot.settings())?;
        let crm = Crm::from_boot(&boot)?;
        let figures = Figures::from_boot(&boot, &crm)?;
        serve(&cors, |request| {
            Box::pin(handle(&crm, &figures, request, Timestamp::now()))
        })
        .await
    })
}

pub(crate) async fn handle(
    crm: &Crm,
    figures: &Figures,
    request: Request,
    now: Timestamp,
) -> Result<Response, Problem> {
    let caller = crm.figures_reader(&request, now).await?;
    match request.route().path {
        "/api/admin/analytics/dashboard" => json(200, &figures.dashboard(now).await?),
        "/api/admin/analytics/calls" => json(200, &figures.calls(&caller, &request, now).await?),
        "/api/admin/analytics/flows" => json(200, &figures.flows(&request, now).await?),
        "/api/admin/analytics/agents" => json(200, &figures.agents(&caller, &request, now).await?),
        "/api/admin/analytics/delivery" => json(200, &figures.delivery(&request, now).await?),
        "/api/admin/analytics/history" => figures.history(crm, &caller, &request, now).await,
        "/api/admin/analytics/exports/{id}" => json(200, &figures.export(&caller, &request, now).await?),
        _ => Err(Problem::not_found()),
    }
}
