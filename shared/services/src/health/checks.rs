//! The health of ExoPhones as people see it: now, and check by check. Snake case, as Exotel's own fields.

use domain::{
    health::{ExoPhone, Health, HealthCheck, Said, Side, SideSaid},
    ids::ExoPhoneSid,
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use table::{Page, Table};

use crate::ServiceError;

/// The account's ExoPhones and their health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HealthView {
    /// Exotel's word for the account in the newest push, `null` when there is none or it is old.
    pub status_type: Option<String>,
    /// When Exotel made that push; UTC.
    pub pushed_at: Option<Timestamp>,
    /// When anything was last heard of any ExoPhone; UTC.
    pub heard_at: Option<Timestamp>,
    /// When the account's list of ExoPhones was last read; UTC.
    pub listed_at: Option<Timestamp>,
    /// How many ExoPhones there are.
    pub total: usize,
    /// How many are affected.
    pub affected: usize,
    /// How many of the others nobody can tell about.
    pub unknown: usize,
    /// A page of them, by sid.
    pub items: Vec<ExoPhoneView>,
    /// Where the next page begins.
    #[serde(rename = "nextCursor")]
    pub next_cursor: Option<String>,
}

/// An ExoPhone and its health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExoPhoneView {
    /// Exotel's id of it.
    pub sid: ExoPhoneSid,
    /// Its number, as Exotel writes it.
    pub phone_number: Option<String>,
    /// What the team calls it.
    pub friendly_name: Option<String>,
    /// Whether it takes calls.
    pub voice: Option<bool>,
    /// Whether it takes SMS.
    pub sms: Option<bool>,
    /// `ok`, `affected` or `unknown`: the worse of both sides.
    pub status: &'static str,
    /// Whether it can be called; `null` when nobody said.
    pub incoming_call: Option<SideView>,
    /// Whether it can call; `null` when nobody said.
    pub outgoing_call: Option<SideView>,
    /// Since when an alert is open for it; UTC.
    pub alerted_at: Option<Timestamp>,
}

/// One side of an ExoPhone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SideView {
    /// `ok`, `affected` or `unknown`.
    pub status: &'static str,
    /// Exotel's word for it.
    pub word: Option<String>,
    /// Since when it has been so; UTC. `null` in a check.
    pub since: Option<Timestamp>,
    /// When Exotel said so last; UTC. `null` in a check.
    pub checked_at: Option<Timestamp>,
    /// By which way: `push` or `poll`. `null` in a check.
    pub source: Option<&'static str>,
    /// When Exotel measured it, as it says; UTC.
    pub last_check_time: Option<Timestamp>,
    /// What Exotel proposes meanwhile.
    pub alternate_exophones: Vec<String>,
}

impl From<SideSaid> for SideView {
    fn from(said: SideSaid) -> Self {
        Self {
            status: said.status.kind(),
            word: said.status.word().map(str::to_owned),
            since: None,
            checked_at: None,
            source: None,
            last_check_time: said.measured_at,
            alternate_exophones: said.alternates,
        }
    }
}

impl From<Side> for SideView {
    fn from(side: Side) -> Self {
        Self {
            since: Some(side.since),
            checked_at: Some(side.at),
            source: Some(side.by.as_str()),
            ..Self::from(side.said)
        }
    }
}

impl ExoPhoneView {
    fn new(sid: ExoPhoneSid, phone: ExoPhone) -> Self {
        Self {
            status: phone.worst().kind(),
            sid,
            phone_number: phone.number,
            friendly_name: phone.name,
            voice: phone.voice,
            sms: phone.sms,
            incoming_call: phone.incoming.map(SideView::from),
            outgoing_call: phone.outgoing.map(SideView::from),
            alerted_at: phone.alerted_at,
        }
    }
}

