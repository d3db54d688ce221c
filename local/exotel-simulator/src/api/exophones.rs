//! ExoPhones: `v2_beta` and `v1` `IncomingPhoneNumbers`, `v2` `incoming-phone-numbers` with their health.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;

use super::{Answer, Exchange, Format, Outcome, Refusal, success};
use crate::answer::Node;
use crate::core::{Core, Shared};
use crate::exophones::ExophoneView;
use crate::faults::Operation;
use crate::journal::Params;
use crate::options::Account;

/// Where the page URIs of `v2_beta` point: absolute, and to another host than the one asked.
const PAGE_HOST: &str = "http://twilix.exotel.com";

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2_beta/Accounts/{account}/IncomingPhoneNumbers", get(list_beta))
        .route(
            "/v2_beta/Accounts/{account}/IncomingPhoneNumbers/{sid}",
            get(one_beta),
        )
        .route("/v1/Accounts/{account}/IncomingPhoneNumbers", get(list_v1))
        .route("/v2/accounts/{account}/incoming-phone-numbers", get(list_v2))
        .route("/v2/accounts/{account}/incoming-phone-numbers/{sid}", get(one_v2))
}

async fn list_beta(State(core): State<Shared>, exchange: Exchange) -> Response {
    let answer = async |account: &Account, exchange: &Exchange| beta_page(&core, account, exchange);
    exchange.serve(&core, Operation::ExophoneList, None, answer).await
}

async fn list_v1(State(core): State<Shared>, exchange: Exchange) -> Response {
    let answer = async |account: &Account, exchange: &Exchange| v1_page(&core, account, exchange);
    exchange.serve(&core, Operation::ExophoneList, None, answer).await
}

async fn list_v2(State(core): State<Shared>, exchange: Exchange) -> Response {
    let answer = async |account: &Account, exchange: &Exchange| v2_page(&core, account, exchange);
    exchange.serve(&core, Operation::ExophoneList, None, answer).await
}

async fn one_beta(
    State(core): State<Shared>,
    Path((_, sid)): Path<(String, String)>,
    exchange: Exchange,
) -> Response {
    let answer = async |account: &Account, _: &Exchange| {
        Ok(Answer::ok(Node::Object(
            find(&core, account, &sid, None)?.fields(),
        )))
    };
    exchange
        .serve(&core, Operation::ExophoneDetails, None, answer)
        .await
}

async fn one_v2(
    State(core): State<Shared>,
    Path((_, sid)): Path<(String, String)>,
    exchange: Exchange,
) -> Response {
    let answer = async |account: &Account, exchange: &Exchange| {
        let data = health(&core, &find(&core, account, &sid, Some(10_716))?);
        Ok(if core.options.exophones_at_top {
            Answer::ok(data)
        } else {
            exchange.enveloped(&core, None, success(data))
        })
    };
    exchange
        .serve(&core, Operation::ExophoneDetails, None, answer)
        .await
}

fn find(core: &Core, account: &Account, sid: &str, code: Option<i64>) -> Result<ExophoneView, Refusal> {
    let found = core.read(|state| {
        state
            .exophones_of(&account.sid)
            .find(|exophone| exophone.sid == sid)
            .cloned()
    });
    found.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, code, format!("No ExoPhone with sid {sid}")))
}

/// The number with its connectivity.
fn health(core: &Core, exophone: &ExophoneView) -> Node {
    let mut fields = exophone.fields();
    fields.push(("connectivity", exophone.connectivity(core.now())));
    Node::Object(fields)
}

/// A whole number from the query.
fn whole(params: &Params, name: &str, fallback: usize, most: usize) -> Result<usize, Refusal> {
    match params.get(name).map(str::trim).filter(|value| !value.is_empty()) {
        None => Ok(fallback),
        Some(value) => value
            .parse::<usize>()
            .ok()
            .filter(|number| *number <= most)
            .ok_or_else(|| Refusal::invalid(format!("{name} must be a whole number up to {most}"))),
    }
}

/// A page of the account's ExoPhones by number and size of pages.
struct Page {
    number: usize,
    size: usize,
    total: usize,
    items: Vec<ExophoneView>,
}

