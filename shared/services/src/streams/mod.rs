//! Calls with a bot over API Gateway's WebSocket API: who may come in, what is heard, what is said.
//!
//! - [`Doorman`] lets a socket in, or not.
//! - [`Ear`] takes what Exotel sends, message by message, each in its own invocation.
//! - [`Mouth`] answers a turn: it asks the bot and plays what it says, chunk by chunk, unless the caller interrupts.
//!
//! All three step the same [`Session`](domain::voicebot::Session), which lies in the table.

mod doorman;
mod ear;
mod mouth;
mod sockets;

use std::fmt;

use domain::{
    ids::{ConnectionId, VoiceSessionId},
    voicebot::{Ask, Dropped, Session, record::Counts},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use table::{Table, TableError};

use crate::voicebot::sessions::Sessions;

pub use self::{
    doorman::{Admitted, Doorman},
    ear::Ear,
    mouth::{Answered, Mouth},
    sockets::{SocketError, Sockets},
};

/// A session is written on the condition that nobody else has. Ten messages come in a second, so even a dozen in a row
/// that others overtake is not to be expected.
const TRIES: usize = 12;

/// What the bot's function is asked: which call, and which of its turns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The call's socket.
    pub connection_id: ConnectionId,
    /// The turn; 0 is the greeting.
    pub turn: u32,
}

impl Question {
    fn new(connection: &ConnectionId, ask: &Ask) -> Self {
        Self {
            connection_id: connection.clone(),
            turn: ask.turn,
        }
    }
}

/// What came of a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct Hearing {
    /// The bot is to be asked this.
    pub ask: Option<Question>,
    /// Nothing came of it, because of this.
    pub ignored: Option<Ignored>,
}

/// Why nothing came of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// It is binary, or no message of Exotel's, or its audio is not base64.
    Malformed,
    /// It is an event that nobody documents.
    Unknown,
    /// Its socket is not known, or is not the one that may begin the session.
    Stranger,
    /// Its rate is none of the three.
    UnknownRate,
    /// The session did not want it.
    Dropped(Dropped),
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ignored::Malformed => "it cannot be read",
            Ignored::Unknown => "nobody documents its event",
            Ignored::Stranger => "its socket has no call",
            Ignored::UnknownRate => "its sample rate is not 8000, 16000 or 24000",
            Ignored::Dropped(Dropped::BeforeStart) => "it came before start",
            Ignored::Dropped(Dropped::AfterEnd) => "it came after the end",
            Ignored::Dropped(Dropped::OtherStream) => "it belongs to another stream",
            Ignored::Dropped(Dropped::Duplicate) => "it came before",
            Ignored::Dropped(Dropped::Late) => "it came too late",
            Ignored::Dropped(Dropped::Invalid) => "its values are absurd",
        })
    }
}

/// Tells a call's record how it ended, once more when somebody has told it before. A socket whose stream never began has
/// nothing to tell when another one may begin the session: Exotel gives handshakes up, and repeats them.
async fn tell_end(
    table: &Table,
    sessions: &Sessions,
    connection: &ConnectionId,
    session: &Session,
) -> Result<(), TableError> {
    let Some((why, at)) = session.ended() else {
        return Ok(());
    };
    let Some(context) = table.stream_context(connection).await? else {
        return Ok(());
    };
    let voice_session = &context.voice_session;
    if session.started_at().is_none() && table.socket_owner(voice_session).await?.as_ref() != Some(connection)
    {
        return Ok(());
    }
    let counts = counts(session, context.ignored);
    let _ = sessions.ended(voice_session, why, counts, at).await?;
    Ok(())
}

/// What is counted of a call that is over.
fn counts(session: &Session, ignored: u32) -> Counts {
    Counts {
        turns: session.started_at().map_or(0, |_| session.turn() + 1),
        lost_frames: session.lost(),
        ignored,
    }
}
