use proptest::prelude::*;

use super::*;
use crate::{
    ids::AlertSubject,
    phone::{Country, PhoneNumber},
};

const START: &str = "2026-11-20T08:40:00Z";

fn at(secs: i64) -> Timestamp {
    START.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(secs)
}

fn sid(text: &str) -> ExoPhoneSid {
    text.parse().unwrap()
}

fn phone(n: u32) -> ExoPhoneSid {
    sid(&format!("080455501{n:02}"))
}

fn listed(n: u32) -> ListedExoPhone {
    ListedExoPhone {
        sid: phone(n),
        number: Some(format!("+9180455501{n:02}")),
        name: Some(format!("Desk {n}")),
        voice: Some(true),
        sms: Some(true),
    }
}

/// An account with this many ExoPhones, of which nothing was said yet.
fn account(phones: u32) -> Health {
    let mut health = Health::default();
    health.hear_list((0..phones).map(listed).collect(), at(-60));
    health.end_list(at(-60));
    health
}

fn said(incoming: &str, outgoing: &str) -> Said {
    let side = |word: &str| Some(SideSaid::bare(Status::from_exotel(Some(word))));
    Said {
        incoming: side(incoming),
        outgoing: side(outgoing),
    }
}

fn push(secs: i64, account: &str, outgoing: &[u32]) -> Push {
    let lists = Listed {
        outgoing_affected: outgoing.iter().map(|n| phone(*n)).collect(),
        ..Listed::default()
    };
    Push::new(at(secs), account.to_owned().into(), lists)
}

fn outgoing(health: &Health, n: u32) -> Status {
    let side = health.phones[&phone(n)].outgoing.as_ref();
    side.map_or(Status::Unknown(Some("nothing".to_owned())), |side| {
        side.said.status.clone()
    })
}

fn kinds(health: &Health) -> Vec<&'static str> {
    (0..3).map(|n| outgoing(health, n).kind()).collect()
}

/// Everything due at that moment, done.
fn settle(health: &mut Health, secs: i64) -> Vec<(AlertSubject, bool)> {
    health.age(at(secs));
    let due = health.due(at(secs));
    for due in &due {
        health.alerted(due, at(secs));
    }
    due.iter()
        .map(|due| (due.alert_subject(), due.raises()))
        .collect()
}

#[test]
fn a_word_that_exotel_does_not_document_is_unknown_and_kept() {
    assert_eq!(Status::from_exotel(Some("Active")), Status::Ok);
    assert_eq!(
        Status::from_exotel(Some("major_outage")),
        Status::Affected("major_outage".to_owned())
    );
    for none in [None, Some(""), Some(" "), Some("null")] {
        assert_eq!(Status::from_exotel(none), Status::Unknown(None));
    }
    assert_eq!(
        Status::from_exotel(Some("sleepy")),
        Status::Unknown(Some("sleepy".to_owned()))
    );
    let long = Status::from_exotel(Some(&"x".repeat(10_000)));
    assert_eq!(long.word().map(str::len), Some(LONGEST_WORD));
    for status in [
        Status::Ok,
        Status::Unknown(None),
        Status::from_exotel(Some("a:b")),
        Status::Affected("x".into()),
    ] {
        assert_eq!(Status::from(String::from(status.clone())), status);
    }
}

#[test]
fn a_push_that_names_nobody_makes_all_ok_and_one_that_cannot_tell_makes_them_unknown() {
    for (word, expected) in [
        ("OK", "ok"),
        ("ok", "ok"),
        ("PAYLOAD_TOO_LARGE", "unknown"),
        ("SUNNY", "unknown"),
        ("", "unknown"),
        ("WARNING", "unknown"),
        ("CRITICAL", "unknown"),
    ] {
        let mut health = account(3);
        health.hear_push(&push(0, word, &[]), at(1));
        assert_eq!(kinds(&health), [expected; 3], "{word}");
    }
    let mut health = account(3);
    health.hear_push(&push(0, "WARNING", &[1]), at(1));
    assert_eq!(kinds(&health), ["ok", "affected", "ok"]);
    let mut health = account(3);
    health.hear_push(&push(0, "OK", &[]), at(1));
    health.hear_push(&push(60, "CRITICAL", &[0, 1]), at(61));
    assert_eq!(
        kinds(&health),
        ["affected", "affected", "ok"],
        "it does not watch the third"
    );
}

