//! The messages of AgentStream: what is sent to the bot, and what of it is understood.

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::view::ViolationKind;
use crate::answer::Node;

/// The least a chunk may hold, in bytes of sound.
const LEAST_BYTES: usize = 3_200;
/// The most.
const MOST_BYTES: usize = 100_000;
/// Every chunk is a multiple of this: 20 ms at 8 kHz.
const GRAIN_BYTES: usize = 320;

/// How numbers are written in what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Numbers {
    /// `"sequence_number": "3"`, as seen live.
    #[default]
    Strings,
    /// `"sequence_number": 3`, as some of the documentation has it.
    Ints,
}

/// Writes messages to the bot and numbers them.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) numbers: Numbers,
    pub(crate) stream_sid: String,
    pub(crate) call_sid: String,
    pub(crate) account_sid: String,
    sequence: u64,
}

impl Writer {
    pub(crate) fn new(numbers: Numbers, stream_sid: String, call_sid: String, account_sid: String) -> Self {
        Self {
            numbers,
            stream_sid,
            call_sid,
            account_sid,
            sequence: 0,
        }
    }

    fn number(&self, number: u64) -> Node {
        match self.numbers {
            Numbers::Strings => number.to_string().into(),
            Numbers::Ints => i64::try_from(number).unwrap_or(i64::MAX).into(),
        }
    }

    fn numbered(&mut self, event: &'static str, fields: Vec<(&'static str, Node)>) -> String {
        self.sequence += 1;
        Node::Object(vec![
            ("event", event.into()),
            ("sequence_number", self.number(self.sequence)),
            ("stream_sid", self.stream_sid.as_str().into()),
            (event, Node::Object(fields)),
        ])
        .to_json()
    }

    pub(crate) fn connected(&self) -> String {
        Node::Object(vec![("event", "connected".into())]).to_json()
    }

    pub(crate) fn start(
        &mut self,
        from: &str,
        to: &str,
        rate_hz: u32,
        custom: &[(String, String)],
    ) -> String {
        let custom = custom
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect();
        let media_format = vec![
            ("encoding", "base64".into()),
            ("sample_rate", self.number(u64::from(rate_hz))),
            (
                "bit_rate",
                format!("{}kbps", u64::from(rate_hz) * 16 / 1_000).into(),
            ),
        ];
        let fields = vec![
            ("stream_sid", self.stream_sid.as_str().into()),
            ("call_sid", self.call_sid.as_str().into()),
            ("account_sid", self.account_sid.as_str().into()),
            ("from", from.into()),
            ("to", to.into()),
            ("custom_parameters", Node::Keyed(custom)),
            ("media_format", Node::Object(media_format)),
        ];
        self.numbered("start", fields)
    }

    /// A frame of sound; `payload` is its base64.
    pub(crate) fn media(&mut self, chunk: u64, timestamp_ms: u64, payload: String) -> String {
        let fields = vec![
            ("chunk", self.number(chunk)),
            ("timestamp", self.number(timestamp_ms)),
            ("payload", payload.into()),
        ];
        self.numbered("media", fields)
    }

    pub(crate) fn dtmf(&mut self, digit: char) -> String {
        let fields = vec![
            ("digit", digit.to_string().into()),
            ("duration", self.number(100)),
        ];
        self.numbered("dtmf", fields)
    }

    pub(crate) fn mark(&mut self, name: &str) -> String {
        self.numbered("mark", vec![("name", name.into())])
    }

    /// An event that no document has, for bots that must pass it over.
    pub(crate) fn unknown(&mut self) -> String {
        self.numbered("speechmetrics", vec![("level", self.number(7))])
    }

    pub(crate) fn stop(&mut self, reason: &str) -> String {
        let fields = vec![
            ("call_sid", self.call_sid.as_str().into()),
            ("account_sid", self.account_sid.as_str().into()),
            ("reason", reason.into()),
        ];
        self.numbered("stop", fields)
    }
}

/// Base64 of samples as they travel: little-endian.
pub(crate) fn payload(samples: &[i16]) -> String {
    encode(
        &samples
            .iter()
            .flat_map(|sample| sample.to_le_bytes())
            .collect::<Vec<u8>>(),
    )
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// What the bot wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// To be heard.
    Play { samples: Vec<i16>, bytes: usize },
    /// To know when everything so far was.
    Mark(String),
    /// To be heard no further.
    Clear,
}

