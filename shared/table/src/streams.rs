//! Calls with a bot while they last: the session, what is known of the call, the caller's frames, and which socket may
//! begin. All of it goes by itself some hours later.

use std::hash::{BuildHasher, RandomState};

use aws_sdk_dynamodb::{
    primitives::Blob,
    types::{AttributeValue, ReturnValue},
};
use domain::{
    ids::{ConnectionId, VoiceSessionId},
    voicebot::{Session, StreamCall, StreamContext},
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    Table, TableError,
    expression::Expression,
    item::{self, Entity},
    keys::{self, Attributes},
    store::{Range, Select, Written},
};

/// How long the items of a socket are kept: Exotel ends a stream after an hour, API Gateway a socket after two.
pub const KEPT: SignedDuration = SignedDuration::from_hours(4);

const SESSION: &str = "session";
const STATE: &str = "state";
const REV: &str = "rev";
const CALL: &str = "call";
const IGNORED: &str = "ignored";
const AUDIO: &str = "audio";
const CONNECTION: &str = "connection";
const WRITER: &str = "writer";
const BEGUN: &str = "begun";
const OPENED_MS: &str = "opened_ms";

/// A session as it was read, and what the bot wants to hear again at its next turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldSession {
    /// The session; change it, then write it.
    pub session: Session,
    /// The bot's own notes, as it gave them with its last answer.
    pub state: Option<String>,
    rev: i64,
    /// Which write it was.
    writer: Option<u64>,
}

/// Whose socket a voice session is.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    connection: ConnectionId,
    /// When its handshake came, as API Gateway says.
    #[serde(default)]
    opened_ms: i64,
}

fn ttl(now: Timestamp) -> i64 {
    now.as_second() + KEPT.as_secs()
}

fn decode(connection: &ConnectionId, item: Attributes) -> Result<HeldSession, TableError> {
    /// As the item holds it; the session is one attribute, since it is read and written whole.
    #[derive(Deserialize)]
    struct Row {
        session: String,
        #[serde(default)]
        state: Option<String>,
        rev: i64,
        #[serde(default)]
        writer: Option<u64>,
    }
    let key = keys::stream_session(connection);
    let row: Row = item::body(item.into(), &key)?;
    Ok(HeldSession {
        session: serde_json::from_str(&row.session).map_err(|e| TableError::corrupt(key.to_string(), e))?,
        state: row.state,
        rev: row.rev,
        writer: row.writer,
    })
}

fn json(session: &Session) -> String {
    serde_json::to_string(session).expect("numbers, texts and structs of them always have a JSON form")
}

impl Table {
    /// Lets this socket begin the voice session, unless another one has begun it, or came after it: Exotel repeats a
    /// handshake that failed, and the newest socket is the one that counts, also when the function of the one before was
    /// slower. `opened` is when the handshake came. `false` when the session's token is used up so.
    ///
    /// # Errors
    /// [`TableError`]; claiming again is safe.
    pub async fn claim_socket(
        &self,
        session: &VoiceSessionId,
        connection: &ConnectionId,
        opened: Timestamp,
        now: Timestamp,
    ) -> Result<bool, TableError> {
        let key = keys::socket_owner(session);
        let owner = Owner {
            connection: connection.clone(),
            opened_ms: opened.as_millisecond(),
        };
        let item = item::item(Entity::SocketOwner, &key, None, Some(ttl(now)), &owner)?;
        let newest = Expression::new()
            .only_if_absent(BEGUN)
            .only_if_absent_or_at_most(OPENED_MS, owner.opened_ms);
        let claimed = self.put(item, newest).await?;
        Ok(matches!(claimed, Written::Done(_)))
    }

    /// Notes that this socket's stream has begun, which uses the session's token up. `false` when the session belongs to
    /// another socket. The same socket may note it again.
    ///
    /// # Errors
    /// [`TableError`]; noting it again is safe.
    pub async fn begin_stream(
        &self,
        session: &VoiceSessionId,
        connection: &ConnectionId,
    ) -> Result<bool, TableError> {
        let begun = Expression::new()
            .set(BEGUN, true)
            .only_if(CONNECTION, "=", connection);
        let written = self
            .update(&keys::socket_owner(session), begun, ReturnValue::None)
            .await?;
        Ok(matches!(written, Written::Done(_)))
    }