#[test]
fn where_lists_and_details_contradict_the_worse_counts() {
    let lists = Listed {
        incoming_affected: vec![phone(0), phone(2)],
        outgoing_affected: vec![],
        data: BTreeMap::from([
            (phone(0), said("active", "active")),
            (phone(1), said("major_outage", "active")),
            (phone(2), said("sleepy", "")),
        ]),
    };
    let push = Push::new(at(0), AccountStatus::Ok, lists);
    let incoming = |n| push.said[&phone(n)].incoming.as_ref().unwrap().status.clone();
    assert_eq!(incoming(0), Status::Affected("affected".to_owned()));
    assert_eq!(incoming(1), Status::Affected("major_outage".to_owned()));
    assert_eq!(incoming(2), Status::Affected("sleepy".to_owned()));
    let outgoing = push.said[&phone(2)].outgoing.as_ref().unwrap();
    assert!(outgoing.status.is_unknown());
}

#[test]
fn the_newest_statement_wins_and_a_clock_that_runs_ahead_silences_nobody() {
    let mut health = account(1);
    health.hear_answer(&phone(0), &said("active", "major_outage"), at(100));
    health.hear_push(&push(60, "OK", &[]), at(110));
    assert!(outgoing(&health, 0).is_affected(), "an old push that came late");
    health.hear_push(&push(3_600, "OK", &[]), at(120));
    assert_eq!(outgoing(&health, 0), Status::Ok);
    assert_eq!(health.pushed_at, Some(at(120)));
    health.hear_answer(&phone(0), &said("active", "major_outage"), at(130));
    assert!(outgoing(&health, 0).is_affected());
    // A clock that runs hours behind is heard too, and what it says is not stale at once.
    let mut health = account(1);
    health.set_rotation(1, SignedDuration::from_mins(1));
    health.hear_push(&push(-19_800, "OK", &[]), at(0));
    health.hear_push(&push(-19_740, "WARNING", &[0]), at(60));
    health.age(at(60));
    assert!(outgoing(&health, 0).is_affected());
}

#[test]
fn what_nobody_can_tell_ends_an_ok_and_no_outage() {
    let mut health = account(2);
    health.hear_push(&push(0, "WARNING", &[1]), at(0));
    health.hear_push(&push(60, "PAYLOAD_TOO_LARGE", &[]), at(60));
    assert_eq!(outgoing(&health, 0), Status::Unknown(None));
    assert!(outgoing(&health, 1).is_affected());
    health.hear_answer(&phone(1), &said("active", "sleepy"), at(70));
    assert!(outgoing(&health, 1).is_affected());
    health.hear_answer(&phone(1), &said("active", "active"), at(80));
    assert_eq!(outgoing(&health, 1), Status::Ok);
    health.hear_answer(&phone(1), &Said::default(), at(90));
    assert_eq!(
        outgoing(&health, 1),
        Status::Unknown(None),
        "an answer that says nothing"
    );
}

#[test]
fn a_push_of_the_second_of_a_poll_counts_although_it_has_no_milliseconds() {
    let fraction = SignedDuration::from_millis(560);
    for word in ["active", "sleepy"] {
        let mut health = account(1);
        health.hear_answer(&phone(0), &said("active", word), at(36) + fraction);
        health.hear_push(&push(36, "WARNING", &[0]), at(37));
        assert!(outgoing(&health, 0).is_affected(), "{word}");
        assert_eq!(
            settle(&mut health, 37),
            [(AlertSubject::exophone(&phone(0)), true)]
        );
    }
}

#[test]
fn a_push_is_heard_behind_an_answer_that_tells_nothing() {
    let mut health = account(1);
    health.hear_answer(&phone(0), &said("active", "active"), at(0));
    health.hear_answer(&phone(0), &said("active", "sleepy"), at(60));
    health.hear_push(&push(55, "WARNING", &[0]), at(61));
    assert!(outgoing(&health, 0).is_affected());
    // And not when somebody has said since that calls go through.
    let mut health = account(1);
    health.hear_answer(&phone(0), &said("active", "active"), at(50));
    health.hear_answer(&phone(0), &said("active", "sleepy"), at(60));
    health.hear_push(&push(45, "WARNING", &[0]), at(61));
    assert_eq!(outgoing(&health, 0), Status::Unknown(Some("sleepy".to_owned())));
}

proptest! {
    #[test]
    fn whether_an_exophone_is_affected_does_not_hang_on_the_order_in_which_it_is_said(
        statements in proptest::collection::vec((0..6_i64, 0..3_usize), 1..7).prop_shuffle()
    ) {
        let words = ["active", "sleepy", "major_outage"];
        let mut health = account(1);
        for (secs, word) in &statements {
            health.hear_answer(&phone(0), &said("active", words[*word]), at(*secs));
        }
        let newest_that_tells = statements.iter().filter(|(_, word)| *word != 1).max();
        prop_assert_eq!(
            outgoing(&health, 0).is_affected(),
            newest_that_tells.is_some_and(|(_, word)| *word == 2)
        );
    }
}

