//! Tests of plans: by tables, and with random manifests.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::plan::{DetachedSource, Plan, plan};
use super::readiness::{BoundKeyring, Configured};
use crate::model::keyring::KeyringState;
use crate::model::manifest::Manifest;

#[track_caller]
fn manifest(described: Value) -> Manifest {
    let mut whole = json!({"version": "2"});
    for (key, value) in described.as_object().expect("an object") {
        whole[key] = value.clone();
    }
    serde_json::from_value(whole).expect("a manifest")
}

fn keyrings(bound: &[(&str, &str)]) -> BTreeMap<String, BoundKeyring> {
    let bound = bound.iter().map(|(name, type_id)| {
        let bound = BoundKeyring { type_id: (*type_id).to_owned(), state: KeyringState::Ready };
        ((*name).to_owned(), bound)
    });
    bound.collect()
}

#[track_caller]
fn planned(before: Value, after: Value, inputs: Value, bound: &[(&str, &str)]) -> Plan {
    let inputs = inputs.as_object().expect("an object").clone();
    let keyrings = keyrings(bound);
    let configured = Configured { snap_in: "a/b/c", inputs: &inputs, keyrings: &keyrings };
    plan(&manifest(before), &manifest(after), configured, &BTreeSet::new())
}

#[test]
fn inputs_and_what_was_set_for_them() {
    let organization = |fields: Value| {
        let mut input = json!({"level": "organization", "field_type": "text"});
        for (key, value) in fields.as_object().expect("an object") {
            input[key] = value.clone();
        }
        input
    };
    let before = json!({"inputs": [
        organization(json!({"name": "same"})),
        organization(json!({"name": "limit", "field_type": "int"})),
        organization(json!({"name": "mode", "field_type": "enum", "allowed_values": ["a", "b"]})),
        organization(json!({"name": "gone"})),
        organization(json!({"name": "unset", "field_type": "int"})),
        organization(json!({"name": "text"})),
        {"level": "user", "name": "mine", "field_type": "text"},
    ]});
    let after = json!({"inputs": [
        organization(json!({"name": "same"})),
        organization(json!({"name": "limit", "default_value": "few"})),
        organization(json!({"name": "mode", "field_type": "enum", "allowed_values": ["a"], "is_required": true})),
        organization(json!({"name": "unset"})),
        organization(json!({"name": "text", "ui": {"is_hidden": true}})),
        organization(json!({"name": "new", "field_type": "array", "base_type": "id", "is_required": true})),
        organization(json!({"name": "back", "default_value": "x"})),
        {"level": "user", "name": "mine", "field_type": "int"},
    ]});
    let set = json!({"limit": 3, "mode": "b", "gone": "x", "text": "y", "back": "z"});
    assert_eq!(
        planned(before, after, set, &[]).lines(),
        [
            "~ input `limit`: default_value is \"few\"; field_type \"int\" → \"text\"; its value is not right any more (a value of type `text` is wanted, found a number; write it in quotes): the default \"few\" takes effect, and the value is kept for a rollback",
            "~ input `mode`: allowed_values [\"a\",\"b\"] → [\"a\"]; is_required false → true; its value is not right any more (unknown value `b`, did you mean `a`?): it counts as unset, and the value is kept for a rollback",
            "- input `gone` (text): its value is kept for a rollback",
            "~ input `unset`: field_type \"int\" → \"text\"",
            "~ input `text`: ui.is_hidden false → true; its value stays",
            "+ input `new` (array of id, required)",
            "+ input `back` (text, default \"x\"): the value that it had before takes effect again",
            "~ user input `mine`: field_type \"text\" → \"int\"; values of users that are not right any more count as unset",
            "! input `mode` is required, and its value is not right any more: unknown value `b`, did you mean `a`?: mortise snap-in upgrade a/b/c VERSION --set mode=VALUE",
            "! input `new` is required and has no value: mortise snap-in upgrade a/b/c VERSION --set new=VALUE",
        ]
    );
}

