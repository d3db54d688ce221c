//! Which leads a caller sees. Every use case about a lead begins here.

use domain::{access::Caller, access::Role, directory::Lead, ids::LeadId, phone::PhoneNumber};
use table::{LeadScope, Table};

use crate::ServiceError;

/// The lead, if it is in the caller's scope.
///
/// # Errors
/// [`ServiceError::NotFound`] when it does not exist or is somebody else's; [`ServiceError::Table`].
pub async fn lead_in_scope(table: &Table, caller: &Caller, id: &LeadId) -> Result<Lead, ServiceError> {
    match table.lead(id).await? {
        Some(lead) if caller.may_see(&lead) => Ok(lead),
        _ => Err(ServiceError::NotFound),
    }
}

/// The lead in the caller's scope with this number, the one contacted last when there are several.
///
/// # Errors
/// [`ServiceError::Table`].
pub async fn lead_with_number(
    table: &Table,
    caller: &Caller,
    number: &PhoneNumber,
) -> Result<Option<Lead>, ServiceError> {
    let leads = table.leads_by_phone(number).await?;
    Ok(leads.into_iter().find(|lead| caller.may_see(lead)))
}

/// The leads that are the caller's: all, owned or assigned.
pub fn scope_of(caller: &Caller) -> LeadScope<'_> {
    match caller.role {
        Role::Sales => LeadScope::Assignee(&caller.user_id),
        Role::SalesHead => LeadScope::Owner(&caller.user_id),
        Role::Admin | Role::SuperAdmin => LeadScope::All,
    }
}
