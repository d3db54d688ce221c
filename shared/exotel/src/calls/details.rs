//! What became of one call.

use serde::{Deserialize, Serialize};

use super::{Call, read_call};
use crate::answer::Answer;
use crate::request::{FieldList, FieldWriter, Request, invalid};
use crate::{CallSid, Error};

/// Reads one call.
///
/// End, duration and price settle some two minutes after the call; Exotel advises 10 to 15.
///
/// <https://developer.exotel.com/api/call-details>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetCall {
    /// Which call.
    pub sid: CallSid,
    /// Also talk time and legs.
    #[serde(default)]
    pub details: bool,
    /// Also a link to the recording that needs no credentials and works for this many minutes, 5 to 60.
    #[serde(default)]
    pub recording_url_validity_mins: Option<u8>,
}

impl GetCall {
    /// Asks for the call with talk time and legs.
    pub fn with_details(sid: CallSid) -> Self {
        Self {
            sid,
            details: true,
            recording_url_validity_mins: None,
        }
    }
}

impl Request for GetCall {
    type Answer = Call;

    fn check(&self) -> Result<(), Error> {
        check_validity(self.recording_url_validity_mins)
    }

    fn path(&self) -> Vec<String> {
        vec!["Calls".to_owned(), format!("{}.json", self.sid)]
    }

    fn query(&self) -> FieldList {
        let mut query = FieldWriter::default();
        query
            .set_some("details", self.details.then_some("true"))
            .set_some("RecordingUrlValidity", self.recording_url_validity_mins);
        query.finish()
    }

    fn read(&self, answer: &Answer) -> Result<Call, Error> {
        read_call(answer)
    }
}

pub(super) fn check_validity(minutes: Option<u8>) -> Result<(), Error> {
    if minutes.is_some_and(|minutes| !(5..=60).contains(&minutes)) {
        return invalid("RecordingUrlValidity", "must be 5 to 60 minutes");
    }
    Ok(())
}
