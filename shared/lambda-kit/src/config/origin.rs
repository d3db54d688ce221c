//! Base URLs of ours.

use std::{fmt, str::FromStr};

use url::{Host, Url};

/// A public base URL of ours, without a slash at its end: `https://abc.execute-api.ap-south-1.amazonaws.com`.
///
/// It is an origin: https and no path. On loopback alone http is taken too, and a path, because the local stack
/// serves each API under a path of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// The origin as text, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URL of a path on it; `path` starts with a slash.
    pub fn join(&self, path: &str) -> String {
        debug_assert!(path.starts_with('/'));
        format!("{}{path}", self.0)
    }
}

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "it must be a URL such as https://api.example.com")?;
        let loopback = is_loopback(&url);
        if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
            return Err("it must be https; http is taken on loopback only");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it must not hold a user name or password");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it must be an origin, without a query or fragment");
        }
        if url.path() != "/" && !loopback {
            return Err("it must be an origin, without a path");
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the host is this machine: `localhost`, a name under it, `127.0.0.0/8` or `::1`.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_origin_loses_its_last_slash() {
        for (text, origin) in [
            ("https://api.example.com", "https://api.example.com"),
            (
                "https://x.lambda-url.ap-south-1.on.aws/",
                "https://x.lambda-url.ap-south-1.on.aws",
            ),
            ("https://api.example.com:8443/", "https://api.example.com:8443"),
            (
                "http://127.0.0.1:4566/_aws/execute-api/abc/",
                "http://127.0.0.1:4566/_aws/execute-api/abc",
            ),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://abc.localhost:8080", "http://abc.localhost:8080"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().as_str(), origin);
        }
        assert_eq!(
            "https://a.example".parse::<Origin>().unwrap().join("/webhooks"),
            "https://a.example/webhooks"
        );
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "api.example.com",
            "",
            "http://api.example.com",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "https://api.example.com/prod",
            "https://api.example.com?x=1",
            "https://api.example.com#x",
            "https://user:pass@api.example.com",
            "ftp://127.0.0.1",
            "javascript:alert(1)",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reading_an_origin_never_panics_and_is_idempotent(text in "\\PC{0,60}|https?://[a-z0-9.:/@?#\\[\\]]{0,40}") {
            if let Ok(origin) = text.parse::<Origin>() {
                prop_assert_eq!(origin.as_str().parse::<Origin>(), Ok(origin));
            }
        }
    }
}
