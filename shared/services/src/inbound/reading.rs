//! What a callback says, in the product's words. Reads the cleaned body, so a replay reads what the first time read.

use domain::{
    DomainError,
    call::{CallReport, CallState, LegStatus, ReportSource},
    ids::CallSid,
    sms::{SmsReport, SmsState},
};
use exotel::{
    CallEvent, CallStatus,
    callback::{CallStatusCallback, CallbackError, PassthruCall, SmsStatusCallback},
    mask_numbers,
};

use super::{Locator, Webhook, redact::lost_a_credential};
use crate::call_records::{price, time};
#[cfg(feature = "projection")]
use {
    crate::call_records,
    domain::{call_record::RecordReport, phone::Country, voicebot::record::StreamTold},
    table::RawEvent,
};

/// A longer URL is nobody's recording and would make the row cost more than one write unit.
const LONGEST_URL: usize = 500;
/// Exotel's words for why an SMS failed have under 40 characters.
const LONGEST_ERROR: usize = 200;

/// What a callback says, as far as it can be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// Exotel's id of the call or SMS, as it came; present also when the rest could not be read.
    pub(super) sid: Option<String>,
    /// Our locator, when `CustomField` holds one.
    pub(super) locator: Option<Locator>,
    /// What it reports.
    pub(super) report: Option<Report>,
    /// Why there is no report; holds none of the body's values.
    pub(super) unreadable: Option<String>,
}

/// What a kept event says of a call, whoever placed it; `None` when it is about no call, or cannot be read.
#[cfg(feature = "projection")]
pub(crate) fn record_report(event: &RawEvent, country: Country) -> Option<RecordReport> {
    let content_type = event.content_type.as_deref();
    let mut report = match event.purpose.parse::<Webhook>() {
        Ok(Webhook::Call) => {
            let callback = CallStatusCallback::parse(content_type, &event.body, event.query.as_deref());
            call_records::of_callback(&callback.ok()?, country).ok()?
        }
        Ok(Webhook::Passthru) => {
            let call = PassthruCall::parse(content_type, &event.body, event.query.as_deref());
            call_records::of_passthru(&call.ok()?, country).ok()?
        }
        Ok(Webhook::Sms | Webhook::Heartbeat) | Err(()) => return None,
    };
    report.said.recording_url = report.said.recording_url.as_deref().and_then(recording_url);
    Some(report)
}

/// What a kept Passthru tells of the stream before it, and of which call; `None` when there was none.
#[cfg(feature = "projection")]
pub(crate) fn stream_told(event: &RawEvent) -> Option<(CallSid, StreamTold)> {
    if event.purpose.parse::<Webhook>() != Ok(Webhook::Passthru) {
        return None;
    }
    let call =
        PassthruCall::parse(event.content_type.as_deref(), &event.body, event.query.as_deref()).ok()?;
    let text = |key: &str| call.stream.get(key).filter(|text| !text.is_empty()).cloned();
    let told = StreamTold {
        at: event.received_at,
        stream_sid: text("StreamSID"),
        status: text("Status"),
        duration_secs: text("Duration").and_then(|secs| secs.parse().ok()),
        disconnected_by: text("DisconnectedBy"),
        detailed_status: text("DetailedStatus").map(|text| mask_numbers(&text)),
        error: text("Error").map(|text| mask_numbers(&text)),
        has_recording: text("RecordingUrl").is_some(),
    };
    let said_something = !call.stream.is_empty();
    Some((call.call_sid.as_str().parse().ok()?, told)).filter(|_| said_something)
}

/// What a callback reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Report {
    /// Of a call.
    Call(CallReport),
    /// Of an SMS.
    Sms(SmsReport),
    /// Of a call in the middle of a flow: for the call's record, which takes it from the kept event, and for no row.
    Passthru,
}

