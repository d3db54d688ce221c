//! Bots: what each says to a turn, and what the caller hears when one says nothing.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use audio::{from_wav, to_wav};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{
    ids::VoiceSessionId,
    voicebot::{Listen, Rate, Then, bots::Bots as Configured},
};
use jiff::Timestamp;
use lambda_kit::{
    config::Settings,
    https::{client, client_builder, public_hosts_only},
    init::Boot,
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::{Value, json};
use services::bots::{Answer, Bots, FAILED, Means, Said, Sign, Turn, Unsigned};

/// Signs by saying what it was asked to sign.
struct Signature;

impl Sign for Signature {
    fn sign<'a>(&'a self, message: Unsigned<'a>) -> Pin<Box<dyn Future<Output = String> + Send + 'a>> {
        let Unsigned {
            bot_id,
            id,
            timestamp,
            body,
        } = message;
        Box::pin(async move { format!("v1,{bot_id}/{id}/{timestamp}/{}", body.len()) })
    }
}

/// Every name leads to this address.
#[derive(Clone)]
struct Everywhere(SocketAddr);

impl Resolve for Everywhere {
    fn resolve(&self, _: Name) -> Resolving {
        let address = self.0;
        Box::pin(async move { Ok(Box::new(std::iter::once(address)) as Addrs) })
    }
}

/// What a function has, on a machine where every name leads to one address, and AWS is at a URL.
pub(crate) async fn means(local_origins: &[&str], names: SocketAddr, aws: Option<&str>) -> Means {
    let aws = aws.map(str::to_owned);
    let settings = Settings::new(move |name| match name {
        "AWS_REGION" => Some("ap-south-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("local".to_owned()),
        "AWS_ENDPOINT_URL" => aws.clone(),
        _ => None,
    });
    let boot = Boot::new(settings, now()).await.unwrap();
    let public = public_hosts_only(client_builder().unwrap(), Everywhere(names));
    Means {
        public: public.build().unwrap(),
        local: client().unwrap(),
        local_origins: local_origins.iter().map(|origin| (*origin).to_owned()).collect(),
        sign: Arc::new(Signature),
        aws: boot.aws().clone(),
    }
}

pub(crate) fn nowhere() -> SocketAddr {
    "127.0.0.1:1".parse().unwrap()
}

pub(crate) fn now() -> Timestamp {
    "2026-11-26T10:00:00Z".parse().unwrap()
}

/// A call, whose turns a test takes one by one.
pub(crate) struct Call {
    bots: Bots,
    bot_id: &'static str,
    rate: Rate,
    session: VoiceSessionId,
    parameters: BTreeMap<String, String>,
    state: Option<String>,
    turn: u32,
}

impl Call {
    pub(crate) fn new(bots: Bots, bot_id: &'static str, rate: Rate) -> Self {
        Self {
            bots,
            bot_id,
            rate,
            session: "vs_01kb0xkz7v8e4f9y2f4w6r8t0v".parse().unwrap(),
            parameters: BTreeMap::from([("lead".to_owned(), "7f3".to_owned())]),
            state: None,
            turn: 0,
        }
    }

    /// With one bot at this URL.
    async fn with(url: &str, rate: Rate) -> Self {
        let configured = json!({ "support": { "kind": "http", "url": url } });
        let origin = url.trim_end_matches("/turn");
        let bots = Bots::new(
            &configured_as(configured),
            &means(&[origin], nowhere(), None).await,
        )
        .unwrap();
        Self::new(bots, "support", rate)
    }

    pub(crate) async fn say(&mut self, said: Said) -> Answer {
        let turn = Turn {
            session: &self.session,
            bot_id: self.bot_id,
            stream_sid: "4e1c9a70d25b4f83a6c0e7d19b52193w",
            call_sid: Some("90d3b6f2e8174a5cbb41f7e06c83193v"),
            from: Some("09811100002"),
            to: Some("08045550100"),
            custom_parameters: &self.parameters,
            turn: self.turn,
            rate: self.rate,
            said: &said,
        };
        let answer = self.bots.answer(&turn, self.state.as_deref(), now()).await;
        assert!(answer.state.len() <= 512, "{}", answer.state);
        assert_eq!(answer.audio.len() % 2, 0);
        self.state = Some(answer.state.clone());
        self.turn += 1;
        answer
    }
}

pub(crate) fn configured_as(json: Value) -> Configured {
    serde_json::from_value(json).unwrap()
}

pub(crate) fn keys(digits: &str) -> Said {
    Said::Digits(digits.to_owned())
}

/// A second of something at a rate.
pub(crate) fn speech(rate: Rate) -> Vec<u8> {
    let samples = (0..rate.hz()).map(|n| if n / 40 % 2 == 0 { 900_i16 } else { -900 });
    samples.flat_map(i16::to_le_bytes).collect()
}

/// Serves a router on this machine; its origin.
pub(crate) async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    origin
}

/// A server of the team's: what it is asked is kept, what it answers is the test's.
#[derive(Clone)]
struct Team {
    answer: Arc<dyn Fn(&Value) -> Response + Send + Sync>,
    asked: Arc<Mutex<Vec<(HeaderMap, Value)>>>,
    elsewhere: Arc<AtomicUsize>,
}

impl Team {
    async fn start(answer: impl Fn(&Value) -> Response + Send + Sync + 'static) -> (Self, String) {
        let team = Self {
            answer: Arc::new(answer),
            asked: Arc::default(),
            elsewhere: Arc::default(),
        };
        let router = Router::new()
            .route(
                "/turn",
                post(
                    async |State(team): State<Self>, headers: HeaderMap, body: String| {
                        let body: Value = serde_json::from_str(&body).unwrap();
                        let answer = (team.answer)(&body);
                        team.asked.lock().unwrap().push((headers, body));
                        answer
                    },
                ),
            )
            .fallback(async |State(team): State<Self>| {
                team.elsewhere.fetch_add(1, SeqCst);
                "a secret of this machine"
            })
            .with_state(team.clone());
        (team, format!("{}/turn", serve(router).await))
    }

    fn asked(&self) -> Vec<(HeaderMap, Value)> {
        self.asked.lock().unwrap().clone()
    }
}

fn answered(json: &Value) -> Response {
    (
        StatusCode::OK,
        [("content-type", "application/json; charset=utf-8")],
        json.to_string(),
    )
        .into_response()
}

pub(crate) fn is_excuse(answer: &Answer, rate: Rate) -> bool {
    answer.fallback.is_some() && rate.ms_of_bytes(answer.audio.len()) > 1_000
}

#[tokio::test]
async fn echo_says_what_it_hears() {
    let bots = Bots::new(&Configured::default(), &means(&[], nowhere(), None).await).unwrap();
    let mut call = Call::new(bots, "echo", Rate::Hz16000);
    let beep = call.say(Said::Start).await;
    assert_eq!(Rate::Hz16000.ms_of_bytes(beep.audio.len()), 250);
    let words = speech(Rate::Hz16000);
    let answer = call.say(Said::Speech(words.clone())).await;
    assert_eq!(answer.audio, words);
    assert_eq!(answer.then, Then::Listen(Listen::default()));
    assert_eq!(call.say(keys("123")).await.audio, beep.audio.repeat(3));
    assert_eq!(call.say(keys("")).await.audio, beep.audio);
    assert_eq!(call.say(Said::Silence(1)).await.audio, beep.audio);
}

#[tokio::test]
async fn the_demo_menu_is_walked_by_pressing_keys_at_every_rate() {
    for rate in Rate::ALL {
        let bots = Bots::new(&Configured::default(), &means(&[], nowhere(), None).await).unwrap();
        let mut call = Call::new(bots, "demo", rate);
        let welcome = call.say(Said::Start).await;
        assert!(rate.ms_of_bytes(welcome.audio.len()) > 3_000);
        assert!(welcome.said.as_ref().unwrap().starts_with("Hello"), "{welcome:?}");
        let Then::Listen(listen) = &welcome.then else {
            panic!("{:?}", welcome.then)
        };
        assert!(!listen.speech && listen.max_digits == 1);

        let wrong = call.say(keys("5")).await;
        assert!(wrong.said.unwrap().starts_with("Sorry"));
        assert_eq!(
            wrong.audio[wrong.audio.len() - welcome.audio.len()..],
            welcome.audio
        );
        assert_eq!(call.say(Said::Speech(speech(rate))).await.audio, welcome.audio);

        let order = call.say(keys("2")).await;
        assert!(order.said.unwrap().contains("order number"));
        let thanks = call.say(keys("4711")).await;
        assert_eq!((thanks.then, thanks.fallback), (Then::HangUp, None));
    }
    let bots = Bots::new(&Configured::default(), &means(&[], nowhere(), None).await).unwrap();
    let mut call = Call::new(bots, "demo", Rate::Hz8000);
    call.say(Said::Start).await;
    let agent = call.say(keys("9")).await;
    assert_eq!(agent.then, Then::Transfer("agent".to_owned()));
}

#[tokio::test]
async fn a_team_s_bot_gets_the_turn_signed_and_its_answer_is_played() {
    let (team, url) = Team::start(|asked| {
        let sound = to_wav(&[0; 4_800], Rate::Hz24000);
        match asked["turn"].as_u64() {
            Some(0) => answered(&json!({
                "audio": { "wav": STANDARD.encode(sound) },
                "then": { "listen": { "speech": true, "max_digits": 4, "terminator": "", "no_input_ms": 5_000 } },
                "said": "Hello.", "state": "asked-name",
            })),
            Some(1) => answered(&json!({
                "audio": { "pcm": STANDARD.encode([1; 640]), "rate": 16_000 },
                "heard": "I am Priya.", "state": "named",
            })),
            Some(2) => answered(&json!({ "then": { "transfer": "sales" } })),
            _ => answered(&json!({ "then": "hang_up" })),
        }
    })
    .await;
    let mut call = Call::with(&url, Rate::Hz8000).await;

    let hello = call.say(Said::Start).await;
    assert_eq!(
        Rate::Hz8000.ms_of_bytes(hello.audio.len()),
        100,
        "24 kHz became 8 kHz"
    );
    assert_eq!(hello.said.as_deref(), Some("Hello."));
    let listen = Listen {
        max_digits: 4,
        terminator: None,
        no_input_ms: 5_000,
        ..Listen::default()
    };
    assert_eq!(hello.then, Then::Listen(listen));

    let words = speech(Rate::Hz8000);
    let named = call.say(Said::Speech(words.clone())).await;
    assert_eq!(named.audio.len(), 320, "16 kHz became 8 kHz");
    assert_eq!(named.heard.as_deref(), Some("I am Priya."));
    assert_eq!(named.then, Then::Listen(Listen::default()));
    assert_eq!(
        call.say(keys("12")).await.then,
        Then::Transfer("sales".to_owned())
    );
    assert_eq!(call.say(Said::Silence(2)).await.then, Then::HangUp);

    let asked = team.asked();
    let (headers, first) = &asked[0];
    assert_eq!(
        *first,
        json!({
            "type": "voicebot.turn", "bot": "support", "turn": 0, "rate": 8_000,
            "session": {
                "id": "vs_01kb0xkz7v8e4f9y2f4w6r8t0v", "stream_sid": "4e1c9a70d25b4f83a6c0e7d19b52193w",
                "call_sid": "90d3b6f2e8174a5cbb41f7e06c83193v", "from": "09811100002", "to": "08045550100",
                "parameters": { "lead": "7f3" },
            },
            "input": { "kind": "start" }, "state": null,
        })
    );
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("webhook-id"), "vs_01kb0xkz7v8e4f9y2f4w6r8t0v.0");
    assert_eq!(header("webhook-timestamp"), now().as_second().to_string());
    let length: usize = header("content-length").parse().unwrap();
    let signed = format!(
        "v1,support/{}/{}/{length}",
        header("webhook-id"),
        now().as_second()
    );
    assert_eq!(
        header("webhook-signature"),
        signed,
        "what was signed is what was sent"
    );

    let wav = STANDARD
        .decode(asked[1].1["input"]["wav"].as_str().unwrap())
        .unwrap();
    assert_eq!(from_wav(&wav, Rate::Hz8000).unwrap(), words);
    assert_eq!(asked[1].1["state"], "asked-name");
    assert_eq!(asked[2].1["input"], json!({ "kind": "digits", "digits": "12" }));
    assert_eq!(asked[2].1["state"], "named");
    assert_eq!(asked[3].1["input"], json!({ "kind": "silence", "times": 2 }));
    assert_eq!(asked[3].1["state"], Value::Null);
}

