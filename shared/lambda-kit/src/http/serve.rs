//! The loop of an HTTP function: request in, answer or problem out, with CORS headers.

use std::{convert::Infallible, fmt::Debug};

use bytes::Bytes;
use http_body_util::{Either, Full};
use lambda_http::{
    Body, Error as BoxError,
    http::{HeaderMap, HeaderValue, Method, header},
};

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
pub async fn serve<F, Fut>(cors: &CorsConfig, handle: F) -> Result<(), BoxError>
where
    F: Fn(Request) -> Fut + Sync,
    Fut: Future<Output = Result<Response, Problem>> + Send,
{
    let handle = &handle;
    let service = move |request: lambda_http::Request| async move {
        Ok::<_, Infallible>(answer(cors, request.into(), handle).await)
    };
    lambda_http::run(lambda_http::service_fn(service)).await
}

/// One request's answer, as [`serve`] gives it: preflights answered, problems and CORS headers written.
pub async fn answer<F, Fut>(cors: &CorsConfig, request: Request, handle: F) -> Response
where
    F: Fn(Request) -> Fut,
    Fut: Future<Output = Result<Response, Problem>>,
{
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
pub async fn serve_streaming<F, Fut, B>(cors: &CorsConfig, handle: F) -> Result<(), BoxError>
where
    F: Fn(Request) -> Fut + Sync,
    Fut: Future<Output = Result<lambda_http::Response<B>, Problem>> + Send,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError> + Debug + Send> + Unpin + Send + 'static,
{
    let handle = &handle;
    let service = move |request: lambda_http::Request| async move {
        let request = Request::from(request);
        let caller = Caller::of(&request);
        let refused = |response: Response| {
            response.map(|body| match body {
                Body::Text(text) => Either::Right(Full::from(text)),
                _ => Either::Right(Full::default()),
            })
        };
        let mut response = if caller.asks_first {
            refused(preflight())
        } else {
            match handle(request).await {
                Ok(response) => response.map(Either::Left),
                Err(problem) => refused(caller.refuse(problem)),
            }
        };
        caller.allow(cors, response.headers_mut());
        Ok::<_, Infallible>(response)
    };
    lambda_http::run_with_streaming_response(lambda_http::service_fn(service)).await
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
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = lambda_http::http::StatusCode::NO_CONTENT;
    response
}
