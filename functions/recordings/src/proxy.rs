//! What the browser asks and gets: a ticket in, a recording or a problem out.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use domain::ids::{CallLocator, CallSid};
use exotel::{PrivateUrl, recordings::GetRecording};
use futures_util::StreamExt;
use http::{
    HeaderMap, HeaderValue, Response,
    header::{CACHE_CONTROL, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody, combinators::UnsyncBoxBody};
use jiff::{SignedDuration, Timestamp};
use lambda_kit::{
    capability::{RecordingTicket, SigningKeys},
    config::ExotelConfig,
    http::{Problem, Request},
    init::Live,
};
use services::{
    Table,
    recordings::{Kept, kept_of},
};

use crate::fetch::{Access, Credentials, FetchError, Fetcher, Opened};

/// From the request until the recording's first byte (spec 3.2), whatever has to be asked in between.
pub const FIRST_BYTE_WITHIN: Duration = Duration::from_secs(30);

/// Exotel has a recording 1 to 5 minutes after the call, at the latest 15.
const FILE_WITHIN: SignedDuration = SignedDuration::from_mins(15);

/// How long a signed address is good, the shortest that Exotel gives: it is used at once.
const SIGNED_MINUTES: u8 = 5;

/// When to ask again for a recording that is not there yet.
const ASK_AGAIN_SECS: u32 = 60;

/// A recording on its way to the browser, as slow as the browser is.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The streaming function.
pub struct Proxy {
    /// Whose tickets are taken.
    pub keys: Live<SigningKeys>,
    /// The account: some recording hosts ask for its credentials, and it can ask for signed addresses.
    pub exotel: Live<Option<ExotelConfig>>,
    /// Where the calls are.
    pub table: Table,
    /// How recordings are fetched.
    pub fetcher: Fetcher,
    /// For Exotel's API.
    pub http: reqwest::Client,
    /// [`FIRST_BYTE_WITHIN`], but in tests.
    pub first_byte_within: Duration,
}

impl Proxy {
    /// Answers `GET` and `HEAD` with `?ticket=`.
    ///
    /// # Errors
    /// 401 without a good ticket, 404 without a recording (`recording_not_ready` while one may still come),
    /// 405, 416, and 502 or 504 when it cannot be had from Exotel.
    pub async fn answer(&self, request: &Request, now: Timestamp) -> Result<Response<Body>, Problem> {
        let method = request.route().method;
        if method != "GET" && method != "HEAD" {
            return Err(Problem::new(
                405,
                "method_not_allowed",
                "A recording is read with GET or HEAD.",
            ));
        }
        let ticket = self.ticket(request, now).await?;
        // Boxed: the future is large, and nests deeper than the compiler follows otherwise.
        let opening = Box::pin(self.open(&ticket.call, request.headers(), now));
        let opened = tokio::time::timeout(self.first_byte_within, opening)
            .await
            .unwrap_or_else(|_| Err(timed_out()));
        let (call_id, user_id) = (ticket.call.id.as_str(), ticket.user_id.as_str());
        match &opened {
            Ok(opened) => tracing::info!(
                call.id = call_id,
                user.id = user_id,
                status = opened.status.as_u16(),
                "a recording is played"
            ),
            Err(problem) => tracing::warn!(
                call.id = call_id,
                user.id = user_id,
                "a recording is not played: {}",
                problem.code()
            ),
        }
        Ok(respond(opened?, method == "HEAD"))
    }

    async fn ticket(&self, request: &Request, now: Timestamp) -> Result<RecordingTicket, Problem> {
        let Some(text) = request.query::<String>("ticket")? else {
            return Err(Problem::new(
                401,
                "ticket_missing",
                "Open the recording from the call it belongs to.",
            ));
        };
        let mut opened = RecordingTicket::open(&text, &*self.keys.get(now).await, now);
        if opened.as_ref().is_err_and(lambda_kit::Error::may_be_a_newer_key) {
            opened = RecordingTicket::open(&text, &*self.keys.refetch(now).await, now);
        }
        opened.map_err(|error| match error {
            lambda_kit::Error::Expired => Problem::new(
                401,
                "ticket_expired",
                "This link was good for 15 minutes; open the recording again.",
            ),
            _ => Problem::new(
                401,
                "ticket_invalid",
                "This link is not one of ours; open the recording from the call it belongs to.",
            ),
        })
    }

    async fn open(&self, call: &CallLocator, asked: &HeaderMap, now: Timestamp) -> Result<Opened, Problem> {
        let kept = kept_of(&self.table, call)
            .await
            .map_err(Problem::internal)?
            .ok_or_else(not_found)?;
        let missing = || {
            if may_still_come(&kept, now) {
                not_ready()
            } else {
                not_found()
            }
        };
        let url = kept.url.as_ref().ok_or_else(missing)?;
        let exotel = self.exotel.get(now).await;
        let credentials = exotel.as_ref().as_ref().map(|exotel| Credentials {
            key: exotel.api_key.clone(),
            token: exotel.api_token.clone(),
        });
        let access = credentials.as_ref().map_or(Access::Open, Access::Credentials);
        let mut opened = self.fetcher.open(url, access, asked).await;
        if let (Err(FetchError::Denied(_)), Some(sid)) = (&opened, &kept.sid)
            && let Some(signed) = self.signed_url(sid, now).await
        {
            opened = self.fetcher.open(&signed, Access::Open, asked).await;
        }
        opened.map_err(|error| match error {
            FetchError::Missing => missing(),
            error => problem(&error),
        })
    }

    /// An address of the recording that needs no credentials for some minutes; `None` when Exotel gives none.
    async fn signed_url(&self, sid: &CallSid, now: Timestamp) -> Option<PrivateUrl> {
        // The host refused our credentials: they may be old.
        let exotel = self.exotel.refetch(now).await;
        let exotel = Option::as_ref(&exotel)?;
        let links = async {
            let base_url = exotel
                .base_url
                .as_str()
                .parse()
                .expect("an origin of ours is a URL");
            let credentials = exotel::Credentials {
                account_sid: exotel.account_sid.clone(),
                api_key: exotel.api_key.clone(),
                api_token: exotel.api_token.clone(),
            };
            let call_sid = sid.as_str().parse().expect("a CallSid is a CallSid");
            let details = GetRecording {
                call_sid,
                validity_mins: SIGNED_MINUTES,
            };
            exotel::Client::new(self.http.clone(), base_url, credentials)?
                .send(&details)
                .await
        };
        match links.await {
            Ok(links) => links.pre_signed_url,
            Err(error) => {
                tracing::error!(
                    call.sid = sid.as_str(),
                    "Exotel gave no signed address of a recording: {error}"
                );
                None
            }
        }
    }
}

/// Whether a file that is not there may still come.
fn may_still_come(kept: &Kept, now: Timestamp) -> bool {
    match kept.ended_at {
        Some(ended_at) => now.duration_since(ended_at) < FILE_WITHIN,
        None => !kept.is_final,
    }
}

fn respond(opened: Opened, head_only: bool) -> Response<Body> {
    let Opened {
        status,
        headers,
        body,
    } = opened;
    let body = if head_only {
        Empty::new().boxed_unsync()
    } else {
        StreamBody::new(body.map(|chunk| Ok(Frame::data(chunk)))).boxed_unsync()
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    for (name, value) in [
        (CACHE_CONTROL, "private"),
        // The address has the ticket in it, and what it gives is audio whatever its bytes look like.
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

fn not_found() -> Problem {
    Problem::new(404, "recording_not_found", "This call has no recording.")
}

fn not_ready() -> Problem {
    let detail = "The recording is not there yet; Exotel has it some minutes after the call.";
    Problem::new(404, "recording_not_ready", detail).retry_after(ASK_AGAIN_SECS)
}

fn timed_out() -> Problem {
    Problem::new(
        504,
        "recording_timed_out",
        "Exotel did not send the recording in time; try again.",
    )
}

/// The problem that a failure to fetch becomes. The cause is logged here, and only here.
fn problem(error: &FetchError) -> Problem {
    let causes: Vec<_> = std::iter::successors(std::error::Error::source(error), |cause| cause.source())
        .map(ToString::to_string)
        .collect();
    // A range that the player got wrong is nobody's failure here; the line about the ticket tells of it.
    if !matches!(error, FetchError::Range) {
        tracing::error!(error.causes = causes.join(": "), "{error}");
    }
    match error {
        FetchError::Refused(_) | FetchError::NotPublic(_) | FetchError::Redirects | FetchError::NotAudio => {
            Problem::new(
                502,
                "recording_refused",
                "What Exotel gave us as this call's recording is not at an address we read recordings from.",
            )
        }
        FetchError::Denied(_) => Problem::new(
            502,
            "recording_denied",
            "Exotel does not let us read this recording.",
        ),
        FetchError::Missing => not_found(),
        FetchError::Range => Problem::new(
            416,
            "range_not_satisfiable",
            "The range is outside of the recording.",
        ),
        FetchError::TimedOut => timed_out(),
        FetchError::Status(_) | FetchError::Unreachable(_) => Problem::new(
            502,
            "recording_unavailable",
            "Exotel's recording store does not answer now; try again.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_awaited_until_15_minutes_after_the_call() {
        let ended_at: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let kept = |ended_at, is_final| Kept {
            url: None,
            sid: None,
            is_final,
            ended_at,
        };
        let awaited =
            |kept: Kept, minutes| may_still_come(&kept, ended_at + SignedDuration::from_mins(minutes));
        assert!(awaited(kept(Some(ended_at), true), 14));
        assert!(!awaited(kept(Some(ended_at), true), 15));
        assert!(awaited(kept(None, false), 600), "the call is still going on");
        assert!(!awaited(kept(None, true), 0), "it was never answered");
    }
}
