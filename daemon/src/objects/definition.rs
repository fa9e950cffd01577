//! Whether the definition of a type makes sense, and what its fields are in the index.
//!
//! Schemas come from authors who are not trusted: what checking an object costs is bounded by what is
//! allowed here (no schema leads back into itself, and its whole size with references followed is
//! bounded; patterns are of the kind that take linear time).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::FieldProblem;
use super::check::Checker;
use super::document::STANDARD;
use super::index::FIRST_OWN;
use crate::configuration::suggest;
use crate::model::id;
use crate::model::object::FieldNumber;
use crate::model::object_type::{
    Defined, DisplayIds, IndexKind, IndexedField, ObjectType, Targets,
};

/// Names that the daemon's own resources have, or will have, in calls, answers and events.
pub const RESERVED: [&str; 95] = [
    "actor",
    "api",
    "artifact",
    "artifacts",
    "audit",
    "audit_log",
    "auth_token",
    "auth_tokens",
    "automation",
    "automations",
    "change",
    "changes",
    "command",
    "commands",
    "configuration_page",
    "configuration_pages",
    "dead_letter",
    "dead_letters",
    "deliveries",
    "delivery",
    "developer_keyring",
    "developer_keyrings",
    "effect",
    "event",
    "event_source",
    "event_sources",
    "events",
    "failed_run",
    "failed_runs",
    "function",
    "functions",
    "hook",
    "hooks",
    "integration",
    "integrations",
    "internal",
    "key",
    "keyring",
    "keyring_type",
    "keyring_types",
    "keyrings",
    "keys",
    "milestone",
    "milestones",
    "object",
    "object_type",
    "object_types",
    "objects",
    "occurrence",
    "occurrences",
    "operation",
    "operations",
    "package",
    "packages",
    "plugin",
    "plugins",
    "principal",
    "principal_group",
    "principal_groups",
    "principals",
    "request",
    "requests",
    "role",
    "roles",
    "run",
    "runs",
    "service_account",
    "service_accounts",
    "snap_component",
    "snap_components",
    "snap_in",
    "snap_in_version",
    "snap_in_versions",
    "snap_ins",
    "snap_kit",
    "snap_kit_action",
    "snap_kit_actions",
    "subscription",
    "subscriptions",
    "supplies",
    "supply",
    "system",
    "token",
    "tokens",
    "trigger",
    "triggers",
    "user",
    "users",
    "version",
    "versions",
    "view",
    "views",
    "webhook",
    "webhooks",
    "whoami",
];

const LONGEST_NAME: usize = 64;
const MOST_INDEXED: usize = 64;
const DEEPEST_PATH: usize = 8;
const MOST_SCHEMA_BYTES: usize = 128 * 1024;
/// Nodes of a schema with its references followed.
const MOST_SCHEMA_NODES: usize = 20_000;
/// Of a schema in which each leads to the next.
const DEEPEST_SCHEMA: usize = 64;

/// The plural of a name, where nobody says another.
pub fn default_plural(name: &str) -> String {
    format!("{name}s")
}

/// What ids of a type begin with, where nobody says it.
pub fn default_prefix(name: &str) -> String {
    name.chars().filter(char::is_ascii_lowercase).take(12).collect()
}

/// All that is wrong with a definition, beside the other types that there are.
pub fn check(definition: &ObjectType, others: &[&ObjectType]) -> Vec<FieldProblem> {
    let mut problems = check_without_host(definition, others);
    check_targets(definition, others, &mut problems);
    problems
}

/// The same where not all types are known.
pub fn check_without_host(definition: &ObjectType, others: &[&ObjectType]) -> Vec<FieldProblem> {
    let mut problems = Vec::new();
    check_names(definition, others, &mut problems);
    check_display_ids(definition, others, &mut problems);
    if check_schema(&definition.schema, &mut problems) {
        check_fields(definition, &mut problems);
    }
    problems
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= LONGEST_NAME
        && bytes.next().is_some_and(|it| it.is_ascii_lowercase())
        && bytes.all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
        && !text.ends_with('_')
        && !text.contains("__")
}

