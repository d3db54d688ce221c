//! ExoPhones: which an account has, and how each is doing.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answer::Node;
use crate::core::{Core, State};
use crate::options::{Account, Options};
use crate::phone::Number;

/// The word for a direction that works. Any other word means that it does not.
const ACTIVE: &str = "active";

/// How one direction of an ExoPhone is doing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Connectivity {
    /// `active`, `major_outage`, `partial_network_outage`, or whatever word was set.
    pub status: String,
    /// When it was last looked at; null: at the moment of asking.
    pub last_check_time: Option<Timestamp>,
    /// What to use instead: null, a number, an array of numbers, or whatever was set.
    pub alternate_exophone: Value,
}

impl Connectivity {
    fn active() -> Self {
        Self {
            status: ACTIVE.to_owned(),
            last_check_time: None,
            alternate_exophone: Value::Null,
        }
    }

    /// Whether it does not work.
    pub(crate) fn is_affected(&self) -> bool {
        self.status != ACTIVE
    }

    fn node(&self, now: Timestamp) -> Node {
        Node::Object(vec![
            ("status", self.status.as_str().into()),
            ("last_check_time", utc(self.last_check_time.unwrap_or(now)).into()),
            ("alternate_exophone", self.alternate_exophone.clone().into()),
        ])
    }
}

/// An instant as the HeartBeat writes it: RFC 3339 with `Z`, whole seconds.
pub(crate) fn utc(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// An ExoPhone as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExophoneView {
    /// Its account.
    pub account: String,
    /// Its sid, `PhoneNumberSid` of calls: the number, unless another was set.
    pub sid: String,
    /// The number, as Exotel writes numbers.
    pub number: Number,
    /// Calls coming in.
    pub incoming: Connectivity,
    /// Calls going out.
    pub outgoing: Connectivity,
}

impl ExophoneView {
    fn new(account: &str, sid: String, number: Number) -> Self {
        Self {
            account: account.to_owned(),
            sid,
            number,
            incoming: Connectivity::active(),
            outgoing: Connectivity::active(),
        }
    }

    /// Whether it does not work, one way at least.
    pub(crate) fn is_affected(&self) -> bool {
        self.incoming.is_affected() || self.outgoing.is_affected()
    }

    /// `incoming_call` and `outgoing_call`, as GET and HeartBeat carry them.
    pub(crate) fn connectivity(&self, now: Timestamp) -> Node {
        Node::Object(vec![
            ("incoming_call", self.incoming.node(now)),
            ("outgoing_call", self.outgoing.node(now)),
        ])
    }

    /// The fields of the number itself.
    pub(crate) fn fields(&self) -> Vec<(&'static str, Node)> {
        let capabilities = vec![("voice", true.into()), ("sms", true.into())];
        vec![
            ("sid", self.sid.as_str().into()),
            ("phone_number", self.number.as_str().into()),
            ("friendly_name", self.number.as_str().into()),
            ("capabilities", Node::Object(capabilities)),
            ("country", "IN".into()),
            ("region", "KA".into()),
            (
                "voice_url",
                format!(
                    "http://my.exotel.com/{}/exoml/start_voice/{}",
                    self.account,
                    crate::calls::DEFAULT_FLOW
                )
                .into(),
            ),
            ("sms_url", Node::Null),
        ]
    }
}

/// Says how an ExoPhone is doing. What is not set stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExophoneHealth {
    /// Its account; the first one if not set.
    pub account: Option<String>,
    /// Which ExoPhone, by its number. An account that was configured without ExoPhones gets it, if it is new.
    pub number: Option<String>,
    /// Which ExoPhone, by its sid; together with `number`, the sid that it gets.
    pub sid: Option<String>,
    /// `active`, `major_outage`, `partial_network_outage` or any other word, for calls coming in.
    pub incoming: Option<String>,
    /// The same for calls going out.
    pub outgoing: Option<String>,
    /// What the directions set here name instead of the number, as long as they are not active; any JSON.
    pub alternate_exophone: Option<Value>,
    /// `last_check_time` of the directions set here; without it, the moment of asking.
    pub last_check_time: Option<Timestamp>,
}

