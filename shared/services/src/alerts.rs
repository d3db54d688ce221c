//! Alerts: what an observation changes, the lists that people see, and taking notice.

mod evaluator;

use domain::{
    alert::{Acknowledgement, Alert, NOTE_CHARS, Observation, Rule, Transition, step},
    ids::{AlertId, AlertSubject, UserId},
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use table::{Page, Table, TableError};

pub use self::evaluator::{Evaluated, Evaluator, observation, webhook_gap};
use crate::ServiceError;

/// Raises, recovers and lists alerts. Telling people is the stream's part: it sees every alert that changes.
#[derive(Debug, Clone)]
pub struct Alerts {
    table: Table,
    random: fn() -> u128,
}

/// When the alerts were raised that somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    from: Timestamp,
    to: Timestamp,
}

impl Period {
    /// From `from` (the last 30 days by default; nothing older than 400 days is kept) up to `to` (now by default).
    ///
    /// # Errors
    /// [`ServiceError::Field`] when it ends before it begins.
    pub fn new(from: Option<Timestamp>, to: Option<Timestamp>, now: Timestamp) -> Result<Self, ServiceError> {
        let day = SignedDuration::from_hours(24);
        let oldest = now - table::alerts::KEPT;
        let to = to.unwrap_or(now + day).clamp(oldest, now + day);
        let from = from.unwrap_or(to - day * 31).max(oldest);
        Self { from, to }.checked("it must be before to, and within the last 400 days")
    }

    /// From `from` up to `to`, each without a bound by default: an alert may have been open for long.
    ///
    /// # Errors
    /// [`ServiceError::Field`] when it ends before it begins.
    pub fn unbounded(from: Option<Timestamp>, to: Option<Timestamp>) -> Result<Self, ServiceError> {
        let (from, to) = (from.unwrap_or(Timestamp::MIN), to.unwrap_or(Timestamp::MAX));
        Self { from, to }.checked("it must be before to")
    }

    fn checked(self, message: &str) -> Result<Self, ServiceError> {
        if self.from < self.to {
            Ok(self)
        } else {
            Err(ServiceError::field("from", message))
        }
    }
}

/// An alert as people see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertView {
    /// Names it.
    pub id: AlertId,
    /// The rule that raised it.
    pub rule: String,
    /// What it is about.
    pub subject: String,
    /// `P1`, `P2` or `P3`.
    pub severity: &'static str,
    /// `open` or `recovered`.
    pub state: &'static str,
    /// What is wrong.
    pub message: String,
    /// The value that raised it.
    pub value: f64,
    /// The rule's threshold at that time.
    pub threshold: f64,
    /// How many calls, messages or sessions the value was measured of.
    pub sample: u64,
    /// When it was raised; UTC.
    pub raised_at: Timestamp,
    /// When it recovered; UTC.
    pub recovered_at: Option<Timestamp>,
    /// The value at which it recovered.
    pub recovered_value: Option<f64>,
    /// Who took notice of it.
    pub acknowledged_by: Option<UserId>,
    /// When they did; UTC.
    pub acknowledged_at: Option<Timestamp>,
    /// What they noted.
    pub note: Option<String>,
}

impl From<Alert> for AlertView {
    fn from(alert: Alert) -> Self {
        let state = if alert.is_open() { "open" } else { "recovered" };
        let (by, at, note) = match alert.acknowledged {
            Some(Acknowledgement { by, at, note }) => (Some(by), Some(at), note),
            None => (None, None, None),
        };
        Self {
            id: alert.id,
            rule: alert.rule.into(),
            subject: alert.subject.into(),
            severity: alert.severity.as_str(),
            state,
            message: alert.message,
            value: alert.value.into(),
            threshold: alert.threshold.into(),
            sample: alert.sample,
            raised_at: alert.raised_at,
            recovered_at: alert.recovered_at,
            recovered_value: alert.recovered_value.map(f64::from),
            acknowledged_by: by,
            acknowledged_at: at,
            note,
        }
    }
}

impl Alerts {
    /// Over this table; `random` gives 128 bits that nobody foresees, for ids.
    pub fn new(table: Table, random: fn() -> u128) -> Self {
        Self { table, random }
    }

    /// Notes what was observed of a subject, and raises or recovers its alert when the rule says so. Tells what
    /// changed: of several that observe the same at once, one is told. One read when nothing changes.
    ///
    /// # Errors
    /// [`TableError`]; observing again is always safe.
    pub async fn observe(
        &self,
        rule: &Rule,
        subject: &AlertSubject,
        observation: Observation,
        now: Timestamp,
    ) -> Result<Option<Transition>, TableError> {
        // What says nothing need not be compared with anything.
        if matches!(observation, Observation::Unknown) {
            return Ok(None);
        }
        let open = self.table.open_alert(&rule.rule_id(), subject).await?;
        let transition = step(rule, subject, open.as_ref(), observation, now, (self.random)());
        let done = match &transition {
            None => false,
            Some(Transition::Raised(alert)) => self.table.raise_alert(alert).await?,
            Some(Transition::Recovered(alert)) => self.table.recover_alert(alert).await?,
        };
        // Somebody else was first: then they were told.
        let transition = transition.filter(|_| done);
        match &transition {
            Some(Transition::Raised(alert)) => {
                tracing::warn!(alert.id = %alert.id, alert.rule = %alert.rule, "an alert was raised");
            }
            Some(Transition::Recovered(alert)) => {
                tracing::info!(alert.id = %alert.id, alert.rule = %alert.rule, "an alert recovered");
            }
            None => {}
        }
        Ok(transition)
    }

    /// The alerts that have not recovered, of those raised in a period, by rule and subject. A page may be short, or
    /// empty, and still have a `next`.
    ///
    /// # Errors
    /// [`ServiceError::Table`].
    pub async fn open(
        &self,
        period: Period,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Page<AlertView>, ServiceError> {
        let mut page = self.table.open_alerts(limit, after).await?;
        page.items
            .retain(|alert| (period.from..period.to).contains(&alert.raised_at));
        Ok(viewed(page))
    }

    /// The alerts raised in a period, newest first.
    ///
    /// # Errors
    /// [`ServiceError::Table`].
    pub async fn list(
        &self,
        period: Period,
        limit: usize,
        after: Option<&str>,
    ) -> Result<Page<AlertView>, ServiceError> {
        let page = self.table.alerts(period.from, period.to, limit, after).await?;
        Ok(viewed(page))
    }

    /// Notes that a user takes notice of an alert, with a note of at most [`NOTE_CHARS`] characters. Whoever did so
    /// first stays.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] when there is no such alert (any more); [`ServiceError::Field`] for a note that is
    /// too long; [`ServiceError::Table`].
    pub async fn acknowledge(
        &self,
        id: &AlertId,
        by: &UserId,
        note: Option<&str>,
        now: Timestamp,
    ) -> Result<AlertView, ServiceError> {
        let note = note.map(str::trim).filter(|note| !note.is_empty());
        if note.is_some_and(|note| note.chars().count() > NOTE_CHARS) {
            return Err(ServiceError::field(
                "note",
                format!("it must be at most {NOTE_CHARS} characters"),
            ));
        }
        let acknowledgement = Acknowledgement {
            by: by.clone(),
            at: now,
            note: note.map(str::to_owned),
        };
        let alert = self.table.acknowledge_alert(id, &acknowledgement).await?;
        alert.map(AlertView::from).ok_or(ServiceError::NotFound)
    }
}

fn viewed(page: Page<Alert>) -> Page<AlertView> {
    Page {
        items: page.items.into_iter().map(AlertView::from).collect(),
        next: page.next,
    }
}
