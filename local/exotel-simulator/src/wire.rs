//! Connections: accepted by hand, because a fault may have to reset one.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Request;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::api;
use crate::core::Shared;

/// The connection that a request came on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wire {
    inner: Arc<Cut>,
}

#[derive(Debug, Default)]
struct Cut {
    asked: AtomicBool,
    notify: Notify,
}

impl Wire {
    /// Resets the connection, so that the client sees neither an answer nor an orderly end. Never returns.
    pub(crate) async fn reset(&self) -> ! {
        self.inner.asked.store(true, Ordering::SeqCst);
        self.inner.notify.notify_one();
        std::future::pending().await
    }
}

/// Accepts connections until the simulator is stopped.
pub(crate) async fn serve(core: Shared, listener: TcpListener, router: Router) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                core.spawn(connection(stream, TowerToHyperService::new(router.clone())));
            }
            Err(err) => {
                tracing::warn!("could not accept a connection: {err}");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: TowerToHyperService<Router>) {
    let _ = stream.set_nodelay(true);
    let wire = Wire::default();
    let stream = Resettable {
        stream,
        cut: wire.inner.clone(),
    };
    let to_request = wire.clone();
    let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request: Request<_> = api::strip_suffix(request);
        request.extensions_mut().insert(to_request.clone());
        hyper::service::Service::call(&router, request)
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    let served = http
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        result = served => {
            if let Err(err) = result {
                tracing::debug!("connection ended: {err}");
            }
        }
        () = wire.inner.notify.notified() => {}
    }
}

/// A stream that, once its cut was asked for, goes away with a reset instead of an orderly end.
struct Resettable {
    stream: TcpStream,
    cut: Arc<Cut>,
}

impl Drop for Resettable {
    fn drop(&mut self) {
        if self.cut.asked.load(Ordering::SeqCst) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Resettable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Resettable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
