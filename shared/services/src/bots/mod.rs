//! The bots: what each answers to a turn of a caller.
//!
//! [`Bots`] is built once from what `VOICEBOT_BOTS` says. Whoever plays the call asks it [`Bots::answer`] once per turn
//! and gets sound at the call's rate. It never fails: when a bot does not answer, the caller hears a prompt that asks
//! them to say it again, and the call goes on; when it has not answered three times in a row, the call is handed on with
//! the outcome [`FAILED`], for the flow to send it to a person.

mod echo;
mod embedded;
mod http;
#[cfg(feature = "lex")]
mod lex;
mod menu;

use std::{
    collections::{BTreeMap, HashMap},
    pin::Pin,
    sync::Arc,
};

use domain::{
    ids::VoiceSessionId,
    voicebot::{
        Listen, Rate, Then,
        bots::{self, BotKind},
        record::LONGEST_LINE,
    },
};
use jiff::Timestamp;

/// The outcome of a call that is handed on because its bot does not answer.
pub const FAILED: &str = "bot_failed";
/// So many turns in a row a bot may leave unanswered.
const MOST_FAILURES: u8 = 3;
/// The longest state that a bot of the team's may keep, in bytes; with what we add it has 512.
const LONGEST_STATE: usize = 500;
/// The longest outcome of a transfer, in bytes.
const LONGEST_OUTCOME: usize = 64;
/// The longest sound of an answer, in milliseconds: playing it has to fit into the 180 s of the function that does.
const LONGEST_SOUND_MS: u64 = 150_000;
/// Words are cut to so many bytes: the record keeps characters, of four bytes at the most.
const LONGEST_TRANSCRIPT: usize = 4 * LONGEST_LINE;

/// A turn of a caller, as a bot gets it.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    /// The call with the bot.
    pub session: &'a VoiceSessionId,
    /// The bot's name.
    pub bot_id: &'a str,
    /// Exotel's id of the stream.
    pub stream_sid: &'a str,
    /// Exotel's id of the call, when `start` named it.
    pub call_sid: Option<&'a str>,
    /// `from` of `start`.
    pub from: Option<&'a str>,
    /// `to` of `start`.
    pub to: Option<&'a str>,
    /// `custom_parameters` of `start`.
    pub custom_parameters: &'a BTreeMap<String, String>,
    /// Which turn it is; 0 is the greeting. A turn that is asked again has the same number.
    pub turn: u32,
    /// The call's sample rate, in which the bot is to answer.
    pub rate: Rate,
    /// What the caller did.
    pub said: &'a Said,
}

/// What a caller did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// They are there: the stream began.
    Start,
    /// They said something: PCM at the call's rate.
    Speech(Vec<u8>),
    /// They pressed keys; none when only the terminator.
    Digits(String),
    /// They did nothing, for so many times in a row.
    Silence(u8),
}

/// What a bot answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What the caller is to hear: PCM at the call's rate; empty for nothing.
    pub audio: Vec<u8>,
    /// What comes after it.
    pub then: Then,
    /// What is to be given back with the next turn, 512 bytes at most. It replaces what was kept, if the answer is played.
    pub state: String,
    /// What the bot understood the caller to say, in words.
    pub heard: Option<String>,
    /// What the bot says, in words.
    pub said: Option<String>,
    /// Why the bot did not answer, when it did not; then the rest is what is played instead. Fit for a log and for the
    /// session's record: no number, URL or secret is in it.
    pub fallback: Option<String>,
}

/// What one bot says, before it is made an [`Answer`].
struct Reply {
    audio: Vec<u8>,
    then: Then,
    /// Kept for the bot until its next turn.
    state: Option<String>,
    heard: Option<String>,
    said: Option<String>,
}

impl Reply {
    /// Sound, and then the caller's turn.
    fn listening(audio: Vec<u8>) -> Self {
        Self {
            audio,
            then: Then::Listen(Listen::default()),
            state: None,
            heard: None,
            said: None,
        }
    }
}