fn check_names(definition: &ObjectType, others: &[&ObjectType], problems: &mut Vec<FieldProblem>) {
    for (field, name) in [("name", &definition.name), ("plural", &definition.plural)] {
        if !is_name(name) {
            problems.push(FieldProblem::new(
                field,
                format!(
                    "{} is no name of a type: expected a-z, 0-9 and single underscores, beginning \
                     with a letter, at most {LONGEST_NAME} characters, such as `timeline_entry`",
                    suggest::quoted(name)
                ),
            ));
        } else if RESERVED.contains(&name.as_str()) {
            problems.push(FieldProblem::new(
                field,
                format!("`{name}` is the name of something of Mortise's own; take another"),
            ));
        }
        for other in others.iter().filter(|it| it.name != definition.name) {
            if *name == other.name || *name == other.plural {
                problems.push(FieldProblem::new(
                    field,
                    format!("`{name}` is a name of the type `{}` already", other.name),
                ));
            }
        }
    }
    if definition.name == definition.plural {
        let message = "`plural` is the same as `name`: answers could not be told apart";
        problems.push(FieldProblem::new("plural", message));
    }
    let prefix = &definition.id_prefix;
    if !(2..=12).contains(&prefix.len()) || !prefix.bytes().all(|it| it.is_ascii_lowercase()) {
        problems.push(FieldProblem::new(
            "id_prefix",
            format!("{} is no prefix: expected 2 to 12 of a-z", suggest::quoted(prefix)),
        ));
    } else if id::PREFIXES.contains(&prefix.as_str()) && prefix != "tag" {
        let message = format!("ids of something of Mortise's own begin with `{prefix}_`");
        problems.push(FieldProblem::new("id_prefix", message));
    }
    for other in others.iter().filter(|it| it.name != definition.name) {
        if *prefix == other.id_prefix {
            let message = format!("ids of the type `{}` begin with `{prefix}_`", other.name);
            problems.push(FieldProblem::new("id_prefix", message));
        }
    }
}

fn check_display_ids(
    definition: &ObjectType,
    others: &[&ObjectType],
    problems: &mut Vec<FieldProblem>,
) {
    let Some(display_ids) = &definition.display_id else { return };
    if let DisplayIds::ByField { prefixes, .. } = display_ids
        && prefixes.is_empty()
    {
        problems.push(FieldProblem::new("display_id.prefixes", "there is none"));
    }
    for prefix in display_ids.prefixes() {
        let mut bytes = prefix.bytes();
        let is_one = (1..=10).contains(&prefix.len())
            && bytes.next().is_some_and(|it| it.is_ascii_uppercase())
            && bytes.all(|it| it.is_ascii_uppercase() || it.is_ascii_digit());
        if !is_one {
            let message = format!(
                "{} is no prefix: expected 1 to 10 of A-Z and 0-9, beginning with a letter, such \
                 as `TKT`",
                suggest::quoted(prefix)
            );
            problems.push(FieldProblem::new("display_id", message));
        }
        for other in others.iter().filter(|it| it.name != definition.name) {
            if other.display_id.as_ref().is_some_and(|it| it.prefixes().contains(&prefix)) {
                let message =
                    format!("display ids of the type `{}` begin with `{prefix}-`", other.name);
                problems.push(FieldProblem::new("display_id", message));
            }
        }
    }
}

