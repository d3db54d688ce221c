#![doc = include_str!("../README.md")]

#[cfg(feature = "client")]
mod answer;
pub mod callback;
#[cfg(feature = "client")]
pub mod calls;
pub mod ccm;
#[cfg(feature = "client")]
mod client;
mod connectivity;
#[cfg(feature = "client")]
mod error;
#[cfg(feature = "client")]
pub mod exophones;
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
pub mod stream;
mod time;
mod values;
mod words;

#[cfg(feature = "client")]
pub use self::answer::{Answer, UnreadableEntry};
#[cfg(feature = "client")]
pub use self::client::{Client, Credentials, DEFAULT_TIMEOUT, MUMBAI, SINGAPORE};
pub use self::connectivity::{Connectivity, ExophoneHealth};
#[cfg(feature = "client")]
pub use self::error::{Error, Reason, Refusal, classify};
pub use self::ids::{CallSid, InvalidSid, SmsSid};
pub use self::masking::{last4, mask_numbers};
#[cfg(feature = "client")]
pub use self::request::{Api, FieldList, Request};
pub use self::time::{ExotelTime, UnreadableTime, default_zone, format_time, parse_time};
pub use self::values::{MessageBody, PhoneNumber, PrivateUrl};
pub use self::words::{
    AnsweredBy, CallEvent, CallStatus, CallType, CcmState, CcmStatus, ConnectivityStatus, Direction,
    DisconnectedBy, HeartbeatStatus, SmsStatus, StopReason, StreamStatus,
};

/// Any JSON, with the names that readers look for among others.
#[cfg(test)]
pub(crate) fn tree_strategy() -> impl proptest::strategy::Strategy<Value = serde_json::Value> {
    use proptest::prelude::*;
    use serde_json::Value;

    let name = "(Sid|sid|Call|call_sid|call_details|response|data|connectivity|incoming_call|status|phone_number|IncomingPhoneNumber|alternate_exophone|recordings|url|[a-z]{1,3})";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "(null|active|completed|08045550100|[a-z0-9]{1,6}|https://a/b|1970-01-01 05:30:00|\\PC{0,8})"
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((name, inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}
