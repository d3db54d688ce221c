//! The table itself: the few DynamoDB operations that every access pattern is made of.

use aws_sdk_dynamodb::{
    Client,
    operation::{
        delete_item::DeleteItemError, put_item::PutItemError, transact_write_items::TransactWriteItemsError,
        update_item::UpdateItemError,
    },
    types::{
        AttributeValue, CancellationReason, DeleteRequest, KeysAndAttributes, PutRequest, ReturnValue,
        ReturnValuesOnConditionCheckFailure, TransactWriteItem, WriteRequest,
    },
};

use crate::{
    TableError,
    expression::Expression,
    item,
    keys::{self, Attributes, Primary},
};

/// How often a batch whose rest DynamoDB hands back is sent again at once before we call the table unavailable.
const BATCH_TRIES: usize = 4;
/// How often a transaction that conflicts with another one is tried before we call the table unavailable.
const CONFLICT_TRIES: usize = 5;
/// BatchGetItem takes at most this many keys.
const BATCH_GET_KEYS: usize = 100;
/// BatchWriteItem takes at most this many items.
const BATCH_WRITE_ITEMS: usize = 25;

/// The single table. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Table {
    client: Client,
    name: String,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// Where the next page starts, if there may be one. Plain text: whoever hands it out signs it.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Nothing, and nothing behind it.
    pub(crate) fn empty() -> Self {
        Self {
            items: Vec::new(),
            next: None,
        }
    }

    /// Cuts what was read to `limit`, and names the last one kept when more was read or `more` is known to exist.
    pub(crate) fn cut(mut items: Vec<T>, limit: usize, more: bool, cursor: impl Fn(&T) -> String) -> Self {
        let more = more || items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(cursor) } else { None };
        Self { items, next }
    }
}

/// A request's future is several KB and nests deep; on the heap, those of its callers stay small, and their types
/// within what the compiler follows.
fn boxed<F: Future>(future: F) -> std::pin::Pin<Box<F>> {
    Box::pin(future)
}

/// What became of a conditional write.
#[derive(Debug)]
pub(crate) enum Written {
    /// Done; the attributes asked for.
    Done(Option<Attributes>),
    /// The condition did not hold; the item as it stands, or `None` when there is none.
    Unmet(Option<Attributes>),
}

/// What became of a transaction.
#[derive(Debug)]
pub(crate) enum Transacted {
    /// All writes are done.
    Done,
    /// Nothing is; for each write, whether its condition was what failed.
    Unmet(Vec<bool>),
}

/// What one query reads.
#[derive(Debug)]
pub(crate) struct Select<'a> {
    /// Partition key.
    pub(crate) pk: &'a str,
    /// Condition on the sort key.
    pub(crate) sk: Range<'a>,
    /// Whether the greatest sort key comes first.
    pub(crate) newest_first: bool,
    /// Most items to read.
    pub(crate) limit: Option<usize>,
    /// The key after which to start.
    pub(crate) after: Option<Primary>,
}

/// A condition on the sort key.
#[derive(Debug)]
pub(crate) enum Range<'a> {
    /// Any.
    All,
    /// Begins with it.
    Prefix(&'a str),
    /// Between both, inclusive.
    Between(&'a str, &'a str),
    /// Less than it.
    Before(&'a str),
}

/// What one query gave.
#[derive(Debug)]
pub(crate) struct Selected {
    pub(crate) items: Vec<Attributes>,
    /// Whether there may be more.
    pub(crate) more: bool,
}

/// What a query reads, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// The table, with every write that was answered before.
    Consistent,
    /// The table; writes of the last moment may be missing.
    Late,
    /// The index, which is always behind.
    Index,
}

