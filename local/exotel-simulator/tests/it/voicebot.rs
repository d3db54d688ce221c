//! Calls that reach a voicebot: inbound, to a flow, straight to a stream. Bots and endpoints are on loopback, and streams
//! run in real time: the talks are short.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use exotel_simulator::{
    Ask, Branch, CallScript, DisconnectedBy, Handle, Inbound, Options, PassthruForm, Script, Step,
    StreamOptions, StreamStatus, Talk, Timings, ViolationKind, Voicebot,
};
use serde_json::{Value, json};

use crate::bot::{Bot, BotServer};
use crate::harness::{Api, CALLS, Receiver, fast, serve, start, within};

const CALLER: &str = "+919811109999";

/// Is silent for longer than any test: the bot must close.
fn patient() -> Talk {
    Talk::script([Step::SilenceMs(600_000)])
}

/// The same for every call that the API places.
fn patient_leads() -> Script {
    Script {
        times: Some(0),
        call: CallScript {
            talk: Some(patient()),
            ..CallScript::default()
        },
        ..Script::default()
    }
}

fn to_bot(url: &str, passthru: &Receiver) -> Inbound {
    Inbound {
        voicebot: Some(Voicebot::at(url)),
        talk: Some(patient()),
        passthru: Some(passthru.url.clone()),
        ..Inbound::from(CALLER)
    }
}

async fn settled(handle: &Handle, count: usize) {
    within(handle.calls_until(|calls| calls.iter().filter(|call| call.settled).count() == count)).await;
}

/// Closes when it has heard a frame.
async fn brief<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(mut bot: Bot<S>) {
    bot.next_of("media").await;
    bot.close(1_000).await;
}

#[tokio::test]
async fn an_inbound_call_talks_to_its_bot_and_the_passthru_tells() {
    let server = BotServer::start(&[], Bot::echo).await;
    let receiver = Receiver::start(&[]).await;
    let (handle, api) = start(fast()).await;
    let url = format!("ws://bot:s3cret@{}/media?lead=7f3", server.address);
    let body = json!({"from": CALLER, "flow_id": "228041", "passthru": receiver.url, "voicebot": {"url": url, "stream": {"jitter_ms": 500}},
                      "talk": {"script": [{"say_ms": 500}, {"digits": "7"}, {"wait_for_mark": "7"}, {"hang_up": true}]}});
    let answer = api.sim("POST", "/_sim/inbound", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sid = answer.json()["sid"].as_str().unwrap().to_owned();
    settled(&handle, 1).await;

    assert_eq!(
        server.requests(),
        [(
            "/media?lead=7f3".to_owned(),
            Some("Basic Ym90OnMzY3JldA==".to_owned())
        )]
    );
    let report = handle.stream(&sid).unwrap();
    let view = &report.view;
    assert_eq!(
        (view.status, view.disconnected_by),
        (StreamStatus::Completed, Some(DisconnectedBy::User))
    );
    assert_eq!(
        view.url,
        server.url("/media?lead=7f3"),
        "without user and password"
    );
    assert_eq!(view.custom_parameters, [("lead".to_owned(), "7f3".to_owned())]);
    assert_eq!(view.violations, []);
    assert!(view.heard_ms >= 500, "{view:?}");

    let got = receiver.received();
    assert_eq!(got.len(), 1, "the Passthru behind the applet, no other");
    for (name, value) in [
        ("CallSid", sid.as_str()),
        ("Direction", "incoming"),
        ("CallStatus", "completed"),
        ("flow_id", "228041"),
        ("DialCallStatus", "null"),
        ("Stream[StreamSID]", &view.stream_sid),
        ("Stream[Status]", "completed"),
        ("Stream[Duration]", &view.duration_ms.div_ceil(1_000).to_string()),
        ("Stream[StreamUrl]", &url),
        ("Stream[DisconnectedBy]", "user"),
        ("Stream[Error]", ""),
    ] {
        assert_eq!(got[0].field(name).unwrap_or_default(), value, "{name}");
    }
    assert!(got[0].field("Stream[RecordingUrl]").unwrap().ends_with(".mp3"));
    let call = handle.calls().remove(0);
    assert_eq!(
        (call.status.as_str(), call.leg2_status, call.conversation_secs),
        ("completed", None, view.duration_ms.div_ceil(1_000))
    );

    let listed = api.sim("GET", "/_sim/streams", Value::Null).await.json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["call_sid"], sid.as_str());
    let one = api
        .sim("GET", &format!("/_sim/streams/{}", view.stream_sid), Value::Null)
        .await;
    assert_eq!(one.json(), listed[0]);
    let wav = api.get(&format!("/_sim/streams/{sid}/heard.wav")).await;
    assert_eq!(wav.header(http::header::CONTENT_TYPE), "audio/wav");
    let heard = exotel_simulator::Track::read_wav(std::io::Cursor::new(wav.body), 8_000).unwrap();
    assert_eq!(heard.samples.len(), report.heard.samples.len());
    assert_eq!(api.get("/_sim/streams/none/said.wav").await.status, 404);
    let events: Vec<String> = handle
        .journal()
        .iter()
        .filter_map(|entry| entry.stream().map(|it| it.event.clone()))
        .collect();
    assert_eq!(
        events,
        [
            "handshake",
            "start",
            "dtmf",
            "mark",
            "mark-echoed",
            "stop",
            "closed"
        ]
    );
    let told = api
        .get(&format!("/_sim/journal?kind=stream&sid={sid}"))
        .await
        .json();
    assert_eq!(told[2]["detail"], "7");
}

