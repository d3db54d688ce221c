//! SMS: one, many, their reports.

use exotel_simulator::{Account, Options};
use serde_json::{Value, json};

use crate::harness::{Api, Receiver, callbacks_done, fast, start, within};

const SEND: &str = "/v1/Accounts/acme1/Sms/send.json";
const BULK: &str = "/v1/Accounts/acme1/Sms/bulksend.json";

fn sms<'a>(to: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [
        &[("From", "ACMEIN"), ("To", to), ("Body", "Your code is 482916")],
        more,
    ]
    .concat()
}

async fn details(api: &Api, sid: &str) -> Value {
    api.get(&format!("/v1/Accounts/acme1/SMS/Messages/{sid}.json"))
        .await
        .json()["SMSMessage"]
        .clone()
}

#[tokio::test]
async fn a_message_is_queued_and_then_sent_with_a_report() {
    let receiver = Receiver::start(&[]).await;
    let (handle, api) = start(fast()).await;
    let more = [
        ("StatusCallback", receiver.url.as_str()),
        ("CustomField", "otp:991"),
    ];
    let answer = api.post(SEND, &sms("+919811109999", &more)).await;
    let message = answer.json()["SMSMessage"].clone();
    assert_eq!((answer.status, &message["Status"]), (200, &json!("queued")));
    assert_eq!(message["DetailedStatusCode"], 21_010);
    assert_eq!(
        (&message["To"], &message["Price"]),
        (&json!("09811109999"), &Value::Null)
    );
    callbacks_done(&handle, 1).await;
    let got = &receiver.received()[0];
    assert_eq!(got.content_type, "application/x-www-form-urlencoded");
    let sid = message["Sid"].as_str().unwrap();
    for (name, value) in [
        ("SmsSid", sid),
        ("To", "09811109999"),
        ("Status", "sent"),
        ("SmsUnits", "1"),
        ("DetailedStatus", "DELIVERED_TO_HANDSET"),
        ("DetailedStatusCode", "20005"),
        ("CustomField", "otp:991"),
    ] {
        assert_eq!(got.field(name).as_deref(), Some(value), "{name}");
    }
    let settled = details(&api, sid).await;
    assert_eq!(
        (&settled["Status"], &settled["DetailedStatusCode"]),
        (&json!("sent"), &json!(20_005))
    );
    assert_eq!(
        (&settled["Price"], &settled["SmsUnits"]),
        (&json!("0.200"), &json!(1))
    );
    assert_eq!(receiver.received().len(), 1, "one report, at the end");
}

#[tokio::test]
async fn suffixes_decide_how_a_message_ends() {
    let (handle, api) = start(fast()).await;
    let table = [
        ("9811109999", "sent", 20_005),
        ("9811100002", "sent", 20_006),
        ("9811100003", "failed", 23_035),
        ("9811100011", "failed-dnd", 23_005),
        ("9811123082", "failed", 23_082),
        ("9811124990", "failed", 24_990),
    ];
    for (number, ..) in table {
        assert_eq!(api.post(SEND, &sms(number, &[])).await.status, 200, "{number}");
    }
    within(handle.messages_until(|all| all.iter().filter(|sms| sms.code != 21_010).count() == table.len()))
        .await;
    within(handle.messages_until(|all| {
        all.iter()
            .all(|sms| ![21_010, 21_015, 21_020].contains(&sms.code))
    }))
    .await;
    for (number, status, code) in table {
        let message = handle
            .messages()
            .into_iter()
            .find(|sms| sms.to.ends_with(number))
            .unwrap();
        assert_eq!(
            (message.status.as_str(), message.code),
            (status, code),
            "{number}"
        );
    }
}

#[tokio::test]
async fn the_report_spells_failed_dnd_with_an_underscore_and_details_with_a_hyphen() {
    let receiver = Receiver::start(&[]).await;
    let (handle, api) = start(fast()).await;
    let answer = api
        .post(SEND, &sms("+919811100011", &[("StatusCallback", &receiver.url)]))
        .await
        .json();
    callbacks_done(&handle, 1).await;
    assert_eq!(receiver.received()[0].field("Status").unwrap(), "failed_dnd");
    assert_eq!(
        details(&api, answer["SMSMessage"]["Sid"].as_str().unwrap()).await["Status"],
        "failed-dnd"
    );
}

#[tokio::test]
async fn an_unknown_sid_is_200_in_words() {
    let (_handle, api) = start(fast()).await;
    let answer = api
        .get("/v1/Accounts/acme1/SMS/Messages/7c1b2a3d4e5f6071829304a5b6c7d8e9.json")
        .await;
    assert_eq!((answer.status, answer.text()), (200, "No matching results"));
}

