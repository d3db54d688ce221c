//! Raw events: kept once, found by owner, by id and by hour.

use domain::call::CallState;
use table::{EventOwner, RawEvent, events::RawEventId};

use crate::given::{at, call, lead, raw_event, table};

const HOUR: i64 = 3_600_000;

#[tokio::test]
async fn a_raw_event_is_kept_as_it_came_first_and_a_duplicate_lands_on_itself() {
    let (dynamo, table) = table().await;
    let call = call(&lead("lead-1").id, 1, CallState::Waiting);
    let mut event = raw_event(&call, 1);
    event.body = vec![0xff, 0, b'a'];
    dynamo.meter().take();
    assert!(table.put_raw_event(&event).await.unwrap());
    let spent = dynamo.meter().take();
    println!("raw event under 1 KB: {spent:?}");
    assert_eq!((spent.write_units, spent.read_units), (1.0, 0.0));
    let mut again = event.clone();
    again.received_at = at(5_000);
    assert!(!table.put_raw_event(&again).await.unwrap());
    let id: RawEventId = event.id().to_string().parse().unwrap();
    assert_eq!(table.raw_event(&id).await.unwrap().as_ref(), Some(&event));
    assert!(table.mark_raw_event(&id, true).await.unwrap());
    event.handled = Some(true);
    assert_eq!(table.raw_events_of(&event.owner).await.unwrap(), [event]);
    table.delete_raw_event(&id).await.unwrap();
    assert_eq!(table.raw_event(&id).await.unwrap(), None);
    let other = raw_event(&call, 2).id();
    assert!(!table.mark_raw_event(&other, true).await.unwrap());
    assert_eq!(table.raw_event(&other).await.unwrap(), None);
}

#[tokio::test]
async fn a_raw_event_costs_one_write_unit_per_kilobyte() {
    let (dynamo, table) = table().await;
    let call = call(&lead("lead-1").id, 1, CallState::Waiting);
    let mut event = raw_event(&call, 1);
    event.body = vec![b'a'; 2_600];
    dynamo.meter().take();
    table.put_raw_event(&event).await.unwrap();
    assert_eq!(dynamo.meter().take().write_units, 3.0);
}

#[tokio::test]
async fn events_of_a_sid_that_we_do_not_know_are_kept_under_it_whatever_it_looks_like() {
    let (_dynamo, table) = table().await;
    let call = call(&lead("lead-1").id, 1, CallState::Waiting);
    for sid in ["", "abc", "a#b\nc", &"ü".repeat(2_000)] {
        let event = RawEvent {
            owner: EventOwner::Sid(sid.to_owned()),
            ..raw_event(&call, 1)
        };
        assert!(table.put_raw_event(&event).await.unwrap(), "{sid}");
        let text = event.id().to_string();
        assert!(
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        );
        let held = table.raw_event(&text.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(held.body, event.body);
        assert_eq!(table.raw_events_of(&event.owner).await.unwrap(), [held]);
    }
}

#[tokio::test]
async fn raw_events_are_listed_newest_first_across_hours() {
    let (_dynamo, table) = table().await;
    let call = call(&lead("lead-1").id, 1, CallState::Waiting);
    // Two in one hour, one an hour later, one three days later, and two at the same moment.
    let times = [0, 60_000, HOUR, 72 * HOUR, 72 * HOUR + 1, 72 * HOUR + 1];
    let mut expected = Vec::new();
    for (n, millis) in times.into_iter().enumerate() {
        let mut event = raw_event(&call, i64::try_from(n).unwrap());
        event.received_at = at(millis);
        table.put_raw_event(&event).await.unwrap();
        table.index_raw_event(&event).await.unwrap();
        table.index_raw_event(&event).await.unwrap();
        expected.push(event);
    }
    expected.reverse();
    for limit in [1, 2, 3, 50] {
        let (mut seen, mut cursor, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = table
                .raw_events_by_hour(at(0), at(100 * HOUR), limit, cursor.as_deref())
                .await
                .unwrap();
            assert!(page.items.len() <= limit);
            seen.extend(page.items);
            cursor = page.next;
            pages += 1;
            assert!(pages < 20);
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected, "by {limit}");
    }
    let page = table.raw_events_by_hour(at(1), at(HOUR), 50, None).await.unwrap();
    assert_eq!(page.items, [expected[4].clone()], "from is inclusive, to is not");
    let none = table.raw_events_by_hour(at(10), at(10), 50, None).await.unwrap();
    assert_eq!((none.items.len(), none.next), (0, None));
}

#[tokio::test]
async fn a_raw_event_that_was_moved_is_gone_from_where_it_was() {
    let (_dynamo, table) = table().await;
    let moved = raw_event(&call(&lead("lead-1").id, 1, CallState::Waiting), 1);
    let orphan = RawEvent {
        owner: EventOwner::Sid("abc".to_owned()),
        ..moved.clone()
    };
    table.put_raw_event(&orphan).await.unwrap();
    table.put_raw_event(&moved).await.unwrap();
    for _ in 0..2 {
        table.delete_raw_event(&orphan.id()).await.unwrap();
        assert_eq!(table.raw_events_of(&orphan.owner).await.unwrap(), []);
        assert_eq!(
            table.raw_events_of(&moved.owner).await.unwrap(),
            std::slice::from_ref(&moved)
        );
    }
}

#[tokio::test]
async fn a_raw_event_that_was_erased_leaves_its_hour() {
    let (dynamo, table) = table().await;
    let event = raw_event(&call(&lead("lead-1").id, 1, CallState::Waiting), 1);
    table.index_raw_event(&event).await.unwrap();
    for _ in 0..2 {
        table.unindex_raw_event(&event).await.unwrap();
        let items = dynamo
            .client()
            .scan()
            .table_name(dynamo::TABLE_NAME)
            .send()
            .await
            .unwrap();
        assert_eq!(items.count(), 0);
    }
}
