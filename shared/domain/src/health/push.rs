//! What a push says: lists, details and one word for the account, which need not agree.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{LONGEST_WORD, Said, SideSaid, Status, short};
use crate::ids::ExoPhoneSid;

/// Exotel's word for the whole account (`status_type`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum AccountStatus {
    /// No ExoPhone is affected.
    Ok,
    /// At least one is.
    Warning,
    /// All are.
    Critical,
    /// So many are that Exotel would not send the list: each has to be asked about.
    PayloadTooLarge,
    /// No word, or one that Exotel does not document, kept.
    Unknown(String),
}

impl AccountStatus {
    /// Exotel's word.
    pub fn as_str(&self) -> &str {
        match self {
            AccountStatus::Ok => "OK",
            AccountStatus::Warning => "WARNING",
            AccountStatus::Critical => "CRITICAL",
            AccountStatus::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
            AccountStatus::Unknown(word) => word,
        }
    }

    /// Whether it says nothing of single ExoPhones.
    pub fn is_unknown(&self) -> bool {
        matches!(self, AccountStatus::PayloadTooLarge | AccountStatus::Unknown(_))
    }
}

impl From<String> for AccountStatus {
    fn from(word: String) -> Self {
        match word.trim().to_ascii_uppercase().as_str() {
            "OK" => AccountStatus::Ok,
            "WARNING" => AccountStatus::Warning,
            "CRITICAL" => AccountStatus::Critical,
            "PAYLOAD_TOO_LARGE" => AccountStatus::PayloadTooLarge,
            _ => AccountStatus::Unknown(short(word.trim(), LONGEST_WORD)),
        }
    }
}

impl From<AccountStatus> for String {
    fn from(status: AccountStatus) -> String {
        status.as_str().to_owned()
    }
}

/// The lists and details of a push, as they stand in it.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    /// `incoming_affected`; `null` is an empty list.
    pub incoming_affected: Vec<ExoPhoneSid>,
    /// `outgoing_affected`; `null` is an empty list.
    pub outgoing_affected: Vec<ExoPhoneSid>,
    /// `data`: what is said of each, whatever its nesting.
    pub data: BTreeMap<ExoPhoneSid, Said>,
}

/// What a push says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Push {
    /// When Exotel made it.
    pub at: Timestamp,
    /// Of the account.
    pub account: AccountStatus,
    /// Of each ExoPhone that it names.
    pub said: BTreeMap<ExoPhoneSid, Said>,
}

impl Push {
    /// Reads lists and details into one. Where they contradict, the worse counts: an ExoPhone in a list is affected,
    /// whatever its details say, and one with an outage in its details is, whatever list it is missing from. A side
    /// of which nothing is said is ok when the push knows the account.
    pub fn new(at: Timestamp, account: AccountStatus, listed: Listed) -> Self {
        let mut said = listed.data;
        let in_list = || Status::Affected("affected".to_owned());
        let mut in_lists = |sids: &[ExoPhoneSid], side: fn(&mut Said) -> &mut Option<SideSaid>| {
            for sid in sids {
                let side = side(said.entry(sid.clone()).or_default());
                let side = side.get_or_insert_with(|| SideSaid::bare(in_list()));
                match &side.status {
                    Status::Affected(_) => {}
                    Status::Unknown(Some(word)) => side.status = Status::Affected(word.clone()),
                    Status::Unknown(None) | Status::Ok => side.status = in_list(),
                }
            }
        };
        in_lists(&listed.incoming_affected, |said| &mut said.incoming);
        in_lists(&listed.outgoing_affected, |said| &mut said.outgoing);
        let rest = if account.is_unknown() {
            Status::Unknown(None)
        } else {
            Status::Ok
        };
        for said in said.values_mut() {
            for side in [&mut said.incoming, &mut said.outgoing] {
                side.get_or_insert_with(|| SideSaid::bare(rest.clone()));
            }
        }
        Self { at, account, said }
    }

    /// What it says of the ExoPhones that it does not name. `CRITICAL` is about all of them: one that it leaves out is
    /// one that it does not watch, and nothing is said of it. `WARNING` and `CRITICAL` that name nobody say that
    /// something is wrong and not where: unknown.
    pub fn others(&self) -> Option<Status> {
        let unknown = Some(Status::Unknown(None));
        match self.account {
            AccountStatus::Ok => Some(Status::Ok),
            AccountStatus::PayloadTooLarge | AccountStatus::Unknown(_) => unknown,
            AccountStatus::Warning | AccountStatus::Critical if self.said.is_empty() => unknown,
            AccountStatus::Warning => Some(Status::Ok),
            AccountStatus::Critical => None,
        }
    }
}
