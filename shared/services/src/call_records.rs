//! What Exotel's callbacks, answers and lists say of a call, as reports for its record.

use domain::{
    DomainError,
    call::{CallState, LegStatus, ReportSource},
    call_record::{Direction, Party, RecordReport, Said},
    phone::Country,
};
use exotel::{
    CallEvent, CallStatus, ExotelTime, PhoneNumber,
    callback::{CallStatusCallback, Leg, PassthruCall},
    ccm::CcmCall,
    default_zone,
};
use jiff::Timestamp;

/// Digits and a point.
const LONGEST_PRICE: usize = 20;

/// What a status callback says. What an event before the end says of talk time and legs is only "not yet", so it
/// counts at the end alone.
///
/// # Errors
/// [`DomainError`] when its CallSid is none.
pub fn of_callback(callback: &CallStatusCallback, country: Country) -> Result<RecordReport, DomainError> {
    let legs = Legs::read(&callback.legs);
    let state = CallState::from_exotel(callback.status.as_str(), legs.second);
    let mut report = RecordReport::new(callback.call_sid.as_str().parse()?, ReportSource::Callback, state);
    let party = |number: &Option<PhoneNumber>| party(number.as_ref(), country);
    report.said = Said {
        created_at: time(callback.date_created.as_ref()),
        updated_at: time(callback.date_updated.as_ref()),
        started_at: time(callback.start_time.as_ref()),
        status: Some(callback.status.as_str().to_owned()),
        direction: direction(callback.direction.as_ref()),
        from: party(&callback.from),
        to: party(&callback.to),
        exophone: party(&callback.phone_number_sid),
        price: callback.price.as_deref().and_then(price),
        recording_url: callback.recording_url.as_deref().map(str::to_owned),
        parent_call_sid: callback.parent_call_sid.clone(),
        account_sid: callback.account_sid.clone(),
        forwarded_from: party(&callback.forwarded_from),
        caller_name: callback.caller_name.clone(),
        uri: callback.uri.clone(),
        custom_field: callback.custom_field.clone(),
        ..Said::default()
    };
    if let Some(ccm) = &callback.ccm {
        in_ccms_words(&mut report, ccm);
    }
    let said = &mut report.said;
    match callback.event_type {
        Some(CallEvent::Answered) => said.answered_at = said.updated_at,
        Some(CallEvent::Ringing) => {}
        _ if callback.status.is_terminal() || callback.event_type == Some(CallEvent::Terminal) => {
            said.ended_at = time(callback.end_time.as_ref());
            said.duration_secs = callback.duration_secs;
            said.talk_secs = callback.conversation_duration_secs;
            said.answered_by = answered_by(callback.answered_by.as_ref(), &callback.legs);
            legs.into(said);
        }
        _ => {}
    }
    Ok(report.within_bounds())
}

