//! `/api/v1/integrations/exotel`: Exotel's credentials, the team's numbers, and test calls.

use std::process::ExitCode;

use crm::{
    integrations::{IntegrationsDoor, admit},
    problem,
};
use domain::{access::Role, ids::DidId};
use lambda_kit::{
    config::CorsConfig,
    http::{Problem, Request, Response, empty, json, serve},
    init::run,
};

fn main() -> ExitCode {
    run(async |boot| {
        let cors = CorsConfig::from_env(boot.settings())?;
        let door = IntegrationsDoor::from_boot(&boot)?;
        serve(&cors, |request| Box::pin(handle(&door, request))).await
    })
}

pub(crate) async fn handle(door: &IntegrationsDoor, request: Request) -> Result<Response, Problem> {
    let now = door.outbound.now();
    let caller = door.crm.caller(&request, now).await?;
    let route = request.route();
    let behind = route
        .path
        .strip_prefix("/api/v1/integrations/exotel")
        .unwrap_or_default();
    let tried_out = behind.contains("test-call");
    // Before the body is looked at: what is wrong with it is none of their business.
    admit(&caller, if tried_out { Role::Admin } else { Role::SuperAdmin })?;
    let did = || request.path::<DidId>("did_id");
    match (route.method, behind) {
        ("GET", "") => json(200, &door.integration(now).await?),
        ("PUT", "") => {
            door.put_credentials(request.json()?, now).await?;
            json(200, &door.integration(now).await?)
        }
        ("POST", "/dids") => {
            let added = door.dids.add(&request.json()?, now, door.outbound.random()).await;
            json(201, &door.view(&added.map_err(problem)?))
        }
        ("PUT", "/dids/{did_id}") => {
            let changed = door.dids.change(&did()?, &request.json()?).await;
            json(200, &door.view(&changed.map_err(problem)?))
        }
        ("DELETE", "/dids/{did_id}") => {
            door.dids.remove(&did()?).await.map_err(problem)?;
            empty(204)
        }
        ("GET", "/test-call-options") => json(200, &door.test_call_options(now).await?),
        ("POST", "/dids/{did_id}/test-call") => {
            let did = door.dids.get(&did()?).await.map_err(problem)?;
            door.test_call(&caller, &request, &did, now).await
        }
        _ => Err(Problem::not_found()),
    }
}