    /// The socket that may begin the voice session, or has begun it.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn socket_owner(&self, session: &VoiceSessionId) -> Result<Option<ConnectionId>, TableError> {
        let key = keys::socket_owner(session);
        let item = self.get(&key).await?;
        let owner: Option<Owner> = item.map(|item| item::body(item.into(), &key)).transpose()?;
        Ok(owner.map(|owner| owner.connection))
    }

    /// Keeps what a socket that has just opened is for.
    ///
    /// # Errors
    /// [`TableError`]; then the handshake is to be refused.
    pub async fn open_stream(
        &self,
        connection: &ConnectionId,
        context: &StreamContext,
        session: &Session,
        now: Timestamp,
    ) -> Result<(), TableError> {
        #[derive(Serialize)]
        struct Row {
            session: String,
            rev: i64,
        }
        let row = Row {
            session: json(session),
            rev: 0,
        };
        let ttl = Some(ttl(now));
        self.put_all(vec![
            item::item(
                Entity::StreamContext,
                &keys::stream_context(connection),
                None,
                ttl,
                context,
            )?,
            item::item(
                Entity::StreamSession,
                &keys::stream_session(connection),
                None,
                ttl,
                &row,
            )?,
        ])
        .await
    }

    /// The session of a socket.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn stream(&self, connection: &ConnectionId) -> Result<Option<HeldSession>, TableError> {
        let item = self.get(&keys::stream_session(connection)).await?;
        item.map(|item| decode(connection, item)).transpose()
    }

    /// Writes a session, if nobody has since it was read, and holds it on. Otherwise it gives the one that stands there,
    /// read with the same request; `None` when there is none any more.
    ///
    /// # Errors
    /// [`TableError`]; the write may have happened.
    pub async fn write_stream(
        &self,
        connection: &ConnectionId,
        held: &mut HeldSession,
    ) -> Result<Result<(), Option<HeldSession>>, TableError> {
        // Whose answer is lost on the way, the SDK sends again, and it would be overtaken by itself. What is written is no
        // sign: two invocations may make the same of a session within a millisecond. The hasher's keys are random.
        let writer = RandomState::new().hash_one(held.rev);
        let update = Expression::new()
            .set(SESSION, json(&held.session))
            .set_some(STATE, held.state.as_deref())
            .set(REV, held.rev + 1)
            .set(WRITER, writer)
            .only_if(REV, "=", held.rev);
        let key = keys::stream_session(connection);
        match self.update(&key, update, ReturnValue::None).await? {
            Written::Done(_) => {}
            Written::Unmet(item) => {
                let newer = item.map(|item| decode(connection, item)).transpose()?;
                if newer.as_ref().and_then(|newer| newer.writer) != Some(writer) {
                    return Ok(Err(newer));
                }
            }
        }
        held.rev += 1;
        held.writer = Some(writer);
        Ok(Ok(()))
    }

    /// What is known of a socket's call besides its session.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn stream_context(
        &self,
        connection: &ConnectionId,
    ) -> Result<Option<StreamContext>, TableError> {
        let key = keys::stream_context(connection);
        let item = self.get(&key).await?;
        item.map(|item| item::body(item.into(), &key)).transpose()
    }

    /// Adds what Exotel's `start` says to what is known of a socket's call. A second one changes nothing.
    ///
    /// # Errors
    /// [`TableError`]; adding it again is safe.
    pub async fn name_stream_call(
        &self,
        connection: &ConnectionId,
        call: &StreamCall,
    ) -> Result<(), TableError> {
        let update = Expression::new()
            .set(CALL, call)
            .only_if_present(keys::ENTITY_TYPE)
            .only_if_absent(CALL);
        self.update(&keys::stream_context(connection), update, ReturnValue::None)
            .await?;
        Ok(())
    }

    /// Counts a message that nothing came of. It is counted beside the session, for which two invocations would have to
    /// wait for each other.
    ///
    /// # Errors
    /// [`TableError`]; counting again counts twice.
    pub async fn count_ignored(&self, connection: &ConnectionId) -> Result<(), TableError> {
        let update = Expression::new()
            .add(IGNORED, 1)
            .only_if_present(keys::ENTITY_TYPE);
        self.update(&keys::stream_context(connection), update, ReturnValue::None)
            .await?;
        Ok(())
    }

    /// Keeps a frame's audio under its sequence number; a repetition changes nothing.
    ///
    /// # Errors
    /// [`TableError`]; keeping it again is safe.
    pub async fn keep_frame(
        &self,
        connection: &ConnectionId,
        number: u64,
        audio: Vec<u8>,
        now: Timestamp,
    ) -> Result<(), TableError> {
        let key = keys::frame(connection, number);
        let none = std::collections::BTreeMap::<&str, &str>::new();
        let mut item = item::item(Entity::StreamFrame, &key, None, Some(ttl(now)), &none)?;
        item.insert(AUDIO.to_owned(), AttributeValue::B(Blob::new(audio)));
        self.put(item, Expression::new()).await?;
        Ok(())
    }

    /// The frames kept from one sequence number to another, both included, in their order. They are read as they were a
    /// moment ago; when that is fewer than `at_least`, once more as they are.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn frames(
        &self,
        connection: &ConnectionId,
        numbers: std::ops::RangeInclusive<u64>,
        at_least: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, TableError> {
        let frames = self.frames_read(connection, &numbers, true).await?;
        if frames.len() >= at_least {
            return Ok(frames);
        }
        self.frames_read(connection, &numbers, false).await
    }
}

impl Table {
    async fn frames_read(
        &self,
        connection: &ConnectionId,
        numbers: &std::ops::RangeInclusive<u64>,
        late: bool,
    ) -> Result<Vec<(u64, Vec<u8>)>, TableError> {
        let pk = keys::socket_partition(connection);
        let (from, to) = (keys::frame_sk(*numbers.start()), keys::frame_sk(*numbers.end()));
        let mut frames = Vec::new();
        let mut after = None;
        loop {
            let select = Select {
                pk: &pk,
                sk: Range::Between(&from, &to),
                newest_first: false,
                limit: None,
                after,
            };
            let selected = if late {
                self.select_late(select).await?
            } else {
                self.select(select).await?
            };
            for mut item in selected.items {
                let audio = item.remove(AUDIO);
                let key = item::primary(&item.into())?;
                match (keys::frame_number(&key.sk), audio) {
                    (Some(number), Some(AttributeValue::B(audio))) => {
                        frames.push((number, audio.into_inner()))
                    }
                    _ => return Err(TableError::corrupt(key.to_string(), "it is no frame")),
                }
            }
            match frames.last() {
                Some((number, _)) if selected.more => after = Some(keys::frame(connection, *number)),
                _ => return Ok(frames),
            }
        }
    }
}
