//! The client: where Exotel is, who is asking, and one `send`.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream;
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use crate::answer::Answer;
use crate::error::{Error, classify};
use crate::request::{Api, Request};

/// Base URL of the Singapore cluster.
pub const SINGAPORE: &str = "https://api.exotel.com";

/// Base URL of the Mumbai cluster. An account belongs to one cluster; the other answers 401.
pub const MUMBAI: &str = "https://api.in.exotel.com";

/// How long a request may take, unless [`Client::with_timeout`] says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

/// A hundred calls of a list take some 60 KB.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

/// Who is asking: from Exotel's dashboard, Settings, API.
#[derive(Clone)]
pub struct Credentials {
    /// Account sid such as `acme1`; part of every path.
    pub account_sid: String,
    /// API key: the user name of Basic authentication.
    pub api_key: SecretString,
    /// API token: the password.
    pub api_token: SecretString,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("account_sid", &self.account_sid)
            .finish_non_exhaustive()
    }
}

/// Sends requests to one account. It does not wait, repeat or limit: [`Error`] says what may be repeated.
///
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base_url: Url,
    ccm_url: Url,
    credentials: Credentials,
    timeout: Duration,
}

impl Client {
    /// A client for the account at `base_url`, an origin: [`SINGAPORE`], [`MUMBAI`], or `http` on loopback for tests.
    ///
    /// `http` should be built with [`reqwest::redirect::Policy::none`], so that a request is not sent on to where
    /// Exotel did not mean it, and with a connect timeout below the request's, so that an unreachable Exotel is told
    /// apart ([`Error::NotSent`]) from a silent one ([`Error::Unconfirmed`]).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSettings`] if `base_url` is no such origin or a credential is empty.
    pub fn new(http: reqwest::Client, base_url: Url, credentials: Credentials) -> Result<Self, Error> {
        let invalid = |setting, problem| Err(Error::InvalidSettings { setting, problem });
        check_origin("the base URL", &base_url)?;
        if credentials.account_sid.trim().is_empty() || matches!(credentials.account_sid.as_str(), "." | "..")
        {
            return invalid("the account sid", "is missing");
        }
        for (setting, secret) in [
            ("the API key", &credentials.api_key),
            ("the API token", &credentials.api_token),
        ] {
            if secret.expose_secret().trim().is_empty() {
                return invalid(setting, "is missing");
            }
        }
        Ok(Self {
            http,
            ccm_url: ccm_of(&base_url),
            base_url,
            credentials,
            timeout: DEFAULT_TIMEOUT,
        })
    }

    /// The same client with another limit for a whole request, from connecting to the answer's last byte.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same client with another origin for [CCM](crate::Api::Ccm) than the one that goes with the base URL:
    /// `ccm-api.exotel.com` with `api.exotel.com`, `ccm-api.in.exotel.com` with `api.in.exotel.com`, and any other
    /// origin itself.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSettings`] if `ccm_url` is no origin that credentials may go to, as for [`Client::new`].
    pub fn with_ccm_url(mut self, ccm_url: Url) -> Result<Self, Error> {
        check_origin("the CCM URL", &ccm_url)?;
        self.ccm_url = ccm_url;
        Ok(self)
    }

    /// The account that requests are for.
    pub fn account_sid(&self) -> &str {
        &self.credentials.account_sid
    }

    /// Sends a request once and reads the answer.
    ///
    /// # Errors
    ///
    /// See [`Error`]: its questions say whether the request may be sent again.
    pub async fn send<R: Request>(&self, request: &R) -> Result<R::Answer, Error> {
        request.check()?;
        let answer = self.exchange(request).await?;
        classify(answer.status(), answer.body())?;
        request.read(&answer)
    }

    async fn exchange<R: Request>(&self, request: &R) -> Result<Answer, Error> {
        let url = self.url_of(request);
        let form = request.form();
        let method = if form.is_some() { Method::POST } else { Method::GET };
        let mut builder = self
            .http
            .request(method, url.clone())
            .timeout(self.timeout)
            .basic_auth(
                self.credentials.api_key.expose_secret(),
                Some(self.credentials.api_token.expose_secret()),
            );
        let left = Arc::new(AtomicBool::new(false));
        if let Some(fields) = form {
            let body = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(fields)
                .finish();
            builder = builder
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header(CONTENT_LENGTH, body.len())
                .body(noticed(body, Arc::clone(&left)));
        }
        let sent = builder.send().await;
        let mut response = sent.map_err(|error| lost(error, left.load(Ordering::Relaxed)))?;
        let status = response.status().as_u16();
        if *response.url() != url {
            return Err(Error::unreadable(
                status,
                "the answer comes from an address the request was redirected to",
            ));
        }
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= LARGEST_ANSWER => {
                    body.extend_from_slice(&chunk)
                }
                Ok(Some(_)) => return Err(Error::unreadable(status, "the answer is larger than 4 MiB")),
                Ok(None) => return Ok(Answer::new(status, body)),
                // The status is there. What of the body has come decides whether a refusal is clear.
                Err(error) => {
                    classify(status, &body)?;
                    return Err(Error::unreadable(status, error.without_url()));
                }
            }
        }
    }

    fn url_of<R: Request>(&self, request: &R) -> Url {
        let api = request.api();
        let mut url = match api {
            Api::Ccm => self.ccm_url.clone(),
            Api::V1 | Api::V2Beta | Api::V2 => self.base_url.clone(),
        };
        url.path_segments_mut()
            .expect("http and https URLs have paths")
            .clear()
            .extend(api.root())
            .push(&self.credentials.account_sid)
            .extend(request.path());
        let query = request.query();
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

/// Refuses a URL that is no origin, or that credentials must not go to.
fn check_origin(setting: &'static str, url: &Url) -> Result<(), Error> {
    let invalid = |problem| Err(Error::InvalidSettings { setting, problem });
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return invalid("has no host"),
    };
    if !(url.scheme() == "https" || url.scheme() == "http" && loopback) {
        return invalid("must be https (http on loopback only): credentials go there");
    }
    let origin = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !origin || !url.username().is_empty() || url.password().is_some() {
        return invalid("must be an origin such as https://api.exotel.com, nothing before or behind");
    }
    Ok(())
}

