//! The state of a call with a bot, and what each message of Exotel's and each move of the bot makes of it.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    Heard, Rate,
    keys::{Keys, is_key},
    playback::Playback,
    utterance::{Utterance, Verdict},
    voice::{Floor, Sound},
    window::{Seen, Window},
};

/// When a frame still comes so long after we ended the call, the socket is asked to close again.
const CLOSES_AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(2);
/// The longest `stream_sid`, and the longest outcome of a transfer, in bytes; the session has to stay small.
const LONGEST_NAME: usize = 64;
/// Numbers above have more than ten digits. Exotel counts from 1, ten or so a second.
const HIGHEST_NUMBER: u64 = 9_999_999_999;
/// No frame is so many numbers late: that is ten seconds. The counter began again.
const BEGAN_AGAIN: u64 = 100;
/// Most keys that one input can have.
pub const MOST_DIGITS: u8 = 32;

/// How long things take. The session does not hold them, so a change is good for calls that are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// So much must be loud before sound is speech: then it interrupts the bot, and becomes a turn.
    pub least_speech_ms: u32,
    /// So much silence ends a turn.
    pub silence_after_turn_ms: u32,
    /// So much silence shows that a sound was no speech.
    pub silence_after_noise_ms: u32,
    /// So much of the silence after its last speech goes to the bot with a turn.
    pub silence_kept_ms: u32,
    /// A turn is ended when it is so long, whoever still speaks.
    pub longest_utterance_ms: u32,
    /// A bot that has not begun to speak after so long is asked again. A socket whose stream has not begun after so long is
    /// closed.
    pub bot_timeout_ms: u32,
    /// So many times in all; then the call ends.
    pub most_asked: u8,
    /// A call ends after so long. Exotel ends a stream after 60 min.
    pub longest_call_ms: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            least_speech_ms: 160,
            silence_after_turn_ms: 700,
            silence_after_noise_ms: 300,
            silence_kept_ms: 300,
            longest_utterance_ms: 30_000,
            bot_timeout_ms: 10_000,
            most_asked: 3,
            longest_call_ms: 60 * 60 * 1000,
        }
    }
}

/// What the bot listens for after it has spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// Whether speech is a turn, and interrupts. Without, only keys are and do.
    #[serde(rename = "s")]
    pub speech: bool,
    /// So many keys are an input; 0 when keys are nothing to the bot, at most [`MOST_DIGITS`].
    #[serde(rename = "d")]
    pub max_digits: u8,
    /// The key that ends an input before; it is no part of it.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub terminator: Option<char>,
    /// An input ends when no key follows for so long.
    #[serde(rename = "g")]
    pub digit_timeout_ms: u32,
    /// The bot is told when nothing comes for so long after it has been heard out.
    #[serde(rename = "n")]
    pub no_input_ms: u32,
    /// So many times in a row; then the call ends.
    #[serde(rename = "m")]
    pub most_silences: u8,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            speech: true,
            max_digits: MOST_DIGITS,
            terminator: Some('#'),
            digit_timeout_ms: 3_000,
            no_input_ms: 8_000,
            most_silences: 3,
        }
    }
}

/// What comes after an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// The caller's turn.
    Listen(Listen),
    /// The socket is closed when the answer has been played, and the call's flow goes on by this outcome.
    Transfer(String),
    /// The socket is closed when the answer has been played.
    HangUp,
}

/// A message of Exotel's, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// `stream_sid`; `None` when the message names none.
    pub stream_sid: Option<&'a str>,
    /// `sequence_number`, one counter for all messages of the socket.
    pub sequence_number: u64,
    /// What it says.
    pub event: Event<'a>,
}

/// What a message says.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// The stream begins, with its sample rate.
    Start(Rate),
    /// What the caller's side sounds like: decoded PCM.
    Media(&'a [u8]),
    /// A key was pressed.
    Dtmf(char),
    /// Everything before the mark of this name was played.
    Mark(&'a str),
    /// Something that nobody documents; its number has no audio.
    Unknown,
    /// The stream ends.
    Stop(StopReason),
}

/// Why Exotel ends a stream (`stop.reason`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// `callended`: the caller hung up.
    CallEnded,
    /// `stopped`, and whatever else: the applet ended.
    Stopped,
}

/// Something for the bot to answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Which turn; 0 is the greeting.
    #[serde(rename = "t")]
    pub turn: u32,
    /// What the caller did.
    #[serde(rename = "i")]
    pub input: Input,
}

