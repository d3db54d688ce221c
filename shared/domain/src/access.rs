//! Who a caller is and which leads they may see.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{DomainError, directory::Lead, ids::UserId};

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE", try_from = "String")]
pub enum Role {
    /// Sees the leads assigned to them.
    Sales,
    /// Sees the leads they own.
    SalesHead,
    /// Sees everything, writes the directory.
    Admin,
    /// As [`Role::Admin`], and credentials.
    #[serde(rename = "SUPERADMIN")]
    SuperAdmin,
}

impl Role {
    /// The role's name as it stands in tokens and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Sales => "SALES",
            Role::SalesHead => "SALES_HEAD",
            Role::Admin => "ADMIN",
            Role::SuperAdmin => "SUPERADMIN",
        }
    }

    /// Whether this is an administrator, who sees every lead and writes the directory.
    pub fn is_admin(self) -> bool {
        matches!(self, Role::Admin | Role::SuperAdmin)
    }
}

impl FromStr for Role {
    type Err = DomainError;

    /// Takes any case and the aliases agent, manager, admin, super_admin.
    fn from_str(text: &str) -> Result<Self, DomainError> {
        match text.to_ascii_uppercase().as_str() {
            "SALES" | "AGENT" => Ok(Role::Sales),
            "SALES_HEAD" | "MANAGER" => Ok(Role::SalesHead),
            "ADMIN" => Ok(Role::Admin),
            "SUPERADMIN" | "SUPER_ADMIN" => Ok(Role::SuperAdmin),
            _ => Err(DomainError::Word {
                kind: "role",
                expected: "SALES, SALES_HEAD, ADMIN, SUPERADMIN",
            }),
        }
    }
}

impl TryFrom<String> for Role {
    type Error = DomainError;
    fn try_from(text: String) -> Result<Self, DomainError> {
        text.parse()
    }
}

/// An authenticated user of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// `sub` of the token.
    pub user_id: UserId,
    /// `role` of the token.
    pub role: Role,
}

impl Caller {
    /// Whether the lead is in the caller's scope. A lead outside is answered exactly as one that does not exist.
    pub fn may_see(&self, lead: &Lead) -> bool {
        match self.role {
            Role::Sales => lead.assigned_to.as_ref() == Some(&self.user_id),
            Role::SalesHead => lead.owning_sales_head_id.as_ref() == Some(&self.user_id),
            Role::Admin | Role::SuperAdmin => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_in_any_case_and_by_alias() {
        for (text, role) in [
            ("sales", Role::Sales),
            ("Agent", Role::Sales),
            ("manager", Role::SalesHead),
            ("ADMIN", Role::Admin),
            ("super_admin", Role::SuperAdmin),
            ("SuperAdmin", Role::SuperAdmin),
        ] {
            assert_eq!(text.parse::<Role>().unwrap(), role);
            assert_eq!(role.as_str().parse::<Role>().unwrap(), role);
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
        assert!("root".parse::<Role>().is_err());
    }
}
