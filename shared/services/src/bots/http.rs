//! A bot of the team's own: a server that is asked once per turn. The contract is in `docs/voicebot.md`.

use std::{collections::BTreeMap, error::Error, sync::Arc, time::Duration};

use audio::{from_wav, resample, to_wav};
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::voicebot::{Listen, MOST_DIGITS, Rate, Then};
use jiff::Timestamp;
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap},
};
use serde::{Deserialize, Serialize};
use serde_json::error::Category;

use super::{LONGEST_OUTCOME, LONGEST_STATE, Means, Reply, Said, Sign, Turn, Unsigned, is_outcome};

/// How long the bot may take, with its whole answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);
/// The longest answer. A minute at 24 kHz has 3.8 MB as base64.
const LONGEST_ANSWER: usize = 5_000_000;
/// How much is said of an answer that cannot be read, in bytes.
const LONGEST_PROBLEM: usize = 160;
/// The longest that a bot may have somebody wait for, in milliseconds.
const LONGEST_TIMEOUT_MS: u32 = 60_000;

/// A server that is asked once per turn.
pub(super) struct HttpBot {
    url: Url,
    client: Client,
    sign: Arc<dyn Sign>,
}

/// What is posted.
#[derive(Serialize)]
struct Posted<'a> {
    r#type: &'a str,
    bot: &'a str,
    session: Session<'a>,
    turn: u32,
    rate: Rate,
    input: Input<'a>,
    state: Option<&'a str>,
}

#[derive(Serialize)]
struct Session<'a> {
    id: &'a str,
    stream_sid: &'a str,
    call_sid: Option<&'a str>,
    from: Option<&'a str>,
    to: Option<&'a str>,
    parameters: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Input<'a> {
    Start,
    Speech { wav: String },
    Digits { digits: &'a str },
    Silence { times: u8 },
}

/// What is answered. A field that we do not know is a misspelt one, and somebody should hear of it.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Answered {
    audio: Option<Sound>,
    then: Option<Next>,
    state: Option<String>,
    heard: Option<String>,
    said: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sound {
    wav: Option<String>,
    pcm: Option<String>,
    rate: Option<u32>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "no `then`, expected \"listen\", \"hang_up\", {\"listen\": {…}} or {\"transfer\": \"outcome\"}"
)]
enum Next {
    Word(Word),
    Listen { listen: Ears },
    Transfer { transfer: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Listen,
    HangUp,
}

/// What is listened for; what is not said is as usual.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ears {
    speech: Option<bool>,
    max_digits: Option<u8>,
    terminator: Option<String>,
    digit_timeout_ms: Option<u32>,
    no_input_ms: Option<u32>,
}

