//! The simulator as a client sees it: over HTTP.

#![expect(
    clippy::unwrap_used,
    reason = "clippy knows test functions, but not the functions that they share"
)]

mod access;
mod bot;
mod callbacks;
mod ccm;
mod connect;
mod details;
mod exophones;
mod faults;
mod harness;
mod heartbeat;
mod inbound;
mod list;
mod program;
mod recordings;
mod sms;
mod stream;
mod traffic;
mod voicebot;
