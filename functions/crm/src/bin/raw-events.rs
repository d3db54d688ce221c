//! `/api/admin/raw-events`: what Exotel sent, listed and replayed by an operator.

use std::process::ExitCode;

use crm::{Crm, problem};
use domain::access::Role;
use jiff::Timestamp;
use lambda_kit::{
    config::{CorsConfig, QueueConfig},
    http::{Page, Problem, Request, Response, json, serve},
    init::run,
};
use serde::Serialize;
use services::{
    inbound::WebhookQueue,
    raw_events::{Period, RawEvents},
};

fn main() -> ExitCode {
    run(async |boot| {
        let cors = CorsConfig::from_env(boot.settings())?;
        let crm = Crm::from_boot(&boot)?;
        let queue = QueueConfig::webhook_events_from_env(boot.settings())?;
        let queue = WebhookQueue::new(boot.aws().clone(), queue.url);
        let events = RawEvents::new(crm.table.clone(), queue);
        serve(&cors, |request| handle(&crm, &events, request, Timestamp::now())).await
    })
}

#[derive(Serialize)]
struct Replayed {
    queued: bool,
}

pub(crate) async fn handle(
    crm: &Crm,
    events: &RawEvents,
    request: Request,
    now: Timestamp,
) -> Result<Response, Problem> {
    let caller = crm.caller(&request, now).await?;
    let is_admin = caller.role.is_admin();
    match request.route().method {
        "GET" if caller.role != Role::Sales => {
            let period = Period::new(request.query("from")?, request.query("to")?, now).map_err(problem)?;
            let page: Page<String> = crm.page(&request, "raw-events", now).await?;
            let page = events
                .list(period, page.limit as usize, page.after.as_deref(), !is_admin)
                .await;
            crm.list(page.map_err(problem)?, "raw-events", now).await
        }
        "POST" if is_admin => {
            let id: String = request.path("id")?;
            events.replay(&id).await.map_err(problem)?;
            json(202, &Replayed { queued: true })
        }
        _ => Err(Problem::forbidden()),
    }
}
