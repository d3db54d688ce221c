//! Who may come in by which route, in which form, and what that costs.

use domain::{
    call::{CallOrigin, CallState, LegStatus, Outcome},
    sms::SmsState,
};
use exotel::callback::{BodyForm, CallStatusCallback, SmsStatusCallback};
use services::inbound::Webhook;
use table::EventOwner;
use webhooks::Door;

use crate::given::{
    CALL_SID, MD5, Post, SIGNING_KEY, SMS_SID, TOKEN, World, kept, keys, only_event, post, secrets,
};

const FORMS: [BodyForm; 3] = [BodyForm::Json, BodyForm::Urlencoded, BodyForm::Multipart];

/// The callback in every form that may reach us at this path: three bodies, each also with a wrong content type and
/// none at all, and in the query alone.
fn every_form(path: &str, encode: impl Fn(BodyForm) -> exotel::callback::CallbackBody) -> Vec<Post> {
    let mut posts = Vec::new();
    for form in FORMS {
        let encoded = encode(form);
        let body = encoded.body;
        posts.push(Post::new(path, &encoded.content_type, body.clone()));
        posts.push(Post::new(path, "image/png", body.clone()));
        posts.push(Post {
            path: path.to_owned(),
            body,
            ..Post::default()
        });
    }
    let query = String::from_utf8(encode(BodyForm::Urlencoded).body).unwrap();
    let join = if path.contains('?') { '&' } else { '?' };
    posts.push(Post {
        path: format!("{path}{join}{query}"),
        ..Post::default()
    });
    posts
}

#[tokio::test]
async fn every_form_of_a_call_event_on_every_route_resolves_the_call() {
    let world = World::new().await;
    let door = Door::new(
        Webhook::Call,
        secrets(&[("LEGACY_MD5_CALLBACKS", "true")]),
        world.inbox(),
    );
    let mut n = 0;
    for route in 0..5 {
        for form in 0..10 {
            n += 1;
            let sid = format!("{CALL_SID}{n}");
            let call = world.call(n, CallState::InFlight, Some(&sid)).await;
            let path = match route {
                0 => world.call_path(&call),
                1 => format!("/webhooks/exotel/call?token={TOKEN}"),
                2 => format!("/api/exotel/call-status?token={TOKEN}"),
                3 => format!("/dev/webhooks/exotel/call?x=1&token={TOKEN}"),
                _ => format!("/api/webhooks/exotel/call-callback/0b7e/{}", MD5.to_uppercase()),
            };
            let callback = CallStatusCallback::completed(sid.parse().unwrap());
            let request = &every_form(&path, |form| callback.encode(form))[form];
            assert_eq!(post(&door, request).await, kept(true), "{request:?}");
            let row = world.table.call(&call).await.unwrap().unwrap();
            assert_eq!(
                (row.outcome(), row.duration_secs()),
                (Outcome::Connected, Some(121)),
                "{request:?}"
            );
            let progress = world.progress(&call).await;
            assert_eq!(progress.lead_leg.unwrap().value, LegStatus::Completed);
            assert_eq!(
                progress.ended_at.unwrap().value,
                "2026-11-20T08:35:58Z".parse().unwrap()
            );
            assert!(
                progress
                    .recording_url
                    .unwrap()
                    .value
                    .starts_with("https://recordings.exotel.com/")
            );
            let event = only_event(&world.table, EventOwner::Call(call)).await;
            assert_eq!((&event.body, event.handled), (&request.body, Some(true)));
            assert!(!event.query.unwrap_or_default().contains("hunter"));
        }
    }
}

#[tokio::test]
async fn every_form_of_an_sms_event_on_every_route_resolves_the_sms() {
    let world = World::new().await;
    let door = Door::new(
        Webhook::Sms,
        secrets(&[("LEGACY_MD5_CALLBACKS", "true")]),
        world.inbox(),
    );
    let mut n = 0;
    for route in 0..4 {
        for form in 0..10 {
            n += 1;
            let sid = format!("{SMS_SID}{n}");
            let sms = world.sms(n, &sid).await;
            let path = match route {
                0 => world.sms_path(&sms),
                1 => format!("/webhooks/exotel/sms?token={TOKEN}"),
                2 => format!("/api/exotel/sms-status?token={TOKEN}"),
                _ => format!("/api/webhooks/exotel/sms-callback/0b7e/{MD5}"),
            };
            let callback = SmsStatusCallback::delivered(sid.parse().unwrap());
            let request = &every_form(&path, |form| callback.encode(form))[form];
            assert_eq!(post(&door, request).await, kept(true), "{request:?}");
            let row = world.table.sms(&sms).await.unwrap().unwrap();
            assert_eq!(row.progress.state, SmsState::Delivered, "{request:?}");
            assert_eq!(
                only_event(&world.table, EventOwner::Sms(sms)).await.body,
                request.body
            );
        }
    }
}

