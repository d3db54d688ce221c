//! What Exotel sends over a stream's WebSocket.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::skim;
use crate::{StopReason, last4};

/// One message of Exotel's, borrowed from its text.
///
/// Numbers come as text from the live service and as numbers in some documents; both are read. What is missing, empty or
/// the word `null` is none. Events that no document has are [`Incoming::Other`], not an error: pass them over.
///
/// ```
/// use exotel::stream::{Incoming, Message};
///
/// let message = Message::parse(r#"{"event":"dtmf","sequence_number":"7","stream_sid":"4e1c","dtmf":{"digit":"5","duration":"100"}}"#)?;
/// assert_eq!((message.sequence_number, message.stream_sid.as_deref()), (Some(7), Some("4e1c")));
/// let Incoming::Dtmf(key) = message.incoming else { panic!("a key was pressed") };
/// assert_eq!(key.digit, "5");
/// # Ok::<(), exotel::stream::MessageError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Message<'a> {
    /// Counts all messages of the socket, from 1; `connected` has none.
    pub sequence_number: Option<u64>,
    /// Which stream; `connected` does not say.
    pub stream_sid: Option<Cow<'a, str>>,
    /// What it says.
    pub incoming: Incoming<'a>,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Incoming<'a> {
    /// The socket is open; comes first, once.
    Connected,
    /// The stream begins; once.
    Start(Start<'a>),
    /// Audio of the caller's, about ten times a second.
    Media(Media<'a>),
    /// The caller pressed a key. Only to voicebots.
    Dtmf(Dtmf<'a>),
    /// Audio up to a mark of the bot's has been played. Only to voicebots.
    Mark(Mark<'a>),
    /// The stream has ended. The socket may also just close.
    Stop(Stop<'a>),
    /// An event that this crate does not know.
    Other {
        /// Its name.
        event: Cow<'a, str>,
    },
}

/// The call that a stream belongs to. `Debug` shows the last four digits of numbers and no parameter's value.
#[derive(Clone, Default, PartialEq)]
pub struct Start<'a> {
    /// The stream.
    pub stream_sid: Option<Cow<'a, str>>,
    /// The call. Everything else about it is better looked up by this.
    pub call_sid: Option<Cow<'a, str>>,
    /// The account.
    pub account_sid: Option<Cow<'a, str>>,
    /// Incoming: the caller. On a call placed by the API it has been seen to be the same as `to`.
    pub from: Option<Cow<'a, str>>,
    /// Incoming: the ExoPhone.
    pub to: Option<Cow<'a, str>>,
    /// The parameters of the URL; none is an empty map.
    pub custom_parameters: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    /// How audio travels.
    pub media_format: MediaFormat<'a>,
}

/// How audio travels. Only the rate means anything: documents disagree about the rest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MediaFormat<'a> {
    /// `base64`, `raw`, `audio/x-raw`.
    pub encoding: Option<Cow<'a, str>>,
    /// Samples a second: 8000, 16000 or 24000.
    pub sample_rate: Option<u32>,
    /// `128kbps`, `128`, `16`.
    pub bit_rate: Option<Cow<'a, str>>,
}

/// A piece of the caller's audio. Its length follows from its bytes and the rate, not from the time between two.
/// `Debug` shows how long it is.
#[derive(Clone, PartialEq)]
pub struct Media<'a> {
    /// Counts these messages, from 1.
    pub chunk: Option<u64>,
    /// Milliseconds since the stream began.
    pub timestamp: Option<u64>,
    /// PCM as base64, unchecked.
    pub payload: Cow<'a, [u8]>,
}

/// A key that the caller pressed.
#[derive(Clone, Debug, PartialEq)]
pub struct Dtmf<'a> {
    /// `0` to `9`, `*`, `#`; perhaps `A` to `D`.
    pub digit: Cow<'a, str>,
    /// For how long, in milliseconds.
    pub duration: Option<u32>,
}

/// A mark that has been reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark<'a> {
    /// As the bot named it.
    pub name: Cow<'a, str>,
}

/// The end of a stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stop<'a> {
    /// The call.
    pub call_sid: Option<Cow<'a, str>>,
    /// The account.
    pub account_sid: Option<Cow<'a, str>>,
    /// Why.
    pub reason: Option<StopReason>,
}

/// Why a text is no message of Exotel's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// It is not JSON, or not of a message's shape.
    #[error("the message cannot be read: {detail}")]
    Unreadable {
        /// Kind of the error, line and column, without any of the message's values.
        detail: String,
    },
    /// It lacks what it cannot be without.
    #[error("the message has no {field}")]
    MissingField {
        /// Exotel's name of it, such as `media.payload`.
        field: &'static str,
    },
}

