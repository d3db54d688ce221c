//! Faults: what may go wrong with a request or a callback, and the rules that say when.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::core::Shared;
use crate::draw::Dice;
use crate::scripts::CallbackScript;

/// What happens to a request instead of a plain answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApiFault {
    /// None: a script says so to lift what the number's suffix would do.
    Accept,
    /// Voice: 403, TRAI NDNC. SMS has no such refusal and goes on.
    Ndnc,
    /// 403, account not KYC compliant (340030 for SMS, no code for voice).
    Kyc,
    /// 403: balance (40001 for SMS, no code for voice).
    Balance,
    /// 400: bad number (40203 for SMS).
    Invalid,
    /// 401 with 34010.
    Unauthorized,
    /// 404.
    NotFound,
    /// 429 (40402 for SMS).
    RateLimited,
    /// 503 with Exotel's own body (35008; 40405 for SMS).
    Unavailable,
    /// 500 with Exotel's own body (35000; 1100 in v2); nothing was done. For voice the code is unverified.
    Internal,
    /// v2 calls: 404 with 10731, no such user. Other requests go on, as with the next four.
    UserNotFound,
    /// v2 calls: 404 with 10716, no such virtual number.
    VirtualNumberNotFound,
    /// v2 calls: 409 with 1012, the agent's device is off.
    DeviceOff,
    /// v2 calls: 409 with 10705, the agent's device is not verified.
    DeviceUnverified,
    /// v2 calls: 409 with 10706, the agent's device is busy.
    DeviceBusy,
    /// 502 with an HTML page; nothing was done.
    Gateway,
    /// 502 with an HTML page, after the request was carried out.
    GatewayAfterAccept,
    /// 500 with an empty body; nothing was done.
    Empty500,
    /// No answer ever; nothing was done.
    Hang,
    /// The request is carried out, no answer ever.
    HangAfterAccept,
    /// The connection is reset; nothing was done.
    Reset,
    /// The request is carried out, then the connection is reset.
    ResetAfterAccept,
}

impl ApiFault {
    /// Whether the request is carried out all the same.
    pub fn after_accept(self) -> bool {
        matches!(
            self,
            ApiFault::GatewayAfterAccept | ApiFault::HangAfterAccept | ApiFault::ResetAfterAccept
        )
    }

    /// Whether only calls through v2 can suffer it.
    pub(crate) fn is_ccm_only(self) -> bool {
        matches!(
            self,
            ApiFault::UserNotFound
                | ApiFault::VirtualNumberNotFound
                | ApiFault::DeviceOff
                | ApiFault::DeviceUnverified
                | ApiFault::DeviceBusy
        )
    }

    /// The name that the journal and JSON use.
    pub(crate) fn name(self) -> &'static str {
        match self {
            ApiFault::Accept => "accept",
            ApiFault::Ndnc => "ndnc",
            ApiFault::Kyc => "kyc",
            ApiFault::Balance => "balance",
            ApiFault::Invalid => "invalid",
            ApiFault::Unauthorized => "unauthorized",
            ApiFault::NotFound => "not_found",
            ApiFault::RateLimited => "rate_limited",
            ApiFault::Unavailable => "unavailable",
            ApiFault::Internal => "internal",
            ApiFault::UserNotFound => "user_not_found",
            ApiFault::VirtualNumberNotFound => "virtual_number_not_found",
            ApiFault::DeviceOff => "device_off",
            ApiFault::DeviceUnverified => "device_unverified",
            ApiFault::DeviceBusy => "device_busy",
            ApiFault::Gateway => "gateway",
            ApiFault::GatewayAfterAccept => "gateway_after_accept",
            ApiFault::Empty500 => "empty500",
            ApiFault::Hang => "hang",
            ApiFault::HangAfterAccept => "hang_after_accept",
            ApiFault::Reset => "reset",
            ApiFault::ResetAfterAccept => "reset_after_accept",
        }
    }
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// `POST Calls/connect`.
    Connect,
    /// `GET Calls/{sid}`.
    CallDetails,
    /// `GET Calls`.
    CallList,
    /// `POST Sms/send` and `Sms/bulksend`.
    SmsSend,
    /// `GET SMS/Messages/{sid}`.
    SmsDetails,
    /// `GET Numbers/{number}`.
    Numbers,
    /// `GET ActiveStreams`.
    ActiveStreams,
    /// `GET IncomingPhoneNumbers` of v1 and v2_beta, `GET incoming-phone-numbers` of v2.
    ExophoneList,
    /// The same for one ExoPhone.
    ExophoneDetails,
    /// `POST /v2/…/calls`, `GET /v2/…/calls/{sid}`, `GET /v3/…/calls/{sid}`.
    Ccm,
    /// A recording.
    Recording,
    /// Anything else.
    Other,
}

