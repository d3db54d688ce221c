//! An SMS's log row: the same order of intents and reports as for calls, with Exotel's message statuses.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use crate::call::ReportSource;
use crate::{
    Ranked,
    ids::{SmsLocator, SmsSid, UserId},
    phone::PhoneNumber,
};

/// Where an SMS stands: our intent first, then what Exotel reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SmsState {
    /// Wanted, and not with Exotel.
    Waiting,
    /// Claimed by one function, whose request to Exotel may be on its way.
    InFlight,
    /// The request may have reached Exotel and no answer told: never sent again.
    Unconfirmed,
    /// Waiting inside Exotel.
    Queued,
    /// On the way to the operator.
    Sending,
    /// The operator has it.
    Submitted,
    /// Exotel's success word without a handset receipt; final after 24 h.
    Sent,
    /// No evidence within 24 h; later evidence still repairs it.
    Lost,
    /// Exotel refused it for good.
    Refused,
    /// Waited too long; never sent.
    Expired,
    /// Retries used up on clear refusals.
    GaveUp,
    /// Terminal: not delivered.
    Failed,
    /// Terminal: on the handset.
    Delivered,
}

impl SmsState {
    /// The state that Exotel's `Status` and `DetailedStatusCode` mean, or `None` for a word we do not know.
    ///
    /// `sent` with code 20005 (DELIVERED_TO_HANDSET) and any DELIVERED word but "to operator" is delivered; `sent`
    /// otherwise stays sent.
    pub fn from_exotel(status: &str, detailed_code: Option<u32>, detailed: Option<&str>) -> Option<Self> {
        let word = status.trim().to_ascii_lowercase().replace('_', "-");
        let on_handset = detailed_code == Some(20005)
            || detailed.is_some_and(|d| d.trim().eq_ignore_ascii_case("DELIVERED_TO_HANDSET"));
        Some(match word.as_str() {
            "queued" | "pending-to-operator" => SmsState::Queued,
            "sending" | "sending-to-operator" => SmsState::Sending,
            "submitted" | "pending-on-operator" => SmsState::Submitted,
            "sent" if on_handset => SmsState::Delivered,
            "sent" | "delivered-to-operator" => SmsState::Sent,
            "undelivered" => SmsState::Failed,
            _ if word.starts_with("failed") => SmsState::Failed,
            _ if word.starts_with("delivered") => SmsState::Delivered,
            _ => return None,
        })
    }

    /// The state's place in the one order. Terminal states also depend on who reported them.
    pub fn rank(self, source: ReportSource) -> u32 {
        let terminal = |order: u32| source as u32 * 100 + order;
        match self {
            SmsState::Waiting => 10,
            SmsState::InFlight => 11,
            SmsState::Unconfirmed => 12,
            SmsState::Queued => 20,
            SmsState::Sending => 22,
            SmsState::Submitted => 24,
            SmsState::Sent => 40,
            SmsState::Lost => 50,
            SmsState::Refused => 60,
            SmsState::Expired => 61,
            SmsState::GaveUp => 62,
            SmsState::Failed => terminal(1),
            SmsState::Delivered => terminal(2),
        }
    }

    /// The rank of a state that we set ourselves, or that no source makes higher.
    pub fn own_rank(self) -> u32 {
        self.rank(ReportSource::Callback)
    }

    /// Whether nothing more is expected. `Sent` becomes final by age, see [`FINAL_AFTER_SECS`].
    pub fn is_final(self) -> bool {
        matches!(
            self,
            SmsState::Lost
                | SmsState::Refused
                | SmsState::Expired
                | SmsState::GaveUp
                | SmsState::Failed
                | SmsState::Delivered
        )
    }

