//! What we sign: callback URLs, recording tickets, tokens of a voicebot's sockets and pagination cursors, and how callers
//! prove a shared token.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use domain::ids::{CallLocator, UserId, VoiceSessionId};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use md5::Md5;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    Error,
    config::{ExotelConfig, Settings, WebhookConfig, long_secret},
};

/// How long a recording ticket lives, so that seeking works (spec 3.1).
pub const TICKET_MINUTES: i64 = 15;

/// How long the token of a voicebot's socket lives (spec 6.1): Exotel dials within seconds, and once more when that fails.
pub const STREAM_TOKEN_SECS: i64 = 60;

/// Bytes of each signature: 128 bits, which keeps callback URLs short.
const MAC_BYTES: usize = 16;

/// What a callback URL is for; it stands in the URL's path and in the signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// `/webhooks/exotel/call/{locator}/{capability}`.
    Call,
    /// `/webhooks/exotel/sms/{locator}/{capability}`.
    Sms,
}

impl Purpose {
    /// The word in the path.
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::Call => "call",
            Purpose::Sms => "sms",
        }
    }
}

/// One key per use, so that nothing signed for one use is good for another.
#[derive(Clone, Copy)]
enum Use {
    Capability,
    Ticket,
    Cursor,
    Stream,
}

#[derive(Clone)]
struct Key {
    /// Tells two live keys apart; derived from the key, so nobody has to number keys.
    kid: String,
    capability: [u8; 32],
    ticket: [u8; 32],
    cursor: [u8; 32],
    stream: [u8; 32],
    alert_webhook: [u8; 32],
    /// Each bot has a key of its own, and there may be any number of them.
    secret: SecretString,
}

impl Key {
    fn derive(key: &SecretString) -> Self {
        let for_use = |label: &str| derived(key, label);
        Self {
            kid: URL_SAFE_NO_PAD.encode(&for_use("kid")[..3]),
            capability: for_use("capability"),
            ticket: for_use("recording-ticket"),
            cursor: for_use("cursor"),
            stream: for_use("voicebot-stream"),
            alert_webhook: for_use("alert-webhook"),
            secret: key.clone(),
        }
    }

    fn mac(&self, for_use: Use, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = hmac(match for_use {
            Use::Capability => &self.capability,
            Use::Ticket => &self.ticket,
            Use::Cursor => &self.cursor,
            Use::Stream => &self.stream,
        });
        for part in parts {
            mac.update(part);
        }
        mac
    }
}

fn derived(key: &SecretString, label: &str) -> [u8; 32] {
    let mut mac = hmac(key.expose_secret().as_bytes());
    mac.update(format!("exotel-serverless/{label}/v1").as_bytes());
    mac.finalize().into_bytes().into()
}

