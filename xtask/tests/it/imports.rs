//! Who may import whom (ARCHITECTURE.md, "Rooms").

use std::collections::BTreeSet;

use cargo_metadata::DependencyKind;

use crate::{folder, packages};

/// What a package in this folder may import of ours; `None` is anything.
fn allowed(folder: &str) -> Option<&'static [&'static str]> {
    match folder {
        "shared/domain" | "shared/exotel" => Some(&[]),
        "shared/audio" | "shared/table" | "shared/lambda-kit" => Some(&["domain"]),
        "shared/services" => Some(&["domain", "audio", "table", "exotel"]),
        // These doors open to Exotel itself: its callbacks' types, and the details that name a recording anew.
        "functions/webhooks" | "functions/recordings" => {
            Some(&["services", "lambda-kit", "domain", "exotel"])
        }
        _ if folder.starts_with("functions/") => Some(&["services", "lambda-kit", "domain"]),
        _ if folder.starts_with("local/") => Some(&[]),
        "xtask" => None,
        _ if folder.starts_with("benches") => None,
        other => panic!("{other} is a new room: say here what it may import"),
    }
}

#[test]
fn every_import_of_ours_is_one_that_the_architecture_allows() {
    let packages = packages();
    let ours: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    for package in &packages {
        let Some(allowed) = allowed(&folder(package)) else {
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            // Tests may import what they need to set the scene.
            if dependency.kind == DependencyKind::Development || !ours.contains(name) {
                continue;
            }
            assert!(allowed.contains(&name), "{} must not import {name}", package.name);
        }
    }
}

#[test]
fn nothing_imports_the_tools() {
    for package in packages()
        .iter()
        .filter(|package| allowed(&folder(package)).is_some())
    {
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            assert!(
                !["xtask", "benches"].contains(&name),
                "{} must not import {name}",
                package.name
            );
        }
    }
}

#[test]
fn only_table_and_what_projects_from_it_talk_to_dynamodb() {
    for package in packages() {
        let folder = folder(&package);
        let uses = package.dependencies.iter().any(|dependency| {
            dependency.name == "aws-sdk-dynamodb" && dependency.kind != DependencyKind::Development
        });
        let may = ["shared/table", "shared/services"].contains(&folder.as_str())
            || !folder.starts_with("functions/");
        assert!(!uses || may, "{folder} must reach DynamoDB through services");
    }
}
