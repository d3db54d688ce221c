//! RS256 and ES256 tokens against an identity provider's key set.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use lambda_kit::{auth::Verifier, config::JwtConfig, https, init::Live};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};

use crate::server::Server;

/// Made for this test with `openssl genrsa`; it signs nothing else.
const RSA_PRIVATE: &str = "\
    MIIEpAIBAAKCAQEAu7ngj8cXleP1SeWB7YKjISCkaDmYm83Eg0h35l5Y5Dp2jwfyciWPLT6ucN6pSFKEN4LPr2gG7i+c7FPHD3DA\
    Enhs/Ygfn73+g2owONY5zdIcl3gT6LWf8Tchow8ttI6DgqbFGm2kVKWPJZHrVzRHBVuXiRvf1vcyAQ4nhnZIWeZjlwsAvbx83uTU\
    2bmq1/P5NHUJWxhVbf4fyIb6OWQuLRUT3NC8y/ZigZ9MXNUwbavtQU4GbS6iAesGlBVxB7/6ikrYsXMTwZPcg+OzJ7867eJ/H3At\
    GY5QfmEN2bhhms1+LWF+mueDsp58pNTpaa2/NTrNz0OGpyMRnkiolNc4sQIDAQABAoIBAC7GsCfjSgM1XAdfwrI13QQCKDU4NMiN\
    yyuTQR0L4UZtMuGM72J17WkutzS0pqW4ue1DERD58NAk2QsiDPXR+Gohy7aY1phtNR/1s7JV3u1kL2+mof9YUlQ+kokY3SCiai6B\
    85cUPuBAqJyJ8YQ3KIMzQV0OrwXXboRIzJx6mKidi3MfQNhzb9kqmnEN2taqDCptWwhNjPEnkxkual7edQZOrpMYdpLSYtqAhzFd\
    dwdbVys5T7UjIQ92qgJ9gu7JT2zVRYIPatQieVOSIFy/S0W8tQlDYxJI2BJOW2X3NFS7hAgXI2SlOUpBTkl+26GyeKmmIlAVe86T\
    DPp9jhWSoGECgYEA+rWT3GGZFNuaotl1npQrj/S71h7ffXBc5DlDEF5r6lqvJjh/WWP+zZrj6duGa8/NID2K1/ZrDfuxtY7SNZmG\
    2l8hudypPklYmc0i5609cuG+2tbJBC+Z+k5EbyQW3+YJnkCkZ/ug8J0YFI+CoJDIlSzXdPzX2F8YFtWGQU96lE0CgYEAv7AKoO5t\
    tYJDhfB1hnDK1/tBWETVx2zU/jh8o4J6SfSD42SPcRZe5V8TZfysOeWJyy/2jhWmSoXWF2gIfCun/NzMNxPrZjwrX3bVDNYofKBg\
    zMrzZ+hrYTTO3kn8RRnhzh9LEHr1dufVeKASxsDog2tTo7i+1OBgFGAwCXm19/UCgYAJLl0b1PcmLGSdUhlclVCDFRNL5BWLInJE\
    aVRrZQnOq0N+wtLnEyJhpSpzhfaGPDXm2FodTojdGjqHy5MnI1gs5w71H3+TKFx2RWzhzxZQ/rNekD8MSDH7WKJo74lm6aWwhe1/\
    YVejeB1Jo3fFKYgu7lV1k0zUP6dCLs+b1K1IgQKBgQCm6HmIwbNjjcaP1N3wrzvgrpWqb12aJUidB8B3e4BR7wf8My63cJw2qv+w\
    GUA5tYWzF9NeyrkeQMU3Yk2pGTZP9k4XU0/wmEnH+Sfv4nYkdl1zVPB2tKjzXlEWu2NfI/c7TIJHGlmsLJfzTaary4NqE0Uj1RTN\
    NYZTl6GcTo9FFQKBgQDp9ndDF2960SFtxIYIFOoEjsVm7ook/hIkCBDirvzwk4uEouxlh07svO+hgFQGh3347BYEifWTJmTriHne\
    iXvjFmd1KE8SE24P4Osg+3RgtaHPDvPOGlHESM+CNX3kenkwSQX8C+wKhSM9YkVR7OYnbf/yrlk0PcerADgv0u4yUA==\
";
const RSA_MODULUS: &str = "\
    u7ngj8cXleP1SeWB7YKjISCkaDmYm83Eg0h35l5Y5Dp2jwfyciWPLT6ucN6pSFKEN4LPr2gG7i-c7FPHD3DAEnhs_Ygfn73-g2ow\
    ONY5zdIcl3gT6LWf8Tchow8ttI6DgqbFGm2kVKWPJZHrVzRHBVuXiRvf1vcyAQ4nhnZIWeZjlwsAvbx83uTU2bmq1_P5NHUJWxhV\
    bf4fyIb6OWQuLRUT3NC8y_ZigZ9MXNUwbavtQU4GbS6iAesGlBVxB7_6ikrYsXMTwZPcg-OzJ7867eJ_H3AtGY5QfmEN2bhhms1-\
    LWF-mueDsp58pNTpaa2_NTrNz0OGpyMRnkiolNc4sQ\
";

