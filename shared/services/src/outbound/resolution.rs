//! Finding out what became of a call that nobody told us about: by its details once the sid is known, else by the
//! call list. The list has neither our id nor calls that go on, so a match has to be the only one possible.

use domain::{
    call::{Call, CallProgress, CallReport, CallState, ExotelCall, ReportSource},
    ids::{CallId, CallLocator, CallSid, SmsSid},
    outbound_limit::{Class, Patience},
    phone::PhoneNumber,
    retry,
    sms::Sms,
};
use exotel::{
    calls::{CreatedBetween, GetCall, ListCalls},
    default_zone,
    sms::GetSms,
};
use jiff::{SignedDuration, Timestamp};
use table::{TableError, limits::Reserving};

use crate::call_records::time;

use super::{
    Account, Exotel, Outbound, Step, Task, home_of,
    limiter::Permission,
    reports::{call_report, sms_report},
};

/// Exotel's clock, and its whole seconds, may put a call's creation a little before ours.
const BEFORE: SignedDuration = SignedDuration::from_secs(10);
/// Calls between the same two numbers that one look-up reads; more in a few minutes is no click of a person.
const MOST_CANDIDATES: u8 = 100;
/// A lead's calls that one look-up compares with.
const MOST_RIVALS: usize = 50;

/// What a look-up gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evidence {
    /// The row knows more now.
    Found,
    /// Exotel answered, and knows nothing that can only be this call.
    Nothing,
    /// Exotel was not asked.
    NoSlot {
        /// When there may be one.
        at: Timestamp,
    },
    /// Exotel did not answer as it should.
    Failed,
}

impl Outbound {
    /// One of the look-ups by message.
    pub(super) async fn look_again<E: Exotel>(
        &self,
        account: Option<&Account<E>>,
        locator: &CallLocator,
        step: u32,
        sid: Option<&CallSid>,
    ) -> Step {
        match self.try_look_again(account, locator, step, sid).await {
            Ok(next) => next,
            Err(error) => Step::Retry {
                reason: format!("{locator}: {error}"),
            },
        }
    }

    async fn try_look_again<E: Exotel>(
        &self,
        account: Option<&Account<E>>,
        locator: &CallLocator,
        step: u32,
        sid: Option<&CallSid>,
    ) -> Result<Step, TableError> {
        if let Some(sid) = sid {
            let mut report = CallReport::new(ReportSource::Details, Some(CallState::Accepted));
            report.sid = Some(sid.clone());
            self.table.record_call_report(locator, &report).await?;
            return Ok(Step::Done);
        }
        let Some(row) = self.table.call(locator).await? else {
            return Ok(Step::Done);
        };
        let progress = row.exotel().map(|call| &call.progress);
        let open = progress.is_some_and(|p| matches!(p.state, CallState::Unconfirmed | CallState::InFlight));
        let Some(account) = account.filter(|_| open) else {
            return Ok(Step::Done);
        };
        let task = |step| Task::ResolveCall {
            call: locator.clone(),
            step,
            sid: None,
        };
        Ok(match self.find(account, &row).await? {
            Evidence::Found => Step::Done,
            Evidence::NoSlot { at } => Step::next(task(step), at.duration_since(self.world.now())),
            Evidence::Nothing | Evidence::Failed => match retry::look_after(step + 1) {
                Some(delay) => Step::next(task(step + 1), delay),
                None => Step::Done,
            },
        })
    }

    /// Looks a call up, by whatever is known of it.
    pub(super) async fn find<E: Exotel>(
        &self,
        account: &Account<E>,
        row: &Call,
    ) -> Result<Evidence, TableError> {
        let Some(call) = row.exotel() else {
            return Ok(Evidence::Nothing);
        };
        match &call.progress.sid {
            Some(sid) => self.by_details(account, &row.locator, sid).await,
            None => self.by_list(account, row, call).await,
        }
    }