    /// The word in items and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            SmsState::Waiting => "waiting",
            SmsState::InFlight => "in-flight",
            SmsState::Unconfirmed => "unconfirmed",
            SmsState::Queued => "queued",
            SmsState::Sending => "sending",
            SmsState::Submitted => "submitted",
            SmsState::Sent => "sent",
            SmsState::Lost => "lost",
            SmsState::Refused => "refused",
            SmsState::Expired => "expired",
            SmsState::GaveUp => "gave-up",
            SmsState::Failed => "failed",
            SmsState::Delivered => "delivered",
        }
    }

    /// The word that the log shows.
    pub fn status(self) -> &'static str {
        match self {
            SmsState::Waiting
            | SmsState::InFlight
            | SmsState::Queued
            | SmsState::Sending
            | SmsState::Submitted => "queued",
            SmsState::Unconfirmed => "unconfirmed",
            SmsState::Sent => "sent",
            SmsState::Delivered => "delivered",
            SmsState::Lost => "lost",
            SmsState::Refused | SmsState::Expired | SmsState::GaveUp | SmsState::Failed => "failed",
        }
    }
}

/// Seconds after which `Sent` is final and an SMS without any evidence is `Lost`.
pub const FINAL_AFTER_SECS: i64 = 24 * 60 * 60;

/// One report about an SMS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmsReport {
    /// Who says it.
    pub source: ReportSource,
    /// What state that means; `None` for a word we do not know.
    pub state: Option<SmsState>,
    /// Exotel's id of the message.
    pub sid: Option<SmsSid>,
    /// Exotel's `DetailedStatus`, numbers masked: of a failure, what the log shows as the error.
    pub detailed_status: Option<String>,
    /// Its `DetailedStatusCode`.
    pub detailed_code: Option<u32>,
    /// When the operator got it.
    pub date_sent: Option<Timestamp>,
    /// Billed parts.
    pub units: Option<u32>,
    /// What it cost.
    pub price: Option<String>,
}

impl SmsReport {
    /// A report that says nothing but a state.
    pub fn new(source: ReportSource, state: Option<SmsState>) -> Self {
        Self {
            source,
            state,
            sid: None,
            detailed_status: None,
            detailed_code: None,
            date_sent: None,
            units: None,
            price: None,
        }
    }

    /// The report's rank: its state's, or below every state's when we do not know its status word.
    pub fn rank(&self) -> u32 {
        self.state
            .map_or(self.source as u32, |state| state.rank(self.source))
    }
}

/// What is known of an SMS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmsProgress {
    /// The highest-ranked state anybody reported.
    pub state: SmsState,
    /// Its rank.
    pub rank: u32,
    /// Exotel's id, once known.
    pub sid: Option<SmsSid>,
    /// Exotel's words for the state; of a failure, why.
    pub detailed_status: Option<Ranked<String>>,
    /// Exotel's code for them.
    pub detailed_code: Option<Ranked<u32>>,
    /// When the operator got it.
    pub date_sent: Option<Ranked<Timestamp>>,
    /// Billed parts.
    pub units: Option<Ranked<u32>>,
    /// What it cost.
    pub price: Option<Ranked<String>>,
}

impl SmsProgress {
    /// An SMS in one of our own states, with no facts yet.
    pub fn new(state: SmsState) -> Self {
        Self {
            state,
            rank: state.own_rank(),
            sid: None,
            detailed_status: None,
            detailed_code: None,
            date_sent: None,
            units: None,
            price: None,
        }
    }

    /// Merges a report; tells whether anything changed. Order never matters.
    pub fn merge(&mut self, report: &SmsReport) -> bool {
        let rank = report.rank();
        let mut changed = false;
        if let Some(state) = report.state
            && rank > self.rank
        {
            (self.state, self.rank) = (state, rank);
            changed = true;
        }
        if self.sid.is_none() && report.sid.is_some() {
            self.sid.clone_from(&report.sid);
            changed = true;
        }
        changed |= Ranked::offer(&mut self.detailed_status, report.detailed_status.as_ref(), rank);
        changed |= Ranked::offer(&mut self.detailed_code, report.detailed_code.as_ref(), rank);
        changed |= Ranked::offer(&mut self.date_sent, report.date_sent.as_ref(), rank);
        changed |= Ranked::offer(&mut self.units, report.units.as_ref(), rank);
        changed |= Ranked::offer(&mut self.price, report.price.as_ref(), rank);
        changed
    }
}

