//! poll-calls: what callbacks left out is repaired from Exotel's list, page by page, through every fault.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use domain::{
    call::{Call, CallOrigin, CallProgress, CallReport, CallState, ExotelCall, Outcome, ReportSource},
    call_record::{CallRecord, CallSummary},
    directory::Lead,
    figures::price_parts,
    ids::{CallId, CallLocator, CallSid},
    phone::Country,
    reconcile::Pass,
};
use dynamo::{Dynamo, TABLE_NAME};
use exotel::{Answer, Request, calls::ConnectCall};
use exotel_simulator::{ApiFault, ApiRule, Faults, Handle, Operation, Options, Simulator, Traffic};
use jiff::{SignedDuration, Timestamp};
use runtime_api::{Function, Launch};
use serde_json::{Value, json};
use services::{
    outbound::{Exotel, clock::World, limiter::Limiter},
    reconcile::{BrokenRecords, Reconciler, Run, Stopped},
};
use table::{Table, reconcile::PositionId};

use crate::aws::Aws;

const EVENT: &str = include_str!("../../../../events/poll-calls.schedule.json");

/// A clock that stands still until somebody waits.
#[derive(Clone)]
struct Clock(Arc<Mutex<Timestamp>>);

impl Clock {
    fn at(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(now)))
    }

    fn pass(&self, duration: SignedDuration) {
        *self.0.lock().unwrap() += duration;
    }
}

impl World for Clock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.pass(duration.try_into().unwrap());
        Box::pin(tokio::task::yield_now())
    }

    fn random(&self) -> u128 {
        4
    }
}

/// A table, a poller over it, and a clock.
struct House {
    dynamo: Dynamo,
    table: Table,
    clock: Clock,
    aws: Aws,
    broken: BrokenRecords,
    reconciler: Reconciler,
}

impl House {
    async fn new() -> Self {
        let dynamo = Dynamo::start().await;
        let table = Table::new(dynamo.client(), TABLE_NAME);
        let clock = Clock::at(noon());
        let world = Arc::new(clock.clone());
        let aws = Aws::start().await;
        let limiter = Limiter::new(table.clone(), world.clone(), 200, 200);
        Self {
            reconciler: Reconciler::new(table.clone(), limiter, world, Country::IN),
            broken: BrokenRecords::connect(&aws.settings(), aws.queue_url()),
            table,
            clock,
            aws,
            dynamo,
        }
    }

    async fn poll(&self, exotel: &impl Exotel) -> Run {
        self.poll_for(exotel, SignedDuration::from_mins(4)).await
    }

    async fn poll_for(&self, exotel: &impl Exotel, duration: SignedDuration) -> Run {
        let until = self.clock.now() + duration;
        self.reconciler.run(exotel, &self.broken, until).await.unwrap()
    }

    async fn record(&self, sid: &str) -> CallRecord {
        let sid: CallSid = sid.parse().unwrap();
        self.table.call_record(&sid).await.unwrap().unwrap().record
    }

    /// The summaries of all records.
    async fn summaries(&self, calls: &[exotel_simulator::CallView]) -> Vec<CallSummary> {
        let sids: Vec<CallSid> = calls.iter().map(|call| call.sid.parse().unwrap()).collect();
        let held = self.table.call_records(&sids).await.unwrap();
        assert_eq!(held.len(), sids.len(), "a call has no record");
        held.iter().map(|held| held.record.summary().unwrap()).collect()
    }
}

async fn simulator(clock: &Clock) -> (Handle, exotel::Client) {
    let clock = clock.clone();
    let options = Options {
        clock: Arc::new(move || clock.now()),
        voice_limit: 100_000,
        ..Options::default()
    };
    let simulator = Simulator::start(options).await.unwrap();
    let client = client(&simulator, "simtoken");
    (simulator, client)
}

fn client(simulator: &Handle, token: &str) -> exotel::Client {
    let credentials = exotel::Credentials {
        account_sid: "acme1".to_owned(),
        api_key: "simkey".into(),
        api_token: token.into(),
    };
    let http = lambda_kit::https::client().unwrap();
    exotel::Client::new(http, simulator.url().parse().unwrap(), credentials).unwrap()
}

fn noon() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

