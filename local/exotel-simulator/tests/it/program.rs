//! The program itself.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

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
