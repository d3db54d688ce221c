#![doc = include_str!("../README.md")]

pub mod access;
pub mod call;
pub mod directory;
pub mod ids;
pub mod phone;
pub mod sms;

mod error;
mod rank;

pub use error::DomainError;
pub use rank::Ranked;
