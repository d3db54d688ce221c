//! Any request of a Passthru or Voicebot applet: the first line is the content type, the rest is the query and the body.
#![no_main]

use exotel::callback::{PassthruCall, StreamRequest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|request: &[u8]| {
    let at = request.iter().position(|&b| b == b'\n').unwrap_or(request.len());
    let (content_type, rest) = request.split_at(at);
    let content_type = String::from_utf8_lossy(content_type);
    let rest = rest.get(1..).unwrap_or_default();
    let query = String::from_utf8_lossy(rest);
    for (body, query) in [
        (&b""[..], Some(query.as_ref())),
        (rest, None),
        (rest, Some(query.as_ref())),
    ] {
        if let Ok(call) = PassthruCall::parse(Some(&content_type), body, query) {
            assert!(
                call.digits
                    .is_none_or(|digits| !digits.starts_with('"') && !digits.ends_with('"'))
            );
            assert_eq!(call.ended_stream().is_some(), !call.stream.is_empty());
            assert!(StreamRequest::parse(Some(&content_type), body, query).is_ok());
            assert!(call.stream.get("StreamUrl").is_none_or(|url| !url.contains('?')));
        }
    }
});
