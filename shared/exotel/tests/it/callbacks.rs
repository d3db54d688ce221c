//! Callbacks in every form in which they have been seen, and in forms in which nobody should send them.

use exotel::callback::{BodyForm, CallStatusCallback, CallbackError, Leg, SmsStatusCallback};
use exotel::{AnsweredBy, CallEvent, CallStatus, CcmStatus, Direction, SmsStatus, default_zone};
use proptest::prelude::*;

const SID: &str = "5f0c1d2e3a4b4c5d8e9f0a1b2c3d196k";

const FORMS: [BodyForm; 3] = [BodyForm::Json, BodyForm::Urlencoded, BodyForm::Multipart];

const TERMINAL: &str = r#"{"CallSid":"5f0c1d2e3a4b4c5d8e9f0a1b2c3d196k","EventType":"terminal","DateCreated":"2026-11-20 14:03:11",
"DateUpdated":"2026-11-20 14:06:02","Status":"completed","To":"09811100002","From":"09811100001",
"PhoneNumberSid":"08045550100","StartTime":"2026-11-20 14:03:12","EndTime":"2026-11-20 14:05:58",
"ConversationDuration":121,"Direction":"outbound-api","CustomField":"lead:7f3",
"RecordingUrl":"https://recordings.exotel.com/exotelrecordings/acme1/5f0c1d2e3a4b4c5d8e9f0a1b2c3d196l.mp3",
"Legs":[{"OnCallDuration":139,"Status":"completed","AnsweredBy":"NA"},{"OnCallDuration":121,"Status":"completed","AnsweredBy":"HUMAN"}]}"#;

const ANSWERED: &str = "CallSid=5f0c1d2e3a4b4c5d8e9f0a1b2c3d196k&EventType=answered&Status=in-progress&DateCreated=2026-11-20 14:03:11\
&DateUpdated=2026-11-20 14:03:19&From=09811100001&To=09811100002&PhoneNumberSid=08045550100&StartTime=2026-11-20 14:03:12\
&EndTime=1970-01-01 05:30:00&ConversationDuration=0&Direction=outbound-api&RecordingUrl=null&Legs[0][OnCallDuration]=0\
&Legs[0][Status]=in-progress&Legs[1][OnCallDuration]=0&Legs[1][Status]=";

const SMS: &str = "SmsSid=7c1b2a3d4e5f6071829304a5b6c7d8e9&To=09811100002&Status=sent&SmsUnits=1&DetailedStatus=DELIVERED_TO_HANDSET\
&DetailedStatusCode=20005&DateSent=2026-11-20+14%3A10%3A06&CustomField=otp%3A991";

fn call(content_type: Option<&str>, body: &str) -> Result<CallStatusCallback, CallbackError> {
    CallStatusCallback::parse(content_type, body.as_bytes(), None)
}

fn sid() -> exotel::CallSid {
    SID.parse().unwrap()
}

#[test]
fn a_json_terminal_event_is_read_whole() {
    let read = call(Some("application/json"), TERMINAL).unwrap();
    assert_eq!(read, CallStatusCallback::completed(sid()));
    let end = read.end_time.unwrap().instant(&default_zone()).unwrap().unwrap();
    assert_eq!(end.to_string(), "2026-11-20T08:35:58Z");
    assert_eq!(read.legs[1].answered_by, Some(AnsweredBy::Human));
}

#[test]
fn a_form_answered_event_is_read_whole() {
    let read = call(Some("application/x-www-form-urlencoded"), ANSWERED).unwrap();
    assert_eq!(read, CallStatusCallback::answered(sid()));
    assert_eq!((read.recording_url, read.end_time), (None, None));
}

#[test]
fn a_wrong_or_missing_content_type_does_not_matter() {
    let expected = CallStatusCallback::completed(sid());
    for form in FORMS {
        let sent = expected.encode(form);
        for content_type in [
            None,
            Some(""),
            Some("text/plain"),
            Some("application/json"),
            Some("application/x-www-form-urlencoded; charset=UTF-8"),
            Some("multipart/form-data"),
            Some("multipart/form-data; boundary=another"),
            Some(sent.content_type.as_str()),
        ] {
            let read = CallStatusCallback::parse(content_type, &sent.body, None).unwrap();
            assert_eq!(read, expected, "{form} as {content_type:?}");
        }
    }
}

#[test]
fn a_query_string_is_a_body_too_and_fills_what_a_body_leaves_out() {
    let read = CallStatusCallback::parse(None, b"", Some(ANSWERED)).unwrap();
    assert_eq!(read, CallStatusCallback::answered(sid()));
    let read =
        CallStatusCallback::parse(None, b"Status=busy", Some("CallSid=a&Status=completed&token=S")).unwrap();
    assert_eq!((read.call_sid.as_str(), read.status), ("a", CallStatus::Busy));
}