/// What the caller did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// They are there: the stream began.
    Start,
    /// They said something: the kept frames that hold it.
    Speech(Heard),
    /// They pressed keys; none when only the terminator.
    Digits(String),
    /// They did nothing, for so many times in a row.
    Silence(u8),
}

/// Why a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The caller hung up.
    CallEnded,
    /// Exotel ended the stream.
    Stopped,
    /// The socket vanished without a `stop`.
    Closed,
    /// The bot hung up.
    HungUp,
    /// The bot handed the call on, with this outcome.
    Transferred(String),
    /// The caller did nothing, too often.
    NoInput,
    /// The bot did not answer, or was never asked: no stream began.
    BotSilent,
    /// It took too long.
    TimeLimit,
}

impl Ending {
    /// Whether it is us who ended the call, by closing the socket.
    pub fn is_ours(&self) -> bool {
        !matches!(self, Ending::CallEnded | Ending::Stopped | Ending::Closed)
    }
}

/// Why a message was ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dropped {
    /// It came before `start`.
    BeforeStart,
    /// It came after the end.
    AfterEnd,
    /// It names another stream.
    OtherStream,
    /// Its number was there before, or it is a second `start`.
    Duplicate,
    /// What it belongs to is over.
    Late,
    /// It is a key or a mark that does not exist, a `start` whose `stream_sid` is missing or too long, or its number is
    /// absurd.
    Invalid,
}

/// What a message makes whoever drives the session do, in the order of the fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct Step {
    /// Keep this message's audio under its sequence number, before the session is written: who reads a turn reads its
    /// frames at once.
    pub keep: bool,
    /// Write the session, if nobody else has written it since it was read; otherwise read it again and step again.
    /// Nothing of what follows may be done before. When `false`, nothing of what follows is asked for, but `dropped` and
    /// `hang_up`.
    pub write: bool,
    /// Post a `clear`.
    pub clear: bool,
    /// Have the bot answer this.
    pub ask: Option<Ask>,
    /// Close the socket.
    pub hang_up: bool,
    /// The call has just ended, and why.
    pub ended: Option<Ending>,
    /// The message was ignored, which wants to be counted outside the session: a count is no reason for two invocations
    /// to wait for each other.
    pub dropped: Option<Dropped>,
}

/// What the bot may do with a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Post {
    /// Write the session, post the chunk; the next one follows at this time.
    Now {
        /// When [`Session::post_chunk`] will let the next one go.
        next_at: Timestamp,
    },
    /// Not before this time. Nothing has changed.
    NotBefore(Timestamp),
    /// Never: the caller interrupted, or the call is over. Nothing has changed.
    Never,
}

/// An end, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Ended {
    #[serde(rename = "w")]
    why: Ending,
    #[serde(rename = "a", with = "jiff::fmt::serde::timestamp::millisecond::required")]
    at: Timestamp,
}

/// The stream, once it has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stream {
    #[serde(rename = "s")]
    sid: String,
    #[serde(rename = "r")]
    rate: Rate,
    #[serde(rename = "a", with = "jiff::fmt::serde::timestamp::millisecond::required")]
    started_at: Timestamp,
}

/// Where the bot is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Bot {
    /// It has said all.
    #[serde(rename = "i")]
    Idle,
    /// It was asked and has not answered.
    #[serde(rename = "t")]
    Thinking {
        #[serde(rename = "a")]
        ask: Ask,
        /// How often it was asked.
        #[serde(rename = "n")]
        times: u8,
        /// Whether somebody has taken the question.
        #[serde(rename = "b", default, skip_serializing_if = "std::ops::Not::not")]
        begun: bool,
        /// Since when that is so.
        #[serde(rename = "s", with = "jiff::fmt::serde::timestamp::millisecond::required")]
        since: Timestamp,
    },
    /// It speaks.
    #[serde(rename = "a")]
    Answering {
        /// Chunks that were posted.
        #[serde(rename = "c")]
        chunks: u32,
        /// When the last was.
        #[serde(rename = "s", with = "jiff::fmt::serde::timestamp::millisecond::required")]
        since: Timestamp,
        /// When the next may be.
        #[serde(rename = "x", with = "jiff::fmt::serde::timestamp::millisecond::required")]
        next_at: Timestamp,
        /// How the call ends with this answer, which nobody can interrupt then.
        #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
        ending: Option<Ending>,
    },
    /// It has said all, and the call ends when that has been played.
    #[serde(rename = "l")]
    Leaving(Ending),
}

