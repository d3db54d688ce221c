//! Calls between users and customers (CCM, voice v2 and v3): what became of them.
//!
//! CCM knows agents and customers where v1 knows two legs, and has words of its own. They are kept, and
//! [`CcmStatus::in_v1`] says what they mean in v1's.

#[cfg(feature = "client")]
mod details;

use serde::{Deserialize, Serialize};

#[cfg(feature = "client")]
pub use self::details::GetCcmCall;
use crate::callback::Leg;
use crate::fields::Fields;
use crate::{
    CallSid, CallStatus, CcmState, CcmStatus, Direction, ExotelTime, InvalidSid, PhoneNumber, PrivateUrl,
};

/// A CCM call, from its details or its callback. Only the sid is certain.
///
/// Both spellings are read: `call_sid`, `call_state`, `call_status` as in the field, `sid`, `state`, `status` as in the
/// portal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CcmCall {
    /// Exotel's id of the call, of the same kind as v1's.
    pub sid: CallSid,
    /// `inbound` or `outbound`; the second is kept as [`Direction::Other`], see [`CcmCall::v1_direction`].
    pub direction: Option<Direction>,
    /// The ExoPhone.
    pub virtual_number: Option<PhoneNumber>,
    /// Whether the call is over; it stays `active` while it is being processed.
    pub state: Option<CcmState>,
    /// What became of it; none while it lasts.
    pub status: Option<CcmStatus>,
    /// When it was placed.
    pub created_time: Option<ExotelTime>,
    /// When its record last changed.
    pub updated_time: Option<ExotelTime>,
    /// When it began.
    pub start_time: Option<ExotelTime>,
    /// When it ended.
    pub end_time: Option<ExotelTime>,
    /// Length of the whole call in seconds.
    pub total_duration_secs: Option<u32>,
    /// Seconds both parties talked.
    pub talk_secs: Option<u32>,
    /// Who was called first: the user.
    pub agent: CcmParty,
    /// Who was called second.
    pub customer: CcmParty,
    /// The recordings, by their http(s) URLs.
    pub recordings: Vec<PrivateUrl>,
    /// What the request's `custom_field` said.
    pub custom_field: Option<String>,
    /// Keys that were pressed, separated by hyphens.
    pub digits: Option<String>,
    /// The flow, where one ran.
    pub app_id: Option<String>,
    /// Its name.
    pub app_name: Option<String>,
}

/// One party of a CCM call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CcmParty {
    /// Exotel's id of the user; agents have one.
    pub user_id: Option<String>,
    /// The user's name; in callbacks.
    pub name: Option<String>,
    /// The number or SIP address that was dialled.
    pub contact_uri: Option<PhoneNumber>,
    /// What became of this party's leg, in v1's words; in callbacks.
    pub status: Option<CallStatus>,
}

/// What a CCM status means in v1's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V1Meaning {
    /// The call.
    pub status: CallStatus,
    /// Leg 1, the agent; none if it was not tried or nothing is known of it.
    pub leg1: Option<CallStatus>,
    /// Leg 2, the customer; none if it was not tried or nothing is known of it.
    pub leg2: Option<CallStatus>,
}

impl CcmStatus {
    /// The same in v1's words, leg 1 being the agent, who is called first.
    ///
    /// | CCM, v2 and v3 | call | leg 1 | leg 2 |
    /// |---|---|---|---|
    /// | `completed` | `completed` | `completed` | `completed` |
    /// | `agent_unanswered`, `from_leg_unanswered` | `no-answer` | `no-answer` | not tried |
    /// | `customer_unanswered`, `to_leg_unanswered` | `no-answer` | `completed` | `no-answer` |
    /// | `agent_canceled`, `from_leg_cancelled` | `canceled` | `canceled` | not known |
    /// | `customer_no_dial`, `to_leg_no_dial` | `failed` | `completed` | not tried |
    /// | `agent_no_dial`, `from_leg_no_dial` | `failed` | not tried | not tried |
    /// | another word | v1's word if it is one, else the word itself | not known | not known |
    ///
    /// v1 calls a call `completed` once leg 1 has picked up, whether or not the customer did; here a customer who did not
    /// pick up makes it `no-answer`, because that is what CCM says. Exotel does not say whether the customer's phone rang
    /// before an agent gave up, nor why a party was not dialled: a call that could not be placed is `failed` in v1, and
    /// when the customer's leg is the one that was not dialled the agent had picked up.
    pub fn in_v1(&self) -> V1Meaning {
        use CallStatus::{Canceled, Completed, Failed, NoAnswer};
        let (status, leg1, leg2) = match self {
            Self::Completed => (Completed, Some(Completed), Some(Completed)),
            Self::AgentUnanswered | Self::FromLegUnanswered => (NoAnswer, Some(NoAnswer), None),
            Self::CustomerUnanswered | Self::ToLegUnanswered => (NoAnswer, Some(Completed), Some(NoAnswer)),
            Self::AgentCanceled | Self::FromLegCancelled => (Canceled, Some(Canceled), None),
            Self::CustomerNoDial | Self::ToLegNoDial => (Failed, Some(Completed), None),
            Self::AgentNoDial | Self::FromLegNoDial => (Failed, None, None),
            Self::Other(word) => (CallStatus::from_wire(word), None, None),
        };
        V1Meaning { status, leg1, leg2 }
    }
}

