//! Callbacks as Exotel sends them, for the tests of whoever receives them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    BodyForm, CallStatusCallback, HeartbeatCallback, Leg, PassthruCall, SmsStatusCallback, StreamRequest,
};
use crate::{
    AnsweredBy, CallEvent, CallSid, CallStatus, CallType, Connectivity, ConnectivityStatus, Direction,
    ExophoneHealth, ExotelTime, HeartbeatStatus, PhoneNumber, SmsSid, SmsStatus,
};

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
            ccm: None,
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

impl PassthruCall {
    /// A call of which only the sid is told.
    pub fn bare(call_sid: CallSid) -> Self {
        Self {
            call_sid,
            call_from: None,
            call_to: None,
            from: None,
            to: None,
            call_status: None,
            direction: None,
            created: None,
            start_time: None,
            current_time: None,
            end_time: None,
            dial_call_duration_secs: None,
            dial_call_status: None,
            call_type: None,
            dial_whom_number: None,
            recording_url: None,
            recording_available_by: None,
            digits: None,
            custom_field: None,
            flow_id: None,
            tenant_id: None,
            forwarded_from: None,
            process_status: None,
            outgoing_phone_number: None,
            legs: Vec::new(),
            stream: BTreeMap::new(),
        }
    }

    /// An incoming call whose caller has pressed a key and has not been connected to anybody yet.
    pub fn incoming(call_sid: CallSid) -> Self {
        Self {
            call_from: Some("09811100002".into()),
            call_to: Some("08045550100".into()),
            from: Some("09811100002".into()),
            to: Some("08045550100".into()),
            call_status: Some(CallStatus::InProgress),
            direction: Some(Direction::Inbound),
            created: ExotelTime::from_wire("Fri, 20 Nov 2026 14:03:11"),
            start_time: ExotelTime::from_wire("2026-11-20 14:03:11"),
            current_time: ExotelTime::from_wire("2026-11-20 14:03:24"),
            dial_call_duration_secs: Some(0),
            call_type: Some(CallType::CallAttempt),
            digits: Some("1".to_owned()),
            flow_id: Some("228040".to_owned()),
            tenant_id: Some("112233".to_owned()),
            ..Self::bare(call_sid)
        }
    }

    /// The query of Exotel's GET, without a `?`. Reading it gives back an equal value.
    pub fn to_query(&self) -> String {
        let form = self.encode(BodyForm::Urlencoded).body;
        String::from_utf8(form).expect("a urlencoded form is ASCII")
    }

    /// The call as a body, for a POST. Reading it gives back an equal value.
    pub fn encode(&self, form: BodyForm) -> CallbackBody {
        let legs: Vec<Value> = self
            .legs
            .iter()
            .map(|leg| {
                json!({
                    "Number": leg.number,
                    "Type": leg.leg_type,
                    "OnCallDuration": leg.on_call_duration_secs,
                    "CallerId": leg.caller_id,
                    "CauseCode": leg.cause_code,
                    "Cause": leg.cause,
                })
            })
            .collect();
        // Exotel has a word for a direction here that its API has not.
        let direction = self.direction.as_ref().map(|direction| match direction {
            Direction::Inbound => "incoming",
            direction => direction.as_str(),
        });
        encode(
            json!({
                "CallSid": self.call_sid,
                "CallFrom": self.call_from,
                "CallTo": self.call_to,
                "From": self.from,
                "To": self.to,
                "CallStatus": self.call_status,
                "Direction": direction,
                "Created": self.created,
                "StartTime": self.start_time,
                "CurrentTime": self.current_time,
                "EndTime": self.end_time.as_ref().map_or("1970-01-01 05:30:00", ExotelTime::as_str),
                "DialCallDuration": self.dial_call_duration_secs,
                "DialCallStatus": self.dial_call_status.as_ref().map_or("null", CallStatus::as_str),
                "CallType": self.call_type,
                "DialWhomNumber": self.dial_whom_number.as_deref().unwrap_or_default(),
                "RecordingUrl": self.recording_url.as_deref().unwrap_or("null"),
                "RecordingAvailableBy": self.recording_available_by,
                "digits": self.digits.as_ref().map(|digits| format!("\"{digits}\"")),
                "CustomField": self.custom_field,
                "flow_id": self.flow_id,
                "tenant_id": self.tenant_id,
                "ForwardedFrom": self.forwarded_from.as_deref().unwrap_or("null"),
                "ProcessStatus": self.process_status.as_deref().unwrap_or("null"),
                "OutgoingPhoneNumber": self.outgoing_phone_number,
                "Legs": legs,
                "Stream": self.stream,
            }),
            form,
        )
    }
}

