//! Recordings: who may fetch them, when, and in which parts.

use std::sync::atomic::Ordering;

use exotel_simulator::{CallScript, Handle, Options, RecordingKind, RecordingScript, Script};
use http::header;

use crate::harness::{Api, CALLS, calls_done, fast, manual_clock, sid, start};

/// Places a recorded call and gives its `RecordingUrl`.
async fn record(handle: &Handle, api: &Api, to: &str, more: &[(&str, &str)]) -> String {
    let before = handle.calls().len();
    let call = api.call(to, &[&[("Record", "true")], more].concat()).await;
    calls_done(handle, before + 1).await;
    let details = api.get(&format!("{CALLS}/{}.json", sid(&call))).await.json();
    details["Call"]["RecordingUrl"].as_str().unwrap().to_owned()
}

/// Recordings are there as soon as the call ends.
fn at_once() -> Options {
    let mut options = fast();
    options.timings.recording_ms = 0;
    options
}

#[tokio::test]
async fn a_protected_recording_wants_the_accounts_credentials() {
    let mut options = at_once();
    options
        .accounts
        .push(exotel_simulator::Account::new("acme2", "key2", "token2"));
    let (handle, api) = start(options).await;
    let url = record(&handle, &api, "+919811109999", &[]).await;
    assert!(
        url.contains("/recordings/protected/exotelrecordings/acme1/"),
        "{url}"
    );
    let refused = api.clone().anonymous().get(&url).await;
    assert_eq!(refused.status, 401);
    assert!(refused.header(header::WWW_AUTHENTICATE).starts_with("Basic"));
    assert_eq!(api.clone().login("key2", "token2").get(&url).await.status, 401);
    let file = api.get(&url).await;
    assert_eq!(
        (file.status, file.header(header::CONTENT_TYPE)),
        (200, "audio/mpeg")
    );
    assert_eq!(
        file.body.len(),
        37_000_usize.div_ceil(36) * 144,
        "37 s at 32 kbit/s, whole frames"
    );
}

#[tokio::test]
async fn an_open_recording_is_for_anybody() {
    let (handle, api) = start(at_once()).await;
    let url = record(&handle, &api, "+919811100041", &[]).await;
    assert_eq!(api.clone().anonymous().get(&url).await.status, 200);
    let elsewhere = url.replace("/open/", "/protected/");
    assert_eq!(
        api.get(&elsewhere).await.status,
        404,
        "it lies on its own path only"
    );
}

