//! A call's log row: what it may be, how reports change it, and the outcome that follows.
//!
//! Our own intents (waiting for a slot, in flight to Exotel, …) and Exotel's statuses stand in one total order, the
//! rank. A row's state is the highest-ranked thing anybody said of it; each fact (talk time, recording, …) comes
//! from the highest-ranked report that had it. The outcome is derived from both, never stored.

use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    DomainError, Ranked,
    call_record::Party,
    ids::{CallLocator, CallSid, UserId},
    phone::PhoneNumber,
};

/// Who says what a call's state is. Later ones are believed over earlier ones among terminal reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReportSource {
    /// A status callback.
    Callback = 1,
    /// The call's or message's own details, asked for by sid.
    Details = 2,
    /// The settled bulk list, which agrees with the bill.
    List = 3,
}

/// Where a call stands: our intent first, then what Exotel reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallState {
    /// Wanted, and not with Exotel: no slot was free, or a clear refusal is to be retried.
    Waiting,
    /// Claimed by one function, whose request to Exotel may be on its way (the architecture's SENT).
    InFlight,
    /// The request may have reached Exotel and no answer told (UNKNOWN): never sent again.
    Unconfirmed,
    /// Exotel accepted it and gave a sid.
    Accepted,
    /// Exotel reports that the first leg rings.
    Ringing,
    /// The agent answered; the lead's phone rings.
    InProgress,
    /// Both answered.
    Talking,
    /// No evidence within the longest possible call; later evidence still repairs it.
    Lost,
    /// Exotel refused it for good; nobody was rung.
    Refused,
    /// Waited longer than anybody wants a forgotten click to ring; never sent.
    Expired,
    /// Retries used up on clear refusals; nobody was rung.
    GaveUp,
    /// Terminal: failed.
    Failed,
    /// Terminal: canceled.
    Canceled,
    /// Terminal: busy.
    Busy,
    /// Terminal: no answer.
    NoAnswer,
    /// Terminal: the first leg answered and the call ended normally. Whether the parties talked is another fact.
    Completed,
}

impl CallState {
    /// Every state.
    pub const ALL: [CallState; 16] = [
        CallState::Waiting,
        CallState::InFlight,
        CallState::Unconfirmed,
        CallState::Accepted,
        CallState::Ringing,
        CallState::InProgress,
        CallState::Talking,
        CallState::Lost,
        CallState::Refused,
        CallState::Expired,
        CallState::GaveUp,
        CallState::Failed,
        CallState::Canceled,
        CallState::Busy,
        CallState::NoAnswer,
        CallState::Completed,
    ];

    /// The word in items and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            CallState::Waiting => "waiting",
            CallState::InFlight => "in-flight",
            CallState::Unconfirmed => "unconfirmed",
            CallState::Accepted => "accepted",
            CallState::Ringing => "ringing",
            CallState::InProgress => "in-progress",
            CallState::Talking => "talking",
            CallState::Lost => "lost",
            CallState::Refused => "refused",
            CallState::Expired => "expired",
            CallState::GaveUp => "gave-up",
            CallState::Failed => "failed",
            CallState::Canceled => "canceled",
            CallState::Busy => "busy",
            CallState::NoAnswer => "no-answer",
            CallState::Completed => "completed",
        }
    }

    /// The state that Exotel's `Status` word means, or `None` for a word we do not know. `lead_leg` tells an
    /// answered first leg from a conversation.
    pub fn from_exotel(status: &str, lead_leg: Option<LegStatus>) -> Option<Self> {
        Some(match status.trim().to_ascii_lowercase().as_str() {
            "queued" => CallState::Accepted,
            "ringing" => CallState::Ringing,
            "in-progress" if lead_leg == Some(LegStatus::InProgress) => CallState::Talking,
            "in-progress" => CallState::InProgress,
            "completed" => CallState::Completed,
            "failed" => CallState::Failed,
            "busy" => CallState::Busy,
            "no-answer" => CallState::NoAnswer,
            "canceled" | "cancelled" => CallState::Canceled,
            _ => return None,
        })
    }

    /// The state's place in the one order. Terminal states also depend on who reported them.
    pub fn rank(self, source: ReportSource) -> u32 {
        let terminal = |order: u32| source as u32 * 100 + order;
        match self {
            CallState::Waiting => 10,
            CallState::InFlight => 11,
            CallState::Unconfirmed => 12,
            CallState::Accepted => 20,
            CallState::Ringing => 30,
            CallState::InProgress => 40,
            CallState::Talking => 45,
            CallState::Lost => 50,
            CallState::Refused => 60,
            CallState::Expired => 61,
            CallState::GaveUp => 62,
            CallState::Failed => terminal(1),
            CallState::Canceled => terminal(2),
            CallState::Busy => terminal(3),
            CallState::NoAnswer => terminal(4),
            CallState::Completed => terminal(5),
        }
    }

    /// The rank of a state that we set ourselves, or that no source makes higher.
    pub fn own_rank(self) -> u32 {
        self.rank(ReportSource::Callback)
    }

    /// Whether Exotel reported the end of the call.
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            CallState::Failed
                | CallState::Canceled
                | CallState::Busy
                | CallState::NoAnswer
                | CallState::Completed
        )
    }

    /// Whether nothing more is expected. `Lost` is final and can still be repaired by later evidence.
    pub fn is_final(self) -> bool {
        self.is_terminal()
            || matches!(
                self,
                CallState::Lost | CallState::Refused | CallState::Expired | CallState::GaveUp
            )
    }
}

