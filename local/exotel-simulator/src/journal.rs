//! Everything that happened, in order: requests received, numbers rung, callbacks made.

use jiff::Timestamp;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::inbound::Branch;

/// Names and values in the order in which they were sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(pub Vec<(String, String)>);

impl Params {
    /// The first value of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

impl Serialize for Params {
    /// An object; a name sent more than once holds an array.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (at, (name, value)) in self.0.iter().enumerate() {
            if self.0[..at].iter().any(|(earlier, _)| earlier == name) {
                continue;
            }
            let all: Vec<&str> = self.0[at..]
                .iter()
                .filter(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
                .collect();
            if all.len() == 1 {
                map.serialize_entry(name, value)?;
            } else {
                map.serialize_entry(name, &all)?;
            }
        }
        map.end()
    }
}

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Rises by one from entry to entry; `?since=` takes it.
    pub id: u64,
    /// When it began.
    pub at: Timestamp,
    /// What it was.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Event {
    /// A request to the API or to a recording.
    Request(Request),
    /// A leg was rung.
    Dial(Dial),
    /// A callback was sent, or dropped by a fault.
    Callback(Callback),
    /// Something happened on a voicebot's stream.
    Stream(Streamed),
}

/// A request to the API or to a recording.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Request {
    /// `GET`, `POST` …
    pub method: String,
    /// The path, with `.json` where it was sent.
    pub path: String,
    /// Query and body parameters.
    pub params: Params,
    /// Content type of the body, without parameters.
    pub content_type: Option<String>,
    /// `Basic [redacted]` when an Authorization header came with it.
    pub authorization: Option<String>,
    /// The `Range` header.
    pub range: Option<String>,
    /// Status of the answer; null while there is none, and for good after a hang or a reset.
    pub status: Option<u16>,
    /// When it was answered.
    pub answered_at: Option<Timestamp>,
    /// Sid of the call or message that it made.
    pub sid: Option<String>,
    /// The fault that was put in its way.
    pub fault: Option<String>,
}

/// A leg was rung.
#[derive(Debug, Clone, Serialize)]
pub struct Dial {
    /// Sid of the call.
    pub sid: String,
    /// 1 or 2.
    pub leg: u8,
    /// The number rung, as Exotel writes it.
    pub number: String,
}

/// Something that happened on a voicebot's stream. Frames and chunks of sound are only counted, with the stream.
#[derive(Debug, Clone, Serialize)]
pub struct Streamed {
    /// Sid of the call.
    pub sid: String,
    /// Sid of the stream.
    pub stream_sid: String,
    /// When, in milliseconds from the stream's start.
    pub at_ms: u64,
    /// `handshake`, `start`, `dtmf`, `mark`, `mark-echoed`, `clear`, `fault`, `violation`, `stop`, `closed`, `failed`.
    pub event: String,
    /// In words.
    pub detail: String,
}

/// An attempt at a callback.
#[derive(Debug, Clone, Serialize)]
pub struct Callback {
    /// Sid of the call or message; of the account for a HeartBeat.
    pub sid: String,
    /// `answered`, `terminal`, `ringing`; `sms` for a delivery report; `heartbeat`; `passthru`; `voicebot` where a bot's
    /// URL is asked for.
    pub event: String,
    /// `POST`, or `GET` for a Passthru.
    pub method: String,
    /// Where it went, as it was given.
    pub url: String,
    /// Its content type; empty for a Passthru.
    pub content_type: String,
    /// Its fields, flattened as in a form.
    pub params: Params,
    /// 1 for the first attempt, more for retries.
    pub attempt: u32,
    /// Status of the answer; null while there is none.
    pub status: Option<u16>,
    /// Why there is no answer.
    pub error: Option<String>,
    /// The fault it suffered: `dropped`, `duplicate`, `delayed`, `reordered`.
    pub fault: Option<String>,
    /// What the answer to a sync Passthru picked.
    pub branch: Option<Branch>,
    /// When it was answered or given up.
    pub answered_at: Option<Timestamp>,
}

/// The journal.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    entries: Vec<Entry>,
    last: u64,
}

impl Journal {
    pub(crate) fn push(&mut self, at: Timestamp, limit: usize, event: Event) -> u64 {
        self.last += 1;
        self.entries.push(Entry {
            id: self.last,
            at,
            event,
        });
        // Let it grow by a quarter before the oldest go, so that they need not be moved out one by one.
        let limit = limit.max(1);
        if self.entries.len() > limit + limit / 4 {
            self.entries.drain(..self.entries.len() - limit);
        }
        self.last
    }

    /// The entry of that id, unless it has been cleared.
    pub(crate) fn entry(&mut self, id: u64) -> Option<&mut Event> {
        let first = self.entries.first()?.id;
        let at = usize::try_from(id.checked_sub(first)?).ok()?;
        self.entries.get_mut(at).map(|entry| &mut entry.event)
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

impl Entry {
    /// The request, if it is one.
    pub fn request(&self) -> Option<&Request> {
        match &self.event {
            Event::Request(request) => Some(request),
            _ => None,
        }
    }

    /// The dial, if it is one.
    pub fn dial(&self) -> Option<&Dial> {
        match &self.event {
            Event::Dial(dial) => Some(dial),
            _ => None,
        }
    }

    /// The callback, if it is one.
    pub fn callback(&self) -> Option<&Callback> {
        match &self.event {
            Event::Callback(callback) => Some(callback),
            _ => None,
        }
    }

    /// What happened on a stream, if it is that.
    pub fn stream(&self) -> Option<&Streamed> {
        match &self.event {
            Event::Stream(streamed) => Some(streamed),
            _ => None,
        }
    }

    /// `request`, `dial`, `callback` or `stream`.
    pub fn kind(&self) -> &'static str {
        match self.event {
            Event::Request(_) => "request",
            Event::Dial(_) => "dial",
            Event::Callback(_) => "callback",
            Event::Stream(_) => "stream",
        }
    }

    /// The call or message that it belongs to.
    pub fn sid(&self) -> Option<&str> {
        match &self.event {
            Event::Request(request) => request.sid.as_deref(),
            Event::Dial(dial) => Some(&dial.sid),
            Event::Callback(callback) => Some(&callback.sid),
            Event::Stream(streamed) => Some(&streamed.sid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dial(sid: &str) -> Event {
        Event::Dial(Dial {
            sid: sid.to_owned(),
            leg: 1,
            number: "09811100001".to_owned(),
        })
    }

    #[test]
    fn the_oldest_entries_go_first_and_ids_go_on() {
        let mut journal = Journal::default();
        for sid in ["a", "b", "c"] {
            journal.push(Timestamp::UNIX_EPOCH, 2, dial(sid));
        }
        assert_eq!(
            journal.entries().iter().map(|entry| entry.id).collect::<Vec<_>>(),
            [2, 3]
        );
        assert!(journal.entry(1).is_none());
        assert!(journal.entry(3).is_some());
        journal.clear();
        assert_eq!(journal.push(Timestamp::UNIX_EPOCH, 2, dial("d")), 4);
    }

    #[test]
    fn a_name_sent_twice_is_an_array() {
        let params = Params(vec![
            ("a".into(), "1".into()),
            ("b".into(), "2".into()),
            ("a".into(), "3".into()),
        ]);
        assert_eq!(
            serde_json::to_string(&params).unwrap(),
            r#"{"a":["1","3"],"b":"2"}"#
        );
    }
}
