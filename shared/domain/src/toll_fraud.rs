//! What a stolen login cannot do: ring numbers abroad, or ring all day.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use phonenumber::{Type, metadata::DATABASE};

use crate::phone::{Country, PhoneNumber};

/// Which numbers may be rung at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destinations {
    /// Ordinary numbers of one country: the account's. Premium-rate and shared-cost numbers are not among them.
    Country(Country),
    /// Numbers that begin with one of these, each `+` and digits.
    Prefixes(Vec<String>),
}

impl Destinations {
    /// The given prefixes, or without any, the account's country.
    pub fn new(country: Country, prefixes: Vec<String>) -> Self {
        if prefixes.is_empty() {
            Destinations::Country(country)
        } else {
            Destinations::Prefixes(prefixes)
        }
    }

    /// Whether the number may be rung.
    pub fn allow(&self, number: &PhoneNumber) -> bool {
        match self {
            Destinations::Prefixes(prefixes) => prefixes
                .iter()
                .any(|prefix| number.as_str().starts_with(prefix.as_str())),
            // Countries share calling codes (+1 is 25 of them), so the code alone says too little.
            Destinations::Country(country) => phonenumber::parse(None, number.as_str()).is_ok_and(|number| {
                number.country().id() == Some(*country)
                    && !matches!(
                        number.number_type(&DATABASE),
                        Type::PremiumRate | Type::SharedCost
                    )
            }),
        }
    }
}

/// Whose calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counted {
    /// One user's.
    User,
    /// Those to one lead.
    Lead,
    /// All of the account's.
    Account,
}

/// The most calls of one [`Counted`] in an hour and in a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// In one hour of the clock; `None` counts days only.
    pub per_hour: Option<u32>,
    /// In one day of the display zone.
    pub per_day: u32,
}

/// The most calls of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Of one user.
    pub user: Quota,
    /// To one lead.
    pub lead: Quota,
    /// Of the account.
    pub account: Quota,
}

/// The hour and the day that a call counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The day in the display zone.
    pub day: Date,
    /// Its hour, 0 to 23.
    pub hour: i8,
}

impl Period {
    /// The period of an instant.
    pub fn at(now: Timestamp, zone: &TimeZone) -> Self {
        let local = zone.to_datetime(now);
        Self {
            day: local.date(),
            hour: local.hour(),
        }
    }
}

/// Which quota is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// The hour's.
    Hour,
    /// The day's.
    Day,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> PhoneNumber {
        text.parse().unwrap()
    }

    #[test]
    fn by_default_only_ordinary_numbers_of_the_accounts_country_are_rung() {
        let india = Destinations::new(Country::IN, vec![]);
        for good in ["+919811100002", "+918045550100"] {
            assert!(india.allow(&number(good)), "{good}");
        }
        // Singapore, Somalia, a satellite network, an Indian premium-rate line.
        for bad in [
            "+6591234567",
            "+252611234567",
            "+881612345678",
            "+911861123456789",
        ] {
            assert!(!india.allow(&number(bad)), "{bad}");
        }
    }

    #[test]
    fn a_calling_code_that_countries_share_allows_one_of_them() {
        let usa = Destinations::new(Country::US, vec![]);
        assert!(usa.allow(&number("+12015550123")));
        // Jamaica, known for one-ring fraud.
        assert!(!usa.allow(&number("+18765550123")));
    }

    #[test]
    fn prefixes_replace_the_country() {
        let some = Destinations::new(Country::IN, vec!["+65".to_owned(), "+9180".to_owned()]);
        assert!(some.allow(&number("+6591234567")) && some.allow(&number("+918045550100")));
        assert!(!some.allow(&number("+919811100002")));
    }

    #[test]
    fn a_day_begins_at_midnight_where_the_team_lives() {
        let india = TimeZone::get("Asia/Kolkata").unwrap();
        let period = Period::at("2026-11-20T18:45:00Z".parse().unwrap(), &india);
        assert_eq!(
            (period.day.to_string(), period.hour),
            ("2026-11-21".to_owned(), 0)
        );
    }
}