/// Status of one leg of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LegStatus {
    /// The report lists the leg without a status: it was never dialled.
    NotAttempted,
    /// The leg is up.
    InProgress,
    /// The leg failed.
    Failed,
    /// The leg was canceled.
    Canceled,
    /// The leg was busy.
    Busy,
    /// Nobody answered the leg.
    NoAnswer,
    /// The leg was up and ended normally.
    Completed,
}

impl LegStatus {
    /// Reads Exotel's word; empty, `null` or missing words of a listed leg mean "not attempted", unknown ones `None`.
    pub fn from_exotel(word: &str) -> Option<Self> {
        Some(match word.trim().to_ascii_lowercase().as_str() {
            "" | "null" => LegStatus::NotAttempted,
            "in-progress" => LegStatus::InProgress,
            "failed" => LegStatus::Failed,
            "canceled" | "cancelled" => LegStatus::Canceled,
            "busy" => LegStatus::Busy,
            "no-answer" => LegStatus::NoAnswer,
            "completed" => LegStatus::Completed,
            _ => return None,
        })
    }
}

/// One report about a call: from a callback, from call details or from the settled list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallReport {
    /// Who says it.
    pub source: ReportSource,
    /// What state that means; `None` for a status word we do not know: the facts still count.
    pub state: Option<CallState>,
    /// Exotel's id of the call.
    pub sid: Option<CallSid>,
    /// Seconds the parties talked. Only the end of a call tells: callers leave it `None` in other reports, which
    /// say 0 because nobody has talked yet.
    pub talk_secs: Option<u32>,
    /// The lead's (second) leg.
    pub lead_leg: Option<LegStatus>,
    /// Where the recording will be, an http(s) URL.
    pub recording_url: Option<String>,
    /// When the party answered, as far as an `answered` event tells.
    pub answered_at: Option<Timestamp>,
    /// When the call ended.
    pub ended_at: Option<Timestamp>,
    /// What the call cost, a decimal number in the account's currency.
    pub price: Option<String>,
}

impl CallReport {
    /// A report that says nothing yet.
    pub fn new(source: ReportSource, state: Option<CallState>) -> Self {
        Self {
            source,
            state,
            sid: None,
            talk_secs: None,
            lead_leg: None,
            recording_url: None,
            answered_at: None,
            ended_at: None,
            price: None,
        }
    }

    /// The report's rank: its state's, or below every state's when we do not know its status word.
    pub fn rank(&self) -> u32 {
        self.state
            .map_or(self.source as u32, |state| state.rank(self.source))
    }
}

