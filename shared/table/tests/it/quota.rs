use domain::{
    ids::{LeadId, UserId},
    toll_fraud::{Period, Quota, Window},
};
use jiff::tz::TimeZone;
use table::quota::{CallsOf, Counted};

use crate::given::{at, table};

const QUOTA: Quota = Quota {
    per_hour: Some(2),
    per_day: 3,
};
const HOUR: i64 = 60 * 60 * 1_000;

#[tokio::test]
async fn an_hour_and_a_day_have_room_for_so_many_calls() {
    let (dynamo, table) = table().await;
    let user: UserId = "sales-1".parse().unwrap();
    let lead: LeadId = "sales-1".parse().unwrap();
    let period = |millis| Period::at(at(millis), &TimeZone::UTC);
    for (millis, counted) in [
        (0, Counted::Within),
        (1, Counted::Within),
        (2, Counted::UsedUp(Window::Hour)),
        (HOUR, Counted::Within),
        (HOUR + 1, Counted::UsedUp(Window::Day)),
        (24 * HOUR, Counted::Within),
    ] {
        dynamo.meter().take();
        let got = table
            .count_call(CallsOf::User(&user), QUOTA, period(millis))
            .await
            .unwrap();
        assert_eq!(got, counted, "at {millis} ms");
        let spent = dynamo.meter().take();
        assert_eq!(spent.read_units, 0.0);
        assert!(spent.write_units <= 1.0);
    }
    let of_lead = table
        .count_call(CallsOf::Lead(&lead), QUOTA, period(2))
        .await
        .unwrap();
    assert_eq!(
        of_lead,
        Counted::Within,
        "a lead with the same id is somebody else"
    );
}

#[tokio::test]
async fn the_account_is_counted_by_the_day_alone() {
    let (_dynamo, table) = table().await;
    let quota = Quota {
        per_hour: None,
        per_day: 3,
    };
    let period = Period::at(at(0), &TimeZone::UTC);
    for _ in 0..3 {
        assert_eq!(
            table.count_call(CallsOf::Account, quota, period).await.unwrap(),
            Counted::Within
        );
    }
    let refused = table.count_call(CallsOf::Account, quota, period).await.unwrap();
    assert_eq!(refused, Counted::UsedUp(Window::Day));
}
