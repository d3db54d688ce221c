//! Alerts: raised once, recovered once, acknowledged, listed.

use domain::{
    alert::{
        Acknowledgement, Alert, Measure, Observation, RULES, Rule, Transition, UNCONFIRMED_INTENTS, step,
    },
    ids::{AlertId, AlertSubject},
};
use jiff::{SignedDuration, Timestamp};
use serde_dynamo::AttributeValue;
use table::TableError;

use crate::given::{at, table};

/// An alert by this rule as it is raised at `now`; `random` tells it from others of the same moment.
pub(crate) fn raised(rule: &Rule, subject: &str, now: Timestamp, random: u128) -> Alert {
    let bad = match rule.direction {
        domain::alert::Direction::Below => Measure::whole(-1_000),
        domain::alert::Direction::Above => Measure::whole(1_000),
    };
    let observation = Observation::Measured {
        value: bad,
        sample: rule.min_sample,
    };
    match step(rule, &subject.parse().unwrap(), None, observation, now, random) {
        Some(Transition::Raised(alert)) => *alert,
        other => panic!("{other:?}"),
    }
}

fn recovered(alert: &Alert, now: Timestamp) -> Alert {
    Alert {
        recovered_at: Some(now),
        recovered_value: Some(Measure::whole(0)),
        ..alert.clone()
    }
}

fn by(user: &str, now: Timestamp) -> Acknowledgement {
    Acknowledgement {
        by: user.parse().unwrap(),
        at: now,
        note: Some("Exotel is on it".to_owned()),
    }
}

#[tokio::test]
async fn of_many_racers_exactly_one_raises_and_exactly_one_recovers() {
    let (_dynamo, table) = table().await;
    let rule = &UNCONFIRMED_INTENTS;
    for round in 0..5 {
        let now = at(round * 60_000);
        let mut races = tokio::task::JoinSet::new();
        for racer in 0..8 {
            let table = table.clone();
            let alert = raised(rule, "account", now, racer);
            races.spawn(async move { (table.raise_alert(&alert).await.unwrap(), alert) });
        }
        let won: Vec<Alert> = races
            .join_all()
            .await
            .into_iter()
            .filter_map(|(won, alert)| won.then_some(alert))
            .collect();
        assert_eq!(won.len(), 1);
        let open = table
            .open_alert(&rule.rule_id(), &AlertSubject::account())
            .await
            .unwrap();
        assert_eq!(open.as_ref(), Some(&won[0]));
        assert_eq!(table.alert(&won[0].id).await.unwrap(), open);

        let over = recovered(&won[0], now + SignedDuration::from_secs(30));
        let mut races = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (table, over) = (table.clone(), over.clone());
            races.spawn(async move { table.recover_alert(&over).await.unwrap() });
        }
        let recoveries = races.join_all().await;
        assert_eq!(recoveries.iter().filter(|won| **won).count(), 1);
        assert_eq!(table.open_alerts(10, None).await.unwrap().items, []);
        assert_eq!(table.alert(&over.id).await.unwrap(), Some(over));
    }
    let all = table.alerts(at(-1), at(600_000), 100, None).await.unwrap();
    assert_eq!(all.items.len(), 5, "one alert a round, whoever won");
}

#[tokio::test]
async fn a_late_recovery_of_an_earlier_alert_leaves_the_one_that_is_open() {
    let (_dynamo, table) = table().await;
    let first = raised(&UNCONFIRMED_INTENTS, "account", at(0), 1);
    assert!(table.raise_alert(&first).await.unwrap());
    assert!(table.recover_alert(&recovered(&first, at(1))).await.unwrap());
    let second = raised(&UNCONFIRMED_INTENTS, "account", at(2), 2);
    assert!(table.raise_alert(&second).await.unwrap());
    assert!(!table.recover_alert(&recovered(&first, at(3))).await.unwrap());
    assert_eq!(table.open_alerts(10, None).await.unwrap().items, [second]);
    let kept = table.alert(&first.id).await.unwrap().unwrap();
    assert_eq!(kept.recovered_at, Some(at(1)));
}

