use domain::idempotency::{Answer, Sameness, Scope};
use table::idempotency::Begun;

use crate::given::{at, table};

fn keyed(key: &str) -> Scope {
    Scope {
        user: "sales-1".parse().unwrap(),
        route: "exotel-call",
        sameness: Sameness::Key(key.parse().unwrap()),
    }
}

fn clicked(lead: &str) -> Scope {
    Scope {
        sameness: Sameness::Moment {
            lead: lead.parse().unwrap(),
            content: String::new(),
        },
        ..keyed("k")
    }
}

fn answer() -> Answer {
    Answer {
        status: 201,
        body: r#"{"id":"call_1"}"#.to_owned(),
    }
}

macro_rules! begin {
    ($table:expr, $scope:expr, $subject:expr, $fingerprint:expr, $at:expr) => {
        $table
            .begin(&$scope, $subject.to_owned(), $fingerprint.to_owned(), at($at))
            .await
            .unwrap()
    };
}

#[tokio::test]
async fn a_key_gives_the_stored_answer_for_a_day_and_refuses_another_body() {
    let (dynamo, table) = table().await;
    let scope = keyed("k");
    dynamo.meter().take();
    let Begun::First(record) = begin!(table, scope, "call_1", "f", 0) else {
        panic!("not the first")
    };
    assert_eq!(dynamo.meter().take().write_units, 1.0);
    assert!(
        matches!(begin!(table, scope, "call_2", "f", 1), Begun::Running { until } if until == record.running_until)
    );
    assert_eq!(begin!(table, scope, "call_2", "g", 1), Begun::Mismatch);
    table.finish(&scope, &record, &answer()).await.unwrap();
    assert_eq!(
        begin!(table, scope, "call_2", "f", 60_000),
        Begun::Answered(answer())
    );
    assert_eq!(begin!(table, scope, "call_2", "g", 60_000), Begun::Mismatch);
    let day = 24 * 60 * 60 * 1_000;
    assert!(matches!(
        begin!(table, scope, "call_3", "g", day),
        Begun::First(_)
    ));
    for other in [
        Scope {
            user: "sales-2".parse().unwrap(),
            ..keyed("k")
        },
        Scope {
            route: "sms",
            ..keyed("k")
        },
        keyed("K"),
    ] {
        assert!(
            matches!(begin!(table, other, "call_4", "f", 60_000), Begun::First(_)),
            "{other:?}"
        );
    }
}

/// An answer that is lost has the SDK send the put again, which then meets what it wrote itself.
#[tokio::test]
async fn a_put_that_meets_itself_is_the_first() {
    let (_dynamo, table) = table().await;
    let scope = clicked("lead-1");
    for _ in 0..2 {
        let Begun::First(record) = begin!(table, scope, "call_1", "", 0) else {
            panic!("not the first")
        };
        assert_eq!(record.subject, "call_1");
    }
    assert!(matches!(
        begin!(table, scope, "call_2", "", 1),
        Begun::Running { .. }
    ));
}

#[tokio::test]
async fn who_repeats_after_a_function_died_goes_on_with_its_id() {
    let (_dynamo, table) = table().await;
    let scope = keyed("k");
    begin!(table, scope, "call_1", "f", 0);
    let Begun::TakenOver(record) = begin!(table, scope, "call_2", "f", 30_000) else {
        panic!("not taken over")
    };
    assert_eq!(record.subject, "call_1");
    assert!(matches!(
        begin!(table, scope, "call_3", "f", 30_001),
        Begun::Running { .. }
    ));
    table.finish(&scope, &record, &answer()).await.unwrap();
    assert_eq!(
        begin!(table, scope, "call_3", "f", 90_000),
        Begun::Answered(answer())
    );
}

#[tokio::test]
async fn a_second_click_is_the_first_one_for_five_seconds() {
    let (_dynamo, table) = table().await;
    let scope = clicked("lead-1");
    let Begun::First(record) = begin!(table, scope, "call_1", "", 0) else {
        panic!("not the first")
    };
    assert!(
        matches!(begin!(table, scope, "call_2", "", 6_000), Begun::Running { .. }),
        "still at work"
    );
    table.finish(&scope, &record, &answer()).await.unwrap();
    assert_eq!(
        begin!(table, scope, "call_2", "", 4_999),
        Begun::Answered(answer())
    );
    assert!(matches!(
        begin!(table, clicked("lead-2"), "call_2", "", 4_999),
        Begun::First(_)
    ));
    assert!(matches!(
        begin!(table, scope, "call_2", "", 5_000),
        Begun::First(_)
    ));
}

#[tokio::test]
async fn what_made_nothing_may_be_sent_again() {
    let (_dynamo, table) = table().await;
    let scope = keyed("k");
    let Begun::First(first) = begin!(table, scope, "call_1", "f", 0) else {
        panic!("not the first")
    };
    table.abandon(&scope, &first).await.unwrap();
    let Begun::First(second) = begin!(table, scope, "call_2", "g", 1) else {
        panic!("not forgotten")
    };
    table.abandon(&scope, &first).await.unwrap();
    table.finish(&scope, &first, &answer()).await.unwrap();
    assert!(
        matches!(begin!(table, scope, "call_3", "g", 2), Begun::Running { .. }),
        "the first one's end is not the second's"
    );
    table.finish(&scope, &second, &answer()).await.unwrap();
    table.abandon(&scope, &second).await.unwrap();
    assert_eq!(begin!(table, scope, "call_3", "g", 3), Begun::Answered(answer()));
}
