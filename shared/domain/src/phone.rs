//! Phone numbers: one canonical E.164 form, understood from every way people and Exotel write them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::DomainError;

/// An ISO 3166 country, needed to read numbers written without a country code.
pub use phonenumber::country::Id as Country;

/// A valid phone number in E.164 (`+919811100001`). `Debug` shows its last 4 digits only, so that it is safe in
/// logs; `Display` and serde give the whole number.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// Reads a number as people and Exotel write it: E.164, national with a leading 0, with `91`, `0091` or
    /// nothing before it, landlines with STD code, with spaces, dashes, dots and brackets. `country` is the
    /// account's: numbers without a country code are its.
    ///
    /// # Errors
    /// [`DomainError::Phone`] when it is no valid number of any country.
    pub fn parse(text: &str, country: Country) -> Result<Self, DomainError> {
        let text = text.trim();
        if text.len() > 40 || !text.bytes().any(|b| b.is_ascii_digit()) {
            return Err(DomainError::Phone);
        }
        // Only what a number is written with; letters ("vanity" numbers, extensions) are somebody's mistake here.
        if !text
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '+' | ' ' | '-' | '.' | '(' | ')' | '\u{a0}'))
        {
            return Err(DomainError::Phone);
        }
        let number = phonenumber::parse(Some(country), text).map_err(|_| DomainError::Phone)?;
        if !phonenumber::is_valid(&number) {
            return Err(DomainError::Phone);
        }
        Ok(Self(number.format().mode(phonenumber::Mode::E164).to_string()))
    }

    /// The number in E.164.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last four digits: all that a log may show.
    pub fn last4(&self) -> &str {
        &self.0[self.0.len() - 4..]
    }
}

impl FromStr for PhoneNumber {
    type Err = DomainError;

    /// Takes only the canonical form, as we store it: `+` and 8 to 15 digits. For what people type, use
    /// [`PhoneNumber::parse`].
    fn from_str(text: &str) -> Result<Self, DomainError> {
        let digits = text.strip_prefix('+').ok_or(DomainError::Phone)?;
        if (8..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(DomainError::Phone)
        }
    }
}

impl TryFrom<String> for PhoneNumber {
    type Error = DomainError;
    fn try_from(text: String) -> Result<Self, DomainError> {
        text.parse()
    }
}

impl From<PhoneNumber> for String {
    fn from(number: PhoneNumber) -> String {
        number.0
    }
}

impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "…{}", self.last4())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_way_of_writing_an_indian_number_gives_one_form() {
        for text in [
            "+919811100001",
            "919811100001",
            "00919811100001",
            "09811100001",
            "9811100001",
            "98111 00001",
            "98111-00001",
            " +91 (98111) 00001 ",
        ] {
            assert_eq!(
                PhoneNumber::parse(text, Country::IN).unwrap().as_str(),
                "+919811100001",
                "{text}"
            );
        }
        for text in ["08045550100", "+918045550100", "080-4555-0100", "8045550100"] {
            assert_eq!(
                PhoneNumber::parse(text, Country::IN).unwrap().as_str(),
                "+918045550100",
                "{text}"
            );
        }
    }

    #[test]
    fn a_number_with_another_country_code_keeps_it() {
        assert_eq!(
            PhoneNumber::parse("+6591234567", Country::IN).unwrap().as_str(),
            "+6591234567"
        );
        assert_eq!(
            PhoneNumber::parse("91234567", Country::SG).unwrap().as_str(),
            "+6591234567"
        );
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "",
            "+",
            "12345",
            "1234567890123456",
            "98111x0001",
            "0000000000",
            "+910000000000",
            "1800FLOWERS",
            "٩٨١١١٠٠٠٠١",
        ] {
            assert!(PhoneNumber::parse(text, Country::IN).is_err(), "{text}");
        }
    }

    #[test]
    fn debug_shows_four_digits() {
        assert_eq!(
            format!("{:?}", "+919811100001".parse::<PhoneNumber>().unwrap()),
            "…0001"
        );
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_is_idempotent(text in "\\PC{0,50}|[+0-9 ()-]{0,20}") {
            if let Ok(number) = PhoneNumber::parse(&text, Country::IN) {
                prop_assert_eq!(PhoneNumber::parse(number.as_str(), Country::IN).unwrap(), number.clone());
                prop_assert_eq!(number.as_str().parse::<PhoneNumber>().unwrap(), number);
            }
        }

        #[test]
        fn exotels_national_echo_is_the_same_number(tail in "[6-9][0-9]{9}") {
            let sent = PhoneNumber::parse(&format!("+91{tail}"), Country::IN);
            let echoed = PhoneNumber::parse(&format!("0{tail}"), Country::IN);
            prop_assert_eq!(sent, echoed);
        }
    }
}
