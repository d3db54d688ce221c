//! What became of one SMS.

use serde::{Deserialize, Serialize};

use super::{Sms, read_sms};
use crate::answer::Answer;
use crate::error::{Reason, Refusal};
use crate::request::Request;
use crate::{Error, SmsSid};

/// Exotel's way of saying 404 here: status 200 with these words.
const NOTHING_FOUND: &str = "No matching results";

/// Reads one SMS. An unknown one is [`Error::NotFound`], although Exotel answers it with 200.
///
/// <https://developer.exotel.com/api/sms-details>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetSms {
    /// Which SMS.
    pub sid: SmsSid,
}

impl Request for GetSms {
    type Answer = Sms;

    fn path(&self) -> Vec<String> {
        vec![
            "SMS".to_owned(),
            "Messages".to_owned(),
            format!("{}.json", self.sid),
        ]
    }

    fn read(&self, answer: &Answer) -> Result<Sms, Error> {
        read_sms(&answer.tree().unwrap_or_default()).map_err(|unreadable| {
            let says = String::from_utf8_lossy(answer.body()).to_ascii_lowercase();
            if says.contains(&NOTHING_FOUND.to_ascii_lowercase()) {
                let message = Some(NOTHING_FOUND.to_owned());
                return Error::NotFound(Refusal {
                    status: answer.status(),
                    code: None,
                    message,
                    reason: Reason::NotFound,
                });
            }
            Error::unreadable(answer.status(), unreadable)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hundred_with_no_matching_results_is_not_found() {
        let read = |body: &str| {
            GetSms {
                sid: "a".parse().unwrap(),
            }
            .read(&Answer::new(200, body.as_bytes().to_vec()))
        };
        for body in [
            "No matching results",
            "\"No matching results\"",
            r#"{"Message":"No matching results."}"#,
            "<TwilioResponse>No matching results</TwilioResponse>",
        ] {
            assert!(matches!(read(body), Err(Error::NotFound(_))), "{body}");
        }
        let sms = read(r#"{"SMSMessage":{"Sid":"a","Body":"No matching results","Price":0.25,"DetailedStatusCode":"20005"}}"#).unwrap();
        assert_eq!(
            (sms.price.as_deref(), sms.detailed_status_code),
            (Some("0.25"), Some(20005))
        );
    }
}
