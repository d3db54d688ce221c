//! A call's recording: whether there is one, and where Exotel keeps it. The address goes to the streaming function
//! alone, never to a browser.

use domain::{
    call::{Call, CallOrigin},
    ids::{CallId, CallLocator, CallSid, LeadId},
};
use jiff::Timestamp;
use table::{Table, TableError};

use crate::ServiceError;

/// Whether a call has a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recording {
    /// There is one, and this call has it.
    Of(CallLocator),
    /// The call is not over, or its end has not been reported: there may be one soon.
    NotYet,
    /// There is none, or no such call of this lead.
    None,
}

/// What is known of where a call's recording is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Where Exotel said it is; http(s).
    pub url: Option<String>,
    /// Exotel's id of the call.
    pub sid: Option<CallSid>,
    /// Whether nothing about the call's state is expected any more.
    pub is_final: bool,
    /// When the call ended, when that was reported.
    pub ended_at: Option<Timestamp>,
}

/// Whether this call of this lead has a recording. Whoever asks has checked that the caller may see the lead.
///
/// # Errors
/// [`ServiceError::Table`].
pub async fn recording_of(table: &Table, lead: &LeadId, call: &CallId) -> Result<Recording, ServiceError> {
    let locator = CallLocator {
        id: call.clone(),
        lead_id: lead.clone(),
    };
    Ok(match table.call(&locator).await?.and_then(kept) {
        Some(kept) if kept.url.is_some() => Recording::Of(locator),
        Some(kept) if !kept.is_final => Recording::NotYet,
        _ => Recording::None,
    })
}

/// What is known of where the call's recording is; `None` without such a call through Exotel.
///
/// # Errors
/// [`TableError`].
pub async fn kept_of(table: &Table, call: &CallLocator) -> Result<Option<Kept>, TableError> {
    Ok(table.call(call).await?.and_then(kept))
}

fn kept(call: Call) -> Option<Kept> {
    let ended_at = match &call.origin {
        CallOrigin::Exotel(exotel) => exotel.progress.ended_at.as_ref().map(|at| at.value),
        CallOrigin::Inbound(inbound) => inbound.ended_at,
        CallOrigin::Logged { .. } => return None,
    };
    Some(Kept {
        url: call.recording_url().map(str::to_owned),
        sid: call.sid().cloned(),
        is_final: call.is_final(),
        ended_at,
    })
}
