//! `Calls`: the bulk list.

use std::sync::atomic::Ordering;

use exotel_simulator::{CallScript, Direction, Options, Script};
use serde_json::Value;

use crate::harness::{Api, CALLS, FOR_EVER, calls_done, fast, manual_clock, sid, start, within};

async fn list(api: &Api, query: &[(&str, &str)]) -> Value {
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(query)
        .finish();
    let answer = api.get(&format!("{CALLS}.json?{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn sids(page: &Value) -> Vec<String> {
    page["Calls"].as_array().unwrap().iter().map(sid).collect()
}

#[tokio::test]
async fn calls_in_progress_are_not_in_the_list() {
    let (handle, api) = start(fast()).await;
    let call = CallScript {
        talk_ms: Some(FOR_EVER),
        ..CallScript::default()
    };
    handle.script(Script {
        to: Some("+919811109998".to_owned()),
        call,
        ..Script::default()
    });
    api.call("+919811109998", &[]).await;
    let ended = api.call("+919811109999", &[]).await;
    calls_done(&handle, 1).await;
    let page = list(&api, &[]).await;
    assert_eq!(sids(&page), [sid(&ended)]);
    assert_eq!(page["Metadata"]["Total"], 1);
    assert_eq!(page["Calls"][0].get("Call"), None, "items are bare");
    assert!(page["Calls"][0].get("CustomField").is_none());
    assert!(api.get(CALLS).await.text().contains("<Calls><Call><Sid>"));
}

#[tokio::test]
async fn cursors_walk_the_whole_list_and_back() {
    let (clock, now) = manual_clock("2026-11-20T08:00:00Z");
    let (handle, api) = start(Options { clock, ..fast() }).await;
    let mut placed = Vec::new();
    for _ in 0..5 {
        placed.push(sid(&api.call("+919811109999", &[]).await));
        now.fetch_add(60_000, Ordering::SeqCst);
    }
    api.call("+919811109998", &[]).await;
    calls_done(&handle, 6).await;
    placed.reverse();
    let first = list(&api, &[("PageSize", "2"), ("To", "09811109999")]).await;
    assert_eq!(sids(&first), placed[..2]);
    assert_eq!(first["Metadata"]["Total"], 5);
    assert_eq!(first["Metadata"]["PrevPageUri"], Value::Null);
    let next = first["Metadata"]["NextPageUri"].as_str().unwrap();
    assert!(next.starts_with(
        "/v1/Accounts/acme1/Calls.json?PageSize=2&SortBy=DateCreated:desc&To=09811109999&After="
    ));
    let second = api.get(next).await.json();
    assert_eq!(sids(&second), placed[2..4]);
    let third = api
        .get(second["Metadata"]["NextPageUri"].as_str().unwrap())
        .await
        .json();
    assert_eq!(sids(&third), placed[4..]);
    assert_eq!(third["Metadata"]["NextPageUri"], Value::Null);
    let back = api
        .get(third["Metadata"]["PrevPageUri"].as_str().unwrap())
        .await
        .json();
    assert_eq!(sids(&back), placed[2..4]);
    let ascending = list(&api, &[("SortBy", "DateCreated:asc"), ("To", "+919811109999")]).await;
    placed.reverse();
    assert_eq!(sids(&ascending), placed);
}

#[tokio::test]
async fn filters_are_all_applied() {
    let (clock, now) = manual_clock("2026-11-20T08:00:00Z");
    let (handle, api) = start(Options { clock, ..fast() }).await;
    let talked = sid(&api.call("+919811109999", &[]).await);
    now.fetch_add(3_600_000, Ordering::SeqCst);
    let busy = sid(&api.call("+919811100003", &[]).await);
    within(handle.calls_until(|calls| calls.iter().all(|call| call.settled))).await;
    for (name, value, expected) in [
        ("Status", "busy", vec![&busy]),
        ("Status", "completed,busy", vec![&busy, &talked]),
        ("Sid", talked.as_str(), vec![&talked]),
        ("To", "09811100003,09811109990", vec![&busy]),
        ("From", "+919811100001", vec![&busy, &talked]),
        ("From", "+919811100002", vec![]),
        ("PhoneNumber", "08045550100", vec![&busy, &talked]),
        ("Direction", "inbound", vec![]),
        ("Duration", "gte:10s;lte:44s", vec![]),
        ("Duration", "eq:45s", vec![&talked]),
        ("Price", "gte:0.10;lte:1.0", vec![&talked]),
        // IST: 08:00 UTC is 13:30.
        (
            "DateCreated",
            "gte:2026-11-20 13:30:00;lte:2026-11-20 13:30:00",
            vec![&talked],
        ),
        ("DateCreated", "gte:2026-11-20 13:31:00", vec![&busy]),
        (
            "DateCreated",
            "gte:2026-11-20 08:00:00;lte:2026-11-20 09:00:00",
            vec![],
        ),
    ] {
        let page = list(&api, &[(name, value)]).await;
        assert_eq!(sids(&page).iter().collect::<Vec<_>>(), expected, "{name}={value}");
    }
    let bad = api.get(&format!("{CALLS}.json?PageSize=101")).await;
    assert_eq!(bad.refusal(), (400, None));
}

#[tokio::test]
async fn without_dates_calls_older_than_31_days_are_left_out() {
    let (clock, now) = manual_clock("2026-10-01T08:00:00Z");
    let (handle, api) = start(Options { clock, ..fast() }).await;
    let old = api.call("+919811109999", &[]).await;
    calls_done(&handle, 1).await;
    now.fetch_add(32 * 86_400_000, Ordering::SeqCst);
    assert!(sids(&list(&api, &[]).await).is_empty());
    let dated = [("DateCreated", "gte:2026-10-01 00:00:00;lte:2026-10-02 00:00:00")];
    assert_eq!(sids(&list(&api, &dated).await), [sid(&old)]);
}

#[tokio::test]
async fn details_are_added_when_asked_for_unless_that_is_switched_off() {
    for list_details in [true, false] {
        let (handle, api) = start(Options {
            list_details,
            ..fast()
        })
        .await;
        api.call("+919811109999", &[]).await;
        calls_done(&handle, 1).await;
        let plain = list(&api, &[]).await;
        assert_eq!(plain["Calls"][0].get("Details"), None);
        let detailed = list(&api, &[("details", "true")]).await;
        let legs = &detailed["Calls"][0]["Details"]["Legs"];
        if list_details {
            assert_eq!(detailed["Calls"][0]["Details"]["ConversationDuration"], 37);
            assert_eq!(legs[1]["Leg"]["OnCallDuration"], 37);
        } else {
            assert_eq!(detailed["Calls"][0].get("Details"), None);
        }
        let first = detailed["Metadata"]["FirstPageUri"].as_str().unwrap();
        assert!(first.contains("details=true"), "{first}");
    }
}

#[tokio::test]
async fn each_call_has_its_direction_and_its_flow() {
    let (handle, api) = start(fast()).await;
    let call = CallScript {
        direction: Some(Direction::OutboundDial),
        ..CallScript::default()
    };
    handle.script(Script {
        to: Some("+919811109998".to_owned()),
        call,
        ..Script::default()
    });
    let dialled = sid(&api.call("+919811109998", &[]).await);
    let placed = sid(&api.call("+919811109999", &[]).await);
    let flow = [
        ("From", "+919811109997"),
        ("CallerId", "08045550100"),
        ("Url", "http://my.exotel.com/acme1/exoml/start_voice/228040"),
    ];
    assert_eq!(
        api.post(&format!("{CALLS}/connect.json"), &flow).await.status,
        200
    );
    calls_done(&handle, 3).await;
    let dial = list(&api, &[("Direction", "outbound-dial")]).await;
    assert_eq!(sids(&dial), [dialled.as_str()]);
    assert_eq!(dial["Calls"][0]["Direction"], "outbound-dial");
    let both = list(&api, &[("Direction", "outbound-api,outbound-dial")]).await;
    assert_eq!(sids(&both).len(), 3);
    let calls = handle.calls();
    let view = |sid: &str| calls.iter().find(|call| call.sid == sid).unwrap();
    assert_eq!(view(&dialled).direction, Direction::OutboundDial);
    assert_eq!(view(&placed).agent.as_deref(), Some("09811100001"));
    let flows: Vec<_> = calls.iter().filter(|call| call.flow_id.is_some()).collect();
    assert_eq!(flows.len(), 1);
    assert_eq!(
        (flows[0].flow_id.as_deref(), flows[0].agent.as_deref()),
        (Some("228040"), None)
    );
}
