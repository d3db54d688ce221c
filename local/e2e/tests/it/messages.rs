//! Texts, from the form to the delivery report.

use serde_json::{Value, json};

use crate::house::{ADMIN_FAMILY, House, SALES_FAMILY, each, last_ten};

#[tokio::test]
async fn a_text_is_sent_trimmed_and_shows_as_delivered_in_both_families() {
    let house = House::furnished("text").await;
    let phone = house.phone("0001");
    let lead = house.lead("a", &phone).await;
    for (family, caller) in [(SALES_FAMILY, house.agent()), (ADMIN_FAMILY, house.head())] {
        let body = format!("Thank you, नमस्ते 🙏 & goodbye + {}", family.len());
        let written = json!({"body": format!("  {body}\n")});
        let sms = caller
            .post(&format!("{family}/{lead}/sms"), written)
            .await
            .is(201);
        assert_eq!(
            (&sms.json["body"], &sms.json["toPhone"], &sms.json["leadId"]),
            (&json!(body), &json!(phone), &json!(lead))
        );
        assert!(
            ["queued", "sending", "submitted", "sent"].contains(&sms.json["status"].as_str().unwrap()),
            "{sms:?}"
        );
        let delivered = caller.status(&lead, &sms.id(), "delivered").await;
        assert_eq!(
            (&delivered["exotelSmsSid"], &delivered["errorMessage"]),
            (&sms.json["exotelSmsSid"], &Value::Null)
        );
    }
    let sent = house.messages_at_exotel(&phone).await;
    assert_eq!(sent.len(), 2);
    assert!(
        sent[0]["body"]
            .as_str()
            .unwrap()
            .starts_with("Thank you, नमस्ते 🙏 & goodbye + "),
        "{}",
        sent[0]
    );
    let read = house.admin().get(&format!("{ADMIN_FAMILY}/{lead}")).await.is(200);
    assert_eq!(
        (&read.json["callCount"], &read.json["lastContactedAt"]),
        (&json!(0), &Value::Null)
    );
    let timeline = house
        .agent()
        .get(&format!("{SALES_FAMILY}/{lead}/timeline"))
        .await
        .is(200)
        .items();
    assert_eq!(timeline.len(), 2);
    assert!(timeline.iter().all(|entry| entry["type"] == "sms"));
}

#[tokio::test]
async fn every_way_a_text_can_go_ends_in_its_status() {
    let house = House::furnished("texts").await;
    let agent = house.agent();
    let ways = [
        ("0001", "delivered"),
        ("0002", "sent"),
        ("0003", "failed"),
        ("0005", "failed"),
        ("0011", "failed"),
        ("0034", "delivered"),
        ("0037", "delivered"),
        // Without a DetailedStatusCode nobody knows that it was delivered.
        ("0038", "sent"),
    ];
    each(ways, 4, async |(suffix, status)| {
        let lead = house.lead(suffix, &house.phone(suffix)).await;
        let sms = agent.text(&lead, "Hello").await.is(201);
        let ended = agent.status(&lead, &sms.id(), status).await;
        let why = ended["errorMessage"].as_str().unwrap_or_default();
        assert_eq!(!why.is_empty(), status == "failed", "{suffix}: {ended}");
    })
    .await;
}

#[tokio::test]
async fn a_refused_text_is_a_502_and_failed_on_the_list() {
    let house = House::furnished("notext").await;
    let agent = house.agent();
    each(["0012", "0021", "0022", "0024", "0025"], 3, async |suffix| {
        let phone = house.phone(suffix);
        let lead = house.lead(suffix, &phone).await;
        let answer = agent.text(&lead, "Hello").await.problem(502, "exotel_refused");
        assert!(!answer.text.contains(&last_ten(&phone)), "{answer:?}");
        let list = agent
            .get(&format!("{SALES_FAMILY}/{lead}/sms"))
            .await
            .is(200)
            .items();
        assert_eq!(
            (list.len(), &list[0]["status"]),
            (1, &json!("failed")),
            "{suffix}: {list:?}"
        );
        assert!(list[0]["errorMessage"].is_string(), "{suffix}: {list:?}");
    })
    .await;
}

#[tokio::test]
async fn a_text_that_may_have_reached_exotel_is_never_sent_twice() {
    let house = House::furnished("textlost").await;
    let agent = house.agent();
    each(
        [("0017", true), ("0020", true), ("0015", false), ("0023", false)],
        4,
        async |(suffix, arrives)| {
            let phone = house.phone(suffix);
            let lead = house.lead(suffix, &phone).await;
            let sms = agent.text(&lead, "Hello").await;
            assert!(
                sms.status == 202 && sms.json["status"] == "unconfirmed" || arrives && sms.status == 201,
                "{sms:?}"
            );
            if arrives {
                agent.status(&lead, &sms.id(), "delivered").await;
            }
            assert_eq!(
                house.requests_at_exotel("Sms/send", &phone).await.len(),
                1,
                "{suffix}: sent again"
            );
        },
    )
    .await;
}

#[tokio::test]
async fn a_busy_exotel_queues_the_text_which_is_sent_once_it_can_be() {
    let house = House::furnished("textlater").await;
    let phone = house.phone("0001");
    house
        .script(json!({"to": phone, "api": "unavailable", "times": 1}))
        .await;
    let lead = house.lead("a", &phone).await;
    let sms = house.agent().text(&lead, "Hello").await.is(202);
    assert_eq!(sms.json["status"], "queued");
    house.agent().status(&lead, &sms.id(), "delivered").await;
    assert_eq!(house.messages_at_exotel(&phone).await.len(), 1);
}
