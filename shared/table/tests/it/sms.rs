//! SMS: rows, claims and reports.

use domain::sms::{ReportSource, SmsReport, SmsState};
use table::{Claim, Create, Recorded};

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
        table.claim_sms(&sms.locator, 1).await.unwrap(),
        Claim::Claimed(_)
    ));
    assert!(table.release_sms(&sms.locator, 1, "429").await.unwrap());
    assert!(matches!(
        table.claim_sms(&sms.locator, 2).await.unwrap(),
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