#[tokio::test]
async fn wrong_requests_get_exotels_codes() {
    let account = Account {
        sender_ids: vec!["ACMEIN".to_owned()],
        ..Account::new("acme1", "simkey", "simtoken")
    };
    let (handle, api) = start(Options {
        accounts: vec![account],
        ..fast()
    })
    .await;
    let to = ("To", "+919811109999");
    let table: [(&[(&str, &str)], i64); 11] = [
        (&[], 40_200),
        (&[to, ("Body", "x")], 40_210),
        (&[("From", ""), to, ("Body", "x")], 40_205),
        (&[("From", "ACMEIN"), ("Body", "x")], 40_203),
        (&[("From", "ACMEIN"), ("To", "12"), ("Body", "x")], 40_203),
        (&[("From", "ACMEIN"), to], 40_202),
        (
            &[("From", "ACMEIN"), to, ("Body", "x"), ("SmsType", "flash")],
            40_204,
        ),
        (
            &[("From", "ACMEIN"), to, ("Body", "x"), ("SmsType", "promotional")],
            40_206,
        ),
        (&[("From", "ACMEIN"), to, ("Body[0]", "x")], 40_207),
        (
            &[("From", "ACMEIN"), to, ("Body", "x"), ("EncodingType", "utf8")],
            40_209,
        ),
        (&[("From", "OTHERS"), to, ("Body", "x")], 40_301),
    ];
    for (fields, code) in table {
        assert_eq!(
            api.post(SEND, fields).await.refusal(),
            (400, Some(code)),
            "{fields:?}"
        );
    }
    assert_eq!(
        api.post("/v1/Accounts/acme1/Sms/sendall.json", &[to])
            .await
            .refusal(),
        (405, Some(40_502))
    );
    for (number, refusal) in [
        ("9811100012", (403, 340_030)),
        ("9811100013", (503, 40_405)),
        ("9811100022", (403, 40_001)),
    ] {
        assert_eq!(
            api.post(SEND, &sms(number, &[])).await.refusal(),
            (refusal.0, Some(refusal.1)),
            "{number}"
        );
    }
    assert!(handle.messages().is_empty());
}

#[tokio::test]
async fn a_text_that_is_too_long_fails_later() {
    let (handle, api) = start(fast()).await;
    let long = "x".repeat(2_001);
    let fields = [
        ("From", "ACMEIN"),
        ("To", "+919811109999"),
        ("Body", long.as_str()),
    ];
    assert_eq!(api.post(SEND, &fields).await.status, 200);
    within(handle.messages_until(|all| all[0].code == 23_070)).await;
}

#[tokio::test]
async fn a_static_bulk_answers_207_and_an_array() {
    let (handle, api) = start(fast()).await;
    let one = api
        .post(
            SEND,
            &[("From", "ACMEIN"), ("Body", "x"), ("To[0]", "9811109999")],
        )
        .await;
    assert_eq!((one.status, one.json().as_array().unwrap().len()), (207, 1));
    let list = api
        .post(
            SEND,
            &[
                ("From", "ACMEIN"),
                ("Body", "x"),
                ("To", "9811109999,12,+919811109998"),
            ],
        )
        .await;
    assert_eq!(list.status, 207);
    let items = list.json();
    assert_eq!(items[0]["SMSMessage"]["To"], "09811109999");
    assert_eq!(items[1]["RestException"]["Code"], 40_203);
    assert_eq!(items[2]["SMSMessage"]["Status"], "queued");
    let xml = api
        .post(
            "/v1/Accounts/acme1/Sms/send",
            &[("From", "ACMEIN"), ("Body", "x"), ("To[]", "9811109999")],
        )
        .await;
    assert!(
        xml.text().contains("<TwilioResponse><SMSMessage><Sid>"),
        "{}",
        xml.text()
    );
    assert_eq!(handle.messages().len(), 4);
    let many: Vec<String> = (0..101).map(|n| format!("98111{n:05}")).collect();
    let too_many = api
        .post(
            SEND,
            &[("From", "ACMEIN"), ("Body", "x"), ("To", &many.join(","))],
        )
        .await;
    assert_eq!(too_many.refusal(), (400, Some(40_406)));
}

#[tokio::test]
async fn a_dynamic_bulk_is_understood_in_every_documented_form() {
    let (handle, api) = start(fast()).await;
    for array in ["Messages", "Message"] {
        let (to0, body0) = (format!("{array}[0][To]"), format!("{array}[0][Body]"));
        let (to1, body1) = (format!("{array}[1][To]"), format!("{array}[1][Body]"));
        let fields = [
            ("From", "ACMEIN"),
            (&to0, "9811109990"),
            (&body0, "first"),
            (&to1, "9811100012"),
            (&body1, "second"),
        ];
        let answer = api.post(BULK, &fields).await;
        assert_eq!(answer.status, 207, "{}", answer.text());
        assert_eq!(answer.json()[0]["SMSMessage"]["Body"], "first");
        assert_eq!(answer.json()[1]["RestException"]["Code"], 340_030);
    }
    let body = json!({"sms": [{"From": "ACMEIN", "To": "9811109991", "Body": "third"}]}).to_string();
    let answer = api
        .try_send("POST", BULK, &[("content-type", "application/json")], body)
        .await
        .unwrap();
    assert_eq!(
        (answer.status, &answer.json()[0]["SMSMessage"]["Body"]),
        (207, &json!("third"))
    );
    assert_eq!(handle.messages().len(), 3);

    assert_eq!(
        api.post(BULK, &[("From", "ACMEIN")]).await.refusal(),
        (400, Some(40_201))
    );
    assert_eq!(
        api.post(BULK, &[("From", "ACMEIN"), ("Messages", "x")])
            .await
            .refusal(),
        (400, Some(40_208))
    );
    let items: Vec<Value> = (0..101)
        .map(|_| json!({"From": "ACMEIN", "To": "9811109991", "Body": "x"}))
        .collect();
    let body = json!({ "sms": items }).to_string();
    let answer = api
        .try_send("POST", BULK, &[("content-type", "application/json")], body)
        .await
        .unwrap();
    assert_eq!(answer.refusal(), (400, Some(40_400)));
}
