//! Takes tokens and credentials out of what Exotel sent, before anything keeps it; phone numbers stay.
//!
//! Works on the bytes of any body form, since a body that cannot be parsed is kept too. Removed are the user
//! information of URLs (`https://key:token@host/`), the values of parameters that authorise (`X-Amz-Signature=…`,
//! `token=…`), and every literal occurrence of the credentials we know.

/// Stands where a credential stood.
pub(super) const REMOVED: &str = "removed";

/// Parameters whose value lets its bearer in: of pre-signed S3 URLs (both signature versions) and of webhook URLs.
const CREDENTIAL_PARAMETERS: [&str; 13] = [
    "x-amz-signature",
    "x-amz-credential",
    "x-amz-security-token",
    "awsaccesskeyid",
    "signature",
    "sig",
    "token",
    "access_token",
    "auth",
    "api_key",
    "apikey",
    "api_token",
    "password",
];

/// Shorter values are no credentials but settings somebody left half-filled; removing them would eat ordinary text.
const SHORTEST_CREDENTIAL: usize = 6;

/// What Exotel sends is clean after one pass; text that needs more was made by somebody, and may not cost without bound.
const MOST_PASSES: usize = 64;

/// `text` without credentials. `known` are the literal ones of this installation. Doing it twice changes nothing more.
pub(super) fn without_credentials(text: &[u8], known: &[&str]) -> Vec<u8> {
    let mut cleaned = without_known(text, known);
    // What a cut leaves side by side can read as a URL or a parameter of its own, in text made to confuse.
    for _ in 0..MOST_PASSES {
        let chars = decode(&cleaned);
        let mut cuts = user_information(&chars);
        cuts.extend(parameter_values(&chars));
        let kept = without_known(&cut(&cleaned, cuts), known);
        if kept == cleaned {
            break;
        }
        cleaned = kept;
    }
    cleaned
}

/// Whether a URL's query lost a credential: without it the query is of no use.
pub(super) fn lost_a_credential(url: &str) -> bool {
    let Some((_, query)) = url.split_once('?') else {
        return false;
    };
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .any(|(name, value)| {
            value == REMOVED && CREDENTIAL_PARAMETERS.contains(&name.to_ascii_lowercase().as_str())
        })
}

fn without_known(text: &[u8], known: &[&str]) -> Vec<u8> {
    let mut cleaned = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.first() {
        let long_enough = known.iter().filter(|secret| secret.len() >= SHORTEST_CREDENTIAL);
        match long_enough
            .filter(|secret| rest.starts_with(secret.as_bytes()))
            .map(|secret| secret.len())
            .max()
        {
            Some(len) => {
                cleaned.extend_from_slice(REMOVED.as_bytes());
                rest = &rest[len..];
            }
            None => {
                cleaned.push(*first);
                rest = &rest[1..];
            }
        }
    }
    cleaned
}

/// A character as it reads once percent and JSON escapes are undone, and where it stands.
#[derive(Clone, Copy)]
struct Char {
    byte: u8,
    at: usize,
    /// Written as `%2F`. Inside a form's value that is the value's own `/`; inside a bare URL it is data.
    escaped: bool,
}

