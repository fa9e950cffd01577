//! `mortise snap-in show`: one page about one snap-in, for somebody who has to know how it is and
//! what to do next. Pure but for [`fn@show`], which gathers the facts.

use serde_json::{Value, json};

use super::ask::{kind, shown};
use super::{configure, finish, upgrade};
use crate::cli::Failure;
use crate::cli::connection::Client;
use crate::cli::show::{self, heading, plain};
use crate::cli::table::cut;
use crate::cli::terminal;
use crate::model::manifest::{Level, Manifest};

/// How many of the last runs are shown.
const RUNS: usize = 5;

/// What a page is made of: the daemon's answers, and the manifest.
pub(super) struct Facts {
    pub(super) snap_in: Value,
    pub(super) manifest: Manifest,
    pub(super) sources: Vec<Value>,
    /// The last runs, newest first.
    pub(super) runs: Vec<Value>,
    /// Whether there are dead letters.
    pub(super) has_dead_letters: bool,
    /// Those of its package.
    pub(super) versions: Vec<Value>,
    /// Those who have set something for themselves.
    pub(super) users: Vec<Value>,
}

/// Gathers the facts and shows the page.
pub(super) fn show(client: &Client, as_json: bool, text: &str) -> Result<(), Failure> {
    let snap_in = upgrade::get(client, text)?;
    let of = json!({ "snap_in": snap_in["id"], "limit": RUNS });
    let runs = client.call("runs.list", &of)?["runs"].clone();
    let dead = client.call("dead-letters.list", &of)?["runs"].clone();
    let sources = finish::sources(client, &snap_in)?;
    let whose = json!({ "id": snap_in["id"] });
    let users = match client.list_all("snap-ins.list-users", "users", &whose) {
        Ok(users) => Some(users),
        // Whoever may only look does not learn who has set something.
        Err(failure) if failure.is_forbidden() => None,
        Err(failure) => return Err(failure),
    };
    if as_json {
        let page = json!({
            "snap_in": snap_in, "event_sources": sources, "runs": runs, "dead_letters": dead,
            "users": users,
        });
        return show::print(&format!("{page:#}"));
    }
    let of_package = json!({ "package": snap_in["package"] });
    let facts = Facts {
        manifest: configure::manifest_of(client, &snap_in)?,
        versions: client.list_all("versions.list", "versions", &of_package)?,
        sources,
        users: users.unwrap_or_default(),
        runs: runs.as_array().cloned().unwrap_or_default(),
        has_dead_letters: dead.as_array().is_some_and(|it| !it.is_empty()),
        snap_in,
    };
    show::print(&page(&facts, heading, terminal::width()))
}

/// The page. `width` is that of the terminal; without one, nothing is cut.
fn page(facts: &Facts, heading: impl Fn(&str) -> String, width: Option<usize>) -> String {
    let mut page = Page { lines: Vec::new(), width: width.unwrap_or(usize::MAX) };
    let Facts { snap_in, manifest, .. } = facts;
    let scope = of(snap_in, "scope");
    let name = if snap_in["name"].is_string() { of(snap_in, "name") } else { scope.clone() };
    page.line(&heading(&format!("{name}: {}", of(snap_in, "state"))));
    for line in of(snap_in, "reason").lines() {
        page.line(&format!("  {line}"));
    }
    for line in of(snap_in, "description").trim().lines() {
        page.line(&format!("  {line}"));
    }
    let version = format!(
        "{} {} ({})",
        of(snap_in, "package_slug"),
        snap_in["version_number"],
        of(snap_in, "version")
    );
    let changed = short_date(&of(snap_in, "changed_date"));
    let created =
        format!("{} by {}", short_date(&of(snap_in, "created_date")), of(snap_in, "created_by"));
    page.pairs(&[
        ("scope", scope),
        ("id", of(snap_in, "id")),
        ("version", version),
        ("in this state", format!("since {changed}")),
        ("installed", created),
    ]);
    page.section(&heading("Inputs"), inputs(snap_in, manifest));
    page.section(&heading("Keyrings"), keyrings(snap_in));
    page.section(&heading("Event sources"), sources(&facts.sources));
    page.section(&heading("Automations"), automations(manifest));
    page.section(&heading("Hooks"), hooks(manifest));
    page.section(&heading("Functions"), functions(manifest));
    page.section(&heading("Commands"), commands(manifest));
    page.section(&heading("For each user"), of_users(manifest));
    page.section(&heading("Users"), users(&facts.users));
    page.section(&heading("Tags"), tags(snap_in));
    page.section(&heading("Last runs"), runs(&facts.runs));
    page.section(&heading("Past versions"), past_versions(facts));
    page.section(&heading("What next"), what_next(facts));
    page.lines.join("\n")
}

