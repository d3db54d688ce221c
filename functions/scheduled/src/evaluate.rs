//! What `evaluate-alerts` is made of.

use domain::alert::{Metric as Observed, Observation};
use jiff::Timestamp;
use lambda_kit::{
    config::{DigestConfig, LocaleConfig, TableConfig},
    init::{Boot, BoxError, Diagnostic},
    metrics::{Metric, Metrics},
};
use services::alerts::{Alerts, Evaluated, Evaluator};

use crate::{failed, random};

/// The evaluator, and where its figures are shown.
pub struct Watch {
    evaluator: Evaluator,
    metrics: Metrics,
}

impl Watch {
    /// Built once, in init.
    ///
    /// # Errors
    /// When a setting is missing or cannot be used.
    pub fn from_boot(boot: &Boot) -> Result<Self, BoxError> {
        let settings = boot.settings();
        let table = services::connect(boot.aws(), &TableConfig::from_env(settings)?.name);
        let alerts = Alerts::new(table.clone(), random);
        let zone = LocaleConfig::from_env(settings)?.time_zone;
        let hour = DigestConfig::from_env(settings)?.hour;
        Ok(Self {
            evaluator: Evaluator::new(table, alerts, zone, hour),
            metrics: Metrics::from_env(settings),
        })
    }

    /// One run.
    ///
    /// # Errors
    /// When the table fails; the next run goes on.
    pub async fn run(&self, now: Timestamp) -> Result<Evaluated, Diagnostic> {
        let evaluated = self.evaluator.run(now).await.map_err(failed)?;
        let shares = [
            (Observed::VoiceConnect, Metric::VoiceConnect),
            (Observed::SmsDelivery, Metric::SmsDelivery),
            (Observed::DltRejection, Metric::DltRejection),
            (Observed::WebhookGap, Metric::WebhookGap),
        ];
        let mut values = vec![(Metric::OpenAlerts, evaluated.open as f64)];
        for (observed, metric) in shares {
            if let Observation::Measured { value, .. } = evaluated.observation(observed) {
                values.push((metric, value.into()));
            }
        }
        self.metrics.put(now, &values);
        Ok(evaluated)
    }
}
