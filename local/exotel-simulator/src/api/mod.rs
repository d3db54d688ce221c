//! Exotel's API: what every request goes through, and the refusals. A file per resource.

pub(crate) mod auth;
mod call_list;
mod calls;
mod ccm;
mod exophones;
mod form;
mod numbers;
mod sms;
mod streams;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequest, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Limited};

use crate::answer::Node;
use crate::core::{Budget, Core, Shared};
use crate::faults::{ApiFault, Operation};
use crate::journal::{self, Event, Params};
use crate::options::Account;
use crate::phone::Number;
use crate::wire::Wire;

/// The largest body that is read: a bulk of 100 messages at their longest, several times over.
const MAX_BODY_BYTES: usize = 4 << 20;

/// All routes of the API.
pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .merge(calls::routes())
        .merge(call_list::routes())
        .merge(sms::routes())
        .merge(numbers::routes())
        .merge(exophones::routes())
        .merge(ccm::routes())
        .merge(streams::routes())
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
}

/// XML, or JSON where the path ended in `.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Xml,
    Json,
}

/// The path as it was sent.
#[derive(Debug, Clone)]
struct SentPath(String);

/// Whether a path's answers are JSON by nature: everything after v1.
fn is_json_only(path: &str) -> bool {
    ["/v2/", "/v2_beta/", "/v3/"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
}

/// Takes the `.json` off a path of the API, so that routes need not know of it.
pub(crate) fn strip_suffix<B>(mut request: http::Request<B>) -> http::Request<B> {
    let sent = request.uri().path().to_owned();
    let stripped = sent
        .strip_suffix(".json")
        .filter(|_| sent.starts_with("/v1/"))
        .map(str::to_owned);
    let json = stripped.is_some() || is_json_only(&sent);
    request.extensions_mut().insert(SentPath(sent));
    request
        .extensions_mut()
        .insert(if json { Format::Json } else { Format::Xml });
    if let Some(path) = stripped {
        let path_and_query = match request.uri().query() {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = path_and_query.parse().ok();
        if let Ok(uri) = http::Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// A request, read whole and written to the journal.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Its entry in the journal.
    pub(crate) id: u64,
    method: http::Method,
    /// The path without `.json`.
    pub(crate) path: String,
    /// Query and body together.
    pub(crate) params: Params,
    /// Whether there was anything in the body.
    pub(crate) empty_body: bool,
    /// What is wrong with the body, if it could not be read.
    pub(crate) unreadable: Option<String>,
    pub(crate) authorization: Option<String>,
    pub(crate) range: Option<String>,
    pub(crate) format: Format,
    wire: Wire,
}

impl FromRequest<Shared> for Exchange {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: Request, core: &Shared) -> Result<Self, Self::Rejection> {
        let (parts, body) = request.into_parts();
        let text = |name: header::HeaderName| {
            parts
                .headers
                .get(name)
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let content_type = text(header::CONTENT_TYPE);
        let body = Limited::new(body, MAX_BODY_BYTES)
            .collect()
            .await
            .map(|body| body.to_bytes());
        let mut params = Params(form::urlencoded(parts.uri.query().unwrap_or_default().as_bytes()));
        let (empty_body, unreadable) = match body {
            Err(_) => (
                false,
                Some(format!(
                    "the body is larger than {MAX_BODY_BYTES} bytes or was cut off"
                )),
            ),
            Ok(bytes) => match form::read(content_type.as_deref(), &bytes).await {
                Ok(fields) => {
                    params.0.extend(fields);
                    (bytes.is_empty(), None)
                }
                Err(problem) => (bytes.is_empty(), Some(problem)),
            },
        };
        let sent_path = parts
            .extensions
            .get::<SentPath>()
            .map_or_else(|| parts.uri.path(), |sent| &sent.0);
        let authorization = text(header::AUTHORIZATION);
        let range = text(header::RANGE);
        let id = core.record(Event::Request(journal::Request {
            method: parts.method.to_string(),
            path: sent_path.to_owned(),
            params: params.clone(),
            content_type: content_type
                .map(|value| value.split(';').next().unwrap_or_default().trim().to_owned()),
            authorization: authorization.as_deref().map(redacted),
            range: range.clone(),
            ..journal::Request::default()
        }));
        Ok(Self {
            id,
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            params,
            empty_body,
            unreadable,
            authorization,
            range,
            format: parts.extensions.get().copied().unwrap_or(Format::Xml),
            wire: parts.extensions.get().cloned().unwrap_or_default(),
        })
    }
}

/// The scheme of an Authorization header; the rest stays out of the journal.
fn redacted(authorization: &str) -> String {
    let scheme = authorization.split_once(' ').map_or("", |(scheme, _)| scheme);
    format!("{scheme} [redacted]").trim_start().to_owned()
}

/// An answer of the API other than a refusal.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content: Content,
    /// Sid of the call or message that came of it.
    pub(crate) sid: Option<String>,
}

/// What an answer holds.
#[derive(Debug)]
pub(crate) enum Content {
    /// A tree, as XML or JSON.
    Tree(Node),
    /// Words.
    Text(&'static str),
}

impl Answer {
    pub(crate) fn ok(tree: Node) -> Self {
        Self {
            status: StatusCode::OK,
            content: Content::Tree(tree),
            sid: None,
        }
    }
}

/// A refusal with Exotel's own body.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: Option<i64>,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: Option<i64>, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    /// 400 without a code: voice has none.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, None, message)
    }

    pub(crate) fn tree(&self) -> Node {
        let mut fields = vec![
            ("Status", i64::from(self.status.as_u16()).into()),
            ("Message", self.message.as_str().into()),
        ];
        if let Some(code) = self.code {
            fields.push(("Code", code.into()));
        }
        Node::Object(vec![("RestException", Node::Object(fields))])
    }

    /// The same in words of v2 and v3: `response` of their envelope.
    fn v2_response(&self) -> Node {
        let status = i64::from(self.status.as_u16());
        let code = match self.code {
            // v1's own, beyond all codes of v2.
            Some(34_001 | 34_010) => 1_010,
            Some(code) if code < 30_000 => code,
            _ => match self.status {
                StatusCode::BAD_REQUEST => 1_002,
                StatusCode::INTERNAL_SERVER_ERROR => 1_100,
                _ => status,
            },
        };
        let message = match code {
            1_001 => "Mandatory parameter missing",
            1_002 => "Invalid parameter",
            1_010 => "Authorization failed",
            1_012 => "User device is off",
            10_705 => "User device is not verified",
            10_706 => "User device is busy",
            10_716 => "Virtual number not found",
            10_731 => "User not found",
            _ => self.status.canonical_reason().unwrap_or_default(),
        };
        Node::Object(vec![
            ("code", status.into()),
            (
                "error_data",
                Node::Object(vec![
                    ("code", code.into()),
                    ("message", message.into()),
                    ("description", self.message.as_str().into()),
                ]),
            ),
            ("status", "failure".into()),
            ("data", Node::Null),
        ])
    }

    /// The refusal that a fault stands for; `None` for faults that have no such body.
    fn of_fault(fault: ApiFault, operation: Operation, lead: Option<&str>) -> Option<Self> {
        let sms = matches!(operation, Operation::SmsSend | Operation::SmsDetails);
        let sms_code = |code: i64| sms.then_some(code);
        let lead = lead.unwrap_or_default();
        Some(match fault {
            ApiFault::Ndnc if !sms => Self::new(
                StatusCode::FORBIDDEN,
                None,
                format!(
                    "Call to [{lead}] can not be made because of TRAI NDNC regulations. Read more at exotel.com"
                ),
            ),
            ApiFault::Kyc if sms => Self::new(
                StatusCode::FORBIDDEN,
                Some(340_030),
                "Your account is not yet KYC compliant",
            ),
            ApiFault::Kyc => Self::new(
                StatusCode::FORBIDDEN,
                None,
                "Your account is not yet KYC compliant. This is mandatory by TRAI guidelines to connect outbound \
                 voice calls.",
            ),
            ApiFault::Balance => Self::new(
                StatusCode::FORBIDDEN,
                sms_code(40_001),
                "Insufficient balance in your account",
            ),
            ApiFault::Invalid if sms => Self::new(
                StatusCode::BAD_REQUEST,
                Some(40_203),
                "All the destination numbers are invalid",
            ),
            ApiFault::Invalid => Self::invalid(format!("Invalid number: {lead}")),
            ApiFault::UserNotFound => Self::new(
                StatusCode::NOT_FOUND,
                Some(10_731),
                "The user does not exist in this account",
            ),
            ApiFault::VirtualNumberNotFound => Self::new(
                StatusCode::NOT_FOUND,
                Some(10_716),
                "virtual_number was not found in this account",
            ),
            ApiFault::DeviceOff => Self::new(StatusCode::CONFLICT, Some(1_012), "The user's device is off"),
            ApiFault::DeviceUnverified => Self::new(
                StatusCode::CONFLICT,
                Some(10_705),
                "The user's device is not verified",
            ),
            ApiFault::DeviceBusy => {
                Self::new(StatusCode::CONFLICT, Some(10_706), "The user's device is busy")
            }
            ApiFault::Unauthorized => auth::wrong_pair(),
            ApiFault::NotFound => Self::new(
                StatusCode::NOT_FOUND,
                None,
                "The requested resource was not found",
            ),
            ApiFault::RateLimited if operation == Operation::SmsDetails => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, Some(40_403), "Too many requests")
            }
            ApiFault::RateLimited => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                sms_code(40_402),
                "Too many requests",
            ),
            ApiFault::Unavailable if sms => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Some(40_405),
                "Throttle limit exceeded",
            ),
            ApiFault::Unavailable => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Some(35_008),
                "Service Unavailable; ",
            ),
            ApiFault::Internal => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, Some(35_000), "Internal error")
            }
            _ => return None,
        })
    }
}

