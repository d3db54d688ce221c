//! `/api/admin/figures/rebuild`: figures of a span derived anew from calls and messages, and how far that has come.

use std::process::ExitCode;

use crm::{Crm, problem};
use jiff::Timestamp;
use lambda_kit::{
    config::CorsConfig,
    http::{Problem, Request, Response, json, serve},
    init::run,
};
use serde::Deserialize;
use services::{
    analytics::{Span, SpanRequest},
    figures,
};

fn main() -> ExitCode {
    run(async |boot| {
        let cors = CorsConfig::from_env(boot.settings())?;
        let crm = Crm::from_boot(&boot)?;
        serve(&cors, |request| handle(&crm, request, Timestamp::now())).await
    })
}

/// Dates of the configured zone, or instants.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rebuild {
    from: String,
    to: String,
}

pub(crate) async fn handle(crm: &Crm, request: Request, now: Timestamp) -> Result<Response, Problem> {
    let caller = crm.caller(&request, now).await?;
    if !caller.role.is_admin() {
        return Err(Problem::forbidden());
    }
    match (request.route().method, request.route().path) {
        ("POST", "/api/admin/figures/rebuild") => {
            let Rebuild { from, to } = request.json()?;
            let asked = SpanRequest {
                from: Some(from),
                to: Some(to),
                zone: None,
            };
            let span = Span::read(&asked, &crm.locale.time_zone, now).map_err(problem)?;
            figures::request_rebuild(&crm.table, &caller, span.from, span.to, now)
                .await
                .map_err(problem)?;
            json(
                202,
                &figures::rebuild_progress(&crm.table).await.map_err(problem)?,
            )
        }
        ("GET", "/api/admin/figures/rebuild") => json(
            200,
            &figures::rebuild_progress(&crm.table).await.map_err(problem)?,
        ),
        _ => Err(Problem::not_found()),
    }
}
