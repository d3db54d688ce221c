//! What each status and body comes to.

use exotel::calls::{ConnectCall, Cursor, GetCall, ListCalls};
use exotel::ccm::GetCcmCall;
use exotel::exophones::GetExophone;
use exotel::numbers::GetNumber;
use exotel::recordings::GetRecording;
use exotel::sms::{BulkItem, GetSms, SendBulkSms, SendSms, SmsOptions};
use exotel::{AnsweredBy, CallStatus, Direction, Error, Reason, SmsStatus, default_zone};

use crate::server::Server;

const SID: &str = "5f0c1d2e3a4b4c5d8e9f0a1b2c3d196k";

const PLACED: &str = r#"{"Call":{"Sid":"5f0c1d2e3a4b4c5d8e9f0a1b2c3d196k","ParentCallSid":null,"DateCreated":"2026-11-20 14:03:11",
"DateUpdated":"2026-11-20 14:03:11","AccountSid":"acme1","To":"09811100002","From":"09811100001",
"PhoneNumberSid":"08045550100","Status":"in-progress","StartTime":"2026-11-20 14:03:11","EndTime":null,
"Duration":null,"Price":null,"Direction":"outbound-api","AnsweredBy":null,"ForwardedFrom":null,"CallerName":null,
"Uri":"/v1/Accounts/acme1/Calls.json/5f0c1d2e3a4b4c5d8e9f0a1b2c3d196k","RecordingUrl":null}}"#;

const PLACED_XML: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<TwilioResponse>
 <Call>
  <Sid>5f0c1d2e3a4b4c5d8e9f0a1b2c3d196k</Sid><ParentCallSid/><DateCreated>2026-11-20 14:03:11</DateCreated>
  <DateUpdated>2026-11-20 14:03:11</DateUpdated><AccountSid>acme1</AccountSid><To>09811100002</To><From>09811100001</From>
  <PhoneNumberSid>08045550100</PhoneNumberSid><Status>in-progress</Status><StartTime>2026-11-20 14:03:11</StartTime>
  <EndTime/><Duration/><Price/><Direction>outbound-api</Direction><AnsweredBy/><ForwardedFrom/><CallerName/>
  <Uri>/v1/Accounts/acme1/Calls.json/5f0c1d2e3a4b4c5d8e9f0a1b2c3d196k</Uri><RecordingUrl/>
 </Call>
</TwilioResponse>"#;

const COMPLETED: &str = r#"{"Call":{"Sid":"5f0c1d2e3a4b4c5d8e9f0a1b2c3d196k","Status":"completed","EndTime":"2026-11-20 14:05:58","Duration":"166",
"Price":"1.500","Direction":"outbound-api","RecordingUrl":"https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/acme1/a.mp3",
"PreSignedRecordingUrl":"https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/acme1/a.mp3?X-Amz-Signature=0",
"Details":{"ConversationDuration":121,"Leg1Status":"completed","Leg2Status":"no-answer",
"Legs":[{"Leg":{"Id":1,"OnCallDuration":139}},{"Leg":{"Id":2,"OnCallDuration":"121","AnsweredBy":"HUMAN"}}]}}}"#;

fn call() -> ConnectCall {
    ConnectCall::two_legs("+919811100001", "+919811100002", "08045550100")
}

fn details() -> GetCall {
    GetCall::with_details(SID.parse().unwrap())
}

#[tokio::test]
async fn json_and_xml_say_the_same() {
    let json = Server::json(200, PLACED)
        .await
        .client
        .send(&call())
        .await
        .unwrap();
    let xml = Server::answering(200, "application/xml", PLACED_XML)
        .await
        .client
        .send(&call())
        .await
        .unwrap();
    assert_eq!(json, xml);
    assert_eq!(
        (json.sid.as_str(), &json.status, &json.direction),
        (SID, &Some(CallStatus::InProgress), &Some(Direction::OutboundApi))
    );
    let created = json
        .date_created
        .unwrap()
        .instant(&default_zone())
        .unwrap()
        .unwrap();
    assert_eq!(created.to_string(), "2026-11-20T08:33:11Z");
    assert_eq!(
        (json.end_time, json.duration_secs, json.recording_url),
        (None, None, None)
    );
}

#[tokio::test]
async fn details_give_talk_time_and_legs() {
    let call = Server::json(200, COMPLETED)
        .await
        .client
        .send(&details())
        .await
        .unwrap();
    assert_eq!(
        (
            call.conversation_duration_secs,
            call.duration_secs,
            call.price.as_deref()
        ),
        (Some(121), Some(166), Some("1.500"))
    );
    let legs: Vec<_> = call
        .legs
        .into_iter()
        .map(|leg| (leg.status, leg.on_call_duration_secs, leg.answered_by))
        .collect();
    assert_eq!(
        legs,
        [
            (Some(CallStatus::Completed), Some(139), None),
            (Some(CallStatus::NoAnswer), Some(121), Some(AnsweredBy::Human)),
        ]
    );
}

