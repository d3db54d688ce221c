//! Who calls: the Bearer JWT of our own routes (spec 1.1).

use std::time::Duration;

use domain::{
    access::{Caller, Role},
    ids::UserId,
};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation,
    errors::ErrorKind,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse},
};
use secrecy::ExposeSecret;
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use crate::{
    Error,
    config::JwtConfig,
    http::{Problem, Request},
    init::Live,
};

/// How far the identity provider's clock may be from ours.
const LEEWAY_SECS: f64 = 30.0;
/// A key set is read again after this, so that a withdrawn key stops working.
const KEY_SET_AGE: SignedDuration = SignedDuration::from_mins(60);
/// Whoever presents unknown key ids must not make us ask the provider each time.
const KEY_SET_INTERVAL: SignedDuration = SignedDuration::from_secs(30);
const KEY_SET_TIMEOUT: Duration = Duration::from_secs(3);
/// Real key sets are a few KB.
const KEY_SET_BYTES: usize = 256 * 1024;
/// RSA keys under 2048 bits prove nothing any more.
const RSA_MODULUS_BYTES: usize = 256;

/// Checks tokens. HS256 is taken with the shared secret only, RS256 and ES256 with a key of the key set only, so no
/// key is ever used with an algorithm it was not made for.
pub struct Verifier {
    config: Live<JwtConfig>,
    key_set: Option<KeySet>,
}

#[derive(Deserialize)]
struct Claims {
    sub: UserId,
    #[serde(default)]
    role: serde_json::Value,
    /// Seconds since 1970; RFC 7519 allows fractions.
    exp: f64,
    #[serde(default)]
    nbf: Option<f64>,
}

/// Why a token is refused.
enum Refusal {
    /// It may be one of a key or secret newer than ours.
    UnknownKey,
    Bad(Problem),
}

impl Verifier {
    /// A verifier for the tokens that `config` says. `https` fetches the key set, and only when `JWT_JWKS_URL` is set.
    pub fn new(config: Live<JwtConfig>, https: reqwest::Client) -> Self {
        let url = config.cached().jwks_url.clone();
        Self {
            config,
            key_set: url.map(|url| KeySet {
                url,
                https,
                state: Mutex::default(),
            }),
        }
    }

    /// The caller, when the token is good and the route's family admits their role.
    ///
    /// # Errors
    /// 401 without a good token, 403 for a role that may not, 503 when the key set cannot be had.
    pub async fn authorize(&self, request: &Request, now: Timestamp) -> Result<Caller, Problem> {
        let caller = self.caller(request.header("authorization"), now).await?;
        if request.route().family.admits(caller.role) {
            Ok(caller)
        } else {
            Err(Problem::forbidden())
        }
    }

    /// The caller whose token an `Authorization` header holds.
    ///
    /// # Errors
    /// 401 without a good token, 403 for a role we do not know, 503 when the key set cannot be had.
    pub async fn caller(&self, authorization: Option<&str>, now: Timestamp) -> Result<Caller, Problem> {
        let token = authorization
            .and_then(|header| header.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| Problem::unauthorized("Send an Authorization header with a Bearer token."))?;
        let config = self.config.get(now).await;
        match self.check(token, &config, now).await {
            Err(Refusal::UnknownKey) => {
                let config = self.config.refetch(now).await;
                self.check(token, &config, now).await
            }
            checked => checked,
        }
        .map_err(|refusal| match refusal {
            Refusal::UnknownKey => bad_token("its signature does not fit"),
            Refusal::Bad(problem) => problem,
        })
    }

