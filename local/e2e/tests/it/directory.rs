//! Leads and users: written, found, paged, imported, exported and erased.

use serde_json::{Value, json};

use crate::house::{ADMIN_FAMILY, House, PATIENCE, SALES_FAMILY, each, until};

#[tokio::test]
async fn leads_and_users_are_written_read_and_written_again() {
    let house = House::furnished("write").await;
    let admin = house.admin();
    let path = format!("{ADMIN_FAMILY}/write-1");
    let lead = json!({"name": " Meera Iyer ", "phone": "098111 00001", "owningSalesHeadId": house.head_id()});
    let created = admin.put(&path, lead.clone()).await.is(201);
    assert_eq!(
        created.json,
        json!({"id": "write-1", "name": "Meera Iyer", "phone": "+919811100001", "owningSalesHeadId": house.head_id(),
            "assignedTo": null, "callCount": 0, "lastContactedAt": null})
    );
    admin.put(&path, lead).await.is(200);
    house
        .agent()
        .get(&format!("{SALES_FAMILY}/write-1/calls"))
        .await
        .problem(404, "not_found");
    let assigned = json!({"name": "Meera Iyer", "phone": "+919811100001", "assignedTo": house.agent_id(), "callCount": 99});
    assert_eq!(admin.put(&path, assigned).await.is(200).json["callCount"], 0);
    house
        .agent()
        .get(&format!("{SALES_FAMILY}/write-1/calls"))
        .await
        .is(200);
    let user = admin
        .get(&format!("/api/admin/users/{}", house.agent_id()))
        .await
        .is(200);
    assert_eq!(
        user.json,
        json!({"id": house.agent_id(), "fullName": "Asha Rao", "phone": house.agent_phone(), "email": null, "role": "SALES"})
    );
}

#[tokio::test]
async fn lists_show_what_the_caller_may_see_page_by_page() {
    let house = House::furnished("pages").await;
    for n in 0..7 {
        house.lead(&n.to_string(), &house.phone(&format!("0{n}01"))).await;
    }
    let elsewhere = json!({"name": "Theirs", "phone": house.phone("0901"), "assignedTo": "pages-other"});
    house
        .admin()
        .put(&format!("{ADMIN_FAMILY}/pages-theirs"), elsewhere)
        .await
        .is(201);
    let wanted: Vec<_> = (0..7).map(|n| format!("pages-{n}")).collect();
    for (caller, path) in [
        (house.agent(), SALES_FAMILY),
        (house.head(), ADMIN_FAMILY),
        (house.head(), SALES_FAMILY),
    ] {
        let (mut seen, mut query) = (Vec::new(), "?limit=3".to_owned());
        loop {
            let page = caller.get(&format!("{path}{query}")).await.is(200);
            assert!(page.items().len() <= 3);
            seen.extend(
                page.items()
                    .iter()
                    .map(|lead| lead["id"].as_str().unwrap().to_owned()),
            );
            let Some(cursor) = page.json["nextCursor"].as_str() else {
                break;
            };
            query = format!("?limit=3&cursor={cursor}");
        }
        seen.sort_unstable();
        assert_eq!(seen, wanted, "{path}");
    }
    let found = house
        .agent()
        .get(&format!(
            "{SALES_FAMILY}?phone={}",
            house.phone("0301").trim_start_matches('+')
        ))
        .await
        .is(200);
    assert_eq!(found.items()[0]["id"], "pages-3");
    let theirs = house
        .agent()
        .get(&format!(
            "{SALES_FAMILY}?phone={}",
            house.phone("0901").replace('+', "%2B")
        ))
        .await
        .is(200);
    assert_eq!(theirs.items(), Vec::<Value>::new());
}