#[tokio::test]
async fn a_bot_may_answer_a_bare_wav_file_or_nothing() {
    let (_, url) = Team::start(|asked| match asked["turn"].as_u64() {
        Some(0) => answered(&json!({ "state": "kept" })),
        Some(1) => {
            let wav = to_wav(&[0; 1_600], Rate::Hz8000);
            (StatusCode::OK, [("content-type", "audio/x-wav")], wav).into_response()
        }
        _ => StatusCode::NO_CONTENT.into_response(),
    })
    .await;
    let mut call = Call::with(&url, Rate::Hz24000).await;
    call.say(Said::Start).await;
    let answer = call.say(Said::Silence(1)).await;
    assert_eq!((answer.audio.len(), answer.fallback), (4_800, None));
    let answer = call.say(Said::Silence(2)).await;
    assert_eq!((answer.audio.len(), answer.fallback), (0, None));
    assert!(answer.state.contains("kept"));
}

#[tokio::test]
async fn nonsense_is_an_excuse_and_the_call_goes_on_with_what_was_kept() {
    let json = |json: Value| answered(&json);
    let of_type = |kind: &'static str, body: &'static str| {
        (StatusCode::OK, [("content-type", kind)], body).into_response()
    };
    let cases: Vec<(Response, &str)> = vec![
        (StatusCode::INTERNAL_SERVER_ERROR.into_response(), "answered 500"),
        (StatusCode::UNAUTHORIZED.into_response(), "answered 401"),
        (
            of_type("text/html", "<h1>It works</h1>"),
            "neither application/json nor audio/wav",
        ),
        (of_type("application/json", "<h1>"), "cannot be used"),
        (of_type("application/json", ""), "cannot be used"),
        (of_type("audio/wav", "no sound"), "its sound"),
        (json(json!([])), "cannot be used"),
        (json(json!({ "transfer": "sales" })), "unknown field `transfer`"),
        (json(json!({ "then": "dance" })), "\"hang_up\""),
        (json(json!({ "then": { "transfer": "" } })), "then.transfer"),
        (
            json(json!({ "then": { "transfer": "x".repeat(65) } })),
            "then.transfer",
        ),
        (json(json!({ "then": { "transfer": "a\nb" } })), "then.transfer"),
        (
            json(json!({ "then": { "listen": { "max_digits": 33 } } })),
            "max_digits",
        ),
        (
            json(json!({ "then": { "listen": { "no_input_ms": 1 } } })),
            "no_input_ms",
        ),
        (
            json(json!({ "then": { "listen": { "terminator": "##" } } })),
            "terminator",
        ),
        (
            json(json!({ "then": { "listen": { "speech": false, "max_digits": 0 } } })),
            "listens for nothing",
        ),
        (json(json!({ "audio": {} })), "`wav`, or `pcm`"),
        (json(json!({ "audio": { "wav": "???" } })), "no base64"),
        (json(json!({ "audio": { "wav": "UklGRg==" } })), "audio.wav"),
        (
            json(json!({ "audio": { "pcm": "AAAA", "rate": 44_100 } })),
            "`audio.rate` must be 8000, 16000 or 24000",
        ),
        (
            json(json!({ "audio": { "pcm": STANDARD.encode(vec![0; 2 * 8_000 * 151]) } })),
            "sounds 151 s; say 150 s at most",
        ),
        (json(json!({ "state": "x".repeat(501) })), "501 bytes"),
    ];
    for (response, says) in cases {
        let once = Mutex::new(Some(response));
        let (team, url) = Team::start(move |asked| {
            if asked["turn"] == 0 {
                return answered(&json!({ "state": "kept" }));
            }
            once.lock()
                .unwrap()
                .take()
                .unwrap_or_else(|| StatusCode::NO_CONTENT.into_response())
        })
        .await;
        let mut call = Call::with(&url, Rate::Hz8000).await;
        call.say(Said::Start).await;
        let answer = call.say(keys("1")).await;
        assert!(is_excuse(&answer, Rate::Hz8000), "{says}: {answer:?}");
        let problem = answer.fallback.unwrap();
        assert!(problem.contains(says), "{says}: {problem}");
        assert!(!problem.contains("127.0.0.1"), "{problem}");
        assert_eq!(answer.then, Then::Listen(Listen::default()));
        assert_eq!(call.say(keys("1")).await.fallback, None, "{says}");
        assert_eq!(team.asked()[2].1["state"], "kept", "{says}");
    }
}

