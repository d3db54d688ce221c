//! The ExoPhone that a call should show: the configured one, unless calls from it are known not to go through.

use super::{ExoPhone, Health, number_end};
use crate::{
    ids::ExoPhoneSid,
    phone::{Country, PhoneNumber},
};

/// Why a call shows the ExoPhone that it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// It is the configured one, and nothing speaks against it.
    Configured,
    /// It is the configured one: it is affected, and no other is known to be better.
    NoneBetter,
    /// It is one of the alternates that the team names.
    Preferred,
    /// Exotel proposes it.
    Proposed,
    /// It is another one of the account.
    Another,
}

impl Health {
    /// The caller id for a call now: `configured`, unless its outgoing side is affected and another ExoPhone is known
    /// to be ok. Others are tried in this order: `preferred`, Exotel's own proposal, the rest of the account. What is
    /// unknown is neither passed over nor taken instead. To be asked of a state that was aged.
    pub fn caller_id(
        &self,
        configured: &PhoneNumber,
        preferred: &[PhoneNumber],
        country: Country,
    ) -> (PhoneNumber, Choice) {
        let own = self.phone_named(configured.as_str());
        let own = own.and_then(|(_, phone)| phone.outgoing.as_ref());
        let Some(own) = own.filter(|side| side.said.status.is_affected()) else {
            return (configured.clone(), Choice::Configured);
        };
        let number = |(sid, phone): (&ExoPhoneSid, &ExoPhone)| {
            let written = phone.number.as_deref().unwrap_or(sid.as_str());
            PhoneNumber::parse(written, country).ok()
        };
        let healthy = |found: &(&ExoPhoneSid, &ExoPhone)| {
            let outgoing = found.1.outgoing.as_ref();
            found.1.has_voice() && outgoing.is_some_and(|side| side.said.status.is_ok())
        };
        let other = |found| number(found).filter(|number| number != configured);
        for preferred in preferred {
            let found = self.phone_named(preferred.as_str()).filter(healthy);
            if let Some(number) = found.and_then(other) {
                return (number, Choice::Preferred);
            }
        }
        for proposed in &own.said.alternates {
            let found = self.phone_named(proposed).filter(healthy);
            if let Some(number) = found.and_then(other) {
                return (number, Choice::Proposed);
            }
        }
        // Of the others, only those that are listed as taking calls; first those that can be called back.
        let others = || {
            self.phones
                .iter()
                .filter(healthy)
                .filter(|(_, phone)| phone.voice == Some(true))
        };
        let both = others().filter(|(_, phone)| !phone.is_affected()).find_map(other);
        match both.or_else(|| others().find_map(other)) {
            Some(number) => (number, Choice::Another),
            None => (configured.clone(), Choice::NoneBetter),
        }
    }

    /// The ExoPhone with this sid, or this number in any form.
    pub fn phone_named(&self, text: &str) -> Option<(&ExoPhoneSid, &ExoPhone)> {
        let by_sid = text.parse().ok().and_then(|sid| self.phones.get_key_value(&sid));
        by_sid.or_else(|| {
            let end = number_end(text)?;
            self.phones.iter().find(|(sid, phone)| {
                let written = phone.number.as_deref().unwrap_or(sid.as_str());
                number_end(written).as_deref() == Some(&end)
            })
        })
    }
}
