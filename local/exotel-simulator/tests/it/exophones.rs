//! ExoPhones: their lists, their health, their own throttle.

use std::sync::atomic::Ordering;

use exotel_simulator::{Account, ExophoneHealth, Options};
use serde_json::{Value, json};

use crate::harness::{Answer, Api, calls_done, fast, manual_clock, start, within};

const BETA: &str = "/v2_beta/Accounts/acme1/IncomingPhoneNumbers";
const V1: &str = "/v1/Accounts/acme1/IncomingPhoneNumbers";
const V2: &str = "/v2/accounts/acme1/incoming-phone-numbers";

fn account(exophones: &[&str]) -> Account {
    Account {
        exophones: exophones.iter().map(|number| (*number).to_owned()).collect(),
        ..Account::new("acme1", "simkey", "simtoken")
    }
}

fn with_exophones(exophones: &[&str]) -> Options {
    Options {
        accounts: vec![account(exophones)],
        ..fast()
    }
}

/// Status and code of a refusal in the envelope of v2.
fn envelope(answer: &Answer) -> (u16, i64) {
    let json = answer.json();
    assert_eq!(json["http_code"], answer.status, "{json}");
    assert_eq!(json["response"]["code"], answer.status);
    assert_eq!(json["response"]["status"], "failure");
    assert_eq!(json["response"]["data"], Value::Null);
    (
        answer.status,
        json["response"]["error_data"]["code"].as_i64().unwrap(),
    )
}

