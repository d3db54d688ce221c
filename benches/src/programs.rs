//! What is measured: release binaries of ours and the Node.js peer, made ready.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("benches/ lies in the repository's root")
}

/// Builds one binary with the release profile, alone, so that nothing else's features are unified into it; gives its
/// path.
pub(crate) fn release_binary(package: &str, bin: &str) -> Result<PathBuf> {
    eprintln!("building {bin} (release)");
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args([
            "build",
            "--release",
            "--package",
            package,
            "--bin",
            bin,
            "--message-format=json-render-diagnostics",
        ])
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cargo could not be started")?;
    if !output.status.success() {
        bail!("cargo could not build {bin}");
    }
    String::from_utf8(output.stdout)?
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == bin)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo built no executable named {bin}"))
}

/// The Node.js peer's folder with its packages installed, or why it cannot be measured here.
pub(crate) fn node_peer() -> Result<PathBuf> {
    let version = Command::new("node")
        .arg("--version")
        .output()
        .context("Node.js is missing: the peer needs version 20 or newer on PATH")?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let major: u32 = version
        .trim_start_matches('v')
        .split('.')
        .next()
        .unwrap_or_default()
        .parse()
        .unwrap_or(0);
    if major < 20 {
        bail!("Node.js {version} is too old: the peer needs version 20 or newer");
    }
    let folder = root().join("benches/node-peer");
    eprintln!("installing the Node.js peer's packages ({version})");
    let status = Command::new("npm")
        .current_dir(&folder)
        .args(["ci", "--silent", "--no-fund", "--no-audit"])
        .status()
        .context("npm is missing: it comes with Node.js")?;
    if !status.success() {
        bail!("npm could not install the peer's packages");
    }
    Ok(folder)
}
