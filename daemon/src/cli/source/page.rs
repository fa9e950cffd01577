//! `mortise source show`: one page about one source, for somebody who wonders why nothing arrives.
//! Pure but for [`fn@show`], which gathers the facts.

use serde_json::{Value, json};

use crate::cli::Failure;
use crate::cli::connection::Client;
use crate::cli::show::{self, heading, plain};
use crate::cli::table::cut;
use crate::cli::terminal;

/// How many of the last refusals and lines of the log are shown.
const LAST: usize = 10;

/// What a page is made of: the daemon's answers.
struct Facts {
    source: Value,
    scope: String,
    refusals: Value,
    /// Oldest first.
    lines: Vec<Value>,
}

/// Gathers the facts and shows the page.
pub(super) fn show(client: &Client, as_json: bool, id: &str) -> Result<(), Failure> {
    let which = json!({ "id": id });
    let source = client.call("event-sources.get", &which)?["event_source"].clone();
    let refusals = client.call("event-sources.refusals", &which)?;
    let lines = client.call("event-sources.logs", &which)?["lines"].clone();
    if as_json {
        let page = json!({
            "event_source": source,
            "refusals": refusals["refusals"],
            "unseen_refusals": refusals["unseen"],
            "lines": lines,
        });
        return show::print(&format!("{page:#}"));
    }
    let snap_in = client.call("snap-ins.get", &json!({ "id": source["snap_in"] }))?;
    let facts = Facts {
        scope: text(&snap_in["snap_in"]["scope"]),
        lines: lines.as_array().cloned().unwrap_or_default(),
        source,
        refusals,
    };
    show::print(&page(&facts, heading, terminal::width()))
}

/// The page. `width` is that of the terminal; without one, nothing is cut.
fn page(facts: &Facts, heading: impl Fn(&str) -> String, width: Option<usize>) -> String {
    let Facts { source, scope, refusals, lines } = facts;
    let width = width.unwrap_or(usize::MAX);
    let mut page =
        vec![heading(&format!("{}/{}: {}", scope, text(&source["name"]), status(source)))];
    for key in ["reason", "display_name", "description"] {
        page.extend(text(&source[key]).trim().lines().map(|it| format!("  {it}")));
    }
    page.push(String::new());
    let blocked_by = text(&source["blocked_by"]);
    let until = text(&source["previous_trigger_url_until"]);
    let until = if until.is_empty() { until } else { format!("works too, until {until}") };
    for (name, value) in [
        ("id", text(&source["id"])),
        ("type", text(&source["type"])),
        ("user", text(&source["user"])),
        ("blocked by", blocked_by),
        ("trigger URL", text(&source["trigger_url"])),
        ("the one before", until),
        ("next tick", text(&source["next_tick_date"])),
    ] {
        if !value.is_empty() {
            // People copy from these: they are never cut.
            page.push(format!("  {name:<14}  {value}"));
        }
    }
    let counts = &source["counts"];
    page.push(format!("\n{}", heading(&format!("Since {}", text(&counts["since_date"])))));
    page.extend(numbers(counts));
    if let Some(last) = last_of(&refusals["refusals"]) {
        page.push(format!("\n{}", heading("Last refusals, newest first")));
        for refusal in last {
            page.extend(refusal_lines(refusal).iter().map(|it| cut(it, width)));
        }
        if let Some(unseen) = refusals["unseen"].as_u64().filter(|it| *it > 0) {
            page.push(format!("  and {unseen} that came too fast to be looked at"));
        }
    }
    if let Some(last) = last_of(&Value::Array(lines.clone())) {
        page.push(format!("\n{}", heading("What it said lately, newest first")));
        for line in last {
            let (date, level) = (text(&line["date"]), text(&line["level"]));
            let said = format!("  {date}  {level:<5}{}", times(line));
            page.push(cut(&said, width));
            page.push(cut(&format!("    {}", text(&line["message"])), width));
        }
    }
    let instructions = text(&source["setup_instructions"]["content"]);
    if !instructions.trim().is_empty() {
        page.push(format!("\n{}", heading("Setting it up")));
        page.extend(instructions.trim().lines().map(|it| format!("  {it}")));
    }
    page.iter().map(|it| it.trim_end()).collect::<Vec<_>>().join("\n")
}

/// What it does, in few words.
fn status(source: &Value) -> String {
    match (source["status"].as_str(), source["open"].as_bool()) {
        (Some("active"), Some(true)) => "takes events".to_owned(),
        (Some("active"), _) => "takes no events now (see its log, and its snap-in)".to_owned(),
        (Some(other), _) => other.to_owned(),
        (None, _) => String::new(),
    }
}

