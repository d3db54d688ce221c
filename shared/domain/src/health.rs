//! Whether the account's ExoPhones can call and be called: what Exotel says of each, pushed and asked for, as one
//! state.
//!
//! Two sources speak: the HeartBeat that Exotel pushes for the whole account, and our own question about one ExoPhone
//! after the other. [`Health`] merges what they say. **The newest statement wins**, and a statement is as old as the
//! moment at which Exotel made it: a push's `timestamp`, an answer's arrival. Exotel's `last_check_time` is kept beside
//! it and decides nothing: it may be missing or stand still, and a status must not hang on it.
//!
//! A time from the future counts as now, so that a clock that runs ahead cannot silence everybody else; and what has just
//! come is no more than two minutes old, so that one that runs behind is heard. Exotel writes whole seconds, so a push counts
//! as made at its second's end: a poll earlier in that second is not newer.
//!
//! Who cannot tell silences nobody who can: an outage is heard even behind a newer statement that says nothing, as long
//! as nobody has said since that calls go through.

mod alerts;
mod caller_id;
mod checks;
mod push;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::{
    alerts::{Due, Subject},
    caller_id::Choice,
    checks::{CheckedExoPhone, HealthCheck, MOST_CHECKED},
    push::{AccountStatus, Listed, Push},
};
use crate::ids::ExoPhoneSid;

/// ExoPhones that the state holds. Further ones that only a push names are left out: they are nobody's account.
pub const MOST_EXOPHONES: usize = 10_000;
/// A status that nobody repeated for so long is unknown, when nobody polls.
const STALE_WITHOUT_POLL: SignedDuration = SignedDuration::from_hours(1);
/// The least that makes a status unknown while somebody polls.
const STALE_AT_LEAST: SignedDuration = SignedDuration::from_mins(5);
/// A push that calls itself older when it comes was made by a clock that runs behind, and is as new as any.
const LONGEST_DELIVERY: SignedDuration = SignedDuration::from_mins(2);
/// What a time in whole seconds leaves out.
const REST_OF_A_SECOND: SignedDuration = SignedDuration::from_millis(999);
/// A push is expected again after at most this, whatever the dashboard says.
const LONGEST_PUSH_INTERVAL: SignedDuration = SignedDuration::from_hours(3);
/// Exotel's words have under 30 characters.
const LONGEST_WORD: usize = 40;
/// More proposals than this are no proposal.
const MOST_ALTERNATES: usize = 5;
/// Names that people give to ExoPhones; the rest of a longer one says nothing.
const LONGEST_NAME: usize = 40;

/// How one side of an ExoPhone does. As text: `ok`, `affected:major_outage`, `unknown`, `unknown:<word>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum Status {
    /// Nobody can tell: no answer, or one with a word that we do not know, which is kept.
    Unknown(Option<String>),
    /// Calls go through.
    Ok,
    /// Calls do not go through, or not all of them; Exotel's word.
    Affected(String),
}

impl Status {
    /// The status that a word of Exotel's means. A word that Exotel does not document is unknown, not ok.
    pub fn from_exotel(word: Option<&str>) -> Self {
        let Some(word) = word.map(str::trim).filter(|word| !word.is_empty()) else {
            return Status::Unknown(None);
        };
        match word.to_ascii_lowercase().as_str() {
            "active" | "ok" => Status::Ok,
            outage @ ("major_outage" | "partial_network_outage") => Status::Affected(outage.to_owned()),
            "null" => Status::Unknown(None),
            other => Status::Unknown(Some(short(other, LONGEST_WORD))),
        }
    }

    /// `ok`, `affected` or `unknown`.
    pub fn kind(&self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Affected(_) => "affected",
            Status::Unknown(_) => "unknown",
        }
    }

    /// Exotel's word, when it says more than the kind.
    pub fn word(&self) -> Option<&str> {
        match self {
            Status::Ok => None,
            Status::Affected(word) => Some(word),
            Status::Unknown(word) => word.as_deref(),
        }
    }

    /// Whether calls are known not to go through.
    pub fn is_affected(&self) -> bool {
        matches!(self, Status::Affected(_))
    }

    /// Whether nobody can tell.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Status::Unknown(_))
    }

    /// Whether calls are known to go through.
    pub fn is_ok(&self) -> bool {
        *self == Status::Ok
    }
}

