#![doc = include_str!("../README.md")]

pub mod alerts;
#[cfg(feature = "analytics")]
pub mod analytics;
pub mod backfill;
#[cfg(feature = "bots")]
pub mod bots;
#[cfg(feature = "call-details")]
pub mod call_details;
#[cfg(any(feature = "inbound", feature = "outbound"))]
pub mod call_records;
#[cfg(any(feature = "outbound", feature = "streams"))]
pub mod clock;
#[cfg(feature = "connect")]
mod connect;
pub mod dids;
#[cfg(feature = "directory")]
pub mod directory;
mod error;
#[cfg(feature = "figures")]
pub mod figures;
#[cfg(any(feature = "inbound", feature = "outbound"))]
pub mod health;
#[cfg(feature = "inbound")]
pub mod inbound;
pub mod logs;
#[cfg(any(feature = "call-details", feature = "directory", feature = "raw-events"))]
mod masking;
#[cfg(feature = "outbound")]
pub mod outbound;
#[cfg(feature = "projection")]
pub mod projection;
#[cfg(any(feature = "directory", feature = "raw-events"))]
pub mod raw_events;
#[cfg(feature = "reconcile")]
pub mod reconcile;
pub mod recordings;
pub mod scope;
#[cfg(feature = "streams")]
pub mod streams;
pub mod unconfirmed;
pub mod voicebot;

#[cfg(feature = "connect")]
pub use connect::{connect, connect_within};
pub use error::ServiceError;
pub use table::{Page, Table, TableError};
