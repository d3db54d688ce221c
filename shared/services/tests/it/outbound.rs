//! What the queue's worker and the sweep do, case by case.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use domain::{
    call::{Call, CallOrigin, CallProgress, CallReport, CallState, ExotelCall, Outcome, ReportSource},
    directory::Lead,
    idempotency::{RUNS_FOR, Sameness, Scope},
    ids::{CallId, CallLocator, LeadId, SmsId, SmsLocator},
    outbound_limit::Class,
    phone::Country,
    sms::{Sms, SmsProgress, SmsReport, SmsState},
    toll_fraud::{Destinations, Quota, Quotas},
};
use exotel::{Error, classify, default_zone, format_time};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use services::outbound::{
    Account, Exotel, Outbound, Request, Rules, SmsSettings, Step, Swept, Task, clock::World, limiter::Limiter,
};
use table::Table;

use crate::database::Database;

/// A clock that moves when somebody waits, or when the test says so.
struct Hands(Mutex<Timestamp>, AtomicU64);

impl World for Hands {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        *self.0.lock().unwrap() += duration;
        Box::pin(tokio::task::yield_now())
    }

    fn random(&self) -> u128 {
        u128::from(self.1.fetch_add(1, Ordering::Relaxed))
    }
}

/// Answers in the order they were laid out, and remembers what was asked: method, path, fields.
#[derive(Default)]
struct Exchange {
    answers: RefCell<VecDeque<(u16, String)>>,
    asked: RefCell<Vec<String>>,
}

impl Exotel for &Exchange {
    async fn send<R: exotel::Request>(&self, request: &R) -> Result<R::Answer, Error> {
        request.check()?;
        let fields = |list: Vec<(Cow<'static, str>, String)>| {
            list.iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
                .join("&")
        };
        let method = if request.form().is_some() { "POST" } else { "GET" };
        let said = fields(request.form().unwrap_or_else(|| request.query()));
        self.asked
            .borrow_mut()
            .push(format!("{method} {} {said}", request.path().join("/")));
        let (status, body) = self
            .answers
            .borrow_mut()
            .pop_front()
            .expect("one request too many");
        // No answer at all.
        if status == 0 {
            return Err(Error::Unconfirmed {
                status: None,
                refusal: None,
                source: None,
            });
        }
        classify(status, body.as_bytes())?;
        request.read(&exotel::Answer::new(status, body.into_bytes()))
    }
}

struct House {
    database: Database,
    table: Table,
    outbound: Outbound,
    hands: Arc<Hands>,
    exchange: &'static Exchange,
    account: Account<&'static Exchange>,
}

const BUSY: &str = r#"{"RestException":{"Status":429,"Message":"Too many requests"}}"#;

fn start() -> Timestamp {
    "2026-11-20T08:30:00Z".parse().unwrap()
}

impl House {
    async fn new() -> Self {
        let database = Database::new();
        let table = database.quiet_table();
        let hands = Arc::new(Hands(Mutex::new(start()), AtomicU64::new(0)));
        let none = Quota {
            per_hour: None,
            per_day: 0,
        };
        let rules = Rules {
            enabled: true,
            destinations: Destinations::Country(Country::IN),
            quotas: Quotas {
                user: none,
                lead: none,
                account: none,
            },
            zone: TimeZone::UTC,
            country: Country::IN,
        };
        let limiter = Limiter::new(table.clone(), hands.clone(), 200, 200);
        let exchange: &'static Exchange = Box::leak(Box::default());
        let account = Account {
            exotel: exchange,
            caller_id: "+918045550100".parse().unwrap(),
            sms: SmsSettings {
                sender: "ACMEIN".to_owned(),
                sms_type: None,
                dlt_entity_id: None,
                dlt_template_id: None,
            },
            bot: None,
            call_callback: Arc::new(|call| format!("https://hooks.example.in/{call}")),
            sms_callback: Arc::new(|sms| format!("https://hooks.example.in/{sms}")),
        };
        for id in ["lead-1", "lead-2"] {
            let lead = Lead {
                id: id.parse().unwrap(),
                name: "Asha Rao".to_owned(),
                phone: "+919811100002".parse().unwrap(),
                owning_sales_head_id: None,
                assigned_to: None,
                call_count: 0,
                last_contacted_at: None,
            };
            table.put_lead(&lead).await.unwrap();
        }
        Self {
            database,
            outbound: Outbound::new(table.clone(), limiter, hands.clone(), rules),
            table,
            hands,
            exchange,
            account,
        }
    }

