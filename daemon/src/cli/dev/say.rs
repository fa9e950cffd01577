//! What is shown: lines for people, which fit their terminal, or one JSON object a line for scripts.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::show::{self, Whereabouts, plain};
use crate::cli::{Failure, terminal};

/// Says things as they happen.
pub(super) struct Say {
    as_json: bool,
    whereabouts: Whereabouts,
}

impl Say {
    pub(super) fn new(as_json: bool, whereabouts: Whereabouts) -> Say {
        Say { as_json, whereabouts }
    }

    /// One thing: for scripts as it is, for people as lines.
    pub(super) fn line(
        &self,
        thing: &Value,
        lines: impl FnOnce() -> Vec<String>,
    ) -> Result<(), Failure> {
        if self.as_json {
            return show::print(&thing.to_string());
        }
        let width = terminal::width();
        let fitted = lines().into_iter().flat_map(|it| wrapped(&plain(&it), width));
        show::print(&fitted.collect::<Vec<_>>().join("\n"))
    }

    /// What is wrong, or questionable, with a save.
    pub(super) fn problems(&self, problems: &Value, is_wrong: bool) -> Result<(), Failure> {
        if problems.as_array().is_none_or(Vec::is_empty) {
            return Ok(());
        }
        let thing = json!({ "kind": "problems", "valid": !is_wrong, "problems": problems });
        self.line(&thing, || {
            let mut lines = show::findings(problems, &self.whereabouts);
            if is_wrong {
                lines.push("nothing was changed".to_owned());
            }
            lines
        })
    }

    /// Something that went wrong and is no end.
    pub(super) fn trouble(&self, failure: &Failure) -> Result<(), Failure> {
        let thing = json!({ "kind": "trouble", "message": failure.message });
        self.line(&thing, || failure.message.lines().map(str::to_owned).collect())
    }

    /// It is installed for the first time.
    pub(super) fn started(&self, directory: &Path, sources: &[Value]) -> Result<(), Failure> {
        for source in sources {
            let thing = json!({
                "kind": "source", "id": source["id"], "name": source["name"],
                "type": source["type"], "trigger_url": source["trigger_url"],
            });
            self.line(&thing, || {
                let name = text(&source["name"]);
                match source["trigger_url"].as_str() {
                    Some(url) => vec![format!("event source {name}"), format!("  {url}")],
                    None => vec![format!("event source {name}")],
                }
            })?;
        }
        let thing = json!({ "kind": "watching", "directory": directory });
        self.line(&thing, || {
            let directory = directory.display();
            vec![format!("watching {directory}; Ctrl-C ends this, and leaves the snap-in as it is")]
        })
    }

    /// An event that came in.
    pub(super) fn event(&self, event: &Value, source: &str) -> Result<(), Failure> {
        self.line(&json!({ "kind": "event", "event": event }), || {
            let (time, kind) = (time(&event["received_date"]), text(&event["type"]));
            let mut line = format!("{time} event {kind} from {source}");
            if event["runs"].as_array().is_some_and(Vec::is_empty) {
                line.push_str(": no automation takes it");
            }
            vec![line]
        })
    }

    /// A run whose state is another than it was, with the lines of its log that are new.
    pub(super) fn run(&self, run: &Value, logs: &[&Value]) -> Result<(), Failure> {
        self.line(&json!({ "kind": "run", "run": run, "logs": logs }), || run_lines(run, logs))
    }

    /// What a run logs while it is on.
    pub(super) fn log(&self, run: &Value, logs: &[&Value]) -> Result<(), Failure> {
        self.line(&json!({ "kind": "log", "run": run["id"], "logs": logs }), || {
            let mut lines = run_lines(run, logs);
            // What it comes to is not known yet.
            lines.truncate(1 + logs.iter().map(|it| log_lines(it).len()).sum::<usize>());
            lines
        })
    }

    /// A line of the log of an event source.
    pub(super) fn source_log(&self, source: &str, line: &Value) -> Result<(), Failure> {
        let thing = json!({ "kind": "source_log", "event_source": source, "line": line });
        self.line(&thing, || {
            let (time, level) = (time(&line["date"]), text(&line["level"]));
            vec![format!("{time} {level} of event source {source}: {}", text(&line["message"]))]
        })
    }
}

