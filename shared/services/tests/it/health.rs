//! Health of ExoPhones: pushed, polled, both; told once. Time is an argument: nothing waits.

use std::{
    cell::RefCell,
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use domain::{
    alert::{EXOPHONE_AFFECTED, EXOPHONES_UNKNOWN, HEARTBEAT_SILENT},
    health::{Health, Status},
    ids::ExoPhoneSid,
};
use exotel::{Answer, Error, classify};
use exotel_simulator::{Account, ExophoneHealth, Heartbeat, Options, Simulator};
use jiff::{SignedDuration, Timestamp};
use services::{
    alerts::{AlertView, Alerts, Period as AlertPeriod},
    health::{ChecksOf, LONGEST_HEARTBEAT, Monitor, Period, Polled, Polling, Stopped, checks_of, exophones},
    inbound::{Delivery, Inbox, Receipt, Replay, Replayed, Webhook, WebhookMessage, WebhookQueue},
    outbound::{Exotel, clock::World},
    raw_events::RawEventView,
};
use table::{EventOwner, Table};

use crate::database::{Database, Fate};

/// A clock that moves when the test says so.
#[derive(Clone)]
struct Hands(Arc<Mutex<Timestamp>>);

impl Hands {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(
            "2026-11-20T08:40:00.123456Z".parse().unwrap(),
        )))
    }

    fn pass(&self, secs: i64) {
        *self.0.lock().unwrap() += SignedDuration::from_secs(secs);
    }
}

impl World for Hands {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        unreachable!("nothing here waits")
    }

    fn random(&self) -> u128 {
        7
    }
}

async fn alerts(table: &Table, now: Timestamp) -> Vec<AlertView> {
    let period = AlertPeriod::new(None, None, now).unwrap();
    let alerts = Alerts::new(table.clone(), || 7);
    let mut all = alerts.list(period, 100, None).await.unwrap().items;
    all.reverse();
    all
}

fn inbox(database: &Database) -> Inbox {
    let queue = WebhookQueue::new(database.quiet_aws(), "https://sqs.invalid/1/webhook-events");
    Inbox::new(database.quiet_table(), queue)
}

async fn receive(inbox: &Inbox, body: &[u8], now: Timestamp) -> Receipt {
    let delivery = Delivery {
        webhook: Webhook::Heartbeat,
        locator: None,
        content_type: Some("application/json"),
        query: Some("token=secret"),
        body,
        credentials: &["hunter2hunter2".to_owned().into()],
    };
    inbox.receive_heartbeat(delivery, now).await
}

const KEPT: Receipt = Receipt::Kept {
    success: true,
    handled: true,
};

