//! The messages of AgentStream as documented, as seen live and as nobody has sent them yet; the question that decides which
//! socket is dialled; and what a stream leaves behind.

use std::borrow::Cow;

use exotel::callback::{BodyForm, CallbackError, PassthruCall, StreamRequest};
use exotel::stream::{GetActiveStreams, Incoming, Message, MessageError, StreamUrl, outgoing};
use exotel::{Direction, DisconnectedBy, Error, StopReason, StreamStatus};
use proptest::prelude::*;
use serde_json::json;

use crate::server::Server;

const STREAM_SID: &str = "4e1c9a70d25b4f83a6c0e7d19b52193w";
const CALL_SID: &str = "90d3b6f2e8174a5cbb41f7e06c83193v";

/// Every number as text, as it has been captured.
const START: &str = r#"{"event":"start","sequence_number":"1","stream_sid":"4e1c9a70d25b4f83a6c0e7d19b52193w",
 "start":{"stream_sid":"4e1c9a70d25b4f83a6c0e7d19b52193w","call_sid":"90d3b6f2e8174a5cbb41f7e06c83193v","account_sid":"acme1",
  "from":"09811100002","to":"08045550100","custom_parameters":{"lead":"7f3"},
  "media_format":{"encoding":"base64","sample_rate":"8000","bit_rate":"128kbps"}}}"#;

fn incoming(text: &str) -> Incoming<'_> {
    Message::parse(text).unwrap().incoming
}

#[test]
fn every_documented_message_is_read() {
    assert_eq!(incoming(r#"{"event":"connected"}"#), Incoming::Connected);

    let message = Message::parse(START).unwrap();
    assert_eq!(
        (message.sequence_number, message.stream_sid.as_deref()),
        (Some(1), Some(STREAM_SID))
    );
    let Incoming::Start(start) = message.incoming else {
        panic!("a start")
    };
    assert_eq!(start.stream_sid.as_deref(), Some(STREAM_SID));
    assert_eq!(
        (start.call_sid.as_deref(), start.account_sid.as_deref()),
        (Some(CALL_SID), Some("acme1"))
    );
    assert_eq!(
        (start.from.as_deref(), start.to.as_deref()),
        (Some("09811100002"), Some("08045550100"))
    );
    assert_eq!(start.custom_parameters["lead"], "7f3");
    assert_eq!(start.media_format.sample_rate, Some(8_000));
    assert_eq!(start.media_format.bit_rate.as_deref(), Some("128kbps"));

    let text = r#"{"event":"media","sequence_number":"3","stream_sid":"4e1c","media":{"chunk":"2","timestamp":"200","payload":"AAEC"}}"#;
    let Incoming::Media(media) = incoming(text) else {
        panic!("media")
    };
    assert_eq!(
        (media.chunk, media.timestamp, media.pcm()),
        (Some(2), Some(200), Some(vec![0, 1, 2]))
    );

    let text =
        r#"{"event":"dtmf","sequence_number":"7","stream_sid":"4e1c","dtmf":{"digit":"5","duration":"100"}}"#;
    let Incoming::Dtmf(key) = incoming(text) else {
        panic!("a key")
    };
    assert_eq!((key.digit.as_ref(), key.duration), ("5", Some(100)));

    let text = r#"{"event":"mark","sequence_number":"15","stream_sid":"4e1c","mark":{"name":"greet-end"}}"#;
    let Incoming::Mark(mark) = incoming(text) else {
        panic!("a mark")
    };
    assert_eq!(mark.name, "greet-end");

    let text = r#"{"event":"stop","sequence_number":"20","stream_sid":"4e1c","stop":{"call_sid":"90d3","account_sid":"acme1","reason":"callended"}}"#;
    let Incoming::Stop(stop) = incoming(text) else {
        panic!("a stop")
    };
    assert_eq!(
        (stop.call_sid.as_deref(), stop.reason),
        (Some("90d3"), Some(StopReason::CallEnded))
    );
}

#[test]
fn numbers_may_be_numbers_and_samples_of_the_portal_are_read() {
    let text = r#"{"event":"start","sequence_number":1,"stream_sid":"4e1c","start":{"call_sid":"90d3","from":9811100002,"custom_parameters":{"try":2},
        "media_format":{"encoding":"audio/x-raw","sample_rate":16000,"bit_rate":16}}}"#;
    let message = Message::parse(text).unwrap();
    let Incoming::Start(start) = message.incoming else {
        panic!("a start")
    };
    assert_eq!(
        (message.sequence_number, start.from.as_deref()),
        (Some(1), Some("9811100002"))
    );
    assert_eq!(
        (
            start.media_format.sample_rate,
            start.media_format.bit_rate.as_deref()
        ),
        (Some(16_000), Some("16"))
    );
    assert_eq!(start.custom_parameters["try"], "2");
    // Told once only, it is known in both places.
    assert_eq!(start.stream_sid.as_deref(), Some("4e1c"));
    let text =
        r#"{"media":{"payload":"AAEC","timestamp":200.0,"chunk":2},"sequence_number":3,"event":"media"}"#;
    let Incoming::Media(media) = incoming(text) else {
        panic!("media")
    };
    assert_eq!((media.chunk, media.timestamp), (Some(2), Some(200)));
}