#[tokio::test]
async fn a_token_url_finds_the_row_by_the_custom_field_before_the_sid_is_known() {
    let world = World::new().await;
    let door = world.door(Webhook::Call);
    let call = world.call(1, CallState::Unconfirmed, None).await;
    let mut callback = CallStatusCallback::completed(CALL_SID.parse().unwrap());
    callback.custom_field = Some(call.to_string());
    let body = callback.encode(BodyForm::Json);
    let path = format!("/webhooks/exotel/call?token={TOKEN}");
    assert_eq!(
        post(&door, &Post::new(path, &body.content_type, body.body)).await,
        kept(true)
    );
    let progress = world.progress(&call).await;
    assert_eq!(
        (progress.state, progress.sid.unwrap().as_str()),
        (CallState::Completed, CALL_SID)
    );
}

#[tokio::test]
async fn an_event_of_a_sid_that_no_row_has_is_kept_under_it() {
    let world = World::new().await;
    for (webhook, path, sid, body) in [
        (
            Webhook::Call,
            "/api/exotel/call-status",
            CALL_SID,
            format!("CallSid={CALL_SID}&Status=busy"),
        ),
        (
            Webhook::Sms,
            "/api/exotel/sms-status",
            SMS_SID,
            format!("SmsSid={SMS_SID}&Status=sent"),
        ),
    ] {
        let request = Post::new(
            format!("{path}?token={TOKEN}"),
            "application/x-www-form-urlencoded",
            body,
        );
        for _ in 0..2 {
            assert_eq!(post(&world.door(webhook), &request).await, kept(false));
        }
        let event = only_event(&world.table, EventOwner::Sid(sid.to_owned())).await;
        assert_eq!((event.handled, event.query), (Some(false), None));
    }
}

#[tokio::test]
async fn rows_logged_by_hand_are_left_alone() {
    let world = World::new().await;
    let call = world.call(1, CallState::InFlight, None).await;
    let mut row = world.table.call(&call).await.unwrap().unwrap();
    let at = crate::given::now();
    row.locator.id = domain::ids::CallId::new(at, 77);
    row.origin = CallOrigin::Logged {
        source: domain::call::CallSource::Aarya,
        outcome: Outcome::AaryaDispatched,
        duration_secs: None,
    };
    world.table.log_call(&row).await.unwrap();
    let callback = CallStatusCallback::completed(CALL_SID.parse().unwrap()).encode(BodyForm::Json);
    let request = Post::new(
        world.call_path(&row.locator),
        &callback.content_type,
        callback.body,
    );
    assert_eq!(post(&world.door(Webhook::Call), &request).await, kept(false));
    assert_eq!(world.table.call(&row.locator).await.unwrap().unwrap(), row);
    assert_eq!(
        only_event(&world.table, EventOwner::Call(row.locator))
            .await
            .handled,
        Some(false)
    );
}

