//! What a request to Exotel needs to know of the account, and the way there.

use std::sync::Arc;

use domain::{
    ids::{CallLocator, SmsLocator, VoiceSessionId},
    phone::PhoneNumber,
    voicebot::Rate,
};
use exotel::sms::SmsType;
use jiff::Timestamp;

/// The way to Exotel: its client, or a test's model of it.
pub trait Exotel {
    /// Sends a request once.
    ///
    /// # Errors
    /// As [`exotel::Client::send`].
    fn send<R: exotel::Request>(&self, request: &R)
    -> impl Future<Output = Result<R::Answer, exotel::Error>>;
}

impl Exotel for exotel::Client {
    async fn send<R: exotel::Request>(&self, request: &R) -> Result<R::Answer, exotel::Error> {
        exotel::Client::send(self, request).await
    }
}

/// An account, and the callback URLs that its requests carry.
#[derive(Clone)]
pub struct Account<E> {
    /// The way there.
    pub exotel: E,
    /// The ExoPhone that both parties of a call see, unless calls from it do not go through: then an alternate.
    pub caller_id: PhoneNumber,
    /// How messages are sent.
    pub sms: SmsSettings,
    /// Where calls to a bot go; `None` refuses them.
    pub bot: Option<BotLine>,
    /// Where Exotel reports about a call: a URL that names the row and proves that we made it.
    pub call_callback: Arc<dyn Fn(&CallLocator) -> String + Send + Sync>,
    /// Where Exotel reports about a message.
    pub sms_callback: Arc<dyn Fn(&SmsLocator) -> String + Send + Sync>,
}

/// Makes the URL that Exotel dials for a session, asked for at a moment.
pub type StreamUrl = Arc<dyn Fn(&VoiceSessionId, Timestamp) -> String + Send + Sync>;

/// Where calls to a bot go when the person has answered.
#[derive(Clone)]
pub enum BotLine {
    /// Into a flow with a Voicebot applet, by its URL.
    Flow(String),
    /// Straight to the bot.
    Stream {
        /// Which bot.
        bot: String,
        /// At which rate.
        rate: Rate,
        /// The URL that Exotel dials.
        url: StreamUrl,
    },
}

impl BotLine {
    /// The flow with this id, of this account.
    pub fn flow(account_sid: &str, app_id: &str) -> Self {
        BotLine::Flow(format!(
            "https://my.exotel.com/{account_sid}/exoml/start_voice/{app_id}"
        ))
    }
}

/// How messages are sent.
#[derive(Debug, Clone)]
pub struct SmsSettings {
    /// Sender id or ExoPhone.
    pub sender: String,
    /// What kind of message the regulator sees.
    pub sms_type: Option<SmsType>,
    /// Entity id of the DLT registration.
    pub dlt_entity_id: Option<String>,
    /// Template id of the DLT registration.
    pub dlt_template_id: Option<String>,
}