/// An item of a v2 answer that went well.
pub(crate) fn success(data: Node) -> Node {
    Node::Object(vec![
        ("code", i64::from(StatusCode::OK.as_u16()).into()),
        ("error_data", Node::Null),
        ("status", "success".into()),
        ("data", data),
    ])
}

/// What a handler makes of an admitted request.
pub(crate) type Outcome = Result<Answer, Refusal>;

impl Exchange {
    /// Whether answers and refusals come in the envelope of v2.
    fn has_envelope(&self) -> bool {
        self.path.starts_with("/v2/") || self.path.starts_with("/v3/")
    }

    /// The fields before `response` in the envelope of v2.
    pub(crate) fn envelope(&self, core: &Core, status: StatusCode) -> Vec<(&'static str, Node)> {
        let request_id = core.dice.signature(&format!("request {}", self.id))[..32].to_owned();
        vec![
            ("request_id", request_id.into()),
            ("method", self.method.as_str().into()),
            ("http_code", i64::from(status.as_u16()).into()),
        ]
    }

    /// A 200 in the envelope of v2.
    pub(crate) fn enveloped(&self, core: &Core, metadata: Option<Node>, response: Node) -> Answer {
        let mut fields = self.envelope(core, StatusCode::OK);
        fields.extend(metadata.map(|metadata| ("metadata", metadata)));
        fields.push(("response", response));
        Answer::ok(Node::Object(fields))
    }

