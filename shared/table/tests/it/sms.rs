//! SMS: rows, claims and reports.

use domain::sms::{ReportSource, SmsReport, SmsState};
use table::{Claim, Create, Record, Recorded};

use crate::given::{lead, sms, table};

#[tokio::test]
async fn an_sms_is_written_claimed_sent_and_delivered() {
    let (dynamo, table) = table().await;
    let lead = lead("lead-1");
    let sms = sms(&lead.id, 1, SmsState::Waiting);
    assert_eq!(table.create_sms(&sms).await.unwrap(), Create::NoLead);
    table.put_lead(&lead).await.unwrap();
    assert_eq!(table.create_sms(&sms).await.unwrap(), Create::Created);
    assert_eq!(table.create_sms(&sms).await.unwrap(), Create::Exists);
    assert!(matches!(
        table.claim_sms(&sms.locator, 1, 7).await.unwrap(),
        Claim::Claimed(_)
    ));
    assert!(table.release_sms(&sms.locator, 1, "429").await.unwrap());
    assert!(matches!(
        table.claim_sms(&sms.locator, 2, 7).await.unwrap(),
        Claim::Claimed(_)
    ));
    let queued = SmsReport {
        sid: Some("sid1".parse().unwrap()),
        ..SmsReport::new(ReportSource::Details, Some(SmsState::Queued))
    };
    assert_eq!(
        table.record_sms_report(&sms.locator, &queued).await.unwrap(),
        Recorded::Applied
    );
    dynamo.meter().take();
    let delivered = SmsReport {
        units: Some(1),
        ..SmsReport::new(ReportSource::Callback, Some(SmsState::Delivered))
    };
    assert_eq!(
        table.record_sms_report(&sms.locator, &delivered).await.unwrap(),
        Recorded::Applied
    );
    let spent = dynamo.meter().take();
    assert_eq!((spent.write_units, spent.requests), (1.0, 1));
    assert_eq!(
        table.record_sms_report(&sms.locator, &delivered).await.unwrap(),
        Recorded::Unchanged
    );
    let held = table.sms(&sms.locator).await.unwrap().unwrap();
    assert_eq!((held.progress.state, held.attempt), (SmsState::Delivered, 2));
    assert_eq!(
        table.sms_by_sid(&"sid1".parse().unwrap()).await.unwrap(),
        Some(sms.locator.clone())
    );
    let page = table.sms_messages(&lead.id, 10, None).await.unwrap();
    assert_eq!((page.items, page.next), (vec![held], None));
    assert_eq!(table.lead(&lead.id).await.unwrap().unwrap().call_count, 0);
    let late = [SmsState::InFlight, SmsState::Queued];
    assert!(
        !table
            .settle_sms(&sms.locator, &late, SmsState::Lost, None)
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn the_longest_sms_costs_one_write_unit_per_event_and_keeps_its_text() {
    let (dynamo, table) = table().await;
    let lead = lead(&"l".repeat(64));
    table.put_lead(&lead).await.unwrap();
    let mut long = sms(&lead.id, 1, SmsState::Waiting);
    long.sent_by = "u".repeat(64).parse().unwrap();
    // 1 000 characters in Devanagari: 3 000 bytes.
    long.body = "\u{928}".repeat(1_000);
    let short = sms(&lead.id, 2, SmsState::Waiting);
    table.create_sms(&short).await.unwrap();
    assert_eq!(table.create_sms(&long).await.unwrap(), Create::Created);
    assert_eq!(table.create_sms(&long).await.unwrap(), Create::Exists);
    let Claim::Claimed(claimed) = table.claim_sms(&long.locator, 1, 7).await.unwrap() else {
        panic!("it waits")
    };
    assert_eq!(claimed.body, long.body);
    let sid = "7c1b2a3d4e5f6071829304a5b6c7d8e9".parse().unwrap();
    let queued = SmsReport {
        sid: Some(sid),
        ..SmsReport::new(ReportSource::Details, Some(SmsState::Queued))
    };
    table.record_sms_report(&long.locator, &queued).await.unwrap();
    dynamo.meter().take();
    let failed = SmsReport {
        detailed_status: Some("Failed: the handset was switched off or out of coverage".to_owned()),
        units: Some(15),
        price: Some("12.3456".to_owned()),
        ..SmsReport::new(ReportSource::Callback, Some(SmsState::Failed))
    };
    let recorded = table.record_sms_report(&long.locator, &failed).await;
    assert_eq!(recorded.unwrap(), Recorded::Applied);
    let spent = dynamo.meter().take();
    println!("an event of a 3 000 byte SMS: {spent:?}");
    assert_eq!((spent.write_units, spent.read_units), (1.0, 0.0));

    let held = table.sms(&long.locator).await.unwrap().unwrap();
    assert_eq!(held.body, long.body);
    let listed = table.sms_messages(&lead.id, 1, None).await.unwrap();
    assert_eq!((listed.items, listed.next.is_some()), (vec![short.clone()], true));
    let listed = table.sms_messages(&lead.id, 10, None).await.unwrap();
    assert_eq!(listed.items, [short.clone(), held.clone()]);
    let export = table.export_lead(&lead.id, None).await.unwrap();
    assert!(export.items.contains(&Record::Sms(Box::new(held))));
    let mut other = sms(&lead.id, 9, SmsState::Waiting);
    other.body = "b".repeat(1_000);
    table.create_sms(&other).await.unwrap();
    let listed = table.sms_messages(&lead.id, 10, None).await.unwrap();
    let texts: Vec<_> = listed.items.iter().map(|sms| sms.body.as_str()).collect();
    assert_eq!((texts[0], texts[2]), (other.body.as_str(), long.body.as_str()));
    assert!(table.erase_lead(&lead.id, 100).await.unwrap().done);
    assert_eq!(table.sms(&long.locator).await.unwrap(), None);
    let left = dynamo
        .client()
        .scan()
        .table_name(dynamo::TABLE_NAME)
        .send()
        .await
        .unwrap();
    assert_eq!(left.count, 0);
}
