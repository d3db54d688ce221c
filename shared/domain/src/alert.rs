//! When somebody has to be told: the rules as data, an alert, and how one follows from what was observed.
//!
//! A rule raises one alert for a subject when its metric is beyond the threshold, and recovers it when the metric is
//! back at the recovery value, which lies on the good side of the threshold: between the two nothing changes, so a
//! figure that trembles around the threshold raises one alert, not one a minute. An observation of too few calls or
//! messages, or of nothing known, changes nothing either.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ids::{AlertId, AlertSubject, RuleId, UserId};

/// The longest note that goes with an acknowledgement, in characters.
pub const NOTE_CHARS: usize = 500;

/// A metric's value, to two decimals: percent, points, a count, or minutes, as the metric says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "f64", into = "f64")]
pub struct Measure(i64);

impl Measure {
    /// A whole number.
    pub const fn whole(value: i64) -> Self {
        Self(value.saturating_mul(100))
    }

    /// This many hundredths.
    pub const fn hundredths(value: i64) -> Self {
        Self(value)
    }

    /// `part` of `whole` in percent, half a hundredth rounded up; `None` of nothing.
    pub fn percent(part: u64, whole: u64) -> Option<Self> {
        let (part, whole) = (u128::from(part), u128::from(whole));
        let hundredths = (part * 20_000 + whole).checked_div(2 * whole)?;
        Some(Self(i64::try_from(hundredths).unwrap_or(i64::MAX)))
    }

    /// The difference to another value.
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl From<f64> for Measure {
    /// Rounded to hundredths; what is no number is 0.
    fn from(value: f64) -> Self {
        // `as` saturates, and makes 0 of NaN.
        Self((value * 100.0).round() as i64)
    }
}

impl From<Measure> for f64 {
    fn from(value: Measure) -> f64 {
        value.0 as f64 / 100.0
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(*self))
    }
}

/// How soon somebody has to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// At once, at any hour.
    P1,
    /// Within 15 minutes.
    P2,
    /// In the daily digest.
    P3,
}

impl Severity {
    /// The severity as people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::P1 => "P1",
            Severity::P2 => "P2",
            Severity::P3 => "P3",
        }
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Percent of verifications started that were approved. No data yet.
    OtpDelivery,
    /// Percent of messages sent that were delivered.
    SmsDelivery,
    /// Percent of WhatsApp messages sent that were delivered (30002). No data yet.
    WhatsappDelivery,
    /// Percent of ended calls in which the parties talked.
    VoiceConnect,
    /// Percent of voicebot calls with the outcome `resolved`. No data yet.
    VoicebotCompletion,
    /// The same, this week minus the week before, in percentage points. No data yet.
    VoicebotCompletionChange,
    /// Percent of chatbot sessions that were resolved. No data yet.
    ChatbotResolution,
    /// Percent of chatbot sessions that went to a person. No data yet.
    ChatbotEscalation,
    /// Percent of interactions given to conversation quality analysis whose analysis failed. No data yet.
    CqaFailure,
    /// Average `finalScore` of the calls of one lifecycle stage, 0 to 100. No data yet.
    CqaScore,
    /// Percent of messages that were refused for their DLT entity or template.
    DltRejection,
    /// Percent of the calls that we placed whose end no webhook had told right when the poll judged them.
    WebhookGap,
    /// Calls whose request may have reached Exotel, and of which nothing is known for ten minutes.
    UnconfirmedIntents,
    /// An ExoPhone's health: 0 is healthy, 1 partly out, 2 out.
    ExophoneHealth,
    /// How many ExoPhones there are whose health nobody can tell.
    ExophonesUnknown,
    /// Minutes since anything was heard of any ExoPhone's health.
    HeartbeatSilence,
}

impl Metric {
    /// What follows the value: ` %`, ` points`, ` min`, or nothing for a count.
    pub fn unit(self) -> &'static str {
        match self {
            Metric::OtpDelivery
            | Metric::SmsDelivery
            | Metric::WhatsappDelivery
            | Metric::VoiceConnect
            | Metric::VoicebotCompletion
            | Metric::ChatbotResolution
            | Metric::ChatbotEscalation
            | Metric::CqaFailure
            | Metric::DltRejection
            | Metric::WebhookGap => " %",
            Metric::VoicebotCompletionChange | Metric::CqaScore => " points",
            Metric::HeartbeatSilence => " min",
            Metric::UnconfirmedIntents | Metric::ExophoneHealth | Metric::ExophonesUnknown => "",
        }
    }
}

