//! What went wrong with a request, named by what the caller can do about it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answer::read_tree;
use crate::fields::Fields;
use crate::masking::mask_numbers;

/// Longest part of Exotel's message that is kept, in characters.
const LONGEST_MESSAGE: usize = 500;

/// A request that did not come to a good end.
///
/// [`Error::is_retryable`], [`Error::may_have_reached_exotel`] and [`Error::is_refused_for_good`] exclude each other.
/// None of them holds for [`Error::InvalidSettings`] and [`Error::InvalidRequest`]: nothing was sent, nor should it be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client's settings are unusable. Nothing was sent; correct the setting.
    #[error("{setting} {problem}")]
    InvalidSettings {
        /// Which setting.
        setting: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The request breaks one of Exotel's documented rules. Nothing was sent; correct the field.
    #[error("{field} {problem}")]
    InvalidRequest {
        /// Exotel's name of the field.
        field: &'static str,
        /// What is wrong with it, without its value.
        problem: String,
    },
    /// Name lookup, connecting or the TLS handshake failed: the request never left. Safe to send again.
    #[error("the request did not reach Exotel")]
    NotSent {
        /// What the HTTP client says, without the URL.
        source: reqwest::Error,
    },
    /// Exotel itself said "not now" and did nothing: 429, or 503 with its own error body. Safe to send again, later.
    #[error("Exotel asks to try again later: {0}")]
    Throttled(Refusal),
    /// Exotel refused. The same request would be refused again.
    #[error("Exotel refused the request: {0}")]
    Refused(Refusal),
    /// There is no such call, SMS or number, or not in this account.
    #[error("Exotel does not know it: {0}")]
    NotFound(Refusal),
    /// Nobody can tell whether Exotel acted on the request: no answer, a broken one, or one that Exotel did not write.
    /// Find out before sending it again, unless it only reads.
    #[error("Exotel may or may not have acted on the request{}", status.map(|s| format!(" (HTTP {s})")).unwrap_or_default())]
    Unconfirmed {
        /// HTTP status, if an answer began.
        status: Option<u16>,
        /// What Exotel said, if that could be read.
        refusal: Option<Refusal>,
        /// What the HTTP client or the reader of the answer says.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl Error {
    /// Whether the same request may be sent again without any risk that it is carried out twice: it never left, or
    /// Exotel clearly refused it for now.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::NotSent { .. } | Self::Throttled(_))
    }

    /// Whether Exotel may have carried the request out. Such a call or SMS must not be sent again.
    pub fn may_have_reached_exotel(&self) -> bool {
        matches!(self, Self::Unconfirmed { .. })
    }

    /// Whether Exotel refused for a reason that waiting does not mend: 400, 401, 402, 403, 404 and their like.
    pub fn is_refused_for_good(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::NotFound(_))
    }

    /// Whether a request *that only reads* is worth repeating: [`Self::is_retryable`], or the answer was lost.
    pub fn is_transient(&self) -> bool {
        self.is_retryable() || self.may_have_reached_exotel()
    }

    /// What Exotel said in words, every phone number masked to its last four digits.
    pub fn exotel_message(&self) -> Option<&str> {
        self.refusal()?.message.as_deref()
    }

    /// HTTP status of the answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Throttled(refusal) | Self::Refused(refusal) | Self::NotFound(refusal) => {
                Some(refusal.status)
            }
            Self::Unconfirmed { status, .. } => *status,
            _ => None,
        }
    }

    /// Why Exotel refused, as far as its answer tells.
    pub fn reason(&self) -> Option<Reason> {
        Some(self.refusal()?.reason)
    }

    /// Exotel's refusal, if it gave one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Throttled(refusal) | Self::Refused(refusal) | Self::NotFound(refusal) => Some(refusal),
            Self::Unconfirmed { refusal, .. } => refusal.as_ref(),
            _ => None,
        }
    }

    pub(crate) fn unreadable(
        status: u16,
        problem: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unconfirmed {
            status: Some(status),
            refusal: None,
            source: Some(problem.into()),
        }
    }
}