#[tokio::test]
async fn an_acknowledgement_stays_as_it_came_first_whether_the_alert_is_open_or_not() {
    let (_dynamo, table) = table().await;
    let alert = raised(&UNCONFIRMED_INTENTS, "account", at(0), 1);
    assert_eq!(
        table
            .acknowledge_alert(&alert.id, &by("head-1", at(1)))
            .await
            .unwrap(),
        None
    );
    table.raise_alert(&alert).await.unwrap();
    let first = table
        .acknowledge_alert(&alert.id, &by("admin-1", at(1)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first.acknowledged, Some(by("admin-1", at(1))));
    let again = table
        .acknowledge_alert(&alert.id, &by("admin-2", at(2)))
        .await
        .unwrap();
    assert_eq!(again.as_ref(), Some(&first));
    let open = table.open_alerts(10, None).await.unwrap().items;
    assert_eq!(open, std::slice::from_ref(&first));
    // Recovering keeps it.
    table.recover_alert(&recovered(&first, at(3))).await.unwrap();
    let kept = table.alert(&alert.id).await.unwrap().unwrap();
    assert_eq!(
        (kept.recovered_at, kept.acknowledged),
        (Some(at(3)), first.acknowledged)
    );

    let over = raised(&UNCONFIRMED_INTENTS, "account", at(4), 1);
    table.raise_alert(&over).await.unwrap();
    table.recover_alert(&recovered(&over, at(5))).await.unwrap();
    let late = table
        .acknowledge_alert(&over.id, &by("admin-1", at(6)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (late.recovered_at, late.acknowledged),
        (Some(at(5)), Some(by("admin-1", at(6))))
    );
    assert_eq!(
        table.alert(&over.id).await.unwrap().unwrap().acknowledged,
        Some(by("admin-1", at(6)))
    );
    assert_eq!(table.open_alerts(10, None).await.unwrap().items, []);
}

#[tokio::test]
async fn alerts_are_listed_newest_first_across_months_page_by_page() {
    let (_dynamo, table) = table().await;
    // Every ten days from May on: seven months, three or four in each.
    let start: Timestamp = "2026-05-03T00:00:00Z".parse().unwrap();
    let mut expected = Vec::new();
    for n in 0..20_i64 {
        let now = start + SignedDuration::from_hours(240 * n);
        let alert = raised(&RULES[n as usize % RULES.len()], &format!("subject-{n}"), now, 3);
        assert!(table.raise_alert(&alert).await.unwrap());
        expected.insert(0, alert);
    }
    let (from, to) = (start, expected[0].raised_at + SignedDuration::from_millis(1));
    for limit in [1, 3, 7, 19, 20, 50] {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = table.alerts(from, to, limit, cursor.as_deref()).await.unwrap();
            assert!(page.items.len() <= limit);
            seen.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected, "{limit} to a page");
    }
    // Inclusive below, exclusive above.
    let some = table
        .alerts(expected[9].raised_at, expected[4].raised_at, 50, None)
        .await
        .unwrap();
    assert_eq!(some.items, expected[5..=9]);
    for foreign in ["", "x", "call_01j00000000000000000000000", "2026-11-01"] {
        let answer = table.alerts(from, to, 10, Some(foreign)).await;
        assert!(matches!(answer, Err(TableError::Cursor)), "{foreign}");
    }
    // A span that is none, and a cursor that the span's beginning has overtaken.
    let overtaken = AlertId::new(from, 1).to_string();
    let later = from + SignedDuration::from_secs(1);
    for (from, to, cursor) in [(to, from, None), (later, to, Some(overtaken.as_str()))] {
        let page = table.alerts(from, to, 10, cursor).await.unwrap();
        assert_eq!((page.items, page.next), (Vec::new(), None));
    }
    let later = AlertId::new(to, 1).to_string();
    let answer = table.alerts(from, to, 10, Some(&later)).await;
    assert!(matches!(answer, Err(TableError::Cursor)));
}

#[tokio::test]
async fn open_alerts_are_listed_page_by_page_and_history_goes_after_four_hundred_days() {
    let (dynamo, table) = table().await;
    for n in 0..7 {
        let alert = raised(&UNCONFIRMED_INTENTS, &format!("phone-{n}"), at(n), 1);
        table.raise_alert(&alert).await.unwrap();
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = table.open_alerts(3, cursor.as_deref()).await.unwrap();
        seen.extend(page.items.into_iter().map(|alert| alert.subject.to_string()));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..7).map(|n| format!("phone-{n}")).collect::<Vec<_>>());
    let items = dynamo
        .client()
        .scan()
        .table_name(dynamo::TABLE_NAME)
        .send()
        .await
        .unwrap()
        .items
        .unwrap();
    for item in items {
        let item = serde_dynamo::Item::from(item);
        let ttl = match item.get("ttl") {
            Some(AttributeValue::N(ttl)) => Some(ttl.parse::<i64>().unwrap()),
            _ => None,
        };
        let open = item.get("PK") == Some(&AttributeValue::S("ALERTS#OPEN".to_owned()));
        let kept = at(0).as_second() + 400 * 24 * 60 * 60;
        assert_eq!(
            ttl,
            (!open).then_some(kept),
            "an open one stays until it recovers"
        );
    }
}
