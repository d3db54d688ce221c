//! One struct per concern.

use domain::{
    DomainError,
    ids::VoiceSessionId,
    phone::Country,
    steering::Rule,
    voicebot::{Rate, bots::Bots},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use secrecy::SecretString;
use url::Url;

use super::{Origin, Settings, SocketUrl, invalid, origin::is_loopback};
use crate::{
    Error,
    capability::{SigningKeys, StreamToken},
};

/// The cluster that an Exotel account belongs to; the other one refuses its credentials with 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cluster {
    /// `api.exotel.com`.
    Singapore,
    /// `api.in.exotel.com`.
    Mumbai,
}

impl Cluster {
    /// The host of Exotel's v1 API.
    pub fn api_host(self) -> &'static str {
        match self {
            Cluster::Singapore => "api.exotel.com",
            Cluster::Mumbai => "api.in.exotel.com",
        }
    }
}

/// The Exotel account.
#[derive(Debug, Clone)]
pub struct ExotelConfig {
    /// Read from `EXOTEL_SID`.
    pub account_sid: String,
    /// Read from `EXOTEL_API_KEY`.
    pub api_key: SecretString,
    /// Read from `EXOTEL_API_TOKEN` or `EXOTEL_API_SECRET`.
    pub api_token: SecretString,
    /// Read from `EXOTEL_CALLER_ID`, as written there.
    pub caller_id: String,
    /// The origin of Exotel's API, read from `EXOTEL_SUBDOMAIN` or `EXOTEL_BASE_URL`, else from `EXOTEL_REGION`.
    pub base_url: Origin,
    /// Read from `EXOTEL_REGION`, else from the host; Singapore when neither says.
    pub cluster: Cluster,
    /// Read from `EXOTEL_FROM_NUMBER`; the caller id when not set.
    pub from_number: String,
    /// Read from `EXOTEL_SMS_SENDER_ID`; the caller id when not set.
    pub sms_sender_id: String,
    /// Read from `EXOTEL_SMS_TYPE`.
    pub sms_type: String,
    /// Read from `EXOTEL_DLT_ENTITY_ID`.
    pub dlt_entity_id: Option<String>,
    /// Read from `EXOTEL_DLT_TEMPLATE_ID`.
    pub dlt_template_id: Option<String>,
}

impl ExotelConfig {
    /// The account, or `None` when SID, key, token or caller id is missing: then the product works without Exotel.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a host, region or SMS type that cannot be used.
    pub fn from_env(settings: &Settings) -> Result<Option<Self>, Error> {
        let (base_url, cluster) = exotel_host(settings)?;
        let sms_type: String = settings.parse("EXOTEL_SMS_TYPE", "")?;
        if !["transactional", "transactional_opt_in", "promotional"].contains(&sms_type.as_str()) {
            let reason = "it must be transactional, transactional_opt_in or promotional";
            return Err(invalid("EXOTEL_SMS_TYPE", reason));
        }
        let (Some(account_sid), Some(api_key), Some(api_token), Some(caller_id)) = (
            settings.get("EXOTEL_SID"),
            settings.secret("EXOTEL_API_KEY"),
            settings.secret("EXOTEL_API_TOKEN"),
            settings.get("EXOTEL_CALLER_ID"),
        ) else {
            return Ok(None);
        };
        Ok(Some(Self {
            account_sid,
            api_key,
            api_token,
            base_url,
            cluster,
            from_number: settings
                .get("EXOTEL_FROM_NUMBER")
                .unwrap_or_else(|| caller_id.clone()),
            sms_sender_id: settings
                .get("EXOTEL_SMS_SENDER_ID")
                .unwrap_or_else(|| caller_id.clone()),
            caller_id,
            sms_type,
            dlt_entity_id: settings.get("EXOTEL_DLT_ENTITY_ID"),
            dlt_template_id: settings.get("EXOTEL_DLT_TEMPLATE_ID"),
        }))
    }
}

/// The origin of Exotel's API, and the cluster that it belongs to.
fn exotel_host(settings: &Settings) -> Result<(Origin, Cluster), Error> {
    let region = match settings
        .get("EXOTEL_REGION")
        .map(|region| region.to_ascii_lowercase())
        .as_deref()
    {
        None => None,
        Some("sg") => Some(Cluster::Singapore),
        Some("in") => Some(Cluster::Mumbai),
        Some(_) => return Err(invalid("EXOTEL_REGION", "it must be sg or in")),
    };
    Ok(match settings.get("EXOTEL_SUBDOMAIN") {
        Some(host) => {
            let base_url = exotel_origin(&host)?;
            let named = [Cluster::Singapore, Cluster::Mumbai]
                .into_iter()
                .find(|cluster| base_url.as_str() == format!("https://{}", cluster.api_host()));
            if let (Some(named), Some(region)) = (named, region)
                && named != region
            {
                return Err(invalid(
                    "EXOTEL_REGION",
                    "it names another cluster than EXOTEL_SUBDOMAIN",
                ));
            }
            (base_url, named.or(region).unwrap_or(Cluster::Singapore))
        }
        None => {
            let cluster = region.unwrap_or(Cluster::Singapore);
            (exotel_origin(cluster.api_host())?, cluster)
        }
    })
}

/// The account's credentials as far as they are there, for whoever shows and changes them.
#[derive(Debug, Clone)]
pub struct ExotelCredentials {
    /// Read from `EXOTEL_SID`.
    pub account_sid: Option<String>,
    /// Read from `EXOTEL_API_KEY`.
    pub api_key: Option<SecretString>,
    /// Read from `EXOTEL_API_TOKEN` or `EXOTEL_API_SECRET`.
    pub api_token: Option<SecretString>,
    /// As [`ExotelConfig::base_url`].
    pub base_url: Origin,
    /// Those of `EXOTEL_SID`, `EXOTEL_API_KEY`, `EXOTEL_API_TOKEN` and `EXOTEL_SUBDOMAIN` that the environment sets: the
    /// secret's values do not matter for them.
    pub pinned: Vec<&'static str>,
}

impl ExotelCredentials {
    /// # Errors
    /// [`Error::Invalid`] for a host or region that cannot be used.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        let names = [
            "EXOTEL_SID",
            "EXOTEL_API_KEY",
            "EXOTEL_API_TOKEN",
            "EXOTEL_SUBDOMAIN",
        ];
        Ok(Self {
            account_sid: settings.get("EXOTEL_SID"),
            api_key: settings.secret("EXOTEL_API_KEY"),
            api_token: settings.secret("EXOTEL_API_TOKEN"),
            base_url: exotel_host(settings)?.0,
            pinned: names
                .into_iter()
                .filter(|name| settings.is_pinned(name))
                .collect(),
        })
    }

    /// Whether account SID, key and token are all there.
    pub fn are_complete(&self) -> bool {
        self.account_sid.is_some() && self.api_key.is_some() && self.api_token.is_some()
    }
}