/// The CCM origin of a cluster. An origin that is none of Exotel's is a stand-in for all of its hosts.
fn ccm_of(base_url: &Url) -> Url {
    let mut ccm_url = base_url.clone();
    let host = base_url.host_str().unwrap_or_default();
    if host.starts_with("api.") && host.ends_with(".exotel.com") {
        let set = ccm_url.set_host(Some(&format!("ccm-{host}")));
        debug_assert!(set.is_ok(), "a host with a longer name is a host");
    }
    ccm_url
}

/// A body that leaves a mark when it is first asked for, which is once a connection is there to write to.
///
/// A failure to connect is no proof that nothing left: the HTTP client may have been redirected after Exotel had the
/// request, and its error does not tell.
fn noticed(body: String, left: Arc<AtomicBool>) -> reqwest::Body {
    reqwest::Body::wrap_stream(stream::once(async move {
        left.store(true, Ordering::Relaxed);
        Ok::<_, Infallible>(body)
    }))
}

/// A failure before any answer: did the request leave?
///
/// Connecting includes name lookup and TLS, and a connect timeout counts as well. The timeout of the whole request
/// does not, even if it strikes while connecting.
fn lost(error: reqwest::Error, left: bool) -> Error {
    if error.is_builder() {
        return Error::InvalidRequest {
            field: "the request",
            problem: "cannot be written as HTTP".to_owned(),
        };
    }
    let connecting = error.is_connect() && !left;
    // The URL holds phone numbers.
    let source = error.without_url();
    if connecting {
        Error::NotSent { source }
    } else {
        Error::Unconfirmed {
            status: None,
            refusal: None,
            source: Some(source.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(base_url: &str) -> Result<Client, Error> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let credentials = Credentials {
            account_sid: "acme1".into(),
            api_key: "key".into(),
            api_token: "token".into(),
        };
        Client::new(reqwest::Client::new(), base_url.parse().unwrap(), credentials)
    }

    #[test]
    fn credentials_go_to_https_or_to_this_machine_only() {
        for url in [
            SINGAPORE,
            MUMBAI,
            "http://127.0.0.1:4010",
            "http://localhost:4010/",
            "http://[::1]:4010",
        ] {
            assert!(client(url).is_ok(), "{url}");
        }
        for url in [
            "http://api.exotel.com",
            "http://localhost.example.in",
            "https://k:t@api.exotel.com",
            "https://api.exotel.com/v1",
            "https://api.exotel.com?x=1",
            "ftp://127.0.0.1",
            "file:///etc",
        ] {
            assert!(client(url).is_err(), "{url}");
        }
    }

    #[test]
    fn ccm_is_where_the_cluster_has_it() {
        for (base_url, ccm_url) in [
            (SINGAPORE, "https://ccm-api.exotel.com/"),
            (MUMBAI, "https://ccm-api.in.exotel.com/"),
            ("http://127.0.0.1:4010", "http://127.0.0.1:4010/"),
            ("https://exotel.example.in", "https://exotel.example.in/"),
        ] {
            assert_eq!(client(base_url).unwrap().ccm_url.as_str(), ccm_url);
        }
        let moved = client(MUMBAI)
            .unwrap()
            .with_ccm_url("http://127.0.0.1:4011".parse().unwrap());
        assert_eq!(moved.unwrap().ccm_url.as_str(), "http://127.0.0.1:4011/");
        for url in ["http://ccm-api.exotel.com", "https://ccm-api.exotel.com/v2"] {
            assert!(
                client(MUMBAI)
                    .unwrap()
                    .with_ccm_url(url.parse().unwrap())
                    .is_err(),
                "{url}"
            );
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", client(SINGAPORE).unwrap());
        assert!(
            shown.contains("acme1") && !shown.contains("token\"") && !shown.contains("\"key\""),
            "{shown}"
        );
    }
}
