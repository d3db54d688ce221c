//! A function's response as its caller sees it: the head at once, the body as it comes.

use std::{collections::BTreeMap, time::Duration};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::Error;

/// The content type that says a streamed body starts with a [`Prelude`] and eight NUL bytes.
const HTTP_INTEGRATION: &str = "application/vnd.awslambda.http-integration-response";
const PRELUDE_END: [u8; 8] = [0; 8];

/// What one invocation cost. Times run from the moment the event was handed over, or from the start of the
/// process, to the moment the response was complete.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Wall time of this invocation.
    pub wall: Duration,
    /// CPU time of this invocation, user and system, all threads.
    pub cpu: Duration,
    /// Wall time since the process was started: for the first event, the cold start.
    pub wall_since_start: Duration,
    /// CPU time since the process was started.
    pub cpu_since_start: Duration,
}

/// Status and headers of a streamed HTTP response, which travel before its body.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prelude {
    /// The HTTP status.
    pub status_code: u16,
    /// The headers, one value each, names in lower case.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// `Set-Cookie` values.
    #[serde(default)]
    pub cookies: Vec<String>,
}

/// A response whose body is still arriving. Nothing is read ahead: as long as no chunk is asked for, the
/// function waits.
#[derive(Debug)]
pub struct Answer {
    /// The id under which the event was handed over.
    pub request_id: String,
    /// Whether the function streams (`Lambda-Runtime-Function-Response-Mode: streaming`).
    pub streaming: bool,
    /// Status and headers, when the function streams an HTTP response.
    pub prelude: Option<Prelude>,
    unread: Option<Bytes>,
    chunks: mpsc::Receiver<Result<Bytes, Error>>,
    figures: oneshot::Receiver<Result<Figures, Error>>,
    deadline: Deadline,
}

/// A response, whole.
#[derive(Debug)]
pub struct Complete {
    /// Status and headers, when the function streamed an HTTP response.
    pub prelude: Option<Prelude>,
    /// The body: for a buffered response, the JSON that the function returned.
    pub body: Bytes,
    /// What the invocation cost.
    pub figures: Figures,
}

/// When an invocation must be complete, and how to end the process when it is not.
#[derive(Clone, Debug)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) timeout: Duration,
    pub(crate) kill: mpsc::Sender<()>,
}

impl Deadline {
    /// Waits for `future` as long as the function's timeout allows.
    pub(crate) async fn hold<T>(&self, future: impl Future<Output = T>) -> Result<T, Error> {
        match tokio::time::timeout_at(self.at, future).await {
            Ok(value) => Ok(value),
            Err(_) => {
                let _ = self.kill.try_send(());
                Err(Error::TimedOut(self.timeout))
            }
        }
    }
}

/// The parts of a response as the server passes them on.
#[derive(Debug)]
pub(crate) struct Arriving {
    pub(crate) headers: HeaderMap,
    pub(crate) chunks: mpsc::Receiver<Result<Bytes, Error>>,
    pub(crate) figures: oneshot::Receiver<Result<Figures, Error>>,
}

impl Answer {
    pub(crate) async fn open(
        request_id: String,
        arriving: Arriving,
        deadline: Deadline,
    ) -> Result<Self, Error> {
        let is = |name: &str, value: &str| {
            arriving
                .headers
                .get(name)
                .is_some_and(|found| found.as_bytes() == value.as_bytes())
        };
        let streaming = is("lambda-runtime-function-response-mode", "streaming");
        let has_prelude = streaming && is("content-type", HTTP_INTEGRATION);
        let mut answer = Self {
            request_id,
            streaming,
            prelude: None,
            unread: None,
            chunks: arriving.chunks,
            figures: arriving.figures,
            deadline,
        };
        if has_prelude {
            answer.read_prelude().await?;
        }
        Ok(answer)
    }

    async fn read_prelude(&mut self) -> Result<(), Error> {
        let mut head = BytesMut::new();
        let end = loop {
            let Some(chunk) = self.chunk().await? else {
                return Err(Error::BrokenStream(
                    "it ended before the eight NUL bytes that close the prelude".into(),
                ));
            };
            head.extend_from_slice(&chunk);
            if let Some(end) = head
                .windows(PRELUDE_END.len())
                .position(|window| window == PRELUDE_END)
            {
                break end;
            }
        };
        let mut rest = head.freeze();
        let prelude = rest.split_to(end);
        let body = rest.split_off(PRELUDE_END.len());
        self.prelude = Some(serde_json::from_slice(&prelude).map_err(Error::Prelude)?);
        self.unread = (!body.is_empty()).then_some(body);
        Ok(())
    }

    /// The next piece of the body, `None` after the last. A stream that breaks off is
    /// [`Error::BrokenStream`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        match self.unread.take() {
            Some(chunk) => Ok(Some(chunk)),
            None => self.deadline.hold(self.chunks.recv()).await?.transpose(),
        }
    }

    /// Reads what is left of the body and gives it with the figures.
    pub async fn finish(mut self) -> Result<Complete, Error> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        let prelude = self.prelude.take();
        Ok(Complete {
            prelude,
            body: body.freeze(),
            figures: self.figures().await?,
        })
    }

    /// Reads past what is left of the body and gives the figures alone.
    pub async fn figures(mut self) -> Result<Figures, Error> {
        while self.chunk().await?.is_some() {}
        let broken = |_| Error::BrokenStream("the connection closed before the response was accepted".into());
        self.deadline.hold(self.figures).await?.map_err(broken)?
    }
}
