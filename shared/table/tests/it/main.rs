//! The access patterns, against DynamoDB's semantics in process.

#![expect(clippy::unwrap_used, reason = "a test's own values")]

mod alerts;
mod call_records;
mod calls;
mod conflicts;
mod contract;
mod dids;
mod directory;
mod events;
mod figures;
mod given;
mod health;
mod idempotency;
mod items;
mod limits;
mod open;
mod quota;
mod reconcile;
mod reports;
mod sms;
mod streams;
mod voice_sessions;