impl From<Status> for String {
    fn from(status: Status) -> String {
        match status.word() {
            Some(word) => format!("{}:{word}", status.kind()),
            None => status.kind().to_owned(),
        }
    }
}

impl From<String> for Status {
    fn from(text: String) -> Self {
        match text.split_once(':') {
            Some(("affected", word)) => Status::Affected(word.to_owned()),
            Some(("unknown", word)) => Status::Unknown(Some(word.to_owned())),
            _ if text == "ok" => Status::Ok,
            _ if text == "affected" => Status::Affected(String::new()),
            _ => Status::Unknown(None),
        }
    }
}

/// Who said something about an ExoPhone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Exotel, unasked: the HeartBeat webhook.
    Push,
    /// Exotel, when asked about this ExoPhone.
    Poll,
}

impl Source {
    /// `push` or `poll`.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Push => "push",
            Source::Poll => "poll",
        }
    }
}

/// What somebody says of one side of an ExoPhone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideSaid {
    /// How it does.
    #[serde(rename = "s")]
    pub status: Status,
    /// When Exotel measured it (`last_check_time`).
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub measured_at: Option<Timestamp>,
    /// The ExoPhones that Exotel proposes meanwhile (`alternate_exophone`), as it writes them: sids or numbers.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub alternates: Vec<String>,
}

impl SideSaid {
    /// A status and nothing beside it.
    pub fn bare(status: Status) -> Self {
        Self {
            status,
            measured_at: None,
            alternates: Vec::new(),
        }
    }

    /// The same with Exotel's proposals, of which a few are kept.
    pub fn with_alternates(mut self, alternates: impl IntoIterator<Item = String>) -> Self {
        let kept = alternates.into_iter().take(MOST_ALTERNATES);
        self.alternates = kept.map(|text| short(&text, LONGEST_WORD)).collect();
        self
    }
}

/// What somebody says of an ExoPhone. A side that is `None` was not spoken of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Said {
    /// Whether it can be called.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub incoming: Option<SideSaid>,
    /// Whether it can call.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub outgoing: Option<SideSaid>,
}

/// One side of an ExoPhone: the newest that was said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// What.
    #[serde(flatten)]
    pub said: SideSaid,
    /// When Exotel said it.
    #[serde(rename = "t", with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub at: Timestamp,
    /// Since when it has been ok, affected or unknown.
    #[serde(rename = "f", with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub since: Timestamp,
    /// By which way.
    #[serde(rename = "b")]
    pub by: Source,
    /// Of an unknown one: the newest statement that could tell. `None` when none could, or when this one can.
    #[serde(
        rename = "k",
        default,
        with = "jiff::fmt::serde::timestamp::millisecond::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub told_at: Option<Timestamp>,
}

impl Side {
    fn new(said: SideSaid, at: Timestamp, by: Source) -> Self {
        Self {
            said,
            at,
            since: at,
            by,
            told_at: None,
        }
    }

    /// When somebody last could tell.
    fn told_at(&self) -> Option<Timestamp> {
        if self.said.status.is_unknown() {
            self.told_at
        } else {
            Some(self.at)
        }
    }

    /// Takes a statement in, if it is newer. Of two of the same moment the worse counts, so that their order does not.
    ///
    /// What nobody can tell ends an `ok` and not an outage: an outage goes on until somebody says that it is over, or
    /// nobody has repeated it for long. In whichever order they come, so an outage is heard that is older than an
    /// unknown and newer than the last `ok`.
    fn hear(side: &mut Option<Side>, said: SideSaid, at: Timestamp, by: Source) {
        let Some(old) = side else {
            *side = Some(Side::new(said, at, by));
            return;
        };
        let told_at = old.told_at();
        let (here, there) = (latest_meant(at, by), latest_meant(old.at, old.by));
        if old.said.status.is_unknown() && !said.status.is_unknown() && here < there {
            if told_at.is_some_and(|told_at| here < told_at) {
                return;
            }
            if said.status.is_affected() {
                *old = Side::new(said, at, by);
            } else {
                old.told_at = Some(at);
            }
            return;
        }
        let rank = |side: &SideSaid, by| (side.status.clone(), side.alternates.clone(), by);
        if here < there || (here == there && rank(&said, by) <= rank(&old.said, old.by)) {
            return;
        }
        if said.status.is_unknown() && old.said.status.is_affected() {
            return;
        }
        let since = if said.status.kind() == old.said.status.kind() {
            old.since
        } else {
            at
        };
        let told_at = told_at.filter(|_| said.status.is_unknown());
        *old = Side {
            since,
            told_at,
            ..Side::new(said, at, by)
        };
    }
}

