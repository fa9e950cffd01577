//! Reads event sources. It never understands a config: that is the plugin's.

use mortise_plugin::reference::{Piece, pieces};
use serde_json::Value;

use crate::model::manifest::{EventSource, Level};

use super::fields::{Elsewhere, Fields, Reader};
use super::instructions::unknown_fields;
use super::names::{NameRule, Need, Space, use_name};
use super::node::Kind;
use super::places::{item, member, place_below};
use super::problem::quoted;
use super::registration::registration;
use super::sections::Leveled;

/// What the known types of sources have in their configs.
const CONFIG_KEYS: &[Elsewhere] = &[(
    &[
        "policy",
        "parameters",
        "event_types",
        "jq_query",
        "cron",
        "interval_seconds",
        "metadata",
        "allowlist",
    ],
    "`config`",
)];

/// Thirty days.
const MOST_DEDUP_SECONDS: u32 = 30 * 24 * 60 * 60;

pub(super) fn read(r: &mut Reader, entry: &Leveled<'_>) -> Option<EventSource> {
    let mut fields = Fields::open(r, entry.node, &entry.path)?;
    fields.knows_elsewhere(CONFIG_KEYS);
    let name = fields.name(r, "name", NameRule::Label, Space::Source);
    let kind = fields
        .required_text(r, "type", "it says which plugin provides the events")
        .unwrap_or_default();
    let mut config = read_config(r, &mut fields);
    check_secrets(r, &mut fields, &config, entry.level);
    adopt_filter(r, &mut fields, &mut config, entry);
    let setup_instructions = fields.text(r, "setup_instructions");
    let source = EventSource {
        level: entry.level,
        name,
        display_name: fields.text(r, "display_name"),
        description: fields.text(r, "description"),
        kind,
        connection: fields.optional_reference(r, "connection", Space::Keyring),
        config,
        setup_instructions,
        dedup_window_seconds: fields.number(r, "dedup_window_seconds", 0..=MOST_DEDUP_SECONDS),
        registration: registration(r, &mut fields, entry.level),
    };
    warn_of_unknown_fields(r, &fields, &source);
    fields.finish(r);
    Some(source)
}

fn read_config(r: &mut Reader, fields: &mut Fields<'_>) -> Value {
    let empty = || Value::Object(serde_json::Map::new());
    let Some(node) = fields.get("config") else { return empty() };
    if !matches!(node.kind, Kind::Map(_)) {
        let message = format!("expected a mapping, found {}", node.describe());
        r.problems.error(node.place, &fields.path_of("config"), message);
        return empty();
    }
    fields.json(r, "config").unwrap_or_else(empty)
}

/// Every `${{ keyrings.NAME }}` in a text of the config must be one that can be put in.
fn check_secrets(r: &mut Reader, fields: &mut Fields<'_>, config: &Value, level: Level) {
    let mut texts = Vec::new();
    collect_texts(config, "", &mut texts);
    let Some(node) = fields.get("config") else { return };
    let need = match level {
        Level::Organization => Need::Shared,
        Level::User => Need::Declared,
    };
    for (below, text) in texts {
        let path = join(&fields.path_of("config"), &below);
        for piece in pieces(text) {
            match piece {
                Piece::Text(_) => {}
                Piece::Reference(found) => {
                    let place = place_below(node, &below);
                    use_name(r, need, Space::Keyring, &found.keyring, place, path.clone());
                }
                Piece::Unknown(written) => {
                    let message = format!("{} stays as it is", quoted(written));
                    let allowed = ["${{ keyrings.NAME }}", "${{ keyrings.NAME.FIELD }}"];
                    r.problems.warn_allowing(place_below(node, &below), &path, message, allowed);
                }
            }
        }
    }
}

fn collect_texts<'a>(value: &'a Value, path: &str, texts: &mut Vec<(String, &'a str)>) {
    match value {
        Value::String(text) if text.contains("${{") => texts.push((path.to_owned(), text)),
        Value::Array(items) => {
            for (index, it) in items.iter().enumerate() {
                collect_texts(it, &item(path, index), texts);
            }
        }
        Value::Object(members) => {
            for (key, it) in members {
                collect_texts(it, &member(path, key), texts);
            }
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn join(path: &str, below: &str) -> String {
    match below {
        "" => path.to_owned(),
        inner if inner.starts_with('[') => format!("{path}{inner}"),
        inner => format!("{path}.{inner}"),
    }
}

/// Real manifests have `filter` beside `config` instead of inside it.
fn adopt_filter(r: &mut Reader, fields: &mut Fields<'_>, config: &mut Value, entry: &Leveled<'_>) {
    let Some(filter) = fields.json(r, "filter") else { return };
    let (place, path) = (fields.key_place("filter"), fields.path_of("filter"));
    let Value::Object(config) = config else { return };
    if config.contains_key("filter") {
        let message = "belongs into `config`, which has one too; this one was left out";
        r.problems.warn(place, &path, message);
        return;
    }
    config.insert("filter".to_owned(), filter);
    let canonical = member(&member(&entry.canonical, "config"), "filter");
    r.moved.insert(canonical, path.clone());
    r.problems.warn(place, &path, "belongs into `config`, and was taken as if it were there");
}

/// A placeholder that nothing fills is shown to the user as it stands.
fn warn_of_unknown_fields(r: &mut Reader, fields: &Fields<'_>, source: &EventSource) {
    let Some(template) = &source.setup_instructions else { return };
    for field in unknown_fields(template, &source.config) {
        let message = format!("{} is no field of this source and stays as it is", quoted(&field));
        let place = fields.value_place("setup_instructions");
        let allowed = ["source.name", "source.trigger_url", "source.config.FIELD"];
        r.problems.warn_allowing(place, &fields.path_of("setup_instructions"), message, allowed);
    }
}
