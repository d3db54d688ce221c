//! Basic authentication, and whose account the path names.

use base64::Engine as _;
use http::StatusCode;
use secrecy::ExposeSecret as _;

use super::Refusal;
use crate::core::Core;
use crate::options::Account;

pub(crate) fn wrong_pair() -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, Some(34_010), "Authentication failed")
}

/// The account that an Authorization header belongs to.
pub(crate) fn identify<'a>(core: &'a Core, authorization: Option<&str>) -> Result<&'a Account, Refusal> {
    let (key, token) = authorization.and_then(decode).ok_or_else(wrong_pair)?;
    let alphanumeric = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric());
    if !alphanumeric(&key) || !alphanumeric(&token) {
        let message = "API key and token may only contain letters and digits";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, Some(34_001), message));
    }
    core.options
        .accounts
        .iter()
        // The other cluster's credentials are unknown here.
        .find(|account| {
            account.key == key && account.token.expose_secret() == token && !account.other_cluster
        })
        .ok_or_else(wrong_pair)
}

/// The account of the header, if it is the one that the path names.
pub(crate) fn authorize<'a>(
    core: &'a Core,
    authorization: Option<&str>,
    account_in_path: &str,
) -> Result<&'a Account, Refusal> {
    let account = identify(core, authorization)?;
    if account.sid == account_in_path {
        return Ok(account);
    }
    let message = "Account SID is missing, or these credentials may not use it";
    Err(Refusal::new(StatusCode::FORBIDDEN, Some(34_009), message))
}

fn decode(authorization: &str) -> Option<(String, String)> {
    let (scheme, encoded) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(encoded.trim())
        .ok()?;
    let (key, token) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
    Some((key.to_owned(), token.to_owned()))
}
