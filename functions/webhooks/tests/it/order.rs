//! Duplicates, late events, contradictions: whatever the order, the row ends the same and nothing is lost.

use domain::call::{CallProgress, CallReport, CallState, Outcome, ReportSource};
use exotel::{
    CallStatus,
    callback::{BodyForm, CallStatusCallback},
};
use services::inbound::Webhook;
use table::EventOwner;

use crate::given::{CALL_SID, Post, World, kept, post};

fn sid() -> exotel::CallSid {
    CALL_SID.parse().unwrap()
}

/// The agent answers.
fn agent() -> CallStatusCallback {
    CallStatusCallback::answered(sid())
}

/// The lead answers.
fn lead() -> CallStatusCallback {
    let mut callback = agent();
    callback.legs[1].status = Some(CallStatus::InProgress);
    callback.date_updated = exotel::ExotelTime::from_wire("2026-11-20 14:03:41");
    callback
}

fn no_answer() -> CallStatusCallback {
    let mut callback = CallStatusCallback::completed(sid());
    callback.status = CallStatus::NoAnswer;
    callback.conversation_duration_secs = Some(0);
    callback.legs.clear();
    callback
}

fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![vec![]];
    }
    permutations(n - 1)
        .into_iter()
        .flat_map(|order| {
            (0..n).map(move |at| {
                let mut longer = order.clone();
                longer.insert(at, n - 1);
                longer
            })
        })
        .collect()
}

/// Posts the events in this order, each in another form, then each once more; the call's own ACCEPTED comes after
/// `accepted_after` of them.
async fn play(
    world: &World,
    n: u32,
    events: &[CallStatusCallback],
    order: &[usize],
    accepted_after: usize,
) -> CallProgress {
    let door = world.door(Webhook::Call);
    let call = world.call(n, CallState::InFlight, None).await;
    let forms = [BodyForm::Json, BodyForm::Urlencoded, BodyForm::Multipart];
    let twice: Vec<usize> = order.iter().chain(order).copied().collect();
    for (step, &event) in twice.iter().enumerate() {
        if step == accepted_after {
            let mut accepted = CallReport::new(ReportSource::Callback, Some(CallState::Accepted));
            accepted.sid = Some(CALL_SID.parse().unwrap());
            world.table.record_call_report(&call, &accepted).await.unwrap();
        }
        let body = events[event].encode(forms[(event + n as usize) % 3]);
        let request = Post::new(world.call_path(&call), &body.content_type, body.body);
        assert_eq!(
            post(&door, &request).await,
            kept(true),
            "a duplicate is handled, too"
        );
    }
    let kept_events = world
        .table
        .raw_events_of(&EventOwner::Call(call.clone()))
        .await
        .unwrap();
    assert_eq!(kept_events.len(), events.len(), "each event is kept once");
    world.progress(&call).await
}

#[tokio::test]
async fn every_order_of_a_calls_events_ends_in_one_state() {
    let world = World::new().await;
    let mut n = 0;
    for events in [
        vec![agent(), lead(), CallStatusCallback::completed(sid())],
        vec![
            agent(),
            CallStatusCallback::bare(sid(), CallStatus::Completed),
            lead(),
        ],
        vec![agent(), lead(), CallStatusCallback::completed(sid()), no_answer()],
    ] {
        let mut ends: Vec<CallProgress> = Vec::new();
        for (turn, order) in permutations(events.len()).iter().enumerate() {
            n += 1;
            ends.push(play(&world, n, &events, order, turn % (events.len() + 1)).await);
        }
        assert!(ends.iter().all(|end| end == &ends[0]), "{ends:#?}");
        assert_eq!(ends[0].state, CallState::Completed);
        assert_eq!(ends[0].outcome(), Outcome::Connected);
        assert_eq!(
            ends[0].answered_at.as_ref().unwrap().value,
            "2026-11-20T08:33:41Z".parse().unwrap()
        );
    }
}

