//! What Exotel's answers about calls and messages say, as reports.

use domain::{
    call::{CallReport, CallState, LegStatus, ReportSource},
    sms::{SmsReport, SmsState},
};
use exotel::{CallStatus, ExotelTime, default_zone, mask_numbers};
use jiff::Timestamp;

/// A longer URL is nobody's recording and would make the row cost more than one write unit.
const LONGEST_URL: usize = 500;

/// Call details, or an entry of the call list. What is said of talk time and legs before the end is only "not yet".
pub(super) fn call_report(source: ReportSource, call: &exotel::calls::Call) -> CallReport {
    let lead_leg = call.legs.get(1).map(|leg| leg.status.as_ref());
    let lead_leg = lead_leg.and_then(|status| LegStatus::from_exotel(status.map_or("", CallStatus::as_str)));
    let state = call
        .status
        .as_ref()
        .and_then(|status| CallState::from_exotel(status.as_str(), lead_leg));
    let mut report = CallReport::new(source, state);
    report.sid = call.sid.as_str().parse().ok();
    report.recording_url = call
        .recording_url
        .as_deref()
        .filter(|url| url.len() <= LONGEST_URL)
        .map(str::to_owned);
    report.price.clone_from(&call.price);
    if state.is_some_and(CallState::is_terminal) {
        report.talk_secs = call.conversation_duration_secs;
        report.lead_leg = lead_leg;
        report.ended_at = time(call.end_time.as_ref());
    } else {
        // Exotel says `in-progress` of a call whose first phone still rings.
        report.state = state.map(|_| CallState::Accepted);
    }
    report
}

/// Message details, or the answer to a message just sent.
pub(super) fn sms_report(source: ReportSource, sms: &exotel::sms::Sms) -> SmsReport {
    let state = sms.status.as_ref().and_then(|status| {
        SmsState::from_exotel(
            status.as_str(),
            sms.detailed_status_code,
            sms.detailed_status.as_deref(),
        )
    });
    let mut report = SmsReport::new(source, state);
    report.sid = sms.sid.as_str().parse().ok();
    report.units = sms.sms_units;
    report.price.clone_from(&sms.price);
    if state == Some(SmsState::Failed) {
        report.error_message = sms.detailed_status.as_deref().map(mask_numbers);
    }
    report
}

/// A time that cannot be read is left out: it must not cost the report.
pub(super) fn time(text: Option<&ExotelTime>) -> Option<Timestamp> {
    text?.instant(&default_zone()).ok().flatten()
}
