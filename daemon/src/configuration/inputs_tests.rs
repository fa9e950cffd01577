//! Tests of values, by tables of what people send, and with random ones.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::inputs::{InputProblem, MAX_VALUES_BYTES, change, from_text, in_effect, missing, wrong};
use super::values::{MAX_VALUE_BYTES, pattern_problem};
use crate::model::manifest::{FieldType, Input, Level, Manifest};

/// An input from its JSON, with the name `i` and the type `text` unless that says otherwise.
#[track_caller]
fn input(described: Value) -> Input {
    let mut whole = json!({"level": "organization", "name": "i", "field_type": "text"});
    for (key, value) in described.as_object().expect("an object") {
        whole[key] = value.clone();
    }
    serde_json::from_value(whole).expect("an input")
}

fn manifest(inputs: &[Value]) -> Manifest {
    Manifest { inputs: inputs.iter().cloned().map(input).collect(), ..Manifest::default() }
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

fn lines(problems: &[InputProblem]) -> Vec<String> {
    let line = |it: &InputProblem| match it.allowed.as_slice() {
        [] => format!("{}: {}", it.input, it.message),
        allowed => format!("{}: {} (allowed: {})", it.input, it.message, allowed.join(", ")),
    };
    problems.iter().map(line).collect()
}

#[test]
fn every_type_takes_its_values_and_no_others() {
    let tag = crate::model::id::TagId(1).to_string();
    let cases = [
        (json!({"field_type": "bool"}), json!([true, false]), json!(["true", 1, null, [], {}])),
        (
            json!({"field_type": "int"}),
            json!([0, -5, i64::MAX, i64::MIN]),
            json!([1.5, 1.0, "1", true, u64::MAX, 1e30, [1], null]),
        ),
        (
            json!({"field_type": "double"}),
            json!([0, -5, 1.5, 1e300, u64::MAX]),
            json!(["1.5", true, null, [], {}]),
        ),
        (json!({"field_type": "text"}), json!(["", "x", "a\nb"]), json!([1, true, null, [], {}])),
        (json!({"field_type": "rich_text"}), json!(["# x"]), json!([1, {}])),
        (json!({"field_type": "tokens"}), json!(["a b", ["a", "b"], []]), json!([1, [1], {}])),
        (
            json!({"field_type": "enum", "allowed_values": ["low", "high"]}),
            json!(["low", "high"]),
            json!(["Low", "", 1, null, ["low"]]),
        ),
        (
            json!({"field_type": "uenum", "allowed_values": ["low"]}),
            json!(["low", 3, {"id": 3}]),
            json!(["high", true, ["low"]]),
        ),
        (json!({"field_type": "uenum"}), json!(["any"]), json!([null])),
        (
            json!({"field_type": "id", "id_type": ["tag"]}),
            json!([tag, "TAG-1", "don:core:dvrv-us-1:devo/0:tag/1"]),
            json!(["", "a b", "don:core:dvrv-us-1:devo/0:issue/1", 1, null]),
        ),
        (json!({"field_type": "date"}), json!(["2026-01-31"]), json!(["31.1.2026", 20260131])),
        (
            json!({"field_type": "timestamp"}),
            json!(["2026-01-31T12:00:00Z"]),
            json!(["2026-01-31", 1_769_860_800]),
        ),
        (json!({"field_type": "struct"}), json!([{}, {"a": [1]}]), json!(["{}", [], null])),
        (json!({"field_type": "composite"}), json!([{}]), json!([1])),
        (json!({"field_type": "json_value"}), json!([1, "x", [], {}, true]), json!([])),
        (json!({"field_type": "unknown"}), json!([1, "x", [null], {}, true]), json!([])),
        (
            json!({"field_type": "array", "base_type": "int"}),
            json!([[], [1, 2]]),
            json!(["1", 1, ["1"], [1, 1.5], [null], {"0": 1}]),
        ),
        (
            json!({"field_type": "array", "base_type": "enum", "allowed_values": ["a", "b"]}),
            json!([["a"], ["b", "a", "a"]]),
            json!([["c"], "a"]),
        ),
        (json!({"field_type": "array", "base_type": "bool"}), json!([[true]]), json!([["true"]])),
    ];
    let mut seen = Vec::new();
    for (described, right, wrong_values) in cases {
        let input = input(described.clone());
        seen.push(input.field_type);
        for value in right.as_array().unwrap() {
            assert_eq!(lines(&wrong(&input, value)), [""; 0], "{described} {value}");
        }
        for value in wrong_values.as_array().unwrap() {
            assert!(!wrong(&input, value).is_empty(), "{described} takes {value}");
        }
    }
    for (name, field_type) in FieldType::ALL {
        assert!(seen.contains(&field_type), "{name} is not in the table");
    }
}

#[test]
fn every_limit_says_what_it_wants() {
    for (described, value, expected) in [
        (
            json!({"validators": {"min_len": 3}}),
            json!("é€"),
            "must have at least 3 characters, has 2",
        ),
        (
            json!({"validators": {"max_len": 1}}),
            json!("éé"),
            "must have at most 1 characters, has 2",
        ),
        (
            json!({"validators": {"eq_len": 1}}),
            json!("éé"),
            "must have exactly 1 characters, has 2",
        ),
        (
            json!({"validators": {"pattern": "^[a-z]+$"}}),
            json!("A"),
            "must match the pattern `^[a-z]+$`",
        ),
        (json!({"validators": {"prefix": "xoxb-"}}), json!("A"), "must begin with `xoxb-`"),
        (json!({"validators": {"suffix": ".org"}}), json!("A"), "must end with `.org`"),
        (json!({"validators": {"contains": "@"}}), json!("A"), "must contain `@`"),
        (
            json!({"field_type": "tokens", "validators": {"prefix": "a"}}),
            json!(["ab", "b"]),
            "must begin with `a`",
        ),
        (
            json!({"field_type": "int", "validators": {"gt": 5}}),
            json!(5),
            "must be greater than 5, is 5",
        ),
        (
            json!({"field_type": "int", "validators": {"gte": 5}}),
            json!(4),
            "must be at least 5, is 4",
        ),
        (
            json!({"field_type": "int", "validators": {"lt": 5}}),
            json!(5),
            "must be less than 5, is 5",
        ),
        (
            json!({"field_type": "int", "validators": {"lte": 5.5}}),
            json!(6),
            "must be at most 5.5, is 6",
        ),
        (
            json!({"field_type": "int", "validators": {"lt": i64::MAX}}),
            json!(i64::MAX),
            "must be less than 9223372036854775807, is 9223372036854775807",
        ),
        (
            json!({"field_type": "double", "validators": {"gt": 0}}),
            json!(-0.0),
            "must be greater than 0, is -0.0",
        ),
        (
            json!({"field_type": "array", "base_type": "text", "validators": {"min_len": 2}}),
            json!(["long enough"]),
            "must have at least 2 items, has 1",
        ),
        (
            json!({"validators": {"pattern": "("}}),
            json!("x"),
            "cannot be checked, because the manifest's pattern is no regular expression: unclosed group",
        ),
        (
            json!({"field_type": "int"}),
            json!("12"),
            "a value of type `int` is wanted, found text; write it without quotes",
        ),
        (
            json!({"field_type": "int"}),
            json!("secret"),
            "a value of type `int` is wanted, found text",
        ),
        (
            json!({}),
            json!(12),
            "a value of type `text` is wanted, found a number; write it in quotes",
        ),
        (
            json!({"field_type": "id", "id_type": ["product"]}),
            json!("don:core:x:devo/0:tag/1"),
            "is the id of another type, `tag` (allowed: product)",
        ),
    ] {
        let problems = wrong(&input(described.clone()), &value);
        assert_eq!(lines(&problems), [format!("i: {expected}")], "{described} {value}");
    }
}

#[test]
fn limits_that_hold() {
    for (described, value) in [
        (json!({"validators": {"min_len": 2, "max_len": 2, "eq_len": 2}}), json!("é€")),
        // As on the platform: anywhere in the text unless it is anchored.
        (json!({"validators": {"pattern": "[0-9]"}}), json!("a1")),
        (json!({"field_type": "int", "validators": {"gte": 5, "lte": 5}}), json!(5)),
        (json!({"field_type": "double", "validators": {"gt": 0.1, "lt": 0.3}}), json!(0.2)),
        (
            json!({"field_type": "array", "base_type": "text", "validators": {"max_len": 2, "prefix": "a"}}),
            json!(["abc", "along"]),
        ),
    ] {
        assert_eq!(lines(&wrong(&input(described.clone()), &value)), [""; 0], "{described}");
    }
}

#[test]
fn items_are_named_with_their_place() {
    let labels = input(json!({
        "name": "labels", "field_type": "array", "base_type": "enum", "allowed_values": ["bug", "task"],
    }));
    assert_eq!(
        lines(&wrong(&labels, &json!(["bug", "bgu", 7]))),
        [
            "labels[1]: unknown value `bgu`, did you mean `bug`? (allowed: bug, task)",
            "labels[2]: a value of type `enum` is wanted, found a number",
        ]
    );
}

#[test]
fn a_change_names_everything_that_is_wrong_and_applies_nothing() {
    let manifest = manifest(&[
        json!({"name": "channel", "is_required": true}),
        json!({"name": "limit", "field_type": "int", "default_value": 3}),
        json!({"name": "quiet", "field_type": "bool"}),
        json!({"name": "mine", "level": "user"}),
    ]);
    let stored = object(json!({"channel": "ops", "limit": 5, "gone": [1]}));
    let org = Level::Organization;

    let changes = object(json!({
        "chanel": "x", "channel": null, "limit": "7", "mine": "x", "quiet": true,
    }));
    let problems = change(&manifest, org, &stored, &changes).expect_err("four are wrong");
    assert_eq!(
        lines(&problems),
        [
            "channel: is required and has no default to go back to: give a value",
            "limit: a value of type `int` is wanted, found text; write it without quotes",
            "chanel: unknown input `chanel`, did you mean `channel`? (allowed: channel, limit, quiet)",
            "mine: is an input of the user level: each user sets it with snap-ins.update-user (allowed: channel, limit, quiet)",
        ]
    );

    // What the manifest does not know stays, for a rollback.
    let changes = object(json!({"limit": null, "quiet": true}));
    let changed = change(&manifest, org, &stored, &changes).expect("all is right");
    assert_eq!(Value::from(changed.clone()), json!({"channel": "ops", "gone": [1], "quiet": true}));
    assert_eq!(
        Value::from(in_effect(&manifest, org, &changed)),
        json!({"channel": "ops", "limit": 3, "quiet": true})
    );
    let user = change(&manifest, Level::User, &Map::new(), &object(json!({"channel": "x"})));
    assert_eq!(
        lines(&user.expect_err("not the user's")),
        [
            "channel: is an input of the organization level: set it with snap-ins.update (allowed: mine)"
        ]
    );
}

#[test]
fn a_stored_value_that_became_wrong_counts_as_unset() {
    let manifest = manifest(&[
        json!({"name": "limit", "field_type": "int", "default_value": 3}),
        json!({"name": "mode", "field_type": "enum", "allowed_values": ["a"], "is_required": true}),
        json!({"name": "free", "field_type": "int"}),
    ]);
    let stored = object(json!({"limit": "many", "mode": "b", "free": "x"}));
    let org = Level::Organization;
    assert_eq!(Value::from(in_effect(&manifest, org, &stored)), json!({"limit": 3}));
    let names: Vec<&str> =
        missing(&manifest, org, &stored).iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["mode"]);
    assert!(missing(&manifest, Level::User, &stored).is_empty());
}

