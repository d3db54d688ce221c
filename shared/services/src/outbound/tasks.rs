//! What travels in the queue `outbound`, and what becomes of it.
//!
//! A message carries ids, never numbers or texts: the row is the truth. Each may come twice or late; what it asks for
//! is done once, because a row is claimed before its request leaves.

use domain::{
    ids::{CallLocator, CallSid, SmsLocator},
    outbound_limit::{Class, Patience},
    retry,
};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use table::{Claim, limits::Reserving};

use super::{
    Account, Exotel, Outbound,
    dispatch::Attempted,
    items::{Intent, Item},
    limiter::Permission,
};
use domain::{call::Call, sms::Sms};

/// How soon a click is looked at again while outbound is stopped or not configured.
const WHILE_STOPPED: SignedDuration = SignedDuration::from_secs(30);

/// A message of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum Task {
    /// Place a call that waits.
    #[serde(rename = "place_call.v1")]
    PlaceCall {
        /// Its row.
        call: CallLocator,
        /// The attempt to be made; the row must have made the one before.
        attempt: u32,
        /// Clear refusals so far.
        refusals: u32,
    },
    /// Send a message that waits.
    #[serde(rename = "send_sms.v1")]
    SendSms {
        /// Its row.
        sms: SmsLocator,
        /// The attempt to be made.
        attempt: u32,
        /// Clear refusals so far.
        refusals: u32,
    },
    /// Find out about a call that may have reached Exotel.
    #[serde(rename = "resolve_call.v1")]
    ResolveCall {
        /// Its row.
        call: CallLocator,
        /// Which look-up this is, from 0.
        step: u32,
        /// Exotel's id of it, when it is known and could not be written to the row.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sid: Option<CallSid>,
    },
}

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing more.
    Done,
    /// This message comes next, after a while.
    Next {
        /// The message.
        task: Task,
        /// How long it waits.
        delay: SignedDuration,
    },
    /// Somebody has to know: the dead-letter queue.
    Dead {
        /// Why, in words.
        reason: String,
    },
    /// The table failed before anything was done: the same message again.
    Retry {
        /// Why, in words.
        reason: String,
    },
}

impl Step {
    /// The task after a delay that SQS takes.
    pub(super) fn next(task: Task, delay: SignedDuration) -> Self {
        let delay = delay.clamp(SignedDuration::from_secs(1), retry::LONGEST_QUEUE_DELAY);
        Step::Next { task, delay }
    }
}

impl Outbound {
    /// Does what one message asks for. `account` is `None` while Exotel is not configured.
    pub async fn work<E: Exotel>(&self, account: Option<&Account<E>>, task: Task) -> Step {
        match &task {
            Task::PlaceCall {
                call,
                attempt,
                refusals,
            } => self.start::<Call, E>(account, call, *attempt, *refusals).await,
            Task::SendSms {
                sms,
                attempt,
                refusals,
            } => self.start::<Sms, E>(account, sms, *attempt, *refusals).await,
            Task::ResolveCall { call, step, sid } => {
                self.look_again(account, call, *step, sid.as_ref()).await
            }
        }
    }

    /// Claims a waiting row and makes its next attempt.
    async fn start<I: Item, E: Exotel>(
        &self,
        account: Option<&Account<E>>,
        locator: &I::Locator,
        attempt: u32,
        refusals: u32,
    ) -> Step {
        match self.try_start::<I, E>(account, locator, attempt, refusals).await {
            Ok(step) => step,
            Err(error) => Step::Retry {
                reason: format!("{locator}: {error}"),
            },
        }
    }

