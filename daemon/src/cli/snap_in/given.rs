//! What a command line gives for inputs and keyrings: `--set`, `--keyring` and `--values FILE`.
//!
//! Owns the reading of those options. It must never take a secret from the command line itself,
//! which every user of the host can see, nor from a file that everybody can read, and never put one
//! into a message.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::arguments::ValueOptions;
use crate::cli::{Failure, files, hidden};
use crate::configuration::inputs;
use crate::manifest;
use crate::model::manifest::{Level, Manifest};

/// The sections of a file of values.
const SECTIONS: [&str; 2] = ["inputs", "keyrings"];
/// What a keyring in a file of values may say, beside being a plain secret.
const MEMBERS: [&str; 8] = [
    "type",
    "secret",
    "fields",
    "subdomain",
    "organization",
    "skip_verification",
    "client_id",
    "client_secret",
];

/// What was given.
#[derive(Default)]
pub(in crate::cli) struct Given {
    pub(super) inputs: BTreeMap<String, Written>,
    pub(super) keyrings: BTreeMap<String, KeyringGiven>,
}

/// A value of an input.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Written {
    /// As somebody types it; its input's type says what it means.
    Text(String),
    Json(Value),
}

/// What a keyring is to hold.
pub(super) enum KeyringGiven {
    /// The secret, or the JSON of its fields.
    Text(Zeroizing<String>),
    /// Parameters of `keyrings.set` or `developer-keyrings.set`.
    Members(Map<String, Value>),
}

/// Where `--keyring` takes a secret from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum SecretPlace {
    StandardInput,
    File(String),
}

impl Given {
    /// Reads the options, and the files and the standard input that they name.
    pub(in crate::cli) fn read(options: &ValueOptions) -> Result<Given, Failure> {
        let mut given = match &options.values {
            Some(path) => {
                let (text, is_private) = read(path, files::MOST_TEXT)?;
                let given = parse_values(&text)
                    .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
                if !is_private && !given.keyrings.is_empty() {
                    return Err(not_private(path));
                }
                given
            }
            None => Given::default(),
        };
        let mut wrong = Vec::new();
        for text in &options.set {
            match parse_set(text) {
                Ok((name, written)) => drop(given.inputs.insert(name, written)),
                Err(error) => wrong.push(error),
            }
        }
        let places: Vec<_> = options.keyring.iter().map(|it| parse_keyring(it)).collect();
        let from_standard_input =
            places.iter().flatten().filter(|(_, it)| *it == SecretPlace::StandardInput).count();
        if from_standard_input > 1 {
            wrong.push("only one --keyring can be read from the standard input".to_owned());
        }
        wrong.extend(places.iter().filter_map(|it| it.as_ref().err().cloned()));
        if !wrong.is_empty() {
            return Err(Failure::usage(wrong.join("\n")));
        }
        for (name, place) in places.into_iter().flatten() {
            let secret = match place {
                SecretPlace::StandardInput => read_standard_input(&name)?,
                SecretPlace::File(path) => read_private(Path::new(&path))?,
            };
            let secret = Zeroizing::new(secret.trim_end_matches(['\n', '\r']).to_owned());
            given.keyrings.insert(name, KeyringGiven::Text(secret));
        }
        Ok(given)
    }

    /// The keyrings that were given, as functions get them: plain secrets.
    pub(in crate::cli) fn plain_keyrings(
        &self,
    ) -> Result<BTreeMap<String, Zeroizing<String>>, Failure> {
        let plain = |(name, given): (&String, &KeyringGiven)| match given {
            KeyringGiven::Text(secret) => Ok((name.clone(), secret.clone())),
            KeyringGiven::Members(_) => Err(Failure::usage(format!(
                "keyring {name}: give the secret itself, as the function gets it"
            ))),
        };
        self.keyrings.iter().map(plain).collect()
    }

    /// The values that were given for inputs, or everything that is wrong with them.
    pub(in crate::cli) fn values(
        &self,
        manifest: &Manifest,
        level: Level,
    ) -> Result<Map<String, Value>, Vec<String>> {
        let mut values = Map::new();
        let mut wrong = Vec::new();
        for (name, written) in &self.inputs {
            let value = match (written, manifest.input(level, name)) {
                (Written::Json(value), _) => value.clone(),
                (Written::Text(text), Some(input)) => match inputs::from_text(input, text) {
                    Ok(value) => value,
                    Err(problem) => {
                        wrong.push(describe(&problem));
                        continue;
                    }
                },
                // Said by the check below, with the names that there are.
                (Written::Text(text), None) => Value::String(text.clone()),
            };
            values.insert(name.clone(), value);
        }
        if let Err(problems) = inputs::change(manifest, level, &Map::new(), &values) {
            wrong.extend(problems.iter().map(describe));
        }
        if wrong.is_empty() { Ok(values) } else { Err(wrong) }
    }
}

