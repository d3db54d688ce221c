//! What can go wrong with the table, by what the caller does about it.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

/// A cause that we only pass on.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The table did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Throttled, timed out, unreachable, in conflict with somebody else's transaction: the same request may succeed
    /// later. A write may have happened all the same.
    #[error("DynamoDB is not available right now")]
    Unavailable {
        /// What the SDK said; `None` for a conflict with somebody else's write, of which there may have been several.
        #[source]
        source: Option<Cause>,
    },
    /// The item is larger than DynamoDB stores (400 KB).
    #[error("the item is larger than DynamoDB stores (400 KB)")]
    TooLarge,
    /// A cursor that this table never gave out.
    #[error("the cursor is not one of ours; ask for the first page again")]
    Cursor,
    /// An item does not have the form that this version reads.
    #[error("the item {key} does not have the form that this version reads")]
    Corrupt {
        /// Its key, for the operator.
        key: String,
        /// What does not fit.
        #[source]
        source: Cause,
    },
    /// DynamoDB refused the request for good: missing permission, missing table, or a mistake of ours.
    #[error("DynamoDB refused the request; check the table's name and the function's permissions")]
    Refused {
        /// What the SDK said.
        #[source]
        source: Cause,
    },
}

impl TableError {
    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, TableError::Unavailable { .. })
    }

    /// Whether somebody else's transaction had the item at that moment: nothing was written.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, TableError::Unavailable { source: None })
    }

    /// Several tries met somebody else's write each time.
    pub(crate) fn contended() -> Self {
        TableError::Unavailable { source: None }
    }

    /// An item that cannot be read, or a value that cannot be written as one.
    pub(crate) fn corrupt(key: impl Into<String>, source: impl Into<Cause>) -> Self {
        TableError::Corrupt {
            key: key.into(),
            source: source.into(),
        }
    }

    /// Sorts an error of the SDK, once the ones that mean something to the operation were taken out.
    pub(crate) fn from_sdk<E, R>(error: SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        let refused = match &error {
            SdkError::ConstructionFailure(_) => true,
            SdkError::ServiceError(context) => {
                let (code, message) = (context.err().code(), context.err().message());
                if code == Some("TransactionConflictException") {
                    return TableError::contended();
                }
                if code == Some("ValidationException") && message.is_some_and(|m| m.contains("tem size")) {
                    return TableError::TooLarge;
                }
                matches!(
                    code,
                    Some(
                        "ValidationException"
                            | "AccessDeniedException"
                            | "ResourceNotFoundException"
                            | "UnrecognizedClientException"
                            | "MissingAuthenticationToken"
                            | "IncompleteSignature"
                            | "InvalidSignatureException"
                            | "SerializationException"
                            | "ItemCollectionSizeLimitExceededException"
                    )
                )
            }
            _ => false,
        };
        if refused {
            TableError::Refused {
                source: Box::new(error),
            }
        } else {
            TableError::Unavailable {
                source: Some(Box::new(error)),
            }
        }
    }
}
