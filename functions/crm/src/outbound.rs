//! What the two doors share that let calls and messages out.

use std::sync::Arc;

use domain::{
    access::Caller,
    idempotency::{Answer, Sameness, Scope},
    ids::{CallLocator, LeadId, SmsLocator},
    toll_fraud::{Counted, Destinations, Quota, Quotas, Window},
};
use jiff::Timestamp;
use lambda_kit::{
    capability::Purpose,
    config::{CallerIdConfig, OutboundConfig, PublicUrls, QueueConfig},
    http::{Problem, Request, Response, json},
    https::{self, HttpsClient},
    init::{Boot, BoxError},
};
use serde::Serialize;
use services::{
    ServiceError,
    outbound::{
        Account, AccountSettings, Outbound, OutboundError, OutboundQueue, Placed, Request as Once, Rules,
        clock::{Machine, SharedWorld},
        fingerprint,
        limiter::Limiter,
    },
};

use crate::{Crm, problem, random};

/// Longest body that is looked at.
const LONGEST_BODY: usize = 64 * 1024;

/// What somebody wants of a lead.
pub struct Wish<'a> {
    /// Who.
    pub caller: &'a Caller,
    /// Of whom.
    pub lead: &'a LeadId,
    /// The route's word.
    pub route: &'static str,
    /// Our new id of what it makes.
    pub id: String,
    /// Without a key, requests with the same text on the same lead are the same for a moment.
    pub text: &'a str,
}

/// The door's clients and rules.
pub struct OutboundDoor {
    /// What every route needs.
    pub crm: Crm,
    /// The use cases.
    pub outbound: Outbound,
    /// Where what cannot go out now waits.
    pub queue: OutboundQueue,
    http: HttpsClient,
    urls: PublicUrls,
}

impl OutboundDoor {
    /// Built once, in init.
    ///
    /// # Errors
    /// When a setting is missing or cannot be used.
    pub fn from_boot(boot: &Boot) -> Result<Self, BoxError> {
        let crm = Crm::from_boot(boot)?;
        let queue = QueueConfig::outbound_from_env(boot.settings())?;
        let urls = PublicUrls::from_env(boot.settings())?;
        urls.webhooks()?;
        let limits = OutboundConfig::from_env(boot.settings())?;
        let queue = OutboundQueue::connect(boot.aws(), queue.url, None);
        let alternates = CallerIdConfig::from_env(boot.settings())?.alternates;
        Ok(Self::new(
            crm,
            limits,
            queue,
            https::client()?,
            urls,
            Arc::new(Machine::new(random)),
        )
        .with_alternate_caller_ids(&alternates))
    }

    /// With ExoPhones that are tried first while the caller id cannot call.
    pub fn with_alternate_caller_ids(self, alternates: &[String]) -> Self {
        let country = self.crm.locale.country;
        let alternates = alternates.iter().map(String::as_str);
        Self {
            outbound: self.outbound.with_alternate_caller_ids(alternates, country),
            ..self
        }
    }

    /// Over these clients, in this world.
    pub fn new(
        crm: Crm,
        limits: OutboundConfig,
        queue: OutboundQueue,
        http: HttpsClient,
        urls: PublicUrls,
        world: SharedWorld,
    ) -> Self {
        let outbound = under_rules(&crm, limits, world);
        Self {
            crm,
            outbound,
            queue,
            http,
            urls,
        }
    }