#[tokio::test]
async fn a_bot_that_closes_leads_the_flow_on() {
    let server = BotServer::start(&[], brief).await;
    // Branch A rings the agent, B ends the call, anything else halts the flow.
    let receiver = Receiver::start(&[200, 200, 302, 200, 500]).await;
    let (handle, _api) = start(Options {
        timings: Timings {
            talk_ms: 20_000,
            ring2_ms: 5_000,
            ..Timings::default()
        },
        ..fast()
    })
    .await;
    let stream = StreamOptions {
        passthru_form: PassthruForm::Json,
        ..StreamOptions::default()
    };
    let inbound = |agent: Option<&str>| Inbound {
        voicebot: Some(Voicebot {
            stream: Some(stream.clone()),
            ..Voicebot::at(&server.url("/"))
        }),
        agent: agent.map(str::to_owned),
        ..to_bot("", &receiver)
    };
    let agent = Some("09811150007");
    let mut sids = Vec::new();
    for (at, agent) in [agent, agent, None, agent].into_iter().enumerate() {
        sids.push(handle.inbound(inbound(agent)).unwrap());
        settled(&handle, at + 1).await;
    }
    let got = receiver.received();
    assert_eq!(got.len(), 5);
    let stream: Value = serde_json::from_str(&got[0].field("Stream").unwrap()).unwrap();
    assert_eq!(
        (&stream["Status"], &stream["DisconnectedBy"]),
        (&json!("completed"), &json!("bot"))
    );
    assert_eq!(got[0].field("CallStatus").unwrap(), "in-progress");
    let call = |at: usize| {
        handle
            .calls()
            .into_iter()
            .find(|call| call.sid == sids[at])
            .unwrap()
    };
    // Transferred: the second Passthru tells of the agent.
    assert_eq!(got[1].field("DialWhomNumber").unwrap(), "09811150007");
    assert_eq!(got[1].field("CallStatus").unwrap(), "completed");
    assert_eq!(call(0).branches, [Branch::A, Branch::A]);
    assert_eq!(
        (call(0).conversation_secs, call(0).leg2_status.is_some()),
        (20, true)
    );
    assert_eq!(handle.dials().len(), 1);
    for (at, branch, status) in [
        (1, Branch::B, "completed"),
        (2, Branch::A, "completed"),
        (3, Branch::Halted, "failed"),
    ] {
        assert_eq!(
            (call(at).branches, call(at).status.as_str(), call(at).leg2_status),
            (vec![branch], status, None),
            "{at}"
        );
    }
}

/// An endpoint that answers where the bot is, and keeps what it was asked.
struct Endpoint {
    url: String,
    asked: Arc<Mutex<Vec<(Method, String, String)>>>,
}

impl Endpoint {
    async fn start(status: u16, answer: String) -> Self {
        let asked: Arc<Mutex<Vec<(Method, String, String)>>> = Arc::default();
        let kept = asked.clone();
        let take = async move |method: Method, uri: Uri, body: String| {
            let query = uri.query().unwrap_or_default().to_owned();
            kept.lock().unwrap().push((method, query, body));
            (StatusCode::from_u16(status).unwrap(), answer.clone())
        };
        let router: Router = Router::new().fallback(take);
        let url = format!("{}/connect?t=secret", serve(router).await);
        Self { url, asked }
    }
}

