//! The table in `tests/fixtures/snap-ins/README.md`: every key and every value that the parser knows
//! has a fixture that uses it, and every form that real manifests get wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use super::super::{parse, trace};

const BEGIN: &str = "<!-- made by the test `manifest::tests::fixtures`: begin -->\n";
const END: &str = "<!-- end -->\n";
/// So many fixtures of one key are named.
const MOST_NAMED: usize = 3;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/snap-ins"))
}

/// The manifest of each fixture, by name.
fn manifests() -> BTreeMap<String, String> {
    let mut manifests = BTreeMap::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            manifests.insert(name, fs::read_to_string(path.join("manifest.yaml")).unwrap());
        }
    }
    assert!(manifests.len() > 5, "the fixtures are not where they were");
    manifests
}

#[test]
fn every_fixture_is_a_manifest() {
    for (name, text) in manifests() {
        let parsed = parse(&text);
        assert!(parsed.manifest.is_some(), "{name}: {:#?}", parsed.problems);
    }
}

#[test]
fn every_key_has_a_fixture() {
    let mut known = BTreeSet::new();
    let mut met: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, text) in manifests() {
        let trace = trace(&text);
        known.extend(trace.known);
        for key in trace.met {
            met.entry(key).or_default().push(name.clone());
        }
    }
    let without: Vec<&str> =
        known.iter().filter(|key| !met.contains_key(*key)).map(String::as_str).collect();
    assert!(
        without.is_empty(),
        "nothing in tests/fixtures/snap-ins uses these; add them to a fixture:\n{}",
        without.join("\n")
    );
    let mut table = String::from("| key, or value of one | used by |\n| --- | --- |\n");
    for (key, fixtures) in met {
        let more = if fixtures.len() > MOST_NAMED { ", ..." } else { "" };
        let named: Vec<&str> = fixtures.iter().take(MOST_NAMED).map(String::as_str).collect();
        table.push_str(&format!("| `{key}` | {}{more} |\n", named.join(", ")));
    }
    let path = folder().join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).expect("the mark where the table begins");
    let (written, after) = rest.split_once(END).expect("the mark where the table ends");
    if written != table {
        fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        panic!("the table of keys was written anew; read its diff and commit it");
    }
}

/// Rows of the table of forms: the form, its fixture, and a text of that fixture's manifest.
#[test]
fn every_form_stands_in_its_fixture() {
    let manifests = manifests();
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    let (_, forms) = readme.split_once("\n## Forms\n").expect("the heading of the table");
    let rows: Vec<&str> = forms
        .lines()
        .skip_while(|line| !line.starts_with("| ---"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert!(rows.len() > 20, "the table of forms is not where it was");
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [form, fixture, text] = cells[..] else { panic!("three cells are wanted: {row}") };
        let manifest = manifests.get(fixture).unwrap_or_else(|| panic!("no fixture {fixture}"));
        let text = text.trim_matches('`');
        assert!(manifest.contains(text), "{fixture} has no `{text}`, so not: {form}");
    }
}