/// What a Passthru applet tells in the middle of a flow. It counts as a callback: an inbound call has no other.
///
/// `DialCallStatus` is the second leg, the agent that the flow dialled. `DialCallDuration` counts the ringing too, so it
/// is no talk time; it and whatever else has no place of its own is kept under Exotel's name.
///
/// # Errors
/// [`DomainError`] when its CallSid is none.
pub fn of_passthru(call: &PassthruCall, country: Country) -> Result<RecordReport, DomainError> {
    let dialled = call.dial_call_status.as_ref().map(CallStatus::as_str);
    let leg2_status = dialled.and_then(LegStatus::from_exotel);
    // A call that asks is in its flow, whether or not it says so.
    let state = match &call.call_status {
        Some(status) => CallState::from_exotel(status.as_str(), leg2_status),
        None => Some(CallState::InProgress),
    };
    let mut report = RecordReport::new(call.call_sid.as_str().parse()?, ReportSource::Callback, state);
    let party = |number: Option<&PhoneNumber>| party(number, country);
    let person = party(call.person());
    let exophone = party(call.exophone());
    // An outbound call in a flow has one leg, which is the person's: the call list names it `From`, with no `To`.
    let (to, exophone) = match direction(call.direction.as_ref()) {
        Some(Direction::Inbound) => (exophone.clone(), exophone),
        Some(Direction::Outbound) => (None, party(call.outgoing_phone_number.as_ref()).or(exophone)),
        None => (exophone, party(call.outgoing_phone_number.as_ref())),
    };
    report.said = Said {
        created_at: time(call.created.as_ref()),
        started_at: time(call.start_time.as_ref()),
        ended_at: time(call.end_time.as_ref()),
        status: call.call_status.as_ref().map(|status| status.as_str().to_owned()),
        direction: direction(call.direction.as_ref()),
        from: person,
        to,
        exophone,
        dialled: party(call.dial_whom_number.as_ref()),
        leg2_status,
        recording_url: call.recording_url.as_deref().map(str::to_owned),
        forwarded_from: party(call.forwarded_from.as_ref()),
        custom_field: call.custom_field.clone(),
        flow_id: call.flow_id.clone(),
        call_type: call.call_type.as_ref().map(|word| word.as_str().to_owned()),
        digits: call.digits.clone(),
        ..Said::default()
    };
    let mut keep = |name: String, value: Option<String>| {
        if let Some(value) = value {
            report.extra.insert(name, value);
        }
    };
    let text = |number: &Option<PhoneNumber>| number.as_deref().map(str::to_owned);
    let as_it_came = |time: &Option<ExotelTime>| time.as_ref().map(|time| time.as_str().to_owned());
    keep(
        "From".to_owned(),
        text(&call.from).filter(|_| call.from != call.call_from),
    );
    keep(
        "To".to_owned(),
        text(&call.to).filter(|_| call.to != call.call_to),
    );
    keep("CurrentTime".to_owned(), as_it_came(&call.current_time));
    keep(
        "DialCallDuration".to_owned(),
        call.dial_call_duration_secs.map(|secs| secs.to_string()),
    );
    keep("DialCallStatus".to_owned(), dialled.map(str::to_owned));
    keep(
        "RecordingAvailableBy".to_owned(),
        as_it_came(&call.recording_available_by),
    );
    keep("tenant_id".to_owned(), call.tenant_id.clone());
    keep("ProcessStatus".to_owned(), call.process_status.clone());
    keep(
        "OutgoingPhoneNumber".to_owned(),
        text(&call.outgoing_phone_number),
    );
    for (n, leg) in call.legs.iter().enumerate() {
        let mut keep = |key: &str, value: Option<String>| keep(format!("Legs[{n}][{key}]"), value);
        keep("Number", text(&leg.number));
        keep("Type", leg.leg_type.clone());
        keep(
            "OnCallDuration",
            leg.on_call_duration_secs.map(|secs| secs.to_string()),
        );
        keep("CallerId", text(&leg.caller_id));
        keep("CauseCode", leg.cause_code.clone());
        keep("Cause", leg.cause.clone());
    }
    for (key, value) in &call.stream {
        keep(format!("Stream[{key}]"), Some(value.clone()));
    }
    Ok(report.within_bounds())
}

