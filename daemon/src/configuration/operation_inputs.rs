//! What an operation is called with: whether it is right for the fields that the manifest describes,
//! and what is missing in it that has a default.

use serde_json::{Map, Value};

use super::inputs::{InputProblem, wrong};
use super::suggest::unknown;
use crate::model::manifest::{FieldType, Input, Operation, Validators};

/// Checks `data` against the fields of an operation and adds their defaults; an operation without
/// fields takes anything. Answers everything that is wrong, in the order of the fields.
pub fn complete(
    operation: &Operation,
    data: &Map<String, Value>,
) -> Result<Map<String, Value>, Vec<InputProblem>> {
    let fields: Vec<Input> = operation.input_fields.iter().filter_map(field).collect();
    let mut whole = data.clone();
    let mut problems = Vec::new();
    for field in &fields {
        match data.get(&field.name) {
            Some(value) if !value.is_null() => problems.extend(wrong(field, value)),
            Some(_) | None => match &field.default_value {
                Some(default) => {
                    whole.insert(field.name.clone(), default.clone());
                }
                None if field.is_required => problems.push(InputProblem {
                    input: field.name.clone(),
                    message: "is required".to_owned(),
                    allowed: field.allowed_values.clone(),
                }),
                None => {}
            },
        }
    }
    if !fields.is_empty() {
        let names = || fields.iter().map(|it| it.name.as_str());
        for name in data.keys().filter(|name| !names().any(|it| it == name.as_str())) {
            problems.push(InputProblem {
                input: super::suggest::shorten(name, 100),
                message: unknown("field", name, names()),
                allowed: names().map(str::to_owned).collect(),
            });
        }
    }
    if problems.is_empty() { Ok(whole) } else { Err(problems) }
}

/// A descriptor as an input; nothing for one without a name, which the manifest's checks refuse.
fn field(descriptor: &Value) -> Option<Input> {
    let text = |key: &str| descriptor.get(key).and_then(Value::as_str);
    let texts = |keys: [&str; 2]| -> Vec<String> {
        let lists = keys.into_iter().filter_map(|key| descriptor.get(key)?.as_array());
        lists.flatten().filter_map(|it| it.as_str().map(str::to_owned)).collect()
    };
    let written = text("field_type").or_else(|| text("devrev_field_type")).unwrap_or_default();
    let (field_type, base_type) = match written.strip_prefix("[]") {
        Some(base) => (FieldType::Array, Some(type_of(base))),
        None => match type_of(written) {
            FieldType::Array => (FieldType::Array, text("base_type").map(type_of)),
            other => (other, None),
        },
    };
    Some(Input {
        name: text("name")?.to_owned(),
        field_type,
        base_type,
        id_type: texts(["id_type", "devrev_id_type"]),
        allowed_values: texts(["allowed_values", "devrev_enum"]),
        is_required: descriptor.get("is_required").and_then(Value::as_bool).unwrap_or_default(),
        default_value: descriptor.get("default_value").filter(|it| !it.is_null()).cloned(),
        // Of a descriptor they are members like the others.
        validators: serde_json::from_value::<Validators>(descriptor.clone()).unwrap_or_default(),
        ..Input::default()
    })
}

fn type_of(name: &str) -> FieldType {
    let found = FieldType::ALL.iter().find(|(it, _)| *it == name);
    found.map_or(FieldType::Unknown, |(_, field_type)| *field_type)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn operation(fields: &Value) -> Operation {
        let input_fields = fields.as_array().cloned().unwrap_or_default();
        Operation { input_fields, ..Operation::default() }
    }

    fn check(fields: &Value, data: &Value) -> Result<Value, Vec<String>> {
        let data = data.as_object().expect("an object");
        complete(&operation(fields), data).map(Value::Object).map_err(|all| {
            all.into_iter().map(|it| format!("{} {}", it.input, it.message)).collect()
        })
    }

    #[test]
    fn fields_are_checked_as_inputs_are() {
        let fields = json!([
            { "name": "title", "field_type": "text", "is_required": true, "max_len": 5 },
            { "name": "kind", "field_type": "enum", "allowed_values": ["bug", "wish"] },
            { "name": "count", "field_type": "int", "gt": 0, "default_value": 3 },
            { "name": "weights", "field_type": "array", "base_type": "double" },
            { "name": "old", "devrev_field_type": "[]enum", "devrev_enum": ["x"] },
        ]);
        let right = json!({ "title": "hello", "kind": "bug", "weights": [1.5], "old": ["x"] });
        let mut whole = right.clone();
        whole["count"] = json!(3);
        assert_eq!(check(&fields, &right), Ok(whole));
        assert_eq!(check(&fields, &json!({})), Err(vec!["title is required".to_owned()]));
        let wrong = json!({
            "title": "too long", "kind": "bgu", "count": 0, "weights": ["a"], "old": ["y"], "titel": 1,
        });
        let problems = check(&fields, &wrong).expect_err("nothing of it is right");
        let names: Vec<_> = problems.iter().filter_map(|it| it.split(' ').next()).collect();
        assert_eq!(names, ["title", "kind", "count", "weights[0]", "old[0]", "titel"]);
        assert!(problems[5].contains("did you mean `title`?"), "{problems:?}");
    }

    #[test]
    fn without_fields_anything_goes() {
        assert_eq!(check(&json!([]), &json!({ "x": [1] })), Ok(json!({ "x": [1] })));
    }
}
