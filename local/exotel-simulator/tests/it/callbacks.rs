//! Status callbacks: their fields, forms, order, faults and retries.

use exotel_simulator::{BodyForm, CallScript, CallbackScript, Faults, Options, Script, Timings};
use serde_json::{Value, json};

use crate::harness::{Receiver, callbacks_done, calls_done, fast, sid, start, within};

const BOTH: [(&str, &str); 2] = [
    ("StatusCallbackEvents[0]", "terminal"),
    ("StatusCallbackEvents[1]", "answered"),
];

fn subscribed<'a>(receiver: &'a Receiver, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("StatusCallback", receiver.url.as_str())], &BOTH[..], more].concat()
}

#[tokio::test]
async fn answered_comes_once_per_leg_and_terminal_last() {
    let receiver = Receiver::start(&[]).await;
    let (handle, api) = start(Options {
        default_form: BodyForm::Urlencoded,
        ..fast()
    })
    .await;
    let more = subscribed(&receiver, &[("Record", "true"), ("CustomField", "lead:7f3")]);
    let call = api.call("+919811109999", &more).await;
    callbacks_done(&handle, 3).await;
    let got = receiver.received();
    let field = |at: usize, name: &str| got[at].field(name);
    let text = |value: &str| Some(value.to_owned());
    let events: Vec<_> = (0..3).map(|at| field(at, "EventType").unwrap()).collect();
    assert_eq!(events, ["answered", "answered", "terminal"]);
    // Leg 1 is up, leg 2 rings.
    assert_eq!(field(0, "Status"), text("in-progress"));
    assert_eq!(field(0, "Legs[0][Status]"), text("in-progress"));
    assert_eq!(field(0, "Legs[1][Status]"), text(""));
    assert_eq!(field(0, "EndTime"), text(""));
    assert_eq!(field(1, "Legs[1][Status]"), text("in-progress"));
    for at in 0..3 {
        assert_eq!(field(at, "CallSid").unwrap(), sid(&call));
        assert_eq!(
            (field(at, "From"), field(at, "To")),
            (text("09811100001"), text("09811109999"))
        );
    }
    assert_eq!(
        (field(0, "CustomField"), field(1, "CustomField")),
        (None, None),
        "only terminal carries it"
    );
    assert_eq!(field(2, "CustomField"), text("lead:7f3"));
    assert_eq!(field(2, "Status"), text("completed"));
    assert_eq!(field(2, "ConversationDuration"), text("37"));
    assert_eq!(field(2, "Legs[0][OnCallDuration]"), text("42"));
    assert_eq!(field(2, "Legs[1][OnCallDuration]"), text("37"));
    let recording = field(2, "RecordingUrl").unwrap();
    assert!(
        recording.starts_with(&format!("{}/recordings/", handle.url())),
        "{recording}"
    );
    assert!(
        !recording.contains(&sid(&call)),
        "a recording's id is not the CallSid"
    );
}

#[tokio::test]
async fn without_events_one_short_callback_comes_at_the_end() {
    let receiver = Receiver::start(&[]).await;
    let (handle, api) = start(Options {
        default_form: BodyForm::Urlencoded,
        ..fast()
    })
    .await;
    api.call("+919811100003", &[("StatusCallback", &receiver.url)])
        .await;
    callbacks_done(&handle, 1).await;
    let got = &receiver.received()[0];
    let names: Vec<_> = form_urlencoded::parse(got.body.as_bytes())
        .map(|(name, _)| name.into_owned())
        .collect();
    assert_eq!(names, ["CallSid", "DateUpdated", "Status", "RecordingUrl"]);
    assert_eq!(got.field("Status").unwrap(), "busy");
}

#[tokio::test]
async fn a_call_without_to_gets_events_only_where_that_is_switched_on() {
    for (events_without_to, expected) in [(false, 1), (true, 3)] {
        let receiver = Receiver::start(&[]).await;
        let form = BodyForm::Urlencoded;
        let (handle, api) = start(Options {
            events_without_to,
            default_form: form,
            ..fast()
        })
        .await;
        let fields = [
            ("From", "+919811109999"),
            ("CallerId", "08045550100"),
            ("StreamUrl", "ws://127.0.0.1:9/media"),
            ("StreamType", "bidirectional"),
            ("StatusCallback", &receiver.url),
            ("StatusCallbackEvents[]", "terminal,answered"),
            ("StatusCallbackEvents[]", "ringing"),
        ];
        assert_eq!(
            api.post("/v1/Accounts/acme1/Calls/connect", &fields).await.status,
            200
        );
        callbacks_done(&handle, expected).await;
        calls_done(&handle, 1).await;
        let events: Vec<_> = receiver
            .received()
            .iter()
            .map(|got| got.field("EventType"))
            .collect();
        let word = |word: &str| Some(word.to_owned());
        if events_without_to {
            assert_eq!(events, [word("ringing"), word("answered"), word("terminal")]);
        } else {
            assert_eq!(events, [None]);
        }
    }
}

