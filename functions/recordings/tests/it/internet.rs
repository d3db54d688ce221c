//! A small internet: names that resolve as a test wants, public addresses that lead to a TLS server on
//! loopback, and counts of everything that was asked for.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use lambda_kit::https::PublicOnly;
use recordings::{
    fetch::{Credentials, Fetcher, guarded_client, plain_client},
    guard::Guard,
};
use reqwest::{
    Client, ClientBuilder,
    dns::{Addrs, Name, Resolve, Resolving},
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// The public address behind which every test server stands.
pub(crate) const SERVER: &str = "13.250.0.10";

/// What a server was asked.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
}

impl Seen {
    pub(crate) fn has_credentials(&self) -> bool {
        self.headers.contains_key("authorization")
    }
}

type Answer = dyn Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync;

#[derive(Default)]
struct Counts {
    lookups: AtomicUsize,
    connections: AtomicUsize,
    accepted: AtomicUsize,
}

#[derive(Clone)]
pub(crate) struct Internet {
    names: Arc<Mutex<HashMap<String, Vec<IpAddr>>>>,
    counts: Arc<Counts>,
    seen: Arc<Mutex<Vec<Seen>>>,
    server: SocketAddr,
    tls: ClientConfig,
}

impl Internet {
    /// Starts the server that answers for every name. A name resolves to it unless [`Self::resolve`] says
    /// otherwise.
    pub(crate) async fn start(
        answer: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        let names = [
            "recordings.exotel.com",
            "*.exotel.com",
            "*.exotel.in",
            "s3-ap-southeast-1.amazonaws.com",
        ];
        let issued = rcgen::generate_simple_self_signed(names.map(String::from)).unwrap();
        let certificate = issued.cert.der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let internet = Self {
            names: Arc::default(),
            counts: Arc::default(),
            seen: Arc::default(),
            server: listener.local_addr().unwrap(),
            tls: trusting(certificate.clone()),
        };
        tokio::spawn(
            internet
                .clone()
                .serve(listener, acceptor(certificate, key), Arc::new(answer)),
        );
        internet
    }

    async fn serve(self, listener: TcpListener, acceptor: TlsAcceptor, answer: Arc<Answer>) {
        while let Ok((stream, _)) = listener.accept().await {
            self.counts.accepted.fetch_add(1, SeqCst);
            let (internet, acceptor, answer) = (self.clone(), acceptor.clone(), Arc::clone(&answer));
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve_connection(stream, "https", internet.seen, answer).await;
                }
            });
        }
    }

    /// Lets a name resolve to these addresses, in turn; the last one for good.
    pub(crate) fn resolve(&self, host: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.names.lock().unwrap().insert(host.into(), addresses);
    }

    /// A fetcher as the function has it.
    pub(crate) fn fetcher(&self) -> Fetcher {
        let names = self.clone();
        let layer = Counting {
            counts: Arc::clone(&self.counts),
        };
        // The product's filter first, then the way from public addresses to this machine.
        let client = guarded_client(self.builder(), self.clone())
            .dns_resolver(Rerouted {
                names: PublicOnly::new(names),
                to: self.server,
            })
            .connector_layer(layer.clone())
            .build()
            .unwrap();
        Fetcher {
            guard: Guard::default(),
            client,
            extra_client: plain_client(self.builder())
                .connector_layer(layer)
                .build()
                .unwrap(),
        }
    }

    fn builder(&self) -> ClientBuilder {
        Client::builder().tls_backend_preconfigured(self.tls.clone())
    }

    /// Names looked up so far.
    pub(crate) fn lookups(&self) -> usize {
        self.counts.lookups.load(SeqCst)
    }

    /// Connections that the client set out to make.
    pub(crate) fn connections(&self) -> usize {
        self.counts.connections.load(SeqCst)
    }

    /// Connections that reached the server.
    pub(crate) fn accepted(&self) -> usize {
        self.counts.accepted.load(SeqCst)
    }

    /// Every request that reached the server, oldest first.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Resolve for Internet {
    fn resolve(&self, name: Name) -> Resolving {
        self.counts.lookups.fetch_add(1, SeqCst);
        let mut names = self.names.lock().unwrap();
        let address = match names.get_mut(name.as_str()) {
            Some(addresses) if addresses.len() > 1 => addresses.remove(0),
            Some(addresses) => addresses[0],
            None => SERVER.parse().unwrap(),
        };
        Box::pin(async move { Ok(Box::new(std::iter::once(SocketAddr::new(address, 0))) as Addrs) })
    }
}

/// Leads every address that came through the filter to the test server.
struct Rerouted<R> {
    names: R,
    to: SocketAddr,
}

impl<R: Resolve> Resolve for Rerouted<R> {
    fn resolve(&self, name: Name) -> Resolving {
        let (answers, to) = (self.names.resolve(name), self.to);
        Box::pin(async move { Ok(Box::new(answers.await?.map(move |_| to)) as Addrs) })
    }
}

#[derive(Clone)]
struct Counting {
    counts: Arc<Counts>,
}

impl<S> tower::Layer<S> for Counting {
    type Service = Counted<S>;
    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            counts: Arc::clone(&self.counts),
        }
    }
}

#[derive(Clone)]
struct Counted<S> {
    inner: S,
    counts: Arc<Counts>,
}

impl<R, S: tower::Service<R>> tower::Service<R> for Counted<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.counts.connections.fetch_add(1, SeqCst);
        self.inner.call(request)
    }
}

fn trusting(certificate: CertificateDer<'static>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    versions.with_root_certificates(roots).with_no_client_auth()
}

fn acceptor(certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    TlsAcceptor::from(Arc::new(
        versions
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap(),
    ))
}

/// A server without TLS: its origin, and what it was asked.
pub(crate) async fn serve_plain(
    answer: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<Seen>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let (asked, answer) = (Arc::clone(&seen), Arc::new(answer));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_connection(
                stream,
                "http",
                Arc::clone(&asked),
                Arc::clone(&answer) as Arc<Answer>,
            ));
        }
    });
    (origin, seen)
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    scheme: &str,
    seen: Arc<Mutex<Vec<Seen>>>,
    answer: Arc<Answer>,
) {
    let service = service_fn(|request: Request<Incoming>| {
        let host = request.headers()["host"].to_str().unwrap().to_owned();
        let url = format!("{scheme}://{host}{}", request.uri());
        let asked = Seen {
            url,
            headers: request.headers().clone(),
        };
        let response = answer(&asked);
        seen.lock().unwrap().push(asked);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // Clients hang up as they like.
    let _ = connection.await;
}

pub(crate) fn json(body: &serde_json::Value) -> Response<Full<Bytes>> {
    let body = Full::new(body.to_string().into());
    Response::builder()
        .header("content-type", "application/json")
        .body(body)
        .unwrap()
}

pub(crate) fn audio(bytes: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let body = Full::new(bytes.into());
    Response::builder()
        .header("content-type", "audio/mpeg")
        .body(body)
        .unwrap()
}

pub(crate) fn status(status: u16) -> Response<Full<Bytes>> {
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .body(Full::default())
        .unwrap()
}

pub(crate) fn redirect(location: &str) -> Response<Full<Bytes>> {
    let mut response = status(302);
    response
        .headers_mut()
        .insert("location", HeaderValue::from_bytes(location.as_bytes()).unwrap());
    response
}

/// `key:token`, which Basic writes as `a2V5OnRva2Vu`.
pub(crate) fn credentials() -> Credentials {
    Credentials {
        key: "key".to_owned().into(),
        token: "token".to_owned().into(),
    }
}
