use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue};
use recordings::fetch::{Access, FetchError, Opened};

use crate::internet::{Internet, audio, credentials, redirect, status};

const RECORDING: &str = "https://recordings.exotel.com/exotelrecordings/acme1/a.mp3";
const BUCKET: &str = "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/acme1/a.mp3";

async fn open(internet: &Internet, address: &str) -> Result<Opened, FetchError> {
    internet
        .fetcher()
        .open(address, Access::Credentials(&credentials()), &HeaderMap::new())
        .await
}

async fn whole(opened: Opened) -> Bytes {
    opened.body.collect::<Vec<_>>().await.concat().into()
}

#[tokio::test]
async fn a_recording_arrives_with_its_type_and_length() {
    let internet = Internet::start(|_| audio(vec![7; 300_000])).await;
    let opened = open(&internet, RECORDING).await.unwrap();
    assert_eq!(
        (
            opened.status.as_u16(),
            &opened.headers["content-type"],
            &opened.headers["content-length"]
        ),
        (200, &"audio/mpeg".parse().unwrap(), &"300000".parse().unwrap())
    );
    assert_eq!(whole(opened).await, vec![7; 300_000]);
}

#[tokio::test]
async fn a_range_is_passed_on_and_its_answer_back() {
    let internet = Internet::start(|seen| {
        assert_eq!(seen.headers["range"], "bytes=100-");
        let mut response = audio("rest");
        *response.status_mut() = http::StatusCode::PARTIAL_CONTENT;
        response
            .headers_mut()
            .insert("content-range", HeaderValue::from_static("bytes 100-103/104"));
        response
    })
    .await;
    let asked = HeaderMap::from_iter([
        (http::header::RANGE, HeaderValue::from_static("bytes=100-")),
        (http::header::COOKIE, HeaderValue::from_static("a=b")),
    ]);
    let opened = internet
        .fetcher()
        .open(RECORDING, Access::Credentials(&credentials()), &asked)
        .await
        .unwrap();
    assert_eq!(
        (opened.status.as_u16(), &opened.headers["content-range"]),
        (206, &HeaderValue::from_static("bytes 100-103/104"))
    );
    assert!(!internet.seen()[0].headers.contains_key("cookie"));
}

#[tokio::test]
async fn credentials_go_to_exotel_and_not_to_s3_nor_along_with_a_signature() {
    let internet = Internet::start(|_| audio("x")).await;
    open(&internet, RECORDING).await.unwrap();
    open(&internet, BUCKET).await.unwrap();
    internet
        .fetcher()
        .open(RECORDING, Access::Open, &HeaderMap::new())
        .await
        .unwrap();
    let with: Vec<bool> = internet
        .seen()
        .iter()
        .map(|seen| seen.has_credentials())
        .collect();
    assert_eq!(with, [true, false, false]);
    assert_eq!(internet.seen()[0].headers["authorization"], "Basic a2V5OnRva2Vu");
}

#[tokio::test]
async fn credentials_survive_a_redirect_on_the_same_host_only_and_do_not_come_back() {
    let internet = Internet::start(|seen| match seen.url.as_str() {
        "https://recordings.exotel.com/same" => redirect("/there"),
        "https://recordings.exotel.com/away" => redirect("https://storage.exotel.com/back"),
        "https://storage.exotel.com/back" => redirect("https://recordings.exotel.com/there"),
        _ => audio("x"),
    })
    .await;
    open(&internet, "https://recordings.exotel.com/same")
        .await
        .unwrap();
    open(&internet, "https://recordings.exotel.com/away")
        .await
        .unwrap();
    let seen: Vec<_> = internet
        .seen()
        .iter()
        .map(|seen| (seen.url.clone(), seen.has_credentials()))
        .collect();
    let expected = [
        ("https://recordings.exotel.com/same", true),
        ("https://recordings.exotel.com/there", true),
        ("https://recordings.exotel.com/away", true),
        ("https://storage.exotel.com/back", false),
        ("https://recordings.exotel.com/there", false),
    ];
    assert_eq!(seen, expected.map(|(url, with)| (url.to_owned(), with)));
}

#[tokio::test]
async fn two_redirects_are_followed_and_a_third_is_not() {
    let internet = Internet::start(|seen| match seen.url.rsplit('/').next() {
        Some("3") => redirect("/2"),
        Some("2") => redirect("http://storage.exotel.com/1"),
        Some("1") => redirect("//recordings.exotel.in/0"),
        _ => audio("x"),
    })
    .await;
    assert!(matches!(
        open(&internet, "https://recordings.exotel.com/3").await,
        Err(FetchError::Redirects)
    ));
    assert_eq!(
        whole(open(&internet, "https://recordings.exotel.com/2").await.unwrap()).await,
        "x"
    );
    assert!(
        internet
            .seen()
            .iter()
            .all(|seen| seen.url.starts_with("https://"))
    );
}

#[tokio::test]
async fn a_redirect_to_nowhere_is_no_recording() {
    let internet = Internet::start(|_| status(302)).await;
    assert!(matches!(
        open(&internet, RECORDING).await,
        Err(FetchError::Redirects)
    ));
}

#[tokio::test]
async fn each_refusal_of_the_origin_is_told_apart() {
    let internet =
        Internet::start(|seen| status(seen.url.rsplit('/').next().unwrap().parse().unwrap())).await;
    let open = async |code: &str| {
        open(&internet, &format!("https://recordings.exotel.com/{code}"))
            .await
            .unwrap_err()
    };
    assert!(matches!(open("401").await, FetchError::Denied(_)));
    assert!(matches!(open("403").await, FetchError::Denied(_)));
    assert!(matches!(open("404").await, FetchError::Missing));
    assert!(matches!(open("416").await, FetchError::Range));
    assert!(matches!(open("500").await, FetchError::Status(_)));
    assert!(matches!(open("204").await, FetchError::Status(_)));
}

#[tokio::test]
async fn what_is_not_audio_is_not_passed_on() {
    let internet = Internet::start(|_| {
        let mut response = audio(r#"{"Calls": []}"#);
        response
            .headers_mut()
            .insert("content-type", HeaderValue::from_static("application/json"));
        response
    })
    .await;
    assert!(matches!(
        open(&internet, "https://api.exotel.com/v1/Accounts/acme1/Calls.json").await,
        Err(FetchError::NotAudio)
    ));
}

#[tokio::test]
async fn a_server_that_cannot_prove_its_name_is_not_read() {
    let internet = Internet::start(|_| audio("x")).await;
    // The test certificate covers one of the S3 hosts only.
    let opened = open(
        &internet,
        "https://s3.ap-south-1.amazonaws.com/exotel-mum1-recordings/acme1/a.mp3",
    )
    .await;
    assert!(matches!(opened, Err(FetchError::Unreachable(_))), "{opened:?}");
    assert!(internet.seen().is_empty());
}