/// The origin of Exotel's API that somebody gives: a host of Exotel's, with or without `https://`; http and other hosts on
/// loopback only, for the simulator. Whoever else gets a request gets the credentials with it.
///
/// # Errors
/// What is wrong, in words.
pub fn exotel_base_url(text: &str) -> Result<Origin, &'static str> {
    let text = text.trim();
    let origin: Origin = if text.contains("://") {
        text.parse()?
    } else {
        format!("https://{text}").parse()?
    };
    let url = Url::parse(origin.as_str()).map_err(|_| "it must be a URL such as https://api.exotel.com")?;
    let of_exotel = url.domain().is_some_and(|host| {
        [".exotel.com", ".exotel.in"]
            .iter()
            .any(|domain| host.ends_with(domain))
    });
    if is_loopback(&url) || (of_exotel && url.port().is_none()) {
        Ok(origin)
    } else {
        Err("it must be a host of Exotel's: https://api.exotel.com or https://api.in.exotel.com")
    }
}

/// `api.exotel.com` and `https://api.exotel.com/` are the same; http is taken on loopback only.
fn exotel_origin(text: &str) -> Result<Origin, Error> {
    let text = if text.contains("://") {
        text.to_owned()
    } else {
        format!("https://{text}")
    };
    text.parse()
        .map_err(|reason: &str| invalid("EXOTEL_SUBDOMAIN", reason))
}

/// Who may post callbacks.
#[derive(Debug, Clone)]
pub struct WebhookConfig {
    /// Read from `EXOTEL_WEBHOOK_TOKEN`; `None` refuses every `?token=` URL.
    pub token: Option<SecretString>,
    /// Read from `LEGACY_MD5_CALLBACKS`: accept URLs that end in MD5 of the live credentials.
    pub legacy_md5: bool,
}

impl WebhookConfig {
    /// # Errors
    /// [`Error::Invalid`] for a misspelt switch.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            token: settings.secret("EXOTEL_WEBHOOK_TOKEN"),
            legacy_md5: settings.flag("LEGACY_MD5_CALLBACKS")?,
        })
    }
}

/// How flows are steered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassthruConfig {
    /// Read from `EXOTEL_PASSTHRU_RULE`: for Passthru URLs that name no rule of their own; always holds when not set.
    pub rule: Rule,
}

impl PassthruConfig {
    /// # Errors
    /// [`Error::Invalid`] for a rule that cannot be read.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        let rule = settings.get("EXOTEL_PASSTHRU_RULE").unwrap_or_default();
        let rule = rule
            .parse()
            .map_err(|problem: DomainError| invalid("EXOTEL_PASSTHRU_RULE", problem.to_string()))?;
        Ok(Self { rule })
    }
}

/// The public URLs of the product. Each is asked for by the function that needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrls {
    webhooks: Option<Origin>,
    recordings: Option<Origin>,
}

impl PublicUrls {
    /// # Errors
    /// [`Error::Invalid`] for a URL that is no origin of ours.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        let origin = |name| match settings.get(name) {
            None => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|reason: &str| invalid(name, reason)),
        };
        Ok(Self {
            webhooks: origin("WEBHOOK_BASE_URL")?,
            recordings: origin("RECORDINGS_BASE_URL")?,
        })
    }

    /// The origin under which Exotel reaches us, read from `WEBHOOK_BASE_URL` or `BACKEND_PUBLIC_URL`.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not set.
    pub fn webhooks(&self) -> Result<&Origin, Error> {
        self.webhooks.as_ref().ok_or(Error::Missing {
            variable: "WEBHOOK_BASE_URL",
            doc: "the public origin of the HTTP API, to which Exotel posts callbacks",
        })
    }

    /// The origin of recording-proxy, read from `RECORDINGS_BASE_URL`.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not set.
    pub fn recordings(&self) -> Result<&Origin, Error> {
        self.recordings.as_ref().ok_or(Error::Missing {
            variable: "RECORDINGS_BASE_URL",
            doc: "the Function URL of recording-proxy",
        })
    }
}

/// Whose tokens are taken.
#[derive(Debug, Clone)]
pub struct JwtConfig {
    /// Read from `JWT_SECRET`; HS256 tokens are refused without it.
    pub secret: Option<SecretString>,
    /// Read from `JWT_JWKS_URL`; RS256 and ES256 tokens are refused without it.
    pub jwks_url: Option<Url>,
    /// Read from `JWT_ISSUER`; not checked when `None`.
    pub issuer: Option<String>,
    /// Read from `JWT_AUDIENCE`; not checked when `None`.
    pub audience: Option<String>,
}

impl JwtConfig {
    /// # Errors
    /// [`Error::Missing`] when there is neither a secret nor a JWKS URL; [`Error::Invalid`] for a short secret or a
    /// URL that is not https.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        let secret = long_secret(settings, "JWT_SECRET")?;
        let jwks_url = match settings.get("JWT_JWKS_URL") {
            None => None,
            Some(text) => {
                let url = Url::parse(&text).map_err(|_| invalid("JWT_JWKS_URL", "it must be a URL"))?;
                if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
                    return Err(invalid(
                        "JWT_JWKS_URL",
                        "it must be https; http is taken on loopback only",
                    ));
                }
                Some(url)
            }
        };
        if secret.is_none() && jwks_url.is_none() {
            return Err(Error::Missing {
                variable: "JWT_SECRET",
                doc: "set it for HS256 tokens, or JWT_JWKS_URL for RS256 and ES256 tokens",
            });
        }
        Ok(Self {
            secret,
            jwks_url,
            issuer: settings.get("JWT_ISSUER"),
            audience: settings.get("JWT_AUDIENCE"),
        })
    }
}

/// A secret from which signatures are made, of 32 characters or more.
pub(crate) fn long_secret(settings: &Settings, name: &'static str) -> Result<Option<SecretString>, Error> {
    match settings.get(name) {
        Some(text) if text.len() < 32 => Err(invalid(name, "it must be 32 characters or longer")),
        text => Ok(text.map(SecretString::from)),
    }
}

/// Whose pages may call us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CorsConfig {
    /// Read from `CORS_ALLOWED_ORIGINS`, each as a browser sends it: `https://crm.example.com`.
    pub allowed_origins: Vec<String>,
}

