//! What calls and messages have in common on their way out.

use std::fmt;

use domain::{
    call::{Call, CallReport, CallState, ReportSource},
    ids::{CallLocator, CallSid, SmsLocator},
    outbound_limit::Class,
    phone::PhoneNumber,
    retry,
    sms::{Sms, SmsReport, SmsState},
};
use exotel::{
    calls::{CallbackContentType, CallbackEvent, ConnectCall, ConnectOptions},
    sms::{SendSms, SmsOptions},
};
use jiff::Timestamp;
use table::{Claim, Recorded, Table, TableError};

use super::{Account, BotLine, Exotel, Task, bots::session_of, reports::sms_report};

/// The states that are ours to set, of calls and messages alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intent {
    Waiting,
    InFlight,
    Unconfirmed,
    Refused,
    Expired,
    GaveUp,
}

/// A call or a message on its way out.
pub(super) trait Item: Sized {
    type Locator: Clone + fmt::Display;
    type Report;
    /// Whose budget its requests count against.
    const CLASS: Class;

    fn locator(&self) -> &Self::Locator;
    fn attempt(&self) -> u32;
    /// Whether it waits for its next attempt.
    fn waits(&self) -> bool;
    /// Whether it has waited too long to be sent at `now`.
    fn is_expired(locator: &Self::Locator, now: Timestamp) -> bool;
    /// The message that makes this attempt.
    fn task(locator: Self::Locator, attempt: u32, refusals: u32) -> Task;
    /// The message that looks for it, if there is a way to look.
    fn resolution(locator: Self::Locator, step: u32, sid: Option<CallSid>) -> Option<Task>;
    /// The sid in a report, if look-ups by message can use it.
    fn sid(report: &Self::Report) -> Option<CallSid>;

    /// Claims the attempt for this `claimant`; a call's row then says that it shows `caller_id`.
    async fn claim(
        table: &Table,
        locator: &Self::Locator,
        attempt: u32,
        claimant: u64,
        caller_id: &PhoneNumber,
    ) -> Result<Claim<Self>, TableError>;
    async fn release(
        table: &Table,
        locator: &Self::Locator,
        attempt: u32,
        reason: &str,
    ) -> Result<bool, TableError>;
    async fn settle(
        table: &Table,
        locator: &Self::Locator,
        from: &[Intent],
        to: Intent,
        reason: Option<&str>,
    ) -> Result<bool, TableError>;
    async fn record(
        table: &Table,
        locator: &Self::Locator,
        report: &Self::Report,
    ) -> Result<Recorded, TableError>;
    /// Sends the one request at `now`; what Exotel's answer says, as a report.
    async fn request<E: Exotel>(
        &self,
        account: &Account<E>,
        now: Timestamp,
    ) -> Result<Self::Report, exotel::Error>;
}

impl From<Intent> for CallState {
    fn from(intent: Intent) -> Self {
        match intent {
            Intent::Waiting => CallState::Waiting,
            Intent::InFlight => CallState::InFlight,
            Intent::Unconfirmed => CallState::Unconfirmed,
            Intent::Refused => CallState::Refused,
            Intent::Expired => CallState::Expired,
            Intent::GaveUp => CallState::GaveUp,
        }
    }
}

impl From<Intent> for SmsState {
    fn from(intent: Intent) -> Self {
        match intent {
            Intent::Waiting => SmsState::Waiting,
            Intent::InFlight => SmsState::InFlight,
            Intent::Unconfirmed => SmsState::Unconfirmed,
            Intent::Refused => SmsState::Refused,
            Intent::Expired => SmsState::Expired,
            Intent::GaveUp => SmsState::GaveUp,
        }
    }
}

fn states<S: From<Intent>>(intents: &[Intent]) -> Vec<S> {
    intents.iter().copied().map(S::from).collect()
}

impl Item for Call {
    type Locator = CallLocator;
    type Report = CallReport;
    const CLASS: Class = Class::Voice;

    fn locator(&self) -> &CallLocator {
        &self.locator
    }

    fn attempt(&self) -> u32 {
        self.exotel().map_or(0, |call| call.attempt)
    }

    fn waits(&self) -> bool {
        self.exotel()
            .is_some_and(|call| call.progress.state == CallState::Waiting)
    }

    fn is_expired(locator: &CallLocator, now: Timestamp) -> bool {
        retry::is_call_expired(locator.id.created_at(), now)
    }

    fn task(call: CallLocator, attempt: u32, refusals: u32) -> Task {
        Task::PlaceCall {
            call,
            attempt,
            refusals,
        }
    }

    fn resolution(call: CallLocator, step: u32, sid: Option<CallSid>) -> Option<Task> {
        Some(Task::ResolveCall { call, step, sid })
    }

    fn sid(report: &CallReport) -> Option<CallSid> {
        report.sid.clone()
    }

    async fn claim(
        table: &Table,
        locator: &CallLocator,
        attempt: u32,
        claimant: u64,
        caller_id: &PhoneNumber,
    ) -> Result<Claim<Self>, TableError> {
        table.claim_call(locator, attempt, claimant, caller_id).await
    }

    async fn release(
        table: &Table,
        locator: &CallLocator,
        attempt: u32,
        reason: &str,
    ) -> Result<bool, TableError> {
        table.release_call(locator, attempt, reason).await
    }

