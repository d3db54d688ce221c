//! From a body's bytes to its fields, trusting neither the content type nor its presence.

use std::convert::Infallible;
use std::fmt;

use bytes::Bytes;
use futures_util::{FutureExt, stream};
use serde_json::Value;

use super::CallbackError;
use crate::fields::Fields;

/// How a callback's values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyForm {
    /// `application/json`
    Json,
    /// `application/x-www-form-urlencoded`
    Urlencoded,
    /// `multipart/form-data`
    Multipart,
}

impl fmt::Display for BodyForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "JSON",
            Self::Urlencoded => "a urlencoded form",
            Self::Multipart => "a multipart form",
        })
    }
}

/// Reads body and query into fields and hands them to `read`: first in the form that the content type names, then in
/// the form that the body looks like, then from the query alone. The first failure is the one reported.
pub(super) fn read_callback<T>(
    content_type: Option<&str>,
    body: &[u8],
    query: Option<&str>,
    read: impl Fn(&Fields) -> Result<T, CallbackError>,
) -> Result<T, CallbackError> {
    let query = query
        .map(|query| urlencoded(query.as_bytes()))
        .unwrap_or_default();
    let looks_like = looks_like(body);
    let mut first_failure = None;
    if !body.trim_ascii().is_empty() {
        let declared = declared(content_type).unwrap_or(looks_like);
        let forms = [declared, looks_like];
        for form in &forms[..if declared == looks_like { 1 } else { 2 }] {
            let read_here = read_form(*form, content_type, body).and_then(|mut fields| {
                fields.fill_from(query.clone());
                read(&fields)
            });
            match read_here {
                Ok(callback) => return Ok(callback),
                Err(failure) => drop(first_failure.get_or_insert(failure)),
            }
        }
    }
    if query == Fields::default() {
        return Err(first_failure.unwrap_or(CallbackError::Empty));
    }
    read(&query).map_err(|failure| first_failure.unwrap_or(failure))
}

fn declared(content_type: Option<&str>) -> Option<BodyForm> {
    let content_type = content_type?.to_ascii_lowercase();
    let says = |word| content_type.contains(word);
    if says("json") {
        Some(BodyForm::Json)
    } else if says("multipart/") {
        Some(BodyForm::Multipart)
    } else if says("urlencoded") {
        Some(BodyForm::Urlencoded)
    } else {
        None
    }
}

fn looks_like(body: &[u8]) -> BodyForm {
    match without_bom(body).trim_ascii_start() {
        [b'{' | b'[', ..] => BodyForm::Json,
        [b'-', b'-', ..] => BodyForm::Multipart,
        _ => BodyForm::Urlencoded,
    }
}

fn read_form(form: BodyForm, content_type: Option<&str>, body: &[u8]) -> Result<Fields, CallbackError> {
    let fields = match form {
        BodyForm::Json => json(body),
        BodyForm::Urlencoded => Ok(urlencoded(body)),
        BodyForm::Multipart => multipart(content_type, body),
    };
    fields.map_err(|detail| CallbackError::Unreadable { form, detail })
}

fn json(body: &[u8]) -> Result<Fields, String> {
    json_value(body).map(|value| Fields::from_json(&value))
}

/// The object that a JSON body is, or the only one of its list.
pub(super) fn json_value(body: &[u8]) -> Result<Value, String> {
    // Bytes that are not UTF-8 in one value must not cost the others.
    let text = String::from_utf8_lossy(without_bom(body));
    // Category, line and column, but not the message: that one quotes values.
    let value: Value = serde_json::from_str(&text).map_err(|e| {
        format!(
            "{:?} error at line {}, column {}",
            e.classify(),
            e.line(),
            e.column()
        )
    })?;
    let only = match value {
        Value::Array(mut items) if items.len() == 1 => items.remove(0),
        value => value,
    };
    if only.is_object() {
        Ok(only)
    } else {
        Err("not an object".to_owned())
    }
}

fn urlencoded(body: &[u8]) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in form_urlencoded::parse(without_bom(body).trim_ascii()) {
        fields.insert(&name, &value);
    }
    fields
}

fn multipart(content_type: Option<&str>, body: &[u8]) -> Result<Fields, String> {
    let body = body.trim_ascii_start();
    // What the body begins with is right even where the content type is not.
    let declared = content_type.and_then(boundary_of);
    let begins_with = |boundary: &String| {
        body.strip_prefix(b"--")
            .is_some_and(|rest| rest.starts_with(boundary.as_bytes()))
    };
    let boundary = match declared {
        Some(boundary) if begins_with(&boundary) => Some(boundary),
        declared => first_boundary(body).or(declared),
    };
    let boundary = boundary.ok_or("it has no boundary")?;
    let whole = stream::iter([Ok::<_, Infallible>(Bytes::copy_from_slice(body))]);
    let mut parts = multer::Multipart::new(whole, boundary);
    let reading = async move {
        let mut fields = Fields::default();
        while let Some(part) = parts.next_field().await? {
            let Some(name) = part.name().map(str::to_owned) else {
                continue;
            };
            fields.insert(&name, &String::from_utf8_lossy(&part.bytes().await?));
        }
        Ok::<_, multer::Error>(fields)
    };
    // The whole body is at hand, so no part of this ever waits.
    reading
        .now_or_never()
        .ok_or("it ends early")?
        .map_err(|e| e.to_string())
}

/// The boundary parameter of a content type, quoted or not.
fn boundary_of(content_type: &str) -> Option<String> {
    let at = content_type.to_ascii_lowercase().find("boundary=")? + "boundary=".len();
    let rest = content_type.get(at..)?.trim();
    let boundary = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split([';', ',', ' ']).next(),
    };
    boundary.filter(|b| !b.is_empty()).map(str::to_owned)
}

/// The boundary as the body's first line shows it.
fn first_boundary(body: &[u8]) -> Option<String> {
    let line = body.split(|&b| b == b'\n').next()?.trim_ascii_end();
    let boundary = std::str::from_utf8(line.strip_prefix(b"--")?).ok()?;
    (!boundary.is_empty() && boundary.len() <= 200).then(|| boundary.to_owned())
}

fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_are_found_quoted_unquoted_and_in_the_body() {
        assert_eq!(
            boundary_of("multipart/form-data; boundary=abc").as_deref(),
            Some("abc")
        );
        assert_eq!(
            boundary_of("Multipart/Form-Data; Boundary=\"a b\"; charset=utf-8").as_deref(),
            Some("a b")
        );
        assert_eq!(boundary_of("multipart/form-data"), None);
        assert_eq!(first_boundary(b"--xyz\r\nContent-").as_deref(), Some("xyz"));
    }

    #[test]
    fn what_was_wrong_is_told_without_the_body() {
        let told = json(br#"{"To": 09811100002}"#).unwrap_err();
        assert!(!told.contains("098"), "{told}");
    }
}