impl CorsConfig {
    /// # Errors
    /// [`Error::Invalid`] for a part that is no origin, `*` included: origins are named.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            allowed_origins: origins(settings, "CORS_ALLOWED_ORIGINS", |_| true)?,
        })
    }

    /// The value of `Access-Control-Allow-Origin` for a page of `origin`, when it may call us.
    pub fn allow(&self, origin: &str) -> Option<&str> {
        self.allowed_origins
            .iter()
            .map(String::as_str)
            .find(|allowed| *allowed == origin)
    }
}

fn origins(settings: &Settings, name: &'static str, accept: fn(&Url) -> bool) -> Result<Vec<String>, Error> {
    let read = |text: String| match Url::parse(&text) {
        Ok(url)
            if matches!(url.scheme(), "http" | "https")
                && url.path() == "/"
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
                && accept(&url) =>
        {
            Ok(url.origin().ascii_serialization())
        }
        _ => Err(invalid(
            name,
            "each part must be an origin such as https://crm.example.com",
        )),
    };
    settings.list(name).into_iter().map(read).collect()
}

/// What the recording proxy may fetch besides Exotel's own hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordingConfig {
    /// Read from `RECORDING_EXTRA_ORIGINS`: the local simulator's, so loopback only.
    pub extra_origins: Vec<String>,
}

impl RecordingConfig {
    /// # Errors
    /// [`Error::Invalid`] for an origin that is not on loopback.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            extra_origins: origins(settings, "RECORDING_EXTRA_ORIGINS", is_loopback)?,
        })
    }
}

/// Where the team's own bots may be besides the public internet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BotOriginsConfig {
    /// Read from `VOICEBOT_EXTRA_ORIGINS`: loopback only.
    pub extra_origins: Vec<String>,
}

impl BotOriginsConfig {
    /// # Errors
    /// [`Error::Invalid`] for an origin that is not on loopback.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            extra_origins: origins(settings, "VOICEBOT_EXTRA_ORIGINS", is_loopback)?,
        })
    }
}

/// How much may go out, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundConfig {
    /// Read from `OUTBOUND_ENABLED`; false stops all outbound.
    pub enabled: bool,
    /// Read from `OUTBOUND_VOICE_PER_MINUTE`: voice requests in any 60 s.
    pub voice_per_minute: u32,
    /// Read from `OUTBOUND_SMS_PER_MINUTE`: SMS requests in any 60 s.
    pub sms_per_minute: u32,
    /// Read from `OUTBOUND_ALLOWED_PREFIXES`, each `+` and digits; empty allows the default country alone.
    pub allowed_prefixes: Vec<String>,
    /// Read from `OUTBOUND_CALLS_PER_USER_HOUR`.
    pub calls_per_user_hour: u32,
    /// Read from `OUTBOUND_CALLS_PER_USER_DAY`.
    pub calls_per_user_day: u32,
    /// Read from `OUTBOUND_CALLS_PER_LEAD_HOUR`.
    pub calls_per_lead_hour: u32,
    /// Read from `OUTBOUND_CALLS_PER_LEAD_DAY`.
    pub calls_per_lead_day: u32,
    /// Read from `OUTBOUND_CALLS_PER_DAY`: the whole account's.
    pub calls_per_day: u32,
}

impl OutboundConfig {
    /// # Errors
    /// [`Error::Invalid`] for a limit below 1, a misspelt switch or a prefix that is not `+` and digits.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        let allowed_prefixes = settings.list("OUTBOUND_ALLOWED_PREFIXES");
        let is_prefix = |text: &String| {
            text.strip_prefix('+').is_some_and(|digits| {
                (1..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
            })
        };
        if !allowed_prefixes.iter().all(is_prefix) {
            return Err(invalid(
                "OUTBOUND_ALLOWED_PREFIXES",
                "each part must be + and digits, such as +91",
            ));
        }
        Ok(Self {
            enabled: settings.flag("OUTBOUND_ENABLED")?,
            voice_per_minute: settings.count("OUTBOUND_VOICE_PER_MINUTE")?,
            sms_per_minute: settings.count("OUTBOUND_SMS_PER_MINUTE")?,
            allowed_prefixes,
            calls_per_user_hour: settings.count("OUTBOUND_CALLS_PER_USER_HOUR")?,
            calls_per_user_day: settings.count("OUTBOUND_CALLS_PER_USER_DAY")?,
            calls_per_lead_hour: settings.count("OUTBOUND_CALLS_PER_LEAD_HOUR")?,
            calls_per_lead_day: settings.count("OUTBOUND_CALLS_PER_LEAD_DAY")?,
            calls_per_day: settings.count("OUTBOUND_CALLS_PER_DAY")?,
        })
    }
}

/// How times are shown and numbers read.
#[derive(Debug, Clone)]
pub struct LocaleConfig {
    /// Read from `DISPLAY_TIME_ZONE`.
    pub time_zone: TimeZone,
    /// Read from `DEFAULT_COUNTRY`.
    pub country: Country,
}

impl LocaleConfig {
    /// # Errors
    /// [`Error::Invalid`] for an unknown time zone or country.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        let zone: String = settings.parse("DISPLAY_TIME_ZONE", "")?;
        let time_zone = TimeZone::get(&zone).map_err(|_| {
            invalid(
                "DISPLAY_TIME_ZONE",
                "it must be an IANA time zone such as Asia/Kolkata",
            )
        })?;
        let country: String = settings.parse("DEFAULT_COUNTRY", "")?;
        let country = country
            .to_ascii_uppercase()
            .parse()
            .map_err(|_| invalid("DEFAULT_COUNTRY", "it must be an ISO 3166 country such as IN"))?;
        Ok(Self { time_zone, country })
    }
}

/// The DynamoDB table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableConfig {
    /// Read from `TABLE_NAME`.
    pub name: String,
}

impl TableConfig {
    /// # Errors
    /// [`Error::Missing`] when it is not set.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            name: settings.required("TABLE_NAME")?,
        })
    }
}

/// A queue and its dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig {
    /// The queue's URL.
    pub url: String,
    /// The dead-letter queue's URL; only the queue's worker knows it.
    pub dead_letter_url: Option<String>,
}

