#![doc = include_str!("../README.md")]

pub mod alerts;
pub mod call_records;
pub mod calls;
pub mod dids;
pub mod directory;
pub mod events;
pub mod figures;
pub mod health;
pub mod idempotency;
pub mod limits;
pub mod open;
pub mod quota;
pub mod reconcile;
pub mod record;
pub mod sms;
pub mod streams;
pub mod voice_sessions;

mod error;
mod expression;
mod item;
mod keys;
mod placed;
mod store;

pub use call_records::HeldRecord;
pub use calls::Create;
pub use directory::{Erased, LeadScope, Put};
pub use error::TableError;
pub use events::{EventOwner, RawEvent};
pub use placed::{Claim, Recorded};
pub use record::Record;
pub use store::{Page, Table};
pub use voice_sessions::{Noted, Transcribed};
