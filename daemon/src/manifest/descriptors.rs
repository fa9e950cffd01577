//! Reads the fields of operations: descriptors that workflows draw forms from. Nothing acts on them
//! yet, so they are kept as they were written; what is certainly wrong with one is said.

use serde_json::Value;

use crate::model::manifest::FieldType;

use super::fields::{Fields, Reader, read_json, read_text, unknown};
use super::inputs::UI_KEYS;
use super::node::Node;

/// What else a descriptor may hold.
const OTHERS: [&str; 25] = [
    "allowed_values",
    "composite_type",
    "contains",
    "db_name",
    "default_value",
    "description",
    "devrev_enum",
    "devrev_id_type",
    "eq_len",
    "gt",
    "gte",
    "id_type",
    "is_filterable",
    "is_immutable",
    "is_pii",
    "is_required",
    "lt",
    "lte",
    "max_len",
    "min_len",
    "origin",
    "pattern",
    "prefix",
    "suffix",
    "ui",
];

pub(super) fn descriptor(r: &mut Reader, node: &Node, path: &str) -> Option<Value> {
    let mut fields = Fields::open(r, node, path)?;
    fields.knows_elsewhere(UI_KEYS);
    fields.required_text(r, "name", "values are handed over by name");
    let keys = [("field_type", ""), ("devrev_field_type", "[]"), ("base_type", "")];
    for (key, prefix) in keys {
        let Some(node) = fields.get(key) else { continue };
        let path = fields.path_of(key);
        let Some(written) = read_text(r, node, &path) else { continue };
        let name = written.strip_prefix(prefix).unwrap_or(&written);
        let names = || FieldType::ALL.iter().map(|(name, _)| *name);
        if !names().any(|known| known == name) {
            let message = unknown("type", name, names());
            r.problems.error_allowing(node.place, &path, message, names());
        }
    }
    if !(fields.has("field_type") || fields.has("devrev_field_type")) {
        fields.missing(r, "field_type", "it says what values are allowed");
    }
    for key in OTHERS {
        fields.get(key);
    }
    fields.finish(r);
    read_json(r, node, path)
}