/// A call with a bot. It holds no audio, is small as JSON (under 900 bytes), and changes only when something matters.
///
/// Every invocation that has a message reads the session, steps it, and writes it back on the condition that nobody has
/// in between; who loses reads and steps again. That is safe, since a sequence number counts once.
///
/// Time comes with messages alone: Exotel sends a frame about every 100 ms, in silence too, and each carries whatever
/// has fallen due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    stream: Option<Stream>,
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    ended: Option<Ended>,
    /// The newest turn.
    #[serde(rename = "t")]
    turn: u32,
    #[serde(rename = "e")]
    epoch: u32,
    #[serde(rename = "w")]
    window: Window,
    /// Frames below this belong to turns that are over.
    #[serde(rename = "f")]
    from: u64,
    /// Keys below this belong to inputs that are. A key is not judged by the frames around it: it may be overtaken by
    /// more of them than are waited for, and is worth more.
    #[serde(rename = "y", default, skip_serializing_if = "is_zero")]
    keys_from: u64,
    #[serde(rename = "v")]
    floor: Floor,
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    utterance: Option<Utterance>,
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    keys: Option<Keys>,
    #[serde(rename = "b")]
    bot: Bot,
    #[serde(rename = "p")]
    playback: Playback,
    #[serde(rename = "l")]
    listen: Listen,
    /// Since when the caller could have done something; until `start`, since when the socket is open.
    #[serde(rename = "q", with = "jiff::fmt::serde::timestamp::millisecond::required")]
    quiet_since: Timestamp,
    /// Turns in a row in which they did nothing.
    #[serde(rename = "n")]
    silences: u8,
    /// Sequence numbers that never came, or came too late.
    #[serde(rename = "m")]
    lost: u32,
}

/// The caller's side.
impl Session {
    /// A call whose socket has just opened.
    pub fn new(now: Timestamp) -> Self {
        Self {
            stream: None,
            ended: None,
            turn: 0,
            epoch: 0,
            window: Window::default(),
            from: 0,
            keys_from: 0,
            floor: Floor::new(now),
            utterance: None,
            keys: None,
            bot: Bot::Idle,
            playback: Playback::new(now),
            listen: Listen::default(),
            quiet_since: now,
            silences: 0,
            lost: 0,
        }
    }

    /// Takes a message of Exotel's in, and whatever has fallen due.
    pub fn step(&mut self, rules: &Rules, message: &Message<'_>, now: Timestamp) -> Step {
        self.watch(|session, step| {
            session.take(rules, message, now, step);
            session.fall_due(rules, Some(message.sequence_number), now, step);
        })
    }

    /// Looks whether something has fallen due: for messages that cannot be read, which tell the time all the same.
    pub fn tick(&mut self, rules: &Rules, now: Timestamp) -> Step {
        self.watch(|session, step| session.fall_due(rules, None, now, step))
    }

    /// Takes in that the socket is closed. After a `stop`, or when we closed it, that is nothing new.
    pub fn socket_closed(&mut self, rules: &Rules, now: Timestamp) -> Step {
        self.watch(|session, step| {
            if session.ended.is_none() {
                session.end_by_exotel(rules, Ending::Closed, now, step);
            }
        })
    }

    /// Whatever changed must be written, and nothing else.
    fn watch(&mut self, change: impl FnOnce(&mut Self, &mut Step)) -> Step {
        let before = self.clone();
        let mut step = Step::default();
        change(self, &mut step);
        step.write = *self != before;
        step
    }

