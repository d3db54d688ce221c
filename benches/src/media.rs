//! A minute of a call with a bot: what it costs the table and API Gateway, and how soon a caller who interrupts is let in.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::{
    config::{Credentials, Region, SharedCredentialsProvider},
    types::StreamSpecification,
};
use aws_smithy_runtime_api::client::{
    behavior_version::BehaviorVersion,
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
        SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    runtime_components::RuntimeComponents,
};
use aws_types::SdkConfig;
use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::post};
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{
    ids::{ConnectionId, VoiceSessionId},
    phone::Country,
    voicebot::{Listen, Post, Rate, Rules, Session, StreamContext, Then, record::VoiceSession},
};
use dynamo::{Dynamo, TABLE_NAME};
use exotel_simulator::{Step, StreamCall, Talk, Target};
use jiff::Timestamp;
use serde_json::{Value, json};
use services::{
    streams::{Ear, Sockets},
    voicebot::sessions::Sessions,
};
use table::Table;
use tokio::net::TcpListener;

use crate::gateway::{Gateway, most_billed};

/// What the table takes for each request.
const STORE: Duration = Duration::from_millis(10);
/// Callers who interrupt.
const INTERRUPTIONS: usize = 300;
/// 99 of 100 of them are let in within so many milliseconds.
const LET_IN_WITHIN_MS: f64 = 50.0;
/// A greeting is heard within so many milliseconds of the stream's start.
const GREETED_WITHIN_MS: u64 = 1_000;
/// What the caller says at a time, and the bot.
const TURN_MS: u64 = 3_900;
const ANSWER_MS: usize = 3_000;
const TURNS: u32 = 7;
/// So much of the minute somebody speaks at the least, or its units are no measure.
const SPEECH: f64 = 0.45;
/// What a minute may cost the table at 8 kHz.
const WRITE_UNITS: f64 = 900.0;
const READ_UNITS: f64 = 700.0;
const STREAM: &str = "4e1c9a70d25b4f83a6c0e7d19b52193w";

/// Nobody reads the stream here, and the table in process looks through all of it at every write.
async fn without_stream(dynamo: &Dynamo) -> Result<()> {
    dynamo
        .client()
        .update_table()
        .table_name(TABLE_NAME)
        .stream_specification(StreamSpecification::builder().stream_enabled(false).build()?)
        .send()
        .await?;
    Ok(())
}

/// Greetings at each rate, and then calls of a minute, in real time and side by side, with a bot of the team's own.
///
/// # Errors
/// When a call cannot be placed, is not clean, or costs more than it may.
pub(crate) async fn minute() -> Result<()> {
    for (bot, rate) in ["demo", "echo"]
        .into_iter()
        .flat_map(|bot| Rate::ALL.map(|rate| (bot, rate)))
    {
        let heard_ms = greeting(bot, rate).await?;
        println!(
            "the bot {bot} is heard {heard_ms} ms after the stream's start, at {} Hz",
            rate.hz()
        );
    }
    println!();
    println!(
        "| rate | caller speaks | bot is heard | write units a minute | read units a minute | billed messages out per second heard: answers of 3 s | of 25 s |"
    );
    println!("| -: | -: | -: | -: | -: | -: | -: |");
    let calls = Rate::ALL.map(|rate| tokio::spawn(minute_at(rate)));
    for call in calls {
        println!("{}", call.await??);
    }
    Ok(())
}

/// When a caller first hears the bot, in milliseconds from the stream's start on.
async fn greeting(bot: &str, rate: Rate) -> Result<u64> {
    let gateway = Gateway::start().await;
    let (_, url) = gateway.offer(bot, rate).await;
    let call = StreamCall {
        talk: Talk {
            linger_ms: 0,
            ..Talk::script([Step::WaitForVoiceMs(100)])
        },
        ..StreamCall::to(Target::Stream(url))
    };
    let report = call.place().await.map_err(anyhow::Error::msg)?;
    let heard_ms = report.view.first_heard_ms.context("the bot says nothing")?;
    ensure!(
        heard_ms <= GREETED_WITHIN_MS,
        "{bot} greets after {heard_ms} ms, later than {GREETED_WITHIN_MS} ms"
    );
    Ok(heard_ms)
}

