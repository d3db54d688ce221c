//! Where a call's stream goes: Exotel asks in the middle of a call, and is answered within a second.

use std::time::Duration;

use aws_types::SdkConfig;
use domain::{
    call_record::Direction,
    ids::VoiceSessionId,
    phone::{Country, PhoneNumber},
    voicebot::{
        Rate,
        bots::{BotKind, Bots},
        record::VoiceSession,
    },
};
use exotel::{callback::PassthruCall, mask_numbers};
use jiff::Timestamp;
use table::{Table, TableError};

use super::sessions::Sessions;

/// One attempt at the one write, and all of them: Exotel waits a second, and the caller with it.
const ATTEMPT: Duration = Duration::from_millis(300);
const OPERATION: Duration = Duration::from_millis(600);
/// The read that tells a number's bot may take so much of it: the write comes after.
const NUMBER_PATIENCE: Duration = Duration::from_millis(200);

/// A question of Exotel's: which URL is this call's stream?
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Its `Content-Type`.
    pub content_type: Option<&'a str>,
    /// Its query string, without the `?`.
    pub query: Option<&'a str>,
    /// Its body.
    pub body: &'a [u8],
    /// The bot that the URL names.
    pub bot: Option<&'a str>,
}

/// A session whose socket's URL may be given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The session.
    pub session: VoiceSession,
    /// Where its stream goes.
    pub to: To,
}

/// Where a stream goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// To our own socket.
    Ours,
    /// To a media server of the team's: its URL, when the bot has one of its own.
    Fleet(Option<String>),
}

/// Why no URL is given out.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The question cannot be read; holds none of its values.
    #[error("{0}")]
    Unreadable(String),
    /// Neither URL nor number names a bot, and there is no default.
    #[error("the call names no bot, and there is no default bot")]
    NoBot,
    /// There is no such bot.
    #[error("there is no such bot")]
    UnknownBot {
        /// Whose name it is: `url`, `number` or `default`.
        named_by: &'static str,
        /// The names of the bots that there are.
        known: String,
    },
    /// The table failed: a socket would find no session.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// What calls are answered by.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The bots.
    pub bots: Bots,
    /// The bot of calls that name none.
    pub default_bot: Option<String>,
    /// The rate of our own streams.
    pub rate: Rate,
    /// Whose numbers national forms are.
    pub country: Country,
    /// Whether the team has media servers, which may have bots that nobody named here.
    pub has_fleet: bool,
}

/// A bot that only the team's media servers know.
static OF_FLEET: BotKind = BotKind::Fleet { url: None };

/// Gives out sessions.
#[derive(Debug, Clone)]
pub struct Offers {
    table: Table,
    sessions: Sessions,
    rules: Rules,
}

impl Offers {
    /// Over this table.
    pub fn new(table: Table, rules: Rules) -> Self {
        Self {
            sessions: Sessions::new(table.clone(), rules.country),
            table,
            rules,
        }
    }

    /// With a client of its own, quick to give up: a caller waits.
    pub fn connect(aws: &SdkConfig, table_name: &str, rules: Rules) -> Self {
        let table = crate::connect_within(aws, table_name, ATTEMPT, OPERATION);
        Self::new(table, rules)
    }

    /// The session of the call that asks, kept with one write. `random` gives the last bits of its id.
    ///
    /// The bot is the one that the URL names, else the called number's, which costs a read, else the default. A number's bot
    /// that nobody knows is the fleet's when there is one, else the default has its calls. A call that goes to a media
    /// server of the team's gets there also when its session cannot be kept.
    ///
    /// # Errors
    /// [`Refused`]: then Exotel goes on in the flow without a bot.
    pub async fn offer(
        &self,
        question: Question<'_>,
        now: Timestamp,
        random: u128,
    ) -> Result<Offer, Refused> {
        let call = PassthruCall::parse(question.content_type, question.body, question.query)
            .map_err(|error| Refused::Unreadable(mask_numbers(&error.to_string())))?;
        let parties = Parties::of(&call, self.rules.country);
        let (bot, kind) = self.bot(question.bot, parties.number.as_ref()).await?;
        let session = self.session(&call, parties, &bot, kind, VoiceSessionId::new(now, random));
        let kept = self.sessions.offered(&session).await;
        let to = match kind {
            BotKind::Fleet { url } => {
                if let Err(error) = kept {
                    tracing::error!(
                        voice_session.id = %session.id, error = &error as &dyn std::error::Error,
                        "a call goes to the fleet, and its session could not be kept"
                    );
                }
                To::Fleet(url.clone())
            }
            _ => {
                kept?;
                To::Ours
            }
        };
        tracing::info!(voice_session.id = %session.id, bot, fleet = session.is_fleet, "a call was offered to a bot");
        Ok(Offer { session, to })
    }

