//! AgentStream as Exotel does it: dials a bot's socket, speaks for the person on the line, plays what the bot answers, and
//! judges it.

mod dial;
mod playback;
mod session;
mod sound;
mod talk;
mod url;
mod view;
pub(crate) mod voicebot;
mod wire;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};

pub use dial::Ask;
pub(crate) use dial::Dialler;
pub use playback::Gap;
pub use sound::Track;
pub use talk::{Step, Talk};
pub(crate) use url::StreamUrl;
pub(crate) use view::Recorder;
pub use view::{
    ClearView, DisconnectedBy, Handshake, MarkView, StreamEvent, StreamReport, StreamStatus, StreamView,
    Violation, ViolationKind,
};
pub use voicebot::{PassthruForm, Voicebot};
pub use wire::Numbers;

use crate::answer::Node;
use crate::draw::Dice;
use crate::faults::{FaultSource, Faults};
use crate::ist;
use crate::options::Clock;
use dial::{BoxedIo, Socket};
use session::Conversation;
use wire::Writer;

/// Handshakes that are tried: Exotel tries a failed one once more.
const HANDSHAKES: u32 = 2;

/// How Exotel's side of a stream behaves. All times are real ones, whatever the simulator's speed: a bot's sound lasts as
/// long as it lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamOptions {
    /// How numbers are written.
    pub numbers: Numbers,
    /// Milliseconds from frame to frame, and of sound in each; at least 20.
    pub frame_ms: u64,
    /// Milliseconds that sound waits before it is played when there was none, so that what follows may be late by as
    /// much.
    pub jitter_ms: u64,
    /// Milliseconds of sound that may wait when another chunk comes, besides the tenth that a bot gains which sends each
    /// when nine tenths of the last one are over. With more waiting it is too far ahead.
    pub most_ahead_ms: u64,
    /// Echo the marks whose sound a `clear` dropped, at once. `false`: they are never echoed.
    pub echo_cleared_marks: bool,
    /// How `Stream` stands in the Passthru that follows.
    pub passthru_form: PassthruForm,
    /// Milliseconds that a handshake may take.
    pub handshake_ms: u64,
    /// Milliseconds that the endpoint which answers a bot's URL may take.
    pub ask_ms: u64,
    /// Milliseconds that a stream may last; `stopped` then.
    pub max_ms: u64,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            numbers: Numbers::default(),
            frame_ms: 100,
            jitter_ms: 100,
            most_ahead_ms: 5_000,
            echo_cleared_marks: true,
            passthru_form: PassthruForm::default(),
            handshake_ms: 10_000,
            ask_ms: 5_000,
            max_ms: 3_600_000,
        }
    }
}

impl StreamOptions {
    /// Whether they have a meaning.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.frame_ms < 20 {
            return Err("`frame_ms` must be 20 or more".to_owned());
        }
        Ok(())
    }
}

/// How the bot is reached.
pub(crate) enum Way<'a> {
    Dial(&'a Dialler),
    /// Over a connection that is there.
    Over(BoxedIo),
}

/// A stream that is to be.
pub(crate) struct Stream<'a> {
    pub(crate) way: Way<'a>,
    pub(crate) url: &'a str,
    pub(crate) options: &'a StreamOptions,
    pub(crate) talk: &'a Talk,
    pub(crate) dice: Dice,
    pub(crate) faults: &'a FaultSource,
    pub(crate) recorder: &'a Recorder,
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    /// What identifies it to draws.
    pub(crate) key: &'a str,
    pub(crate) limit_ms: Option<u64>,
    pub(crate) clock: &'a Clock,
}

/// Writes down that a stream came to nothing.
pub(crate) fn fail(recorder: &Recorder, error: impl Into<String>) {
    let error = error.into();
    recorder.change(|view| {
        view.status = StreamStatus::Failed;
        view.disconnected_by = Some(DisconnectedBy::System);
        view.error = Some(error.clone());
    });
    recorder.event(0, "failed", error);
}

/// Dials the bot and holds the conversation. What came of it is with the recorder.
pub(crate) async fn run(stream: Stream<'_>) {
    let recorder = stream.recorder;
    let url = match StreamUrl::parse(stream.url) {
        Ok(url) => url,
        Err(problem) => {
            recorder.violation(0, ViolationKind::BadUrl, problem.clone());
            return fail(recorder, problem);
        }
    };
    recorder.change(|view| {
        view.url = url.dialled.to_string();
        view.rate_hz = url.rate_hz;
        view.custom_parameters = url.custom_parameters.clone();
    });
    let source = match stream.talk.prepare(url.rate_hz, stream.dice, stream.key) {
        Ok(source) => source,
        Err(problem) => return fail(recorder, problem),
    };
    let (stream_sid, call_sid, account) = recorder.read(|report| {
        let view = &report.view;
        (
            view.stream_sid.clone(),
            view.call_sid.clone(),
            view.account.clone(),
        )
    });
    let Some(socket) = open(
        stream.way,
        &url,
        stream.options,
        stream.faults,
        recorder,
        stream.key,
    )
    .await
    else {
        let last = recorder.read(|report| report.view.handshakes.last().and_then(|last| last.error.clone()));
        return fail(recorder, last.unwrap_or_default());
    };
    let conversation = Conversation {
        url: &url,
        options: stream.options,
        writer: Writer::new(stream.options.numbers, stream_sid, call_sid, account),
        from: stream.from,
        to: stream.to,
        source,
        faults: stream.faults,
        key: stream.key,
        recorder,
        limit_ms: stream.limit_ms,
        clock: stream.clock,
    };
    session::converse(socket, conversation).await;
}

