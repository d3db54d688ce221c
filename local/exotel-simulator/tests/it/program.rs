//! The program itself.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::bot::{Bot, BotServer};
use crate::harness::within;

#[test]
fn help_names_every_option_with_an_explanation() {
    let output = Command::new(env!("CARGO_BIN_EXE_exotel-simulator"))
        .arg("--help")
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for option in [
        "--port",
        "--account",
        "--key",
        "--token",
        "--speed",
        "--talk-ms",
        "--seed",
        "--exophone",
        "--exophone-limit",
        "--exophones-at-top",
        "--no-list-details",
        "--inbound-to-agent",
        "--ccm-user",
        "--ccm-details",
        "--passthru-url",
        "--heartbeat-url",
        "--heartbeat-every-ms",
        "--heartbeat-flat",
        "--heartbeat-empty-arrays",
        "--voicebot-url",
        "--voicebot-post",
        "--stream-json",
        "--stream-ints",
        "--max-streams",
        "--active-streams-as-tree",
        "--trust",
    ] {
        assert!(help.contains(option), "{option}");
    }
    assert!(help.contains("/_sim/journal"));
}

#[tokio::test]
async fn the_first_line_says_where_it_listens() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_exotel-simulator"))
        .args([
            "--port",
            "0",
            "--account",
            "acme9",
            "--key",
            "k9",
            "--token",
            "t9",
            "--ccm-user",
            "4b1e=sip:asha@acme9,Asha R",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stdout = program.stdout.take().unwrap();
    let line = tokio::task::spawn_blocking(move || BufReader::new(stdout).lines().next());
    let line = within(line).await.unwrap().unwrap().unwrap();
    let url = line
        .strip_prefix("exotel-simulator listening on ")
        .unwrap()
        .to_owned();
    let address = url.strip_prefix("http://").unwrap().to_owned();
    let connected = tokio::net::TcpStream::connect(address).await;
    program.kill().unwrap();
    program.wait().unwrap();
    assert!(connected.is_ok(), "{url}");
}

/// Runs `exotel-simulator call` and gives its exit code and what it printed.
async fn call(arguments: &[&str]) -> (i32, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_exotel-simulator"));
    program.arg("call").args(arguments).stderr(Stdio::null());
    let output = tokio::task::spawn_blocking(move || program.output().unwrap());
    let output = within(output).await.unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[tokio::test]
async fn a_call_to_an_echo_is_reported_and_recorded() {
    let server = BotServer::start(&[], Bot::echo).await;
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (script, record) = (directory.join("echo.json"), directory.join("echo.wav"));
    std::fs::write(
        &script,
        r#"[{"say_ms": 600}, {"digits": "1"}, {"wait_for_mark": "1"}]"#,
    )
    .unwrap();
    let (code, report) = call(&[
        "--wss",
        &server.url("/?sample-rate=8000"),
        "--rate",
        "16000",
        "--script",
        script.to_str().unwrap(),
        "--digits",
        "2",
        "--linger-ms",
        "0",
        "--record",
        record.to_str().unwrap(),
    ])
    .await;
    assert_eq!(code, 0, "{report}");
    for wanted in [
        "handshake     101 after",
        " at 16000 Hz, ",
        "violations    0",
        "ended by      user (stop: callended)",
    ] {
        assert!(report.contains(wanted), "{wanted}\n{report}");
    }
    let heard = hound::WavReader::open(&record).unwrap();
    assert_eq!((heard.spec().sample_rate, heard.spec().channels), (16_000, 1));
    assert!(heard.duration() > 16_000);
}

#[tokio::test]
async fn a_call_to_a_bot_that_breaks_rules_ends_with_1() {
    let server = BotServer::start(&[], async |mut bot: Bot<tokio::net::TcpStream>| {
        bot.next_of("start").await;
        bot.hum(640).await;
        bot.close(1_000).await;
    })
    .await;
    let (code, report) = call(&["--wss", &server.url("/")]).await;
    assert_eq!(code, 1);
    assert!(
        report.contains("violations    1\n") && report.contains("a chunk of 640 bytes"),
        "{report}"
    );
    let (code, report) = call(&["--wss", &server.url("/"), "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(
        (code, &report["violations"][0]["kind"]),
        (1, &serde_json::json!("chunk_too_small"))
    );
    let (code, report) = call(&["--wss", "ws://127.0.0.1:9/"]).await;
    assert_eq!((code, report.matches("handshake").count()), (1, 2), "{report}");
}
