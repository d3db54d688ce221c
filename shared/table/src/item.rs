//! What every item has, and the way between items and Rust values.

use aws_sdk_dynamodb::{operation::update_item::builders::UpdateItemFluentBuilder, types::AttributeValue};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    TableError,
    keys::{self, Attributes, Gsi1, Primary},
};

/// The version of items that this code writes.
pub(crate) const VERSION: u32 = 1;

/// What kind of item it is: the attribute `entity_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entity {
    Lead,
    Scope,
    User,
    Call,
    Sms,
    SmsBody,
    RawEvent,
    RawEventPointer,
    OpenCall,
    OpenSms,
    CallRecord,
    CallSummary,
    Unsettled,
    Position,
    Tally,
    MessageSummary,
    DirtyFigures,
    Figures,
    DayFigures,
    Rebuild,
    Export,
    Limit,
    Quota,
    Idempotency,
    Alert,
    OpenAlert,
    Exophones,
    HealthCheck,
    VoiceSession,
    VoicePlace,
    VoiceLine,
    StreamSession,
    StreamContext,
    StreamFrame,
    SocketOwner,
    Did,
    DidOfNumber,
}

impl Entity {
    /// The word in the item.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Entity::Lead => "lead",
            Entity::Scope => "scope",
            Entity::User => "user",
            Entity::Call => "call",
            Entity::Sms => "sms",
            Entity::SmsBody => "sms_body",
            Entity::RawEvent => "raw_event",
            Entity::RawEventPointer => "raw_event_pointer",
            Entity::OpenCall => "open_call",
            Entity::OpenSms => "open_sms",
            Entity::CallRecord => "call_record",
            Entity::CallSummary => "call_summary",
            Entity::Unsettled => "unsettled",
            Entity::Position => "position",
            Entity::Tally => "tally",
            Entity::MessageSummary => "message_summary",
            Entity::DirtyFigures => "dirty_figures",
            Entity::Figures => "figures",
            Entity::DayFigures => "day_figures",
            Entity::Rebuild => "rebuild",
            Entity::Export => "export",
            Entity::Limit => "limit",
            Entity::Quota => "quota",
            Entity::Idempotency => "idempotency",
            Entity::Alert => "alert",
            Entity::OpenAlert => "open_alert",
            Entity::Exophones => "exophones",
            Entity::HealthCheck => "health_check",
            Entity::VoiceSession => "voice_session",
            Entity::VoicePlace => "voice_place",
            Entity::VoiceLine => "voice_line",
            Entity::StreamSession => "stream_session",
            Entity::StreamContext => "stream_context",
            Entity::StreamFrame => "stream_frame",
            Entity::SocketOwner => "socket_owner",
            Entity::Did => "did",
            Entity::DidOfNumber => "did_of_number",
        }
    }
}

/// An item: its key, its place in the index, its kind and version, when it may go, and what `body` says.
pub(crate) fn item(
    entity: Entity,
    key: &Primary,
    gsi1: Option<Gsi1>,
    ttl: Option<i64>,
    body: &impl Serialize,
) -> Result<Attributes, TableError> {
    let mut item: Attributes =
        serde_dynamo::to_item(body).map_err(|e| TableError::corrupt(key.to_string(), e))?;
    item.extend(key.attributes());
    item.insert(
        keys::ENTITY_TYPE.to_owned(),
        AttributeValue::S(entity.as_str().to_owned()),
    );
    item.insert(keys::VERSION.to_owned(), AttributeValue::N(VERSION.to_string()));
    if let Some(gsi1) = gsi1 {
        item.insert(keys::GSI1PK.to_owned(), AttributeValue::S(gsi1.pk));
        item.insert(keys::GSI1SK.to_owned(), AttributeValue::S(gsi1.sk));
    }
    if let Some(ttl) = ttl {
        item.insert(keys::TTL.to_owned(), AttributeValue::N(ttl.to_string()));
    }
    Ok(item)
}

/// Gives the kind and version to an update that may be the item's first: its expression sets `#kind` and `#v`.
pub(crate) fn marked(update: UpdateItemFluentBuilder, entity: Entity) -> UpdateItemFluentBuilder {
    update
        .expression_attribute_names("#kind", keys::ENTITY_TYPE)
        .expression_attribute_names("#v", keys::VERSION)
        .expression_attribute_values(":kind", AttributeValue::S(entity.as_str().to_owned()))
        .expression_attribute_values(":v", AttributeValue::N(VERSION.to_string()))
}

/// The item's own key.
pub(crate) fn primary(item: &serde_dynamo::Item) -> Result<Primary, TableError> {
    match (text(item, keys::PK), text(item, keys::SK)) {
        (Some(pk), Some(sk)) => Ok(Primary::new(pk, sk)),
        _ => Err(TableError::corrupt("(no key)", "the item has no PK and SK")),
    }
}

/// A text attribute of the item.
pub(crate) fn text<'a>(item: &'a serde_dynamo::Item, attribute: &str) -> Option<&'a str> {
    match item.inner().get(attribute) {
        Some(serde_dynamo::AttributeValue::S(text)) => Some(text),
        _ => None,
    }
}

/// What the item's attributes say, besides its key.
pub(crate) fn body<T: DeserializeOwned>(item: serde_dynamo::Item, key: &Primary) -> Result<T, TableError> {
    serde_dynamo::from_item(item).map_err(|e| TableError::corrupt(key.to_string(), e))
}
