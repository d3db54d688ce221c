//! Figures are folded: each minute the quarters that changed, and on demand those of a span with all they stand on.
//!
//! Nothing is counted up. A quarter's figures are a pure function of the summaries of its calls and messages, a day's
//! of its quarters; whoever folds reads the mark first and writes only if nobody else wrote meanwhile. So two runs at
//! once, a run that dies half-way, and changes that come twice or in another order end in the same items.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    access::Caller,
    figures::{Bucket, DayFigures, Figures, MessageSummary},
    history::{Rebuild, RebuildPhase},
    ids::CallSid,
};
use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use serde::Serialize;
use table::{
    HeldRecord, Table, TableError,
    call_records::Order,
    figures::{BaseRow, Dirty, Held},
};

use crate::ServiceError;

/// Marks read at once; a day has 96.
const MARKS: usize = 96;
/// Quarters folded at once.
const AT_ONCE: usize = 4;
/// Summaries in memory at once, for each quarter that is folded.
const SUMMARIES: usize = 1_000;
/// Quarters of a rebuilding that are marked before its position is written.
const MARKED_AT_ONCE: usize = 500;
/// Days of figures that are rebuilt, or told, at once.
pub const MOST_DAYS: i64 = 400;

/// What one run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RolledUp {
    /// Quarters that were folded.
    pub folded: usize,
    /// Of these, those whose figures had changed.
    pub written: usize,
    /// Days that were folded.
    pub days: usize,
    /// Quarters that somebody else wrote, or that changed again: the next run looks at them.
    pub contended: usize,
    /// Quarters or days that could not be folded; the log says why.
    pub failed: usize,
    /// Whether quarters are left for the next run, because the time was over.
    pub left: bool,
}

/// Folds figures.
#[derive(Debug, Clone)]
pub struct RollUp {
    table: Table,
    zone: TimeZone,
}

/// What became of folding one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fold {
    /// It is as it was.
    Same,
    /// It is written.
    Written,
    /// Somebody else wrote it meanwhile.
    Contended,
}

impl RollUp {
    /// Over this table; days are those of `zone`, which has an IANA name.
    pub fn new(table: Table, zone: TimeZone) -> Self {
        Self { table, zone }
    }

    /// Folds the quarters that changed, the oldest first, and their days, until `until`. A rebuilding that goes on gets
    /// a third of the time first. `clock` tells the time.
    ///
    /// # Errors
    /// [`TableError`] when the marks cannot be read or cleared; what was folded stays folded, and the next run goes on.
    pub async fn run(&self, clock: impl Fn() -> Timestamp, until: Timestamp) -> Result<RolledUp, TableError> {
        let now = clock();
        let third = SignedDuration::from_millis((until.as_millisecond() - now.as_millisecond()).max(0) / 3);
        self.go_on_rebuilding(&clock, now + third).await?;
        let mut done = RolledUp::default();
        let mut after = None;
        loop {
            if clock() >= until {
                done.left = true;
                return Ok(done);
            }
            let page = self.table.dirty_buckets(MARKS, after).await?;
            after = page.items.last().map(|dirty| dirty.bucket);
            self.roll_up(page.items, &clock, until, &mut done).await?;
            if page.next.is_none() {
                return Ok(done);
            }
        }
    }