    fn take(&mut self, rules: &Rules, message: &Message<'_>, now: Timestamp, step: &mut Step) {
        if let Some(ended) = &mut self.ended {
            // Both were on their way at once: the reason says more.
            if let (Ending::Closed, Event::Stop(reason)) = (&ended.why, message.event) {
                ended.why = reason.into();
                step.ended = Some(ended.why.clone());
                return;
            }
            step.dropped = Some(Dropped::AfterEnd);
            step.hang_up = ended.why.is_ours() && now >= ended.at + CLOSES_AGAIN_AFTER;
            return;
        }
        let number = message.sequence_number;
        if number > HIGHEST_NUMBER {
            step.dropped = Some(Dropped::Invalid);
            return;
        }
        let Some(stream) = &self.stream else {
            match message.event {
                Event::Start(rate) => self.start(message.stream_sid, number, rate, now, step),
                Event::Stop(reason) => self.end_by_exotel(rules, reason.into(), now, step),
                _ => step.dropped = Some(Dropped::BeforeStart),
            }
            return;
        };
        if message.stream_sid.is_some_and(|sid| sid != stream.sid) {
            step.dropped = Some(Dropped::OtherStream);
            return;
        }
        match message.event {
            Event::Start(_) => step.dropped = Some(Dropped::Duplicate),
            Event::Stop(reason) => self.end_by_exotel(rules, reason.into(), now, step),
            Event::Media(pcm) => {
                let rate = stream.rate;
                self.follow_counter(number);
                let sound = self.floor.listen(pcm, rate);
                self.hear(number, sound, now, step);
            }
            Event::Dtmf(digit) => {
                self.follow_counter(number);
                self.press(number, digit, now, step)
            }
            Event::Mark(name) => self.hear_mark(number, name, now, step),
            Event::Unknown => self.pass(number),
        }
    }

    fn start(&mut self, sid: Option<&str>, number: u64, rate: Rate, now: Timestamp, step: &mut Step) {
        let is_plain = |sid: &&str| sid.len() <= LONGEST_NAME && short(sid) == **sid;
        let Some(sid) = sid.filter(is_plain) else {
            step.dropped = Some(Dropped::Invalid);
            return;
        };
        self.stream = Some(Stream {
            sid: sid.to_owned(),
            rate,
            started_at: now,
        });
        self.window.note(number);
        self.ask(Input::Start, now, step);
    }

    /// Follows a counter that began again.
    fn follow_counter(&mut self, number: u64) {
        if self.window.newest().saturating_sub(number) < BEGAN_AGAIN {
            return;
        }
        self.close_utterance();
        (self.window, self.from, self.keys_from) = (Window::default(), number, 0);
        if let Some(keys) = &mut self.keys {
            keys.begin_again();
        }
    }

    /// Takes a frame in.
    fn hear(&mut self, number: u64, sound: Sound, now: Timestamp, step: &mut Step) {
        if self.keys.is_some() || !self.hears_speech() {
            // Keys outrank speech, and may sound like it.
            self.close_utterance();
            return;
        }
        match &mut self.utterance {
            None if !sound.is_audible() => return self.floor.learn(sound, now),
            Some(utterance) if !utterance.wants(number, sound) => return,
            _ => {}
        }
        if let Some(dropped) = self.is_over(number) {
            step.dropped = Some(dropped);
            return;
        }
        step.keep = true;
        if let Some(utterance) = &mut self.utterance {
            self.window.note(number);
            utterance.hear(number, sound, self.window);
        } else {
            self.utterance = Some(Utterance::open(number, sound, &mut self.window, self.from));
        }
        self.floor.follow(sound);
    }

    /// Whether a message comes again or too late.
    fn is_over(&self, number: u64) -> Option<Dropped> {
        match self.window.look(number) {
            Seen::Before => Some(Dropped::Duplicate),
            Seen::TooFarBack => Some(Dropped::Late),
            Seen::Never => (number < self.from).then_some(Dropped::Late),
        }
    }

    /// Whether speech is heard. Until the bot has greeted it is not: who says hello is about to be greeted. Nor while keys
    /// are on their way to the bot: it would never hear of them.
    fn hears_speech(&self) -> bool {
        let is_deaf = match &self.bot {
            Bot::Thinking { ask, begun, .. } => match ask.input {
                Input::Start => true,
                Input::Digits(_) => !begun,
                _ => false,
            },
            _ => false,
        };
        self.listen.speech && !is_deaf && !self.is_leaving()
    }

    /// Whether the bot is saying its last words.
    fn is_leaving(&self) -> bool {
        matches!(self.bot, Bot::Leaving(_) | Bot::Answering { ending: Some(_), .. })
    }

