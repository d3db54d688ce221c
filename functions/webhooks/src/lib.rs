#![doc = include_str!("../README.md")]

pub mod passthru;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use lambda_kit::{
    Error,
    capability::{self, Purpose, SigningKeys},
    config::{ExotelConfig, QueueConfig, Settings, TableConfig, WebhookConfig},
    http::{Problem, Request, Response, json},
    init::{Boot, Live},
};
use secrecy::SecretString;
use serde::Serialize;
use services::inbound::{Delivery, Inbox, Locator, Receipt, Webhook};

/// A fresh secret may cost this much of the 5 s that Exotel waits; after it, the one we have must do.
const SECRET_PATIENCE: Duration = Duration::from_millis(900);

/// The same where a caller waits.
const CALLERS_PATIENCE: Duration = Duration::from_millis(250);

/// What proves a sender, and what must not be kept of a request.
#[derive(Debug)]
pub struct Secrets {
    keys: SigningKeys,
    webhook: WebhookConfig,
    exotel: Option<ExotelConfig>,
    credentials: Vec<SecretString>,
}

impl Secrets {
    /// # Errors
    /// [`Error`] for a setting that is missing or cannot be used.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        let credentials = ["EXOTEL_WEBHOOK_TOKEN", "EXOTEL_API_KEY", "EXOTEL_API_TOKEN"];
        Ok(Self {
            keys: SigningKeys::from_env(settings)?,
            webhook: WebhookConfig::from_env(settings)?,
            exotel: ExotelConfig::from_env(settings)?,
            credentials: credentials
                .into_iter()
                .filter_map(|name| settings.secret(name))
                .collect(),
        })
    }
}

/// One webhook: who may come in, and where it goes.
pub struct Door {
    webhook: Webhook,
    secrets: Live<Secrets>,
    inbox: Inbox,
}

impl Door {
    /// The door of a function, its clients built.
    ///
    /// # Errors
    /// [`Error`] for a setting that is missing or cannot be used.
    pub fn open(webhook: Webhook, boot: &Boot) -> Result<Self, Error> {
        let table = TableConfig::from_env(boot.settings())?;
        let queue = QueueConfig::webhook_events_from_env(boot.settings())?;
        let inbox = Inbox::connect(webhook, boot.aws(), &table.name, &queue.url);
        Ok(Self::new(webhook, boot.live(Secrets::from_env)?, inbox))
    }

    /// A door in front of this inbox.
    pub fn new(webhook: Webhook, secrets: Live<Secrets>, inbox: Inbox) -> Self {
        Self {
            webhook,
            secrets,
            inbox,
        }
    }

    /// Verifies, records, answers.
    ///
    /// # Errors
    /// 404 for a path of another webhook, 403 for a sender that proves nothing, 413 above 64 KB (6 MB for a HeartBeat),
    /// 503 when the event could be kept nowhere. Nothing else: whatever the body is, it is kept.
    pub async fn receive(&self, request: &Request, now: Timestamp) -> Result<Response, Problem> {
        let (secrets, locator) = self.admit(request, now).await?;
        let delivery = self.delivery(request, &secrets, locator)?;
        // Boxed: the state of two SDK requests side by side is large, and deep for the compiler.
        answer(Box::pin(self.inbox.receive(delivery, now)).await)
    }

    /// The same for a HeartBeat.
    ///
    /// # Errors
    /// As for [`Door::receive`].
    pub async fn receive_heartbeat(&self, request: &Request, now: Timestamp) -> Result<Response, Problem> {
        let (secrets, locator) = self.admit(request, now).await?;
        let delivery = self.delivery(request, &secrets, locator)?;
        answer(Box::pin(self.inbox.receive_heartbeat(delivery, now)).await)
    }