/// Reads the body, and the query string (without its `?`) for what the body does not say. Never fails: what cannot be
/// read is said in [`Reading::unreadable`].
pub(super) fn read(
    webhook: Webhook,
    content_type: Option<&str>,
    body: &[u8],
    query: Option<&str>,
) -> Reading {
    match webhook {
        Webhook::Call => match CallStatusCallback::parse(content_type, body, query) {
            Ok(callback) => Reading::new(
                callback.call_sid.to_string(),
                custom(callback.custom_field.as_deref()).map(Locator::Call),
                call_report(&callback).map(Report::Call),
            ),
            Err(error) => unreadable(error),
        },
        Webhook::Passthru => match PassthruCall::parse(content_type, body, query) {
            Ok(call) => Reading::new(
                call.call_sid.to_string(),
                custom(call.custom_field.as_deref()).map(Locator::Call),
                call.call_sid.as_str().parse().map(|_: CallSid| Report::Passthru),
            ),
            Err(error) => unreadable(error),
        },
        Webhook::Sms => match SmsStatusCallback::parse(content_type, body, query) {
            Ok(callback) => Reading::new(
                callback.sms_sid.to_string(),
                custom(callback.custom_field.as_deref()).map(Locator::Sms),
                sms_report(&callback).map(Report::Sms),
            ),
            Err(error) => unreadable(error),
        },
        // It is about no row: `health` reads it.
        Webhook::Heartbeat => Reading::default(),
    }
}

