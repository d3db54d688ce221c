//! The crate against real sockets and real events.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

mod events;
mod invoking;
mod key_set;
mod secrets_manager;
mod server;
