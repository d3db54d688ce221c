//! The AWS settings that every SDK client shares, from the variables that Lambda sets: `AWS_REGION`,
//! `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`; and `AWS_ENDPOINT_URL`, which the local stack
//! and the benches add. `aws-config` would bring profiles, SSO and instance metadata that no function uses.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    behavior_version::BehaviorVersion, stalled_stream_protection::StalledStreamProtectionConfig,
};
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};
use aws_types::{
    SdkConfig,
    region::Region,
    sdk_config::{SharedCredentialsProvider, SharedHttpClient},
};

use crate::{Error, config::Settings};

/// The roots that AWS's own endpoints chain to. The client parses its trust store once per SDK client and once per
/// set of timeouts, so 5 roots instead of the system's 150 are milliseconds of every cold start.
/// <https://www.amazontrust.com/repository/>
const AMAZON_ROOTS: &[u8] = include_bytes!("amazon_roots.pem");

/// A connection that takes longer is tried again.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);
/// DynamoDB, SQS and EventBridge answer within tens of milliseconds; Exotel waits 5 s for a webhook's whole answer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// All attempts together.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct AwsEnvironment {
    pub(super) region: String,
    pub(super) credentials: Credentials,
    pub(super) endpoint_url: Option<String>,
}

impl AwsEnvironment {
    pub(super) fn read(settings: &Settings) -> Result<Self, Error> {
        let required = |variable| {
            settings.environment(variable).ok_or(Error::Missing {
                variable,
                doc: "Lambda sets it for every function",
            })
        };
        let credentials = Credentials::new(
            required("AWS_ACCESS_KEY_ID")?,
            required("AWS_SECRET_ACCESS_KEY")?,
            settings.environment("AWS_SESSION_TOKEN"),
            None,
            "lambda-environment",
        );
        let endpoint_url = settings.environment("AWS_ENDPOINT_URL");
        Ok(Self {
            region: required("AWS_REGION")?,
            credentials,
            endpoint_url,
        })
    }

    pub(super) fn tls_context(&self) -> Result<TlsContext, Error> {
        // The Chinese partition is signed by other authorities.
        let roots = TrustStore::empty()
            .with_native_roots(self.region.starts_with("cn-"))
            .with_pem_certificate(AMAZON_ROOTS);
        TlsContext::builder()
            .with_trust_store(roots)
            .build()
            .map_err(|err| Error::Init("the TLS settings were refused", Some(err.into())))
    }

    pub(super) fn tls_provider() -> Provider {
        Provider::rustls(CryptoMode::Ring)
    }

    /// The settings with the one HTTPS client, and the SDK's standard retries.
    pub(super) fn sdk_config(&self) -> Result<SdkConfig, Error> {
        let http_client: SharedHttpClient = Builder::new()
            .tls_provider(Self::tls_provider())
            .tls_context(self.tls_context()?)
            .build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(OPERATION_TIMEOUT)
            .build();
        let mut config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(self.region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(self.credentials.clone()))
            .http_client(http_client)
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard())
            // For long downloads; every answer of ours is small and under a timeout already.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        config.set_endpoint_url(self.endpoint_url.clone());
        Ok(config.build())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &'static [(&'static str, &'static str)]) -> Settings {
        Settings::new(move |name| {
            pairs
                .iter()
                .find(|pair| pair.0 == name)
                .map(|pair| pair.1.to_owned())
        })
    }

    #[test]
    fn the_settings_come_from_lambdas_variables() {
        let settings = environment(&[
            ("AWS_REGION", "ap-south-1"),
            ("AWS_ACCESS_KEY_ID", "AKID"),
            ("AWS_SECRET_ACCESS_KEY", "hunter2"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566"),
        ]);
        let config = AwsEnvironment::read(&settings).unwrap().sdk_config().unwrap();
        assert_eq!(config.region().unwrap().as_ref(), "ap-south-1");
        assert_eq!(config.endpoint_url(), Some("http://127.0.0.1:4566"));
        assert!(config.http_client().is_some() && !format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn a_missing_variable_is_named() {
        let settings = environment(&[("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "secret")]);
        let message = AwsEnvironment::read(&settings).err().unwrap().to_string();
        assert_eq!(
            message,
            "AWS_REGION is not set: Lambda sets it for every function"
        );
    }

    #[test]
    fn the_roots_are_amazons_as_mozilla_ships_them() {
        use rustls::pki_types::{CertificateDer, pem::PemObject};

        let ours: Vec<_> = CertificateDer::pem_slice_iter(AMAZON_ROOTS)
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(ours.len(), 5);
        for root in &ours {
            assert!(webpki_root_certs::TLS_SERVER_ROOT_CERTS.contains(root));
            let names = String::from_utf8_lossy(root);
            assert!(names.contains("Amazon Root CA") || names.contains("Starfield Services Root"));
        }
    }
}