#[test]
fn sizes_are_bounded() {
    let inputs: Vec<Value> = (0..6).map(|it| json!({"name": format!("i{it}")})).collect();
    let manifest = manifest(&inputs);
    let org = Level::Organization;
    let value = |bytes: usize| Value::from("x".repeat(bytes));

    let most = object(json!({"i0": value(MAX_VALUE_BYTES - 2)}));
    change(&manifest, org, &Map::new(), &most).expect("just within the limit");
    let more = object(json!({"i0": value(MAX_VALUE_BYTES - 1)}));
    let problems = change(&manifest, org, &Map::new(), &more).expect_err("one byte too many");
    assert_eq!(lines(&problems), ["i0: is 65537 bytes of JSON; at most 65536 are allowed"]);

    let four: Map<String, Value> =
        (0..4).map(|it| (format!("i{it}"), value(MAX_VALUES_BYTES / 4 - 10))).collect();
    let stored = change(&manifest, org, &Map::new(), &four).expect("four large values");
    let fifth = object(json!({"i4": value(100)}));
    let problems = change(&manifest, org, &stored, &fifth).expect_err("too much in all");
    assert!(problems[0].message.starts_with("all values together"), "{problems:?}");
    change(&manifest, org, &stored, &object(json!({"i4": value(100), "i0": null}))).expect("room");

    let array = input(json!({"field_type": "array", "base_type": "int"}));
    let wrong_items = wrong(&array, &Value::from(vec![Value::from("x"); 10_000]));
    assert_eq!(wrong_items.len(), 20);
    let unknown: Map<String, Value> = (0..500).map(|it| (format!("u{it}"), json!(1))).collect();
    let problems = change(&manifest, org, &Map::new(), &unknown).expect_err("all unknown");
    assert_eq!(problems.len(), 101);
    assert_eq!(problems[100].message, "has 400 more problems, which are not listed");
}

