//! The call list's poller: its clients, and one more try when the credentials were rotated.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use lambda_kit::{
    config::{ExotelConfig, LocaleConfig, OutboundConfig, QueueConfig, TableConfig},
    https::{self, HttpsClient},
    init::{Boot, BoxError, Diagnostic, Live},
    metrics::{Metric, Metrics},
};
use services::{
    outbound::{
        clock::{Machine, SharedWorld},
        limiter::Limiter,
    },
    reconcile::{BrokenRecords, Reconciler, Run, Stopped},
};

use crate::{account, random};

/// How long a run reads; the function has 300 s, and what is left the next run does.
const RUNS_FOR: SignedDuration = SignedDuration::from_secs(240);

/// The poller's clients.
pub struct Poller {
    reconciler: Reconciler,
    broken: BrokenRecords,
    metrics: Metrics,
    exotel: Live<Option<ExotelConfig>>,
    locale: LocaleConfig,
    http: HttpsClient,
}

impl Poller {
    /// Built once, in init.
    ///
    /// # Errors
    /// When a setting is missing or cannot be used.
    pub fn from_boot(boot: &Boot) -> Result<Self, BoxError> {
        Self::new(boot, Arc::new(Machine::new(random)))
    }

    /// The same with time and randomness of the caller's.
    ///
    /// # Errors
    /// When a setting is missing or cannot be used.
    pub fn new(boot: &Boot, world: SharedWorld) -> Result<Self, BoxError> {
        let settings = boot.settings();
        let locale = LocaleConfig::from_env(settings)?;
        let limits = OutboundConfig::from_env(settings)?;
        let table = services::connect(boot.aws(), &TableConfig::from_env(settings)?.name);
        let limiter = Limiter::new(
            table.clone(),
            Arc::clone(&world),
            limits.voice_per_minute,
            limits.sms_per_minute,
        );
        let dead_letters = QueueConfig::poll_calls_dlq_from_env(settings)?;
        Ok(Self {
            reconciler: Reconciler::new(table, limiter, world, locale.country),
            broken: BrokenRecords::connect(boot.aws(), dead_letters.url),
            metrics: Metrics::from_env(settings),
            exotel: boot.live(ExotelConfig::from_env)?,
            locale,
            http: https::client()?,
        })
    }

    /// One run; `None` while Exotel is not configured.
    ///
    /// # Errors
    /// When the table fails, or Exotel refuses; the next run goes on where this one stopped.
    pub async fn poll(&self) -> Result<Option<Run>, Diagnostic> {
        let now = self.reconciler.now();
        let until = now + RUNS_FOR;
        let mut run = match self.run(&*self.exotel.get(now).await, until).await? {
            Some(run) => run,
            None => return Ok(None),
        };
        if run.stopped == Some(Stopped::Unauthorized) {
            // The secret may have been rotated a moment ago.
            let fresh = self.exotel.refetch(self.reconciler.now()).await;
            run = self.run(&fresh, until).await?.unwrap_or(run);
        }
        let gaps = run.tally.only_listed + run.tally.end_untold + run.tally.contradicted;
        let count = |count: u64| count as f64;
        let values = [
            (Metric::PolledCalls, count(run.tally.calls)),
            (Metric::PolledGaps, count(gaps)),
        ];
        self.metrics.put(self.reconciler.now(), &values);
        match &run.stopped {
            Some(Stopped::Unauthorized) => Err(failed("Exotel refuses the credentials of the call list")),
            Some(Stopped::Refused(why)) => Err(failed(&format!("Exotel refuses to list the calls: {why}"))),
            Some(Stopped::Circle(pass)) => {
                tracing::error!(
                    pass = pass.as_str(),
                    "the call list led in a circle; the window is begun again"
                );
                Ok(Some(run))
            }
            _ => Ok(Some(run)),
        }
    }

    async fn run(&self, config: &Option<ExotelConfig>, until: Timestamp) -> Result<Option<Run>, Diagnostic> {
        let Some(account) = account(&self.http, config.as_ref(), &self.locale) else {
            return Ok(None);
        };
        let run = self.reconciler.run(&account.exotel, &self.broken, until).await;
        run.map(Some).map_err(|error| failed(&error.to_string()))
    }
}

fn failed(message: &str) -> Diagnostic {
    tracing::error!("the poll stopped: {message}");
    Diagnostic {
        error_type: "PollStopped".to_owned(),
        error_message: message.to_owned(),
    }
}
