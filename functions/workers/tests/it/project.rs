//! project-events: what follows from the stream, exact however often and in whatever pieces it is delivered.

use std::collections::BTreeMap;

use domain::{
    call::CallState,
    ids::CallLocator,
    sms::{SmsReport, SmsState},
};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use table::EventOwner;

use crate::{
    given::{CALL_SID, World, batch, call_event, lead_id, now},
    project_events::handle,
    replay_events,
};

/// Delivers these records as one batch; gives the sequence number it stopped at.
async fn deliver(world: &World, records: &[Value]) -> Option<String> {
    let event = serde_json::from_value(json!({ "Records": records })).unwrap();
    let response = handle(&world.projector(), event).await;
    assert!(response.batch_item_failures.len() <= 1);
    response
        .batch_item_failures
        .into_iter()
        .next()
        .map(|failure| failure.item_identifier.unwrap())
}

/// Calls and messages in all their ways, raw events, orphans, and a lead that is erased.
async fn history() -> World {
    let world = World::new().await;
    use CallState::*;
    let ways: [&[CallState]; 9] = [
        &[],
        &[Accepted],
        &[Accepted, InProgress, Talking, Completed],
        &[Completed],
        &[Accepted, Busy],
        &[Ringing, InProgress],
        &[Accepted, Failed],
        &[Accepted, InProgress, NoAnswer],
        &[Accepted, Completed],
    ];
    for (n, way) in (1..).zip(ways) {
        let lead = if n % 2 == 0 { "lead-1" } else { "lead-2" };
        let call = world.call(lead, n).await;
        for state in way {
            let event = call_event(
                EventOwner::Call(call.clone()),
                n * 10 + *state as u32,
                "CallSid=a&Status=busy",
            );
            world.table.put_raw_event(&event).await.unwrap();
            world.report(&call, *state, Some(&format!("{CALL_SID}{n}"))).await;
        }
    }
    let sms = world.sms("lead-1", 50).await;
    let failed = world.sms("lead-2", 51).await;
    for (sms, state) in [
        (&sms, SmsState::Queued),
        (&failed, SmsState::Failed),
        (&sms, SmsState::Sent),
        (&sms, SmsState::Delivered),
    ] {
        let report = SmsReport::new(domain::call::ReportSource::Callback, Some(state));
        world.table.record_sms_report(sms, &report).await.unwrap();
    }
    world.sms("lead-2", 52).await;
    world.alert(60).await;
    let orphan = call_event(
        EventOwner::Sid("stranger".to_owned()),
        900,
        "CallSid=stranger&Status=busy",
    );
    world.table.put_raw_event(&orphan).await.unwrap();
    while !world
        .table
        .erase_lead(&lead_id("lead-2"), 100)
        .await
        .unwrap()
        .done
    {}
    world
}

/// The bus's events by their id, and the messages: what receivers that know ids end up with.
fn told(world: &World) -> (BTreeMap<String, Value>, BTreeMap<String, Value>) {
    let events = world
        .aws
        .events()
        .into_iter()
        .map(|event| (event["detail"]["eventId"].as_str().unwrap().to_owned(), event));
    let messages = world
        .aws
        .messages()
        .into_iter()
        .map(|message| (message["body"]["id"].to_string(), message));
    (events.collect(), messages.collect())
}

async fn projected(world: &World) -> Vec<Value> {
    let mut items = world.items("OPEN#").await;
    items.extend(world.items("EVENTS#").await);
    items
}

#[tokio::test]
async fn a_stream_delivered_again_and_cut_otherwise_ends_in_the_same_items_and_events() {
    let records = history().await.stream().await;
    let once = World::empty().await;
    assert_eq!(deliver(&once, &records).await, None);
    let (items, told_once) = (projected(&once).await, told(&once));
    println!(
        "{} records, {} items, {} bus events",
        records.len(),
        items.len(),
        told_once.0.len()
    );
    assert!(items.len() >= 10 && told_once.0.len() > 15 && told_once.1.len() == 1);
    for seed in 0..12 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let world = World::empty().await;
        let mut at = 0;
        while at < records.len() {
            let end = (at + rng.random_range(1..20)).min(records.len());
            if rng.random_bool(0.2) {
                world.aws.refuse(&["call.completed", "sms.failed"]);
            }
            let stopped = deliver(&world, &records[at..end]).await;
            world.aws.refuse(&[]);
            at = match stopped {
                Some(number) => records
                    .iter()
                    .position(|record| record["dynamodb"]["SequenceNumber"] == *number)
                    .unwrap(),
                // Now and then Lambda does not learn that a batch was done, and goes back.
                None if rng.random_bool(0.3) => at.saturating_sub(rng.next_u32() as usize % 10),
                None => end,
            };
        }
        assert_eq!(projected(&world).await, items, "seed {seed}");
        assert_eq!(told(&world), told_once, "seed {seed}");
    }
}

