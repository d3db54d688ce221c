//! What an API answer says, written once and rendered as XML or JSON.

use quick_xml::escape::escape;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

/// A value in an answer. Unlike `serde_json::Value` it keeps the order of fields, as Exotel's answers do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// `null` in JSON, an empty element in XML.
    Null,
    /// Text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// True or false.
    Bool(bool),
    /// Named values.
    Object(Vec<(&'static str, Node)>),
    /// Values under names that only the data knows, such as sids. JSON only: they are no names of elements.
    Keyed(Vec<(String, Node)>),
    /// Values in a row. In XML each is written where the array stands, so items are objects with one field
    /// that names them, or [`Node::Named`] gives them a name.
    List(Vec<Node>),
    /// Bare items in JSON; in XML each is wrapped in an element of this name.
    Named(&'static str, Vec<Node>),
}

impl Node {
    /// Text, or null where there is none.
    pub(crate) fn maybe(text: Option<impl Into<String>>) -> Self {
        text.map_or(Node::Null, |text| Node::Text(text.into()))
    }

    /// Renders as JSON.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a tree of text and numbers is valid JSON")
    }

    /// Renders as XML under the root element that Exotel's v1 uses.
    pub(crate) fn to_xml(&self) -> String {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<TwilioResponse>");
        self.write_xml(&mut out);
        out.push_str("</TwilioResponse>\n");
        out
    }

    fn write_xml(&self, out: &mut String) {
        match self {
            Node::Null => {}
            Node::Text(text) => out.push_str(&escape(text.as_str())),
            Node::Int(number) => out.push_str(&number.to_string()),
            Node::Bool(yes) => out.push_str(&yes.to_string()),
            Node::Keyed(fields) => fields.iter().for_each(|(name, value)| element(name, value, out)),
            Node::Object(fields) => fields.iter().for_each(|(name, value)| element(name, value, out)),
            Node::List(items) => items.iter().for_each(|item| item.write_xml(out)),
            Node::Named(name, items) => items.iter().for_each(|item| element(name, item, out)),
        }
    }
}

fn element(name: &str, value: &Node, out: &mut String) {
    let mut inner = String::new();
    value.write_xml(&mut inner);
    if inner.is_empty() {
        out.push_str(&format!("<{name}/>"));
    } else {
        out.push_str(&format!("<{name}>{inner}</{name}>"));
    }
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Node::Text(text.to_owned())
    }
}

impl From<String> for Node {
    fn from(text: String) -> Self {
        Node::Text(text)
    }
}

impl From<i64> for Node {
    fn from(number: i64) -> Self {
        Node::Int(number)
    }
}

impl From<bool> for Node {
    fn from(yes: bool) -> Self {
        Node::Bool(yes)
    }
}

impl From<serde_json::Value> for Node {
    /// A number with a fraction becomes text: no answer of Exotel's has one.
    fn from(value: serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Node::Null,
            Value::Bool(yes) => Node::Bool(yes),
            Value::Number(number) => match number.as_i64() {
                Some(whole) => Node::Int(whole),
                None => Node::Text(number.to_string()),
            },
            Value::String(text) => Node::Text(text),
            Value::Array(items) => Node::List(items.into_iter().map(Node::from).collect()),
            Value::Object(fields) => Node::Keyed(
                fields
                    .into_iter()
                    .map(|(name, value)| (name, value.into()))
                    .collect(),
            ),
        }
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Node::Null => serializer.serialize_unit(),
            Node::Text(text) => serializer.serialize_str(text),
            Node::Int(number) => serializer.serialize_i64(*number),
            Node::Bool(yes) => serializer.serialize_bool(*yes),
            Node::Keyed(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
            Node::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
            Node::List(items) | Node::Named(_, items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    seq.serialize_element(item)?;
                }
                seq.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tree_gives_both_forms_with_the_fields_in_order() {
        let leg = |id| Node::Object(vec![("Leg", Node::Object(vec![("Id", Node::Int(id))]))]);
        let tree = Node::Object(vec![(
            "Call",
            Node::Object(vec![
                ("Sid", "a<b".into()),
                ("EndTime", Node::Null),
                ("Legs", Node::List(vec![leg(1), leg(2)])),
            ]),
        )]);
        assert_eq!(
            tree.to_json(),
            r#"{"Call":{"Sid":"a<b","EndTime":null,"Legs":[{"Leg":{"Id":1}},{"Leg":{"Id":2}}]}}"#
        );
        assert!(tree.to_xml().contains(
            "<TwilioResponse><Call><Sid>a&lt;b</Sid><EndTime/><Legs><Leg><Id>1</Id></Leg><Leg><Id>2</Id></Leg></Legs></Call>"
        ));
    }

    #[test]
    fn bare_items_get_an_element_name_in_xml_only() {
        let tree = Node::Object(vec![(
            "Calls",
            Node::Named("Call", vec![Node::Object(vec![("Sid", "x".into())])]),
        )]);
        assert_eq!(tree.to_json(), r#"{"Calls":[{"Sid":"x"}]}"#);
        assert!(tree.to_xml().contains("<Calls><Call><Sid>x</Sid></Call></Calls>"));
    }
}
