//! Calls in the middle of a flow: what a Passthru applet tells is kept like every event, and the team's rule says which
//! way the flow goes on.
//!
//! A caller waits for the answer, so keeping and looking up go side by side, and whatever fails inside sends the flow on
//! by the usual way.

use domain::{
    phone::{Country, PhoneNumber},
    steering::{Branch, CallSoFar, Rule},
};
use exotel::callback::PassthruCall;
use jiff::Timestamp;
use table::TableError;

use super::{Delivery, Inbox, Receipt};

/// What became of a delivery, and which way its flow goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steered {
    /// Whether and how the event was kept.
    pub receipt: Receipt,
    /// Which way the flow goes on; [`Branch::Holds`] when that cannot be told.
    pub branch: Branch,
}

impl Inbox {
    /// Keeps what a Passthru applet tells, and holds `rule` against it. `country` is the account's: national numbers are
    /// its.
    ///
    /// A rule that asks for the lead reads by the caller's number: the index, then the rows it names. Nothing else is
    /// read. A request that is no Passthru's, and a table that fails, leave the flow on [`Branch::Holds`].
    pub async fn steer(
        &self,
        delivery: Delivery<'_>,
        rule: &Rule,
        country: Country,
        now: Timestamp,
    ) -> Steered {
        let call = PassthruCall::parse(delivery.content_type, delivery.body, delivery.query).ok();
        let (receipt, branch) = tokio::join!(
            self.receive(delivery, now),
            self.branch(call.as_ref(), rule, country)
        );
        let branch = branch.unwrap_or_else(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the caller's number could not be looked up; the flow goes on by the first branch"
            );
            Branch::Holds
        });
        Steered { receipt, branch }
    }

    async fn branch(
        &self,
        call: Option<&PassthruCall>,
        rule: &Rule,
        country: Country,
    ) -> Result<Branch, TableError> {
        let Some(call) = call else {
            return Ok(Branch::Holds);
        };
        let mut so_far = CallSoFar {
            known_lead: false,
            digits: call.digits.as_deref(),
            dial_status: call.dial_call_status.as_ref().map(exotel::CallStatus::as_str),
            call_type: call.call_type.as_ref().map(exotel::CallType::as_str),
            direction: call.direction.as_ref().map(exotel::Direction::as_str),
        };
        let caller = call.call_from.as_ref().or(call.from.as_ref());
        if rule.asks_for_the_lead()
            && let Some(caller) = caller.and_then(|caller| PhoneNumber::parse(caller, country).ok())
        {
            so_far.known_lead = !self.table.leads_by_phone(&caller).await?.is_empty();
        }
        Ok(rule.branch(&so_far))
    }
}