/// An ExoPhone of the account, as far as we know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExoPhone {
    /// Its number, as Exotel's list has it; `None` while only a push named it.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// What the team calls it.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it takes calls; `None` when nobody said.
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub voice: Option<bool>,
    /// Whether it takes SMS; `None` when nobody said.
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    pub sms: Option<bool>,
    /// When we first heard of it.
    #[serde(rename = "k", with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub known_since: Timestamp,
    /// The reading of the account's list in which it stood last.
    #[serde(
        rename = "l",
        default,
        with = "jiff::fmt::serde::timestamp::millisecond::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub listed_at: Option<Timestamp>,
    /// Whether it can be called; `None` until somebody says.
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    pub incoming: Option<Side>,
    /// Whether it can call; `None` until somebody says.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub outgoing: Option<Side>,
    /// Since when an alert is open for it.
    #[serde(
        rename = "r",
        default,
        with = "jiff::fmt::serde::timestamp::millisecond::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub alerted_at: Option<Timestamp>,
    /// When the last alert ended.
    #[serde(
        rename = "e",
        default,
        with = "jiff::fmt::serde::timestamp::millisecond::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub recovered_at: Option<Timestamp>,
    /// Whether it left the account; it is kept until its alert is closed.
    #[serde(rename = "x", default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

impl ExoPhone {
    fn new(now: Timestamp) -> Self {
        Self {
            number: None,
            name: None,
            voice: None,
            sms: None,
            known_since: now,
            listed_at: None,
            incoming: None,
            outgoing: None,
            alerted_at: None,
            recovered_at: None,
            gone: false,
        }
    }

    /// Whether it can ring anybody at all: one for SMS alone has no health of calls.
    pub fn has_voice(&self) -> bool {
        self.voice != Some(false) && !self.gone
    }

    fn sides(&self) -> impl Iterator<Item = &Side> {
        self.incoming.iter().chain(&self.outgoing)
    }

    /// Whether calls to it or from it are known not to go through.
    pub fn is_affected(&self) -> bool {
        self.has_voice() && self.sides().any(|side| side.said.status.is_affected())
    }

    /// Whether something of it is unknown that was once asked for or said.
    pub fn is_unknown(&self) -> bool {
        self.has_voice() && self.sides().any(|side| side.said.status.is_unknown())
    }

    /// The worse of both sides; `unknown` until somebody has spoken of one.
    pub fn worst(&self) -> Status {
        let unknown = Status::Unknown(None);
        let affected = self.sides().find(|side| side.said.status.is_affected());
        let open = self.sides().find(|side| side.said.status.is_unknown());
        let worst = affected.or(open).or(self.sides().next());
        worst.map_or(unknown, |side| side.said.status.clone())
    }
}

/// An ExoPhone as the account's list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedExoPhone {
    /// Its sid.
    pub sid: ExoPhoneSid,
    /// Its number, as Exotel writes it.
    pub number: Option<String>,
    /// What the team calls it.
    pub name: Option<String>,
    /// Whether it takes calls.
    pub voice: Option<bool>,
    /// Whether it takes SMS.
    pub sms: Option<bool>,
}

/// How far the account's list of ExoPhones has been read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Listing {
    /// When the last complete reading began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete_at: Option<Timestamp>,
    /// When the reading under way began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<Timestamp>,
    /// Where it goes on: Exotel's page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page: Option<u32>,
}

