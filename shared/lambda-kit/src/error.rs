//! What can go wrong in this crate, by what the caller does about it.

/// A setting, secret or signature that cannot be used. The message never holds a setting's value, since it may be
/// a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting that this function cannot do without is neither in the environment nor in the secret. Init fails.
    #[error("{variable} is not set: {doc}")]
    Missing {
        /// The variable's name.
        variable: &'static str,
        /// What it is for, from [`crate::config::VARIABLES`].
        doc: &'static str,
    },
    /// A setting has a value that cannot be used. Init fails.
    #[error("{variable} cannot be used: {reason}")]
    Invalid {
        /// The variable's name.
        variable: &'static str,
        /// What is wrong with the value and what would be right.
        reason: String,
    },
    /// The secret could not be fetched or read. Init fails; later, the last good secret stays in use.
    #[error("the secret that SECRET_ARN names could not be read: {0}")]
    Secret(String),
    /// Something in init that no setting explains: a subscriber or crypto provider installed twice, no runtime.
    #[error("init failed: {0}")]
    Init(
        &'static str,
        #[source] Option<Box<dyn std::error::Error + Send + Sync>>,
    ),
    /// Another function of ours was not invoked, as far as we know.
    #[error("the function could not be invoked: {0}")]
    Invoke(String),
    /// A capability, ticket or cursor that is malformed, was changed, or was made for something else.
    #[error("the signature does not fit")]
    Forged,
    /// A capability, ticket or cursor signed with a key that is not live here: the key may be newer than our
    /// secret, so fetch the secret again and try once more before refusing.
    #[error("the signing key is not known")]
    UnknownKey,
    /// A ticket that was right, and whose time is over.
    #[error("the ticket has expired")]
    Expired,
}

impl Error {
    /// Whether a fresh secret may turn this into a success.
    pub fn may_be_a_newer_key(&self) -> bool {
        matches!(self, Error::UnknownKey)
    }
}
