//! Sessions with bots: facts in any order, transcripts, and what is erased with a lead.

use domain::{
    call_record::Direction,
    ids::{CallSid, VoiceSessionId},
    voicebot::{
        Ending, Rate,
        record::{Counts, Ended, Identified, Line, Started, StreamTold, VoiceSession},
    },
};
use jiff::SignedDuration;
use proptest::prelude::*;
use table::{Noted, Record, Table, TableError};

use crate::given::{at, lead, table};

const HOUR: i64 = 3_600_000;

fn id(n: i64) -> VoiceSessionId {
    VoiceSessionId::new(at(n), 7)
}

fn sid(n: i64) -> CallSid {
    format!("90d3b6f2e8174a5cbb41f7e06c83{n:04}").parse().unwrap()
}

/// The session that is offered so many milliseconds after the start.
pub(crate) fn offered(n: i64) -> VoiceSession {
    VoiceSession {
        call_sid: Some(sid(1)),
        direction: Some(Direction::Inbound),
        caller: Some("+919811100001".parse().unwrap()),
        number: Some("+918045550100".parse().unwrap()),
        ..VoiceSession::new(id(n), "reception", Rate::Hz8000)
    }
}

fn started(n: i64) -> Started {
    Started {
        at: at(n),
        stream_sid: "4e1c9a70d25b4f83a6c0e7d19b52193w".to_owned(),
        rate: Rate::Hz16000,
        call_sid: Some(sid(2)),
        caller: Some("+919811100002".parse().unwrap()),
        number: None,
    }
}

fn ended(n: i64, why: Ending) -> Ended {
    let counts = Counts {
        turns: 4,
        lost_frames: 2,
        ignored: 1,
    };
    Ended {
        at: at(n),
        why,
        counts,
    }
}

fn told(n: i64) -> StreamTold {
    StreamTold {
        at: at(n),
        status: Some("completed".to_owned()),
        duration_secs: Some(28),
        disconnected_by: Some("user".to_owned()),
        ..StreamTold::default()
    }
}

fn line(turn: u32, heard: &str) -> Line {
    Line::kept(turn, at(1_000 * i64::from(turn)), Some(heard), Some("Thank you.")).unwrap()
}

#[tokio::test]
async fn a_session_is_offered_connected_started_and_ended_for_a_write_each() {
    let (dynamo, table) = table().await;
    let spent = async |units: f64| {
        let spent = dynamo.meter().take();
        assert_eq!(
            (spent.requests, spent.read_units, spent.write_units),
            (1, 0.0, units)
        );
    };
    dynamo.meter().take();
    assert!(table.offer_voice_session(&offered(0)).await.unwrap());
    // The item, and its place in the index.
    spent(2.0).await;
    assert!(!table.offer_voice_session(&offered(0)).await.unwrap());
    dynamo.meter().take();

    let connected = table
        .connect_voice_session(&id(0), at(500))
        .await
        .unwrap()
        .unwrap();
    spent(1.0).await;
    assert_eq!(
        (connected.connected_at, connected.bot_id.as_str()),
        (Some(at(500)), "reception")
    );
    // Exotel repeats a handshake that failed.
    let again = table
        .connect_voice_session(&id(0), at(900))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(again, connected);
    dynamo.meter().take();

    assert_eq!(
        table.start_voice_session(&id(0), &started(1_000)).await.unwrap(),
        Noted::Done
    );
    spent(1.0).await;
    let why = Ending::Transferred("sales".to_owned());
    assert_eq!(
        table
            .end_voice_session(&id(0), &ended(9_000, why.clone()))
            .await
            .unwrap(),
        Noted::Done
    );
    spent(1.0).await;
    assert_eq!(
        table.complete_voice_session(&id(0), &told(9_900)).await.unwrap(),
        Noted::Done
    );
    spent(1.0).await;

    let whole = table.voice_session(&id(0)).await.unwrap().unwrap();
    let expected = VoiceSession {
        rate: Rate::Hz16000,
        connected_at: Some(at(500)),
        started_at: Some(at(1_000)),
        stream_sid: Some(started(0).stream_sid),
        ended: Some(ended(9_000, why)),
        told: Some(told(9_900)),
        ..offered(0)
    };
    assert_eq!(
        whole, expected,
        "sid and numbers stay those that it was offered with"
    );
}