/// One thing in a section: its parts in columns, and lines that belong to it.
struct Item {
    columns: Vec<String>,
    /// How many columns people copy from; the others are cut on a narrow terminal.
    whole: usize,
    below: Vec<String>,
}

impl Item {
    fn of(columns: impl IntoIterator<Item = String>) -> Item {
        Item { columns: columns.into_iter().collect(), whole: 1, below: Vec::new() }
    }

    fn with_whole(self, whole: usize) -> Item {
        Item { whole, ..self }
    }

    fn with(mut self, below: impl IntoIterator<Item = String>) -> Item {
        self.below.extend(below);
        self
    }
}

struct Page {
    lines: Vec<String>,
    width: usize,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.lines.push(line.to_owned());
    }

    fn pairs(&mut self, pairs: &[(&str, String)]) {
        self.line("");
        for (name, value) in pairs {
            self.line(&format!("  {name:<14} {value}"));
        }
    }

    /// A section with its items in columns; nothing without items.
    fn section(&mut self, title: &str, items: Vec<Item>) {
        if items.is_empty() {
            return;
        }
        self.line("");
        self.line(title);
        let columns = items.iter().map(|it| it.columns.len()).max().unwrap_or_default();
        let length =
            |item: &Item, at: usize| item.columns.get(at).map_or(0, |it| it.chars().count());
        let widths: Vec<usize> = (0..columns)
            .map(|at| items.iter().map(|it| length(it, at)).max().unwrap_or_default())
            .collect();
        for item in items {
            let mut line = String::from("  ");
            let mut least = 0;
            let last = item.columns.len().saturating_sub(1);
            for (at, (text, width)) in item.columns.iter().zip(&widths).enumerate() {
                match at == last {
                    true => line.push_str(text),
                    false => line.push_str(&format!("{text:<width$}  ")),
                }
                if at < item.whole {
                    least = line.trim_end().chars().count();
                }
            }
            let line = cut(line.trim_end(), self.width.max(least + 1));
            self.lines.push(line.trim_end_matches([' ', '…']).to_owned());
            self.lines.extend(item.below.into_iter().map(|it| format!("      {it}")));
        }
    }
}

fn inputs(snap_in: &Value, manifest: &Manifest) -> Vec<Item> {
    let values = snap_in["inputs"].as_array().into_iter().flatten();
    let visible = values.filter(|it| it["is_hidden"] != true);
    visible
        .map(|it| {
            let value = match &it["value"] {
                Value::Null if it["is_required"] == true => "MISSING".to_owned(),
                Value::Null => "not set".to_owned(),
                value => match plain(&shown(value)) {
                    empty if empty.is_empty() => "(empty)".to_owned(),
                    text => text,
                },
            };
            let origin = match (it["is_set"] == true, it["value"].is_null()) {
                (true, _) => "set",
                (false, false) => "default",
                (false, true) if it["is_required"] == true => "required",
                (false, true) => "optional",
            };
            let name = of(it, "name");
            let declared = manifest.input(Level::Organization, &name);
            let kind = declared.map_or_else(|| of(it, "field_type"), kind);
            Item::of([name, cut(&value, 50), format!("{kind}, {origin}")])
        })
        .collect()
}

