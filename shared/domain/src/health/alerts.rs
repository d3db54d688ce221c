//! When somebody has to be told: at once when an ExoPhone is affected, and again when it has been ok for a while.

use jiff::{SignedDuration, Timestamp};

use super::{ExoPhone, Health, whole_millis};
use crate::{
    alert::{EXOPHONE_AFFECTED, EXOPHONES_UNKNOWN, HEARTBEAT_SILENT, Measure, Observation, Rule},
    ids::{AlertSubject, ExoPhoneSid},
};

/// How long an ExoPhone has to be ok before its alert recovers: one that flaps each minute raises one alert.
const RECOVERS_AFTER: SignedDuration = SignedDuration::from_mins(2);
/// How long, when it was affected again soon after it had recovered.
const RECOVERS_SLOWLY_AFTER: SignedDuration = SignedDuration::from_mins(15);
/// How soon is soon.
const FLAPS_WITHIN: SignedDuration = SignedDuration::from_mins(30);

/// What was heard so lately is heard.
const HEARD_WITHIN_MINUTES: u32 = 3;

/// What an alert is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// An ExoPhone that is affected.
    ExoPhone(ExoPhoneSid),
    /// All ExoPhones whose health is unknown: one alert, since one cause as a rule makes many unknown.
    Unknown,
    /// Nothing is heard of any ExoPhone.
    Silence,
}

/// An alert that has to be raised or to recover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// What it is about.
    pub subject: Subject,
    /// What is to be observed.
    pub value: Measure,
}

impl Due {
    /// The rule that it is observed under.
    pub fn rule(&self) -> &'static Rule {
        match self.subject {
            Subject::ExoPhone(_) => &EXOPHONE_AFFECTED,
            Subject::Unknown => &EXOPHONES_UNKNOWN,
            Subject::Silence => &HEARTBEAT_SILENT,
        }
    }

    /// The subject, as alerts hold it.
    pub fn alert_subject(&self) -> AlertSubject {
        match &self.subject {
            Subject::ExoPhone(sid) => AlertSubject::exophone(sid),
            Subject::Unknown | Subject::Silence => AlertSubject::account(),
        }
    }

    /// What is observed.
    pub fn observation(&self) -> Observation {
        Observation::single(self.value)
    }

    /// Whether something is wrong, not over.
    pub fn raises(&self) -> bool {
        self.rule().is_breached(self.value)
    }
}

impl ExoPhone {
    /// 2 when a side is out, 1 when one is partly, 0 when none is known to be.
    fn level(&self) -> i64 {
        if !self.is_affected() {
            return 0;
        }
        let out = |word: Option<&str>| word != Some("partial_network_outage");
        let affected = self.sides().filter(|side| side.said.status.is_affected());
        let levels = affected.map(|side| if out(side.said.status.word()) { 2 } else { 1 });
        levels.max().unwrap_or(0)
    }

    /// Since when both sides, as far as they were spoken of, have been ok.
    fn ok_since(&self) -> Option<Timestamp> {
        let mut since = None;
        for side in self.sides() {
            if !side.said.status.is_ok() {
                return None;
            }
            since = since.max(Some(side.since));
        }
        since
    }

    fn has_recovered(&self, raised_at: Timestamp, now: Timestamp) -> bool {
        if !self.has_voice() {
            return true;
        }
        let before = self.recovered_at;
        let flaps = before.is_some_and(|before| raised_at.duration_since(before) < FLAPS_WITHIN);
        let after = if flaps {
            RECOVERS_SLOWLY_AFTER
        } else {
            RECOVERS_AFTER
        };
        self.ok_since()
            .is_some_and(|since| now.duration_since(since) >= after)
    }
}

impl Health {
    /// The alerts that have to change at `now`, on a state that was aged. Unknown is no recovery: what was affected is
    /// alerted until somebody says that it is ok, or it leaves the account.
    pub fn due(&self, now: Timestamp) -> Vec<Due> {
        let mut due = Vec::new();
        for (sid, phone) in &self.phones {
            let level = phone.level();
            let changes = match phone.alerted_at {
                None => level > 0,
                Some(raised_at) => level == 0 && phone.has_recovered(raised_at, now),
            };
            if changes {
                due.push(Due {
                    subject: Subject::ExoPhone(sid.clone()),
                    value: Measure::whole(level),
                });
            }
        }
        let silent = self.silent_minutes(now).unwrap_or(0);
        let unknown = self.unknown_level();
        let known_long = |since| now.duration_since(since) >= RECOVERS_AFTER;
        let changes = match self.unknown_alerted_at {
            // Where nothing is heard at all, everything is unknown after a while: that is the other alert.
            None => unknown > 0 && silent < HEARD_WITHIN_MINUTES,
            Some(_) => unknown == 0 && self.all_known_since.is_some_and(known_long),
        };
        if changes {
            due.push(Due {
                subject: Subject::Unknown,
                value: Measure::whole(unknown),
            });
        }
        let silent = Measure::whole(i64::from(silent));
        let changes = match self.silence_alerted_at {
            None => HEARTBEAT_SILENT.is_breached(silent),
            Some(_) => HEARTBEAT_SILENT.is_recovered(silent),
        };
        if changes {
            due.push(Due {
                subject: Subject::Silence,
                value: silent,
            });
        }
        due
    }

    /// How many ExoPhones are unknown; at least one when the newest push says that it cannot tell.
    fn unknown_level(&self) -> i64 {
        let unknown = i64::try_from(self.unknown()).unwrap_or(i64::MAX);
        let untold = self.account.as_ref().is_some_and(|account| account.is_unknown());
        unknown.max(i64::from(untold))
    }

    /// Notes since when everything is known.
    pub(super) fn note_unknown(&mut self, now: Timestamp) {
        if self.unknown_level() > 0 {
            self.all_known_since = None;
        } else {
            self.all_known_since.get_or_insert(now);
        }
    }

    /// Notes that an alert was raised or has recovered.
    pub fn alerted(&mut self, due: &Due, now: Timestamp) {
        let now = whole_millis(now);
        match &due.subject {
            Subject::ExoPhone(sid) => {
                let Some(phone) = self.phones.get_mut(sid) else {
                    return;
                };
                if due.raises() {
                    phone.alerted_at.get_or_insert(now);
                } else if phone.alerted_at.take().is_some() {
                    phone.recovered_at = Some(now);
                }
                if phone.gone && phone.alerted_at.is_none() {
                    self.phones.remove(sid);
                }
            }
            Subject::Unknown if due.raises() => {
                self.unknown_alerted_at.get_or_insert(now);
            }
            Subject::Unknown => self.unknown_alerted_at = None,
            Subject::Silence => self.silence_alerted_at = due.raises().then_some(now),
        }
    }
}