fn webhook_signature(key: &[u8], id: &str, timestamp: i64, body: &str) -> String {
    let mut mac = hmac(key);
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body.as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// The signing key and the one before it: what either signed is taken, only the current one signs.
#[derive(Clone)]
pub struct SigningKeys {
    current: Key,
    previous: Option<Key>,
}

impl SigningKeys {
    /// Read from `SIGNING_KEY` and `SIGNING_KEY_PREVIOUS`.
    ///
    /// # Errors
    /// [`Error::Missing`] without a key, [`Error::Invalid`] for one under 32 characters.
    pub fn from_env(settings: &Settings) -> Result<Self, Error> {
        settings.required("SIGNING_KEY")?;
        let current = long_secret(settings, "SIGNING_KEY")?.expect("it is set");
        let previous = long_secret(settings, "SIGNING_KEY_PREVIOUS")?;
        Ok(Self::new(&current, previous.as_ref()))
    }

    /// Keys derived from the current secret and the one before the last rotation.
    pub fn new(current: &SecretString, previous: Option<&SecretString>) -> Self {
        Self {
            current: Key::derive(current),
            previous: previous.map(Key::derive),
        }
    }

    /// The last segment of a callback URL: `{kid}.{base64url(HMAC-SHA256(key, purpose|id), 16 bytes)}`.
    pub fn capability(&self, purpose: Purpose, id: &str) -> String {
        self.sign(
            Use::Capability,
            &[purpose.as_str().as_bytes(), b"|", id.as_bytes()],
        )
    }

    /// The path of a callback URL that we register with Exotel for one call or message.
    pub fn callback_path(&self, purpose: Purpose, id: &str) -> String {
        format!(
            "/webhooks/exotel/{}/{id}/{}",
            purpose.as_str(),
            self.capability(purpose, id)
        )
    }

    /// Checks the last segment of a callback URL, in constant time.
    ///
    /// # Errors
    /// [`Error::UnknownKey`] when neither live key made it, else [`Error::Forged`].
    pub fn verify_capability(&self, purpose: Purpose, id: &str, presented: &str) -> Result<(), Error> {
        self.verify(
            Use::Capability,
            &[purpose.as_str().as_bytes(), b"|", id.as_bytes()],
            presented,
        )
    }

    /// A cursor for the next page of a list. `list` says which list of which caller it continues (for instance
    /// `calls/lead-1`): a cursor of one list is none of another. The position can be read by whoever holds it.
    pub fn seal_cursor<T: Serialize>(&self, list: &str, position: &T) -> String {
        let position = serde_json::to_vec(position).expect("a position serialises to JSON");
        self.seal(Use::Cursor, list, &position)
    }

    /// The position that a cursor of ours holds.
    ///
    /// # Errors
    /// [`Error::Forged`] or [`Error::UnknownKey`] when it is none, or one of another list.
    pub fn open_cursor<T: DeserializeOwned>(&self, list: &str, cursor: &str) -> Result<T, Error> {
        let position = self.open(Use::Cursor, list, cursor)?;
        serde_json::from_slice(&position).map_err(|_| Error::Forged)
    }

    /// The value of the header `webhook-signature` for a message that we post to the team's alert webhook, after
    /// <https://www.standardwebhooks.com>: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, where
    /// `timestamp` is the value of `webhook-timestamp`, in seconds since 1970. While a key is being rotated there are
    /// two signatures, and a receiver that knows either secret takes the message.
    pub fn sign_alert(&self, id: &str, timestamp: i64, body: &str) -> String {
        std::iter::once(&self.current)
            .chain(&self.previous)
            .map(|key| webhook_signature(&key.alert_webhook, id, timestamp, body))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The same for a turn that we post to a bot of the team's; each bot has a key of its own, so that none can pass for
    /// us before another.
    pub fn sign_bot_turn(&self, bot_id: &str, id: &str, timestamp: i64, body: &str) -> String {
        std::iter::once(&self.current)
            .chain(&self.previous)
            .map(|key| {
                let key = derived(&key.secret, &format!("bot/{bot_id}"));
                webhook_signature(&key, id, timestamp, body)
            })
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn sign(&self, for_use: Use, parts: &[&[u8]]) -> String {
        let mac = self.current.mac(for_use, parts).finalize().into_bytes();
        format!(
            "{}.{}",
            self.current.kid,
            URL_SAFE_NO_PAD.encode(&mac[..MAC_BYTES])
        )
    }

    fn verify(&self, for_use: Use, parts: &[&[u8]], presented: &str) -> Result<(), Error> {
        let (kid, mac) = presented.split_once('.').ok_or(Error::Forged)?;
        let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| Error::Forged)?;
        if mac.len() != MAC_BYTES {
            return Err(Error::Forged);
        }
        // The kid is public: comparing it plainly gives nothing away.
        let key = std::iter::once(&self.current)
            .chain(&self.previous)
            .find(|key| key.kid == kid)
            .ok_or(Error::UnknownKey)?;
        key.mac(for_use, parts)
            .verify_truncated_left(&mac)
            .map_err(|_| Error::Forged)
    }

    /// `{base64url(payload)}.{kid}.{mac}`, bound to a context that is not in it.
    fn seal(&self, for_use: Use, context: &str, payload: &[u8]) -> String {
        let payload = URL_SAFE_NO_PAD.encode(payload);
        let signature = self.sign(for_use, &[context.as_bytes(), b"|", payload.as_bytes()]);
        format!("{payload}.{signature}")
    }

    fn open(&self, for_use: Use, context: &str, sealed: &str) -> Result<Vec<u8>, Error> {
        let (payload, signature) = sealed.split_once('.').ok_or(Error::Forged)?;
        self.verify(
            for_use,
            &[context.as_bytes(), b"|", payload.as_bytes()],
            signature,
        )?;
        URL_SAFE_NO_PAD.decode(payload).map_err(|_| Error::Forged)
    }
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKeys")
            .field("current", &self.current.kid)
            .field("previous", &self.previous.as_ref().map(|key| &key.kid))
            .finish()
    }
}

/// The right of one user to stream one recording for a while; what the streaming function is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingTicket {
    /// The call whose recording it is.
    #[serde(rename = "c")]
    pub call: CallLocator,
    /// The user to whom it was given.
    #[serde(rename = "u")]
    pub user_id: UserId,
    /// When it ends.
    #[serde(rename = "e", with = "jiff::fmt::serde::timestamp::second::required")]
    pub expires_at: Timestamp,
}