/// Exotel's "no", as it said it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// HTTP status; for one item of a bulk answer, the item's own.
    pub status: u16,
    /// Exotel's own code such as 34010 or 40001, or 1010 on v2; voice v1 often gives none.
    pub code: Option<String>,
    /// Exotel's words, phone numbers masked to the last four digits. None if the body was not Exotel's.
    pub message: Option<String>,
    /// The same as a word to decide by.
    pub reason: Reason,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => f.write_str(message)?,
            None => write!(f, "{}", self.reason)?,
        }
        match &self.code {
            Some(code) => write!(f, " (HTTP {}, code {code})", self.status),
            None => write!(f, " (HTTP {})", self.status),
        }
    }
}

/// Why Exotel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The number is on the do-not-disturb register (TRAI NDNC).
    Dnd,
    /// The account's identity check is not complete, or it is a trial account that may call few numbers.
    Kyc,
    /// Not enough balance.
    Balance,
    /// Key or token is missing or wrong, or belongs to the other cluster.
    Credentials,
    /// The account sid is wrong, not yours, inactive or suspended.
    Account,
    /// The account only takes requests from listed addresses.
    IpAllowList,
    /// The destination country, or a feature, is not switched on for the account.
    NotEnabled,
    /// No valid sender id for this kind of message.
    Sender,
    /// A parameter is missing or wrong; the message says which.
    InvalidParameter,
    /// Too many requests.
    RateLimit,
    /// No such record, or no such path.
    NotFound,
    /// Exotel is in trouble itself.
    Platform,
    /// Something else; the message says what.
    Other,
}

impl Reason {
    /// The reason as a stable word (`dnd`, `ip_allow_list`, …).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dnd => "dnd",
            Self::Kyc => "kyc",
            Self::Balance => "balance",
            Self::Credentials => "credentials",
            Self::Account => "account",
            Self::IpAllowList => "ip_allow_list",
            Self::NotEnabled => "not_enabled",
            Self::Sender => "sender",
            Self::InvalidParameter => "invalid_parameter",
            Self::RateLimit => "rate_limit",
            Self::NotFound => "not_found",
            Self::Platform => "platform",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Says what an answer means for the request, from its status and body alone.
///
/// `Ok` for 2xx, unless the body is a refusal: v1's `RestException`, or v2's envelope with `error_data`. A 5xx is a clear
/// refusal only as 503 in Exotel's own words; everything that is neither success nor clear is [`Error::Unconfirmed`].
pub fn classify(status: u16, body: &[u8]) -> Result<(), Error> {
    let exception = read_tree(body)
        .as_ref()
        .and_then(|answer| rest_exception(answer).or_else(|| v2_failure(answer)));
    let success = (200..300).contains(&status);
    let Some(exception) = exception else {
        return if success {
            Ok(())
        } else {
            Err(by_status(status, Refusal::without_body(status), false))
        };
    };
    // A refusal inside a 2xx, or a 503 that calls itself something else, is what it says it is.
    let own_status = exception.count("Status").and_then(|own| u16::try_from(own).ok());
    let refusal_status = if success {
        own_status.filter(|own| *own >= 300).unwrap_or(status)
    } else {
        status
    };
    let in_agreement = own_status.is_none_or(|own| own == refusal_status);
    Err(by_status(
        refusal_status,
        Refusal::from_exception(refusal_status, &exception),
        in_agreement,
    ))
}

/// `clear` is whether Exotel itself wrote the body and names the same status.
fn by_status(status: u16, refusal: Refusal, clear: bool) -> Error {
    match status {
        429 => Error::Throttled(refusal),
        503 if clear => Error::Throttled(refusal),
        404 => Error::NotFound(refusal),
        // A proxy may give up waiting after the request has gone through.
        408 | 499 => Error::Unconfirmed {
            status: Some(status),
            refusal: None,
            source: None,
        },
        400..=498 => Error::Refused(refusal),
        _ => {
            let refusal = refusal.message.is_some().then_some(refusal);
            Error::Unconfirmed {
                status: Some(status),
                refusal,
                source: None,
            }
        }
    }
}

/// The `RestException` that is a whole answer, or one item of a bulk answer.
pub(crate) fn rest_exception(answer: &Value) -> Option<Fields> {
    let exception = answer
        .as_object()?
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("RestException"))?
        .1;
    // A mixed XML answer holds messages beside it.
    let alone = answer.get("SMSMessage").is_none() && exception.is_object();
    let fields = Fields::from_json(exception);
    (alone && fields.any(&["Status", "Message", "Code"]).is_some()).then_some(fields)
}

