//! What the browser asks and gets: a ticket in, a recording or a problem out.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use domain::ids::{CallLocator, CallSid};
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

use crate::fetch::{Access, Credentials, FetchError, Fetcher, Opened};

/// From the request until the recording's first byte (spec 3.2), whatever has to be asked in between.
pub const FIRST_BYTE_WITHIN: Duration = Duration::from_secs(30);

/// Exotel has a recording 1 to 5 minutes after the call, at the latest 15.
const FILE_WITHIN: SignedDuration = SignedDuration::from_mins(15);

/// When to ask again for a recording that is not there yet.
const ASK_AGAIN_SECS: u32 = 60;

/// A recording on its way to the browser, as slow as the browser is.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What is known of a call's recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecording {
    /// Where Exotel said it is.
    pub url: Option<String>,
    /// Exotel's id of the call, by which a signed address can be asked for.
    pub sid: Option<CallSid>,
    /// Whether nothing about the call's state is expected any more.
    pub is_final: bool,
    /// When the call ended.
    pub ended_at: Option<Timestamp>,
}

impl StoredRecording {
    /// Whether a file that is not there may still come.
    fn may_still_come(&self, now: Timestamp) -> bool {
        match self.ended_at {
            Some(ended_at) => now.duration_since(ended_at) < FILE_WITHIN,
            None => !self.is_final,
        }
    }
}

/// A cause that only the log is told.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Where recordings are looked up: the table, and Exotel's call details.
pub trait Recordings {
    /// What is stored of the call's recording; `None` without such a call.
    fn stored(
        &self,
        call: &CallLocator,
    ) -> impl Future<Output = Result<Option<StoredRecording>, Cause>> + Send;

    /// An address of the recording that needs no credentials for some minutes (`PreSignedRecordingUrl`); `None` when Exotel gives none.
    fn signed_url(&self, sid: &CallSid) -> impl Future<Output = Result<Option<String>, Cause>> + Send;
}

/// The streaming function.
pub struct Proxy<R> {
    /// Whose tickets are taken.
    pub keys: Live<SigningKeys>,
    /// The account whose credentials some recording hosts ask for.
    pub exotel: Live<Option<ExotelConfig>>,
    /// Where recordings are looked up.
    pub recordings: R,
    /// How they are fetched.
    pub fetcher: Fetcher,
    /// [`FIRST_BYTE_WITHIN`], but in tests.
    pub first_byte_within: Duration,
}

impl<R: Recordings> Proxy<R> {
    /// Answers `GET` and `HEAD` with `?ticket=`.
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
        let opening = self.open(&ticket.call, request.headers(), now);
        let opened = tokio::time::timeout(self.first_byte_within, opening)
            .await
            .unwrap_or_else(|_| Err(timed_out()));
        let call_id = ticket.call.id.as_str();
        let user_id = ticket.user_id.as_str();
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
                code = problem.code(),
                "a recording is not played"
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
        let stored = self
            .recordings
            .stored(call)
            .await
            .map_err(Problem::internal)?
            .ok_or_else(not_found)?;
        let missing = || {
            if stored.may_still_come(now) {
                not_ready()
            } else {
                not_found()
            }
        };
        let Some(url) = &stored.url else {
            return Err(missing());
        };
        let credentials = self
            .exotel
            .get(now)
            .await
            .as_ref()
            .as_ref()
            .map(|exotel| Credentials {
                key: exotel.api_key.clone(),
                token: exotel.api_token.clone(),
            });
        let access = credentials.as_ref().map_or(Access::Open, Access::Credentials);
        let mut opened = self.fetcher.open(url, access, asked).await;
        if let (Err(FetchError::Denied(_)), Some(sid)) = (&opened, &stored.sid)
            && let Some(signed) = self.recordings.signed_url(sid).await.map_err(no_signed_url)?
        {
            opened = self.fetcher.open(&signed, Access::Open, asked).await;
        }
        opened.map_err(|error| match error {
            FetchError::Missing => missing(),
            error => problem(&error),
        })
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

fn no_signed_url(cause: Cause) -> Problem {
    tracing::error!("Exotel gave no signed address: {cause}");
    Problem::new(
        502,
        "recording_denied",
        "Exotel does not let us read this recording now; try again later.",
    )
}

/// The problem that a failure to fetch becomes. The cause is logged here, and only here.
fn problem(error: &FetchError) -> Problem {
    let causes: Vec<_> = std::iter::successors(std::error::Error::source(error), |cause| cause.source())
        .map(ToString::to_string)
        .collect();
    tracing::error!(error.causes = causes.join(": "), "{error}");
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
        let stored = |ended_at, is_final| StoredRecording {
            url: None,
            sid: None,
            is_final,
            ended_at,
        };
        let awaited = |stored: StoredRecording, minutes| {
            stored.may_still_come(ended_at + SignedDuration::from_mins(minutes))
        };
        assert!(awaited(stored(Some(ended_at), true), 14));
        assert!(!awaited(stored(Some(ended_at), true), 15));
        assert!(awaited(stored(None, false), 600), "the call is still going on");
        assert!(!awaited(stored(None, true), 0), "it was never answered");
    }
}