#[tokio::test]
async fn of_two_ends_the_one_that_says_more_stays() {
    let (_dynamo, table) = table().await;
    table.offer_voice_session(&offered(0)).await.unwrap();
    let end = async |n, why| table.end_voice_session(&id(0), &ended(n, why)).await.unwrap();
    assert_eq!(end(1, Ending::Closed).await, Noted::Done);
    assert_eq!(end(2, Ending::CallEnded).await, Noted::Done);
    assert_eq!(end(3, Ending::HungUp).await, Noted::Unchanged);
    assert_eq!(end(4, Ending::Closed).await, Noted::Unchanged);
    assert_eq!(
        table.complete_voice_session(&id(0), &told(5)).await.unwrap(),
        Noted::Done
    );
    assert_eq!(
        table.complete_voice_session(&id(0), &told(6)).await.unwrap(),
        Noted::Unchanged
    );
    let session = table.voice_session(&id(0)).await.unwrap().unwrap();
    assert_eq!(session.ended, Some(ended(2, Ending::CallEnded)));
    assert_eq!(session.told, Some(told(5)));
    // Another stream is none of this session's.
    assert_eq!(
        table.start_voice_session(&id(0), &started(0)).await.unwrap(),
        Noted::Done
    );
    let other = Started {
        stream_sid: "another".to_owned(),
        ..started(0)
    };
    assert_eq!(
        table.start_voice_session(&id(0), &other).await.unwrap(),
        Noted::Unchanged
    );
    assert_eq!(
        table.name_voice_lead(&id(0), &lead("lead-1").id).await.unwrap(),
        Noted::Done
    );
    assert_eq!(
        table.name_voice_lead(&id(0), &lead("lead-2").id).await.unwrap(),
        Noted::Unchanged
    );
}

#[tokio::test]
async fn nothing_brings_a_session_back_that_is_gone() {
    let (dynamo, table) = table().await;
    let lead = lead("lead-1").id;
    assert_eq!(table.connect_voice_session(&id(0), at(0)).await.unwrap(), None);
    for noted in [
        table.start_voice_session(&id(0), &started(0)).await,
        table.end_voice_session(&id(0), &ended(0, Ending::Closed)).await,
        table.complete_voice_session(&id(0), &told(0)).await,
        table.identify_voice_session(&id(0), &identified()).await,
        table.name_voice_lead(&id(0), &lead).await,
        table.put_voice_line(&id(0), &line(0, "hello")).await,
    ] {
        assert_eq!(noted.unwrap(), Noted::NoSession);
    }
    assert!(
        !table.place_voice_session(&lead, &id(0)).await.unwrap(),
        "no such lead"
    );
    let all = dynamo
        .client()
        .scan()
        .table_name(dynamo::TABLE_NAME)
        .send()
        .await
        .unwrap();
    assert_eq!(all.count, 0);
}

#[tokio::test]
async fn what_was_said_is_kept_by_turn_and_costs_the_same_in_the_last_one() {
    let (dynamo, table) = table().await;
    table.offer_voice_session(&offered(0)).await.unwrap();
    for turn in [2, 0, 11, 1] {
        dynamo.meter().take();
        let noted = table
            .put_voice_line(&id(0), &line(turn, "one moment"))
            .await
            .unwrap();
        assert_eq!(noted, Noted::Done);
        let spent = dynamo.meter().take();
        assert_eq!((spent.requests, spent.write_units), (1, 4.0));
    }
    // A bot that is asked again answers the same turn.
    let _ = table.put_voice_line(&id(0), &line(1, "yes")).await.unwrap();
    let lines = table.voice_lines(&id(0)).await.unwrap();
    let said: Vec<_> = lines
        .iter()
        .map(|line| (line.turn, line.heard.as_deref().unwrap()))
        .collect();
    assert_eq!(
        said,
        [
            (0, "one moment"),
            (1, "yes"),
            (2, "one moment"),
            (11, "one moment")
        ]
    );
    assert_eq!(table.voice_lines(&id(1)).await.unwrap(), []);
}