/// What is wrong with a value, in a line.
pub(super) fn describe(problem: &inputs::InputProblem) -> String {
    let mut text = format!("{}: {}", problem.input, problem.message);
    if !problem.allowed.is_empty() {
        text.push_str(&format!(" (allowed: {})", problem.allowed.join(", ")));
    }
    text
}

/// `name=value` by the type of the input, or `name:=JSON`.
pub(super) fn parse_set(text: &str) -> Result<(String, Written), String> {
    let hint = "expected NAME=VALUE, or NAME:=JSON";
    let Some((name, value)) = text.split_once('=') else {
        return Err(format!("`{text}`: {hint}"));
    };
    let (name, written) = match name.strip_suffix(':') {
        Some(name) => {
            let value = serde_json::from_str(value)
                .map_err(|error| format!("`{name}`: what follows `:=` is no JSON: {error}"))?;
            (name, Written::Json(value))
        }
        None => (name, Written::Text(value.to_owned())),
    };
    if name.is_empty() {
        return Err(format!("`{text}`: {hint}"));
    }
    Ok((name.to_owned(), written))
}

/// `name=-` or `name=@file`. What else is there may be a secret, and is not repeated.
fn parse_keyring(text: &str) -> Result<(String, SecretPlace), String> {
    let (name, place) = text.split_once('=').unwrap_or((text, ""));
    match place.strip_prefix('@') {
        _ if name.is_empty() => {
            Err("--keyring: expected NAME=- (standard input) or NAME=@FILE".to_owned())
        }
        None if place == "-" => Ok((name.to_owned(), SecretPlace::StandardInput)),
        Some(path) if !path.is_empty() => Ok((name.to_owned(), SecretPlace::File(path.to_owned()))),
        Some(_) | None => Err(format!(
            "--keyring {name}: expected {name}=- (standard input) or {name}=@FILE; a secret on \
             the command line can be seen by every user of this host"
        )),
    }
}

/// A file of values: YAML or JSON.
fn parse_values(text: &str) -> Result<Given, String> {
    if text.trim().is_empty() {
        return Ok(Given::default());
    }
    let document = manifest::read_yaml(text).map_err(|problems| {
        // The text of a value is not part of what the reader of YAML says.
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    })?;
    let Value::Object(mut document) = document else {
        return Err(format!("expected the sections {}", SECTIONS.join(" and ")));
    };
    let mut section = |name: &str| match document.remove(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(section)) => Ok(section),
        Some(_) => Err(format!("{name}: expected names with their values")),
    };
    let inputs = section("inputs")?;
    let keyrings = section("keyrings")?;
    if let Some(other) = document.keys().next() {
        return Err(format!("`{other}` is no section (allowed: {})", SECTIONS.join(", ")));
    }
    let mut given = Given::default();
    for (name, value) in inputs {
        given.inputs.insert(name, Written::Json(value));
    }
    for (name, value) in keyrings {
        let keyring = keyring_of(&name, value)?;
        given.keyrings.insert(name, keyring);
    }
    Ok(given)
}

fn keyring_of(name: &str, value: Value) -> Result<KeyringGiven, String> {
    match value {
        Value::String(secret) => Ok(KeyringGiven::Text(Zeroizing::new(secret))),
        // Tokens that are all digits are read as numbers.
        Value::Number(number) => Ok(KeyringGiven::Text(Zeroizing::new(number.to_string()))),
        Value::Object(members) => match members.keys().find(|it| !MEMBERS.contains(&it.as_str())) {
            None => Ok(KeyringGiven::Members(members)),
            Some(other) => Err(format!(
                "keyrings.{name}: `{other}` says nothing about a keyring (allowed: {})",
                MEMBERS.join(", ")
            )),
        },
        Value::Null | Value::Bool(_) | Value::Array(_) => Err(format!(
            "keyrings.{name}: expected the secret, or a mapping of {}",
            MEMBERS.join(", ")
        )),
    }
}

/// The secret in a file that not everybody can read.
fn read_private(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let (text, is_private) = read(path, files::MOST_SECRET)?;
    if is_private { Ok(text) } else { Err(not_private(path)) }
}

/// The text of a file, and whether only some can read it.
fn read(path: &Path, most: u64) -> Result<(Zeroizing<String>, bool), Failure> {
    let shown = path.display().to_string();
    let file = files::open(path)?;
    let metadata = file
        .metadata()
        .map_err(|error| Failure::refused(format!("cannot read {shown}: {error}")))?;
    let mode = metadata.permissions().mode();
    let text = files::text(files::bytes(file, most, &shown)?, &shown)?;
    // A pipe has the mode of whoever made it, and nobody else can open it.
    Ok((text, !metadata.is_file() || mode & 0o004 == 0))
}

