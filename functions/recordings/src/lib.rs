#![doc = include_str!("../README.md")]

pub mod addresses;
pub mod fetch;
pub mod guard;
pub mod names;
pub mod proxy;