#[tokio::test]
async fn completed_is_connected_unless_the_event_says_the_parties_did_not_talk() {
    let world = World::new().await;
    let door = world.door(Webhook::Call);
    let leg =
        "Legs[0][Status]=completed&Legs[0][OnCallDuration]=20&Legs[1][OnCallDuration]=0&Legs[1][Status]";
    let cases = [
        (
            "Status=completed&ConversationDuration=41".to_owned(),
            Outcome::Connected,
            Some(41),
        ),
        (
            "Status=completed&ConversationDuration=0".to_owned(),
            Outcome::NotPicked,
            Some(0),
        ),
        ("Status=completed".to_owned(), Outcome::Connected, None),
        (
            "Status=completed&ConversationDuration=null&RecordingUrl=null".to_owned(),
            Outcome::Connected,
            None,
        ),
        (
            format!("Status=completed&{leg}=no-answer"),
            Outcome::NotPicked,
            None,
        ),
        (format!("Status=completed&{leg}="), Outcome::NotPicked, None),
        (
            format!("Status=completed&{leg}=completed"),
            Outcome::Connected,
            None,
        ),
        (
            "Status=completed&Legs[0][Status]=completed".to_owned(),
            Outcome::Connected,
            None,
        ),
        ("Status=no-answer".to_owned(), Outcome::NotPicked, None),
        ("Status=busy".to_owned(), Outcome::NotPicked, None),
        ("Status=failed".to_owned(), Outcome::Disconnected, None),
        ("Status=canceled".to_owned(), Outcome::Disconnected, None),
        ("Status=Cancelled".to_owned(), Outcome::Disconnected, None),
        ("Status=teleported".to_owned(), Outcome::ExotelDispatched, None),
    ];
    for (n, (says, outcome, talked)) in (1..).zip(cases) {
        let call = world.call(n, CallState::Accepted, None).await;
        let body = format!("CallSid={CALL_SID}{n}&EventType=terminal&EndTime=1970-01-01+05:30:00&{says}");
        let request = Post::new(world.call_path(&call), "application/x-www-form-urlencoded", body);
        assert_eq!(post(&door, &request).await, kept(true));
        let row = world.table.call(&call).await.unwrap().unwrap();
        assert_eq!((row.outcome(), row.duration_secs()), (outcome, talked), "{says}");
        let progress = world.progress(&call).await;
        assert_eq!(
            (progress.ended_at, progress.recording_url),
            (None, None),
            "{says}"
        );
    }
}

#[tokio::test]
async fn an_event_of_another_sid_changes_nothing_on_a_calls_own_url() {
    let world = World::new().await;
    let door = world.door(Webhook::Call);
    let call = world.call(1, CallState::InFlight, Some(CALL_SID)).await;
    let before = world.progress(&call).await;
    for (n, sid) in (1..).zip(["00000000000000000000000000000000", "not-a.sid"]) {
        let forged = CallStatusCallback::completed(sid.parse().unwrap());
        let body = forged.encode(BodyForm::Json);
        let request = Post::new(world.call_path(&call), &body.content_type, body.body);
        assert_eq!(post(&door, &request).await, kept(false), "{sid}");
        assert_eq!(world.progress(&call).await, before);
        let events = world
            .table
            .raw_events_of(&EventOwner::Call(call.clone()))
            .await
            .unwrap();
        let handled: Vec<_> = events.iter().map(|event| event.handled).collect();
        assert_eq!(handled, vec![Some(false); n], "kept for the operator");
    }
    let body = CallStatusCallback::completed(sid()).encode(BodyForm::Json);
    let request = Post::new(world.call_path(&call), &body.content_type, body.body);
    assert_eq!(post(&door, &request).await, kept(true));
}

#[tokio::test]
async fn what_authorises_is_not_kept_and_numbers_are() {
    let world = World::new().await;
    let door = world.door(Webhook::Call);
    let call = world.call(1, CallState::InFlight, Some(CALL_SID)).await;
    let body = format!(
        r#"{{"CallSid":"{CALL_SID}","Status":"completed","To":"09811100002","CustomField":"{}",
        "RecordingUrl":"https:\/\/{}:{}@s3-ap-southeast-1.amazonaws.com\/exotelrecordings\/acme1\/a.mp3",
        "PreSignedRecordingUrl":"https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/acme1/a.mp3?X-Amz-Date=1&X-Amz-Signature=5ec4e7"}}"#,
        crate::given::TOKEN,
        crate::given::API_KEY,
        crate::given::API_TOKEN,
    );
    let request = Post::new(world.call_path(&call), "application/json", body);
    assert_eq!(post(&door, &request).await, kept(true));
    let event = crate::given::only_event(&world.table, EventOwner::Call(call.clone())).await;
    let text = String::from_utf8(event.body).unwrap();
    for secret in ["hunter", "5ec4e7"] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(
        text.contains("09811100002") && text.contains("X-Amz-Signature=removed"),
        "{text}"
    );
    let recording = world.progress(&call).await.recording_url.unwrap().value;
    assert_eq!(
        recording,
        "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/acme1/a.mp3"
    );
}
