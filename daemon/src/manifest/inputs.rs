//! Reads inputs, under their version 2 keys and their version 1 ones, and checks that a default is
//! of the type that it is the default of.

use serde_json::{Number, Value};

use crate::configuration::values::pattern_problem;
use crate::model::manifest::{FieldType, Input, InputUi, Level, Validators};

use super::fields::{Elsewhere, Fields, Reader, read_json, read_text, unknown};
use super::names::{NameRule, Space};
use super::node::Node;
use super::places::member;
use super::problem::quoted;
use super::sections::Leveled;
use super::values::read_value;

/// What the platform that manifests are written for refuses, and this host does not.
const OURS_ALONE: [FieldType; 2] = [FieldType::Date, FieldType::Timestamp];

/// How version 1 writes an array.
const OLD_ARRAY: &str = "[]";

/// What belongs into `ui`.
pub(super) const UI_KEYS: &[Elsewhere] =
    &[(&["display_name", "is_hidden", "placeholder", "tooltip", "group_name"], "`ui`")];

/// What says something about values, and would say nothing in `ui`.
const VALUE_KEYS: [&str; 17] = [
    "field_type",
    "base_type",
    "id_type",
    "allowed_values",
    "is_required",
    "default_value",
    "min_len",
    "max_len",
    "eq_len",
    "pattern",
    "prefix",
    "suffix",
    "contains",
    "gt",
    "gte",
    "lt",
    "lte",
];

pub(super) fn read(r: &mut Reader, entry: &Leveled<'_>) -> Option<Input> {
    let mut fields = Fields::open(r, entry.node, &entry.path)?;
    fields.knows_elsewhere(UI_KEYS);
    let space = match entry.level {
        Level::Organization => Space::OrganizationInput,
        Level::User => Space::UserInput,
    };
    let name = fields.name(r, "name", NameRule::Label, space);
    let (field_type, base_type) = read_type(r, &mut fields);
    let id_type = either_texts(r, &mut fields, "id_type", "devrev_id_type");
    let allowed_values = either_texts(r, &mut fields, "allowed_values", "devrev_enum");
    let mut input = Input {
        level: entry.level,
        name,
        description: fields.text(r, "description"),
        field_type,
        base_type,
        id_type,
        allowed_values,
        is_required: fields.flag(r, "is_required").unwrap_or_default(),
        default_value: None,
        validators: validators(r, &mut fields),
        ui: ui(r, &mut fields),
    };
    warn_of_limits_without_use(r, &fields, &input);
    let is_enum = [Some(field_type), base_type].contains(&Some(FieldType::Enum));
    if is_enum && input.allowed_values.is_empty() {
        fields.missing(r, "allowed_values", "an enum needs the values to choose from");
    }
    if let Some(node) = fields.get("default_value") {
        input.default_value = read_value(r, node, &fields.path_of("default_value"), &input);
    }
    fields.finish(r);
    Some(input)
}

/// Limits that no value of the input's type can break are probably meant for another type.
fn warn_of_limits_without_use(r: &mut Reader, fields: &Fields<'_>, input: &Input) {
    let of = input.base_type.unwrap_or(input.field_type);
    let is_array = input.field_type == FieldType::Array;
    let is_anything = matches!(of, FieldType::JsonValue | FieldType::Uenum | FieldType::Unknown);
    let is_text = matches!(of, FieldType::Text | FieldType::RichText | FieldType::Tokens);
    let is_number = matches!(of, FieldType::Int | FieldType::Double);
    for (keys, has_use, what) in [
        (&["id_type", "devrev_id_type"][..], of == FieldType::Id, "ids"),
        (&["allowed_values", "devrev_enum"], matches!(of, FieldType::Enum), "enums"),
        (&["min_len", "max_len", "eq_len"], is_text || is_array, "texts and arrays"),
        (&["pattern", "prefix", "suffix", "contains"], is_text, "texts"),
        (&["gt", "gte", "lt", "lte"], is_number, "numbers"),
    ] {
        if has_use || is_anything {
            continue;
        }
        for key in keys.iter().filter(|key| fields.has(key)) {
            let message = format!("only {what} have it; this is of type `{}`", of.name());
            r.problems.warn(fields.key_place(key), &fields.path_of(key), message);
        }
    }
}

/// The type, and what an array is made of.
fn read_type(r: &mut Reader, fields: &mut Fields<'_>) -> (FieldType, Option<FieldType>) {
    let Some(key) = either(fields, "field_type", "devrev_field_type") else {
        let message = "the key `field_type` is missing: it says what values are allowed";
        let path = fields.path_of("field_type");
        r.problems.error_allowing(fields.place, &path, message, offered());
        return (FieldType::Text, None);
    };
    let node = fields.get(key).expect("`either` names a key that is there");
    let path = fields.path_of(key);
    let base_node = fields.get("base_type");
    let Some(written) = read_text(r, node, &path) else { return (FieldType::Text, None) };
    if let Some(base) = written.strip_prefix(OLD_ARRAY) {
        return (FieldType::Array, Some(base_type(r, node, &path, base)));
    }
    let field_type = named_type(r, node, &path, &written);
    let base_path = fields.path_of("base_type");
    match (field_type, base_node) {
        (FieldType::Array, Some(base_node)) => {
            let base = read_text(r, base_node, &base_path).unwrap_or_default();
            (FieldType::Array, Some(base_type(r, base_node, &base_path, &base)))
        }
        (FieldType::Array, None) => {
            fields.missing(r, "base_type", "an array needs the type of its items");
            (FieldType::Array, Some(FieldType::Text))
        }
        (_, Some(base_node)) => {
            let message = format!("only an array has one; this is of type `{}`", field_type.name());
            r.problems.warn(base_node.place, &base_path, message);
            (field_type, None)
        }
        (_, None) => (field_type, None),
    }
}

