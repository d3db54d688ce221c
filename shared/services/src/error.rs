//! Why a use case did not do what was asked, by what its door answers.

use table::TableError;

/// A use case was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A value that somebody sent cannot be used.
    #[error("{field} cannot be used: {message}")]
    Field {
        /// The field's name in the JSON or the CSV header.
        field: &'static str,
        /// What is wrong and what would be right.
        message: String,
    },
    /// The whole input cannot be used.
    #[error("{0}")]
    Input(String),
    /// The caller's role may not do this.
    #[error("the role may not do this")]
    Forbidden,
    /// There is no such thing, or it is outside the caller's scope: the two look the same.
    #[error("there is no such thing")]
    NotFound,
    /// Something else has to end first.
    #[error("{0}")]
    Conflict(&'static str),
    /// The lead is being erased: finish that first.
    #[error("the lead is being erased")]
    BeingErased,
    /// The queue `webhook-events` did not take a message.
    #[cfg(feature = "inbound")]
    #[error(transparent)]
    Queue(#[from] crate::inbound::QueueError),
    /// The queue `exports` did not take a message.
    #[cfg(feature = "analytics")]
    #[error(transparent)]
    ExportQueue(#[from] crate::analytics::ExportQueueError),
    /// The link to a file could not be made.
    #[cfg(feature = "analytics")]
    #[error(transparent)]
    Link(#[from] crate::analytics::LinkError),
    /// The table failed.
    #[error(transparent)]
    Table(#[from] TableError),
}

impl ServiceError {
    /// A field that cannot be used.
    pub(crate) fn field(field: &'static str, message: impl ToString) -> Self {
        ServiceError::Field {
            field,
            message: message.to_string(),
        }
    }
}
