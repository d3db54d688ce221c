//! A call of the account, whoever placed it: everything that Exotel ever said of it, by its CallSid.
//!
//! A click-to-call has a log row of its own ([`crate::call`]), hot while it lasts. The record is for all calls, inbound,
//! flow and dashboard calls among them, and is what figures and the bill are compared by. Same ranks, same merging: the
//! highest-ranked report decides the state, each fact comes from the highest-ranked report that had it.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Ranked,
    call::{CallReport, CallState, LegStatus, Outcome, ReportSource, outcome_of},
    ids::{CallLocator, CallSid, LeadId, UserId},
    phone::{Country, PhoneNumber},
};

/// Further words of one report that are kept under their own names, at most.
const MOST_EXTRAS: usize = 48;
/// Characters of any text that is kept; more is nobody's status, name or id.
const LONGEST_TEXT: usize = 256;
/// A longer URL is nobody's recording.
const LONGEST_URL: usize = 500;

/// Declares the facts once: what a report may say, what a record holds, and how the one goes into the other.
macro_rules! facts {
    ($( $(#[$doc:meta])* $name:ident: $type:ty $(, $personal:ident)?; )*) => {
        /// What one report says; `None` where it says nothing.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct Said {
            $( $(#[$doc])* pub $name: Option<$type>, )*
        }

        /// What is known, each fact with the rank of the report that it came from.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Facts {
            $( $(#[$doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $name: Option<Ranked<$type>>, )*
        }

        impl Facts {
            /// Takes what wins; tells whether anything did. Facts of an erased person are not taken back.
            fn merge(&mut self, said: &Said, rank: u32, erased: bool) -> bool {
                let mut changed = false;
                $(
                    if !(erased && facts!(@personal $($personal)?)) {
                        changed |= Ranked::offer(&mut self.$name, said.$name.as_ref(), rank);
                    }
                )*
                changed
            }

            /// Forgets who took part.
            fn erase(&mut self) {
                $( if facts!(@personal $($personal)?) { self.$name = None; } )*
            }
        }
    };
    (@personal personal) => { true };
    (@personal) => { false };
}

facts! {
    /// When the call was placed.
    created_at: Timestamp;
    /// When Exotel last changed its record.
    updated_at: Timestamp;
    /// When leg 1 was dialled.
    started_at: Timestamp;
    /// When a party answered, as far as an `answered` event tells.
    answered_at: Timestamp;
    /// When it ended.
    ended_at: Timestamp;
    /// Exotel's word for its state, as it came.
    status: String;
    /// Who started it.
    direction: Direction;
    /// First leg: the agent of a click-to-call, the caller of an inbound call, the customer of a call to a flow.
    from: Party, personal;
    /// Second leg, or the number that was called.
    to: Party, personal;
    /// The ExoPhone (`PhoneNumberSid`): usually, but not always, its number.
    exophone: Party;
    /// Whom a Connect applet dialled last (`DialWhomNumber`).
    dialled: Party, personal;
    /// Seconds of the whole call.
    duration_secs: u32;
    /// Seconds that both parties talked. Zero is evidence, none is not.
    talk_secs: u32;
    /// Cost, a decimal number in the account's currency.
    price: String;
    /// Leg 1.
    leg1_status: LegStatus;
    /// Leg 2.
    leg2_status: LegStatus;
    /// Seconds that leg 1 was on the call.
    leg1_secs: u32;
    /// Seconds that leg 2 was on the call.
    leg2_secs: u32;
    /// Who or what picked up, where detection is on.
    answered_by: String;
    /// Where the recording is or will be, an http(s) URL.
    recording_url: String, personal;
    /// The call that this one came from.
    parent_call_sid: String;
    /// The account.
    account_sid: String;
    /// The number that a caller had dialled before being forwarded.
    forwarded_from: Party, personal;
    /// The caller's name, where known.
    caller_name: String, personal;
    /// Path in Exotel's API; of an odd form, not to be followed.
    uri: String;
    /// What the request that placed it gave as `CustomField`.
    custom_field: String, personal;
    /// The App Bazaar flow that it ran through.
    flow_id: String;
    /// How a flow's call went (`CallType`): `call-attempt`, `completed`, `client-hangup`, `incomplete`, `voicemail`.
    call_type: String;
    /// Keys pressed, without the quotes that Exotel puts around them.
    digits: String, personal;
    /// The agent's user id at Exotel, of a contact-centre call.
    agent_user_id: String;
}

/// Who started a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Somebody called an ExoPhone.
    Inbound,
    /// The account called: by API, campaign or dashboard.
    Outbound,
}

impl Direction {
    /// Reads Exotel's words: `inbound` and `incoming`; `outbound`, `outbound-api`, `outbound-dial`.
    pub fn from_exotel(word: &str) -> Option<Self> {
        let word = word.trim().to_ascii_lowercase();
        if word == "inbound" || word == "incoming" {
            Some(Direction::Inbound)
        } else if word.starts_with("outbound") {
            Some(Direction::Outbound)
        } else {
            None
        }
    }

    /// The word in answers: `inbound` or `outbound`.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
        }
    }
}

/// A party of a call as Exotel names it: in E.164 when it is a phone number, else as it came (`sip:…`, a withheld
/// number). `Debug` shows the last 4 characters only.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Party(String);

impl Party {
    /// Reads Exotel's text; `None` when there is none. `country` is the account's: national numbers are its.
    pub fn read(text: &str, country: Country) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() || text.eq_ignore_ascii_case("null") {
            return None;
        }
        Some(match PhoneNumber::parse(text, country) {
            Ok(number) => Self(number.into()),
            Err(_) => Self(text.chars().take(64).collect()),
        })
    }

    /// The number, if it is one.
    pub fn phone(&self) -> Option<PhoneNumber> {
        self.0.parse().ok()
    }

    /// The number in E.164, or what came.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// At most its last four characters: all that logs, and people who may not see numbers, are shown.
    pub fn last4(&self) -> &str {
        let from = self.0.char_indices().rev().nth(3).map_or(0, |(at, _)| at);
        &self.0[from..]
    }
}