impl Operation {
    /// Whether it counts against the voice budget.
    pub(crate) fn is_voice(self) -> bool {
        matches!(
            self,
            Operation::Connect | Operation::CallDetails | Operation::CallList | Operation::Ccm
        )
    }

    /// Whether it counts against the budget for ExoPhones.
    pub(crate) fn is_exophones(self) -> bool {
        matches!(self, Operation::ExophoneList | Operation::ExophoneDetails)
    }
}

/// When a request suffers a fault. Without `rate` and `next`: always.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiRule {
    /// The fault.
    pub fault: ApiFault,
    /// Which requests; all if not set.
    #[serde(default)]
    pub on: Option<Operation>,
    /// How many of them, 0 to 1, drawn by the seed.
    #[serde(default)]
    pub rate: Option<f64>,
    /// Only the next so many that match.
    #[serde(default)]
    pub next: Option<u32>,
}

/// What happens to a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackFault {
    /// Never sent.
    Drop,
    /// Sent twice.
    Duplicate,
    /// Sent late.
    Delay,
    /// Sent after the one that follows it.
    Reorder,
}

/// When a callback suffers a fault. Without `rate` and `next`: always.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallbackRule {
    /// The fault.
    pub fault: CallbackFault,
    /// `answered`, `terminal`, `ringing`, `sms`, `heartbeat` or `passthru`; all if not set.
    #[serde(default)]
    pub event: Option<String>,
    /// How many of them, 0 to 1, drawn by the seed.
    #[serde(default)]
    pub rate: Option<f64>,
    /// Only the next so many that match.
    #[serde(default)]
    pub next: Option<u32>,
    /// For `delay` and `duplicate`: how late, in simulated milliseconds.
    #[serde(default)]
    pub delay_ms: Option<u64>,
}

/// What happens to a voicebot's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamFault {
    /// A frame is never sent; its sequence number is missing.
    Lose,
    /// A frame is sent twice.
    Duplicate,
    /// A frame is sent after the one that follows it, or after as many as `by` says.
    Reorder,
    /// A frame's payload is not base64.
    BadBase64,
    /// A frame's payload lacks its last byte.
    OddBytes,
    /// An event that nobody knows is sent before the frame.
    UnknownEvent,
    /// The connection goes away without `stop` and without a close frame.
    Vanish,
    /// The socket is closed without `stop`.
    CloseWithoutStop,
    /// A handshake fails before it reaches the bot.
    RefuseHandshake,
}

impl StreamFault {
    /// Whether it befalls single frames.
    fn is_of_frames(self) -> bool {
        !matches!(
            self,
            Self::Vanish | Self::CloseWithoutStop | Self::RefuseHandshake
        )
    }
}

/// When a stream suffers a fault: each frame, each stream or each handshake, by the fault. Without `rate` and `next`:
/// always.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamRule {
    /// The fault.
    pub fault: StreamFault,
    /// How many of them, 0 to 1, drawn by the seed.
    #[serde(default)]
    pub rate: Option<f64>,
    /// Only the next so many.
    #[serde(default)]
    pub next: Option<u32>,
    /// For `reorder`: after how many further frames it goes (1).
    #[serde(default)]
    pub by: Option<u32>,
    /// For `vanish` and `close_without_stop`: milliseconds from the stream's start (1 000).
    #[serde(default)]
    pub after_ms: Option<u64>,
}

impl StreamRule {
    /// A fault that always happens.
    pub fn always(fault: StreamFault) -> Self {
        Self {
            fault,
            rate: None,
            next: None,
            by: None,
            after_ms: None,
        }
    }
}

