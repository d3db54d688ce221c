//! project-events: what callbacks and the list say of a call ends in its record, its summary and its rows.

use domain::{
    call::{CallSource, CallState, Outcome, ReportSource},
    call_record::{CallSummary, Direction, Party, RecordReport, Said},
    ids::CallSid,
    phone::Country,
};
use jiff::SignedDuration;
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use services::inbound::{Delivery, Webhook};
use table::{EventOwner, call_records::Order};

use crate::{
    given::{CALL_SID, World, call_event, lead_id, now},
    project_events::handle,
};

/// Hands the function the stream until nothing new comes of it.
async fn follow(world: &World) {
    let mut seen = 0;
    loop {
        let records = world.stream().await;
        if records.len() == seen {
            return;
        }
        deliver(world, &records[seen..]).await;
        seen = records.len();
    }
}

async fn deliver(world: &World, records: &[Value]) {
    let event = serde_json::from_value(json!({ "Records": records })).unwrap();
    let response = handle(&world.projector(), event).await;
    assert!(response.batch_item_failures.is_empty());
}

fn sid() -> CallSid {
    CALL_SID.parse().unwrap()
}

/// What the list says of a call.
fn listed(sid: CallSid, direction: Direction, from: &str, to: &str) -> RecordReport {
    let party = |text| Party::read(text, Country::IN);
    let mut report = RecordReport::new(sid, ReportSource::List, Some(CallState::Completed));
    report.said = Said {
        created_at: Some(now()),
        ended_at: Some(now() + SignedDuration::from_secs(60)),
        direction: Some(direction),
        from: party(from),
        to: party(to),
        exophone: party("08045550100"),
        talk_secs: Some(41),
        ..Said::default()
    };
    report
}

async fn summaries(world: &World) -> Vec<CallSummary> {
    let day = SignedDuration::from_hours(24);
    let page = world
        .table
        .call_summaries(now() - day, now() + day, Order::OldestFirst, 100, None);
    page.await.unwrap().items
}

async fn unsettled(world: &World) -> usize {
    let later = now() + SignedDuration::from_hours(1);
    world
        .table
        .unsettled_calls(later, 10, None)
        .await
        .unwrap()
        .items
        .len()
}

#[tokio::test]
async fn a_clicks_events_make_a_record_that_names_its_row() {
    let world = World::new().await;
    let call = world.call("lead-1", 1).await;
    let body = format!(
        "CallSid={CALL_SID}&EventType=terminal&Status=completed&DateCreated=2026-11-21+09:30:00\
         &DateUpdated=2026-11-21+09:31:00&EndTime=2026-11-21+09:30:50&From=09811100001&To=09811100002\
         &PhoneNumberSid=08045550100&Direction=outbound-api&ConversationDuration=41&Price=0.500\
         &ParentCallSid=parent&CallerName=Asha&ForwardedFrom=09811100009&Uri=/v1/x&AccountSid=acme1\
         &Legs[0][Status]=completed&Legs[0][OnCallDuration]=49&Legs[1][Status]=completed\
         &Legs[1][OnCallDuration]=41&Legs[1][AnsweredBy]=HUMAN&RecordingUrl=https://recordings.exotel.com/a.mp3"
    );
    let event = call_event(EventOwner::Call(call.clone()), 1, &body);
    world.table.put_raw_event(&event).await.unwrap();
    world.report(&call, CallState::Completed, Some(CALL_SID)).await;
    follow(&world).await;
    let record = world.table.call_record(&sid()).await.unwrap().unwrap().record;
    let link = record.link.clone().unwrap();
    assert_eq!((link.locator, link.called_by.as_str()), (call.clone(), "user-1"));
    let facts = &record.facts;
    let text = |fact: &Option<domain::Ranked<String>>| fact.as_ref().map(|fact| fact.value.clone()).unwrap();
    assert_eq!(text(&facts.status), "completed");
    assert_eq!(text(&facts.parent_call_sid), "parent");
    assert_eq!(text(&facts.caller_name), "Asha");
    assert_eq!(text(&facts.account_sid), "acme1");
    assert_eq!(text(&facts.uri), "/v1/x");
    assert_eq!(text(&facts.answered_by), "human");
    assert_eq!(
        facts.forwarded_from.as_ref().unwrap().value.as_str(),
        "+919811100009"
    );
    assert_eq!(
        (
            facts.leg1_secs.as_ref().unwrap().value,
            facts.leg2_secs.as_ref().unwrap().value
        ),
        (49, 41)
    );
    let [summary] = &summaries(&world).await[..] else {
        panic!()
    };
    assert_eq!(summary, &record.summary().unwrap());
    assert_eq!(summary.outcome, Some(Outcome::Connected));
    assert_eq!(summary.lead_id, Some(lead_id("lead-1")));
    assert_eq!(unsettled(&world).await, 1, "its duration is missing");
    let mut settled = listed(sid(), Direction::Outbound, "09811100001", "09811100002");
    settled.said.duration_secs = Some(50);
    world.table.merge_call_record(&sid(), &[settled]).await.unwrap();
    follow(&world).await;
    assert_eq!(unsettled(&world).await, 0);
}

