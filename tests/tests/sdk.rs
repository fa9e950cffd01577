//! The SDK for authors is in step with the daemon: events that the daemon really makes have no member
//! that the declarations lack, and none less than they promise. The SDK's own tests pass.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mortise_tests::daemon::Daemon;
use mortise_tests::needs::Need;
use mortise_tests::snap_in::{Parts, SIGNED};
use serde_json::{Value, json};

/// Gives the whole event back; its secrets are masked on the way.
const MIRROR: &str = "export const run = async (events) => events[0];";

const SECTIONS: &str = "
inputs:
  organization:
    - {name: greeting, field_type: text, default_value: hello, description: It}
keyrings:
  organization:
    - {name: token, types: [snap_in_secret], description: It}
tags:
  - {name: seen, description: It}
hooks:
  - {type: update, function: mirror}
";

fn sdk() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/sdk")
}

/// A member of an interface: its type, and whether it may be absent.
#[derive(Debug, PartialEq)]
struct Member {
    kind: String,
    optional: bool,
}

/// How an interface says that it may have others too.
const ANY_MEMBER: &str = "[member: string]";

type Interfaces = BTreeMap<String, BTreeMap<String, Member>>;

/// The interfaces of a file of declarations, whose members stand on a line each.
fn interfaces(text: &str) -> Interfaces {
    let mut found = Interfaces::new();
    let mut name = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("export interface ") {
            let end = rest.find([' ', '<']).unwrap_or(rest.len());
            name = Some(rest[..end].to_owned());
            found.entry(rest[..end].to_owned()).or_default();
        } else if line == "}" {
            name = None;
        } else if let Some(name) = &name
            && let Some((member, kind)) = line.trim().rsplit_once(": ")
            && !member.starts_with(['/', '*'])
        {
            let member_name = member.trim_end_matches('?').to_owned();
            let kind = kind.trim_end_matches(';').to_owned();
            let member = Member { kind, optional: member.ends_with('?') };
            found.entry(name.clone()).or_default().insert(member_name, member);
        }
    }
    found
}

/// What is wrong with a value that is declared as an interface or as anything else.
fn compare(value: &Value, kind: &str, path: &str, all: &Interfaces, wrong: &mut Vec<String>) {
    let plain = kind.split('<').next().unwrap_or(kind);
    if let Some(members) = all.get(plain) {
        let Some(object) = value.as_object() else {
            wrong.push(format!("{path}: {value} is no {kind}"));
            return;
        };
        let is_open = members.contains_key(ANY_MEMBER);
        for name in object.keys().filter(|it| !is_open && !members.contains_key(*it)) {
            wrong.push(format!("{path}.{name}: {plain} in contrib/sdk/index.d.ts lacks it"));
        }
        for (name, member) in members.iter().filter(|(name, _)| *name != ANY_MEMBER) {
            match object.get(name) {
                Some(value) => compare(value, &member.kind, &format!("{path}.{name}"), all, wrong),
                None if member.optional => {}
                None => wrong.push(format!("{path}.{name}: {plain} promises it")),
            }
        }
        return;
    }
    if let Some(of) = plain.strip_suffix("[]") {
        for (at, value) in value.as_array().into_iter().flatten().enumerate() {
            compare(value, of, &format!("{path}[{at}]"), all, wrong);
        }
        if !value.is_array() {
            wrong.push(format!("{path}: {value} is no {kind}"));
        }
        return;
    }
    let is_right = match plain {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "Record" => {
            let values = value.as_object();
            let of = kind.trim_start_matches("Record<string, ").trim_end_matches('>');
            for (name, value) in values.into_iter().flatten() {
                compare(value, of, &format!("{path}.{name}"), all, wrong);
            }
            values.is_some()
        }
        // Parameters of the interface, and `any`.
        "Payload" | "Inputs" | "Data" | "any" => true,
        "SnapKitBlock" => {
            let is_text = value["text"].is_string();
            let of = if is_text { "SnapKitText" } else { "SnapKitElement" };
            compare(value, of, path, all, wrong);
            is_text == matches!(value["type"].as_str(), Some("plain_text" | "rich_text"))
        }
        // All types but some: words.
        "Exclude" => value.is_string(),
        // One of several, which the daemon's own checks tell apart.
        several if several.contains(" | ") => true,
        other => {
            wrong.push(format!("{path}: this test does not know the type {other}"));
            true
        }
    };
    if !is_right {
        wrong.push(format!("{path}: {value} is no {kind}"));
    }
}