#[tokio::test]
async fn who_proves_nothing_is_refused_and_leaves_no_trace() {
    let world = World::new().await;
    let call = world.call(1, CallState::InFlight, Some(CALL_SID)).await;
    let other = world.call(2, CallState::InFlight, None).await;
    let sms = world.sms(1, SMS_SID).await;
    let good = world.call_path(&call);
    let capability = good.rsplit('/').next().unwrap().to_owned();
    let (kid, mac) = capability.split_once('.').unwrap();
    let on = |capability: &str| format!("/webhooks/exotel/call/{call}/{capability}");
    let stolen = |path: String| path.rsplit('/').next().unwrap().to_owned();
    let foreign = keys("another-key-0123456789-0123456789-x", None);
    let mut refused = vec![
        on(""),
        on("."),
        on(kid),
        on(mac),
        on(&format!("{kid}.")),
        on(&format!("{kid}.{}", &mac[1..])),
        on(&format!("{kid}.{mac}A")),
        on(&format!("{kid}.{}", mac.to_uppercase())),
        on(&format!("AAAA.{mac}")),
        on(&"a".repeat(5_000)),
        on("%00"),
        on(&stolen(world.call_path(&other))),
        on(&stolen(world.sms_path(&sms))),
        on(&stolen(foreign.callback_path(
            lambda_kit::capability::Purpose::Call,
            &call.to_string(),
        ))),
        format!("/webhooks/exotel/call/{other}/{capability}"),
        format!("/webhooks/exotel/call/x/{capability}"),
        format!("/webhooks/exotel/call//{capability}"),
        format!("/api/webhooks/exotel/call-callback/0b7e/{MD5}"),
    ];
    for path in ["/webhooks/exotel/call", "/api/exotel/call-status"] {
        for query in [
            "",
            "?token=",
            "?token",
            "?token=wrong",
            "?token=webhook-token-hunter",
            "?Token=webhook-token-hunter1",
            "?token=%ff",
        ] {
            refused.push(format!("{path}{query}"));
        }
        refused.push(format!("{path}?token={}", "x".repeat(5_000)));
        refused.push(format!("{path}?token={TOKEN}x"));
    }
    let door = world.door(Webhook::Call);
    let body = format!("CallSid={CALL_SID}&Status=completed");
    world.dynamo.meter().take();
    for path in refused {
        let (status, problem) = post(
            &door,
            &Post::new(&path, "application/x-www-form-urlencoded", body.clone()),
        )
        .await;
        assert_eq!(
            (status, problem["code"].as_str()),
            (403, Some("invalid_webhook_url")),
            "{path}"
        );
    }
    for path in [
        world.sms_path(&sms),
        format!("/api/exotel/sms-status?token={TOKEN}"),
        "/".to_owned(),
        format!("/webhooks/exotel/calls?token={TOKEN}"),
    ] {
        assert_eq!(
            post(&door, &Post::new(&path, "text/plain", "a")).await.0,
            404,
            "{path}"
        );
    }
    let spent = world.dynamo.meter().take();
    assert_eq!(
        (spent.requests, spent.errors),
        (0, 0),
        "nothing was written or read"
    );
}

#[tokio::test]
async fn a_token_that_is_not_set_refuses_everybody() {
    let world = World::new().await;
    let door = Door::new(
        Webhook::Call,
        secrets(&[("EXOTEL_WEBHOOK_TOKEN", "")]),
        world.inbox(),
    );
    for query in ["", "?token=", "?token=null", &format!("?token={TOKEN}")] {
        let request = Post::new(format!("/api/exotel/call-status{query}"), "text/plain", "a");
        assert_eq!(post(&door, &request).await.0, 403, "{query}");
    }
    assert!(crate::logs::has("no token is set"), "the log says why");
    assert!(crate::logs::alarms("webhook.refused", "a sender proves nothing"));
}

#[tokio::test]
async fn the_key_before_the_last_rotation_still_lets_in_and_an_older_one_does_not() {
    let world = World::new().await;
    let call = world.call(1, CallState::InFlight, Some(CALL_SID)).await;
    let registered = world.call_path(&call);
    let request = Post::new(
        &registered,
        "application/x-www-form-urlencoded",
        format!("CallSid={CALL_SID}&Status=busy"),
    );
    const SECOND: &str = "second-key-0123456789-0123456789-abc";
    const THIRD: &str = "third-key-0123456789-0123456789-abcd";
    let rotated = secrets(&[("SIGNING_KEY", SECOND), ("SIGNING_KEY_PREVIOUS", SIGNING_KEY)]);
    assert_eq!(
        post(&Door::new(Webhook::Call, rotated, world.inbox()), &request).await,
        kept(true)
    );
    let twice = secrets(&[("SIGNING_KEY", THIRD), ("SIGNING_KEY_PREVIOUS", SECOND)]);
    assert_eq!(
        post(&Door::new(Webhook::Call, twice, world.inbox()), &request)
            .await
            .0,
        403
    );
}

#[tokio::test]
async fn an_event_in_order_costs_one_unit_for_the_row_one_per_kilobyte_raw_and_no_read() {
    let world = World::new().await;
    let call = world.call(1, CallState::InFlight, Some(CALL_SID)).await;
    let door = world.door(Webhook::Call);
    let sid: exotel::CallSid = CALL_SID.parse().unwrap();
    let mut long = CallStatusCallback::completed(sid.clone());
    long.uri = Some("x".repeat(1_500));
    for (what, callback, raw_kb) in [
        ("answered", CallStatusCallback::answered(sid), 1.0),
        ("terminal of 2.5 KB", long, 3.0),
    ] {
        let body = callback.encode(BodyForm::Json);
        let request = Post::new(world.call_path(&call), &body.content_type, body.body);
        world.dynamo.meter().take();
        assert_eq!(post(&door, &request).await, kept(true));
        let spent = world.dynamo.meter().take();
        println!("call event ({what}) on a capability URL: {spent:?}, of which {raw_kb} for the raw event");
        assert_eq!((spent.requests, spent.errors), (2, 0));
        assert_eq!((spent.write_units, spent.read_units), (1.0 + raw_kb, 0.0));
    }
}