async fn open(
    way: Way<'_>,
    url: &StreamUrl,
    options: &StreamOptions,
    faults: &FaultSource,
    recorder: &Recorder,
    key: &str,
) -> Option<Socket> {
    let within = Duration::from_millis(options.handshake_ms);
    for attempt in 1..=HANDSHAKES {
        let began = tokio::time::Instant::now();
        let key = format!("handshake {attempt} {key}");
        let opened = if faults.with(|faults, dice| faults.refuses_handshake(dice, &key)) {
            let error = "a fault refused the handshake".to_owned();
            Err(dial::Refused { status: None, error })
        } else {
            match way {
                Way::Dial(dialler) => dialler.dial(url, within).await,
                // There is but one connection.
                Way::Over(io) => {
                    let opened = upgrade_within(io, url, within).await;
                    write_down(recorder, began, &opened);
                    return opened.ok();
                }
            }
        };
        write_down(recorder, began, &opened);
        if let Ok(socket) = opened {
            return Some(socket);
        }
    }
    None
}

async fn upgrade_within(io: BoxedIo, url: &StreamUrl, within: Duration) -> Result<Socket, dial::Refused> {
    tokio::time::timeout(within, dial::upgrade(io, url))
        .await
        .unwrap_or_else(|_| {
            Err(dial::Refused {
                status: None,
                error: format!("the handshake was not over within {} ms", within.as_millis()),
            })
        })
}

fn write_down(recorder: &Recorder, began: tokio::time::Instant, opened: &Result<Socket, dial::Refused>) {
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let handshake = match opened {
        Ok(_) => Handshake {
            ms,
            status: Some(101),
            error: None,
        },
        Err(refused) => Handshake {
            ms,
            status: refused.status,
            error: Some(refused.error.clone()),
        },
    };
    let detail = match &handshake.error {
        None => format!("101 after {ms} ms"),
        Some(error) => error.clone(),
    };
    recorder.change(|view| view.handshakes.push(handshake));
    recorder.event(0, "handshake", detail);
}

/// Where a bot is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// At this `ws://` or `wss://` URL.
    Stream(String),
    /// Where this `http://` or `https://` endpoint says.
    Connect(String, Ask),
}

/// A call to anybody's bot, without a simulator around it.
///
/// ```no_run
/// # async fn example() -> Result<(), String> {
/// use exotel_simulator::{Step, StreamCall, Talk, Target};
///
/// let mut call = StreamCall::to(Target::Stream("wss://bot.example.in/media?sample-rate=16000".to_owned()));
/// call.talk = Talk::script([Step::WaitForQuietMs(500), Step::SayMs(1_500), Step::WaitForQuietMs(800), Step::HangUp(true)]);
/// let report = call.place().await?;
/// assert!(report.view.violations.is_empty());
/// std::fs::write("heard.wav", report.heard.to_wav()).map_err(|err| err.to_string())?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct StreamCall {
    /// The bot.
    pub target: Target,
    /// What the person on the line says and does.
    pub talk: Talk,
    /// How Exotel's side behaves.
    pub options: StreamOptions,
    /// What goes wrong on the way.
    pub faults: Faults,
    /// Who calls, as Exotel writes numbers.
    pub from: String,
    /// The ExoPhone called.
    pub to: String,
    /// The account.
    pub account: String,
    /// `CustomField` for a connect endpoint.
    pub custom_field: Option<String>,
    /// Seed of sids, speech and faults.
    pub seed: u64,
    /// Certificates of further authorities to trust, in PEM.
    pub trusted: Vec<String>,
}

impl StreamCall {
    /// A call with nothing out of the ordinary.
    pub fn to(target: Target) -> Self {
        Self {
            target,
            talk: Talk::default(),
            options: StreamOptions::default(),
            faults: Faults::default(),
            from: "09811109999".to_owned(),
            to: "08045550100".to_owned(),
            account: "acme1".to_owned(),
            custom_field: None,
            seed: 1,
            trusted: Vec::new(),
        }
    }