#[test]
fn sid_and_status_are_enough_and_everything_else_may_be_null() {
    let bare = CallStatusCallback::bare(sid(), CallStatus::NoAnswer);
    assert_eq!(
        call(None, &format!("CallSid={SID}&Status=no-answer")).unwrap(),
        bare
    );
    let nulls = format!(
        r#"{{"CallSid":"{SID}","Status":"no-answer","To":null,"From":"null","EndTime":"","Legs":null,"RecordingUrl":"null","ConversationDuration":"null","Price":null}}"#
    );
    assert_eq!(call(None, &nulls).unwrap(), bare);
}

#[test]
fn field_names_of_other_sources_are_understood() {
    let read = call(None, "Sid=a&call_status=failed&duration=12&ParentCallSid=p&Price=1.5&ForwardedFrom=09811100009&CallerName=Asha&Leg1Status=completed&Leg2Status=busy").unwrap();
    assert_eq!(
        (read.status, read.duration_secs, read.price.as_deref()),
        (CallStatus::Failed, Some(12), Some("1.5"))
    );
    assert_eq!(read.legs[1].status, Some(CallStatus::Busy));
    assert_eq!(read.caller_name.as_deref(), Some("Asha"));
}

#[test]
fn unknown_words_are_kept() {
    let read = call(
        None,
        "CallSid=a&Status=teleported&EventType=beamed&Direction=sideways",
    )
    .unwrap();
    assert_eq!(read.status, CallStatus::Other("teleported".to_owned()));
    assert_eq!(read.event_type, Some(CallEvent::Other("beamed".to_owned())));
    assert_eq!(read.direction, Some(Direction::Other("sideways".to_owned())));
}

#[test]
fn bytes_that_are_not_utf8_cost_only_their_field() {
    let read = CallStatusCallback::parse(
        Some("application/json"),
        b"{\"CallSid\":\"a\",\"Status\":\"busy\",\"CallerName\":\"\xff\xfe\"}",
        None,
    );
    assert_eq!(read.unwrap().status, CallStatus::Busy);
    let read = CallStatusCallback::parse(
        None,
        b"\xef\xbb\xbfCallSid=a&Status=busy&CallerName=%ff\xff",
        None,
    );
    assert_eq!(read.unwrap().status, CallStatus::Busy);
}

/// The shape seen live from CCM.
const CCM: &str = r#"{"event_details":{"event_type":"terminal"},
 "call_details":{"call_sid":"5f0c1d2e3a4b4c5d8e9f0a1b2c3d196k","direction":"outbound","virtual_number":"+918045550100","call_state":"terminal",
 "call_status":"customer_unanswered","assigned_agent_details":{"user_id":"4b1e","user_name":"Asha R"},
 "customer_details":{"contact_uri":"+919811100002","status":"no-answer"},"total_talk_time":0,"total_duration":null,
 "recordings":null,"custom_field":"ticket:88"}}"#;

#[test]
fn a_ccm_callback_is_read_into_v1s_words() {
    let read = call(Some("application/json"), CCM).unwrap();
    assert_eq!(
        (read.call_sid.as_str(), &read.status, &read.event_type),
        (SID, &CallStatus::NoAnswer, &Some(CallEvent::Terminal))
    );
    assert_eq!(
        (read.to.as_deref(), read.phone_number_sid.as_deref()),
        (Some("+919811100002"), Some("+918045550100"))
    );
    assert_eq!(
        (
            read.conversation_duration_secs,
            read.duration_secs,
            &read.recording_url
        ),
        (Some(0), None, &None)
    );
    assert_eq!(
        (&read.direction, read.custom_field.as_deref()),
        (&Some(Direction::OutboundApi), Some("ticket:88"))
    );
    let legs: Vec<_> = read.legs.iter().map(|leg| leg.status.clone()).collect();
    assert_eq!(legs, [Some(CallStatus::Completed), Some(CallStatus::NoAnswer)]);
    assert_eq!(
        read.event_key(),
        format!("{SID}|terminal|no-answer|completed,no-answer")
    );
    let ccm = read.ccm.unwrap();
    assert_eq!(ccm.status, Some(CcmStatus::CustomerUnanswered));
    assert_eq!(
        (ccm.agent.user_id.as_deref(), ccm.agent.name.as_deref()),
        (Some("4b1e"), Some("Asha R"))
    );
}