fn now() -> Timestamp {
    "2026-11-21T04:00:00Z".parse().unwrap()
}

fn rsa_jwk(kid: &str) -> Value {
    json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": RSA_MODULUS, "e": "AQAB"})
}

fn ec_jwk(pair: &KeyPair, kid: &str) -> Value {
    let point = pair.public_key_raw();
    let (x, y) = point[1..].split_at(32);
    json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
}

fn token(algorithm: Algorithm, kid: Option<&str>, key: &EncodingKey) -> String {
    let header = Header {
        kid: kid.map(str::to_owned),
        ..Header::new(algorithm)
    };
    let claims = json!({"sub": "user-1", "role": "manager", "exp": now().as_second() + 7200});
    jsonwebtoken::encode(&header, &claims, key).unwrap()
}

fn rsa() -> EncodingKey {
    EncodingKey::from_rsa_der(&STANDARD.decode(RSA_PRIVATE).unwrap())
}

fn verifier(url: &str) -> Verifier {
    let jwks_url = Some(url.parse().unwrap());
    let config = JwtConfig {
        secret: None,
        jwks_url,
        issuer: None,
        audience: None,
    };
    Verifier::new(Live::fixed(config), https::client().unwrap())
}

async fn status(verifier: &Verifier, token: &str, at: Timestamp) -> u16 {
    match verifier.caller(Some(&format!("Bearer {token}")), at).await {
        Ok(_) => 200,
        Err(problem) => problem.status(),
    }
}