#[tokio::test]
async fn what_a_bot_answers_is_not_quoted_when_it_cannot_be_read() {
    let sound = STANDARD.encode(vec![7; 3_000]);
    let (_, url) = Team::start(move |asked| {
        let answers = [
            json!({ "audio": sound }),
            json!({ "state": 9_811_100_002_u64 }),
            json!({ "9811100002": "state" }),
            json!({ "then": { "transfer": 9_811_100_002_u64 } }),
            json!({ "audio": { "pcm": "", "rate": 9_811_100_002_u64 } }),
            json!({ "said": { "a, expected 9811100002": sound } }),
        ];
        answered(&answers[asked["turn"].as_u64().unwrap() as usize])
    })
    .await;
    let mut call = Call::with(&url, Rate::Hz8000).await;
    for _ in 0..6 {
        let problem = call.say(Said::Silence(1)).await.fallback.unwrap();
        assert!(problem.contains("line 1, column "), "{problem}");
        assert!(
            !problem.contains("98111") && !problem.contains("BwcH"),
            "{problem}"
        );
        assert!(problem.len() <= 160, "{problem}");
    }
}

#[tokio::test]
async fn a_bot_that_fails_three_times_in_a_row_loses_the_call() {
    let (_, url) = Team::start(|asked| match asked["turn"].as_u64() {
        Some(2) => StatusCode::NO_CONTENT.into_response(),
        _ => StatusCode::BAD_GATEWAY.into_response(),
    })
    .await;
    let mut call = Call::with(&url, Rate::Hz8000).await;
    for turn in 0..5 {
        let answer = call.say(Said::Silence(1)).await;
        assert_eq!(answer.then, Then::Listen(Listen::default()), "turn {turn}");
    }
    let last = call.say(Said::Silence(1)).await;
    assert!(is_excuse(&last, Rate::Hz8000));
    assert_eq!(last.then, Then::Transfer(FAILED.to_owned()));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (team, url) = Team::start(|_| {
        (
            StatusCode::TEMPORARY_REDIRECT,
            [("location", "/latest/meta-data")],
        )
            .into_response()
    })
    .await;
    let answer = Call::with(&url, Rate::Hz8000).await.say(Said::Start).await;
    assert!(answer.fallback.unwrap().contains("redirects are not followed"));
    assert_eq!(team.elsewhere.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_bot_that_hangs_or_drips_is_given_up_after_three_seconds() {
    let (_, dripping) = Team::start(|_| {
        let drops = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, Infallible>(Bytes::from_static(b" ")), ()))
        });
        Response::builder()
            .header("content-type", "application/json")
            .body(Body::from_stream(drops))
            .unwrap()
    })
    .await;
    // It takes the connection, and never says a word.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hanging = format!("http://{}/turn", listener.local_addr().unwrap());
    for url in [dripping, hanging] {
        let before = tokio::time::Instant::now();
        let answer = Call::with(&url, Rate::Hz8000).await.say(Said::Start).await;
        assert!(is_excuse(&answer, Rate::Hz8000));
        assert!(answer.fallback.unwrap().contains("within 3 s"));
        assert!(before.elapsed() < Duration::from_secs(4));
    }
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_it() {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let (_, url) = Team::start(move |_| {
        let count = Arc::clone(&count);
        let flood = futures_util::stream::repeat_with(move || {
            count.fetch_add(100_000, SeqCst);
            Ok::<_, Infallible>(Bytes::from_static(&[b' '; 100_000]))
        });
        Response::builder()
            .header("content-type", "application/json")
            .body(Body::from_stream(flood))
            .unwrap()
    })
    .await;
    let answer = Call::with(&url, Rate::Hz8000).await.say(Said::Start).await;
    assert!(answer.fallback.unwrap().contains("more than 5000000 bytes"));
    assert!(sent.load(SeqCst) < 50_000_000, "{sent:?}");
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_asked() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connected = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connected);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, SeqCst);
        }
    });
    for address in [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "[fd00:ec2::254]",
        "[::1]",
    ] {
        let names = format!("{address}:{port}").parse().unwrap();
        let url = format!("https://bot.example.com:{port}/turn");
        let configured = configured_as(json!({ "support": { "kind": "http", "url": url } }));
        let bots = Bots::new(&configured, &means(&[], names, None).await).unwrap();
        let answer = Call::new(bots, "support", Rate::Hz8000).say(Said::Start).await;
        assert!(is_excuse(&answer, Rate::Hz8000));
        let problem = answer.fallback.unwrap();
        assert!(
            problem.contains("no address on the public internet"),
            "{address}: {problem}"
        );
    }
    assert_eq!(connected.load(SeqCst), 0);
}