fn keyrings(snap_in: &Value) -> Vec<Item> {
    let keyrings = snap_in["keyrings"].as_array().into_iter().flatten();
    keyrings
        .map(|it| {
            let state = match it["state"].as_str() {
                Some("missing") if it["optional"] != true => "MISSING".to_owned(),
                Some("broken") => "BROKEN".to_owned(),
                _ => of(it, "state"),
            };
            let types = it["types"].as_array().into_iter().flatten();
            let types: Vec<String> = types.filter_map(Value::as_str).map(plain).collect();
            let mut about = types.join(" or ");
            if it["optional"] == true {
                about.push_str(", optional");
            }
            let operations = it["operations"].as_array().into_iter().flatten();
            let operations: Vec<String> = operations.filter_map(Value::as_str).map(plain).collect();
            if !operations.is_empty() {
                about.push_str(&format!(", for operation {}", operations.join(", ")));
            }
            if it["expires_date"].is_string() {
                about.push_str(&format!(", until {}", short_date(&of(it, "expires_date"))));
            }
            let reason = Some(of(it, "reason")).filter(|it| !it.is_empty());
            Item::of([of(it, "name"), state, about]).with(reason)
        })
        .collect()
}

fn sources(sources: &[Value]) -> Vec<Item> {
    let item = |it: &Value| {
        let open = match (it["status"].as_str(), it["open"] == true) {
            (Some("active"), true) => "open".to_owned(),
            (Some("active"), false) => "closed".to_owned(),
            _ => of(it, "status"),
        };
        let reason = Some(of(it, "reason")).filter(|it| !it.is_empty());
        let below = reason.into_iter().chain([of(it, "trigger_url"), of(it, "id")]);
        Item::of([of(it, "name"), open, of(it, "type")]).with(below)
    };
    sources.iter().map(item).collect()
}

fn automations(manifest: &Manifest) -> Vec<Item> {
    let item = |it: &crate::model::manifest::Automation| {
        Item::of([
            plain(&it.name),
            format!("{}: {}", plain(&it.source), plain(&it.event_types.join(", "))),
            format!("→ {}", plain(&it.function)),
        ])
    };
    manifest.automations.iter().map(item).collect()
}

fn hooks(manifest: &Manifest) -> Vec<Item> {
    let item = |it: &crate::model::manifest::Hook| {
        let at = serde_json::to_value(it.hook_type).unwrap_or_default();
        Item::of([shown(&at), format!("→ {}", plain(&it.function))])
    };
    manifest.hooks.iter().map(item).collect()
}

fn functions(manifest: &Manifest) -> Vec<Item> {
    let about = |text: &Option<String>| {
        plain(text.as_deref().unwrap_or_default().lines().next().unwrap_or_default())
    };
    manifest
        .functions
        .iter()
        .map(|it| Item::of([plain(&it.name), about(&it.description)]))
        .collect()
}

fn commands(manifest: &Manifest) -> Vec<Item> {
    let item = |it: &crate::model::manifest::Command| {
        Item::of([
            plain(&format!("/{} {}", it.namespace, it.name)),
            format!("→ {}", plain(&it.function)),
        ])
    };
    manifest.commands.iter().map(item).collect()
}

/// What the user level has; values are each user's own.
fn of_users(manifest: &Manifest) -> Vec<Item> {
    let user = |level: Level| level == Level::User;
    let inputs = manifest.inputs.iter().filter(|it| user(it.level) && !it.ui.is_hidden);
    let keyrings = manifest.keyrings.iter().filter(|it| user(it.level));
    let sources = manifest.event_sources.iter().filter(|it| user(it.level));
    let inputs = inputs.map(|it| Item::of(["input".to_owned(), plain(&it.name), kind(it)]));
    let keyrings = keyrings
        .map(|it| Item::of(["keyring".to_owned(), plain(&it.name), plain(&it.types.join(" or "))]));
    let sources =
        sources.map(|it| Item::of(["event source".to_owned(), plain(&it.name), plain(&it.kind)]));
    inputs.chain(keyrings).chain(sources).collect()
}

fn users(users: &[Value]) -> Vec<Item> {
    let item = |it: &Value| {
        let state = if it["enabled"] == true { "enabled" } else { "not enabled" };
        Item::of([of(it, "name"), state.to_owned()])
    };
    users.iter().map(item).collect()
}

fn tags(snap_in: &Value) -> Vec<Item> {
    let tags = snap_in["tags"].as_object().into_iter().flatten();
    tags.map(|(name, id)| Item::of([plain(name), plain(&shown(id))])).collect()
}

fn runs(runs: &[Value]) -> Vec<Item> {
    let item = |it: &Value| {
        let created = short_date(&of(it, "created_date"));
        Item::of([of(it, "id"), of(it, "function"), of(it, "state"), created])
    };
    runs.iter().map(item).collect()
}

