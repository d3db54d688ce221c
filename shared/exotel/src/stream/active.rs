//! How many streams an account has, and may have.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::answer::Answer;
use crate::fields::Fields;
use crate::request::Request;

/// Counts the account's streams. Exotel refuses a stream beyond the limit.
///
/// <https://docs.exotel.com/exotel-agentstream/more>
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetActiveStreams;

/// The streams of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveStreams {
    /// Streams under way.
    pub active: u32,
    /// How many there may be at once; none if Exotel does not say.
    pub limit: Option<u32>,
}

impl Request for GetActiveStreams {
    type Answer = ActiveStreams;

    fn path(&self) -> Vec<String> {
        vec!["ActiveStreams.json".to_owned()]
    }

    fn read(&self, answer: &Answer) -> Result<ActiveStreams, Error> {
        let tree = answer.tree().unwrap_or_default();
        // Documents disagree: an object inside `Stream`, or a flat one.
        let fields = Fields::from_json(tree.get("Stream").unwrap_or(&tree));
        let count = |names: [&str; 2]| names.iter().find_map(|name| fields.count(name));
        let unreadable = || Error::unreadable(answer.status(), "the answer has no ActiveStreamCount");
        Ok(ActiveStreams {
            active: count(["ActiveStreamCount", "active_streams"]).ok_or_else(unreadable)?,
            limit: count(["ThrottleLimit", "max_allowed_streams"]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_documented_forms_are_read() {
        let read = |body: &str| GetActiveStreams.read(&Answer::new(200, body.as_bytes().to_vec()));
        let three = ActiveStreams {
            active: 3,
            limit: Some(100),
        };
        for body in [
            "<TwilioResponse><Stream><ActiveStreamCount>3</ActiveStreamCount><ThrottleLimit>100</ThrottleLimit></Stream></TwilioResponse>",
            r#"{"Stream":{"ActiveStreamCount":"3","ThrottleLimit":"100"}}"#,
            r#"{"status":"success","active_streams":3,"max_allowed_streams":100,"account_sid":"acme1"}"#,
        ] {
            assert_eq!(read(body).unwrap(), three, "{body}");
        }
        for body in [
            "",
            "[]",
            "<html/>",
            r#"{"Stream":null}"#,
            r#"{"active_streams":"many"}"#,
        ] {
            assert!(read(body).is_err(), "{body}");
        }
    }
}
