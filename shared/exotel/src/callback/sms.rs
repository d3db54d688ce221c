//! The delivery callback of an SMS.

use serde::{Deserialize, Serialize};

use super::body::read_callback;
use super::{CallbackError, read_sid};
use crate::fields::Fields;
use crate::{ExotelTime, PhoneNumber, SmsSid, SmsStatus};

/// What one delivery callback of an SMS says. Exotel sends it once, at the end; sources name different fields beside
/// sid and status, so all of them may be missing.
///
/// <https://developer.exotel.com/api-console/send-sms-api-console>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmsStatusCallback {
    /// Which SMS.
    pub sms_sid: SmsSid,
    /// Its state; unknown words are kept (one guide shows `DELIVERED_TO_HANDSET` here).
    pub status: SmsStatus,
    /// The receiver, usually in national form.
    pub to: Option<PhoneNumber>,
    /// ExoPhone or sender id.
    pub from: Option<PhoneNumber>,
    /// The account.
    pub account_sid: Option<String>,
    /// How many parts were billed.
    pub sms_units: Option<u32>,
    /// The reason as a word, such as `DELIVERED_TO_HANDSET`.
    pub detailed_status: Option<String>,
    /// The reason as a number, such as 20005.
    pub detailed_status_code: Option<u32>,
    /// When it was sent.
    pub date_sent: Option<ExotelTime>,
    /// When its record last changed.
    pub date_updated: Option<ExotelTime>,
    /// What the request's `CustomField` said.
    pub custom_field: Option<String>,
}

impl SmsStatusCallback {
    /// Reads a callback from an HTTP request, as [`super::CallStatusCallback::parse`] does.
    pub fn parse(
        content_type: Option<&str>,
        body: &[u8],
        query: Option<&str>,
    ) -> Result<Self, CallbackError> {
        read_callback(content_type, body, query, Self::from_fields)
    }

    /// Names the event, so that a repetition of it has the same key: sid, status and detailed status code.
    pub fn event_key(&self) -> String {
        let code = self
            .detailed_status_code
            .map_or("-".to_owned(), |code| code.to_string());
        format!("{}|{}|{code}", self.sms_sid, self.status)
    }

    fn from_fields(fields: &Fields) -> Result<Self, CallbackError> {
        let sms_sid: SmsSid = read_sid(fields, &["SmsSid", "SmsMessageSid", "Sid"], "SmsSid")?;
        let status = fields
            .any(&["Status", "SmsStatus"])
            .map(SmsStatus::from_wire)
            .ok_or_else(|| CallbackError::MissingStatus {
                sid: sms_sid.to_string(),
            })?;
        let code = ["DetailedStatusCode", "ExoStatusCode", "Code"]
            .iter()
            .find_map(|name| fields.count(name));
        Ok(Self {
            sms_sid,
            status,
            to: fields.phone("To"),
            from: fields.phone("From"),
            account_sid: fields.owned("AccountSid"),
            sms_units: fields.count("SmsUnits"),
            detailed_status: fields.owned("DetailedStatus"),
            detailed_status_code: code,
            date_sent: fields.time("DateSent").or_else(|| fields.time("SentAt")),
            date_updated: fields.time("DateUpdated").or_else(|| fields.time("UpdatedAt")),
            custom_field: fields.owned("CustomField"),
        })
    }
}