#[tokio::test]
async fn a_recording_comes_with_a_link_that_needs_no_credentials() {
    let request = GetRecording {
        call_sid: SID.parse().unwrap(),
        validity_mins: 5,
    };
    let links = Server::json(200, COMPLETED)
        .await
        .client
        .send(&request)
        .await
        .unwrap();
    assert!(links.pre_signed_url.unwrap().contains("X-Amz-Signature"));
    assert!(links.recording_url.unwrap().ends_with("/a.mp3"));
}

#[tokio::test]
async fn a_page_of_calls_gives_the_cursor_of_the_next() {
    let body = r#"{"Metadata":{"Total":230,"PageSize":50,"PrevPageUri":null,
        "NextPageUri":"/v1/Accounts/acme1/Calls.json?PageSize=50&SortBy=DateCreated:desc&After=MTczMjA5"},
        "Calls":[{"Sid":"a","Status":"completed"},{"Sid":"b","Status":"teleported"}]}"#;
    let page = Server::json(200, body)
        .await
        .client
        .send(&ListCalls::default())
        .await
        .unwrap();
    assert_eq!(page.next, Some(Cursor::After("MTczMjA5".to_owned())));
    assert_eq!(
        page.calls[1].status,
        Some(CallStatus::Other("teleported".to_owned()))
    );
}

#[tokio::test]
async fn a_page_of_calls_may_be_xml() {
    let body = "<TwilioResponse><Metadata><Total>1</Total><NextPageUri/></Metadata><Calls><Call><Sid>a</Sid></Call></Calls></TwilioResponse>";
    let page = Server::answering(200, "text/xml", body)
        .await
        .client
        .send(&ListCalls::default())
        .await
        .unwrap();
    assert_eq!((page.calls.len(), page.next), (1, None));
}

#[tokio::test]
async fn an_sms_is_accepted_and_looked_up() {
    let body = r#"{"SMSMessage":{"Sid":"7c1b2a3d4e5f6071829304a5b6c7d8e9","AccountSid":"acme1","From":"0xxxxx4890/ACMEIN","To":"09811100002",
        "DateCreated":"2026-11-20 14:10:01","DateSent":null,"Body":"Hi","Price":null,"Status":"queued","SmsUnits":null,
        "DetailedStatusCode":21010,"DetailedStatus":"PENDING_TO_OPERATOR"}}"#;
    let server = Server::json(200, body).await;
    let sms = server
        .client
        .send(&SendSms::new("ACMEIN", "+919811100002", "Hi"))
        .await
        .unwrap();
    assert_eq!(
        (&sms.status, sms.detailed_status_code),
        (&Some(SmsStatus::Queued), Some(21010))
    );
    assert_eq!(
        server
            .client
            .send(&GetSms { sid: sms.sid.clone() })
            .await
            .unwrap(),
        sms
    );
}

#[tokio::test]
async fn an_unknown_sms_is_not_found_although_the_status_is_200() {
    let server = Server::answering(200, "text/html", "No matching results").await;
    let error = server
        .client
        .send(&GetSms {
            sid: "a".parse().unwrap(),
        })
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotFound(_)) && error.is_refused_for_good());
}

#[tokio::test]
async fn a_bulk_answer_tells_each_message_apart() {
    let body = r#"[{"SMSMessage":{"Sid":"a","Status":"queued"}},{"RestException":{"Status":400,"Message":"+919811100003 is invalid","Code":40203}}]"#;
    let request = SendBulkSms {
        from: "ACMEIN".into(),
        to: vec!["+919811100002".into(), "+919811100003".into()],
        body: "Hi".into(),
        options: SmsOptions::default(),
    };
    let items = Server::json(207, body).await.client.send(&request).await.unwrap();
    let [BulkItem::Accepted(_), BulkItem::Refused(refusal)] = items.as_slice() else {
        panic!("{items:?}")
    };
    assert_eq!(
        (refusal.status, refusal.message.as_deref()),
        (400, Some("+********0003 is invalid"))
    );
}

