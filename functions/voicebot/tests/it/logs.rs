//! Everything that is logged while this binary's tests run is looked at: no token, secret or whole phone number may be in
//! it.

use std::{
    io,
    sync::{Mutex, Once},
};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::{
    gateway,
    given::{FLEET_SECRET, SIGNING_KEY, TOKEN},
};

/// Lines that nobody has looked at yet.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// Lines of our own crates.
static OURS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static SECRETS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static ONCE: Once = Once::new();

/// The national part of each number that the tests use.
const NUMBERS: [&str; 3] = ["9811100001", "9811100002", "8045550100"];

struct Lines;

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes).into_owned();
        let ours = ["services", "voicebot", "lambda_kit"].map(|name| format!("\"target\":\"{name}"));
        if ours.iter().any(|target| line.contains(target)) {
            OURS.lock().unwrap().push(line.clone());
        }
        // The simulator is Exotel: it may say what it likes.
        if !line.contains("\"target\":\"exotel_simulator") {
            LINES.lock().unwrap().push(line);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Lines;

    fn make_writer(&self) -> Lines {
        Lines
    }
}

/// Starts looking, once for all tests: our own crates at every level, the others as in production.
pub(crate) fn capture() {
    ONCE.call_once(|| {
        let filter = EnvFilter::new("info,voicebot=trace,services=trace,table=trace,lambda_kit=trace");
        tracing_subscriber::fmt()
            .json()
            .with_env_filter(filter)
            .with_writer(Lines)
            .init();
    });
}

/// A token that must not be logged.
pub(crate) fn keep_secret(secret: &str) {
    SECRETS.lock().unwrap().push(secret.to_owned());
}

pub(crate) fn assert_clean() {
    let secrets = SECRETS.lock().unwrap();
    let lines = std::mem::take(&mut *LINES.lock().unwrap());
    let ours = [
        TOKEN,
        SIGNING_KEY,
        FLEET_SECRET,
        gateway::WS_TOKEN,
        gateway::SIGNING_KEY,
    ];
    let known = ours.into_iter().chain(NUMBERS);
    for secret in known.chain(secrets.iter().map(String::as_str)) {
        let leak = lines.iter().find(|line| line.contains(secret));
        assert!(leak.is_none(), "{secret} was logged: {}", leak.unwrap());
    }
}

/// Whether some line of ours with this message is one that a metric filter counts as `voicebot.unavailable`.
pub(crate) fn unavailable(message: &str) -> bool {
    let alarm = "\"alarm\":\"voicebot.unavailable\"";
    let lines = OURS.lock().unwrap();
    lines
        .iter()
        .any(|line| line.contains(alarm) && line.contains(message))
}

/// Whether some line of ours holds this text.
pub(crate) fn has(text: &str) -> bool {
    OURS.lock().unwrap().iter().any(|line| line.contains(text))
}