/// A message of the bot's: what it wants, as far as it can be understood, and what is wrong with it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) wanted: Option<Wanted>,
    pub(crate) violations: Vec<(ViolationKind, String)>,
}

impl Judged {
    fn wrong(mut self, kind: ViolationKind, detail: impl Into<String>) -> Self {
        self.violations.push((kind, detail.into()));
        self
    }
}

/// Reads a text message of the bot's.
pub(crate) fn judge(text: &str, stream_sid: &str) -> Judged {
    let judged = Judged::default();
    let message: Value = match serde_json::from_str(text) {
        Ok(message) => message,
        Err(err) => return judged.wrong(ViolationKind::NotJson, format!("a message is not JSON: {err}")),
    };
    let judged = match message.get("stream_sid") {
        // It may be left out.
        None => judged,
        Some(sid) if sid == stream_sid => judged,
        Some(sid) => judged.wrong(
            ViolationKind::WrongStreamSid,
            format!("stream_sid is {sid}, this stream is {stream_sid}"),
        ),
    };
    let Some(event) = message.get("event").and_then(Value::as_str) else {
        return judged.wrong(ViolationKind::MissingField, "a message has no `event`");
    };
    let field = |object: &str, name: &str| {
        let value = message.get(object).and_then(|inner| inner.get(name));
        value.and_then(Value::as_str).map(str::to_owned)
    };
    match event {
        "media" => match field("media", "payload") {
            Some(payload) => sound(&payload, judged),
            None => judged.wrong(
                ViolationKind::MissingField,
                "a media message has no `media.payload`",
            ),
        },
        "mark" => match field("mark", "name") {
            Some(name) => Judged {
                wanted: Some(Wanted::Mark(name)),
                ..judged
            },
            None => judged.wrong(ViolationKind::MissingField, "a mark has no `mark.name`"),
        },
        "clear" => Judged {
            wanted: Some(Wanted::Clear),
            ..judged
        },
        other => judged.wrong(
            ViolationKind::UnknownEvent,
            format!("Exotel knows no event {other:?}"),
        ),
    }
}

