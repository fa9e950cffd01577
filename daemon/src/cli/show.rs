//! How answers look: tables that fit a terminal for people, JSON for scripts.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::table::{Fit, table};
use super::{Failure, terminal};
use crate::configuration::suggest::steers;

/// What of an answer is shown.
pub(super) enum View {
    /// A list: where it is, and its columns with where they are in each row: by name, or by JSON
    /// pointer.
    Table(&'static str, &'static [(&'static str, &'static str)]),
    /// One thing: where it is.
    One(&'static str),
    /// All of it.
    All,
    /// How the daemon is.
    Status,
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
    pub(super) const SOURCE: View = View::One("event_source");
    pub(super) const SOURCES: View = View::Table(
        "event_sources",
        &[
            ("ID", "id"),
            ("NAME", "name"),
            ("STATUS", "status"),
            ("OPEN", "open"),
            ("ACCEPTED", "/counts/accepted"),
            ("REFUSED", "/counts/refused"),
            ("FAILED", "/counts/failed"),
            ("TRIGGER URL", "trigger_url"),
        ],
    );
    pub(super) const REFUSALS: View = View::Table(
        "refusals",
        &[
            ("DATE", "date"),
            ("TIMES", "times"),
            ("FROM", "peer"),
            ("METHOD", "method"),
            ("STATUS", "status"),
            ("REASON", "reason"),
            ("WHAT", "message"),
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
            ("CALLED BY", "trigger"),
            ("STATE", "state"),
            ("CREATED", "created_date"),
            ("ATTEMPTS", "attempts"),
        ],
    );
    pub(super) const RUN_LOG: View =
        View::Table("logs", &[("LEVEL", "level"), ("MESSAGE", "message")]);
    pub(super) const PLUGINS: View = View::Table(
        "plugins",
        &[("LOADED", "loaded"), ("LIBRARY", "library"), ("WHAT", "detail"), ("PATH", "path")],
    );
    pub(super) const EVERYTHING: View = View::All;
    pub(super) const DONE: View = View::Done;
}

/// Shows an answer.
pub(super) fn answer(answer: &Value, view: &View, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print(&escaped(&format!("{answer:#}")));
    }
    match view {
        View::Table(key, columns) => {
            let empty = Vec::new();
            let rows = answer[*key].as_array().unwrap_or(&empty);
            print(&list(rows, columns, terminal::width()))?;
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
        View::Status => print(&super::status::text(answer)),
        View::Done => print("done"),
    }
}

/// A text of a stranger, which must not steer the terminal: without control characters other than
/// the ends of lines, and without marks that make it look like another.
pub(super) fn plain(text: &str) -> String {
    let is_harmless = |it: char| it == '\n' || !steers(it);
    text.chars().map(|it| if is_harmless(it) { it } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// The same JSON with escapes in place of what would steer the terminal: in JSON that stands in texts
/// only, and means the same.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for it in json.chars() {
        if it == '\n' || !steers(it) {
            text.push(it);
        } else {
            let mut units = [0; 2];
            for unit in it.encode_utf16(&mut units) {
                text.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    text
}

/// Whether something was printed. An answer stays the only JSON on standard output.
static HAS_PRINTED: AtomicBool = AtomicBool::new(false);

/// Whether the command has printed its answer.
pub(super) fn has_printed() -> bool {
    HAS_PRINTED.load(Ordering::Relaxed)
}

/// Prints a text; that nobody reads on is no failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    HAS_PRINTED.store(true, Ordering::Relaxed);
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot print: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A text in lines of so many characters, cut between words.
pub(super) fn wrapped(text: &str, most: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= most => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

fn list(rows: &[Value], columns: &[(&str, &str)], width: Option<usize>) -> String {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| columns.iter().map(|(_, key)| cell(at(row, key))).collect())
        .collect();
    let columns: Vec<_> = columns.iter().map(|(title, _)| (*title, fit(title))).collect();
    table(&columns, &cells, width)
}

fn at<'a>(row: &'a Value, key: &str) -> &'a Value {
    if key.starts_with('/') { row.pointer(key).unwrap_or(&Value::Null) } else { &row[key] }
}

/// What may happen to a column on a narrow terminal. Ids, URLs and what went wrong stay.
fn fit(title: &str) -> Fit {
    match title {
        "DESCRIPTION" | "FUNCTION" | "FILE" | "TYPE" | "CALLED BY" | "WHAT" | "ROLES"
        | "GROUPS" | "LIMITED TO" | "FILTER" | "WHO" | "CALL" | "NAME" | "THROUGH" => Fit::Cut,
        "CREATED" | "CHANGED" | "RECEIVED" | "BYTES" | "ATTEMPTS" | "OPEN" | "VERIFIED"
        | "PARENT" | "PEER" | "USED" | "TOKENS" | "ACCEPTED" | "REFUSED" | "FAILED" | "METHOD"
        | "PATH" => Fit::Drop,
        _ => Fit::Whole,
    }
}

/// One cell: one line, whatever the value holds.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => plain(&text.replace(['\n', '\r', '\t'], " ")),
        Value::Bool(it) => if *it { "yes" } else { "no" }.to_owned(),
        Value::Array(items) => items.len().to_string(),
        // What called a run: its kind and its name, without ids.
        Value::Object(it) if it.contains_key("type") => {
            let keys = ["type", "namespace", "name", "hook", "level", "slug"];
            let words = keys.iter().filter_map(|key| it.get(*key)?.as_str());
            plain(&words.collect::<Vec<_>>().join(" ").replace(['\n', '\r', '\t'], " "))
        }
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
            // Nothing to say is not said; scripts have --json.
            Value::String(text) if text.is_empty() => {}
            Value::String(text) if text.contains('\n') => {
                lines.push(format!("{name}:"));
                lines.extend(plain(text).lines().map(|it| format!("  {it}")));
            }
            Value::String(text) => lines.push(format!("{name:<width$}  {}", plain(text))),
            Value::Array(items) if items.is_empty() => {}
            Value::Array(items) if items.iter().all(|it| it.as_str().is_some_and(is_word)) => {
                let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
                lines.push(format!("{name:<width$}  {}", plain(&words.join(", "))));
            }
            Value::Array(_) | Value::Object(_) => {
                lines.push(format!("{name:<width$}  {}", plain(&value.to_string())));
            }
            other => lines.push(format!("{name:<width$}  {other}")),
        }
    }
    lines.join("\n")
}