/// What is posted to a bot of the team's, to be signed after <https://www.standardwebhooks.com>.
#[derive(Debug, Clone, Copy)]
pub struct Unsigned<'a> {
    /// The bot's name; each bot has a key of its own.
    pub bot_id: &'a str,
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`, seconds since 1970.
    pub timestamp: i64,
    /// The body.
    pub body: &'a str,
}

/// Whoever has the key with which requests to the team's bots are signed.
pub trait Sign: Send + Sync {
    /// The value of `webhook-signature`.
    fn sign<'a>(&'a self, message: Unsigned<'a>) -> Pin<Box<dyn Future<Output = String> + Send + 'a>>;
}

/// What bots need to be asked.
pub struct Means {
    /// For bots on the public internet: no redirects, https and public addresses alone.
    pub public: reqwest::Client,
    /// For bots on this machine, and no redirects either.
    pub local: reqwest::Client,
    /// Where on this machine bots may be, such as `http://127.0.0.1:9000`; nowhere in the cloud.
    pub local_origins: Vec<String>,
    /// The key.
    pub sign: Arc<dyn Sign>,
    /// For Lex.
    #[cfg(feature = "lex")]
    pub aws: aws_types::SdkConfig,
}

/// A bot that cannot be used as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bot \"{bot_id}\": {problem}")]
pub struct UnusableBot {
    /// The bot's name.
    pub bot_id: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

enum Bot {
    Echo,
    Menu(menu::Menu),
    Http(http::HttpBot),
    #[cfg(feature = "lex")]
    Lex(lex::LexBot),
}

/// All bots whose calls reach us.
pub struct Bots {
    bots: HashMap<String, Bot>,
    excuse: menu::Prompt,
}

impl Bots {
    /// The bots of a configuration; a fleet's are left out, since Exotel is sent to it.
    ///
    /// # Errors
    /// [`UnusableBot`] names the first one that can never answer: a menu that is not there or is broken, a URL on this
    /// machine in the cloud, Lex in a build without.
    pub fn new(configured: &bots::Bots, means: &Means) -> Result<Self, UnusableBot> {
        let mut bots = HashMap::new();
        for (bot_id, kind) in configured.iter() {
            let bot = match kind {
                BotKind::Echo {} => Ok(Bot::Echo),
                BotKind::Menu { tree } => embedded::menu(tree).map(Bot::Menu),
                BotKind::Http { url } => http::HttpBot::new(url, means).map(Bot::Http),
                #[cfg(feature = "lex")]
                BotKind::Lex { .. } => lex::LexBot::new(kind, means)
                    .map(Bot::Lex)
                    .ok_or_else(String::new),
                #[cfg(not(feature = "lex"))]
                BotKind::Lex { .. } => {
                    Err("this build has no Lex; build it with the feature `lex`".to_owned())
                }
                BotKind::Fleet { .. } => continue,
            };
            let bot = bot.map_err(|problem| UnusableBot {
                bot_id: bot_id.to_owned(),
                problem,
            })?;
            bots.insert(bot_id.to_owned(), bot);
        }
        Ok(Self {
            bots,
            excuse: embedded::excuse(),
        })
    }

