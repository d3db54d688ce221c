//! `docs/access-patterns.md` is the contract: every method has a row, every row a method and a test.

use std::{collections::BTreeSet, fs, path::Path};

fn sources(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}

#[test]
fn every_method_has_a_row_and_every_row_a_method_and_a_test() {
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/access-patterns.md");
    let contract = fs::read_to_string(contract).unwrap();
    let rows: Vec<Vec<&str>> = contract
        .lines()
        .skip_while(|line| !line.starts_with("## Patterns"))
        .filter(|line| line.starts_with("| ") && !line.starts_with("| question"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let mut methods = BTreeSet::new();
    let tests: String = [sources("tests/it"), sources("src")].concat().concat();
    for row in &rows {
        let [_question, _condition, method, test] = row[..] else {
            panic!("a row is question, condition, method, test: {row:?}")
        };
        methods.insert(method.trim_matches('`').to_owned());
        let test = test.trim_matches('`');
        assert!(tests.contains(&format!("fn {test}(")), "no test {test}");
    }
    let code: BTreeSet<String> = sources("src")
        .iter()
        .flat_map(|source| source.lines())
        .filter_map(|line| {
            line.trim()
                .strip_prefix("pub async fn ")?
                .split(['(', '<'])
                .next()
        })
        .map(str::to_owned)
        .collect();
    assert_eq!(methods, code, "left: rows, right: methods");
}
