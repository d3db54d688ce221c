//! The door at which Exotel asks for a stream's URL, over a table in process and the simulator.
#![expect(clippy::unwrap_used, reason = "a test's own values")]

mod alarms;
mod asking;
mod bad_input;
mod ends;
mod events;
mod gateway;
mod given;
mod logs;
mod simulated;
mod strangers;
mod talks;
