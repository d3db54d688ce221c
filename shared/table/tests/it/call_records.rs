//! Call records, their summaries, and the list of unsettled calls.

use domain::{
    call::{CallState, ReportSource},
    call_record::{CallRecord, Direction, Link, Party, RecordReport, Said},
    ids::CallSid,
    phone::Country,
};
use table::{HeldRecord, Table, call_records::Order};

use crate::given::{at, call, lead, table};

const HOUR: i64 = 3_600_000;

fn sid(n: usize) -> CallSid {
    format!("5f0c1d2e3a4b{n:04}").parse().unwrap()
}

/// What the list says of the n-th call, placed at that moment.
fn listed(n: usize, millis: i64) -> RecordReport {
    let party = |text| Party::read(text, Country::IN);
    let mut report = RecordReport::new(sid(n), ReportSource::List, Some(CallState::Completed));
    report.said = Said {
        created_at: Some(at(millis)),
        ended_at: Some(at(millis + 60_000)),
        direction: Some(Direction::Outbound),
        from: party("09811100099"),
        to: party("09811100002"),
        exophone: party("08045550100"),
        ..Said::default()
    };
    report
}

async fn merged(table: &Table, report: &RecordReport) -> HeldRecord {
    let (held, changed) = table
        .merge_call_record(&report.sid, std::slice::from_ref(report))
        .await
        .unwrap();
    assert!(changed);
    held
}

#[tokio::test]
async fn a_record_comes_to_be_with_the_first_report_and_keeps_what_it_knows() {
    let (dynamo, table) = table().await;
    assert_eq!(table.call_record(&sid(1)).await.unwrap(), None);
    let mut callback = listed(1, 0);
    callback.source = ReportSource::Callback;
    callback.said.ended_at = None;
    merged(&table, &callback).await;
    let mut list = listed(1, 0);
    list.said.price = Some("0.500".to_owned());
    list.said.to = None;
    let held = merged(&table, &list).await;
    assert_eq!(held.rev, 2);
    assert_eq!(
        held.record.facts.to.as_ref().unwrap().value.as_str(),
        "+919811100002"
    );
    assert_eq!(table.call_record(&sid(1)).await.unwrap(), Some(held.clone()));
    dynamo.meter().take();
    let (same, changed) = table.merge_call_record(&sid(1), &[callback, list]).await.unwrap();
    assert_eq!((same, changed), (held, false));
    assert_eq!(dynamo.meter().take().write_units, 0.0);
}

#[tokio::test]
async fn a_page_of_records_costs_a_read_each_and_an_unchanged_one_no_write() {
    let (dynamo, table) = table().await;
    for n in 0..100 {
        merged(&table, &listed(n, 0)).await;
    }
    let sids: Vec<CallSid> = (0..101).map(sid).collect();
    dynamo.meter().take();
    let held = table.call_records(&sids).await.unwrap();
    assert_eq!(held.len(), 100, "the last is not there");
    for (n, held) in held.into_iter().enumerate() {
        assert_eq!(held.record.sid, sid(n));
        let (_, changed) = table
            .change_call_record(held, |record| record.merge(&listed(n, 0)))
            .await
            .unwrap();
        assert!(!changed);
    }
    let spent = dynamo.meter().take();
    println!("100 unchanged records: {spent:?}");
    assert_eq!(
        (spent.write_units, spent.read_units <= 101.0),
        (0.0, true),
        "{spent:?}"
    );
}

#[tokio::test]
async fn many_who_merge_at_once_end_in_one_record() {
    let (_dynamo, table) = table().await;
    let mut expected = CallRecord::new(sid(1));
    let reports: Vec<RecordReport> = (0..8)
        .map(|n| {
            let mut report = listed(1, 0);
            report.said.duration_secs = Some(n);
            report.extra.insert(format!("Key{n}"), "v".to_owned());
            report
        })
        .collect();
    let mut work = tokio::task::JoinSet::new();
    for report in reports {
        expected.merge(&report);
        let table = table.clone();
        work.spawn(async move {
            let absent = HeldRecord::absent(sid(1));
            table
                .change_call_record(absent, |record| record.merge(&report))
                .await
                .unwrap();
        });
    }
    work.join_all().await;
    assert_eq!(
        table.call_record(&sid(1)).await.unwrap().unwrap().record,
        expected
    );
}

#[tokio::test]
async fn a_record_is_linked_once_and_erased_for_good() {
    let (_dynamo, table) = table().await;
    let link = |n| {
        let call = call(&lead("lead-1").id, n, CallState::Accepted);
        Link {
            locator: call.locator,
            called_by: call.called_by.unwrap(),
        }
    };
    table.link_call_record(&sid(1), &link(1)).await.unwrap();
    table.link_call_record(&sid(1), &link(2)).await.unwrap();
    merged(&table, &listed(1, 0)).await;
    let record = table.call_record(&sid(1)).await.unwrap().unwrap().record;
    assert_eq!(record.link, Some(link(1)));
    table.erase_call_record(&sid(1)).await.unwrap();
    table.erase_call_record(&sid(2)).await.unwrap();
    let (held, _) = table.merge_call_record(&sid(1), &[listed(1, 0)]).await.unwrap();
    assert!(held.record.erased && held.record.link.is_none() && held.record.customer().is_none());
    assert_eq!(
        table.call_record(&sid(2)).await.unwrap(),
        None,
        "nothing came to be"
    );
}

