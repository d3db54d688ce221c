//! A call as a driver holds it: the session in a store with a version, and the frames beside it.

use std::collections::BTreeMap;

use domain::voicebot::{
    Ask, Dropped, Ending, Event, Heard, Input, Listen, Message, Post, Rate, Rules, Session, Step, StopReason,
    Then,
};
use jiff::{SignedDuration, Timestamp};

/// When every call of these tests begins, in milliseconds.
pub(crate) const BEGINNING: i64 = 1_764_000_000_000;
pub(crate) const SID: &str = "4e1c9a70d25b4f83a6c0e7d19b52193w";
/// A frame.
pub(crate) const FRAME_MS: u64 = 100;

/// So many milliseconds after the beginning.
pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(BEGINNING + ms).unwrap()
}

/// What the store of a call holds, and what it was asked for.
pub(crate) struct Call {
    pub(crate) session: Session,
    version: u64,
    pub(crate) rules: Rules,
    pub(crate) frames: BTreeMap<u64, Vec<u8>>,
    pub(crate) reads: u32,
    pub(crate) writes: u32,
    /// What the bot was asked, and when.
    pub(crate) asks: Vec<(Timestamp, Ask)>,
    pub(crate) clears: Vec<Timestamp>,
    pub(crate) hang_ups: Vec<Timestamp>,
    pub(crate) ended: Vec<Ending>,
    pub(crate) dropped: BTreeMap<Dropped, u32>,
}

/// What an invocation has read.
pub(crate) struct Read {
    session: Session,
    version: u64,
}

impl Read {
    pub(crate) fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}

impl Call {
    /// A socket that has just opened.
    pub(crate) fn new() -> Self {
        Self {
            session: Session::new(at(0)),
            version: 0,
            rules: Rules::default(),
            frames: BTreeMap::new(),
            reads: 0,
            writes: 0,
            asks: Vec::new(),
            clears: Vec::new(),
            hang_ups: Vec::new(),
            ended: Vec::new(),
            dropped: BTreeMap::new(),
        }
    }

    /// A call whose `start` has number 1.
    pub(crate) fn started(rate: Rate) -> Self {
        let mut call = Self::new();
        let step = call.deliver(1, Event::Start(rate), at(0));
        assert_eq!(step.ask.unwrap().input, Input::Start);
        call
    }

    /// A call whose bot has said nothing to the start, and listens.
    pub(crate) fn listening(rate: Rate, listen: Listen) -> Self {
        let mut call = Self::started(rate);
        call.answer(0, &[], Then::Listen(listen), at(0));
        call
    }

    pub(crate) fn read(&mut self) -> Read {
        self.reads += 1;
        Read {
            session: self.session.clone(),
            version: self.version,
        }
    }

    /// Writes a session, if nobody has since it was read.
    pub(crate) fn write(&mut self, read: Read) -> bool {
        self.writes += 1;
        // Not each time: of ten thousand calls that takes longer than all the rest.
        if self.writes % 16 == 1 {
            let json = serde_json::to_string(&read.session).unwrap();
            assert!(json.len() < 900, "{} bytes: {json}", json.len());
            let same: Session = serde_json::from_str(&json).unwrap();
            assert_eq!(same, read.session, "{json}");
        }
        if read.version != self.version {
            return false;
        }
        self.version += 1;
        self.session = read.session;
        true
    }

    /// An invocation from its first reading on; `read` may be old by now.
    pub(crate) fn finish(&mut self, mut read: Read, message: &Message<'_>, now: Timestamp) -> Step {
        loop {
            let step = read.session.step(&self.rules, message, now);
            if let (true, Event::Media(pcm)) = (step.keep, message.event) {
                self.writes += 1;
                self.frames.insert(message.sequence_number, pcm.to_vec());
            }
            if !step.write {
                assert!(!step.keep && !step.clear && step.ask.is_none() && step.ended.is_none());
            } else if !self.write(Read { ..read }) {
                read = self.read();
                continue;
            }
            self.obey(&step, now);
            return step;
        }
    }

