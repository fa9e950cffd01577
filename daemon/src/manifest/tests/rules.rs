//! What must be refused, with the words in which it is.

use super::{check, check_part};

#[test]
fn the_version() {
    check(
        "name: x\n",
        r#"1:1: error: version: the key `version` is missing: it says how the manifest is to be read (allowed: "1", "2")"#,
    );
    check("version: 3\n", r#"1:10: error: version: unknown version `3` (allowed: "1", "2")"#);
    check(
        "version: [2]\n",
        r#"1:10: error: version: expected a version, found a list (allowed: "1", "2")"#,
    );
}

#[test]
fn not_a_manifest() {
    check("", "1:1: error: the manifest is empty");
    check("# nothing\n", "1:1: error: the manifest is empty");
    check("hello\n", "1:1: error: expected a mapping, found text");
    check("- a\n", "1:1: error: expected a mapping, found a list");
}

#[test]
fn unknown_functions_wherever_they_are_named() {
    let message = "unknown function `ff`, did you mean `f`? (allowed: f)";
    for (part, place) in [
        ("hooks: [{type: activate, function: ff}]", "5:36: error: hooks[0].function"),
        ("commands: [{name: c, namespace: n, function: ff}]", "5:46: error: commands[0].function"),
        (
            "snap_kit_actions: [{name: k, function: ff}]",
            "5:40: error: snap_kit_actions[0].function",
        ),
        (
            "snap_components: [{name: k, initializer: ff}]",
            "5:42: error: snap_components[0].initializer",
        ),
        ("operations: [{name: o, function: ff}]", "5:34: error: operations[0].function"),
        (
            "imports: [{slug: i, extractor_function: ff}]",
            "5:41: error: imports[0].extractor_function",
        ),
        (
            "configuration_handler: {user: {initializer: ff}}",
            "5:45: error: configuration_handler.user.initializer",
        ),
    ] {
        assert!(check_part(part, &format!("{place}: {message}")).is_none());
    }
}

#[test]
fn unknown_names_in_an_automation() {
    check(
        r#"
version: "2"
functions: [{name: greet}, {name: part}]
event_sources: {user: [{name: hook, type: flow-events}]}
automations:
  - name: a
    source: hooks
    event_types: [x]
    function: greet_all
"#,
        "3:20: warning: functions[0].name: the function `greet` is unused: nothing in this manifest calls it
         3:35: warning: functions[1].name: the function `part` is unused: nothing in this manifest calls it
         4:31: warning: event_sources.user[0].name: the event source `hook` is unused: no automation listens to it
         7:13: error: automations[0].source: unknown event source `hooks`, did you mean `hook`? (allowed: hook)
         9:15: error: automations[0].function: unknown function `greet_all` (allowed: greet, part)",
    );
}

#[test]
fn unknown_action() {
    check_part(
        "snap_components: [{name: k, initializer: f, snap_kit_action_name: nope}]",
        "5:67: error: snap_components[0].snap_kit_action_name: unknown snap-kit action `nope`",
    );
}

#[test]
fn names_that_are_taken() {
    check(
        r#"
version: "2"
functions: [{name: f}, {name: f}]
event_sources:
  organization: [{name: s, type: flow-events}]
  user: [{name: s, type: flow-events}]
automations:
  - {name: a, source: s, event_types: [x], function: f}
  - {name: a, source: s, event_types: [x], function: f}
keyrings: {user: [{name: k, types: [slack]}]}
developer_keyrings: [{name: k}]
inputs: {organization: [{name: i, field_type: text}], user: [{name: i, field_type: text}]}
hooks: [{type: update, function: f}, {type: update, function: f}]
commands:
  - {name: c, namespace: n, function: f}
  - {name: c, namespace: other, function: f}
  - {name: c, namespace: n, function: f}
"#,
        "3:31: error: functions[1].name: the function `f` is already declared in line 3, column 20 (functions[0].name)
         6:17: error: event_sources.user[0].name: the event source `s` is already declared in line 5, column 25 (event_sources.organization[0].name)
         9:12: error: automations[1].name: the automation `a` is already declared in line 8, column 12 (automations[0].name)
         11:29: error: developer_keyrings[0].name: the keyring `k` is already declared in line 10, column 26 (keyrings.user[0].name)
         13:45: error: hooks[1].type: the hook `update` is already declared in line 13, column 16 (hooks[0].type)
         17:12: error: commands[2].name: the command `n c` is already declared in line 15, column 12 (commands[0].name)",
    );
}

#[test]
fn names_that_cannot_be() {
    for (name, message) in [
        ("a/b", "`a/b` holds a slash, which names of this kind may not"),
        ("'a\\b'", "`a\\b` holds a slash, which names of this kind may not"),
        ("' a'", "` a` starts or ends with a space"),
        ("\"a\\nb\"", "`a\u{fffd}b` holds a control character or a line break"),
        ("\"\"", "must not be empty: every keyring needs one"),
        ("'  '", "must not be empty: every keyring needs one"),
    ] {
        check_part(
            &format!("developer_keyrings:\n  - name: {name}\n"),
            &format!("6:11: error: developer_keyrings[0].name: {message}"),
        );
    }
    let long = "n".repeat(201);
    check_part(
        &format!("tags:\n  - name: {long}\n"),
        &format!(
            "6:11: error: tags[0].name: `{}…` is too long; at most 200 characters are allowed",
            &long[..60]
        ),
    );
    check_part("tags: [{name: a/b}]\n", "").unwrap();
}

#[test]
fn function_names() {
    for name in ["../evil", ".", "-f", "a b", "a/b"] {
        check(
            &format!(
                "version: 2\nfunctions: [{{name: '{name}'}}]\nhooks: [{{type: update, function: '{name}'}}]\n"
            ),
            &format!(
                "2:20: error: functions[0].name: `{name}` cannot be a function: letters, digits, `_`, `-`, `$` and `.` are allowed, the first neither `-` nor `.`"
            ),
        );
    }
}

#[test]
fn missing_keys() {
    check_part(
        "automations:\n  - description: x\n",
        "5:1: error: the key `automations` is here twice; the first is in line 4, column 1",
    );
    check(
        r#"
version: "2"
automations:
  - description: x
  -
event_sources:
  organization:
    - description: x
hooks:
  - type:
commands: [{}]
keyring_types: [{id: t}]
"#,
        "4:5: error: automations[0].event_types: the key `event_types` is missing: an automation runs only on the event types that it lists
         4:5: error: automations[0].function: the key `function` is missing: the name of the function belongs here
         4:5: error: automations[0].name: the key `name` is missing: every automation needs one
         4:5: error: automations[0].source: the key `source` is missing: the name of the event source belongs here
         5:4: error: automations[1]: expected a mapping, found nothing
         8:7: error: event_sources.organization[0].name: the key `name` is missing: every event source needs one
         8:7: error: event_sources.organization[0].type: the key `type` is missing: it says which plugin provides the events
         10:5: error: hooks[0].function: the key `function` is missing: the name of the function belongs here
         10:5: error: hooks[0].type: the key `type` is missing: it says when the hook is called (allowed: validate, activate, deactivate, update)
         11:12: error: commands[0].function: the key `function` is missing: the name of the function belongs here
         11:12: error: commands[0].name: the key `name` is missing: every command needs one
         11:12: error: commands[0].namespace: the key `namespace` is missing: a command is called by namespace and name
         12:17: error: keyring_types[0].kind: the key `kind` is missing, and there is no `reference_keyring` (allowed: secret, oauth2)",
    );
}

#[test]
fn event_types() {
    check(
        r#"
version: "2"
functions: [{name: f}]
event_sources: {organization: [{name: s, type: flow-events}]}
automations:
  - {name: a, source: s, event_types: [], function: f}
  - {name: b, source: s, event_types: [x, "", x, "a b", [y]], function: f}
  - {name: c, source: s, event_types: x, function: f}
"#,
        "6:39: error: automations[0].event_types: must not be empty: an automation runs only on the event types that it lists
         7:43: error: automations[1].event_types[1]: must not be empty
         7:47: warning: automations[1].event_types[2]: `x` is here twice
         7:50: error: automations[1].event_types[3]: `a b` holds a space; an event type has none
         7:57: error: automations[1].event_types[4]: expected text, found a list
         8:39: error: automations[2].event_types: expected a list, found text",
    );
}

#[test]
fn hook_types_and_runtimes() {
    check_part(
        "hooks: [{type: activated, function: f}]\n",
        "5:16: error: hooks[0].type: unknown value `activated`, did you mean `activate`? (allowed: validate, activate, deactivate, update)",
    );
    check(
        "version: 2\nfunctions: [{name: f, runtime: nodejs, timeout_seconds: 0, memory_mb: big, fresh_context: 1}]\nhooks: [{type: update, function: f}]\n",
        "2:32: error: functions[0].runtime: unknown value `nodejs`, did you mean `node`? (allowed: auto, quickjs, node, process, remote)
         2:57: error: functions[0].timeout_seconds: expected a whole number from 1 to 86400
         2:71: error: functions[0].memory_mb: expected a whole number from 8 to 65536
         2:91: error: functions[0].fresh_context: expected a boolean, found a number (allowed: true, false)",
    );
}

#[test]
fn default_values() {
    for (input, message) in [
        (
            "field_type: int, default_value: 'five'",
            "a value of type `int` is wanted, found text `five`",
        ),
        (
            "field_type: int, default_value: 1.5",
            "a value of type `int` is wanted, found a number `1.5`",
        ),
        (
            "field_type: text, default_value: 5",
            "a value of type `text` is wanted, found a number `5`; quote it",
        ),
        ("field_type: id, default_value: [x]", "a value of type `id` is wanted, found a list"),
        (
            "field_type: array, base_type: text, default_value: x",
            "a value of type `array` is wanted, found text `x`",
        ),
        (
            "field_type: bool, default_value: 'true'",
            "expected a boolean, found text (allowed: true, false)",
        ),
        (
            "field_type: enum, allowed_values: [low, high], default_value: hihg",
            "unknown value `hihg`, did you mean `high`? (allowed: low, high)",
        ),
        (
            "field_type: text, min_len: 9, default_value: short",
            "must have at least 9 characters, has 5",
        ),
        (
            "field_type: id, id_type: [tag], default_value: 'don:core:x:devo/0:issue/1'",
            "is the id of another type, `issue` (allowed: tag)",
        ),
        ("field_type: double, default_value: .nan", "infinity and NaN have no form in JSON"),
    ] {
        let part = format!("inputs: {{organization: [{{name: i, {input}}}]}}\n");
        let column = part.find("default_value: ").unwrap() + "default_value: ".len() + 1;
        let expected =
            format!("5:{column}: error: inputs.organization[0].default_value: {message}");
        assert!(check_part(&part, &expected).is_none());
    }
    check_part("inputs: {user: [{name: i, field_type: double, default_value: 3}]}\n", "").unwrap();
    check_part(
        "inputs: {user: [{name: i, field_type: array, base_type: int, default_value: [1, x]}]}\n",
        "5:81: error: inputs.user[0].default_value[1]: a value of type `int` is wanted, found text `x`",
    );
    check_part(
        "inputs: {user: [{name: i, field_type: text, pattern: '('}]}\n",
        "5:54: error: inputs.user[0].pattern: the pattern is no regular expression: unclosed group",
    );
}

#[test]
fn input_types() {
    let types = "(allowed: array, bool, composite, double, enum, id, int, json_value, rich_text, struct, text, tokens, uenum, unknown)";
    for (input, expected) in [
        (
            "field_type: txt",
            format!(
                "29: error: inputs.user[0].field_type: unknown type `txt`, did you mean `text`? {types}"
            ),
        ),
        (
            "field_type: date",
            "29: warning: inputs.user[0].field_type: `date` works here, and on no other host"
                .to_owned(),
        ),
        ("x: 1", String::new()),
    ] {
        if expected.is_empty() {
            continue;
        }
        let part = format!("inputs: {{user: [{{{input}, name: i}}]}}\n");
        check_part(&part, &format!("5:{}", expected.replace("29:", "30:")));
    }
    check_part(
        "inputs:\n  user:\n    - name: i\n",
        &format!(
            "7:7: error: inputs.user[0].field_type: the key `field_type` is missing: it says what values are allowed {types}"
        ),
    );
    check_part(
        "inputs:\n  user:\n    - {name: i, field_type: array}\n    - {name: j, field_type: '[]bool'}\n    - {name: k, field_type: enum}\n",
        "7:7: error: inputs.user[0].base_type: the key `base_type` is missing: an array needs the type of its items
         8:29: warning: inputs.user[1].field_type: an array of `bool` works here, and on no other host
         9:7: error: inputs.user[2].allowed_values: the key `allowed_values` is missing: an enum needs the values to choose from",
    );
}

#[test]
fn wrong_shapes() {
    check(
        "version: 2\nfunctions: f\ninputs: 3\nservice_account: [x]\nkeyring_types: [x]\ncommands: {}\n",
        "2:12: error: functions: expected a list, found text
         3:9: error: inputs: expected a mapping, found a number
         4:18: error: service_account: expected a mapping, found a list
         5:17: error: keyring_types[0]: expected a mapping, found text
         6:11: error: commands: expected a list, found a mapping",
    );
    check(
        "version: 2\nevent_sources: {organization: [{name: s, type: x, config: [y]}]}\n",
        "2:39: warning: event_sources.organization[0].name: the event source `s` is unused: no automation listens to it
         2:59: error: event_sources.organization[0].config: expected a mapping, found a list",
    );
}

#[test]
fn too_many_entries() {
    let tags: String = (0..1001).map(|index| format!("  - name: t{index}\n")).collect();
    check_part(
        &format!("tags:\n{tags}"),
        "6:3: error: tags: has 1001 entries; at most 1000 are allowed",
    );
}

#[test]
fn a_bounded_number_of_problems_and_every_error_before_warnings() {
    let keys: String = (0..300).map(|index| format!("unknown{index}: 1\n")).collect();
    let parsed = super::parse(&format!("{keys}version: 7\n"));
    assert!(parsed.manifest.is_none());
    assert_eq!(parsed.problems.len(), 201);
    assert!(parsed.problems.iter().any(|problem| problem.path == "version"));
}
