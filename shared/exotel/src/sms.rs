//! SMS v1: sending one, the same to many, many different ones, and reading what became of one.

mod bulk;
mod details;
mod send;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::bulk::{BulkItem, BulkMessage, SendBulkSms, SendDynamicBulkSms};
pub use self::details::GetSms;
pub use self::send::{Encoding, Priority, SendSms, ShortenUrl, SmsOptions, SmsType};
use crate::fields::Fields;
use crate::{Direction, ExotelTime, InvalidSid, MessageBody, PhoneNumber, SmsSid, SmsStatus};

/// An SMS as Exotel's answers describe it. Only the sid is certain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sms {
    /// Exotel's id of the SMS.
    pub sid: SmsSid,
    /// Its state; `queued` for one just sent.
    pub status: Option<SmsStatus>,
    /// The account.
    pub account_sid: Option<String>,
    /// Sender id or ExoPhone; sometimes both as `exophone/HEADER`.
    pub from: Option<PhoneNumber>,
    /// The receiver, usually in national form.
    pub to: Option<PhoneNumber>,
    /// The text.
    pub body: Option<MessageBody>,
    /// When Exotel took it.
    pub date_created: Option<ExotelTime>,
    /// When its record last changed.
    pub date_updated: Option<ExotelTime>,
    /// When it was sent.
    pub date_sent: Option<ExotelTime>,
    /// Who started it.
    pub direction: Option<Direction>,
    /// Path in Exotel's API; not to be followed.
    pub uri: Option<String>,
    /// Cost as a decimal number in the account's currency.
    pub price: Option<String>,
    /// How many parts are billed.
    pub sms_units: Option<u32>,
    /// The reason as a word, such as `PENDING_TO_OPERATOR`.
    pub detailed_status: Option<String>,
    /// The reason as a number, such as 21010.
    pub detailed_status_code: Option<u32>,
}

impl Sms {
    /// Reads a bare message object.
    fn from_tree(message: &Value) -> Result<Self, UnreadableSms> {
        let fields = Fields::from_json(message);
        Ok(Self {
            sid: fields.text("Sid").ok_or(UnreadableSms::NoSid)?.parse()?,
            status: fields.text("Status").map(SmsStatus::from_wire),
            account_sid: fields.owned("AccountSid"),
            from: fields.phone("From"),
            to: fields.phone("To"),
            body: fields.text("Body").map(MessageBody::from),
            date_created: fields.time("DateCreated"),
            date_updated: fields.time("DateUpdated"),
            date_sent: fields.time("DateSent"),
            direction: fields.text("Direction").map(Direction::from_wire),
            uri: fields.owned("Uri"),
            price: fields.owned("Price"),
            sms_units: fields.count("SmsUnits"),
            detailed_status: fields.owned("DetailedStatus"),
            detailed_status_code: fields.count("DetailedStatusCode"),
        })
    }
}

/// Why an object is no SMS.
#[derive(Debug, thiserror::Error)]
enum UnreadableSms {
    #[error("the answer has no SMSMessage")]
    NoMessage,
    #[error("the SMS has no Sid")]
    NoSid,
    #[error("the SMS's Sid is no sid")]
    InvalidSid(#[from] InvalidSid),
}

/// Reads `{"SMSMessage": {...}}`.
fn read_sms(tree: &Value) -> Result<Sms, UnreadableSms> {
    tree.get("SMSMessage")
        .ok_or(UnreadableSms::NoMessage)
        .and_then(Sms::from_tree)
}