#[tokio::test]
async fn rs256_and_es256_tokens_of_the_key_set_are_taken() {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let set = json!({"keys": [rsa_jwk("r1"), ec_jwk(&pair, "e1")]}).to_string();
    let server = Server::start(&[(200, &set)]).await;
    let verifier = verifier(&server.url);
    let es256 = EncodingKey::from_ec_der(&pair.serialize_der());
    for token in [
        token(Algorithm::RS256, Some("r1"), &rsa()),
        token(Algorithm::RS256, None, &rsa()),
        token(Algorithm::ES256, Some("e1"), &es256),
    ] {
        assert_eq!(status(&verifier, &token, now()).await, 200);
    }
    // A key of one algorithm is none of the other, and a stranger's key is none at all.
    let stranger = EncodingKey::from_ec_der(
        &KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
            .unwrap()
            .serialize_der(),
    );
    for token in [
        token(Algorithm::RS256, Some("e1"), &rsa()),
        token(Algorithm::ES256, Some("r1"), &es256),
        token(Algorithm::ES256, Some("e1"), &stranger),
        token(Algorithm::RS512, Some("r1"), &rsa()),
    ] {
        assert_eq!(status(&verifier, &token, now()).await, 401);
    }
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_public_key_is_no_shared_secret() {
    let server = Server::start(&[(200, &json!({"keys": [rsa_jwk("r1")]}).to_string())]).await;
    let modulus = EncodingKey::from_secret(&URL_SAFE_NO_PAD.decode(RSA_MODULUS).unwrap());
    let forged = token(Algorithm::HS256, Some("r1"), &modulus);
    assert_eq!(status(&verifier(&server.url), &forged, now()).await, 401);
}

#[tokio::test]
async fn an_unknown_key_id_fetches_the_set_again_but_not_over_and_over() {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let old = json!({"keys": [rsa_jwk("r1")]}).to_string();
    let new = json!({"keys": [rsa_jwk("r1"), ec_jwk(&pair, "e2")]}).to_string();
    let server = Server::start(&[(200, &old), (200, &new)]).await;
    let verifier = verifier(&server.url);
    let at = |seconds| now() + SignedDuration::from_secs(seconds);
    let fresh = token(
        Algorithm::ES256,
        Some("e2"),
        &EncodingKey::from_ec_der(&pair.serialize_der()),
    );

    assert_eq!(
        status(&verifier, &token(Algorithm::RS256, Some("r1"), &rsa()), at(0)).await,
        200
    );
    assert_eq!(status(&verifier, &fresh, at(29)).await, 401);
    assert_eq!(server.asked().len(), 1);
    assert_eq!(status(&verifier, &fresh, at(30)).await, 200);
    assert_eq!(server.asked().len(), 2);
    for _ in 0..3 {
        assert_eq!(
            status(
                &verifier,
                &token(Algorithm::RS256, Some("made up"), &rsa()),
                at(31)
            )
            .await,
            401
        );
    }
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn a_withdrawn_key_stops_within_the_hour_and_an_outage_does_not_lock_everybody_out() {
    let set = json!({"keys": [rsa_jwk("r1")]}).to_string();
    let server = Server::start(&[(200, &set), (503, ""), (200, r#"{"keys":[]}"#)]).await;
    let verifier = verifier(&server.url);
    let token = token(Algorithm::RS256, Some("r1"), &rsa());
    let at = |minutes| now() + SignedDuration::from_mins(minutes);
    assert_eq!(status(&verifier, &token, at(0)).await, 200);
    assert_eq!(status(&verifier, &token, at(60)).await, 200);
    assert_eq!(status(&verifier, &token, at(61)).await, 401);
}

#[tokio::test]
async fn without_a_key_set_tokens_cannot_be_checked_and_the_caller_is_told_to_try_again() {
    let huge = format!(r#"{{"keys":[],"padding":"{}"}}"#, "x".repeat(300_000));
    for (status_code, body) in [(500, "{}"), (200, "<html>"), (200, huge.as_str()), (302, "")] {
        let server = Server::start(&[(status_code, body)]).await;
        let token = token(Algorithm::RS256, Some("r1"), &rsa());
        let verifier = verifier(&server.url);
        let problem = verifier
            .caller(Some(&format!("Bearer {token}")), now())
            .await
            .unwrap_err();
        assert_eq!(
            (problem.status(), problem.code()),
            (503, "key_set_unavailable"),
            "{body:.20}"
        );
    }
}

#[tokio::test]
async fn keys_that_are_weak_or_for_something_else_are_not_used() {
    let weak = json!({"kty": "RSA", "kid": "r1", "n": &RSA_MODULUS[..170], "e": "AQAB"});
    let mut encryption = rsa_jwk("r1");
    encryption["use"] = "enc".into();
    let mut other = rsa_jwk("r1");
    other["alg"] = "RS512".into();
    let shared = json!({"kty": "oct", "kid": "r1", "k": "c2VjcmV0"});
    let set = json!({"keys": [weak, encryption, other, shared, {"kty": "future", "kid": "r1"}]}).to_string();
    let server = Server::start(&[(200, &set)]).await;
    assert_eq!(
        status(
            &verifier(&server.url),
            &token(Algorithm::RS256, Some("r1"), &rsa()),
            now()
        )
        .await,
        401
    );
}
