#![doc = include_str!("../README.md")]

#[cfg(feature = "client")]
mod answer;
pub mod callback;
#[cfg(feature = "client")]
pub mod calls;
#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
mod error;
mod fields;
mod ids;
mod masking;
#[cfg(feature = "client")]
pub mod numbers;
#[cfg(feature = "client")]
pub mod recordings;
#[cfg(feature = "client")]
mod request;
#[cfg(feature = "client")]
pub mod sms;
mod time;
mod values;
mod words;

#[cfg(feature = "client")]
pub use self::answer::Answer;
#[cfg(feature = "client")]
pub use self::client::{Client, Credentials, DEFAULT_TIMEOUT, MUMBAI, SINGAPORE};
#[cfg(feature = "client")]
pub use self::error::{Error, Reason, Refusal, classify};
pub use self::ids::{CallSid, InvalidSid, SmsSid};
pub use self::masking::{last4, mask_numbers};
#[cfg(feature = "client")]
pub use self::request::{FieldList, Request};
pub use self::time::{ExotelTime, UnreadableTime, default_zone, format_time, parse_time};
pub use self::values::{MessageBody, PhoneNumber, PrivateUrl};
pub use self::words::{AnsweredBy, CallEvent, CallStatus, Direction, SmsStatus};
