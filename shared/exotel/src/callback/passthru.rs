//! What the Passthru applet tells in the middle of a flow.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::body::read_callback;
use super::{CallbackError, read_sid};
use crate::fields::Fields;
use crate::{
    CallSid, CallStatus, CallType, Direction, DisconnectedBy, ExotelTime, PhoneNumber, PrivateUrl,
    StreamStatus,
};

/// The keys of [`PassthruCall::stream`] that Exotel documents, in its spelling.
const STREAM_KEYS: [&str; 8] = [
    "StreamSID",
    "Status",
    "Duration",
    "RecordingUrl",
    "StreamUrl",
    "DisconnectedBy",
    "DetailedStatus",
    "Error",
];

/// A call as the Passthru applet of a flow describes it. Only the sid is certain: Exotel sends what is known at that point
/// of the flow, and the word `null` for much of the rest.
///
/// Exotel sends a GET with the values in the query, and a synchronous applet goes on by the status of the answer: 200 one
/// way, 302 the other. The caller waits meanwhile.
///
/// <https://support.exotel.com/support/solutions/articles/48283-working-with-passthru-applet>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassthruCall {
    /// Which call.
    pub call_sid: CallSid,
    /// Incoming: the caller. Outgoing: the number that dials.
    pub call_from: Option<PhoneNumber>,
    /// Incoming: the ExoPhone. Outgoing: the number that was dialled.
    pub call_to: Option<PhoneNumber>,
    /// The older name of `CallFrom`, mostly the same.
    pub from: Option<PhoneNumber>,
    /// The older name of `CallTo`; seen to differ from it.
    pub to: Option<PhoneNumber>,
    /// The call's state at this point.
    pub call_status: Option<CallStatus>,
    /// Who started the call.
    pub direction: Option<Direction>,
    /// When the call came in or was placed: documented as `2026-11-20 14:03:11`, seen as `Fri, 20 Nov 2026 14:03:11`.
    pub created: Option<ExotelTime>,
    /// When the call began.
    pub start_time: Option<ExotelTime>,
    /// Exotel's clock at this point.
    pub current_time: Option<ExotelTime>,
    /// Documented as a constant in 1970, which is none here.
    pub end_time: Option<ExotelTime>,
    /// Seconds since the second leg was dialled; 0 if none was.
    pub dial_call_duration_secs: Option<u32>,
    /// What became of the second leg; none if none was dialled.
    pub dial_call_status: Option<CallStatus>,
    /// How far the call got.
    pub call_type: Option<CallType>,
    /// Who was dialled last: a number or a SIP address.
    pub dial_whom_number: Option<PhoneNumber>,
    /// Where the recording is or will be; behind a Connect, Voicemail or Greeting applet.
    pub recording_url: Option<PrivateUrl>,
    /// When the recording should be there.
    pub recording_available_by: Option<ExotelTime>,
    /// Keys the caller pressed in a Gather or IVR applet before, without the quotes that Exotel puts around them.
    pub digits: Option<String>,
    /// What the request said that started the flow.
    pub custom_field: Option<String>,
    /// The flow.
    pub flow_id: Option<String>,
    /// Exotel's number of the account.
    pub tenant_id: Option<String>,
    /// The number a caller had dialled before being forwarded.
    pub forwarded_from: Option<PhoneNumber>,
    /// Not documented.
    pub process_status: Option<String>,
    /// The ExoPhone that a Connect applet dials from.
    pub outgoing_phone_number: Option<PhoneNumber>,
    /// The legs, in order.
    pub legs: Vec<PassthruLeg>,
    /// What a Stream or Voicebot applet before has left: `StreamSID`, `Status`, `Duration` (seconds), `RecordingUrl`,
    /// `StreamUrl`, `DisconnectedBy`, `DetailedStatus`, `Error`; keys that Exotel does not document are in lower case. Empty
    /// without such an applet. `StreamUrl` has lost its user, password and query, which are for the WebSocket only.
    /// [`PassthruCall::ended_stream`] gives them typed.
    pub stream: BTreeMap<String, String>,
}

/// What a Stream or Voicebot applet has left behind it. Any of it may be missing.
///
/// <https://support.exotel.com/support/solutions/articles/3000132269>
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndedStream {
    /// Exotel's id of the stream.
    pub stream_sid: Option<String>,
    /// What became of it.
    pub status: Option<StreamStatus>,
    /// How long it lasted, in seconds.
    pub duration_secs: Option<u32>,
    /// Where its recording is or will be, if the call is recorded.
    pub recording_url: Option<PrivateUrl>,
    /// The socket, without what opened it.
    pub stream_url: Option<PrivateUrl>,
    /// Who ended it.
    pub disconnected_by: Option<DisconnectedBy>,
    /// More about its status; Exotel does not say what.
    pub detailed_status: Option<String>,
    /// What went wrong; Exotel does not say what there may be.
    pub error: Option<String>,
}

/// One leg of a call in a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassthruLeg {
    /// Who was dialled.
    pub number: Option<PhoneNumber>,
    /// What kind of leg, in Exotel's words.
    pub leg_type: Option<String>,
    /// Seconds this party was on the call.
    pub on_call_duration_secs: Option<u32>,
    /// The number this party saw.
    pub caller_id: Option<PhoneNumber>,
    /// Why the leg ended, as a number: 16.
    pub cause_code: Option<String>,
    /// The same in words: `NORMAL_CLEARING`.
    pub cause: Option<String>,
}

