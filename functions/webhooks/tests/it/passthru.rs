//! Passthru applets: what they tell is kept, and their flow goes on by the rule.

use std::time::Duration;

use domain::{
    call::CallState,
    ids::VoiceSessionId,
    voicebot::{
        Ending, Rate,
        record::{Counts, Ended, VoiceSession},
    },
};
use dynamo::TABLE_NAME;
use exotel::{
    CallSid, CallStatus, CallType, Direction,
    callback::{BodyForm, PassthruCall},
};
use jiff::Timestamp;
use proptest::prelude::*;
use services::inbound::{Inbox, LONGEST_BODY, Webhook, WebhookQueue};
use table::{EventOwner, RawEvent, Table};

use crate::{
    aws::{dead_end, settings},
    given::{CALL_SID, Post, TOKEN, World, only_event, steer},
    logs,
};

const SID: &str = "90d3b6f2e8174a5cbb41f7e06c83193v";

fn sid(n: usize) -> CallSid {
    format!("{SID}{n}").parse().unwrap()
}

fn path(more: &str) -> String {
    format!("/webhooks/exotel/passthru?token={TOKEN}{more}")
}

fn get(call: &PassthruCall) -> Post {
    Post::get(path(&format!("&{}", call.to_query())))
}

async fn kept(world: &World, sid: &str) -> RawEvent {
    only_event(&world.table, EventOwner::Sid(sid.to_owned())).await
}

#[tokio::test]
async fn every_form_is_kept_under_the_calls_sid() {
    let world = World::new().await;
    let mut n = 0;
    for form in [BodyForm::Json, BodyForm::Urlencoded, BodyForm::Multipart] {
        for content_type in [None, Some("image/png")] {
            n += 1;
            let body = PassthruCall::incoming(sid(n)).encode(form);
            let request = Post {
                content_type: content_type
                    .map_or(Some(body.content_type.clone()), |kind| Some(kind.to_owned())),
                ..Post::new(path("&x=1"), "", body.body)
            };
            assert_eq!(steer(world.inbox(), "", &request).await, 200, "{request:?}");
            let event = kept(&world, sid(n).as_str()).await;
            assert_eq!((event.purpose.as_str(), event.handled), ("passthru", Some(true)));
            assert_eq!((event.body, event.query.as_deref()), (request.body, Some("x=1")));
        }
    }
    let call = PassthruCall::incoming(sid(100));
    for path in [
        path(&format!("&{}", call.to_query())),
        format!("/dev/webhooks/exotel/passthru?{}&token={TOKEN}", call.to_query()),
    ] {
        assert_eq!(steer(world.inbox(), "", &Post::get(path)).await, 200);
    }
    // Asked twice, kept once: the token is no part of an event.
    let event = kept(&world, sid(100).as_str()).await;
    assert_eq!((event.query, event.body), (Some(call.to_query()), Vec::new()));
}

#[tokio::test]
async fn a_call_of_ours_is_known_by_its_custom_field_and_its_row_left_alone() {
    let world = World::new().await;
    let ours = world.call(1, CallState::InFlight, Some(CALL_SID)).await;
    let before = world.progress(&ours).await;
    let call = PassthruCall {
        custom_field: Some(ours.to_string()),
        call_status: Some(CallStatus::Completed),
        ..PassthruCall::incoming(sid(1))
    };
    assert_eq!(steer(world.inbox(), "", &get(&call)).await, 200);
    let event = only_event(&world.table, EventOwner::Call(ours.clone())).await;
    assert_eq!((event.purpose.as_str(), event.handled), ("passthru", Some(true)));
    assert_eq!(world.progress(&ours).await, before);
}

