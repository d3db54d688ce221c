//! An answer's body as a tree: JSON as it is, XML (`TwilioResponse`) as the JSON it would have been.

use std::fmt;

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::Event;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Deeper than any answer of Exotel's; a hostile one must not exhaust the stack when its tree is dropped.
const DEEPEST_XML: usize = 32;

/// What Exotel answered to a request it accepted.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Answer {
    /// An answer with this status and body.
    pub fn new(status: u16, body: Vec<u8>) -> Self {
        Self { status, body }
    }

    /// HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The body as it came.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as a tree, whether it is JSON or XML; none if it is neither.
    pub fn tree(&self) -> Option<Value> {
        read_tree(&self.body)
    }
}

/// The items of a list: an array, `{"Call": [...]}` inside it as XML has it, or a single item. What is no list is one
/// item too: it is for its reader to say what is wrong with it.
pub(crate) fn items<'a>(list: &'a Value, element: &str) -> Vec<&'a Value> {
    match list {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) if fields.is_empty() => Vec::new(),
        Value::Object(fields) => match fields.get(element) {
            Some(Value::Array(items)) => items.iter().collect(),
            Some(item) => vec![item],
            None => vec![list],
        },
        Value::Null => Vec::new(),
        Value::String(text) if text.trim().is_empty() => Vec::new(),
        _ => vec![list],
    }
}

/// An entry of a list that names no call, or no ExoPhone, and is left out of it.
///
/// The rest of the page is good. Whoever reads pages to the end keeps this, so that nothing is lost.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadableEntry {
    /// The entry as JSON text (of an XML answer, as the JSON it would have been). Holds phone numbers.
    pub raw: String,
    /// What is wrong with it, without any of its values.
    pub problem: String,
}

impl UnreadableEntry {
    pub(crate) fn new(entry: &Value, problem: impl fmt::Display) -> Self {
        Self {
            raw: entry.to_string(),
            problem: problem.to_string(),
        }
    }
}

impl fmt::Debug for UnreadableEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnreadableEntry")
            .field("raw", &format_args!("<{} bytes>", self.raw.len()))
            .field("problem", &self.problem)
            .finish()
    }
}

pub(crate) fn read_tree(body: &[u8]) -> Option<Value> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
    let text = String::from_utf8_lossy(body);
    match body.first()? {
        b'<' => read_xml(&text),
        _ => serde_json::from_str(&text).ok(),
    }
}

/// One element whose end tag is still to come.
#[derive(Default)]
struct Open {
    name: String,
    children: Map<String, Value>,
    text: String,
}

impl Open {
    fn close(self) -> Value {
        let text = self.text.trim();
        match (self.children.is_empty(), text.is_empty()) {
            (false, _) => Value::Object(self.children),
            (true, false) => Value::String(text.to_owned()),
            (true, true) => Value::Null,
        }
    }

    /// Elements of the same name become an array.
    fn add(&mut self, name: String, value: Value) {
        match self.children.get_mut(&name) {
            None => {
                self.children.insert(name, value);
            }
            Some(Value::Array(items)) => items.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
}

/// The content of `TwilioResponse`; anything else, HTML above all, is no answer of Exotel's.
fn read_xml(text: &str) -> Option<Value> {
    let mut reader = Reader::from_str(text);
    let mut open = vec![Open::default()];
    loop {
        match reader.read_event().ok()? {
            Event::Start(tag) => {
                if open.len() > DEEPEST_XML {
                    return None;
                }
                open.push(Open {
                    name: tag.local_name().into_inner().to_owned(),
                    ..Open::default()
                });
            }
            Event::Empty(tag) => {
                open.last_mut()?
                    .add(tag.local_name().into_inner().to_owned(), Value::Null);
            }
            Event::End(_) => {
                let closed = open.pop()?;
                let name = closed.name.clone();
                open.last_mut()?.add(name, closed.close());
            }
            Event::Text(text) => open.last_mut()?.text.push_str(&text.xml10_content()),
            Event::CData(text) => open.last_mut()?.text.push_str(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                let open = open.last_mut()?;
                match reference.resolve_char_ref().ok()? {
                    Some(character) => open.text.push(character),
                    None => open.text.push_str(resolve_xml_entity(&reference)?),
                }
            }
            Event::Eof => break,
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::DocType(_) => {}
        }
    }
    let [root] = <[Open; 1]>::try_from(open).ok()?;
    root.children
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("TwilioResponse"))
        .map(|(_, content)| content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn xml_becomes_the_json_it_would_have_been() {
        let xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<TwilioResponse>\n <Call>\n <Sid>a</Sid><ParentCallSid/><EndTime></EndTime>\
            <CallerName>A &amp; B &#x2713;</CallerName></Call></TwilioResponse>";
        let json =
            json!({"Call": {"Sid": "a", "ParentCallSid": null, "EndTime": null, "CallerName": "A & B ✓"}});
        assert_eq!(read_tree(xml.as_bytes()), Some(json));
    }

    #[test]
    fn repeated_elements_are_a_list() {
        let xml = "<TwilioResponse><Calls><Call><Sid>a</Sid></Call><Call><Sid>b</Sid></Call><Call><Sid>c</Sid></Call></Calls></TwilioResponse>";
        let tree = read_tree(xml.as_bytes()).unwrap();
        assert_eq!(items(&tree["Calls"], "Call").len(), 3);
    }

    #[test]
    fn html_broken_and_endless_documents_are_no_answer() {
        let deep = format!("<TwilioResponse>{}", "<a>".repeat(100_000));
        for body in [
            "<html><body>502</body></html>",
            "<TwilioResponse><Call>",
            "<!DOCTYPE html><p>x",
            "",
            "{",
            &deep,
            "<a>&b;</a>",
        ] {
            assert_eq!(read_tree(body.as_bytes()), None);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_body_makes_the_reader_panic(body in "(<|>|/|&|;|[!?]|TwilioResponse|[a-zA-Z \"=#x0-9-]|\\PC){0,60}") {
            let _ = read_tree(body.as_bytes());
            let _ = read_tree(format!("<TwilioResponse>{body}</TwilioResponse>").as_bytes());
        }
    }
}
