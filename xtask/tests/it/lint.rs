//! The template lints with cfn-lint, as written and as SAM translates it.

use std::{fs, path::Path, process::Command};

use stack::Venv;

use crate::{root, translated};

/// CloudFormation takes 500 resources; the rest is room to move.
const MOST_RESOURCES: usize = 450;

pub(crate) fn venv() -> Venv {
    let requirements = fs::read_to_string(root().join("local/stack/requirements.txt")).unwrap();
    Venv::make(&root().join(".local/venv"), &requirements, |_| ()).unwrap()
}

fn lint(path: &Path) {
    let answer = Command::new(venv().program("cfn-lint"))
        .args(["--regions", "ap-south-1", "ap-southeast-1", "--"])
        .arg(path)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        answer.status.success(),
        "{}",
        String::from_utf8_lossy(&answer.stdout)
    );
}

#[test]
fn the_template_lints_as_written() {
    lint(Path::new("template.yaml"));
}

#[test]
fn the_template_lints_as_translated_and_has_room_to_grow() {
    let translated = translated(&[]);
    let resources = translated["Resources"].as_object().unwrap().len();
    assert!(resources < MOST_RESOURCES, "{resources} resources");
    println!("{resources} resources");

    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("translated.json");
    fs::write(&path, translated.to_string()).unwrap();
    lint(&path);
}
