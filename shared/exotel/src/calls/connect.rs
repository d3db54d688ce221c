//! `Calls/connect`: one endpoint, three ways to place a call.

use serde::{Deserialize, Serialize};

use super::{Call, read_call};
use crate::answer::Answer;
use crate::request::{
    FieldList, FieldWriter, Request, check_length, check_present, check_web, invalid, parameter,
};
use crate::{Error, PhoneNumber, PrivateUrl};

/// Longest `CustomField` that comes back whole.
pub const LONGEST_CUSTOM_FIELD: usize = 128;

/// Longest call Exotel allows, in seconds.
const LONGEST_CALL_SECS: u32 = 14_400;

const LONGEST_STREAM_NAME: usize = 32;

/// Places a call. Every accepted request is a new call: Exotel knows no idempotency key.
///
/// <https://developer.exotel.com/api/make-a-call-api>
///
/// ```
/// use exotel::calls::{ConnectCall, ConnectOptions};
///
/// let call = ConnectCall {
///     options: ConnectOptions { record: Some(true), custom_field: Some("lead:7f3".into()), ..Default::default() },
///     ..ConnectCall::two_legs("+919811100001", "+919811100002", "08045550100")
/// };
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectCall {
    /// Who is dialled first, E.164 preferred. With [`Destination::Flow`] and [`Destination::Stream`] that is the customer.
    pub from: PhoneNumber,
    /// ExoPhone of the account, which the dialled parties see.
    pub caller_id: PhoneNumber,
    /// What happens when `from` answers.
    pub destination: Destination,
    /// The rest.
    #[serde(default)]
    pub options: ConnectOptions,
}

/// What the first leg is connected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// A second number, dialled when the first answers.
    Number(TwoLegs),
    /// A flow of the App Bazaar: `https://my.exotel.com/{sid}/exoml/start_voice/{app_id}`. Other URLs are not supported.
    Flow {
        /// The flow's URL.
        url: PrivateUrl,
    },
    /// A voicebot's WebSocket, without a flow. The account needs the feature; without it, 403.
    Stream {
        /// A URL that [`StreamUrl`](crate::stream::StreamUrl) takes.
        url: PrivateUrl,
        /// Label, at most 32 characters.
        #[serde(default)]
        name: Option<String>,
    },
}

/// The second leg and what only calls between two numbers know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwoLegs {
    /// Who is dialled second.
    pub to: PhoneNumber,
    /// WAV played to leg 1 while leg 2 rings. Exotel caches it by URL.
    #[serde(default)]
    pub wait_url: Option<PrivateUrl>,
    /// Quality of the recording. Only with `record`.
    #[serde(default)]
    pub recording_format: Option<RecordingFormat>,
    /// Audio played before the parties are bridged, and to whom.
    #[serde(default)]
    pub start_playback: Option<(PrivateUrl, PlaybackTo)>,
    /// WebSocket that gets the call's audio, and from when on.
    #[serde(default)]
    pub stream: Option<(PrivateUrl, StreamBegin)>,
    /// How often Exotel redials leg 1 by itself. Named only by an old article, with a default of 3: effect unverified.
    #[serde(default)]
    pub max_retries: Option<u8>,
}

/// What a call of any kind may ask for. All optional; the default leaves everything to Exotel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConnectOptions {
    /// The call is cut after this many seconds; at most 14400.
    pub time_limit_secs: Option<u32>,
    /// How long each leg may ring, in seconds. Not for streams.
    pub ring_timeout_secs: Option<u32>,
    /// Whether the call is recorded; Exotel's default is no.
    pub record: Option<bool>,
    /// Both parties in one channel or in two. Only with `record`.
    pub recording_channels: Option<RecordingChannels>,
    /// Comes back in the `terminal` callback and to applets; at most 128 characters.
    pub custom_field: Option<String>,
    /// Where callbacks are POSTed.
    pub status_callback: Option<PrivateUrl>,
    /// Which callbacks; without any, one at the end with few fields.
    pub status_callback_events: Vec<CallbackEvent>,
    /// Form of the callbacks' bodies; Exotel's default is a form.
    pub status_callback_content_type: Option<CallbackContentType>,
}

parameter! {
    /// Events a call's callback can be asked for.
    CallbackEvent {
        /// Leg 1 rings; only calls to a stream.
        Ringing = "ringing",
        /// A leg answered.
        Answered = "answered",
        /// The call ended.
        Terminal = "terminal",
    }
}

parameter! {
    /// Form of a callback's body.
    CallbackContentType {
        /// `multipart/form-data`
        Multipart = "multipart/form-data",
        /// `application/json`
        Json = "application/json",
    }
}