    /// A call of this lead in this state, wanted now.
    async fn call(&self, lead: &str, state: CallState) -> CallLocator {
        let now = self.hands.now();
        let locator = CallLocator {
            id: CallId::new(now, self.hands.random()),
            lead_id: lead.parse::<LeadId>().unwrap(),
        };
        let call = Call {
            locator: locator.clone(),
            called_by: Some("sales-1".parse().unwrap()),
            called_at: now,
            notes: None,
            origin: CallOrigin::Exotel(Box::new(ExotelCall {
                agent_phone: "+919811100001".parse().unwrap(),
                lead_phone: "+919811100002".parse().unwrap(),
                caller_id: "+918045550100".parse().unwrap(),
                to_bot: false,
                attempt: u32::from(state != CallState::Waiting),
                reason: None,
                progress: CallProgress::new(state),
            })),
        };
        self.table.create_call(&call).await.unwrap();
        self.table.open_call(&locator).await.unwrap();
        locator
    }

    async fn sms(&self, state: SmsState) -> SmsLocator {
        let now = self.hands.now();
        let locator = SmsLocator {
            id: SmsId::new(now, self.hands.random()),
            lead_id: "lead-1".parse().unwrap(),
        };
        let sms = Sms {
            locator: locator.clone(),
            sent_by: "sales-1".parse().unwrap(),
            sent_at: now,
            to_phone: "+919811100002".parse().unwrap(),
            body: "Hello".to_owned(),
            attempt: u32::from(state != SmsState::Waiting),
            reason: None,
            progress: SmsProgress::new(state),
        };
        self.table.create_sms(&sms).await.unwrap();
        self.table.open_sms(&locator).await.unwrap();
        locator
    }

    async fn accepted(&self, call: &CallLocator, sid: &str) {
        let mut report = CallReport::new(ReportSource::Details, Some(CallState::Accepted));
        report.sid = Some(sid.parse().unwrap());
        self.table.record_call_report(call, &report).await.unwrap();
    }

    fn answer(&self, status: u16, body: impl Into<String>) -> &Self {
        self.exchange
            .answers
            .borrow_mut()
            .push_back((status, body.into()));
        self
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.exchange.asked.borrow_mut())
    }

    fn pass(&self, duration: SignedDuration) {
        *self.hands.0.lock().unwrap() += duration;
    }

    async fn work(&self, task: Task) -> Step {
        self.outbound.work(Some(&self.account), task).await
    }

    async fn sweep(&self) -> Swept {
        let until = self.hands.now() + SignedDuration::from_secs(30);
        self.outbound.sweep(Some(&self.account), until).await.unwrap()
    }

    async fn state(&self, call: &CallLocator) -> CallState {
        self.row(call).await.exotel().unwrap().progress.state
    }

    async fn row(&self, call: &CallLocator) -> Call {
        self.table.call(call).await.unwrap().unwrap()
    }

    async fn sms_state(&self, sms: &SmsLocator) -> SmsState {
        self.table.sms(sms).await.unwrap().unwrap().progress.state
    }

    async fn open(&self) -> usize {
        let calls = self
            .table
            .open_calls(self.hands.now(), None)
            .await
            .unwrap()
            .items
            .len();
        calls
            + self
                .table
                .open_sms_messages(self.hands.now(), None)
                .await
                .unwrap()
                .items
                .len()
    }
}

fn place(call: &CallLocator, attempt: u32, refusals: u32) -> Task {
    Task::PlaceCall {
        call: call.clone(),
        attempt,
        refusals,
    }
}

fn resolve(call: &CallLocator, step: u32) -> Task {
    Task::ResolveCall {
        call: call.clone(),
        step,
        sid: None,
    }
}