#[tokio::test]
async fn an_older_summary_never_replaces_a_newer_one() {
    let (_dynamo, table) = table().await;
    let mut summary = merged(&table, &listed(1, 0)).await.record.summary().unwrap();
    let all = async || {
        let page = table.call_summaries(at(-HOUR), at(HOUR), Order::OldestFirst, 10, None);
        page.await.unwrap().items
    };
    assert!(table.put_call_summary(&summary, 2).await.unwrap());
    let newer = summary.clone();
    summary.price = Some("9".to_owned());
    assert!(!table.put_call_summary(&summary, 1).await.unwrap());
    assert_eq!(all().await, [newer]);
    table.delete_call_summary(summary.at, &summary.sid).await.unwrap();
    assert_eq!(all().await, []);
}

#[tokio::test]
async fn summaries_are_listed_in_both_orders_across_hours() {
    let (_dynamo, table) = table().await;
    // Two in one hour, two at the same moment, one an hour later, one a hundred hours later.
    let times = [0, 60_000, 120_000, 120_000, HOUR, 100 * HOUR];
    let mut expected = Vec::new();
    for (n, millis) in times.into_iter().enumerate() {
        let summary = merged(&table, &listed(n, millis)).await.record.summary().unwrap();
        table.put_call_summary(&summary, 1).await.unwrap();
        expected.push(summary);
    }
    for (order, expected) in [
        (Order::OldestFirst, expected.clone()),
        (Order::NewestFirst, expected.iter().rev().cloned().collect()),
    ] {
        for limit in [1, 2, 3, 50] {
            let (mut seen, mut cursor, mut pages) = (Vec::new(), None, 0);
            loop {
                let page = table
                    .call_summaries(at(0), at(101 * HOUR), order, limit, cursor.as_deref())
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
            assert_eq!(seen, expected, "{order:?} by {limit}");
        }
    }
    let page = table
        .call_summaries(at(1), at(HOUR), Order::OldestFirst, 50, None)
        .await
        .unwrap();
    assert_eq!(page.items, expected[1..4], "from is inclusive, to is not");
    for wrong in [
        "",
        "x",
        "@2020-01-01T00",
        "2026-11-20T99:xxxxxxxxxxx",
        "üüüüüüüüüüüüüüü",
    ] {
        let page = table.call_summaries(at(0), at(HOUR), Order::OldestFirst, 5, Some(wrong));
        assert!(page.await.is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn a_number_finds_its_calls_the_newest_first() {
    let (_dynamo, table) = table().await;
    let mut expected = Vec::new();
    for n in 0..5 {
        let mut report = listed(n, i64::try_from(n).unwrap() * HOUR);
        if n == 2 {
            report.said.to = Party::read("sip:asha@acme", Country::IN);
        }
        let summary = merged(&table, &report).await.record.summary().unwrap();
        table.put_call_summary(&summary, 1).await.unwrap();
        if n != 2 {
            expected.insert(0, summary);
        }
    }
    let number = "+919811100002".parse().unwrap();
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = table
            .call_summaries_by_number(&number, at(0), at(9 * HOUR), 2, cursor.as_deref())
            .await
            .unwrap();
        seen.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, expected);
    let wrong = table
        .call_summaries_by_number(&number, at(0), at(HOUR), 2, Some("x"))
        .await;
    assert!(wrong.is_err());
}

#[tokio::test]
async fn unsettled_calls_are_listed_until_they_settle() {
    let (_dynamo, table) = table().await;
    for n in 0..3 {
        table
            .note_unsettled(at(n * HOUR), &sid(n as usize))
            .await
            .unwrap();
        table
            .note_unsettled(at(n * HOUR), &sid(n as usize))
            .await
            .unwrap();
    }
    let first = table.unsettled_calls(at(2 * HOUR), 1, None).await.unwrap();
    assert_eq!(first.items, [sid(0)]);
    let second = table
        .unsettled_calls(at(2 * HOUR), 1, first.next.as_deref())
        .await
        .unwrap();
    assert_eq!((second.items, second.next), (vec![sid(1)], None));
    table.strike_unsettled(at(0), &sid(0)).await.unwrap();
    table.strike_unsettled(at(0), &sid(0)).await.unwrap();
    assert_eq!(
        table
            .unsettled_calls(at(9 * HOUR), 9, None)
            .await
            .unwrap()
            .items
            .len(),
        2
    );
}
