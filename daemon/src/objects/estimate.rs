//! How much saying what is wrong with fields could take: the library collects every error of every
//! alternative before it hands out the first. Counted by walking schema and fields side by side, which
//! makes nothing. References are followed; no schema leads back into itself (`definition`).

use serde_json::Value;

/// Whether checking these fields can give no more than `most` errors, those within alternatives
/// counted too. Takes time in proportion to `most`.
pub fn has_at_most(schema: &Value, fields: &Value, most: usize) -> bool {
    let mut left = most;
    let mut pending = vec![(schema, fields)];
    while let Some((at, instance)) = pending.pop() {
        let before = pending.len();
        let errors = match at {
            Value::Object(keywords) => {
                for (keyword, value) in keywords {
                    apply(schema, keyword, value, instance, &mut pending, left);
                }
                let required = keywords.get("required").and_then(Value::as_array);
                keywords.len() + required.map_or(0, Vec::len)
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => 0,
        };
        // One for the schema itself; what is pending was looked at as well.
        let Some(rest) = left.checked_sub(1 + errors + (pending.len() - before)) else {
            return false;
        };
        left = rest;
    }
    true
}

/// Adds what a keyword makes a part of the instance obey; no more than a little above `most`.
fn apply<'a>(
    whole: &'a Value,
    keyword: &str,
    value: &'a Value,
    instance: &'a Value,
    pending: &mut Vec<(&'a Value, &'a Value)>,
    most: usize,
) {
    let most = most.saturating_add(1);
    match keyword {
        "$ref" => {
            let target = value.as_str().and_then(|it| it.strip_prefix('#'));
            pending.extend(target.and_then(|it| whole.pointer(it)).map(|it| (it, instance)));
        }
        "not" | "if" | "then" | "else" => pending.push((value, instance)),
        "allOf" | "anyOf" | "oneOf" => {
            let all = value.as_array().into_iter().flatten();
            pending.extend(all.take(most).map(|it| (it, instance)));
        }
        "dependentSchemas" => {
            let all = value.as_object().into_iter().flat_map(|it| it.values());
            pending.extend(all.take(most).map(|it| (it, instance)));
        }
        "properties" => {
            let members = instance.as_object().into_iter().flatten();
            let known = members.filter_map(|(name, member)| Some((value.get(name)?, member)));
            pending.extend(known.take(most));
        }
        "patternProperties" => {
            let before = pending.len();
            for pattern in value.as_object().into_iter().flat_map(|it| it.values()).take(most) {
                pending.extend(children(instance).take(most).map(|it| (pattern, it)));
                if pending.len() - before > most {
                    return;
                }
            }
        }
        "prefixItems" => {
            let both = value.as_array().into_iter().flatten().zip(children(instance));
            pending.extend(both.take(most));
        }
        "items"
        | "contains"
        | "propertyNames"
        | "additionalProperties"
        | "unevaluatedProperties"
        | "unevaluatedItems" => {
            pending.extend(children(instance).take(most).map(|it| (value, it)));
        }
        _ => {}
    }
}

fn children(instance: &Value) -> impl Iterator<Item = &Value> {
    let items = instance.as_array().into_iter().flatten();
    items.chain(instance.as_object().into_iter().flat_map(|it| it.values()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::objects::check::Checker;

    #[test]
    fn nothing_gives_more_errors_than_was_said() {
        let alternatives: Vec<Value> = (0..30)
            .map(|it| json!({ "properties": { "a": { "const": it } }, "required": ["a", "b"] }))
            .collect();
        let schema = json!({
            "type": "object",
            "$defs": { "one": { "oneOf": alternatives } },
            "properties": {
                "list": { "type": "array", "items": { "$ref": "#/$defs/one" } },
                "tuple": { "prefixItems": [{ "type": "string" }], "items": false },
                "map": { "patternProperties": { "^x": { "type": "string" } } },
            },
            "required": ["title"],
            "additionalProperties": { "anyOf": [{ "type": "string" }, { "type": "null" }] },
        });
        let fields = json!({
            "list": [1, {}, { "a": "x" }], "tuple": [1, 2, 3], "map": { "x": 1, "xy": 2 }, "other": 5,
        });
        let checker = Checker::compile(&schema).expect("a schema");
        let count = checker.count_errors(&fields);
        assert!(count > 100, "{count}");
        assert!(!has_at_most(&schema, &fields, count - 1));
        assert!(has_at_most(&schema, &fields, 3_000));
        assert!(has_at_most(&schema, &json!({}), 10));
        // Each of many against each of many.
        let list: Vec<u32> = (0..100_000).collect();
        assert!(!has_at_most(&schema, &json!({ "list": list }), 1_000_000));
    }
}
