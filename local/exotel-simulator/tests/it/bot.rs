//! Bots for tests, with their own reading of AgentStream: what a team's server would do, and what it should not.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

pub(crate) fn decode(payload: &Value) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD
        .decode(payload.as_str().unwrap())
        .unwrap()
}

/// A bot's end of a stream.
pub(crate) struct Bot<S> {
    socket: WebSocketStream<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Bot<S> {
    pub(crate) async fn accept(io: S) -> Self {
        Self {
            socket: tokio_tungstenite::accept_async(io).await.unwrap(),
        }
    }

    /// The next message; `None` when the socket is at its end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            match self.socket.next().await? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next message of that event; what comes before is passed over.
    pub(crate) async fn next_of(&mut self, event: &str) -> Option<Value> {
        loop {
            let message = self.next().await?;
            if message["event"] == event {
                return Some(message);
            }
        }
    }

    pub(crate) async fn message(&mut self, message: Message) {
        // The call may be over.
        let _ = self.socket.send(message).await;
    }

    pub(crate) async fn send(&mut self, message: Value) {
        self.message(Message::text(message.to_string())).await;
    }

    /// A chunk of these bytes.
    pub(crate) async fn play(&mut self, bytes: &[u8]) {
        let payload = base64::engine::general_purpose::STANDARD.encode(bytes);
        self.send(json!({"event": "media", "media": {"payload": payload}}))
            .await;
    }

    /// So many bytes of a sound that is not silence.
    pub(crate) async fn hum(&mut self, bytes: usize) {
        self.play(&vec![7; bytes]).await;
    }

    pub(crate) async fn mark(&mut self, name: &str) {
        self.send(json!({"event": "mark", "mark": {"name": name}})).await;
    }

    pub(crate) async fn close(&mut self, code: u16) {
        let frame = CloseFrame {
            code: code.into(),
            reason: "".into(),
        };
        let _ = self.socket.close(Some(frame)).await;
        while self.next().await.is_some() {}
    }

    /// Says back what it hears, in chunks that are as small as they may be. A key makes it say what it still has, and mark
    /// the end with the key's name.
    pub(crate) async fn echo(mut self) {
        let mut held: Vec<u8> = Vec::new();
        while let Some(message) = self.next().await {
            match message["event"].as_str().unwrap() {
                "media" => {
                    held.extend(decode(&message["media"]["payload"]));
                    if held.len() >= 3_200 {
                        let rest = held.split_off(held.len() / 320 * 320);
                        self.play(&held).await;
                        held = rest;
                    }
                }
                "dtmf" => {
                    held.resize(held.len().next_multiple_of(320).max(3_200), 0);
                    self.play(&held).await;
                    held.clear();
                    self.mark(message["dtmf"]["digit"].as_str().unwrap()).await;
                }
                "stop" => return self.wait_for_end().await,
                _ => {}
            }
        }
    }

    /// Reads until the socket is at its end.
    pub(crate) async fn wait_for_end(mut self) {
        while self.next().await.is_some() {}
    }
}

/// Starts a bot in memory, and gives the simulator's end of the connection, and the bot's task.
pub(crate) fn in_memory<F>(
    bot: impl FnOnce(Bot<DuplexStream>) -> F + Send + 'static,
) -> (DuplexStream, JoinHandle<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let bot = tokio::spawn(async move { bot(Bot::accept(ours).await).await });
    (theirs, bot)
}

/// Path and Authorization of every request to open a socket.
type Opened = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// A bot's server on loopback, and the requests to open a socket that it got.
#[derive(Clone)]
pub(crate) struct BotServer {
    pub(crate) address: SocketAddr,
    requests: Opened,
}

impl BotServer {
    /// Refuses the first handshakes with these statuses.
    pub(crate) async fn start<F>(
        refusals: &[u16],
        bot: impl Fn(Bot<TcpStream>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
        };
        let (requests, bot) = (server.requests.clone(), Arc::new(bot));
        let mut refusals = refusals.to_vec();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (requests, bot) = (requests.clone(), bot.clone());
                let refusal = (!refusals.is_empty()).then(|| refusals.remove(0));
                tokio::spawn(async move {
                    let decide = Decide { requests, refusal };
                    if let Ok(socket) = tokio_tungstenite::accept_hdr_async(stream, decide).await {
                        bot(Bot { socket }).await;
                    }
                });
            }
        });
        server
    }

    /// `ws://` at the server, with what follows the port.
    pub(crate) fn url(&self, rest: &str) -> String {
        format!("ws://{}{rest}", self.address)
    }

    /// Path and Authorization of every request to open a socket.
    pub(crate) fn requests(&self) -> Vec<(String, Option<String>)> {
        self.requests.lock().unwrap().clone()
    }
}

struct Decide {
    requests: Opened,
    refusal: Option<u16>,
}

impl tokio_tungstenite::tungstenite::handshake::server::Callback for Decide {
    fn on_request(self, request: &Request, response: Response) -> Result<Response, ErrorResponse> {
        let authorization = request.headers().get("authorization");
        self.requests.lock().unwrap().push((
            request.uri().to_string(),
            authorization.map(|value| value.to_str().unwrap().to_owned()),
        ));
        match self.refusal {
            None => Ok(response),
            Some(status) => Err(http::Response::builder()
                .status(status)
                .body(Some("no".to_owned()))
                .unwrap()),
        }
    }
}
