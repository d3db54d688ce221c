//! v2 and v3 calls (CCM), on the same port as v1.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;

use super::calls::{Wish, accept};
use super::{Answer, Exchange, Outcome, Refusal};
use crate::answer::Node;
use crate::calls::Call;
use crate::ccm::{self, CcmCall};
use crate::core::{Core, Shared};
use crate::faults::Operation;
use crate::journal::Params;
use crate::options::{Account, CcmDetails, CcmUser};
use crate::phone::Number;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2/accounts/{account}/calls", post(make))
        .route("/v2/accounts/{account}/calls/{sid}", get(details_v2))
        .route("/v3/accounts/{account}/calls/{sid}", get(details_v3))
}

async fn make(State(core): State<Shared>, exchange: Exchange) -> Response {
    let lead = to(&exchange.params).map(str::to_owned);
    let make = async |account: &Account, exchange: &Exchange| place(&core, account, exchange);
    exchange.serve(&core, Operation::Ccm, lead.as_deref(), make).await
}

async fn details_v2(
    State(core): State<Shared>,
    Path((_, sid)): Path<(String, String)>,
    exchange: Exchange,
) -> Response {
    let answer = async |account: &Account, exchange: &Exchange| {
        let call = find(&core, account, &sid)?;
        match &call.ccm {
            Some(made) => Ok(details(&core, exchange, ccm::v2_details(&call, made))),
            None => Err(unknown(&sid)),
        }
    };
    exchange.serve(&core, Operation::Ccm, None, answer).await
}

async fn details_v3(
    State(core): State<Shared>,
    Path((_, sid)): Path<(String, String)>,
    exchange: Exchange,
) -> Response {
    let answer = async |account: &Account, exchange: &Exchange| {
        let call = find(&core, account, &sid)?;
        Ok(details(&core, exchange, ccm::v3_details(&call)))
    };
    exchange.serve(&core, Operation::Ccm, None, answer).await
}

fn unknown(sid: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, None, format!("No call with sid {sid}"))
}

fn find(core: &Core, account: &Account, sid: &str) -> Result<Call, Refusal> {
    let found = core.read(|state| {
        state
            .calls
            .get(sid)
            .filter(|call| call.account == account.sid)
            .cloned()
    });
    found.ok_or_else(|| unknown(sid))
}

/// The details where the options want them.
fn details(core: &Core, exchange: &Exchange, details: Vec<(&'static str, Node)>) -> Answer {
    let ok = i64::from(StatusCode::OK.as_u16());
    let mut outer: Vec<(&'static str, Node)> = vec![
        ("code", ok.into()),
        ("error_data", Node::Null),
        ("status", "success".into()),
    ];
    match core.options.ccm_details {
        CcmDetails::CallDetails => {
            outer.push(("call_details", Node::Object(details)));
            exchange.enveloped(core, None, Node::Object(outer))
        }
        CcmDetails::Response => {
            // v3's `status` is the call's; no name may come twice.
            outer.retain(|(name, _)| details.iter().all(|(other, _)| other != name));
            outer.extend(details);
            exchange.enveloped(core, None, Node::Object(outer))
        }
        CcmDetails::TopLevel => {
            let mut fields = exchange.envelope(core, StatusCode::OK);
            fields.extend(details);
            Answer::ok(Node::Object(fields))
        }
    }
}

/// Whom the call is for, in either spelling.
fn to(params: &Params) -> Option<&str> {
    given(params, "to[customer_contact_uri]").or_else(|| given(params, "to[number]"))
}

fn given<'a>(params: &'a Params, name: &str) -> Option<&'a str> {
    params.get(name).map(str::trim).filter(|value| !value.is_empty())
}

fn missing(name: &str) -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        Some(1_001),
        format!("{name} is mandatory"),
    )
}

fn invalid(what: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, Some(1_002), what)
}

fn place(core: &Shared, account: &Account, exchange: &Exchange) -> Outcome {
    let wish = read(core, account, &exchange.params)?;
    let call = accept(core, account, wish);
    let sid = call.sid.clone();
    let fields = match &call.ccm {
        // What is known when a call is made; the rest comes with the details.
        Some(made) => ccm::v2_details(&call, made)
            .into_iter()
            .filter(|(name, _)| {
                matches!(
                    *name,
                    "call_sid"
                        | "direction"
                        | "virtual_number"
                        | "call_state"
                        | "call_status"
                        | "assigned_agent_details"
                        | "customer_details"
                        | "created_time"
                )
            })
            .collect(),
        None => Vec::new(),
    };
    Ok(Answer {
        sid: Some(sid),
        ..details(core, exchange, fields)
    })
}

