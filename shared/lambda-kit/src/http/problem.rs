//! What went wrong, told to the caller as `application/problem+json` (RFC 9457).

use http::{HeaderValue, StatusCode, header};
use problem_details::ProblemDetails;
use serde::Serialize;

use super::Response;

/// A sentence, even when it quotes a whole body back.
const DETAIL_CHARACTERS: usize = 400;

/// A refusal or failure as the caller sees it: a status, a stable `code` for programs, a sentence for people. The
/// cause stays in the log. Whatever looks like a phone number in the sentence is masked, whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    field: Option<String>,
    retry_after_secs: Option<u32>,
}

#[derive(Serialize)]
struct Extensions<'a> {
    code: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

impl Problem {
    /// A problem of any status. `code` is snake_case and never changes; `detail` is one sentence that says what is
    /// wrong and what to do.
    pub fn new(status: u16, code: &'static str, detail: impl AsRef<str>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut detail = mask_numbers(detail.as_ref());
        if let Some((end, _)) = detail.char_indices().nth(DETAIL_CHARACTERS) {
            detail.replace_range(end.., "…");
        }
        Self {
            status,
            code,
            detail,
            field: None,
            retry_after_secs: None,
        }
    }

    /// 400: a field of the body, a query or path parameter or a header cannot be used.
    pub fn bad_field(field: impl Into<String>, detail: impl AsRef<str>) -> Self {
        Self {
            field: Some(field.into()),
            ..Self::new(400, "bad_request", detail)
        }
    }

    /// 400: the request as a whole cannot be used.
    pub fn bad_request(detail: impl AsRef<str>) -> Self {
        Self::new(400, "bad_request", detail)
    }

    /// 401: no token, or one that is not good.
    pub fn unauthorized(detail: impl AsRef<str>) -> Self {
        Self::new(401, "unauthorized", detail)
    }

    /// 403: a good token whose role may not do this.
    pub fn forbidden() -> Self {
        Self::new(403, "forbidden", "Your role may not do this.")
    }

    /// 404: no such thing, or one outside the caller's scope; the two look the same.
    pub fn not_found() -> Self {
        Self::new(404, "not_found", "There is no such thing here.")
    }

    /// 413: the body is longer than `limit_bytes`.
    pub fn too_large(limit_bytes: usize) -> Self {
        Self::new(
            413,
            "body_too_large",
            format!("The body must not be longer than {limit_bytes} bytes."),
        )
    }

    /// 415: the body has another type than `expected`.
    pub fn unsupported_media_type(expected: &str) -> Self {
        Self::new(
            415,
            "unsupported_media_type",
            format!("Send the body as {expected}."),
        )
    }