    async fn settle(
        table: &Table,
        locator: &CallLocator,
        from: &[Intent],
        to: Intent,
        reason: Option<&str>,
    ) -> Result<bool, TableError> {
        table.settle_call(locator, &states(from), to.into(), reason).await
    }

    async fn record(
        table: &Table,
        locator: &CallLocator,
        report: &CallReport,
    ) -> Result<Recorded, TableError> {
        table.record_call_report(locator, report).await
    }

    async fn request<E: Exotel>(
        &self,
        account: &Account<E>,
        now: Timestamp,
    ) -> Result<CallReport, exotel::Error> {
        let Some(call) = self.exotel() else {
            return Err(exotel::Error::InvalidRequest {
                field: "From",
                problem: "is of a call that was logged by hand".to_owned(),
            });
        };
        let options = ConnectOptions {
            record: Some(true),
            custom_field: Some(self.locator.to_string()),
            status_callback: Some((account.call_callback)(&self.locator).into()),
            status_callback_events: vec![CallbackEvent::Terminal, CallbackEvent::Answered],
            status_callback_content_type: Some(CallbackContentType::Json),
            ..ConnectOptions::default()
        };
        let (person, exophone) = (call.lead_phone.as_str(), call.caller_id.as_str());
        let placed = match (call.to_bot, &account.bot) {
            (false, _) => ConnectCall::two_legs(call.agent_phone.as_str(), person, exophone),
            (true, Some(BotLine::Flow(url))) => ConnectCall::to_flow(person, url.as_str(), exophone),
            (true, Some(BotLine::Stream { url, .. })) => {
                let url = url(&session_of(&self.locator.id), now);
                ConnectCall::to_stream(person, url, exophone)
            }
            (true, None) => {
                return Err(exotel::Error::InvalidRequest {
                    field: "Url",
                    problem: "is not known: there is neither a flow nor a socket for bots".to_owned(),
                });
            }
        };
        let request = ConnectCall { options, ..placed };
        let answer = account.exotel.send(&request).await?;
        // Exotel says `in-progress` before anybody has answered: accepted is all that we know.
        let mut report = CallReport::new(ReportSource::Details, Some(CallState::Accepted));
        report.sid = answer.sid.as_str().parse().ok();
        Ok(report)
    }
}

impl Item for Sms {
    type Locator = SmsLocator;
    type Report = SmsReport;
    const CLASS: Class = Class::Sms;

    fn locator(&self) -> &SmsLocator {
        &self.locator
    }

    fn attempt(&self) -> u32 {
        self.attempt
    }

    fn waits(&self) -> bool {
        self.progress.state == SmsState::Waiting
    }

    fn is_expired(locator: &SmsLocator, now: Timestamp) -> bool {
        retry::is_sms_expired(locator.id.created_at(), now)
    }

    fn task(sms: SmsLocator, attempt: u32, refusals: u32) -> Task {
        Task::SendSms {
            sms,
            attempt,
            refusals,
        }
    }

    /// Exotel lists no messages: a callback tells, or nothing does.
    fn resolution(_: SmsLocator, _: u32, _: Option<CallSid>) -> Option<Task> {
        None
    }

    fn sid(_: &SmsReport) -> Option<CallSid> {
        None
    }

    async fn claim(
        table: &Table,
        locator: &SmsLocator,
        attempt: u32,
        claimant: u64,
        _: &PhoneNumber,
    ) -> Result<Claim<Self>, TableError> {
        table.claim_sms(locator, attempt, claimant).await
    }

    async fn release(
        table: &Table,
        locator: &SmsLocator,
        attempt: u32,
        reason: &str,
    ) -> Result<bool, TableError> {
        table.release_sms(locator, attempt, reason).await
    }

    async fn settle(
        table: &Table,
        locator: &SmsLocator,
        from: &[Intent],
        to: Intent,
        reason: Option<&str>,
    ) -> Result<bool, TableError> {
        table.settle_sms(locator, &states(from), to.into(), reason).await
    }

    async fn record(table: &Table, locator: &SmsLocator, report: &SmsReport) -> Result<Recorded, TableError> {
        table.record_sms_report(locator, report).await
    }

    async fn request<E: Exotel>(
        &self,
        account: &Account<E>,
        _: Timestamp,
    ) -> Result<SmsReport, exotel::Error> {
        let options = SmsOptions {
            sms_type: account.sms.sms_type,
            dlt_entity_id: account.sms.dlt_entity_id.clone(),
            dlt_template_id: account.sms.dlt_template_id.clone(),
            custom_field: Some(self.locator.to_string()),
            status_callback: Some((account.sms_callback)(&self.locator).into()),
            status_callback_content_type: Some(CallbackContentType::Json),
            ..SmsOptions::default()
        };
        let request = SendSms {
            options,
            ..SendSms::new(
                account.sms.sender.as_str(),
                self.to_phone.as_str(),
                self.body.as_str(),
            )
        };
        let answer = account.exotel.send(&request).await?;
        let mut report = sms_report(ReportSource::Details, &answer);
        // An unknown word is an acceptance all the same.
        report.state = report.state.or(Some(SmsState::Queued));
        Ok(report)
    }
}