fn decode(text: &[u8]) -> Vec<Char> {
    let mut chars = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let (byte, len, escaped) = match &text[at..] {
            [b'%', high, low, ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3, true),
                _ => (b'%', 1, false),
            },
            [b'\\', b'/', ..] => (b'/', 2, false),
            [b'\\', b'u', b'0', b'0', high, low, ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 6, false),
                _ => (b'\\', 1, false),
            },
            [byte, ..] => (*byte, 1, false),
            [] => break,
        };
        chars.push(Char { byte, at, escaped });
        at += len;
    }
    chars
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// What a cut takes out, and what it puts there.
type Cut = (std::ops::Range<usize>, &'static str);

/// `key:token@` of each URL.
fn user_information(chars: &[Char]) -> Vec<Cut> {
    let mut cuts = Vec::new();
    for (n, marker) in chars.windows(3).enumerate() {
        if [marker[0].byte, marker[1].byte, marker[2].byte] != *b"://" {
            continue;
        }
        let whole = marker[2].escaped;
        let authority = &chars[n + 3..];
        let end = authority
            .iter()
            .position(|c| ends_value(*c, whole) || (is(*c, b"/?#&", whole)))
            .unwrap_or(authority.len());
        if let Some(at_sign) = authority[..end].iter().rposition(|c| is(*c, b"@", whole))
            && let Some(host) = authority.get(at_sign + 1)
        {
            cuts.push((authority[0].at..host.at, ""));
        }
    }
    cuts
}

/// The value of each parameter that authorises.
fn parameter_values(chars: &[Char]) -> Vec<Cut> {
    let mut cuts = Vec::new();
    for (n, equals) in chars.iter().enumerate() {
        if equals.byte != b'=' {
            continue;
        }
        let name_len = chars[..n].iter().rev().take_while(|c| is_name(c.byte)).count();
        let name: String = chars[n - name_len..n]
            .iter()
            .map(|c| char::from(c.byte.to_ascii_lowercase()))
            .collect();
        if !CREDENTIAL_PARAMETERS.contains(&name.as_str()) {
            continue;
        }
        let whole = equals.escaped;
        let value = &chars[n + 1..];
        let len = value
            .iter()
            .position(|c| ends_value(*c, whole) || is(*c, b"&#", whole))
            .unwrap_or(value.len());
        if len > 0 {
            let end = value.get(len).map_or(usize::MAX, |c| c.at);
            cuts.push((value[0].at..end, REMOVED));
        }
    }
    cuts
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// Whether a character is one of `wanted` and means itself. `escapes_count`: the URL as a whole was escaped once.
fn is(c: Char, wanted: &[u8], escapes_count: bool) -> bool {
    wanted.contains(&c.byte) && (!c.escaped || escapes_count)
}

/// What no URL contains unescaped: it ends wherever the value of the body's form ends.
fn ends_value(c: Char, escapes_count: bool) -> bool {
    (c.byte <= b' ' || matches!(c.byte, b'"' | b'<' | b'>' | b'\\')) && (!c.escaped || escapes_count)
}

fn cut(text: &[u8], mut cuts: Vec<Cut>) -> Vec<u8> {
    cuts.sort_by_key(|(range, _)| range.start);
    let mut kept = Vec::with_capacity(text.len());
    let mut from = 0;
    for (range, instead) in cuts {
        let end = range.end.min(text.len());
        if range.start < from {
            // Inside a part that is gone already: take out what reaches further.
            from = from.max(end);
            continue;
        }
        kept.extend_from_slice(&text[from..range.start]);
        kept.extend_from_slice(instead.as_bytes());
        from = end;
    }
    kept.extend_from_slice(&text[from..]);
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redacted(text: &str) -> String {
        String::from_utf8(without_credentials(text.as_bytes(), &["t0ken-of-ours"])).unwrap()
    }

    #[test]
    fn user_information_of_urls_goes_in_every_form() {
        for (text, kept) in [
            (
                r#"{"RecordingUrl":"https://key:tok@s3.example/a.mp3"}"#,
                r#"{"RecordingUrl":"https://s3.example/a.mp3"}"#,
            ),
            (
                r#"{"RecordingUrl":"https:\/\/key:tok@s3.example\/a.mp3"}"#,
                r#"{"RecordingUrl":"https:\/\/s3.example\/a.mp3"}"#,
            ),
            (
                "RecordingUrl=https%3A%2F%2Fkey%3Atok%40s3.example%2Fa.mp3&Status=busy",
                "RecordingUrl=https%3A%2F%2Fs3.example%2Fa.mp3&Status=busy",
            ),
            (
                "RecordingUrl=https://key:tok@s3.example/a.mp3&Status=busy",
                "RecordingUrl=https://s3.example/a.mp3&Status=busy",
            ),
            (
                r#""https://key:p%2Fq%40@s3.example/a""#,
                r#""https://s3.example/a""#,
            ),
            (r#""https://a@b:c@s3.example/a""#, r#""https://s3.example/a""#),
        ] {
            assert_eq!(redacted(text), kept);
        }
    }

    #[test]
    fn what_authorises_goes_and_the_rest_of_a_query_stays() {
        for (text, kept) in [
            (
                r#"{"u":"https://s3.example/a.mp3?X-Amz-Expires=300&X-Amz-Signature=ab%26cd","Status":"busy"}"#,
                r#"{"u":"https://s3.example/a.mp3?X-Amz-Expires=300&X-Amz-Signature=removed","Status":"busy"}"#,
            ),
            (
                r#"{"u":"https://s3.example/a?x=1\u0026Signature=abc\u0026Expires=9"}"#,
                r#"{"u":"https://s3.example/a?x=1\u0026Signature=removed\u0026Expires=9"}"#,
            ),
            (
                "u=https%3A%2F%2Fs3.example%2Fa%3FX-Amz-Security-Token%3DFwoG%252Bx%26X-Amz-Date%3D1&Status=busy",
                "u=https%3A%2F%2Fs3.example%2Fa%3FX-Amz-Security-Token%3Dremoved%26X-Amz-Date%3D1&Status=busy",
            ),
            (
                "CallSid=a&token=abc&Status=busy",
                "CallSid=a&token=removed&Status=busy",
            ),
            ("token=abc", "token=removed"),
            ("Signature=", "Signature="),
        ] {
            assert_eq!(redacted(text), kept);
        }
    }

    #[test]
    fn what_a_cut_brings_together_goes_too() {
        assert_eq!(
            redacted("token%3Dhttp://%26@http://"),
            redacted(&redacted("token%3Dhttp://%26@http://"))
        );
        assert_eq!(redacted("t0ken-http://a@of-ours"), "t0ken-http://of-ours");
        assert_eq!(redacted("http://http://b@c:d@e"), "http://http://e");
    }

    #[test]
    fn our_own_credentials_go_wherever_they_stand() {
        assert_eq!(
            redacted(r#"{"CustomField":"t0ken-of-ours"}"#),
            r#"{"CustomField":"removed"}"#
        );
    }

    #[test]
    fn numbers_mail_addresses_and_ordinary_urls_stay() {
        let text = r#"{"To":"09811100002","CustomField":"a@b.example","u":"https://s3.example/a@b.mp3?design=1#token"}"#;
        assert_eq!(redacted(text), text);
    }

    #[test]
    fn a_query_without_its_signature_is_recognised() {
        assert!(lost_a_credential("https://a/b?x=1&X-Amz-Signature=removed"));
        assert!(!lost_a_credential("https://a/b?x=removed"));
        assert!(!lost_a_credential("https://a/b"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_twice_is_once(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let once = without_credentials(&text, &["t0ken-of-ours"]);
            prop_assert_eq!(without_credentials(&once, &["t0ken-of-ours"]), once);
        }

        #[test]
        fn url_shaped_text_is_cleaned_once_and_for_all(text in "(https?(://|:\\\\/\\\\/|%3A%2F%2F)|[@:/?#&=%\"]|token|sig|%40|%3D|%26|\\\\u0026|[a-c]){0,30}") {
            let once = without_credentials(text.as_bytes(), &[]);
            prop_assert_eq!(without_credentials(&once, &[]), once);
        }

        #[test]
        fn no_password_survives(password in "[a-z]{8,12}", encoded in any::<bool>()) {
            let url = format!("https://k3y:{password}@host.example/x.mp3?sig={password}&n=1");
            let body = if encoded {
                form_urlencoded::Serializer::new(String::new()).append_pair("RecordingUrl", &url).finish()
            } else {
                format!("{{\"RecordingUrl\":\"{url}\"}}")
            };
            let kept = String::from_utf8(without_credentials(body.as_bytes(), &[])).unwrap();
            prop_assert!(!kept.contains(&password), "{}", kept);
        }
    }
}
