//! Signed requests to AWS services of which a function needs one operation: over the SDK's HTTP client and signer, but
//! without the service's SDK client, which would make each function some hundred KB to 2 MB larger.

use std::time::{Duration, SystemTime};

use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::{http::HttpConnector, orchestrator::HttpRequest};
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt;

use super::aws::AwsEnvironment;
use crate::Error;

/// Init may take 10 s in all.
const TIMEOUT: Duration = Duration::from_secs(3);

/// One service, in the function's region.
pub(super) struct Signed {
    service: &'static str,
    origin: String,
    environment: AwsEnvironment,
    connector: Connector,
}

/// Why there is no answer, to be read after the service's name.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    /// The request could not be made.
    #[error("could not be asked; is AWS_ENDPOINT_URL a URL?")]
    Unmade,
    /// The service was not reached.
    #[error("was not reached: {0}")]
    Unreached(String),
    /// The answer broke off.
    #[error("answered, and the answer broke off: {0}")]
    Broken(String),
    /// It took longer than 3 s.
    #[error("did not answer in time")]
    Late,
}

impl Signed {
    /// `service` is both the name that is signed for and the first part of the host.
    pub(super) fn new(service: &'static str, environment: AwsEnvironment) -> Result<Self, Error> {
        let region = &environment.region;
        let origin = environment.endpoint_url.clone().unwrap_or_else(|| {
            let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
            format!("https://{service}.{region}.amazonaws.com{suffix}")
        });
        let connector = Connector::builder()
            .tls_provider(AwsEnvironment::tls_provider())
            .tls_context(environment.tls_context()?)
            .build();
        Ok(Self {
            service,
            origin: origin.trim_end_matches('/').to_owned(),
            environment,
            connector,
        })
    }

    fn request(
        &self,
        path: &str,
        headers: [(&'static str, &'static str); 2],
        body: String,
    ) -> Result<HttpRequest, NoAnswer> {
        let url = format!("{}{path}", self.origin);
        let identity = self.environment.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.environment.region)
            .name(self.service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .expect("every parameter is set")
            .into();
        let signable = SignableRequest::new(
            "POST",
            &url,
            headers.into_iter(),
            SignableBody::Bytes(body.as_bytes()),
        )
        .map_err(|_| NoAnswer::Unmade)?;
        let (signature, _) = sign(signable, &params)
            .map_err(|_| NoAnswer::Unmade)?
            .into_parts();
        let mut request = http::Request::post(&url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut request = request.body(SdkBody::from(body)).map_err(|_| NoAnswer::Unmade)?;
        signature.apply_to_request_http1x(&mut request);
        HttpRequest::try_from(request).map_err(|_| NoAnswer::Unmade)
    }

    /// Posts once; gives the status and the body.
    pub(super) async fn post(
        &self,
        path: &str,
        headers: [(&'static str, &'static str); 2],
        body: String,
    ) -> Result<(u16, bytes::Bytes), NoAnswer> {
        let request = self.request(path, headers, body)?;
        let exchange = async {
            let response = self
                .connector
                .call(request)
                .await
                .map_err(|err| NoAnswer::Unreached(err.to_string()))?;
            let status = response.status().as_u16();
            let body = response
                .into_body()
                .collect()
                .await
                .map_err(|err| NoAnswer::Broken(err.to_string()))?;
            Ok((status, body.to_bytes()))
        };
        tokio::time::timeout(TIMEOUT, exchange)
            .await
            .unwrap_or(Err(NoAnswer::Late))
    }
}
