//! The door of `ws-message`: what comes over a socket.

use std::time::Duration;

use domain::{ids::ConnectionId, voicebot::Rules};
use jiff::Timestamp;
use lambda_kit::{
    Error,
    config::{LocaleConfig, TableConfig, VoicebotSocketsConfig, VoicebotTurnConfig},
    init::{Boot, Invoker},
    metrics::{Metric, Metrics},
    websocket::{self, Reply, SocketEvent},
};
use services::{
    ServiceError,
    streams::{Ear, Hearing, Question, Sockets},
    voicebot::sessions::Sessions,
};

/// One attempt at a request to the table, and all of them. A frame that is later is worth nothing, but `start` comes once,
/// and a call without it is lost; well below the function's Timeout, so that what is lost is counted.
const ATTEMPT: Duration = Duration::from_secs(2);
const OPERATION: Duration = Duration::from_secs(6);

/// The function's ear, and what it has asked.
pub struct MessageDoor {
    ear: Ear,
    turns: Invoker,
    metrics: Metrics,
}

impl MessageDoor {
    /// The function's door, its clients built.
    ///
    /// # Errors
    /// [`Error`] for a setting that is missing or cannot be used.
    pub fn open(boot: &Boot) -> Result<Self, Error> {
        let settings = boot.settings();
        let table_name = TableConfig::from_env(settings)?.name;
        let table = services::connect_within(boot.aws(), &table_name, ATTEMPT, OPERATION);
        let stage_url = VoicebotSocketsConfig::from_env(settings)?.stage_url;
        let sockets = Sockets::connect(boot.aws(), stage_url.as_str());
        let country = LocaleConfig::from_env(settings)?.country;
        let sessions = Sessions::new(table.clone(), country);
        let ear = Ear::new(table, sockets, sessions, Rules::default());
        let turns = boot.invoker(&VoicebotTurnConfig::from_env(settings)?.function_name)?;
        Ok(Self::new(ear, turns, Metrics::from_env(settings)))
    }

    /// A door that hands over to this ear.
    pub fn new(ear: Ear, turns: Invoker, metrics: Metrics) -> Self {
        Self { ear, turns, metrics }
    }

    /// Takes a message's event in, as it came. Nearly all are frames, which are skimmed; whatever is not what it usually is
    /// is read as JSON.
    ///
    /// # Errors
    /// When it is no event of a socket's.
    pub async fn hear_bytes(&self, event: &[u8], now: Timestamp) -> Result<Reply, serde_json::Error> {
        if let Some((connection, escaped)) = websocket::skim(event)
            && let Some(heard) = Box::pin(self.ear.hear_frame(&connection, escaped, now)).await
        {
            return Ok(self.follow(&connection, heard, now).await);
        }
        Ok(self.hear(&serde_json::from_slice(event)?, now).await)
    }

    /// Takes a message in. It is always answered as taken: API Gateway would tell Exotel of anything else in a message
    /// of its own, which no call is better for.
    pub async fn hear(&self, event: &SocketEvent, now: Timestamp) -> Reply {
        let connection = event.connection();
        // Boxed: the state of several SDK requests is large, and deep for the compiler.
        let heard = Box::pin(self.ear.hear(connection, event.text(), now)).await;
        self.follow(connection, heard, now).await
    }

    async fn follow(
        &self,
        connection: &ConnectionId,
        heard: Result<Hearing, ServiceError>,
        now: Timestamp,
    ) -> Reply {
        match heard {
            Ok(Hearing { ask, ignored }) => {
                if let Some(ignored) = ignored {
                    tracing::debug!(connection.id = %connection, "a message was ignored: {ignored}");
                }
                if let Some(question) = ask {
                    Box::pin(ask_bot(&self.turns, &question)).await;
                }
            }
            Err(error) => {
                tracing::error!(connection.id = %connection, "a message is lost: {error}");
                self.metrics.put(now, &[(Metric::VoicebotMessagesLost, 1.0)]);
            }
        }
        Reply::OK
    }
}

/// Has the bot asked. When that fails, a session that goes on has it asked again after ten seconds.
pub(crate) async fn ask_bot(turns: &Invoker, question: &Question) {
    if let Err(error) = turns.invoke(question).await {
        // A metric filter turns this line into an alarm.
        tracing::error!(
            alarm = "voicebot.unavailable",
            connection.id = %question.connection_id,
            turn = question.turn,
            "the bot is not asked now: {error}"
        );
    }
}
