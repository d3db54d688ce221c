//! `Numbers/{number}`: circle, operator, DND.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;

use super::{Answer, Exchange, Outcome, Refusal};
use crate::answer::Node;
use crate::core::Shared;
use crate::faults::Operation;
use crate::options::Account;
use crate::phone::Number;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/v1/Accounts/{account}/Numbers/{number}", get(metadata))
}

async fn metadata(
    State(core): State<Shared>,
    Path((_, number)): Path<(String, String)>,
    exchange: Exchange,
) -> Response {
    exchange
        .serve(
            &core,
            Operation::Numbers,
            None,
            async |_: &Account, _: &Exchange| describe(&number),
        )
        .await
}

fn describe(number: &str) -> Outcome {
    let number = Number::parse(number).ok_or_else(|| Refusal::invalid("The phone number is not valid"))?;
    // Mobile numbers begin with 6 to 9; so does Bengaluru's 080, where ExoPhones like to live.
    let mobile = number
        .as_str()
        .strip_prefix('0')
        .is_some_and(|rest| rest.starts_with(['6', '7', '8', '9']) && !rest.starts_with("80"));
    // The suffix that voice refuses for NDNC is the one on the registry.
    let dnd = if number.ends_with("0011") { "Yes" } else { "No" };
    let fields = vec![
        ("PhoneNumber", number.as_str().into()),
        ("Circle", "KA".into()),
        ("CircleName", "Karnataka Telecom Circle".into()),
        ("Type", if mobile { "Mobile" } else { "Landline" }.into()),
        ("Operator", "A".into()),
        ("OperatorName", "Airtel".into()),
        ("DND", dnd.into()),
    ];
    Ok(Answer::ok(Node::Object(vec![("Numbers", Node::Object(fields))])))
}