#[tokio::test]
async fn the_rule_says_which_way_the_flow_goes_on() {
    let world = World::new().await;
    let incoming = PassthruCall::incoming(sid(1));
    let unknown = PassthruCall {
        call_from: Some("09811100001".into()),
        ..incoming.clone()
    };
    let e164 = PassthruCall {
        call_from: None,
        from: Some("+919811100002".into()),
        ..incoming.clone()
    };
    let withheld = PassthruCall {
        call_from: Some("anonymous".into()),
        ..incoming.clone()
    };
    let unanswered = PassthruCall {
        dial_call_status: Some(CallStatus::NoAnswer),
        call_type: Some(CallType::Incomplete),
        ..unknown.clone()
    };
    let outgoing = PassthruCall {
        direction: Some(Direction::OutboundDial),
        call_from: incoming.call_to.clone(),
        call_to: incoming.call_from.clone(),
        digits: None,
        ..incoming.clone()
    };
    for (rule, call, status) in [
        ("", &unknown, 200),
        ("known-lead", &incoming, 200),
        ("known-lead", &e164, 200),
        ("known-lead", &outgoing, 200),
        ("known-lead", &unknown, 302),
        ("known-lead", &withheld, 302),
        ("!known-lead", &incoming, 302),
        ("!known-lead", &withheld, 200),
        ("digits=1", &incoming, 200),
        ("digits=2", &incoming, 302),
        ("digits=1", &outgoing, 302),
        ("dial-status=no-answer", &unanswered, 200),
        ("dial-status=no-answer", &incoming, 302),
        ("!dial-status=completed", &incoming, 200),
        ("call-type=incomplete", &unanswered, 200),
        ("call-type=call-attempt", &unanswered, 302),
        ("direction=incoming", &incoming, 200),
        ("direction=incoming", &outgoing, 302),
        ("known-lead,digits=1,direction=incoming", &incoming, 200),
        ("known-lead,digits=1,direction=outbound-dial", &incoming, 302),
    ] {
        assert_eq!(
            steer(world.inbox(), rule, &get(call)).await,
            status,
            "{rule} {call:?}"
        );
        // The same in the URL; the setting, which says the opposite, then counts for nothing.
        let opposite = if status == 200 { "digits=9,digits=8" } else { "" };
        let in_url = Post::get(path(&format!(
            "&rule={}&{}",
            rule.replace('=', "%3D"),
            call.to_query()
        )));
        let setting = if rule.is_empty() { "" } else { opposite };
        assert_eq!(
            steer(world.inbox(), setting, &in_url).await,
            status,
            "{rule} in the URL"
        );
        let body = call.encode(BodyForm::Urlencoded);
        let posted = Post::new(path(""), &body.content_type, body.body);
        assert_eq!(steer(world.inbox(), rule, &posted).await, status, "{rule} posted");
    }
}

#[tokio::test]
async fn a_rule_in_the_url_that_cannot_be_read_lets_the_flow_go_on() {
    let world = World::new().await;
    for rule in ["knwon-lead", "digits=9811100002", ",", "%ff", "digits"] {
        let call = PassthruCall::incoming(sid(1)).to_query();
        let request = Post::get(path(&format!("&rule={rule}&{call}")));
        // A long run of keys is a rule that can be read; the others are not, and the setting does not step in.
        let status = if rule.starts_with("digits=") { 302 } else { 200 };
        assert_eq!(steer(world.inbox(), "digits=9", &request).await, status, "{rule}");
    }
    assert!(logs::has("the rule in a Passthru URL cannot be read"));
}

#[tokio::test]
async fn who_proves_nothing_is_refused_and_leaves_no_trace() {
    let world = World::new().await;
    let call = PassthruCall::incoming(sid(1)).to_query();
    let ours = world.call(1, CallState::InFlight, Some(CALL_SID)).await;
    let capability = world.call_path(&ours);
    world.dynamo.meter().take();
    for query in [
        "",
        "token=",
        "token=wrong",
        "Token=webhook-token-hunter1",
        "token=%ff",
        "rule=known-lead",
    ] {
        for request in [
            Post::get(format!("/webhooks/exotel/passthru?{query}&{call}")),
            Post::new(
                format!("/webhooks/exotel/passthru?{query}"),
                "application/x-www-form-urlencoded",
                call.clone(),
            ),
        ] {
            assert_eq!(steer(world.inbox(), "", &request).await, 403, "{query}");
        }
    }
    for path in [
        capability.as_str(),
        "/webhooks/exotel/call",
        "/webhooks/exotel/passthru/x/y",
        "/api/exotel/passthru",
        "/",
    ] {
        let request = Post::get(format!("{path}?token={TOKEN}&{call}"));
        assert_eq!(steer(world.inbox(), "", &request).await, 404, "{path}");
    }
    assert_eq!(
        world.dynamo.meter().take().requests,
        0,
        "nothing was written or read"
    );
}

