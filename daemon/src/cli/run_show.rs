//! `mortise run show` for people: one run with what belongs to it, in lines. Pure, but for the calls
//! that find out the names of things that a run knows by id.

use serde_json::{Value, json};

use super::Failure;
use super::connection::Client;
use super::show::{self, View, plain};

/// A longer result or reason has lines of its own.
const MOST_IN_A_LINE: usize = 100;

/// What a run is shown with that it does not hold itself. Absent when it is not there any more, or
/// when the token does not reach it.
#[derive(Default)]
struct Around {
    /// Scope of the snap-in.
    scope: Option<String>,
    /// What runs the function, and why.
    runtime: Option<(String, String)>,
}

/// Shows a run, when it has ended or after a while.
pub(super) fn run(client: &Client, as_json: bool, id: &str, wait: u32) -> Result<(), Failure> {
    let answer = client.call("runs.get", &json!({ "id": id, "wait_seconds": wait }))?;
    if as_json {
        return show::answer(&answer, &View::EVERYTHING, true);
    }
    let run = &answer["run"];
    let around = around(client, run)?;
    show::print(&lines(run, &around).join("\n"))
}

fn around(client: &Client, run: &Value) -> Result<Around, Failure> {
    let get = |name: &str, id: &Value| -> Result<Value, Failure> {
        Ok(client.try_call(name, &json!({ "id": id }))?.unwrap_or_default())
    };
    let snap_in = get("snap-ins.get", &run["snap_in"])?;
    let version = get("versions.get", &run["version"])?;
    let chosen = run["function"].as_str().map(|it| &version["version"]["runtimes"][it]);
    let runtime = chosen.and_then(|it| Some((owned(&it["runtime"])?, owned(&it["why"])?)));
    Ok(Around { scope: owned(&snap_in["snap_in"]["scope"]), runtime })
}

fn owned(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn lines(run: &Value, around: &Around) -> Vec<String> {
    let text = |key: &str| run[key].as_str();
    let mut rows: Vec<(&str, Option<String>)> = vec![
        ("run", owned(&run["id"])),
        ("state", owned(&run["state"])),
        ("snap-in", Some(snap_in(run, around.scope.as_deref()))),
        ("version", owned(&run["version"])),
        ("function", owned(&run["function"])),
        ("runtime", around.runtime.as_ref().map(|(it, why)| format!("{it}: {why}"))),
        ("called by", Some(trigger(&run["trigger"]))),
        ("asked by", owned(&run["ordered_by"])),
        ("on behalf of", owned(&run["user"])),
        ("in order by", text("sync_id").map(|it| in_order(it, text("state")))),
        ("replay of", owned(&run["replay_of"])),
        ("created", owned(&run["created_date"])),
        ("ended", owned(&run["ended_date"])),
        ("next attempt", owned(&run["next_attempt_date"])),
    ];
    rows.retain(|(_, value)| value.is_some());
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or_default();
    let row = |(label, value): (&str, Option<String>)| {
        format!("{label:<width$}  {}", one_line(&value.unwrap_or_default()))
    };
    let mut lines: Vec<String> = rows.into_iter().map(row).collect();
    lines.extend(section("attempts", &run["attempts"], attempt));
    lines.extend(section("requests", &run["requests"], |_, it| request(it)));
    lines.extend(error(&run["error"]));
    lines.extend(result(&run["result"]));
    lines.extend(section("log so far", &run["logs_so_far"], |_, it| log_line(it)));
    if !run["ended_date"].is_null() {
        lines.push(format!(
            "its log: mortise run logs {}",
            one_line(text("id").unwrap_or_default())
        ));
    }
    lines
}

fn snap_in(run: &Value, scope: Option<&str>) -> String {
    let id = run["snap_in"].as_str().unwrap_or_default();
    match scope {
        Some(scope) => format!("{scope} ({id})"),
        None => id.to_owned(),
    }
}

/// What called it, with the ids that lead on.
fn trigger(trigger: &Value) -> String {
    let text = |key: &str| trigger[key].as_str().unwrap_or_default();
    let of = |what: &str, key: &str| format!("{what} {}", text(key));
    match text("type") {
        "automation" => format!("automation {}, for event {}", text("automation"), text("event")),
        "call" => "functions.call".to_owned(),
        "hook" => of("hook", "hook"),
        "command" => format!("command {} {}", text("namespace"), text("name")),
        "snap_kit_action" => of("snap-kit action", "name"),
        "snap_component" => of("snap component", "name"),
        "configuration_page" => of("configuration page", "level"),
        "operation" => of("operation", "slug"),
        // Of a newer daemon.
        other => other.to_owned(),
    }
}

fn in_order(key: &str, state: Option<&str>) -> String {
    let waits = match state {
        Some("queued") => ": it waits for earlier runs of its function with this `sync_id`",
        _ => ": after earlier runs of its function with this `sync_id`",
    };
    format!("`{key}`{waits}")
}

fn section(title: &str, items: &Value, line: impl Fn(usize, &Value) -> Vec<String>) -> Vec<String> {
    let items = items.as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        return Vec::new();
    }
    let head = format!("{title} ({})", items.len());
    let under = items.iter().enumerate().flat_map(|(at, it)| line(at, it));
    std::iter::once(head).chain(under.map(|it| format!("  {it}"))).collect()
}