/// What is known of a call placed through Exotel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallProgress {
    /// The highest-ranked state anybody reported.
    pub state: CallState,
    /// Its rank.
    pub rank: u32,
    /// Exotel's id, once known.
    pub sid: Option<CallSid>,
    /// Seconds the parties talked.
    pub talk_secs: Option<Ranked<u32>>,
    /// The lead's leg.
    pub lead_leg: Option<Ranked<LegStatus>>,
    /// Where Exotel keeps the recording.
    pub recording_url: Option<Ranked<String>>,
    /// When the party answered.
    pub answered_at: Option<Ranked<Timestamp>>,
    /// When the call ended.
    pub ended_at: Option<Ranked<Timestamp>>,
    /// What it cost.
    pub price: Option<Ranked<String>>,
}

impl CallProgress {
    /// A call in one of our own states, with no facts yet.
    pub fn new(state: CallState) -> Self {
        Self {
            state,
            rank: state.own_rank(),
            sid: None,
            talk_secs: None,
            lead_leg: None,
            recording_url: None,
            answered_at: None,
            ended_at: None,
            price: None,
        }
    }

    /// Merges a report; tells whether anything changed. Commutative, associative and idempotent over reports of one
    /// call (whose sids agree).
    pub fn merge(&mut self, report: &CallReport) -> bool {
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
        changed |= Ranked::offer(&mut self.talk_secs, report.talk_secs.as_ref(), rank);
        changed |= Ranked::offer(&mut self.lead_leg, report.lead_leg.as_ref(), rank);
        changed |= Ranked::offer(&mut self.recording_url, report.recording_url.as_ref(), rank);
        changed |= Ranked::offer(&mut self.answered_at, report.answered_at.as_ref(), rank);
        changed |= Ranked::offer(&mut self.ended_at, report.ended_at.as_ref(), rank);
        changed |= Ranked::offer(&mut self.price, report.price.as_ref(), rank);
        changed
    }

    /// What the log shows.
    pub fn outcome(&self) -> Outcome {
        let talk = self.talk_secs.as_ref().map(|talk| talk.value);
        let leg = self.lead_leg.as_ref().map(|leg| leg.value);
        outcome_of(self.state, talk, leg)
    }
}

/// What became of a call in this state. `completed` means that the first leg answered; whether both talked: seconds of
/// conversation decide; else the second leg; absent evidence is not zero.
pub(crate) fn outcome_of(state: CallState, talk_secs: Option<u32>, second_leg: Option<LegStatus>) -> Outcome {
    let talked = match (talk_secs, second_leg) {
        (Some(talk), _) => talk > 0,
        (None, Some(leg)) => leg == LegStatus::Completed,
        (None, None) => true,
    };
    match state {
        CallState::Waiting => Outcome::ExotelQueued,
        CallState::Unconfirmed => Outcome::Unconfirmed,
        CallState::InFlight
        | CallState::Accepted
        | CallState::Ringing
        | CallState::InProgress
        | CallState::Talking => Outcome::ExotelDispatched,
        CallState::Lost => Outcome::Lost,
        CallState::Refused | CallState::Expired | CallState::GaveUp => Outcome::Disconnected,
        CallState::Failed | CallState::Canceled => Outcome::Disconnected,
        CallState::Busy | CallState::NoAnswer => Outcome::NotPicked,
        CallState::Completed if talked => Outcome::Connected,
        CallState::Completed => Outcome::NotPicked,
    }
}

/// What became of a call, as the log shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Logged by hand: the lead picked up.
    Picked,
    /// Nobody answered, or busy.
    NotPicked,
    /// The parties talked.
    Connected,
    /// Failed, canceled, refused, expired or given up.
    Disconnected,
    /// Logged by hand.
    WrongNumber,
    /// Logged by hand.
    Invalid,
    /// Logged by hand.
    SwitchedOff,
    /// Logged by hand.
    OutOfService,
    /// Logged by hand.
    CallbackRequested,
    /// The AI caller started.
    AaryaDispatched,
    /// The AI caller finished.
    AaryaCompleted,
    /// The AI caller failed.
    AaryaFailed,
    /// Waiting for a slot, or for a retry after a clear refusal.
    ExotelQueued,
    /// With Exotel; the webhook will tell.
    ExotelDispatched,
    /// May have reached Exotel; never sent again; evidence will tell.
    Unconfirmed,
    /// No evidence came in time.
    Lost,
}