/// The failure that a v2 envelope is about, under the names that v1 gives its parts. An envelope with several items is a
/// failure only if all of them are; its words are then the first's.
fn v2_failure(answer: &Value) -> Option<Fields> {
    let response = answer.get("response")?;
    let items = match response {
        Value::Array(items) => items.iter().collect(),
        item => vec![item],
    };
    let failed = |item: &&Value| {
        let says = |word: &str| word.eq_ignore_ascii_case("failure");
        item["error_data"].is_object() || item["status"].as_str().is_some_and(says)
    };
    if !items.iter().all(failed) {
        return None;
    }
    let first = Fields::from_json(items.first()?);
    let outer = Fields::from_json(&serde_json::json!({"http_code": answer.get("http_code")}));
    // An item may hold its code of Exotel's where another holds an HTTP status.
    let refusal_status = |status: &u32| (300..600).contains(status);
    let status = first
        .count("code")
        .filter(refusal_status)
        .or_else(|| outer.count("http_code"));
    let message = match (
        first.text("error_data[message]"),
        first.text("error_data[description]"),
    ) {
        (Some(message), Some(description)) if message != description => {
            Some(format!("{message}: {description}"))
        }
        (message, description) => message.or(description).map(str::to_owned),
    };
    let mut failure = Fields::default();
    for (name, value) in [
        ("Status", status.map(|status| status.to_string())),
        ("Code", first.owned("error_data[code]")),
        ("Message", message),
    ] {
        failure.insert(name, &value.unwrap_or_default());
    }
    Some(failure)
}

impl Refusal {
    pub(crate) fn from_exception(status: u16, exception: &Fields) -> Self {
        let code = exception.owned("Code");
        let message = exception.text("Message").map(|text| {
            let kept: String = text.chars().take(LONGEST_MESSAGE).collect();
            mask_numbers(&kept)
        });
        let reason = reason(status, code.as_deref(), message.as_deref().unwrap_or_default());
        Self {
            status,
            code,
            message,
            reason,
        }
    }

    pub(crate) fn without_body(status: u16) -> Self {
        Self {
            status,
            code: None,
            message: None,
            reason: reason(status, None, ""),
        }
    }
}