#[tokio::test]
async fn an_endpoint_is_asked_where_the_bot_is() {
    let server = BotServer::start(&[], brief).await;
    let receiver = Receiver::start(&[]).await;
    let (handle, api) = start(fast()).await;
    let endpoint = Endpoint::start(
        200,
        json!({"url": server.url("/x?sample-rate=16000")}).to_string(),
    )
    .await;
    let first = handle.inbound(to_bot(&endpoint.url, &receiver)).unwrap();
    settled(&handle, 1).await;
    let whole = json!({"url": endpoint.url, "ask": "post"});
    let body = json!({"from": CALLER, "voicebot": whole, "talk": {"linger_ms": 100}});
    assert_eq!(api.sim("POST", "/_sim/inbound", body).await.status, 200);
    settled(&handle, 2).await;
    let asked = endpoint.asked.lock().unwrap().clone();
    assert_eq!(asked[0].0, Method::GET);
    assert!(
        asked[0]
            .1
            .starts_with(&format!("t=secret&CallSid={first}&CallFrom=09811109999")),
        "{}",
        asked[0].1
    );
    assert_eq!((&asked[1].0, asked[1].1.as_str()), (&Method::POST, "t=secret"));
    let posted: Value = serde_json::from_str(&asked[1].2).unwrap();
    assert_eq!(
        (&posted["CallFrom"], &posted["Direction"]),
        (&json!("09811109999"), &json!("incoming"))
    );
    assert_eq!(handle.stream(&first).unwrap().view.rate_hz, 16_000);
    // The Passthru has the URL that was dialled, not the endpoint's.
    assert_eq!(
        receiver.received()[0].field("Stream[StreamUrl]").unwrap(),
        server.url("/x?sample-rate=16000")
    );
    let journal = handle.callbacks();
    let asking = journal.iter().find(|entry| entry.event == "voicebot").unwrap();
    assert_eq!(
        (asking.method.as_str(), asking.status, &asking.error),
        ("GET", Some(200), &None)
    );
}

#[tokio::test]
async fn a_bot_that_cannot_be_found_fails_the_stream_and_the_flow_goes_on() {
    let receiver = Receiver::start(&[]).await;
    let (handle, _api) = start(fast()).await;
    let answers = [
        (200, "<Response/>".to_owned()),
        (500, json!({"url": "ws://127.0.0.1:9/"}).to_string()),
        (200, json!({"url": "https://127.0.0.1:9/"}).to_string()),
    ];
    for (at, (status, answer)) in answers.into_iter().enumerate() {
        let endpoint = Endpoint::start(status, answer).await;
        let sid = handle.inbound(to_bot(&endpoint.url, &receiver)).unwrap();
        settled(&handle, at + 1).await;
        let view = handle.stream(&sid).unwrap().view;
        assert_eq!(
            (view.status, view.violations[0].kind),
            (StreamStatus::Failed, ViolationKind::BadUrl),
            "{at}"
        );
        let got = receiver.received().pop().unwrap();
        assert_eq!(got.field("Stream[Status]").unwrap(), "failed");
        assert_eq!(got.field("Stream[DisconnectedBy]").unwrap(), "system");
        assert!(!got.field("Stream[Error]").unwrap().is_empty());
        assert_eq!(got.field("Stream[RecordingUrl]"), None);
        let call = handle.calls().into_iter().find(|call| call.sid == sid).unwrap();
        assert_eq!((call.status.as_str(), call.conversation_secs), ("completed", 0));
    }
}