fn past_versions(facts: &Facts) -> Vec<Item> {
    let past = facts.snap_in["past_versions"].as_array().into_iter().flatten();
    let item = |it: &Value| {
        let number = facts.versions.iter().find(|version| version["id"] == it["version"]);
        let number = number.map_or("deleted".to_owned(), |it| it["number"].to_string());
        let until = format!("until {}", short_date(&of(it, "until_date")));
        let by = format!("by {}", of(it, "replaced_by"));
        Item::of([number, of(it, "version"), until, by]).with_whole(2)
    };
    past.map(item).collect()
}

fn what_next(facts: &Facts) -> Vec<Item> {
    let snap_in = &facts.snap_in;
    let scope = of(snap_in, "scope");
    let mut next = Vec::new();
    let missing = snap_in["missing"].as_array().cloned().unwrap_or_default();
    next.extend(missing.iter().map(|it| {
        let why = format!("{} {} {}", of(it, "kind"), of(it, "name"), of(it, "message"));
        Item::of([of(it, "command"), why])
    }));
    let command = |text: &str, why: &str| Item::of([format!("mortise {text}"), why.to_owned()]);
    match snap_in["state"].as_str() {
        Some("DRAFT" | "INACTIVE") if missing.is_empty() => {
            next.push(command(&format!("snap-in activate {scope}"), "nothing is missing"));
        }
        Some("ERROR") => {
            next.push(command(&format!("run list --snap-in {scope} --state failed"), "why"));
            next.push(command(&format!("snap-in activate {scope}"), "after mending it"));
        }
        _ => {}
    }
    let keyrings = snap_in["keyrings"].as_array().into_iter().flatten();
    for keyring in keyrings.filter(|it| it["state"] == "broken") {
        let name = of(keyring, "name");
        next.push(command(&format!("keyring set {scope} {name}"), "or connect: it is broken"));
    }
    for source in facts.sources.iter().filter(|it| it["setup_instructions"].is_object()) {
        let text = format!("source get {}", of(source, "id"));
        next.push(command(&text, "how its other side is set up"));
    }
    for source in facts.sources.iter().filter(|it| it["status"] == "blocked") {
        let text = format!("source logs {}", of(source, "id"));
        next.push(command(&text, "why it is blocked"));
    }
    if facts.has_dead_letters {
        let text = format!("dead-letter list --snap-in {scope}");
        next.push(command(&text, "runs that used up their attempts"));
    }
    let newest = facts.versions.iter().filter_map(|it| it["number"].as_u64()).max();
    if let Some(newest) = newest.filter(|it| Some(*it) > snap_in["version_number"].as_u64()) {
        let text = format!("snap-in upgrade {scope} {newest} --plan");
        next.push(command(&text, "a newer version is there"));
    }
    next
}

fn of(value: &Value, key: &str) -> String {
    plain(value[key].as_str().unwrap_or_default())
}

