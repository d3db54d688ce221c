//! Name resolution that gives public addresses alone.
//!
//! The connection is made to the very addresses that were checked here, so a name that answers otherwise when
//! asked again gains nothing by it.

use std::{net::SocketAddr, sync::Arc};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::addresses::is_public;

/// A name that leads to no public address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{host} has no address on the public internet")]
pub struct NotPublic {
    /// The name.
    pub host: String,
}

/// The system's resolver.
#[derive(Clone, Copy, Debug)]
pub struct SystemNames;

impl Resolve for SystemNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // Port 0 lets the client fill in the scheme's own.
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Another resolver's answers, less every address that is not public; an error when none is left.
#[derive(Clone, Debug)]
pub struct PublicOnly<R>(Arc<R>);

impl<R> PublicOnly<R> {
    /// Filters what `names` answers.
    pub fn new(names: R) -> Self {
        Self(Arc::new(names))
    }
}

impl<R: Resolve + 'static> Resolve for PublicOnly<R> {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let answers = self.0.resolve(name);
        Box::pin(async move {
            let public: Vec<SocketAddr> = answers.await?.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(NotPublic { host }.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}