#[tokio::test]
async fn a_numbers_metadata_is_read() {
    let body = r#"{"Numbers":{"PhoneNumber":"09811100002","Circle":"KA","CircleName":"Karnataka Telecom Circle","Type":"Mobile",
        "Operator":"A","OperatorName":"Airtel","DND":"Yes"}}"#;
    let number = Server::json(200, body)
        .await
        .client
        .send(&GetNumber {
            number: "+919811100002".into(),
        })
        .await
        .unwrap();
    assert_eq!((number.dnd, number.circle.as_deref()), (Some(true), Some("KA")));
}

#[tokio::test]
async fn v2_answers_and_refusals_are_understood() {
    let get = GetCcmCall {
        sid: SID.parse().unwrap(),
    };
    let body = format!(
        r#"{{"request_id":"9c1d","method":"GET","http_code":200,"response":{{"code":200,"error_data":null,"status":"success",
        "call_details":{{"call_sid":"{SID}","call_state":"terminal","call_status":"agent_unanswered"}}}}}}"#
    );
    let call = Server::json(200, body).await.client.send(&get).await.unwrap();
    assert_eq!(call.v1_status(), Some(CallStatus::NoAnswer));
    let unknown = r#"{"request_id":"c608","method":"GET","http_code":404,"response":{"code":404,
        "error_data":{"code":1000,"message":"Not Found","description":"Call not found"},"status":"failure","data":null}}"#;
    let error = Server::json(404, unknown)
        .await
        .client
        .send(&get)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotFound(_)));
    assert_eq!(error.exotel_message(), Some("Not Found: Call not found"));
    let exophone = GetExophone {
        sid: "08045550100".into(),
    };
    let error = Server::json(429, "")
        .await
        .client
        .send(&exophone)
        .await
        .unwrap_err();
    assert!(error.is_retryable());
}

async fn refused(status: u16, content_type: &'static str, body: &str) -> Error {
    let error = Server::answering(status, content_type, body)
        .await
        .client
        .send(&call())
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(status));
    error
}

#[tokio::test]
async fn each_refusal_for_good_is_one() {
    for status in [400, 401, 402, 403, 404, 405, 409, 413, 415, 422] {
        let body =
            format!(r#"{{"RestException":{{"Status":{status},"Message":"Call to [09811100002] refused"}}}}"#);
        let error = refused(status, "application/json", &body).await;
        assert!(
            error.is_refused_for_good() && !error.is_retryable() && !error.may_have_reached_exotel(),
            "{error:?}"
        );
        assert_eq!(error.exotel_message(), Some("Call to [*******0002] refused"));
    }
}

#[tokio::test]
async fn throttling_is_retryable() {
    let json = r#"{"RestException":{"Status":503,"Message":"Service Unavailable; ","Code":35008}}"#;
    let xml = "<TwilioResponse><RestException><Status>503</Status><Message>Service Unavailable</Message><Code>35008</Code></RestException></TwilioResponse>";
    for error in [
        refused(429, "text/plain", "").await,
        refused(503, "application/json", json).await,
        refused(503, "application/xml", xml).await,
    ] {
        assert!(
            error.is_retryable() && !error.may_have_reached_exotel() && !error.is_refused_for_good(),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn trouble_that_exotel_does_not_explain_leaves_the_call_open() {
    for (status, body) in [
        (500, ""),
        (
            500,
            r#"{"RestException":{"Status":500,"Message":"internal","Code":35000}}"#,
        ),
        (502, "<html><body>Bad Gateway</body></html>"),
        (503, "<html><body>Service Unavailable</body></html>"),
        (504, ""),
    ] {
        let error = refused(status, "text/html", body).await;
        assert!(
            error.may_have_reached_exotel() && !error.is_retryable() && !error.is_refused_for_good(),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_success_that_cannot_be_read_leaves_the_call_open() {
    for body in [
        "",
        "<html></html>",
        "{",
        "{}",
        r#"{"Call":{}}"#,
        r#"{"Call":{"Sid":"../../x"}}"#,
        "null",
        "[]",
    ] {
        assert!(
            refused(200, "application/json", body)
                .await
                .may_have_reached_exotel(),
            "{body}"
        );
    }
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    assert!(
        refused(200, "application/json", &" ".repeat(5 * 1024 * 1024))
            .await
            .may_have_reached_exotel()
    );
}

#[tokio::test]
async fn the_reason_tells_dnd_from_wrong_credentials() {
    let dnd = r#"{"RestException":{"Status":403,"Message":"Call to [09811100002] can not be made because of TRAI NDNC regulations."}}"#;
    assert_eq!(
        refused(403, "application/json", dnd).await.reason(),
        Some(Reason::Dnd)
    );
    assert_eq!(
        refused(401, "application/json", "").await.reason(),
        Some(Reason::Credentials)
    );
}
