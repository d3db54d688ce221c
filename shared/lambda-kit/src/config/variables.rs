//! Every setting there is, as data: `.env.example`, the template and the code are checked against this table.

/// One setting: an environment variable, or a key of the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// The variable's name, and its key in the secret.
    pub name: &'static str,
    /// Another name by which the source documents call it; `name` wins when both are set.
    pub alias: Option<&'static str>,
    /// Whether the value belongs in the secret, never in the template or a log.
    pub secret: bool,
    /// What counts when it is not set; `None` when there is no default.
    pub default: Option<&'static str>,
    /// What it is for, in one sentence for the person who deploys.
    pub doc: &'static str,
}

const fn plain(name: &'static str, doc: &'static str) -> Variable {
    Variable {
        name,
        alias: None,
        secret: false,
        default: None,
        doc,
    }
}

const fn secret(name: &'static str, doc: &'static str) -> Variable {
    Variable {
        secret: true,
        ..plain(name, doc)
    }
}

const fn preset(name: &'static str, default: &'static str, doc: &'static str) -> Variable {
    Variable {
        default: Some(default),
        ..plain(name, doc)
    }
}

const fn also(alias: &'static str, variable: Variable) -> Variable {
    Variable {
        alias: Some(alias),
        ..variable
    }
}

/// All settings, grouped by concern.
pub const VARIABLES: &[Variable] = &[
    // Exotel: the account.
    plain(
        "EXOTEL_SID",
        "Account SID, from Exotel's dashboard under API settings",
    ),
    secret(
        "EXOTEL_API_KEY",
        "API key, the user name of Exotel's Basic authentication",
    ),
    also(
        "EXOTEL_API_SECRET",
        secret(
            "EXOTEL_API_TOKEN",
            "API token, the password of Exotel's Basic authentication",
        ),
    ),
    plain("EXOTEL_CALLER_ID", "ExoPhone that both parties of a call see"),
    also(
        "EXOTEL_BASE_URL",
        plain(
            "EXOTEL_SUBDOMAIN",
            "Exotel's API host: api.exotel.com (Singapore) or api.in.exotel.com (Mumbai); must be the account's cluster",
        ),
    ),
    plain(
        "EXOTEL_REGION",
        "sg or in: the account's cluster, when EXOTEL_SUBDOMAIN does not say it",
    ),
    plain(
        "EXOTEL_FROM_NUMBER",
        "ExoPhone for calls to flows, when it is not the caller id",
    ),
    plain(
        "EXOTEL_SMS_SENDER_ID",
        "DLT-approved SMS sender id; the caller id when not set",
    ),
    preset(
        "EXOTEL_SMS_TYPE",
        "transactional",
        "SmsType of CRM messages: transactional, transactional_opt_in or promotional",
    ),
    plain(
        "EXOTEL_DLT_ENTITY_ID",
        "DLT principal entity id that goes with every SMS to India",
    ),
    plain(
        "EXOTEL_DLT_TEMPLATE_ID",
        "DLT content template id that goes with CRM messages",
    ),
    plain("EXOTEL_APP_ID", "Flow (app) id of the voicebot flow"),
    secret(
        "EXOTEL_WS_TOKEN",
        "Bearer token that the voicebot's WebSocket handshake may carry",
    ),
    plain(
        "WS_PATH",
        "Stage or mapping key of the WebSocket API: the path of VOICEBOT_WS_URL, when that has none",
    ),
    plain(
        "VOICEBOT_WS_URL",
        "URL of the WebSocket API, which Exotel dials: wss, or ws on loopback only",
    ),
    preset(
        "VOICEBOT_BOTS",
        "{}",
        "The bots, as JSON, in single quotes in a file: '{\"reception\": {\"kind\": \"menu\", \"tree\": \"reception\"}}'; echo and demo are always there",
    ),
    plain(
        "VOICEBOT_DEFAULT_BOT",
        "Bot of calls whose number and URL name none; such calls are refused when not set",
    ),
    preset(
        "VOICEBOT_SAMPLE_RATE",
        "8000",
        "Samples a second of a call with a bot: 8000, 16000 or 24000",
    ),
    plain(
        "CORE_FLEET",
        "Base URLs of the team's own media servers, comma separated; the first one's /exotel/{bot} is dialled for fleet bots",
    ),
    preset(
        "EXOTEL_SYNC_INTERVAL_MINUTES",
        "15",
        "Minutes between two reconciliations with Exotel's call list",
    ),
    preset(
        "EXOTEL_HEARTBEAT_INTERVAL_MINUTES",
        "1",
        "Minutes between two polls of ExoPhone health; 0 for none",
    ),
    preset(
        "EXOTEL_HEARTBEAT_BUDGET",
        "60",
        "Requests that one poll of ExoPhone health may make; more ExoPhones are asked about in rotation",
    ),
    preset(
        "EXOTEL_HEARTBEAT_TIMEOUT_SECS",
        "5",
        "Seconds that one question about an ExoPhone's health may take",
    ),
    plain(
        "EXOTEL_ALTERNATE_CALLER_IDS",
        "ExoPhones, comma separated, that take the caller id's place, in this order, while calls from it do not go through",
    ),
    plain("EXOTEL_VERIFY_APP_ID", "ExoVerify app id, for one-time passwords"),
    secret("EXOTEL_VERIFY_APP_SECRET", "ExoVerify app secret"),
    secret("EXOTEL_CQA_API_KEY", "Conversation quality analysis: X-API-Key"),
    preset(
        "EXOTEL_CQA_HOST",
        "cqa-console.in.exotel.com",
        "Conversation quality analysis: API host",
    ),
    // Callbacks.
    secret(
        "EXOTEL_WEBHOOK_TOKEN",
        "Token of callback URLs pasted into Exotel's dashboard; not set refuses them all",
    ),
    preset(
        "LEGACY_MD5_CALLBACKS",
        "false",
        "Accept callback URLs that end in MD5(key:token); only for installations that already gave Exotel such URLs",
    ),
    plain(
        "EXOTEL_PASSTHRU_RULE",
        "Rule by which a flow goes on behind a Passthru applet (known-lead,!digits=9); not set always answers 200",
    ),
    also(
        "BACKEND_PUBLIC_URL",
        plain(
            "WEBHOOK_BASE_URL",
            "Public origin of the HTTP API: https, or http on loopback only",
        ),
    ),
    plain("RECORDINGS_BASE_URL", "Function URL of recording-proxy"),
    plain(
        "RECORDING_EXTRA_ORIGINS",
        "Local simulator only: loopback origins from which recordings may come",
    ),
    plain(
        "VOICEBOT_EXTRA_ORIGINS",
        "Local runs only: loopback origins at which http bots may be",
    ),
    // Who may come in.
    secret(
        "JWT_SECRET",
        "HS256 secret of our users' tokens, 32 characters or more",
    ),
    plain(
        "JWT_JWKS_URL",
        "JWKS URL of the identity provider, for RS256 and ES256 tokens",
    ),
    plain(
        "JWT_ISSUER",
        "iss that every token must carry; not checked when not set",
    ),
    plain(
        "JWT_AUDIENCE",
        "aud that every token must carry; not checked when not set",
    ),
    plain(
        "CORS_ALLOWED_ORIGINS",
        "Origins, comma separated, whose pages may call the API",
    ),
    secret(
        "SIGNING_KEY",
        "Key of callback capabilities, recording tickets and cursors, 32 characters or more",
    ),
    secret(
        "SIGNING_KEY_PREVIOUS",
        "The key before the last rotation: what it signed stays valid while it is set",
    ),
    // Limits.
    preset(
        "OUTBOUND_ENABLED",
        "true",
        "false stops every outbound call and message at once",
    ),
    preset(
        "OUTBOUND_VOICE_PER_MINUTE",
        "200",
        "Voice requests in any 60 s for the whole account",
    ),
    preset(
        "OUTBOUND_SMS_PER_MINUTE",
        "200",
        "SMS requests in any 60 s for the whole account",
    ),
    plain(
        "OUTBOUND_ALLOWED_PREFIXES",
        "E.164 prefixes that may be called, comma separated (+91,+65); DEFAULT_COUNTRY alone when not set",
    ),
    preset(
        "OUTBOUND_CALLS_PER_USER_HOUR",
        "120",
        "Calls one user may place in an hour",
    ),
    preset(
        "OUTBOUND_CALLS_PER_USER_DAY",
        "600",
        "Calls one user may place in a day",
    ),
    preset(
        "OUTBOUND_CALLS_PER_LEAD_HOUR",
        "20",
        "Calls that may be placed to one lead in an hour",
    ),
    preset(
        "OUTBOUND_CALLS_PER_LEAD_DAY",
        "60",
        "Calls that may be placed to one lead in a day",
    ),
    preset(
        "OUTBOUND_CALLS_PER_DAY",
        "10000",
        "Calls the whole account may place in a day",
    ),
    // How things are shown and read.
    preset(
        "DISPLAY_TIME_ZONE",
        "Asia/Kolkata",
        "IANA time zone in which times are shown and days are counted",
    ),
    preset(
        "DEFAULT_COUNTRY",
        "IN",
        "ISO 3166 country of numbers written without a country code",
    ),
    // Who is told when something is wrong.
    plain(
        "ALERT_WEBHOOK_URL",
        "URL that alerts are posted to, signed: https, or http on loopback only; nothing is posted when not set",
    ),
    preset(
        "ALERT_DIGEST_HOUR",
        "9",
        "Hour of the day, 0 to 23 in DISPLAY_TIME_ZONE, at which the rules of the daily digest are evaluated",
    ),
    // Set by the template.
    plain(
        "METRICS_NAMESPACE",
        "CloudWatch namespace of the product's own metrics; none are written when not set",
    ),
    plain("TABLE_NAME", "DynamoDB table"),
    plain(
        "VOICEBOT_SOCKETS_URL",
        "URL behind the WebSocket API, to which messages for its sockets are posted: https, or http on loopback only",
    ),
    plain("VOICEBOT_TURN_FUNCTION", "Name of the function voicebot-turn"),
    plain(
        "OUTBOUND_QUEUE_URL",
        "SQS queue of calls and messages that wait for Exotel",
    ),
    plain("OUTBOUND_DLQ_URL", "Dead-letter queue of the outbound queue"),
    plain(
        "WEBHOOK_EVENTS_QUEUE_URL",
        "SQS queue of callbacks to apply again",
    ),
    plain(
        "WEBHOOK_EVENTS_DLQ_URL",
        "Dead-letter queue of the webhook events queue",
    ),
    plain(
        "POLL_CALLS_DLQ_URL",
        "SQS queue of entries of Exotel's call list that cannot be read",
    ),
    plain(
        "EXPORTS_QUEUE_URL",
        "SQS queue of call histories that become files",
    ),
    plain("EXPORTS_BUCKET", "S3 bucket of call histories that became files"),
    plain("EVENT_BUS_NAME", "EventBridge bus of the product's own events"),
    plain(
        "SECRET_ARN",
        "Secrets Manager secret: a JSON object whose keys are these names; a variable that is set wins",
    ),
    preset(
        "LOG_LEVEL",
        "info",
        "error, warn, info, debug or trace; RUST_LOG takes whole directives",
    ),
];

/// The text of `.env.example`: every setting with its meaning, secrets empty, defaults as comments.
pub fn env_example() -> String {
    let mut text = String::from(
        "# Copy to .env (git-ignored) for a local run. In the cloud, secrets live in Secrets Manager instead.\n",
    );
    for variable in VARIABLES {
        let also = variable
            .alias
            .map(|alias| format!(" Also read as {alias}."))
            .unwrap_or_default();
        let kind = if variable.secret { " Secret." } else { "" };
        text.push_str(&format!("\n# {}.{also}{kind}\n", variable.doc));
        match variable.default {
            Some(default) => text.push_str(&format!("#{}={default}\n", variable.name)),
            None => text.push_str(&format!("{}=\n", variable.name)),
        }
    }
    text
}
