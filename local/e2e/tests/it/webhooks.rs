//! Exotel's callbacks by the URL forms that let it in, and what else knocks there.

use serde_json::{Value, json};

use crate::house::{Answer, Ask, House, PATIENCE, until};

fn knock(house: &House, path: &str) -> Ask {
    house.nobody().ask("POST", path)
}

/// The capability URL of a fresh call, without its origin, and the call's sid.
async fn capability(house: &House, suffix: &str) -> (String, String, String, String) {
    let phone = house.phone(suffix);
    let lead = house.lead(suffix, &phone).await;
    let call = house.agent().click(&lead).await.id();
    let at_exotel = house.calls_at_exotel(&phone).await;
    let url = at_exotel[0]["status_callback"].as_str().unwrap();
    let path = url
        .strip_prefix(house.url("http_url"))
        .expect("callbacks come to our own origin")
        .to_owned();
    (lead, call, path, at_exotel[0]["sid"].as_str().unwrap().to_owned())
}

fn said(answer: Answer, handled: bool) {
    assert_eq!(answer.is(200).json, json!({"success": true, "handled": handled}));
}

#[tokio::test]
async fn without_proof_nobody_comes_in_and_nothing_is_kept() {
    let house = House::furnished("knock").await;
    let (_, _, path, _) = capability(&house, "0031").await;
    let token = house.url("webhook_token").to_owned();
    let body = json!({"CallSid": "e2eknock", "SmsSid": "e2eknock", "Status": "completed"});
    let before = house.settled_items_with("knock").await;
    let mut closed = Vec::new();
    for route in [
        "/webhooks/exotel/call",
        "/webhooks/exotel/sms",
        "/webhooks/exotel/passthru",
        "/webhooks/exotel/heartbeat",
        "/api/exotel/call-status",
        "/api/exotel/sms-status",
    ] {
        for query in [
            "",
            "?token=",
            "?token=wrong",
            "?token",
            "?token=%00",
            "?Token=x",
            &format!("?token={}", &token[1..]),
            &format!("?token={token}x"),
            &format!("?token={}", "x".repeat(5_000)),
        ] {
            closed.push(format!("{route}{query}"));
        }
    }
    let segments: Vec<&str> = path.split('/').collect();
    let (locator, capability) = (segments[4], segments[5]);
    let other = locator.replace("call_0", "call_1");
    for (purpose, locator, capability) in [
        ("call", other.as_str(), capability),
        ("sms", locator, capability),
        ("call", locator, &capability[..capability.len() - 1]),
        ("call", locator, "x"),
        ("call", locator, "%00"),
        ("call", "x", capability),
        ("call", locator, &format!("{capability}A")),
        ("call", locator, &capability.replacen('.', "", 1)),
    ] {
        closed.push(format!("/webhooks/exotel/{purpose}/{locator}/{capability}"));
    }
    // MD5 of key and token: off unless it is asked for.
    for kind in ["call", "sms"] {
        closed.push(format!(
            "/api/webhooks/exotel/{kind}-callback/1/0cc175b9c0f1b6a831c399e269772661"
        ));
    }
    for path in closed {
        let answer = knock(&house, &path)
            .json(&body)
            .send()
            .await
            .problem(403, "invalid_webhook_url");
        assert!(!answer.text.contains(&token));
    }
    assert_eq!(house.settled_items_with("knock").await, before);
}

#[tokio::test]
async fn a_pasted_url_finds_the_call_by_its_sid_and_a_duplicate_is_handled_again() {
    let house = House::furnished("pasted").await;
    let token = house.url("webhook_token").to_owned();
    for (suffix, route) in [
        ("0031", "/webhooks/exotel/call"),
        ("0131", "/api/exotel/call-status"),
    ] {
        let phone = house.phone(suffix);
        house
            .script(json!({"to": phone, "callbacks": {"drop": ["all"]}}))
            .await;
        let (lead, call, _, sid) = capability(&house, suffix).await;
        let path = format!("{route}?token={token}");
        let body = format!(
            "CallSid={sid}&EventType=terminal&Status=completed&ConversationDuration=21&RecordingUrl=null&EndTime=1970-01-01+05%3A30%3A00"
        );
        for _ in 0..2 {
            said(
                knock(&house, &path)
                    .body("application/x-www-form-urlencoded", body.clone())
                    .send()
                    .await,
                true,
            );
        }
        let ended = house.agent().outcome(&lead, &call, "connected").await;
        assert_eq!(
            (&ended["durationSec"], &ended["hasRecording"]),
            (&json!(21), &json!(false))
        );
    }
}