    async fn try_start<I: Item, E: Exotel>(
        &self,
        account: Option<&Account<E>>,
        locator: &I::Locator,
        attempt: u32,
        refusals: u32,
    ) -> Result<Step, table::TableError> {
        let again = |delay| Step::next(I::task(locator.clone(), attempt, refusals), delay);
        if I::is_expired(locator, self.world.now()) {
            return self.expire::<I>(locator).await;
        }
        let Some(account) = account.filter(|_| self.rules.enabled) else {
            return Ok(again(WHILE_STOPPED));
        };
        // Before the slot, which does not wait for a look at the table.
        let caller_id = match I::CLASS {
            Class::Voice => self.caller_id(&account.caller_id).await,
            Class::Sms => account.caller_id.clone(),
        };
        let slot = match self
            .limiter
            .slot(I::CLASS, Reserving::ToSend, Patience::Queued)
            .await?
        {
            Permission::Go(slot) => slot,
            Permission::Later { at } => return Ok(again(at.duration_since(self.world.now()))),
            Permission::Paused => return Ok(again(WHILE_STOPPED)),
        };
        // Waiting for the slot took its time.
        if I::is_expired(locator, self.world.now()) {
            return self.expire::<I>(locator).await;
        }
        let row = match I::claim(&self.table, locator, attempt, self.dice(), &caller_id).await? {
            Claim::Claimed(row) => *row,
            // The attempt was made and refused, and its function died before it could send the next message.
            Claim::NotWaiting(row)
                if row.waits() && row.attempt() == attempt && !retry::is_used_up(refusals + 1) =>
            {
                let delay = retry::delay_after(refusals + 1, self.dice());
                return Ok(Step::next(
                    I::task(locator.clone(), attempt + 1, refusals + 1),
                    delay,
                ));
            }
            // A message that came twice, or a row that was settled, called back about or erased meanwhile.
            Claim::NotWaiting(_) | Claim::Gone => return Ok(Step::Done),
        };
        Ok(match self.attempt(account, &row, slot, refusals).await {
            Attempted::NotSent { refusals, delay } => {
                Step::next(I::task(locator.clone(), attempt + 1, refusals), delay)
            }
            Attempted::GaveUp { reason } => Step::Dead {
                reason: format!("{locator} was given up after {} refusals: {reason}", refusals + 1),
            },
            Attempted::Unconfirmed => self.first_look::<I>(locator),
            Attempted::Accepted {
                report,
                recorded: false,
            } => {
                let task = I::resolution(locator.clone(), 0, I::sid(&report));
                task.map_or(Step::Done, |task| Step::next(task, SignedDuration::from_secs(15)))
            }
            Attempted::Accepted { .. } | Attempted::Refused { .. } | Attempted::Moved => Step::Done,
        })
    }

    /// The first look for something that became unconfirmed, if there is a way to look for it.
    pub(super) fn first_look<I: Item>(&self, locator: &I::Locator) -> Step {
        match (I::resolution(locator.clone(), 0, None), retry::look_after(0)) {
            (Some(task), Some(delay)) => Step::next(task, delay),
            _ => Step::Done,
        }
    }

    /// 64 random bits.
    pub(super) fn dice(&self) -> u64 {
        u64::try_from(self.world.random() & u128::from(u64::MAX)).expect("64 bits")
    }

    async fn expire<I: Item>(&self, locator: &I::Locator) -> Result<Step, table::TableError> {
        let reason = "It waited too long for a free slot and was not sent.";
        if I::settle(
            &self.table,
            locator,
            &[Intent::Waiting],
            Intent::Expired,
            Some(reason),
        )
        .await?
        {
            tracing::warn!(locator = %locator, "expired in the queue");
        }
        Ok(Step::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_the_form_that_other_versions_expect() {
        let call: CallLocator = "call_01kak5yv7z8e4f9y2f4w6r8t0v.lead-1".parse().unwrap();
        let sms: SmsLocator = "sms_01kak5yv7z8e4f9y2f4w6r8t0v.lead-1".parse().unwrap();
        let texts = [
            Task::PlaceCall {
                call: call.clone(),
                attempt: 1,
                refusals: 0,
            },
            Task::SendSms {
                sms,
                attempt: 2,
                refusals: 1,
            },
            Task::ResolveCall {
                call: call.clone(),
                step: 0,
                sid: None,
            },
            Task::ResolveCall {
                call,
                step: 2,
                sid: Some("abc".parse().unwrap()),
            },
        ]
        .map(|task| {
            let text = serde_json::to_string(&task).unwrap();
            assert_eq!(serde_json::from_str::<Task>(&text).unwrap(), task);
            text
        });
        insta::assert_snapshot!(texts.join("\n"), @r#"
        {"type":"place_call.v1","call":"call_01kak5yv7z8e4f9y2f4w6r8t0v.lead-1","attempt":1,"refusals":0}
        {"type":"send_sms.v1","sms":"sms_01kak5yv7z8e4f9y2f4w6r8t0v.lead-1","attempt":2,"refusals":1}
        {"type":"resolve_call.v1","call":"call_01kak5yv7z8e4f9y2f4w6r8t0v.lead-1","step":0}
        {"type":"resolve_call.v1","call":"call_01kak5yv7z8e4f9y2f4w6r8t0v.lead-1","step":2,"sid":"abc"}
        "#);
        for wrong in [
            "",
            "{}",
            r#"{"type":"place_call.v2","call":"x"}"#,
            r#"{"type":"place_call.v1","call":"x","attempt":1,"refusals":0}"#,
        ] {
            assert!(serde_json::from_str::<Task>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_delay_is_one_that_sqs_takes() {
        let task = Task::ResolveCall {
            call: "call_01kak5yv7z8e4f9y2f4w6r8t0v.l".parse().unwrap(),
            step: 0,
            sid: None,
        };
        for (asked, given) in [(-5, 1), (0, 1), (17, 17), (100_000, 900)] {
            let Step::Next { delay, .. } = Step::next(task.clone(), SignedDuration::from_secs(asked)) else {
                panic!()
            };
            assert_eq!(delay.as_secs(), given);
        }
    }
}