fn check_fields(definition: &ObjectType, problems: &mut Vec<FieldProblem>) {
    let Some(properties) = definition.schema.get("properties").and_then(Value::as_object) else {
        problems.push(FieldProblem::new(
            "schema.properties",
            "is missing: it describes the fields of an object",
        ));
        return;
    };
    for name in properties.keys() {
        if STANDARD.contains(&name.as_str()) {
            problems.push(FieldProblem::new(
                &format!("schema.properties.{name}"),
                format!("`{name}` is a field that every object has; it is not described"),
            ));
        } else if name.is_empty() || name.contains('.') {
            problems.push(FieldProblem::new(
                &format!("schema.properties.{name}"),
                "a field has a name, without dots: those separate the steps of a path",
            ));
        }
    }
    let mut known = |place: &str, path: &str| {
        let first = path.split('.').next().unwrap_or_default();
        if path.split('.').count() > DEEPEST_PATH || path.split('.').any(str::is_empty) {
            let message = format!(
                "{} is no path: expected names with dots in between, at most {DEEPEST_PATH}",
                suggest::quoted(path)
            );
            problems.push(FieldProblem::new(place, message));
        } else if !properties.contains_key(first) {
            let names = properties.keys().map(String::as_str);
            let message =
                format!("{}: not in schema.properties", suggest::unknown("field", first, names));
            problems.push(FieldProblem::new(place, message));
        }
    };
    for (number, path) in definition.indexed.iter().enumerate() {
        known(&format!("indexed[{number}]"), path);
    }
    for path in definition.references.keys() {
        known(&format!("references.{path}"), path);
    }
    if let Some(path) = &definition.title_field {
        known("title_field", path);
    }
    for (number, path) in definition.summary.iter().enumerate() {
        known(&format!("summary[{number}]"), path);
    }
    for (other, path) in &definition.input_aliases {
        known(&format!("input_aliases.{other}"), path);
    }
    if let Some(DisplayIds::ByField { by, .. }) = &definition.display_id {
        known("display_id.by", by);
    }
    check_other_names(definition, problems);
    let paths: BTreeSet<&str> = indexed_paths(definition).collect();
    if paths.len() > MOST_INDEXED {
        let message = format!(
            "at most {MOST_INDEXED} fields are indexed, references among them; these are {}",
            paths.len()
        );
        problems.push(FieldProblem::new("indexed", message));
    }
}

/// What callers may write instead leads to what there is, and hides nothing.
fn check_other_names(definition: &ObjectType, problems: &mut Vec<FieldProblem>) {
    let properties = definition.schema.get("properties").and_then(Value::as_object);
    for (number, path) in definition.plain_references.iter().enumerate() {
        if path.contains('.') || !definition.references.contains_key(path) {
            let names = definition.references.keys().map(String::as_str);
            let message = format!(
                "{}: only a reference that is no part of another field can be shown as its id",
                suggest::unknown("reference", path, names)
            );
            problems.push(FieldProblem::new(&format!("plain_references[{number}]"), message));
        }
    }
    for (other, path) in &definition.filter_aliases {
        if !indexed_paths(definition).chain(STANDARD).any(|it| it == path) {
            let names = indexed_paths(definition).chain(STANDARD);
            let message = format!(
                "{}: only indexed fields can be filtered by",
                suggest::unknown("indexed field", path, names)
            );
            problems.push(FieldProblem::new(&format!("filter_aliases.{other}"), message));
        }
    }
    for (other, path) in &definition.input_aliases {
        let parent = |it: &str| it.rsplit_once('.').map(|(parent, _)| parent.to_owned());
        if parent(other) != parent(path) {
            let message = format!(
                "`{other}` and `{path}` are in different places: another name stands where the \
                 field does"
            );
            problems.push(FieldProblem::new(&format!("input_aliases.{other}"), message));
        }
    }
    for (number, name) in definition.ignored.iter().enumerate() {
        let is_field = properties.is_some_and(|it| it.contains_key(name));
        if is_field || STANDARD.contains(&name.as_str()) {
            let message = format!("`{name}` is a field: it cannot be left out of what is sent");
            problems.push(FieldProblem::new(&format!("ignored[{number}]"), message));
        }
    }
    if definition.event_member.as_deref().is_some_and(|it| !is_name(it)) {
        let message = "expected a name in snake case, such as `entry`";
        problems.push(FieldProblem::new("event_member", message));
    }
}

fn check_targets(
    definition: &ObjectType,
    others: &[&ObjectType],
    problems: &mut Vec<FieldProblem>,
) {
    for (path, targets) in &definition.references {
        let place = format!("references.{path}");
        if targets.names().is_empty() {
            problems.push(FieldProblem::new(&place, "names no type"));
        }
        for name in targets.names() {
            let is_known = name == Targets::ANY
                || name == definition.name
                || others.iter().any(|it| it.name == name);
            if !is_known {
                let names = others.iter().map(|it| it.name.as_str());
                let message = format!(
                    "{}: define it first, or both in one manifest",
                    suggest::unknown("object type", name, names)
                );
                problems.push(FieldProblem::new(&place, message));
            }
        }
    }
}

