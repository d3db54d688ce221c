//! Leads and users; erasing and exporting a lead.

use aws_sdk_dynamodb::types::{Delete, Put as PutItem, ReturnValue, TransactWriteItem, Update};
use domain::{
    access::Role,
    directory::{Lead, User},
    ids::{LeadId, UserId},
    phone::PhoneNumber,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Page, Record, Table, TableError,
    expression::Expression,
    item::{self, Entity},
    keys::{self, Gsi1, Primary, Scope},
    store::{Range, Select, Transacted, Written},
};

/// How often a lead's write meets somebody else's before we call it contended.
const PUT_TRIES: usize = 4;
/// Most leads with one number that we look at.
const SAME_PHONE: usize = 100;
/// Items of an export's page; a page also ends at DynamoDB's 1 MB.
const EXPORT_ITEMS: usize = 200;
/// A lead row that has this attribute is being erased: nobody sees it, and nothing is added to it.
const ERASING: &str = "erasing";

/// What a put did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is new.
    Created,
    /// It was there, and is as given now.
    Replaced,
    /// The lead is being erased; nothing was written. Finish erasing it first.
    BeingErased,
}

/// Whose leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeadScope<'a> {
    /// All.
    All,
    /// Those whose `owningSalesHeadId` it is.
    Owner(&'a UserId),
    /// Those whose `assignedTo` it is.
    Assignee(&'a UserId),
}

/// How far erasing a lead got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    /// Items of the lead removed now; 0 and `done` when there was no lead.
    pub deleted: usize,
    /// Whether nothing is left. If not, ask again: the lead is invisible already.
    pub done: bool,
}

/// A lead as its item holds it; the key tells the id.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LeadRow {
    name: String,
    phone: PhoneNumber,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    assignee: Option<UserId>,
    #[serde(default)]
    call_count: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_contacted_at: Option<Timestamp>,
    #[serde(default, skip_serializing)]
    erasing: bool,
}

/// A user as its item holds it; the key tells the id.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UserRow {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    phone: Option<PhoneNumber>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    full_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
}

/// The lead of an item, or `None` while it is being erased.
pub(crate) fn decode_lead(item: serde_dynamo::Item) -> Result<Option<Lead>, TableError> {
    let key = item::primary(&item)?;
    let id = keys::lead_of_partition(&key.pk)
        .ok_or_else(|| TableError::corrupt(key.to_string(), "the key names no lead"))?;
    let row: LeadRow = item::body(item, &key)?;
    Ok((!row.erasing).then_some(Lead {
        id,
        name: row.name,
        phone: row.phone,
        owning_sales_head_id: row.owner,
        assigned_to: row.assignee,
        call_count: row.call_count,
        last_contacted_at: row.last_contacted_at,
    }))
}

/// The user of an item.
pub(crate) fn decode_user(item: serde_dynamo::Item) -> Result<User, TableError> {
    let key = item::primary(&item)?;
    let id = key
        .pk
        .strip_prefix("USER#")
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| TableError::corrupt(key.to_string(), "the key names no user"))?;
    let row: UserRow = item::body(item, &key)?;
    Ok(User {
        id,
        phone: row.phone,
        full_name: row.full_name,
        email: row.email,
        role: row.role,
    })
}

