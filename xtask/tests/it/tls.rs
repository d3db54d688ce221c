//! One TLS stack per function, and none of the heavy ones.

use std::{collections::BTreeSet, process::Command};

use crate::{folder, packages, root};

/// The crates that a package is built from, as `name version`, for the machine that it is deployed to.
fn crates(package: &str) -> BTreeSet<String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let answer = Command::new(cargo)
        .args([
            "tree",
            "--package",
            package,
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .args(["--target", "aarch64-unknown-linux-gnu", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        answer.status.success(),
        "{}",
        String::from_utf8_lossy(&answer.stderr)
    );
    let text = String::from_utf8(answer.stdout).unwrap();
    // `hyper v1.12.0`, or `crm v0.1.0 (/where/it/lies)`.
    text.lines()
        .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn every_function_has_one_tls_stack_on_ring() {
    for package in packages()
        .iter()
        .filter(|package| folder(package).starts_with("functions/"))
    {
        let name = package.name.as_str();
        let crates = crates(name);
        for unwanted in [
            "aws-lc-rs ",
            "aws-lc-sys ",
            "native-tls ",
            "openssl ",
            "openssl-sys ",
            "dynoxide-rs ",
        ] {
            let found = crates.iter().find(|found| found.starts_with(unwanted));
            assert!(found.is_none(), "{name} is built from {found:?}");
        }
        for single in [
            "rustls ",
            "hyper ",
            "http ",
            "ring ",
            "tokio ",
            "reqwest ",
            "aws-smithy-http-client ",
        ] {
            let found: Vec<_> = crates.iter().filter(|found| found.starts_with(single)).collect();
            assert!(found.len() <= 1, "{name} is built from {found:?}");
        }
    }
}
