//! What is logged while a test runs.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing::subscriber::DefaultGuard;
use tracing_subscriber::EnvFilter;

/// What is logged on this thread, which is all of a test's own.
pub(crate) struct Lines {
    heard: Heard,
    _captured: DefaultGuard,
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl io::Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes).into_owned();
        // The simulator is Exotel: it may say what it likes.
        if !line.contains("\"target\":\"exotel_simulator") {
            self.0.lock().unwrap().push(line);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// Listens from now on: to our own crates at every level, to the others as in production.
    pub(crate) fn capture() -> Self {
        let heard = Heard::default();
        let writer = heard.clone();
        let filter =
            || EnvFilter::new("info,crm=trace,services=trace,table=trace,lambda_kit=trace,exotel=trace");
        // A line that another test comes to first is otherwise taken for one that nobody listens to.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter())
            .with_writer(io::sink)
            .try_init();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_env_filter(filter())
            .with_writer(move || writer.clone())
            .finish();
        Self {
            heard,
            _captured: tracing::subscriber::set_default(subscriber),
        }
    }

    /// Each of these was said: the test came where it could have said too much.
    pub(crate) fn assert_tell(&self, words: &[&str]) {
        let log = self.heard.0.lock().unwrap().join("");
        for told in words {
            assert!(log.contains(told), "{told}: {log}");
        }
    }

    /// None of these was said.
    pub(crate) fn assert_hide(&self, secrets: &[&str]) {
        let log = self.heard.0.lock().unwrap().join("");
        for secret in secrets {
            assert!(!log.contains(secret), "{secret}: {log}");
        }
    }
}
