//! `mortise snap-in set`, `activate`, `deactivate` and `delete`: changes of what is installed.

use serde_json::{Map, Value, json};

use super::arguments::{Set, ValueOptions};
use super::fill::{self, Keyrings};
use super::given::Given;
use super::origin::read_manifest;
use super::upgrade::get;
use super::{finish, settle};
use crate::cli::Failure;
use crate::cli::connection::Client;
use crate::cli::show;
use crate::model::manifest::{Level, Manifest};

/// Sets what was given.
pub(super) fn set(client: &Client, as_json: bool, options: &Set) -> Result<(), Failure> {
    let values = ValueOptions {
        set: [options.inputs.clone(), options.set.clone()].concat(),
        keyring: options.keyring.clone(),
        values: options.values.clone(),
    };
    let given = Given::read(&values)?;
    let snap_in = get(client, &options.snap_in)?;
    let manifest = manifest_of(client, &snap_in)?;
    let mut wrong = fill::unknown_keyrings(&manifest, &given);
    let mut changes = match given.values(&manifest, Level::Organization) {
        Ok(changes) => changes,
        Err(more) => {
            wrong.splice(0..0, more);
            Map::new()
        }
    };
    for name in &options.unset {
        if changes.insert(name.clone(), Value::Null).is_some() {
            wrong.push(format!("{name}: is both set and unset"));
        }
    }
    if changes.is_empty() && given.keyrings.is_empty() && wrong.is_empty() {
        wrong.push("give at least one NAME=VALUE, --unset, --keyring or --values".to_owned());
    }
    if !wrong.is_empty() {
        return Err(Failure::usage(wrong.join("\n")));
    }
    if !changes.is_empty() {
        let parameters = json!({ "id": snap_in["id"], "inputs_values": changes });
        client.slow_call("changing inputs", "snap-ins.update", &parameters)?;
    }
    let id = snap_in["id"].as_str().unwrap_or_default();
    let package = snap_in["package"].as_str().unwrap_or_default();
    let keyrings = Keyrings { client, manifest: &manifest, snap_in: id, package, version: None };
    if let Err(mut failure) = keyrings.set_given(&given) {
        if !changes.is_empty() {
            failure.message.push_str("\nthe inputs were changed");
        }
        return Err(failure);
    }
    let after = get(client, id)?;
    if as_json {
        return show::print(&format!("{:#}", json!({ "snap_in": after })));
    }
    show::print(&changed(&after, &changes, &given))
}

/// Activates it, or takes it out of service, and waits.
pub(super) fn step(
    client: &Client,
    as_json: bool,
    verb: &str,
    mut parameters: Value,
) -> Result<(), Failure> {
    let what = match verb {
        "activate" => "activating",
        "deactivate" => "deactivating",
        _ => "deleting",
    };
    parameters["wait_seconds"] = json!(settle::WAIT_SECONDS);
    let answer = client.slow_call(what, &format!("snap-ins.{verb}"), &parameters)?;
    let snap_in = settle::settled(client, what, answer)?;
    if as_json {
        show::print(&format!("{:#}", json!({ "snap_in": snap_in })))?;
        return settle::refuse_error(&snap_in);
    }
    if snap_in["state"] == "ACTIVE" {
        return finish::report(client, false, &snap_in["id"], false);
    }
    settle::refuse_error(&snap_in)?;
    let of = |key: &str| show::plain(snap_in[key].as_str().unwrap_or_default());
    show::print(&format!("{} is {}", of("scope"), of("state")))
}

/// The manifest of the version that a snap-in is of.
pub(super) fn manifest_of(client: &Client, snap_in: &Value) -> Result<Manifest, Failure> {
    let version = client.call("versions.get", &json!({ "id": snap_in["version"] }))?;
    match version["manifest"].as_str() {
        Some(text) => read_manifest(text),
        // Whoever may only look is not shown it: there may be secrets in it.
        None => Ok(Manifest::default()),
    }
}

/// What was changed, with the values now.
fn changed(after: &Value, changes: &Map<String, Value>, given: &Given) -> String {
    let inputs = after["inputs"].as_array().cloned().unwrap_or_default();
    let mut lines = Vec::new();
    for name in changes.keys() {
        let input = inputs.iter().find(|it| it["name"] == name.as_str());
        let Some(input) = input else { continue };
        let value = match &input["value"] {
            Value::Null => "not set".to_owned(),
            value => super::ask::shown(value),
        };
        let origin = if input["is_set"] == true { "" } else { " (default)" };
        lines.push(format!("{name} = {}{origin}", show::plain(&value)));
    }
    lines.extend(given.keyrings.keys().map(|name| format!("keyring {name} is set")));
    lines.join("\n")
}
