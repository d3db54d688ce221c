//! The way of a caller's frame, from API Gateway's envelope to what the session decides: against a bare base64 decode of
//! the same frame, and the Node.js peer.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::{cold_start::median, programs};

/// Nanoseconds of CPU time per frame.
#[derive(Debug, Deserialize)]
struct Ours {
    bare: u64,
    path: u64,
    with_session: u64,
}

#[derive(Debug, Deserialize)]
struct Peers {
    path: u64,
}

/// A frame's whole way may take so many times what a bare decode does.
const MOST_DECODES: f64 = 15.0;
/// The Node.js peer takes at least so many times as long.
const LEAST_PEER: f64 = 5.0;

/// Runs both programs in turn, and prints the median of each.
///
/// # Errors
/// When a program cannot be built or started, does not hear the speech, or ours takes longer than it may.
pub(crate) fn run(runs: usize, passes: u32) -> Result<()> {
    let binary = programs::release_binary("frame-path", "frame-path")?;
    let peer = programs::node_peer();
    if let Err(missing) = &peer {
        eprintln!("The Node.js peer is left out: {missing}");
    }
    println!(
        "| rate | frames/s and core | with the session's text | bare SIMD decode takes | Node.js peer |"
    );
    println!("| -: | -: | -: | -: | -: |");
    for rate in [8_000, 16_000, 24_000] {
        let envelopes = output(
            Command::new(&binary).args([&rate.to_string(), "--envelopes"]),
            None,
        )?;
        let (mut ours, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            let arguments = [rate.to_string(), passes.to_string()];
            let text = output(Command::new(&binary).args(arguments), None)?;
            ours.push(serde_json::from_slice::<Ours>(&text)?);
            if let Ok(folder) = &peer {
                let frames = folder.join("frames.mjs");
                let text = output(
                    Command::new("node").arg(frames).arg(passes.to_string()),
                    Some(&envelopes),
                )?;
                peers.push(serde_json::from_slice::<Peers>(&text)?.path);
            }
        }
        let median_of = |figure: fn(&Ours) -> u64| median(ours.iter().map(figure).collect()) as f64;
        let (bare, path) = (median_of(|ours| ours.bare), median_of(|ours| ours.path));
        let with_session = median_of(|ours| ours.with_session);
        let peer = peer.is_ok().then(|| median(peers) as f64 / path);
        let peer_takes = peer.map_or_else(|| "left out".to_owned(), |times| format!("{times:.1}x as long"));
        println!(
            "| {rate} Hz | {:.0} | {:.0} | 1/{:.1} of ours | {peer_takes} |",
            1e9 / path,
            1e9 / with_session,
            path / bare,
        );
        ensure!(
            path <= MOST_DECODES * bare,
            "a bare decode takes 1/{:.1} of ours at {rate} Hz, less than 1/{MOST_DECODES}",
            path / bare
        );
        ensure!(
            peer.is_none_or(|times| times >= LEAST_PEER),
            "the Node.js peer takes less than {LEAST_PEER} times as long as ours at {rate} Hz"
        );
    }
    Ok(())
}

fn output(command: &mut Command, input: Option<&[u8]>) -> Result<Vec<u8>> {
    let name = Path::new(command.get_program()).display().to_string();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{name} could not be started"))?;
    let mut stdin = child.stdin.take().context("standard input is a pipe")?;
    stdin.write_all(input.unwrap_or_default())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{name} failed");
    Ok(output.stdout)
}
