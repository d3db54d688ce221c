//! What is known of a stream besides its session: whom the bot talks to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{CallSid, VoiceSessionId};

/// What a bot is told of its call. It is written when the socket opens, and once more when the stream begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamContext {
    /// The record that tells of this call when it is over.
    pub voice_session: VoiceSessionId,
    /// Which bot answers.
    pub bot_id: String,
    /// What Exotel's `start` says; `None` before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<StreamCall>,
    /// Messages so far that nothing came of.
    #[serde(default)]
    pub ignored: u32,
}

/// What Exotel's `start` says of the call. Numbers are as Exotel writes them; in a call of ours to a bot, `from` and
/// `to` may be one number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamCall {
    /// `start.call_sid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_sid: Option<CallSid>,
    /// `start.from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// `start.to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// `start.custom_parameters`, without what let the socket in.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_parameters: BTreeMap<String, String>,
}
