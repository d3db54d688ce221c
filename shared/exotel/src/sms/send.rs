//! `Sms/send` with one receiver.

use serde::{Deserialize, Serialize};

use super::{Sms, read_sms};
use crate::answer::Answer;
use crate::calls::CallbackContentType;
use crate::request::{FieldList, FieldWriter, Request, check_length, check_present, check_web, parameter};
use crate::{Error, MessageBody, PhoneNumber, PrivateUrl};

/// Longest text, in characters.
const LONGEST_BODY: usize = 2000;

/// Sends one SMS. Every accepted request is a new SMS: Exotel knows no idempotency key.
///
/// <https://developer.exotel.com/api/sms>
///
/// ```
/// use exotel::sms::{SendSms, SmsOptions, SmsType};
///
/// let sms = SendSms {
///     options: SmsOptions { sms_type: Some(SmsType::Transactional), ..Default::default() },
///     ..SendSms::new("ACMEIN", "+919811100002", "Your order is on its way")
/// };
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendSms {
    /// ExoPhone, or a sender id linked to one (six letters, or six digits for promotional messages).
    pub from: PhoneNumber,
    /// The receiver, E.164 preferred.
    pub to: PhoneNumber,
    /// At most 2000 characters; in India it must match the DLT template exactly.
    pub body: MessageBody,
    /// The rest.
    #[serde(default)]
    pub options: SmsOptions,
}

/// What any SMS may ask for. All optional; the default leaves everything to Exotel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SmsOptions {
    /// Exotel finds it out by itself if absent.
    pub encoding: Option<Encoding>,
    /// Entity id of the DLT registration; needed in India unless set on the dashboard.
    pub dlt_entity_id: Option<String>,
    /// Template id of the DLT registration; in practice needed in India.
    pub dlt_template_id: Option<String>,
    /// Kind of message; must fit the sender.
    pub sms_type: Option<SmsType>,
    /// Exotel's default is normal.
    pub priority: Option<Priority>,
    /// Comes back in the callback.
    pub custom_field: Option<String>,
    /// Where the delivery callback is POSTed.
    pub status_callback: Option<PrivateUrl>,
    /// Form of the callback's body. In no parameter table of Exotel's: effect unverified.
    pub status_callback_content_type: Option<CallbackContentType>,
    /// Replaces links in the text by short, counted ones.
    pub shorten_url: Option<ShortenUrl>,
}

/// How links are shortened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ShortenUrl {
    /// Whether clicks are counted.
    pub tracking: Option<bool>,
    /// Sender id in the short link.
    pub header: Option<String>,
    /// The account's own domain for short links.
    pub custom_domain: Option<String>,
    /// Minutes until a short link ends.
    pub time_to_expiry_mins: Option<u32>,
    /// Where clicks are reported.
    pub click_tracking_callback_url: Option<PrivateUrl>,
}

parameter! {
    /// Characters of a text.
    Encoding {
        /// GSM characters.
        Plain = "plain",
        /// Any script.
        Unicode = "unicode",
    }
}

parameter! {
    /// Kind of an SMS.
    SmsType {
        /// Owed to the receiver.
        Transactional = "transactional",
        /// Owed to the receiver, who agreed to it.
        TransactionalOptIn = "transactional_opt_in",
        /// Advertising; only within permitted hours.
        Promotional = "promotional",
    }
}

parameter! {
    /// Urgency of an SMS.
    Priority {
        /// The usual.
        Normal = "normal",
        /// One-time passwords.
        High = "high",
    }
}

impl SendSms {
    /// An SMS with no options.
    pub fn new(
        from: impl Into<PhoneNumber>,
        to: impl Into<PhoneNumber>,
        body: impl Into<MessageBody>,
    ) -> Self {
        Self {
            from: from.into(),
            to: to.into(),
            body: body.into(),
            options: SmsOptions::default(),
        }
    }
}

impl Request for SendSms {
    type Answer = Sms;

    fn check(&self) -> Result<(), Error> {
        check_present("From", &self.from)?;
        check_present("To", &self.to)?;
        check_body(&self.body)?;
        self.options.check()
    }