/// The co-worker who is rung first.
fn user(core: &Core, params: &Params) -> Result<CcmUser, Refusal> {
    let not_found = |what: &str| {
        Refusal::new(
            StatusCode::NOT_FOUND,
            Some(10_731),
            format!("No user with {what}"),
        )
    };
    let users = &core.options.ccm_users;
    if let Some(id) = given(params, "from[user_id]") {
        let found = users.iter().find(|user| user.id == id).cloned();
        return found.ok_or_else(|| not_found("this user_id"));
    }
    let uri = given(params, "from[user_contact_uri]").ok_or_else(|| missing("from"))?;
    let number =
        Number::parse(uri).ok_or_else(|| invalid("from.user_contact_uri is no number and no sip address"))?;
    let first = users
        .iter()
        .find(|user| Number::parse(&user.contact_uri).as_ref() == Some(&number));
    match first {
        Some(user) => Ok(user.clone()),
        None if users.is_empty() => {
            let hex = core.dice.signature(&format!("user {number}"));
            let id = format!(
                "{}-{}-{}-{}-{}",
                &hex[..8],
                &hex[8..12],
                &hex[12..16],
                &hex[16..20],
                &hex[20..32]
            );
            Ok(CcmUser {
                id,
                name: None,
                contact_uri: uri.to_owned(),
            })
        }
        None => Err(not_found("this contact_uri")),
    }
}

fn read(core: &Core, account: &Account, params: &Params) -> Result<Wish, Refusal> {
    let user = user(core, params)?;
    let from =
        Number::parse(&user.contact_uri).ok_or_else(|| invalid("from has no number that can be rung"))?;
    let to = to(params).ok_or_else(|| missing("to"))?;
    let to = Number::parse(to).ok_or_else(|| invalid("to is no valid phone number"))?;
    let virtual_number = given(params, "virtual_number").ok_or_else(|| missing("virtual_number"))?;
    let exophone =
        Number::parse(virtual_number).ok_or_else(|| invalid("virtual_number is no valid phone number"))?;
    if !account.owns(&exophone) {
        return Err(Refusal::new(
            StatusCode::NOT_FOUND,
            Some(10_716),
            "virtual_number was not found in this account",
        ));
    }
    let flag = |name: &str| match given(params, name) {
        None => Ok(false),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(_) => Err(invalid(format!("{name} must be true or false"))),
    };
    let secs = |name: &str| match given(params, name).map(str::parse::<u64>) {
        None => Ok(None),
        Some(Ok(secs)) if secs > 0 => Ok(Some(secs.saturating_mul(1_000))),
        Some(_) => Err(invalid(format!("{name} must be a whole number of seconds"))),
    };
    let dual = match given(params, "recording_channels") {
        None | Some("single") => false,
        Some("dual") => true,
        Some(_) => return Err(invalid("recording_channels must be single or dual")),
    };
    Ok(Wish {
        from,
        to: Some(to),
        exophone,
        flow_id: None,
        stream_url: None,
        record: flag("recording")?,
        dual,
        custom_field: given(params, "custom_field").map(str::to_owned),
        callback: None,
        ccm: Some(CcmCall {
            user_id: user.id,
            user_name: user.name,
            callbacks: callbacks(params)?,
        }),
        time_limit_ms: secs("max_time_limit")?,
        time_out_ms: secs("attempt_time_out")?,
    })
}

/// `status_callback`: an array of event and URL.
fn callbacks(params: &Params) -> Result<Vec<(String, String)>, Refusal> {
    let mut callbacks = Vec::new();
    for at in 0.. {
        let field = |name: &str| given(params, &format!("status_callback[{at}][{name}]")).map(str::to_owned);
        match (field("event"), field("url")) {
            (None, None) => break,
            (Some(event), Some(url)) => {
                if !matches!(event.as_str(), "answered" | "terminal") {
                    return Err(invalid("status_callback.event must be answered or terminal"));
                }
                if !url::Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
                    return Err(invalid("status_callback.url is not a valid URL"));
                }
                callbacks.push((event, url));
            }
            _ => return Err(missing("status_callback.event and status_callback.url")),
        }
    }
    Ok(callbacks)
}
