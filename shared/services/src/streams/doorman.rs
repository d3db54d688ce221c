//! Who may come in.

use domain::voicebot::{Rules, StreamContext};

use super::*;

/// Lets sockets in whose handshake has shown what it must.
#[derive(Debug, Clone)]
pub struct Doorman {
    table: Table,
}

/// What became of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitted {
    /// The socket may open.
    Yes,
    /// Its session has begun on another socket, or a newer handshake has it: what it shows is used up.
    UsedUp,
}

impl Doorman {
    /// In front of this table.
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    /// Lets a socket in as this voice session's, unless that one has begun or a newer socket has it. Exotel repeats a
    /// handshake that failed, so several may come in; the newest one, by when its handshake was `opened`, may begin.
    ///
    /// # Errors
    /// [`TableError`]; then the handshake is to be refused, and may be repeated.
    pub async fn admit(
        &self,
        connection: &ConnectionId,
        voice_session: &VoiceSessionId,
        bot_id: &str,
        opened: Timestamp,
        now: Timestamp,
    ) -> Result<Admitted, TableError> {
        let context = StreamContext {
            voice_session: voice_session.clone(),
            bot_id: bot_id.to_owned(),
            call: None,
            ignored: 0,
        };
        self.table
            .open_stream(connection, &context, &Session::new(now), now)
            .await?;
        if self
            .table
            .claim_socket(voice_session, connection, opened, now)
            .await?
        {
            Ok(Admitted::Yes)
        } else {
            Ok(Admitted::UsedUp)
        }
    }

    /// Takes in that a socket is closed: its session ends, unless somebody has said so before, and its record says how.
    /// Gives what the caller said or pressed last, when nobody has asked the bot about it.
    ///
    /// # Errors
    /// [`TableError`]; taking it in again is safe, and mends a record that lacks the end.
    pub async fn see_off(
        &self,
        connection: &ConnectionId,
        sessions: &Sessions,
        rules: &Rules,
        now: Timestamp,
    ) -> Result<Option<Question>, TableError> {
        let mut held = self.table.stream(connection).await?;
        for _ in 0..TRIES {
            let Some(session) = &mut held else {
                return Ok(None);
            };
            let step = session.session.socket_closed(rules, now);
            if step.write
                && let Err(newer) = self.table.write_stream(connection, session).await?
            {
                held = newer;
                continue;
            }
            let told = tell_end(&self.table, sessions, connection, &session.session).await;
            return match (step.ask, told) {
                (None, told) => told.map(|()| None),
                (Some(ask), told) => {
                    if let Err(error) = told {
                        tracing::warn!(connection.id = %connection, "a call's record does not say how it ended: {error}");
                    }
                    Ok(Some(Question::new(connection, &ask)))
                }
            };
        }
        Err(TableError::Unavailable { source: None })
    }
}
