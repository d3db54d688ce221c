//! What Exotel knows about a phone number.

use serde::{Deserialize, Serialize};

use crate::answer::Answer;
use crate::fields::Fields;
use crate::request::{Request, check_present};
use crate::{Error, PhoneNumber};

/// Reads circle, operator and do-not-disturb state of an Indian number.
///
/// <https://support.exotel.com/support/articles/126130-metadata-about-a-phone-number>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetNumber {
    /// The number, E.164 or national.
    pub number: PhoneNumber,
}

/// What Exotel knows about a number; any of it may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberMetadata {
    /// The number in national form.
    pub phone_number: Option<PhoneNumber>,
    /// Telecom circle, such as `KA`.
    pub circle: Option<String>,
    /// Its name.
    pub circle_name: Option<String>,
    /// `Mobile` or `Landline`.
    pub line_type: Option<String>,
    /// Operator's code, such as `A`.
    pub operator: Option<String>,
    /// Its name.
    pub operator_name: Option<String>,
    /// Whether the number is on the do-not-disturb register; none if Exotel does not say.
    pub dnd: Option<bool>,
}

impl Request for GetNumber {
    type Answer = NumberMetadata;

    fn check(&self) -> Result<(), Error> {
        check_present("the number", &self.number)
    }

    fn path(&self) -> Vec<String> {
        vec!["Numbers".to_owned(), format!("{}.json", self.number.as_str())]
    }

    fn read(&self, answer: &Answer) -> Result<NumberMetadata, Error> {
        let tree = answer.tree().unwrap_or_default();
        let unreadable = || Error::unreadable(answer.status(), "the answer has no Numbers");
        let fields = Fields::from_json(
            tree.get("Numbers")
                .filter(|numbers| numbers.is_object())
                .ok_or_else(unreadable)?,
        );
        Ok(NumberMetadata {
            phone_number: fields.phone("PhoneNumber"),
            circle: fields.owned("Circle"),
            circle_name: fields.owned("CircleName"),
            line_type: fields.owned("Type"),
            operator: fields.owned("Operator"),
            operator_name: fields.owned("OperatorName"),
            dnd: fields.flag("DND"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_register_state_is_neither_yes_nor_no() {
        let dnd = |word: &str| {
            let body = format!(r#"{{"Numbers":{{"PhoneNumber":"09811100002","DND":{word}}}}}"#);
            GetNumber { number: "1".into() }
                .read(&Answer::new(200, body.into_bytes()))
                .unwrap()
                .dnd
        };
        assert_eq!(
            (dnd("\"Yes\""), dnd("\"No\""), dnd("null"), dnd("\"?\"")),
            (Some(true), Some(false), None, None)
        );
    }
}