#[track_caller]
fn assert_declared(value: &Value, kind: &str) {
    let text = fs::read_to_string(sdk().join("index.d.ts")).expect("it is there");
    let mut wrong = Vec::new();
    compare(value, kind, "event", &interfaces(&text), &mut wrong);
    assert!(wrong.is_empty(), "{}\nin {value:#}", wrong.join("\n"));
}

#[test]
fn everything_that_a_function_sees_is_declared() {
    let daemon = Daemon::start();
    let parts = Parts::new("mirror", SIGNED, MIRROR)
        .with_function("mirror", MIRROR)
        .with_sections(SECTIONS);
    let installed = daemon.install_draft(&parts);
    let keyring = json!({ "snap_in": installed.id, "name": "token", "secret": "a-secret-text" });
    daemon.call("keyrings.set", &keyring);
    daemon.step("activate", &installed.id, "ACTIVE");

    let event = daemon.send_event(&installed, &json!({ "n": 1 }));
    let run = daemon.run_of(&event);
    assert_eq!(run["state"], "succeeded", "{run}");
    assert_declared(&run["result"], "FunctionInput");
    // What the declarations say more of is there.
    let resources = &run["result"]["input_data"]["resources"];
    assert!(resources["keyrings"]["token"].is_object(), "{resources}");
    assert!(resources["tags"]["seen"].is_object(), "{resources}");

    let call = json!({ "snap_in": installed.id, "function": "mirror", "payload": {} });
    assert_declared(&daemon.call("functions.call", &call)["result"], "FunctionInput");

    let change = json!({ "id": installed.id, "inputs_values": { "greeting": "hi" } });
    daemon.call("snap-ins.update", &change);
    let runs = daemon.list_all("runs.list", "runs", &json!({ "snap_in": installed.id }));
    let hook = runs.iter().find(|it| it["hook"].is_string()).expect("the hook ran");
    let hook = daemon.call("runs.get", &json!({ "id": hook["id"] }))["run"].clone();
    assert!(hook["result"]["execution_metadata"]["previous_inputs"].is_object(), "{hook}");
    assert_declared(&hook["result"], "FunctionInput");
}

const WAYS: &str = "
commands:
  - {name: look, namespace: mirror, description: It., surfaces: [{surface: discussions}], function: mirror}
snap_kit_actions:
  - {name: press, description: It., function: mirror}
operations:
  - {name: Do, slug: do, description: It., type: action, function: wrapped}
";

/// As operations answer.
const WRAPPED: &str = "export const run = async (events) => ({ output: { values: [events[0]] } });";

#[test]
fn commands_actions_and_operations_are_declared() {
    let daemon = Daemon::start();
    let parts = Parts::new("mirror", SIGNED, MIRROR)
        .with_function("mirror", MIRROR)
        .with_function("wrapped", WRAPPED)
        .with_sections(WAYS);
    let id = daemon.install(&parts).id;

    let command = json!({ "namespace": "mirror", "name": "look", "parameters": "a b" });
    let event = daemon.call("commands.execute", &command)["result"].clone();
    assert_declared(&event, "FunctionInput");
    assert_declared(&event["payload"], "CommandPayload");
    assert!(event["context"]["secrets"]["actor_session_token"].is_string(), "{event:#}");

    let body = json!({ "snaps": [
        { "type": "actions", "elements": [
            { "type": "button", "action_id": "b", "text": { "type": "plain_text", "text": "B" },
                "value": "v" },
        ] },
    ] });
    let click = json!({
        "id": format!("{id}/snap-kit-actions/press"), "body": body,
        "actions": [{ "action_id": "b", "value": "v", "block_id": "c" }],
        "context": { "entry_id": "TLE-1", "parent_core_object_id": "TKT-1" },
    });
    let answer = daemon.call("snap-kit-action.execute.deferred", &click);
    let event = answer["results"][0]["result"].clone();
    assert_declared(&event, "FunctionInput");
    assert_declared(&event["payload"], "SnapKitActionPayload");
    assert!(event["payload"]["body"]["snaps"][0]["elements"].is_array(), "{event:#}");

    let operation = json!({ "snap_in": id, "slug": "do", "data": { "a": 1 } });
    let answer = daemon.call("operations.execute", &operation);
    let event = answer["output"]["values"][0].clone();
    assert_declared(&event, "FunctionInput");
    assert_declared(&event["payload"], "OperationPayload");
    assert_eq!(event["execution_metadata"]["operation_slug"], "do");
}

const DRAWN: &str = "
snap_components:
  - {name: panel, surface: issue, initializer: mirror, snap_kit_action_name: press}
snap_kit_actions:
  - {name: press, description: It., function: mirror}
configuration_handler:
  organization: {initializer: mirror, snap_kit_action_name: press}
hooks:
  - {type: deactivate, function: mirror}
";

