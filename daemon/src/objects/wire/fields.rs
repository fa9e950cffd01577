//! The fields of an object as callers send them, as those that its type has: other names, members that
//! are sent and mean nothing here, and what is filled in where nothing was sent.

use serde_json::{Map, Value};

use crate::model::object_type::ObjectType;

/// What lists are changed with.
const CHANGES: [&str; 3] = ["set", "add", "remove"];

/// Drops what the type ignores, and gives members the names that they have in it.
pub fn rename(definition: &ObjectType, fields: &mut Map<String, Value>) {
    for name in &definition.ignored {
        fields.remove(name);
    }
    for (from, to) in &definition.input_aliases {
        let (parents, from, to) = match (from.rsplit_once('.'), to.rsplit_once('.')) {
            // Both stand in the same place.
            (Some((parents, from)), Some((_, to))) => (parents.split('.').collect(), from, to),
            (None | Some(_), None | Some(_)) => (Vec::new(), from.as_str(), to.as_str()),
        };
        match parents.split_first() {
            None => rename_member(fields, from, to),
            Some((first, rest)) => {
                if let Some(inside) = fields.get_mut(*first) {
                    rename_at(inside, rest, from, to);
                }
            }
        }
    }
}

/// What a new object has where nothing was sent for it: the `default` of its property.
pub fn fill(definition: &ObjectType, fields: &mut Map<String, Value>) {
    let properties = definition.schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        if let Some(default) = property.get("default")
            && !fields.contains_key(name)
        {
            fields.insert(name.clone(), default.clone());
        }
    }
}

fn rename_at(value: &mut Value, steps: &[&str], from: &str, to: &str) {
    match value {
        Value::Array(items) => {
            for item in items {
                rename_at(item, steps, from, to);
            }
        }
        Value::Object(members)
            if !members.is_empty() && members.keys().all(|it| CHANGES.contains(&it.as_str())) =>
        {
            for change in members.values_mut() {
                rename_at(change, steps, from, to);
            }
        }
        Value::Object(members) => match steps {
            [] => rename_member(members, from, to),
            [step, rest @ ..] => {
                if let Some(inside) = members.get_mut(*step) {
                    rename_at(inside, rest, from, to);
                }
            }
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whoever sends both means the one that the type has.
fn rename_member(members: &mut Map<String, Value>, from: &str, to: &str) {
    if !members.contains_key(to)
        && let Some(value) = members.remove(from)
    {
        members.insert(to.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::work;
    use super::*;

    fn renamed(fields: Value) -> Value {
        let Value::Object(mut fields) = fields else { panic!("{fields} is no object") };
        rename(&work(), &mut fields);
        Value::Object(fields)
    }

    #[test]
    fn members_get_the_names_that_the_type_has() {
        let sent = json!({
            "name": "a", "spec": { "anything": 1 }, "tags": [{ "id": "TAG-1" }, { "tag": "TAG-2" }],
        });
        let meant = json!({ "title": "a", "tags": [{ "tag": "TAG-1" }, { "tag": "TAG-2" }] });
        assert_eq!(renamed(sent), meant);
        let sent = json!({ "tags": { "set": [{ "id": "TAG-1", "value": "x" }], "add": [] } });
        let meant = json!({ "tags": { "set": [{ "tag": "TAG-1", "value": "x" }], "add": [] } });
        assert_eq!(renamed(sent), meant);
        for as_it_is in [
            json!({ "tags": null }),
            json!({ "tags": "TAG-1" }),
            json!({ "tags": [1, {}] }),
            json!({ "title": "b", "name": "a" }),
            json!({}),
        ] {
            assert_eq!(renamed(as_it_is.clone()), as_it_is);
        }
    }

    #[test]
    fn what_was_not_sent_is_filled_in() {
        let mut fields = Map::new();
        fill(&work(), &mut fields);
        assert_eq!(Value::Object(fields.clone()), json!({ "owned_by": [] }));
        fields.insert("owned_by".to_owned(), json!(["DEVU-1"]));
        fill(&work(), &mut fields);
        assert_eq!(fields["owned_by"], json!(["DEVU-1"]));
        // Null is something that was sent.
        fields.insert("owned_by".to_owned(), Value::Null);
        fill(&work(), &mut fields);
        assert_eq!(fields["owned_by"], Value::Null);
    }
}