fn not_private(path: &Path) -> Failure {
    let path = path.display();
    Failure::refused(format!(
        "{path} can be read by every user of this host, and holds secrets: chmod o= {path}"
    ))
}

fn read_standard_input(name: &str) -> Result<Zeroizing<String>, Failure> {
    let what = format!("the secret of {name}");
    if !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        return files::standard_input(&what);
    }
    let typed = hidden::ask(&format!("{name}: "))
        .map_err(|error| Failure::refused(format!("cannot read {what}: {error}")))?;
    typed.ok_or_else(|| Failure::refused(format!("the input ended before there was {what}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MANIFEST: &str = "
version: '2'
name: x
inputs:
  organization:
    - {name: text, field_type: text}
    - {name: count, field_type: int, is_required: true}
    - {name: on, field_type: bool}
    - {name: level, field_type: enum, allowed_values: [low, high]}
    - {name: labels, field_type: array, base_type: text}
  user:
    - {name: mine, field_type: text}
";

    fn manifest() -> Manifest {
        let parsed = manifest::parse(MANIFEST);
        parsed.manifest.unwrap_or_else(|| panic!("{:?}", parsed.problems))
    }

    fn values(set: &[&str]) -> Result<Map<String, Value>, Vec<String>> {
        let mut given = Given::default();
        for text in set {
            let (name, written) = parse_set(text).map_err(|it| vec![it])?;
            given.inputs.insert(name, written);
        }
        given.values(&manifest(), Level::Organization)
    }

    #[test]
    fn values_are_converted_by_the_type_of_their_input() {
        let set = ["text=a=b", "count=12", "on=yes", "level=high", "labels=a, b"];
        let expected = json!({
            "text": "a=b", "count": 12, "on": true, "level": "high", "labels": ["a", "b"],
        });
        assert_eq!(values(&set).map(Value::Object), Ok(expected));
        let set = ["text:=\"12\"", "labels:=[\"a,b\"]", "on:=null"];
        let expected = json!({ "text": "12", "labels": ["a,b"], "on": null });
        assert_eq!(values(&set).map(Value::Object), Ok(expected));
        assert_eq!(values(&["text="]).map(Value::Object), Ok(json!({ "text": "" })));
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let wrong = values(&["count=many", "level=middle", "nope=1", "mine=x"]);
        let wrong = wrong.expect_err("four of them").join("\n");
        for hint in ["count: ", "level: ", "low, high", "nope: ", "mine: "] {
            assert!(wrong.contains(hint), "{hint} in {wrong}");
        }
        for text in ["text", "=x", ":=1", "text:=x"] {
            assert!(parse_set(text).is_err(), "{text}");
        }
    }

    #[test]
    fn secrets_are_not_taken_from_the_command_line() {
        assert_eq!(parse_keyring("a=-"), Ok(("a".to_owned(), SecretPlace::StandardInput)));
        let file = SecretPlace::File("x=y".to_owned());
        assert_eq!(parse_keyring("a=@x=y"), Ok(("a".to_owned(), file)));
        for text in ["a=hush", "a", "a=", "a=@", "=-"] {
            let error = parse_keyring(text).expect_err(text);
            assert!(error.contains("standard input") && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn a_file_of_values_is_yaml_or_json() {
        let yaml = "inputs:\n  text: hello\n  count: 3\nkeyrings:\n  a: s3cret\n  b: 12\n  \
                    c: {fields: {x: y}}\n";
        let as_json = r#"{"inputs":{"text":"hello","count":3},"keyrings":{"a":"s3cret","b":12,
                       "c":{"fields":{"x":"y"}}}}"#;
        for text in [yaml, as_json] {
            let given = parse_values(text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(given.inputs["count"], Written::Json(json!(3)));
            assert!(matches!(&given.keyrings["a"], KeyringGiven::Text(it) if **it == "s3cret"));
            assert!(matches!(&given.keyrings["b"], KeyringGiven::Text(it) if **it == "12"));
            assert!(matches!(&given.keyrings["c"], KeyringGiven::Members(_)));
        }
        assert!(parse_values("\n").is_ok_and(|it| it.inputs.is_empty()));
        for (text, hint) in [
            ("input: {}", "inputs, keyrings"),
            ("inputs: [a]", "inputs: expected"),
            ("keyrings: {a: {password: hush}}", "allowed: type, secret"),
            ("keyrings: {a: [hush]}", "expected the secret"),
            ("keyrings: {a: hush", "1:"),
            ("- hush", "sections"),
        ] {
            let Err(error) = parse_values(text) else { panic!("{text} is taken") };
            assert!(error.contains(hint) && !error.contains("hush"), "{text}: {error}");
        }
    }
}
