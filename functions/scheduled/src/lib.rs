#![doc = include_str!("../README.md")]

pub mod evaluate;
pub mod heartbeat;
pub mod poll_calls;
pub mod roll_up;
pub mod sweep;

use lambda_kit::{
    config::{ExotelConfig, LocaleConfig},
    https::HttpsClient,
    init::Diagnostic,
};
use services::{
    TableError,
    outbound::{Account, AccountSettings, Client},
};

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

/// The account, when Exotel is configured, to look things up: nothing is sent, so nothing is called back.
pub(crate) fn account(
    http: &HttpsClient,
    config: Option<&ExotelConfig>,
    locale: &LocaleConfig,
) -> Option<Account<Client>> {
    let config = config?;
    let settings = AccountSettings {
        base_url: config.base_url.as_str().to_owned(),
        account_sid: config.account_sid.clone(),
        api_key: config.api_key.clone(),
        api_token: config.api_token.clone(),
        caller_id: config.caller_id.clone(),
        sms_sender: config.sms_sender_id.clone(),
        sms_type: config.sms_type.clone(),
        dlt_entity_id: None,
        dlt_template_id: None,
        country: locale.country,
    };
    let account = Account::connect(http.clone(), settings, |_| String::new(), |_| String::new());
    account
        .inspect_err(|error| tracing::error!("nothing can be looked up: {error}"))
        .ok()
}
