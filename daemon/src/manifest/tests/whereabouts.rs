//! From a path of the manifest, and a position in a text, to a place in the file.

use super::super::{Severity, parse};
use super::samples::{VERSION_1, WEBHOOK};

/// Finds the line and column of a marked text.
fn place_of(text: &str, mark: &str) -> (u32, u32) {
    let (line, content) = text
        .lines()
        .enumerate()
        .find(|(_, line)| line.contains(mark))
        .unwrap_or_else(|| panic!("{mark} is in the text"));
    let column = content[..content.find(mark).unwrap()].chars().count() + 1;
    (u32::try_from(line + 1).unwrap(), u32::try_from(column).unwrap())
}

#[test]
fn a_position_in_a_policy() {
    let places = parse(WEBHOOK).places;
    let policy = "event_sources.organization[0].config.policy";
    assert_eq!(places.locate(policy, Some((1, 1))), place_of(WEBHOOK, "package rego"));
    let inner = WEBHOOK[WEBHOOK.find("package rego").unwrap()..].lines();
    let (line, text) = inner.enumerate().find(|(_, line)| line.contains("\"POST\"")).unwrap();
    let column = text.find("\"POST\"").unwrap() - 10 + 1;
    let position = (u32::try_from(line + 1).unwrap(), u32::try_from(column).unwrap());
    assert_eq!(places.locate(policy, Some(position)), place_of(WEBHOOK, "\"POST\""));
    assert_eq!(
        places.locate("event_sources.organization[0].name", None),
        place_of(WEBHOOK, "custom-webhook")
    );
}

#[test]
fn styles_of_text() {
    let text = "
version: 2
x:
  block: |

    one
      two é
  indented: |2
      three
  stripped: |-
    four
  anchored: &a |
    five
  tagged: !!str |

    six
  plain: a b c
  single: 'a b c'
  escaped: \"a\\nb\"
  lines: a
    b
  folded: >
    seven
    eight
  \"a.b [0]\":
    - inner
";
    let places = parse(text).places;
    for (path, inner, expected) in [
        ("x.block", (1, 1), (5, 5)),
        ("x.block", (2, 1), (6, 5)),
        ("x.block", (3, 3), (7, 7)),
        ("x.indented", (1, 3), (9, 7)),
        ("x.stripped", (1, 2), (11, 6)),
        ("x.anchored", (1, 1), (13, 5)),
        ("x.tagged", (2, 1), (16, 5)),
        ("x.plain", (1, 3), (17, 12)),
        ("x.single", (1, 3), (18, 14)),
        ("x.escaped", (2, 1), (19, 12)),
        ("x.lines", (1, 3), (20, 10)),
        ("x.folded", (2, 1), (23, 5)),
        ("x[\"a.b [0]\"][0]", (1, 2), (26, 8)),
    ] {
        assert_eq!(places.locate(path, Some(inner)), expected, "{path} {inner:?}");
    }
    let exact = places.problem(Severity::Error, "x.block", Some((2, 1)), "bad");
    assert_eq!(exact.to_string(), "6:5: error: x.block: bad");
    let vague = places.problem(Severity::Error, "x.folded", Some((2, 1)), "bad");
    assert_eq!(vague.to_string(), "23:5: error: x.folded: bad (line 2, column 1 of the text)");
}

#[test]
fn where_the_file_has_another_shape() {
    let places = parse(VERSION_1).places;
    let policy = "event_sources.organization[0].config.policy";
    assert_eq!(places.locate(policy, Some((2, 1))), place_of(VERSION_1, "output = {}"));
    let problem = places.problem(Severity::Error, policy, Some((2, 1)), "bad");
    assert_eq!(problem.path, "event-sources[0].config.policy");
    assert_eq!(places.locate("keyrings.organization[0].name", None), (7, 11));
    assert_eq!(places.locate("developer_keyrings[0].name", None), place_of(VERSION_1, "app"));
    assert_eq!(places.locate("inputs.organization[1].name", None), (34, 11));

    let text = "version: 2\nevent_sources:\n  user:\n    - name: s\n      filter: {jq_query: .}\n";
    let places = parse(text).places;
    assert_eq!(places.locate("event_sources.user[0].config.filter.jq_query", None), (5, 26));

    let text = "version: 2\nkeyring_types:\n  - id: t\n    secret_config:\n      \
                organization_data:\n        response_jq: .id\n";
    let places = parse(text).places;
    assert_eq!(places.locate("keyring_types[0].organization_data.response_jq", None), (6, 22));
}

#[test]
fn unknown_paths_give_the_nearest_place() {
    let places = parse(WEBHOOK).places;
    let source = places.locate("event_sources.organization[0]", None);
    for path in ["event_sources.organization[0].nope", "event_sources.organization[0].config2[3].x"]
    {
        assert_eq!(places.locate(path, None), source);
    }
    for path in ["", "nope", "[", "[x", "..", "a[99999999999999999999]", "[\"", "é.ü[1]"] {
        assert_eq!(places.locate(path, Some((3, 4))), (1, 1), "{path}");
    }
    assert_eq!(parse(": : :").places.locate("a.b", Some((u32::MAX, u32::MAX))), (1, 1));
    let policy = "event_sources.organization[0].config.policy";
    assert_eq!(places.locate(policy, Some((u32::MAX, u32::MAX))), (u32::MAX, u32::MAX));
}