#[tokio::test]
async fn a_failed_handshake_is_tried_once_more() {
    let receiver = Receiver::start(&[]).await;
    let (handle, api) = start(fast()).await;
    let server = BotServer::start(&[503], brief).await;
    let sid = handle.inbound(to_bot(&server.url("/"), &receiver)).unwrap();
    settled(&handle, 1).await;
    let view = handle.stream(&sid).unwrap().view;
    let statuses: Vec<_> = view.handshakes.iter().map(|handshake| handshake.status).collect();
    assert_eq!(
        (statuses, view.status),
        (vec![Some(503), Some(101)], StreamStatus::Completed)
    );

    let server = BotServer::start(&[401, 401], brief).await;
    let sid = handle.inbound(to_bot(&server.url("/"), &receiver)).unwrap();
    settled(&handle, 2).await;
    assert_eq!(server.requests().len(), 2, "and no more");
    let view = handle.stream(&sid).unwrap().view;
    assert_eq!(view.status, StreamStatus::Failed);
    assert!(view.error.unwrap().contains("401"));

    // A fault stands for a network that loses the first attempt.
    let faults = json!({"stream": [{"fault": "refuse_handshake", "next": 1}]});
    assert_eq!(api.sim("POST", "/_sim/faults", faults).await.status, 204);
    let server = BotServer::start(&[], brief).await;
    let sid = handle.inbound(to_bot(&server.url("/"), &receiver)).unwrap();
    settled(&handle, 3).await;
    let view = handle.stream(&sid).unwrap().view;
    assert_eq!((view.handshakes.len(), view.status), (2, StreamStatus::Completed));
    assert_eq!(server.requests().len(), 1);
}

fn connect<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![("From", CALLER), ("CallerId", "08045550100")];
    fields.extend_from_slice(more);
    fields
}

