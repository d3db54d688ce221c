//! The functions as Lambda starts them, against DynamoDB's semantics in process and the Exotel simulator.

#[path = "../../../webhooks/tests/it/aws.rs"]
mod aws;
mod evaluating;
mod polling;
mod sweeping;