#[test]
fn keyrings_and_their_types() {
    let keyring = |level: &str, name: &str, types: &[&str]| json!({"level": level, "name": name, "types": types, "optional": level == "user"});
    let before = json!({
        "keyrings": [
            keyring("organization", "kept", &["snap_in_secret"]),
            keyring("organization", "other", &["snap_in_secret"]),
            keyring("organization", "gone", &["snap_in_secret"]),
            keyring("user", "moved", &["snap_in_secret"]),
        ],
        "developer_keyrings": [{"name": "client"}],
        "keyring_types": [{"id": "own", "kind": "secret"}],
    });
    let after = json!({
        "keyrings": [
            keyring("organization", "kept", &["snap_in_secret", "own"]),
            keyring("organization", "other", &["own"]),
            keyring("organization", "moved", &["own"]),
        ],
        "keyring_types": [{"id": "own", "kind": "secret", "is_subdomain": true}, {"id": "new", "kind": "oauth2"}],
    });
    let bound =
        [("kept", "snap-in-secret"), ("other", "snap_in_secret"), ("gone", "snap_in_secret")];
    assert_eq!(
        planned(before, after, json!({}), &bound).lines(),
        [
            "~ keyring `kept`: types [\"snap_in_secret\"] → [\"snap_in_secret\",\"own\"]; its secret stays",
            "~ keyring `other`: types [\"snap_in_secret\"] → [\"own\"]; was set as `snap_in_secret`, but must be `own` now",
            "- keyring `gone` (snap_in_secret): its secret is kept for a rollback",
            "+ keyring `moved` (own)",
            "- user keyring `moved` (snap_in_secret, optional): secrets of users are kept for a rollback",
            "- developer keyring `client`",
            "~ keyring type `own`: is_subdomain false → true",
            "+ keyring type `new` (oauth2)",
            "! keyring `other` was set as `snap_in_secret`, but must be `own` now: mortise keyring set a/b/c other",
            "! keyring `moved` is required and not set: mortise keyring set a/b/c moved",
        ]
    );
}

#[test]
fn event_sources_and_their_trigger_urls() {
    let source = |level: &str, name: &str, kind: &str, secret: &str| json!({"level": level, "name": name, "type": kind, "config": {"secret": secret}});
    let before = json!({"event_sources": [
        source("organization", "same", "x", "1"),
        source("organization", "changed", "x", "1"),
        source("organization", "retyped", "x", "1"),
        source("organization", "reverted", "x", "1"),
        source("organization", "gone", "x", "1"),
        source("user", "mine", "x", "1"),
        source("user", "retyped too", "x", "1"),
    ]});
    let after = json!({"event_sources": [
        source("organization", "same", "x", "1"),
        source("organization", "changed", "x", "2"),
        source("organization", "retyped", "y", "1"),
        source("organization", "reverted", "y", "1"),
        source("organization", "back", "x", "1"),
        source("organization", "new", "x", "1"),
        source("user", "retyped too", "y", "1"),
        source("user", "yours", "x", "1"),
    ]});
    let detached =
        |name: &str, kind: &str| DetachedSource { name: name.to_owned(), kind: kind.to_owned() };
    let detached =
        BTreeSet::from([detached("back", "x"), detached("new", "y"), detached("reverted", "y")]);
    let (inputs, keyrings) = (Map::new(), BTreeMap::new());
    let configured = Configured { snap_in: "a/b/c", inputs: &inputs, keyrings: &keyrings };
    let plan = plan(&manifest(before), &manifest(after), configured, &detached);
    assert_eq!(
        plan.lines(),
        [
            "~ event source `changed`: config.secret changed; its trigger URL stays",
            "~ event source `retyped`: type \"x\" → \"y\"; gets a new trigger URL; the old one is closed, and kept for a rollback",
            "~ event source `reverted`: type \"x\" → \"y\"; has the trigger URL again that it had before; the old one is closed, and kept for a rollback",
            "- event source `gone` (x): its trigger URL is closed, and kept for a rollback",
            "+ event source `back` (x): has the trigger URL again that it had before",
            "+ event source `new` (x): gets a trigger URL",
            "- user event source `mine` (x): trigger URLs are closed, and kept for a rollback",
            "~ user event source `retyped too`: type \"x\" → \"y\"; every user gets a new trigger URL; the old ones are closed, and kept for a rollback",
            "+ user event source `yours` (x): opens for every user who has enabled the snap-in",
        ]
    );
    assert_eq!(
        serde_json::to_value(&plan.sources).unwrap(),
        json!({
            "kept": ["same", "changed"],
            "restored": ["reverted", "back"],
            "new": ["retyped", "new"],
            "closed": ["retyped", "reverted", "gone"],
        })
    );
}

