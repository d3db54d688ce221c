//! The door of `ws-connect`: who opens a socket.

use std::time::Duration;

use domain::{
    ids::VoiceSessionId,
    voicebot::{Rate, record::VoiceSession},
};
use jiff::Timestamp;
use lambda_kit::{
    Error,
    capability::{SigningKeys, StreamToken},
    config::{BotsConfig, LocaleConfig, Settings, SocketTokenConfig, TableConfig},
    init::{Boot, Live},
    websocket::{Reply, SocketEvent},
};
use secrecy::ExposeSecret;
use services::{
    ServiceError,
    streams::{Admitted, Doorman},
    voicebot::sessions::Sessions,
};

/// A fresh secret may cost this much, and as much again where the one at hand lets nobody in: a caller waits.
const SECRET_PATIENCE: Duration = Duration::from_millis(500);

/// What lets a socket in.
pub struct Credentials {
    keys: SigningKeys,
    bots: BotsConfig,
    pasted: SocketTokenConfig,
}

impl Credentials {
    /// # Errors
    /// [`Error`] for a setting that is missing or cannot be used.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            keys: SigningKeys::from_env(settings)?,
            bots: BotsConfig::from_env(settings)?,
            pasted: SocketTokenConfig::from_env(settings),
        })
    }

    /// Whether a handshake carries the account's own token.
    fn let_in(&self, event: &SocketEvent) -> bool {
        let token = self.pasted.token.as_ref();
        token.is_some_and(|token| event.carries(token.expose_secret()))
    }
}

/// The door of `ws-connect`.
pub struct HandshakeDoor {
    doorman: Doorman,
    sessions: Sessions,
    credentials: Live<Credentials>,
    random: fn() -> u128,
}

/// For which session a handshake may open a socket, and with which bot.
enum Right {
    /// One that was offered.
    Offered(VoiceSessionId),
    /// One that begins with this socket: its URL was pasted into a flow.
    Pasted {
        bot_id: String,
        session: VoiceSessionId,
        rate: Rate,
    },
}

impl HandshakeDoor {
    /// The function's door, its clients built.
    ///
    /// # Errors
    /// [`Error`] for a setting that is missing or cannot be used.
    pub fn open(boot: &Boot, random: fn() -> u128) -> Result<Self, Error> {
        let table = services::connect(boot.aws(), &TableConfig::from_env(boot.settings())?.name);
        let country = LocaleConfig::from_env(boot.settings())?.country;
        Ok(Self::new(
            Doorman::new(table.clone()),
            Sessions::new(table, country),
            boot.live(Credentials::from_env)?,
            random,
        ))
    }

    /// A door in front of these.
    pub fn new(
        doorman: Doorman,
        sessions: Sessions,
        credentials: Live<Credentials>,
        random: fn() -> u128,
    ) -> Self {
        Self {
            doorman,
            sessions,
            credentials,
            random,
        }
    }

    /// Lets a socket in that shows the token of an offered session, or the account's own token: as a Bearer, or as the
    /// password that stood in the URL.
    pub async fn receive(&self, event: &SocketEvent, now: Timestamp) -> Reply {
        if event.is_message() {
            return Reply::UNAUTHORIZED;
        }
        match Box::pin(self.admit(event, now)).await {
            Ok(reply) => reply,
            Err(error) => {
                // A metric filter turns this line into an alarm: a refusal is no error of the function's.
                tracing::error!(
                    alarm = "voicebot.unavailable",
                    connection.id = %event.connection(),
                    "a handshake was refused: {error}"
                );
                Reply::UNAVAILABLE
            }
        }
    }

    async fn admit(&self, event: &SocketEvent, now: Timestamp) -> Result<Reply, ServiceError> {
        let right = match self.right(event, now).await {
            Ok(right) => right,
            Err(refusal) => {
                tracing::warn!(
                    connection.id = %event.connection(),
                    problem.status = refusal.status(),
                    "a handshake was refused: it shows nothing that lets it in"
                );
                return Ok(refusal);
            }
        };
        let connection = event.connection();
        // The function may have started late, while the one of the repetition did not.
        let opened = event.connected_at().unwrap_or(now);
        let session = match right {
            Right::Offered(session) => session,
            Right::Pasted {
                bot_id,
                session,
                rate,
            } => {
                let offered = VoiceSession::new(session.clone(), bot_id, rate);
                self.sessions.offered(&offered).await?;
                session
            }
        };
        let Some(offered) = self.sessions.connected(&session, now).await? else {
            return Ok(Reply::FORBIDDEN);
        };
        let admitted = self
            .doorman
            .admit(connection, &session, &offered.bot_id, opened, now)
            .await?;
        match admitted {
            Admitted::Yes => {
                tracing::info!(connection.id = %connection, voice_session.id = %session, "a socket is open");
                Ok(Reply::OK)
            }
            Admitted::UsedUp => {
                tracing::warn!(
                    connection.id = %connection,
                    voice_session.id = %session,
                    "a handshake was refused: its session has begun on another socket, or a newer handshake has it"
                );
                Ok(Reply::FORBIDDEN)
            }
        }
    }

    async fn right(&self, event: &SocketEvent, now: Timestamp) -> Result<Right, Reply> {
        let mut credentials = self.credentials.get_within(SECRET_PATIENCE, now).await;
        if let Some(token) = event.query("token") {
            let session: VoiceSessionId = event
                .query("call_id")
                .and_then(|id| id.parse().ok())
                .ok_or(Reply::UNAUTHORIZED)?;
            let mut opened = StreamToken::open(token, &session, &credentials.keys, now);
            if matches!(&opened, Err(error) if error.may_be_a_newer_key()) {
                credentials = self.credentials.refetch_within(SECRET_PATIENCE, now).await;
                opened = StreamToken::open(token, &session, &credentials.keys, now);
            }
            return match opened {
                Ok(_) => Ok(Right::Offered(session)),
                Err(Error::Expired) => Err(Reply::FORBIDDEN),
                Err(_) => Err(Reply::UNAUTHORIZED),
            };
        }
        if !credentials.let_in(event) {
            // The secret may have been rotated a moment ago.
            credentials = self.credentials.refetch_within(SECRET_PATIENCE, now).await;
        }
        if !credentials.let_in(event) {
            return Err(Reply::UNAUTHORIZED);
        }
        let named = event.query("bot_id").map(str::to_owned);
        let bot_id = named
            .or_else(|| credentials.bots.default_bot.clone())
            .ok_or(Reply::FORBIDDEN)?;
        match credentials.bots.bots.get(&bot_id) {
            Some(kind) if kind.is_ours() => Ok(Right::Pasted {
                bot_id,
                session: VoiceSessionId::new(now, (self.random)()),
                rate: event
                    .query("sample-rate")
                    .and_then(|hz| Rate::from_hz(hz.parse().ok()?))
                    .unwrap_or(Rate::Hz8000),
            }),
            _ => {
                tracing::warn!("a handshake names no bot of ours; name one as bot_id in the URL");
                Err(Reply::FORBIDDEN)
            }
        }
    }
}