impl Page {
    fn of(core: &Core, account: &Account, params: &Params) -> Result<Self, Refusal> {
        let number = whole(params, "Page", 0, usize::MAX)?;
        let size = whole(params, "PageSize", 50, 100)?;
        if size == 0 {
            return Err(Refusal::invalid("PageSize must be a whole number from 1 to 100"));
        }
        let all: Vec<ExophoneView> = core.read(|state| state.exophones_of(&account.sid).cloned().collect());
        let skipped = number.saturating_mul(size);
        Ok(Self {
            number,
            size,
            total: all.len(),
            items: all.into_iter().skip(skipped).take(size).collect(),
        })
    }

    /// The numbers of the pages before and after.
    fn neighbours(&self) -> (Option<usize>, Option<usize>) {
        let behind = self.number.saturating_add(1).saturating_mul(self.size);
        (
            self.number.checked_sub(1),
            (behind < self.total).then(|| self.number + 1),
        )
    }
}

fn count(count: usize) -> Node {
    i64::try_from(count).unwrap_or(i64::MAX).into()
}

fn beta_page(core: &Core, account: &Account, exchange: &Exchange) -> Outcome {
    let page = Page::of(core, account, &exchange.params)?;
    let uri = |number: usize| -> Node {
        let (path, size) = (&exchange.path, page.size);
        format!("{PAGE_HOST}{path}?Page={number}&PageSize={size}").into()
    };
    let (previous, next) = page.neighbours();
    Ok(Answer::ok(Node::Object(vec![
        ("page", count(page.number)),
        ("page_size", count(page.size)),
        ("uri", uri(page.number)),
        ("first_page_uri", uri(0)),
        ("next_page_uri", next.map_or(Node::Null, uri)),
        ("previous_page_uri", previous.map_or(Node::Null, uri)),
        (
            "incoming_phone_numbers",
            Node::List(
                page.items
                    .iter()
                    .map(|exophone| Node::Object(exophone.fields()))
                    .collect(),
            ),
        ),
    ])))
}

fn v1_page(core: &Core, account: &Account, exchange: &Exchange) -> Outcome {
    let page = Page::of(core, account, &exchange.params)?;
    let suffix = match exchange.format {
        Format::Json => ".json",
        Format::Xml => "",
    };
    let uri = |number: usize| -> Node {
        let (path, size) = (&exchange.path, page.size);
        format!("{path}{suffix}?Page={number}&PageSize={size}").into()
    };
    let (previous, next) = page.neighbours();
    let item = |exophone: &ExophoneView| {
        let fields = vec![
            ("Sid", exophone.sid.as_str().into()),
            ("PhoneNumber", exophone.number.as_str().into()),
            ("FriendlyName", exophone.number.as_str().into()),
        ];
        Node::Object(vec![("IncomingPhoneNumber", Node::Object(fields))])
    };
    let metadata = Node::Object(vec![
        ("Total", count(page.total)),
        ("PageSize", count(page.size)),
        ("FirstPageUri", uri(0)),
        ("PrevPageUri", previous.map_or(Node::Null, uri)),
        ("NextPageUri", next.map_or(Node::Null, uri)),
    ]);
    Ok(Answer::ok(Node::Object(vec![
        (
            "IncomingPhoneNumbers",
            Node::List(page.items.iter().map(item).collect()),
        ),
        ("Metadata", metadata),
    ])))
}

/// By `offset` and `limit`, as the other lists of v2 page.
fn v2_page(core: &Core, account: &Account, exchange: &Exchange) -> Outcome {
    let offset = whole(&exchange.params, "offset", 0, usize::MAX)?;
    let limit = whole(&exchange.params, "limit", 50, 50)?;
    let all: Vec<ExophoneView> = core.read(|state| state.exophones_of(&account.sid).cloned().collect());
    let page: Vec<Node> = all
        .iter()
        .skip(offset)
        .take(limit)
        .map(|exophone| health(core, exophone))
        .collect();
    if core.options.exophones_at_top {
        return Ok(Answer::ok(Node::List(page)));
    }
    let metadata = Node::Object(vec![
        ("total", count(all.len())),
        ("count", count(page.len())),
        ("offset", count(offset)),
        ("limit", count(limit)),
    ]);
    let items = Node::List(page.into_iter().map(success).collect());
    Ok(exchange.enveloped(core, Some(metadata), items))
}
