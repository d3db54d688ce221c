//! Metrics for CloudWatch in the embedded metric format: one line of JSON on standard output, which CloudWatch Logs
//! turns into metrics. Nothing is sent from the function, so a metric costs no time and no permission.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::{collections::BTreeMap, io::Write};

use jiff::Timestamp;
use serde::Serialize;

use crate::config::Settings;

/// What is measured. The template's dashboard and alarms know these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Alerts that have not recovered; from evaluate-alerts.
    OpenAlerts,
    /// Percent of our messages that were refused for their DLT entity or template; from evaluate-alerts.
    DltRejection,
    /// ExoPhones that Exotel reports as affected; from poll-heartbeat.
    ExophonesAffected,
    /// Seconds since anything was heard of any ExoPhone's health; from poll-heartbeat.
    HeartbeatSilence,
    /// Calls that one poll read; from poll-calls.
    PolledCalls,
    /// Those of them whose end no webhook had told; from poll-calls.
    PolledGaps,
    /// Percent of our messages that were delivered; from evaluate-alerts.
    SmsDelivery,
    /// Calls that are unconfirmed for more than ten minutes; from sweep.
    UnconfirmedIntents,
    /// Messages of calls with bots that were lost, since the table did not answer; from ws-message.
    VoicebotMessagesLost,
    /// Percent of calls that connected; from evaluate-alerts.
    VoiceConnect,
    /// Percent of our calls whose end no webhook had told right when the poll judged them; from evaluate-alerts.
    WebhookGap,
}

impl Metric {
    /// All of them.
    pub const ALL: [Metric; 11] = [
        Metric::OpenAlerts,
        Metric::DltRejection,
        Metric::ExophonesAffected,
        Metric::HeartbeatSilence,
        Metric::PolledCalls,
        Metric::PolledGaps,
        Metric::SmsDelivery,
        Metric::UnconfirmedIntents,
        Metric::VoicebotMessagesLost,
        Metric::VoiceConnect,
        Metric::WebhookGap,
    ];

    /// The metric's name in CloudWatch.
    pub fn name(self) -> &'static str {
        match self {
            Metric::OpenAlerts => "OpenAlerts",
            Metric::DltRejection => "DltRejection",
            Metric::ExophonesAffected => "ExophonesAffected",
            Metric::HeartbeatSilence => "HeartbeatSilence",
            Metric::PolledCalls => "PolledCalls",
            Metric::PolledGaps => "PolledGaps",
            Metric::SmsDelivery => "SmsDelivery",
            Metric::UnconfirmedIntents => "UnconfirmedIntents",
            Metric::VoicebotMessagesLost => "VoicebotMessagesLost",
            Metric::VoiceConnect => "VoiceConnect",
            Metric::WebhookGap => "WebhookGap",
        }
    }

    /// Its unit, in CloudWatch's word.
    pub fn unit(self) -> &'static str {
        match self {
            Metric::OpenAlerts
            | Metric::ExophonesAffected
            | Metric::PolledCalls
            | Metric::PolledGaps
            | Metric::UnconfirmedIntents
            | Metric::VoicebotMessagesLost => "Count",
            Metric::HeartbeatSilence => "Seconds",
            Metric::DltRejection | Metric::SmsDelivery | Metric::VoiceConnect | Metric::WebhookGap => {
                "Percent"
            }
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(rename = "_aws")]
    aws: Aws<'a>,
    #[serde(flatten)]
    values: BTreeMap<&'a str, f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Aws<'a> {
    timestamp: i64,
    cloud_watch_metrics: [Directive<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    namespace: &'a str,
    /// One set of dimensions, which is empty: each value of a dimension is a metric of its own that is paid for, and what
    /// comes from outside (a phone number, a sid) has no place in one.
    dimensions: [[&'a str; 0]; 1],
    metrics: Vec<Definition>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    name: &'static str,
    unit: &'static str,
}

/// Writes metrics into one namespace.
#[derive(Debug, Clone)]
pub struct Metrics {
    namespace: Option<String>,
}

impl Metrics {
    /// Into the namespace of `METRICS_NAMESPACE`; without one, nothing is written.
    pub fn from_env(settings: &Settings) -> Self {
        Self {
            namespace: settings.get("METRICS_NAMESPACE"),
        }
    }

    /// Writes the values of `now` to standard output. Values that are no numbers are left out.
    pub fn put(&self, now: Timestamp, values: &[(Metric, f64)]) {
        if let Some(mut line) = self.line(now, values) {
            line.push('\n');
            // One write, so that no log line falls into it; when standard output is gone, so is who would read it.
            let _ = std::io::stdout().lock().write_all(line.as_bytes());
        }
    }

    /// The line that [`Metrics::put`] writes; `None` when there is nothing to write.
    pub fn line(&self, now: Timestamp, values: &[(Metric, f64)]) -> Option<String> {
        let namespace = self.namespace.as_deref()?;
        let values: Vec<_> = values.iter().filter(|(_, value)| value.is_finite()).collect();
        if values.is_empty() {
            return None;
        }
        let line = Line {
            aws: Aws {
                timestamp: now.as_millisecond(),
                cloud_watch_metrics: [Directive {
                    namespace,
                    dimensions: [[]],
                    metrics: values
                        .iter()
                        .map(|(metric, _)| Definition {
                            name: metric.name(),
                            unit: metric.unit(),
                        })
                        .collect(),
                }],
            },
            values: values
                .iter()
                .map(|(metric, value)| (metric.name(), *value))
                .collect(),
        };
        Some(serde_json::to_string(&line).expect("words and finite numbers always have a JSON form"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(namespace: Option<&'static str>) -> Metrics {
        Metrics::from_env(&Settings::new(move |name| {
            (name == "METRICS_NAMESPACE")
                .then_some(namespace?)
                .map(str::to_owned)
        }))
    }

    fn now() -> Timestamp {
        "2026-11-20T08:30:00Z".parse().unwrap()
    }

    #[test]
    fn a_metric_is_one_line_of_the_embedded_format() {
        let line = metrics(Some("exotel")).line(now(), &[(Metric::UnconfirmedIntents, 3.0)]);
        assert_eq!(
            line.unwrap(),
            r#"{"_aws":{"Timestamp":1795163400000,"CloudWatchMetrics":[{"Namespace":"exotel","Dimensions":[[]],"Metrics":[{"Name":"UnconfirmedIntents","Unit":"Count"}]}]},"UnconfirmedIntents":3.0}"#
        );
        let values = [(Metric::OpenAlerts, 1.0), (Metric::WebhookGap, 2.5)];
        let line = metrics(Some("exotel")).line(now(), &values);
        assert_eq!(
            line.unwrap(),
            r#"{"_aws":{"Timestamp":1795163400000,"CloudWatchMetrics":[{"Namespace":"exotel","Dimensions":[[]],"Metrics":[{"Name":"OpenAlerts","Unit":"Count"},{"Name":"WebhookGap","Unit":"Percent"}]}]},"OpenAlerts":1.0,"WebhookGap":2.5}"#
        );
    }

    #[test]
    fn nothing_is_written_without_a_namespace_or_of_what_is_no_number() {
        assert_eq!(metrics(None).line(now(), &[(Metric::OpenAlerts, 1.0)]), None);
        let odd = [
            (Metric::VoiceConnect, f64::NAN),
            (Metric::SmsDelivery, f64::INFINITY),
        ];
        assert_eq!(metrics(Some("exotel")).line(now(), &odd), None);
        assert_eq!(metrics(Some("exotel")).line(now(), &[]), None);
    }
}