impl HttpBot {
    /// The bot at a URL that the configuration took.
    pub(super) fn new(url: &str, means: &Means) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|_| "its `url` is no URL".to_owned())?;
        let is_local = match url.host_str() {
            // Names are resolved to public addresses alone; an address would not be resolved.
            Some(host) => {
                host == "localhost" || host.parse::<std::net::IpAddr>().is_ok() || host.starts_with('[')
            }
            None => true,
        };
        let client = if is_local || url.scheme() != "https" {
            let origin = url.origin().ascii_serialization();
            if !means.local_origins.contains(&origin) {
                return Err(format!(
                    "its `url` is on this machine; {origin} must be one of VOICEBOT_EXTRA_ORIGINS, which is for \
                     local runs alone"
                ));
            }
            means.local.clone()
        } else {
            means.public.clone()
        };
        Ok(Self {
            url,
            client,
            sign: Arc::clone(&means.sign),
        })
    }

    pub(super) async fn answer(
        &self,
        turn: &Turn<'_>,
        state: Option<&str>,
        now: Timestamp,
    ) -> Result<Reply, String> {
        let response = self.ask(turn, state, now).await?;
        let status = response.status();
        if status.is_redirection() {
            return Err(format!(
                "it answered {}; redirects are not followed",
                status.as_u16()
            ));
        }
        if status == StatusCode::NO_CONTENT {
            return Ok(Reply {
                state: state.map(str::to_owned),
                ..Reply::listening(Vec::new())
            });
        }
        if !status.is_success() {
            return Err(format!("it answered {}", status.as_u16()));
        }
        let kind = kind(response.headers());
        let body = body(response).await?;
        match kind.as_str() {
            "application/json" => {
                // To serde an array is a struct without names.
                if body.trim_ascii_start().first() != Some(&b'{') {
                    return Err("its answer cannot be used: it is no JSON object".to_owned());
                }
                let answered: Answered =
                    serde_json::from_slice(&body).map_err(|problem| unreadable(&problem))?;
                answered.reply(turn.rate)
            }
            "audio/wav" | "audio/x-wav" | "audio/wave" | "audio/vnd.wave" => {
                let audio = from_wav(&body, turn.rate).map_err(|problem| format!("its sound: {problem}"))?;
                Ok(Reply {
                    state: state.map(str::to_owned),
                    ..Reply::listening(audio)
                })
            }
            _ => Err("its answer is neither application/json nor audio/wav".to_owned()),
        }
    }

    async fn ask(&self, turn: &Turn<'_>, state: Option<&str>, now: Timestamp) -> Result<Response, String> {
        let posted = Posted {
            r#type: "voicebot.turn",
            bot: turn.bot_id,
            session: Session {
                id: turn.session.as_str(),
                stream_sid: turn.stream_sid,
                call_sid: turn.call_sid,
                from: turn.from,
                to: turn.to,
                parameters: turn.custom_parameters,
            },
            turn: turn.turn,
            rate: turn.rate,
            input: match turn.said {
                Said::Start => Input::Start,
                Said::Speech(pcm) => Input::Speech {
                    wav: STANDARD.encode(to_wav(pcm, turn.rate)),
                },
                Said::Digits(digits) => Input::Digits { digits },
                Said::Silence(times) => Input::Silence { times: *times },
            },
            state,
        };
        let body = serde_json::to_string(&posted).map_err(|problem| problem.to_string())?;
        // Asked again, a turn has the id that it had: the bot can tell.
        let id = format!("{}.{}", turn.session, turn.turn);
        let timestamp = now.as_second();
        let signature = self
            .sign
            .sign(Unsigned {
                bot_id: turn.bot_id,
                id: &id,
                timestamp,
                body: &body,
            })
            .await;
        self.client
            .post(self.url.clone())
            .timeout(ANSWERED_WITHIN)
            .header("content-type", "application/json")
            .header("accept", "application/json, audio/wav")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(body)
            .send()
            .await
            .map_err(unreached)
    }
}

/// The media type of an answer, without its parameters.
fn kind(headers: &HeaderMap) -> String {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next());
    kind.unwrap_or_default().trim().to_ascii_lowercase()
}

