//! One call of the account, as we know it and as the Exotel simulator does.

use std::sync::Arc;

use crm::{Crm, call_record::CallRecordDoor};
use domain::{
    access::Role,
    call::{CallReport, CallState, ReportSource},
    call_record::{Direction, Link, Party, RecordReport, Said},
    ids::CallSid,
    outbound_limit::Class,
    phone::Country,
};
use dynamo::Dynamo;
use exotel_simulator::{ApiFault, ApiRule, Faults, Inbound, Operation, Options, Simulator};
use lambda_kit::{
    config::{CorsConfig, OutboundConfig, Settings},
    http::{Request, answer},
    https,
    init::Boot,
};
use serde_json::{Value, json};
use table::Table;

use crate::{
    call_record,
    house::{self, ADMIN, Answer, Event, HEAD, House, SALES, at, call, lead},
    outbound::Hands,
};

const ROUTE: &str = "/api/admin/calls/{sid}";
const SID: &str = "5f0c1d2e3a4b4c5d8e9f0a1b2c3d196k";

fn path(sid: &str, query: &str) -> String {
    format!("/api/admin/calls/{sid}{query}")
}

fn sid(text: &str) -> CallSid {
    text.parse().unwrap()
}

/// A settled inbound call, as the list tells of it.
fn settled(of: &str) -> RecordReport {
    let party = |text| Party::read(text, Country::IN);
    let mut report = RecordReport::new(sid(of), ReportSource::List, Some(CallState::Completed));
    report.said = Said {
        created_at: Some(at(0)),
        ended_at: Some(at(60_000)),
        direction: Some(Direction::Inbound),
        from: party("09811100002"),
        to: party("08045550100"),
        exophone: party("08045550100"),
        dialled: party("09811100001"),
        duration_secs: Some(60),
        talk_secs: Some(41),
        price: Some("0.600".to_owned()),
        digits: Some("9811100002".to_owned()),
        custom_field: Some("call back 09811100002".to_owned()),
        recording_url: Some("https://recordings.exotel.com/exotelrecordings/acme1/a.mp3".to_owned()),
        uri: Some("/v1/Accounts/acme1/Calls.json/x".to_owned()),
        flow_id: Some("228040".to_owned()),
        ..Said::default()
    };
    for (name, value) in [
        ("Legs[0][Number]", "09811100001"),
        ("Stream[RecordingUrl]", "https://recordings.exotel.com/b.mp3"),
    ] {
        report.extra.insert(name.to_owned(), value.to_owned());
    }
    report
}

/// The call of the example event.
pub(crate) async fn keep_settled_record(table: &Table) {
    table.merge_call_record(&sid(SID), &[settled(SID)]).await.unwrap();
}

/// The door, a table, and a simulated Exotel in which an hour is a moment.
struct Desk {
    _dynamo: Dynamo,
    table: Table,
    exotel: exotel_simulator::Handle,
    door: CallRecordDoor,
    hands: Arc<Hands>,
}

impl Desk {
    async fn new() -> Self {
        let options = Options {
            speed: f64::INFINITY,
            ..Options::default()
        };
        let exotel = Simulator::start(options).await.unwrap();
        let dynamo = Dynamo::start().await;
        let (url, endpoint) = (exotel.url().to_owned(), dynamo.endpoint_url().to_owned());
        let settings = Settings::new(move |name| {
            let value = match name {
                "AWS_REGION" => "ap-south-1",
                "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "local",
                "AWS_ENDPOINT_URL" => &endpoint,
                "TABLE_NAME" => dynamo::TABLE_NAME,
                "JWT_SECRET" => house::JWT_SECRET,
                "SIGNING_KEY" => "another secret of thirty-two characters",
                "EXOTEL_SID" => "acme1",
                "EXOTEL_API_KEY" => "simkey",
                "EXOTEL_API_TOKEN" => "simtoken",
                "EXOTEL_CALLER_ID" => "08045550100",
                "EXOTEL_SUBDOMAIN" => &url,
                _ => return None,
            };
            Some(value.to_owned())
        });
        let boot = Boot::new(settings, house::now()).await.unwrap();
        let limits = OutboundConfig::from_env(boot.settings()).unwrap();
        let crm = Crm::from_boot(&boot).unwrap();
        let hands = Arc::new(Hands::default());
        Self {
            table: Table::new(dynamo.client(), dynamo::TABLE_NAME),
            door: CallRecordDoor::new(crm, limits, https::client().unwrap(), hands.clone()),
            hands,
            _dynamo: dynamo,
            exotel,
        }
    }

