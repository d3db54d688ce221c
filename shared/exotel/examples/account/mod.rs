//! The account that the examples use, from the environment.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use exotel::{Client, Credentials};

/// A client for `EXOTEL_SUBDOMAIN` (`api.exotel.com` or `api.in.exotel.com`) with `EXOTEL_SID`, `EXOTEL_API_KEY` and
/// `EXOTEL_API_TOKEN`.
pub(crate) fn client() -> Result<Client, Box<dyn Error>> {
    let roots = rustls::RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let http = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .build()?;
    let base_url = format!("https://{}", setting("EXOTEL_SUBDOMAIN")?).parse()?;
    let credentials = Credentials {
        account_sid: setting("EXOTEL_SID")?,
        api_key: setting("EXOTEL_API_KEY")?.into(),
        api_token: setting("EXOTEL_API_TOKEN")?.into(),
    };
    Ok(Client::new(http, base_url, credentials)?)
}

/// An environment variable that has to be set.
pub(crate) fn setting(name: &str) -> Result<String, Box<dyn Error>> {
    std::env::var(name).map_err(|_| format!("set {name}").into())
}

/// The arguments, if there are as many as the example needs.
pub(crate) fn arguments<const N: usize>(usage: &str) -> Result<[String; N], Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    arguments.try_into().map_err(|_| format!("usage: {usage}").into())
}
