//! What stays of a call with a bot: who talked, when, how it ended, and what was said.
//!
//! Who offers the socket, who holds it, and Exotel's Passthru behind it each add their own facts; none takes another's
//! away, so they may come in any order and more than once. Where the call stands follows from the facts.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Ending, Rate};
use crate::{
    call_record::Direction,
    ids::{CallLocator, CallSid, LeadId, VoiceSessionId},
    phone::PhoneNumber,
};

/// Most turns of a call whose words are kept; a call has fewer but when something speaks with itself.
pub const MOST_LINES: u32 = 200;
/// Characters that are kept of what either side said in a turn.
pub const LONGEST_LINE: usize = 1_000;
/// Bytes of a `stream_sid`, and of each of Exotel's words about a stream, that are kept.
const LONGEST_WORD: usize = 128;

/// A socket that was offered and not opened after so long will not be opened.
const OPENED_WITHIN: SignedDuration = SignedDuration::from_mins(2);
/// One of a call that we place is offered before the call leaves: that may wait two minutes for a slot, and ring three.
const OPENED_WITHIN_OF_OURS: SignedDuration = SignedDuration::from_mins(6);
/// Exotel ends a stream after an hour.
const LONGEST_STREAM: SignedDuration = SignedDuration::from_mins(65);

/// A call's session with a bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoiceSession {
    /// Our id of it, which tells when its socket was offered.
    pub id: VoiceSessionId,
    /// The bot, by its name.
    pub bot_id: String,
    /// Whether a media server of the team's has the call: then nobody here hears of it but at its end.
    pub is_fleet: bool,
    /// The rate that was asked for; from `start` on, the stream's.
    pub rate: Rate,
    /// Exotel's id of the call.
    pub call_sid: Option<CallSid>,
    /// The call's row, when it was placed from here.
    pub call: Option<CallLocator>,
    /// Whose number the caller's is, once that was looked up.
    pub lead_id: Option<LeadId>,
    /// Who started the call.
    pub direction: Option<Direction>,
    /// The person's number.
    pub caller: Option<PhoneNumber>,
    /// The ExoPhone's number.
    pub number: Option<PhoneNumber>,
    /// When the socket was opened.
    pub connected_at: Option<Timestamp>,
    /// When the stream began.
    pub started_at: Option<Timestamp>,
    /// Exotel's id of the stream.
    pub stream_sid: Option<String>,
    /// How it ended, as whoever held the socket saw it.
    pub ended: Option<Ended>,
    /// What Exotel said of the stream afterwards.
    pub told: Option<StreamTold>,
}

impl VoiceSession {
    /// A session that was just offered; set what else is known of the call.
    pub fn new(id: VoiceSessionId, bot_id: impl Into<String>, rate: Rate) -> Self {
        Self {
            id,
            bot_id: bot_id.into(),
            is_fleet: false,
            rate,
            call_sid: None,
            call: None,
            lead_id: None,
            direction: None,
            caller: None,
            number: None,
            connected_at: None,
            started_at: None,
            stream_sid: None,
            ended: None,
            told: None,
        }
    }
}

/// What the stream's `start` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// When it came.
    pub at: Timestamp,
    /// Exotel's id of the stream.
    pub stream_sid: String,
    /// The stream's rate.
    pub rate: Rate,
    /// Exotel's id of the call, for a session that was offered without.
    pub call_sid: Option<CallSid>,
    /// `from`, when it is a number, for a session that was offered without one.
    pub caller: Option<PhoneNumber>,
    /// `to`, likewise.
    pub number: Option<PhoneNumber>,
}

/// Whose a session turned out to be, of which only its stream had told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identified {
    /// The call's row, when it was placed from here.
    pub call: Option<CallLocator>,
    /// Who started the call.
    pub direction: Direction,
    /// The person's number.
    pub caller: PhoneNumber,
    /// The ExoPhone.
    pub number: PhoneNumber,
}

/// How a session ended, as whoever held the socket saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub why: Ending,
    /// What was counted.
    #[serde(flatten)]
    pub counts: Counts,
}