/// On which side of the threshold it is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Below it.
    Below,
    /// Above it.
    Above,
}

/// When somebody has to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Names it, in lower case with dashes; alerts and their keys hold it.
    pub id: &'static str,
    /// What is measured.
    pub metric: Metric,
    /// Over which time up to now; zero for what has a value at every moment.
    pub window: SignedDuration,
    /// On which side of the threshold it is bad.
    pub direction: Direction,
    /// The last value that is still good.
    pub threshold: Measure,
    /// From which value on an alert recovers.
    pub recovery: Measure,
    /// The fewest calls, messages or sessions that say anything.
    pub min_sample: u64,
    /// How soon somebody has to look.
    pub severity: Severity,
    /// What is wrong when it is beyond the threshold, for people.
    pub sentence: &'static str,
}

impl Rule {
    /// Names it, as alerts hold it.
    pub fn rule_id(&self) -> RuleId {
        self.id.parse().expect("a test reads every rule's id")
    }

    /// Whether the value is beyond the threshold.
    pub fn is_breached(&self, value: Measure) -> bool {
        match self.direction {
            Direction::Below => value < self.threshold,
            Direction::Above => value > self.threshold,
        }
    }

    /// Whether an alert recovers at this value.
    pub fn is_recovered(&self, value: Measure) -> bool {
        match self.direction {
            Direction::Below => value >= self.recovery,
            Direction::Above => value <= self.recovery,
        }
    }

    /// Whether it is evaluated once a day, for the digest.
    pub fn is_daily(&self) -> bool {
        self.severity == Severity::P3
    }

    /// What is wrong, with the figures.
    fn message(&self, value: Measure, sample: u64) -> String {
        let unit = self.metric.unit();
        let side = match self.direction {
            Direction::Below => "below",
            Direction::Above => "above",
        };
        let over = match (self.window.as_mins(), self.window.as_hours()) {
            (0, _) => String::new(),
            (mins, 0) => format!(" over {mins} min"),
            (_, hours @ (1 | 24)) => format!(" over {hours} h"),
            (_, hours) if hours % 24 == 0 => format!(" over {} days", hours / 24),
            (_, hours) => format!(" over {hours} h"),
        };
        let of = match self.min_sample {
            0 | 1 => String::new(),
            _ => format!(", of {sample}"),
        };
        format!(
            "{}: {value}{unit}{over}{of} (alert {side} {}{unit})",
            self.sentence, self.threshold
        )
    }
}

