//! Whether a value of the manifest is of an input's type.

use serde_json::Value;

use crate::model::manifest::{FieldType, Input};

use super::fields::{Reader, read_flag, read_items, read_json, unknown};
use super::node::{Core, Kind, Node, Scalar};
use super::problem::quoted;

/// The value as JSON, if it is of the input's type.
pub(super) fn read_value(r: &mut Reader, node: &Node, path: &str, input: &Input) -> Option<Value> {
    if input.field_type != FieldType::Array {
        return read_one(r, node, path, input, input.field_type);
    }
    let Kind::List(_) = &node.kind else {
        return mismatch(r, node, path, FieldType::Array);
    };
    let base = input.base_type.unwrap_or(FieldType::Unknown);
    let items = read_items(r, node, path);
    let values = items.iter().filter_map(|(node, path)| read_one(r, node, path, input, base));
    Some(Value::Array(values.collect()))
}

fn read_one(
    r: &mut Reader,
    node: &Node,
    path: &str,
    input: &Input,
    field_type: FieldType,
) -> Option<Value> {
    let core = match &node.kind {
        Kind::Scalar(Scalar { core, .. }) => Some(*core),
        Kind::List(_) | Kind::Map(_) => None,
    };
    let fits = match field_type {
        FieldType::Bool => return read_flag(r, node, path).map(Value::Bool),
        FieldType::Enum => return read_choice(r, node, path, &input.allowed_values),
        FieldType::Int => matches!(core, Some(Core::Int(_) | Core::UInt(_))),
        FieldType::Double => {
            matches!(core, Some(Core::Int(_) | Core::UInt(_) | Core::Float(_)))
        }
        FieldType::Text
        | FieldType::RichText
        | FieldType::Id
        | FieldType::Date
        | FieldType::Timestamp => matches!(core, Some(Core::Text)),
        FieldType::Tokens => matches!(core, Some(Core::Text)) || matches!(node.kind, Kind::List(_)),
        FieldType::Composite | FieldType::Struct => matches!(node.kind, Kind::Map(_)),
        FieldType::Array => matches!(node.kind, Kind::List(_)),
        FieldType::JsonValue | FieldType::Uenum | FieldType::Unknown => true,
    };
    if !fits {
        return mismatch(r, node, path, field_type);
    }
    read_json(r, node, path)
}

fn read_choice(r: &mut Reader, node: &Node, path: &str, allowed: &[String]) -> Option<Value> {
    let Kind::Scalar(scalar) = &node.kind else {
        return mismatch(r, node, path, FieldType::Enum);
    };
    // Allowed values are text, however they are written, and so is one of them.
    let text = scalar.text.as_ref();
    if allowed.iter().any(|value| value == text) {
        return Some(Value::from(text));
    }
    let allowed = || allowed.iter().map(String::as_str);
    r.problems.error_allowing(node.place, path, unknown("value", text, allowed()), allowed());
    None
}

fn mismatch(r: &mut Reader, node: &Node, path: &str, wanted: FieldType) -> Option<Value> {
    let mut message =
        format!("a value of type `{}` is wanted, found {}", wanted.name(), node.describe());
    if let Kind::Scalar(scalar) = &node.kind {
        message.push(' ');
        message.push_str(&quoted(&scalar.text));
        if scalar.plain && matches!(wanted, FieldType::Text | FieldType::RichText | FieldType::Id) {
            message.push_str("; quote it");
        }
    }
    r.problems.error(node.place, path, message);
    None
}