    fn obey(&mut self, step: &Step, now: Timestamp) {
        self.asks.extend(step.ask.clone().map(|ask| (now, ask)));
        self.clears.extend(step.clear.then_some(now));
        self.hang_ups.extend(step.hang_up.then_some(now));
        self.ended.extend(step.ended.clone());
        if let Some(dropped) = step.dropped {
            *self.dropped.entry(dropped).or_default() += 1;
        }
    }

    pub(crate) fn deliver(&mut self, number: u64, event: Event<'_>, now: Timestamp) -> Step {
        let read = self.read();
        self.finish(read, &message(number, event), now)
    }

    pub(crate) fn stop(&mut self, number: u64, reason: StopReason, now: Timestamp) -> Step {
        self.deliver(number, Event::Stop(reason), now)
    }

    /// Delivers silence from a number up to before another, at 100 ms each, so that number `n` comes at `n * 100` ms.
    pub(crate) fn silence(&mut self, numbers: std::ops::Range<u64>, rate: Rate) {
        for number in numbers {
            let _ = self.deliver(number, Event::Media(&hush(number, rate)), frame_at(number));
        }
    }

    /// The same with speech.
    pub(crate) fn speech(&mut self, numbers: std::ops::Range<u64>, rate: Rate) {
        for number in numbers {
            let _ = self.deliver(number, Event::Media(&voice(number, rate)), frame_at(number));
        }
    }

    /// The whole way of an answer whose chunks may be posted one after the other; gives its epoch when the bot was
    /// asked, and the time at which its last chunk was posted.
    pub(crate) fn answer(
        &mut self,
        turn: u32,
        chunks_ms: &[u32],
        then: Then,
        now: Timestamp,
    ) -> (u32, Timestamp) {
        let mut read = self.read();
        let (epoch, _) = read.session.begin_answer(turn, now).unwrap();
        assert!(self.write(read));
        let mut read = self.read();
        assert!(read.session.answer(epoch, then, now));
        let mut now = now;
        for (index, length_ms) in (0..).zip(chunks_ms) {
            if let Post::NotBefore(time) = read.session.post_chunk(epoch, index, *length_ms, now) {
                now = time;
                let post = read.session.post_chunk(epoch, index, *length_ms, now);
                assert!(matches!(post, Post::Now { .. }), "{post:?}");
            }
        }
        if !chunks_ms.is_empty() {
            assert!(read.session.mark(epoch).is_some());
        }
        let step = read.session.finish_answer(epoch, now);
        assert!(self.write(read));
        self.obey(&step, now);
        (epoch, now)
    }

    /// What the bot heard in a turn, from the frames that were kept.
    pub(crate) fn audio(&self, heard: &Heard, rate: Rate) -> Vec<u8> {
        let frames = self.frames.range(heard.first..=heard.last);
        let frames: Vec<_> = frames.map(|(number, pcm)| (*number, pcm)).collect();
        heard.lay_out(&frames, rate)
    }

    /// The inputs that the bot was asked about, but for the start.
    pub(crate) fn inputs(&self) -> Vec<Input> {
        let inputs = self.asks.iter().map(|(_, ask)| ask.input.clone());
        inputs.filter(|input| *input != Input::Start).collect()
    }
}

pub(crate) fn message(number: u64, event: Event<'_>) -> Message<'_> {
    Message {
        stream_sid: Some(SID),
        sequence_number: number,
        event,
    }
}

/// When a frame comes that nothing holds up.
pub(crate) fn frame_at(number: u64) -> Timestamp {
    at(0) + SignedDuration::from_millis((number * FRAME_MS) as i64)
}

/// 100 ms of something as loud as speech, unlike any other number's.
pub(crate) fn voice(number: u64, rate: Rate) -> Vec<u8> {
    wave(3_000 + (number % 4_000) as i16, rate)
}

/// 100 ms of a quiet line, unlike its neighbours'.
pub(crate) fn hush(number: u64, rate: Rate) -> Vec<u8> {
    wave(20 + (number % 16) as i16, rate)
}

/// A square wave, which is quick to make.
fn wave(peak: i16, rate: Rate) -> Vec<u8> {
    let period = [[peak; 8], [-peak; 8]].concat();
    let period: Vec<_> = period.into_iter().flat_map(i16::to_le_bytes).collect();
    period.repeat(rate.bytes_of_ms(FRAME_MS) / period.len())
}