/// The faults switched on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Seed of the draws; the simulator's own if not set.
    pub seed: Option<u64>,
    /// Rules for requests; the first that fires wins.
    pub api: Vec<ApiRule>,
    /// Rules for callbacks; all that fire come together.
    pub callbacks: Vec<CallbackRule>,
    /// Rules for the streams of voicebots; all that fire come together.
    pub stream: Vec<StreamRule>,
}

/// What befalls the payload of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum PayloadFate {
    #[default]
    Whole,
    BadBase64,
    OddBytes,
}

/// What befalls one frame of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct FrameFate {
    pub(crate) lost: bool,
    pub(crate) duplicated: bool,
    pub(crate) late_by: Option<u32>,
    pub(crate) payload: PayloadFate,
    pub(crate) unknown_event: bool,
}

impl FrameFate {
    /// What befell it, in words; `None`: nothing.
    pub(crate) fn names(self) -> Option<String> {
        let names = [
            self.lost.then_some("lost"),
            self.duplicated.then_some("duplicated"),
            self.late_by.map(|_| "reordered"),
            match self.payload {
                PayloadFate::Whole => None,
                PayloadFate::BadBase64 => Some("bad base64"),
                PayloadFate::OddBytes => Some("odd bytes"),
            },
            self.unknown_event.then_some("unknown event before it"),
        ];
        let names: Vec<&str> = names.into_iter().flatten().collect();
        (!names.is_empty()).then(|| names.join(", "))
    }
}

/// Where a stream asks what befalls it.
pub(crate) enum FaultSource {
    /// The simulator, whose rules may change while the stream runs.
    Simulator(Shared),
    /// A call without a simulator.
    Own(Mutex<Faults>, Dice),
}

impl FaultSource {
    pub(crate) fn with<T>(&self, draw: impl FnOnce(&mut Faults, Dice) -> T) -> T {
        match self {
            Self::Simulator(core) => core.note(|state| draw(&mut state.faults, core.dice)),
            Self::Own(faults, dice) => {
                draw(&mut faults.lock().unwrap_or_else(PoisonError::into_inner), *dice)
            }
        }
    }
}

/// What befalls one callback.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct CallbackFate {
    pub(crate) dropped: bool,
    pub(crate) delay_ms: Option<u64>,
    pub(crate) duplicate_after_ms: Option<u64>,
    pub(crate) reordered: bool,
}

impl Faults {
    /// The fault of a request. `key` is what identifies it to the draw.
    pub(crate) fn for_request(&mut self, dice: Dice, operation: Operation, key: &str) -> Option<ApiFault> {
        let dice = self.seed.map_or(dice, |seed| Dice { seed });
        self.api.iter_mut().enumerate().find_map(|(at, rule)| {
            let matches = rule.on.is_none_or(|on| on == operation)
                && (operation == Operation::Ccm || !rule.fault.is_ccm_only());
            (matches && fires(rule.rate, &mut rule.next, dice, &format!("api {at} {key}")))
                .then_some(rule.fault)
        })
    }

    /// What befalls a callback, by the rules and by the script of its call.
    pub(crate) fn for_callback(
        &mut self,
        dice: Dice,
        script: &CallbackScript,
        event: &str,
        key: &str,
        late_ms: u64,
    ) -> CallbackFate {
        let dice = self.seed.map_or(dice, |seed| Dice { seed });
        let mut fate = CallbackFate {
            dropped: script.drop.iter().any(|name| name == event || name == "all"),
            delay_ms: script.delay_ms,
            duplicate_after_ms: script.duplicate.then_some(late_ms),
            reordered: script.reorder,
        };
        for (at, rule) in self.callbacks.iter_mut().enumerate() {
            let matches = rule.event.as_deref().is_none_or(|name| name == event);
            if matches && fires(rule.rate, &mut rule.next, dice, &format!("callback {at} {key}")) {
                let late_ms = rule.delay_ms.unwrap_or(late_ms);
                match rule.fault {
                    CallbackFault::Drop => fate.dropped = true,
                    CallbackFault::Duplicate => fate.duplicate_after_ms = Some(late_ms),
                    CallbackFault::Delay => fate.delay_ms = Some(late_ms),
                    CallbackFault::Reorder => fate.reordered = true,
                }
            }
        }
        fate
    }

