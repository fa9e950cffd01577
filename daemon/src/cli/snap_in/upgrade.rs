//! `mortise snap-in upgrade` and `rollback`: the plan first, then the move.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::arguments::{Rollback, Source, Upgrade};
use super::configure::manifest_of;
use super::fill::{self, Keyrings, Wanted};
use super::given::Given;
use super::install::developer_keyrings;
use super::needs::{Needs, Present};
use super::origin::{self, Origin};
use super::{ask, finish, settle};
use crate::cli::Failure;
use crate::cli::connection::Client;
use crate::cli::show::{self, heading, plain};
use crate::cli::terminal::{Dialogue, Terminal};
use crate::configuration::plan::upgrade_with;
use crate::connections::types;
use crate::model::manifest::{Level, Manifest};

/// Moves a snap-in to another version.
pub(super) fn upgrade(client: &Client, as_json: bool, options: &Upgrade) -> Result<(), Failure> {
    let given = Given::read(&options.values)?;
    let snap_in = get(client, &options.snap_in)?;
    let (version, is_new) = version_for(client, &snap_in, options)?;
    let number = version["version"]["number"].clone();
    if version["version"]["id"] == snap_in["version"] {
        if !as_json {
            eprintln!("{} is of version {number} already", shown(&snap_in["scope"]));
        }
        return finish::report(client, as_json, &snap_in["id"], false);
    }
    let manifest = origin::read_manifest(version["manifest"].as_str().unwrap_or_default())?;
    let planned = plan(client, &snap_in, &version["version"]["id"])?;
    let mut shown_plan = planned.clone();
    shown_plan["lines"] = json!(upgrade_lines(&planned, &given, options));
    let is_other = is_another(&manifest_of(client, &snap_in)?, &manifest);
    if is_other && let Some(lines) = shown_plan["lines"].as_array_mut() {
        lines.insert(0, json!(ANOTHER));
    }
    if options.plan {
        let plan = if as_json { format!("{planned:#}") } else { plan_text(&shown_plan) };
        show::print(&plan)?;
        return if is_new { forget(client, &version["version"]) } else { Ok(()) };
    }
    let mut person = Terminal::open();
    let title = format!("From version {} to {number}", snap_in["version_number"]);
    say_plan(&mut person, as_json, &title, &shown_plan)?;
    if is_other && !options.force && (options.yes || person.is_none()) {
        if is_new {
            forget(client, &version["version"])?;
        }
        let message = format!("{ANOTHER}\nnothing was changed: if it is meant, say --force");
        return Err(Failure::refused(message));
    }
    let mut changes = checked_values(&manifest, &given)?;
    let package = shown(&snap_in["package"]);
    let present = given_to(client, &given, &changes, &package)?;
    // The daemon also knows values of versions before.
    let needs = Needs::told(&manifest, &planned["plan"]["missing"], &present);
    // A snap-in that does not function may lack things.
    let must_be_whole = snap_in["state"] == "ACTIVE";
    match &mut person {
        Some(person) => {
            for input in &needs.inputs {
                if let Some(answer) = ask::for_input(person, input, None)? {
                    changes.insert(input.name.clone(), answer);
                }
            }
        }
        None if must_be_whole && !needs.is_empty() => {
            let lines = needs.lines(&manifest, &shown(&snap_in["scope"]));
            let message = format!("something is missing then:\n  {}", lines.join("\n  "));
            return Err(Failure::usage(message));
        }
        None => {}
    }
    let wanted = missing_keyrings(&planned);
    let is_stopped = must_be_whole && {
        let present = client.call("versions.get", &json!({ "id": snap_in["version"] }))?;
        let present = origin::read_manifest(present["manifest"].as_str().unwrap_or_default())?;
        wanted.iter().any(|name| is_in_use(&present, &manifest, name))
    };
    let question = match is_stopped {
        true => "It is deactivated until its new keyrings are set. Upgrade it?",
        false => "Upgrade it?",
    };
    agree(&mut person, options.yes, question)?;
    let keyrings = Keyrings {
        client,
        manifest: &manifest,
        snap_in: &shown(&snap_in["id"]),
        package: &package,
        version: None,
    };
    let move_it = Move {
        client,
        snap_in: &snap_in,
        name: "snap-ins.upgrade",
        parameters: json!({
            "id": snap_in["id"], "version": version["version"]["id"], "inputs_values": changes,
            "wait_seconds": settle::WAIT_SECONDS,
        }),
    };
    let steps = Steps { move_it, keyrings, given: &given, present };
    if is_stopped {
        steps.with_a_stop(&mut person)?;
    } else if must_be_whole {
        let version = shown(&version["version"]["id"]);
        steps.in_place(&mut person, &version, &planned["plan"]["missing"], &wanted)?;
    } else {
        steps.go(&mut person)?;
    }
    finish::report(client, as_json, &snap_in["id"], false)
}

