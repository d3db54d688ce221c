//! Leads and users: lists, writing one or many, exporting and erasing.

mod import;

use domain::{
    access::{Caller, Role},
    directory::{Lead, User},
    ids::{LeadId, UserId},
    phone::{Country, PhoneNumber},
};
use serde::{Deserialize, Serialize};
use table::{Erased, Page, Put, Record, Table};

pub use self::import::{Format, Imported, LineError, MOST_BYTES, MOST_LINES};
use crate::{
    ServiceError,
    logs::{CallLog, SmsLog},
    raw_events::RawEventView,
    scope::{lead_in_scope, scope_of},
    voicebot::sessions::SessionLog,
};

/// Characters of a name, at most.
const NAME_CHARS: usize = 200;
/// Characters of a mail address, at most (RFC 5321).
const EMAIL_CHARS: usize = 254;
/// Items of a lead that one request erases at most: some seconds of work, a third of the gateway's 30.
const ERASED_AT_ONCE: usize = 4_000;

/// A lead, as somebody wrote it. What the calls keep (`callCount`, `lastContactedAt`) is not looked at.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WrittenLead {
    #[serde(default)]
    id: Option<String>,
    name: String,
    phone: String,
    #[serde(default, alias = "owning_sales_head_id")]
    owning_sales_head_id: Option<String>,
    #[serde(default, alias = "assigned_to")]
    assigned_to: Option<String>,
}

/// A user, as somebody wrote it. Every field is optional, so a misspelt one must not pass for a missing one.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WrittenUser {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    phone: Option<String>,
    #[serde(default, alias = "full_name")]
    full_name: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    role: Option<String>,
}

/// Part of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Exported {
    /// The lead itself.
    Lead(Box<Lead>),
    /// A call.
    Call(CallLog),
    /// An SMS.
    Sms(SmsLog),
    /// A session with a bot, with what was said.
    BotSession(Box<SessionLog>),
    /// What Exotel sent about one of them.
    RawEvent(Box<RawEventView>),
}

/// The team's leads and users.
#[derive(Debug, Clone)]
pub struct Directory {
    table: Table,
    country: Country,
}

impl Directory {
    /// Over this table; numbers without a country code are `country`'s.
    pub fn new(table: Table, country: Country) -> Self {
        Self { table, country }
    }

    /// A lead in the caller's scope.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`], [`ServiceError::Table`].
    pub async fn lead(&self, caller: &Caller, id: &LeadId) -> Result<Lead, ServiceError> {
        lead_in_scope(&self.table, caller, id).await
    }

    /// The caller's leads, by id, `limit` at most, those behind `after`.
    ///
    /// # Errors
    /// [`ServiceError::Table`].
    pub async fn leads(
        &self,
        caller: &Caller,
        limit: usize,
        after: Option<&LeadId>,
    ) -> Result<Page<Lead>, ServiceError> {
        let after = after.map(LeadId::as_str);
        Ok(self.table.leads(scope_of(caller), limit, after).await?)
    }

    /// The caller's leads with this number, the most recently contacted first, `limit` at most.
    ///
    /// # Errors
    /// [`ServiceError::Field`] when it is no number; [`ServiceError::Table`].
    pub async fn leads_by_phone(
        &self,
        caller: &Caller,
        phone: &str,
        limit: usize,
    ) -> Result<Vec<Lead>, ServiceError> {
        let phone = self.read_phone(phone)?;
        let mut leads = self.table.leads_by_phone(&phone).await?;
        leads.retain(|lead| caller.may_see(lead));
        leads.truncate(limit);
        Ok(leads)
    }

