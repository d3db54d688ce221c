//! A call with a bot: what the caller says, when a turn ends, what may be played, and when to hang up.
//!
//! Audio is linear PCM, signed 16 bits, little-endian, mono, in both directions. A *frame* is what Exotel sends, about
//! 100 ms of it; a *chunk* is what we send.

mod rate;

pub use self::rate::{Rate, UnknownRate};