/// What call details, or an entry of the call list, say.
///
/// # Errors
/// [`DomainError`] when its Sid is none.
#[cfg(feature = "outbound")]
pub fn of_call(
    source: ReportSource,
    call: &exotel::calls::Call,
    country: Country,
) -> Result<RecordReport, DomainError> {
    let legs = Legs::read(&call.legs);
    let (state, over) = state(call.status.as_ref(), legs.second);
    let mut report = RecordReport::new(call.sid.as_str().parse()?, source, state);
    let party = |number: &Option<PhoneNumber>| party(number.as_ref(), country);
    report.said = Said {
        created_at: time(call.date_created.as_ref()),
        updated_at: time(call.date_updated.as_ref()),
        started_at: time(call.start_time.as_ref()),
        status: call.status.as_ref().map(|status| status.as_str().to_owned()),
        direction: direction(call.direction.as_ref()),
        from: party(&call.from),
        to: party(&call.to),
        exophone: party(&call.phone_number_sid),
        price: call.price.as_deref().and_then(price),
        recording_url: call.recording_url.as_deref().map(str::to_owned),
        parent_call_sid: call.parent_call_sid.clone(),
        account_sid: call.account_sid.clone(),
        forwarded_from: party(&call.forwarded_from),
        caller_name: call.caller_name.clone(),
        uri: call.uri.clone(),
        ..Said::default()
    };
    if over {
        let said = &mut report.said;
        said.ended_at = time(call.end_time.as_ref());
        said.duration_secs = call.duration_secs;
        said.talk_secs = call.conversation_duration_secs;
        said.answered_by = answered_by(call.answered_by.as_ref(), &call.legs);
        legs.into(said);
    }
    Ok(report.within_bounds())
}

/// What CCM's details of a call say, in v1's words where there are some: the agent is the first leg, the customer the
/// second. CCM knows no price.
///
/// # Errors
/// [`DomainError`] when its sid is none.
#[cfg(feature = "outbound")]
pub fn of_ccm(call: &CcmCall, country: Country) -> Result<RecordReport, DomainError> {
    let status = call.v1_status();
    let legs = Legs::read(&call.v1_legs());
    let (state, over) = state(status.as_ref(), legs.second);
    let mut report = RecordReport::new(call.sid.as_str().parse()?, ReportSource::Details, state);
    let party = |number: &Option<PhoneNumber>| party(number.as_ref(), country);
    report.said = Said {
        created_at: time(call.created_time.as_ref()),
        updated_at: time(call.updated_time.as_ref()),
        started_at: time(call.start_time.as_ref()),
        status: status.map(|status| status.as_str().to_owned()),
        direction: direction(call.v1_direction().as_ref()),
        from: party(&call.agent.contact_uri),
        to: party(&call.customer.contact_uri),
        exophone: party(&call.virtual_number),
        recording_url: call.recordings.first().map(|url| url.as_str().to_owned()),
        custom_field: call.custom_field.clone(),
        ..Said::default()
    };
    in_ccms_words(&mut report, call);
    if over {
        let said = &mut report.said;
        said.ended_at = time(call.end_time.as_ref());
        said.duration_secs = call.total_duration_secs;
        said.talk_secs = call.talk_secs;
        legs.into(said);
    }
    Ok(report.within_bounds())
}

/// What details' word for a call is worth, and whether the call is over. Exotel says `in-progress` of a call whose first
/// phone still rings, so before the end it is only known to be accepted.
#[cfg(feature = "outbound")]
fn state(status: Option<&CallStatus>, second: Option<LegStatus>) -> (Option<CallState>, bool) {
    let state = status.and_then(|status| CallState::from_exotel(status.as_str(), second));
    let over = state.is_some_and(CallState::is_terminal);
    let known = if over {
        state
    } else {
        state.map(|_| CallState::Accepted)
    };
    (known, over)
}

/// What CCM alone knows of a call, and its own word for how it ended.
fn in_ccms_words(report: &mut RecordReport, call: &CcmCall) {
    report.said.agent_user_id.clone_from(&call.agent.user_id);
    report.said.digits.clone_from(&call.digits);
    report.said.flow_id.clone_from(&call.app_id);
    for (name, value) in [
        (
            "call_state",
            call.state.as_ref().map(|word| word.as_str().to_owned()),
        ),
        (
            "call_status",
            call.status.as_ref().map(|word| word.as_str().to_owned()),
        ),
        ("agent_name", call.agent.name.clone()),
        ("app_name", call.app_name.clone()),
    ] {
        report.extra.extend(value.map(|value| (name.to_owned(), value)));
    }
    for (n, url) in call.recordings.iter().enumerate().skip(1) {
        report
            .extra
            .insert(format!("recordings[{n}][url]"), url.as_str().to_owned());
    }
}

