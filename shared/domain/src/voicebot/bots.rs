//! Which bots there are: what `VOICEBOT_BOTS` says, checked when it is read.
//!
//! ```json
//! {
//!   "reception": {"kind": "menu", "tree": "reception"},
//!   "support":   {"kind": "http", "url": "https://bot.example.com/turn"},
//!   "orders":    {"kind": "lex", "bot_id": "A1B2C3D4E5", "alias_id": "TSTALIASID", "locale": "en_IN"},
//!   "own":       {"kind": "fleet", "url": "wss://media.example.com/exotel/own"}
//! }
//! ```
//!
//! `echo` and `demo` are there without anybody naming them; an entry of that name takes their place.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor},
};
use url::{Host, Url};

use super::Rate;

/// The longest name of a bot and of a menu, in bytes: a UUID is one.
const LONGEST_NAME: usize = 36;
/// The longest URL of a bot, in bytes: Exotel dials none of 600 or more.
pub const LONGEST_URL: usize = 599;
/// The most parameters of a stream's URL besides `sample-rate`.
pub const MOST_PARAMETERS: usize = 3;
/// The most characters that they have together, `&` among them.
pub const LONGEST_PARAMETERS: usize = 256;
/// The longest greeting of a bot of Lex, in bytes; Lex takes 1024.
const LONGEST_GREETING: usize = 256;
/// The most bots; the whole of a function's variables has 4 KB.
const MOST_BOTS: usize = 50;

/// All bots of an installation by name. A name is 1 to 36 of `a` to `z`, `0` to `9`, `-` and `_`, and stands in URLs as it
/// is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Bots(BTreeMap<String, BotKind>);

/// What a bot is, and what it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum BotKind {
    /// Says again what the caller said: to hear whether a line works.
    Echo {},
    /// A tree of prompts and keys, see [`super::menu`].
    Menu {
        /// The name of the tree.
        tree: String,
    },
    /// A server of the team's, asked once per turn.
    Http {
        /// Where it is asked: https and a name that leads to a public address. Plain http on loopback reads too, and it is
        /// for whoever asks to refuse that in the cloud.
        url: String,
    },
    /// A bot of Amazon Lex V2.
    Lex {
        /// Lex's id of the bot: ten letters and digits.
        bot_id: String,
        /// Lex's id of the alias, `TSTALIASID` for the draft.
        alias_id: String,
        /// The locale, such as `en_IN`.
        locale: String,
        /// The AWS region that the bot is in; the function's own when not said. Not every region has Lex.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        region: Option<String>,
        /// What is said to the bot in the caller's place when a call begins, so that it greets them.
        #[serde(default = "BotKind::usual_greeting")]
        greeting: String,
    },
    /// A media server of the team's, to which Exotel is sent: it gets the sound itself.
    Fleet {
        /// The URL that Exotel dials, `wss://`. Not said, it is `{CORE_FLEET}/exotel/{name of the bot}`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        url: Option<String>,
    },
}

impl BotKind {
    /// The rate at which a media server of its own is dialled, by its URL; `None` for every other bot.
    pub fn dialled_rate(&self) -> Option<Rate> {
        let BotKind::Fleet { url: Some(url) } = self else {
            return None;
        };
        let url = Url::parse(url).ok()?;
        let asked = url.query_pairs().find(|(name, _)| name == "sample-rate");
        let hz = asked.and_then(|(_, hz)| hz.parse().ok());
        Some(hz.and_then(Rate::from_hz).unwrap_or(Rate::Hz8000))
    }
}

impl Bots {
    /// The name of the bot that repeats what it hears.
    pub const ECHO: &'static str = "echo";
    /// The name of the menu that comes with the product, and of its tree.
    pub const DEMO: &'static str = "demo";

    /// The bot of this name.
    pub fn get(&self, name: &str) -> Option<&BotKind> {
        self.0.get(name)
    }

