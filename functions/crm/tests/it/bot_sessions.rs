//! Sessions with bots: listed for heads and administrators, and on the timeline of their lead.

use domain::{
    directory::Lead,
    ids::VoiceSessionId,
    voicebot::{
        Ending, Rate,
        record::{Counts, VoiceSession},
    },
};
use serde_json::{Value, json};
use services::voicebot::sessions::{Sessions, StreamStart};

use crate::house::{ADMIN, ADMIN_ROUTES, Event, HEAD, House, SALES, SALES_ROUTES, STRANGERS, at, lead};

const SESSIONS: &str = "/voicebot/sessions";
const LIST: &str = "/api/admin/voicebot/sessions";
const ONE: &str = "/api/admin/voicebot/sessions/{id}";
const SID: &str = "90d3b6f2e8174a5cbb41f7e06c83193v";

fn id(n: i64) -> VoiceSessionId {
    VoiceSessionId::new(at(n), 7)
}

fn sessions(house: &House) -> Sessions {
    Sessions::new(house.table.clone(), domain::phone::Country::IN)
}

/// A session that was offered so many milliseconds ago, from lead-1's number.
pub(crate) async fn offered(house: &House, ago: i64) -> VoiceSessionId {
    let session = VoiceSession {
        call_sid: Some(SID.parse().unwrap()),
        caller: Some("+919811100001".parse().unwrap()),
        number: Some("+918045550100".parse().unwrap()),
        ..VoiceSession::new(id(-ago), "reception", Rate::Hz8000)
    };
    sessions(house).offered(&session).await.unwrap();
    sessions(house).place(&session).await.unwrap();
    session.id
}

