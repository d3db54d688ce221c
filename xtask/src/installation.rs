//! Which installation an operator's command speaks to, and asking it.

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;
use stack::StackFile;

use crate::{
    paths,
    token::{self, Role, mint},
};

/// Which installation; without anything, the local stack that serves.
#[derive(Args)]
pub(crate) struct Installation {
    /// Origin of the HTTP API (the stack's output HttpApiUrl).
    #[arg(long, env = "EXOTEL_OPS_URL", requires = "token")]
    url: Option<String>,
    /// A token of an ADMIN or SUPERADMIN.
    #[arg(long, env = "EXOTEL_OPS_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl Installation {
    /// Its origin, and a token for it.
    pub(crate) fn resolve(self) -> Result<(String, String)> {
        if let (Some(url), Some(token)) = (self.url, self.token) {
            return Ok((url.trim_end_matches('/').to_owned(), token));
        }
        let file = StackFile::read(&paths::stack_file())?
            .context("no local stack serves: start `cargo xtask local`, or give --url and --token")?;
        Ok((
            file.http_url,
            mint(&token::secret()?, "operator", Role::Admin, 1)?,
        ))
    }
}

/// A request that must succeed; gives its answer.
pub(crate) async fn ask(request: reqwest::RequestBuilder) -> Result<Value> {
    let answer = request.send().await.context("reach the installation")?;
    let status = answer.status();
    let text = answer.text().await.context("read the answer")?;
    ensure!(status.is_success(), "answered {status}: {text}");
    serde_json::from_str(&text).with_context(|| format!("understand the answer {text}"))
}
