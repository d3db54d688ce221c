//! Capacity units, as DynamoDB reports them with each answer.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{AfterDeserializationInterceptorContextRef, BeforeSerializationInterceptorContextMut},
    },
    error::BoxError,
    operation::{
        batch_get_item::{BatchGetItemInput, BatchGetItemOutput},
        batch_write_item::{BatchWriteItemInput, BatchWriteItemOutput},
        delete_item::{DeleteItemInput, DeleteItemOutput},
        get_item::{GetItemInput, GetItemOutput},
        put_item::{PutItemInput, PutItemOutput},
        query::{QueryInput, QueryOutput},
        transact_write_items::{TransactWriteItemsInput, TransactWriteItemsOutput},
        update_item::{UpdateItemInput, UpdateItemOutput},
    },
    types::{ConsumedCapacity, ReturnConsumedCapacity},
};

/// What requests cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spent {
    /// Requests answered with success.
    pub requests: u32,
    /// Requests answered with an error. DynamoDB reports no capacity for these; a failed condition costs 1 write
    /// unit per KB of the item that stands there (at least 1).
    pub errors: u32,
    /// Read units of the successful requests.
    pub read_units: f64,
    /// Write units of the successful requests, index writes included.
    pub write_units: f64,
}

/// Asks for the consumed capacity of every request of a client, and adds it up.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Mutex<Spent>>);

impl Meter {
    /// What was spent since the last time this was asked.
    pub fn take(&self) -> Spent {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Intercept for Meter {
    fn name(&self) -> &'static str {
        "Meter"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let input = context.input_mut();
        macro_rules! ask {
            ($($input:ty),*) => {
                $(if let Some(input) = input.downcast_mut::<$input>() {
                    input.return_consumed_capacity = Some(ReturnConsumedCapacity::Indexes);
                    return Ok(());
                })*
            };
        }
        ask!(
            GetItemInput,
            QueryInput,
            BatchGetItemInput,
            PutItemInput,
            UpdateItemInput,
            DeleteItemInput,
            TransactWriteItemsInput,
            BatchWriteItemInput
        );
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(output) = context.output_or_error() else {
            spent.errors += 1;
            return Ok(());
        };
        spent.requests += 1;
        macro_rules! add {
            ($field:ident: $($output:ty),*) => {
                $(if let Some(output) = output.downcast_ref::<$output>() {
                    let units: f64 = output.consumed_capacity.iter().map(units).sum();
                    spent.$field += units;
                    return Ok(());
                })*
            };
            (list $field:ident: $($output:ty),*) => {
                $(if let Some(output) = output.downcast_ref::<$output>() {
                    let units: f64 = output.consumed_capacity().iter().map(units).sum();
                    spent.$field += units;
                    return Ok(());
                })*
            };
        }
        add!(read_units: GetItemOutput, QueryOutput);
        add!(list read_units: BatchGetItemOutput);
        add!(write_units: PutItemOutput, UpdateItemOutput, DeleteItemOutput);
        add!(list write_units: TransactWriteItemsOutput, BatchWriteItemOutput);
        Ok(())
    }
}

fn units(capacity: &ConsumedCapacity) -> f64 {
    capacity.capacity_units().unwrap_or_default()
}