/// Whom a run asks about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Turn {
    /// Those that every run asks about.
    pub urgent: Vec<ExoPhoneSid>,
    /// Those whose turn it is.
    pub others: Vec<ExoPhoneSid>,
    /// How many runs it takes to ask about every ExoPhone.
    pub rounds: usize,
}

/// The health of the account's ExoPhones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// When the first word about any of them was kept.
    pub began_at: Option<Timestamp>,
    /// What the newest push says of the account.
    pub account: Option<AccountStatus>,
    /// When Exotel made that push.
    pub pushed_at: Option<Timestamp>,
    /// Seconds between the last two pushes.
    pub push_interval_secs: Option<u32>,
    /// When Exotel last said anything about any ExoPhone, by either way.
    pub heard_at: Option<Timestamp>,
    /// How long a status is good that nobody repeats; set by whoever polls.
    pub stale_after_secs: Option<u32>,
    /// The list of the account's ExoPhones.
    pub listing: Listing,
    /// The ExoPhone that was asked about last, in the rotation.
    pub position: Option<ExoPhoneSid>,
    /// Since when an alert is open because the health of some is unknown.
    pub unknown_alerted_at: Option<Timestamp>,
    /// Since when an alert is open because nothing is heard any more.
    pub silence_alerted_at: Option<Timestamp>,
    /// Since when nothing is unknown.
    pub all_known_since: Option<Timestamp>,
    /// Every ExoPhone that we know of.
    pub phones: BTreeMap<ExoPhoneSid, ExoPhone>,
}

impl Health {
    /// Takes in what a push says. `now` is when it came; an older one changes nothing that is newer.
    pub fn hear_push(&mut self, push: &Push, now: Timestamp) {
        let now = whole_millis(now);
        self.begin(now);
        let at = whole_millis(push.at).clamp(now - LONGEST_DELIVERY, now);
        if self.pushed_at.is_none_or(|before| before <= at) {
            if let Some(before) = self.pushed_at
                && before < at
            {
                let apart = at.duration_since(before).min(LONGEST_PUSH_INTERVAL);
                self.push_interval_secs = u32::try_from(apart.as_secs()).ok();
            }
            self.account = Some(push.account.clone());
            self.pushed_at = Some(at);
        }
        self.heard(at);
        let by_number = self.by_number();
        let mut spoken_of = std::collections::BTreeSet::new();
        for (sid, said) in &push.said {
            let Some(known) = self.known_as(sid, said, &by_number, now) else {
                continue;
            };
            let phone = self.phones.get_mut(&known).expect("it was found or added");
            for (side, said) in [
                (&mut phone.incoming, &said.incoming),
                (&mut phone.outgoing, &said.outgoing),
            ] {
                if let Some(said) = said {
                    Side::hear(side, said.clone(), at, Source::Push);
                }
            }
            spoken_of.insert(known);
        }
        let Some(others) = push.others() else { return };
        for (sid, phone) in &mut self.phones {
            if spoken_of.contains(sid) || !phone.has_voice() {
                continue;
            }
            for side in [&mut phone.incoming, &mut phone.outgoing] {
                Side::hear(side, SideSaid::bare(others.clone()), at, Source::Push);
            }
        }
    }

    /// Takes in an answer about one ExoPhone that came at `at`. One that we do not know is left out: it has left the
    /// account.
    pub fn hear_answer(&mut self, sid: &ExoPhoneSid, said: &Said, at: Timestamp) {
        let at = whole_millis(at);
        self.begin(at);
        self.heard(at);
        let Some(phone) = self.phones.get_mut(sid) else {
            return;
        };
        // What an answer leaves out is unknown: it was asked about both.
        let unknown = || SideSaid::bare(Status::Unknown(None));
        for (side, said) in [
            (&mut phone.incoming, &said.incoming),
            (&mut phone.outgoing, &said.outgoing),
        ] {
            let said = said.clone().unwrap_or_else(unknown);
            Side::hear(side, said, at, Source::Poll);
        }
    }

