//! What a bot may send: audio, a mark behind it, and the wish that audio not yet played be dropped. There is no message
//! that hangs up: closing the socket ends the stream, and the call's flow goes on.
//!
//! ```
//! use exotel::stream::outgoing;
//!
//! let silence = vec![0; 3_200]; // 200 ms at 8 kHz
//! let sid = "4e1c9a70d25b4f83a6c0e7d19b52193w";
//! let said = [outgoing::media(sid, &silence)?, outgoing::mark(sid, "greeting-end")];
//! # assert!(said[1].ends_with(r#""mark":{"name":"greeting-end"}}"#));
//! # Ok::<(), exotel::stream::outgoing::IllegalChunk>(())
//! ```

use base64_simd::STANDARD;
use serde_json::Value;

/// The least that a chunk may hold, in bytes of PCM; smaller ones are heard as jitter.
pub const LEAST_CHUNK_BYTES: usize = 3_200;

/// The most.
pub const MOST_CHUNK_BYTES: usize = 100_000;

/// Every chunk is a multiple of this: 20 ms at 8 kHz. Others are heard as gaps.
pub const CHUNK_GRAIN_BYTES: usize = 320;

/// A chunk of a length that Exotel does not play well. Pad the last one of an utterance with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a chunk of {bytes} bytes; it must have {LEAST_CHUNK_BYTES} to {MOST_CHUNK_BYTES}, in multiples of {CHUNK_GRAIN_BYTES}"
)]
pub struct IllegalChunk {
    /// Its length.
    pub bytes: usize,
}

/// Audio to be played after what was sent before; `pcm` is a chunk of it, at the rate of the stream.
///
/// Chunks are to be sent about as fast as they are played: a long utterance sent at once has been seen to end calls.
pub fn media(stream_sid: &str, pcm: &[u8]) -> Result<String, IllegalChunk> {
    let bytes = pcm.len();
    if !(LEAST_CHUNK_BYTES..=MOST_CHUNK_BYTES).contains(&bytes) || !bytes.is_multiple_of(CHUNK_GRAIN_BYTES) {
        return Err(IllegalChunk { bytes });
    }
    let mut message = begin("media", stream_sid, bytes.div_ceil(3) * 4 + 24);
    message.push_str(r#","media":{"payload":""#);
    STANDARD.encode_append(pcm, &mut message);
    message.push_str(r#""}}"#);
    Ok(message)
}

/// A mark: Exotel sends it back once everything sent before it has been played.
pub fn mark(stream_sid: &str, name: &str) -> String {
    let mut message = begin("mark", stream_sid, name.len() + 24);
    message.push_str(r#","mark":{"name":"#);
    push_text(&mut message, name);
    message.push_str("}}");
    message
}

/// Drops the audio that has been sent and is not played yet.
pub fn clear(stream_sid: &str) -> String {
    let mut message = begin("clear", stream_sid, 1);
    message.push('}');
    message
}

/// A message up to the end of its `stream_sid`, with room for so many more bytes.
fn begin(event: &str, stream_sid: &str, more: usize) -> String {
    let mut message = String::with_capacity(event.len() + stream_sid.len() + 32 + more);
    message.push_str(r#"{"event":""#);
    message.push_str(event);
    message.push_str(r#"","stream_sid":"#);
    push_text(&mut message, stream_sid);
    message
}

/// Text as a JSON string.
fn push_text(message: &mut String, text: &str) {
    let plain = |b: u8| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\';
    if text.bytes().all(plain) {
        message.push('"');
        message.push_str(text);
        message.push('"');
    } else {
        message.push_str(&Value::from(text).to_string());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_are_as_documented() {
        assert_eq!(clear("4e1c"), r#"{"event":"clear","stream_sid":"4e1c"}"#);
        assert_eq!(
            mark("4e1c", "greet-end"),
            r#"{"event":"mark","stream_sid":"4e1c","mark":{"name":"greet-end"}}"#
        );
        let chunk = media("4e1c", &[0; 3_200]).unwrap();
        assert!(
            chunk.starts_with(r#"{"event":"media","stream_sid":"4e1c","media":{"payload":"AAAA"#),
            "{chunk}"
        );
        assert!(chunk.ends_with(r#""}}"#));
    }

    #[test]
    fn a_message_is_written_into_one_allocation() {
        for bytes in [3_200, 24_000, 100_000 - 160] {
            let chunk = media("4e1c9a70d25b4f83a6c0e7d19b52193w", &vec![7; bytes]).unwrap();
            assert!(chunk.capacity() - chunk.len() < 64, "{bytes}");
        }
    }

    #[test]
    fn only_lengths_that_exotel_plays_well_are_sent() {
        for (bytes, legal) in [
            (0, false),
            (2_880, false),
            (3_200, true),
            (3_201, false),
            (24_000, true),
            (99_840, true),
            (100_160, false),
        ] {
            assert_eq!(media("a", &vec![0; bytes]).is_ok(), legal, "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_names_are_it_is_json(sid in "\\PC{0,12}", name in ".{0,12}", sample in any::<u8>()) {
            let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            prop_assert_eq!(read(&mark(&sid, &name)), json!({"event": "mark", "stream_sid": sid, "mark": {"name": name}}));
            prop_assert_eq!(read(&clear(&sid)), json!({"event": "clear", "stream_sid": sid}));
            let pcm = vec![sample; 3_520];
            let sent = read(&media(&sid, &pcm).unwrap());
            prop_assert_eq!(STANDARD.decode_to_vec(sent["media"]["payload"].as_str().unwrap()).unwrap(), pcm);
        }
    }
}
