//! What a Passthru applet tells, in a query, in a form and as JSON.

use std::collections::BTreeMap;

use exotel::callback::{BodyForm, CallbackError, PassthruCall, PassthruLeg};
use exotel::{CallSid, CallStatus, CallType, Direction, ExotelTime, default_zone};
use proptest::prelude::*;

const SID: &str = "5f0c1d2e3a4b4c5d8e9f0a1b2c3d162m";

/// Behind a Connect applet, as it has been seen: `null` for what is absent, quoted digits, two forms of time.
const BEHIND_CONNECT: &str = "CallSid=5f0c1d2e3a4b4c5d8e9f0a1b2c3d162m&CallFrom=09811100002&CallTo=08045550100&CallStatus=completed\
&Direction=incoming&Created=Wed%2C%2023%20Feb%202022%2012%3A31%3A59&DialCallDuration=17&RecordingUrl=https%3A%2F%2Fs3-ap-southeast-1.amazonaws.com%2Fexotelrecordings%2Facme1%2F5f0c162n.mp3\
&StartTime=2022-02-23+12%3A31%3A59&EndTime=1970-01-01+05%3A30%3A00&DialCallStatus=completed&CallType=completed&DialWhomNumber=09811100001\
&RecordingAvailableBy=Wed%2C%2023%20Feb%202022%2012%3A37%3A41&flow_id=228040&tenant_id=112233&From=09811100002&To=0XXXXXX0100\
&CurrentTime=2022-02-23+12%3A32%3A41&digits=%221%22&CustomField=lead%3A7f3&ForwardedFrom=null&ProcessStatus=null&OutgoingPhoneNumber=08045550100\
&Legs%5B0%5D%5BNumber%5D=09811100001&Legs%5B0%5D%5BType%5D=single&Legs%5B0%5D%5BOnCallDuration%5D=17&Legs%5B0%5D%5BCallerId%5D=08045550100\
&Legs%5B0%5D%5BCauseCode%5D=16&Legs%5B0%5D%5BCause%5D=NORMAL_CLEARING&Legs%5B1%5D%5BCauseCode%5D=1003&Legs%5B1%5D%5BCause%5D=RING_TIMEOUT";

fn sid() -> CallSid {
    SID.parse().unwrap()
}

fn query(query: &str) -> Result<PassthruCall, CallbackError> {
    PassthruCall::parse(None, b"", Some(query))
}

fn instant(time: &Option<ExotelTime>) -> String {
    let time = time.as_ref().unwrap();
    time.instant(&default_zone()).unwrap().unwrap().to_string()
}

#[test]
fn every_key_is_read() {
    let call = query(BEHIND_CONNECT).unwrap();
    assert_eq!(call.call_sid, sid());
    assert_eq!(
        (call.call_from.as_deref(), call.call_to.as_deref()),
        (Some("09811100002"), Some("08045550100"))
    );
    assert_eq!(
        (call.from.as_deref(), call.to.as_deref()),
        (Some("09811100002"), Some("0XXXXXX0100"))
    );
    assert_eq!(
        (&call.call_status, &call.dial_call_status, &call.call_type),
        (
            &Some(CallStatus::Completed),
            &Some(CallStatus::Completed),
            &Some(CallType::Completed)
        )
    );
    assert_eq!(call.direction, Some(Direction::Inbound));
    assert_eq!(instant(&call.created), "2022-02-23T07:01:59Z");
    assert_eq!(instant(&call.start_time), "2022-02-23T07:01:59Z");
    assert_eq!(instant(&call.current_time), "2022-02-23T07:02:41Z");
    assert_eq!(instant(&call.recording_available_by), "2022-02-23T07:07:41Z");
    assert_eq!(call.end_time, None);
    assert_eq!(call.dial_call_duration_secs, Some(17));
    assert_eq!(call.dial_whom_number.as_deref(), Some("09811100001"));
    assert!(call.recording_url.as_deref().unwrap().ends_with("/5f0c162n.mp3"));
    assert_eq!(
        (call.digits.as_deref(), call.custom_field.as_deref()),
        (Some("1"), Some("lead:7f3"))
    );
    assert_eq!(
        (call.flow_id.as_deref(), call.tenant_id.as_deref()),
        (Some("228040"), Some("112233"))
    );
    assert_eq!((&call.forwarded_from, &call.process_status), (&None, &None));
    assert_eq!(call.outgoing_phone_number.as_deref(), Some("08045550100"));
    let first = PassthruLeg {
        number: Some("09811100001".into()),
        leg_type: Some("single".to_owned()),
        on_call_duration_secs: Some(17),
        caller_id: Some("08045550100".into()),
        cause_code: Some("16".to_owned()),
        cause: Some("NORMAL_CLEARING".to_owned()),
    };
    let second = PassthruLeg {
        cause_code: Some("1003".to_owned()),
        cause: Some("RING_TIMEOUT".to_owned()),
        ..PassthruLeg::default()
    };
    assert_eq!(call.legs, [first, second]);
    assert!(call.stream.is_empty());
}

#[test]
fn a_sid_is_enough_and_the_word_null_is_nothing() {
    let nulls = format!(
        "CallSid={SID}&CallFrom=null&DialCallStatus=null&RecordingUrl=null&digits=%22%22&CustomField=&EndTime=Thu, 01 Jan 1970 05:30:00\
         &Stream=null&Legs=null&CallType=NULL"
    );
    assert_eq!(query(&nulls).unwrap(), PassthruCall::bare(sid()));
    assert!(matches!(
        query("CallFrom=1"),
        Err(CallbackError::MissingSid { field: "CallSid" })
    ));
    assert!(matches!(query(""), Err(CallbackError::Empty)));
}