    /// Takes in a page of the account's list, whose reading began at `began_at`.
    pub fn hear_list(&mut self, page: Vec<ListedExoPhone>, began_at: Timestamp) {
        let began_at = whole_millis(began_at);
        self.begin(began_at);
        for listed in page {
            if self.phones.len() >= MOST_EXOPHONES && !self.phones.contains_key(&listed.sid) {
                continue;
            }
            let phone = self
                .phones
                .entry(listed.sid)
                .or_insert_with(|| ExoPhone::new(began_at));
            phone.number = listed.number.map(|number| short(&number, LONGEST_WORD));
            phone.name = listed.name.map(|name| short(&name, LONGEST_NAME));
            phone.voice = listed.voice;
            phone.sms = listed.sms;
            phone.listed_at = Some(began_at);
            phone.gone = false;
            if phone.voice == Some(false) {
                (phone.incoming, phone.outgoing) = (None, None);
            }
        }
    }

    /// Notes that the list was read to its end: what did not stand in it has left the account.
    pub fn end_list(&mut self, began_at: Timestamp) {
        let began_at = whole_millis(began_at);
        self.listing = Listing {
            complete_at: Some(began_at),
            began_at: None,
            next_page: None,
        };
        self.phones.retain(|_, phone| {
            // A push may have named it since.
            if phone.listed_at == Some(began_at) || phone.known_since > began_at {
                return true;
            }
            phone.gone = true;
            phone.alerted_at.is_some()
        });
    }

    /// Makes unknown what nobody has repeated for long, and what nobody has spoken of for as long.
    pub fn age(&mut self, now: Timestamp) {
        let now = whole_millis(now);
        let limit = |by| self.stale_after(by);
        let (pushed, polled) = (limit(Source::Push), limit(Source::Poll));
        for phone in self.phones.values_mut().filter(|phone| phone.has_voice()) {
            let known_since = phone.known_since;
            for side in [&mut phone.incoming, &mut phone.outgoing] {
                let (at, limit) = match &side {
                    Some(side) if side.by == Source::Push => (side.at, pushed),
                    Some(side) => (side.at, polled),
                    None => (known_since, polled),
                };
                if now.duration_since(at) <= limit {
                    continue;
                }
                let unknown = SideSaid::bare(Status::Unknown(None));
                match side {
                    Some(side) if side.said.status.is_unknown() => {}
                    // What it was proves nothing any more; a statement from before is still older than this one.
                    Some(side) => {
                        side.told_at = Some(side.at);
                        (side.said, side.since) = (unknown, now);
                    }
                    None => {
                        *side = Some(Side {
                            since: now,
                            ..Side::new(unknown, at, Source::Poll)
                        })
                    }
                }
            }
        }
        if self.pushed_at.is_some_and(|at| now.duration_since(at) > pushed) {
            self.account = None;
        }
        self.note_unknown(now);
    }

    /// The state as it is at `now`.
    pub fn aged(mut self, now: Timestamp) -> Self {
        self.age(now);
        self
    }

    /// Minutes in which Exotel has said nothing about any ExoPhone, by either way; `None` before anything was kept.
    pub fn silent_minutes(&self, now: Timestamp) -> Option<u32> {
        let last = self.heard_at.or(self.began_at)?;
        Some(u32::try_from(now.duration_since(last).as_mins().max(0)).unwrap_or(u32::MAX))
    }

    /// How many ExoPhones are affected, at the time of the last [`Health::age`].
    pub fn affected(&self) -> usize {
        self.phones.values().filter(|phone| phone.is_affected()).count()
    }

    /// How many are unknown, of those not affected.
    pub fn unknown(&self) -> usize {
        let unknown = |phone: &&ExoPhone| phone.is_unknown() && !phone.is_affected();
        self.phones.values().filter(unknown).count()
    }

