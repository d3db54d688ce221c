//! The HeartBeat: Exotel's regular word on the health of all ExoPhones.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::body::json_value;
use super::{BodyForm, CallbackError};
use crate::connectivity::{ExophoneHealth, numbers};
use crate::fields::{Fields, entry};
use crate::{ExotelTime, HeartbeatStatus, PhoneNumber};

/// What one HeartBeat says. Exotel POSTs it as JSON every few minutes, whether or not anything is wrong.
///
/// An ExoPhone that is in none of the lists is healthy if the status is `OK` or `WARNING`; of `PAYLOAD_TOO_LARGE` nothing
/// follows for any ExoPhone.
///
/// <https://developer.exotel.com/api/heartbeat-webhook>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatCallback {
    /// When Exotel wrote it.
    pub timestamp: Option<ExotelTime>,
    /// All ExoPhones together; unknown words are kept.
    pub status: HeartbeatStatus,
    /// Sids of the ExoPhones that callers do not reach.
    pub incoming_affected: Vec<PhoneNumber>,
    /// Sids of the ExoPhones that cannot call.
    pub outgoing_affected: Vec<PhoneNumber>,
    /// Details of the affected ExoPhones by sid.
    pub exophones: BTreeMap<PhoneNumber, ExophoneHealth>,
}

impl HeartbeatCallback {
    /// Reads a HeartBeat from the body of an HTTP request.
    ///
    /// `data` may hold the directions under `connectivity` or without it; the lists may be null. What is no list, no
    /// object and no sid there is left out, so keep the body.
    ///
    /// # Errors
    ///
    /// [`CallbackError::Empty`], [`CallbackError::Unreadable`] if the body is no JSON object, and
    /// [`CallbackError::MissingField`] without `status_type`.
    pub fn parse(body: &[u8]) -> Result<Self, CallbackError> {
        if body.trim_ascii().is_empty() {
            return Err(CallbackError::Empty);
        }
        let heartbeat = json_value(body).map_err(|detail| CallbackError::Unreadable {
            form: BodyForm::Json,
            detail,
        })?;
        let about = |name| entry(&heartbeat, name);
        let scalar = |name| {
            Fields::from_json(
                &serde_json::json!({"it": about(name).filter(|value| !value.is_object() && !value.is_array())}),
            )
        };
        let status = scalar("status_type")
            .owned("it")
            .ok_or(CallbackError::MissingField { field: "status_type" })?;
        let affected = |name| about(name).map(numbers).unwrap_or_default();
        Ok(Self {
            timestamp: scalar("timestamp").time("it"),
            status: HeartbeatStatus::from_wire(&status),
            incoming_affected: affected("incoming_affected"),
            outgoing_affected: affected("outgoing_affected"),
            exophones: about("data").map(exophones).unwrap_or_default(),
        })
    }
}

/// An object by sid; a list of objects that name their sid is understood as well.
fn exophones(data: &Value) -> BTreeMap<PhoneNumber, ExophoneHealth> {
    match data {
        Value::Object(entries) => entries
            .iter()
            .filter(|(sid, _)| !sid.trim().is_empty())
            .map(|(sid, exophone)| (sid.trim().into(), ExophoneHealth::from_tree(exophone)))
            .collect(),
        Value::Array(items) => items
            .iter()
            .filter_map(|item| Some((numbers(item).into_iter().next()?, ExophoneHealth::from_tree(item))))
            .collect(),
        _ => BTreeMap::new(),
    }
}
