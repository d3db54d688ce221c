//! `GET …/exotel-status`: whether calls and messages can be sent, and which phone rings first.

use std::process::ExitCode;

use crm::{Crm, problem};
use domain::phone::PhoneNumber;
use jiff::Timestamp;
use lambda_kit::{
    config::CorsConfig,
    http::{Problem, Request, Response, json, serve},
    init::run,
};
use serde::Serialize;

fn main() -> ExitCode {
    run(async |boot| {
        let cors = CorsConfig::from_env(boot.settings())?;
        let crm = Crm::from_boot(&boot)?;
        serve(&cors, |request| handle(&crm, request, Timestamp::now())).await
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    enabled: bool,
    my_phone: Option<PhoneNumber>,
}

pub(crate) async fn handle(crm: &Crm, request: Request, now: Timestamp) -> Result<Response, Problem> {
    let caller = crm.caller(&request, now).await?;
    let status = Status {
        enabled: crm.exotel.get(now).await.is_some(),
        my_phone: crm.directory().my_phone(&caller).await.map_err(problem)?,
    };
    json(200, &status)
}