    /// The ExoPhones to ask about in a run that may ask `budget` times: `first` and the affected ones (half of the
    /// budget at most), then the others, from where the last run stopped.
    pub fn turn(&self, first: Option<&ExoPhoneSid>, budget: usize) -> Turn {
        let voiced = |sid: &&ExoPhoneSid| self.phones.get(*sid).is_some_and(ExoPhone::has_voice);
        let affected = self.phones.iter().filter(|(_, phone)| phone.is_affected());
        let mut urgent: Vec<ExoPhoneSid> = Vec::new();
        for sid in first
            .into_iter()
            .chain(affected.map(|(sid, _)| sid))
            .filter(voiced)
        {
            if urgent.len() < budget.div_ceil(2) && !urgent.contains(sid) {
                urgent.push(sid.clone());
            }
        }
        let behind = |sid: &&ExoPhoneSid| self.position.as_ref().is_none_or(|position| *sid > position);
        let (later, sooner): (Vec<_>, Vec<_>) = self.phones.keys().filter(voiced).partition(behind);
        let all = later.len() + sooner.len();
        let rest = later
            .into_iter()
            .chain(sooner)
            .filter(|sid| !urgent.contains(*sid));
        let room = budget.saturating_sub(urgent.len());
        Turn {
            rounds: (all - urgent.len()).div_ceil(room.max(1)).max(1),
            others: rest.take(room).cloned().collect(),
            urgent,
        }
    }

    /// How long a status stays good when every ExoPhone is asked about once in `rounds` runs, `interval` apart.
    pub fn set_rotation(&mut self, rounds: usize, interval: SignedDuration) {
        let rounds = i64::try_from(rounds).unwrap_or(i64::MAX).clamp(1, 1_000);
        let wait = (interval * i32::try_from(rounds * 3).expect("at most 3 000")).max(STALE_AT_LEAST);
        self.stale_after_secs = u32::try_from(wait.as_secs()).ok();
    }

    fn stale_after(&self, by: Source) -> SignedDuration {
        let secs = |secs: u32| SignedDuration::from_secs(i64::from(secs));
        let polled = self.stale_after_secs.map_or(STALE_WITHOUT_POLL, secs);
        let pushed = self.push_interval_secs.map_or(SignedDuration::ZERO, secs);
        match by {
            Source::Poll => polled,
            Source::Push => polled.max(pushed * 5 / 2),
        }
    }

    fn begin(&mut self, now: Timestamp) {
        self.began_at.get_or_insert(now);
    }

    fn heard(&mut self, at: Timestamp) {
        self.heard_at = self.heard_at.max(Some(at));
    }

    /// The ExoPhone that a push means, added when it is a new one with something wrong. `by_number` holds the known
    /// ones by the end of their numbers: a push and the list do not always name one alike.
    fn known_as(
        &mut self,
        sid: &ExoPhoneSid,
        said: &Said,
        by_number: &BTreeMap<String, ExoPhoneSid>,
        now: Timestamp,
    ) -> Option<ExoPhoneSid> {
        if self.phones.contains_key(sid) {
            return Some(sid.clone());
        }
        if let Some(known) = number_end(sid.as_str()).and_then(|end| by_number.get(&end)) {
            return Some(known.clone());
        }
        let wrong = |side: &Option<SideSaid>| side.as_ref().is_some_and(|side| side.status.is_affected());
        if !(wrong(&said.incoming) || wrong(&said.outgoing)) || self.phones.len() >= MOST_EXOPHONES {
            return None;
        }
        self.phones.insert(sid.clone(), ExoPhone::new(now));
        Some(sid.clone())
    }

    /// The known ExoPhones by the end of their numbers.
    fn by_number(&self) -> BTreeMap<String, ExoPhoneSid> {
        let ends = self.phones.iter().filter_map(|(sid, phone)| {
            let end = number_end(phone.number.as_deref().unwrap_or(sid.as_str()))?;
            Some((end, sid.clone()))
        });
        ends.collect()
    }
}

/// The last ten digits of what is a number: national and international forms of one share them.
fn number_end(text: &str) -> Option<String> {
    let written = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | ' ');
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_start_matches('0');
    if !text.chars().all(written) || digits.len() < 8 {
        return None;
    }
    Some(digits[digits.len().saturating_sub(10)..].to_owned())
}

/// Times are kept in whole milliseconds, and what is kept is compared with what comes.
fn whole_millis(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).expect("it was a time before")
}

/// The latest moment that may be meant: a push has whole seconds, and means any part of one.
fn latest_meant(at: Timestamp, by: Source) -> Timestamp {
    match by {
        Source::Push if at.subsec_nanosecond() == 0 => at.saturating_add(REST_OF_A_SECOND).unwrap_or(at),
        Source::Push | Source::Poll => at,
    }
}

fn short(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

#[cfg(test)]
mod tests;