impl Table {
    /// The lead, strongly consistent; `None` while it is being erased.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn lead(&self, id: &LeadId) -> Result<Option<Lead>, TableError> {
        match self.get(&keys::lead(id)).await? {
            Some(item) => decode_lead(item.into()),
            None => Ok(None),
        }
    }

    /// Writes the lead and its places in the lists, all or nothing. `call_count` and `last_contacted_at` of a lead
    /// that is there already stay; those of the argument are not looked at.
    ///
    /// # Errors
    /// [`TableError`]; putting again is always safe.
    pub async fn put_lead(&self, lead: &Lead) -> Result<Put, TableError> {
        for _ in 0..PUT_TRIES {
            let held = self.get(&keys::lead(&lead.id)).await?;
            if held.as_ref().is_some_and(|item| item.contains_key(ERASING)) {
                return Ok(Put::BeingErased);
            }
            match self.transact(self.lead_writes(lead, held.is_some())?).await? {
                Transacted::Done if held.is_some() => return Ok(Put::Replaced),
                Transacted::Done => return Ok(Put::Created),
                // Somebody created or erased it in between.
                Transacted::Unmet(_) => {}
            }
        }
        Err(TableError::contended())
    }

    fn lead_writes(&self, lead: &Lead, exists: bool) -> Result<Vec<TransactWriteItem>, TableError> {
        let by_phone = keys::lead_by_phone(&lead.id, &lead.phone);
        let row = Expression::new()
            .set("name", &lead.name)
            .set("phone", &lead.phone)
            .set_or_remove("owner", lead.owning_sales_head_id.as_ref())
            .set_or_remove("assignee", lead.assigned_to.as_ref())
            .set_once("call_count", 0)
            .set(keys::GSI1PK, by_phone.pk)
            .set(keys::GSI1SK, by_phone.sk)
            .set(keys::ENTITY_TYPE, Entity::Lead.as_str())
            .set(keys::VERSION, item::VERSION);
        let row = if exists {
            row.only_if_present(keys::PK).only_if_absent(ERASING)
        } else {
            row.only_if_absent(keys::PK)
        };
        let row = Update::builder()
            .table_name(self.name())
            .set_key(Some(keys::lead(&lead.id).attributes()))
            .set_update_expression(row.update())
            .set_condition_expression(row.condition())
            .set_expression_attribute_names(row.names())
            .set_expression_attribute_values(row.values())
            .build()
            .expect("key, table and update are set");
        let mut writes = vec![TransactWriteItem::builder().update(row).build()];
        for (scope, user) in [
            (Scope::All, Some("")),
            (
                Scope::Owner,
                lead.owning_sales_head_id.as_ref().map(UserId::as_str),
            ),
            (Scope::Assignee, lead.assigned_to.as_ref().map(UserId::as_str)),
        ] {
            let key = Primary::new(keys::lead_partition(&lead.id), scope.sk());
            let write = match user {
                Some(user) => {
                    let gsi1 = Gsi1 {
                        pk: scope.partition(user),
                        sk: key.pk.clone(),
                    };
                    let none = std::collections::BTreeMap::<&str, &str>::new();
                    let put = PutItem::builder()
                        .table_name(self.name())
                        .set_item(Some(item::item(Entity::Scope, &key, Some(gsi1), None, &none)?))
                        .build()
                        .expect("item and table are set");
                    TransactWriteItem::builder().put(put)
                }
                None => {
                    let delete = Delete::builder()
                        .table_name(self.name())
                        .set_key(Some(key.attributes()))
                        .build()
                        .expect("key and table are set");
                    TransactWriteItem::builder().delete(delete)
                }
            };
            writes.push(write.build());
        }
        Ok(writes)
    }

    /// The leads of a scope, by id; `cursor` is a page's `next`. A lead that has just changed hands may be missing
    /// for a moment, and never shows up in the wrong scope: the rows themselves are read and checked.
    ///
    /// # Errors
    /// [`TableError::Cursor`] for a cursor that is not ours; else as every read.
    pub async fn leads(
        &self,
        scope: LeadScope<'_>,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<Lead>, TableError> {
        let (kind, user) = match scope {
            LeadScope::All => (Scope::All, ""),
            LeadScope::Owner(user) => (Scope::Owner, user.as_str()),
            LeadScope::Assignee(user) => (Scope::Assignee, user.as_str()),
        };
        let after: Option<LeadId> = cursor
            .map(|cursor| cursor.parse().map_err(|_| TableError::Cursor))
            .transpose()?;
        let selected = self
            .select_index(Select {
                pk: &kind.partition(user),
                sk: Range::All,
                newest_first: false,
                limit: Some(limit + 1),
                after: after.map(|id| Primary::new(keys::lead_partition(&id), kind.sk())),
            })
            .await?;
        let ids = selected
            .items
            .into_iter()
            .map(|item| Ok(item::primary(&item.into())?.pk))
            .collect::<Result<Vec<String>, TableError>>()?;
        let page = Page::cut(ids, limit, selected.more, |pk| {
            keys::lead_of_partition(pk).map_or_else(String::new, String::from)
        });
        let rows: Vec<Primary> = page.items.iter().map(|pk| Primary::new(pk, keys::LEAD)).collect();
        let mut leads = self.read_leads(&rows).await?;
        leads.retain(|lead| match scope {
            LeadScope::All => true,
            LeadScope::Owner(user) => lead.owning_sales_head_id.as_ref() == Some(user),
            LeadScope::Assignee(user) => lead.assigned_to.as_ref() == Some(user),
        });
        Ok(Page {
            items: leads,
            next: page.next,
        })
    }

    /// The leads with this number, the most recently contacted first, those never contacted last; at most 100.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn leads_by_phone(&self, phone: &PhoneNumber) -> Result<Vec<Lead>, TableError> {
        let selected = self
            .select_index(Select {
                pk: &keys::phone_partition(phone),
                sk: Range::All,
                newest_first: false,
                limit: Some(SAME_PHONE),
                after: None,
            })
            .await?;
        let rows = selected
            .items
            .into_iter()
            .map(|item| item::primary(&item.into()))
            .collect::<Result<Vec<_>, _>>()?;
        let mut leads = self.read_leads(&rows).await?;
        leads.retain(|lead| lead.phone == *phone);
        leads.sort_by_key(|lead| std::cmp::Reverse(lead.last_contacted_at));
        Ok(leads)
    }

    async fn read_leads(&self, rows: &[Primary]) -> Result<Vec<Lead>, TableError> {
        let items = self.get_all(rows).await?;
        items
            .into_iter()
            .filter_map(|item| decode_lead(item.into()).transpose())
            .collect()
    }

    /// Everything of a lead, as it is stored, oldest first within each kind, its sessions with bots with what was said;
    /// `cursor` is a page's `next`.
    ///
    /// # Errors
    /// [`TableError::Cursor`] for a cursor that is not ours; else as every read.
    pub async fn export_lead(&self, id: &LeadId, cursor: Option<&str>) -> Result<Page<Record>, TableError> {
        let pk = keys::lead_partition(id);
        if cursor.is_some_and(|cursor| cursor.is_empty() || cursor.len() > 512) {
            return Err(TableError::Cursor);
        }
        let selected = self
            .select(Select {
                pk: &pk,
                sk: Range::All,
                newest_first: false,
                limit: Some(EXPORT_ITEMS),
                after: cursor.map(|sk| Primary::new(&pk, sk)),
            })
            .await?;
        let mut next = None;
        let mut records = Vec::with_capacity(selected.items.len());
        for item in selected.items {
            let item = serde_dynamo::Item::from(item);
            next = item::text(&item, keys::SK).map(str::to_owned);
            if let Some(session) = keys::placed_voice_session(&item::primary(&item)?) {
                let transcribed = self.transcribed(&session).await?;
                records.extend(transcribed.map(|session| Record::Transcribed(Box::new(session))));
                continue;
            }
            match Record::from_item(item)? {
                Record::Other { .. } => {}
                record => records.push(record),
            }
        }
        let messages = records.iter_mut().filter_map(|record| match record {
            Record::Sms(sms) => Some(&mut **sms),
            _ => None,
        });
        self.read_texts(messages).await?;
        Ok(Page {
            items: records,
            next: next.filter(|_| selected.more),
        })
    }

    /// Erases a lead's item collection, at most about `max_items` items per call, and what points to its items from
    /// elsewhere. From the first moment on the lead is invisible and takes no new rows; its row goes last, so that
    /// an erasure that was interrupted can be asked for again. The home of a number that is no lead's has no row: what it
    /// holds goes, and it takes new calls.
    ///
    /// # Errors
    /// [`TableError`]; erasing again is always safe.
    pub async fn erase_lead(&self, id: &LeadId, max_items: usize) -> Result<Erased, TableError> {
        let row = keys::lead(id);
        let hide = Expression::new()
            .set(ERASING, true)
            .set_or_remove(keys::GSI1PK, None::<&str>)
            .set_or_remove(keys::GSI1SK, None::<&str>)
            .only_if_present(keys::PK);
        if !id.is_unlisted()
            && let Written::Unmet(_) = self.update(&row, hide, ReturnValue::None).await?
        {
            return Ok(Erased {
                deleted: 0,
                done: true,
            });
        }
        let mut deleted = 0;
        while deleted < max_items {
            let selected = self
                .select(Select {
                    pk: &row.pk,
                    sk: Range::All,
                    newest_first: false,
                    limit: Some((max_items - deleted).clamp(1, 100) + 1),
                    after: None,
                })
                .await?;
            let (mut own, mut pointers, mut sessions) = (Vec::new(), Vec::new(), Vec::new());
            for item in selected.items {
                let item = serde_dynamo::Item::from(item);
                let key = item::primary(&item)?;
                if key == row {
                    continue;
                }
                pointers.extend(keys::call_locator(&key).map(|call| keys::open_call(&call)));
                pointers.extend(keys::sms_locator(&key).map(|sms| keys::open_sms(&sms)));
                pointers.extend(crate::events::pointer_of(&item));
                sessions.extend(keys::placed_voice_session(&key));
                own.push(key);
            }
            if own.is_empty() && id.is_unlisted() {
                return Ok(Erased { deleted, done: true });
            }
            if own.is_empty() {
                self.delete(&row, Expression::new()).await?;
                return Ok(Erased {
                    deleted: deleted + 1,
                    done: true,
                });
            }
            // Pointers first: once the item is gone nothing tells where they are.
            for session in &sessions {
                self.erase_voice_session(session).await?;
            }
            self.delete_all(&pointers).await?;
            self.delete_all(&own).await?;
            deleted += own.len();
        }
        Ok(Erased { deleted, done: false })
    }

    /// The user, strongly consistent.
    ///
    /// # Errors
    /// [`TableError`].
    pub async fn user(&self, id: &UserId) -> Result<Option<User>, TableError> {
        self.get(&keys::user(id))
            .await?
            .map(|item| decode_user(item.into()))
            .transpose()
    }

    /// Writes the user whole.
    ///
    /// # Errors
    /// [`TableError`]; putting again is always safe.
    pub async fn put_user(&self, user: &User) -> Result<Put, TableError> {
        let row = UserRow {
            phone: user.phone.clone(),
            full_name: user.full_name.clone(),
            email: user.email.clone(),
            role: user.role,
        };
        let item = item::item(Entity::User, &keys::user(&user.id), None, None, &row)?;
        Ok(match self.put(item, Expression::new()).await? {
            Written::Done(Some(old)) if !old.is_empty() => Put::Replaced,
            _ => Put::Created,
        })
    }

    /// Sets the user's own phone and nothing else; a user whom nobody wrote yet gets a row.
    ///
    /// # Errors
    /// [`TableError`]; setting again is always safe.
    pub async fn set_user_phone(&self, id: &UserId, phone: &PhoneNumber) -> Result<(), TableError> {
        let update = Expression::new()
            .set("phone", phone)
            .set(keys::ENTITY_TYPE, Entity::User.as_str())
            .set(keys::VERSION, item::VERSION);
        self.update(&keys::user(id), update, ReturnValue::None).await?;
        Ok(())
    }
}
