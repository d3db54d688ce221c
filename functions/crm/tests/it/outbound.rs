//! Click-to-call, send-sms and calls by bots against the Exotel simulator, with the clock in the test's hand.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crm::{Crm, bot_calls::BotCallDoor, outbound::OutboundDoor};
use domain::{access::Role, directory::User, outbound_limit::Class, phone::PhoneNumber};
use dynamo::Dynamo;
use exotel_simulator::{ApiFault, Script, Simulator};
use jiff::{SignedDuration, Timestamp};
use lambda_kit::{
    capability::{Purpose, SigningKeys},
    config::{CorsConfig, OutboundConfig, PublicUrls, Settings, VoicebotConfig},
    http::{Request, answer},
    https,
    init::Boot,
};
use serde_json::{Value, json};
use services::outbound::{OutboundQueue, clock::World};
use table::Table;

use crate::{
    click_to_call,
    house::{self, ADMIN, Answer, Event, SALES, STRANGERS, lead},
    send_sms, voicebot_call,
};

const CALL: &str = "/api/sales/crm/{id}/exotel-call";
const SMS: &str = "/api/sales/crm/{id}/sms";

/// A clock that moves when somebody waits, or when the test says so.
#[derive(Default)]
pub(crate) struct Hands(Mutex<SignedDuration>, AtomicU64);

impl World for Hands {
    fn now(&self) -> Timestamp {
        house::now() + *self.0.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.pass(SignedDuration::try_from(duration).unwrap());
        Box::pin(tokio::task::yield_now())
    }

    fn random(&self) -> u128 {
        u128::from(self.1.fetch_add(1, Ordering::Relaxed))
    }
}

impl Hands {
    pub(crate) fn pass(&self, duration: SignedDuration) {
        *self.0.lock().unwrap() += duration;
    }
}

/// The doors, a table, a queue and a simulated Exotel.
pub(crate) struct Exchange {
    _dynamo: Dynamo,
    pub(crate) table: Table,
    queued: Arc<Mutex<Vec<String>>>,
    pub(crate) exotel: exotel_simulator::Handle,
    bots: BotCallDoor,
    pub(crate) hands: Arc<Hands>,
}

