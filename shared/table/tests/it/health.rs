use std::collections::BTreeMap;

use domain::{
    health::{
        AccountStatus, CheckedExoPhone, Health, HealthCheck, Listed, ListedExoPhone, MOST_EXOPHONES, Push,
        Said, SideSaid, Status,
    },
    ids::ExoPhoneSid,
};
use jiff::SignedDuration;
use table::TableError;

use crate::given::{at, table};

fn sid(n: usize) -> ExoPhoneSid {
    format!("080{n:08}").parse().unwrap()
}

fn said(incoming: &str) -> Said {
    let side = |word| {
        Some(SideSaid {
            status: Status::from_exotel(Some(word)),
            measured_at: Some(at(-20_000)),
            alternates: vec!["08045550199".to_owned(); usize::from(word == "major_outage")],
        })
    };
    Said {
        incoming: side(incoming),
        outgoing: side("active"),
    }
}

/// A state with this many ExoPhones, the second of them out.
pub(crate) fn health(phones: usize) -> Health {
    let mut health = Health::default();
    let listed = |n| ListedExoPhone {
        sid: sid(n),
        number: Some(format!("+9180{n:08}")),
        // What compresses badly.
        name: Some(format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))),
        voice: Some(true),
        sms: Some(n % 2 == 0),
    };
    health.hear_list((0..phones).map(listed).collect(), at(0));
    health.end_list(at(0));
    health.set_rotation(1, SignedDuration::from_mins(1));
    let lists = Listed {
        incoming_affected: vec![sid(1)],
        ..Listed::default()
    };
    health.hear_push(&Push::new(at(500), AccountStatus::Warning, lists), at(1_000));
    health.hear_answer(&sid(1), &said("major_outage"), at(2_000));
    health.age(at(2_000));
    let due = health.due(at(2_000));
    health.alerted(&due[0], at(2_000));
    health.position = Some(sid(1));
    health
}

pub(crate) fn push(millis: i64) -> HealthCheck {
    let lists = Listed {
        data: BTreeMap::from([(sid(1), said("major_outage"))]),
        ..Listed::default()
    };
    let push = Push::new(at(millis - 500), AccountStatus::Warning, lists);
    HealthCheck::of_push(&push, at(millis), "hash")
}

pub(crate) fn poll(millis: i64, n: usize) -> HealthCheck {
    let answered = CheckedExoPhone {
        sid: sid(n),
        said: said("active"),
        failure: None,
    };
    let unanswered = CheckedExoPhone {
        sid: sid(9),
        said: Said::default(),
        failure: Some("no answer in 5 s".to_owned()),
    };
    HealthCheck::of_poll(at(millis), vec![answered, unanswered])
}

#[tokio::test]
async fn the_state_of_all_exophones_is_one_item_and_costs_one_read() {
    let (dynamo, table) = table().await;
    assert_eq!(table.exophone_health().await.unwrap(), Health::default());
    for (phones, most_units) in [(3, 1.0), (60, 4.0), (1_500, 20.0), (MOST_EXOPHONES, 100.0)] {
        let health = health(phones);
        let written = table.change_exophone_health(|kept| *kept = health.clone()).await;
        assert!(written.unwrap() == health);
        dynamo.meter().take();
        let kept = table.exophone_health().await.unwrap();
        let cost = dynamo.meter().take();
        assert!(kept == health, "{phones} ExoPhones come back as they were");
        assert!(
            cost.read_units <= most_units,
            "{phones} ExoPhones: {}",
            cost.read_units
        );
    }
}

#[tokio::test]
async fn a_push_and_an_answer_at_once_do_not_lose_each_others_news() {
    let (dynamo, table) = table().await;
    table
        .change_exophone_health(|kept| *kept = health(3))
        .await
        .unwrap();
    let lists = Listed {
        outgoing_affected: vec![sid(2)],
        ..Listed::default()
    };
    let push = Push::new(at(5_000), AccountStatus::Critical, lists);
    let heard = |n: usize| {
        let table = table.clone();
        async move {
            table
                .change_exophone_health(|health| health.hear_answer(&sid(n), &said("active"), at(4_000)))
                .await
        }
    };
    let (pushed, first, second) = tokio::join!(
        table.change_exophone_health(|health| health.hear_push(&push, at(5_000))),
        heard(0),
        heard(1),
    );
    assert!(pushed.is_ok() && first.is_ok() && second.is_ok());
    let health = table.exophone_health().await.unwrap();
    let of = |n: usize| {
        (
            health.phones[&sid(n)].is_affected(),
            health.phones[&sid(n)].incoming.as_ref().unwrap().at,
        )
    };
    assert_eq!(
        [of(0), of(1), of(2)],
        [(false, at(4_000)), (false, at(4_000)), (true, at(5_000))]
    );
    dynamo.meter().take();
    let same = table.change_exophone_health(|_| ()).await.unwrap();
    assert_eq!((same, dynamo.meter().take().write_units), (health, 0.0));
}

