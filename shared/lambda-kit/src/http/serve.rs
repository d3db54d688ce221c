//! The loop of an HTTP function: request in, answer or problem out, with CORS headers.

use std::{collections::BTreeMap, convert::Infallible};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyDataStream, Either, Full};
use lambda_runtime::{Error as BoxError, LambdaEvent, MetadataPrelude, StreamResponse, service_fn};
use serde::Serialize;

use super::{Problem, Request, Response};
use crate::config::CorsConfig;

/// What our routes take and give besides the headers that browsers always allow: `Range` and its answers are the
/// recording's, `Retry-After` a busy route's.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
const REQUEST_HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, idempotency-key, range");
const ANSWER_HEADERS: HeaderValue =
    HeaderValue::from_static("accept-ranges, content-range, location, retry-after");
/// How long a browser may remember a preflight's answer: 2 hours, at which Chromium caps it.
const PREFLIGHT_SECS: HeaderValue = HeaderValue::from_static("7200");

/// Serves requests until Lambda stops the process.
///
/// # Errors
/// When the Runtime API cannot be reached.
pub async fn serve(
    cors: &CorsConfig,
    handle: impl AsyncFn(Request) -> Result<Response, Problem>,
) -> Result<(), BoxError> {
    let handle = &handle;
    let service = move |event: LambdaEvent<Request>| async move {
        let request = event.payload.with_id(event.context.request_id);
        Ok::<_, Infallible>(Payload::from(answer(cors, request, handle).await))
    };
    lambda_runtime::run(service_fn(service)).await
}

/// An answer in payload format 2.0. Several headers of one name are joined: that format has no other way.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    status_code: u16,
    headers: BTreeMap<String, String>,
    body: String,
    is_base64_encoded: bool,
}

impl From<Response> for Payload {
    fn from(response: Response) -> Self {
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in response.headers() {
            let joined = headers.entry(name.as_str().to_owned()).or_default();
            if !joined.is_empty() {
                joined.push_str(", ");
            }
            joined.push_str(&String::from_utf8_lossy(value.as_bytes()));
        }
        let status_code = response.status().as_u16();
        Self {
            status_code,
            headers,
            body: response.into_body(),
            is_base64_encoded: false,
        }
    }
}

/// One request's answer, as [`serve`] gives it: preflights answered, problems and CORS headers written.
pub async fn answer(
    cors: &CorsConfig,
    request: Request,
    handle: impl AsyncFn(Request) -> Result<Response, Problem>,
) -> Response {
    let caller = Caller::of(&request);
    let mut response = if caller.asks_first {
        preflight()
    } else {
        handle(request)
            .await
            .unwrap_or_else(|problem| caller.refuse(problem))
    };
    caller.allow(cors, response.headers_mut());
    response
}

/// Serves requests with answers that are sent as they come (a Function URL with `InvokeMode: RESPONSE_STREAM`).
///
/// # Errors
/// When the Runtime API cannot be reached.
pub async fn serve_streaming<B>(
    cors: &CorsConfig,
    handle: impl AsyncFn(Request) -> Result<http::Response<B>, Problem>,
) -> Result<(), BoxError>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static,
{
    let handle = &handle;
    let service = move |event: LambdaEvent<Request>| async move {
        let request = event.payload.with_id(event.context.request_id);
        Ok::<_, Infallible>(stream(answer_streaming(cors, request, handle).await))
    };
    lambda_runtime::run(service_fn(service)).await
}

async fn answer_streaming<B>(
    cors: &CorsConfig,
    request: Request,
    handle: impl AsyncFn(Request) -> Result<http::Response<B>, Problem>,
) -> http::Response<Either<B, Full<Bytes>>> {
    let caller = Caller::of(&request);
    let whole = |response: Response| response.map(|text| Either::Right(Full::from(text)));
    let mut response = if caller.asks_first {
        whole(preflight())
    } else {
        match handle(request).await {
            Ok(response) => response.map(Either::Left),
            Err(problem) => whole(caller.refuse(problem)),
        }
    };
    caller.allow(cors, response.headers_mut());
    response
}

fn stream<B>(response: http::Response<B>) -> StreamResponse<BodyDataStream<B>> {
    let (parts, body) = response.into_parts();
    let metadata_prelude = MetadataPrelude {
        status_code: parts.status,
        headers: parts.headers,
        cookies: Vec::new(),
    };
    StreamResponse {
        metadata_prelude,
        stream: BodyDataStream::new(body),
    }
}

/// What must be known of a request after the handler has had it.
struct Caller {
    request_id: String,
    origin: Option<String>,
    asks_first: bool,
}

impl Caller {
    fn of(request: &Request) -> Self {
        let asks_first = request.route().method == Method::OPTIONS.as_str();
        Self {
            request_id: request.id().to_owned(),
            origin: request.header("origin").map(str::to_owned),
            asks_first,
        }
    }

    /// The problem as an answer; what the caller did wrong is a line of its own, our failures were logged where
    /// they were found.
    fn refuse(&self, problem: Problem) -> Response {
        if problem.status() < 500 {
            let field = problem.field().unwrap_or_default();
            tracing::info!(
                problem.status = problem.status(),
                problem.field = field,
                "refused: {}",
                problem.code()
            );
        }
        problem.into_response(&self.request_id)
    }

    fn allow(&self, cors: &CorsConfig, headers: &mut HeaderMap) {
        // The answer depends on the origin even when this one is not allowed.
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        let allowed = self.origin.as_deref().and_then(|origin| cors.allow(origin));
        let Some(origin) = allowed.and_then(|origin| HeaderValue::from_str(origin).ok()) else {
            return;
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, ANSWER_HEADERS);
        if self.asks_first {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECS);
        }
    }
}

fn preflight() -> Response {
    let mut response = Response::new(String::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
