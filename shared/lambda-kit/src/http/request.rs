//! Requests: what a handler asks of one, each answer checked.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    str::FromStr,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::access::Role;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, de::DeserializeOwned};

use super::Problem;
use crate::{Error, capability::SigningKeys};

/// The longest body of our own JSON routes: an order of magnitude more than the longest SMS or note.
const JSON_LIMIT_BYTES: usize = 64 * 1024;
/// Items on a page when `?limit=` is not given, and at most.
const PAGE_ITEMS: u32 = 25;
const PAGE_ITEMS_MOST: u32 = 100;

/// The two families of CRM routes (spec 1.2): one handler serves both, each has its roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `/api/admin/raw-leads…`: `ADMIN`, `SUPERADMIN`, `SALES_HEAD`.
    Admin,
    /// `/api/sales/crm…`: those and `SALES`.
    Sales,
    /// Any other route; the handler itself says who may.
    Other,
}

impl Family {
    /// Whether the family's rule lets the role in.
    pub fn admits(self, role: Role) -> bool {
        self != Family::Admin || role != Role::Sales
    }
}

/// Which route of the API was matched: the family and what follows its prefix, with API Gateway's names for the
/// variable parts (`/{id}/exotel-call`), so that a handler matches on `(method, path)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route<'a> {
    /// The family.
    pub family: Family,
    /// The method, upper case.
    pub method: &'a str,
    /// The path behind the family's prefix, starting with `/` or empty; the whole path outside the families.
    pub path: &'a str,
}

/// One page of a list, as asked for by `?limit=` and `?cursor=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// Items on the page, 1 to 100.
    pub limit: u32,
    /// Where the page before ended; `None` for the first page.
    pub after: Option<T>,
}

/// The caller's name for one effect (spec 1.9): 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        if (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err("it must be 1 to 255 visible ASCII characters")
        }
    }
}

/// An event of payload format 2.0, as far as we read it. `lambda_http` has types for it, and panics on a query or
/// path that is no URI (`?a="`), which anybody can send.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(default)]
    route_key: Option<String>,
    #[serde(default)]
    raw_path: String,
    #[serde(default)]
    raw_query_string: String,
    #[serde(default)]
    headers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    path_parameters: Option<BTreeMap<String, String>>,
    request_context: RequestContext,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Deserialize)]
struct RequestContext {
    http: HttpContext,
}

#[derive(Deserialize)]
struct HttpContext {
    method: String,
}