    /// The account with Exotel.
    ///
    /// # Errors
    /// 503 `exotel_not_configured` when something of it is missing.
    pub async fn account(&self, now: Timestamp) -> Result<Account<impl services::outbound::Exotel>, Problem> {
        let config = self.crm.exotel.get(now).await;
        let Some(config) = &*config else {
            return Err(not_configured("a setting is missing"));
        };
        let keys = self.crm.keys.get(now).await;
        let base = self.urls.webhooks().map_err(Problem::internal)?.clone();
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
            country: self.crm.locale.country,
        };
        let url = Arc::new(move |purpose, id: String| base.join(&keys.callback_path(purpose, &id)));
        let sms_url = Arc::clone(&url);
        Account::connect(
            self.http.clone(),
            settings,
            move |call: &CallLocator| url(Purpose::Call, call.to_string()),
            move |sms: &SmsLocator| sms_url(Purpose::Sms, sms.to_string()),
        )
        .map_err(not_configured)
    }

    /// As [`once`].
    ///
    /// # Errors
    /// As [`once`].
    pub async fn once(
        &self,
        request: &Request,
        wish: Wish<'_>,
        make: impl AsyncFnOnce(&str, bool) -> Result<Response, Problem>,
    ) -> Result<Response, Problem> {
        once(&self.outbound, request, wish, make).await
    }

    /// What became of a click, as the caller hears it: 201, 202, or 502 with what Exotel said.
    ///
    /// # Errors
    /// 500 when the log cannot be written as JSON.
    pub async fn answer<T, L: Serialize + for<'a> From<&'a T>>(
        &self,
        request: &Request,
        placed: &Placed<T>,
        reason: impl FnOnce(&T) -> Option<String>,
    ) -> Result<Response, Problem> {
        let log = L::from(placed.row());
        match placed {
            Placed::Dispatched(_) => json(201, &log),
            Placed::Queued(_) | Placed::Unconfirmed(_) => json(202, &log),
            Placed::Refused(row) => {
                // Perhaps the credentials were changed: the next request should know.
                self.crm.exotel.refetch(self.outbound.now()).await;
                let said = reason(row).unwrap_or_else(|| "It gave no reason.".to_owned());
                let refused = Problem::new(502, "exotel_refused", format!("Exotel refused it: {said}"));
                Ok(refused.into_response(request.id()))
            }
        }
    }
}

/// The use cases of what leaves, under the rules of these settings.
pub fn under_rules(crm: &Crm, limits: OutboundConfig, world: SharedWorld) -> Outbound {
    let limiter = Limiter::new(
        crm.table.clone(),
        Arc::clone(&world),
        limits.voice_per_minute,
        limits.sms_per_minute,
    );
    let quota = |per_hour, per_day| Quota { per_hour, per_day };
    let rules = Rules {
        enabled: limits.enabled,
        quotas: Quotas {
            user: quota(Some(limits.calls_per_user_hour), limits.calls_per_user_day),
            lead: quota(Some(limits.calls_per_lead_hour), limits.calls_per_lead_day),
            account: quota(None, limits.calls_per_day),
        },
        destinations: Destinations::new(crm.locale.country, limits.allowed_prefixes),
        zone: crm.locale.time_zone.clone(),
        country: crm.locale.country,
    };
    Outbound::new(crm.table.clone(), limiter, world, rules)
}

/// Does the request once: a repetition has the first one's answer. `make` gets the id to use and whether somebody
/// may have begun with it before. An answer is kept, a problem is not: then nothing was made.
///
/// # Errors
/// What `make` says; 409 while the first one is at work, or when the key was used for something else.
pub async fn once(
    outbound: &Outbound,
    request: &Request,
    wish: Wish<'_>,
    make: impl AsyncFnOnce(&str, bool) -> Result<Response, Problem>,
) -> Result<Response, Problem> {
    let Wish {
        caller,
        lead,
        route,
        id,
        text,
    } = wish;
    let key = request.idempotency_key()?;
    let keyed = key.is_some();
    let body = String::from_utf8_lossy(request.bytes(LONGEST_BODY)?);
    let parts = [lead.as_str(), if keyed { body.as_ref() } else { text }];
    let sameness = match key {
        Some(key) => Sameness::Key(key.as_str().parse().map_err(|error: domain::DomainError| {
            Problem::bad_field("Idempotency-Key", format!("{error}."))
        })?),
        None => Sameness::Moment {
            lead: lead.clone(),
            content: fingerprint(&parts),
        },
    };
    let scope = Scope {
        user: caller.user_id.clone(),
        route,
        sameness,
    };
    let begun = outbound.begin(&scope, id, &parts, !keyed).await;
    let (record, resumed) = match begun.map_err(|error| problem(ServiceError::Table(error)))? {
        Once::Do { record, resumed } => (record, resumed),
        Once::Answered(answer) => return kept(answer),
        Once::Running { retry_after_secs } => {
            let detail = "The same request is still being worked on; ask again in a moment.";
            return Err(Problem::new(409, "still_running", detail).retry_after(retry_after_secs));
        }
        Once::Mismatch => {
            let detail = "This Idempotency-Key was used for another request; take a new one.";
            return Err(Problem::new(409, "idempotency_key_reused", detail).about("Idempotency-Key"));
        }
    };
    let made = make(&record.subject, resumed).await;
    match &made {
        Ok(response) => {
            let answer = Answer {
                status: response.status().as_u16(),
                body: response.body().clone(),
            };
            outbound.finish(&scope, &record, &answer).await;
        }
        Err(_) => outbound.abandon(&scope, &record, resumed).await,
    }
    made
}

