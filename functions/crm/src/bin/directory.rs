//! Leads and users: `/api/admin/raw-leads`, `/api/sales/crm` and `/api/admin/users`.

use std::process::ExitCode;

use crm::{Crm, problem};
use domain::ids::LeadId;
use jiff::Timestamp;
use lambda_kit::{
    config::CorsConfig,
    http::{Page, Problem, Request, Response, empty, json, serve},
    init::run,
};
use serde::Serialize;
use services::directory::{Format, MOST_BYTES};

fn main() -> ExitCode {
    run(async |boot| {
        let cors = CorsConfig::from_env(boot.settings())?;
        let crm = Crm::from_boot(&boot)?;
        serve(&cors, |request| handle(&crm, request, Timestamp::now())).await
    })
}

/// The answer to a DELETE that has to be sent again.
#[derive(Serialize)]
struct Unfinished {
    erased: usize,
    done: bool,
}

const CSV: &str = "text/csv";
const NDJSON: &str = "application/x-ndjson";

pub(crate) async fn handle(crm: &Crm, request: Request, now: Timestamp) -> Result<Response, Problem> {
    let caller = crm.caller(&request, now).await?;
    // Before the body is looked at: what is wrong with it is none of their business.
    if request.route().method != "GET" && !caller.role.is_admin() {
        return Err(Problem::forbidden());
    }
    let directory = crm.directory();
    let written = |created| if created { 201 } else { 200 };
    match (request.route().method, request.route().path) {
        ("GET", "") => {
            let name = format!("leads/{}/{}", caller.role.as_str(), caller.user_id);
            let page: Page<LeadId> = crm.page(&request, &name, now).await?;
            let limit = page.limit as usize;
            if let Some(phone) = request.query::<String>("phone")? {
                let items = directory
                    .leads_by_phone(&caller, &phone, limit)
                    .await
                    .map_err(problem)?;
                return crm.list(services::Page { items, next: None }, &name, now).await;
            }
            let leads = directory.leads(&caller, limit, page.after.as_ref()).await;
            crm.list(leads.map_err(problem)?, &name, now).await
        }
        ("POST", "/import") => {
            let format = if request.content_type() == CSV {
                Format::Csv
            } else {
                Format::Ndjson
            };
            let text = request.text(&[CSV, NDJSON, "application/jsonl"], MOST_BYTES)?;
            json(
                200,
                &directory.import(&caller, text, format).await.map_err(problem)?,
            )
        }
        ("PUT", "/{id}") => {
            let put = directory
                .put_lead(&caller, &request.path("id")?, &request.json()?)
                .await;
            let (lead, created) = put.map_err(problem)?;
            json(written(created), &lead)
        }
        ("GET", "/{id}") => {
            let lead = directory.lead(&caller, &request.path("id")?).await;
            json(200, &lead.map_err(problem)?)
        }
        ("DELETE", "/{id}") => {
            let erased = directory
                .erase_lead(&caller, &request.path("id")?)
                .await
                .map_err(problem)?;
            match erased.done {
                true => empty(204),
                false => json(
                    202,
                    &Unfinished {
                        erased: erased.deleted,
                        done: false,
                    },
                ),
            }
        }
        ("GET", "/{id}/export") => {
            let id: LeadId = request.path("id")?;
            let name = format!("export/{id}");
            let page: Page<String> = crm.page(&request, &name, now).await?;
            let export = directory.export_lead(&caller, &id, page.after.as_deref()).await;
            crm.list(export.map_err(problem)?, &name, now).await
        }
        ("PUT", "/api/admin/users/{id}") => {
            let put = directory
                .put_user(&caller, &request.path("id")?, &request.json()?)
                .await;
            let (user, created) = put.map_err(problem)?;
            json(written(created), &user)
        }
        ("GET", "/api/admin/users/{id}") => {
            let user = directory.user(&caller, &request.path("id")?).await;
            json(200, &user.map_err(problem)?)
        }
        _ => Err(Problem::not_found()),
    }
}