impl Outcome {
    /// The outcomes that a person may log by hand.
    pub const MANUAL: [Outcome; 7] = [
        Outcome::Picked,
        Outcome::NotPicked,
        Outcome::WrongNumber,
        Outcome::Invalid,
        Outcome::SwitchedOff,
        Outcome::OutOfService,
        Outcome::CallbackRequested,
    ];

    /// The outcomes of the AI caller's rows.
    pub const AARYA: [Outcome; 3] = [
        Outcome::AaryaDispatched,
        Outcome::AaryaCompleted,
        Outcome::AaryaFailed,
    ];
}

impl FromStr for Outcome {
    type Err = DomainError;

    /// Takes the words that may be logged from outside: the seven manual ones and the AI caller's three.
    fn from_str(text: &str) -> Result<Self, DomainError> {
        Ok(match text {
            "picked" => Outcome::Picked,
            "not_picked" => Outcome::NotPicked,
            "wrong_number" => Outcome::WrongNumber,
            "invalid" => Outcome::Invalid,
            "switched_off" => Outcome::SwitchedOff,
            "out_of_service" => Outcome::OutOfService,
            "callback_requested" => Outcome::CallbackRequested,
            "aarya_dispatched" => Outcome::AaryaDispatched,
            "aarya_completed" => Outcome::AaryaCompleted,
            "aarya_failed" => Outcome::AaryaFailed,
            _ => {
                return Err(DomainError::Word {
                    kind: "outcome",
                    expected: "picked, not_picked, wrong_number, invalid, switched_off, out_of_service, \
                               callback_requested",
                });
            }
        })
    }
}

/// Who made a call's log row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallSource {
    /// Logged by hand.
    Manual,
    /// The AI caller.
    Aarya,
    /// Click-to-call.
    Exotel,
    /// The lead called an ExoPhone.
    Inbound,
}

/// A call's log row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Names the row: our id and the lead.
    pub locator: CallLocator,
    /// Who called, or logged the call; `None` when the lead called.
    pub called_by: Option<UserId>,
    /// When it was wanted, or logged.
    pub called_at: Timestamp,
    /// What the caller wrote about it, up to 2 000 characters.
    pub notes: Option<String>,
    /// How the call came about.
    pub origin: CallOrigin,
}

/// How a call came about, and what that kind of row knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallOrigin {
    /// Logged from outside; no webhook ever touches it.
    Logged {
        /// [`CallSource::Manual`] or [`CallSource::Aarya`].
        source: CallSource,
        /// As logged.
        outcome: Outcome,
        /// Seconds, when given.
        duration_secs: Option<u32>,
    },
    /// Placed through Exotel.
    Exotel(Box<ExotelCall>),
    /// The lead called; copied from the call's record, which alone takes reports.
    Inbound(Box<InboundCall>),
}

/// A call from a lead, as its record has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundCall {
    /// Exotel's id of it.
    pub sid: CallSid,
    /// The lead's number.
    pub caller: PhoneNumber,
    /// The agent who was dialled last, if one was.
    pub agent: Option<Party>,
    /// What became of it.
    pub outcome: Outcome,
    /// Whether Exotel reported its end.
    pub is_over: bool,
    /// Seconds of conversation, when known.
    pub talk_secs: Option<u32>,
    /// Where Exotel keeps the recording.
    pub recording_url: Option<String>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// A call placed through Exotel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExotelCall {
    /// Rung first; in a call to a bot, the ExoPhone that it is placed from.
    pub agent_phone: PhoneNumber,
    /// Rung when the agent has answered; in a call to a bot, at once.
    pub lead_phone: PhoneNumber,
    /// The ExoPhone that both see.
    pub caller_id: PhoneNumber,
    /// Whether a bot talks with the lead, and no agent is rung.
    pub to_bot: bool,
    /// How many times the request was, or is being, made; 0 while it only waits.
    pub attempt: u32,
    /// Why it was refused, expired or given up, for people; numbers masked.
    pub reason: Option<String>,
    /// Where it stands.
    pub progress: CallProgress,
}

