//! The table, reached with a function's AWS settings.

use std::time::Duration;

use aws_sdk_dynamodb::{
    Client,
    config::{retry::RetryConfig, timeout::TimeoutConfig},
};
use aws_types::SdkConfig;
use table::Table;

/// Before a second attempt; the SDK's own would be a second.
const FIRST_BACKOFF: Duration = Duration::from_millis(25);

/// The table of this name.
pub fn connect(aws: &SdkConfig, table_name: &str) -> Table {
    Table::new(Client::new(aws), table_name)
}

/// The table of this name, with a client of its own that gives a request up after `in_all`, and before makes as many
/// attempts of `attempt` each as that has room for.
pub fn connect_within(aws: &SdkConfig, table_name: &str, attempt: Duration, in_all: Duration) -> Table {
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(attempt)
        .operation_timeout(in_all)
        .build();
    let attempts = in_all.as_millis() / attempt.as_millis().max(1);
    let retries = RetryConfig::standard()
        .with_max_attempts(u32::try_from(attempts).unwrap_or(u32::MAX).max(1))
        .with_initial_backoff(FIRST_BACKOFF);
    let aws = aws
        .to_builder()
        .timeout_config(timeouts)
        .retry_config(retries)
        .build();
    connect(&aws, table_name)
}
