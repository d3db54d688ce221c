//! `Sms/send`, `Sms/bulksend` and `SMS/Messages/{sid}` (the case differs within the product).

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{any, get, post};
use http::StatusCode;

use super::{Answer, Content, Exchange, Outcome, Refusal};
use crate::answer::Node;
use crate::core::Shared;
use crate::faults::{ApiFault, Operation};
use crate::journal::Params;
use crate::messages::{self, Message, QUEUED};
use crate::options::Account;
use crate::phone::Number;

/// The most numbers or messages in one bulk request.
const MAX_BULK: usize = 100;
/// A longer text is accepted and fails with 23070.
const MAX_BODY_CHARS: usize = 2_000;
/// `FAILED_INVALID_MESSAGE`.
const INVALID_MESSAGE: u32 = 23_070;
/// `DELIVERED_TO_HANDSET`.
const DELIVERED: u32 = 20_005;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/Accounts/{account}/Sms/send", post(send))
        .route("/v1/Accounts/{account}/Sms/bulksend", post(bulk_send))
        .route("/v1/Accounts/{account}/Sms/{*unknown}", any(unknown))
        .route("/v1/Accounts/{account}/SMS/Messages/{sid}", get(details))
}

async fn send(State(core): State<Shared>, exchange: Exchange) -> Response {
    let lead = match destinations(&exchange.params) {
        Destinations::One(to) => Some(to),
        _ => None,
    };
    let accept = async |account: &Account, exchange: &Exchange| accept(&core, account, exchange);
    exchange
        .serve(&core, Operation::SmsSend, lead.as_deref(), accept)
        .await
}

async fn bulk_send(State(core): State<Shared>, exchange: Exchange) -> Response {
    let accept = async |account: &Account, exchange: &Exchange| accept_bulk(&core, account, exchange);
    exchange.serve(&core, Operation::SmsSend, None, accept).await
}

async fn details(
    State(core): State<Shared>,
    Path((_, sid)): Path<(String, String)>,
    exchange: Exchange,
) -> Response {
    let show = async |account: &Account, _: &Exchange| {
        let found = core.read(|state| {
            state
                .messages
                .get(&sid)
                .filter(|found| found.account == account.sid)
                .cloned()
        });
        Ok(match found {
            Some(message) => Answer::ok(Node::Object(vec![("SMSMessage", message.node())])),
            // Not 404.
            None => Answer {
                status: StatusCode::OK,
                content: Content::Text("No matching results"),
                sid: None,
            },
        })
    };
    exchange.serve(&core, Operation::SmsDetails, None, show).await
}

async fn unknown(State(core): State<Shared>, exchange: Exchange) -> Response {
    let refusal = refuse(
        StatusCode::METHOD_NOT_ALLOWED,
        40_502,
        "This SMS endpoint does not exist",
    );
    exchange
        .serve(&core, Operation::Other, None, async |_, _| Err(refusal))
        .await
}

fn refuse(status: StatusCode, code: i64, message: impl Into<String>) -> Refusal {
    Refusal::new(status, Some(code), message)
}

fn bad(code: i64, message: impl Into<String>) -> Refusal {
    refuse(StatusCode::BAD_REQUEST, code, message)
}

/// Whom a `Sms/send` is for.
#[derive(Debug, PartialEq, Eq)]
enum Destinations {
    /// `To`: one message, one object in the answer.
    One(String),
    /// `To[0]`, `To[]` or a list with commas: a static bulk.
    Many(Vec<String>),
    /// No `To`.
    None,
}

fn destinations(params: &Params) -> Destinations {
    let listed = params
        .0
        .iter()
        .filter(|(name, _)| name.starts_with("To["))
        .map(|(_, value)| value.clone());
    let listed: Vec<String> = listed.collect();
    match params.get("To").map(str::trim).filter(|to| !to.is_empty()) {
        Some(to) if listed.is_empty() && !to.contains(',') => Destinations::One(to.to_owned()),
        Some(to) => Destinations::Many(
            to.split(',')
                .map(|to| to.trim().to_owned())
                .chain(listed)
                .collect(),
        ),
        None if listed.is_empty() => Destinations::None,
        None => Destinations::Many(listed),
    }
}

/// What all messages of a request have in common.
#[derive(Debug, Clone)]
struct Common {
    from: Option<String>,
    sms_type: Option<String>,
    encoding: Option<String>,
    custom_field: Option<String>,
    callback: Option<String>,
}

impl Common {
    fn read(params: &Params) -> Self {
        let given = |name: &str| params.get(name).map(|value| value.trim().to_owned());
        Self {
            from: given("From"),
            sms_type: given("SmsType").filter(|value| !value.is_empty()),
            encoding: given("EncodingType").filter(|value| !value.is_empty()),
            custom_field: given("CustomField").filter(|value| !value.is_empty()),
            callback: given("StatusCallback").filter(|value| !value.is_empty()),
        }
    }