const fn mins(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

const HOUR: SignedDuration = mins(60);
const DAY: SignedDuration = SignedDuration::from_hours(24);
const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A rule for what must not fall below.
const fn below(id: &'static str, metric: Metric, threshold: i64, recovery: i64) -> Rule {
    Rule {
        id,
        metric,
        window: HOUR,
        direction: Direction::Below,
        threshold: Measure::whole(threshold),
        recovery: Measure::whole(recovery),
        min_sample: 50,
        severity: Severity::P2,
        sentence: "",
    }
}

/// A rule for what must not rise above.
const fn above(id: &'static str, metric: Metric, threshold: i64, recovery: i64) -> Rule {
    Rule {
        direction: Direction::Above,
        ..below(id, metric, threshold, recovery)
    }
}

/// An ExoPhone takes no calls, or places none. Subject: its sid. Observed by what hears of its health.
pub const EXOPHONE_AFFECTED: Rule = Rule {
    window: SignedDuration::ZERO,
    min_sample: 1,
    severity: Severity::P1,
    sentence: "Exotel reports that an ExoPhone is affected (1 partly out, 2 out)",
    ..above("exophone-affected", Metric::ExophoneHealth, 0, 0)
};

/// Exotel's answers do not tell how ExoPhones do, or none come. Subject: the account. Observed by what hears of them.
pub const EXOPHONES_UNKNOWN: Rule = Rule {
    window: SignedDuration::ZERO,
    min_sample: 1,
    sentence: "Exotel does not tell how ExoPhones do: nobody would notice if they were affected",
    ..above("exophones-unknown", Metric::ExophonesUnknown, 0, 0)
};

/// Nothing was heard of any ExoPhone's health. Observed by what hears of it.
pub const HEARTBEAT_SILENT: Rule = Rule {
    window: SignedDuration::ZERO,
    min_sample: 1,
    sentence: "Nothing is heard of the ExoPhones' health, neither pushed nor polled",
    ..above("heartbeat-silent", Metric::HeartbeatSilence, 5, 2)
};

/// Requests that nobody knows the fate of.
pub const UNCONFIRMED_INTENTS: Rule = Rule {
    window: SignedDuration::ZERO,
    min_sample: 0,
    sentence: "Calls are unconfirmed for more than 10 min: Exotel may have placed them, and nothing tells",
    ..above("unconfirmed-intents", Metric::UnconfirmedIntents, 0, 0)
};

/// Webhooks that did not come, or came late.
pub const WEBHOOK_GAP: Rule = Rule {
    min_sample: 20,
    sentence: "Webhooks are missing or late: the poll had to find how calls ended",
    ..above("webhook-gap", Metric::WebhookGap, 5, 2)
};

/// Every rule. Metrics that say "no data yet" have no sample until their channel is built, so their rules are silent.
pub const RULES: &[Rule] = &[
    // P1: at once.
    Rule {
        severity: Severity::P1,
        min_sample: 20,
        sentence: "Messages are refused for their DLT entity or template: none of them will arrive until that is set right",
        ..above("dlt-rejection", Metric::DltRejection, 1, 0)
    },
    Rule {
        window: mins(15),
        severity: Severity::P1,
        min_sample: 20,
        sentence: "One-time passwords do not arrive: users cannot sign in",
        ..below("otp-delivery-collapse", Metric::OtpDelivery, 70, 75)
    },
    EXOPHONE_AFFECTED,
    // P2: within 15 minutes.
    Rule {
        sentence: "Many one-time passwords do not arrive",
        ..below("otp-delivery", Metric::OtpDelivery, 85, 88)
    },
    Rule {
        sentence: "Many messages are not delivered",
        ..below("sms-delivery", Metric::SmsDelivery, 90, 92)
    },
    Rule {
        sentence: "Many WhatsApp messages are not delivered",
        ..below("whatsapp-delivery", Metric::WhatsappDelivery, 85, 88)
    },
    Rule {
        min_sample: 20,
        sentence: "Fewer than half of the calls connect",
        ..below("voice-connect-collapse", Metric::VoiceConnect, 50, 55)
    },
    Rule {
        min_sample: 20,
        sentence: "Conversation quality analysis fails for many interactions",
        ..above("cqa-failure-collapse", Metric::CqaFailure, 5, 3)
    },
    WEBHOOK_GAP,
    UNCONFIRMED_INTENTS,
    EXOPHONES_UNKNOWN,
    HEARTBEAT_SILENT,
    // P3: the daily digest.
    Rule {
        window: DAY,
        severity: Severity::P3,
        sentence: "Fewer calls connect than should",
        ..below("voice-connect", Metric::VoiceConnect, 60, 60)
    },
    Rule {
        window: DAY,
        severity: Severity::P3,
        sentence: "The voicebot resolves few of its calls: its flow needs work",
        ..below("voicebot-completion", Metric::VoicebotCompletion, 40, 40)
    },
    Rule {
        window: WEEK,
        severity: Severity::P3,
        sentence: "The voicebot resolves fewer of its calls than in the week before",
        ..below(
            "voicebot-completion-falling",
            Metric::VoicebotCompletionChange,
            0,
            0,
        )
    },
    Rule {
        window: DAY,
        severity: Severity::P3,
        sentence: "The chatbot resolves few of its sessions",
        ..below("chatbot-resolution", Metric::ChatbotResolution, 50, 50)
    },
    Rule {
        window: DAY,
        severity: Severity::P3,
        sentence: "The chatbot hands many of its sessions to people",
        ..above("chatbot-escalation", Metric::ChatbotEscalation, 30, 30)
    },
    Rule {
        window: DAY,
        severity: Severity::P3,
        sentence: "Conversation quality analysis fails for more interactions than should",
        ..above("cqa-failure", Metric::CqaFailure, 2, 2)
    },
    // Subject: the lifecycle stage, AT_RISK.
    Rule {
        window: DAY,
        severity: Severity::P3,
        min_sample: 10,
        sentence: "Calls with customers at risk of leaving score low",
        ..below("cqa-score", Metric::CqaScore, 60, 60)
    },
];

/// The rule of this id, unless a later version dropped it.
pub fn rule(id: &RuleId) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id.as_str())
}

