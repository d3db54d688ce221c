//! The question that a Voicebot or Stream applet with an `http(s)` URL asks for each call: which socket to dial.

use serde::{Deserialize, Serialize};

use super::body::read_callback;
use super::{CallbackError, read_sid};
use crate::fields::Fields;
use crate::{CallSid, CallStatus, Direction, ExotelTime, PhoneNumber};

/// A call whose audio is to be streamed, as the applet tells it. Only the sid is certain.
///
/// Exotel documents the answer ([`StreamUrl::answer`](crate::stream::StreamUrl::answer)) and not the question. What has
/// been seen is a GET with the keys of a Passthru in its query; forms and JSON are read as well. It should be answered
/// within about 5 s.
///
/// <https://docs.exotel.com/exotel-agentstream/stream-applet>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRequest {
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
    /// When the call came in or was placed.
    pub created: Option<ExotelTime>,
    /// When the call began.
    pub start_time: Option<ExotelTime>,
    /// Exotel's clock at this point.
    pub current_time: Option<ExotelTime>,
    /// Keys the caller pressed before, without quotes.
    pub digits: Option<String>,
    /// What the request said that placed the call.
    pub custom_field: Option<String>,
    /// The account.
    pub account_sid: Option<String>,
    /// The flow.
    pub flow_id: Option<String>,
    /// Exotel's number of the account.
    pub tenant_id: Option<String>,
    /// The number a caller had dialled before being forwarded.
    pub forwarded_from: Option<PhoneNumber>,
}

impl StreamRequest {
    /// Reads the question from an HTTP request: a GET's query, or the body of a POST.
    ///
    /// `content_type` is taken as a hint. Values of the body win over those of the query (given without its `?`).
    ///
    /// ```
    /// use exotel::callback::StreamRequest;
    ///
    /// let asked = StreamRequest::parse(None, b"", Some("CallSid=5f0c196k&CallFrom=09811100002&CallTo=08045550100"))?;
    /// assert_eq!(asked.call_to.as_deref(), Some("08045550100"));
    /// # Ok::<(), exotel::callback::CallbackError>(())
    /// ```
    pub fn parse(
        content_type: Option<&str>,
        body: &[u8],
        query: Option<&str>,
    ) -> Result<Self, CallbackError> {
        read_callback(content_type, body, query, Self::from_fields)
    }

    fn from_fields(fields: &Fields) -> Result<Self, CallbackError> {
        Ok(Self {
            call_sid: read_sid(fields, &["CallSid", "Sid"], "CallSid")?,
            call_from: fields.phone("CallFrom"),
            call_to: fields.phone("CallTo"),
            from: fields.phone("From"),
            to: fields.phone("To"),
            call_status: fields.any(&["CallStatus", "Status"]).map(CallStatus::from_wire),
            direction: fields.text("Direction").map(Direction::from_wire),
            created: fields.time("Created"),
            start_time: fields.time("StartTime"),
            current_time: fields.time("CurrentTime"),
            digits: super::pressed(fields),
            custom_field: fields.owned("CustomField"),
            account_sid: fields.owned("AccountSid"),
            flow_id: fields.any(&["flow_id", "app_id"]).map(str::to_owned),
            tenant_id: fields.owned("tenant_id"),
            forwarded_from: fields.phone("ForwardedFrom"),
        })
    }
}
