//! The team's numbers at Exotel: added, changed and removed by people, with the URL that each one's applet dials.

use domain::{
    ids::DidId,
    integration::{BotId, Did, Lack, MOST_DIDS, Sockets},
    phone::{Country, PhoneNumber},
    voicebot::bots::Bots,
};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use table::{Table, dids::DidWritten};

use crate::ServiceError;

/// How often a change that meets another one is tried.
const TRIES: usize = 3;

/// A number to be added.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewDid {
    /// In any usual form.
    pub number: String,
    /// Empty is none, as with the rest.
    #[serde(default)]
    pub label: Option<String>,
    /// The bot that answers its calls.
    #[serde(default)]
    pub bot_id: Option<String>,
    /// The flow that a test call runs.
    #[serde(default)]
    pub flow_url: Option<String>,
}

/// What is to change of a number. A field that is left out stays; `null` and an empty text remove what was there.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DidChange {
    /// In any usual form; it cannot be removed.
    #[serde(default, deserialize_with = "given")]
    pub number: Option<Option<String>>,
    /// What people call it.
    #[serde(default, deserialize_with = "given")]
    pub label: Option<Option<String>>,
    /// The bot that answers its calls.
    #[serde(default, deserialize_with = "given")]
    pub bot_id: Option<Option<String>>,
    /// The flow that a test call runs.
    #[serde(default, deserialize_with = "given")]
    pub flow_url: Option<Option<String>>,
}

/// Tells `null` from a field that is not there.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A number as those who set it up see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DidView {
    #[serde(flatten)]
    did: Shown,
    flow_url: Option<String>,
    websocket_url: String,
}

/// What a number is to whoever sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Shown {
    id: DidId,
    number: PhoneNumber,
    label: Option<String>,
    bot_id: Option<String>,
}

impl From<&Did> for Shown {
    fn from(did: &Did) -> Self {
        Self {
            id: did.id.clone(),
            number: did.number.clone(),
            label: did.label.as_ref().map(ToString::to_string),
            bot_id: did.bot_id.as_ref().map(ToString::to_string),
        }
    }
}

impl DidView {
    /// The number, with the URL to paste into Exotel's Voicebot applet.
    pub fn new(did: &Did, sockets: &Sockets) -> Self {
        Self {
            did: did.into(),
            flow_url: did.flow_url.as_ref().map(ToString::to_string),
            websocket_url: sockets.url_of(did.bot_id.as_ref()),
        }
    }
}

/// A number as those who try it out see it: no URLs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestCallOption {
    #[serde(flatten)]
    did: Shown,
    test_ready: bool,
    missing: Vec<Lack>,
}

impl TestCallOption {
    /// The number, and whether a test call of it can be placed.
    pub fn new(did: &Did, has_credentials: bool) -> Self {
        let missing = did.lacks(has_credentials);
        Self {
            did: did.into(),
            test_ready: missing.is_empty(),
            missing,
        }
    }
}

/// The use cases of the team's numbers.
#[derive(Debug, Clone)]
pub struct Dids {
    table: Table,
    country: Country,
    bots: Option<Bots>,
}

impl Dids {
    /// Over this table; numbers without a country code are `country`'s. A number's bot is one of `bots`, or any when the
    /// team's media servers may have more.
    pub fn new(table: Table, country: Country, bots: Option<Bots>) -> Self {
        Self { table, country, bots }
    }

    /// All numbers, in the order in which they were added.
    ///
    /// # Errors
    /// When the table fails.
    pub async fn list(&self) -> Result<Vec<Did>, ServiceError> {
        Ok(self.table.dids().await?)
    }

    /// One number.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`].
    pub async fn get(&self, id: &DidId) -> Result<Did, ServiceError> {
        self.table.did(id).await?.ok_or(ServiceError::NotFound)
    }

    /// Adds a number. `random` gives the last bits of its id.
    ///
    /// # Errors
    /// A field that cannot be used; [`ServiceError::Conflict`] for a number that is there, or one too many.
    pub async fn add(&self, new: &NewDid, now: Timestamp, random: u128) -> Result<Did, ServiceError> {
        let did = Did {
            id: DidId::new(now, random),
            number: self.number(Some(&new.number))?,
            label: read("label", new.label.as_deref())?,
            bot_id: self.bot_id(new.bot_id.as_deref())?,
            flow_url: read("flow_url", new.flow_url.as_deref())?,
        };
        if self.table.dids().await?.len() >= MOST_DIDS {
            return Err(ServiceError::Conflict("there are 500 DIDs, remove one first"));
        }
        match self.table.add_did(&did).await? {
            DidWritten::Done => Ok(did),
            DidWritten::NumberTaken | DidWritten::Changed => Err(TAKEN),
        }
    }

    /// Changes a number.
    ///
    /// # Errors
    /// As [`Dids::add`], and [`ServiceError::NotFound`].
    pub async fn change(&self, id: &DidId, change: &DidChange) -> Result<Did, ServiceError> {
        for _ in 0..TRIES {
            let before = self.get(id).await?;
            let mut after = before.clone();
            if let Some(number) = &change.number {
                after.number = self.number(number.as_deref())?;
            }
            if let Some(label) = &change.label {
                after.label = read("label", label.as_deref())?;
            }
            if let Some(bot_id) = &change.bot_id {
                after.bot_id = self.bot_id(bot_id.as_deref())?;
            }
            if let Some(flow_url) = &change.flow_url {
                after.flow_url = read("flow_url", flow_url.as_deref())?;
            }
            if after == before {
                return Ok(after);
            }
            match self.table.change_did(&before, &after).await? {
                DidWritten::Done => return Ok(after),
                DidWritten::NumberTaken => return Err(TAKEN),
                DidWritten::Changed => {}
            }
        }
        Err(BUSY)
    }

    /// Removes a number.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`].
    pub async fn remove(&self, id: &DidId) -> Result<(), ServiceError> {
        for _ in 0..TRIES {
            let did = self.get(id).await?;
            if self.table.remove_did(&did).await? == DidWritten::Done {
                return Ok(());
            }
        }
        Err(BUSY)
    }

    fn number(&self, text: Option<&str>) -> Result<PhoneNumber, ServiceError> {
        PhoneNumber::parse(text.unwrap_or_default(), self.country)
            .map_err(|error| ServiceError::field("number", error))
    }

    fn bot_id(&self, text: Option<&str>) -> Result<Option<BotId>, ServiceError> {
        let bot_id: Option<BotId> = read("bot_id", text)?;
        match (&bot_id, &self.bots) {
            (Some(name), Some(bots)) if bots.get(name.as_str()).is_none() => {
                let message = format!("there is no such bot; there are {}", bots.names());
                Err(ServiceError::field("bot_id", message))
            }
            _ => Ok(bot_id),
        }
    }
}

const TAKEN: ServiceError = ServiceError::Conflict("another DID has this number");
const BUSY: ServiceError = ServiceError::Conflict("somebody else is changing this DID, try again");

/// A field's text; nothing, or nothing but spaces, is none.
fn read<T: std::str::FromStr<Err = domain::DomainError>>(
    field: &'static str,
    text: Option<&str>,
) -> Result<Option<T>, ServiceError> {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    text.map(str::parse)
        .transpose()
        .map_err(|error| ServiceError::field(field, error))
}