impl Exchange {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(extra: &[(&'static str, &'static str)]) -> Self {
        let exotel = Simulator::start(Default::default()).await.unwrap();
        let dynamo = Dynamo::start().await;
        let (queue_url, queued) = house::queue().await;
        let settings = |endpoint: &str| {
            let mut all: Vec<(&str, String)> = vec![
                ("AWS_REGION", "ap-south-1".into()),
                ("AWS_ACCESS_KEY_ID", "local".into()),
                ("AWS_SECRET_ACCESS_KEY", "local".into()),
                ("AWS_ENDPOINT_URL", endpoint.into()),
                ("TABLE_NAME", dynamo::TABLE_NAME.into()),
                ("JWT_SECRET", house::JWT_SECRET.into()),
                ("SIGNING_KEY", SIGNING_KEY.into()),
                ("WEBHOOK_BASE_URL", "http://127.0.0.1:9".into()),
                ("EXOTEL_SID", "acme1".into()),
                ("EXOTEL_API_KEY", "simkey".into()),
                ("EXOTEL_API_TOKEN", "simtoken".into()),
                ("EXOTEL_CALLER_ID", "08045550100".into()),
                ("EXOTEL_SMS_SENDER_ID", "ACMEIN".into()),
                ("EXOTEL_DLT_ENTITY_ID", "1101".into()),
                ("EXOTEL_DLT_TEMPLATE_ID", "1107".into()),
                ("EXOTEL_SUBDOMAIN", exotel.url().into()),
            ];
            for (name, value) in extra {
                all.retain(|(known, _)| known != name);
                all.push((name, (*value).into()));
            }
            Settings::new(move |name| {
                all.iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| value.clone())
            })
        };
        let boot = Boot::new(settings(dynamo.endpoint_url()), house::now())
            .await
            .unwrap();
        let queue_boot = Boot::new(settings(&queue_url), house::now()).await.unwrap();
        let hands = Arc::new(Hands::default());
        let door = OutboundDoor::new(
            Crm::from_boot(&boot).unwrap(),
            OutboundConfig::from_env(boot.settings()).unwrap(),
            OutboundQueue::connect(queue_boot.aws(), format!("{queue_url}/outbound"), None),
            https::client().unwrap(),
            PublicUrls::from_env(boot.settings()).unwrap(),
            hands.clone(),
        );
        let bots = BotCallDoor::new(door, VoicebotConfig::from_env(boot.settings()).unwrap());
        let table = Table::new(dynamo.client(), dynamo::TABLE_NAME);
        table.put_lead(&lead("lead-1")).await.unwrap();
        for user in ["sales-1", "admin-1"] {
            let phone = Some("+919811100099".parse().unwrap());
            let id = user.parse().unwrap();
            table
                .put_user(&User {
                    id,
                    phone,
                    full_name: None,
                    email: None,
                    role: None,
                })
                .await
                .unwrap();
        }
        Self {
            _dynamo: dynamo,
            table,
            queued,
            exotel,
            bots,
            hands,
        }
    }

    pub(crate) async fn send(&self, event: Event) -> Answer {
        let request = Request::from_event(&event.0.to_string()).unwrap();
        let cors = CorsConfig::default();
        let route = event.0["routeKey"].as_str().unwrap();
        let response = if route == "POST /call" {
            answer(&cors, request, async |r| {
                Box::pin(voicebot_call::handle(&self.bots, r)).await
            })
            .await
        } else if route.ends_with("exotel-call") {
            answer(&cors, request, async |r| {
                Box::pin(click_to_call::handle(&self.bots.outbound, r)).await
            })
            .await
        } else {
            answer(&cors, request, async |r| {
                Box::pin(send_sms::handle(&self.bots.outbound, r)).await
            })
            .await
        };
        Answer {
            status: response.status().as_u16(),
            location: response
                .headers()
                .get("retry-after")
                .map(|v| v.to_str().unwrap().to_owned()),
            body: serde_json::from_str(response.body()).unwrap(),
        }
    }

    async fn click(&self) -> Answer {
        self.send(click("lead-1").by(SALES)).await
    }

    async fn write(&self, body: Value) -> Answer {
        self.send(text("lead-1").by(SALES).json(body)).await
    }

    /// What happens to the next request.
    pub(crate) fn next(&self, fault: ApiFault) {
        self.exotel.script(Script {
            api: Some(fault),
            ..Script::default()
        });
    }

    /// Requests that Exotel got.
    pub(crate) fn posts(&self) -> Vec<exotel_simulator::Request> {
        self.exotel
            .requests()
            .into_iter()
            .filter(|request| request.method == "POST")
            .collect()
    }

    pub(crate) fn take_queued(&self) -> Vec<Value> {
        let queued = std::mem::take(&mut *self.queued.lock().unwrap());
        queued
            .iter()
            .map(|body| serde_json::from_str(body).unwrap())
            .collect()
    }
}

pub(crate) const SIGNING_KEY: &str = "another secret of thirty-two characters";

fn click(lead: &str) -> Event {
    Event::new("POST", CALL, &format!("/api/sales/crm/{lead}/exotel-call"))
}

fn text(lead: &str) -> Event {
    Event::new("POST", SMS, &format!("/api/sales/crm/{lead}/sms"))
}

