//! The integration record: Exotel's credentials, which live in the secret, and the team's numbers, which live in the table.

use std::sync::Arc;

use domain::{
    access::{Caller, Role},
    ids::LeadId,
    integration::{Did, Sockets},
    phone::PhoneNumber,
};
use jiff::Timestamp;
use lambda_kit::{
    Error,
    config::{ExotelConfig, ExotelCredentials, OutboundConfig, Settings, VoicebotConfig, exotel_base_url},
    http::{Problem, Request, Response, json},
    https::{self, HttpsClient},
    init::{Boot, BoxError, Live, SecretStore},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use services::{
    dids::{DidView, Dids, TestCallOption},
    outbound::{
        Credentials, FlowCall, Outbound, Rung, client,
        clock::{Machine, SharedWorld},
    },
};

use crate::{
    Crm,
    outbound::{Wish, not_configured, once, outbound_problem, under_rules},
    problem, random,
};

/// What the record needs beside the table: the secret, and the way to Exotel.
pub struct IntegrationsDoor {
    /// What every route needs.
    pub crm: Crm,
    /// The team's numbers.
    pub dids: Dids,
    /// What leaves, and the clock.
    pub outbound: Outbound,
    credentials: Live<ExotelCredentials>,
    secret: Option<SecretStore>,
    sockets: Sockets,
    http: HttpsClient,
}

/// New credentials. What is left out stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewCredentials {
    account_sid: Option<String>,
    api_key: Option<SecretText>,
    api_token: Option<SecretText>,
    api_base_url: Option<String>,
}

/// A text that no log shows.
#[derive(Deserialize)]
#[serde(from = "String")]
struct SecretText(SecretString);

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

/// The record as it is shown: nothing of key and token but whether they are there.
#[derive(Debug, Serialize)]
pub struct Integration {
    status: &'static str,
    credentials_configured: bool,
    account_sid: Option<String>,
    api_base_url: String,
    dids: Vec<DidView>,
}

/// Which numbers can be tried out.
#[derive(Debug, Serialize)]
pub struct TestCallOptions {
    credentials_configured: bool,
    dids: Vec<TestCallOption>,
}

/// A test call.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestCall {
    to_number: String,
}

/// What became of a test call.
#[derive(Debug, Serialize)]
struct TestCallPlaced<'a> {
    status: &'static str,
    call_sid: Option<&'a str>,
    provider_status: Option<&'a str>,
    /// What Exotel said beside a status of 5xx: it may have rung all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_message: Option<&'a str>,
    did_id: &'a str,
    to_number: &'a str,
}

impl IntegrationsDoor {
    /// Built once, in init.
    ///
    /// # Errors
    /// When a setting is missing or cannot be used.
    pub fn from_boot(boot: &Boot) -> Result<Self, BoxError> {
        let world = Arc::new(Machine::new(random));
        Self::new(Crm::from_boot(boot)?, boot, world)
    }

    /// Over this table, in this world; `boot` tells the rest.
    ///
    /// # Errors
    /// When a setting is missing or cannot be used.
    pub fn new(crm: Crm, boot: &Boot, world: SharedWorld) -> Result<Self, BoxError> {
        let settings = boot.settings();
        let limits = OutboundConfig::from_env(settings)?;
        let voicebot = VoicebotConfig::from_env(settings)?;
        // What the fleet's servers answer to is known to them alone.
        let bots = voicebot.core_fleet.is_none().then(|| voicebot.bots.clone());
        let url = |url: Option<lambda_kit::config::SocketUrl>| url.map(|url| url.to_string());
        Ok(Self {
            dids: Dids::new(crm.table.clone(), crm.locale.country, bots),
            outbound: under_rules(&crm, limits, world),
            credentials: boot.live(ExotelCredentials::from_env)?,
            secret: boot.secret_store(),
            sockets: Sockets {
                fleet: url(voicebot.core_fleet),
                ours: url(voicebot.ws_url),
                bots: voicebot.bots,
            },
            http: https::client()?,
            crm,
        })
    }

    /// A number as it is shown.
    pub fn view(&self, did: &Did) -> DidView {
        DidView::new(did, &self.sockets)
    }