async fn set(api: &Api, health: Value) {
    let answer = api.sim("POST", "/_sim/exophones", health).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn v2_beta_pages_by_number_and_its_uris_lead_elsewhere() {
    let numbers: Vec<String> = (0..5).map(|n| format!("0804555010{n}")).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let (_handle, api) = start(with_exophones(&numbers)).await;
    let mut seen = Vec::new();
    for page in 0..3 {
        let answer = api.get(&format!("{BETA}?Page={page}&PageSize=2")).await;
        assert_eq!(
            answer.header(http::header::CONTENT_TYPE),
            "application/json",
            "there is no XML here"
        );
        let json = answer.json();
        assert_eq!((&json["page"], &json["page_size"]), (&json!(page), &json!(2)));
        let uri = |page: i64| json!(format!("http://twilix.exotel.com{BETA}?Page={page}&PageSize=2"));
        assert_eq!((&json["uri"], &json["first_page_uri"]), (&uri(page), &uri(0)));
        let next = if page < 2 { uri(page + 1) } else { Value::Null };
        let previous = if page > 0 { uri(page - 1) } else { Value::Null };
        assert_eq!(json["next_page_uri"], next);
        assert_eq!(json["previous_page_uri"], previous);
        for number in json["incoming_phone_numbers"].as_array().unwrap() {
            assert_eq!(number["capabilities"], json!({"voice": true, "sms": true}));
            seen.push(number["sid"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(seen, numbers);
    assert_eq!(api.get(BETA).await.json()["page_size"], 50);
    for wrong in ["Page=-1", "PageSize=0", "PageSize=101", "Page=x"] {
        assert_eq!(
            api.get(&format!("{BETA}?{wrong}")).await.refusal(),
            (400, None),
            "{wrong}"
        );
    }
    let one = api.get(&format!("{BETA}/08045550101")).await.json();
    assert_eq!(one["phone_number"], "08045550101");
    assert_eq!(one.get("connectivity"), None, "health is v2's");
    assert_eq!(
        api.get(&format!("{BETA}/08045550999")).await.refusal(),
        (404, None)
    );
}

#[tokio::test]
async fn v1_wraps_each_number_and_has_xml_too() {
    let (_handle, api) = start(with_exophones(&["08045550100", "08045550101", "08045550102"])).await;
    let json = api.get(&format!("{V1}.json?PageSize=2")).await.json();
    let numbers = json["IncomingPhoneNumbers"].as_array().unwrap();
    assert_eq!(numbers.len(), 2);
    assert_eq!(numbers[1]["IncomingPhoneNumber"]["PhoneNumber"], "08045550101");
    assert_eq!(json["Metadata"]["Total"], 3);
    assert_eq!(json["Metadata"]["PrevPageUri"], Value::Null);
    let next = json["Metadata"]["NextPageUri"].as_str().unwrap();
    let rest = api.get(next).await.json();
    assert_eq!(rest["IncomingPhoneNumbers"].as_array().unwrap().len(), 1);
    assert_eq!(rest["Metadata"]["NextPageUri"], Value::Null);
    assert!(rest["Metadata"]["PrevPageUri"].is_string());
    let xml = api.get(V1).await;
    assert!(
        xml.text().contains(
            "<IncomingPhoneNumbers><IncomingPhoneNumber><Sid>08045550100</Sid><PhoneNumber>08045550100</PhoneNumber>"
        ),
        "{}",
        xml.text()
    );
}

#[tokio::test]
async fn v2_tells_the_health_of_each_in_the_envelope() {
    let (clock, now) = manual_clock("2026-11-20T08:40:00Z");
    let mut options = with_exophones(&["08045550100", "08045550101"]);
    options.clock = clock;
    let (_handle, api) = start(options).await;
    set(
        &api,
        json!({"number": "+918045550100", "incoming": "major_outage", "alternate_exophone": ["08045550101"],
               "last_check_time": "2026-11-20T08:39:41Z"}),
    )
    .await;
    let json = api.get(&format!("{V2}/08045550100")).await.json();
    assert_eq!(
        (&json["method"], &json["http_code"]),
        (&json!("GET"), &json!(200))
    );
    assert_eq!(json["request_id"].as_str().unwrap().len(), 32);
    assert_eq!(json["response"]["status"], "success");
    let data = &json["response"]["data"];
    assert_eq!(data["sid"], "08045550100");
    let incoming = json!({"status": "major_outage", "last_check_time": "2026-11-20T08:39:41Z",
                          "alternate_exophone": ["08045550101"]});
    let outgoing = json!({"status": "active", "last_check_time": "2026-11-20T08:40:00Z",
                          "alternate_exophone": null});
    assert_eq!(
        data["connectivity"],
        json!({"incoming_call": incoming, "outgoing_call": outgoing})
    );

    now.fetch_add(60_000, Ordering::SeqCst);
    set(
        &api,
        json!([{"sid": "08045550100", "incoming": "active"},
               {"sid": "08045550101", "outgoing": "on_fire", "alternate_exophone": "08045550100"}]),
    )
    .await;
    let list = api.get(&format!("{V2}?offset=0&limit=10")).await.json();
    assert_eq!(
        list["metadata"],
        json!({"total": 2, "count": 2, "offset": 0, "limit": 10})
    );
    let first = &list["response"][0]["data"]["connectivity"];
    assert_eq!(
        first["incoming_call"],
        json!({"status": "active", "last_check_time": "2026-11-20T08:41:00Z", "alternate_exophone": null})
    );
    let second = &list["response"][1]["data"]["connectivity"];
    assert_eq!(second["outgoing_call"]["status"], "on_fire", "any word will do");
    assert_eq!(second["outgoing_call"]["alternate_exophone"], "08045550100");
    let rest = api.get(&format!("{V2}?offset=1&limit=1")).await.json();
    assert_eq!(rest["response"].as_array().unwrap().len(), 1);
    assert_eq!(rest["response"][0]["data"]["sid"], "08045550101");
    assert_eq!(envelope(&api.get(&format!("{V2}?limit=51")).await), (400, 1_002));
}

#[tokio::test]
async fn v2_data_can_stand_at_the_top() {
    let options = Options {
        exophones_at_top: true,
        ..with_exophones(&["08045550100"])
    };
    let (_handle, api) = start(options).await;
    let one = api.get(&format!("{V2}/08045550100")).await.json();
    assert_eq!(one["connectivity"]["incoming_call"]["status"], "active");
    assert_eq!(one.get("response"), None);
    let list = api.get(V2).await.json();
    assert_eq!(list[0]["connectivity"]["outgoing_call"]["status"], "active");
    assert_eq!(
        envelope(&api.get(&format!("{V2}/1")).await),
        (404, 10_716),
        "refusals keep the envelope"
    );
}

#[tokio::test]
async fn v2_refuses_in_its_own_envelope() {
    let mut options = with_exophones(&["08045550100"]);
    options.accounts.push(Account::new("acme2", "key2", "token2"));
    let (handle, api) = start(options).await;
    let target = format!("{V2}/08045550100");
    let refused = async |api: Api| envelope(&api.get(&target).await);
    assert_eq!(refused(api.clone().anonymous()).await, (401, 1_010));
    assert_eq!(refused(api.clone().login("simkey", "wrong")).await, (401, 1_010));
    assert_eq!(refused(api.clone().login("key2", "token2")).await, (403, 403));
    assert_eq!(
        envelope(&api.get(&format!("{V2}/08099999999")).await),
        (404, 10_716)
    );
    assert_eq!(envelope(&api.get("/v2/accounts/acme1/nothing").await), (404, 404));
    assert_eq!(
        Api::of(&handle)
            .login("simkey", "wrong")
            .get(BETA)
            .await
            .refusal(),
        (401, Some(34_010)),
        "v2_beta is of v1's kind"
    );
}

#[tokio::test]
async fn exophones_have_a_throttle_of_their_own() {
    let (clock, now) = manual_clock("2026-11-20T08:00:00Z");
    let options = Options {
        clock,
        exophone_limit: 3,
        voice_limit: 1,
        ..with_exophones(&["08045550100"])
    };
    let (handle, api) = start(options).await;
    for target in [BETA.to_owned(), format!("{V2}/08045550100"), V2.to_owned()] {
        assert_eq!(api.get(&target).await.status, 200, "{target}");
    }
    assert_eq!(envelope(&api.get(V2).await), (429, 429));
    assert_eq!(api.get(BETA).await.refusal(), (429, None));
    api.call("+919811109999", &[]).await;
    let rates = handle.rates()["acme1"].clone();
    assert_eq!((rates.exophones.received, rates.exophones.refused), (5, 2));
    assert_eq!((rates.voice.received, rates.voice.refused), (1, 0));
    now.fetch_add(60_000, Ordering::SeqCst);
    assert_eq!(api.get(V2).await.status, 200);
    let seen = api.get("/_sim/rate").await.json();
    assert_eq!(seen["acme1"]["exophones"]["limit"], 3);
}

#[tokio::test]
async fn numbers_appear_when_the_account_was_given_none() {
    let (handle, api) = start(fast()).await;
    assert!(
        api.get(BETA).await.json()["incoming_phone_numbers"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    set(&api, json!({"sid": "08045550100", "incoming": "major_outage"})).await;
    set(&api, json!({"number": "08045550101", "sid": "exo101"})).await;
    let json = api.get(V2).await.json();
    assert_eq!(json["response"][0]["data"]["phone_number"], "08045550100");
    assert_eq!(json["response"][1]["data"]["sid"], "exo101");
    assert_eq!(api.get(&format!("{V2}/exo101")).await.status, 200);
    assert_eq!(
        envelope(&api.get(&format!("{V2}/08045550101")).await),
        (404, 10_716)
    );
    // The sid is what calls carry from now on.
    let fields = [
        ("From", "+919811100001"),
        ("To", "+919811109999"),
        ("CallerId", "08045550101"),
    ];
    let placed = api
        .post("/v1/Accounts/acme1/Calls/connect.json", &fields)
        .await
        .json();
    assert_eq!(placed["Call"]["PhoneNumberSid"], "exo101");
    calls_done(&handle, 1).await;
    let listed = api
        .get("/v1/Accounts/acme1/Calls.json?PhoneNumber=08045550101")
        .await
        .json();
    assert_eq!(listed["Metadata"]["Total"], 1);
    assert_eq!(handle.exophones().len(), 2);
    let seen = api.sim("GET", "/_sim/exophones", ().into()).await.json();
    assert_eq!(seen[0]["incoming"]["status"], "major_outage");
    handle.reset();
    assert!(handle.exophones().is_empty());
}

#[tokio::test]
async fn a_number_that_is_not_the_accounts_is_refused_and_nothing_is_set() {
    let (handle, api) = start(with_exophones(&["08045550100"])).await;
    let healthy = handle.exophones();
    for wrong in [
        json!({"number": "08045550999", "incoming": "active"}),
        json!({"incoming": "active"}),
        json!({"number": "hello"}),
        json!({"number": "08045550100", "incomming": "active"}),
        json!({"account": "acme9", "number": "08045550100"}),
        json!([{"number": "08045550100", "incoming": "major_outage"}, {"number": "08045550999"}]),
    ] {
        let answer = api.sim("POST", "/_sim/exophones", wrong.clone()).await;
        assert_eq!(answer.status, 400, "{wrong}");
    }
    assert_eq!(handle.exophones(), healthy);
    let health = ExophoneHealth {
        number: Some("08045550100".to_owned()),
        outgoing: Some("partial_network_outage".to_owned()),
        ..ExophoneHealth::default()
    };
    handle.set_exophones(vec![health]).unwrap();
    assert_eq!(handle.exophones()[0].outgoing.status, "partial_network_outage");
    handle.reset();
    assert_eq!(handle.exophones(), healthy, "a reset heals");
}

#[tokio::test]
async fn faults_reach_lists_and_details_apart() {
    let (handle, api) = start(with_exophones(&["08045550100"])).await;
    let details = format!("{V2}/08045550100");
    let rules = json!({"api": [{"fault": "unavailable", "on": "exophone_details", "next": 1},
                               {"fault": "rate_limited", "on": "exophone_list", "next": 2},
                               {"fault": "unauthorized", "on": "exophone_details", "next": 1},
                               {"fault": "empty500", "on": "exophone_details", "next": 1},
                               {"fault": "gateway", "on": "exophone_details", "next": 1},
                               {"fault": "hang", "on": "exophone_details", "next": 1}]});
    api.sim("PUT", "/_sim/faults", rules).await;
    assert_eq!(envelope(&api.get(V2).await), (429, 429));
    assert_eq!(api.get(BETA).await.refusal(), (429, None));
    assert_eq!(envelope(&api.get(&details).await), (503, 503));
    assert_eq!(envelope(&api.get(&details).await), (401, 1_010));
    let empty = api.get(&details).await;
    assert_eq!((empty.status, empty.text()), (500, ""));
    assert_eq!(api.get(&details).await.status, 502);
    let hung = handle.journal_until(|entries| {
        let mut requests = entries.iter().filter_map(|entry| entry.request());
        requests.any(|request| request.fault.as_deref() == Some("hang"))
    });
    tokio::select! {
        answer = api.get(&details) => panic!("answered: {answer:?}"),
        () = within(hung) => {}
    }
    assert_eq!(api.get(&details).await.status, 200);
    assert_eq!(api.get(BETA).await.status, 200);
}
