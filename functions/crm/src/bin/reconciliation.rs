//! What an operator has done over for a span: `/api/admin/backfill` reads its calls from Exotel's list,
//! `/api/admin/figures/rebuild` derives its figures anew from calls and messages. Both tell how far they have come.

use std::process::ExitCode;

use crm::{Crm, problem};
use jiff::Timestamp;
use lambda_kit::{
    config::CorsConfig,
    http::{Problem, Request, Response, json, serve},
    init::run,
};
use serde::{Deserialize, Serialize};
use services::{
    analytics::{Span, SpanRequest},
    backfill, figures,
};

fn main() -> ExitCode {
    run(async |boot| {
        let cors = CorsConfig::from_env(boot.settings())?;
        let crm = Crm::from_boot(&boot)?;
        serve(&cors, |request| handle(&crm, request, Timestamp::now())).await
    })
}

/// Dates of the configured zone, the last one whole, or instants.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Backfill {
    from: String,
    /// Until now without it.
    to: Option<String>,
}

/// The same.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rebuild {
    from: String,
    to: String,
}

fn span(crm: &Crm, from: String, to: Option<String>, now: Timestamp) -> Result<Span, Problem> {
    let request = SpanRequest {
        from: Some(from),
        to,
        zone: None,
    };
    Span::read(&request, &crm.locale.time_zone, now).map_err(problem)
}

#[derive(Serialize)]
struct Backfills {
    items: Vec<backfill::BackfillView>,
}

pub(crate) async fn handle(crm: &Crm, request: Request, now: Timestamp) -> Result<Response, Problem> {
    let caller = crm.caller(&request, now).await?;
    if !caller.role.is_admin() {
        return Err(Problem::forbidden());
    }
    match (request.route().method, request.route().path) {
        ("POST", "/api/admin/backfill") => {
            let Backfill { from, to } = request.json()?;
            let span = span(crm, from, to, now)?;
            let asked = backfill::request(&crm.table, &caller, span.from, span.to, now).await;
            json(202, &asked.map_err(problem)?)
        }
        ("GET", "/api/admin/backfill") => {
            let items = backfill::list(&crm.table, &caller).await.map_err(problem)?;
            json(200, &Backfills { items })
        }
        ("POST", "/api/admin/figures/rebuild") => {
            let Rebuild { from, to } = request.json()?;
            let span = span(crm, from, Some(to), now)?;
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
