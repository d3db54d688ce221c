#![doc = include_str!("../README.md")]

pub mod evaluate;
pub mod sweep;

use lambda_kit::init::Diagnostic;
use services::TableError;

/// 128 bits from the operating system, for jitter and ids.
///
/// # Panics
/// When the operating system has no randomness: nothing can be named then.
pub fn random() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("Lambda's kernel gives randomness");
    u128::from_ne_bytes(bytes)
}

/// A run that the table stopped, as Lambda is told; the next run goes on.
pub(crate) fn failed(error: TableError) -> Diagnostic {
    tracing::error!("the run stopped: {error}");
    let error_type = if error.is_retryable() {
        "Retryable"
    } else {
        "Rejected"
    };
    Diagnostic {
        error_type: error_type.to_owned(),
        error_message: error.to_string(),
    }
}
