//! Connections to bots: the question where one is, and the socket to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as SocketError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use super::url::StreamUrl;
use crate::answer::Node;
use crate::callbacks;
use crate::options::BodyForm;

/// The longest answer of a connect endpoint that is read.
const MOST_ANSWER_BYTES: usize = 64 * 1024;

/// How the endpoint that answers a voicebot's URL is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ask {
    /// GET with the keys of a Passthru in the query.
    #[default]
    Get,
    /// POST with the same keys as a JSON object.
    Post,
}

/// A connection, with or without TLS.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub(crate) type BoxedIo = Box<dyn Io>;

/// A socket that a bot accepted.
pub(crate) type Socket = WebSocketStream<BoxedIo>;

/// Why a handshake failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Status of the answer, if there was one.
    pub(crate) status: Option<u16>,
    pub(crate) error: String,
}

/// Opens connections.
#[derive(Clone)]
pub(crate) struct Dialler {
    tls: TlsConnector,
}

impl std::fmt::Debug for Dialler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialler").finish_non_exhaustive()
    }
}

impl Dialler {
    /// Trusts the public authorities, and those in `trusted` (PEM).
    pub(crate) fn new(trusted: &[String]) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for pem in trusted {
            let mut any = false;
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate =
                    certificate.map_err(|err| format!("a trusted certificate is no PEM: {err}"))?;
                roots
                    .add(certificate)
                    .map_err(|err| format!("a trusted certificate cannot be used: {err}"))?;
                any = true;
            }
            if !any {
                return Err("a trusted certificate is no PEM: there is no certificate in it".to_owned());
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|err| format!("TLS cannot be set up: {err}"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    async fn connect(&self, url: &url::Url) -> Result<BoxedIo, String> {
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err("the URL has no host".to_owned());
        };
        let (connected, name) = match host {
            url::Host::Domain(domain) => (TcpStream::connect((domain, port)).await, domain.to_owned()),
            url::Host::Ipv4(ip) => (TcpStream::connect((ip, port)).await, ip.to_string()),
            url::Host::Ipv6(ip) => (TcpStream::connect((ip, port)).await, ip.to_string()),
        };
        let stream = connected.map_err(|err| format!("cannot connect to {name}:{port}: {err}"))?;
        let _ = stream.set_nodelay(true);
        if matches!(url.scheme(), "ws" | "http") {
            return Ok(Box::new(stream));
        }
        let server = ServerName::try_from(name.clone())
            .map_err(|err| format!("{name} is no name that a certificate can have: {err}"))?;
        let stream = self.tls.connect(server, stream).await;
        Ok(Box::new(
            stream.map_err(|err| format!("no TLS with {name}: {err}"))?,
        ))
    }

    /// Opens the socket, within the time given.
    pub(crate) async fn dial(&self, url: &StreamUrl, within: Duration) -> Result<Socket, Refused> {
        let dial = async {
            let io = self.connect(&url.dialled).await;
            upgrade(io.map_err(|error| Refused { status: None, error })?, url).await
        };
        tokio::time::timeout(within, dial).await.unwrap_or_else(|_| {
            Err(Refused {
                status: None,
                error: format!("the handshake was not over within {} ms", within.as_millis()),
            })
        })
    }

    /// Asks an endpoint, and answers status and body.
    pub(crate) async fn ask(
        &self,
        url: &url::Url,
        ask: Ask,
        fields: &[(&'static str, Node)],
        within: Duration,
    ) -> Result<(u16, String), String> {
        let answer = async {
            let io = self.connect(url).await?;
            let request = question(url, ask, fields)?;
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io))
                .await
                .map_err(|err| format!("no HTTP: {err}"))?;
            // Ends with the sender.
            tokio::spawn(async move {
                let _ = connection.await;
            });
            let response = sender
                .send_request(request)
                .await
                .map_err(|err| format!("no answer: {err}"))?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), MOST_ANSWER_BYTES)
                .collect()
                .await
                .map_err(|err| format!("the answer was not whole, or too long: {err}"))?;
            Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
        };
        tokio::time::timeout(within, answer)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} ms", within.as_millis())))
    }
}

