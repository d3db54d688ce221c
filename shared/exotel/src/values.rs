//! Text that may be sent and stored but not logged: numbers, message bodies, URLs that carry a secret.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::masking::last4;

macro_rules! private_text {
    ($(#[$meta:meta])* $name:ident, $debug:expr) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The whole text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The whole text, owned.
            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let describe: fn(&str) -> String = $debug;
                f.write_str(&describe(&self.0))
            }
        }
    };
}

private_text!(
    /// A phone number, ExoPhone, sender id or SIP address as Exotel takes or gives it; not normalised.
    /// `Debug` shows the last four digits.
    PhoneNumber,
    |text| format!("…{}", last4(text))
);

private_text!(
    /// The text of a message. `Debug` shows its length in characters.
    MessageBody,
    |text| format!("<{} characters>", text.chars().count())
);

private_text!(
    /// A URL whose path or query may carry a token or a signature. `Debug` shows scheme and host.
    PrivateUrl,
    |text| {
        let Some((scheme, rest)) = text.split_once("://") else {
            return "<no URL>".to_owned();
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        format!("{scheme}://{host}/…")
    }
);

impl PrivateUrl {
    /// Whether this is an `http` or `https` URL with something behind the scheme.
    pub(crate) fn is_http(&self) -> bool {
        ["http://", "https://"].iter().any(|scheme| {
            self.0
                .get(..scheme.len())
                .is_some_and(|s| s.eq_ignore_ascii_case(scheme))
                && self.0.len() > scheme.len()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_what_a_log_must_not_hold() {
        assert_eq!(format!("{:?}", PhoneNumber::from("+919811100002")), "…0002");
        assert_eq!(
            format!("{:?}", MessageBody::from("Your code is 482916")),
            "<19 characters>"
        );
        assert_eq!(
            format!("{:?}", PrivateUrl::from("wss://u:p@bot.example.in/media?t=S")),
            "wss://bot.example.in/…"
        );
        assert_eq!(format!("{:?}", PrivateUrl::from("SECRET")), "<no URL>");
    }

    #[test]
    fn only_http_and_https_count_as_a_web_address() {
        assert!(PrivateUrl::from("HTTPS://a/b").is_http());
        for text in ["null", "https://", "ftp://a", "", "ह"] {
            assert!(!PrivateUrl::from(text).is_http(), "{text}");
        }
    }
}
