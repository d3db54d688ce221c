//! The rules, evaluated from the figures, each minute and once a day.

use domain::{
    alert::{Measure, Metric, Observation, RULES, Rule, Transition, UNCONFIRMED_INTENTS, WEBHOOK_GAP},
    figures::{BUCKET_SECS, Bucket, Figures},
    ids::AlertSubject,
    reconcile::{Pass, Tally},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use table::{Table, TableError};

use super::Alerts;
use crate::unconfirmed;

/// How long a message has for its delivery receipt: before that it is neither delivered nor not.
const RECEIPT_WITHIN: SignedDuration = SignedDuration::from_secs(BUCKET_SECS);
/// Minutes of the digest's hour in which it is made: a run that fails, or a minute that the scheduler leaves out, does
/// not cost the day's digest. What is observed is the same in each of them, so nothing is told twice.
const DIGEST_MINUTES: i8 = 5;
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// Open alerts that are counted.
const COUNTED: usize = 100;

/// What one run saw and did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evaluated {
    /// What was observed, rule by rule.
    pub observed: Vec<(&'static Rule, Observation)>,
    /// Alerts that this run raised.
    pub raised: usize,
    /// Alerts that recovered in this run.
    pub recovered: usize,
    /// Alerts that are open after it, a hundred at most.
    pub open: usize,
}

impl Evaluated {
    /// What was observed of a metric, over an hour or at this moment.
    pub fn observation(&self, metric: Metric) -> Observation {
        let found = self
            .observed
            .iter()
            .find(|(rule, _)| rule.metric == metric && !rule.is_daily());
        found.map_or(Observation::Unknown, |(_, observation)| *observation)
    }
}

/// Evaluates the rules that figures, open calls and polls feed. ExoPhones' rules are observed by what hears of their health.
#[derive(Debug, Clone)]
pub struct Evaluator {
    table: Table,
    alerts: Alerts,
    zone: TimeZone,
    digest_hour: i8,
}

/// What polls say of the webhooks: of the calls that we placed, the share whose end no callback told right. Calls of
/// others are no sample: nobody asked for their callbacks. A backfill looks at long ago.
pub fn webhook_gap<'a>(polls: impl IntoIterator<Item = (Pass, &'a Tally)>) -> Observation {
    let regular = polls.into_iter().filter(|(pass, _)| *pass != Pass::Backfill);
    let (gaps, judged) = regular.fold((0, 0), |(gaps, judged), (_, tally)| {
        (gaps + tally.own_gaps, judged + tally.own_judged)
    });
    Observation::share(gaps, judged)
}

/// What the figures of a window say of a metric. Metrics that no data feeds yet are unknown, and so are those that
/// are no figures: [`Metric::WebhookGap`], [`Metric::UnconfirmedIntents`] and the ExoPhones'.
pub fn observation(metric: Metric, figures: &Figures) -> Observation {
    let (calls, messages) = (&figures.calls, &figures.messages);
    match metric {
        Metric::VoiceConnect => Observation::share(calls.connected, calls.ended),
        Metric::SmsDelivery => Observation::share(messages.delivered, messages.sent),
        Metric::DltRejection => Observation::share(messages.dlt_rejected, messages.messages),
        _ => Observation::Unknown,
    }
}

/// How old figures must be to say anything of a metric; `None` when they never do.
fn age_of_figures(metric: Metric) -> Option<SignedDuration> {
    match metric {
        Metric::VoiceConnect | Metric::DltRejection => Some(SignedDuration::ZERO),
        Metric::SmsDelivery => Some(RECEIPT_WITHIN),
        _ => None,
    }
}

/// The quarters of a window that ends at `to`: those that it touches, so never less than the window.
fn window(rule: &Rule, to: Timestamp) -> (Bucket, Bucket) {
    // The quarter of the last moment before `to`.
    let last = Bucket::of(to - SignedDuration::from_micros(1));
    (Bucket::of(to - rule.window), last)
}

/// Since midnight, UTC.
fn since_midnight(bucket: Bucket) -> SignedDuration {
    SignedDuration::from_secs(bucket.start().as_second().rem_euclid(DAY.as_secs()))
}

impl Evaluator {
    /// Over this table. `digest_hour` is the hour of the day, 0 to 23 in `zone`, of the daily digest.
    pub fn new(table: Table, alerts: Alerts, zone: TimeZone, digest_hour: i8) -> Self {
        Self {
            table,
            alerts,
            zone,
            digest_hour,
        }
    }

