//! `GET /voicebot/sessions`, `/api/admin/voicebot/sessions`, `…/{id}`: what came of calls with bots.

use std::process::ExitCode;

use crm::{Crm, problem};
use domain::ids::VoiceSessionId;
use jiff::Timestamp;
use lambda_kit::{
    config::CorsConfig,
    http::{Page, Problem, Request, Response, json, serve},
    init::run,
};
use services::voicebot::sessions::Sessions;

/// The list whose cursors are taken.
const LIST: &str = "voicebot/sessions";

fn main() -> ExitCode {
    run(async |boot| {
        let cors = CorsConfig::from_env(boot.settings())?;
        let crm = Crm::from_boot(&boot)?;
        serve(&cors, |request| handle(&crm, request, Timestamp::now())).await
    })
}

pub(crate) async fn handle(crm: &Crm, request: Request, now: Timestamp) -> Result<Response, Problem> {
    let caller = crm.caller(&request, now).await?;
    let sessions = Sessions::new(crm.table.clone(), crm.locale.country);
    let path = request.route().path;
    if path.ends_with("/{id}") {
        let id: VoiceSessionId = request.path("id")?;
        let session = sessions.get(&caller, &id, now).await;
        return json(200, &session.map_err(problem)?);
    }
    let span = (request.query("from")?, request.query("to")?);
    let page: Page<VoiceSessionId> = crm.page(&request, LIST, now).await?;
    let limit = page.limit as usize;
    let listed = sessions
        .list(&caller, span, limit, page.after.as_ref(), now)
        .await;
    let listed = listed.map_err(problem)?;
    if path != "/voicebot/sessions" {
        return crm.list(listed, LIST, now).await;
    }
    let active = sessions.active(&caller, now).await.map_err(problem)?;
    let keys = crm.keys.get(now).await;
    let next = listed.next.map(|next| keys.seal_cursor(LIST, &next));
    let body = serde_json::json!({"active": active, "items": listed.items, "nextCursor": next});
    json(200, &body)
}