#[test]
fn costly_patterns_are_refused() {
    assert_eq!(pattern_problem("^a{1,20}$"), None);
    assert!(pattern_problem("((a{100}){100}){100}").is_some_and(|it| it.contains("too costly")));
    assert!(pattern_problem(&"a".repeat(5000)).is_some_and(|it| it.contains("longer than")));
    assert!(pattern_problem("(?=x)").is_some_and(|it| it.contains("look-around")));
}

#[test]
fn texts_become_values_by_type() {
    for (described, text, expected) in [
        (json!({"field_type": "bool"}), "yes", Ok(json!(true))),
        (json!({"field_type": "bool"}), "FALSE", Ok(json!(false))),
        (
            json!({"field_type": "bool"}),
            "1",
            Err("i: is neither `true` nor `false` (allowed: true, false)"),
        ),
        (json!({"field_type": "int"}), " 12 ", Ok(json!(12))),
        (
            json!({"field_type": "int"}),
            "1.5",
            Err("i: is no whole number from -9223372036854775808 to 9223372036854775807"),
        ),
        (
            json!({"field_type": "int", "validators": {"gt": 5}}),
            "5",
            Err("i: must be greater than 5, is 5"),
        ),
        (json!({"field_type": "double"}), "1.5", Ok(json!(1.5))),
        (json!({"field_type": "double"}), "inf", Err("i: is no number")),
        (json!({}), "true", Ok(json!("true"))),
        (json!({}), "", Ok(json!(""))),
        (json!({"field_type": "array", "base_type": "text"}), "a, b", Ok(json!(["a", "b"]))),
        (json!({"field_type": "array", "base_type": "text"}), "[\"a,b\"]", Ok(json!(["a,b"]))),
        (json!({"field_type": "array", "base_type": "text"}), "", Ok(json!([]))),
        (json!({"field_type": "array", "base_type": "int"}), "1,2", Ok(json!([1, 2]))),
        (
            json!({"field_type": "array", "base_type": "bool"}),
            "on,x",
            Err("i[1]: is neither `true` nor `false`"),
        ),
        (
            json!({"field_type": "enum", "allowed_values": ["low", "high"]}),
            "hihg",
            Err("i: unknown value `hihg`, did you mean `high`? (allowed: low, high)"),
        ),
        (json!({"field_type": "struct"}), "{\"a\": 1}", Ok(json!({"a": 1}))),
        (
            json!({"field_type": "struct"}),
            "a",
            Err("i: is no JSON: expected value at line 1 column 1"),
        ),
        (json!({"field_type": "json_value"}), "{\"a\": 1}", Ok(json!({"a": 1}))),
        (json!({"field_type": "json_value"}), "plain", Ok(json!("plain"))),
        (json!({"field_type": "date"}), "2026-01-31", Ok(json!("2026-01-31"))),
    ] {
        let found = from_text(&input(described.clone()), text);
        let found = found.map_err(|it| lines(&[it]).concat());
        assert_eq!(found, expected.map_err(str::to_owned), "{described} {text}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9:/ -]{0,12}".prop_map(Value::from),
        Just(json!("2026-01-31")),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec(("[a-c]", inner), 0..4)
                .prop_map(|it| Value::Object(it.into_iter().collect())),
        ]
    })
}

