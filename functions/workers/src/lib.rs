#![doc = include_str!("../README.md")]

pub mod alert_webhook;
pub mod outbound;