#[tokio::test]
async fn what_says_nothing_is_kept_and_lets_the_flow_go_on() {
    let world = World::new().await;
    for (n, body) in [
        &b""[..],
        b"{",
        b"CallFrom=09811100002",
        b"\xff\xfe",
        b"CallSid=../x",
        b"[1,2]",
    ]
    .iter()
    .enumerate()
    {
        let request = Post::new(path(&format!("&n={n}")), "application/json", body.to_vec());
        assert_eq!(steer(world.inbox(), "digits=9", &request).await, 200, "{body:?}");
    }
    let events = world
        .table
        .raw_events_of(&EventOwner::Sid(String::new()))
        .await
        .unwrap();
    assert_eq!(events.len(), 6, "{events:?}");
    assert!(events.iter().all(|event| event.handled == Some(false)));
    let large = Post::new(path(""), "text/plain", vec![b'a'; LONGEST_BODY + 1]);
    assert_eq!(steer(world.inbox(), "", &large).await, 413);
}

/// A session of this call with a bot, as it began, and as it ended if it has.
async fn session(table: &Table, at: i64, call_sid: CallSid, why: Option<Ending>) {
    let at = Timestamp::from_second(1_795_687_200 + at).unwrap();
    let session = VoiceSession {
        call_sid: Some(call_sid.as_str().parse().unwrap()),
        ..VoiceSession::new(VoiceSessionId::new(at, 7), "reception", Rate::Hz8000)
    };
    table.offer_voice_session(&session).await.unwrap();
    let Some(why) = why else { return };
    let ended = Ended {
        at,
        why,
        counts: Counts::default(),
    };
    let _ = table.end_voice_session(&session.id, &ended).await.unwrap();
}

#[tokio::test]
async fn a_flow_goes_on_by_what_came_of_its_last_bot() {
    let world = World::new().await;
    let transferred = || Some(Ending::Transferred("agent".to_owned()));
    session(&world.table, 0, sid(1), transferred()).await;
    session(&world.table, 0, sid(2), transferred()).await;
    session(&world.table, 9, sid(2), Some(Ending::HungUp)).await;
    session(&world.table, 0, sid(3), None).await;
    for (rule, n, status) in [
        ("bot-outcome=agent", 1, 200),
        ("bot-outcome=agent", 2, 302),
        ("bot-outcome=hung_up", 2, 200),
        ("bot-outcome=agent", 3, 302),
        ("!bot-outcome=agent", 3, 200),
        ("bot-outcome=agent", 4, 302),
        ("known-lead,bot-outcome=agent", 1, 200),
        ("!known-lead,bot-outcome=agent", 1, 302),
    ] {
        let call = PassthruCall::incoming(sid(n));
        assert_eq!(
            steer(world.inbox(), rule, &get(&call)).await,
            status,
            "{rule} {n}"
        );
    }
}

