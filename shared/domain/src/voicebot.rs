//! A call with a bot: what the caller says, when a turn ends, what may be played, and when to hang up.
//!
//! Audio is linear PCM, signed 16 bits, little-endian, mono, in both directions. A *frame* is what Exotel sends, about
//! 100 ms of it; a *chunk* is what we send. A *turn* is what the caller says or presses before the bot is asked. An
//! *epoch* counts interruptions: an answer belongs to the epoch it was made in, and is not heard in a later one.
//!
//! [`Session`] is the call as a state machine without I/O; [`bots`] says which bots there are, and [`menu`] is the one
//! that needs no server.
//!
//! ```
//! use domain::voicebot::{Event, Input, Listen, Message, Post, Rate, Rules, Session, Then};
//! use jiff::Timestamp;
//!
//! // Each of these moves is its own: it reads the session, makes the move, and writes it if nobody has in between.
//! let now: Timestamp = "2026-11-26T10:00:00Z".parse()?;
//! let rules = Rules::default();
//! let mut session = Session::new(now);
//!
//! // Whoever has a message of Exotel's steps the session, and does what the step says.
//! let start = Message {
//!     stream_sid: Some("4e1c9a70d25b4f83a6c0e7d19b52193w"),
//!     sequence_number: 1,
//!     event: Event::Start(Rate::Hz8000),
//! };
//! let step = session.step(&rules, &start, now);
//! assert!(step.write);
//! let ask = step.ask.expect("the bot is to greet");
//!
//! // Whoever speaks for the bot takes the question, asks the bot, and posts its answer chunk by chunk.
//! let (epoch, input) = session.begin_answer(ask.turn, now).expect("nobody else has taken it");
//! assert_eq!(input, Input::Start);
//! assert!(session.answer(epoch, Then::Listen(Listen::default()), now));
//! let posted = session.post_chunk(epoch, 0, 1_500, now);
//! let mark = session.mark(epoch).expect("nobody has interrupted");
//! let step = session.finish_answer(epoch, now);
//! assert!(matches!(posted, Post::Now { .. }) && mark == "m1" && !step.hang_up);
//!
//! // After each post: did the caller interrupt while it was under way?
//! assert!(!session.clears_again(epoch, now));
//! # Ok::<(), jiff::Error>(())
//! ```

pub mod bots;
mod context;
mod keys;
pub mod menu;
mod playback;
mod rate;
pub mod record;
mod session;
mod utterance;
mod voice;
mod window;

pub use self::{
    context::{StreamCall, StreamContext},
    rate::{Rate, UnknownRate},
    session::{
        Ask, Dropped, Ending, Event, Input, Listen, MOST_DIGITS, Message, Post, Rules, Session, Step,
        StopReason, Then,
    },
    utterance::Heard,
};
