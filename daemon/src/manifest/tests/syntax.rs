//! YAML itself: bombs, duplicate keys, aliases, tags, documents, and text that is no YAML.

#![expect(clippy::disallowed_methods, reason = "bombs must be refused soon in real time")]

use std::fmt::Write;
use std::time::{Duration, Instant};

use serde_json::json;

use super::super::{MAX_BYTES, parse};
use super::{check, check_part};

#[test]
fn a_billion_laughs() {
    let mut text =
        String::from("version: 2\na0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..10 {
        let before = format!("*a{}, ", level - 1).repeat(9);
        writeln!(text, "a{level}: &a{level} [{before}]").unwrap();
    }
    let start = Instant::now();
    let parsed = parse(&text);
    assert!(start.elapsed() < Duration::from_secs(1));
    let problems: Vec<String> = parsed.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].ends_with("too many values, aliases counted; at most 100000 are allowed"),
        "{problems:?}"
    );
}

#[test]
fn one_long_text_many_times() {
    let text = format!("version: 2\na: &a {}\nb: [{}]\n", "x".repeat(500_000), "*a, ".repeat(9));
    let parsed = parse(&text);
    assert_eq!(
        parsed.problems[0].message,
        "too much text, aliases counted; at most 4194304 bytes are allowed"
    );
}

#[test]
fn aliases_that_never_end_or_stand_for_nothing() {
    check(
        "version: 2\nx: &x [*x]\n",
        "2:8: error: an alias to a key, or inside of what it stands for",
    );
    check(
        "version: 2\nx: *y\n",
        "2:4: error: invalid YAML: while parsing node, found unknown anchor",
    );
    check(
        "version: 2\nx: &x a\n*x : b\n",
        "3:1: error: an alias cannot be a key; write the key out",
    );
}

#[test]
fn too_deep_and_too_long() {
    check(
        &format!("version: 2\nx: {}{}\n", "[".repeat(64), "]".repeat(64)),
        "2:67: error: nested too deep; at most 64 levels are allowed",
    );
    let nested: String = (0..20)
        .map(|level| {
            format!("a{level}: &a{level} {}*a{}{}\n", "[".repeat(4), level - 1, "]".repeat(4))
        })
        .skip(1)
        .collect();
    let parsed = parse(&format!("version: 2\na0: &a0 x\n{nested}"));
    assert!(parsed.problems.iter().any(|problem| problem.message.starts_with("nested too deep")));
    check(
        &"#".repeat(MAX_BYTES + 1),
        "1:1: error: the manifest has 1048577 bytes; at most 1048576 are allowed",
    );
}

#[test]
fn aliases_and_merges_that_are_meant_well() {
    let manifest = check_part(
        r#"
keyrings:
  organization:
    - &first
      name: one
      display_name: One
      types: &types [snap_in_secret]
    - <<: *first
      name: two
    - <<: [{display_name: Three}, *first]
      name: three
  user:
    - name: four
      types: *types
"#,
        "",
    )
    .unwrap();
    let names: Vec<_> = manifest.keyrings.iter().map(|keyring| &*keyring.name).collect();
    assert_eq!(names, ["one", "two", "three", "four"]);
    assert_eq!(manifest.keyrings[1].display_name.as_deref(), Some("One"));
    assert_eq!(manifest.keyrings[2].display_name.as_deref(), Some("Three"));
    assert!(manifest.keyrings.iter().all(|keyring| keyring.types == ["snap_in_secret"]));
    check_part(
        "service_account:\n  <<: nothing\n",
        "6:7: error: `<<` merges a mapping or a list of them, not text",
    );
    check_part(
        "tags: [{'<<': 1, name: t}]\n",
        "5:9: warning: tags[0].<<: unknown key `<<` (allowed: name, description)",
    );
}

#[test]
fn keys_that_are_here_twice() {
    check_part(
        "tags:\n  - name: t\n    description: d\n    name: u\n",
        "8:5: error: the key `name` is here twice; the first is in line 6, column 5",
    );
    check(
        "version: 2\nevent_sources: {organization: [{name: s, type: x, config: {a: 1, a: {b: 2}}}]}\nversion: 1\n",
        "2:39: warning: event_sources.organization[0].name: the event source `s` is unused: no automation listens to it
         2:66: error: the key `a` is here twice; the first is in line 2, column 60
         3:1: error: the key `version` is here twice; the first is in line 1, column 1",
    );
}

#[test]
fn keys_that_are_no_text() {
    check("version: 2\n? [a]\n: b\n", "2:3: error: a key must be text, not a list or a mapping");
    check("version: 2\n~: b\n", "2:1: error: a key must be text, not nothing");
    let manifest = check(
        "version: 2\nfunctions: [{name: f}]\nautomations: [{name: a, source: s, event_types: [x], function: f}]\nevent_sources: {organization: [{name: s, type: x, config: {1: a, true: b, on: c}}]}\n",
        "",
    )
    .unwrap();
    let config = &manifest.event_sources[0].config;
    assert_eq!(*config, json!({"1": "a", "true": "b", "on": "c"}));
}

