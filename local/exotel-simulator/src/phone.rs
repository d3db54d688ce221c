//! Numbers as Exotel takes them in and gives them out: any usual Indian form in, national with a leading 0 out.

use serde::{Deserialize, Serialize};

/// A number (or `sip:` address) in the form in which Exotel's answers and callbacks carry it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Number(String);

impl Number {
    /// Reads a number: `+91…`, `0091…`, `91…`, `0…`, bare ten digits, with spaces and dashes; `sip:` addresses
    /// as they are; other countries with `+`. `None` for what can be no number.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() > 4 && text.starts_with("sip:") {
            return Some(Self(text.to_owned()));
        }
        let plus = text.starts_with('+');
        let mut digits = String::new();
        for c in text.trim_start_matches('+').chars() {
            match c {
                '0'..='9' => digits.push(c),
                ' ' | '-' | '(' | ')' | '.' => {}
                _ => return None,
            }
        }
        let international = match digits.strip_prefix("00") {
            Some(rest) if !plus => Some(rest.to_owned()),
            _ => plus.then(|| digits.clone()),
        };
        match international {
            Some(number) => match number.strip_prefix("91") {
                Some(national) => Self::national(national),
                None => (8..=15)
                    .contains(&number.len())
                    .then(|| Self(format!("+{number}"))),
            },
            None if digits.len() == 12 => digits.strip_prefix("91").and_then(Self::national),
            None => Self::national(digits.strip_prefix('0').unwrap_or(&digits)),
        }
    }

    fn national(digits: &str) -> Option<Self> {
        (digits.len() == 10 && !digits.starts_with('0')).then(|| Self(format!("0{digits}")))
    }

    /// The number as Exotel writes it, e.g. `09811100002`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number in E.164, as v2 and v3 write it; `sip:` addresses as they are.
    pub fn e164(&self) -> String {
        match self.0.strip_prefix('0') {
            Some(national) => format!("+91{national}"),
            None => self.0.clone(),
        }
    }

    /// Whether the digits end in `suffix`.
    pub fn ends_with(&self, suffix: &str) -> bool {
        self.0.ends_with(suffix)
    }

    /// `******` and the last four digits, for logs.
    pub fn masked(&self) -> String {
        let cut = self.0.char_indices().rev().nth(3).map_or(0, |(at, _)| at);
        format!("******{}", &self.0[cut..])
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_indian_form_comes_out_national_with_a_zero() {
        for text in [
            "+919811100002",
            "00919811100002",
            "919811100002",
            "09811100002",
            "9811100002",
            "+91 98111-00002",
        ] {
            assert_eq!(Number::parse(text).unwrap().as_str(), "09811100002", "{text}");
        }
        assert_eq!(Number::parse("08045550100").unwrap().as_str(), "08045550100");
        assert_eq!(Number::parse("08045550100").unwrap().e164(), "+918045550100");
    }

    #[test]
    fn other_countries_and_sip_addresses_stay_as_they_are() {
        assert_eq!(Number::parse("+6591234567").unwrap().as_str(), "+6591234567");
        assert_eq!(
            Number::parse("sip:agent1@acme1").unwrap().as_str(),
            "sip:agent1@acme1"
        );
        assert_eq!(Number::parse("+6591234567").unwrap().e164(), "+6591234567");
        assert_eq!(
            Number::parse("sip:agent1@acme1").unwrap().e164(),
            "sip:agent1@acme1"
        );
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "",
            "12345",
            "hello",
            "+91981110",
            "098111000021",
            "sip:",
            "98111 0000x",
        ] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }
}
