//! The team's numbers at Exotel: an item for each by its id, in one partition, and a copy of it by the number.
//!
//! The copy lets no two have the same number, and tells a call's bot with one read. Both are written in one transaction.

use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use domain::{ids::DidId, integration::Did, phone::PhoneNumber};
use serde::Serialize;

use crate::{
    Table, TableError,
    expression::Expression,
    item::{self, Entity},
    keys::{self, Attributes, Primary},
    store::{Range, Select, Transacted},
};

const ID: &str = "id";
const NUMBER: &str = "number";

/// What became of writing a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DidWritten {
    /// It is written.
    Done,
    /// Nothing is: another one has this number.
    NumberTaken,
    /// Nothing is: it is not what it was any more, or is gone.
    Changed,
}

fn decode(item: Attributes) -> Result<Did, TableError> {
    let item: serde_dynamo::Item = item.into();
    let key = item::primary(&item)?;
    item::body(item, &key)
}

/// As it was read: each attribute has the value it had, or is as absent as it was.
fn unchanged(did: &Did) -> Expression {
    fn same(expression: Expression, name: &str, value: Option<impl Serialize>) -> Expression {
        match value {
            Some(value) => expression.only_if(name, "=", value),
            None => expression.only_if_absent(name),
        }
    }
    let expression = Expression::new().only_if(NUMBER, "=", &did.number);
    let expression = same(expression, "label", did.label.as_ref());
    let expression = same(expression, "bot_id", did.bot_id.as_ref());
    same(expression, "flow_url", did.flow_url.as_ref())
}

impl Table {
    fn put_did(&self, did: &Did, condition: &Expression) -> Result<TransactWriteItem, TableError> {
        let item = item::item(Entity::Did, &keys::did(&did.id), None, None, did)?;
        Ok(self.put_when(item, condition))
    }

    fn put_did_of_number(&self, did: &Did, condition: &Expression) -> Result<TransactWriteItem, TableError> {
        let key = keys::did_of_number(&did.number);
        let item = item::item(Entity::DidOfNumber, &key, None, None, did)?;
        Ok(self.put_when(item, condition))
    }

    fn put_when(&self, item: Attributes, condition: &Expression) -> TransactWriteItem {
        let put = Put::builder()
            .table_name(self.name())
            .set_item(Some(item))
            .set_condition_expression(condition.condition())
            .set_expression_attribute_names(condition.names())
            .set_expression_attribute_values(condition.values())
            .build()
            .expect("table and item are set");
        TransactWriteItem::builder().put(put).build()
    }

    fn delete_when(&self, key: &Primary, condition: &Expression) -> TransactWriteItem {
        let delete = Delete::builder()
            .table_name(self.name())
            .set_key(Some(key.attributes()))
            .set_condition_expression(condition.condition())
            .set_expression_attribute_names(condition.names())
            .set_expression_attribute_values(condition.values())
            .build()
            .expect("table and key are set");
        TransactWriteItem::builder().delete(delete).build()
    }

    /// Adds a number of the team's, unless one of this number is there. 4 write units.
    ///
    /// # Errors
    /// [`TableError`]; it may have been added, and adding the same again says that the number is taken.
    pub async fn add_did(&self, did: &Did) -> Result<DidWritten, TableError> {
        let absent = Expression::new().only_if_absent(keys::PK);
        let writes = vec![self.put_did(did, &absent)?, self.put_did_of_number(did, &absent)?];
        Ok(match self.transact(writes).await? {
            Transacted::Done => DidWritten::Done,
            Transacted::Unmet(_) => DidWritten::NumberTaken,
        })
    }

    /// Changes a number of the team's, whose id stays, if it is still `before`. 4 write units, 6 with another number.
    ///
    /// # Errors
    /// [`TableError`]; it may have been changed.
    pub async fn change_did(&self, before: &Did, after: &Did) -> Result<DidWritten, TableError> {
        let its_own = Expression::new().only_if(ID, "=", &before.id);
        let mut writes = vec![self.put_did(after, &unchanged(before))?];
        if before.number == after.number {
            writes.push(self.put_did_of_number(after, &its_own)?);
        } else {
            let absent = Expression::new().only_if_absent(keys::PK);
            writes.push(self.put_did_of_number(after, &absent)?);
            writes.push(self.delete_when(&keys::did_of_number(&before.number), &its_own));
        }
        Ok(match self.transact(writes).await? {
            Transacted::Done => DidWritten::Done,
            Transacted::Unmet(unmet) if unmet.first() == Some(&true) => DidWritten::Changed,
            Transacted::Unmet(_) => DidWritten::NumberTaken,
        })
    }

    /// Removes a number of the team's, if it is still `did`. 4 write units.
    ///
    /// # Errors
    /// [`TableError`]; it may have been removed, and removing it again says that it has changed.
    pub async fn remove_did(&self, did: &Did) -> Result<DidWritten, TableError> {
        let its_own = Expression::new().only_if(ID, "=", &did.id);
        let writes = vec![
            self.delete_when(&keys::did(&did.id), &unchanged(did)),
            self.delete_when(&keys::did_of_number(&did.number), &its_own),
        ];
        Ok(match self.transact(writes).await? {
            Transacted::Done => DidWritten::Done,
            Transacted::Unmet(_) => DidWritten::Changed,
        })
    }

    /// The team's numbers, in the order in which they were added, strongly consistent. A few hundred at most.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn dids(&self) -> Result<Vec<Did>, TableError> {
        let selected = self
            .select(Select {
                pk: keys::DIDS,
                sk: Range::Prefix(keys::DID),
                newest_first: false,
                limit: None,
                after: None,
            })
            .await?;
        selected.items.into_iter().map(decode).collect()
    }

    /// A number of the team's, strongly consistent.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn did(&self, id: &DidId) -> Result<Option<Did>, TableError> {
        self.get(&keys::did(id)).await?.map(decode).transpose()
    }

    /// What is known of this number, when it is one of the team's; strongly consistent.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn did_of_number(&self, number: &PhoneNumber) -> Result<Option<Did>, TableError> {
        self.get(&keys::did_of_number(number))
            .await?
            .map(decode)
            .transpose()
    }
}
