//! Calls with bots: where a call's stream goes, and what stays of it.

#[cfg(feature = "voicebot-connect")]
pub mod offers;
pub mod sessions;
