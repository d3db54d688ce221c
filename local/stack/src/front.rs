//! An origin of its own on loopback for one API of the emulator.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode, Uri,
    header::{
        AUTHORIZATION, CONNECTION, HOST, HeaderName, SEC_WEBSOCKET_EXTENSIONS, TRANSFER_ENCODING, UPGRADE,
    },
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::{
    body::Incoming,
    client, server,
    service::service_fn,
    upgrade::{self, Upgraded},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::{Error, frames::Frames};

type Body = BoxBody<Bytes, hyper::Error>;
type Socket = TokioIo<Upgraded>;

/// Where the emulator is told which name a signature covers, see `emulator.py`.
const SIGNED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Stands before one API or function URL of the emulator, as a custom domain does in the cloud: requests to its
/// origin arrive there with the host name by which the emulator knows the API. Its address is known before the
/// stack is deployed, so that functions can be told of it.
///
/// A WebSocket passes too, and is held to what API Gateway takes of a client: text, 32 KB a frame, 128 KB a message.
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

    /// The same for WebSockets: `ws://127.0.0.1:<port>`.
    pub fn socket_origin(&self) -> String {
        format!("ws://{}", self.address)
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
                    let _ = server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades()
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
    let headers = request.headers_mut();
    let signed = headers
        .get(AUTHORIZATION)
        .is_some_and(|value| value.as_bytes().starts_with(b"AWS4-HMAC-SHA256 "));
    if let Some(name) = headers.insert(HOST, host.clone()).filter(|_| signed) {
        headers.insert(SIGNED_HOST, name);
    }
    let wants_socket = headers
        .get(UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let answer = if wants_socket {
        open_socket(upstream, request)
            .await
            .map_err(|err| err.to_string())
    } else {
        pass_plain(client, upstream, request)
            .await
            .map_err(|err| err.to_string())
    };
    Ok(answer.unwrap_or_else(|err| {
        let text = Full::new(Bytes::from(format!("the local stack does not answer: {err}\n")));
        let mut answer = Response::new(text.map_err(|never| match never {}).boxed());
        *answer.status_mut() = StatusCode::BAD_GATEWAY;
        answer
    }))
}

async fn pass_plain(
    client: &Client<HttpConnector, Incoming>,
    upstream: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, hyper_util::client::legacy::Error> {
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
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        request.headers_mut().remove(name);
    }
    client.request(request).await.map(plain)
}

/// An answer for the caller's own connection.
fn plain(mut answer: Response<Incoming>) -> Response<Body> {
    for name in [CONNECTION, TRANSFER_ENCODING] {
        answer.headers_mut().remove(name);
    }
    answer.map(BodyExt::boxed)
}

/// Passes a handshake on; once the emulator has taken it, bytes go both ways until one side ends.
async fn open_socket(
    upstream: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>> {
    let caller = upgrade::on(&mut request);
    // API Gateway agrees to none; compressed frames could not be measured either.
    request.headers_mut().remove(SEC_WEBSOCKET_EXTENSIONS);
    let stream = TcpStream::connect(upstream).await?;
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    let mut answer = sender
        .send_request(request.map(|_| Empty::<Bytes>::new()))
        .await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(plain(answer));
    }
    let emulator = upgrade::on(&mut answer);
    tokio::spawn(async move {
        // A caller that goes away in the middle is its own business here too.
        if let (Ok(caller), Ok(emulator)) = tokio::join!(caller, emulator) {
            join(TokioIo::new(caller), TokioIo::new(emulator)).await;
        }
    });
    Ok(answer.map(|_| Empty::new().map_err(|never| match never {}).boxed()))
}

/// Copies both ways until the emulator ends or either side breaks.
async fn join(caller: Socket, emulator: Socket) {
    let (from_caller, mut to_caller) = tokio::io::split(caller);
    let (mut from_emulator, to_emulator) = tokio::io::split(emulator);
    let inwards = async {
        pass_frames(from_caller, to_emulator).await?;
        // The emulator has been told that this is the end, and has the last word.
        std::future::pending::<io::Result<()>>().await
    };
    let outwards = tokio::io::copy(&mut from_emulator, &mut to_caller);
    tokio::select! {
        _ = inwards => (),
        _ = outwards => {
            let _ = to_caller.shutdown().await;
        }
    }
}

/// Passes frames on to the emulator until the caller ends or sends one that is refused, for which the emulator gets a
/// close frame in the caller's name: it answers with the same code.
async fn pass_frames(mut from: ReadHalf<Socket>, mut to: WriteHalf<Socket>) -> io::Result<()> {
    let (mut frames, mut read, mut out) = (Frames::default(), vec![0; 16 * 1024], Vec::new());
    loop {
        let length = from.read(&mut read).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        let passed = frames.pass(&read[..length], &mut out);
        to.write_all(&out).await?;
        out.clear();
        if let Err(refusal) = passed {
            to.write_all(&refusal.close_frame()).await?;
            // Unread, it would break the connection before the answer is read.
            tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An emulator that answers one request with `answer`, and tells what it was asked.
    async fn upstream(answer: &'static str) -> (SocketAddr, JoinHandle<(String, TcpStream)>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = head(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
            (head, stream)
        });
        (address, asked)
    }

    /// A front door before it, and a caller who has sent `request`.
    async fn called(upstream: SocketAddr, request: &str) -> (TcpStream, JoinHandle<()>) {
        let front = FrontDoor::reserve().await.unwrap();
        let address = front.address;
        let task = front.open(upstream, HeaderValue::from_static("abc.execute-api.localhost"));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        (stream, task)
    }

    /// What stands before the first empty line, that included.
    async fn head(stream: &mut TcpStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    #[tokio::test]
    async fn a_request_arrives_under_the_other_name_with_its_path_untouched() {
        let (address, asked) = upstream("HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok").await;
        let request = "GET /a%2Fb/c?x=%20y HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\
                       range: bytes=0-1\r\n\r\n";
        let (mut caller, task) = called(address, request).await;
        let mut answer = String::new();
        caller.read_to_string(&mut answer).await.unwrap();
        task.abort();
        let (seen, _) = asked.await.unwrap();
        assert!(seen.starts_with("GET /a%2Fb/c?x=%20y HTTP/1.1\r\n"), "{seen}");
        assert!(
            seen.contains("host: abc.execute-api.localhost\r\n") && seen.contains("range: bytes=0-1"),
            "{seen}"
        );
        assert!(!seen.contains("x-forwarded-host"), "nothing is signed: {seen}");
        assert!(
            answer.starts_with("HTTP/1.1 201") && answer.ends_with("ok"),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn the_name_that_a_signature_covers_is_told() {
        let (address, asked) = upstream("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let request = "POST /ws/@connections/a%3D HTTP/1.1\r\nhost: 127.0.0.1:4000\r\ncontent-length: 0\r\n\
                       authorization: AWS4-HMAC-SHA256 Credential=a/b\r\n\r\n";
        let (_caller, task) = called(address, request).await;
        let (seen, _) = asked.await.unwrap();
        task.abort();
        assert!(seen.starts_with("POST /ws/@connections/a%3D "), "{seen}");
        assert!(
            seen.contains("host: abc.execute-api.localhost\r\n")
                && seen.contains("x-forwarded-host: 127.0.0.1:4000\r\n"),
            "{seen}"
        );
    }

    const HANDSHAKE: &str = "GET /ws?call_id=vs_1&token=a%2Fb HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: Upgrade\r\n\
                             upgrade: websocket\r\nsec-websocket-version: 13\r\n\
                             sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
                             sec-websocket-extensions: permessage-deflate\r\nauthorization: Basic Zm9v\r\n\r\n";
    const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                            sec-websocket-accept: x\r\n\r\n";

    #[tokio::test]
    async fn a_websocket_passes_both_ways_until_its_caller_is_gone() {
        let (address, asked) = upstream(SWITCHED).await;
        let (mut caller, task) = called(address, HANDSHAKE).await;
        let answer = head(&mut caller).await;
        assert!(
            answer.starts_with("HTTP/1.1 101 ") && answer.contains("sec-websocket-accept: x\r\n"),
            "{answer}"
        );
        let (seen, mut emulator) = asked.await.unwrap();
        assert!(
            seen.starts_with("GET /ws?call_id=vs_1&token=a%2Fb HTTP/1.1\r\n"),
            "{seen}"
        );
        for line in [
            "host: abc.execute-api.localhost\r\n",
            "upgrade: websocket\r\n",
            "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
            "authorization: Basic Zm9v\r\n",
        ] {
            assert!(seen.contains(line), "{line}: {seen}");
        }
        assert!(!seen.contains("sec-websocket-extensions"), "{seen}");

        let (to, back) = ([0x81, 0x82, 0, 0, 0, 0, b'{', b'}'], [0x81, 0x02, b'o', b'k']);
        let mut read = [0; 8];
        for _ in 0..3 {
            caller.write_all(&to).await.unwrap();
            emulator.read_exact(&mut read).await.unwrap();
            assert_eq!(read, to);
            emulator.write_all(&back).await.unwrap();
            caller.read_exact(&mut read[..4]).await.unwrap();
            assert_eq!(read[..4], back);
        }
        drop(caller);
        assert_eq!(
            emulator.read(&mut read).await.unwrap(),
            0,
            "the emulator hears of it"
        );
        task.abort();
    }

    #[tokio::test]
    async fn a_frame_that_api_gateway_refuses_becomes_a_close_frame() {
        for (frame, code) in [
            (&[0x82, 0x81, 0, 0, 0, 0, 7][..], 1003_u16),
            (&[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], 1009),
        ] {
            let (address, asked) = upstream(SWITCHED).await;
            let (mut caller, task) = called(address, HANDSHAKE).await;
            head(&mut caller).await;
            let (_, mut emulator) = asked.await.unwrap();
            caller.write_all(frame).await.unwrap();
            let mut read = [0; 8];
            emulator.read_exact(&mut read).await.unwrap();
            assert_eq!(read[..6], [0x88, 0x82, 0, 0, 0, 0]);
            assert_eq!(read[6..], code.to_be_bytes());
            // Its answer still reaches the caller, and its end is the caller's.
            emulator.write_all(&[0x88, 0x02, read[6], read[7]]).await.unwrap();
            drop(emulator);
            let mut rest = Vec::new();
            caller.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, [0x88, 0x02, read[6], read[7]]);
            task.abort();
        }
    }

    #[tokio::test]
    async fn a_refused_handshake_is_an_answer_like_any_other() {
        let (address, asked) =
            upstream("HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno").await;
        let request = HANDSHAKE.replace("connection: Upgrade", "connection: Upgrade, close");
        let (mut caller, task) = called(address, &request).await;
        let answer = head(&mut caller).await;
        let mut body = [0; 2];
        caller.read_exact(&mut body).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 401 ") && body == *b"no", "{answer}");
        asked.await.unwrap();
        task.abort();
    }
}