    /// Decides about the utterance.
    fn judge(&mut self, rules: &Rules, now: Timestamp, step: &mut Step) {
        let Some(mut utterance) = self.utterance.take() else {
            return;
        };
        utterance.settle(self.window, now);
        if !utterance.confirmed && utterance.is_speech(rules) {
            utterance.confirmed = true;
            self.silences = 0;
            if let Some(unheard) = self.interrupt(now, step) {
                utterance.continue_from(&unheard);
            }
        }
        let verdict = utterance.verdict(rules, self.window);
        let heard = utterance.heard(rules, self.window);
        self.utterance = Some(utterance);
        match verdict {
            Verdict::GoesOn => {}
            Verdict::WasNoise => self.close_utterance(),
            Verdict::Ended => {
                self.close_utterance();
                self.ask(Input::Speech(heard), now, step);
            }
        }
    }

    fn close_utterance(&mut self) {
        if let Some(utterance) = self.utterance.take() {
            self.lost = self.lost.saturating_add(utterance.lost);
            self.from = self.window.newest() + 1;
        }
    }

    /// The caller takes the floor: nothing of the old answer is posted any more, and what was posted is cleared. Gives
    /// what the caller said before, when nobody has begun to hear it.
    fn interrupt(&mut self, now: Timestamp, step: &mut Step) -> Option<Heard> {
        let was_playing = self.playback.is_playing(now);
        let bot = std::mem::replace(&mut self.bot, Bot::Idle);
        if was_playing || bot != Bot::Idle {
            self.epoch += 1;
        }
        if was_playing {
            self.playback.clear(now);
            step.clear = true;
        }
        match bot {
            Bot::Thinking {
                ask:
                    Ask {
                        input: Input::Speech(heard),
                        ..
                    },
                begun: false,
                ..
            } => Some(heard),
            _ => None,
        }
    }

    /// Takes a key in. While the bot thinks it waits, so that keys pressed in advance are heard one after the other.
    fn press(&mut self, number: u64, digit: char, now: Timestamp, step: &mut Step) {
        if !is_key(digit) {
            step.dropped = Some(Dropped::Invalid);
        }
        if !is_key(digit) || self.listen.max_digits == 0 || self.is_leaving() {
            return self.pass(number);
        }
        let judged = match &self.keys {
            _ if number < self.keys_from => Some(Dropped::Late),
            Some(keys) => keys.judge(number),
            None => None,
        };
        if judged.is_some() {
            step.dropped = judged;
            return;
        }
        self.window.note(number);
        self.close_utterance();
        self.silences = 0;
        if !self.is_thinking() {
            self.interrupt(now, step);
        }
        let listen = (!self.is_thinking()).then_some(&self.listen);
        let keys = self.keys.get_or_insert_with(|| Keys::new(now));
        keys.press(number, digit, listen, now);
    }

    fn is_thinking(&self) -> bool {
        matches!(self.bot, Bot::Thinking { .. })
    }

    /// Takes in that the caller has heard everything before a mark.
    fn hear_mark(&mut self, number: u64, name: &str, now: Timestamp, step: &mut Step) {
        self.pass(number);
        if !self.playback.knows(name) {
            step.dropped = Some(Dropped::Invalid);
        } else if self.playback.hear_mark(name, now) && self.bot == Bot::Idle {
            self.quiet_since = self.playback.until().max(now);
        }
    }

    /// Takes a number in that has no audio, so that nobody waits for it.
    fn pass(&mut self, number: u64) {
        if self.utterance.is_none() || self.is_over(number).is_some() {
            return;
        }
        self.window.note(number);
        if let Some(utterance) = &mut self.utterance {
            utterance.pass(number);
        }
    }

    fn ask(&mut self, input: Input, now: Timestamp, step: &mut Step) {
        if input != Input::Start {
            self.turn += 1;
        }
        let ask = Ask {
            turn: self.turn,
            input,
        };
        step.ask = Some(ask.clone());
        self.bot = Bot::Thinking {
            ask,
            times: 1,
            begun: false,
            since: now,
        };
    }

