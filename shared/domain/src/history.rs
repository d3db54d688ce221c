//! Call history: which calls somebody asks for, and the files that long answers become.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    call::{CallState, Outcome},
    call_record::{Agent, CallSummary, Direction},
    ids::UserId,
    phone::PhoneNumber,
};

/// Which calls are asked for: those of a span that have everything that is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryFilter {
    /// Placed at this moment or later.
    pub from: Timestamp,
    /// Placed before this moment.
    pub to: Timestamp,
    /// Through this flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    /// In this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<CallState>,
    /// With this outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// In this direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// With this customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<PhoneNumber>,
    /// Handled by this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Agent>,
}

impl HistoryFilter {
    /// Every call of a span.
    pub fn all(from: Timestamp, to: Timestamp) -> Self {
        Self {
            from,
            to,
            flow: None,
            state: None,
            outcome: None,
            direction: None,
            number: None,
            agent: None,
        }
    }

    /// Whether calls are asked for by span and number alone: whatever is read is taken.
    pub fn takes_what_is_read(&self) -> bool {
        let other = self.flow.is_some() || self.state.is_some() || self.outcome.is_some();
        !(other || self.direction.is_some() || self.agent.is_some())
    }

    /// Whether the call is asked for.
    pub fn takes(&self, call: &CallSummary) -> bool {
        fn is<T: PartialEq>(wanted: &Option<T>, has: Option<&T>) -> bool {
            wanted.as_ref().is_none_or(|wanted| has == Some(wanted))
        }
        let customer = call.customer.as_ref().and_then(|customer| customer.phone());
        self.from <= call.at
            && call.at < self.to
            && is(&self.flow, call.flow_id.as_ref())
            && is(&self.state, call.state.as_ref())
            && is(&self.outcome, call.outcome.as_ref())
            && is(&self.direction, call.direction.as_ref())
            && is(&self.number, customer.as_ref())
            && is(&self.agent, call.agent.as_ref())
    }
}

/// How far an export has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportStatus {
    /// Nobody has begun.
    Queued,
    /// Its file is being written.
    Running,
    /// Its file is there.
    Done,
    /// It was given up.
    Failed,
}

/// One part of a file that is being written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportPart {
    /// What S3 called it; parts are numbered from 1 in their order.
    pub etag: String,
    /// Its bytes.
    pub bytes: u64,
}

/// A history that becomes a file: what was asked for, and how far the file has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// Names it; letters and digits.
    pub id: String,
    /// Who asked.
    pub requested_by: UserId,
    /// When.
    pub requested_at: Timestamp,
    /// Which calls.
    pub filter: HistoryFilter,
    /// IANA name of the zone in which the file shows times.
    pub zone: String,
    /// Whether numbers are shown by their last four digits.
    pub masked: bool,
    /// How far it has come.
    pub status: ExportStatus,
    /// The multipart upload, once begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_id: Option<String>,
    /// The place in the history behind the last part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    /// The parts that are written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<ExportPart>,
    /// The calls in them.
    #[serde(default)]
    pub rows: u64,
    /// Until when somebody writes it: nobody else does meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_until: Option<Timestamp>,
    /// When its status became done or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
}

impl Export {
    /// Its file's key in the bucket.
    pub fn object_key(&self) -> String {
        format!("calls/{}.csv", self.id)
    }

    /// Bytes that are written.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

/// How far the figures of a span have been derived anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RebuildPhase {
    /// The table is read for calls and messages whose summaries differ.
    Comparing,
    /// The span's quarters are marked, to be folded anew.
    Marking,
    /// All are marked; what is not folded yet is in the list of dirty quarters.
    Done,
}

/// Figures of a span derived anew from what they stand on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebuild {
    /// Who asked.
    pub requested_by: UserId,
    /// When.
    pub requested_at: Timestamp,
    /// Calls and messages from this moment on.
    pub from: Timestamp,
    /// Up to this moment, exclusive.
    pub to: Timestamp,
    /// How far it has come.
    pub phase: RebuildPhase,
    /// Where the table is read on from, or the next quarter to mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    /// Calls and messages of the span that were compared.
    #[serde(default)]
    pub compared: u64,
    /// Summaries that differed and were written anew, or stood where none belongs and were removed.
    #[serde(default)]
    pub repaired: u64,
    /// Rows that this version cannot read; the log names their keys.
    #[serde(default)]
    pub unreadable: u64,
    /// Quarters that were marked.
    #[serde(default)]
    pub marked: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_calls_that_have_everything_that_is_given() {
        let at: Timestamp = "2026-11-20T08:30:00Z".parse().unwrap();
        let call: CallSummary = serde_json::from_value(serde_json::json!({
            "sid": "abc", "at": at, "direction": "inbound", "customer": "+919811100001",
            "agent": {"number": "+919811100099"}, "flow_id": "7", "state": "busy", "outcome": "not_picked",
        }))
        .unwrap();
        let all = HistoryFilter::all(at, "2026-11-20T08:30:01Z".parse().unwrap());
        assert!(all.takes(&call) && all.takes_what_is_read());
        let with = |change: &dyn Fn(&mut HistoryFilter)| {
            let mut filter = all.clone();
            change(&mut filter);
            filter.takes(&call)
        };
        assert!(with(&|f| f.flow = Some("7".to_owned())) && !with(&|f| f.flow = Some("8".to_owned())));
        assert!(with(&|f| f.state = Some(CallState::Busy)) && !with(&|f| f.state = Some(CallState::Failed)));
        assert!(
            with(&|f| f.outcome = Some(Outcome::NotPicked))
                && !with(&|f| f.outcome = Some(Outcome::Connected))
        );
        assert!(with(&|f| f.direction = Some(Direction::Inbound)));
        assert!(!with(&|f| f.direction = Some(Direction::Outbound)));
        assert!(with(&|f| f.number = Some("+919811100001".parse().unwrap())));
        assert!(!with(&|f| f.number = Some("+919811100002".parse().unwrap())));
        assert!(with(&|f| f.agent = call.agent.clone()));
        assert!(!with(&|f| f.agent = Some(Agent::User("u".parse().unwrap()))));
        assert!(!with(&|f| f.to = at) && !with(&|f| f.from = f.to));
    }
}