#[tokio::test]
async fn rows_are_listed_while_they_are_not_final() {
    let world = World::new().await;
    let listed = async || -> Vec<CallLocator> {
        deliver(&world, &world.stream().await).await;
        world
            .table
            .open_calls(now() + jiff::SignedDuration::from_hours(1), None)
            .await
            .unwrap()
            .items
    };
    let call = world.call("lead-1", 1).await;
    assert_eq!(listed().await, std::slice::from_ref(&call));
    world.report(&call, CallState::InProgress, Some(CALL_SID)).await;
    assert_eq!(listed().await, std::slice::from_ref(&call));
    world.report(&call, CallState::Completed, Some(CALL_SID)).await;
    assert_eq!(listed().await, []);
    let sms = world.sms("lead-1", 2).await;
    deliver(&world, &world.stream().await).await;
    let later = now() + jiff::SignedDuration::from_hours(1);
    assert_eq!(
        world.table.open_sms_messages(later, None).await.unwrap().items,
        [sms]
    );
}

#[tokio::test]
async fn raw_events_are_listed_by_the_hour_they_came_in() {
    let world = World::new().await;
    let call = world.call("lead-1", 1).await;
    let event = call_event(EventOwner::Call(call), 5, "CallSid=a&Status=busy");
    world.table.put_raw_event(&event).await.unwrap();
    assert_eq!(deliver(&world, &world.stream().await).await, None);
    let page = world
        .table
        .raw_events_by_hour(now(), now() + jiff::SignedDuration::from_mins(5), 10, None)
        .await
        .unwrap();
    assert_eq!(page.items, [event]);
}

#[tokio::test]
async fn the_bus_hears_of_each_step_without_whole_numbers_or_notes() {
    let world = World::new().await;
    let call = world.call("lead-1", 1).await;
    for state in [
        CallState::Accepted,
        CallState::Ringing,
        CallState::InProgress,
        CallState::Talking,
        CallState::Completed,
    ] {
        world.report(&call, state, Some(CALL_SID)).await;
    }
    // A late report that corrects a fact, and one that tells nothing new.
    let mut late =
        domain::call::CallReport::new(domain::call::ReportSource::Details, Some(CallState::Completed));
    late.recording_url = Some("https://recordings.exotel.com/a.mp3".to_owned());
    for _ in 0..2 {
        world.table.record_call_report(&call, &late).await.unwrap();
    }
    assert_eq!(deliver(&world, &world.stream().await).await, None);
    let events = world.aws.events();
    let steps: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event["type"].as_str().unwrap(),
                event["detail"]["answeredBy"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        steps,
        [
            ("call.dispatched", None),
            ("call.answered", Some("agent")),
            ("call.answered", Some("lead")),
            ("call.completed", None),
            ("call.corrected", None),
        ]
    );
    let mut detail = events[4]["detail"].clone();
    detail["eventId"] = json!("…");
    assert_eq!(
        detail,
        json!({"version": 1, "eventId": "…", "callId": call.id.as_str(), "leadId": "lead-1", "callSid": CALL_SID,
            "calledBy": "user-1", "calledAt": "2026-11-21T04:00:01Z", "outcome": "connected", "durationSec": 41,
            "hasRecording": true, "agentPhoneLast4": "0001", "leadPhoneLast4": "0002"})
    );
    let text = serde_json::to_string(&events).unwrap();
    assert!(
        !text.contains("98111") && !text.contains("notes") && !text.contains("recordings.exotel"),
        "{text}"
    );
}

#[tokio::test]
async fn the_bus_hears_once_that_an_alert_was_raised_acknowledged_and_recovered() {
    let world = World::empty().await;
    let alert = world.alert(1).await;
    let records = world.stream().await;
    // The open entry and the alert; the acknowledgement of both; the recovery of both.
    assert_eq!(records.len(), 6);
    for _ in 0..2 {
        assert_eq!(deliver(&world, &records).await, None);
    }
    let (events, _) = told(&world);
    let mut events: Vec<Value> = events.into_values().collect();
    events.sort_by_key(|event| event["type"] != "alert.raised");
    assert_eq!(events.len(), 3, "{events:?}");
    let mut raised = events[0]["detail"].clone();
    raised["eventId"] = json!("…");
    assert_eq!(
        raised,
        json!({"version": 1, "eventId": "…", "alertId": alert.id, "rule": "unconfirmed-intents",
            "subject": "account", "severity": "P2", "message": alert.message, "value": 3.0, "threshold": 0.0,
            "sample": 1, "raisedAt": "2026-11-21T04:00:01Z"})
    );
    let of = |what: &str| events.iter().find(|event| event["type"] == what).unwrap()["detail"].clone();
    assert_eq!(of("alert.acknowledged")["acknowledgedBy"], "admin-1");
    assert_eq!(of("alert.recovered")["recoveredAt"], "2026-11-21T04:00:03Z");
    let text = serde_json::to_string(&events).unwrap();
    assert!(!text.contains("a note"), "{text}");
}

