//! Reports in any order, by any number of writers, end in the one state that merging them in memory gives.

use domain::{
    call::{Call, CallOrigin, CallReport, CallState, LegStatus, ReportSource},
    ids::CallLocator,
};
use rand::{
    Rng, RngExt, SeedableRng,
    seq::{IndexedRandom, SliceRandom},
};
use rand_chacha::ChaCha8Rng;
use table::{Recorded, Table};

use crate::given::{at, call, lead, table};

fn report(rng: &mut ChaCha8Rng) -> CallReport {
    let states = [
        None,
        Some(CallState::Accepted),
        Some(CallState::Ringing),
        Some(CallState::InProgress),
        Some(CallState::Talking),
        Some(CallState::Failed),
        Some(CallState::Busy),
        Some(CallState::NoAnswer),
        Some(CallState::Completed),
    ];
    let sources = [ReportSource::Callback, ReportSource::Details, ReportSource::List];
    let legs = [LegStatus::NotAttempted, LegStatus::Busy, LegStatus::Completed];
    let state = *states.choose(rng).unwrap();
    CallReport {
        sid: rng.random_bool(0.7).then(|| "abc123".parse().unwrap()),
        talk_secs: rng.random_bool(0.4).then(|| rng.random_range(0..60)),
        lead_leg: rng.random_bool(0.4).then(|| *legs.choose(rng).unwrap()),
        recording_url: rng
            .random_bool(0.3)
            .then(|| format!("https://x.exotel.com/{}.mp3", rng.next_u32() % 3)),
        answered_at: rng.random_bool(0.3).then(|| at(rng.random_range(0..3))),
        ended_at: rng.random_bool(0.3).then(|| at(rng.random_range(10..13))),
        price: rng.random_bool(0.3).then(|| format!("{}.40", rng.next_u32() % 3)),
        ..CallReport::new(*sources.choose(rng).unwrap(), state)
    }
}

fn merge(call: &mut Call, report: &CallReport) -> bool {
    let CallOrigin::Exotel(exotel) = &mut call.origin else {
        panic!("placed through Exotel")
    };
    exotel.progress.merge(report)
}

async fn new_call(table: &Table, n: i64) -> Call {
    let call = call(&lead("lead-1").id, n, CallState::InFlight);
    table.create_call(&call).await.unwrap();
    call
}

