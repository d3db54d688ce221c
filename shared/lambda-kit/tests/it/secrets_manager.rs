//! Init against something that speaks Secrets Manager's protocol.

use jiff::{SignedDuration, Timestamp};
use lambda_kit::{
    Error,
    config::{ExotelConfig, Settings},
    init::Boot,
};
use secrecy::ExposeSecret;

use crate::server::Server;

const ARN: &str = "arn:aws:secretsmanager:ap-south-1:123456789012:secret:exotel-AbCdEf";

fn environment(endpoint_url: String) -> Settings {
    Settings::new(move |name| {
        Some(match name {
            "AWS_REGION" => "ap-south-1".to_owned(),
            "AWS_ACCESS_KEY_ID" => "AKIDEXAMPLE".to_owned(),
            "AWS_SECRET_ACCESS_KEY" => "hunter2".to_owned(),
            "AWS_SESSION_TOKEN" => "session".to_owned(),
            "AWS_ENDPOINT_URL" => endpoint_url.clone(),
            "SECRET_ARN" => ARN.to_owned(),
            _ => return None,
        })
    })
}

fn answer(token: &str) -> String {
    let secret = serde_json::json!({"EXOTEL_SID": "acme1", "EXOTEL_API_KEY": "key", "EXOTEL_API_TOKEN": token,
        "EXOTEL_CALLER_ID": "08045550100"});
    serde_json::json!({"ARN": ARN, "Name": "exotel", "SecretString": secret.to_string()}).to_string()
}

#[tokio::test]
async fn init_fetches_the_secret_with_a_signed_request() {
    let server = Server::start(&[(200, &answer("first")), (200, &answer("rotated"))]).await;
    let now = Timestamp::now();
    let boot = Boot::new(environment(server.url.clone()), now).await.unwrap();
    let exotel = boot.live(ExotelConfig::from_env).unwrap();
    let token = |config: &Option<ExotelConfig>| config.as_ref().unwrap().api_token.expose_secret().to_owned();
    assert_eq!(token(&*exotel.get(now).await), "first");
    assert_eq!(
        token(&*exotel.refetch(now + SignedDuration::from_mins(1)).await),
        "rotated"
    );

    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    let (head, body) = asked[0].split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("post / http/1.1\r\n"), "{head}");
    for line in [
        "x-amz-target: secretsmanager.getsecretvalue",
        "content-type: application/x-amz-json-1.1",
        "x-amz-security-token: session",
        "/ap-south-1/secretsmanager/aws4_request, signedheaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target,",
    ] {
        assert!(head.contains(line), "{line}\n{head}");
    }
    assert!(!head.contains("hunter2"));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(body).unwrap(),
        serde_json::json!({ "SecretId": ARN })
    );
}

#[tokio::test]
async fn a_failing_service_is_asked_once_more_and_a_refusal_is_final() {
    let hiccup = Server::start(&[(500, "{}"), (200, &answer("second"))]).await;
    assert!(
        Boot::new(environment(hiccup.url.clone()), Timestamp::now())
            .await
            .is_ok()
    );
    assert_eq!(hiccup.asked().len(), 2);

    let refusal = Server::start(&[(400, r#"{"__type":"AccessDeniedException","Message":"no"}"#)]).await;
    let err = Boot::new(environment(refusal.url.clone()), Timestamp::now())
        .await
        .err()
        .unwrap();
    assert!(
        matches!(&err, Error::Secret(_)) && err.to_string().contains("AccessDeniedException"),
        "{err}"
    );
    assert_eq!(refusal.asked().len(), 1);
}

#[tokio::test]
async fn nothing_listening_is_a_clear_error() {
    let err = Boot::new(environment("http://127.0.0.1:9".to_owned()), Timestamp::now())
        .await
        .err()
        .unwrap();
    assert!(
        err.to_string().contains("Secrets Manager was not reached"),
        "{err}"
    );
}

#[tokio::test]
async fn a_change_is_written_once_and_read_here_at_once() {
    let server = Server::start(&[
        (200, &answer("first")),
        (200, &answer("rotated by somebody else")),
        (503, "{}"),
        (200, r#"{"ARN":"arn"}"#),
    ])
    .await;
    let now = Timestamp::now();
    let boot = Boot::new(environment(server.url.clone()), now).await.unwrap();
    let exotel = boot.live(ExotelConfig::from_env).unwrap();
    let store = boot.secret_store().unwrap();
    let keys = [("EXOTEL_SID", "acme2".into())];
    store.change(&keys, |_| Ok(()), 7, now).await.unwrap();

    let read = exotel.get(now).await;
    let read = read.as_ref().as_ref().unwrap();
    assert_eq!(
        (read.account_sid.as_str(), read.api_token.expose_secret()),
        ("acme2", "rotated by somebody else")
    );
    let asked = server.asked();
    assert_eq!(asked.len(), 4);
    // The second time it is the same request: Secrets Manager knows it by its token.
    let sent = |n: usize| {
        let (head, body) = asked[n].split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains("x-amz-target: secretsmanager.PutSecretValue"),
            "{head}"
        );
        serde_json::from_str::<serde_json::Value>(body).unwrap()
    };
    assert_eq!(sent(2), sent(3));
    assert_eq!(sent(2)["SecretId"], ARN);
    assert_eq!(sent(2)["ClientRequestToken"], "00000000000000000000000000000007");
    let written: serde_json::Value = serde_json::from_str(sent(2)["SecretString"].as_str().unwrap()).unwrap();
    assert_eq!(
        written,
        serde_json::json!({"EXOTEL_SID": "acme2", "EXOTEL_API_KEY": "key", "EXOTEL_API_TOKEN": "rotated by somebody else",
            "EXOTEL_CALLER_ID": "08045550100"})
    );
}

#[tokio::test]
async fn a_change_that_the_check_or_the_service_refuses_leaves_everything_as_it_was() {
    let refusal = r#"{"__type":"AccessDeniedException","Message":"no"}"#;
    let server = Server::start(&[
        (200, &answer("first")),
        (200, &answer("first")),
        (200, &answer("first")),
        (400, refusal),
    ])
    .await;
    let now = Timestamp::now();
    let boot = Boot::new(environment(server.url.clone()), now).await.unwrap();
    let exotel = boot.live(ExotelConfig::from_env).unwrap();
    let store = boot.secret_store().unwrap();
    let check = |settings: &Settings| ExotelConfig::from_env(settings).map(drop);
    let unusable = [("EXOTEL_REGION", "mars".into())];
    let err = store.change(&unusable, check, 7, now).await.unwrap_err();
    assert!(matches!(err, Error::Invalid { .. }), "{err}");
    assert_eq!(server.asked().len(), 2);

    let keys = [("EXOTEL_API_TOKEN", "hunter2".into())];
    let err = store.change(&keys, check, 8, now).await.unwrap_err().to_string();
    assert!(
        err.contains("AccessDeniedException") && !err.contains("hunter2"),
        "{err}"
    );
    assert_eq!(server.asked().len(), 4);
    let read = exotel.get(now).await;
    let read = read.as_ref().as_ref().unwrap();
    assert_eq!(read.api_token.expose_secret(), "first");
}