#[test]
fn digits_lose_their_quotes_and_nothing_else() {
    for (sent, read) in [
        ("%221%22", Some("1")),
        ("%22%201*2%23%22", Some("1*2#")),
        ("1", Some("1")),
        ("%220%22", Some("0")),
        ("%22null%22", None),
        ("%22%22", None),
        ("", None),
    ] {
        let call = query(&format!("CallSid=a&digits={sent}")).unwrap();
        assert_eq!(call.digits.as_deref(), read, "{sent}");
    }
}

#[test]
fn a_stream_is_read_from_keys_and_from_json_without_what_opens_it() {
    let keys = "CallSid=a&Stream[StreamSID]=6f04&stream[status]=completed&Stream[Duration]=28\
        &Stream[RecordingUrl]=https://recordings.exotel.com/exotelrecordings/acme1/6f04.mp3\
        &Stream[StreamUrl]=wss://user:SECRET@bot.example.in/media?token=SECRET&Stream[DisconnectedBy]=bot&Stream[Error]=null";
    let json = r#"CallSid=a&Stream={"StreamSID":"6f04","Status":"completed","Duration":28,"StreamUrl":"wss://user:SECRET@bot.example.in/media?token=SECRET",
        "RecordingUrl":"https://recordings.exotel.com/exotelrecordings/acme1/6f04.mp3","DisconnectedBy":"bot"}"#;
    let expected = BTreeMap::from(
        [
            ("StreamSID", "6f04"),
            ("Status", "completed"),
            ("Duration", "28"),
            (
                "RecordingUrl",
                "https://recordings.exotel.com/exotelrecordings/acme1/6f04.mp3",
            ),
            ("StreamUrl", "wss://bot.example.in/media"),
            ("DisconnectedBy", "bot"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    assert_eq!(query(keys).unwrap().stream, expected);
    assert_eq!(query(json).unwrap().stream, expected);
    let body = br#"{"CallSid":"a","Stream":{"StreamSID":"6f04","NewKey":"x"}}"#;
    let read = PassthruCall::parse(Some("application/json"), body, None).unwrap();
    assert_eq!(
        (read.stream["StreamSID"].as_str(), read.stream["newkey"].as_str()),
        ("6f04", "x")
    );
    assert!(query("CallSid=a&Stream={broken").unwrap().stream.is_empty());
}

#[test]
fn a_post_is_read_as_well_and_its_body_wins() {
    let read = PassthruCall::parse(
        Some("application/x-www-form-urlencoded"),
        BEHIND_CONNECT.as_bytes(),
        Some("token=S&rule=known-lead&digits=9"),
    )
    .unwrap();
    assert_eq!(read, query(BEHIND_CONNECT).unwrap());
}

fn text() -> impl Strategy<Value = Option<String>> {
    let some = "[A-Za-z0-9&=%+;:/ह✓ _-]{1,24}"
        .prop_filter("absent values do not come back", |text: &String| {
            text.trim() == text && !text.eq_ignore_ascii_case("null") && !text.is_empty()
        });
    proptest::option::of(some)
}

fn passthru() -> impl Strategy<Value = PassthruCall> {
    let leg = (text(), text(), any::<Option<u32>>()).prop_map(|(number, cause, secs)| PassthruLeg {
        number: number.map(Into::into),
        cause,
        on_call_duration_secs: secs,
        cause_code: Some("16".to_owned()),
        ..PassthruLeg::default()
    });
    let texts = (text(), text(), text(), text(), text());
    let stream = proptest::option::of(("[a-z0-9]{1,8}", "[a-z0-9]{1,8}"));
    (
        "[0-9a-z]{32}",
        texts,
        "[0-9*#]{0,5}",
        proptest::collection::vec(leg, 0..4),
        stream,
    )
        .prop_map(|(sid, texts, digits, legs, stream)| {
            let (from, status, custom_field, call_type, created) = texts;
            PassthruCall {
                call_from: from.map(Into::into),
                dial_call_status: status.as_deref().map(CallStatus::from_wire),
                custom_field,
                call_type: call_type.as_deref().map(CallType::from_wire),
                created: created.as_deref().and_then(ExotelTime::from_wire),
                digits: (!digits.is_empty()).then_some(digits),
                legs,
                stream: stream
                    .map(|(id, status)| {
                        BTreeMap::from([("StreamSID".to_owned(), id), ("Status".to_owned(), status)])
                    })
                    .unwrap_or_default(),
                ..PassthruCall::incoming(sid.parse().unwrap())
            }
        })
}

proptest! {
    #[test]
    fn what_is_built_is_read_back_from_a_query_and_from_every_body(call in passthru()) {
        prop_assert_eq!(&query(&call.to_query()).unwrap(), &call);
        for form in [BodyForm::Json, BodyForm::Urlencoded, BodyForm::Multipart] {
            let sent = call.encode(form);
            let read = PassthruCall::parse(Some(&sent.content_type), &sent.body, Some("token=S")).unwrap();
            prop_assert_eq!(&read, &call);
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic(body in proptest::collection::vec(any::<u8>(), 0..300), query in "\\PC{0,120}") {
        let _ = PassthruCall::parse(None, &body, Some(&query));
    }

    #[test]
    fn no_credentials_of_a_stream_get_through(
        host in "[a-z]{1,8}\\.in",
        before in "[a-z:@]{0,8}",
        after in "[a-z/?#=@]{0,8}",
    ) {
        let url = format!("wss://{before}SECRET@{host}/media?t=SECRET{after}");
        let json = serde_json::json!({"CallSid": "a", "Stream": {"StreamUrl": url}}).to_string();
        let read = PassthruCall::parse(Some("application/json"), json.as_bytes(), None).unwrap();
        prop_assert!(!read.stream["StreamUrl"].contains("SECRET"));
    }
}
