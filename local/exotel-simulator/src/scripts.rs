//! Which way a call or message goes: by the suffix of the lead's number, or by what `POST /_sim/scripts` said.

use serde::{Deserialize, Serialize};

use crate::faults::ApiFault;
use crate::options::{BodyForm, Timings};
use crate::phone::Number;
use crate::stream::Talk;

/// Status of a call or of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallStatus {
    /// Not ended.
    InProgress,
    /// Leg 1 answered and the call ended normally; says nothing of leg 2.
    Completed,
    /// Busy.
    Busy,
    /// Rang out.
    NoAnswer,
    /// Could not be connected.
    Failed,
    /// Given up before it was answered.
    Canceled,
}

impl CallStatus {
    /// As Exotel spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            CallStatus::InProgress => "in-progress",
            CallStatus::Completed => "completed",
            CallStatus::Busy => "busy",
            CallStatus::NoAnswer => "no-answer",
            CallStatus::Failed => "failed",
            CallStatus::Canceled => "canceled",
        }
    }
}

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Both legs answer and talk.
    #[default]
    Completed,
    /// Leg 1 answers, leg 2 rings out: overall `completed`, `ConversationDuration` 0.
    Leg2NoAnswer,
    /// Leg 1 answers, leg 2 is busy: overall `completed`, `ConversationDuration` 0.
    Leg2Busy,
    /// Leg 1 answers, leg 2 is busy: overall `busy`.
    Busy,
    /// Leg 1 rings out: overall `no-answer`, leg 2 is never rung.
    Leg1NoAnswer,
    /// Leg 1 is busy: overall `busy`, leg 2 is never rung.
    Leg1Busy,
    /// Leg 2 cannot be connected: overall `failed`.
    Failed,
    /// Leg 1 hangs up while leg 2 rings: overall `canceled`.
    Canceled,
}

impl Outcome {
    /// Overall status, leg 1, leg 2 (`None`: never rung).
    pub fn statuses(self) -> (CallStatus, CallStatus, Option<CallStatus>) {
        use CallStatus::{Busy, Canceled, Completed, Failed, NoAnswer};
        match self {
            Outcome::Completed => (Completed, Completed, Some(Completed)),
            Outcome::Leg2NoAnswer => (Completed, Completed, Some(NoAnswer)),
            Outcome::Leg2Busy => (Completed, Completed, Some(Busy)),
            Outcome::Busy => (Busy, Completed, Some(Busy)),
            Outcome::Leg1NoAnswer => (NoAnswer, NoAnswer, None),
            Outcome::Leg1Busy => (Busy, Busy, None),
            Outcome::Failed => (Failed, Completed, Some(Failed)),
            Outcome::Canceled => (Canceled, Completed, Some(Canceled)),
        }
    }
}

/// `Direction` of a call in answers and callbacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Somebody called an ExoPhone.
    Inbound,
    /// Placed from the dashboard.
    OutboundDial,
    /// Placed through the API.
    #[default]
    OutboundApi,
}

impl Direction {
    /// As Exotel spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Inbound => "inbound",
            Direction::OutboundDial => "outbound-dial",
            Direction::OutboundApi => "outbound-api",
        }
    }
}

/// On which kind of path a recording lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordingKind {
    /// `/recordings/protected/…`: wants the account's Basic credentials.
    #[default]
    Protected,
    /// `/recordings/open/…`: anybody.
    Open,
    /// `/recordings/private/…`: like S3, 403 without a signature, 400 for a signature with an Authorization header.
    Private,
    /// `/recordings/redirect/…`: 302 to the open path, or to `redirect_to`.
    Redirect,
    /// The URL is there, the file never will be: 404.
    Missing,
    /// Nothing is recorded.
    None,
}