#[test]
fn everything_else_is_compared_too() {
    let before = json!({
        "name": "Old", "service_account": {"display_name": "Bot"},
        "tags": [{"name": "t", "description": "x"}, {"name": "u"}],
        "functions": [{"name": "f"}, {"name": "g"}],
        "automations": [{"name": "a", "source": "s", "event_types": ["x"], "function": "f"}],
        "commands": [{"namespace": "n", "name": "c", "function": "f"}],
        "snap_kit_actions": [{"name": "k", "function": "f"}],
        "snap_components": [{"name": "p", "initializer": "f"}],
        "hooks": [{"type": "activate", "function": "f"}],
        "configuration_handler": {"user": {"initializer": "f"}},
        "operations": [{"name": "o", "slug": "o", "function": "f"}],
        "imports": [{"slug": "i", "extractor_function": "f"}],
    });
    let after = json!({
        "name": "New", "service_account": {"display_name": "Robot"},
        "tags": [{"name": "t", "description": "y"}],
        "functions": [{"name": "f", "timeout_seconds": 5}],
        "automations": [{"name": "b", "source": "s", "event_types": ["x"], "function": "f"}],
        "commands": [{"namespace": "m", "name": "c", "function": "f"}],
        "hooks": [{"type": "activate", "function": "g"}, {"type": "validate", "function": "f"}],
        "configuration_handler": {"organization": {"initializer": "f"}},
    });
    assert_eq!(
        planned(before, after, json!({}), &[]).lines(),
        [
            "~ manifest: title \"Old\" → \"New\"",
            "~ service account: display_name \"Bot\" → \"Robot\"",
            "~ tag `t`: description \"x\" → \"y\"",
            "- tag `u`: the tag itself stays",
            "~ function `f`: timeout_seconds is 5",
            "- function `g`",
            "- automation `a` (s → f)",
            "+ automation `b` (s → f)",
            "- command `n c` (f)",
            "+ command `m c` (f)",
            "- snap-kit action `k` (f)",
            "- snap component `p` (f)",
            "~ hook `activate`: function \"f\" → \"g\"",
            "+ hook `validate` (f)",
            "- configuration handler `user` (f)",
            "+ configuration handler `organization` (f)",
            "- operation `o` (f)",
            "- import `i` (f)",
        ]
    );
}

fn names() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(vec!["a", "b", "c"], 0..=3)
}

fn any_manifest() -> impl Strategy<Value = Manifest> {
    let types = proptest::collection::vec(
        proptest::sample::select(vec!["text", "int", "bool", "struct", "snap_in_secret"]),
        3,
    );
    (names(), names(), names(), types, any::<bool>()).prop_map(
        |(inputs, keyrings, sources, types, flag)| {
            let level = |it: &str| if it == "c" && flag { "user" } else { "organization" };
            let at = |it: &str| types[usize::from(it.as_bytes()[0] - b'a')];
            let input_type = |it: &str| match at(it) {
                "snap_in_secret" => "text",
                other => other,
            };
            manifest(json!({
                "inputs": inputs.iter().map(|it| json!({
                    "level": level(it), "name": it, "field_type": input_type(it), "is_required": flag,
                })).collect::<Vec<_>>(),
                "keyrings": keyrings.iter().map(|it| json!({
                    "level": level(it), "name": it, "types": [at(it)],
                })).collect::<Vec<_>>(),
                "event_sources": sources.iter().map(|it| json!({
                    "level": level(it), "name": it, "type": at(it), "config": {"x": flag},
                })).collect::<Vec<_>>(),
                "tags": inputs.iter().map(|it| json!({"name": it})).collect::<Vec<_>>(),
            }))
        },
    )
}

fn any_inputs() -> impl Strategy<Value = Map<String, Value>> {
    let value = proptest::sample::select(vec![json!("x"), json!(1), json!(true), json!({})]);
    names().prop_flat_map(move |names| {
        let values = proptest::collection::vec(value.clone(), names.len());
        values.prop_map(move |it| names.iter().map(|it| (*it).to_owned()).zip(it).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_upgrade_to_the_same_changes_nothing(a in any_manifest(), inputs in any_inputs()) {
        let keyrings = keyrings(&[("a", "text")]);
        let configured = Configured { snap_in: "x", inputs: &inputs, keyrings: &keyrings };
        let plan = plan(&a, &a, configured, &BTreeSet::new());
        prop_assert!(plan.is_empty());
        prop_assert!(plan.sources.new.is_empty() && plan.sources.closed.is_empty());
    }

    #[test]
    fn there_is_a_plan_for_any_two(
        a in any_manifest(), b in any_manifest(), inputs in any_inputs(),
    ) {
        let keyrings = keyrings(&[("a", "text"), ("z", "int")]);
        let configured = Configured { snap_in: "x", inputs: &inputs, keyrings: &keyrings };
        let there = plan(&a, &b, configured, &BTreeSet::new());
        prop_assert_eq!(there.is_empty(), a == b);

        // The way back undoes each change.
        let back = plan(&b, &a, configured, &BTreeSet::new());
        let places = |plan: &Plan| -> BTreeSet<String> {
            plan.changes.iter().map(|it| format!("{:?} {}", it.section, it.name)).collect()
        };
        prop_assert_eq!(places(&there), places(&back));

        // Every source has one fate, and the text form has a line for each part.
        let sources = &there.sources;
        let wanted: BTreeSet<&String> =
            sources.kept.iter().chain(&sources.new).chain(&sources.restored).collect();
        prop_assert_eq!(wanted.len(), sources.kept.len() + sources.new.len());
        prop_assert_eq!(there.lines().len(), there.changes.len() + there.missing.len());

        let text = serde_json::to_string(&there).unwrap();
        prop_assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), there);
    }
}