/// The ExoPhones by sid, a page of them, only those with this `status` (`ok`, `affected`, `unknown`) if one is given.
///
/// # Errors
/// [`ServiceError::Field`] for another status; [`ServiceError::Table`].
pub async fn exophones(
    table: &Table,
    status: Option<&str>,
    limit: usize,
    after: Option<&ExoPhoneSid>,
    now: Timestamp,
) -> Result<HealthView, ServiceError> {
    if status.is_some_and(|status| !["ok", "affected", "unknown"].contains(&status)) {
        return Err(ServiceError::field(
            "status",
            "it must be ok, affected or unknown",
        ));
    }
    let health: Health = table.exophone_health().await?.aged(now);
    let (affected, unknown) = (health.affected(), health.unknown());
    let total = health.phones.values().filter(|phone| !phone.gone).count();
    let wanted = health.phones.into_iter().filter(|(sid, phone)| {
        !phone.gone
            && after.is_none_or(|after| sid > after)
            && status.is_none_or(|status| phone.worst().kind() == status)
    });
    let mut items: Vec<_> = wanted
        .take(limit + 1)
        .map(|(sid, phone)| ExoPhoneView::new(sid, phone))
        .collect();
    let more = items.len() > limit;
    items.truncate(limit);
    Ok(HealthView {
        status_type: health.account.map(String::from),
        pushed_at: health.pushed_at,
        heard_at: health.heard_at,
        listed_at: health.listing.complete_at,
        total,
        affected,
        unknown,
        next_cursor: items.last().filter(|_| more).map(|last| last.sid.to_string()),
        items,
    })
}

/// When the checks were made that somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    from: Timestamp,
    to: Timestamp,
}

impl Period {
    /// From `from` (the last 24 hours by default; nothing older than 90 days is kept) up to `to` (now by default).
    ///
    /// # Errors
    /// [`ServiceError::Field`] when it ends before it begins.
    pub fn new(from: Option<Timestamp>, to: Option<Timestamp>, now: Timestamp) -> Result<Self, ServiceError> {
        let day = SignedDuration::from_hours(24);
        let oldest = now - table::health::KEPT;
        let latest = now + day;
        let to = to.map_or(latest, |to| to.clamp(oldest, latest));
        let from = from.unwrap_or(to.min(now) - day).max(oldest);
        if from >= to {
            let problem = "it must be before to, and within the last 90 days";
            return Err(ServiceError::field("from", problem));
        }
        Ok(Self { from, to })
    }
}

/// Whose checks.
#[derive(Debug, Clone, Copy)]
pub struct ChecksOf<'a> {
    /// The ExoPhone.
    pub sid: &'a ExoPhoneSid,
    /// When.
    pub period: Period,
    /// At most so many.
    pub limit: usize,
    /// Where the page before ended.
    pub after: Option<&'a str>,
}

/// What one check says of an ExoPhone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckView {
    /// When it came, or when the run began that asked; UTC.
    pub checked_at: Timestamp,
    /// When Exotel said it; UTC.
    pub timestamp: Timestamp,
    /// By which way: `push` or `poll`.
    pub source: &'static str,
    /// A push's word for the account.
    pub status_type: Option<String>,
    /// What it says of calls to it.
    pub incoming_call: Option<SideView>,
    /// What it says of calls from it.
    pub outgoing_call: Option<SideView>,
    /// Why there was no answer, or none that could be read.
    pub failure: Option<String>,
}

impl CheckView {
    fn new(check: &HealthCheck, sid: &ExoPhoneSid) -> Option<Self> {
        let about = check.about(sid)?;
        let Said { incoming, outgoing } = about.said;
        Some(Self {
            checked_at: check.at,
            timestamp: check.said_at,
            source: check.by.as_str(),
            status_type: check.account.clone().map(String::from),
            incoming_call: incoming.map(SideView::from),
            outgoing_call: outgoing.map(SideView::from),
            failure: about.failure,
        })
    }
}

/// What was said of an ExoPhone, newest first. A page may be short, or empty, and still have a `next`.
///
/// # Errors
/// [`ServiceError::Table`].
pub async fn checks_of(table: &Table, of: ChecksOf<'_>) -> Result<Page<CheckView>, ServiceError> {
    let Period { from, to } = of.period;
    let page = table.health_checks(of.sid, from, to, of.limit, of.after).await?;
    let views = page
        .items
        .iter()
        .filter_map(|check| CheckView::new(check, of.sid));
    Ok(Page {
        items: views.collect(),
        next: page.next,
    })
}
