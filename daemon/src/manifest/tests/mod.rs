//! Tests of the manifest parser, through [`parse`] alone.

mod fixtures;
mod operation_keyrings;
mod random;
mod registration;
mod rules;
mod samples;
mod silence;
mod syntax;
mod tolerances;
mod whereabouts;

use super::parse;
use crate::model::manifest::Manifest;

/// Parses a text and compares its problems, one a line, with what is expected.
#[track_caller]
fn check(text: &str, expected: &str) -> Option<Manifest> {
    let parsed = parse(text);
    let found: Vec<String> = parsed.problems.iter().map(ToString::to_string).collect();
    let expected: Vec<&str> =
        expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert!(found == expected, "{}\nis not\n{}\nin\n{text}", found.join("\n"), expected.join("\n"));
    parsed.manifest
}

/// Like [`check`], for a part of a manifest: a version, a function `f` and a source `s` that an
/// automation binds are put before it, in lines 1 to 4, so that the part begins in line 5.
#[track_caller]
fn check_part(part: &str, expected: &str) -> Option<Manifest> {
    check(&format!("{FRAME}{part}"), expected)
}

const FRAME: &str = r#"version: "2"
functions: [{name: f}]
event_sources: {organization: [{name: s, type: timer-events}]}
automations: [{name: a, source: s, event_types: [timer.tick], function: f}]
"#;
