//! Log lines: one JSON object each, with the request id of the invocation.

use tracing::{Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::Targets, fmt::MakeWriter, layer::SubscriberExt};

/// Crates that log what they send and receive, credentials and phone numbers included, below this level.
const TALKATIVE: [&str; 8] = [
    "aws_runtime",
    "aws_sigv4",
    "aws_smithy_http_client",
    "aws_smithy_runtime",
    "h2",
    "hyper",
    "reqwest",
    "rustls",
];

/// What is logged: `directives` (as in `RUST_LOG`: `info,table=debug`) when they can be read, else everything of
/// ours from `level` up and the talkative crates' warnings. The runtime's span is always on: it holds the request id.
fn targets(directives: Option<&str>, level: Option<&str>) -> Targets {
    let level = level
        .and_then(|level| level.to_ascii_lowercase().parse().ok())
        .unwrap_or(LevelFilter::INFO);
    let quiet = level.min(LevelFilter::WARN);
    let preset = Targets::new()
        .with_default(level)
        .with_targets(TALKATIVE.map(|name| (name, quiet)))
        .with_target("lambda_runtime", Level::INFO);
    directives
        .and_then(|directives| directives.parse().ok())
        .unwrap_or(preset)
}

/// A subscriber that writes to `writer`.
pub(super) fn subscriber<W>(
    directives: Option<&str>,
    level: Option<&str>,
    writer: W,
) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(true)
        .with_ansi(false)
        .with_writer(writer)
        .with_filter(targets(directives, level));
    tracing_subscriber::registry().with(lines)
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_one_json_object_with_the_request_id() {
        let lines = Lines::default();
        let writer = lines.clone();
        tracing::subscriber::with_default(subscriber(None, None, move || writer.clone()), || {
            // As the runtime's own `TracingLayer` opens it.
            let _span = tracing::info_span!(target: "lambda_runtime::layers::trace", "Lambda runtime invoke", requestId = "req-1").entered();
            tracing::info!(call.id = "call_1", "Placed call `call_1`");
            tracing::debug!("not at this level");
            tracing::info!(target: "hyper::client", "authorization: Basic hunter2");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "Placed call `call_1`");
        assert_eq!(line["call.id"], "call_1");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["spans"][0]["requestId"], "req-1");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn the_level_is_read_in_any_case_and_directives_win() {
        let on = |targets: &Targets, target, level| targets.would_enable(target, &level);
        let debug = targets(None, Some("DEBUG"));
        assert!(on(&debug, "services", Level::DEBUG) && !on(&debug, "hyper", Level::INFO));
        let error = targets(None, Some("error"));
        assert!(
            !on(&error, "hyper", Level::WARN) && on(&error, "lambda_runtime::layers::trace", Level::INFO)
        );
        let own = targets(Some("warn,table=trace"), Some("debug"));
        assert!(on(&own, "table", Level::TRACE) && !on(&own, "services", Level::INFO));
        assert!(on(&targets(Some("=="), Some("loud")), "services", Level::INFO));
    }
}