#[tokio::test]
async fn a_day_whose_every_webhook_was_lost_is_right_after_one_poll_and_costs_no_write_after_two() {
    let house = House::new().await;
    let (simulator, client) = simulator(&house.clock).await;
    let from = noon() - SignedDuration::from_hours(20);
    let traffic = Traffic {
        flow_share: 0.2,
        dial_share: 0.1,
        webhooks: 0.0,
        ..Traffic::new(7, 350, from, noon())
    };
    simulator.traffic(traffic).await.unwrap();
    let run = house.poll(&client).await;
    assert_eq!(run.stopped, None, "{run:?}");
    let expected = simulator.totals(from, noon());
    let summaries = house.summaries(&simulator.calls()).await;
    let count = |outcome| {
        summaries
            .iter()
            .filter(|call| call.outcome == Some(outcome))
            .count() as u64
    };
    let secs = |of: fn(&CallSummary) -> Option<u32>| -> u64 {
        summaries
            .iter()
            .map(|call| u64::from(of(call).unwrap_or(0)))
            .sum()
    };
    let price: i64 = summaries
        .iter()
        .filter_map(|call| price_parts(call.price.as_deref()?))
        .sum();
    assert_eq!(summaries.len() as u64, expected.calls);
    assert_eq!(
        (
            count(Outcome::Connected),
            count(Outcome::NotPicked),
            count(Outcome::Disconnected)
        ),
        (expected.connected, expected.not_picked, expected.disconnected)
    );
    assert_eq!(secs(|call| call.talk_secs), expected.talk_secs);
    assert_eq!(secs(|call| call.duration_secs), expected.duration_secs);
    assert_eq!(
        format!("{}.{:04}", price / 10_000, price % 10_000),
        expected.price
    );
    house.clock.pass(SignedDuration::from_mins(15));
    house.poll(&client).await;
    house.clock.pass(SignedDuration::from_mins(15));
    house.dynamo.meter().take();
    let again = house.poll(&client).await;
    let spent = house.dynamo.meter().take();
    println!("a poll that brought nothing new: {:?}, {spent:?}", again.tally);
    assert_eq!(again.tally.changed, 0);
    // A slot and the position per page; 1 read a call, and the positions themselves.
    let pages = again.tally.pages as f64;
    assert!(spent.write_units <= 3.0 * pages + 3.0, "{spent:?}");
    assert!(
        spent.read_units <= again.tally.calls as f64 + 2.0 * pages + 6.0,
        "{spent:?}"
    );
}

/// A click that Exotel accepted, and of which no callback came.
async fn clicked(house: &House, client: &exotel::Client, n: u32, to: &str) -> CallLocator {
    let lead = Lead {
        id: format!("lead-{n}").parse().unwrap(),
        name: "Asha".to_owned(),
        phone: to.parse().unwrap(),
        owning_sales_head_id: None,
        assigned_to: None,
        call_count: 0,
        last_contacted_at: None,
    };
    house.table.put_lead(&lead).await.unwrap();
    let locator = CallLocator {
        id: CallId::new(house.clock.now(), u128::from(n)),
        lead_id: lead.id.clone(),
    };
    let call = Call {
        locator: locator.clone(),
        called_by: Some("sales-1".parse().unwrap()),
        called_at: house.clock.now(),
        notes: None,
        origin: CallOrigin::Exotel(Box::new(ExotelCall {
            agent_phone: "+919811100099".parse().unwrap(),
            lead_phone: lead.phone.clone(),
            caller_id: "+918045550100".parse().unwrap(),
            to_bot: false,
            attempt: 1,
            reason: None,
            progress: CallProgress::new(CallState::InFlight),
        })),
    };
    house.table.create_call(&call).await.unwrap();
    let request = ConnectCall::two_legs("+919811100099", to, "+918045550100");
    let accepted = client.send(&request).await.unwrap();
    let mut report = CallReport::new(ReportSource::Details, Some(CallState::Accepted));
    report.sid = Some(accepted.sid.as_str().parse().unwrap());
    house.table.record_call_report(&locator, &report).await.unwrap();
    locator
}