/// Changes to a call's recording.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecordingScript {
    /// Where it lies.
    pub kind: Option<RecordingKind>,
    /// Simulated milliseconds from the call's end until it is there (404 before).
    pub ready_ms: Option<u64>,
    /// Size in bytes; without it, as long as the talk.
    pub bytes: Option<u64>,
    /// For `redirect`: where to, instead of the open path.
    pub redirect_to: Option<String>,
    /// For `redirect`: how many hops before the file (1).
    pub hops: Option<u32>,
    /// The connection breaks off after so many bytes of the answer.
    pub cut_at: Option<u64>,
    /// `false`: the callback's `RecordingUrl` is empty, only the details carry it.
    pub in_callback: Option<bool>,
}

/// What happens to the callbacks of one call or message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallbackScript {
    /// Events that are never sent (`answered`, `terminal`, `ringing`, `sms`, `passthru`), or `all`.
    pub drop: Vec<String>,
    /// Every one is sent twice.
    pub duplicate: bool,
    /// Every one is late by this many simulated milliseconds.
    pub delay_ms: Option<u64>,
    /// Each but the last is sent after the one that follows it.
    pub reorder: bool,
    /// Absent values are the literal string `null`.
    pub literal_nulls: Option<bool>,
    /// Fields that may be missing are.
    pub sparse: Option<bool>,
    /// `EndTime` of the terminal event is still the 1970 placeholder.
    pub placeholder_end: bool,
    /// Body form, whatever was asked for.
    pub form: Option<BodyForm>,
}

/// Changes to how a call goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallScript {
    /// How it ends.
    pub outcome: Option<Outcome>,
    /// Simulated milliseconds until leg 1 answers.
    pub ring1_ms: Option<u64>,
    /// Simulated milliseconds until leg 2 answers.
    pub ring2_ms: Option<u64>,
    /// Simulated milliseconds of talk; `ConversationDuration` is this in seconds, rounded up.
    pub talk_ms: Option<u64>,
    /// Simulated milliseconds of ringing where nobody answers.
    pub no_answer_ms: Option<u64>,
    /// Simulated milliseconds until end time, duration and price settle.
    pub settle_ms: Option<u64>,
    /// `AnsweredBy` of leg 2, e.g. `HUMAN`, `Machine`, `NotSure`.
    pub answered_by: Option<String>,
    /// Its `Direction`, where it should not be `outbound-api`: a call placed from the dashboard, say.
    pub direction: Option<Direction>,
    /// Its recording.
    pub recording: RecordingScript,
    /// What the lead says and does when connected to a voicebot.
    pub talk: Option<Talk>,
}

/// Changes to how a message goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmsScript {
    /// The final `DetailedStatusCode`, e.g. 20005, 20006, 23005.
    pub code: Option<u32>,
    /// Simulated milliseconds per step.
    pub step_ms: Option<u64>,
}

/// Which way calls and messages to a number go. What is not set stays as the number's suffix says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// The lead's number: `To`, or `From` where there is no `To`. Without it, any number.
    pub to: Option<String>,
    /// How many calls and messages it is for, 1 if not set; 0 is for ever.
    pub times: Option<u32>,
    /// What happens to the request itself.
    pub api: Option<ApiFault>,
    /// Changes to the call.
    pub call: CallScript,
    /// Changes to the message.
    pub sms: SmsScript,
    /// What happens to the callbacks.
    pub callbacks: CallbackScript,
}

impl Script {
    pub(crate) fn matches(&self, number: &Number) -> bool {
        self.to
            .as_deref()
            .is_none_or(|to| Number::parse(to).as_ref() == Some(number))
    }

    fn call(call: CallScript) -> Self {
        Self {
            call,
            ..Self::default()
        }
    }

    fn outcome(outcome: Outcome) -> Self {
        Self::call(CallScript {
            outcome: Some(outcome),
            ..CallScript::default()
        })
    }

    fn sms_code(mut self, code: u32) -> Self {
        self.sms.code = Some(code);
        self
    }

    fn api(fault: ApiFault) -> Self {
        Self {
            api: Some(fault),
            ..Self::default()
        }
    }

    fn callbacks(callbacks: CallbackScript) -> Self {
        Self {
            callbacks,
            ..Self::default()
        }
    }