    /// All bots, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &BotKind)> {
        self.0.iter().map(|(name, kind)| (name.as_str(), kind))
    }

    /// The names of all bots, to be told to whoever names another: `"demo", "echo"`.
    pub fn names(&self) -> String {
        let names: Vec<_> = self.0.keys().map(|name| format!("\"{name}\"")).collect();
        names.join(", ")
    }
}

/// The bots that nobody has to name.
impl Default for Bots {
    fn default() -> Self {
        let demo = BotKind::Menu {
            tree: Self::DEMO.to_owned(),
        };
        Self(BTreeMap::from([
            (Self::ECHO.to_owned(), BotKind::Echo {}),
            (Self::DEMO.to_owned(), demo),
        ]))
    }
}

impl BotKind {
    /// Whether the sound of a call reaches us: everything but a fleet's.
    pub fn is_ours(&self) -> bool {
        !matches!(self, BotKind::Fleet { .. })
    }

    fn usual_greeting() -> String {
        "hello".to_owned()
    }

    fn validate(&self) -> Result<(), String> {
        match self {
            BotKind::Echo {} => Ok(()),
            BotKind::Menu { tree } => name(tree).map_err(|what| format!("`tree` {what}")),
            BotKind::Http { url } => http_url(url).map_err(|what| format!("`url` {what}")),
            BotKind::Lex {
                bot_id,
                alias_id,
                locale,
                region,
                greeting,
            } => {
                for (field, id) in [("bot_id", bot_id), ("alias_id", alias_id)] {
                    if id.len() != 10 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                        return Err(format!(
                            "`{field}` must be ten letters and digits; Lex's console shows it with the bot's \
                             details"
                        ));
                    }
                }
                if !is_locale(locale) {
                    return Err("`locale` must be one of Lex's, such as en_IN".to_owned());
                }
                if !(1..=LONGEST_GREETING).contains(&greeting.len()) {
                    return Err(format!("`greeting` must have 1 to {LONGEST_GREETING} bytes"));
                }
                match region {
                    Some(region) if !is_region(region) => {
                        Err("`region` must be an AWS region, such as ap-southeast-1".to_owned())
                    }
                    _ => Ok(()),
                }
            }
            BotKind::Fleet { url: None } => Ok(()),
            BotKind::Fleet { url: Some(url) } => fleet_url(url).map_err(|what| format!("`url` {what}")),
        }
    }
}

/// What is wrong with a name, if anything.
fn name(name: &str) -> Result<(), String> {
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    if (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(is_plain) {
        Ok(())
    } else {
        Err(format!(
            "must be 1 to {LONGEST_NAME} of a-z, 0-9, - and _, since it stands in URLs"
        ))
    }
}

fn url(text: &str, example: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| format!("must be a URL such as {example}"))?;
    if text.len() > LONGEST_URL {
        return Err(format!("has more than {LONGEST_URL} characters"));
    }
    // What is written and what is dialled must be the same to every reader.
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return Err("has characters that do not belong in a URL; write them escaped".to_owned());
    }
    if url.fragment().is_some() {
        return Err("must not have a fragment (#…), which no server sees".to_owned());
    }
    Ok(url)
}

fn http_url(text: &str) -> Result<(), String> {
    let url = url(text, "https://bot.example.com/turn")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or password; requests are signed instead".to_owned());
    }
    match (url.scheme(), url.host()) {
        ("http" | "https", Some(host)) if is_loopback(&host) => Ok(()),
        ("https", Some(Host::Domain(_))) => Ok(()),
        ("https", Some(Host::Ipv4(_) | Host::Ipv6(_))) => {
            Err("must name its host, not an IP address".to_owned())
        }
        ("http", _) => Err("must be https; http is for loopback alone".to_owned()),
        _ => Err("must be https".to_owned()),
    }
}

