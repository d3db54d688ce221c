//! What Exotel's answers about calls and messages say, as reports for their rows.

use domain::{
    call::{CallReport, ReportSource},
    phone::Country,
    sms::{SmsReport, SmsState},
};
use exotel::mask_numbers;

use crate::call_records::{self, time};

/// Call details, or an entry of the call list, for the call's row.
pub(super) fn call_report(source: ReportSource, call: &exotel::calls::Call, country: Country) -> CallReport {
    match call_records::of_call(source, call, country) {
        Ok(report) => report.for_row(),
        // Its sid is none of ours: whatever it says is about no row.
        Err(_) => CallReport::new(source, None),
    }
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
    report.detailed_status = sms.detailed_status.as_deref().map(mask_numbers);
    report.detailed_code = sms.detailed_status_code;
    report.date_sent = time(sms.date_sent.as_ref());
    report
}