    async fn ask(&self, who: (&str, Role), sid: &str, query: &str) -> Answer {
        let event = Event::new("GET", ROUTE, &path(sid, query)).by(who);
        let request = Request::from_event(&event.0.to_string()).unwrap();
        let response = answer(&CorsConfig::default(), request, async |request| {
            Box::pin(call_record::handle(&self.door, request, house::now())).await
        })
        .await;
        Answer {
            status: response.status().as_u16(),
            location: None,
            body: serde_json::from_str(response.body()).unwrap(),
        }
    }

    /// A call that came in and has settled, of which nobody told us.
    async fn inbound(&self) -> String {
        let sid = self.exotel.inbound(Inbound::from("+919811100001")).unwrap();
        self.settle().await;
        sid
    }

    async fn settle(&self) {
        self.exotel
            .calls_until(|calls| calls.iter().all(|call| call.settled))
            .await;
    }

    /// A call placed through CCM that has settled.
    async fn ccm(&self, customer: &str) -> String {
        let body = json!({
            "from": {"user_contact_uri": "+919811150001"}, "to": {"customer_contact_uri": customer},
            "virtual_number": "08045550100", "custom_field": "ticket:88",
        });
        let placed = https::client()
            .unwrap()
            .post(format!("{}/v2/accounts/acme1/calls", self.exotel.url()))
            .basic_auth("simkey", Some("simtoken"))
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        let placed: Value = serde_json::from_str(&placed.text().await.unwrap()).unwrap();
        let sid = placed["response"]["call_details"]["call_sid"].as_str();
        let sid = sid.unwrap_or_else(|| panic!("{placed}")).to_owned();
        self.settle().await;
        sid
    }

    /// What happens to every request for a call's details, v1's and CCM's.
    fn fault(&self, fault: ApiFault) {
        let rule = |on| ApiRule {
            fault,
            on: Some(on),
            rate: None,
            next: None,
        };
        self.exotel.set_faults(Faults {
            api: vec![rule(Operation::CallDetails), rule(Operation::Ccm)],
            ..Faults::default()
        });
    }

    /// Paths that were asked for since the last time.
    fn asked(&self) -> Vec<String> {
        self.exotel
            .requests()
            .into_iter()
            .filter(|request| request.method == "GET")
            .map(|request| request.path)
            .collect()
    }
}

#[tokio::test]
async fn a_call_that_nobody_told_of_is_asked_for_once_and_kept() {
    let desk = Desk::new().await;
    let sid_text = desk.inbound().await;
    let first = desk.ask(ADMIN, &sid_text, "").await;
    assert_eq!(first.status, 200, "{first:?}");
    let told = &first.body;
    for (name, value) in [
        ("sid", json!(sid_text)),
        ("state", json!("completed")),
        ("outcome", json!("connected")),
        ("direction", json!("inbound")),
        ("customer", json!("+919811100001")),
        ("exophone", json!("+918045550100")),
        ("status", json!("completed")),
        ("settled", json!(true)),
        ("called_back", json!(false)),
        ("link", Value::Null),
        ("stale", json!(false)),
        ("stale_reason", Value::Null),
    ] {
        assert_eq!(told[name], value, "{name} in {told}");
    }
    for name in [
        "created_at",
        "ended_at",
        "duration_secs",
        "talk_secs",
        "price",
        "recording_url",
    ] {
        assert!(!told[name].is_null(), "{name} in {told}");
    }
    let kept = desk.table.call_record(&sid(&sid_text)).await.unwrap().unwrap();
    assert!(kept.record.is_settled());
    // It has settled: nobody is asked again, unless somebody wants it.
    assert_eq!(desk.ask(ADMIN, &sid_text, "?refresh=false").await.body, *told);
    assert_eq!(desk.asked().len(), 1);
    assert_eq!(desk.ask(ADMIN, &sid_text, "?refresh=true").await.body, *told);
    assert_eq!(
        desk.asked(),
        vec![format!("/v1/Accounts/acme1/Calls/{sid_text}.json"); 2]
    );
    let unchanged = desk.table.call_record(&sid(&sid_text)).await.unwrap().unwrap();
    assert_eq!(unchanged.rev, kept.rev, "nothing was news, nothing was written");
}

