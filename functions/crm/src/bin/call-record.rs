//! `GET /api/admin/calls/{sid}`: everything known of one call of the account, whoever placed it.

use std::process::ExitCode;

use crm::call_record::{CallRecordDoor, not_found};
use domain::{access::Role, ids::CallSid};
use jiff::Timestamp;
use lambda_kit::{
    config::CorsConfig,
    http::{Problem, Request, Response, json, serve},
    init::run,
};
use services::call_details::{CallRecordView, Source};

fn main() -> ExitCode {
    run(async |boot| {
        let cors = CorsConfig::from_env(boot.settings())?;
        let door = CallRecordDoor::from_boot(&boot)?;
        serve(&cors, |request| {
            Box::pin(handle(&door, request, Timestamp::now()))
        })
        .await
    })
}

pub(crate) async fn handle(
    door: &CallRecordDoor,
    request: Request,
    now: Timestamp,
) -> Result<Response, Problem> {
    let caller = door.crm.caller(&request, now).await?;
    if caller.role == Role::Sales {
        return Err(Problem::forbidden());
    }
    let sid: CallSid = request.path("sid")?;
    let source: Option<Source> = request.query("source")?;
    let refresh: Option<bool> = request.query("refresh")?;
    let exotel = door.exotel(now).await;
    let found = door
        .calls
        .find(
            exotel.as_ref(),
            &sid,
            source.unwrap_or_default(),
            refresh.unwrap_or_default(),
        )
        .await;
    json(
        200,
        &CallRecordView::new(found.map_err(not_found)?, !caller.role.is_admin()),
    )
}