    /// What befalls a frame of a stream.
    pub(crate) fn for_frame(&mut self, dice: Dice, key: &str) -> FrameFate {
        let dice = self.seed.map_or(dice, |seed| Dice { seed });
        let mut fate = FrameFate::default();
        for (at, rule) in self.stream.iter_mut().enumerate() {
            if !rule.fault.is_of_frames()
                || !fires(rule.rate, &mut rule.next, dice, &format!("stream {at} {key}"))
            {
                continue;
            }
            match rule.fault {
                StreamFault::Lose => fate.lost = true,
                StreamFault::Duplicate => fate.duplicated = true,
                StreamFault::Reorder => fate.late_by = Some(rule.by.unwrap_or(1).max(1)),
                StreamFault::BadBase64 => fate.payload = PayloadFate::BadBase64,
                StreamFault::OddBytes => fate.payload = PayloadFate::OddBytes,
                StreamFault::UnknownEvent => fate.unknown_event = true,
                StreamFault::Vanish | StreamFault::CloseWithoutStop | StreamFault::RefuseHandshake => {}
            }
        }
        fate
    }

    /// After how many milliseconds a stream is cut, and whether with a close frame.
    pub(crate) fn stream_cut(&mut self, dice: Dice, key: &str) -> Option<(u64, bool)> {
        let dice = self.seed.map_or(dice, |seed| Dice { seed });
        self.stream.iter_mut().enumerate().find_map(|(at, rule)| {
            let close_frame = match rule.fault {
                StreamFault::Vanish => false,
                StreamFault::CloseWithoutStop => true,
                _ => return None,
            };
            fires(rule.rate, &mut rule.next, dice, &format!("stream {at} {key}"))
                .then(|| (rule.after_ms.unwrap_or(1_000), close_frame))
        })
    }

    /// Whether a handshake fails before it reaches the bot.
    pub(crate) fn refuses_handshake(&mut self, dice: Dice, key: &str) -> bool {
        let dice = self.seed.map_or(dice, |seed| Dice { seed });
        self.stream.iter_mut().enumerate().any(|(at, rule)| {
            rule.fault == StreamFault::RefuseHandshake
                && fires(rule.rate, &mut rule.next, dice, &format!("stream {at} {key}"))
        })
    }
}

fn fires(rate: Option<f64>, next: &mut Option<u32>, dice: Dice, key: &str) -> bool {
    if *next == Some(0) || rate.is_some_and(|rate| !dice.happens(rate, key)) {
        return false;
    }
    if let Some(left) = next {
        *left -= 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const DICE: Dice = Dice { seed: 1 };

    #[test]
    fn next_counts_only_the_requests_that_match() {
        let mut faults: Faults =
            serde_json::from_str(r#"{"api":[{"fault":"reset_after_accept","on":"connect","next":1}]}"#)
                .unwrap();
        assert_eq!(faults.for_request(DICE, Operation::CallList, "a"), None);
        assert_eq!(
            faults.for_request(DICE, Operation::Connect, "b"),
            Some(ApiFault::ResetAfterAccept)
        );
        assert_eq!(faults.for_request(DICE, Operation::Connect, "c"), None);
    }

    #[test]
    fn a_seed_of_their_own_makes_faults_repeat() {
        let decide = |simulator_seed| {
            let mut faults: Faults =
                serde_json::from_str(r#"{"seed":9,"callbacks":[{"fault":"drop","rate":0.5}]}"#).unwrap();
            let dice = Dice { seed: simulator_seed };
            (0..64)
                .map(|n| {
                    faults
                        .for_callback(dice, &CallbackScript::default(), "terminal", &n.to_string(), 0)
                        .dropped
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(decide(1), decide(2));
        assert!(decide(1).contains(&true) && decide(1).contains(&false));
    }

    #[test]
    fn the_name_in_the_journal_is_the_name_in_json() {
        for fault in [
            ApiFault::Empty500,
            ApiFault::Internal,
            ApiFault::GatewayAfterAccept,
            ApiFault::Ndnc,
            ApiFault::UserNotFound,
            ApiFault::VirtualNumberNotFound,
            ApiFault::DeviceOff,
            ApiFault::DeviceUnverified,
            ApiFault::DeviceBusy,
        ] {
            assert_eq!(
                serde_json::to_string(&fault).unwrap(),
                format!("\"{}\"", fault.name())
            );
        }
    }
}
