//! What DynamoDB answers when others are in the way, which an in-process one never is.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use aws_sdk_dynamodb::{
    Client, Config,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
};
use axum::{Router, http::StatusCode, routing::post};
use domain::call::CallState;
use table::{Create, Table, TableError};

use crate::given::{call, lead};

/// A table whose first `refusals` requests are refused with this body and status, and the rest taken.
async fn refusing(refusals: usize, status: u16, body: &'static str) -> (Table, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let answer = async move || {
        if count.fetch_add(1, Ordering::SeqCst) < refusals {
            (StatusCode::from_u16(status).unwrap(), body)
        } else {
            (StatusCode::OK, "{}")
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(post(answer));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("ap-south-1"))
        .endpoint_url(url)
        .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
        .retry_config(RetryConfig::disabled())
        .http_client(dynamo::http_client())
        .build();
    (Table::new(Client::from_conf(config), "t"), asked)
}

const CONFLICT: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
    "Message":"Transaction cancelled","CancellationReasons":[{"Code":"TransactionConflict"},{"Code":"None"}]}"#;

#[tokio::test]
async fn a_click_that_meets_another_on_the_same_lead_is_tried_again() {
    let (table, asked) = refusing(3, 400, CONFLICT).await;
    let call = call(&lead("lead-1").id, 1, CallState::InFlight);
    assert_eq!(table.create_call(&call).await.unwrap(), Create::Created);
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn conflicts_without_end_are_unavailable() {
    let (table, asked) = refusing(usize::MAX, 400, CONFLICT).await;
    let call = call(&lead("lead-1").id, 1, CallState::InFlight);
    let error = table.create_call(&call).await.unwrap_err();
    assert!(error.is_retryable());
    assert_eq!(asked.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn what_may_pass_is_told_from_what_will_not() {
    for (status, kind, retryable) in [
        (400, "ProvisionedThroughputExceededException", true),
        (400, "ThrottlingException", true),
        (400, "RequestLimitExceeded", true),
        (500, "InternalServerError", true),
        (503, "ServiceUnavailable", true),
        (400, "ResourceNotFoundException", false),
        (400, "AccessDeniedException", false),
        (400, "ValidationException", false),
    ] {
        let body: &str = Box::leak(format!(r#"{{"__type":"x#{kind}","message":"m"}}"#).into_boxed_str());
        let (table, _) = refusing(usize::MAX, status, body).await;
        let error = table.lead(&lead("lead-1").id).await.unwrap_err();
        assert_eq!(error.is_retryable(), retryable, "{kind}: {error:?}");
    }
    let body =
        r#"{"__type":"x#ValidationException","message":"Item size has exceeded the maximum allowed size"}"#;
    let (table, _) = refusing(usize::MAX, 400, body).await;
    let error = table.put_user(&crate::given::user()).await.unwrap_err();
    assert!(matches!(error, TableError::TooLarge), "{error:?}");
}

#[tokio::test]
async fn a_table_that_cannot_be_reached_is_unavailable() {
    let (dynamo, table) = crate::given::table().await;
    drop(dynamo);
    tokio::task::yield_now().await;
    let error = table.lead(&lead("lead-1").id).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
}