fn sound(payload: &str, mut judged: Judged) -> Judged {
    let bytes = match base64::engine::general_purpose::STANDARD.decode(payload) {
        Ok(bytes) => bytes,
        Err(err) => {
            return judged.wrong(
                ViolationKind::BadBase64,
                format!("a payload is not base64: {err}"),
            );
        }
    };
    let length = bytes.len();
    if length < LEAST_BYTES {
        let detail =
            format!("a chunk of {length} bytes; at least {LEAST_BYTES}, pad the last one with zeros");
        judged = judged.wrong(ViolationKind::ChunkTooSmall, detail);
    }
    if length > MOST_BYTES {
        let detail = format!("a chunk of {length} bytes; at most {MOST_BYTES}");
        judged = judged.wrong(ViolationKind::ChunkTooLarge, detail);
    }
    if !length.is_multiple_of(GRAIN_BYTES) {
        let detail = format!("a chunk of {length} bytes is no multiple of {GRAIN_BYTES}");
        judged = judged.wrong(ViolationKind::ChunkMisaligned, detail);
    }
    let samples = bytes
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    Judged {
        wanted: Some(Wanted::Play {
            samples,
            bytes: length,
        }),
        ..judged
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_that_a_bot_sends_is_too_much(text in ".*") {
            judge(&text, "s1");
        }

        #[test]
        fn nothing_in_the_place_of_a_field_is_too_much(
            event in prop_oneof![Just("media"), Just("mark"), Just("clear"), Just("x")],
            value in prop_oneof![Just("null"), Just("7"), Just("[]"), Just("\"AAAA\""), Just("{\"payload\":\"AA\"}"), Just("{\"name\":[]}")],
        ) {
            let judged = judge(&format!(r#"{{"event":"{event}","media":{value},"mark":{value},"stream_sid":{value}}}"#), "s1");
            prop_assert!(!judged.violations.is_empty());
        }
    }

    fn writer(numbers: Numbers) -> Writer {
        Writer::new(numbers, "s1".to_owned(), "c1".to_owned(), "acme1".to_owned())
    }

    #[test]
    fn messages_have_the_shape_seen_live() {
        let mut writer = writer(Numbers::Strings);
        assert_eq!(writer.connected(), r#"{"event":"connected"}"#);
        let custom = [("lead".to_owned(), "7f3".to_owned())];
        assert_eq!(
            writer.start("09811100002", "08045550100", 8_000, &custom),
            r#"{"event":"start","sequence_number":"1","stream_sid":"s1","start":{"stream_sid":"s1","call_sid":"c1","account_sid":"acme1","from":"09811100002","to":"08045550100","custom_parameters":{"lead":"7f3"},"media_format":{"encoding":"base64","sample_rate":"8000","bit_rate":"128kbps"}}}"#
        );
        assert_eq!(
            writer.media(1, 100, "AAA=".to_owned()),
            r#"{"event":"media","sequence_number":"2","stream_sid":"s1","media":{"chunk":"1","timestamp":"100","payload":"AAA="}}"#
        );
        assert_eq!(
            writer.dtmf('5'),
            r#"{"event":"dtmf","sequence_number":"3","stream_sid":"s1","dtmf":{"digit":"5","duration":"100"}}"#
        );
        assert_eq!(
            writer.mark("greet-end"),
            r#"{"event":"mark","sequence_number":"4","stream_sid":"s1","mark":{"name":"greet-end"}}"#
        );
        assert_eq!(
            writer.stop("callended"),
            r#"{"event":"stop","sequence_number":"5","stream_sid":"s1","stop":{"call_sid":"c1","account_sid":"acme1","reason":"callended"}}"#
        );
    }

    #[test]
    fn numbers_can_be_numbers() {
        let text = writer(Numbers::Ints).media(1, 100, String::new());
        assert!(text.contains(r#""sequence_number":1,"#) && text.contains(r#""chunk":1,"timestamp":100,"#));
    }

    fn media(bytes: usize) -> Judged {
        let payload = encode(&vec![0; bytes]);
        judge(
            &format!(r#"{{"event":"media","media":{{"payload":"{payload}"}}}}"#),
            "s1",
        )
    }

    fn kinds(judged: &Judged) -> Vec<ViolationKind> {
        judged.violations.iter().map(|(kind, _)| *kind).collect()
    }

    #[test]
    fn a_chunk_is_held_to_its_limits() {
        use ViolationKind::{ChunkMisaligned, ChunkTooLarge, ChunkTooSmall};
        for (bytes, wrong) in [
            (3_200, vec![]),
            (99_840, vec![]),
            (2_880, vec![ChunkTooSmall]),
            (0, vec![ChunkTooSmall]),
            (3_201, vec![ChunkMisaligned]),
            (3_202, vec![ChunkMisaligned]),
            (100_160, vec![ChunkTooLarge]),
            (640 + 2, vec![ChunkTooSmall, ChunkMisaligned]),
        ] {
            let judged = media(bytes);
            assert_eq!(kinds(&judged), wrong, "{bytes}");
            let Some(Wanted::Play { samples, .. }) = judged.wanted else {
                panic!("{bytes}: all that can be played is");
            };
            assert_eq!(samples.len(), bytes / 2);
        }
    }

    #[test]
    fn what_cannot_be_understood_is_named_and_does_nothing() {
        use ViolationKind::{BadBase64, MissingField, NotJson, UnknownEvent};
        for (text, kind) in [
            ("hello", NotJson),
            ("{}", MissingField),
            (r#"{"event":"media"}"#, MissingField),
            (r#"{"event":"media","media":{"payload":7}}"#, MissingField),
            (r#"{"event":"media","media":{"payload":"@@@"}}"#, BadBase64),
            (r#"{"event":"mark","mark":{}}"#, MissingField),
            (r#"{"event":"hangup"}"#, UnknownEvent),
        ] {
            let judged = judge(text, "s1");
            assert_eq!((kinds(&judged), judged.wanted), (vec![kind], None), "{text}");
        }
    }

    #[test]
    fn the_streams_sid_may_be_left_out_but_not_be_another() {
        assert_eq!(
            judge(r#"{"event":"clear","stream_sid":"s1"}"#, "s1"),
            judge(r#"{"event":"clear"}"#, "s1")
        );
        let judged = judge(r#"{"event":"clear","stream_sid":"s2"}"#, "s1");
        assert_eq!(kinds(&judged), [ViolationKind::WrongStreamSid]);
        assert_eq!(judged.wanted, Some(Wanted::Clear));
    }
}
