//! A call with one leg: a person is rung, and talks to a flow.
//!
//! It has no row and waits in no queue: it leaves now, in a slot like every other, or not at all.

use domain::{
    access::Caller,
    outbound_limit::{Class, Patience},
    phone::PhoneNumber,
};
use exotel::calls::{ConnectCall, ConnectOptions, LONGEST_CUSTOM_FIELD};
use table::limits::Reserving;

use super::{Exotel, Outbound, OutboundError, home_of, limiter::Permission};

/// A call to be placed.
#[derive(Debug, Clone, Copy)]
pub struct FlowCall<'a> {
    /// Who wants it: it counts as theirs.
    pub caller: &'a Caller,
    /// Who is rung.
    pub to: &'a PhoneNumber,
    /// The ExoPhone that they see.
    pub caller_id: &'a PhoneNumber,
    /// The flow that runs when they answer.
    pub flow_url: &'a str,
    /// What Exotel gives back about the call; what is over 128 characters of it is cut off.
    pub custom_field: &'a str,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rung {
    /// Exotel has it.
    Accepted {
        /// Exotel's id of the call.
        sid: String,
        /// Exotel's word for its state: `in-progress` as a rule, before anybody has answered.
        status: Option<String>,
    },
    /// Exotel refused it for good.
    Refused {
        /// What it said, numbers masked.
        reason: String,
    },
    /// It may have reached Exotel: it must not be sent again.
    Unconfirmed {
        /// What it said, numbers masked, if it said anything.
        reason: Option<String>,
    },
}

impl Outbound {
    /// Rings a person and connects them with a flow, under the rules for every call that leaves: the switch, the allowed
    /// destinations, the caller's, the number's and the account's quotas, and a slot of the limiter.
    ///
    /// # Errors
    /// [`OutboundError`]: then nobody is rung.
    pub async fn ring_to_flow<E: Exotel>(
        &self,
        exotel: &E,
        call: FlowCall<'_>,
    ) -> Result<Rung, OutboundError> {
        self.allow("called", call.to)?;
        // As `POST /call` counts a number that is no lead's: a log may name that, and the number has one quota.
        self.count(call.caller, &home_of(None, call.to)).await?;
        let slot = self
            .limiter
            .slot(Class::Voice, Reserving::ToSend, Patience::Inline)
            .await?;
        match slot {
            Permission::Go(_) => {}
            Permission::Paused => return Err(OutboundError::Paused),
            Permission::Later { at } => {
                let secs = at.duration_since(self.world.now()).as_secs().max(1);
                return Err(OutboundError::NoSlot {
                    retry_after_secs: u32::try_from(secs).unwrap_or(u32::MAX),
                });
            }
        }
        let custom_field: String = call.custom_field.chars().take(LONGEST_CUSTOM_FIELD).collect();
        let request = ConnectCall {
            options: ConnectOptions {
                custom_field: Some(custom_field),
                ..ConnectOptions::default()
            },
            ..ConnectCall::to_flow(call.to.as_str(), call.flow_url, call.caller_id.as_str())
        };
        let error = match exotel.send(&request).await {
            Ok(answer) => {
                tracing::info!(mark = call.custom_field, call.sid = %answer.sid, "accepted by Exotel");
                return Ok(Rung::Accepted {
                    sid: answer.sid.as_str().to_owned(),
                    status: answer.status.map(|status| status.as_str().to_owned()),
                });
            }
            Err(error) => error,
        };
        if error.may_have_reached_exotel() {
            tracing::warn!(mark = call.custom_field, "unconfirmed: {error}");
            let reason = error.exotel_message().map(str::to_owned);
            return Ok(Rung::Unconfirmed { reason });
        }
        let reason = super::dispatch::said(&error);
        if !error.is_retryable() {
            tracing::warn!(mark = call.custom_field, "refused for good: {error}");
            return Ok(Rung::Refused { reason });
        }
        tracing::warn!(mark = call.custom_field, "not sent: {error}");
        if error.status() == Some(429)
            && let Err(error) = self.limiter.push_forward(Class::Voice).await
        {
            tracing::warn!("the slots of others were not pushed forward: {error}");
        }
        Err(OutboundError::NotSent { reason })
    }
}
