//! Whether calls get through to and from an ExoPhone, as HeartBeat and the ExoPhone's details report it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fields::{Fields, entry};
use crate::{ConnectivityStatus, ExotelTime, PhoneNumber};

/// The health of one ExoPhone. What Exotel does not say is unknown, and unknown is not healthy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExophoneHealth {
    /// Calls to the ExoPhone.
    pub incoming_call: Connectivity,
    /// Calls from the ExoPhone.
    pub outgoing_call: Connectivity,
}

/// Whether calls get through in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connectivity {
    /// None if Exotel does not say: unknown, never to be taken for [`ConnectivityStatus::Active`].
    pub status: Option<ConnectivityStatus>,
    /// When Exotel last looked.
    pub last_check_time: Option<ExotelTime>,
    /// ExoPhones that Exotel suggests instead, as it names them; usually none. Their form is unverified: a text, a list
    /// and objects with a number or a sid are understood.
    pub alternate: Vec<PhoneNumber>,
}

impl ExophoneHealth {
    /// Reads an object that has `incoming_call` and `outgoing_call`, itself or under `connectivity`.
    pub(crate) fn from_tree(exophone: &Value) -> Self {
        let connectivity = connectivity_of(exophone).unwrap_or(exophone);
        let direction = |name| {
            entry(connectivity, name)
                .map(Connectivity::from_tree)
                .unwrap_or_default()
        };
        Self {
            incoming_call: direction("incoming_call"),
            outgoing_call: direction("outgoing_call"),
        }
    }

    /// Whether an object says anything about connectivity.
    #[cfg(feature = "client")]
    pub(crate) fn is_in(exophone: &Value) -> bool {
        connectivity_of(exophone).is_some()
            || entry(exophone, "incoming_call").is_some()
            || entry(exophone, "outgoing_call").is_some()
    }
}

fn connectivity_of(exophone: &Value) -> Option<&Value> {
    entry(exophone, "connectivity").filter(|connectivity| connectivity.is_object())
}

impl Connectivity {
    fn from_tree(direction: &Value) -> Self {
        let fields = Fields::from_json(direction);
        let bare = direction
            .as_str()
            .map(str::trim)
            .filter(|word| !word.is_empty() && !word.eq_ignore_ascii_case("null"));
        Self {
            status: fields.text("status").or(bare).map(ConnectivityStatus::from_wire),
            last_check_time: fields.time("last_check_time"),
            alternate: ["alternate_exophone", "alternate_exophones"]
                .iter()
                .find_map(|name| entry(direction, name))
                .map(numbers)
                .unwrap_or_default(),
        }
    }
}

/// The ExoPhones that a value names: a text (with commas), an object with a number or a sid, or a list of these. What
/// names none, such as null or a flag, is left out.
pub(crate) fn numbers(value: &Value) -> Vec<PhoneNumber> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        Value::Object(_) => {
            let fields = Fields::from_json(value);
            let named = fields.any(&["phone_number_sid", "sid", "phone_number", "number", "exophone"]);
            named.map(PhoneNumber::from).into_iter().collect()
        }
        Value::String(text) => text
            .split(',')
            .map(str::trim)
            .filter(|number| !number.is_empty() && !number.eq_ignore_ascii_case("null"))
            .map(PhoneNumber::from)
            .collect(),
        Value::Number(number) => vec![PhoneNumber::from(number.to_string())],
        Value::Null | Value::Bool(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_exotel_does_not_say_is_unknown() {
        for silent in [
            json!(null),
            json!({}),
            json!([]),
            json!("active"),
            json!({"connectivity": null}),
            json!({"connectivity": {"incoming_call": null, "outgoing_call": {}}}),
            json!({"connectivity": {"incoming_call": {"status": null}, "outgoing_call": {"status": ""}}}),
            json!({"incoming_call": "null", "outgoing_call": {"status": "null"}}),
        ] {
            assert_eq!(
                ExophoneHealth::from_tree(&silent),
                ExophoneHealth::default(),
                "{silent}"
            );
        }
    }

    #[test]
    fn both_nestings_say_the_same() {
        let directions = json!({
            "incoming_call": {"status": "major_outage", "last_check_time": "2026-11-20T08:39:41Z", "alternate_exophone": "08045550101"},
            "outgoing_call": {"status": "active", "last_check_time": null, "alternate_exophone": null},
        });
        let bare = ExophoneHealth::from_tree(&directions);
        assert_eq!(
            ExophoneHealth::from_tree(&json!({"connectivity": directions})),
            bare
        );
        assert_eq!(bare.incoming_call.status, Some(ConnectivityStatus::MajorOutage));
        assert_eq!(bare.incoming_call.alternate, ["08045550101".into()]);
        assert_eq!(
            bare.outgoing_call,
            Connectivity {
                status: Some(ConnectivityStatus::Active),
                ..Connectivity::default()
            }
        );
    }

    #[test]
    fn an_unknown_word_is_neither_active_nor_an_outage() {
        let health = ExophoneHealth::from_tree(&json!({"incoming_call": {"status": "degraded"}}));
        assert_eq!(
            health.incoming_call.status,
            Some(ConnectivityStatus::Other("degraded".to_owned()))
        );
    }

    #[test]
    fn suggestions_of_any_form_are_read() {
        for (value, expected) in [
            (
                json!("08045550101, 08045550102"),
                vec!["08045550101", "08045550102"],
            ),
            (
                json!(["08045550101", null, {"sid": "08045550102"}]),
                vec!["08045550101", "08045550102"],
            ),
            (json!({"phone_number": "08045550101"}), vec!["08045550101"]),
            (json!(true), vec![]),
            (json!({"name": "x"}), vec![]),
        ] {
            let read: Vec<String> = numbers(&value)
                .into_iter()
                .map(PhoneNumber::into_string)
                .collect();
            assert_eq!(read, expected, "{value}");
        }
    }
}
