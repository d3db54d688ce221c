//! The repository holds to its own rules.
#![expect(
    clippy::unwrap_used,
    reason = "a check that cannot read the repository has failed"
)]

mod house;
mod imports;
mod lint;
mod manifests;
mod metrics;
mod names;
mod policies;
mod queues;
mod readings;
mod routes;
mod schedules;
mod settings;
mod tls;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use cargo_metadata::{Metadata, MetadataCommand, Package};
use serde_json::Value;
use stack::Template;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn template() -> Template {
    Template::read(&root().join("template.yaml")).unwrap()
}

/// The template as SAM translates it in the cloud, with these parameters (`Name=value`) and else the defaults.
fn translated(parameters: &[&str]) -> Value {
    let answer = Command::new(lint::venv().python())
        .args(["xtask/tests/it/translate.py", "template.yaml"])
        .args(parameters)
        .current_dir(root())
        .env("AWS_DEFAULT_REGION", "ap-south-1")
        .output()
        .unwrap();
    assert!(
        answer.status.success(),
        "{}",
        String::from_utf8_lossy(&answer.stderr)
    );
    serde_json::from_slice(&answer.stdout).unwrap()
}

/// The workspace's own packages.
fn packages() -> Vec<Package> {
    let metadata: Metadata = MetadataCommand::new()
        .current_dir(root())
        .no_deps()
        .exec()
        .unwrap();
    metadata.packages
}

/// Where a package lies: `functions/crm`.
fn folder(package: &Package) -> String {
    let manifest = package.manifest_path.as_std_path();
    let folder = manifest.parent().unwrap().strip_prefix(root()).unwrap();
    folder.to_str().unwrap().to_owned()
}

/// The name of the resource or parameter that a value refers to.
fn target(value: &Value) -> Option<&str> {
    value["Ref"].as_str().or_else(|| value["Fn::GetAtt"][0].as_str())
}

/// A value that is one thing or a list of them.
fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Null => Vec::new(),
        other => vec![other],
    }
}

/// `click-to-call` is `ClickToCall`.
fn camel(bin: &str) -> String {
    bin.split('-')
        .map(|word| word[..1].to_uppercase() + &word[1..])
        .collect()
}
