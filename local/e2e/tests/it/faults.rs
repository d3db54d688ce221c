//! Callbacks that are lost, repeated, late and out of order, by the simulator's own dice.

use serde_json::json;

use crate::house::{House, each};

/// What may befall a call's callbacks, and how it still has to end.
const FATES: [(&str, &str, &str, &str); 8] = [
    ("duplicate", r#"{"duplicate": true}"#, "completed", "connected"),
    ("late", r#"{"delay_ms": 40000}"#, "completed", "connected"),
    ("reordered", r#"{"reorder": true}"#, "completed", "connected"),
    (
        "unanswered",
        r#"{"drop": ["answered"]}"#,
        "completed",
        "connected",
    ),
    (
        "reordered-twice",
        r#"{"reorder": true, "duplicate": true, "form": "json"}"#,
        "leg2_no_answer",
        "not_picked",
    ),
    (
        "late-form",
        r#"{"delay_ms": 20000, "duplicate": true, "form": "urlencoded"}"#,
        "busy",
        "not_picked",
    ),
    (
        "sparse",
        r#"{"reorder": true, "sparse": true, "form": "multipart"}"#,
        "leg1_no_answer",
        "not_picked",
    ),
    (
        "nulls",
        r#"{"duplicate": true, "literal_nulls": true, "placeholder_end": true}"#,
        "failed",
        "disconnected",
    ),
];

#[tokio::test]
async fn whatever_befalls_the_callbacks_the_call_ends_as_it_did() {
    let house = House::furnished("fates").await;
    let agent = house.agent();
    each(
        FATES.into_iter().enumerate(),
        4,
        async |(n, (tag, callbacks, outcome, wanted))| {
            let phone = house.phone(&format!("{n}100"));
            let callbacks: serde_json::Value = serde_json::from_str(callbacks).unwrap();
            house
                .script(json!({"to": phone, "call": {"outcome": outcome}, "callbacks": callbacks}))
                .await;
            let lead = house.lead(tag, &phone).await;
            let call = agent.click(&lead).await;
            assert!([201, 202].contains(&call.status), "{call:?}");
            agent.outcome(&lead, &call.id(), wanted).await;
            // And stays so, whatever was still on its way.
            house.settled_items_with(&format!("fates-{tag}\"")).await;
            let entry = agent.entry(&lead, "calls", &call.id()).await;
            assert_eq!(entry["outcome"], wanted, "{tag}: {entry}");
            let read = house
                .admin()
                .get(&format!("/api/admin/raw-leads/{lead}"))
                .await
                .is(200);
            assert_eq!(read.json["callCount"], 1, "{tag}");
            assert_eq!(house.calls_at_exotel(&phone).await.len(), 1, "{tag}");
        },
    )
    .await;
}

#[tokio::test]
async fn texts_end_as_they_did_whatever_befalls_their_reports() {
    let house = House::furnished("smsfates").await;
    let agent = house.agent();
    let fates = [
        ("duplicate", r#"{"duplicate": true}"#, 20_005, "delivered"),
        ("late", r#"{"delay_ms": 40000}"#, 20_005, "delivered"),
        (
            "null",
            r#"{"literal_nulls": true, "duplicate": true}"#,
            23_010,
            "failed",
        ),
    ];
    each(
        fates.into_iter().enumerate(),
        3,
        async |(n, (tag, callbacks, code, wanted))| {
            let phone = house.phone(&format!("{n}100"));
            let callbacks: serde_json::Value = serde_json::from_str(callbacks).unwrap();
            house
                .script(json!({"to": phone, "sms": {"code": code}, "callbacks": callbacks}))
                .await;
            let lead = house.lead(tag, &phone).await;
            let sms = agent.text(&lead, "Hello").await.is(201);
            agent.status(&lead, &sms.id(), wanted).await;
        },
    )
    .await;
}

/// Placed here and looked at in `afterwards`: the sweep looks calls up that are three minutes old.
#[tokio::test]
async fn a_call_is_placed_whose_callbacks_are_all_lost() {
    let house = House::furnished("silent").await;
    let lead = house.lead("a", &house.phone("0031")).await;
    let call = house.agent().click(&lead).await.is(201);
    assert_eq!(call.json["outcome"], "exotel_dispatched");
}