#[tokio::test]
async fn what_can_never_answer_is_refused_when_it_is_configured() {
    let means = means(&["http://127.0.0.1:9001"], nowhere(), None).await;
    let refused = |json: Value| Bots::new(&configured_as(json), &means).err().unwrap().to_string();
    for url in [
        "http://127.0.0.1:9000/turn",
        "http://localhost:9000/",
        "https://127.0.0.1/",
        "http://[::1]:1/",
    ] {
        let problem = refused(json!({ "b": { "kind": "http", "url": url } }));
        assert!(
            problem.contains("bot \"b\"") && problem.contains("VOICEBOT_EXTRA_ORIGINS"),
            "{problem}"
        );
    }
    let problem = refused(json!({ "b": { "kind": "menu", "tree": "nowhere" } }));
    assert!(
        problem.contains("bot \"b\"") && problem.contains("menus/nowhere"),
        "{problem}"
    );
    let fleet = configured_as(json!({ "own": { "kind": "fleet" } }));
    assert!(Bots::new(&fleet, &means).is_ok());
}

#[tokio::test]
async fn a_bot_that_is_not_here_hands_the_call_on_in_the_end() {
    let configured = configured_as(json!({ "own": { "kind": "fleet" } }));
    let bots = Bots::new(&configured, &means(&[], nowhere(), None).await).unwrap();
    let mut call = Call::new(bots, "own", Rate::Hz8000);
    for _ in 0..2 {
        assert!(is_excuse(&call.say(Said::Start).await, Rate::Hz8000));
    }
    assert_eq!(
        call.say(Said::Start).await.then,
        Then::Transfer(FAILED.to_owned())
    );
}
