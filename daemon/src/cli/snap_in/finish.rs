//! What there is to say when a snap-in was installed or moved: how it is, where its events go, and
//! how the other side is set up.

use serde_json::{Value, json};

use super::settle::refuse_error;
use crate::cli::Failure;
use crate::cli::connection::Client;
use crate::cli::show::{self, heading, plain};

/// Shows it; one that is in ERROR is a failure.
pub(super) fn report(
    client: &Client,
    as_json: bool,
    id: &Value,
    created: bool,
) -> Result<(), Failure> {
    let snap_in = client.call("snap-ins.get", &json!({ "id": id }))?["snap_in"].clone();
    let sources = sources(client, &snap_in)?;
    if as_json {
        let answer = json!({ "snap_in": snap_in, "event_sources": sources, "created": created });
        show::print(&format!("{answer:#}"))?;
        return refuse_error(&snap_in);
    }
    show::print(&text(&snap_in, &sources, heading))?;
    refuse_error(&snap_in)
}

/// The sources of a snap-in, each with its instructions.
pub(super) fn sources(client: &Client, snap_in: &Value) -> Result<Vec<Value>, Failure> {
    let ids = snap_in["event_sources"].as_array().cloned().unwrap_or_default();
    let get = |id: &Value| {
        let answer = client.call("event-sources.get", &json!({ "id": id }))?;
        Ok(answer["event_source"].clone())
    };
    ids.iter().map(get).collect()
}

fn text(snap_in: &Value, sources: &[Value], heading: impl Fn(&str) -> String) -> String {
    let of = |value: &Value| plain(value.as_str().unwrap_or_default());
    let scope = of(&snap_in["scope"]);
    let name = if snap_in["name"].is_string() { of(&snap_in["name"]) } else { scope.clone() };
    let head = format!("{name} is {}", of(&snap_in["state"]));
    let number = &snap_in["version_number"];
    let place = format!("  at {scope} ({}), version {number}", of(&snap_in["id"]));
    let mut lines = vec![heading(&head), place];
    for source in sources {
        lines.push(format!("\n{}", heading(&format!("Event source {}", of(&source["name"])))));
        lines.push(format!("  {}", of(&source["trigger_url"])));
        if let Some(content) = source["setup_instructions"]["content"].as_str() {
            lines.push(String::new());
            lines.extend(plain(content.trim()).lines().map(indented));
        }
    }
    let missing = snap_in["missing"].as_array().cloned().unwrap_or_default();
    if !missing.is_empty() {
        lines.push(format!("\n{}", heading("Missing")));
        lines.extend(missing.iter().map(|it| format!("  {}", show::missing_thing(it))));
    }
    lines.push(format!("\n{}", heading("What next")));
    if snap_in["state"] == "DRAFT" {
        lines.push(format!("  mortise snap-in activate {scope}"));
    }
    lines.push(format!("  mortise snap-in show {scope}"));
    lines.push(format!("  mortise event list --snap-in {scope}"));
    lines.join("\n")
}

fn indented(line: &str) -> String {
    if line.is_empty() { String::new() } else { format!("  {line}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_instructions_are_there() {
        let snap_in = json!({
            "id": "snp_1", "scope": "a/b/c", "state": "DRAFT", "version_number": 2, "name": "Hello",
            "missing": [{
                "kind": "input", "name": "x", "message": "has no value", "command": "do this",
            }],
        });
        let source = json!({
            "name": "hook", "trigger_url": "https://h/hooks/t",
            "setup_instructions": { "content": "# Do\n\nthis \u{1b}[31m\n" },
        });
        assert_eq!(
            text(&snap_in, &[source], |it| format!("*{it}*")),
            "*Hello is DRAFT*\n  at a/b/c (snp_1), version 2\n\n*Event source hook*\n  https://h/hooks/t\n\n  \
             # Do\n\n  this \u{fffd}[31m\n\n*Missing*\n  input x has no value: do this\n\n*What next*\n  \
             mortise snap-in activate a/b/c\n  mortise snap-in show a/b/c\n  \
             mortise event list --snap-in a/b/c"
        );
    }
}