#[tokio::test]
async fn one_after_another_they_do_what_merging_in_memory_does() {
    let (dynamo, table) = table().await;
    table.put_lead(&lead("lead-1")).await.unwrap();
    for seed in 0..60 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut expected = new_call(&table, i64::try_from(seed).unwrap()).await;
        for _ in 0..8 {
            let report = report(&mut rng);
            let held_rank = expected.exotel().unwrap().progress.rank;
            dynamo.meter().take();
            let recorded = table
                .record_call_report(&expected.locator, &report)
                .await
                .unwrap();
            let spent = dynamo.meter().take();
            assert_eq!(spent.read_units, 0.0, "nothing is ever read for a report");
            let changed = merge(&mut expected, &report);
            let outranks = report.rank() > held_rank;
            let as_expected = match recorded {
                Recorded::Applied => outranks && changed && spent.requests == 1 && spent.errors == 0,
                Recorded::Filled => !outranks && changed && spent.requests == 1 && spent.errors == 1,
                Recorded::Unchanged => !outranks && !changed && spent.requests == 0 && spent.errors == 1,
                Recorded::NoRow | Recorded::NotExotel | Recorded::OtherSid => false,
            };
            assert!(as_expected, "seed {seed}: {recorded:?} {report:?} {spent:?}");
            let held = table.call(&expected.locator).await.unwrap().unwrap();
            assert_eq!(held, expected, "seed {seed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_at_once_end_in_the_same_row() {
    let (_dynamo, table) = table().await;
    table.put_lead(&lead("lead-1")).await.unwrap();
    for seed in 0..40 {
        let mut rng = ChaCha8Rng::seed_from_u64(1_000 + seed);
        let mut expected = new_call(&table, i64::try_from(seed).unwrap()).await;
        let mut reports: Vec<_> = (0..10).map(|_| report(&mut rng)).collect();
        for report in &reports {
            merge(&mut expected, report);
        }
        // Each comes twice, as Exotel may send it.
        reports.extend(reports.clone());
        reports.shuffle(&mut rng);
        let writers: Vec<_> = reports
            .into_iter()
            .map(|report| tokio::spawn(write(table.clone(), expected.locator.clone(), report)))
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let held = table.call(&expected.locator).await.unwrap().unwrap();
        assert_eq!(held, expected, "seed {seed}");
    }
}

async fn write(table: Table, locator: CallLocator, report: CallReport) {
    while let Err(error) = table.record_call_report(&locator, &report).await {
        assert!(error.is_retryable(), "{error:?}");
    }
}

#[tokio::test]
async fn a_report_about_no_row_or_about_a_row_logged_by_hand_changes_nothing() {
    let (_dynamo, table) = table().await;
    let lead = lead("lead-1");
    table.put_lead(&lead).await.unwrap();
    let report = CallReport::new(ReportSource::Callback, Some(CallState::Busy));
    let mut logged = call(&lead.id, 1, CallState::Waiting);
    assert_eq!(
        table.record_call_report(&logged.locator, &report).await.unwrap(),
        Recorded::NoRow
    );
    assert_eq!(table.call(&logged.locator).await.unwrap(), None);
    logged.origin = CallOrigin::Logged {
        source: domain::call::CallSource::Manual,
        outcome: domain::call::Outcome::Picked,
        duration_secs: None,
    };
    table.log_call(&logged).await.unwrap();
    assert_eq!(
        table.record_call_report(&logged.locator, &report).await.unwrap(),
        Recorded::NotExotel
    );
    let from = [CallState::Waiting, CallState::Accepted];
    assert!(
        !table
            .settle_call(&logged.locator, &from, CallState::Lost, None)
            .await
            .unwrap()
    );
    assert_eq!(table.call(&logged.locator).await.unwrap(), Some(logged));
}

#[tokio::test]
async fn a_call_is_settled_only_from_where_it_may_be() {
    let (_dynamo, table) = table().await;
    table.put_lead(&lead("lead-1")).await.unwrap();
    let call = new_call(&table, 1).await;
    let from = [CallState::Unconfirmed, CallState::Accepted];
    assert!(
        !table
            .settle_call(&call.locator, &from, CallState::Lost, None)
            .await
            .unwrap()
    );
    let in_flight = [CallState::InFlight];
    let unconfirmed =
        |reason| table.settle_call(&call.locator, &in_flight, CallState::Unconfirmed, Some(reason));
    assert!(unconfirmed("timed out").await.unwrap());
    // An update whose answer was lost is sent again, and what comes of it is still to be done.
    assert!(unconfirmed("timed out").await.unwrap());
    assert!(!unconfirmed("reset").await.unwrap());
    assert!(
        table
            .settle_call(&call.locator, &from, CallState::Lost, None)
            .await
            .unwrap()
    );
    let held = table.call(&call.locator).await.unwrap().unwrap();
    assert_eq!(held.outcome(), domain::call::Outcome::Lost);
    assert_eq!(held.exotel().unwrap().reason.as_deref(), Some("timed out"));
    let busy = CallReport::new(ReportSource::List, Some(CallState::Busy));
    assert_eq!(
        table.record_call_report(&call.locator, &busy).await.unwrap(),
        Recorded::Applied
    );
}

#[tokio::test]
async fn calls_are_listed_newest_first_page_by_page() {
    let (_dynamo, table) = table().await;
    let lead = lead("lead-1");
    table.put_lead(&lead).await.unwrap();
    let mut expected = Vec::new();
    for n in 0..5 {
        expected.push(new_call(&table, n).await);
    }
    expected.reverse();
    for limit in [1, 2, 5, 9] {
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let page = table.calls(&lead.id, limit, before.as_ref()).await.unwrap();
            seen.extend(page.items);
            let Some(next) = page.next else { break };
            before = Some(next.parse().unwrap());
        }
        assert_eq!(seen, expected, "by {limit}");
    }
}

#[tokio::test]
async fn a_report_that_names_another_sid_changes_nothing_whatever_its_rank() {
    let (_dynamo, table) = table().await;
    table.put_lead(&lead("lead-1")).await.unwrap();
    let call = new_call(&table, 1).await;
    let named = |sid: &str, state| CallReport {
        sid: Some(sid.parse().unwrap()),
        talk_secs: Some(7),
        ..CallReport::new(ReportSource::Callback, Some(state))
    };
    let record = async |report: &CallReport| table.record_call_report(&call.locator, report).await.unwrap();
    assert_eq!(record(&named("abc", CallState::Ringing)).await, Recorded::Applied);
    let before = table.call(&call.locator).await.unwrap();
    for state in [CallState::Completed, CallState::Accepted] {
        assert_eq!(record(&named("other", state)).await, Recorded::OtherSid);
    }
    assert_eq!(table.call(&call.locator).await.unwrap(), before);
    assert_eq!(
        record(&named("abc", CallState::Completed)).await,
        Recorded::Applied
    );
}