/// A call that began a while ago and may have ended.
async fn talked(house: &House, ago: i64, over: bool) -> VoiceSessionId {
    let id = offered(house, ago).await;
    let kept = sessions(house);
    kept.connected(&id, at(500 - ago)).await.unwrap();
    let start = StreamStart {
        stream_sid: "4e1c9a70d25b4f83a6c0e7d19b52193w",
        rate: Rate::Hz8000,
        call_sid: Some(SID),
        from: Some("09811100001"),
        to: Some("08045550100"),
    };
    let _ = kept.started(&id, &start, at(1_000 - ago)).await.unwrap();
    let _ = kept
        .said(&id, 0, None, Some("Welcome."), at(1_500 - ago))
        .await
        .unwrap();
    let _ = kept
        .said(&id, 1, Some("2"), Some("One moment."), at(5_000 - ago))
        .await
        .unwrap();
    if over {
        let counts = Counts {
            turns: 2,
            lost_frames: 1,
            ignored: 0,
        };
        let why = Ending::Transferred("sales".to_owned());
        let _ = kept.ended(&id, &why, counts, at(13_000 - ago)).await.unwrap();
    }
    id
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|session| session["id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn what_lasts_and_what_was_are_listed_newest_first() {
    let house = House::new().await;
    let over = talked(&house, 60_000, true).await;
    let lasts = talked(&house, 30_000, false).await;
    let waits = offered(&house, 1_000).await;
    let answer = house.get(ADMIN, SESSIONS, SESSIONS).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(ids(&answer.body["active"]), [lasts.as_str()]);
    assert_eq!(
        ids(&answer.body["items"]),
        [waits.as_str(), lasts.as_str(), over.as_str()]
    );
    let states: Vec<_> = answer.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| &s["state"])
        .collect();
    assert_eq!(states, ["offered", "streaming", "ended"]);

    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = house
            .get(HEAD, LIST, &format!("{LIST}?limit=2&cursor={cursor}"))
            .await;
        seen.extend(ids(&page.body["items"]).into_iter().map(str::to_owned));
        match page.body["nextCursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, [waits.as_str(), lasts.as_str(), over.as_str()]);
    let first = house.get(HEAD, LIST, &format!("{LIST}?limit=2")).await;
    let cursor = first.body["nextCursor"].as_str().unwrap();
    let earlier = format!("{LIST}?cursor={cursor}&to=2026-11-20T08:29:20Z");
    let refused = house.get(HEAD, LIST, &earlier).await;
    assert_eq!((refused.status, &refused.body["field"]), (400, &json!("cursor")));
    let never = house
        .get(ADMIN, LIST, &format!("{LIST}?to=-009999-01-03T00:00:00Z"))
        .await;
    assert_eq!(never.body["items"], json!([]));
    let path = format!("{LIST}?from=2026-11-20T08:29:00Z&to=2026-11-20T08:29:30Z");
    let span = house.get(ADMIN, LIST, &path).await;
    assert_eq!(ids(&span.body["items"]), [over.as_str()]);
}

#[tokio::test]
async fn one_is_shown_with_what_was_said_and_heads_see_four_digits() {
    let house = House::new().await;
    let id = talked(&house, 60_000, true).await;
    let path = format!("{LIST}/{id}");
    let answer = house.get(ADMIN, ONE, &path).await;
    assert_eq!(
        answer.body,
        json!({
            "id": id, "state": "ended", "bot_id": "reception", "fleet": false, "call_sid": SID,
            "stream_sid": "4e1c9a70d25b4f83a6c0e7d19b52193w", "call_log_id": null, "lead_id": "lead-1", "direction": null,
            "from": "+919811100001", "to": "+918045550100", "sample_rate": 8000, "offered_at": "2026-11-20T08:29:00Z",
            "connected_at": "2026-11-20T08:29:00.5Z", "started_at": "2026-11-20T08:29:01Z", "ended_at": "2026-11-20T08:29:13Z",
            "ended_by": "bot", "outcome": "sales", "duration_secs": 12, "turns": 2, "lost_frames": 1, "ignored_messages": 0,
            "stream": null,
            "transcript": [
                {"turn": 0, "at": "2026-11-20T08:29:01.5Z", "said": "Welcome."},
                {"turn": 1, "at": "2026-11-20T08:29:05Z", "heard": "2", "said": "One moment."},
            ],
        })
    );
    let masked = house.get(HEAD, ONE, &path).await;
    assert_eq!(
        (&masked.body["from"], &masked.body["to"]),
        (&json!("…0001"), &json!("…0100"))
    );
    assert_eq!(
        house.get(HEAD, LIST, LIST).await.body["items"][0]["from"],
        "…0001"
    );
}

#[tokio::test]
async fn a_session_is_hidden_from_heads_who_do_not_have_its_lead() {
    let house = House::new().await;
    let [_, other_head] = STRANGERS;
    let see = async |who, id: &VoiceSessionId| {
        let answer = house.get(who, ONE, &format!("{LIST}/{id}")).await;
        (answer.status, answer.body["code"].clone())
    };
    let of_number = talked(&house, 60_000, true).await;
    let kept = |n, lead_id: &str| VoiceSession {
        call: Some(
            format!("call_01kak5yv7z8e4f9y2f4w6r8t0v.{lead_id}")
                .parse()
                .unwrap(),
        ),
        ..VoiceSession::new(id(n), "echo", Rate::Hz8000)
    };
    // Its call has just been placed: nobody has looked whose it is.
    let of_call = kept(-2_000, "lead-1");
    let of_nobody = kept(-1_000, "unlisted-0123456789abcdef0123456789abcdef");
    for session in [&of_call, &of_nobody] {
        sessions(&house).offered(session).await.unwrap();
    }
    for (id, status) in [(&of_number, 404), (&of_call.id, 404), (&of_nobody.id, 200)] {
        assert_eq!(see(other_head, id).await.0, status, "{id}");
        for who in [HEAD, ADMIN] {
            assert_eq!(see(who, id).await.0, 200, "{id}");
        }
    }
    let unknown = see(other_head, &id(5)).await;
    assert_eq!(see(other_head, &of_number).await, unknown);
}

#[tokio::test]
async fn heads_whose_leads_share_a_number_both_see_its_sessions_and_no_later_lead_does() {
    let house = House::new().await;
    let [_, other_head] = STRANGERS;
    let of_head_9 = |id: &str| Lead {
        owning_sales_head_id: Some("head-9".parse().unwrap()),
        ..lead(id)
    };
    house.table.put_lead(&of_head_9("lead-2")).await.unwrap();
    let shared = talked(&house, 60_000, true).await;
    let see = async |who, id: &VoiceSessionId| house.get(who, ONE, &format!("{LIST}/{id}")).await.status;
    for who in [HEAD, other_head, ADMIN] {
        assert_eq!(see(who, &shared).await, 200, "{who:?}");
    }
    // A call of ours is its lead's, whoever else has the number.
    let of_lead_2 = VoiceSession {
        call: Some("call_01kak5yv7z8e4f9y2f4w6r8t0v.lead-2".parse().unwrap()),
        lead_id: Some("lead-1".parse().unwrap()),
        ..VoiceSession::new(id(-2_000), "echo", Rate::Hz8000)
    };
    sessions(&house).offered(&of_lead_2).await.unwrap();
    assert_eq!(see(other_head, &of_lead_2.id).await, 200);
    assert_eq!(see(HEAD, &of_lead_2.id).await, 404);
    let moved = Lead {
        phone: "+919811100002".parse().unwrap(),
        ..of_head_9("lead-2")
    };
    house.table.put_lead(&moved).await.unwrap();
    house.table.put_lead(&of_head_9("lead-3")).await.unwrap();
    assert_eq!(
        see(other_head, &shared).await,
        404,
        "lead-3 came by the number later"
    );
}

#[tokio::test]
async fn a_leads_sessions_are_on_its_timeline_in_its_export_and_gone_with_it() {
    let house = House::new().await;
    let session = talked(&house, 60_000, true).await;
    let call = crate::house::call(-30_000);
    house.table.create_call(&call).await.unwrap();
    house.table.create_sms(&crate::house::sms(-90_000)).await.unwrap();
    let route = format!("{SALES_ROUTES}/{{id}}/timeline");
    let path = format!("{SALES_ROUTES}/lead-1/timeline");
    let timeline = house.get(SALES, &route, &path).await;
    let types: Vec<_> = timeline.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["type"])
        .collect();
    assert_eq!(types, ["call", "bot_session", "sms"]);
    assert_eq!(
        timeline.body["items"][1],
        json!({
            "type": "bot_session", "id": session, "botId": "reception", "state": "ended", "exotelCallSid": SID, "callLogId": null,
            "direction": null, "offeredAt": "2026-11-20T08:29:00Z", "startedAt": "2026-11-20T08:29:01Z",
            "endedAt": "2026-11-20T08:29:13Z", "endedBy": "bot", "outcome": "sales", "durationSec": 12, "turns": 2,
        })
    );
    let first = house.get(SALES, &route, &format!("{path}?limit=2")).await;
    let cursor = first.body["nextCursor"].as_str().unwrap();
    let rest = house
        .get(SALES, &route, &format!("{path}?limit=2&cursor={cursor}"))
        .await;
    assert_eq!(rest.body["items"][0]["type"], "sms");
    assert_eq!(rest.body["items"].as_array().unwrap().len(), 1);

    let export = house
        .get(
            ADMIN,
            &format!("{ADMIN_ROUTES}/{{id}}/export"),
            &format!("{ADMIN_ROUTES}/lead-1/export"),
        )
        .await;
    let items = export.body["items"].as_array().unwrap();
    let exported = items.iter().find(|item| item["type"] == "bot_session").unwrap();
    assert_eq!(exported["transcript"][1]["heard"], "2");

    let erase = Event::new(
        "DELETE",
        &format!("{ADMIN_ROUTES}/{{id}}"),
        &format!("{ADMIN_ROUTES}/lead-1"),
    );
    assert!(house.send(&erase.by(ADMIN)).await.status < 300);
    let gone = house.get(ADMIN, ONE, &format!("{LIST}/{session}")).await;
    assert_eq!((gone.status, &gone.body["code"]), (404, &json!("not_found")));
}