#[test]
fn a_status_that_nobody_repeats_becomes_unknown_and_a_slow_push_is_waited_for() {
    let mut health = account(2);
    health.set_rotation(1, SignedDuration::from_mins(1));
    health.hear_answer(&phone(0), &said("active", "major_outage"), at(0));
    health.age(at(300));
    assert!(outgoing(&health, 0).is_affected());
    health.age(at(301));
    assert_eq!(outgoing(&health, 0), Status::Unknown(None));
    assert!(outgoing(&health, 1).is_unknown(), "never spoken of");
    assert_eq!(health.silent_minutes(at(301)), Some(5));
    let mut health = account(1);
    health.set_rotation(1, SignedDuration::from_mins(1));
    health.hear_push(&push(0, "OK", &[]), at(0));
    health.hear_push(&push(900, "OK", &[]), at(900));
    health.age(at(900 + 2_200));
    assert_eq!(
        outgoing(&health, 0),
        Status::Ok,
        "the next push is not late by much"
    );
    health.age(at(900 + 2_300));
    assert_eq!(outgoing(&health, 0), Status::Unknown(None));
}

#[test]
fn what_left_the_account_is_dropped_once_its_alert_is_closed() {
    let mut health = account(3);
    health.hear_push(&push(0, "WARNING", &[1]), at(0));
    settle(&mut health, 0);
    health.hear_list(vec![listed(0)], at(60));
    health.end_list(at(60));
    let left: Vec<_> = health.phones.keys().cloned().collect();
    assert_eq!(left, [phone(0), phone(1)]);
    assert_eq!(health.affected(), 0);
    assert_eq!(
        settle(&mut health, 61),
        [(AlertSubject::exophone(&phone(1)), false)]
    );
    assert_eq!(health.phones.keys().cloned().collect::<Vec<_>>(), [phone(0)]);
    // One that is for messages alone rings nobody.
    let messages = ListedExoPhone {
        voice: Some(false),
        ..listed(0)
    };
    health.hear_list(vec![messages], at(120));
    health.hear_push(&push(130, "PAYLOAD_TOO_LARGE", &[]), at(130));
    health.age(at(99_999));
    assert_eq!(health.unknown(), 0);
    assert_eq!(
        health.turn(None, 10),
        Turn {
            rounds: 1,
            ..Turn::default()
        }
    );
}

#[test]
fn a_push_before_any_list_makes_its_exophones_known_and_the_list_knows_them_by_their_number() {
    let mut health = Health::default();
    health.hear_push(&push(0, "CRITICAL", &[1, 2]), at(0));
    assert_eq!(health.affected(), 2);
    health.hear_push(&push(60, "OK", &[]), at(60));
    assert_eq!(health.affected(), 0);
    let own = |n| ListedExoPhone {
        sid: sid(&format!("abcdef{n}")),
        ..listed(n)
    };
    let mut health = Health::default();
    health.hear_list(vec![own(1), own(2)], at(0));
    health.hear_push(&push(10, "WARNING", &[2, 77]), at(10));
    assert!(health.phones[&sid("abcdef2")].is_affected());
    assert!(health.phones[&phone(77)].is_affected(), "a new one");
    assert_eq!(health.phones.len(), 3);
}

#[test]
fn ten_thousand_numbers_in_one_push_are_held_and_more_are_left_out() {
    let all: Vec<ExoPhoneSid> = (0..12_000).map(|n| sid(&format!("0804{n:07}"))).collect();
    let lists = Listed {
        incoming_affected: all.clone(),
        outgoing_affected: all,
        data: BTreeMap::new(),
    };
    let push = Push::new(at(0), AccountStatus::Critical, lists);
    let mut health = account(3);
    health.hear_push(&push, at(1));
    health.hear_push(&push, at(2));
    assert_eq!(health.phones.len(), MOST_EXOPHONES);
    assert_eq!(health.affected(), MOST_EXOPHONES - 3);
    let check = HealthCheck::of_push(&push, at(1), "hash");
    assert_eq!((check.said.len(), check.left_out), (1_000, 11_000));
}

