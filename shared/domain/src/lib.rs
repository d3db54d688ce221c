#![doc = include_str!("../README.md")]

pub mod access;
pub mod alert;
pub mod call;
pub mod call_record;
pub mod directory;
pub mod figures;
pub mod health;
pub mod history;
pub mod idempotency;
pub mod ids;
pub mod integration;
pub mod outbound_limit;
pub mod phone;
pub mod reconcile;
pub mod retry;
pub mod sms;
pub mod steering;
pub mod toll_fraud;
pub mod voicebot;

mod error;
mod rank;

pub use error::DomainError;
pub use rank::Ranked;