#[tokio::test]
async fn what_is_kept_of_a_number_that_is_no_leads_is_erased_by_its_home() {
    let house = House::new().await;
    let home = "unlisted-0123456789abcdef0123456789abcdef";
    let session = VoiceSession {
        call: Some(format!("call_01kak5yv7z8e4f9y2f4w6r8t0v.{home}").parse().unwrap()),
        ..VoiceSession::new(id(-1_000), "echo", Rate::Hz8000)
    };
    sessions(&house).offered(&session).await.unwrap();
    sessions(&house).place(&session).await.unwrap();
    let path = format!("{ADMIN_ROUTES}/{home}");
    let erase = Event::new("DELETE", &format!("{ADMIN_ROUTES}/{{id}}"), &path);
    assert_eq!(house.send(&erase.clone().by(HEAD)).await.status, 403);
    assert_eq!(house.send(&erase.clone().by(ADMIN)).await.status, 204);
    let gone = house.get(ADMIN, ONE, &format!("{LIST}/{}", session.id)).await;
    assert_eq!(gone.status, 404);
    assert_eq!(house.send(&erase.by(ADMIN)).await.status, 404);
}

#[tokio::test]
async fn salespeople_may_not_look_and_what_is_wrong_is_named() {
    let house = House::new().await;
    let session = offered(&house, 1_000).await;
    for (route, path) in [
        (SESSIONS, SESSIONS.to_owned()),
        (LIST, LIST.to_owned()),
        (ONE, format!("{LIST}/{session}")),
    ] {
        assert_eq!(house.get(SALES, route, &path).await.status, 403, "{path}");
        assert_eq!(
            house.send(&Event::new("GET", route, &path)).await.status,
            401,
            "{path}"
        );
    }
    for (route, path, field) in [
        (LIST, format!("{LIST}?limit=0"), "limit"),
        (LIST, format!("{LIST}?from=yesterday"), "from"),
        (
            LIST,
            format!("{LIST}?from=2026-11-20T08:00:00Z&to=2026-11-20T08:00:00Z"),
            "to",
        ),
        (LIST, format!("{LIST}?cursor={session}"), "cursor"),
        (SESSIONS, format!("{SESSIONS}?cursor=x"), "cursor"),
        (ONE, format!("{LIST}/call_01m7w179t10000000000000007"), "id"),
    ] {
        let answer = house.get(ADMIN, route, &path).await;
        assert_eq!(
            (answer.status, &answer.body["field"]),
            (400, &json!(field)),
            "{path}"
        );
    }
    let none = house.get(ADMIN, ONE, &format!("{LIST}/{}", id(5))).await;
    assert_eq!(none.status, 404);
}
