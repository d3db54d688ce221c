//! Calls: rows, claims, reports, and what they cost.

use domain::{
    call::{Call, CallOrigin, CallReport, CallState, InboundCall, LegStatus, Outcome, ReportSource},
    call_record::Party,
    ids::{LeadId, VoiceSessionId},
    phone::Country,
    voicebot::{Rate, record::VoiceSession},
};
use table::{Claim, Create, Recorded};

use crate::given::{at, call, lead, table};

/// As long as Exotel's are.
const SID: &str = "7c1b2a3d4e5f6071829304a5b6c7d8e9";

fn accepted(sid: &str) -> CallReport {
    CallReport {
        sid: Some(sid.parse().unwrap()),
        ..CallReport::new(ReportSource::Details, Some(CallState::Accepted))
    }
}

fn answered(leg: Option<LegStatus>) -> CallReport {
    let state = CallState::from_exotel("in-progress", leg);
    CallReport {
        sid: Some(SID.parse().unwrap()),
        lead_leg: leg,
        answered_at: Some(at(9_000)),
        ..CallReport::new(ReportSource::Callback, state)
    }
}

fn completed() -> CallReport {
    CallReport {
        sid: Some(SID.parse().unwrap()),
        talk_secs: Some(41),
        lead_leg: Some(LegStatus::Completed),
        recording_url: Some(format!(
            "https://recordings.exotel.com/exotelrecordings/{}.mp3",
            "x".repeat(140)
        )),
        ended_at: Some(at(60_000)),
        price: Some("12.3456".to_owned()),
        ..CallReport::new(ReportSource::Callback, Some(CallState::Completed))
    }
}

/// A lead's call as its record has it.
fn inbound(lead: &str, talk_secs: Option<u32>) -> Call {
    Call {
        called_by: None,
        origin: CallOrigin::Inbound(Box::new(InboundCall {
            sid: "5f0c196k".parse().unwrap(),
            caller: "+919811100001".parse().unwrap(),
            agent: Party::read("09811100099", Country::IN),
            outcome: Outcome::Connected,
            is_over: talk_secs.is_some(),
            talk_secs,
            recording_url: talk_secs.map(|_| "https://recordings.exotel.com/a.mp3".to_owned()),
            ended_at: talk_secs.map(|_| at(60_000)),
        })),
        ..call(&lead.parse().unwrap(), 1, CallState::Waiting)
    }
}

#[tokio::test]
async fn a_lead_who_calls_is_on_the_timeline_once_as_the_record_has_it() {
    let (_dynamo, table) = table().await;
    assert!(
        !table.put_inbound_call(&inbound("lead-1", None), 1).await.unwrap(),
        "nobody's"
    );
    table.put_lead(&lead("lead-1")).await.unwrap();
    let ended = inbound("lead-1", Some(41));
    assert!(table.put_inbound_call(&inbound("lead-1", None), 1).await.unwrap());
    assert!(table.put_inbound_call(&ended, 3).await.unwrap());
    assert!(
        !table.put_inbound_call(&inbound("lead-1", None), 2).await.unwrap(),
        "older"
    );
    let page = table.calls(&ended.locator.lead_id, 5, None).await.unwrap();
    assert_eq!(page.items, std::slice::from_ref(&ended));
    assert_eq!(table.call_by_sid(ended.sid().unwrap()).await.unwrap(), None);
    let report = CallReport::new(ReportSource::Callback, Some(CallState::Busy));
    let recorded = table.record_call_report(&ended.locator, &report).await.unwrap();
    assert_eq!(recorded, table::Recorded::NotExotel);
}