    /// The record.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn integration(&self, now: Timestamp) -> Result<Integration, Problem> {
        let credentials = self.credentials.fresh(now).await;
        let dids = self.dids.list().await.map_err(problem)?;
        let is_complete = credentials.are_complete();
        Ok(Integration {
            status: if is_complete {
                "configured"
            } else {
                "not_configured"
            },
            credentials_configured: is_complete,
            account_sid: credentials.account_sid.clone(),
            api_base_url: credentials.base_url.to_string(),
            dids: dids.iter().map(|did| self.view(did)).collect(),
        })
    }

    /// Which numbers can be tried out.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn test_call_options(&self, now: Timestamp) -> Result<TestCallOptions, Problem> {
        let is_complete = self.credentials.fresh(now).await.are_complete();
        let dids = self.dids.list().await.map_err(problem)?;
        Ok(TestCallOptions {
            credentials_configured: is_complete,
            dids: dids
                .iter()
                .map(|did| TestCallOption::new(did, is_complete))
                .collect(),
        })
    }

    /// Puts credentials into the secret, which every function reads.
    ///
    /// # Errors
    /// 400 for a field that cannot be used; 409 for one that the environment sets, and wins; 503 when the secret cannot be
    /// written.
    pub async fn put_credentials(&self, new: NewCredentials, now: Timestamp) -> Result<(), Problem> {
        let mut keys: Vec<(&'static str, SecretString)> = Vec::new();
        if let Some(sid) = new.account_sid {
            keys.push(("EXOTEL_SID", plain("account_sid", sid.into(), 64)?));
        }
        if let Some(key) = new.api_key {
            keys.push(("EXOTEL_API_KEY", plain("api_key", key.0, 256)?));
        }
        if let Some(token) = new.api_token {
            keys.push(("EXOTEL_API_TOKEN", plain("api_token", token.0, 256)?));
        }
        let held = self.credentials.fresh(now).await;
        if let Some(text) = new.api_base_url {
            let origin = exotel_base_url(&text).map_err(|reason| {
                Problem::bad_field("api_base_url", format!("api_base_url cannot be used: {reason}."))
            })?;
            // Saying again what the environment says changes nothing.
            if !(held.pinned.contains(&"EXOTEL_SUBDOMAIN") && held.base_url == origin) {
                keys.push(("EXOTEL_SUBDOMAIN", origin.to_string().into()));
            }
        } else if keys.is_empty() {
            return Err(Problem::bad_request(
                "Give account_sid, api_key, api_token or api_base_url; what is left out stays as it is.",
            ));
        }
        if let Some((name, _)) = keys.iter().find(|(name, _)| held.pinned.contains(name)) {
            let field = field_of(name);
            let detail = format!(
                "{field} is set by the environment variable {name} here, which wins: change it there."
            );
            return Err(Problem::new(409, "set_by_environment", detail).about(field));
        }
        let Some(secret) = &self.secret else {
            let detail = "This installation has no secret: set the credentials in its environment.";
            return Err(Problem::new(409, "set_by_environment", detail));
        };
        if keys.is_empty() {
            return Ok(());
        }
        // A setting that no function could read would stop them all at their next start.
        let check = |settings: &Settings| {
            ExotelConfig::from_env(settings)?;
            ExotelCredentials::from_env(settings).map(drop)
        };
        match secret.change(&keys, check, self.outbound.random(), now).await {
            Ok(()) => {
                let changed: Vec<_> = keys.iter().map(|(name, _)| field_of(name)).collect();
                tracing::info!(changed = changed.join(", "), "Exotel's credentials were changed");
                Ok(())
            }
            Err(Error::Invalid { variable, reason }) => Err(Problem::bad_field(
                "api_base_url",
                format!("api_base_url cannot be used with the settings here: {variable}: {reason}."),
            )),
            Err(error) => Err(Problem::unavailable(
                "secret_unavailable",
                "The credentials could not be written to the secret; try again.",
                error,
            )),
        }
    }

    /// Rings a person and connects them with the number's flow.
    ///
    /// # Errors
    /// 400 while credentials or flow are missing, and for a number that is none; else as every call that leaves.
    pub async fn test_call(
        &self,
        caller: &Caller,
        request: &Request,
        did: &Did,
        now: Timestamp,
    ) -> Result<Response, Problem> {
        let call: TestCall = request.json()?;
        let to = PhoneNumber::parse(&call.to_number, self.crm.locale.country).map_err(|error| {
            Problem::bad_field("to_number", format!("to_number cannot be used: {error}."))
        })?;
        let credentials = self.credentials.fresh(now).await;
        let missing = did.lacks(credentials.are_complete());
        let (Some(flow), Some(account_sid), Some(api_key), Some(api_token)) = (
            &did.flow_url,
            &credentials.account_sid,
            &credentials.api_key,
            &credentials.api_token,
        ) else {
            let remedies: Vec<_> = missing.iter().map(|lack| lack.remedy()).collect();
            let detail = format!("This DID cannot be tried out yet: {}.", remedies.join("; "));
            return Err(Problem::new(400, "not_test_ready", detail));
        };
        let keys = Credentials {
            account_sid: account_sid.clone(),
            api_key: api_key.clone(),
            api_token: api_token.clone(),
        };
        let exotel =
            client(self.http.clone(), credentials.base_url.as_str(), keys).map_err(not_configured)?;
        let mark = did.test_mark();
        let ring = async |_: &str, resumed: bool| {
            // Whoever began it may have rung: nobody is rung twice.
            let rung = if resumed {
                Rung::Unconfirmed { reason: None }
            } else {
                let call = FlowCall {
                    caller,
                    to: &to,
                    caller_id: &did.number,
                    flow_url: flow.as_str(),
                    custom_field: &mark,
                };
                let rung = self.outbound.ring_to_flow(&exotel, call).await;
                rung.map_err(outbound_problem)?
            };
            placed(request, did, &to, &rung)
        };
        // A number stands here where other routes have a lead: what is asked of it twice in a moment is asked once.
        let of_did: LeadId = did.id.as_str().parse().map_err(Problem::internal)?;
        let wish = Wish {
            caller,
            lead: &of_did,
            route: "test-call",
            id: mark.clone(),
            text: to.as_str(),
        };
        once(&self.outbound, request, wish, ring).await
    }
}

