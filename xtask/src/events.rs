//! Raw webhook events, for an operator: list them, replay one.

use std::io::{self, Write};

use anyhow::{Context, Result};
use clap::Subcommand;

use crate::installation::{Installation, ask};

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
