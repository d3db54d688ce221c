//! The proxy against real servers on loopback, reached through a resolver that the tests control, and as the
//! function itself.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod calls;
mod fetching;
mod hostile;
mod internet;
mod proxying;
mod running;

use domain::ids::CallLocator;
use jiff::Timestamp;
use lambda_kit::{
    capability::{RecordingTicket, SigningKeys},
    http::Request,
};
use serde_json::{Value, json};

const SIGNING_KEY: &str = "0123456789abcdef0123456789abcdef";

fn keys() -> SigningKeys {
    SigningKeys::new(&SIGNING_KEY.to_owned().into(), None)
}

/// What `recording-link` hands out.
fn ticket(call: CallLocator, now: Timestamp) -> String {
    RecordingTicket::new(call, "user-1".parse().unwrap(), now).seal(&keys())
}

/// The example event with this method and ticket, asking for `bytes=0-`.
fn event(method: &str, ticket: &str) -> Value {
    let mut event: Value =
        serde_json::from_str(include_str!("../../../../events/recording-proxy.range.json")).unwrap();
    event["requestContext"]["http"]["method"] = json!(method);
    event["rawQueryString"] = json!(format!("ticket={ticket}"));
    event["queryStringParameters"] = json!({ "ticket": ticket });
    event
}

fn request(method: &str, ticket: &str) -> Request {
    Request::from_event(&event(method, ticket).to_string()).unwrap()
}
