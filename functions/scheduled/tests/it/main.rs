//! The functions as Lambda starts them, against DynamoDB's semantics in process and the Exotel simulator.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

#[path = "../../../webhooks/tests/it/aws.rs"]
mod aws;
mod evaluating;
mod polling;
mod polling_heartbeat;
mod rolling_up;
mod sweeping;