/// What is counted in a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Times that the bot was asked, the greeting among them.
    #[serde(default)]
    pub turns: u32,
    /// Frames that never came.
    #[serde(default)]
    pub lost_frames: u32,
    /// Messages that were no part of the call: duplicates, late ones, ones that could not be read.
    #[serde(default)]
    pub ignored: u32,
}

impl Ended {
    /// A report of a higher rank takes the place of one of a lower; of the same, the first stays. A socket that was found
    /// closed says less than a reason, and least when its stream had not begun: Exotel gives a handshake up and repeats it.
    pub fn rank(&self) -> u8 {
        match self.why {
            Ending::Closed if self.counts.turns == 0 => 0,
            Ending::Closed => 1,
            _ => 2,
        }
    }
}

/// What Exotel says of a stream after its end, in its own words (`Stream[…]` of a Passthru).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamTold {
    /// When it was told.
    pub at: Timestamp,
    /// `StreamSID`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_sid: Option<String>,
    /// `Status`: `completed`, `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// `Duration`, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_secs: Option<u32>,
    /// `DisconnectedBy`: `bot`, `user`, `caller`, `system`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disconnected_by: Option<String>,
    /// `DetailedStatus`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detailed_status: Option<String>,
    /// `Error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether Exotel recorded the stream. Where is in the call's record.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub has_recording: bool,
}

impl StreamTold {
    /// With every word cut to what an item of ours holds.
    #[must_use]
    pub fn within_bounds(mut self) -> Self {
        for word in [
            &mut self.stream_sid,
            &mut self.status,
            &mut self.disconnected_by,
            &mut self.detailed_status,
            &mut self.error,
        ]
        .into_iter()
        .flatten()
        {
            word.truncate(word.floor_char_boundary(LONGEST_WORD));
        }
        self
    }
}

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// Exotel has the socket's URL.
    Offered,
    /// Exotel has the URL of a media server of the team's.
    HandedOver,
    /// The socket is open.
    Connected,
    /// The bot talks with the caller.
    Streaming,
    /// It is over.
    Ended,
    /// Exotel never opened the socket.
    NotConnected,
    /// It must be over, and nobody told how.
    Lost,
}

impl SessionState {
    /// Whether somebody may be talking with the bot.
    pub fn is_active(self) -> bool {
        matches!(self, SessionState::Connected | SessionState::Streaming)
    }
}

/// Who ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The caller hung up.
    Caller,
    /// The bot did, or handed the call on.
    Bot,
    /// Exotel ended the stream, or the line broke.
    Exotel,
    /// We did: nobody spoke any more, the bot did not answer, or it took too long.
    Us,
}

impl VoiceSession {
    /// When its socket was offered.
    pub fn offered_at(&self) -> Timestamp {
        self.id.created_at()
    }

    /// How it ended, as whoever held its socket saw it. That another socket was given up before the stream began is no end.
    pub fn end(&self) -> Option<&Ended> {
        let ended = self.ended.as_ref()?;
        (ended.rank() > 0 || self.started_at.is_none()).then_some(ended)
    }

    /// Where it stands at `now`.
    pub fn state(&self, now: Timestamp) -> SessionState {
        let age = now.duration_since(self.offered_at());
        let is_old = age > LONGEST_STREAM;
        let opened_within = match self.call {
            Some(_) => OPENED_WITHIN_OF_OURS,
            None => OPENED_WITHIN,
        };
        if self.end().is_some() || self.told.is_some() {
            SessionState::Ended
        } else if self.started_at.is_some() || self.connected_at.is_some() || self.is_fleet {
            match self.started_at {
                _ if is_old => SessionState::Lost,
                Some(_) => SessionState::Streaming,
                None if self.connected_at.is_some() => SessionState::Connected,
                None => SessionState::HandedOver,
            }
        } else if age > opened_within {
            SessionState::NotConnected
        } else {
            SessionState::Offered
        }
    }

    /// When it ended, as whoever held the socket saw it, else when Exotel told.
    pub fn ended_at(&self) -> Option<Timestamp> {
        let told = self.told.as_ref().map(|told| told.at);
        self.end().map(|ended| ended.at).or(told)
    }