    async fn check(&self, token: &str, config: &JwtConfig, now: Timestamp) -> Result<Caller, Refusal> {
        let bad = |reason: &str| Refusal::Bad(bad_token(reason));
        let header = jsonwebtoken::decode_header(token).map_err(|_| bad("it is no JWT we take"))?;
        if header.crit.is_some() {
            return Err(bad("it has critical header parameters"));
        }
        let key = match (header.alg, &config.secret, &self.key_set) {
            (Algorithm::HS256, Some(secret), _) => {
                DecodingKey::from_secret(secret.expose_secret().as_bytes())
            }
            (Algorithm::RS256 | Algorithm::ES256, _, Some(key_set)) => key_set
                .find(header.kid.as_deref(), header.alg, now)
                .await
                .map_err(Refusal::Bad)?
                .ok_or_else(|| bad("no key of the key set is its"))?,
            _ => return Err(bad("its algorithm is not taken here")),
        };
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation(header.alg, config))
            .map_err(|err| match err.kind() {
                ErrorKind::InvalidSignature if header.alg == Algorithm::HS256 => Refusal::UnknownKey,
                _ => bad(&err.to_string()),
            })?
            .claims;
        let now = now.as_second() as f64;
        if claims.exp + LEEWAY_SECS <= now {
            return Err(Refusal::Bad(Problem::unauthorized(
                "The token has expired; sign in again.",
            )));
        }
        if claims.nbf.is_some_and(|nbf| nbf - LEEWAY_SECS > now) {
            return Err(bad("it is not valid yet"));
        }
        let role: Role = claims
            .role
            .as_str()
            .and_then(|role| role.parse().ok())
            .ok_or_else(|| {
                let roles = "The token's role must be SALES, SALES_HEAD, ADMIN or SUPERADMIN.";
                Refusal::Bad(Problem::new(403, "forbidden", roles))
            })?;
        Ok(Caller {
            user_id: claims.sub,
            role,
        })
    }
}

/// What jsonwebtoken checks for us. Time is not among it: it would ask the clock itself.
fn validation(algorithm: Algorithm, config: &JwtConfig) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_aud = config.audience.is_some();
    let mut required = vec!["exp", "sub"];
    if let Some(issuer) = &config.issuer {
        validation.set_issuer(&[issuer]);
        required.push("iss");
    }
    if let Some(audience) = &config.audience {
        validation.set_audience(&[audience]);
        required.push("aud");
    }
    validation.set_required_spec_claims(&required);
    validation
}

/// The caller learns no more than that the token is bad; the log says why.
fn bad_token(reason: &str) -> Problem {
    tracing::info!(reason, "token refused");
    Problem::unauthorized("The token is not valid here; sign in again.")
}

/// An HS256 token for `caller`, good from `now` for `lifetime`, as a service that shares `JWT_SECRET` would make it;
/// for `cargo xtask token` and tests.
///
/// # Errors
/// [`Error::Missing`] when the configuration has no secret.
pub fn mint(
    config: &JwtConfig,
    caller: &Caller,
    now: Timestamp,
    lifetime: SignedDuration,
) -> Result<String, Error> {
    let secret = config.secret.as_ref().ok_or(Error::Missing {
        variable: "JWT_SECRET",
        doc: "it signs the token",
    })?;
    let mut claims = serde_json::json!({
        "sub": caller.user_id,
        "role": caller.role,
        "iat": now.as_second(),
        "exp": (now + lifetime).as_second(),
    });
    if let Some(issuer) = &config.issuer {
        claims["iss"] = issuer.as_str().into();
    }
    if let Some(audience) = &config.audience {
        claims["aud"] = audience.as_str().into();
    }
    let key = EncodingKey::from_secret(secret.expose_secret().as_bytes());
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key);
    Ok(token.expect("HS256 signs any claims with any secret"))
}

/// The identity provider's key set, fetched when it is first needed.
struct KeySet {
    url: Url,
    https: reqwest::Client,
    state: Mutex<KeySetState>,
}

#[derive(Default)]
struct KeySetState {
    keys: Vec<VerifyingKey>,
    fetched_at: Option<Timestamp>,
    asked_at: Option<Timestamp>,
}

