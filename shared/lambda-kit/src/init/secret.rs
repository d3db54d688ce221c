//! The one secret: fetched in init, kept 5 minutes, fetched again when something signed or answered says it is old; and
//! changed, by the one function that may.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex as AsyncMutex;

use super::{
    aws::AwsEnvironment,
    signed::{NoAnswer, Signed},
};
use crate::{Error, config::Settings};

/// How long a secret is used before it is looked at again (architecture 5).
const KEEP: SignedDuration = SignedDuration::from_mins(5);
/// Whoever presents bad tokens must not make us ask Secrets Manager each time.
const REFETCH_INTERVAL: SignedDuration = SignedDuration::from_secs(30);
/// Nor more often than this where nobody waits for the answer.
const ABANDONED_INTERVAL: SignedDuration = SignedDuration::from_secs(5);
const FETCH_ATTEMPTS: usize = 2;

/// Where the secret's text comes from.
pub(super) trait Fetch: Send + Sync {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<SecretString, Error>> + Send + '_>>;
}

/// `GetSecretValue`, the one operation that every function needs, and `PutSecretValue` for the one that changes it.
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html>
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html>
pub(super) struct SecretsManager {
    arn: String,
    service: Signed,
}

impl SecretsManager {
    pub(super) fn new(arn: String, environment: AwsEnvironment) -> Result<Self, Error> {
        Ok(Self {
            arn,
            service: Signed::new("secretsmanager", environment)?,
        })
    }

    async fn attempt(&self, operation: &Operation) -> Result<Vec<u8>, (bool, Error)> {
        let (target, body) = match operation {
            Operation::Get => (
                "secretsmanager.GetSecretValue",
                serde_json::json!({ "SecretId": self.arn }),
            ),
            Operation::Put { text, token } => (
                "secretsmanager.PutSecretValue",
                serde_json::json!({
                    "SecretId": self.arn, "SecretString": text.expose_secret(), "ClientRequestToken": token,
                }),
            ),
        };
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", target),
        ];
        let (status, body) = self
            .service
            .post("/", headers, body.to_string())
            .await
            .map_err(|err| {
                let again = !matches!(err, NoAnswer::Unmade);
                (again, Error::Secret(format!("Secrets Manager {err}")))
            })?;
        match status {
            200 => Ok(body.to_vec()),
            _ => Err((status >= 500, Error::Secret(refusal(status, &body)))),
        }
    }

    /// Does the operation, twice when the first time nobody refused it.
    async fn exchange(&self, operation: &Operation) -> Result<Vec<u8>, Error> {
        let mut attempts = 1;
        loop {
            match self.attempt(operation).await {
                Ok(body) => return Ok(body),
                Err((true, err)) if attempts < FETCH_ATTEMPTS => {
                    tracing::warn!("asking Secrets Manager once more: {err}");
                    attempts += 1;
                }
                Err((_, err)) => return Err(err),
            }
        }
    }
}

/// What Secrets Manager is asked for.
enum Operation {
    Get,
    /// The whole text anew. Sent twice with the same token, it is done once.
    Put {
        text: SecretString,
        token: String,
    },
}

/// Why Secrets Manager refused, by the error's type; nothing else of the body is quoted.
fn refusal(status: u16, body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        #[serde(rename = "__type")]
        error: Option<String>,
    }
    match serde_json::from_slice(body) {
        Ok(Refusal { error: Some(error) }) => {
            let error = error.rsplit('#').next().unwrap_or_default();
            format!("Secrets Manager answered {status} {error}")
        }
        Ok(Refusal { error: None }) => format!("Secrets Manager answered {status}"),
        Err(_) => format!("Secrets Manager answered {status} with something else than JSON"),
    }
}

/// The secret's text in an answer of `GetSecretValue`.
fn text_of(body: &[u8]) -> Result<SecretString, Error> {
    #[derive(serde::Deserialize)]
    struct Answer {
        #[serde(rename = "SecretString")]
        text: Option<String>,
    }
    match serde_json::from_slice(body) {
        Ok(Answer { text: Some(text) }) => Ok(text.into()),
        Ok(Answer { text: None }) => Err(Error::Secret(
            "Secrets Manager answered 200 without a SecretString".to_owned(),
        )),
        Err(_) => Err(Error::Secret(
            "Secrets Manager answered 200 with something else than JSON".to_owned(),
        )),
    }
}

impl Fetch for Arc<SecretsManager> {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<SecretString, Error>> + Send + '_>> {
        Box::pin(async { text_of(&self.exchange(&Operation::Get).await?) })
    }
}

