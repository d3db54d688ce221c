//! The status callback of a call.

use serde::{Deserialize, Serialize};

use super::body::read_callback;
use super::{CallbackError, read_sid};
use crate::ccm::CcmCall;
use crate::fields::Fields;
use crate::{
    AnsweredBy, CallEvent, CallSid, CallStatus, Direction, ExotelTime, InvalidSid, PhoneNumber, PrivateUrl,
};

/// What one status callback of a call says.
///
/// Exotel promises `CallSid`, `DateUpdated`, `Status` and `RecordingUrl`; with `StatusCallbackEvents`, and both `From`
/// and `To` in the request, also the event, the parties, times, talk time, custom field and legs. The other fields are
/// named by other sources and are read when they come. Absent is none: empty, `null`, or the 1970 placeholder.
///
/// CCM (voice v2) sends another shape, `event_details` and `call_details`. It is read into the same fields: the agent is
/// `From` and leg 1, the customer `To` and leg 2, and [`CcmStatus::in_v1`](crate::CcmStatus::in_v1) gives the status.
///
/// <https://developer.exotel.com/api/statuscallback>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallStatusCallback {
    /// Which call.
    pub call_sid: CallSid,
    /// Its state; unknown words are kept.
    pub status: CallStatus,
    /// Why the callback was sent; none from a request that subscribed to no events.
    pub event_type: Option<CallEvent>,
    /// The call this one came from.
    pub parent_call_sid: Option<String>,
    /// When the call was placed.
    pub date_created: Option<ExotelTime>,
    /// When its record last changed.
    pub date_updated: Option<ExotelTime>,
    /// The account.
    pub account_sid: Option<String>,
    /// The second leg's number, usually in national form (`098…`).
    pub to: Option<PhoneNumber>,
    /// The first leg's number, usually in national form.
    pub from: Option<PhoneNumber>,
    /// The ExoPhone: usually, but not always, its number.
    pub phone_number_sid: Option<PhoneNumber>,
    /// When leg 1 was dialled.
    pub start_time: Option<ExotelTime>,
    /// When the call ended; none while it lasts and until it settles.
    pub end_time: Option<ExotelTime>,
    /// Length of the whole call in seconds.
    pub duration_secs: Option<u32>,
    /// Seconds both parties talked. Zero is evidence; none is not.
    pub conversation_duration_secs: Option<u32>,
    /// Cost as a decimal number in the account's currency.
    pub price: Option<String>,
    /// Who started the call.
    pub direction: Option<Direction>,
    /// Who picked up, where detection is on.
    pub answered_by: Option<AnsweredBy>,
    /// The number a caller had dialled before being forwarded.
    pub forwarded_from: Option<PhoneNumber>,
    /// The caller's name, where known.
    pub caller_name: Option<String>,
    /// The call's path in Exotel's API; of an odd form, not to be followed.
    pub uri: Option<String>,
    /// Where the recording is or will be; only if it is an http(s) URL.
    pub recording_url: Option<PrivateUrl>,
    /// The recording by a link that needs no credentials for a few minutes; reported by one integrator.
    pub pre_signed_recording_url: Option<PrivateUrl>,
    /// What the request's `CustomField` said. Only in the `terminal` event.
    pub custom_field: Option<String>,
    /// Leg 1 is `From`, leg 2 is `To`. A leg nobody tried has no status, and may be missing at the end.
    pub legs: Vec<Leg>,
    /// The call in CCM's own words, if CCM sent the callback; the fields above then say the same in v1's.
    #[serde(default)]
    pub ccm: Option<Box<CcmCall>>,
}

/// One party's part of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// None if the leg was not tried.
    pub status: Option<CallStatus>,
    /// Seconds this party was on the call.
    pub on_call_duration_secs: Option<u32>,
    /// Who picked up, where detection is on.
    pub answered_by: Option<AnsweredBy>,
}

impl CallStatusCallback {
    /// Reads a callback from an HTTP request.
    ///
    /// `content_type` is taken as a hint: a wrong or missing one does not matter. Values of the body win over those of
    /// the query string (given without its `?`).
    pub fn parse(
        content_type: Option<&str>,
        body: &[u8],
        query: Option<&str>,
    ) -> Result<Self, CallbackError> {
        read_callback(content_type, body, query, Self::from_fields)
    }