#[tokio::test]
async fn calls_are_read_by_their_locators_and_missing_ones_left_out() {
    let (_dynamo, table) = table().await;
    let lead = lead("lead-1");
    table.put_lead(&lead).await.unwrap();
    let calls: Vec<_> = (0..3).map(|n| call(&lead.id, n, CallState::Waiting)).collect();
    for call in [&calls[0], &calls[2]] {
        table.create_call(call).await.unwrap();
    }
    let locators: Vec<_> = calls.iter().rev().map(|call| call.locator.clone()).collect();
    let read = table.calls_at(&locators).await.unwrap();
    assert_eq!(read, [calls[2].clone(), calls[0].clone()]);
    assert_eq!(table.calls_at(&[]).await.unwrap(), []);
}

#[tokio::test]
async fn a_whole_call_costs_nine_write_units_and_its_events_one_each() {
    let (dynamo, table) = table().await;
    let lead = lead(&"l".repeat(64));
    table.put_lead(&lead).await.unwrap();
    let mut call = call(&lead.id, 1, CallState::InFlight);
    call.called_by = Some("u".repeat(64).parse().unwrap());
    dynamo.meter().take();

    let mut whole = 0.0;
    assert_eq!(table.create_call(&call).await.unwrap(), Create::Created);
    let spent = dynamo.meter().take();
    println!("create_call (row and lead counters): {spent:?}");
    assert_eq!((spent.write_units, spent.read_units), (4.0, 0.0));
    whole += spent.write_units;

    let accepted = accepted(SID);
    assert_eq!(
        table.record_call_report(&call.locator, &accepted).await.unwrap(),
        Recorded::Applied
    );
    let spent = dynamo.meter().take();
    println!("ACCEPTED, with its index entry: {spent:?}");
    assert_eq!((spent.write_units, spent.read_units), (2.0, 0.0));
    whole += spent.write_units;

    for report in [answered(None), answered(Some(LegStatus::InProgress)), completed()] {
        assert_eq!(
            table.record_call_report(&call.locator, &report).await.unwrap(),
            Recorded::Applied
        );
        let spent = dynamo.meter().take();
        println!("{:?}: {spent:?}", report.state.unwrap());
        assert_eq!(
            (spent.write_units, spent.read_units, spent.requests),
            (1.0, 0.0, 1)
        );
        whole += spent.write_units;
    }
    println!("whole call: {whole} write units");
    assert!(whole <= 9.0, "{whole}");

    let held = table.call(&call.locator).await.unwrap().unwrap();
    assert_eq!(held.outcome(), Outcome::Connected);
    let lead = table.lead(&lead.id).await.unwrap().unwrap();
    assert_eq!((lead.call_count, lead.last_contacted_at), (1, Some(at(1))));
    assert_eq!(
        table.call_by_sid(&SID.parse().unwrap()).await.unwrap(),
        Some(call.locator)
    );
}

#[tokio::test]
async fn a_call_to_nobody_or_made_twice_writes_nothing() {
    let (_dynamo, table) = table().await;
    let lead = lead("lead-1");
    let nobody: LeadId = "nobody".parse().unwrap();
    table.put_lead(&lead).await.unwrap();
    let first = call(&lead.id, 1, CallState::Waiting);
    assert_eq!(table.create_call(&first).await.unwrap(), Create::Created);
    assert_eq!(table.create_call(&first).await.unwrap(), Create::Exists);
    let orphan = call(&nobody, 1, CallState::Waiting);
    assert_eq!(table.create_call(&orphan).await.unwrap(), Create::NoLead);
    assert_eq!(table.log_call(&orphan).await.unwrap(), Create::NoLead);
    assert_eq!(table.call(&orphan.locator).await.unwrap(), None);
    assert_eq!(table.lead(&lead.id).await.unwrap().unwrap().call_count, 1);
}

/// Another ExoPhone than the one of the click.
fn alternate() -> domain::phone::PhoneNumber {
    "+918045550199".parse().unwrap()
}

