//! SMS: rows in their lead's item collection, hot until final.

use std::collections::HashMap;

use domain::{
    Ranked,
    ids::{LeadId, SmsId, SmsLocator, SmsSid, UserId},
    phone::PhoneNumber,
    sms::{Sms, SmsProgress, SmsReport, SmsState},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Page, Table, TableError,
    calls::Create,
    expression::Expression,
    expression::attribute,
    item::{self, Entity},
    keys::{self, Attributes, Primary},
    placed::{self, Claim, Facts, Held, Merged, Placed, Recorded},
    store::{Range, Select},
};

/// Bytes of a text that its row holds itself. Around it the row has up to 600, and a row under 1 KB costs one write
/// unit per event; a longer text stands in an item of its own that no event touches.
const TEXT_IN_ROW: usize = 400;

/// The text of an SMS in an item of its own.
#[derive(Debug, Serialize, Deserialize)]
struct BodyRow {
    body: String,
}

/// An SMS as its item holds it; the key tells the id and the lead.
#[derive(Debug, Serialize, Deserialize)]
struct SmsRow {
    sent_by: UserId,
    sent_at: Timestamp,
    to_phone: PhoneNumber,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    attempt: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    state: SmsState,
    rank: u32,
    rev: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<SmsSid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detailed_status: Option<Ranked<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detailed_code: Option<Ranked<u32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    date_sent: Option<Ranked<Timestamp>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    units: Option<Ranked<u32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    price: Option<Ranked<String>>,
}

/// The item of an SMS.
fn to_item(sms: &Sms) -> Result<Attributes, TableError> {
    let key = keys::sms(&sms.locator);
    let progress = sms.progress.clone();
    let gsi1 = progress
        .sid
        .as_ref()
        .map(|sid| placed::by_sid(sid.as_str(), &key));
    let row = SmsRow {
        sent_by: sms.sent_by.clone(),
        sent_at: sms.sent_at,
        to_phone: sms.to_phone.clone(),
        body: (sms.body.len() <= TEXT_IN_ROW).then(|| sms.body.clone()),
        attempt: sms.attempt,
        reason: sms.reason.clone(),
        state: progress.state,
        rank: progress.rank,
        rev: 0,
        sid: progress.sid,
        detailed_status: progress.detailed_status,
        detailed_code: progress.detailed_code,
        date_sent: progress.date_sent,
        units: progress.units,
        price: progress.price,
    };
    item::item(Entity::Sms, &key, gsi1, None, &row)
}

fn facts(progress: &SmsProgress) -> Facts {
    let mut facts = Facts::new();
    if let Some(fact) = &progress.detailed_status {
        facts.push(("detailed_status", attribute(fact)));
    }
    if let Some(fact) = &progress.detailed_code {
        facts.push(("detailed_code", attribute(fact)));
    }
    if let Some(fact) = &progress.date_sent {
        facts.push(("date_sent", attribute(fact)));
    }
    if let Some(fact) = &progress.units {
        facts.push(("units", attribute(fact)));
    }
    if let Some(fact) = &progress.price {
        facts.push(("price", attribute(fact)));
    }
    facts
}

impl Placed for Sms {
    type State = SmsState;
    type Report = SmsReport;
    const WAITING: SmsState = SmsState::Waiting;
    const IN_FLIGHT: SmsState = SmsState::InFlight;

    fn own_rank(state: SmsState) -> u32 {
        state.own_rank()
    }

    fn decode(item: serde_dynamo::Item) -> Result<Held<Self>, TableError> {
        let key = item::primary(&item)?;
        let locator = keys::sms_locator(&key)
            .ok_or_else(|| TableError::corrupt(key.to_string(), "the key names no SMS"))?;
        let row: SmsRow = item::body(item, &key)?;
        let rev = row.rev;
        let row = Sms {
            locator,
            sent_by: row.sent_by,
            sent_at: row.sent_at,
            to_phone: row.to_phone,
            // Never empty but when it stands elsewhere.
            body: row.body.unwrap_or_default(),
            attempt: row.attempt,
            reason: row.reason,
            progress: SmsProgress {
                state: row.state,
                rank: row.rank,
                sid: row.sid,
                detailed_status: row.detailed_status,
                detailed_code: row.detailed_code,
                date_sent: row.date_sent,
                units: row.units,
                price: row.price,
            },
        };
        Ok(Held { row, rev })
    }

    fn rank(report: &SmsReport) -> u32 {
        report.rank()
    }

    fn state(report: &SmsReport) -> Option<SmsState> {
        report.state
    }

    fn sid(report: &SmsReport) -> Option<&str> {
        report.sid.as_ref().map(SmsSid::as_str)
    }

    fn facts(report: &SmsReport) -> Facts {
        let mut progress = SmsProgress::new(SmsState::Waiting);
        progress.merge(report);
        facts(&progress)
    }

    fn takes_reports(&self) -> bool {
        true
    }

    fn known_sid(&self) -> Option<&str> {
        self.progress.sid.as_ref().map(SmsSid::as_str)
    }

    fn merge(&mut self, report: &SmsReport) -> Option<Merged<SmsState>> {
        self.progress.merge(report).then(|| Merged {
            state: self.progress.state,
            rank: self.progress.rank,
            sid: self.progress.sid.as_ref().map(SmsSid::to_string),
            facts: facts(&self.progress),
        })
    }
}

