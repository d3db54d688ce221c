//! The directory that the rest needs: leads and users.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    access::Role,
    ids::{LeadId, UserId},
    phone::PhoneNumber,
};

/// Somebody whom the team wants to talk to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lead {
    /// The team's id of the lead.
    pub id: LeadId,
    /// The name as the team writes it, 1 to 200 characters.
    pub name: String,
    /// The number that is rung.
    pub phone: PhoneNumber,
    /// The sales head whose lead this is.
    pub owning_sales_head_id: Option<UserId>,
    /// The salesperson who works on the lead.
    pub assigned_to: Option<UserId>,
    /// Click-to-calls so far; kept by the calls themselves, never written from outside.
    #[serde(default)]
    pub call_count: u64,
    /// When the lead was last clicked to call.
    #[serde(default)]
    pub last_contacted_at: Option<Timestamp>,
}

/// A user of the CRM; `phone` is what Exotel rings first on a click-to-call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// `sub` of the user's tokens.
    pub id: UserId,
    /// The user's own phone.
    pub phone: Option<PhoneNumber>,
    /// The user's name.
    pub full_name: Option<String>,
    /// The user's mail address.
    pub email: Option<String>,
    /// The role the team gave; what counts for access is the role in the token.
    pub role: Option<Role>,
}
