//! What `sweep` is made of.

use std::sync::Arc;

use domain::toll_fraud::{Destinations, Quota, Quotas};
use jiff::SignedDuration;
use lambda_kit::{
    config::{ExotelConfig, LocaleConfig, OutboundConfig, TableConfig},
    https::{self, HttpsClient},
    init::{Boot, BoxError, Diagnostic, Live},
    metrics::{Metric, Metrics},
};
use services::{
    Table,
    outbound::{
        Outbound, Rules, Swept,
        clock::{Machine, SharedWorld},
        limiter::Limiter,
    },
    unconfirmed,
};

use crate::{account, failed, random};

/// How long a run looks things up; the function has 60 s, and the next run comes in a minute.
const RUNS_FOR: SignedDuration = SignedDuration::from_secs(35);

/// The sweep's clients and rules.
pub struct Sweeper {
    outbound: Outbound,
    table: Table,
    metrics: Metrics,
    exotel: Live<Option<ExotelConfig>>,
    locale: LocaleConfig,
    http: HttpsClient,
}

impl Sweeper {
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
        // The sweep sends nothing, it only asks.
        let none = Quota {
            per_hour: None,
            per_day: 0,
        };
        let rules = Rules {
            enabled: false,
            destinations: Destinations::new(locale.country, limits.allowed_prefixes),
            quotas: Quotas {
                user: none,
                lead: none,
                account: none,
            },
            zone: locale.time_zone.clone(),
            country: locale.country,
        };
        Ok(Self {
            outbound: Outbound::new(table.clone(), limiter, world, rules),
            table,
            metrics: Metrics::from_env(settings),
            exotel: boot.live(ExotelConfig::from_env)?,
            locale,
            http: https::client()?,
        })
    }

    /// One run.
    ///
    /// # Errors
    /// When the table fails; the next run goes on.
    pub async fn sweep(&self) -> Result<Swept, Diagnostic> {
        let until = self.outbound.now() + RUNS_FOR;
        let config = self.exotel.get(self.outbound.now()).await;
        let account = account(&self.http, config.as_ref().as_ref(), &self.locale);
        self.outbound.sweep(account.as_ref(), until).await.map_err(failed)
    }

    /// Tells CloudWatch how many calls are unconfirmed for longer than they should.
    ///
    /// # Errors
    /// When the table fails; the next run tells again.
    pub async fn count(&self) -> Result<(), Diagnostic> {
        let now = self.outbound.now();
        let counted = unconfirmed::count(&self.table, now).await.map_err(failed)?;
        self.metrics
            .put(now, &[(Metric::UnconfirmedIntents, f64::from(counted.calls))]);
        Ok(())
    }
}
