//! Calls that a bot leads, against the Exotel simulator.

use std::time::Duration;

use domain::{access::Role, ids::VoiceSessionId};
use exotel_simulator::ApiFault;
use jiff::SignedDuration;
use lambda_kit::capability::{Purpose, SigningKeys};
use serde_json::{Value, json};
use services::outbound::clock::World as _;

use crate::{
    house::{self, ADMIN, Event, JWT_SECRET, SALES, STRANGERS, lead},
    lines::Lines,
    outbound::{Exchange, SIGNING_KEY},
};

/// The number of lead-1, and one that is nobody's.
const LEADS: &str = "+919811100001";
const NOBODYS: &str = "+919811100077";

const STREAM: [(&str, &str); 2] = [
    ("VOICEBOT_WS_URL", "wss://bots.example.in/voicebot"),
    ("VOICEBOT_DEFAULT_BOT", "echo"),
];
const FLOW: (&str, &str) = ("EXOTEL_APP_ID", "926");

fn call(body: Value) -> Event {
    Event::new("POST", "/call", "/call").json(body)
}

fn keyed(body: Value) -> Event {
    call(body).header("idempotency-key", "k-1")
}

#[tokio::test]
async fn a_lead_is_rung_and_exotel_gets_the_bots_socket() {
    let exchange = Exchange::with(&STREAM).await;
    let wanted = call(json!({"to": "098111 00001", "callLogId": "renewal-42"}));
    let answer = exchange.send(wanted.by(SALES)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let (id, sid) = (answer.body["id"].as_str().unwrap(), &answer.body["exotelCallSid"]);
    assert_eq!(
        answer.body,
        json!({"id": id, "leadId": "lead-1", "calledBy": "sales-1", "outcome": "exotel_dispatched", "source": "exotel",
            "durationSec": null, "notes": "renewal-42", "exotelCallSid": sid, "hasRecording": false,
            "calledAt": "2026-11-20T08:30:00Z"})
    );
    let [post] = &exchange.posts()[..] else {
        panic!("one request")
    };
    let locator = format!("{id}.lead-1");
    for (name, value) in [
        ("From", Some(LEADS)),
        ("To", None),
        ("Url", None),
        ("CallerId", Some("+918045550100")),
        ("StreamType", Some("bidirectional")),
        ("CustomField", Some(&locator)),
    ] {
        assert_eq!(post.params.get(name), value, "{name}");
    }
    let url = post.params.get("StreamUrl").unwrap();
    assert!(url.len() < 600, "{url}");
    let session: VoiceSessionId = format!("vs_{}", id.strip_prefix("call_").unwrap())
        .parse()
        .unwrap();
    assert!(
        url.starts_with(&format!(
            "wss://bots.example.in/voicebot?call_id={session}&token="
        )),
        "{url}"
    );
    let kept = exchange.table.voice_session(&session).await.unwrap().unwrap();
    assert_eq!(kept.bot_id, "echo");
    assert_eq!(kept.call.unwrap().to_string(), locator);
    assert_eq!(kept.caller.unwrap(), LEADS.parse().unwrap());
    let lead = exchange
        .table
        .lead(&"lead-1".parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((lead.call_count, lead.last_contacted_at), (1, Some(house::now())));
}

#[tokio::test]
async fn with_a_flow_the_call_goes_there_and_from_is_what_the_lead_sees() {
    let exchange = Exchange::with(&[FLOW, STREAM[0], STREAM[1]]).await;
    let wanted = call(json!({"to": LEADS, "from": "080 4555 0101"}));
    let answer = exchange.send(wanted.by(SALES)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let [post] = &exchange.posts()[..] else {
        panic!("one request")
    };
    for (name, value) in [
        ("From", Some(LEADS)),
        ("CallerId", Some("+918045550101")),
        ("Url", Some("https://my.exotel.com/acme1/exoml/start_voice/926")),
        ("StreamUrl", None),
    ] {
        assert_eq!(post.params.get(name), value, "{name}");
    }
}

#[tokio::test]
async fn the_example_event_is_answered() {
    let exchange = Exchange::with(&[FLOW]).await;
    let answer = exchange.send(Event::file("voicebot-call.ok").by(SALES)).await;
    assert_eq!(
        (answer.status, &answer.body["notes"]),
        (201, &json!("renewal-42"))
    );
}

#[tokio::test]
async fn administrators_have_any_number_called_and_its_home_does_not_tell_it() {
    let exchange = Exchange::with(&[FLOW, ("OUTBOUND_CALLS_PER_LEAD_HOUR", "1")]).await;
    let answer = exchange.send(call(json!({"to": NOBODYS})).by(ADMIN)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let home = answer.body["leadId"].as_str().unwrap();
    assert!(home.starts_with("unlisted-") && !home.contains("98111"), "{home}");
    let locator = format!("{}.{home}", answer.body["id"].as_str().unwrap());
    let posts = exchange.posts();
    let callback = posts[0].params.get("StatusCallback").unwrap();
    let capability = callback.rsplit('/').next().unwrap();
    SigningKeys::new(&SIGNING_KEY.to_owned().into(), None)
        .verify_capability(Purpose::Call, &locator, capability)
        .unwrap();
    let row = exchange
        .table
        .call(&locator.parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.exotel().unwrap().lead_phone, NOBODYS.parse().unwrap());
    // Such a number gets no more calls than a lead.
    exchange.hands.pass(SignedDuration::from_secs(6));
    let more = exchange.send(call(json!({"to": NOBODYS})).by(ADMIN)).await;
    assert_eq!((more.status, &more.body["code"]), (429, &json!("calls_used_up")));
    assert_eq!(exchange.posts().len(), 1);
}

#[tokio::test]
async fn others_have_only_their_leads_called() {
    let exchange = Exchange::with(&[FLOW]).await;
    for stranger in STRANGERS {
        let theirs = exchange.send(call(json!({"to": LEADS})).by(stranger)).await;
        let nobodys = exchange.send(call(json!({"to": NOBODYS})).by(stranger)).await;
        assert_eq!((theirs.status, &theirs.body["code"]), (403, &json!("no_lead")));
        assert_eq!(theirs.body, nobodys.body);
    }
    assert_eq!(exchange.send(call(json!({"to": LEADS}))).await.status, 401);
    for (to, who, code) in [
        ("+6591234567", ADMIN, "destination_not_allowed"),
        (NOBODYS, ("sales-1", Role::Sales), "no_lead"),
    ] {
        let refused = exchange.send(call(json!({"to": to})).by(who)).await;
        assert_eq!(
            (refused.status, &refused.body["code"]),
            (403, &json!(code)),
            "{to}"
        );
    }
    assert!(exchange.posts().is_empty());
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_nobody_is_rung() {
    let exchange = Exchange::with(&[FLOW]).await;
    for (body, field) in [
        (json!({"to": "12"}), json!("to")),
        (json!({"to": ""}), json!("to")),
        (json!({"to": LEADS, "from": "nobody"}), json!("from")),
        (json!({"to": LEADS, "callLogId": ""}), json!("callLogId")),
        (json!({"to": LEADS, "callLogId": "two words"}), json!("callLogId")),
        (
            json!({"to": LEADS, "callLogId": "x".repeat(65)}),
            json!("callLogId"),
        ),
    ] {
        let answer = exchange.send(call(body.clone()).by(ADMIN)).await;
        assert_eq!(
            (answer.status, &answer.body["field"]),
            (400, &field),
            "{body}: {answer:?}"
        );
    }
    for body in [
        json!({}),
        json!({"to": 7}),
        json!({"to": LEADS, "url": "wss://evil.example.com"}),
        json!([LEADS]),
    ] {
        let answer = exchange.send(call(body.clone()).by(ADMIN)).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
    }
    assert!(exchange.posts().is_empty());
}

#[tokio::test]
async fn a_call_wanted_twice_is_one_call() {
    let exchange = Exchange::with(&STREAM).await;
    let wanted = || call(json!({"to": LEADS})).by(SALES);
    let (first, second) = tokio::join!(exchange.send(wanted()), exchange.send(wanted()));
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.body["id"], second.body["id"]);
    let keyed = |to| keyed(json!({"to": to})).by(ADMIN);
    exchange.hands.pass(SignedDuration::from_secs(6));
    let first = exchange.send(keyed(NOBODYS)).await;
    exchange.hands.pass(SignedDuration::from_mins(4));
    let again = exchange.send(keyed(NOBODYS)).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    let other = exchange.send(keyed(LEADS)).await;
    assert_eq!(
        (other.status, &other.body["code"]),
        (409, &json!("idempotency_key_reused"))
    );
    assert_eq!(exchange.posts().len(), 2);
}

#[tokio::test]
async fn a_repetition_finds_the_call_of_a_function_that_died_also_when_the_number_has_become_a_leads() {
    for already_a_leads in [false, true] {
        let exchange = Exchange::with(&STREAM).await;
        let to = if already_a_leads { LEADS } else { NOBODYS };
        let wanted = || keyed(json!({"to": to})).by_at(ADMIN, exchange.hands.now());
        exchange.next(ApiFault::HangAfterAccept);
        let died = tokio::time::timeout(Duration::from_millis(1_500), exchange.send(wanted())).await;
        assert!(died.is_err(), "{died:?}");
        assert_eq!(exchange.posts().len(), 1);
        let mut newer = lead("lead-2");
        newer.phone = to.parse().unwrap();
        newer.last_contacted_at = Some(exchange.hands.now() + SignedDuration::from_mins(1));
        exchange.table.put_lead(&newer).await.unwrap();
        exchange.hands.pass(SignedDuration::from_mins(3));
        let again = exchange.send(wanted()).await;
        assert!(matches!(again.status, 201 | 202), "{again:?}");
        assert_ne!(again.body["leadId"], "lead-2");
        assert_eq!(exchange.posts().len(), 1, "nobody is rung twice");
    }
}

#[tokio::test]
async fn it_waits_its_turn_and_stops_with_everything_else() {
    let exchange = Exchange::with(&STREAM).await;
    exchange.next(ApiFault::RateLimited);
    let queued = exchange.send(call(json!({"to": LEADS})).by(SALES)).await;
    assert_eq!(
        (queued.status, &queued.body["outcome"]),
        (202, &json!("exotel_queued"))
    );
    let locator = format!("{}.lead-1", queued.body["id"].as_str().unwrap());
    assert_eq!(
        exchange.take_queued(),
        [json!({"type": "place_call.v1", "call": locator, "attempt": 2, "refusals": 1})]
    );
    // Clicks have the same slots: they wait too.
    let click = Event::new(
        "POST",
        "/api/sales/crm/{id}/exotel-call",
        "/api/sales/crm/lead-1/exotel-call",
    );
    assert_eq!(
        exchange.send(click.by(ADMIN)).await.body["outcome"],
        "exotel_queued"
    );
    let exchange = Exchange::with(&STREAM).await;
    exchange.table.pause_outbound(house::now()).await.unwrap();
    let paused = exchange.send(call(json!({"to": LEADS})).by(SALES)).await;
    assert_eq!(
        (paused.status, &paused.body["code"]),
        (503, &json!("outbound_paused"))
    );
    let exchange = Exchange::with(&[FLOW, ("OUTBOUND_ENABLED", "false")]).await;
    let off = exchange.send(call(json!({"to": LEADS})).by(ADMIN)).await;
    assert_eq!(off.body["code"], "outbound_paused");
    assert!(exchange.posts().is_empty());
    let exchange = Exchange::with(&[FLOW, ("OUTBOUND_CALLS_PER_DAY", "1")]).await;
    assert_eq!(
        exchange.send(call(json!({"to": LEADS})).by(SALES)).await.status,
        201
    );
    let capped = exchange.send(call(json!({"to": NOBODYS})).by(ADMIN)).await;
    assert_eq!(
        (capped.status, &capped.body["code"]),
        (429, &json!("calls_used_up"))
    );
    assert_eq!(exchange.posts().len(), 1);
}

#[tokio::test]
async fn without_a_place_to_go_nobody_is_rung() {
    let fleet = [
        STREAM[0],
        (
            "VOICEBOT_BOTS",
            r#"{"own": {"kind": "fleet", "url": "wss://media.example.com/own"}}"#,
        ),
        ("VOICEBOT_DEFAULT_BOT", "own"),
    ];
    for settings in [&[][..], &STREAM[..1], &fleet[..]] {
        let exchange = Exchange::with(settings).await;
        let answer = exchange.send(call(json!({"to": LEADS})).by(SALES)).await;
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (503, &json!("voicebot_not_configured"))
        );
        assert!(exchange.posts().is_empty());
    }
}

#[tokio::test]
async fn neither_credentials_nor_whole_numbers_nor_tokens_of_sockets_are_logged() {
    let lines = Lines::capture();
    let exchange = Exchange::with(&[STREAM[0], STREAM[1], ("OUTBOUND_CALLS_PER_LEAD_DAY", "2")]).await;
    for (to, fault, status) in [
        (LEADS, None, 201),
        (LEADS, Some(ApiFault::Ndnc), 502),
        (LEADS, None, 429),
        (NOBODYS, Some(ApiFault::ResetAfterAccept), 202),
        (NOBODYS, Some(ApiFault::RateLimited), 202),
        (NOBODYS, None, 429),
    ] {
        exchange.hands.pass(SignedDuration::from_mins(20));
        if let Some(fault) = fault {
            exchange.next(fault);
        }
        let wanted = call(json!({"to": to, "from": "08045550100"}));
        let answer = exchange.send(wanted.by_at(ADMIN, exchange.hands.now())).await;
        assert_eq!(answer.status, status, "{to} {fault:?}: {answer:?}");
    }
    lines.assert_tell(&[
        "accepted by Exotel",
        "refused for good: ",
        "not sent: ",
        "unconfirmed: ",
        "are used up",
    ]);
    let posts = exchange.posts();
    let token = |url: &str| url.split("token=").nth(1)?.split('&').next().map(str::to_owned);
    let tokens: Vec<_> = posts
        .iter()
        .filter_map(|post| token(post.params.get("StreamUrl")?))
        .collect();
    assert_eq!(tokens.len(), 4);
    let known = [
        "9811100001",
        "9811100077",
        "8045550100",
        "simkey",
        "simtoken",
        JWT_SECRET,
        SIGNING_KEY,
    ];
    let all: Vec<_> = known
        .into_iter()
        .chain(tokens.iter().map(String::as_str))
        .collect();
    lines.assert_hide(&all);
}
