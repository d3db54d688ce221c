//! Leads and users: lists by scope, numbers, counters, erasing, exporting.

use domain::{call::CallState, directory::User, ids::UserId, sms::SmsState};
use table::{Create, LeadScope, Put, Record, TableError};

use crate::given::{at, call, lead, raw_event, sms, table};

fn user(id: &str) -> UserId {
    id.parse().unwrap()
}

#[tokio::test]
async fn a_lead_is_created_then_replaced_and_keeps_its_counters() {
    let (_dynamo, table) = table().await;
    let mut lead = lead("lead-1");
    assert_eq!(table.lead(&lead.id).await.unwrap(), None);
    lead.call_count = 7;
    assert_eq!(table.put_lead(&lead).await.unwrap(), Put::Created);
    assert_eq!(
        table.lead(&lead.id).await.unwrap().unwrap().call_count,
        0,
        "counters are not written from outside"
    );
    table
        .create_call(&call(&lead.id, 1, CallState::Waiting))
        .await
        .unwrap();
    lead.name = "Asha R.".to_owned();
    lead.assigned_to = None;
    assert_eq!(table.put_lead(&lead).await.unwrap(), Put::Replaced);
    let held = table.lead(&lead.id).await.unwrap().unwrap();
    assert_eq!(
        (held.name.as_str(), held.assigned_to, held.call_count),
        ("Asha R.", None, 1)
    );
    assert_eq!(held.last_contacted_at, Some(at(1)));
}

#[tokio::test]
async fn every_scope_lists_its_own_leads_page_by_page() {
    let (_dynamo, table) = table().await;
    for n in 0..7 {
        let mut lead = lead(&format!("lead-{n}"));
        lead.assigned_to = Some(user(if n % 2 == 0 { "sales-1" } else { "sales-2" }));
        table.put_lead(&lead).await.unwrap();
    }
    for (scope, expected) in [
        (LeadScope::All, vec![0, 1, 2, 3, 4, 5, 6]),
        (LeadScope::Owner(&user("head-1")), vec![0, 1, 2, 3, 4, 5, 6]),
        (LeadScope::Assignee(&user("sales-1")), vec![0, 2, 4, 6]),
        (LeadScope::Assignee(&user("sales-2")), vec![1, 3, 5]),
        (LeadScope::Assignee(&user("head-1")), vec![]),
    ] {
        let expected: Vec<_> = expected.iter().map(|n| format!("lead-{n}")).collect();
        for limit in [1, 2, 4, 100] {
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let page = table.leads(scope, limit, cursor.as_deref()).await.unwrap();
                assert!(page.items.len() <= limit);
                seen.extend(page.items.into_iter().map(|lead| lead.id.to_string()));
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(seen, expected, "{scope:?} by {limit}");
        }
    }
}

#[tokio::test]
async fn a_lead_that_changes_hands_leaves_the_old_list() {
    let (_dynamo, table) = table().await;
    let mut lead = lead("lead-1");
    table.put_lead(&lead).await.unwrap();
    lead.assigned_to = Some(user("sales-2"));
    lead.owning_sales_head_id = None;
    table.put_lead(&lead).await.unwrap();
    for (scope, count) in [
        (LeadScope::Assignee(&user("sales-1")), 0),
        (LeadScope::Assignee(&user("sales-2")), 1),
        (LeadScope::Owner(&user("head-1")), 0),
        (LeadScope::All, 1),
    ] {
        assert_eq!(
            table.leads(scope, 10, None).await.unwrap().items.len(),
            count,
            "{scope:?}"
        );
    }
}

#[tokio::test]
async fn a_number_finds_its_leads_the_most_recently_contacted_first() {
    let (_dynamo, table) = table().await;
    for (n, id) in ["never", "first", "second"].into_iter().enumerate() {
        let lead = lead(id);
        table.put_lead(&lead).await.unwrap();
        if n > 0 {
            let call = call(&lead.id, i64::try_from(n).unwrap(), CallState::Waiting);
            table.create_call(&call).await.unwrap();
        }
    }
    let mut moved = lead("moved");
    table.put_lead(&moved).await.unwrap();
    moved.phone = "+919811100002".parse().unwrap();
    table.put_lead(&moved).await.unwrap();
    let found = table
        .leads_by_phone(&"+919811100001".parse().unwrap())
        .await
        .unwrap();
    let ids: Vec<_> = found.iter().map(|lead| lead.id.as_str()).collect();
    assert_eq!(ids, ["second", "first", "never"]);
    let found = table.leads_by_phone(&moved.phone).await.unwrap();
    assert_eq!(found.len(), 1);
}

