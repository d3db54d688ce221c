//! `ActiveStreams`: how many streams an account has, and may have.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::{Answer, Exchange, Format, Outcome};
use crate::answer::Node;
use crate::core::{Core, Shared};
use crate::faults::Operation;
use crate::options::Account;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/v1/Accounts/{account}/ActiveStreams", get(active))
}

async fn active(State(core): State<Shared>, exchange: Exchange) -> Response {
    let answer = async |account: &Account, exchange: &Exchange| count(&core, account, exchange.format);
    exchange
        .serve(&core, Operation::ActiveStreams, None, answer)
        .await
}

/// XML and JSON differ: the newest document has XML only, an older one JSON of another shape.
fn count(core: &Core, account: &Account, format: Format) -> Outcome {
    let whole = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let active = whole(core.active_streams(&account.sid));
    let most = whole(core.options.max_streams);
    let fields = if format == Format::Json && !core.options.active_streams_as_tree {
        vec![
            ("status", "success".into()),
            ("active_streams", active.into()),
            ("max_allowed_streams", most.into()),
            ("account_sid", account.sid.as_str().into()),
        ]
    } else {
        let stream = vec![
            ("ActiveStreamCount", active.into()),
            ("ThrottleLimit", most.into()),
        ];
        vec![("Stream", Node::Object(stream))]
    };
    Ok(Answer::ok(Node::Object(fields)))
}