/// Whether it is a schema that can be used.
fn check_schema(schema: &Value, problems: &mut Vec<FieldProblem>) -> bool {
    let before = problems.len();
    let mut wrong = |message: String| problems.push(FieldProblem::new("schema", message));
    let Value::Object(members) = schema else {
        wrong("expected a JSON Schema, an object".to_owned());
        return false;
    };
    if members.get("type").is_some_and(|it| it != "object") {
        wrong("its `type` is not `object`, but objects are what it describes".to_owned());
    }
    if schema.to_string().len() > MOST_SCHEMA_BYTES {
        wrong(format!("it is over {} KiB", MOST_SCHEMA_BYTES / 1024));
    } else if let Err(message) = measure(schema, schema, &mut 0, DEEPEST_SCHEMA) {
        wrong(message);
    } else if let Err(message) = Checker::compile(schema) {
        wrong(message);
    }
    problems.len() == before
}

/// Counts the nodes of a schema with its references followed.
fn measure(whole: &Value, at: &Value, count: &mut usize, depth: usize) -> Result<(), String> {
    *count += 1;
    if *count > MOST_SCHEMA_NODES || depth == 0 {
        return Err(format!(
            "with its `$ref`s followed it has more than {MOST_SCHEMA_NODES} parts or is over \
             {DEEPEST_SCHEMA} deep; a schema must not lead back into itself"
        ));
    }
    match at {
        Value::Array(items) => items.iter().try_for_each(|it| measure(whole, it, count, depth - 1)),
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), member) {
                    ("$ref", Value::String(reference)) => {
                        let target = follow(whole, reference).ok_or_else(|| {
                            format!(
                                "`$ref` is {}: expected a place in the schema itself, such as \
                                 `#/$defs/name`",
                                suggest::quoted(reference)
                            )
                        })?;
                        measure(whole, target, count, depth - 1)?;
                    }
                    (
                        "$id" | "$anchor" | "$dynamicRef" | "$dynamicAnchor" | "$recursiveRef",
                        Value::String(_),
                    ) => {
                        return Err(format!(
                            "`{name}` is not taken: refer with `$ref` and a place such as \
                             `#/$defs/name`"
                        ));
                    }
                    (_, member) => measure(whole, member, count, depth - 1)?,
                }
            }
            Ok(())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn follow<'a>(whole: &'a Value, reference: &str) -> Option<&'a Value> {
    let pointer = reference.strip_prefix('#')?;
    whole.pointer(pointer)
}

/// The paths that have rows in the index.
fn indexed_paths(definition: &ObjectType) -> impl Iterator<Item = &str> {
    let paths = definition.indexed.iter().map(String::as_str);
    paths.chain(definition.references.keys().map(String::as_str))
}

/// A definition with numbers for its fields: those that they had, where that is possible. A number is
/// never given twice, because rows with it may still be there: when all were given, that is said.
pub fn number_fields(
    definition: ObjectType,
    before: &[IndexedField],
    next: &mut FieldNumber,
) -> Result<Defined, FieldProblem> {
    let mut fields: Vec<IndexedField> = Vec::new();
    for path in indexed_paths(&definition) {
        if fields.iter().any(|it| it.path == path) || STANDARD.contains(&path) {
            continue;
        }
        let kind = kind_of(&definition.schema, path);
        let old = before.iter().find(|it| it.path == path && it.kind == kind);
        let number = match old {
            Some(old) => old.number,
            None => {
                let number = (*next).max(FIRST_OWN);
                *next = number.checked_add(1).ok_or_else(|| no_number_left(path))?;
                number
            }
        };
        let has_one = has_one(&definition.schema, path);
        fields.push(IndexedField { path: path.to_owned(), number, kind, has_one });
    }
    Ok(Defined { definition, fields })
}

fn no_number_left(path: &str) -> FieldProblem {
    let message = format!(
        "cannot be indexed: this type has had {} indexed fields in its time, the most that a type \
         may have had; make a new type for its objects",
        FieldNumber::MAX - FIRST_OWN
    );
    FieldProblem::new(path, message)
}