    fn recording(recording: RecordingScript) -> Self {
        Self::call(CallScript {
            recording,
            ..CallScript::default()
        })
    }

    fn recording_kind(kind: RecordingKind) -> Self {
        Self::recording(RecordingScript {
            kind: Some(kind),
            ..RecordingScript::default()
        })
    }

    /// What the last four digits of a number say; the README holds the same table.
    pub(crate) fn by_suffix(number: &Number) -> Self {
        let digits = number.as_str();
        // The last five digits may be an SMS status code: …23082 fails for its DLT template.
        let code = digits
            .len()
            .checked_sub(5)
            .and_then(|at| digits.get(at..)?.parse().ok());
        if let Some(code) = code.filter(|code| *code >= 23_000 && sms_status(*code).is_some()) {
            return Self::default().sms_code(code);
        }
        let drop = |events: &[&str]| {
            let drop = events.iter().map(|event| (*event).to_owned()).collect();
            Self::callbacks(CallbackScript {
                drop,
                ..CallbackScript::default()
            })
        };
        let plain = CallbackScript::default;
        match digits
            .len()
            .checked_sub(4)
            .and_then(|at| digits.get(at..))
            .unwrap_or_default()
        {
            "0002" => Self::outcome(Outcome::Leg2NoAnswer).sms_code(20_006),
            "0003" => Self::outcome(Outcome::Busy).sms_code(23_035),
            "0004" => Self::outcome(Outcome::Leg1NoAnswer),
            "0005" => Self::outcome(Outcome::Failed).sms_code(23_010),
            "0006" => Self::outcome(Outcome::Canceled),
            "0007" => Self::outcome(Outcome::Leg2Busy),
            "0008" => Self::outcome(Outcome::Leg1Busy),
            "0011" => Self::api(ApiFault::Ndnc).sms_code(23_005),
            "0012" => Self::api(ApiFault::Kyc),
            "0013" => Self::api(ApiFault::Unavailable),
            "0014" => Self::api(ApiFault::RateLimited),
            "0015" => Self::api(ApiFault::Gateway),
            "0016" => Self::api(ApiFault::HangAfterAccept),
            "0017" => Self::api(ApiFault::ResetAfterAccept),
            "0018" => Self::api(ApiFault::Hang),
            "0019" => Self::api(ApiFault::Reset),
            "0020" => Self::api(ApiFault::GatewayAfterAccept),
            "0021" => Self::api(ApiFault::Invalid),
            "0022" => Self::api(ApiFault::Balance),
            "0023" => Self::api(ApiFault::Empty500),
            "0024" => Self::api(ApiFault::NotFound),
            "0025" => Self::api(ApiFault::Unauthorized),
            "0026" => Self::api(ApiFault::Internal),
            "0031" => drop(&["all"]),
            "0032" => drop(&["terminal"]),
            "0033" => drop(&["answered"]),
            "0034" => Self::callbacks(CallbackScript {
                duplicate: true,
                ..plain()
            }),
            "0035" => Self::callbacks(CallbackScript {
                reorder: true,
                ..plain()
            }),
            "0036" => Self::callbacks(CallbackScript {
                delay_ms: Some(60_000),
                ..plain()
            }),
            "0037" => Self::callbacks(CallbackScript {
                literal_nulls: Some(true),
                ..plain()
            }),
            "0038" => Self::callbacks(CallbackScript {
                sparse: Some(true),
                ..plain()
            }),
            "0039" => Self::callbacks(CallbackScript {
                placeholder_end: true,
                ..plain()
            }),
            "0041" => Self::recording_kind(RecordingKind::Open),
            "0042" => Self::recording_kind(RecordingKind::Private),
            "0043" => Self::recording(RecordingScript {
                ready_ms: Some(900_000),
                ..Default::default()
            }),
            "0044" => Self::recording_kind(RecordingKind::Redirect),
            "0045" => Self::recording(RecordingScript {
                kind: Some(RecordingKind::Redirect),
                redirect_to: Some("http://169.254.169.254/latest/meta-data/".to_owned()),
                ..Default::default()
            }),
            "0046" => Self::recording(RecordingScript {
                bytes: Some(100 << 20),
                ..Default::default()
            }),
            "0047" => Self::recording_kind(RecordingKind::None),
            "0048" => Self::recording_kind(RecordingKind::Missing),
            "0049" => Self::recording(RecordingScript {
                in_callback: Some(false),
                ..Default::default()
            }),
            "0050" => Self::recording(RecordingScript {
                cut_at: Some(100_000),
                ..Default::default()
            }),
            "0061" => Self::api(ApiFault::UserNotFound),
            "0062" => Self::api(ApiFault::VirtualNumberNotFound),
            "0063" => Self::api(ApiFault::DeviceOff),
            "0064" => Self::api(ApiFault::DeviceUnverified),
            "0065" => Self::api(ApiFault::DeviceBusy),
            _ => Self::default(),
        }
    }

