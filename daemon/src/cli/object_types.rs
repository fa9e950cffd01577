//! `mortise object-type`: types of objects, from files in YAML or JSON.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};

use super::connection::Client;
use super::show::{self, View, plain};
use super::{Failure, files};
use crate::manifest;

const TYPES: View = View::Table(
    "object_types",
    &[
        ("NAME", "name"),
        ("CALLS", "calls"),
        ("ID", "id_prefix"),
        ("OBJECTS", "object_count"),
        ("CHANGED", "modified_date"),
    ],
);

const DONE: View = View::Table("object_types", &[("NAME", "name"), ("DONE", "done")]);

#[derive(Debug, Subcommand)]
pub(super) enum ObjectTypeCommand {
    /// List the types of objects
    List,
    /// Show a type with its schema
    Get {
        /// Name or plural
        name: String,
    },
    /// Define types, or make those that there are what files say
    #[command(
        visible_alias = "install",
        after_help = "\
A file is YAML or JSON: one definition, a list of them, or one under `object_types:`, as in a \
manifest. Of a directory every such file is read. Types may refer to one another. A type is changed \
only if all its objects would still be right; otherwise the first that would not are named.

Examples:
  mortise object-type apply ticket.yaml
  mortise object-type install contrib/object-types/
  mortise object-type apply ticket.yaml --dry-run"
    )]
    Apply {
        /// Files, or directories of them
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Change nothing, and say which objects would not be right any more
        #[arg(long)]
        dry_run: bool,
    },
    /// Delete a type that has no objects
    Delete {
        /// Name or plural
        name: String,
    },
}

pub(super) fn run(
    client: &Client,
    as_json: bool,
    command: ObjectTypeCommand,
) -> Result<(), Failure> {
    match command {
        ObjectTypeCommand::List => {
            show::answer(&client.call("object-types.list", &json!({}))?, &TYPES, as_json)
        }
        ObjectTypeCommand::Get { name } => {
            let answer = client.call("object-types.get", &json!({ "name": name }))?;
            show::answer(&answer, &View::One("object_type"), as_json)
        }
        ObjectTypeCommand::Apply { paths, dry_run: false } => {
            let body = json!({ "object_types": read_all(&paths)? });
            let answer = client.call("object-types.apply", &body)?;
            if as_json {
                return show::answer(&answer, &View::EVERYTHING, true);
            }
            show::answer(&done(&answer), &DONE, false)
        }
        ObjectTypeCommand::Apply { paths, dry_run: true } => try_all(client, as_json, &paths),
        ObjectTypeCommand::Delete { name } => {
            client.call_for_nothing("object-types.delete", &json!({ "name": name }))?;
            show::answer(&json!({}), &View::DONE, as_json)
        }
    }
}

/// What was done, a row for each type.
fn done(answer: &Value) -> Value {
    let rows = ["created", "updated", "unchanged"].into_iter().flat_map(|what| {
        let names = answer[what].as_array().into_iter().flatten();
        names.map(move |name| json!({ "name": name, "done": what }))
    });
    json!({ "object_types": rows.collect::<Vec<_>>() })
}

/// Says of every type what a change would come to.
fn try_all(client: &Client, as_json: bool, paths: &[PathBuf]) -> Result<(), Failure> {
    let mut answers = Vec::new();
    let mut broken_count = 0;
    for mut definition in read_all(paths)? {
        let name = definition["name"].as_str().unwrap_or_default().to_owned();
        definition["dry_run"] = json!(true);
        let answer = match client.try_call("object-types.update", &definition)? {
            Ok(answer) => answer,
            Err(refusal) if refusal.is_not_found() => {
                json!({ "object_type": { "name": name }, "is_new": true })
            }
            Err(refusal) => return Err(refusal.into()),
        };
        broken_count += answer["broken_count"].as_u64().unwrap_or_default();
        if !as_json {
            show::print(&tried(&name, &answer))?;
        }
        answers.push(answer);
    }
    if as_json {
        show::answer(&json!({ "object_types": answers }), &View::EVERYTHING, true)?;
    }
    match broken_count {
        0 => Ok(()),
        count => Err(Failure::refused(format!("{count} objects would not be right any more"))),
    }
}

fn tried(name: &str, answer: &Value) -> String {
    if answer["is_new"] == true {
        return plain(&format!("{name}: would be new"));
    }
    let (checked, broken) = (&answer["checked"], &answer["broken_count"]);
    let mut text = format!("{name}: {checked} objects checked, {broken} would not be right");
    for object in answer["broken"].as_array().into_iter().flatten() {
        let id = object["display_id"].as_str().or(object["id"].as_str()).unwrap_or_default();
        for field in object["fields"].as_array().into_iter().flatten() {
            let place = field["field"].as_str().unwrap_or_default();
            let message = field["message"].as_str().unwrap_or_default();
            text.push_str(&format!("\n  {id}: {place}: {message}"));
        }
    }
    plain(&text)
}

/// The definitions in files and directories.
fn read_all(paths: &[PathBuf]) -> Result<Vec<Value>, Failure> {
    let mut definitions = Vec::new();
    for path in paths {
        if path.is_dir() {
            let found = files_of(path)?;
            if found.is_empty() {
                let message = format!("{}: there is no .yaml, .yml or .json in it", path.display());
                return Err(Failure::usage(message));
            }
            for file in found {
                definitions.extend(read_file(&file)?);
            }
        } else {
            definitions.extend(read_file(path)?);
        }
    }
    Ok(definitions)
}

fn files_of(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error: std::io::Error| {
        Failure::usage(format!("cannot read {}: {error}", directory.display()))
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let ending = path.extension().and_then(|it| it.to_str());
        if ending.is_some_and(|it| ["yaml", "yml", "json"].contains(&it)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read_file(path: &Path) -> Result<Vec<Value>, Failure> {
    let shown = path.display().to_string();
    let read = manifest::read_yaml(&files::read_text(path)?).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|it| format!("{shown}:{it}")).collect();
        Failure::usage(lines.join("\n"))
    })?;
    let definitions = match read {
        Value::Array(definitions) => definitions,
        Value::Object(mut members) => match members.remove("object_types") {
            Some(Value::Array(definitions)) => definitions,
            Some(_) => {
                return Err(Failure::usage(format!("{shown}: `object_types` is no list")));
            }
            None => vec![Value::Object(members)],
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Err(Failure::usage(format!(
                "{shown}: expected a definition or a list of them"
            )));
        }
    };
    if let Some(odd) = definitions.iter().find(|it| !it["name"].is_string()) {
        let odd: String = odd.to_string().chars().take(60).collect();
        return Err(Failure::usage(format!("{shown}: a definition without a `name`: {odd}")));
    }
    Ok(definitions)
}