    async fn roll_up(
        &self,
        marks: Vec<Dirty>,
        clock: impl Fn() -> Timestamp,
        until: Timestamp,
        done: &mut RolledUp,
    ) -> Result<(), TableError> {
        let clock = &clock;
        let folded = stream::iter(marks)
            .map(|dirty| async move {
                let fold = match clock() < until {
                    true => Some(self.fold_quarter(dirty.bucket).await),
                    false => None,
                };
                (dirty, fold)
            })
            .buffer_unordered(AT_ONCE);
        let mut folded = std::pin::pin!(folded);
        let mut days: BTreeMap<Date, Vec<Dirty>> = BTreeMap::new();
        while let Some((dirty, fold)) = folded.next().await {
            match fold {
                None => done.left = true,
                Some(Ok(Fold::Contended)) => done.contended += 1,
                Some(Ok(fold)) => {
                    done.folded += 1;
                    done.written += usize::from(fold == Fold::Written);
                    days.entry(dirty.bucket.date(&self.zone)).or_default().push(dirty);
                }
                Some(Err(error)) => {
                    done.failed += 1;
                    tracing::error!(figures.quarter = %dirty.bucket, error = &error as &dyn std::error::Error, "a quarter was not folded");
                }
            }
        }
        // A mark goes only when the day above its quarter is right, too.
        for (date, marks) in days {
            match self.fold_day(date).await {
                Ok(Fold::Contended) => done.contended += marks.len(),
                Ok(_) => {
                    done.days += 1;
                    for dirty in marks {
                        done.contended += usize::from(!self.table.clear_dirty(&dirty).await?);
                    }
                }
                Err(error) => {
                    done.failed += 1;
                    tracing::error!(figures.day = %date, error = &error as &dyn std::error::Error, "a day was not folded");
                }
            }
        }
        Ok(())
    }

