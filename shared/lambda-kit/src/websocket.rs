//! The events of API Gateway's WebSocket API, and the answers to them.
//!
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-integration-requests.html>

use std::{borrow::Cow, collections::HashMap};

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::ids::ConnectionId;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

/// A handshake, a message or an end, as a function gets it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SocketEvent {
    request_context: RequestContext,
    #[serde(default)]
    headers: Option<HashMap<String, String>>,
    #[serde(default)]
    query_string_parameters: Option<HashMap<String, String>>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    connection_id: ConnectionId,
    #[serde(default)]
    event_type: Option<String>,
}

impl SocketEvent {
    /// Which socket.
    pub fn connection(&self) -> &ConnectionId {
        &self.request_context.connection_id
    }

    /// Whether it is a message. One that names `$connect` or `$disconnect` as its event may come to those routes'
    /// functions, and is neither.
    pub fn is_message(&self) -> bool {
        self.request_context.event_type.as_deref() == Some("MESSAGE")
    }

    /// A header of the handshake, whatever the case of its name. Messages have none.
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = self.headers.as_ref()?;
        let (_, value) = headers
            .iter()
            .find(|(given, _)| given.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// A parameter of the handshake's URL.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query_string_parameters
            .as_ref()?
            .get(name)
            .map(String::as_str)
    }

    /// A message's text; `None` for a binary frame.
    pub fn text(&self) -> Option<&str> {
        match &self.body {
            Some(body) if !self.is_base64_encoded => Some(body),
            _ => None,
        }
    }

    /// Whether the handshake carries this secret: as `Authorization: Bearer`, or as the password of `Authorization:
    /// Basic`, whatever the user's name is.
    pub fn carries(&self, secret: &str) -> bool {
        let presented = self.header("authorization").and_then(|value| {
            let (scheme, rest) = value.trim().split_once(' ')?;
            match scheme.to_ascii_lowercase().as_str() {
                "bearer" => Some(Cow::Borrowed(rest.trim())),
                "basic" => {
                    let pair = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
                    pair.split_once(':')
                        .map(|(_, password)| Cow::Owned(password.to_owned()))
                }
                _ => None,
            }
        });
        presented.is_some_and(|presented| presented.as_bytes().ct_eq(secret.as_bytes()).into())
    }
}

/// What a function says to an event. To a message or an end, API Gateway only looks whether it is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reply {
    status_code: u16,
}

impl Reply {
    /// The socket may open, or the message was taken.
    pub const OK: Reply = Reply { status_code: 200 };
    /// The handshake shows nothing that lets it in.
    pub const UNAUTHORIZED: Reply = Reply { status_code: 401 };
    /// What it shows was good once, or for somebody else.
    pub const FORBIDDEN: Reply = Reply { status_code: 403 };
    /// It cannot be told: try again.
    pub const UNAVAILABLE: Reply = Reply { status_code: 503 };

    /// The HTTP status of a handshake's answer.
    pub fn status(self) -> u16 {
        self.status_code
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(json: serde_json::Value) -> SocketEvent {
        serde_json::from_value(json).unwrap()
    }

    fn handshake(authorization: &str) -> SocketEvent {
        event(json!({
            "headers": {"Host": "abc.execute-api.ap-south-1.amazonaws.com", "Authorization": authorization},
            "queryStringParameters": {"call_id": "vs_1", "sample-rate": "8000"},
            "requestContext": {"routeKey": "$connect", "eventType": "CONNECT", "connectionId": "L0SM9cOFvHcCIhw="},
            "isBase64Encoded": false,
        }))
    }

    #[test]
    fn a_handshake_tells_its_socket_its_parameters_and_what_it_shows() {
        let with_basic = handshake("Basic ZXhvdGVsOmh1bnRlcjI6eA==");
        assert_eq!(with_basic.connection().as_str(), "L0SM9cOFvHcCIhw=");
        assert_eq!(
            (with_basic.query("call_id"), with_basic.query("token")),
            (Some("vs_1"), None)
        );
        assert_eq!(
            with_basic.header("host"),
            Some("abc.execute-api.ap-south-1.amazonaws.com")
        );
        // A password may have colons.
        assert!(with_basic.carries("hunter2:x") && !with_basic.carries("hunter2"));
        assert!(handshake("bearer  hunter2").carries("hunter2"));
    }

    #[test]
    fn what_shows_no_secret_carries_none() {
        for authorization in [
            "",
            "Basic",
            "Basic !",
            "Basic aHVudGVyMg==",
            "Digest hunter2",
            "hunter2",
            "Bearer hunter",
        ] {
            assert!(!handshake(authorization).carries("hunter2"), "{authorization}");
        }
        let bare = event(json!({"requestContext": {"connectionId": "a="}}));
        assert!(!bare.carries("hunter2") && !bare.carries(""));
    }

    #[test]
    fn a_binary_frame_has_no_text() {
        let frame = |body, is_base64_encoded: bool| {
            event(
                json!({"requestContext": {"connectionId": "a="}, "body": body, "isBase64Encoded": is_base64_encoded}),
            )
        };
        assert_eq!(frame("{}", false).text(), Some("{}"));
        assert_eq!(frame("AAEC", true).text(), None);
    }

    #[test]
    fn a_message_stays_one_whatever_route_it_names() {
        let named = event(
            json!({"requestContext": {"routeKey": "$disconnect", "eventType": "MESSAGE", "connectionId": "a="}}),
        );
        assert!(named.is_message() && !handshake("").is_message());
    }

    #[test]
    fn a_reply_is_what_api_gateway_reads() {
        assert_eq!(
            serde_json::to_value(Reply::FORBIDDEN).unwrap(),
            json!({"statusCode": 403})
        );
    }
}
