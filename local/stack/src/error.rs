//! What can go wrong between `cargo xtask local` and a stack that answers.

use std::{io, path::PathBuf};

/// Why there is no stack.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No Python that will do; the text says what was tried and what to install.
    #[error("{0}")]
    Python(String),
    /// A program that we started ended badly; the text says which, and what it said last.
    #[error("{0}")]
    Program(String),
    /// The template cannot be read, or does not say what it must.
    #[error("template.yaml: {0}")]
    Template(String),
    /// The emulator refused or rolled back the stack; the text lists the resources that failed, with the reason.
    #[error("the stack was not created: {0}")]
    Stack(String),
    /// A call to the emulator failed.
    #[error("the emulator did not {doing}")]
    Emulator {
        /// What was asked, as an infinitive.
        doing: &'static str,
        /// The SDK's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file or socket.
    #[error("{what}")]
    Io {
        /// What was being done to which file or socket.
        what: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn file(what: &str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        Self::io(format!("{what} {}", path.into().display()))
    }

    pub(crate) fn emulator<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        doing: &'static str,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Emulator {
            doing,
            source: source.into(),
        }
    }
}
