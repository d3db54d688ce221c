//! Answers: JSON in camelCase (the types say so), lists with a cursor, redirects.

use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use super::Problem;

/// An answer to API Gateway, its body text in memory; an empty text is no body.
pub type Response = http::Response<String>;

/// A JSON answer.
///
/// # Errors
/// A 500 when `body` cannot be serialised, or `status` is none.
pub fn json<T: Serialize>(status: u16, body: &T) -> Result<Response, Problem> {
    let status = StatusCode::from_u16(status).map_err(Problem::internal)?;
    let body = serde_json::to_string(body).map_err(Problem::internal)?;
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Leads, calls and numbers of people: no shared cache keeps them.
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// One page of a list: `{"items": […], "nextCursor": "…" | null}`.
///
/// # Errors
/// As [`json`].
pub fn list<T: Serialize>(items: &[T], next_cursor: Option<&str>) -> Result<Response, Problem> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct List<'a, T> {
        items: &'a [T],
        next_cursor: Option<&'a str>,
    }
    json(200, &List { items, next_cursor })
}

/// An answer without a body.
///
/// # Errors
/// A 500 when `status` is none.
pub fn empty(status: u16) -> Result<Response, Problem> {
    let mut response = Response::new(String::new());
    *response.status_mut() = StatusCode::from_u16(status).map_err(Problem::internal)?;
    Ok(response)
}

/// A 302 to `location` that nobody caches.
///
/// # Errors
/// A 500 when `location` cannot stand in a header.
pub fn redirect(location: &str) -> Result<Response, Problem> {
    let mut response = empty(302)?;
    let location = HeaderValue::from_str(location).map_err(Problem::internal)?;
    response.headers_mut().insert(header::LOCATION, location);
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_items_and_a_cursor_that_may_be_null() {
        for (cursor, text) in [
            (Some("abc"), r#"{"items":[1,2],"nextCursor":"abc"}"#),
            (None, r#"{"items":[1,2],"nextCursor":null}"#),
        ] {
            let response = list(&[1, 2], cursor).unwrap();
            assert_eq!(response.body(), text);
            assert_eq!(response.headers()["content-type"], "application/json");
        }
    }

    #[test]
    fn a_redirect_is_not_cached_and_takes_no_line_break() {
        let response = redirect("https://x.example/r?ticket=a.b.c").unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["cache-control"]),
            (302, &HeaderValue::from_static("no-store"))
        );
        assert_eq!(
            redirect("https://x.example/\r\nset-cookie: a")
                .unwrap_err()
                .status(),
            500
        );
    }
}