impl<'a> Message<'a> {
    /// Reads a `media` message out of the JSON string that API Gateway hands it over in: `escaped` is what stands between
    /// that string's quotes. Without a JSON reader, and without a copy of it, which for the message that comes ten times a
    /// second and caller are nearly all the work.
    ///
    /// Reads it as the live service writes it, without white space, every value a text without escapes. `None` for
    /// whatever looks different, which is for a JSON reader and [`Message::parse`].
    ///
    /// ```
    /// use exotel::stream::Message;
    ///
    /// let text = r#"{"event":"media","sequence_number":"3","stream_sid":"4e1c","media":{"chunk":"2","timestamp":"200","payload":"AAECAwQF"}}"#;
    /// let escaped = text.replace('"', "\\\"");
    /// assert_eq!(Message::skim(escaped.as_bytes()), Some(Message::parse(text)?));
    /// # Ok::<(), exotel::stream::MessageError>(())
    /// ```
    pub fn skim(escaped: &'a [u8]) -> Option<Self> {
        skim::media(escaped)
    }

    /// Reads a text message of Exotel's.
    ///
    /// # Errors
    /// [`MessageError`] for what is no message.
    pub fn parse(text: &'a str) -> Result<Self, MessageError> {
        let wire: Wire<'a> = serde_json::from_str(text).map_err(|e| MessageError::Unreadable {
            // Not the error's own words: those quote values.
            detail: format!(
                "{:?} error at line {}, column {}",
                e.classify(),
                e.line(),
                e.column()
            ),
        })?;
        let event = wire.event.into_raw().ok_or(missing("event"))?;
        let mut stream_sid = wire.stream_sid.into_text();
        let incoming = match event.as_ref() {
            "connected" => Incoming::Connected,
            "start" => {
                let mut start = wire.start.unwrap_or_default().into_start();
                stream_sid = stream_sid.or_else(|| start.stream_sid.clone());
                start.stream_sid = start.stream_sid.or_else(|| stream_sid.clone());
                Incoming::Start(start)
            }
            "media" => {
                let media = wire.media.unwrap_or_default();
                Incoming::Media(Media {
                    chunk: media.chunk.into_number(),
                    timestamp: media.timestamp.into_number(),
                    payload: media.payload.ok_or(missing("media.payload"))?.0,
                })
            }
            "dtmf" => {
                let dtmf = wire.dtmf.unwrap_or_default();
                Incoming::Dtmf(Dtmf {
                    digit: dtmf.digit.into_text().ok_or(missing("dtmf.digit"))?,
                    duration: dtmf.duration.into_number().and_then(|ms| u32::try_from(ms).ok()),
                })
            }
            "mark" => {
                let name = wire.mark.unwrap_or_default().name.into_raw();
                Incoming::Mark(Mark {
                    name: name.ok_or(missing("mark.name"))?,
                })
            }
            "stop" => {
                let stop = wire.stop.unwrap_or_default();
                Incoming::Stop(Stop {
                    call_sid: stop.call_sid.into_text(),
                    account_sid: stop.account_sid.into_text(),
                    reason: stop
                        .reason
                        .into_text()
                        .map(|reason| StopReason::from_wire(&reason)),
                })
            }
            _ => Incoming::Other { event },
        };
        Ok(Self {
            sequence_number: wire.sequence_number.into_number(),
            stream_sid,
            incoming,
        })
    }
}

impl Media<'_> {
    /// The audio: samples of signed 16 bits, little-endian. None if the payload is not base64.
    pub fn pcm(&self) -> Option<Vec<u8>> {
        base64_simd::STANDARD.decode_to_vec(&self.payload).ok()
    }
}

impl fmt::Debug for Media<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Media")
            .field("chunk", &self.chunk)
            .field("timestamp", &self.timestamp)
            .field("payload", &format_args!("<{} characters>", self.payload.len()))
            .finish()
    }
}

impl fmt::Debug for Start<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let masked =
            |number: &Option<Cow<str>>| number.as_deref().map(|number| format!("…{}", last4(number)));
        f.debug_struct("Start")
            .field("stream_sid", &self.stream_sid)
            .field("call_sid", &self.call_sid)
            .field("account_sid", &self.account_sid)
            .field("from", &masked(&self.from))
            .field("to", &masked(&self.to))
            .field("custom_parameters", &self.custom_parameters.keys())
            .field("media_format", &self.media_format)
            .finish()
    }
}

fn missing(field: &'static str) -> MessageError {
    MessageError::MissingField { field }
}