#[tokio::test]
async fn calls_texts_and_the_timeline_are_paged_newest_first() {
    let house = House::furnished("order").await;
    let lead = house.lead("a", &house.phone("0001")).await;
    let agent = house.agent();
    for _ in 0..7 {
        agent
            .post(
                &format!("{SALES_FAMILY}/{lead}/calls"),
                json!({"outcome": "picked"}),
            )
            .await
            .is(201);
    }
    for n in 0..4 {
        agent.text(&lead, &format!("Text {n}")).await;
    }
    for (list, wanted) in [("calls", 7), ("sms", 4), ("timeline", 11)] {
        let (mut seen, mut query) = (Vec::new(), "?limit=3".to_owned());
        loop {
            let page = agent
                .get(&format!("{SALES_FAMILY}/{lead}/{list}{query}"))
                .await
                .is(200);
            let moments = page.items().into_iter().map(|entry| {
                entry["id"]
                    .as_str()
                    .unwrap()
                    .split_once('_')
                    .unwrap()
                    .1
                    .to_owned()
            });
            seen.extend(moments);
            let Some(cursor) = page.json["nextCursor"].as_str() else {
                break;
            };
            query = format!("?limit=3&cursor={cursor}");
        }
        let mut sorted = seen.clone();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        sorted.dedup();
        assert_eq!((seen.len(), &seen), (wanted, &sorted), "{list}");
    }
}

