#![doc = include_str!("../README.md")]

#[cfg(feature = "jwt")]
pub mod auth;
pub mod capability;
pub mod config;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "https")]
pub mod https;
#[cfg(feature = "init")]
pub mod init;
pub mod metrics;
#[cfg(any(feature = "sqs", feature = "streams"))]
pub mod records;
#[cfg(feature = "websocket")]
pub mod websocket;

mod error;

pub use error::Error;
