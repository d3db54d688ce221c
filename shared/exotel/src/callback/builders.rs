//! Callbacks as Exotel sends them, for the tests of whoever receives them.

use serde_json::{Map, Value, json};

use super::{BodyForm, CallStatusCallback, Leg, SmsStatusCallback};
use crate::{AnsweredBy, CallEvent, CallSid, CallStatus, Direction, ExotelTime, SmsSid, SmsStatus};

/// A request body and the content type it travels with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackBody {
    /// Value of the `Content-Type` header.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

const BOUNDARY: &str = "------------------------8d1f0c6a5b7e4321";

impl CallStatusCallback {
    /// A callback with a sid and a status and nothing else, as from a request that subscribed to no events.
    pub fn bare(call_sid: CallSid, status: CallStatus) -> Self {
        Self {
            call_sid,
            status,
            event_type: None,
            parent_call_sid: None,
            date_created: None,
            date_updated: None,
            account_sid: None,
            to: None,
            from: None,
            phone_number_sid: None,
            start_time: None,
            end_time: None,
            duration_secs: None,
            conversation_duration_secs: None,
            price: None,
            direction: None,
            answered_by: None,
            forwarded_from: None,
            caller_name: None,
            uri: None,
            recording_url: None,
            pre_signed_recording_url: None,
            custom_field: None,
            legs: Vec::new(),
        }
    }

    /// The `answered` event of leg 1: the agent is on the line, the customer's phone rings.
    pub fn answered(call_sid: CallSid) -> Self {
        let leg = |status| Leg {
            status,
            on_call_duration_secs: Some(0),
            answered_by: None,
        };
        Self {
            event_type: Some(CallEvent::Answered),
            date_created: ExotelTime::from_wire("2026-11-20 14:03:11"),
            date_updated: ExotelTime::from_wire("2026-11-20 14:03:19"),
            from: Some("09811100001".into()),
            to: Some("09811100002".into()),
            phone_number_sid: Some("08045550100".into()),
            start_time: ExotelTime::from_wire("2026-11-20 14:03:12"),
            conversation_duration_secs: Some(0),
            direction: Some(Direction::OutboundApi),
            legs: vec![leg(Some(CallStatus::InProgress)), leg(None)],
            ..Self::bare(call_sid, CallStatus::InProgress)
        }
    }

    /// The `terminal` event of a call on which both parties talked for 121 s.
    pub fn completed(call_sid: CallSid) -> Self {
        let leg = |secs, by| Leg {
            status: Some(CallStatus::Completed),
            on_call_duration_secs: Some(secs),
            answered_by: Some(by),
        };
        let recording =
            "https://recordings.exotel.com/exotelrecordings/acme1/5f0c1d2e3a4b4c5d8e9f0a1b2c3d196l.mp3";
        Self {
            status: CallStatus::Completed,
            event_type: Some(CallEvent::Terminal),
            date_updated: ExotelTime::from_wire("2026-11-20 14:06:02"),
            end_time: ExotelTime::from_wire("2026-11-20 14:05:58"),
            conversation_duration_secs: Some(121),
            recording_url: Some(recording.into()),
            custom_field: Some("lead:7f3".to_owned()),
            legs: vec![leg(139, AnsweredBy::NotAvailable), leg(121, AnsweredBy::Human)],
            ..Self::answered(call_sid)
        }
    }

