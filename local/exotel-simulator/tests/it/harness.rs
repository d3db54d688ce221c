//! A client, a receiver of callbacks, a clock that stands still: what the tests need around the simulator.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use base64::Engine as _;
use bytes::Bytes;
use exotel_simulator::{Clock, Handle, Options, Simulator};
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use serde_json::Value;

/// So fast that an hour is a few milliseconds.
pub(crate) const FAST: f64 = 1_000_000.0;
/// Simulated milliseconds that even then never pass.
pub(crate) const FOR_EVER: u64 = u64::MAX;
pub(crate) const CALLS: &str = "/v1/Accounts/acme1/Calls";

pub(crate) fn fast() -> Options {
    Options {
        speed: FAST,
        seed: Some(1),
        ..Options::default()
    }
}

pub(crate) async fn start(options: Options) -> (Handle, Api) {
    let handle = Simulator::start(options).await.unwrap();
    let api = Api::of(&handle);
    (handle, api)
}

/// A clock that is moved by hand.
pub(crate) fn manual_clock(start: &str) -> (Clock, Arc<AtomicI64>) {
    let start: Timestamp = start.parse().unwrap();
    let now = Arc::new(AtomicI64::new(start.as_millisecond()));
    let read = now.clone();
    (
        Arc::new(move || Timestamp::from_millisecond(read.load(Ordering::SeqCst)).unwrap()),
        now,
    )
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|err| panic!("{err}: {:?}", self.body))
    }

    pub(crate) fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status and `RestException.Code`.
    pub(crate) fn refusal(&self) -> (u16, Option<i64>) {
        let json = self.json();
        assert_eq!(json["RestException"]["Status"], self.status, "{json}");
        (self.status, json["RestException"]["Code"].as_i64())
    }
}

/// A client of the API.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    basic: Option<String>,
}

impl Api {
    pub(crate) fn of(handle: &Handle) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self {
            client,
            url: handle.url().to_owned(),
            basic: None,
        }
        .login("simkey", "simtoken")
    }

    pub(crate) fn login(mut self, key: &str, token: &str) -> Self {
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{key}:{token}"));
        self.basic = Some(format!("Basic {encoded}"));
        self
    }

    pub(crate) fn anonymous(mut self) -> Self {
        self.basic = None;
        self
    }

    pub(crate) async fn try_send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, hyper_util::client::legacy::Error> {
        let uri = if target.starts_with("http") {
            target.to_owned()
        } else {
            format!("{}{target}", self.url)
        };
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(basic) = &self.basic {
            request = request.header(header::AUTHORIZATION, basic);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self
            .client
            .request(request.body(Full::new(body.into())).unwrap())
            .await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        })
    }

    /// How many bytes of an answer arrive, and whether it breaks off.
    pub(crate) async fn get_broken(&self, url: &str) -> (usize, bool) {
        let request = Request::get(url).header(header::AUTHORIZATION, self.basic.as_deref().unwrap());
        let response = self
            .client
            .request(request.body(Full::default()).unwrap())
            .await
            .unwrap();
        let (mut body, mut received) = (response.into_body(), 0);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => received += frame.data_ref().map_or(0, Bytes::len),
                Err(_) => return (received, true),
            }
        }
        (received, false)
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.try_send("GET", target, &[], "").await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.try_post(path, fields).await.unwrap()
    }

    pub(crate) async fn try_post(
        &self,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Result<Answer, hyper_util::client::legacy::Error> {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.try_send("POST", path, &headers, body).await
    }

    pub(crate) async fn sim(&self, method: &str, path: &str, body: Value) -> Answer {
        self.try_send(
            method,
            path,
            &[("content-type", "application/json")],
            body.to_string(),
        )
        .await
        .unwrap()
    }

    /// Places a call from an agent to `to`, with further fields, and gives the `Call` of the JSON answer.
    pub(crate) async fn call(&self, to: &str, more: &[(&str, &str)]) -> Value {
        let answer = self.post(&format!("{CALLS}/connect.json"), &call(to, more)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["Call"].clone()
    }
}

/// The fields of a call from an agent to `to`.
pub(crate) fn call<'a>(to: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![("From", "+919811100001"), ("To", to), ("CallerId", "08045550100")];
    fields.extend_from_slice(more);
    fields
}

pub(crate) fn sid(call: &Value) -> String {
    call["Sid"].as_str().unwrap().to_owned()
}

/// A callback as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) content_type: String,
    pub(crate) query: String,
    pub(crate) body: String,
}

impl Received {
    /// The fields of an urlencoded body; of the query, where it was a GET.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let fields = match self.method.as_str() {
            "GET" => &self.query,
            _ => &self.body,
        };
        form_urlencoded::parse(fields.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }
}

/// A receiver of callbacks, which answers with the statuses given, then with 200.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

type Shelf = (Arc<Mutex<Vec<Received>>>, Arc<Mutex<Vec<u16>>>);

impl Receiver {
    pub(crate) async fn start(statuses: &[u16]) -> Self {
        let received = Arc::new(Mutex::new(Vec::new()));
        let shelf: Shelf = (received.clone(), Arc::new(Mutex::new(statuses.to_vec())));
        let router: Router = Router::new().fallback(take).with_state(shelf);
        let url = format!("{}/hook?t=secret", serve(router).await);
        Self { url, received }
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

/// Serves `router` on a free port of loopback; gives its origin.
pub(crate) async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
        }
    });
    origin
}

async fn take(
    State((received, statuses)): State<Shelf>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    let content_type = headers.get(header::CONTENT_TYPE);
    received.lock().unwrap().push(Received {
        method: method.to_string(),
        content_type: content_type.map_or_else(String::new, |value| value.to_str().unwrap().to_owned()),
        query: uri.query().unwrap_or_default().to_owned(),
        body,
    });
    let mut statuses = statuses.lock().unwrap();
    let status = if statuses.is_empty() {
        200
    } else {
        statuses.remove(0)
    };
    StatusCode::from_u16(status).unwrap()
}

/// Waits until so many callback attempts have come to an end.
pub(crate) async fn callbacks_done(handle: &Handle, count: usize) {
    let wait = handle.journal_until(|entries| {
        let done = entries
            .iter()
            .filter_map(|entry| entry.callback())
            .filter(|callback| {
                callback.answered_at.is_some() || callback.fault.as_deref() == Some("dropped")
            });
        done.count() >= count
    });
    within(wait).await;
}

/// Waits until every call has ended.
pub(crate) async fn calls_done(handle: &Handle, count: usize) {
    within(handle.calls_until(|calls| calls.iter().filter(|call| call.ended.is_some()).count() >= count))
        .await;
}

/// Fails instead of waiting for ever; the limit says nothing about how fast anything is.
pub(crate) async fn within<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(std::time::Duration::from_secs(60), wait)
        .await
        .expect("it never happened")
}