impl CcmCall {
    /// The call's state in v1's words: what its status means, `in-progress` while it lasts, none if Exotel says neither.
    ///
    /// A call that is still being processed has its status already, and that counts.
    pub fn v1_status(&self) -> Option<CallStatus> {
        match (&self.status, &self.state) {
            (Some(status), _) => Some(status.in_v1().status),
            (None, Some(CcmState::Active)) => Some(CallStatus::InProgress),
            (None, _) => None,
        }
    }

    /// The two legs in v1's words: what Exotel says of a party, else what the call's status means for it. Empty if
    /// nothing is known of either.
    pub fn v1_legs(&self) -> Vec<Leg> {
        let (leg1, leg2) = match &self.status {
            Some(status) => {
                let meaning = status.in_v1();
                (meaning.leg1, meaning.leg2)
            }
            None => (None, None),
        };
        let leg = |status: &Option<CallStatus>, meant: Option<CallStatus>| Leg {
            status: status.clone().or(meant),
            ..Leg::default()
        };
        let mut legs = vec![leg(&self.agent.status, leg1), leg(&self.customer.status, leg2)];
        // As in v1: a leg that was not tried is missing at the end.
        while legs.last().is_some_and(|leg| leg.status.is_none()) {
            legs.pop();
        }
        legs
    }

    /// The direction in v1's words: `outbound` is a call placed through the API, as all of CCM's are.
    pub fn v1_direction(&self) -> Option<Direction> {
        match &self.direction {
            Some(Direction::Other(word)) if word.trim().eq_ignore_ascii_case("outbound") => {
                Some(Direction::OutboundApi)
            }
            direction => direction.clone(),
        }
    }

    /// Reads the fields of one call.
    pub(crate) fn from_fields(fields: &Fields) -> Result<Self, Option<InvalidSid>> {
        let sid = fields
            .any(&["call_sid", "sid"])
            .ok_or(None)?
            .parse()
            .map_err(Some)?;
        let talk_secs = ["total_talk_time", "talk_time"]
            .iter()
            .find_map(|name| fields.count(name));
        Ok(Self {
            sid,
            direction: fields.text("direction").map(Direction::from_wire),
            virtual_number: fields.phone("virtual_number"),
            state: fields.any(&["call_state", "state"]).map(CcmState::from_wire),
            status: fields.any(&["call_status", "status"]).map(CcmStatus::from_wire),
            created_time: fields.time("created_time"),
            updated_time: fields.time("updated_time"),
            start_time: fields.time("start_time"),
            end_time: fields.time("end_time"),
            total_duration_secs: fields.count("total_duration"),
            talk_secs,
            agent: CcmParty::from_fields(fields, &["assigned_agent_details", "agent_details", "from"]),
            customer: CcmParty::from_fields(fields, &["customer_details", "to"]),
            recordings: recordings(fields),
            custom_field: fields.owned("custom_field"),
            digits: fields.owned("digits"),
            app_id: fields.owned("app_id"),
            app_name: fields.owned("app_name"),
        })
    }
}

impl CcmParty {
    fn from_fields(call: &Fields, places: &[&str]) -> Self {
        places
            .iter()
            .map(|place| {
                let fields = call.under(place);
                let contact = fields.any(&[
                    "contact_uri",
                    "user_contact_uri",
                    "customer_contact_uri",
                    "number",
                ]);
                Self {
                    user_id: fields.any(&["user_id", "id"]).map(str::to_owned),
                    name: fields.any(&["user_name", "name"]).map(str::to_owned),
                    // v1's flat numbers may stand where the object would.
                    contact_uri: contact.or_else(|| call.text(place)).map(PhoneNumber::from),
                    status: fields.any(&["status", "call_status"]).map(CallStatus::from_wire),
                }
            })
            .find(|party| *party != Self::default())
            .unwrap_or_default()
    }
}

