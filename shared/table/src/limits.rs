//! Outbound slots: one item per class holds `tat`, when the next slot is free, and the switch that stops everything.
//!
//! A slot is reserved by one blind conditional update; when the condition does not hold, the same request brings back
//! what stands there. The switch is an attribute in the same conditions, so it costs no read and works at once.

use aws_sdk_dynamodb::{
    operation::update_item::UpdateItemError,
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use domain::outbound_limit::{Attempt, Class};
use jiff::{SignedDuration, Timestamp};

use crate::{
    Table, TableError,
    item::{self, Entity},
    keys::{Attributes, Primary},
};

/// Microseconds since 1970: when the next slot is free.
const TAT: &str = "tat";
/// There while outbound is stopped: when it was, as text.
const PAUSED: &str = "paused";

/// What a reservation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserving {
    /// A call or a message: refused while outbound is stopped.
    ToSend,
    /// Asking what became of one: goes on while outbound is stopped.
    ToLookUp,
}

/// What became of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// The slot is mine: send then, not earlier.
    Slot {
        /// When.
        at: Timestamp,
    },
    /// The condition did not hold.
    NotNow {
        /// When the next slot is free; `None` when no slot was ever taken.
        tat: Option<Timestamp>,
    },
    /// Outbound is stopped.
    Paused,
}

fn key(class: Class) -> Primary {
    Primary::new(format!("LIMIT#{}", class.as_str()), "LIMIT")
}

fn number(micros: i64) -> AttributeValue {
    AttributeValue::N(micros.to_string())
}

fn tat(item: &Attributes, key: &Primary) -> Result<Option<Timestamp>, TableError> {
    let Some(value) = item.get(TAT) else {
        return Ok(None);
    };
    let micros = value.as_n().ok().and_then(|n| n.parse().ok());
    let tat = micros.and_then(|micros| Timestamp::from_microsecond(micros).ok());
    tat.map(Some)
        .ok_or_else(|| TableError::corrupt(key.to_string(), "tat is no time in microseconds"))
}

impl Table {
    /// Tries to reserve a slot, with one write and nothing read: `attempt` says on which condition, `interval` is the
    /// time between two slots, `horizon` how far ahead a slot may lie.
    ///
    /// # Errors
    /// [`TableError`]: then nothing may be sent. A slot may have been taken all the same; it is lost.
    pub async fn reserve(
        &self,
        class: Class,
        reserving: Reserving,
        attempt: Attempt,
        now: Timestamp,
        interval: SignedDuration,
        horizon: SignedDuration,
    ) -> Result<Reserved, TableError> {
        let key = key(class);
        let (now_us, interval_us) = (now.as_microsecond(), micros(interval));
        let request = self
            .client()
            .update_item()
            .table_name(self.name())
            .set_key(Some(key.attributes()))
            .expression_attribute_names("#tat", TAT)
            .expression_attribute_values(":now", number(now_us))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let (condition, request) = match attempt {
            Attempt::Idle => (
                "(attribute_not_exists(#tat) OR #tat <= :now)",
                request
                    .update_expression("SET #tat = :next, #kind = :kind, #v = :v")
                    .expression_attribute_values(":next", number(now_us + interval_us)),
            ),
            Attempt::Busy => (
                "#tat > :now AND #tat <= :last",
                request
                    .update_expression("SET #tat = #tat + :interval, #kind = :kind, #v = :v")
                    .expression_attribute_values(":interval", number(interval_us))
                    .expression_attribute_values(":last", number(now_us + micros(horizon)))
                    .return_values(ReturnValue::UpdatedOld),
            ),
        };
        let request = item::marked(request, Entity::Limit);
        let request = match reserving {
            Reserving::ToSend => request
                .condition_expression(format!("{condition} AND attribute_not_exists(#paused)"))
                .expression_attribute_names("#paused", PAUSED),
            Reserving::ToLookUp => request.condition_expression(condition),
        };
        match request.send().await {
            Ok(answer) => {
                let old = answer.attributes.as_ref().map(|old| tat(old, &key)).transpose()?;
                match (attempt, old.flatten()) {
                    (Attempt::Idle, _) => Ok(Reserved::Slot { at: now }),
                    (Attempt::Busy, Some(at)) => Ok(Reserved::Slot { at }),
                    (Attempt::Busy, None) => {
                        Err(TableError::corrupt(key.to_string(), "no old tat came back"))
                    }
                }
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(unmet)) => {
                    let Some(old) = &unmet.item else {
                        return Ok(Reserved::NotNow { tat: None });
                    };
                    if reserving == Reserving::ToSend && old.contains_key(PAUSED) {
                        return Ok(Reserved::Paused);
                    }
                    Ok(Reserved::NotNow { tat: tat(old, &key)? })
                }
                _ => Err(TableError::from_sdk(error)),
            },
        }
    }

    /// Moves everybody's next slot to `until`, if it is earlier. Slots that are taken stay so.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn push_forward(&self, class: Class, until: Timestamp) -> Result<(), TableError> {
        let request = self
            .client()
            .update_item()
            .table_name(self.name())
            .set_key(Some(key(class).attributes()))
            .update_expression("SET #tat = :until, #kind = :kind, #v = :v")
            .condition_expression("attribute_not_exists(#tat) OR #tat < :until")
            .expression_attribute_names("#tat", TAT)
            .expression_attribute_values(":until", number(until.as_microsecond()));
        match item::marked(request, Entity::Limit).send().await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
                _ => Err(TableError::from_sdk(error)),
            },
        }
    }

    /// Stops all outbound: nothing is sent any more, by nobody. Look-ups of what was sent go on.
    ///
    /// # Errors
    /// [`TableError`]; stopping again is safe, and should be done until it succeeds.
    pub async fn pause_outbound(&self, now: Timestamp) -> Result<(), TableError> {
        for class in Class::ALL {
            let request = self
                .client()
                .update_item()
                .table_name(self.name())
                .set_key(Some(key(class).attributes()))
                .update_expression("SET #paused = :at, #kind = :kind, #v = :v")
                .expression_attribute_names("#paused", PAUSED)
                .expression_attribute_values(":at", AttributeValue::S(now.to_string()));
            let answer = item::marked(request, Entity::Limit).send().await;
            answer.map_err(TableError::from_sdk)?;
        }
        Ok(())
    }

    /// Lets outbound go on.
    ///
    /// # Errors
    /// [`TableError`]; trying again is safe.
    pub async fn resume_outbound(&self) -> Result<(), TableError> {
        for class in Class::ALL {
            let answer = self
                .client()
                .update_item()
                .table_name(self.name())
                .set_key(Some(key(class).attributes()))
                .update_expression("REMOVE #paused")
                .expression_attribute_names("#paused", PAUSED)
                .send()
                .await;
            answer.map_err(TableError::from_sdk)?;
        }
        Ok(())
    }

    /// Since when outbound is stopped, if it is: for the operator, never asked before sending.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn outbound_paused_since(&self) -> Result<Option<Timestamp>, TableError> {
        for class in Class::ALL {
            let item: Option<serde_dynamo::Item> = self.get(&key(class)).await?.map(Into::into);
            if let Some(at) = item.as_ref().and_then(|item| item::text(item, PAUSED)) {
                return Ok(Some(
                    at.parse()
                        .map_err(|e| TableError::corrupt(key(class).to_string(), e))?,
                ));
            }
        }
        Ok(None)
    }
}

fn micros(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_micros()).expect("intervals and horizons are seconds")
}