#[test]
fn every_exophone_gets_its_turn_and_the_affected_ones_come_first() {
    let mut health = account(10);
    health.hear_answer(&phone(7), &said("active", "major_outage"), at(0));
    let mut asked = BTreeMap::new();
    for _ in 0..3 {
        let turn = health.turn(Some(&phone(2)), 5);
        assert_eq!(turn.urgent, [phone(2), phone(7)]);
        assert_eq!((turn.others.len(), turn.rounds), (3, 3));
        health.position = turn.others.last().cloned();
        for sid in turn.urgent.into_iter().chain(turn.others) {
            *asked.entry(sid).or_insert(0) += 1;
        }
    }
    assert_eq!(asked.len(), 10);
    let all = health.turn(None, 100);
    assert_eq!((all.urgent.len(), all.others.len(), all.rounds), (1, 9, 1));
    let none = health.turn(None, 0);
    assert_eq!((none.urgent.len(), none.others.len()), (0, 0));
}

#[test]
fn an_alert_is_raised_at_once_and_recovers_once_after_two_quiet_minutes() {
    let mut health = account(1);
    let mut told = Vec::new();
    // Out, then each minute ok or out again, then ok.
    for (minute, word) in [
        "active",
        "major_outage",
        "active",
        "major_outage",
        "active",
        "active",
        "active",
        "active",
    ]
    .iter()
    .enumerate()
    {
        let secs = minute as i64 * 60;
        health.hear_answer(&phone(0), &said("active", word), at(secs));
        told.extend(
            settle(&mut health, secs)
                .into_iter()
                .map(|(_, raises)| (minute, raises)),
        );
    }
    assert_eq!(told, [(1, true), (6, false)]);
    // Soon again: then it has to be ok for longer.
    health.hear_answer(&phone(0), &said("major_outage", "active"), at(600));
    assert_eq!(settle(&mut health, 600).len(), 1);
    for minute in 11..26 {
        health.hear_answer(&phone(0), &said("active", "active"), at(minute * 60));
        assert_eq!(settle(&mut health, minute * 60).len(), 0, "{minute}");
    }
    health.hear_answer(&phone(0), &said("active", "active"), at(26 * 60));
    assert_eq!(settle(&mut health, 26 * 60).len(), 1);
}

#[test]
fn unknown_health_raises_one_alert_for_all_and_is_no_recovery() {
    let mut health = account(3);
    let about = |due: Vec<Due>| {
        due.iter()
            .map(|due| (due.rule().id, due.raises()))
            .collect::<Vec<_>>()
    };
    let settle = |health: &mut Health, secs| {
        health.age(at(secs));
        let due = health.due(at(secs));
        due.iter().for_each(|due| health.alerted(due, at(secs)));
        about(due)
    };
    health.hear_push(&push(0, "WARNING", &[0]), at(0));
    assert_eq!(settle(&mut health, 0), [("exophone-affected", true)]);
    health.hear_push(&push(60, "PAYLOAD_TOO_LARGE", &[]), at(60));
    assert_eq!(settle(&mut health, 60), [("exophones-unknown", true)]);
    health.hear_answer(&phone(0), &said("active", "sleepy"), at(100));
    for minute in 2..4 {
        health.hear_push(&push(minute * 60, "OK", &[]), at(minute * 60));
        assert_eq!(settle(&mut health, minute * 60), []);
    }
    health.hear_push(&push(240, "OK", &[]), at(240));
    assert_eq!(
        settle(&mut health, 240),
        [("exophone-affected", false), ("exophones-unknown", false)]
    );
}

#[test]
fn silence_is_another_alert_and_the_only_one() {
    let mut health = account(3);
    health.set_rotation(1, SignedDuration::from_mins(1));
    health.hear_push(&push(0, "OK", &[]), at(0));
    assert_eq!(settle(&mut health, 310), []);
    assert_eq!(health.unknown(), 3);
    assert_eq!(settle(&mut health, 360), [(AlertSubject::account(), true)]);
    assert!(health.silence_alerted_at.is_some() && health.unknown_alerted_at.is_none());
    assert_eq!(settle(&mut health, 420), []);
    health.hear_push(&push(480, "OK", &[]), at(480));
    assert_eq!(settle(&mut health, 480), [(AlertSubject::account(), false)]);
}