#[tokio::test]
async fn a_click_rings_the_agent_then_the_lead_and_answers_with_the_log() {
    let exchange = Exchange::new().await;
    let answer = exchange.click().await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let id = answer.body["id"].as_str().unwrap();
    let sid = answer.body["exotelCallSid"].as_str().unwrap();
    assert_eq!(
        answer.body,
        json!({"id": id, "leadId": "lead-1", "calledBy": "sales-1", "outcome": "exotel_dispatched", "source": "exotel",
            "durationSec": null, "notes": null, "exotelCallSid": sid, "hasRecording": false, "calledAt": "2026-11-20T08:30:00Z"})
    );
    let [post] = &exchange.posts()[..] else {
        panic!("one request")
    };
    let locator = format!("{id}.lead-1");
    let callback = post.params.get("StatusCallback").unwrap();
    let capability = callback
        .strip_prefix(&format!("http://127.0.0.1:9/webhooks/exotel/call/{locator}/"))
        .unwrap_or_else(|| panic!("{callback}"));
    SigningKeys::new(&SIGNING_KEY.to_owned().into(), None)
        .verify_capability(Purpose::Call, &locator, capability)
        .unwrap();
    for (name, value) in [
        ("From", "+919811100099"),
        ("To", "+919811100001"),
        ("CallerId", "+918045550100"),
        ("Record", "true"),
        ("CustomField", locator.as_str()),
        ("StatusCallbackEvents[0]", "terminal"),
        ("StatusCallbackEvents[1]", "answered"),
        ("StatusCallbackContentType", "application/json"),
    ] {
        assert_eq!(post.params.get(name), Some(value), "{name}");
    }
    let lead = exchange
        .table
        .lead(&"lead-1".parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((lead.call_count, lead.last_contacted_at), (1, Some(house::now())));
    assert_eq!(
        exchange
            .table
            .call_by_sid(&sid.parse().unwrap())
            .await
            .unwrap()
            .unwrap()
            .to_string(),
        locator
    );
}

#[tokio::test]
async fn a_repeated_key_has_the_first_answer_and_a_reused_one_is_refused() {
    let exchange = Exchange::new().await;
    exchange.table.put_lead(&lead("lead-2")).await.unwrap();
    let keyed = |lead| click(lead).by(SALES).header("idempotency-key", "k-1");
    let first = exchange.send(keyed("lead-1")).await;
    exchange.hands.pass(SignedDuration::from_mins(4));
    let again = exchange.send(keyed("lead-1")).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    let other = exchange.send(keyed("lead-2")).await;
    assert_eq!(
        (other.status, &other.body["code"]),
        (409, &json!("idempotency_key_reused"))
    );
    assert_eq!(exchange.posts().len(), 1);
    let bad = exchange
        .send(click("lead-1").by(SALES).header("idempotency-key", "two words"))
        .await;
    assert_eq!((bad.status, &bad.body["field"]), (400, &json!("Idempotency-Key")));
}

#[tokio::test]
async fn a_second_click_within_five_seconds_is_the_first_one() {
    let exchange = Exchange::new().await;
    let (first, second) = tokio::join!(exchange.click(), exchange.click());
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.body["id"], second.body["id"]);
    assert_eq!(exchange.posts().len(), 1);
    exchange.hands.pass(SignedDuration::from_secs(6));
    let third = exchange.click().await;
    assert_ne!(third.body["id"], first.body["id"]);
    assert_eq!(exchange.posts().len(), 2);
}

#[tokio::test]
async fn a_refusal_is_told_in_words_and_kept_for_repetitions() {
    let exchange = Exchange::new().await;
    let keyed = || click("lead-1").by(SALES).header("idempotency-key", "k-1");
    exchange.next(ApiFault::Ndnc);
    let refused = exchange.send(keyed()).await;
    assert_eq!(
        (refused.status, &refused.body["code"]),
        (502, &json!("exotel_refused"))
    );
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(detail.contains("NDNC") && !detail.contains("98111"), "{detail}");
    let again = exchange.send(keyed()).await;
    assert_eq!((again.status, &again.body), (502, &refused.body));
    assert_eq!(exchange.posts().len(), 1);
    let calls = exchange
        .table
        .calls(&"lead-1".parse().unwrap(), 10, None)
        .await
        .unwrap();
    let log = serde_json::to_value(services::logs::CallLog::from(&calls.items[0])).unwrap();
    assert_eq!(log["outcome"], "disconnected");
    assert!(log["reason"].as_str().unwrap().contains("NDNC"), "{log}");
    for fault in [
        ApiFault::Kyc,
        ApiFault::Balance,
        ApiFault::Invalid,
        ApiFault::Unauthorized,
        ApiFault::NotFound,
    ] {
        exchange.hands.pass(SignedDuration::from_secs(6));
        exchange.next(fault);
        assert_eq!(exchange.click().await.status, 502, "{fault:?}");
    }
    assert!(exchange.take_queued().is_empty());
}