#[tokio::test]
async fn a_private_recording_wants_a_signature_and_no_credentials() {
    let (clock, now) = manual_clock("2026-11-20T08:00:00Z");
    let (handle, api) = start(Options { clock, ..at_once() }).await;
    let url = record(&handle, &api, "+919811100042", &[]).await;
    let anonymous = api.clone().anonymous();
    assert_eq!(anonymous.get(&url).await.status, 403);
    let path = format!("{CALLS}/{}.json?RecordingUrlValidity=5", handle.calls()[0].sid);
    let signed = api.get(&path).await.json()["Call"]["PreSignedRecordingUrl"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(anonymous.get(&signed).await.status, 200);
    let both = api.get(&signed).await;
    assert_eq!(both.status, 400, "signature and Authorization exclude each other");
    assert!(both.text().contains("Only one auth mechanism allowed"));
    assert_eq!(
        anonymous
            .get(&signed.replace("Expires=300", "Expires=900"))
            .await
            .status,
        403
    );
    now.fetch_add(301_000, Ordering::SeqCst);
    let expired = anonymous.get(&signed).await;
    assert!(
        expired.status == 403 && expired.text().contains("expired"),
        "{}",
        expired.text()
    );
}

#[tokio::test]
async fn a_protected_recording_can_be_fetched_by_signature_too() {
    let (handle, api) = start(at_once()).await;
    record(&handle, &api, "+919811109999", &[]).await;
    let path = format!("{CALLS}/{}.json?RecordingUrlValidity=60", handle.calls()[0].sid);
    let signed = api.get(&path).await.json()["Call"]["PreSignedRecordingUrl"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(api.clone().anonymous().get(&signed).await.status, 200);
}

#[tokio::test]
async fn a_recording_is_404_until_it_is_ready() {
    let (clock, now) = manual_clock("2026-11-20T08:00:00Z");
    let mut options = Options {
        clock,
        speed: 1_000.0,
        ..fast()
    };
    options.timings.recording_ms = 60_000_000;
    let (handle, api) = start(options).await;
    let url = record(&handle, &api, "+919811109999", &[]).await;
    assert_eq!(api.get(&url).await.status, 404);
    now.fetch_add(59_999, Ordering::SeqCst);
    assert_eq!(api.get(&url).await.status, 404);
    now.fetch_add(1, Ordering::SeqCst);
    assert_eq!(api.get(&url).await.status, 200);
}

#[tokio::test]
async fn some_calls_have_no_recording_or_never_will() {
    let (handle, api) = start(at_once()).await;
    let none = async |to: &str, more: &[(&str, &str)]| {
        let before = handle.calls().len();
        let call = api.call(to, more).await;
        calls_done(&handle, before + 1).await;
        api.get(&format!("{CALLS}/{}.json", sid(&call))).await.json()["Call"]["RecordingUrl"].is_null()
    };
    assert!(none("+919811109999", &[]).await, "not asked for");
    assert!(
        none("+919811100003", &[("Record", "true")]).await,
        "nobody talked"
    );
    assert!(
        none("+919811100047", &[("Record", "true")]).await,
        "switched off by suffix"
    );
    let missing = record(&handle, &api, "+919811100048", &[]).await;
    assert_eq!(api.get(&missing).await.status, 404);
}

#[tokio::test]
async fn redirects_lead_to_the_open_file_or_anywhere() {
    let (handle, api) = start(at_once()).await;
    let url = record(&handle, &api, "+919811100044", &[]).await;
    let hop = api.get(&url).await;
    assert_eq!(hop.status, 302);
    let target = hop.header(header::LOCATION).to_owned();
    assert!(target.contains("/recordings/open/"), "{target}");
    assert_eq!(api.clone().anonymous().get(&target).await.status, 200);
    let inside = record(&handle, &api, "+919811100045", &[]).await;
    assert_eq!(
        api.get(&inside).await.header(header::LOCATION),
        "http://169.254.169.254/latest/meta-data/"
    );
    let recording = RecordingScript {
        kind: Some(RecordingKind::Redirect),
        hops: Some(3),
        ..Default::default()
    };
    let call = CallScript {
        recording,
        ..CallScript::default()
    };
    handle.script(Script {
        call,
        ..Script::default()
    });
    let mut at = record(&handle, &api, "+919811109999", &[]).await;
    let mut hops = 0;
    while let answer = api.get(&at).await
        && answer.status == 302
    {
        at = answer.header(header::LOCATION).to_owned();
        hops += 1;
    }
    assert_eq!((hops, api.get(&at).await.status), (3, 200));
}

#[tokio::test]
async fn ranges_give_parts_of_the_same_file() {
    let (handle, api) = start(at_once()).await;
    let url = record(&handle, &api, "+919811109999", &[("RecordingChannels", "dual")]).await;
    let whole = api.get(&url).await.body;
    assert_eq!(whole.len(), 37_000_usize.div_ceil(36) * 288, "two channels");
    let range = async |range: &str| api.try_send("GET", &url, &[("range", range)], "").await.unwrap();
    let part = range("bytes=1000-1999").await;
    assert_eq!((part.status, part.body), (206, whole.slice(1_000..2_000)));
    assert_eq!(
        part.headers[header::CONTENT_RANGE],
        format!("bytes 1000-1999/{}", whole.len())
    );
    let tail = range("bytes=-500").await;
    assert_eq!((tail.status, tail.body), (206, whole.slice(whole.len() - 500..)));
    let beyond = range("bytes=99999999-").await;
    assert_eq!(
        (beyond.status, beyond.header(header::CONTENT_RANGE)),
        (416, &*format!("bytes */{}", whole.len()))
    );
    let head = api.try_send("HEAD", &url, &[], "").await.unwrap();
    assert_eq!(
        (head.status, head.header(header::CONTENT_LENGTH)),
        (200, &*whole.len().to_string())
    );
    let journalled = handle
        .requests()
        .into_iter()
        .filter_map(|request| request.range)
        .count();
    assert_eq!(journalled, 3);
}

#[tokio::test]
async fn a_large_recording_has_the_size_that_was_asked_for() {
    let (handle, api) = start(at_once()).await;
    let url = record(&handle, &api, "+919811100046", &[]).await;
    let head = api.try_send("HEAD", &url, &[], "").await.unwrap();
    assert_eq!(head.header(header::CONTENT_LENGTH), (100 << 20).to_string());
    let last = api
        .try_send("GET", &url, &[("range", "bytes=104857500-")], "")
        .await
        .unwrap();
    assert_eq!((last.status, last.body.len()), (206, 100));
    let recording = RecordingScript {
        bytes: Some(1_000_001),
        ..Default::default()
    };
    let call = CallScript {
        recording,
        ..CallScript::default()
    };
    handle.script(Script {
        call,
        ..Script::default()
    });
    let url = record(&handle, &api, "+919811109999", &[]).await;
    assert_eq!(api.get(&url).await.body.len(), 1_000_001);
}

#[tokio::test]
async fn a_recording_can_break_off() {
    let (handle, api) = start(at_once()).await;
    let url = record(&handle, &api, "+919811100050", &[]).await;
    let head = api.try_send("HEAD", &url, &[], "").await.unwrap();
    assert_eq!(
        head.header(header::CONTENT_LENGTH),
        (37_000_usize.div_ceil(36) * 144).to_string()
    );
    let (received, broken) = api.get_broken(&url).await;
    assert!(broken, "the client is told");
    assert!((1..=100_000).contains(&received), "{received}");
    let early = api
        .try_send("GET", &url, &[("range", "bytes=0-999")], "")
        .await
        .unwrap();
    assert_eq!(
        (early.status, early.body.len()),
        (206, 1_000),
        "before the break all is well"
    );
}