    /// 500: our own failure. The cause is logged here, and only here.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!("request failed: {cause}");
        Self::new(
            500,
            "internal",
            "Something failed on our side. Try again; if it stays, report the request_id.",
        )
    }

    /// 503: something we need does not answer now. The cause is logged here, and only here.
    pub fn unavailable(code: &'static str, detail: impl AsRef<str>, cause: impl std::fmt::Display) -> Self {
        tracing::error!("request failed: {cause}");
        Self::new(503, code, detail).retry_after(1)
    }

    /// The same problem, naming the field it is about.
    pub fn about(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The same problem with `Retry-After`.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_secs = Some(seconds);
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// The stable word for programs.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The sentence for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The field it is about.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The problem as an answer. `request_id` is the invocation's, under which its log lines are found.
    pub fn into_response(self, request_id: &str) -> Response {
        let extensions = Extensions {
            code: self.code,
            request_id,
            field: self.field.as_deref(),
        };
        let details = ProblemDetails::from_status_code(self.status)
            .with_detail(self.detail)
            .with_extensions(extensions);
        let body = serde_json::to_string(&details).expect("a problem serialises to JSON");
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_secs {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The text with every run of 7 to 15 digits that stands alone reduced to its last 4. Separators between the digits
/// (spaces, dashes, dots, brackets) count as part of the run; ids, where digits touch letters, and dates
/// (2026-11-21) stay as they are.
fn mask_numbers(text: &str) -> String {
    let touches = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, run_on) = rest.split_at(start);
        let end = if starts_with_date(run_on) {
            "2026-11-21".len()
        } else {
            run_length(run_on)
        };
        let (run, after) = run_on.split_at(end);
        let digits: Vec<char> = run.chars().filter(char::is_ascii_digit).collect();
        let alone = !touches(before.chars().next_back()) && !touches(after.chars().next());
        masked.push_str(before);
        if alone && (7..=15).contains(&digits.len()) && !starts_with_date(run) {
            masked.push('…');
            masked.extend(&digits[digits.len() - 4..]);
        } else {
            masked.push_str(run);
        }
        rest = after;
    }
    masked.push_str(rest);
    masked
}

/// Bytes up to the last digit of the number that `text` starts with; at most two separators between its digits.
fn run_length(text: &str) -> usize {
    let mut end = 0;
    for (at, c) in text.char_indices() {
        if c.is_ascii_digit() {
            end = at + 1;
        } else if !matches!(c, ' ' | '-' | '.' | '(' | ')') || at >= end + 2 {
            break;
        }
    }
    end
}

fn starts_with_date(text: &str) -> bool {
    let shape = |(at, byte): (usize, &u8)| {
        if at == 4 || at == 7 {
            *byte == b'-'
        } else {
            byte.is_ascii_digit()
        }
    };
    let (date, after) = text.as_bytes().split_at(text.len().min(10));
    date.len() == 10 && date.iter().enumerate().all(shape) && !after.first().is_some_and(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_problem_is_rfc_9457_with_code_and_request_id() {
        let response = Problem::bad_field("phone", "The number is not valid.").into_response("req-1");
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let body: serde_json::Value = serde_json::from_str(response.body()).unwrap();
        assert_eq!(
            body,
            serde_json::json!({"status": 400, "title": "Bad Request", "detail": "The number is not valid.",
                "code": "bad_request", "request_id": "req-1", "field": "phone"})
        );
    }

    #[test]
    fn a_401_says_bearer_and_a_busy_one_when_to_come_back() {
        let headers = Problem::unauthorized("No token.")
            .into_response("r")
            .headers()
            .clone();
        assert_eq!(headers["www-authenticate"], "Bearer");
        let headers = Problem::new(429, "busy", "Wait.")
            .retry_after(7)
            .into_response("r")
            .headers()
            .clone();
        assert_eq!(headers["retry-after"], "7");
    }

    #[test]
    fn numbers_are_masked_and_ids_are_not() {
        for (text, masked) in [
            ("+919811100001 is on DND", "+…0001 is on DND"),
            (
                "call 098111 00001, then (080) 4555-0100.",
                "call …0001, then (…0100.",
            ),
            (
                "call_01kak5yv7z8e4f9y2f4w6r8t0v",
                "call_01kak5yv7z8e4f9y2f4w6r8t0v",
            ),
            (
                "sid 7c1b2a3d4e5f6071829304a5b6c7d8e9",
                "sid 7c1b2a3d4e5f6071829304a5b6c7d8e9",
            ),
            ("at most 1000 of 65536 bytes", "at most 1000 of 65536 bytes"),
            ("1234567890123456", "1234567890123456"),
            (
                "from must be a date such as 2026-11-21.",
                "from must be a date such as 2026-11-21.",
            ),
            ("2026-11-21 9811100001", "2026-11-21 …0001"),
            ("2026-11-219 8", "…2198"),
            ("", ""),
        ] {
            assert_eq!(Problem::bad_request(text).detail(), masked);
        }
    }

    #[test]
    fn a_long_detail_is_cut() {
        let problem = Problem::bad_request("ü".repeat(1000));
        assert_eq!(problem.detail().chars().count(), 401);
    }

    proptest! {
        #[test]
        fn no_phone_number_survives(before in "[ :(]", number in "[+]?[6-9][0-9]{4}[ -]?[0-9]{5}", after in "[ .,)]?\\PC{0,20}") {
            prop_assume!(!after.starts_with(|c: char| c.is_alphanumeric() || c == '_'));
            let digits: String = number.chars().filter(char::is_ascii_digit).collect();
            // More digits right behind make it something longer than a phone number.
            prop_assume!(!after.chars().any(|c| c.is_ascii_digit()));
            let detail = Problem::bad_request(format!("to{before}{number}{after}")).detail;
            let left: String = detail.chars().filter(char::is_ascii_digit).collect();
            prop_assert_eq!(left, &digits[6..]);
        }

        #[test]
        fn masking_never_panics_nor_grows(text in "\\PC{0,60}") {
            prop_assert!(mask_numbers(&text).chars().count() <= text.chars().count());
        }
    }
}