parameter! {
    /// Channels of a recording.
    RecordingChannels {
        /// Both parties mixed.
        Single = "single",
        /// Leg 1 left, leg 2 right.
        Dual = "dual",
    }
}

parameter! {
    /// Quality of a recording.
    RecordingFormat {
        /// The usual.
        Mp3 = "mp3",
        /// Higher bit rate.
        Mp3Hq = "mp3-hq",
    }
}

parameter! {
    /// Who hears the audio before the bridge.
    PlaybackTo {
        /// Leg 2.
        Callee = "Callee",
        /// Both legs.
        Both = "Both",
    }
}

parameter! {
    /// When a stream on a call between two numbers starts.
    StreamBegin {
        /// When leg 1 answers.
        Leg1Connect = "at Leg1Connect",
        /// When leg 2 answers.
        Leg2Connect = "at Leg2Connect",
    }
}

impl ConnectCall {
    /// Rings `from`; when it answers, rings `to`; then connects the two. Both see `caller_id`.
    pub fn two_legs(
        from: impl Into<PhoneNumber>,
        to: impl Into<PhoneNumber>,
        caller_id: impl Into<PhoneNumber>,
    ) -> Self {
        let to = to.into();
        let legs = TwoLegs {
            to,
            wait_url: None,
            recording_format: None,
            start_playback: None,
            stream: None,
            max_retries: None,
        };
        Self::new(from, caller_id, Destination::Number(legs))
    }

    /// Rings the customer `from`; when they answer, the flow behind `url` runs.
    pub fn to_flow(
        from: impl Into<PhoneNumber>,
        url: impl Into<PrivateUrl>,
        caller_id: impl Into<PhoneNumber>,
    ) -> Self {
        Self::new(from, caller_id, Destination::Flow { url: url.into() })
    }

    /// Rings the customer `from`; when they answer, Exotel opens the WebSocket `url`.
    pub fn to_stream(
        from: impl Into<PhoneNumber>,
        url: impl Into<PrivateUrl>,
        caller_id: impl Into<PhoneNumber>,
    ) -> Self {
        Self::new(
            from,
            caller_id,
            Destination::Stream {
                url: url.into(),
                name: None,
            },
        )
    }

    fn new(
        from: impl Into<PhoneNumber>,
        caller_id: impl Into<PhoneNumber>,
        destination: Destination,
    ) -> Self {
        Self {
            from: from.into(),
            caller_id: caller_id.into(),
            destination,
            options: ConnectOptions::default(),
        }
    }
}

impl Request for ConnectCall {
    type Answer = Call;

    fn check(&self) -> Result<(), Error> {
        check_present("From", &self.from)?;
        check_present("CallerId", &self.caller_id)?;
        match &self.destination {
            Destination::Number(legs) => {
                check_present("To", &legs.to)?;
                legs.wait_url
                    .as_ref()
                    .map_or(Ok(()), |url| check_web("WaitUrl", url))?;
                legs.start_playback
                    .as_ref()
                    .map_or(Ok(()), |(url, _)| check_web("StartPlaybackValueNew", url))?;
                legs.stream
                    .as_ref()
                    .map_or(Ok(()), |(url, _)| check_stream(url))?;
                if legs.recording_format.is_some() && self.options.record != Some(true) {
                    return invalid("RecordingFormat", "needs Record=true");
                }
            }
            Destination::Flow { url } => check_web("Url", url)?,
            Destination::Stream { url, name } => {
                check_stream(url)?;
                check_length(
                    "StreamName",
                    name.as_deref().unwrap_or_default(),
                    LONGEST_STREAM_NAME,
                )?;
                if self.options.ring_timeout_secs.is_some() {
                    return invalid("TimeOut", "is not for calls to a stream");
                }
            }
        }
        self.options.check()
    }

    fn path(&self) -> Vec<String> {
        vec!["Calls".to_owned(), "connect.json".to_owned()]
    }

