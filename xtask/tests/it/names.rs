//! One word per function everywhere: bin, resource, log group, example event.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use cargo_metadata::TargetKind;

use crate::{camel, folder, packages, root, target, template};

/// The bins of the packages under functions/.
pub(crate) fn bins() -> BTreeSet<String> {
    packages()
        .iter()
        .filter(|package| folder(package).starts_with("functions/"))
        .flat_map(|package| &package.targets)
        .filter(|target| target.kind.contains(&TargetKind::Bin))
        .map(|target| target.name.clone())
        .collect()
}

#[test]
fn every_bin_is_one_function_and_the_reverse() {
    let functions: Vec<_> = template().functions().unwrap();
    let named: BTreeSet<_> = functions.iter().map(|function| function.bin.clone()).collect();
    assert_eq!(named.len(), functions.len(), "two functions run the same bin");
    assert_eq!(named, bins(), "left: template.yaml; right: functions/*/src/bin");
    for function in functions {
        assert_eq!(function.logical_id, format!("{}Function", camel(&function.bin)));
    }
}

#[test]
fn every_function_is_built_by_cargo_lambda_and_keeps_its_logs_for_a_while() {
    let template = template();
    let groups: BTreeMap<_, _> = template.of_type("AWS::Logs::LogGroup").collect();
    for function in template.functions().unwrap() {
        let resource = &template.json()["Resources"][&function.logical_id];
        assert_eq!(
            resource["Metadata"]["BuildMethod"], "rust-cargolambda",
            "{}",
            function.logical_id
        );
        assert!(
            resource["Properties"]["Description"].is_string(),
            "{} has no description",
            function.logical_id
        );
        let group = target(&resource["Properties"]["LoggingConfig"]["LogGroup"])
            .unwrap_or_else(|| panic!("{} logs into no group of its own", function.logical_id));
        assert_eq!(group, format!("{}Logs", camel(&function.bin)));
        let name = format!("/aws/lambda/${{AWS::StackName}}-{}", function.bin);
        assert_eq!(groups[group]["LogGroupName"]["Fn::Sub"], name.as_str());
    }
    for (id, group) in groups {
        assert_eq!(
            target(&group["RetentionInDays"]),
            Some("LogRetentionDays"),
            "{id} keeps its logs for ever"
        );
    }
}

#[test]
fn every_function_has_an_example_event_and_every_event_a_function() {
    let bins = bins();
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(root().join("events")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let parts: Vec<&str> = name.split('.').collect();
        let [bin, _case, "json"] = parts[..] else {
            panic!("events/{name} is not <bin>.<case>.json")
        };
        assert!(bins.contains(bin), "events/{name}: there is no bin {bin}");
        let text = fs::read_to_string(&path).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|err| panic!("events/{name}: {err}"));
        seen.insert(bin.to_owned());
    }
    let missing: Vec<_> = bins.difference(&seen).collect();
    assert!(missing.is_empty(), "no event in events/ for {missing:?}");
}