#[tokio::test]
async fn a_lead_who_calls_is_on_the_timelines_of_all_who_have_the_number() {
    let world = World::new().await;
    let report = listed(sid(), Direction::Inbound, "09811100002", "08045550100");
    let mut ringing = report.clone();
    (ringing.source, ringing.state) = (ReportSource::Callback, Some(CallState::InProgress));
    (ringing.said.talk_secs, ringing.said.ended_at) = (None, None);
    for report in [ringing, report] {
        world.table.merge_call_record(&sid(), &[report]).await.unwrap();
        follow(&world).await;
    }
    for lead in ["lead-1", "lead-2"] {
        let page = world.table.calls(&lead_id(lead), 10, None).await.unwrap();
        let [call] = &page.items[..] else {
            panic!("{page:?}")
        };
        assert_eq!(
            (call.source(), call.outcome()),
            (CallSource::Inbound, Outcome::Connected)
        );
        assert_eq!((call.sid(), call.duration_secs()), (Some(&sid()), Some(41)));
    }
}

#[tokio::test]
async fn a_flow_that_asks_puts_its_caller_on_the_timelines_and_nobody_asks_again() {
    let world = World::new().await;
    let query = format!(
        "CallSid={CALL_SID}&CallFrom=09811100002&CallTo=08045550100&CallStatus=in-progress&Direction=incoming\
         &Created=Sat,+21+Nov+2026+09:30:00&CallType=call-attempt&digits=%221%22&flow_id=228040"
    );
    let delivery = Delivery {
        webhook: Webhook::Passthru,
        locator: None,
        content_type: None,
        query: Some(&query),
        body: b"",
        credentials: &[],
    };
    world.inbox(world.table.clone()).receive(delivery, now()).await;
    follow(&world).await;
    let record = world.table.call_record(&sid()).await.unwrap().unwrap().record;
    assert_eq!(record.direction(), Some(Direction::Inbound));
    assert_eq!(record.facts.digits.unwrap().value, "1");
    assert_eq!(record.facts.flow_id.unwrap().value, "228040");
    for lead in ["lead-1", "lead-2"] {
        let page = world.table.calls(&lead_id(lead), 10, None).await.unwrap();
        assert_eq!(page.items.len(), 1, "{page:?}");
        assert_eq!(page.items[0].source(), CallSource::Inbound);
    }
    assert_eq!(world.aws.messages(), Vec::<Value>::new());
}