    fn form(&self) -> Option<FieldList> {
        let mut form = FieldWriter::default();
        form.set("From", self.from.as_str());
        match &self.destination {
            Destination::Number(legs) => {
                form.set("To", legs.to.as_str())
                    .set("CallerId", self.caller_id.as_str())
                    .set("CallType", "trans");
                form.set_some("WaitUrl", legs.wait_url.as_deref())
                    .set_some("RecordingFormat", legs.recording_format)
                    .set_some("MaxRetries", legs.max_retries);
                if let Some((url, to)) = &legs.start_playback {
                    form.set("StartPlaybackToNew", to)
                        .set("StartPlaybackValueNew", url.as_str());
                }
                if let Some((url, begin)) = &legs.stream {
                    form.set("StreamUrl", url.as_str()).set("StreamBegin", begin);
                }
            }
            Destination::Flow { url } => {
                form.set("Url", url.as_str())
                    .set("CallerId", self.caller_id.as_str())
                    .set("CallType", "trans");
            }
            Destination::Stream { url, name } => {
                form.set("StreamUrl", url.as_str())
                    .set("StreamType", "bidirectional")
                    .set_some("StreamName", name.as_deref());
                form.set("CallerId", self.caller_id.as_str());
            }
        }
        self.options.write(&mut form);
        Some(form.finish())
    }

    fn read(&self, answer: &Answer) -> Result<Call, Error> {
        read_call(answer)
    }
}

impl ConnectOptions {
    fn check(&self) -> Result<(), Error> {
        if self
            .time_limit_secs
            .is_some_and(|secs| secs == 0 || secs > LONGEST_CALL_SECS)
        {
            return invalid("TimeLimit", format!("must be 1 to {LONGEST_CALL_SECS} seconds"));
        }
        if self.recording_channels.is_some() && self.record != Some(true) {
            return invalid("RecordingChannels", "needs Record=true");
        }
        check_length(
            "CustomField",
            self.custom_field.as_deref().unwrap_or_default(),
            LONGEST_CUSTOM_FIELD,
        )?;
        match &self.status_callback {
            Some(url) => check_web("StatusCallback", url),
            None if self.status_callback_events.is_empty() => Ok(()),
            None => invalid("StatusCallbackEvents", "needs a StatusCallback"),
        }
    }

    fn write(&self, form: &mut FieldWriter) {
        form.set_some("TimeLimit", self.time_limit_secs)
            .set_some("TimeOut", self.ring_timeout_secs)
            .set_some("Record", self.record)
            .set_some("RecordingChannels", self.recording_channels)
            .set_some("CustomField", self.custom_field.as_deref())
            .set_some("StatusCallback", self.status_callback.as_deref());
        for (n, event) in self.status_callback_events.iter().enumerate() {
            form.set(format!("StatusCallbackEvents[{n}]"), event);
        }
        form.set_some("StatusCallbackContentType", self.status_callback_content_type);
    }
}

fn check_stream(url: &PrivateUrl) -> Result<(), Error> {
    crate::stream::check_url(url).or_else(|problem| invalid("StreamUrl", problem.to_string()))
}