/// Names of the keyrings that are missing after the upgrade.
fn missing_keyrings(planned: &Value) -> BTreeSet<String> {
    let missing = planned["plan"]["missing"].as_array().into_iter().flatten();
    let keyrings = missing.filter(|it| it["kind"] == "keyring");
    keyrings.filter_map(|it| it["name"].as_str()).map(str::to_owned).collect()
}

/// Whether the present version uses a keyring of this name as something else, so that it cannot go
/// on with what the next one wants.
fn is_in_use(present: &Manifest, next: &Manifest, name: &str) -> bool {
    let of_organization = |manifest: &'_ Manifest| {
        let found = manifest.keyring(name).filter(|it| it.level == Level::Organization);
        found.map(|it| it.types.clone())
    };
    let (Some(used), Some(wanted)) = (of_organization(present), of_organization(next)) else {
        return false;
    };
    !wanted.iter().all(|id| used.contains(id) && types::find(present, id) == types::find(next, id))
}

/// Moves a snap-in back.
pub(super) fn rollback(client: &Client, as_json: bool, options: &Rollback) -> Result<(), Failure> {
    let snap_in = get(client, &options.snap_in)?;
    let version = match &options.version {
        Some(text) => stored(client, &snap_in, &Origin::of(text))?["version"]["id"].clone(),
        None => last_version(&snap_in)?,
    };
    let planned = plan(client, &snap_in, &version)?;
    let mut person = Terminal::open();
    say_plan(&mut person, as_json, "Back to an earlier version", &planned)?;
    agree(&mut person, options.yes, "Roll it back?")?;
    let move_it = Move {
        client,
        snap_in: &snap_in,
        name: "snap-ins.rollback",
        parameters: json!({
            "id": snap_in["id"], "version": version, "wait_seconds": settle::WAIT_SECONDS,
        }),
    };
    move_it.go("rolling back")?;
    finish::report(client, as_json, &snap_in["id"], false)
}

/// The call that moves it.
struct Move<'a> {
    client: &'a Client,
    snap_in: &'a Value,
    name: &'static str,
    parameters: Value,
}

impl Move<'_> {
    fn go(&self, what: &str) -> Result<(), Failure> {
        let answer = self.client.slow_call(what, self.name, &self.parameters)?;
        settle::settled(self.client, what, answer).map(drop)
    }
}

/// The move, and the keyrings that only the other version has.
struct Steps<'a> {
    move_it: Move<'a>,
    keyrings: Keyrings<'a>,
    given: &'a Given,
    present: Present,
}

impl Steps<'_> {
    fn go(&self, person: &mut Option<Terminal>) -> Result<(), Failure> {
        self.move_it.go("upgrading")?;
        self.keyrings.set_given(self.given)?;
        let Some(person) = person else { return Ok(()) };
        let now = get(self.move_it.client, self.keyrings.snap_in)?;
        let needs = Needs::told(self.keyrings.manifest, &now["missing"], &self.present);
        self.keyrings.ask(person, &Wanted::from(needs))
    }

    /// Its new keyrings first, then the move: it takes events all the time.
    fn in_place(
        &self,
        person: &mut Option<Terminal>,
        version: &str,
        missing: &Value,
        wanted: &BTreeSet<String>,
    ) -> Result<(), Failure> {
        let ahead = Keyrings { version: Some(version), ..self.keyrings };
        let is_ahead =
            |name: &str| wanted.contains(name) || ahead.manifest.developer_keyring(name).is_some();
        ahead.set_some_given(self.given, is_ahead)?;
        if let Some(person) = person {
            let needs = Needs::told(ahead.manifest, missing, &self.present);
            ahead.ask(person, &Wanted::from(needs))?;
        }
        self.move_it.go("upgrading")?;
        self.keyrings.set_some_given(self.given, |name| !is_ahead(name))
    }

    /// A keyring that the present version uses as something else is set after the move, so an active
    /// snap-in stops for a moment: the other version, its keyrings, and on.
    fn with_a_stop(&self, person: &mut Option<Terminal>) -> Result<(), Failure> {
        self.step("deactivate", "deactivating until its new keyrings are set")?;
        let done = self.go(person).and_then(|()| self.step("activate", "activating"));
        done.map_err(|mut failure| {
            let scope = shown(&self.move_it.snap_in["scope"]);
            failure.message.push_str(&format!(
                "\nit is INACTIVE now. Mend it and go on: mortise snap-in activate {scope}; or go \
                 back: mortise snap-in rollback {scope}"
            ));
            failure
        })
    }

    fn step(&self, verb: &str, what: &str) -> Result<(), Failure> {
        let client = self.move_it.client;
        let parameters =
            json!({ "id": self.move_it.snap_in["id"], "wait_seconds": settle::WAIT_SECONDS });
        let answer = client.slow_call(what, &format!("snap-ins.{verb}"), &parameters)?;
        settle::refuse_error(&settle::settled(client, what, answer)?)
    }
}

