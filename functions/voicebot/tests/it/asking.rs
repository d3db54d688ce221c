//! Exotel asks, and gets a URL for this call alone.

use domain::{
    call_record::Direction,
    ids::{DidId, VoiceSessionId},
    integration::Did,
    voicebot::{Rate, record::VoiceSession},
};

use serde_json::json;
use services::voicebot::offers::{Offers, Rules};
use voicebot::connect::ConnectDoor;

use crate::{
    given::{Ask, CALL_SID, WS_URL, World, answered, ask, now, rules, secrets, session_of, sockets},
    logs,
};

const CALL: &str =
    "&CallSid=90d3b6f2e8174a5cbb41f7e06c83193v&CallFrom=09811100001&CallTo=08045550100&Direction=incoming";

fn expected(id: VoiceSessionId, bot: &str) -> VoiceSession {
    VoiceSession {
        call_sid: Some(CALL_SID.parse().unwrap()),
        direction: Some(Direction::Inbound),
        caller: Some("+919811100001".parse().unwrap()),
        number: Some("+918045550100".parse().unwrap()),
        ..VoiceSession::new(id, bot, Rate::Hz16000)
    }
}

#[tokio::test]
async fn every_way_of_asking_gives_the_same_session() {
    let world = World::new().await;
    let door = world.door(Some("reception"));
    let json = format!(
        r#"{{"CallSid": "{CALL_SID}", "CallFrom": "+919811100001", "CallTo": "+918045550100", "Direction": "inbound"}}"#
    );
    for (n, request) in [
        Ask::get("/voicebot/connect", CALL),
        Ask::get("/api/v1/exotel/voice/connect", CALL),
        Ask::get("/exotel/reception", CALL),
        Ask::get("/voicebot/connect", &format!("&bot_id=reception{CALL}")),
        Ask::post(
            "/voicebot/connect",
            "application/x-www-form-urlencoded",
            &CALL[1..],
        ),
        Ask::post("/api/v1/exotel/voice/connect", "application/json", json.as_str()),
        // What the type says is a hint.
        Ask::post("/voicebot/connect", "text/plain", json),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = answered(&door, &request.event(), now(), n as u128).await;
        let id = session_of(&answer);
        let kept = world.table.voice_session(&id).await.unwrap().unwrap();
        assert_eq!(kept, expected(id, "reception"), "{request:?}");
    }
}

#[tokio::test]
async fn an_answer_with_the_urls_bot_costs_one_write_and_no_read() {
    let world = World::new().await;
    let door = world.door(None);
    world.dynamo.meter().take();
    session_of(&ask(&door, &Ask::get("/exotel/echo", CALL)).await);
    let spent = world.dynamo.meter().take();
    // The item, and its place in the index.
    assert_eq!(
        (spent.requests, spent.read_units, spent.write_units),
        (1, 0.0, 2.0)
    );
}

