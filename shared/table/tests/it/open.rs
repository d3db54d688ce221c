//! Rows that are not final yet.

use domain::{call::CallState, sms::SmsState};

use crate::given::{at, call, lead, sms, table};

#[tokio::test]
async fn open_calls_are_listed_oldest_first_until_they_close() {
    let (_dynamo, table) = table().await;
    let lead = lead("lead-1");
    let calls: Vec<_> = (0..130)
        .map(|n| call(&lead.id, n, CallState::Waiting).locator)
        .collect();
    for call in calls.iter().rev() {
        table.open_call(call).await.unwrap();
        table.open_call(call).await.unwrap();
    }
    table.close_call(&calls[3]).await.unwrap();
    table.close_call(&calls[3]).await.unwrap();
    let first = table.open_calls(at(120), None).await.unwrap();
    assert_eq!(first.items.len(), 100);
    let second = table.open_calls(at(120), first.next.as_deref()).await.unwrap();
    let mut expected = calls[..120].to_vec();
    expected.remove(3);
    assert_eq!([first.items, second.items].concat(), expected);
    assert_eq!(second.next, None);
}

#[tokio::test]
async fn open_messages_are_listed_until_they_close() {
    let (_dynamo, table) = table().await;
    let lead = lead("lead-1");
    let sms = [1, 2].map(|n| sms(&lead.id, n, SmsState::Waiting).locator);
    for sms in &sms {
        table.open_sms(sms).await.unwrap();
    }
    assert_eq!(table.open_sms_messages(at(10), None).await.unwrap().items, sms);
    table.close_sms(&sms[0]).await.unwrap();
    assert_eq!(
        table.open_sms_messages(at(10), None).await.unwrap().items,
        [sms[1].clone()]
    );
    assert!(table.open_calls(at(10), None).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn the_newest_open_calls_are_read_with_their_rows() {
    let (_dynamo, table) = table().await;
    let lead = lead("lead-1");
    table.put_lead(&lead).await.unwrap();
    let calls: Vec<_> = (0..5).map(|n| call(&lead.id, n, CallState::Waiting)).collect();
    for call in &calls[..4] {
        table.create_call(call).await.unwrap();
    }
    for call in &calls {
        table.open_call(&call.locator).await.unwrap();
    }
    let newest = table.newest_open_calls(at(2), 2).await.unwrap();
    assert_eq!(newest.items, [calls[4].locator.clone(), calls[3].locator.clone()]);
    assert!(newest.next.is_some());
    let newest = table.newest_open_calls(at(2), 3).await.unwrap();
    assert_eq!((newest.items.len(), newest.next), (3, None));
    let rows = table.calls_at(&newest.items).await.unwrap();
    assert_eq!(rows, [calls[3].clone(), calls[2].clone()], "one has no row");
}
