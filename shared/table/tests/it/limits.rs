use domain::outbound_limit::{Attempt, Class};
use jiff::SignedDuration;
use table::limits::{Reserved, Reserving};

use crate::given::{at, table};

const T: SignedDuration = SignedDuration::from_micros(304_569);
const HORIZON: SignedDuration = SignedDuration::from_secs(2);

macro_rules! reserve {
    ($table:expr, $attempt:ident, $now:expr) => {
        $table
            .reserve(
                Class::Voice,
                Reserving::ToSend,
                Attempt::$attempt,
                $now,
                T,
                HORIZON,
            )
            .await
            .unwrap()
    };
}

#[tokio::test]
async fn an_idle_limit_gives_a_slot_now_and_the_next_one_an_interval_later() {
    let (dynamo, table) = table().await;
    assert_eq!(reserve!(table, Busy, at(0)), Reserved::NotNow { tat: None });
    dynamo.meter().take();
    assert_eq!(reserve!(table, Idle, at(0)), Reserved::Slot { at: at(0) });
    let spent = dynamo.meter().take();
    assert_eq!((spent.write_units, spent.read_units), (1.0, 0.0));
    assert_eq!(
        reserve!(table, Idle, at(1)),
        Reserved::NotNow { tat: Some(at(0) + T) }
    );
    assert_eq!(reserve!(table, Busy, at(1)), Reserved::Slot { at: at(0) + T });
    assert_eq!(reserve!(table, Busy, at(1)), Reserved::Slot { at: at(0) + T + T });
    let spent = dynamo.meter().take();
    assert_eq!((spent.requests, spent.errors, spent.write_units), (2, 1, 2.0));
}

#[tokio::test]
async fn no_slot_is_given_beyond_the_horizon() {
    let (_dynamo, table) = table().await;
    table.push_forward(Class::Voice, at(2_000)).await.unwrap();
    assert_eq!(reserve!(table, Busy, at(0)), Reserved::Slot { at: at(2_000) });
    assert_eq!(
        reserve!(table, Busy, at(0)),
        Reserved::NotNow {
            tat: Some(at(2_000) + T)
        }
    );
    assert_eq!(reserve!(table, Idle, at(3_000)), Reserved::Slot { at: at(3_000) });
}

#[tokio::test]
async fn pushing_moves_the_next_slot_and_never_back() {
    let (_dynamo, table) = table().await;
    table.push_forward(Class::Voice, at(5_000)).await.unwrap();
    table.push_forward(Class::Voice, at(1_000)).await.unwrap();
    assert_eq!(
        reserve!(table, Idle, at(1_500)),
        Reserved::NotNow { tat: Some(at(5_000)) }
    );
    assert_eq!(
        table
            .reserve(Class::Sms, Reserving::ToSend, Attempt::Idle, at(0), T, HORIZON)
            .await
            .unwrap(),
        Reserved::Slot { at: at(0) },
        "messages have a limit of their own"
    );
}

#[tokio::test]
async fn the_switch_stops_sending_at_once_and_lets_look_ups_go_on() {
    let (_dynamo, table) = table().await;
    assert_eq!(table.outbound_paused_since().await.unwrap(), None);
    table.pause_outbound(at(0)).await.unwrap();
    table.pause_outbound(at(0)).await.unwrap();
    assert_eq!(table.outbound_paused_since().await.unwrap(), Some(at(0)));
    assert_eq!(reserve!(table, Idle, at(1)), Reserved::Paused);
    assert_eq!(reserve!(table, Busy, at(1)), Reserved::Paused);
    assert_eq!(
        table
            .reserve(
                Class::Voice,
                Reserving::ToLookUp,
                Attempt::Idle,
                at(1),
                T,
                HORIZON
            )
            .await
            .unwrap(),
        Reserved::Slot { at: at(1) }
    );
    table.resume_outbound().await.unwrap();
    assert_eq!(reserve!(table, Busy, at(2)), Reserved::Slot { at: at(1) + T });
}

#[tokio::test]
async fn without_the_table_there_is_no_slot() {
    let (dynamo, table) = table().await;
    drop(dynamo);
    tokio::task::yield_now().await;
    let answer = table
        .reserve(Class::Voice, Reserving::ToSend, Attempt::Idle, at(0), T, HORIZON)
        .await;
    assert!(answer.is_err_and(|error| error.is_retryable()));
}
