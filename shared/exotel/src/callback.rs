//! What Exotel sends by itself: status callbacks of calls and SMS in every body form it uses, what a Passthru applet tells
//! in the middle of a flow, what a Voicebot or Stream applet asks, and HeartBeats.
//!
//! A status callback needs a sid and a status, a Passthru or a stream a sid, a HeartBeat a status; everything else may be missing. Exotel documents no signature and no order:
//! who sent a callback, whether it is a duplicate and whether it is stale is for the receiver to settle
//! ([`CallStatusCallback::event_key`] helps with duplicates).

mod body;
#[cfg(feature = "test-builders")]
mod builders;
mod call;
mod heartbeat;
mod passthru;
mod sms;
mod stream;

pub use self::body::BodyForm;
#[cfg(feature = "test-builders")]
pub use self::builders::{CallbackBody, HeartbeatNesting};
pub use self::call::{CallStatusCallback, Leg};
pub use self::heartbeat::HeartbeatCallback;
pub use self::passthru::{EndedStream, PassthruCall, PassthruLeg};
pub use self::sms::SmsStatusCallback;
pub use self::stream::StreamRequest;

/// Why a body is no callback.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallbackError {
    /// Neither body nor query holds anything.
    #[error("the callback is empty")]
    Empty,
    /// The body is not what its content type says, nor any other form.
    #[error("the callback's body cannot be read as {form}: {detail}")]
    Unreadable {
        /// The form that was tried.
        form: BodyForm,
        /// What was wrong, without any of the body's values.
        detail: String,
    },
    /// It says nowhere which call or SMS it is about.
    #[error("the callback has no {field}")]
    MissingSid {
        /// `CallSid` or `SmsSid`.
        field: &'static str,
    },
    /// What it gives as a sid cannot be one.
    #[error("the callback's {field} is no sid")]
    InvalidSid {
        /// `CallSid` or `SmsSid`.
        field: &'static str,
        /// Why not.
        source: crate::InvalidSid,
    },
    /// It lacks what it cannot be without.
    #[error("the callback has no {field}")]
    MissingField {
        /// Exotel's name of it.
        field: &'static str,
    },
    /// It is about a known call or SMS but gives no status.
    #[error("the callback about {sid} has no Status")]
    MissingStatus {
        /// Exotel's sid of the call or SMS, so that the raw event can be filed under it.
        sid: String,
    },
}

/// A sid from the first of `names` that has a value.
fn read_sid<S>(
    fields: &crate::fields::Fields,
    names: &[&str],
    field: &'static str,
) -> Result<S, CallbackError>
where
    S: std::str::FromStr<Err = crate::InvalidSid>,
{
    let text = fields.any(names).ok_or(CallbackError::MissingSid { field })?;
    text.parse()
        .map_err(|source| CallbackError::InvalidSid { field, source })
}

/// Keys a caller pressed in a flow, without the quotes that Exotel puts around them.
fn pressed(fields: &crate::fields::Fields) -> Option<String> {
    let digits = fields.text("digits")?.trim_matches(['"', ' ']);
    (!digits.is_empty() && !digits.eq_ignore_ascii_case("null")).then(|| digits.to_owned())
}
