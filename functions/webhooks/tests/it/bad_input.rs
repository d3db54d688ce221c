//! Whatever comes after authentication is answered 200 and kept as it came; above 64 KB it is 413.

use domain::call::CallState;
use proptest::prelude::*;
use services::inbound::{LONGEST_BODY, Webhook};
use table::EventOwner;

use crate::given::{CALL_SID, Post, TOKEN, World, kept, only_event, post};

/// Bodies that are no callback, with the content type they come with.
fn unreadable() -> Vec<(&'static str, Vec<u8>)> {
    let mut bodies: Vec<(&str, Vec<u8>)> = [
        ("application/json", ""),
        ("application/json", " "),
        ("application/json", "null"),
        ("application/json", "[]"),
        ("application/json", "{}"),
        ("application/json", "\"text\""),
        ("application/json", "{\"CallSid\":"),
        ("application/json", r#"{"CallSid":null,"Status":"completed"}"#),
        ("application/json", r#"{"CallSid":{"a":1},"Status":5}"#),
        ("application/json", r#"{"CallSid":["a"],"Status":["completed"]}"#),
        (
            "application/json",
            r#"{"CallSid":"../../etc","Status":"completed"}"#,
        ),
        ("application/json", r#"{"CallSid":"5f0c"}"#),
        ("application/x-www-form-urlencoded", "CallSid=&Status="),
        ("application/x-www-form-urlencoded", "%%%=%&&&==&"),
        ("application/x-www-form-urlencoded", "CallSid=null&Status=null"),
        (
            "multipart/form-data; boundary=x",
            "--x\r\nContent-Disposition: form-data; name=\"CallSid\"\r\n\r\na",
        ),
        ("multipart/form-data", "no boundary"),
        ("multipart/form-data; boundary=", "--\r\n"),
        ("image/png", "\u{89}PNG"),
        ("text/xml", "<CallSid>a</CallSid>"),
        ("", "\u{0}\u{ffff}\u{fffe}"),
    ]
    .into_iter()
    .map(|(kind, body)| (kind, body.as_bytes().to_vec()))
    .collect();
    bodies.push(("application/json", vec![b'['; 60_000]));
    bodies.push((
        "application/json",
        [b"{\"a\":".repeat(10_000), b"1".to_vec(), b"}".repeat(10_000)].concat(),
    ));
    bodies.push(("application/json", vec![0xff, 0xfe, b'{', 0]));
    bodies.push(("application/x-www-form-urlencoded", vec![0xc3, 0x28, 0x80]));
    bodies.push(("application/json", vec![b' '; LONGEST_BODY]));
    bodies
}

#[tokio::test]
async fn a_body_that_says_nothing_is_kept_as_it_came_and_changes_nothing() {
    let world = World::new().await;
    let door = world.door(Webhook::Call);
    for (n, (content_type, body)) in (1..).zip(unreadable()) {
        let call = world
            .call(n, CallState::InFlight, Some(&format!("{CALL_SID}{n}")))
            .await;
        let before = world.progress(&call).await;
        let request = Post::new(world.call_path(&call), content_type, body.clone());
        assert_eq!(
            post(&door, &request).await,
            kept(false),
            "{content_type} {:?}",
            &body[..body.len().min(80)]
        );
        let event = only_event(&world.table, EventOwner::Call(call.clone())).await;
        assert_eq!((event.body, event.handled), (body, Some(false)));
        assert_eq!(world.progress(&call).await, before);
    }
    // On a token URL there is no row to keep them with.
    let bodies = unreadable();
    for (content_type, body) in bodies {
        let request = Post::new(
            format!("/webhooks/exotel/call?token={TOKEN}"),
            content_type,
            body.clone(),
        );
        assert_eq!(post(&door, &request).await, kept(false));
    }
    let without_sid = world
        .table
        .raw_events_of(&EventOwner::Sid(String::new()))
        .await
        .unwrap();
    assert!(
        without_sid.len() + 2 >= unreadable().len(),
        "{}",
        without_sid.len()
    );
}

#[tokio::test]
async fn over_long_values_do_not_make_the_row_cost_more() {
    let world = World::new().await;
    let door = world.door(Webhook::Call);
    let call = world.call(1, CallState::InFlight, Some(CALL_SID)).await;
    let long = "9".repeat(10_000);
    let body = format!(
        r#"{{"CallSid":"{CALL_SID}","Status":"completed","ConversationDuration":"{long}","Price":"{long}",
        "RecordingUrl":"https://x.exotel.com/{long}","CustomField":"{long}","EndTime":"{long}","Legs":"{long}"}}"#
    );
    let raw_kb = (body.len() as f64 / 1024.0).ceil();
    world.dynamo.meter().take();
    let request = Post::new(world.call_path(&call), "application/json", body);
    assert_eq!(post(&door, &request).await, kept(true));
    let spent = world.dynamo.meter().take();
    assert!(
        spent.write_units <= 2.0 + raw_kb,
        "{spent:?} of which {raw_kb} raw"
    );
    let progress = world.progress(&call).await;
    assert_eq!(
        (progress.state, progress.recording_url, progress.price),
        (CallState::Completed, None, None)
    );
}

#[tokio::test]
async fn above_64_kb_it_is_413_after_the_sender_proved_who_it_is() {
    let world = World::new().await;
    let door = world.door(Webhook::Call);
    let call = world.call(1, CallState::InFlight, Some(CALL_SID)).await;
    for size in [LONGEST_BODY + 1, 1_000_000] {
        let (status, problem) = post(
            &door,
            &Post::new(world.call_path(&call), "text/plain", vec![b'a'; size]),
        )
        .await;
        assert_eq!((status, problem["code"].as_str()), (413, Some("body_too_large")));
        let request = Post::new(
            "/webhooks/exotel/call?token=wrong",
            "text/plain",
            vec![b'a'; size],
        );
        assert_eq!(post(&door, &request).await.0, 403);
    }
    assert_eq!(
        world.table.raw_events_of(&EventOwner::Call(call)).await.unwrap(),
        []
    );
}

#[tokio::test]
async fn an_event_of_a_call_that_is_gone_is_kept_and_not_handled() {
    let world = World::new().await;
    let gone = "call_01kak5yv7z8e4f9y2f4w6r8t0v.lead-9".parse().unwrap();
    let request = Post::new(
        world.call_path(&gone),
        "application/json",
        format!(r#"{{"CallSid":"{CALL_SID}","Status":"busy"}}"#),
    );
    for _ in 0..2 {
        assert_eq!(post(&world.door(Webhook::Call), &request).await, kept(false));
    }
    assert_eq!(
        only_event(&world.table, EventOwner::Call(gone)).await.handled,
        Some(false)
    );
}

/// Pieces of callbacks, so that the interesting paths are met.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"CallSid".to_vec()),
        Just(b"Status".to_vec()),
        Just(b"completed".to_vec()),
        Just(b"Legs[1][Status]".to_vec()),
        Just(b"\r\n--x\r\nContent-Disposition: form-data; name=\"CallSid\"\r\n\r\n".to_vec()),
        Just(b"https://a:b@c/?X-Amz-Signature=".to_vec()),
        "[{}\\[\\]:,\"=&%-]".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

#[test]
fn no_bytes_at_all_are_lost_or_make_it_fail() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (world, door, call) = runtime.block_on(async {
        let world = World::new().await;
        let call = world.call(1, CallState::InFlight, Some(CALL_SID)).await;
        let door = world.door(Webhook::Call);
        (world, door, call)
    });
    let types = [
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
        "text/plain",
    ];
    let path = world.call_path(&call);
    proptest!(ProptestConfig::with_cases(96), |(body in bodies(), kind in prop::sample::select(types.to_vec()))| {
        let (status, answer) = runtime.block_on(post(&door, &Post::new(path.as_str(), kind, body.clone())));
        prop_assert_eq!((status, &answer["success"]), (200, &serde_json::json!(true)));
        let events = runtime.block_on(world.table.raw_events_of(&EventOwner::Call(call.clone()))).unwrap();
        let credentials = body.windows(3).any(|w| w == b"://" || w == b"%3A" || w == b"%3a") || body.windows(9).any(|w| w == b"Signature");
        prop_assert!(credentials || events.iter().any(|event| event.body == body));
        prop_assert!(!events.is_empty());
    });
    drop(runtime.enter());
    let _guard = runtime.enter();
    drop(world);
}
