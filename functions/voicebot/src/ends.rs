//! The door of `ws-disconnect`: a socket is closed.

use domain::voicebot::Rules;
use jiff::Timestamp;
use lambda_kit::{
    Error,
    config::{LocaleConfig, TableConfig, VoicebotTurnConfig},
    init::{Boot, Invoker},
    metrics::{Metric, Metrics},
    websocket::{Reply, SocketEvent},
};
use services::{streams::Doorman, voicebot::sessions::Sessions};

use crate::messages::ask_bot;

/// The doorman who sees sockets off, and what is asked about last words.
pub struct EndDoor {
    doorman: Doorman,
    sessions: Sessions,
    turns: Invoker,
    metrics: Metrics,
}

impl EndDoor {
    /// The function's door, its clients built.
    ///
    /// # Errors
    /// [`Error`] for a setting that is missing or cannot be used.
    pub fn open(boot: &Boot) -> Result<Self, Error> {
        let settings = boot.settings();
        let table = services::connect(boot.aws(), &TableConfig::from_env(settings)?.name);
        let country = LocaleConfig::from_env(settings)?.country;
        Ok(Self::new(
            Doorman::new(table.clone()),
            Sessions::new(table, country),
            boot.invoker(&VoicebotTurnConfig::from_env(settings)?.function_name)?,
            Metrics::from_env(settings),
        ))
    }

    /// A door in front of these.
    pub fn new(doorman: Doorman, sessions: Sessions, turns: Invoker, metrics: Metrics) -> Self {
        Self {
            doorman,
            sessions,
            turns,
            metrics,
        }
    }

    /// Takes in that a socket is closed. Nobody waits for the answer.
    pub async fn receive(&self, event: &SocketEvent, now: Timestamp) -> Reply {
        let connection = event.connection();
        if event.is_message() {
            tracing::debug!(connection.id = %connection, "a message was ignored: it names an end and is none");
            return Reply::OK;
        }
        let rules = Rules::default();
        let leaving = self.doorman.see_off(connection, &self.sessions, &rules, now);
        match Box::pin(leaving).await {
            // No `stop` came before, and the caller's last words may be an order.
            Ok(Some(question)) => Box::pin(ask_bot(&self.turns, &question)).await,
            Ok(None) => {}
            Err(error) => {
                // A metric filter turns this line into an alarm.
                tracing::error!(
                    alarm = "voicebot.unavailable",
                    connection.id = %connection,
                    "the end of a call is lost: {error}"
                );
                self.metrics.put(now, &[(Metric::VoicebotMessagesLost, 1.0)]);
            }
        }
        Reply::OK
    }
}