fn base_type(r: &mut Reader, node: &Node, path: &str, written: &str) -> FieldType {
    let base = named_type(r, node, path, written);
    match base {
        FieldType::Array => {
            let message = "an array of `array` cannot be an input; use `json_value`";
            r.problems.error(node.place, path, message);
        }
        FieldType::Bool => {
            let message = "an array of `bool` works here, and on no other host";
            r.problems.warn(node.place, path, message);
        }
        _ => {}
    }
    base
}

fn named_type(r: &mut Reader, node: &Node, path: &str, written: &str) -> FieldType {
    let found = FieldType::ALL.iter().find(|(name, _)| *name == written);
    #[cfg(test)]
    r.trace.values(path, FieldType::ALL.map(|(name, _)| name), found.map(|(name, _)| *name));
    let Some((_, field_type)) = found else {
        let message = unknown("type", written, offered());
        r.problems.error_allowing(node.place, path, message, offered());
        return FieldType::Unknown;
    };
    if OURS_ALONE.contains(field_type) {
        let message = format!("{} works here, and on no other host", quoted(written));
        r.problems.warn(node.place, path, message);
    }
    *field_type
}

fn offered() -> impl Iterator<Item = &'static str> {
    let offered = FieldType::ALL.iter().filter(|(_, field_type)| !OURS_ALONE.contains(field_type));
    offered.map(|(name, _)| *name)
}

/// Which of a key's two names is there. Both dialects are understood in both versions.
fn either(
    fields: &mut Fields<'_>,
    key: &'static str,
    old_key: &'static str,
) -> Option<&'static str> {
    let has_old = fields.get(old_key).is_some();
    match fields.get(key) {
        Some(_) => Some(key),
        None => has_old.then_some(old_key),
    }
}

fn either_texts(
    r: &mut Reader,
    fields: &mut Fields<'_>,
    key: &'static str,
    old_key: &'static str,
) -> Vec<String> {
    match either(fields, key, old_key) {
        Some(key) => fields.texts(r, key),
        None => Vec::new(),
    }
}

fn ui(r: &mut Reader, fields: &mut Fields<'_>) -> InputUi {
    let Some(mut ui) = fields.fields(r, "ui") else { return InputUi::default() };
    let mut read = InputUi {
        display_name: ui.text(r, "display_name"),
        is_hidden: ui.flag(r, "is_hidden").unwrap_or_default(),
        placeholder: ui.text(r, "placeholder"),
        tooltip: ui.text(r, "tooltip"),
        group_name: ui.text(r, "group_name"),
        other: serde_json::Map::new(),
    };
    // Consoles know more hints than these; they are kept and not judged.
    let path = ui.path.clone();
    for entry in ui.others(r) {
        if VALUE_KEYS.contains(&&*entry.key) {
            let message = format!(
                "does nothing here: {} belongs into the input itself, beside `ui`",
                quoted(&entry.key)
            );
            r.problems.warn(entry.key_place, &member(&path, &entry.key), message);
            continue;
        }
        if let Some(value) = read_json(r, &entry.value, &member(&path, &entry.key)) {
            read.other.insert(entry.key.as_ref().to_owned(), value);
        }
    }
    read
}

fn validators(r: &mut Reader, fields: &mut Fields<'_>) -> Validators {
    Validators {
        min_len: fields.number(r, "min_len", 0..=u32::MAX),
        max_len: fields.number(r, "max_len", 0..=u32::MAX),
        eq_len: fields.number(r, "eq_len", 0..=u32::MAX),
        pattern: pattern(r, fields),
        prefix: fields.text(r, "prefix"),
        suffix: fields.text(r, "suffix"),
        contains: fields.text(r, "contains"),
        gt: bound(r, fields, "gt"),
        gte: bound(r, fields, "gte"),
        lt: bound(r, fields, "lt"),
        lte: bound(r, fields, "lte"),
    }
}

fn pattern(r: &mut Reader, fields: &mut Fields<'_>) -> Option<String> {
    let pattern = fields.text(r, "pattern")?;
    if let Some(why) = pattern_problem(&pattern) {
        let place = fields.value_place("pattern");
        r.problems.error(place, &fields.path_of("pattern"), format!("the pattern {why}"));
    }
    Some(pattern)
}

fn bound(r: &mut Reader, fields: &mut Fields<'_>, key: &'static str) -> Option<Number> {
    let node = fields.get(key)?;
    match fields.json(r, key)? {
        Value::Number(number) => Some(number),
        _ => {
            let message = format!("expected a number, found {}", node.describe());
            r.problems.error(node.place, &fields.path_of(key), message);
            None
        }
    }
}
