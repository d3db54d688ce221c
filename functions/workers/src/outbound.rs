//! What `retry-outbound` is made of.

use std::sync::Arc;

use domain::{
    ids::{CallLocator, SmsLocator, VoiceSessionId},
    toll_fraud::{Destinations, Quota, Quotas},
};
use lambda_kit::{
    capability::{Purpose, SigningKeys},
    config::{
        CallerIdConfig, ExotelConfig, LocaleConfig, OutboundConfig, PublicUrls, QueueConfig, TableConfig,
        VoicebotConfig,
    },
    https::{self, HttpsClient},
    init::{Boot, BoxError, Live},
    records::{Outcome, Resend},
};
use services::outbound::{
    Account, AccountSettings, BotLine, Exotel, Outbound, OutboundQueue, QueueError, Rules, Step, Task,
    clock::{Machine, SharedWorld},
    limiter::Limiter,
};

/// The worker's clients and rules.
pub struct Dispatcher {
    outbound: Outbound,
    queue: OutboundQueue,
    exotel: Live<Option<ExotelConfig>>,
    keys: Live<SigningKeys>,
    urls: PublicUrls,
    locale: LocaleConfig,
    /// `None` when its settings cannot be used: that must not hold up calls between people.
    voicebot: Option<VoicebotConfig>,
    http: HttpsClient,
}

impl Dispatcher {
    /// Built once, in init.
    ///
    /// # Errors
    /// When a setting is missing or cannot be used.
    pub fn from_boot(boot: &Boot) -> Result<Self, BoxError> {
        let queue = QueueConfig::outbound_from_env(boot.settings())?;
        let queue = OutboundQueue::connect(boot.aws(), queue.url, queue.dead_letter_url);
        Self::new(boot, queue, Arc::new(Machine::new(random)))
    }

    /// The same with a queue, time and randomness of the caller's.
    ///
    /// # Errors
    /// When a setting is missing or cannot be used.
    pub fn new(boot: &Boot, queue: OutboundQueue, world: SharedWorld) -> Result<Self, BoxError> {
        let settings = boot.settings();
        let urls = PublicUrls::from_env(settings)?;
        urls.webhooks()?;
        let locale = LocaleConfig::from_env(settings)?;
        let limits = OutboundConfig::from_env(settings)?;
        let table = services::connect(boot.aws(), &TableConfig::from_env(settings)?.name);
        let limiter = Limiter::new(
            table.clone(),
            Arc::clone(&world),
            limits.voice_per_minute,
            limits.sms_per_minute,
        );
        // A click was counted when it was made.
        let uncounted = Quota {
            per_hour: None,
            per_day: u32::MAX,
        };
        let rules = Rules {
            enabled: limits.enabled,
            destinations: Destinations::new(locale.country, limits.allowed_prefixes),
            quotas: Quotas {
                user: uncounted,
                lead: uncounted,
                account: uncounted,
            },
            zone: locale.time_zone.clone(),
            country: locale.country,
        };
        let alternates = CallerIdConfig::from_env(settings)?.alternates;
        let alternates = alternates.iter().map(String::as_str);
        Ok(Self {
            outbound: Outbound::new(table, limiter, world, rules)
                .with_alternate_caller_ids(alternates, locale.country),
            queue,
            exotel: boot.live(ExotelConfig::from_env)?,
            keys: boot.live(SigningKeys::from_env)?,
            urls,
            locale,
            voicebot: VoicebotConfig::from_env(settings)
                .inspect_err(|error| tracing::error!("calls to bots are refused: {error}"))
                .ok(),
            http: https::client()?,
        })
    }

    /// Does what one message asks for.
    pub async fn work(&self, task: Task) -> Outcome<Task> {
        let account = self.account().await;
        match self.outbound.work(account.as_ref(), task).await {
            Step::Done => Outcome::Done,
            Step::Next { task, delay } => Outcome::RetryAfter {
                message: task,
                delay: delay.unsigned_abs(),
            },
            Step::Dead { reason } => Outcome::DeadLetter(reason),
            Step::Retry { reason } => Outcome::Retry(reason),
        }
    }

    /// Sends what the record loop asks to send.
    ///
    /// # Errors
    /// When SQS does not take it.
    pub async fn send(&self, resend: Resend<'_>) -> Result<(), QueueError> {
        match resend {
            Resend::Again { body, delay_secs } => self.queue.send_text(&body, delay_secs).await,
            Resend::DeadLetter { body, reason } => self.queue.bury(body, reason).await,
        }
    }

    /// The account with Exotel, unless it cannot be used: then what waits goes on waiting.
    async fn account(&self) -> Option<Account<impl Exotel>> {
        let now = self.outbound.now();
        let config = self.exotel.get(now).await;
        let config = config.as_ref().as_ref()?;
        let keys = self.keys.get(now).await;
        let base = self.urls.webhooks().ok()?.clone();
        let settings = AccountSettings {
            base_url: config.base_url.as_str().to_owned(),
            account_sid: config.account_sid.clone(),
            api_key: config.api_key.clone(),
            api_token: config.api_token.clone(),
            caller_id: config.caller_id.clone(),
            sms_sender: config.sms_sender_id.clone(),
            sms_type: config.sms_type.clone(),
            dlt_entity_id: config.dlt_entity_id.clone(),
            dlt_template_id: config.dlt_template_id.clone(),
            country: self.locale.country,
        };
        let bot = self.bot_line(&config.account_sid, &keys);
        let url = Arc::new(move |purpose, id: String| base.join(&keys.callback_path(purpose, &id)));
        let sms_url = Arc::clone(&url);
        let account = Account::connect(
            self.http.clone(),
            settings,
            move |call: &CallLocator| url(Purpose::Call, call.to_string()),
            move |sms: &SmsLocator| sms_url(Purpose::Sms, sms.to_string()),
        );
        account
            .map(|account| account.with_bot(bot))
            .inspect_err(|error| tracing::error!("nothing can be sent: {error}"))
            .ok()
    }

    /// Where calls to a bot go, as `voicebot-call` has it.
    fn bot_line(&self, account_sid: &str, keys: &Arc<SigningKeys>) -> Option<BotLine> {
        let voicebot = self.voicebot.as_ref()?;
        if let Some(app_id) = &voicebot.app_id {
            return Some(BotLine::flow(account_sid, app_id));
        }
        let (direct, keys) = (voicebot.direct()?, Arc::clone(keys));
        Some(BotLine::Stream {
            bot: direct.name.clone(),
            rate: direct.rate,
            url: Arc::new(move |session: &VoiceSessionId, now| direct.url(session, &keys, now)),
        })
    }
}

/// 128 bits from the operating system, for jitter.
fn random() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("Lambda's kernel gives randomness");
    u128::from_ne_bytes(bytes)
}