    /// This script's settings over those of `under`.
    pub(crate) fn over(self, under: Script) -> Script {
        let (call, below) = (self.call, under.call);
        let (recording, recording_below) = (call.recording, below.recording);
        let (callbacks, callbacks_below) = (self.callbacks, under.callbacks);
        Script {
            to: self.to,
            times: self.times,
            api: self.api.or(under.api),
            call: CallScript {
                outcome: call.outcome.or(below.outcome),
                ring1_ms: call.ring1_ms.or(below.ring1_ms),
                ring2_ms: call.ring2_ms.or(below.ring2_ms),
                talk_ms: call.talk_ms.or(below.talk_ms),
                no_answer_ms: call.no_answer_ms.or(below.no_answer_ms),
                settle_ms: call.settle_ms.or(below.settle_ms),
                answered_by: call.answered_by.or(below.answered_by),
                direction: call.direction.or(below.direction),
                talk: call.talk.or(below.talk),
                recording: RecordingScript {
                    kind: recording.kind.or(recording_below.kind),
                    ready_ms: recording.ready_ms.or(recording_below.ready_ms),
                    bytes: recording.bytes.or(recording_below.bytes),
                    redirect_to: recording.redirect_to.or(recording_below.redirect_to),
                    hops: recording.hops.or(recording_below.hops),
                    cut_at: recording.cut_at.or(recording_below.cut_at),
                    in_callback: recording.in_callback.or(recording_below.in_callback),
                },
            },
            sms: SmsScript {
                code: self.sms.code.or(under.sms.code),
                step_ms: self.sms.step_ms.or(under.sms.step_ms),
            },
            callbacks: CallbackScript {
                drop: [callbacks.drop, callbacks_below.drop].concat(),
                duplicate: callbacks.duplicate || callbacks_below.duplicate,
                delay_ms: callbacks.delay_ms.or(callbacks_below.delay_ms),
                reorder: callbacks.reorder || callbacks_below.reorder,
                literal_nulls: callbacks.literal_nulls.or(callbacks_below.literal_nulls),
                sparse: callbacks.sparse.or(callbacks_below.sparse),
                placeholder_end: callbacks.placeholder_end || callbacks_below.placeholder_end,
                form: callbacks.form.or(callbacks_below.form),
            },
        }
    }
}

/// A call's way, everything decided.
#[derive(Debug, Clone)]
pub(crate) struct CallPlan {
    pub(crate) status: CallStatus,
    pub(crate) leg1: CallStatus,
    pub(crate) leg2: Option<CallStatus>,
    pub(crate) ring1_ms: u64,
    pub(crate) ring2_ms: u64,
    pub(crate) talk_ms: u64,
    /// What is said is said to the voicemail: the parties do not talk.
    pub(crate) voicemail: bool,
    pub(crate) settle_ms: u64,
    pub(crate) recording_ms: u64,
    /// What is said to a voicebot.
    pub(crate) talk: Option<Talk>,
    pub(crate) answered_by: Option<String>,
    pub(crate) direction: Direction,
    pub(crate) recording: RecordingScript,
    pub(crate) callbacks: CallbackScript,
}