fn accepted(sid: &str) -> String {
    format!(r#"{{"Call":{{"Sid":"{sid}","Status":"in-progress"}}}}"#)
}

/// A call as details and the list have it.
fn ended(sid: &str, created: Timestamp, status: &str, talk_secs: Option<u32>) -> String {
    let created = format_time(created, &default_zone());
    let details = talk_secs
        .map(|secs| format!(r#","Details":{{"ConversationDuration":{secs}}}"#))
        .unwrap_or_default();
    format!(
        r#"{{"Sid":"{sid}","DateCreated":"{created}","From":"09811100001","To":"09811100002","PhoneNumberSid":"08045550100","Status":"{status}","Price":"1.5"{details}}}"#
    )
}

fn list(calls: &[String]) -> String {
    format!(
        r#"{{"Metadata":{{"NextPageUri":null}},"Calls":[{}]}}"#,
        calls.join(",")
    )
}

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

#[tokio::test]
async fn a_waiting_call_is_placed_once_however_often_its_message_comes() {
    let house = House::new().await;
    let call = house.call("lead-1", CallState::Waiting).await;
    house.answer(200, accepted("abc"));
    assert_eq!(house.work(place(&call, 1, 0)).await, Step::Done);
    assert_eq!(house.work(place(&call, 1, 0)).await, Step::Done);
    assert_eq!(house.work(place(&call, 2, 1)).await, Step::Done);
    assert_eq!(house.asked().len(), 1);
    assert_eq!(house.state(&call).await, CallState::Accepted);
    assert_eq!(
        house.table.call_by_sid(&"abc".parse().unwrap()).await.unwrap(),
        Some(call)
    );
}

#[tokio::test]
async fn a_clear_refusal_is_retried_three_times_with_growing_delays_and_then_buried() {
    let house = House::new().await;
    let call = house.call("lead-1", CallState::Waiting).await;
    let mut task = place(&call, 1, 0);
    let mut delays = vec![];
    for refusals in 1..=3 {
        house.answer(429, BUSY);
        let Step::Next { task: next, delay } = house.work(task).await else {
            panic!("no retry {refusals}")
        };
        assert_eq!(next, place(&call, refusals + 1, refusals));
        assert_eq!(house.row(&call).await.outcome(), Outcome::ExotelQueued);
        delays.push(delay);
        house.pass(delay);
        task = next;
    }
    assert!(delays.is_sorted() && delays[0] < delays[2], "{delays:?}");
    house.answer(429, BUSY);
    let Step::Dead { reason } = house.work(task.clone()).await else {
        panic!("not buried")
    };
    assert!(reason.contains("4 refusals"), "{reason}");
    let row = house.row(&call).await;
    assert_eq!(
        (row.outcome(), row.exotel().unwrap().progress.state),
        (Outcome::Disconnected, CallState::GaveUp)
    );
    assert_eq!(house.asked().len(), 4);
    assert_eq!(house.work(task).await, Step::Done, "redriven");
}

#[tokio::test]
async fn waiting_for_a_slot_counts_for_nothing() {
    let house = House::new().await;
    let call = house.call("lead-1", CallState::Waiting).await;
    let free = start() + SignedDuration::from_secs(40);
    house.table.push_forward(Class::Voice, free).await.unwrap();
    let Step::Next { task, delay } = house.work(place(&call, 1, 0)).await else {
        panic!("not sent back")
    };
    assert_eq!(task, place(&call, 1, 0));
    // A slot 40 s ahead comes within a click's 10 s in 30 s.
    assert!((30..=36).contains(&delay.as_secs()), "{delay}");
    house.pass(delay);
    house.answer(200, accepted("abc"));
    assert_eq!(house.work(task).await, Step::Done);
    assert!(house.hands.now() >= free);
}

#[tokio::test]
async fn a_click_older_than_two_minutes_is_not_placed_any_more() {
    let house = House::new().await;
    let call = house.call("lead-1", CallState::Waiting).await;
    house.pass(MINUTE * 2 + SignedDuration::from_millis(1));
    assert_eq!(house.work(place(&call, 1, 0)).await, Step::Done);
    let row = house.row(&call).await;
    assert_eq!(
        (row.outcome(), row.exotel().unwrap().progress.state),
        (Outcome::Disconnected, CallState::Expired)
    );
    assert!(row.exotel().unwrap().reason.is_some());
    // Also when the two minutes end while it waits for its slot.
    let call = house.call("lead-1", CallState::Waiting).await;
    house.pass(SignedDuration::from_secs(115));
    let soon = house.hands.now() + SignedDuration::from_secs(9);
    house.table.push_forward(Class::Voice, soon).await.unwrap();
    house.work(place(&call, 1, 0)).await;
    assert_eq!(house.state(&call).await, CallState::Expired);
    assert!(house.asked().is_empty());
}

#[tokio::test]
async fn while_outbound_is_stopped_or_not_configured_clicks_wait_until_they_expire() {
    let house = House::new().await;
    let call = house.call("lead-1", CallState::Waiting).await;
    house.table.pause_outbound(start()).await.unwrap();
    let mut waited = 0;
    let mut task = place(&call, 1, 0);
    while let Step::Next { task: next, delay } = house
        .outbound
        .work(Some(&house.account).filter(|_| waited % 2 == 0), task.clone())
        .await
    {
        house.pass(delay);
        task = next;
        waited += 1;
    }
    assert_eq!((waited, house.state(&call).await), (5, CallState::Expired));
    assert!(house.asked().is_empty());
}

#[tokio::test]
async fn a_request_without_an_answer_is_looked_for_after_15_s_60_s_and_5_min() {
    let house = House::new().await;
    let call = house.call("lead-1", CallState::Waiting).await;
    house.answer(0, "");
    let mut step = house.work(place(&call, 1, 0)).await;
    assert_eq!(house.row(&call).await.outcome(), Outcome::Unconfirmed);
    let mut at = SignedDuration::ZERO;
    let mut ats = vec![];
    while let Step::Next { task, delay } = step {
        at += delay;
        ats.push(at.as_secs());
        house.pass(delay);
        house.answer(200, list(&[]));
        step = house.work(task).await;
    }
    assert_eq!((ats, step), (vec![15, 60, 300], Step::Done));
    assert_eq!(house.asked().len(), 4);
    assert_eq!(house.row(&call).await.outcome(), Outcome::Unconfirmed);
}

#[tokio::test]
async fn the_one_call_in_the_list_that_matches_is_taken_with_its_details() {
    let house = House::new().await;
    let call = house.call("lead-1", CallState::Unconfirmed).await;
    house.pass(MINUTE);
    let other_pair = ended("b", start(), "completed", None).replace("09811100002", "09811100003");
    let other_exophone = ended("c", start(), "completed", None).replace("08045550100", "08045550101");
    let too_early = ended("d", start() - MINUTE, "completed", None);
    let too_late = ended("e", start() + MINUTE * 5, "completed", None);
    let ours = ended("a", start() + SignedDuration::from_secs(1), "completed", None);
    house.answer(
        200,
        list(&[other_pair, other_exophone, too_early, ours, too_late]),
    );
    house.answer(
        200,
        format!(r#"{{"Call":{}}}"#, ended("a", start(), "completed", Some(41))),
    );
    assert_eq!(house.work(resolve(&call, 0)).await, Step::Done);
    let asked = house.asked();
    assert!(
        asked[0].starts_with("GET Calls.json") && asked[0].contains("From=+919811100001"),
        "{asked:?}"
    );
    assert!(
        asked[1].starts_with("GET Calls/a.json") && asked[1].contains("details=true"),
        "{asked:?}"
    );
    let row = house.row(&call).await;
    assert_eq!(
        (row.outcome(), row.duration_secs()),
        (Outcome::Connected, Some(41))
    );
}

#[tokio::test]
async fn of_two_candidates_neither_is_taken() {
    let house = House::new().await;
    let call = house.call("lead-1", CallState::Unconfirmed).await;
    house.answer(
        200,
        list(&[
            ended("a", start(), "busy", None),
            ended("b", start(), "completed", None),
        ]),
    );
    assert!(matches!(house.work(resolve(&call, 0)).await, Step::Next { .. }));
    assert_eq!(house.state(&call).await, CallState::Unconfirmed);
    // A call that is known to be another click's is no candidate.
    let other = house.call("lead-2", CallState::InFlight).await;
    house.accepted(&other, "b").await;
    house.answer(
        200,
        list(&[
            ended("a", start(), "busy", None),
            ended("b", start(), "completed", None),
        ]),
    );
    assert_eq!(house.work(resolve(&call, 0)).await, Step::Done);
    assert_eq!(house.state(&call).await, CallState::Busy);
}

#[tokio::test]
async fn one_candidate_for_two_unconfirmed_clicks_is_taken_by_neither() {
    let house = House::new().await;
    let first = house.call("lead-1", CallState::Unconfirmed).await;
    house.pass(SignedDuration::from_secs(20));
    // The same number, under another lead.
    let second = house.call("lead-2", CallState::Unconfirmed).await;
    for call in [&first, &second] {
        house.answer(200, list(&[ended("a", start(), "busy", None)]));
        assert!(matches!(house.work(resolve(call, 2)).await, Step::Done));
        assert_eq!(house.state(call).await, CallState::Unconfirmed);
    }
}

#[tokio::test]
async fn a_callback_makes_looking_needless() {
    let house = House::new().await;
    let call = house.call("lead-1", CallState::Unconfirmed).await;
    house.accepted(&call, "abc").await;
    assert_eq!(house.work(resolve(&call, 0)).await, Step::Done);
    let erased: CallLocator = "call_01kak5yv7z8e4f9y2f4w6r8t0v.lead-9".parse().unwrap();
    assert_eq!(house.work(resolve(&erased, 0)).await, Step::Done);
    assert_eq!(house.work(place(&erased, 1, 0)).await, Step::Done);
    assert!(house.asked().is_empty());
}

#[tokio::test]
async fn a_sid_that_could_not_be_written_travels_in_the_message() {
    let house = House::new().await;
    let call = house.call("lead-1", CallState::InFlight).await;
    let sid = Some("abc".parse().unwrap());
    assert_eq!(
        house
            .work(Task::ResolveCall {
                call: call.clone(),
                step: 0,
                sid
            })
            .await,
        Step::Done
    );
    assert_eq!(house.state(&call).await, CallState::Accepted);
    assert!(
        house
            .table
            .call_by_sid(&"abc".parse().unwrap())
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn the_sweep_expires_what_waits_and_finds_what_a_dead_function_left() {
    let house = House::new().await;
    let waiting = house.call("lead-1", CallState::Waiting).await;
    house.pass(SignedDuration::from_secs(30));
    let in_flight = house.call("lead-1", CallState::InFlight).await;
    house.pass(MINUTE * 2);
    assert_eq!(house.sweep().await, Swept::default(), "too young");
    house.pass(MINUTE + SignedDuration::from_secs(1));
    house.answer(
        200,
        list(&[ended(
            "a",
            start() + SignedDuration::from_secs(31),
            "no-answer",
            None,
        )]),
    );
    let swept = house.sweep().await;
    assert_eq!(
        (swept.read, swept.settled, swept.looked_up),
        (2, 2, 1),
        "{swept:?}"
    );
    assert_eq!(house.state(&waiting).await, CallState::Expired);
    assert_eq!(house.state(&in_flight).await, CallState::NoAnswer);
    house.pass(MINUTE * 2);
    assert_eq!(house.sweep().await.closed, 2);
    assert_eq!(house.open().await, 0);
}

#[tokio::test]
async fn a_dispatched_call_whose_callbacks_were_lost_is_settled_by_its_details() {
    let house = House::new().await;
    let call = house.call("lead-1", CallState::InFlight).await;
    house.accepted(&call, "abc").await;
    house.pass(MINUTE * 3 + SignedDuration::from_secs(1));
    house.answer(200, accepted("abc"));
    house.sweep().await;
    assert_eq!(
        house.row(&call).await.outcome(),
        Outcome::ExotelDispatched,
        "still going on"
    );
    house.pass(MINUTE * 2);
    house.answer(503, "<html>");
    house.sweep().await;
    house.pass(MINUTE * 3);
    house.answer(
        200,
        format!(r#"{{"Call":{}}}"#, ended("abc", start(), "completed", Some(166))),
    );
    house.sweep().await;
    let row = house.row(&call).await;
    assert_eq!(
        (row.outcome(), row.duration_secs()),
        (Outcome::Connected, Some(166))
    );
}

#[tokio::test]
async fn without_evidence_a_call_is_lost_after_4_h_15_min_and_later_evidence_repairs_it() {
    let house = House::new().await;
    let call = house.call("lead-1", CallState::Unconfirmed).await;
    house.pass(SignedDuration::from_secs(5));
    let mut looked_up = 0;
    for _ in 0..255 {
        house.pass(MINUTE);
        house.answer(200, list(&[]));
        looked_up += house.sweep().await.looked_up;
    }
    assert_eq!(house.row(&call).await.outcome(), Outcome::Lost);
    assert_eq!(looked_up, 10);
    assert!(house.row(&call).await.exotel().unwrap().reason.is_some());
    house.pass(MINUTE);
    assert_eq!(house.sweep().await.closed, 1);
    let late = CallReport::new(ReportSource::Callback, Some(CallState::Busy));
    house.table.record_call_report(&call, &late).await.unwrap();
    assert_eq!(house.row(&call).await.outcome(), Outcome::NotPicked);
}

#[tokio::test]
async fn look_ups_have_slots_like_everything_else_and_go_on_while_outbound_is_stopped() {
    let house = House::new().await;
    let call = house.call("lead-1", CallState::Unconfirmed).await;
    house.table.pause_outbound(start()).await.unwrap();
    let free = start() + SignedDuration::from_secs(30);
    house.table.push_forward(Class::Voice, free).await.unwrap();
    let Step::Next { task, delay } = house.work(resolve(&call, 1)).await else {
        panic!("not sent back")
    };
    assert_eq!(task, resolve(&call, 1), "uncounted");
    assert!(delay >= SignedDuration::from_secs(28), "{delay}");
    house.pass(delay);
    house.answer(200, list(&[ended("a", start(), "busy", Some(0))]));
    assert_eq!(house.work(task).await, Step::Done);
    assert_eq!(house.state(&call).await, CallState::Busy);
}

#[tokio::test]
async fn a_message_is_sent_from_the_queue_and_its_end_looked_up_or_lost() {
    let house = House::new().await;
    let sent = house.sms(SmsState::Waiting).await;
    house.answer(200, r#"{"SMSMessage":{"Sid":"s1","Status":"queued"}}"#);
    let task = Task::SendSms {
        sms: sent.clone(),
        attempt: 1,
        refusals: 0,
    };
    assert_eq!(house.work(task.clone()).await, Step::Done);
    assert_eq!(house.work(task).await, Step::Done);
    assert_eq!(house.asked().len(), 1);
    let unconfirmed = house.sms(SmsState::Waiting).await;
    house.answer(0, "");
    let task = Task::SendSms {
        sms: unconfirmed.clone(),
        attempt: 1,
        refusals: 0,
    };
    assert_eq!(house.work(task).await, Step::Done, "there is no list to look in");
    let waiting = house.sms(SmsState::Waiting).await;
    let on_its_way = house.sms(SmsState::InFlight).await;
    let mut report = SmsReport::new(ReportSource::Callback, Some(SmsState::Sent));
    report.sid = Some("s2".parse().unwrap());
    house.table.record_sms_report(&on_its_way, &report).await.unwrap();
    for minute in 1..=1_441 {
        house.pass(MINUTE);
        for sid in ["s1", "s2"] {
            let status = if minute < 30 { "queued" } else { "sent" };
            house.answer(
                200,
                format!(
                    r#"{{"SMSMessage":{{"Sid":"{sid}","Status":"{status}","DetailedStatusCode":20005}}}}"#
                ),
            );
        }
        house.sweep().await;
        house.exchange.answers.borrow_mut().clear();
    }
    assert_eq!(house.sms_state(&sent).await, SmsState::Delivered);
    assert_eq!(house.sms_state(&unconfirmed).await, SmsState::Lost);
    assert_eq!(house.sms_state(&waiting).await, SmsState::Expired);
    assert_eq!(house.sms_state(&on_its_way).await, SmsState::Delivered);
    assert_eq!(house.open().await, 0);
}

#[tokio::test]
async fn a_message_that_stays_sent_is_final_after_a_day() {
    let house = House::new().await;
    let sms = house.sms(SmsState::InFlight).await;
    let mut report = SmsReport::new(ReportSource::Callback, Some(SmsState::Sent));
    report.sid = Some("s2".parse().unwrap());
    house.table.record_sms_report(&sms, &report).await.unwrap();
    house.pass(SignedDuration::from_hours(24));
    house.answer(
        200,
        r#"{"SMSMessage":{"Sid":"s2","Status":"sent","DetailedStatusCode":20006}}"#,
    );
    house.sweep().await;
    assert_eq!(house.sms_state(&sms).await, SmsState::Sent);
    assert_eq!(house.open().await, 0);
}

#[tokio::test]
async fn without_an_account_the_sweep_still_ends_what_is_too_old() {
    let house = House::new().await;
    let call = house.call("lead-1", CallState::Unconfirmed).await;
    house.pass(SignedDuration::from_hours(5));
    let until = house.hands.now() + MINUTE;
    house.outbound.sweep::<&Exchange>(None, until).await.unwrap();
    assert_eq!(house.state(&call).await, CallState::Lost);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_keeps_no_other_from_its_end() {
    let house = House::new().await;
    let broken = house.call("lead-1", CallState::Waiting).await;
    let waiting = house.call("lead-1", CallState::Waiting).await;
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let client = aws_sdk_dynamodb::Client::new(&house.database.quiet_aws());
    client
        .update_item()
        .table_name(dynamo::TABLE_NAME)
        .key("PK", text("LEAD#lead-1"))
        .key("SK", text(&format!("CALL#{}", broken.id)))
        .update_expression("SET #state = :nonsense")
        .expression_attribute_names("#state", "state")
        .expression_attribute_values(":nonsense", text("nonsense"))
        .send()
        .await
        .unwrap();
    house.pass(MINUTE * 3 + SignedDuration::from_secs(1));
    let swept = house.sweep().await;
    assert_eq!((swept.left, swept.settled), (1, 1), "{swept:?}");
    assert_eq!(house.state(&waiting).await, CallState::Expired);
}

/// Two ExoPhones: the caller id's outgoing calls as said, the other one's ok.
async fn heard(house: &House, word: &str) {
    use domain::health::{ListedExoPhone, Said, SideSaid, Status};
    let (own, other) = ("08045550100".parse().unwrap(), "08045550199".parse().unwrap());
    let now = house.hands.now();
    let listed = |sid: &domain::ids::ExoPhoneSid| ListedExoPhone {
        sid: sid.clone(),
        number: Some(sid.to_string()),
        name: None,
        voice: Some(true),
        sms: None,
    };
    let said = |word| Said {
        outgoing: Some(SideSaid::bare(Status::from_exotel(Some(word)))),
        ..Said::default()
    };
    house
        .table
        .change_exophone_health(|health| {
            health.hear_list(vec![listed(&own), listed(&other)], now);
            health.hear_answer(&own, &said(word), now);
            health.hear_answer(&other, &said("active"), now);
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_queued_call_shows_a_healthy_alternate_while_the_caller_id_cannot_call() {
    let house = House::new().await;
    let shown = async |call: &CallLocator| {
        house
            .answer(200, accepted(&format!("{}a", call.id.as_str().replace('_', ""))))
            .work(place(call, 1, 0))
            .await;
        let asked = house.asked().pop().unwrap();
        let row = house.row(call).await.exotel().unwrap().caller_id.clone();
        assert!(
            asked.contains(&format!("CallerId={row}")),
            "the row says what was sent: {asked}"
        );
        row.to_string()
    };
    heard(&house, "sleepy").await;
    let call = house.call("lead-1", CallState::Waiting).await;
    assert_eq!(shown(&call).await, "+918045550100", "unknown is not passed over");
    heard(&house, "major_outage").await;
    let call = house.call("lead-1", CallState::Waiting).await;
    assert_eq!(shown(&call).await, "+918045550100", "what was read a moment ago");
    house.pass(SignedDuration::from_secs(16));
    heard(&house, "major_outage").await;
    let call = house.call("lead-1", CallState::Waiting).await;
    assert_eq!(shown(&call).await, "+918045550199");
    // The call list still finds it, and not under the caller id that was passed over.
    let call = house.call("lead-1", CallState::Waiting).await;
    house.answer(0, "").work(place(&call, 1, 0)).await;
    let created = house.hands.now();
    for (exophone, state) in [
        ("08045550100", CallState::Unconfirmed),
        ("08045550199", CallState::Completed),
    ] {
        let listed = ended("abcd", created, "completed", Some(9)).replace("08045550100", exophone);
        let page = format!(r#"{{"Metadata":{{"Total":1,"NextPageUri":null}},"Calls":[{listed}]}}"#);
        house.answer(200, page);
        if state == CallState::Completed {
            house.answer(200, format!(r#"{{"Call":{listed}}}"#));
        }
        house.work(resolve(&call, 0)).await;
        assert_eq!(house.state(&call).await, state, "{exophone}");
    }
    house.pass(SignedDuration::from_secs(16));
    heard(&house, "active").await;
    let call = house.call("lead-1", CallState::Waiting).await;
    assert_eq!(shown(&call).await, "+918045550100");
}

#[tokio::test]
async fn health_that_cannot_be_read_speaks_against_nobody() {
    let house = House::new().await;
    heard(&house, "major_outage").await;
    let client = house.database.quiet_aws();
    let client = aws_sdk_dynamodb::Client::new(&client);
    client
        .update_item()
        .table_name(dynamo::TABLE_NAME)
        .key(
            "PK",
            aws_sdk_dynamodb::types::AttributeValue::S("EXOPHONES".to_owned()),
        )
        .key(
            "SK",
            aws_sdk_dynamodb::types::AttributeValue::S("HEALTH".to_owned()),
        )
        .update_expression("SET rev = :broken")
        .expression_attribute_values(
            ":broken",
            aws_sdk_dynamodb::types::AttributeValue::S("x".to_owned()),
        )
        .send()
        .await
        .unwrap();
    let call = house.call("lead-1", CallState::Waiting).await;
    house.answer(200, accepted("abc")).work(place(&call, 1, 0)).await;
    assert!(house.asked().pop().unwrap().contains("CallerId=+918045550100"));
}

/// The first function sent the text and died before it could keep its answer; the second could not read the row.
#[tokio::test]
async fn a_repetition_that_cannot_read_what_the_first_one_made_does_not_make_another() {
    let house = House::new().await;
    let scope = Scope {
        user: "sales-1".parse().unwrap(),
        route: "sms",
        sameness: Sameness::Key("key-1".parse().unwrap()),
    };
    let begin = async |subject: &str| {
        let begun = house
            .outbound
            .begin(&scope, subject.to_owned(), &["lead-1"], false)
            .await;
        match begun.unwrap() {
            Request::Do { record, resumed } => (record, resumed),
            other => panic!("{other:?}"),
        }
    };
    let (first, resumed) = begin("sms_1").await;
    assert!(!resumed);
    house.pass(RUNS_FOR);
    let (second, resumed) = begin("sms_2").await;
    assert_eq!((second.subject.as_str(), resumed), ("sms_1", true));
    house.outbound.abandon(&scope, &second, resumed).await;
    house.pass(RUNS_FOR);
    let (third, resumed) = begin("sms_3").await;
    assert_eq!((third.subject, resumed), (first.subject, true));
}

/// A request that failed before it made anything may be sent again at once.
#[tokio::test]
async fn a_request_that_made_nothing_begins_anew() {
    let house = House::new().await;
    let scope = Scope {
        user: "sales-1".parse().unwrap(),
        route: "sms",
        sameness: Sameness::Key("key-1".parse().unwrap()),
    };
    for subject in ["sms_1", "sms_2"] {
        let begun = house
            .outbound
            .begin(&scope, subject.to_owned(), &["lead-1"], false)
            .await;
        let Request::Do { record, resumed } = begun.unwrap() else {
            panic!("it is new")
        };
        assert_eq!((record.subject.as_str(), resumed), (subject, false));
        house.outbound.abandon(&scope, &record, resumed).await;
    }
}
