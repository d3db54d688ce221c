//! A bot of Amazon Lex V2, asked by
//! [`RecognizeUtterance`](https://docs.aws.amazon.com/lexv2/latest/APIReference/API_runtime_RecognizeUtterance.html).

use std::{collections::HashMap, error::Error as _, io::Read, time::Duration};

use audio::resample;
use aws_sdk_lexruntimev2::{
    Client,
    config::{Builder, Region, retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    operation::recognize_utterance::RecognizeUtteranceOutput,
    primitives::ByteStream,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::voicebot::{Listen, Rate, Then, bots::BotKind};
use flate2::read::GzDecoder;
use serde::{Deserialize, de::DeserializeOwned};

use super::{Means, Reply, Said, Turn};

/// How long Lex may take; a function of the team's that fulfils an intent is part of it.
const ANSWERED_WITHIN: Duration = Duration::from_secs(6);
const CONNECTED_WITHIN: Duration = Duration::from_millis(1_500);
/// Lex speaks at this rate (`audio/pcm`), and the most that it hears is this.
const LEX_RATE: Rate = Rate::Hz16000;
/// The most sound that is taken: two minutes.
const LONGEST_SOUND: usize = 120 * LEX_RATE.bytes_per_second() as usize;
/// The most that a field of an answer may have, unpacked, in bytes.
const LONGEST_FIELD: u64 = 256 * 1024;
/// Lex hears no more at a time.
const LONGEST_SPEECH_MS: u64 = 15_000;
/// So much silence is said to Lex for a caller who says nothing.
const SILENCE_MS: u64 = 500;
/// The session attribute by which a bot says how a call goes on.
const THEN: &str = "voicebot_then";
/// The intent that stands for what Lex did not understand: no reason to end a call.
const NOT_UNDERSTOOD: &str = "FallbackIntent";

/// A bot of Amazon Lex V2.
pub(super) struct LexBot {
    client: Client,
    bot_id: String,
    alias_id: String,
    locale: String,
    greeting: String,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct SessionState {
    dialog_action: Option<DialogAction>,
    intent: Option<Intent>,
    session_attributes: HashMap<String, String>,
}

#[derive(Deserialize)]
struct DialogAction {
    r#type: String,
}

#[derive(Deserialize)]
struct Intent {
    name: String,
}

impl LexBot {
    /// The bot of a configuration; `None` when that is another kind.
    pub(super) fn new(kind: &BotKind, means: &Means) -> Option<Self> {
        let BotKind::Lex {
            bot_id,
            alias_id,
            locale,
            region,
            greeting,
        } = kind
        else {
            return None;
        };
        // One attempt, with all the time there is: the caller waits.
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECTED_WITHIN)
            .operation_timeout(ANSWERED_WITHIN)
            .build();
        let mut config = Builder::from(&means.aws)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        if let Some(region) = region {
            config = config.region(Region::new(region.clone()));
        }
        Some(Self {
            client: Client::from_conf(config.build()),
            bot_id: bot_id.clone(),
            alias_id: alias_id.clone(),
            locale: locale.clone(),
            greeting: greeting.clone(),
        })
    }

    pub(super) async fn answer(&self, turn: &Turn<'_>) -> Result<Reply, String> {
        tokio::time::timeout(ANSWERED_WITHIN, self.converse(turn))
            .await
            .unwrap_or_else(|_| {
                Err(format!(
                    "Lex did not answer within {} s",
                    ANSWERED_WITHIN.as_secs()
                ))
            })
    }

    async fn converse(&self, turn: &Turn<'_>) -> Result<Reply, String> {
        let (content_type, input) = self.input(turn);
        let output = self
            .client
            .recognize_utterance()
            .bot_id(&self.bot_id)
            .bot_alias_id(&self.alias_id)
            .locale_id(&self.locale)
            .session_id(turn.session.as_str())
            .request_content_type(content_type)
            .response_content_type("audio/pcm")
            .input_stream(ByteStream::from(input))
            .send()
            .await
            .map_err(refused)?;
        let state: SessionState =
            unpack("x-amz-lex-session-state", output.session_state())?.unwrap_or_default();
        let messages: Option<Vec<Message>> = unpack("x-amz-lex-messages", output.messages())?;
        let heard: Option<String> = unpack("x-amz-lex-input-transcript", output.input_transcript())?;
        let words: Vec<_> = messages
            .into_iter()
            .flatten()
            .filter_map(|message| message.content)
            .collect();
        Ok(Reply {
            audio: sound(output, turn.rate).await?,
            then: state.then(),
            state: None,
            // What we said in the caller's place, nobody said.
            heard: heard.filter(|words| !words.is_empty() && matches!(turn.said, Said::Speech(_))),
            said: (!words.is_empty()).then(|| words.join(" ")),
        })
    }

    /// The content type and the body of a turn.
    fn input(&self, turn: &Turn<'_>) -> (&'static str, Vec<u8>) {
        let text = "text/plain; charset=utf-8";
        let pcm = match turn.said {
            Said::Start => return (text, self.greeting.clone().into_bytes()),
            Said::Digits(digits) if !digits.is_empty() => return (text, digits.clone().into_bytes()),
            Said::Digits(_) | Said::Silence(_) => vec![0; turn.rate.bytes_of_ms(SILENCE_MS)],
            Said::Speech(pcm) => pcm[..pcm.len().min(turn.rate.bytes_of_ms(LONGEST_SPEECH_MS))].to_vec(),
        };
        match turn.rate {
            Rate::Hz8000 => (
                "audio/lpcm; sample-rate=8000; sample-size-bits=16; channel-count=1; is-big-endian=false",
                pcm,
            ),
            Rate::Hz16000 | Rate::Hz24000 => (
                "audio/l16; rate=16000; channels=1",
                resample(&pcm, turn.rate, LEX_RATE),
            ),
        }
    }
}

impl SessionState {
    /// How the call goes on: as the bot's session attribute says; else a conversation that Lex has closed is handed on
    /// with its intent's name as the outcome.
    fn then(&self) -> Then {
        let listen = Then::Listen(Listen::default());
        match self.session_attributes.get(THEN).map(String::as_str) {
            Some("listen") => return listen,
            Some("hang_up") => return Then::HangUp,
            Some(outcome) if super::is_outcome(outcome) => return Then::Transfer(outcome.to_owned()),
            _ => {}
        }
        let is_closed = self
            .dialog_action
            .as_ref()
            .is_some_and(|action| action.r#type == "Close");
        match &self.intent {
            Some(intent) if is_closed && intent.name != NOT_UNDERSTOOD && super::is_outcome(&intent.name) => {
                Then::Transfer(intent.name.clone())
            }
            _ => listen,
        }
    }
}

/// What a header holds: JSON, compressed with gzip, as base64.
fn unpack<T: DeserializeOwned>(header: &str, packed: Option<&str>) -> Result<Option<T>, String> {
    let Some(packed) = packed.filter(|packed| !packed.is_empty()) else {
        return Ok(None);
    };
    let unusable = |problem: String| format!("Lex's {header} cannot be used: {problem}");
    let gzip = STANDARD
        .decode(packed)
        .map_err(|problem| unusable(problem.to_string()))?;
    let mut json = Vec::new();
    GzDecoder::new(gzip.as_slice())
        .take(LONGEST_FIELD)
        .read_to_end(&mut json)
        .map_err(|problem| unusable(problem.to_string()))?;
    serde_json::from_slice(&json)
        .map(Some)
        .map_err(|problem| unusable(problem.to_string()))
}

/// The sound of an answer at the call's rate.
async fn sound(output: RecognizeUtteranceOutput, rate: Rate) -> Result<Vec<u8>, String> {
    let is_pcm = output
        .content_type()
        .is_some_and(|kind| kind.starts_with("audio/pcm"));
    let mut stream = output.audio_stream;
    let mut pcm = Vec::new();
    while let Some(part) = stream.next().await {
        let part = part.map_err(|problem| format!("Lex's sound broke off: {problem}"))?;
        if pcm.len() + part.len() > LONGEST_SOUND {
            return Err("Lex says more than two minutes' worth".to_owned());
        }
        pcm.extend_from_slice(&part);
    }
    if pcm.is_empty() {
        return Ok(pcm);
    }
    if !is_pcm {
        return Err("Lex's sound is not audio/pcm".to_owned());
    }
    Ok(resample(&pcm, LEX_RATE, rate))
}

/// Why Lex did not answer, without what its message may name.
fn refused<E: ProvideErrorMetadata, R>(error: SdkError<E, R>) -> String
where
    SdkError<E, R>: std::error::Error,
{
    if let Some(code) = error.as_service_error().and_then(|error| error.code()) {
        return format!("Lex refused with {code}");
    }
    let mut causes = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(inner) = cause {
        causes.push(inner.to_string());
        cause = inner.source();
    }
    format!("Lex was not reached: {}", causes.join(": "))
}
