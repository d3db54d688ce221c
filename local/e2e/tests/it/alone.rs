//! What uses up what all tests share: the account's budget, and the emulator's time.

mod talks;

use std::time::{Duration, Instant};

use exotel_simulator::{Step, StreamCall, Talk, Target};
use serde_json::{Value, json};

use crate::{
    house::{House, each, until},
    voicebot::{call_sid, offered},
};

async fn rate(house: &House, class: &str) -> Value {
    let rates = house.simulator(reqwest::Method::GET, "/_sim/rate", None).await;
    rates["acme1"][class].clone()
}

/// More clicks than a minute's budget has room for, and texts beside them.
const CLICKS: usize = 220;
const TEXTS: usize = 60;

#[tokio::test]
async fn a_burst_never_exceeds_the_minute_and_every_click_is_placed_once() {
    let house = House::furnished("burst").await;
    let agent = house.agent();
    let head = house.head();
    // Leg 1 is busy: one callback a call, so that the emulator keeps up.
    let number = |n: usize| format!("+9197{n:04}0008");
    let leads: Vec<(usize, String)> = (0..CLICKS).map(|n| (n, format!("burst-{n}"))).collect();
    let csv: String = leads
        .iter()
        .map(|(n, id)| format!("{id},Lead {n},{},{}\n", number(*n), house.agent_id()))
        .collect();
    let import = house.admin().ask("POST", "/api/admin/raw-leads/import");
    let answer = import
        .body("text/csv", format!("id,name,phone,assignedTo\n{csv}"))
        .send()
        .await
        .is(200);
    assert_eq!(answer.json["errors"], json!([]));
    for (n, id) in leads.iter().take(TEXTS) {
        let lead = json!({"name": "Both", "phone": number(*n), "assignedTo": house.agent_id(), "owningSalesHeadId": house.head_id()});
        house
            .admin()
            .put(&format!("/api/admin/raw-leads/{id}"), lead)
            .await
            .is(200);
    }
    let before = rate(&house, "voice").await["received"].as_u64().unwrap();
    let started = Instant::now();
    let clicks = each(&leads, 24, async |(_, id)| {
        let click = agent.click_at_once(id).await;
        assert!([201, 202].contains(&click.status), "{click:?}");
        (
            id.clone(),
            click.id(),
            click.json["outcome"].as_str().unwrap().to_owned(),
        )
    });
    let texts = each(leads.iter().take(TEXTS), 8, async |(_, id)| {
        let text = head.text(id, "Hello").await;
        assert!([201, 202].contains(&text.status), "{text:?}");
    });
    let (clicks, _) = futures_util::future::join(clicks, texts).await;
    println!(
        "{CLICKS} clicks and {TEXTS} texts were answered in {:?}",
        started.elapsed()
    );
    let queued = clicks
        .iter()
        .filter(|(_, _, outcome)| outcome == "exotel_queued")
        .count();
    println!("{queued} of them were queued");
    until(Duration::from_secs(120), "every click is at Exotel", async || {
        let received = rate(&house, "voice").await["received"].as_u64().unwrap() - before;
        if received >= CLICKS as u64 {
            Ok(())
        } else {
            Err(format!("{received} of {CLICKS}"))
        }
    })
    .await;
    println!("all were with Exotel after {:?}", started.elapsed());
    for class in ["voice", "sms"] {
        let rate = rate(&house, class).await;
        println!("{class}: {rate}");
        assert!(
            rate["max_received_in_window"].as_u64().unwrap() <= 200,
            "{class}: {rate}"
        );
        assert_eq!(rate["refused"], 0, "{class}: {rate}");
    }
    until(Duration::from_secs(60), "every click has ended", async || {
        let open = each(&clicks, 8, async |(lead, call, _)| {
            let entry = agent.entry(lead, "calls", call).await;
            (entry["outcome"] != "not_picked").then(|| entry.to_string())
        })
        .await;
        let open: Vec<_> = open.into_iter().flatten().collect();
        if open.is_empty() {
            Ok(())
        } else {
            Err(format!("{} are open: {:?}", open.len(), open.first()))
        }
    })
    .await;
    let calls = house.simulator(reqwest::Method::GET, "/_sim/calls", None).await;
    let mut rung: Vec<_> = calls
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|call| call["to"].as_str())
        .filter(|to| to.contains("97") && to.ends_with("0008"))
        .map(crate::house::last_ten)
        .filter(|to| to.starts_with("97"))
        .collect();
    rung.sort_unstable();
    let number = rung.len();
    rung.dedup();
    assert_eq!(
        (number, rung.len()),
        (CLICKS, CLICKS),
        "a lead was rung twice, or not at all"
    );
}

/// Named to run behind the burst: what follows a 429 waits for everybody.
#[tokio::test]
async fn told_429_a_call_is_queued_and_placed_later() {
    let house = House::furnished("limited").await;
    let phone = house.phone("0001");
    house
        .script(json!({"to": phone, "api": "rate_limited", "times": 1}))
        .await;
    let lead = house.lead("a", &phone).await;
    let call = house.agent().click(&lead).await.is(202);
    assert_eq!(call.json["outcome"], "exotel_queued");
    house.agent().outcome(&lead, &call.id(), "connected").await;
    assert_eq!(house.calls_at_exotel(&phone).await.len(), 1);
}

#[tokio::test]
async fn an_echo_gives_the_callers_words_back_at_every_rate() {
    let house = House::open("socketrates");
    for rate in ["8000", "16000", "24000"] {
        let sid = call_sid(&house, rate);
        // The rate is whoever dials' to ask for.
        let url = offered(&house, &sid).await;
        let url = url.replace("sample-rate=8000", &format!("sample-rate={rate}"));
        let script = [
            Step::WaitForQuietMs(300),
            Step::SayMs(2_400),
            Step::WaitForQuietMs(600),
        ];
        let call = StreamCall {
            talk: Talk::script(script),
            ..StreamCall::to(Target::Stream(url))
        };
        let report = call.place().await.expect("the bot is on the line");
        assert_eq!(report.view.violations, [], "{rate} Hz");
        assert_eq!(report.view.gaps, [], "{rate} Hz");
        let (likeness, delay_ms) = report.said.likeness(&report.heard, 10_000);
        assert!(likeness >= 0.95, "{rate} Hz: {likeness} after {delay_ms} ms");
    }
}
