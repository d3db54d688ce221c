//! What can go wrong between a test and the function it drives.

use std::{io, process::ExitStatus, time::Duration};

/// Why a function could not be started, driven or measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program could not be started, or the loopback address not be bound.
    #[error("cannot start {program}")]
    Start {
        /// The program as it was asked for.
        program: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The function reported that its init phase failed (`/runtime/init/error`).
    #[error("init failed: {}", .0.message)]
    Init(Failure),
    /// The function answered this event with an error (`/runtime/invocation/{id}/error`).
    #[error("the function failed: {}", .0.message)]
    Function(Failure),
    /// The process ended while a response was owed.
    #[error("the process ended with {status} while a response was owed; it last said: {log}")]
    Exited {
        /// How it ended.
        status: ExitStatus,
        /// The last of what it wrote to stdout and stderr.
        log: String,
    },
    /// The function's timeout passed; as on Lambda, the process was killed.
    #[error("no complete response within {0:?}; the process was killed")]
    TimedOut(Duration),
    /// A streamed response broke off: an error trailer, or a connection closed before the last chunk.
    #[error("the streamed response broke off: {0}")]
    BrokenStream(String),
    /// The response's metadata prelude is not the JSON that Lambda reads.
    #[error("the streamed response's prelude cannot be read")]
    Prelude(#[source] serde_json::Error),
    /// The kernel does not say what the process uses: it is gone, or this is not Linux.
    #[error("cannot measure process {pid}")]
    Unmeasured {
        /// The process id.
        pid: u32,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// An error as a Lambda function reports it.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The word that alarms and retries match on.
    #[serde(default)]
    pub error_type: String,
    /// The sentence for people.
    #[serde(default, rename = "errorMessage")]
    pub message: String,
}
