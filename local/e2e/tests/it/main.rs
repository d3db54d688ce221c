//! The bundle on a running local stack, from outside; the crate's README tells how it is run.

#![expect(
    clippy::unwrap_used,
    reason = "clippy knows test functions, but not the functions that they share"
)]

mod afterwards;
mod alone;
mod bad_input;
mod calls;
mod directory;
mod faults;
mod house;
mod idempotency;
mod messages;
mod monitoring;
mod raw_events;
mod recordings;
mod voicebot;
mod webhooks;