    /// Folds a quarter from its summaries, however many there are, at constant memory.
    async fn fold_quarter(&self, bucket: Bucket) -> Result<Fold, TableError> {
        let held = self.table.figures(bucket).await?;
        let mut figures = Figures::default();
        let mut cursor = None;
        loop {
            let page = self
                .table
                .call_summaries(
                    bucket.start(),
                    bucket.end(),
                    Order::OldestFirst,
                    SUMMARIES,
                    cursor.as_deref(),
                )
                .await?;
            page.items.iter().for_each(|call| figures.count_call(call));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        loop {
            let page = self
                .table
                .message_summaries(bucket, SUMMARIES, cursor.as_deref())
                .await?;
            page.items
                .iter()
                .for_each(|message| figures.count_message(message));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let figures = figures.bounded();
        if figures == held.value {
            return Ok(Fold::Same);
        }
        let written = self.table.put_figures(bucket, &figures, held.rev).await?;
        Ok(if written { Fold::Written } else { Fold::Contended })
    }

    /// Folds a day from its quarters.
    async fn fold_day(&self, date: Date) -> Result<Fold, TableError> {
        let zone = zone_name(&self.zone);
        let held = self.table.day_figures(zone, date).await?;
        let mut buckets = Bucket::of_day(date, &self.zone);
        let mut day = DayFigures::default();
        if let (Some(first), last) = (buckets.next(), buckets.next_back()) {
            let last = last.unwrap_or(first);
            each_quarter(&self.table, first, last, |bucket, figures| {
                day.add_bucket(first, bucket, &figures);
            })
            .await?;
        }
        let day = day.bounded();
        if day == held.value {
            return Ok(Fold::Same);
        }
        let written = self.table.put_day_figures(zone, date, &day, held.rev).await?;
        Ok(if written { Fold::Written } else { Fold::Contended })
    }

    async fn go_on_rebuilding(
        &self,
        clock: &impl Fn() -> Timestamp,
        until: Timestamp,
    ) -> Result<(), TableError> {
        let Some(Held { value, mut rev }) = self.table.rebuild().await? else {
            return Ok(());
        };
        let mut rebuild = value;
        while rebuild.phase != RebuildPhase::Done && clock() < until {
            match rebuild.phase {
                RebuildPhase::Comparing => self.compare(&mut rebuild).await?,
                _ => self.mark(&mut rebuild, clock()).await?,
            }
            if !self.table.put_rebuild(&rebuild, rev).await? {
                // Another run goes on with it.
                return Ok(());
            }
            rev += 1;
        }
        Ok(())
    }

    /// Compares one page of the table with the summaries that follow from it.
    async fn compare(&self, rebuild: &mut Rebuild) -> Result<(), TableError> {
        let page = self.table.base_rows(None, rebuild.position.as_deref()).await?;
        let within = |at: Timestamp| rebuild.from <= at && at < rebuild.to;
        let (mut calls, mut messages, mut standing) = (Vec::new(), Vec::new(), Vec::new());
        for row in page.items {
            match row {
                BaseRow::Call(held) => {
                    let HeldRecord { record, rev } = *held;
                    calls.extend(
                        record
                            .summary()
                            .filter(|call| within(call.at))
                            .map(|call| (call, rev)),
                    );
                }
                BaseRow::Sms(sms, rev) => {
                    let message = MessageSummary::of(&sms);
                    messages.extend(within(message.at).then_some((message, rev)));
                }
                BaseRow::SummaryAt(sid, at) => standing.extend(within(at).then_some((sid, at))),
                BaseRow::Unreadable(key) => {
                    rebuild.unreadable += 1;
                    tracing::error!("rebuilding passes over an item that cannot be read: {key}");
                }
            }
        }
        rebuild.compared += (calls.len() + messages.len()) as u64;
        let keys: Vec<_> = calls
            .iter()
            .map(|(call, _)| (call.sid.clone(), call.at))
            .collect();
        let held = self.table.summaries_of_calls(&keys).await?;
        for ((call, rev), held) in calls.iter().zip(held) {
            if held.is_none_or(|held| held.value != *call) {
                rebuild.repaired += u64::from(self.table.repair_call_summary(call, *rev).await?);
            }
        }
        let asked: Vec<_> = messages.iter().map(|(message, _)| message).collect();
        let held = self.table.summaries_of_messages(&asked).await?;
        for ((message, rev), held) in messages.iter().zip(held) {
            if held.is_none_or(|held| held.value != *message) {
                rebuild.repaired += u64::from(self.table.repair_message_summary(message, *rev).await?);
            }
        }
        rebuild.repaired += self.remove_misplaced(&standing).await?;
        rebuild.position = page.next;
        if rebuild.position.is_none() {
            rebuild.phase = RebuildPhase::Marking;
        }
        Ok(())
    }

    /// Takes away summaries from where their calls were not placed.
    async fn remove_misplaced(&self, standing: &[(CallSid, Timestamp)]) -> Result<u64, TableError> {
        let sids: BTreeSet<CallSid> = standing.iter().map(|(sid, _)| sid.clone()).collect();
        let sids: Vec<CallSid> = sids.into_iter().collect();
        let records = self.table.call_records(&sids).await?;
        let placed: BTreeMap<_, _> = records
            .iter()
            .filter_map(|held| Some((&held.record.sid, held.record.summary()?.at)))
            .collect();
        let mut removed = 0;
        for (sid, at) in standing {
            if placed.get(sid).is_some_and(|placed| placed != at) {
                self.table.delete_call_summary(*at, sid).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Marks the next quarters of the span.
    async fn mark(&self, rebuild: &mut Rebuild, now: Timestamp) -> Result<(), TableError> {
        let next: Option<Bucket> = rebuild.position.as_deref().and_then(|at| at.parse().ok());
        let from = next.map_or(rebuild.from, Bucket::start);
        let buckets: Vec<_> = Bucket::span(from, rebuild.to).take(MARKED_AT_ONCE).collect();
        self.table.mark_all_dirty(&buckets, now).await?;
        rebuild.marked += buckets.len() as u64;
        match buckets.last() {
            Some(last) if buckets.len() == MARKED_AT_ONCE => rebuild.position = Some(last.next().to_string()),
            _ => (rebuild.phase, rebuild.position) = (RebuildPhase::Done, None),
        }
        Ok(())
    }
}

/// The zone's IANA name.
pub(crate) fn zone_name(zone: &TimeZone) -> &str {
    zone.iana_name().unwrap_or("UTC")
}

/// The figures of the quarters from `first` to `last`, both inclusive, in this order; those that have any.
pub(crate) async fn each_quarter(
    table: &Table,
    first: Bucket,
    last: Bucket,
    mut take: impl FnMut(Bucket, Figures),
) -> Result<(), TableError> {
    let mut from = first;
    while from <= last {
        // A partition holds a UTC day.
        let midnight = from.date(&TimeZone::UTC).tomorrow().ok();
        let next_day = midnight.and_then(|date| Bucket::of_day(date, &TimeZone::UTC).next());
        let to = match next_day {
            Some(next) if next <= last => next.previous(),
            _ => last,
        };
        let mut after = None;
        loop {
            let page = table.figures_between(from, to, after).await?;
            after = page.items.last().map(|(bucket, _)| *bucket);
            for (bucket, figures) in page.items {
                take(bucket, figures);
            }
            if page.next.is_none() {
                break;
            }
        }
        from = to.next();
    }
    Ok(())
}

/// How far a rebuilding has come, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RebuildView {
    /// Who asked.
    pub requested_by: String,
    /// When.
    pub requested_at: Timestamp,
    /// From this moment on.
    pub from: Timestamp,
    /// Up to this one.
    pub to: Timestamp,
    /// `comparing`, `marking` or `done`.
    pub phase: RebuildPhase,
    /// Calls and messages of the span that were compared with their summaries.
    pub compared: u64,
    /// Summaries that differed.
    pub repaired: u64,
    /// Items that cannot be read; the log of `roll-up` names them.
    pub unreadable: u64,
    /// Quarters of the span.
    pub quarters: usize,
    /// Those that were marked to be folded anew.
    pub marked: u64,
    /// Quarters, of any time, that are still to be folded.
    pub left_to_fold: u64,
}

/// Asks for the figures of a span to be derived anew from calls and messages; `roll-up` does it, minute by minute.
///
/// # Errors
/// [`ServiceError::Field`] for a span that is empty or longer than 400 days; [`ServiceError::Conflict`] while another
/// one goes on; [`ServiceError::Table`].
pub async fn request_rebuild(
    table: &Table,
    caller: &Caller,
    from: Timestamp,
    to: Timestamp,
    now: Timestamp,
) -> Result<(), ServiceError> {
    check_span(from, to)?;
    let held = table.rebuild().await?;
    let going_on = || ServiceError::Conflict("figures are being rebuilt; wait until that is done");
    if held
        .as_ref()
        .is_some_and(|held| held.value.phase != RebuildPhase::Done)
    {
        return Err(going_on());
    }
    let rebuild = Rebuild {
        requested_by: caller.user_id.clone(),
        requested_at: now,
        from,
        to,
        phase: RebuildPhase::Comparing,
        position: None,
        compared: 0,
        repaired: 0,
        unreadable: 0,
        marked: 0,
    };
    match table
        .put_rebuild(&rebuild, held.map_or(0, |held| held.rev))
        .await?
    {
        true => Ok(()),
        false => Err(going_on()),
    }
}

/// How far the last rebuilding has come.
///
/// # Errors
/// [`ServiceError::NotFound`] when there never was one; [`ServiceError::Table`].
pub async fn rebuild_progress(table: &Table) -> Result<RebuildView, ServiceError> {
    let rebuild = table.rebuild().await?.ok_or(ServiceError::NotFound)?.value;
    Ok(RebuildView {
        requested_by: rebuild.requested_by.to_string(),
        requested_at: rebuild.requested_at,
        from: rebuild.from,
        to: rebuild.to,
        phase: rebuild.phase,
        compared: rebuild.compared,
        repaired: rebuild.repaired,
        unreadable: rebuild.unreadable,
        quarters: Bucket::span(rebuild.from, rebuild.to).len(),
        marked: rebuild.marked,
        left_to_fold: table.count_dirty().await?,
    })
}

/// Whether a span may be asked for.
pub(crate) fn check_span(from: Timestamp, to: Timestamp) -> Result<(), ServiceError> {
    if from >= to {
        return Err(ServiceError::field("from", "it must be before to"));
    }
    // A zone's 400 days may be an hour longer than 400 times 24.
    if to.as_second() - from.as_second() > MOST_DAYS * 24 * 60 * 60 + 3 * 60 * 60 {
        let message = format!("the span must not be longer than {MOST_DAYS} days");
        return Err(ServiceError::field("from", message));
    }
    Ok(())
}
