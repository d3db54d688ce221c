//! Histories that are too long for an answer: asked for, queued, and handed out as a link to a file.

#[cfg(feature = "export-worker")]
pub(super) mod worker;

use std::{
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_sqs::Client;
use aws_sigv4::{
    http_request::{
        PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use aws_types::SdkConfig;
use domain::{
    access::{Caller, Role},
    history::{Export, ExportStatus, HistoryFilter},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::Analytics;
use crate::{ServiceError, figures::zone_name};

/// How long a link to a file is good.
pub const LINK_SECS: u64 = 15 * 60;
/// An export that is not done after this has been given up: its message is in the dead-letter queue.
const GIVEN_UP_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// What travels in the queue `exports`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum ExportMessage {
    /// Write the file of this export, or go on with it.
    #[serde(rename = "export_history.v1")]
    Export {
        /// Names it.
        id: String,
    },
}

/// The queue `exports` did not take a message.
#[derive(Debug, thiserror::Error)]
#[error("the queue exports did not take the message")]
pub struct ExportQueueError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// Writes to `exports`. The client is made when the first message is sent: few requests need it.
#[derive(Debug)]
pub struct ExportQueue {
    settings: SdkConfig,
    url: String,
    client: OnceLock<Client>,
}

impl ExportQueue {
    /// The queue at this URL, reached with these AWS settings.
    pub fn new(settings: SdkConfig, url: impl Into<String>) -> Self {
        Self {
            settings,
            url: url.into(),
            client: OnceLock::new(),
        }
    }

    /// Sends one message.
    ///
    /// # Errors
    /// [`ExportQueueError`] when SQS did not take it.
    pub async fn send(&self, message: &ExportMessage) -> Result<(), ExportQueueError> {
        let body = serde_json::to_string(message).expect("strings always have a JSON form");
        self.client
            .get_or_init(|| Client::new(&self.settings))
            .send_message()
            .queue_url(&self.url)
            .message_body(body)
            .send()
            .await
            .map(drop)
            .map_err(|error| ExportQueueError(Box::new(error)))
    }
}

/// A link could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the link to the file could not be signed: {0}")]
pub struct LinkError(String);

/// The bucket of files, as far as links to them go: no request is made.
#[derive(Debug, Clone)]
pub struct Files {
    settings: SdkConfig,
    bucket: String,
}

impl Files {
    /// The files of this bucket; links are signed with the credentials of `settings`.
    pub fn new(settings: SdkConfig, bucket: impl Into<String>) -> Self {
        Self {
            settings,
            bucket: bucket.into(),
        }
    }

    /// A link to the file of an export, good for [`LINK_SECS`] from `now`, or as long as the credentials are.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>
    ///
    /// # Errors
    /// [`LinkError`] without a region or credentials.
    pub async fn link(&self, export: &Export, now: Timestamp) -> Result<String, LinkError> {
        let lacks = |what: &str| LinkError(format!("there is no {what}"));
        let region = self.settings.region().ok_or_else(|| lacks("region"))?.as_ref();
        let provider = self
            .settings
            .credentials_provider()
            .ok_or_else(|| lacks("credentials"))?;
        let credentials = provider
            .provide_credentials()
            .await
            .map_err(|error| LinkError(error.to_string()))?;
        let name = format!("calls-{}.csv", export.filter.from.strftime("%Y-%m-%d"));
        let origin = match self.settings.endpoint_url() {
            Some(endpoint) => format!("{}/{}", endpoint.trim_end_matches('/'), self.bucket),
            None => {
                let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
                format!("https://{}.s3.{region}.amazonaws.com{suffix}", self.bucket)
            }
        };
        let mut url = url::Url::parse(&format!("{origin}/{}", export.object_key()))
            .map_err(|error| LinkError(error.to_string()))?;
        // Percent-encoded as the signature has it: a space of a form would be a plus sign.
        url.set_query(Some(&format!(
            "response-content-disposition=attachment%3B%20filename%3D{name}"
        )));
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(LINK_SECS));
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let identity = credentials.into();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_second().unsigned_abs());
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name("s3")
            .time(at)
            .settings(settings)
            .build()
            .map_err(|error| LinkError(error.to_string()))?
            .into();
        let request = SignableRequest::new(
            "GET",
            url.as_str(),
            std::iter::empty(),
            SignableBody::UnsignedPayload,
        )
        .map_err(|error| LinkError(error.to_string()))?;
        let (signed, _) = sign(request, &params)
            .map_err(|error| LinkError(error.to_string()))?
            .into_parts();
        for (name, value) in signed.params() {
            url.query_pairs_mut().append_pair(name, value);
        }
        Ok(url.into())
    }
}

/// An export as whoever asked for it sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportView {
    export_id: String,
    /// `queued`, `running`, `done` or `failed`.
    status: ExportStatus,
    requested_at: Timestamp,
    from: Timestamp,
    to: Timestamp,
    /// Calls written so far.
    rows: u64,
    /// Bytes written so far.
    bytes: u64,
    /// Where the file is, once it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// Until when that address is good; ask again for another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    url_expires_at: Option<Timestamp>,
}

