//! Fixtures: from a text to events that have everything that a function may look at. Pure. Fills what
//! the `makeEvent` of `contrib/sdk` fills, and also what the manifest knows.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::configuration::inputs;
use crate::model::event::{DEV_OID, MOST_PAYLOAD_BYTES};
use crate::model::id::{
    AutomationId, KeyringId, RunId, ServiceAccountId, SnapInId, SourceId, TagId, VersionId,
};
use crate::model::manifest::{HookType, Level, Manifest};

/// The API of a daemon that is not there: a name that leads nowhere for certain (RFC 6761).
pub(super) const NO_DAEMON: &str = "mortise.invalid";

/// What an event is completed with.
pub(super) struct Names<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) function: &'a str,
}

/// An event with everything in it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Completed {
    pub(super) event: Value,
    /// Paths that were filled.
    pub(super) filled: Vec<String>,
    /// What to know about it, in lines.
    pub(super) notes: Vec<String>,
}

/// The events of a fixture. What is wrong with it is for whoever wrote it.
pub(super) fn read(text: &str) -> Result<Vec<Value>, String> {
    let fixture: Value =
        serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    let events = match fixture {
        Value::Array(events) => events,
        event @ Value::Object(_) => vec![event],
        other => {
            let kind = kind(&other);
            return Err(format!("a fixture is an event or a list of events, and not {kind}"));
        }
    };
    if events.is_empty() {
        return Err("the list holds no event".to_owned());
    }
    match events.iter().enumerate().find(|(_, it)| !it.is_object()) {
        Some((at, it)) => Err(format!("[{at}]: an event is an object, and not {}", kind(it))),
        None => Ok(events),
    }
}

/// Fills what an event lacks.
pub(super) fn complete(event: Value, names: &Names<'_>) -> Result<Completed, String> {
    let mut completed = Completed { event, filled: Vec::new(), notes: Vec::new() };
    let stand_in = stand_in(names, &completed.event);
    fill(&mut completed.event, &stand_in, "", &mut completed.filled)?;
    mirror_keyrings(&mut completed.event)?;
    let Completed { event, filled, notes } = &mut completed;
    let named = &mut event["execution_metadata"]["function_name"];
    if named.as_str() != Some(names.function) {
        notes.push(format!("the fixture names function {named}; {} is run", names.function));
        *named = json!(names.function);
    }
    if !filled.is_empty() {
        notes.insert(0, format!("filled: {}", filled.join(", ")));
    }
    let missing: Vec<&str> = names
        .manifest
        .keyrings
        .iter()
        .filter(|it| it.level == Level::Organization && !it.optional)
        .filter(|it| event["input_data"]["keyrings"].get(&it.name).is_none())
        .map(|it| it.name.as_str())
        .collect();
    for name in missing {
        notes
            .push(format!("keyring {name} is not in the fixture: --keyring {name}=@FILE gives it"));
    }
    let missing = inputs::missing(names.manifest, Level::Organization, &values(event));
    for input in missing {
        let name = &input.name;
        notes.push(format!("input {name} has no value: --set {name}=VALUE gives it one"));
    }
    let size = event["payload"].to_string().len();
    if size > MOST_PAYLOAD_BYTES {
        notes.push(format!(
            "the payload has {size} bytes: no automation runs for more than {MOST_PAYLOAD_BYTES}"
        ));
    }
    Ok(completed)
}

/// Puts in what the command line gives.
pub(super) fn set(
    event: &mut Value,
    inputs: &Map<String, Value>,
    keyrings: &BTreeMap<String, Zeroizing<String>>,
) {
    for (name, value) in inputs {
        event["input_data"]["global_values"][name] = value.clone();
    }
    for (name, secret) in keyrings {
        let secret = secret.as_str();
        event["input_data"]["keyrings"][name] = json!(secret);
        let id = KeyringId(1).to_string();
        event["input_data"]["resources"]["keyrings"][name] = json!({ "id": id, "secret": secret });
    }
}