#[tokio::test]
async fn rows_of_clicks_are_repaired_linked_and_judged() {
    let house = House::new().await;
    let options = {
        let clock = house.clock.clone();
        Options {
            clock: Arc::new(move || clock.now()),
            speed: f64::INFINITY,
            ..Options::default()
        }
    };
    let simulator = Simulator::start(options).await.unwrap();
    let client = client(&simulator, "simtoken");
    let talked = clicked(&house, &client, 1, "+919811176543").await;
    let missed = clicked(&house, &client, 2, "+919811100002").await;
    simulator
        .calls_until(|calls| calls.iter().all(|call| call.settled))
        .await;
    house.clock.pass(SignedDuration::from_mins(15));
    let run = house.poll(&client).await;
    assert_eq!((run.tally.repaired, run.tally.judged), (2, 0), "{run:?}");
    for (locator, outcome) in [(&talked, Outcome::Connected), (&missed, Outcome::NotPicked)] {
        let call = house.table.call(locator).await.unwrap().unwrap();
        assert_eq!(call.outcome(), outcome);
        assert!(call.exotel().unwrap().progress.price.is_some());
        let record = house.record(call.sid().unwrap().as_str()).await;
        assert_eq!(record.link.unwrap().locator, *locator);
    }
    let mut judged = 0;
    for _ in 0..6 {
        house.clock.pass(SignedDuration::from_mins(15));
        let run = house.poll(&client).await;
        judged += run.tally.own_judged;
        assert_eq!(run.tally.own_gaps, run.tally.own_judged, "no callback ever came");
    }
    assert_eq!(judged, 2);
}

#[tokio::test]
async fn a_run_whose_time_is_up_is_gone_on_with_by_the_next() {
    let house = House::new().await;
    let (simulator, client) = simulator(&house.clock).await;
    let from = noon() - SignedDuration::from_hours(20);
    simulator
        .traffic(Traffic::new(3, 450, from, noon()))
        .await
        .unwrap();
    let mut pages = Vec::new();
    loop {
        let run = house.poll_for(&client, SignedDuration::ZERO).await;
        pages.push(run.tally.pages);
        if run.windows.iter().any(|(pass, _)| *pass == Pass::Recent) {
            break;
        }
        assert_eq!(run.stopped, Some(Stopped::OutOfTime));
        assert!(pages.len() < 20);
    }
    assert_eq!(pages, [1; 5], "450 calls are 5 pages");
    house.summaries(&simulator.calls()).await;
    let asked: Vec<_> = simulator
        .requests()
        .into_iter()
        .filter_map(|request| request.params.get("After").map(str::to_owned))
        .collect();
    assert_eq!(
        asked.len(),
        4,
        "each went on at the cursor of the one before: {asked:?}"
    );
}

#[tokio::test]
async fn faults_in_the_middle_end_a_run_and_lose_nothing() {
    for (fault, stops) in [
        (ApiFault::RateLimited, Some(Stopped::Throttled)),
        (ApiFault::Unavailable, None),
        (ApiFault::Unauthorized, Some(Stopped::Unauthorized)),
        (ApiFault::Gateway, None),
        (ApiFault::Reset, None),
    ] {
        let house = House::new().await;
        let (simulator, client) = simulator(&house.clock).await;
        let from = noon() - SignedDuration::from_hours(20);
        simulator
            .traffic(Traffic::new(5, 250, from, noon()))
            .await
            .unwrap();
        house.poll_for(&client, SignedDuration::ZERO).await;
        let rule = ApiRule {
            fault,
            on: Some(Operation::CallList),
            rate: None,
            next: Some(3),
        };
        simulator.set_faults(Faults {
            api: vec![rule],
            ..Faults::default()
        });
        let run = house.poll(&client).await;
        match stops {
            Some(stopped) => assert_eq!(run.stopped, Some(stopped), "{fault:?}"),
            None => assert!(
                matches!(run.stopped, Some(Stopped::Unanswered(_) | Stopped::Throttled)),
                "{fault:?}: {run:?}"
            ),
        }
        simulator.set_faults(Faults::default());
        house.clock.pass(SignedDuration::from_mins(15));
        let run = house.poll(&client).await;
        assert_eq!(run.stopped, None, "{fault:?}");
        house.summaries(&simulator.calls()).await;
    }
}

/// Pages that Exotel answers with, one after the other; the last one again and again.
struct Pages(Mutex<VecDeque<String>>);

impl Pages {
    fn new(pages: impl IntoIterator<Item = Value>) -> Self {
        Self(Mutex::new(
            pages.into_iter().map(|page| page.to_string()).collect(),
        ))
    }
}

impl Exotel for Pages {
    async fn send<R: Request>(&self, request: &R) -> Result<R::Answer, exotel::Error> {
        let mut pages = self.0.lock().unwrap();
        let page = if pages.len() > 1 {
            pages.pop_front().unwrap()
        } else {
            pages[0].clone()
        };
        request.read(&Answer::new(200, page.into_bytes()))
    }
}