impl RecordingTicket {
    /// A ticket from `now` for [`TICKET_MINUTES`].
    pub fn new(call: CallLocator, user_id: UserId, now: Timestamp) -> Self {
        let expires_at = now + jiff::SignedDuration::from_mins(TICKET_MINUTES);
        Self {
            call,
            user_id,
            expires_at,
        }
    }

    /// The ticket as text that is safe in a URL.
    pub fn seal(&self, keys: &SigningKeys) -> String {
        let payload = serde_json::to_vec(self).expect("a ticket serialises to JSON");
        keys.seal(Use::Ticket, "recording", &payload)
    }

    /// The ticket that `text` holds.
    ///
    /// # Errors
    /// [`Error::Expired`] when its time is over at `now`; [`Error::Forged`] or [`Error::UnknownKey`] when it is none.
    pub fn open(text: &str, keys: &SigningKeys, now: Timestamp) -> Result<Self, Error> {
        let payload = keys.open(Use::Ticket, "recording", text)?;
        let ticket: Self = serde_json::from_slice(&payload).map_err(|_| Error::Forged)?;
        if now >= ticket.expires_at {
            Err(Error::Expired)
        } else {
            Ok(ticket)
        }
    }
}

/// The right to open the socket of one session with a bot, for a while: the parameter `token` of the URL that Exotel dials.
///
/// It may be presented again until its time is over, since Exotel dials a second time when a handshake fails. Who opens
/// the socket refuses it from `start` on, which only the session's record can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamToken {
    /// The session whose socket it opens; in the URL beside it, not in it.
    pub session: VoiceSessionId,
    /// When it ends, in whole seconds.
    pub expires_at: Timestamp,
}

impl StreamToken {
    /// A token from `now` for [`STREAM_TOKEN_SECS`].
    pub fn new(session: VoiceSessionId, now: Timestamp) -> Self {
        let expires_at = Timestamp::from_second(now.as_second() + STREAM_TOKEN_SECS).unwrap_or(now);
        Self { session, expires_at }
    }

    /// The token as text that is safe in a URL: `{seconds since 1970}.{kid}.{mac}`, 38 characters. Parameters of a
    /// stream's URL have 256 characters together.
    pub fn seal(&self, keys: &SigningKeys) -> String {
        let expires = self.expires_at.as_second().to_string();
        let signature = keys.sign(Use::Stream, &Self::parts(&self.session, &expires));
        format!("{expires}.{signature}")
    }

    /// The token that `text` is for this session, compared in constant time.
    ///
    /// # Errors
    /// [`Error::Expired`] when its time is over at `now`; [`Error::Forged`] or [`Error::UnknownKey`] when it is none, or
    /// another session's.
    pub fn open(
        text: &str,
        session: &VoiceSessionId,
        keys: &SigningKeys,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let (expires, signature) = text.split_once('.').ok_or(Error::Forged)?;
        keys.verify(Use::Stream, &Self::parts(session, expires), signature)?;
        // Signed by us, so it is a time of ours.
        let second: i64 = expires.parse().map_err(|_| Error::Forged)?;
        let expires_at = Timestamp::from_second(second).map_err(|_| Error::Forged)?;
        if now >= expires_at {
            return Err(Error::Expired);
        }
        Ok(Self {
            session: session.clone(),
            expires_at,
        })
    }

    fn parts<'a>(session: &'a VoiceSessionId, expires: &'a str) -> [&'a [u8]; 3] {
        [session.as_str().as_bytes(), b"|", expires.as_bytes()]
    }
}

/// Whether `presented` is the webhook token, compared in constant time. No token set refuses everything.
pub fn is_webhook_token(config: &WebhookConfig, presented: Option<&str>) -> bool {
    match (&config.token, presented) {
        (Some(token), Some(presented)) => same(token.expose_secret(), presented),
        _ => false,
    }
}