/// The body of an answer, as far as it is taken.
async fn body(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(unreached)? {
        if body.len() + part.len() > LONGEST_ANSWER {
            return Err(format!("its answer has more than {LONGEST_ANSWER} bytes"));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

/// What is wrong with an answer. What serde says of a value quotes it, and it may be a caller's words or number: where it
/// stands and what was expected must do, or the name of a field.
fn unreadable(problem: &serde_json::Error) -> String {
    let text = problem.to_string();
    let (line, column) = (problem.line(), problem.column());
    // A name may be as long as a value, and hold a number.
    let is_name = |name: &str| name.len() <= 40 && name.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
    let named = ["unknown field `", "missing field `"]
        .into_iter()
        .find_map(|kind| {
            let name = text.strip_prefix(kind)?.split('`').next()?;
            is_name(name).then(|| format!("{kind}{name}`"))
        });
    let what = match (problem.classify(), named) {
        (Category::Data, Some(named)) => named,
        // Behind the last one nothing is the bot's.
        (Category::Data, None) => match text.rsplit_once(", expected ") {
            Some((_, expected)) => {
                let ours = expected
                    .rsplit_once(" at line ")
                    .map_or(expected, |(ours, _)| ours);
                format!("expected {ours}")
            }
            None => "a value is not allowed".to_owned(),
        },
        (Category::Eof, _) => "it ends too early".to_owned(),
        _ => "it is no JSON".to_owned(),
    };
    let mut says = format!("its answer cannot be used, line {line}, column {column}: {what}");
    says.truncate(says.floor_char_boundary(LONGEST_PROBLEM));
    says
}

/// Why there is no answer. The URL may hold a token.
fn unreached(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("it did not answer within {} s", ANSWERED_WITHIN.as_secs());
    }
    let error = error.without_url();
    let mut causes = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(inner) = cause {
        causes.push(inner.to_string());
        cause = inner.source();
    }
    format!("it was not reached: {}", causes.join(": "))
}

impl Answered {
    fn reply(self, rate: Rate) -> Result<Reply, String> {
        if let Some(state) = &self.state
            && state.len() > LONGEST_STATE
        {
            return Err(format!(
                "its `state` has {} bytes; keep {LONGEST_STATE} at most, such as a key of its own store",
                state.len()
            ));
        }
        Ok(Reply {
            audio: self.audio.map_or(Ok(Vec::new()), |sound| sound.pcm(rate))?,
            then: self
                .then
                .map_or(Ok(Then::Listen(Listen::default())), Next::then)?,
            state: self.state,
            heard: self.heard,
            said: self.said,
        })
    }
}

impl Sound {
    fn pcm(self, rate: Rate) -> Result<Vec<u8>, String> {
        let decode = |field: &str, text: String| {
            STANDARD
                .decode(text)
                .map_err(|problem| format!("its `audio.{field}` is no base64: {problem}"))
        };
        match (self.wav, self.pcm, self.rate) {
            (Some(wav), None, None) => {
                from_wav(&decode("wav", wav)?, rate).map_err(|problem| format!("its `audio.wav`: {problem}"))
            }
            (None, Some(pcm), hz) => {
                let from = hz.map_or(Some(rate), Rate::from_hz);
                let from = from.ok_or("its `audio.rate` must be 8000, 16000 or 24000")?;
                Ok(resample(&decode("pcm", pcm)?, from, rate))
            }
            _ => Err("its `audio` must have `wav`, or `pcm` with its `rate`".to_owned()),
        }
    }
}

impl Next {
    fn then(self) -> Result<Then, String> {
        match self {
            Next::Word(Word::Listen) => Ok(Then::Listen(Listen::default())),
            Next::Word(Word::HangUp) => Ok(Then::HangUp),
            Next::Listen { listen } => listen.listen().map(Then::Listen),
            Next::Transfer { transfer } => {
                if is_outcome(&transfer) {
                    Ok(Then::Transfer(transfer))
                } else {
                    Err(format!(
                        "its `then.transfer` must be an outcome of 1 to {LONGEST_OUTCOME} bytes"
                    ))
                }
            }
        }
    }
}

impl Ears {
    fn listen(self) -> Result<Listen, String> {
        let usual = Listen::default();
        let terminator = match self.terminator.as_deref() {
            None => usual.terminator,
            Some("") => None,
            Some(key) => match key.chars().next() {
                Some(c) if key.len() == 1 && (c.is_ascii_digit() || matches!(c, '#' | '*' | 'A'..='D')) => {
                    Some(c)
                }
                _ => return Err("its `then.listen.terminator` must be one key, or \"\" for none".to_owned()),
            },
        };
        let listen = Listen {
            speech: self.speech.unwrap_or(usual.speech),
            max_digits: self.max_digits.unwrap_or(usual.max_digits),
            terminator,
            digit_timeout_ms: self.digit_timeout_ms.unwrap_or(usual.digit_timeout_ms),
            no_input_ms: self.no_input_ms.unwrap_or(usual.no_input_ms),
            most_silences: usual.most_silences,
        };
        if listen.max_digits > MOST_DIGITS {
            return Err(format!("its `then.listen.max_digits` must be 0 to {MOST_DIGITS}"));
        }
        for (field, ms) in [
            ("digit_timeout_ms", listen.digit_timeout_ms),
            ("no_input_ms", listen.no_input_ms),
        ] {
            if !(500..=LONGEST_TIMEOUT_MS).contains(&ms) {
                return Err(format!(
                    "its `then.listen.{field}` must be 500 to {LONGEST_TIMEOUT_MS}"
                ));
            }
        }
        if !listen.speech && listen.max_digits == 0 {
            return Err("its `then.listen` listens for nothing; allow `speech` or `max_digits`".to_owned());
        }
        Ok(listen)
    }
}