#[tokio::test]
async fn a_table_that_fails_lets_the_flow_go_on_and_the_event_waits_in_the_queue() {
    let world = World::new().await;
    let dead = || async {
        Table::new(
            aws_sdk_dynamodb::Client::new(&settings(&dead_end().await)),
            TABLE_NAME,
        )
    };
    let call = PassthruCall::incoming(sid(1));
    // Neither a rule that would hold nor one that would not can be held against the lead or the bot.
    for rule in [
        "known-lead",
        "!known-lead",
        "known-lead,digits=9",
        "bot-outcome=agent",
    ] {
        let queue = WebhookQueue::new(world.aws.settings(), world.aws.queue_url());
        let inbox = Inbox::new(dead().await, queue);
        assert_eq!(steer(inbox, rule, &get(&call)).await, 200, "{rule}");
        let [message] = <[_; 1]>::try_from(world.aws.messages()).unwrap();
        assert_eq!(
            (&message["body"]["webhook"], &message["body"]["query"]),
            (&"passthru".into(), &call.to_query().into())
        );
    }
    // What does not need the table is still steered.
    let queue = || WebhookQueue::new(world.aws.settings(), world.aws.queue_url());
    assert_eq!(
        steer(Inbox::new(dead().await, queue()), "digits=9", &get(&call)).await,
        302
    );
    assert!(logs::has("could not be looked up"));
    world.aws.set_down(true);
    assert_eq!(
        steer(Inbox::new(dead().await, queue()), "", &get(&call)).await,
        200
    );
}

/// A place where everything is accepted and nothing answered.
async fn silence() -> (tokio::net::TcpListener, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[tokio::test(start_paused = true)]
async fn a_table_and_a_queue_that_hang_keep_the_caller_waiting_for_about_a_second() {
    logs::capture();
    let (_listener, url) = silence().await;
    let inbox = Inbox::connect(
        Webhook::Passthru,
        &settings(&url),
        TABLE_NAME,
        &format!("{url}/0/webhook-events"),
    );
    let began = tokio::time::Instant::now();
    assert_eq!(
        steer(inbox, "known-lead", &get(&PassthruCall::incoming(sid(1)))).await,
        200
    );
    let waited = began.elapsed();
    assert!(waited <= Duration::from_millis(1_200), "{waited:?}");
    assert!(logs::has("a call's Passthru is lost") || logs::has("Exotel has to send the event again"));
}

#[tokio::test]
async fn a_passthru_costs_its_event_and_a_rule_about_leads_the_index_and_the_row() {
    let world = World::new().await;
    for (rule, from, requests, reads) in [
        ("", "09811100002", 1, 0.0),
        ("digits=1", "09811100002", 1, 0.0),
        ("known-lead", "09811100001", 2, 0.5),
        ("known-lead", "09811100002", 3, 1.5),
    ] {
        let call = PassthruCall {
            call_from: Some(from.into()),
            current_time: exotel::ExotelTime::from_wire(&format!(
                "2026-11-20 14:03:{requests:02}{}",
                rule.len()
            )),
            ..PassthruCall::incoming(sid(1))
        };
        world.dynamo.meter().take();
        steer(world.inbox(), rule, &get(&call)).await;
        let spent = world.dynamo.meter().take();
        println!("passthru with the rule {rule:?}: {spent:?}");
        assert_eq!((spent.requests, spent.errors), (requests, 0), "{rule} {from}");
        assert_eq!(
            (spent.write_units, spent.read_units),
            (1.0, reads),
            "{rule} {from}"
        );
    }
}

/// Pieces of what an applet sends, so that the interesting paths are met.
fn pieces() -> impl Strategy<Value = String> {
    "(&|=|CallSid|CallFrom|digits|rule|known-lead|Legs\\[0\\]\\[Cause\\]|Stream|[{}\":,]|%22|09811100002|[a-z0-9]{1,4}){0,12}"
}

#[test]
fn no_request_at_all_is_lost_or_stops_a_flow() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let world = runtime.block_on(World::new());
    proptest!(ProptestConfig::with_cases(64), |(query in pieces(), body in pieces())| {
        let request = Post::new(path(&format!("&{query}")), "application/json", body.clone().into_bytes());
        let status = runtime.block_on(steer(world.inbox(), "known-lead", &request));
        prop_assert!(status == 200 || status == 302, "{}", status);
    });
    let _guard = runtime.enter();
    drop(world);
}