impl QueueConfig {
    /// Calls and messages that wait for Exotel: `OUTBOUND_QUEUE_URL` and `OUTBOUND_DLQ_URL`.
    ///
    /// # Errors
    /// [`Error::Missing`] when the queue is not set.
    pub fn outbound_from_env(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            url: settings.required("OUTBOUND_QUEUE_URL")?,
            dead_letter_url: settings.get("OUTBOUND_DLQ_URL"),
        })
    }

    /// Callbacks to apply again: `WEBHOOK_EVENTS_QUEUE_URL` and `WEBHOOK_EVENTS_DLQ_URL`.
    ///
    /// # Errors
    /// [`Error::Missing`] when the queue is not set.
    pub fn webhook_events_from_env(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            url: settings.required("WEBHOOK_EVENTS_QUEUE_URL")?,
            dead_letter_url: settings.get("WEBHOOK_EVENTS_DLQ_URL"),
        })
    }

    /// Entries of Exotel's call list that cannot be read: `POLL_CALLS_DLQ_URL`.
    ///
    /// # Errors
    /// [`Error::Missing`] when the queue is not set.
    pub fn poll_calls_dlq_from_env(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            url: settings.required("POLL_CALLS_DLQ_URL")?,
            dead_letter_url: None,
        })
    }
}

impl QueueConfig {
    /// Histories that become files: `EXPORTS_QUEUE_URL`. Its dead letters are the queue's own doing.
    ///
    /// # Errors
    /// [`Error::Missing`] when the queue is not set.
    pub fn exports_from_env(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            url: settings.required("EXPORTS_QUEUE_URL")?,
            dead_letter_url: None,
        })
    }
}

/// The WebSocket API from behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoicebotSocketsConfig {
    /// Read from `VOICEBOT_SOCKETS_URL`: the stage's URL, to which `/@connections/{id}` is added.
    pub stage_url: Url,
}

impl VoicebotSocketsConfig {
    /// # Errors
    /// [`Error::Missing`] when the URL is not set, [`Error::Invalid`] for one that is not https (http is taken on
    /// loopback).
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        let name = "VOICEBOT_SOCKETS_URL";
        let url = Url::parse(&settings.required(name)?).map_err(|_| invalid(name, "it must be a URL"))?;
        if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
            return Err(invalid(name, "it must be https; http is taken on loopback only"));
        }
        Ok(Self { stage_url: url })
    }
}

/// The function that answers turns of calls with bots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoicebotTurnConfig {
    /// Read from `VOICEBOT_TURN_FUNCTION`.
    pub function_name: String,
}

impl VoicebotTurnConfig {
    /// # Errors
    /// [`Error::Missing`] when it is not set.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            function_name: settings.required("VOICEBOT_TURN_FUNCTION")?,
        })
    }
}

/// The bucket of files that histories become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportsConfig {
    /// Read from `EXPORTS_BUCKET`.
    pub bucket: String,
}

impl ExportsConfig {
    /// # Errors
    /// [`Error::Missing`] when it is not set.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            bucket: settings.required("EXPORTS_BUCKET")?,
        })
    }
}

/// The product's own EventBridge bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventBusConfig {
    /// Read from `EVENT_BUS_NAME`.
    pub name: String,
}

impl EventBusConfig {
    /// # Errors
    /// [`Error::Missing`] when it is not set.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            name: settings.required("EVENT_BUS_NAME")?,
        })
    }
}

/// Where alerts are posted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertUrlConfig {
    /// Read from `ALERT_WEBHOOK_URL`; `None` posts nothing.
    pub url: Option<Url>,
}

impl AlertUrlConfig {
    /// # Errors
    /// [`Error::Invalid`] for a URL that is not https (http is taken on loopback), or holds a user name or password.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        let name = "ALERT_WEBHOOK_URL";
        let Some(text) = settings.get(name) else {
            return Ok(Self { url: None });
        };
        let url = Url::parse(&text).map_err(|_| invalid(name, "it must be a URL"))?;
        if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
            return Err(invalid(name, "it must be https; http is taken on loopback only"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid(
                name,
                "it must not hold a user name or password; the signature proves who posts",
            ));
        }
        Ok(Self { url: Some(url) })
    }
}

/// When the daily digest of alerts is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigestConfig {
    /// Read from `ALERT_DIGEST_HOUR`: 0 to 23, in the display zone.
    pub hour: i8,
}

impl DigestConfig {
    /// # Errors
    /// [`Error::Invalid`] for what is no hour of the day.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        let name = "ALERT_DIGEST_HOUR";
        let hour: i8 = settings.parse(name, "it must be an hour of the day, 0 to 23")?;
        if !(0..24).contains(&hour) {
            return Err(invalid(name, "it must be an hour of the day, 0 to 23"));
        }
        Ok(Self { hour })
    }
}

/// How often Exotel's call list is polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollingConfig {
    /// Read from `EXOTEL_SYNC_INTERVAL_MINUTES`.
    pub sync_interval_minutes: u32,
}

impl PollingConfig {
    /// # Errors
    /// [`Error::Invalid`] for an interval below 1.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            sync_interval_minutes: settings.count("EXOTEL_SYNC_INTERVAL_MINUTES")?,
        })
    }
}

/// How Exotel is asked about the health of ExoPhones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// Read from `EXOTEL_HEARTBEAT_INTERVAL_MINUTES`. With 0, nobody asks by schedule; a run asked for by hand counts
    /// as one a minute.
    pub interval_minutes: u32,
    /// Read from `EXOTEL_HEARTBEAT_BUDGET`: requests that one run may make.
    pub budget: u32,
    /// Read from `EXOTEL_HEARTBEAT_TIMEOUT_SECS`: how long one request may take.
    pub timeout_secs: u32,
}

impl HeartbeatConfig {
    /// # Errors
    /// [`Error::Invalid`] for what is no number, a budget below 1 or a timeout outside of 1 to 30 seconds.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        let interval: u32 = settings.parse(
            "EXOTEL_HEARTBEAT_INTERVAL_MINUTES",
            "it must be a number, 0 for never",
        )?;
        let timeout_secs = settings.count("EXOTEL_HEARTBEAT_TIMEOUT_SECS")?;
        if timeout_secs > 30 {
            let reason = "it must be 1 to 30: a run has 35 s";
            return Err(invalid("EXOTEL_HEARTBEAT_TIMEOUT_SECS", reason));
        }
        Ok(Self {
            interval_minutes: interval.max(1),
            budget: settings.count("EXOTEL_HEARTBEAT_BUDGET")?,
            timeout_secs,
        })
    }
}

/// Which ExoPhones take the place of the caller id while it cannot call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallerIdConfig {
    /// Read from `EXOTEL_ALTERNATE_CALLER_IDS`, as written there, the first first.
    pub alternates: Vec<String>,
}

impl CallerIdConfig {
    /// # Errors
    /// None so far; a number that cannot be used is left out where it is read.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            alternates: settings.list("EXOTEL_ALTERNATE_CALLER_IDS"),
        })
    }
}