#[test]
fn tags() {
    let manifest = check_part(
        "tags: !!seq\n  - !!map\n    name: !!str 12\n    description: ! 3\ninputs: {user: [{name: i, field_type: double, default_value: !!float 3}]}\n",
        "",
    )
    .unwrap();
    assert_eq!(manifest.tags[0].name, "12");
    assert_eq!(manifest.tags[0].description.as_deref(), Some("3"));
    let allowed = "(allowed: !!str, !!int, !!float, !!bool, !!null, !!seq, !!map)";
    check_part(
        "tags:\n  - name: !!binary aGVsbG8=\n  - name: !secret x\n  - !!set {name: t}\n",
        &format!(
            "6:11: error: the tag `!!binary` is not supported here {allowed}
             7:11: error: the tag `!secret` is not supported here {allowed}
             8:5: error: the tag `!!set` is not supported here {allowed}"
        ),
    );
    check_part("name: !!int x\n", "5:7: error: `x` is no `!!int`");
}

#[test]
fn documents() {
    check("---\nversion: 2\n", "").unwrap();
    check("%YAML 1.2\n---\nversion: 2\n...\n", "").unwrap();
    check("\u{feff}version: 2\n", "").unwrap();
    check("version: 2\r\nname: x\r\n", "").unwrap();
    check(
        "version: 2\n---\nversion: 2\n",
        "2:1: error: a second YAML document starts here; a manifest is one document",
    );
}

#[test]
fn text_that_is_no_yaml() {
    check(
        "version: 2\ntags:\n\t- name: x\n",
        "3:2: error: invalid YAML: tabs disallowed within this context (block indentation); YAML is indented with spaces, never with tabs",
    );
    check(
        "version: 2\nname: a: b\n",
        "2:8: error: invalid YAML: mapping values are not allowed in this context; text with `: ` in it must be quoted, and keys of one mapping must align",
    );
    for text in ["version: \"2", "a: [1, 2", "a: }", "a: 'b", "\0", "a: |0\n x", "&", "%", "a: !<x"]
    {
        let parsed = parse(text);
        assert!(parsed.manifest.is_none(), "{text:?}");
        let problem = &parsed.problems[0];
        assert!(problem.line > 0 && problem.column > 0, "{text:?}: {problem}");
        assert!(problem.message.starts_with("invalid YAML: "), "{text:?}: {problem}");
    }
}

#[test]
fn numbers_that_older_readers_read_differently() {
    check(
        "version: 2\nfunctions: [{name: f}]\nautomations: [{name: a, source: s, event_types: [x], function: f}]\nevent_sources: {organization: [{name: s, type: x, config: {mode: 0755, old: 0o755, big: 18446744073709551615}}]}\n",
        "4:66: warning: `0755` is a decimal number here (YAML 1.2); write `0o…` for octal or quote it",
    )
    .map(|manifest| assert_eq!(manifest.event_sources[0].config, json!({"mode": 755, "old": 493, "big": u64::MAX})))
    .unwrap();
}

#[test]
fn big_manifests_take_bounded_time() {
    let many = |line: &str, count: usize| line.repeat(count);
    let texts = [
        format!("version: 2\nx: [{}]\n", many("a,", 99_000)),
        format!(
            "version: 2\n{}",
            (0..49_000).fold(String::new(), |mut text, index| {
                let _ = writeln!(text, "k{index}: {index}");
                text
            })
        ),
        format!("version: 2\nx: |\n{}", many("  line\n", 140_000)),
        format!("version: 2\nx: \"{}\"\n", many("\\n", 500_000)),
        format!("version: 2\n{}", many("#\n", 500_000)),
        format!("version: 2\nx: {}", many("{", 1_000_000)),
        format!("version: 2\nx:\n{}", many("- ", 500_000)),
        format!("version: 2\nx: {}", many("&a ", 300_000)),
        format!("version: 2\nx: {}", many("? ", 500_000)),
        format!("version: 2\n{}", many("x: &a a\n", 100_000)),
        format!(
            "version: 2\nautomations:\n{}",
            (0..1000).fold(String::new(), |mut text, index| {
                let _ = writeln!(
                    text,
                    " - {{name: n{index}, source: {index}, function: q{index}, event_types: [x]}}"
                );
                text
            })
        ),
        many(" ", MAX_BYTES),
        many("\n", MAX_BYTES),
        many("a", MAX_BYTES),
        many("a: ", 300_000),
    ];
    for text in texts {
        let start = Instant::now();
        let parsed = parse(&text);
        let took = start.elapsed();
        let begin: String = text.chars().take(30).collect();
        assert!(took < Duration::from_secs(5), "{took:?} for {begin:?}");
        assert!(parsed.problems.len() <= 201);
    }
}
