//! Clicks, from the phone that rings first to what the timeline shows.

use serde_json::{Value, json};

use crate::house::{ADMIN_FAMILY, House, PATIENCE, SALES_FAMILY, each, last_ten, until};

#[tokio::test]
async fn status_and_own_number_are_the_same_in_both_families() {
    let house = House::open("status");
    let head = house.head();
    for family in [ADMIN_FAMILY, SALES_FAMILY] {
        let (user, status) = (
            format!("{}-{}", house.name, family.len()),
            format!("{family}/exotel-status"),
        );
        let caller = house.caller(&user, "SALES_HEAD");
        assert_eq!(
            caller.get(&status).await.is(200).json,
            json!({"enabled": true, "myPhone": null})
        );
        let path = format!("{family}/my-call-number");
        for (written, stored) in [
            ("098111 00099", "+919811100099"),
            ("+91-98111-00098", "+919811100098"),
            ("919811100097", "+919811100097"),
        ] {
            let answer = caller
                .ask("PATCH", &path)
                .json(&json!({"phone": written}))
                .send()
                .await
                .is(200);
            assert_eq!(answer.json, json!({"phone": stored}));
            assert_eq!(caller.get(&status).await.is(200).json["myPhone"], stored);
        }
    }
    assert_eq!(
        head.get(&format!("{SALES_FAMILY}/exotel-status"))
            .await
            .is(200)
            .json["myPhone"],
        Value::Null
    );
}

#[tokio::test]
async fn a_click_rings_the_agent_then_the_lead_and_shows_as_connected_on_the_timeline() {
    let house = House::furnished("click").await;
    for (family, caller, tag) in [
        (SALES_FAMILY, house.agent(), "sales"),
        (ADMIN_FAMILY, house.head(), "admin"),
    ] {
        let phone = house.phone(if tag == "sales" { "0001" } else { "0101" });
        let lead = house.lead(tag, &phone).await;
        let call = caller
            .post(&format!("{family}/{lead}/exotel-call"), json!({}))
            .await
            .is(201);
        let id = call.id();
        let sid = call.text_of("exotelCallSid");
        assert_eq!(
            call.json,
            json!({"id": id, "leadId": lead, "calledBy": if tag == "sales" { house.agent_id() } else { house.head_id() },
                "outcome": "exotel_dispatched", "source": "exotel", "durationSec": null, "notes": null, "exotelCallSid": sid,
                "hasRecording": false, "calledAt": call.json["calledAt"]})
        );
        let read = house.admin().get(&format!("{ADMIN_FAMILY}/{lead}")).await.is(200);
        assert_eq!(read.json["callCount"], 1);
        assert_eq!(read.json["lastContactedAt"], call.json["calledAt"]);

        let ended = caller.outcome(&lead, &id, "connected").await;
        assert_eq!(
            (&ended["durationSec"], &ended["hasRecording"]),
            (&json!(37), &json!(true))
        );
        for path in ["calls", "timeline"] {
            let list = caller.get(&format!("{family}/{lead}/{path}")).await.is(200);
            assert!(
                !list.text.contains("http"),
                "a list tells where the recording lies: {list:?}"
            );
            assert_eq!(list.items().len(), 1);
            assert_eq!(list.items()[0]["outcome"], "connected");
        }
        let timeline = caller.get(&format!("{family}/{lead}/timeline")).await.items();
        assert_eq!(timeline[0]["type"], "call");

        let dials = house.journal_of("dial", &sid).await;
        let rung: Vec<_> = dials
            .iter()
            .map(|dial| last_ten(dial["number"].as_str().unwrap()))
            .collect();
        assert_eq!(rung, [last_ten(&house.agent_phone()), last_ten(&phone)]);
        let [request] = &house.requests_at_exotel("Calls/connect", &phone).await[..] else {
            panic!("one request")
        };
        let params = &request["params"];
        assert_eq!(params["Record"], "true");
        let events = params
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| name.starts_with("StatusCallbackEvents"));
        let mut events: Vec<_> = events
            .map(|(_, event)| event.as_str().unwrap_or_default())
            .collect();
        events.sort_unstable();
        assert_eq!(events, ["answered", "terminal"]);
        assert!(params["CustomField"].as_str().unwrap().len() <= 128);
        for callback in house.journal_of("callback", &sid).await {
            assert_eq!(callback["status"], 200, "{callback}");
        }
    }
}

#[tokio::test]
async fn a_click_without_a_phone_of_ones_own_is_refused_and_leaves_nothing() {
    let house = House::furnished("phoneless").await;
    let lead = house.lead("a", &house.phone("0001")).await;
    let admin = house.admin();
    let before = house.settled_items_with(&lead).await;
    admin.click(&lead).await.problem(400, "no_call_number");
    assert_eq!(house.settled_items_with(&lead).await, before);
}