/// `2026-01-02T03:04:05.678Z` to the minute.
pub(super) fn short_date(text: &str) -> String {
    match text.split_once('T') {
        Some((date, time)) if time.ends_with('Z') && time.is_char_boundary(5) => {
            format!("{date} {} UTC", &time[..5])
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;

    const MANIFEST: &str = "
version: '2'
name: Hello
description: Greets.
inputs:
  organization:
    - {name: greeting, field_type: text, default_value: hello}
    - {name: level, field_type: enum, allowed_values: [low, high], is_required: true}
  user:
    - {name: mine, field_type: bool}
functions:
  - {name: greet, description: Says it.}
hooks:
  - {type: validate, function: greet}
event_sources:
  organization:
    - {name: hook, display_name: h, description: d, type: flow-custom-webhook}
automations:
  - {name: All, source: hook, event_types: ['custom:a', 'custom:b'], function: greet}
";

    fn facts() -> Facts {
        let parsed = manifest::parse(MANIFEST);
        let snap_in = json!({
            "id": "snp_1", "scope": "a/b/hello", "state": "ERROR", "reason": "the hook said no",
            "name": "Hello", "description": "Greets.", "package_slug": "hello",
            "version": "ver_2", "version_number": 2, "created_by": "root",
            "created_date": "2026-01-02T03:04:05.678Z", "changed_date": "2026-01-03T03:04:05Z",
            "inputs": [
                { "name": "greeting", "value": "hello", "is_set": false, "is_required": false },
                { "name": "level", "is_set": false, "is_required": true },
                { "name": "state", "value": 1, "is_set": true, "is_hidden": true },
            ],
            "keyrings": [{
                "name": "github", "types": ["snap_in_secret", "granted"], "state": "broken",
                "reason": "the token was revoked", "optional": false,
                "expires_date": "2026-01-03T04:00:00Z",
            }],
            "missing": [{
                "kind": "input", "name": "level", "message": "has no value",
                "command": "mortise snap-in set a/b/hello level=VALUE",
            }],
            "tags": { "urgent": "tag_1" },
            "past_versions": [{
                "version": "ver_1", "until_date": "2026-01-03T03:00:00Z", "replaced_by": "root",
            }],
        });
        Facts {
            snap_in,
            manifest: parsed.manifest.unwrap_or_else(|| panic!("{:?}", parsed.problems)),
            sources: vec![json!({
                "id": "src_1", "name": "hook", "status": "active", "open": false,
                "type": "flow-custom-webhook", "trigger_url": "https://host/hooks/token",
                "setup_instructions": { "content": "x" },
            })],
            runs: vec![json!({
                "id": "run_1", "function": "greet", "state": "failed",
                "created_date": "2026-01-03T03:04:05Z",
            })],
            has_dead_letters: true,
            users: vec![json!({ "id": "usr_1", "name": "ada", "enabled": true })],
            versions: vec![
                json!({ "id": "ver_1", "number": 1 }),
                json!({ "id": "ver_3", "number": 3 }),
            ],
        }
    }

    const EXPECTED: &str = "\
Hello: ERROR
  the hook said no
  Greets.

  scope          a/b/hello
  id             snp_1
  version        hello 2 (ver_2)
  in this state  since 2026-01-03 03:04 UTC
  installed      2026-01-02 03:04 UTC by root

Inputs
  greeting  hello    text, default
  level     MISSING  enum, required

Keyrings
  github  BROKEN  snap_in_secret or granted, until 2026-01-03 04:00 UTC
      the token was revoked

Event sources
  hook  closed  flow-custom-webhook
      https://host/hooks/token
      src_1

Automations
  All  hook: custom:a, custom:b  → greet

Hooks
  validate  → greet

Functions
  greet  Says it.

For each user
  input  mine  yes or no

Users
  ada  enabled

Tags
  urgent  tag_1

Last runs
  run_1  greet  failed  2026-01-03 03:04 UTC

Past versions
  1  ver_1  until 2026-01-03 03:00 UTC  by root

What next
  mortise snap-in set a/b/hello level=VALUE            input level has no value
  mortise run list --snap-in a/b/hello --state failed  why
  mortise snap-in activate a/b/hello                   after mending it
  mortise keyring set a/b/hello github                 or connect: it is broken
  mortise source get src_1                             how its other side is set up
  mortise dead-letter list --snap-in a/b/hello         runs that used up their attempts
  mortise snap-in upgrade a/b/hello 3 --plan           a newer version is there";

    #[test]
    fn the_page_says_everything() {
        assert_eq!(page(&facts(), str::to_owned, None), EXPECTED);
    }

    #[test]
    fn on_a_narrow_terminal_what_people_copy_stays_whole() {
        let page = page(&facts(), str::to_owned, Some(30));
        assert!(page.contains("\n      https://host/hooks/token\n"), "{page}");
        assert!(page.contains("\n  hook  closed  flow-custom-w\n"), "{page}");
        assert!(page.contains("\n  mortise snap-in set a/b/hello level=VALUE\n"), "{page}");
    }

    #[test]
    fn one_that_is_whole_can_be_activated() {
        let mut facts = facts();
        facts.snap_in["state"] = json!("DRAFT");
        facts.snap_in["missing"] = json!([]);
        let page = page(&facts, str::to_owned, None);
        assert!(page.contains("snap-in activate a/b/hello"), "{page}");
    }

    #[test]
    fn dates() {
        assert_eq!(short_date("2026-01-02T03:04:05.678Z"), "2026-01-02 03:04 UTC");
        assert_eq!(short_date("never"), "never");
        assert_eq!(short_date("T1Z"), "T1Z");
    }
}
