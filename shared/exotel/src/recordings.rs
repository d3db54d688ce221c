//! Where a call's recording is.
//!
//! Recordings lie on several hosts, some of them Amazon's. Exotel's credentials belong on Exotel's hosts only, and a
//! pre-signed link takes none at all: S3 refuses a request that is signed twice.

use serde::{Deserialize, Serialize};

use crate::answer::Answer;
use crate::calls::{Call, GetCall};
use crate::request::{FieldList, Request};
use crate::{CallSid, Error, PrivateUrl};

/// Reads where a call's recording is, with a link that needs no credentials.
///
/// The plain URL cannot be derived from the sid: the file often has another id. It is known before the file is there,
/// usually one to five minutes after the call, at times fifteen.
///
/// <https://developer.exotel.com/api/call-details>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetRecording {
    /// Which call.
    pub call_sid: CallSid,
    /// How long the pre-signed link works, in minutes, 5 to 60.
    pub validity_mins: u8,
}

/// Where a recording is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingLinks {
    /// The lasting URL as Exotel has it; some records still say `http` for hosts that answer `https`.
    pub recording_url: Option<PrivateUrl>,
    /// The link for the asked time, to be fetched without an `Authorization` header.
    pub pre_signed_url: Option<PrivateUrl>,
}

impl GetRecording {
    fn call(&self) -> GetCall {
        GetCall {
            sid: self.call_sid.clone(),
            details: false,
            recording_url_validity_mins: Some(self.validity_mins),
        }
    }
}

impl Request for GetRecording {
    type Answer = RecordingLinks;

    fn check(&self) -> Result<(), Error> {
        self.call().check()
    }

    fn path(&self) -> Vec<String> {
        self.call().path()
    }

    fn query(&self) -> FieldList {
        self.call().query()
    }

    fn read(&self, answer: &Answer) -> Result<RecordingLinks, Error> {
        self.call().read(answer).map(RecordingLinks::from)
    }
}

impl From<Call> for RecordingLinks {
    fn from(call: Call) -> Self {
        Self {
            recording_url: call.recording_url,
            pre_signed_url: call.pre_signed_recording_url,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_links_come_from_the_calls_details() {
        let request = GetRecording {
            call_sid: "a".parse().unwrap(),
            validity_mins: 5,
        };
        assert_eq!(request.query(), [("RecordingUrlValidity".into(), "5".to_owned())]);
        assert!(
            GetRecording {
                validity_mins: 4,
                ..request.clone()
            }
            .check()
            .is_err()
        );
        let read = |body: &str| request.read(&Answer::new(200, body.as_bytes().to_vec())).unwrap();
        let links = read(
            r#"{"Call":{"Sid":"a","RecordingUrl":"https://recordings.exotel.com/x.mp3","PreSignedRecordingUrl":"https://s3/x?X-Amz-Signature=1"}}"#,
        );
        assert_eq!(
            links.recording_url.as_deref(),
            Some("https://recordings.exotel.com/x.mp3")
        );
        assert_eq!(
            links.pre_signed_url.as_deref(),
            Some("https://s3/x?X-Amz-Signature=1")
        );
        assert_eq!(
            read(r#"{"Call":{"Sid":"a","RecordingUrl":"null"}}"#),
            RecordingLinks::default()
        );
    }
}
