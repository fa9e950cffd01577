//! A default in YAML to its JSON, and what is wrong with it: judged like every other value of an
//! input, by `crate::configuration::values`.

use serde_json::Value;

use super::fields::{Reader, read_flag, read_items, read_json};
use super::node::{Kind, Node};
use super::problem::quoted;
use crate::configuration::values::{ValueProblem, check};
use crate::model::manifest::{FieldType, Input};

/// The value as JSON, if it is right for the input.
pub(super) fn read_value(r: &mut Reader, node: &Node, path: &str, input: &Input) -> Option<Value> {
    let value = match (&node.kind, input.field_type) {
        (Kind::List(_), FieldType::Array) => {
            let base = input.base_type.unwrap_or(FieldType::Unknown);
            let items = read_items(r, node, path);
            let values = items.iter().map(|(node, path)| read_one(r, node, path, base));
            // All are read, so that each is complained about.
            let values: Vec<Option<Value>> = values.collect();
            Value::Array(values.into_iter().collect::<Option<Vec<Value>>>()?)
        }
        (_, field_type) => read_one(r, node, path, field_type)?,
    };
    let problems = check(input, &value);
    let is_right = problems.is_empty();
    for problem in problems {
        report(r, node, path, problem);
    }
    is_right.then_some(value)
}

fn read_one(r: &mut Reader, node: &Node, path: &str, field_type: FieldType) -> Option<Value> {
    match (&node.kind, field_type) {
        (_, FieldType::Bool) => read_flag(r, node, path).map(Value::Bool),
        // Allowed values are text, however they are written, and so is one of them.
        (Kind::Scalar(scalar), FieldType::Enum) => Some(Value::from(scalar.text.as_ref())),
        _ => read_json(r, node, path),
    }
}

fn report(r: &mut Reader, node: &Node, path: &str, problem: ValueProblem) {
    let (node, path) = match (&node.kind, problem.item) {
        (Kind::List(items), Some(index)) => {
            (items.get(index).unwrap_or(node), super::places::item(path, index))
        }
        _ => (node, path.to_owned()),
    };
    let message = match problem.wanted {
        Some(wanted) => mismatch(node, wanted),
        None => problem.message,
    };
    let allowed = problem.allowed.iter().map(String::as_str);
    r.problems.error_allowing(node.place, &path, message, allowed);
}

/// As the author sees it: in the words of YAML, and with the text, which is in his own file.
fn mismatch(node: &Node, wanted: FieldType) -> String {
    let mut message =
        format!("a value of type `{}` is wanted, found {}", wanted.name(), node.describe());
    if let Kind::Scalar(scalar) = &node.kind {
        message.push(' ');
        message.push_str(&quoted(&scalar.text));
        if scalar.plain && matches!(wanted, FieldType::Text | FieldType::RichText | FieldType::Id) {
            message.push_str("; quote it");
        }
    }
    message
}
