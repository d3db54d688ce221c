//! API Gateway's WebSocket API, Lambda's asynchronous invocation and the functions' doors in one process: each message of
//! a socket is an event of its own, handled beside the others, in no order.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_sdk_dynamodb::types::StreamSpecification;
use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    routing::post,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{
    ids::VoiceSessionId,
    phone::Country,
    voicebot::{Rate, Rules, bots, record::VoiceSession},
};
use dynamo::{Dynamo, TABLE_NAME};
use futures_util::{SinkExt, StreamExt};
use jiff::Timestamp;
use lambda_kit::{
    capability::{SigningKeys, StreamToken},
    config::{BotsConfig, Settings},
    init::{Boot, Live},
    metrics::Metrics,
    websocket::{Reply, SocketEvent},
};
use secrecy::SecretString;
use serde_json::{Value, json};
use services::{
    bots::Bots,
    clock::Machine,
    streams::{Doorman, Ear, Mouth, Question, Sockets},
    voicebot::sessions::Sessions,
};
use table::Table;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
    },
};
use voicebot::{
    ends::EndDoor,
    handshakes::{Credentials, HandshakeDoor},
    messages::MessageDoor,
    random,
    turns::{TurnDoor, means},
};

pub(crate) const SIGNING_KEY: &str = "a-signing-key-of-32-characters-or-more";
pub(crate) const WS_TOKEN: &str = "ws-token-hunter2";

/// What is on its way to a socket.
pub(crate) enum Post {
    Text(String),
    Close,
}

/// Everything between Exotel and the table.
pub(crate) struct Gateway {
    pub(crate) dynamo: Dynamo,
    pub(crate) table: Table,
    pub(crate) sessions: Sessions,
    pub(crate) keys: SigningKeys,
    /// `ws://127.0.0.1:<port>/voicebot`.
    pub(crate) url: String,
    sockets: Mutex<HashMap<String, mpsc::UnboundedSender<Post>>>,
    doors: OnceLock<Doors>,
    opened: AtomicU64,
    /// Messages posted to sockets as API Gateway bills them: one for each 32 KB begun.
    pub(crate) billed: AtomicU64,
}

struct Doors {
    handshake: HandshakeDoor,
    message: MessageDoor,
    end: EndDoor,
    turn: TurnDoor,
}

/// What a second of speech that goes on may cost in billed messages, its mark among them.
pub(crate) fn most_billed(rate: Rate) -> f64 {
    match rate {
        Rate::Hz8000 => 0.75,
        Rate::Hz16000 => 1.5,
        Rate::Hz24000 => 2.1,
    }
}

/// Settings as a deployment has them.
pub(crate) fn settings(bots: Option<&str>, bot_origin: Option<&str>, endpoint_url: &str) -> Settings {
    let (bots, endpoint_url) = (bots.map(str::to_owned), endpoint_url.to_owned());
    let origin = bot_origin.map(str::to_owned);
    Settings::new(move |name| {
        Some(match name {
            "AWS_REGION" => "ap-south-1".to_owned(),
            "AWS_ACCESS_KEY_ID" => "AKIDEXAMPLE".to_owned(),
            "AWS_SECRET_ACCESS_KEY" => "hunter2".to_owned(),
            "AWS_ENDPOINT_URL" => endpoint_url.clone(),
            "SIGNING_KEY" => SIGNING_KEY.to_owned(),
            "EXOTEL_WS_TOKEN" => WS_TOKEN.to_owned(),
            "VOICEBOT_DEFAULT_BOT" => "echo".to_owned(),
            "VOICEBOT_BOTS" => return bots.clone(),
            "VOICEBOT_EXTRA_ORIGINS" => return origin.clone(),
            _ => return None,
        })
    })
}

impl Gateway {
    /// With the bots that are there without anybody naming them.
    pub(crate) async fn start() -> Arc<Self> {
        Self::with_bots(None, None).await
    }

