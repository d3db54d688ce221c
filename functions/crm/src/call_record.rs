//! What the door of single calls needs beside the table: a way to Exotel, and a slot for every request.

use std::sync::Arc;

use jiff::Timestamp;
use lambda_kit::{
    config::OutboundConfig,
    http::Problem,
    https::{self, HttpsClient},
    init::{Boot, BoxError},
};
use services::{
    ServiceError,
    call_details::{CallDetails, NotFound, TIMEOUT},
    outbound::{
        Credentials, Exotel, client,
        clock::{Machine, SharedWorld},
        limiter::Limiter,
    },
};

use crate::{Crm, outbound::not_configured, problem, random};

/// The door's clients.
pub struct CallRecordDoor {
    /// What every route needs.
    pub crm: Crm,
    /// The use case.
    pub calls: CallDetails,
    http: HttpsClient,
}

impl CallRecordDoor {
    /// Built once, in init.
    ///
    /// # Errors
    /// When a setting is missing or cannot be used.
    pub fn from_boot(boot: &Boot) -> Result<Self, BoxError> {
        let limits = OutboundConfig::from_env(boot.settings())?;
        let world = Arc::new(Machine::new(random));
        Ok(Self::new(Crm::from_boot(boot)?, limits, https::client()?, world))
    }

    /// Over these clients, in this world.
    pub fn new(crm: Crm, limits: OutboundConfig, http: HttpsClient, world: SharedWorld) -> Self {
        let limiter = Limiter::new(
            crm.table.clone(),
            world,
            limits.voice_per_minute,
            limits.sms_per_minute,
        );
        let calls = CallDetails::new(crm.table.clone(), limiter, crm.locale.country);
        Self { crm, calls, http }
    }

    /// The way to Exotel; none while the account is not configured, or cannot be used.
    pub async fn exotel(&self, now: Timestamp) -> Option<impl Exotel> {
        let config = self.crm.exotel.get(now).await;
        let config = config.as_ref().as_ref()?;
        let credentials = Credentials {
            account_sid: config.account_sid.clone(),
            api_key: config.api_key.clone(),
            api_token: config.api_token.clone(),
        };
        client(self.http.clone(), config.base_url.as_str(), credentials)
            .inspect_err(|error| tracing::error!("nothing can be looked up: {error}"))
            .ok()
            .map(|client| client.with_timeout(TIMEOUT))
    }
}

/// Why there is no call to show, as the caller hears it.
pub fn not_found(error: NotFound) -> Problem {
    match error {
        NotFound::Unknown => Problem::not_found(),
        NotFound::NotConfigured => not_configured("a setting is missing"),
        NotFound::Unheard(why) => Problem::unavailable(
            "exotel_unavailable",
            format!("We do not know this call, and could not ask Exotel: {why}."),
            &why,
        ),
        NotFound::Table(error) => problem(ServiceError::Table(error)),
    }
}
