//! `recording-proxy`, behind a Function URL with `InvokeMode: RESPONSE_STREAM`.

use std::process::ExitCode;

use jiff::Timestamp;
use lambda_kit::{
    capability::SigningKeys,
    config::{CorsConfig, ExotelConfig, RecordingConfig, TableConfig},
    http::serve_streaming,
    https::{self, SystemNames},
    init,
};
use recordings::{
    fetch::{Fetcher, guarded_client, plain_client},
    guard::Guard,
    proxy::{FIRST_BYTE_WITHIN, Proxy},
};

fn main() -> ExitCode {
    init::run(async |boot| {
        let settings = boot.settings();
        let extra = RecordingConfig::from_env(settings)?;
        let proxy = Proxy {
            keys: boot.live(SigningKeys::from_env)?,
            exotel: boot.live(ExotelConfig::from_env)?,
            table: services::connect(boot.aws(), &TableConfig::from_env(settings)?.name),
            fetcher: Fetcher {
                guard: Guard::with_extra_origins(extra.extra_origins.iter().map(String::as_str))?,
                client: guarded_client(https::client_builder()?, SystemNames).build()?,
                extra_client: plain_client(https::client_builder()?).build()?,
            },
            http: https::client()?,
            first_byte_within: FIRST_BYTE_WITHIN,
        };
        let proxy = &proxy;
        let cors = CorsConfig::from_env(settings)?;
        serve_streaming(&cors, async |request| {
            proxy.answer(&request, Timestamp::now()).await
        })
        .await
    })
}
