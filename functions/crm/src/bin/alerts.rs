//! `/api/admin/alerts`: what is wrong, or was, and taking notice of it.

use std::process::ExitCode;

use crm::{Crm, problem, random};
use domain::{access::Role, ids::AlertId};
use jiff::Timestamp;
use lambda_kit::{
    config::CorsConfig,
    http::{Page, Problem, Request, Response, json, serve},
    init::run,
};
use serde::Deserialize;
use services::alerts::{Alerts, Period};

fn main() -> ExitCode {
    run(async |boot| {
        let cors = CorsConfig::from_env(boot.settings())?;
        let crm = Crm::from_boot(&boot)?;
        serve(&cors, |request| handle(&crm, request, Timestamp::now())).await
    })
}

/// The body of an acknowledgement, which may be left out.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Noticed {
    note: Option<String>,
}

pub(crate) async fn handle(crm: &Crm, request: Request, now: Timestamp) -> Result<Response, Problem> {
    let caller = crm.caller(&request, now).await?;
    let alerts = Alerts::new(crm.table.clone(), random);
    match request.route().method {
        "GET" if caller.role != Role::Sales => {
            let (from, to) = (request.query("from")?, request.query("to")?);
            let (list, is_open) = match request.query::<String>("state")?.as_deref() {
                None | Some("open") => ("alerts/open", true),
                Some("all") => ("alerts/all", false),
                Some(_) => return Err(Problem::bad_field("state", "state must be open or all.")),
            };
            let page: Page<String> = crm.page(&request, list, now).await?;
            let (limit, after) = (page.limit as usize, page.after.as_deref());
            let page = if is_open {
                let period = Period::unbounded(from, to).map_err(problem)?;
                alerts.open(period, limit, after).await
            } else {
                let period = Period::new(from, to, now).map_err(problem)?;
                alerts.list(period, limit, after).await
            };
            crm.list(page.map_err(problem)?, list, now).await
        }
        "POST" if caller.role.is_admin() => {
            let id: AlertId = request.path("id")?;
            let noticed = match request.bytes(0) {
                Ok(_) => Noticed::default(),
                Err(_) => request.json()?,
            };
            let alert = alerts
                .acknowledge(&id, &caller.user_id, noticed.note.as_deref(), now)
                .await;
            json(200, &alert.map_err(problem)?)
        }
        _ => Err(Problem::forbidden()),
    }
}
