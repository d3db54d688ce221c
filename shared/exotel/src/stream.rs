//! AgentStream: a call's audio over a WebSocket. Exotel is the client, whoever hosts the bot is the server.
//!
//! - [`StreamUrl`] holds the rules of the URL that Exotel dials, and makes the answer to an applet that asks for one
//!   ([`StreamRequest`](crate::callback::StreamRequest) is its question).
//! - With the feature `stream`, [`Message`] reads what Exotel sends and [`outgoing`] writes what it understands.
//! - [`GetActiveStreams`] tells how many streams an account has, and may have.
//!
//! Audio is linear PCM in both directions: signed 16 bits, little-endian, mono, as base64, at the rate that the URL asked
//! for. All messages are text frames.
//!
//! <https://docs.exotel.com/exotel-agentstream/stream-applet>

#[cfg(feature = "client")]
mod active;
#[cfg(feature = "stream")]
mod incoming;
#[cfg(feature = "stream")]
pub mod outgoing;
#[cfg(feature = "stream")]
mod skim;
mod url;

#[cfg(feature = "client")]
pub use self::active::{ActiveStreams, GetActiveStreams};
#[cfg(feature = "stream")]
pub use self::incoming::{Dtmf, Incoming, Mark, Media, MediaFormat, Message, MessageError, Start, Stop};
#[cfg(feature = "client")]
pub(crate) use self::url::check as check_url;
pub use self::url::{IllegalStreamUrl, StreamUrl};