#[tokio::test]
async fn sessions_are_listed_newest_first_across_days_page_by_page() {
    let (_dynamo, table) = table().await;
    // 08:30 UTC and every ten hours after, over three days.
    for n in 0..6 {
        table.offer_voice_session(&offered(n * 10 * HOUR)).await.unwrap();
    }
    let ids = |ns: &[i64]| ns.iter().map(|n| id(n * 10 * HOUR)).collect::<Vec<_>>();
    let (from, to) = (at(10 * HOUR), at(50 * HOUR));
    let mut cursor = None;
    let mut listed = Vec::new();
    for pages in 1.. {
        let page = table
            .voice_sessions(from, to, 2, cursor.as_deref())
            .await
            .unwrap();
        listed.extend(page.items.into_iter().map(|session| session.id));
        cursor = page.next;
        if cursor.is_none() {
            assert_eq!(pages, 2);
            break;
        }
    }
    assert_eq!(listed, ids(&[4, 3, 2, 1]), "from is in, to is not");
    // A page looks through 31 days.
    let (long_ago, mut cursor, mut pages) = (at(-90 * 24 * HOUR), None, Vec::new());
    loop {
        let page = table
            .voice_sessions(long_ago, at(HOUR), 5, cursor.as_deref())
            .await
            .unwrap();
        pages.push(page.items.len());
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(pages, [1, 0, 0]);
    for bad in ["", "vs_1", id(60 * HOUR).as_str()] {
        let read = table.voice_sessions(from, to, 2, Some(bad)).await;
        assert!(matches!(read, Err(TableError::Cursor)), "{bad}");
    }
    // A span that is none, on a day that has sessions; and a cursor that the span's beginning has overtaken.
    let (later, overtaken) = (at(10 * HOUR + 1_000), id(10 * HOUR));
    for (from, to, cursor) in [
        (to, from, None),
        (from, from, None),
        (later, to, Some(overtaken.as_str())),
    ] {
        let page = table.voice_sessions(from, to, 2, cursor).await.unwrap();
        assert_eq!((page.items, page.next), (Vec::new(), None));
    }
}

fn identified() -> Identified {
    Identified {
        call: Some("call_01kak5yv7z8e4f9y2f4w6r8t0v.lead-1".parse().unwrap()),
        direction: Direction::Outbound,
        caller: "+919811100003".parse().unwrap(),
        number: "+918045550199".parse().unwrap(),
    }
}

#[tokio::test]
async fn whose_a_session_is_can_be_found_out_once() {
    let (_dynamo, table) = table().await;
    let pasted = VoiceSession::new(id(0), "reception", Rate::Hz8000);
    table.offer_voice_session(&pasted).await.unwrap();
    let _ = table.start_voice_session(&id(0), &started(0)).await.unwrap();
    let inbound = Identified {
        call: None,
        direction: Direction::Inbound,
        ..identified()
    };
    let found = async |found| table.identify_voice_session(&id(0), found).await.unwrap();
    assert_eq!(found(&inbound).await, Noted::Done);
    assert_eq!(found(&inbound).await, Noted::Unchanged);
    // That it is a call of ours may become known later, and is sure.
    let ours = identified();
    assert_eq!(found(&ours).await, Noted::Done);
    for again in [&ours, &inbound] {
        assert_eq!(found(again).await, Noted::Unchanged);
    }
    let session = table.voice_session(&id(0)).await.unwrap().unwrap();
    assert_eq!(
        (session.call, session.direction, session.caller, session.number),
        (
            ours.call,
            Some(ours.direction),
            Some(ours.caller),
            Some(ours.number)
        )
    );
    // One that was offered with its direction has only that to find out.
    table.offer_voice_session(&offered(1)).await.unwrap();
    let noted = table.identify_voice_session(&id(1), &inbound).await.unwrap();
    assert_eq!(noted, Noted::Unchanged);
}

#[tokio::test]
async fn a_call_finds_its_sessions_however_its_sid_became_known() {
    let (_dynamo, table) = table().await;
    table.offer_voice_session(&offered(0)).await.unwrap();
    let unknown = VoiceSession {
        call_sid: None,
        caller: None,
        ..offered(1)
    };
    table.offer_voice_session(&unknown).await.unwrap();
    let first = Started {
        call_sid: Some(sid(1)),
        ..started(10)
    };
    let _ = table.start_voice_session(&id(1), &first).await.unwrap();
    let found = table.voice_sessions_by_call(&sid(1)).await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|session| (&session.id, &session.caller))
        .collect();
    let second = Some("+919811100002".parse().unwrap());
    assert_eq!(found, [(&id(0), &offered(0).caller), (&id(1), &second)]);
    assert_eq!(table.voice_sessions_by_call(&sid(2)).await.unwrap(), []);
}