/// What is known of a metric at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observation {
    /// Nobody can tell: no data, or no answer. It is neither good nor bad.
    Unknown,
    /// This value, of so many calls, messages or sessions.
    Measured {
        /// The value, in the metric's unit.
        value: Measure,
        /// How many it was measured of.
        sample: u64,
    },
}

impl Observation {
    /// `part` of `whole` in percent; unknown of nothing.
    pub fn share(part: u64, whole: u64) -> Self {
        Measure::percent(part, whole).map_or(Observation::Unknown, |value| Observation::Measured {
            value,
            sample: whole,
        })
    }

    /// A count, a level, or minutes: a sample of one.
    pub fn single(value: Measure) -> Self {
        Observation::Measured { value, sample: 1 }
    }
}

/// Who took notice of an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Who.
    pub by: UserId,
    /// When; UTC.
    pub at: Timestamp,
    /// What they noted, at most [`NOTE_CHARS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Something is wrong, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Names it.
    pub id: AlertId,
    /// The rule that raised it.
    pub rule: RuleId,
    /// What it is about: an ExoPhone's sid, a lifecycle stage, or `account`.
    pub subject: AlertSubject,
    /// How soon somebody has to look.
    pub severity: Severity,
    /// When it was raised; UTC, whole milliseconds, which the id tells, too.
    pub raised_at: Timestamp,
    /// The value that raised it, in the metric's unit.
    pub value: Measure,
    /// The rule's threshold at that time.
    pub threshold: Measure,
    /// How many calls, messages or sessions the value was measured of.
    pub sample: u64,
    /// What is wrong, for people. No numbers of people.
    pub message: String,
    /// When it recovered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered_at: Option<Timestamp>,
    /// The value at which it recovered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered_value: Option<Measure>,
    /// Who took notice of it first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledgement>,
}

impl Alert {
    /// Whether it has not recovered.
    pub fn is_open(&self) -> bool {
        self.recovered_at.is_none()
    }
}

/// What an observation changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// This alert is new.
    Raised(Box<Alert>),
    /// This alert recovered.
    Recovered(Box<Alert>),
}