    /// Who ended it. Exotel's word counts where ours says nothing but that the socket closed.
    pub fn ended_by(&self) -> Option<EndedBy> {
        let told = self.told.as_ref().and_then(|told| {
            let word = told.disconnected_by.as_ref()?.to_ascii_lowercase();
            Some(match word.as_str() {
                "bot" => EndedBy::Bot,
                "user" | "caller" => EndedBy::Caller,
                _ => EndedBy::Exotel,
            })
        });
        match self.end().map(|ended| &ended.why) {
            Some(Ending::CallEnded) => Some(EndedBy::Caller),
            Some(Ending::Stopped) => Some(EndedBy::Exotel),
            Some(Ending::Closed) => told.or(Some(EndedBy::Exotel)),
            Some(Ending::HungUp | Ending::Transferred(_)) => Some(EndedBy::Bot),
            Some(Ending::NoInput | Ending::BotSilent | Ending::TimeLimit) => Some(EndedBy::Us),
            None => told,
        }
    }

    /// What came of it: the outcome that the bot handed the call on with, else a word for how it ended.
    pub fn outcome(&self) -> Option<&str> {
        Some(match self.end().map(|ended| &ended.why) {
            Some(Ending::Transferred(outcome)) => outcome,
            Some(Ending::HungUp) => "hung_up",
            Some(Ending::CallEnded) => "caller_hung_up",
            Some(Ending::Stopped) => "stopped",
            Some(Ending::Closed) => "closed",
            Some(Ending::NoInput) => "no_input",
            Some(Ending::BotSilent) => "bot_silent",
            Some(Ending::TimeLimit) => "time_limit",
            None => self.told.as_ref()?.status.as_deref()?,
        })
    }

    /// Seconds that the bot and the caller were connected: Exotel's count, else ours.
    pub fn duration_secs(&self) -> Option<u32> {
        let told = self.told.as_ref().and_then(|told| told.duration_secs);
        told.or_else(|| {
            let ended = self.end()?.at.duration_since(self.started_at?);
            u32::try_from(ended.as_secs()).ok()
        })
    }
}

/// What was said in one turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Which turn; 0 is the greeting.
    pub turn: u32,
    /// When the bot had answered.
    pub at: Timestamp,
    /// What the caller said or pressed, when the bot tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<String>,
    /// What the bot said, when it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
}