/// Where the simulator's HeartBeats go: an inbox behind HTTP, by the test's clock.
async fn door(inbox: Inbox, hands: Hands) -> String {
    async fn take(State(door): State<Arc<(Inbox, Hands)>>, body: Bytes) -> StatusCode {
        let (inbox, hands) = &*door;
        match receive(inbox, &body, hands.now()).await {
            Receipt::Kept { success: true, .. } => StatusCode::OK,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/", post(take))
        .with_state(Arc::new((inbox, hands)));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

#[tokio::test]
async fn an_exophone_that_goes_out_raises_one_alert_and_one_recovery_by_push_by_poll_and_by_both() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    for (pushed, polled, exophones) in [
        (true, false, 1),
        (false, true, 1),
        (true, true, 1),
        (true, false, 3),
        (false, true, 3),
        (true, true, 3),
    ] {
        let hands = Hands::new();
        let clock = hands.clone();
        let numbers = (0..exophones).map(|n| format!("0804555010{n}")).collect();
        let simulator = Simulator::start(Options {
            accounts: vec![Account {
                exophones: numbers,
                ..Account::new("acme1", "simkey", "simtoken")
            }],
            clock: Arc::new(move || clock.now()),
            ..Options::default()
        })
        .await
        .unwrap();
        let database = Database::new();
        let table = database.quiet_table();
        let url = door(inbox(&database), hands.clone()).await;
        let heartbeat = Heartbeat {
            url,
            ..Heartbeat::default()
        };
        simulator.set_heartbeat(Some(heartbeat)).unwrap();
        let credentials = exotel::Credentials {
            account_sid: "acme1".to_owned(),
            api_key: "simkey".to_owned().into(),
            api_token: "simtoken".to_owned().into(),
        };
        let base_url = simulator.url().parse().unwrap();
        let client = exotel::Client::new(reqwest::Client::new(), base_url, credentials).unwrap();
        let monitor = Monitor::new(table.clone());
        let minute = async || {
            hands.pass(60);
            let push = async {
                if pushed {
                    let pushed = simulator.push_heartbeat().await.unwrap();
                    assert_eq!(pushed.status, Some(200), "{}", pushed.payload);
                }
            };
            let poll = async {
                if polled {
                    let run = monitor.poll(&client, &polling(&hands, 60), &hands).await.unwrap();
                    assert_eq!(
                        (run.asked, run.answered, run.stopped),
                        (exophones, exophones, None)
                    );
                }
            };
            tokio::join!(push, poll);
            alerts(&table, hands.now()).await
        };
        let set = |word: &str| {
            let health = ExophoneHealth {
                number: Some("08045550100".to_owned()),
                outgoing: Some(word.to_owned()),
                ..ExophoneHealth::default()
            };
            simulator.set_exophones(vec![health]).unwrap();
        };
        for _ in 0..3 {
            assert!(minute().await.is_empty());
        }
        set("major_outage");
        let since = hands.now();
        for _ in 0..5 {
            let told = minute().await;
            assert_eq!(told.len(), 1, "pushed {pushed}, polled {polled}: {told:?}");
        }
        let told = minute().await.remove(0);
        assert_eq!(
            (told.rule.as_str(), told.subject.as_str()),
            (EXOPHONE_AFFECTED.id, "08045550100")
        );
        assert_eq!((told.state, told.value), ("open", 2.0));
        assert!(told.raised_at.duration_since(since) <= SignedDuration::from_mins(2));
        set("active");
        let mut recovered = Vec::new();
        for _ in 0..6 {
            let told = minute().await;
            assert_eq!(told.len(), 1, "pushed {pushed}, polled {polled}: {told:?}");
            recovered.extend(told[0].recovered_at);
        }
        recovered.dedup();
        assert_eq!(recovered.len(), 1, "it recovered once and stays so");
        let view = services::health::exophones(&table, None, 10, None, hands.now())
            .await
            .unwrap();
        assert_eq!((view.affected, view.unknown), (0, 0));
        let sid: ExoPhoneSid = "08045550100".parse().unwrap();
        let checks = ChecksOf {
            sid: &sid,
            period: Period::new(None, None, hands.now()).unwrap(),
            limit: 100,
            after: None,
        };
        let checks = checks_of(&table, checks).await.unwrap().items;
        let by = |source: &str| checks.iter().filter(|check| check.source == source).count();
        let expected = |there: bool| if there { 15 } else { 0 };
        assert_eq!((by("push"), by("poll")), (expected(pushed), expected(polled)));
    }
}

fn polling(hands: &Hands, budget: usize) -> Polling {
    Polling {
        budget,
        interval: SignedDuration::from_mins(1),
        until: hands.now() + SignedDuration::from_secs(40),
        first: None,
    }
}

/// An Exotel that says what the test lays out, and counts.
struct Script {
    hands: Hands,
    /// How many ExoPhones the account has.
    exophones: usize,
    /// What is said instead, once each, in this order; status 0 is no answer.
    instead: RefCell<VecDeque<(u16, String)>>,
    asked: RefCell<Vec<String>>,
}

impl Script {
    fn new(hands: &Hands, exophones: usize) -> Self {
        Self {
            hands: hands.clone(),
            exophones,
            instead: RefCell::default(),
            asked: RefCell::default(),
        }
    }

    fn then(&self, status: u16, body: &str) -> &Self {
        self.instead.borrow_mut().push_back((status, body.to_owned()));
        self
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.borrow_mut())
    }
}

fn sid(n: usize) -> String {
    format!("0804{n:07}")
}

impl Exotel for Script {
    async fn send<R: exotel::Request>(&self, request: &R) -> Result<R::Answer, Error> {
        request.check()?;
        let path = request.path();
        let query = request.query();
        let number = |name: &str| {
            let found = query.iter().find(|(field, _)| field == name);
            found.map_or(0, |(_, value)| value.parse::<usize>().unwrap())
        };
        let (page, size) = (number("Page"), number("PageSize"));
        self.asked.borrow_mut().push(match path.get(1) {
            Some(sid) => sid.clone(),
            None => format!("page {page}"),
        });
        let (status, body) = match (self.instead.borrow_mut().pop_front(), path.get(1)) {
            (Some(instead), _) => instead,
            (None, Some(sid)) => (
                200,
                format!(
                    r#"{{"response":{{"status":"success","data":{{"sid":"{sid}","connectivity":{{"incoming_call":{{"status":"active"}},"outgoing_call":{{"status":"active"}}}}}}}}}}"#
                ),
            ),
            (None, None) => {
                let listed: Vec<String> = (page * size..self.exophones.min((page + 1) * size))
                    .map(|n| {
                        format!(
                            r#"{{"sid":"{0}","phone_number":"{0}","capabilities":{{"voice":true}}}}"#,
                            sid(n)
                        )
                    })
                    .collect();
                let next = if (page + 1) * size < self.exophones {
                    r#""http://x/""#
                } else {
                    "null"
                };
                (
                    200,
                    format!(
                        r#"{{"next_page_uri":{next},"incoming_phone_numbers":[{}]}}"#,
                        listed.join(",")
                    ),
                )
            }
        };
        if status == 0 {
            self.hands.pass(5);
            return Err(Error::Unconfirmed {
                status: None,
                refusal: None,
                source: None,
            });
        }
        classify(status, body.as_bytes())?;
        request.read(&Answer::new(status, body.into_bytes()))
    }
}

struct House {
    hands: Hands,
    table: Table,
    monitor: Monitor,
    exotel: Script,
}

impl House {
    fn new(exophones: usize) -> Self {
        let hands = Hands::new();
        let table = Database::new().quiet_table();
        Self {
            monitor: Monitor::new(table.clone()),
            exotel: Script::new(&hands, exophones),
            table,
            hands,
        }
    }

    async fn run(&self, budget: usize) -> Polled {
        self.hands.pass(60);
        self.monitor
            .poll(&self.exotel, &polling(&self.hands, budget), &self.hands)
            .await
            .unwrap()
    }

    async fn health(&self) -> Health {
        self.table.exophone_health().await.unwrap().aged(self.hands.now())
    }

    async fn told(&self) -> Vec<(String, &'static str)> {
        let told = alerts(&self.table, self.hands.now()).await;
        told.into_iter().map(|alert| (alert.rule, alert.state)).collect()
    }
}

const TOO_MANY: &str = r#"{"request_id":"a","http_code":429,"response":{"code":429,"error_data":{"code":1013,"message":"Too many requests"},"status":"failure","data":null}}"#;
const UNAVAILABLE: &str = r#"{"RestException":{"Status":503,"Message":"Service Unavailable","Code":35008}}"#;
const DENIED: &str = r#"{"RestException":{"Status":401,"Message":"Authentication failed","Code":34010}}"#;
const NOT_FOUND: &str = r#"{"RestException":{"Status":404,"Message":"Not found"}}"#;

#[tokio::test]
async fn all_are_asked_about_each_minute_when_they_fit_and_in_rotation_when_not() {
    let house = House::new(30);
    let run = house.run(60).await;
    assert_eq!((run.pages, run.asked, run.exophones, run.unknown), (1, 30, 30, 0));
    let run = house.run(60).await;
    assert_eq!((run.pages, run.asked), (0, 30), "the list is an hour old at most");
    house.hands.pass(3_600);
    assert_eq!(house.run(60).await.pages, 1);

    let house = House::new(170);
    let mut asked = Vec::new();
    for expected_pages in [4, 0, 0, 0] {
        let run = house.run(60).await;
        assert_eq!(
            (run.pages, run.pages + run.asked, run.stopped),
            (expected_pages, 60, None)
        );
        asked.extend(
            house
                .exotel
                .asked()
                .into_iter()
                .filter(|what| !what.starts_with("page")),
        );
    }
    let mut once: Vec<_> = asked.iter().take(170).cloned().collect();
    once.sort();
    once.dedup();
    assert_eq!(
        once.len(),
        170,
        "nobody has a second turn before everybody had one"
    );
    assert_eq!(
        house.health().await.unknown(),
        0,
        "nobody is stale while their turn comes"
    );
    assert!(house.told().await.is_empty());
}

#[tokio::test]
async fn a_long_list_is_read_over_several_runs_and_drops_nobody_meanwhile() {
    let house = House::new(1_000);
    let run = house.run(12).await;
    assert_eq!((run.pages, run.asked, run.exophones), (12, 0, 600));
    let run = house.run(12).await;
    assert_eq!((run.pages, run.asked), (6, 6));
    let run = house.run(12).await;
    assert_eq!((run.pages, run.exophones), (2, 1_000));
    assert_eq!(house.run(12).await.pages, 0);
}

#[tokio::test]
async fn too_many_requests_end_the_run_and_the_next_goes_on_there() {
    let house = House::new(10);
    house.run(60).await;
    house.exotel.asked();
    for _ in 0..4 {
        house.exotel.then(200, "{}");
    }
    house.exotel.then(429, TOO_MANY);
    let run = house.run(60).await;
    assert_eq!(
        (run.asked, run.answered, run.stopped),
        (5, 4, Some(Stopped::Throttled))
    );
    house.exotel.asked();
    house.run(60).await;
    assert_eq!(house.exotel.asked()[0], sid(4), "the one that was not looked at");
}

#[tokio::test]
async fn an_answer_that_nobody_understands_is_unknown_and_no_answer_is_unknown_after_minutes() {
    let house = House::new(3);
    house.run(60).await;
    house.exotel.then(
        200,
        r#"{"data":{"sid":"08040000000","connectivity":{"incoming_call":{"status":"sleepy"}}}}"#,
    );
    house.exotel.then(200, "<html>hello</html>");
    let run = house.run(60).await;
    assert_eq!((run.answered, run.unknown, run.affected), (3, 2, 0));
    assert_eq!(house.told().await, [(EXOPHONES_UNKNOWN.id.to_owned(), "open")]);
    for _ in 0..3 {
        house.run(60).await;
    }
    assert_eq!(
        house.told().await,
        [(EXOPHONES_UNKNOWN.id.to_owned(), "recovered")]
    );

    // Nothing but 503 and hangs from here.
    let mut unknown = Vec::new();
    for minute in 0..8 {
        for _ in 0..3 {
            match minute % 2 {
                0 => house.exotel.then(503, UNAVAILABLE),
                _ => house.exotel.then(0, ""),
            };
        }
        let run = house.run(60).await;
        assert_eq!((run.asked, run.answered), (3, 0));
        unknown.push(run.unknown);
    }
    assert_eq!(
        unknown[..4],
        [0; 4],
        "several minutes are not held against anybody"
    );
    assert_eq!(unknown[6..], [3; 2]);
    assert_eq!(
        house.told().await[1..],
        [(HEARTBEAT_SILENT.id.to_owned(), "open")],
        "one cause, one alert"
    );
    house.run(60).await;
    assert_eq!(
        house.told().await[1..],
        [(HEARTBEAT_SILENT.id.to_owned(), "recovered")]
    );
    assert_eq!(house.health().await.unknown(), 0);
}

#[tokio::test]
async fn a_silent_exotel_and_wrong_credentials_end_a_run_early() {
    let house = House::new(40);
    house.run(60).await;
    for _ in 0..5 {
        house.exotel.then(0, "");
    }
    let run = house.run(60).await;
    assert_eq!((run.asked, run.stopped), (5, Some(Stopped::Unanswered)));
    let run = house.exotel.then(401, DENIED);
    let run = (run, house.run(60).await).1;
    assert_eq!((run.asked, run.stopped), (1, Some(Stopped::Unauthorized)));
    // A slow one uses up the time.
    for n in 0..40 {
        if n % 2 == 0 {
            house.exotel.then(0, "");
        } else {
            house.exotel.then(200, "{}");
        }
    }
    let run = house.run(60).await;
    assert_eq!(run.stopped, Some(Stopped::OutOfTime));
    assert!(run.asked < 20, "{run:?}");
}

#[tokio::test]
async fn who_is_not_in_the_account_any_more_is_dropped_with_the_next_list() {
    let mut house = House::new(3);
    house.run(60).await;
    house.exotel.exophones = 2;
    house.exotel.then(404, NOT_FOUND);
    house.run(60).await;
    let run = house.run(60).await;
    assert_eq!((run.pages, run.exophones), (1, 2));
    // A page that is none of Exotel's drops nobody.
    house.hands.pass(3_600);
    house.exotel.then(200, "<html>maintenance</html>");
    let run = house.run(60).await;
    assert_eq!((run.pages, run.asked, run.exophones), (1, 2, 2));
}

fn push(now: Timestamp, status: &str, outgoing: &[&str]) -> Vec<u8> {
    serde_json::json!({
        "timestamp": now.to_string(),
        "status_type": status,
        "incoming_affected": null,
        "outgoing_affected": outgoing,
        "data": {},
    })
    .to_string()
    .into_bytes()
}

#[tokio::test]
async fn whatever_is_pushed_is_kept_and_what_is_no_heartbeat_changes_nothing() {
    let database = Database::new();
    let (table, inbox, hands) = (database.quiet_table(), inbox(&database), Hands::new());
    let first = push(hands.now(), "WARNING", &["08045550100"]);
    assert_eq!(receive(&inbox, &first, hands.now()).await, KEPT);
    let before = table.exophone_health().await.unwrap();
    hands.pass(60);
    let bodies: [&[u8]; 9] = [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe\x00",
        br#"{"status_type":null,"incoming_affected":true,"data":7}"#,
        br#"{"timestamp":"2026-11-20T08:40:00Z"}"#,
        b"status_type=OK",
        br#"{"password":"hunter2hunter2"}"#,
    ];
    for body in bodies {
        let receipt = receive(&inbox, body, hands.now()).await;
        let unhandled = Receipt::Kept {
            success: true,
            handled: false,
        };
        assert_eq!(receipt, unhandled, "{}", String::from_utf8_lossy(body));
    }
    assert_eq!(table.exophone_health().await.unwrap(), before);
    let owner = EventOwner::Sid("heartbeat".to_owned());
    let kept = table.raw_events_of(&owner).await.unwrap();
    assert_eq!(kept.len(), 1 + bodies.len());
    assert!(kept.iter().all(|event| event.purpose == "heartbeat"));
    assert!(
        kept.iter()
            .all(|event| !String::from_utf8_lossy(&event.body).contains("hunter2"))
    );
    assert!(
        kept.iter().all(|event| event.query.is_none()),
        "the token is not kept"
    );
    let view = RawEventView::new(kept[0].clone(), false);
    assert_eq!((view.purpose.as_str(), view.unknown_sid), ("heartbeat", None));
}

#[tokio::test]
async fn ten_thousand_numbers_are_taken_in_and_a_push_too_long_to_keep_says_so() {
    let database = Database::new();
    let (table, inbox, hands) = (database.quiet_table(), inbox(&database), Hands::new());
    receive(
        &inbox,
        &push(hands.now(), "WARNING", &["08045550100"]),
        hands.now(),
    )
    .await;
    let sids: Vec<String> = (0..10_000).map(sid).collect();
    let sids: Vec<&str> = sids.iter().map(String::as_str).collect();
    hands.pass(60);
    let many = push(hands.now(), "WARNING", &sids);
    assert!(many.len() < LONGEST_HEARTBEAT);
    assert_eq!(receive(&inbox, &many, hands.now()).await, KEPT);
    let health = table.exophone_health().await.unwrap();
    assert_eq!(
        health.affected(),
        9_999,
        "the state holds ten thousand, and the first one is ok now"
    );
    assert_eq!(
        alerts(&table, hands.now()).await.len(),
        11,
        "the others follow with the next word"
    );
    hands.pass(60);
    let long = push(hands.now(), "CRITICAL", &vec!["08045550100"; 40_000]);
    assert!(long.len() > LONGEST_HEARTBEAT);
    assert_eq!(receive(&inbox, &long, hands.now()).await, KEPT);
    let view = exophones(&table, None, 1, None, hands.now()).await.unwrap();
    assert_eq!(view.status_type.as_deref(), Some("PAYLOAD_TOO_LARGE"));
    let kept = table
        .raw_events_of(&EventOwner::Sid("heartbeat".to_owned()))
        .await;
    assert!(
        kept.unwrap()
            .iter()
            .any(|event| event.body.starts_with(b"{\"status_type\":\"PAYLOAD_TOO_LARGE\""))
    );
}

#[tokio::test]
async fn a_push_that_the_table_did_not_take_is_applied_later_and_overwrites_nothing_newer() {
    let database = Database::new();
    let (table, hands) = (database.quiet_table(), Hands::new());
    let broken = database.aws(Arc::new(|operation: &str| {
        let lost = operation != "SendMessage";
        Box::pin(std::future::ready(if lost { Fate::Lost } else { Fate::Answered }))
    }));
    let client = aws_sdk_dynamodb::Client::new(&broken);
    let queue = WebhookQueue::new(broken, "https://sqs.invalid/1/webhook-events");
    let lame = Inbox::new(Table::new(client, dynamo::TABLE_NAME), queue);
    let outage = push(hands.now(), "WARNING", &["08045550100"]);
    let receipt = receive(&lame, &outage, hands.now()).await;
    let queued = Receipt::Kept {
        success: false,
        handled: false,
    };
    assert_eq!(receipt, queued);
    hands.pass(60);
    let ok = push(hands.now(), "OK", &[]);
    // Somebody must know it for the push to speak of it.
    let word = push(
        hands.now() - SignedDuration::from_secs(1),
        "WARNING",
        &["08045550100"],
    );
    receive(&inbox(&database), &word, hands.now()).await;
    receive(&inbox(&database), &ok, hands.now()).await;
    let message: WebhookMessage = serde_json::from_str(&database.take_sent().remove(0).body).unwrap();
    let replay = Replay::new(table.clone());
    for _ in 0..2 {
        assert_eq!(replay.run(message.clone()).await.unwrap(), Replayed::Handled);
    }
    let health = table.exophone_health().await.unwrap();
    let phone = health.phones.values().next().unwrap();
    assert_eq!(phone.outgoing.as_ref().unwrap().said.status, Status::Ok);
    assert_eq!(health.account.map(String::from).as_deref(), Some("OK"));
    let kept = table
        .raw_events_of(&EventOwner::Sid("heartbeat".to_owned()))
        .await
        .unwrap();
    assert_eq!(kept.len(), 3);
    assert!(kept.iter().all(|event| event.handled == Some(true)));
    // An operator's replay of a kept one is no different.
    for event in kept {
        let again = WebhookMessage::replay(&event.id(), None);
        assert_eq!(replay.run(again).await.unwrap(), Replayed::Handled);
    }
    assert_eq!(table.exophone_health().await.unwrap().affected(), 0);
    assert_eq!(alerts(&table, hands.now()).await.len(), 1);
}