impl Call {
    /// What the log shows.
    pub fn outcome(&self) -> Outcome {
        match &self.origin {
            CallOrigin::Logged { outcome, .. } => *outcome,
            // There is no second leg: the bot is there when the person answers.
            CallOrigin::Exotel(call) if call.to_bot => outcome_of(call.progress.state, None, None),
            CallOrigin::Exotel(call) => call.progress.outcome(),
            CallOrigin::Inbound(call) => call.outcome,
        }
    }

    /// Who made the row.
    pub fn source(&self) -> CallSource {
        match &self.origin {
            CallOrigin::Logged { source, .. } => *source,
            CallOrigin::Exotel(_) => CallSource::Exotel,
            CallOrigin::Inbound(_) => CallSource::Inbound,
        }
    }

    /// Seconds of conversation, when known.
    pub fn duration_secs(&self) -> Option<u32> {
        match &self.origin {
            CallOrigin::Logged { duration_secs, .. } => *duration_secs,
            CallOrigin::Exotel(call) => call.progress.talk_secs.as_ref().map(|talk| talk.value),
            CallOrigin::Inbound(call) => call.talk_secs,
        }
    }

    /// What a click-to-call knows.
    pub fn exotel(&self) -> Option<&ExotelCall> {
        match &self.origin {
            CallOrigin::Exotel(call) => Some(call),
            CallOrigin::Logged { .. } | CallOrigin::Inbound(_) => None,
        }
    }

    /// Exotel's id of it, once known.
    pub fn sid(&self) -> Option<&CallSid> {
        match &self.origin {
            CallOrigin::Exotel(call) => call.progress.sid.as_ref(),
            CallOrigin::Inbound(call) => Some(&call.sid),
            CallOrigin::Logged { .. } => None,
        }
    }

    /// Where Exotel keeps its recording, once that was reported.
    pub fn recording_url(&self) -> Option<&str> {
        match &self.origin {
            CallOrigin::Exotel(call) => call.progress.recording_url.as_ref().map(|url| url.value.as_str()),
            CallOrigin::Inbound(call) => call.recording_url.as_deref(),
            CallOrigin::Logged { .. } => None,
        }
    }

