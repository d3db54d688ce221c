//! Items of any kind, read back: from an export, or from the table's stream.

use domain::{
    alert::Alert,
    call::Call,
    directory::{Lead, User},
    sms::Sms,
    voicebot::record::VoiceSession,
};

use crate::{
    HeldRecord, TableError, Transcribed, alerts, call_records, directory, events,
    events::RawEvent,
    item::{self, Entity},
    keys,
    placed::Placed,
    voice_sessions,
};

/// An item, by its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A lead row.
    Lead(Box<Lead>),
    /// A user.
    User(Box<User>),
    /// A call.
    Call(Box<Call>),
    /// An SMS. From the stream, `body` is empty when the text is long and stands in an item of its own.
    Sms(Box<Sms>),
    /// A raw event.
    RawEvent(Box<RawEvent>),
    /// A call's record.
    CallRecord(Box<HeldRecord>),
    /// An alert among those of its month; the entry of an open one is [`Record::Other`].
    Alert(Box<Alert>),
    /// A session with a bot, from the stream.
    VoiceSession(Box<VoiceSession>),
    /// A lead's session with a bot, from an export, with what was said.
    Transcribed(Box<Transcribed>),
    /// Anything else: places in lists, limits, a lead that is being erased.
    Other {
        /// Its `entity_type`, if it has one.
        entity_type: Option<String>,
    },
}

impl Record {
    /// Reads an item: a stream record's image (`aws_lambda_events` gives this type), or the SDK's map by `into()`.
    ///
    /// # Errors
    /// [`TableError::Corrupt`] when an item of a kind that we know has another form.
    pub fn from_item(item: serde_dynamo::Item) -> Result<Self, TableError> {
        let entity_type = item::text(&item, keys::ENTITY_TYPE).map(str::to_owned);
        let is = |entity: Entity| entity_type.as_deref() == Some(entity.as_str());
        if is(Entity::Lead) {
            if let Some(lead) = directory::decode_lead(item)? {
                return Ok(Record::Lead(Box::new(lead)));
            }
        } else if is(Entity::User) {
            return Ok(Record::User(Box::new(directory::decode_user(item)?)));
        } else if is(Entity::Call) {
            return Ok(Record::Call(Box::new(Call::decode(item)?.row)));
        } else if is(Entity::Sms) {
            return Ok(Record::Sms(Box::new(Sms::decode(item)?.row)));
        } else if is(Entity::RawEvent) {
            return Ok(Record::RawEvent(Box::new(events::decode(item)?)));
        } else if is(Entity::CallRecord) {
            return Ok(Record::CallRecord(Box::new(call_records::decode(item)?)));
        } else if is(Entity::Alert) {
            return Ok(Record::Alert(Box::new(alerts::from_image(item)?)));
        } else if is(Entity::VoiceSession) {
            return Ok(Record::VoiceSession(Box::new(voice_sessions::from_image(item)?)));
        }
        Ok(Record::Other { entity_type })
    }
}