    /// The account that the path names.
    fn account_in_path(&self) -> &str {
        self.path.split('/').nth(3).unwrap_or_default()
    }

    /// Takes the request through authentication, budgets and faults to `handle`, and answers.
    ///
    /// `lead` is the number whose suffix may carry a fault.
    pub(crate) async fn serve(
        self,
        core: &Shared,
        operation: Operation,
        lead: Option<&str>,
        handle: impl AsyncFnOnce(&Account, &Exchange) -> Outcome,
    ) -> Response {
        let lead = lead.map(str::to_owned);
        let account = match self.admitted(core, operation) {
            Ok(account) => account,
            Err(refusal) => return self.reply(core, Err(refusal)),
        };
        let what = lead.as_deref().unwrap_or(&self.path);
        let fault = core
            .request_fault(operation, what)
            .or_else(|| script_fault(core, operation, lead.as_deref()));
        if let Some(fault) = fault {
            core.amend_request(self.id, |entry| entry.fault = Some(fault.name().to_owned()));
        }
        match fault {
            None => {
                let outcome = handle(account, &self).await;
                self.reply(core, outcome)
            }
            Some(fault) => match Refusal::of_fault(fault, operation, lead.as_deref()) {
                Some(refusal) => self.reply(core, Err(refusal)),
                None => {
                    if fault.after_accept()
                        && let Ok(answer) = handle(account, &self).await
                    {
                        core.amend_request(self.id, |entry| entry.sid = answer.sid.clone());
                    }
                    self.misbehave(core, fault).await
                }
            },
        }
    }

    /// Answers with a file: no account, no budget; faults all the same.
    pub(crate) async fn serve_file(
        self,
        core: &Shared,
        answer: impl FnOnce(&Exchange) -> Response,
    ) -> Response {
        let fault = core.request_fault(crate::recordings::OPERATION, &self.path);
        let Some(fault) = fault else {
            let response = answer(&self);
            self.answered(core, response.status());
            return response;
        };
        core.amend_request(self.id, |entry| entry.fault = Some(fault.name().to_owned()));
        match Refusal::of_fault(fault, crate::recordings::OPERATION, None) {
            Some(refusal) => self.reply(core, Err(refusal)),
            None => self.misbehave(core, fault).await,
        }
    }

