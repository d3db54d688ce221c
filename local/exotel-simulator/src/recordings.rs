//! Recordings: where they lie, who may fetch them, and the bytes.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, StatusCode, header};
use jiff::{SignedDuration, Timestamp};

use crate::api::{Exchange, auth};
use crate::core::{Core, Shared};
use crate::faults::Operation;
use crate::mp3::Sound;
use crate::scripts::RecordingKind;

/// Bytes made at a time: memory is this much per reader, however large the recording.
const CHUNK_BYTES: u64 = 64 * 1024;

/// A recording.
#[derive(Debug, Clone)]
pub(crate) struct Recording {
    pub(crate) id: String,
    pub(crate) account: String,
    pub(crate) kind: RecordingKind,
    pub(crate) sound: Sound,
    pub(crate) bytes: u64,
    /// 404 before.
    pub(crate) ready: Timestamp,
    pub(crate) redirect_to: Option<String>,
    pub(crate) hops: u32,
    pub(crate) cut_at: Option<u64>,
}

fn kind_path(kind: RecordingKind) -> &'static str {
    match kind {
        RecordingKind::Protected | RecordingKind::Missing | RecordingKind::None => "protected",
        RecordingKind::Open => "open",
        RecordingKind::Private => "private",
        RecordingKind::Redirect => "redirect",
    }
}

fn path(kind: RecordingKind, recording: &Recording) -> String {
    format!(
        "/recordings/{}/exotelrecordings/{}/{}.mp3",
        kind_path(kind),
        recording.account,
        recording.id
    )
}

/// The `RecordingUrl`.
pub(crate) fn url(origin: &str, recording: &Recording) -> String {
    format!("{origin}{}", path(recording.kind, recording))
}

/// The `PreSignedRecordingUrl`, shaped like S3's, on the private path whatever kind the recording is.
pub(crate) fn presigned_url(core: &Core, recording: &Recording, validity: SignedDuration) -> String {
    let path = path(RecordingKind::Private, recording);
    let date = core.now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let expires = validity.as_secs().to_string();
    let signature = sign(core, &path, &date, &expires);
    let origin = &core.origin;
    format!(
        "{origin}{path}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date={date}&X-Amz-Expires={expires}\
         &X-Amz-SignedHeaders=host&X-Amz-Signature={signature}"
    )
}

fn sign(core: &Core, path: &str, date: &str, expires: &str) -> String {
    core.dice.signature(&format!("{path} {date} {expires}"))
}

pub(crate) fn routes() -> Router<Shared> {
    Router::new().route("/recordings/{kind}/exotelrecordings/{account}/{file}", get(fetch))
}

async fn fetch(State(core): State<Shared>, exchange: Exchange) -> Response {
    exchange
        .serve_file(&core, |exchange| answer(&core, exchange))
        .await
}

fn answer(core: &Core, exchange: &Exchange) -> Response {
    let path = exchange.path.as_str();
    let mut parts = path.trim_start_matches('/').split('/').skip(1);
    let (kind, account) = (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
    let id = parts
        .next()
        .and_then(|file| file.strip_suffix(".mp3"))
        .unwrap_or_default();
    let found = core.read(|state| {
        state
            .recordings
            .get(id)
            .filter(|found| found.account == account)
            .cloned()
    });
    // The key may fetch its own account's recordings only; whether there is one is nobody else's business.
    if kind == "protected"
        && !auth::identify(core, exchange.authorization.as_deref()).is_ok_and(|found| found.sid == account)
    {
        let mut response = refuse(
            StatusCode::UNAUTHORIZED,
            "AccessDenied",
            "Authentication is required",
        );
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"Exotel\""),
        );
        return response;
    }
    let signed = exchange.params.get("X-Amz-Signature").is_some();
    if kind == "private"
        && let Some(refusal) = refuse_private(core, exchange, signed)
    {
        return refusal;
    }
    let missing = || {
        refuse(
            StatusCode::NOT_FOUND,
            "NoSuchKey",
            "The specified key does not exist.",
        )
    };
    let Some(recording) = found else { return missing() };
    let on_its_path = kind == kind_path(recording.kind)
        || (kind == "private" && signed)
        || (kind == "open" && recording.kind == RecordingKind::Redirect);
    if !on_its_path || recording.kind == RecordingKind::Missing || core.now() < recording.ready {
        return missing();
    }
    if kind == "redirect" {
        return redirect(core, exchange, &recording);
    }
    send(exchange, &recording)
}

/// S3's rules: a signature or nothing, never a signature together with an Authorization header.
fn refuse_private(core: &Core, exchange: &Exchange, signed: bool) -> Option<Response> {
    if exchange.authorization.is_some() {
        let message = "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query \
                       string parameter or the Authorization header should be specified";
        return Some(refuse(StatusCode::BAD_REQUEST, "InvalidArgument", message));
    }
    let param = |name: &str| exchange.params.get(name).unwrap_or_default();
    let (date, expires) = (param("X-Amz-Date"), param("X-Amz-Expires"));
    if !signed {
        return Some(refuse(StatusCode::FORBIDDEN, "AccessDenied", "Access Denied"));
    }
    if param("X-Amz-Signature") != sign(core, &exchange.path, date, expires) {
        let message = "The request signature we calculated does not match the signature you provided.";
        return Some(refuse(StatusCode::FORBIDDEN, "SignatureDoesNotMatch", message));
    }
    let signed_at = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date)
        .ok()
        .and_then(|at| at.to_zoned(jiff::tz::TimeZone::UTC).ok())?
        .timestamp();
    let lasts = SignedDuration::from_secs(expires.parse().ok()?);
    (core.now() > signed_at + lasts)
        .then(|| refuse(StatusCode::FORBIDDEN, "AccessDenied", "Request has expired"))
}