    /// Whatever time brings. `number` is that of the message which told the time.
    fn fall_due(&mut self, rules: &Rules, number: Option<u64>, now: Timestamp, step: &mut Step) {
        if self.ended.is_some() {
            return;
        }
        let bot_timeout = ms(rules.bot_timeout_ms);
        let Some(stream) = &self.stream else {
            // Its `start` is lost, and the caller hears nothing until the flow goes on.
            if now.duration_since(self.quiet_since) >= bot_timeout {
                self.hang_up(Ending::BotSilent, now, step);
            }
            return;
        };
        if now.duration_since(stream.started_at) >= ms(rules.longest_call_ms) {
            return self.hang_up(Ending::TimeLimit, now, step);
        }
        self.judge(rules, now, step);
        let keys_are_complete = |keys: &Keys| keys.are_complete(number, &self.listen, now);
        if !self.is_thinking() && self.keys.as_ref().is_some_and(keys_are_complete) {
            return self.ask_digits(now, step);
        }
        match &mut self.bot {
            Bot::Thinking { since, .. } if now.duration_since(*since) < bot_timeout => {}
            Bot::Thinking { times, .. } if *times >= rules.most_asked => {
                self.hang_up(Ending::BotSilent, now, step)
            }
            Bot::Thinking {
                ask,
                times,
                begun,
                since,
            } => {
                // Whoever took the question may still come with an answer, which nobody waits for any more.
                self.epoch += 1;
                (*times, *begun, *since) = (*times + 1, false, now);
                step.ask = Some(ask.clone());
            }
            Bot::Answering { since, ending, .. } => {
                if now.duration_since((*since).max(self.playback.until())) >= bot_timeout {
                    let ending = ending.take();
                    // Whoever spoke may only be held up, and would go on within the next answer.
                    self.epoch += 1;
                    self.give_floor(ending, now);
                }
            }
            Bot::Leaving(ending) => {
                if !self.playback.is_playing(now) {
                    let ending = ending.clone();
                    self.hang_up(ending, now, step);
                }
            }
            Bot::Idle => self.look_for_silence(now, step),
        }
    }

    fn ask_digits(&mut self, now: Timestamp, step: &mut Step) {
        let Some(keys) = self.keys.take() else { return };
        // They may have waited for the bot, and interrupt it now.
        self.interrupt(now, step);
        self.from = self.window.newest() + 1;
        let (digits, taken_to, next) = keys.take(&self.listen);
        self.keys_from = self.keys_from.max(taken_to + 1);
        self.keys = next;
        self.ask(Input::Digits(digits), now, step);
    }

    fn look_for_silence(&mut self, now: Timestamp, step: &mut Step) {
        let has_floor = self.utterance.is_none() && self.keys.is_none() && !self.playback.is_playing(now);
        if !has_floor || now.duration_since(self.quiet_since) < ms(self.listen.no_input_ms) {
            return;
        }
        if self.silences >= self.listen.most_silences {
            return self.hang_up(Ending::NoInput, now, step);
        }
        self.silences += 1;
        self.ask(Input::Silence(self.silences), now, step);
    }

    fn hang_up(&mut self, why: Ending, now: Timestamp, step: &mut Step) {
        step.hang_up = true;
        self.end(why, now, step);
    }

    /// Ends because Exotel or the caller did. What was said or pressed last is still told: the bot may have waited for it.
    fn end_by_exotel(&mut self, rules: &Rules, why: Ending, now: Timestamp, step: &mut Step) {
        let is_asked = matches!(
            &self.bot,
            Bot::Thinking {
                ask: Ask {
                    input: Input::Speech(_) | Input::Digits(_),
                    ..
                },
                begun: false,
                ..
            }
        );
        if is_asked {
            // The bot still gets that; keys behind it were for a question that it has not put.
        } else if self.keys.is_some() {
            self.ask_digits(now, step);
        } else if let Some(utterance) = self.utterance.as_ref().filter(|utterance| utterance.confirmed) {
            let heard = utterance.heard(rules, self.window);
            self.ask(Input::Speech(heard), now, step);
        }
        step.clear = false;
        self.end(why, now, step);
    }

    fn end(&mut self, why: Ending, now: Timestamp, step: &mut Step) {
        self.close_utterance();
        self.keys = None;
        self.ended = Some(Ended {
            why: why.clone(),
            at: now,
        });
        step.ended = Some(why);
    }

    /// The bot has said all: the caller's turn, or the end.
    fn give_floor(&mut self, ending: Option<Ending>, now: Timestamp) {
        self.quiet_since = self.playback.until().max(now);
        self.bot = ending.map_or(Bot::Idle, Bot::Leaving);
    }
}