    /// The callback as Exotel would send it in this form. Reading it gives back an equal value.
    pub fn encode(&self, form: BodyForm) -> CallbackBody {
        let legs: Vec<Value> = self
            .legs
            .iter()
            .map(|leg| {
                json!({
                    "OnCallDuration": leg.on_call_duration_secs,
                    "Status": leg.status.as_ref().map_or("", CallStatus::as_str),
                    "AnsweredBy": leg.answered_by.as_ref().map(AnsweredBy::as_str),
                })
            })
            .collect();
        let time = |time: &Option<ExotelTime>| time.as_ref().map(|t| t.as_str().to_owned());
        encode(
            json!({
                "CallSid": self.call_sid,
                "EventType": self.event_type,
                "ParentCallSid": self.parent_call_sid,
                "DateCreated": time(&self.date_created),
                "DateUpdated": time(&self.date_updated),
                "AccountSid": self.account_sid,
                "Status": self.status,
                "To": self.to,
                "From": self.from,
                "PhoneNumberSid": self.phone_number_sid,
                "StartTime": time(&self.start_time),
                "EndTime": time(&self.end_time).unwrap_or_default(),
                "Duration": self.duration_secs,
                "ConversationDuration": self.conversation_duration_secs,
                "Price": self.price,
                "Direction": self.direction,
                "AnsweredBy": self.answered_by,
                "ForwardedFrom": self.forwarded_from,
                "CallerName": self.caller_name,
                "Uri": self.uri,
                "RecordingUrl": self.recording_url.as_deref().unwrap_or_default(),
                "PreSignedRecordingUrl": self.pre_signed_recording_url,
                "CustomField": self.custom_field,
                "Legs": legs,
            }),
            form,
        )
    }
}

impl SmsStatusCallback {
    /// A callback with a sid and a status and nothing else.
    pub fn bare(sms_sid: SmsSid, status: SmsStatus) -> Self {
        Self {
            sms_sid,
            status,
            to: None,
            from: None,
            account_sid: None,
            sms_units: None,
            detailed_status: None,
            detailed_status_code: None,
            date_sent: None,
            date_updated: None,
            custom_field: None,
        }
    }

    /// The callback of an SMS that a handset has received.
    pub fn delivered(sms_sid: SmsSid) -> Self {
        Self {
            to: Some("09811100002".into()),
            sms_units: Some(1),
            detailed_status: Some("DELIVERED_TO_HANDSET".to_owned()),
            detailed_status_code: Some(20005),
            date_sent: ExotelTime::from_wire("2026-11-20 14:10:06"),
            ..Self::bare(sms_sid, SmsStatus::Sent)
        }
    }

    /// The callback as Exotel would send it in this form. Reading it gives back an equal value.
    pub fn encode(&self, form: BodyForm) -> CallbackBody {
        encode(
            json!({
                "SmsSid": self.sms_sid,
                "To": self.to,
                "From": self.from,
                "AccountSid": self.account_sid,
                "Status": self.status,
                "SmsUnits": self.sms_units,
                "DetailedStatus": self.detailed_status,
                "DetailedStatusCode": self.detailed_status_code,
                "DateSent": self.date_sent,
                "DateUpdated": self.date_updated,
                "CustomField": self.custom_field,
            }),
            form,
        )
    }
}

/// Writes an object, leaving out nulls; forms flatten arrays of objects to `Legs[0][Status]`.
fn encode(mut value: Value, form: BodyForm) -> CallbackBody {
    drop_nulls(&mut value);
    let fields = value
        .as_object()
        .expect("callbacks are written from an object literal");
    match form {
        BodyForm::Json => CallbackBody {
            content_type: "application/json".to_owned(),
            body: value.to_string().into_bytes(),
        },
        BodyForm::Urlencoded => {
            let body = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(flat(fields))
                .finish();
            CallbackBody {
                content_type: "application/x-www-form-urlencoded".to_owned(),
                body: body.into_bytes(),
            }
        }
        BodyForm::Multipart => {
            let mut body = String::new();
            for (name, value) in flat(fields) {
                body += &format!(
                    "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
                );
            }
            body += &format!("--{BOUNDARY}--\r\n");
            CallbackBody {
                content_type: format!("multipart/form-data; boundary={BOUNDARY}"),
                body: body.into_bytes(),
            }
        }
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn flat(fields: &Map<String, Value>) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut pairs = Vec::new();
    for (name, value) in fields {
        match value.as_array() {
            None => pairs.push((name.clone(), text(value))),
            Some(items) => {
                for (n, item) in items.iter().enumerate() {
                    for (key, value) in item.as_object().into_iter().flatten() {
                        pairs.push((format!("{name}[{n}][{key}]"), text(value)));
                    }
                }
            }
        }
    }
    pairs
}