/// The bots of an installation.
#[derive(Debug, Clone)]
pub struct BotsConfig {
    /// Read from `VOICEBOT_BOTS`, JSON: the bots by name.
    pub bots: Bots,
    /// Read from `VOICEBOT_DEFAULT_BOT`: a bot of [`BotsConfig::bots`], for calls that name none.
    pub default_bot: Option<String>,
}

impl BotsConfig {
    /// # Errors
    /// [`Error::Invalid`] for bots that cannot be used, and for a default bot that is none of them.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        let bots = match settings.get("VOICEBOT_BOTS") {
            None => Bots::default(),
            Some(json) => serde_json::from_str(&json)
                .map_err(|problem| invalid("VOICEBOT_BOTS", format!("it must be JSON: {problem}")))?,
        };
        let default_bot = settings.get("VOICEBOT_DEFAULT_BOT");
        if let Some(bot) = &default_bot
            && bots.get(bot).is_none()
        {
            let reason = format!("it must be one of the bots: {}", bots.names());
            return Err(invalid("VOICEBOT_DEFAULT_BOT", reason));
        }
        Ok(Self { bots, default_bot })
    }
}

/// The token that a socket's handshake may carry whose URL was pasted into a flow.
#[derive(Debug, Clone)]
pub struct SocketTokenConfig {
    /// Read from `EXOTEL_WS_TOKEN`; `None` refuses every such socket.
    pub token: Option<SecretString>,
}

impl SocketTokenConfig {
    /// The setting as it is.
    pub fn from_env(settings: &Settings) -> Self {
        Self {
            token: settings.secret("EXOTEL_WS_TOKEN"),
        }
    }
}

/// The voicebot: which bots there are, and where a call's stream goes.
#[derive(Debug, Clone)]
pub struct VoicebotConfig {
    /// Read from `VOICEBOT_BOTS`, JSON: the bots by name.
    pub bots: Bots,
    /// Read from `VOICEBOT_DEFAULT_BOT`: a bot of [`VoicebotConfig::bots`], for calls that name none.
    pub default_bot: Option<String>,
    /// Read from `VOICEBOT_SAMPLE_RATE`.
    pub sample_rate: Rate,
    /// Read from `VOICEBOT_WS_URL`: what Exotel dials. When it has no path, `WS_PATH` is its path.
    pub ws_url: Option<SocketUrl>,
    /// Read from `CORE_FLEET`, the first of its parts: the base of the team's own media servers.
    pub core_fleet: Option<SocketUrl>,
    /// Read from `EXOTEL_APP_ID`.
    pub app_id: Option<String>,
}

impl VoicebotConfig {
    /// # Errors
    /// [`Error::Invalid`] for bots, a rate or a URL that cannot be used, and for a default bot that is none of the bots.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        let BotsConfig { bots, default_bot } = BotsConfig::from_env(settings)?;
        let rate = "it must be 8000, 16000 or 24000";
        let hz: u32 = settings.parse("VOICEBOT_SAMPLE_RATE", rate)?;
        let sample_rate = Rate::from_hz(hz).ok_or_else(|| invalid("VOICEBOT_SAMPLE_RATE", rate))?;
        let socket = |name: &'static str, text: &str| {
            text.parse::<SocketUrl>().map_err(|reason| invalid(name, reason))
        };
        let ws_path = settings.get("WS_PATH");
        let ws_url = match settings.get("VOICEBOT_WS_URL") {
            None => None,
            Some(text) => {
                let url = socket("VOICEBOT_WS_URL", &text)?;
                match ws_path {
                    Some(path) if !url.has_path() => Some(socket("WS_PATH", &url.join(&path))?),
                    _ => Some(url),
                }
            }
        };
        let core_fleet = settings.list("CORE_FLEET").into_iter().next();
        let app_id = settings.get("EXOTEL_APP_ID");
        if app_id.as_ref().is_some_and(|id| !is_app_id(id)) {
            let reason = "it must be the id that the dashboard shows for the flow, such as 228040";
            return Err(invalid("EXOTEL_APP_ID", reason));
        }
        Ok(Self {
            bots,
            default_bot,
            sample_rate,
            ws_url,
            core_fleet: core_fleet.map(|text| socket("CORE_FLEET", &text)).transpose()?,
            app_id,
        })
    }

    /// What Exotel dials.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not set.
    pub fn ws_url(&self) -> Result<&SocketUrl, Error> {
        self.ws_url.as_ref().ok_or(Error::Missing {
            variable: "VOICEBOT_WS_URL",
            doc: "the URL of the WebSocket API, which Exotel dials for each call with a bot",
        })
    }

    /// Where calls go that we place without a flow: to the socket of the default bot. `None` without either, and for a bot
    /// of the fleet: that has no socket here, and is reached through a flow.
    pub fn direct(&self) -> Option<DirectBot> {
        let (ws_url, name) = (self.ws_url.clone()?, self.default_bot.clone()?);
        self.bots.get(&name).filter(|kind| kind.is_ours())?;
        Some(DirectBot {
            name,
            rate: self.sample_rate,
            ws_url,
        })
    }
}

/// A bot's socket is opened when the person answers: so long may it ring.
const RINGS_WITHIN: SignedDuration = SignedDuration::from_mins(3);

/// A bot whose socket Exotel is told with the request for a call.
#[derive(Debug, Clone)]
pub struct DirectBot {
    /// Its name.
    pub name: String,
    /// The rate that its streams are asked for.
    pub rate: Rate,
    ws_url: SocketUrl,
}

impl DirectBot {
    /// The URL of the socket for this session, good for a call that leaves at `now`.
    pub fn url(&self, session: &VoiceSessionId, keys: &SigningKeys, now: Timestamp) -> String {
        let token = StreamToken {
            session: session.clone(),
            expires_at: now + RINGS_WITHIN,
        };
        let (token, rate) = (token.seal(keys), self.rate.hz().to_string());
        self.ws_url.with_query([
            ("call_id", session.as_str()),
            ("token", &token),
            ("sample-rate", &rate),
        ])
    }
}

/// The id of a flow stands in a URL.
fn is_app_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// ExoVerify, which has credentials of its own.
#[derive(Debug, Clone)]
pub struct VerifyConfig {
    /// Read from `EXOTEL_VERIFY_APP_ID`.
    pub app_id: String,
    /// Read from `EXOTEL_VERIFY_APP_SECRET`.
    pub app_secret: SecretString,
}

impl VerifyConfig {
    /// The credentials, or `None` when one of them is missing.
    pub fn from_env(settings: &Settings) -> Option<Self> {
        Some(Self {
            app_id: settings.get("EXOTEL_VERIFY_APP_ID")?,
            app_secret: settings.secret("EXOTEL_VERIFY_APP_SECRET")?,
        })
    }
}