/// The bot's side. Each of these reads the session, changes it, and writes it back on the same condition as a message;
/// what they allow may be done once it is written.
impl Session {
    /// Takes a question. Gives it with the epoch in which it is answered, or nothing when somebody else has taken it, or
    /// the caller has gone on: then nobody is to ask the bot. A question that the caller hung up on is given too: its
    /// answer will not be heard.
    pub fn begin_answer(&mut self, turn: u32, now: Timestamp) -> Option<(u32, Input)> {
        match &mut self.bot {
            Bot::Thinking {
                ask, begun, since, ..
            } if ask.turn == turn && !*begun => {
                (*begun, *since) = (true, now);
                Some((self.epoch, ask.input.clone()))
            }
            _ => None,
        }
    }

    /// Takes in that the bot has answered, and what comes after it; the answer's chunks follow. Whatever else the bot
    /// keeps of the call is written with it. `false` when the caller has gone on: then nothing of the answer counts.
    pub fn answer(&mut self, epoch: u32, then: Then, now: Timestamp) -> bool {
        let taken = matches!(self.bot, Bot::Thinking { begun: true, .. });
        if !taken || epoch != self.epoch || self.ended.is_some() {
            return false;
        }
        let ending = match then {
            Then::Listen(listen) => {
                self.listen = listen.within_limits();
                match &mut self.keys {
                    Some(keys) if self.listen.max_digits > 0 => keys.measure(&self.listen, now),
                    keys => *keys = None,
                }
                None
            }
            Then::HangUp => Some(Ending::HungUp),
            Then::Transfer(outcome) => Some(Ending::Transferred(short(&outcome))),
        };
        if ending.is_some() {
            // Nobody takes them any more, and last words are not interrupted.
            self.keys = None;
        }
        self.bot = Bot::Answering {
            chunks: 0,
            since: now,
            next_at: now,
            ending,
        };
        true
    }

    /// Whether an answer of this epoch may still be heard.
    pub fn may_post(&self, epoch: u32) -> bool {
        epoch == self.epoch && self.ended.is_none() && matches!(self.bot, Bot::Answering { .. })
    }

    /// Asks for a chunk of an answer to be posted: the `index`th, from 0, of so many milliseconds. The same chunk may be
    /// asked for again, when nobody knows whether the session was written.
    pub fn post_chunk(&mut self, epoch: u32, index: u32, length_ms: u32, now: Timestamp) -> Post {
        if !self.may_post(epoch) {
            return Post::Never;
        }
        let Bot::Answering {
            chunks,
            since,
            next_at,
            ..
        } = &mut self.bot
        else {
            return Post::Never;
        };
        if index < *chunks {
            return Post::Now { next_at: *next_at };
        }
        if now < *next_at {
            return Post::NotBefore(*next_at);
        }
        *next_at = self.playback.post(length_ms, index == 0, now);
        (*chunks, *since) = (index + 1, now);
        Post::Now { next_at: *next_at }
    }

    /// Names the mark that follows the last chunk of an utterance; nothing when that may not be posted any more. It can
    /// be asked for together with the chunk, and written once.
    pub fn mark(&mut self, epoch: u32) -> Option<String> {
        self.may_post(epoch).then(|| self.playback.mark())
    }

    /// Takes in that everything of an answer was posted. It gives the caller the floor; or the call ends, at once when
    /// there is nothing to play, otherwise with the first message after it was played.
    pub fn finish_answer(&mut self, epoch: u32, now: Timestamp) -> Step {
        self.watch(|session, step| {
            if !session.may_post(epoch) {
                return;
            }
            if let Bot::Answering { ending, .. } = &mut session.bot {
                let ending = ending.take();
                session.give_floor(ending, now);
            }
            if let Bot::Leaving(ending) = &session.bot
                && !session.playback.is_playing(now)
            {
                let ending = ending.clone();
                session.hang_up(ending, now, step);
            }
        })
    }

    /// Whether a `clear` must follow a chunk that was just posted, by a session read after that: the caller interrupted
    /// between the check and the post, and the chunk may have come after the `clear`. Not any more when the next answer is
    /// being heard: it would go with the chunk.
    pub fn clears_again(&self, epoch: u32, now: Timestamp) -> bool {
        let next_is_heard =
            matches!(self.bot, Bot::Answering { chunks: 1.., .. }) || self.playback.is_playing(now);
        epoch != self.epoch && self.ended.is_none() && !next_is_heard
    }
}

/// What is known of the call.
impl Session {
    /// `stream_sid`, once the stream has begun.
    pub fn stream_sid(&self) -> Option<&str> {
        self.stream.as_ref().map(|stream| stream.sid.as_str())
    }