impl Reading {
    /// A report without its sid would be taken for one about any call, so a sid that is none costs the report.
    fn new(sid: String, locator: Option<Locator>, report: Result<Report, DomainError>) -> Self {
        let (report, unreadable) = match report {
            Ok(report) => (Some(report), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self {
            sid: Some(sid),
            locator,
            report,
            unreadable,
        }
    }
}

fn unreadable(error: CallbackError) -> Reading {
    // A sid is what somebody sent as one: it could be anybody's number.
    let why = mask_numbers(&error.to_string());
    let sid = match error {
        CallbackError::MissingStatus { sid } => Some(sid),
        _ => None,
    };
    Reading {
        sid,
        unreadable: Some(why),
        ..Reading::default()
    }
}

fn custom<L: std::str::FromStr>(custom_field: Option<&str>) -> Option<L> {
    custom_field?.trim().parse().ok()
}

/// A call's callback as a report. What an event before the end says of talk time and legs is only "not yet", so it
/// counts at the end alone; there, a listed leg without a status was never dialled.
fn call_report(callback: &CallStatusCallback) -> Result<CallReport, DomainError> {
    let lead_leg = callback.legs.get(1).map(|leg| leg.status.as_ref());
    let lead_leg = lead_leg.and_then(|status| LegStatus::from_exotel(status.map_or("", CallStatus::as_str)));
    let state = CallState::from_exotel(callback.status.as_str(), lead_leg);
    let mut report = CallReport::new(ReportSource::Callback, state);
    report.sid = Some(callback.call_sid.as_str().parse()?);
    report.recording_url = callback.recording_url.as_deref().and_then(recording_url);
    report.price = callback.price.as_deref().and_then(price);
    match callback.event_type {
        Some(CallEvent::Answered) => report.answered_at = time(callback.date_updated.as_ref()),
        Some(CallEvent::Ringing) => {}
        _ if callback.status.is_terminal() || callback.event_type == Some(CallEvent::Terminal) => {
            report.talk_secs = callback.conversation_duration_secs;
            report.lead_leg = lead_leg;
            report.ended_at = time(callback.end_time.as_ref());
        }
        _ => {}
    }
    Ok(report)
}

fn sms_report(callback: &SmsStatusCallback) -> Result<SmsReport, DomainError> {
    let detailed = callback.detailed_status.as_deref();
    let state = SmsState::from_exotel(callback.status.as_str(), callback.detailed_status_code, detailed);
    let mut report = SmsReport::new(ReportSource::Callback, state);
    report.sid = Some(callback.sms_sid.as_str().parse()?);
    report.units = callback.sms_units;
    report.detailed_code = callback.detailed_status_code;
    report.date_sent = time(callback.date_sent.as_ref());
    // Of a failure there are always words.
    let failed = (state == Some(SmsState::Failed)).then_some(callback.status.as_str());
    report.detailed_status = detailed
        .or(failed)
        .map(|words| mask_numbers(words).chars().take(LONGEST_ERROR).collect());
    Ok(report)
}

/// The recording's address, without a query whose signature is gone: the proxy asks for a fresh one anyway.
fn recording_url(url: &str) -> Option<String> {
    let url = match url.split_once('?') {
        Some((address, _)) if lost_a_credential(url) => address,
        _ => url,
    };
    (url.len() <= LONGEST_URL).then(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(body: &str) -> CallReport {
        match read(Webhook::Call, None, body.as_bytes(), None).report {
            Some(Report::Call(report)) => report,
            other => panic!("no call report: {other:?}"),
        }
    }

    fn sms(body: &str) -> SmsReport {
        match read(Webhook::Sms, None, body.as_bytes(), None).report {
            Some(Report::Sms(report)) => report,
            other => panic!("no SMS report: {other:?}"),
        }
    }

    #[test]
    fn an_answered_event_says_who_answered_and_nothing_of_talk_or_legs() {
        let agent = call(
            "CallSid=a&EventType=answered&Status=in-progress&DateUpdated=2026-11-20+14:03:19&EndTime=\
             &ConversationDuration=0&Legs[0][Status]=in-progress&Legs[1][Status]=&Legs[1][OnCallDuration]=0",
        );
        assert_eq!(agent.state, Some(CallState::InProgress));
        assert_eq!(
            (agent.talk_secs, agent.lead_leg, agent.ended_at),
            (None, None, None)
        );
        assert_eq!(agent.answered_at, Some("2026-11-20T08:33:19Z".parse().unwrap()));
        let lead = call(
            "CallSid=a&EventType=answered&Status=in-progress&Legs[0][Status]=in-progress&Legs[1][Status]=in-progress",
        );
        assert_eq!((lead.state, lead.lead_leg), (Some(CallState::Talking), None));
    }

    #[test]
    fn a_terminal_event_carries_talk_time_leg_end_and_recording() {
        let report = call(
            r#"{"CallSid":"a","EventType":"terminal","Status":"completed","EndTime":"2026-11-20 14:05:58",
            "ConversationDuration":121,"RecordingUrl":"https://recordings.exotel.com/x.mp3","Price":"1.500",
            "Legs":[{"OnCallDuration":139,"Status":"completed"},{"OnCallDuration":121,"Status":"completed"}]}"#,
        );
        assert_eq!(report.state, Some(CallState::Completed));
        assert_eq!(
            (report.talk_secs, report.lead_leg),
            (Some(121), Some(LegStatus::Completed))
        );
        assert_eq!(report.ended_at, Some("2026-11-20T08:35:58Z".parse().unwrap()));
        assert_eq!(
            report.recording_url.as_deref(),
            Some("https://recordings.exotel.com/x.mp3")
        );
        assert_eq!(report.price.as_deref(), Some("1.500"));
    }

    #[test]
    fn a_bare_completed_gives_no_evidence_of_talk() {
        let report = call("CallSid=a&Status=completed&RecordingUrl=null");
        assert_eq!(
            (report.talk_secs, report.lead_leg, report.recording_url),
            (None, None, None)
        );
    }

    #[test]
    fn the_end_lists_an_undialled_leg_without_a_status() {
        let report = call(
            "CallSid=a&EventType=terminal&Status=completed&Legs[0][Status]=completed&Legs[1][Status]=&Legs[1][OnCallDuration]=0",
        );
        assert_eq!(report.lead_leg, Some(LegStatus::NotAttempted));
    }

    #[test]
    fn an_unknown_status_is_a_report_without_a_state() {
        let report = call("CallSid=a&Status=teleported&ConversationDuration=7");
        assert_eq!((report.state, report.talk_secs), (None, None));
    }

    #[test]
    fn only_a_web_address_is_a_recording_and_a_spent_signature_is_dropped() {
        for (value, expected) in [
            ("ftp://h/x.mp3", None),
            ("javascript:alert(1)", None),
            ("https://h/x.mp3?design=1", Some("https://h/x.mp3?design=1")),
            (
                "https://h/x.mp3?X-Amz-Date=1%26X-Amz-Signature=removed",
                Some("https://h/x.mp3"),
            ),
        ] {
            let report = call(&format!("CallSid=a&Status=completed&RecordingUrl={value}"));
            assert_eq!(report.recording_url.as_deref(), expected, "{value}");
        }
        let long = format!(
            "CallSid=a&Status=completed&RecordingUrl=https://h/{}",
            "x".repeat(LONGEST_URL)
        );
        assert_eq!(call(&long).recording_url, None);
    }

    #[test]
    fn a_failed_sms_says_why_without_numbers() {
        let report = sms(
            "SmsSid=a&Status=failed_dnd&DetailedStatus=FAILED+to+09811100002&DetailedStatusCode=23005&SmsUnits=1",
        );
        assert_eq!(report.state, Some(SmsState::Failed));
        assert_eq!(report.detailed_status.as_deref(), Some("FAILED to *******0002"));
        assert_eq!(report.units, Some(1));
        assert_eq!(
            sms("SmsSid=a&Status=undelivered").detailed_status.as_deref(),
            Some("undelivered")
        );
        let delivered = sms(
            "SmsSid=a&Status=sent&DetailedStatus=DELIVERED_TO_HANDSET&DetailedStatusCode=20005&DateSent=2026-11-20+14%3A10%3A06",
        );
        assert_eq!(
            (
                delivered.state,
                delivered.detailed_status.as_deref(),
                delivered.detailed_code,
                delivered.date_sent.map(|at| at.to_string()).as_deref()
            ),
            (
                Some(SmsState::Delivered),
                Some("DELIVERED_TO_HANDSET"),
                Some(20005),
                Some("2026-11-20T08:40:06Z")
            )
        );
    }

    #[test]
    fn a_locator_in_the_custom_field_is_understood_and_anything_else_ignored() {
        let locator = "call_01kak5yv7z8e4f9y2f4w6r8t0v.lead-1";
        let body = format!("CallSid=a&Status=completed&CustomField={locator}");
        let reading = read(Webhook::Call, None, body.as_bytes(), None);
        assert_eq!(reading.locator, Some(Locator::Call(locator.parse().unwrap())));
        for other in ["lead:7f3", "sms_01kak5yv7z8e4f9y2f4w6r8t0v.lead-1", "%00", ""] {
            let body = format!("CallSid=a&Status=completed&CustomField={other}");
            assert_eq!(
                read(Webhook::Call, None, body.as_bytes(), None).locator,
                None,
                "{other}"
            );
        }
    }

    #[test]
    fn a_body_without_a_status_still_names_its_sid() {
        let reading = read(Webhook::Call, None, b"CallSid=abc", None);
        assert_eq!((reading.sid.as_deref(), reading.report), (Some("abc"), None));
        let reading = read(Webhook::Sms, Some("application/json"), b"\xff\xfe{", None);
        assert_eq!((reading.sid, reading.report), (None, None));
        assert!(reading.unreadable.is_some());
    }

    #[test]
    fn a_sid_that_is_none_costs_the_report() {
        let reading = read(Webhook::Call, None, b"CallSid=a-b&Status=completed", None);
        assert_eq!((reading.sid.as_deref(), reading.report), (Some("a-b"), None));
        assert_eq!(
            reading.unreadable.as_deref(),
            Some("CallSid must be 1 to 64 letters or digits")
        );
    }

    #[test]
    fn a_passthru_needs_a_sid_alone_and_reports_to_no_row() {
        let query = "CallSid=abc&CallFrom=09811100002&CallStatus=in-progress&CustomField=call_01kak5yv7z8e4f9y2f4w6r8t0v.lead-1";
        let reading = read(Webhook::Passthru, None, b"", Some(query));
        assert_eq!(
            (reading.sid.as_deref(), reading.report),
            (Some("abc"), Some(Report::Passthru))
        );
        assert!(matches!(reading.locator, Some(Locator::Call(_))));
        for query in ["CallFrom=09811100002", "CallSid=a-b", ""] {
            let reading = read(Webhook::Passthru, None, b"", Some(query));
            assert!(
                reading.report.is_none() && reading.unreadable.is_some(),
                "{query}"
            );
        }
    }

    #[test]
    fn the_query_fills_what_the_body_leaves_out() {
        let reading = read(Webhook::Call, None, b"", Some("CallSid=abc&Status=busy"));
        assert_eq!(reading.sid.as_deref(), Some("abc"));
        assert!(
            matches!(reading.report, Some(Report::Call(report)) if report.state == Some(CallState::Busy))
        );
    }
}
