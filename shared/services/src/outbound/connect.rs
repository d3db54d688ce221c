//! An account from a function's settings.

use std::sync::Arc;

use domain::{
    ids::{CallLocator, SmsLocator},
    phone::{Country, PhoneNumber},
};
use exotel::{Client, Credentials, sms::SmsType};
use secrecy::SecretString;

use super::{Account, BotLine, SmsSettings};

/// An account as the settings have it.
#[derive(Debug, Clone)]
pub struct AccountSettings {
    /// Origin of Exotel's API.
    pub base_url: String,
    /// Account sid.
    pub account_sid: String,
    /// API key.
    pub api_key: SecretString,
    /// API token.
    pub api_token: SecretString,
    /// The ExoPhone, in any usual form.
    pub caller_id: String,
    /// Sender id or ExoPhone of messages.
    pub sms_sender: String,
    /// `transactional`, `transactional_opt_in` or `promotional`.
    pub sms_type: String,
    /// Entity id of the DLT registration.
    pub dlt_entity_id: Option<String>,
    /// Template id of the DLT registration.
    pub dlt_template_id: Option<String>,
    /// Whose number the caller id is, when it has no country code.
    pub country: Country,
}

/// Settings with which nothing can be sent.
#[derive(Debug, thiserror::Error)]
#[error("{setting} cannot be used: {problem}")]
pub struct UnusableAccount {
    /// Which setting.
    pub setting: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// A client of the account at this origin, for a function that only asks.
///
/// # Errors
/// [`UnusableAccount`] names the setting.
pub fn client(
    http: reqwest::Client,
    base_url: &str,
    credentials: Credentials,
) -> Result<Client, UnusableAccount> {
    let unusable = |setting, problem: String| UnusableAccount { setting, problem };
    let base_url = base_url
        .parse()
        .map_err(|_| unusable("EXOTEL_SUBDOMAIN", "it is no URL".to_owned()))?;
    Client::new(http, base_url, credentials)
        .map_err(|error| unusable("the Exotel account", error.to_string()))
}

impl Account<Client> {
    /// The account, reached by this HTTP client; the two functions make the URLs that Exotel calls back.
    ///
    /// # Errors
    /// [`UnusableAccount`] names the setting.
    pub fn connect(
        http: reqwest::Client,
        settings: AccountSettings,
        call_callback: impl Fn(&CallLocator) -> String + Send + Sync + 'static,
        sms_callback: impl Fn(&SmsLocator) -> String + Send + Sync + 'static,
    ) -> Result<Self, UnusableAccount> {
        let unusable = |setting, problem: String| UnusableAccount { setting, problem };
        let credentials = Credentials {
            account_sid: settings.account_sid,
            api_key: settings.api_key,
            api_token: settings.api_token,
        };
        let exotel = client(http, &settings.base_url, credentials)?;
        let caller_id = PhoneNumber::parse(&settings.caller_id, settings.country)
            .map_err(|error| unusable("EXOTEL_CALLER_ID", error.to_string()))?;
        let sms_type = match settings.sms_type.as_str() {
            "transactional" => SmsType::Transactional,
            "transactional_opt_in" => SmsType::TransactionalOptIn,
            "promotional" => SmsType::Promotional,
            _ => return Err(unusable("EXOTEL_SMS_TYPE", "it is no kind of message".to_owned())),
        };
        Ok(Self {
            exotel,
            caller_id,
            sms: SmsSettings {
                sender: settings.sms_sender,
                sms_type: Some(sms_type),
                dlt_entity_id: settings.dlt_entity_id,
                dlt_template_id: settings.dlt_template_id,
            },
            bot: None,
            call_callback: Arc::new(call_callback),
            sms_callback: Arc::new(sms_callback),
        })
    }
}

impl<E> Account<E> {
    /// With calls to a bot.
    #[must_use]
    pub fn with_bot(self, bot: Option<BotLine>) -> Self {
        Self { bot, ..self }
    }
}
