//! How answers look: tables that fit a terminal for people, JSON for scripts.

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::Path;

use serde_json::Value;

use super::Failure;

/// What of an answer is shown.
pub(super) enum View {
    /// A list: where it is, and its columns with where they are in each row.
    Table(&'static str, &'static [(&'static str, &'static str)]),
    /// One thing: where it is.
    One(&'static str),
    /// All of it.
    All,
    /// That it is done.
    Done,
}

impl View {
    pub(super) const PACKAGE: View = View::One("package");
    pub(super) const PACKAGES: View = View::Table(
        "packages",
        &[
            ("ID", "id"),
            ("SLUG", "slug"),
            ("CREATED", "created_date"),
            ("DESCRIPTION", "description"),
        ],
    );
    pub(super) const VERSION: View = View::One("version");
    pub(super) const VERSIONS: View = View::Table(
        "versions",
        &[("ID", "id"), ("PACKAGE", "package"), ("NUMBER", "number"), ("CREATED", "created_date")],
    );
    pub(super) const SNAP_IN: View = View::One("snap_in");
    pub(super) const SNAP_INS: View = View::Table(
        "snap_ins",
        &[("ID", "id"), ("SCOPE", "scope"), ("STATE", "state"), ("CHANGED", "changed_date")],
    );
    pub(super) const SOURCE: View = View::One("event_source");
    pub(super) const SOURCES: View = View::Table(
        "event_sources",
        &[
            ("ID", "id"),
            ("NAME", "name"),
            ("STATUS", "status"),
            ("OPEN", "open"),
            ("TRIGGER URL", "trigger_url"),
        ],
    );
    pub(super) const SOURCE_LOG: View = View::Table(
        "lines",
        &[("DATE", "date"), ("LEVEL", "level"), ("TIMES", "times"), ("MESSAGE", "message")],
    );
    pub(super) const EVENT: View = View::One("event");
    pub(super) const EVENTS: View = View::Table(
        "events",
        &[
            ("ID", "id"),
            ("TYPE", "type"),
            ("RECEIVED", "received_date"),
            ("BYTES", "payload_bytes"),
            ("RUNS", "runs"),
        ],
    );
    pub(super) const RUN: View = View::One("run");
    pub(super) const RUNS: View = View::Table(
        "runs",
        &[
            ("ID", "id"),
            ("FUNCTION", "function"),
            ("STATE", "state"),
            ("CREATED", "created_date"),
            ("ATTEMPTS", "attempts"),
        ],
    );
    pub(super) const RUN_LOG: View =
        View::Table("logs", &[("LEVEL", "level"), ("MESSAGE", "message")]);
    pub(super) const PLUGINS: View =
        View::Table("plugins", &[("LOADED", "loaded"), ("PATH", "path"), ("DETAIL", "detail")]);
    pub(super) const EVERYTHING: View = View::All;
    pub(super) const DONE: View = View::Done;
}

/// Shows an answer.
pub(super) fn answer(answer: &Value, view: &View, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print(&format!("{answer:#}"));
    }
    match view {
        View::Table(key, columns) => {
            let empty = Vec::new();
            let rows = answer[*key].as_array().unwrap_or(&empty);
            print(&table(rows, columns))?;
            match answer["next_cursor"].as_str() {
                Some(cursor) => {
                    eprintln!("there are more: --cursor {cursor}");
                    Ok(())
                }
                None => Ok(()),
            }
        }
        View::One(key) => print(&members(&answer[*key])),
        View::All => print(&members(answer)),
        View::Done => print("done"),
    }
}

/// Prints a text; that nobody reads on is no failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot print: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn table(rows: &[Value], columns: &[(&str, &str)]) -> String {
    let mut cells: Vec<Vec<String>> =
        vec![columns.iter().map(|(title, _)| (*title).to_owned()).collect()];
    for row in rows {
        cells.push(columns.iter().map(|(_, key)| cell(&row[*key])).collect());
    }
    let widths: Vec<_> = (0..columns.len())
        .map(|at| cells.iter().map(|row| row[at].chars().count()).max().unwrap_or_default())
        .collect();
    let lines = cells.iter().map(|row| {
        let mut line = String::new();
        for (text, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{text:<width$}  "));
        }
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// One cell: one line, whatever the value holds.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.replace(['\n', '\r'], " "),
        Value::Bool(it) => if *it { "yes" } else { "no" }.to_owned(),
        Value::Array(items) => items.len().to_string(),
        other => other.to_string(),
    }
}

/// The members of an object, one per line; what is nested as JSON.
fn members(value: &Value) -> String {
    let Some(object) = value.as_object() else { return format!("{value:#}") };
    let width = object.keys().map(|it| it.chars().count()).max().unwrap_or_default();
    let mut lines = Vec::new();
    for (name, value) in object {
        // Instructions are an object around a text that somebody wants to read.
        match value.get("content").unwrap_or(value) {
            Value::Null => {}
            Value::String(text) if text.contains('\n') => {
                lines.push(format!("{name}:"));
                lines.extend(text.lines().map(|it| format!("  {it}")));
            }
            Value::String(text) => lines.push(format!("{name:<width$}  {text}")),
            Value::Array(_) | Value::Object(_) => {
                lines.push(format!("{name:<width$}  {value}"));
            }
            other => lines.push(format!("{name:<width$}  {other}")),
        }
    }
    lines.join("\n")
}

/// What `versions.validate` found, one line each, as compilers write it.
pub(super) fn findings(answer: &Value, file: &Path, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print(&format!("{answer:#}"));
    }
    let empty = Vec::new();
    for problem in answer["problems"].as_array().unwrap_or(&empty) {
        print(&finding(&file.display().to_string(), problem))?;
    }
    if answer["valid"] == true { print(&format!("{} is valid", file.display())) } else { Ok(()) }
}

fn finding(file: &str, problem: &Value) -> String {
    let text = |key: &str| problem[key].as_str().unwrap_or_default();
    let mut line = format!(
        "{file}:{}:{}: {}: {}: {}",
        problem["line"],
        problem["column"],
        text("severity"),
        text("path"),
        text("message")
    );
    if let Some(allowed) = problem["allowed"].as_array().filter(|it| !it.is_empty()) {
        let allowed: Vec<_> = allowed.iter().filter_map(Value::as_str).collect();
        line.push_str(&format!(" (allowed: {})", allowed.join(", ")));
    }
    line
}

/// An error of the API, for people.
pub(super) fn problem(status: u16, answer: &Value) -> String {
    let Some(message) = answer["message"].as_str() else {
        return format!("the daemon answered {status}: {answer}");
    };
    let mut text = message.to_owned();
    if let Some(problems) = answer["problems"].as_array() {
        for problem in problems {
            text.push_str("\n  ");
            text.push_str(&finding("manifest.yaml", problem));
        }
    }
    text
}

/// Bold, on a terminal.
pub(super) fn heading(text: &str) -> String {
    if std::io::stdout().is_terminal() { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}