async fn minute_at(rate: Rate) -> Result<String> {
    let origin = answering().await?;
    let bots = json!({"own": {"kind": "http", "url": format!("{origin}/turn")}}).to_string();
    let gateway = Gateway::with_bots(Some(&bots), Some(&origin)).await;
    let (id, url) = gateway.offer("own", rate).await;
    gateway.dynamo.meter().take();
    // Each is heard out.
    let turns = (0..TURNS).flat_map(|_| {
        [
            Step::SilenceMs(300),
            Step::SayMs(TURN_MS),
            Step::WaitForQuietMs(150),
        ]
    });
    let call = StreamCall {
        talk: Talk {
            linger_ms: 0,
            ..Talk::script(turns.collect::<Vec<_>>())
        },
        ..StreamCall::to(Target::Stream(url))
    };
    let report = call.place().await.map_err(anyhow::Error::msg)?;
    let view = &report.view;
    ensure!(view.violations.is_empty(), "{:?}", view.violations);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let spent = gateway.dynamo.meter().take();
    let session = gateway.table.voice_session(&id).await?.context("the session")?;
    let turns = session.ended.context("the session is over")?.counts.turns;
    ensure!(turns == TURNS + 1, "a greeting and {TURNS} turns, not {turns}");
    let minutes = view.duration_ms as f64 / 60_000.0;
    let heard = view.heard_ms as f64 / 1_000.0;
    let billed = gateway.billed.load(Ordering::Relaxed) as f64;
    let speech = (u64::from(TURNS) * TURN_MS) as f64 / view.duration_ms as f64;
    let (writes, reads) = (spent.write_units / minutes, spent.read_units / minutes);
    ensure!(speech >= SPEECH, "the caller speaks only {:.0} %", speech * 100.0);
    ensure!(
        rate != Rate::Hz8000 || (writes <= WRITE_UNITS && reads <= READ_UNITS),
        "a minute at 8 kHz costs {writes:.0} write and {reads:.0} read units, more than {WRITE_UNITS} or {READ_UNITS}"
    );
    let long = long_answer(rate).await?;
    Ok(format!(
        "| {} Hz | {:.0} % | {:.0} % | {:.0} | {:.0} | {:.2} | {long:.2} |",
        rate.hz(),
        speech * 100.0,
        view.heard_ms as f64 / view.duration_ms as f64 * 100.0,
        writes,
        reads,
        billed / heard,
    ))
}

/// A server that says the same to whatever a caller says, and does not greet. Its address.
async fn answering() -> Result<String> {
    let pcm: Vec<u8> = (0..ANSWER_MS * 8)
        .flat_map(|n| (if n / 10 % 2 == 0 { 4_000_i16 } else { -4_000 }).to_le_bytes())
        .collect();
    let answer = json!({"audio": {"pcm": STANDARD.encode(pcm), "rate": 8_000}});
    let answer = async move |Json(turn): Json<Value>| match turn["input"]["kind"].as_str() {
        Some("speech") => Json(answer).into_response(),
        _ => StatusCode::NO_CONTENT.into_response(),
    };
    let router = Router::new().route("/turn", post(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(origin)
}

/// Messages for each second of an answer of 25 s, its mark among them.
///
/// # Errors
/// When they are more than speech that goes on may cost.
async fn long_answer(rate: Rate) -> Result<f64> {
    let gateway = Gateway::start().await;
    let (_, url) = gateway.offer("echo", rate).await;
    let call = StreamCall {
        talk: Talk {
            linger_ms: 0,
            ..Talk::script([
                Step::WaitForQuietMs(300),
                Step::SayMs(25_000),
                Step::WaitForQuietMs(600),
            ])
        },
        ..StreamCall::to(Target::Stream(url))
    };
    let report = call.place().await.map_err(anyhow::Error::msg)?;
    let view = &report.view;
    ensure!(view.violations.is_empty(), "{:?}", view.violations);
    let billed = gateway.billed.load(Ordering::Relaxed) as f64;
    // The greeting is a chunk of a quarter of a second, and its mark.
    let a_second = (billed - 2.0) / (view.heard_ms as f64 / 1_000.0 - 0.25);
    ensure!(
        a_second <= most_billed(rate),
        "{a_second} billed messages a second at {rate:?}"
    );
    Ok(a_second)
}

/// An HTTP client whose requests take a while longer.
#[derive(Debug, Clone)]
struct Slow(SharedHttpClient);

#[derive(Debug, Clone)]
struct SlowConnector(SharedHttpConnector);

impl HttpClient for Slow {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(SlowConnector(self.0.http_connector(settings, components)))
    }
}

impl HttpConnector for SlowConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let connector = self.0.clone();
        HttpConnectorFuture::new(async move {
            tokio::time::sleep(STORE).await;
            connector.call(request).await
        })
    }
}

/// When `clear` arrived, last.
type Cleared = Arc<Mutex<Option<Instant>>>;

async fn posted(State(cleared): State<Cleared>, body: String) -> StatusCode {
    if body.contains(r#""event":"clear""#) {
        *cleared.lock().expect("nobody panics with it") = Some(Instant::now());
    }
    StatusCode::OK
}

