//! What a change makes of the fields of an object.
//!
//! What is absent stays, what is null goes, objects are merged member by member. A list is replaced,
//! also as `{"set": [...]}`, or gets and loses items with `{"add": [...], "remove": [...]}`.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::FieldProblem;

const SET: &str = "set";
const ADD: &str = "add";
const REMOVE: &str = "remove";

/// Whether an object in a change says what becomes of a list.
pub fn is_list_change(members: &Map<String, Value>) -> bool {
    let is_one = |name: &str| [SET, ADD, REMOVE].contains(&name);
    !members.is_empty() && members.iter().all(|(name, value)| is_one(name) && value.is_array())
}

/// The fields after a change; all that cannot be done is told.
pub fn merge(
    fields: &Map<String, Value>,
    change: Map<String, Value>,
) -> Result<Map<String, Value>, Vec<FieldProblem>> {
    let mut merged = fields.clone();
    let mut problems = Vec::new();
    members(&mut merged, change, "", &mut problems);
    if problems.is_empty() { Ok(merged) } else { Err(problems) }
}

/// The fields of a new object: what is null is absent.
pub fn fresh(fields: Map<String, Value>) -> Result<Map<String, Value>, Vec<FieldProblem>> {
    merge(&Map::new(), fields)
}

fn members(
    into: &mut Map<String, Value>,
    change: Map<String, Value>,
    place: &str,
    problems: &mut Vec<FieldProblem>,
) {
    for (name, value) in change {
        let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
        match value {
            Value::Null => {
                into.remove(&name);
            }
            Value::Object(change) if is_list_change(&change) => {
                match list(into.get(&name), change) {
                    Ok(items) => {
                        into.insert(name, Value::Array(items));
                    }
                    Err(message) => problems.push(FieldProblem::new(&place, message)),
                }
            }
            Value::Object(change) => {
                let mut inner = match into.remove(&name) {
                    Some(Value::Object(inner)) => inner,
                    Some(_) | None => Map::new(),
                };
                members(&mut inner, change, &place, problems);
                into.insert(name, Value::Object(inner));
            }
            value => {
                into.insert(name, value);
            }
        }
    }
}

fn list(
    before: Option<&Value>,
    mut change: Map<String, Value>,
) -> Result<Vec<Value>, &'static str> {
    let mut take = |name| match change.remove(name) {
        Some(Value::Array(items)) => Some(items),
        _ => None,
    };
    let (set, add, remove) = (take(SET), take(ADD), take(REMOVE));
    let mut items = match (set, before) {
        (Some(_), _) if add.is_some() || remove.is_some() => {
            return Err("takes either `set`, or `add` and `remove`");
        }
        (Some(set), _) => return Ok(set),
        (None, Some(Value::Array(items))) => items.clone(),
        (None, None | Some(Value::Null)) => Vec::new(),
        (None, Some(_)) => return Err("is no list, so nothing can be added to it or removed"),
    };
    // Members are in the order of their names, so that equal values are equal texts.
    let texts = |items: &[Value]| items.iter().map(Value::to_string).collect::<HashSet<_>>();
    let removed = texts(&remove.unwrap_or_default());
    items.retain(|it| removed.is_empty() || !removed.contains(&it.to_string()));
    let mut known = texts(&items);
    for item in add.unwrap_or_default() {
        // Twice the same is added once.
        if known.insert(item.to_string()) {
            items.push(item);
        }
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn merged(before: Value, change: Value) -> Value {
        let (Value::Object(before), Value::Object(change)) = (before, change) else { panic!() };
        Value::Object(merge(&before, change).unwrap())
    }

    #[test]
    fn absent_stays_and_null_goes() {
        let before = json!({ "a": 1, "b": { "c": 2, "d": 3 }, "e": [1] });
        assert_eq!(merged(before.clone(), json!({})), before);
        let change = json!({ "a": null, "b": { "c": null, "x": 4 }, "e": [2], "f": null });
        assert_eq!(merged(before, change), json!({ "b": { "d": 3, "x": 4 }, "e": [2] }));
    }

    #[test]
    fn lists_are_set_or_changed() {
        let before = json!({ "tags": ["a", "b"] });
        for (change, after) in [
            (json!({ "set": ["c"] }), json!(["c"])),
            (json!({ "set": [] }), json!([])),
            (json!({ "add": ["b", "c"], "remove": ["a"] }), json!(["b", "c"])),
            (json!({ "remove": ["x", "b"] }), json!(["a"])),
        ] {
            let merged = merged(before.clone(), json!({ "tags": change }));
            assert_eq!(merged["tags"], after, "{change}");
        }
        assert_eq!(merged(json!({}), json!({ "tags": { "add": [1] } })), json!({ "tags": [1] }));
        let Value::Object(odd) = json!({ "a": { "add": [1] }, "b": { "set": [], "add": [] } })
        else {
            panic!()
        };
        let Value::Object(before) = json!({ "a": 5 }) else { panic!() };
        let problems = merge(&before, odd).unwrap_err();
        let fields: Vec<_> = problems.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, ["a", "b"]);
        // A field that happens to have such a name is a field.
        assert_eq!(merged(json!({}), json!({ "a": { "set": 1 } })), json!({ "a": { "set": 1 } }));
    }
}