/// Says in the log that every pasted URL is refused, if that is so: for whoever has just refused one.
pub fn tell_if_no_webhook_token(config: &WebhookConfig) {
    if config.token.is_none() {
        tracing::error!(
            "every pasted URL is refused, since no token is set: write EXOTEL_WEBHOOK_TOKEN into the stack's secret"
        );
    }
}

/// Whether `presented` is the legacy `MD5(key:token)` in hex (spec 4.2), compared in constant time. Anybody who sees
/// such a URL can guess at the credentials offline, hence off unless `LEGACY_MD5_CALLBACKS` is set.
pub fn is_legacy_md5(config: &WebhookConfig, exotel: Option<&ExotelConfig>, presented: &str) -> bool {
    let Some(exotel) = exotel.filter(|_| config.legacy_md5) else {
        return false;
    };
    let mut md5 = Md5::new();
    md5.update(exotel.api_key.expose_secret());
    md5.update(b":");
    md5.update(exotel.api_token.expose_secret());
    let hex: String = md5.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    same(&hex, &presented.to_ascii_lowercase())
}

/// Equality that takes as long wherever the first difference is; lengths are compared by way of a hash.
fn same(ours: &str, presented: &str) -> bool {
    Sha256::digest(ours).ct_eq(&Sha256::digest(presented)).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> SecretString {
        SecretString::from(text.repeat(32))
    }

    fn ticket(now: Timestamp) -> RecordingTicket {
        let call = "call_01kak5yv7z8e4f9y2f4w6r8t0v.lead-1".parse().unwrap();
        RecordingTicket::new(call, "user-1".parse().unwrap(), now)
    }

    #[test]
    fn a_capability_is_good_for_its_purpose_and_id_alone() {
        let keys = SigningKeys::new(&key("a"), None);
        let capability = keys.capability(Purpose::Call, "call_1.lead");
        assert!(
            keys.verify_capability(Purpose::Call, "call_1.lead", &capability)
                .is_ok()
        );
        for (purpose, id) in [
            (Purpose::Sms, "call_1.lead"),
            (Purpose::Call, "call_2.lead"),
            (Purpose::Call, ""),
        ] {
            assert!(matches!(
                keys.verify_capability(purpose, id, &capability),
                Err(Error::Forged)
            ));
        }
        assert_eq!(
            keys.callback_path(Purpose::Call, "call_1.lead"),
            format!("/webhooks/exotel/call/call_1.lead/{capability}")
        );
    }

    #[test]
    fn a_capability_is_what_the_architecture_says() {
        let keys = SigningKeys::new(&key("a"), None);
        let capability = keys.capability(Purpose::Sms, "sms_1");
        let (kid, mac) = capability.split_once('.').unwrap();
        assert_eq!(
            (kid, URL_SAFE_NO_PAD.decode(mac).unwrap().len()),
            (keys.current.kid.as_str(), 16)
        );
        let mut whole = hmac(&keys.current.capability);
        whole.update(b"sms|sms_1");
        assert_eq!(
            URL_SAFE_NO_PAD.decode(mac).unwrap(),
            whole.finalize().into_bytes()[..16]
        );
    }

    #[test]
    fn what_the_previous_key_signed_is_taken_until_it_is_dropped() {
        let old = SigningKeys::new(&key("a"), None);
        let rotated = SigningKeys::new(&key("b"), Some(&key("a")));
        let dropped = SigningKeys::new(&key("b"), None);
        let capability = old.capability(Purpose::Call, "x");
        assert!(rotated.verify_capability(Purpose::Call, "x", &capability).is_ok());
        let err = dropped
            .verify_capability(Purpose::Call, "x", &capability)
            .unwrap_err();
        assert!(err.may_be_a_newer_key());
        assert_ne!(rotated.capability(Purpose::Call, "x"), capability);
        assert!(!format!("{rotated:?}").contains("aaaa"));
    }

    #[test]
    fn a_ticket_names_call_and_user_and_ends() {
        let keys = SigningKeys::new(&key("a"), None);
        let now: Timestamp = "2026-11-21T04:00:00Z".parse().unwrap();
        let text = ticket(now).seal(&keys);
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(
            RecordingTicket::open(&text, &keys, at("2026-11-21T04:14:59Z")).unwrap(),
            ticket(now)
        );
        assert!(matches!(
            RecordingTicket::open(&text, &keys, at("2026-11-21T04:15:00Z")),
            Err(Error::Expired)
        ));
        let other = SigningKeys::new(&key("b"), None);
        assert!(matches!(
            RecordingTicket::open(&text, &other, now),
            Err(Error::UnknownKey)
        ));
    }

    #[test]
    fn a_ticket_is_no_cursor_and_a_cursor_belongs_to_its_list() {
        let keys = SigningKeys::new(&key("a"), None);
        let cursor = keys.seal_cursor("calls/lead-1", &("LEAD#lead-1", "CALL#call_1"));
        let position: (String, String) = keys.open_cursor("calls/lead-1", &cursor).unwrap();
        assert_eq!(position.1, "CALL#call_1");
        assert!(
            keys.open_cursor::<(String, String)>("calls/lead-2", &cursor)
                .is_err()
        );
        assert!(
            keys.open_cursor::<serde_json::Value>("recording", &ticket(Timestamp::UNIX_EPOCH).seal(&keys))
                .is_err()
        );
    }

    #[test]
    fn a_stream_token_opens_its_sessions_socket_again_and_again_for_a_minute() {
        let keys = SigningKeys::new(&key("a"), None);
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-11-26T10:00:00.250Z");
        let session = VoiceSessionId::new(now, 7);
        let text = StreamToken::new(session.clone(), now).seal(&keys);
        assert_eq!(text.len(), 38);
        for later in ["2026-11-26T10:00:00Z", "2026-11-26T10:00:59.999Z"] {
            let token = StreamToken::open(&text, &session, &keys, at(later)).unwrap();
            assert_eq!(token.expires_at, at("2026-11-26T10:01:00Z"));
        }
        let over = StreamToken::open(&text, &session, &keys, at("2026-11-26T10:01:00Z"));
        assert!(matches!(over, Err(Error::Expired)), "{over:?}");

        let rotated = SigningKeys::new(&key("b"), Some(&key("a")));
        assert!(StreamToken::open(&text, &session, &rotated, now).is_ok());
        let dropped = SigningKeys::new(&key("b"), None);
        let unknown = StreamToken::open(&text, &session, &dropped, now);
        assert!(matches!(unknown, Err(Error::UnknownKey)), "{unknown:?}");
    }

    #[test]
    fn a_stream_token_is_nobody_elses_and_cannot_be_made_longer() {
        let keys = SigningKeys::new(&key("a"), None);
        let now: Timestamp = "2026-11-26T10:00:00Z".parse().unwrap();
        let session = VoiceSessionId::new(now, 7);
        let text = StreamToken::new(session.clone(), now).seal(&keys);
        let (expires, signature) = text.split_once('.').unwrap();
        let later = expires.parse::<i64>().unwrap() + 1;
        let capability = keys.capability(Purpose::Call, session.as_str());
        for forged in [
            format!("{later}.{signature}"),
            format!("{expires}.{capability}"),
            format!("0{text}"),
            format!("+{text}"),
            signature.to_owned(),
            String::new(),
        ] {
            let opened = StreamToken::open(&forged, &session, &keys, now);
            assert!(
                matches!(opened, Err(Error::Forged | Error::UnknownKey)),
                "{forged}"
            );
        }
        let other = VoiceSessionId::new(now, 8);
        let opened = StreamToken::open(&text, &other, &keys, now);
        assert!(matches!(opened, Err(Error::Forged)), "{opened:?}");
    }

    #[test]
    fn a_webhook_signature_is_that_of_the_standard() {
        // The example that the standard's own libraries test with.
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(
            webhook_signature(
                &key,
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#
            ),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn an_alert_is_signed_with_the_secret_that_the_receiver_derives() {
        // printf %s exotel-serverless/alert-webhook/v1 | openssl dgst -sha256 -hmac "$SIGNING_KEY" -binary | base64
        let secret = STANDARD
            .decode("KMoDWjpHXYzLtdeYMOmBKzY3bO/mrsJEo4S/HelV9mo=")
            .unwrap();
        let current = SecretString::from("a signing key of thirty-two letters");
        let keys = SigningKeys::new(&current, None);
        let signature = keys.sign_alert("msg_1", 1_795_163_400, "{}");
        assert_eq!(
            signature,
            webhook_signature(&secret, "msg_1", 1_795_163_400, "{}")
        );
        let rotated = SigningKeys::new(&key("b"), Some(&current));
        let both = rotated.sign_alert("msg_1", 1_795_163_400, "{}");
        assert_eq!(both.split(' ').count(), 2);
        assert_eq!(both.split(' ').next_back(), Some(signature.as_str()));
    }

    #[test]
    fn a_turn_is_signed_with_the_secret_that_its_bot_derives() {
        // printf %s exotel-serverless/bot/support/v1 | openssl dgst -sha256 -hmac "$SIGNING_KEY" -binary | base64
        let secret = STANDARD
            .decode("RkRZeV3OBi7cR5zXNcscyJ4YJU6tH9/iuDys8MFWQ48=")
            .unwrap();
        let current = SecretString::from("a signing key of thirty-two letters");
        let keys = SigningKeys::new(&current, None);
        let signature = keys.sign_bot_turn("support", "vs_1.0", 1_795_163_400, "{}");
        assert_eq!(
            signature,
            webhook_signature(&secret, "vs_1.0", 1_795_163_400, "{}")
        );
        assert_ne!(
            signature,
            keys.sign_bot_turn("sales", "vs_1.0", 1_795_163_400, "{}")
        );
        let rotated = SigningKeys::new(&key("b"), Some(&current));
        let both = rotated.sign_bot_turn("support", "vs_1.0", 1_795_163_400, "{}");
        assert_eq!(both.split(' ').next_back(), Some(signature.as_str()));
    }

    #[test]
    fn a_webhook_token_must_be_set_and_equal() {
        let config = |token: Option<&str>| WebhookConfig {
            token: token.map(SecretString::from),
            legacy_md5: false,
        };
        assert!(is_webhook_token(&config(Some("abc")), Some("abc")));
        for (token, presented) in [
            (None, Some("abc")),
            (None, None),
            (Some("abc"), None),
            (Some("abc"), Some("")),
            (Some("abc"), Some("abcd")),
        ] {
            assert!(
                !is_webhook_token(&config(token), presented),
                "{token:?} {presented:?}"
            );
        }
    }

    #[test]
    fn the_legacy_hash_is_refused_unless_switched_on() {
        let settings = Settings::new(|name| {
            Some(
                match name {
                    "EXOTEL_SID" => "acme1",
                    "EXOTEL_API_KEY" => "key",
                    "EXOTEL_API_TOKEN" => "token",
                    "EXOTEL_CALLER_ID" => "08045550100",
                    _ => return None,
                }
                .to_owned(),
            )
        });
        let exotel = ExotelConfig::from_env(&settings).unwrap();
        let mut config = WebhookConfig::from_env(&settings).unwrap();
        // printf key:token | md5sum
        let md5 = "116c224438b3ac5fdb81f5ce018a0c70";
        assert!(!is_legacy_md5(&config, exotel.as_ref(), md5));
        config.legacy_md5 = true;
        assert!(is_legacy_md5(&config, exotel.as_ref(), md5));
        assert!(!is_legacy_md5(&config, exotel.as_ref(), &md5[1..]));
        assert!(!is_legacy_md5(&config, None, md5));
    }

    proptest! {
        #[test]
        fn no_other_text_than_ours_is_taken(text in "\\PC{0,80}|[A-Za-z0-9_.-]{0,80}") {
            let keys = SigningKeys::new(&key("a"), Some(&key("b")));
            prop_assert!(keys.verify_capability(Purpose::Call, "x", &text).is_err());
            prop_assert!(keys.open_cursor::<serde_json::Value>("calls", &text).is_err());
            prop_assert!(RecordingTicket::open(&text, &keys, Timestamp::UNIX_EPOCH).is_err());
            let session = VoiceSessionId::new(Timestamp::UNIX_EPOCH, 7);
            prop_assert!(StreamToken::open(&text, &session, &keys, Timestamp::UNIX_EPOCH).is_err());
        }

        #[test]
        fn any_change_breaks_a_ticket(at in 0usize..200, to in "[A-Za-z0-9_.-]") {
            let keys = SigningKeys::new(&key("a"), None);
            let now = Timestamp::UNIX_EPOCH;
            let mut text = ticket(now).seal(&keys);
            let at = at % text.len();
            prop_assume!(text[at..=at] != to);
            text.replace_range(at..=at, &to);
            // The last character of base64 may hold bits that mean nothing; the decoder refuses those too.
            prop_assert!(RecordingTicket::open(&text, &keys, now).is_err());
        }
    }
}