#[tokio::test]
async fn a_busy_exotel_queues_the_click_and_slows_everybody_down() {
    for (fault, pushed) in [(ApiFault::RateLimited, true), (ApiFault::Unavailable, false)] {
        let exchange = Exchange::new().await;
        exchange.next(fault);
        let answer = exchange.click().await;
        assert_eq!(
            (answer.status, &answer.body["outcome"]),
            (202, &json!("exotel_queued")),
            "{answer:?}"
        );
        let call = format!("{}.lead-1", answer.body["id"].as_str().unwrap());
        assert_eq!(
            exchange.take_queued(),
            [json!({"type": "place_call.v1", "call": call, "attempt": 2, "refusals": 1})]
        );
        let other = exchange.send(click("lead-1").by(ADMIN)).await;
        let outcome = if pushed {
            "exotel_queued"
        } else {
            "exotel_dispatched"
        };
        assert_eq!(other.body["outcome"], outcome, "{fault:?}");
    }
}

#[tokio::test]
async fn what_may_have_reached_exotel_is_unconfirmed_and_looked_for() {
    for fault in [
        ApiFault::ResetAfterAccept,
        ApiFault::GatewayAfterAccept,
        ApiFault::Empty500,
        ApiFault::Reset,
    ] {
        let exchange = Exchange::new().await;
        exchange.next(fault);
        let answer = exchange.click().await;
        assert_eq!(
            (answer.status, &answer.body["outcome"]),
            (202, &json!("unconfirmed")),
            "{fault:?}"
        );
        let call = format!("{}.lead-1", answer.body["id"].as_str().unwrap());
        assert_eq!(
            exchange.take_queued(),
            [json!({"type": "resolve_call.v1", "call": call, "step": 0})]
        );
        assert_eq!(exchange.posts().len(), 1);
    }
}

#[tokio::test]
async fn without_a_slot_the_click_is_queued() {
    let exchange = Exchange::new().await;
    let busy_until = house::now() + SignedDuration::from_secs(4);
    exchange
        .table
        .push_forward(Class::Voice, busy_until)
        .await
        .unwrap();
    let answer = exchange.click().await;
    assert_eq!(
        (answer.status, &answer.body["outcome"]),
        (202, &json!("exotel_queued"))
    );
    assert_eq!(exchange.take_queued()[0]["refusals"], 0);
    assert!(exchange.posts().is_empty());
    // A slot within three seconds is waited for.
    exchange.hands.pass(SignedDuration::from_secs(6));
    let soon = exchange.hands.now() + SignedDuration::from_secs(2);
    exchange.table.push_forward(Class::Voice, soon).await.unwrap();
    assert_eq!(exchange.click().await.status, 201);
    assert!(exchange.hands.now() >= soon);
}