    fn admitted<'a>(&self, core: &'a Core, operation: Operation) -> Result<&'a Account, Refusal> {
        let account = auth::authorize(core, self.authorization.as_deref(), self.account_in_path())?;
        if operation.is_voice() && !core.admit(&account.sid, Budget::Voice) {
            return Err(Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                None,
                "Too many requests",
            ));
        }
        if operation.is_exophones() && !core.admit(&account.sid, Budget::Exophones) {
            return Err(Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                None,
                "Too many requests",
            ));
        }
        if operation == Operation::SmsSend && !core.admit(&account.sid, Budget::Sms) {
            return Err(if core.options.sms_limit_as_429 {
                Refusal::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    Some(40_402),
                    "Too many POST requests",
                )
            } else {
                Refusal::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    Some(40_405),
                    "Throttle limit exceeded",
                )
            });
        }
        match &self.unreadable {
            Some(problem) if operation == Operation::SmsSend => Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                Some(40_202),
                problem.clone(),
            )),
            Some(problem) => Err(Refusal::invalid(problem.clone())),
            None => Ok(account),
        }
    }

    fn answered(&self, core: &Core, status: StatusCode) {
        let now = core.now();
        core.amend_request(self.id, |entry| {
            entry.status = Some(status.as_u16());
            entry.answered_at = Some(now);
        });
    }

    fn reply(&self, core: &Core, outcome: Outcome) -> Response {
        let (status, content, sid) = match outcome {
            Ok(answer) => (answer.status, answer.content, answer.sid),
            Err(refusal) if self.has_envelope() => {
                let mut fields = self.envelope(core, refusal.status);
                fields.push(("response", refusal.v2_response()));
                (refusal.status, Content::Tree(Node::Object(fields)), None)
            }
            Err(refusal) => (refusal.status, Content::Tree(refusal.tree()), None),
        };
        self.answered(core, status);
        core.amend_request(self.id, |entry| entry.sid = sid.or(entry.sid.take()));
        let (content_type, body) = match (content, self.format) {
            (Content::Tree(tree), Format::Json) => ("application/json", tree.to_json()),
            (Content::Tree(tree), Format::Xml) => ("application/xml", tree.to_xml()),
            (Content::Text(text), _) => ("text/plain", text.to_owned()),
        };
        let mut response = respond(status, content_type, body);
        if status == StatusCode::UNAUTHORIZED {
            let wanted = HeaderValue::from_static("Basic realm=\"Exotel\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, wanted);
        }
        response
    }

    async fn misbehave(&self, core: &Core, fault: ApiFault) -> Response {
        match fault {
            ApiFault::Hang | ApiFault::HangAfterAccept => std::future::pending().await,
            ApiFault::Reset | ApiFault::ResetAfterAccept => self.wire.reset().await,
            ApiFault::Empty500 => {
                self.answered(core, StatusCode::INTERNAL_SERVER_ERROR);
                respond(StatusCode::INTERNAL_SERVER_ERROR, "text/html", "")
            }
            _ => {
                self.answered(core, StatusCode::BAD_GATEWAY);
                let page = "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1>\
                            </center><hr><center>nginx</center></body></html>";
                respond(StatusCode::BAD_GATEWAY, "text/html", page)
            }
        }
    }
}

/// What the script or suffix of the number wants done to the request.
fn script_fault(core: &Core, operation: Operation, lead: Option<&str>) -> Option<ApiFault> {
    if !matches!(
        operation,
        Operation::Connect | Operation::SmsSend | Operation::Ccm
    ) {
        return None;
    }
    let number = Number::parse(lead?)?;
    let fault = core.peek_api_fault(&number)?;
    // SMS to a number on the DND registry is accepted; the delivery report tells.
    if fault == ApiFault::Accept
        || (fault == ApiFault::Ndnc && operation == Operation::SmsSend)
        || (fault.is_ccm_only() && operation != Operation::Ccm)
    {
        return None;
    }
    if !fault.after_accept() {
        core.spend_script(&number);
    }
    Some(fault)
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

async fn unknown(State(core): State<Shared>, exchange: Exchange) -> Response {
    let refusal = Refusal::new(
        StatusCode::NOT_FOUND,
        None,
        format!("No such endpoint: {}", exchange.path),
    );
    exchange
        .serve(&core, Operation::Other, None, async |_, _| Err(refusal))
        .await
}

async fn wrong_method(State(core): State<Shared>, exchange: Exchange) -> Response {
    let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, None, "Method not allowed");
    exchange
        .serve(&core, Operation::Other, None, async |_, _| Err(refusal))
        .await
}
