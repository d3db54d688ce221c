//! Any request to the SMS callback's address: the first line is the content type, the rest the body.
#![no_main]

use exotel::callback::SmsStatusCallback;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|request: &[u8]| {
    let at = request.iter().position(|&b| b == b'\n').unwrap_or(request.len());
    let (content_type, body) = request.split_at(at);
    let content_type = String::from_utf8_lossy(content_type);
    let body = body.get(1..).unwrap_or_default();
    for content_type in [None, Some(content_type.as_ref())] {
        if let Ok(callback) =
            SmsStatusCallback::parse(content_type, body, Some(&String::from_utf8_lossy(body)))
        {
            assert!(callback.event_key().starts_with(callback.sms_sid.as_str()));
        }
    }
});
