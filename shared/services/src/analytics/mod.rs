//! Analytics: what the figures of a span tell, and which calls were in it.
//!
//! Figures come from folded items, never from the calls themselves: whole days of the configured zone from day items,
//! what is left at both ends from quarters. So 400 days cost some queries, in whatever zone they are asked for.

mod export;
mod history;
mod span;
mod views;

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    call::CallState,
    figures::{Bucket, CallFigures, DayFigures, SpanFigures},
};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use table::{Table, TableError};

#[cfg(feature = "export-worker")]
pub use self::export::worker::{ExportError, Exporter, Step};
pub use self::{
    export::{ExportMessage, ExportQueue, ExportQueueError, ExportView, Files, LINK_SECS, LinkError},
    history::{Csv, HistoryCall, HistoryRequest, INLINE_ROWS},
    span::{Span, SpanRequest},
    views::{
        AgentLine, AgentsView, CallsView, Counts, DashboardView, DeliveryView, FlowLine, FlowsView, Hour,
        SmsView,
    },
};
use crate::{
    ServiceError,
    figures::{each_quarter, zone_name},
};

/// No call is longer: what began before cannot be going on. Exotel ends calls after four hours.
const LONGEST_CALL: SignedDuration = SignedDuration::from_hours(4);
/// A click that waits longer is expired by `sweep`, some seconds later.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_mins(4);
/// Open calls that the dashboard looks at to tell which of them wait.
const LOOKED_AT: usize = 100;
/// Flows that the dashboard names.
const TOP_FLOWS: usize = 5;

/// What figures tell.
#[derive(Debug, Clone)]
pub struct Analytics {
    table: Table,
    zone: TimeZone,
}

impl Analytics {
    /// Over this table; `zone` is the one whose days `roll-up` folds.
    pub fn new(table: Table, zone: TimeZone) -> Self {
        Self { table, zone }
    }

    /// The zone in which days are counted when nobody asks for another one.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The figures of a span. Quarters are counted whole: those that the span touches.
    async fn figures(&self, span: &Span) -> Result<SpanFigures, TableError> {
        let mut sums = SpanFigures::default();
        let mut quarters = Bucket::span(span.from, span.to);
        let Some(first) = quarters.next() else {
            return Ok(sums);
        };
        let last = quarters.next_back().unwrap_or(first);
        let Some((from, to)) = whole_days(first, last, &self.zone) else {
            self.add_quarters(&mut sums, first, last, span).await?;
            return Ok(sums);
        };
        let starts = |date: Date| Bucket::of_day(date, &self.zone).next();
        let head = starts(from).unwrap_or(first);
        if first < head {
            self.add_quarters(&mut sums, first, head.previous(), span).await?;
        }
        self.each_day(from, to, |date, day| {
            if let Some(first) = starts(date) {
                sums.add_day(first, &day, &span.zone);
            }
        })
        .await?;
        let end = Bucket::of_day(to, &self.zone).next_back().unwrap_or(last);
        if end < last {
            self.add_quarters(&mut sums, end.next(), last, span).await?;
        }
        Ok(sums)
    }

    async fn add_quarters(
        &self,
        sums: &mut SpanFigures,
        first: Bucket,
        last: Bucket,
        span: &Span,
    ) -> Result<(), TableError> {
        each_quarter(&self.table, first, last, |bucket, figures| {
            sums.add_bucket(bucket, &figures, &span.zone);
        })
        .await
    }

    async fn each_day(
        &self,
        from: Date,
        to: Date,
        mut take: impl FnMut(Date, DayFigures),
    ) -> Result<(), TableError> {
        let mut after = None;
        loop {
            let page = self
                .table
                .days_between(zone_name(&self.zone), from, to, after)
                .await?;
            after = page.items.last().map(|(date, _)| *date);
            for (date, day) in page.items {
                take(date, day);
            }
            if page.next.is_none() {
                return Ok(());
            }
        }
    }

    /// Totals, the hours of the day and the ExoPhones.
    ///
    /// # Errors
    /// [`ServiceError::Table`].
    pub async fn calls(&self, span: &Span, masked: bool) -> Result<CallsView, ServiceError> {
        Ok(CallsView::new(span, self.figures(span).await?, masked))
    }

    /// What went through which flow, the busiest first.
    ///
    /// # Errors
    /// [`ServiceError::Table`].
    pub async fn flows(&self, span: &Span) -> Result<FlowsView, ServiceError> {
        Ok(FlowsView::new(span, self.figures(span).await?))
    }