    /// One run.
    ///
    /// # Errors
    /// When the table fails; evaluating again is always safe.
    pub async fn run(&self, now: Timestamp) -> Result<Evaluated, TableError> {
        let mut evaluated = Evaluated::default();
        let counted = unconfirmed::count(&self.table, now).await?;
        let observation = Observation::single(Measure::whole(counted.calls.into()));
        self.observe(&UNCONFIRMED_INTENTS, observation, now, &mut evaluated)
            .await?;
        let polls = self.table.tallies(now - WEBHOOK_GAP.window, now).await?;
        let observation = webhook_gap(polls.iter().map(|(pass, _, tally)| (*pass, tally)));
        self.observe(&WEBHOOK_GAP, observation, now, &mut evaluated)
            .await?;
        let rules = |daily: bool| {
            RULES.iter().filter(move |rule| {
                rule.is_daily() == daily && !rule.window.is_zero() && rule.metric != Metric::WebhookGap
            })
        };
        self.evaluate(rules(false), now, now, &mut evaluated).await?;
        if let Some(end) = self.digest_due(now) {
            self.evaluate(rules(true), end, now, &mut evaluated).await?;
        }
        evaluated.open = self.alerts.table.open_alerts(COUNTED, None).await?.items.len();
        Ok(evaluated)
    }

    /// The beginning of the digest's hour, in its first minutes.
    fn digest_due(&self, now: Timestamp) -> Option<Timestamp> {
        let local = self.zone.to_datetime(now);
        (local.hour() == self.digest_hour && local.minute() < DIGEST_MINUTES).then(|| {
            let into = i64::from(local.minute()) * 60 + i64::from(local.second());
            let whole = Timestamp::from_second(now.as_second()).unwrap_or(now);
            whole - SignedDuration::from_secs(into)
        })
    }

    /// Evaluates rules over windows that end at `to`, and reads each window's figures once.
    async fn evaluate(
        &self,
        rules: impl Iterator<Item = &'static Rule>,
        to: Timestamp,
        now: Timestamp,
        evaluated: &mut Evaluated,
    ) -> Result<(), TableError> {
        let mut read: Vec<((Bucket, Bucket), Figures)> = Vec::new();
        for rule in rules {
            let Some(age) = age_of_figures(rule.metric) else {
                evaluated.observed.push((rule, Observation::Unknown));
                continue;
            };
            let to = if age.is_zero() {
                to
            } else {
                Bucket::of(to - age).start()
            };
            let span = window(rule, to);
            let at = match read.iter().position(|(held, _)| *held == span) {
                Some(at) => at,
                None => {
                    read.push((span, self.figures(span).await?));
                    read.len() - 1
                }
            };
            let observation = observation(rule.metric, &read[at].1);
            self.observe(rule, observation, now, evaluated).await?;
        }
        Ok(())
    }

    /// The sum of these quarters, both inclusive.
    async fn figures(&self, (first, last): (Bucket, Bucket)) -> Result<Figures, TableError> {
        let mut sum = Figures::default();
        let mut from = first;
        while from <= last {
            // A query is of one day (UTC).
            let next_day = Bucket::of(from.start() + (DAY - since_midnight(from)));
            let to = last.min(Bucket::of(next_day.start() - SignedDuration::from_secs(1)));
            let mut after = None;
            loop {
                let page = self.table.figures_between(from, to, after).await?;
                for (_, figures) in &page.items {
                    sum += figures;
                }
                after = page.items.last().map(|(bucket, _)| *bucket);
                if page.next.is_none() || after.is_none() {
                    break;
                }
            }
            from = next_day;
        }
        Ok(sum)
    }

    async fn observe(
        &self,
        rule: &'static Rule,
        observation: Observation,
        now: Timestamp,
        evaluated: &mut Evaluated,
    ) -> Result<(), TableError> {
        evaluated.observed.push((rule, observation));
        match self
            .alerts
            .observe(rule, &AlertSubject::account(), observation, now)
            .await?
        {
            Some(Transition::Raised(_)) => evaluated.raised += 1,
            Some(Transition::Recovered(_)) => evaluated.recovered += 1,
            None => {}
        }
        Ok(())
    }
}
