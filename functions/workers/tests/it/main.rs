//! The workers as Lambda drives them: batches in, failed ids out, against DynamoDB's semantics in process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "../../../webhooks/tests/it/aws.rs"]
mod aws;
mod call_records;
mod deliver;
#[path = "../../src/bin/deliver-alert.rs"]
#[expect(dead_code, reason = "its main is Lambda's")]
mod deliver_alert;
#[path = "../../src/bin/export-history.rs"]
#[expect(dead_code, reason = "its main is Lambda's")]
mod export_history;
mod exports;
mod figures;
mod given;
mod project;
#[path = "../../src/bin/project-events.rs"]
#[expect(dead_code, reason = "its main is Lambda's")]
mod project_events;
mod replay;
#[path = "../../src/bin/replay-events.rs"]
#[expect(dead_code, reason = "its main is Lambda's")]
mod replay_events;
mod retry;
#[path = "../../src/bin/retry-outbound.rs"]
#[expect(dead_code, reason = "its main is Lambda's")]
mod retry_outbound;
mod running;
mod s3;
mod sessions;
