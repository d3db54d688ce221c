//! The use cases, against DynamoDB's semantics in process.

#![expect(clippy::unwrap_used, reason = "a test's own values")]

mod alerts;
mod analytics;
mod bots;
mod database;
mod evaluation;
mod exotel_model;
mod health;
mod lex;
mod limiter;
mod outbound;
mod schedules;