    fn path(&self) -> Vec<String> {
        vec!["Sms".to_owned(), "send.json".to_owned()]
    }

    fn form(&self) -> Option<FieldList> {
        let mut form = FieldWriter::default();
        form.set("From", self.from.as_str())
            .set("To", self.to.as_str())
            .set("Body", self.body.as_str());
        self.options.write(&mut form);
        Some(form.finish())
    }

    fn read(&self, answer: &Answer) -> Result<Sms, Error> {
        read_sms(&answer.tree().unwrap_or_default()).map_err(|e| Error::unreadable(answer.status(), e))
    }
}

impl SmsOptions {
    pub(super) fn check(&self) -> Result<(), Error> {
        let links = self
            .shorten_url
            .as_ref()
            .and_then(|links| links.click_tracking_callback_url.as_ref());
        for (field, url) in [
            ("StatusCallback", self.status_callback.as_ref()),
            ("ClickTrackingCallbackUrl", links),
        ] {
            url.map_or(Ok(()), |url| check_web(field, url))?;
        }
        Ok(())
    }

    pub(super) fn write(&self, form: &mut FieldWriter) {
        form.set_some("EncodingType", self.encoding)
            .set_some("DltEntityId", self.dlt_entity_id.as_deref())
            .set_some("DltTemplateId", self.dlt_template_id.as_deref())
            .set_some("SmsType", self.sms_type)
            .set_some("Priority", self.priority)
            .set_some("CustomField", self.custom_field.as_deref())
            .set_some("StatusCallback", self.status_callback.as_deref())
            .set_some("StatusCallbackContentType", self.status_callback_content_type);
        if let Some(links) = &self.shorten_url {
            form.set("ShortenUrl", true)
                .set_some("ShortenUrlParams[Tracking]", links.tracking)
                .set_some("ShortenUrlParams[Header]", links.header.as_deref())
                .set_some("ShortenUrlParams[CustomDomain]", links.custom_domain.as_deref())
                .set_some("ShortenUrlParams[TimeToExpiry]", links.time_to_expiry_mins)
                .set_some(
                    "ShortenUrlParams[ClickTrackingCallbackUrl]",
                    links.click_tracking_callback_url.as_deref(),
                );
        }
    }
}

pub(super) fn check_body(body: &MessageBody) -> Result<(), Error> {
    check_present("Body", body)?;
    check_length("Body", body, LONGEST_BODY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sms_is_written_with_its_options() {
        let sms = SendSms {
            options: SmsOptions {
                dlt_entity_id: Some("1101".to_owned()),
                dlt_template_id: Some("1107".to_owned()),
                sms_type: Some(SmsType::Transactional),
                priority: Some(Priority::High),
                status_callback: Some("https://hooks.example.in/exotel/sms".into()),
                shorten_url: Some(ShortenUrl {
                    tracking: Some(true),
                    ..ShortenUrl::default()
                }),
                ..SmsOptions::default()
            },
            ..SendSms::new("ACMEIN", "+919811100002", "Hi & bye")
        };
        sms.check().unwrap();
        let form = sms
            .form()
            .unwrap()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("&");
        assert_eq!(
            form,
            "From=ACMEIN&To=+919811100002&Body=Hi & bye&DltEntityId=1101&DltTemplateId=1107&SmsType=transactional&Priority=high\
             &StatusCallback=https://hooks.example.in/exotel/sms&ShortenUrl=true&ShortenUrlParams[Tracking]=true"
        );
        let stored = serde_json::to_string(&sms).unwrap();
        assert_eq!(serde_json::from_str::<SendSms>(&stored).unwrap(), sms);
    }

    #[test]
    fn a_text_has_one_to_two_thousand_characters() {
        for (body, fits) in [
            (String::new(), false),
            (" \n".to_owned(), false),
            ("ह".repeat(2000), true),
            ("ह".repeat(2001), false),
        ] {
            assert_eq!(
                SendSms::new("ACMEIN", "+919811100002", body).check().is_ok(),
                fits
            );
        }
    }
}
