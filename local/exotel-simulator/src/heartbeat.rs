//! HeartBeat: what is pushed about the health of an account's ExoPhones, and when.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answer::Node;
use crate::callbacks::{self, Ack, Outgoing, Sent, Way};
use crate::core::{Core, Shared, State};
use crate::exophones::{ExophoneView, utc};
use crate::options::BodyForm;
use crate::scripts::CallbackScript;

/// How the health of a number is nested within the HeartBeat's `data`; Exotel's documents disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Nesting {
    /// `{sid: {"connectivity": {"incoming_call": …}}}`, as in the answer to GET.
    #[default]
    Connectivity,
    /// `{sid: {"incoming_call": …}}`.
    Flat,
}

/// What `incoming_affected` and `outgoing_affected` hold when they name nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmptyAs {
    /// `null`.
    #[default]
    Null,
    /// `[]`.
    Array,
}

/// `status_type` of a HeartBeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HeartbeatStatus {
    /// Every ExoPhone works.
    Ok,
    /// At least one ExoPhone is affected, incoming or outgoing.
    Warning,
    /// Every ExoPhone is affected.
    Critical,
    /// The body would be larger than 10 MB: nothing is named.
    PayloadTooLarge,
}

impl HeartbeatStatus {
    /// As Exotel spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            HeartbeatStatus::Ok => "OK",
            HeartbeatStatus::Warning => "WARNING",
            HeartbeatStatus::Critical => "CRITICAL",
            HeartbeatStatus::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
        }
    }
}

/// A subscription to an account's HeartBeat, as the dashboard's notification settings hold it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Whose ExoPhones; the first account's if not set.
    #[serde(default)]
    pub account: Option<String>,
    /// Where to POST to.
    pub url: String,
    /// Simulated milliseconds from push to push; without it, one is made only when asked for.
    #[serde(default)]
    pub every_ms: Option<u64>,
    /// How `data` is nested.
    #[serde(default)]
    pub nesting: Nesting,
    /// How empty lists are written.
    #[serde(default)]
    pub empty_as: EmptyAs,
    /// `status_type`, whatever the ExoPhones are like.
    #[serde(default)]
    pub status: Option<HeartbeatStatus>,
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pushed {
    /// What was sent.
    pub payload: Value,
    /// The answer to the first attempt; null when there was none, or when a fault lost or delayed the push.
    pub status: Option<u16>,
}