#[test]
fn a_ccm_call_under_way_is_in_progress_and_v1s_shape_is_not_mistaken_for_ccms() {
    let answered = r#"{"event_details":{"event_type":"answered"},"call_details":{"call_sid":"a","call_state":"active","call_status":null}}"#;
    let read = call(None, answered).unwrap();
    assert_eq!(
        (read.status, read.event_type, read.legs.len()),
        (CallStatus::InProgress, Some(CallEvent::Answered), 0)
    );
    let both = r#"{"CallSid":"a","Status":"busy","call_details":{"call_sid":"b","call_status":"completed"}}"#;
    let read = call(None, both).unwrap();
    assert_eq!(
        (read.call_sid.as_str(), read.status, read.ccm),
        ("a", CallStatus::Busy, None)
    );
    for (body, told) in [
        (
            r#"{"call_details":{"call_sid":"a"}}"#,
            "the callback about a has no Status",
        ),
        (
            r#"{"call_details":{"call_sid":"a/b","call_state":"active"}}"#,
            "the callback's call_sid is no sid",
        ),
        (
            r#"{"call_details":{"call_state":"active"}}"#,
            "the callback has no CallSid",
        ),
    ] {
        assert_eq!(call(None, body).unwrap_err().to_string(), told);
    }
}

#[test]
fn an_error_says_what_is_missing() {
    for (body, told) in [
        ("", "the callback is empty"),
        ("  \r\n", "the callback is empty"),
        ("Status=busy", "the callback has no CallSid"),
        ("hello", "the callback has no CallSid"),
        ("CallSid=a", "the callback about a has no Status"),
        ("CallSid=a&Status=null", "the callback about a has no Status"),
        ("CallSid=a/b&Status=busy", "the callback's CallSid is no sid"),
        (
            "{\"CallSid\":",
            "the callback's body cannot be read as JSON: Eof error at line 1, column 11",
        ),
        (
            "[1,2]",
            "the callback's body cannot be read as JSON: not an object",
        ),
    ] {
        assert_eq!(call(None, body).unwrap_err().to_string(), told, "{body}");
    }
    let cut = call(
        Some("multipart/form-data; boundary=x"),
        "--x\r\nContent-Disposition: form-data; name=\"CallSid\"\r\n\r\na",
    );
    assert!(
        matches!(
            cut,
            Err(CallbackError::Unreadable {
                form: BodyForm::Multipart,
                ..
            })
        ),
        "{cut:?}"
    );
}

#[test]
fn hostile_bodies_are_refused_or_read_but_never_harmful() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let legs = format!(
        "CallSid=a&Status=busy{}",
        "&Legs[4294967295][Status]=busy".repeat(1000)
    );
    let parts = "--x\r\n".repeat(10_000);
    assert!(call(None, &deep).is_err());
    assert!(call(None, &legs).unwrap().legs.is_empty());
    assert!(call(Some("multipart/form-data; boundary=x"), &parts).is_err());
    assert!(call(Some("multipart/form-data; boundary="), "--").is_err());
}

#[test]
fn a_repeated_event_has_the_same_key_in_every_form_and_the_next_event_another() {
    let answered = CallStatusCallback::answered(sid());
    let mut second = answered.clone();
    second.legs[1].status = Some(CallStatus::InProgress);
    let events = [answered, second, CallStatusCallback::completed(sid())];
    let keys: Vec<String> = events.iter().map(CallStatusCallback::event_key).collect();
    assert_eq!(
        keys,
        [
            format!("{SID}|answered|in-progress|in-progress"),
            format!("{SID}|answered|in-progress|in-progress,in-progress"),
            format!("{SID}|terminal|completed|completed,completed"),
        ]
    );
    for (event, key) in events.iter().zip(&keys) {
        for form in FORMS {
            let sent = event.encode(form);
            let read = CallStatusCallback::parse(Some(&sent.content_type), &sent.body, None).unwrap();
            assert_eq!(&read.event_key(), key);
        }
    }
}

