//! No key is ignored without a word: whatever a mapping of a manifest holds beyond its keys is named,
//! and keys that are only misplaced are shown their place.

use serde_json::{Value, json};

use super::super::{parse, yaml};
use super::samples::{EVERYTHING, VERSION_1};
use super::{check, check_part};
use crate::manifest::problem::Problems;

/// Mappings whose keys are the author's own, by the end of their path.
const FREE: [&str; 8] = [
    "config",
    "config.filter",
    "headers",
    "query_params",
    "query_parameters",
    "auth_query_parameters",
    "token_query_parameters",
    // Hints for consoles.
    "ui",
];

/// The paths of all mappings below a value, as JSON pointers.
fn mappings(value: &Value, pointer: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.push(pointer.to_owned());
            for (key, value) in members {
                let key = key.replace('~', "~0").replace('/', "~1");
                mappings(value, &format!("{pointer}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                mappings(value, &format!("{pointer}/{index}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn every_mapping_names_keys_that_it_does_not_know() {
    let mut tried = 0;
    for sample in [EVERYTHING, VERSION_1] {
        let root = yaml::load(sample, &mut Problems::default()).unwrap().to_json().unwrap();
        let before = parse(sample).problems.len();
        let mut pointers = Vec::new();
        mappings(&root, "", &mut pointers);
        for pointer in pointers {
            let dotted = pointer.replace('/', ".");
            // A function's `config` is no source's.
            let is_function = pointer.starts_with("/functions/");
            // A JSON Schema may hold anything, and what is said of a type by its fields names them.
            if pointer.starts_with("/object_types/") && pointer.matches('/').count() > 2 {
                continue;
            }
            // The author's own fields.
            if pointer.starts_with("/views/") && pointer.ends_with("/filter") {
                continue;
            }
            if FREE.iter().any(|end| dotted.ends_with(&format!(".{end}"))) && !is_function {
                continue;
            }
            let mut changed = root.clone();
            changed.pointer_mut(&pointer).unwrap()["zzz"] = json!(1);
            let problems = parse(&changed.to_string()).problems;
            assert_eq!(problems.len(), before + 1, "nothing is said of a key in {pointer}");
            tried += 1;
        }
    }
    assert!(tried > 60, "only {tried} mappings were tried");
}

#[test]
fn options_of_a_function_at_the_wrong_depth() {
    check(
        r#"
version: "2"
hooks: [{type: activate, function: f}]
functions:
  - name: f
    max_retries: 3
    config:
      min_interval: 10
      fresh_context: true
      runtime:
        max_concurrency: 3
        max_retrys: 4
"#,
        "6:5: warning: functions[0].max_retries: does nothing here: `max_retries` belongs into `config.runtime` of the function
         8:7: warning: functions[0].config.min_interval: does nothing here: `min_interval` belongs into `runtime` in here
         9:7: warning: functions[0].config.fresh_context: does nothing here: `fresh_context` belongs into the function itself, beside `config`
         11:9: warning: functions[0].config.runtime.max_concurrency: does nothing here: `max_concurrency` belongs into the function itself, beside `config`
         12:9: warning: functions[0].config.runtime.max_retrys: unknown key `max_retrys`, did you mean `max_retries`? (allowed: max_retries, min_interval)",
    )
    .unwrap();
}

#[test]
fn keys_of_inputs_in_their_ui_and_the_other_way_round() {
    let manifest = check_part(
        r#"inputs:
  organization:
    - name: i
      field_type: text
      placeholder: here
      ui: {is_required: true, order: 3}
"#,
        "9:7: warning: inputs.organization[0].placeholder: does nothing here: `placeholder` belongs into `ui`
         10:12: warning: inputs.organization[0].ui.is_required: does nothing here: `is_required` belongs into the input itself, beside `ui`",
    )
    .unwrap();
    assert_eq!(manifest.inputs[0].ui.other.keys().collect::<Vec<_>>(), ["order"]);
}

#[test]
fn the_config_of_a_source_beside_it() {
    check(
        r#"
version: "2"
functions: [{name: f}]
event_sources: {organization: [{name: s, type: timer-events, cron: "* * * * *"}]}
automations: [{name: a, source: s, event_types: [timer.tick], function: f}]
"#,
        "4:62: warning: event_sources.organization[0].cron: does nothing here: `cron` belongs into `config`",
    )
    .unwrap();
}

#[test]
fn fields_of_operations() {
    check_part(
        r#"operations:
  - name: o
    function: f
    default_timeout: 5
    inputs:
      fields:
        - {name: a, field_type: date, is_pii: true}
        - {field_type: txt, is_requierd: true}
"#,
        "8:5: warning: operations[0].default_timeout: does nothing here: `default_timeout` belongs into `execute_options`
         12:11: error: operations[0].inputs.fields[1].name: the key `name` is missing: values are handed over by name
         12:24: error: operations[0].inputs.fields[1].field_type: unknown type `txt`, did you mean `text`? (allowed: array, bool, composite, date, double, enum, id, int, json_value, rich_text, struct, text, timestamp, tokens, uenum, unknown)
         12:29: warning: operations[0].inputs.fields[1].is_requierd: unknown key `is_requierd`, did you mean `is_required`? (allowed: name, field_type, devrev_field_type, base_type, allowed_values, composite_type, contains, db_name, default_value, description, devrev_enum, devrev_id_type, eq_len, gt, gte, id_type, is_filterable, is_immutable, is_pii, is_required, lt, lte, max_len, min_len, origin, pattern, prefix, suffix, ui)",
    );
}

#[test]
fn answers_of_requests_that_nobody_reads() {
    check_part(
        "keyring_types: [{id: t, kind: oauth2, revoke: {url: 'https://x', response_jq: .id}}]\n",
        "5:66: warning: keyring_types[0].revoke.response_jq: unknown key `response_jq` (allowed: type, query_params, query_parameters, url, method, headers)",
    )
    .unwrap();
}

#[test]
fn limits_that_no_value_can_break() {
    check_part(
        r#"inputs:
  organization:
    - {name: a, field_type: int, min_len: 3, gt: 0}
    - {name: b, field_type: text, allowed_values: [x], lt: 3}
    - {name: c, field_type: array, base_type: double, max_len: 3, id_type: [tag]}
    - {name: d, field_type: json_value, pattern: x}
"#,
        "7:34: warning: inputs.organization[0].min_len: only texts and arrays have it; this is of type `int`
         8:35: warning: inputs.organization[1].allowed_values: only enums have it; this is of type `text`
         8:56: warning: inputs.organization[1].lt: only numbers have it; this is of type `text`
         9:67: warning: inputs.organization[2].id_type: only ids have it; this is of type `double`",
    );
}

#[test]
fn what_is_there_twice_or_cannot_be_switched_off() {
    check_part(
        r#"keyrings: {user: [{name: k, types: [t], optional: false}]}
keyring_types:
  - id: t
    kind: secret
    secret_config:
      organization_data: {url: "https://a"}
    organization_data: {url: "https://b"}
"#,
        "5:51: warning: keyrings.user[0].optional: does nothing here: a user's keyring is always optional
         11:5: warning: keyring_types[0].organization_data: is here and in `secret_config`; the one here is used",
    )
    .unwrap();
}
