//! What can keep a simulator from starting.

use std::net::SocketAddr;

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on: choose another port, or 0 for a free one.
    #[error("cannot listen on {address}; is another simulator running there? --port 0 takes a free port")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// An option has no meaning.
    #[error("{0}")]
    Options(String),
}