#[test]
fn an_sms_callback_is_read_in_every_shape() {
    let read =
        SmsStatusCallback::parse(Some("application/x-www-form-urlencoded"), SMS.as_bytes(), None).unwrap();
    let expected = SmsStatusCallback {
        custom_field: Some("otp:991".to_owned()),
        ..SmsStatusCallback::delivered("7c1b2a3d4e5f6071829304a5b6c7d8e9".parse().unwrap())
    };
    assert_eq!(read, expected);
    assert_eq!(read.event_key(), "7c1b2a3d4e5f6071829304a5b6c7d8e9|sent|20005");
    let old = SmsStatusCallback::parse(
        None,
        b"SmsSid=a&Status=failed_dnd&DateUpdated=2026-11-20 14:10:06",
        None,
    )
    .unwrap();
    assert_eq!(
        (&old.status, old.event_key().as_str()),
        (&SmsStatus::FailedDnd, "a|failed-dnd|-")
    );
    let guide =
        br#"{"SmsSid":"a","To":"1","From":"ACMEIN","Status":"DELIVERED_TO_HANDSET","ExoStatusCode":20005}"#;
    let guide = SmsStatusCallback::parse(Some("application/json"), guide, None).unwrap();
    assert_eq!(
        (guide.status.as_str(), guide.detailed_status_code),
        ("DELIVERED_TO_HANDSET", Some(20005))
    );
    let missing = SmsStatusCallback::parse(None, b"SmsSid=a", None).unwrap_err();
    assert!(matches!(missing, CallbackError::MissingStatus { sid } if sid == "a"));
}

/// Text that comes back as it was: not blank at the ends, not the word `null`.
fn text() -> impl Strategy<Value = Option<String>> {
    let some = "[A-Za-z0-9&=%+;:/\\[\\]{}\"'ह✓ _-]{1,24}"
        .prop_filter("absent values do not come back", |text: &String| {
            text.trim() == text && !text.eq_ignore_ascii_case("null") && !text.is_empty()
        });
    proptest::option::of(some)
}

fn callback() -> impl Strategy<Value = CallStatusCallback> {
    let words = (text(), text(), text(), text(), text(), text());
    let numbers = (any::<Option<u32>>(), any::<Option<u32>>());
    let leg = (text(), any::<u32>()).prop_map(|(status, secs)| Leg {
        status: status.as_deref().map(CallStatus::from_wire),
        on_call_duration_secs: Some(secs),
        answered_by: None,
    });
    let legs = proptest::collection::vec(leg, 0..4);
    ("[0-9a-z]{32}", words, numbers, legs).prop_map(|(sid, words, numbers, legs)| {
        let (status, event, to, custom_field, caller_name, url) = words;
        CallStatusCallback {
            event_type: event.as_deref().map(CallEvent::from_wire),
            to: to.map(Into::into),
            custom_field,
            caller_name,
            recording_url: url.map(|path| format!("https://recordings.exotel.com/{path}").into()),
            duration_secs: numbers.0,
            conversation_duration_secs: numbers.1,
            legs,
            ..CallStatusCallback::bare(
                sid.parse().unwrap(),
                CallStatus::from_wire(status.as_deref().unwrap_or("busy")),
            )
        }
    })
}

proptest! {
    #[test]
    fn what_is_built_is_read_back_in_every_form(callback in callback()) {
        for form in FORMS {
            let sent = callback.encode(form);
            let read = CallStatusCallback::parse(Some(&sent.content_type), &sent.body, None).unwrap();
            prop_assert_eq!(&read, &callback);
            let unlabelled = CallStatusCallback::parse(None, &sent.body, None).unwrap();
            prop_assert_eq!(&unlabelled, &callback);
        }
    }

    #[test]
    fn no_bytes_make_a_parser_panic(
        content_type in proptest::option::of("(application/json|multipart/form-data; boundary=x|application/x-www-form-urlencoded|\\PC{0,30})"),
        body in proptest::collection::vec(any::<u8>(), 0..300),
        query in proptest::option::of("\\PC{0,60}"),
    ) {
        let _ = CallStatusCallback::parse(content_type.as_deref(), &body, query.as_deref());
        let _ = SmsStatusCallback::parse(content_type.as_deref(), &body, query.as_deref());
    }

    #[test]
    fn nearly_a_callback_does_not_panic_either(
        content_type in "(application/json|multipart/form-data; boundary=\"?x\"?|text/plain)",
        body in "(\\{|\\}|\\[|\\]|\"|:|,|--x|--x--|\r\n|Content-Disposition: form-data; name=|CallSid|Status|Legs|=|&|%|[0-9]|null|\\PC){0,40}",
    ) {
        let _ = CallStatusCallback::parse(Some(&content_type), body.as_bytes(), Some(&body));
        let _ = SmsStatusCallback::parse(Some(&content_type), body.as_bytes(), Some(&body));
    }

    #[test]
    fn a_damaged_callback_is_read_or_refused(callback in callback(), at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        for form in FORMS {
            let mut sent = callback.encode(form);
            let at = at.index(sent.body.len());
            sent.body[at] = byte;
            let _ = CallStatusCallback::parse(Some(&sent.content_type), &sent.body, None);
            sent.body.truncate(at);
            let _ = CallStatusCallback::parse(Some(&sent.content_type), &sent.body, None);
        }
    }
}