/// The URL of a flow of the App Bazaar, for [`ConnectCall::to_flow`].
///
/// # Errors
///
/// [`Error::InvalidRequest`] if account or app hold anything but ASCII letters, digits, `-` and `_`.
///
/// ```
/// let url = exotel::calls::flow_url("acme1", "228040")?;
/// assert_eq!(url.as_str(), "http://my.exotel.com/acme1/exoml/start_voice/228040");
/// # Ok::<(), exotel::Error>(())
/// ```
pub fn flow_url(account_sid: &str, app_id: &str) -> Result<PrivateUrl, Error> {
    let plain = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    for (field, value) in [("the account", account_sid), ("the app", app_id)] {
        if !plain(value) {
            return invalid(field, "must be letters, digits, '-' and '_'");
        }
    }
    // As Exotel's reference spells it: http. It is a name, nobody fetches it from here.
    Ok(format!("http://my.exotel.com/{account_sid}/exoml/start_voice/{app_id}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form_of(call: &ConnectCall) -> String {
        call.check().unwrap();
        let form = call.form().unwrap();
        form.iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("&")
    }

    fn options() -> ConnectOptions {
        ConnectOptions {
            time_limit_secs: Some(1800),
            ring_timeout_secs: Some(30),
            record: Some(true),
            recording_channels: Some(RecordingChannels::Dual),
            custom_field: Some("lead:7f3".to_owned()),
            status_callback: Some("https://hooks.example.in/exotel/call".into()),
            status_callback_events: vec![CallbackEvent::Terminal, CallbackEvent::Answered],
            status_callback_content_type: Some(CallbackContentType::Json),
        }
    }

    #[test]
    fn two_legs_are_from_and_to() {
        let call = ConnectCall {
            options: options(),
            ..ConnectCall::two_legs("+919811100001", "+919811100002", "08045550100")
        };
        assert_eq!(
            form_of(&call),
            "From=+919811100001&To=+919811100002&CallerId=08045550100&CallType=trans&TimeLimit=1800&TimeOut=30&Record=true\
             &RecordingChannels=dual&CustomField=lead:7f3&StatusCallback=https://hooks.example.in/exotel/call\
             &StatusCallbackEvents[0]=terminal&StatusCallbackEvents[1]=answered&StatusCallbackContentType=application/json"
        );
    }

    #[test]
    fn a_flow_is_a_url_and_no_stream() {
        let call = ConnectCall::to_flow(
            "+919811100002",
            "https://my.exotel.com/acme1/exoml/start_voice/926",
            "08045550100",
        );
        assert_eq!(
            form_of(&call),
            "From=+919811100002&Url=https://my.exotel.com/acme1/exoml/start_voice/926&CallerId=08045550100&CallType=trans"
        );
    }

    #[test]
    fn a_stream_is_bidirectional() {
        let call = ConnectCall::to_stream(
            "+919811100002",
            "wss://bot.example.in/media?sample-rate=16000",
            "08045550100",
        );
        assert_eq!(
            form_of(&call),
            "From=+919811100002&StreamUrl=wss://bot.example.in/media?sample-rate=16000&StreamType=bidirectional&CallerId=08045550100"
        );
    }

    #[test]
    fn a_flow_of_another_account_cannot_be_smuggled_in() {
        for (account, app) in [
            ("acme1", ""),
            ("acme1", "1?x"),
            ("acme1/../acme2", "1"),
            ("", "1"),
            ("a", "1#"),
        ] {
            assert!(flow_url(account, app).is_err(), "{account} {app}");
        }
        let url = flow_url("acme1", "app_926").unwrap();
        assert!(
            ConnectCall::to_flow("+919811100002", url, "08045550100")
                .check()
                .is_ok()
        );
    }

    #[test]
    fn what_exotel_would_refuse_is_refused_before_it_is_sent() {
        let plain = || ConnectCall::two_legs("+919811100001", "+919811100002", "08045550100");
        let with = |options| ConnectCall { options, ..plain() };
        let stream = |url: &str| ConnectCall::to_stream("+919811100002", url, "08045550100");
        for (call, field) in [
            (ConnectCall::two_legs("", "+919811100002", "08045550100"), "From"),
            (ConnectCall::two_legs("+919811100001", " ", "08045550100"), "To"),
            (
                ConnectCall::two_legs("+919811100001", "+919811100002", ""),
                "CallerId",
            ),
            (
                ConnectCall::to_flow("+919811100002", "my.exotel.com/acme1", "08045550100"),
                "Url",
            ),
            (stream("https://bot.example.in"), "StreamUrl"),
            (
                stream(&format!("wss://bot.example.in/{}", "a".repeat(600))),
                "StreamUrl",
            ),
            (stream("wss://bot.example.in?a=1&b=2&c=3&d=4"), "StreamUrl"),
            (
                with(ConnectOptions {
                    time_limit_secs: Some(14_401),
                    ..Default::default()
                }),
                "TimeLimit",
            ),
            (
                with(ConnectOptions {
                    recording_channels: Some(RecordingChannels::Dual),
                    ..Default::default()
                }),
                "RecordingChannels",
            ),
            (
                with(ConnectOptions {
                    custom_field: Some("ह".repeat(129)),
                    ..Default::default()
                }),
                "CustomField",
            ),
            (
                with(ConnectOptions {
                    status_callback: Some("localhost".into()),
                    ..Default::default()
                }),
                "StatusCallback",
            ),
            (
                with(ConnectOptions {
                    status_callback_events: vec![CallbackEvent::Answered],
                    ..Default::default()
                }),
                "StatusCallbackEvents",
            ),
        ] {
            match call.check() {
                Err(Error::InvalidRequest { field: refused, .. }) => assert_eq!(refused, field),
                other => panic!("{field}: {other:?}"),
            }
        }
        assert!(
            with(ConnectOptions {
                custom_field: Some("ह".repeat(128)),
                ..Default::default()
            })
            .check()
            .is_ok()
        );
    }

    #[test]
    fn a_queued_call_comes_back_the_same() {
        let call = ConnectCall {
            options: options(),
            ..ConnectCall::two_legs("+919811100001", "+919811100002", "08045550100")
        };
        let stored = serde_json::to_string(&call).unwrap();
        assert_eq!(serde_json::from_str::<ConnectCall>(&stored).unwrap(), call);
    }

    #[test]
    fn a_logged_call_shows_neither_numbers_nor_tokens() {
        let call = ConnectCall {
            options: options(),
            ..ConnectCall::two_legs("+919811100001", "+919811100002", "08045550100")
        };
        let shown = format!("{call:?}");
        assert!(
            !shown.contains("98111") && !shown.contains("/exotel/call"),
            "{shown}"
        );
    }
}