#[tokio::test]
async fn an_import_takes_what_it_can_and_tells_the_rest_by_line() {
    let house = House::furnished("import").await;
    let admin = house.admin();
    let path = format!("{ADMIN_FAMILY}/import");
    let csv = "id,name,phone,assignedTo\r\nimport-1,\"Iyer, Meera\",09811100001,import-agent\r\nimport-2,Rohan,12,\r\n,Nameless,09811100003,\r\nimport-4,Farah,+919811100004,\r\nimport-1,Again,09811100001,\r\n";
    let answer = admin
        .ask("POST", &path)
        .body("text/csv; charset=utf-8", csv)
        .send()
        .await
        .is(200);
    assert_eq!(
        (&answer.json["created"], &answer.json["replaced"]),
        (&json!(2), &json!(0))
    );
    let errors: Vec<_> = answer.json["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| {
            (
                error["line"].as_u64().unwrap(),
                error["field"].as_str().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    assert_eq!(
        errors,
        [
            (3, "phone".to_owned()),
            (4, "id".to_owned()),
            (6, "id".to_owned())
        ]
    );
    let ndjson = "{\"id\": \"import-5\", \"name\": \"Zoya\", \"phone\": \"9811100005\"}\n\n{\"id\": 7}\nnonsense\n{\"id\": \"import-1\", \"name\": \"Meera\", \"phone\": \"9811100001\"}\n";
    let answer = admin
        .ask("POST", &path)
        .body("application/x-ndjson", ndjson)
        .send()
        .await
        .is(200);
    assert_eq!(
        (&answer.json["created"], &answer.json["replaced"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(answer.json["errors"].as_array().unwrap().len(), 2);
    for (id, name) in [("import-1", "Meera"), ("import-4", "Farah"), ("import-5", "Zoya")] {
        assert_eq!(
            admin.get(&format!("{ADMIN_FAMILY}/{id}")).await.is(200).json["name"],
            name
        );
    }
    admin
        .get(&format!("{ADMIN_FAMILY}/import-2"))
        .await
        .problem(404, "not_found");
    let many: String = (0..300)
        .map(|n| format!("import-m{n},Lead {n},98222{n:05},import-agent\n"))
        .collect();
    let answer = admin
        .ask("POST", &path)
        .body("text/csv", format!("id,name,phone,assignedTo\n{many}"))
        .send()
        .await
        .is(200);
    assert_eq!(
        (&answer.json["created"], &answer.json["errors"]),
        (&json!(300), &json!([]))
    );
}

#[tokio::test]
async fn a_lead_is_exported_whole_and_erased_without_a_trace() {
    let house = House::furnished("erase").await;
    let phone = house.phone("0001");
    let lead = house.lead("gone", &phone).await;
    let kept = house.lead("kept", &house.phone("0101")).await;
    let (admin, agent) = (house.admin(), house.agent());
    each([&lead, &kept], 2, async |lead| {
        let call = agent.click(lead).await;
        assert!([201, 202].contains(&call.status), "{call:?}");
        agent.outcome(lead, &call.id(), "connected").await;
        let sms = agent.text(lead, "See you on Monday").await.is(201);
        agent.status(lead, &sms.id(), "delivered").await;
        agent
            .post(
                &format!("{SALES_FAMILY}/{lead}/calls"),
                json!({"outcome": "picked"}),
            )
            .await
            .is(201);
    })
    .await;
    // The events by hour follow from the stream.
    until(PATIENCE, "the projection is there", async || {
        let items = house.items_with("erase-gone").await;
        let hours = items.keys().filter(|(key, _)| key.starts_with("EVENTS#")).count();
        if hours >= 4 {
            Ok(())
        } else {
            Err(format!("{hours} events by hour"))
        }
    })
    .await;
    let export = agent.get(&format!("{SALES_FAMILY}/{lead}/export")).await.is(200);
    let count = |kind: &str| export.items().iter().filter(|item| item["type"] == kind).count();
    assert_eq!(
        (count("lead"), count("call"), count("sms")),
        (1, 2, 1),
        "{export:?}"
    );
    assert!(count("raw_event") >= 4, "{export:?}");
    assert!(!export.text.contains(&phone[5..]) || count("lead") == 1);
    let whole = admin.get(&format!("{ADMIN_FAMILY}/{lead}/export")).await.is(200);
    assert_eq!(whole.items().len(), export.items().len());

    agent
        .delete(&format!("{ADMIN_FAMILY}/{lead}"))
        .await
        .problem(403, "forbidden");
    house
        .head()
        .delete(&format!("{ADMIN_FAMILY}/{lead}"))
        .await
        .problem(403, "forbidden");
    until(PATIENCE, "the lead is erased", async || {
        let answer = admin.delete(&format!("{ADMIN_FAMILY}/{lead}")).await;
        if answer.status == 204 {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    })
    .await;
    admin
        .get(&format!("{ADMIN_FAMILY}/{lead}"))
        .await
        .problem(404, "not_found");
    admin
        .delete(&format!("{ADMIN_FAMILY}/{lead}"))
        .await
        .problem(404, "not_found");
    agent
        .get(&format!("{SALES_FAMILY}/{lead}/timeline"))
        .await
        .problem(404, "not_found");
    let found = agent
        .get(&format!("{SALES_FAMILY}?phone={}", phone.replace('+', "%2B")))
        .await
        .is(200);
    assert_eq!(found.items(), Vec::<Value>::new());
    let left = house.settled_items_with("erase-gone").await;
    let left: Vec<_> = left
        .iter()
        .filter(|(_, item)| !is_memory_of_a_request(item))
        .collect();
    assert!(left.is_empty(), "left behind: {left:#?}");
    // Exotel still calls back about the erased call: nothing comes back to life.
    let url = house.calls_at_exotel(&phone).await[0]["status_callback"]
        .as_str()
        .unwrap()
        .to_owned();
    let sid = house.calls_at_exotel(&phone).await[0]["sid"].clone();
    let late = house
        .http
        .post(url)
        .json(&json!({"CallSid": sid, "EventType": "terminal", "Status": "completed"}))
        .send()
        .await
        .unwrap();
    assert_eq!(late.status(), 200);
    let left = house.settled_items_with("erase-gone").await;
    let events = |(key, sort): &(String, String)| key.starts_with("EVENTS#") || sort.starts_with("EVENT#");
    let left: Vec<_> = left
        .into_iter()
        .filter(|(key, item)| !events(key) && !is_memory_of_a_request(item))
        .collect();
    assert!(left.is_empty(), "came back: {left:#?}");
    admin
        .get(&format!("{ADMIN_FAMILY}/{lead}"))
        .await
        .problem(404, "not_found");
    agent
        .get(&format!("{SALES_FAMILY}/{kept}/timeline"))
        .await
        .is(200);
    assert_eq!(
        agent
            .get(&format!("{SALES_FAMILY}/{kept}/timeline"))
            .await
            .items()
            .len(),
        3
    );
}

/// Answers kept for repetitions and counts of calls name the lead's id, none of its data, and end by themselves.
fn is_memory_of_a_request(item: &Value) -> bool {
    let key = item["PK"]["S"].as_str().unwrap();
    (key.starts_with("QUOTA#") || key.starts_with("IDEMPOTENCY#")) && item["ttl"].is_object()
}
