//! One recording from wherever Exotel keeps it: admitted, requested, redirected, and opened up to its first
//! byte.

use std::{error::Error as _, fmt, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        ACCEPT, ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
        CONTENT_TYPE, ETAG, IF_RANGE, LAST_MODIFIED, LOCATION, RANGE,
    },
};
use lambda_kit::https::{NotPublic, public_hosts_only};
use reqwest::{Client, ClientBuilder, dns::Resolve, redirect};
use secrecy::{ExposeSecret, SecretString};

use crate::guard::{Admitted, Guard, Place, Refusal};

/// Redirects that are followed (spec 3.3).
const MOST_REDIRECTS: usize = 2;

/// What may pass between two bytes of a recording.
const SILENCE: Duration = Duration::from_secs(30);

/// Bytes handed on at a time.
const PIECE: usize = 16 * 1024;

/// Of the browser's request, what the origin is told.
const ASKED: [HeaderName; 2] = [RANGE, IF_RANGE];

/// Of the origin's answer, what the browser is told.
const TOLD: [HeaderName; 7] = [
    CONTENT_TYPE,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_ENCODING,
    ACCEPT_RANGES,
    ETAG,
    LAST_MODIFIED,
];

/// Exotel's API key and token, which some of its recording hosts ask for.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// `EXOTEL_API_KEY`.
    pub key: SecretString,
    /// `EXOTEL_API_TOKEN`.
    pub token: SecretString,
}

/// What is sent along with the request so that the recording may be read.
#[derive(Clone, Copy, Debug)]
pub enum Access<'a> {
    /// Exotel's key and token, where the host is Exotel's.
    Credentials(&'a Credentials),
    /// Nothing: the address is open, or has its signature in it.
    Open,
}