fn page(calls: Value, next: Option<&str>) -> Value {
    let next = next.map(|token| format!("/v1/Accounts/acme1/Calls.json?After={token}"));
    json!({"Metadata": {"Total": 9, "NextPageUri": next}, "Calls": calls})
}

fn entry(n: u32) -> Value {
    json!({"Sid": format!("sid{n}"), "DateCreated": format!("2026-11-20 17:{n:02}:00"), "Status": "busy",
        "Direction": "outbound-api", "From": "09811100099", "To": "09811100002"})
}

#[tokio::test]
async fn a_broken_record_is_kept_apart_and_the_rest_of_its_page_counts() {
    let house = House::new().await;
    let broken = json!({"Sid": "../..", "From": "09811100002", "Status": "completed"});
    let nonsense =
        json!({"Sid": "sid2", "Status": {"a": 1}, "Duration": "-4", "Price": "free", "StartTime": "never"});
    let pages = Pages::new([
        page(json!([entry(1), broken, 7, nonsense, entry(3)]), None),
        page(json!([]), None),
    ]);
    let run = house.poll(&pages).await;
    assert_eq!((run.tally.unreadable, run.tally.calls, run.stopped), (2, 3, None));
    let kept = house.aws.messages();
    assert_eq!(kept.len(), 2);
    assert!(
        kept[0]["body"]["record"].as_str().unwrap().contains("../.."),
        "{kept:?}"
    );
    assert_eq!(kept[0]["body"]["type"], "unreadable_call.v1");
    assert_eq!(house.record("sid3").await.state, Some(CallState::Busy));
    assert_eq!(house.record("sid2").await.facts.price, None);
}

#[tokio::test]
async fn a_cursor_that_leads_in_a_circle_ends_the_run_and_the_next_begins_anew() {
    let house = House::new().await;
    let circle = Pages::new([
        page(json!([entry(1)]), Some("a")),
        page(json!([entry(2)]), Some("b")),
        page(json!([entry(1)]), Some("a")),
    ]);
    let run = house.poll(&circle).await;
    assert!(
        matches!(run.stopped, Some(Stopped::Circle(Pass::Recent))),
        "{run:?}"
    );
    let position = house
        .table
        .position(&PositionId::Recent)
        .await
        .unwrap()
        .unwrap()
        .value;
    assert_eq!((position.done_until, position.window), (None, None));
    assert_eq!(
        house.record("sid2").await.state,
        Some(CallState::Busy),
        "what came counts"
    );
    let run = house
        .poll(&Pages::new([page(json!([entry(1), entry(2), entry(3)]), None)]))
        .await;
    assert_eq!((run.stopped, run.tally.changed), (None, 1));
}

#[tokio::test]
async fn pages_that_make_no_sense_end_the_run_without_harm() {
    let house = House::new().await;
    for wrong in [
        json!("Calls"),
        json!({}),
        json!({"Calls": null, "Metadata": {"NextPageUri": "/v1/no-cursor"}}),
        json!([1, 2]),
    ] {
        let run = house.poll(&Pages::new([wrong.clone()])).await;
        assert!(
            matches!(run.stopped, Some(Stopped::Unanswered(_))),
            "{wrong}: {run:?}"
        );
    }
    let twice = Pages::new([page(
        json!([entry(1), entry(1), {"Sid": "sid1", "Status": "completed"}]),
        None,
    )]);
    assert_eq!(house.poll(&twice).await.stopped, None);
    let record = house.record("sid1").await;
    assert_eq!(
        (record.state, record.facts.to.is_some()),
        (Some(CallState::Completed), true)
    );
}

#[tokio::test]
async fn what_has_not_settled_is_asked_for_by_sid_until_it_has() {
    let house = House::new().await;
    let mut unsettled = entry(1);
    unsettled["EndTime"] = json!("1970-01-01 05:30:00");
    house.poll(&Pages::new([page(json!([unsettled]), None)])).await;
    let sid: CallSid = "sid1".parse().unwrap();
    let created = house.record("sid1").await.facts.created_at.unwrap().value;
    house.table.note_unsettled(created, &sid).await.unwrap();
    house.clock.pass(SignedDuration::from_hours(9));
    let mut settled = entry(1);
    for (name, value) in [
        ("EndTime", "2026-11-20 17:02:00"),
        ("Duration", "60"),
        ("Price", "0.500"),
    ] {
        settled[name] = json!(value);
    }
    let run = house
        .poll(&Pages::new([
            page(json!([]), None),
            page(json!([]), None),
            page(json!([settled]), None),
        ]))
        .await;
    assert_eq!((run.settled, run.stopped), (1, None));
    assert!(house.record("sid1").await.is_settled());
}

