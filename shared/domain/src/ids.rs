//! Every identifier as a type of its own: ours, the team's, and Exotel's.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::DomainError;

/// What every id has as text, beside its own way of reading it.
macro_rules! id_as_text {
    ($name:ident) => {
        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = DomainError;
            fn try_from(text: String) -> Result<Self, DomainError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// Declares an id of ours: a fixed prefix and a ULID in lower case, so ids sort by creation time as text.
macro_rules! sortable_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $kind:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// What every id of this kind starts with.
            pub const PREFIX: &'static str = $prefix;

            /// A new id for something created at `now`; `random` gives its last 80 bits.
            pub fn new(now: Timestamp, random: u128) -> Self {
                let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
                Self(format!("{}{}", $prefix, Ulid::from_parts(millis, random).to_string().to_ascii_lowercase()))
            }

            /// The smallest id that something created at `at` can have: a bound for key ranges.
            pub fn lower_bound(at: Timestamp) -> Self {
                Self::new(at, 0)
            }

            /// When the thing was created, in whole milliseconds.
            pub fn created_at(&self) -> Timestamp {
                let ulid = Ulid::from_string(&self.0[$prefix.len()..]).expect("checked when the id was made");
                Timestamp::from_millisecond(i64::try_from(ulid.timestamp_ms()).expect("48 bits"))
                    .expect("48 bits of milliseconds are within jiff's range")
            }
        }

        impl FromStr for $name {
            type Err = DomainError;
            fn from_str(text: &str) -> Result<Self, DomainError> {
                let wrong = DomainError::Id { kind: $kind, expected: $expected };
                let tail = text.strip_prefix($prefix).ok_or(wrong.clone())?;
                let lower = tail.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
                match Ulid::from_string(tail) {
                    // 253402207200 s is jiff's last second; a later ULID time is nobody's creation time.
                    Ok(ulid) if lower && tail.len() == 26 && ulid.timestamp_ms() < 253_402_207_200_000 => Ok(Self(text.to_owned())),
                    _ => Err(wrong),
                }
            }
        }

        id_as_text!($name);
    };
}

/// Declares an id that somebody else chose, checked by a predicate.
macro_rules! given_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $expected:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl FromStr for $name {
            type Err = DomainError;
            fn from_str(text: &str) -> Result<Self, DomainError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(DomainError::Id { kind: $kind, expected: $expected })
                }
            }
        }

        id_as_text!($name);
    };
}

fn team_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn alert_subject(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
}

fn connection_id(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'#' && b != b'/')
}

fn provider_sid(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn exophone_sid(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'_' | b'-'))
}

sortable_id!(
    /// A call of ours, from the moment somebody wanted it: `call_01j…`.
    CallId, "call_", "call id", "call_ and 26 lower-case ULID characters"
);
sortable_id!(
    /// An SMS of ours, from the moment somebody wanted it: `sms_01j…`.
    SmsId, "sms_", "SMS id", "sms_ and 26 lower-case ULID characters"
);
sortable_id!(
    /// An alert, from the moment it was raised: `alert_01j…`.
    AlertId, "alert_", "alert id", "alert_ and 26 lower-case ULID characters"
);
sortable_id!(
    /// A call with a bot, from the moment it was offered to one: `vs_01j…`.
    VoiceSessionId, "vs_", "voice session id", "vs_ and 26 lower-case ULID characters"
);
sortable_id!(
    /// A number of the team's at Exotel: `did_01j…`.
    DidId, "did_", "DID id", "did_ and 26 lower-case ULID characters"
);
given_id!(
    /// API Gateway's id of an open WebSocket (`connectionId`): `L0SM9cOFvHcCIhw=`.
    ConnectionId, "connection id", "1 to 128 visible ASCII characters without # and /", connection_id
);
given_id!(
    /// An alert rule, named in the code: `voice-connect`.
    RuleId, "rule id", "1 to 64 letters, digits, _ or -", team_id
);
given_id!(
    /// What an alert is about: an ExoPhone's sid, a lifecycle stage, or `account`.
    AlertSubject, "alert subject", "1 to 64 visible ASCII characters without #", alert_subject
);
given_id!(
    /// A lead, named by the team's CRM.
    LeadId, "lead id", "1 to 64 letters, digits, _ or -", team_id
);
given_id!(
    /// A user, named by the team's identity provider (`sub` in the JWT).
    UserId, "user id", "1 to 64 letters, digits, _ or -", team_id
);
given_id!(
    /// Exotel's id of a call (`CallSid`): 32 lower-case alphanumerics as a rule, not always hex.
    CallSid, "CallSid", "1 to 64 letters or digits", provider_sid
);
given_id!(
    /// Exotel's id of an SMS (`SmsSid`).
    SmsSid, "SmsSid", "1 to 64 letters or digits", provider_sid
);

