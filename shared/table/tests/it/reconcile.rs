//! Where reading the call list stands.

use domain::reconcile::{Pass, Position, Tally};
use table::reconcile::PositionId;

use crate::given::{at, table};

#[tokio::test]
async fn a_position_is_kept_by_one_run_at_a_time() {
    let (_dynamo, table) = table().await;
    let id = PositionId::Recent;
    assert_eq!(table.position(&id).await.unwrap(), None);
    let mut position = Position::new(Pass::Recent);
    position.open(at(0));
    assert_eq!(table.keep_position(&id, &position, 0).await.unwrap(), Some(1));
    assert_eq!(
        table.keep_position(&id, &position, 0).await.unwrap(),
        None,
        "another run was there"
    );
    position.turn(Some((at(0), "abc".parse().unwrap())), Some("token".to_owned()));
    assert_eq!(table.keep_position(&id, &position, 1).await.unwrap(), Some(2));
    let held = table.position(&id).await.unwrap().unwrap();
    assert_eq!((held.value, held.rev), (position, 2));
    assert_eq!(table.position(&PositionId::Long).await.unwrap(), None);
}

#[tokio::test]
async fn backfills_are_listed_in_the_order_they_were_asked_for() {
    let (_dynamo, table) = table().await;
    for n in [2, 1, 3] {
        let backfill = Position::backfill(at(0), at(n));
        table
            .keep_position(&PositionId::Backfill(at(n)), &backfill, 0)
            .await
            .unwrap();
    }
    table
        .keep_position(&PositionId::Recent, &Position::new(Pass::Recent), 0)
        .await
        .unwrap();
    let all = table.backfills().await.unwrap();
    let asked: Vec<_> = all
        .iter()
        .map(|(asked, held)| (*asked, held.value.until))
        .collect();
    assert_eq!(asked, [1, 2, 3].map(|n| (at(n), Some(at(n)))));
}

#[tokio::test]
async fn a_windows_tally_lands_on_itself_and_is_found_by_when_the_window_ended() {
    let (_dynamo, table) = table().await;
    for n in 0..3 {
        let tally = Tally {
            calls: n,
            ..Tally::default()
        };
        for _ in 0..2 {
            table
                .keep_tally(Pass::Recent, at(i64::try_from(n).unwrap()), &tally)
                .await
                .unwrap();
        }
    }
    let found = table.tallies(at(1), at(3)).await.unwrap();
    let calls: Vec<_> = found.iter().map(|(_, to, tally)| (*to, tally.calls)).collect();
    assert_eq!(calls, [(at(2), 2), (at(1), 1)]);
}