impl Line {
    /// The line as it is kept: each side's words cut to [`LONGEST_LINE`] characters. `None` for a turn of which there is
    /// nothing to keep, and from the [`MOST_LINES`]th on.
    pub fn kept(turn: u32, at: Timestamp, heard: Option<&str>, said: Option<&str>) -> Option<Self> {
        let words = |text: Option<&str>| {
            let text = text?.trim();
            let end = text.char_indices().nth(LONGEST_LINE);
            let kept = &text[..end.map_or(text.len(), |(at, _)| at)];
            (!kept.is_empty()).then(|| kept.to_owned())
        };
        let (heard, said) = (words(heard), words(said));
        (turn < MOST_LINES && (heard.is_some() || said.is_some())).then_some(Self {
            turn,
            at,
            heard,
            said,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        let start: Timestamp = "2026-11-26T10:00:00Z".parse().unwrap();
        start + SignedDuration::from_secs(secs)
    }

    fn session() -> VoiceSession {
        VoiceSession::new(VoiceSessionId::new(at(0), 7), "reception", Rate::Hz8000)
    }

    fn ended(secs: i64, why: Ending) -> Option<Ended> {
        Some(Ended {
            at: at(secs),
            why,
            counts: Counts::default(),
        })
    }

    #[test]
    fn where_a_session_stands_follows_from_what_is_known_and_the_time() {
        let offered = session();
        let connected = VoiceSession {
            connected_at: Some(at(1)),
            ..session()
        };
        let streaming = VoiceSession {
            started_at: Some(at(2)),
            ..connected.clone()
        };
        let over = VoiceSession {
            ended: ended(30, Ending::HungUp),
            ..streaming.clone()
        };
        let fleet = VoiceSession {
            is_fleet: true,
            ..session()
        };
        for (session, soon, late) in [
            (&offered, SessionState::Offered, SessionState::NotConnected),
            (&connected, SessionState::Connected, SessionState::Lost),
            (&streaming, SessionState::Streaming, SessionState::Lost),
            (&over, SessionState::Ended, SessionState::Ended),
            (&fleet, SessionState::HandedOver, SessionState::Lost),
        ] {
            assert_eq!(session.state(at(60)), soon);
            assert_eq!(session.state(at(2 * 3_600)), late);
        }
        // One that we place is offered before it waits for its slot and rings.
        let placed = VoiceSession {
            call: Some("call_01kak5yv7z8e4f9y2f4w6r8t0v.lead-1".parse().unwrap()),
            ..session()
        };
        for (secs, of_ours, of_others) in [
            (5 * 60, SessionState::Offered, SessionState::NotConnected),
            (7 * 60, SessionState::NotConnected, SessionState::NotConnected),
        ] {
            assert_eq!(
                (placed.state(at(secs)), offered.state(at(secs))),
                (of_ours, of_others)
            );
        }
        // `ended` may be known before `start`.
        let early = VoiceSession {
            ended: ended(30, Ending::Closed),
            ..session()
        };
        assert_eq!(
            (early.state(at(31)), early.duration_secs()),
            (SessionState::Ended, None)
        );
        assert_eq!(over.duration_secs(), Some(28));
    }

    #[test]
    fn who_ended_it_is_told_by_whoever_saw_most() {
        let told = |by: &str| {
            Some(StreamTold {
                at: at(40),
                status: Some("completed".to_owned()),
                disconnected_by: Some(by.to_owned()),
                duration_secs: Some(31),
                ..StreamTold::default()
            })
        };
        for (ours, exotels, by, outcome) in [
            (
                ended(30, Ending::CallEnded),
                told("bot"),
                EndedBy::Caller,
                "caller_hung_up",
            ),
            (ended(30, Ending::Closed), told("User"), EndedBy::Caller, "closed"),
            (ended(30, Ending::Closed), None, EndedBy::Exotel, "closed"),
            (
                ended(30, Ending::Transferred("sales".to_owned())),
                told("bot"),
                EndedBy::Bot,
                "sales",
            ),
            (ended(30, Ending::BotSilent), None, EndedBy::Us, "bot_silent"),
            (None, told("system"), EndedBy::Exotel, "completed"),
        ] {
            let session = VoiceSession {
                ended: ours,
                told: exotels,
                ..session()
            };
            assert_eq!((session.ended_by(), session.outcome()), (Some(by), Some(outcome)));
        }
        let session = VoiceSession {
            told: told("bot"),
            ..session()
        };
        assert_eq!(
            (session.ended_at(), session.duration_secs()),
            (Some(at(40)), Some(31))
        );
        assert_eq!(self::session().ended_by(), None);
    }

    #[test]
    fn a_transcript_has_an_end_and_so_has_each_line() {
        let long = "ü".repeat(LONGEST_LINE + 1);
        let line = Line::kept(0, at(1), Some(&long), Some(" Hello ")).unwrap();
        assert_eq!(line.heard.unwrap().chars().count(), LONGEST_LINE);
        assert_eq!(line.said.as_deref(), Some("Hello"));
        assert_eq!(Line::kept(3, at(1), Some("  "), None), None);
        assert!(Line::kept(MOST_LINES - 1, at(1), Some("yes"), None).is_some());
        assert_eq!(Line::kept(MOST_LINES, at(1), Some("yes"), None), None);
    }

    #[test]
    fn exotels_words_are_cut_at_a_character() {
        let told = StreamTold {
            error: Some(format!("{}ü", "x".repeat(LONGEST_WORD - 1))),
            ..StreamTold::default()
        };
        assert_eq!(told.within_bounds().error.unwrap().len(), LONGEST_WORD - 1);
    }
}
