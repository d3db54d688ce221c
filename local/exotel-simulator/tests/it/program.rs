//! The program itself.

use std::f64::consts::TAU;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use exotel_simulator::Track;

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

#[test]
fn help_of_a_call_names_what_is_said_and_what_is_kept() {
    let output = Command::new(env!("CARGO_BIN_EXE_exotel-simulator"))
        .args(["call", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for option in [
        "--wss",
        "--connect",
        "--wav",
        "--script",
        "--digits",
        "--record",
        "--json",
    ] {
        assert!(
            help.lines().any(|line| line.trim_start().starts_with(option)),
            "{option}\n{help}"
        );
    }
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

/// Runs `exotel-simulator call`.
async fn run_call(arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_exotel-simulator"));
    program.arg("call").args(arguments);
    let output = tokio::task::spawn_blocking(move || program.output().unwrap());
    within(output).await.unwrap()
}

/// Runs `exotel-simulator call` and gives its exit code and what it printed.
async fn call(arguments: &[&str]) -> (i32, String) {
    let output = run_call(arguments).await;
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[tokio::test]
async fn a_call_to_an_echo_is_reported_and_recorded() {
    let server = BotServer::start(&[], Bot::echo).await;
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
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

/// The sample of a sweep over a voice's range, louder and softer as syllables are, that is spoken at `time` seconds.
fn sweep(time: f64) -> f64 {
    let phase = TAU * (250.0 * time + 750.0 * time * time);
    phase.sin() * (0.6 - 0.4 * (TAU * 4.0 * time).cos())
}

#[tokio::test]
async fn a_wav_is_said_as_it_is_and_what_is_heard_is_recorded() {
    const MS: u32 = 1_500;
    let server = BotServer::start(&[], Bot::echo).await;
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (said, record) = (directory.join("said.wav"), directory.join("heard.wav"));
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: 44_100,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(&said, spec).unwrap();
    for at in 0..spec.sample_rate * MS / 1_000 {
        let value = sweep(f64::from(at) / f64::from(spec.sample_rate));
        for loudness in [18_000.0, 6_000.0] {
            wav.write_sample((value * loudness) as i16).unwrap();
        }
    }
    wav.finalize().unwrap();

    let (code, report) = call(&[
        "--wss",
        &server.url("/"),
        "--wav",
        said.to_str().unwrap(),
        "--linger-ms",
        "800",
        "--record",
        record.to_str().unwrap(),
    ])
    .await;
    assert_eq!(code, 0, "{report}");
    // Made at the line's rate, not read from the file: a misreading of the file would be in both.
    let rate_hz = 8_000;
    let expected = Track {
        rate_hz,
        samples: (0..rate_hz * MS / 1_000)
            .map(|at| (sweep(f64::from(at) / f64::from(rate_hz)) * 12_000.0) as i16)
            .collect(),
    };
    let heard = Track::from_wav(&record, rate_hz).unwrap();
    let (likeness, delay_ms) = expected.likeness(&heard, 3_000);
    assert!(likeness >= 0.95, "{likeness} after {delay_ms} ms\n{report}");
}

#[tokio::test]
async fn a_wav_that_is_not_there_is_named_and_nobody_is_called() {
    let server = BotServer::start(&[], Bot::echo).await;
    let missing = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nobody-recorded-this.wav");
    let output = run_call(&["--wss", &server.url("/"), "--wav", missing.to_str().unwrap()]).await;
    let problem = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{problem}");
    assert!(problem.contains(missing.to_str().unwrap()), "{problem}");
    assert!(output.stdout.is_empty());
    assert!(server.requests().is_empty(), "{:?}", server.requests());
}