fn redirect(core: &Core, exchange: &Exchange, recording: &Recording) -> Response {
    let hops = exchange
        .params
        .get("hops")
        .and_then(|hops| hops.parse().ok())
        .unwrap_or(recording.hops);
    let target = match &recording.redirect_to {
        _ if hops > 1 => format!("{}?hops={}", path(RecordingKind::Redirect, recording), hops - 1),
        Some(target) => target.clone(),
        None => format!("{}{}", core.origin, path(RecordingKind::Open, recording)),
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    match HeaderValue::from_str(&target) {
        Ok(target) => response.headers_mut().insert(header::LOCATION, target),
        Err(_) => {
            return refuse(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalError",
                "redirect_to is no header value",
            );
        }
    };
    response
}

fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// What a `Range` header asks of a file.
#[derive(Debug, PartialEq, Eq)]
enum Span {
    /// No range, or one that is not understood: the whole file.
    Whole,
    /// From the first byte to the last, both included.
    Part(u64, u64),
    /// Beyond the end.
    Unsatisfiable,
}

fn span(range: Option<&str>, size: u64) -> Span {
    let Some((first, last)) = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) else {
        return Span::Whole;
    };
    let number = |text: &str| text.trim().parse::<u64>();
    let (first, last) = match (first.trim(), last.trim()) {
        ("", suffix) => match number(suffix) {
            Ok(0) => return Span::Unsatisfiable,
            Ok(suffix) => (size.saturating_sub(suffix), size.saturating_sub(1)),
            Err(_) => return Span::Whole,
        },
        (first, "") => match number(first) {
            Ok(first) => (first, size.saturating_sub(1)),
            Err(_) => return Span::Whole,
        },
        (first, last) => match (number(first), number(last)) {
            (Ok(first), Ok(last)) if first <= last => (first, last.min(size.saturating_sub(1))),
            _ => return Span::Whole,
        },
    };
    if first >= size {
        Span::Unsatisfiable
    } else {
        Span::Part(first, last)
    }
}

fn send(exchange: &Exchange, recording: &Recording) -> Response {
    let size = recording.bytes;
    let asked = span(exchange.range.as_deref(), size);
    let (status, first, length) = match asked {
        Span::Whole => (StatusCode::OK, 0, size),
        Span::Part(first, last) => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Span::Unsatisfiable => {
            let mut response = refuse(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "InvalidRange",
                "The requested range is not satisfiable",
            );
            set(&mut response, header::CONTENT_RANGE, format!("bytes */{size}"));
            return response;
        }
    };
    let mut response = Response::new(Body::from_stream(bytes_of(recording.clone(), first, length)));
    *response.status_mut() = status;
    if status == StatusCode::PARTIAL_CONTENT {
        set(
            &mut response,
            header::CONTENT_RANGE,
            format!("bytes {first}-{}/{size}", first + length - 1),
        );
    }
    set(&mut response, header::CONTENT_LENGTH, length.to_string());
    set(&mut response, header::ETAG, format!("\"{}\"", recording.id));
    response
        .headers_mut()
        .insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("audio/mpeg"));
    response
}

fn set(response: &mut Response, name: header::HeaderName, value: String) {
    let value = HeaderValue::try_from(value).expect("digits and plain words make a header value");
    response.headers_mut().insert(name, value);
}

/// The bytes of a part, a chunk at a time; an error, which ends the connection, where the recording is to break off.
fn bytes_of(
    recording: Recording,
    first: u64,
    length: u64,
) -> impl stream::Stream<Item = std::io::Result<Bytes>> {
    stream::unfold((recording, 0), move |(recording, sent)| async move {
        let left = recording
            .cut_at
            .map_or(length, |cut| cut.min(length))
            .saturating_sub(sent);
        let chunk = usize::try_from(left.min(CHUNK_BYTES)).expect("a chunk fits in memory");
        if chunk > 0 {
            let bytes = recording.sound.read(first + sent, chunk);
            return Some((Ok(bytes), (recording, sent + left.min(CHUNK_BYTES))));
        }
        if sent == length {
            return None;
        }
        // A pause lets the server send what it has before it learns that there is no more.
        tokio::task::yield_now().await;
        Some((
            Err(std::io::Error::other("the recording breaks off here")),
            (recording, length),
        ))
    })
}

/// The operation of these routes, for faults.
pub(crate) const OPERATION: Operation = Operation::Recording;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_says() {
        for (range, expected) in [
            (None, Span::Whole),
            (Some("bytes=0-0"), Span::Part(0, 0)),
            (Some("bytes=10-"), Span::Part(10, 99)),
            (Some("bytes=-10"), Span::Part(90, 99)),
            (Some("bytes=-1000"), Span::Part(0, 99)),
            (Some("bytes=50-1000"), Span::Part(50, 99)),
            (Some("bytes=100-"), Span::Unsatisfiable),
            (Some("bytes=-0"), Span::Unsatisfiable),
            (Some("bytes=9-3"), Span::Whole),
            (Some("bytes=0-1,5-6"), Span::Whole),
            (Some("pages=1-2"), Span::Whole),
        ] {
            assert_eq!(span(range, 100), expected, "{range:?}");
        }
    }
}