/// Both legs of a report. A listed leg without a status was never dialled.
struct Legs {
    first: Option<LegStatus>,
    second: Option<LegStatus>,
    secs: [Option<u32>; 2],
}

impl Legs {
    fn read(legs: &[Leg]) -> Self {
        let status = |at: usize| {
            let leg = legs.get(at)?;
            LegStatus::from_exotel(leg.status.as_ref().map_or("", CallStatus::as_str))
        };
        let secs = |at: usize| legs.get(at)?.on_call_duration_secs;
        Self {
            first: status(0),
            second: status(1),
            secs: [secs(0), secs(1)],
        }
    }

    fn into(self, said: &mut Said) {
        said.leg1_status = self.first;
        said.leg2_status = self.second;
        [said.leg1_secs, said.leg2_secs] = self.secs;
    }
}

fn answered_by(call: Option<&exotel::AnsweredBy>, legs: &[Leg]) -> Option<String> {
    let of_a_leg = || legs.iter().rev().find_map(|leg| leg.answered_by.as_ref());
    call.or_else(of_a_leg).map(|word| word.as_str().to_owned())
}

fn direction(direction: Option<&exotel::Direction>) -> Option<Direction> {
    Direction::from_exotel(direction?.as_str())
}

fn party(number: Option<&PhoneNumber>, country: Country) -> Option<Party> {
    Party::read(number?.as_str(), country)
}

pub(crate) fn price(text: &str) -> Option<String> {
    let decimal = text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.parse::<f64>().is_ok();
    (decimal && text.len() <= LONGEST_PRICE).then(|| text.to_owned())
}

/// A time that cannot be read is left out: it must not cost the report.
pub(crate) fn time(text: Option<&ExotelTime>) -> Option<Timestamp> {
    text?.instant(&default_zone()).ok().flatten()
}

#[cfg(test)]
mod tests {
    use domain::call_record::CallRecord;

    use super::*;

    fn passthru(query: &str) -> RecordReport {
        let call = PassthruCall::parse(None, b"", Some(query)).unwrap();
        of_passthru(&call, Country::IN).unwrap()
    }