/// A request from API Gateway's HTTP API or a Function URL. Its `Debug` shows no body, header or query: they hold
/// people's numbers and tokens.
#[derive(Deserialize)]
#[serde(from = "Event")]
pub struct Request {
    id: String,
    method: String,
    route_key: Option<String>,
    raw_path: String,
    raw_query: String,
    headers: HeaderMap,
    path_parameters: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl From<Event> for Request {
    fn from(event: Event) -> Self {
        let header = |(name, value): (String, String)| {
            Some((
                HeaderName::try_from(name).ok()?,
                HeaderValue::try_from(value).ok()?,
            ))
        };
        let text = event.body.unwrap_or_default();
        let decoded = if event.is_base64_encoded {
            STANDARD.decode(&text).ok()
        } else {
            None
        };
        Self {
            id: "-".to_owned(),
            method: event.request_context.http.method.to_ascii_uppercase(),
            route_key: event.route_key,
            raw_path: event.raw_path,
            raw_query: event.raw_query_string,
            headers: event
                .headers
                .unwrap_or_default()
                .into_iter()
                .filter_map(header)
                .collect(),
            path_parameters: event.path_parameters.unwrap_or_default(),
            body: decoded.unwrap_or_else(|| text.into_bytes()),
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("id", &self.id)
            .field("route", &self.route())
            .finish_non_exhaustive()
    }
}

impl Request {
    /// A request from an event's JSON text, as Lambda would decode it; for tests.
    ///
    /// # Errors
    /// When it is no event of payload format 2.0.
    pub fn from_event(event: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(event)
    }

    pub(super) fn with_id(self, id: String) -> Self {
        Self { id, ..self }
    }

    /// The invocation's id, under which its log lines are found; `-` outside of Lambda.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// A header's value, when it is visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The path as API Gateway gives it.
    pub fn raw_path(&self) -> &str {
        &self.raw_path
    }

    /// The query as the caller wrote it, not decoded; empty when there is none.
    pub fn raw_query(&self) -> &str {
        &self.raw_query
    }

    /// The route that API Gateway matched; for a Function URL and `$default`, method and path as they are.
    pub fn route(&self) -> Route<'_> {
        let own = (self.method.as_str(), self.raw_path.as_str());
        let (method, path) = self
            .route_key
            .as_deref()
            .and_then(|key| key.split_once(' '))
            .unwrap_or(own);
        // `ANY /path` matches all methods: the request says which one it was.
        let method = if method == "ANY" { &self.method } else { method };
        let behind = |prefix| {
            path.strip_prefix(prefix)
                .filter(|rest: &&str| rest.is_empty() || rest.starts_with('/'))
        };
        let (family, path) = behind("/api/admin/raw-leads")
            .map(|rest| (Family::Admin, rest))
            .or_else(|| behind("/api/sales/crm").map(|rest| (Family::Sales, rest)))
            .unwrap_or((Family::Other, path));
        Route { family, method, path }
    }

    /// A variable part of the path.
    ///
    /// # Errors
    /// A 400 naming it when it cannot be read as a `T`.
    pub fn path<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, Problem> {
        let text = self
            .path_parameters
            .get(name)
            .map(String::as_str)
            .unwrap_or_default();
        text.parse()
            .map_err(|err: T::Err| Problem::bad_field(name, format!("{name} cannot be used: {err}.")))
    }

    /// A query parameter, the first of that name; an empty one counts as not given.
    ///
    /// # Errors
    /// A 400 naming it when it cannot be read as a `T`.
    pub fn query<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        let mut parameters = form_urlencoded::parse(self.raw_query.as_bytes());
        let given = parameters.find(|(key, _)| key == name).map(|(_, text)| text);
        match given.filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|err: T::Err| Problem::bad_field(name, format!("{name} cannot be used: {err}."))),
        }
    }

    /// The page that `?limit=` and `?cursor=` ask for, 25 items by default and at most 100. `list` names the list
    /// whose cursors are taken, as it was sealed.
    ///
    /// # Errors
    /// A 400 naming the parameter that cannot be used.
    pub fn page<T: DeserializeOwned>(&self, keys: &SigningKeys, list: &str) -> Result<Page<T>, Problem> {
        let limit = self.query("limit")?.unwrap_or(PAGE_ITEMS);
        if !(1..=PAGE_ITEMS_MOST).contains(&limit) {
            return Err(Problem::bad_field(
                "limit",
                format!("limit must be 1 to {PAGE_ITEMS_MOST}."),
            ));
        }
        let after = match self.query::<String>("cursor")? {
            None => None,
            Some(cursor) => Some(keys.open_cursor(list, &cursor).map_err(|_: Error| {
                Problem::bad_field(
                    "cursor",
                    "cursor is none that this list gave; start again without it.",
                )
            })?),
        };
        Ok(Page { limit, after })
    }

    /// The `Idempotency-Key` header.
    ///
    /// # Errors
    /// A 400 naming it when it is empty, too long or not visible ASCII.
    pub fn idempotency_key(&self) -> Result<Option<IdempotencyKey>, Problem> {
        let Some(value) = self.headers.get("idempotency-key") else {
            return Ok(None);
        };
        value
            .to_str()
            .unwrap_or_default()
            .parse()
            .map(Some)
            .map_err(|reason| {
                Problem::bad_field(
                    "Idempotency-Key",
                    format!("Idempotency-Key cannot be used: {reason}."),
                )
            })
    }

    /// The body's bytes, base64 already decoded.
    ///
    /// # Errors
    /// A 413 when there are more than `limit_bytes`.
    pub fn bytes(&self, limit_bytes: usize) -> Result<&[u8], Problem> {
        if self.body.len() > limit_bytes {
            Err(Problem::too_large(limit_bytes))
        } else {
            Ok(&self.body)
        }
    }

    /// The body as UTF-8 text of one of the content types in `expected` (`text/csv`), whatever their parameters.
    ///
    /// # Errors
    /// A 413 when it is too long, a 415 for another type, a 400 when it is not UTF-8.
    pub fn text(&self, expected: &[&str], limit_bytes: usize) -> Result<&str, Problem> {
        let bytes = self.bytes(limit_bytes)?;
        if !expected.iter().any(|expected| self.content_type() == *expected) {
            return Err(Problem::unsupported_media_type(&expected.join(" or ")));
        }
        // A gateway may have read it as UTF-8 already: then U+FFFD stands where it was not.
        std::str::from_utf8(bytes)
            .ok()
            .filter(|text| !text.contains(char::REPLACEMENT_CHARACTER))
            .ok_or_else(|| Problem::bad_request("The body is not UTF-8."))
    }

    /// The content type without its parameters, lower case; empty when there is none.
    pub fn content_type(&self) -> String {
        let value = self.header("content-type").unwrap_or_default();
        value
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
    }

    /// The body as JSON of at most 64 KB.
    ///
    /// # Errors
    /// As [`Request::text`]; a 400 naming the field when it is no `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let text = self.text(&["application/json"], JSON_LIMIT_BYTES)?;
        if text.trim().is_empty() {
            return Err(Problem::bad_request("The body is empty; send a JSON object."));
        }
        // An array would do for a struct, and an empty one for a struct whose fields may all be absent.
        if !text.trim_start().starts_with('{') {
            return Err(Problem::bad_request(
                "The body cannot be used: it is no JSON object.",
            ));
        }
        // serde_json itself stops at 128 levels.
        let mut json = serde_json::Deserializer::from_str(text);
        let body = serde_path_to_error::deserialize(&mut json).map_err(|err| {
            let field = err.path().to_string();
            let cause = err.inner();
            if field == "." || cause.is_syntax() || cause.is_eof() {
                Problem::bad_request(format!("The body cannot be used: {cause}."))
            } else {
                Problem::bad_field(field.clone(), format!("{field} cannot be used: {cause}."))
            }
        })?;
        json.end()
            .map_err(|_| Problem::bad_request("The body goes on behind the JSON object."))?;
        Ok(body)
    }
}