fn numbers(counts: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, meaning, last) in [
        ("accepted", "events", "last_accepted_date"),
        ("duplicate", "events that had come before", ""),
        ("answered", "requests that are no events", ""),
        ("refused", "requests", "last_refused_date"),
        ("failed", "requests, to be sent again", ""),
    ] {
        let number = counts[name].as_u64().unwrap_or_default();
        let last = text(&counts[last]);
        let last = if last.is_empty() { last } else { format!(", the last {last}") };
        lines.push(format!("  {name:<10}{number:>10}  {meaning}{last}"));
        let reasons = counts[format!("{name}_by_reason")].as_object();
        for (reason, number) in reasons.into_iter().flatten() {
            let number = number.as_u64().unwrap_or_default();
            lines.push(format!("  {:<10}{number:>10}    {}", "", plain(reason)));
        }
    }
    lines
}

fn refusal_lines(refusal: &Value) -> [String; 2] {
    let status = refusal["status"].as_u64().map(|it| format!(" {it}")).unwrap_or_default();
    let (date, reason) = (text(&refusal["date"]), text(&refusal["reason"]));
    let (method, peer) = (text(&refusal["method"]), text(&refusal["peer"]));
    let from = if peer.is_empty() { peer } else { format!(" from {peer}") };
    let head = format!("  {date} {status} {reason}{}: {method}{from}", times(refusal));
    [head, format!("    {}", text(&refusal["message"]))]
}

fn times(it: &Value) -> String {
    match it["times"].as_u64() {
        Some(times) if times > 1 => format!(" ({times} times)"),
        Some(_) | None => String::new(),
    }
}

/// The last ones of a list, newest first; nothing when it is empty.
fn last_of(list: &Value) -> Option<impl Iterator<Item = &Value>> {
    let list = list.as_array().filter(|it| !it.is_empty())?;
    Some(list.iter().rev().take(LAST))
}

fn text(value: &Value) -> String {
    plain(value.as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let refusal = |n: u64| {
            json!({
                "date": format!("2026-01-0{n}T00:00:00.000Z"), "times": n, "peer": "10.0.0.9",
                "method": "POST", "status": 401, "reason": "bad_signature",
                "message": "the signature in `X-Hub-Signature-256` is not that of the body, by either secret",
            })
        };
        Facts {
            source: json!({
                "id": "src_1", "name": "hook", "type": "flow-custom-webhook", "status": "blocked",
                "open": false, "reason": "it floods us", "blocked_by": "token:admin",
                "trigger_url": "http://127.0.0.1:7777/hooks/abc",
                "previous_trigger_url_until": "2026-01-09T00:00:00.000Z",
                "counts": {
                    "since_date": "2026-01-01T00:00:00.000Z", "accepted": 12, "duplicate": 0,
                    "answered": 1, "refused": 3, "refused_by_reason": { "bad_signature": 3 },
                    "failed": 0, "failed_by_reason": {},
                    "last_refused_date": "2026-01-02T00:00:00.000Z",
                },
                "setup_instructions": { "content": "# Do\n\nthis\n" },
            }),
            scope: "prod/team/sync".to_owned(),
            refusals: json!({ "refusals": [refusal(1), refusal(2)], "unseen": 7 }),
            lines: vec![json!({
                "date": "2026-01-01T00:00:00.000Z", "level": "warn", "times": 1, "message": "hm\u{1b}[2J",
            })],
        }
    }

    #[test]
    fn a_page_says_what_became_of_everything() {
        let shown = page(&facts(), str::to_owned, Some(80));
        for hint in [
            "prod/team/sync/hook: blocked\n  it floods us\n",
            "blocked by      token:admin",
            "works too, until 2026-01-09",
            "accepted          12  events",
            "   3    bad_signature",
            "  2026-01-02T00:00:00.000Z  401 bad_signature (2 times): POST from 10.0.0.9\n",
            "and 7 that came too fast",
            "hm\u{fffd}[2J",
            "Setting it up\n  # Do\n\n  this",
        ] {
            assert!(shown.contains(hint), "{hint:?} in\n{shown}");
        }
        let newest = shown.find("2026-01-02T00:00:00.000Z  401").expect("it is there");
        assert!(newest < shown.find("2026-01-01T00:00:00.000Z  401").expect("it is there"));
        for line in shown.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
