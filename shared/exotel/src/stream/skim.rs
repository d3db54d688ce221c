//! The message that comes ten times a second, read without a JSON reader out of the JSON string that it stands in.

use memchr::memchr2;

use super::incoming::{Incoming, Media, Message, Scalar};

/// What [`Message::skim`] does.
pub(super) fn media(escaped: &[u8]) -> Option<Message<'_>> {
    let [
        mut event,
        mut number,
        mut sid,
        mut chunk,
        mut timestamp,
        mut payload,
    ] = [None; 6];
    let mut has_media = false;
    let rest = object(escaped, |name, value| match name {
        b"event" => once(&mut event, value),
        b"sequence_number" => once(&mut number, value),
        b"stream_sid" => once(&mut sid, value),
        b"media" if !has_media => {
            has_media = true;
            object(value, |name, value| match name {
                b"chunk" => once(&mut chunk, value),
                b"timestamp" => once(&mut timestamp, value),
                b"payload" => once(&mut payload, value),
                _ => None,
            })
        }
        _ => None,
    })?;
    if !rest.is_empty() || event != Some(b"media") {
        return None;
    }
    Some(Message {
        sequence_number: scalar(number)?.into_number(),
        stream_sid: scalar(sid)?.into_text(),
        incoming: Incoming::Media(Media {
            chunk: scalar(chunk)?.into_number(),
            timestamp: scalar(timestamp)?.into_number(),
            payload: payload?.into(),
        }),
    })
}

/// Hands each name of an object, and what follows its colon, to `entry`, which gives what follows the value; gives what
/// follows the object.
fn object<'a>(
    text: &'a [u8],
    mut entry: impl FnMut(&'a [u8], &'a [u8]) -> Option<&'a [u8]>,
) -> Option<&'a [u8]> {
    let mut rest = text.strip_prefix(b"{")?;
    loop {
        let (name, after) = quoted(rest)?;
        let (separator, after) = entry(name, after.strip_prefix(b":")?)?.split_first()?;
        match separator {
            b',' => rest = after,
            b'}' => return Some(after),
            _ => return None,
        }
    }
}

/// Puts a text in a place that has none; gives what follows it.
fn once<'a>(place: &mut Option<&'a [u8]>, text: &'a [u8]) -> Option<&'a [u8]> {
    let (value, rest) = quoted(text)?;
    place.replace(value).is_none().then_some(rest)
}

/// A text between escaped quotes and without another escape, and what follows it. A bare quote would be the end of the
/// string that all this stands in.
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    const QUOTE: &[u8] = br#"\""#;
    let text = text.strip_prefix(QUOTE)?;
    let (value, rest) = text.split_at(memchr2(b'"', b'\\', text)?);
    Some((value, rest.strip_prefix(QUOTE)?))
}

fn scalar(value: Option<&[u8]>) -> Option<Scalar<'_>> {
    let Some(value) = value else {
        return Some(Scalar::Absent);
    };
    // JSON has no bare control characters.
    let text = str::from_utf8(value)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte >= b' '))?;
    Some(Scalar::Text(text.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIVE: &str = r#"{"event":"media","sequence_number":"3","stream_sid":"4e1c","media":{"chunk":"2","timestamp":"200","payload":"AAECAwQF"}}"#;

    /// What stands between the quotes when a text is a string of JSON's.
    fn escape(text: &str) -> Vec<u8> {
        let string = serde_json::to_string(text).unwrap();
        string.as_bytes()[1..string.len() - 1].to_vec()
    }

    #[test]
    fn a_frame_is_skimmed_whatever_the_order_of_its_names() {
        let other = r#"{"media":{"payload":"AAECAwQF","timestamp":"200","chunk":"2"},"stream_sid":"4e1c","event":"media","sequence_number":"3"}"#;
        for text in [LIVE, other] {
            let escaped = escape(text);
            let skimmed = media(&escaped).unwrap();
            assert_eq!(skimmed.sequence_number, Some(3));
            assert_eq!(Message::parse(text), Ok(skimmed));
        }
    }

    #[test]
    fn what_looks_different_is_left_to_a_json_reader() {
        for (there, here) in [
            (":", ": "),
            ("\"3\"", "3"),
            ("4e1c", r"4e\/1c"),
            ("4e1c", "4e\n1c"),
            ("AAEC", r"AAEC\/"),
            ("\"media\",", "\"mark\","),
            ("\"chunk\"", "\"piece\""),
            ("\"chunk\"", "\"payload\""),
            ("\"stream_sid\"", "\"event\""),
            ("\"payload\":\"AAECAwQF\"", "\"track\":\"inbound\""),
            ("}}", "}}x"),
            ("}}", "}"),
            ("}}", "},}"),
            ("}}", r#"},"media":{"chunk":"1"}}"#),
        ] {
            let text = LIVE.replacen(there, here, 1);
            assert_ne!(text, LIVE, "{there}");
            assert_eq!(media(&escape(&text)), None, "{text}");
        }
        // A string that ends before, or has a control character as it is.
        assert_eq!(media(LIVE.as_bytes()), None);
        let raw = String::from_utf8(escape(LIVE)).unwrap().replace("4e1c", "4e\n1c");
        assert_eq!(media(raw.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn a_skimmed_message_says_what_its_json_says(
            names in proptest::collection::vec((0..8_usize, r#"[ -~]{0,6}|null|7|\PC{0,3}"#), 0..8)
        ) {
            let name = ["event", "event", "sequence_number", "stream_sid", "chunk", "timestamp", "payload", "digit"];
            let pair = |(n, value): &(usize, String)| match *n {
                0 => r#""event":"media""#.to_owned(),
                n => format!("\"{}\":\"{value}\"", name[n]),
            };
            let join = |all: Vec<String>| all.join(",");
            let within = |(n, _): &&(usize, String)| *n >= 4;
            let inner = join(names.iter().filter(within).map(pair).collect());
            let outer = join(names.iter().filter(|name| !within(name)).map(pair).collect());
            let comma = if outer.is_empty() { "" } else { "," };
            let text = format!("{{{outer}{comma}\"media\":{{{inner}}}}}");
            if let Some(skimmed) = media(&escape(&text)) {
                prop_assert_eq!(Message::parse(&text), Ok(skimmed));
            }
        }

        #[test]
        fn no_bytes_make_it_panic_or_say_what_json_does_not(at in 0..200_usize, byte: u8) {
            let mut escaped = escape(LIVE);
            let at = at % escaped.len();
            escaped[at] = byte;
            for escaped in [&escaped[..], &escaped[..at]] {
                let Some(skimmed) = media(escaped) else { continue };
                let string = [b"\"", escaped, b"\""].concat();
                if let Ok(text) = serde_json::from_slice::<String>(&string) {
                    prop_assert_eq!(Message::parse(&text), Ok(skimmed));
                } else {
                    // Only the payload's bytes are not looked at, and are no base64 then.
                    let Incoming::Media(media) = skimmed.incoming else { panic!("a frame") };
                    prop_assert_eq!(media.pcm(), None);
                }
            }
        }
    }
}