given_id!(
    /// Exotel's id of an ExoPhone (`sid`, `phone_number_sid`): usually the number itself, as `08045550100`.
    ExoPhoneSid, "ExoPhone sid", "1 to 64 letters, digits, +, _ or -", exophone_sid
);

/// Leads that nobody wrote: the homes of calls to numbers that are no lead's.
const UNLISTED: &str = "unlisted-";

impl LeadId {
    /// The home of calls to a number that is no lead's; `hash` is the number's, so that no id tells a number.
    pub fn unlisted(hash: &str) -> Self {
        let hash = hash.get(..32).unwrap_or(hash);
        Self(format!("{UNLISTED}{hash}"))
    }

    /// Whether it is such a home. There is never a row of such a lead.
    pub fn is_unlisted(&self) -> bool {
        self.0.starts_with(UNLISTED)
    }
}

impl AlertSubject {
    /// An ExoPhone.
    pub fn exophone(sid: &ExoPhoneSid) -> Self {
        Self(sid.as_str().to_owned())
    }

    /// The account as a whole.
    pub fn account() -> Self {
        Self("account".to_owned())
    }
}

/// Declares a locator: an id of ours and the lead whose item collection holds the row.
macro_rules! locator {
    ($(#[$doc:meta])* $name:ident, $id:ident, $kind:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name {
            /// Our id of it.
            pub id: $id,
            /// The lead whose item collection holds the row.
            pub lead_id: LeadId,
        }

        impl FromStr for $name {
            type Err = DomainError;
            fn from_str(text: &str) -> Result<Self, DomainError> {
                let wrong = DomainError::Id { kind: $kind, expected: $expected };
                let (id, lead) = text.split_once('.').ok_or(wrong.clone())?;
                match (id.parse(), lead.parse()) {
                    (Ok(id), Ok(lead_id)) => Ok(Self { id, lead_id }),
                    _ => Err(wrong),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = DomainError;
            fn try_from(text: String) -> Result<Self, DomainError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(locator: $name) -> String {
                locator.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}.{}", self.id, self.lead_id)
            }
        }
    };
}

locator!(
    /// Names a call's row without a read: `<call id>.<lead id>`, at most 96 characters. It stands in the callback
    /// URL that we hand to Exotel and in `CustomField` (limit 128).
    CallLocator, CallId, "call locator", "<call id>.<lead id>"
);
locator!(
    /// Names an SMS's row without a read: `<SMS id>.<lead id>`.
    SmsLocator, SmsId, "SMS locator", "<SMS id>.<lead id>"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_creation_time_and_tell_it() {
        let early = CallId::new("2026-11-20T08:30:00Z".parse().unwrap(), u128::MAX);
        let late = CallId::new("2026-11-20T08:30:00.001Z".parse().unwrap(), 0);
        assert!(early < late);
        assert_eq!(early.created_at(), "2026-11-20T08:30:00Z".parse().unwrap());
        assert_eq!(early.as_str().parse::<CallId>().unwrap(), early);
        assert_eq!(early.as_str().len(), 31);
    }

    #[test]
    fn a_locator_is_read_back_and_fits_exotels_custom_field() {
        let locator = CallLocator {
            id: CallId::new(Timestamp::UNIX_EPOCH, 7),
            lead_id: "x".repeat(64).parse().unwrap(),
        };
        let text = locator.to_string();
        assert!(text.len() <= 128);
        assert_eq!(text.parse::<CallLocator>().unwrap(), locator);
    }

    #[test]
    fn the_home_of_an_unlisted_number_is_an_id_like_any() {
        let home = LeadId::unlisted("0f1e2d3c4b5a69788796a5b4c3d2e1f0");
        assert!(home.is_unlisted());
        assert_eq!(home.as_str().parse::<LeadId>().unwrap(), home);
        assert!(!"lead-1".parse::<LeadId>().unwrap().is_unlisted());
    }

    #[test]
    fn ids_of_another_form_are_refused() {
        for bad in ["", "a b", "a/b", "a.b", "ü", &"x".repeat(65), "a#b"] {
            assert!(bad.parse::<LeadId>().is_err(), "{bad}");
        }
        let latest = format!("call_{}", "7".to_owned() + &"z".repeat(25));
        for bad in [
            "call_",
            "sms_01",
            "call_01J00000000000000000000000",
            latest.as_str(),
            "call_ü1j0000000000000000000000",
        ] {
            assert!(bad.parse::<CallId>().is_err(), "{bad}");
        }
    }
}