    /// Places the call and waits until it is over. A bot that misbehaves is no error: the report tells.
    ///
    /// # Errors
    ///
    /// In words, when the call cannot be placed at all: the script, a WAV file, an option or a certificate cannot be used.
    pub async fn place(self) -> Result<StreamReport, String> {
        let dialler = Dialler::new(&self.trusted)?;
        let recorder = self.recorder()?;
        let url = match &self.target {
            Target::Stream(url) => url.clone(),
            Target::Connect(endpoint, ask) => {
                let call_sid = recorder.read(|report| report.view.call_sid.clone());
                let fields = self.fields(&call_sid);
                let asked = ask_for_url(&dialler, endpoint, *ask, &fields, &self.options).await;
                match asked.url {
                    Ok(url) => url,
                    Err(problem) => {
                        recorder.violation(0, ViolationKind::BadUrl, problem.clone());
                        fail(&recorder, problem);
                        return Ok(recorder.report());
                    }
                }
            }
        };
        self.run(Way::Dial(&dialler), &url, &recorder).await;
        Ok(recorder.report())
    }

    /// The same over a connection that is there already, such as one in memory: under Tokio's paused clock a call of an
    /// hour takes moments. The target must be a [`Target::Stream`]; its URL is what the handshake asks for.
    ///
    /// # Errors
    ///
    /// As [`StreamCall::place`], and for a target that has to be asked first.
    pub async fn place_over(
        self,
        connection: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<StreamReport, String> {
        let Target::Stream(url) = self.target.clone() else {
            return Err("a connect endpoint cannot be asked over a connection to the bot".to_owned());
        };
        let recorder = self.recorder()?;
        self.run(Way::Over(Box::new(connection)), &url, &recorder).await;
        Ok(recorder.report())
    }

    fn recorder(&self) -> Result<Recorder, String> {
        self.talk.check()?;
        self.options.check()?;
        let dice = Dice { seed: self.seed };
        let view = StreamView {
            stream_sid: dice.sid("stream"),
            call_sid: dice.sid("call"),
            account: self.account.clone(),
            ..StreamView::default()
        };
        Ok(Recorder::new(view, |event| {
            tracing::info!("{} ms: {}: {}", event.at_ms, event.event, event.detail);
        }))
    }

    async fn run(&self, way: Way<'_>, url: &str, recorder: &Recorder) {
        let dice = Dice { seed: self.seed };
        let faults = FaultSource::Own(Mutex::new(self.faults.clone()), dice);
        let clock: Clock = Arc::new(Timestamp::now);
        run(Stream {
            way,
            url,
            options: &self.options,
            talk: &self.talk,
            dice,
            faults: &faults,
            recorder,
            from: &self.from,
            to: &self.to,
            key: "call",
            limit_ms: None,
            clock: &clock,
        })
        .await;
    }

    /// What a connect endpoint is told of a call that came in.
    fn fields(&self, call_sid: &str) -> Vec<(&'static str, Node)> {
        let now = Timestamp::now();
        vec![
            ("CallSid", call_sid.into()),
            ("CallFrom", self.from.as_str().into()),
            ("CallTo", self.to.as_str().into()),
            ("From", self.from.as_str().into()),
            ("To", self.to.as_str().into()),
            ("CallStatus", "in-progress".into()),
            ("Direction", "incoming".into()),
            ("Created", ist::format_rfc1123(now).into()),
            ("StartTime", ist::format(now).into()),
            ("EndTime", ist::PLACEHOLDER.into()),
            ("CurrentTime", ist::format(now).into()),
            ("CallType", "call-attempt".into()),
            (
                "CustomField",
                self.custom_field.as_deref().unwrap_or("null").into(),
            ),
            ("flow_id", crate::calls::DEFAULT_FLOW.into()),
        ]
    }
}

/// What a connect endpoint answered.
pub(crate) struct Asked {
    pub(crate) status: Option<u16>,
    pub(crate) url: Result<String, String>,
}

/// Asks a connect endpoint for the bot's URL.
pub(crate) async fn ask_for_url(
    dialler: &Dialler,
    endpoint: &str,
    ask: Ask,
    fields: &[(&'static str, Node)],
    options: &StreamOptions,
) -> Asked {
    let began = Instant::now();
    let endpoint = match ::url::Url::parse(endpoint) {
        Ok(endpoint) => endpoint,
        Err(err) => {
            return Asked {
                status: None,
                url: Err(format!("the connect endpoint's URL is none: {err}")),
            };
        }
    };
    let answer = dialler
        .ask(&endpoint, ask, fields, Duration::from_millis(options.ask_ms))
        .await;
    tracing::debug!("the connect endpoint took {} ms", began.elapsed().as_millis());
    match answer {
        Ok((status, body)) => Asked {
            status: Some(status),
            url: dial::answered_url(status, &body),
        },
        Err(error) => Asked {
            status: None,
            url: Err(format!("the connect endpoint: {error}")),
        },
    }
}
