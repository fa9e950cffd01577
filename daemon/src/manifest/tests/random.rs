//! No text whatever makes the parser panic, and no answer of it is out of bounds.

use proptest::prelude::*;

use super::super::{Parsed, parse};
use super::samples::{EVERYTHING, SCHEDULE, VERSION_1, WEBHOOK};

fn must_be_sound(text: &str) {
    let Parsed { manifest, partial: _, problems, places } = parse(text);
    let has_errors =
        problems.iter().any(|problem| problem.severity == super::super::Severity::Error);
    assert_eq!(manifest.is_none(), has_errors);
    // The parser counts every kind of line break.
    let lines = text.matches(['\n', '\r']).count() + 2;
    for problem in &problems {
        assert!(problem.line >= 1 && problem.column >= 1);
        assert!(problem.line as usize <= lines, "{problem} in {text:?}");
        places.locate(&problem.path, Some((2, 2)));
    }
    assert!(problems.is_sorted_by_key(|problem| (problem.line, problem.column)));
    if let Some(manifest) = manifest {
        for source in &manifest.event_sources {
            let path = manifest.event_source_path(&source.name).unwrap();
            places.locate(&format!("{path}.config.policy"), Some((1, 1)));
        }
        for automation in &manifest.automations {
            assert!(manifest.function(&automation.function).is_some());
            assert!(manifest.event_source(&automation.source).is_some());
        }
    }
}

/// Bits of YAML and of manifests, in any order.
fn yaml_like() -> impl Strategy<Value = String> {
    let bit = prop_oneof![
        Just("\n"),
        Just("\n  "),
        Just("\n    "),
        Just("\t"),
        Just(" "),
        Just(": "),
        Just(":"),
        Just("- "),
        Just("["),
        Just("]"),
        Just("{"),
        Just("}"),
        Just(", "),
        Just("? "),
        Just("| "),
        Just("|\n"),
        Just(">-\n"),
        Just("|2\n"),
        Just("&a "),
        Just("*a"),
        Just("!!str "),
        Just("!x "),
        Just("! "),
        Just("<<"),
        Just("\""),
        Just("'"),
        Just("#"),
        Just("---\n"),
        Just("...\n"),
        Just("%YAML 1.2\n"),
        Just("\\"),
        Just("\\u12"),
        Just("~"),
        Just("1"),
        Just("0777"),
        Just("true"),
        Just("é"),
        Just("\u{feff}"),
        Just("\u{85}"),
        Just("\r\n"),
        Just("\0"),
        Just("version: 2\n"),
        Just("functions"),
        Just("event_sources"),
        Just("organization"),
        Just("name"),
        Just("config"),
        Just("inputs"),
        Just("default_value"),
        Just("field_type"),
        Just("hooks"),
        Just("setup_instructions"),
        Just("{{source.config.x}}"),
    ];
    proptest::collection::vec(bit, 0..60).prop_map(|bits| bits.concat())
}

/// A sound manifest with some of its text cut out, doubled or replaced.
fn mutated() -> impl Strategy<Value = String> {
    let base = prop_oneof![Just(WEBHOOK), Just(SCHEDULE), Just(EVERYTHING), Just(VERSION_1)];
    let edit = (any::<prop::sample::Index>(), 0usize..40, yaml_like());
    (base, proptest::collection::vec(edit, 1..6)).prop_map(|(base, edits)| {
        let mut chars: Vec<char> = base.chars().collect();
        for (at, length, with) in edits {
            let start = at.index(chars.len());
            let end = (start + length).min(chars.len());
            chars.splice(start..end, with.chars());
            if chars.is_empty() {
                chars.push('\n');
            }
        }
        chars.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in any::<String>()) {
        must_be_sound(&text);
    }

    #[test]
    fn text_like_yaml(text in yaml_like()) {
        must_be_sound(&text);
    }

    #[test]
    fn manifests_that_were_changed(text in mutated()) {
        must_be_sound(&text);
    }
}