struct VerifyingKey {
    kid: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl KeySet {
    /// The key that may have signed a token. A token without a key id is checked with the only key of its algorithm.
    async fn find(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        now: Timestamp,
    ) -> Result<Option<DecodingKey>, Problem> {
        let mut state = self.state.lock().await;
        let since = |at: Option<Timestamp>| at.map_or(SignedDuration::MAX, |at| now.duration_since(at));
        let mut failure = None;
        let stale = since(state.fetched_at) >= KEY_SET_AGE || state.find(kid, algorithm).is_none();
        if stale && since(state.asked_at) >= KEY_SET_INTERVAL {
            state.asked_at = Some(now);
            match self.fetch().await {
                Ok(keys) => {
                    state.keys = keys;
                    state.fetched_at = Some(now);
                }
                Err(err) => failure = Some(err),
            }
        }
        if state.fetched_at.is_none() {
            let cause = failure.unwrap_or_else(|| "it was asked for moments ago".to_owned());
            return Err(Problem::unavailable(
                "key_set_unavailable",
                "Tokens cannot be checked now, because the identity provider's keys cannot be had. Try again.",
                format!("key set of JWT_JWKS_URL: {cause}"),
            ));
        }
        if let Some(cause) = failure {
            tracing::warn!("kept the key set fetched before: {cause}");
        }
        Ok(state.find(kid, algorithm).cloned())
    }

    async fn fetch(&self) -> Result<Vec<VerifyingKey>, String> {
        let text = |err: reqwest::Error| err.without_url().to_string();
        let request = self.https.get(self.url.clone()).timeout(KEY_SET_TIMEOUT);
        let mut response = request
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(text)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(text)? {
            body.extend_from_slice(&chunk);
            if body.len() > KEY_SET_BYTES {
                return Err("it is too large".to_owned());
            }
        }
        let set: JwkSet = serde_json::from_slice(&body).map_err(|err| format!("it is no key set: {err}"))?;
        Ok(set.keys.iter().filter_map(VerifyingKey::of).collect())
    }
}

impl KeySetState {
    fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let mut keys = self.keys.iter().filter(|key| key.algorithm == algorithm);
        match kid {
            Some(kid) => keys
                .find(|key| key.kid.as_deref() == Some(kid))
                .map(|key| &key.key),
            None => keys.next().filter(|_| keys.next().is_none()).map(|key| &key.key),
        }
    }
}