async fn placed(api: &Api, fields: &[(&str, &str)]) -> String {
    let answer = api.post(&format!("{CALLS}/connect.json"), fields).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["Call"]["Sid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_call_is_connected_straight_to_a_stream() {
    let starts: Arc<Mutex<Vec<Value>>> = Arc::default();
    let kept = starts.clone();
    let server = BotServer::start(&[], move |mut bot| {
        let kept = kept.clone();
        async move {
            let start = bot.next_of("start").await.unwrap();
            kept.lock().unwrap().push(start["start"].clone());
            bot.next_of("media").await;
            bot.next_of("media").await;
            bot.close(1_000).await;
        }
    })
    .await;
    let receiver = Receiver::start(&[]).await;
    let (handle, api) = start(Options {
        passthru: Some(receiver.url.clone()),
        ..fast()
    })
    .await;
    handle.script(patient_leads());
    let url = server.url("/media?sample-rate=24000&lead=7f3");
    let fields = connect(&[
        ("StreamUrl", &url),
        ("StreamType", "bidirectional"),
        ("Record", "true"),
    ]);
    let sid = placed(&api, &fields).await;
    settled(&handle, 1).await;
    let view = handle.stream(&sid).unwrap().view;
    assert_eq!(
        (view.disconnected_by, view.rate_hz),
        (Some(DisconnectedBy::Bot), 24_000)
    );
    assert!(view.duration_ms >= 200, "{}", view.duration_ms);
    let call = handle.calls().remove(0);
    assert_eq!(call.status.as_str(), "completed");
    assert_eq!(call.conversation_secs, view.duration_ms.div_ceil(1_000));
    assert!(receiver.received().is_empty(), "no flow, no Passthru");
    let start = starts.lock().unwrap()[0].clone();
    assert_eq!(start["call_sid"], sid.as_str());
    assert_eq!(start["from"], start["to"], "as seen live");
    assert_eq!(start["custom_parameters"], json!({"lead": "7f3"}));

    // TimeLimit cuts it.
    let server = BotServer::start(&[], Bot::echo).await;
    let url = server.url("/");
    let fields = connect(&[
        ("StreamUrl", &url),
        ("StreamType", "bidirectional"),
        ("TimeLimit", "1"),
    ]);
    let sid = placed(&api, &fields).await;
    settled(&handle, 2).await;
    let view = handle.stream(&sid).unwrap().view;
    assert_eq!(
        (view.disconnected_by, view.duration_ms),
        (Some(DisconnectedBy::System), 1_000)
    );
    assert_eq!(view.stop_reason.as_deref(), Some("callended"));
}

#[tokio::test]
async fn a_stream_url_is_held_to_its_limits() {
    let (handle, api) = start(fast()).await;
    for (url, problem) in [
        ("ws://b.example.in/?a=1&b=2&c=3&d=4".to_owned(), "4 custom"),
        (
            format!("ws://b.example.in/?a={}", "x".repeat(255)),
            "257 characters",
        ),
        (
            format!("ws://b.example.in/{}", "x".repeat(600)),
            "shorter than 600",
        ),
        ("ws://b.example.in/?sample-rate=11025".to_owned(), "11025"),
    ] {
        let fields = connect(&[("StreamUrl", &url), ("StreamType", "bidirectional")]);
        let answer = api.post(&format!("{CALLS}/connect.json"), &fields).await;
        assert_eq!(answer.status, 400, "{url}");
        assert!(answer.text().contains(problem), "{}", answer.text());
    }
    assert!(handle.calls().is_empty());
}

#[tokio::test]
async fn flows_are_given_a_voicebot() {
    let (one, other) = (
        BotServer::start(&[], brief).await,
        BotServer::start(&[], brief).await,
    );
    let receiver = Receiver::start(&[]).await;
    let (handle, api) = start(Options {
        passthru: Some(receiver.url.clone()),
        voicebot: Some(Voicebot::at(&one.url("/every"))),
        ..fast()
    })
    .await;
    handle.script(patient_leads());
    let own = json!({"url": other.url("/own"), "flow_id": "228042"});
    assert_eq!(api.sim("PUT", "/_sim/voicebot", own).await.status, 204);
    assert_eq!(
        api.sim("PUT", "/_sim/voicebot", json!("ftp://b")).await.status,
        400
    );
    let listed = api.sim("GET", "/_sim/voicebot", Value::Null).await.json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let flow = |id: &str| format!("http://my.exotel.com/acme1/exoml/start_voice/{id}");
    for (at, id) in ["228040", "228042"].into_iter().enumerate() {
        let url = flow(id);
        let sid = placed(&api, &connect(&[("Url", &url)])).await;
        settled(&handle, at + 1).await;
        assert_eq!(handle.stream(&sid).unwrap().view.status, StreamStatus::Completed);
        let got = receiver.received().pop().unwrap();
        assert_eq!(
            (got.field("CallSid").unwrap(), got.field("flow_id").unwrap()),
            (sid, id.to_owned())
        );
        assert_eq!(got.field("Direction").unwrap(), "outbound-dial");
        assert_eq!(got.field("Stream[DisconnectedBy]").unwrap(), "bot");
    }
    handle
        .inbound(Inbound {
            flow_id: Some("228042".to_owned()),
            ..Inbound::from(CALLER)
        })
        .unwrap();
    settled(&handle, 3).await;
    let paths = |server: &BotServer| {
        server
            .requests()
            .into_iter()
            .map(|(path, _)| path)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (paths(&one), paths(&other)),
        (vec!["/every".to_owned()], vec!["/own".to_owned(); 2])
    );

    handle.reset();
    assert!(handle.streams().is_empty());
    let after = api.sim("GET", "/_sim/voicebot", Value::Null).await.json();
    assert_eq!(
        after[0]["url"],
        one.url("/every"),
        "what the options say is so again"
    );
    assert_eq!(api.sim("DELETE", "/_sim/voicebot", Value::Null).await.status, 204);
    let url = flow("228040");
    let sid = placed(&api, &connect(&[("Url", &url)])).await;
    settled(&handle, 1).await;
    assert!(handle.stream(&sid).is_none());
}

#[tokio::test]
async fn active_streams_are_counted_and_limited() {
    let enough = Arc::new(tokio::sync::Notify::new());
    let told = enough.clone();
    let server = BotServer::start(&[], move |mut bot| {
        let told = told.clone();
        async move {
            told.notified().await;
            bot.close(1_000).await;
        }
    })
    .await;
    let receiver = Receiver::start(&[]).await;
    let (handle, api) = start(Options {
        max_streams: 1,
        ..fast()
    })
    .await;
    let path = "/v1/Accounts/acme1/ActiveStreams";
    assert_eq!(
        api.get(&format!("{path}.json")).await.json(),
        json!({"status": "success", "active_streams": 0, "max_allowed_streams": 1, "account_sid": "acme1"})
    );
    handle.inbound(to_bot(&server.url("/"), &receiver)).unwrap();
    within(handle.streams_until(|streams| streams.iter().any(|one| one.status == StreamStatus::InProgress)))
        .await;
    assert!(api.get(path).await.text().contains(
        "<TwilioResponse><Stream><ActiveStreamCount>1</ActiveStreamCount><ThrottleLimit>1</ThrottleLimit></Stream></TwilioResponse>"
    ));
    let second = handle.inbound(to_bot(&server.url("/"), &receiver)).unwrap();
    settled(&handle, 1).await;
    let view = handle.stream(&second).unwrap().view;
    assert_eq!(view.status, StreamStatus::Failed);
    assert!(view.handshakes.is_empty());
    enough.notify_one();
    settled(&handle, 2).await;
    assert_eq!(api.get(&format!("{path}.json")).await.json()["active_streams"], 0);
    assert_eq!(api.get("/v1/Accounts/acme1/activestreams").await.status, 404);
    assert_eq!(api.anonymous().get(path).await.status, 401);
}

#[tokio::test]
async fn violations_stand_in_the_journal() {
    let server = BotServer::start(&[], async |mut bot: Bot<tokio::net::TcpStream>| {
        bot.next_of("start").await;
        bot.hum(640).await;
        bot.next_of("media").await;
        bot.close(1_000).await;
    })
    .await;
    let receiver = Receiver::start(&[]).await;
    let (handle, api) = start(fast()).await;
    let sid = handle.inbound(to_bot(&server.url("/"), &receiver)).unwrap();
    settled(&handle, 1).await;
    let told = api
        .get(&format!("/_sim/journal?kind=stream&sid={sid}"))
        .await
        .json();
    let violation = told
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["event"] == "violation")
        .unwrap();
    assert_eq!(violation["stream_sid"], handle.streams()[0].stream_sid.as_str());
    assert!(violation["detail"].as_str().unwrap().contains("640 bytes"));
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_before_the_call() {
    let (handle, api) = start(fast()).await;
    for (body, problem) in [
        (json!({"from": CALLER, "voicebot": "ftp://b"}), "wss://"),
        (
            json!({"from": CALLER, "voicebot": {"url": "ws://b", "stream": {"frame_ms": 1}}}),
            "frame_ms",
        ),
        (
            json!({"from": CALLER, "voicebot": {"url": "ws://b", "rate": 8000}}),
            "rate",
        ),
        (
            json!({"from": CALLER, "voicebot": "ws://b", "talk": {"script": [{"digits": "x"}]}}),
            "keys",
        ),
        (
            json!({"from": CALLER, "voicebot": "ws://b", "talk": {"wav": "/nowhere.wav"}}),
            "/nowhere.wav",
        ),
    ] {
        let answer = api.sim("POST", "/_sim/inbound", body.clone()).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.text().contains(problem), "{}", answer.text());
    }
    assert!(handle.calls().is_empty());
    let bad = Options {
        voicebot: Some(Voicebot::at("bot")),
        ..fast()
    };
    assert!(exotel_simulator::Simulator::start(bad).await.is_err());
}