/// The secrets in an event: its first token first.
pub(super) fn secrets(event: &Value) -> Vec<Zeroizing<String>> {
    let tokens = &event["context"]["secrets"];
    let first = tokens["service_account_token"].as_str().unwrap_or_default();
    let mut secrets = vec![Zeroizing::new(first.to_owned())];
    let others = tokens.as_object().into_iter().flat_map(Map::values);
    let keyrings = event["input_data"]["keyrings"].as_object();
    let others = others.chain(keyrings.into_iter().flat_map(Map::values));
    secrets.extend(others.filter_map(Value::as_str).map(|it| Zeroizing::new(it.to_owned())));
    secrets
}

fn values(event: &Value) -> Map<String, Value> {
    event["input_data"]["global_values"].as_object().cloned().unwrap_or_default()
}

/// Takes members that are not there from `stand_in`, at every depth of it.
fn fill(
    value: &mut Value,
    stand_in: &Value,
    path: &str,
    filled: &mut Vec<String>,
) -> Result<(), String> {
    let Value::Object(wanted) = stand_in else { return Ok(()) };
    // Fixtures of old have `"keyrings": null`.
    if value.is_null() {
        *value = json!({});
    }
    let kind = kind(value);
    let Value::Object(members) = value else {
        return Err(format!("{path}: expected an object, and not {kind}"));
    };
    for (name, stand_in) in wanted {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match members.get_mut(name) {
            // A payload is what was sent, whatever it is.
            Some(_) if path == "payload" => {}
            Some(member) => fill(member, stand_in, &path, filled)?,
            None => {
                // Empty objects are worth no word.
                if *stand_in != json!({}) || path == "payload" {
                    filled.push(path);
                }
                members.insert(name.clone(), stand_in.clone());
            }
        }
    }
    Ok(())
}

/// What is told of how a function was called.
struct Called {
    source: String,
    automation: String,
    event_type: Option<String>,
    operation: Option<String>,
}

impl Called {
    /// As the daemon calls it: what persons and workflows do is no event, so that it has neither the
    /// type of one nor an automation. What the fixture brings counts; without that, the manifest.
    fn of(names: &Names<'_>, event: &Value) -> Called {
        let (manifest, function) = (names.manifest, names.function);
        let payload = &event["payload"];
        let brought = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        let is_brought = |it: &Value| it.as_str().is_some_and(|it| !it.is_empty());
        let has_type = is_brought(&event["execution_metadata"]["event_type"]);
        let no_event = |source: String, operation: Option<String>| Called {
            source,
            automation: String::new(),
            event_type: None,
            operation,
        };
        let by_automation = manifest.automations.iter().any(|it| it.function == function);
        if is_brought(&payload["command_id"]) {
            return no_event(brought(&payload["command_id"]), None);
        }
        if is_brought(&payload["action_id"]) && payload["action"].is_object() {
            return no_event(brought(&payload["action_id"]), None);
        }
        if payload["metadata"]["slug"].is_string() && payload["input_port_name"].is_string() {
            return no_event(String::new(), Some(brought(&payload["metadata"]["slug"])));
        }
        if !by_automation && !has_type {
            if let Some(found) = manifest.operations.iter().find(|it| it.function == function) {
                return no_event(String::new(), Some(found.slug.clone()));
            }
            let is_ordered = manifest.commands.iter().any(|it| it.function == function)
                || manifest.snap_kit_actions.iter().any(|it| it.function == function);
            let handlers = &manifest.configuration_handler;
            let pages = handlers.organization.iter().chain(&handlers.user);
            let is_drawn = manifest
                .snap_components
                .iter()
                .any(|it| it.initializer.as_deref() == Some(function))
                || pages.into_iter().any(|it| it.initializer == function);
            if is_ordered || is_drawn {
                return no_event(String::new(), None);
            }
            if let Some(hook) = manifest.hooks.iter().find(|it| it.function == function) {
                let event_type = match hook.hook_type {
                    HookType::Validate => "hook:snap_in_validate",
                    HookType::Activate => "hook:snap_in_activate",
                    HookType::Deactivate => "hook:snap_in_deactivate",
                    HookType::Update => "hook:snap_in_update",
                };
                let event_type = Some(event_type.to_owned());
                return Called { event_type, ..no_event(SnapInId(1).to_string(), None) };
            }
        }
        let automation = AutomationId(1).to_string();
        let event_type = Some("custom:test".to_owned());
        Called { source: automation.clone(), automation, event_type, operation: None }
    }
}

