//! How a call's end gets into its record, and what is done all the same when the table takes less than everything.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use aws_sdk_dynamodb::{
    Client,
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextRef},
    error::BoxError,
};
use axum::{Router, routing::post};
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{
    ids::{ConnectionId, VoiceSessionId},
    phone::Country,
    voicebot::{
        Ending, Rate, Rules, Then,
        record::{Ended, SessionState, VoiceSession},
    },
};
use dynamo::{Dynamo, TABLE_NAME};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use services::{
    streams::{Admitted, Doorman, Ear, Question, Sockets},
    voicebot::sessions::Sessions,
};
use table::Table;

use crate::given::{now, settings};

const STREAM: &str = "4e1c9a70d25b4f83a6c0e7d19b52193w";
const SOCKET: &str = "L0SM9cOFvHcCIhw=";

/// A table that refuses every request in which a word stands.
#[derive(Debug, Clone, Default)]
struct Refusing(Arc<Mutex<Option<&'static str>>>);

impl Refusing {
    fn refuse(&self, word: Option<&'static str>) {
        *self.0.lock().unwrap() = word;
    }
}

impl Intercept for Refusing {
    fn name(&self) -> &'static str {
        "Refusing"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.request().body().bytes().unwrap_or_default();
        match *self.0.lock().unwrap() {
            Some(word) if String::from_utf8_lossy(body).contains(word) => Err("refused".into()),
            _ => Ok(()),
        }
    }
}

/// A voice session whose socket is open, and everybody who has to do with it.
struct Line {
    _dynamo: Dynamo,
    table: Table,
    refusing: Refusing,
    doorman: Doorman,
    sessions: Sessions,
    ear: Ear,
    id: VoiceSessionId,
    /// Messages that were posted to the socket.
    posted: Arc<AtomicUsize>,
}

fn socket() -> ConnectionId {
    SOCKET.parse().unwrap()
}

fn at(ms: i64) -> Timestamp {
    now() + SignedDuration::from_millis(ms)
}