#[tokio::test]
async fn a_call_of_ccm_is_found_there_and_told_in_both_words() {
    let desk = Desk::new().await;
    let talked = desk.ccm("+919811100001").await;
    let unanswered = desk.ccm("+919811100002").await;
    let told = desk.ask(ADMIN, &unanswered, "?source=ccm").await;
    assert_eq!(told.status, 200, "{told:?}");
    for (name, value) in [
        ("state", json!("no-answer")),
        ("outcome", json!("not_picked")),
        ("direction", json!("outbound")),
        ("from", json!("+919811150001")),
        ("to", json!("+919811100002")),
        ("leg1_status", json!("completed")),
        ("leg2_status", json!("no-answer")),
        ("custom_field", json!("ticket:88")),
        ("price", Value::Null),
        ("settled", json!(false)),
        ("stale", json!(false)),
    ] {
        assert_eq!(told.body[name], value, "{name} in {}", told.body);
    }
    assert_eq!(told.body["extra"]["call_status"], "customer_unanswered");
    assert!(told.body["agent_user_id"].is_string());
    assert_eq!(desk.asked(), [format!("/v2/accounts/acme1/calls/{unanswered}")]);
    // v1 does not know it: then CCM is asked.
    desk.exotel.set_faults(Faults {
        api: vec![ApiRule {
            fault: ApiFault::NotFound,
            on: Some(Operation::CallDetails),
            rate: None,
            next: None,
        }],
        ..Faults::default()
    });
    let told = desk.ask(ADMIN, &talked, "").await;
    assert_eq!(
        (told.status, &told.body["outcome"]),
        (200, &json!("connected")),
        "{told:?}"
    );
    assert_eq!(desk.asked().len(), 3);
    assert_eq!(
        desk.ask(ADMIN, &talked, "?source=v1").await.body["stale_reason"],
        "Exotel does not know this call"
    );
}

#[tokio::test]
async fn a_call_that_nobody_knows_is_404_and_leaves_no_record() {
    let desk = Desk::new().await;
    for (query, requests) in [("", 2), ("?source=v1", 3), ("?source=ccm", 4)] {
        let unknown = desk.ask(ADMIN, SID, query).await;
        assert_eq!(
            (unknown.status, unknown.body["code"].as_str()),
            (404, Some("not_found")),
            "{unknown:?}"
        );
        assert_eq!(desk.asked().len(), requests, "{query}");
    }
    assert_eq!(desk.table.call_record(&sid(SID)).await.unwrap(), None);
    // An account without CCM: its refusal does not turn "unknown" into "unheard".
    desk.exotel.set_faults(Faults {
        api: vec![ApiRule {
            fault: ApiFault::Unauthorized,
            on: Some(Operation::Ccm),
            rate: None,
            next: None,
        }],
        ..Faults::default()
    });
    assert_eq!(desk.ask(ADMIN, SID, "").await.status, 404);
}

#[tokio::test]
async fn when_exotel_is_not_heard_the_record_is_stale_and_without_one_it_is_503() {
    let desk = Desk::new().await;
    let mut report = settled(SID);
    report.said.price = None;
    desk.table.merge_call_record(&sid(SID), &[report]).await.unwrap();
    for (fault, why) in [
        (ApiFault::RateLimited, "Exotel asks to try again later"),
        (ApiFault::Unavailable, "Exotel asks to try again later"),
        (ApiFault::Unauthorized, "Exotel refused the request"),
        (ApiFault::Gateway, "Exotel's answer cannot be read"),
        (ApiFault::Empty500, "Exotel's answer cannot be read"),
        (ApiFault::Reset, "Exotel does not answer"),
    ] {
        desk.fault(fault);
        // A 429 pushes everybody's next slot away.
        desk.hands.pass(jiff::SignedDuration::from_mins(2));
        let stale = desk.ask(ADMIN, SID, "").await;
        assert_eq!(
            (stale.status, &stale.body["stale"]),
            (200, &json!(true)),
            "{fault:?}: {stale:?}"
        );
        let reason = stale.body["stale_reason"].as_str().unwrap();
        assert!(reason.starts_with(why), "{fault:?}: {reason}");
        assert_eq!(stale.body["duration_secs"], 60);
        desk.hands.pass(jiff::SignedDuration::from_mins(2));
        let unheard = desk.ask(ADMIN, "90d3b6f2e8174a5cbb41f7e06c83193v", "").await;
        assert_eq!(
            (unheard.status, unheard.body["code"].as_str()),
            (503, Some("exotel_unavailable")),
            "{fault:?}"
        );
        assert!(
            unheard.body["detail"].as_str().unwrap().contains(why),
            "{unheard:?}"
        );
    }
    // A settled record does not need Exotel, until somebody insists.
    desk.table
        .merge_call_record(&sid(SID), &[settled(SID)])
        .await
        .unwrap();
    assert_eq!(desk.ask(ADMIN, SID, "").await.body["stale"], false);
    assert_eq!(desk.ask(ADMIN, SID, "?refresh=true").await.body["stale"], true);
}