/// What an observation of a subject at `now` changes, when `open` is its open alert by this rule. `random` gives a new
/// alert's id its last bits.
pub fn step(
    rule: &Rule,
    subject: &AlertSubject,
    open: Option<&Alert>,
    observation: Observation,
    now: Timestamp,
    random: u128,
) -> Option<Transition> {
    let Observation::Measured { value, sample } = observation else {
        return None;
    };
    if sample < rule.min_sample {
        return None;
    }
    match open.filter(|alert| alert.is_open()) {
        None if rule.is_breached(value) => {
            let id = AlertId::new(now, random);
            Some(Transition::Raised(Box::new(Alert {
                raised_at: id.created_at(),
                id,
                rule: rule.rule_id(),
                subject: subject.clone(),
                severity: rule.severity,
                value,
                threshold: rule.threshold,
                sample,
                message: rule.message(value, sample),
                recovered_at: None,
                recovered_value: None,
                acknowledged: None,
            })))
        }
        Some(alert) if rule.is_recovered(value) => Some(Transition::Recovered(Box::new(Alert {
            recovered_at: Some(now.max(alert.raised_at)),
            recovered_value: Some(value),
            ..alert.clone()
        }))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + secs).unwrap()
    }

    fn account() -> AlertSubject {
        AlertSubject::account()
    }

    #[test]
    fn every_rule_has_a_readable_id_of_its_own_a_sentence_and_a_recovery_on_the_good_side() {
        let mut ids = BTreeSet::new();
        for rule in RULES {
            assert!(ids.insert(rule.rule_id()), "{} is there twice", rule.id);
            assert!(
                !rule.sentence.is_empty() && !rule.sentence.ends_with('.'),
                "{}",
                rule.id
            );
            assert!(!rule.is_breached(rule.threshold), "{}", rule.id);
            assert!(
                !rule.is_breached(rule.recovery),
                "{} recovers into an alert",
                rule.id
            );
            assert!(rule.is_recovered(rule.recovery), "{}", rule.id);
            assert!(!rule.window.is_negative() && rule.window <= WEEK, "{}", rule.id);
            assert_eq!(super::rule(&rule.rule_id()), Some(rule));
        }
    }

    #[test]
    fn an_operator_finds_every_rule_in_the_handbook() {
        let handbook = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
        let handbook = std::fs::read_to_string(handbook).unwrap();
        for rule in RULES {
            let row = handbook
                .lines()
                .find(|line| line.starts_with("| `") && line.contains(&format!("`{}`", rule.id)));
            let row = row.unwrap_or_else(|| panic!("{} is not in docs/operations.md", rule.id));
            assert!(row.contains(rule.severity.as_str()), "{row}");
        }
    }

    /// The thresholds that the source document asks for, each by metric, severity, side and value.
    #[test]
    fn the_thresholds_are_those_asked_for() {
        use Direction::{Above, Below};
        use Severity::{P1, P2, P3};
        for (metric, severity, direction, threshold) in [
            (Metric::OtpDelivery, P2, Below, 85),
            (Metric::SmsDelivery, P2, Below, 90),
            (Metric::WhatsappDelivery, P2, Below, 85),
            (Metric::VoiceConnect, P3, Below, 60),
            (Metric::VoicebotCompletion, P3, Below, 40),
            (Metric::ChatbotResolution, P3, Below, 50),
            (Metric::CqaFailure, P3, Above, 2),
            (Metric::CqaScore, P3, Below, 60),
            (Metric::DltRejection, P1, Above, 1),
            (Metric::OtpDelivery, P1, Below, 70),
            (Metric::VoiceConnect, P2, Below, 50),
            (Metric::CqaFailure, P2, Above, 5),
            (Metric::VoicebotCompletionChange, P3, Below, 0),
            (Metric::ChatbotEscalation, P3, Above, 30),
        ] {
            let found = RULES.iter().any(|rule| {
                (rule.metric, rule.severity, rule.direction, rule.threshold)
                    == (metric, severity, direction, Measure::whole(threshold))
            });
            assert!(found, "{metric:?} {severity:?} {direction:?} {threshold}");
        }
        let connect = RULES
            .iter()
            .find(|rule| rule.id == "voice-connect-collapse")
            .unwrap();
        assert_eq!(connect.window, SignedDuration::from_hours(1));
    }

    #[test]
    fn an_alert_says_what_is_wrong_with_its_figures() {
        let rule = RULES
            .iter()
            .find(|rule| rule.id == "voice-connect-collapse")
            .unwrap();
        let raised = step(rule, &account(), None, Observation::share(49, 120), at(0), 7);
        let Some(Transition::Raised(alert)) = raised else {
            panic!("{raised:?}")
        };
        assert_eq!(
            alert.message,
            "Fewer than half of the calls connect: 40.83 % over 1 h, of 120 (alert below 50 %)"
        );
        assert_eq!(alert.raised_at, alert.id.created_at());
        assert_eq!(serde_json::to_value(alert.value).unwrap(), 40.83);
        let json = serde_json::to_string(&alert).unwrap();
        assert_eq!(serde_json::from_str::<Alert>(&json).unwrap(), *alert);
        let exophone = step(
            &EXOPHONE_AFFECTED,
            &"08045550100".parse().unwrap(),
            None,
            Observation::single(Measure::whole(2)),
            at(0),
            7,
        );
        let Some(Transition::Raised(alert)) = exophone else {
            panic!("{exophone:?}")
        };
        assert_eq!(
            alert.message,
            "Exotel reports that an ExoPhone is affected (1 partly out, 2 out): 2 (alert above 0)"
        );
    }

    #[test]
    fn a_share_is_rounded_to_hundredths_and_of_nothing_is_unknown() {
        assert_eq!(Observation::share(0, 0), Observation::Unknown);
        assert_eq!(Measure::percent(1, 3), Some(Measure::hundredths(3_333)));
        assert_eq!(Measure::percent(2, 3), Some(Measure::hundredths(6_667)));
        assert_eq!(Measure::percent(u64::MAX, u64::MAX), Some(Measure::whole(100)));
    }

    fn observations() -> impl Strategy<Value = Vec<Observation>> {
        let measured = (-20_000..20_000_i64, 0..120_u64).prop_map(|(value, sample)| Observation::Measured {
            value: Measure::hundredths(value),
            sample,
        });
        proptest::collection::vec(prop_oneof![1 => Just(Observation::Unknown), 6 => measured], 0..60)
    }

    proptest! {
        #[test]
        fn whatever_is_observed_an_alert_is_raised_and_recovered_in_turn(
            which in 0..RULES.len(),
            seen in observations(),
        ) {
            let rule = &RULES[which];
            let mut open: Option<Alert> = None;
            for (n, observation) in seen.into_iter().enumerate() {
                let now = at(n as i64 * 60);
                let told = step(rule, &account(), open.as_ref(), observation, now, n as u128);
                let counts = matches!(
                    observation,
                    Observation::Measured { sample, .. } if sample >= rule.min_sample
                );
                match told {
                    None => if let Observation::Measured { value, .. } = observation && counts {
                        // It says nothing only where there is nothing to say.
                        prop_assert!(open.is_some() || !rule.is_breached(value));
                        prop_assert!(open.is_none() || !rule.is_recovered(value));
                    },
                    Some(Transition::Raised(alert)) => {
                        prop_assert!(counts && open.is_none() && alert.is_open());
                        open = Some(*alert);
                    }
                    Some(Transition::Recovered(alert)) => {
                        prop_assert!(counts);
                        let before = open.take();
                        prop_assert_eq!(before.map(|alert| alert.id), Some(alert.id.clone()));
                        prop_assert!(!alert.is_open() && alert.recovered_at >= Some(alert.raised_at));
                    }
                }
            }
        }

        #[test]
        fn the_same_observation_again_changes_nothing(
            which in 0..RULES.len(),
            value in -20_000..20_000_i64,
            sample in 0..120_u64,
        ) {
            let rule = &RULES[which];
            let observation = Observation::Measured { value: Measure::hundredths(value), sample };
            let first = step(rule, &account(), None, observation, at(0), 1);
            if let Some(Transition::Raised(alert)) = first {
                prop_assert_eq!(step(rule, &account(), Some(&alert), observation, at(60), 2), None);
            } else {
                prop_assert_eq!(first, None);
            }
        }

        #[test]
        fn too_small_a_sample_changes_nothing(
            which in 0..RULES.len(),
            value in -20_000..20_000_i64,
            few in 0.0..1.0_f64,
        ) {
            let rule = &RULES[which];
            let sample = (few * rule.min_sample as f64) as u64;
            prop_assume!(sample < rule.min_sample);
            let observation = Observation::Measured { value: Measure::hundredths(value), sample };
            let beyond = Observation::Measured {
                value: Measure::whole(if rule.direction == Direction::Below { -1_000 } else { 1_000 }),
                sample: rule.min_sample,
            };
            let Some(Transition::Raised(open)) = step(rule, &account(), None, beyond, at(0), 1) else {
                return Err(TestCaseError::fail("beyond every threshold raises"));
            };
            prop_assert_eq!(step(rule, &account(), None, observation, at(60), 2), None);
            prop_assert_eq!(step(rule, &account(), Some(&open), observation, at(60), 2), None);
            prop_assert_eq!(step(rule, &account(), Some(&open), Observation::Unknown, at(60), 2), None);
        }
    }
}