    /// Writes a lead; gives it as it is now and whether it is new. Only administrators may.
    ///
    /// # Errors
    /// [`ServiceError::Forbidden`], [`ServiceError::Field`], [`ServiceError::BeingErased`], [`ServiceError::Table`].
    pub async fn put_lead(
        &self,
        caller: &Caller,
        id: &LeadId,
        written: &WrittenLead,
    ) -> Result<(Lead, bool), ServiceError> {
        admin(caller)?;
        same_id(id.as_str(), written.id.as_deref())?;
        let lead = self.read_lead(id.clone(), written)?;
        let created = self.store_lead(&lead).await?;
        let lead = self.table.lead(id).await?.ok_or(ServiceError::BeingErased)?;
        Ok((lead, created))
    }

    async fn store_lead(&self, lead: &Lead) -> Result<bool, ServiceError> {
        match self.table.put_lead(lead).await? {
            Put::Created => Ok(true),
            Put::Replaced => Ok(false),
            Put::BeingErased => Err(ServiceError::BeingErased),
        }
    }

    /// Erases a lead and everything of it. When it is not done, ask again: the lead is invisible already. Only
    /// administrators may.
    ///
    /// # Errors
    /// [`ServiceError::Forbidden`], [`ServiceError::NotFound`], [`ServiceError::Table`].
    pub async fn erase_lead(&self, caller: &Caller, id: &LeadId) -> Result<Erased, ServiceError> {
        admin(caller)?;
        let erased = self.table.erase_lead(id, ERASED_AT_ONCE).await?;
        if erased.deleted == 0 && erased.done {
            return Err(ServiceError::NotFound);
        }
        tracing::info!(lead.id = %id, user.id = %caller.user_id, items = erased.deleted, done = erased.done, "a lead was erased");
        Ok(erased)
    }

    /// Everything of a lead in the caller's scope, page by page; `after` is a page's `next`.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`], [`ServiceError::Table`].
    pub async fn export_lead(
        &self,
        caller: &Caller,
        id: &LeadId,
        after: Option<&str>,
    ) -> Result<Page<Exported>, ServiceError> {
        lead_in_scope(&self.table, caller, id).await?;
        let page = self.table.export_lead(id, after).await?;
        let masked = !caller.role.is_admin();
        let items = page.items.into_iter().filter_map(|record| match record {
            Record::Lead(lead) => Some(Exported::Lead(lead)),
            Record::Call(call) => Some(Exported::Call(CallLog::from(&*call))),
            Record::Sms(sms) => Some(Exported::Sms(SmsLog::from(&*sms))),
            Record::RawEvent(event) => Some(Exported::RawEvent(Box::new(RawEventView::new(*event, masked)))),
            Record::Transcribed(kept) => {
                let log = SessionLog::exported(&kept.session, Some(kept.lines));
                Some(Exported::BotSession(Box::new(log)))
            }
            Record::User(_)
            | Record::CallRecord(_)
            | Record::Alert(_)
            | Record::VoiceSession(_)
            | Record::Other { .. } => None,
        });
        Ok(Page {
            items: items.collect(),
            next: page.next,
        })
    }

    /// A user. Salespeople may not look.
    ///
    /// # Errors
    /// [`ServiceError::Forbidden`], [`ServiceError::NotFound`], [`ServiceError::Table`].
    pub async fn user(&self, caller: &Caller, id: &UserId) -> Result<User, ServiceError> {
        if caller.role == Role::Sales {
            return Err(ServiceError::Forbidden);
        }
        self.table.user(id).await?.ok_or(ServiceError::NotFound)
    }

    /// Writes a user; gives it as it is now and whether it is new. Only administrators may.
    ///
    /// # Errors
    /// [`ServiceError::Forbidden`], [`ServiceError::Field`], [`ServiceError::Table`].
    pub async fn put_user(
        &self,
        caller: &Caller,
        id: &UserId,
        written: &WrittenUser,
    ) -> Result<(User, bool), ServiceError> {
        admin(caller)?;
        same_id(id.as_str(), written.id.as_deref())?;
        let user = User {
            id: id.clone(),
            phone: given(&written.phone)
                .map(|phone| self.read_phone(phone))
                .transpose()?,
            full_name: given(&written.full_name)
                .map(|name| read_name("fullName", name))
                .transpose()?,
            email: given(&written.email).map(read_email).transpose()?,
            role: given(&written.role)
                .map(|role| role.parse().map_err(|error| ServiceError::field("role", error)))
                .transpose()?,
        };
        let put = self.table.put_user(&user).await?;
        Ok((user, put == Put::Created))
    }