impl From<PhoneNumber> for Party {
    fn from(number: PhoneNumber) -> Self {
        Self(number.into())
    }
}

impl fmt::Debug for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "…{}", self.last4())
    }
}

/// One report about a call of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordReport {
    /// Which call.
    pub sid: CallSid,
    /// Who says it. A Passthru counts as a callback.
    pub source: ReportSource,
    /// What state that means; `None` for a status word that we do not know, or none.
    pub state: Option<CallState>,
    /// What it says.
    pub said: Said,
    /// Further values under Exotel's own names.
    pub extra: BTreeMap<String, String>,
}

impl RecordReport {
    /// A report that says nothing yet.
    pub fn new(sid: CallSid, source: ReportSource, state: Option<CallState>) -> Self {
        Self {
            sid,
            source,
            state,
            said: Said::default(),
            extra: BTreeMap::new(),
        }
    }

    /// The report's rank: its state's, or below every state's.
    pub fn rank(&self) -> u32 {
        self.state
            .map_or(self.source as u32, |state| state.rank(self.source))
    }

    /// Cuts what is longer than anything Exotel means, so that no report makes a record too large to be kept.
    pub fn within_bounds(mut self) -> Self {
        let text = |text: &mut Option<String>| {
            if let Some(text) = text
                && let Some((end, _)) = text.char_indices().nth(LONGEST_TEXT)
            {
                text.truncate(end);
            }
        };
        let said = &mut self.said;
        for slot in [
            &mut said.status,
            &mut said.price,
            &mut said.answered_by,
            &mut said.parent_call_sid,
            &mut said.account_sid,
            &mut said.caller_name,
            &mut said.uri,
            &mut said.custom_field,
            &mut said.flow_id,
            &mut said.call_type,
            &mut said.digits,
            &mut said.agent_user_id,
        ] {
            text(slot);
        }
        if said
            .recording_url
            .as_ref()
            .is_some_and(|url| url.len() > LONGEST_URL)
        {
            said.recording_url = None;
        }
        self.extra = std::mem::take(&mut self.extra)
            .into_iter()
            .filter(|(name, value)| name.len() <= 64 && value.chars().count() <= LONGEST_TEXT)
            .take(MOST_EXTRAS)
            .collect();
        self
    }

