//! A stand-in for Exotel: one scripted answer, and what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Once};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use exotel::{Client, Credentials};
use tokio::net::TcpListener;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// Answers every request alike.
pub(crate) struct Server {
    pub(crate) client: Client,
    pub(crate) origin: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Clone)]
struct Script {
    status: StatusCode,
    content_type: &'static str,
    location: Option<&'static str>,
    body: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub(crate) async fn answering(status: u16, content_type: &'static str, body: impl Into<String>) -> Self {
        Self::start(status, content_type, None, body.into()).await
    }

    pub(crate) async fn json(status: u16, body: impl Into<String>) -> Self {
        Self::answering(status, "application/json", body).await
    }

    pub(crate) async fn redirecting(status: u16, location: &'static str) -> Self {
        Self::start(status, "text/plain", Some(location), String::new()).await
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    async fn start(
        status: u16,
        content_type: &'static str,
        location: Option<&'static str>,
        body: String,
    ) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let status = StatusCode::from_u16(status).unwrap();
        let script = Script {
            status,
            content_type,
            location,
            body,
            seen: Arc::clone(&seen),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(answer).with_state(script);
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            client: client_of(address),
            origin: format!("http://{address}"),
            seen,
        }
    }
}

async fn answer(
    State(script): State<Script>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap, String) {
    let redirected = uri.path().ends_with("/elsewhere");
    let body = String::from_utf8(body.to_vec()).unwrap();
    script.seen.lock().unwrap().push(Seen {
        method,
        uri,
        headers,
        body,
    });
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, script.content_type.parse().unwrap());
    match script.location {
        Some(location) if !redirected => {
            headers.insert(header::LOCATION, location.parse().unwrap());
        }
        Some(_) => return (StatusCode::OK, headers, r#"{"Call":{"Sid":"a"}}"#.to_owned()),
        None => {}
    }
    (script.status, headers, script.body)
}

/// A client for a server on this machine.
pub(crate) fn client_of(address: SocketAddr) -> Client {
    client_at(&format!("http://{address}"), reqwest_client())
}

pub(crate) fn client_at(base_url: &str, http: reqwest::Client) -> Client {
    let credentials = Credentials {
        account_sid: "acme1".into(),
        api_key: "key".into(),
        api_token: "token".into(),
    };
    Client::new(http, base_url.parse().unwrap(), credentials).unwrap()
}

pub(crate) fn reqwest_client() -> reqwest::Client {
    http_builder().build().unwrap()
}

/// One crypto provider for the process, as a caller would install it.
pub(crate) fn http_builder() -> reqwest::ClientBuilder {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        rustls::crypto::ring::default_provider()
            .install_default()
            .unwrap()
    });
    reqwest::Client::builder().no_proxy()
}
