//! Recordings, through the ticket.

use serde_json::Value;

use crate::house::{ADMIN_FAMILY, Answer, House, PATIENCE, SALES_FAMILY, until};

/// A connected call to a number of this suffix: lead, call id.
async fn talked(house: &House, suffix: &str) -> (String, String) {
    let lead = house.lead(suffix, &house.phone(suffix)).await;
    let agent = house.agent();
    let call = agent.click(&lead).await.is(201).id();
    agent.outcome(&lead, &call, "connected").await;
    (lead, call)
}

struct Played {
    status: u16,
    kind: String,
    range: Option<String>,
    bytes: Vec<u8>,
    json: Value,
}

async fn play(house: &House, url: &str, range: Option<&str>) -> Played {
    let mut request = house.http.get(url);
    if let Some(range) = range {
        request = request.header("range", range);
    }
    let answer = request.send().await.unwrap();
    let header = |name: &str| {
        answer
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    let (status, kind, range) = (
        answer.status().as_u16(),
        header("content-type").unwrap_or_default(),
        header("content-range"),
    );
    let bytes = answer
        .bytes()
        .await
        .map(|bytes| bytes.to_vec())
        .unwrap_or_default();
    let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Played {
        status,
        kind,
        range,
        bytes,
        json,
    }
}

async fn link(house: &House, lead: &str, call: &str) -> String {
    let path = format!("{SALES_FAMILY}/{lead}/calls/{call}/recording?link=1");
    house.agent().get(&path).await.is(200).text_of("url")
}

/// The recording, once Exotel has it.
async fn played(house: &House, url: &str) -> Played {
    until(PATIENCE, "the recording plays", async || {
        let played = play(house, url, None).await;
        if played.status == 200 {
            Ok(played)
        } else {
            Err(format!("{} {}", played.status, played.json))
        }
    })
    .await
}

#[tokio::test]
async fn a_recording_plays_through_a_ticket_and_seeks() {
    let house = House::furnished("play").await;
    let (lead, call) = talked(&house, "0001").await;
    for (family, caller) in [(SALES_FAMILY, house.agent()), (ADMIN_FAMILY, house.head())] {
        let path = format!("{family}/{lead}/calls/{call}/recording");
        let answer: Answer = caller.get(&path).await.is(302);
        let url = answer.headers["location"].to_str().unwrap().to_owned();
        assert!(url.starts_with(house.url("recordings_url")), "{url}");
        let whole = played(&house, &url).await;
        assert!(
            whole.kind.starts_with("audio/") && whole.bytes.len() > 1_000,
            "{} {}",
            whole.kind,
            whole.bytes.len()
        );
        for (range, from, to) in [
            ("bytes=100-199", 100, 200),
            ("bytes=500-", 500, whole.bytes.len()),
            ("bytes=-50", whole.bytes.len() - 50, whole.bytes.len()),
        ] {
            let part = play(&house, &url, Some(range)).await;
            assert_eq!(part.status, 206, "{range}");
            assert_eq!(
                part.range,
                Some(format!("bytes {from}-{}/{}", to - 1, whole.bytes.len()))
            );
            assert!(part.bytes == whole.bytes[from..to], "{range}: other bytes");
        }
        assert_eq!(play(&house, &url, Some("bytes=99999999-")).await.status, 416);
    }
}

#[tokio::test]
async fn open_private_and_redirected_recordings_play_and_one_that_leads_astray_does_not() {
    let house = House::furnished("kinds").await;
    for suffix in ["0041", "0042", "0044"] {
        let (lead, call) = talked(&house, suffix).await;
        let whole = played(&house, &link(&house, &lead, &call).await).await;
        assert!(
            whole.kind.starts_with("audio/") && !whole.bytes.is_empty(),
            "{suffix}"
        );
    }
    let (lead, call) = talked(&house, "0045").await;
    let url = link(&house, &lead, &call).await;
    let refused = until(PATIENCE, "the redirect is followed to its end", async || {
        let refused = play(&house, &url, None).await;
        if refused.status == 404 {
            Err("not ready".to_owned())
        } else {
            Ok(refused)
        }
    })
    .await;
    assert_eq!(
        (refused.status, refused.kind.as_str()),
        (502, "application/problem+json")
    );
    assert!(!String::from_utf8_lossy(&refused.bytes).contains("169.254"));
}

#[tokio::test]
async fn no_recording_and_not_yet_are_told_apart() {
    let house = House::furnished("norec").await;
    let agent = house.agent();
    let (lead, call) = talked(&house, "0043").await;
    let soon = play(&house, &link(&house, &lead, &call).await, None).await;
    assert_eq!(
        (soon.status, soon.json["code"].as_str()),
        (404, Some("recording_not_ready"))
    );
    let (lead, call) = talked(&house, "0047").await;
    assert_eq!(agent.entry(&lead, "calls", &call).await["hasRecording"], false);
    let answer = agent
        .get(&format!("{SALES_FAMILY}/{lead}/calls/{call}/recording"))
        .await
        .is(404)
        .any_problem();
    assert!(
        ["not_found", "recording_not_ready"].contains(&answer.text_of("code").as_str()),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_ticket_that_is_forged_expired_or_another_ones_opens_nothing() {
    let house = House::furnished("tickets").await;
    let (lead, call) = talked(&house, "0041").await;
    let url = link(&house, &lead, &call).await;
    let (origin, ticket) = url.split_once("?ticket=").unwrap();
    let half = ticket.len() / 2;
    let flipped = |at: usize| {
        let mut bytes = ticket.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    for ticket in [
        String::new(),
        "x".to_owned(),
        "a.b.c".to_owned(),
        ticket[..half].to_owned(),
        flipped(0),
        flipped(half),
        flipped(ticket.len() - 2),
        format!("{ticket}A"),
        "%00".to_owned(),
        "x".repeat(5_000),
    ] {
        let refused = play(&house, &format!("{origin}?ticket={ticket}"), None).await;
        assert_eq!(
            (refused.status, refused.kind.as_str()),
            (401, "application/problem+json"),
            "{ticket}"
        );
        assert!(!refused.json["detail"].as_str().unwrap().is_empty());
    }
    assert_eq!(play(&house, origin, None).await.status, 401);
    // The ticket names one call: nobody can ask for another one with it, and only reading is possible.
    for method in ["POST", "PUT", "DELETE"] {
        let answer = house
            .http
            .request(method.parse().unwrap(), &url)
            .send()
            .await
            .unwrap();
        assert!(
            [405, 401, 404].contains(&answer.status().as_u16()),
            "{method}: {}",
            answer.status()
        );
    }
    // Another lead's call, and a lead that is not theirs.
    let other = house.lead("other", &house.phone("0101")).await;
    house
        .agent()
        .get(&format!("{SALES_FAMILY}/{other}/calls/{call}/recording"))
        .await
        .problem(404, "not_found");
    let stranger = house.caller("stranger", "SALES");
    stranger
        .get(&format!("{SALES_FAMILY}/{lead}/calls/{call}/recording"))
        .await
        .problem(404, "not_found");
}
