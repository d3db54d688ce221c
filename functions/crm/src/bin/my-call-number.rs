//! `PATCH …/my-call-number`: the phone that rings first when the caller clicks.

use std::process::ExitCode;

use crm::{Crm, problem};
use jiff::Timestamp;
use lambda_kit::{
    config::CorsConfig,
    http::{Problem, Request, Response, json, serve},
    init::run,
};
use serde::{Deserialize, Serialize};

fn main() -> ExitCode {
    run(async |boot| {
        let cors = CorsConfig::from_env(boot.settings())?;
        let crm = Crm::from_boot(&boot)?;
        serve(&cors, |request| handle(&crm, request, Timestamp::now())).await
    })
}

#[derive(Deserialize, Serialize)]
struct Phone {
    phone: String,
}

pub(crate) async fn handle(crm: &Crm, request: Request, now: Timestamp) -> Result<Response, Problem> {
    let caller = crm.caller(&request, now).await?;
    let wanted: Phone = request.json()?;
    let phone = crm.directory().set_my_phone(&caller, &wanted.phone).await;
    let phone = phone.map_err(problem)?.to_string();
    json(200, &Phone { phone })
}