fn fleet_url(text: &str) -> Result<(), String> {
    let url = url(text, "wss://media.example.com/exotel/own")?;
    within_exotels_limits(&url)?;
    match (url.scheme(), url.host()) {
        ("ws", Some(host)) if is_loopback(&host) => Ok(()),
        ("wss", Some(_)) => Ok(()),
        ("ws", _) => Err("must be wss; ws is for loopback alone".to_owned()),
        _ => Err("must be wss".to_owned()),
    }
}

/// What Exotel dials besides a URL's length.
fn within_exotels_limits(url: &Url) -> Result<(), String> {
    let pieces = url
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|piece| !piece.is_empty());
    let (rates, own): (Vec<_>, Vec<_>) = pieces.partition(|piece| piece.starts_with("sample-rate="));
    if let Some(rate) = rates
        .iter()
        .find(|rate| !["sample-rate=8000", "sample-rate=16000", "sample-rate=24000"].contains(rate))
    {
        return Err(format!("has {rate}; Exotel knows 8000, 16000 and 24000"));
    }
    if own.len() > MOST_PARAMETERS {
        return Err(format!(
            "has {} parameters; Exotel takes {MOST_PARAMETERS} besides sample-rate",
            own.len()
        ));
    }
    if own.join("&").chars().count() > LONGEST_PARAMETERS {
        return Err(format!(
            "has parameters of more than {LONGEST_PARAMETERS} characters, which Exotel does not take"
        ));
    }
    Ok(())
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// `en_IN`, or `es_419`.
fn is_locale(text: &str) -> bool {
    text.split_once('_').is_some_and(|(language, place)| {
        language.len() == 2
            && language.bytes().all(|byte| byte.is_ascii_lowercase())
            && (2..=3).contains(&place.len())
            && place
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    })
}

