//! The door of Passthru applets: a flow asks in the middle of a call which way to go on, and the caller waits.

use domain::{
    DomainError,
    phone::Country,
    steering::{Branch, Rule},
};
use jiff::Timestamp;
use lambda_kit::{
    Error,
    config::{LocaleConfig, PassthruConfig},
    http::{Problem, Request, Response, empty},
    init::Boot,
};
use services::inbound::{Receipt, Webhook};

use crate::Door;

/// A door whose answer steers the flow.
pub struct PassthruDoor {
    door: Door,
    rule: Rule,
    country: Country,
}

impl PassthruDoor {
    /// The function's door, its clients built.
    ///
    /// # Errors
    /// [`Error`] for a setting that is missing or cannot be used, the rule among them.
    pub fn open(boot: &Boot) -> Result<Self, Error> {
        let rule = PassthruConfig::from_env(boot.settings())?.rule;
        let country = LocaleConfig::from_env(boot.settings())?.country;
        Ok(Self::new(Door::open(Webhook::Passthru, boot)?, rule, country))
    }

    /// Over this door. `rule` is for URLs that name none; `country` is the account's.
    pub fn new(door: Door, rule: Rule, country: Country) -> Self {
        Self { door, rule, country }
    }

    /// Verifies, records, steers: an empty 200 when the rule holds, an empty 302 otherwise. The 302 has no `Location`:
    /// Exotel looks at the status alone, and whoever would follow a redirect must not be led anywhere.
    ///
    /// The rule is the parameter `rule` of the URL, else the setting. Whatever fails inside is answered 200, so that the
    /// call goes on: a rule in the URL that cannot be read, a request that says nothing, a table that does not answer,
    /// and an event that could be kept nowhere.
    ///
    /// # Errors
    /// 404 for a path of another webhook, 403 for a sender that proves nothing, 413 above 64 KB.
    pub async fn receive(&self, request: &Request, now: Timestamp) -> Result<Response, Problem> {
        let (secrets, locator) = self.door.admit(request, now).await?;
        let delivery = self.door.delivery(request, &secrets, locator)?;
        let of_url = request.query::<String>("rule")?;
        let rule = of_url.map(|rule| rule.parse::<Rule>()).transpose();
        let rule = rule.unwrap_or_else(|problem: DomainError| {
            tracing::warn!(
                "the rule in a Passthru URL cannot be read, the flow goes on by the first branch: {problem}"
            );
            Some(Rule::default())
        });
        let rule = rule.as_ref().unwrap_or(&self.rule);
        let steering = self.door.inbox.steer(delivery, rule, self.country, now);
        // Boxed: the state of three SDK requests side by side is large, and deep for the compiler.
        let steered = Box::pin(steering).await;
        if steered.receipt == Receipt::KeptNowhere {
            tracing::error!("a call's Passthru is lost; the call list will tell of the call");
        }
        empty(match steered.branch {
            Branch::Holds => 200,
            Branch::Otherwise => 302,
        })
    }
}