/// How long after a caller's speech has come in `clear` reaches API Gateway, with a table that takes ten milliseconds for
/// each request.
///
/// # Errors
/// When the table fails, a caller is not let in, or one in a hundred waits longer than they may.
pub(crate) async fn interruptions() -> Result<()> {
    let dynamo = Dynamo::start().await;
    without_stream(&dynamo).await?;
    let credentials = Credentials::new("AKIDEXAMPLE", "bench", None, None, "bench");
    let aws = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("ap-south-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(Slow(dynamo::http_client()))
        .endpoint_url(dynamo.endpoint_url())
        .build();
    let table = Table::new(aws_sdk_dynamodb::Client::new(&aws), TABLE_NAME);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/voicebot", listener.local_addr()?);
    let cleared = Cleared::default();
    let router = Router::new()
        .route("/voicebot/@connections/{connection}", post(posted))
        .with_state(Arc::clone(&cleared));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let fast = aws.to_builder().http_client(dynamo::http_client()).build();
    let sessions = Sessions::new(table.clone(), Country::IN);
    let ear = Ear::new(
        table.clone(),
        Sockets::connect(&fast, &url),
        sessions.clone(),
        Rules::default(),
    );
    let mut took = Vec::new();
    for n in 0..INTERRUPTIONS {
        took.push(interruption(n, &table, &sessions, &ear, &cleared).await?);
    }
    took.sort();
    let at = |percent: usize| took[(took.len() * percent).div_ceil(100) - 1].as_secs_f64() * 1_000.0;
    println!(
        "a frame of speech comes in → `clear` is at API Gateway, {INTERRUPTIONS} callers, {} ms for each request of the \
         table: p50 {:.0} ms, p99 {:.0} ms, most {:.0} ms",
        STORE.as_millis(),
        at(50),
        at(99),
        at(100)
    );
    ensure!(
        at(99) <= LET_IN_WITHIN_MS,
        "more than {LET_IN_WITHIN_MS} ms at p99"
    );
    Ok(())
}

async fn interruption(
    n: usize,
    table: &Table,
    sessions: &Sessions,
    ear: &Ear,
    cleared: &Cleared,
) -> Result<Duration> {
    let connection: ConnectionId = format!("caller-{n}=").parse()?;
    let now = Timestamp::now();
    let id = VoiceSessionId::new(now, n as u128);
    sessions
        .offered(&VoiceSession::new(id.clone(), "echo", Rate::Hz8000))
        .await?;
    let context = StreamContext {
        voice_session: id.clone(),
        bot_id: "echo".to_owned(),
        call: None,
        ignored: 0,
    };
    table
        .open_stream(&connection, &context, &Session::new(now), now)
        .await?;
    table.claim_socket(&id, &connection, now, now).await?;
    let start = format!(
        r#"{{"event":"start","sequence_number":"1","stream_sid":"{STREAM}","start":{{"stream_sid":"{STREAM}","media_format":{{"sample_rate":"8000"}}}}}}"#
    );
    let heard = ear.hear(&connection, Some(&start), Timestamp::now()).await?;
    let turn = heard.ask.context("the bot is to greet")?.turn;
    // The bot speaks for a second and a half.
    let now = Timestamp::now();
    let mut held = table.stream(&connection).await?.context("the session")?;
    let (epoch, _) = held.session.begin_answer(turn, now).context("the question")?;
    ensure!(held.session.answer(epoch, Then::Listen(Listen::default()), now));
    let posted = held.session.post_chunk(epoch, 0, 1_500, now);
    ensure!(matches!(posted, Post::Now { .. }), "{posted:?}");
    ensure!(table.write_stream(&connection, &mut held).await?.is_ok());

    *cleared.lock().expect("nobody panics with it") = None;
    for number in 2..12_u64 {
        let pcm: Vec<u8> = (0..800)
            .flat_map(|i| (if i / 20 % 2 == 0 { 4_000_i16 } else { -4_000 }).to_le_bytes())
            .collect();
        let text = frame(number, &pcm);
        let began = Instant::now();
        let _ = ear.hear(&connection, Some(&text), Timestamp::now()).await?;
        if let Some(at) = *cleared.lock().expect("nobody panics with it") {
            return Ok(at.duration_since(began));
        }
    }
    anyhow::bail!("the caller speaks for a second and is not let in")
}

fn frame(number: u64, pcm: &[u8]) -> String {
    format!(
        r#"{{"event":"media","sequence_number":"{number}","stream_sid":"{STREAM}","media":{{"chunk":"{number}","timestamp":"{}","payload":"{}"}}}}"#,
        number * 100,
        STANDARD.encode(pcm)
    )
}
