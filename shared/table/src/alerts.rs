//! Alerts: one item for each open one, by rule and subject, and one for each alert ever, by month.
//!
//! Both are written in one transaction, whose condition on the open item lets exactly one of many racers raise, and
//! one recover. The item by month is the one that the table's stream tells of.

use std::str::FromStr;

use aws_sdk_dynamodb::types::{Delete, Put, ReturnValue, TransactWriteItem, Update};
use domain::{
    alert::{Acknowledgement, Alert},
    ids::{AlertId, AlertSubject, RuleId},
};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

use crate::{
    Page, Table, TableError,
    expression::Expression,
    item::{self, Entity},
    keys::{self, Attributes, Primary},
    store::{Range, Select, Transacted, Written},
};

/// How long an alert is kept: a year and a month, so that this month can be compared with the same one a year ago.
pub const KEPT: SignedDuration = SignedDuration::from_hours(400 * 24);

const ID: &str = "id";
const RECOVERED_AT: &str = "recovered_at";
const RECOVERED_VALUE: &str = "recovered_value";
const ACKNOWLEDGED: &str = "acknowledged";
/// How often an acknowledgement that meets a recovery is tried.
const ACKNOWLEDGE_TRIES: usize = 3;

fn decode(item: Attributes) -> Result<Alert, TableError> {
    from_image(item.into())
}

/// The alert of an item, open or by month.
pub(crate) fn from_image(item: serde_dynamo::Item) -> Result<Alert, TableError> {
    let key = item::primary(&item)?;
    item::body(item, &key)
}

impl Table {
    fn put_if_absent(&self, item: Attributes) -> TransactWriteItem {
        let absent = Expression::new().only_if_absent(keys::PK);
        let put = Put::builder()
            .table_name(self.name())
            .set_item(Some(item))
            .set_condition_expression(absent.condition())
            .set_expression_attribute_names(absent.names())
            .build()
            .expect("table and item are set");
        TransactWriteItem::builder().put(put).build()
    }

    fn update_if(&self, key: &Primary, expression: &Expression) -> TransactWriteItem {
        let update = Update::builder()
            .table_name(self.name())
            .set_key(Some(key.attributes()))
            .set_update_expression(expression.update())
            .set_condition_expression(expression.condition())
            .set_expression_attribute_names(expression.names())
            .set_expression_attribute_values(expression.values())
            .build()
            .expect("table, key and expression are set");
        TransactWriteItem::builder().update(update).build()
    }

    /// Raises an alert, unless one by its rule is open for its subject. Tells whether it did: of many racers exactly
    /// one does. 4 write units.
    ///
    /// # Errors
    /// [`TableError`]; it may have been raised, and raising again does nothing then.
    pub async fn raise_alert(&self, alert: &Alert) -> Result<bool, TableError> {
        let open = keys::open_alert(&alert.rule, &alert.subject);
        let ttl = alert.raised_at.as_second() + KEPT.as_secs();
        let writes = vec![
            self.put_if_absent(item::item(Entity::OpenAlert, &open, None, None, alert)?),
            self.put_if_absent(item::item(
                Entity::Alert,
                &keys::alert(&alert.id),
                None,
                Some(ttl),
                alert,
            )?),
        ];
        Ok(matches!(self.transact(writes).await?, Transacted::Done))
    }

    /// Recovers an alert as `recovered_at` and `recovered_value` say. Tells whether it did; false when somebody else
    /// has, or when it is not open.
    ///
    /// # Errors
    /// [`TableError`]; it may have been recovered, and recovering again does nothing then.
    pub async fn recover_alert(&self, alert: &Alert) -> Result<bool, TableError> {
        let is_this = Expression::new().only_if(ID, "=", &alert.id);
        let close = Delete::builder()
            .table_name(self.name())
            .set_key(Some(keys::open_alert(&alert.rule, &alert.subject).attributes()))
            .set_condition_expression(is_this.condition())
            .set_expression_attribute_names(is_this.names())
            .set_expression_attribute_values(is_this.values())
            .build()
            .expect("table and key are set");
        let note = Expression::new()
            .set_some(RECOVERED_AT, alert.recovered_at)
            .set_some(RECOVERED_VALUE, alert.recovered_value)
            .only_if_present(keys::PK);
        let writes = vec![
            TransactWriteItem::builder().delete(close).build(),
            self.update_if(&keys::alert(&alert.id), &note),
        ];
        Ok(matches!(self.transact(writes).await?, Transacted::Done))
    }