    /// The sender, if everything here is right.
    fn check(&self, account: &Account) -> Result<String, Refusal> {
        let from = match self.from.as_deref() {
            None => return Err(bad(40_210, "From is missing")),
            Some("") => return Err(bad(40_205, "From is empty")),
            Some(from) => from,
        };
        let sms_type = self.sms_type.as_deref();
        if sms_type
            .is_some_and(|kind| !matches!(kind, "transactional" | "transactional_opt_in" | "promotional"))
        {
            return Err(bad(
                40_204,
                "SmsType must be transactional, transactional_opt_in or promotional",
            ));
        }
        if self
            .encoding
            .as_deref()
            .is_some_and(|encoding| !matches!(encoding, "plain" | "unicode"))
        {
            return Err(bad(40_209, "EncodingType must be plain or unicode"));
        }
        let letters = from.len() == 6 && from.chars().all(|c| c.is_ascii_alphabetic());
        let digits = from.len() == 6 && from.chars().all(|c| c.is_ascii_digit());
        let number = Number::parse(from);
        if !letters && !digits && number.is_none() {
            return Err(bad(40_206, "From is neither an ExoPhone nor a sender id"));
        }
        if (letters && sms_type == Some("promotional"))
            || (digits && sms_type.is_some_and(|kind| kind != "promotional"))
        {
            return Err(bad(40_206, "From does not fit SmsType"));
        }
        let own_header = account.sender_ids.is_empty() || account.sender_ids.iter().any(|own| own == from);
        let own_number =
            account.exophones.is_empty() || account.exophones.iter().any(|own| Number::parse(own) == number);
        let own = if number.is_some() { own_number } else { own_header };
        match (own, sms_type) {
            (true, _) => Ok(number.map_or_else(|| from.to_owned(), |number| number.to_string())),
            (false, Some("promotional")) => Err(bad(40_300, "No promotional sender id for this account")),
            (false, _) => Err(bad(40_301, "No transactional sender id for this account")),
        }
    }
}

fn text(body: Option<&str>) -> Result<String, Refusal> {
    body.filter(|body| !body.is_empty())
        .map(str::to_owned)
        .ok_or_else(|| bad(40_202, "Body is missing or empty"))
}

fn accept(core: &Shared, account: &Account, exchange: &Exchange) -> Outcome {
    if exchange.empty_body {
        return Err(bad(40_200, "The request body is empty"));
    }
    let params = &exchange.params;
    // Only `To` may be a list.
    if let Some((name, _)) = params.0.iter().find(|(name, _)| {
        ["From[", "Body[", "SmsType[", "EncodingType["]
            .iter()
            .any(|array| name.starts_with(array))
    }) {
        return Err(bad(
            40_207,
            format!("{name}: an array was given where a string is expected"),
        ));
    }
    let common = Common::read(params);
    let from = common.check(account)?;
    let body = text(params.get("Body"))?;
    match destinations(params) {
        Destinations::None => Err(bad(40_203, "To is missing")),
        Destinations::One(to) => {
            let to =
                Number::parse(&to).ok_or_else(|| bad(40_203, "All the destination numbers are invalid"))?;
            let message = queue(core, account, &common, from, to, body);
            let tree = Node::Object(vec![("SMSMessage", message.node())]);
            Ok(Answer {
                sid: Some(message.sid),
                ..Answer::ok(tree)
            })
        }
        Destinations::Many(all) if all.len() > MAX_BULK => Err(bad(
            40_406,
            format!("{} numbers; {MAX_BULK} are possible in one request", all.len()),
        )),
        Destinations::Many(all) => {
            let items = all.into_iter().map(|to| Item {
                to,
                body: body.clone(),
                common: common.clone(),
            });
            many(core, account, items.collect())
        }
    }
}

/// One message of a bulk request.
#[derive(Debug)]
struct Item {
    to: String,
    body: String,
    common: Common,
}

