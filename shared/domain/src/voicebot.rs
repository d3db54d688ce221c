//! A call with a bot: what the caller says, when a turn ends, what may be played, and when to hang up.
//!
//! Audio is linear PCM, signed 16 bits, little-endian, mono, in both directions. A *frame* is what Exotel sends, about
//! 100 ms of it; a *chunk* is what we send. A *turn* is what the caller says or presses before the bot is asked. An
//! *epoch* counts interruptions: an answer belongs to the epoch it was made in, and is not heard in a later one.
//!
//! [`Session`] is the call as a state machine without I/O; [`menu`] is the bot that needs no server.

mod keys;
pub mod menu;
mod playback;
mod rate;
mod session;
mod utterance;
mod voice;
mod window;

pub use self::{
    rate::{Rate, UnknownRate},
    session::{
        Ask, Dropped, Ending, Event, Input, Listen, MOST_DIGITS, Message, Post, Rules, Session, Step,
        StopReason, Then,
    },
    utterance::Heard,
};