#[tokio::test]
async fn without_a_slot_nobody_is_asked() {
    let desk = Desk::new().await;
    let later = house::now() + jiff::SignedDuration::from_mins(5);
    desk.table.push_forward(Class::Voice, later).await.unwrap();
    let unheard = desk.ask(ADMIN, SID, "").await;
    assert_eq!(unheard.status, 503);
    assert!(
        unheard.body["detail"]
            .as_str()
            .unwrap()
            .contains("too many requests"),
        "{unheard:?}"
    );
    assert_eq!(desk.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn what_exotel_says_of_a_call_of_ours_reaches_its_row() {
    let desk = Desk::new().await;
    let sid_text = desk.inbound().await;
    desk.table.put_lead(&lead("lead-1")).await.unwrap();
    let ours = call(1);
    desk.table.create_call(&ours).await.unwrap();
    let mut accepted = CallReport::new(ReportSource::Callback, Some(CallState::Accepted));
    accepted.sid = Some(sid(&sid_text));
    desk.table
        .record_call_report(&ours.locator, &accepted)
        .await
        .unwrap();
    let link = Link {
        locator: ours.locator.clone(),
        called_by: "sales-1".parse().unwrap(),
    };
    desk.table.link_call_record(&sid(&sid_text), &link).await.unwrap();
    let told = desk.ask(ADMIN, &sid_text, "").await;
    assert_eq!(
        told.body["link"],
        json!({"call_id": ours.locator.id, "lead_id": "lead-1", "called_by": "sales-1"})
    );
    let row = desk.table.call(&ours.locator).await.unwrap().unwrap();
    assert_eq!(row.exotel().unwrap().progress.state, CallState::Completed);
    assert!(row.duration_secs().is_some());
}

/// A house without an account, so that nobody can be asked, with a settled record in it.
async fn unconfigured() -> House {
    let house = House::with(&[]).await;
    keep_settled_record(&house.table).await;
    house
}

#[tokio::test]
async fn sales_heads_see_four_digits_and_no_recording_and_salespeople_nothing() {
    let house = unconfigured().await;
    let whole = house.get(ADMIN, ROUTE, &path(SID, "")).await;
    assert_eq!(whole.body["from"], "+919811100002");
    assert_eq!(whole.body["extra"]["Legs[0][Number]"], "09811100001");
    assert!(whole.body["recording_url"].as_str().unwrap().ends_with("a.mp3"));
    let masked = house.get(HEAD, ROUTE, &path(SID, "")).await;
    assert_eq!(masked.status, 200);
    let text = masked.body.to_string();
    for hidden in ["98111", "80455", "recordings.exotel.com"] {
        assert!(!text.contains(hidden), "{text}");
    }
    assert_eq!(masked.body["from"], "…0002");
    assert_eq!(
        (&masked.body["recording_url"], &masked.body["has_recording"]),
        (&Value::Null, &json!(true))
    );
    assert_eq!(
        (&masked.body["sid"], &masked.body["flow_id"]),
        (&json!(SID), &json!("228040"))
    );
    assert_eq!(masked.body["price"], "0.600");
    assert_eq!(house.get(SALES, ROUTE, &path(SID, "")).await.status, 403);
}

#[tokio::test]
async fn every_field_of_the_view_is_there_and_null_when_nothing_is_known() {
    let house = unconfigured().await;
    let bare = RecordReport::new(sid("bare"), ReportSource::Callback, None);
    house
        .table
        .merge_call_record(&sid("bare"), &[bare])
        .await
        .unwrap();
    let keys = |answer: &Answer| {
        answer
            .body
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let full = house.get(ADMIN, ROUTE, &path(SID, "")).await;
    let bare = house.get(ADMIN, ROUTE, &path("bare", "")).await;
    assert_eq!(keys(&full), keys(&bare));
    assert!(keys(&full).iter().all(|key| !key.contains(char::is_uppercase)));
    assert_eq!(bare.body["stale_reason"], "Exotel is not configured here");
    let nothing = house.get(ADMIN, ROUTE, &path("zzz", "")).await;
    assert_eq!(
        (nothing.status, nothing.body["code"].as_str()),
        (503, Some("exotel_not_configured"))
    );
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_400_and_names_the_field() {
    let house = unconfigured().await;
    for (sid, query, field) in [
        ("a-b", "", "sid"),
        ("%2e%2e", "", "sid"),
        (&"a".repeat(65) as &str, "", "sid"),
        (SID, "?source=v9", "source"),
        (SID, "?refresh=perhaps", "refresh"),
    ] {
        let answer = house.get(ADMIN, ROUTE, &path(sid, query)).await;
        assert_eq!(
            (answer.status, answer.body["field"].as_str()),
            (400, Some(field)),
            "{answer:?}"
        );
    }
}