fn any_input(name: &'static str) -> impl Strategy<Value = Input> {
    let some_type = || proptest::sample::select(FieldType::ALL.map(|(_, it)| it).to_vec());
    (some_type(), some_type(), any::<bool>(), any::<bool>(), proptest::option::of(0u32..5))
        .prop_map(move |(field_type, base_type, is_required, is_user, min_len)| {
            let mut it = input(json!({"name": name, "allowed_values": ["a", "b"]}));
            it.field_type = field_type;
            it.base_type = (field_type == FieldType::Array).then_some(base_type);
            it.is_required = is_required;
            it.level = if is_user { Level::User } else { Level::Organization };
            it.validators.min_len = min_len;
            it
        })
}

fn any_manifest() -> impl Strategy<Value = Manifest> {
    (any_input("a"), any_input("b"), any_input("c"))
        .prop_map(|(a, b, c)| Manifest { inputs: vec![a, b, c], ..Manifest::default() })
}

fn any_values() -> impl Strategy<Value = Map<String, Value>> {
    proptest::collection::vec(("[a-d]", any_json()), 0..4).prop_map(|it| it.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_may_be_stored_is_in_effect(
        manifest in any_manifest(), stored in any_values(), changes in any_values(),
    ) {
        let level = Level::Organization;
        match change(&manifest, level, &stored, &changes) {
            Ok(changed) => {
                let effective = in_effect(&manifest, level, &changed);
                for (name, value) in &changes {
                    prop_assert_eq!(effective.get(name), Some(value).filter(|it| !it.is_null()));
                }
                for (name, value) in &stored {
                    if !changes.contains_key(name) {
                        prop_assert_eq!(changed.get(name), Some(value));
                    }
                }
                // A change that was made can be made again, and then changes nothing.
                prop_assert_eq!(change(&manifest, level, &changed, &changes), Ok(changed.clone()));
            }
            Err(problems) => prop_assert!(!problems.is_empty()),
        }
    }

    #[test]
    fn a_change_is_refused_exactly_when_one_of_its_parts_is(
        manifest in any_manifest(), stored in any_values(), changes in any_values(),
    ) {
        let level = Level::Organization;
        let whole = change(&manifest, level, &stored, &changes).is_err();
        let parts = changes.iter().any(|(name, value)| {
            let part = Map::from_iter([(name.clone(), value.clone())]);
            change(&manifest, level, &stored, &part).is_err()
        });
        prop_assert_eq!(whole, parts);
    }

    #[test]
    fn effective_and_missing_values_exclude_each_other(
        manifest in any_manifest(), stored in any_values(),
    ) {
        let level = Level::Organization;
        let effective = in_effect(&manifest, level, &stored);
        for it in missing(&manifest, level, &stored) {
            prop_assert!(!effective.contains_key(&it.name));
        }
    }

    #[test]
    fn typed_texts_are_right_or_refused(it in any_input("i"), text in "\\PC{0,12}|[0-9,\\[\\]\"]{0,9}") {
        if let Ok(value) = from_text(&it, &text) {
            prop_assert!(wrong(&it, &value).is_empty());
        }
    }
}
