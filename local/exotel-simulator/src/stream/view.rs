//! What is known of a stream: while it runs and afterwards.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

use super::playback::Gap;
use super::sound::Track;

/// Events, violations, marks, clears and gaps of one stream that are kept, of each: a bot that goes on and on should not
/// fill the memory.
pub(super) const MOST_KEPT: usize = 10_000;

/// How a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamStatus {
    /// The bot is asked or dialled.
    #[default]
    Connecting,
    /// The bot is on the line.
    InProgress,
    /// It is over.
    Completed,
    /// The bot was never on the line, or the line broke.
    Failed,
}

impl StreamStatus {
    /// As `Stream[Status]` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::InProgress => "in-progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

/// Who ended a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DisconnectedBy {
    /// The bot closed its socket.
    Bot,
    /// The person on the line hung up.
    User,
    /// Exotel: a limit was reached, the handshake failed, a fault cut the line.
    System,
}

impl DisconnectedBy {
    /// As `Stream[DisconnectedBy]` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bot => "bot",
            Self::User => "user",
            Self::System => "system",
        }
    }
}

/// What a bot can do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ViolationKind {
    /// Fewer than 3 200 bytes of sound.
    ChunkTooSmall,
    /// More than 100 000 bytes.
    ChunkTooLarge,
    /// No multiple of 320 bytes.
    ChunkMisaligned,
    /// The payload is not base64.
    BadBase64,
    /// A message is not JSON.
    NotJson,
    /// A binary message: all are text.
    BinaryMessage,
    /// An event that Exotel does not know.
    UnknownEvent,
    /// A message lacks what it needs.
    MissingField,
    /// The `stream_sid` of another stream.
    WrongStreamSid,
    /// More sound waited when another chunk came than the bot should be ahead; or more of anything than can be kept.
    TooFarAhead,
    /// The bot does not read what it is sent.
    NotReading,
    /// The socket went away without a close frame, or closed for an error.
    AbnormalClose,
    /// A step of the script waited for the bot in vain.
    WaitedInVain,
    /// The stream's URL breaks Exotel's rules, or the connect endpoint answered none.
    BadUrl,
}

/// Something that the bot did wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// When, in milliseconds from the stream's start.
    pub at_ms: u64,
    /// What.
    pub kind: ViolationKind,
    /// The same in words, with the figures.
    pub detail: String,
}

/// An attempt to open the socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Handshake {
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// HTTP status of the answer; 101 when it went well.
    pub status: Option<u16>,
    /// Why it failed.
    pub error: Option<String>,
}

/// A mark of the bot's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MarkView {
    /// Its name.
    pub name: String,
    /// When it came, in milliseconds from the stream's start.
    pub received_ms: u64,
    /// When it was echoed.
    pub echoed_ms: Option<u64>,
    /// Its sound was dropped by a `clear`.
    pub cleared: bool,
}

/// What a `clear` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ClearView {
    /// When it came, in milliseconds from the stream's start.
    pub at_ms: u64,
    /// Milliseconds of sound that were never heard for it.
    pub dropped_ms: u64,
    /// Milliseconds of the chunk that had begun, which went on to its end.
    pub left_ms: u64,
}

/// Something that happened on a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StreamEvent {
    /// When, in milliseconds from the stream's start; 0 before.
    pub at_ms: u64,
    /// `handshake`, `start`, `dtmf`, `mark`, `mark-echoed`, `clear`, `fault`, `violation`, `stop`, `closed`, `failed`.
    pub event: String,
    /// In words.
    pub detail: String,
}

