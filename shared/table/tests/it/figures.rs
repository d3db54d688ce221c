//! Figures, the marks that say which to fold anew, summaries of messages, and jobs.

use domain::{
    call::{CallState, Outcome},
    call_record::{CallSummary, Direction, RecordReport},
    figures::{Bucket, CallFigures, DayFigures, Figures, MessageSummary},
    history::{Export, ExportStatus, HistoryFilter, Rebuild, RebuildPhase},
    sms::{SmsReport, SmsState},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use table::figures::{BaseRow, Dirty};

use crate::given::{at, lead, sms, table};

fn bucket(quarters: i64) -> Bucket {
    Bucket::of(at(quarters * 900_000))
}

fn summary(sid: &str, at: Timestamp) -> CallSummary {
    serde_json::from_value(json!({
        "sid": sid, "at": at, "direction": "outbound", "customer": "+919811100001", "agent": {"user": "sales-1"},
        "exophone": "+918047112345", "flow_id": "30012", "state": "completed", "outcome": "connected",
        "duration_secs": 60, "talk_secs": 41, "price": "1.40", "has_recording": true, "abandoned": false,
    }))
    .unwrap()
}

fn figures(calls: usize) -> Figures {
    let mut figures = Figures::default();
    for _ in 0..calls {
        figures.count_call(&summary("abc", at(0)));
    }
    figures
}

#[tokio::test]
async fn a_mark_stays_when_something_changed_meanwhile() {
    let (dynamo, table) = table().await;
    dynamo.meter().take();
    table.mark_dirty(bucket(0), "one").await.unwrap();
    assert_eq!(dynamo.meter().take().write_units, 1.0);
    let read = table.dirty_buckets(10, None).await.unwrap().items;
    assert_eq!(read.len(), 1);
    table.mark_dirty(bucket(0), "two").await.unwrap();
    assert!(!table.clear_dirty(&read[0]).await.unwrap());
    // The first change comes again, after the second: still somebody else's mark.
    table.mark_dirty(bucket(0), "one").await.unwrap();
    assert!(!table.clear_dirty(&read[0]).await.unwrap());
    let read = table.dirty_buckets(10, None).await.unwrap().items;
    assert_eq!((read[0].token.as_str(), read[0].times), ("one", 3));
    for _ in 0..2 {
        assert!(table.clear_dirty(&read[0]).await.unwrap(), "gone is cleared");
    }
    assert!(table.dirty_buckets(10, None).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn dirty_quarters_are_listed_oldest_first_and_counted() {
    let (_dynamo, table) = table().await;
    let buckets: Vec<_> = (0..60).map(bucket).collect();
    let turned: Vec<_> = buckets.iter().rev().copied().collect();
    table.mark_all_dirty(&turned, at(0)).await.unwrap();
    table.mark_dirty(buckets[3], "once more").await.unwrap();
    assert_eq!(table.count_dirty().await.unwrap(), 60);
    let first = table.dirty_buckets(50, None).await.unwrap();
    let after = first.next.unwrap().parse().unwrap();
    let second = table.dirty_buckets(50, Some(after)).await.unwrap();
    assert_eq!(second.next, None);
    let read: Vec<Dirty> = [first.items, second.items].concat();
    assert_eq!(read.iter().map(|dirty| dirty.bucket).collect::<Vec<_>>(), buckets);
    assert_eq!(read[3].token, "once more");
}

#[tokio::test]
async fn figures_are_written_by_whoever_read_them_last() {
    let (_dynamo, table) = table().await;
    let none = table.figures(bucket(0)).await.unwrap();
    assert_eq!((none.value, none.rev), (Figures::default(), 0));
    assert!(table.put_figures(bucket(0), &figures(3), 0).await.unwrap());
    assert!(
        !table.put_figures(bucket(0), &figures(1), 0).await.unwrap(),
        "somebody was quicker"
    );
    let held = table.figures(bucket(0)).await.unwrap();
    assert_eq!((&held.value, held.rev), (&figures(3), 1));
    assert!(table.put_figures(bucket(0), &figures(4), 1).await.unwrap());
    assert!(!table.put_figures(bucket(0), &figures(2), 1).await.unwrap());

    let date = "2026-11-20".parse().unwrap();
    let mut day = DayFigures::default();
    day.add_bucket(bucket(0), bucket(5), &figures(4));
    assert_eq!(table.day_figures("Asia/Kolkata", date).await.unwrap().rev, 0);
    assert!(
        table
            .put_day_figures("Asia/Kolkata", date, &day, 0)
            .await
            .unwrap()
    );
    assert!(
        !table
            .put_day_figures("Asia/Kolkata", date, &day, 0)
            .await
            .unwrap()
    );
    let held = table.day_figures("Asia/Kolkata", date).await.unwrap();
    assert_eq!((held.value, held.rev), (day, 1));
    assert_eq!(
        table.day_figures("UTC", date).await.unwrap().rev,
        0,
        "each zone has days of its own"
    );
}

#[tokio::test]
async fn figures_are_listed_by_quarter_and_by_day() {
    let (_dynamo, table) = table().await;
    for n in [0, 1, 5] {
        table.put_figures(bucket(n), &figures(1), 0).await.unwrap();
    }
    let page = table.figures_between(bucket(0), bucket(4), None).await.unwrap();
    let read: Vec<_> = page.items.iter().map(|(bucket, _)| *bucket).collect();
    assert_eq!((read, page.next), (vec![bucket(0), bucket(1)], None));
    let behind = table
        .figures_between(bucket(0), bucket(5), Some(bucket(0)))
        .await
        .unwrap();
    assert_eq!(behind.items.len(), 2);
    let day = DayFigures::default();
    for date in ["2026-11-19", "2026-11-20", "2026-11-22"] {
        table
            .put_day_figures("UTC", date.parse().unwrap(), &day, 0)
            .await
            .unwrap();
    }
    let (from, to) = ("2026-11-20".parse().unwrap(), "2026-11-22".parse().unwrap());
    let days = table.days_between("UTC", from, to, None).await.unwrap();
    assert_eq!(
        days.items
            .iter()
            .map(|(date, _)| date.to_string())
            .collect::<Vec<_>>(),
        ["2026-11-20", "2026-11-22"]
    );
    let days = table.days_between("UTC", from, to, Some(from)).await.unwrap();
    assert_eq!(days.items.len(), 1);
}

#[tokio::test]
async fn the_figures_of_as_many_as_are_named_fit_an_item() {
    let (dynamo, table) = table().await;
    let mut busy = Figures::default();
    for n in 0..2_000 {
        let mut call = summary("abc", at(0));
        call.flow_id = Some(format!("{n:04}{}", "ü".repeat(250)));
        call.agent = Some(domain::call_record::Agent::User(
            format!("{n:064}").parse().unwrap(),
        ));
        call.exophone = domain::call_record::Party::read(&format!("sip:{n:060}"), domain::phone::Country::IN);
        call.direction = Some(Direction::Inbound);
        for state in [CallState::Completed, CallState::Busy, CallState::NoAnswer] {
            call.state = Some(state);
            busy.count_call(&call);
        }
    }
    let busy = busy.bounded();
    dynamo.meter().take();
    assert!(table.put_figures(bucket(0), &busy, 0).await.unwrap());
    println!(
        "the figures of a quarter that names all it may: {:?}",
        dynamo.meter().take()
    );
    assert_eq!(table.figures(bucket(0)).await.unwrap().value, busy);
}

#[tokio::test]
async fn message_summaries_are_kept_by_quarter_and_never_go_back() {
    let (_dynamo, table) = table().await;
    let one = |n: i64, state| MessageSummary::of(&sms(&lead("lead-1").id, n, state));
    for n in [0, 1, 2, 899_999, 900_000] {
        assert!(
            table
                .put_message_summary(&one(n, SmsState::Queued), 1)
                .await
                .unwrap()
        );
    }
    assert!(
        table
            .put_message_summary(&one(1, SmsState::Delivered), 3)
            .await
            .unwrap()
    );
    assert!(
        !table
            .put_message_summary(&one(1, SmsState::Sent), 2)
            .await
            .unwrap()
    );
    assert!(
        table
            .put_message_summary(&one(2, SmsState::Queued).without_person(), 2)
            .await
            .unwrap()
    );
    let expected = [
        one(0, SmsState::Queued),
        one(1, SmsState::Delivered),
        one(2, SmsState::Queued).without_person(),
        one(899_999, SmsState::Queued),
    ];
    for limit in [1, 3, 4, 100] {
        let (mut read, mut cursor) = (Vec::new(), None);
        loop {
            let page = table
                .message_summaries(bucket(0), limit, cursor.as_deref())
                .await
                .unwrap();
            read.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(read, expected);
    }
}

#[tokio::test]
async fn summaries_are_repaired_at_their_own_revision() {
    let (_dynamo, table) = table().await;
    let right = summary("abc", at(0));
    let mut wrong = right.clone();
    wrong.outcome = Some(Outcome::NotPicked);
    let ids = [(right.sid.clone(), at(0)), ("zzz".parse().unwrap(), at(0))];
    assert_eq!(table.summaries_of_calls(&ids).await.unwrap(), [None, None]);
    table.put_call_summary(&wrong, 2).await.unwrap();
    assert!(!table.put_call_summary(&right, 2).await.unwrap());
    assert!(table.repair_call_summary(&right, 2).await.unwrap());
    assert!(!table.repair_call_summary(&wrong, 1).await.unwrap());
    let held = table.summaries_of_calls(&ids).await.unwrap();
    let first = held[0].as_ref().unwrap();
    assert_eq!((&first.value, first.rev, &held[1]), (&right, 2, &None));

    let right = MessageSummary::of(&sms(&lead("lead-1").id, 1, SmsState::Sent));
    let wrong = MessageSummary {
        units: Some(9),
        ..right.clone()
    };
    table.put_message_summary(&wrong, 2).await.unwrap();
    assert!(table.repair_message_summary(&right, 2).await.unwrap());
    assert!(!table.repair_message_summary(&wrong, 1).await.unwrap());
    let held = table.summaries_of_messages(&[&right]).await.unwrap();
    assert_eq!(held[0].as_ref().unwrap().value, right);
}

#[tokio::test]
async fn what_figures_stand_on_is_read_page_by_page() {
    let (_dynamo, table) = table().await;
    let lead = lead("lead-1");
    table.put_lead(&lead).await.unwrap();
    let message = sms(&lead.id, 1, SmsState::Waiting);
    table.create_sms(&message).await.unwrap();
    let report = SmsReport::new(domain::call::ReportSource::Callback, Some(SmsState::Sent));
    table.record_sms_report(&message.locator, &report).await.unwrap();
    let mut report = RecordReport::new(
        "abc".parse().unwrap(),
        domain::call::ReportSource::List,
        Some(CallState::Busy),
    );
    report.said.created_at = Some(at(5));
    let (record, _) = table
        .merge_call_record(&report.sid, std::slice::from_ref(&report))
        .await
        .unwrap();
    table
        .put_call_summary(&record.record.summary().unwrap(), record.rev)
        .await
        .unwrap();
    for limit in [Some(1), Some(3), None] {
        let (mut rows, mut cursor) = (Vec::new(), None);
        loop {
            let page = table.base_rows(limit, cursor.as_deref()).await.unwrap();
            rows.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(rows.len(), 3, "{rows:?}");
        assert!(rows.contains(&BaseRow::Call(Box::new(record.clone()))));
        assert!(rows.contains(&BaseRow::SummaryAt(report.sid.clone(), at(5))));
        let sms = rows.iter().find_map(|row| match row {
            BaseRow::Sms(sms, rev) => Some((sms.progress.state, *rev)),
            _ => None,
        });
        assert_eq!(sms, Some((SmsState::Sent, 1)));
    }
    assert!(table.base_rows(None, Some("nonsense")).await.is_err());
}

#[tokio::test]
async fn jobs_are_written_by_whoever_read_them_last() {
    let (_dynamo, table) = table().await;
    let rebuild = Rebuild {
        requested_by: "admin-1".parse().unwrap(),
        requested_at: at(0),
        from: at(0),
        to: at(1),
        phase: RebuildPhase::Comparing,
        position: Some("LEAD#a\nLEAD".to_owned()),
        compared: 7,
        repaired: 1,
        unreadable: 0,
        marked: 0,
    };
    assert_eq!(table.rebuild().await.unwrap(), None);
    assert!(table.put_rebuild(&rebuild, 0).await.unwrap());
    assert!(!table.put_rebuild(&rebuild, 0).await.unwrap());
    let held = table.rebuild().await.unwrap().unwrap();
    assert_eq!((held.value, held.rev), (rebuild, 1));

    let mut export = Export {
        id: "e1".to_owned(),
        requested_by: "admin-1".parse().unwrap(),
        requested_at: at(0),
        filter: HistoryFilter::all(at(0), at(0) + SignedDuration::from_hours(1)),
        zone: "Asia/Kolkata".to_owned(),
        masked: true,
        status: ExportStatus::Queued,
        upload_id: None,
        position: None,
        parts: Vec::new(),
        rows: 0,
        held_until: None,
        finished_at: None,
    };
    assert!(table.put_export(&export, 0).await.unwrap());
    export.status = ExportStatus::Running;
    assert!(table.put_export(&export, 1).await.unwrap());
    assert!(!table.put_export(&export, 1).await.unwrap());
    let held = table.export("e1").await.unwrap().unwrap();
    assert_eq!((held.value, held.rev), (export, 2));
    assert_eq!(table.export("e2").await.unwrap(), None);
}

#[tokio::test]
async fn every_item_of_figures_looks_like_this() {
    let (dynamo, table) = table().await;
    table.put_figures(bucket(0), &figures(2), 0).await.unwrap();
    let mut day = DayFigures::default();
    day.add_bucket(bucket(0), bucket(2), &figures(2));
    let date = "2026-11-20".parse().unwrap();
    table
        .put_day_figures("Asia/Kolkata", date, &day, 0)
        .await
        .unwrap();
    table.mark_dirty(bucket(0), "abc/3").await.unwrap();
    let message = MessageSummary::of(&sms(&lead("lead-1").id, 1, SmsState::Delivered));
    table.put_message_summary(&message, 2).await.unwrap();
    let answer = dynamo
        .client()
        .scan()
        .table_name(dynamo::TABLE_NAME)
        .send()
        .await
        .unwrap();
    let mut items: Vec<_> = answer
        .items
        .unwrap()
        .into_iter()
        .map(|item| serde_json::to_value(serde_dynamo::Item::from(item)).unwrap())
        .collect();
    items.sort_by_key(|item| format!("{} {}", item["PK"], item["SK"]));
    insta::assert_json_snapshot!(items);
    assert_eq!(CallFigures::of(&summary("abc", at(0))).connected, 1);
}