    /// Names the event, so that a repetition of it has the same key and any other event of the call has not:
    /// sid, event, status, and status of each leg.
    ///
    /// ```
    /// # use exotel::callback::CallStatusCallback;
    /// let body = b"CallSid=5f0c196k&EventType=answered&Status=in-progress&Legs[0][Status]=in-progress";
    /// let callback = CallStatusCallback::parse(None, body, None)?;
    /// assert_eq!(callback.event_key(), "5f0c196k|answered|in-progress|in-progress");
    /// # Ok::<(), exotel::callback::CallbackError>(())
    /// ```
    pub fn event_key(&self) -> String {
        let event = self.event_type.as_ref().map_or("-", CallEvent::as_str);
        let mut legs: Vec<&str> = self
            .legs
            .iter()
            .map(|leg| leg.status.as_ref().map_or("-", CallStatus::as_str))
            .collect();
        // The forms differ in whether they list legs that were not tried.
        while legs.last() == Some(&"-") {
            legs.pop();
        }
        format!("{}|{event}|{}|{}", self.call_sid, self.status, legs.join(","))
    }

    fn from_fields(fields: &Fields) -> Result<Self, CallbackError> {
        let ccm = fields.under("call_details");
        if fields.any(&["CallSid", "Sid"]).is_none() && ccm.any(&["call_sid", "sid"]).is_some() {
            return Self::from_ccm(&ccm, fields);
        }
        let call_sid: CallSid = read_sid(fields, &["CallSid", "Sid"], "CallSid")?;
        let status = fields
            .any(&["Status", "CallStatus"])
            .map(CallStatus::from_wire)
            .ok_or_else(|| CallbackError::MissingStatus {
                sid: call_sid.to_string(),
            })?;
        Ok(Self {
            call_sid,
            status,
            event_type: fields.text("EventType").map(CallEvent::from_wire),
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
            conversation_duration_secs: fields.count("ConversationDuration"),
            price: fields.decimal("Price"),
            direction: fields.text("Direction").map(Direction::from_wire),
            answered_by: fields.text("AnsweredBy").map(AnsweredBy::from_wire),
            forwarded_from: fields.phone("ForwardedFrom"),
            caller_name: fields.owned("CallerName"),
            uri: fields.owned("Uri"),
            recording_url: fields.web_url("RecordingUrl"),
            pre_signed_recording_url: fields.web_url("PreSignedRecordingUrl"),
            custom_field: fields.owned("CustomField"),
            legs: Leg::all(fields),
            ccm: None,
        })
    }

    fn from_ccm(call: &Fields, callback: &Fields) -> Result<Self, CallbackError> {
        let invalid = |source: Option<InvalidSid>| match source {
            Some(source) => CallbackError::InvalidSid {
                field: "call_sid",
                source,
            },
            None => CallbackError::MissingSid { field: "call_sid" },
        };
        let call = CcmCall::from_fields(call).map_err(invalid)?;
        let status = call.v1_status().ok_or_else(|| CallbackError::MissingStatus {
            sid: call.sid.to_string(),
        })?;
        Ok(Self {
            call_sid: call.sid.clone(),
            status,
            event_type: callback
                .any(&["event_details[event_type]", "event_type"])
                .map(CallEvent::from_wire),
            parent_call_sid: None,
            date_created: call.created_time.clone(),
            date_updated: call.updated_time.clone(),
            account_sid: callback.owned("account_sid"),
            to: call.customer.contact_uri.clone(),
            from: call.agent.contact_uri.clone(),
            phone_number_sid: call.virtual_number.clone(),
            start_time: call.start_time.clone(),
            end_time: call.end_time.clone(),
            duration_secs: call.total_duration_secs,
            conversation_duration_secs: call.talk_secs,
            price: None,
            direction: call.v1_direction(),
            answered_by: None,
            forwarded_from: None,
            caller_name: None,
            uri: None,
            recording_url: call.recordings.first().cloned(),
            pre_signed_recording_url: None,
            custom_field: call.custom_field.clone(),
            legs: call.v1_legs(),
            ccm: Some(Box::new(call)),
        })
    }
}

impl Leg {
    /// The legs of a callback or of call details, in order: `Legs[0][Status]`, `Legs[0][Leg][OnCallDuration]` and the
    /// flat `Leg1Status`.
    pub(crate) fn all(fields: &Fields) -> Vec<Self> {
        let mut legs: Vec<Self> = (0..fields.len_of("Legs"))
            .map(|n| Self::read(&fields.under(&format!("Legs[{n}]"))))
            .collect();
        for (n, name) in ["Leg1Status", "Leg2Status"].iter().enumerate() {
            if let Some(status) = fields.text(name).map(CallStatus::from_wire) {
                if legs.len() <= n {
                    legs.resize_with(n + 1, Self::default);
                }
                legs[n].status.get_or_insert(status);
            }
        }
        legs
    }

    fn read(fields: &Fields) -> Self {
        Self {
            status: fields.any(&["Status", "Leg[Status]"]).map(CallStatus::from_wire),
            on_call_duration_secs: fields
                .count("OnCallDuration")
                .or_else(|| fields.count("Leg[OnCallDuration]")),
            answered_by: fields
                .any(&["AnsweredBy", "Leg[AnsweredBy]"])
                .map(AnsweredBy::from_wire),
        }
    }
}
