//! The URL that Exotel dials for a stream, and what Exotel allows in it.

use std::fmt;

use serde_json::Value;

use crate::PrivateUrl;

/// Characters of the whole URL, exclusive.
const URL_LIMIT: usize = 600;

/// Parameters of one's own.
const MOST_PARAMETERS: usize = 3;

/// Characters they may have together, as they stand in the URL.
const MOST_PARAMETER_CHARACTERS: usize = 256;

/// The parameter that sets the rate; it counts towards neither.
const RATE: &str = "sample-rate";

/// A WebSocket URL that keeps Exotel's rules: `ws` or `wss`, under 600 characters, at most three parameters of one's own
/// with at most 256 characters together, and a `sample-rate` of 8000 (the default), 16000 or 24000.
///
/// The parameters come back in [`Start::custom_parameters`](crate::stream::Start::custom_parameters). A user and password
/// in front of the host become a Basic `Authorization` header when Exotel dials. `Debug` shows scheme and host.
///
/// ```
/// use exotel::stream::StreamUrl;
///
/// let url = StreamUrl::new("wss://bot.example.in/media?sample-rate=16000&lead=7f3")?;
/// assert_eq!(url.answer(), r#"{"url":"wss://bot.example.in/media?sample-rate=16000&lead=7f3"}"#);
/// # Ok::<(), exotel::stream::IllegalStreamUrl>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamUrl(PrivateUrl);

/// Which of Exotel's rules a stream's URL breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IllegalStreamUrl {
    /// It has another scheme, or no host.
    #[error("must be a ws or wss URL")]
    NoSocket,
    /// It is too long.
    #[error("has {length} characters, under {URL_LIMIT} are allowed")]
    TooLong {
        /// Its characters.
        length: usize,
    },
    /// Its `sample-rate` is none of the three.
    #[error("has a {RATE} other than 8000, 16000 and 24000")]
    UnknownRate,
    /// It has too many parameters of its own.
    #[error("has {count} parameters beside {RATE}, at most {MOST_PARAMETERS} are allowed")]
    TooManyParameters {
        /// How many.
        count: usize,
    },
    /// They are too long.
    #[error("has {length} characters of parameters, at most {MOST_PARAMETER_CHARACTERS} are allowed")]
    LongParameters {
        /// Their characters, with the `&` between them.
        length: usize,
    },
}

impl StreamUrl {
    /// Takes a URL, if Exotel would.
    pub fn new(url: impl Into<PrivateUrl>) -> Result<Self, IllegalStreamUrl> {
        let url = url.into();
        check(&url)?;
        Ok(Self(url))
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The JSON body that tells a Voicebot or Stream applet to dial this URL. It goes with the status 200.
    pub fn answer(&self) -> String {
        format!(r#"{{"url":{}}}"#, Value::from(self.as_str()))
    }
}

impl From<StreamUrl> for PrivateUrl {
    fn from(url: StreamUrl) -> Self {
        url.0
    }
}

impl fmt::Display for StreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) fn check(url: &str) -> Result<(), IllegalStreamUrl> {
    let (scheme, rest) = url.split_once("://").ok_or(IllegalStreamUrl::NoSocket)?;
    if !["ws", "wss"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
        || authority(rest).is_empty()
    {
        return Err(IllegalStreamUrl::NoSocket);
    }
    let length = url.chars().count();
    if length >= URL_LIMIT {
        return Err(IllegalStreamUrl::TooLong { length });
    }
    let query = url.split('#').next().and_then(|url| url.split_once('?'));
    let pieces = query.map_or("", |(_, query)| query).split('&');
    let (mut count, mut length) = (0, 0);
    for piece in pieces.filter(|piece| !piece.is_empty()) {
        match piece.split_once('=').unwrap_or((piece, "")) {
            (RATE, "8000" | "16000" | "24000") => continue,
            (RATE, _) => return Err(IllegalStreamUrl::UnknownRate),
            _ => {}
        }
        length += piece.chars().count() + usize::from(count > 0);
        count += 1;
    }
    if count > MOST_PARAMETERS {
        return Err(IllegalStreamUrl::TooManyParameters { count });
    }
    if length > MOST_PARAMETER_CHARACTERS {
        return Err(IllegalStreamUrl::LongParameters { length });
    }
    Ok(())
}

/// Host and port.
fn authority(rest: &str) -> &str {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_breaks_a_rule_is_told_which() {
        let long =
            |length: usize| format!("wss://b.example.in?sample-rate=8000&a={}", "x".repeat(length - 2));
        let of_length = |length: usize| format!("wss://b/{}", "x".repeat(length - 8));
        for (url, problem) in [
            ("https://b.example.in".to_owned(), IllegalStreamUrl::NoSocket),
            ("wss:///media".to_owned(), IllegalStreamUrl::NoSocket),
            ("wss://u:p@/media".to_owned(), IllegalStreamUrl::NoSocket),
            ("b.example.in".to_owned(), IllegalStreamUrl::NoSocket),
            (of_length(600), IllegalStreamUrl::TooLong { length: 600 }),
            (
                "wss://b?sample-rate=44100".to_owned(),
                IllegalStreamUrl::UnknownRate,
            ),
            (
                "wss://b?a=1&b=2&c=3&d=4".to_owned(),
                IllegalStreamUrl::TooManyParameters { count: 4 },
            ),
            (long(257), IllegalStreamUrl::LongParameters { length: 257 }),
        ] {
            assert_eq!(StreamUrl::new(url.as_str()), Err(problem), "{url}");
        }
        for url in [
            of_length(599),
            long(256),
            "ws://127.0.0.1:9/x?a=1&b=2&c=3&sample-rate=24000#d&e&f".to_owned(),
            "WSS://user:pass@b.example.in".to_owned(),
        ] {
            assert!(StreamUrl::new(url.as_str()).is_ok(), "{url}");
        }
    }

    #[test]
    fn what_opens_the_socket_is_not_shown() {
        let url = StreamUrl::new("wss://u:SECRET@b.example.in/m?token=SECRET").unwrap();
        assert!(!format!("{url:?}").contains("SECRET"));
    }
}
