//! The URL of a stream, taken apart as Exotel does before it dials.

use base64::Engine as _;
use percent_encoding::percent_decode_str;

/// Characters of a whole URL, exclusive.
const URL_LIMIT: usize = 600;
/// Custom parameters a URL may carry.
const MOST_PARAMETERS: usize = 3;
/// Characters they may have together, as they stand in the URL.
const MOST_CHARACTERS: usize = 256;
/// The query parameter that sets the rate; with a hyphen.
const RATE: &str = "sample-rate";

/// A stream's URL and what it says.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct StreamUrl {
    /// As it was given: `StreamUrl` of the Passthru.
    pub(crate) given: String,
    /// What is dialled: the same without user and password.
    pub(crate) dialled: url::Url,
    /// `Basic …`, from user and password.
    pub(crate) authorization: Option<String>,
    pub(crate) rate_hz: u32,
    pub(crate) custom_parameters: Vec<(String, String)>,
}

impl std::fmt::Debug for StreamUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The query often holds a token.
        f.debug_struct("StreamUrl")
            .field("host", &self.dialled.host_str())
            .field("rate_hz", &self.rate_hz)
            .finish_non_exhaustive()
    }
}

impl StreamUrl {
    /// Takes a URL apart. The error says which of Exotel's rules it breaks.
    pub(crate) fn parse(given: &str) -> Result<Self, String> {
        let mut dialled = url::Url::parse(given).map_err(|err| format!("the stream's URL is none: {err}"))?;
        if !matches!(dialled.scheme(), "ws" | "wss") {
            return Err("the stream's URL must begin with ws:// or wss://".to_owned());
        }
        let length = given.chars().count();
        if length >= URL_LIMIT {
            return Err(format!(
                "the stream's URL has {length} characters; it must be shorter than {URL_LIMIT}"
            ));
        }
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let authorization = match (dialled.username(), dialled.password()) {
            ("", None) => None,
            (user, password) => {
                let pair = format!("{}:{}", decode(user), decode(password.unwrap_or_default()));
                Some(format!(
                    "Basic {}",
                    base64::engine::general_purpose::STANDARD.encode(pair)
                ))
            }
        };
        // A URL with a host takes both; ws and wss have one.
        let _ = dialled.set_username("");
        let _ = dialled.set_password(None);
        dialled.set_fragment(None);
        let (mut rate_hz, mut custom_parameters, mut characters) = (8_000, Vec::new(), 0);
        for piece in dialled.query().unwrap_or_default().split('&') {
            let Some((name, value)) = form_urlencoded::parse(piece.as_bytes()).next() else {
                continue;
            };
            if name == RATE {
                rate_hz = match value.as_ref() {
                    "8000" => 8_000,
                    "16000" => 16_000,
                    "24000" => 24_000,
                    _ => return Err(format!("{RATE} must be 8000, 16000 or 24000, not {value}")),
                };
                continue;
            }
            // The & between two of them counts.
            characters += piece.chars().count() + usize::from(!custom_parameters.is_empty());
            custom_parameters.push((name.into_owned(), value.into_owned()));
        }
        if custom_parameters.len() > MOST_PARAMETERS {
            return Err(format!(
                "the stream's URL has {} custom parameters; {MOST_PARAMETERS} are allowed",
                custom_parameters.len()
            ));
        }
        if characters > MOST_CHARACTERS {
            return Err(format!(
                "the custom parameters of the stream's URL have {characters} characters; {MOST_CHARACTERS} are allowed"
            ));
        }
        Ok(Self {
            given: given.to_owned(),
            dialled,
            authorization,
            rate_hz,
            custom_parameters,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_leave_the_url_and_become_a_header() {
        let url =
            StreamUrl::parse("wss://bot:p%40ss@bot.example.in/media?lead=7f3&sample-rate=16000&a=b%20c")
                .unwrap();
        assert_eq!(
            url.dialled.as_str(),
            "wss://bot.example.in/media?lead=7f3&sample-rate=16000&a=b%20c"
        );
        let encoded = base64::engine::general_purpose::STANDARD.encode("bot:p@ss");
        assert_eq!(url.authorization, Some(format!("Basic {encoded}")));
        assert_eq!(url.rate_hz, 16_000);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(url.custom_parameters, [pair("lead", "7f3"), pair("a", "b c")]);
        assert!(!format!("{url:?}").contains("7f3"));
    }

    #[test]
    fn the_rate_is_8000_unless_said_with_a_hyphen() {
        let rate = |text: &str| StreamUrl::parse(text).map(|url| url.rate_hz);
        assert_eq!(rate("ws://bot.example.in"), Ok(8_000));
        assert_eq!(rate("ws://bot.example.in?sample-rate=24000"), Ok(24_000));
        assert_eq!(rate("ws://bot.example.in?sample_rate=24000"), Ok(8_000));
        assert!(
            rate("ws://bot.example.in?sample-rate=44100")
                .unwrap_err()
                .contains("44100")
        );
    }

    #[test]
    fn a_url_that_breaks_a_rule_is_named() {
        let problem = |text: &str| StreamUrl::parse(text).unwrap_err();
        assert!(problem("https://bot.example.in").contains("ws://"));
        assert!(problem("bot").contains("is none"));
        assert!(problem("ws://b.example.in?a=1&b=2&c=3&d=4").contains("4 custom"));
        let long = |length: usize| format!("ws://b.example.in?sample-rate=8000&a={}", "x".repeat(length - 2));
        let endless = |length: usize| format!("wss://b.example.in/{}", "x".repeat(length - 19));
        assert!(problem(&endless(600)).contains("600 characters"));
        assert!(StreamUrl::parse(&endless(599)).is_ok());
        assert!(problem(&long(257)).contains("257 characters"));
        assert!(StreamUrl::parse(&long(256)).is_ok());
    }
}
