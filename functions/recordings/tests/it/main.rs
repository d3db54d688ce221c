//! The proxy against real servers on loopback, reached through a resolver that the tests control.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod fetching;
mod hostile;
mod internet;
mod proxying;