/// What became of a test call, as the caller hears it: 201, 202, or 502 with what Exotel said.
fn placed(request: &Request, did: &Did, to: &PhoneNumber, rung: &Rung) -> Result<Response, Problem> {
    let (code, status, call_sid, provider_status, provider_message) = match rung {
        Rung::Accepted { sid, status } => (201, "dispatched", Some(sid.as_str()), status.as_deref(), None),
        Rung::Unconfirmed { reason } => (202, "unconfirmed", None, None, reason.as_deref()),
        Rung::Refused { reason } => {
            let refused = Problem::new(502, "exotel_refused", format!("Exotel refused it: {reason}"));
            return Ok(refused.into_response(request.id()));
        }
    };
    let body = TestCallPlaced {
        status,
        call_sid,
        provider_status,
        provider_message,
        did_id: did.id.as_str(),
        to_number: to.as_str(),
    };
    json(code, &body)
}

/// Lets an administrator of this rank in.
///
/// # Errors
/// 403 for everybody else.
pub fn admit(caller: &Caller, least: Role) -> Result<(), Problem> {
    let admitted = match least {
        Role::SuperAdmin => caller.role == Role::SuperAdmin,
        _ => caller.role.is_admin(),
    };
    admitted.then_some(()).ok_or_else(Problem::forbidden)
}

/// The name in the record of a setting.
fn field_of(variable: &str) -> &'static str {
    match variable {
        "EXOTEL_SID" => "account_sid",
        "EXOTEL_API_KEY" => "api_key",
        "EXOTEL_API_TOKEN" => "api_token",
        _ => "api_base_url",
    }
}

/// A credential: letters, digits, `-` and `_`, without spaces around it.
fn plain(field: &'static str, text: SecretString, longest: usize) -> Result<SecretString, Problem> {
    let trimmed = text.expose_secret().trim();
    let is_plain = trimmed
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if (1..=longest).contains(&trimmed.len()) && is_plain {
        Ok(trimmed.into())
    } else {
        let detail = format!("{field} cannot be used: it must be 1 to {longest} letters, digits, - or _.");
        Err(Problem::bad_field(field, detail))
    }
}