/// The ExoPhones that the accounts are configured with, all of them working.
pub(crate) fn configured(options: &Options) -> Vec<ExophoneView> {
    let of = |account: &Account| {
        let sid = account.sid.clone();
        let numbers: Vec<Number> = account
            .exophones
            .iter()
            .filter_map(|text| Number::parse(text))
            .collect();
        numbers
            .into_iter()
            .map(move |number| ExophoneView::new(&sid, number.to_string(), number))
    };
    options.accounts.iter().flat_map(of).collect()
}

impl State {
    /// The account's ExoPhones, in the order in which they appeared.
    pub(crate) fn exophones_of(&self, account: &str) -> impl Iterator<Item = &ExophoneView> {
        self.exophones
            .iter()
            .filter(move |exophone| exophone.account == account)
    }
}

impl Core {
    /// The account that `/_sim` means: the one named, or the first.
    pub(crate) fn account(&self, named: Option<&str>) -> Result<&Account, String> {
        match named {
            None => self
                .options
                .accounts
                .first()
                .ok_or("there is no account".to_owned()),
            Some(sid) => self
                .options
                .accounts
                .iter()
                .find(|account| account.sid == sid)
                .ok_or_else(|| format!("there is no account {sid}")),
        }
    }

    /// `PhoneNumberSid` of an ExoPhone.
    pub(crate) fn exophone_sid(&self, account: &str, number: &Number) -> String {
        self.read(|state| {
            state
                .exophones_of(account)
                .find(|exophone| exophone.number == *number)
                .map(|exophone| exophone.sid.clone())
        })
        .unwrap_or_else(|| number.to_string())
    }

    /// Sets the health of ExoPhones: all of them, or none if one cannot be.
    pub(crate) fn set_exophones(&self, health: Vec<ExophoneHealth>) -> Result<(), String> {
        self.change(|state| {
            let mut exophones = state.exophones.clone();
            for health in health {
                self.set_exophone(&mut exophones, health)?;
            }
            state.exophones = exophones;
            Ok(())
        })
    }

    fn set_exophone(&self, exophones: &mut Vec<ExophoneView>, health: ExophoneHealth) -> Result<(), String> {
        let account = self.account(health.account.as_deref())?;
        let number = match &health.number {
            Some(text) => {
                Some(Number::parse(text).ok_or_else(|| format!("`number` {text} is no phone number"))?)
            }
            None => None,
        };
        let named = |exophone: &ExophoneView| {
            exophone.account == account.sid
                && match &number {
                    Some(number) => exophone.number == *number,
                    None => health.sid.as_ref() == Some(&exophone.sid),
                }
        };
        let at = match exophones.iter().position(named) {
            Some(at) => at,
            None => {
                let number = number
                    .or_else(|| Number::parse(health.sid.as_deref()?))
                    .filter(|_| account.exophones.is_empty())
                    .ok_or_else(|| {
                        let which = health.number.as_deref().or(health.sid.as_deref());
                        format!(
                            "account {} has no ExoPhone {}; `number` or `sid` must name one of its own",
                            account.sid,
                            which.unwrap_or("without `number` and `sid`")
                        )
                    })?;
                exophones.push(ExophoneView::new(&account.sid, number.to_string(), number));
                exophones.len() - 1
            }
        };
        let exophone = &mut exophones[at];
        if let (Some(_), Some(sid)) = (&health.number, &health.sid) {
            exophone.sid = sid.clone();
        }
        for (direction, status) in [
            (&mut exophone.incoming, health.incoming),
            (&mut exophone.outgoing, health.outgoing),
        ] {
            if let Some(status) = status {
                direction.alternate_exophone = match status.as_str() {
                    ACTIVE => Value::Null,
                    _ => health.alternate_exophone.clone().unwrap_or_default(),
                };
                direction.status = status;
                direction.last_check_time = health.last_check_time;
            }
        }
        Ok(())
    }
}