/// Whether a text can stand in a list without quotes.
fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains([',', '\n', '"'])
}

/// Where the files of a version are, for messages.
pub(super) struct Whereabouts {
    /// The manifest.
    pub(super) manifest: String,
    /// What the paths of the other files are below; empty for an archive whose place says nothing.
    pub(super) top: String,
}

impl Whereabouts {
    /// Of a file of the version, or of its manifest.
    fn of(&self, file: Option<&str>) -> String {
        match file {
            None => self.manifest.clone(),
            Some(file) if self.top.is_empty() => file.to_owned(),
            Some(file) => format!("{}/{file}", self.top),
        }
    }
}

/// Problems of a version, one line each, as compilers write them.
pub(super) fn findings(problems: &Value, whereabouts: &Whereabouts) -> Vec<String> {
    let empty = Vec::new();
    let problems = problems.as_array().unwrap_or(&empty);
    problems.iter().map(|it| finding(it, whereabouts)).collect()
}

fn finding(problem: &Value, whereabouts: &Whereabouts) -> String {
    let text = |key: &str| problem[key].as_str().unwrap_or_default();
    let mut line = format!(
        "{}:{}:{}: {}: ",
        whereabouts.of(problem["file"].as_str()),
        problem["line"],
        problem["column"],
        text("severity"),
    );
    if !text("path").is_empty() {
        line.push_str(&format!("{}: ", text("path")));
    }
    line.push_str(text("message"));
    line.push_str(&allowed(problem));
    line
}

/// Problems of a snap-kit body, one line each.
pub(super) fn problem_lines(problems: &Value) -> Vec<String> {
    let line = |it: &Value| {
        let severity = it["severity"].as_str().map(|it| format!("{it}: ")).unwrap_or_default();
        format!("{severity}{}", placed(it, "snap_kit_body"))
    };
    problems.as_array().into_iter().flatten().map(line).collect()
}

