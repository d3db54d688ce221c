//! The events of API Gateway's WebSocket API, and the answers to them.
//!
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-integration-requests.html>

use std::{borrow::Cow, collections::HashMap, sync::LazyLock};

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::ids::ConnectionId;
use jiff::Timestamp;
use memchr::{memchr2, memmem::Finder};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

/// A handshake, a message or an end, as a function gets it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
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

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    connection_id: ConnectionId,
    #[serde(default)]
    event_type: Option<String>,
    /// Milliseconds since 1970.
    #[serde(default)]
    connected_at: Option<i64>,
}

impl SocketEvent {
    /// Which socket.
    pub fn connection(&self) -> &ConnectionId {
        &self.request_context.connection_id
    }

    /// When its handshake came to API Gateway, if it says.
    pub fn connected_at(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.request_context.connected_at?).ok()
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
            Some(text) if !self.is_base64_encoded => Some(text),
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

/// Finds the socket and the text of a message's event as API Gateway writes one: without white space, its context first.
/// All else in it is names and values that nobody asks for, and a JSON reader takes several times as long, ten times a
/// second and caller.
///
/// The text is given as it stands there, escaped as a string of JSON's, and **unchecked**: whoever reads it sees that it
/// has no bare quote, which would be its end. `None` for whatever looks different; read that as a [`SocketEvent`].
pub fn skim(event: &[u8]) -> Option<(ConnectionId, &[u8])> {
    static IS_MESSAGE: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(r#""eventType":"MESSAGE""#));
    static CONNECTION: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(r#""connectionId":""#));
    static BODY: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(r#"},"body":""#));

    // In JSON a quote within a string has a backslash before it, so a name with its quotes and colon is found nowhere but
    // where it is a name.
    let event = event.strip_prefix(br#"{"requestContext":{"#)?;
    let event = event.strip_suffix(br#"","isBase64Encoded":false}"#)?;
    let (context, body) = event.split_at(BODY.find(event)?);
    IS_MESSAGE.find(context)?;
    let connection = &context[CONNECTION.find(context)? + CONNECTION.needle().len()..];
    let (connection, after) = connection.split_at(memchr2(b'"', b'\\', connection)?);
    after.strip_prefix(b"\"")?;
    let connection = str::from_utf8(connection).ok()?.parse().ok()?;
    Some((connection, &body[BODY.needle().len()..]))
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
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn event(json: serde_json::Value) -> SocketEvent {
        serde_json::from_value(json).unwrap()
    }

    fn handshake(authorization: &str) -> SocketEvent {
        event(handshake_event(authorization))
    }

    fn handshake_event(authorization: &str) -> serde_json::Value {
        json!({
            "headers": {"Host": "abc.execute-api.ap-south-1.amazonaws.com", "Authorization": authorization},
            "queryStringParameters": {"call_id": "vs_1", "sample-rate": "8000"},
            "requestContext": {"routeKey": "$connect", "eventType": "CONNECT", "connectionId": "L0SM9cOFvHcCIhw=",
                "connectedAt": 1_795_687_200_123_i64},
            "isBase64Encoded": false,
        })
    }

    #[test]
    fn a_handshake_tells_its_socket_its_parameters_and_what_it_shows() {
        let with_basic = handshake("Basic ZXhvdGVsOmh1bnRlcjI6eA==");
        assert_eq!(with_basic.connection().as_str(), "L0SM9cOFvHcCIhw=");
        assert_eq!(
            (with_basic.query("call_id"), with_basic.query("token")),
            (Some("vs_1"), None)
        );
        let connected_at = with_basic.connected_at().unwrap().to_string();
        assert_eq!(connected_at, "2026-11-26T10:00:00.123Z");
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
        assert_eq!(bare.connected_at(), None);
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

    /// A message as API Gateway writes it.
    fn message(body: &str) -> String {
        let body = serde_json::to_string(body).unwrap();
        format!(
            r#"{{"requestContext":{{"routeKey":"$default","eventType":"MESSAGE","connectionId":"L0SM9cOFvHcCIhw=","identity":{{"sourceIp":"203.0.113.7"}},"apiId":"abc"}},"body":{body},"isBase64Encoded":false}}"#
        )
    }

    #[test]
    fn a_message_as_api_gateway_writes_it_is_skimmed() {
        let text = r#"{"event":"media","stream_sid":"s/1","media":{"payload":"AA/+"}}"#;
        let event = message(text);
        let (connection, escaped) = skim(event.as_bytes()).unwrap();
        assert_eq!(connection.as_str(), "L0SM9cOFvHcCIhw=");
        assert_eq!(escaped, text.replace('"', r#"\""#).as_bytes());
    }

    #[test]
    fn whatever_else_comes_is_not() {
        let plain = message("{}");
        for event in [
            plain.replace(':', ": "),
            plain.replace("MESSAGE", "CONNECT"),
            plain.replace("false", "true"),
            plain.replace("L0SM9cOFvHcCIhw=", ""),
            plain.replace("L0SM9cOFvHcCIhw=", r"L0SM\u0039"),
            plain.replace("connectionId", "connection"),
            plain.replace(r#""{}""#, "null"),
            plain[..plain.len() - 1].to_owned(),
            handshake_event("Basic !").to_string(),
        ] {
            assert_eq!(skim(event.as_bytes()), None, "{event}");
        }
        // A name that stands in a value is no name.
        let named = plain.replace(r#""apiId":"abc""#, r#""apiId":"\"connectionId\":\"x\"""#);
        assert_eq!(skim(named.as_bytes()).unwrap().0.as_str(), "L0SM9cOFvHcCIhw=");
    }

    proptest! {
        #[test]
        fn a_skimmed_event_says_what_its_json_says(
            body in r#"([ -~]|["\\/]|\PC|"body":"|\},"body":"|"connectionId":"){0,40}"#,
        ) {
            let event = message(&body);
            let (connection, escaped) = skim(event.as_bytes()).unwrap();
            let json: SocketEvent = serde_json::from_str(&event).unwrap();
            prop_assert_eq!(&connection, json.connection());
            let string = [b"\"", escaped, b"\""].concat();
            let text: String = serde_json::from_slice(&string).unwrap();
            prop_assert_eq!(Some(&*text), json.text());
        }
    }

    #[test]
    fn a_reply_is_what_api_gateway_reads() {
        assert_eq!(
            serde_json::to_value(Reply::FORBIDDEN).unwrap(),
            json!({"statusCode": 403})
        );
    }
}
