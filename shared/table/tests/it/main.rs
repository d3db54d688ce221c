//! The access patterns, against DynamoDB's semantics in process.

#![expect(clippy::unwrap_used, reason = "a test's own values")]

mod calls;
mod given;
mod sms;
