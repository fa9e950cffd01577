//! What real manifests get wrong without meaning something else is accepted, with a warning.

use serde_json::json;

use super::{check, check_part};
use crate::model::manifest::Level;

#[test]
fn version_as_text_or_number() {
    for version in ["\"2\"", "'2'", "2", "\"1\"", "1"] {
        assert!(check(&format!("version: {version}\n"), "").is_some(), "{version}");
    }
}

#[test]
fn sections_without_content() {
    let manifest = check_part(
        "keyrings:\ninputs: ~\nhooks: []\nservice_account:\n  display_name: x\n  scopes:\n    self:\n",
        "",
    );
    assert!(manifest.unwrap().service_account.unwrap().scopes.own.is_empty());
}

#[test]
fn flat_lists_where_levels_belong() {
    let manifest = check(
        r#"
version: "2"
keyrings:
  - name: k
    types: [snap_in_secret]
event_sources:
  - {name: s, type: flow-events}
functions: [{name: f}]
automations: [{name: a, source: s, event_types: [x], function: f}]
"#,
        "3:1: warning: keyrings: a flat list; it was taken as `keyrings.organization`, which is the place for it
         6:1: warning: event_sources: a flat list; it was taken as `event_sources.organization`, which is the place for it",
    )
    .unwrap();
    assert_eq!(manifest.keyring("k").unwrap().level, Level::Organization);
    assert_eq!(manifest.event_source("s").unwrap().level, Level::Organization);
}

#[test]
fn a_filter_beside_its_config() {
    let manifest = check(
        r#"
version: "2"
event_sources:
  user:
    - name: s
      type: devrev-webhook
      filter:
        jq_query: "true"
      config:
        event_types: [work_created]
functions: [{name: f}]
automations: [{name: a, source: s, event_types: [x], function: f}]
"#,
        "7:7: warning: event_sources.user[0].filter: belongs into `config`, and was taken as if it were there",
    )
    .unwrap();
    assert_eq!(
        manifest.event_source("s").unwrap().config,
        json!({"event_types": ["work_created"], "filter": {"jq_query": "true"}})
    );
}

#[test]
fn instructions_in_one_line_with_spaces_in_the_braces() {
    let manifest = check(
        r#"
version: "2"
event_sources:
  organization:
    - name: s
      type: flow-custom-webhook
      setup_instructions: "Set up:\nCopy `{{ source.trigger_url }}`, not `{{source.url}}`."
functions: [{name: f}]
automations: [{name: a, source: s, event_types: [x], function: f}]
"#,
        "7:27: warning: event_sources.organization[0].setup_instructions: `source.url` is no field of this source and stays as it is (allowed: source.name, source.trigger_url, source.config.FIELD)",
    )
    .unwrap();
    let instructions = manifest.event_sources[0].setup_instructions.clone().unwrap();
    assert_eq!(instructions.lines().count(), 2);
}

#[test]
fn keys_of_the_other_version() {
    check(
        r#"
version: "2"
event-sources: [{name: s, type: flow-events}]
globals: [{name: g, devrev_field_type: "[]text"}]
functions: [{name: f}]
automations: [{name: a, source: s, event_types: [x], function: f}]
"#,
        "3:1: warning: event-sources: a key of version 1; version 2 has `event_sources.organization` for it
         4:1: warning: globals: a key of version 1; version 2 has `inputs.organization` for it",
    )
    .unwrap();
    check(
        "version: 1\ninputs: {organization: [{name: i, field_type: text}]}\n",
        "2:1: warning: inputs: a key of version 2; version 1 has `globals` for it",
    )
    .unwrap();
}

#[test]
fn unknown_keys() {
    check_part(
        "jobs: []\ncomands: []\n",
        "5:1: warning: jobs: unknown key `jobs` (allowed: version, name, description, service_account, event_sources, event-sources, inputs, globals, keyring_types, keyrings, connections, developer_keyrings, developer_connections, tags, functions, automations, hooks, commands, snap_kit_actions, snap_components, configuration_handler, operations, imports, object_types, views)
         6:1: warning: comands: unknown key `comands`, did you mean `commands`? (allowed: version, name, description, service_account, event_sources, event-sources, inputs, globals, keyring_types, keyrings, connections, developer_keyrings, developer_connections, tags, functions, automations, hooks, commands, snap_kit_actions, snap_components, configuration_handler, operations, imports, object_types, views)",
    )
    .unwrap();
    check_part(
        "tags:\n  - name: t\n    descripton: d\n",
        "7:5: warning: tags[0].descripton: unknown key `descripton`, did you mean `description`? (allowed: name, description)",
    )
    .unwrap();
}

#[test]
fn old_booleans_where_a_boolean_is_expected() {
    let manifest = check_part(
        "inputs:\n  user:\n    - name: i\n      field_type: bool\n      is_required: yes\n      default_value: off\n",
        "9:20: warning: inputs.user[0].is_required: `yes` is text in YAML 1.2 and was taken as `true`; write `true`
         10:22: warning: inputs.user[0].default_value: `off` is text in YAML 1.2 and was taken as `false`; write `false`",
    )
    .unwrap();
    assert!(manifest.inputs[0].is_required);
    assert_eq!(manifest.inputs[0].default_value, Some(json!(false)));
}

#[test]
fn numbers_where_text_is_expected() {
    let manifest = check_part(
        "name: 2024\ndescription: no\n",
        "5:7: warning: name: `2024` is a number to YAML and was taken as text; quote it",
    )
    .unwrap();
    assert_eq!(manifest.name.as_deref(), Some("2024"));
    assert_eq!(manifest.description.as_deref(), Some("no"));
}

#[test]
fn what_is_declared_and_not_used() {
    check(
        r#"
version: "2"
functions: [{name: f}, {name: g}]
hooks: [{type: activate, function: g}]
event_sources: {organization: [{name: s, type: flow-events}]}
"#,
        "3:20: warning: functions[0].name: the function `f` is unused: nothing in this manifest calls it
         5:39: warning: event_sources.organization[0].name: the event source `s` is unused: no automation listens to it",
    )
    .unwrap();
}

#[test]
fn names_that_the_host_may_know() {
    check_part(
        "keyrings: {organization: [{name: k, types: [snap_in_secrt, slack]}]}\n",
        "5:45: warning: keyrings.organization[0].types[0]: unknown keyring type `snap_in_secrt`",
    )
    .unwrap();
}
