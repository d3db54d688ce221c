//! The example events are answered.

use std::{fs, path::Path};

use domain::{
    ids::VoiceSessionId,
    voicebot::{Ending, Rate, record::VoiceSession},
};
use jiff::Timestamp;
use lambda_kit::{capability::StreamToken, websocket::SocketEvent};

use crate::{
    gateway::Gateway,
    given::{TOKEN, World, answered, now, session_of},
};

#[tokio::test]
async fn every_example_event_is_answered_with_a_url() {
    let world = World::new().await;
    let door = world.door(Some("reception"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with("voicebot-connect.") {
            continue;
        }
        let event = fs::read_to_string(&path)
            .unwrap()
            .replace("AAAAAAAAAAAAAAAAAAAAAAAA", TOKEN);
        seen += 1;
        let id = session_of(&answered(&door, &event, now(), seen).await);
        let kept = world.table.voice_session(&id).await.unwrap().unwrap();
        assert!(
            kept.call_sid.is_some() && kept.caller.is_some(),
            "{name}: {kept:?}"
        );
    }
    assert_eq!(seen, 2);
}

/// A socket's life as its example events tell it, through the functions' doors: it is let in, its stream begins and has a
/// frame, the bot greets, and it ends without a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_events_of_a_socket_are_a_call() {
    let gateway = Gateway::start().await;
    let id: VoiceSessionId = "vs_01m8bdw6r00000000000000007".parse().unwrap();
    let offered = VoiceSession::new(id.clone(), "echo", Rate::Hz8000);
    gateway.sessions.offered(&offered).await.unwrap();
    let token = StreamToken::new(id.clone(), Timestamp::now()).seal(&gateway.keys);
    let event = |name: &str| -> SocketEvent {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../events")
            .join(name);
        let text = fs::read_to_string(path).unwrap();
        serde_json::from_str(&text.replace("1795687260.AAAA.AAAAAAAAAAAAAAAAAAAAAA", &token)).unwrap()
    };
    assert_eq!(
        gateway.connect(&event("ws-connect.offered.json")).await.status(),
        200
    );
    assert_eq!(gateway.hear(&event("ws-message.start.json")).await.status(), 200);
    assert_eq!(gateway.hear(&event("ws-message.media.json")).await.status(), 200);
    let greeting = include_str!("../../../../events/voicebot-turn.greeting.json");
    gateway.answer(serde_json::from_str(greeting).unwrap()).await;
    assert_eq!(
        gateway
            .hear_close(&event("ws-disconnect.vanished.json"))
            .await
            .status(),
        200
    );
    let session = gateway.table.voice_session(&id).await.unwrap().unwrap();
    assert!(session.connected_at.is_some() && session.started_at.is_some());
    let ended = session.ended.unwrap();
    assert_eq!((ended.why, ended.counts.turns), (Ending::Closed, 1));
}
