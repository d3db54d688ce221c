//! The Runtime API itself: what a function asks for and posts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
};

use crate::{
    answer::{Arriving, Figures},
    error::{Error, Failure},
    process::Process,
};

const PREFIX: &str = "/2018-06-01/runtime/";
type Reply = Response<Full<Bytes>>;

/// An event on its way to the function, and where its response goes.
pub(crate) struct Event {
    pub(crate) request_id: String,
    pub(crate) payload: Bytes,
    pub(crate) deadline: SystemTime,
    pub(crate) respond: oneshot::Sender<Result<Arriving, Error>>,
}

/// How far the init phase came.
#[derive(Clone, Debug)]
pub(crate) enum Init {
    Running,
    /// The first event was asked for: wall and CPU time since the start.
    Done(Duration, Option<Duration>),
    Failed(Failure),
}

/// What the connections of one function share.
pub(crate) struct Api {
    pub(crate) function_name: String,
    pub(crate) process: Process,
    pub(crate) started: Instant,
    pub(crate) init: watch::Sender<Init>,
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<Event>>,
    in_flight: Mutex<HashMap<String, InFlight>>,
}

struct InFlight {
    respond: oneshot::Sender<Result<Arriving, Error>>,
    handed_over: Instant,
    cpu_then: Result<Duration, Error>,
}

impl Api {
    pub(crate) fn new(
        function_name: String,
        process: Process,
        started: Instant,
        init: watch::Sender<Init>,
        events: mpsc::UnboundedReceiver<Event>,
    ) -> Self {
        let events = tokio::sync::Mutex::new(events);
        Self {
            function_name,
            process,
            started,
            init,
            events,
            in_flight: Mutex::default(),
        }
    }

    /// Serves the function until the task is aborted.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let api = Arc::clone(&self);
            tokio::spawn(async move {
                let service = service_fn(|request| Arc::clone(&api).answer(request));
                // An error here is the function closing its connection, which the child's exit or the broken
                // body tells better.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Reply, http::Error> {
        let path = request.uri().path().to_owned();
        let steps: Vec<&str> = path.strip_prefix(PREFIX).unwrap_or_default().split('/').collect();
        match (request.method(), steps.as_slice()) {
            (&Method::GET, ["invocation", "next"]) => self.next().await,
            (&Method::POST, ["invocation", id, "response"]) => self.response(id, request).await,
            (&Method::POST, ["invocation", id, "error"]) => self.error(id, request).await,
            (&Method::POST, ["init", "error"]) => self.init_error(request).await,
            _ => status(StatusCode::NOT_FOUND, "the Runtime API has no such path"),
        }
    }

    async fn next(&self) -> Result<Reply, http::Error> {
        self.init.send_if_modified(|init| {
            let first = matches!(init, Init::Running);
            if first {
                *init = Init::Done(self.started.elapsed(), self.process.cpu().ok());
            }
            first
        });
        let Some(event) = self.events.lock().await.recv().await else {
            return status(StatusCode::GONE, "no more events");
        };
        let Event {
            request_id,
            payload,
            deadline,
            respond,
        } = event;
        let deadline_ms = deadline
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis();
        let handed_over = Instant::now();
        self.in_flight().insert(
            request_id.clone(),
            InFlight {
                respond,
                handed_over,
                cpu_then: self.process.cpu(),
            },
        );
        Response::builder()
            .header("content-type", "application/json")
            .header("lambda-runtime-deadline-ms", deadline_ms.to_string())
            .header(
                "lambda-runtime-invoked-function-arn",
                format!(
                    "arn:aws:lambda:us-east-1:000000000000:function:{}",
                    self.function_name
                ),
            )
            .header(
                "lambda-runtime-trace-id",
                "Root=1-00000000-000000000000000000000000;Sampled=0",
            )
            .header("lambda-runtime-aws-request-id", request_id)
            .body(Full::new(payload))
    }

    async fn response(&self, id: &str, request: Request<Incoming>) -> Result<Reply, http::Error> {
        let Some(InFlight {
            respond,
            handed_over,
            cpu_then,
        }) = self.in_flight().remove(id)
        else {
            return status(
                StatusCode::BAD_REQUEST,
                "no event with this id is waiting for a response",
            );
        };
        let (parts, mut body) = request.into_parts();
        let (chunks, chunks_out) = mpsc::channel(1);
        let (figures, figures_out) = oneshot::channel();
        let _ = respond.send(Ok(Arriving {
            headers: parts.headers,
            chunks: chunks_out,
            figures: figures_out,
        }));
        while let Some(frame) = body.frame().await {
            let chunk = match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => Ok(data),
                Ok(Err(other)) => match other
                    .into_trailers()
                    .ok()
                    .and_then(|trailers| error_trailer(&trailers))
                {
                    Some(reason) => Err(Error::BrokenStream(reason)),
                    None => continue,
                },
                Err(error) => Err(Error::BrokenStream(error.to_string())),
            };
            // A reader that went away changes nothing for the function, as on Lambda: the rest is read and
            // dropped.
            let _ = chunks.send(chunk).await;
        }
        let _ = figures.send(self.figures(handed_over, cpu_then));
        status(StatusCode::ACCEPTED, "")
    }

    fn figures(&self, handed_over: Instant, cpu_then: Result<Duration, Error>) -> Result<Figures, Error> {
        let cpu_since_start = self.process.cpu()?;
        Ok(Figures {
            wall: handed_over.elapsed(),
            cpu: cpu_since_start.saturating_sub(cpu_then?),
            wall_since_start: self.started.elapsed(),
            cpu_since_start,
        })
    }

    async fn error(&self, id: &str, request: Request<Incoming>) -> Result<Reply, http::Error> {
        let Some(waiting) = self.in_flight().remove(id) else {
            return status(
                StatusCode::BAD_REQUEST,
                "no event with this id is waiting for a response",
            );
        };
        let _ = waiting.respond.send(Err(Error::Function(failure(request).await)));
        status(StatusCode::ACCEPTED, "")
    }

    async fn init_error(&self, request: Request<Incoming>) -> Result<Reply, http::Error> {
        let failure = failure(request).await;
        self.init.send_replace(Init::Failed(failure));
        status(StatusCode::ACCEPTED, "")
    }

    fn in_flight(&self) -> MutexGuard<'_, HashMap<String, InFlight>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn failure(request: Request<Incoming>) -> Failure {
    let body = request
        .into_body()
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    serde_json::from_slice(&body).unwrap_or_else(|_| Failure {
        error_type: "unreadable".into(),
        message: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn error_trailer(trailers: &HeaderMap) -> Option<String> {
    let reason = trailers.get("lambda-runtime-function-error-type")?;
    Some(String::from_utf8_lossy(reason.as_bytes()).into_owned())
}

fn status(status: StatusCode, message: &'static str) -> Result<Reply, http::Error> {
    let body = if message.is_empty() {
        Bytes::new()
    } else {
        Bytes::from(format!(r#"{{"errorMessage":"{message}"}}"#))
    };
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Full::new(body))
}