    /// The same for the call's log row, if it has one.
    pub fn for_row(&self) -> CallReport {
        let mut report = CallReport::new(self.source, self.state);
        report.sid = Some(self.sid.clone());
        report.talk_secs = self.said.talk_secs;
        report.lead_leg = self.said.leg2_status;
        report.recording_url.clone_from(&self.said.recording_url);
        report.answered_at = self.said.answered_at;
        report.ended_at = self.said.ended_at;
        report.price.clone_from(&self.said.price);
        report
    }
}

/// Our own row of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Names the row.
    pub locator: CallLocator,
    /// Who clicked.
    pub called_by: UserId,
}

/// What is known of a call of the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRecord {
    /// Exotel's id of it.
    pub sid: CallSid,
    /// The highest-ranked state that anybody reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<CallState>,
    /// Its rank; 0 while nobody reported a state.
    #[serde(default)]
    pub rank: u32,
    /// The furthest state that a callback told: what we would know without asking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Ranked<CallState>>,
    /// Whether a callback or Passthru told of it at all.
    #[serde(default)]
    pub called_back: bool,
    /// Whether Exotel's list named it.
    #[serde(default)]
    pub listed: bool,
    /// Whether its own details were asked for after its end: what they left out, asking again does not bring.
    #[serde(default)]
    pub detailed: bool,
    /// The facts.
    #[serde(default)]
    pub facts: Facts,
    /// Further values under Exotel's own names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Ranked<String>>,
    /// Our own row of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
    /// The person was erased: who took part is forgotten and not taken back; the call still counts.
    #[serde(default)]
    pub erased: bool,
}

impl CallRecord {
    /// A call of which nothing is known.
    pub fn new(sid: CallSid) -> Self {
        Self {
            sid,
            state: None,
            rank: 0,
            told: None,
            called_back: false,
            listed: false,
            detailed: false,
            facts: Facts::default(),
            extra: BTreeMap::new(),
            link: None,
            erased: false,
        }
    }

    /// Merges a report; tells whether anything changed. Commutative, associative and idempotent over reports of one
    /// call. What a report leaves out never overwrites.
    pub fn merge(&mut self, report: &RecordReport) -> bool {
        let rank = report.rank();
        let mut changed = false;
        if let Some(state) = report.state
            && rank > self.rank
        {
            (self.state, self.rank) = (Some(state), rank);
            changed = true;
        }
        if report.source == ReportSource::Callback {
            changed |= !std::mem::replace(&mut self.called_back, true);
            if let Some(state) = report.state
                && self.told.as_ref().is_none_or(|told| rank > told.rank)
            {
                self.told = Some(Ranked { value: state, rank });
                changed = true;
            }
        }
        if report.source == ReportSource::List {
            changed |= !std::mem::replace(&mut self.listed, true);
        }
        if report.source == ReportSource::Details && report.state.is_some_and(CallState::is_terminal) {
            changed |= !std::mem::replace(&mut self.detailed, true);
        }
        changed |= self.facts.merge(&report.said, rank, self.erased);
        if !self.erased {
            for (name, value) in &report.extra {
                let mut slot = self.extra.remove(name);
                if slot.is_some() || self.extra.len() < MOST_EXTRAS {
                    changed |= Ranked::offer(&mut slot, Some(value), rank);
                }
                if let Some(slot) = slot {
                    self.extra.insert(name.clone(), slot);
                }
            }
        }
        changed
    }

    /// Notes our own row; tells whether that was news. A call has one row for ever.
    pub fn link_to(&mut self, link: &Link) -> bool {
        if self.link.is_some() {
            return false;
        }
        self.link = Some(link.clone());
        true
    }

    /// Forgets who took part: numbers, names, what they pressed, where the recording is; tells whether there was
    /// anything. The call still counts in the figures.
    pub fn erase(&mut self) -> bool {
        if self.erased {
            return false;
        }
        self.erased = true;
        self.facts.erase();
        self.extra.clear();
        self.link = None;
        true
    }

    /// Whether Exotel reported its end.
    pub fn is_over(&self) -> bool {
        self.state.is_some_and(CallState::is_terminal)
    }

    /// Whether the end is known with all that settles minutes after it: end time, duration and price.
    pub fn is_settled(&self) -> bool {
        let facts = &self.facts;
        self.is_over() && facts.price.is_some() && facts.duration_secs.is_some() && facts.ended_at.is_some()
    }

