//! The alert rules over figures and open calls.

use domain::{
    alert::{Measure, Metric, Observation, Rule, Severity},
    call::{Call, CallOrigin, CallProgress, CallState, ExotelCall},
    directory::Lead,
    figures::{Bucket, Figures},
    ids::{CallId, CallLocator},
    reconcile::{Pass, Tally},
};
use dynamo::Dynamo;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use services::{
    Table,
    alerts::{Alerts, Evaluated, Evaluator},
    unconfirmed,
};

/// 14:00 in India.
fn at(mins: i64) -> Timestamp {
    let base: Timestamp = "2026-11-20T08:30:00Z".parse().unwrap();
    base + SignedDuration::from_mins(mins)
}

struct World {
    _dynamo: Dynamo,
    table: Table,
    evaluator: Evaluator,
}

impl World {
    /// The digest is made at 9 o'clock in India.
    async fn new() -> Self {
        let dynamo = Dynamo::start().await;
        let table = Table::new(dynamo.client(), dynamo::TABLE_NAME);
        let alerts = Alerts::new(table.clone(), || 7);
        let zone = TimeZone::get("Asia/Kolkata").unwrap();
        Self {
            evaluator: Evaluator::new(table.clone(), alerts, zone, 9),
            table,
            _dynamo: dynamo,
        }
    }

    async fn figures(&self, at: Timestamp, write: impl FnOnce(&mut Figures)) {
        let bucket = Bucket::of(at);
        let held = self.table.figures(bucket).await.unwrap();
        let mut figures = held.value;
        write(&mut figures);
        assert!(self.table.put_figures(bucket, &figures, held.rev).await.unwrap());
    }

    async fn calls(&self, at: Timestamp, connected: u64, ended: u64) {
        self.figures(at, |figures| {
            figures.calls.calls += ended;
            figures.calls.connected += connected;
            figures.calls.ended += ended;
        })
        .await;
    }

    async fn messages(&self, at: Timestamp, delivered: u64, sent: u64, dlt_rejected: u64) {
        self.figures(at, |figures| {
            figures.messages.messages += sent;
            figures.messages.sent += sent;
            figures.messages.delivered += delivered;
            figures.messages.dlt_rejected += dlt_rejected;
        })
        .await;
    }

    async fn run(&self, now: Timestamp) -> Evaluated {
        self.evaluator.run(now).await.unwrap()
    }

    /// The rules with an open alert.
    async fn open(&self) -> Vec<String> {
        let page = self.table.open_alerts(100, None).await.unwrap();
        page.items
            .into_iter()
            .map(|alert| alert.rule.to_string())
            .collect()
    }
}

fn measured(value: i64, sample: u64) -> Observation {
    Observation::Measured {
        value: Measure::whole(value),
        sample,
    }
}

#[tokio::test]
async fn a_connect_rate_below_half_of_an_hour_raises_and_recovers_once() {
    let world = World::new().await;
    let now = at(7);
    // Too old to count, over midnight's side of the window, and enough of them.
    world.calls(now - SignedDuration::from_mins(80), 500, 500).await;
    world.calls(now - SignedDuration::from_mins(59), 5, 15).await;
    world.calls(now, 3, 4).await;
    let run = world.run(now).await;
    assert_eq!(run.observation(Metric::VoiceConnect), Observation::share(8, 19));
    assert_eq!((run.raised, run.open), (0, 0), "19 calls say too little");
    world.calls(now, 0, 1).await;
    let run = world.run(now).await;
    assert_eq!(run.observation(Metric::VoiceConnect), measured(40, 20));
    assert_eq!((run.raised, run.open), (1, 1));
    assert_eq!(world.open().await, ["voice-connect-collapse"]);
    assert_eq!(world.run(at(8)).await.raised, 0);
    // 52 % is neither bad enough to raise nor good enough to recover.
    world.calls(now, 5, 5).await;
    assert_eq!(world.run(at(9)).await.recovered, 0);
    world.calls(now, 3, 3).await;
    let run = world.run(at(10)).await;
    assert_eq!((run.recovered, run.open), (1, 0));
    assert_eq!(world.run(at(11)).await.recovered, 0);
}