    /// Has the turn's bot answer. `state` is what the last answer of this call wanted kept; `now` is when the request is
    /// signed. It takes 6 s at most, less for all bots but Lex.
    pub async fn answer(&self, turn: &Turn<'_>, state: Option<&str>, now: Timestamp) -> Answer {
        let kept = Kept::read(state);
        let reply = match self.bots.get(turn.bot_id) {
            None => Err("there is no such bot here".to_owned()),
            Some(Bot::Echo) => Ok(echo::answer(turn)),
            Some(Bot::Menu(menu)) => menu.answer(turn, kept.state),
            Some(Bot::Http(bot)) => bot.answer(turn, kept.state, now).await,
            #[cfg(feature = "lex")]
            Some(Bot::Lex(bot)) => bot.answer(turn).await,
        };
        let reply = reply.and_then(|reply| match turn.rate.ms_of_bytes(reply.audio.len()) {
            0..=LONGEST_SOUND_MS => Ok(reply),
            ms => Err(format!(
                "its answer sounds {} s; say {} s at most, and the rest after the caller's next turn",
                ms / 1_000,
                LONGEST_SOUND_MS / 1_000
            )),
        });
        match reply {
            Ok(reply) => Answer {
                audio: reply.audio,
                then: reply.then,
                state: Kept::write(0, reply.state.as_deref()),
                heard: reply.heard.map(transcript),
                said: reply.said.map(transcript),
                fallback: None,
            },
            Err(problem) => self.excuse(turn, kept, problem),
        }
    }

    fn excuse(&self, turn: &Turn<'_>, kept: Kept<'_>, problem: String) -> Answer {
        let failures = kept.failures.saturating_add(1);
        // A metric filter turns this line into an alarm.
        tracing::warn!(
            alarm = "voicebot.bot_failed",
            voice_session.id = %turn.session,
            bot.id = turn.bot_id,
            turn = turn.turn,
            failures,
            "the bot did not answer: {problem}"
        );
        let then = if failures < MOST_FAILURES {
            Then::Listen(Listen::default())
        } else {
            Then::Transfer(FAILED.to_owned())
        };
        Answer {
            audio: self.excuse.at(turn.rate).unwrap_or_default().to_vec(),
            then,
            state: Kept::write(failures, kept.state),
            heard: None,
            said: None,
            fallback: Some(problem),
        }
    }
}

/// What is kept between two turns: how often in a row the bot has failed, and what it wants itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept<'a> {
    failures: u8,
    state: Option<&'a str>,
}

impl<'a> Kept<'a> {
    /// What no version of ours has written is nothing.
    fn read(state: Option<&'a str>) -> Self {
        let (failures, state) = match state.map(|state| state.split_once('|').unwrap_or((state, ""))) {
            Some((failures, state)) => (failures.parse().unwrap_or(0), state),
            None => (0, ""),
        };
        Self {
            failures,
            state: Some(state).filter(|state| !state.is_empty()),
        }
    }

    fn write(failures: u8, state: Option<&str>) -> String {
        format!("{failures}|{}", state.unwrap_or_default())
    }
}

/// Whether a call can be handed on with this outcome.
fn is_outcome(outcome: &str) -> bool {
    (1..=LONGEST_OUTCOME).contains(&outcome.len()) && !outcome.chars().any(char::is_control)
}

/// Words as they are kept: without control characters, and no more than fit.
fn transcript(mut words: String) -> String {
    words.retain(|c| !c.is_control() || c == '\n');
    words.truncate(words.floor_char_boundary(LONGEST_TRANSCRIPT));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_as_it_was_written() {
        for (failures, state) in [(0, None), (2, None), (0, Some("a|b")), (3, Some("{}"))] {
            let text = Kept::write(failures, state);
            assert_eq!(Kept::read(Some(&text)), Kept { failures, state });
        }
        let nothing = Kept {
            failures: 0,
            state: None,
        };
        assert_eq!(Kept::read(None), nothing);
        assert_eq!(Kept::read(Some("")), nothing);
        assert_eq!(Kept::read(Some("what?")), nothing);
        assert!(Kept::write(u8::MAX, Some(&"x".repeat(LONGEST_STATE))).len() <= 512);
    }

    #[test]
    fn a_transcript_is_cut_between_characters() {
        assert_eq!(transcript("one\u{0}\ntwo".to_owned()), "one\ntwo");
        let long = transcript("आ".repeat(1_000));
        assert!(long.len() <= LONGEST_TRANSCRIPT && long.chars().all(|c| c == 'आ'));
    }
}