/// A stream as it stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StreamView {
    /// Its sid.
    pub stream_sid: String,
    /// The call's.
    pub call_sid: String,
    /// The account's.
    pub account: String,
    /// What was dialled, without user and password; empty while it is not known.
    pub url: String,
    /// Samples per second.
    pub rate_hz: u32,
    /// `custom_parameters` of `start`.
    pub custom_parameters: Vec<(String, String)>,
    /// How it stands.
    pub status: StreamStatus,
    /// When `start` was sent.
    pub started: Option<Timestamp>,
    /// How long it lasted, in milliseconds.
    pub duration_ms: u64,
    /// Attempts to open the socket.
    pub handshakes: Vec<Handshake>,
    /// Frames of sound sent to the bot; those that a fault lost too.
    pub frames: u64,
    /// Messages of the bot's, of every kind.
    pub messages: u64,
    /// Chunks of sound among them.
    pub chunks: u64,
    /// Bytes of sound in them.
    pub chunk_bytes: u64,
    /// The bot's sound heard, in milliseconds; what it sent of silence too.
    pub heard_ms: u64,
    /// When the first chunk came that was not silent, in milliseconds from the stream's start.
    pub first_audio_ms: Option<u64>,
    /// When the bot's voice was first heard, to 20 ms.
    pub first_heard_ms: Option<u64>,
    /// The most sound that ever waited to be played, in milliseconds.
    pub most_ahead_ms: u64,
    /// Sound that waited to be played when the stream ended, and was never heard.
    pub unheard_ms: u64,
    /// Marks.
    pub marks: Vec<MarkView>,
    /// `clear` messages.
    pub clears: Vec<ClearView>,
    /// Gaps heard.
    pub gaps: Vec<Gap>,
    /// What the bot did wrong.
    pub violations: Vec<Violation>,
    /// What happened.
    pub events: Vec<StreamEvent>,
    /// Marks, clears, gaps, violations and events that came after 10 000 of their kind, and are in none of these lists.
    pub left_off: u64,
    /// Who ended it.
    pub disconnected_by: Option<DisconnectedBy>,
    /// `stop.reason`, if a `stop` was sent.
    pub stop_reason: Option<String>,
    /// Code of the bot's close frame.
    pub close_code: Option<u16>,
    /// Why it failed.
    pub error: Option<String>,
}

impl StreamView {
    pub(super) fn add_mark(&mut self, mark: MarkView) {
        keep(&mut self.marks, mark, &mut self.left_off);
    }

    pub(super) fn add_clear(&mut self, clear: ClearView) {
        keep(&mut self.clears, clear, &mut self.left_off);
    }
}

fn keep<T>(list: &mut Vec<T>, item: T, left_off: &mut u64) {
    if list.len() < MOST_KEPT {
        list.push(item);
    } else {
        *left_off += 1;
    }
}

/// A stream with its sound.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamReport {
    /// What is known of it.
    pub view: StreamView,
    /// What the person on the line said; both tracks begin with the stream.
    pub said: Track,
    /// What the person heard.
    pub heard: Track,
}

/// Where a running stream writes down what happens.
pub(crate) struct Recorder {
    report: Mutex<StreamReport>,
    tell: Box<dyn Fn(&StreamEvent) + Send + Sync>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl Recorder {
    /// `tell` hears of every event after it was written down.
    pub(crate) fn new(view: StreamView, tell: impl Fn(&StreamEvent) + Send + Sync + 'static) -> Self {
        Self {
            report: Mutex::new(StreamReport {
                view,
                ..StreamReport::default()
            }),
            tell: Box::new(tell),
        }
    }

    fn lock(&self) -> MutexGuard<'_, StreamReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn report(&self) -> StreamReport {
        self.lock().clone()
    }

    pub(crate) fn view(&self) -> StreamView {
        self.lock().view.clone()
    }

    pub(crate) fn read<T>(&self, look: impl FnOnce(&StreamReport) -> T) -> T {
        look(&self.lock())
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut StreamView)) {
        change(&mut self.lock().view);
    }

    pub(crate) fn keep_sound(&self, said: Track, heard: Track) {
        let mut report = self.lock();
        (report.said, report.heard) = (said, heard);
    }

    /// Bytes of sound kept.
    pub(crate) fn sound_bytes(&self) -> usize {
        let report = self.lock();
        2 * (report.said.samples.len() + report.heard.samples.len())
    }

    /// Lets go of the sound.
    pub(crate) fn forget_sound(&self) {
        self.keep_sound(Track::default(), Track::default());
    }

    pub(crate) fn event(&self, at_ms: u64, event: &str, detail: impl Into<String>) {
        let event = StreamEvent {
            at_ms,
            event: event.to_owned(),
            detail: detail.into(),
        };
        // Unlocked before others are told: they may look at this stream.
        {
            let view = &mut self.lock().view;
            keep(&mut view.events, event.clone(), &mut view.left_off);
        }
        (self.tell)(&event);
    }

    pub(crate) fn violation(&self, at_ms: u64, kind: ViolationKind, detail: impl Into<String>) {
        let detail = detail.into();
        self.change(|view| {
            let violation = Violation {
                at_ms,
                kind,
                detail: detail.clone(),
            };
            keep(&mut view.violations, violation, &mut view.left_off);
        });
        self.event(at_ms, "violation", detail);
    }
}