/// How the values at a path are ordered, as far as the schema says.
fn kind_of(schema: &Value, path: &str) -> IndexKind {
    let mut at = schema;
    let mut steps = path.split('.');
    let mut left = DEEPEST_SCHEMA;
    let mut step = steps.next();
    loop {
        left -= 1;
        let Some(members) = at.as_object().filter(|_| left > 0) else { return IndexKind::Value };
        if let Some(Value::String(reference)) = members.get("$ref") {
            let Some(target) = follow(schema, reference) else { return IndexKind::Value };
            at = target;
        } else if let Some(items) = members.get("items") {
            at = items;
        } else if let Some(name) = step {
            let property = members.get("properties").and_then(|it| it.get(name));
            let Some(property) = property else { return IndexKind::Value };
            at = property;
            step = steps.next();
        } else {
            return if is_time(members) { IndexKind::Time } else { IndexKind::Value };
        }
    }
}

/// Whether there can be no list on the way of a path, by what the schema says.
fn has_one(schema: &Value, path: &str) -> bool {
    let mut at = schema;
    let mut steps = path.split('.');
    for _ in 0..DEEPEST_SCHEMA {
        let Some(members) = at.as_object() else { return false };
        if let Some(Value::String(reference)) = members.get("$ref") {
            let Some(target) = follow(schema, reference) else { return false };
            at = target;
            continue;
        }
        let may_be_list = match members.get("type") {
            Some(Value::String(name)) => name == "array",
            Some(Value::Array(names)) => names.iter().any(|it| it == "array"),
            Some(_) | None => true,
        };
        if may_be_list {
            return false;
        }
        let Some(step) = steps.next() else { return true };
        let Some(property) = members.get("properties").and_then(|it| it.get(step)) else {
            return false;
        };
        at = property;
    }
    false
}