    async fn by_details<E: Exotel>(
        &self,
        account: &Account<E>,
        locator: &CallLocator,
        sid: &CallSid,
    ) -> Result<Evidence, TableError> {
        if let Some(none) = self.look_up_slot(Class::Voice).await? {
            return Ok(none);
        }
        let Ok(sid) = sid.as_str().parse() else {
            return Ok(Evidence::Nothing);
        };
        match account.exotel.send(&GetCall::with_details(sid)).await {
            Ok(details) => {
                let report = call_report(ReportSource::Details, &details, self.rules.country);
                self.table.record_call_report(locator, &report).await?;
                Ok(if report.state.is_some_and(CallState::is_terminal) {
                    Evidence::Found
                } else {
                    Evidence::Nothing
                })
            }
            Err(error) => Ok(unanswered(locator, &error)),
        }
    }

    async fn by_list<E: Exotel>(
        &self,
        account: &Account<E>,
        row: &Call,
        call: &ExotelCall,
    ) -> Result<Evidence, TableError> {
        if let Some(none) = self.look_up_slot(Class::Voice).await? {
            return Ok(none);
        }
        let span = span_of(row.called_at);
        let request = ListCalls {
            from: vec![first_leg(call).as_str().into()],
            to: if call.to_bot {
                Vec::new()
            } else {
                vec![call.lead_phone.as_str().into()]
            },
            created: Some(CreatedBetween::new(span.0, span.1, &default_zone())),
            page_size: Some(MOST_CANDIDATES),
            ..ListCalls::default()
        };
        let page = match account.exotel.send(&request).await {
            Ok(page) => page,
            Err(error) => return Ok(unanswered(&row.locator, &error)),
        };
        if page.next.is_some() || !page.unreadable.is_empty() {
            return Ok(Evidence::Nothing);
        }
        let mut candidates = Vec::new();
        for listed in &page.calls {
            if self.could_be(listed, call, span) && !self.is_anothers(listed, &row.locator).await? {
                candidates.push(listed);
            }
        }
        let [only] = candidates[..] else {
            if candidates.len() > 1 {
                tracing::warn!(call.id = %row.locator.id, "{} calls in Exotel's list could be this one: none is taken", candidates.len());
            }
            return Ok(Evidence::Nothing);
        };
        if self.has_rivals(row, call).await? {
            tracing::warn!(call.id = %row.locator.id, "the call in Exotel's list could be another of ours: it is not taken");
            return Ok(Evidence::Nothing);
        }
        let report = call_report(ReportSource::List, only, self.rules.country);
        tracing::info!(call.id = %row.locator.id, call.sid = %only.sid, "found in Exotel's list");
        self.table.record_call_report(&row.locator, &report).await?;
        // The list says less of talk time and legs than the details do, and they decide what `completed` means.
        if report.state == Some(CallState::Completed)
            && report.talk_secs.is_none()
            && let Some(sid) = &report.sid
        {
            self.by_details(account, &row.locator, sid).await?;
        }
        Ok(Evidence::Found)
    }

    /// Looks a message up by its sid.
    pub(super) async fn find_sms<E: Exotel>(
        &self,
        account: &Account<E>,
        row: &Sms,
        sid: &SmsSid,
    ) -> Result<Evidence, TableError> {
        if let Some(none) = self.look_up_slot(Class::Sms).await? {
            return Ok(none);
        }
        let Ok(sid) = sid.as_str().parse() else {
            return Ok(Evidence::Nothing);
        };
        match account.exotel.send(&GetSms { sid }).await {
            Ok(details) => {
                let report = sms_report(ReportSource::Details, &details);
                self.table.record_sms_report(&row.locator, &report).await?;
                Ok(if report.state.is_some_and(|state| state.is_final()) {
                    Evidence::Found
                } else {
                    Evidence::Nothing
                })
            }
            Err(error) => Ok(unanswered(&row.locator, &error)),
        }
    }

    /// `None` when there is a slot, and its time has come.
    async fn look_up_slot(&self, class: Class) -> Result<Option<Evidence>, TableError> {
        let permission = self
            .limiter
            .slot(class, Reserving::ToLookUp, Patience::Bulk)
            .await?;
        Ok(match permission {
            Permission::Go(_) => None,
            Permission::Later { at } => Some(Evidence::NoSlot { at }),
            // Not for look-ups; if it were, later.
            Permission::Paused => Some(Evidence::NoSlot { at: self.world.now() }),
        })
    }