impl Analytics {
    /// Asks for a history as a file; `random` names it.
    ///
    /// # Errors
    /// [`ServiceError::ExportQueue`] when the queue did not take it: then there is none; [`ServiceError::Table`].
    pub async fn request_export(
        &self,
        caller: &Caller,
        filter: HistoryFilter,
        zone: &TimeZone,
        queue: &ExportQueue,
        now: Timestamp,
        random: u128,
    ) -> Result<Export, ServiceError> {
        let export = Export {
            id: format!("exp{random:032x}"),
            requested_by: caller.user_id.clone(),
            requested_at: now,
            filter,
            zone: zone_name(zone).to_owned(),
            masked: !caller.role.is_admin(),
            status: ExportStatus::Queued,
            upload_id: None,
            position: None,
            parts: Vec::new(),
            rows: 0,
            held_until: None,
            finished_at: None,
        };
        self.table.put_export(&export, 0).await?;
        let message = ExportMessage::Export {
            id: export.id.clone(),
        };
        queue.send(&message).await?;
        tracing::info!(export.id = %export.id, user.id = %caller.user_id, "a history is to become a file");
        Ok(export)
    }

    /// How far an export has come, and where its file is. A sales head sees their own, administrators see all.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] when there is none (any more) or it is somebody else's; [`ServiceError::Link`];
    /// [`ServiceError::Table`].
    pub async fn export(
        &self,
        caller: &Caller,
        id: &str,
        files: &Files,
        now: Timestamp,
    ) -> Result<ExportView, ServiceError> {
        if id.len() > 64 || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(ServiceError::NotFound);
        }
        let export = self.table.export(id).await?.ok_or(ServiceError::NotFound)?.value;
        // Two administrators may see the same; a masked file is nothing new to an administrator.
        let is_theirs =
            export.requested_by == caller.user_id && (export.masked || caller.role != Role::SalesHead);
        if !(caller.role.is_admin() || is_theirs) {
            return Err(ServiceError::NotFound);
        }
        let given_up = now > export.requested_at + GIVEN_UP_AFTER;
        let status = match export.status {
            ExportStatus::Queued | ExportStatus::Running if given_up => ExportStatus::Failed,
            status => status,
        };
        let url = match status {
            ExportStatus::Done => Some(files.link(&export, now).await?),
            _ => None,
        };
        let expires = SignedDuration::from_secs(LINK_SECS.cast_signed());
        Ok(ExportView {
            status,
            requested_at: export.requested_at,
            from: export.filter.from,
            to: export.filter.to,
            rows: export.rows,
            bytes: export.bytes(),
            url_expires_at: url.is_some().then(|| now + expires),
            url,
            export_id: export.id,
        })
    }
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;
    use aws_types::{region::Region, sdk_config::SharedCredentialsProvider};

    use super::*;

    fn settings(endpoint: Option<&str>) -> SdkConfig {
        // The example of AWS's documentation.
        let credentials = Credentials::new(
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            None,
            None,
            "test",
        );
        let mut config = SdkConfig::builder()
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials));
        config.set_endpoint_url(endpoint.map(str::to_owned));
        config.build()
    }

    fn export() -> Export {
        Export {
            id: "exp1".to_owned(),
            requested_by: "admin-1".parse().unwrap(),
            requested_at: Timestamp::UNIX_EPOCH,
            filter: HistoryFilter::all(Timestamp::UNIX_EPOCH, "2026-11-20T00:00:00Z".parse().unwrap()),
            zone: "UTC".to_owned(),
            masked: false,
            status: ExportStatus::Done,
            upload_id: None,
            position: None,
            parts: Vec::new(),
            rows: 0,
            held_until: None,
            finished_at: None,
        }
    }

    /// The signature as the documentation computes it, by hand.
    fn expected_signature(canonical_request: &str, scope: &str, at: &str) -> String {
        use hmac::{Hmac, KeyInit, Mac};
        use sha2::{Digest, Sha256};
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let mac = |key: &[u8], text: &str| {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
            mac.update(text.as_bytes());
            mac.finalize().into_bytes().to_vec()
        };
        let hash = hex(&Sha256::digest(canonical_request));
        let to_sign = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{hash}");
        let mut parts = scope.split('/');
        let mut key = mac(
            b"AWS4wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            parts.next().unwrap(),
        );
        for part in parts {
            key = mac(&key, part);
        }
        hex(&mac(&key, &to_sign))
    }

    #[tokio::test]
    async fn a_link_is_signed_as_s3_checks_it() {
        let files = Files::new(settings(None), "examplebucket");
        let now = "2013-05-24T00:00:00Z".parse().unwrap();
        let link = files.link(&export(), now).await.unwrap();
        let url = url::Url::parse(&link).unwrap();
        assert_eq!(
            (url.host_str(), url.path()),
            (
                Some("examplebucket.s3.us-east-1.amazonaws.com"),
                "/calls/exp1.csv"
            )
        );
        let (signature, rest): (Vec<_>, Vec<_>) = url
            .query()
            .unwrap()
            .split('&')
            .partition(|pair| pair.starts_with("X-Amz-Signature="));
        let mut pairs: Vec<String> = rest.iter().map(|pair| (*pair).to_owned()).collect();
        assert!(pairs.iter().any(|pair| pair == "X-Amz-Expires=900"), "{link}");
        pairs.sort();
        let canonical = format!(
            "GET\n/calls/exp1.csv\n{}\nhost:examplebucket.s3.us-east-1.amazonaws.com\n\nhost\nUNSIGNED-PAYLOAD",
            pairs.join("&")
        );
        let scope = "20130524/us-east-1/s3/aws4_request";
        let expected = expected_signature(&canonical, scope, "20130524T000000Z");
        assert_eq!(signature, [format!("X-Amz-Signature={expected}")], "{link}");
    }

    #[tokio::test]
    async fn a_local_link_names_the_bucket_in_its_path() {
        let files = Files::new(settings(Some("http://127.0.0.1:4566")), "examplebucket");
        let link = files.link(&export(), Timestamp::UNIX_EPOCH).await.unwrap();
        assert!(
            link.starts_with("http://127.0.0.1:4566/examplebucket/calls/exp1.csv?"),
            "{link}"
        );
    }
}