#[tokio::test]
async fn details_are_asked_for_once_when_the_list_does_not_say_if_they_talked() {
    let house = House::new().await;
    let mut completed = entry(1);
    completed["Status"] = json!("completed");
    let details = json!({"Call": {"Sid": "sid1", "Status": "completed",
        "Details": {"ConversationDuration": 0, "Leg1Status": "completed", "Leg2Status": "no-answer"}}});
    let pages = || {
        Pages::new([
            page(json!([completed]), None),
            details.clone(),
            page(json!([]), None),
        ])
    };
    let run = house.poll(&pages()).await;
    assert_eq!((run.detailed, run.stopped), (1, None));
    assert_eq!(house.record("sid1").await.outcome(), Some(Outcome::NotPicked));
    house.clock.pass(SignedDuration::from_mins(15));
    let run = house.poll(&Pages::new([page(json!([completed]), None)])).await;
    assert_eq!(run.detailed, 0);
}

#[tokio::test]
async fn a_backfill_is_read_in_windows_beside_the_regular_pass() {
    let house = House::new().await;
    let (simulator, client) = simulator(&house.clock).await;
    let from = noon() - SignedDuration::from_hours(60 * 24);
    simulator
        .traffic(Traffic::new(11, 120, from, noon()))
        .await
        .unwrap();
    let asked = PositionId::Backfill(noon());
    let backfill = domain::reconcile::Position::backfill(from, noon());
    house.table.keep_position(&asked, &backfill, 0).await.unwrap();
    let run = house.poll(&client).await;
    let windows = run
        .windows
        .iter()
        .filter(|(pass, _)| *pass == Pass::Backfill)
        .count();
    assert_eq!(
        (windows, run.stopped),
        (3, None),
        "60 days are three windows of 28"
    );
    house.summaries(&simulator.calls()).await;
    let position = house.table.position(&asked).await.unwrap().unwrap().value;
    assert!(position.is_done() && position.tally.calls >= 120);
}

#[tokio::test]
async fn the_function_polls_as_lambda_starts_it() {
    let dynamo = Dynamo::start().await;
    let table = Table::new(dynamo.client(), TABLE_NAME);
    let simulator = Simulator::start(Default::default()).await.unwrap();
    let now = Timestamp::now();
    let traffic = Traffic::new(1, 30, now - SignedDuration::from_hours(5), now);
    simulator.traffic(traffic).await.unwrap();
    let launch = |token: &str| {
        Launch::new(env!("CARGO_BIN_EXE_poll-calls"))
            .env("AWS_ENDPOINT_URL", dynamo.endpoint_url())
            .env("TABLE_NAME", TABLE_NAME)
            .env("POLL_CALLS_DLQ_URL", "http://127.0.0.1:1/dlq")
            .env("EXOTEL_SUBDOMAIN", simulator.url())
            .env("EXOTEL_SID", "acme1")
            .env("EXOTEL_API_KEY", "simkey")
            .env("EXOTEL_API_TOKEN", token)
            .env("EXOTEL_CALLER_ID", "08045550100")
    };
    let function = Function::start(launch("simtoken")).await.unwrap();
    let answer = function
        .invoke(EVENT.to_owned())
        .await
        .unwrap()
        .finish()
        .await
        .unwrap();
    assert_eq!(answer.body, b"null"[..], "{:?}", function.log());
    let sids: Vec<CallSid> = simulator
        .calls()
        .iter()
        .map(|call| call.sid.parse().unwrap())
        .collect();
    assert_eq!(table.call_records(&sids).await.unwrap().len(), 30);
    let log = function.log().join("\n");
    assert!(
        log.contains("\"list.pages\":2"),
        "the regular and the long pass: {log}"
    );
    assert!(!log.contains("98111"), "{log}");
    let function = Function::start(launch("wrong")).await.unwrap();
    let refused = function
        .invoke(EVENT.to_owned())
        .await
        .err()
        .map(|error| error.to_string());
    assert!(
        refused
            .as_deref()
            .unwrap_or_default()
            .contains("refuses the credentials"),
        "{refused:?}"
    );
}