#[test]
fn a_healthy_alternate_takes_the_place_of_an_affected_caller_id() {
    let number = |n: u32| format!("+9180455501{n:02}").parse::<PhoneNumber>().unwrap();
    let choose = |health: &Health, preferred: &[u32]| {
        let preferred: Vec<_> = preferred.iter().map(|n| number(*n)).collect();
        health.caller_id(&number(0), &preferred, Country::IN)
    };
    let mut health = account(4);
    assert_eq!(
        choose(&health, &[1]),
        (number(0), Choice::Configured),
        "unknown is not passed over"
    );
    health.hear_answer(&phone(0), &said("major_outage", "active"), at(0));
    assert_eq!(
        choose(&health, &[1]).1,
        Choice::Configured,
        "its incoming side is nobody's caller id"
    );
    let mut out = said("active", "major_outage");
    health.hear_answer(&phone(0), &out, at(10));
    assert_eq!(
        choose(&health, &[1]),
        (number(0), Choice::NoneBetter),
        "unknown is not taken instead"
    );
    for n in [1, 2, 3] {
        health.hear_answer(
            &phone(n),
            &said(if n == 1 { "major_outage" } else { "active" }, "active"),
            at(20),
        );
    }
    assert_eq!(
        choose(&health, &[9, 3]),
        (number(3), Choice::Preferred),
        "the first is not the account's"
    );
    assert_eq!(
        choose(&health, &[]),
        (number(2), Choice::Another),
        "it can also be called back"
    );
    for (secs, proposed) in [(30, "08045550101"), (32, "+918045550101")] {
        out.outgoing.as_mut().unwrap().alternates = vec!["junk".to_owned(), proposed.to_owned()];
        health.hear_answer(&phone(0), &out, at(secs));
        assert_eq!(choose(&health, &[0]), (number(1), Choice::Proposed));
        health.hear_answer(&phone(0), &said("active", "active"), at(secs + 1));
    }
    out.outgoing.as_mut().unwrap().alternates = vec!["09999999999".to_owned()];
    health.hear_answer(&phone(0), &out, at(40));
    assert_eq!(
        choose(&health, &[]),
        (number(2), Choice::Another),
        "a stranger's number"
    );
    health.age(at(40 + 3_601));
    assert_eq!(
        choose(&health, &[]).1,
        Choice::Configured,
        "what is too old proves nothing"
    );
}

#[test]
fn a_list_whose_reading_took_two_runs_drops_nobody_for_a_fraction_of_a_millisecond() {
    let began = at(0) + SignedDuration::from_nanos(123_456_789);
    let mut health = account(2);
    health.hear_list(vec![listed(0)], began);
    let kept = serde_json::to_string(&health.phones).unwrap();
    health.phones = serde_json::from_str(&kept).unwrap();
    health.hear_list(vec![listed(1)], began);
    health.end_list(began);
    assert_eq!(health.phones.len(), 2);
}

proptest! {
    #[test]
    fn the_order_in_which_known_statements_come_does_not_matter(
        statements in prop::collection::vec((0_i64..600, 0_u32..3, any::<bool>(), any::<bool>()), 1..12),
        seed in any::<u64>(),
    ) {
        let play = |statements: &[(i64, u32, bool, bool)]| {
            let mut health = account(3);
            for (secs, n, is_ok, pushed) in statements {
                let word = if *is_ok { "active" } else { "major_outage" };
                if *pushed {
                    let lists = Listed {
                        data: BTreeMap::from([(phone(*n), said(word, word))]),
                        ..Listed::default()
                    };
                    health.hear_push(&Push::new(at(*secs), AccountStatus::Critical, lists), at(700));
                } else {
                    health.hear_answer(&phone(*n), &said(word, word), at(*secs));
                }
            }
            kinds(&health)
        };
        let mut shuffled = statements.clone();
        shuffled.sort_by_key(|(secs, n, ..)| (*secs as u64 * 31 + u64::from(*n)).wrapping_mul(seed | 1));
        prop_assert_eq!(play(&statements), play(&shuffled));
    }

    #[test]
    fn nothing_that_is_said_breaks_anything(
        word in "\\PC{0,60}",
        sids in prop::collection::vec("[A-Za-z0-9+_-]{1,64}", 0..8),
        secs in -1_000_000_i64..1_000_000,
    ) {
        let sids: Vec<ExoPhoneSid> = sids.iter().map(|text| sid(text)).collect();
        let lists = Listed {
            incoming_affected: sids.clone(),
            outgoing_affected: sids.iter().rev().cloned().collect(),
            data: sids.iter().map(|sid| (sid.clone(), said(&word, &word))).collect(),
        };
        let mut health = account(2);
        let push = Push::new(at(secs), word.into(), lists);
        health.hear_push(&push, at(0));
        settle(&mut health, 0);
        prop_assert!(health.phones.values().all(|phone| phone.sides().all(|side| side.at <= at(0))));
        for due in health.due(at(0)) {
            prop_assert!(due.rule().is_breached(due.value) == due.raises());
        }
    }
}