#[tokio::test]
async fn a_lead_is_erased_with_everything_that_points_to_it() {
    let (dynamo, table) = table().await;
    let (gone, stays) = (lead("gone"), lead("stays"));
    for lead in [&gone, &stays] {
        table.put_lead(lead).await.unwrap();
        for n in 0..30 {
            let call = call(&lead.id, n, CallState::Waiting);
            table.create_call(&call).await.unwrap();
            table.open_call(&call.locator).await.unwrap();
            let sms = sms(&lead.id, n, SmsState::Waiting);
            table.create_sms(&sms).await.unwrap();
            table.open_sms(&sms.locator).await.unwrap();
            let event = raw_event(&call, n);
            table.put_raw_event(&event).await.unwrap();
            table.index_raw_event(&event).await.unwrap();
        }
    }
    let before = items(&dynamo).await.len();
    let first = table.erase_lead(&gone.id, 40).await.unwrap();
    assert!(!first.done);
    assert_eq!(
        table.lead(&gone.id).await.unwrap(),
        None,
        "invisible from the first moment"
    );
    assert_eq!(table.put_lead(&gone).await.unwrap(), Put::BeingErased);
    assert!(
        table
            .leads_by_phone(&gone.phone)
            .await
            .unwrap()
            .iter()
            .all(|lead| lead.id == stays.id)
    );
    assert_eq!(
        table
            .create_call(&call(&gone.id, 99, CallState::Waiting))
            .await
            .unwrap(),
        Create::NoLead
    );
    let mut deleted = first.deleted;
    loop {
        let step = table.erase_lead(&gone.id, 40).await.unwrap();
        deleted += step.deleted;
        if step.done {
            break;
        }
    }
    assert_eq!(deleted, 1 + 3 + 90);
    let left = items(&dynamo).await;
    assert_eq!(left.len(), before / 2);
    assert!(left.iter().all(|item| !format!("{item:?}").contains("gone")));
    let again = table.erase_lead(&gone.id, 40).await.unwrap();
    assert!(again.done && again.deleted == 0);
    assert_eq!(table.put_lead(&gone).await.unwrap(), Put::Created);
}

async fn items(
    dynamo: &dynamo::Dynamo,
) -> Vec<std::collections::HashMap<String, aws_sdk_dynamodb::types::AttributeValue>> {
    let answer = dynamo
        .client()
        .scan()
        .table_name(dynamo::TABLE_NAME)
        .send()
        .await
        .unwrap();
    assert!(answer.last_evaluated_key.is_none());
    answer.items.unwrap()
}

#[tokio::test]
async fn an_export_holds_the_lead_its_calls_its_messages_and_its_raw_events() {
    let (_dynamo, table) = table().await;
    let lead = lead("lead-1");
    table.put_lead(&lead).await.unwrap();
    for n in 0..110 {
        let call = call(&lead.id, n, CallState::Waiting);
        table.log_call(&call).await.unwrap();
        table.put_raw_event(&raw_event(&call, n)).await.unwrap();
    }
    let sms = sms(&lead.id, 1, SmsState::Waiting);
    table.create_sms(&sms).await.unwrap();
    let (mut kinds, mut cursor, mut pages) = (std::collections::BTreeMap::new(), None, 0);
    loop {
        let page = table.export_lead(&lead.id, cursor.as_deref()).await.unwrap();
        pages += 1;
        for record in page.items {
            let kind = match record {
                Record::Lead(held) => {
                    assert_eq!(*held, lead);
                    "lead"
                }
                Record::Call(_) => "call",
                Record::Sms(held) => {
                    assert_eq!(*held, sms);
                    "sms"
                }
                Record::RawEvent(_) => "raw event",
                Record::VoiceSession(_) => "voice_session",
                Record::Transcribed(_) => "transcribed",
                Record::User(_) | Record::CallRecord(_) | Record::Alert(_) | Record::Other { .. } => "other",
            };
            *kinds.entry(kind).or_insert(0) += 1;
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(pages, 2);
    let expected = [("call", 110), ("lead", 1), ("raw event", 110), ("sms", 1)];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_user_is_put_read_and_given_a_phone() {
    let (_dynamo, table) = table().await;
    let mut given = User {
        id: user("sales-1"),
        phone: None,
        full_name: Some("Ravi".to_owned()),
        email: None,
        role: Some("SALES".parse().unwrap()),
    };
    assert_eq!(table.user(&given.id).await.unwrap(), None);
    assert_eq!(table.put_user(&given).await.unwrap(), Put::Created);
    assert_eq!(table.put_user(&given).await.unwrap(), Put::Replaced);
    let phone = "+919811100099".parse().unwrap();
    table.set_user_phone(&given.id, &phone).await.unwrap();
    given.phone = Some(phone.clone());
    assert_eq!(table.user(&given.id).await.unwrap(), Some(given));
    let unknown = user("from-a-token-only");
    table.set_user_phone(&unknown, &phone).await.unwrap();
    assert_eq!(table.user(&unknown).await.unwrap().unwrap().phone, Some(phone));
}

#[tokio::test]
async fn a_cursor_that_is_not_ours_is_refused() {
    let (_dynamo, table) = table().await;
    let id = lead("lead-1").id;
    let long = "x".repeat(3_000);
    for bad in ["", "a b", "#", "\u{0}", "ü", "lead#1", long.as_str()] {
        let leads = table.leads(LeadScope::All, 10, Some(bad)).await;
        assert!(matches!(leads, Err(TableError::Cursor)), "{bad}");
        let events = table.raw_events_by_hour(at(0), at(1), 10, Some(bad)).await;
        assert!(matches!(events, Err(TableError::Cursor)), "{bad}");
        assert!(
            matches!(table.open_calls(at(0), Some(bad)).await, Err(TableError::Cursor)),
            "{bad}"
        );
        assert!(
            matches!(
                table.open_sms_messages(at(0), Some(bad)).await,
                Err(TableError::Cursor)
            ),
            "{bad}"
        );
        // An export's cursor is any sort key: what is none of ours just starts there.
        let export = table.export_lead(&id, Some(bad)).await;
        assert!(matches!(export, Ok(_) | Err(TableError::Cursor)), "{bad}");
        assert!(bad.parse::<table::events::RawEventId>().is_err(), "{bad}");
    }
}