/// A stored answer, with the headers it had.
fn kept(answer: Answer) -> Result<Response, Problem> {
    let body: serde_json::Value = serde_json::from_str(&answer.body).map_err(Problem::internal)?;
    let mut response = json(answer.status, &body)?;
    *response.body_mut() = answer.body;
    if answer.status >= 400 {
        let kind = http::HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    }
    Ok(response)
}

pub(crate) fn not_configured(why: impl std::fmt::Display) -> Problem {
    tracing::warn!("nothing can be sent: {why}");
    let detail = "Exotel is not configured here; ask your administrator.";
    Problem::new(503, "exotel_not_configured", detail)
}

/// Why nothing went out, as the caller hears it.
pub fn outbound_problem(error: OutboundError) -> Problem {
    match error {
        OutboundError::NoPhone => Problem::new(
            400,
            "no_call_number",
            "You have no phone number yet that could ring; set it with PATCH my-call-number.",
        ),
        OutboundError::Destination { whose } => Problem::new(
            403,
            "destination_not_allowed",
            format!("The {whose} number is in a country, or of a kind, that may not be called from here."),
        ),
        OutboundError::UsedUp {
            counted,
            window,
            retry_after_secs,
        } => {
            let whose = match counted {
                Counted::User => "you may place",
                Counted::Lead => "this lead may get",
                Counted::Account => "the account may place",
            };
            let window = match window {
                Window::Hour => "hour",
                Window::Day => "day",
            };
            let detail = format!("All calls that {whose} in this {window} are used up.");
            Problem::new(429, "calls_used_up", detail).retry_after(retry_after_secs)
        }
        OutboundError::Paused => Problem::new(
            503,
            "outbound_paused",
            "All calls and messages are stopped; ask your administrator.",
        ),
        OutboundError::NoSlot { retry_after_secs } => Problem::new(
            503,
            "no_slot",
            "Too many calls are being placed at this moment; try again in a few seconds.",
        )
        .retry_after(retry_after_secs),
        OutboundError::NotSent { reason } => Problem::new(
            502,
            "exotel_unavailable",
            format!("Exotel does not take calls at this moment, and nobody was rung; try again. {reason}"),
        )
        .retry_after(5),
        OutboundError::NoBot => Problem::new(
            503,
            "voicebot_not_configured",
            "Calls to a bot have nowhere to go: set EXOTEL_APP_ID, or VOICEBOT_WS_URL and, of our own bots, VOICEBOT_DEFAULT_BOT.",
        ),
        OutboundError::LeadGone => Problem::not_found(),
        OutboundError::NotQueued(error) => Problem::unavailable(
            "queue_unavailable",
            "Exotel is busy, and it could not be queued; try again.",
            crate::causes(&error),
        ),
        OutboundError::Table(error) => problem(ServiceError::Table(error)),
    }
}
