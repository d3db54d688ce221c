//! `cargo xtask e2e`: the black-box tests of `local/e2e`, on a stack of their own.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use cargo_metadata::Message;
use clap::Args;
use serde_json::json;
use tokio::{net::TcpSocket, process::Command};

use crate::{
    cargo::cargo,
    local::{self, Running},
    steps::heading,
    token::random_text,
};

/// Which tests.
#[derive(Args, Default)]
pub(crate) struct Request {
    /// Only tests with one of these words in their name; options of the test program, such as --nocapture, too.
    #[arg(allow_hyphen_values = true)]
    filter: Vec<String>,
}

/// How many times faster than life pretended calls go.
const SPEED: f64 = 20.0;

/// What one user or lead may cause in an hour would end the burst: the limits are other tests' subject.
const SETTINGS: [(&str, &str); 5] = [
    ("OUTBOUND_CALLS_PER_USER_HOUR", "2000"),
    ("OUTBOUND_CALLS_PER_USER_DAY", "2000"),
    ("OUTBOUND_CALLS_PER_LEAD_HOUR", "8"),
    ("OUTBOUND_CALLS_PER_LEAD_DAY", "9"),
    ("CORS_ALLOWED_ORIGINS", "https://crm.example.com"),
];

/// When tests of these modules are chosen, none runs beside another.
const ONE_BY_ONE: [&str; 2] = ["alone", "afterwards"];

/// Most tests side by side; then those that use up what all share, one by one; then what looks at what the others
/// left.
const PARTS: [(&str, &[&str]); 3] = [
    (
        "side by side",
        &["--skip", "alone::", "--skip", "afterwards::", SIDE_BY_SIDE],
    ),
    ("alone", &["alone::", SERIAL, "--show-output"]),
    ("afterwards", &["afterwards::"]),
];
/// They mostly wait for pretended calls.
const SIDE_BY_SIDE: &str = "--test-threads=6";
const SERIAL: &str = "--test-threads=1";

/// What the stack and the tests have to agree on.
struct Agreed {
    /// Where a test serves the team's own bot.
    bot_origin: String,
    /// What the handshake of a socket carries whose URL was pasted into a flow.
    ws_token: String,
}

impl Agreed {
    fn settings(&self) -> BTreeMap<String, String> {
        let bots = json!({"own": {"kind": "http", "url": format!("{}/turn", self.bot_origin)}});
        SETTINGS
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .chain(
                [
                    ("VOICEBOT_BOTS", bots.to_string()),
                    ("VOICEBOT_EXTRA_ORIGINS", self.bot_origin.clone()),
                    ("EXOTEL_WS_TOKEN", self.ws_token.clone()),
                ]
                .map(|(name, value)| (name.to_owned(), value)),
            )
            .collect()
    }
}

pub(crate) async fn run(request: &Request) -> Result<()> {
    heading("Building the end-to-end tests");
    let tests = build()?;
    // The functions are told of the bot before there is one. Bound and never listening, this socket keeps the port free
    // for the test that listens there.
    let place = TcpSocket::new_v4().context("make a socket")?;
    place
        .set_reuseport(true)
        .and_then(|()| place.bind((Ipv4Addr::LOCALHOST, 0).into()))
        .context("find a free port of 127.0.0.1")?;
    let address = place.local_addr().context("find a free port of 127.0.0.1")?;
    let agreed = Agreed {
        bot_origin: format!("http://{address}"),
        ws_token: random_text(32),
    };
    local::on_its_own(SPEED, agreed.settings(), async |running| {
        ask(running, &agreed, &tests, &request.filter).await
    })
    .await
}

async fn ask(running: &Running, agreed: &Agreed, tests: &Path, filter: &[String]) -> Result<()> {
    let file = running.dir.join("stack.json");
    running.file.write(&file)?;
    let chosen: Vec<&str> = filter
        .iter()
        .map(String::as_str)
        .chain([threads(filter)])
        .collect();
    let parts = if filter.is_empty() {
        &PARTS[..]
    } else {
        &[("as chosen", &chosen[..])]
    };
    let mut failed = Vec::new();
    for (title, arguments) in parts {
        heading(&format!("End-to-end tests, {title}"));
        let status = Command::new(tests)
            .args(*arguments)
            .env("RUST_BACKTRACE", "0")
            .env("E2E_STACK", &file)
            .env("E2E_LOGS", &running.dir)
            .env("E2E_JWT_SECRET", &running.jwt_secret)
            .env("E2E_BOT_ORIGIN", &agreed.bot_origin)
            .env("E2E_WS_TOKEN", &agreed.ws_token)
            .kill_on_drop(true)
            .status()
            .await
            .context("start the end-to-end tests")?;
        if !status.success() {
            failed.push(*title);
        }
    }
    ensure!(
        failed.is_empty(),
        "end-to-end tests failed: {}",
        failed.join(", ")
    );
    Ok(())
}

/// How chosen tests run.
fn threads(filter: &[String]) -> &'static str {
    let begins = |word: &String| ONE_BY_ONE.iter().any(|module| word.starts_with(module));
    if filter.iter().any(begins) {
        SERIAL
    } else {
        SIDE_BY_SIDE
    }
}

/// Builds the tests before there is a stack to wait for them; gives their program.
fn build() -> Result<PathBuf> {
    let built = cargo()
        .args([
            "test",
            "--package",
            "e2e",
            "--features",
            "stack",
            "--test",
            "it",
            "--no-run",
        ])
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("start cargo")?;
    ensure!(built.status.success(), "the end-to-end tests do not build");
    let program = Message::parse_stream(&built.stdout[..]).find_map(|message| match message {
        Ok(Message::CompilerArtifact(artifact)) if artifact.target.is_test() => artifact.executable,
        _ => None,
    });
    Ok(program
        .context("cargo names no program of the end-to-end tests")?
        .into_std_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_are_alone_stay_so_when_they_are_chosen() {
        for (filter, expected) in [
            (&["alone"][..], SERIAL),
            (&["alone::an_echo", "--nocapture"], SERIAL),
            (&["voicebot", "afterwards"], SERIAL),
            (&["voicebot"], SIDE_BY_SIDE),
            (&["ends_that_socket_alone"], SIDE_BY_SIDE),
        ] {
            let filter: Vec<String> = filter.iter().map(|&word| word.to_owned()).collect();
            assert_eq!(threads(&filter), expected, "{filter:?}");
        }
    }
}