    /// Whether nothing about its state is expected any more.
    pub fn is_final(&self) -> bool {
        match &self.origin {
            CallOrigin::Exotel(call) => call.progress.state.is_final(),
            CallOrigin::Inbound(call) => call.is_over,
            CallOrigin::Logged { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terminal(status: &str, talk_secs: Option<u32>, lead_leg: Option<LegStatus>) -> Outcome {
        let mut progress = CallProgress::new(CallState::Accepted);
        let mut report = CallReport::new(ReportSource::Callback, CallState::from_exotel(status, None));
        (report.talk_secs, report.lead_leg) = (talk_secs, lead_leg);
        progress.merge(&report);
        progress.outcome()
    }

    #[test]
    fn completed_is_connected_only_when_the_parties_may_have_talked() {
        assert_eq!(
            terminal("completed", Some(41), Some(LegStatus::Completed)),
            Outcome::Connected
        );
        assert_eq!(terminal("completed", None, None), Outcome::Connected);
        assert_eq!(terminal("completed", Some(0), None), Outcome::NotPicked);
        assert_eq!(
            terminal("completed", None, Some(LegStatus::NoAnswer)),
            Outcome::NotPicked
        );
        assert_eq!(
            terminal("completed", None, Some(LegStatus::NotAttempted)),
            Outcome::NotPicked
        );
        assert_eq!(
            terminal("completed", None, Some(LegStatus::Completed)),
            Outcome::Connected
        );
    }

    #[test]
    fn the_other_terminal_words_map_as_the_sources_say() {
        for (status, outcome) in [
            ("no-answer", Outcome::NotPicked),
            ("busy", Outcome::NotPicked),
            ("failed", Outcome::Disconnected),
            ("canceled", Outcome::Disconnected),
            ("cancelled", Outcome::Disconnected),
        ] {
            assert_eq!(terminal(status, None, None), outcome, "{status}");
        }
        assert_eq!(terminal("a-new-word", None, None), Outcome::ExotelDispatched);
    }

    #[test]
    fn a_lost_call_is_repaired_by_later_evidence() {
        let mut progress = CallProgress::new(CallState::Lost);
        assert!(progress.merge(&CallReport::new(ReportSource::List, Some(CallState::Busy))));
        assert_eq!(progress.outcome(), Outcome::NotPicked);
    }

    #[test]
    fn the_settled_list_is_believed_over_a_callback_whatever_the_status() {
        let mut progress = CallProgress::new(CallState::Accepted);
        progress.merge(&CallReport::new(ReportSource::List, Some(CallState::Failed)));
        assert!(!progress.merge(&CallReport::new(
            ReportSource::Callback,
            Some(CallState::Completed)
        )));
        assert_eq!(progress.state, CallState::Failed);
    }

    fn reports() -> impl Strategy<Value = Vec<CallReport>> {
        let state = prop::sample::select(vec![
            None,
            Some(CallState::Accepted),
            Some(CallState::Ringing),
            Some(CallState::InProgress),
            Some(CallState::Talking),
            Some(CallState::Failed),
            Some(CallState::Canceled),
            Some(CallState::Busy),
            Some(CallState::NoAnswer),
            Some(CallState::Completed),
        ]);
        let source = prop::sample::select(vec![
            ReportSource::Callback,
            ReportSource::Details,
            ReportSource::List,
        ]);
        let leg = prop::sample::select(vec![
            LegStatus::NotAttempted,
            LegStatus::Busy,
            LegStatus::Completed,
        ]);
        let report = (
            source,
            state,
            prop::option::of(0u32..3),
            prop::option::of(leg),
            prop::option::of("[ab]"),
            prop::option::of(0i64..3),
            prop::bool::ANY,
        )
            .prop_map(|(source, state, talk, leg, url, second, with_sid)| CallReport {
                sid: with_sid.then(|| "abc".parse().unwrap()),
                talk_secs: talk,
                lead_leg: leg,
                recording_url: url.clone(),
                answered_at: second.map(|s| Timestamp::from_second(s).unwrap()),
                ended_at: second.map(|s| Timestamp::from_second(s + 9).unwrap()),
                price: url,
                ..CallReport::new(source, state)
            });
        prop::collection::vec(report, 1..6)
    }

    fn permutations(n: usize) -> Vec<Vec<usize>> {
        if n == 0 {
            return vec![vec![]];
        }
        permutations(n - 1)
            .into_iter()
            .flat_map(|p| {
                (0..n).map(move |at| {
                    let mut q = p.clone();
                    q.insert(at, n - 1);
                    q
                })
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn every_order_of_a_calls_reports_ends_the_same(reports in reports()) {
            let orders = permutations(reports.len());
            let play = |order: &[usize]| {
                let mut progress = CallProgress::new(CallState::InFlight);
                for &i in order {
                    progress.merge(&reports[i]);
                }
                progress
            };
            let first = play(&orders[0]);
            for order in &orders {
                prop_assert_eq!(&play(order), &first);
            }
            let mut again = first.clone();
            for report in &reports {
                prop_assert!(!again.merge(report), "a duplicate changes nothing");
            }
        }

        /// The store's first try writes a report that outranks the row without reading it: every fact it carries
        /// replaces what stands there. That must be what merging does.
        #[test]
        fn a_report_that_outranks_the_row_overrides_each_fact_it_carries(reports in reports(), last in reports()) {
            let mut progress = CallProgress::new(CallState::InFlight);
            for report in &reports {
                progress.merge(report);
            }
            let report = &last[0];
            if report.state.is_some() && report.rank() > progress.rank {
                progress.merge(report);
                prop_assert_eq!(progress.rank, report.rank());
                if let Some(talk) = report.talk_secs {
                    prop_assert_eq!(progress.talk_secs, Some(Ranked { value: talk, rank: report.rank() }));
                }
                if let Some(url) = &report.recording_url {
                    prop_assert_eq!(progress.recording_url, Some(Ranked { value: url.clone(), rank: report.rank() }));
                }
            }
        }
    }
}