    /// With these bots (`VOICEBOT_BOTS`), some of which may be on this machine (`VOICEBOT_EXTRA_ORIGINS`).
    pub(crate) async fn with_bots(json: Option<&str>, origin: Option<&str>) -> Arc<Self> {
        let dynamo = Dynamo::start().await;
        // Nobody reads the stream here, and the table in process looks through all of it at every write.
        let without_stream = StreamSpecification::builder().stream_enabled(false).build();
        dynamo
            .client()
            .update_table()
            .table_name(TABLE_NAME)
            .stream_specification(without_stream.unwrap())
            .send()
            .await
            .unwrap();
        let table = Table::new(dynamo.client(), TABLE_NAME);
        let behind = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behind_url = format!("http://{}", behind.local_addr().unwrap());
        let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sessions = Sessions::new(table.clone(), Country::IN);
        let gateway = Arc::new(Self {
            table: table.clone(),
            sessions: sessions.clone(),
            keys: SigningKeys::new(&SecretString::from(SIGNING_KEY), None),
            url: format!("ws://{}/voicebot", front.local_addr().unwrap()),
            sockets: Mutex::default(),
            doors: OnceLock::new(),
            opened: AtomicU64::new(0),
            billed: AtomicU64::new(0),
            dynamo,
        });

        let settings = settings(json, origin, &behind_url);
        let boot = Boot::new(settings.clone(), Timestamp::now()).await.unwrap();
        let sockets = Sockets::connect(boot.aws(), &format!("{behind_url}/voicebot"));
        let configured: bots::Bots = BotsConfig::from_env(&settings).unwrap().bots;
        let means = means(&boot).unwrap();
        let ear = Ear::new(table.clone(), sockets.clone(), sessions.clone(), Rules::default());
        let mouth = Mouth::new(
            table.clone(),
            sockets,
            sessions.clone(),
            Bots::new(&configured, &means).unwrap(),
            Arc::new(Machine::new(random)),
        );
        let end = EndDoor::new(
            Doorman::new(table.clone()),
            sessions.clone(),
            boot.invoker("voicebot-turn").unwrap(),
            Metrics::from_env(&settings),
        );
        let doors = Doors {
            handshake: HandshakeDoor::new(
                Doorman::new(table),
                sessions,
                Live::fixed(Credentials::from_env(&settings).unwrap()),
                random,
            ),
            message: MessageDoor::new(
                ear,
                boot.invoker("voicebot-turn").unwrap(),
                Metrics::from_env(&settings),
            ),
            end,
            turn: TurnDoor::new(mouth),
        };
        assert!(gateway.doors.set(doors).is_ok());

        let router = Router::new()
            .route("/voicebot/@connections/{connection}", post(posted).delete(closed))
            .route("/2015-03-31/functions/voicebot-turn/invocations", post(invoked))
            .with_state(Arc::clone(&gateway));
        tokio::spawn(async move { axum::serve(behind, router).await.unwrap() });
        let accepting = Arc::clone(&gateway);
        tokio::spawn(async move {
            while let Ok((stream, _)) = front.accept().await {
                tokio::spawn(Arc::clone(&accepting).serve(stream));
            }
        });
        gateway
    }

    fn doors(&self) -> &Doors {
        self.doors.get().unwrap()
    }

    /// Offers a session as voicebot-connect does, and gives the URL that Exotel is to dial.
    pub(crate) async fn offer(&self, bot_id: &str, rate: Rate) -> (VoiceSessionId, String) {
        let now = Timestamp::now();
        let id = VoiceSessionId::new(now, random());
        self.sessions
            .offered(&VoiceSession::new(id.clone(), bot_id, rate))
            .await
            .unwrap();
        let token = StreamToken::new(id.clone(), now).seal(&self.keys);
        let url = format!(
            "{}?call_id={id}&token={token}&sample-rate={}",
            self.url,
            rate.hz()
        );
        (id, url)
    }