    /// Notes who took notice of an alert, open or not. The first one stays. Gives the alert as it then is; `None` when
    /// there is no such alert (any more).
    ///
    /// # Errors
    /// [`TableError`]; it may have been noted.
    pub async fn acknowledge_alert(
        &self,
        id: &AlertId,
        acknowledgement: &Acknowledgement,
    ) -> Result<Option<Alert>, TableError> {
        for _ in 0..ACKNOWLEDGE_TRIES {
            let Some(mut alert) = self.alert(id).await? else {
                return Ok(None);
            };
            if alert.acknowledged.is_some() {
                return Ok(Some(alert));
            }
            let key = keys::alert(id);
            let note = Expression::new()
                .set(ACKNOWLEDGED, acknowledgement)
                .only_if_present(keys::PK)
                .only_if_absent(ACKNOWLEDGED);
            let done = if alert.is_open() {
                let open = keys::open_alert(&alert.rule, &alert.subject);
                let also = Expression::new()
                    .set(ACKNOWLEDGED, acknowledgement)
                    .only_if(ID, "=", id);
                let writes = vec![self.update_if(&open, &also), self.update_if(&key, &note)];
                matches!(self.transact(writes).await?, Transacted::Done)
            } else {
                matches!(
                    self.update(&key, note, ReturnValue::None).await?,
                    Written::Done(_)
                )
            };
            if done {
                alert.acknowledged = Some(acknowledgement.clone());
                return Ok(Some(alert));
            }
            // It recovered, or somebody else acknowledged it, in between.
        }
        Err(TableError::contended())
    }

    /// An alert, open or not, strongly consistent.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn alert(&self, id: &AlertId) -> Result<Option<Alert>, TableError> {
        self.get(&keys::alert(id)).await?.map(decode).transpose()
    }

    /// The open alert by this rule for this subject, strongly consistent.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn open_alert(
        &self,
        rule: &RuleId,
        subject: &AlertSubject,
    ) -> Result<Option<Alert>, TableError> {
        let key = keys::open_alert(rule, subject);
        self.get(&key).await?.map(decode).transpose()
    }

    /// The open alerts, by rule and subject.
    ///
    /// # Errors
    /// [`TableError::Cursor`] for a cursor that is not ours; else as every read.
    pub async fn open_alerts(&self, limit: usize, cursor: Option<&str>) -> Result<Page<Alert>, TableError> {
        if cursor.is_some_and(|cursor| cursor.is_empty() || cursor.len() > 256) {
            return Err(TableError::Cursor);
        }
        let selected = self
            .select(Select {
                pk: keys::OPEN_ALERTS,
                sk: Range::All,
                newest_first: false,
                limit: Some(limit + 1),
                after: cursor.map(|cursor| Primary::new(keys::OPEN_ALERTS, cursor)),
            })
            .await?;
        let alerts: Vec<Alert> = selected.items.into_iter().map(decode).collect::<Result<_, _>>()?;
        Ok(Page::cut(alerts, limit, selected.more, |alert| {
            keys::open_alert(&alert.rule, &alert.subject).sk
        }))
    }

    /// The alerts raised from `from` (inclusive) to `to` (exclusive), newest first, month by month; nothing is kept
    /// longer than [`KEPT`], so `from` should not lie further back.
    ///
    /// # Errors
    /// [`TableError::Cursor`] for a cursor that is not ours; else as every read.
    pub async fn alerts(
        &self,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<Alert>, TableError> {
        let after = cursor
            .map(|cursor| AlertId::from_str(cursor).map_err(|_| TableError::Cursor))
            .transpose()?;
        if after.as_ref().is_some_and(|after| after.created_at() >= to) {
            return Err(TableError::Cursor);
        }
        // DynamoDB refuses a span that is none, and a start outside of it: a cursor's alert may have become too old.
        if from >= to || after.as_ref().is_some_and(|after| after.created_at() < from) {
            return Ok(Page::empty());
        }
        let lower = keys::sortable(from);
        let newest = after.as_ref().map_or(to, AlertId::created_at);
        let mut after = after.map(|after| keys::alert(&after));
        let mut month = first_of_month(newest);
        let oldest = first_of_month(from);
        let mut alerts = Vec::new();
        while month >= oldest && alerts.len() <= limit {
            let upper = keys::sortable(to);
            let selected = self
                .select(Select {
                    pk: &keys::alerts_of_month(month),
                    // Exclusive above: nothing is stored at a bare time.
                    sk: Range::Between(&lower, &upper),
                    newest_first: true,
                    limit: Some(limit + 1 - alerts.len()),
                    after: after.take(),
                })
                .await?;
            for item in selected.items {
                alerts.push(decode(item)?);
            }
            if selected.more {
                return Ok(Page::cut(alerts, limit, true, |alert| alert.id.to_string()));
            }
            let Ok(before) = month.checked_sub(jiff::Span::new().months(1)) else {
                break;
            };
            month = before;
        }
        Ok(Page::cut(alerts, limit, false, |alert| alert.id.to_string()))
    }
}

fn first_of_month(at: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(at).date().first_of_month()
}
