//! The bundle on a running local stack, from outside; the crate's README tells how it is run.

mod afterwards;
mod alone;
mod bad_input;
mod calls;
mod directory;
mod faults;
mod house;
mod idempotency;
mod messages;
mod raw_events;
mod recordings;
mod webhooks;
