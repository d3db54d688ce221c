//! The one HTTPS client for everything that is not AWS: Exotel, recordings, key sets.
//!
//! Where somebody else says which host is asked, [`public_hosts_only`] keeps the client out of the team's own network.

#[cfg(feature = "public-hosts")]
mod addresses;
#[cfg(feature = "public-hosts")]
mod names;

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use crate::Error;

#[cfg(feature = "public-hosts")]
pub use self::{
    addresses::is_public,
    names::{NotPublic, PublicOnly, SystemNames},
};
/// The client, for whoever only hands it on.
pub use reqwest::Client as HttpsClient;

/// A client builder with our TLS settings: ring, Mozilla's roots built in (the system's store costs tens of
/// milliseconds of a cold start), no redirects (callers judge each one), no proxy from the environment.
/// Timeouts but the connection's are the caller's, per request.
///
/// # Errors
/// [`Error::Init`] when rustls refuses its own defaults.
pub fn client_builder() -> Result<reqwest::ClientBuilder, Error> {
    let roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|err| Error::Init("the TLS settings were refused", Some(err.into())))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(std::time::Duration::from_secs(3))
        .user_agent(concat!("exotel-serverless/", env!("CARGO_PKG_VERSION"))))
}

/// The client of [`client_builder`] as it is.
///
/// # Errors
/// [`Error::Init`] when it cannot be built.
pub fn client() -> Result<reqwest::Client, Error> {
    client_builder()?
        .build()
        .map_err(|err| Error::Init("the HTTPS client was refused", Some(err.into())))
}

/// A client that speaks https to hosts on the public internet alone. `names` is asked for every connection, and only its
/// public answers are connected to. An IP address in place of a name is not resolved, so whoever judges the URL has to
/// refuse it.
#[cfg(feature = "public-hosts")]
pub fn public_hosts_only(
    client: reqwest::ClientBuilder,
    names: impl reqwest::dns::Resolve + 'static,
) -> reqwest::ClientBuilder {
    client.https_only(true).dns_resolver(PublicOnly::new(names))
}
