//! `/api/admin/exophones`: how the account's ExoPhones are, and what was said of one.

use std::process::ExitCode;

use crm::{Crm, problem};
use domain::ids::ExoPhoneSid;
use jiff::Timestamp;
use lambda_kit::{
    config::CorsConfig,
    http::{Page, Problem, Request, Response, json, serve},
    init::run,
};
use services::health::{ChecksOf, Period, checks_of, exophones};

fn main() -> ExitCode {
    run(async |boot| {
        let cors = CorsConfig::from_env(boot.settings())?;
        let crm = Crm::from_boot(&boot)?;
        serve(&cors, |request| handle(&crm, request, Timestamp::now())).await
    })
}

pub(crate) async fn handle(crm: &Crm, request: Request, now: Timestamp) -> Result<Response, Problem> {
    let caller = crm.caller(&request, now).await?;
    if !caller.role.is_admin() {
        return Err(Problem::forbidden());
    }
    match request.route().path {
        "/api/admin/exophones" => {
            let status = request.query::<String>("status")?;
            let page: Page<ExoPhoneSid> = crm.page(&request, "exophones", now).await?;
            let limit = page.limit as usize;
            let view = exophones(&crm.table, status.as_deref(), limit, page.after.as_ref(), now).await;
            let mut view = view.map_err(problem)?;
            let keys = crm.keys.get(now).await;
            view.next_cursor = view.next_cursor.map(|next| keys.seal_cursor("exophones", &next));
            json(200, &view)
        }
        "/api/admin/exophones/{sid}/checks" => {
            let sid: ExoPhoneSid = request.path("sid")?;
            let period = Period::new(request.query("from")?, request.query("to")?, now).map_err(problem)?;
            let name = format!("exophones/{sid}/checks");
            let page: Page<String> = crm.page(&request, &name, now).await?;
            let of = ChecksOf {
                sid: &sid,
                period,
                limit: page.limit as usize,
                after: page.after.as_deref(),
            };
            crm.list(checks_of(&crm.table, of).await.map_err(problem)?, &name, now)
                .await
        }
        _ => Err(Problem::not_found()),
    }
}