    /// Whether a listed call has this call's numbers and time.
    fn could_be(
        &self,
        listed: &exotel::calls::Call,
        call: &ExotelCall,
        span: (Timestamp, Timestamp),
    ) -> bool {
        let number = |text: &Option<exotel::PhoneNumber>| {
            let text = text.as_ref()?;
            PhoneNumber::parse(text.as_str(), self.rules.country).ok()
        };
        let created = time(listed.date_created.as_ref());
        // A bot's call has no second leg: Exotel lists none, or the ExoPhone.
        let to = number(&listed.to);
        let is_to = match call.to_bot {
            false => to.as_ref() == Some(&call.lead_phone),
            // The person may have rung the ExoPhone as well.
            true => {
                to.as_ref().is_none_or(|to| *to == call.caller_id)
                    && listed.direction != Some(exotel::Direction::Inbound)
            }
        };
        number(&listed.from).as_ref() == Some(first_leg(call))
            && is_to
            // Usually the ExoPhone's number, not always: only another number speaks against it.
            && number(&listed.phone_number_sid).is_none_or(|number| number == call.caller_id)
            && created.is_some_and(|created| (span.0..=span.1).contains(&created))
    }

    /// Whether the listed call is known to be another row's.
    async fn is_anothers(
        &self,
        listed: &exotel::calls::Call,
        this: &CallLocator,
    ) -> Result<bool, TableError> {
        let Ok(sid) = listed.sid.as_str().parse() else {
            return Ok(true);
        };
        Ok(self
            .table
            .call_by_sid(&sid)
            .await?
            .is_some_and(|other| other != *this))
    }

    /// Whether another click on the same two numbers, whose sid is not known either, could be the listed call.
    async fn has_rivals(&self, row: &Call, call: &ExotelCall) -> Result<bool, TableError> {
        let span = span_of(row.called_at);
        let apart = span.1.duration_since(span.0);
        let before = CallId::lower_bound(row.called_at + apart);
        let mut leads = vec![row.locator.lead_id.clone()];
        let listed = self.table.leads_by_phone(&call.lead_phone).await?;
        let unlisted = call.to_bot.then(|| home_of(None, &call.lead_phone));
        for lead in listed.into_iter().map(|lead| lead.id).chain(unlisted) {
            if !leads.contains(&lead) {
                leads.push(lead);
            }
        }
        for lead in leads {
            let page = self.table.calls(&lead, MOST_RIVALS, Some(&before)).await?;
            let rival = page.items.iter().any(|other| {
                other.locator != row.locator
                    && row.called_at.duration_since(other.called_at) < apart
                    && other.exotel().is_some_and(|other| {
                        // The list may not say which ExoPhone a bot's call showed.
                        (call.to_bot || other.agent_phone == call.agent_phone)
                            && other.to_bot == call.to_bot
                            && other.lead_phone == call.lead_phone
                            && may_have_been_placed(&other.progress)
                    })
            });
            if rival {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Who is dialled first, which Exotel lists as `From`.
fn first_leg(call: &ExotelCall) -> &PhoneNumber {
    if call.to_bot {
        &call.lead_phone
    } else {
        &call.agent_phone
    }
}

/// Whether Exotel may know the call by a sid that we do not.
fn may_have_been_placed(progress: &CallProgress) -> bool {
    progress.sid.is_none()
        && matches!(
            progress.state,
            CallState::InFlight | CallState::Unconfirmed | CallState::Lost
        )
}

/// When Exotel may have created a call that was wanted then: after a wait in the queue, at the latest.
fn span_of(called_at: Timestamp) -> (Timestamp, Timestamp) {
    (
        called_at - BEFORE,
        called_at + retry::CALL_EXPIRES_AFTER + retry::LONGEST_RUN,
    )
}

fn unanswered(locator: &impl std::fmt::Display, error: &exotel::Error) -> Evidence {
    match error {
        exotel::Error::NotFound(_) => Evidence::Nothing,
        error => {
            tracing::warn!(locator = %locator, "looked up in vain: {error}");
            Evidence::Failed
        }
    }
}
