//! The init phase of a function, and what it hands to the handler.
//!
//! [`run`] is a bin's whole `main`: crypto provider, logs, settings and AWS settings first, then the bin's own
//! closure, which builds its clients once and serves events until Lambda stops the process. A setting that cannot
//! be used ends the process in init, with one log line that names it, before any caller is involved.

mod aws;
mod invoke;
mod logs;
mod secret;
mod signed;
mod unread;

use std::{process::ExitCode, sync::Arc};

use aws_smithy_types::retry::RetryConfig;
use aws_types::SdkConfig;
use jiff::Timestamp;
pub use lambda_runtime::Diagnostic;
use lambda_runtime::LambdaEvent;
use serde::{Serialize, de::DeserializeOwned};

use self::{
    aws::AwsEnvironment,
    secret::{SecretCache, SecretsManager},
};
pub use self::{
    invoke::Invoker,
    secret::{Live, SecretStore},
    unread::serve_bytes,
};
use crate::{Error, config::Settings};

/// Any error, as the Lambda runtime takes it.
pub type BoxError = lambda_runtime::Error;

/// What init has ready for a function's own clients.
pub struct Boot {
    settings: Settings,
    aws: SdkConfig,
    secret: Option<Arc<SecretCache>>,
    manager: Option<Arc<SecretsManager>>,
}

impl Boot {
    /// Reads the AWS settings, then the secret that `SECRET_ARN` names; without one, the environment is all there is.
    ///
    /// # Errors
    /// [`Error::Missing`] for what Lambda should have set, [`Error::Secret`] for a secret that cannot be had.
    pub async fn new(environment: Settings, now: Timestamp) -> Result<Self, Error> {
        let aws = AwsEnvironment::read(&environment)?;
        let config = aws.sdk_config()?;
        let Some(arn) = environment.get("SECRET_ARN") else {
            return Ok(Self {
                settings: environment,
                aws: config,
                secret: None,
                manager: None,
            });
        };
        let manager = Arc::new(SecretsManager::new(arn, aws)?);
        let cache = SecretCache::fetch(Box::new(Arc::clone(&manager)), environment, now).await?;
        Ok(Self {
            settings: cache.settings().await,
            aws: config,
            secret: Some(Arc::new(cache)),
            manager: Some(manager),
        })
    }

    /// The settings as they are in init.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A concern's settings that follow the secret. For instance `boot.live(ExotelConfig::from_env)`.
    ///
    /// # Errors
    /// What `read` says about the settings as they are now.
    pub fn live<T>(
        &self,
        read: impl Fn(&Settings) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Result<Live<T>, Error> {
        Live::new(read, &self.settings, self.secret.clone())
    }

    /// Another function of ours, to be invoked without waiting for it.
    ///
    /// # Errors
    /// [`Error::Missing`] for what Lambda should have set, [`Error::Init`] when the client is refused.
    pub fn invoker(&self, function_name: &str) -> Result<Invoker, Error> {
        Invoker::new(function_name, AwsEnvironment::read(&self.settings)?)
    }

    /// The secret, to be changed; `None` when the environment is all there is. It takes a policy that allows
    /// `secretsmanager:PutSecretValue`.
    pub fn secret_store(&self) -> Option<SecretStore> {
        let (manager, cache) = (self.manager.as_ref()?, self.secret.as_ref()?);
        Some(SecretStore::new(Arc::clone(manager), Arc::clone(cache)))
    }

    /// AWS settings for clients that nobody else retries for: the SDK tries up to three times.
    pub fn aws(&self) -> &SdkConfig {
        &self.aws
    }

    /// AWS settings for clients behind a queue, which retries: the SDK tries once.
    pub fn aws_without_retries(&self) -> SdkConfig {
        self.aws
            .to_builder()
            .retry_config(RetryConfig::disabled())
            .build()
    }
}

/// A bin's `main`. `init` builds the function's clients and then serves; see the README for a whole bin.
pub fn run(init: impl AsyncFnOnce(Boot) -> Result<(), BoxError>) -> ExitCode {
    let environment = Settings::new(|name| std::env::var(name).ok());
    match start(environment, init) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            let causes: Vec<_> = std::iter::successors(err.source(), |cause| cause.source())
                .map(ToString::to_string)
                .collect();
            tracing::error!(error.kind = "Init", error.causes = causes.join(": "), "{err}");
            ExitCode::FAILURE
        }
    }
}

fn start(
    environment: Settings,
    init: impl AsyncFnOnce(Boot) -> Result<(), BoxError>,
) -> Result<(), BoxError> {
    let directives = environment.environment("RUST_LOG");
    let level = environment
        .get("LOG_LEVEL")
        .or_else(|| environment.environment("AWS_LAMBDA_LOG_LEVEL"));
    let subscriber = logs::subscriber(directives.as_deref(), level.as_deref(), std::io::stdout);
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|err| Error::Init("logs were set up twice", Some(err.into())))?;
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| Error::Init("a crypto provider was installed twice", None))?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let boot = Boot::new(environment, Timestamp::now()).await?;
            init(boot).await
        })
}

/// Serves events of one kind until Lambda stops the process: SQS batches, stream batches, schedules. HTTP functions
/// use `http::serve`. A handler's error fails the whole invocation; its `error_type` is what alarms match on.
///
/// # Errors
/// When the Runtime API cannot be reached.
pub async fn serve<A, R>(handle: impl AsyncFn(A) -> Result<R, Diagnostic>) -> Result<(), BoxError>
where
    A: DeserializeOwned,
    R: Serialize,
{
    let handle = &handle;
    let service = move |event: LambdaEvent<A>| async move { handle(event.payload).await };
    lambda_runtime::run(lambda_runtime::service_fn(service)).await
}
