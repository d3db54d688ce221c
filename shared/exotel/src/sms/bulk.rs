//! Many SMS in one request: one text to many (`Sms/send`), or a text for each (`Sms/bulksend`).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::send::{SmsOptions, SmsType, check_body};
use super::{Sms, read_sms};
use crate::answer::{Answer, items};
use crate::error::{Refusal, rest_exception};
use crate::request::{FieldList, FieldWriter, Request, check_present, invalid};
use crate::{Error, MessageBody, PhoneNumber};

/// Most messages one request may hold, of either kind.
const MOST_MESSAGES: usize = 100;

/// Sends the same text to up to 100 receivers.
///
/// <https://support.exotel.com/support/solutions/articles/3000018232-bulk-sms-api>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendBulkSms {
    /// ExoPhone or sender id.
    pub from: PhoneNumber,
    /// The receivers, E.164 preferred.
    pub to: Vec<PhoneNumber>,
    /// The text for all of them.
    pub body: MessageBody,
    /// The rest.
    #[serde(default)]
    pub options: SmsOptions,
}

/// Sends up to 100 texts, each to its receiver.
///
/// <https://developer.exotel.com/api/send-bulk-sms-with-dynamic-content>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendDynamicBulkSms {
    /// ExoPhone or sender id.
    pub from: PhoneNumber,
    /// Receivers and texts.
    pub messages: Vec<BulkMessage>,
    /// The rest, for all of them.
    #[serde(default)]
    pub options: SmsOptions,
}

/// One message of [`SendDynamicBulkSms`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkMessage {
    /// The receiver, E.164 preferred.
    pub to: PhoneNumber,
    /// The text.
    pub body: MessageBody,
    /// Another sender for this one.
    #[serde(default)]
    pub from: Option<PhoneNumber>,
    /// Another kind for this one.
    #[serde(default)]
    pub sms_type: Option<SmsType>,
    /// Another DLT template for this one.
    #[serde(default)]
    pub dlt_template_id: Option<String>,
}

impl BulkMessage {
    /// A message that takes sender, kind and template from the request.
    pub fn new(to: impl Into<PhoneNumber>, body: impl Into<MessageBody>) -> Self {
        Self {
            to: to.into(),
            body: body.into(),
            from: None,
            sms_type: None,
            dlt_template_id: None,
        }
    }
}

/// What became of one message of a bulk request, in the answer's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BulkItem {
    /// Exotel took it.
    Accepted(Box<Sms>),
    /// Exotel refused it.
    Refused(Refusal),
    /// Neither of the two can be read from the entry: it may have been sent.
    Unreadable,
}

impl Request for SendBulkSms {
    type Answer = Vec<BulkItem>;

    fn check(&self) -> Result<(), Error> {
        check_present("From", &self.from)?;
        check_count("To", self.to.len())?;
        self.to.iter().try_for_each(|to| check_present("To", to))?;
        check_body(&self.body)?;
        self.options.check()
    }

    fn path(&self) -> Vec<String> {
        vec!["Sms".to_owned(), "send.json".to_owned()]
    }

    fn form(&self) -> Option<FieldList> {
        let mut form = FieldWriter::default();
        form.set("From", self.from.as_str());
        for (n, to) in self.to.iter().enumerate() {
            form.set(format!("To[{n}]"), to.as_str());
        }
        form.set("Body", self.body.as_str());
        self.options.write(&mut form);
        Some(form.finish())
    }

    fn read(&self, answer: &Answer) -> Result<Vec<BulkItem>, Error> {
        read_bulk(answer)
    }
}

impl Request for SendDynamicBulkSms {
    type Answer = Vec<BulkItem>;

    fn check(&self) -> Result<(), Error> {
        check_present("From", &self.from)?;
        check_count("Messages", self.messages.len())?;
        for message in &self.messages {
            check_present("To", &message.to)?;
            check_body(&message.body)?;
        }
        self.options.check()
    }

    fn path(&self) -> Vec<String> {
        vec!["Sms".to_owned(), "bulksend.json".to_owned()]
    }

    fn form(&self) -> Option<FieldList> {
        let mut form = FieldWriter::default();
        form.set("From", self.from.as_str());
        for (n, message) in self.messages.iter().enumerate() {
            let name = |field: &str| format!("Messages[{n}][{field}]");
            form.set(name("To"), message.to.as_str())
                .set(name("Body"), message.body.as_str())
                .set_some(name("From"), message.from.as_deref())
                .set_some(name("SmsType"), message.sms_type)
                .set_some(name("DltTemplateId"), message.dlt_template_id.as_deref());
        }
        self.options.write(&mut form);
        Some(form.finish())
    }

    fn read(&self, answer: &Answer) -> Result<Vec<BulkItem>, Error> {
        read_bulk(answer)
    }
}

fn check_count(field: &'static str, count: usize) -> Result<(), Error> {
    match count {
        0 => invalid(field, "is empty"),
        1..=MOST_MESSAGES => Ok(()),
        _ => invalid(
            field,
            format!("takes at most {MOST_MESSAGES} at a time, not {count}"),
        ),
    }
}