    async fn bot(
        &self,
        of_url: Option<&str>,
        number: Option<&PhoneNumber>,
    ) -> Result<(String, &BotKind), Refused> {
        let Rules {
            bots, default_bot, ..
        } = &self.rules;
        let known = |name: String, named_by| match bots.get(&name) {
            Some(kind) => Ok((name, kind)),
            None => Err(Refused::UnknownBot {
                named_by,
                known: bots.names(),
            }),
        };
        if let Some(name) = of_url.filter(|name| !name.is_empty()) {
            return known(name.to_owned(), "url");
        }
        let Some(name) = self.of_number(number).await else {
            return known(default_bot.clone().ok_or(Refused::NoBot)?, "default");
        };
        match (bots.get(&name), default_bot) {
            (None, _) if self.rules.has_fleet => Ok((name, &OF_FLEET)),
            (None, Some(default_bot)) => {
                // A metric filter turns this line into an alarm.
                tracing::error!(
                    alarm = "voicebot.no_bot",
                    named_by = "number",
                    "a call names a bot that there is not; the default has it"
                );
                known(default_bot.clone(), "default")
            }
            _ => known(name, "number"),
        }
    }

    /// The bot of one of the team's numbers. When that cannot be read in time the default has to do: a caller waits.
    async fn of_number(&self, number: Option<&PhoneNumber>) -> Option<String> {
        let number = number?;
        let read = tokio::time::timeout(NUMBER_PATIENCE, self.table.did_of_number(number)).await;
        let did = match read {
            Ok(Ok(did)) => did?,
            Ok(Err(error)) => {
                let error = mask_numbers(&error.to_string());
                // A metric filter turns this line into an alarm: the caller may hear another number's bot.
                tracing::error!(
                    alarm = "voicebot.unavailable",
                    "the bot of the number {number:?} was not read: {error}"
                );
                return None;
            }
            Err(_) => {
                tracing::error!(
                    alarm = "voicebot.unavailable",
                    "the bot of the number {number:?} was not read in time"
                );
                return None;
            }
        };
        Some(did.bot_id?.as_str().to_owned())
    }

    fn session(
        &self,
        call: &PassthruCall,
        parties: Parties,
        bot: &str,
        kind: &BotKind,
        id: VoiceSessionId,
    ) -> VoiceSession {
        VoiceSession {
            is_fleet: !kind.is_ours(),
            call_sid: call.call_sid.as_str().parse().ok(),
            call: call.custom_field.as_deref().and_then(|field| field.parse().ok()),
            direction: parties.direction,
            caller: parties.caller,
            number: parties.number,
            ..VoiceSession::new(id, bot, kind.dialled_rate().unwrap_or(self.rules.rate))
        }
    }
}

/// Who talks with whom.
#[derive(Debug)]
struct Parties {
    direction: Option<Direction>,
    caller: Option<PhoneNumber>,
    number: Option<PhoneNumber>,
}

impl Parties {
    fn of(call: &PassthruCall, country: Country) -> Self {
        let number =
            |number: Option<&exotel::PhoneNumber>| PhoneNumber::parse(number?.as_str(), country).ok();
        let word = call.direction.as_ref().map(exotel::Direction::as_str);
        Self {
            direction: word.and_then(Direction::from_exotel),
            caller: number(call.person()),
            number: number(call.exophone()),
        }
    }
}
