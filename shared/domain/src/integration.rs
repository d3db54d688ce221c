//! The team's numbers at Exotel (DIDs): which bot answers each, and by which flow it is tried out.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    DomainError,
    ids::DidId,
    phone::PhoneNumber,
    voicebot::bots::{BotKind, Bots},
};

/// The longest label, in characters.
const LONGEST_LABEL: usize = 100;
/// The longest URL of a flow, in bytes.
const LONGEST_FLOW_URL: usize = 300;
/// The most DIDs of an installation: all of them are read at once, and stay far below 1 MB.
pub const MOST_DIDS: usize = 500;

/// A number of the team's, and what happens with its calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Did {
    /// Our id of it.
    pub id: DidId,
    /// The number, an ExoPhone of the account.
    pub number: PhoneNumber,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// The bot that answers its calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bot_id: Option<BotId>,
    /// The flow that a test call runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_url: Option<FlowUrl>,
}

impl Did {
    /// What a test call still lacks; empty when it can be placed. `has_credentials` says whether account, key and token of
    /// Exotel's API are all there.
    pub fn lacks(&self, has_credentials: bool) -> Vec<Lack> {
        let credentials = (!has_credentials).then_some(Lack::Credentials);
        let flow = self.flow_url.is_none().then_some(Lack::FlowUrl);
        credentials.into_iter().chain(flow).collect()
    }

    /// What Exotel gives back about a test call, in its `CustomField`.
    pub fn test_mark(&self) -> String {
        format!("cxb-test:{}", self.id)
    }
}

/// What a test call lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lack {
    /// Account SID, API key and API token are not all there.
    Credentials,
    /// The DID has no `flow_url`.
    FlowUrl,
}

impl Lack {
    /// What to do about it, in words.
    pub fn remedy(self) -> &'static str {
        match self {
            Lack::Credentials => "Exotel's credentials are missing: set account_sid, api_key and api_token",
            Lack::FlowUrl => "the DID has no flow_url: add the URL of its Exotel flow",
        }
    }
}

/// Declares a text that is checked when it is read.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
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
            fn from(text: $name) -> String {
                text.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked_text!(
    /// What people call a number: 1 to 100 characters, trimmed.
    Label
);
checked_text!(
    /// The name of a bot, ours or a media server's: 1 to 64 of `A` to `Z`, `a` to `z`, `0` to `9`, `-` and `_`, so that it
    /// stands in a URL as it is.
    BotId
);
checked_text!(
    /// The URL of a flow of Exotel's App Bazaar: `http://my.exotel.com/{account}/exoml/start_voice/{app}`. Exotel calls no
    /// other.
    FlowUrl
);

impl FromStr for Label {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        let text = text.trim();
        let fits = (1..=LONGEST_LABEL).contains(&text.chars().count());
        if fits && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(DomainError::Id {
                kind: "label",
                expected: "1 to 100 characters in one line",
            })
        }
    }
}

impl FromStr for BotId {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(DomainError::Id {
                kind: "bot_id",
                expected: "1 to 64 letters, digits, - or _",
            })
        }
    }
}

impl FromStr for FlowUrl {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        let text = text.trim();
        let flow = Url::parse(text).ok().filter(is_flow);
        match flow {
            Some(url) if text.len() <= LONGEST_FLOW_URL => Ok(Self(url.into())),
            _ => Err(DomainError::Id {
                kind: "flow_url",
                expected: "the URL of a flow: http://my.exotel.com/<account>/exoml/start_voice/<app>",
            }),
        }
    }
}

fn is_flow(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let of_exotel = ["my.exotel.com", "my.exotel.in", "my.in.exotel.com"].contains(&host);
    let parts: Vec<&str> = url.path_segments().map(Iterator::collect).unwrap_or_default();
    let plain = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    matches!(url.scheme(), "http" | "https")
        && of_exotel
        && url.port().is_none()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && matches!(parts[..], [account, "exoml", "start_voice", app] if plain(account) && plain(app))
}

/// Where the calls of bots go, as their URLs begin; without a slash at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sockets {
    /// The team's own media servers: `wss://media.example.com`.
    pub fleet: Option<String>,
    /// Our WebSocket API: `wss://abc.execute-api.ap-south-1.amazonaws.com/voicebot`.
    pub ours: Option<String>,
    /// The bots that have names here: one may be on a media server of its own.
    pub bots: Bots,
}

impl Sockets {
    /// The URL to paste into Exotel's Voicebot applet, so that a bot gets the calls: its own media server's, else on the
    /// fleet when there is one, else on our WebSocket API. A user and password that stand in a media server's URL are left
    /// out. Empty without a bot, or when its calls have nowhere to go.
    pub fn url_of(&self, bot: Option<&BotId>) -> String {
        let Some(bot) = bot else { return String::new() };
        match (self.bots.get(bot.as_str()), &self.fleet, &self.ours) {
            (Some(BotKind::Fleet { url: Some(url) }), ..) => without_credentials(url),
            (_, Some(fleet), _) => format!("{}/exotel/{bot}", fleet.trim_end_matches('/')),
            (Some(BotKind::Fleet { url: None }), None, _) => String::new(),
            (_, None, Some(ours)) => format!("{}?bot_id={bot}", ours.trim_end_matches('/')),
            (_, None, None) => String::new(),
        }
    }
}

