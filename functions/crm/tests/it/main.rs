//! Every route, driven by the events that API Gateway sends, against DynamoDB's semantics in process.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod access;
mod alerts;
mod backfill;
mod bad_input;
mod bot_calls;
mod bot_sessions;
mod call_records;
mod directory;
mod events;
mod exophones_route;
mod figures;
mod house;
mod integrations;
mod lines;
mod logs;
mod operators;
mod outbound;
mod recordings;
mod running;

/// The bins' own files: their handlers are what is tested, their `main` is not called.
macro_rules! bin {
    ($name:ident, $path:literal) => {
        #[path = $path]
        #[allow(dead_code, reason = "a bin's main")]
        mod $name;
    };
}

bin!(alerts_bin, "../../src/bin/alerts.rs");
bin!(analytics, "../../src/bin/analytics.rs");
bin!(click_to_call, "../../src/bin/click-to-call.rs");
bin!(call_log, "../../src/bin/call-log.rs");
bin!(call_record, "../../src/bin/call-record.rs");
bin!(directory_bin, "../../src/bin/directory.rs");
bin!(exophones, "../../src/bin/exophones.rs");
bin!(exotel_status, "../../src/bin/exotel-status.rs");
bin!(integrations_bin, "../../src/bin/integrations.rs");
bin!(my_call_number, "../../src/bin/my-call-number.rs");
bin!(raw_events, "../../src/bin/raw-events.rs");
bin!(reconciliation, "../../src/bin/reconciliation.rs");
bin!(recording_link, "../../src/bin/recording-link.rs");
bin!(send_sms, "../../src/bin/send-sms.rs");
bin!(sms_log, "../../src/bin/sms-log.rs");
bin!(timeline, "../../src/bin/timeline.rs");
bin!(voicebot_call, "../../src/bin/voicebot-call.rs");
bin!(voicebot_sessions, "../../src/bin/voicebot-sessions.rs");
