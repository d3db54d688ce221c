//! The account's call list, read again and again: what callbacks left out is filled in, and what they said is settled.
//!
//! Reads go through the limiter's bulk class, so they never hold up a click. After each page the position is kept: a
//! run that ends early, or dies, is gone on with by the next. A call's row is repaired before its record is written,
//! so that a run that dies between the two does both again.

use std::collections::HashMap;

use aws_sdk_sqs::Client;
use aws_types::SdkConfig;
use domain::{
    call::{CallState, ReportSource},
    call_record::{CallRecord, Link, RecordReport},
    ids::CallSid,
    outbound_limit::{Class, Patience},
    phone::Country,
    reconcile::{Pass, Position, SETTLES_WITHIN, Tally, Turned},
};
use exotel::{
    calls::{CallPage, CreatedBetween, Cursor, GetCall, ListCalls, SortOrder},
    default_zone,
};
use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use table::{
    HeldRecord, Recorded, Table, TableError, figures::Held, limits::Reserving, reconcile::PositionId,
};

use crate::{
    call_records::of_call,
    outbound::{
        Exotel,
        clock::{SharedWorld, sleep_until, spread},
        limiter::{Limiter, Permission},
    },
};

/// Calls of a page: Exotel's most.
const PAGE: u8 = 100;
/// Sids of one request for settling: what Exotel recommends.
const SIDS: usize = 20;
/// Such requests a run makes at most.
const SETTLE_REQUESTS: usize = 30;
/// Records of a page that are worked on at once.
const AT_ONCE: usize = 8;
/// How often a page is asked for before the run ends; the next run goes on there.
const TRIES: u32 = 3;
/// How long a page that was not answered is let be, at most.
const PAUSE: SignedDuration = SignedDuration::from_secs(4);

/// A longer record is cut, so that SQS takes it.
const LONGEST_RECORD: usize = 100_000;

/// Why a run ended before everything was read. The next one goes on where it stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// Its time was up.
    OutOfTime,
    /// Another run is at work.
    Overtaken,
    /// Exotel says "too many".
    Throttled,
    /// Exotel refuses the credentials: they may have been rotated.
    Unauthorized,
    /// Exotel did not answer, or not as it should.
    Unanswered(String),
    /// Exotel refuses the request itself; more of the same is no use.
    Refused(String),
    /// The list led in a circle; the window is begun again by the next run.
    Circle(Pass),
}

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    /// All its pages together.
    pub tally: Tally,
    /// What windows that were read to their end came to.
    pub windows: Vec<(Pass, Tally)>,
    /// Calls asked for by sid because something had not settled.
    pub settled: u64,
    /// Details asked for because the list did not say if the parties talked.
    pub detailed: u64,
    /// Why it ended early, if it did.
    pub stopped: Option<Stopped>,
}

/// Where records that cannot be read are kept.
#[derive(Debug, Clone)]
pub struct BrokenRecords {
    client: Client,
    url: String,
}

impl BrokenRecords {
    /// The queue at this URL, reached with these AWS settings.
    pub fn connect(aws: &SdkConfig, url: impl Into<String>) -> Self {
        Self {
            client: Client::new(aws),
            url: url.into(),
        }
    }

    async fn keep(&self, pass: Pass, raw: &str, problem: &str) -> Result<(), Failure> {
        let raw = &raw[..raw.floor_char_boundary(LONGEST_RECORD)];
        let message =
            json!({"type": "unreadable_call.v1", "pass": pass.as_str(), "problem": problem, "record": raw});
        self.client
            .send_message()
            .queue_url(&self.url)
            .message_body(message.to_string())
            .send()
            .await
            .map(drop)
            .map_err(|error| Failure::Queue(Box::new(error)))
    }
}

