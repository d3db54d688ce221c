//! Every manifest inherits its lints, its versions and its metadata from the workspace.

use std::fs;

use toml::{Table, Value};

use crate::{packages, root};

fn manifests() -> Vec<(String, Table)> {
    packages()
        .iter()
        .map(|package| {
            let text = fs::read_to_string(&package.manifest_path).unwrap();
            (package.name.to_string(), text.parse().unwrap())
        })
        .collect()
}

/// Whether a value is `{ workspace = true }`, with or without more.
fn inherits(value: &Value) -> bool {
    value.get("workspace") == Some(&Value::Boolean(true))
}

#[test]
fn every_package_inherits_lints_and_metadata() {
    for (name, manifest) in manifests() {
        assert!(
            manifest.get("lints").is_some_and(inherits),
            "{name} has no [lints] workspace = true"
        );
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            assert!(
                manifest["package"].get(key).is_some_and(inherits),
                "{name} does not inherit {key}"
            );
        }
    }
}

#[test]
fn every_dependency_takes_its_version_from_the_workspace() {
    for (name, manifest) in manifests() {
        let targets = manifest
            .get("target")
            .and_then(Value::as_table)
            .into_iter()
            .flatten();
        let tables = targets
            .filter_map(|(_, target)| target.as_table())
            .chain([&manifest]);
        for table in tables {
            for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
                for (dependency, value) in table.get(section).and_then(Value::as_table).into_iter().flatten()
                {
                    // A package that names itself switches on features for its own tests.
                    assert!(
                        inherits(value) || *dependency == name,
                        "{name}: {dependency} names a version of its own"
                    );
                }
            }
        }
    }
}

#[test]
fn every_version_in_the_workspace_is_used() {
    let workspace: Table = fs::read_to_string(root().join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let members: Vec<_> = manifests();
    for name in workspace["workspace"]["dependencies"].as_table().unwrap().keys() {
        let used = members.iter().any(|(_, manifest)| {
            ["dependencies", "dev-dependencies", "build-dependencies"]
                .iter()
                .any(|section| {
                    manifest
                        .get(*section)
                        .is_some_and(|section| section.get(name).is_some())
                })
        });
        assert!(
            used,
            "nothing uses {name}: take it out of the workspace's dependencies"
        );
    }
}