/// Conversation quality analysis, which has a key and a host of its own.
#[derive(Debug, Clone)]
pub struct CqaConfig {
    /// Read from `EXOTEL_CQA_API_KEY`.
    pub api_key: SecretString,
    /// Read from `EXOTEL_CQA_HOST`.
    pub host: String,
}

impl CqaConfig {
    /// The key and host, or `None` without a key.
    ///
    /// # Errors
    /// None today; a host is any text.
    pub fn from_env(settings: &Settings) -> Result<Option<Self>, Error> {
        let Some(api_key) = settings.secret("EXOTEL_CQA_API_KEY") else {
            return Ok(None);
        };
        Ok(Some(Self {
            api_key,
            host: settings.parse("EXOTEL_CQA_HOST", "")?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        sync::{Arc, Mutex},
    };

    use secrecy::ExposeSecret;

    use super::*;
    use crate::{
        capability::SigningKeys,
        config::{VARIABLES, env_example},
    };

    const ACCOUNT: [(&str, &str); 4] = [
        ("EXOTEL_SID", "acme1"),
        ("EXOTEL_API_KEY", "key"),
        ("EXOTEL_API_TOKEN", "token"),
        ("EXOTEL_CALLER_ID", "08045550100"),
    ];

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let pairs: BTreeMap<_, _> = pairs
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect();
        Settings::new(move |name| pairs.get(name).cloned())
    }

    fn account_and(pairs: &[(&str, &str)]) -> Settings {
        settings(&[&ACCOUNT[..], pairs].concat())
    }

    #[test]
    fn exotel_is_off_when_any_of_its_four_settings_is_missing() {
        assert!(ExotelConfig::from_env(&account_and(&[])).unwrap().is_some());
        for missing in ACCOUNT {
            let rest: Vec<_> = ACCOUNT.into_iter().filter(|pair| pair.0 != missing.0).collect();
            assert!(
                ExotelConfig::from_env(&settings(&rest)).unwrap().is_none(),
                "{}",
                missing.0
            );
        }
    }

    #[test]
    fn credentials_are_shown_as_far_as_they_are_there() {
        let some = settings(&[
            ("EXOTEL_SID", "acme1"),
            ("EXOTEL_API_SECRET", "token"),
            ("EXOTEL_REGION", "in"),
        ]);
        let some = ExotelCredentials::from_env(&some).unwrap();
        assert!(!some.are_complete());
        assert_eq!(some.base_url.as_str(), "https://api.in.exotel.com");
        assert_eq!(some.pinned, ["EXOTEL_SID", "EXOTEL_API_TOKEN"]);
        let all = ExotelCredentials::from_env(&account_and(&[])).unwrap();
        assert!(all.are_complete() && !format!("{all:?}").contains("\"token\""));
    }

    #[test]
    fn credentials_go_to_exotel_alone() {
        for (text, origin) in [
            ("api.in.exotel.com", "https://api.in.exotel.com"),
            (" https://api.exotel.com/ ", "https://api.exotel.com"),
            ("http://127.0.0.1:9090", "http://127.0.0.1:9090"),
        ] {
            assert_eq!(exotel_base_url(text).unwrap().as_str(), origin);
        }
        for text in [
            "",
            "api.example.com",
            "https://api.exotel.com.example.com",
            "https://exotel.com@example.com",
            "https://fakeexotel.com",
            "https://api.exotel.com:8443",
            "http://api.exotel.com",
            "https://api.exotel.com/v1",
            "https://10.0.0.1",
        ] {
            assert!(exotel_base_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_sender_and_from_number_fall_back_to_the_caller_id() {
        let config = ExotelConfig::from_env(&account_and(&[])).unwrap().unwrap();
        assert_eq!(
            (&*config.sms_sender_id, &*config.from_number),
            ("08045550100", "08045550100")
        );
        let config = ExotelConfig::from_env(&account_and(&[("EXOTEL_SMS_SENDER_ID", "ACMEIN")]))
            .unwrap()
            .unwrap();
        assert_eq!(config.sms_sender_id, "ACMEIN");
    }

    #[test]
    fn the_cluster_follows_from_subdomain_base_url_or_region() {
        for (pairs, base_url, cluster) in [
            (&[][..], "https://api.exotel.com", Cluster::Singapore),
            (
                &[("EXOTEL_REGION", "IN")],
                "https://api.in.exotel.com",
                Cluster::Mumbai,
            ),
            (
                &[("EXOTEL_SUBDOMAIN", "api.in.exotel.com")],
                "https://api.in.exotel.com",
                Cluster::Mumbai,
            ),
            (
                &[("EXOTEL_BASE_URL", "https://api.exotel.com/")],
                "https://api.exotel.com",
                Cluster::Singapore,
            ),
            (
                &[
                    ("EXOTEL_BASE_URL", "http://127.0.0.1:9090"),
                    ("EXOTEL_REGION", "in"),
                ],
                "http://127.0.0.1:9090",
                Cluster::Mumbai,
            ),
        ] {
            let config = ExotelConfig::from_env(&account_and(pairs)).unwrap().unwrap();
            assert_eq!((config.base_url.as_str(), config.cluster), (base_url, cluster));
        }
        for pairs in [
            &[("EXOTEL_REGION", "us")][..],
            &[("EXOTEL_SUBDOMAIN", "api.exotel.com"), ("EXOTEL_REGION", "in")],
            &[("EXOTEL_BASE_URL", "http://api.exotel.com")],
            &[("EXOTEL_SUBDOMAIN", "api.exotel.com/v1")],
            &[("EXOTEL_SMS_TYPE", "flash")],
        ] {
            assert!(ExotelConfig::from_env(&account_and(pairs)).is_err(), "{pairs:?}");
        }
    }

    #[test]
    fn debug_shows_no_credential() {
        let shown = format!(
            "{:?}",
            ExotelConfig::from_env(&account_and(&[("EXOTEL_API_KEY", "hunter2")]))
        );
        assert!(shown.contains("acme1") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn tokens_need_a_long_secret_or_a_jwks_url_over_https() {
        let long = "0123456789abcdef0123456789abcdef";
        assert!(JwtConfig::from_env(&settings(&[("JWT_SECRET", long)])).is_ok());
        assert!(JwtConfig::from_env(&settings(&[("JWT_JWKS_URL", "https://id.example.com/jwks")])).is_ok());
        assert!(matches!(
            JwtConfig::from_env(&settings(&[])),
            Err(Error::Missing { .. })
        ));
        assert!(JwtConfig::from_env(&settings(&[("JWT_SECRET", &long[1..])])).is_err());
        assert!(JwtConfig::from_env(&settings(&[("JWT_JWKS_URL", "http://id.example.com/jwks")])).is_err());
    }

    #[test]
    fn cors_names_its_origins() {
        let cors = CorsConfig::from_env(&settings(&[(
            "CORS_ALLOWED_ORIGINS",
            "https://crm.example.com/, http://localhost:3000",
        )]))
        .unwrap();
        assert_eq!(
            cors.allow("https://crm.example.com"),
            Some("https://crm.example.com")
        );
        assert_eq!(cors.allow("http://localhost:3000"), Some("http://localhost:3000"));
        assert_eq!(cors.allow("https://crm.example.com.evil.example"), None);
        for bad in ["*", "null", "crm.example.com", "https://crm.example.com/path"] {
            assert!(
                CorsConfig::from_env(&settings(&[("CORS_ALLOWED_ORIGINS", bad)])).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn extra_recording_origins_are_on_loopback() {
        let extra = |text| RecordingConfig::from_env(&settings(&[("RECORDING_EXTRA_ORIGINS", text)]));
        assert_eq!(
            extra("http://127.0.0.1:9090").unwrap().extra_origins,
            ["http://127.0.0.1:9090"]
        );
        assert!(extra("https://recordings.example.com").is_err());
        assert!(extra("http://169.254.169.254").is_err());
    }

    #[test]
    fn extra_origins_of_bots_are_on_loopback() {
        let extra = |text| BotOriginsConfig::from_env(&settings(&[("VOICEBOT_EXTRA_ORIGINS", text)]));
        let here = extra("http://127.0.0.1:9000, http://localhost:9001").unwrap();
        assert_eq!(
            here.extra_origins,
            ["http://127.0.0.1:9000", "http://localhost:9001"]
        );
        assert!(extra("https://bot.example.com").is_err());
        assert!(extra("http://10.0.0.1").is_err());
    }

    #[test]
    fn limits_have_defaults_and_prefixes_are_checked() {
        let limits = OutboundConfig::from_env(&settings(&[])).unwrap();
        assert!(limits.enabled && limits.voice_per_minute == 200 && limits.allowed_prefixes.is_empty());
        let limits =
            OutboundConfig::from_env(&settings(&[("OUTBOUND_ALLOWED_PREFIXES", "+91, +65")])).unwrap();
        assert_eq!(limits.allowed_prefixes, ["+91", "+65"]);
        assert!(OutboundConfig::from_env(&settings(&[("OUTBOUND_ALLOWED_PREFIXES", "91")])).is_err());
    }

    #[test]
    fn a_rule_for_flows_is_read_or_refused_by_name() {
        let rule =
            |text: &'static str| PassthruConfig::from_env(&settings(&[("EXOTEL_PASSTHRU_RULE", text)]));
        assert_eq!(rule("").unwrap().rule, Rule::default());
        assert_eq!(
            rule("known-lead,!digits=9").unwrap().rule.to_string(),
            "known-lead,!digits=9"
        );
        let error = rule("known-lead,knwon").unwrap_err().to_string();
        assert!(
            error.contains("EXOTEL_PASSTHRU_RULE") && error.contains("condition 2"),
            "{error}"
        );
    }

    #[test]
    fn the_heartbeat_may_be_off_and_does_not_wait_for_ever() {
        let heartbeat = |name, value| HeartbeatConfig::from_env(&settings(&[(name, value)]));
        let asked = heartbeat("EXOTEL_HEARTBEAT_INTERVAL_MINUTES", "5").unwrap();
        assert_eq!(
            (asked.interval_minutes, asked.budget, asked.timeout_secs),
            (5, 60, 5)
        );
        assert_eq!(
            heartbeat("EXOTEL_HEARTBEAT_INTERVAL_MINUTES", "0")
                .unwrap()
                .interval_minutes,
            1
        );
        for (name, value) in [
            ("EXOTEL_HEARTBEAT_INTERVAL_MINUTES", "-1"),
            ("EXOTEL_HEARTBEAT_BUDGET", "0"),
            ("EXOTEL_HEARTBEAT_TIMEOUT_SECS", "0"),
            ("EXOTEL_HEARTBEAT_TIMEOUT_SECS", "31"),
        ] {
            assert!(heartbeat(name, value).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn the_voicebot_works_without_a_setting_and_says_which_one_is_wrong() {
        let voicebot = |pairs: &[(&str, &str)]| VoicebotConfig::from_env(&settings(pairs));
        let none = voicebot(&[]).unwrap();
        assert_eq!((none.bots, none.sample_rate), (Bots::default(), Rate::Hz8000));
        let missing = voicebot(&[]).unwrap().ws_url().unwrap_err().to_string();
        assert!(missing.contains("VOICEBOT_WS_URL"), "{missing}");

        let all = voicebot(&[
            (
                "VOICEBOT_BOTS",
                r#"{"reception": {"kind": "menu", "tree": "r"}, "own": {"kind": "fleet"}}"#,
            ),
            ("VOICEBOT_DEFAULT_BOT", "reception"),
            ("VOICEBOT_SAMPLE_RATE", "16000"),
            (
                "VOICEBOT_WS_URL",
                "wss://abc.execute-api.ap-south-1.amazonaws.com",
            ),
            ("WS_PATH", "voicebot"),
            (
                "CORE_FLEET",
                "https://media.example.com/, https://other.example.com",
            ),
            ("EXOTEL_APP_ID", "228040"),
        ])
        .unwrap();
        assert_eq!(
            (all.default_bot.as_deref(), all.sample_rate, all.app_id.as_deref()),
            (Some("reception"), Rate::Hz16000, Some("228040"))
        );
        let ws_url = all.ws_url().unwrap().as_str();
        assert_eq!(ws_url, "wss://abc.execute-api.ap-south-1.amazonaws.com/voicebot");
        assert_eq!(all.core_fleet.unwrap().as_str(), "wss://media.example.com");

        let own_path = [
            ("VOICEBOT_WS_URL", "wss://ws.example.com/bots"),
            ("WS_PATH", "voicebot"),
        ];
        assert_eq!(
            voicebot(&own_path).unwrap().ws_url().unwrap().as_str(),
            "wss://ws.example.com/bots"
        );
        for (name, value, says) in [
            ("VOICEBOT_BOTS", "[]", "VOICEBOT_BOTS"),
            ("VOICEBOT_BOTS", r#"{"x": {"kind": "eccho"}}"#, "eccho"),
            ("VOICEBOT_DEFAULT_BOT", "nobody", "\"echo\""),
            ("VOICEBOT_SAMPLE_RATE", "44100", "16000"),
            ("VOICEBOT_SAMPLE_RATE", "fast", "16000"),
            ("VOICEBOT_WS_URL", "ws://ws.example.com", "wss"),
            ("CORE_FLEET", "media", "CORE_FLEET"),
            ("EXOTEL_APP_ID", "../x", "EXOTEL_APP_ID"),
        ] {
            let error = voicebot(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(says), "{name}={value}: {error}");
        }
    }

    #[test]
    fn zone_and_country_are_real_ones() {
        let locale = LocaleConfig::from_env(&settings(&[("DEFAULT_COUNTRY", "sg")])).unwrap();
        assert_eq!(
            (locale.time_zone.iana_name(), locale.country),
            (Some("Asia/Kolkata"), Country::SG)
        );
        assert!(LocaleConfig::from_env(&settings(&[("DISPLAY_TIME_ZONE", "India")])).is_err());
        assert!(LocaleConfig::from_env(&settings(&[("DEFAULT_COUNTRY", "India")])).is_err());
    }

    #[test]
    fn the_table_of_variables_is_exactly_what_the_code_reads() {
        let read = Arc::new(Mutex::new(BTreeSet::new()));
        let recorder = Arc::clone(&read);
        let settings = Settings::new(move |name| {
            recorder.lock().unwrap().insert(name.to_owned());
            None
        });
        // Everything comes from the secret, so that each name is first looked for in the environment.
        let key = "0123456789abcdef0123456789abcdef";
        let secret: BTreeMap<_, _> = [
            ("JWT_SECRET", key),
            ("SIGNING_KEY", key),
            ("TABLE_NAME", "table"),
            ("OUTBOUND_QUEUE_URL", "https://sqs.example/outbound"),
            ("WEBHOOK_EVENTS_QUEUE_URL", "https://sqs.example/webhook-events"),
            ("POLL_CALLS_DLQ_URL", "https://sqs.example/poll-calls-dlq"),
            ("EXPORTS_BUCKET", "exports"),
            ("EXPORTS_QUEUE_URL", "https://sqs.example/exports"),
            ("EVENT_BUS_NAME", "bus"),
            ("VOICEBOT_SOCKETS_URL", "https://ws.example.com"),
            ("VOICEBOT_TURN_FUNCTION", "turn"),
            ("VOICEBOT_WS_URL", "wss://ws.example.com"),
            ("EXOTEL_VERIFY_APP_ID", "app"),
            ("EXOTEL_CQA_API_KEY", "key"),
        ]
        .into_iter()
        .chain(ACCOUNT)
        .collect();
        let settings = settings
            .with_secret(&serde_json::to_string(&secret).unwrap().into())
            .unwrap();
        ExotelConfig::from_env(&settings).unwrap().unwrap();
        WebhookConfig::from_env(&settings).unwrap();
        PassthruConfig::from_env(&settings).unwrap();
        ExportsConfig::from_env(&settings).unwrap();
        PublicUrls::from_env(&settings).unwrap();
        JwtConfig::from_env(&settings).unwrap();
        SigningKeys::from_env(&settings).unwrap();
        CorsConfig::from_env(&settings).unwrap();
        RecordingConfig::from_env(&settings).unwrap();
        BotOriginsConfig::from_env(&settings).unwrap();
        OutboundConfig::from_env(&settings).unwrap();
        LocaleConfig::from_env(&settings).unwrap();
        TableConfig::from_env(&settings).unwrap();
        QueueConfig::outbound_from_env(&settings).unwrap();
        QueueConfig::webhook_events_from_env(&settings).unwrap();
        QueueConfig::poll_calls_dlq_from_env(&settings).unwrap();
        QueueConfig::exports_from_env(&settings).unwrap();
        EventBusConfig::from_env(&settings).unwrap();
        VoicebotSocketsConfig::from_env(&settings).unwrap();
        VoicebotTurnConfig::from_env(&settings).unwrap();
        PollingConfig::from_env(&settings).unwrap();
        HeartbeatConfig::from_env(&settings).unwrap();
        CallerIdConfig::from_env(&settings).unwrap();
        VoicebotConfig::from_env(&settings).unwrap();
        SocketTokenConfig::from_env(&settings);
        VerifyConfig::from_env(&settings);
        CqaConfig::from_env(&settings).unwrap();
        AlertUrlConfig::from_env(&settings).unwrap();
        DigestConfig::from_env(&settings).unwrap();
        crate::metrics::Metrics::from_env(&settings);
        // Read by init itself.
        let elsewhere = ["LOG_LEVEL", "SECRET_ARN"];
        let mut read = read.lock().unwrap().clone();
        read.extend(elsewhere.map(str::to_owned));
        let listed: BTreeSet<_> = VARIABLES
            .iter()
            .flat_map(|v| std::iter::once(v.name).chain(v.alias))
            .map(str::to_owned)
            .collect();
        assert_eq!(read, listed);
    }

    #[test]
    fn alerts_are_posted_over_https_or_on_loopback_and_made_at_an_hour_of_the_day() {
        let settings = |name: &'static str, value: &'static str| {
            Settings::new(move |asked| (asked == name).then(|| value.to_owned()))
        };
        let url = |value| AlertUrlConfig::from_env(&settings("ALERT_WEBHOOK_URL", value));
        assert_eq!(url("").unwrap().url, None);
        for good in ["https://hooks.example.com/a?token=b", "http://127.0.0.1:9/hook"] {
            assert_eq!(url(good).unwrap().url.unwrap().as_str(), good);
        }
        for bad in [
            "hooks.example.com",
            "http://hooks.example.com",
            "ftp://127.0.0.1/",
            "https://user:word@hooks.example.com",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
        let hour = |value| DigestConfig::from_env(&settings("ALERT_DIGEST_HOUR", value));
        assert_eq!(hour("").unwrap().hour, 9);
        assert_eq!(hour("0").unwrap().hour, 0);
        for bad in ["24", "-1", "nine"] {
            assert!(hour(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_secret_has_a_default_and_the_example_names_everything() {
        let example = env_example();
        for variable in VARIABLES {
            assert!(
                !(variable.secret && variable.default.is_some()),
                "{}",
                variable.name
            );
            assert!(
                example.contains(&format!("{}=", variable.name)),
                "{}",
                variable.name
            );
        }
        let token = settings(&[("EXOTEL_API_SECRET", "by alias")])
            .secret("EXOTEL_API_TOKEN")
            .unwrap();
        assert_eq!(token.expose_secret(), "by alias");
    }
}