#[tokio::test]
async fn the_urls_bot_goes_before_the_default_and_the_paths_before_the_querys() {
    let world = World::new().await;
    let door = world.door(Some("reception"));
    for (n, (request, bot)) in [
        (Ask::get("/voicebot/connect", CALL), "reception"),
        (
            Ask::get("/voicebot/connect", &format!("&bot_id={CALL}")),
            "reception",
        ),
        (
            Ask::get("/voicebot/connect", &format!("&bot_id=demo{CALL}")),
            "demo",
        ),
        (Ask::get("/exotel/echo", &format!("&bot_id=demo{CALL}")), "echo"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = session_of(&answered(&door, &request.event(), now(), n as u128).await);
        let kept = world.table.voice_session(&id).await.unwrap().unwrap();
        assert_eq!(kept.bot_id, bot, "{request:?}");
    }
}

#[tokio::test]
async fn in_a_call_that_was_placed_the_person_is_who_was_called() {
    let world = World::new().await;
    let door = world.door(Some("echo"));
    let locator = "call_01kak5yv7z8e4f9y2f4w6r8t0v.lead-1";
    let call = format!(
        "&CallSid={CALL_SID}&CallFrom=08045550100&CallTo=09811100001&Direction=outbound-dial&CustomField={locator}"
    );
    let id = session_of(&ask(&door, &Ask::get("/voicebot/connect", &call)).await);
    let kept = world.table.voice_session(&id).await.unwrap().unwrap();
    let ours = VoiceSession {
        direction: Some(Direction::Outbound),
        call: Some(locator.parse().unwrap()),
        ..expected(id, "echo")
    };
    assert_eq!(kept, ours);
}

#[tokio::test]
async fn a_numbers_bot_goes_before_the_default_and_behind_the_urls() {
    let world = World::new().await;
    let door = world.door(Some("echo"));
    let did: Did = serde_json::from_value(json!({
        "id": DidId::new(now(), 1), "number": "+918045550100", "bot_id": "reception",
    }))
    .unwrap();
    world.table.add_did(&did).await.unwrap();
    let other = CALL.replace("08045550100", "08045550101");
    for (n, (path, call, bot, read_units)) in [
        ("/voicebot/connect", CALL, "reception", 1.0),
        ("/voicebot/connect", other.as_str(), "echo", 1.0),
        ("/exotel/demo", CALL, "demo", 0.0),
    ]
    .into_iter()
    .enumerate()
    {
        world.dynamo.meter().take();
        let id = session_of(&answered(&door, &Ask::get(path, call).event(), now(), n as u128).await);
        assert_eq!(
            world.dynamo.meter().take().read_units,
            read_units,
            "{path} {call}"
        );
        let kept = world.table.voice_session(&id).await.unwrap().unwrap();
        assert_eq!(kept.bot_id, bot, "{path} {call}");
    }
}

#[tokio::test]
async fn a_numbers_bot_that_nobody_knows_is_the_fleets_or_the_defaults_or_nobodys() {
    let world = World::new().await;
    let did: Did = serde_json::from_value(json!({
        "id": DidId::new(now(), 1), "number": "+918045550100", "bot_id": "Removed",
    }))
    .unwrap();
    world.table.add_did(&did).await.unwrap();
    let door = |default_bot, has_fleet| {
        let rules = Rules {
            has_fleet,
            ..rules(default_bot)
        };
        let offers = Offers::new(world.table.clone(), rules);
        ConnectDoor::new(secrets(), offers, sockets(Some(WS_URL)))
    };
    let called = Ask::get("/voicebot/connect", CALL);
    let (status, body) = answered(&door(Some("echo"), true), &called.event(), now(), 1).await;
    let url = body["url"].as_str().unwrap();
    assert_eq!(status, 200);
    assert!(
        url.starts_with("wss://fleet.example.com/exotel/Removed?sample-rate=16000&call_id="),
        "{url}"
    );
    let id = session_of(&answered(&door(Some("echo"), false), &called.event(), now(), 2).await);
    let kept = world.table.voice_session(&id).await.unwrap().unwrap();
    assert_eq!(kept.bot_id, "echo");
    assert!(logs::has(
        "a call names a bot that there is not; the default has it"
    ));
    let (status, body) = answered(&door(None, false), &called.event(), now(), 3).await;
    assert_eq!((status, body["code"].as_str()), (404, Some("unknown_bot")));
    // A name in the URL is a slip of whoever pasted it.
    let named = Ask::get("/exotel/removed", CALL);
    let (status, _) = answered(&door(Some("echo"), true), &named.event(), now(), 4).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_fleet_gets_the_call_id_and_nothing_of_ours() {
    let world = World::new().await;
    let door = world.door(None);
    for (n, (bot, rate, url)) in [
        (
            "own",
            Rate::Hz8000,
            "wss://u:fleet-hunter9@media.example.com/x?lead=7&call_id=",
        ),
        (
            "any",
            Rate::Hz16000,
            "wss://fleet.example.com/exotel/any?sample-rate=16000&call_id=",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let request = Ask::get(&format!("/exotel/{bot}"), CALL);
        let (status, body) = answered(&door, &request.event(), now(), n as u128).await;
        let dialled = body["url"].as_str().unwrap();
        let id = dialled
            .strip_prefix(url)
            .unwrap_or_else(|| panic!("{status} {body}"));
        let id: VoiceSessionId = id.parse().unwrap();
        let kept = world.table.voice_session(&id).await.unwrap().unwrap();
        let fleets = VoiceSession {
            is_fleet: true,
            rate,
            ..expected(id, bot)
        };
        assert_eq!((status, kept), (200, fleets));
    }
}