fn stand_in(names: &Names<'_>, event: &Value) -> Value {
    let manifest = names.manifest;
    let Called { source, automation, event_type, operation } = Called::of(names, event);
    let sources = manifest.event_sources.iter().filter(|it| it.level == Level::Organization);
    let sources: Map<String, Value> =
        sources.map(|it| (it.name.clone(), json!(SourceId(1).to_string()))).collect();
    let tags = manifest.tags.iter();
    let tags: Map<String, Value> =
        tags.map(|it| (it.name.clone(), json!({ "id": TagId(1).to_string() }))).collect();
    let mut stand_in = json!({
        "payload": {},
        "context": {
            "dev_oid": DEV_OID,
            "source_id": source,
            "snap_in_id": SnapInId(1).to_string(),
            "snap_in_version_id": VersionId(1).to_string(),
            "service_account_id": ServiceAccountId(1).to_string(),
            "automation_id": automation,
            "secrets": { "service_account_token": "stand-in-service-account-token" },
        },
        "execution_metadata": {
            "request_id": RunId(1).to_string(),
            "function_name": names.function,
            "devrev_endpoint": format!("http://{NO_DAEMON}/api/v1"),
        },
        "input_data": {
            "global_values": inputs::in_effect(manifest, Level::Organization, &Map::new()),
            "event_sources": sources,
            "keyrings": {},
            "resources": { "keyrings": {}, "tags": tags },
        },
    });
    let about = &mut stand_in["execution_metadata"];
    if let Some(event_type) = event_type {
        about["event_type"] = json!(event_type);
    }
    if let Some(slug) = operation {
        about["operation_slug"] = json!(slug);
    }
    stand_in
}

