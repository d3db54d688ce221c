#![doc = include_str!("../README.md")]

#[cfg(feature = "inbound")]
pub mod inbound;
#[cfg(feature = "projection")]
pub mod projection;