/// A snap-in with its configuration.
pub(super) fn get(client: &Client, text: &str) -> Result<Value, Failure> {
    Ok(client.call("snap-ins.get", &json!({ "id": text }))?["snap_in"].clone())
}

/// What to say of an upgrade to something that has nothing in common.
const ANOTHER: &str =
    "! this looks like another snap-in: its manifest has another name, and no function in common";

fn is_another(before: &Manifest, after: &Manifest) -> bool {
    let has = |name: &str| after.functions.iter().any(|it| it.name == name);
    before.name != after.name && !before.functions.iter().any(|it| has(&it.name))
}

/// The lines of a plan for somebody who gives values together with the upgrade: what he gives is
/// not missing, and what he does not give can be given so.
fn upgrade_lines(planned: &Value, given: &Given, options: &Upgrade) -> Vec<String> {
    let lines = planned["lines"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut lines: Vec<String> =
        lines.filter(|it| !it.starts_with('!')).map(str::to_owned).collect();
    for missing in planned["plan"]["missing"].as_array().into_iter().flatten() {
        let of = |key: &str| missing[key].as_str().unwrap_or_default();
        let (kind, name) = (of("kind"), of("name"));
        let is_input = kind == "input";
        let is_given = match is_input {
            true => given.inputs.contains_key(name),
            false => given.keyrings.contains_key(name),
        };
        if is_given {
            continue;
        }
        let command = match is_input {
            true => upgrade_with(&options.snap_in, &options.to, name),
            false => of("command").to_owned(),
        };
        lines.push(format!("! {kind} `{name}` {}: {command}", of("message")));
    }
    lines
}

/// Deletes a version that was made to be looked at.
fn forget(client: &Client, version: &Value) -> Result<(), Failure> {
    let forgotten = client.try_call("versions.delete", &json!({ "id": version["id"] }))?;
    if forgotten.is_err() {
        // Somebody has used it meanwhile, or may not delete it.
        eprintln!("version {} was created for the plan, and stays", version["number"]);
    }
    Ok(())
}

/// The version to move to, and whether it was made for it.
fn version_for(
    client: &Client,
    snap_in: &Value,
    options: &Upgrade,
) -> Result<(Value, bool), Failure> {
    let origin = Origin::of(&options.to);
    match origin {
        Origin::Version(_) | Origin::Number(_) => Ok((stored(client, snap_in, &origin)?, false)),
        Origin::Path(path) if !options.to.contains("://") && !path.exists() => {
            let versions = versions_of(client, snap_in)?;
            Err(Failure::refused(format!(
                "there is no directory and no file {}, nor is it a version of {} ({})",
                path.display(),
                shown(&snap_in["package_slug"]),
                numbers(&versions)
            )))
        }
        Origin::Path(_) | Origin::Url(_) => {
            let source = Source {
                sha256: options.sha256.clone(),
                testing_url: options.testing_url.clone(),
                ..Source::of(&options.to)
            };
            let looked = origin::look(client, &source)?;
            for warning in &looked.warnings {
                eprintln!("{}", plain(warning));
            }
            let package = shown(&snap_in["package"]);
            let before = versions_of(client, snap_in)?;
            let created = origin::create(client, looked.upload, &package)?;
            let id = &created["version"]["id"];
            let is_new = !before.iter().any(|it| it["id"] == *id);
            Ok((client.call("versions.get", &json!({ "id": id }))?, is_new))
        }
    }
}

/// A version that is there, with its manifest.
fn stored(client: &Client, snap_in: &Value, origin: &Origin) -> Result<Value, Failure> {
    let number = match origin {
        Origin::Version(id) => return client.call("versions.get", &json!({ "id": id })),
        Origin::Number(number) => *number,
        Origin::Path(_) | Origin::Url(_) => {
            return Err(Failure::usage("expected the id or the number of a version"));
        }
    };
    let versions = versions_of(client, snap_in)?;
    match versions.iter().find(|it| it["number"] == number) {
        Some(found) => client.call("versions.get", &json!({ "id": found["id"] })),
        None => Err(Failure::refused(format!(
            "{} has no version {number} (allowed: {})",
            shown(&snap_in["package_slug"]),
            numbers(&versions)
        ))),
    }
}

fn versions_of(client: &Client, snap_in: &Value) -> Result<Vec<Value>, Failure> {
    client.list_all("versions.list", "versions", &json!({ "package": snap_in["package"] }))
}

fn numbers(versions: &[Value]) -> String {
    let numbers: Vec<String> = versions.iter().map(|it| it["number"].to_string()).collect();
    numbers.join(", ")
}

/// Where a rollback leads that names no version: the daemon knows the way that was come.
fn last_version(snap_in: &Value) -> Result<Value, Failure> {
    match &snap_in["rollback_version"] {
        Value::Null => {
            let scope = shown(&snap_in["scope"]);
            Err(Failure::refused(format!(
                "{scope} has no earlier version to go back to; name one with its id or number"
            )))
        }
        version => Ok(version.clone()),
    }
}

fn plan(client: &Client, snap_in: &Value, version: &Value) -> Result<Value, Failure> {
    client.call("snap-ins.plan-upgrade", &json!({ "id": snap_in["id"], "version": version }))
}

fn plan_text(planned: &Value) -> String {
    let lines = planned["lines"].as_array().into_iter().flatten();
    let lines: Vec<String> = lines.map(|it| format!("  {}", shown(it))).collect();
    if lines.is_empty() {
        "  nothing that is declared changes".to_owned()
    } else {
        lines.join("\n")
    }
}

/// The plan goes where the question goes; a script that wants JSON asked for no plan.
fn say_plan(
    person: &mut Option<Terminal>,
    as_json: bool,
    title: &str,
    planned: &Value,
) -> Result<(), Failure> {
    let text = format!("{}\n{}", heading(title), plan_text(planned));
    match person {
        Some(person) => person.say(&text),
        None if as_json => Ok(()),
        None => show::print(&text),
    }
}

/// Nothing is moved without a word of agreement.
fn agree(person: &mut Option<Terminal>, yes: bool, question: &str) -> Result<(), Failure> {
    match person {
        _ if yes => Ok(()),
        Some(person) => match ask::confirm(person, question, false)? {
            true => Ok(()),
            false => Err(Failure::refused("nothing was changed")),
        },
        None => Err(Failure::usage("nothing was changed: look at the plan, and say --yes")),
    }
}

fn checked_values(manifest: &Manifest, given: &Given) -> Result<Map<String, Value>, Failure> {
    let wrong = fill::unknown_keyrings(manifest, given);
    match given.values(manifest, Level::Organization) {
        Ok(values) if wrong.is_empty() => Ok(values),
        Ok(_) => Err(Failure::usage(wrong.join("\n"))),
        Err(more) => Err(Failure::usage([more, wrong].concat().join("\n"))),
    }
}

/// What was given, as what will be there.
fn given_to(
    client: &Client,
    given: &Given,
    changes: &Map<String, Value>,
    package: &str,
) -> Result<Present, Failure> {
    let mut present = Present {
        inputs: changes.clone(),
        keyrings: given.keyrings.keys().cloned().collect(),
        developer_keyrings: developer_keyrings(client, package)?,
    };
    present.developer_keyrings.extend(given.keyrings.keys().cloned());
    Ok(present)
}

fn shown(value: &Value) -> String {
    plain(value.as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_its_lines() {
        let planned = json!({ "plan": {}, "lines": ["+ input level", "- function old"] });
        assert_eq!(plan_text(&planned), "  + input level\n  - function old");
        assert!(plan_text(&json!({ "lines": [] })).contains("nothing"));
    }
}