/// The run could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The table failed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The dead-letter queue did not take a record that cannot be read.
    #[error("the dead-letter queue did not take a record that cannot be read")]
    Queue(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Either the run ends, and the next goes on, or something failed.
enum End {
    Stopped(Stopped),
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for End {
    fn from(error: E) -> Self {
        End::Failed(error.into())
    }
}

impl From<Stopped> for End {
    fn from(stopped: Stopped) -> Self {
        End::Stopped(stopped)
    }
}

/// Reads the call list.
pub struct Reconciler {
    table: Table,
    limiter: Limiter,
    world: SharedWorld,
    country: Country,
}

impl Reconciler {
    /// Over this table; `country` is the account's, whose national forms Exotel's numbers have.
    pub fn new(table: Table, limiter: Limiter, world: SharedWorld, country: Country) -> Self {
        Self {
            table,
            limiter,
            world,
            country,
        }
    }

    /// Now, as this function knows it.
    pub fn now(&self) -> Timestamp {
        self.world.now()
    }

    /// One run, which ends soon after `until`: the regular pass, the long one if it is due, what has not settled, and
    /// the oldest backfill that is not done.
    ///
    /// # Errors
    /// [`Failure`]; the next run goes on where this one stopped.
    pub async fn run<E: Exotel>(
        &self,
        exotel: &E,
        broken: &BrokenRecords,
        until: Timestamp,
    ) -> Result<Run, Failure> {
        let mut run = Run::default();
        let ended = self.work(exotel, broken, until, &mut run).await;
        match ended {
            Ok(()) => Ok(run),
            Err(End::Stopped(stopped)) => {
                run.stopped = Some(stopped);
                Ok(run)
            }
            Err(End::Failed(failure)) => Err(failure),
        }
    }

    async fn work<E: Exotel>(
        &self,
        exotel: &E,
        broken: &BrokenRecords,
        until: Timestamp,
        run: &mut Run,
    ) -> Result<(), End> {
        let reader = Reader {
            all: self,
            exotel,
            broken,
            until,
        };
        for (id, pass) in [(PositionId::Recent, Pass::Recent), (PositionId::Long, Pass::Long)] {
            let held = self.table.position(&id).await?.unwrap_or(Held {
                value: Position::new(pass),
                rev: 0,
            });
            reader.pass(&id, held, run).await?;
            reader.in_time()?;
        }
        reader.settle(run).await?;
        for (asked, held) in self.table.backfills().await? {
            if !held.value.is_done() {
                reader.pass(&PositionId::Backfill(asked), held, run).await?;
            }
        }
        Ok(())
    }
}

/// One run's reading.
struct Reader<'a, E> {
    all: &'a Reconciler,
    exotel: &'a E,
    broken: &'a BrokenRecords,
    until: Timestamp,
}

impl<E: Exotel> Reader<'_, E> {
    /// Reads the window under way, or the next; a backfill's one after the other.
    async fn pass(&self, id: &PositionId, held: Held<Position>, run: &mut Run) -> Result<(), End> {
        let Held {
            value: mut position,
            mut rev,
        } = held;
        while position.open(self.all.world.now()) {
            let Some(window) = position.window.clone() else {
                break;
            };
            let request = ListCalls {
                created: Some(CreatedBetween::new(window.from, window.to, &default_zone())),
                page_size: Some(PAGE),
                sort: Some(SortOrder::Ascending),
                cursor: position.cursor.clone().map(Cursor::After),
                details: true,
                ..ListCalls::default()
            };
            let page = self.ask(&request).await?;
            let next = page.next.as_ref().map(|cursor| match cursor {
                Cursor::After(token) | Cursor::Before(token) => token.clone(),
            });
            let mut seen = Tally::default();
            let last = self.take(page, &position, &mut seen, run).await?;
            add(&mut position.tally, &seen);
            add(&mut run.tally, &seen);
            let tally = position.tally;
            let turned = position.turn(last, next);
            if turned == Turned::End {
                if position.pass != Pass::Backfill {
                    self.all
                        .table
                        .keep_tally(position.pass, window.to, &tally)
                        .await?;
                }
                run.windows.push((position.pass, tally));
            }
            rev = match self.all.table.keep_position(id, &position, rev).await? {
                Some(rev) => rev,
                None => return Err(Stopped::Overtaken.into()),
            };
            if turned == Turned::Circle {
                return Err(Stopped::Circle(position.pass).into());
            }
            if turned == Turned::End && position.pass != Pass::Backfill {
                return Ok(());
            }
            self.in_time()?;
        }
        Ok(())
    }

    fn in_time(&self) -> Result<(), Stopped> {
        if self.all.world.now() < self.until {
            Ok(())
        } else {
            Err(Stopped::OutOfTime)
        }
    }

    /// Asks for calls by sid whose price, duration or end time has had time to settle.
    async fn settle(&self, run: &mut Run) -> Result<(), End> {
        let mut cursor = None;
        for _ in 0..SETTLE_REQUESTS {
            let before = self.all.world.now() - SETTLES_WITHIN;
            let page = self
                .all
                .table
                .unsettled_calls(before, SIDS, cursor.as_deref())
                .await?;
            let sids: Vec<_> = page
                .items
                .iter()
                .filter_map(|sid| sid.as_str().parse().ok())
                .collect();
            if !sids.is_empty() {
                run.settled += sids.len() as u64;
                let request = ListCalls {
                    sids,
                    page_size: Some(PAGE),
                    details: true,
                    ..ListCalls::default()
                };
                let answer = self.ask(&request).await?;
                let mut seen = Tally::default();
                self.take(answer, &Position::new(Pass::Backfill), &mut seen, run)
                    .await?;
                add(&mut run.tally, &seen);
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(());
            }
            self.in_time()?;
        }
        Ok(())
    }

    /// One page, with a slot for each try.
    async fn ask<R: exotel::Request>(&self, request: &R) -> Result<R::Answer, End> {
        let world = &*self.all.world;
        for tried in 1.. {
            self.slot().await?;
            let error = match self.exotel.send(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            tracing::warn!(tried, "the call list was not read: {error}");
            let throttled = error.status() == Some(429);
            if throttled {
                self.all.limiter.push_forward(Class::Voice).await?;
            }
            if error.reason() == Some(exotel::Reason::Credentials) {
                return Err(Stopped::Unauthorized.into());
            }
            if !error.is_transient() {
                return Err(Stopped::Refused(error.to_string()).into());
            }
            if tried == TRIES && throttled {
                return Err(Stopped::Throttled.into());
            }
            if tried == TRIES {
                return Err(Stopped::Unanswered(error.to_string()).into());
            }
            sleep_until(world, world.now() + spread(world, PAUSE)).await;
        }
        unreachable!("the last try returns")
    }

    /// Waits for a slot, as long as the run may.
    async fn slot(&self) -> Result<(), End> {
        loop {
            let permission = self
                .all
                .limiter
                .slot(Class::Voice, Reserving::ToLookUp, Patience::Bulk)
                .await?;
            match permission {
                Permission::Go(_) => return Ok(()),
                Permission::Later { at } if at < self.until => sleep_until(&*self.all.world, at).await,
                Permission::Later { .. } | Permission::Paused => return Err(Stopped::OutOfTime.into()),
            }
        }
    }

    /// Takes a page's calls in. Gives the last of them, in the order of the list.
    async fn take(
        &self,
        page: CallPage,
        position: &Position,
        seen: &mut Tally,
        run: &mut Run,
    ) -> Result<Option<(Timestamp, CallSid)>, End> {
        seen.pages += 1;
        let mut unreadable: Vec<(String, String)> = page
            .unreadable
            .iter()
            .map(|entry| (entry.raw.clone(), entry.problem.clone()))
            .collect();
        let mut reports = Vec::new();
        for call in &page.calls {
            match of_call(ReportSource::List, call, self.all.country) {
                Ok(report) => reports.push(report),
                Err(error) => {
                    let raw = serde_json::to_string(call).unwrap_or_default();
                    unreadable.push((raw, error.to_string()));
                }
            }
        }
        for (raw, problem) in &unreadable {
            tracing::error!(
                pass = position.pass.as_str(),
                "a record of the call list cannot be read: {problem}"
            );
            self.broken.keep(position.pass, raw, problem).await?;
        }
        seen.unreadable += unreadable.len() as u64;
        seen.calls += reports.len() as u64;
        let last = reports
            .iter()
            .filter_map(|report| Some((report.said.created_at?, report.sid.clone())))
            .max();
        let mut known = self.known(&reports).await?;
        // A page that lists a call twice is worked on one after the other.
        let mut lacking = Vec::new();
        let mut results = stream::iter(merged_by_sid(reports))
            .map(|reports| {
                let sid = reports[0].sid.clone();
                let held = known.remove(&sid).unwrap_or_else(|| HeldRecord::absent(sid));
                self.reconcile(held, reports)
            })
            .buffer_unordered(AT_ONCE);
        while let Some(result) = results.next().await {
            let Reconciled {
                held,
                changed,
                repaired,
            } = result?;
            seen.changed += u64::from(changed);
            seen.repaired += u64::from(repaired);
            let record = &held.record;
            if let Some(created) = record.facts.created_at.as_ref()
                && position.judges(created.value, record.facts.ended_at.as_ref().map(|at| at.value))
                && record.is_over()
            {
                seen.judge(record.gap(), record.link.is_some());
            }
            if record.lacks_details() {
                lacking.push(held);
            }
        }
        drop(results);
        for held in lacking {
            self.details(held, run).await?;
        }
        Ok(last)
    }

    async fn known(&self, reports: &[RecordReport]) -> Result<HashMap<CallSid, HeldRecord>, TableError> {
        let mut sids: Vec<CallSid> = reports.iter().map(|report| report.sid.clone()).collect();
        sids.sort();
        sids.dedup();
        let held = self.all.table.call_records(&sids).await?;
        Ok(held
            .into_iter()
            .map(|held| (held.record.sid.clone(), held))
            .collect())
    }

    /// The row first, then the record; nothing when the record says nothing new.
    async fn reconcile(
        &self,
        held: HeldRecord,
        reports: Vec<RecordReport>,
    ) -> Result<Reconciled, TableError> {
        let merge = |record: &mut CallRecord| {
            reports
                .iter()
                .fold(false, |changed, report| record.merge(report) | changed)
        };
        if !merge(&mut held.record.clone()) {
            return Ok(Reconciled {
                held,
                changed: false,
                repaired: false,
            });
        }
        let table = &self.all.table;
        let (locator, link) = match &held.record.link {
            Some(link) => (Some(link.locator.clone()), None),
            None if held.record.erased => (None, None),
            None => match table.call_by_sid(&held.record.sid).await? {
                Some(locator) => {
                    let called_by = table.call(&locator).await?.and_then(|call| call.called_by);
                    let link = called_by.map(|called_by| Link {
                        locator: locator.clone(),
                        called_by,
                    });
                    (Some(locator), link)
                }
                None => (None, None),
            },
        };
        let mut repaired = false;
        if let Some(locator) = &locator {
            for report in &reports {
                let recorded = table.record_call_report(locator, &report.for_row()).await?;
                repaired |= matches!(recorded, Recorded::Applied | Recorded::Filled);
            }
        }
        let (held, changed) = table
            .change_call_record(held, |record| {
                let linked = link.as_ref().is_some_and(|link| record.link_to(link));
                merge(record) | linked
            })
            .await?;
        Ok(Reconciled {
            held,
            changed,
            repaired,
        })
    }

    /// Asks for the details of a completed call of which nobody said whether the parties talked.
    async fn details(&self, held: HeldRecord, run: &mut Run) -> Result<(), End> {
        let Ok(sid) = held.record.sid.as_str().parse() else {
            return Ok(());
        };
        run.detailed += 1;
        match self.ask(&GetCall::with_details(sid)).await {
            Ok(call) => {
                if let Ok(report) = of_call(ReportSource::Details, &call, self.all.country)
                    && report.sid == held.record.sid
                    && report.state.is_some_and(CallState::is_terminal)
                {
                    self.reconcile(held, vec![report]).await?;
                }
                Ok(())
            }
            // The list is believed until a later pass asks again: one call must not hold up all others.
            Err(End::Stopped(Stopped::Refused(_) | Stopped::Unanswered(_))) => Ok(()),
            Err(end) => Err(end),
        }
    }
}

/// What became of a call of a page.
struct Reconciled {
    held: HeldRecord,
    changed: bool,
    repaired: bool,
}

fn merged_by_sid(mut reports: Vec<RecordReport>) -> Vec<Vec<RecordReport>> {
    reports.sort_by(|a, b| a.sid.cmp(&b.sid));
    reports
        .chunk_by(|a, b| a.sid == b.sid)
        .map(<[RecordReport]>::to_vec)
        .collect()
}

fn add(sum: &mut Tally, more: &Tally) {
    sum.pages += more.pages;
    sum.calls += more.calls;
    sum.changed += more.changed;
    sum.repaired += more.repaired;
    sum.unreadable += more.unreadable;
    sum.judged += more.judged;
    sum.only_listed += more.only_listed;
    sum.end_untold += more.end_untold;
    sum.contradicted += more.contradicted;
    sum.own_judged += more.own_judged;
    sum.own_gaps += more.own_gaps;
}