    /// What which agent did, the busiest first.
    ///
    /// # Errors
    /// [`ServiceError::Table`].
    pub async fn agents(&self, span: &Span, masked: bool) -> Result<AgentsView, ServiceError> {
        Ok(AgentsView::new(span, self.figures(span).await?, masked))
    }

    /// What became of messages.
    ///
    /// # Errors
    /// [`ServiceError::Table`].
    pub async fn delivery(&self, span: &Span) -> Result<DeliveryView, ServiceError> {
        let figures = self.figures(span).await?;
        Ok(DeliveryView::new(span, &figures.figures.messages))
    }

    /// How today goes, from at most ten reads: today's item, the quarters of the last four hours, the clicks of the
    /// last minutes, and how far the figures are behind.
    ///
    /// # Errors
    /// [`ServiceError::Table`].
    pub async fn dashboard(&self, now: Timestamp) -> Result<DashboardView, ServiceError> {
        let date = self.zone.to_datetime(now).date();
        let today = self.table.day_figures(zone_name(&self.zone), date).await?.value;
        let today = today.figures;
        let mut recent: BTreeMap<String, CallFigures> = BTreeMap::new();
        let mut active = 0;
        let first = Bucket::of(now - LONGEST_CALL);
        each_quarter(&self.table, first, Bucket::of(now), |_, figures| {
            active += figures.calls.in_progress;
            for (agent, calls) in figures.agents {
                *recent.entry(agent).or_default() += &calls;
            }
        })
        .await?;
        let on_a_call: BTreeSet<_> = recent
            .iter()
            .filter(|(agent, calls)| calls.in_progress > 0 && *agent != domain::figures::OTHER)
            .map(|(agent, _)| agent.clone())
            .collect();
        let (queued, more) = self.queued(now).await?;
        let dirty = self.table.dirty_buckets(1, None).await?.items;
        Ok(DashboardView::new(
            now,
            &self.zone,
            date,
            &today,
            views::Now {
                active_calls: active,
                on_a_call,
                queued,
                queued_at_least: more,
                folded_before: dirty.first().map(|dirty| dirty.bucket.start()),
            },
            TOP_FLOWS,
        ))
    }

    /// How many clicks wait for a slot, of the hundred newest that are not over; and whether there are more than these.
    async fn queued(&self, now: Timestamp) -> Result<(usize, bool), TableError> {
        let open = self
            .table
            .newest_open_calls(now - LONGEST_WAIT, LOOKED_AT)
            .await?;
        let more = open.next.is_some();
        let rows = self.table.calls_at(&open.items).await?;
        let waits = |state: CallState| state == CallState::Waiting;
        let queued = rows
            .iter()
            .filter(|call| call.exotel().is_some_and(|exotel| waits(exotel.progress.state)))
            .count();
        Ok((queued, more))
    }
}

/// The days of a zone that lie wholly in the quarters from `first` to `last`.
fn whole_days(first: Bucket, last: Bucket, zone: &TimeZone) -> Option<(Date, Date)> {
    let mut from = first.date(zone);
    if Bucket::of_day(from, zone).next() != Some(first) {
        from = from.tomorrow().ok()?;
    }
    let mut to = last.date(zone);
    if Bucket::of_day(to, zone).next_back() != Some(last) {
        to = to.yesterday().ok()?;
    }
    (from <= to).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_days_are_those_that_lie_in_the_span() {
        let kolkata = TimeZone::get("Asia/Kolkata").unwrap();
        let days = |first: &str, last: &str| {
            whole_days(first.parse().unwrap(), last.parse().unwrap(), &kolkata)
                .map(|(from, to)| (from.to_string(), to.to_string()))
        };
        let both = |from: &str, to: &str| Some((from.to_owned(), to.to_owned()));
        assert_eq!(
            days("2026-11-19T18:30", "2026-11-20T18:15"),
            both("2026-11-20", "2026-11-20")
        );
        assert_eq!(days("2026-11-19T18:45", "2026-11-20T18:15"), None);
        assert_eq!(days("2026-11-19T18:30", "2026-11-20T18:00"), None);
        assert_eq!(
            days("2026-11-19T18:45", "2026-11-22T18:15"),
            both("2026-11-21", "2026-11-22")
        );
        assert_eq!(days("2026-11-20T08:15", "2026-11-20T08:15"), None);
    }
}
