//! `GET …/{id}/calls/{callId}/recording`: a short-lived ticket for the streaming function.

use std::process::ExitCode;

use crm::{Crm, problem};
use domain::ids::CallId;
use jiff::Timestamp;
use lambda_kit::{
    capability::RecordingTicket,
    config::{CorsConfig, Origin, PublicUrls},
    http::{Problem, Request, Response, json, redirect, serve},
    init::run,
};
use serde::Serialize;
use services::recordings::{Recording, recording_of};

fn main() -> ExitCode {
    run(async |boot| {
        let cors = CorsConfig::from_env(boot.settings())?;
        let crm = Crm::from_boot(&boot)?;
        let proxy = PublicUrls::from_env(boot.settings())?.recordings()?.clone();
        serve(&cors, |request| handle(&crm, &proxy, request, Timestamp::now())).await
    })
}

/// For `<audio>` elements, which send no token when they follow a redirect.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    url: String,
    expires_at: Timestamp,
}

pub(crate) async fn handle(
    crm: &Crm,
    proxy: &Origin,
    request: Request,
    now: Timestamp,
) -> Result<Response, Problem> {
    let (caller, lead) = crm.caller_and_lead(&request, now).await?;
    let call: CallId = request.path("callId")?;
    let call = match recording_of(&crm.table, &lead.id, &call).await.map_err(problem)? {
        Recording::Of(call) => call,
        Recording::NotYet => {
            let detail = "The call is not over, or its recording is not ready; ask again in a minute.";
            return Err(Problem::new(404, "recording_not_ready", detail).retry_after(60));
        }
        Recording::None => return Err(Problem::not_found()),
    };
    let ticket = RecordingTicket::new(call, caller.user_id, now);
    let url = format!(
        "{}/?ticket={}",
        proxy.as_str(),
        ticket.seal(&*crm.keys.get(now).await)
    );
    match request.query::<String>("link")?.as_deref() {
        Some("1") => json(
            200,
            &Link {
                url,
                expires_at: ticket.expires_at,
            },
        ),
        _ => redirect(&url),
    }
}