/// A recording whose first byte has arrived (or that has none).
pub struct Opened {
    /// 200, or 206 for a range.
    pub status: StatusCode,
    /// Type, length, range and validators, as the origin told them.
    pub headers: HeaderMap,
    /// The bytes, fetched no faster than they are taken. A stream that breaks off ends early, short of the
    /// length told.
    pub body: std::pin::Pin<Box<dyn Stream<Item = Bytes> + Send>>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// Why a recording cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address, or one it redirects to, is not on the allow-list.
    #[error("the recording's address is refused: {0}")]
    Refused(#[from] Refusal),
    /// The host resolves to no public address.
    #[error("the recording's host is not on the public internet")]
    NotPublic(#[source] NotPublic),
    /// More redirects than are followed, or one that leads nowhere.
    #[error("the recording's address redirects more than {MOST_REDIRECTS} times, or nowhere")]
    Redirects,
    /// 401, 403, or S3's 400 for a kind of credentials that it does not take: another kind of access is
    /// needed.
    #[error("the recording's host refuses access ({0})")]
    Denied(StatusCode),
    /// 404 or 410: no such file, or not yet.
    #[error("there is no file at the recording's address")]
    Missing,
    /// 416: the range lies outside of the file.
    #[error("the range is outside of the recording")]
    Range,
    /// The answer is no audio, so it is not passed on: not every path of Exotel's hosts is a recording.
    #[error("what is at the recording's address is not audio")]
    NotAudio,
    /// Any other status.
    #[error("the recording's host answers {0}")]
    Status(StatusCode),
    /// No byte in time.
    #[error("the recording's host sends nothing")]
    TimedOut,
    /// The connection or TLS failed.
    #[error("the recording's host cannot be reached")]
    Unreachable(#[source] reqwest::Error),
}

/// A client for recordings alone: https to public addresses, no proxy, no redirects but those that
/// [`Fetcher`] judges. `tls` brings the trusted roots; `names` is asked for every connection, and only its
/// public answers are connected to.
pub fn guarded_client(tls: ClientBuilder, names: impl Resolve + 'static) -> ClientBuilder {
    public_hosts_only(plain_client(tls), names)
}

/// The same without the address checks, for the origins that the local simulator adds.
pub fn plain_client(tls: ClientBuilder) -> ClientBuilder {
    tls.redirect(redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .read_timeout(SILENCE)
        .http1_only()
        // One recording at a time per environment: nothing is gained by more, and each keeps its buffers.
        .pool_max_idle_per_host(1)
}

/// Opens recordings.
#[derive(Clone, Debug)]
pub struct Fetcher {
    /// The allow-list.
    pub guard: Guard,
    /// From [`guarded_client`].
    pub client: Client,
    /// From [`plain_client`]; used for the guard's extra origins alone.
    pub extra_client: Client,
}

impl Fetcher {
    /// Requests `address` with the browser's `Range` and `If-Range`, follows at most two judged redirects,
    /// and waits for the first byte.
    pub async fn open(
        &self,
        address: &str,
        access: Access<'_>,
        asked: &HeaderMap,
    ) -> Result<Opened, FetchError> {
        opened(self.follow(self.guard.admit(address)?, access, asked).await?).await
    }

    async fn follow(
        &self,
        first: Admitted,
        access: Access<'_>,
        asked: &HeaderMap,
    ) -> Result<reqwest::Response, FetchError> {
        let mut at = first;
        let mut access = access;
        for _ in 0..=MOST_REDIRECTS {
            let response = self.request(&at, access, asked).await?;
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            let location = response
                .headers()
                .get(LOCATION)
                .and_then(|location| location.to_str().ok());
            let next = self
                .guard
                .admit_redirect(&at, location.ok_or(FetchError::Redirects)?)?;
            // Once dropped they stay dropped: the host in between chose where we are.
            if !next.same_origin(&at) {
                access = Access::Open;
            }
            at = next;
        }
        Err(FetchError::Redirects)
    }

    async fn request(
        &self,
        at: &Admitted,
        access: Access<'_>,
        asked: &HeaderMap,
    ) -> Result<reqwest::Response, FetchError> {
        let client = match at.place {
            Place::Exotel | Place::Bucket => &self.client,
            Place::Extra => &self.extra_client,
        };
        let mut request = client
            .get(at.url.clone())
            .header(ACCEPT, "audio/*, application/octet-stream")
            .header(ACCEPT_ENCODING, "identity");
        for name in ASKED {
            if let Some(value) = asked.get(&name) {
                request = request.header(name, value);
            }
        }
        if let Access::Credentials(Credentials { key, token }) = access
            && at.may_see_credentials()
        {
            request = request.basic_auth(key.expose_secret(), Some(token.expose_secret()));
        }
        request.send().await.map_err(unreachable_or_not_public)
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn unreachable_or_not_public(error: reqwest::Error) -> FetchError {
    // The address may carry a signature, and errors are logged.
    let error = error.without_url();
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(not_public) = inner.downcast_ref::<NotPublic>() {
            return FetchError::NotPublic(not_public.clone());
        }
        cause = inner.source();
    }
    if error.is_timeout() {
        FetchError::TimedOut
    } else {
        FetchError::Unreachable(error)
    }
}

async fn opened(mut response: reqwest::Response) -> Result<Opened, FetchError> {
    let status = response.status();
    match status.as_u16() {
        200 | 206 => {}
        400 | 401 | 403 => return Err(FetchError::Denied(status)),
        404 | 410 => return Err(FetchError::Missing),
        416 => return Err(FetchError::Range),
        _ => return Err(FetchError::Status(status)),
    }
    let content_type = audio_type(response.headers(), response.url().path()).ok_or(FetchError::NotAudio)?;
    let mut headers = HeaderMap::new();
    for name in TOLD {
        if let Some(value) = response.headers().get(&name) {
            headers.insert(name, value.clone());
        }
    }
    headers.insert(CONTENT_TYPE, content_type);
    headers
        .entry(ACCEPT_RANGES)
        .or_insert(HeaderValue::from_static("bytes"));
    let first = response.chunk().await.map_err(unreachable_or_not_public)?;
    let rest = stream::unfold(response, |mut response| async {
        match response.chunk().await {
            Ok(chunk) => chunk.map(|chunk| (chunk, response)),
            // Not passed on as an error: lambda_runtime writes a stream's error into its body, in the middle
            // of the audio.
            Err(error) => {
                tracing::warn!(error = %error.without_url(), "the recording broke off");
                None
            }
        }
    });
    let body = stream::iter(first)
        .chain(rest)
        .flat_map(|chunk| stream::iter(pieces(chunk)));
    Ok(Opened {
        status,
        headers,
        body: body.boxed(),
    })
}

/// The chunk in copies of a few kilobytes. A chunk as it was read pins the whole buffer it was read into, up
/// to 400 KB, and the way to the browser keeps some 16 of whatever it is given.
fn pieces(chunk: Bytes) -> impl Iterator<Item = Bytes> {
    (0..chunk.len())
        .step_by(PIECE)
        .map(move |at| Bytes::copy_from_slice(&chunk[at..chunk.len().min(at + PIECE)]))
}

/// The content type to pass on; `None` when the answer is something else than audio (an error page, an API's
/// JSON). S3 has no type for many files, so there the file's name tells.
fn audio_type(headers: &HeaderMap, path: &str) -> Option<HeaderValue> {
    let told = headers.get(CONTENT_TYPE);
    let essence = told.map(|value| {
        String::from_utf8_lossy(value.as_bytes())
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
    });
    match essence.as_deref() {
        Some(essence) if essence.starts_with("audio/") => told.cloned(),
        None | Some("" | "application/octet-stream" | "binary/octet-stream") => {
            let extension = path
                .rsplit_once('.')
                .map(|(_, extension)| extension.to_ascii_lowercase());
            Some(HeaderValue::from_static(match extension.as_deref() {
                Some("mp3") => "audio/mpeg",
                Some("wav") => "audio/wav",
                _ => "application/octet-stream",
            }))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_audio_is_passed_on_and_a_nameless_type_is_told_by_the_file() {
        let judged = |told: Option<&'static str>, path| {
            let headers = told
                .map(|told| (CONTENT_TYPE, HeaderValue::from_static(told)))
                .into_iter()
                .collect();
            audio_type(&headers, path)
        };
        assert_eq!(
            judged(Some("audio/x-wav; rate=8000"), "/a").unwrap(),
            "audio/x-wav; rate=8000"
        );
        assert_eq!(
            judged(Some("binary/octet-stream"), "/a.mp3").unwrap(),
            "audio/mpeg"
        );
        assert_eq!(judged(None, "/a.WAV").unwrap(), "audio/wav");
        assert_eq!(judged(None, "/a").unwrap(), "application/octet-stream");
        for other in [
            "text/html",
            "application/json",
            "application/xml",
            "image/svg+xml",
            "audio",
        ] {
            assert_eq!(judged(Some(other), "/a.mp3"), None, "{other}");
        }
    }
}
