//! Raw webhook events, for an operator: list them, replay one.

use std::io::{self, Write};

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use serde_json::Value;
use stack::StackFile;

use crate::{
    paths,
    token::{self, Role, mint},
};

/// What to do with the raw events.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// List events, newest first, a JSON object a line.
    List {
        #[command(flatten)]
        installation: Installation,
        /// Query of GET /api/admin/raw-events, for instance `limit=20`.
        #[arg(default_value = "")]
        query: String,
    },
    /// Put one event back on the queue, to be applied again.
    Replay {
        #[command(flatten)]
        installation: Installation,
        /// Its id, as the list gives it.
        id: String,
    },
}

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
    fn resolve(self) -> Result<(String, String)> {
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

pub(crate) async fn run(command: Command) -> Result<()> {
    let http = lambda_kit::https::client()?;
    match command {
        Command::List { installation, query } => {
            let (url, token) = installation.resolve()?;
            let query = if query.is_empty() {
                query
            } else {
                format!("?{query}")
            };
            let answer = ask(http
                .get(format!("{url}/api/admin/raw-events{query}"))
                .bearer_auth(token))
            .await?;
            let mut out = io::stdout().lock();
            for event in answer["items"]
                .as_array()
                .context("the answer is no list of events")?
            {
                // Whoever reads may have had enough.
                if writeln!(out, "{event}").is_err() {
                    return Ok(());
                }
            }
            if let Some(cursor) = answer["nextCursor"].as_str() {
                eprintln!("There are more: cursor={cursor}");
            }
        }
        Command::Replay { installation, id } => {
            let (url, token) = installation.resolve()?;
            let answer = ask(http
                .post(format!("{url}/api/admin/raw-events/{id}/replay"))
                .bearer_auth(token))
            .await?;
            println!("{answer}");
        }
    }
    Ok(())
}

async fn ask(request: reqwest::RequestBuilder) -> Result<Value> {
    let answer = request.send().await.context("reach the installation")?;
    let status = answer.status();
    let text = answer.text().await.context("read the answer")?;
    ensure!(status.is_success(), "answered {status}: {text}");
    serde_json::from_str(&text).with_context(|| format!("understand the answer {text}"))
}