/// Reads `[{"SMSMessage": {...}}, ...]`, `{"SMSMessages": [...]}` and, as XML has it, several `SMSMessage` elements.
fn read_bulk(answer: &Answer) -> Result<Vec<BulkItem>, Error> {
    let unreadable = |problem| Error::unreadable(answer.status(), problem);
    let tree = answer
        .tree()
        .ok_or_else(|| unreadable("the bulk answer is neither JSON nor XML"))?;
    let entries: Vec<&Value> = match &tree {
        Value::Array(entries) => entries.iter().collect(),
        Value::Object(fields) => match fields.get("SMSMessages") {
            Some(list) => items(list, "SMSMessage"),
            // Refused items lose their place here: XML groups elements by name.
            None => [fields.get("SMSMessage"), fields.get("RestException")]
                .into_iter()
                .flatten()
                .flat_map(one_or_more)
                .collect(),
        },
        _ => Vec::new(),
    };
    if entries.is_empty() {
        return Err(unreadable("the bulk answer holds no messages"));
    }
    Ok(entries
        .into_iter()
        .map(|entry| read_item(entry, answer.status()))
        .collect())
}

fn one_or_more(value: &Value) -> Vec<&Value> {
    value
        .as_array()
        .map_or_else(|| vec![value], |values| values.iter().collect())
}

fn read_item(entry: &Value, status: u16) -> BulkItem {
    let bare_refusal = || {
        entry
            .get("Message")
            .is_some()
            .then(|| crate::fields::Fields::from_json(entry))
    };
    match read_sms(entry).or_else(|_| Sms::from_tree(entry)) {
        Ok(sms) => BulkItem::Accepted(Box::new(sms)),
        Err(_) => match rest_exception(entry).or_else(bare_refusal) {
            Some(exception) => {
                let own = exception.count("Status").and_then(|own| u16::try_from(own).ok());
                BulkItem::Refused(Refusal::from_exception(own.unwrap_or(status), &exception))
            }
            None => BulkItem::Unreadable,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk() -> SendBulkSms {
        let to = vec!["+919811100002".into(), "+919811100003".into()];
        SendBulkSms {
            from: "ACMEIN".into(),
            to,
            body: "Hi".into(),
            options: SmsOptions::default(),
        }
    }

    fn read(body: &str) -> Result<Vec<BulkItem>, Error> {
        bulk().read(&Answer::new(207, body.as_bytes().to_vec()))
    }

    fn sids(items: &[BulkItem]) -> Vec<String> {
        let sid = |item: &BulkItem| match item {
            BulkItem::Accepted(sms) => sms.sid.to_string(),
            BulkItem::Refused(refusal) => refusal.reason.to_string(),
            BulkItem::Unreadable => "?".to_owned(),
        };
        items.iter().map(sid).collect()
    }

    #[test]
    fn receivers_and_messages_are_indexed() {
        let names = |form: FieldList| {
            form.into_iter()
                .map(|(name, _)| name.into_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(names(bulk().form().unwrap()), "From To[0] To[1] Body");
        let messages = vec![BulkMessage::new("+919811100002", "Hi")];
        let dynamic = SendDynamicBulkSms {
            from: "ACMEIN".into(),
            messages,
            options: SmsOptions::default(),
        };
        assert_eq!(
            names(dynamic.form().unwrap()),
            "From Messages[0][To] Messages[0][Body]"
        );
    }

    #[test]
    fn no_receiver_and_more_than_a_hundred_are_refused() {
        for count in [0, 101] {
            let to = vec!["+919811100002".into(); count];
            assert!(matches!(
                SendBulkSms { to, ..bulk() }.check(),
                Err(Error::InvalidRequest { field: "To", .. })
            ));
        }
        assert!(
            SendBulkSms {
                to: vec!["+919811100002".into(); 100],
                ..bulk()
            }
            .check()
            .is_ok()
        );
    }

    #[test]
    fn every_shape_of_answer_is_read() {
        let refused = r#"{"RestException":{"Status":403,"Message":"Insufficient balance","Code":40001}}"#;
        for (body, expected) in [
            (r#"[{"SMSMessage":{"Sid":"a"}},{"SMSMessage":{"Sid":"b"}}]"#.to_owned(), ["a", "b"]),
            (r#"{"SMSMessages":[{"Sid":"a","Status":"queued"},{"Sid":"b"}]}"#.to_owned(), ["a", "b"]),
            (r#"{"SMSMessage":[{"Sid":"a"},{"Sid":"b"}]}"#.to_owned(), ["a", "b"]),
            (format!(r#"[{{"SMSMessage":{{"Sid":"a"}}}},{refused}]"#), ["a", "balance"]),
            (format!(r#"[{refused},{{"SMSMessage":{{"Sid":"a"}}}}]"#), ["balance", "a"]),
            (r#"[{"SMSMessage":{"Sid":"a"}},{"SMSMessage":{}}]"#.to_owned(), ["a", "?"]),
            ("<TwilioResponse><SMSMessage><Sid>a</Sid></SMSMessage><SMSMessage><Sid>b</Sid></SMSMessage></TwilioResponse>".to_owned(), ["a", "b"]),
            ("<TwilioResponse><SMSMessage><Sid>a</Sid></SMSMessage><RestException><Status>403</Status><Message>KYC</Message></RestException></TwilioResponse>".to_owned(), ["a", "kyc"]),
        ] {
            assert_eq!(sids(&read(&body).unwrap()), expected, "{body}");
        }
    }

    #[test]
    fn an_answer_without_messages_leaves_it_open_whether_they_were_sent() {
        for body in ["", "[]", "{}", "<html></html>", "\"ok\""] {
            assert!(read(body).unwrap_err().may_have_reached_exotel(), "{body}");
        }
    }
}
