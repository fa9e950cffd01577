//! `mortise snap-in enable`, `disable`, `set-user` and `show-user`: what each person sets for himself.

use serde_json::{Map, Value, json};

use super::arguments::{Enable, SetUser, ValueOptions};
use super::ask;
use super::configure::manifest_of;
use super::given::Given;
use super::upgrade::get;
use crate::cli::Failure;
use crate::cli::connection::{Client, Refusal};
use crate::cli::show::{self, heading, missing_thing, plain};
use crate::cli::terminal::Terminal;
use crate::model::manifest::{Level, Manifest};

/// Enables it; asks on a terminal for what the daemon finds missing or wrong.
pub(super) fn enable(client: &Client, as_json: bool, options: &Enable) -> Result<(), Failure> {
    let snap_in = get(client, &options.snap_in)?;
    let manifest = manifest_of(client, &snap_in)?;
    let mut changes = values(&manifest, &options.set, &[])?;
    let mut person = Terminal::open();
    loop {
        let mut parameters = whose(&snap_in, options.user.as_deref());
        parameters.insert("inputs_values".to_owned(), json!(changes));
        let asked = Value::Object(parameters);
        let refusal = match client.try_slow_call("enabling", "snap-ins.enable", &asked)? {
            Ok(answer) => return report(as_json, &answer["snap_in_user"]),
            Err(refusal) => refusal,
        };
        let names = refused_inputs(&refusal);
        let (Some(person), false) = (&mut person, names.is_empty()) else {
            return Err(refusal.into());
        };
        let mut was_asked = false;
        for input in manifest.inputs.iter().filter(|it| it.level == Level::User) {
            if names.contains(&input.name) {
                let value = ask::for_input(person, input, input.default_value.as_ref())?;
                changes.insert(input.name.clone(), value.unwrap_or_default());
                was_asked = true;
            }
        }
        if !was_asked {
            return Err(refusal.into());
        }
    }
}

/// The inputs that a refusal is about: missing, or wrong.
fn refused_inputs(refusal: &Refusal) -> Vec<String> {
    let list = |key: &str| refusal.answer[key].as_array().cloned().unwrap_or_default();
    let missing = list("missing").into_iter().filter(|it| it["kind"] == "input");
    let missing = missing.filter_map(|it| it["name"].as_str().map(str::to_owned));
    // `days[2]` is about `days`.
    let first = |text: &str| text.split('[').next().unwrap_or_default().to_owned();
    let wrong = list("inputs").into_iter().filter_map(|it| it["input"].as_str().map(first));
    missing.chain(wrong).collect()
}

/// Disables it.
pub(super) fn disable(
    client: &Client,
    as_json: bool,
    snap_in: &str,
    user: Option<&str>,
) -> Result<(), Failure> {
    let parameters = Value::Object(whose(&get(client, snap_in)?, user));
    let answer = client.slow_call("disabling", "snap-ins.disable", &parameters)?;
    report(as_json, &answer["snap_in_user"])
}

/// Changes inputs.
pub(super) fn set(client: &Client, as_json: bool, options: &SetUser) -> Result<(), Failure> {
    let snap_in = get(client, &options.snap_in)?;
    let manifest = manifest_of(client, &snap_in)?;
    let set = [options.inputs.clone(), options.set.clone()].concat();
    let changes = values(&manifest, &set, &options.unset)?;
    if changes.is_empty() {
        return Err(Failure::usage("give at least one NAME=VALUE or --unset NAME"));
    }
    let mut parameters = whose(&snap_in, options.user.as_deref());
    parameters.insert("inputs_values".to_owned(), Value::Object(changes));
    let parameters = Value::Object(parameters);
    let answer = client.slow_call("changing inputs", "snap-ins.update-user", &parameters)?;
    report(as_json, &answer["snap_in_user"])
}

/// Shows what a person has set.
pub(super) fn show(
    client: &Client,
    as_json: bool,
    snap_in: &str,
    user: Option<&str>,
) -> Result<(), Failure> {
    let parameters = Value::Object(whose(&get(client, snap_in)?, user));
    let answer = client.call("snap-ins.get-user", &parameters)?;
    report(as_json, &answer["snap_in_user"])
}

fn whose(snap_in: &Value, user: Option<&str>) -> Map<String, Value> {
    let mut parameters = Map::new();
    parameters.insert("id".to_owned(), snap_in["id"].clone());
    if let Some(user) = user {
        parameters.insert("user".to_owned(), json!(user));
    }
    parameters
}

fn values(
    manifest: &Manifest,
    set: &[String],
    unset: &[String],
) -> Result<Map<String, Value>, Failure> {
    let options = ValueOptions { set: set.to_vec(), ..ValueOptions::default() };
    let given = Given::read(&options)?;
    let mut values =
        given.values(manifest, Level::User).map_err(|wrong| Failure::usage(wrong.join("\n")))?;
    values.extend(unset.iter().map(|name| (name.clone(), Value::Null)));
    Ok(values)
}

fn report(as_json: bool, user: &Value) -> Result<(), Failure> {
    if as_json {
        return show::print(&format!("{:#}", json!({ "snap_in_user": user })));
    }
    show::print(&text(user, heading))
}

fn text(user: &Value, heading: impl Fn(&str) -> String) -> String {
    let of = |value: &Value, key: &str| plain(value[key].as_str().unwrap_or_default());
    let list = |key: &str| user[key].as_array().cloned().unwrap_or_default();
    let state = if user["enabled"] == true { "enabled" } else { "not enabled" };
    let mut lines = vec![heading(&format!("{}: {state}", of(&user["user"], "name")))];
    for input in list("inputs").iter().filter(|it| it["is_hidden"] != true) {
        let value = match &input["value"] {
            Value::Null => "not set".to_owned(),
            value => plain(&ask::shown(value)),
        };
        let origin = if input["is_set"] == true { "" } else { " (default)" };
        let origin = if input["value"].is_null() { "" } else { origin };
        lines.push(format!("  input {} = {value}{origin}", of(input, "name")));
    }
    for keyring in list("keyrings") {
        let (name, state) = (of(&keyring, "name"), of(&keyring, "state"));
        let reason = match keyring["reason"].as_str() {
            Some(reason) => format!(": {}", plain(reason)),
            None => String::new(),
        };
        lines.push(format!("  keyring {name} is {state}{reason}"));
    }
    for source in list("event_sources") {
        lines.push(format!("  event source {}", of(&source, "name")));
        lines.push(format!("      {}", of(&source, "trigger_url")));
    }
    lines.extend(list("missing").iter().map(|it| format!("  missing: {}", missing_thing(it))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_has_set() {
        let user = json!({
            "user": { "id": "usr_1", "name": "ada" }, "enabled": true,
            "inputs": [
                { "name": "a", "value": ["x", "y"], "is_set": true },
                { "name": "b", "value": true, "is_set": false },
                { "name": "c", "is_set": false },
                { "name": "d", "value": 1, "is_set": true, "is_hidden": true },
            ],
            "keyrings": [{ "name": "own", "state": "broken", "reason": "revoked" }],
            "event_sources": [{ "name": "mine", "trigger_url": "https://h/hooks/t" }],
            "missing": [],
        });
        assert_eq!(
            text(&user, str::to_owned),
            "ada: enabled\n  input a = x, y\n  input b = yes (default)\n  input c = not set\n  \
             keyring own is broken: revoked\n  event source mine\n      https://h/hooks/t"
        );
    }
}
