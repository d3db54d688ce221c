//! Calls with a bot, from outside: as whoever drives the session sees them.

#![expect(clippy::unwrap_used, reason = "a test's own values")]

mod bad_input;
mod barge_in;
mod budget;
mod keys;
mod line;
mod menu;
mod order;
mod silence;
