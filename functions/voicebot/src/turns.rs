//! The door of `voicebot-turn`: the bots are asked, and their answers played.

use std::{pin::Pin, sync::Arc, time::Duration};

use jiff::Timestamp;
use lambda_kit::{
    Error,
    capability::SigningKeys,
    config::{BotOriginsConfig, BotsConfig, LocaleConfig, TableConfig, VoicebotSocketsConfig},
    https::{SystemNames, client, client_builder, public_hosts_only},
    init::{Boot, BoxError, Diagnostic, Live},
};
use services::{
    ServiceError,
    bots::{Bots, Means, Sign, Unsigned},
    clock::Machine,
    streams::{Answered, Mouth, Question, Sockets},
    voicebot::sessions::Sessions,
};

use crate::random;

/// A fresh secret may cost this much before the bot is asked: a caller waits for it, and three seconds are the bot's.
const SECRET_PATIENCE: Duration = Duration::from_millis(500);

/// The function's bots and clients.
pub struct TurnDoor {
    mouth: Mouth,
}

impl TurnDoor {
    /// Built once, in init.
    ///
    /// # Errors
    /// When a setting is missing or cannot be used.
    pub fn open(boot: &Boot) -> Result<Self, BoxError> {
        let settings = boot.settings();
        let table = services::connect(boot.aws(), &TableConfig::from_env(settings)?.name);
        let sockets = VoicebotSocketsConfig::from_env(settings)?;
        let sockets = Sockets::connect(boot.aws(), sockets.stage_url.as_str());
        let bots = Bots::new(&BotsConfig::from_env(settings)?.bots, &means(boot)?)?;
        let sessions = Sessions::new(table.clone(), LocaleConfig::from_env(settings)?.country);
        let world = Arc::new(Machine::new(random));
        Ok(Self::new(Mouth::new(table, sockets, sessions, bots, world)))
    }

    /// A door that hands over to this mouth.
    pub fn new(mouth: Mouth) -> Self {
        Self { mouth }
    }

    /// Answers a turn. Lambda repeats what fails; a question that was taken is not answered twice.
    ///
    /// # Errors
    /// `VoicebotTurn` when the table failed: the session has the question asked again.
    pub async fn answer(&self, question: &Question) -> Result<(), Diagnostic> {
        let answered = Box::pin(self.mouth.answer(question)).await;
        let says = match answered {
            Ok(Answered::Whole) => "answered",
            Ok(Answered::Interrupted) => "was not heard out",
            Ok(Answered::NotAsked) => "was not asked any more",
            Err(error) => return Err(failed(&error)),
        };
        tracing::info!(connection.id = %question.connection_id, turn = question.turn, "a turn {says}");
        Ok(())
    }
}

fn failed(error: &ServiceError) -> Diagnostic {
    tracing::error!("a turn stays unanswered for now: {error}");
    Diagnostic {
        error_type: "VoicebotTurn".to_owned(),
        error_message: error.to_string(),
    }
}

/// The keys of the installation, as they are when a request is signed.
struct Signing(Live<SigningKeys>);

impl Sign for Signing {
    fn sign<'a>(&'a self, message: Unsigned<'a>) -> Pin<Box<dyn Future<Output = String> + Send + 'a>> {
        Box::pin(async move {
            let keys = self.0.get_within(SECRET_PATIENCE, Timestamp::now()).await;
            keys.sign_bot_turn(message.bot_id, message.id, message.timestamp, message.body)
        })
    }
}

/// What the function's settings give the bots.
///
/// # Errors
/// [`Error`] for a setting that is missing or cannot be used.
pub fn means(boot: &Boot) -> Result<Means, Error> {
    let public = public_hosts_only(client_builder()?, SystemNames)
        .build()
        .map_err(|err| Error::Init("the HTTPS client was refused", Some(err.into())))?;
    Ok(Means {
        public,
        local: client()?,
        local_origins: BotOriginsConfig::from_env(boot.settings())?.extra_origins,
        sign: Arc::new(Signing(boot.live(SigningKeys::from_env)?)),
        aws: boot.aws_without_retries(),
    })
}
