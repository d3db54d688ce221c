//! What must not stand in a file of the repository.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::root;

/// Files under version control.
fn files(extension: &str) -> Vec<(PathBuf, String)> {
    let answer = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(answer.status.success(), "git ls-files failed");
    let listed = String::from_utf8(answer.stdout).unwrap();
    listed
        .split_terminator('\0')
        .filter(|name| {
            extension.is_empty()
                || Path::new(name)
                    .extension()
                    .is_some_and(|found| found == extension)
        })
        .filter_map(|name| Some((PathBuf::from(name), fs::read_to_string(root().join(name)).ok()?)))
        .collect()
}

#[test]
fn nothing_is_left_to_do_or_tied_to_one_machine() {
    // In two parts, so that this file may stand in the repository.
    let words = [
        ("FIX", "ME"),
        ("XX", "X:"),
        ("todo", "!("),
        ("/root", "/"),
        ("/home", "/"),
        ("dbg", "!("),
    ];
    for (path, text) in files("") {
        for (front, back) in words {
            let word = format!("{front}{back}");
            let line = text.lines().position(|line| line.contains(&word));
            assert!(
                line.is_none(),
                "{}:{} has {word}",
                path.display(),
                line.unwrap_or_default() + 1
            );
        }
    }
}

#[test]
fn every_ignored_test_says_why() {
    let bare = ["#[ign", "ore]"].concat();
    for (path, text) in files("rs") {
        assert!(
            !text.contains(&bare),
            "{} ignores a test without a reason",
            path.display()
        );
    }
}

#[test]
fn rules_and_use_cases_take_the_time_as_an_argument() {
    let inward = [
        "shared/domain/src",
        "shared/exotel/src",
        "shared/table/src",
        "shared/services/src",
    ];
    for (path, text) in files("rs") {
        // The machine's own clock, handed in where a function starts.
        let clock_itself = path.ends_with("services/src/clock.rs");
        if clock_itself || !inward.iter().any(|room| path.starts_with(room)) {
            continue;
        }
        for clock in [
            "Timestamp::now()",
            "SystemTime::now()",
            "Instant::now()",
            "Zoned::now()",
            "rand::rng()",
        ] {
            assert!(!text.contains(clock), "{} asks {clock} itself", path.display());
        }
    }
}

#[test]
fn only_init_reads_the_environment() {
    for (path, text) in files("rs") {
        let deployed = ["shared", "functions"].iter().any(|room| path.starts_with(room));
        let code = path.components().any(|part| part.as_os_str() == "src");
        if !deployed || !code || path.starts_with("shared/lambda-kit/src/init") {
            continue;
        }
        for call in ["env::var(", "env::var_os(", "env::vars(", "env::vars_os("] {
            assert!(
                !text.contains(call),
                "{} reads the environment; lambda_kit::config does",
                path.display()
            );
        }
    }
}
