#![doc = include_str!("../README.md")]

pub mod fetch;
pub mod guard;
pub mod proxy;
