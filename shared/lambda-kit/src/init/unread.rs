//! Serving events as the bytes they came as.

use std::{
    mem,
    task::{Context, Poll},
};

use bytes::Bytes;
use lambda_runtime::{
    Diagnostic, LambdaEvent, LambdaInvocation, Runtime, Service, layers::TracingLayer, service_fn,
    tower::layer::layer_fn,
};
use serde::{Serialize, de::IgnoredAny};
use tokio::task::futures::TaskLocalFuture;

use super::BoxError;

tokio::task_local! {
    /// The event that is being handled.
    static EVENT: Bytes;
}

/// Serves events as the bytes they came as, until Lambda stops the process. For a function that is called so often that
/// reading its events is most of what it does: the runtime reads them as JSON and notes every step of it, to say where an
/// event was not what it should be. All else is as [`serve`](super::serve) does it.
///
/// # Errors
/// When the Runtime API cannot be reached.
pub async fn serve_bytes<R>(handle: impl AsyncFn(&[u8]) -> Result<R, Diagnostic>) -> Result<(), BoxError>
where
    R: Serialize,
{
    let handle = &handle;
    let service = move |_: LambdaEvent<IgnoredAny>| async move { handle(&EVENT.get()).await };
    Runtime::new(service_fn(service))
        .layer(layer_fn(Unread))
        .layer(TracingLayer::new())
        .run()
        .await
}

/// Keeps an event from the service within it, which gets an empty one, and has it at hand as [`EVENT`] meanwhile.
struct Unread<S>(S);

impl<S: Service<LambdaInvocation>> Service<LambdaInvocation> for Unread<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = TaskLocalFuture<Bytes, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut invocation: LambdaInvocation) -> Self::Future {
        let event = mem::replace(&mut invocation.body, Bytes::from_static(b"null"));
        EVENT.scope(event, self.0.call(invocation))
    }
}
