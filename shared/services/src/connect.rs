//! The table, reached with a function's AWS settings.

use aws_types::SdkConfig;
use table::Table;

/// The table of this name.
pub fn connect(aws: &SdkConfig, table_name: &str) -> Table {
    Table::new(aws_sdk_dynamodb::Client::new(aws), table_name)
}