#[test]
fn what_is_missing_is_none() {
    for start in [
        r#"{"event":"start"}"#,
        r#"{"event":"start","start":null}"#,
        r#"{"event":"start","start":{}}"#,
    ] {
        assert_eq!(incoming(start), Incoming::Start(exotel::stream::Start::default()));
    }
    for parameters in ["{}", "null", "[]", "\"\""] {
        let text = format!(
            r#"{{"event":"start","start":{{"from":"null","to":"","custom_parameters":{parameters}}}}}"#
        );
        assert_eq!(
            incoming(&text),
            Incoming::Start(exotel::stream::Start::default()),
            "{text}"
        );
    }
    assert_eq!(
        incoming(r#"{"event":"stop"}"#),
        Incoming::Stop(exotel::stream::Stop::default())
    );
    let text = r#"{"event":"stop","sequence_number":"many","stop":{"reason":"timeout"}}"#;
    let message = Message::parse(text).unwrap();
    assert_eq!(message.sequence_number, None);
    let Incoming::Stop(stop) = message.incoming else {
        panic!("a stop")
    };
    assert_eq!(stop.reason, Some(StopReason::Other("timeout".to_owned())));
}

#[test]
fn an_event_that_nobody_documents_is_passed_over() {
    for (text, event) in [
        (
            r#"{"event":"speechmetrics","speechmetrics":{"level":7}}"#,
            "speechmetrics",
        ),
        (r#"{"event":"","sequence_number":{}}"#, ""),
    ] {
        let expected = Incoming::Other {
            event: Cow::Borrowed(event),
        };
        assert_eq!(incoming(text), expected);
    }
}

#[test]
fn what_is_no_message_is_told_without_its_values() {
    for text in [
        "",
        "null",
        "[]",
        "7",
        "{",
        r#"{"event":"media","media":"AAAA"}"#,
        r#"{"event":"start","start":{"custom_parameters":7}}"#,
    ] {
        assert!(
            matches!(Message::parse(text), Err(MessageError::Unreadable { .. })),
            "{text}"
        );
    }
    for (text, field) in [
        ("{}", "event"),
        (r#"{"event":null}"#, "event"),
        (r#"{"event":"media"}"#, "media.payload"),
        (r#"{"event":"media","media":{"chunk":"1"}}"#, "media.payload"),
        (r#"{"event":"dtmf","dtmf":{}}"#, "dtmf.digit"),
        (r#"{"event":"mark"}"#, "mark.name"),
    ] {
        assert_eq!(
            Message::parse(text),
            Err(MessageError::MissingField { field }),
            "{text}"
        );
    }
    let told = Message::parse(r#"{"event":"start","start":"09811100002"}"#)
        .unwrap_err()
        .to_string();
    assert!(!told.contains("98111"), "{told}");
}

#[test]
fn a_payload_is_borrowed_and_one_with_escapes_is_read_too() {
    let plain = r#"{"event":"media","media":{"payload":"AA/+AA=="}}"#;
    let Incoming::Media(media) = incoming(plain) else {
        panic!("media")
    };
    assert!(matches!(media.payload, Cow::Borrowed(_)));
    // As PHP writes a slash.
    let escaped = r#"{"event":"media","media":{"payload":"AA\/+AA=="}}"#;
    let Incoming::Media(same) = incoming(escaped) else {
        panic!("media")
    };
    assert_eq!(same, media);
    let broken = r#"{"event":"media","media":{"payload":"A*"}}"#;
    let Incoming::Media(broken) = incoming(broken) else {
        panic!("media")
    };
    assert_eq!(broken.pcm(), None);
}

#[test]
fn a_logged_message_shows_neither_numbers_nor_parameters_nor_sound() {
    let shown = format!("{:?}", Message::parse(START).unwrap());
    assert!(
        !shown.contains("98111") && !shown.contains("7f3") && shown.contains("0002"),
        "{shown}"
    );
    let shown = format!(
        "{:?}",
        Message::parse(r#"{"event":"media","media":{"payload":"AAECAwQF"}}"#).unwrap()
    );
    assert!(
        !shown.contains("AAEC") && shown.contains("<8 characters>"),
        "{shown}"
    );
}

#[test]
fn an_applet_asks_by_query_and_by_every_body() {
    let asked = StreamRequest::parse(
        None,
        b"",
        Some("CallSid=90d3&CallFrom=09811100002&CallTo=08045550100&Direction=incoming&CustomField=lead%3A7f3&flow_id=228040&digits=%221%22&ForwardedFrom=null"),
    )
    .unwrap();
    assert_eq!(
        (asked.call_from.as_deref(), asked.call_to.as_deref()),
        (Some("09811100002"), Some("08045550100"))
    );
    assert_eq!(
        (asked.direction, asked.digits.as_deref()),
        (Some(Direction::Inbound), Some("1"))
    );
    assert_eq!(
        (asked.custom_field.as_deref(), asked.forwarded_from),
        (Some("lead:7f3"), None)
    );
    assert_eq!(asked.flow_id.as_deref(), Some("228040"));

    // As a person tries it out.
    let body = br#"{"CallSid":"test-123","CallFrom":"+919876543210","CallTo":"+919999999999","Direction":"inbound"}"#;
    let asked = StreamRequest::parse(Some("application/json"), body, None).unwrap();
    assert_eq!(
        (asked.call_sid.as_str(), asked.direction),
        ("test-123", Some(Direction::Inbound))
    );

    let incoming = StreamRequest::incoming(CALL_SID.parse().unwrap());
    assert_eq!(
        StreamRequest::parse(None, b"", Some(&incoming.to_query())).unwrap(),
        incoming
    );
    for form in [BodyForm::Json, BodyForm::Urlencoded, BodyForm::Multipart] {
        let sent = incoming.encode(form);
        // The content type is a hint; a wrong one does not matter.
        for content_type in [Some(sent.content_type.as_str()), None, Some("text/plain")] {
            assert_eq!(
                StreamRequest::parse(content_type, &sent.body, Some("token=S")).unwrap(),
                incoming,
                "{form}"
            );
        }
    }
    assert!(matches!(
        StreamRequest::parse(None, b"", None),
        Err(CallbackError::Empty)
    ));
    assert!(matches!(
        StreamRequest::parse(None, b"", Some("CallFrom=1")),
        Err(CallbackError::MissingSid { field: "CallSid" })
    ));
}

#[test]
fn the_end_of_a_stream_is_read_from_both_encodings() {
    let keys = "CallSid=a&Stream[StreamSID]=6f04&Stream[Status]=completed&Stream[Duration]=28&Stream[DisconnectedBy]=bot\
        &Stream[RecordingUrl]=https://recordings.exotel.com/exotelrecordings/acme1/6f04.mp3&Stream[StreamUrl]=wss://u:SECRET@b.example.in/m?t=SECRET";
    let json = r#"CallSid=a&Stream={"streamsid":"6f04","Status":"Completed","Duration":"28","DisconnectedBy":"bot","StreamUrl":"wss://u:SECRET@b.example.in/m?t=SECRET",
        "RecordingUrl":"https://recordings.exotel.com/exotelrecordings/acme1/6f04.mp3"}"#;
    let ended = |query: &str| {
        PassthruCall::parse(None, b"", Some(query))
            .unwrap()
            .ended_stream()
    };
    let stream = ended(keys).unwrap();
    assert_eq!(
        (stream.stream_sid.as_deref(), &stream.status),
        (Some("6f04"), &Some(StreamStatus::Completed))
    );
    assert_eq!(
        (stream.duration_secs, &stream.disconnected_by),
        (Some(28), &Some(DisconnectedBy::Bot))
    );
    assert_eq!(stream.stream_url.as_deref(), Some("wss://b.example.in/m"));
    assert_eq!(ended(json).unwrap(), stream);
    assert_eq!(
        ended("CallSid=a&Stream[DisconnectedBy]=caller")
            .unwrap()
            .disconnected_by,
        Some(DisconnectedBy::User)
    );
    let failed =
        ended("CallSid=a&Stream[Status]=failed&Stream[Error]=3009&Stream[DetailedStatus]=null").unwrap();
    assert_eq!(
        (failed.status, failed.error.as_deref(), failed.detailed_status),
        (Some(StreamStatus::Failed), Some("3009"), None)
    );
    assert_eq!(ended("CallSid=a"), None);
}

#[tokio::test]
async fn the_streams_of_an_account_are_counted() {
    let body = r#"{"status":"success","active_streams":3,"max_allowed_streams":100,"account_sid":"acme1"}"#;
    let server = Server::json(200, body).await;
    let streams = server.client.send(&GetActiveStreams).await.unwrap();
    assert_eq!((streams.active, streams.limit), (3, Some(100)));
    assert_eq!(server.seen()[0].uri, "/v1/Accounts/acme1/ActiveStreams.json");
    let refused = Server::json(
        401,
        r#"{"RestException":{"Status":401,"Message":"Authentication failed","Code":34010}}"#,
    );
    let error = refused.await.client.send(&GetActiveStreams).await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
}

fn number(value: u64, text: bool) -> serde_json::Value {
    if text {
        value.to_string().into()
    } else {
        value.into()
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}", event in "(start|media|dtmf|mark|stop|connected|[a-z]{1,4})") {
        let _ = Message::parse(&text);
        let body = json!({"event": event, (event.as_str()): text, "stream_sid": text}).to_string();
        let _ = Message::parse(&body);
    }

    #[test]
    fn any_json_in_any_place_is_read_or_refused(
        value in "(null|true|7|-1|1e300|\"\"|\"x\"|\\[\\]|\\[1,\\[2\\]\\]|\\{\\}|\\{\"a\":\\{\"payload\":1\\}\\})",
        event in "(start|media|dtmf|mark|stop)",
        key in "(stream_sid|call_sid|from|custom_parameters|media_format|chunk|timestamp|payload|digit|duration|name|reason)",
    ) {
        let text = format!(r#"{{"event":"{event}","sequence_number":{value},"{event}":{{"{key}":{value}}}}}"#);
        match Message::parse(&text) {
            Ok(message) => prop_assert!(message.sequence_number.is_none() || value == "7"),
            Err(error) => prop_assert!(!error.to_string().contains("e300")),
        }
    }

    #[test]
    fn media_is_the_same_however_its_numbers_are_written(
        sequence in any::<u64>(), chunk in any::<u64>(), at in any::<u64>(),
        pcm in proptest::collection::vec(any::<u8>(), 0..400), text in any::<bool>(),
    ) {
        // The bot's own writer makes the base64.
        let padded: Vec<u8> = pcm.iter().copied().chain(std::iter::repeat(0)).take(3_200).collect();
        let sent: serde_json::Value = serde_json::from_str(&outgoing::media("s", &padded).unwrap()).unwrap();
        let message = json!({
            "event": "media", "sequence_number": number(sequence, text), "stream_sid": "s",
            "media": {"chunk": number(chunk, text), "timestamp": number(at, text), "payload": sent["media"]["payload"]},
        }).to_string();
        let read = Message::parse(&message).unwrap();
        prop_assert_eq!(read.sequence_number, Some(sequence));
        let Incoming::Media(media) = read.incoming else { panic!("media") };
        prop_assert_eq!((media.chunk, media.timestamp, media.pcm()), (Some(chunk), Some(at), Some(padded)));
    }

    #[test]
    fn a_url_is_answered_as_json_or_refused(url in "(wss?|https)://[a-z.]{1,9}(/[a-z\"\\\\]{0,4})?(\\?[a-z=&]{0,30})?") {
        match StreamUrl::new(url.as_str()) {
            Ok(legal) => {
                let answer: serde_json::Value = serde_json::from_str(&legal.answer()).unwrap();
                prop_assert_eq!(answer, json!({"url": url}));
            }
            Err(problem) => prop_assert!(url.starts_with("https") || url.matches('&').count() > 2, "{}", problem),
        }
    }
}