fn is_time(members: &Map<String, Value>) -> bool {
    members.get("format").is_some_and(|it| it == "date-time")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(change: impl FnOnce(&mut Value)) -> ObjectType {
        let mut json = json!({
            "name": "work", "plural": "works", "id_prefix": "work", "title_field": "title",
            "indexed": ["state", "due", "tags.name"],
            "schema": {
                "type": "object",
                "properties": {
                    "title": { "type": "string" },
                    "state": { "type": "string" },
                    "due": { "$ref": "#/$defs/time" },
                    "owner": { "type": "string" },
                    "tags": {
                        "type": "array",
                        "items": { "properties": { "at": { "format": "date-time" } } },
                    },
                },
                "$defs": { "time": { "type": "string", "format": "date-time" } },
            },
        });
        change(&mut json);
        serde_json::from_value(json).unwrap()
    }

    fn problems(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let other = definition(|it| {
            it["name"] = json!("ticket");
            it["plural"] = json!("tickets");
            it["id_prefix"] = json!("tkt");
            it["display_id"] = json!("TKT");
        });
        let found = check(&definition(change), &[&other]);
        found.into_iter().map(|it| it.field).collect()
    }

    #[test]
    fn what_makes_sense_is_taken() {
        assert_eq!(problems(|_| {}), Vec::<String>::new());
        assert!(
            problems(|it| {
                it["references"] = json!({ "owner": ["work", "ticket"], "tags.by": "*" });
                it["display_id"] = json!({ "by": "state", "prefixes": { "open": "OPN" } });
            })
            .is_empty()
        );
    }

    #[test]
    fn everything_that_is_wrong_is_named() {
        for (name, value, field) in [
            ("name", json!("Work"), "name"),
            ("name", json!("event_source"), "name"),
            ("name", json!("tickets"), "name"),
            ("plural", json!("work"), "plural"),
            ("plural", json!("ticket"), "plural"),
            ("plural", json!("snap_ins"), "plural"),
            ("id_prefix", json!("snp"), "id_prefix"),
            ("id_prefix", json!("tkt"), "id_prefix"),
            ("id_prefix", json!("w1"), "id_prefix"),
            ("display_id", json!("TKT"), "display_id"),
            ("display_id", json!("t"), "display_id"),
            ("display_id", json!({ "by": "kind", "prefixes": { "a": "A" } }), "display_id.by"),
            ("indexed", json!(["state", "stat"]), "indexed[1]"),
            ("indexed", json!(["a..b"]), "indexed[0]"),
            ("title_field", json!("titel"), "title_field"),
            ("references", json!({ "owner": "nobody" }), "references.owner"),
            ("references", json!({ "owned": "work" }), "references.owned"),
            ("references", json!({ "owner": [] }), "references.owner"),
            ("schema", json!(true), "schema"),
            ("schema", json!({}), "schema.properties"),
            ("schema", json!({ "type": "array", "properties": {} }), "schema"),
            ("schema", json!({ "properties": { "a": { "type": "text" } } }), "schema"),
            ("schema", json!({ "properties": { "a": { "pattern": "(" } } }), "schema"),
            (
                "schema",
                json!({ "properties": { "a": { "$ref": "https://example.org/" } } }),
                "schema",
            ),
        ] {
            let found = problems(|it| it[name] = value.clone());
            assert!(found.iter().any(|it| it == field), "{name} {value}: {found:?}");
        }
        let two = problems(|it| {
            it["name"] = json!("X");
            it["id_prefix"] = json!("X");
        });
        assert_eq!(two, ["name", "id_prefix"]);
        let standard = problems(|it| it["schema"]["properties"]["version"] = json!({}));
        assert_eq!(standard, ["schema.properties.version"]);
    }

    #[test]
    fn schemas_that_never_end_are_refused() {
        let mut doubling = json!({ "d0": { "type": "string" } });
        for number in 1..40 {
            let before = format!("#/$defs/d{}", number - 1);
            doubling[format!("d{number}")] =
                json!({ "allOf": [{ "$ref": before }, { "$ref": before }] });
        }
        for schema in [
            json!({ "properties": { "a": { "$ref": "#/properties/a" } } }),
            json!({ "properties": { "a": { "$ref": "#" } } }),
            json!({ "properties": {}, "allOf": [{ "$ref": "#" }] }),
            json!({ "properties": { "a": { "$ref": "#/$defs/d39" } }, "$defs": doubling }),
            json!({ "properties": { "a": { "$dynamicRef": "#x" } } }),
        ] {
            assert_eq!(problems(|it| it["schema"] = schema.clone())[0], "schema", "{schema}");
        }
    }

    #[test]
    fn fields_keep_their_numbers_while_they_mean_the_same() {
        let mut next = FIRST_OWN;
        let first = number_fields(definition(|_| {}), &[], &mut next).unwrap();
        let kinds: Vec<_> = first.fields.iter().map(|it| (it.number, it.kind)).collect();
        let (value, time) = (IndexKind::Value, IndexKind::Time);
        assert_eq!(kinds, [(16, value), (17, time), (18, value)]);
        let second = definition(|it| {
            it["indexed"] = json!(["tags.at", "state", "due"]);
            it["references"] = json!({ "owner": "work", "state": "work" });
            it["schema"]["$defs"]["time"] = json!({});
        });
        let second = number_fields(second, &first.fields, &mut next).unwrap();
        let numbers: Vec<_> =
            second.fields.iter().map(|it| (it.path.as_str(), it.number)).collect();
        assert_eq!(numbers, [("tags.at", 19), ("state", 16), ("due", 20), ("owner", 21)]);
        assert_eq!(second.fields[0].kind, time);
        assert_eq!(next, 22);
    }

    #[test]
    fn no_number_is_given_twice_at_the_end_either() {
        // Two are left, and three are needed.
        let mut next = FieldNumber::MAX - 2;
        let refused = number_fields(definition(|_| {}), &[], &mut next).unwrap_err();
        assert!(refused.message.contains("cannot be indexed"), "{refused:?}");
        let before = number_fields(definition(|_| {}), &[], &mut FIRST_OWN.clone()).unwrap();
        let mut next = FieldNumber::MAX;
        let again = number_fields(definition(|_| {}), &before.fields, &mut next).unwrap();
        assert_eq!(again.fields, before.fields, "who needs none is not refused");
    }
}
