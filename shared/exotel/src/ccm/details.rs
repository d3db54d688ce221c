//! What became of one CCM call.

use serde::{Deserialize, Serialize};

use super::CcmCall;
use crate::answer::Answer;
use crate::fields::Fields;
use crate::request::{Api, Request};
use crate::{CallSid, Error};

/// Where details have been seen: under `response.call_details`, in `response`, and at the top.
const PLACES: [&str; 5] = [
    "response[call_details]",
    "response[data]",
    "response",
    "call_details",
    "",
];

/// Reads one call from CCM. By Exotel's portal it knows only calls that were placed through CCM; the others are not found.
///
/// <https://developer.exotel.com/api/ccm-get-call-details>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetCcmCall {
    /// Which call.
    pub sid: CallSid,
}

impl Request for GetCcmCall {
    type Answer = CcmCall;

    fn api(&self) -> Api {
        Api::Ccm
    }

    fn path(&self) -> Vec<String> {
        vec!["calls".to_owned(), self.sid.to_string()]
    }

    fn read(&self, answer: &Answer) -> Result<CcmCall, Error> {
        let unreadable = |problem| Error::unreadable(answer.status(), problem);
        let tree = answer
            .tree()
            .ok_or_else(|| unreadable("the call's details are no JSON"))?;
        let fields = Fields::from_json(&tree);
        let mut problem = "the answer has no call_sid";
        for place in PLACES {
            let call = match place {
                "" => CcmCall::from_fields(&fields),
                place => CcmCall::from_fields(&fields.under(place)),
            };
            match call {
                Ok(call) => return Ok(call),
                Err(Some(_)) => problem = "the call's call_sid is no sid",
                Err(None) => {}
            }
        }
        Err(unreadable(problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CallStatus, CcmState, CcmStatus, Direction, default_zone};

    fn read(body: &str) -> Result<CcmCall, Error> {
        let request = GetCcmCall {
            sid: "a".parse().unwrap(),
        };
        request.read(&Answer::new(200, body.as_bytes().to_vec()))
    }

    const CALL: &str = r#""call_sid":"5f0c196k","direction":"outbound","virtual_number":"+918045550100","call_state":"terminal",
        "call_status":"completed","assigned_agent_details":{"user_id":"4b1e","contact_uri":"+919811100001"},
        "customer_details":{"contact_uri":"+919811100002"},"created_time":"2026-11-20T14:03:11+05:30","start_time":"2026-11-20T08:33:12Z",
        "end_time":"2026-11-20 14:05:58+05:30","total_duration":"166","total_talk_time":121,"recordings":[{"url":"https://recordings.exotel.com/a.mp3"}],
        "custom_field":"lead:7f3","digits":"1-2""#;

    #[test]
    fn the_details_are_found_in_all_three_places() {
        let expected = read(&format!("{{{CALL}}}")).unwrap();
        assert_eq!(
            (expected.total_duration_secs, expected.talk_secs),
            (Some(166), Some(121))
        );
        assert_eq!(
            (
                expected.agent.user_id.as_deref(),
                expected.agent.contact_uri.as_deref()
            ),
            (Some("4b1e"), Some("+919811100001"))
        );
        assert_eq!(expected.customer.contact_uri.as_deref(), Some("+919811100002"));
        assert_eq!(
            (&expected.state, &expected.status),
            (&Some(CcmState::Terminal), &Some(CcmStatus::Completed))
        );
        assert_eq!(expected.v1_direction(), Some(Direction::OutboundApi));
        assert_eq!(expected.digits.as_deref(), Some("1-2"));
        let instant = |time: &Option<crate::ExotelTime>| {
            time.as_ref()
                .unwrap()
                .instant(&default_zone())
                .unwrap()
                .unwrap()
                .to_string()
        };
        assert_eq!(instant(&expected.created_time), "2026-11-20T08:33:11Z");
        assert_eq!(instant(&expected.start_time), "2026-11-20T08:33:12Z");
        assert_eq!(instant(&expected.end_time), "2026-11-20T08:35:58Z");
        for body in [
            format!(
                r#"{{"request_id":"9c1d","http_code":200,"response":{{"code":200,"error_data":null,"status":"success","call_details":{{{CALL}}}}}}}"#
            ),
            format!(r#"{{"request_id":"9c1d","http_code":200,"response":{{{CALL}}}}}"#),
        ] {
            assert_eq!(read(&body).unwrap(), expected);
        }
    }

    #[test]
    fn the_portals_spelling_and_v3_are_read() {
        let call = read(
            r#"{"response":{"call_details":{"sid":"a","direction":"inbound","state":"active","status":null,"legs":"/v3/accounts/acme1/calls/a/legs",
            "created_time":"2022-11-03 22:54:40+05:30","end_time":"1970-01-01 05:30:00+05:30","total_duration":null,"app_id":"228040","recordings":null}}}"#,
        )
        .unwrap();
        assert_eq!(
            (call.v1_status(), call.v1_direction()),
            (Some(CallStatus::InProgress), Some(Direction::Inbound))
        );
        assert_eq!(
            (&call.end_time, call.total_duration_secs, call.app_id.as_deref()),
            (&None, None, Some("228040"))
        );
    }

    #[test]
    fn an_answer_without_a_call_is_none() {
        for body in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"response":{"call_details":{"sid":"../x"}}}"#,
            r#"{"response":null}"#,
        ] {
            assert!(read(body).unwrap_err().may_have_reached_exotel(), "{body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_answer_makes_the_reader_panic(tree in crate::tree_strategy()) {
            let _ = read(&tree.to_string());
            let _ = read(&serde_json::json!({"response": {"call_details": tree}}).to_string());
        }
    }
}