impl VerifyingKey {
    /// The key when it is one for signatures that we take: RSA of 2048 bits or more for RS256, P-256 for ES256.
    fn of(jwk: &Jwk) -> Option<Self> {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(parameters) if parameters.curve == EllipticCurve::P256 => {
                Algorithm::ES256
            }
            _ => return None,
        };
        let said = match jwk.common.key_algorithm {
            None => true,
            Some(KeyAlgorithm::RS256) => algorithm == Algorithm::RS256,
            Some(KeyAlgorithm::ES256) => algorithm == Algorithm::ES256,
            Some(_) => false,
        };
        let for_signatures = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
        let key = DecodingKey::from_jwk(jwk).ok()?;
        let long = match key.kind() {
            jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, .. } => n.len() >= RSA_MODULUS_BYTES,
            jsonwebtoken::DecodingKeyKind::SecretOrDer(_) => true,
        };
        (said && for_signatures && long).then(|| Self {
            kid: jwk.common.key_id.clone(),
            algorithm,
            key,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn now() -> Timestamp {
        "2026-11-21T04:00:00Z".parse().unwrap()
    }

    fn config() -> JwtConfig {
        JwtConfig {
            secret: Some(SECRET.into()),
            jwks_url: None,
            issuer: None,
            audience: None,
        }
    }

    fn verifier(config: JwtConfig) -> Verifier {
        Verifier::new(Live::fixed(config), crate::https::client().unwrap())
    }

    fn signed(header: &Header, claims: &Value, secret: &str) -> String {
        jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
    }

    fn claims(change: Value) -> Value {
        let mut claims = json!({"sub": "user-1", "role": "SALES", "exp": now().as_second() + 60});
        claims
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        claims
    }

    async fn status(verifier: &Verifier, token: &str) -> u16 {
        match verifier.caller(Some(&format!("Bearer {token}")), now()).await {
            Ok(_) => 200,
            Err(problem) => problem.status(),
        }
    }

    #[tokio::test]
    async fn a_minted_token_names_its_user_and_role() {
        let caller = Caller {
            user_id: "user-1".parse().unwrap(),
            role: Role::SalesHead,
        };
        for config in [
            config(),
            JwtConfig {
                issuer: Some("us".into()),
                audience: Some("crm".into()),
                ..config()
            },
        ] {
            let token = mint(&config, &caller, now(), SignedDuration::from_mins(5)).unwrap();
            let read = verifier(config)
                .caller(Some(&format!("bearer {token}")), now())
                .await
                .unwrap();
            assert_eq!(read, caller);
        }
    }

    #[tokio::test]
    async fn a_token_must_be_signed_with_the_secret_and_say_when_it_ends() {
        let verifier = verifier(config());
        let hs256 = Header::new(Algorithm::HS256);
        for (change, expected) in [
            (json!({}), 200),
            (json!({"role": "super_admin"}), 200),
            (json!({"exp": now().as_second() - 29}), 200),
            (json!({"exp": now().as_second() - 30}), 401),
            (json!({"exp": now().as_second() as f64 + 0.5}), 200),
            (json!({"exp": null}), 401),
            (json!({"exp": "2027-01-01"}), 401),
            (json!({"nbf": now().as_second() + 31}), 401),
            (json!({"sub": null}), 401),
            (json!({"sub": "a/b"}), 401),
            (json!({"role": null}), 403),
            (json!({"role": "root"}), 403),
            (json!({"role": ["ADMIN"]}), 403),
            (json!({"aud": "anything"}), 200),
        ] {
            assert_eq!(
                status(&verifier, &signed(&hs256, &claims(change.clone()), SECRET)).await,
                expected,
                "{change}"
            );
        }
        assert_eq!(
            status(&verifier, &signed(&hs256, &claims(json!({})), "another secret")).await,
            401
        );
    }

    #[tokio::test]
    async fn issuer_and_audience_are_checked_when_configured() {
        let verifier = verifier(JwtConfig {
            issuer: Some("us".into()),
            audience: Some("crm".into()),
            ..config()
        });
        let hs256 = Header::new(Algorithm::HS256);
        for (change, expected) in [
            (json!({"iss": "us", "aud": "crm"}), 200),
            (json!({"iss": "us", "aud": ["other", "crm"]}), 200),
            (json!({"iss": "them", "aud": "crm"}), 401),
            (json!({"iss": "us", "aud": "other"}), 401),
            (json!({"iss": "us"}), 401),
            (json!({"aud": "crm"}), 401),
        ] {
            assert_eq!(
                status(&verifier, &signed(&hs256, &claims(change.clone()), SECRET)).await,
                expected,
                "{change}"
            );
        }
    }

    #[tokio::test]
    async fn other_algorithms_and_critical_headers_are_refused() {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

        let verifier = verifier(config());
        for algorithm in [Algorithm::HS384, Algorithm::HS512] {
            assert_eq!(
                status(
                    &verifier,
                    &signed(&Header::new(algorithm), &claims(json!({})), SECRET)
                )
                .await,
                401
            );
        }
        let mut critical = Header::new(Algorithm::HS256);
        critical.crit = Some(vec!["exp".to_owned()]);
        assert_eq!(
            status(&verifier, &signed(&critical, &claims(json!({})), SECRET)).await,
            401
        );
        for alg in ["none", "None", "RS256", "HS256"] {
            let header = URL_SAFE_NO_PAD.encode(json!({ "alg": alg }).to_string());
            let payload = URL_SAFE_NO_PAD.encode(claims(json!({})).to_string());
            assert_eq!(
                status(&verifier, &format!("{header}.{payload}.")).await,
                401,
                "{alg}"
            );
        }
    }

    #[tokio::test]
    async fn a_missing_or_malformed_header_is_a_401() {
        let verifier = verifier(config());
        for header in [
            None,
            Some(""),
            Some("Bearer"),
            Some("Bearer "),
            Some("Basic abc"),
            Some("Bearer a.b.c"),
            Some("Bearer ü.ü.ü"),
        ] {
            let problem = verifier.caller(header, now()).await.unwrap_err();
            assert_eq!(
                (problem.status(), problem.code()),
                (401, "unauthorized"),
                "{header:?}"
            );
        }
    }
}
