//! Any text of a stream's WebSocket, and any URL of one.
#![no_main]

use exotel::stream::{Incoming, Message, StreamUrl, outgoing};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(message) = Message::parse(text) {
        let sid = message.stream_sid.as_deref().unwrap_or_default();
        match &message.incoming {
            Incoming::Media(media) => {
                let _ = media.pcm();
                assert!(!format!("{media:?}").contains(&*String::from_utf8_lossy(&media.payload)) || media.payload.len() < 64);
            }
            Incoming::Mark(mark) => {
                // A bot's mark and Exotel's answer to it have the same fields.
                let sent = outgoing::mark(sid, &mark.name);
                assert_eq!(Message::parse(&sent).map(|back| back.incoming), Ok(message.incoming.clone()));
            }
            _ => {}
        }
    }
    if let Ok(url) = StreamUrl::new(text) {
        assert!(url.as_str().len() < 2_400 && url.answer().starts_with("{\"url\":"));
    }
});
