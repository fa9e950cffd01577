//! Giving a snap-in its inputs and keyrings: what a command line gave first, then what a person is
//! asked for. What the daemon refuses is asked for again on a terminal, and is a failure elsewhere.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::ask;
use super::given::{Given, KeyringGiven};
use super::needs::{self, Needs, Present, organization_keyrings};
use super::secrets::{self, Step};
use crate::cli::Failure;
use crate::cli::connection::{Client, Refusal};
use crate::cli::keyrings::wait_for_grant;
use crate::cli::show::plain;
use crate::cli::terminal::{Dialogue, Terminal};
use crate::model::manifest::{DeveloperKeyring, Input, Keyring, Level, Manifest};

/// How much is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thoroughness {
    /// Everything that somebody may want to set.
    Everything,
    /// Only what it cannot function without.
    Missing,
}

/// The inputs that people set, in the order of the manifest.
pub(super) fn visible_inputs(manifest: &Manifest) -> impl Iterator<Item = &Input> {
    manifest.inputs.iter().filter(|it| it.level == Level::Organization && !it.ui.is_hidden)
}

/// Asks for inputs that were not given, and answers the changes.
pub(super) fn ask_inputs(
    person: &mut impl Dialogue,
    manifest: &Manifest,
    present: &Map<String, Value>,
    given: &Map<String, Value>,
    thoroughness: Thoroughness,
) -> Result<Map<String, Value>, Failure> {
    let mut answers = Map::new();
    for input in visible_inputs(manifest).filter(|it| !given.contains_key(&it.name)) {
        let value = present.get(&input.name).or(input.default_value.as_ref());
        let is_missing = input.is_required && value.is_none();
        if thoroughness == Thoroughness::Missing && !is_missing {
            continue;
        }
        if let Some(answer) = ask::for_input(person, input, value)? {
            answers.insert(input.name.clone(), answer);
        }
    }
    Ok(answers)
}

/// Asks again for the inputs that the daemon refused. Nothing when the refusal is about something
/// else, which asking does not mend.
pub(super) fn ask_again(
    person: &mut impl Dialogue,
    manifest: &Manifest,
    refusal: &Refusal,
) -> Result<Option<Map<String, Value>>, Failure> {
    let Some(wrong) = refusal.answer["inputs"].as_array() else { return Ok(None) };
    // `labels[2]` is about `labels`.
    let names: BTreeSet<&str> = wrong
        .iter()
        .filter_map(|it| it["input"].as_str())
        .map(|it| it.split('[').next().unwrap_or(it))
        .collect();
    let inputs: Vec<&Input> =
        visible_inputs(manifest).filter(|it| names.contains(it.name.as_str())).collect();
    if inputs.len() < names.len() {
        return Ok(None);
    }
    person.say(&plain(&refusal.text()))?;
    let mut answers = Map::new();
    for input in inputs {
        let value = input.default_value.as_ref();
        answers
            .insert(input.name.clone(), ask::for_input(person, input, value)?.unwrap_or_default());
    }
    Ok(Some(answers))
}

/// Names of given keyrings that the manifest does not have, in lines.
pub(in crate::cli) fn unknown_keyrings(manifest: &Manifest, given: &Given) -> Vec<String> {
    let of_organization = organization_keyrings(manifest).map(|it| it.name.as_str());
    let of_developer = manifest.developer_keyrings.iter().map(|it| it.name.as_str());
    let names: Vec<&str> = of_organization.chain(of_developer).collect();
    let unknown = given.keyrings.keys().filter(|it| !names.contains(&it.as_str()));
    unknown
        .map(|name| match names.as_slice() {
            [] => format!("keyring {name}: the snap-in has no keyrings"),
            names => format!("keyring {name}: there is none (allowed: {})", names.join(", ")),
        })
        .collect()
}

/// Keyrings to ask for.
pub(super) struct Wanted<'m> {
    pub(super) of_developer: Vec<&'m DeveloperKeyring>,
    pub(super) keyrings: Vec<&'m Keyring>,
}

impl<'m> Wanted<'m> {
    /// Those that are not there, as far as somebody may want to set them.
    pub(super) fn of(
        manifest: &'m Manifest,
        present: &Present,
        thoroughness: Thoroughness,
    ) -> Wanted<'m> {
        if thoroughness == Thoroughness::Missing {
            return Wanted::from(Needs::of(manifest, present));
        }
        let of_developer = manifest.developer_keyrings.iter();
        Wanted {
            of_developer: of_developer
                .filter(|it| !present.developer_keyrings.contains(&it.name))
                .collect(),
            keyrings: organization_keyrings(manifest)
                .filter(|it| !present.keyrings.contains(&it.name))
                .collect(),
        }
    }
}

impl<'m> From<Needs<'m>> for Wanted<'m> {
    fn from(needs: Needs<'m>) -> Wanted<'m> {
        Wanted { of_developer: needs.clients, keyrings: needs.keyrings }
    }
}