#[tokio::test]
async fn a_certificate_must_be_trusted() {
    use base64::Engine as _;
    use tokio_rustls::rustls;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let encoded = base64::engine::general_purpose::STANDARD.encode(key.cert.der());
    let pem = format!("-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n");
    let private = PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("localhost:0").await.unwrap();
    let url = format!("wss://localhost:{}/media", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    brief(Bot::accept(stream).await).await;
                }
            });
        }
    });
    let receiver = Receiver::start(&[]).await;
    for (trusted, status) in [
        (Vec::new(), StreamStatus::Failed),
        (vec![pem], StreamStatus::Completed),
    ] {
        let (handle, _api) = start(Options { trusted, ..fast() }).await;
        let sid = handle.inbound(to_bot(&url, &receiver)).unwrap();
        settled(&handle, 1).await;
        let view = handle.stream(&sid).unwrap().view;
        assert_eq!(view.status, status, "{:?}", view.error);
        if status == StreamStatus::Failed {
            assert_eq!(view.handshakes.len(), 2);
            assert!(view.error.unwrap().contains("TLS"));
        }
    }
}

#[tokio::test]
async fn a_single_call_asks_its_endpoint_too() {
    let server = BotServer::start(&[], brief).await;
    let endpoint = Endpoint::start(200, json!({"url": server.url("/")}).to_string()).await;
    let call = exotel_simulator::StreamCall {
        custom_field: Some("lead:7f3".to_owned()),
        ..exotel_simulator::StreamCall::to(exotel_simulator::Target::Connect(endpoint.url.clone(), Ask::Post))
    };
    let report = within(call.place()).await.unwrap();
    assert_eq!(report.view.status, StreamStatus::Completed);
    let asked = endpoint.asked.lock().unwrap().clone();
    let posted: Value = serde_json::from_str(&asked[0].2).unwrap();
    assert_eq!(
        (&posted["CustomField"], &posted["CallSid"]),
        (&json!("lead:7f3"), &json!(report.view.call_sid))
    );
}