#[tokio::test]
async fn a_session_stands_with_its_lead_and_is_erased_with_it() {
    let (dynamo, table) = table().await;
    let (asha, ravi) = (lead("lead-1"), lead("lead-2"));
    table.put_lead(&asha).await.unwrap();
    table.put_lead(&ravi).await.unwrap();
    for n in 0..3 {
        table.offer_voice_session(&offered(n)).await.unwrap();
        let _ = table
            .put_voice_line(&id(n), &line(0, "my number is 98111"))
            .await
            .unwrap();
        assert!(table.place_voice_session(&asha.id, &id(n)).await.unwrap());
        assert!(
            table.place_voice_session(&asha.id, &id(n)).await.unwrap(),
            "again"
        );
    }
    // Somebody else's stays, and so does one of nobody's.
    table.offer_voice_session(&offered(3)).await.unwrap();
    table.place_voice_session(&ravi.id, &id(3)).await.unwrap();
    table.offer_voice_session(&offered(4)).await.unwrap();

    dynamo.meter().take();
    for (lead, n, is_its) in [
        (&asha, 2, true),
        (&asha, 3, false),
        (&ravi, 3, true),
        (&ravi, 4, false),
    ] {
        let found = table.is_voice_session_of(&lead.id, &id(n)).await.unwrap();
        assert_eq!(found, is_its, "{n}");
    }
    assert_eq!(dynamo.meter().take().read_units, 4.0);

    let page = table.voice_sessions_of_lead(&asha.id, 2, None).await.unwrap();
    assert_eq!(page.items, [offered(2), offered(1)]);
    let next: VoiceSessionId = page.next.unwrap().parse().unwrap();
    let page = table
        .voice_sessions_of_lead(&asha.id, 2, Some(&next))
        .await
        .unwrap();
    assert_eq!((page.items, page.next), (vec![offered(0)], None));

    let export = table.export_lead(&asha.id, None).await.unwrap();
    let exported: Vec<_> = export
        .items
        .iter()
        .filter_map(|record| match record {
            Record::Transcribed(session) => Some((&session.session.id, session.lines.len())),
            _ => None,
        })
        .collect();
    assert_eq!(exported, [(&id(0), 1), (&id(1), 1), (&id(2), 1)]);

    while !table.erase_lead(&asha.id, 2).await.unwrap().done {}
    for n in 0..3 {
        assert_eq!(table.voice_session(&id(n)).await.unwrap(), None);
        assert_eq!(table.voice_lines(&id(n)).await.unwrap(), []);
        let noted = table.put_voice_line(&id(n), &line(1, "late")).await.unwrap();
        assert_eq!(noted, Noted::NoSession);
    }
    assert!(table.voice_session(&id(3)).await.unwrap().is_some());
    assert!(table.voice_session(&id(4)).await.unwrap().is_some());
    let all = dynamo
        .client()
        .scan()
        .table_name(dynamo::TABLE_NAME)
        .send()
        .await
        .unwrap();
    let left = format!("{:?}", all.items);
    assert!(!left.contains("lead-1") && !left.contains("my number"), "{left}");
}