#[tokio::test]
async fn of_many_claimers_exactly_one_gets_the_attempt() {
    let (_dynamo, table) = table().await;
    let lead = lead("lead-1");
    table.put_lead(&lead).await.unwrap();
    let call = call(&lead.id, 1, CallState::Waiting);
    table.create_call(&call).await.unwrap();
    let claims = (0..16).map(|claimant| {
        let (table, locator) = (table.clone(), call.locator.clone());
        tokio::spawn(async move {
            let claim = table.claim_call(&locator, 1, claimant, &alternate()).await;
            // An update whose answer was lost is sent again.
            assert_eq!(
                table
                    .claim_call(&locator, 1, claimant, &alternate())
                    .await
                    .unwrap(),
                *claim.as_ref().unwrap()
            );
            claim.unwrap()
        })
    });
    let mut got = 0;
    for claim in claims.collect::<Vec<_>>() {
        match claim.await.unwrap() {
            Claim::Claimed(call) => {
                assert_eq!(call.exotel().unwrap().attempt, 1);
                assert_eq!(call.exotel().unwrap().caller_id, alternate());
                got += 1;
            }
            Claim::NotWaiting(_) => {}
            Claim::Gone => panic!("the row is there"),
        }
    }
    assert_eq!(got, 1);
    assert!(table.release_call(&call.locator, 1, "429").await.unwrap());
    // An update whose answer was lost is sent again, and is still this attempt's.
    assert!(table.release_call(&call.locator, 1, "429").await.unwrap());
    assert!(!table.release_call(&call.locator, 2, "429").await.unwrap());
    assert!(matches!(
        table.claim_call(&call.locator, 1, 1, &alternate()).await.unwrap(),
        Claim::NotWaiting(_)
    ));
    assert!(matches!(
        table.claim_call(&call.locator, 2, 1, &alternate()).await.unwrap(),
        Claim::Claimed(_)
    ));
    assert!(!table.release_call(&call.locator, 1, "late").await.unwrap());
}

#[tokio::test]
async fn a_call_to_a_number_that_is_no_leads_has_a_home_of_its_own() {
    let (dynamo, table) = table().await;
    let home = LeadId::unlisted("0f1e2d3c4b5a69788796a5b4c3d2e1f0");
    let mut placed = call(&home, 1, CallState::InFlight);
    if let CallOrigin::Exotel(exotel) = &mut placed.origin {
        exotel.to_bot = true;
        // The ExoPhone is the only other party.
        exotel.agent_phone = exotel.caller_id.clone();
    }
    dynamo.meter().take();
    assert_eq!(
        table.create_unlisted_call(&placed).await.unwrap(),
        Create::Created
    );
    assert_eq!(dynamo.meter().take().write_units, 1.0);
    assert_eq!(table.create_unlisted_call(&placed).await.unwrap(), Create::Exists);
    assert_eq!(table.call(&placed.locator).await.unwrap(), Some(placed.clone()));
    let mut report = CallReport::new(ReportSource::Callback, Some(CallState::Completed));
    report.sid = Some("abc123".parse().unwrap());
    table.record_call_report(&placed.locator, &report).await.unwrap();
    let found = table.call_by_sid(&"abc123".parse().unwrap()).await.unwrap();
    assert_eq!(found, Some(placed.locator.clone()));

    // It is erased as a lead is, with the sessions of its calls, though there is no row to hide.
    let session = VoiceSession::new(VoiceSessionId::new(at(1), 7), "echo", Rate::Hz8000);
    table.offer_voice_session(&session).await.unwrap();
    assert!(table.place_voice_session(&home, &session.id).await.unwrap());
    let erased = table.erase_lead(&home, 100).await.unwrap();
    assert!(erased.done && erased.deleted == 2, "{erased:?}");
    assert_eq!(table.call(&placed.locator).await.unwrap(), None);
    assert_eq!(table.voice_session(&session.id).await.unwrap(), None);
    let again = table.erase_lead(&home, 100).await.unwrap();
    assert!(again.done && again.deleted == 0, "{again:?}");
}