    #[test]
    fn a_passthru_fills_the_record_of_an_inbound_call() {
        let report = passthru(
            "CallSid=a1&CallFrom=09811100002&CallTo=08045550100&CallStatus=completed&Direction=incoming&Created=Sat, 21 Nov 2026 09:30:00\
             &StartTime=2026-11-21 09:30:00&EndTime=1970-01-01 05:30:00&DialCallDuration=17&DialCallStatus=completed&CallType=completed\
             &DialWhomNumber=09811100001&RecordingUrl=https://h/x.mp3&digits=%221%22&flow_id=228040&tenant_id=112233&From=09811100002&To=0XX0100\
             &CurrentTime=2026-11-21 09:30:40&Legs[0][Cause]=NORMAL_CLEARING&Legs[0][CauseCode]=16&Stream[Status]=completed",
        );
        assert_eq!(
            (report.source, report.state),
            (ReportSource::Callback, Some(CallState::Completed))
        );
        let mut record = CallRecord::new(report.sid.clone());
        record.merge(&report);
        let summary = record.summary().unwrap();
        assert_eq!(summary.at, "2026-11-21T04:00:00Z".parse().unwrap());
        assert_eq!(summary.direction, Some(Direction::Inbound));
        assert_eq!(summary.customer, Party::read("+919811100002", Country::IN));
        assert_eq!(summary.exophone, Party::read("+918045550100", Country::IN));
        assert_eq!(
            record.agent_number(),
            Party::read("+919811100001", Country::IN).as_ref()
        );
        assert_eq!(
            (summary.flow_id.as_deref(), summary.has_recording),
            (Some("228040"), true)
        );
        assert_eq!(
            (summary.talk_secs, summary.duration_secs, report.said.ended_at),
            (None, None, None)
        );
        assert_eq!(
            (report.said.digits.as_deref(), report.said.call_type.as_deref()),
            (Some("1"), Some("completed"))
        );
        assert_eq!(report.said.leg2_status, Some(LegStatus::Completed));
        let extra: Vec<(&str, &str)> = report
            .extra
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            extra,
            [
                ("CurrentTime", "2026-11-21 09:30:40"),
                ("DialCallDuration", "17"),
                ("DialCallStatus", "completed"),
                ("Legs[0][CauseCode]", "16"),
                ("Legs[0][Cause]", "NORMAL_CLEARING"),
                ("Stream[Status]", "completed"),
                ("To", "0XX0100"),
                ("tenant_id", "112233"),
            ]
        );
    }

    #[test]
    fn a_passthru_of_an_outbound_flow_agrees_with_the_call_list_that_the_person_is_its_only_leg() {
        let placed = "CallSid=a1&CallFrom=08045550100&CallTo=09811100002&CallStatus=in-progress&Direction=outbound-dial\
                      &Created=2026-11-21 09:30:00&OutgoingPhoneNumber=null";
        let person = Party::read("+919811100002", Country::IN);
        let exophone = Party::read("+918045550100", Country::IN);
        let agent = Party::read("+919811100001", Country::IN);
        for (more, dialled) in [("", None), ("&DialWhomNumber=09811100001", agent)] {
            let report = passthru(&format!("{placed}{more}"));
            let said = &report.said;
            assert_eq!(
                (&said.from, &said.to, &said.exophone),
                (&person, &None, &exophone)
            );
            let mut record = CallRecord::new(report.sid.clone());
            record.merge(&report);
            assert_eq!(record.customer(), person.as_ref());
            assert_eq!(record.agent_number(), dialled.as_ref());
        }
        let of_connect = passthru(&placed.replace("=null", "=08045550199"));
        assert_eq!(
            of_connect.said.exophone,
            Party::read("+918045550199", Country::IN)
        );
    }

    #[test]
    fn ccm_says_the_same_in_a_callback_and_more_in_its_own_words() {
        let body = br#"{"event_details":{"event_type":"terminal"},"call_details":{"call_sid":"a1","direction":"outbound",
            "virtual_number":"+918045550100","call_state":"terminal","call_status":"customer_unanswered","created_time":"2026-11-21T09:30:00+05:30",
            "assigned_agent_details":{"user_id":"4b1e","user_name":"Asha R","contact_uri":"+919811100001"},
            "customer_details":{"contact_uri":"+919811100002","status":"no-answer"},"total_talk_time":0,"custom_field":"ticket:88"}}"#;
        let callback = CallStatusCallback::parse(None, body, None).unwrap();
        let report = of_callback(&callback, Country::IN).unwrap();
        assert_eq!(report.state, Some(CallState::NoAnswer));
        let said = &report.said;
        assert_eq!(
            (said.leg1_status, said.leg2_status),
            (Some(LegStatus::Completed), Some(LegStatus::NoAnswer))
        );
        assert_eq!(
            (said.agent_user_id.as_deref(), said.direction),
            (Some("4b1e"), Some(Direction::Outbound))
        );
        assert_eq!(said.to, Party::read("+919811100002", Country::IN));
        assert_eq!(report.extra["call_status"], "customer_unanswered");
        assert_eq!(report.extra["agent_name"], "Asha R");
    }

    #[test]
    fn a_call_that_asks_is_in_its_flow_and_whoever_was_not_dialled_is_not_said_to_be() {
        let report = passthru("CallSid=a1&DialCallStatus=null&DialWhomNumber=");
        assert_eq!(
            (report.state, report.said.leg2_status),
            (Some(CallState::InProgress), None)
        );
        assert_eq!((report.said.dialled, report.extra.len()), (None, 0));
        assert_eq!(passthru("CallSid=a1&CallStatus=teleported").state, None);
    }
}