#[tokio::test]
async fn messages_count_as_not_delivered_only_once_their_receipts_had_time_to_come() {
    let world = World::new().await;
    let now = at(7);
    world.messages(at(-44), 95, 100, 0).await;
    world.messages(at(1), 0, 400, 0).await;
    let run = world.run(now).await;
    assert_eq!(run.observation(Metric::SmsDelivery), measured(95, 100));
    assert_eq!(world.open().await, Vec::<String>::new());
    // The same quarter is over for a quarter now.
    let run = world.run(at(31)).await;
    assert_eq!(run.observation(Metric::SmsDelivery), measured(19, 500));
    assert_eq!(world.open().await, ["sms-delivery"]);
}

#[tokio::test]
async fn a_dlt_rejection_is_an_alert_at_once() {
    let world = World::new().await;
    world.messages(at(7), 0, 50, 1).await;
    let run = world.run(at(7)).await;
    assert_eq!(run.observation(Metric::DltRejection), measured(2, 50));
    let open = world.table.open_alerts(10, None).await.unwrap().items;
    assert_eq!(
        (open[0].rule.as_str(), open[0].severity),
        ("dlt-rejection", Severity::P1)
    );
}

#[tokio::test]
async fn webhooks_that_only_the_poll_made_good_are_an_alert_until_they_come_again() {
    let world = World::new().await;
    let tally = |own_judged, own_gaps| Tally {
        // Calls of others have no callbacks that anybody asked for.
        judged: own_judged + 500,
        only_listed: own_gaps + 500,
        own_judged,
        own_gaps,
        ..Tally::default()
    };
    let keep = async |pass, mins, tally: Tally| {
        world.table.keep_tally(pass, at(mins), &tally).await.unwrap();
    };
    keep(Pass::Recent, -61, tally(900, 900)).await;
    keep(Pass::Backfill, -5, tally(900, 900)).await;
    keep(Pass::Recent, -50, tally(15, 1)).await;
    let run = world.run(at(0)).await;
    assert_eq!(run.observation(Metric::WebhookGap), Observation::share(1, 15));
    assert_eq!(run.raised, 0, "15 calls say too little");
    keep(Pass::Long, -40, tally(5, 1)).await;
    let run = world.run(at(0)).await;
    assert_eq!(run.observation(Metric::WebhookGap), measured(10, 20));
    assert_eq!(
        (run.raised, world.open().await),
        (1, vec!["webhook-gap".to_owned()])
    );
    keep(Pass::Recent, -35, tally(40, 1)).await;
    assert_eq!(world.run(at(0)).await.recovered, 0, "5 % is not right yet");
    keep(Pass::Recent, -20, tally(90, 0)).await;
    let run = world.run(at(0)).await;
    assert_eq!(run.observation(Metric::WebhookGap), measured(2, 150));
    assert_eq!((run.recovered, run.open), (1, 0));
}

#[tokio::test]
async fn the_digests_rules_are_evaluated_in_the_digests_hour_alone_over_the_day_before_it() {
    let world = World::new().await;
    let nine: Timestamp = "2026-11-20T03:30:00Z".parse().unwrap();
    // Yesterday's calls on both sides of midnight UTC: 55 of 100.
    world.calls(nine - SignedDuration::from_hours(20), 20, 50).await;
    world.calls(nine - SignedDuration::from_hours(2), 35, 50).await;
    // Neither the day before nor today.
    world
        .calls(nine - SignedDuration::from_hours(25), 1_000, 1_000)
        .await;
    world.calls(nine, 1_000, 1_000).await;
    let daily = |evaluated: &Evaluated| evaluated.observed.iter().any(|(rule, _)| rule.is_daily());
    for quiet in [
        nine - SignedDuration::from_mins(1),
        nine + SignedDuration::from_mins(5),
        at(0),
    ] {
        assert!(!daily(&world.run(quiet).await), "{quiet}");
        assert_eq!(world.open().await, Vec::<String>::new());
    }
    // Whichever minute comes first, and each of them the same.
    for mins in [2, 3, 4] {
        let run = world.run(nine + SignedDuration::from_mins(mins)).await;
        let seen = run.observed.iter().find(|(rule, _)| rule.id == "voice-connect");
        assert_eq!(seen.unwrap().1, measured(55, 100));
        assert_eq!(run.raised, usize::from(mins == 2));
    }
    assert_eq!(world.open().await, ["voice-connect"]);
}