    /// Whether only its details can tell if the parties talked: it is completed, had two parties, and nobody said.
    pub fn lacks_details(&self) -> bool {
        self.state == Some(CallState::Completed)
            && !self.detailed
            && self.facts.talk_secs.is_none()
            && self.facts.leg2_status.is_none()
            && self.direction() == Some(Direction::Outbound)
            && self.has_two_parties()
    }

    /// What became of it; `None` while nobody reported a state. A completed call with one leg (a flow, a bot) is
    /// connected: there were no two parties who could have missed each other.
    pub fn outcome(&self) -> Option<Outcome> {
        let facts = &self.facts;
        let leg = facts.leg2_status.as_ref().map(|leg| leg.value);
        let has_one_leg = facts.leg1_status.is_some() && leg.is_none();
        let talk = facts
            .talk_secs
            .as_ref()
            .filter(|_| !has_one_leg)
            .map(|talk| talk.value);
        self.state.map(|state| outcome_of(state, talk, leg))
    }

    /// Who started it. A call that we placed is outbound, whatever the word.
    pub fn direction(&self) -> Option<Direction> {
        match &self.link {
            Some(_) => Some(Direction::Outbound),
            None => self.facts.direction.as_ref().map(|direction| direction.value),
        }
    }

    /// The customer: the caller of an inbound call, the second leg of an outbound one, and its only leg when it
    /// went to a flow.
    pub fn customer(&self) -> Option<&Party> {
        let from = self.facts.from.as_ref().map(|from| &from.value);
        let to = self.facts.to.as_ref().map(|to| &to.value);
        match (self.direction(), self.has_two_parties()) {
            (Some(Direction::Inbound), _) => from,
            (_, true) => to,
            (_, false) => from,
        }
    }

    /// The agent's number: whom a flow dialled, or the first leg of a call between two.
    pub fn agent_number(&self) -> Option<&Party> {
        let from = self.facts.from.as_ref().map(|from| &from.value);
        let dialled = self.facts.dialled.as_ref().map(|dialled| &dialled.value);
        match (self.direction(), self.has_two_parties()) {
            (Some(Direction::Inbound), _) | (_, false) => dialled,
            (_, true) => from,
        }
    }

    /// Whether an outbound call has a second party beside the ExoPhone.
    fn has_two_parties(&self) -> bool {
        let exophone = self.facts.exophone.as_ref().map(|exophone| &exophone.value);
        let to = self.facts.to.as_ref().map(|to| &to.value);
        to.is_some() && to != exophone
    }

    /// Whether a caller wanted an agent and none talked to them.
    fn is_abandoned(&self) -> bool {
        let wanted = self.facts.dialled.is_some() || self.facts.leg2_status.is_some();
        self.direction() == Some(Direction::Inbound)
            && self.is_over()
            && wanted
            && self.outcome() != Some(Outcome::Connected)
    }

    /// The record as history and figures have it; `None` until it is known when the call was placed.
    pub fn summary(&self) -> Option<CallSummary> {
        let facts = &self.facts;
        let at = facts.created_at.as_ref().or(facts.started_at.as_ref())?.value;
        let agent = match &self.link {
            Some(link) => Some(Agent::User(link.called_by.clone())),
            None => self.agent_number().cloned().map(Agent::Number),
        };
        fn value<T: Clone>(fact: &Option<Ranked<T>>) -> Option<T> {
            fact.as_ref().map(|fact| fact.value.clone())
        }
        Some(CallSummary {
            sid: self.sid.clone(),
            at,
            direction: self.direction(),
            customer: self.customer().cloned(),
            agent,
            exophone: value(&facts.exophone),
            flow_id: value(&facts.flow_id),
            lead_id: self.link.as_ref().map(|link| link.locator.lead_id.clone()),
            state: self.state,
            outcome: self.outcome(),
            duration_secs: value(&facts.duration_secs),
            talk_secs: value(&facts.talk_secs),
            price: value(&facts.price),
            has_recording: facts.recording_url.is_some(),
            abandoned: self.is_abandoned(),
        })
    }
}

/// Who handled a call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agent {
    /// A user of ours, who clicked.
    User(UserId),
    /// Somebody known by number alone.
    Number(Party),
}