/// What is in one of the two places of secrets is in the other as well.
fn mirror_keyrings(event: &mut Value) -> Result<(), String> {
    let input = &mut event["input_data"];
    let resources = input["resources"]["keyrings"].as_object().cloned().unwrap_or_default();
    for (name, keyring) in resources {
        let Some(secret) = keyring["secret"].as_str() else {
            return Err(format!(
                "input_data.resources.keyrings.{name}: expected {{\"id\": ..., \"secret\": ...}}"
            ));
        };
        if input["keyrings"].get(&name).is_none() {
            input["keyrings"][name] = json!(secret);
        }
    }
    let keyrings = input["keyrings"].as_object().cloned().unwrap_or_default();
    for (name, secret) in keyrings {
        if !secret.is_string() {
            return Err(format!("input_data.keyrings.{name}: expected a text"));
        }
        if input["resources"]["keyrings"].get(&name).is_none() {
            let id = KeyringId(1).to_string();
            input["resources"]["keyrings"][name] = json!({ "id": id, "secret": secret });
        }
    }
    Ok(())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;

    const MANIFEST: &str = "
version: '2'
name: Example
service_account: {display_name: Bot}
inputs:
  organization:
    - {name: greeting, field_type: text, default_value: hello}
    - {name: level, field_type: text, is_required: true}
keyrings:
  organization:
    - {name: token, types: [snap_in_secret], description: It}
tags:
  - {name: seen, description: It}
functions:
  - {name: greet, description: It}
  - {name: order, description: It}
  - {name: work, description: It}
  - {name: enter, description: It}
commands:
  - {name: go, namespace: example, description: It., surfaces: [{surface: discussions}], function: order}
operations:
  - {name: Do, slug: do, description: It., type: action, function: work}
hooks:
  - {type: activate, function: enter}
";

    fn completed(event: Value) -> Result<Completed, String> {
        completed_for("greet", event)
    }

    fn completed_for(function: &str, event: Value) -> Result<Completed, String> {
        let parsed = manifest::parse(MANIFEST);
        let manifest = parsed.manifest.unwrap_or_else(|| panic!("{:?}", parsed.problems));
        complete(event, &Names { manifest: &manifest, function })
    }

    #[test]
    fn only_what_is_an_event_has_the_type_of_one() {
        for (function, event, event_type, slug) in [
            ("greet", json!({}), json!("custom:test"), Value::Null),
            ("order", json!({}), Value::Null, Value::Null),
            ("work", json!({}), Value::Null, json!("do")),
            ("enter", json!({}), json!("hook:snap_in_activate"), Value::Null),
            ("greet", json!({ "payload": { "command_id": "c" } }), Value::Null, Value::Null),
            (
                "greet",
                json!({ "payload": { "action_id": "a", "action": {} } }),
                Value::Null,
                Value::Null,
            ),
            (
                "order",
                json!({ "execution_metadata": { "event_type": "custom:own" } }),
                json!("custom:own"),
                Value::Null,
            ),
        ] {
            let what = format!("{function} {event}");
            let event = completed_for(function, event).expect("it is an event").event;
            let about = &event["execution_metadata"];
            assert_eq!(
                (&about["event_type"], &about["operation_slug"]),
                (&event_type, &slug),
                "{what}"
            );
            let has_automation = event["context"]["automation_id"] != "";
            let is_event = about["event_type"].as_str().is_some_and(|it| it.starts_with("custom:"));
            assert_eq!(has_automation, is_event, "{what}");
        }
    }

    #[test]
    fn fixtures_are_events_or_lists_of_them() {
        assert_eq!(read("{}"), Ok(vec![json!({})]));
        assert_eq!(read("[{}, {}]").map(|it| it.len()), Ok(2));
        for (text, hint) in [
            ("", "no JSON"),
            ("[]", "holds no event"),
            ("7", "and not a number"),
            ("[{}, []]", "[1]: an event is an object, and not a list"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn what_is_left_out_is_filled_and_said() {
        let Completed { event, filled, notes } = completed(json!({})).expect("it is an event");
        assert_eq!(event["input_data"]["global_values"], json!({ "greeting": "hello" }));
        assert!(event["input_data"]["resources"]["tags"]["seen"]["id"].is_string());
        assert_eq!(event["execution_metadata"]["function_name"], "greet");
        assert_eq!(filled, ["context", "execution_metadata", "input_data", "payload"]);
        assert_eq!(notes.len(), 3, "{notes:?}");
        assert!(notes[1].contains("--keyring token=@FILE"), "{notes:?}");
        assert!(notes[2].contains("--set level=VALUE"), "{notes:?}");

        let again = completed(event.clone()).expect("it is complete");
        assert_eq!((again.event, again.filled), (event, Vec::new()));
    }

    #[test]
    fn what_is_there_stays() {
        let event = json!({
            "payload": { "context": null },
            "context": { "dev_oid": "DEV-1", "more": [1] },
            "execution_metadata": { "function_name": "other" },
            "input_data": { "keyrings": { "token": "abc" }, "global_values": { "level": "low" } },
        });
        let Completed { event, notes, .. } = completed(event).expect("it is an event");
        assert_eq!(event["payload"], json!({ "context": null }));
        assert_eq!(event["context"]["dev_oid"], "DEV-1");
        assert_eq!(event["context"]["more"], json!([1]));
        assert_eq!(event["input_data"]["resources"]["keyrings"]["token"]["secret"], "abc");
        assert_eq!(event["input_data"]["global_values"]["greeting"], "hello");
        assert!(notes.iter().any(|it| it.contains("names function \"other\"; greet is run")));
    }

    #[test]
    fn old_fixtures_have_null_and_resources_alone() {
        let event = json!({
            "payload": null,
            "input_data": {
                "keyrings": null,
                "resources": { "keyrings": { "token": { "id": "k", "secret": "abc" } } },
            },
        });
        let Completed { event, .. } = completed(event).expect("it is an event");
        assert_eq!(event["payload"], Value::Null);
        assert_eq!(event["input_data"]["keyrings"], json!({ "token": "abc" }));
        for (event, hint) in [
            (json!({ "context": 7 }), "context: expected an object, and not a number"),
            (json!({ "input_data": { "keyrings": { "a": 1 } } }), "keyrings.a: expected a text"),
        ] {
            let error = completed(event).expect_err("it is none");
            assert!(error.contains(hint), "{error}");
        }
    }
}