#[tokio::test]
async fn who_may_not_call_is_told_so_and_nobody_is_rung() {
    let exchange = Exchange::new().await;
    for stranger in STRANGERS {
        let theirs = exchange.send(click("lead-1").by(stranger)).await;
        let nobodys = exchange.send(click("lead-9").by(stranger)).await;
        assert_eq!((theirs.status, &theirs.body), (404, &nobodys.body));
    }
    assert_eq!(exchange.send(click("lead-1")).await.status, 401);
    let admins = Event::new(
        "POST",
        "/api/admin/raw-leads/{id}/exotel-call",
        "/api/admin/raw-leads/lead-1/exotel-call",
    );
    assert_eq!(exchange.send(admins.clone().by(SALES)).await.status, 403);
    let no_phone = exchange.send(admins.by(("admin-2", Role::Admin))).await;
    assert_eq!(
        (no_phone.status, &no_phone.body["code"]),
        (400, &json!("no_call_number"))
    );
    let mut abroad = lead("lead-1");
    abroad.phone = "+6591234567".parse::<PhoneNumber>().unwrap();
    exchange.table.put_lead(&abroad).await.unwrap();
    let refused = exchange.click().await;
    assert_eq!(
        (refused.status, &refused.body["code"]),
        (403, &json!("destination_not_allowed"))
    );
    assert!(exchange.posts().is_empty());
    let calls = exchange
        .table
        .calls(&"lead-1".parse().unwrap(), 10, None)
        .await
        .unwrap();
    assert!(calls.items.is_empty());
}

#[tokio::test]
async fn calls_are_counted_and_the_switch_stops_them() {
    let exchange = Exchange::with(&[
        ("OUTBOUND_CALLS_PER_USER_HOUR", "2"),
        ("OUTBOUND_CALLS_PER_DAY", "3"),
    ])
    .await;
    for status in [201, 201, 429] {
        let answer = exchange.click().await;
        assert_eq!(answer.status, status, "{answer:?}");
        exchange.hands.pass(SignedDuration::from_secs(6));
    }
    let used_up = exchange.click().await;
    assert_eq!(
        (&used_up.body["code"], used_up.location.as_deref()),
        (&json!("calls_used_up"), Some("3582"))
    );
    assert_eq!(exchange.send(click("lead-1").by(ADMIN)).await.status, 201);
    exchange.hands.pass(SignedDuration::from_secs(6));
    let capped = exchange.send(click("lead-1").by(ADMIN)).await;
    assert_eq!(
        (capped.status, &capped.body["code"]),
        (429, &json!("calls_used_up"))
    );
    assert!(
        capped.body["detail"].as_str().unwrap().contains("the account"),
        "{capped:?}"
    );
    let exchange = Exchange::new().await;
    exchange.table.pause_outbound(house::now()).await.unwrap();
    let paused = exchange.click().await;
    assert_eq!(
        (paused.status, &paused.body["code"]),
        (503, &json!("outbound_paused"))
    );
    exchange.table.resume_outbound().await.unwrap();
    assert_eq!(exchange.click().await.status, 201);
    let exchange = Exchange::with(&[("OUTBOUND_ENABLED", "false")]).await;
    assert_eq!(exchange.click().await.body["code"], "outbound_paused");
}

#[tokio::test]
async fn without_an_account_nothing_goes_out() {
    for missing in [
        "EXOTEL_SID",
        "EXOTEL_API_KEY",
        "EXOTEL_API_TOKEN",
        "EXOTEL_CALLER_ID",
    ] {
        let exchange = Exchange::with(&[(missing, "")]).await;
        for answer in [
            exchange.click().await,
            exchange.write(json!({"body": "Hello"})).await,
        ] {
            assert_eq!(
                (answer.status, &answer.body["code"]),
                (503, &json!("exotel_not_configured")),
                "{missing}"
            );
        }
        assert!(exchange.posts().is_empty());
    }
}