/// `ap-southeast-1`.
fn is_region(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let (Some(number), words) = (parts.last(), &parts[..parts.len() - 1]) else {
        return false;
    };
    text.len() <= 24
        && words.len() >= 2
        && words
            .iter()
            .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// The errors say which bot is meant, what is wrong with it, and what would be right.
impl<'de> Deserialize<'de> for Bots {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Bots;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "an object of bots by name, such as {\"demo\": {\"kind\": \"menu\", \"tree\": \"demo\"}}",
                )
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bots, A::Error> {
                let mut named = BTreeMap::new();
                while let Some(id) = map.next_key::<String>()? {
                    // Who writes a name that is none may have pasted anything.
                    let shown: String = id
                        .chars()
                        .filter(|c| !c.is_control())
                        .take(LONGEST_NAME)
                        .collect();
                    let wrong = |what: String| A::Error::custom(format!("bot \"{shown}\": {what}"));
                    name(&id).map_err(|what| wrong(format!("its name {what}")))?;
                    let kind: BotKind = map.next_value().map_err(|err| wrong(err.to_string()))?;
                    kind.validate().map_err(wrong)?;
                    if named.insert(id, kind).is_some() {
                        return Err(wrong("it is there twice; rename or remove one".to_owned()));
                    }
                }
                let Bots(mut bots) = Bots::default();
                bots.extend(named);
                if bots.len() > MOST_BOTS {
                    return Err(A::Error::custom(format!(
                        "there are {} bots; at most {MOST_BOTS} are taken",
                        bots.len()
                    )));
                }
                Ok(Bots(bots))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(json: &str) -> Result<Bots, String> {
        serde_json::from_str(json).map_err(|err| err.to_string())
    }

    #[test]
    fn nobody_has_to_write_a_configuration_to_have_a_bot() {
        for bots in [Bots::default(), read("{}").unwrap()] {
            assert_eq!(bots.names(), r#""demo", "echo""#);
            assert_eq!(bots.get(Bots::ECHO), Some(&BotKind::Echo {}));
            let tree = "demo".to_owned();
            assert_eq!(bots.get(Bots::DEMO), Some(&BotKind::Menu { tree }));
        }
    }

    #[test]
    fn every_kind_is_read_and_written_the_same() {
        let json = r#"{
            "demo":    {"kind": "menu", "tree": "reception"},
            "repeat":  {"kind": "echo"},
            "support": {"kind": "http", "url": "https://bot.example.com:8443/turn?v=1"},
            "local":   {"kind": "http", "url": "http://127.0.0.1:9000/turn"},
            "orders":  {"kind": "lex", "bot_id": "A1B2C3D4E5", "alias_id": "TSTALIASID", "locale": "en_IN"},
            "far":     {"kind": "lex", "bot_id": "A1B2C3D4E5", "alias_id": "TSTALIASID", "locale": "es_419",
                        "region": "ap-southeast-1", "greeting": "hola"},
            "own":     {"kind": "fleet", "url": "wss://media.example.com/exotel/own"},
            "0d1ee6e6-6ad6-4f0c-a47e-f1d0ad4d2a40": {"kind": "fleet"}
        }"#;
        let bots = read(json).unwrap();
        assert_eq!(bots.iter().count(), 9, "echo is there besides");
        assert_ne!(bots.get("demo"), Bots::default().get("demo"), "the team's own");
        assert_eq!(bots.iter().filter(|(_, kind)| !kind.is_ours()).count(), 2);
        assert_eq!(read(&serde_json::to_string(&bots).unwrap()).unwrap(), bots);
    }

    #[test]
    fn an_error_names_the_bot_and_says_what_would_be_right() {
        let lex =
            r#"{"l": {"kind": "lex", "bot_id": "A1B2C3D4E5", "alias_id": "TSTALIASID", "locale": "en_IN"}}"#;
        for (json, parts) in [
            (r#"[]"#.to_owned(), vec!["an object of bots by name"]),
            (
                r#"{"My Bot": {"kind": "echo"}}"#.to_owned(),
                vec!["bot \"My Bot\"", "a-z, 0-9"],
            ),
            (
                r#"{"": {"kind": "echo"}}"#.to_owned(),
                vec!["bot \"\"", "its name"],
            ),
            (r#"{"a/b": {"kind": "echo"}}"#.to_owned(), vec!["bot \"a/b\""]),
            (
                r#"{"b": {"kind": "eccho"}}"#.to_owned(),
                vec!["bot \"b\"", "eccho", "`menu`"],
            ),
            (r#"{"b": {"tree": "x"}}"#.to_owned(), vec!["bot \"b\"", "kind"]),
            (
                r#"{"b": {"kind": "echo", "url": "x"}}"#.to_owned(),
                vec!["bot \"b\"", "unknown field `url`"],
            ),
            (
                r#"{"b": {"kind": "menu"}}"#.to_owned(),
                vec!["bot \"b\"", "missing field `tree`"],
            ),
            (
                r#"{"b": {"kind": "menu", "tree": "../x"}}"#.to_owned(),
                vec!["bot \"b\"", "`tree`"],
            ),
            (
                r#"{"b": {"kind": "http"}}"#.to_owned(),
                vec!["bot \"b\"", "missing field `url`"],
            ),
            (
                r#"{"b": {"kind": "echo"}, "b": {"kind": "echo"}}"#.to_owned(),
                vec!["bot \"b\"", "twice"],
            ),
            (
                lex.replace("A1B2C3D4E5", "orders"),
                vec!["bot \"l\"", "`bot_id`", "ten letters"],
            ),
            (lex.replace("TSTALIASID", ""), vec!["bot \"l\"", "`alias_id`"]),
            (
                lex.replace("en_IN", "en-IN"),
                vec!["bot \"l\"", "`locale`", "en_IN"],
            ),
            (
                lex.replace("\"}}", "\", \"region\": \"Mumbai\"}}"),
                vec!["bot \"l\"", "`region`"],
            ),
            (
                lex.replace("\"}}", "\", \"greeting\": \"\"}}"),
                vec!["bot \"l\"", "`greeting`"],
            ),
        ] {
            let error = read(&json).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{json}: {error} does not say {part}");
            }
        }
    }

    #[test]
    fn a_bot_is_asked_over_tls_by_name() {
        for (url, part) in [
            ("bot.example.com/turn", "must be a URL"),
            ("http://bot.example.com/turn", "must be https"),
            ("ftp://bot.example.com/turn", "must be https"),
            ("https://10.0.0.1/turn", "not an IP address"),
            ("https://[fd00:ec2::254]/", "not an IP address"),
            ("https://2852039166/latest", "not an IP address"),
            ("http://169.254.169.254/latest", "must be https"),
            ("http://127.0.0.1.example.com/", "must be https"),
            ("https://me:secret@bot.example.com/", "user name"),
            ("https://bot.example.com/#x", "fragment"),
            ("https://bot.example.com\\\\@x/", "do not belong"),
        ] {
            let error = read(&format!(r#"{{"b": {{"kind": "http", "url": "{url}"}}}}"#)).unwrap_err();
            assert!(
                error.contains("bot \"b\": `url`") && error.contains(part),
                "{url}: {error}"
            );
            assert!(!error.contains("secret"), "{error}");
        }
        let long = format!("https://bot.example.com/{}", "x".repeat(600));
        assert!(read(&format!(r#"{{"b": {{"kind": "http", "url": "{long}"}}}}"#)).is_err());
    }

    #[test]
    fn a_fleet_is_dialled_over_tls() {
        for (url, part) in [
            ("https://media.example.com/x", "must be wss"),
            ("ws://media.example.com/x", "must be wss; ws is for loopback"),
            ("media", "must be a URL"),
            ("wss://m.example.com/x?a=1&b=2&c=3&d=4", "has 4 parameters"),
            ("wss://m.example.com/x?sample-rate=44100", "has sample-rate=44100"),
            (
                &format!("wss://m.example.com/x?a={}", "x".repeat(255)),
                "256 characters",
            ),
        ] {
            let error = read(&format!(r#"{{"b": {{"kind": "fleet", "url": "{url}"}}}}"#)).unwrap_err();
            assert!(
                error.contains("bot \"b\": `url`") && error.contains(part),
                "{url}: {error}"
            );
        }
        assert!(read(r#"{"b": {"kind": "fleet", "url": "ws://127.0.0.1:9001/exotel"}}"#).is_ok());
    }

    #[test]
    fn a_media_servers_own_url_says_its_rate() {
        let bots = read(
            r#"{"plain": {"kind": "fleet", "url": "wss://m.example.com/x"}, "fleets": {"kind": "fleet"},
                "wide": {"kind": "fleet", "url": "wss://m.example.com/x?a=1&b=2&c=3&sample-rate=24000"}}"#,
        )
        .unwrap();
        let rate = |name: &str| bots.get(name).unwrap().dialled_rate();
        assert_eq!(rate("plain"), Some(Rate::Hz8000));
        assert_eq!(rate("wide"), Some(Rate::Hz24000));
        assert_eq!((rate("fleets"), rate("echo")), (None, None));
    }

    #[test]
    fn there_is_an_end_to_how_many_bots_are_taken() {
        let entries: Vec<_> = (0..50)
            .map(|n| format!(r#""b{n}": {{"kind": "echo"}}"#))
            .collect();
        let error = read(&format!("{{{}}}", entries.join(","))).unwrap_err();
        assert!(error.contains("52 bots"), "{error}");
    }

    proptest! {
        #[test]
        fn no_configuration_makes_reading_panic(id in "\\PC{0,40}", field in "\\PC{0,40}") {
            let json = serde_json::json!({ id: {"kind": "http", "url": field} });
            let _ = serde_json::from_value::<Bots>(json.clone());
            let _ = read(&json.to_string());
        }
    }
}