fn run_lines(run: &Value, logs: &[&Value]) -> Vec<String> {
    let (state, function) = (text(&run["state"]), text(&run["function"]));
    let attempts = run["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let last = attempts.last();
    let when = last.map_or(&run["created_date"], |it| &it["started_date"]);
    let mut head = format!("{} {function} {state}", time(when));
    if let Some(milliseconds) = last.and_then(|it| it["duration_ms"].as_u64()) {
        head.push_str(&format!(" in {milliseconds} ms"));
    }
    if let Some(hook) = run["hook"].as_str() {
        head.push_str(&format!(", hook {hook}"));
    }
    if attempts.len() > 1 {
        head.push_str(&format!(", attempt {}", attempts.len()));
    }
    if run["next_attempt_date"].is_string() {
        head.push_str(&format!(", again at {}", time(&run["next_attempt_date"])));
    }
    head.push_str(&format!(", {}", text(&run["id"])));
    let mut lines = vec![head];
    lines.extend(logs.iter().flat_map(|it| log_lines(it)));
    match &run["error"] {
        Value::Null => {}
        error => {
            let (name, message) = (text(&error["name"]), text(&error["message"]));
            let mut said =
                format!("{name}: {message}").lines().map(str::to_owned).collect::<Vec<_>>();
            let stack = error["stack"].as_str().unwrap_or_default().lines();
            said.extend(
                stack.filter(|it| !it.trim().is_empty()).map(|it| format!("  {}", it.trim())),
            );
            lines.extend(said.into_iter().map(|it| format!("  {it}")));
        }
    }
    if state == "succeeded" && !run["result"].is_null() {
        lines.push(format!("  = {}", run["result"]));
    }
    lines
}

fn log_lines(line: &Value) -> Vec<String> {
    let (level, message) = (text(&line["level"]), text(&line["message"]));
    let mut rest = message.lines();
    let mut lines = vec![format!("  {level:<5} {}", rest.next().unwrap_or_default())];
    lines.extend(rest.map(|it| format!("        {it}")));
    lines
}

/// The time of day, as the daemon has it: UTC.
fn time(date: &Value) -> &str {
    date.as_str().and_then(|it| it.get(11..19)).unwrap_or("        ")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A line in as many as it needs; what begins later stands further in. A URL stays whole, because
/// people copy it.
fn wrapped(line: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width.filter(|it| *it >= 20) else { return vec![line.to_owned()] };
    let is_url = line.trim_start().starts_with("http") && !line.trim().contains(' ');
    if is_url || line.chars().count() <= width {
        return vec![line.to_owned()];
    }
    let indent = line.chars().take_while(|it| *it == ' ').count().min(width / 2) + 4;
    let mut lines: Vec<String> = Vec::new();
    let mut rest: Vec<char> = line.chars().collect();
    loop {
        let margin = if lines.is_empty() { 0 } else { indent };
        let room = width - margin;
        let cut = if rest.len() <= room {
            rest.len()
        } else {
            // Between words, unless a word is longer than a line.
            let space = rest[..=room].iter().rposition(|it| *it == ' ');
            space.filter(|it| *it > room / 2).unwrap_or(room)
        };
        let tail = rest.split_off(cut);
        let head: String = rest.iter().collect();
        lines.push(format!("{:margin$}{}", "", head.trim_end()));
        rest = tail.into_iter().skip_while(|it| *it == ' ').collect();
        if rest.is_empty() {
            return lines;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_and_urls_stay() {
        let line = format!("  info  {}", "word ".repeat(40));
        for width in [20, 40, 80] {
            let lines = wrapped(&line, Some(width));
            assert!(lines.iter().all(|it| it.chars().count() <= width), "{lines:?}");
            let words = lines.join(" ").split_whitespace().filter(|it| *it == "word").count();
            assert_eq!(words, 40, "{lines:?}");
        }
        let long = "ä".repeat(200);
        let lines = wrapped(&long, Some(80));
        assert_eq!(lines.concat().replace(' ', ""), long);
        let url = format!("  http://host/{}", "x".repeat(100));
        assert_eq!(wrapped(&url, Some(80)), std::slice::from_ref(&url));
        assert_eq!(wrapped(&long, None), std::slice::from_ref(&long));
    }

    #[test]
    fn a_run_shows_its_log_and_what_came_of_it() {
        let mut run = json!({
            "id": "run_1", "function": "greet", "state": "succeeded", "result": { "n": 1 },
            "attempts": [{ "started_date": "2026-11-21T10:12:15.123Z", "duration_ms": 12 }],
        });
        let log = json!({ "level": "info", "message": "one\ntwo" });
        assert_eq!(
            run_lines(&run, &[&log]),
            [
                "10:12:15 greet succeeded in 12 ms, run_1",
                "  info  one",
                "        two",
                "  = {\"n\":1}"
            ]
        );
        run["state"] = json!("failed");
        run["error"] =
            json!({ "name": "Error", "message": "no", "stack": "at run (src/a.ts:1:2)\n" });
        let lines = run_lines(&run, &[]);
        assert_eq!(lines[1..], ["  Error: no", "    at run (src/a.ts:1:2)"]);
    }
}
