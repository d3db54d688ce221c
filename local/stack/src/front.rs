//! An origin of its own on loopback for one API of the emulator.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode, Uri,
    header::{CONNECTION, HOST, TRANSFER_ENCODING, UPGRADE},
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::Error;

type Body = BoxBody<Bytes, hyper::Error>;

/// Stands before one API or function URL of the emulator, as a custom domain does in the cloud: requests to its
/// origin arrive there with the host name by which the emulator knows the API. Its address is known before the
/// stack is deployed, so that functions can be told of it.
#[derive(Debug)]
pub struct FrontDoor {
    listener: TcpListener,
    address: SocketAddr,
}

impl FrontDoor {
    /// Takes a free port of 127.0.0.1; callers wait until [`FrontDoor::open`].
    ///
    /// # Errors
    /// [`Error::Io`] when there is none.
    pub async fn reserve() -> Result<Self, Error> {
        let why = "find a free port of 127.0.0.1";
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(Error::io(why))?;
        let address = listener.local_addr().map_err(Error::io(why))?;
        Ok(Self { listener, address })
    }

    /// `http://127.0.0.1:<port>`.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Passes every request on to `upstream` under the name `host`, bodies streamed both ways, until the task is
    /// aborted.
    pub fn open(self, upstream: SocketAddr, host: HeaderValue) -> JoinHandle<()> {
        let client: Client<_, Incoming> = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = self.listener.accept().await else {
                    continue;
                };
                let (client, host) = (client.clone(), host.clone());
                tokio::spawn(async move {
                    let service = service_fn(|request| pass(&client, upstream, &host, request));
                    // A caller that goes away in the middle is its own business.
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        })
    }
}

async fn pass(
    client: &Client<HttpConnector, Incoming>,
    upstream: SocketAddr,
    host: &HeaderValue,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Authority::from_maybe_shared(Bytes::from(upstream.to_string())).ok();
    parts.path_and_query = Some(
        request
            .uri()
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/")),
    );
    *request.uri_mut() = Uri::from_parts(parts).expect("scheme, address and path make a URI");
    let headers = request.headers_mut();
    headers.insert(HOST, host.clone());
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    Ok(match client.request(request).await {
        Ok(mut answer) => {
            for name in [CONNECTION, TRANSFER_ENCODING] {
                answer.headers_mut().remove(name);
            }
            answer.map(BodyExt::boxed)
        }
        Err(err) => {
            let text = Full::new(Bytes::from(format!("the local stack does not answer: {err}\n")));
            let mut answer = Response::new(text.map_err(|never| match never {}).boxed());
            *answer.status_mut() = StatusCode::BAD_GATEWAY;
            answer
        }
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_request_arrives_under_the_other_name_with_its_path_untouched() {
        let upstream = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = upstream.local_addr().unwrap();
        let seen = tokio::spawn(async move {
            let (mut stream, _) = upstream.accept().await.unwrap();
            let mut seen = vec![0; 4096];
            let length = stream.read(&mut seen).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok")
                .await
                .unwrap();
            String::from_utf8(seen[..length].to_vec()).unwrap()
        });
        let front = FrontDoor::reserve().await.unwrap();
        let origin = front.origin();
        let task = front.open(address, HeaderValue::from_static("abc.execute-api.localhost"));
        let mut stream = tokio::net::TcpStream::connect(origin.trim_start_matches("http://"))
            .await
            .unwrap();
        stream
            .write_all(b"GET /a%2Fb/c?x=%20y HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\nrange: bytes=0-1\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let seen = seen.await.unwrap();
        task.abort();
        assert!(seen.starts_with("GET /a%2Fb/c?x=%20y HTTP/1.1\r\n"), "{seen}");
        assert!(
            seen.contains("host: abc.execute-api.localhost\r\n") && seen.contains("range: bytes=0-1"),
            "{seen}"
        );
        assert!(
            answer.starts_with("HTTP/1.1 201") && answer.ends_with("ok"),
            "{answer}"
        );
    }
}
