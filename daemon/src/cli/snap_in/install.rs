//! `mortise snap-in install`: from something that somebody else wrote to a snap-in that functions.
//! Nothing is created before everything that can be known is known; the same command again goes on
//! where it stopped, and changes nothing when there is nothing left to do.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::arguments::Install;
use super::fill::{self, Keyrings, Thoroughness, Wanted};
use super::given::Given;
use super::needs::{Needs, Present};
use super::origin::{self, Looked};
use super::{ask, finish, overview, settle};
use crate::cli::Failure;
use crate::cli::connection::Client;
use crate::cli::show::plain;
use crate::cli::terminal::{Dialogue, Terminal};
use crate::model::manifest::Level;
use crate::model::scope::{Scope, is_segment};

/// Installs, or goes on with an installation.
pub(super) fn install(client: &Client, as_json: bool, options: &Install) -> Result<(), Failure> {
    let given = Given::read(&options.values)?;
    let looked = origin::look(client, &options.source)?;
    let package = package_of(options, &looked)?;
    let scope = scope_of(options, &package)?;
    let wrong = fill::unknown_keyrings(&looked.manifest, &given);
    let values = match given.values(&looked.manifest, Level::Organization) {
        Ok(values) if wrong.is_empty() => values,
        Ok(_) => return Err(Failure::usage(wrong.join("\n"))),
        Err(more) => return Err(Failure::usage([more, wrong].concat().join("\n"))),
    };
    let installation = Installation {
        client,
        as_json,
        options,
        looked,
        package,
        scope,
        given,
        values,
        person: Terminal::open(),
    };
    let asked = json!({ "id": installation.scope });
    match client.try_call("snap-ins.get", &asked)? {
        Ok(found) => installation.again(found["snap_in"].clone()),
        Err(refusal) if refusal.is_not_found() => installation.anew(),
        Err(refusal) => Err(refusal.into()),
    }
}

fn package_of(options: &Install, looked: &Looked) -> Result<String, Failure> {
    if let Some(package) = &options.package {
        return Ok(package.clone());
    }
    let from_name = looked.manifest.name.as_deref().and_then(origin::slug_of);
    let file = Path::new(options.source.shown()).file_stem().and_then(|it| it.to_str());
    from_name.or_else(|| origin::slug_of(file?)).ok_or_else(|| {
        Failure::usage("the manifest has no name that a package can have: name it with --package")
    })
}

fn scope_of(options: &Install, package: &str) -> Result<String, Failure> {
    match &options.scope {
        Some(text) => {
            let scope: Scope =
                text.parse().map_err(|error: crate::model::scope::InvalidScope| {
                    Failure::usage(error.to_string())
                })?;
            Ok(scope.as_str().to_owned())
        }
        None if is_segment(package) => Ok(format!("default/default/{package}")),
        None => Err(Failure::usage("name a place for the snap-in with --scope")),
    }
}

struct Installation<'a> {
    client: &'a Client,
    as_json: bool,
    options: &'a Install,
    looked: Looked,
    /// Id or slug.
    package: String,
    scope: String,
    given: Given,
    /// Of inputs, as given.
    values: Map<String, Value>,
    /// Somebody to ask, if there is one.
    person: Option<Terminal>,
}

