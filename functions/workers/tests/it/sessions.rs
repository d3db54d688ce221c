//! Sessions with bots go to the timelines of the leads they are with, and take what a Passthru tells of their stream.

use domain::{
    call::{CallReport, CallState, ReportSource},
    call_record::Direction,
    ids::VoiceSessionId,
    integration::Did,
    phone::PhoneNumber,
    voicebot::{
        Rate,
        record::{EndedBy, Started, StreamTold, VoiceSession},
    },
};
use jiff::SignedDuration;
use serde_json::json;
use table::EventOwner;

use crate::{
    given::{CALL_SID, World, call_event, lead_id, now},
    project_events::handle,
};

const STREAM_SID: &str = "4e1c9a70d25b4f83a6c0e7d19b52193w";

async fn project(world: &World) {
    let records = world.stream().await;
    // Twice: the stream may deliver again.
    for _ in 0..2 {
        let event = serde_json::from_value(json!({ "Records": records })).unwrap();
        let response = handle(&world.projector(), event).await;
        assert!(response.batch_item_failures.is_empty());
    }
}

fn session(n: u128) -> VoiceSession {
    VoiceSession::new(VoiceSessionId::new(now(), n), "echo", Rate::Hz8000)
}

#[tokio::test]
async fn a_session_stands_with_every_lead_who_has_the_callers_number() {
    let world = World::new().await;
    let from_both = VoiceSession {
        caller: Some("+919811100002".parse().unwrap()),
        ..session(1)
    };
    let strangers = VoiceSession {
        caller: Some("+919811100009".parse().unwrap()),
        ..session(2)
    };
    let ours = VoiceSession {
        call: Some(world.call("lead-2", 1).await),
        caller: Some("+919811100002".parse().unwrap()),
        ..session(3)
    };
    // Its caller becomes known with `start`.
    let late = session(4);
    for session in [&from_both, &strangers, &ours, &late] {
        world.table.offer_voice_session(session).await.unwrap();
    }
    let started = Started {
        at: now(),
        stream_sid: STREAM_SID.to_owned(),
        rate: Rate::Hz8000,
        call_sid: None,
        caller: Some("+919811100002".parse().unwrap()),
        number: None,
    };
    let _ = world.table.start_voice_session(&late.id, &started).await.unwrap();
    project(&world).await;
    let of = async |lead: &str| {
        let page = world
            .table
            .voice_sessions_of_lead(&lead_id(lead), 10, None)
            .await
            .unwrap();
        page.items
            .into_iter()
            .map(|session| session.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(of("lead-1").await, [late.id.clone(), from_both.id.clone()]);
    assert_eq!(
        of("lead-2").await,
        [late.id.clone(), ours.id.clone(), from_both.id]
    );
    let named = async |session: &VoiceSession| {
        world
            .table
            .voice_session(&session.id)
            .await
            .unwrap()
            .unwrap()
            .lead_id
    };
    assert_eq!(named(&ours).await, Some(lead_id("lead-2")));
    assert_eq!(named(&strangers).await, None);
    assert!(named(&late).await.is_some());
}

#[tokio::test]
async fn a_session_of_a_pasted_url_finds_its_call_its_lead_and_who_is_who() {
    let world = World::new().await;
    let exophone = "+918045550100";
    let did = Did {
        id: "did_01kak5yv7z8e4f9y2f4w6r8t0v".parse().unwrap(),
        number: exophone.parse().unwrap(),
        label: None,
        bot_id: None,
        flow_url: None,
    };
    let _ = world.table.add_did(&did).await.unwrap();
    let locator = world.call("lead-2", 1).await;
    let mut accepted = CallReport::new(ReportSource::Details, Some(CallState::Accepted));
    accepted.sid = Some(CALL_SID.parse().unwrap());
    let _ = world.table.record_call_report(&locator, &accepted).await.unwrap();
    let pasted = |n| session(n);
    let start = async |n, sid: &str, from: &str, to: &str| {
        world.table.offer_voice_session(&pasted(n)).await.unwrap();
        let number = |number: &str| (from != to).then(|| number.parse().unwrap());
        let started = Started {
            at: now(),
            stream_sid: format!("stream-{n}"),
            rate: Rate::Hz8000,
            call_sid: Some(sid.parse().unwrap()),
            caller: number(from),
            number: number(to),
        };
        let _ = world
            .table
            .start_voice_session(&pasted(n).id, &started)
            .await
            .unwrap();
    };
    // Ours, where both are the person; one placed from Exotel's dashboard; one that came in; one of an unknown number.
    start(1, CALL_SID, "+919811100002", "+919811100002").await;
    start(2, "dashboards", exophone, "+919811100002").await;
    start(3, "incoming", "+919811100009", exophone).await;
    start(4, "elsewhere", "+919811100009", "+918045550777").await;
    project(&world).await;
    let known = async |n| {
        let session = world.table.voice_session(&pasted(n).id).await.unwrap().unwrap();
        let text = |number: Option<PhoneNumber>| number.map(|number| number.as_str().to_owned());
        (
            session.call,
            session.direction,
            text(session.caller),
            text(session.number),
            session.lead_id.is_some(),
        )
    };
    let text = |number: &str| Some(number.to_owned());
    let lead = text("+919811100002");
    let ours = world.table.call(&locator).await.unwrap().unwrap();
    let caller_id = text(ours.exotel().unwrap().caller_id.as_str());
    let (outbound, inbound) = (Some(Direction::Outbound), Some(Direction::Inbound));
    assert_eq!(
        known(1).await,
        (Some(locator), outbound, lead.clone(), caller_id, true)
    );
    assert_eq!(known(2).await, (None, outbound, lead, text(exophone), true));
    let stranger = text("+919811100009");
    assert_eq!(
        known(3).await,
        (None, inbound, stranger.clone(), text(exophone), false)
    );
    assert_eq!(
        known(4).await,
        (None, None, stranger, text("+918045550777"), false)
    );
    let of = async |lead: &str| {
        let lead = lead_id(lead);
        let page = world.table.voice_sessions_of_lead(&lead, 10, None).await.unwrap();
        page.items
            .into_iter()
            .map(|session| session.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(of("lead-1").await, [pasted(2).id]);
    assert_eq!(of("lead-2").await, [pasted(2).id, pasted(1).id]);
}

#[tokio::test]
async fn a_stream_that_was_quicker_than_its_calls_sid_is_the_calls() {
    let world = World::new().await;
    let locator = world.placed("lead-2", 1, true).await;
    world.table.offer_voice_session(&session(1)).await.unwrap();
    let started = Started {
        at: now(),
        stream_sid: STREAM_SID.to_owned(),
        rate: Rate::Hz8000,
        call_sid: Some(CALL_SID.parse().unwrap()),
        caller: None,
        number: None,
    };
    let _ = world
        .table
        .start_voice_session(&session(1).id, &started)
        .await
        .unwrap();
    project(&world).await;
    let known = async || world.table.voice_session(&session(1).id).await.unwrap().unwrap();
    assert_eq!(known().await.call, None);
    let mut accepted = CallReport::new(ReportSource::Callback, Some(CallState::Ringing));
    accepted.sid = Some(CALL_SID.parse().unwrap());
    world.table.record_call_report(&locator, &accepted).await.unwrap();
    project(&world).await;
    let session = known().await;
    assert_eq!(
        (session.call, session.lead_id),
        (Some(locator), Some(lead_id("lead-2")))
    );
    assert_eq!(session.direction, Some(Direction::Outbound));
}

#[tokio::test]
async fn a_passthru_behind_the_stream_completes_the_session() {
    let world = World::new().await;
    let known = VoiceSession {
        call_sid: Some(CALL_SID.parse().unwrap()),
        ..session(1)
    };
    world.table.offer_voice_session(&known).await.unwrap();
    let query = format!(
        "CallSid={CALL_SID}&Direction=incoming&Stream[StreamSID]={STREAM_SID}&Stream[Status]=completed&Stream[Duration]=28\
         &Stream[DisconnectedBy]=user&Stream[RecordingUrl]=https://recordings.exotel.com/a/b.mp3&Stream[Error]="
    );
    let mut passthru = call_event(EventOwner::Sid(CALL_SID.to_owned()), 5, "");
    passthru.purpose = "passthru".to_owned();
    passthru.query = Some(query);
    world.table.put_raw_event(&passthru).await.unwrap();
    // One that tells of no stream, and one of a call without a bot.
    let mut before = passthru.clone();
    before.hash = "before".to_owned();
    before.query = Some(format!("CallSid={CALL_SID}&Direction=incoming"));
    world.table.put_raw_event(&before).await.unwrap();
    let mut stranger = passthru.clone();
    stranger.owner = EventOwner::Sid("stranger".to_owned());
    stranger.query = Some("CallSid=stranger&Stream[Status]=failed".to_owned());
    world.table.put_raw_event(&stranger).await.unwrap();
    project(&world).await;
    let session = world.table.voice_session(&known.id).await.unwrap().unwrap();
    let told = StreamTold {
        at: now() + SignedDuration::from_secs(5),
        stream_sid: Some(STREAM_SID.to_owned()),
        status: Some("completed".to_owned()),
        duration_secs: Some(28),
        disconnected_by: Some("user".to_owned()),
        has_recording: true,
        ..StreamTold::default()
    };
    assert_eq!(session.told.as_ref(), Some(&told));
    assert_eq!(
        (session.ended_by(), session.duration_secs()),
        (Some(EndedBy::Caller), Some(28))
    );
}