#[test]
fn initializers_pages_and_the_deactivate_hook_are_declared() {
    let daemon = Daemon::start();
    let parts =
        Parts::new("mirror", SIGNED, MIRROR).with_function("mirror", MIRROR).with_sections(DRAWN);
    let id = daemon.install(&parts).id;
    for (call, which, kind) in [
        (
            "snap-components.render",
            json!({ "snap_in": id, "name": "panel", "object_id": "TKT-1" }),
            "SnapComponentPayload",
        ),
        (
            "configuration-pages.render",
            json!({ "snap_in": id, "level": "organization" }),
            "ConfigurationPagePayload",
        ),
    ] {
        let event = daemon.call(call, &which)["result"].clone();
        assert_declared(&event, "FunctionInput");
        assert_declared(&event["payload"], kind);
    }
    daemon.step("deactivate", &id, "INACTIVE");
    let runs = daemon.list_all("runs.list", "runs", &json!({ "snap_in": id }));
    let hook = runs.iter().find(|it| it["hook"] == "deactivate").expect("the hook ran");
    let hook = daemon.call("runs.get", &json!({ "id": hook["id"] }))["run"]["result"].clone();
    assert_declared(&hook, "FunctionInput");
    assert_declared(&hook["payload"], "DeactivateHookPayload");
}

/// The words of a union of texts.
fn words(text: &str, name: &str) -> Vec<String> {
    let union = text.split(&format!("export type {name} =")).nth(1).expect("it is declared");
    let union = union.split(';').next().unwrap_or_default();
    union.split('|').map(|it| it.trim().trim_matches('\'').to_owned()).skip(1).collect()
}

#[test]
fn the_elements_of_snap_kit_are_those_that_the_daemon_knows() {
    let daemon = Daemon::start();
    let code =
        "export const run = async () => ({ snap_kit_body: { body: { snaps: [{ type: 'x' }] } } });";
    let parts = Parts::new("drawer", SIGNED, code)
        .with_sections("snap_kit_actions:\n  - {name: press, description: It., function: work}\n");
    let id = daemon.install(&parts).id;
    let click = json!({
        "id": format!("{id}/snap-kit-actions/press"), "actions": [{ "action_id": "b", "value": 1 }],
    });
    let answer = daemon.call("snap-kit-action.execute.deferred", &click);
    let problem = &answer["results"][0]["problems"][0];
    let mut known: Vec<_> = problem["allowed"].as_array().into_iter().flatten().cloned().collect();
    known.sort_by_key(Value::to_string);
    let text = fs::read_to_string(sdk().join("index.d.ts")).expect("it is there");
    assert_eq!(json!(known), json!(words(&text, "SnapKitType")), "{answer:#}");
}

#[test]
fn a_member_that_is_not_declared_is_found() {
    let text = "export interface A<T = any> {\n  /** It: that. */\n  b: B;\n  c?: string;\n}\n\
                export interface B {\n  d: Record<string, C>;\n}\nexport interface C {\n  e: number;\n}\n";
    let all = interfaces(text);
    let wrong = |value: Value| {
        let mut wrong = Vec::new();
        compare(&value, "A", "", &all, &mut wrong);
        wrong.len()
    };
    assert_eq!(wrong(json!({ "b": { "d": { "x": { "e": 1 } } } })), 0);
    assert_eq!(wrong(json!({ "b": { "d": { "x": { "e": "1", "f": 1 } } } })), 2);
    assert_eq!(wrong(json!({ "b": { "d": {} }, "c": 1, "g": 1 })), 2);
    assert_eq!(wrong(json!({})), 1);
}

/// Node.js, where it is installed; nothing that is built needs it.
fn node() -> Option<Command> {
    let found = Command::new("node").arg("--version").output();
    if found.is_ok_and(|it| it.status.success()) {
        return Some(Command::new("node"));
    }
    Need::Node.is_missing("there is no Node.js here");
    None
}

#[test]
fn the_helpers_pass_their_own_tests() {
    let Some(mut node) = node() else { return };
    let done = node.args(["--test", "test/"]).current_dir(sdk()).output().expect("it is there");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{said}");
    assert!(said.contains("pass 7"), "{said}");
}

#[test]
fn the_events_of_the_helpers_are_declared() {
    let Some(mut node) = node() else { return };
    let script = "const { makeEvent } = require('./testing.js');
        console.log(JSON.stringify(makeEvent({ input_data: { keyrings: { a: 'b' } } })));";
    let done = node.args(["-e", script]).current_dir(sdk()).output().expect("it is there");
    let event: Value = serde_json::from_slice(&done.stdout).expect("it is JSON");
    assert_declared(&event, "FunctionInput");
}