#[tokio::test]
async fn an_event_that_came_before_its_row_was_known_is_applied_to_it() {
    let world = World::new().await;
    let call = world.call("lead-1", 1).await;
    let orphan = call_event(
        EventOwner::Sid(CALL_SID.to_owned()),
        1,
        &format!("CallSid={CALL_SID}&Status=busy"),
    );
    let mut of_an_sms = call_event(EventOwner::Sid(CALL_SID.to_owned()), 2, "");
    of_an_sms.purpose = "sms".to_owned();
    world.table.put_raw_event(&orphan).await.unwrap();
    world.table.put_raw_event(&of_an_sms).await.unwrap();
    assert_eq!(deliver(&world, &world.stream().await).await, None);
    let later = world.aws.messages();
    assert!(
        later.iter().all(|message| message["delay"] == 30) && later.len() == 2,
        "the index may only lag: {later:?}"
    );
    let before = world.stream().await.len();
    world.report(&call, CallState::Accepted, Some(CALL_SID)).await;
    assert_eq!(deliver(&world, &world.stream().await[before..]).await, None);
    let messages: Vec<Value> = world
        .aws
        .messages()
        .iter()
        .map(|message| message["body"].clone())
        .collect();
    assert_eq!(messages.len(), 1, "of a call's own kind alone");
    replay_events::handle(&world.replay(), batch(&messages)).await;
    assert_eq!(world.state(&call).await, CallState::Busy);
    assert_eq!(
        world.table.raw_events_of(&orphan.owner).await.unwrap(),
        [of_an_sms]
    );
}

#[tokio::test]
async fn a_batch_stops_at_the_first_change_that_was_not_told_or_written() {
    let world = World::new().await;
    let call = world.call("lead-1", 1).await;
    let sms = world.sms("lead-1", 2).await;
    world.report(&call, CallState::Completed, None).await;
    let records = world.stream().await;
    let number = |n: usize| {
        records[n]["dynamodb"]["SequenceNumber"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let of = |sk: &str| {
        records
            .iter()
            .rposition(|record| {
                record["dynamodb"]["Keys"]["SK"]["S"]
                    .as_str()
                    .unwrap()
                    .starts_with(sk)
            })
            .unwrap()
    };
    world.aws.refuse(&["call.completed"]);
    assert_eq!(deliver(&world, &records).await, Some(number(of("CALL#"))));
    world.aws.refuse(&["sms.queued"]);
    assert_eq!(
        deliver(&world, &records).await,
        Some(number(of(&format!("SMS#{}", sms.id))))
    );
    world.aws.refuse(&[]);
    world.aws.set_down(true);
    assert_eq!(
        deliver(&world, &records).await,
        Some(number(of(&format!("SMS#{}", sms.id)))),
        "the first with news"
    );
    world.aws.set_down(false);
    let mut broken = records.clone();
    broken[of("CALL#")]["dynamodb"]["NewImage"]["rank"] = json!({"S": "high"});
    assert_eq!(
        deliver(&world, &broken).await,
        Some(number(of("CALL#"))),
        "an image that cannot be read"
    );
    assert_eq!(deliver(&world, &records).await, None);
}

#[tokio::test]
async fn the_example_event_is_a_batch_that_is_done() {
    let world = World::new().await;
    let event: Value =
        serde_json::from_str(include_str!("../../../../events/project-events.batch.json")).unwrap();
    assert_eq!(deliver(&world, event["Records"].as_array().unwrap()).await, None);
    let types: Vec<Value> = world
        .aws
        .events()
        .iter()
        .map(|event| event["type"].clone())
        .collect();
    assert_eq!(types, ["call.dispatched", "call.completed"]);
    assert_eq!(world.items("EVENTS#").await.len(), 1);
    assert_eq!(world.items("OPEN#").await.len(), 0);
}

#[tokio::test]
async fn an_erased_event_leaves_its_hour_and_an_expired_or_moved_one_is_not_looked_for() {
    let world = World::new().await;
    let call = world.call("lead-1", 1).await;
    let event = call_event(EventOwner::Call(call), 5, "CallSid=a&Status=busy");
    let orphan = call_event(EventOwner::Sid("a".to_owned()), 6, "CallSid=a&Status=busy");
    for event in [&event, &orphan] {
        world.table.put_raw_event(event).await.unwrap();
    }
    assert_eq!(deliver(&world, &world.stream().await).await, None);
    let before = world.stream().await.len();
    for event in [&event, &orphan] {
        world.table.delete_raw_event(&event.id()).await.unwrap();
    }
    let removals = world.stream().await.split_off(before);
    let mut expired = removals.clone();
    expired[0]["userIdentity"] = json!({"type": "Service", "principalId": "dynamodb.amazonaws.com"});
    assert_eq!(deliver(&world, &expired).await, None);
    assert_eq!(world.items("EVENTS#").await.len(), 2);
    assert_eq!(deliver(&world, &removals).await, None);
    let left = world.items("EVENTS#").await;
    assert_eq!((left.len(), left[0]["event_pk"].as_str()), (1, Some("SID#a")));
}
