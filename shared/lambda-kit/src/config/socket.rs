//! Base URLs of WebSockets that Exotel dials.

use std::{fmt, str::FromStr};

use url::Url;

use super::origin::is_loopback;

/// A base URL of sockets, without a slash at its end: `wss://abc.execute-api.ap-south-1.amazonaws.com/voicebot`.
///
/// It is wss, and has neither user nor query; on loopback alone it may be ws. Written with https or http, it is the same
/// host's sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketUrl(String);

impl SocketUrl {
    /// The URL as text, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it has a path.
    pub fn has_path(&self) -> bool {
        self.0
            .split_once("://")
            .is_some_and(|(_, rest)| rest.contains('/'))
    }

    /// The URL of a path on it; slashes around `path` do not matter.
    pub fn join(&self, path: &str) -> String {
        format!("{}/{}", self.0, path.trim_matches('/'))
    }

    /// The URL with these parameters, each escaped.
    pub fn with_query<'a>(&self, parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
        let mut url = Url::parse(&self.0).expect("it was read from a URL");
        url.query_pairs_mut().extend_pairs(parameters);
        url.into()
    }
}

impl FromStr for SocketUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let text = match text.split_once("://") {
            Some(("https", rest)) => format!("wss://{rest}"),
            Some(("http", rest)) => format!("ws://{rest}"),
            _ => text.to_owned(),
        };
        let url = Url::parse(&text).map_err(|_| "it must be a URL such as wss://ws.example.com")?;
        match url.scheme() {
            "wss" => {}
            "ws" if is_loopback(&url) => {}
            _ => return Err("it must be wss; ws is taken on loopback only"),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it must not hold a user name or password");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it must not have a query or fragment");
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for SocketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_names_the_same_hosts_sockets() {
        for (text, url) in [
            ("wss://ws.example.com", "wss://ws.example.com"),
            ("https://media.example.com/", "wss://media.example.com"),
            ("wss://ws.example.com/v1/bots/", "wss://ws.example.com/v1/bots"),
            (
                "ws://127.0.0.1:4566/_aws/execute-api/abc/voicebot",
                "ws://127.0.0.1:4566/_aws/execute-api/abc/voicebot",
            ),
            ("http://localhost:4566", "ws://localhost:4566"),
        ] {
            assert_eq!(text.parse::<SocketUrl>().unwrap().as_str(), url);
        }
        for text in [
            "",
            "ws.example.com",
            "ws://ws.example.com",
            "http://ws.example.com",
            "ftp://ws.example.com",
            "wss://me:word@ws.example.com",
            "wss://ws.example.com?token=1",
            "wss://ws.example.com#x",
        ] {
            assert!(text.parse::<SocketUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_and_parameters_are_put_where_they_belong() {
        let url: SocketUrl = "wss://ws.example.com".parse().unwrap();
        assert!(!url.has_path());
        assert_eq!(url.join("/exotel/own/"), "wss://ws.example.com/exotel/own");
        let url: SocketUrl = url.join("voicebot").parse().unwrap();
        assert!(url.has_path());
        assert_eq!(
            url.with_query([("call_id", "vs_1"), ("token", "a&b=c")]),
            "wss://ws.example.com/voicebot?call_id=vs_1&token=a%26b%3Dc"
        );
    }
}