fn attempt(at: usize, attempt: &Value) -> Vec<String> {
    let text = |key: &str| attempt[key].as_str().unwrap_or_default();
    let mut line = format!("{}  {}  {}", at + 1, text("started_date"), text("outcome"));
    if let Some(took) = attempt["duration_ms"].as_u64() {
        line.push_str(&format!(" after {took} ms"));
    }
    match text("reason") {
        "" => vec![one_line(&line)],
        reason if reason.contains('\n') || reason.len() > MOST_IN_A_LINE => {
            let reason = plain(reason);
            let under = reason.lines().map(|it| format!("   {it}"));
            std::iter::once(format!("{}:", one_line(&line))).chain(under).collect()
        }
        reason => vec![one_line(&format!("{line}: {reason}"))],
    }
}

fn request(request: &Value) -> Vec<String> {
    let text = |key: &str| request[key].as_str().unwrap_or_default();
    let mut line = format!("{} {}", text("method"), text("target"));
    match (request["status"].as_u64(), text("error")) {
        (Some(status), _) => line.push_str(&format!(" -> {status}")),
        (None, "") => line.push_str(" -> no answer before the run ended"),
        (None, error) => line.push_str(&format!(" -> {error}")),
    }
    if let Some(took) = request["duration_ms"].as_u64() {
        line.push_str(&format!(" ({took} ms)"));
    }
    vec![one_line(&line)]
}

fn error(error: &Value) -> Vec<String> {
    if error.is_null() {
        return Vec::new();
    }
    let text = |key: &str| error[key].as_str().unwrap_or_default();
    let kind = match text("name") {
        "" => text("kind").to_owned(),
        name => format!("{}, {name}", text("kind")),
    };
    let message = plain(text("message"));
    let mut said = message.lines();
    let mut lines =
        vec![format!("error ({}): {}", one_line(&kind), said.next().unwrap_or_default())];
    lines.extend(said.map(|it| format!("  {it}")));
    lines.extend(plain(text("stack")).lines().map(|it| format!("  {it}")));
    lines
}

fn result(result: &Value) -> Vec<String> {
    if result.is_null() {
        return Vec::new();
    }
    let short = one_line(&result.to_string());
    if short.len() <= MOST_IN_A_LINE {
        return vec![format!("result: {short}")];
    }
    let long = plain(&format!("{result:#}"));
    let under = long.lines().map(|it| format!("  {it}"));
    std::iter::once("result:".to_owned()).chain(under).collect()
}

fn log_line(line: &Value) -> Vec<String> {
    let text = |key: &str| line[key].as_str().unwrap_or_default();
    let message = plain(text("message"));
    message.lines().map(|it| format!("{:<5} {it}", text("level"))).collect()
}

fn one_line(text: &str) -> String {
    plain(&text.replace(['\n', '\r', '\t'], " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_shown_with_what_belongs_to_it() {
        let run = json!({
            "id": "run_1", "state": "retrying", "snap_in": "sni_1", "version": "ver_1",
            "function": "work", "sync_id": "blue\u{1b}", "created_date": "D1",
            "next_attempt_date": "D2",
            "trigger": { "type": "automation", "automation": "aut_1", "event": "evt_1" },
            "attempts": [
                { "started_date": "D3", "duration_ms": 12, "outcome": "failed", "reason": "no\nway" },
                { "started_date": "D4", "outcome": "running" },
            ],
            "requests": [
                { "method": "GET", "target": "https://a/b", "status": 200, "duration_ms": 5 },
                { "method": "PUT", "target": "https://a/c", "error": "refused" },
            ],
            "error": { "kind": "thrown", "name": "Error", "message": "no\nway", "stack": "at x" },
            "logs_so_far": [{ "level": "info", "message": "on it" }],
        });
        let around = Around {
            scope: Some("a/b/c".to_owned()),
            runtime: Some(("quickjs".to_owned(), "nothing needs more".to_owned())),
        };
        let expected = "\
run           run_1
state         retrying
snap-in       a/b/c (sni_1)
version       ver_1
function      work
runtime       quickjs: nothing needs more
called by     automation aut_1, for event evt_1
in order by   `blue\u{fffd}`: after earlier runs of its function with this `sync_id`
created       D1
next attempt  D2
attempts (2)
  1  D3  failed after 12 ms:
     no
     way
  2  D4  running
requests (2)
  GET https://a/b -> 200 (5 ms)
  PUT https://a/c -> refused
error (thrown, Error): no
  way
  at x
log so far (1)
  info  on it";
        assert_eq!(lines(&run, &around).join("\n"), expected);
    }

    #[test]
    fn what_is_not_there_is_not_shown() {
        let trigger = json!({ "type": "hook", "hook": "activate" });
        let run = json!({
            "id": "run_1", "state": "succeeded", "snap_in": "sni_1", "trigger": trigger,
            "ended_date": "D", "result": { "a": 1 }, "sync_id": null,
        });
        let shown = lines(&run, &Around::default());
        let expected = [
            "run        run_1",
            "state      succeeded",
            "snap-in    sni_1",
            "called by  hook activate",
            "ended      D",
            "result: {\"a\":1}",
            "its log: mortise run logs run_1",
        ];
        assert_eq!(shown, expected);
    }
}
