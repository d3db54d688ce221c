//! Any answer to any request: the first two bytes are the status, the rest the body.
#![no_main]

use exotel::calls::{GetCall, ListCalls};
use exotel::ccm::GetCcmCall;
use exotel::exophones::{GetExophone, ListExophones};
use exotel::numbers::GetNumber;
use exotel::sms::{GetSms, SendBulkSms, SmsOptions};
use exotel::stream::GetActiveStreams;
use exotel::{Answer, Request, classify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|answer: &[u8]| {
    let [high, low, body @ ..] = answer else { return };
    let status = u16::from_be_bytes([*high, *low]) % 1000;
    if let Err(error) = classify(status, body) {
        let verdicts = [
            error.is_retryable(),
            error.is_refused_for_good(),
            error.may_have_reached_exotel(),
        ];
        assert_eq!(verdicts.iter().filter(|&&holds| holds).count(), 1);
    }
    let answer = Answer::new(status, body.to_vec());
    let _ = GetCall::with_details("a".parse().unwrap()).read(&answer);
    if let Ok(page) = ListCalls::default().read(&answer) {
        // What is left out is kept as JSON.
        assert!(
            page.unreadable
                .iter()
                .all(|entry| !entry.raw.is_empty() && !entry.problem.is_empty())
        );
    }
    let _ = ListExophones::default().read(&answer);
    let _ = GetExophone { sid: "a".into() }.read(&answer);
    let _ = GetCcmCall {
        sid: "a".parse().unwrap(),
    }
    .read(&answer);
    let _ = GetSms {
        sid: "a".parse().unwrap(),
    }
    .read(&answer);
    let _ = GetActiveStreams.read(&answer);
    let _ = GetNumber { number: "1".into() }.read(&answer);
    let bulk = SendBulkSms {
        from: "A".into(),
        to: Vec::new(),
        body: "A".into(),
        options: SmsOptions::default(),
    };
    let _ = bulk.read(&answer);
});
