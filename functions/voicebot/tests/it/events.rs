//! The example events are answered.

use std::{fs, path::Path};

use crate::given::{TOKEN, World, answered, now, session_of};

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