    /// The sample rate, once the stream has begun.
    pub fn rate(&self) -> Option<Rate> {
        self.stream.as_ref().map(|stream| stream.rate)
    }

    /// When the stream began.
    pub fn started_at(&self) -> Option<Timestamp> {
        self.stream.as_ref().map(|stream| stream.started_at)
    }

    /// Why the call ended, and when.
    pub fn ended(&self) -> Option<(&Ending, Timestamp)> {
        self.ended.as_ref().map(|ended| (&ended.why, ended.at))
    }

    /// The newest turn that the bot was asked about; 0 is the greeting.
    pub fn turn(&self) -> u32 {
        self.turn
    }

    /// How often an answer was interrupted, or not waited for.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// When what was posted will have been played.
    pub fn play_until(&self) -> Timestamp {
        self.playback.until()
    }

    /// Messages within turns that never came, or came too late.
    pub fn lost(&self) -> u32 {
        self.lost
    }
}

impl Listen {
    fn within_limits(mut self) -> Self {
        self.max_digits = self.max_digits.min(MOST_DIGITS);
        self.terminator = self.terminator.filter(|key| is_key(*key));
        self
    }
}

impl From<StopReason> for Ending {
    fn from(reason: StopReason) -> Self {
        match reason {
            StopReason::CallEnded => Ending::CallEnded,
            StopReason::Stopped => Ending::Stopped,
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn ms(ms: u32) -> SignedDuration {
    SignedDuration::from_millis(ms.into())
}

/// The beginning of an outcome, without what JSON would have to escape.
fn short(outcome: &str) -> String {
    let plain = outcome
        .chars()
        .filter(|c| !c.is_control() && !matches!(c, '"' | '\\'));
    let mut length = 0;
    plain
        .take_while(|c| {
            length += c.len_utf8();
            length <= LONGEST_NAME
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_at_its_largest_is_under_900_bytes() {
        let now = Timestamp::from_millisecond(9_999_999_999_999).unwrap();
        let number = HIGHEST_NUMBER;
        let ask = |input| Ask {
            turn: u32::MAX,
            input,
        };
        let heard = Heard {
            first: number,
            last: number,
            frames: u32::MAX,
            others: vec![number; 3],
        };
        let thinking = |input| Bot::Thinking {
            ask: ask(input),
            times: u8::MAX,
            begun: true,
            since: now,
        };
        let answering = Bot::Answering {
            chunks: u32::MAX,
            since: now,
            next_at: now,
            ending: Some(Ending::Transferred("x".repeat(LONGEST_NAME))),
        };
        let digits = "8".repeat(MOST_DIGITS.into());
        let largest = Session {
            stream: Some(Stream {
                sid: "x".repeat(LONGEST_NAME),
                rate: Rate::Hz24000,
                started_at: now,
            }),
            ended: None,
            turn: u32::MAX,
            epoch: u32::MAX,
            window: Window::largest(number),
            from: number,
            keys_from: number,
            floor: Floor::new(now),
            utterance: Some(Utterance::largest(number, now)),
            keys: None,
            bot: Bot::Idle,
            playback: Playback::largest(now),
            listen: Listen {
                speech: false,
                max_digits: MOST_DIGITS,
                terminator: Some('#'),
                digit_timeout_ms: u32::MAX,
                no_input_ms: u32::MAX,
                most_silences: u8::MAX,
            },
            quiet_since: now,
            silences: u8::MAX,
            lost: u32::MAX,
        };
        let with = |bot: &Bot| Session {
            bot: bot.clone(),
            ..largest.clone()
        };
        let keys = Some(Keys::largest(number, now));
        let typed = Session {
            utterance: None,
            keys,
            ..with(&thinking(Input::Digits(digits)))
        };
        let ended = Session {
            ended: Some(Ended {
                why: Ending::Transferred("x".repeat(LONGEST_NAME)),
                at: now,
            }),
            utterance: None,
            ..with(&thinking(Input::Speech(heard.clone())))
        };
        let speaking = with(&thinking(Input::Speech(heard)));
        for session in [with(&answering), typed, ended, speaking] {
            let json = serde_json::to_string(&session).unwrap();
            println!("{} bytes", json.len());
            assert!(json.len() < 900, "{} bytes: {json}", json.len());
        }
        let usual = serde_json::to_string(&Session::new(now)).unwrap();
        assert!(usual.len() < 300, "{} bytes: {usual}", usual.len());
    }
}