impl Table {
    /// Writes a new SMS, if its lead exists; the lead's counters stay as they are.
    ///
    /// # Errors
    /// [`TableError`]; when it is retryable the transaction may have happened, and trying again says
    /// [`Create::Exists`].
    pub async fn create_sms(&self, sms: &Sms) -> Result<Create, TableError> {
        let mut writes = vec![
            self.lead_exists(&sms.locator.lead_id),
            self.new_row(to_item(sms)?),
        ];
        if sms.body.len() > TEXT_IN_ROW {
            let body = BodyRow {
                body: sms.body.clone(),
            };
            let key = keys::sms_body(&sms.locator);
            writes.push(self.new_row(item::item(Entity::SmsBody, &key, None, None, &body)?));
        }
        self.create(writes).await
    }

    /// Reads the texts that stand in items of their own into the SMS that they belong to, all of one lead.
    pub(crate) async fn read_texts<'a>(
        &self,
        messages: impl IntoIterator<Item = &'a mut Sms>,
    ) -> Result<(), TableError> {
        let mut without: HashMap<Primary, &mut Sms> = messages
            .into_iter()
            .filter(|sms| sms.body.is_empty())
            .map(|sms| (keys::sms_body(&sms.locator), sms))
            .collect();
        let (Some(first), Some(last)) = (without.keys().min(), without.keys().max()) else {
            return Ok(());
        };
        let texts = if first == last {
            self.get(first).await?.into_iter().collect()
        } else {
            let between = Select {
                pk: &first.pk,
                sk: Range::Between(&first.sk, &last.sk),
                newest_first: false,
                limit: None,
                after: None,
            };
            self.select(between).await?.items
        };
        for item in texts {
            let item = serde_dynamo::Item::from(item);
            let key = item::primary(&item)?;
            let text: BodyRow = item::body(item, &key)?;
            if let Some(sms) = without.get_mut(&key) {
                sms.body = text.body;
            }
        }
        Ok(())
    }

    /// The SMS, strongly consistent.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn sms(&self, locator: &SmsLocator) -> Result<Option<Sms>, TableError> {
        let mut sms: Option<Sms> = self.placed(&keys::sms(locator)).await?;
        self.read_texts(&mut sms).await?;
        Ok(sms)
    }

    /// A lead's SMS, newest first, strongly consistent; `before` (exclusive) is any SMS id, also one that no row has.
    /// The page's `next` is the last SMS's id.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn sms_messages(
        &self,
        lead: &LeadId,
        limit: usize,
        before: Option<&SmsId>,
    ) -> Result<Page<Sms>, TableError> {
        let pk = keys::lead_partition(lead);
        let selected = self
            .select(Select {
                pk: &pk,
                sk: Range::Prefix(keys::MESSAGES),
                newest_first: true,
                limit: Some(limit + 1),
                after: before.map(|id| Primary::new(&pk, keys::sms_sk(id))),
            })
            .await?;
        let messages = selected
            .items
            .into_iter()
            .map(|item| Ok(<Sms as Placed>::decode(item.into())?.row))
            .collect::<Result<_, TableError>>()?;
        let mut page = Page::cut(messages, limit, selected.more, |sms: &Sms| {
            sms.locator.id.to_string()
        });
        self.read_texts(&mut page.items).await?;
        Ok(page)
    }

    /// As [`Table::claim_call`].
    ///
    /// # Errors
    /// As [`Table::claim_call`].
    pub async fn claim_sms(
        &self,
        locator: &SmsLocator,
        attempt: u32,
        claimant: u64,
    ) -> Result<Claim<Sms>, TableError> {
        let mut claim = self
            .claim(&keys::sms(locator), attempt, claimant, Expression::new())
            .await?;
        if let Claim::Claimed(sms) | Claim::NotWaiting(sms) = &mut claim {
            self.read_texts([&mut **sms]).await?;
        }
        Ok(claim)
    }

    /// As [`Table::release_call`].
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn release_sms(
        &self,
        locator: &SmsLocator,
        attempt: u32,
        reason: &str,
    ) -> Result<bool, TableError> {
        self.release::<Sms>(&keys::sms(locator), attempt, reason).await
    }

    /// As [`Table::settle_call`].
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn settle_sms(
        &self,
        locator: &SmsLocator,
        from: &[SmsState],
        to: SmsState,
        reason: Option<&str>,
    ) -> Result<bool, TableError> {
        self.settle::<Sms>(&keys::sms(locator), from, to, reason).await
    }

    /// As [`Table::record_call_report`]; never [`Recorded::NotExotel`].
    ///
    /// # Errors
    /// [`TableError`]; recording again is always safe.
    pub async fn record_sms_report(
        &self,
        locator: &SmsLocator,
        report: &SmsReport,
    ) -> Result<Recorded, TableError> {
        self.record::<Sms>(&keys::sms(locator), report).await
    }

    /// The SMS that Exotel names so. The index follows the table within a second as a rule.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn sms_by_sid(&self, sid: &SmsSid) -> Result<Option<SmsLocator>, TableError> {
        let keys = self.keys_by_sid(sid.as_str(), keys::MESSAGES).await?;
        Ok(keys.first().and_then(keys::sms_locator))
    }
}