impl PassthruCall {
    /// Reads the call from an HTTP request: a GET's query, or the body of a POST, which some integrators have seen.
    ///
    /// `content_type` is taken as a hint. Values of the body win over those of the query (given without its `?`).
    pub fn parse(
        content_type: Option<&str>,
        body: &[u8],
        query: Option<&str>,
    ) -> Result<Self, CallbackError> {
        read_callback(content_type, body, query, Self::from_fields)
    }

    /// Whether the call was placed from Exotel, by its API, its dashboard or a campaign. `false` when it does not say.
    pub fn is_outbound(&self) -> bool {
        let word = self
            .direction
            .as_ref()
            .map(|direction| direction.as_str().to_ascii_lowercase());
        word.is_some_and(|word| word.starts_with("outbound"))
    }

    /// The person's number: who has called, or whom an outbound call has dialled.
    pub fn person(&self) -> Option<&PhoneNumber> {
        if self.is_outbound() {
            self.callee()
        } else {
            self.caller()
        }
    }

    /// The ExoPhone: what was called, or what an outbound call dials from.
    pub fn exophone(&self) -> Option<&PhoneNumber> {
        if self.is_outbound() {
            self.caller()
        } else {
            self.callee()
        }
    }

    fn caller(&self) -> Option<&PhoneNumber> {
        self.call_from.as_ref().or(self.from.as_ref())
    }

    fn callee(&self) -> Option<&PhoneNumber> {
        self.call_to.as_ref().or(self.to.as_ref())
    }

    /// The stream that has ended before this point of the flow; none if there was none.
    pub fn ended_stream(&self) -> Option<EndedStream> {
        if self.stream.is_empty() {
            return None;
        }
        let mut fields = Fields::default();
        for (name, value) in &self.stream {
            fields.insert(name, value);
        }
        Some(EndedStream {
            stream_sid: fields.owned("StreamSID"),
            status: fields.text("Status").map(StreamStatus::from_wire),
            duration_secs: fields.count("Duration"),
            recording_url: fields.web_url("RecordingUrl"),
            stream_url: fields.text("StreamUrl").map(PrivateUrl::from),
            disconnected_by: fields.text("DisconnectedBy").map(DisconnectedBy::from_wire),
            detailed_status: fields.owned("DetailedStatus"),
            error: fields.owned("Error"),
        })
    }

    fn from_fields(fields: &Fields) -> Result<Self, CallbackError> {
        let call_sid = read_sid(fields, &["CallSid", "Sid"], "CallSid")?;
        Ok(Self {
            call_sid,
            call_from: fields.phone("CallFrom"),
            call_to: fields.phone("CallTo"),
            from: fields.phone("From"),
            to: fields.phone("To"),
            call_status: fields.text("CallStatus").map(CallStatus::from_wire),
            direction: fields.text("Direction").map(Direction::from_wire),
            created: fields.time("Created"),
            start_time: fields.time("StartTime"),
            current_time: fields.time("CurrentTime"),
            end_time: fields.time("EndTime").filter(|time| !is_placeholder(time)),
            dial_call_duration_secs: fields.count("DialCallDuration"),
            dial_call_status: fields.text("DialCallStatus").map(CallStatus::from_wire),
            call_type: fields.text("CallType").map(CallType::from_wire),
            dial_whom_number: fields.phone("DialWhomNumber"),
            recording_url: fields.web_url("RecordingUrl"),
            recording_available_by: fields.time("RecordingAvailableBy"),
            digits: super::pressed(fields),
            custom_field: fields.owned("CustomField"),
            flow_id: fields.owned("flow_id"),
            tenant_id: fields.owned("tenant_id"),
            forwarded_from: fields.phone("ForwardedFrom"),
            process_status: fields.owned("ProcessStatus"),
            outgoing_phone_number: fields.phone("OutgoingPhoneNumber"),
            legs: (0..fields.len_of("Legs"))
                .map(|n| PassthruLeg::read(&fields.under(&format!("Legs[{n}]"))))
                .collect(),
            stream: stream(&fields.under("Stream")),
        })
    }
}

/// Whether a time stands for "not yet" in a form that only its reader sees.
fn is_placeholder(time: &ExotelTime) -> bool {
    matches!(time.instant(&crate::default_zone()), Ok(None))
}

impl PassthruLeg {
    fn read(fields: &Fields) -> Self {
        Self {
            number: fields.phone("Number"),
            leg_type: fields.owned("Type"),
            on_call_duration_secs: fields.count("OnCallDuration"),
            caller_id: fields.phone("CallerId"),
            cause_code: fields.owned("CauseCode"),
            cause: fields.owned("Cause"),
        }
    }
}

fn stream(fields: &Fields) -> BTreeMap<String, String> {
    let known = |name: &str| STREAM_KEYS.iter().find(|key| key.eq_ignore_ascii_case(name));
    fields
        .iter()
        .map(|(name, value)| match known(name) {
            Some(&"StreamUrl") => ("StreamUrl".to_owned(), without_credentials(value)),
            Some(&key) => (key.to_owned(), value.to_owned()),
            None => (name.to_owned(), value.to_owned()),
        })
        .collect()
}

/// Scheme, host and path of a URL.
fn without_credentials(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_url_keeps_nothing_that_opens_the_socket() {
        for (url, kept) in [
            (
                "wss://u:p@bot.example.in/media?token=S&sample-rate=8000#x",
                "wss://bot.example.in/media",
            ),
            ("wss://bot.example.in", "wss://bot.example.in"),
            ("u:p@bot.example.in/media", "bot.example.in/media"),
            ("wss://u:p@q@bot.example.in/a@b", "wss://bot.example.in/a@b"),
            ("wss://?token=S", "wss://"),
        ] {
            assert_eq!(without_credentials(url), kept, "{url}");
        }
    }
}
