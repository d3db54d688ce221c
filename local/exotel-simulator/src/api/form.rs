//! Request bodies: form-urlencoded, multipart, and JSON flattened to the same names.

use bytes::Bytes;

/// Reads a body into names and values; the problem in words if it cannot be read.
pub(super) async fn read(content_type: Option<&str>, body: &Bytes) -> Result<Vec<(String, String)>, String> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let content_type = content_type.unwrap_or_default();
    let kind = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match kind.as_str() {
        "multipart/form-data" => multipart(content_type, body.clone()).await,
        "application/json" => json(body),
        // Like most servers behind PHP: what is not said to be anything else is a form.
        "application/x-www-form-urlencoded" | "" => Ok(urlencoded(body)),
        other => Err(format!("content type {other} is not supported; send a form")),
    }
}

pub(super) fn urlencoded(bytes: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(bytes).into_owned().collect()
}

async fn multipart(content_type: &str, body: Bytes) -> Result<Vec<(String, String)>, String> {
    let boundary = multer::parse_boundary(content_type).map_err(|err| err.to_string())?;
    let stream = futures_util::stream::once(async move { Ok::<_, std::convert::Infallible>(body) });
    let mut parts = multer::Multipart::new(stream, boundary);
    let mut fields = Vec::new();
    while let Some(part) = parts.next_field().await.map_err(|err| err.to_string())? {
        let name = part.name().unwrap_or_default().to_owned();
        fields.push((name, part.text().await.map_err(|err| err.to_string())?));
    }
    Ok(fields)
}

fn json(body: &[u8]) -> Result<Vec<(String, String)>, String> {
    let value: serde_json::Value =
        serde_json::from_slice(body).map_err(|err| format!("the JSON is wrong: {err}"))?;
    let mut fields = Vec::new();
    flatten(String::new(), &value, &mut fields);
    Ok(fields)
}

fn flatten(name: String, value: &serde_json::Value, out: &mut Vec<(String, String)>) {
    match value {
        serde_json::Value::Null => {}
        serde_json::Value::String(text) => out.push((name, text.clone())),
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) => out.push((name, value.to_string())),
        serde_json::Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(at, item)| flatten(format!("{name}[{at}]"), item, out));
        }
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                let name = if name.is_empty() {
                    key.clone()
                } else {
                    format!("{name}[{key}]")
                };
                flatten(name, value, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn json_gets_the_names_that_a_form_would_have() {
        let body = Bytes::from_static(br#"{"From":"A","sms":[{"To":"1","Body":"x"},{"To":2}]}"#);
        let fields = read(Some("application/json"), &body).await.unwrap();
        let expected = [
            ("From", "A"),
            ("sms[0][Body]", "x"),
            ("sms[0][To]", "1"),
            ("sms[1][To]", "2"),
        ];
        assert_eq!(
            fields,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[tokio::test]
    async fn a_body_of_another_kind_is_refused_in_words() {
        let problem = read(Some("text/plain"), &Bytes::from_static(b"hello"))
            .await
            .unwrap_err();
        assert!(problem.contains("text/plain"));
    }
}