/// A message as it travels. One struct with everything a message may hold: an enum tagged by `event` would have serde
/// copy the payload before it knows what it is.
#[derive(serde::Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    event: Scalar<'a>,
    #[serde(borrow, default)]
    sequence_number: Scalar<'a>,
    #[serde(borrow, default)]
    stream_sid: Scalar<'a>,
    #[serde(borrow)]
    start: Option<StartBody<'a>>,
    #[serde(borrow)]
    media: Option<MediaBody<'a>>,
    #[serde(borrow)]
    dtmf: Option<DtmfBody<'a>>,
    #[serde(borrow)]
    mark: Option<MarkBody<'a>>,
    #[serde(borrow)]
    stop: Option<StopBody<'a>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct StartBody<'a> {
    #[serde(borrow)]
    stream_sid: Scalar<'a>,
    #[serde(borrow)]
    call_sid: Scalar<'a>,
    #[serde(borrow)]
    account_sid: Scalar<'a>,
    #[serde(borrow)]
    from: Scalar<'a>,
    #[serde(borrow)]
    to: Scalar<'a>,
    #[serde(borrow)]
    custom_parameters: Parameters<'a>,
    #[serde(borrow)]
    media_format: Option<FormatBody<'a>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct FormatBody<'a> {
    #[serde(borrow)]
    encoding: Scalar<'a>,
    #[serde(borrow)]
    sample_rate: Scalar<'a>,
    #[serde(borrow)]
    bit_rate: Scalar<'a>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct MediaBody<'a> {
    #[serde(borrow)]
    chunk: Scalar<'a>,
    #[serde(borrow)]
    timestamp: Scalar<'a>,
    #[serde(borrow)]
    payload: Option<Payload<'a>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct DtmfBody<'a> {
    #[serde(borrow)]
    digit: Scalar<'a>,
    #[serde(borrow)]
    duration: Scalar<'a>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct MarkBody<'a> {
    #[serde(borrow)]
    name: Scalar<'a>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct StopBody<'a> {
    #[serde(borrow)]
    call_sid: Scalar<'a>,
    #[serde(borrow)]
    account_sid: Scalar<'a>,
    #[serde(borrow)]
    reason: Scalar<'a>,
}

impl<'a> StartBody<'a> {
    fn into_start(self) -> Start<'a> {
        let format = self.media_format.unwrap_or_default();
        Start {
            stream_sid: self.stream_sid.into_text(),
            call_sid: self.call_sid.into_text(),
            account_sid: self.account_sid.into_text(),
            from: self.from.into_text(),
            to: self.to.into_text(),
            custom_parameters: self.custom_parameters.0,
            media_format: MediaFormat {
                encoding: format.encoding.into_text(),
                sample_rate: format
                    .sample_rate
                    .into_number()
                    .and_then(|hz| u32::try_from(hz).ok()),
                bit_rate: format.bit_rate.into_text(),
            },
        }
    }
}

/// Base64, read as bytes: serde_json then looks for its end by SIMD, and neither for control characters nor at its UTF-8,
/// which is decoding's to refuse. It is nearly all of nearly all messages.
struct Payload<'a>(Cow<'a, [u8]>);

impl<'de: 'a, 'a> Deserialize<'de> for Payload<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PayloadVisitor;

        impl<'de> Visitor<'de> for PayloadVisitor {
            type Value = Payload<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Payload<'de>, E> {
                Ok(Payload(Cow::Borrowed(bytes)))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Payload<'de>, E> {
                Ok(Payload(Cow::Owned(bytes.to_owned())))
            }
        }

        deserializer.deserialize_bytes(PayloadVisitor)
    }
}

/// A value of a message, whether it is written as text or as a number.
#[derive(Default)]
pub(super) enum Scalar<'a> {
    Text(Cow<'a, str>),
    Whole(u64),
    #[default]
    Absent,
}

impl<'a> Scalar<'a> {
    /// As text, whatever it says.
    fn into_raw(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Whole(number) => Some(Cow::Owned(number.to_string())),
            Self::Absent => None,
        }
    }

    /// As text; empty and `null` are none.
    pub(super) fn into_text(self) -> Option<Cow<'a, str>> {
        self.into_raw()
            .filter(|text| !text.is_empty() && !text.eq_ignore_ascii_case("null"))
    }

    /// As a whole number; what is none is absent.
    pub(super) fn into_number(self) -> Option<u64> {
        match self {
            Self::Text(text) => text.trim().parse().ok(),
            Self::Whole(number) => Some(number),
            Self::Absent => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a number")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Whole(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(number.to_string())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Scalar<'de>, E> {
        // 100.0 is written "100".
        Ok(Scalar::Text(Cow::Owned(number.to_string())))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(if flag { "true" } else { "false" })))
    }

    fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Scalar<'de>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Absent)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Scalar<'de>, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Absent)
    }
}

/// The URL's parameters: an object; without any also `null`, an empty list or nothing.
#[derive(Default)]
struct Parameters<'a>(BTreeMap<Cow<'a, str>, Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for Parameters<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ParametersVisitor;

        impl<'de> Visitor<'de> for ParametersVisitor {
            type Value = Parameters<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Parameters<'de>, A::Error> {
                let mut parameters = BTreeMap::new();
                while let Some((name, value)) = entries.next_entry::<Scalar<'de>, Scalar<'de>>()? {
                    if let (Some(name), Some(value)) = (name.into_raw(), value.into_raw()) {
                        parameters.insert(name, value);
                    }
                }
                Ok(Parameters(parameters))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Parameters<'de>, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Parameters::default())
            }

            fn visit_unit<E>(self) -> Result<Parameters<'de>, E> {
                Ok(Parameters::default())
            }

            fn visit_str<E>(self, _text: &str) -> Result<Parameters<'de>, E> {
                Ok(Parameters::default())
            }
        }

        deserializer.deserialize_any(ParametersVisitor)
    }
}