/// `path: message`, the path once; of what has none, what it is about as a whole.
pub(super) fn placed(problem: &Value, whole: &str) -> String {
    let text = |key: &str| problem[key].as_str().unwrap_or_default();
    let path = Some(text("path")).filter(|it| !it.is_empty()).unwrap_or(whole);
    let message = text("message");
    let said = message.strip_prefix(path).and_then(|it| it.strip_prefix(": ")).unwrap_or(message);
    let place = if path.is_empty() { String::new() } else { format!("{path}: ") };
    format!("{place}{said}{}", allowed(problem))
}

/// Says what is questionable about something that was done all the same.
pub(super) fn warn(answer: &Value) {
    for warning in answer["warnings"].as_array().into_iter().flatten() {
        eprintln!("warning: {}", plain(&placed(warning, "")));
    }
}

fn allowed(problem: &Value) -> String {
    match problem["allowed"].as_array().filter(|it| !it.is_empty()) {
        Some(allowed) => {
            let allowed: Vec<_> = allowed.iter().filter_map(Value::as_str).collect();
            format!(" (allowed: {})", allowed.join(", "))
        }
        None => String::new(),
    }
}

/// An error of the API, for people: the lists that it brings as lines of their own.
pub(super) fn problem(status: u16, answer: &Value) -> String {
    let Some(message) = answer["message"].as_str() else {
        return format!("the daemon answered {status}: {answer}");
    };
    let listed = |key: &str| answer[key].as_array().filter(|it| !it.is_empty());
    let text = |it: &Value, key: &str| it[key].as_str().unwrap_or_default().to_owned();
    match listed("problems") {
        Some(problems) if problems.iter().all(|it| it["line"].is_u64()) => {
            let whereabouts =
                Whereabouts { manifest: "manifest.yaml".to_owned(), top: String::new() };
            let lines = problems.iter().map(|it| finding(it, &whereabouts));
            return with_lines(message, lines);
        }
        Some(problems) if problems.iter().all(|it| it["severity"].is_string()) => {
            return with_lines(message, problem_lines(&answer["problems"]).into_iter());
        }
        Some(problems) if problems.iter().all(|it| it["path"].is_string()) => {
            // The message has them all in one line, for whoever sees nothing else.
            let first = text(&problems[0], "message");
            let head = match message.split_once(": ") {
                Some((head, rest)) if rest.contains(&first) => format!("{head}:"),
                Some(_) | None => message.to_owned(),
            };
            return with_lines(&head, problems.iter().map(|it| placed(it, "")));
        }
        Some(problems) => {
            let lines = problems
                .iter()
                .map(|it| format!("{}: {}{}", text(it, "field"), text(it, "message"), allowed(it)));
            return with_lines("what was sent is wrong:", lines);
        }
        None => {}
    }
    if let Some(inputs) = listed("inputs") {
        let head = if inputs.len() == 1 { "an input is wrong" } else { "some inputs are wrong" };
        let lines = inputs
            .iter()
            .map(|it| format!("{}: {}{}", text(it, "input"), text(it, "message"), allowed(it)));
        return with_lines(&format!("{head}:"), lines);
    }
    if let Some(missing) = listed("missing") {
        return with_lines("something is missing:", missing.iter().map(missing_thing));
    }
    if let Some(fields) = listed("fields").filter(|it| it.len() > 1) {
        let head = message.split_once(": ").map_or(message, |(head, _)| head);
        let lines =
            fields.iter().map(|it| format!("`{}`: {}", text(it, "field"), text(it, "message")));
        return with_lines(&format!("{head}:"), lines);
    }
    let allowed = listed("allowed").and_then(|it| {
        let words = it.iter().map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned));
        let words = words.collect::<Vec<_>>().join(", ");
        // Once is enough.
        (it.len() < 2 || !message.contains(&words)).then(|| format!("allowed: {words}"))
    });
    let log = answer["hook"]["run"].as_str().map(|it| format!("its log: mortise run logs {it}"));
    with_lines(message, allowed.into_iter().chain(log))
}

/// Something that a snap-in needs, with the command that gives it.
pub(super) fn missing_thing(missing: &Value) -> String {
    let text = |key: &str| plain(missing[key].as_str().unwrap_or_default());
    format!("{} {} {}: {}", text("kind"), text("name"), text("message"), text("command"))
}

fn with_lines(head: &str, lines: impl Iterator<Item = String>) -> String {
    let mut text = head.to_owned();
    for line in lines {
        text.push_str("\n  ");
        text.push_str(&line);
    }
    text
}

