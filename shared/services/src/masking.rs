//! What people who may not see numbers are shown.

/// The text with every number reduced to four digits and every http address to its scheme, whatever the encoding:
/// in a form, in JSON, in a multipart body.
pub(crate) fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("http") {
        let (before, address) = rest.split_at(at);
        let end = address
            .find(|c: char| c.is_whitespace() || matches!(c, '&' | '"' | '<' | '\''))
            .unwrap_or(address.len());
        masked.push_str(before);
        masked.push_str("http…");
        rest = &address[end..];
    }
    masked.push_str(rest);
    exotel::mask_numbers(&masked)
}
