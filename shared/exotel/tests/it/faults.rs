//! Failures without an answer: which of them may have reached Exotel?

use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use exotel::calls::ConnectCall;
use exotel::{Client, Error, SINGAPORE};
use reqwest::dns::{Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::server::{Server, client_at, client_of, http_builder, reqwest_client};

async fn failure(client: &Client) -> Error {
    client
        .send(&ConnectCall::two_legs(
            "+919811100001",
            "+919811100002",
            "08045550100",
        ))
        .await
        .unwrap_err()
}

fn was_not_sent(error: &Error) -> bool {
    matches!(error, Error::NotSent { .. }) && error.is_retryable() && !error.may_have_reached_exotel()
}

fn is_open(error: &Error) -> bool {
    matches!(error, Error::Unconfirmed { .. }) && !error.is_retryable() && error.may_have_reached_exotel()
}

/// A server that takes one request and then does something other than answering it.
async fn server<F>(misbehave: impl FnOnce(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        misbehave(stream).await;
    });
    address
}

async fn read_request(stream: &mut TcpStream) {
    let mut request = Vec::new();
    while !String::from_utf8_lossy(&request).contains("CallType=trans") {
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_refused_connection_was_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert!(was_not_sent(&failure(&client_of(address)).await));
}

#[tokio::test]
async fn a_failed_tls_handshake_was_not_sent() {
    let address = server(|mut stream| async move {
        let mut hello = [0; 1024];
        let _ = stream.read(&mut hello).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    let client = client_at(&format!("https://{}", address.await), reqwest_client());
    assert!(was_not_sent(&failure(&client).await));
}

enum Names {
    Unknown,
    NeverAnswer,
}

impl Resolve for Names {
    fn resolve(&self, _: Name) -> Resolving {
        match self {
            Self::Unknown => Box::pin(async { Err("no such host".into()) }),
            Self::NeverAnswer => Box::pin(pending()),
        }
    }
}

#[tokio::test]
async fn an_unknown_host_was_not_sent() {
    let http = http_builder().dns_resolver(Names::Unknown).build().unwrap();
    assert!(was_not_sent(&failure(&client_at(SINGAPORE, http)).await));
}

#[tokio::test]
async fn a_timeout_while_connecting_was_not_sent() {
    let connecting = http_builder()
        .dns_resolver(Names::NeverAnswer)
        .connect_timeout(Duration::from_millis(20));
    assert!(was_not_sent(
        &failure(&client_at(SINGAPORE, connecting.build().unwrap())).await
    ));
}

#[tokio::test]
async fn silence_after_the_request_leaves_the_call_open() {
    let address = server(|mut stream| async move {
        read_request(&mut stream).await;
        pending().await
    });
    let client = client_of(address.await).with_timeout(Duration::from_millis(200));
    assert!(is_open(&failure(&client).await));
}

#[tokio::test]
async fn a_timeout_of_the_whole_request_leaves_the_call_open_even_while_connecting() {
    // Nothing tells it apart from a timeout after sending: the cautious answer is the right one.
    let http = http_builder().dns_resolver(Names::NeverAnswer).build().unwrap();
    let client = client_at(SINGAPORE, http).with_timeout(Duration::from_millis(20));
    assert!(is_open(&failure(&client).await));
}

#[tokio::test]
async fn a_reset_after_the_request_leaves_the_call_open() {
    let address = server(|mut stream| async move {
        read_request(&mut stream).await;
        stream.set_zero_linger().unwrap();
    });
    assert!(is_open(&failure(&client_of(address.await)).await));
}

#[tokio::test]
async fn a_connection_closed_on_accept_leaves_the_call_open() {
    let address = server(|stream| async move { drop(stream) });
    assert!(is_open(&failure(&client_of(address.await)).await));
}

#[tokio::test]
async fn an_answer_that_is_no_http_leaves_the_call_open() {
    let address = server(|mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"220 mail.example.in ESMTP\r\n").await.unwrap();
    });
    assert!(is_open(&failure(&client_of(address.await)).await));
}

async fn cut_short(head: &'static str) -> Error {
    let address = server(move |mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(head.as_bytes()).await.unwrap();
    });
    failure(&client_of(address.await)).await
}

#[tokio::test]
async fn a_success_cut_short_leaves_the_call_open() {
    let error = cut_short("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"Call\":{\"Sid\":").await;
    assert!(is_open(&error));
    assert_eq!(error.status(), Some(200));
}

#[tokio::test]
async fn a_refusal_cut_short_is_still_a_refusal_but_a_503_is_not_clear() {
    assert!(
        cut_short("HTTP/1.1 401 Unauthorized\r\nContent-Length: 500\r\n\r\n{\"Rest")
            .await
            .is_refused_for_good()
    );
    assert!(
        cut_short("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 500\r\n\r\n")
            .await
            .is_retryable()
    );
    assert!(is_open(
        &cut_short("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 500\r\n\r\n{\"RestException\":")
            .await
    ));
}

#[tokio::test]
async fn a_redirect_leaves_the_call_open_whether_it_is_followed_or_not() {
    let server = Server::redirecting(307, "/elsewhere").await;
    assert!(is_open(&failure(&server.client).await));
    let seen = server.seen();
    let base = format!("http://{}", seen[0].headers["host"].to_str().unwrap());
    let strict = client_at(&base, http_builder().redirect(Policy::none()).build().unwrap());
    assert!(is_open(&failure(&strict).await));
}

#[tokio::test]
async fn an_unreachable_redirect_does_not_look_like_a_request_that_never_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    // The first is followed with a GET, the second with the same POST if at all.
    for status in ["302 Found", "307 Temporary Redirect"] {
        let address = server(move |mut stream| async move {
            read_request(&mut stream).await;
            let answer =
                format!("HTTP/1.1 {status}\r\nLocation: http://{nobody}/\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        assert!(is_open(&failure(&client_of(address.await)).await), "{status}");
    }
}

#[tokio::test]
async fn no_error_shows_a_number_or_a_secret() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = client_of(listener.local_addr().unwrap());
    drop(listener);
    let error = client
        .send(&exotel::numbers::GetNumber {
            number: "+919811100002".into(),
        })
        .await
        .unwrap_err();
    let mut shown = format!("{error:?}");
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        shown += &error.to_string();
        cause = error.source();
    }
    assert!(
        !shown.contains("98111") && !shown.contains("a2V5OnRva2Vu"),
        "{shown}"
    );
}
