//! The real client against a local server, and callbacks as they come over the wire.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod answers;
mod callbacks;
mod faults;
mod flows;
mod heartbeats;
mod requests;
mod server;
mod streams;