/// `[{"url": …}]`, a list of URLs, or one URL.
fn recordings(fields: &Fields) -> Vec<PrivateUrl> {
    let listed = (0..fields.len_of("recordings")).flat_map(|n| {
        let name = format!("recordings[{n}]");
        let inside = fields.under(&name);
        ["url", "recording_url"]
            .iter()
            .find_map(|key| inside.web_url(key))
            .or_else(|| fields.web_url(&name))
    });
    let single = ["recordings", "recording_url"]
        .iter()
        .find_map(|name| fields.web_url(name));
    listed.chain(single).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: serde_json::Value) -> CcmCall {
        CcmCall::from_fields(&Fields::from_json(&value)).unwrap()
    }

    #[test]
    fn every_word_of_both_versions_has_a_meaning_in_v1() {
        for (words, status, legs) in [
            (&["completed"][..], "completed", ["completed", "completed"]),
            (
                &["agent_unanswered", "from_leg_unanswered"],
                "no-answer",
                ["no-answer", "-"],
            ),
            (
                &["customer_unanswered", "to_leg_unanswered"],
                "no-answer",
                ["completed", "no-answer"],
            ),
            (
                &["agent_canceled", "agent_cancelled", "from_leg_cancelled"],
                "canceled",
                ["canceled", "-"],
            ),
            (
                &["customer_no_dial", "to_leg_no_dial"],
                "failed",
                ["completed", "-"],
            ),
            (&["agent_no_dial", "from_leg_no_dial"], "failed", ["-", "-"]),
            (&["busy"], "busy", ["-", "-"]),
            (&["on_hold"], "on_hold", ["-", "-"]),
        ] {
            for word in words {
                let meaning = CcmStatus::from_wire(word).in_v1();
                let leg = |leg: &Option<CallStatus>| leg.as_ref().map_or("-", CallStatus::as_str).to_owned();
                assert_eq!(meaning.status.as_str(), status, "{word}");
                assert_eq!([leg(&meaning.leg1), leg(&meaning.leg2)], legs, "{word}");
            }
        }
        assert_eq!(
            CcmStatus::from_wire("Agent_Unanswered").as_str(),
            "agent_unanswered"
        );
        assert_eq!(CcmStatus::from_wire("on_hold").as_str(), "on_hold");
    }

    #[test]
    fn a_call_is_in_progress_until_it_has_a_status() {
        let status = |value: serde_json::Value| read(value).v1_status();
        assert_eq!(
            status(json!({"sid": "a", "call_state": "active", "call_status": null})),
            Some(CallStatus::InProgress)
        );
        assert_eq!(
            status(json!({"sid": "a", "state": "active", "status": "completed"})),
            Some(CallStatus::Completed)
        );
        assert_eq!(
            status(json!({"sid": "a", "state": "terminal", "status": null})),
            None
        );
        assert_eq!(status(json!({"sid": "a"})), None);
    }

    #[test]
    fn what_exotel_says_of_a_party_counts_more_than_what_the_status_means() {
        let call = read(
            json!({"call_sid": "a", "call_status": "customer_unanswered", "customer_details": {"status": "busy"}}),
        );
        let legs: Vec<_> = call.v1_legs().into_iter().map(|leg| leg.status).collect();
        assert_eq!(legs, [Some(CallStatus::Completed), Some(CallStatus::Busy)]);
        assert_eq!(read(json!({"sid": "a", "status": "agent_no_dial"})).v1_legs(), []);
    }

    #[test]
    fn recordings_of_any_form_are_read() {
        for value in [
            json!([{"url": "https://s3/a.mp3"}]),
            json!(["https://s3/a.mp3"]),
            json!("https://s3/a.mp3"),
            json!([{"url": null}, {"recording_url": "https://s3/a.mp3"}, "null"]),
        ] {
            let call = read(json!({"sid": "a", "recordings": value}));
            assert_eq!(call.recordings, ["https://s3/a.mp3".into()]);
        }
        assert_eq!(read(json!({"sid": "a", "recordings": null})).recordings, []);
    }
}
