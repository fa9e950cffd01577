//! Fields of objects by their path: names with dots in between. An array on the way stands for each
//! of its items.

use serde_json::{Map, Value};

use super::merge::is_list_change;

/// The values at a path: none where it leads nowhere, several where arrays are on the way.
pub fn values<'a>(fields: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = Vec::new();
    walk(fields, Some(path), &mut found);
    found
}

fn walk<'a>(at: &'a Value, rest: Option<&str>, found: &mut Vec<&'a Value>) {
    match (at, rest) {
        (Value::Array(items), rest) => items.iter().for_each(|it| walk(it, rest, found)),
        (at, None) => found.push(at),
        (Value::Object(members), Some(path)) => {
            let (name, rest) = split(path);
            if let Some(member) = members.get(name) {
                walk(member, rest, found);
            }
        }
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), Some(_)) => {}
    }
}

/// How many values [`change_each`] finds at a path.
pub fn count(fields: &Map<String, Value>, path: &str) -> usize {
    let (name, rest) = split(path);
    fields.get(name).map_or(0, |it| count_at(it, rest))
}

fn count_at(at: &Value, rest: Option<&str>) -> usize {
    match (at, rest) {
        (Value::Null, _) => 0,
        (Value::Array(items), rest) => items.iter().map(|it| count_at(it, rest)).sum(),
        (Value::Object(members), rest) if is_list_change(members) => {
            members.values().map(|it| count_at(it, rest)).sum()
        }
        (_, None) => 1,
        (Value::Object(members), Some(path)) => count(members, path),
        (Value::Bool(_) | Value::Number(_) | Value::String(_), Some(_)) => 0,
    }
}

/// Puts another value in the place of each at a path; `change` gets where it is, such as `tags[1].id`.
/// Absent ones and nulls are left alone. The items of `{"add": [...]}`, in a change, are those of the
/// list that it changes.
pub fn change_each<E>(
    fields: &mut Value,
    path: &str,
    change: &mut impl FnMut(&str, &Value) -> Result<Value, E>,
) -> Result<(), E> {
    change_at(fields, Some(path), &mut String::new(), change)
}

fn change_at<E>(
    at: &mut Value,
    rest: Option<&str>,
    place: &mut String,
    change: &mut impl FnMut(&str, &Value) -> Result<Value, E>,
) -> Result<(), E> {
    let length = place.len();
    match (at, rest) {
        (Value::Null, _) => {}
        (Value::Array(items), rest) => {
            for (number, item) in items.iter_mut().enumerate() {
                place.push_str(&format!("[{number}]"));
                change_at(item, rest, place, change)?;
                place.truncate(length);
            }
        }
        (Value::Object(members), rest) if is_list_change(members) => {
            for (name, items) in members {
                place.push_str(&format!(".{name}"));
                change_at(items, rest, place, change)?;
                place.truncate(length);
            }
        }
        (at, None) => *at = change(place, at)?,
        (Value::Object(members), Some(path)) => {
            let (name, rest) = split(path);
            if let Some(member) = members.get_mut(name) {
                if !place.is_empty() {
                    place.push('.');
                }
                place.push_str(name);
                change_at(member, rest, place, change)?;
                place.truncate(length);
            }
        }
        (Value::Bool(_) | Value::Number(_) | Value::String(_), Some(_)) => {}
    }
    Ok(())
}

fn split(path: &str) -> (&str, Option<&str>) {
    match path.split_once('.') {
        Some((name, rest)) => (name, Some(rest)),
        None => (path, None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_counted_is_what_is_changed() {
        let fields = json!({
            "a": [{ "b": "x" }, { "b": ["y", null, { "id": 1 }] }, "no"],
            "c": { "add": [{ "b": 1 }, { "b": 2 }], "remove": [{ "b": 3 }] },
            "d": { "add": 1 },
        });
        let members = fields.as_object().unwrap();
        for (path, expected) in
            [("a.b", 3), ("a", 3), ("c.b", 3), ("d", 1), ("d.add", 1), ("a.b.c", 0), ("x", 0)]
        {
            assert_eq!(count(members, path), expected, "{path}");
            let (mut changed, mut visited) = (fields.clone(), 0);
            let visit = &mut |_: &str, value: &Value| {
                visited += 1;
                Ok::<_, ()>(value.clone())
            };
            change_each(&mut changed, path, visit).unwrap();
            assert_eq!(visited, expected, "{path}");
        }
    }

    #[test]
    fn arrays_stand_for_their_items() {
        let fields = json!({
            "a": { "b": 1 }, "list": [{ "c": 2 }, { "c": [3, 4] }, 5], "none": [], "no": null,
        });
        for (path, wanted) in [
            ("a.b", json!([1])),
            ("a", json!([{ "b": 1 }])),
            ("list.c", json!([2, 3, 4])),
            ("none", json!([])),
            ("no", json!([null])),
            ("no.more", json!([])),
            ("a.b.c", json!([])),
            ("absent", json!([])),
        ] {
            assert_eq!(json!(values(&fields, path)), wanted, "{path}");
        }
    }

    #[test]
    fn each_value_is_changed_where_it_is() {
        let mut fields = json!({ "x": 1, "tags": [{ "id": "a" }, { "id": null }, { "id": "b" }] });
        let mut places = Vec::new();
        change_each::<()>(&mut fields, "tags.id", &mut |place, value| {
            places.push(place.to_owned());
            Ok(json!([value]))
        })
        .unwrap();
        assert_eq!(places, ["tags[0].id", "tags[2].id"]);
        let wanted = json!([{ "id": ["a"] }, { "id": null }, { "id": ["b"] }]);
        assert_eq!(fields["tags"], wanted);
        let mut change = json!({ "tags": { "add": [{ "id": "c" }], "remove": ["d"] } });
        for path in ["tags.id", "tags"] {
            change_each::<()>(&mut change, path, &mut |place, value| {
                places.push(place.to_owned());
                Ok(value.clone())
            })
            .unwrap();
        }
        assert_eq!(places[2..], ["tags.add[0].id", "tags.add[0]", "tags.remove[0]"]);
    }
}
