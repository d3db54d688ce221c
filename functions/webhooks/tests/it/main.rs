//! The webhooks as Exotel meets them: real requests, a real SDK client, DynamoDB's semantics in process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod aws;
mod bad_input;
mod events;
mod failures;
mod given;
mod heartbeat;
mod logs;
mod order;
mod passthru;
mod routes;
mod running;
