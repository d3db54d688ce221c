//! The team's numbers: by id and by number, never two with the same one.

use domain::integration::Did;
use table::dids::DidWritten;

use crate::given::{at, table};

/// The n-th number that was added.
pub(crate) fn did(n: i64) -> Did {
    Did {
        id: domain::ids::DidId::new(at(n), 7),
        number: format!("+91804555{:04}", 100 + n).parse().unwrap(),
        label: Some("Front desk".parse().unwrap()),
        bot_id: Some("reception".parse().unwrap()),
        flow_url: "http://my.exotel.com/acme1/exoml/start_voice/228040".parse().ok(),
    }
}

#[tokio::test]
async fn a_number_is_added_once_and_found_by_its_id_and_by_itself() {
    let (dynamo, table) = table().await;
    let (first, second) = (did(1), did(2));
    dynamo.meter().take();
    assert_eq!(table.add_did(&second).await.unwrap(), DidWritten::Done);
    assert_eq!(dynamo.meter().take().write_units, 4.0);
    assert_eq!(table.add_did(&first).await.unwrap(), DidWritten::Done);
    let same_number = Did {
        number: first.number.clone(),
        ..did(3)
    };
    assert_eq!(
        table.add_did(&same_number).await.unwrap(),
        DidWritten::NumberTaken
    );
    assert_eq!(table.dids().await.unwrap(), [first.clone(), second.clone()]);
    assert_eq!(table.did(&first.id).await.unwrap(), Some(first.clone()));
    dynamo.meter().take();
    assert_eq!(table.did_of_number(&second.number).await.unwrap(), Some(second));
    // While a caller waits for the bot: one request, one unit.
    let spent = dynamo.meter().take();
    assert_eq!((spent.requests, spent.read_units), (1, 1.0));
    assert_eq!(table.did(&same_number.id).await.unwrap(), None);
    assert_eq!(table.did_of_number(&did(9).number).await.unwrap(), None);
}

#[tokio::test]
async fn a_change_moves_the_number_and_meets_whoever_was_quicker() {
    let (_dynamo, table) = table().await;
    let (before, other) = (did(1), did(2));
    table.add_did(&before).await.unwrap();
    table.add_did(&other).await.unwrap();

    let renamed = Did {
        label: None,
        ..before.clone()
    };
    assert_eq!(
        table.change_did(&before, &renamed).await.unwrap(),
        DidWritten::Done
    );
    assert_eq!(
        table.did_of_number(&before.number).await.unwrap(),
        Some(renamed.clone())
    );
    // Somebody who read it before does not undo that.
    let late = Did {
        bot_id: None,
        ..before.clone()
    };
    assert_eq!(
        table.change_did(&before, &late).await.unwrap(),
        DidWritten::Changed
    );

    let taken = Did {
        number: other.number.clone(),
        ..renamed.clone()
    };
    assert_eq!(
        table.change_did(&renamed, &taken).await.unwrap(),
        DidWritten::NumberTaken
    );
    let moved = Did {
        number: did(5).number,
        ..renamed.clone()
    };
    assert_eq!(
        table.change_did(&renamed, &moved).await.unwrap(),
        DidWritten::Done
    );
    assert_eq!(table.did_of_number(&before.number).await.unwrap(), None);
    assert_eq!(
        table.did_of_number(&moved.number).await.unwrap(),
        Some(moved.clone())
    );
    assert_eq!(table.did(&moved.id).await.unwrap(), Some(moved.clone()));

    assert_eq!(table.remove_did(&renamed).await.unwrap(), DidWritten::Changed);
    assert_eq!(table.remove_did(&moved).await.unwrap(), DidWritten::Done);
    assert_eq!(table.remove_did(&moved).await.unwrap(), DidWritten::Changed);
    assert_eq!(
        table.change_did(&moved, &renamed).await.unwrap(),
        DidWritten::Changed
    );
    assert_eq!(table.did_of_number(&moved.number).await.unwrap(), None);
    assert_eq!(table.dids().await.unwrap(), [other]);
}

#[tokio::test]
async fn of_many_who_add_a_number_at_once_one_does() {
    let (_dynamo, table) = table().await;
    let mut races = tokio::task::JoinSet::new();
    for n in 0..8 {
        let (table, did) = (
            table.clone(),
            Did {
                number: did(1).number,
                ..did(n)
            },
        );
        races.spawn(async move { table.add_did(&did).await.unwrap() });
    }
    let written = races.join_all().await;
    assert_eq!(written.iter().filter(|one| **one == DidWritten::Done).count(), 1);
    assert_eq!(table.dids().await.unwrap().len(), 1);
}
