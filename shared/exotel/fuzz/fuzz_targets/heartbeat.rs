//! Any request to the HeartBeat's address.
#![no_main]

use exotel::ConnectivityStatus;
use exotel::callback::HeartbeatCallback;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let Ok(heartbeat) = HeartbeatCallback::parse(body) else {
        return;
    };
    // Well is only what Exotel calls so.
    for health in heartbeat.exophones.values() {
        let well = health.incoming_call.status == Some(ConnectivityStatus::Active);
        assert!(
            !well
                || body
                    .to_ascii_lowercase()
                    .windows(3)
                    .any(|letters| letters == b"act" || letters == b"\\u0")
        );
    }
});