/// Codes before words before status: voice gives no code where SMS does, and 403 means many things. The codes of v2 have
/// four digits, or five that begin with 10; no code of v1 looks like that.
fn reason(status: u16, code: Option<&str>, message: &str) -> Reason {
    match code {
        Some("34001" | "34010" | "1010") => return Reason::Credentials,
        Some("34009" | "40002") => return Reason::Account,
        Some("40000" | "340030" | "10814") => return Reason::Kyc,
        Some("40001") => return Reason::Balance,
        Some("40003") => return Reason::NotEnabled,
        Some("40205" | "40206" | "40210" | "40300" | "40301") => return Reason::Sender,
        Some("40402" | "40403" | "40404" | "40405") => return Reason::RateLimit,
        Some("35000" | "35008" | "40100" | "1100") => return Reason::Platform,
        Some("1001" | "1002") => return Reason::InvalidParameter,
        // The agent's device is off, unverified or busy.
        Some("1012" | "10705" | "10706") => return Reason::Other,
        _ => {}
    }
    let message = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    match status {
        401 => Reason::Credentials,
        402 => Reason::Balance,
        404 => Reason::NotFound,
        429 => Reason::RateLimit,
        500..=599 => Reason::Platform,
        _ if says(&["ndnc", "dnd", "do not disturb"]) => Reason::Dnd,
        _ if says(&["kyc"]) => Reason::Kyc,
        _ if says(&[
            "insufficient balance",
            "low balance",
            "insufficient credit",
            "recharge",
        ]) =>
        {
            Reason::Balance
        }
        _ if says(&["ip address", "ip whitelist", "whitelisted ip", "ip not"]) => Reason::IpAllowList,
        _ if says(&["inactive", "suspended", "account sid"]) => Reason::Account,
        _ if says(&["not enabled", "not activated"]) => Reason::NotEnabled,
        400 | 405..=428 => Reason::InvalidParameter,
        _ => Reason::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    enum Verdict {
        Accepted,
        Retryable,
        RefusedForGood,
        MayHaveReached,
    }
    use Verdict::*;

    fn verdict(outcome: &Result<(), Error>) -> Verdict {
        match outcome {
            Ok(()) => Accepted,
            Err(e) => {
                let answers = [
                    e.is_retryable(),
                    e.is_refused_for_good(),
                    e.may_have_reached_exotel(),
                ];
                match answers {
                    [true, false, false] => Retryable,
                    [false, true, false] => RefusedForGood,
                    [false, false, true] => MayHaveReached,
                    _ => panic!("an answer means one thing only: {e:?}"),
                }
            }
        }
    }

    #[test]
    fn status_and_body_decide_what_the_caller_may_do() {
        let own_503 = r#"{"RestException":{"Status":503,"Message":"Service Unavailable; ","Code":35008}}"#;
        let xml_503 = "<?xml version=\"1.0\"?><TwilioResponse><RestException><Status>503</Status><Message>Service Unavailable</Message></RestException></TwilioResponse>";
        let html = "<html><body><h1>502 Bad Gateway</h1></body></html>";
        for (status, body, expected) in [
            (200, r#"{"Call":{"Sid":"a"}}"#, Accepted),
            (200, "No matching results", Accepted),
            (
                207,
                r#"[{"RestException":{"Status":400,"Message":"bad"}}]"#,
                Accepted,
            ),
            (
                207,
                r#"{"SMSMessage":{"Sid":"a"},"RestException":{"Status":400,"Message":"bad"}}"#,
                Accepted,
            ),
            (
                200,
                r#"{"RestException":{"Status":403,"Message":"no"}}"#,
                RefusedForGood,
            ),
            (200, r#"{"RestException":{"Message":"odd"}}"#, MayHaveReached),
            (
                400,
                r#"{"RestException":{"Status":400,"Message":"bad"}}"#,
                RefusedForGood,
            ),
            (401, "", RefusedForGood),
            (402, "", RefusedForGood),
            (403, html, RefusedForGood),
            (404, "", RefusedForGood),
            (405, "", RefusedForGood),
            (413, html, RefusedForGood),
            (408, "", MayHaveReached),
            (429, "", Retryable),
            (429, html, Retryable),
            (429, own_503, Retryable),
            (500, "", MayHaveReached),
            (
                500,
                r#"{"RestException":{"Status":500,"Message":"internal","Code":35000}}"#,
                MayHaveReached,
            ),
            (502, html, MayHaveReached),
            (503, html, MayHaveReached),
            (503, "", MayHaveReached),
            (503, r#"{"message":"Service Unavailable"}"#, MayHaveReached),
            (503, r#"{"RestException":null}"#, MayHaveReached),
            (
                503,
                r#"{"RestException":{"Status":500,"Message":"internal"}}"#,
                MayHaveReached,
            ),
            (503, own_503, Retryable),
            (503, xml_503, Retryable),
            (
                503,
                r#"{"RestException":{"Status":"503","Message":"throttled","Code":"40405"}}"#,
                Retryable,
            ),
            (504, own_503, MayHaveReached),
            (
                200,
                r#"{"http_code":200,"response":{"code":200,"error_data":null,"status":"success","data":{}}}"#,
                Accepted,
            ),
            (200, r#"{"response":{"sid":"a","status":"completed"}}"#, Accepted),
            (200, r#"{"response":[]}"#, Accepted),
            (
                207,
                r#"{"http_code":207,"response":[{"code":200,"status":"success"},{"code":400,"status":"failure","error_data":{"code":1002}}]}"#,
                Accepted,
            ),
            (
                207,
                r#"{"http_code":207,"response":[{"code":400,"status":"failure","error_data":{"code":1002}}]}"#,
                RefusedForGood,
            ),
            (
                200,
                r#"{"http_code":404,"response":{"code":404,"status":"failure"}}"#,
                RefusedForGood,
            ),
            (
                200,
                r#"{"http_code":200,"response":{"code":200,"status":"failure"}}"#,
                MayHaveReached,
            ),
            (
                400,
                r#"{"http_code":400,"response":{"code":1002,"error_data":{"code":1002}}}"#,
                RefusedForGood,
            ),
            (
                409,
                r#"{"http_code":409,"response":{"error_data":{"code":10706}}}"#,
                RefusedForGood,
            ),
            (
                429,
                r#"{"http_code":429,"response":{"code":429,"status":"failure"}}"#,
                Retryable,
            ),
            (
                503,
                r#"{"http_code":503,"response":{"code":503,"error_data":{"code":1100},"status":"failure"}}"#,
                Retryable,
            ),
            (
                503,
                r#"{"http_code":500,"response":{"code":500,"error_data":{"code":1100},"status":"failure"}}"#,
                MayHaveReached,
            ),
            (
                500,
                r#"{"http_code":500,"response":{"code":500,"error_data":{"code":1100},"status":"failure"}}"#,
                MayHaveReached,
            ),
            (302, "", MayHaveReached),
            (101, "", MayHaveReached),
            (599, "\u{0}\u{1}", MayHaveReached),
        ] {
            assert_eq!(
                verdict(&classify(status, body.as_bytes())),
                expected,
                "{status} {body}"
            );
        }
    }

    #[test]
    fn the_reason_is_read_from_code_words_and_status() {
        let message = |status: u16, message: &str| {
            format!(r#"{{"RestException":{{"Status":{status},"Message":"{message}"}}}}"#)
        };
        let code = |status: u16, code: &str| {
            format!(r#"{{"RestException":{{"Status":{status},"Message":"-","Code":{code}}}}}"#)
        };
        for (status, body, reason) in [
            (
                403,
                message(
                    403,
                    "Call to [09811100002] can not be made because of TRAI NDNC regulations.",
                ),
                Reason::Dnd,
            ),
            (
                403,
                message(403, "Your account is not yet KYC compliant."),
                Reason::Kyc,
            ),
            (403, code(403, "340030"), Reason::Kyc),
            (403, code(403, "40001"), Reason::Balance),
            (403, code(403, "\"40001\""), Reason::Balance),
            (402, String::new(), Reason::Balance),
            (401, String::new(), Reason::Credentials),
            (400, code(400, "34001"), Reason::Credentials),
            (403, code(403, "34009"), Reason::Account),
            (403, code(403, "40003"), Reason::NotEnabled),
            (400, code(400, "40300"), Reason::Sender),
            (400, code(400, "40203"), Reason::InvalidParameter),
            (404, String::new(), Reason::NotFound),
            (429, String::new(), Reason::RateLimit),
            (503, code(503, "40405"), Reason::RateLimit),
            (503, code(503, "35008"), Reason::Platform),
            (
                403,
                message(403, "IP address is not allowed"),
                Reason::IpAllowList,
            ),
            (403, String::new(), Reason::Other),
        ] {
            assert_eq!(
                classify(status, body.as_bytes()).unwrap_err().reason(),
                Some(reason),
                "{status} {body}"
            );
        }
    }

    #[test]
    fn a_v2_failure_gives_code_words_and_reason() {
        let body = |http: u16, code: u16| {
            format!(
                r#"{{"request_id":"c608","method":"GET","http_code":{http},"response":{{"code":{http},
                "error_data":{{"code":{code},"message":"Not allowed","description":"Agent +919811100001"}},"status":"failure","data":null}}}}"#
            )
        };
        for (http, code, reason) in [
            (401, 1010, Reason::Credentials),
            (404, 10716, Reason::NotFound),
            (400, 1001, Reason::InvalidParameter),
            (403, 10814, Reason::Kyc),
            (409, 10706, Reason::Other),
            (429, 1, Reason::RateLimit),
            (500, 1100, Reason::Platform),
        ] {
            let error = classify(http, body(http, code).as_bytes()).unwrap_err();
            assert_eq!(
                (error.reason(), error.status()),
                (Some(reason), Some(http)),
                "{code}"
            );
            let refusal = error.refusal().unwrap();
            assert_eq!(refusal.code, Some(code.to_string()));
            assert_eq!(
                refusal.message.as_deref(),
                Some("Not allowed: Agent +********0001")
            );
        }
    }

    #[test]
    fn exotels_words_never_show_a_whole_number() {
        let body = r#"{"RestException":{"Status":403,"Message":"Call to [09811100002] can not be made because of TRAI NDNC regulations."}}"#;
        let error = classify(403, body.as_bytes()).unwrap_err();
        assert_eq!(
            error.exotel_message(),
            Some("Call to [*******0002] can not be made because of TRAI NDNC regulations.")
        );
        assert!(!format!("{error} {error:?}").contains("098111"));
    }

    #[test]
    fn an_error_names_status_and_code() {
        let body = r#"{"RestException":{"Status":401,"Message":"Authentication failed","Code":34010}}"#;
        let error = classify(401, body.as_bytes()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Exotel refused the request: Authentication failed (HTTP 401, code 34010)"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_answer_makes_the_classifier_panic(status in 0u16..1000, body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = verdict(&classify(status, &body));
        }
    }
}