#[tokio::test]
async fn a_terminal_report_stands_whatever_comes_after_it() {
    let house = House::furnished("terminal").await;
    let (lead, call, path, sid) = capability(&house, "0031").await;
    let tell = async |fields: Value| knock(&house, &path).json(&fields).send().await.is(200);
    tell(json!({"CallSid": sid, "EventType": "terminal", "Status": "completed", "ConversationDuration": 12}))
        .await;
    house.agent().outcome(&lead, &call, "connected").await;
    tell(json!({"CallSid": sid, "EventType": "answered", "Status": "in-progress", "Legs": [{"OnCallDuration": 1, "Status": "in-progress"}]})).await;
    tell(json!({"CallSid": sid, "Status": "ringing"})).await;
    tell(json!({"CallSid": sid, "Status": "something-new"})).await;
    let entry = house.agent().entry(&lead, "calls", &call).await;
    assert_eq!(
        (&entry["outcome"], &entry["durationSec"]),
        (&json!("connected"), &json!(12))
    );
    // A RecordingUrl is only taken when it is one.
    tell(json!({"CallSid": sid, "EventType": "terminal", "Status": "completed", "RecordingUrl": "javascript:alert(1)"})).await;
    assert_eq!(
        house.agent().entry(&lead, "calls", &call).await["hasRecording"],
        false
    );
}

#[tokio::test]
async fn whatever_an_authenticated_body_is_it_is_kept_and_answered_200() {
    let house = House::furnished("bodies").await;
    let (lead, call, path, _) = capability(&house, "0031").await;
    let before = house.agent().entry(&lead, "calls", &call).await;
    let deep = [vec![b'['; 30_000], vec![b']'; 30_000]].concat();
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("application/json", b"".to_vec()),
        ("application/json", b"null".to_vec()),
        ("application/json", b"[1, 2]".to_vec()),
        ("application/json", b"{\"Status\":".to_vec()),
        (
            "application/json",
            br#"{"CallSid": 7, "Status": {"a": []}}"#.to_vec(),
        ),
        ("application/json", deep),
        ("application/json", vec![0xff, 0xfe, 0x00, b'{']),
        ("application/x-www-form-urlencoded", b"%%%=&&=\xc3\x28".to_vec()),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; name=\"CallSid\"\r\n\r\nhalf".to_vec(),
        ),
        ("multipart/form-data", b"no boundary".to_vec()),
        ("text/xml", b"<CallSid>a</CallSid>".to_vec()),
        ("image/png", vec![0x89, b'P', b'N', b'G', 0]),
        ("", b"plain".to_vec()),
        ("application/json", vec![b' '; 64 * 1024]),
    ];
    let number = bodies.len();
    for (kind, body) in bodies {
        said(knock(&house, &path).body(kind, body).send().await, false);
    }
    for size in [64 * 1024 + 1, 1_000_000] {
        knock(&house, &path)
            .body("application/json", vec![b'a'; size])
            .send()
            .await
            .problem(413, "body_too_large");
    }
    let token = house.url("webhook_token").to_owned();
    for route in [
        "/webhooks/exotel/call",
        "/webhooks/exotel/sms",
        "/api/exotel/call-status",
        "/api/exotel/sms-status",
    ] {
        let path = format!("{route}?token={token}");
        said(
            knock(&house, &path)
                .body("application/json", b"nonsense".to_vec())
                .send()
                .await,
            false,
        );
        said(
            knock(&house, &path)
                .json(&json!({"CallSid": "unknown-1", "SmsSid": "unknown-1", "Status": "completed"}))
                .send()
                .await,
            false,
        );
        knock(&house, &path)
            .body("text/plain", vec![b'a'; 70_000])
            .send()
            .await
            .problem(413, "body_too_large");
    }
    assert_eq!(house.agent().entry(&lead, "calls", &call).await, before);
    // Kept, each of them.
    until(PATIENCE, "every body is kept", async || {
        let items = house.items_with(&call).await;
        let kept = items
            .keys()
            .filter(|(key, sort)| key.starts_with("LEAD#") && sort.starts_with("EVENT#"))
            .count();
        if kept == number {
            Ok(())
        } else {
            Err(format!("{kept} of {number}"))
        }
    })
    .await;
}