impl Heartbeat {
    /// Says in words what keeps it from being used.
    pub(crate) fn check(&self, core: &Core) -> Result<(), String> {
        core.account(self.account.as_deref())?;
        let parsed = url::Url::parse(&self.url).map_err(|err| format!("`url` is no URL: {err}"))?;
        if parsed.scheme() != "http" {
            return Err(
                "`url` must begin with http://: the simulator calls back over plain http only".to_owned(),
            );
        }
        match self.every_ms {
            Some(every_ms) if core.really(every_ms).is_zero() => Err(
                "`every_ms` passes in no time at this speed: leave it out and push by POST /_sim/heartbeat/push"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }

    fn payload(
        &self,
        core: &Core,
        account: &str,
        status: Option<HeartbeatStatus>,
    ) -> Vec<(&'static str, Node)> {
        let now = core.now();
        let exophones: Vec<ExophoneView> = core.read(|state| state.exophones_of(account).cloned().collect());
        let forced = status.or(self.status);
        let status = forced.unwrap_or_else(|| status_of(&exophones));
        let named: Vec<ExophoneView> = match status {
            HeartbeatStatus::PayloadTooLarge => Vec::new(),
            _ => exophones.into_iter().filter(ExophoneView::is_affected).collect(),
        };
        let sids = |affected: &dyn Fn(&ExophoneView) -> bool| -> Node {
            let sids: Vec<Node> = named
                .iter()
                .filter(|exophone| affected(exophone))
                .map(|exophone| exophone.sid.as_str().into())
                .collect();
            match (self.empty_as, sids.is_empty()) {
                (EmptyAs::Null, true) => Node::Null,
                _ => Node::List(sids),
            }
        };
        let health = |exophone: &ExophoneView| {
            let health = exophone.connectivity(now);
            match self.nesting {
                Nesting::Connectivity => Node::Object(vec![("connectivity", health)]),
                Nesting::Flat => health,
            }
        };
        vec![
            ("timestamp", utc(now).into()),
            ("status_type", status.as_str().into()),
            (
                "incoming_affected",
                sids(&|exophone| exophone.incoming.is_affected()),
            ),
            (
                "outgoing_affected",
                sids(&|exophone| exophone.outgoing.is_affected()),
            ),
            (
                "data",
                Node::Keyed(
                    named
                        .iter()
                        .map(|exophone| (exophone.sid.clone(), health(exophone)))
                        .collect(),
                ),
            ),
        ]
    }
}

/// OK: none is affected. CRITICAL: all are. WARNING: some are.
fn status_of(exophones: &[ExophoneView]) -> HeartbeatStatus {
    let affected = exophones.iter().filter(|exophone| exophone.is_affected()).count();
    match affected {
        0 => HeartbeatStatus::Ok,
        all if all == exophones.len() => HeartbeatStatus::Critical,
        _ => HeartbeatStatus::Warning,
    }
}

/// A subscription, and which one it is.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    nth: u64,
    pub(crate) heartbeat: Heartbeat,
}

fn is_current(state: &State, nth: u64) -> bool {
    state
        .heartbeat
        .as_ref()
        .is_some_and(|subscription| subscription.nth == nth)
}

/// Starts pushing, in the place of what was subscribed before.
pub(crate) fn start(core: &Shared, heartbeat: Heartbeat) {
    let every_ms = heartbeat.every_ms;
    let nth = core.change(|state| {
        let nth = state.count("heartbeat subscription".to_owned());
        state.heartbeat = Some(Subscription { nth, heartbeat });
        nth
    });
    let Some(every_ms) = every_ms else { return };
    let pusher = core.clone();
    core.spawn(async move {
        loop {
            pusher.pass(every_ms).await;
            if !pusher.read(|state| is_current(state, nth)) {
                return;
            }
            // The subscription can only just have ended.
            let _ = push(&pusher, None).await;
        }
    });
}

/// Ends the subscription.
pub(crate) fn stop(core: &Core) {
    core.change(|state| state.heartbeat = None);
}

/// Pushes once, and waits for the answer to the first attempt.
pub(crate) async fn push(core: &Shared, status: Option<HeartbeatStatus>) -> Result<Pushed, String> {
    let subscription = core
        .read(|state| state.heartbeat.clone())
        .ok_or("nobody has subscribed: POST /_sim/heartbeat {\"url\": …} first")?;
    let heartbeat = subscription.heartbeat;
    let account = core.account(heartbeat.account.as_deref())?.sid.clone();
    let fields = heartbeat.payload(core, &account, status);
    let payload = serde_json::to_value(Node::Object(fields.clone())).unwrap_or_default();
    let nth = core.note(|state| state.count(format!("heartbeat {account}")));
    let sent = callbacks::send(
        core,
        Outgoing {
            sid: account.clone(),
            event: "heartbeat",
            url: heartbeat.url,
            way: Way::Post(BodyForm::Json),
            ack: Ack::Only200,
            fields,
            script: CallbackScript::default(),
            key: format!("heartbeat {account} {nth}"),
            last: true,
        },
    )
    .await;
    let status = match sent {
        Sent::Answered(status) => Some(status),
        Sent::Unanswered | Sent::Dropped | Sent::Delayed => None,
    };
    Ok(Pushed { payload, status })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exophones::Connectivity;
    use crate::phone::Number;

    fn exophone(incoming: &str, outgoing: &str) -> ExophoneView {
        let direction = |status: &str| Connectivity {
            status: status.to_owned(),
            last_check_time: None,
            alternate_exophone: Value::Null,
        };
        ExophoneView {
            account: "acme1".to_owned(),
            sid: "08045550100".to_owned(),
            number: Number::parse("08045550100").unwrap(),
            incoming: direction(incoming),
            outgoing: direction(outgoing),
        }
    }

    #[test]
    fn critical_means_that_not_one_is_left() {
        let well = exophone("active", "active");
        let deaf = exophone("major_outage", "active");
        let mute = exophone("active", "partial_network_outage");
        for (exophones, expected) in [
            (vec![], HeartbeatStatus::Ok),
            (vec![well.clone(), well.clone()], HeartbeatStatus::Ok),
            (vec![well.clone(), deaf.clone()], HeartbeatStatus::Warning),
            (vec![well, mute.clone()], HeartbeatStatus::Warning),
            (vec![deaf.clone(), mute], HeartbeatStatus::Critical),
            (vec![deaf], HeartbeatStatus::Critical),
        ] {
            assert_eq!(status_of(&exophones), expected, "{exophones:?}");
        }
    }
}