impl Line {
    async fn open() -> Self {
        let dynamo = Dynamo::start().await;
        let refusing = Refusing::default();
        let config = dynamo
            .client()
            .config()
            .to_builder()
            .interceptor(refusing.clone())
            .build();
        let table = Table::new(Client::from_conf(config), TABLE_NAME);
        let posted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&posted);
        let router = Router::new().fallback(post(async move || {
            count.fetch_add(1, Ordering::SeqCst);
        }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let sessions = Sessions::new(table.clone(), Country::IN);
        let sockets = Sockets::connect(&settings(&url), &url);
        let ear = Ear::new(table.clone(), sockets, sessions.clone(), Rules::default());
        let id = VoiceSessionId::new(now(), 7);
        let offered = VoiceSession::new(id.clone(), "demo", Rate::Hz8000);
        sessions.offered(&offered).await.unwrap();
        let line = Self {
            _dynamo: dynamo,
            doorman: Doorman::new(table.clone()),
            table,
            refusing,
            sessions,
            ear,
            id,
            posted,
        };
        line.admit(&socket()).await;
        line
    }

    async fn admit(&self, connection: &ConnectionId) {
        let admitted = self
            .doorman
            .admit(connection, &self.id, "demo", now(), now())
            .await;
        assert_eq!(admitted.unwrap(), Admitted::Yes);
    }

    /// The stream begins, and the bot has begun to say something long.
    async fn speaking(&self) {
        let start = json!({"event": "start", "sequence_number": "1", "stream_sid": STREAM,
            "start": {"stream_sid": STREAM, "media_format": {"sample_rate": "8000"}}});
        assert!(self.hear(start, 0).await.unwrap().ask.is_some());
        let mut held = self.table.stream(&socket()).await.unwrap().unwrap();
        let (epoch, _) = held.session.begin_answer(0, at(1)).unwrap();
        assert!(
            held.session
                .answer(epoch, Then::Listen(Default::default()), at(2))
        );
        let _ = held.session.post_chunk(epoch, 0, 10_000, at(3));
        self.table
            .write_stream(&socket(), &mut held)
            .await
            .unwrap()
            .unwrap();
    }

    async fn hear(
        &self,
        message: Value,
        ms: i64,
    ) -> Result<services::streams::Hearing, services::ServiceError> {
        self.ear.hear(&socket(), Some(&message.to_string()), at(ms)).await
    }

    async fn press(&self, number: u32, digit: &str) {
        let key = json!({"event": "dtmf", "sequence_number": number, "stream_sid": STREAM,
            "dtmf": {"digit": digit}});
        assert_eq!(
            self.hear(key, i64::from(number) * 100).await.unwrap().ignored,
            None
        );
    }

    async fn stop(&self) -> services::streams::Hearing {
        let stop = json!({"event": "stop", "sequence_number": "9", "stream_sid": STREAM,
            "stop": {"reason": "callended"}});
        self.hear(stop, 900).await.unwrap()
    }

    async fn see_off(&self, connection: &ConnectionId) -> Option<Question> {
        let rules = Rules::default();
        let seen_off = self
            .doorman
            .see_off(connection, &self.sessions, &rules, at(1_000));
        seen_off.await.unwrap()
    }

    async fn ended(&self) -> Option<Ended> {
        self.table.voice_session(&self.id).await.unwrap().unwrap().ended
    }
}

/// 100 ms of something loud.
fn loud(number: u32) -> Value {
    let wave = [[4_000_i16; 8], [-4_000; 8]].concat().repeat(50);
    let pcm: Vec<u8> = wave.into_iter().flat_map(i16::to_le_bytes).collect();
    json!({"event": "media", "sequence_number": number, "stream_sid": STREAM,
        "media": {"payload": STANDARD.encode(pcm)}})
}

#[tokio::test]
async fn a_caller_interrupts_also_when_their_frames_are_not_kept() {
    let line = Line::open().await;
    line.speaking().await;
    line.refusing.refuse(Some("audio"));
    for number in 2..6 {
        // The frame is lost, which is told.
        assert!(
            line.hear(loud(number), 1_000 + i64::from(number) * 100)
                .await
                .is_err()
        );
    }
    assert_eq!(line.posted.load(Ordering::SeqCst), 1, "the clear");
}

#[tokio::test]
async fn a_message_that_cannot_be_counted_was_heard_all_the_same() {
    let line = Line::open().await;
    line.refusing.refuse(Some("ignored"));
    let hearing = line.hear(loud(1), 100).await.unwrap();
    assert!(hearing.ignored.is_some());
}

#[tokio::test]
async fn last_words_are_asked_about_though_the_record_fails_and_the_end_of_the_socket_mends_it() {
    let line = Line::open().await;
    line.speaking().await;
    line.press(2, "4").await;
    line.refusing.refuse(Some("ended_rank"));
    assert_eq!(line.stop().await.ask.map(|question| question.turn), Some(1));
    assert_eq!(line.ended().await, None);
    line.refusing.refuse(None);
    assert_eq!(line.see_off(&socket()).await, None, "nobody asks twice");
    let ended = line.ended().await.unwrap();
    assert_eq!((ended.why, ended.at), (Ending::CallEnded, at(900)));
    assert_eq!(ended.counts.turns, 2);
}

#[tokio::test]
async fn last_words_before_a_socket_vanishes_are_asked_about_whatever_the_record_says() {
    for refused in [None, Some("ended_rank")] {
        let line = Line::open().await;
        line.speaking().await;
        line.press(2, "4").await;
        line.refusing.refuse(refused);
        let question = line.see_off(&socket()).await.unwrap();
        assert_eq!((question.connection_id, question.turn), (socket(), 1));
    }
}

#[tokio::test]
async fn a_handshake_that_was_given_up_does_not_end_the_session_that_another_socket_may_begin() {
    let line = Line::open().await;
    let second: ConnectionId = "second=".parse().unwrap();
    line.admit(&second).await;
    assert_eq!(line.see_off(&socket()).await, None);
    assert_eq!(line.ended().await, None);
    assert_eq!(line.see_off(&second).await, None);
    assert_eq!(line.ended().await.map(|ended| ended.why), Some(Ending::Closed));
}

#[tokio::test]
async fn a_socket_that_was_given_up_first_is_no_end_of_the_call_on_the_next_one() {
    let line = Line::open().await;
    let second: ConnectionId = "second=".parse().unwrap();
    assert_eq!(line.see_off(&socket()).await, None);
    let state = async || {
        let session = line.table.voice_session(&line.id).await.unwrap().unwrap();
        session.state(at(100))
    };
    assert_eq!(state().await, SessionState::Ended);
    line.admit(&second).await;
    let start = json!({"event": "start", "sequence_number": "1", "stream_sid": STREAM,
        "start": {"stream_sid": STREAM, "media_format": {"sample_rate": "8000"}}});
    let hearing = line.ear.hear(&second, Some(&start.to_string()), at(50)).await;
    assert!(hearing.unwrap().ask.is_some());
    assert_eq!(state().await, SessionState::Streaming);
    assert_eq!(line.see_off(&second).await, None);
    let ended = line.ended().await.unwrap();
    assert_eq!((ended.why, ended.counts.turns), (Ending::Closed, 1));
    assert_eq!(state().await, SessionState::Ended);
}

#[tokio::test]
async fn a_call_begins_also_when_its_record_cannot_be_told() {
    let line = Line::open().await;
    line.refusing.refuse(Some("started_at"));
    line.speaking().await;
    line.press(2, "4").await;
    line.refusing.refuse(None);
    assert_eq!(line.stop().await.ask.map(|question| question.turn), Some(1));
    assert_eq!(line.ended().await.unwrap().counts.turns, 2);
}