impl Table {
    /// The table of this name, reached by this client.
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        Self {
            client,
            name: name.into(),
        }
    }

    /// The client, for the conditions that one module alone needs.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The table's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Reads one item, strongly consistent.
    pub(crate) async fn get(&self, key: &Primary) -> Result<Option<Attributes>, TableError> {
        let answer = boxed(
            self.client
                .get_item()
                .table_name(&self.name)
                .set_key(Some(key.attributes()))
                .consistent_read(true)
                .send(),
        )
        .await;
        Ok(answer.map_err(TableError::from_sdk)?.item)
    }

    /// Writes one item whole, if the condition holds. Gives the item that stood there before.
    pub(crate) async fn put(&self, item: Attributes, condition: Expression) -> Result<Written, TableError> {
        let answer = boxed(
            self.client
                .put_item()
                .table_name(&self.name)
                .set_item(Some(item))
                .set_condition_expression(condition.condition())
                .set_expression_attribute_names(condition.names())
                .set_expression_attribute_values(condition.values())
                .return_values(ReturnValue::AllOld)
                .send(),
        )
        .await;
        match answer {
            Ok(answer) => Ok(Written::Done(answer.attributes)),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(unmet)) => {
                    Ok(Written::Unmet(unmet.item.clone()))
                }
                _ => Err(TableError::from_sdk(error)),
            },
        }
    }

    /// Changes one item, if the condition holds; on failure the old item comes back with the same request.
    pub(crate) async fn update(
        &self,
        key: &Primary,
        expression: Expression,
        returning: ReturnValue,
    ) -> Result<Written, TableError> {
        let answer = boxed(
            self.client
                .update_item()
                .table_name(&self.name)
                .set_key(Some(key.attributes()))
                .set_update_expression(expression.update())
                .set_condition_expression(expression.condition())
                .set_expression_attribute_names(expression.names())
                .set_expression_attribute_values(expression.values())
                .return_values(returning)
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                .send(),
        )
        .await;
        match answer {
            Ok(answer) => Ok(Written::Done(answer.attributes)),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(unmet)) => {
                    Ok(Written::Unmet(unmet.item.clone()))
                }
                _ => Err(TableError::from_sdk(error)),
            },
        }
    }

    /// Removes one item, if the condition holds. Removing what is not there is done.
    pub(crate) async fn delete(&self, key: &Primary, condition: Expression) -> Result<Written, TableError> {
        let answer = boxed(
            self.client
                .delete_item()
                .table_name(&self.name)
                .set_key(Some(key.attributes()))
                .set_condition_expression(condition.condition())
                .set_expression_attribute_names(condition.names())
                .set_expression_attribute_values(condition.values())
                .send(),
        )
        .await;
        match answer {
            Ok(answer) => Ok(Written::Done(answer.attributes)),
            Err(error) => match error.as_service_error() {
                Some(DeleteItemError::ConditionalCheckFailedException(unmet)) => {
                    Ok(Written::Unmet(unmet.item.clone()))
                }
                _ => Err(TableError::from_sdk(error)),
            },
        }
    }

    /// Does all writes or none. Two clicks on one lead at the same moment meet on its row: whoever comes second finds
    /// a conflict and tries again at once, since the first is done within milliseconds.
    pub(crate) async fn transact(&self, writes: Vec<TransactWriteItem>) -> Result<Transacted, TableError> {
        let mut tries = 1;
        loop {
            let answer = boxed(
                self.client
                    .transact_write_items()
                    .set_transact_items(Some(writes.clone()))
                    .send(),
            )
            .await;
            let Err(error) = answer else {
                return Ok(Transacted::Done);
            };
            let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) =
                error.as_service_error()
            else {
                return Err(TableError::from_sdk(error));
            };
            let reasons = canceled.cancellation_reasons();
            let is = |code| move |reason: &CancellationReason| reason.code() == Some(code);
            let unmet: Vec<bool> = reasons.iter().map(is("ConditionalCheckFailed")).collect();
            if unmet.contains(&true) {
                return Ok(Transacted::Unmet(unmet));
            }
            if tries == CONFLICT_TRIES || !reasons.iter().any(is("TransactionConflict")) {
                return Err(TableError::from_sdk(error));
            }
            tries += 1;
        }
    }

    /// One query of the table, strongly consistent.
    pub(crate) async fn select(&self, select: Select<'_>) -> Result<Selected, TableError> {
        self.query(select, Reading::Consistent).await
    }

    /// One query of the table as it was a moment ago, for half the price.
    pub(crate) async fn select_late(&self, select: Select<'_>) -> Result<Selected, TableError> {
        self.query(select, Reading::Late).await
    }

    /// One query of the index, whose items are keys alone.
    pub(crate) async fn select_index(&self, select: Select<'_>) -> Result<Selected, TableError> {
        self.query(select, Reading::Index).await
    }

    async fn query(&self, select: Select<'_>, reading: Reading) -> Result<Selected, TableError> {
        let index = reading == Reading::Index;
        let (pk, sk) = if index {
            (keys::GSI1PK, keys::GSI1SK)
        } else {
            (keys::PK, keys::SK)
        };
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let mut request = self
            .client
            .query()
            .table_name(&self.name)
            .expression_attribute_names("#pk", pk)
            .expression_attribute_values(":pk", text(select.pk))
            .consistent_read(reading == Reading::Consistent)
            .scan_index_forward(!select.newest_first);
        if index {
            request = request.index_name(keys::GSI1);
        }
        request = match select.sk {
            Range::All => request.key_condition_expression("#pk = :pk"),
            Range::Prefix(prefix) => request
                .key_condition_expression("#pk = :pk AND begins_with(#sk, :prefix)")
                .expression_attribute_values(":prefix", text(prefix))
                .expression_attribute_names("#sk", sk),
            Range::Between(from, to) => request
                .key_condition_expression("#pk = :pk AND #sk BETWEEN :from AND :to")
                .expression_attribute_values(":from", text(from))
                .expression_attribute_values(":to", text(to))
                .expression_attribute_names("#sk", sk),
            Range::Before(bound) => request
                .key_condition_expression("#pk = :pk AND #sk < :bound")
                .expression_attribute_values(":bound", text(bound))
                .expression_attribute_names("#sk", sk),
        };
        if let Some(after) = select.after {
            let mut start = after.attributes();
            if index {
                start.insert(keys::GSI1PK.to_owned(), text(select.pk));
                start.insert(keys::GSI1SK.to_owned(), text(keys::index_sk(&after)));
            }
            request = request.set_exclusive_start_key(Some(start));
        }
        if let Some(limit) = select.limit {
            request = request.limit(i32::try_from(limit).unwrap_or(i32::MAX));
        }
        let answer = boxed(request.send()).await.map_err(TableError::from_sdk)?;
        Ok(Selected {
            more: answer.last_evaluated_key.is_some(),
            items: answer.items.unwrap_or_default(),
        })
    }

    /// Reads the items of these keys, strongly consistent, in the order of the keys; missing ones are left out.
    pub(crate) async fn get_all(&self, keys: &[Primary]) -> Result<Vec<Attributes>, TableError> {
        let mut found = std::collections::HashMap::new();
        for chunk in keys.chunks(BATCH_GET_KEYS) {
            let mut wanted: Vec<Attributes> = chunk.iter().map(Primary::attributes).collect();
            let mut tries = 0;
            while !wanted.is_empty() {
                if tries == BATCH_TRIES {
                    return Err(TableError::contended());
                }
                tries += 1;
                let request = KeysAndAttributes::builder()
                    .set_keys(Some(wanted))
                    .consistent_read(true)
                    .build()
                    .expect("the keys are set");
                let answer = boxed(
                    self.client
                        .batch_get_item()
                        .request_items(&self.name, request)
                        .send(),
                )
                .await
                .map_err(TableError::from_sdk)?;
                for item in answer
                    .responses
                    .into_iter()
                    .flat_map(|mut r| r.remove(&self.name))
                    .flatten()
                {
                    found.insert(item::primary(&item.clone().into())?, item);
                }
                wanted = answer
                    .unprocessed_keys
                    .and_then(|mut rest| rest.remove(&self.name))
                    .map(|rest| rest.keys)
                    .unwrap_or_default();
            }
        }
        Ok(keys.iter().filter_map(|key| found.remove(key)).collect())
    }

    /// Removes the items of these keys; missing ones count as removed.
    pub(crate) async fn delete_all(&self, keys: &[Primary]) -> Result<(), TableError> {
        let deletes = keys.iter().map(|key| {
            let delete = DeleteRequest::builder()
                .set_key(Some(key.attributes()))
                .build()
                .expect("the key is set");
            WriteRequest::builder().delete_request(delete).build()
        });
        self.write_all(deletes.collect()).await
    }

    /// Writes items whole, whatever stood there. Their keys differ.
    pub(crate) async fn put_all(&self, items: Vec<Attributes>) -> Result<(), TableError> {
        let puts = items.into_iter().map(|item| {
            let put = PutRequest::builder()
                .set_item(Some(item))
                .build()
                .expect("the item is set");
            WriteRequest::builder().put_request(put).build()
        });
        self.write_all(puts.collect()).await
    }

    async fn write_all(&self, writes: Vec<WriteRequest>) -> Result<(), TableError> {
        for chunk in writes.chunks(BATCH_WRITE_ITEMS) {
            let mut rest = chunk.to_vec();
            let mut tries = 0;
            while !rest.is_empty() {
                if tries == BATCH_TRIES {
                    return Err(TableError::contended());
                }
                tries += 1;
                let answer = boxed(
                    self.client
                        .batch_write_item()
                        .request_items(&self.name, rest)
                        .send(),
                )
                .await
                .map_err(TableError::from_sdk)?;
                rest = answer
                    .unprocessed_items
                    .and_then(|mut rest| rest.remove(&self.name))
                    .unwrap_or_default();
            }
        }
        Ok(())
    }
}