#[tokio::test]
async fn checks_of_an_exophone_are_listed_newest_first_across_days() {
    let (dynamo, table) = table().await;
    let day = 24 * 60 * 60 * 1_000;
    let all = [
        poll(-2 * day, 1),
        push(-day),
        poll(0, 1),
        poll(60_000, 2),
        push(60_000),
        poll(day, 1),
    ];
    for check in &all {
        table.put_health_check(check).await.unwrap();
        table.put_health_check(check).await.unwrap();
    }
    let (from, to) = (at(-2 * day), at(day));
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let page = table
            .health_checks(&sid(1), from, to, 2, cursor.as_deref())
            .await
            .unwrap();
        assert!(page.items.len() <= 2);
        seen.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, [&all[4], &all[2], &all[1], &all[0]].map(Clone::clone));
    let page = table.health_checks(&sid(5), from, to, 10, None).await.unwrap();
    assert_eq!(
        page.items.len(),
        2,
        "pushes that do not name it say that it is ok"
    );
    assert!(page.items.iter().all(|check| check.about(&sid(5)).is_some()));
    // A span that is none, and a cursor that the span's beginning has overtaken.
    let overtaken = table
        .health_checks(&sid(5), from, to, 1, None)
        .await
        .unwrap()
        .next;
    let after = page.items[0].at + jiff::SignedDuration::from_secs(1);
    for (from, to, cursor) in [(to, from, None), (after, to, overtaken.as_deref())] {
        let page = table.health_checks(&sid(5), from, to, 10, cursor).await.unwrap();
        assert_eq!((page.items, page.next), (Vec::new(), None));
    }
    for cursor in ["", "x", "2026-11-20#a", "2026-11-29T08:30:00.000000Z#x"] {
        let read = table.health_checks(&sid(1), from, to, 2, Some(cursor)).await;
        assert!(matches!(read, Err(TableError::Cursor)), "{cursor}");
    }
    let item = dynamo
        .client()
        .scan()
        .table_name(dynamo::TABLE_NAME)
        .send()
        .await
        .unwrap()
        .items
        .unwrap()
        .remove(0);
    let ttl: i64 = item["ttl"].as_n().unwrap().parse().unwrap();
    let received = item["SK"].as_s().unwrap().split_once('#').unwrap().0;
    let received: jiff::Timestamp = received.parse().unwrap();
    assert_eq!(ttl - received.as_second(), 90 * 24 * 60 * 60);
}

#[tokio::test]
async fn a_page_ends_though_nothing_speaks_of_the_exophone_and_goes_on_behind_it() {
    let (_dynamo, table) = table().await;
    for n in 0..620 {
        table.put_health_check(&poll(n * 60_000, 2)).await.unwrap();
    }
    table.put_health_check(&poll(-60_000, 1)).await.unwrap();
    let (from, to) = (at(-120_000), at(1_000 * 60_000));
    let first = table.health_checks(&sid(1), from, to, 10, None).await.unwrap();
    assert!(first.items.is_empty());
    let next = first.next.unwrap();
    let second = table
        .health_checks(&sid(1), from, to, 10, Some(&next))
        .await
        .unwrap();
    assert_eq!((second.items.len(), second.next), (1, None));
}

#[tokio::test]
async fn a_check_of_a_thousand_exophones_fits_and_costs_little() {
    let (dynamo, table) = table().await;
    let all = (0..1_200).map(|n| CheckedExoPhone {
        sid: sid(n),
        said: said("major_outage"),
        failure: None,
    });
    let check = HealthCheck::of_poll(at(0), all.collect());
    dynamo.meter().take();
    table.put_health_check(&check).await.unwrap();
    assert!(dynamo.meter().take().write_units <= 20.0);
    let page = table
        .health_checks(&sid(700), at(-1), at(1), 10, None)
        .await
        .unwrap();
    assert_eq!(page.items, [check]);
}