/// Bold, on a terminal.
pub(super) fn heading(text: &str) -> String {
    if std::io::stdout().is_terminal() { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_printed() {
        let text = "pay \u{202e}evil\u{2069}\u{200e}\u{61c}\u{1b}[2J\nnext";
        assert_eq!(plain(text), "pay \u{fffd}evil\u{fffd}\u{fffd}\u{fffd}\u{fffd}[2J\nnext");
        let value = json!({ "a\u{202e}": text, "b": "\u{e0041}ü\u{200d}" });
        let json = escaped(&format!("{value:#}"));
        assert!(json.chars().all(|it| it == '\n' || !steers(it)), "{json}");
        assert!(json.contains("\\u202e") && json.contains("ü\u{200d}"), "{json}");
        assert_eq!(serde_json::from_str::<Value>(&json).ok(), Some(value));
    }

    /// The longest line of a table on a terminal of 80 columns.
    fn widest(view: &View, row: Value) -> usize {
        let View::Table(_, columns) = view else { return 0 };
        let drawn = list(&[row], columns, Some(80));
        drawn.lines().map(|it| it.chars().count()).max().unwrap_or_default()
    }

    #[test]
    fn wide_tables_fit_a_terminal() {
        let audited = json!({
            "seq": 1_234_567, "said_date": "2026-01-31 12:00", "who": "service-account:deployment",
            "call": "principal-groups.remove-member", "said_outcome": "failed 409",
            "said_target": "itg_01k00000000000000000000000", "peer": "2001:db8::1234:5678",
        });
        let plugin = json!({
            "loaded": true, "library": "libflow_custom_webhook.so",
            "detail": "http 0.1.0: http, microsoft-teams, discord, mattermost, google-chat, ntfy",
            "path": "/usr/lib/mortise/plugins/libflow_custom_webhook.so",
        });
        for (view, row) in [(&super::super::audit::ROWS, audited), (&View::PLUGINS, plugin)] {
            assert!(widest(view, row.clone()) <= 80, "{row}: {}", widest(view, row.clone()));
        }
        assert_eq!(wrapped("a bb ccc dddd", 4), "a bb\nccc\ndddd");
    }

    #[test]
    fn members_are_said_plainly() {
        let thing = json!({
            "name": "ops", "groups": "", "none": null, "supplies": ["prod", "dev/x"], "empty": [],
            "odd": ["a, b"], "more": { "a": 1 },
        });
        let said = members(&thing);
        let mut lines: Vec<&str> = said.lines().collect();
        lines.sort_unstable();
        let more = "more      {\"a\":1}";
        assert_eq!(lines, [more, "name      ops", "odd       [\"a, b\"]", "supplies  prod, dev/x"]);
    }

    #[test]
    fn what_is_wrong_is_said_once_and_in_lines() {
        let fields = json!([{ "field": "a", "message": "is no number" }, { "field": "b", "message": "is required" }]);
        let answer =
            json!({ "message": "this is no work; 2 fields are wrong: `a` ...", "fields": fields });
        let said = problem(422, &answer);
        assert_eq!(
            said,
            "this is no work; 2 fields are wrong:\n  `a`: is no number\n  `b`: is required"
        );
        let problems = json!([
            { "path": "url", "message": "is no URL" }, { "path": "token", "message": "token: is missing" },
        ]);
        let message = "the connection cannot be used: url: is no URL; token: token: is missing";
        let answer = json!({ "message": message, "problems": problems });
        assert_eq!(
            problem(422, &answer),
            "the connection cannot be used:\n  url: is no URL\n  token: is missing"
        );
        let of_body = json!([{ "severity": "error", "path": "", "message": "is empty" }]);
        let answer = json!({ "message": "`body` is no body", "problems": of_body });
        assert_eq!(problem(422, &answer), "`body` is no body\n  error: snap_kit_body: is empty");
        let answer = json!({ "message": "not indexed: id, title", "allowed": ["id", "title"] });
        assert_eq!(problem(400, &answer), "not indexed: id, title");
        let answer = json!({ "message": "no such state", "allowed": ["id", "title"] });
        assert_eq!(problem(400, &answer), "no such state\n  allowed: id, title");
    }
}