#[tokio::test]
async fn rules_whose_channels_have_no_data_are_unknown_and_silent() {
    let world = World::new().await;
    let nine: Timestamp = "2026-11-20T03:30:00Z".parse().unwrap();
    let run = world.run(nine).await;
    let known: Vec<&Rule> = run
        .observed
        .iter()
        .filter(|(_, observation)| *observation != Observation::Unknown)
        .map(|(rule, _)| *rule)
        .collect();
    assert_eq!(known.len(), 1, "nothing was called or sent: {known:?}");
    assert_eq!(known[0].id, "unconfirmed-intents");
    assert_eq!((run.raised, run.open), (0, 0));
    let ids: Vec<_> = run.observed.iter().map(|(rule, _)| rule.id).collect();
    for rule in domain::alert::RULES {
        // What an ExoPhone does is observed where it is heard of.
        assert_eq!(
            ids.contains(&rule.id),
            !rule.id.contains("exophone") && rule.id != "heartbeat-silent"
        );
    }
}

#[tokio::test]
async fn calls_that_are_unconfirmed_for_ten_minutes_are_an_alert_until_they_are_found() {
    let world = World::new().await;
    let lead = Lead {
        id: "lead-1".parse().unwrap(),
        name: "Asha".to_owned(),
        phone: "+919811100002".parse().unwrap(),
        owning_sales_head_id: None,
        assigned_to: None,
        call_count: 0,
        last_contacted_at: None,
    };
    world.table.put_lead(&lead).await.unwrap();
    let call = async |n: i64, age: SignedDuration, state| {
        let called_at = at(0) - age;
        let locator = CallLocator {
            id: CallId::new(called_at, n.unsigned_abs().into()),
            lead_id: lead.id.clone(),
        };
        let call = Call {
            locator: locator.clone(),
            called_by: Some("sales-1".parse().unwrap()),
            called_at,
            notes: None,
            origin: CallOrigin::Exotel(Box::new(ExotelCall {
                agent_phone: "+919811100099".parse().unwrap(),
                lead_phone: lead.phone.clone(),
                caller_id: "+918045550100".parse().unwrap(),
                to_bot: false,
                attempt: 1,
                reason: None,
                progress: CallProgress::new(state),
            })),
        };
        world.table.create_call(&call).await.unwrap();
        world.table.open_call(&locator).await.unwrap();
        locator
    };
    let long = SignedDuration::from_mins(11);
    let unheard = call(1, long, CallState::Unconfirmed).await;
    call(2, long, CallState::Talking).await;
    call(3, SignedDuration::from_mins(9), CallState::Unconfirmed).await;
    for n in 0..120 {
        call(100 + n, SignedDuration::from_mins(200), CallState::Talking).await;
    }
    let counted = unconfirmed::count(&world.table, at(0)).await.unwrap();
    assert_eq!((counted.calls, counted.is_at_least), (1, false));
    let run = world.run(at(0)).await;
    assert_eq!(
        (run.raised, world.open().await),
        (1, vec!["unconfirmed-intents".to_owned()])
    );
    let lost = [CallState::Unconfirmed];
    world
        .table
        .settle_call(&unheard, &lost, CallState::Lost, None)
        .await
        .unwrap();
    let run = world.run(at(0)).await;
    assert_eq!((run.recovered, run.open), (1, 0));
    // The younger one has its time now.
    assert_eq!(world.run(at(2)).await.raised, 1);
}
