//! Alerts over the table: observed, listed, acknowledged.

use std::sync::atomic::{AtomicU64, Ordering};

use domain::{
    alert::{EXOPHONE_AFFECTED, Measure, NOTE_CHARS, Observation, Transition, WEBHOOK_GAP},
    ids::{AlertId, AlertSubject},
};
use dynamo::Dynamo;
use jiff::{SignedDuration, Timestamp};
use services::{
    ServiceError, Table,
    alerts::{Alerts, Period},
};

/// Different each time, and the same in every run.
fn random() -> u128 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    u128::from(NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn alerts() -> (Dynamo, Alerts) {
    let dynamo = Dynamo::start().await;
    let table = Table::new(dynamo.client(), dynamo::TABLE_NAME);
    (dynamo, Alerts::new(table, random))
}

fn at(secs: i64) -> Timestamp {
    let base: Timestamp = "2026-11-20T08:30:00Z".parse().unwrap();
    base + SignedDuration::from_secs(secs)
}

fn health(level: i64) -> Observation {
    Observation::single(Measure::whole(level))
}

#[tokio::test]
async fn an_exophone_that_fails_and_comes_back_raises_one_alert_and_one_recovery() {
    let (dynamo, alerts) = alerts().await;
    let phone: AlertSubject = "PN123".parse().unwrap();
    let mut told = Vec::new();
    for (n, observation) in [
        health(0),
        health(2),
        health(2),
        Observation::Unknown,
        health(1),
        Observation::Unknown,
        health(0),
        health(0),
    ]
    .into_iter()
    .enumerate()
    {
        let now = at(n as i64 * 60);
        // Push and poll hear the same at once.
        let (push, poll) = tokio::join!(
            alerts.observe(&EXOPHONE_AFFECTED, &phone, observation, now),
            alerts.observe(&EXOPHONE_AFFECTED, &phone, observation, now),
        );
        for transition in [push.unwrap(), poll.unwrap()].into_iter().flatten() {
            told.push(match transition {
                Transition::Raised(alert) => ("raised", n, alert.id),
                Transition::Recovered(alert) => ("recovered", n, alert.id),
            });
        }
    }
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!((told[0].0, told[0].1), ("raised", 1));
    assert_eq!((told[1].0, told[1].1), ("recovered", 6));
    assert_eq!(told[0].2, told[1].2);
    dynamo.meter().take();
    alerts
        .observe(&EXOPHONE_AFFECTED, &phone, health(0), at(600))
        .await
        .unwrap();
    let spent = dynamo.meter().take();
    assert_eq!(
        (spent.requests, spent.write_units),
        (1, 0.0),
        "nothing new costs one read"
    );
}

#[tokio::test]
async fn people_see_what_is_open_and_what_was_and_who_took_notice() {
    let (_dynamo, alerts) = alerts().await;
    let account = AlertSubject::account();
    let gap = Observation::share(9, 40);
    let Some(Transition::Raised(first)) = alerts.observe(&WEBHOOK_GAP, &account, gap, at(0)).await.unwrap()
    else {
        panic!("22.5 % of 40 is a gap")
    };
    alerts
        .observe(&WEBHOOK_GAP, &account, Observation::share(0, 40), at(60))
        .await
        .unwrap();
    let phone: AlertSubject = "PN123".parse().unwrap();
    alerts
        .observe(&EXOPHONE_AFFECTED, &phone, health(2), at(120))
        .await
        .unwrap();
    let any_time = Period::unbounded(None, None).unwrap();
    let open = alerts.open(any_time, 10, None).await.unwrap();
    assert_eq!(open.items.len(), 1);
    assert_eq!(
        (open.items[0].subject.as_str(), open.items[0].state),
        ("PN123", "open")
    );
    let later = Period::unbounded(Some(at(121)), None).unwrap();
    assert_eq!(alerts.open(later, 10, None).await.unwrap().items, []);

    let admin = "admin-1".parse().unwrap();
    let long = "x".repeat(NOTE_CHARS + 1);
    let refused = alerts.acknowledge(&first.id, &admin, Some(&long), at(130)).await;
    assert!(
        matches!(refused, Err(ServiceError::Field { field: "note", .. })),
        "{refused:?}"
    );
    let nobody = alerts
        .acknowledge(&AlertId::new(at(5), 1), &admin, None, at(130))
        .await;
    assert!(matches!(nobody, Err(ServiceError::NotFound)));
    alerts
        .acknowledge(&first.id, &admin, Some(" The token was rotated. "), at(130))
        .await
        .unwrap();

    let period = Period::new(None, None, at(200)).unwrap();
    let all = alerts.list(period, 10, None).await.unwrap();
    let seen = serde_json::to_value(&all.items).unwrap();
    assert_eq!(seen[0]["rule"], "exophone-affected");
    assert_eq!(
        seen[1],
        serde_json::json!({
            "id": first.id,
            "rule": "webhook-gap",
            "subject": "account",
            "severity": "P2",
            "state": "recovered",
            "message": first.message,
            "value": 22.5,
            "threshold": 5.0,
            "sample": 40,
            "raisedAt": "2026-11-20T08:30:00Z",
            "recoveredAt": "2026-11-20T08:31:00Z",
            "recoveredValue": 0.0,
            "acknowledgedBy": "admin-1",
            "acknowledgedAt": "2026-11-20T08:32:10Z",
            "note": "The token was rotated.",
        })
    );
    assert!(Period::new(Some(at(1)), Some(at(1)), at(2)).is_err());
}
