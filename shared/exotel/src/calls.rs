//! Voice v1: placing calls and reading what became of them.

mod connect;
mod details;
mod list;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::connect::{
    CallbackContentType, CallbackEvent, ConnectCall, ConnectOptions, Destination, LONGEST_CUSTOM_FIELD,
    PlaybackTo, RecordingChannels, RecordingFormat, StreamBegin, TwoLegs, flow_url,
};
pub use self::details::GetCall;
pub use self::list::{CallPage, CreatedBetween, Cursor, ListCalls, Range, SortOrder};
use crate::callback::Leg;
use crate::fields::Fields;
use crate::{AnsweredBy, CallSid, CallStatus, Direction, ExotelTime, InvalidSid, PhoneNumber, PrivateUrl};

/// A call as Exotel's answers describe it. Only the sid is certain: what Exotel leaves empty, or fills in later, is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Exotel's id of the call.
    pub sid: CallSid,
    /// Its state. A call just placed is usually `in-progress` before anybody has answered.
    pub status: Option<CallStatus>,
    /// The call this one came from.
    pub parent_call_sid: Option<String>,
    /// When it was placed.
    pub date_created: Option<ExotelTime>,
    /// When its record last changed.
    pub date_updated: Option<ExotelTime>,
    /// The account.
    pub account_sid: Option<String>,
    /// The second leg's number, usually in national form; for a call to a flow nothing or the ExoPhone.
    pub to: Option<PhoneNumber>,
    /// The first leg's number, usually in national form.
    pub from: Option<PhoneNumber>,
    /// The ExoPhone: usually, but not always, its number.
    pub phone_number_sid: Option<PhoneNumber>,
    /// When leg 1 was dialled.
    pub start_time: Option<ExotelTime>,
    /// When it ended. Settles about two minutes after the end.
    pub end_time: Option<ExotelTime>,
    /// Length of the whole call in seconds. Settles as `end_time` does.
    pub duration_secs: Option<u32>,
    /// Cost as a decimal number in the account's currency. Settles as `end_time` does.
    pub price: Option<String>,
    /// Who started it.
    pub direction: Option<Direction>,
    /// Who picked up, where detection is on.
    pub answered_by: Option<AnsweredBy>,
    /// The number a caller had dialled before being forwarded.
    pub forwarded_from: Option<PhoneNumber>,
    /// The caller's name, where known.
    pub caller_name: Option<String>,
    /// Path in Exotel's API; of an odd form, not to be followed.
    pub uri: Option<String>,
    /// Where the recording is or will be; only if it is an http(s) URL.
    pub recording_url: Option<PrivateUrl>,
    /// The recording by a link that needs no credentials, if `RecordingUrlValidity` was asked for.
    pub pre_signed_recording_url: Option<PrivateUrl>,
    /// Seconds both parties talked; in details. Zero is evidence, none is not.
    pub conversation_duration_secs: Option<u32>,
    /// Leg 1 is `From`, leg 2 is `To`; in details.
    pub legs: Vec<Leg>,
}

impl Call {
    /// Reads a bare call object, as a list has it.
    pub(crate) fn from_tree(call: &Value) -> Result<Self, UnreadableCall> {
        let fields = Fields::from_json(call);
        let details = fields.under("Details");
        let legs = Leg::all(&details);
        Ok(Self {
            sid: fields.text("Sid").ok_or(UnreadableCall::NoSid)?.parse()?,
            status: fields.text("Status").map(CallStatus::from_wire),
            parent_call_sid: fields.owned("ParentCallSid"),
            date_created: fields.time("DateCreated"),
            date_updated: fields.time("DateUpdated"),
            account_sid: fields.owned("AccountSid"),
            to: fields.phone("To"),
            from: fields.phone("From"),
            phone_number_sid: fields.phone("PhoneNumberSid"),
            start_time: fields.time("StartTime"),
            end_time: fields.time("EndTime"),
            duration_secs: fields.count("Duration"),
            price: fields.decimal("Price"),
            direction: fields.text("Direction").map(Direction::from_wire),
            answered_by: fields.text("AnsweredBy").map(AnsweredBy::from_wire),
            forwarded_from: fields.phone("ForwardedFrom"),
            caller_name: fields.owned("CallerName"),
            uri: fields.owned("Uri"),
            recording_url: fields.web_url("RecordingUrl"),
            pre_signed_recording_url: fields.web_url("PreSignedRecordingUrl"),
            conversation_duration_secs: details
                .count("ConversationDuration")
                .or_else(|| fields.count("ConversationDuration")),
            legs: if legs.is_empty() { Leg::all(&fields) } else { legs },
        })
    }
}

/// Why an object is no call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnreadableCall {
    #[error("the answer has no Call")]
    NoCall,
    #[error("the call has no Sid")]
    NoSid,
    #[error("the call's Sid is no sid")]
    InvalidSid(#[from] InvalidSid),
}

/// Reads `{"Call": {...}}`.
pub(crate) fn read_call(answer: &crate::answer::Answer) -> Result<Call, crate::Error> {
    let tree = answer.tree().unwrap_or_default();
    let call = tree
        .get("Call")
        .ok_or(UnreadableCall::NoCall)
        .and_then(Call::from_tree);
    call.map_err(|e| crate::Error::unreadable(answer.status(), e))
}
