//! Requests done once: one item per user, route and key, taken by one conditional put that brings back what stands
//! there.

use aws_sdk_dynamodb::{
    operation::put_item::PutItemError,
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use domain::idempotency::{Answer, Record, Repeat, Sameness, Scope};
use jiff::Timestamp;

use crate::{
    Table, TableError,
    expression::Expression,
    item::{self, Entity},
    keys::Primary,
    store::Written,
};

const EXPIRES_AT: &str = "expires_at";
const RUNNING_UNTIL: &str = "running_until";
const SUBJECT: &str = "subject";
const ANSWER: &str = "answer";

/// What becomes of a request that wants to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It is the first: do it, under this record.
    First(Record),
    /// The first one's function died: go on under its record, whose `subject` may or may not exist.
    TakenOver(Record),
    /// It was done: this was the answer.
    Answered(Answer),
    /// It is being done, at the latest until then.
    Running {
        /// Until when.
        until: Timestamp,
    },
    /// The key was used for another request.
    Mismatch,
}

fn key(scope: &Scope) -> Primary {
    let pk = format!("IDEMPOTENCY#{}#{}", scope.user, scope.route);
    match &scope.sameness {
        Sameness::Key(given) => Primary::new(pk, format!("KEY#{given}")),
        Sameness::Moment { lead, content } => Primary::new(pk, format!("LEAD#{lead}#{content}")),
    }
}

/// Times as sort as numbers, and compare in conditions: microseconds since 1970.
#[derive(serde::Serialize, serde::Deserialize)]
struct Stored {
    subject: String,
    fingerprint: String,
    running_until: i64,
    expires_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<Answer>,
}

impl From<&Record> for Stored {
    fn from(record: &Record) -> Self {
        Self {
            subject: record.subject.clone(),
            fingerprint: record.fingerprint.clone(),
            running_until: record.running_until.as_microsecond(),
            expires_at: record.expires_at.as_microsecond(),
            answer: record.answer.clone(),
        }
    }
}

impl Stored {
    fn record(self, key: &Primary) -> Result<Record, TableError> {
        let time =
            |micros| Timestamp::from_microsecond(micros).map_err(|e| TableError::corrupt(key.to_string(), e));
        Ok(Record {
            running_until: time(self.running_until)?,
            expires_at: time(self.expires_at)?,
            subject: self.subject,
            fingerprint: self.fingerprint,
            answer: self.answer,
        })
    }
}

impl Table {
    /// Begins a request: `subject` is our id of what it makes, `fingerprint` the hash of everything that makes it what
    /// it is. One conditional put, nothing read.
    ///
    /// # Errors
    /// [`TableError`]; the request may have begun, and a repetition waits until it counts as dead.
    pub async fn begin(
        &self,
        scope: &Scope,
        subject: String,
        fingerprint: String,
        now: Timestamp,
    ) -> Result<Begun, TableError> {
        let key = key(scope);
        let record = Record::start(scope, subject, fingerprint.clone(), now);
        let mut holder = match self.take(&key, &record, now).await? {
            None => return Ok(Begun::First(record)),
            // The put went through, its answer was lost, and the SDK sent it again: nobody else has our new id.
            Some(held) if held.subject == record.subject && held.answer.is_none() => {
                return Ok(Begun::First(record));
            }
            Some(held) => held,
        };
        match holder.repeat(&fingerprint, now) {
            Repeat::Answer(answer) => Ok(Begun::Answered(answer)),
            Repeat::Running { until } => Ok(Begun::Running { until }),
            Repeat::Mismatch => Ok(Begun::Mismatch),
            Repeat::TakeOver => {
                let until = record.running_until;
                let update = Expression::new()
                    .set(RUNNING_UNTIL, until.as_microsecond())
                    .only_if(RUNNING_UNTIL, "=", holder.running_until.as_microsecond())
                    .only_if(SUBJECT, "=", &holder.subject)
                    .only_if_absent(ANSWER);
                match self.update(&key, update, ReturnValue::None).await? {
                    Written::Done(_) => {
                        holder.running_until = until;
                        Ok(Begun::TakenOver(holder))
                    }
                    // Somebody else took it over, or its function lives.
                    Written::Unmet(_) => Ok(Begun::Running { until }),
                }
            }
        }
    }

    /// Puts the record, unless one stands there that still answers: then that one comes back.
    async fn take(
        &self,
        key: &Primary,
        record: &Record,
        now: Timestamp,
    ) -> Result<Option<Record>, TableError> {
        // Deleted by TTL a day after it stopped answering: late enough for a person to look at.
        let ttl = record.expires_at.as_second() + 24 * 60 * 60;
        let item = item::item(Entity::Idempotency, key, None, Some(ttl), &Stored::from(record))?;
        let answer = self
            .client()
            .put_item()
            .table_name(self.name())
            .set_item(Some(item))
            // A record without a key lives for seconds, but not less long than its function may be at work.
            .condition_expression(
                "attribute_not_exists(#expires) OR (#expires <= :now AND (#running <= :now OR attribute_exists(#answer)))",
            )
            .expression_attribute_names("#expires", EXPIRES_AT)
            .expression_attribute_names("#running", RUNNING_UNTIL)
            .expression_attribute_names("#answer", ANSWER)
            .expression_attribute_values(":now", AttributeValue::N(now.as_microsecond().to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(None),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(unmet)) => {
                    let held = unmet
                        .item
                        .clone()
                        .ok_or_else(|| TableError::corrupt(key.to_string(), "no item came back"))?;
                    item::body::<Stored>(held.into(), key)?.record(key).map(Some)
                }
                _ => Err(TableError::from_sdk(error)),
            },
        }
    }

    /// Keeps the answer of a request that `record` began, for whoever repeats it.
    ///
    /// # Errors
    /// [`TableError`]; repetitions then go on with the record's subject.
    pub async fn finish(&self, scope: &Scope, record: &Record, answer: &Answer) -> Result<(), TableError> {
        let update = Expression::new()
            .set(ANSWER, answer)
            .only_if(SUBJECT, "=", &record.subject);
        self.update(&key(scope), update, ReturnValue::None).await?;
        Ok(())
    }

    /// Forgets a request that made nothing: it may be sent again, also differently.
    ///
    /// # Errors
    /// [`TableError`]; repetitions then wait until it counts as dead.
    pub async fn abandon(&self, scope: &Scope, record: &Record) -> Result<(), TableError> {
        let mine = Expression::new()
            .only_if(SUBJECT, "=", &record.subject)
            .only_if_absent(ANSWER);
        self.delete(&key(scope), mine).await?;
        Ok(())
    }
}