fn question(
    url: &url::Url,
    ask: Ask,
    fields: &[(&'static str, Node)],
) -> Result<http::Request<Full<Bytes>>, String> {
    let mut url = url.clone();
    let authority = match url.port() {
        Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
        None => url.host_str().unwrap_or_default().to_owned(),
    };
    let request = match ask {
        Ask::Get => {
            let query = callbacks::body(BodyForm::Urlencoded, fields);
            let query = match url.query() {
                Some(own) => format!("{own}&{query}"),
                None => query,
            };
            url.set_query(Some(&query));
            http::Request::get(&url[url::Position::BeforePath..url::Position::AfterQuery])
                .body(Full::default())
        }
        Ask::Post => http::Request::post(&url[url::Position::BeforePath..url::Position::AfterQuery])
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(callbacks::body(BodyForm::Json, fields)))),
    };
    let mut request = request.map_err(|err| err.to_string())?;
    let host = HeaderValue::from_str(&authority).map_err(|err| err.to_string())?;
    request.headers_mut().insert(header::HOST, host);
    Ok(request)
}

/// Makes a connection a socket.
pub(crate) async fn upgrade(io: BoxedIo, url: &StreamUrl) -> Result<Socket, Refused> {
    let refused = |error: String| Refused { status: None, error };
    let mut request = url
        .dialled
        .as_str()
        .into_client_request()
        .map_err(|err| refused(err.to_string()))?;
    if let Some(authorization) = &url.authorization {
        let value = HeaderValue::from_str(authorization).map_err(|err| refused(err.to_string()))?;
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    match tokio_tungstenite::client_async(request, io).await {
        Ok((socket, _)) => Ok(socket),
        Err(SocketError::Http(response)) => Err(Refused {
            status: Some(response.status().as_u16()),
            error: format!("the handshake was answered with {}", response.status()),
        }),
        Err(err) => Err(refused(format!("the handshake failed: {err}"))),
    }
}

/// The URL in the answer of a connect endpoint.
pub(crate) fn answered_url(status: u16, body: &str) -> Result<String, String> {
    if status != 200 {
        return Err(format!("the endpoint answered {status} instead of 200"));
    }
    let answer: serde_json::Value =
        serde_json::from_str(body).map_err(|err| format!("the endpoint's answer is not JSON: {err}"))?;
    let url = answer.get("url").and_then(serde_json::Value::as_str);
    url.map(str::to_owned)
        .ok_or_else(|| "the endpoint's answer has no `url`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_with_a_url_will_do() {
        assert_eq!(
            answered_url(200, r#"{"url": "wss://bot.example.in/x", "more": 1}"#),
            Ok("wss://bot.example.in/x".to_owned())
        );
        for (status, body, problem) in [
            (204, "", "204"),
            (302, r#"{"url": "wss://b"}"#, "302"),
            (200, "<Response><Stream url='wss://b'/></Response>", "not JSON"),
            (200, r#"{"URL": "wss://b"}"#, "no `url`"),
            (200, r#"{"url": null}"#, "no `url`"),
        ] {
            assert!(
                answered_url(status, body).unwrap_err().contains(problem),
                "{body}"
            );
        }
    }

    #[test]
    fn a_get_keeps_the_endpoints_own_query() {
        let url = url::Url::parse("https://hooks.example.in:8443/connect?t=s").unwrap();
        let fields = [("CallSid", Node::from("c 1"))];
        let get = question(&url, Ask::Get, &fields).unwrap();
        assert_eq!(get.uri(), "/connect?t=s&CallSid=c+1");
        assert_eq!(get.headers()[header::HOST], "hooks.example.in:8443");
        let post = question(&url, Ask::Post, &fields).unwrap();
        assert_eq!(
            (post.uri().to_string().as_str(), post.method().as_str()),
            ("/connect?t=s", "POST")
        );
    }

    #[test]
    fn a_trusted_certificate_must_be_one() {
        assert!(Dialler::new(&[]).is_ok());
        assert!(
            Dialler::new(&["hello".to_owned()])
                .unwrap_err()
                .contains("no PEM")
        );
    }
}