/// Everything that may happen to a session.
pub(crate) async fn live(table: &Table, id: &VoiceSessionId) {
    table.connect_voice_session(id, at(500)).await.unwrap();
    let why = Ending::Transferred("sales".to_owned());
    for noted in [
        table.start_voice_session(id, &started(1_000)).await,
        table.put_voice_line(id, &line(0, "hello")).await,
        table.end_voice_session(id, &ended(9_000, why)).await,
        table.complete_voice_session(id, &told(9_900)).await,
    ] {
        assert_eq!(noted.unwrap(), Noted::Done);
    }
}

/// Does what the n-th of the writes of a session's life does.
async fn write(table: &Table, n: usize) {
    let done = match n {
        0 => table
            .connect_voice_session(&id(0), at(500))
            .await
            .map(|_| Noted::Done),
        1 => table.start_voice_session(&id(0), &started(1_000)).await,
        2 => table.put_voice_line(&id(0), &line(0, "hello")).await,
        3 => {
            table
                .end_voice_session(&id(0), &ended(9_000, Ending::HungUp))
                .await
        }
        4 => {
            table
                .end_voice_session(&id(0), &ended(9_100, Ending::Closed))
                .await
        }
        5 => table.complete_voice_session(&id(0), &told(9_900)).await,
        _ => table.name_voice_lead(&id(0), &lead("lead-1").id).await,
    };
    assert_ne!(done.unwrap(), Noted::NoSession, "{n}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn whatever_the_order_and_however_often_the_session_is_the_same(
        order in Just((0..7).chain(0..7).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_dynamo, table) = table().await;
            table.offer_voice_session(&offered(0)).await.unwrap();
            for n in order {
                write(&table, n).await;
            }
            let expected = VoiceSession {
                rate: Rate::Hz16000,
                lead_id: Some("lead-1".parse().unwrap()),
                connected_at: Some(at(500)),
                started_at: Some(at(1_000)),
                stream_sid: Some(started(0).stream_sid),
                ended: Some(ended(9_000, Ending::HungUp)),
                told: Some(told(9_900)),
                ..offered(0)
            };
            assert_eq!(table.voice_session(&id(0)).await.unwrap().unwrap(), expected);
            assert_eq!(table.voice_lines(&id(0)).await.unwrap(), [line(0, "hello")]);
        });
    }
}

#[tokio::test]
async fn a_session_and_what_was_said_go_by_themselves() {
    let (dynamo, table) = table().await;
    table.offer_voice_session(&offered(0)).await.unwrap();
    let _ = table.put_voice_line(&id(0), &line(0, "hello")).await.unwrap();
    let ttl = |days: i64| {
        (at(0) + SignedDuration::from_hours(days * 24))
            .as_second()
            .to_string()
    };
    let all = dynamo
        .client()
        .scan()
        .table_name(dynamo::TABLE_NAME)
        .send()
        .await
        .unwrap();
    let mut found: Vec<_> = all
        .items
        .unwrap()
        .into_iter()
        .map(|item| {
            (
                item["entity_type"].as_s().unwrap().clone(),
                item["ttl"].as_n().unwrap().clone(),
            )
        })
        .collect();
    found.sort();
    let expected = [("voice_line", ttl(90)), ("voice_session", ttl(400))];
    assert_eq!(found, expected.map(|(kind, ttl)| (kind.to_owned(), ttl)));
}
