//! A message: its record, its answer, its life from `queued` to the delivery report.

use jiff::Timestamp;

use crate::answer::Node;
use crate::callbacks::{self, Ack, Outgoing, Way};
use crate::core::Shared;
use crate::ist;
use crate::options::BodyForm;
use crate::phone::Number;
use crate::scripts::{CallbackScript, sms_status};

/// Accepted, waiting inside Exotel.
pub(crate) const QUEUED: u32 = 21_010;
const SENDING: u32 = 21_015;
const SUBMITTED: u32 = 21_020;

/// A message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) sid: String,
    pub(crate) account: String,
    pub(crate) from: String,
    pub(crate) to: Number,
    pub(crate) body: String,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    pub(crate) sent: Option<Timestamp>,
    /// Its `DetailedStatusCode` now.
    pub(crate) code: u32,
    pub(crate) custom_field: Option<String>,
    pub(crate) callback: Option<String>,
    /// The code it will end with.
    pub(crate) final_code: u32,
    pub(crate) step_ms: u64,
    pub(crate) callbacks: CallbackScript,
    /// How many messages went to the number before, this one counted.
    pub(crate) nth: u64,
}

/// How many SMS a text takes: 160 (153 each if several) in plain text, 70 (67) in Unicode.
pub(crate) fn units(body: &str) -> i64 {
    let (length, single, part) = if body.is_ascii() {
        (body.len(), 160, 153)
    } else {
        (body.encode_utf16().count(), 70, 67)
    };
    let units = if length <= single {
        1
    } else {
        length.div_ceil(part)
    };
    i64::try_from(units).unwrap_or(i64::MAX)
}

impl Message {
    fn status(&self) -> (&'static str, &'static str) {
        sms_status(self.code).expect("a message only ever has codes of the table")
    }

    /// Whether it has come to its end.
    pub(crate) fn is_final(&self) -> bool {
        self.code == self.final_code
    }

    /// The message object of answers.
    pub(crate) fn node(&self) -> Node {
        let (status, detailed) = self.status();
        let done = self.is_final();
        Node::Object(vec![
            ("Sid", self.sid.as_str().into()),
            ("AccountSid", self.account.as_str().into()),
            ("From", self.from.as_str().into()),
            ("To", self.to.as_str().into()),
            ("DateCreated", ist::format(self.created).into()),
            ("DateUpdated", ist::format(self.updated).into()),
            ("DateSent", Node::maybe(self.sent.map(ist::format))),
            ("Body", self.body.as_str().into()),
            ("Direction", "outbound-api".into()),
            (
                "Uri",
                format!("/v1/Accounts/{}/Sms/Messages/{}", self.account, self.sid).into(),
            ),
            ("ApiVersion", Node::Null),
            (
                "Price",
                Node::maybe(done.then(|| format!("{:.3}", 0.2 * units(&self.body) as f64))),
            ),
            ("Status", status.into()),
            (
                "SmsUnits",
                if done {
                    units(&self.body).into()
                } else {
                    Node::Null
                },
            ),
            ("DetailedStatusCode", i64::from(self.code).into()),
            ("DetailedStatus", detailed.into()),
        ])
    }

    fn callback_fields(&self) -> Vec<(&'static str, Node)> {
        let (status, detailed) = self.status();
        let mut fields = vec![
            ("SmsSid", self.sid.as_str().into()),
            ("To", self.to.as_str().into()),
            // Callbacks spell it with an underscore, details with a hyphen.
            ("Status", status.replace('-', "_").into()),
            ("SmsUnits", units(&self.body).into()),
            ("DetailedStatus", detailed.into()),
            ("DetailedStatusCode", i64::from(self.code).into()),
            ("DateSent", self.sent.map(ist::format).unwrap_or_default().into()),
        ];
        if let Some(custom) = &self.custom_field {
            fields.push(("CustomField", custom.as_str().into()));
        }
        fields
    }
}

/// Lets an accepted message go its way.
pub(crate) fn start(core: &Shared, sid: String) {
    let task = core.clone();
    core.spawn(async move {
        let core = task;
        if live(&core, &sid).await.is_none() {
            tracing::debug!(sms.sid = %sid, "message was forgotten");
        }
    });
}

async fn live(core: &Shared, sid: &str) -> Option<()> {
    let message = core.read(|state| state.messages.get(sid).cloned())?;
    for code in [SENDING, SUBMITTED, message.final_code] {
        core.pass(message.step_ms).await;
        let now = core.now();
        core.change(|state| {
            let message = state.messages.get_mut(sid)?;
            message.code = code;
            message.updated = now;
            message.sent = message.is_final().then_some(now);
            Some(())
        })?;
    }
    let message = core.read(|state| state.messages.get(sid).cloned())?;
    let Some(url) = message.callback.clone() else {
        return Some(());
    };
    let mut fields = message.callback_fields();
    let script = message.callbacks.clone();
    if script.sparse.unwrap_or(core.options.sparse_callbacks) {
        fields.retain(|(name, _)| matches!(*name, "SmsSid" | "Status"));
    }
    if script.literal_nulls.unwrap_or(core.options.literal_nulls) {
        callbacks::with_literal_nulls(&mut fields);
    }
    let form = script
        .form
        .or(core.options.force_form)
        .unwrap_or(BodyForm::Urlencoded);
    let key = format!("{} {} sms", message.to, message.nth);
    let sid = sid.to_owned();
    // The courier is gone only when the simulator stops.
    let _ = callbacks::courier(core).send(Outgoing {
        sid,
        event: "sms",
        url,
        way: Way::Post(form),
        ack: Ack::Any2xx,
        fields,
        script,
        key,
        last: true,
    });
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_unicode_texts_take_more_units() {
        assert_eq!(units("hello"), 1);
        assert_eq!(units(&"a".repeat(160)), 1);
        assert_eq!(units(&"a".repeat(161)), 2);
        assert_eq!(units(&"न".repeat(70)), 1);
        assert_eq!(units(&"न".repeat(135)), 3);
    }
}