impl CallPlan {
    /// The way of a call with (`two_legs`) or without `To`.
    pub(crate) fn new(script: Script, timings: &Timings, two_legs: bool) -> Self {
        let call = script.call;
        let (mut status, mut leg1, mut leg2) = call.outcome.unwrap_or_default().statuses();
        if !two_legs {
            // The lead is leg 1: what the outcome says of leg 2 happens to leg 1.
            leg1 = leg2.take().unwrap_or(leg1);
            status = leg1;
        }
        let no_answer_ms = call.no_answer_ms.unwrap_or(timings.no_answer_ms);
        let ring = |status: CallStatus, set: Option<u64>, usual: u64| match status {
            CallStatus::NoAnswer => no_answer_ms,
            _ => set.unwrap_or(usual),
        };
        let last = leg2.unwrap_or(leg1);
        let talked = last == CallStatus::Completed;
        Self {
            status,
            leg1,
            leg2,
            ring1_ms: ring(leg1, call.ring1_ms, timings.ring1_ms),
            ring2_ms: ring(last, call.ring2_ms, timings.ring2_ms),
            talk_ms: if talked {
                call.talk_ms.unwrap_or(timings.talk_ms)
            } else {
                0
            },
            voicemail: false,
            settle_ms: call.settle_ms.unwrap_or(timings.settle_ms),
            recording_ms: call.recording.ready_ms.unwrap_or(timings.recording_ms),
            talk: call.talk,
            answered_by: call.answered_by,
            direction: call.direction.unwrap_or_default(),
            recording: call.recording,
            callbacks: script.callbacks,
        }
    }
}

impl CallPlan {
    /// The way of a call whose flow ends where it stands.
    pub(crate) fn halted(&self) -> Self {
        Self {
            status: CallStatus::Failed,
            leg2: None,
            talk_ms: 0,
            ..self.clone()
        }
    }
}