#[tokio::test]
async fn an_erased_lead_is_forgotten_in_the_records_too() {
    let world = World::new().await;
    let call = world.call("lead-1", 1).await;
    world.report(&call, CallState::Completed, Some(CALL_SID)).await;
    let report = listed(sid(), Direction::Outbound, "09811100001", "09811100002");
    world
        .table
        .merge_call_record(&sid(), std::slice::from_ref(&report))
        .await
        .unwrap();
    let orphan = call_event(
        EventOwner::Sid(CALL_SID.to_owned()),
        7,
        "CallSid=x&To=09811100002",
    );
    world.table.put_raw_event(&orphan).await.unwrap();
    follow(&world).await;
    while !world
        .table
        .erase_lead(&lead_id("lead-1"), 100)
        .await
        .unwrap()
        .done
    {}
    follow(&world).await;
    world.table.merge_call_record(&sid(), &[report]).await.unwrap();
    follow(&world).await;
    let items = world.items("").await;
    let told: Vec<&Value> = items
        .iter()
        .filter(|item| item.to_string().contains("9811100002") && item["PK"] != "LEAD#lead-2")
        .collect();
    assert!(told.is_empty(), "{told:#?}");
    let [summary] = &summaries(&world).await[..] else {
        panic!()
    };
    assert_eq!(
        (summary.outcome, &summary.customer),
        (Some(Outcome::Connected), &None)
    );
}

/// What follows from the records, without the revisions, which count how often somebody wrote.
async fn ends(world: &World) -> Vec<Value> {
    let mut items = world.items("CALLS#").await;
    items.extend(world.items("OPEN#RECORD").await);
    items.extend(
        world
            .items("SID#")
            .await
            .into_iter()
            .filter(|item| item["SK"] == "RECORD"),
    );
    for item in &mut items {
        item.as_object_mut().unwrap().remove("rev");
    }
    items
}

/// Twenty calls, each told of by two callbacks and twice by the list, once before it settled.
async fn told(seed: u64) -> (World, Vec<Value>) {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let world = World::new().await;
    let mut said: Vec<(CallSid, RecordReport)> = Vec::new();
    for n in 0..20 {
        let sid: CallSid = format!("{CALL_SID}{n}").parse().unwrap();
        let direction = if n % 3 == 0 {
            Direction::Inbound
        } else {
            Direction::Outbound
        };
        let mut first = listed(sid.clone(), direction, "09811100002", "08045550100");
        first.said.created_at = Some(now() + SignedDuration::from_secs(n * 977));
        let mut settled = first.clone();
        settled.said.price = Some("0.5000".to_owned());
        settled.said.duration_secs = Some(60);
        let mut callback = first.clone();
        (callback.source, callback.state) = (ReportSource::Callback, Some(CallState::NoAnswer));
        // The callback's clock read another second: the summary moves.
        callback.said.created_at = Some(now() + SignedDuration::from_secs(n * 977 - 3_600 * (n % 2)));
        callback.said.talk_secs = None;
        for report in [first, settled, callback] {
            said.push((sid.clone(), report));
        }
    }
    said.shuffle(&mut dice);
    for (sid, report) in said {
        world.table.merge_call_record(&sid, &[report]).await.unwrap();
    }
    let stream = world.stream().await;
    (world, stream)
}

#[tokio::test]
async fn batches_cut_otherwise_delivered_again_and_from_several_shards_end_the_same() {
    let (once, stream) = told(1).await;
    deliver(&once, &stream).await;
    let expected = ends(&once).await;
    assert_eq!(
        expected
            .iter()
            .filter(|item| item["entity_type"] == "call_summary")
            .count(),
        20
    );
    for seed in 2..8 {
        let (world, stream) = told(seed).await;
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        // An item's changes stay in order within its shard; shards take turns.
        let mut shards: [Vec<Value>; 3] = Default::default();
        for record in stream {
            let key = record["dynamodb"]["Keys"]["PK"]["S"].as_str().unwrap().to_owned();
            shards[key.len() % 3 + usize::from(key.ends_with('7')) * (2 - key.len() % 3)].push(record);
        }
        let mut left: Vec<std::collections::VecDeque<Value>> = shards.into_iter().map(Into::into).collect();
        while left.iter().any(|shard| !shard.is_empty()) {
            let shard = dice.random_range(0..3);
            let most = left[shard].len();
            if most == 0 {
                continue;
            }
            let batch: Vec<Value> = left[shard].drain(..dice.random_range(1..=most)).collect();
            deliver(&world, &batch).await;
            // Again, from somewhere within.
            deliver(&world, &batch[dice.random_range(0..batch.len())..]).await;
        }
        assert_eq!(ends(&world).await, expected, "seed {seed}");
    }
}