/// A call as history lists it and figures count it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallSummary {
    /// Exotel's id of it.
    pub sid: CallSid,
    /// When it was placed.
    pub at: Timestamp,
    /// Who started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// The customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<Party>,
    /// Who handled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Agent>,
    /// The ExoPhone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exophone: Option<Party>,
    /// The App Bazaar flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_id: Option<String>,
    /// The lead that was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead_id: Option<LeadId>,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<CallState>,
    /// What became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Seconds of the whole call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_secs: Option<u32>,
    /// Seconds that both parties talked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub talk_secs: Option<u32>,
    /// Cost, a decimal number in the account's currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
    /// Whether it was recorded.
    #[serde(default)]
    pub has_recording: bool,
    /// A caller wanted an agent and none talked to them.
    #[serde(default)]
    pub abandoned: bool,
}

/// What the list showed of a call that nobody else had told right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gap {
    /// No callback told of it at all.
    OnlyListed,
    /// Callbacks told of it, and not of its end.
    EndUntold,
    /// Callbacks told of another end.
    Contradicted,
}

impl CallRecord {
    /// What callbacks left out or told otherwise, judged when they had time enough to come; `None` when they told
    /// it right, or the list does not know it as ended.
    pub fn gap(&self) -> Option<Gap> {
        if !(self.listed && self.is_over()) {
            return None;
        }
        match (&self.told, self.called_back) {
            (_, false) => Some(Gap::OnlyListed),
            (Some(told), _) if told.value.is_terminal() => {
                (Some(told.value) != self.state).then_some(Gap::Contradicted)
            }
            // A Passthru comes in the middle of a flow; its end nobody calls back.
            _ if self.direction() == Some(Direction::Inbound) => None,
            _ => Some(Gap::EndUntold),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sid() -> CallSid {
        "5f0c196k".parse().unwrap()
    }

    fn report(source: ReportSource, state: Option<CallState>) -> RecordReport {
        RecordReport::new(sid(), source, state)
    }

    fn party(text: &str) -> Option<Party> {
        Party::read(text, Country::IN)
    }

    #[test]
    fn a_party_is_one_number_however_it_is_written_and_anything_else_as_it_came() {
        assert_eq!(party("09811100001"), party("+91 98111 00001"));
        assert_eq!(party("sip:asha@acme").unwrap().as_str(), "sip:asha@acme");
        assert_eq!((party(""), party("null")), (None, None));
        assert_eq!(format!("{:?}", party("09811100001").unwrap()), "…0001");
        assert_eq!(party("ü").unwrap().last4(), "ü");
    }

    #[test]
    fn customer_and_agent_follow_from_direction_and_legs() {
        let record = |direction, from: &str, to: &str, dialled: &str| {
            let mut record = CallRecord::new(sid());
            let mut report = report(ReportSource::List, Some(CallState::Completed));
            report.said = Said {
                direction: Some(direction),
                from: party(from),
                to: party(to),
                dialled: party(dialled),
                exophone: party("08047112345"),
                ..Said::default()
            };
            record.merge(&report);
            record
        };
        let click = record(Direction::Outbound, "09811100001", "09811100002", "");
        assert_eq!(click.customer(), party("+919811100002").as_ref());
        assert_eq!(click.agent_number(), party("+919811100001").as_ref());
        let flow = record(Direction::Outbound, "09811100002", "08047112345", "09811100003");
        assert_eq!(flow.customer(), party("+919811100002").as_ref());
        assert_eq!(flow.agent_number(), party("+919811100003").as_ref());
        let inbound = record(Direction::Inbound, "09811100002", "08047112345", "09811100003");
        assert_eq!(inbound.customer(), party("+919811100002").as_ref());
        assert_eq!(inbound.agent_number(), party("+919811100003").as_ref());
    }

    #[test]
    fn an_erased_record_still_counts_and_takes_nobody_back() {
        let mut said = report(ReportSource::List, Some(CallState::Completed));
        said.said.from = party("09811100002");
        said.said.caller_name = Some("Meera".to_owned());
        said.said.created_at = Some(Timestamp::UNIX_EPOCH);
        said.extra
            .insert("Legs[0][Number]".to_owned(), "09811100002".to_owned());
        let mut record = CallRecord::new(sid());
        record.merge(&said);
        assert!(record.erase() && !record.erase());
        said.said.price = Some("0.5".to_owned());
        assert!(record.merge(&said));
        let json = serde_json::to_string(&record).unwrap();
        assert!(!json.contains("98111") && !json.contains("Meera"), "{json}");
        let summary = record.summary().unwrap();
        assert_eq!((summary.customer, summary.price.as_deref()), (None, Some("0.5")));
        assert_eq!(summary.outcome, Some(Outcome::Connected));
    }

    #[test]
    fn gaps_are_what_callbacks_left_out() {
        let gap = |callback: Option<Option<CallState>>, direction| {
            let mut record = CallRecord::new(sid());
            if let Some(state) = callback {
                record.merge(&report(ReportSource::Callback, state));
            }
            assert_eq!(record.gap(), None, "the list has not told yet");
            let mut listed = report(ReportSource::List, Some(CallState::Busy));
            listed.said.direction = direction;
            record.merge(&listed);
            record.gap()
        };
        let outbound = Some(Direction::Outbound);
        assert_eq!(gap(None, outbound), Some(Gap::OnlyListed));
        assert_eq!(
            gap(Some(Some(CallState::InProgress)), outbound),
            Some(Gap::EndUntold)
        );
        assert_eq!(gap(Some(None), outbound), Some(Gap::EndUntold));
        assert_eq!(
            gap(Some(Some(CallState::InProgress)), Some(Direction::Inbound)),
            None
        );
        assert_eq!(
            gap(Some(Some(CallState::Failed)), outbound),
            Some(Gap::Contradicted)
        );
        assert_eq!(gap(Some(Some(CallState::Busy)), outbound), None);
    }

    #[test]
    fn nothing_that_is_too_long_is_kept() {
        let mut long = report(ReportSource::Callback, None);
        long.said.caller_name = Some("ü".repeat(1_000));
        long.said.recording_url = Some(format!("https://{}", "x".repeat(600)));
        long.extra = (0..100).map(|n| (format!("Key{n:03}"), "v".to_owned())).collect();
        let kept = long.within_bounds();
        assert_eq!(kept.said.caller_name.unwrap().chars().count(), LONGEST_TEXT);
        assert_eq!((kept.said.recording_url, kept.extra.len()), (None, MOST_EXTRAS));
    }

    fn reports() -> impl Strategy<Value = Vec<RecordReport>> {
        let state = prop::sample::select(vec![
            None,
            Some(CallState::Accepted),
            Some(CallState::InProgress),
            Some(CallState::Failed),
            Some(CallState::Busy),
            Some(CallState::Completed),
        ]);
        let source = prop::sample::select(vec![
            ReportSource::Callback,
            ReportSource::Details,
            ReportSource::List,
        ]);
        let one = (
            source,
            state,
            prop::option::of(0u32..3),
            prop::option::of("[ab]"),
            prop::option::of(0i64..3),
            prop::collection::btree_map("[xy]", "[ab]", 0..2),
        )
            .prop_map(|(source, state, talk, word, second, extra)| {
                let mut report = report(source, state);
                report.said = Said {
                    talk_secs: talk,
                    price: word.clone(),
                    from: word.as_deref().and_then(party),
                    created_at: second.map(|second| Timestamp::from_second(second).unwrap()),
                    ..Said::default()
                };
                report.extra = extra;
                report
            });
        prop::collection::vec(one, 1..6)
    }

    proptest! {
        #[test]
        fn the_order_of_reports_never_matters(reports in reports(), seed in any::<u64>()) {
            let play = |reports: &[RecordReport]| {
                let mut record = CallRecord::new(sid());
                for report in reports {
                    record.merge(report);
                }
                record
            };
            let first = play(&reports);
            let mut shuffled = reports.clone();
            let len = shuffled.len();
            for at in (1..len).rev() {
                let with = usize::try_from(seed.rotate_left(at as u32) % (at as u64 + 1)).unwrap();
                shuffled.swap(at, with);
            }
            prop_assert_eq!(&play(&shuffled), &first);
            let mut again = first.clone();
            for report in &reports {
                prop_assert!(!again.merge(report), "a duplicate changes nothing");
            }
        }
    }
}