/// `Status` and `DetailedStatus` of an SMS `DetailedStatusCode`; `None` for a code that Exotel does not have.
pub(crate) fn sms_status(code: u32) -> Option<(&'static str, &'static str)> {
    Some(match code {
        21_010 => ("queued", "PENDING_TO_OPERATOR"),
        21_015 => ("sending", "SENDING_TO_OPERATOR"),
        21_020 => ("submitted", "PENDING_ON_OPERATOR"),
        20_005 => ("sent", "DELIVERED_TO_HANDSET"),
        20_006 => ("sent", "DELIVERED_TO_OPERATOR"),
        23_005 => ("failed-dnd", "FAILED_REJECTED_DND"),
        23_010 => ("failed", "FAILED_INVALID_DESTINATION_NUMBER"),
        23_015 => ("failed", "FAILED_SPAM_DETECTED"),
        23_020 => ("failed", "FAILED_REJECTED_BLACKLIST"),
        23_030 => ("failed", "FAILED_UNAVAILABLE_ROUTE"),
        23_035 => ("failed", "FAILED_SUBSCRIBER_UNAVAILABLE"),
        23_040 => ("failed", "FAILED_SUBSCRIBER_UNKNOWN"),
        23_050 => ("failed", "FAILED_EXPIRED"),
        23_060 => ("failed", "FAILED_REJECTED"),
        23_070 => ("failed", "FAILED_INVALID_MESSAGE"),
        23_072 => ("failed", "FAILED_INVALID_SENDER_ID"),
        23_080 => ("failed", "SENDER_BLOCKED_BY_DLT"),
        23_081 => ("failed", "ENTITY_BLOCKED_BY_DLT"),
        23_082 => ("failed", "TEMPLATE_BLOCKED_BY_DLT"),
        23_083 => ("failed", "FAILED_DLT_SCRUBBING_ERROR"),
        23_084 => ("failed", "FAILED_DLT_CONSENT_ERROR"),
        23_181 => ("failed", "DLT_TEMPLATE_ID_INVALID"),
        23_182 => ("failed", "DLT_TEMPLATE_NOT_FOUND"),
        23_183 => ("failed", "DLT_TEMPLATE_ID_INACTIVE"),
        23_184 => ("failed", "DLT_TEMPLATE_ID_BLACKLISTED"),
        23_185 => ("failed", "DLT_TEMPLATE_DOES_NOT_MATCH"),
        23_186 => ("failed", "DLT_LENGTH_EXCEEDED"),
        23_281 => ("failed", "DLT_ENTITY_NOT_FOUND"),
        24_010 => ("failed", "FAILED_SYSTEM_ERROR"),
        24_105 => ("failed", "FAILED_HANDSET_ERROR"),
        24_110 => ("failed", "FAILED_OPERATOR_ERROR"),
        24_120 => ("failed", "FAILED_SUBSCRIBER_ERROR"),
        24_990 => ("failed", "FAILED_UNKNOWN_ERROR"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suffix(number: &str) -> Script {
        Script::by_suffix(&Number::parse(number).unwrap())
    }

    #[test]
    fn a_number_without_a_special_suffix_changes_nothing() {
        assert_eq!(suffix("+919811109876"), Script::default());
        assert_eq!(suffix("+919811100001"), Script::default());
    }

    #[test]
    fn five_digits_that_are_an_sms_code_give_that_code() {
        assert_eq!(suffix("+919811123082").sms.code, Some(23_082));
        assert_eq!(suffix("+919811123099").sms.code, None);
        assert_eq!(
            suffix("+919811120005").sms.code,
            Some(23_010),
            "0005 is a suffix of its own"
        );
    }

    #[test]
    fn the_readmes_table_holds_every_suffix_and_no_other() {
        let readme = include_str!("../README.md");
        let rows = readme
            .lines()
            .filter_map(|line| line.strip_prefix("| ")?.split_once(" |"));
        let listed: Vec<&str> = rows
            .map(|(suffix, _)| suffix)
            .filter(|suffix| suffix.parse::<u32>().is_ok())
            .collect();
        assert!(listed.contains(&"0001"));
        for number in 0..10_000 {
            let digits = format!("{number:04}");
            let special = suffix(&format!("+91981111{digits}")) != Script::default();
            let in_table = listed.contains(&digits.as_str()) && digits != "0001";
            assert_eq!(special, in_table, "{digits}");
        }
    }

    #[test]
    fn a_script_wins_over_the_suffix_field_by_field() {
        let script = Script {
            call: CallScript {
                talk_ms: Some(5),
                ..Default::default()
            },
            ..Default::default()
        };
        let both = script.over(suffix("+919811100003"));
        assert_eq!(
            (both.call.outcome, both.call.talk_ms),
            (Some(Outcome::Busy), Some(5))
        );
    }

    #[test]
    fn completed_does_not_mean_that_they_talked() {
        let plan = CallPlan::new(suffix("+919811100002"), &Timings::default(), true);
        assert_eq!(
            (plan.status, plan.leg2, plan.talk_ms),
            (CallStatus::Completed, Some(CallStatus::NoAnswer), 0)
        );
    }

    #[test]
    fn with_one_leg_the_lead_is_leg_one() {
        let plan = CallPlan::new(suffix("+919811100002"), &Timings::default(), false);
        assert_eq!(
            (plan.status, plan.leg1, plan.leg2),
            (CallStatus::NoAnswer, CallStatus::NoAnswer, None)
        );
    }

    #[test]
    fn a_script_in_json_refuses_a_misspelt_field() {
        assert!(
            serde_json::from_str::<Script>(r#"{"to":"+919811100001","call":{"outcome":"busy"}}"#).is_ok()
        );
        assert!(serde_json::from_str::<Script>(r#"{"call":{"outcom":"busy"}}"#).is_err());
    }
}
