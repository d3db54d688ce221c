#![doc = include_str!("../README.md")]

pub mod bot_calls;
pub mod call_record;
pub mod figure_routes;
pub mod integrations;
pub mod outbound;

use domain::{access::Caller, directory::Lead, ids::LeadId};
use jiff::Timestamp;
use lambda_kit::{
    auth::Verifier,
    capability::SigningKeys,
    config::{ExotelConfig, JwtConfig, LocaleConfig, TableConfig},
    http::{Page, Problem, Request, Response, list},
    https,
    init::{Boot, BoxError, Live},
};
use serde::{Serialize, de::DeserializeOwned};
use services::{ServiceError, Table, TableError, directory::Directory, scope};

/// What every route here needs.
pub struct Crm {
    /// The table.
    pub table: Table,
    /// Whose tokens are taken.
    pub tokens: Verifier,
    /// What signs cursors and tickets.
    pub keys: Live<SigningKeys>,
    /// The account, unless something of it is missing.
    pub exotel: Live<Option<ExotelConfig>>,
    /// How numbers are read.
    pub locale: LocaleConfig,
}

impl Crm {
    /// Built once, in init.
    ///
    /// # Errors
    /// When a setting is missing or cannot be used.
    pub fn from_boot(boot: &Boot) -> Result<Self, BoxError> {
        let settings = boot.settings();
        Ok(Self {
            table: services::connect(boot.aws(), &TableConfig::from_env(settings)?.name),
            tokens: Verifier::new(boot.live(JwtConfig::from_env)?, https::client()?),
            keys: boot.live(SigningKeys::from_env)?,
            exotel: boot.live(ExotelConfig::from_env)?,
            locale: LocaleConfig::from_env(settings)?,
        })
    }

    /// Leads and users.
    pub fn directory(&self) -> Directory {
        Directory::new(self.table.clone(), self.locale.country)
    }

    /// Who calls, when the route's family lets their role in.
    ///
    /// # Errors
    /// 401 and 403.
    pub async fn caller(&self, request: &Request, now: Timestamp) -> Result<Caller, Problem> {
        self.tokens.authorize(request, now).await
    }

    /// Who calls, and the lead that the path names, when it is in their scope.
    ///
    /// # Errors
    /// 401 and 403; 400 for no lead id; 404 for a lead that does not exist or is somebody else's.
    pub async fn caller_and_lead(
        &self,
        request: &Request,
        now: Timestamp,
    ) -> Result<(Caller, Lead), Problem> {
        let caller = self.caller(request, now).await?;
        let id: LeadId = request.path("id")?;
        let lead = scope::lead_in_scope(&self.table, &caller, &id).await;
        Ok((caller, lead.map_err(problem)?))
    }

    /// The page of a list that the request asks for; `name` tells this list from others, of other leads too.
    ///
    /// # Errors
    /// 400 for a limit or a cursor that cannot be used.
    pub async fn page<T: DeserializeOwned>(
        &self,
        request: &Request,
        name: &str,
        now: Timestamp,
    ) -> Result<Page<T>, Problem> {
        request.page(&*self.keys.get(now).await, name)
    }

    /// A page of a list as an answer, its cursor signed.
    ///
    /// # Errors
    /// 500 when it cannot be written as JSON.
    pub async fn list<T: Serialize>(
        &self,
        page: services::Page<T>,
        name: &str,
        now: Timestamp,
    ) -> Result<Response, Problem> {
        let keys = self.keys.get(now).await;
        let cursor = page.next.map(|next| keys.seal_cursor(name, &next));
        list(&page.items, cursor.as_deref())
    }
}

/// What a use case says, as the caller hears it.
pub fn problem(error: ServiceError) -> Problem {
    match error {
        ServiceError::Field { field, message } => {
            Problem::bad_field(field, format!("{field} cannot be used: {message}."))
        }
        ServiceError::Input(message) => Problem::bad_request(message),
        ServiceError::Forbidden => Problem::forbidden(),
        ServiceError::NotFound => Problem::not_found(),
        ServiceError::Conflict(message) => Problem::new(409, "conflict", format!("Not now: {message}.")),
        ServiceError::BeingErased => Problem::new(
            409,
            "being_erased",
            "This lead is being erased; finish that with another DELETE first.",
        ),
        ServiceError::Queue(error) => Problem::unavailable(
            "queue_unavailable",
            "The queue did not take it; try again.",
            causes(&error),
        ),
        ServiceError::ExportQueue(error) => Problem::unavailable(
            "queue_unavailable",
            "The queue did not take it; try again.",
            causes(&error),
        ),
        ServiceError::Link(error) => Problem::internal(causes(&error)),
        ServiceError::Table(TableError::Cursor) => Problem::bad_field(
            "cursor",
            "cursor belongs to another list, or to other filters; begin without it.",
        ),
        ServiceError::Table(error) if error.is_retryable() => Problem::unavailable(
            "table_unavailable",
            "The table does not answer now; try again.",
            causes(&error),
        ),
        ServiceError::Table(error) => Problem::internal(causes(&error)),
    }
}

pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// 128 bits from the operating system, for ids.
///
/// # Panics
/// When the operating system has no randomness: nothing can be named then.
pub fn random() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("Lambda's kernel gives randomness");
    u128::from_ne_bytes(bytes)
}