/// An SMS's log row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sms {
    /// Names the row: our id and the lead.
    pub locator: SmsLocator,
    /// Who sent it.
    pub sent_by: UserId,
    /// When it was wanted.
    pub sent_at: Timestamp,
    /// Where it goes.
    pub to_phone: PhoneNumber,
    /// What it says, 1 to 1 000 characters.
    pub body: String,
    /// How many times the request was, or is being, made.
    pub attempt: u32,
    /// Why it was refused, expired or given up, for people; numbers masked.
    pub reason: Option<String>,
    /// Where it stands.
    pub progress: SmsProgress,
}

impl Sms {
    /// Why the message failed, when it did: Exotel's words for a failed delivery, ours for one that was never sent. The
    /// reason of an earlier, refused attempt says nothing about a later one.
    pub fn error_message(&self) -> Option<&str> {
        match self.progress.state {
            SmsState::Failed => self
                .progress
                .detailed_status
                .as_ref()
                .map(|status| status.value.as_str()),
            SmsState::Refused | SmsState::Expired | SmsState::GaveUp => self.reason.as_deref(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn exotels_words_mean_what_its_table_says() {
        for (status, code, state) in [
            ("queued", Some(21010), SmsState::Queued),
            ("sending", Some(21015), SmsState::Sending),
            ("submitted", Some(21020), SmsState::Submitted),
            ("sent", Some(20005), SmsState::Delivered),
            ("sent", Some(20006), SmsState::Sent),
            ("sent", None, SmsState::Sent),
            ("Delivered", None, SmsState::Delivered),
            ("DELIVERED_TO_HANDSET", None, SmsState::Delivered),
            ("DELIVERED_TO_OPERATOR", None, SmsState::Sent),
            ("undelivered", None, SmsState::Failed),
            ("failed-dnd", Some(23005), SmsState::Failed),
            ("failed_dnd", None, SmsState::Failed),
            ("FAILED_EXPIRED", None, SmsState::Failed),
        ] {
            assert_eq!(SmsState::from_exotel(status, code, None), Some(state), "{status}");
        }
        assert_eq!(SmsState::from_exotel("new-word", None, None), None);
    }

    #[test]
    fn a_failed_delivery_does_not_show_why_an_earlier_attempt_was_refused() {
        let mut sms = Sms {
            locator: "sms_01j00000000000000000000000.lead-1".parse().unwrap(),
            sent_by: "u1".parse().unwrap(),
            sent_at: Timestamp::UNIX_EPOCH,
            to_phone: "+919811100001".parse().unwrap(),
            body: "Hello".to_owned(),
            attempt: 2,
            reason: Some("Exotel asked to try again later".to_owned()),
            progress: SmsProgress::new(SmsState::InFlight),
        };
        sms.progress
            .merge(&SmsReport::new(ReportSource::Callback, Some(SmsState::Failed)));
        assert_eq!(sms.error_message(), None);
        sms.progress = SmsProgress::new(SmsState::GaveUp);
        assert_eq!(sms.error_message(), Some("Exotel asked to try again later"));
    }

    proptest! {
        #[test]
        fn order_of_reports_never_matters(picks in prop::collection::vec((0usize..8, 1u8..3, prop::option::of("[ab]")), 2..6), swap in any::<prop::sample::Index>()) {
            let states = [SmsState::Queued, SmsState::Sending, SmsState::Submitted, SmsState::Sent, SmsState::Failed, SmsState::Delivered, SmsState::Lost, SmsState::Unconfirmed];
            let reports: Vec<_> = picks.iter().map(|(state, source, text)| SmsReport {
                detailed_status: text.clone(),
                ..SmsReport::new(if *source == 1 { ReportSource::Callback } else { ReportSource::Details }, Some(states[*state]))
            }).collect();
            let play = |reports: &[SmsReport]| {
                let mut progress = SmsProgress::new(SmsState::InFlight);
                for report in reports { progress.merge(report); }
                progress
            };
            let mut turned = reports.clone();
            let at = swap.index(turned.len());
            turned.rotate_left(at);
            prop_assert_eq!(play(&reports), play(&turned));
            turned.reverse();
            prop_assert_eq!(play(&reports), play(&turned));
        }
    }
}