/// The secret, for the function that changes it.
pub struct SecretStore {
    manager: Arc<SecretsManager>,
    cache: Arc<SecretCache>,
}

impl SecretStore {
    pub(super) fn new(manager: Arc<SecretsManager>, cache: Arc<SecretCache>) -> Self {
        Self { manager, cache }
    }

    /// Sets these keys of the secret and leaves the others as they are, once `check` has accepted the settings that come of
    /// it. This process reads them from then on; other functions within 5 minutes, or when Exotel refuses the old ones.
    ///
    /// Secrets Manager knows no condition: of two changes at the same moment the later one wins, whole. `token` is 128 random
    /// bits.
    ///
    /// # Errors
    /// What `check` says, and then nothing is changed; [`Error::Secret`] when the secret cannot be had, read or written.
    pub async fn change(
        &self,
        keys: &[(&'static str, SecretString)],
        check: impl Fn(&Settings) -> Result<(), Error>,
        token: u128,
        now: Timestamp,
    ) -> Result<(), Error> {
        let held = text_of(&self.manager.exchange(&Operation::Get).await?)?;
        let text = with_keys(&held, keys)?;
        let settings = self.cache.environment.with_secret(&text)?;
        check(&settings)?;
        let put = Operation::Put {
            text,
            token: format!("{token:032x}"),
        };
        self.manager.exchange(&put).await?;
        self.cache.replace(settings, now).await;
        Ok(())
    }
}

/// The secret's text with these keys set.
fn with_keys(held: &SecretString, keys: &[(&'static str, SecretString)]) -> Result<SecretString, Error> {
    let object = serde_json::from_str(held.expose_secret());
    let mut object: serde_json::Map<String, serde_json::Value> =
        object.map_err(|_| Error::Secret("it is not a JSON object".to_owned()))?;
    for (name, value) in keys {
        object.insert((*name).to_owned(), value.expose_secret().into());
    }
    Ok(serde_json::Value::Object(object).to_string().into())
}

/// The settings with the secret as it was last fetched.
pub(super) struct SecretCache {
    source: Box<dyn Fetch>,
    environment: Settings,
    state: AsyncMutex<Fetched>,
}

struct Fetched {
    settings: Settings,
    /// Counts the secrets that differ from the one before, so that readers know when to read again.
    version: u64,
    asked_at: Timestamp,
}

impl SecretCache {
    pub(super) async fn fetch(
        source: Box<dyn Fetch>,
        environment: Settings,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let settings = environment.with_secret(&source.fetch().await?)?;
        Ok(Self {
            source,
            environment,
            state: AsyncMutex::new(Fetched {
                settings,
                version: 0,
                asked_at: now,
            }),
        })
    }

    pub(super) async fn settings(&self) -> Settings {
        self.state.lock().await.settings.clone()
    }

    /// Goes on with these settings, which have just been written.
    async fn replace(&self, settings: Settings, now: Timestamp) {
        let mut state = self.state.lock().await;
        state.settings = settings;
        state.version += 1;
        state.asked_at = now;
    }

    /// The settings not older than `max_age`; the last good ones when the secret cannot be fetched.
    async fn no_older_than(&self, max_age: SignedDuration, now: Timestamp) -> (u64, Settings) {
        let mut state = self.state.lock().await;
        if now.duration_since(state.asked_at) >= max_age {
            // Whoever asks may stop waiting: then somebody asks again soon, and not everybody at once.
            let soon = now - max_age + ABANDONED_INTERVAL;
            state.asked_at = state.asked_at.max(soon.min(now));
            let fetched = self.source.fetch().await;
            state.asked_at = now;
            match fetched.and_then(|text| self.environment.with_secret(&text)) {
                Ok(settings) => {
                    state.settings = settings;
                    state.version += 1;
                }
                Err(err) => tracing::warn!("kept the secret fetched before: {err}"),
            }
        }
        (state.version, state.settings.clone())
    }
}

type Read<T> = dyn Fn(&Settings) -> Result<T, Error> + Send + Sync;

/// A concern's settings that follow the secret: read once in init, and again when the secret was fetched again.
pub struct Live<T> {
    read: Box<Read<T>>,
    secret: Option<Arc<SecretCache>>,
    value: Mutex<(u64, Arc<T>)>,
}

impl<T> Live<T> {
    pub(super) fn new(
        read: impl Fn(&Settings) -> Result<T, Error> + Send + Sync + 'static,
        settings: &Settings,
        secret: Option<Arc<SecretCache>>,
    ) -> Result<Self, Error> {
        let value = Mutex::new((0, Arc::new(read(settings)?)));
        Ok(Self {
            read: Box::new(read),
            secret,
            value,
        })
    }

    /// A value that never changes, for tests and tools.
    pub fn fixed(value: T) -> Self {
        let read = Box::new(|_: &Settings| Err(Error::Secret("a fixed value is not read again".to_owned())));
        Self {
            read,
            secret: None,
            value: Mutex::new((0, Arc::new(value))),
        }
    }

    /// The value as it is, without I/O.
    pub fn cached(&self) -> Arc<T> {
        Arc::clone(&self.value.lock().unwrap_or_else(PoisonError::into_inner).1)
    }

    /// The value, from a secret fetched in the last 5 minutes when that can be had.
    pub async fn get(&self, now: Timestamp) -> Arc<T> {
        self.no_older_than(KEEP, now).await
    }

    /// As [`Live::get`]; the value at hand when that takes longer than `patience`, for those whom a caller waits for.
    pub async fn get_within(&self, patience: Duration, now: Timestamp) -> Arc<T> {
        let fresh = tokio::time::timeout(patience, self.get(now)).await;
        fresh.unwrap_or_else(|_| self.cached())
    }

    /// The value as the secret is at this moment, when that can be had: for a rare question that must not be answered with
    /// what was so five minutes ago.
    pub async fn fresh(&self, now: Timestamp) -> Arc<T> {
        self.no_older_than(SignedDuration::ZERO, now).await
    }

    /// The value after something said that ours is old (Exotel's 401, an unknown signing key): the secret is
    /// fetched again, unless that was done in the last 30 seconds.
    pub async fn refetch(&self, now: Timestamp) -> Arc<T> {
        self.no_older_than(REFETCH_INTERVAL, now).await
    }

    /// As [`Live::refetch`]; the value at hand when that takes longer than `patience`.
    pub async fn refetch_within(&self, patience: Duration, now: Timestamp) -> Arc<T> {
        let newer = tokio::time::timeout(patience, self.refetch(now)).await;
        newer.unwrap_or_else(|_| self.cached())
    }

    async fn no_older_than(&self, max_age: SignedDuration, now: Timestamp) -> Arc<T> {
        let Some(secret) = &self.secret else {
            return self.cached();
        };
        let (version, settings) = secret.no_older_than(max_age, now).await;
        let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        if value.0 != version {
            value.0 = version;
            match (self.read)(&settings) {
                Ok(fresh) => value.1 = Arc::new(fresh),
                Err(err) => tracing::error!("kept the settings read before: {err}"),
            }
        }
        Arc::clone(&value.1)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::config::WebhookConfig;

    /// An answer that never comes.
    const HANGS: Result<&str, &str> = Err("hangs");

    /// Gives these answers, the last one again and again.
    struct Answers(Mutex<Vec<Result<&'static str, &'static str>>>, Arc<Mutex<usize>>);

    impl Fetch for Answers {
        fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<SecretString, Error>> + Send + '_>> {
            Box::pin(async {
                *self.1.lock().unwrap() += 1;
                let answer = {
                    let mut answers = self.0.lock().unwrap();
                    if answers.len() > 1 {
                        answers.remove(0)
                    } else {
                        answers[0]
                    }
                };
                if answer == HANGS {
                    std::future::pending::<()>().await;
                }
                answer
                    .map(SecretString::from)
                    .map_err(|err| Error::Secret(err.to_owned()))
            })
        }
    }

    async fn live(
        answers: Vec<Result<&'static str, &'static str>>,
    ) -> (Live<WebhookConfig>, Arc<Mutex<usize>>) {
        let asked = Arc::new(Mutex::new(0));
        let source = Box::new(Answers(Mutex::new(answers), Arc::clone(&asked)));
        let cache = SecretCache::fetch(source, Settings::new(|_| None), at(0))
            .await
            .unwrap();
        let settings = cache.settings().await;
        (
            Live::new(WebhookConfig::from_env, &settings, Some(Arc::new(cache))).unwrap(),
            asked,
        )
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    fn token(config: &WebhookConfig) -> String {
        config.token.as_ref().unwrap().expose_secret().to_owned()
    }

    const OLD: &str = r#"{"EXOTEL_WEBHOOK_TOKEN":"old"}"#;
    const NEW: &str = r#"{"EXOTEL_WEBHOOK_TOKEN":"new"}"#;

    #[tokio::test]
    async fn a_secret_is_kept_five_minutes() {
        let (live, asked) = live(vec![Ok(OLD), Ok(NEW)]).await;
        assert_eq!(token(&*live.get(at(299)).await), "old");
        assert_eq!(*asked.lock().unwrap(), 1);
        assert_eq!(token(&*live.get(at(300)).await), "new");
        assert_eq!(token(&live.cached()), "new");
        assert_eq!(*asked.lock().unwrap(), 2);
    }

    #[tokio::test]
    async fn an_old_secret_is_fetched_again_on_demand_but_not_over_and_over() {
        let (live, asked) = live(vec![Ok(OLD), Ok(NEW)]).await;
        assert_eq!(token(&*live.refetch(at(29)).await), "old");
        assert_eq!(token(&*live.refetch(at(31)).await), "new");
        live.refetch(at(60)).await;
        assert_eq!(*asked.lock().unwrap(), 2);
    }

    #[tokio::test]
    async fn a_fetch_that_nobody_waited_for_is_made_again_soon_but_not_over_and_over() {
        let (live, asked) = live(vec![Ok(OLD), HANGS, HANGS, HANGS, Ok(NEW)]).await;
        let impatient = async |second, refetch| {
            let get = async {
                if refetch {
                    live.refetch(at(second)).await
                } else {
                    live.get(at(second)).await
                }
            };
            let got = tokio::time::timeout(std::time::Duration::ZERO, get).await;
            assert_eq!(token(&live.cached()), "old");
            (got.is_ok(), *asked.lock().unwrap())
        };
        assert_eq!(impatient(300, false).await, (false, 2));
        assert_eq!(impatient(304, false).await, (true, 2));
        // Ours lets nobody in: that is asked sooner.
        assert_eq!(impatient(304, true).await, (false, 3));
        assert_eq!(impatient(308, true).await, (true, 3));
        assert_eq!(impatient(309, true).await, (false, 4));
        assert_eq!(token(&*live.refetch(at(314)).await), "new");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_little_patience_gets_the_value_at_hand() {
        let patience = Duration::from_millis(200);
        let (live, asked) = live(vec![Ok(OLD), HANGS, HANGS, Ok(NEW)]).await;
        let began = tokio::time::Instant::now();
        assert_eq!(token(&*live.get_within(patience, at(300)).await), "old");
        assert_eq!(token(&*live.refetch_within(patience, at(330)).await), "old");
        assert_eq!((began.elapsed(), *asked.lock().unwrap()), (patience * 2, 3));
        assert_eq!(token(&*live.refetch_within(patience, at(360)).await), "new");
    }

    #[tokio::test]
    async fn the_last_good_settings_stay_when_the_new_ones_cannot_be_had_or_read() {
        let (live, _) = live(vec![
            Ok(OLD),
            Err("down"),
            Ok(r#"{"LEGACY_MD5_CALLBACKS":"perhaps"}"#),
            Ok(NEW),
        ])
        .await;
        assert_eq!(token(&*live.get(at(300)).await), "old");
        assert_eq!(token(&*live.get(at(600)).await), "old");
        assert_eq!(token(&*live.get(at(900)).await), "new");
    }

    #[test]
    fn an_answer_without_a_secret_is_told_by_its_type_alone() {
        let ok = text_of(br#"{"ARN":"arn","SecretString":"{}"}"#).unwrap();
        assert_eq!(ok.expose_secret(), "{}");
        let without = text_of(br#"{"SecretBinary":"aHVudGVyMg=="}"#)
            .unwrap_err()
            .to_string();
        for (message, says) in [
            (
                refusal(
                    400,
                    br#"{"__type":"com.amazonaws#ResourceNotFoundException","Message":"aHVud"}"#,
                ),
                "400 ResourceNotFound",
            ),
            (without, "without a SecretString"),
            (refusal(502, b"<html>"), "502"),
        ] {
            assert!(message.contains(says) && !message.contains("aHVud"), "{message}");
        }
    }

    #[test]
    fn a_change_leaves_the_keys_that_it_does_not_name() {
        let held = SecretString::from(r#"{"EXOTEL_SID":"old","SIGNING_KEY":"k","OF_OTHERS":7}"#);
        let changed = with_keys(
            &held,
            &[("EXOTEL_SID", "new".into()), ("EXOTEL_API_KEY", "key".into())],
        )
        .unwrap();
        let changed: serde_json::Value = serde_json::from_str(changed.expose_secret()).unwrap();
        assert_eq!(
            changed,
            serde_json::json!({"EXOTEL_SID": "new", "EXOTEL_API_KEY": "key", "SIGNING_KEY": "k", "OF_OTHERS": 7})
        );
        let told = with_keys(&"hunter2".into(), &[]).unwrap_err().to_string();
        assert!(!told.contains("hunter2"), "{told}");
    }
}