fn without_credentials(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut parsed) if !parsed.username().is_empty() || parsed.password().is_some() => {
            // A URL with a host takes both.
            let _ = parsed.set_username("");
            let _ = parsed.set_password(None);
            parsed.into()
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn did() -> Did {
        Did {
            id: "did_01kak5yv7z8e4f9y2f4w6r8t0v".parse().unwrap(),
            number: "+918045550100".parse().unwrap(),
            label: None,
            bot_id: None,
            flow_url: None,
        }
    }

    #[test]
    fn a_test_call_needs_credentials_and_a_flow() {
        let bare = did();
        assert_eq!(bare.lacks(false), [Lack::Credentials, Lack::FlowUrl]);
        assert_eq!(bare.lacks(true), [Lack::FlowUrl]);
        let flow_url = "http://my.exotel.com/acme1/exoml/start_voice/228040".parse().ok();
        let ready = Did { flow_url, ..bare };
        assert_eq!(ready.lacks(true), []);
        assert_eq!(ready.lacks(false), [Lack::Credentials]);
        assert_eq!(ready.test_mark(), "cxb-test:did_01kak5yv7z8e4f9y2f4w6r8t0v");
    }

    #[test]
    fn a_socket_is_on_the_fleet_or_ours_and_empty_without_a_bot() {
        let bot: BotId = "support-1".parse().unwrap();
        let fleet = Some("wss://media.example.com/".to_owned());
        let ours = Some("wss://ws.example.com/voicebot".to_owned());
        let bots: Bots = serde_json::from_str(
            r#"{"own": {"kind": "fleet", "url": "wss://user:hunter2@m.example.com/x"}, "lost": {"kind": "fleet"}}"#,
        )
        .unwrap();
        let both = Sockets {
            fleet,
            ours: ours.clone(),
            bots: bots.clone(),
        };
        let own = Sockets {
            fleet: None,
            ours,
            bots,
        };
        for sockets in [&both, &own] {
            let of_its_own = sockets.url_of("own".parse().ok().as_ref());
            assert_eq!(of_its_own, "wss://m.example.com/x");
        }
        let lost = "lost".parse().ok();
        assert_eq!(both.url_of(lost.as_ref()), "wss://media.example.com/exotel/lost");
        assert_eq!(own.url_of(lost.as_ref()), "", "our API would refuse it");
        assert_eq!(
            both.url_of(Some(&bot)),
            "wss://media.example.com/exotel/support-1"
        );
        assert_eq!(
            own.url_of(Some(&bot)),
            "wss://ws.example.com/voicebot?bot_id=support-1"
        );
        assert_eq!(both.url_of(None), "");
        assert_eq!(Sockets::default().url_of(Some(&bot)), "");
    }

    #[test]
    fn only_flows_of_exotels_are_called() {
        for good in [
            "http://my.exotel.com/acme1/exoml/start_voice/228040",
            " https://my.exotel.in/acme1/exoml/start_voice/app_1 ",
        ] {
            assert_eq!(good.parse::<FlowUrl>().unwrap().as_str(), good.trim());
        }
        let long = format!("http://my.exotel.com/{}/exoml/start_voice/1", "a".repeat(300));
        for bad in [
            "",
            "228040",
            "ftp://my.exotel.com/acme1/exoml/start_voice/1",
            "http://my.exotel.com.example.com/acme1/exoml/start_voice/1",
            "http://my.exotel.com@example.com/acme1/exoml/start_voice/1",
            "http://u:p@my.exotel.com/acme1/exoml/start_voice/1",
            "http://my.exotel.com:81/acme1/exoml/start_voice/1",
            "http://my.exotel.com/acme1/exoml/start_voice/",
            "http://my.exotel.com/acme1/exoml/start_voice/1/2",
            "http://my.exotel.com/acme1/exoml/start_voice/1?To=1",
            "http://my.exotel.com//exoml/start_voice/1",
            "http://my.exotel.com/acme1/exoml/fetch/1",
            &long,
        ] {
            assert!(bad.parse::<FlowUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn labels_and_bots_are_short_and_plain() {
        assert_eq!(
            " Front desk ✓ ".parse::<Label>().unwrap().as_str(),
            "Front desk ✓"
        );
        for bad in ["", "  ", "a\nb", &"x".repeat(101)] {
            assert!(bad.parse::<Label>().is_err(), "{bad:?}");
        }
        for bad in ["", "a b", "a/b", "ü", "a?b", &"x".repeat(65)] {
            assert!(bad.parse::<BotId>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_reader_panic(text in "\\PC{0,80}|https?://my\\.exotel\\.com/[a-z/%.]{0,40}") {
            let _ = (text.parse::<FlowUrl>(), text.parse::<Label>(), text.parse::<BotId>());
        }
    }
}
