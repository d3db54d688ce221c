//! Exotel's identifiers, each its own type.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Exotel's sids have 32 characters; the simulator of a test or an older product may use other lengths.
const LONGEST_SID: usize = 64;

/// A sid that is empty, longer than 64 characters, or has other characters than ASCII letters, digits, `-`, `_`, `.`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sid has 1 to 64 characters from A-Z, a-z, 0-9, '-', '_' and '.'")]
pub struct InvalidSid;

macro_rules! sid {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The sid as Exotel writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidSid;

            fn from_str(text: &str) -> Result<Self, InvalidSid> {
                let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
                let fits = (1..=LONGEST_SID).contains(&text.len()) && text.bytes().all(allowed);
                // Dots alone would mean another folder in a request's path.
                if fits && text.bytes().any(|b| b.is_ascii_alphanumeric()) { Ok(Self(text.to_owned())) } else { Err(InvalidSid) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidSid;

            fn try_from(text: String) -> Result<Self, InvalidSid> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(sid: $name) -> String {
                sid.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

sid!(
    /// Exotel's id of one call (32 lower-case alphanumerics; looks hexadecimal but is not always).
    CallSid
);
sid!(
    /// Exotel's id of one SMS.
    SmsSid
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sid_need_not_be_hexadecimal_but_must_be_plain() {
        assert!("5f0c1d2e3a4b4c5d8e9f0a1b2c3d162m".parse::<CallSid>().is_ok());
        for text in ["", "..", "a/b", "a b", "a#b", "ह", &"a".repeat(65)] {
            assert_eq!(text.parse::<CallSid>(), Err(InvalidSid), "{text}");
        }
    }
}
