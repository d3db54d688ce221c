#![doc = include_str!("../README.md")]

pub mod connect;
pub mod ends;
pub mod handshakes;
pub mod messages;
pub mod turns;

/// 128 bits from the operating system, for ids.
///
/// # Panics
/// When the operating system has no randomness: nothing can be named then.
pub fn random() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("Lambda's kernel gives randomness");
    u128::from_ne_bytes(bytes)
}