    /// A socket's life.
    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let connection = format!(
            "{}=",
            STANDARD
                .encode(format!("socket-{number:04}"))
                .trim_end_matches('=')
        );
        let mut handshake = None;
        // The handshake's answer waits for the function, which cannot be awaited within the callback.
        let mut peeked = vec![0; 8_192];
        let length = loop {
            let length = stream.peek(&mut peeked).await.unwrap();
            if length == 0 || peeked[..length].windows(4).any(|end| end == b"\r\n\r\n") {
                break length;
            }
            tokio::task::yield_now().await;
        };
        let head = String::from_utf8_lossy(&peeked[..length]).into_owned();
        if let Some(event) = connect_event(&head, &connection) {
            let event: SocketEvent = serde_json::from_value(event).unwrap();
            handshake = Some(self.connect(&event).await);
        }
        let status = handshake.map_or(400, |reply| reply.status());
        #[expect(clippy::result_large_err, reason = "tungstenite's own signature")]
        let decide = |_: &Request, response: Response| {
            if status == 200 {
                return Ok(response);
            }
            let mut refusal = ErrorResponse::new(None);
            *refusal.status_mut() = StatusCode::from_u16(status).unwrap();
            Err(refusal)
        };
        let Ok(socket) = accept_hdr_async(stream, decide).await else {
            return;
        };
        let (mut out, mut incoming) = socket.split();
        let (sender, mut posts) = mpsc::unbounded_channel();
        self.sockets.lock().unwrap().insert(connection.clone(), sender);
        loop {
            tokio::select! {
                post = posts.recv() => match post {
                    Some(Post::Text(text)) => {
                        let _ = out.send(Message::text(text)).await;
                    }
                    Some(Post::Close) | None => {
                        let _ = out.send(Message::Close(None)).await;
                        break;
                    }
                },
                message = incoming.next() => {
                    let (body, is_base64_encoded) = match message {
                        Some(Ok(Message::Text(text))) => (text.to_string(), false),
                        Some(Ok(Message::Binary(bytes))) => (STANDARD.encode(bytes), true),
                        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                        Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                    };
                    // As API Gateway writes it: in this order, without white space.
                    let event = format!(
                        r#"{{"requestContext":{{"routeKey":"$default","eventType":"MESSAGE","connectionId":"{connection}"}},"body":{},"isBase64Encoded":{is_base64_encoded}}}"#,
                        json!(body)
                    );
                    let gateway = Arc::clone(&self);
                    tokio::spawn(async move {
                        let heard = gateway.doors().message.hear_bytes(event.as_bytes(), Timestamp::now());
                        let reply = heard.await.unwrap();
                        assert_eq!(reply.status(), 200);
                    });
                }
            }
        }
        self.sockets.lock().unwrap().remove(&connection);
        let event = json!({"requestContext": {"routeKey": "$disconnect", "eventType": "DISCONNECT", "connectionId": connection}});
        let event: SocketEvent = serde_json::from_value(event).unwrap();
        self.hear_close(&event).await;
    }

    /// A socket without a network: what is posted to it comes out here; `None` when it is closed.
    pub(crate) fn socket(&self, connection: &str) -> mpsc::UnboundedReceiver<Post> {
        let (sender, posts) = mpsc::unbounded_channel();
        self.sockets.lock().unwrap().insert(connection.to_owned(), sender);
        posts
    }

    /// A handshake's event, as ws-connect gets it.
    pub(crate) async fn connect(&self, event: &SocketEvent) -> Reply {
        self.doors().handshake.receive(event, Timestamp::now()).await
    }

    /// A message's event, as ws-message gets it.
    pub(crate) async fn hear(&self, event: &SocketEvent) -> Reply {
        self.doors().message.hear(event, Timestamp::now()).await
    }

    /// An end's event, as ws-disconnect gets it.
    pub(crate) async fn hear_close(&self, event: &SocketEvent) -> Reply {
        self.doors().end.receive(event, Timestamp::now()).await
    }

    /// A question, as voicebot-turn gets it.
    pub(crate) async fn answer(&self, question: Question) {
        self.doors().turn.answer(&question).await.unwrap();
    }
}

/// The `$connect` event of a request's head.
fn connect_event(head: &str, connection: &str) -> Option<Value> {
    let mut lines = head.lines();
    let target = lines.next()?.split(' ').nth(1)?;
    let headers: HashMap<&str, &str> = lines.filter_map(|line| line.split_once(": ")).collect();
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let query: HashMap<_, _> = form_urlencoded::parse(query.as_bytes()).collect();
    Some(json!({
        "headers": headers,
        "queryStringParameters": query,
        "requestContext": {"routeKey": "$connect", "eventType": "CONNECT", "connectionId": connection},
        "isBase64Encoded": false,
    }))
}

async fn posted(
    State(gateway): State<Arc<Gateway>>,
    Path(connection): Path<String>,
    body: String,
) -> StatusCode {
    assert!(body.len() <= 32 * 1024, "API Gateway takes 32 KB: {}", body.len());
    // No longer than that, so each is billed once.
    gateway.billed.fetch_add(1, Ordering::Relaxed);
    match gateway.sockets.lock().unwrap().get(&connection) {
        Some(socket) if socket.send(Post::Text(body)).is_ok() => StatusCode::OK,
        _ => StatusCode::GONE,
    }
}

async fn closed(State(gateway): State<Arc<Gateway>>, Path(connection): Path<String>) -> StatusCode {
    match gateway.sockets.lock().unwrap().get(&connection) {
        Some(socket) if socket.send(Post::Close).is_ok() => StatusCode::NO_CONTENT,
        _ => StatusCode::GONE,
    }
}

async fn invoked(State(gateway): State<Arc<Gateway>>, body: Bytes) -> StatusCode {
    let question: Question = serde_json::from_slice(&body).unwrap();
    tokio::spawn(async move {
        gateway.answer(question).await;
    });
    StatusCode::ACCEPTED
}
