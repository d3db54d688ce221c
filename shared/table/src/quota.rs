//! Counted calls: one item per user, lead or account and day, with a counter for the day and one for each hour.

use aws_sdk_dynamodb::{
    operation::update_item::UpdateItemError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use domain::{
    ids::{LeadId, UserId},
    toll_fraud::{Period, Quota, Window},
};

use crate::{
    Table, TableError,
    item::{self, Entity},
    keys::{self, Primary},
};

/// The day's counter.
const DAY: &str = "day";
/// Days that counters are kept, for whoever asks what happened yesterday.
const KEPT_DAYS: i64 = 3;

/// Whose calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallsOf<'a> {
    /// One user's.
    User(&'a UserId),
    /// Those to one lead.
    Lead(&'a LeadId),
    /// The account's.
    Account,
}

/// What became of counting one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// It is counted.
    Within,
    /// It is not: this quota is used up.
    UsedUp(Window),
}

fn key(of: CallsOf<'_>, period: Period) -> Primary {
    let pk = match of {
        CallsOf::User(id) => format!("QUOTA#USER#{id}"),
        CallsOf::Lead(id) => format!("QUOTA#LEAD#{id}"),
        CallsOf::Account => "QUOTA#ACCOUNT".to_owned(),
    };
    Primary::new(pk, period.day.to_string())
}

impl Table {
    /// Counts one call, if both the hour and the day have room. One write, nothing read.
    ///
    /// # Errors
    /// [`TableError`]; it may have been counted.
    pub async fn count_call(
        &self,
        of: CallsOf<'_>,
        quota: Quota,
        period: Period,
    ) -> Result<Counted, TableError> {
        let hour = format!("h{:02}", period.hour);
        let number = |n: u32| AttributeValue::N(n.to_string());
        let mut condition = "(attribute_not_exists(#day) OR #day < :per_day)".to_owned();
        let mut request = self
            .client()
            .update_item()
            .table_name(self.name())
            .set_key(Some(key(of, period).attributes()))
            .update_expression("SET #ttl = :ttl, #kind = :kind, #v = :v ADD #day :one, #hour :one")
            .expression_attribute_names("#ttl", keys::TTL)
            .expression_attribute_names("#day", DAY)
            .expression_attribute_names("#hour", &hour)
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":per_day", number(quota.per_day))
            .expression_attribute_values(":ttl", AttributeValue::N(ttl(period).to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if let Some(per_hour) = quota.per_hour {
            condition.push_str(" AND (attribute_not_exists(#hour) OR #hour < :per_hour)");
            request = request.expression_attribute_values(":per_hour", number(per_hour));
        }
        let request = item::marked(request.condition_expression(condition), Entity::Quota);
        match request.send().await {
            Ok(_) => Ok(Counted::Within),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(unmet)) => {
                    let day = unmet
                        .item
                        .as_ref()
                        .and_then(|item| item.get(DAY)?.as_n().ok()?.parse().ok());
                    Ok(Counted::UsedUp(
                        if day.is_none_or(|day: u32| day >= quota.per_day) {
                            Window::Day
                        } else {
                            Window::Hour
                        },
                    ))
                }
                _ => Err(TableError::from_sdk(error)),
            },
        }
    }
}

/// When the day's counters may go: seconds since 1970, some days after the day in any zone.
fn ttl(period: Period) -> i64 {
    let days = period
        .day
        .since(jiff::civil::date(1970, 1, 1))
        .map_or(0, |span| i64::from(span.get_days()));
    (days + 1 + KEPT_DAYS) * 24 * 60 * 60
}