/// A snap-in whose keyrings are being set.
#[derive(Clone, Copy)]
pub(in crate::cli) struct Keyrings<'a> {
    pub(in crate::cli) client: &'a Client,
    pub(in crate::cli) manifest: &'a Manifest,
    /// Id or scope.
    pub(in crate::cli) snap_in: &'a str,
    /// Id or slug.
    pub(in crate::cli) package: &'a str,
    /// Id of the version that declares them, when that is not the present one.
    pub(in crate::cli) version: Option<&'a str>,
}

impl Keyrings<'_> {
    /// Sets what was given; a refusal is a failure that names the keyring.
    pub(in crate::cli) fn set_given(&self, given: &Given) -> Result<(), Failure> {
        self.set_some_given(given, |_| true)
    }

    /// The same, only for those with a name that is `wanted`.
    pub(super) fn set_some_given(
        &self,
        given: &Given,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(), Failure> {
        // Connections need the client that a developer's keyring holds.
        let (of_developer, own): (Vec<_>, Vec<_>) = given
            .keyrings
            .iter()
            .filter(|(name, _)| wanted(name))
            .partition(|(name, _)| self.manifest.developer_keyring(name).is_some());
        for (name, given) in of_developer {
            self.set_developer(name, given)?;
        }
        for (name, given) in own {
            let parameters = secrets::set_given(self.snap_in, name, given);
            self.set(name, &parameters)?.map_err(|it| in_keyring(name, it))?;
        }
        Ok(())
    }

    fn set_developer(&self, name: &str, given: &KeyringGiven) -> Result<(), Failure> {
        let parameters = secrets::set_given_developer(self.package, name, given);
        let done = self.client.try_call("developer-keyrings.set", &Value::Object(parameters))?;
        done.map(drop).map_err(|it| in_keyring(name, it))
    }

    fn set(
        &self,
        name: &str,
        parameters: &Map<String, Value>,
    ) -> Result<Result<(), Refusal>, Failure> {
        let what = format!("setting keyring {name}");
        let parameters = self.for_version(parameters.clone());
        Ok(self.client.try_slow_call(&what, "keyrings.set", &parameters)?.map(drop))
    }

    /// Asks for these keyrings.
    pub(super) fn ask(&self, person: &mut Terminal, wanted: &Wanted<'_>) -> Result<(), Failure> {
        for keyring in &wanted.of_developer {
            self.ask_developer(person, keyring)?;
        }
        for keyring in &wanted.keyrings {
            loop {
                let step = secrets::for_keyring(person, self.manifest, keyring, self.snap_in)?;
                let done = match step {
                    Step::Leave => Ok(()),
                    Step::Set(parameters) => {
                        self.set(&keyring.name, &parameters)?.map_err(|it| it.text())
                    }
                    Step::Connect(parameters) => self.connect(person, &keyring.name, parameters)?,
                };
                match done {
                    Ok(()) => break,
                    Err(reason) => person.say(&format!("  {}", plain(&reason)))?,
                }
                if !ask::confirm(person, "  Try again?", true)? {
                    break;
                }
            }
        }
        Ok(())
    }

    fn ask_developer(
        &self,
        person: &mut Terminal,
        keyring: &DeveloperKeyring,
    ) -> Result<(), Failure> {
        let is_client = needs::is_client(self.manifest, &keyring.name);
        loop {
            let asked = secrets::for_developer_keyring(person, keyring, is_client, self.package)?;
            let Some(parameters) = asked else { return Ok(()) };
            let parameters = Value::Object(parameters);
            match self.client.try_call("developer-keyrings.set", &parameters)? {
                Ok(_) => return Ok(()),
                Err(refusal) => person.say(&format!("  {}", plain(&refusal.text())))?,
            }
        }
    }

    /// Shows where access is granted, and waits until somebody has done so.
    fn connect(
        &self,
        person: &mut Terminal,
        name: &str,
        parameters: Map<String, Value>,
    ) -> Result<Result<(), String>, Failure> {
        let begun = self.client.try_call("keyrings.connect", &self.for_version(parameters))?;
        let begun = match begun {
            Ok(begun) => begun,
            Err(refusal) => return Ok(Err(refusal.text())),
        };
        let url = begun["authorize_url"].as_str().unwrap_or_default();
        person
            .say(&format!("  Open this in a browser and grant access:\n\n    {}\n", plain(url)))?;
        let which = match json!({ "snap_in": self.snap_in, "name": name }) {
            Value::Object(which) => self.for_version(which),
            other => other,
        };
        let granted = wait_for_grant(self.client, &which, &begun)?;
        if granted.is_ok() {
            person.say("  connected")?;
        }
        Ok(granted.map(drop))
    }

    /// The parameters of a call, for the version that is meant.
    fn for_version(&self, mut parameters: Map<String, Value>) -> Value {
        if let Some(version) = self.version {
            parameters.insert("version".to_owned(), Value::String(version.to_owned()));
        }
        Value::Object(parameters)
    }
}

fn in_keyring(name: &str, refusal: Refusal) -> Failure {
    let mut failure = Failure::from(refusal);
    failure.message = format!("keyring {name}: {}", failure.message);
    failure
}