    /// The caller's own phone, when they have one.
    ///
    /// # Errors
    /// [`ServiceError::Table`].
    pub async fn my_phone(&self, caller: &Caller) -> Result<Option<PhoneNumber>, ServiceError> {
        Ok(self
            .table
            .user(&caller.user_id)
            .await?
            .and_then(|user| user.phone))
    }

    /// Sets the caller's own phone: 10 to 15 digits, separators and a leading + aside, and a valid number.
    ///
    /// # Errors
    /// [`ServiceError::Field`], [`ServiceError::Table`].
    pub async fn set_my_phone(&self, caller: &Caller, phone: &str) -> Result<PhoneNumber, ServiceError> {
        let digits = phone.bytes().filter(u8::is_ascii_digit).count();
        if !(10..=15).contains(&digits) {
            return Err(ServiceError::field("phone", "it must have 10 to 15 digits"));
        }
        let phone = self.read_phone(phone)?;
        self.table.set_user_phone(&caller.user_id, &phone).await?;
        Ok(phone)
    }

    fn read_phone(&self, text: &str) -> Result<PhoneNumber, ServiceError> {
        PhoneNumber::parse(text, self.country).map_err(|error| ServiceError::field("phone", error))
    }

    fn read_lead(&self, id: LeadId, written: &WrittenLead) -> Result<Lead, ServiceError> {
        if id.is_unlisted() {
            let message = "ids that begin with unlisted- are kept for numbers that are no lead's";
            return Err(ServiceError::field("id", message));
        }
        let user = |field: &'static str, text: &Option<String>| -> Result<Option<UserId>, ServiceError> {
            given(text)
                .map(|text| text.parse().map_err(|error| ServiceError::field(field, error)))
                .transpose()
        };
        Ok(Lead {
            id,
            name: read_name("name", &written.name)?,
            phone: self.read_phone(&written.phone)?,
            owning_sales_head_id: user("owningSalesHeadId", &written.owning_sales_head_id)?,
            assigned_to: user("assignedTo", &written.assigned_to)?,
            call_count: 0,
            last_contacted_at: None,
        })
    }
}

fn admin(caller: &Caller) -> Result<(), ServiceError> {
    if caller.role.is_admin() {
        Ok(())
    } else {
        Err(ServiceError::Forbidden)
    }
}

fn same_id(in_path: &str, in_body: Option<&str>) -> Result<(), ServiceError> {
    match in_body {
        Some(id) if id != in_path => Err(ServiceError::field("id", "it is not the one in the path")),
        _ => Ok(()),
    }
}

/// An empty field counts as not given, as in a CSV.
fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

fn read_name(field: &'static str, text: &str) -> Result<String, ServiceError> {
    let name = text.trim();
    let chars = name.chars().count();
    if !(1..=NAME_CHARS).contains(&chars) || name.chars().any(char::is_control) {
        let message = format!("it must be 1 to {NAME_CHARS} characters on one line");
        return Err(ServiceError::field(field, message));
    }
    Ok(name.to_owned())
}

fn read_email(text: &str) -> Result<String, ServiceError> {
    let well_formed = text.chars().count() <= EMAIL_CHARS
        && !text.chars().any(|c| c.is_control() || c.is_whitespace())
        && text
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
    if well_formed {
        Ok(text.to_owned())
    } else {
        Err(ServiceError::field(
            "email",
            "it must be a mail address, for instance asha@example.com",
        ))
    }
}