#[tokio::test]
async fn the_body_has_the_form_that_was_asked_for() {
    let receiver = Receiver::start(&[]).await;
    let (handle, api) = start(fast()).await;
    let asked = [
        "",
        "multipart/form-data",
        "application/json",
        "application/x-www-form-urlencoded",
    ];
    for (at, form) in asked.into_iter().enumerate() {
        let more = [
            ("StatusCallback", receiver.url.as_str()),
            BOTH[0],
            ("StatusCallbackContentType", form),
        ];
        api.call("+919811109999", &more).await;
        callbacks_done(&handle, at + 1).await;
    }
    let got = receiver.received();
    for multipart in &got[..2] {
        let boundary = multer::parse_boundary(&multipart.content_type).unwrap();
        let body = multipart.body.clone();
        let stream = futures_util::stream::once(async move { Ok::<_, std::io::Error>(body) });
        let mut parts = multer::Multipart::new(stream, boundary);
        let mut fields = Vec::new();
        while let Some(part) = parts.next_field().await.unwrap() {
            fields.push((part.name().unwrap().to_owned(), part.text().await.unwrap()));
        }
        assert!(
            fields.contains(&("Legs[1][Status]".to_owned(), "completed".to_owned())),
            "{fields:?}"
        );
    }
    assert_eq!(got[2].content_type, "application/json");
    let json: Value = serde_json::from_str(&got[2].body).unwrap();
    assert_eq!(json["ConversationDuration"], 37);
    assert_eq!(
        json["Legs"][1],
        json!({"OnCallDuration": 37, "Status": "completed", "AnsweredBy": "NA"})
    );
    assert_eq!(got[3].content_type, "application/x-www-form-urlencoded");
    assert_eq!(got[3].field("Legs[1][Status]").unwrap(), "completed");
}

#[tokio::test]
async fn a_form_can_be_forced_and_absent_values_can_be_the_word_null() {
    let receiver = Receiver::start(&[]).await;
    let options = Options {
        force_form: Some(BodyForm::Urlencoded),
        literal_nulls: true,
        ..fast()
    };
    let (handle, api) = start(options).await;
    let more = subscribed(&receiver, &[("StatusCallbackContentType", "application/json")]);
    api.call("+919811100004", &more).await;
    callbacks_done(&handle, 1).await;
    let got = &receiver.received()[0];
    assert_eq!(got.field("RecordingUrl").unwrap(), "null");
    assert_eq!(got.field("Legs[1][Status]").unwrap(), "null");
    assert_eq!(got.field("Status").unwrap(), "no-answer");
}

#[tokio::test]
async fn suffixes_decide_what_becomes_of_callbacks() {
    let receiver = Receiver::start(&[]).await;
    let (handle, api) = start(Options {
        default_form: BodyForm::Urlencoded,
        ..fast()
    })
    .await;
    // What each receives, and how many entries that makes in the journal, dropped ones included.
    let table: [(&str, &[&str], usize); 6] = [
        ("0031", &[], 3),
        ("0032", &["answered", "answered"], 3),
        ("0033", &["terminal"], 3),
        (
            "0034",
            &[
                "answered", "answered", "answered", "answered", "terminal", "terminal",
            ],
            6,
        ),
        ("0035", &["answered", "answered", "terminal"], 3),
        ("0036", &["answered", "answered", "terminal"], 3),
    ];
    for (suffix, expected, entries) in table {
        handle.reset();
        let before = receiver.received().len();
        api.call(&format!("+91981110{suffix}"), &subscribed(&receiver, &[]))
            .await;
        callbacks_done(&handle, entries).await;
        let got = &receiver.received()[before..];
        let mut events: Vec<_> = got.iter().map(|got| got.field("EventType").unwrap()).collect();
        if suffix == "0035" {
            assert_eq!(events[0], "terminal", "it overtakes what should come before it");
        }
        events.sort();
        assert_eq!(events, expected, "{suffix}");
    }
}

#[tokio::test]
async fn sparse_and_placeholder_callbacks_come_by_suffix() {
    let receiver = Receiver::start(&[]).await;
    let (handle, api) = start(Options {
        default_form: BodyForm::Urlencoded,
        ..fast()
    })
    .await;
    let terminal = [
        ("StatusCallback", receiver.url.as_str()),
        BOTH[0],
        ("CustomField", "lead:1"),
    ];
    api.call("+919811100038", &terminal).await;
    callbacks_done(&handle, 1).await;
    api.call("+919811100039", &terminal).await;
    callbacks_done(&handle, 2).await;
    let got = receiver.received();
    assert_eq!(got[0].field("Status").unwrap(), "completed");
    for missing in [
        "ConversationDuration",
        "EndTime",
        "RecordingUrl",
        "Legs[0][Status]",
        "CustomField",
    ] {
        assert_eq!(got[0].field(missing), None, "{missing}");
    }
    assert_eq!(got[1].field("EndTime").unwrap(), "1970-01-01 05:30:00");
}

