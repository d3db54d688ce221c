//! A flat view of an answer or a callback: `Legs[0][Status]` to text, whatever the body's form was.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::time::ExotelTime;
use crate::values::{PhoneNumber, PrivateUrl};

/// Nothing Exotel sends is nested deeper than `Details[Legs][0][Leg][Id]`; deeper values are left out.
const DEEPEST: usize = 6;

/// A call has two legs, a flow a few more; entries behind are left out.
const LONGEST_ARRAY: usize = 16;

/// Named values of one body. Names are compared without case, `_` and `-`; a value that is empty, missing or the word
/// `null` is absent; numbers and numbers as text are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(BTreeMap<String, String>);

impl Fields {
    pub(crate) fn from_json(value: &Value) -> Self {
        let mut fields = Self::default();
        fields.insert_json(String::new(), value, 0);
        fields
    }

    /// Keeps a value unless it is an absent one. A later one replaces an earlier one.
    pub(crate) fn insert(&mut self, name: &str, value: &str) {
        let name = plain(name);
        // Form bodies carry arrays and objects as JSON text now and then (Exotel does it for `Stream`).
        let opening = match name.as_str() {
            "legs" => Some('['),
            "stream" => Some('{'),
            _ => None,
        };
        if opening.is_some_and(|opening| value.trim_start().starts_with(opening))
            && let Ok(inner) = serde_json::from_str(value)
        {
            return self.insert_json(name, &inner, 0);
        }
        if let Some(value) = present(value) {
            self.0.insert(name, value.to_owned());
        }
    }

    /// Takes over the values that `self` does not have.
    pub(crate) fn fill_from(&mut self, other: Self) {
        for (name, value) in other.0 {
            self.0.entry(name).or_insert(value);
        }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(&plain(name)).map(String::as_str)
    }

    /// The first of several names that has a value.
    pub(crate) fn any(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.text(name))
    }

    pub(crate) fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    pub(crate) fn phone(&self, name: &str) -> Option<PhoneNumber> {
        self.text(name).map(PhoneNumber::from)
    }

    pub(crate) fn time(&self, name: &str) -> Option<ExotelTime> {
        self.text(name).and_then(ExotelTime::from_wire)
    }

    /// A URL, if it is an `http` or `https` one.
    pub(crate) fn web_url(&self, name: &str) -> Option<PrivateUrl> {
        self.text(name).map(PrivateUrl::from).filter(PrivateUrl::is_http)
    }

    /// A decimal number such as an amount of money, as it came; absent if it is none.
    pub(crate) fn decimal(&self, name: &str) -> Option<String> {
        let text = self.text(name)?;
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let number = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') && digits.parse::<f64>().is_ok();
        number.then(|| text.to_owned())
    }

    /// `true` or `false`, also as `yes`, `no`, `1`, `0`; absent if it is neither.
    #[cfg(feature = "client")]
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        match self.text(name)?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Some(true),
            "false" | "no" | "0" => Some(false),
            _ => None,
        }
    }

    /// All names, in lower case and without `_` and `-`, and their values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A whole number of seconds or pieces; fractions are rounded, negative numbers are absent.
    pub(crate) fn count(&self, name: &str) -> Option<u32> {
        let text = self.text(name)?;
        text.parse().ok().or_else(|| {
            let number: f64 = text.parse().ok()?;
            (0.0..=f64::from(u32::MAX))
                .contains(&number)
                .then(|| number.round() as u32)
        })
    }

    /// The values under a prefix, by themselves: `Legs[0]` gives `Status`, `OnCallDuration`.
    pub(crate) fn under(&self, prefix: &str) -> Self {
        let prefix = plain(prefix);
        let inside = self.0.iter().filter_map(|(name, value)| {
            let rest = name.strip_prefix(&prefix)?.strip_prefix('[')?;
            let (head, tail) = rest.split_once(']')?;
            Some((format!("{head}{tail}"), value.clone()))
        });
        Self(inside.collect())
    }

    /// How many entries an array has, counting up to the last that has a value.
    pub(crate) fn len_of(&self, array: &str) -> usize {
        let prefix = format!("{}[", plain(array));
        let index = |name: &String| {
            name.strip_prefix(&prefix)?
                .split_once(']')?
                .0
                .parse::<usize>()
                .ok()
        };
        self.0
            .keys()
            .filter_map(index)
            .filter(|&i| i < LONGEST_ARRAY)
            .max()
            .map_or(0, |last| last + 1)
    }

    fn insert_json(&mut self, name: String, value: &Value, depth: usize) {
        let inner = |key: &str| {
            if name.is_empty() {
                key.to_owned()
            } else {
                format!("{name}[{key}]")
            }
        };
        match value {
            _ if depth > DEEPEST => {}
            Value::Null => {}
            Value::Bool(flag) => self.insert(&name, if *flag { "true" } else { "false" }),
            Value::Number(number) => self.insert(&name, &number.to_string()),
            Value::String(text) => self.insert(&name, text),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate().take(LONGEST_ARRAY) {
                    self.insert_json(inner(&index.to_string()), item, depth + 1);
                }
            }
            Value::Object(entries) => {
                for (key, entry) in entries {
                    self.insert_json(inner(key), entry, depth + 1);
                }
            }
        }
    }
}