#[tokio::test]
async fn a_text_is_trimmed_sent_and_logged() {
    let exchange = Exchange::new().await;
    let answer = exchange.write(json!({"body": "  Your visit is booked.\n"})).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let (id, sid) = (&answer.body["id"], &answer.body["exotelSmsSid"]);
    assert!(id.as_str().unwrap().starts_with("sms_") && sid.is_string());
    assert_eq!(
        answer.body,
        json!({"id": id, "leadId": "lead-1", "sentBy": "sales-1", "toPhone": "+919811100001", "body": "Your visit is booked.",
            "status": "queued", "exotelSmsSid": sid, "errorMessage": null, "sentAt": "2026-11-20T08:30:00Z",
            "detailedStatus": "PENDING_TO_OPERATOR", "detailedStatusCode": 21010})
    );
    let [post] = &exchange.posts()[..] else {
        panic!("one request")
    };
    for (name, value) in [
        ("From", "ACMEIN"),
        ("To", "+919811100001"),
        ("Body", "Your visit is booked."),
        ("DltEntityId", "1101"),
        ("DltTemplateId", "1107"),
        ("SmsType", "transactional"),
    ] {
        assert_eq!(post.params.get(name), Some(value), "{name}");
    }
    let lead = exchange
        .table
        .lead(&"lead-1".parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(lead.call_count, 0);
    // The same text a moment later is the same message, another text is another.
    let again = exchange.write(json!({"body": "Your visit is booked."})).await;
    assert_eq!(again.body, answer.body);
    let other = exchange.write(json!({"body": "Your visit is cancelled."})).await;
    assert_ne!(other.body["id"], answer.body["id"]);
}

#[tokio::test]
async fn a_text_has_1_to_1000_characters() {
    let exchange = Exchange::new().await;
    for body in ["", " \n ", &"ह".repeat(1_001)] {
        let answer = exchange.write(json!({"body": body})).await;
        assert_eq!(
            (answer.status, &answer.body["field"]),
            (400, &json!("body")),
            "{} characters",
            body.len()
        );
    }
    for body in [json!({}), json!({"body": 7}), json!([1]), json!({"body": null})] {
        assert_eq!(exchange.write(body.clone()).await.status, 400, "{body}");
    }
    let form = text("lead-1")
        .by(SALES)
        .text("application/x-www-form-urlencoded", "body=hi");
    assert_eq!(exchange.send(form).await.status, 415);
    assert_eq!(
        exchange
            .write(json!({"body": "x".repeat(1024 * 1024)}))
            .await
            .status,
        413
    );
    assert_eq!(
        exchange.write(json!({"body": "ह".repeat(1_000)})).await.status,
        201
    );
    assert_eq!(exchange.posts().len(), 1);
}

#[tokio::test]
async fn a_refused_busy_or_unconfirmed_text_is_answered_as_a_call_is() {
    for (fault, status, word) in [
        (ApiFault::Balance, 502, None),
        (ApiFault::Unavailable, 202, Some("queued")),
        (ApiFault::RateLimited, 202, Some("queued")),
        (ApiFault::ResetAfterAccept, 202, Some("unconfirmed")),
    ] {
        let exchange = Exchange::new().await;
        exchange.next(fault);
        let answer = exchange.write(json!({"body": "Hello"})).await;
        assert_eq!(
            (answer.status, answer.body["status"].as_str()),
            (status, word.or(answer.body["status"].as_str())),
            "{fault:?}: {answer:?}"
        );
        let queued = exchange.take_queued();
        let waits = matches!(fault, ApiFault::Unavailable | ApiFault::RateLimited);
        assert_eq!(queued.len(), usize::from(waits), "{fault:?}");
        assert!(
            queued.iter().all(|task| task["type"] == "send_sms.v1"),
            "{queued:?}"
        );
    }
}

#[tokio::test]
async fn the_events_of_the_repository_are_answered() {
    let exchange = Exchange::new().await;
    for name in ["click-to-call.ok", "send-sms.ok"] {
        let answer = exchange.send(Event::file(name).by(SALES)).await;
        assert_eq!(answer.status, 201, "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn a_body_of_a_click_does_not_matter_unless_it_is_huge() {
    let exchange = Exchange::new().await;
    let with = |body: &str| click("lead-1").by(SALES).text("application/json", body);
    assert_eq!(exchange.send(with(&"x".repeat(1024 * 1024))).await.status, 413);
    assert_eq!(exchange.send(with("{}")).await.status, 201);
    assert_eq!(exchange.send(with("nothing")).await.status, 201);
    assert_eq!(exchange.posts().len(), 1, "the second is the first");
}
