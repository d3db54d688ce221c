//! What Exotel's callbacks, answers and lists say of a call, as reports for its record.

use domain::{
    DomainError,
    call::{CallState, LegStatus, ReportSource},
    call_record::{Direction, Party, RecordReport, Said},
    phone::Country,
};
use exotel::{
    CallEvent, CallStatus, ExotelTime, PhoneNumber,
    callback::{CallStatusCallback, Leg},
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

/// What call details, or an entry of the call list, say. Exotel says `in-progress` of a call whose first phone still
/// rings, so before the end it is only known to be accepted.
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
    let state = call
        .status
        .as_ref()
        .and_then(|status| CallState::from_exotel(status.as_str(), legs.second));
    let over = state.is_some_and(CallState::is_terminal);
    let state = if over {
        state
    } else {
        state.map(|_| CallState::Accepted)
    };
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