impl Installation<'_> {
    fn thoroughness(&self) -> Thoroughness {
        if self.options.yes { Thoroughness::Missing } else { Thoroughness::Everything }
    }

    /// Nothing is at the scope yet.
    fn anew(mut self) -> Result<(), Failure> {
        for warning in &self.looked.warnings {
            eprintln!("{}", plain(warning));
        }
        let existing = self.client.try_call("packages.get", &json!({ "id": self.package }))?;
        let has_package = match existing {
            Ok(_) => true,
            Err(refusal) if refusal.is_not_found() => false,
            Err(refusal) => return Err(refusal.into()),
        };
        let mut present = Present {
            inputs: self.values.clone(),
            keyrings: self.given.keyrings.keys().cloned().collect(),
            developer_keyrings: self.given.keyrings.keys().cloned().collect(),
        };
        if has_package {
            present.developer_keyrings.extend(developer_keyrings(self.client, &self.package)?);
        }
        if let Some(mut person) = self.person.take() {
            person.say(&plain(&overview::text(&self.looked.manifest, &self.scope)))?;
            let thoroughness = self.thoroughness();
            let manifest = &self.looked.manifest;
            let none = Map::new();
            let answers =
                fill::ask_inputs(&mut person, manifest, &none, &self.values, thoroughness)?;
            self.values.extend(answers);
            let question = format!("\nInstall it at {}?", self.scope);
            if !self.options.yes && !ask::confirm(&mut person, &question, true)? {
                return Err(Failure::refused("nothing was installed"));
            }
            self.person = Some(person);
        } else {
            self.refuse_what_is_missing(&present)?;
        }
        if !has_package {
            let description = self.looked.manifest.description.clone().unwrap_or_default();
            let parameters = json!({ "slug": self.package, "description": description });
            self.client.call("packages.create", &parameters)?;
        }
        let version = origin::create(self.client, self.looked.upload.clone(), &self.package)?;
        let snap_in = self.create_snap_in(&version["version"]["id"])?;
        self.complete(snap_in, present, true)
    }

    /// A script has to give everything; what is missing is named before anything is created.
    fn refuse_what_is_missing(&self, present: &Present) -> Result<(), Failure> {
        if self.options.no_activate {
            return Ok(());
        }
        let needs = Needs::of(&self.looked.manifest, present);
        if needs.is_empty() {
            return Ok(());
        }
        let lines = needs.lines(&self.looked.manifest, &self.scope);
        Err(Failure::usage(format!("something is missing:\n  {}", lines.join("\n  "))))
    }

    fn create_snap_in(&mut self, version: &Value) -> Result<Value, Failure> {
        loop {
            let parameters = json!({
                "version": version, "scope": self.scope, "inputs_values": self.values,
            });
            let refusal = match self.client.try_call("snap-ins.create", &parameters)? {
                Ok(created) => return Ok(created["snap_in"].clone()),
                Err(refusal) => refusal,
            };
            let Some(person) = &mut self.person else { return Err(refusal.into()) };
            match fill::ask_again(person, &self.looked.manifest, &refusal)? {
                Some(answers) => self.values.extend(answers),
                None => return Err(refusal.into()),
            }
        }
    }

    /// Something is at the scope: the same, which is then completed, or something else.
    fn again(mut self, snap_in: Value) -> Result<(), Failure> {
        let version = self.client.call("versions.get", &json!({ "id": snap_in["version"] }))?;
        let slug = snap_in["package_slug"].as_str().unwrap_or_default().to_owned();
        if version["version"]["content_hash"] != self.looked.content_hash.as_str() {
            return Err(self.something_else(&snap_in, &slug));
        }
        self.package = slug;
        let number = &snap_in["version_number"];
        let state = snap_in["state"].as_str().unwrap_or_default();
        if !self.as_json {
            let scope = &self.scope;
            eprintln!("{scope} is of this version (number {number}) already; it is {state}");
        }
        let inputs = snap_in["inputs"].as_array().cloned().unwrap_or_default();
        let set: Map<String, Value> = inputs
            .iter()
            .filter(|it| it["is_set"] == true)
            .filter_map(|it| Some((it["name"].as_str()?.to_owned(), it["value"].clone())))
            .collect();
        let changes: Map<String, Value> = self
            .values
            .iter()
            .filter(|(name, value)| set.get(*name) != Some(value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let mut present = Present {
            inputs: set,
            keyrings: ready_keyrings(&snap_in),
            developer_keyrings: developer_keyrings(self.client, &self.package)?,
        };
        present.inputs.extend(changes.clone());
        present.keyrings.extend(self.given.keyrings.keys().cloned());
        present.developer_keyrings.extend(self.given.keyrings.keys().cloned());
        let is_draft = state == "DRAFT";
        if is_draft && self.person.is_none() {
            self.refuse_what_is_missing(&present)?;
        }
        let mut changes = changes;
        if is_draft && let Some(person) = &mut self.person {
            let asked = Thoroughness::Missing;
            let manifest = &self.looked.manifest;
            changes.extend(fill::ask_inputs(person, manifest, &present.inputs, &changes, asked)?);
        }
        let mut snap_in = snap_in;
        if !changes.is_empty() {
            let names: Vec<&str> = changes.keys().map(String::as_str).collect();
            eprintln!("changing {}", names.join(", "));
            let parameters = json!({ "id": snap_in["id"], "inputs_values": changes });
            let what = "changing inputs";
            snap_in =
                self.client.slow_call(what, "snap-ins.update", &parameters)?["snap_in"].clone();
        }
        self.complete(snap_in, present, false)
    }

    fn something_else(&self, snap_in: &Value, slug: &str) -> Failure {
        let (scope, number) = (&self.scope, &snap_in["version_number"]);
        if self.options.package.as_ref().is_some_and(|it| it != slug) {
            return Failure::refused(format!(
                "a snap-in of another package, {slug}, lives at {scope}: name another place with \
                 --scope"
            ));
        }
        Failure::refused(format!(
            "{scope} is of another version (number {number} of {slug}). To move it to this one: \
             mortise snap-in upgrade {scope} {}. To install this one beside it, name another place \
             with --scope",
            self.options.source.shown()
        ))
    }

    /// Keyrings, activation, and what there is to say at the end.
    fn complete(mut self, snap_in: Value, present: Present, is_new: bool) -> Result<(), Failure> {
        let is_draft = snap_in["state"] == "DRAFT";
        let thoroughness = if is_new { self.thoroughness() } else { Thoroughness::Missing };
        let keyrings = Keyrings {
            client: self.client,
            manifest: &self.looked.manifest,
            snap_in: &self.scope,
            package: &self.package,
            version: None,
        };
        let filled = keyrings.set_given(&self.given).and_then(|()| match &mut self.person {
            Some(person) if is_draft => {
                let manifest = &self.looked.manifest;
                keyrings.ask(person, &Wanted::of(manifest, &present, thoroughness))
            }
            Some(_) | None => Ok(()),
        });
        if let Err(mut failure) = filled {
            if is_new {
                failure.message.push_str(&format!(
                    "\n{} is in DRAFT now: the same command goes on from here",
                    self.scope
                ));
            }
            return Err(failure);
        }
        let id = snap_in["id"].clone();
        if is_draft && !self.options.no_activate {
            let what = "activating";
            let parameters = json!({ "id": id, "wait_seconds": settle::WAIT_SECONDS });
            match self.client.try_slow_call(what, "snap-ins.activate", &parameters)? {
                Ok(answer) => drop(settle::settled(self.client, what, answer)?),
                Err(refusal) => {
                    let mut failure = Failure::from(refusal);
                    let scope = &self.scope;
                    failure.message.push_str(&format!(
                        "\nit stays in DRAFT. Mend it (mortise snap-in set {scope} NAME=VALUE) and go \
                         on: mortise snap-in activate {scope}"
                    ));
                    return Err(failure);
                }
            }
        }
        finish::report(self.client, self.as_json, &id, is_new)
    }
}

/// The keyrings of a snap-in that can be used.
pub(super) fn ready_keyrings(snap_in: &Value) -> std::collections::BTreeSet<String> {
    let keyrings = snap_in["keyrings"].as_array().into_iter().flatten();
    let ready = keyrings.filter(|it| it["state"] == "ready");
    ready.filter_map(|it| it["name"].as_str().map(str::to_owned)).collect()
}

/// The keyrings of a package's developer that are set.
pub(super) fn developer_keyrings(
    client: &Client,
    package: &str,
) -> Result<std::collections::BTreeSet<String>, Failure> {
    let answer = client.call("developer-keyrings.list", &json!({ "package": package }))?;
    let keyrings = answer["developer_keyrings"].as_array().into_iter().flatten();
    Ok(keyrings.filter_map(|it| it["name"].as_str().map(str::to_owned)).collect())
}
