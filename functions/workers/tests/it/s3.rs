//! Stands in for S3: multipart uploads with S3's own rules.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html>

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{
        HeaderMap, Method, StatusCode, Uri,
        header::{CONTENT_TYPE, ETAG},
    },
    response::{IntoResponse, Response},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// S3 takes no smaller part but the last.
pub(crate) const LEAST_PART: usize = 5 * 1024 * 1024;

/// The parts of an upload by their numbers, each with its ETag.
type Parts = BTreeMap<u32, (String, Bytes)>;

#[derive(Debug, Default)]
struct Kept {
    /// By upload id: the file's path, and its parts so far.
    uploads: HashMap<String, (String, Parts)>,
    objects: HashMap<String, Vec<Bytes>>,
    requests: usize,
    fail_after: Option<usize>,
    begun: usize,
    /// Where a function's requests to DynamoDB go, whose only endpoint this is.
    tables: Option<String>,
}

/// A bucket's worth of S3 on a port of its own.
#[derive(Debug)]
pub(crate) struct S3 {
    kept: Arc<Mutex<Kept>>,
    endpoint_url: String,
    server: tokio::task::JoinHandle<()>,
}

#[allow(dead_code, reason = "tests and a bench use it, each its part")]
impl S3 {
    /// `least_part` is 5 MiB, or less for tests of many parts.
    pub(crate) async fn start(least_part: usize) -> Self {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint_url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new()
            .fallback(answer)
            .layer(DefaultBodyLimit::disable())
            .with_state((Arc::clone(&kept), least_part));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            kept,
            endpoint_url,
            server,
        }
    }

    pub(crate) fn endpoint_url(&self) -> &str {
        &self.endpoint_url
    }

    /// From now on, every request behind this many fails; `None` works again.
    pub(crate) fn fail_after(&self, requests: Option<usize>) {
        let mut kept = self.kept.lock().unwrap();
        (kept.fail_after, kept.requests) = (requests, 0);
    }

    /// Requests to DynamoDB are handed on to this address.
    pub(crate) fn forward_tables_to(&self, endpoint_url: &str) {
        self.kept.lock().unwrap().tables = Some(endpoint_url.trim_start_matches("http://").to_owned());
    }

    /// A finished file, taken out.
    pub(crate) fn take(&self, path: &str) -> Option<Vec<Bytes>> {
        self.kept.lock().unwrap().objects.remove(path)
    }

    /// Uploads that are neither completed nor aborted.
    pub(crate) fn unfinished(&self) -> usize {
        self.kept.lock().unwrap().uploads.len()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn error(status: StatusCode, code: &str) -> Response {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m</Message></Error>");
    (status, body).into_response()
}

async fn forward(address: &str, target: &str, headers: &HeaderMap, body: &[u8]) -> Response {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/x-amz-json-1.0\r\n\
         X-Amz-Target: {target}\r\nX-Amz-Date: {}\r\nAuthorization: {}\r\nContent-Length: {}\r\n\r\n",
        header("x-amz-date"),
        header("authorization"),
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap();
    let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
    let body = answer.split_off(end + 4);
    (
        StatusCode::from_u16(status).unwrap(),
        [(CONTENT_TYPE, "application/x-amz-json-1.0")],
        body,
    )
        .into_response()
}

async fn answer(
    State((kept, least_part)): State<(Arc<Mutex<Kept>>, usize)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let tables = kept.lock().unwrap().tables.clone();
    if let (Some(address), Some(target)) = (tables, headers.get("x-amz-target")) {
        return forward(&address, target.to_str().unwrap(), &headers, &body).await;
    }
    let mut kept = kept.lock().unwrap();
    kept.requests += 1;
    if kept.fail_after.is_some_and(|most| kept.requests > most) {
        return error(StatusCode::SERVICE_UNAVAILABLE, "SlowDown");
    }
    let path = uri.path().to_owned();
    let query: HashMap<String, String> = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    match (&method, query.get("uploadId")) {
        (&Method::POST, None) if query.contains_key("uploads") => {
            kept.begun += 1;
            let id = format!("upload-{}", kept.begun);
            kept.uploads.insert(id.clone(), (path, BTreeMap::new()));
            format!(
                "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
            )
            .into_response()
        }
        (&Method::PUT, Some(id)) => {
            let number: u32 = query["partNumber"].parse().unwrap();
            let requests = kept.requests;
            let Some((_, parts)) = kept.uploads.get_mut(id) else {
                return error(StatusCode::NOT_FOUND, "NoSuchUpload");
            };
            let etag = format!("\"part-{number}-{requests}\"");
            parts.insert(number, (etag.clone(), body));
            ([(ETAG, etag)], "").into_response()
        }
        (&Method::POST, Some(id)) => {
            let Some((path, parts)) = kept.uploads.remove(id) else {
                return error(StatusCode::NOT_FOUND, "NoSuchUpload");
            };
            let told = String::from_utf8(body.to_vec()).unwrap();
            let told: Vec<String> = told
                .split("<ETag>")
                .skip(1)
                .map(|rest| rest.split("</ETag>").next().unwrap().replace("&quot;", "\""))
                .collect();
            let held: Vec<&String> = parts.values().map(|(etag, _)| etag).collect();
            if told.iter().collect::<Vec<_>>() != held {
                return error(StatusCode::BAD_REQUEST, "InvalidPart");
            }
            let last = parts.len();
            let small = parts
                .values()
                .take(last - 1)
                .any(|(_, bytes)| bytes.len() < least_part);
            if small {
                return error(StatusCode::BAD_REQUEST, "EntityTooSmall");
            }
            let bytes = parts.into_values().map(|(_, bytes)| bytes).collect();
            kept.objects.insert(path.clone(), bytes);
            format!("<CompleteMultipartUploadResult><Key>{path}</Key><ETag>\"e\"</ETag></CompleteMultipartUploadResult>")
                .into_response()
        }
        (&Method::HEAD, None) => match kept.objects.contains_key(&path) {
            true => StatusCode::OK.into_response(),
            false => StatusCode::NOT_FOUND.into_response(),
        },
        _ => error(StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
    }
}