    /// The secrets that let the sender in, and the row that the URL names, if it names one.
    async fn admit(
        &self,
        request: &Request,
        now: Timestamp,
    ) -> Result<(Arc<Secrets>, Option<Locator>), Refusal> {
        let patience = match self.webhook {
            Webhook::Call | Webhook::Sms | Webhook::Heartbeat => SECRET_PATIENCE,
            Webhook::Passthru => CALLERS_PATIENCE,
        };
        let fresh = tokio::time::timeout(patience, self.secrets.get(now)).await;
        let mut secrets = fresh.unwrap_or_else(|_| self.secrets.cached());
        let mut verified = self.verify(&secrets, request);
        if matches!(&verified, Err(Refusal::Stranger)) {
            // The secret may have been rotated a moment ago.
            let newer = tokio::time::timeout(patience, self.secrets.refetch(now)).await;
            secrets = newer.unwrap_or(secrets);
            verified = self.verify(&secrets, request);
        }
        if matches!(&verified, Err(Refusal::Stranger)) {
            capability::tell_if_no_webhook_token(&secrets.webhook);
            // A metric filter turns this line into an alarm.
            tracing::warn!(
                alarm = "webhook.refused",
                "a sender proves nothing: no token or capability, or a wrong one"
            );
        }
        Ok((secrets, verified?))
    }

    fn delivery<'a>(
        &self,
        request: &'a Request,
        secrets: &'a Secrets,
        locator: Option<Locator>,
    ) -> Result<Delivery<'a>, Problem> {
        Ok(Delivery {
            webhook: self.webhook,
            locator,
            content_type: request.header("content-type"),
            query: Some(request.raw_query()),
            body: request.bytes(self.webhook.longest_body())?,
            credentials: &secrets.credentials,
        })
    }

    /// The row that the URL names, if it names one, for a sender who may come in.
    fn verify(&self, secrets: &Secrets, request: &Request) -> Result<Option<Locator>, Refusal> {
        let segments: Vec<&str> = request.raw_path().split('/').collect();
        let by_token = || {
            let token = request.query::<String>("token").ok().flatten();
            capability::is_webhook_token(&secrets.webhook, token.as_deref())
        };
        let (purpose, status, callback) = match self.webhook {
            Webhook::Call => (Purpose::Call, "call-status", "call-callback"),
            Webhook::Sms => (Purpose::Sms, "sms-status", "sms-callback"),
            // The URL is pasted into a flow, for all its calls: it names no row.
            Webhook::Passthru => {
                return match segments[..] {
                    [.., "webhooks", "exotel", "passthru"] if by_token() => Ok(None),
                    [.., "webhooks", "exotel", "passthru"] => Err(Refusal::Stranger),
                    _ => Err(Refusal::Elsewhere),
                };
            }
            // The URL is pasted into the dashboard, for the whole account: it names no row.
            Webhook::Heartbeat => {
                return match segments[..] {
                    [.., "webhooks", "exotel", "heartbeat"] if by_token() => Ok(None),
                    [.., "webhooks", "exotel", "heartbeat"] => Err(Refusal::Stranger),
                    _ => Err(Refusal::Elsewhere),
                };
            }
        };
        let word = purpose.as_str();
        // A stage's name may stand before the route.
        let known = match segments[..] {
            [.., "api", "webhooks", "exotel", kind, _, md5] if kind == callback => {
                capability::is_legacy_md5(&secrets.webhook, secrets.exotel.as_ref(), md5)
            }
            [.., "webhooks", "exotel", kind, id, presented] if kind == word => {
                let signed = secrets.keys.verify_capability(purpose, id, presented);
                let locator = self.webhook.locator(id);
                return signed.ok().and(locator).map(Some).ok_or(Refusal::Stranger);
            }
            [.., "webhooks", "exotel", kind] if kind == word => by_token(),
            [.., "api", "exotel", kind] if kind == status => by_token(),
            _ => return Err(Refusal::Elsewhere),
        };
        if known { Ok(None) } else { Err(Refusal::Stranger) }
    }
}

/// Why a request does not come in.
enum Refusal {
    /// It proves nothing: no token or capability, a wrong one, or one of another row or webhook.
    Stranger,
    /// It came to the wrong function.
    Elsewhere,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Stranger => Problem::new(
                403,
                "invalid_webhook_url",
                "This URL does not let you in; use the one that the product registered or shows.",
            ),
            Refusal::Elsewhere => Problem::not_found(),
        }
    }
}

fn answer(receipt: Receipt) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Answer {
        success: bool,
        handled: bool,
    }
    match receipt {
        Receipt::Kept { success, handled } => json(200, &Answer { success, handled }),
        Receipt::KeptNowhere => {
            let detail = "The event could not be kept; send it again.";
            Err(Problem::new(503, "not_kept", detail).retry_after(30))
        }
    }
}