#[tokio::test]
async fn a_callback_that_is_not_taken_is_sent_twice_more() {
    let receiver = Receiver::start(&[500, 302, 503]).await;
    let (handle, api) = start(fast()).await;
    api.call("+919811109999", &[("StatusCallback", &receiver.url)])
        .await;
    callbacks_done(&handle, 3).await;
    let attempts: Vec<_> = handle
        .callbacks()
        .iter()
        .map(|callback| (callback.attempt, callback.status))
        .collect();
    assert_eq!(attempts, [(1, Some(500)), (2, Some(302)), (3, Some(503))]);
    // One more call: had a fourth attempt been due, it would have come before this.
    api.call("+919811109999", &[("StatusCallback", &receiver.url)])
        .await;
    callbacks_done(&handle, 4).await;
    assert_eq!(receiver.received().len(), 4);
}

#[tokio::test]
async fn nobody_listening_is_journalled_and_tried_again() {
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let timings = Timings {
        retry_ms: vec![1],
        ..Timings::default()
    };
    let (handle, api) = start(Options { timings, ..fast() }).await;
    api.call(
        "+919811109999",
        &[("StatusCallback", &format!("http://{unused}/hook"))],
    )
    .await;
    callbacks_done(&handle, 2).await;
    for callback in handle.callbacks() {
        assert_eq!(callback.status, None);
        assert!(callback.error.is_some());
    }
    handle.reset();
    api.call(
        "+919811109999",
        &[("StatusCallback", "https://hooks.example.in/x")],
    )
    .await;
    callbacks_done(&handle, 1).await;
    assert!(
        handle.callbacks()[0]
            .error
            .as_ref()
            .unwrap()
            .contains("plain http")
    );
}

#[tokio::test]
async fn a_receiver_that_never_answers_is_given_up_on() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let timings = Timings {
        retry_ms: vec![],
        ..Timings::default()
    };
    let (handle, api) = start(Options {
        timings,
        callback_timeout_ms: 20,
        ..fast()
    })
    .await;
    api.call("+919811109999", &[("StatusCallback", &url)]).await;
    callbacks_done(&handle, 1).await;
    assert!(handle.callbacks()[0].error.as_ref().unwrap().contains("20 ms"));
    drop(listener);
}

#[tokio::test]
async fn faults_by_rule_repeat_with_their_seed() {
    let run = async |seed: u64| {
        let receiver = Receiver::start(&[]).await;
        let (handle, api) = start(Options {
            seed: Some(seed),
            ..fast()
        })
        .await;
        let faults: Faults = serde_json::from_value(json!({
            "seed": 11,
            "callbacks": [{"fault": "drop", "rate": 0.4}, {"fault": "duplicate", "rate": 0.3, "event": "terminal"}]
        }))
        .unwrap();
        handle.set_faults(faults);
        for n in 0..8 {
            api.call(&format!("+91981110999{n}"), &subscribed(&receiver, &[]))
                .await;
        }
        // Each call journals its terminal callback, sent or dropped.
        within(handle.journal_until(|entries| {
            let sent = entries.iter().filter_map(|entry| entry.callback());
            sent.filter(|callback| {
                callback.event == "terminal" && callback.fault.as_deref() != Some("duplicate")
            })
            .count()
                == 8
        }))
        .await;
        let mut dropped: Vec<_> = handle
            .callbacks()
            .iter()
            .filter(|callback| callback.fault.as_deref() == Some("dropped"))
            .map(|callback| {
                let to = callback.params.get("To").unwrap().to_owned();
                (
                    to,
                    callback.event.clone(),
                    callback.params.get("Legs[1][Status]").unwrap().to_owned(),
                )
            })
            .collect();
        dropped.sort();
        dropped
    };
    let first = run(1).await;
    assert!(!first.is_empty() && first.len() < 24, "{first:?}");
    assert_eq!(first, run(2).await);
}

#[tokio::test]
async fn a_script_of_callbacks_leaves_the_call_alone() {
    let receiver = Receiver::start(&[]).await;
    let (handle, api) = start(fast()).await;
    let callbacks = CallbackScript {
        form: Some(BodyForm::Json),
        ..CallbackScript::default()
    };
    let call = CallScript {
        answered_by: Some("HUMAN".to_owned()),
        ..CallScript::default()
    };
    handle.script(Script {
        callbacks,
        call,
        ..Script::default()
    });
    api.call("+919811109999", &[("StatusCallback", &receiver.url), BOTH[0]])
        .await;
    callbacks_done(&handle, 1).await;
    let json: Value = serde_json::from_str(&receiver.received()[0].body).unwrap();
    assert_eq!(json["Status"], "completed");
    assert_eq!(json["Legs"][1]["AnsweredBy"], "HUMAN");
}