impl StreamRequest {
    /// The question of a Voicebot applet about an incoming call that has reached it.
    pub fn incoming(call_sid: CallSid) -> Self {
        let call = PassthruCall::incoming(call_sid);
        Self {
            call_sid: call.call_sid,
            call_from: call.call_from,
            call_to: call.call_to,
            from: call.from,
            to: call.to,
            call_status: call.call_status,
            direction: call.direction,
            created: call.created,
            start_time: call.start_time,
            current_time: call.current_time,
            digits: None,
            custom_field: None,
            account_sid: None,
            flow_id: call.flow_id,
            tenant_id: call.tenant_id,
            forwarded_from: None,
        }
    }

    /// The query of Exotel's GET, without a `?`. Reading it gives back an equal value.
    pub fn to_query(&self) -> String {
        let form = self.encode(BodyForm::Urlencoded).body;
        String::from_utf8(form).expect("a urlencoded form is ASCII")
    }

    /// The question as a body, for a POST. Reading it gives back an equal value.
    pub fn encode(&self, form: BodyForm) -> CallbackBody {
        let direction = self.direction.as_ref().map(|direction| match direction {
            Direction::Inbound => "incoming",
            direction => direction.as_str(),
        });
        encode(
            json!({
                "CallSid": self.call_sid,
                "CallFrom": self.call_from,
                "CallTo": self.call_to,
                "From": self.from,
                "To": self.to,
                "CallStatus": self.call_status,
                "Direction": direction,
                "Created": self.created,
                "StartTime": self.start_time,
                "CurrentTime": self.current_time,
                "digits": self.digits.as_ref().map(|digits| format!("\"{digits}\"")),
                "CustomField": self.custom_field,
                "AccountSid": self.account_sid,
                "flow_id": self.flow_id,
                "tenant_id": self.tenant_id,
                "ForwardedFrom": self.forwarded_from.as_deref().unwrap_or("null"),
            }),
            form,
        )
    }
}

/// Where a HeartBeat's `data` holds the two directions of an ExoPhone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeartbeatNesting {
    /// Under `connectivity`.
    UnderConnectivity,
    /// Directly.
    Bare,
}

impl HeartbeatCallback {
    /// The HeartBeat of an account whose ExoPhones are all well.
    pub fn healthy(timestamp: &str) -> Self {
        Self {
            timestamp: ExotelTime::from_wire(timestamp),
            status: HeartbeatStatus::Ok,
            incoming_affected: Vec::new(),
            outgoing_affected: Vec::new(),
            exophones: BTreeMap::new(),
        }
    }

    /// The HeartBeat of an account of which one ExoPhone cannot be called.
    pub fn incoming_outage(timestamp: &str, exophone: impl Into<PhoneNumber>) -> Self {
        let exophone = exophone.into();
        let direction = |status| Connectivity {
            status: Some(status),
            last_check_time: ExotelTime::from_wire(timestamp),
            alternate: Vec::new(),
        };
        let health = ExophoneHealth {
            incoming_call: direction(ConnectivityStatus::MajorOutage),
            outgoing_call: direction(ConnectivityStatus::Active),
        };
        Self {
            status: HeartbeatStatus::Warning,
            incoming_affected: vec![exophone.clone()],
            exophones: BTreeMap::from([(exophone, health)]),
            ..Self::healthy(timestamp)
        }
    }

    /// The HeartBeat as Exotel would send it. Reading it gives back an equal value.
    pub fn encode(&self, nesting: HeartbeatNesting) -> CallbackBody {
        let direction = |connectivity: &Connectivity| {
            let alternate = &connectivity.alternate;
            json!({
                "status": connectivity.status,
                "last_check_time": connectivity.last_check_time,
                "alternate_exophone": (!alternate.is_empty()).then_some(alternate),
            })
        };
        let exophone = |health: &ExophoneHealth| {
            let directions = json!({
                "incoming_call": direction(&health.incoming_call),
                "outgoing_call": direction(&health.outgoing_call),
            });
            match nesting {
                HeartbeatNesting::UnderConnectivity => json!({"connectivity": directions}),
                HeartbeatNesting::Bare => directions,
            }
        };
        let data: Map<String, Value> = self
            .exophones
            .iter()
            .map(|(sid, health)| (sid.as_str().to_owned(), exophone(health)))
            .collect();
        let heartbeat = json!({
            "timestamp": self.timestamp,
            "status_type": self.status,
            "incoming_affected": self.incoming_affected,
            "outgoing_affected": self.outgoing_affected,
            "data": data,
        });
        CallbackBody {
            content_type: "application/json".to_owned(),
            body: heartbeat.to_string().into_bytes(),
        }
    }
}

/// Writes an object, leaving out nulls; forms flatten objects and arrays of objects to `Stream[Status]`
/// and `Legs[0][Status]`.
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
        match value {
            Value::Array(items) => {
                for (n, item) in items.iter().enumerate() {
                    for (key, value) in item.as_object().into_iter().flatten() {
                        pairs.push((format!("{name}[{n}][{key}]"), text(value)));
                    }
                }
            }
            Value::Object(inner) => {
                for (key, value) in inner {
                    pairs.push((format!("{name}[{key}]"), text(value)));
                }
            }
            _ => pairs.push((name.clone(), text(value))),
        }
    }
    pairs
}
