//! What `poll-heartbeat` is made of: its clients, and one more try when the credentials were rotated.

use std::{sync::Arc, time::Duration};

use domain::phone::PhoneNumber;
use jiff::SignedDuration;
use lambda_kit::{
    config::{ExotelConfig, HeartbeatConfig, LocaleConfig, TableConfig},
    https::{self, HttpsClient},
    init::{Boot, BoxError, Diagnostic, Live},
    metrics::{Metric, Metrics},
};
use services::{
    health::{Monitor, Polled, Polling, Stopped},
    outbound::clock::{Machine, SharedWorld},
};

use crate::account;

/// How long a run asks; the function has 60 s, and the next run comes in a minute.
const RUNS_FOR: SignedDuration = SignedDuration::from_secs(35);

/// The poll's clients and settings.
pub struct Heartbeat {
    monitor: Monitor,
    exotel: Live<Option<ExotelConfig>>,
    config: HeartbeatConfig,
    locale: LocaleConfig,
    http: HttpsClient,
    metrics: Metrics,
    world: SharedWorld,
}

impl Heartbeat {
    /// Built once, in init.
    ///
    /// # Errors
    /// When a setting is missing or cannot be used.
    pub fn from_boot(boot: &Boot) -> Result<Self, BoxError> {
        // Nothing here is random but the ids of alerts, which the monitor makes.
        Self::new(boot, Arc::new(Machine::new(|| 0)))
    }

    /// The same with time of the caller's.
    ///
    /// # Errors
    /// When a setting is missing or cannot be used.
    pub fn new(boot: &Boot, world: SharedWorld) -> Result<Self, BoxError> {
        let settings = boot.settings();
        let table = services::connect(boot.aws(), &TableConfig::from_env(settings)?.name);
        Ok(Self {
            monitor: Monitor::new(table),
            exotel: boot.live(ExotelConfig::from_env)?,
            config: HeartbeatConfig::from_env(settings)?,
            locale: LocaleConfig::from_env(settings)?,
            http: https::client()?,
            metrics: Metrics::from_env(settings),
            world,
        })
    }

    /// One run; `None` while Exotel is not configured.
    ///
    /// # Errors
    /// When the table fails, or Exotel refuses the credentials; the next run goes on.
    pub async fn poll(&self) -> Result<Option<Polled>, Diagnostic> {
        let config = self.exotel.get(self.world.now()).await;
        let Some(mut polled) = self.run(&config).await? else {
            return Ok(None);
        };
        if polled.stopped == Some(Stopped::Unauthorized) {
            // The secret may have been rotated a moment ago.
            let fresh = self.exotel.refetch(self.world.now()).await;
            polled = self.run(&fresh).await?.unwrap_or(polled);
        }
        let affected = u32::try_from(polled.affected).unwrap_or(u32::MAX);
        let silent_secs = f64::from(polled.silent_minutes) * 60.0;
        let values = [
            (Metric::ExophonesAffected, f64::from(affected)),
            (Metric::HeartbeatSilence, silent_secs),
        ];
        self.metrics.put(self.world.now(), &values);
        match polled.stopped {
            Some(Stopped::Unauthorized) => Err(failed(
                "Rejected",
                "Exotel refuses the credentials with which ExoPhones are asked about".to_owned(),
            )),
            _ => Ok(Some(polled)),
        }
    }

    async fn run(&self, config: &Option<ExotelConfig>) -> Result<Option<Polled>, Diagnostic> {
        let (Some(config), Some(account)) = (config, account(&self.http, config.as_ref(), &self.locale))
        else {
            return Ok(None);
        };
        let timeout = Duration::from_secs(u64::from(self.config.timeout_secs));
        let how = Polling {
            budget: usize::try_from(self.config.budget).unwrap_or(usize::MAX),
            interval: SignedDuration::from_mins(i64::from(self.config.interval_minutes)),
            until: self.world.now() + RUNS_FOR,
            first: PhoneNumber::parse(&config.caller_id, self.locale.country).ok(),
        };
        let exotel = account.exotel.with_timeout(timeout);
        let polled = self.monitor.poll(&exotel, &how, &*self.world).await;
        polled.map(Some).map_err(|error| {
            let word = if error.is_retryable() {
                "Retryable"
            } else {
                "Rejected"
            };
            failed(word, error.to_string())
        })
    }
}

fn failed(error_type: &str, error_message: String) -> Diagnostic {
    tracing::error!("the ExoPhones were not asked about: {error_message}");
    Diagnostic {
        error_type: error_type.to_owned(),
        error_message,
    }
}