#[tokio::test]
async fn every_way_a_call_can_go_ends_in_its_outcome() {
    let house = House::furnished("ways").await;
    let agent = house.agent();
    let ways = [
        ("0001", "connected"),
        ("0002", "not_picked"),
        ("0003", "not_picked"),
        ("0004", "not_picked"),
        ("0005", "disconnected"),
        ("0006", "disconnected"),
        ("0007", "not_picked"),
        ("0008", "not_picked"),
        ("0033", "connected"),
        ("0034", "connected"),
        ("0035", "connected"),
        ("0037", "connected"),
        ("0038", "connected"),
        ("0039", "connected"),
    ];
    each(ways, 4, async |(suffix, outcome)| {
        let lead = house.lead(suffix, &house.phone(suffix)).await;
        let call = agent.click(&lead).await.is(201);
        assert_eq!(call.json["outcome"], "exotel_dispatched", "{suffix}");
        let ended = agent.outcome(&lead, &call.id(), outcome).await;
        let talked = outcome == "connected";
        // Sparse events do not tell how long they talked.
        if suffix != "0038" {
            assert_eq!(
                ended["durationSec"].as_u64().unwrap_or(0) > 0,
                talked,
                "{suffix}: {ended}"
            );
        }
        assert_eq!(house.calls_at_exotel(&house.phone(suffix)).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_exotel_refuses_for_good_is_a_502_that_says_why_and_stays_on_the_log() {
    let house = House::furnished("refused").await;
    let agent = house.agent();
    each(
        ["0011", "0012", "0021", "0022", "0024", "0025"],
        3,
        async |suffix| {
            let phone = house.phone(suffix);
            let lead = house.lead(suffix, &phone).await;
            let answer = agent.click(&lead).await.problem(502, "exotel_refused");
            assert!(!answer.text.contains(&last_ten(&phone)), "{answer:?}");
            let list = agent
                .get(&format!("{SALES_FAMILY}/{lead}/calls"))
                .await
                .is(200)
                .items();
            let [call] = &list[..] else {
                panic!("{suffix}: one call, not {list:?}")
            };
            assert_eq!(
                (&call["outcome"], &call["exotelCallSid"]),
                (&json!("disconnected"), &Value::Null),
                "{suffix}: {call}"
            );
            assert!(
                call["reason"].as_str().is_some_and(|reason| !reason.is_empty()),
                "{suffix}: {call}"
            );
            assert_eq!(
                house.requests_at_exotel("Calls/connect", &phone).await.len(),
                1,
                "{suffix}: tried again"
            );
        },
    )
    .await;
}

#[tokio::test]
async fn what_may_have_reached_exotel_is_unconfirmed_and_its_callback_resolves_it() {
    let house = House::furnished("unconfirmed").await;
    let agent = house.agent();
    each(["0016", "0017", "0020"], 3, async |suffix| {
        let phone = house.phone(suffix);
        let lead = house.lead(suffix, &phone).await;
        let call = agent.click(&lead).await;
        // The callback may be faster than the function that waits for an answer.
        assert!(
            call.status == 202 && call.json["outcome"] == "unconfirmed" || call.status == 201,
            "{call:?}"
        );
        let ended = agent.outcome(&lead, &call.id(), "connected").await;
        assert!(ended["exotelCallSid"].is_string(), "{ended}");
        assert_eq!(
            house.requests_at_exotel("Calls/connect", &phone).await.len(),
            1,
            "{suffix}: sent again"
        );
    })
    .await;
}

#[tokio::test]
async fn what_exotel_may_have_heard_but_never_did_stays_unconfirmed_and_is_not_sent_again() {
    let house = House::furnished("unheard").await;
    let agent = house.agent();
    each(["0015", "0018", "0019", "0023"], 4, async |suffix| {
        let phone = house.phone(suffix);
        let lead = house.lead(suffix, &phone).await;
        let call = agent.click(&lead).await.is(202);
        assert_eq!(call.json["outcome"], "unconfirmed", "{suffix}");
        // Until it has been looked for once.
        until(PATIENCE, "the call list is asked", async || {
            let journal = house
                .simulator(reqwest::Method::GET, "/_sim/journal?kind=request", None)
                .await;
            let listed = journal.as_array().unwrap().iter().any(|entry| {
                let (method, path) = (entry["method"].as_str().unwrap(), entry["path"].as_str().unwrap());
                method == "GET"
                    && path.trim_end_matches(".json").ends_with("/Calls")
                    && entry.to_string().contains(&last_ten(&phone))
            });
            if listed { Ok(()) } else { Err("no".to_owned()) }
        })
        .await;
        assert_eq!(
            agent.entry(&lead, "calls", &call.id()).await["outcome"],
            "unconfirmed"
        );
        assert_eq!(
            house.requests_at_exotel("Calls/connect", &phone).await.len(),
            1,
            "{suffix}: sent again"
        );
    })
    .await;
}

#[tokio::test]
async fn a_call_that_nobody_reports_is_found_on_exotels_call_list() {
    let house = House::furnished("listed").await;
    let phone = house.phone("0001");
    house
        .script(json!({"to": phone, "api": "reset_after_accept", "callbacks": {"drop": ["all"]}}))
        .await;
    let lead = house.lead("a", &phone).await;
    let agent = house.agent();
    let call = agent.click(&lead).await.is(202);
    assert_eq!(call.json["outcome"], "unconfirmed");
    let ended = agent.outcome(&lead, &call.id(), "connected").await;
    assert_eq!(
        ended["exotelCallSid"],
        house.calls_at_exotel(&phone).await[0]["sid"]
    );
}

#[tokio::test]
async fn a_busy_exotel_queues_the_call_which_is_placed_once_it_can_be() {
    let house = House::furnished("queued").await;
    let phone = house.phone("0001");
    house
        .script(json!({"to": phone, "api": "unavailable", "times": 2}))
        .await;
    let lead = house.lead("a", &phone).await;
    let agent = house.agent();
    let call = agent.click(&lead).await.is(202);
    assert_eq!(call.json["outcome"], "exotel_queued");
    agent.outcome(&lead, &call.id(), "connected").await;
    assert_eq!(house.requests_at_exotel("Calls/connect", &phone).await.len(), 3);
    assert_eq!(house.calls_at_exotel(&phone).await.len(), 1);
}

#[tokio::test]
async fn a_call_that_exotel_never_takes_is_given_up_and_lies_in_the_dead_letter_queue() {
    let house = House::furnished("gaveup").await;
    let phone = house.phone("0013");
    let lead = house.lead("a", &phone).await;
    let agent = house.agent();
    let call = agent.click(&lead).await.is(202);
    let ended = until(2 * PATIENCE, "it is given up", async || {
        let entry = agent.entry(&lead, "calls", &call.id()).await;
        if entry["outcome"] == "disconnected" {
            Ok(entry)
        } else {
            Err(entry.to_string())
        }
    })
    .await;
    assert!(
        ended["reason"].as_str().is_some_and(|reason| !reason.is_empty()),
        "{ended}"
    );
    assert_eq!(
        house.requests_at_exotel("Calls/connect", &phone).await.len(),
        4,
        "one attempt and three retries"
    );
    until(PATIENCE, "it is in the dead-letter queue", async || {
        house
            .message_with("outbound-dlq", &call.id())
            .await
            .ok_or_else(|| "no message".to_owned())
    })
    .await;
}

#[tokio::test]
async fn a_call_logged_by_hand_keeps_the_counters_and_no_event_touches_it() {
    let house = House::furnished("manual").await;
    let lead = house.lead("a", &house.phone("0001")).await;
    for (family, caller) in [(SALES_FAMILY, house.agent()), (ADMIN_FAMILY, house.head())] {
        for outcome in [
            "picked",
            "not_picked",
            "wrong_number",
            "invalid",
            "switched_off",
            "out_of_service",
            "callback_requested",
        ] {
            let written = json!({"outcome": outcome, "notes": " asked for a brochure "});
            let call = caller
                .post(&format!("{family}/{lead}/calls"), written)
                .await
                .is(201);
            assert_eq!(
                (&call.json["outcome"], &call.json["source"], &call.json["notes"]),
                (&json!(outcome), &json!("manual"), &json!("asked for a brochure"))
            );
        }
    }
    let aarya = json!({"outcome": "aarya_completed", "source": "aarya", "durationSec": 61});
    house
        .agent()
        .post(&format!("{SALES_FAMILY}/{lead}/calls"), aarya.clone())
        .await
        .problem(403, "forbidden");
    let call = house
        .admin()
        .post(&format!("{SALES_FAMILY}/{lead}/calls"), aarya)
        .await
        .is(201);
    assert_eq!(
        (&call.json["source"], &call.json["durationSec"]),
        (&json!("aarya"), &json!(61))
    );
    let read = house.admin().get(&format!("{ADMIN_FAMILY}/{lead}")).await.is(200);
    assert_eq!(
        (&read.json["callCount"], &read.json["lastContactedAt"]),
        (&json!(0), &Value::Null)
    );
    assert_eq!(
        house
            .agent()
            .get(&format!("{SALES_FAMILY}/{lead}/calls"))
            .await
            .items()
            .len(),
        15
    );
}