fn accept_bulk(core: &Shared, account: &Account, exchange: &Exchange) -> Outcome {
    if exchange.empty_body {
        return Err(bad(40_200, "The request body is empty"));
    }
    let params = &exchange.params;
    // `Messages[0][To]`, as the error codes name it; `Message[0][To]` and `sms[0][To]` are in use too.
    let mut rows: BTreeMap<usize, Params> = BTreeMap::new();
    for (name, value) in &params.0 {
        let Some((array, rest)) = name.split_once('[') else {
            continue;
        };
        if !matches!(array, "Messages" | "Message" | "sms") {
            continue;
        }
        let parsed = rest
            .split_once("][")
            .and_then(|(at, field)| Some((at.parse().ok()?, field.strip_suffix(']')?)));
        let Some((at, field)) = parsed else {
            return Err(bad(40_208, "Messages is not an array of messages"));
        };
        rows.entry(at)
            .or_default()
            .0
            .push((field.to_owned(), value.clone()));
    }
    if rows.is_empty() {
        let scalar = ["Messages", "Message", "sms"]
            .iter()
            .any(|name| params.get(name).is_some());
        return Err(if scalar {
            bad(40_208, "Messages is not an array")
        } else {
            bad(40_201, "Messages is missing")
        });
    }
    if rows.len() > MAX_BULK {
        return Err(bad(
            40_400,
            format!("{} messages; {MAX_BULK} are possible in one request", rows.len()),
        ));
    }
    let shared = Common::read(params);
    let mut items = Vec::new();
    for row in rows.into_values() {
        let own = Common::read(&row);
        let common = Common {
            from: own.from.or_else(|| shared.from.clone()),
            sms_type: own.sms_type.or_else(|| shared.sms_type.clone()),
            encoding: own.encoding.or_else(|| shared.encoding.clone()),
            custom_field: own.custom_field.or_else(|| shared.custom_field.clone()),
            callback: own.callback.or_else(|| shared.callback.clone()),
        };
        common.check(account)?;
        let body = row.get("Body").or(params.get("Body"));
        items.push(Item {
            to: row.get("To").unwrap_or_default().to_owned(),
            body: text(body)?,
            common,
        });
    }
    many(core, account, items)
}

/// 207 and an array: a message or, where one cannot be sent, a refusal in its place.
fn many(core: &Shared, account: &Account, items: Vec<Item>) -> Outcome {
    if items.iter().all(|item| Number::parse(&item.to).is_none()) {
        return Err(bad(40_203, "All the destination numbers are invalid"));
    }
    let mut tree = Vec::new();
    for item in items {
        tree.push(match one_of_many(core, account, item) {
            Ok(message) => Node::Object(vec![("SMSMessage", message.node())]),
            Err(refusal) => refusal.tree(),
        });
    }
    Ok(Answer {
        status: StatusCode::MULTI_STATUS,
        ..Answer::ok(Node::List(tree))
    })
}

fn one_of_many(core: &Shared, account: &Account, item: Item) -> Result<Message, Refusal> {
    let to = Number::parse(&item.to).ok_or_else(|| bad(40_203, "The destination number is invalid"))?;
    let fault = core.peek_api_fault(&to).filter(|fault| *fault != ApiFault::Ndnc);
    if let Some(refusal) =
        fault.and_then(|fault| Refusal::of_fault(fault, Operation::SmsSend, Some(&item.to)))
    {
        core.spend_script(&to);
        return Err(refusal);
    }
    let from = item.common.check(account)?;
    Ok(queue(core, account, &item.common, from, to, item.body))
}

fn queue(
    core: &Shared,
    account: &Account,
    common: &Common,
    from: String,
    to: Number,
    body: String,
) -> Message {
    let script = core.take_script(&to);
    let (sid, nth) = core.new_sid("sms", &to);
    let too_long = body.chars().count() > MAX_BODY_CHARS;
    let now = core.now();
    let message = Message {
        sid: sid.clone(),
        account: account.sid.clone(),
        from,
        body,
        created: now,
        updated: now,
        sent: None,
        code: QUEUED,
        custom_field: common.custom_field.clone(),
        callback: common.callback.clone(),
        final_code: if too_long {
            INVALID_MESSAGE
        } else {
            script.sms.code.unwrap_or(DELIVERED)
        },
        step_ms: script.sms.step_ms.unwrap_or(core.options.timings.sms_step_ms),
        callbacks: script.callbacks,
        nth,
        to,
    };
    tracing::info!(sms.sid = %sid, "accepted a message to {}", message.to.masked());
    core.change(|state| state.messages.insert(sid.clone(), message.clone()));
    messages::start(core, sid);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params(
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn a_list_of_one_is_still_a_bulk() {
        assert_eq!(
            destinations(&params(&[("To", "1")])),
            Destinations::One("1".into())
        );
        assert_eq!(
            destinations(&params(&[("To[0]", "1")])),
            Destinations::Many(vec!["1".into()])
        );
        assert_eq!(
            destinations(&params(&[("To", "1, 2")])),
            Destinations::Many(vec!["1".into(), "2".into()])
        );
        assert_eq!(destinations(&params(&[("To", " ")])), Destinations::None);
    }

    #[test]
    fn a_header_of_letters_is_not_for_promotion() {
        let account = Account::new("acme1", "k", "t");
        let check = |from: &str, kind: &str| {
            let common = Common::read(&params(&[("From", from), ("SmsType", kind)]));
            common.check(&account).map_err(|refusal| refusal.code)
        };
        assert!(check("ACMEIN", "transactional").is_ok());
        assert!(check("600123", "promotional").is_ok());
        assert_eq!(check("ACMEIN", "promotional"), Err(Some(40_206)));
        assert_eq!(check("600123", "transactional"), Err(Some(40_206)));
        assert_eq!(check("ACMEIN", "flash"), Err(Some(40_204)));
        assert_eq!(check("", "promotional"), Err(Some(40_205)));
    }
}
