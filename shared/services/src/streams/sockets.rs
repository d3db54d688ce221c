//! The sockets of API Gateway, from behind: what is posted to them, and closing them.

use std::time::Duration;

use aws_sdk_apigatewaymanagement::{
    Client,
    config::{Builder, timeout::TimeoutConfig},
    error::SdkError,
    operation::{delete_connection::DeleteConnectionError, post_to_connection::PostToConnectionError},
    primitives::Blob,
};
use aws_types::SdkConfig;
use domain::ids::ConnectionId;

/// A request and its repetitions. No longer than one that is not answered: what was posted may have been passed on, and a
/// chunk would be heard twice, or a `clear` take the next answer with it. A connection that breaks at once is used again.
const OPERATION: Duration = Duration::from_secs(3);

/// Every socket of one WebSocket API.
#[derive(Debug, Clone)]
pub struct Sockets {
    client: Client,
}

/// A socket did not take what was posted.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// It is closed: the caller has hung up, or the flow has gone on.
    #[error("the socket is closed")]
    Gone,
    /// API Gateway did not take it.
    #[error("API Gateway did not pass the message on")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Sockets {
    /// The sockets of the stage with this `https` URL, by a function's AWS settings.
    ///
    /// <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-how-to-call-websocket-api-connections.html>
    pub fn connect(aws: &SdkConfig, stage_url: &str) -> Self {
        let timeouts = aws
            .timeout_config()
            .map(TimeoutConfig::to_builder)
            .unwrap_or_default();
        let config = Builder::from(aws)
            .endpoint_url(stage_url.trim_end_matches('/'))
            .timeout_config(timeouts.operation_timeout(OPERATION).build())
            .build();
        Self {
            client: Client::from_conf(config),
        }
    }

    /// Posts a message, at most 32 KB of text.
    ///
    /// # Errors
    /// [`SocketError`]; unless it is [`SocketError::Gone`], the message may have been passed on.
    pub async fn post(&self, connection: &ConnectionId, text: String) -> Result<(), SocketError> {
        let posted = self
            .client
            .post_to_connection()
            .connection_id(connection.as_str())
            .data(Blob::new(text))
            .send()
            .await;
        posted.map(drop).map_err(|error| match error.as_service_error() {
            Some(PostToConnectionError::GoneException(_)) => SocketError::Gone,
            _ => failed(error),
        })
    }

    /// Closes a socket. One that is closed stays so.
    ///
    /// # Errors
    /// [`SocketError::Failed`]; closing again is safe.
    pub async fn close(&self, connection: &ConnectionId) -> Result<(), SocketError> {
        let closed = self
            .client
            .delete_connection()
            .connection_id(connection.as_str())
            .send()
            .await;
        match closed {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(DeleteConnectionError::GoneException(_)) => Ok(()),
                _ => Err(failed(error)),
            },
        }
    }
}

fn failed<E>(error: SdkError<E>) -> SocketError
where
    E: std::error::Error + Send + Sync + 'static,
{
    SocketError::Failed(error.into())
}