/// A value that says something: not empty, not the word `null`, which Exotel sends for "none".
fn present(text: &str) -> Option<&str> {
    let text = text.trim();
    (!text.is_empty() && !text.eq_ignore_ascii_case("null")).then_some(text)
}

/// An entry of an object, whatever the case of its name, `_` and `-`.
pub(crate) fn entry<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let object = object.as_object()?;
    let wanted = plain(name);
    object.get(name).or_else(|| {
        object
            .iter()
            .find(|(key, _)| plain(key) == wanted)
            .map(|(_, value)| value)
    })
}

fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '_' | '-' | ' '))
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_and_form_keys_meet() {
        let json = Fields::from_json(
            &json!({"CallSid": "a", "Legs": [{"Status": "busy", "OnCallDuration": 7}, {"Status": ""}]}),
        );
        let mut form = Fields::default();
        for (name, value) in [
            ("call_sid", "a"),
            ("Legs[0][Status]", "busy"),
            ("legs[0][OnCallDuration]", "7"),
            ("Legs[1][Status]", ""),
        ] {
            form.insert(name, value);
        }
        assert_eq!(json, form);
        assert_eq!(json.under("Legs[0]").text("Status"), Some("busy"));
        assert_eq!(json.len_of("Legs"), 1);
    }

    #[test]
    fn legs_written_as_json_inside_a_form_are_read() {
        let mut form = Fields::default();
        form.insert("Legs", r#"[{"Status":"completed"},{"Status":"busy"}]"#);
        assert_eq!(form.text("Legs[1][Status]"), Some("busy"));
    }

    #[test]
    fn absent_values_come_in_many_spellings() {
        let fields = Fields::from_json(&json!({"a": null, "b": "", "c": " null ", "d": "NULL"}));
        assert_eq!(fields, Fields::default());
    }

    #[test]
    fn numbers_are_read_as_text_or_as_numbers() {
        let fields =
            Fields::from_json(&json!({"a": 121, "b": "121", "c": "120.6", "d": -1, "e": "many", "f": 1e99}));
        let read = |name| fields.count(name);
        assert_eq!(
            (read("a"), read("b"), read("c")),
            (Some(121), Some(121), Some(121))
        );
        assert_eq!((read("d"), read("e"), read("f")), (None, None, None));
    }

    #[test]
    fn money_is_a_decimal_number_or_absent() {
        let fields = Fields::from_json(
            &json!({"a": "1.500", "b": -0.6, "c": "free", "d": "1e3", "e": "inf", "f": {"amount": 1}, "g": "."}),
        );
        let read = |name| fields.decimal(name);
        assert_eq!(
            (read("a").as_deref(), read("b").as_deref()),
            (Some("1.500"), Some("-0.6"))
        );
        for name in ["c", "d", "e", "f", "g"] {
            assert_eq!(read(name), None, "{name}");
        }
    }

    #[test]
    fn a_huge_index_does_not_count() {
        let mut form = Fields::default();
        form.insert("Legs[99999999999][Status]", "busy");
        form.insert("Legs[4000000000][Status]", "busy");
        assert_eq!(form.len_of("Legs"), 0);
    }
}
