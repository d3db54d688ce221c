//! Rows that are not final yet: kept by the stream's projection, read by the sweep.

use domain::ids::{CallId, CallLocator, SmsId, SmsLocator};
use jiff::Timestamp;

use crate::{
    Page, Table, TableError,
    expression::Expression,
    item::{self, Entity},
    keys::{self, Primary},
    store::{Range, Select},
};

/// Entries of a page.
const PAGE: usize = 100;

impl Table {
    async fn open(&self, entity: Entity, key: Primary) -> Result<(), TableError> {
        let none = std::collections::BTreeMap::<&str, &str>::new();
        self.put(item::item(entity, &key, None, None, &none)?, Expression::new())
            .await?;
        Ok(())
    }

    /// Notes that a call is not final.
    ///
    /// # Errors
    /// [`TableError`]; noting again is always safe.
    pub async fn open_call(&self, call: &CallLocator) -> Result<(), TableError> {
        self.open(Entity::OpenCall, keys::open_call(call)).await
    }

    /// Notes that a call is final, or gone.
    ///
    /// # Errors
    /// [`TableError`]; noting again is always safe.
    pub async fn close_call(&self, call: &CallLocator) -> Result<(), TableError> {
        self.delete(&keys::open_call(call), Expression::new()).await?;
        Ok(())
    }

    /// Notes that an SMS is not final.
    ///
    /// # Errors
    /// [`TableError`]; noting again is always safe.
    pub async fn open_sms(&self, sms: &SmsLocator) -> Result<(), TableError> {
        self.open(Entity::OpenSms, keys::open_sms(sms)).await
    }

    /// Notes that an SMS is final, or gone.
    ///
    /// # Errors
    /// [`TableError`]; noting again is always safe.
    pub async fn close_sms(&self, sms: &SmsLocator) -> Result<(), TableError> {
        self.delete(&keys::open_sms(sms), Expression::new()).await?;
        Ok(())
    }

    /// The calls wanted before `created_before` that are not final, oldest first, 100 to a page. The row itself
    /// decides: an entry may be late by a moment.
    ///
    /// # Errors
    /// [`TableError::Cursor`] for a cursor that is not ours; else as every read.
    pub async fn open_calls(
        &self,
        created_before: Timestamp,
        cursor: Option<&str>,
    ) -> Result<Page<CallLocator>, TableError> {
        let bound = CallId::lower_bound(created_before);
        self.opened(keys::OPEN_CALLS, bound.as_str(), cursor).await
    }

    /// The newest calls wanted since this moment that are not final, `limit` at most; `next` tells only whether there are
    /// more.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn newest_open_calls(
        &self,
        since: Timestamp,
        limit: usize,
    ) -> Result<Page<CallLocator>, TableError> {
        let from = CallId::lower_bound(since);
        let selected = self
            .select(Select {
                pk: keys::OPEN_CALLS,
                // Behind every id.
                sk: Range::Between(from.as_str(), "call_~"),
                newest_first: true,
                limit: Some(limit + 1),
                after: None,
            })
            .await?;
        let locators = selected
            .items
            .into_iter()
            .map(|item| {
                let key = item::primary(&item.into())?;
                key.sk
                    .parse()
                    .map_err(|e: domain::DomainError| TableError::corrupt(key.to_string(), e))
            })
            .collect::<Result<_, TableError>>()?;
        Ok(Page::cut(locators, limit, selected.more, CallLocator::to_string))
    }

    /// The SMS wanted before `created_before` that are not final, as [`Table::open_calls`].
    ///
    /// # Errors
    /// [`TableError::Cursor`] for a cursor that is not ours; else as every read.
    pub async fn open_sms_messages(
        &self,
        created_before: Timestamp,
        cursor: Option<&str>,
    ) -> Result<Page<SmsLocator>, TableError> {
        let bound = SmsId::lower_bound(created_before);
        self.opened(keys::OPEN_MESSAGES, bound.as_str(), cursor).await
    }

    async fn opened<L>(&self, pk: &str, bound: &str, cursor: Option<&str>) -> Result<Page<L>, TableError>
    where
        L: std::str::FromStr<Err = domain::DomainError> + ToString,
    {
        let after: Option<L> = cursor
            .map(|cursor| cursor.parse().map_err(|_| TableError::Cursor))
            .transpose()?;
        let selected = self
            .select(Select {
                pk,
                sk: Range::Before(bound),
                newest_first: false,
                limit: Some(PAGE + 1),
                after: after.map(|locator| Primary::new(pk, locator.to_string())),
            })
            .await?;
        let locators = selected
            .items
            .into_iter()
            .map(|item| {
                let key = item::primary(&item.into())?;
                key.sk
                    .parse()
                    .map_err(|e: domain::DomainError| TableError::corrupt(key.to_string(), e))
            })
            .collect::<Result<_, TableError>>()?;
        Ok(Page::cut(locators, PAGE, selected.more, L::to_string))
    }
}
